/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet on its way through a worker: bytes that somebody else owns (capture, defrag, a tunnel's
 * outer packet) and what the decoder found in them. Pointers are into `data` and NULL for what is
 * not there; sizes are what is captured, never what a header claims. One worker; pooled, nothing in
 * it is allocated per packet.
 */
#ifndef BH_GATE_DECODE_PACKET_H
#define BH_GATE_DECODE_PACKET_H

#include "gate/decode/events.h"
#include "gate/gate.h"

#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#define GATE_VLANS_MAX	       3
#define GATE_PACKET_EVENTS_MAX 16
#define GATE_PACKET_ALERTS_MAX 255 /* the most that packet-alert-max may say */
#define GATE_TUNNEL_DEPTH_MAX  16

/* LINKTYPE_* of libpcap; the last two are ours, for what tunnels carry. */
enum gate_link {
	GATE_LINK_NULL = 0,
	GATE_LINK_ETHERNET = 1,
	GATE_LINK_PPP = 9,
	GATE_LINK_RAW_BSD = 12,
	GATE_LINK_RAW_OPENBSD = 14,
	GATE_LINK_PPP_HDLC = 50,
	GATE_LINK_RAW = 101,
	GATE_LINK_C_HDLC = 104,
	GATE_LINK_LOOP = 108,
	GATE_LINK_SLL = 113,
	GATE_LINK_IPV4 = 228,
	GATE_LINK_IPV6 = 229,
	GATE_LINK_SLL2 = 276,
	GATE_LINK_VLAN = 0xff00,
	GATE_LINK_ARP = 0xff01,
};

/* IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), in network order. */
struct gate_addr {
	uint8_t bytes[16];
};
bool gate_addr_is_v4(const struct gate_addr *addr);

enum gate_packet_flag {
	GATE_PKT_FRAGMENT = 1u << 0,	/* one of several: no upper layers */
	GATE_PKT_REASSEMBLED = 1u << 1, /* made by defrag */
	GATE_PKT_TUNNELED = 1u << 2,	/* came inside another: `outer` */
	GATE_PKT_PSEUDO = 1u << 3,	/* made by us: the end of a flow; no bytes, no log of it */
	GATE_PKT_TRUNCATED = 1u << 4,	/* snaplen: fewer bytes than were on the wire */
	GATE_PKT_BAD_CSUM = 1u << 5,	/* of TCP, when they are checked: not for streams */
	GATE_PKT_INVALID = 1u << 6,	/* a header that can't be: nothing above is decoded */
	/* set by flow and stream */
	GATE_PKT_ESTABLISHED = 1u << 8, /* both sides have been seen (TCP: handshake) */
	GATE_PKT_NO_PAYLOAD = 1u << 9,	/* payload is not inspected: pass, bypass, decrypted end */
	GATE_PKT_NO_PACKET = 1u << 10,	/* the packet is not inspected at all */
	GATE_PKT_STREAM_ADD = 1u << 11, /* its payload went into the stream */
	GATE_PKT_STREAM_EOF = 1u << 12, /* the last of its stream */
	GATE_PKT_TAGGED = 1u << 13,	/* a rule with `tag` matched before it */
	/* set by detect and verdict */
	GATE_PKT_DROP = 1u << 16,
	GATE_PKT_DROP_FLOW = 1u << 17,
	GATE_PKT_REJECT_SRC = 1u << 18,
	GATE_PKT_REJECT_DST = 1u << 19,
	GATE_PKT_MODIFIED = 1u << 20, /* `replace`: bytes in `data` changed, checksums redone */
	/* of what it carried one was answered, or changed in `data` with its checksums */
	GATE_PKT_INNER_REJECTED = 1u << 21,
	GATE_PKT_INNER_MODIFIED = 1u << 22,
};

/* Why it does not go on (inline); verdict.h has the names. */
enum gate_drop_reason {
	GATE_DROP_NONE,
	GATE_DROP_RULE,
	GATE_DROP_FLOW,
	GATE_DROP_STREAM,
	GATE_DROP_DECODE,
	GATE_DROP_DEFRAG,
	GATE_DROP_MEMCAP,
	GATE_DROP_MIDSTREAM,
	GATE_DROP_APP,
	GATE_DROP_REASONS,
};

struct gate_tcp_options {
	bool has_mss, has_wscale, has_sack_ok, has_ts;
	uint8_t wscale;
	uint16_t mss;
	uint32_t ts, ts_echo;
	uint8_t sack_count;
	const uint8_t *sacks; /* 8 bytes each */
};

