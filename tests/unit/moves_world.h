/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two hosts for tests of connections that travel: two dataplanes over the devices of one world
 * (dataplane_world.h), frames go into their programs by BPF_PROG_TEST_RUN. Guest A is the VM that
 * moves from `src` to `dst`, B a neighbour, OUT (10.77.0.200) is somewhere outside. Each test
 * begins with two_hosts() and ends with clean_up(), so nothing is left over. Needs root; one
 * thread.
 */
#ifndef TESTS_MOVES_WORLD_H
#define TESTS_MOVES_WORLD_H

#include "dataplane_world.h"
#include "host/dataplane/internal.h"
#include "kit.h"

#define MOVER 300u
#define OTHER 301u
#define PORT  80
#define VLAN  12

enum { A, B, OUT };
extern const uint8_t macs[3][6];
extern const char *const addrs4[3], *const addrs6[3];

/* One host: its dataplane and what it holds. */
struct host {
	char pin_dir[128];
	struct hostd_dp *dp;
	struct bh_image *image;
	bool newcomer; /* somebody else's VM came, who may do nothing */
};
extern struct world world;
extern struct host src, dst;
extern struct hostd_dp_move_nics nics; /* the VM's */

struct conns {
	BH_VEC(struct bh_capsule_conn) list;
};

/* ---- hosts ---- */
/* Both with their policies, A plugged in at src. */
void two_hosts(void);
int setup(void **state);
int clean_up(void **state);
int teardown(void **state);
void open_host(struct host *h, const char *name, void (*change)(struct hostd_dp_options *o));
/* As the next process does. */
void open_again(struct host *h);
void forget_host(struct host *h);
/* Records of A and B; everything is allowed but one port, or (`strict`) nothing that a VM receives.
 */
void must_hold(struct host *h, bool mover, bool other, bool strict);
void plug(struct host *h, int guest);
void unplug(struct host *h, int guest);
uint64_t counted(struct host *h, int guest, enum bh_reason reason);
uint32_t charged(struct host *h, int guest);
uint32_t index_of(struct host *h, int guest);
unsigned int tickets_that_run(struct host *h);

/* ---- frames ---- */
/* What a packet of a flow looks like. */
struct flow {
	bool v6;
	uint8_t proto;
	int peer; /* of A */
	uint16_t sport, vlan;
	bool inwards; /* the peer opened it */
};
void frame_of(const struct flow *flow, bool reply, uint8_t tcp_flags, struct kit_frame *f);
/* A guest sends; with what mark it goes on is in *ret_kind, which may be NULL. */
bool sends(struct host *h, int guest, const struct kit_frame *f, uint32_t *ret_kind);
/* A guest gets what entered by the uplink. */
bool gets(struct host *h, int guest, const struct kit_frame *f);
/* One packet of the flow at the tap of A, which sends or gets it. */
bool passes(struct host *h, const struct flow *flow, bool reply, uint8_t tcp_flags);
void must_open_tcp(struct host *h, const struct flow *flow);
void open_many(struct host *h, unsigned int count); /* TCP from port 43000 on */
/* Flows between A and B; one packet of them at the tap of who sends it, or of who gets it from
 * outside. */
extern const struct flow pair, pair_udp, pair_back;
bool at_sender(struct host *h, const struct flow *f, bool reply, uint8_t flags, uint32_t *ret_kind);
bool at_receiver(struct host *h, const struct flow *f, bool reply, uint8_t flags);
void must_open_pair(struct host *h, const struct flow *f);

/* ---- moving ---- */
/* The caller frees ret->list. */
void walk(struct host *h, struct conns *ret);
void collect(const struct bh_capsule_conn *conn, void *arg); /* into a struct conns */
size_t count_of(struct host *h);
struct hostd_dp_import_result import(struct host *h, const struct conns *conns);
/* What the source has, the target holds; returns how many. */
size_t move_all(void);
const struct bh_capsule_conn *conn_of_port(const struct conns *conns, uint16_t port);

#endif
