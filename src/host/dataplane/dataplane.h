/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user side of the kernel dataplane: loads or adopts the BPF programs and maps, attaches them
 * to ports, installs desired state as whole commits, reads back what the kernel holds.
 *
 * Theory of operation
 *   Truth    The kernel's maps are the state; this module keeps only what can't be asked cheaply
 *            (which NIC has which index, prefix lists, counts, the hash) and builds all of it from
 *            the maps at open. So a process that is killed at any instruction leaves nothing
 *            behind that the next one doesn't understand.
 *   Commit   Read the touched keys -> check capacity -> write the slot that packets don't see ->
 *            read back -> flip bh_ctl.gen -> answer. Later (hostd_dp_settle, at latest before the
 *            next commit): wait for a grace period, copy the new slot over the old one, delete
 *            what is dead, wait again.
 *   Local    Ports, devices, MAC table, host addresses and learned addresses belong to this host
 *            alone; they are not part of the hash.
 *
 * Ownership: one struct hostd_dp per pin folder (guarded by a lock file). Thread rule: one thread.
 * Calls block, but boundedly: a commit costs about 3 us per changed record, settling up to two
 * grace periods (10-50 ms each).
 */
#ifndef HOSTD_DATAPLANE_H
#define HOSTD_DATAPLANE_H

#include "base/diag.h"
#include "bpf/abi.h"
#include "model/capsule.h"
#include "model/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hostd_dp;

/* > 0: errors that the caller handles. */
enum hostd_dp_error {
	HOSTD_DP_FULL = 1, /* does not fit; see hostd_dp_report.need; nothing changed */
	HOSTD_DP_BUSY = 2, /* another process holds this pin folder */
	HOSTD_DP_INVALID =
		3,	   /* the records contradict each other (diag says how); nothing changed */
	HOSTD_DP_MORE = 4, /* no error: call the step again */
};

enum hostd_dp_attach { HOSTD_DP_ATTACH_AUTO, HOSTD_DP_ATTACH_TCX, HOSTD_DP_ATTACH_CLSACT };

/* Tables whose size is limited. `nics` counts from index 1: size n holds n - 1 NICs. */
enum hostd_dp_table {
	HOSTD_DP_NICS,
	HOSTD_DP_NIC_ADDRS,
	HOSTD_DP_NIC_VLANS,
	HOSTD_DP_ADDRS,
	HOSTD_DP_SETS,
	HOSTD_DP_ROWS,
	HOSTD_DP_CIDRS,
	HOSTD_DP_RANGES,
	HOSTD_DP_CT4,
	HOSTD_DP_CT6,
	HOSTD_DP_FRAGS,
	HOSTD_DP_STATS,
	HOSTD_DP_RULE_STATS,
	HOSTD_DP_EVENTS, /* bytes, a power of two */
	HOSTD_DP_TABLE_COUNT
};
const char *hostd_dp_table_name(enum hostd_dp_table table); /* "nics", ... */

struct hostd_dp_options {
	const char *pin_dir; /* e.g. /sys/fs/bpf/bulkhead/v1; created; a bpffs is mounted when there
				is none */
	enum hostd_dp_attach attach;
	uint32_t size[HOSTD_DP_TABLE_COUNT]; /* used on first start only */
	/* Control word, written at every open (gen and mark nonce are kept for ever). */
	uint32_t timeout_s[BH_TIMEOUT_COUNT];
	uint32_t ct_per_nic;
	uint32_t reject_pps;
	uint32_t event_pps;
	bool fastpath;
};
void hostd_dp_options_init(struct hostd_dp_options *ret_options); /* defaults */

struct hostd_dp_open_info {
	bool adopted;	       /* maps were found pinned */
	bool tcx;	       /* attach mode in use */
	bool recovered;	       /* an interrupted commit was finished or undone */
	unsigned int replaced; /* ports whose programs were replaced by ours */
	unsigned int gone;     /* ports whose device is gone; forgotten */
	char notice[512];      /* for the log: sizes that differ from the options, "" when none */
};

