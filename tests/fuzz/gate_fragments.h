/* SPDX-License-Identifier: Apache-2.0 */
/* Frames with a fragment in them, for its fuzz target: bare, with tags, in a tunnel. */
#ifndef BH_TESTS_FUZZ_GATE_FRAGMENTS_H
#define BH_TESTS_FUZZ_GATE_FRAGMENTS_H

#include "base/util.h"
#include "gate/decode/packet.h"

#define LARGEST	      65535u
#define HEADER_MAX    160u
#define TUNNEL_MAX    80u
#define TUNNEL_PROTO4 4u
#define TUNNEL_PROTO6 41u

static inline void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

enum host { HOST_ANY, HOST_NET, HOST_ONE, HOST_ANY6, HOST_ONE6, HOSTS };
enum wrap { BARE, ETHERNET, VLAN, QINQ, IN_IP4, IN_IP6, IN_GRE, IN_VXLAN, IN_FRAGMENTS, WRAPS };

/* What a datagram is known by. */
struct key {
	uint32_t id, vni;
	uint16_t vlan[2];
	uint8_t version, host, proto, depth, vlans, source;
};

struct fragment {
	struct fragment *next; /* in order of arrival */
	struct key key;
	uint32_t offset, size, header_size, next_at;
	bool more;
	uint8_t proto, header[HEADER_MAX];
	uint8_t data[];
};

struct frame {
	uint8_t bytes[TUNNEL_MAX + HEADER_MAX + LARGEST];
	uint32_t size;
	uint16_t link, source;
};

static inline void append(struct frame *frame, const void *data, uint32_t size)
{
	memcpy(frame->bytes + frame->size, data, size);
	frame->size += size;
}

static inline void addresses(uint8_t *src, uint8_t version, uint8_t host)
{
	static const uint8_t hosts4[][4] = {[HOST_ANY] = {192, 0, 2, 1},
					    [HOST_NET] = {10, 0, 0, 1},
					    [HOST_ONE] = {10, 0, 0, 7}};
	static const uint8_t net6[] = {0x20, 1, 0xd, 0xb8};

	if (version == 4) {
		memcpy(src, (uint8_t[]){10, 9, 9, 9}, 4);
		memcpy(src + 4, hosts4[host], 4);
		return;
	}
	memcpy(src, net6, sizeof(net6));
	src[15] = 9;
	memcpy(src + 16, net6, sizeof(net6));
	src[31] = host == HOST_ONE6 ? 7 : 1;
}

/* The IP header of `size` bytes that follow it; its size. */
static inline uint32_t header_of(uint8_t *at, uint8_t version, uint8_t host, uint8_t proto,
				 uint32_t size)
{
	memset(at, 0, 40);
	if (version == 4) {
		at[0] = 0x45;
		put16(at + 2, 20 + size);
		at[8] = 64;
		at[9] = proto;
		addresses(at + 12, 4, host);
		return 20;
	}
	at[0] = 0x60;
	put16(at + 4, size);
	at[6] = proto;
	at[7] = 64;
	addresses(at + 8, 6, host);
	return 40;
}

/* Options of an IPv4 header, or a header of destination options in front of IPv6's fragment
 * header. */
static inline void more_header(struct fragment *f, unsigned int words)
{
	uint8_t *at = f->header + f->header_size;

	if (f->key.version == 4) {
		words = words > 10 ? 10 : words;
		memset(at, 1, words * 4);
		f->header[0] = (uint8_t)(0x45 + words);
		f->header_size += words * 4;
	} else if (words) {
		memset(at, 0, words * 8);
		at[0] = 44;
		at[1] = (uint8_t)(words - 1);
		f->header[6] = 60;
		f->next_at = 40;
		f->header_size += words * 8;
		if (words * 8 > 8) { /* one PadN over all */
			at[2] = 1;
			at[3] = (uint8_t)(words * 8 - 4);
		}
	}
}

/* The fragment as bytes of IP. */
static inline void append_fragment(struct frame *frame, struct fragment *f)
{
	uint32_t id = f->key.id;

	f->header[f->key.version == 4 ? 8 : 7] = (uint8_t)(f->data[0] | 1); /* tells them apart */
	if (f->key.version == 4) {
		put16(f->header + 2, f->header_size + f->size);
		put16(f->header + 4, id);
		put16(f->header + 6, f->offset / 8 | (f->more ? 0x2000 : 0));
		append(frame, f->header, f->header_size);
	} else {
		uint8_t ext[8] = {f->proto};

		put16(ext + 2, f->offset | f->more);
		put16(ext + 6, id);
		put16(f->header + 4, f->header_size - 40 + 8 + f->size);
		append(frame, f->header, f->header_size);
		append(frame, ext, sizeof(ext));
	}
	append(frame, f->data, f->size);
}

static inline struct fragment *fragment_new(uint32_t seed, uint8_t version, uint8_t host,
					    uint8_t proto, uint32_t size)
{
	struct fragment *f = bh_alloc(sizeof(*f) + size + 1);

	f->key.version = version;
	f->key.host = host;
	f->key.proto = version == 4 ? proto : 0;
	f->proto = proto;
	f->size = size;
	f->header_size = header_of(f->header, version, host, version == 4 ? proto : 44, 0);
	f->next_at = 6;
	for (uint32_t i = 0; i <= size; i++) {
		f->data[i] = (uint8_t)(seed * 41 + i * 7 + (i >> 8) * 3);
	}
	return f;
}

/* The frame around `size` bytes of IP, and what it makes of the key. */
static inline void begin_frame(struct frame *frame, struct key *key, enum wrap wrap,
			       unsigned int which, uint32_t size)
{
	uint32_t type = key->version == 4 ? 0x0800 : 0x86dd;
	uint8_t head[64] = {}, ip[40], proto = key->version == 4 ? TUNNEL_PROTO4 : TUNNEL_PROTO6;

	frame->size = 0;
	frame->link = wrap == ETHERNET || wrap == VLAN || wrap == QINQ ? GATE_LINK_ETHERNET
								       : GATE_LINK_RAW;
	key->depth = wrap >= IN_IP4;
	if (frame->link == GATE_LINK_ETHERNET) {
		uint32_t at = 12;

		key->vlans = wrap == QINQ ? 2 : wrap == VLAN;
		for (unsigned int i = 0; i < key->vlans; i++, at += 4) {
			key->vlan[i] = (uint16_t)(1 + (which >> i & 1));
			put16(head + at, 0x8100);
			put16(head + at + 2, key->vlan[i] | which << 13);
		}
		put16(head + at, type);
		append(frame, head, at + 2);
	} else if (wrap == IN_IP4) {
		append(frame, ip, header_of(ip, 4, HOST_NET, proto, size));
	} else if (wrap == IN_IP6) {
		append(frame, ip, header_of(ip, 6, HOST_ANY6, proto, size));
	} else if (wrap == IN_GRE) {
		put16(head + 2, type);
		append(frame, ip, header_of(ip, 4, HOST_NET, 47, 4 + size));
		append(frame, head, 4);
	} else if (wrap == IN_VXLAN) {
		key->vni = 1 + (which & 1);
		put16(head + 2, 4789);
		put16(head + 4, 30 + size);
		head[8] = 8; /* there is a VNI */
		head[14] = (uint8_t)key->vni;
		put16(head + 28, type);
		append(frame, ip, header_of(ip, 4, HOST_NET, 17, 30 + size));
		append(frame, head, 30);
	}
}

#endif
