/* SPDX-License-Identifier: Apache-2.0 */
/* Frames for the packet tests. */
#include "kit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

const uint8_t kit_mac[KIT_NICS + 1][6] = {
	{0x52, 0x54, 0, 0, 0, 0x99},
	{0x52, 0x54, 0, 0, 0, 1},
	{0x52, 0x54, 0, 0, 0, 2},
	{0x52, 0x54, 0, 0, 0, 3},
};
const uint8_t kit_mac_all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void put(struct kit_frame *f, const void *data, size_t size)
{
	assert_true(f->size + size <= sizeof(f->data));
	if (data) {
		memcpy(f->data + f->size, data, size);
	} else {
		memset(f->data + f->size, 0, size);
	}
	f->size += size;
}

static void put16(struct kit_frame *f, uint16_t v)
{
	uint16_t n = htons(v);

	put(f, &n, sizeof(n));
}

static void put32(struct kit_frame *f, uint32_t v)
{
	uint32_t n = htonl(v);

	put(f, &n, sizeof(n));
}

static void put8(struct kit_frame *f, uint8_t v)
{
	put(f, &v, 1);
}

static void set16(struct kit_frame *f, size_t off, uint16_t v)
{
	uint16_t n = htons(v);

	memcpy(f->data + off, &n, sizeof(n));
}

static uint16_t get16(const struct kit_frame *f, size_t off)
{
	return f->data[off] << 8 | f->data[off + 1];
}

void kit_ip(const char *text, uint8_t ret_addr[16])
{
	if (strchr(text, ':')) {
		assert_int_equal(inet_pton(AF_INET6, text, ret_addr), 1);
		return;
	}
	memset(ret_addr, 0, 10);
	ret_addr[10] = ret_addr[11] = 0xff;
	assert_int_equal(inet_pton(AF_INET, text, ret_addr + 12), 1);
}

