/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tenants do not reach one another, whatever they write. Random tenants, policies and changes:
 *   - a change of one tenant's policies leaves every other tenant's verdicts as they were, by the
 *     compiled rows (bit by bit) and by the documents;
 *   - what a guard-rail of the provider decides, it decides whatever the tenant writes, by rows and
 *     by documents; a tenant's policies add no right of a NIC and no host to run on.
 * Two oracles: the compiler and the reader of documents share nothing but the parser. Each case
 * prints its seed; BH_SEED=n runs that one alone.
 */
#include "base/util.h"
#include "model/id.h"
#include "policy/eval.h"
#include "policy_lookup.h"
#include "policy_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define CASES	   1500
#define PACKETS	   80
#define MEMBERS	   12
#define POLICIES   3 /* of each tenant, at most */
#define WRITER	   "shop"
#define FIRST_OWN  100 /* number of the writer's first policy */
#define LABELS_MAX 60

struct member {
	uint32_t id;
	const char *tenant;
	char name[8];
	uint8_t addr[16];
	struct bh_policy_label labels[LABELS_MAX];
	size_t label_count, own_count; /* own: without classes */
};

/* Everybody's policies but the writer's; with his; with others of his. */
enum { WITHOUT, BEFORE, AFTER, SETS };

struct world {
	uint64_t seed;
	struct rng rng;
	struct bh_policy_set *sets[SETS];
	struct bh_policy_universe *universe;
	struct bh_policy_compiler *compilers[SETS];
	struct member members[MEMBERS];
	struct bh_wbuf texts[SETS];
};

/* A rule's number by what it says, whichever set it stands in. */
static uint32_t number_of(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			  void *arg)
{
	uint32_t h = 17;

	for (const char *s = bh_policy_canonical(policy); *s; s++) {
		h = h * 31 + (unsigned char)*s;
	}
	return 16 + (h + (uint32_t)dir * 1000 + (uint32_t)index) % 1000000000;
}

/* ---- a small world ---- */

