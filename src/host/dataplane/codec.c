/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the image as keys and slots of the kernel's maps, and back. */
#include "host/dataplane/internal.h"

#include "model/id.h"

#include <arpa/inet.h>
#include <errno.h>

#define HOST_FLAGS (DP_DEVICE_FLAGS | BH_NIC_OPEN)
#define SCOPE_BITS 32u
#define PROTO_BITS 16u /* protocol and padding in front of a range's port */

enum dp_map dp_rec_map(const struct bh_rec *rec)
{
	static const enum dp_map maps[BH_REC_TYPE_MAX + 1] = {
		[BH_REC_NIC] = DP_MAP_NICS,	      [BH_REC_NIC_ADDR] = DP_MAP_NIC_ADDRS,
		[BH_REC_NIC_VLAN] = DP_MAP_NIC_VLANS, [BH_REC_ADDR] = DP_MAP_ADDRS,
		[BH_REC_SET] = DP_MAP_SETS,	      [BH_REC_ROW] = DP_MAP_ROWS,
		[BH_REC_CIDR] = DP_MAP_CIDRS,	      [BH_REC_RANGE] = DP_MAP_RANGES,
	};

	return maps[rec->type];
}

static void encode_key(const struct bh_rec *rec, uint32_t nic, uint8_t ret_key[DP_KEY_MAX])
{
	struct bh_nic_addr_key nic_addr = {.nic = nic};
	struct bh_nic_vlan_key nic_vlan = {.nic = nic};
	struct bh_addr_key addr = {};
	struct bh_row_key row = {};

	switch (rec->type) {
	case BH_REC_NIC:
		memcpy(ret_key, &nic, sizeof(nic));
		break;
	case BH_REC_NIC_ADDR:
		memcpy(nic_addr.addr, rec->nic_addr.addr, 16);
		memcpy(ret_key, &nic_addr, sizeof(nic_addr));
		break;
	case BH_REC_NIC_VLAN:
		nic_vlan.vlan = rec->nic_vlan.vlan;
		memcpy(ret_key, &nic_vlan, sizeof(nic_vlan));
		break;
	case BH_REC_ADDR:
		addr.net = rec->addr.net;
		addr.vlan = rec->addr.vlan;
		memcpy(addr.addr, rec->addr.addr, 16);
		memcpy(ret_key, &addr, sizeof(addr));
		break;
	case BH_REC_SET:
		memcpy(ret_key, &rec->set.set, sizeof(rec->set.set));
		break;
	case BH_REC_ROW:
		row.set = rec->row.set;
		row.remote = rec->row.remote;
		row.port = rec->row.port;
		row.proto = rec->row.proto;
		row.shape = rec->row.shape;
		memcpy(ret_key, &row, sizeof(row));
		break;
	case BH_REC_CIDR:
	case BH_REC_RANGE:
		break; /* lists.c */
	}
}

static void encode_slot(const struct bh_rec *rec, uint8_t ret_slot[DP_SLOT_MAX])
{
	struct bh_nic_slot nic = {};
	struct bh_addr_slot addr = {};
	struct bh_set_slot set = {};
	struct bh_row_slot row = {};
	uint32_t present = 1;

	switch (rec->type) {
	case BH_REC_NIC:
		nic.flags = rec->nic.flags;
		nic.identity = rec->nic.identity;
		nic.tenant = rec->nic.tenant;
		nic.net = rec->nic.net;
		memcpy(ret_slot, &nic, sizeof(nic));
		break;
	case BH_REC_NIC_ADDR:
	case BH_REC_NIC_VLAN:
		memcpy(ret_slot, &present, sizeof(present));
		break;
	case BH_REC_ADDR:
		addr.identity = rec->addr.identity;
		addr.tenant = rec->addr.tenant;
		memcpy(ret_slot, &addr, sizeof(addr));
		break;
	case BH_REC_SET:
		set.default_rule = rec->set.default_rule;
		set.mask = rec->set.mask;
		set.default_action = rec->set.default_action;
		set.default_flags = rec->set.default_flags;
		memcpy(ret_slot, &set, sizeof(set));
		break;
	case BH_REC_ROW:
		row.rule = rec->row.rule;
		row.rank = rec->row.rank;
		row.action = rec->row.action;
		row.flags = rec->row.flags;
		memcpy(ret_slot, &row, sizeof(row));
		break;
	case BH_REC_CIDR:
	case BH_REC_RANGE:
		break;
	}
}

void dp_rec_encode(const struct bh_rec *rec, uint32_t nic, uint8_t ret_key[DP_KEY_MAX],
		   uint8_t ret_slot[DP_SLOT_MAX])
{
	memset(ret_key, 0, DP_KEY_MAX);
	memset(ret_slot, 0, DP_SLOT_MAX);
	encode_key(rec, nic, ret_key);
	encode_slot(rec, ret_slot);
}

static const struct dp_nic *nic_at(const struct hostd_dp *dp, uint32_t index)
{
	return index < dp->map_size[DP_MAP_NICS] ? dp->by_index[index] : NULL;
}

