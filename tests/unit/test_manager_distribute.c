/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inventory, commits and distribution together, with a carrier that stands for the hosts: reports
 * that lie, claims on others' VMs, deltas that are stale, full, wrongly confirmed, lost; waits;
 * capacity; refusals that change nothing.
 */
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "bpf/abi.h"
#include "manager/commit.h"
#include "manager_world.h"
#include "policy/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct world {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_sync *asked; /* whose delta waits for an answer */
	struct bh_hash to;
	struct manager_sync *other; /* a second one, answered after it */
	struct bh_hash other_to;
	bool whole;
	unsigned int sent;
	char notice[64]; /* the last one */
	json_t *noticed; /* all since it was emptied: {"type", "severity", ...} */
};

static void carry_apply(struct manager_sync *sync, const struct manager_image *image,
			const struct bh_delta *delta, void *arg)
{
	static const struct bh_hash zero;
	struct world *w = arg;

	if (w->asked && w->other != sync) {
		w->other = w->asked; /* two hosts at most */
		w->other_to = w->to;
	}
	w->asked = sync;
	w->to = *bh_delta_to(delta);
	w->whole = bh_hash_equal(bh_delta_from(delta), &zero);
	w->sent++;
}

static void carry_ping(struct manager_sync *sync, void *arg)
{
}

static bool carry_up(void *arg)
{
	return true;
}

static void on_notice(const char *type, const char *severity, json_t *body, void *arg)
{
	struct world *w = arg;

	snprintf(w->notice, sizeof(w->notice), "%s", type);
	manager_world_note(type, severity, body, w->noticed);
}

static json_t *take_notice(struct world *w, const char *type)
{
	return manager_world_take_note(w->noticed, type);
}

static void answer(struct world *w, int err, const char *code)
{
	struct manager_sync *sync = bh_steal(&w->asked);
	struct bh_hash to = w->to;
	struct manager_answer a = {.err = err,
				   .code = code,
				   .text = "test",
				   .hash = to,
				   .has_hash = err == 0,
				   .attempt = sync->attempt};

	w->asked = bh_steal(&w->other);
	w->to = w->other_to;
	manager_sync_answer(sync, &a);
}

static void answer_all(struct world *w)
{
	while (w->asked) {
		answer(w, 0, "");
	}
}

static int set_up(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));
	struct manager_distribute_options options = {};

	manager_world_open(":memory:", &w->db, &w->inv, &w->book);
	w->noticed = json_array();
	w->inv->notice = on_notice;
	w->inv->notice_arg = w;
	options.inv = w->inv;
	options.book = w->book;
	options.carrier = (struct manager_carrier){carry_apply, carry_ping, carry_up, w};
	w->dist = manager_distribute_new(&options);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	manager_distribute_close(w->dist);
	manager_distribute_free(w->dist);
	manager_rulebook_free(w->book);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
	json_decref(w->noticed);
	free(w);
	return 0;
}

static struct manager_host *join(struct world *w, const char *name)
{
	struct manager_host *h = manager_host_add(w->inv, name, 1);
	BH_JSON json_t *hello = json_pack("{s:{s:i}}", "capacity", "rows", 40);
	static const struct bh_hash zero;

	manager_host_hello(w->inv, h, hello, bh_time_wall_ns());
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	manager_distribute_hello(w->dist, h, &zero);
	answer_all(w);
	return h;
}

static size_t report(struct world *w, struct manager_host *h, json_t *vms)
{
	BH_JSON json_t *owned = vms;
	BH_JSON json_t *rejected = NULL;

	assert_int_equal(
		manager_inventory_report(w->inv, h, owned, bh_time_wall_ns(), &rejected, NULL), 0);
	return json_array_size(rejected);
}

static struct manager_vm *vm_at(struct world *w, unsigned int n)
{
	struct manager_vm *vm = NULL;
	char uuid[40];

	snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012x", n);
	return manager_vm_find(w->inv, uuid, &vm, NULL) == 0 ? vm : NULL;
}

static int commit(struct world *w, const char *text, struct manager_commit_result *ret)
{
	struct manager_commit_request request = {
		.db = w->db, .inv = w->inv, .book = w->book, .dist = w->dist};
	struct bh_diag diag = {};

	return manager_world_commit(&request, text, ret, &diag);
}

