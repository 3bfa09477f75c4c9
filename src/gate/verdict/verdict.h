/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a packet inline: on, dropped, rejected, replaced, or its flow released to the
 * fast path. The one place that builds frames of our own (RST, ICMP unreachable), with sound
 * checksums; VLAN tags and addresses of the packet that is answered.
 */
#ifndef BH_GATE_VERDICT_VERDICT_H
#define BH_GATE_VERDICT_VERDICT_H

#include "gate/capture/capture.h"
#include "gate/decode/packet.h"

const char *gate_drop_reason_name(enum gate_drop_reason reason);

/* Who is told that a flow needs no more inspection (the dataplane, an AF_XDP map). */
struct gate_bypass {
	bool (*add)(struct gate_bypass *bypass, const struct gate_flow *flow);
};

struct gate_verdict {
	struct gate_source *source; /* NULL offline: verdicts are only counted */
	struct gate_bypass *bypass; /* NULL: a bypassed flow is passed on here without inspection */
	bool inline_mode;
	struct {
		uint64_t tokens, last_us;
	} reject; /* verdict.c's own: at most GATE_REJECTS_PER_S a second, bursts of a tenth */
};
#define GATE_REJECTS_PER_S   1000
#define GATE_REJECT_SIZE_MAX 512
/* p, which was carried by root (in a tunnel, or as its last fragment), after its walk: it is
 * answered, and checksums of changed bytes are made good in every layer around them. What becomes
 * of root is still open. */
void gate_verdict_inner(struct gate_verdict *verdict, struct gate_packet *p,
			struct gate_packet *root);
/* p as it came from the source, after its walk. Checksums of changed bytes are made good, then on
 * with it, or not. */
void gate_verdict_packet(struct gate_verdict *verdict, struct gate_packet *p);
/* For tests: the frame that answers p. Size, or 0 when there is none to send. */
size_t gate_reject_frame(const struct gate_packet *p, bool to_sender, uint8_t *ret, size_t size);

#endif
