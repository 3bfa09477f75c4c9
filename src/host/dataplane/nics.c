/* SPDX-License-Identifier: Apache-2.0 */
/* NICs: who has which index, and their entries in bh_nics and bh_macs. */
#include "host/dataplane/internal.h"

#include "model/id.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

struct dp_nic *dp_nic_find(const struct hostd_dp *dp, const uint8_t vm[16], const uint8_t mac[6])
{
	struct hostd_dp_nic_key key;
	struct dp_nic *nic;

	memcpy(key.vm, vm, 16);
	memcpy(key.mac, mac, 6);
	HASH_FIND(hh, dp->nics, &key, sizeof(key), nic);
	return nic;
}

void dp_nic_slot(const struct dp_nic *nic, struct bh_nic_slot *ret_slot)
{
	memset(ret_slot, 0, sizeof(*ret_slot));
	if (nic->has_rec) {
		ret_slot->flags = nic->rec.flags | nic->device.host_flags | nic->move_flags;
		ret_slot->identity = nic->rec.identity;
		ret_slot->tenant = nic->rec.tenant;
		ret_slot->net = nic->rec.net;
	} else if (nic->open) {
		ret_slot->flags = BH_NIC_OPEN;
	}
}

int dp_nic_write(struct hostd_dp *dp, const struct dp_nic *nic, struct bh_diag *diag)
{
	struct bh_nic entry = {.ifindex = nic->device.ifindex, .bridge = nic->device.bridge};
	int r;

	memcpy(entry.mac, nic->key.mac, 6);
	memcpy(entry.vm, nic->key.vm, 16);
	dp_nic_slot(nic, &entry.slot[0]);
	entry.slot[1] = entry.slot[0];
	r = dp_map_put(dp, DP_MAP_NICS, &nic->index, &entry);
	return r ? bh_diag_set(diag, r, "cannot write NIC %u: %s", nic->index, strerror(-r)) : 0;
}

static struct dp_nic *insert(struct hostd_dp *dp, uint32_t index, const uint8_t vm[16],
			     const uint8_t mac[6])
{
	struct dp_nic *nic = bh_alloc(sizeof(*nic));

	nic->index = index;
	memcpy(nic->key.vm, vm, 16);
	memcpy(nic->key.mac, mac, 6);
	HASH_ADD(hh, dp->nics, key, sizeof(nic->key), nic);
	dp->by_index[index] = nic;
	dp->nic_count++;
	return nic;
}

static void forget(struct hostd_dp *dp, struct dp_nic *nic)
{
	HASH_DEL(dp->nics, nic);
	dp->by_index[nic->index] = NULL;
	dp->nic_count--;
	free(nic);
}

void dp_nics_distrust(struct hostd_dp *dp)
{
	for (uint32_t i = 0; i < dp->map_size[DP_MAP_NICS]; i++) {
		dp->stale[i] = !dp->by_index[i];
	}
}

/* Connections of the index's last owner must not be judged by the next one's policy. One walk does
 * it for all indexes. */
static int make_fresh(struct hostd_dp *dp, uint32_t index, struct bh_diag *diag)
{
	int r = dp->stale[index] ? dp_undo(dp, dp->stale, diag) : 0;

	if (!r && dp->stale[index]) {
		memset(dp->stale, 0, dp->map_size[DP_MAP_NICS]);
	}
	return r;
}

struct dp_nic *dp_nic_need(struct hostd_dp *dp, const uint8_t vm[16], const uint8_t mac[6],
			   struct bh_diag *diag)
{
	struct dp_nic *nic = dp_nic_find(dp, vm, mac);
	uint32_t size = dp->map_size[DP_MAP_NICS], index = 0;

	if (nic) {
		return nic;
	}
	/* Round robin: what is still counted under an index that was freed has time to expire. */
	for (uint32_t i = 0; i < size && !index; i++) {
		uint32_t candidate = (dp->nic_next + i) % size;

		index = candidate && !dp->by_index[candidate] ? candidate : 0;
	}
	if (!index) {
		bh_diag_set(diag, -ENOSPC, "all %u NIC indexes are taken", size - 1);
		return NULL;
	}
	if (make_fresh(dp, index, diag)) {
		return NULL;
	}
	dp->nic_next = index + 1;
	nic = insert(dp, index, vm, mac);
	if (dp_nic_write(dp, nic, diag)) {
		forget(dp, nic);
		return NULL;
	}
	return nic;
}

struct dp_nic *dp_nic_adopt(struct hostd_dp *dp, uint32_t index, const struct bh_nic *entry)
{
	struct dp_nic *nic = insert(dp, index, entry->vm, entry->mac);

	nic->device.ifindex = entry->ifindex;
	nic->device.bridge = entry->bridge;
	if (index >= dp->nic_next) {
		dp->nic_next = index + 1;
	}
	return nic;
}

