/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random policies, random packets: what the documents say (bh_policy_eval) is what the compiled
 * rows say, the rule's number included. Each case prints its seed when it fails; BH_SEED=n runs
 * that one alone.
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

#define CASES	3000
#define PACKETS 60
#define TENANTS RANDOM_TENANTS
#define MEMBERS 12 /* identities */

/* ---- a small world ---- */
struct member {
	uint32_t id;
	uint32_t tenant;
	uint8_t addr[16];
	struct bh_policy_label labels[40];
	size_t label_count;
};

static void add_class(const char *key, const char *value, void *arg)
{
	struct member *m = arg;

	m->labels[m->label_count].key = bh_strdup(key);
	m->labels[m->label_count++].value = value;
}

static void make_member(struct rng *r, const struct bh_policy_set *set, size_t i, struct member *m)
{
	struct bh_policy_vm vm = {.address_count = 1};
	char name[8];

	snprintf(name, sizeof(name), "vm%zu", i % 5);
	m->id = 256 + (uint32_t)i * 3;
	m->tenant = 1 + random_next(r, TENANTS);
	m->label_count = 0;
	assert_int_equal(bh_addr_parse(random_address(r), m->addr), 0);
	if (random_chance(r, 80)) {
		m->labels[m->label_count++] = (struct bh_policy_label){"role", random_role(r)};
	}
	if (random_chance(r, 50)) {
		m->labels[m->label_count++] = (struct bh_policy_label){"zone", random_zone(r)};
	}
	if (random_chance(r, 30)) {
		m->labels[m->label_count++] = (struct bh_policy_label){
			bh_strdup(BH_POLICY_QUARANTINE), random_chance(r, 50) ? "7" : ""};
	}
	vm.tenant = random_tenants[m->tenant - 1];
	vm.name = name;
	vm.addresses = &m->addr;
	bh_policy_vm_classes(set, &vm, add_class, m);
}

/* Number of a rule: place of its policy, direction, index. */
static uint32_t number_of(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			  void *arg)
{
	const struct bh_policy_set *set = arg;

	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		if (bh_policy_set_at(set, i) == policy) {
			return (uint32_t)(16 + i * 100 + (size_t)dir * 50 + index);
		}
	}
	fail_msg("a rule of no policy");
	return 0;
}

struct world {
	struct rng rng;
	struct bh_policy_set *set;
	struct bh_policy_universe *universe;
	struct bh_policy_compiler *compiler;
	struct member members[MEMBERS];
	struct bh_wbuf text;
};

static void world_init(struct world *world, uint64_t seed)
{
	struct bh_policy_compile_options options = {};
	struct bh_diag diag = {};
	size_t policies;
	char buf[1024];

	memset(world, 0, sizeof(*world));
	world->rng.state = seed * 7919 + 1;
	policies = 1 + random_next(&world->rng, 6);
	bh_wbuf_init(&world->text, 0);
	for (size_t i = 0; i < policies; i++) {
		random_policy(&world->rng, &world->text, i, NULL);
	}
	if (bh_policy_parse((char *)world->text.data, world->text.size, NULL, &world->set, &diag)) {
		fail_msg("%s\n%s", bh_diag_format(&diag, buf, sizeof(buf)),
			 bh_wbuf_cstr(&world->text));
	}
	world->universe = bh_policy_universe_new();
	for (uint32_t i = 0; i < TENANTS; i++) {
		assert_int_equal(bh_policy_universe_add_tenant(world->universe, random_tenants[i],
							       i + 1, NULL),
				 0);
	}
	for (size_t i = 0; i < MEMBERS; i++) {
		struct member *m = &world->members[i];

		make_member(&world->rng, world->set, i, m);
		assert_int_equal(bh_policy_universe_add_identity(world->universe, m->id, m->tenant,
								 m->labels, m->label_count, &diag),
				 0);
	}
	options.provider_default =
		random_chance(&world->rng, 30) ? BH_POLICY_ALLOW : BH_POLICY_DENY;
	options.rule_fn = number_of;
	options.rule_arg = world->set;
	world->compiler = bh_policy_compiler_new(world->set, world->universe, &options);
}