/* Loads or adopts. 0, HOSTD_DP_BUSY, or < 0. On error nothing that ran before has changed. ret_info
 * may be NULL. */
[[nodiscard]] int hostd_dp_open(const struct hostd_dp_options *options, struct hostd_dp **ret_dp,
				struct hostd_dp_open_info *ret_info, struct bh_diag *diag);
/* Leaves everything running in the kernel. NULL is fine. Settles first when a commit is pending. */
void hostd_dp_close(struct hostd_dp *dp);
/* Detaches all ports, unpins all maps and frees dp: the host is as if we had never been there. */
[[nodiscard]] int hostd_dp_destroy(struct hostd_dp *dp, struct bh_diag *diag);
/* The same without opening, whatever version and layout it is that stands under pin_dir. 0 also
 * when there is nothing; HOSTD_DP_BUSY. */
[[nodiscard]] int hostd_dp_remove(const char *pin_dir, struct bh_diag *diag);

/* ---- desired state ---- */
struct hostd_dp_usage {
	uint32_t used;
	uint32_t size;
};
struct hostd_dp_report {
	struct bh_hash hash;		     /* of what the kernel holds now */
	uint32_t gen;			     /* generation that packets see */
	uint64_t install_ns;		     /* from the call to the flip */
	size_t changed;			     /* records that really differed */
	uint32_t need[HOSTD_DP_TABLE_COUNT]; /* HOSTD_DP_FULL: entries needed, 0 where it fits */
};
/* Installs a delta as one commit; records that are there already cost a look only. 0,
 * HOSTD_DP_FULL, HOSTD_DP_INVALID or < 0 (packets stay on the old generation). ret_report may be
 * NULL; hash and gen are set always. */
[[nodiscard]] int hostd_dp_apply(struct hostd_dp *dp, const struct bh_delta *delta,
				 struct hostd_dp_report *ret_report, struct bh_diag *diag);
/* The same in steps, for whoever has a loop to turn. begin copies what it needs of the delta; each
 * step does about `budget` record operations (each record is planned, written and read back, about
 * 2 us each) and returns HOSTD_DP_MORE until it returns as hostd_dp_apply does. Packets see the old
 * generation until the last step. Whatever else of this module is called meanwhile works: what only
 * looks sees the old state; what changes something (bind, unbind, set_open, apply, sync, changed
 * host addresses) first does the rest of the commit in one go, whose result the next step tells;
 * verify waits; close takes back. begin returns -EBUSY until the last result was told. */
[[nodiscard]] int hostd_dp_apply_begin(struct hostd_dp *dp, const struct bh_delta *delta,
				       struct bh_diag *diag);
[[nodiscard]] int hostd_dp_apply_step(struct hostd_dp *dp, size_t budget,
				      struct hostd_dp_report *ret_report, struct bh_diag *diag);
/* Takes back what is in work; does nothing when nothing is. */
void hostd_dp_apply_abort(struct hostd_dp *dp);
bool hostd_dp_working(const struct hostd_dp *dp); /* steps are left */
/* Makes the kernel hold exactly this image, whatever it holds now, touching only what differs. For
 * adoption and for repair. Reads every table (about 0.3 s for 100,000 records). */
[[nodiscard]] int hostd_dp_sync(struct hostd_dp *dp, const struct bh_image *image,
				struct hostd_dp_report *ret_report, struct bh_diag *diag);
/* Finishes the last commit: call it when the answer is out. Does nothing when nothing is pending.
 */
[[nodiscard]] int hostd_dp_settle(struct hostd_dp *dp, struct bh_diag *diag);
bool hostd_dp_pending(const struct hostd_dp *dp);
/* Hash of the image records in the kernel, as read at open and kept with every commit. Borrowed. */
const struct bh_hash *hostd_dp_hash(const struct hostd_dp *dp);
uint32_t hostd_dp_gen(const struct hostd_dp *dp);
void hostd_dp_usage(const struct hostd_dp *dp,
		    struct hostd_dp_usage ret_usage[HOSTD_DP_TABLE_COUNT]);

