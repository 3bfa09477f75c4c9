/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose   Two hosts as two dataplanes of one kernel, three VMs on them, and packets that go from
 *           tap to tap by BPF_PROG_TEST_RUN; one VM can move from the one to the other as
 *           docs/migration.md says, by real capsules. For comparing a VM that moves with one that
 *           does not.
 * Ownership twin_open gives, twin_close takes back. Devices are the caller's (dataplane_world.h).
 * Threads   One.
 */
#ifndef BH_TESTS_BPF_TWIN_H
#define BH_TESTS_BPF_TWIN_H

#include "host/dataplane/dataplane.h"
#include "kit.h"
#include "policy/compile.h"

/* Who can be at an end of a packet. */
enum twin_actor {
	TWIN_MOVER, /* starts on host 0 */
	TWIN_NEAR,  /* stays on host 0 */
	TWIN_THERE, /* stays on host 1 */
	TWIN_FAR,   /* a VM on a host that is not here: by the uplink */
	TWIN_OUT,   /* nobody's VM */
	TWIN_ACTORS
};
#define TWIN_VMS      3
#define TWIN_TAPS     4 /* devices per pair of hosts: the mover has one on each */
#define TWIN_VLAN     12
#define TWIN_IDENTITY 300u /* of the first actor; the others follow */
#define TWIN_LEARNED  "10.77.0.70"

extern const char *const twin_addr4[TWIN_ACTORS], *const twin_addr6[TWIN_ACTORS];
extern const uint8_t twin_mac[TWIN_ACTORS][6];

struct twin_host {
	struct hostd_dp *dp;
	struct bh_image *image;
	uint32_t tap[TWIN_VMS];
	bool plugged[TWIN_VMS];
};
struct twin {
	struct twin_host host[2];
	int place[TWIN_VMS];
	uint32_t bridge;
	uint64_t dropped[BH_REASON_COUNT]; /* as of the last look */
	bool moving;			   /* from place[TWIN_MOVER] to the other host */
	bool early;			   /* its device at the target is bound already */
};

/* taps: TWIN_TAPS devices; name is part of the pin path under dir. */
void twin_open(struct twin *t, const char *dir, const char *name, const uint32_t *taps,
	       uint32_t bridge);
void twin_close(struct twin *t);
/* Everything as at the beginning: no connections, the mover on host 0. */
void twin_reset(struct twin *t);
void twin_limit(struct twin *t, uint32_t ct_per_nic); /* 0: none */
/* One commit on both hosts. */
void twin_commit(struct twin *t, struct bh_policy_compiler *compiler);
/* The mover learns TWIN_LEARNED. */
void twin_learn(struct twin *t);

struct twin_outcome {
	bool delivered;
	bool halfway;	 /* passed the first tap and not the second one */
	bool answered;	 /* RST or ICMP error sent */
	uint32_t reason; /* enum bh_reason of the drop */
};
/* The whole way of a frame from one actor to another. */
struct twin_outcome twin_deliver(struct twin *t, enum twin_actor from, enum twin_actor to,
				 const struct kit_frame *frame);

/* ---- moving: begin, any number of syncs, end or cancel ---- */
void twin_move_begin(struct twin *t, bool early);
void twin_move_sync(struct twin *t); /* what changed meanwhile */
/* again: walk once more, as hostd does. forget: the source's image loses the VM. */
void twin_move_end(struct twin *t, bool again, bool forget);
void twin_move_cancel(struct twin *t);

#endif