static struct bh_policy_set *parse(const struct bh_wbuf *text)
{
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};

	if (!text->size) {
		return bh_policy_set_new();
	}
	if (bh_policy_parse((const char *)text->data, text->size, NULL, &set, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	return set;
}

static void add_class(const char *key, const char *value, void *arg)
{
	struct member *m = arg;

	for (size_t i = 0; i < m->label_count; i++) {
		if (strcmp(m->labels[i].key, key) == 0) {
			return; /* another set has it too */
		}
	}
	assert_true(m->label_count < LABELS_MAX);
	m->labels[m->label_count++] = (struct bh_policy_label){bh_strdup(key), value};
}

/* With the classes of all three sets, so that they share a universe. */
static void make_member(struct world *w, size_t i)
{
	struct member *m = &w->members[i];
	struct bh_policy_vm vm = {.address_count = 1};

	snprintf(m->name, sizeof(m->name), "vm%zu", i % 5);
	m->id = 256 + (uint32_t)i;
	m->tenant = random_tenants[i % RANDOM_TENANTS];
	assert_int_equal(bh_addr_parse(random_address(&w->rng), m->addr), 0);
	if (random_chance(&w->rng, 80)) {
		m->labels[m->label_count++] =
			(struct bh_policy_label){"role", random_role(&w->rng)};
	}
	if (random_chance(&w->rng, 50)) {
		m->labels[m->label_count++] =
			(struct bh_policy_label){"zone", random_zone(&w->rng)};
	}
	m->own_count = m->label_count;
	if (random_chance(&w->rng, 20)) {
		add_class(BH_POLICY_QUARANTINE, "1", m);
	}
	vm.tenant = m->tenant;
	vm.name = m->name;
	vm.addresses = (const uint8_t(*)[16]) & m->addr;
	for (int s = 0; s < SETS; s++) {
		bh_policy_vm_classes(w->sets[s], &vm, add_class, m);
	}
	assert_int_equal(bh_policy_universe_add_identity(w->universe, m->id,
							 1 + (uint32_t)(i % RANDOM_TENANTS),
							 m->labels, m->label_count, NULL),
			 0);
}

static void put_policies(struct world *w, struct bh_wbuf *text, const char *tenant, size_t first)
{
	size_t count = random_next(&w->rng, POLICIES + 1);

	for (size_t i = 0; i < count; i++) {
		random_policy(&w->rng, text, first + i, tenant);
	}
}

static void begin(struct world *w, uint64_t seed)
{
	struct bh_policy_compile_options options = {.rule_fn = number_of};

	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->rng.state = seed * 6007 + 3;
	for (int s = 0; s < SETS; s++) {
		bh_wbuf_init(&w->texts[s], 0);
	}
	put_policies(w, &w->texts[WITHOUT], "provider", 0);
	put_policies(w, &w->texts[WITHOUT], "rival", 10);
	for (int s = BEFORE; s < SETS; s++) {
		bh_wbuf_put(&w->texts[s], w->texts[WITHOUT].data, w->texts[WITHOUT].size);
		put_policies(w, &w->texts[s], WRITER, FIRST_OWN);
	}
	options.provider_default = random_chance(&w->rng, 30) ? BH_POLICY_ALLOW : BH_POLICY_DENY;
	w->universe = bh_policy_universe_new();
	for (uint32_t i = 0; i < RANDOM_TENANTS; i++) {
		assert_int_equal(
			bh_policy_universe_add_tenant(w->universe, random_tenants[i], i + 1, NULL),
			0);
	}
	for (int s = 0; s < SETS; s++) {
		w->sets[s] = parse(&w->texts[s]);
	}
	for (size_t i = 0; i < MEMBERS; i++) {
		make_member(w, i);
	}
	for (int s = 0; s < SETS; s++) {
		w->compilers[s] = bh_policy_compiler_new(w->sets[s], w->universe, &options);
	}
}

static void end(struct world *w)
{
	for (size_t i = 0; i < MEMBERS; i++) {
		struct member *m = &w->members[i];

		for (size_t k = m->own_count; k < m->label_count; k++) {
			free((void *)m->labels[k].key);
		}
	}
	for (int s = 0; s < SETS; s++) {
		bh_policy_compiler_free(w->compilers[s]);
		bh_policy_set_free(w->sets[s]);
		bh_wbuf_done(&w->texts[s]);
	}
	bh_policy_universe_free(w->universe);
}

static void random_packet(struct world *w, struct bh_policy_question *q, struct lookup_packet *p)
{
	const struct bh_policy_service *s = random_service(&w->rng);

	memset(p, 0, sizeof(*p));
	p->proto = s->proto;
	p->port = s->port;
	assert_int_equal(bh_addr_parse(random_address(&w->rng), p->addr), 0);
	p->identity = 1 + random_next(&w->rng, 3);
	if (random_chance(&w->rng, 60)) {
		size_t i = random_next(&w->rng, MEMBERS);

		p->identity = w->members[i].id;
		p->tenant = 1 + (uint32_t)(i % RANDOM_TENANTS);
	}
	q->remote = (struct bh_policy_end){.identity = p->identity, .has_addr = true};
	memcpy(q->remote.addr, p->addr, sizeof(p->addr));
	q->service = *s;
}

static struct bh_policy_verdict asked(const struct world *w, int set,
				      const struct bh_policy_question *q)
{
	struct bh_policy_verdict v;

	assert_int_equal(bh_policy_eval(w->compilers[set], q, NULL, NULL, &v, NULL), 0);
	return v;
}

static struct bh_segment *compiled(const struct world *w, int set, uint32_t id,
				   enum bh_policy_dir dir)
{
	struct bh_segment *seg = NULL;

	assert_int_equal(bh_policy_compile(w->compilers[set], id, dir, &seg, NULL), 0);
	return seg;
}

/* ---- others are not touched ---- */

static void check_other(struct world *w, const struct member *m, enum bh_policy_dir dir)
{
	struct bh_segment *segments[SETS];

	for (int s = 0; s < SETS; s++) {
		segments[s] = compiled(w, s, m->id, dir);
	}
	for (int s = BEFORE; s < SETS; s++) {
		if (!bh_hash_equal(bh_segment_hash(segments[WITHOUT]),
				   bh_segment_hash(segments[s]))) {
			fail_msg("seed %llu: rows of %u (%s) change with policies of " WRITER
				 "\n%s",
				 (unsigned long long)w->seed, m->id, m->tenant,
				 bh_wbuf_cstr(&w->texts[s]));
		}
	}
	for (int i = 0; i < PACKETS / 8; i++) {
		struct bh_policy_question q = {.self = m->id, .dir = dir};
		struct lookup_packet p;
		struct bh_policy_verdict v, without;

		random_packet(w, &q, &p);
		without = asked(w, WITHOUT, &q);
		for (int s = BEFORE; s < SETS; s++) {
			v = asked(w, s, &q);
			if (v.action != without.action || v.builtin != without.builtin ||
			    v.index != without.index || v.selected != without.selected) {
				fail_msg("seed %llu: documents judge %u (%s) anew",
					 (unsigned long long)w->seed, m->id, m->tenant);
			}
		}
	}
	for (int s = 0; s < SETS; s++) {
		bh_segment_unref(segments[s]);
	}
}

/* ---- guard-rails hold ---- */

static bool by_guardrail(const struct bh_policy_verdict *v)
{
	return v->policy && bh_policy_tier(v->policy) == BH_POLICY_TIER_GUARDRAIL;
}

static void check_own(struct world *w, const struct member *m, enum bh_policy_dir dir)
{
	struct bh_segment *segments[SETS];

	for (int s = 0; s < SETS; s++) {
		segments[s] = compiled(w, s, m->id, dir);
	}
	for (int i = 0; i < PACKETS / 4; i++) {
		struct bh_policy_question q = {.self = m->id, .dir = dir};
		struct lookup_packet p;
		struct bh_policy_verdict guard;

		random_packet(w, &q, &p);
		guard = asked(w, WITHOUT, &q);
		for (int s = BEFORE; s < SETS && by_guardrail(&guard); s++) {
			struct lookup_result row = lookup(segments[s], &p);
			struct bh_policy_verdict v = asked(w, s, &q);

			if (v.action != guard.action || row.action != guard.action ||
			    !by_guardrail(&v) ||
			    row.rule != number_of(guard.policy, dir, guard.index, NULL)) {
				fail_msg("seed %llu: a guard-rail is passed at %u\n%s",
					 (unsigned long long)w->seed, m->id,
					 bh_wbuf_cstr(&w->texts[s]));
			}
		}
	}
	for (int s = 0; s < SETS; s++) {
		bh_segment_unref(segments[s]);
	}
}

static void check_rights(struct world *w, const struct member *m)
{
	struct bh_policy_subject subject = {m->tenant, m->labels, m->label_count};
	struct bh_policy_grant without, with;
	const struct bh_policy *why;

	bh_policy_grant_of(w->sets[WITHOUT], m->tenant, m->labels, m->label_count, &without);
	for (int s = BEFORE; s < SETS; s++) {
		bh_policy_grant_of(w->sets[s], m->tenant, m->labels, m->label_count, &with);
		assert_int_equal(with.flags, without.flags);
		assert_int_equal(with.vlan_count, without.vlan_count);
		bh_policy_grant_done(&with);
		for (int zone = 0; zone < 2; zone++) {
			struct bh_policy_label label = {"zone", zone ? "a" : "b"};

			if (bh_policy_placement_ok(w->sets[s], &subject, &label, 1, &why)) {
				assert_true(bh_policy_placement_ok(w->sets[WITHOUT], &subject,
								   &label, 1, &why));
			}
		}
	}
	bh_policy_grant_done(&without);
}

static void check_case(uint64_t seed)
{
	struct world w;

	begin(&w, seed);
	for (size_t i = 0; i < MEMBERS; i++) {
		const struct member *m = &w.members[i];

		for (int d = 0; d < 2; d++) {
			if (strcmp(m->tenant, WRITER) == 0) {
				check_own(&w, m, (enum bh_policy_dir)d);
			} else {
				check_other(&w, m, (enum bh_policy_dir)d);
			}
		}
		check_rights(&w, m);
	}
	end(&w);
}

static void tenants_do_not_reach_one_another(void **state)
{
	const char *one = getenv("BH_SEED");
	const char *many = getenv("BH_CASES");
	uint64_t cases = many ? strtoull(many, NULL, 10) : CASES;

	for (uint64_t seed = 1; !one && seed <= cases; seed++) {
		check_case(seed);
	}
	if (one) {
		check_case(strtoull(one, NULL, 10));
	}
}

/* Do the worlds hold what the properties are about? */
static void the_worlds_are_worth_it(void **state)
{
	size_t guarded = 0, changed = 0;

	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct world w;

		begin(&w, seed);
		for (int i = 0; i < PACKETS; i++) {
			struct bh_policy_question q = {.self = w.members[1].id,
						       .dir = (enum bh_policy_dir)(i % 2)};
			struct bh_policy_verdict v[SETS];
			struct lookup_packet p;

			random_packet(&w, &q, &p);
			for (int s = 0; s < SETS; s++) {
				v[s] = asked(&w, s, &q);
			}
			guarded += by_guardrail(&v[WITHOUT]);
			changed += v[BEFORE].action != v[AFTER].action;
		}
		end(&w);
	}
	assert_true(guarded > 300);
	assert_true(changed > 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tenants_do_not_reach_one_another),
		cmocka_unit_test(the_worlds_are_worth_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
