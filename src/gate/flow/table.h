/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the flow table share; not for other rooms. */
#ifndef BH_GATE_FLOW_TABLE_H
#define BH_GATE_FLOW_TABLE_H

#include "gate/flow/flow.h"

#define FLOW_KINDS  4 /* tcp, udp, icmp, other */
#define FLOW_STATES 4
#define FLOW_LISTS  (FLOW_KINDS * FLOW_STATES)

/* A packet's side of a key: laid out as the first 48 bytes of struct gate_flow. */
struct flow_key {
	struct gate_addr addr[2]; /* of the packet: from, to */
	uint16_t port[2];
	uint8_t ip_proto, ip_version;
	uint8_t vlan_count, depth;
	uint16_t vlan[GATE_VLANS_MAX];
	uint16_t source;
	uint32_t hash;
	uint32_t vni;
	bool icmp_error; /* key is of what the error speaks of */
};

/* Headers may stand at any address: they are read as bytes. */
static inline const uint8_t *flow_icmp(const struct gate_packet *p) /* type, code; NULL */
{
	return p->icmp4 ? (const uint8_t *)p->icmp4 : (const uint8_t *)p->icmp6;
}

struct flow_expectation {
	struct gate_addr server, peer[2];
	uint64_t until_us;
	uint16_t port, app; /* app 0: free */
};

struct flow_list {
	uint32_t first, last;
};

struct gate_flow_table {
	struct gate_flow *entries; /* [1 .. capacity] */
	uint32_t *buckets;
	size_t bucket_bytes, entry_bytes;
	uint32_t bucket_mask;
	uint32_t capacity, used; /* entries above `used` have never been touched */
	uint32_t free;		 /* linked by table.next */
	struct flow_list lists[FLOW_LISTS];
	uint64_t timeout_us[FLOW_LISTS];
	uint64_t hash_key[2];
	uint32_t now_s; /* the latest time seen: lists are in its order */
	bool by_source, by_vlan, by_vni;
	struct gate_flow_hooks hooks;
	struct flow_expectation *expectations;
	struct gate_flow_stats stats;
};

/* The key of a packet; false: no flow. */
bool flow_key_of(const struct gate_flow_table *table, const struct gate_packet *p,
		 struct flow_key *ret);
/* The type of the answer to an ICMP query, -1 when there is none. */
int flow_icmp_counterpart(unsigned int version, unsigned int type);
/* SipHash-1-3 of whole words. */
uint64_t flow_siphash(const uint64_t key[2], const uint64_t *words, unsigned int count);
/* Is the new flow one that is waited for? */
void flow_expected(struct gate_flow_table *table, struct gate_flow *flow);

#endif
