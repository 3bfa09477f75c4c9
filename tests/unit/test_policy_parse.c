/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing: golden files, errors with their places, limits, classes, grants. */
#include "base/file.h"
#include "base/util.h"
#include "model/id.h"
#include "policy/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

static struct bh_policy_set *parse_ok(const char *text, const char *file, const char *tenant)
{
	struct bh_policy_parse_options options = {.file = file, .default_tenant = tenant};
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	char buf[1024];

	if (bh_policy_parse(text, strlen(text), &options, &set, &diag)) {
		fail_msg("%s", bh_diag_format(&diag, buf, sizeof(buf)));
	}
	return set;
}

/* ---- golden files ---- */
static void check_golden(const char *name)
{
	BH_FREE char *in_path = bh_asprintf("%s/%s.in.yaml", POLICY_DIR, name);
	BH_FREE char *out_path = bh_asprintf("%s/%s.golden.yaml", POLICY_DIR, name);
	BH_FREE char *in = NULL;
	BH_FREE char *want = NULL;
	struct bh_policy_set *set;
	struct bh_policy_set *again;
	struct bh_wbuf w;
	struct bh_wbuf w2;
	size_t size;

	assert_int_equal(bh_file_read(in_path, BH_POLICY_TEXT_MAX, &in, &size, NULL), 0);
	set = parse_ok(in, in_path, "provider");
	bh_wbuf_init(&w, 0);
	bh_policy_set_print(set, &w);
	if (getenv("BH_GOLDEN_WRITE")) {
		assert_int_equal(bh_file_replace(out_path, w.data, w.size, 0644, NULL), 0);
	}
	assert_int_equal(bh_file_read(out_path, BH_POLICY_TEXT_MAX, &want, &size, NULL), 0);
	assert_string_equal(bh_wbuf_cstr(&w), want);
	again = parse_ok(want, "golden", NULL);
	bh_wbuf_init(&w2, 0);
	bh_policy_set_print(again, &w2);
	assert_string_equal(bh_wbuf_cstr(&w2), want);
	bh_wbuf_done(&w);
	bh_wbuf_done(&w2);
	bh_policy_set_free(set);
	bh_policy_set_free(again);
}

static void golden(void **state)
{
	check_golden("everything");
	check_golden("flat-blog");
	check_golden("flat-indented");
	check_golden("shop");
}