struct gate_rule;
struct gate_flow;
struct gate_captures;

struct gate_packet_alert {
	const struct gate_rule *rule;
	uint8_t action; /* after threshold and pass: enum gate_action bits */
	uint8_t dir;
	bool in_tx, in_stream; /* for EVE */
	uint64_t tx_id;
};

/* Headers as they stand in a frame: at any address. Such a type exists by a typedef only. */
#define GATE_ANYWHERE __attribute__((aligned(1)))
typedef struct iphdr gate_iphdr GATE_ANYWHERE;
typedef struct ip6_hdr gate_ip6_hdr GATE_ANYWHERE;
typedef struct tcphdr gate_tcphdr GATE_ANYWHERE;
typedef struct udphdr gate_udphdr GATE_ANYWHERE;
typedef struct icmphdr gate_icmphdr GATE_ANYWHERE;
typedef struct icmp6_hdr gate_icmp6_hdr GATE_ANYWHERE;

struct gate_packet {
	uint8_t *data; /* of the link layer or, in a tunnel, what the tunnel carries */
	uint32_t size, wire_size;
	uint64_t time_us; /* since 1970 */
	uint64_t number;  /* of the capture, from 1; 0 unknown */
	uint16_t link;	  /* enum gate_link */
	uint16_t source;  /* index of the interface or of the leg it came in by */
	bool unsummed;	  /* by the source: TCP's checksum is still to be made, or known right */
	const uint8_t *partial; /* the one that is still to be made, by who sends it; NULL: none */
	uint32_t flags;
	const struct gate_packet *outer;
	uint8_t depth; /* of tunnels */
	uint32_t vni;  /* + 1, of the outermost VXLAN or Geneve that it is in; 0: none */

	const uint8_t *eth; /* 14 bytes */
	uint16_t ethertype; /* of what the link layer carries, after VLAN tags */
	uint16_t vlan[GATE_VLANS_MAX];
	uint8_t vlan_count;
	const uint8_t *arp;

	struct gate_addr src, dst;
	uint8_t ip_version; /* 0, 4, 6 */
	uint8_t ip_proto;   /* of the upper layer, after extension headers */
	uint8_t ttl;	    /* or hop limit */
	const gate_iphdr *ip4;
	const gate_ip6_hdr *ip6;
	uint32_t l3_size;    /* header with options or extension headers */
	struct gate_view l3; /* the whole datagram, cut to its own length field */
	uint16_t ip6_ext_count;
	/* bits: 0 hop-by-hop, 1 destination, 2 routing, 3 fragment, 4 AH, 5 ESP, 6 other */
	uint32_t ip6_exts;

	uint16_t sport, dport; /* host order; ICMP: type and code as flows see them */
	const gate_tcphdr *tcp;
	const gate_udphdr *udp;
	const gate_icmphdr *icmp4;
	const gate_icmp6_hdr *icmp6;
	const uint8_t *sctp, *igmp;
	uint32_t l4_size; /* header with options */
	struct gate_tcp_options tcp_opts;
	struct gate_view payload;    /* above the transport, or above IP when there is none */
	struct gate_view icmp_inner; /* the datagram an ICMP error speaks of */

	uint8_t event_count;
	uint16_t events[GATE_PACKET_EVENTS_MAX]; /* enum gate_event */

	struct gate_flow *flow;
	uint8_t dir;	   /* enum gate_dir, when there is a flow */
	uint16_t rule_set; /* slot of the rules that inspect it (detect/sets.h) */

	uint8_t alert_count;
	struct gate_packet_alert alerts[GATE_PACKET_ALERTS_MAX];
	uint16_t drop_reason;		      /* enum gate_drop_reason */
	const struct gate_captures *captures; /* by rules that matched; until the next packet */
};

/* Header and chunks of an SCTP packet. */
struct gate_view gate_sctp_bytes(const struct gate_packet *p);
/* A chunk (RFC 9260, 3.2) of an SCTP packet. */
struct gate_sctp_chunk {
	uint8_t type;
	struct gate_view user; /* DATA: what is carried */
};
/* The chunk at *at (0: the first), which is then where the next begins; false: no whole one. */
bool gate_sctp_next(const struct gate_packet *p, uint32_t *at, struct gate_sctp_chunk *ret);

void gate_packet_event(struct gate_packet *p, enum gate_event event); /* the 17th is counted */
bool gate_packet_has_event(const struct gate_packet *p, enum gate_event event);

#endif