/* Connections that count against the shares of this VM's NICs. */
uint32_t hostd_dp_charged(const struct hostd_dp *dp, const uint8_t vm[16]);

/* ---- ports ---- */
struct hostd_dp_nic_key {
	uint8_t vm[16];
	uint8_t mac[6];
};
struct hostd_dp_device {
	uint32_t ifindex;
	uint32_t bridge; /* ifindex of its bridge; 0: routed */
	/* BH_NIC_FASTPATH, BH_NIC_PICKUP: as the last bind says, also one of a process before us
	 * (hostd_dp_nic_status.flags tells); other bits are left out */
	uint32_t host_flags;
};
/* Binds a NIC to its tap or veth. Both programs are attached before it can be fed; until a
 * BH_REC_NIC for this key is installed the device passes nothing (or everything, see set_open);
 * when one is there already it is fed at once. Repeating a binding is cheap and repairs what is
 * missing of it; another device for the same NIC replaces the old one. -EBUSY when the device
 * belongs to another NIC, -ENODEV when it does not exist. */
[[nodiscard]] int hostd_dp_bind(struct hostd_dp *dp, const struct hostd_dp_nic_key *nic,
				const struct hostd_dp_device *device, struct bh_diag *diag);
/* Detaches and forgets the device (which may be gone already); the NIC's records stay. 0 when it
 * was not bound. A device that lives on is no longer fed: what it sends is dropped at every other
 * port. */
[[nodiscard]] int hostd_dp_unbind(struct hostd_dp *dp, const struct hostd_dp_nic_key *nic,
				  struct bh_diag *diag);
/* A port of a protected bridge that leads outside (bridge = ifindex of the bridge), or a routed
 * uplink (0). */
[[nodiscard]] int hostd_dp_bind_uplink(struct hostd_dp *dp, uint32_t ifindex, uint32_t bridge,
				       struct bh_diag *diag);
/* The bridge device itself: the host's own stack on that bridge. */
[[nodiscard]] int hostd_dp_bind_bridge(struct hostd_dp *dp, uint32_t ifindex, struct bh_diag *diag);
/* Detaches whatever stands on that device. 0 when nothing does. */
[[nodiscard]] int hostd_dp_unbind_port(struct hostd_dp *dp, uint32_t ifindex, struct bh_diag *diag);
/* `birth: open`: while no record feeds it, the NIC passes everything (counted). Off again when it
 * is fed. */
[[nodiscard]] int hostd_dp_set_open(struct hostd_dp *dp, const struct hostd_dp_nic_key *nic,
				    bool open, struct bh_diag *diag);
/* Forgets bindings whose device is gone. Returns how many, or < 0. */
[[nodiscard]] int hostd_dp_reap(struct hostd_dp *dp, struct bh_diag *diag);

struct hostd_dp_nic_status {
	uint32_t index;	  /* 0: unknown NIC */
	uint32_t ifindex; /* 0: not bound */
	uint32_t bridge;
	uint32_t net;
	uint32_t identity;
	uint32_t flags; /* of the slot that packets see */
	bool attached;	/* both programs stand on the device, asked from the kernel just now */
	bool fed;	/* identity is set in the generation that packets see */
	bool open;
};
/* Everything in it is read from the kernel. A NIC is protected when attached && fed. */
[[nodiscard]] int hostd_dp_nic_status(struct hostd_dp *dp, const struct hostd_dp_nic_key *nic,
				      struct hostd_dp_nic_status *ret_status, struct bh_diag *diag);
/* The NIC that an index in events and counters means; false when unknown. */
bool hostd_dp_nic_of_index(const struct hostd_dp *dp, uint32_t index,
			   struct hostd_dp_nic_key *ret_nic);
/* Every NIC with a record or a device; what the module knows, without asking the kernel about
 * programs. */
typedef void hostd_dp_nic_fn(const struct hostd_dp_nic_key *nic,
			     const struct hostd_dp_nic_status *status, void *arg);
