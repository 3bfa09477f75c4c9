/* SPDX-License-Identifier: Apache-2.0 */
/* Meaning: the example of the shop, the flat list of source document 004, tiers, explain, diff,
 * check. */
#include "base/file.h"
#include "base/util.h"
#include "model/id.h"
#include "policy/eval.h"
#include "policy_lookup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

enum { HOST = 1, WORLD = 2, MULTICAST = 3, WEB = 256, DB, ADMIN, ATTACKER, PROVIDER_ADMIN };
enum { PROVIDER_T = 1, SHOP_T = 2, RIVAL_T = 3 };

static struct bh_policy_set *parse(const char *text, const char *tenant)
{
	struct bh_policy_parse_options options = {.file = "f.yaml", .default_tenant = tenant};
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	char buf[1024];

	if (bh_policy_parse(text, strlen(text), &options, &set, &diag)) {
		fail_msg("%s", bh_diag_format(&diag, buf, sizeof(buf)));
	}
	return set;
}

static struct bh_policy_set *parse_file(const char *name, const char *tenant)
{
	BH_FREE char *path = bh_asprintf("%s/%s", POLICY_DIR, name);
	BH_FREE char *text = NULL;
	size_t size;

	assert_int_equal(bh_file_read(path, BH_POLICY_TEXT_MAX, &text, &size, NULL), 0);
	return parse(text, tenant);
}

static void add(struct bh_policy_universe *u, uint32_t id, uint32_t tenant, const char *role)
{
	struct bh_policy_label label = {"role", role};

	assert_int_equal(bh_policy_universe_add_identity(u, id, tenant, &label, role ? 1 : 0, NULL),
			 0);
}

static struct bh_policy_universe *make_universe(void)
{
	struct bh_policy_universe *u = bh_policy_universe_new();

	assert_int_equal(bh_policy_universe_add_tenant(u, "provider", PROVIDER_T, NULL), 0);
	assert_int_equal(bh_policy_universe_add_tenant(u, "shop", SHOP_T, NULL), 0);
	assert_int_equal(bh_policy_universe_add_tenant(u, "rival", RIVAL_T, NULL), 0);
	add(u, WEB, SHOP_T, "web");
	add(u, DB, SHOP_T, "db");
	add(u, ADMIN, SHOP_T, "admin");
	add(u, ATTACKER, RIVAL_T, "attacker");
	add(u, PROVIDER_ADMIN, PROVIDER_T, "admin");
	return u;
}

static uint32_t number(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
		       void *arg)
{
	return 16 + (uint32_t)index;
}

struct fixture {
	struct bh_policy_set *set;
	struct bh_policy_universe *universe;
	struct bh_policy_compiler *compiler;
};

static void fixture_init(struct fixture *f, struct bh_policy_set *set)
{
	f->set = set;
	f->universe = make_universe();
	f->compiler = bh_policy_compiler_new(
		set, f->universe, &(struct bh_policy_compile_options){.rule_fn = number});
}

static void fixture_done(struct fixture *f)
{
	bh_policy_compiler_free(f->compiler);
	bh_policy_universe_free(f->universe);
	bh_policy_set_free(f->set);
}

/* "allow", and the name of the deciding rule or the number of a built-in one. */
static void expect_at(struct fixture *f, uint32_t self, enum bh_policy_dir dir, uint32_t remote,
		      const char *service, const char *want)
{
	struct bh_policy_question q = {.self = self, .dir = dir, .remote = {.identity = remote}};
	struct bh_policy_verdict v;
	char got[256];

	assert_int_equal(bh_policy_service_parse(service, &q.service, NULL), 0);
	assert_int_equal(bh_policy_eval(f->compiler, &q, NULL, NULL, &v, NULL), 0);
	if (v.builtin) {
		snprintf(got, sizeof(got), "%s %u", bh_policy_action_name(v.action), v.builtin);
	} else {
		snprintf(got, sizeof(got), "%s %s", bh_policy_action_name(v.action),
			 bh_policy_rule_name(v.policy, dir, v.index));
	}
	if (strcmp(got, want) != 0) {
		fail_msg("%u %s %u %s: %s, expected %s", self, bh_policy_dir_name(dir), remote,
			 service, got, want);
	}
}

#define IN  BH_POLICY_INGRESS
#define OUT BH_POLICY_EGRESS