/* ---- errors ---- */
#define TOP  "kind: Policy\nmetadata: {name: a, tenant: t}\nspec:\n"
#define HEAD TOP "  selector: {}\n"
struct mistake {
	const char *text;
	unsigned int line, column;
	const char *says;
};
static const struct mistake errors[] = {
	{"- a\n", 1, 1, "expected a document to be a mapping, found a list"},
	{"foo: 1\n", 1, 1, "expected `kind: Policy`"},
	{"kind: Polizy\n", 1, 7, "\"Polizy\" is no kind; expected Policy or Tenant"},
	{"apiVersion: v1\nkind: Policy\n", 1, 13, "expected apiVersion bulkhead/v1"},
	{"kind: Policy\n", 1, 1, "expected `metadata`"},
	{"kind: Policy\nmetadata: {name: a}\nspec: {}\n", 2, 11, "expected `tenant` in metadata"},
	{"kind: Policy\nmetadata: {name: A, tenant: t}\n", 2, 18, "\"A\" is no name for a policy"},
	{"kind: Policy\nmetadata: {name: a, tenant: t}\n", 1, 1, "expected `spec`"},
	{"kind: Policy\nmetadata: {name: a, tenant: t}\nspec: {}\n", 3, 7,
	 "expected `selector` in spec"},
	{HEAD "  podSelector: {}\n", 5, 3, "`selector` is the word for podSelector"},
	{HEAD "  policyTypes: [Ingress]\n", 5, 3, "`directions: [ingress, egress]` is the word"},
	{HEAD "  ingres: []\n", 5, 3, "did you mean `ingress`?"},
	{HEAD "  tier: guardrail\n", 5, 9,
	 "tier guardrail is for policies of tenant provider only"},
	{HEAD "  tier: top\n", 5, 9, "\"top\" is no tier; expected guardrail, tenant or default"},
	{HEAD "  order: -1\n", 5, 10, "\"-1\" is no order"},
	{HEAD "  tenants: [x]\n", 5, 3, "`tenants` goes with tier guardrail or default"},
	{HEAD "  permit: [any-source]\n", 5, 3, "`permit` is for policies of tenant provider only"},
	{HEAD "  directions: [in]\n", 5, 16, "\"in\" is no direction; expected ingress or egress"},
	{HEAD "  directions: [egress]\n  ingress: []\n", 6, 3, "`directions` leaves ingress out"},
	{HEAD "  ingress:\n", 5, 11, "expected ingress to be a list, found nothing"},
	{HEAD "  ingress: [{action: drop}]\n", 5, 22,
	 "\"drop\" is no action; expected allow, deny or"},
	{HEAD "  ingress: [{log: yes}]\n", 5, 19, "expected log to be true or false"},
	{HEAD "  ingress: [{to: []}]\n", 5, 14,
	 "`to` goes with egress rules; expected `from` here"},
	{HEAD "  ingress: [{from: []}]\n", 5, 20, "leave the key out for any peer"},
	{HEAD "  ingress: [{ports: []}]\n", 5, 21, "leave it out for all ports"},
	{HEAD "  ingress: [{from: [{ipBlock: {cidr: 1.0.0.0/8}}]}]\n", 5, 22,
	 "in place of ipBlock"},
	{HEAD "  ingress: [{from: [{cidr: 1.0.0.0/8, entity: any}]}]\n", 5, 21,
	 "expected one of `selector`"},
	{HEAD "  ingress: [{from: [{cidr: 10.1.0.0/8}]}]\n", 5, 28,
	 "has bits set behind its prefix"},
	{HEAD "  ingress: [{from: [{cidr: 10.0.0/8}]}]\n", 5, 28, "is no address or prefix"},
	{HEAD "  ingress: [{from: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]}]\n", 5, 48,
	 "to lie inside of 10.0.0.0/8"},
	{HEAD "  ingress: [{from: [{cidr: \"::/0\", except: [11.0.0.0/16]}]}]\n", 5, 44,
	 "to lie inside"},
	{HEAD "  ingress: [{from: [{selector: {addresses: [1.1.1.1]}}]}]\n", 5, 33,
	 "as a peer write `- cidr:`"},
	{HEAD "  ingress: [{from: [{tenant: a, tenancy: same}]}]\n", 5, 33,
	 "either `tenant` or `tenancy`"},
	{HEAD "  ingress: [{from: [{entity: internet}]}]\n", 5, 30, "\"internet\" is no entity"},
	{HEAD "  ingress: [{ports: [{port: 1, endPort: 9}]}]\n", 5, 32, "`port: \"8000-8100\"`"},
	{HEAD "  ingress: [{ports: [tpc/1]}]\n", 5, 22, "\"tpc\" is no protocol"},
	{HEAD "  ingress: [{ports: [tcp/70000]}]\n", 5, 22, "\"70000\" is no port"},
	{HEAD "  ingress: [{ports: [tcp/9-1]}]\n", 5, 22, "ends before it starts"},
	{HEAD "  ingress: [{ports: [icmp/8/256]}]\n", 5, 22, "ICMP type and code"},
	{HEAD "  ingress: [{ports: [89/1]}]\n", 5, 22, "protocol 89 has no ports"},
	{HEAD "  ingress: [{ports: [{protocol: icmp, port: 8}]}]\n", 5, 45,
	 "expected `type` and `code`"},
	{HEAD "  ingress: [{ports: [{protocol: tcp, type: 8}]}]\n", 5, 38, "go with protocol icmp"},
	{HEAD "  ingress: [{ports: [{protocol: icmp, code: 8}]}]\n", 5, 39,
	 "expected `type` beside `code`"},
	{HEAD "  ingress: [{ports: [{}]}]\n", 5, 22, "expected `protocol`, `port` or both"},
	{TOP "  selector: {matchLabels: {\"a b\": c}}\n", 4, 28, "is no label key"},
	{TOP "  selector: {matchLabels: {bulkhead/vm: c}}\n", 4, 28, "are Bulkhead's own"},
	{TOP "  selector: {matchLabels: {a: [c]}}\n", 4, 31, "expected a label value"},
	{TOP "  selector: {matchExpressions: [{key: a, operator: in}]}\n", 4, 52,
	 "\"in\" is no operator; expected In, NotIn, Exists or DoesNotExist"},
	{TOP "  selector: {matchExpressions: [{key: a, operator: In}]}\n", 4, 33,
	 "expected `values` with operator In"},
	{HEAD "  order: 1\n  order: 2\n", 6, 3, "key \"order\" is there twice, first in line 5"},
	{HEAD "---\n" HEAD, 6, 1, "policy t/a is there twice, first in line 1"},
	{"kind: Tenant\nmetadata: {name: a}\n---\nkind: Tenant\nmetadata: {name: a}\n", 5, 18,
	 "tenant a is there twice, first in line 1"},
	{HEAD "  placement: []\n", 5, 14, "expected placement to be a mapping, found a list"},
	{HEAD "  placement: {}\n", 5, 14, "expected `hosts` in placement"},
	{HEAD "  placement: {host: {}}\n", 5, 15, "did you mean `hosts`?"},
	{HEAD "  placement: {hosts: {}}\n", 5, 22, "leave `placement` out for any host"},
	{HEAD "  placement: {hosts: {vms: [a]}}\n", 5, 23,
	 "unknown key \"vms\" in hosts; expected matchLabels or matchExpressions"},
	{HEAD "  placement: {hosts: {matchLabels: {bulkhead/x: y}}}\n", 5, 37,
	 "are Bulkhead's own"},
	{HEAD "  nodeSelector: {}\n", 5, 3, "write `placement: {hosts: {matchLabels"},
	{HEAD "  migration: {}\n", 5, 14, "expected `withoutManager` in migration"},
	{HEAD "  migration: {withoutManager: yes}\n", 5, 31,
	 "\"yes\" is no withoutManager; expected allow or refuse"},
	{HEAD "  rollback: {}\n", 5, 13, "expected `quarantine` or `releaseAfter` in rollback"},
	{HEAD "  rollback: {quarantine: on}\n", 5, 26, "expected quarantine to be true or false"},
	{HEAD "  rollback: {quarantine: false, releaseAfter: 1h}\n", 5, 33,
	 "`releaseAfter` goes with `quarantine: true`"},
	{HEAD "  rollback: {releaseAfter: 30}\n", 5, 28, "\"30\" is no time; expected 1s to 365d"},
	{HEAD "  rollback: {releaseAfter: [1h]}\n", 5, 28, "expected a time such as 30m"},
	{HEAD "  quarantine: 1\n", 5, 15, "expected quarantine to be true or false"},
	{"a: &x 1\nb: *x\n", 1, 4, "anchors (&name) are not accepted"},
	{"a: !!str 1\n", 1, 4, "tags (!name) are not accepted"},
	{"a: [1\nb: 2\n", 2, 2, "not YAML"},
	{"a: \"\\0\"\n", 1, 4, "a zero byte"},
	{"a: \xff\n", 1, 4, "expected UTF-8"},
	{"kind: Policy\nmetadata: {name: a, tenant: t}\nspec:\n  <<: {}\n", 4, 3,
	 "merge keys are not accepted"},
	/* the flat form, items as source document 004 prints them */
	{"firewall_rules:\n- name: a\nsource: 10.0.0.0/8\ndestination: 10.0.0.300\naction: allow\n",
	 4, 14, "\"10.0.0.300\" is no address or prefix"},
	{"firewall_rules:\n- name: a\nsource: any\naction: allow\n", 2, 3,
	 "expected `destination`"},
	{"firewall_rules:\n- name: a\nsource: any\ndestination: any\nport: 1\naction: allow\n", 5,
	 1, "expected `protocol`"},
	{"firewall_rules:\n- name: a\nsource: any\ndestination: any\naction: pass\n", 5, 9,
	 "\"pass\" is no action"},
	{"firewall_rules:\n- name: a\nname: b\n", 3, 1, "key \"name\" is there twice"},
	{"firewall_rules:\n- sorce: a\n", 2, 3, "did you mean `source`?"},
};

