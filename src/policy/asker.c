/* SPDX-License-Identifier: Apache-2.0 */
/* Many questions about the same VMs: which policies select whom is looked up once per VM. */
#include "policy/compiler.h"
#include "policy/eval.h"

#include <errno.h>

struct known {
	uint32_t id;
	const struct policy_identity *identity;
	policy_list policies; /* that select it, in the order of judgement */
	UT_hash_handle hh;
};

struct bh_policy_asker {
	const struct bh_policy_compiler *compiler;
	struct known *known;
};

struct bh_policy_asker *bh_policy_asker_new(const struct bh_policy_compiler *compiler)
{
	struct bh_policy_asker *a = bh_alloc(sizeof(*a));

	a->compiler = compiler;
	return a;
}

void bh_policy_asker_free(struct bh_policy_asker *a)
{
	struct known *k, *next;

	if (!a) {
		return;
	}
	HASH_ITER (hh, a->known, k, next) {
		HASH_DEL(a->known, k);
		bh_vec_done(&k->policies);
		free(k);
	}
	free(a);
}

static struct known *known_of(struct bh_policy_asker *a, uint32_t id)
{
	const struct policy_identity *identity;
	struct known *k;

	HASH_FIND(hh, a->known, &id, sizeof(id), k);
	if (k) {
		return k;
	}
	identity = policy_universe_identity(a->compiler->universe, id);
	if (!identity) {
		return NULL;
	}
	k = bh_alloc(sizeof(*k));
	k->id = id;
	k->identity = identity;
	policy_compiler_applicable(a->compiler, identity, &k->policies);
	HASH_ADD(hh, a->known, id, sizeof(id), k);
	return k;
}

int bh_policy_asker_ask(struct bh_policy_asker *a, const struct bh_policy_question *q,
			struct bh_policy_verdict *ret_verdict)
{
	const struct known *self = known_of(a, q->self);
	const struct known *other = known_of(a, q->remote.identity);
	struct policy_ask ask = {.dir = q->dir, .remote = &q->remote, .service = &q->service};

	if (!self || (!other && q->remote.identity > POLICY_ENTITY_MULTICAST)) {
		return -ENOENT;
	}
	ask.self = self->identity;
	ask.other = other ? other->identity : NULL;
	policy_eval_list(a->compiler, &self->policies, &ask, ret_verdict);
	return 0;
}

int bh_policy_asker_policies(struct bh_policy_asker *a, uint32_t identity,
			     bh_policy_selecting_fn *fn, void *arg)
{
	const struct known *k = known_of(a, identity);

	if (!k) {
		return -ENOENT;
	}
	bh_vec_foreach (p, &k->policies) {
		fn(*p, arg);
	}
	return 0;
}

bool bh_policy_asker_alike(struct bh_policy_asker *a, struct bh_policy_asker *b, uint32_t id)
{
	const struct known *x = known_of(a, id);
	const struct known *y = known_of(b, id);

	if (!x || !y || x->policies.count != y->policies.count ||
	    a->compiler->options.provider_default != b->compiler->options.provider_default) {
		return !x && !y;
	}
	for (size_t i = 0; i < x->policies.count; i++) {
		const struct bh_policy *p = x->policies.items[i], *q = y->policies.items[i];

		if (p != q && !policy_judge_alike(p, q)) {
			return false;
		}
	}
	return true;
}