void hostd_dp_each_nic(const struct hostd_dp *dp, hostd_dp_nic_fn *fn, void *arg);
struct hostd_dp_port {
	uint32_t ifindex;
	struct bh_port port;
};
typedef void hostd_dp_port_fn(const struct hostd_dp_port *port, void *arg);
void hostd_dp_each_port(const struct hostd_dp *dp, hostd_dp_port_fn *fn, void *arg);

/* What stands on that device; false when nothing does. ret_port may be NULL. */
bool hostd_dp_port_get(const struct hostd_dp *dp, uint32_t ifindex, struct bh_port *ret_port);

/* A port of a protected bridge that nobody feeds (yet): the bridge learns no addresses behind it,
 * and with `programs` nothing passes it at all. Binding the device ends it, and so does
 * hostd_dp_remove: learning is as it was. Cheap to repeat. A hold outlives the process. -EBUSY when
 * the device is bound, -ENODEV when it is no port of a bridge. */
[[nodiscard]] int hostd_dp_hold(struct hostd_dp *dp, uint32_t ifindex, bool programs,
				struct bh_diag *diag);
/* 0 also when it was not held, and when the device is gone. */
[[nodiscard]] int hostd_dp_unhold(struct hostd_dp *dp, uint32_t ifindex, struct bh_diag *diag);
typedef void hostd_dp_held_fn(uint32_t ifindex, void *arg);
void hostd_dp_each_held(const struct hostd_dp *dp, hostd_dp_held_fn *fn, void *arg);

/* The host's own addresses on a network get identity HOST there. Replaces the list of that network;
 * not part of the hash. An image record for the same address is kept aside while the host has it.
 */
[[nodiscard]] int hostd_dp_set_host_addrs(struct hostd_dp *dp, uint32_t net,
					  const uint8_t (*addrs)[16], size_t count,
					  struct bh_diag *diag);

/* ---- looking ---- */
enum hostd_dp_drift_kind {
	HOSTD_DP_DRIFT_MISSING, /* a record of the image is not in the kernel */
	HOSTD_DP_DRIFT_CHANGED, /* ... has another value there */
	HOSTD_DP_DRIFT_EXTRA,	/* the kernel has one that is not in the image */
	HOSTD_DP_DRIFT_SLOTS,	/* the two generations differ although no commit is pending */
	HOSTD_DP_DRIFT_PORT,	/* a port's programs or entries are gone or not ours */
	HOSTD_DP_DRIFT_CTL,	/* the control word was changed */
};
struct hostd_dp_drift {
	enum hostd_dp_drift_kind kind;
	struct bh_rec rec; /* MISSING, CHANGED: as wanted; EXTRA, SLOTS: as found */
	uint32_t ifindex;  /* PORT */
};
typedef void hostd_dp_drift_fn(const struct hostd_dp_drift *drift, void *arg);
/* One slice of a full read-back: looks at about `budget` entries, goes on where the last slice
 * ended and starts anew after a commit. 0: a round is complete and the kernel holds what it should;
 * 1: call again; 2: a round is complete and it does not: see compare. */
[[nodiscard]] int hostd_dp_verify(struct hostd_dp *dp, size_t budget, struct bh_diag *diag);
/* Compares everything with the image and names each difference. Returns their number, or < 0. */
[[nodiscard]] int hostd_dp_compare(struct hostd_dp *dp, const struct bh_image *image,
				   hostd_dp_drift_fn *fn, void *arg, struct bh_diag *diag);

struct hostd_dp_counter {
	uint32_t nic; /* index, 0 for ports that are not NICs */
	enum bh_reason reason;
	struct bh_counter value;
};
typedef void hostd_dp_counter_fn(const struct hostd_dp_counter *counter, void *arg);
[[nodiscard]] int hostd_dp_counters(struct hostd_dp *dp, hostd_dp_counter_fn *fn, void *arg,
				    struct bh_diag *diag);
