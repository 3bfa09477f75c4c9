/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose   A dataplane in a network namespace of its own, fed by hand, and frames to put into
 *           it by BPF_PROG_TEST_RUN. Every test opens one, so nothing is left over from the test
 *           before.
 * Ownership kit_open_sized gives, kit_close takes back; frames are plain values.
 * Threads   One.
 *
 * The world: network 7 on bridge 100. NIC 1 (10.0.0.1, fd00::1, identity 300) and NIC 2
 * (10.0.0.2, fd00::2, identity 301) are of tenant 10 and on that bridge; NIC 3 (10.0.0.3,
 * fd00::3, identity 303) is routed. 10.0.0.50 and fd00::50 are a VM of tenant 11 on another
 * host, identity 302. 10.0.0.254 and fd00::fe are the host. Everything is denied by rule 1 until
 * a test says otherwise.
 */
#ifndef BH_TESTS_BPF_KIT_H
#define BH_TESTS_BPF_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include "bpf/abi.h"
#include "dataplane.skel.h"

#define KIT_NICS     3
#define KIT_NET	     7
#define KIT_BRIDGE   100
#define KIT_NONCE    0xabcdef00u
#define KIT_ID(nic)  ((nic) == 1 ? 300u : (nic) == 2 ? 301u : 303u)
#define KIT_ID_FAR   302u
#define KIT_PASS     (-1)
#define KIT_DROP     2
#define KIT_REDIRECT 7
#define KIT_NOT_RUN                                                                                \
	99 /* newer kernels don't run frames cut within their IP header; see test_wire */
#define KIT_TCP	      6
#define KIT_UDP	      17
#define KIT_ICMP      1
#define KIT_ICMP6     58
#define KIT_SCTP      132
#define KIT_FIN	      0x01
#define KIT_SYN	      0x02
#define KIT_RST	      0x04
#define KIT_ACK	      0x10
#define KIT_FRAME_MAX 4096

extern const uint8_t kit_mac[KIT_NICS + 1][6]; /* [0] is somebody outside */
extern const uint8_t kit_mac_all[6];

struct kit {
	struct dataplane *skel;
	struct ring_buffer *ring;
	int ifindex[KIT_NICS + 1]; /* [0] is a port that is not fed */
	struct bh_flow_event events[256];
	unsigned event_count;
};

struct kit_frame {
	uint8_t data[KIT_FRAME_MAX];
	size_t size;
	size_t l3, l4; /* offsets */
};

/* What a frame is made from; what is left out gets a sensible value. */
struct kit_spec {
	const uint8_t *smac, *dmac;
	const char *src, *dst; /* IPv6 when src holds a colon */
	uint8_t proto;
	uint16_t sport, dport; /* host order */
	uint8_t tcp_flags;
	uint32_t seq, ack;
	uint8_t icmp_type, icmp_code;
	uint16_t icmp_id;
	uint8_t ttl;
	uint16_t vlan[3]; /* host order, ends with 0 */
	const void *body; /* behind the transport header; zeros when NULL */
	size_t body_size;
	uint32_t frag_id;
	unsigned frag_off; /* bytes; a later fragment has no transport header */
	bool frag_more;
	const void *ext; /* IPv6 extension headers, or IPv4 options */
	size_t ext_size;
	uint8_t ext_proto; /* protocol number of the first extension header */
};

struct kit_result {
	int verdict;
	uint32_t mark;
	uint32_t ns;
	struct kit_frame out;
};

enum kit_prog {
	KIT_FROM_GUEST,
	KIT_TO_GUEST,
	KIT_FROM_UPLINK,
	KIT_TO_UPLINK,
	KIT_FROM_BRIDGE,
	KIT_TO_BRIDGE
};

/* cmocka fixtures: *state is a struct kit. */
int kit_setup(void **state);
int kit_teardown(void **state);
struct kit *kit_open_sized(unsigned rows, unsigned cts);
void kit_close(struct kit *kit);
/* Ends the process with 77 and a reason where this can't run. */
void kit_require_root(void);

/* ---- frames ---- */
void kit_build(const struct kit_spec *spec, struct kit_frame *frame);
#define KIT_FRAME(frame, ...) kit_build(&(struct kit_spec){__VA_ARGS__}, frame)
void kit_arp(struct kit_frame *frame, const uint8_t *smac, uint16_t op, const uint8_t *sha,
	     const char *spa, const char *tpa);
