/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Learns a NIC's addresses from the DHCPACK or DHCPv6 Reply that is delivered to it, and
 *           forgets what the NIC releases.
 * Ownership Entries made here have BH_ADDR_LEARNED and a time to end; user space sweeps them.
 * Threads   See maps.bpf.h.
 *
 * The answer was let through: its sender may be a server, and policy allowed it. It is learned
 * before it is delivered, so that the first packet from the new address is already the NIC's own.
 * It must answer what this NIC asked not long ago, by its transaction number; nobody else's answer
 * and no answer without a question changes anything. An address that another identity holds in
 * this network is not learned: a server outside could else give it away.
 */
#ifndef BH_BPF_DHCP_H
#define BH_BPF_DHCP_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "policy.bpf.h"
#include "events.bpf.h"

#define BH_DHCP6_REPLY	 7
#define BH_DHCP6_IA_NA	 3
#define BH_DHCP6_IAADDR	 5
#define BH_DHCP_OPTIONS	 64
#define BH_DHCP_COOKIE	 0x63825363
#define BH_DHCP_FIXED	 240
#define BH_DHCP_TYPE	 53
#define BH_DHCP_LEASE	 51
#define BH_DHCP_ASKED	 50
#define BH_DHCP_DECLINE	 4
#define BH_DHCP_ACK	 5
#define BH_DHCP_RELEASE	 7
#define BH_DHCP_END	 255
#define BH_DHCP6_RELEASE 8
#define BH_DHCP6_DECLINE 9
#define BH_DHCP_WAIT_NS	 (120 * BH_SECOND_NS)

/* What a NIC asked last, by tag and family. User space has no part in it: a new map costs at most
 * one repeated question. */
struct bh_dhcp_ask_key {
	__u32 nic;
	__u32 vlan;
	__u32 v6;
};
struct bh_dhcp_ask {
	__u64 until_ns;
	__u32 xid;
	__u32 pad;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct bh_dhcp_ask_key);
	__type(value, struct bh_dhcp_ask);
} bh_dhcp_asks SEC(".maps");

struct bh_dhcp {
	__u8 op, htype, hlen, hops;
	__u32 xid;
	__u16 secs, flags;
	__u32 ciaddr, yiaddr, siaddr, giaddr;
	__u8 chaddr[16];
};

struct bh_dhcp_walk {
	struct __sk_buff *skb;
};

/*
 * One option. What is found goes into the scratch and not into the walk: the verifier of 6.1 looks
 * at a callback as if it ran once, concludes that no more than one option is ever seen, and would
 * remove the code behind the loop that needs two.
 */
static long bh_dhcp_option(__u32 i, struct bh_dhcp_walk *w)
{
	struct bh_pkt *p = bh_pkt_get();
	__u8 o[6] = {};
	__u32 off;

	if (!p) {
		return 1;
	}
	off = p->dhcp_off;
	if (off >= p->w.end || bpf_skb_load_bytes(w->skb, off, o, 1) || o[0] == BH_DHCP_END) {
		return 1;
	}
	if (o[0] == 0) {
		p->dhcp_off = off + 1;
		return 0;
	}
	if (off + 2 > p->w.end || bpf_skb_load_bytes(w->skb, off, o, 2)) {
		return 1;
	}
	if (off + 2 + o[1] > p->w.end) {
		p->dhcp_type = 0; /* an option that ends behind the packet: believe nothing */
		return 1;
	}
	if (o[0] == BH_DHCP_TYPE && o[1] == 1 && !bpf_skb_load_bytes(w->skb, off, o, 3)) {
		p->dhcp_type = o[2];
	} else if (o[0] == BH_DHCP_ASKED && o[1] == 4 && !bpf_skb_load_bytes(w->skb, off, o, 6)) {
		bh_ip_from4(&p->ask_addr, o[2] | o[3] << 8 | o[4] << 16 | (__u32)o[5] << 24);
	} else if (o[0] == BH_DHCP_LEASE && o[1] == 4 && !bpf_skb_load_bytes(w->skb, off, o, 6)) {
		p->dhcp_lease_s = (__u32)o[2] << 24 | o[3] << 16 | o[4] << 8 | o[5];
	}
	p->dhcp_off = off + 2 + o[1];
	return 0;
}