static void check_mistake(const struct mistake *m)
{
	struct bh_policy_parse_options options = {
		.file = "f.yaml", .default_tenant = strstr(m->text, "firewall") ? "t" : NULL};
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	int r = bh_policy_parse(m->text, strlen(m->text), &options, &set, &diag);

	if (r != -EINVAL || set || diag.line != m->line || diag.column != m->column ||
	    strcmp(diag.file, "f.yaml") != 0 || !strstr(diag.text, m->says)) {
		fail_msg("%s\nexpected %u:%u %s\ngot %d, %s:%u:%u %s", m->text, m->line, m->column,
			 m->says, r, diag.file, diag.line, diag.column, diag.text);
	}
}

static void errors_have_places(void **state)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(errors); i++) {
		check_mistake(&errors[i]);
	}
}

static void what_is_no_time(void **state)
{
	static const char *const texts[] = {
		"0s", "m", "366d", "31536001s", "18446744073709551616s", "-1h", "1 h"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		BH_FREE char *text = bh_asprintf(HEAD "  rollback: {releaseAfter: %s}\n", texts[i]);

		check_mistake(&(struct mistake){text, 5, 28, "is no time"});
	}
}

static void lines_start_where_the_caller_says(void **state)
{
	struct bh_policy_parse_options options = {.file = "f", .first_line = 101};
	const char *text = HEAD "  ingress:\n  - {}\n  - action: deny\n";
	struct bh_policy_set *set;
	const struct bh_policy *p;

	assert_int_equal(bh_policy_parse(text, strlen(text), &options, &set, NULL), 0);
	p = bh_policy_set_at(set, 0);
	assert_int_equal(bh_policy_line(p), 101);
	assert_int_equal(bh_policy_rule_line(p, BH_POLICY_INGRESS, 0), 106);
	assert_int_equal(bh_policy_rule_line(p, BH_POLICY_INGRESS, 1), 107);
	bh_policy_set_free(set);
}