static void the_shop_is_as_its_comments_say(void **state)
{
	struct fixture f;

	fixture_init(&f, parse_file("../../../examples/shop.yaml", NULL));
	expect_at(&f, WEB, IN, WORLD, "tcp/443", "allow shoppers");
	expect_at(&f, WEB, IN, ATTACKER, "tcp/80", "allow shoppers");
	expect_at(&f, WEB, IN, ATTACKER, "tcp/22", "deny ssh-from-others");
	expect_at(&f, WEB, IN, ADMIN, "tcp/22", "allow admins");
	expect_at(&f, WEB, IN, PROVIDER_ADMIN, "tcp/22", "allow provider-admins");
	expect_at(&f, WEB, IN, WORLD, "tcp/22", "deny 1");
	expect_at(&f, WEB, IN, DB, "icmp/8", "allow ");
	expect_at(&f, WEB, IN, ATTACKER, "icmp/8", "deny 1");
	expect_at(&f, WEB, OUT, DB, "tcp/3306", "allow to-db");
	expect_at(&f, WEB, OUT, WORLD, "tcp/443", "deny 1");
	expect_at(&f, WEB, OUT, HOST, "udp/53", "allow 4");
	expect_at(&f, WEB, OUT, HOST, "icmp/8/0", "allow 5");
	expect_at(&f, WEB, OUT, MULTICAST, "udp/67", "allow 3");
	expect_at(&f, WEB, OUT, MULTICAST, "udp/547", "allow 6");
	expect_at(&f, WEB, IN, ATTACKER, "udp/68", "deny 1");
	expect_at(&f, WEB, IN, HOST, "udp/68", "allow 3");
	expect_at(&f, DB, IN, WEB, "tcp/3306", "allow from-web");
	expect_at(&f, DB, IN, ADMIN, "tcp/3306", "reject elsewhere-in-the-shop");
	expect_at(&f, DB, IN, ATTACKER, "tcp/3306", "deny 1");
	expect_at(&f, ATTACKER, OUT, WEB, "tcp/22", "allow out");
	expect_at(&f, ATTACKER, IN, WEB, "tcp/80", "deny in");
	fixture_done(&f);
}

static struct bh_segment *compile(struct fixture *f, uint32_t id, enum bh_policy_dir dir)
{
	struct bh_segment *seg = NULL;
	struct bh_diag diag = {};

	if (bh_policy_compile(f->compiler, id, dir, &seg, &diag)) {
		fail_msg("%s", diag.text);
	}
	return seg;
}

static void segments_look_as_documented(void **state)
{
	struct fixture f;
	struct bh_segment *seg;
	const struct bh_rec_set *set;
	const struct bh_rec_row *row;

	fixture_init(&f, parse_file("../../../examples/shop.yaml", NULL));
	seg = compile(&f, DB, IN);
	assert_string_equal(bh_segment_name(seg), "set:257.1");
	set = lookup_set(seg);
	assert_int_equal(set->set, DB << 1 | 1);
	assert_int_equal(set->default_rule, BH_POLICY_RULE_IMPLICIT_DENY);
	assert_int_equal(set->default_action, BH_POLICY_DENY);
	row = lookup_row(seg, WEB, 3306, 6, 1 * 4 + 2);
	assert_non_null(row);
	assert_int_equal(row->action, BH_POLICY_ALLOW);
	/* the whole tenant is one row, whatever its VMs */
	row = lookup_row(seg, SHOP_T, 0, 6, 3 * 4 + 1);
	assert_non_null(row);
	assert_int_equal(row->action, BH_POLICY_REJECT);
	assert_int_equal(row->flags, 1);
	assert_int_equal(bh_segment_count_of(seg, BH_REC_CIDR), 0);
	bh_segment_unref(seg);
	seg = compile(&f, ATTACKER, OUT);
	assert_int_equal(lookup_set(seg)->default_rule, BH_POLICY_RULE_PROVIDER_DEFAULT);
	bh_segment_unref(seg);
	assert_int_equal(bh_policy_compile(f.compiler, 9999, IN, &seg, NULL), -ENOENT);
	fixture_done(&f);
}

/* ---- the flat list ---- */
static void take_class(const char *key, const char *value, void *arg)
{
	struct bh_policy_label **at = arg;

	(*at)->key = bh_strdup(key);
	(*at)++->value = value;
}

