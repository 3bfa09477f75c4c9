/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the image as keys and slots of the kernel's maps, and back. */
#include "host/dataplane/internal.h"

#include "model/id.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>

#define HOST_FLAGS (DP_DEVICE_FLAGS | DP_MOVE_FLAGS | BH_NIC_OPEN)
#define SCOPE_BITS 32u
#define PROTO_BITS 16u /* protocol and padding in front of a range's port */

/* Members that a record and its entry both have. */
struct field {
	size_t rec, entry, size;
};
#define FIELD(type, member, entry, as)                                                             \
	{                                                                                          \
		offsetof(struct bh_rec, type.member), offsetof(struct entry, as),                  \
			sizeof(((struct bh_rec *)0)->type.member)                                  \
	}
#define SAME(type, member, entry) FIELD(type, member, entry, member)

#define FIELDS_MAX 5
struct codec {
	enum dp_map map;
	bool of_nic;	   /* the key begins with the NIC's index; vm and mac stand for it */
	bool present_only; /* the slot says no more than that it is there */
	struct field key[FIELDS_MAX], slot[FIELDS_MAX];
};

static const struct codec codecs[BH_REC_TYPE_MAX + 1] = {
	[BH_REC_NIC] = {.map = DP_MAP_NICS,
			.of_nic = true,
			.slot = {SAME(nic, flags, bh_nic_slot), SAME(nic, identity, bh_nic_slot),
				 SAME(nic, tenant, bh_nic_slot), SAME(nic, net, bh_nic_slot)}},
	[BH_REC_NIC_ADDR] = {.map = DP_MAP_NIC_ADDRS,
			     .of_nic = true,
			     .present_only = true,
			     .key = {SAME(nic_addr, addr, bh_nic_addr_key)}},
	[BH_REC_NIC_VLAN] = {.map = DP_MAP_NIC_VLANS,
			     .of_nic = true,
			     .present_only = true,
			     .key = {SAME(nic_vlan, vlan, bh_nic_vlan_key)}},
	[BH_REC_ADDR] = {.map = DP_MAP_ADDRS,
			 .key = {SAME(addr, net, bh_addr_key), SAME(addr, vlan, bh_addr_key),
				 SAME(addr, addr, bh_addr_key)},
			 .slot = {SAME(addr, identity, bh_addr_slot),
				  SAME(addr, tenant, bh_addr_slot)}},
	[BH_REC_SET] = {.map = DP_MAP_SETS,
			.key = {{offsetof(struct bh_rec, set.set), 0, sizeof(uint32_t)}},
			.slot = {SAME(set, default_rule, bh_set_slot), SAME(set, mask, bh_set_slot),
				 SAME(set, default_action, bh_set_slot),
				 SAME(set, default_flags, bh_set_slot)}},
	[BH_REC_ROW] = {.map = DP_MAP_ROWS,
			.key = {SAME(row, set, bh_row_key), SAME(row, remote, bh_row_key),
				SAME(row, port, bh_row_key), SAME(row, proto, bh_row_key),
				SAME(row, shape, bh_row_key)},
			.slot = {SAME(row, rule, bh_row_slot), SAME(row, rank, bh_row_slot),
				 SAME(row, action, bh_row_slot), SAME(row, flags, bh_row_slot)}},
	[BH_REC_CIDR] = {.map = DP_MAP_CIDRS}, /* lists.c */
	[BH_REC_RANGE] = {.map = DP_MAP_RANGES},
};

enum dp_map dp_rec_map(const struct bh_rec *rec)
{
	return codecs[rec->type].map;
}

static void put_fields(const struct field fields[FIELDS_MAX], const struct bh_rec *rec,
		       uint8_t *entry)
{
	for (const struct field *f = fields; f < fields + FIELDS_MAX && f->size; f++) {
		memcpy(entry + f->entry, (const uint8_t *)rec + f->rec, f->size);
	}
}

static void get_fields(const struct field fields[FIELDS_MAX], const uint8_t *entry,
		       struct bh_rec *rec)
{
	for (const struct field *f = fields; f < fields + FIELDS_MAX && f->size; f++) {
		memcpy((uint8_t *)rec + f->rec, entry + f->entry, f->size);
	}
}

