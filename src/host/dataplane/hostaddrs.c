/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of the host itself in the networks of its VMs: identity HOST, outside the image. */
#include "host/dataplane/internal.h"

#include <errno.h>

struct dp_host_addr *dp_host_addr_find(const struct hostd_dp *dp, const struct bh_addr_key *key)
{
	struct dp_host_addr *a;

	HASH_FIND(hh, dp->host_addrs, key, sizeof(*key), a);
	return a;
}

static int add(struct hostd_dp *dp, const struct bh_addr_key *key)
{
	struct bh_addr value = {};
	struct dp_host_addr *a;
	bool existed;
	int r = dp_map_get(dp, DP_MAP_ADDRS, key, &value);

	if (r && r != -ENOENT) {
		return r;
	}
	existed = !r;
	a = bh_alloc(sizeof(*a));
	a->key = *key;
	a->shadows =
		existed && dp_rec_decode(dp, DP_MAP_ADDRS, key, &value, dp->ctl->gen, &a->shadowed);
	memset(&value, 0, sizeof(value));
	value.slot[0].identity = value.slot[1].identity = BH_IDENTITY_HOST;
	r = dp_map_put(dp, DP_MAP_ADDRS, key, &value);
	if (r) {
		free(a);
		return r;
	}
	dp->used[DP_MAP_ADDRS] += !existed;
	a->marked = true;
	HASH_ADD(hh, dp->host_addrs, key, sizeof(a->key), a);
	return 0;
}

static int drop(struct hostd_dp *dp, struct dp_host_addr *a)
{
	struct bh_addr value = {};
	int r;

	if (a->shadows) {
		value.slot[0].identity = a->shadowed.addr.identity;
		value.slot[0].tenant = a->shadowed.addr.tenant;
		value.slot[1] = value.slot[0];
		r = dp_map_put(dp, DP_MAP_ADDRS, &a->key, &value);
	} else {
		r = dp_map_del(dp, DP_MAP_ADDRS, &a->key);
		dp->used[DP_MAP_ADDRS] -= !r;
	}
	if (!r) {
		HASH_DEL(dp->host_addrs, a);
		free(a);
	}
	return r;
}

static bool same(const struct hostd_dp *dp, uint32_t net, const uint8_t (*addrs)[16], size_t count)
{
	struct dp_host_addr *a, *tmp;
	size_t missing = 0;

	HASH_ITER (hh, dp->host_addrs, a, tmp) {
		a->marked = false;
		missing += a->key.net == net;
	}
	for (size_t i = 0; i < count; i++) {
		struct bh_addr_key key = {.net = net};

		memcpy(key.addr, addrs[i], 16);
		a = dp_host_addr_find(dp, &key);
		if (!a) {
			return false;
		}
		missing -= !a->marked;
		a->marked = true;
	}
	return !missing;
}

int hostd_dp_set_host_addrs(struct hostd_dp *dp, uint32_t net, const uint8_t (*addrs)[16],
			    size_t count, struct bh_diag *diag)
{
	struct dp_host_addr *a, *tmp;
	bool dropped = false;
	int r;

	if (same(dp, net, addrs, count)) {
		return 0;
	}
	r = dp_ready(dp, diag);
	if (r) {
		return r;
	}
	HASH_ITER (hh, dp->host_addrs, a, tmp) {
		a->marked = a->key.net != net;
	}
	for (size_t i = 0; !r && i < count; i++) {
		struct bh_addr_key key = {.net = net};

		memcpy(key.addr, addrs[i], 16);
		a = dp_host_addr_find(dp, &key);
		if (a) {
			a->marked = true;
		} else {
			r = add(dp, &key);
		}
	}
	HASH_ITER (hh, dp->host_addrs, a, tmp) {
		if (!r && !a->marked) {
			r = drop(dp, a);
			dropped = true;
		}
	}
	if (r) {
		return bh_diag_set(diag, r, "cannot write the host's addresses of network %u: %s",
				   net, strerror(-r));
	}
	/* A freed element may be the next address's at once; see install.c. */
	return dropped ? dp_grace(dp, diag) : 0;
}