uint16_t kit_checksum(const void *data, size_t size, uint32_t start);
/* Sets the checksums of what is at l3 and l4 anew. */
void kit_fix(struct kit_frame *frame);
void kit_ip(const char *text, uint8_t ret_addr[16]);
/* Are the IP, TCP and ICMP checksums of this frame right? */
bool kit_is_valid(const struct kit_frame *frame);

/* ---- running ---- */
struct kit_result kit_run(struct kit *kit, enum kit_prog prog, int ifindex, uint32_t mark,
			  const struct kit_frame *frame);
/* From NIC's tap, with no mark. */
int kit_send(struct kit *kit, unsigned nic, const struct kit_frame *frame);
/* To NIC's tap, with a mark of this kind (0: none). */
int kit_receive(struct kit *kit, unsigned nic, unsigned kind, const struct kit_frame *frame);

/* The connection that most tests look at: NIC 1 opens it to NIC 2. */
#define TCP_12(f, flags)                                                                           \
	KIT_FRAME(f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_TCP, .sport = 40000,       \
		  .dport = 80, .tcp_flags = (flags), .seq = 100, .ack = 200)
#define TCP_21(f, flags)                                                                           \
	KIT_FRAME(f, .src = "10.0.0.2", .dst = "10.0.0.1", .proto = KIT_TCP, .sport = 80,          \
		  .dport = 40000, .tcp_flags = (flags), .seq = 200, .ack = 101)

/* ---- feeding ---- */
void kit_nic_flags(struct kit *kit, unsigned nic, uint32_t flags);
void kit_own(struct kit *kit, unsigned nic, const char *addr);
void kit_who(struct kit *kit, uint32_t vlan, const char *addr, uint32_t identity, uint32_t tenant);
void kit_ctl(struct kit *kit, void (*change)(struct bh_ctl *ctl, uint32_t value), uint32_t value);
void kit_set_gen(struct kit *kit, uint32_t gen);
void kit_ctl_flags(struct kit *kit, uint32_t flags);
/* Frames between NIC 1 and NIC 2 may go past the bridge. */
void kit_fastpath(struct kit *kit);

struct kit_row {
	uint32_t identity, dir;
	uint32_t remote_kind, remote;
	uint32_t service_kind;
	uint8_t proto;
	uint16_t port;
	uint32_t rank, rule;
	uint8_t action, flags;
	int slots; /* bit mask, 0 is both */
};
void kit_row_put(struct kit *kit, const struct kit_row *row);
#define KIT_ROW(kit, ...) kit_row_put(kit, &(struct kit_row){__VA_ARGS__})
void kit_default(struct kit *kit, uint32_t identity, uint32_t dir, uint8_t action, uint32_t rule);
/* Allows everything in both directions for all NICs. */
void kit_allow_all(struct kit *kit);

/* ---- looking ---- */
uint64_t kit_stat(struct kit *kit, unsigned nic, enum bh_reason reason);
uint64_t kit_rule_stat(struct kit *kit, uint32_t rule, unsigned nic, uint32_t dir);
/* The last event of this type, or NULL. */
const struct bh_flow_event *kit_event(struct kit *kit, enum bh_flow_type type);
unsigned kit_event_count(struct kit *kit, enum bh_flow_type type);
/* The only connection; fails when there are more or none. IPv4 or IPv6. What its tickets counted is
 * in it. */
struct bh_ct kit_ct(struct kit *kit);
unsigned kit_ct_count(struct kit *kit);
/* As kit_ct() gave it; ends its tickets, as every program that changes a connection does. */
void kit_ct_put(struct kit *kit, const struct bh_ct *ct);
/* What is in the slot that a ticket for this frame would have. */
struct bh_ticket kit_ticket(struct kit *kit, const struct kit_frame *f);
void kit_ticket_put(struct kit *kit, const struct bh_ticket *lease);

#define assert_reason(kit, nic, reason, expr)                                                      \
	do {                                                                                       \
		uint64_t before_ = kit_stat(kit, nic, BH_REASON_##reason);                         \
		assert_int_equal(expr, KIT_DROP);                                                  \
		assert_int_equal(kit_stat(kit, nic, BH_REASON_##reason), before_ + 1);             \
	} while (0)

#endif
