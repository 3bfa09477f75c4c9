/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What recorded flows say: about a change, and as a suggestion; and hits of rules. Talks are
 * written as the events' worker writes them and read as a worker of the API reads them.
 */
#include "manager_world.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/change/change.h"
#include "manager/change/hits.h"
#include "manager/change/monitor.h"
#include "manager/change/suggest.h"
#include "manager/change/whatif.h"
#include "manager/store/changes.h"
#include "model/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define TALKS "whatif-talks.db"
#define STORE "whatif-store.db"
#define HOUR  (500000u * 3600) /* some time, in seconds */

static const struct manager_scope everything = {.all = true};

struct world {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_change *change;
	struct manager_commit_request request;
	struct manager_talks *talks;
	struct manager_host *host;
};

static void nothing_to_carry(struct manager_sync *sync, void *arg)
{
}

static bool never_up(void *arg)
{
	return false;
}

static void remove_files(void)
{
	static const char *const ends[] = {"", "-wal", "-shm"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(ends); i++) {
		BH_FREE char *talks = bh_asprintf("%s%s", TALKS, ends[i]);
		BH_FREE char *store = bh_asprintf("%s%s", STORE, ends[i]);

		unlink(talks);
		unlink(store);
	}
}

static void open_parts(struct world *w)
{
	struct manager_distribute_options options = {
		.carrier = {.ping = nothing_to_carry, .up = never_up}};
	struct manager_change_options change = {.talks_path = TALKS, .loop = uv_default_loop()};
	struct bh_diag diag = {};

	memset(w, 0, sizeof(*w));
	manager_world_open(STORE, &w->db, &w->inv, &w->book);
	options.inv = change.inv = w->inv;
	options.book = change.book = w->book;
	w->dist = change.dist = manager_distribute_new(&options);
	change.db = w->db;
	assert_int_equal(manager_distribute_flush(w->dist, &diag), 0);
	assert_int_equal(manager_change_new(&change, 0, 0, &w->change, &diag), 0);
	w->request = (struct manager_commit_request){
		.db = w->db, .inv = w->inv, .book = w->book, .dist = w->dist, .change = w->change};
}

static void close_parts(struct world *w)
{
	manager_change_free(w->change);
	manager_distribute_close(w->dist);
	manager_distribute_free(w->dist);
	manager_rulebook_free(w->book);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
}