/* Writes both maps for the address in ask_addr. Returns the action for the event: DENY when
 * somebody else holds the address. */
static __always_inline int bh_dhcp_install(struct bh_pkt *p, __u32 lease_s)
{
	struct bh_nic_addr own = {.present = {1, 1}, .flags = BH_ADDR_LEARNED}, *had;
	struct bh_addr_key akey = {.net = p->net, .vlan = p->vlan};
	struct bh_nic_addr_key nkey = {.nic = p->nic};
	struct bh_nic *n = bh_nic_get(p->nic);
	struct bh_addr addr = {.flags = BH_ADDR_LEARNED}, *known;
	struct bh_who who;

	if (!n) {
		return BH_ACTION_DENY;
	}
	who = bh_policy_who(p, &p->ask_addr);
	if (who.identity != BH_IDENTITY_WORLD && who.identity != p->identity) {
		return BH_ACTION_DENY;
	}
	__builtin_memcpy(nkey.addr, p->ask_addr.b, 16);
	__builtin_memcpy(akey.addr, p->ask_addr.b, 16);
	had = bpf_map_lookup_elem(&bh_nic_addrs, &nkey);
	if (had && !(had->flags & BH_ADDR_LEARNED) && had->present[p->slot & 1]) {
		return BH_ACTION_ALLOW; /* configured: it stays as it is */
	}
	if (lease_s != 0xffffffff) {
		own.expires_ns = p->now + (__u64)lease_s * BH_SECOND_NS;
	}
	if (had) { /* where it lies, as user space does */
		had->flags = BH_ADDR_LEARNED;
		had->expires_ns = own.expires_ns;
		had->present[0] = had->present[1] = 1;
	}
	for (int i = 0; i < 2; i++) {
		addr.slot[i].identity = n->slot[i].identity;
		addr.slot[i].tenant = n->slot[i].tenant;
	}
	if (!had && bpf_map_update_elem(&bh_nic_addrs, &nkey, &own, BPF_NOEXIST)) {
		return BH_ACTION_DENY;
	}
	addr.expires_ns = own.expires_ns;
	known = bpf_map_lookup_elem(&bh_addrs, &akey);
	if (known) {
		if (known->flags & BH_ADDR_LEARNED) { /* else the manager knows of it already */
			known->slot[0] = addr.slot[0];
			known->slot[1] = addr.slot[1];
			known->expires_ns = addr.expires_ns;
		}
	} else if (bpf_map_update_elem(&bh_addrs, &akey, &addr, BPF_NOEXIST)) {
		return BH_ACTION_DENY;
	}
	return BH_ACTION_ALLOW;
}

static __always_inline void bh_dhcp_report(struct bh_pkt *p, __u32 lease_s, __u8 action)
{
	struct bh_flow_event *e = bpf_ringbuf_reserve(&bh_events, sizeof(*e), 0);

	if (!e) {
		bh_stat_add(p->nic, BH_REASON_EVENT_LOST, 0);
		return;
	}
	bh_event_packet(e, p);
	e->type = BH_FLOW_DHCP;
	e->reason = BH_REASON_DHCP_LEARNED;
	e->dir = BH_DIR_INGRESS;
	e->nic = p->nic;
	e->action = action;
	e->dst_identity = p->identity;
	e->duration_ns = (__u64)lease_s * BH_SECOND_NS;
	__builtin_memcpy(e->dst, p->ask_addr.b, 16);
	bpf_ringbuf_submit(e, 0);
}

static __always_inline void bh_dhcp_take(struct bh_pkt *p, __u32 lease_s)
{
	int action = bh_dhcp_install(p, lease_s);

	if (action == BH_ACTION_ALLOW) {
		bh_stat_add(p->nic, BH_REASON_DHCP_LEARNED, p->len);
	}
	bh_dhcp_report(p, lease_s, action);
}