static void source_can_be_kept_beside_the_canonical_text(void **state)
{
	struct bh_policy_set *set = parse_ok(HEAD "\n\n  ingress:\n  - {}\n", "x.yaml", NULL);
	struct bh_policy *p = bh_policy_set_at(set, 0);
	json_t *source = bh_policy_source_dump(p);
	struct bh_policy_set *again = parse_ok(bh_policy_canonical(p), "", NULL);
	struct bh_policy *q = bh_policy_set_at(again, 0);
	struct bh_wbuf w;

	assert_int_equal(bh_policy_source_load(q, source, NULL), 0);
	assert_string_equal(bh_policy_file(q), "x.yaml");
	assert_int_equal(bh_policy_rule_line(q, BH_POLICY_INGRESS, 0), 8);
	bh_wbuf_init(&w, 0);
	bh_policy_rule_format(q, BH_POLICY_INGRESS, 0, &w);
	assert_string_equal(bh_wbuf_cstr(&w), "t/a ingress[0] (x.yaml:8)");
	bh_wbuf_done(&w);
	json_array_append_new(json_object_get(source, "egress"), json_integer(1));
	assert_int_equal(bh_policy_source_load(q, source, NULL), -EINVAL);
	json_decref(source);
	bh_policy_set_free(set);
	bh_policy_set_free(again);
}

/* ---- limits: a clear error, soon ---- */
static char *repeat(const char *head, const char *part, size_t size)
{
	char *text = bh_alloc(size + 1);
	size_t n = strlen(head);
	size_t len = strlen(part);

	memcpy(text, head, n);
	while (n + len <= size) {
		memcpy(text + n, part, len);
		n += len;
	}
	return text;
}

static void check_limit(const char *head, const char *part, size_t size, const char *says)
{
	BH_FREE char *text = repeat(head, part, size);
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	struct timespec a;
	struct timespec b;
	int r;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	r = bh_policy_parse(text, strlen(text), NULL, &set, &diag);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_true(r < 0);
	assert_null(set);
	if (!strstr(diag.text, says)) {
		fail_msg("expected \"%s\", got \"%s\"", says, diag.text);
	}
	/* Far above what it takes; a quadratic reader would take minutes. */
	assert_true(b.tv_sec - a.tv_sec < 30);
}

static void limits(void **state)
{
	const size_t big = 10u << 20;

	check_limit("a: ", "x", big + 1, "at most 10485760 are accepted");
	check_limit("a: ", "x", big, "more than 65536 bytes");
	check_limit("", "[", big, "nested deeper than 32 levels");
	check_limit("", "{a: ", big, "nested deeper than 32 levels");
	check_limit("a: &a [x]\nb: ", "[*a,", big, "anchors");
	check_limit("", "? ", big, "a key must be text");
	check_limit("", "- ", big, "nested deeper than 32 levels");
	check_limit("a: [", "1,", big, "more than 4000000 values");
	check_limit("", "--- {kind: Tenant, metadata: {name: a}}\n--- \n", 1000, "there twice");
	check_limit("", "--- \n", big, "more than 10000 documents");
	check_limit(HEAD "  ingress:\n", "  - {}\n", 1u << 20, "at most 100000 rules");
	check_limit(HEAD "  ingress:\n  - ports:\n", "    - 1\n", 1u << 20,
		    "at most 65536 are accepted");
	check_limit("a:\n", "#\n", 1000, "expected `kind: Policy`");
	check_limit("", "\"", big, "expected a document to be a mapping");
	check_limit("a: \"", "x ", big, "not YAML");
	check_limit("", "a: b: ", big, "not YAML");
	check_limit("metadata: {tenant: t}\nfirewall_rules:\n",
		    "- source: any\ndestination: any\naction: deny\n", 1u << 20,
		    "more than 10000 items in firewall_rules");
}