static void world_done(struct world *world)
{
	for (size_t i = 0; i < MEMBERS; i++) {
		struct member *m = &world->members[i];

		for (size_t k = 0; k < m->label_count; k++) {
			if (strchr(m->labels[k].key, '/')) {
				free((void *)m->labels[k].key);
			}
		}
	}
	bh_policy_compiler_free(world->compiler);
	bh_policy_universe_free(world->universe);
	bh_policy_set_free(world->set);
	bh_wbuf_done(&world->text);
}

static void random_packet(struct world *world, struct lookup_packet *p)
{
	struct rng *r = &world->rng;
	const struct bh_policy_service *s = random_service(r);

	memset(p, 0, sizeof(*p));
	p->proto = s->proto;
	p->port = s->port;
	assert_int_equal(bh_addr_parse(random_address(r), p->addr), 0);
	if (random_chance(r, 60)) {
		const struct member *m = &world->members[random_next(r, MEMBERS)];

		p->identity = m->id;
		p->tenant = m->tenant;
	} else {
		p->identity = 1 + random_next(r, 3);
	}
}

static void check_packet(struct world *world, uint64_t seed, const struct member *self,
			 enum bh_policy_dir dir, const struct bh_segment *seg)
{
	struct lookup_packet p;
	struct lookup_result got;
	struct bh_policy_verdict want;
	struct bh_policy_question q = {.self = self->id, .dir = dir, .remote = {.has_addr = true}};
	uint32_t rule;
	char addr[BH_ADDR_TEXT_SIZE];

	random_packet(world, &p);
	q.remote.identity = p.identity;
	memcpy(q.remote.addr, p.addr, sizeof(p.addr));
	q.service = (struct bh_policy_service){p.proto, p.port};
	assert_int_equal(bh_policy_eval(world->compiler, &q, NULL, NULL, &want, NULL), 0);
	got = lookup(seg, &p);
	rule = want.builtin ? want.builtin : number_of(want.policy, dir, want.index, world->set);
	if (got.action != want.action || got.rule != rule || got.flags != want.flags) {
		bh_addr_format(p.addr, addr);
		fail_msg("seed %llu: identity %u dir %d remote %u (tenant %u) %s proto %u port %u: "
			 "documents say action %d rule %u, rows say action %d rule %u\n%s",
			 (unsigned long long)seed, self->id, dir, p.identity, p.tenant, addr,
			 p.proto, p.port, want.action, rule, got.action, got.rule,
			 bh_wbuf_cstr(&world->text));
	}
}

static void check_case(uint64_t seed)
{
	struct world world;
	struct bh_diag diag = {};

	world_init(&world, seed);
	for (size_t i = 0; i < 3; i++) {
		const struct member *self = &world.members[random_next(&world.rng, MEMBERS)];
		enum bh_policy_dir dir = (enum bh_policy_dir)random_next(&world.rng, 2);
		struct bh_segment *seg;
		struct bh_policy_size size;

		if (bh_policy_compile(world.compiler, self->id, dir, &seg, &diag)) {
			fail_msg("seed %llu: %s", (unsigned long long)seed, diag.text);
		}
		assert_int_equal(bh_policy_estimate(world.compiler, self->id, dir, &size, &diag),
				 0);
		assert_true(bh_segment_count_of(seg, BH_REC_ROW) <= size.rows);
		assert_true(bh_segment_count_of(seg, BH_REC_CIDR) <= size.cidrs);
		assert_true(bh_segment_count_of(seg, BH_REC_RANGE) <= size.ranges);
		for (size_t k = 0; k < PACKETS; k++) {
			check_packet(&world, seed, self, dir, seg);
		}
		bh_segment_unref(seg);
	}
	world_done(&world);
}

