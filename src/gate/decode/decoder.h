/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the decoder: layers call one another with what is left of the bytes. Each layer fills
 * its members of the packet; what a tunnel carries or a fragment completes is spawned as the next
 * packet, which gate_decode() takes up when it is through with this one. At most one for each.
 */
#ifndef BH_GATE_DECODE_DECODER_H
#define BH_GATE_DECODE_DECODER_H

#include "gate/decode/decode.h"

#define LAYERS_MAX	 16 /* of one packet, tunnels in one another not counted */
#define REASSEMBLIES_MAX 4  /* in one another */
#define INNER_MAX	 (GATE_TUNNEL_DEPTH_MAX + REASSEMBLIES_MAX)
#define PORTS_MAX	 16
#define DATAGRAM_MAX	 65535u
#define DATAGRAM_ROOM	 (40 + DATAGRAM_MAX) /* IPv6 counts what follows its header */

struct decode_ports {
	unsigned int count;
	uint16_t ports[PORTS_MAX];
	bool any;
};

struct defrag;

struct gate_decoder {
	const struct gate_config *config;
	struct defrag *defrag;
	bool check_tcp;
	struct decode_ports vxlan, geneve, teredo;
	/* of the packet that is being decoded */
	unsigned int layers;
	struct gate_packet *next;
	unsigned int inner_count, reassemblies;
	struct gate_packet inner[INNER_MAX];
	uint8_t *datagrams[REASSEMBLIES_MAX];
};

/* The event, and nothing above this layer is looked at. */
static inline void decode_invalid(struct gate_packet *p, enum gate_event event)
{
	gate_packet_event(p, event);
	p->flags |= GATE_PKT_INVALID;
}
/* false: there are too many. */
bool decode_layer(struct gate_decoder *d, struct gate_packet *p);
/* What p carries is a packet of its own, of that link type. NULL: no more room. */
struct gate_packet *decode_spawn(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
				 uint32_t size, unsigned int link);

/* link.c */
void decode_link(struct gate_decoder *d, struct gate_packet *p);
void decode_ethernet(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		     uint32_t size);
/* false: the type is not known. */
bool decode_network(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		    uint32_t size, unsigned int type);
void decode_arp(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);

/* tags.c */
void decode_vlan(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_8021ah(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		   uint32_t size);
void decode_vntag(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
		  uint32_t size);
void decode_etag(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_mpls(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_nsh(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);

/* ppp.c */
void decode_ppp(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_pppoe_session(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data,
			  uint32_t size);
void decode_pppoe_discovery(struct gate_packet *p, const uint8_t *data, uint32_t size);

/* ip4.c, ip6.c */
void decode_ip4(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_ip6(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);
/* Version by the first byte. */
void decode_ip(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);

/* transport.c, icmp.c */
void decode_tcp(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_udp(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_sctp(struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_esp(struct gate_packet *p, const uint8_t *data, uint32_t size);

/* igmp.c */
void decode_igmp(struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_icmp4(struct gate_packet *p, const uint8_t *data, uint32_t size);
void decode_icmp6(struct gate_packet *p, const uint8_t *data, uint32_t size);

/* tunnel.c */
void decode_gre(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size);
/* Of a UDP datagram; true when it was a tunnel. */
bool decode_udp_tunnel(struct gate_decoder *d, struct gate_packet *p);
void decode_ports_parse(const char *text, bool enabled, struct decode_ports *ret);

/* defrag.c */
struct defrag *defrag_new(const struct gate_config *config);
void defrag_free(struct defrag *defrag);
void defrag_tick(struct defrag *defrag, uint64_t now_us);
/* A fragment's part of its datagram. */
struct defrag_part {
	uint32_t id, offset;
	bool more;
	/* what the whole one begins with: the IP header and, IPv6, the headers before the fragment
	 * header, whose place that names the next header is at next_at */
	const uint8_t *header;
	uint32_t header_size, next_at;
	uint8_t next_header;
	const uint8_t *data;
	uint32_t size;
};
/* Size of the datagram that is whole now, in ret (DATAGRAM_ROOM bytes); 0 when it is not. */
uint32_t defrag_add(struct defrag *defrag, struct gate_packet *p, const struct defrag_part *part,
		    uint8_t *ret);
/* Hands the fragment over; what it completes is spawned. */
void decode_fragment(struct gate_decoder *d, struct gate_packet *p, const struct defrag_part *part);

#endif
