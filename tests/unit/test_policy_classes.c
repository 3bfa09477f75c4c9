/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has the same class gets the same answers: random policies, VMs and addresses; for each
 * question, whoever is of the same class in its place must get the same verdict, from each set.
 * Each case prints its seed when it fails.
 */
#include "base/util.h"
#include "model/id.h"
#include "policy/classes.h"
#include "policy_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define CASES	  400
#define VMS	  24
#define ADDRESSES 12
#define QUESTIONS 60
#define SETS	  2

struct world {
	uint64_t seed;
	struct rng rng;
	struct bh_policy_universe *universe;
	struct bh_policy_set *sets[SETS];
	struct bh_policy_compiler *compilers[SETS];
	struct bh_policy_classes *classes;
	uint8_t addrs[ADDRESSES][16];
};

static struct bh_policy_set *random_set(struct world *w)
{
	struct bh_policy_set *set = NULL;
	struct bh_wbuf text;
	struct bh_diag diag = {};
	size_t count = 1 + random_next(&w->rng, 6);

	bh_wbuf_init(&text, 0);
	for (size_t i = 0; i < count; i++) {
		random_policy(&w->rng, &text, i, NULL);
	}
	if (bh_policy_parse((const char *)text.data, text.size, NULL, &set, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	bh_wbuf_done(&text);
	return set;
}

static void add_vm(struct world *w, uint32_t i)
{
	struct bh_policy_label labels[3];
	size_t count = 0;

	if (random_chance(&w->rng, 80)) {
		labels[count++] = (struct bh_policy_label){"role", random_role(&w->rng)};
	}
	if (random_chance(&w->rng, 50)) {
		labels[count++] = (struct bh_policy_label){"zone", random_zone(&w->rng)};
	}
	if (random_chance(&w->rng, 20)) {
		labels[count++] = (struct bh_policy_label){BH_POLICY_QUARANTINE, "1"};
	}
	assert_int_equal(bh_policy_universe_add_identity(
				 w->universe, 256 + i, 1 + i % RANDOM_TENANTS, labels, count, NULL),
			 0);
}

static void begin(struct world *w, uint64_t seed)
{
	const struct bh_policy_compiler *compilers[SETS];
	struct bh_policy_compile_options options = {};

	*w = (struct world){.seed = seed, .rng.state = seed * 7919 + 5};
	w->universe = bh_policy_universe_new();
	for (uint32_t i = 0; i < RANDOM_TENANTS; i++) {
		assert_int_equal(
			bh_policy_universe_add_tenant(w->universe, random_tenants[i], i + 1, NULL),
			0);
	}
	for (uint32_t i = 0; i < VMS; i++) {
		add_vm(w, i);
	}
	for (size_t i = 0; i < ADDRESSES; i++) {
		assert_int_equal(bh_addr_parse(random_address(&w->rng), w->addrs[i]), 0);
	}
	options.provider_default = random_chance(&w->rng, 30) ? BH_POLICY_ALLOW : BH_POLICY_DENY;
	for (int s = 0; s < SETS; s++) {
		w->sets[s] = random_set(w);
		w->compilers[s] = bh_policy_compiler_new(w->sets[s], w->universe, &options);
		compilers[s] = w->compilers[s];
	}
	w->classes = bh_policy_classes_new(compilers, SETS);
}

static void end(struct world *w)
{
	bh_policy_classes_free(w->classes);
	for (int s = 0; s < SETS; s++) {
		bh_policy_compiler_free(w->compilers[s]);
		bh_policy_set_free(w->sets[s]);
	}
	bh_policy_universe_free(w->universe);
}

static void same_answer(const struct world *w, const struct bh_policy_question *a,
			const struct bh_policy_question *b)
{
	for (int s = 0; s < SETS; s++) {
		struct bh_policy_verdict x, y;

		assert_int_equal(bh_policy_eval(w->compilers[s], a, NULL, NULL, &x, NULL), 0);
		assert_int_equal(bh_policy_eval(w->compilers[s], b, NULL, NULL, &y, NULL), 0);
		if (x.action != y.action || x.policy != y.policy || x.index != y.index ||
		    x.builtin != y.builtin) {
			fail_msg("seed %llu: VM %u and peer %u get another answer than VM %u and "
				 "peer %u",
				 (unsigned long long)w->seed, a->self, a->remote.identity, b->self,
				 b->remote.identity);
		}
	}
}

/* Somebody of the same class, which may be himself. */
static uint32_t like(struct world *w, uint32_t id)
{
	uint32_t class = bh_policy_classes_identity(w->classes, id);

	for (uint32_t i = 0, from = random_next(&w->rng, VMS); i < VMS && id >= 256; i++) {
		uint32_t other = 256 + (from + i) % VMS;

		if (bh_policy_classes_identity(w->classes, other) == class) {
			return other;
		}
	}
	return id;
}

static size_t address_like(struct world *w, size_t at)
{
	uint32_t class = bh_policy_classes_address(w->classes, w->addrs[at]);

	for (size_t i = 0, from = random_next(&w->rng, ADDRESSES); i < ADDRESSES; i++) {
		size_t other = (from + i) % ADDRESSES;

		if (bh_policy_classes_address(w->classes, w->addrs[other]) == class) {
			return other;
		}
	}
	return at;
}

/* Whether anybody was somebody else. */
static bool check_question(struct world *w)
{
	bool to_vm = random_chance(&w->rng, 60);
	struct bh_policy_question a = {.self = 256 + random_next(&w->rng, VMS),
				       .dir = (enum bh_policy_dir)random_next(&w->rng, 2),
				       .service = *random_service(&w->rng)};
	struct bh_policy_question b;
	size_t at = random_next(&w->rng, ADDRESSES), other = address_like(w, at);

	a.remote.identity = to_vm ? 256 + random_next(&w->rng, VMS) : 1 + random_next(&w->rng, 3);
	a.remote.has_addr = random_chance(&w->rng, 90);
	b = a;
	b.self = like(w, a.self);
	b.remote.identity = like(w, a.remote.identity);
	memcpy(a.remote.addr, w->addrs[at], 16);
	memcpy(b.remote.addr, w->addrs[other], 16);
	same_answer(w, &a, &b);
	return b.self != a.self || b.remote.identity != a.remote.identity || at != other;
}

static void same_class_same_answer(void **state)
{
	size_t others = 0, classes = 0;

	for (uint64_t seed = 1; seed <= CASES; seed++) {
		struct world w;

		begin(&w, seed);
		for (int i = 0; i < QUESTIONS; i++) {
			others += check_question(&w);
		}
		classes += bh_policy_classes_identity(w.classes, 256) !=
			   bh_policy_classes_identity(w.classes, 256 + RANDOM_TENANTS);
		end(&w);
	}
	/* It was worth it: many were exchanged, and VMs of a tenant were told apart. */
	assert_true(others > (size_t)CASES * QUESTIONS / 4);
	assert_true(classes > CASES / 10);
}

static void unknown_and_reserved(void **state)
{
	struct world w;

	begin(&w, 1);
	assert_int_equal(bh_policy_classes_identity(w.classes, 9999), 0);
	for (uint32_t id = 1; id < 4; id++) {
		assert_int_equal(bh_policy_classes_identity(w.classes, id), id);
	}
	assert_true(bh_policy_classes_identity(w.classes, 256) > 255);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_class_same_answer),
		cmocka_unit_test(unknown_and_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