const char *hostd_dp_reason_name(unsigned int reason); /* "pass", ...; "unknown" */

typedef void hostd_dp_rule_counter_fn(const struct bh_rule_stat_key *key,
				      const struct bh_counter *value, void *arg);
[[nodiscard]] int hostd_dp_rule_counters(struct hostd_dp *dp, hostd_dp_rule_counter_fn *fn,
					 void *arg, struct bh_diag *diag);

struct hostd_dp_connection {
	uint32_t net, vlan;
	uint8_t src[16], dst[16]; /* src opened it */
	uint16_t sport, dport;	  /* host order; ICMP echo: the identifier */
	uint8_t proto;
	uint8_t state;		   /* enum bh_ct_state */
	uint8_t flags;		   /* BH_CT_* */
	uint32_t src_nic, dst_nic; /* index, 0 not on this host */
	uint32_t src_identity, dst_identity;
	uint32_t rule[2]; /* by enum bh_dir */
	uint32_t gen;
	uint64_t packets[2], bytes[2]; /* [0] by the opener */
	uint64_t age_ns, idle_ns;
	uint32_t timeout_s;
};
/* Zero members match everything. */
struct hostd_dp_connection_filter {
	uint32_t nic; /* either side */
	uint32_t net;
	uint8_t addr[16]; /* either side */
	uint16_t port;	  /* either side, host order */
	uint8_t proto;
	size_t limit; /* 0: none */
};
typedef void hostd_dp_connection_fn(const struct hostd_dp_connection *connection, void *arg);
/* Returns how many matched and were handed over (at most limit), or < 0. */
[[nodiscard]] int hostd_dp_connections(struct hostd_dp *dp,
				       const struct hostd_dp_connection_filter *filter,
				       hostd_dp_connection_fn *fn, void *arg, struct bh_diag *diag);

/* Readable (epoll) when flow records wait. Owned by dp. */
int hostd_dp_events_fd(const struct hostd_dp *dp);
typedef void hostd_dp_event_fn(const struct bh_flow_event *event, void *arg);
/* Hands over at most max waiting records (borrowed for the call). Returns how many, or < 0. */
[[nodiscard]] int hostd_dp_events_poll(struct hostd_dp *dp, unsigned int max, hostd_dp_event_fn *fn,
				       void *arg, struct bh_diag *diag);

/* ---- connections that travel with a VM (walk.c, moves.c; docs/migration.md) ----
 * `nics` are the VM's NICs in the order of the capsule: position 1 is nics->keys[0]. They need a
 * record in the image (it gives them their index), not a device. */
struct hostd_dp_move_nics {
	struct hostd_dp_nic_key keys[BH_CAPSULE_NICS_MAX];
	size_t count;
};
typedef void hostd_dp_move_conn_fn(const struct bh_capsule_conn *conn, void *arg);
/* Walks both tables once and hands over what belongs to the NICs, tickets' counts included. step
 * looks at about `budget` entries and returns HOSTD_DP_MORE until the walk is over (0). Entries
 * that come while it walks may be missed: the journal has them. A walk ends before its dp. */
struct hostd_dp_walk;
struct hostd_dp_walk *hostd_dp_walk_new(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics);
/* Looks these up instead of reading the tables, which are everybody's. The array becomes the
 * walk's (free). hostd_dp_walk_is_short says for which number that costs less. */
struct hostd_dp_walk *hostd_dp_walk_of(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
				       struct bh_capsule_tuple *tuples, size_t count);
bool hostd_dp_walk_is_short(const struct hostd_dp *dp, size_t count);
[[nodiscard]] int hostd_dp_walk_step(struct hostd_dp_walk *walk, size_t budget,
				     hostd_dp_move_conn_fn *fn, void *arg, struct bh_diag *diag);
void hostd_dp_walk_free(struct hostd_dp_walk *walk); /* NULL is fine */
/* The kernel writes down each connection of these NICs that comes, changes its state or goes
 * (BH_NIC_DEPARTING). Outlives the process; on/off may be repeated. -ENOENT: no such NIC (on). */
