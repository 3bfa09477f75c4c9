/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's network devices, kept current by rtnetlink: which device is a port of which bridge,
 * and which addresses the host has on it. Loop only. Devices live until the kernel says that they
 * are gone; pointers are valid until the next return to the loop.
 */
#ifndef BH_HOST_NET_LINKS_H
#define BH_HOST_NET_LINKS_H

#include "base/diag.h"
#include "base/util.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>
#include <uv.h>

struct hostd_link_addr {
	uint8_t bytes[16];
};

struct hostd_link {
	uint32_t ifindex;
	uint32_t master; /* ifindex of the bridge or bond that it is a port of, 0 none */
	uint32_t peer;	 /* of a veth whose other end is in this network namespace too, else 0 */
	uint16_t arp_type;
	bool up;
	bool seen; /* in the dump that is running */
	char name[IFNAMSIZ];
	char kind[24]; /* rtnetlink's: "bridge", "tun", "veth"; "" for a physical device */
	BH_VEC(struct hostd_link_addr) addrs;
	UT_hash_handle hh;	/* by ifindex */
	UT_hash_handle hh_name; /* by name */
};

struct hostd_links;

/* Reads everything before it returns; afterwards calls `changed` on the loop after each batch of
 * news. */
[[nodiscard]] int hostd_links_new(uv_loop_t *loop, void (*changed)(void *arg), void *arg,
				  struct hostd_links **ret, struct bh_diag *diag);
void hostd_links_free(struct hostd_links *links);
/* Reads everything again; for the case that a message was lost without a trace. */
[[nodiscard]] int hostd_links_refresh(struct hostd_links *links, struct bh_diag *diag);

struct hostd_link *hostd_links_get(struct hostd_links *links, uint32_t ifindex);  /* or NULL */
struct hostd_link *hostd_links_find(struct hostd_links *links, const char *name); /* or NULL */
/* All of them: for (l = hostd_links_all(links); l; l = l->hh.next). */
struct hostd_link *hostd_links_all(struct hostd_links *links);
bool hostd_link_is_bridge(const struct hostd_link *link);
/* Devices that lead to other machines: physical, bond, team, vlan, vxlan, geneve and GRE. What a VM
 * or container may hold the other end of (tun, veth, macvtap, ...) is none. */
bool hostd_link_is_uplink_kind(const struct hostd_link *link);

#endif