void dp_rec_encode(const struct bh_rec *rec, uint32_t nic, uint8_t ret_key[DP_KEY_MAX],
		   uint8_t ret_slot[DP_SLOT_MAX])
{
	const struct codec *codec = &codecs[rec->type];
	uint32_t present = 1;

	memset(ret_key, 0, DP_KEY_MAX);
	memset(ret_slot, 0, DP_SLOT_MAX);
	if (codec->of_nic) {
		memcpy(ret_key, &nic, sizeof(nic));
	}
	if (codec->present_only) {
		memcpy(ret_slot, &present, sizeof(present));
	}
	put_fields(codec->key, rec, ret_key);
	put_fields(codec->slot, rec, ret_slot);
}

/* vm and mac, with which all three records of a NIC begin: an entry of bh_nics says them itself. */
static bool decode_owner(const struct hostd_dp *dp, enum dp_map map, const void *key,
			 const void *value, struct bh_rec *rec)
{
	const struct dp_nic *nic;
	struct bh_nic entry;
	uint32_t index;

	if (map == DP_MAP_NICS) {
		memcpy(&entry, value, sizeof(entry));
		memcpy(rec->nic.vm, entry.vm, 16);
		memcpy(rec->nic.mac, entry.mac, 6);
		return true;
	}
	memcpy(&index, key, sizeof(index));
	nic = index < dp->map_size[DP_MAP_NICS] ? dp->by_index[index] : NULL;
	if (nic) {
		memcpy(rec->nic.vm, nic->key.vm, 16);
		memcpy(rec->nic.mac, nic->key.mac, 6);
	}
	return nic != NULL;
}

/* By the kernel, and so local. */
static bool is_learned(enum bh_rec_type type, const void *value)
{
	struct bh_nic_addr nic_addr;
	struct bh_addr addr;

	if (type == BH_REC_NIC_ADDR) {
		memcpy(&nic_addr, value, sizeof(nic_addr));
		return nic_addr.flags & BH_ADDR_LEARNED;
	}
	memcpy(&addr, value, sizeof(addr));
	return addr.flags & BH_ADDR_LEARNED;
}

/* Does the slot say anything, and is it not local? */
static bool says_something(const struct bh_rec *rec, const void *value, const uint8_t *slot)
{
	switch (rec->type) {
	case BH_REC_NIC:
		return rec->nic.identity != 0;
	case BH_REC_NIC_ADDR:
		return !dp_zero(slot, sizeof(uint32_t)) && !is_learned(rec->type, value);
	case BH_REC_NIC_VLAN:
		return !dp_zero(slot, sizeof(uint32_t));
	case BH_REC_ADDR:
		/* the host's own are local too */
		return rec->addr.identity >= BH_IDENTITY_FIRST && !is_learned(rec->type, value);
	case BH_REC_SET:
		return rec->set.default_action != BH_ACTION_NONE;
	case BH_REC_ROW:
		return rec->row.action != BH_ACTION_NONE;
	default:
		return false;
	}
}

bool dp_rec_decode(const struct hostd_dp *dp, enum dp_map map, const void *key, const void *value,
		   uint32_t gen, struct bh_rec *ret_rec)
{
	const uint8_t *slot = (const uint8_t *)value + dp_map_descs[map].slot_offset +
			      (gen & 1) * dp_map_descs[map].slot_size;
	const struct codec *codec = codecs;

	memset(ret_rec, 0, sizeof(*ret_rec));
	while (codec < codecs + BH_ARRAY_SIZE(codecs) && codec->map != map) {
		codec++; /* unused entries name bh_ctl, which holds no record */
	}
	ret_rec->type = (enum bh_rec_type)(codec - codecs);
	if (codec == codecs + BH_ARRAY_SIZE(codecs) ||
	    (codec->of_nic && !decode_owner(dp, map, key, value, ret_rec))) {
		return false;
	}
	get_fields(codec->key, key, ret_rec);
	get_fields(codec->slot, slot, ret_rec);
	if (map == DP_MAP_NICS) {
		ret_rec->nic.flags &= ~HOST_FLAGS;
	}
	return says_something(ret_rec, value, slot);
}