/* ---- questions ---- */
static __always_inline void bh_dhcp_await(const struct bh_pkt *p, __u32 xid)
{
	struct bh_dhcp_ask_key key = {.nic = p->nic, .vlan = p->vlan, .v6 = p->v6};
	struct bh_dhcp_ask ask = {.xid = xid, .until_ns = p->now + BH_DHCP_WAIT_NS};

	bpf_map_update_elem(&bh_dhcp_asks, &key, &ask, BPF_ANY);
}

static __always_inline bool bh_dhcp_is_awaited(const struct bh_pkt *p, __u32 xid)
{
	struct bh_dhcp_ask_key key = {.nic = p->nic, .vlan = p->vlan, .v6 = p->v6};
	struct bh_dhcp_ask *ask = bpf_map_lookup_elem(&bh_dhcp_asks, &key);

	return ask && ask->xid == xid && ask->until_ns > p->now;
}

/* The NIC gives the address in ask_addr back. What it did not learn is not its to give. */
static __always_inline void bh_dhcp_forget(struct bh_pkt *p)
{
	struct bh_addr_key akey = {.net = p->net, .vlan = p->vlan};
	struct bh_nic_addr_key key = {.nic = p->nic};
	struct bh_nic_addr *own;
	struct bh_addr *known;

	__builtin_memcpy(key.addr, p->ask_addr.b, 16);
	__builtin_memcpy(akey.addr, p->ask_addr.b, 16);
	own = bpf_map_lookup_elem(&bh_nic_addrs, &key);
	if (!own || !(own->flags & BH_ADDR_LEARNED) ||
	    (own->expires_ns && own->expires_ns <= p->now)) {
		return;
	}
	own->expires_ns = p->now;
	known = bpf_map_lookup_elem(&bh_addrs, &akey);
	if (known && known->flags & BH_ADDR_LEARNED) {
		known->expires_ns = p->now;
	}
	bh_dhcp_report(p, 0, BH_ACTION_ALLOW);
}

/* ---- IPv4 ---- */
/* Reads the message into `dhcp` and its options into the scratch. Returns whether it is a message
 * of `op` about this very NIC. */
static __always_inline bool bh_dhcp_load(struct __sk_buff *skb, struct bh_pkt *p,
					 struct bh_dhcp *dhcp, __u8 op)
{
	struct bh_dhcp_walk walk = {.skb = skb};
	struct bh_nic *n = bh_nic_get(p->nic);
	__u32 cookie, base = p->l4 + 8;

	if (!n || p->w.frag_seen || base + BH_DHCP_FIXED > p->w.end ||
	    bpf_skb_load_bytes(skb, base, dhcp, sizeof(*dhcp)) ||
	    bpf_skb_load_bytes(skb, base + BH_DHCP_FIXED - 4, &cookie, sizeof(cookie)) ||
	    dhcp->op != op || dhcp->htype != 1 || dhcp->hlen != 6 ||
	    cookie != bpf_htonl(BH_DHCP_COOKIE) || !bh_mac_same(dhcp->chaddr, n->mac)) {
		return false;
	}
	p->dhcp_off = base + BH_DHCP_FIXED;
	p->dhcp_type = 0;
	p->dhcp_lease_s = 0;
	bpf_loop(BH_DHCP_OPTIONS, bh_dhcp_option, &walk, 0);
	return p->dhcp_type;
}

/* A message of a client that policy allowed. */
__weak int bh_dhcp_ask(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_dhcp dhcp;

	if (!p || !bh_dhcp_load(skb, p, &dhcp, 1)) {
		return 0;
	}
	if (p->dhcp_type == BH_DHCP_RELEASE) {
		bh_ip_from4(&p->ask_addr, dhcp.ciaddr);
		bh_dhcp_forget(p);
	} else if (p->dhcp_type == BH_DHCP_DECLINE) {
		bh_dhcp_forget(p); /* ask_addr is from the option */
	} else {
		bh_dhcp_await(p, dhcp.xid);
	}
	return 0;
}