static void too_many_keys(void **state)
{
	struct bh_policy_set *set;
	struct bh_diag diag = {};
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	for (int i = 0; i < 70; i++) {
		bh_wbuf_printf(&w, "k%d: 1\n", i);
	}
	assert_int_equal(bh_policy_parse((char *)w.data, w.size, NULL, &set, &diag), -EMSGSIZE);
	assert_non_null(strstr(diag.text, "more than 64 keys"));
	assert_int_equal(diag.line, 65);
	bh_wbuf_done(&w);
}

static void every_truncation_is_handled(void **state)
{
	BH_FREE char *path = bh_asprintf("%s/everything.in.yaml", POLICY_DIR);
	BH_FREE char *text = NULL;
	size_t size;

	assert_int_equal(bh_file_read(path, 1u << 20, &text, &size, NULL), 0);
	for (size_t n = 0; n < size; n++) {
		BH_FREE char *copy = bh_memdup(text, n ? n : 1);
		struct bh_policy_set *set = NULL;
		struct bh_diag diag = {};

		if (bh_policy_parse(copy, n, NULL, &set, &diag)) {
			assert_true(*diag.text);
			assert_null(set);
		}
		bh_policy_set_free(set);
	}
}

/* ---- sets ---- */
static void sets_keep_order(void **state)
{
	struct bh_policy_set *a =
		parse_ok("kind: Policy\nmetadata: {name: b, tenant: t}\nspec: {selector: {}}\n---\n"
			 "kind: Policy\nmetadata: {name: a, tenant: t}\nspec: {selector: {}}\n---\n"
			 "kind: Policy\nmetadata: {name: z, tenant: s}\nspec: {selector: {}}\n",
			 "f", NULL);
	struct bh_policy_set *b = parse_ok(HEAD "  order: 5\n", "f", NULL);
	struct bh_policy_set *c;

	assert_int_equal(bh_policy_set_count(a), 3);
	assert_string_equal(bh_policy_name(bh_policy_set_at(a, 0)), "z");
	assert_string_equal(bh_policy_name(bh_policy_set_at(a, 1)), "a");
	c = bh_policy_set_copy(a);
	bh_policy_set_put(c, bh_policy_set_at(b, 0));
	assert_int_equal(bh_policy_set_count(c), 3);
	assert_int_equal(bh_policy_order(bh_policy_set_get(c, "t", "a")), 5);
	assert_int_equal(bh_policy_order(bh_policy_set_get(a, "t", "a")), 1000);
	assert_true(bh_policy_set_drop(c, "s", "z"));
	assert_false(bh_policy_set_drop(c, "s", "z"));
	assert_null(bh_policy_set_get(c, "s", "z"));
	bh_policy_set_put(c, bh_policy_set_get(a, "s", "z"));
	assert_int_equal(bh_policy_set_count(c), 3);
	assert_string_equal(bh_policy_name(bh_policy_set_at(c, 0)), "z");
	bh_policy_set_free(a);
	bh_policy_set_free(b);
	bh_policy_set_free(c);
}

/* ---- classes and grants ---- */
struct classes {
	char keys[8][64];
	size_t count;
};
static void collect(const char *key, const char *value, void *arg)
{
	struct classes *c = arg;

	assert_true(c->count < 8);
	assert_true(bh_label_key_valid(key));
	assert_string_equal(value, "");
	snprintf(c->keys[c->count++], 64, "%s", key);
}

