/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/judge.h"

#include "base/util.h"
#include "policy/classes.h"

#include <sodium.h>

#define SLOTS_FIRST 1024

struct identity {
	uint32_t id; /* 0: free */
	uint32_t class;
	bool known, concerned;
};

struct question { /* no padding: hashed and compared by its bytes */
	uint32_t src_class, dst_class;
	uint32_t src_addr, dst_addr; /* classes + 1; 0: without an address */
	uint16_t port;
	uint8_t proto, spare;
};
struct answer {
	struct question q;
	uint8_t before, after;
	bool there;
};

struct manager_judge {
	struct manager_world *world;
	struct bh_policy_classes *classes;
	struct identity *identities;
	size_t identity_count, identity_slots;
	struct answer *answers;
	size_t answer_count, answer_slots, max;
	size_t asked;
	uint8_t secret[crypto_shorthash_KEYBYTES]; /* hosts choose what the questions are */
};

struct manager_judge *manager_judge_new(struct manager_world *world, size_t max)
{
	const struct bh_policy_compiler *compilers[2] = {world->compilers[0], world->compilers[1]};
	struct manager_judge *j = bh_alloc(sizeof(*j));

	j->world = world;
	j->max = max;
	j->classes = bh_policy_classes_new(compilers, BH_ARRAY_SIZE(compilers));
	j->identity_slots = j->answer_slots = SLOTS_FIRST;
	j->identities = bh_alloc_array(j->identity_slots, sizeof(*j->identities));
	j->answers = bh_alloc_array(j->answer_slots, sizeof(*j->answers));
	crypto_shorthash_keygen(j->secret);
	return j;
}

void manager_judge_free(struct manager_judge *j)
{
	if (j) {
		bh_policy_classes_free(j->classes);
		free(j->identities);
		free(j->answers);
		free(j);
	}
}

size_t manager_judge_asked(const struct manager_judge *j)
{
	return j->asked;
}

/* ---- identities: the manager gave them, so any hash will do ---- */

static struct identity *identity_slot(struct manager_judge *j, uint32_t id)
{
	size_t i = id * 0x9e3779b1u & (j->identity_slots - 1);

	while (j->identities[i].id && j->identities[i].id != id) {
		i = (i + 1) & (j->identity_slots - 1);
	}
	return &j->identities[i];
}

static void grow_identities(struct manager_judge *j)
{
	struct identity *old = j->identities;
	size_t slots = j->identity_slots;

	j->identity_slots *= 2;
	j->identities = bh_alloc_array(j->identity_slots, sizeof(*j->identities));
	for (size_t i = 0; i < slots; i++) {
		if (old[i].id) {
			*identity_slot(j, old[i].id) = old[i];
		}
	}
	free(old);
}

static const struct identity *identity_of(struct manager_judge *j, uint32_t id)
{
	struct manager_world *w = j->world;
	struct identity *e = identity_slot(j, id);

	if (e->id) {
		return e;
	}
	if (j->identity_count * 2 >= j->identity_slots) {
		grow_identities(j);
		e = identity_slot(j, id);
	}
	j->identity_count++;
	e->id = id;
	e->known = manager_world_knows(w, id);
	e->class = e->known ? bh_policy_classes_identity(j->classes, id) : 0;
	e->concerned = id >= MANAGER_IDENTITY_FIRST && e->known &&
		       !bh_policy_asker_alike(w->askers[0], w->askers[1], id);
	return e;
}

/* ---- answers ---- */

static struct answer *answer_slot(struct manager_judge *j, const struct question *q)
{
	uint64_t h;
	size_t i;

	crypto_shorthash((uint8_t *)&h, (const uint8_t *)q, sizeof(*q), j->secret);
	for (i = h & (j->answer_slots - 1);
	     j->answers[i].there && memcmp(&j->answers[i].q, q, sizeof(*q)) != 0;) {
		i = (i + 1) & (j->answer_slots - 1);
	}
	return &j->answers[i];
}

static void grow_answers(struct manager_judge *j)
{
	struct answer *old = j->answers;
	size_t slots = j->answer_slots;

	j->answer_slots *= 2;
	j->answers = bh_alloc_array(j->answer_slots, sizeof(*j->answers));
	for (size_t i = 0; i < slots; i++) {
		if (old[i].there) {
			*answer_slot(j, &old[i].q) = old[i];
		}
	}
	free(old);
}

/* Both sets know both ends. */
static void ask(struct manager_judge *j, const struct manager_question *q, struct answer *a)
{
	struct bh_policy_verdict v[2];

	j->asked++;
	for (int i = 0; i < 2; i++) {
		if (manager_world_judge(j->world, i, q, &v[i]) < 0) {
			v[i].action = BH_POLICY_DENY;
		}
	}
	a->before = (uint8_t)v[0].action;
	a->after = (uint8_t)v[1].action;
}

static uint32_t address_of(const struct manager_judge *j, const struct bh_policy_end *end)
{
	return end->has_addr ? bh_policy_classes_address(j->classes, end->addr) + 1 : 0;
}

static void find(struct manager_judge *j, const struct manager_question *q,
		 const struct question *key, struct answer *ret)
{
	struct answer *a = answer_slot(j, key);

	if (!a->there && j->answer_count >= j->max) {
		ask(j, q, ret);
		return;
	}
	if (!a->there) {
		if (j->answer_count * 2 >= j->answer_slots) {
			grow_answers(j);
			a = answer_slot(j, key);
		}
		ask(j, q, a);
		a->q = *key;
		a->there = true;
		j->answer_count++;
	}
	*ret = *a;
}

void manager_judge_ask(struct manager_judge *j, const struct manager_question *q,
		       struct manager_judged *ret)
{
	/* The table may move between the two. */
	const struct identity src = *identity_of(j, q->src.identity);
	const struct identity dst = *identity_of(j, q->dst.identity);
	struct question key;
	struct answer a = {};

	*ret = (struct manager_judged){.known = src.known && dst.known,
				       .concerned = src.concerned || dst.concerned};
	if (!ret->known || !ret->concerned) {
		return;
	}
	key = (struct question){.src_class = src.class,
				.dst_class = dst.class,
				.src_addr = address_of(j, &q->src),
				.dst_addr = address_of(j, &q->dst),
				.port = q->service.port,
				.proto = q->service.proto};
	find(j, q, &key, &a);
	ret->before = a.before;
	ret->after = a.after;
	ret->differs = (a.before == BH_POLICY_ALLOW) != (a.after == BH_POLICY_ALLOW);
}
