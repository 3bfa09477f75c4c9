/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/decode/checksum.h"

#include <string.h>

#define GRE_SUM	     0x80 /* in the first byte: it has a checksum */
#define GRE_SUM_AT   4
#define GRE_SUM_SIZE 8

uint64_t gate_checksum_add(uint64_t sum, const void *data, uint32_t size)
{
	const uint8_t *at = data;
	uint64_t other = 0;

	/* 32 bits each into 64: 2^32 of them fit; two chains, so that additions overlap */
	for (; size >= 16; size -= 16, at += 16) {
		uint32_t word[4];

		memcpy(word, at, sizeof(word));
		sum += (uint64_t)word[0] + word[1];
		other += (uint64_t)word[2] + word[3];
	}
	sum += other;
	for (; size >= 2; size -= 2, at += 2) {
		uint16_t word;

		memcpy(&word, at, sizeof(word));
		sum += word;
	}
	if (size) {
		uint16_t word = 0;

		memcpy(&word, at, 1);
		sum += word;
	}
	return sum;
}

uint16_t gate_checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Where the transport's checksum stands; NULL: there is none. */
static const uint8_t *l4_place(const struct gate_packet *p, const uint8_t **ret_l4)
{
	*ret_l4 = NULL;
	if (p->flags & GATE_PKT_FRAGMENT) {
		return NULL;
	}
	if (p->tcp) {
		*ret_l4 = (const uint8_t *)p->tcp;
		return *ret_l4 + offsetof(struct tcphdr, th_sum);
	}
	if (p->udp) {
		*ret_l4 = (const uint8_t *)p->udp;
		return *ret_l4 + offsetof(struct udphdr, uh_sum);
	}
	if (p->icmp4) {
		*ret_l4 = (const uint8_t *)p->icmp4;
		return *ret_l4 + 2;
	}
	if (p->icmp6) {
		*ret_l4 = (const uint8_t *)p->icmp6;
		return *ret_l4 + 2;
	}
	return NULL;
}

/* The sum over the transport as it stands, its checksum included: 0 when it is right. */
static uint16_t l4_sum(const struct gate_packet *p, const uint8_t *l4)
{
	uint32_t size = (uint32_t)(p->l3.data + p->l3.size - l4);
	const uint8_t *ip = p->l3.data;
	uint64_t sum = 0;

	if (p->udp) {
		size = (uint32_t)(p->payload.data + p->payload.size - l4);
	}
	if (!p->icmp4) { /* the pseudo header */
		const uint8_t proto[4] = {0, p->ip_proto, (uint8_t)(size >> 8), (uint8_t)size};

		sum = p->ip_version == 4 ? gate_checksum_add(0, ip + 12, 8)
					 : gate_checksum_add(0, ip + 8, 32);
		sum = gate_checksum_add(sum, proto, sizeof(proto));
	}
	return gate_checksum_fold(gate_checksum_add(sum, l4, size));
}

bool gate_checksum_ip4_ok(const struct gate_packet *p)
{
	return !p->ip4 || !gate_checksum_fold(gate_checksum_add(0, p->ip4, p->l3_size));
}

bool gate_checksum_l4_ok(const struct gate_packet *p)
{
	const uint8_t *l4, *place = l4_place(p, &l4);

	if (!place || (p->udp && !place[0] && !place[1])) {
		return true;
	}
	return !l4_sum(p, l4);
}

static void store(const uint8_t *place, uint16_t value)
{
	/* inside p->data, which is ours to change */
	memcpy((uint8_t *)(uintptr_t)place, &value, sizeof(value));
}

/* What the hardware or the receiver completes begins with the pseudo header, which holds. So does a
 * checksum around it: what is inside will sum up to the same whatever it is. */
static bool is_partial(const struct gate_packet *p, const uint8_t *l4)
{
	return p->partial && p->partial >= l4 && p->partial < p->l3.data + p->l3.size;
}

static void redo_gre(struct gate_packet *p)
{
	uint32_t size = p->l4_size + p->payload.size;
	const uint8_t *gre = p->payload.data - p->l4_size;

	if (p->l4_size < GRE_SUM_SIZE || !(gre[0] & GRE_SUM) || is_partial(p, gre)) {
		return;
	}
	store(gre + GRE_SUM_AT, 0);
	store(gre + GRE_SUM_AT, gate_checksum_fold(gate_checksum_add(0, gre, size)));
}

void gate_checksum_redo(struct gate_packet *p)
{
	const uint8_t *l4, *place = l4_place(p, &l4);
	uint16_t sum;

	if (place && !is_partial(p, l4) && !(p->udp && !place[0] && !place[1])) {
		store(place, 0);
		sum = l4_sum(p, l4);
		store(place, p->udp && !sum ? 0xffff : sum);
	}
	if (p->ip_proto == IPPROTO_GRE && !(p->flags & GATE_PKT_FRAGMENT)) {
		redo_gre(p);
	}
	if (p->ip4) {
		place = p->l3.data + offsetof(struct iphdr, check);
		store(place, 0);
		store(place, gate_checksum_fold(gate_checksum_add(0, p->ip4, p->l3_size)));
	}
}