#define POLICY(rules)                                                                              \
	"kind: Policy\nmetadata: {name: db, tenant: shop}\nspec:\n"                                \
	"  selector: {matchLabels: {role: db}}\n  ingress:\n" rules
#define RULE(n, port) "    - {name: r" #n ", ports: [tcp/" #port "]}\n"

static void test_reports(void **state)
{
	struct world *w = *state;
	struct manager_host *h = join(w, "h1");
	json_t *bad;

	assert_int_equal(report(w, h,
				json_pack("[o, o]", manager_world_vm(1, "running", "db"),
					  manager_world_vm(2, "shutoff", "web"))),
			 0);
	assert_int_equal(h->vm_count, 2);
	assert_int_not_equal(vm_at(w, 1)->identity->number, vm_at(w, 2)->identity->number);
	assert_true(vm_at(w, 1)->identity->number >= 256);
	/* Wrong ones are left out, the rest counts. */
	bad = manager_world_vm(3, "running", "db");
	json_object_set_new(json_array_get(json_object_get(bad, "nics"), 0), "net",
			    json_string("host/other/net/default"));
	assert_int_equal(report(w, h,
				json_pack("[o, o, {}, s, o]", manager_world_vm(1, "running", "db"),
					  bad, "x", manager_world_vm(1, "running", "db"))),
			 4);
	assert_int_equal(h->vm_count, 1);
	assert_null(vm_at(w, 2));
	assert_null(vm_at(w, 3));
}

/* The flags of the VM's only NIC in what its host should hold. */
static uint32_t nic_flags(const struct manager_vm *vm)
{
	for (size_t i = 0; i < bh_segment_count(vm->segment); i++) {
		const struct bh_rec *rec = bh_segment_at(vm->segment, i);

		if (rec->type == BH_REC_NIC) {
			return rec->nic.flags;
		}
	}
	fail_msg("no NIC");
	return 0;
}

static void test_nic_flags(void **state)
{
	struct world *w = *state;
	struct manager_host *h = join(w, "h1");
	json_t *vm = manager_world_vm(1, "running", "db");
	json_t *nic = json_array_get(json_object_get(vm, "nics"), 0);
	BH_JSON json_t *flags = NULL;

	json_object_set_new(nic, "flags",
			    json_pack("[s, s, s]", "router", "any-vlan", "of-the-future"));
	assert_int_equal(report(w, h, json_pack("[o]", vm)), 0);
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	assert_int_equal(nic_flags(vm_at(w, 1)), BH_NIC_ROUTER | BH_NIC_ANY_VLAN);
	flags = manager_report_flags_dump(vm_at(w, 1)->nics[0].report);
	assert_int_equal(json_array_size(flags), 2);
	assert_string_equal(json_string_value(json_array_get(flags, 1)), "any-vlan");
}

/* What policies permit is part of the VM's records: it comes and goes with them. Rules of one
 * direction leave the other direction's set alone. */
static void test_grants(void **state)
{
	struct world *w = *state;
	struct manager_host *h = join(w, "h1");
	const struct bh_segment *egress, *ingress, *vm;
	struct manager_commit_result result;

	report(w, h, json_pack("[o]", manager_world_vm(1, "running", "db")));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	egress = vm_at(w, 1)->identity->sets[BH_POLICY_EGRESS];
	vm = vm_at(w, 1)->segment;
	assert_int_equal(commit(w, POLICY(RULE(1, 22)), &result), 0);
	manager_commit_result_done(&result);
	answer_all(w);
	assert_ptr_equal(vm_at(w, 1)->identity->sets[BH_POLICY_EGRESS], egress);
	assert_ptr_equal(vm_at(w, 1)->segment, vm);
	assert_int_equal(commit(w,
				"kind: Policy\nmetadata: {name: out, tenant: provider}\nspec:\n"
				"  tier: guardrail\n"
				"  selector: {}\n  egress: []\n  permit: [any-source]\n",
				&result),
			 0);
	manager_commit_result_done(&result);
	answer_all(w);
	ingress = vm_at(w, 1)->identity->sets[BH_POLICY_INGRESS];
	assert_int_equal(nic_flags(vm_at(w, 1)), BH_NIC_ANY_SOURCE);
	assert_int_equal(commit(w,
				"kind: Policy\nmetadata: {name: out, tenant: provider}\nspec:\n"
				"  tier: guardrail\n"
				"  selector: {}\n  egress: []\n",
				&result),
			 0);
	manager_commit_result_done(&result);
	answer_all(w);
	assert_int_equal(nic_flags(vm_at(w, 1)), 0);
	assert_ptr_equal(vm_at(w, 1)->identity->sets[BH_POLICY_INGRESS], ingress);
}

