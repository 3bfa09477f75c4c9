/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XDP program of an interface, which hands every frame of a receive queue to the socket of
 * AF_XDP that has joined for it; the host itself sees none of them any more. It is attached by a
 * link of BPF (kernel 5.9), so it goes with the process, however that ends. Shared by the workers:
 * the first one opens and attaches it. Only before threads run.
 */
#ifndef BH_GATE_CAPTURE_XDP_LEG_H
#define BH_GATE_CAPTURE_XDP_LEG_H

#include "base/diag.h"

#include <stdbool.h>

struct xdp_leg {
	int map, program, link; /* -1: none */
	unsigned int index;	/* of the interface */
	unsigned int queues;
};
struct xdp_group {
	struct xdp_leg legs[2];
};

void xdp_group_init(struct xdp_group *group);
void xdp_group_done(struct xdp_group *group);
/* Refuses what would lose the host, a bridge or tags: an interface with addresses, in a bridge,
 * with tags that the card takes out. `only`: frames of a queue without socket are dropped, else
 * the host has them. */
[[nodiscard]] int xdp_leg_open(struct xdp_leg *ret, const char *name, bool only,
			       struct bh_diag *diag);
[[nodiscard]] int xdp_leg_join(const struct xdp_leg *leg, const char *name, unsigned int queue,
			       int fd, struct bh_diag *diag);
/* In the driver: the stack's own way costs more than a packet socket. */
[[nodiscard]] int xdp_leg_attach(struct xdp_leg *leg, const char *name, struct bh_diag *diag);

#endif