static size_t classes_of(const struct bh_policy_set *set, const char *tenant, const char *name,
			 const char *addr, struct classes *c)
{
	uint8_t a[16];
	struct bh_policy_vm vm = {.tenant = tenant,
				  .name = name,
				  .uuid = "11111111-2222-4333-8444-555555555555",
				  .addresses = &a,
				  .address_count = addr ? 1 : 0};

	memset(c, 0, sizeof(*c));
	if (addr) {
		assert_int_equal(bh_addr_parse(addr, a), 0);
	}
	bh_policy_vm_classes(set, &vm, collect, c);
	return c->count;
}

static void vms_get_classes(void **state)
{
	struct bh_policy_set *set = parse_ok(
		"kind: Policy\nmetadata: {name: a, tenant: t}\nspec:\n"
		"  selector: {addresses: [10.0.0.0/8, \"fd00::/8\"]}\n"
		"  ingress:\n"
		"  - from: [{selector: {vms: [db1]}}, {selector: {vms: [db1]}, tenant: o}]\n"
		"  - from: [{selector: {vms: [11111111-2222-4333-8444-555555555555]}}]\n",
		"f", NULL);
	struct bh_policy_set *plain = parse_ok(HEAD, "f", NULL);
	struct classes c;

	assert_true(bh_policy_set_has_classes(set));
	assert_false(bh_policy_set_has_classes(plain));
	/* its UUID alone */
	assert_int_equal(classes_of(set, "t", "x", NULL, &c), 1);
	assert_memory_equal(c.keys[0], "bulkhead/vm.", 12);
	assert_int_equal(classes_of(set, "t", "x", "11.0.0.1", &c), 1);
	assert_int_equal(classes_of(set, "t", "db1", "10.1.1.1", &c), 3);
	assert_memory_equal(c.keys[0], "bulkhead/addr.", 14);
	assert_int_equal(classes_of(set, "t", "x", "fd00::7", &c), 2);
	/* other tenants: only what their peers ask for */
	assert_int_equal(classes_of(set, "o", "db1", "10.1.1.1", &c), 1);
	assert_int_equal(classes_of(set, "p", "db1", "10.1.1.1", &c), 0);
	assert_int_equal(classes_of(plain, "t", "db1", "10.1.1.1", &c), 0);
	bh_policy_set_free(set);
	bh_policy_set_free(plain);
}

static void policies_grant(void **state)
{
	struct bh_policy_set *set = parse_ok(
		"kind: Policy\nmetadata: {name: a, tenant: provider}\nspec:\n"
		"  tier: guardrail\n  tenants: [shop]\n  selector: {matchLabels: {role: router}}\n"
		"  permit: [any-source]\n  vlans: [20, 10]\n---\n"
		"kind: Policy\nmetadata: {name: b, tenant: provider}\nspec:\n"
		"  tier: default\n  selector: {matchLabels: {dhcp: \"yes\"}}\n"
		"  permit: [dhcp-server]\n  vlans: [10, 30.1]\n---\n"
		"kind: Policy\nmetadata: {name: c, tenant: provider}\nspec:\n"
		"  selector: {}\n  vlans: [any]\n",
		"f", NULL);
	const struct bh_policy_label labels[] = {{"role", "router"}, {"dhcp", "yes"}};
	struct bh_policy_grant g;

	bh_policy_grant_of(set, "shop", labels, 2, &g);
	assert_int_equal(g.flags, BH_POLICY_PERMIT_ANY_SOURCE | BH_POLICY_PERMIT_DHCP_SERVER);
	assert_int_equal(g.vlan_count, 3);
	assert_int_equal(g.vlans[0], 10 << 16);
	assert_int_equal(g.vlans[1], 20 << 16);
	assert_int_equal(g.vlans[2], 30 << 16 | 1);
	bh_policy_grant_done(&g);
	bh_policy_grant_of(set, "rival", labels, 1, &g);
	assert_int_equal(g.flags, 0);
	assert_int_equal(g.vlan_count, 0);
	bh_policy_grant_done(&g);
	bh_policy_grant_of(set, "provider", NULL, 0, &g);
	assert_int_equal(g.flags, BH_POLICY_PERMIT_ANY_VLAN);
	bh_policy_grant_done(&g);
	bh_policy_set_free(set);
}

/* ---- where VMs may run and how they move ---- */
#define SHOP(name, spec) "---\nkind: Policy\nmetadata: {name: " name ", tenant: shop}\nspec:\n" spec
#define PROVIDER(name, spec)                                                                       \
	"---\nkind: Policy\nmetadata: {name: " name ", tenant: provider}\nspec:\n"                 \
	"  tier: guardrail\n" spec