static void rows_say_what_documents_say(void **state)
{
	const char *one = getenv("BH_SEED");
	const char *many = getenv("BH_CASES");
	uint64_t cases = many ? strtoull(many, NULL, 10) : CASES;

	if (one) {
		check_case(strtoull(one, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= cases; seed++) {
		check_case(seed);
	}
}

static struct bh_policy_verdict asked(const struct bh_policy_compiler *compiler, uint32_t self,
				      enum bh_policy_dir dir, const struct lookup_packet *p)
{
	struct bh_policy_question q = {.self = self,
				       .dir = dir,
				       .remote = {.identity = p->identity, .has_addr = true},
				       .service = {p->proto, p->port}};
	struct bh_policy_verdict v;

	memcpy(q.remote.addr, p->addr, sizeof(p->addr));
	assert_int_equal(bh_policy_eval(compiler, &q, NULL, NULL, &v, NULL), 0);
	return v;
}

static const struct member *outside(const struct world *world)
{
	for (size_t i = 0; i < MEMBERS; i++) {
		const struct member *m = &world->members[i];
		bool in = false;

		for (size_t k = 0; k < m->label_count; k++) {
			in = in || !strcmp(m->labels[k].key, BH_POLICY_QUARANTINE);
		}
		if (!in) {
			return m;
		}
	}
	return NULL;
}

/* The same VM inside and outside: nothing opens by going in, and what decides there is what
 * forbids, what says so, or DHCP. */
static void check_quarantine(uint64_t seed)
{
	struct world world;
	const struct member *m;
	struct bh_policy_label labels[41];
	uint32_t inside = 4000;

	world_init(&world, seed);
	m = outside(&world);
	for (size_t i = 0; m && i < m->label_count; i++) {
		labels[i] = m->labels[i];
	}
	if (!m) {
		world_done(&world);
		return;
	}
	labels[m->label_count] = (struct bh_policy_label){BH_POLICY_QUARANTINE, "1"};
	assert_int_equal(bh_policy_universe_add_identity(world.universe, inside, m->tenant, labels,
							 m->label_count + 1, NULL),
			 0);
	for (size_t i = 0; i < PACKETS; i++) {
		enum bh_policy_dir dir = (enum bh_policy_dir)random_next(&world.rng, 2);
		struct bh_policy_verdict in;
		struct bh_policy_verdict out;
		struct lookup_packet p;

		random_packet(&world, &p);
		in = asked(world.compiler, inside, dir, &p);
		out = asked(world.compiler, m->id, dir, &p);
		if (in.action != BH_POLICY_ALLOW) {
			continue;
		}
		assert_int_equal(out.action, BH_POLICY_ALLOW);
		assert_true(in.builtin == BH_POLICY_RULE_DHCP ||
			    in.builtin == BH_POLICY_RULE_DHCPV6 ||
			    (in.policy && bh_policy_in_quarantine(in.policy)));
	}
	world_done(&world);
}

static void quarantine_opens_nothing(void **state)
{
	for (uint64_t seed = 1; seed <= 1000; seed++) {
		check_quarantine(seed);
	}
}

/* Whom a change touches: every set that differs must be among the reported ones. */
struct marked {
	uint8_t hit[4096];
};
static void mark(uint32_t identity, void *arg)
{
	struct marked *m = arg;

	assert_true(identity < sizeof(m->hit));
	assert_int_equal(m->hit[identity]++, 0);
}

static uint32_t number_by_text(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			       void *arg)
{
	uint32_t h = 17;

	for (const char *s = bh_policy_canonical(policy); *s; s++) {
		h = h * 31 + (unsigned char)*s;
	}
	return 16 + (h + (uint32_t)dir * 1000 + (uint32_t)index) % 1000000000;
}

static const struct bh_policy_compile_options by_text = {.rule_fn = number_by_text};

static void check_affected(uint64_t seed)
{
	struct world world;
	struct bh_policy_set *to;
	struct bh_policy_compiler *after;
	struct marked marked = {};
	size_t victim;

	world_init(&world, seed);
	to = bh_policy_set_copy(world.set);
	victim = random_next(&world.rng, (uint32_t)bh_policy_set_count(to));
	assert_true(bh_policy_set_drop(to, bh_policy_tenant(bh_policy_set_at(to, victim)),
				       bh_policy_name(bh_policy_set_at(to, victim))));
	after = bh_policy_compiler_new(to, world.universe, &by_text);
	bh_policy_compiler_free(world.compiler);
	world.compiler = bh_policy_compiler_new(world.set, world.universe, &by_text);
	bh_policy_affected(world.set, to, world.universe, mark, &marked);
	for (size_t i = 0; i < MEMBERS * 2; i++) {
		uint32_t id = world.members[i / 2].id;
		enum bh_policy_dir dir = (enum bh_policy_dir)(i % 2);
		struct bh_segment *a;
		struct bh_segment *b;

		assert_int_equal(bh_policy_compile(world.compiler, id, dir, &a, NULL), 0);
		assert_int_equal(bh_policy_compile(after, id, dir, &b, NULL), 0);
		if (!bh_hash_equal(bh_segment_hash(a), bh_segment_hash(b)) && !marked.hit[id]) {
			fail_msg("seed %llu: set of %u changes but is not reported",
				 (unsigned long long)seed, id);
		}
		bh_segment_unref(a);
		bh_segment_unref(b);
	}
	bh_policy_compiler_free(after);
	bh_policy_set_free(to);
	world_done(&world);
}

static void check_dependents(uint64_t seed)
{
	struct world world;
	struct bh_policy_compiler *after;
	struct marked marked = {};
	struct bh_segment *before[MEMBERS * 2];
	uint32_t gone;

	world_init(&world, seed);
	gone = world.members[random_next(&world.rng, MEMBERS)].id;
	for (size_t i = 0; i < MEMBERS * 2; i++) {
		assert_int_equal(bh_policy_compile(world.compiler, world.members[i / 2].id,
						   (enum bh_policy_dir)(i % 2), &before[i], NULL),
				 0);
	}
	bh_policy_dependents(world.set, world.universe, gone, mark, &marked);
	assert_int_equal(marked.hit[gone], 0);
	bh_policy_universe_drop_identity(world.universe, gone);
	after = bh_policy_compiler_new(world.set, world.universe, &by_text);
	for (size_t i = 0; i < MEMBERS * 2; i++) {
		uint32_t id = world.members[i / 2].id;
		struct bh_segment *b;

		if (id != gone) {
			assert_int_equal(
				bh_policy_compile(after, id, (enum bh_policy_dir)(i % 2), &b, NULL),
				0);
			if (bh_segment_count(b) != bh_segment_count(before[i]) && !marked.hit[id]) {
				fail_msg("seed %llu: set of %u depends on %u but is not reported",
					 (unsigned long long)seed, id, gone);
			}
			bh_segment_unref(b);
		}
		bh_segment_unref(before[i]);
	}
	bh_policy_compiler_free(after);
	world_done(&world);
}

static void changes_touch_whom_they_say(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		check_affected(seed);
		check_dependents(seed);
	}
}

/* Canonical text is a fixed point of reading and writing. */
static void print_and_parse_are_inverse(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct world world;
		struct bh_policy_set *again;
		struct bh_wbuf a;
		struct bh_wbuf b;

		world_init(&world, seed);
		bh_wbuf_init(&a, 0);
		bh_wbuf_init(&b, 0);
		bh_policy_set_print(world.set, &a);
		assert_int_equal(bh_policy_parse((char *)a.data, a.size, NULL, &again, NULL), 0);
		bh_policy_set_print(again, &b);
		assert_string_equal(bh_wbuf_cstr(&a), bh_wbuf_cstr(&b));
		bh_policy_set_free(again);
		bh_wbuf_done(&a);
		bh_wbuf_done(&b);
		world_done(&world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_say_what_documents_say),
		cmocka_unit_test(quarantine_opens_nothing),
		cmocka_unit_test(changes_touch_whom_they_say),
		cmocka_unit_test(print_and_parse_are_inverse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
