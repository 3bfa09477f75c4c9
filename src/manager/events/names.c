/* SPDX-License-Identifier: Apache-2.0 */
/* Names for numbers and addresses in events. Addresses are looked up in an index that is made anew
 * at most once a second, so a burst of events costs a hash lookup each. */
#include "manager/events/events.h"

#include "base/time.h"

#include <uthash.h>

struct entry {
	struct {
		uint32_t net;
		uint8_t addr[16];
	} key;
	char uuid[BH_UUID_TEXT_SIZE];
	char *name;
	uint32_t tenant;
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
	e->tenant = vm->tenant->number;
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

static const struct entry *find(struct manager_names *names, const struct bh_jtext *event,
				const char *member)
{
	char text[BH_ADDR_TEXT_SIZE];
	struct entry key = {}, *e;
	uint64_t net = 0;

	if (!bh_jtext_str(event, member, text, sizeof(text)) ||
	    bh_addr_parse(text, key.key.addr) < 0) {
		return NULL;
	}
	(void)bh_jtext_u64(event, "net", UINT32_MAX, &net);
	key.key.net = (uint32_t)net;
	HASH_FIND(hh, names->entries, &key.key, sizeof(key.key), e);
	return e;
}

/* ---- the body: what the event says, but for what the manager says instead ---- */

struct said {
	const char *key;
	const char *text; /* NULL: nothing */
	bool ours;	  /* a host may not say it at all */
};

enum said_which {
	SAID_HOST,
	SAID_ID, /* readers of pages put it before the rest */
	SAID_VERDICT,
	SAID_RULE,
	SAID_OTHER_RULE,
	SAID_SRC_VM,
	SAID_DST_VM,
	SAID_VM_NAME,
	SAID_TENANT,
	SAID_COUNT
};

static void said_init(struct said said[SAID_COUNT])
{
	static const struct said none[SAID_COUNT] = {
		[SAID_HOST] = {"host", NULL, true},
		[SAID_ID] = {"id", NULL, true},
		[SAID_VERDICT] = {"verdict", NULL, true},
		[SAID_RULE] = {"rule_text", NULL, true},
		[SAID_OTHER_RULE] = {"other_rule_text", NULL, true},
		[SAID_SRC_VM] = {"src_vm", NULL, true},
		[SAID_DST_VM] = {"dst_vm", NULL, true},
		[SAID_VM_NAME] = {"vm_name", NULL, false},
		[SAID_TENANT] = {"tenant", NULL, false},
	};

	memcpy(said, none, sizeof(none));
}

static bool replaced(const struct said said[SAID_COUNT], const struct bh_jtext *event,
		     const struct bh_jtext_member *m, bool foreign)
{
	for (size_t i = 0; i < SAID_COUNT; i++) {
		if ((said[i].text || (foreign && said[i].ours)) &&
		    bh_jtext_key_is(event, m, said[i].key)) {
			return true;
		}
	}
	return false;
}

static char *body_of(const struct bh_jtext *event, const struct said said[SAID_COUNT], bool foreign)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_wbuf_u8(&w, '{');
	for (unsigned int i = 0; i < event->count; i++) {
		if (!replaced(said, event, &event->members[i], foreign)) {
			bh_jtext_add_member(&w, event, &event->members[i]);
		}
	}
	for (size_t i = 0; i < SAID_COUNT; i++) {
		if (said[i].text) {
			bh_jtext_add_str(&w, said[i].key, said[i].text);
		}
	}
	bh_wbuf_u8(&w, '}');
	(void)bh_wbuf_cstr(&w);
	return (char *)w.data;
}

/* ---- what the manager knows ---- */

static const char *rule_text(struct manager_names *names, const struct bh_jtext *event,
			     const char *member)
{
	uint64_t number;
	const char *text;

	if (!bh_jtext_u64(event, member, UINT32_MAX, &number) || !number) {
		return NULL;
	}
	text = manager_rulebook_text(names->book, (uint32_t)number);
	return *text ? text : NULL;
}