/* An answer of a DHCP server (IPv4) at the tap of the NIC that it is for. */
__weak int bh_dhcp_learn(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_dhcp dhcp;

	if (!p || !bh_dhcp_load(skb, p, &dhcp, 2) || p->dhcp_type != BH_DHCP_ACK ||
	    !p->dhcp_lease_s || !dhcp.yiaddr || dhcp.yiaddr == 0xffffffff ||
	    !bh_dhcp_is_awaited(p, dhcp.xid)) {
		return 0;
	}
	bh_ip_from4(&p->ask_addr, dhcp.yiaddr);
	bh_dhcp_take(p, p->dhcp_lease_s);
	return 0;
}

/* ---- IPv6 ---- */
/*
 * One DHCPv6 option (RFC 8415, 21). IA_NA is entered: what it holds comes next, so that one loop
 * walks it all.
 */
static long bh_dhcp6_option(__u32 i, struct bh_dhcp_walk *w)
{
	struct bh_pkt *p = bh_pkt_get();
	__u32 off, size, valid;
	__u8 o[4];

	if (!p) {
		return 1;
	}
	off = p->dhcp_off;
	if (off + sizeof(o) > p->w.end || bpf_skb_load_bytes(w->skb, off, o, sizeof(o))) {
		return 1;
	}
	size = o[2] << 8 | o[3];
	if (off + sizeof(o) + size > p->w.end) {
		return 1;
	}
	if (o[0] == 0 && o[1] == BH_DHCP6_IA_NA && size >= 12) {
		p->dhcp_off = off + sizeof(o) + 12;
		return 0;
	}
	p->dhcp_off = off + sizeof(o) + size;
	if (o[0] != 0 || o[1] != BH_DHCP6_IAADDR || size < 24 ||
	    bpf_skb_load_bytes(w->skb, off + 4, &p->ask_addr, sizeof(p->ask_addr)) ||
	    bpf_skb_load_bytes(w->skb, off + 24, &valid, sizeof(valid))) {
		return 0;
	}
	if (p->dhcp_type != BH_DHCP6_REPLY) {
		bh_dhcp_forget(p);
	} else if (valid && p->ask_addr.b[0] != 0xff && p->ask_addr.d[0]) {
		bh_dhcp_take(p, bpf_ntohl(valid));
	}
	return 0;
}

/* Reads the type into the scratch. Returns the transaction number, 0 when there is none. */
static __always_inline __u32 bh_dhcp6_load(struct __sk_buff *skb, struct bh_pkt *p)
{
	__u32 head;

	if (p->w.frag_seen || p->l4 + 12 > p->w.end ||
	    bpf_skb_load_bytes(skb, p->l4 + 8, &head, sizeof(head))) {
		return 0;
	}
	head = bpf_ntohl(head);
	p->dhcp_type = head >> 24;
	p->dhcp_off = p->l4 + 12;
	return (head & 0xffffff) | 1u << 24;
}

/* A message of a client that policy allowed. */
__weak int bh_dhcp6_ask(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_dhcp_walk walk = {.skb = skb};
	__u32 xid;

	if (!p) {
		return 0;
	}
	xid = bh_dhcp6_load(skb, p);
	if (!xid) {
		return 0;
	}
	if (p->dhcp_type == BH_DHCP6_RELEASE || p->dhcp_type == BH_DHCP6_DECLINE) {
		bpf_loop(BH_DHCP_OPTIONS, bh_dhcp6_option, &walk, 0);
	} else {
		bh_dhcp_await(p, xid);
	}
	return 0;
}

/* A Reply of a DHCPv6 server. It has no hardware address in it; who it is for is who it is sent to.
 */
__weak int bh_dhcp6_learn(struct __sk_buff *skb)
{
	struct bh_pkt *p = bh_pkt_get();
	struct bh_dhcp_walk walk = {.skb = skb};
	__u32 xid;

	if (!p || p->group || p->eth.h_dest[0] & 1) {
		return 0;
	}
	xid = bh_dhcp6_load(skb, p);
	if (!xid || p->dhcp_type != BH_DHCP6_REPLY || !bh_dhcp_is_awaited(p, xid)) {
		return 0;
	}
	bpf_loop(BH_DHCP_OPTIONS, bh_dhcp6_option, &walk, 0);
	return 0;
}

#endif
