/* SPDX-License-Identifier: Apache-2.0 */
/* Names for numbers and addresses in events. Addresses are looked up in an index that is made anew
 * at most once a second, so a burst of events costs a hash lookup each. */
#include "manager/events/events.h"

#include "base/json.h"
#include "base/time.h"

#include <uthash.h>

struct entry {
	struct {
		uint32_t net;
		uint8_t addr[16];
	} key;
	char uuid[BH_UUID_TEXT_SIZE];
	char *name;
	char *tenant;
	UT_hash_handle hh;
};

struct manager_names {
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct entry *entries;
	uint64_t made_ns;
};

static void clear(struct manager_names *names)
{
	struct entry *e, *tmp;

	HASH_ITER (hh, names->entries, e, tmp) {
		HASH_DEL(names->entries, e);
		free(e->name);
		free(e->tenant);
		free(e);
	}
}

static void add(struct manager_names *names, const struct manager_vm *vm, uint32_t net,
		const uint8_t addr[16])
{
	struct entry *e = bh_alloc(sizeof(*e)), *old;

	e->key.net = net;
	memcpy(e->key.addr, addr, 16);
	HASH_FIND(hh, names->entries, &e->key, sizeof(e->key), old);
	if (old) {
		free(e);
		return;
	}
	memcpy(e->uuid, vm->uuid, sizeof(e->uuid));
	e->name = bh_strdup(vm->report.name);
	e->tenant = bh_strdup(vm->tenant->name);
	HASH_ADD(hh, names->entries, key, sizeof(e->key), e);
}

static void index_addresses(struct manager_names *names)
{
	struct manager_addrs addrs = {};
	struct manager_vm *vm, *tmp;

	clear(names);
	HASH_ITER (hh, names->inv->vms, vm, tmp) {
		for (size_t i = 0; vm->host && i < vm->report.nic_count; i++) {
			if (!vm->nics[i].net) {
				continue;
			}
			manager_nic_addresses(&vm->nics[i], true, &addrs);
			bh_vec_foreach (a, &addrs) {
				add(names, vm, vm->nics[i].net->number, a->bytes);
			}
		}
	}
	bh_vec_done(&addrs);
}

static const struct entry *find(struct manager_names *names, const json_t *json, const char *member)
{
	struct entry key = {}, *e;

	key.key.net = (uint32_t)bh_json_u64_or(json, "net", 0);
	if (bh_addr_parse(bh_json_str_or(json, member, ""), key.key.addr) < 0) {
		return NULL;
	}
	HASH_FIND(hh, names->entries, &key.key, sizeof(key.key), e);
	return e;
}

static void add_rule(struct manager_names *names, json_t *json, const char *member,
		     const char *text_member)
{
	uint64_t number = bh_json_u64_or(json, member, 0);
	const char *text;

	if (!number || number > UINT32_MAX) {
		return;
	}
	text = manager_rulebook_text(names->book, (uint32_t)number);
	if (*text) {
		json_object_set_new(json, text_member, json_string(text));
	}
}

static void copy(char *to, size_t size, const char *from)
{
	if (strlen(from) < size) {
		memcpy(to, from, strlen(from) + 1);
	}
}

static void add_ends(struct manager_names *names, struct manager_event_row *row)
{
	const struct entry *src = find(names, row->json, "src");
	const struct entry *dst = find(names, row->json, "dst");

	if (src) {
		json_object_set_new(row->json, "src_vm", json_string(src->name));
	}
	if (dst) {
		json_object_set_new(row->json, "dst_vm", json_string(dst->name));
	}
	if (src && strcmp(src->uuid, row->vm) != 0) {
		copy(row->peer, sizeof(row->peer), src->uuid);
	} else if (dst && strcmp(dst->uuid, row->vm) != 0) {
		copy(row->peer, sizeof(row->peer), dst->uuid);
	}
}

void manager_names_add(struct manager_names *names, struct manager_event_row *row, uint64_t mono_ns)
{
	const char *action = bh_json_str_or(row->json, "action", "");
	struct manager_vm *vm;

	if (!names->made_ns || mono_ns > names->made_ns + BH_NS_PER_S) {
		names->made_ns = mono_ns;
		index_addresses(names);
	}
	copy(row->host, sizeof(row->host), bh_json_str_or(row->json, "host", ""));
	copy(row->vm, sizeof(row->vm), bh_json_str_or(row->json, "vm", ""));
	if (*row->vm) {
		HASH_FIND_STR(names->inv->vms, row->vm, vm);
		if (vm) {
			json_object_set_new(row->json, "vm_name", json_string(vm->report.name));
			json_object_set_new(row->json, "tenant", json_string(vm->tenant->name));
		}
	}
	if (strncmp(row->type, "flow.", 5) != 0 && strncmp(row->type, "guard.", 6) != 0) {
		return;
	}
	if (*action) {
		copy(row->verdict, sizeof(row->verdict), action);
		json_object_set_new(row->json, "verdict", json_string(action));
	}
	add_rule(names, row->json, "rule", "rule_text");
	add_rule(names, row->json, "other_rule", "other_rule_text");
	add_ends(names, row);
}

struct manager_names *manager_names_new(struct manager_inventory *inv,
					struct manager_rulebook *book)
{
	struct manager_names *names = bh_alloc(sizeof(*names));

	names->inv = inv;
	names->book = book;
	return names;
}

void manager_names_free(struct manager_names *names)
{
	if (names) {
		clear(names);
		free(names);
	}
}
