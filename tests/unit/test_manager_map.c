/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map: talks folded into groups. Connections between two VMs are counted once, what the
 * receiver refused is refused; of other tenants nothing is told; there are never too many nodes.
 */
#include "manager_world.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/map/map.h"
#include "model/id.h"
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define TALKS "map-talks.db"
#define HOUR  (500000u * 3600) /* some time, in seconds */
#define MANY  400	       /* VMs: more than there are nodes */
#define BANK  300	       /* from here on VMs are of that tenant */

struct world {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_talks *talks;
	uint64_t position;
};

static void remove_files(void)
{
	unlink(TALKS);
	unlink(TALKS "-wal");
	unlink(TALKS "-shm");
}

static json_t *make_vm(unsigned int n)
{
	static const char *const roles[] = {"web", "web", "db", "client"};
	json_t *vm = manager_world_vm(n, "running", roles[(n - 1) % BH_ARRAY_SIZE(roles)]);
	json_t *nic = json_array_get(json_object_get(vm, "nics"), 0);

	json_object_set_new(vm, "tenant", json_string(n < BANK ? "shop" : "bank"));
	json_object_set_new(nic, "mac", json_sprintf("52:54:00:00:%02x:%02x", n >> 8, n & 255));
	json_object_set_new(nic, "addresses",
			    json_pack("[o]", json_sprintf("10.0.%u.%u", n >> 8, n & 255)));
	return vm;
}

static void begin(struct world *w, unsigned int vms)
{
	struct manager_talks_options options = {.path = TALKS};
	BH_JSON json_t *list = json_array();
	struct bh_diag diag = {};
	json_t *rejected;

	memset(w, 0, sizeof(*w));
	remove_files();
	manager_world_open(":memory:", &w->db, &w->inv, &w->book);
	for (unsigned int n = 1; n <= vms; n++) {
		json_array_append_new(list, make_vm(n));
	}
	json_array_append_new(list, make_vm(BANK + vms));
	assert_int_equal(manager_inventory_report(w->inv, manager_host_add(w->inv, "h1", 1), list,
						  1, &rejected, &diag),
			 0);
	assert_int_equal(json_array_size(rejected), 0);
	json_decref(rejected);
	assert_int_equal(manager_talks_open(&options, &w->talks, &diag), 0);
}

static void end(struct world *w)
{
	manager_talks_close(w->talks);
	manager_rulebook_free(w->book);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
	remove_files();
}

static const struct manager_vm *vm_at(struct world *w, unsigned int n)
{
	struct manager_vm *vm = NULL;
	char text[24];

	snprintf(text, sizeof(text), "%012x", n);
	assert_int_equal(manager_vm_find(w->inv, text, &vm, NULL), 0);
	return vm;
}

/* n 0: somebody in the world. */
static void take_end(struct world *w, unsigned int n, uint32_t *identity, uint32_t *tenant,
		     uint8_t addr[16])
{
	char text[24];

	if (!n) {
		*identity = 2;
		*tenant = 0;
		assert_int_equal(bh_addr_parse("192.0.2.1", addr), 0);
		return;
	}
	*identity = vm_at(w, n)->identity->number;
	*tenant = vm_at(w, n)->tenant->number;
	snprintf(text, sizeof(text), "10.0.%u.%u", n >> 8, n & 255);
	assert_int_equal(bh_addr_parse(text, addr), 0);
}

/* Told by the NIC at `dir`'s end. */
static void told(struct world *w, unsigned int src, unsigned int dst, enum bh_policy_dir dir,
		 enum bh_policy_action verdict, uint64_t count)
{
	struct manager_talk t = {.proto = 6,
				 .port = 443,
				 .dir = (uint8_t)dir,
				 .verdict = (uint8_t)verdict,
				 .count = count,
				 .bytes = 10,
				 .first_s = HOUR,
				 .last_s = HOUR};

	t.net = vm_at(w, 1)->nics[0].net->number;
	take_end(w, src, &t.src_identity, &t.src_tenant, t.src);
	take_end(w, dst, &t.dst_identity, &t.dst_tenant, t.dst);
	assert_int_equal(manager_talks_add(w->talks, &t, HOUR, NULL), 0);
}