/* An identity for a VM of tenant shop with one address and these policies. */
static void add_vm(struct bh_policy_universe *u, const struct bh_policy_set *set, uint32_t id,
		   const char *name, const char *addr)
{
	struct bh_policy_label labels[32] = {};
	struct bh_policy_label *end = labels;
	uint8_t a[16];
	struct bh_policy_vm vm = {
		.tenant = "shop", .name = name, .addresses = &a, .address_count = 1};

	assert_int_equal(bh_addr_parse(addr, a), 0);
	bh_policy_vm_classes(set, &vm, take_class, &end);
	assert_int_equal(bh_policy_universe_add_identity(u, id, SHOP_T, labels,
							 (size_t)(end - labels), NULL),
			 0);
	for (struct bh_policy_label *l = labels; l < end; l++) {
		free((void *)l->key);
	}
}

/* src and dst may be 0 for world. Both by documents and by rows. */
static bool passes(struct fixture *f, uint32_t src, const char *src_addr, uint32_t dst,
		   const char *dst_addr, const char *service)
{
	struct bh_policy_end ends[2] = {{.identity = src ? src : WORLD, .has_addr = true},
					{.identity = dst ? dst : WORLD, .has_addr = true}};
	struct bh_policy_service s;
	bool allowed = true;
	json_t *json;

	assert_int_equal(bh_addr_parse(src_addr, ends[0].addr), 0);
	assert_int_equal(bh_addr_parse(dst_addr, ends[1].addr), 0);
	assert_int_equal(bh_policy_service_parse(service, &s, NULL), 0);
	for (int i = 0; i < 2; i++) {
		enum bh_policy_dir dir = i ? IN : OUT;
		const struct bh_policy_end *remote = &ends[!i];
		struct lookup_packet p = {.identity = remote->identity,
					  .tenant = remote->identity >= 256 ? SHOP_T : 0,
					  .proto = s.proto,
					  .port = s.port};

		if (ends[i].identity < 256) {
			continue;
		}
		struct bh_segment *seg = compile(f, ends[i].identity, dir);

		memcpy(p.addr, remote->addr, sizeof(p.addr));
		allowed = lookup(seg, &p).action == BH_POLICY_ALLOW && allowed;
		bh_segment_unref(seg);
	}
	assert_int_equal(bh_policy_explain(f->compiler, &ends[0], &ends[1], &s, &json, NULL), 0);
	assert_int_equal(json_is_true(json_object_get(json, "allowed")), allowed);
	json_decref(json);
	return allowed;
}

static void the_flat_list_means_what_it_says(void **state)
{
	struct fixture f;

	fixture_init(&f, parse_file("flat-blog.in.yaml", "shop"));
	add_vm(f.universe, f.set, 300, "web", "192.168.1.10");
	add_vm(f.universe, f.set, 301, "db", "192.168.1.20");
	add_vm(f.universe, f.set, 302, "near", "192.168.1.99");
	add_vm(f.universe, f.set, 303, "far", "192.168.2.99");

	/* 80 and 443 of .10 are open to everybody */
	assert_true(passes(&f, 0, "8.8.8.8", 300, "192.168.1.10", "tcp/80"));
	assert_true(passes(&f, 303, "192.168.2.99", 300, "192.168.1.10", "tcp/443"));
	assert_true(passes(&f, 302, "192.168.1.99", 300, "192.168.1.10", "tcp/443"));
	assert_false(passes(&f, 0, "8.8.8.8", 300, "192.168.1.10", "tcp/22"));
	assert_false(passes(&f, 0, "8.8.8.8", 300, "192.168.1.10", "udp/443"));
	/* 3306 of .20 is open to its /24 */
	assert_true(passes(&f, 300, "192.168.1.10", 301, "192.168.1.20", "tcp/3306"));
	assert_true(passes(&f, 302, "192.168.1.99", 301, "192.168.1.20", "tcp/3306"));
	assert_true(passes(&f, 0, "192.168.1.7", 301, "192.168.1.20", "tcp/3306"));
	assert_false(passes(&f, 303, "192.168.2.99", 301, "192.168.1.20", "tcp/3306"));
	assert_false(passes(&f, 0, "8.8.8.8", 301, "192.168.1.20", "tcp/3306"));
	/* the rest is denied, IPv6 too */
	assert_false(passes(&f, 302, "192.168.1.99", 301, "192.168.1.20", "tcp/80"));
	assert_false(passes(&f, 302, "192.168.1.99", 303, "192.168.2.99", "tcp/80"));
	assert_false(passes(&f, 302, "192.168.1.99", 0, "8.8.8.8", "udp/53"));
	assert_false(passes(&f, 302, "192.168.1.99", 0, "2001:db8::1", "tcp/80"));
	assert_false(passes(&f, 0, "2001:db8::1", 300, "192.168.1.10", "tcp/80"));
	fixture_done(&f);
}

