/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a look at recorded flows costs: a million rows of talks between 10,000 VMs of 100 tenants
 * under 1,000 policies. A change of one policy, of every policy of one tenant, and a guard-rail
 * that concerns everybody; and a suggestion. Prints; judges nothing.
 */
#include "base/time.h"
#include "base/util.h"
#include "manager/change/suggest.h"
#include "manager/change/whatif.h"

#include <sodium.h>
#include <sys/resource.h>

#define ROWS	 1000000
#define VMS	 10000
#define TENANTS	 100
#define POLICIES 1000
#define APPS	 10 /* of a tenant */
#define HOURS	 24
#define NOW_S	 (500000u * 3600)

static uint64_t state = 1;

static uint32_t draw(uint32_t limit)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((state >> 33) % limit);
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6 +
	       (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6;
}

static void must(int r, const struct bh_diag *diag)
{
	if (r < 0) {
		fprintf(stderr, "%s\n", diag->text);
		exit(1);
	}
}

static struct bh_policy_universe *make_universe(void)
{
	struct bh_policy_universe *u = bh_policy_universe_new();
	struct bh_diag diag = {};

	for (uint32_t t = 0; t < TENANTS; t++) {
		BH_FREE char *name = bh_asprintf("t%u", t);

		must(bh_policy_universe_add_tenant(u, name, 2 + t, &diag), &diag);
	}
	for (uint32_t i = 0; i < VMS; i++) {
		BH_FREE char *app = bh_asprintf("a%u", i / TENANTS % APPS);
		BH_FREE char *node = bh_asprintf("n%u", i);
		struct bh_policy_label labels[] = {{"app", app}, {"node", node}};

		must(bh_policy_universe_add_identity(u, 256 + i, 2 + i % TENANTS, labels, 2, &diag),
		     &diag);
	}
	return u;
}

/* One policy per application of a tenant; port: what its rules open. */
static void put_policy(struct bh_wbuf *w, unsigned int tenant, unsigned int app, unsigned int port)
{
	bh_wbuf_printf(w,
		       "---\nkind: Policy\nmetadata: {name: p%u, tenant: t%u}\nspec:\n"
		       "  selector: {matchLabels: {app: a%u}}\n  ingress:\n"
		       "  - {from: [{selector: {matchLabels: {app: a%u}}}], ports: [tcp/%u]}\n"
		       "  - {from: [{cidr: 10.0.0.0/8}], ports: [tcp/443, tcp/80-90]}\n"
		       "  - {action: deny, from: [{cidr: 192.168.0.0/16}]}\n",
		       app, tenant, app, (app + 1) % APPS, port);
}

static struct bh_policy_set *parse(struct bh_wbuf *w)
{
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};

	must(bh_policy_parse((const char *)w->data, w->size, NULL, &set, &diag), &diag);
	bh_wbuf_done(w);
	return set;
}

static struct bh_policy_set *make_policies(void)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	for (unsigned int i = 0; i < POLICIES; i++) {
		put_policy(&w, i % TENANTS, i / TENANTS % APPS, 3306);
	}
	return parse(&w);
}

static void make_talks(const char *path)
{
	static const uint16_t ports[] = {80, 443, 3306, 5432, 22, 53, 8080, 9090};
	struct manager_talks_options options = {.path = path, .per_hour = 1u << 20};
	struct manager_talks *talks = NULL;
	struct bh_diag diag = {};

	must(manager_talks_open(&options, &talks, &diag), &diag);
	for (uint32_t i = 0; i < ROWS; i++) {
		uint32_t hour = i / (ROWS / HOURS);
		uint32_t src = draw(VMS), tenant = src % TENANTS;
		uint32_t dst = draw(VMS / TENANTS) * TENANTS + tenant;
		bool world = draw(4) == 0;
		struct manager_talk t = {.net = 1,
					 .src_identity = 256 + src,
					 .src_tenant = 2 + tenant,
					 .dst_identity = world ? 2 : 256 + dst,
					 .dst_tenant = world ? 0 : 2 + tenant,
					 .rule = 16 + draw(1000),
					 .port = ports[draw(BH_ARRAY_SIZE(ports))],
					 .proto = 6,
					 .dir = BH_POLICY_EGRESS,
					 .verdict = BH_POLICY_ALLOW,
					 .count = 1 + draw(50),
					 .bytes = draw(100000),
					 .first_s = NOW_S - (HOURS - hour) * 3600,
					 .last_s = NOW_S - (HOURS - hour) * 3600 + draw(3600)};
		uint32_t addr = world ? 0xc0000000 + draw(1u << 20) : 0x0a000000 + dst;

		t.src[10] = t.src[11] = t.dst[10] = t.dst[11] = 0xff;
		for (int b = 0; b < 4; b++) {
			t.src[12 + b] = (uint8_t)((0x0a000000 + src) >> (24 - 8 * b));
			t.dst[12 + b] = (uint8_t)(addr >> (24 - 8 * b));
		}
		must(manager_talks_add(talks, &t, t.last_s, &diag), &diag);
		if (i % (ROWS / HOURS) == ROWS / HOURS - 1) {
			must(manager_talks_flush(talks, i + 1, t.last_s, true, &diag), &diag);
		}
	}
	must(manager_talks_flush(talks, ROWS, NOW_S, true, &diag), &diag);
	manager_talks_close(talks);
}