/* VMs: 1, 2 are web, 3 is db, 4 is a client, all of shop. */
static void begin(struct world *w)
{
	static const char *const roles[] = {"web", "web", "db", "client"};
	struct manager_talks_options talks = {.path = TALKS};
	BH_JSON json_t *vms = json_array();
	struct bh_diag diag = {};
	json_t *rejected;

	remove_files();
	open_parts(w);
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(roles); i++) {
		json_array_append_new(vms, manager_world_vm(i + 1, "running", roles[i]));
	}
	w->host = manager_host_add(w->inv, "h1", 1);
	assert_int_equal(manager_inventory_report(w->inv, w->host, vms, 1, &rejected, &diag), 0);
	json_decref(rejected);
	assert_int_equal(manager_distribute_flush(w->dist, &diag), 0);
	if (manager_talks_open(&talks, &w->talks, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
}

static void end(struct world *w)
{
	manager_talks_close(w->talks);
	close_parts(w);
	remove_files();
}

static void commit(struct world *w, const char *text)
{
	struct manager_commit_result result;
	struct bh_diag diag = {};

	if (manager_world_commit(&w->request, text, &result, &diag) != 0) {
		fail_msg("%s", diag.text);
	}
	manager_commit_result_done(&result);
}

/* An end: the number of a VM, or an address. */
static void take_end(struct world *w, const char *end, uint32_t *identity, uint32_t *tenant,
		     uint8_t addr[16])
{
	char text[24];
	struct manager_vm *vm = NULL;
	uint64_t n;

	if (bh_parse_u64(end, 1, 250, &n) < 0) {
		*identity = 2; /* world */
		*tenant = 0;
		assert_int_equal(bh_addr_parse(end, addr), 0);
		return;
	}
	snprintf(text, sizeof(text), "%012x", (unsigned int)n);
	assert_int_equal(manager_vm_find(w->inv, text, &vm, NULL), 0);
	*identity = vm->identity->number;
	*tenant = vm->tenant->number;
	snprintf(text, sizeof(text), "10.0.0.%u", (unsigned int)n);
	assert_int_equal(bh_addr_parse(text, addr), 0);
}

static struct manager_talk talk_of(struct world *w, const char *src, const char *dst, uint16_t port)
{
	struct manager_talk t = {.net = 1,
				 .proto = 6,
				 .port = port,
				 .dir = BH_POLICY_EGRESS,
				 .verdict = BH_POLICY_ALLOW,
				 .rule = 20,
				 .count = 1,
				 .bytes = 100,
				 .first_s = HOUR,
				 .last_s = HOUR};

	take_end(w, src, &t.src_identity, &t.src_tenant, t.src);
	take_end(w, dst, &t.dst_identity, &t.dst_tenant, t.dst);
	t.dir = t.src_identity < MANAGER_IDENTITY_FIRST ? BH_POLICY_INGRESS : BH_POLICY_EGRESS;
	return t;
}

static void add_talk(struct world *w, struct manager_talk t)
{
	struct bh_diag diag = {};

	assert_int_equal(manager_talks_add(w->talks, &t, HOUR, &diag), 0);
}

static void seen(struct world *w, const char *src, const char *dst, uint16_t port, uint64_t count)
{
	struct manager_talk t = talk_of(w, src, dst, port);

	t.count = count;
	add_talk(w, t);
	if (t.dst_identity >= MANAGER_IDENTITY_FIRST && t.dir == BH_POLICY_EGRESS) {
		t.dir = BH_POLICY_INGRESS; /* the receiver's NIC tells it too */
		add_talk(w, t);
	}
}

static void written(struct world *w)
{
	struct bh_diag diag = {};

	assert_int_equal(manager_talks_flush(w->talks, manager_talks_position(w->talks) + 1, HOUR,
					     true, &diag),
			 0);
}

static struct manager_world *copies(struct world *w, const char *after)
{
	struct bh_policy_parse_options parse = {.file = "t.yaml"};
	struct bh_policy_set *documents = NULL, *set = NULL;
	struct manager_world_options options = {.dist = w->dist,
						.before = manager_rulebook_set(w->book),
						.db_path = STORE,
						.talks_path = TALKS};
	struct manager_world *world;
	struct bh_diag diag = {};

	if (after) {
		assert_int_equal(bh_policy_parse(after, strlen(after), &parse, &documents, &diag),
				 0);
		set = manager_commit_merge(options.before, documents, false);
	}
	options.after = set;
	world = manager_world_new(&options);
	bh_policy_set_free(set);
	bh_policy_set_free(documents);
	return world;
}

static json_t *what_if(struct world *w, const char *after, const struct manager_scope *scope)
{
	struct manager_whatif_options options = {
		.world = copies(w, after), .scope = *scope, .policies = *scope};
	struct bh_diag diag = {};
	json_t *json = NULL;

	if (manager_whatif_run(&options, &json, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	manager_world_free(options.world);
	return json;
}

#define WEB_ONLY                                                                                   \
	"kind: Policy\nmetadata: {name: db, tenant: shop}\nspec:\n"                                \
	"  selector: {matchLabels: {role: db}}\n  ingress:\n"                                      \
	"  - {name: from-web, from: [{selector: {matchLabels: {role: web}}}], ports: [tcp/3306]}\n"

#define OPEN                                                                                       \
	"kind: Policy\nmetadata: {name: all, tenant: provider}\nspec:\n"                           \
	"  tier: default\n  selector: {}\n  ingress: [{}]\n  egress: [{}]\n"

static uint64_t number(const json_t *json, const char *key)
{
	return bh_json_u64_or(json, key, UINT64_MAX);
}

static void flows_get_another_verdict(void **state)
{
	struct world w;
	BH_JSON json_t *answer = NULL;
	const json_t *entry;

	begin(&w);
	commit(&w, OPEN);
	seen(&w, "1", "3", 3306, 5);
	seen(&w, "2", "3", 3306, 6);
	seen(&w, "4", "3", 3306, 7);
	seen(&w, "4", "3", 22, 2);
	seen(&w, "192.0.2.1", "3", 3306, 1);
	seen(&w, "192.0.2.2", "3", 3306, 1);
	seen(&w, "1", "4", 80, 9);
	written(&w);
	answer = what_if(&w, WEB_ONLY, &everything);
	assert_int_equal(number(answer, "flows"), 31); /* each once, though two NICs told it */
	assert_int_equal(number(answer, "judged"), 22);
	assert_int_equal(number(answer, "would_deny"), 11);
	assert_int_equal(number(answer, "would_allow"), 0);
	assert_true(json_is_true(json_object_get(answer, "complete")));
	assert_int_equal(json_array_size(json_object_get(answer, "entries")), 3);
	entry = json_array_get(json_object_get(answer, "entries"), 0);
	assert_int_equal(number(entry, "flows"), 7);
	assert_string_equal(bh_json_str_or(entry, "service", ""), "tcp/3306");
	assert_string_equal(bh_json_str_or(json_object_get(entry, "before"), "action", ""),
			    "allow");
	assert_string_equal(bh_json_str_or(json_object_get(entry, "after"), "rule", ""),
			    bh_policy_builtin_text(BH_POLICY_RULE_IMPLICIT_DENY));
	end(&w);
}

static void addresses_count_where_rules_speak_of_them(void **state)
{
	static const char after[] =
		"kind: Policy\nmetadata: {name: db, tenant: shop}\nspec:\n"
		"  selector: {matchLabels: {role: db}}\n  ingress:\n"
		"  - {from: [{cidr: 192.0.2.0/31}]}\n  - {from: [{cidr: 10.0.0.4/32}]}\n";
	struct world w;
	BH_JSON json_t *answer = NULL;
	const json_t *entry;

	begin(&w);
	commit(&w, OPEN);
	seen(&w, "192.0.2.1", "3", 3306, 10);
	seen(&w, "192.0.2.2", "3", 3306, 20);
	seen(&w, "4", "3", 22, 30); /* 10.0.0.4: prefixes hold addresses of VMs too */
	seen(&w, "1", "3", 22, 40);
	written(&w);
	answer = what_if(&w, after, &everything);
	assert_int_equal(number(answer, "would_deny"), 60);
	entry = json_array_get(json_object_get(answer, "entries"), 1);
	assert_string_equal(
		json_string_value(json_array_get(
			json_object_get(json_object_get(entry, "src"), "addresses"), 0)),
		"192.0.2.2");
	end(&w);
}

/* VM 3 gets other labels; flows speak of what it was. */
static void identities_of_days_ago_are_known(void **state)
{
	struct world w;
	BH_JSON json_t *vms = json_array();
	BH_JSON json_t *answer = NULL;
	struct manager_talk stranger;
	struct bh_diag diag = {};
	json_t *rejected;

	begin(&w);
	commit(&w, OPEN);
	seen(&w, "4", "3", 3306, 7);
	stranger = talk_of(&w, "4", "3", 3306);
	stranger.dst_identity = 999999;
	stranger.count = 3;
	add_talk(&w, stranger);
	written(&w);
	for (unsigned int i = 1; i <= 4; i++) {
		json_array_append_new(vms, manager_world_vm(i, "running", "other"));
	}
	assert_int_equal(manager_inventory_report(w.inv, w.host, vms, 1, &rejected, &diag), 0);
	json_decref(rejected);
	assert_int_equal(manager_distribute_flush(w.dist, &diag), 0);
	answer = what_if(&w, WEB_ONLY, &everything);
	assert_int_equal(number(answer, "would_deny"), 7);
	assert_int_equal(number(answer, "unknown"), 3);
	end(&w);
}

static void a_tenant_reads_of_its_own(void **state)
{
	struct world w;
	BH_JSON json_t *answer = NULL;
	BH_JSON json_t *nothing = NULL;
	BH_FREE char *text = NULL;
	struct manager_scope rival = {.tenants = {4711}, .count = 1};
	struct manager_scope shop = {.count = 1};
	struct manager_talk foreign;
	uint32_t client;

	begin(&w);
	commit(&w, OPEN);
	shop.tenants[0] = manager_tenant_find(w.inv, "shop")->number;
	seen(&w, "4", "3", 3306, 7);
	/* Somebody of the provider, whose labels are nobody's business. */
	foreign = talk_of(&w, "4", "3", 22);
	client = foreign.src_identity;
	foreign.src_identity = client;
	add_talk(&w, foreign);
	written(&w);
	answer = what_if(&w, WEB_ONLY, &shop);
	assert_int_equal(number(answer, "would_deny"), 8);
	text = bh_json_dump(answer);
	assert_null(strstr(text, "provider/all"));
	assert_non_null(strstr(text, "guard-rail"));
	nothing = what_if(&w, WEB_ONLY, &rival);
	assert_int_equal(number(nothing, "flows"), 0);
	end(&w);
}

/* ---- suggestions ---- */

static json_t *suggest(struct world *w, const char *role, bool refused)
{
	struct bh_policy_label label = {"role", role};
	struct manager_suggest_options options = {.world = copies(w, NULL),
						  .tenant = "shop",
						  .labels = &label,
						  .label_count = 1,
						  .refused = refused,
						  .scope = everything};
	struct bh_diag diag = {};
	json_t *json = NULL;

	if (manager_suggest_run(&options, &json, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	manager_world_free(options.world);
	return json;
}

static void flows_become_a_policy(void **state)
{
	struct world w;
	struct manager_talk dhcp;
	BH_JSON json_t *answer = NULL;
	BH_JSON json_t *after = NULL;
	const char *text;

	begin(&w);
	commit(&w, OPEN);
	seen(&w, "1", "3", 3306, 50);
	seen(&w, "2", "3", 3306, 50);
	seen(&w, "4", "1", 80, 10);
	seen(&w, "4", "2", 443, 10);
	seen(&w, "198.51.100.7", "1", 80, 3);
	for (unsigned int i = 0; i < 40; i++) {
		BH_FREE char *addr = bh_asprintf("203.0.113.%u", i + 1);

		seen(&w, "1", addr, 443, 1);
	}
	for (uint16_t port = 9000; port < 9030; port++) {
		seen(&w, "1", "4", port, 1);
	}
	dhcp = talk_of(&w, "1", "255.255.255.255", 67);
	dhcp.rule = BH_POLICY_RULE_DHCP;
	dhcp.proto = 17;
	dhcp.dst_identity = 3; /* broadcast */
	add_talk(&w, dhcp);
	written(&w);
	answer = suggest(&w, "web", false);
	text = bh_json_str_or(answer, "documents", "");
	assert_int_equal(number(answer, "flows"), 193);
	assert_int_equal(number(answer, "covered"), 193);
	assert_non_null(strstr(text, "name: suggested-web\n"));
	assert_non_null(strstr(text, "# 100 connections"));
	assert_non_null(strstr(text, "to: [{selector: {matchLabels: {\"role\": \"db\"}}}]\n"
				     "    ports: [tcp/3306]\n"));
	assert_non_null(strstr(text, "entity: world"));		 /* 40 addresses */
	assert_non_null(strstr(text, "tcp/9000-9029"));		 /* 30 ports */
	assert_non_null(strstr(text, "cidr: \"198.51.100.7\"")); /* one address */
	assert_non_null(strstr(text, "tcp/80, tcp/443"));
	assert_null(strstr(text, "udp/67"));
	/* Put into force it changes nothing of what was seen. */
	after = what_if(&w, text, &everything);
	assert_int_equal(number(after, "would_deny"), 0);
	end(&w);
}

static void refused_flows_are_suggested_when_asked_for(void **state)
{
	struct world w;
	struct manager_talk t;
	BH_JSON json_t *without = NULL;
	BH_JSON json_t *with = NULL;

	begin(&w);
	t = talk_of(&w, "4", "3", 3306);
	t.verdict = BH_POLICY_DENY;
	t.count = 4;
	add_talk(&w, t);
	written(&w);
	without = suggest(&w, "client", false);
	assert_string_equal(bh_json_str_or(without, "documents", "?"), "");
	with = suggest(&w, "client", true);
	assert_int_equal(number(with, "covered"), 4);
	assert_int_equal(json_array_size(json_object_get(with, "rules")), 1);
	end(&w);
}

/* ---- hits ---- */

static uint32_t rule_number(struct world *w)
{
	const struct bh_policy *p = bh_policy_set_get(manager_rulebook_set(w->book), "shop", "db");

	return manager_rulebook_number(p, BH_POLICY_INGRESS, 0, w->book);
}

static void told(struct world *w, uint32_t rule, uint64_t nic_a, uint64_t nic_b, uint64_t wall_ns)
{
	BH_JSON json_t *rules = json_array();

	json_array_append_new(rules, json_pack("{s:I, s:s, s:I, s:s, s:s}", "rule",
					       (json_int_t)rule, "dir", "ingress", "packets",
					       (json_int_t)nic_a, "vm", "a", "nic", "a"));
	if (nic_b) {
		json_array_append_new(rules,
				      json_pack("{s:I, s:s, s:I, s:s, s:s}", "rule",
						(json_int_t)rule, "dir", "ingress", "packets",
						(json_int_t)nic_b, "vm", "b", "nic", "b"));
	}
	json_array_append_new(rules, json_pack("{s:i, s:s, s:i}", "rule", 4000000, "dir", "egress",
					       "packets", 1000));
	manager_hits_take(w->change->hits, "h1", rules, wall_ns);
}

static void hits_are_counted_over_restarts(void **state)
{
	struct world w;
	struct bh_diag diag = {};
	struct manager_hit hit;
	uint32_t rule;

	begin(&w);
	commit(&w, WEB_ONLY);
	rule = rule_number(&w);
	assert_int_equal(manager_hits_of(w.change->hits, rule).count, 0);
	told(&w, rule, 10, 5, 1000);
	told(&w, rule, 12, 5, 2000);
	hit = manager_hits_of(w.change->hits, rule);
	assert_int_equal(hit.count, 17);
	assert_int_equal(hit.last_ns, 2000);
	told(&w, rule, 12, 0, 3000); /* a NIC is gone, with its counter */
	told(&w, rule, 12, 3, 4000); /* and there is another one */
	assert_int_equal(manager_hits_of(w.change->hits, rule).count, 20);
	told(&w, rule, 1, 3, 5000); /* a counter that began anew */
	hit = manager_hits_of(w.change->hits, rule);
	assert_int_equal(hit.count, 21);
	assert_int_equal(hit.last_ns, 5000);
	assert_int_equal(manager_hits_of(w.change->hits, 4000000).count, 0); /* no such rule */

	assert_int_equal(manager_hits_save(w.change->hits, "h1", &diag), 0);
	manager_talks_close(bh_steal(&w.talks));
	close_parts(&w);
	open_parts(&w);
	hit = manager_hits_of(w.change->hits, rule);
	assert_int_equal(hit.count, 21);
	assert_int_equal(hit.last_ns, 5000);
	told(&w, rule, 4, 5, 6000); /* 4 were written, 5 came meanwhile */
	assert_int_equal(manager_hits_of(w.change->hits, rule).count, 26);
	told(&w, rule, 4, 6, 7000);
	assert_int_equal(manager_hits_of(w.change->hits, rule).count, 27);
	/* An edit elsewhere in the policy takes nothing from the rule. */
	commit(&w, WEB_ONLY "  - {name: more, ports: [tcp/9]}\n");
	assert_int_equal(rule_number(&w), rule);
	end(&w);
}

/* ---- policies under watch ---- */

static void watch(struct world *w, const char *text, uint64_t since_ns)
{
	struct manager_store_monitor row = {.tenant = "shop",
					    .name = "db",
					    .author = "ann",
					    .since_ns = since_ns,
					    .text = text,
					    .report = ""};

	assert_int_equal(manager_store_put_monitor(w->db, &row, NULL), 0);
}

/* The next look, at that second, until it is done. */
static void look_at(struct world *w, uint64_t second)
{
	manager_change_tick(w->change, 0, second * BH_NS_PER_S);
	while (w->change->jobs) {
		uv_run(uv_default_loop(), UV_RUN_ONCE);
	}
}

static int take_report(const struct manager_store_monitor *row, void *arg)
{
	manager_monitor_report_read(row->report, arg);
	return 0;
}

static struct manager_monitor_report report_of(struct world *w)
{
	struct manager_monitor_report report = {};

	assert_int_equal(manager_store_monitors(w->db, take_report, &report, NULL), 0);
	return report;
}

static void begin_noted(struct world *w, json_t *notes)
{
	begin(w);
	commit(w, OPEN);
	w->inv->notice = manager_world_note;
	w->inv->notice_arg = notes;
}

static void watched_policies_tell(void **state)
{
	struct world w;
	BH_JSON json_t *notes = json_array();
	BH_JSON json_t *note = NULL;
	struct manager_monitor_report report;

	begin_noted(&w, notes);
	seen(&w, "1", "3", 3306, 5);
	seen(&w, "4", "3", 3306, 7);
	seen(&w, "4", "3", 22, 2);
	written(&w);
	watch(&w, WEB_ONLY, HOUR * BH_NS_PER_S);
	assert_int_equal(report_of(&w).found_ns, 0);
	look_at(&w, 1000);
	note = manager_world_take_note(notes, "policy.monitor");
	assert_non_null(note);
	assert_string_equal(bh_json_str_or(note, "severity", ""), "notice");
	assert_string_equal(bh_json_str_or(note, "tenant", ""), "shop");
	assert_string_equal(bh_json_str_or(note, "policy", ""), "db");
	assert_string_equal(bh_json_str_or(note, "author", ""), "ann");
	assert_int_equal(number(note, "deny"), 9);
	assert_int_equal(number(note, "allow"), 0);
	assert_true(json_is_true(json_object_get(note, "complete")));
	assert_int_equal(json_array_size(json_object_get(note, "examples")), 2);
	assert_string_equal(json_string_value(json_array_get(json_object_get(note, "examples"), 0)),
			    "refused: shop role=client -> shop role=db tcp/3306, 7 flows");
	report = report_of(&w);
	assert_int_equal(report.deny, 9);
	assert_int_equal(report.told_deny, 9);
	assert_true(report.found_ns && report.told_ns == report.found_ns);
	end(&w);
}

/* The same is not told again; what is new is, but not before its time, and by a manager that was
 * started anew neither. */
static void watched_policies_do_not_flood(void **state)
{
	struct world w;
	BH_JSON json_t *notes = json_array();
	struct manager_monitor_report report;

	begin_noted(&w, notes);
	seen(&w, "4", "3", 3306, 7);
	written(&w);
	watch(&w, WEB_ONLY, HOUR * BH_NS_PER_S);
	look_at(&w, 1000);
	json_decref(manager_world_take_note(notes, "policy.monitor"));
	seen(&w, "4", "3", 3306, 1);
	written(&w);
	look_at(&w, 1001); /* nothing else is watched: this round is over */
	look_at(&w, 1059); /* not yet */
	assert_int_equal(report_of(&w).deny, 7);
	look_at(&w, 1061);
	report = report_of(&w);
	assert_int_equal(report.deny, 8);
	assert_int_equal(report.told_deny, 7);
	assert_null(manager_world_take_note(notes, "policy.monitor"));

	manager_talks_close(bh_steal(&w.talks));
	close_parts(&w);
	open_parts(&w);
	w.inv->notice = manager_world_note;
	w.inv->notice_arg = notes;
	look_at(&w, 1);
	assert_null(manager_world_take_note(notes, "policy.monitor"));
	assert_int_equal(report_of(&w).told_deny, 7);

	assert_false(manager_monitor_report_due(
		&report, report.told_ns + MANAGER_MONITOR_TELL_S * BH_NS_PER_S - 1));
	assert_true(manager_monitor_report_due(&report, report.told_ns + MANAGER_MONITOR_TELL_S *
										 BH_NS_PER_S));
	/* A clock that was set back by years silences nobody for years. */
	assert_false(manager_monitor_report_due(&report, BH_NS_PER_S));
	assert_true(
		manager_monitor_report_due(&report, (1 + MANAGER_MONITOR_TELL_S) * BH_NS_PER_S));
	end(&w);
}

/* One that ends, or begins anew, while it is looked at is not told of; one that can't be read keeps
 * nobody else from being looked at. */
static void watches_end(void **state)
{
	struct world w;
	BH_JSON json_t *notes = json_array();
	BH_JSON json_t *note = NULL;
	struct manager_store_monitor broken = {.tenant = "shop",
					       .name = "a",
					       .author = "ann",
					       .since_ns = 1,
					       .text = "kind: [",
					       .report = ""};

	begin_noted(&w, notes);
	seen(&w, "4", "3", 3306, 7);
	written(&w);
	watch(&w, WEB_ONLY, HOUR * BH_NS_PER_S);
	manager_change_tick(w.change, 0, 1000 * BH_NS_PER_S);
	assert_int_equal(w.change->jobs, 1);
	watch(&w, "", HOUR * BH_NS_PER_S + 1);
	look_at(&w, 1000);
	assert_null(manager_world_take_note(notes, "policy.monitor"));
	assert_int_equal(report_of(&w).found_ns, 0);

	assert_int_equal(manager_store_put_monitor(w.db, &broken, NULL), 0);
	for (uint64_t s = 2000; s < 2003; s++) {
		look_at(&w, s * 100);
	}
	assert_true(report_of(&w).found_ns); /* of db, the last one; its removal changes nothing */
	assert_null(manager_world_take_note(notes, "policy.monitor"));

	commit(&w, WEB_ONLY);
	for (uint64_t s = 3000; s < 3003; s++) {
		look_at(&w, s * 100);
	}
	note = manager_world_take_note(notes, "policy.monitor");
	assert_int_equal(number(note, "allow"), 7);
	assert_true(json_is_true(json_object_get(note, "removes")));
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows_get_another_verdict),
		cmocka_unit_test(addresses_count_where_rules_speak_of_them),
		cmocka_unit_test(identities_of_days_ago_are_known),
		cmocka_unit_test(a_tenant_reads_of_its_own),
		cmocka_unit_test(flows_become_a_policy),
		cmocka_unit_test(refused_flows_are_suggested_when_asked_for),
		cmocka_unit_test(hits_are_counted_over_restarts),
		cmocka_unit_test(watched_policies_tell),
		cmocka_unit_test(watched_policies_do_not_flood),
		cmocka_unit_test(watches_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
