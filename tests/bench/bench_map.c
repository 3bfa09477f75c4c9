/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the map costs: 10,000 VMs of 100 tenants on 200 hosts, a million talks. What the loop thread
 * does (copying the inventory, writing the answer) and what the worker does, each. Prints; judges
 * nothing.
 *
 *	bench_map [TALKS]
 */
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/map/map.h"
#include "model/id.h"
#include "policy/policy.h"
#include "../unit/manager_world.h"

#include <time.h>

#define VMS	10000
#define TENANTS 100
#define HOSTS	200
#define HOURS	24
#define NOW_S	(500000u * 3600)

static uint64_t state = 1;

static uint32_t draw(uint32_t limit)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((state >> 33) % limit);
}

static double thread_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int r, const struct bh_diag *diag)
{
	if (r < 0) {
		fprintf(stderr, "%s\n", diag->text);
		exit(1);
	}
}

static json_t *make_vm(unsigned int n)
{
	json_t *vm = manager_world_vm(n, "running", "web");
	json_t *nic = json_array_get(json_object_get(vm, "nics"), 0);
	json_t *labels = json_object_get(vm, "labels");

	json_object_set_new(vm, "tenant", json_sprintf("t%u", n % TENANTS));
	json_object_set_new(labels, "app", json_sprintf("a%u", n / TENANTS % 10));
	json_object_set_new(nic, "mac", json_sprintf("52:54:00:00:%02x:%02x", n >> 8, n & 255));
	json_object_set_new(nic, "addresses",
			    json_pack("[o]", json_sprintf("10.0.%u.%u", n >> 8, n & 255)));
	return vm;
}

static struct manager_vm **fill(struct manager_inventory *inv)
{
	struct manager_vm **all = bh_alloc_array(VMS, sizeof(*all)), *vm, *tmp;
	struct bh_diag diag = {};
	size_t count = 0;

	for (unsigned int h = 0; h < HOSTS; h++) {
		BH_FREE char *name = bh_asprintf("h%u", h);
		BH_JSON json_t *list = json_array();
		json_t *rejected;

		for (unsigned int n = h; n < VMS; n += HOSTS) {
			json_array_append_new(list, make_vm(n + 1));
		}
		must(manager_inventory_report(inv, manager_host_add(inv, name, 1), list, 1,
					      &rejected, &diag),
		     &diag);
		json_decref(rejected);
	}
	HASH_ITER (hh, inv->vms, vm, tmp) {
		all[count++] = vm;
	}
	printf("%zu VMs\n", count);
	return all;
}

static void take_end(const struct manager_vm *vm, uint32_t *identity, uint32_t *tenant,
		     uint8_t addr[16])
{
	struct manager_addrs all = {};

	*identity = vm->identity->number;
	*tenant = vm->tenant->number;
	manager_nic_addresses(&vm->nics[0], true, &all);
	memcpy(addr, all.items[0].bytes, 16);
	bh_vec_done(&all);
}

static void make_talks(struct manager_vm **vms, const char *path, uint32_t rows)
{
	struct manager_talks_options options = {.path = path, .per_hour = 1u << 20};
	struct manager_talks *talks = NULL;
	struct bh_diag diag = {};

	must(manager_talks_open(&options, &talks, &diag), &diag);
	for (uint32_t i = 0; i < rows; i++) {
		uint32_t hour = HOURS - 1 - i / (rows / HOURS + 1);
		struct manager_talk t = {.net = vms[0]->nics[0].net->number,
					 .rule = 16 + draw(1000),
					 .port = (uint16_t)(draw(40) * 37 + 22),
					 .proto = 6,
					 .dir = BH_POLICY_EGRESS,
					 .verdict = draw(4) ? BH_POLICY_ALLOW : BH_POLICY_DENY,
					 .count = 1 + draw(50)};

		t.first_s = t.last_s = NOW_S - hour * 3600;
		take_end(vms[draw(VMS)], &t.src_identity, &t.src_tenant, t.src);
		if (draw(4)) {
			take_end(vms[draw(VMS)], &t.dst_identity, &t.dst_tenant, t.dst);
		} else {
			t.dst_identity = 2;
			t.dst[10] = t.dst[11] = 0xff;
			t.dst[12] = 192;
			t.dst[15] = (uint8_t)draw(250);
		}
		must(manager_talks_add(talks, &t, NOW_S, &diag), &diag);
	}
	must(manager_talks_flush(talks, rows, NOW_S, true, &diag), &diag);
	manager_talks_close(talks);
}

static void measure(struct manager_inventory *inv, const char *path, const char *what,
		    struct manager_map_options o)
{
	uint64_t begun = bh_time_mono_ns();
	double cpu[4] = {thread_s()};
	struct manager_map *map;
	struct bh_diag diag = {};
	json_t *json;
	BH_FREE char *text = NULL;

	o.inv = inv;
	o.talks_path = path;
	o.verdict = "";
	o.until_ns = (NOW_S + 3600) * BH_NS_PER_S;
	map = manager_map_new(&o);
	cpu[1] = thread_s();
	must(manager_map_run(map, &diag), &diag);
	cpu[2] = thread_s();
	json = manager_map_json(map);
	text = json_dumps(json, JSON_COMPACT);
	cpu[3] = thread_s();
	printf("%-24s %.2f s; CPU: loop %.3f s, worker %.3f s, answer %.3f s (aim 1 s); %zu nodes, "
	       "%zu edges, %zu bytes\n",
	       what, (double)(bh_time_mono_ns() - begun) / 1e9, cpu[1] - cpu[0], cpu[2] - cpu[1],
	       cpu[3] - cpu[2], json_array_size(json_object_get(json, "nodes")),
	       json_array_size(json_object_get(json, "edges")), strlen(text));
	json_decref(json);
	manager_map_free(map);
}

int main(int argc, char **argv)
{
	uint32_t rows = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
	char dir[] = "/var/tmp/bench-map-XXXXXX";
	BH_FREE char *path = mkdtemp(dir) ? bh_asprintf("%s/talks.db", dir) : NULL;
	BH_FREE char *clean = bh_asprintf("rm -r %s", dir);
	BH_FREE struct manager_vm **vms = NULL;
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_map_options o = {.scope.all = true};

	if (!path) {
		return 1;
	}
	manager_world_open(":memory:", &db, &inv, &book);
	vms = fill(inv);
	make_talks(vms, path, rows);
	measure(inv, path, "by tenant", o);
	o.by = MANAGER_MAP_BY_LABELS;
	measure(inv, path, "by labels", o);
	o.by = MANAGER_MAP_BY_VM;
	measure(inv, path, "by VM", o);
	o.tenant = vms[0]->tenant->number;
	measure(inv, path, "by VM, one tenant", o);
	manager_rulebook_free(book);
	manager_inventory_free(inv);
	manager_db_close(db);
	return system(clean) != 0;
}