[[nodiscard]] int hostd_dp_journal_set(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
				       bool on, struct bh_diag *diag);
int hostd_dp_journal_fd(const struct hostd_dp *dp); /* readable when something waits; owned by dp */
/* Hands over at most max entries as they are in the table now (or that they are gone), each once
 * per call, first all that are gone; of one that ended and began anew both. Those of other NICs are
 * left out of the answer but consumed: `nics_of` finds the VM.
 * Returns how many records were consumed, or < 0. *ret_lost: records of NICs that depart which
 * found no room since the last call; then walk again. */
struct hostd_dp_journal_handlers {
	/* nics of the VM that this NIC belongs to, when it departs; NULL else */
	const struct hostd_dp_move_nics *(*nics_of)(const struct hostd_dp_nic_key *key, void *arg);
	void (*conn)(const struct hostd_dp_nic_key *key, const struct bh_capsule_conn *conn,
		     void *arg);
	void (*gone)(const struct hostd_dp_nic_key *key, const struct bh_capsule_tuple *tuple,
		     void *arg);
	void *arg;
};
[[nodiscard]] int hostd_dp_journal_poll(struct hostd_dp *dp, unsigned int max,
					const struct hostd_dp_journal_handlers *handlers,
					uint64_t *ret_lost, struct bh_diag *diag);
struct hostd_dp_import_result {
	size_t added, merged; /* merged: it was there (its peer lives here, or a repeat) */
	size_t full, quota;   /* left out: no room in the table, the NIC's share is used up */
};
/* Puts connections into the kernel with timers running, to be judged anew at their first packet. An
 * entry that is there keeps what this host knows (its own NIC's half) and takes over the other's:
 * the further state, the larger counters. Repeating changes nothing. ret_result counts what was
 * done, also when < 0 comes back. -ENOENT: a NIC without a record; -EINVAL: one of the connections
 * is none of these NICs (then nothing was done). */
[[nodiscard]] int hostd_dp_import(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
				  const struct bh_capsule_conn *conns, size_t count,
				  struct hostd_dp_import_result *ret_result, struct bh_diag *diag);
/* Ends connections of these NICs that ended at the source; those of a peer on this host too. Others
 * are left alone. */
[[nodiscard]] int hostd_dp_import_gone(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
				       const struct bh_capsule_tuple *tuples, size_t count,
				       struct bh_diag *diag);
/* Forgets all connections of the NICs; one with a peer on this host becomes the peer's alone. For a
 * move that failed (target) or is over (source). NICs that are unknown (already) are skipped. */
[[nodiscard]] int hostd_dp_import_undo(struct hostd_dp *dp, const struct hostd_dp_move_nics *nics,
				       struct bh_diag *diag);
/* Learned addresses and rate state of one NIC, to read and to put. Reading leaves net, identity,
 * tenant and flags as they are in the kernel; putting ignores them. A time of BH_CAPSULE_MS_MAX is
 * for ever. -ENOENT: no such NIC. */
[[nodiscard]] int hostd_dp_nic_export(struct hostd_dp *dp, const struct hostd_dp_nic_key *key,
				      struct bh_capsule_nic *ret_nic, struct bh_diag *diag);
[[nodiscard]] int hostd_dp_nic_import(struct hostd_dp *dp, const struct hostd_dp_nic_key *key,
				      const struct bh_capsule_nic *nic, struct bh_diag *diag);
/* BH_NIC_ARRIVING, BH_NIC_DEPARTING and BH_NIC_PICKUP of a NIC, also before it has a device. The
 * first two stay over binds and outlive the process; PICKUP stays over the bind that gives the NIC
 * its device, what is bound later says it itself. -ENOENT: no such NIC. */
[[nodiscard]] int hostd_dp_nic_set_flags(struct hostd_dp *dp, const struct hostd_dp_nic_key *key,
					 uint32_t mask, uint32_t flags, struct bh_diag *diag);

#endif
