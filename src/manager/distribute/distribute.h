/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From inventory and policies to what each host's kernel should hold, and getting it there.
 *
 * Theory of operation
 *   What a host should hold is an image of shared segments (model/image.h): `set:<identity>.<dir>`,
 *   `net:<number>`, `vm:<uuid>`. A change is made in two steps within one run of the loop: stage()
 *   builds the new segments and images beside those in force, promote() swaps them in, abandon()
 *   forgets them. A policy commit is checked against capacities and written to the store in
 *   between; what the inventory changed (flush) is promoted at once, because a VM that exists can't
 *   be refused. Getting it there is sync.c: per host one delta in flight; what changes meanwhile
 *   goes with the next.
 *
 * Loop thread only.
 */
#ifndef BH_MANAGER_DISTRIBUTE_DISTRIBUTE_H
#define BH_MANAGER_DISTRIBUTE_DISTRIBUTE_H

#include "manager/inventory/inventory.h"
#include "manager/rulebook/rulebook.h"

#include <uv.h>

/* An image with a count of references; immutable. */
struct manager_image {
	struct bh_image *image;
	unsigned int refs;
	uint64_t seq;	    /* grows with each image that was promoted for any host */
	uint32_t revision;  /* of the policies in it */
	uint64_t commit_ns; /* monotonic: when it became what should be */
};
void manager_image_unref(struct manager_image *image); /* NULL is fine */

enum manager_sync_state {
	MANAGER_SYNC_NEVER, /* the host never said hello */
	MANAGER_SYNC_OFFLINE,
	MANAGER_SYNC_OK, /* installed = intended */
	MANAGER_SYNC_SENDING,
	MANAGER_SYNC_FULL,
	MANAGER_SYNC_FAILED,
};
const char *manager_sync_state_name(enum manager_sync_state state);

struct manager_sync {
	struct manager_distribute *dist;
	struct manager_host *host;
	struct manager_image *intended;
	struct manager_image *installed; /* what it has, when that is one of ours; else NULL */
	struct manager_image *sending;	 /* in flight, else NULL */
	unsigned int attempt;		 /* which one; answers to older ones don't count */
	struct manager_image *staged;
	struct bh_hash told; /* the hash that the host named last */
	bool told_known;
	bool whole; /* send all, not a delta */
	bool failed, full;
	char problem[256];
	unsigned int tries;
	uint64_t retry_ns, ping_ns; /* monotonic: not before */
	bool pinging;
	unsigned int misses; /* pings in a row without an answer */
	uint64_t installed_wall_ns;
	uint64_t install_us, sync_us;
	uint32_t revision; /* installed */
};
enum manager_sync_state manager_sync_state(const struct manager_sync *sync);
bool manager_sync_in_sync(const struct manager_sync *sync);

/* How a message goes to a host; a dummy in tests. */
struct manager_carrier {
	/* Sends the encoded delta; exactly one manager_sync_answer() follows, never before it
	 * returned. */
	void (*apply)(struct manager_sync *sync, const struct manager_image *image,
		      const struct bh_delta *delta, void *arg);
	/* Exactly one manager_sync_pong() follows. */
	void (*ping)(struct manager_sync *sync, void *arg);
	bool (*up)(void *arg);
	void *arg;
};

struct manager_distribute;

struct manager_distribute_options {
	uv_loop_t *loop; /* NULL in tests: nothing runs by itself */
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_carrier carrier;
	enum bh_policy_action provider_default;
};
struct manager_distribute *manager_distribute_new(const struct manager_distribute_options *options);
/* Ends every wait and closes loop handles. */
void manager_distribute_close(struct manager_distribute *dist);
void manager_distribute_free(struct manager_distribute *dist);

/* Brings hosts to what the inventory says; soon, many changes together. */
void manager_distribute_schedule(struct manager_distribute *dist);
/* Now. Fails, and tries again by itself, when the store does. */
[[nodiscard]] int manager_distribute_flush(struct manager_distribute *dist, struct bh_diag *diag);

/* ---- a policy commit ---- */
/* Builds what `set` would make of the hosts. Everything must be flushed. */
[[nodiscard]] int manager_distribute_stage(struct manager_distribute *dist,
					   const struct bh_policy_set *set, struct bh_diag *diag);
/* After stage: hosts whose tables are too small: [{"host", "table", "need", "capacity"}]; owned,
 * NULL when all fit. */
json_t *manager_distribute_overflow(struct manager_distribute *dist);
/* Without a stage: whether what is to be on this host now would fit; everything that it needs must
 * be built already. As above. */
json_t *manager_distribute_overflow_at(struct manager_host *host);
/* After stage: [{"host", "records"}] of what would change; owned. */
json_t *manager_distribute_preview(struct manager_distribute *dist);
/* set is what the rulebook has now. */
void manager_distribute_promote(struct manager_distribute *dist, const struct bh_policy_set *set,
				uint32_t revision);
void manager_distribute_abandon(struct manager_distribute *dist);
/* The compiler over the policies in force (or another set; free it), for explain and diff. */
struct bh_policy_compiler *manager_distribute_compiler(struct manager_distribute *dist,
						       const struct bh_policy_set *set);