static void test_conflict(void **state)
{
	struct world *w = *state;
	struct manager_host *h1 = join(w, "h1"), *h2 = join(w, "h2");
	BH_JSON json_t *vm = manager_world_vm(1, "running", "db");
	struct manager_vm *got = NULL;

	assert_int_equal(report(w, h1, json_pack("[O]", vm)), 0);
	w->notice[0] = '\0';
	assert_int_equal(report(w, h2, json_pack("[O]", vm)), 1);
	assert_ptr_equal(vm_at(w, 1)->host, h1);
	assert_string_equal(w->notice, "host.conflict");
	assert_int_equal(manager_inventory_birth(w->inv, h2, vm, bh_time_wall_ns(), &got, NULL),
			 MANAGER_REPORT_CONFLICT);
	/* Merely defined on the second host: no claim. The first lets go: the second may. */
	assert_int_equal(report(w, h1, json_pack("[o]", manager_world_vm(1, "shutoff", "db"))), 0);
	assert_int_equal(manager_inventory_birth(w->inv, h2, vm, bh_time_wall_ns(), &got, NULL), 0);
	assert_ptr_equal(vm_at(w, 1)->host, h2);
	assert_int_equal(report(w, h1, json_array()), 0);
	assert_ptr_equal(vm_at(w, 1)->host, h2);
}

static void on_wait(bool all, void *arg)
{
	*(int *)arg = all ? 1 : -1;
}

static void test_sync(void **state)
{
	struct world *w = *state;
	struct manager_host *h = join(w, "h1");
	int waited = 0;

	report(w, h, json_pack("[o]", manager_world_vm(1, "running", "db")));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	assert_non_null(w->asked);
	manager_distribute_wait(w->dist, &h, 1, 10000, on_wait, &waited);
	answer(w, 1, "stale");
	assert_int_equal(waited, 0);
	assert_null(w->asked); /* pauses first */
	manager_distribute_tick(w->dist, bh_time_mono_ns() + 60 * BH_NS_PER_S / 100);
	assert_true(w->asked && w->whole);
	answer(w, 0, "");
	assert_int_equal(waited, 1);
	assert_true(manager_sync_in_sync(h->sync));
	/* A lie about the hash is a failure, and everything is sent again. */
	manager_distribute_resync(w->dist, h, NULL);
	w->to.bytes[0] ^= 1;
	answer(w, 0, "");
	assert_false(manager_sync_in_sync(h->sync));
	assert_int_equal(manager_sync_state(h->sync), MANAGER_SYNC_FAILED);
	assert_string_equal(w->notice, "policy.failed");
	manager_distribute_tick(w->dist, bh_time_mono_ns() + BH_NS_PER_S);
	answer_all(w);
	assert_true(manager_sync_in_sync(h->sync));
}

