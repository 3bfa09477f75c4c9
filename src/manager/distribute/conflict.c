/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that two VMs claim in one network: kept per network, told when one comes, turns to
 * another winner or ends. Who wins is decided where the network's addresses are built (build.c). */
#include "manager/distribute/distribute.h"

#include "base/counter.h"
#include "base/json.h"

BH_COUNTER(distribute_address_conflicts, "conflicts over an address that came up or turned");

static int by_all(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct manager_conflict));
}

static const char *why_text(enum manager_conflict_why why)
{
	static const char *const texts[] = {"it runs and the other does not", "it was seen first",
					    "both were seen at once and its UUID is smaller"};

	return texts[why];
}

static const struct manager_vm *vm_of(const struct manager_inventory *inv, const char *uuid)
{
	struct manager_vm *vm;

	HASH_FIND_STR(inv->vms, uuid, vm);
	return vm;
}

static const char *name_of(const struct manager_vm *vm, const char *uuid)
{
	return vm ? vm->report.name : uuid;
}

static json_t *describe(const struct manager_inventory *inv, const struct manager_network *net,
			const struct manager_conflict *c)
{
	const struct manager_vm *winner = vm_of(inv, c->winner), *loser = vm_of(inv, c->loser);
	char addr[BH_ADDR_TEXT_SIZE];
	json_t *obj;

	bh_addr_format(c->addr, addr);
	obj = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s}", "address", addr, "network",
			net->key, "vlan", (json_int_t)c->vlan, "vm", c->loser, "vm_name",
			name_of(loser, c->loser), "winner", c->winner, "winner_name",
			name_of(winner, c->winner), "why",
			why_text((enum manager_conflict_why)c->why));
	if (winner) {
		json_object_set_new(obj, "winner_tenant", json_string(winner->tenant->name));
	}
	if (loser && loser->host) {
		json_object_set_new(obj, "host", json_string(loser->host->name));
	}
	return obj;
}

static void tell(const struct manager_inventory *inv, const struct manager_network *net,
		 const struct manager_conflict *c, bool over)
{
	BH_FREE char *text = NULL;
	json_t *body = describe(inv, net, c);

	text = over ? bh_asprintf("%s and %s no longer claim the same address %s on %s",
				  bh_json_str_or(body, "winner_name", ""),
				  bh_json_str_or(body, "vm_name", ""),
				  bh_json_str_or(body, "address", ""), net->key)
		    : bh_asprintf("%s and %s both claim %s on %s; %s has it: %s",
				  bh_json_str_or(body, "winner_name", ""),
				  bh_json_str_or(body, "vm_name", ""),
				  bh_json_str_or(body, "address", ""), net->key,
				  bh_json_str_or(body, "winner_name", ""),
				  bh_json_str_or(body, "why", ""));
	json_object_set_new(body, "message", json_string(text));
	if (over) {
		json_object_del(body, "why");
	}
	manager_inventory_notice(inv, over ? "address.conflict-over" : "address.conflict",
				 over ? "info" : "warning", body);
}

/* The address is still claimed by more than one, whoever wins: it has turned, which was told. */
static bool goes_on(const struct manager_conflicts *list, const struct manager_conflict *c)
{
	bh_vec_foreach (o, list) {
		if (o->vlan == c->vlan && memcmp(o->addr, c->addr, 16) == 0) {
			return true;
		}
	}
	return false;
}

void manager_conflicts_set(const struct manager_inventory *inv, struct manager_network *net,
			   struct manager_conflicts *now)
{
	struct manager_conflicts before = net->conflicts;

	if (now->count) {
		qsort(now->items, now->count, sizeof(*now->items), by_all);
	}
	net->conflicts = *now;
	*now = (struct manager_conflicts){};
	bh_vec_foreach (c, &net->conflicts) {
		if (!before.count || !bsearch(c, before.items, before.count, sizeof(*c), by_all)) {
			bh_counter_add(&distribute_address_conflicts, 1);
			tell(inv, net, c, false);
		}
	}
	bh_vec_foreach (c, &before) {
		if (!goes_on(&net->conflicts, c)) {
			tell(inv, net, c, true);
		}
	}
	bh_vec_done(&before);
}

size_t manager_conflict_count(const struct manager_inventory *inv)
{
	struct manager_network *n, *tmp;
	size_t count = 0;

	HASH_ITER (hh, inv->networks, n, tmp) {
		count += n->conflicts.count;
	}
	return count;
}

/* A VM may have several NICs in one network: each network is looked at once. */
static bool seen_before(const struct manager_vm *vm, size_t nic)
{
	for (size_t i = 0; i < nic; i++) {
		if (vm->nics[i].net == vm->nics[nic].net) {
			return true;
		}
	}
	return false;
}

json_t *manager_conflicts_of(const struct manager_inventory *inv, const struct manager_vm *vm)
{
	json_t *list = json_array();

	for (size_t i = 0; i < vm->report.nic_count; i++) {
		const struct manager_network *net = vm->nics[i].net;

		if (!net || seen_before(vm, i)) {
			continue;
		}
		bh_vec_foreach (c, &net->conflicts) {
			if (strcmp(c->winner, vm->uuid) == 0 || strcmp(c->loser, vm->uuid) == 0) {
				json_array_append_new(list, describe(inv, net, c));
			}
		}
	}
	return list;
}