static json_t *map_of(struct world *w, struct manager_map_options *o)
{
	struct bh_diag diag = {};
	struct manager_map *map;
	json_t *json;

	assert_int_equal(manager_talks_flush(w->talks, ++w->position, HOUR, true, &diag), 0);
	o->inv = w->inv;
	o->talks_path = TALKS;
	o->verdict = o->verdict ? o->verdict : "";
	o->until_ns = (HOUR + 3600) * BH_NS_PER_S;
	map = manager_map_new(o);
	if (manager_map_run(map, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	json = manager_map_json(map);
	manager_map_free(map);
	return json;
}

static const json_t *edge_of(const json_t *map, const char *from, const char *to)
{
	const json_t *edge;
	size_t i;

	json_array_foreach (json_object_get(map, "edges"), i, edge) {
		if (strcmp(bh_json_str_or(edge, "from", ""), from) == 0 &&
		    strcmp(bh_json_str_or(edge, "to", ""), to) == 0) {
			return edge;
		}
	}
	return NULL;
}

static void edge_is(const json_t *map, const char *from, const char *to, uint64_t allowed,
		    uint64_t refused)
{
	const json_t *edge = edge_of(map, from, to);

	if (!edge) {
		fail_msg("no edge from %s to %s", from, to);
	}
	assert_int_equal(bh_json_u64_or(edge, "allowed", 99), allowed);
	assert_int_equal(bh_json_u64_or(edge, "refused", 99), refused);
}

/* Web 1 and 2 to db 3; the world to web 1; a VM of the bank to db 3, which refuses. */
static void some_talks(struct world *w)
{
	for (unsigned int web = 1; web <= 2; web++) {
		told(w, web, 3, BH_POLICY_EGRESS, BH_POLICY_ALLOW, 5);
		told(w, web, 3, BH_POLICY_INGRESS, BH_POLICY_ALLOW, 5);
	}
	told(w, 0, 1, BH_POLICY_INGRESS, BH_POLICY_DENY, 7);
	told(w, BANK + 4, 3, BH_POLICY_EGRESS, BH_POLICY_ALLOW, 3);
	told(w, BANK + 4, 3, BH_POLICY_INGRESS, BH_POLICY_REJECT, 2);
	told(w, 4, 0, BH_POLICY_EGRESS, BH_POLICY_DENY, 4);
}

static void groups_by_labels(void **state)
{
	struct manager_map_options o = {.scope.all = true, .by = MANAGER_MAP_BY_LABELS};
	BH_JSON json_t *map = NULL;
	struct world w;

	begin(&w, 4);
	some_talks(&w);
	map = map_of(&w, &o);
	assert_int_equal(json_array_size(json_object_get(map, "edges")), 4);
	edge_is(map, "group:shop:role=web", "group:shop:role=db", 10, 0);
	edge_is(map, "entity:world", "group:shop:role=web", 0, 7);
	edge_is(map, "group:bank:role=client", "group:shop:role=db", 1, 2);
	edge_is(map, "group:shop:role=client", "entity:world", 0, 4);
	assert_string_equal(
		json_string_value(json_array_get(
			json_object_get(edge_of(map, "entity:world", "group:shop:role=web"),
					"services"),
			0)),
		"tcp/443");
	end(&w);
}

static void groups_by_tenant_label_and_vm(void **state)
{
	struct manager_map_options o = {.scope.all = true, .by = MANAGER_MAP_BY_TENANT};
	BH_JSON json_t *tenants = NULL, *label = NULL, *vms = NULL, *refused = NULL;
	struct world w;

	begin(&w, 4);
	some_talks(&w);
	tenants = map_of(&w, &o);
	edge_is(tenants, "tenant:shop", "tenant:shop", 10, 0);
	edge_is(tenants, "tenant:bank", "tenant:shop", 1, 2);
	o.verdict = "deny";
	refused = map_of(&w, &o);
	assert_null(edge_of(refused, "tenant:shop", "tenant:shop"));
	edge_is(refused, "tenant:bank", "tenant:shop", 0, 2);
	o.verdict = "";
	o.by = MANAGER_MAP_BY_LABEL;
	o.label = "zone"; /* nobody has it */
	label = map_of(&w, &o);
	edge_is(label, "group:shop:-", "group:shop:-", 10, 0);
	o.by = MANAGER_MAP_BY_VM;
	o.tenant = vm_at(&w, 1)->tenant->number;
	vms = map_of(&w, &o);
	edge_is(vms, "vm:00000000-0000-4000-8000-000000000002",
		"vm:00000000-0000-4000-8000-000000000003", 5, 0);
	edge_is(vms, "tenant:bank", "vm:00000000-0000-4000-8000-000000000003", 1, 2);
	end(&w);
}

static void others_are_strangers(void **state)
{
	struct manager_map_options o = {.by = MANAGER_MAP_BY_VM};
	BH_JSON json_t *map = NULL, *theirs = NULL;
	BH_FREE char *text = NULL;
	struct world w;

	begin(&w, 4);
	some_talks(&w);
	o.scope.tenants[o.scope.count++] = vm_at(&w, 1)->tenant->number;
	map = map_of(&w, &o);
	edge_is(map, "entity:another tenant", "vm:00000000-0000-4000-8000-000000000003", 1, 2);
	text = json_dumps(map, 0);
	assert_null(strstr(text, "bank"));
	assert_null(strstr(text, vm_at(&w, BANK + 4)->uuid));
	o.scope.tenants[0] = vm_at(&w, BANK + 4)->tenant->number;
	theirs = map_of(&w, &o);
	assert_int_equal(json_array_size(json_object_get(theirs, "edges")), 1);
	end(&w);
}

static void small_nodes_stand_together(void **state)
{
	struct manager_map_options o = {.scope.all = true, .by = MANAGER_MAP_BY_VM};
	BH_JSON json_t *map = NULL;
	struct world w;
	uint64_t allowed = 0;
	const json_t *edge;
	size_t i;

	begin(&w, MANY);
	for (unsigned int n = 2; n <= MANY; n++) {
		told(&w, n, 1, BH_POLICY_EGRESS, BH_POLICY_ALLOW, n);
	}
	map = map_of(&w, &o);
	assert_in_range(json_array_size(json_object_get(map, "nodes")), 2,
			MANAGER_MAP_NODES_MAX + 1);
	assert_true(bh_json_u64_or(map, "left_out", 0) >= MANY - MANAGER_MAP_NODES_MAX);
	json_array_foreach (json_object_get(map, "edges"), i, edge) {
		allowed += bh_json_u64_or(edge, "allowed", 0);
	}
	assert_int_equal(allowed, MANY * (MANY + 1) / 2 - 1); /* none is lost */
	assert_non_null(edge_of(map, "entity:others", "vm:00000000-0000-4000-8000-000000000001"));
	end(&w);
}

static json_t *edges_of(struct world *w, struct manager_map_options *o, size_t total)
{
	BH_JSON json_t *map = map_of(w, o);

	assert_int_equal(bh_json_u64_or(map, "edges_total", 0), total);
	return json_incref(json_object_get(map, "edges"));
}

/* Sums of a member over edges. */
static uint64_t sum(const json_t *edges, const char *member)
{
	const json_t *edge;
	uint64_t all = 0;
	size_t i;

	json_array_foreach (edges, i, edge) {
		all += bh_json_u64_or(edge, member, 0);
	}
	return all;
}

static void a_picture_has_what_matters(void **state)
{
	struct manager_map_options o = {.scope.all = true, .by = MANAGER_MAP_BY_VM, .edges = 20};
	BH_JSON json_t *picture = NULL, *page = NULL, *rest = NULL;
	struct world w;

	begin(&w, 10);
	for (unsigned int src = 1; src <= 10; src++) {
		for (unsigned int dst = 1; dst <= 10; dst++) {
			told(&w, src, dst, BH_POLICY_EGRESS,
			     src == 1 && dst > 5 ? BH_POLICY_DENY : BH_POLICY_ALLOW,
			     src == 1 && dst > 5 ? 1 : 10 * src + dst);
		}
	}
	told(&w, 1, 0, BH_POLICY_EGRESS, BH_POLICY_ALLOW, 1); /* the world's only line */
	picture = edges_of(&w, &o, 101);
	assert_int_equal(json_array_size(picture), 20);
	assert_int_equal(sum(picture, "refused"), 5);
	o.sort = MANAGER_MAP_SORT_REFUSED;
	o.edges = 5;
	page = edges_of(&w, &o, 101);
	assert_int_equal(sum(page, "refused"), 5);
	assert_int_equal(sum(page, "allowed"), 0);
	o.offset = 98;
	rest = edges_of(&w, &o, 101);
	assert_int_equal(json_array_size(rest), 3);
	assert_int_equal(sum(rest, "refused"), 0);
	end(&w);
}

/* Lines to "others" are the strongest of all here, and yet the picture has those between nodes. */
static void others_come_last(void **state)
{
	struct manager_map_options o = {.scope.all = true, .by = MANAGER_MAP_BY_VM, .edges = 400};
	BH_JSON json_t *map = NULL;
	struct world w;
	size_t to_others = 0, i;
	const json_t *edge;

	begin(&w, MANY);
	for (unsigned int n = 1; n <= MANY; n++) {
		for (unsigned int k = 1; k <= 8; k++) {
			told(&w, n, (n + k * 37) % MANY + 1, BH_POLICY_EGRESS, BH_POLICY_ALLOW, 3);
		}
	}
	map = map_of(&w, &o);
	assert_true(bh_json_u64_or(map, "left_out", 0) >= MANY - MANAGER_MAP_NODES_MAX);
	assert_int_equal(json_array_size(json_object_get(map, "edges")), 400);
	json_array_foreach (json_object_get(map, "edges"), i, edge) {
		to_others += !strcmp(bh_json_str_or(edge, "from", ""), "entity:others") ||
			     !strcmp(bh_json_str_or(edge, "to", ""), "entity:others");
	}
	assert_int_equal(to_others, 1); /* else they had no line */
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_by_labels),
		cmocka_unit_test(groups_by_tenant_label_and_vm),
		cmocka_unit_test(others_are_strangers),
		cmocka_unit_test(small_nodes_stand_together),
		cmocka_unit_test(a_picture_has_what_matters),
		cmocka_unit_test(others_come_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