static void test_commit(void **state)
{
	struct world *w = *state;
	struct manager_host *h1 = join(w, "h1"), *h2 = join(w, "h2");
	struct manager_commit_result result;
	BH_FREE struct manager_host **scope = NULL;
	struct bh_policy *p;
	uint32_t first;
	size_t count;

	report(w, h1, json_pack("[o]", manager_world_vm(1, "running", "db")));
	report(w, h2, json_pack("[o]", manager_world_vm(2, "running", "web")));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	assert_int_equal(commit(w, POLICY(RULE(1, 22) RULE(2, 80)), &result), 0);
	assert_true(result.changed);
	assert_int_equal(result.revision, 1);
	manager_commit_result_done(&result);
	scope = manager_distribute_in_scope(w->dist, &count);
	assert_int_equal(count, 1);
	assert_ptr_equal(scope[0], h1);
	assert_false(w->whole);
	answer_all(w);
	p = bh_policy_set_get(manager_rulebook_set(w->book), "shop", "db");
	first = manager_rulebook_number(p, BH_POLICY_INGRESS, 1, w->book);
	assert_true(first >= 16);
	/* The same again is no revision; another rule before keeps the number. */
	assert_int_equal(commit(w, POLICY(RULE(1, 22) RULE(2, 80)), &result), 0);
	assert_false(result.changed);
	manager_commit_result_done(&result);
	assert_int_equal(commit(w, POLICY(RULE(0, 1) RULE(1, 22) RULE(2, 80)), &result), 0);
	manager_commit_result_done(&result);
	answer_all(w);
	p = bh_policy_set_get(manager_rulebook_set(w->book), "shop", "db");
	assert_int_equal(manager_rulebook_number(p, BH_POLICY_INGRESS, 2, w->book), first);
	assert_non_null(strstr(manager_rulebook_text(w->book, first), "shop/db ingress[2]"));
}

static void test_enforced(void **state)
{
	struct world *w = *state;
	struct manager_host *h1 = join(w, "h1"), *h2 = join(w, "h2");
	struct manager_commit_result result;
	BH_JSON json_t *one = NULL, *pending = NULL, *late = NULL, *none = NULL;

	report(w, h1, json_pack("[o]", manager_world_vm(1, "running", "db")));
	report(w, h2, json_pack("[o]", manager_world_vm(2, "running", "db")));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	json_array_clear(w->noticed);
	assert_int_equal(commit(w, POLICY(RULE(1, 22)), &result), 0);
	manager_commit_result_done(&result);
	answer(w, 0, "");
	assert_null(take_notice(w, "policy.enforced"));
	answer(w, 0, "");
	one = take_notice(w, "policy.enforced");
	assert_int_equal(bh_json_u64_or(one, "revision", 0), 1);
	assert_int_equal(bh_json_u64_or(one, "hosts", 0), 2);
	assert_non_null(json_object_get(one, "ms"));
	/* One is late: told once with its name, then that it has come. */
	assert_int_equal(commit(w, POLICY(RULE(1, 80)), &result), 0);
	manager_commit_result_done(&result);
	answer(w, 0, "");
	manager_distribute_tick(w->dist, bh_time_mono_ns() + 11 * BH_NS_PER_S);
	pending = take_notice(w, "policy.pending");
	assert_int_equal(bh_json_u64_or(pending, "missing", 0), 1);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(pending, "missing_hosts"), 0)),
		w->asked->host->name);
	manager_distribute_tick(w->dist, bh_time_mono_ns() + 30 * BH_NS_PER_S);
	assert_null(take_notice(w, "policy.pending"));
	answer_all(w);
	late = take_notice(w, "policy.enforced");
	assert_int_equal(bh_json_u64_or(late, "revision", 0), 2);
	/* Nobody is concerned. */
	assert_int_equal(commit(w,
				"kind: Policy\nmetadata: {name: no, tenant: none}\nspec:\n"
				"  selector: {}\n",
				&result),
			 0);
	manager_commit_result_done(&result);
	none = take_notice(w, "policy.enforced");
	assert_int_equal(bh_json_u64_or(none, "hosts", 9), 0);
	/* One that is still followed at the end says nothing. */
	assert_int_equal(commit(w, POLICY(RULE(1, 81)), &result), 0);
	manager_commit_result_done(&result);
}