const struct bh_policy_universe *manager_distribute_universe(struct manager_distribute *dist);

/* ---- hosts ---- */
/* A host said hello, or is new: makes its sync state. hash NULL: not told. */
void manager_distribute_hello(struct manager_distribute *dist, struct manager_host *host,
			      const struct bh_hash *hash);
/* It asked for everything. */
void manager_distribute_resync(struct manager_distribute *dist, struct manager_host *host,
			       const struct bh_hash *hash);
/* Any sign of life. */
void manager_distribute_seen(struct manager_distribute *dist, struct manager_host *host);
/* Before the host is removed. */
void manager_distribute_forget(struct manager_distribute *dist, struct manager_host *host);
/* The bus came or went. */
void manager_distribute_bus(struct manager_distribute *dist, bool up);
/* Called by the loop's timer; tests call it. */
void manager_distribute_tick(struct manager_distribute *dist, uint64_t mono_ns);

struct manager_answer {
	int err; /* 0, < 0 transport, > 0 refused: then code and text */
	const char *code, *text;
	struct bh_hash hash;
	bool has_hash;
	uint64_t install_us;
	unsigned int attempt; /* manager_sync.attempt when it was sent */
};
void manager_sync_answer(struct manager_sync *sync, const struct manager_answer *answer);
void manager_sync_pong(struct manager_sync *sync, const struct manager_answer *answer);

/* ---- waiting ---- */
/* done: every host of the wait has what it waits for, or the time is over (all false). Called once,
 * never before manager_distribute_wait() returned; the wait is gone then. */
typedef void manager_wait_fn(bool all, void *arg);
struct manager_wait;
/* For what is intended now at these hosts. */
struct manager_wait *manager_distribute_wait(struct manager_distribute *dist,
					     struct manager_host *const *hosts, size_t count,
					     uint64_t timeout_ms, manager_wait_fn *fn, void *arg);
void manager_wait_cancel(struct manager_distribute *dist, struct manager_wait *wait);
/* Hosts whose intended image was made by the last promote. Owned array. */
struct manager_host **manager_distribute_in_scope(struct manager_distribute *dist,
						  size_t *ret_count);

/* Follows the commit that the last promote brought: events `policy.enforced`, `policy.pending`. */
void manager_enforce_track(struct manager_distribute *dist, uint32_t revision);

/* ---- addresses that two VMs claim ---- */
size_t manager_conflict_count(const struct manager_inventory *inv);
/* Those that a VM takes part in: [{"address", "network", "vlan", "vm", "vm_name", "winner",
 * "winner_name", "why"}]; vm is who does not have it. Owned. */
json_t *manager_conflicts_of(const struct manager_inventory *inv, const struct manager_vm *vm);

/* ---- internal to distribute/ ---- */
/* What is found now; tells what is new and what is over. now is taken over. */
void manager_conflicts_set(const struct manager_inventory *inv, struct manager_network *net,
			   struct manager_conflicts *now);
struct manager_enforce;
struct manager_wait_host {
	const struct manager_host *host; /* when done, a name only: it may be gone */
	uint64_t seq;
	bool done;
};
struct manager_wait {
	struct manager_wait_host *hosts; /* by address */
	size_t count, open;
	uint64_t deadline_ns;
	manager_wait_fn *fn;
	void *arg;
	struct manager_wait *prev, *next;
};
struct manager_distribute {
	struct manager_distribute_options o;
	struct bh_policy_universe *universe;
	struct bh_policy_compiler *compiler; /* over compiled_set; NULL when stale */
	const struct bh_policy_set *compiled_set;
	bool dirs[2];	     /* which sets can differ at all, by direction */
	bool compile_failed; /* some set is not what it should be: compile both directions */
	bool first;	     /* nothing was compiled yet */
	bool universe_stale;
	uint64_t seq;
	uint64_t scope_seq; /* seq before the last promote */
	uint32_t revision;
	struct manager_wait *waits;
	struct manager_enforce *enforcing;
	uv_timer_t timer;
	uv_timer_t soon;
	bool scheduled;
	uint64_t save_retry_ns;
	unsigned int ping_slot;
};
void manager_build_networks(struct manager_distribute *dist);
/* Do the VMs of this identity get the same flags and VLANs from both sets? */
bool manager_build_grant_same(const struct manager_identity *identity,
			      const struct bh_policy_set *a, const struct bh_policy_set *b);
void manager_build_vm(struct manager_distribute *dist, struct manager_vm *vm,
		      const struct bh_policy_set *set);
struct bh_image *manager_build_image(struct manager_host *host);
/* What is staged, else what is in force. */
struct manager_identity *manager_staged_identity(const struct manager_vm *vm);
void manager_sync_kick(struct manager_sync *sync);
void manager_wait_check(struct manager_distribute *dist, const struct manager_sync *sync);
void manager_enforce_end(struct manager_distribute *dist);
void manager_wait_end(struct manager_distribute *dist); /* tells all of them */
void manager_wait_forget(struct manager_distribute *dist, const struct manager_host *host);
void manager_wait_tick(struct manager_distribute *dist, uint64_t mono_ns);

#endif