uint16_t kit_checksum(const void *data, size_t size, uint32_t start)
{
	const uint8_t *p = data;
	uint32_t sum = start;

	for (size_t i = 0; i < size; i++) {
		sum += i % 2 ? p[i] : p[i] << 8;
	}
	while (sum >> 16) {
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return ~sum;
}

/* The pseudo header's part of a checksum. */
static uint32_t pseudo(const struct kit_frame *f, uint8_t proto, size_t size)
{
	bool v6 = f->data[f->l3] >> 4 == 6;
	uint16_t sum = ~kit_checksum(f->data + f->l3 + (v6 ? 8 : 12), v6 ? 32 : 8, 0);

	return sum + proto + size;
}

static size_t ip_end(const struct kit_frame *f)
{
	bool v6 = f->data[f->l3] >> 4 == 6;

	return f->l3 + (v6 ? 40u + get16(f, f->l3 + 4) : get16(f, f->l3 + 2));
}

/* Where the checksum of this protocol is, 0 for none. */
static size_t checksum_at(uint8_t proto)
{
	return proto == KIT_TCP				   ? 16
	       : proto == KIT_UDP			   ? 6
	       : (proto == KIT_ICMP || proto == KIT_ICMP6) ? 2
							   : 0;
}

static uint8_t l4_proto(const struct kit_frame *f)
{
	return f->data[f->l3] >> 4 == 6 ? f->data[f->l3 + 6] : f->data[f->l3 + 9];
}

void kit_fix(struct kit_frame *f)
{
	bool v6 = f->data[f->l3] >> 4 == 6;
	uint8_t proto = l4_proto(f);
	size_t at = checksum_at(proto), end = ip_end(f);

	if (!v6) {
		set16(f, f->l3 + 10, 0);
		set16(f, f->l3 + 10, kit_checksum(f->data + f->l3, (f->data[f->l3] & 15) * 4u, 0));
	}
	if (!at || f->l4 + at + 2 > end || (v6 && f->l4 != f->l3 + 40)) {
		return;
	}
	set16(f, f->l4 + at, 0);
	set16(f, f->l4 + at,
	      kit_checksum(f->data + f->l4, end - f->l4,
			   proto == KIT_ICMP ? 0 : pseudo(f, proto, end - f->l4)));
}

bool kit_is_valid(const struct kit_frame *frame)
{
	struct kit_frame copy = *frame;

	copy.l4 = copy.l3 + (copy.data[copy.l3] >> 4 == 6 ? 40 : (copy.data[copy.l3] & 15) * 4);
	kit_fix(&copy);
	return copy.size == frame->size && !memcmp(copy.data, frame->data, copy.size);
}

static void build_l4(const struct kit_spec *s, struct kit_frame *f)
{
	if (s->frag_off) {
		put(f, s->body, s->body_size);
		return;
	}
	switch (s->proto) {
	case KIT_TCP:
		put16(f, s->sport);
		put16(f, s->dport);
		put32(f, s->seq);
		put32(f, s->ack);
		put8(f, 5 << 4);
		put8(f, s->tcp_flags);
		put16(f, 65535);
		put32(f, 0);
		break;
	case KIT_UDP:
		put16(f, s->sport);
		put16(f, s->dport);
		put16(f, 8 + s->body_size);
		put16(f, 0);
		break;
	case KIT_SCTP:
		put16(f, s->sport);
		put16(f, s->dport);
		put32(f, 1);
		put32(f, 0);
		break;
	case KIT_ICMP:
	case KIT_ICMP6:
		put8(f, s->icmp_type);
		put8(f, s->icmp_code);
		put16(f, 0);
		put16(f, s->icmp_id);
		put16(f, 1);
		break;
	default:
		break;
	}
	put(f, s->body, s->body_size);
}

static void build_ip4(const struct kit_spec *s, struct kit_frame *f)
{
	uint8_t addr[16];

	put8(f, 0x40 | (5 + s->ext_size / 4));
	put8(f, 0);
	put16(f, 0); /* length */
	put16(f, s->frag_id);
	put16(f, s->frag_off / 8 | (s->frag_more ? 0x2000 : 0));
	put8(f, s->ttl ? s->ttl : 64);
	put8(f, s->proto);
	put16(f, 0);
	kit_ip(s->src, addr);
	put(f, addr + 12, 4);
	kit_ip(s->dst, addr);
	put(f, addr + 12, 4);
	put(f, s->ext, s->ext_size);
	f->l4 = f->size;
	build_l4(s, f);
	set16(f, f->l3 + 2, f->size - f->l3);
}

static void build_ip6(const struct kit_spec *s, struct kit_frame *f)
{
	bool frag = s->frag_off || s->frag_more;
	uint8_t addr[16];

	put32(f, 0x60000000);
	put16(f, 0); /* length */
	put8(f, s->ext ? s->ext_proto : frag ? 44 : s->proto);
	put8(f, s->ttl ? s->ttl : 64);
	kit_ip(s->src, addr);
	put(f, addr, 16);
	kit_ip(s->dst, addr);
	put(f, addr, 16);
	put(f, s->ext, s->ext_size);
	if (frag) {
		put8(f, s->proto);
		put8(f, 0);
		put16(f, s->frag_off | s->frag_more);
		put32(f, s->frag_id);
	}
	f->l4 = f->size;
	build_l4(s, f);
	set16(f, f->l3 + 4, f->size - f->l3 - 40);
}

/* The MAC of the NIC that has this address, else the one outside. */
static const uint8_t *mac_of(const char *addr)
{
	size_t len = strlen(addr);
	bool group = !strncmp(addr, "ff", 2) || !strncmp(addr, "22", 2) ||
		     !strcmp(addr, "255.255.255.255");

	if (group) {
		return kit_mac_all;
	}
	if (!strncmp(addr, "10.0.0.", 7) && len == 8 && addr[7] >= '1' && addr[7] <= '3') {
		return kit_mac[addr[7] - '0'];
	}
	if (!strncmp(addr, "fd00::", 6) && len == 7 && addr[6] >= '1' && addr[6] <= '3') {
		return kit_mac[addr[6] - '0'];
	}
	return kit_mac[0];
}

void kit_build(const struct kit_spec *s, struct kit_frame *f)
{
	bool v6 = strchr(s->src, ':');

	f->size = 0;
	put(f, s->dmac ? s->dmac : mac_of(s->dst), 6);
	put(f, s->smac ? s->smac : mac_of(s->src), 6);
	for (int i = 0; i < 3 && s->vlan[i]; i++) {
		put16(f, 0x8100);
		put16(f, s->vlan[i]);
	}
	put16(f, v6 ? 0x86dd : 0x0800);
	f->l3 = f->size;
	if (v6) {
		build_ip6(s, f);
	} else {
		build_ip4(s, f);
	}
	kit_fix(f);
}

void kit_arp(struct kit_frame *f, const uint8_t *smac, uint16_t op, const uint8_t *sha,
	     const char *spa, const char *tpa)
{
	uint8_t addr[16];

	f->size = 0;
	put(f, kit_mac_all, 6);
	put(f, smac, 6);
	put16(f, 0x0806);
	f->l3 = f->size;
	put16(f, 1);
	put16(f, 0x0800);
	put8(f, 6);
	put8(f, 4);
	put16(f, op);
	put(f, sha, 6);
	kit_ip(spa, addr);
	put(f, addr + 12, 4);
	put(f, NULL, 6);
	kit_ip(tpa, addr);
	put(f, addr + 12, 4);
	f->l4 = f->size;
}