static const struct bh_policy_label pay[] = {{"role", "pay"}, {"env", "prod"}};
static const struct bh_policy_subject shop_pay = {"shop", pay, 2};
static const struct bh_policy_subject shop_bare = {"shop", NULL, 0};
static const struct bh_policy_subject rival_pay = {"rival", pay, 2};

static const char *refuses(const struct bh_policy_set *set, const struct bh_policy_subject *vm,
			   const struct bh_policy_label *host, size_t count)
{
	const struct bh_policy *p;

	return bh_policy_placement_ok(set, vm, host, count, &p) ? "" : bh_policy_name(p);
}

static void every_placement_must_take_the_host(void **state)
{
	struct bh_policy_set *set = parse_ok(
		SHOP("pci", "  selector: {matchLabels: {role: pay}}\n"
			    "  placement: {hosts: {matchLabels: {zone: pci}}}\n")
			SHOP("racks",
			     "  selector: {}\n  order: 5\n  placement: {hosts: {matchExpressions: "
			     "[{key: rack, operator: NotIn, values: [r2]}, {key: zone, operator: "
			     "Exists}]}}\n")
				PROVIDER("not-old",
					 "  selector: {}\n  tenants: [shop]\n  placement: "
					 "{hosts: {matchExpressions: "
					 "[{key: old, operator: DoesNotExist}]}}\n"),
		"f", NULL);
	const struct bh_policy_label good[] = {{"zone", "pci"}, {"rack", "r1"}};
	const struct bh_policy_label rack[] = {{"zone", "pci"}, {"rack", "r2"}};
	const struct bh_policy_label dmz[] = {{"zone", "dmz"}, {"rack", "r2"}, {"old", ""}};
	const struct bh_policy *p = bh_policy_set_get(set, "shop", "racks");
	struct bh_wbuf w;

	assert_string_equal(refuses(set, &shop_pay, good, 2), "");
	assert_string_equal(refuses(set, &shop_pay, rack, 2), "racks");
	assert_string_equal(refuses(set, &shop_pay, dmz, 2), "racks");	 /* order 5 */
	assert_string_equal(refuses(set, &shop_pay, dmz, 3), "not-old"); /* guardrails first */
	assert_string_equal(refuses(set, &shop_pay, dmz, 1), "pci");
	assert_string_equal(refuses(set, &shop_bare, dmz, 1), "");
	assert_string_equal(refuses(set, &shop_bare, NULL, 0), "racks");
	assert_string_equal(refuses(set, &rival_pay, dmz, 3), "");
	bh_wbuf_init(&w, 0);
	bh_policy_placement_describe(p, &w);
	bh_wbuf_str(&w, "; ");
	bh_policy_placement_compare(p, dmz, 3, &w);
	bh_wbuf_str(&w, "; ");
	bh_policy_placement_compare(p, NULL, 0, &w);
	assert_string_equal(bh_wbuf_cstr(&w), "rack NotIn r2,zone Exists; rack=r2, zone=dmz; "
					      "no rack, no zone");
	bh_wbuf_done(&w);
	bh_policy_set_free(set);
}

static void the_first_that_says_something_decides(void **state)
{
	struct bh_policy_set *set =
		parse_ok(SHOP("a", "  selector: {}\n  migration: {withoutManager: allow}\n"
				   "  rollback: {releaseAfter: 30m}\n")
				 SHOP("b", "  selector: {matchLabels: {role: pay}}\n  order: 1\n"
					   "  rollback: {quarantine: false}\n")
					 PROVIDER("g", "  selector: {matchLabels: {env: prod}}\n"
						       "  migration: {withoutManager: refuse}\n"),
			 "f", NULL);
	struct bh_policy_rollback back;
	const struct bh_policy *p;

	assert_false(bh_policy_without_manager(set, &shop_pay, &p));
	assert_string_equal(bh_policy_name(p), "g");
	assert_true(bh_policy_without_manager(set, &shop_bare, &p));
	assert_string_equal(bh_policy_name(p), "a");
	assert_false(bh_policy_without_manager(set, &(struct bh_policy_subject){"x", NULL, 0}, &p));
	assert_null(p);
	back = bh_policy_rollback_of(set, &shop_pay);
	assert_false(back.quarantine);
	assert_string_equal(bh_policy_name(back.policy), "b");
	back = bh_policy_rollback_of(set, &shop_bare);
	assert_true(back.quarantine);
	assert_int_equal(back.release_after_s, 1800);
	back = bh_policy_rollback_of(set, &rival_pay);
	assert_true(back.quarantine);
	assert_int_equal(back.release_after_s, 0);
	assert_null(back.policy);
	assert_false(bh_policy_has_direction(bh_policy_set_at(set, 1), BH_POLICY_INGRESS));
	assert_false(bh_policy_has_direction(bh_policy_set_at(set, 1), BH_POLICY_EGRESS));
	bh_policy_set_free(set);
}