/* BL-8: source VM, destination VM, tcp, 3306, DENY. */
static void a_rule_can_name_two_vms(void **state)
{
	struct fixture f;

	fixture_init(&f, parse("firewall_rules:\n"
			       "- {source: app1, destination: db1, protocol: tcp, port: 3306, "
			       "action: DENY}\n"
			       "- {source: any, destination: any, action: ALLOW}\n",
			       "shop"));
	add_vm(f.universe, f.set, 300, "app1", "10.0.0.1");
	add_vm(f.universe, f.set, 301, "db1", "10.0.0.2");
	add_vm(f.universe, f.set, 302, "app2", "10.0.0.3");
	assert_false(passes(&f, 300, "10.0.0.1", 301, "10.0.0.2", "tcp/3306"));
	assert_true(passes(&f, 300, "10.0.0.1", 301, "10.0.0.2", "tcp/3307"));
	assert_true(passes(&f, 302, "10.0.0.3", 301, "10.0.0.2", "tcp/3306"));
	assert_true(passes(&f, 301, "10.0.0.2", 300, "10.0.0.1", "tcp/3306"));
	fixture_done(&f);
}

/* ---- compiled form ---- */
static uint32_t class_of(const struct bh_segment *seg, const char *addr)
{
	uint8_t a[16];

	assert_int_equal(bh_addr_parse(addr, a), 0);
	return (uint32_t)lookup_cidr(seg, a);
}

#define HEAD(name)                                                                                 \
	"kind: Policy\nmetadata: {name: " name                                                     \
	", tenant: shop}\nspec:\n  selector: {}\n  ingress:\n"

static void classes_stay(void **state)
{
	struct fixture a;
	struct fixture b;
	struct bh_segment *x;
	struct bh_segment *y;

#define SOME                                                                                       \
	"  - from: [{cidr: 10.1.0.0/16}]\n    ports: [tcp/80-90]\n"                                \
	"  - from: [{cidr: 10.0.0.0/8}, {cidr: 11.0.0.0/8}]\n"
	fixture_init(&a, parse(HEAD("a") SOME, NULL));
	fixture_init(&b,
		     parse(HEAD("a") SOME "  - from: [{cidr: 12.0.0.0/8}, {cidr: \"fd00::/8\"}]\n"
					  "    ports: [tcp/1-9]\n",
			   NULL));
#undef SOME
	x = compile(&a, WEB, IN);
	y = compile(&b, WEB, IN);
	assert_int_equal(class_of(x, "10.9.9.9"), class_of(y, "10.9.9.9"));
	assert_int_equal(class_of(x, "11.9.9.9"),
			 class_of(x, "10.9.9.9")); /* same rules, one class */
	assert_int_equal(class_of(x, "10.1.9.9"), class_of(y, "10.1.9.9"));
	assert_int_equal(lookup_range(x, 6, 85), lookup_range(y, 6, 85));
	assert_true(class_of(y, "12.9.9.9") == class_of(y, "fd00::1"));
	bh_segment_unref(x);
	bh_segment_unref(y);
	fixture_done(&a);
	fixture_done(&b);
}

static void useless_rows_are_left_out(void **state)
{
	struct fixture f;
	struct bh_segment *seg;

	/* everything is decided by the first rule; both families in one row */
	fixture_init(
		&f,
		parse(HEAD("a") "  - from: [{cidr: 0.0.0.0/0}, {cidr: \"::/0\"}]\n"
				"  - from: [{cidr: 10.1.0.0/16}]\n    ports: [tcp/80-90, tcp/1]\n"
				"  - from: [{selector: {matchLabels: {role: web}}}]\n",
		      NULL));
	seg = compile(&f, WEB, IN);
	assert_int_equal(bh_segment_count(seg), 2);
	assert_int_equal(lookup_set(seg)->mask, 1);
	bh_segment_unref(seg);
	fixture_done(&f);
	/* 0.0.0.0/0 alone: one prefix, one row */
	fixture_init(
		&f, parse(HEAD("a") "  - from: [{cidr: 0.0.0.0/0}]\n    ports: [tcp/443]\n", NULL));
	seg = compile(&f, WEB, IN);
	assert_int_equal(bh_segment_count_of(seg, BH_REC_CIDR), 1);
	assert_non_null(lookup_row(seg, class_of(seg, "1.2.3.4"), 443, 6, 2 * 4 + 2));
	bh_segment_unref(seg);
	fixture_done(&f);
}

