/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of flows and their hash. The hash is the same for both directions: the lower side (address,
 * port) is put in first. SipHash-1-3 under a random key of the table, so a guest can't make its
 * flows meet in one bucket.
 */
#include "gate/flow/table.h"

#include <arpa/inet.h>
#include <string.h>

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = ROTL(s->v1, 13) ^ s->v0;
	s->v0 = ROTL(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = ROTL(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = ROTL(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = ROTL(s->v1, 17) ^ s->v2;
	s->v2 = ROTL(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

uint64_t flow_siphash(const uint64_t key[2], const uint64_t *words, unsigned int count)
{
	struct sip s = {.v0 = key[0] ^ 0x736f6d6570736575ull,
			.v1 = key[1] ^ 0x646f72616e646f6dull,
			.v2 = key[0] ^ 0x6c7967656e657261ull,
			.v3 = key[1] ^ 0x7465646279746573ull};
	for (unsigned int i = 0; i < count; i++) {
		sip_word(&s, words[i]);
	}
	sip_word(&s, (uint64_t)(count * 8) << 56);
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static int counterpart4(unsigned int type)
{
	switch (type) {
	case ICMP_ECHO:
		return ICMP_ECHOREPLY;
	case ICMP_ECHOREPLY:
		return ICMP_ECHO;
	case ICMP_TIMESTAMP:
		return ICMP_TIMESTAMPREPLY;
	case ICMP_TIMESTAMPREPLY:
		return ICMP_TIMESTAMP;
	case ICMP_INFO_REQUEST:
		return ICMP_INFO_REPLY;
	case ICMP_INFO_REPLY:
		return ICMP_INFO_REQUEST;
	case ICMP_ADDRESS:
		return ICMP_ADDRESSREPLY;
	case ICMP_ADDRESSREPLY:
		return ICMP_ADDRESS;
	case 9: /* router advertisement and solicitation, RFC 1256 */
		return 10;
	case 10:
		return 9;
	default:
		return -1;
	}
}

static int counterpart6(unsigned int type)
{
	switch (type) {
	case ICMP6_ECHO_REQUEST:
		return ICMP6_ECHO_REPLY;
	case ICMP6_ECHO_REPLY:
		return ICMP6_ECHO_REQUEST;
	case 130: /* multicast listener query and report */
		return 131;
	case 131:
		return 130;
	case 133: /* router, neighbour solicitation and advertisement */
	case 135:
		return (int)type + 1;
	case 134:
	case 136:
		return (int)type - 1;
	case 139: /* node information query and reply, RFC 4620 */
		return 140;
	case 140:
		return 139;
	default:
		return -1;
	}
}

int flow_icmp_counterpart(unsigned int version, unsigned int type)
{
	return version == 6 ? counterpart6(type) : counterpart4(type);
}

static void icmp_ports(unsigned int version, unsigned int type, uint16_t port[2])
{
	int other = flow_icmp_counterpart(version, type);
	port[0] = (uint16_t)(type << 8);
	port[1] = other < 0 ? 0 : (uint16_t)(other << 8);
}

static bool icmp_is_error(const struct gate_packet *p)
{
	unsigned int type = flow_icmp(p)[0];
	if (p->icmp4) {
		return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH ||
		       type == ICMP_REDIRECT || type == ICMP_TIME_EXCEEDED ||
		       type == ICMP_PARAMETERPROB;
	}
	return type < 128;
}

static void v4_mapped(struct gate_addr *ret, const void *v4)
{
	memset(ret->bytes, 0, 10);
	ret->bytes[10] = ret->bytes[11] = 0xff;
	memcpy(ret->bytes + 12, v4, 4);
}

/* Ports of what stands in an error: the first bytes of its transport header. */
static bool inner_ports(struct flow_key *key, const uint8_t *l4, uint32_t size)
{
	switch (key->ip_proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (size < 4) {
			return false;
		}
		key->port[0] = (uint16_t)(l4[0] << 8 | l4[1]);
		key->port[1] = (uint16_t)(l4[2] << 8 | l4[3]);
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (size < 1) {
			return false;
		}
		icmp_ports(key->ip_version, l4[0], key->port);
		return true;
	default:
		return true;
	}
}

/* Whom the error speaks of; false: nothing that can be a flow. */
static bool inner_key(struct flow_key *key, const struct gate_view *inner)
{
	const uint8_t *data = inner->data;
	if (!data || inner->size < 1) {
		return false;
	}
	key->ip_version = data[0] >> 4;
	if (key->ip_version == 4 && inner->size >= 20) {
		uint32_t header = (data[0] & 15u) * 4;
		bool first = !((data[6] & 0x1f) | data[7]);
		if (header < 20 || header > inner->size || !first) {
			return false;
		}
		key->ip_proto = data[9];
		v4_mapped(&key->addr[0], data + 12);
		v4_mapped(&key->addr[1], data + 16);
		return inner_ports(key, data + header, inner->size - header);
	}
	if (key->ip_version == 6 && inner->size >= 40) {
		key->ip_proto = data[6];
		memcpy(key->addr[0].bytes, data + 8, 16);
		memcpy(key->addr[1].bytes, data + 24, 16);
		return inner_ports(key, data + 40, inner->size - 40);
	}
	return false;
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t load32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t hash4(const uint64_t hash_key[2], const struct flow_key *key, uint64_t meta)
{
	uint64_t a = (uint64_t)load32(key->addr[0].bytes + 12) << 16 | key->port[0];
	uint64_t b = (uint64_t)load32(key->addr[1].bytes + 12) << 16 | key->port[1];
	uint64_t low = a < b ? a : b, high = a < b ? b : a;
	uint64_t words[3] = {low | (uint64_t)key->source << 48, high | (uint64_t)key->vlan[0] << 48,
			     meta};
	return (uint32_t)flow_siphash(hash_key, words, 3);
}

static uint32_t hash6(const uint64_t hash_key[2], const struct flow_key *key, uint64_t meta)
{
	int order = memcmp(&key->addr[0], &key->addr[1], sizeof(key->addr[0]));
	unsigned int low = order ? order > 0 : key->port[0] > key->port[1];
	const struct gate_addr *l = &key->addr[low], *h = &key->addr[!low];
	uint64_t words[6] = {load64(l->bytes),
			     load64(l->bytes + 8),
			     load64(h->bytes),
			     load64(h->bytes + 8),
			     key->port[low] | (uint64_t)key->port[!low] << 16 |
				     (uint64_t)key->source << 32 | (uint64_t)key->vlan[0] << 48,
			     meta};
	return (uint32_t)flow_siphash(hash_key, words, 6);
}

/* Protocols that have no flow of their own: what they carry has. */
static bool is_tunnel(unsigned int proto)
{
	return proto == IPPROTO_IPIP || proto == IPPROTO_IPV6 || proto == IPPROTO_GRE;
}

static bool ports_of(const struct gate_packet *p, struct flow_key *key)
{
	if (flow_icmp(p)) {
		if (icmp_is_error(p)) {
			key->icmp_error = true;
			return inner_key(key, &p->icmp_inner);
		}
		icmp_ports(p->ip_version, flow_icmp(p)[0], key->port);
		return true;
	}
	if (p->tcp || p->udp || p->sctp) {
		key->port[0] = p->sport;
		key->port[1] = p->dport;
		return true;
	}
	/* a transport whose header can't be read is not a flow of its protocol; IGMP is no talk */
	switch (p->ip_proto) {
	case IPPROTO_IGMP:
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return false;
	default:
		return !is_tunnel(p->ip_proto);
	}
}

bool flow_key_of(const struct gate_flow_table *table, const struct gate_packet *p,
		 struct flow_key *key)
{
	if (!p->ip_version || p->flags & (GATE_PKT_FRAGMENT | GATE_PKT_INVALID | GATE_PKT_PSEUDO)) {
		return false;
	}
	*key = (struct flow_key){.addr = {p->src, p->dst},
				 .ip_proto = p->ip_proto,
				 .ip_version = p->ip_version,
				 .depth = p->depth,
				 .vni = table->by_vni ? p->vni : 0,
				 .source = table->by_source ? p->source : 0};
	if (table->by_vlan && p->vlan_count) {
		key->vlan_count = p->vlan_count > GATE_VLANS_MAX ? GATE_VLANS_MAX : p->vlan_count;
		for (unsigned int i = 0; i < key->vlan_count; i++) {
			key->vlan[i] = p->vlan[i] & 0x0fff;
		}
	}
	if (!ports_of(p, key)) {
		return false;
	}
	uint64_t meta = key->ip_proto | (uint64_t)key->ip_version << 8 |
			(uint64_t)key->vlan_count << 12 | (uint64_t)key->depth << 16 |
			(uint64_t)key->vlan[1] << 32 | (uint64_t)key->vlan[2] << 48;

	meta ^= (uint64_t)key->vni << 21; /* above the depth, into VLANs that are seldom there */
	key->hash = key->ip_version == 4 ? hash4(table->hash_key, key, meta)
					 : hash6(table->hash_key, key, meta);
	return true;
}