const char *dp_rec_describe(const struct bh_rec *rec, char *buf, size_t size)
{
	char mac[BH_MAC_TEXT_SIZE], addr[BH_ADDR_TEXT_SIZE];

	switch (rec->type) {
	case BH_REC_NIC:
	case BH_REC_NIC_ADDR:
	case BH_REC_NIC_VLAN: /* all three begin with vm and mac */
		bh_mac_format(rec->nic.mac, mac);
		snprintf(buf, size, "%s of NIC %s",
			 rec->type == BH_REC_NIC	? "record"
			 : rec->type == BH_REC_NIC_ADDR ? "address"
							: "VLAN",
			 mac);
		break;
	case BH_REC_ADDR:
		bh_addr_format(rec->addr.addr, addr);
		snprintf(buf, size, "address %s of network %u", addr, rec->addr.net);
		break;
	case BH_REC_SET:
		snprintf(buf, size, "set %u", rec->set.set);
		break;
	case BH_REC_ROW:
		snprintf(buf, size, "row of set %u (rule %u)", rec->row.set, rec->row.rule);
		break;
	case BH_REC_CIDR:
		snprintf(buf, size, "prefix of set %u", rec->cidr.set);
		break;
	case BH_REC_RANGE:
		snprintf(buf, size, "port range of set %u", rec->range.set);
		break;
	default:
		snprintf(buf, size, "record of unknown type %d", (int)rec->type);
	}
	return buf;
}

/* What would read back as something else than it was, or as nothing. */
int dp_rec_check(const struct bh_rec *rec, struct bh_diag *diag)
{
	char what[80];
	bool ok = true;

	switch (rec->type) {
	case BH_REC_NIC:
		ok = rec->nic.identity >= BH_IDENTITY_FIRST && !(rec->nic.flags & HOST_FLAGS);
		break;
	case BH_REC_ADDR:
		ok = rec->addr.identity >= BH_IDENTITY_FIRST;
		break;
	case BH_REC_SET:
		ok = rec->set.default_action >= BH_ACTION_ALLOW &&
		     rec->set.default_action <= BH_ACTION_REJECT;
		break;
	case BH_REC_ROW:
		ok = rec->row.action >= BH_ACTION_ALLOW && rec->row.action <= BH_ACTION_REJECT;
		break;
	case BH_REC_CIDR:
		ok = rec->cidr.prefix_bits <= 128;
		break;
	case BH_REC_RANGE:
		ok = rec->range.prefix_bits <= 16;
		break;
	case BH_REC_NIC_ADDR:
	case BH_REC_NIC_VLAN:
		break;
	default:
		ok = false;
	}
	return ok ? 0
		  : bh_diag_set(diag, HOSTD_DP_INVALID, "%s has values out of range",
				dp_rec_describe(rec, what, sizeof(what)));
}

void dp_cidr_key(const struct dp_cidr *c, uint32_t scope, struct bh_cidr_key *ret_key)
{
	ret_key->prefixlen = SCOPE_BITS + c->prefix_bits;
	ret_key->scope = scope;
	memcpy(ret_key->addr, c->addr, 16);
}

void dp_range_key(const struct dp_range *r, uint32_t scope, struct bh_range_key *ret_key)
{
	memset(ret_key, 0, sizeof(*ret_key));
	ret_key->prefixlen = SCOPE_BITS + PROTO_BITS + r->prefix_bits;
	ret_key->scope = scope;
	ret_key->proto = r->proto;
	ret_key->port = htons(r->port);
}

void dp_cidr_rec(const struct dp_cidr *c, uint32_t set, struct bh_rec *ret_rec)
{
	memset(ret_rec, 0, sizeof(*ret_rec));
	ret_rec->type = BH_REC_CIDR;
	ret_rec->cidr.set = set;
	ret_rec->cidr.prefix_bits = c->prefix_bits;
	memcpy(ret_rec->cidr.addr, c->addr, 16);
	ret_rec->cidr.class_id = c->class_id;
}

void dp_range_rec(const struct dp_range *r, uint32_t set, struct bh_rec *ret_rec)
{
	memset(ret_rec, 0, sizeof(*ret_rec));
	ret_rec->type = BH_REC_RANGE;
	ret_rec->range.set = set;
	ret_rec->range.proto = r->proto;
	ret_rec->range.prefix_bits = r->prefix_bits;
	ret_rec->range.port = r->port;
	ret_rec->range.class_id = r->class_id;
}

void dp_sum_account(struct dp_sum *sum, const struct bh_rec *old, const struct bh_rec *put)
{
	struct bh_hash h;

	if (old) {
		bh_hasher_rec(sum->hasher, old, &h);
		bh_hash_sub(&sum->hash, &h);
	}
	if (put) {
		bh_hasher_rec(sum->hasher, put, &h);
		bh_hash_add(&sum->hash, &h);
	}
	sum->changed++;
}