static void what_does_not_fit_is_refused_with_numbers(void **state)
{
	struct bh_policy_compile_options options = {
		.max_rows = 50, .max_cidrs = 3, .max_ranges = 5};
	struct fixture f;
	struct bh_policy_compiler *small;
	struct bh_segment *seg = NULL;
	struct bh_diag diag = {};
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w, HEAD("a") "  - ports: [");
	for (int i = 1; i <= 60; i++) {
		bh_wbuf_printf(&w, "tcp/%d, ", i);
	}
	bh_wbuf_str(&w, "]\n");
	fixture_init(&f, parse(bh_wbuf_cstr(&w), NULL));
	small = bh_policy_compiler_new(f.set, f.universe, &options);
	assert_int_equal(bh_policy_compile(small, WEB, IN, &seg, &diag), -E2BIG);
	assert_non_null(strstr(diag.text, "need up to 64 rows"));
	assert_non_null(strstr(diag.text, "the limits are 50, 3 and 5"));
	assert_null(seg);
	bh_policy_compiler_free(small);
	fixture_done(&f);

	fixture_init(&f, parse(HEAD("a") "  - ports: [tcp/1-65534]\n", NULL));
	small = bh_policy_compiler_new(f.set, f.universe, &options);
	assert_int_equal(bh_policy_compile(small, WEB, IN, &seg, &diag), -E2BIG);
	bh_policy_compiler_free(small);
	fixture_done(&f);
	fixture_init(&f, parse(HEAD("a") "  - from: [{cidr: 1.0.0.0/8}, {cidr: 2.0.0.0/8}, "
					 "{cidr: 4.0.0.0/8}, {cidr: 6.0.0.0/8}]\n",
			       NULL));
	small = bh_policy_compiler_new(f.set, f.universe, &options);
	assert_int_equal(bh_policy_compile(small, WEB, IN, &seg, &diag), -E2BIG);
	bh_policy_compiler_free(small);
	fixture_done(&f);
	bh_wbuf_done(&w);
}

/* ---- explain ---- */
static void explain_names_rule_and_line(void **state)
{
	struct fixture f;
	struct bh_policy_end src = {.identity = ADMIN};
	struct bh_policy_end dst = {.identity = DB};
	struct bh_policy_service s;
	json_t *json;
	json_t *in;
	json_t *rule;

	fixture_init(&f, parse_file("../../../examples/shop.yaml", NULL));
	assert_int_equal(bh_policy_service_parse("tcp/3306", &s, NULL), 0);
	assert_int_equal(bh_policy_explain(f.compiler, &src, &dst, &s, &json, NULL), 0);
	assert_string_equal(json_string_value(json_object_get(json, "action")), "reject");
	assert_string_equal(json_string_value(json_object_get(json, "service")), "tcp/3306");
	in = json_object_get(json, "ingress");
	rule = json_object_get(in, "rule");
	assert_string_equal(json_string_value(json_object_get(rule, "policy")), "db");
	assert_string_equal(json_string_value(json_object_get(rule, "says")),
			    "reject tcp from all VMs, log");
	assert_true(json_integer_value(json_object_get(rule, "line")) > 100);
	/* two of the guardrail, two of db before it, and itself */
	assert_int_equal(json_array_size(json_object_get(in, "considered")), 5);
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_object_get(in, "considered"), 2), "outcome")),
		"peer");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(json, "egress"), "action")),
		"allow");
	json_decref(json);

	src.identity = WORLD;
	assert_int_equal(bh_policy_explain(f.compiler, &src, &dst, &s, &json, NULL), 0);
	assert_true(json_is_null(json_object_get(json, "egress")));
	assert_string_equal(json_string_value(json_object_get(json, "action")), "deny");
	json_decref(json);
	fixture_done(&f);
}

