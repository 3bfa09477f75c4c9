/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which worker gets a packet: the kernel asks a program of classic BPF (packet(7),
 * PACKET_FANOUT_CBPF). It is the sum of both addresses of the outermost IP header, so both
 * directions of a flow, its fragments, what belongs together over several flows (FTP's data) and a
 * tunnel with all that is in it come to the same worker, whichever side they come in by. The
 * kernel's own hash takes ports too, which spreads better between few hosts, but fragments have
 * none: they would be put together where nobody knows their flow.
 */
#include "gate/capture/ring.h"

#include "base/util.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <sys/socket.h>

#define OP(code, k)	  BPF_STMT(code, k)
#define AUX(what)	  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + (what)))
#define EQUALS(k, jt, jf) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, jt, jf)
#define GOLDEN		  0x9e3779b1u

/* A: the ethertype behind the tag at X, and X behind the tag; 8 instructions. */
#define SKIP_TAG                                                                                   \
	EQUALS(ETH_P_8021Q, 1, 0), EQUALS(ETH_P_8021AD, 0, 6), OP(BPF_LD | BPF_H | BPF_IND, 2),    \
		OP(BPF_ST, 0), OP(BPF_MISC | BPF_TXA, 0), OP(BPF_ALU | BPF_ADD | BPF_K, 4),        \
		OP(BPF_MISC | BPF_TAX, 0), OP(BPF_LD | BPF_MEM, 0)
/* M[0] += the word at M[1] + k; 5 instructions. */
#define ADD_WORD(k)                                                                                \
	OP(BPF_LD | BPF_W | BPF_IND, k), OP(BPF_LDX | BPF_MEM, 0),                                 \
		OP(BPF_ALU | BPF_ADD | BPF_X, 0), OP(BPF_ST, 0), OP(BPF_LDX | BPF_MEM, 1)

/* Received frames are seen from the network header on, sent ones from the link layer's. */
static const struct sock_filter by_hosts[] = {
	AUX(SKF_AD_PKTTYPE),
	EQUALS(PACKET_OUTGOING, 0, 2),
	OP(BPF_LDX | BPF_IMM, ETH_HLEN), /* LINK_AT */
	OP(BPF_JMP | BPF_JA, 1),
	OP(BPF_LDX | BPF_IMM, 0),
	AUX(SKF_AD_PROTOCOL),
	SKIP_TAG,
	SKIP_TAG,
	OP(BPF_STX, 1),
	EQUALS(ETH_P_IP, 0, 7),
	OP(BPF_LD | BPF_W | BPF_IND, 12),
	OP(BPF_ST, 0),
	OP(BPF_LD | BPF_W | BPF_IND, 16),
	OP(BPF_LDX | BPF_MEM, 0),
	OP(BPF_ALU | BPF_ADD | BPF_X, 0),
	OP(BPF_ST, 0),
	OP(BPF_JMP | BPF_JA, 5 * 8 + 4),
	EQUALS(ETH_P_IPV6, 1, 0),
	OP(BPF_RET | BPF_K, 0),
	OP(BPF_LD | BPF_IMM, 0),
	OP(BPF_ST, 0),
	ADD_WORD(8),
	ADD_WORD(12),
	ADD_WORD(16),
	ADD_WORD(20),
	ADD_WORD(24),
	ADD_WORD(28),
	ADD_WORD(32),
	ADD_WORD(36),
	OP(BPF_LD | BPF_MEM, 0),
	OP(BPF_ALU | BPF_MUL | BPF_K, GOLDEN),
	OP(BPF_ALU | BPF_RSH | BPF_K, 16),
	OP(BPF_RET | BPF_A, 0),
};

#define LINK_AT 2 /* which instruction has the size of the link layer's header */
#define NOBODYS (-1)

void ring_group_init(struct ring_group *group)
{
	*group = (struct ring_group){};
	pthread_mutex_init(&group->lock, NULL);
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(group->legs); i++) {
		group->legs[i].index = NOBODYS;
	}
}

void ring_group_done(struct ring_group *group)
{
	pthread_mutex_destroy(&group->lock);
}

static int begin_group(struct ring *ring, struct ring_leg *leg, bool by_flow)
{
	struct sock_filter code[BH_ARRAY_SIZE(by_hosts)];
	const struct sock_fprog program = {.len = BH_ARRAY_SIZE(code), .filter = code};
	int type = by_flow ? PACKET_FANOUT_HASH : PACKET_FANOUT_CBPF;
	int value = (type | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
	socklen_t size = sizeof(value);

	memcpy(code, by_hosts, sizeof(code));
	code[LINK_AT].k = ring->link == GATE_LINK_ETHERNET ? ETH_HLEN : 0;
	if (setsockopt(ring->fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof(value)) ||
	    (!by_flow &&
	     setsockopt(ring->fd, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof(program))) ||
	    getsockopt(ring->fd, SOL_PACKET, PACKET_FANOUT, &value, &size)) {
		return -errno;
	}
	*leg = (struct ring_leg){
		.index = ring->index, .joined = 1, .id = (uint16_t)value, .type = type};
	return 0;
}

bool ring_group_is_turn(struct ring_group *group, const struct ring_options *options, int index)
{
	struct ring_leg *leg = &group->legs[options->leg];
	bool turn;

	pthread_mutex_lock(&group->lock);
	turn = !options->worker || (leg->index == index && leg->joined == options->worker);
	pthread_mutex_unlock(&group->lock);
	return turn;
}

int ring_group_join(struct ring_group *group, const struct ring_options *options, struct ring *ring)
{
	struct ring_leg *leg = &group->legs[options->leg];
	int err = 0;

	pthread_mutex_lock(&group->lock);
	if (!options->worker) {
		err = begin_group(ring, leg, options->by_flow);
	} else if (leg->index != ring->index || leg->joined != options->worker) {
		err = -EAGAIN;
	} else {
		int value = leg->id | leg->type << 16;

		err = setsockopt(ring->fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof(value))
			      ? -errno
			      : 0;
		leg->joined += !err;
	}
	pthread_mutex_unlock(&group->lock);
	return err;
}