/* Of an end of a flow: whose VM it is, by its identity, or by its address. */
static uint32_t tenant_of_end(const struct manager_names *names, const struct bh_jtext *event,
			      const char *identity, const struct entry *entry)
{
	const struct manager_identity *known;
	uint64_t number = 0;

	(void)bh_jtext_u64(event, identity, UINT32_MAX, &number);
	known = manager_identity_at(names->inv, (uint32_t)number); /* NULL for reserved ones */
	return known ? known->tenant->number : entry ? entry->tenant : 0;
}

static void say_flow(struct manager_names *names, const struct bh_jtext *event,
		     struct manager_event_row *row, struct said said[SAID_COUNT])
{
	const struct entry *src = find(names, event, "src");
	const struct entry *dst = find(names, event, "dst");
	const struct entry *peer = src && strcmp(src->uuid, row->vm)   ? src
				   : dst && strcmp(dst->uuid, row->vm) ? dst
								       : NULL;
	const struct manager_vm *vm = NULL;
	char dir[12];

	if (bh_jtext_str(event, "action", row->verdict, sizeof(row->verdict)) && *row->verdict) {
		said[SAID_VERDICT].text = row->verdict;
	}
	said[SAID_RULE].text = rule_text(names, event, "rule");
	said[SAID_OTHER_RULE].text = rule_text(names, event, "other_rule");
	said[SAID_SRC_VM].text = src ? src->name : NULL;
	said[SAID_DST_VM].text = dst ? dst->name : NULL;
	if (peer) {
		memcpy(row->peer, peer->uuid, sizeof(row->peer));
	}
	row->src_tenant = tenant_of_end(names, event, "src_identity", src);
	row->dst_tenant = tenant_of_end(names, event, "dst_identity", dst);
	row->vm_end = bh_jtext_str(event, "dir", dir, sizeof(dir)) && strcmp(dir, "ingress") == 0;
	HASH_FIND_STR(names->inv->vms, row->vm, vm);
	if (vm) {
		/* The VM whose NIC told is known better than by what its packet says. */
		*(row->vm_end ? &row->dst_tenant : &row->src_tenant) = vm->tenant->number;
	}
	row->is_talk = manager_talk_of(row->type, event, &row->talk);
	row->talk.src_tenant = row->src_tenant;
	row->talk.dst_tenant = row->dst_tenant;
}

/* Whose business an event without ends is. Only the manager's own may say so by name. */
static uint32_t tenant_of(struct manager_names *names, const struct bh_jtext *event,
			  const struct manager_vm *vm, bool foreign, const char *type)
{
	const struct manager_tenant *tenant = NULL;
	char name[BH_NAME_MAX + 1];

	if (strncmp(type, "audit.", 6) == 0) {
		return MANAGER_SCOPE_PROVIDER;
	}
	if (!foreign && bh_jtext_str(event, "tenant", name, sizeof(name))) {
		tenant = manager_tenant_find(names->inv, name);
	}
	return vm ? vm->tenant->number : tenant ? tenant->number : MANAGER_SCOPE_PROVIDER;
}

void manager_names_add(struct manager_names *names, const struct bh_jtext *event, const char *host,
		       struct manager_event_row *row, uint64_t mono_ns)
{
	struct said said[SAID_COUNT];
	struct manager_vm *vm = NULL;

	if (!names->made_ns || mono_ns > names->made_ns + BH_NS_PER_S) {
		names->made_ns = mono_ns;
		index_addresses(names);
	}
	said_init(said);
	if (host) {
		snprintf(row->host, sizeof(row->host), "%s", host);
		said[SAID_HOST].text = host;
	} else {
		(void)bh_jtext_str(event, "host", row->host, sizeof(row->host));
	}
	if (bh_jtext_str(event, "vm", row->vm, sizeof(row->vm)) && *row->vm) {
		HASH_FIND_STR(names->inv->vms, row->vm, vm);
	}
	if (vm) {
		said[SAID_VM_NAME].text = vm->report.name;
		said[SAID_TENANT].text = vm->tenant->name;
	}
	if (manager_type_is_flow(row->type)) {
		say_flow(names, event, row, said);
	} else {
		row->src_tenant = tenant_of(names, event, vm, host != NULL, row->type);
	}
	row->body = body_of(event, said, host != NULL);
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