static void quarantine_leaves_what_says_so(void **state)
{
	struct bh_policy_set *set = parse(
		"kind: Policy\nmetadata: {name: g, tenant: provider}\nspec:\n"
		"  tier: guardrail\n  selector: {}\n  ingress:\n"
		"  - {name: telnet, action: reject, ports: [tcp/23]}\n"
		"  - {name: web, ports: [tcp/80]}\n---\n"
		"kind: Policy\nmetadata: {name: q, tenant: shop}\nspec:\n"
		"  selector: {}\n  quarantine: true\n  ingress:\n"
		"  - {name: ssh, from: [{entity: host}], ports: [tcp/22, tcp/23, tcp/80]}\n---\n"
		"kind: Policy\nmetadata: {name: r, tenant: shop}\nspec:\n"
		"  selector: {}\n  ingress: [{}]\n  egress: [{name: all}]\n",
		NULL);
	const struct bh_policy_label labels[] = {{"role", "web"}, {BH_POLICY_QUARANTINE, "3"}};
	const struct bh_policy_end host = {.identity = HOST};
	struct bh_policy_service service = {6, 53};
	struct fixture f;
	json_t *json;
	json_t *end;

	fixture_init(&f, set);
	assert_int_equal(bh_policy_universe_add_identity(f.universe, 300, SHOP_T, labels, 2, NULL),
			 0);
	expect_at(&f, 300, IN, HOST, "tcp/22", "allow ssh");
	expect_at(&f, 300, IN, HOST, "tcp/23", "reject telnet");
	expect_at(&f, 300, IN, HOST, "tcp/80", "allow ssh");
	expect_at(&f, 300, IN, WORLD, "tcp/80", "deny 7");
	expect_at(&f, 300, OUT, WORLD, "tcp/80", "deny 7");
	expect_at(&f, 300, OUT, HOST, "tcp/53", "deny 7");
	expect_at(&f, 300, OUT, MULTICAST, "udp/67", "allow 3");
	expect_at(&f, 300, OUT, HOST, "udp/547", "allow 6");
	/* others of the tenant are as they were */
	expect_at(&f, WEB, OUT, WORLD, "tcp/80", "allow all");
	expect_at(&f, WEB, IN, WORLD, "tcp/80", "allow web");
	assert_int_equal(bh_policy_explain(f.compiler, &(struct bh_policy_end){.identity = 300},
					   &host, &service, &json, NULL),
			 0);
	end = json_object_get(json, "egress");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(end, "rule"), "text")),
		"in quarantine: no policy allows this there");
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_object_get(end, "considered"), 0), "outcome")),
		"quarantine");
	json_decref(json);
	fixture_done(&f);
}

static void count_up(uint32_t identity, void *arg)
{
	(*(size_t *)arg)++;
}

static void what_is_not_about_packets_touches_nobody(void **state)
{
	static const char base[] = "kind: Policy\nmetadata: {name: a, tenant: shop}\nspec:\n"
				   "  selector: {}\n  ingress: [{}]\n";
	static const char *const more[] = {
		"  placement: {hosts: {matchLabels: {zone: pci}}}\n",
		"  migration: {withoutManager: allow}\n",
		"  rollback: {releaseAfter: 1h}\n",
	};
	struct bh_policy_set *before = parse(base, NULL);
	struct bh_policy_universe *universe = make_universe();
	size_t touched = 0;

	for (size_t i = 0; i < BH_ARRAY_SIZE(more); i++) {
		BH_FREE char *text = bh_asprintf("%s%s", base, more[i]);
		struct bh_policy_set *after = parse(text, NULL);

		bh_policy_affected(before, after, universe, count_up, &touched);
		assert_int_equal(touched, 0);
		bh_policy_set_free(after);
	}
	{
		BH_FREE char *text = bh_asprintf("%s  quarantine: true\n", base);
		struct bh_policy_set *after = parse(text, NULL);

		bh_policy_affected(before, after, universe, count_up, &touched);
		assert_int_equal(touched, 3);
		bh_policy_set_free(after);
	}
	bh_policy_universe_free(universe);
	bh_policy_set_free(before);
}