/* Deletes the entries of a map whose key names the NIC at the given place of it. Collected first: a
 * walk over something that shrinks may start anew. */
static int purge(struct hostd_dp *dp, enum dp_map map, size_t nic_offset, uint32_t index)
{
	uint32_t size = dp_map_descs[map].key_size;
	struct key {
		uint8_t bytes[DP_KEY_MAX];
	};
	BH_VEC(struct key) found = {};
	struct dp_iter it;
	int n, r = 0;

	dp_iter_init(&it, dp, map);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			const uint8_t *key = dp_iter_key(&it, i);

			if (!memcmp(key + nic_offset, &index, sizeof(index))) {
				memcpy(bh_vec_push(&found)->bytes, key, size);
			}
		}
	}
	dp_iter_done(&it);
	bh_vec_foreach (key, &found) {
		int e = dp_map_del(dp, map, key->bytes);

		r = r ? r : e;
	}
	bh_vec_done(&found);
	return n < 0 ? n : r;
}

static int forget_passed(const struct hostd_dp *dp, uint32_t index)
{
	BH_FREE struct bh_pass *zeros =
		bh_alloc_array((size_t)libbpf_num_possible_cpus(), sizeof(*zeros));

	return dp_map_put(dp, DP_MAP_PASS, &index, zeros);
}

int dp_nic_release(struct hostd_dp *dp, struct dp_nic *nic, struct bh_diag *diag)
{
	struct bh_nic nothing = {};
	int r;

	if (nic->has_rec || nic->refs || nic->open || nic->device.ifindex) {
		return 0;
	}
	r = dp_nic_macs(dp, nic, true, diag);
	r = r ? r : dp_map_put(dp, DP_MAP_NICS, &nic->index, &nothing);
	/* Learned addresses and counters must not pass to the next owner of the index. */
	r = r ? r : purge(dp, DP_MAP_NIC_ADDRS, offsetof(struct bh_nic_addr_key, nic), nic->index);
	r = r ? r : forget_passed(dp, nic->index);
	r = r ? r : purge(dp, DP_MAP_STATS, offsetof(struct bh_stat_key, nic), nic->index);
	r = r ? r
	      : purge(dp, DP_MAP_RULE_STATS, offsetof(struct bh_rule_stat_key, nic), nic->index);
	if (r) {
		return bh_diag_set(diag, r, "cannot clear NIC %u: %s", nic->index, strerror(-r));
	}
	dp->stale[nic->index] = 1;
	forget(dp, nic);
	return 0;
}

static int mac_remove(struct hostd_dp *dp, struct dp_nic *nic)
{
	struct bh_mac_key key = {.net = nic->macs_net};
	uint32_t index = 0;
	int r;

	if (!nic->in_macs) {
		return 0;
	}
	memcpy(key.mac, nic->key.mac, 6);
	r = dp_map_get(dp, DP_MAP_MACS, &key, &index);
	if (!r && index == nic->index) { /* else another NIC with this MAC came after us */
		r = dp_map_del(dp, DP_MAP_MACS, &key);
	}
	if (!r || r == -ENOENT) {
		nic->in_macs = false;
		return 0;
	}
	return r;
}

int dp_nic_macs(struct hostd_dp *dp, struct dp_nic *nic, bool stale, struct bh_diag *diag)
{
	struct bh_mac_key key = {.net = nic->rec.net};
	bool want = nic->has_rec && nic->device.ifindex;
	int r = 0;

	if (stale && nic->in_macs && (!want || nic->macs_net != nic->rec.net)) {
		r = mac_remove(dp, nic);
	}
	if (!r && want) {
		memcpy(key.mac, nic->key.mac, 6);
		r = dp_map_put(dp, DP_MAP_MACS, &key, &nic->index);
		nic->in_macs = !r;
		nic->macs_net = nic->rec.net;
	}
	return r ? bh_diag_set(diag, r, "cannot write the MAC of NIC %u: %s", nic->index,
			       strerror(-r))
		 : 0;
}

void dp_nics_done(struct hostd_dp *dp)
{
	struct dp_nic *nic, *tmp;

	HASH_ITER (hh, dp->nics, nic, tmp) {
		HASH_DEL(dp->nics, nic);
		free(nic);
	}
	free(dp->by_index);
	free(dp->stale);
	dp->by_index = NULL;
	dp->stale = NULL;
}

bool hostd_dp_nic_of_index(const struct hostd_dp *dp, uint32_t index,
			   struct hostd_dp_nic_key *ret_nic)
{
	if (index >= dp->map_size[DP_MAP_NICS] || !dp->by_index[index]) {
		return false;
	}
	*ret_nic = dp->by_index[index]->key;
	return true;
}
