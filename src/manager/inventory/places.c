/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where VMs ran. The place where a VM runs now is kept in its own row, so that a VM that stays
 * where it is costs nothing; a place becomes a row of its own when it ends.
 */
#include "manager/inventory/inventory.h"

#include "base/json.h"
#include "base/time.h"

#define ENDED_MAX 100000 /* that wait for a store that fails */

static const char *const how_names[] = {"start", "migration", "restore"};

const char *manager_place_how_name(enum manager_place_how how)
{
	return how_names[how];
}

static enum manager_place_how how_of(const char *name)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(how_names); i++) {
		if (strcmp(name, how_names[i]) == 0) {
			return (enum manager_place_how)i;
		}
	}
	return MANAGER_PLACE_START;
}

void manager_vm_place_next(struct manager_vm *vm, const char *how, const char *migration)
{
	vm->next_how = how_of(how);
	snprintf(vm->next_migration, sizeof(vm->next_migration), "%s", migration);
}

static void end(struct manager_inventory *inv, struct manager_vm *vm, uint64_t now_ns)
{
	struct manager_place_ended *ended;

	if (inv->places_ended.count < ENDED_MAX) {
		ended = bh_vec_push(&inv->places_ended);
		memcpy(ended->vm, vm->uuid, sizeof(ended->vm));
		ended->place = vm->place;
		ended->until_ns = now_ns;
	}
	vm->place = (struct manager_place){};
	vm->saved = false;
	inv->dirty = true;
}

void manager_vm_place(struct manager_inventory *inv, struct manager_vm *vm, uint64_t now_ns)
{
	const char *host = vm->host && manager_report_running(&vm->report) &&
					   strcmp(vm->report.state, "starting") != 0
				   ? vm->host->name
				   : "";

	if (strcmp(host, vm->place.host) == 0) {
		return;
	}
	if (*vm->place.host) {
		end(inv, vm, now_ns);
	}
	if (*host) {
		snprintf(vm->place.host, sizeof(vm->place.host), "%s", host);
		vm->place.since_ns = now_ns;
		vm->place.how = vm->next_how;
		memcpy(vm->place.migration, vm->next_migration, sizeof(vm->place.migration));
		manager_vm_place_next(vm, "start", "");
		vm->saved = false;
		inv->dirty = true;
	}
}

json_t *manager_place_dump(const struct manager_place *place)
{
	return json_pack("{s:s, s:I, s:s, s:s}", "host", place->host, "since",
			 (json_int_t)place->since_ns, "how", manager_place_how_name(place->how),
			 "migration", place->migration);
}

void manager_place_load(const json_t *json, struct manager_place *ret)
{
	snprintf(ret->host, sizeof(ret->host), "%s", bh_json_str_or(json, "host", ""));
	ret->since_ns = bh_json_u64_or(json, "since", 0);
	ret->how = how_of(bh_json_str_or(json, "how", ""));
	snprintf(ret->migration, sizeof(ret->migration), "%s",
		 bh_json_str_or(json, "migration", ""));
}

int manager_places_save(struct manager_inventory *inv, struct bh_diag *diag)
{
	int r = 0;

	bh_vec_foreach (e, &inv->places_ended) {
		struct manager_store_place row = {.vm = e->vm,
						  .host = e->place.host,
						  .since_ns = e->place.since_ns,
						  .until_ns = e->until_ns,
						  .how = manager_place_how_name(e->place.how),
						  .migration = e->place.migration};

		r = r ? r : manager_store_add_place(inv->db, &row, MANAGER_PLACES_PER_VM, diag);
	}
	return r;
}

static json_t *place_json(const struct manager_store_place *row)
{
	char since[BH_TIME_TEXT_SIZE], until[BH_TIME_TEXT_SIZE];

	bh_time_format(row->since_ns, since);
	bh_time_format(row->until_ns, until);
	return json_pack("{s:s, s:s, s:o, s:s, s:o}", "host", row->host, "since", since, "until",
			 row->until_ns ? json_string(until) : json_null(), "how", row->how,
			 "migration", *row->migration ? json_string(row->migration) : json_null());
}

static int add_place(const struct manager_store_place *row, void *arg)
{
	json_array_append_new(arg, place_json(row));
	return 0;
}

json_t *manager_vm_places(const struct manager_inventory *inv, const struct manager_vm *vm)
{
	json_t *list = json_array();

	if (*vm->place.host) {
		struct manager_store_place row = {.host = vm->place.host,
						  .since_ns = vm->place.since_ns,
						  .how = manager_place_how_name(vm->place.how),
						  .migration = vm->place.migration};

		json_array_append_new(list, place_json(&row));
	}
	for (size_t i = inv->places_ended.count; i-- > 0;) {
		const struct manager_place_ended *e = &inv->places_ended.items[i];
		struct manager_store_place row = {.host = e->place.host,
						  .since_ns = e->place.since_ns,
						  .until_ns = e->until_ns,
						  .how = manager_place_how_name(e->place.how),
						  .migration = e->place.migration};

		if (strcmp(e->vm, vm->uuid) == 0) {
			json_array_append_new(list, place_json(&row));
		}
	}
	(void)!manager_store_places(inv->db, vm->uuid, add_place, list, NULL);
	return list;
}