static void services_have_one_form(void **state)
{
	static const char *const good[] = {"tcp/3306", "udp/53", "icmp/8/0", "icmpv6/128/0", "89"};
	static const char *const bad[] = {"",	     "tcp/",	"tcp/x",     "tcp/65536",
					  "tcp/1/2", "89/1",	"icmp/256",  "icmp/1/256",
					  "tpc/1",   "tcp/1-2", "icmp/8/0/0"};
	struct bh_policy_service s;

	for (size_t i = 0; i < BH_ARRAY_SIZE(good); i++) {
		struct bh_wbuf w;

		assert_int_equal(bh_policy_service_parse(good[i], &s, NULL), 0);
		bh_wbuf_init(&w, 0);
		bh_policy_service_format(&s, &w);
		assert_string_equal(bh_wbuf_cstr(&w), good[i]);
		bh_wbuf_done(&w);
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		if (bh_policy_service_parse(bad[i], &s, NULL) != -EINVAL) {
			fail_msg("\"%s\" is accepted", bad[i]);
		}
	}
}

/* ---- diff ---- */
static json_t *diff(struct fixture *f, const char *text, size_t max_entries)
{
	struct bh_policy_set *set = parse(text, NULL);
	struct bh_policy_compiler *to = bh_policy_compiler_new(set, f->universe, NULL);
	json_t *json;

	assert_int_equal(bh_policy_diff(f->compiler, to, max_entries, &json, NULL), 0);
	bh_policy_compiler_free(to);
	bh_policy_set_free(set);
	return json;
}

static void diff_says_what_changes(void **state)
{
	struct fixture f;
	json_t *json;
	json_t *e;
	char *text;

	fixture_init(&f, parse(HEAD("a") "  - name: web\n    ports: [tcp/80]\n", NULL));
	json = diff(
		&f,
		HEAD("a") "  - name: web\n    ports: [tcp/80]\n"
			  "  - name: ssh\n    from: [{selector: {matchLabels: {role: admin}}}]\n"
			  "    ports: [tcp/22, tcp/2200-2299]\n",
		0);
	/* three VMs of the shop are selected alike: one entry */
	assert_int_equal(json_array_size(json_object_get(json, "entries")), 1);
	e = json_array_get(json_object_get(json, "entries"), 0);
	text = json_dumps(e, JSON_COMPACT | JSON_SORT_KEYS);
	assert_non_null(strstr(text, "\"peers\":[\"shop role=admin\"]"));
	assert_non_null(strstr(text, "\"services\":[\"tcp/22\",\"tcp/2200-2299\"]"));
	assert_non_null(strstr(text, "\"before\":{\"action\":\"deny\""));
	assert_non_null(strstr(text, "\"after\":{\"action\":\"allow\""));
	assert_non_null(strstr(text, "\"identities\":[256,257,258]"));
	assert_int_equal(json_integer_value(json_object_get(json, "pairs_changed")), 3);
	assert_true(json_is_true(json_object_get(json, "complete")));
	free(text);
	json_decref(json);

	/* words only: nothing changes */
	json = diff(&f, HEAD("a") "  - name: renamed\n    ports: [tcp/80]\n", 0);
	assert_int_equal(json_array_size(json_object_get(json, "entries")), 0);
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(json, "policies"), "changed")), 1);
	json_decref(json);

	/* prefixes, removal, and the bound */
	json = diff(&f,
		    "kind: Policy\nmetadata: {name: b, tenant: shop}\nspec:\n"
		    "  selector: {matchLabels: {role: db}}\n  ingress:\n"
		    "  - from: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]\n",
		    2);
	assert_int_equal(json_array_size(json_object_get(json, "entries")), 2);
	assert_true(json_integer_value(json_object_get(json, "left_out")) > 0);
	json_decref(json);
	fixture_done(&f);
}

/* ---- check ---- */
struct warnings {
	char text[16][BH_DIAG_TEXT_SIZE];
	unsigned int line[16];
	size_t count;
};
static void take(const struct bh_diag *diag, void *arg)
{
	struct warnings *w = arg;

	assert_true(w->count < 16);
	w->line[w->count] = diag->line;
	snprintf(w->text[w->count++], BH_DIAG_TEXT_SIZE, "%s", diag->text);
}

