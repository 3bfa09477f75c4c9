/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small world for dataplane tests: one host namespace (ours, with mounts of its own), a bridge
 * br0 with 10.77.0.254, guests behind veth pairs tap0..n (10.77.0.<n+1>, MAC 02:77:00:00:00:<n+1>),
 * optionally an outside behind up0 (10.77.0.200). Everything goes with the process. Needs root; one
 * world per process.
 */
#ifndef TESTS_DATAPLANE_WORLD_H
#define TESTS_DATAPLANE_WORLD_H

#include "host/dataplane/dataplane.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WORLD_GUESTS_MAX 8
#define WORLD_NET	 7u
#define WORLD_TENANT	 5u
#define WORLD_OUTSIDE	 (-1) /* as a guest number */
#define WORLD_HOST	 (-2)

struct world {
	char dir[64];
	char pin_dir[96];
	int guests;
	pid_t guest_pid[WORLD_GUESTS_MAX];
	pid_t outside_pid;
	uint32_t tap[WORLD_GUESTS_MAX];
	uint32_t bridge, uplink;
	int host_ns;
};

/* Skips the whole program (exit 77) when not root. */
void world_require_root(void);
/* Leaves for a namespace of our own; guests may be 0 (maps only). */
void world_init(struct world *w, int guests, bool outside);
void world_done(struct world *w);
/* What main() returns: the tests (an array of struct CMUnitTest) run in one world, which is w.
 * world_clean_up() after a test removes what a failed one left. */
#define world_run(w, guests, outside, tests)                                                       \
	world_run_group(&(struct world_plan){w, guests, outside}, tests,                           \
			sizeof(tests) / sizeof((tests)[0]))
struct world_plan {
	struct world *world;
	int guests;
	bool outside;
};
struct CMUnitTest;
int world_run_group(const struct world_plan *plan, const struct CMUnitTest *tests, size_t count);
int world_clean_up(void **state);
/* Runs a command line; fails the test when it fails. */
void world_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void world_options(const struct world *w, struct hostd_dp_options *ret_options);
struct hostd_dp_nic_key world_key(int guest);
void world_addr(int guest, uint8_t ret_addr[16]);
/* Binds every guest, the bridge and the uplink. */
void world_bind(struct world *w, struct hostd_dp *dp);

/* UDP socket in a guest's namespace, bound to port (0: any). Receives wait at most 2 s. */
int world_udp(const struct world *w, int guest, uint16_t port);
void world_send(int fd, int to_guest, uint16_t port, uint64_t value);
/* The next datagram's value; 0 when none came in time. */
uint64_t world_recv(int fd);
/* A TCP connection from one guest to a port of another; both ends wait at most 10 s for data. */
void world_tcp(const struct world *w, int from, int to, uint16_t port, int ret_fd[2]);
/* Sends one datagram to `port` and then markers to the allowed port until one arrives; true when
 * the first arrived. */
bool world_passes(const struct world *w, int from, int to, uint16_t port, uint16_t marker_port);

/* ---- images by hand ---- */
struct bh_image *image_of(struct bh_segment *seg); /* takes over seg: seals it */
void add_nic(struct bh_segment *seg, int guest, uint32_t identity, uint32_t flags);
void add_set(struct bh_segment *seg, uint32_t set, uint8_t action, uint16_t mask);
/* service port exact or any (port 0), remote any or identity */
void add_row(struct bh_segment *seg, uint32_t set, uint32_t remote, uint16_t port, uint32_t rank,
	     uint8_t action);
void add_proto_row(struct bh_segment *seg, uint32_t set, uint32_t remote, uint8_t proto,
		   uint16_t port, uint32_t rank); /* allows */
uint16_t row_mask(uint32_t remote, uint16_t port);
void add_cidr(struct bh_segment *seg, uint32_t set, const char *cidr, uint32_t class_id);
void add_range(struct bh_segment *seg, uint32_t set, uint8_t proto, uint8_t bits, uint16_t port,
	       uint32_t class_id);
/* Applies the difference; frees `from` and returns `to`. */
struct bh_image *must_apply(struct hostd_dp *dp, struct bh_image *from, struct bh_image *to);

#endif