static struct manager_world *make_world(struct bh_policy_universe *universe,
					const struct bh_policy_set *before,
					const struct bh_policy_set *after, const char *path)
{
	struct manager_world *w = bh_alloc(sizeof(*w));

	w->universe = bh_policy_universe_copy(universe);
	w->sets[0] = bh_policy_set_copy(before);
	w->sets[1] = after ? bh_policy_set_copy(after) : NULL;
	w->provider_default = BH_POLICY_ALLOW;
	w->db_path = bh_strdup(":memory:");
	w->talks_path = bh_strdup(path);
	return w;
}

static void look(const char *what, struct manager_world *world)
{
	struct manager_whatif_options options = {
		.world = world, .scope = {.all = true}, .policies = {.all = true}};
	uint64_t begun = bh_time_mono_ns();
	double cpu = cpu_s();
	struct bh_diag diag = {};
	struct rusage usage;
	json_t *json = NULL;

	must(manager_whatif_run(&options, &json, &diag), &diag);
	getrusage(RUSAGE_SELF, &usage);
	printf("%-34s %6.2f s  %6.2f s CPU  rows %lld  flows judged %lld  would change %lld  "
	       "%ld MB\n",
	       what, (double)(bh_time_mono_ns() - begun) / 1e9, cpu_s() - cpu,
	       json_integer_value(json_object_get(json, "rows")),
	       json_integer_value(json_object_get(json, "judged")),
	       json_integer_value(json_object_get(json, "would_deny")) +
		       json_integer_value(json_object_get(json, "would_allow")),
	       usage.ru_maxrss / 1024);
	json_decref(json);
	manager_world_free(world);
}

static struct bh_policy_set *with(const struct bh_policy_set *before, struct bh_wbuf *documents)
{
	struct bh_policy_set *more = parse(documents), *set = bh_policy_set_copy(before);

	for (size_t i = 0; i < bh_policy_set_count(more); i++) {
		bh_policy_set_put(set, bh_policy_set_at(more, i));
	}
	bh_policy_set_free(more);
	return set;
}

static void suggestion(struct manager_world *world)
{
	struct bh_policy_label label = {"app", "a3"};
	struct manager_suggest_options options = {.world = world,
						  .tenant = "t7",
						  .labels = &label,
						  .label_count = 1,
						  .scope = {.all = true}};
	uint64_t begun = bh_time_mono_ns();
	struct bh_diag diag = {};
	json_t *json = NULL;

	must(manager_suggest_run(&options, &json, &diag), &diag);
	printf("%-34s %6.2f s  flows %lld  covered %lld  rules %zu\n", "suggestion for one label",
	       (double)(bh_time_mono_ns() - begun) / 1e9,
	       json_integer_value(json_object_get(json, "flows")),
	       json_integer_value(json_object_get(json, "covered")),
	       json_array_size(json_object_get(json, "rules")));
	json_decref(json);
	manager_world_free(world);
}

int main(void)
{
	char path[] = "/tmp/bench-whatif-XXXXXX";
	BH_FREE char *talks = mkdtemp(path) ? bh_asprintf("%s/talks.db", path) : NULL;
	struct bh_policy_universe *universe = make_universe();
	struct bh_policy_set *before = make_policies(), *after[4];
	BH_FREE char *cleanup = bh_asprintf("rm -r %s", path);
	struct bh_wbuf w;

	if (!talks || sodium_init() < 0) {
		return 1;
	}
	make_talks(talks);
	bh_wbuf_init(&w, 0);
	put_policy(&w, 7, 3, 5432);
	after[0] = with(before, &w);
	bh_wbuf_init(&w, 0);
	for (unsigned int app = 0; app < APPS; app++) {
		put_policy(&w, 7, app, 5432);
	}
	after[1] = with(before, &w);
	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w, "kind: Policy\nmetadata: {name: rail, tenant: provider}\nspec:\n"
			"  tier: guardrail\n  selector: {}\n  ingress:\n"
			"  - {action: deny, ports: [tcp/22]}\n  egress:\n"
			"  - {action: deny, to: [{cidr: 192.0.0.0/12}], ports: [tcp/22]}\n");
	after[2] = with(before, &w);
	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w, "kind: Policy\nmetadata: {name: rail, tenant: provider}\nspec:\n"
			"  tier: guardrail\n  selector: {}\n  ingress: [{action: deny}]\n"
			"  egress: [{action: deny}]\n");
	after[3] = with(before, &w);
	look("one policy changes", make_world(universe, before, after[0], talks));
	look("all policies of a tenant change", make_world(universe, before, after[1], talks));
	look("a guard-rail for everybody", make_world(universe, before, after[2], talks));
	look("a guard-rail refuses everything", make_world(universe, before, after[3], talks));
	suggestion(make_world(universe, before, NULL, talks));
	for (int i = 0; i < 4; i++) {
		bh_policy_set_free(after[i]);
	}
	bh_policy_set_free(before);
	bh_policy_universe_free(universe);
	return system(cleanup) != 0;
}