static void json_says_how_they_move(void **state)
{
	struct bh_policy_set *set =
		parse_ok(SHOP("a", "  selector: {}\n  migration: {withoutManager: allow}\n"
				   "  rollback: {releaseAfter: 90s}\n  quarantine: true\n"
				   "  placement: {hosts: {matchLabels: {zone: pci}}}\n"),
			 "f", NULL);
	json_t *json = bh_policy_to_json(bh_policy_set_at(set, 0));
	json_t *spec = json_object_get(json, "spec");
	json_t *want =
		json_pack("{s:{s:{s:{s:s}}}, s:{s:s}, s:{s:b, s:s}, s:b}", "placement", "hosts",
			  "matchLabels", "zone", "pci", "migration", "withoutManager", "allow",
			  "rollback", "quarantine", 1, "releaseAfter", "90s", "quarantine", 1);
	const char *key;
	json_t *value;

	json_object_foreach (want, key, value) {
		assert_true(json_equal(json_object_get(spec, key), value));
	}
	json_decref(want);
	json_decref(json);
	bh_policy_set_free(set);
}

static void rights_end_in_quarantine(void **state)
{
	struct bh_policy_set *set =
		parse_ok(PROVIDER("a", "  selector: {}\n  permit: [any-source]\n  vlans: [10]\n")
				 PROVIDER("b", "  selector: {}\n  permit: [dhcp-server]\n"
					       "  quarantine: true\n"),
			 "f", NULL);
	const struct bh_policy_label label = {BH_POLICY_QUARANTINE, "1"};
	struct bh_policy_grant g;

	bh_policy_grant_of(set, "shop", NULL, 0, &g);
	assert_int_equal(g.flags, BH_POLICY_PERMIT_ANY_SOURCE | BH_POLICY_PERMIT_DHCP_SERVER);
	assert_int_equal(g.vlan_count, 1);
	bh_policy_grant_done(&g);
	bh_policy_grant_of(set, "shop", &label, 1, &g);
	assert_int_equal(g.flags, BH_POLICY_PERMIT_DHCP_SERVER);
	assert_int_equal(g.vlan_count, 0);
	bh_policy_grant_done(&g);
	bh_policy_set_free(set);
}

static void json_has_places(void **state)
{
	struct bh_policy_set *set =
		parse_ok(HEAD "  ingress:\n  - ports: [tcp/1-2]\n", "f.yaml", NULL);
	json_t *json = bh_policy_to_json(bh_policy_set_at(set, 0));
	json_t *rule = json_array_get(json_object_get(json_object_get(json, "spec"), "ingress"), 0);

	assert_string_equal(json_string_value(json_object_get(json, "file")), "f.yaml");
	assert_int_equal(json_integer_value(json_object_get(rule, "line")), 6);
	assert_string_equal(json_string_value(json_array_get(json_object_get(rule, "ports"), 0)),
			    "tcp/1-2");
	json_decref(json);
	bh_policy_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),
		cmocka_unit_test(errors_have_places),
		cmocka_unit_test(what_is_no_time),
		cmocka_unit_test(lines_start_where_the_caller_says),
		cmocka_unit_test(source_can_be_kept_beside_the_canonical_text),
		cmocka_unit_test(limits),
		cmocka_unit_test(too_many_keys),
		cmocka_unit_test(every_truncation_is_handled),
		cmocka_unit_test(sets_keep_order),
		cmocka_unit_test(vms_get_classes),
		cmocka_unit_test(policies_grant),
		cmocka_unit_test(json_has_places),
		cmocka_unit_test(every_placement_must_take_the_host),
		cmocka_unit_test(the_first_that_says_something_decides),
		cmocka_unit_test(json_says_how_they_move),
		cmocka_unit_test(rights_end_in_quarantine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