static void check_finds_what_looks_wrong(void **state)
{
	struct warnings w = {};
	struct fixture f;

	fixture_init(&f,
		     parse(HEAD("a") "  - name: all-tcp\n    ports: [tcp]\n"
				     "  - ports: [tcp/22, tcp/1-9]\n"
				     "  - ports: [udp]\n"
				     "  - ports: [udp]\n"
				     "  - from: [{cidr: 10.0.0.0/8}]\n"
				     "  - from: [{cidr: 10.1.0.0/16}]\n    ports: [udp/1]\n"
				     "  - from: [{cidr: 11.0.0.0/8}]\n    ports: [sctp]\n"
				     "---\nkind: Policy\nmetadata: {name: b, tenant: shop}\nspec:\n"
				     "  selector: {matchLabels: {role: nobody}}\n"
				     "---\nkind: Policy\nmetadata: {name: c, tenant: ghost}\n"
				     "spec: {selector: {}}\n"
				     "---\nkind: Policy\nmetadata: {name: d, tenant: shop}\nspec:\n"
				     "  selector: {}\n  egress:\n  - to: [{tenant: nowhere}]\n"
				     "  - to: [{selector: {matchLabels: {role: none}}}]\n",
			   NULL));
	assert_int_equal(bh_policy_check(f.set, NULL, take, &w), 5);
	assert_int_equal(w.line[0], 22); /* ghost/c comes first */
	assert_non_null(
		strstr(w.text[1], "ingress[1] never matches: ingress[0] \"all-tcp\" (line 6)"));
	assert_non_null(strstr(w.text[2], "ingress[3] never matches: ingress[2]"));
	assert_non_null(strstr(w.text[3], "ingress[5] never matches: ingress[2]"));
	assert_non_null(strstr(w.text[4], "has no effect"));
	memset(&w, 0, sizeof(w));
	assert_int_equal(bh_policy_check(f.set, f.universe, take, &w), 9);
	assert_non_null(strstr(w.text[1], "tenant ghost does not exist"));
	assert_non_null(strstr(w.text[6], "matches no VM"));
	assert_non_null(strstr(w.text[7], "names tenant nowhere"));
	assert_non_null(strstr(w.text[8], "is no VM that is known"));
	fixture_done(&f);
	/* the example has nothing of the kind */
	memset(&w, 0, sizeof(w));
	fixture_init(&f, parse_file("../../../examples/shop.yaml", NULL));
	assert_int_equal(bh_policy_check(f.set, f.universe, take, &w), 0);
	fixture_done(&f);
}

static void the_universe_refuses_nonsense(void **state)
{
	struct bh_policy_universe *u = make_universe();
	struct bh_policy_label twice[] = {{"a", "1"}, {"a", "2"}};

	assert_int_equal(bh_policy_universe_add_tenant(u, "shop", 9, NULL), -EEXIST);
	assert_int_equal(bh_policy_universe_add_tenant(u, "new", SHOP_T, NULL), -EEXIST);
	assert_int_equal(bh_policy_universe_add_identity(u, 255, SHOP_T, NULL, 0, NULL), -EINVAL);
	assert_int_equal(bh_policy_universe_add_identity(u, WEB, SHOP_T, NULL, 0, NULL), -EEXIST);
	assert_int_equal(bh_policy_universe_add_identity(u, 999, 77, NULL, 0, NULL), -ENOENT);
	assert_int_equal(bh_policy_universe_add_identity(u, 999, SHOP_T, twice, 2, NULL), -EINVAL);
	assert_int_equal(bh_policy_universe_identity_count(u), 5);
	bh_policy_universe_drop_identity(u, WEB);
	bh_policy_universe_drop_identity(u, WEB);
	assert_int_equal(bh_policy_universe_identity_count(u), 4);
	assert_int_equal(bh_policy_universe_add_identity(u, WEB, RIVAL_T, NULL, 0, NULL), 0);
	bh_policy_universe_free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_shop_is_as_its_comments_say),
		cmocka_unit_test(segments_look_as_documented),
		cmocka_unit_test(the_flat_list_means_what_it_says),
		cmocka_unit_test(a_rule_can_name_two_vms),
		cmocka_unit_test(classes_stay),
		cmocka_unit_test(useless_rows_are_left_out),
		cmocka_unit_test(what_does_not_fit_is_refused_with_numbers),
		cmocka_unit_test(explain_names_rule_and_line),
		cmocka_unit_test(quarantine_leaves_what_says_so),
		cmocka_unit_test(what_is_not_about_packets_touches_nobody),
		cmocka_unit_test(services_have_one_form),
		cmocka_unit_test(diff_says_what_changes),
		cmocka_unit_test(check_finds_what_looks_wrong),
		cmocka_unit_test(the_universe_refuses_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