static bool decode_nic(const void *value, uint32_t gen, struct bh_rec_nic *ret)
{
	struct bh_nic nic;

	memcpy(&nic, value, sizeof(nic));
	memcpy(ret->vm, nic.vm, 16);
	memcpy(ret->mac, nic.mac, 6);
	ret->flags = nic.slot[gen & 1].flags & ~HOST_FLAGS;
	ret->identity = nic.slot[gen & 1].identity;
	ret->tenant = nic.slot[gen & 1].tenant;
	ret->net = nic.slot[gen & 1].net;
	return ret->identity != 0;
}

static bool decode_nic_addr(const struct hostd_dp *dp, const void *key, const void *value,
			    uint32_t gen, struct bh_rec_nic_addr *ret)
{
	struct bh_nic_addr_key k;
	struct bh_nic_addr v;
	const struct dp_nic *nic;

	memcpy(&k, key, sizeof(k));
	memcpy(&v, value, sizeof(v));
	nic = nic_at(dp, k.nic);
	if (!nic || !v.present[gen & 1] || v.flags & BH_ADDR_LEARNED) {
		return false;
	}
	memcpy(ret->vm, nic->key.vm, 16);
	memcpy(ret->mac, nic->key.mac, 6);
	memcpy(ret->addr, k.addr, 16);
	return true;
}

static bool decode_nic_vlan(const struct hostd_dp *dp, const void *key, const void *value,
			    uint32_t gen, struct bh_rec_nic_vlan *ret)
{
	struct bh_nic_vlan_key k;
	struct bh_nic_vlan v;
	const struct dp_nic *nic;

	memcpy(&k, key, sizeof(k));
	memcpy(&v, value, sizeof(v));
	nic = nic_at(dp, k.nic);
	if (!nic || !v.present[gen & 1]) {
		return false;
	}
	memcpy(ret->vm, nic->key.vm, 16);
	memcpy(ret->mac, nic->key.mac, 6);
	ret->vlan = k.vlan;
	return true;
}

static bool decode_addr(const void *key, const void *value, uint32_t gen, struct bh_rec_addr *ret)
{
	struct bh_addr_key k;
	struct bh_addr v;

	memcpy(&k, key, sizeof(k));
	memcpy(&v, value, sizeof(v));
	ret->net = k.net;
	ret->vlan = k.vlan;
	memcpy(ret->addr, k.addr, 16);
	ret->identity = v.slot[gen & 1].identity;
	ret->tenant = v.slot[gen & 1].tenant;
	/* The host's own are local, and so is what the kernel learned. */
	return ret->identity >= BH_IDENTITY_FIRST && !(v.flags & BH_ADDR_LEARNED);
}

static bool decode_set(const void *key, const void *value, uint32_t gen, struct bh_rec_set *ret)
{
	struct bh_set v;

	memcpy(&v, value, sizeof(v));
	memcpy(&ret->set, key, sizeof(ret->set));
	ret->default_rule = v.slot[gen & 1].default_rule;
	ret->mask = v.slot[gen & 1].mask;
	ret->default_action = v.slot[gen & 1].default_action;
	ret->default_flags = v.slot[gen & 1].default_flags;
	return ret->default_action != BH_ACTION_NONE;
}

static bool decode_row(const void *key, const void *value, uint32_t gen, struct bh_rec_row *ret)
{
	struct bh_row_key k;
	struct bh_row v;

	memcpy(&k, key, sizeof(k));
	memcpy(&v, value, sizeof(v));
	ret->set = k.set;
	ret->remote = k.remote;
	ret->port = k.port;
	ret->proto = k.proto;
	ret->shape = k.shape;
	ret->rule = v.slot[gen & 1].rule;
	ret->rank = v.slot[gen & 1].rank;
	ret->action = v.slot[gen & 1].action;
	ret->flags = v.slot[gen & 1].flags;
	return ret->action != BH_ACTION_NONE;
}

bool dp_rec_decode(const struct hostd_dp *dp, enum dp_map map, const void *key, const void *value,
		   uint32_t gen, struct bh_rec *ret_rec)
{
	memset(ret_rec, 0, sizeof(*ret_rec));
	switch (map) {
	case DP_MAP_NICS:
		ret_rec->type = BH_REC_NIC;
		return decode_nic(value, gen, &ret_rec->nic);
	case DP_MAP_NIC_ADDRS:
		ret_rec->type = BH_REC_NIC_ADDR;
		return decode_nic_addr(dp, key, value, gen, &ret_rec->nic_addr);
	case DP_MAP_NIC_VLANS:
		ret_rec->type = BH_REC_NIC_VLAN;
		return decode_nic_vlan(dp, key, value, gen, &ret_rec->nic_vlan);
	case DP_MAP_ADDRS:
		ret_rec->type = BH_REC_ADDR;
		return decode_addr(key, value, gen, &ret_rec->addr);
	case DP_MAP_SETS:
		ret_rec->type = BH_REC_SET;
		return decode_set(key, value, gen, &ret_rec->set);
	case DP_MAP_ROWS:
		ret_rec->type = BH_REC_ROW;
		return decode_row(key, value, gen, &ret_rec->row);
	default:
		return false;
	}
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