/* Two VMs that say the same address: who has it and why is told once, and when it ends. */
static void test_address_conflict(void **state)
{
	struct world *w = *state;
	struct manager_host *h1 = join(w, "h1"), *h2 = join(w, "h2");
	BH_JSON json_t *told = NULL, *turned = NULL, *over = NULL;
	json_t *second = manager_world_vm(2, "running", "web");

	json_object_set_new(json_array_get(json_object_get(second, "nics"), 0), "addresses",
			    json_pack("[s]", "10.0.0.1"));
	report(w, h1, json_pack("[o]", manager_world_vm(1, "running", "db")));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	report(w, h2, json_pack("[O]", second));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	told = take_notice(w, "address.conflict");
	assert_non_null(told);
	assert_string_equal(bh_json_str_or(told, "address", ""), "10.0.0.1");
	assert_string_equal(bh_json_str_or(told, "network", ""), "bridge/br0");
	assert_string_equal(bh_json_str_or(told, "winner", ""), vm_at(w, 1)->uuid);
	assert_string_equal(bh_json_str_or(told, "vm", ""), vm_at(w, 2)->uuid);
	assert_string_equal(bh_json_str_or(told, "why", ""), "it was seen first");
	assert_int_equal(manager_conflict_count(w->inv), 1);
	/* Nothing new is told of it. */
	json_object_set_new(second, "name", json_string("renamed"));
	report(w, h2, json_pack("[O]", second));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	assert_null(take_notice(w, "address.conflict"));
	/* The one that runs has it. */
	report(w, h1, json_pack("[o]", manager_world_vm(1, "shutoff", "db")));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	turned = take_notice(w, "address.conflict");
	assert_string_equal(bh_json_str_or(turned, "winner", ""), vm_at(w, 2)->uuid);
	assert_string_equal(bh_json_str_or(turned, "why", ""), "it runs and the other does not");
	assert_null(take_notice(w, "address.conflict-over"));
	report(w, h1, json_array());
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	over = take_notice(w, "address.conflict-over");
	assert_string_equal(bh_json_str_or(over, "address", ""), "10.0.0.1");
	assert_int_equal(manager_conflict_count(w->inv), 0);
	json_decref(second);
}

static void test_capacity(void **state)
{
	struct world *w = *state;
	struct manager_host *h = join(w, "h1");
	struct manager_commit_result result;
	struct bh_wbuf text;
	struct bh_hash before;
	unsigned int sent;

	report(w, h, json_pack("[o]", manager_world_vm(1, "running", "db")));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	before = *bh_image_hash(h->sync->intended->image);
	sent = w->sent;
	bh_wbuf_init(&text, 0);
	bh_wbuf_str(&text, POLICY(""));
	for (int i = 0; i < 100; i++) {
		bh_wbuf_printf(&text, "    - {name: n%d, ports: [tcp/%d]}\n", i, i + 1);
	}
	assert_int_equal(commit(w, bh_wbuf_cstr(&text), &result), MANAGER_COMMIT_CAPACITY);
	assert_string_equal(bh_json_str_or(json_array_get(result.overflow, 0), "table", ""),
			    "rows");
	manager_commit_result_done(&result);
	bh_wbuf_done(&text);
	assert_true(bh_hash_equal(&before, bh_image_hash(h->sync->intended->image)));
	assert_int_equal(w->sent, sent);
	assert_int_equal(manager_rulebook_revision(w->book), 0);
	assert_int_equal(commit(w, POLICY(RULE(1, 22)), &result), 0);
	manager_commit_result_done(&result);
}

static void test_full_store(void **state)
{
	struct world *w = *state;
	struct manager_host *h = join(w, "h1");
	struct manager_commit_result result;
	struct bh_hash before;

	report(w, h, json_pack("[o]", manager_world_vm(1, "running", "db")));
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	before = *bh_image_hash(h->sync->intended->image);
	assert_int_equal(manager_db_run(w->db, NULL, "PRAGMA query_only = 1", ""), 0);
	assert_true(commit(w, POLICY(RULE(1, 22)), &result) < 0);
	manager_commit_result_done(&result);
	assert_true(bh_hash_equal(&before, bh_image_hash(h->sync->intended->image)));
	assert_int_equal(manager_rulebook_revision(w->book), 0);
	/* A VM that cannot be stored is not told to any host. */
	report(w, h, json_pack("[o]", manager_world_vm(2, "running", "new")));
	assert_true(manager_distribute_flush(w->dist, NULL) < 0);
	assert_null(w->asked);
	assert_int_equal(manager_db_run(w->db, NULL, "PRAGMA query_only = 0", ""), 0);
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	answer_all(w);
	assert_true(manager_sync_in_sync(h->sync));
	assert_int_equal(commit(w, POLICY(RULE(1, 22)), &result), 0);
	assert_int_equal(result.revision, 1);
	manager_commit_result_done(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reports, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nic_flags, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_grants, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_conflict, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sync, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_commit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_enforced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_address_conflict, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_capacity, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full_store, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
