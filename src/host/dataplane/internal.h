/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share; nobody else includes this. Layers, each using those above it:
 *
 *   maps.c      names, shapes and raw access of maps
 *   layout.c    what their entries look like
 *   attach.c    programs on devices
 *   purge.c     taking everything out
 *   nics.c      NIC indexes
 *   codec.c     record <-> key and value of a map
 *   load.c      open, adopt, close, destroy
 *   plan.c      what a commit has to do
 *   install.c   doing it
 *   lists.c     its CIDR and range lists
 *   upgrade.c   taking over from another version
 *   scan.c      everything from the kernel: adoption, recovery, verify
 *   compare.c   the kernel against an image: compare, sync
 *   ports.c     devices, uplinks, bridges
 *   hold.c      ports that nobody feeds, and what we changed on devices
 *   hostaddrs.c the host in its networks
 *   look.c      counters, connections, events
 *   walk.c      connections as they leave: walk and journal
 *   moves.c     connections as they come, and what else of a NIC travels
 */
#ifndef HOSTD_DATAPLANE_INTERNAL_H
#define HOSTD_DATAPLANE_INTERNAL_H

#include "base/util.h"
#include "host/dataplane/dataplane.h"

#include <limits.h>
#include <uthash.h>

enum dp_map {
	DP_MAP_CTL,
	DP_MAP_PORTS,
	DP_MAP_NICS,
	DP_MAP_NIC_STATE,
	DP_MAP_NIC_VLANS,
	DP_MAP_NIC_ADDRS,
	DP_MAP_ADDRS,
	DP_MAP_MACS,
	DP_MAP_SETS,
	DP_MAP_ROWS,
	DP_MAP_CIDRS,
	DP_MAP_RANGES,
	DP_MAP_CT4,
	DP_MAP_CT6,
	DP_MAP_FRAGS,
	DP_MAP_STATS,
	DP_MAP_PASS,
	DP_MAP_TICKETS,
	DP_MAP_RULE_STATS,
	DP_MAP_EVENTS,
	DP_MAP_MOVES,
	DP_MAP_COUNT
};

enum dp_prog {
	DP_PROG_FROM_GUEST,
	DP_PROG_TO_GUEST,
	DP_PROG_FROM_UPLINK,
	DP_PROG_TO_UPLINK,
	DP_PROG_FROM_BRIDGE,
	DP_PROG_TO_BRIDGE,
	DP_PROG_IMPORT,
	DP_PROG_COUNT
};

/* What hostd says of a device; never part of a record. */
#define DP_DEVICE_FLAGS (BH_NIC_FASTPATH | BH_NIC_PICKUP)
/* What it says of a NIC that moves, with or without a device. */
#define DP_MOVE_FLAGS (BH_NIC_DEPARTING | BH_NIC_ARRIVING)

#define DP_KEY_MAX   24
#define DP_VALUE_MAX 64
#define DP_SLOT_MAX  16

enum dp_side { DP_SIDE_IN, DP_SIDE_OUT, DP_SIDE_COUNT };
/* What was changed on a device and is to be put back. */
enum dp_mark { DP_MARK_CLSACT, DP_MARK_LEARNING, DP_MARK_COUNT };

struct dp_map_desc {
	const char *name;
	int table; /* enum hostd_dp_table that sizes it; -1 none */
	uint32_t key_size;
	uint32_t value_size;
	uint32_t slot_offset; /* of slot[0]; slot_size 0: not divided into generations */
	uint32_t slot_size;
};
extern const struct dp_map_desc dp_map_descs[DP_MAP_COUNT];
extern const char *const dp_prog_names[DP_PROG_COUNT];

/* A NIC that a record or a device names. Its index is also in the kernel, with vm and mac. */
struct dp_nic {
	struct hostd_dp_nic_key key;
	uint32_t index;
	struct hostd_dp_device device; /* ifindex 0: not bound */
	bool open;
	uint32_t move_flags;   /* DP_MOVE_FLAGS, BH_NIC_PICKUP */
	uint64_t journal_lost; /* of its JOURNAL_LOST counter: what journal_poll told */
	bool has_rec;
	struct bh_rec_nic rec; /* when has_rec */
	bool in_macs;
	uint32_t macs_net; /* its entry in bh_macs stands under this network */
	unsigned int refs; /* NIC_ADDR and NIC_VLAN records that name it */
	UT_hash_handle hh;
};

struct dp_cidr {
	uint8_t prefix_bits;
	uint8_t addr[16];
	uint32_t class_id;
};
struct dp_range {
	uint8_t proto;
	uint8_t prefix_bits;
	uint16_t port;
	uint32_t class_id;
};
/* The prefix lists of a set, as they stand in the tries under `scope`. */
struct dp_lists {
	uint32_t set;
	uint32_t scope;
	BH_VEC(struct dp_cidr) cidrs;
	BH_VEC(struct dp_range) ranges;
	UT_hash_handle hh;
};

struct dp_port {
	uint32_t ifindex;
	struct bh_port port;
	UT_hash_handle hh;
};

/* A port that nobody feeds. */
struct dp_held {
	uint32_t ifindex;
	UT_hash_handle hh;
};

struct dp_host_addr {
	struct bh_addr_key key;
	bool shadows; /* the image has a record for it, kept aside */
	struct bh_rec shadowed;
	bool marked;
	UT_hash_handle hh;
};

/* Hash of records, and how many changes made it. */
struct dp_sum {
	struct bh_hasher *hasher; /* borrowed */
	struct bh_hash hash;
	size_t changed;
};

/* One key of one map whose other slot a commit writes. */
struct dp_op {
	enum dp_map map;
	bool existed;
	uint8_t key[DP_KEY_MAX];
	uint8_t old[DP_VALUE_MAX];
	uint8_t slot[DP_SLOT_MAX]; /* as of the next generation; all zero: gone */
};

struct dp_commit;
struct dp_work;
struct dp_upgrade;
struct dp_verify;

struct hostd_dp {
	char pin_dir[PATH_MAX];
	int dir_fd; /* locked while we live */
	struct bpf_object *obj;
	int map_fd[DP_MAP_COUNT];
	uint32_t map_size[DP_MAP_COUNT];
	int prog_fd[DP_PROG_COUNT];
	uint32_t prog_id[DP_PROG_COUNT];
	struct bh_ctl *ctl; /* mapped, shared with the kernel */
	struct bh_ctl ctl_want;
	int grace_outer_fd, grace_inner_fd;
	bool tcx;

	struct dp_nic *nics;	  /* by key */
	struct dp_nic **by_index; /* map_size[DP_MAP_NICS] entries */
	uint32_t nic_next, nic_count;
	uint8_t *stale;		/* by index: free, but connections may still name it */
	struct dp_lists *lists; /* by set */
	uint32_t scope_next;
	struct dp_port *ports; /* by ifindex */
	struct dp_held *held;
	struct dp_host_addr *host_addrs;
	uint32_t used[DP_MAP_COUNT]; /* entries that we wrote, by map */
	struct bh_hash hash;
	struct bh_hasher *hasher;

	struct dp_upgrade *upgrade; /* while opening */
	struct dp_work *work;	    /* begun by hostd_dp_apply_begin, result not taken */
	struct dp_commit *pending;  /* flipped, not settled */
	struct dp_verify *verify;

	struct ring_buffer *ring;
	hostd_dp_event_fn *event_fn; /* while events_poll runs */
	void *event_arg;
	unsigned int event_left;

	struct ring_buffer *moves;	 /* the journal */
	struct dp_moved *moved;		 /* while journal_poll runs */
	const struct bh_ticket *tickets; /* mapped when first needed */
	struct bh_import *imports;	 /* mapped when first needed */
};

/* ---- maps.c ---- */
/* -ENOENT when absent. */
[[nodiscard]] int dp_map_get(const struct hostd_dp *dp, enum dp_map map, const void *key,
			     void *ret_value);
/* Writes in place where the value has a lock. */
[[nodiscard]] int dp_map_put(const struct hostd_dp *dp, enum dp_map map, const void *key,
			     const void *value);
/* 0 also when absent. */
[[nodiscard]] int dp_map_del(const struct hostd_dp *dp, enum dp_map map, const void *key);
static inline uint8_t *dp_slot(enum dp_map map, void *value, uint32_t gen)
{
	return (uint8_t *)value + dp_map_descs[map].slot_offset +
	       (gen & 1) * dp_map_descs[map].slot_size;
}
bool dp_zero(const void *data, size_t size);
/* Waits until no program that runs now is still running. */
[[nodiscard]] int dp_grace(struct hostd_dp *dp, struct bh_diag *diag);
[[nodiscard]] int dp_grace_init(struct hostd_dp *dp, struct bh_diag *diag);

/* Walks a map in chunks. Entries that are written during the walk may show up or not. */
struct dp_iter {
	int fd;
	uint32_t key_size, value_size; /* value_size as user space sees it (per CPU: all of them) */
	uint32_t chunk;
	uint8_t *keys, *values;
	uint8_t token[2][64];
	bool started, ended;
	unsigned int turn;
};
bool dp_map_per_cpu(enum dp_map map);
void dp_iter_init_fd(struct dp_iter *it, int fd, uint32_t key_size, uint32_t value_size);
void dp_iter_init(struct dp_iter *it, const struct hostd_dp *dp, enum dp_map map);
void dp_iter_done(struct dp_iter *it);
/* How many entries stand in keys and values now; 0 at the end; < 0. */
[[nodiscard]] int dp_iter_next(struct dp_iter *it);
static inline const void *dp_iter_key(const struct dp_iter *it, int i)
{
	return it->keys + (size_t)i * it->key_size;
}
static inline void *dp_iter_value(const struct dp_iter *it, int i)
{
	return it->values + (size_t)i * it->value_size;
}

/* ---- nics.c ---- */
struct dp_nic *dp_nic_find(const struct hostd_dp *dp, const uint8_t vm[16], const uint8_t mac[6]);
/* Finds, or takes a free index and writes the entry (closed). NULL when no index is free or the
 * write failed. */
struct dp_nic *dp_nic_need(struct hostd_dp *dp, const uint8_t vm[16], const uint8_t mac[6],
			   struct bh_diag *diag);
struct dp_nic *dp_nic_adopt(struct hostd_dp *dp, uint32_t index, const struct bh_nic *entry);
/* Frees the index and what is counted under it, unless somebody still names the NIC. */
[[nodiscard]] int dp_nic_release(struct hostd_dp *dp, struct dp_nic *nic, struct bh_diag *diag);
/* The slot that packets should see. */
void dp_nic_slot(const struct dp_nic *nic, struct bh_nic_slot *ret_slot);
/* Writes device and both slots as they should be. Not while a commit is pending. */
[[nodiscard]] int dp_nic_write(struct hostd_dp *dp, const struct dp_nic *nic, struct bh_diag *diag);
/* bh_macs: adds what is missing; removes the stale entry too when `stale`. */
[[nodiscard]] int dp_nic_macs(struct hostd_dp *dp, struct dp_nic *nic, bool stale,
			      struct bh_diag *diag);
/* Whatever a process before us left under free indexes. */
void dp_nics_distrust(struct hostd_dp *dp);
void dp_nics_done(struct hostd_dp *dp);

/* ---- codec.c ---- */
/* Map, key and slot of a record. NIC records need their index in `nic`. Lists are not handled here.
 */
enum dp_map dp_rec_map(const struct bh_rec *rec);
void dp_rec_encode(const struct bh_rec *rec, uint32_t nic, uint8_t ret_key[DP_KEY_MAX],
		   uint8_t ret_slot[DP_SLOT_MAX]);
/* The record that the slot of generation gen says; false when it says none (or only what is local).
 */
bool dp_rec_decode(const struct hostd_dp *dp, enum dp_map map, const void *key, const void *value,
		   uint32_t gen, struct bh_rec *ret_rec);
[[nodiscard]] int dp_rec_check(const struct bh_rec *rec, struct bh_diag *diag);
void dp_cidr_key(const struct dp_cidr *c, uint32_t scope, struct bh_cidr_key *ret_key);
void dp_range_key(const struct dp_range *r, uint32_t scope, struct bh_range_key *ret_key);
void dp_cidr_rec(const struct dp_cidr *c, uint32_t set, struct bh_rec *ret_rec);
void dp_range_rec(const struct dp_range *r, uint32_t set, struct bh_rec *ret_rec);
/* "row of set 601", for messages. Returns buf. */
const char *dp_rec_describe(const struct bh_rec *rec, char *buf, size_t size);
/* One record more, less or changed; either may be NULL. */
void dp_sum_account(struct dp_sum *sum, const struct bh_rec *old, const struct bh_rec *put);

/* ---- lists.c ---- */
struct dp_lists *dp_lists_find(const struct hostd_dp *dp, uint32_t set);
struct dp_lists *dp_lists_clone(const struct dp_lists *old, uint32_t set); /* old may be NULL */
void dp_lists_free(struct dp_lists *l);
void dp_lists_done(struct hostd_dp *dp);
/* Puts or deletes one record in the copy; accounts the hash. */
void dp_lists_change(struct dp_lists *l, const struct bh_rec *rec, bool put, struct dp_sum *sum);
bool dp_lists_equal(const struct dp_lists *a, const struct dp_lists *b); /* b NULL: empty */
uint32_t dp_scope_take(struct hostd_dp *dp);
/* Writes all entries under l->scope and reads them back. */
[[nodiscard]] int dp_lists_write(struct hostd_dp *dp, const struct dp_lists *l,
				 struct bh_diag *diag);
/* Deletes all entries of l under l->scope; goes on after errors, returns the first. */
[[nodiscard]] int dp_lists_erase(struct hostd_dp *dp, const struct dp_lists *l,
				 struct bh_diag *diag);

/* ---- plan.c, install.c ---- */
struct dp_change {
	struct bh_rec rec;
	uint8_t key[BH_REC_KEY_MAX]; /* of rec, zeros behind it: what is sorted by */
	uint32_t seq;
	bool put;
};
struct dp_changes {
	BH_VEC(struct dp_change) list;
};
void dp_changes_add(struct dp_changes *changes, const struct bh_rec *rec, bool put);
/* What any function does first that changes maps or the model: lets the commit in work finish, and
 * settles. */
[[nodiscard]] int dp_ready(struct hostd_dp *dp, struct bh_diag *diag);
/* Takes the list over, whatever comes out. */
[[nodiscard]] int dp_commit_changes(struct hostd_dp *dp, struct dp_changes *changes,
				    struct hostd_dp_report *ret_report, struct bh_diag *diag);

/* Forgets a commit that waits for settling. */
void dp_commit_drop(struct hostd_dp *dp);

/* ---- scan.c ---- */
/* Builds the model from the maps and mends what an interrupted commit left. */
[[nodiscard]] int dp_scan_adopt(struct hostd_dp *dp, bool *ret_recovered, struct bh_diag *diag);
/* Scope numbers to lists, for walks over the tries. */
struct dp_scopes {
	struct dp_lists **lists; /* sorted by scope */
	size_t count;
};
void dp_scopes_init(struct dp_scopes *scopes, const struct hostd_dp *dp);
void dp_scopes_done(struct dp_scopes *scopes);
/* Where records of the image stand, in the order of a walk. */
#define DP_RECORD_MAP_COUNT 8
extern const enum dp_map dp_record_maps[DP_RECORD_MAP_COUNT];
struct dp_entry {
	struct bh_rec rec;
	bool differ; /* between its generations, or nobody's */
};
/* What an entry says in the generation that packets see; false: nothing. */
bool dp_entry_read(const struct hostd_dp *dp, enum dp_map map, const void *key, void *value,
		   const struct dp_scopes *scopes, struct dp_entry *ret_entry);
void dp_verify_restart(struct hostd_dp *dp);
void dp_verify_done(struct hostd_dp *dp);

/* ---- attach.c ---- */
bool dp_attach_probe_tcx(void);
/* Attaches or, where ours stand already, replaces both programs of a port of that kind. */
[[nodiscard]] int dp_attach(struct hostd_dp *dp, uint32_t ifindex, enum bh_port_kind kind,
			    struct bh_diag *diag);
/* Detaches; a device that is gone is fine. */
[[nodiscard]] int dp_detach(struct hostd_dp *dp, uint32_t ifindex, struct bh_diag *diag);
/* Takes out every program that a link under pin_dir holds or that uses one of these maps, and what
 * marks there remember; of whatever layout or version. */
[[nodiscard]] int dp_attach_purge(const char *pin_dir, const uint32_t *map_ids, size_t count,
				  struct bh_diag *diag);
/* 1: both our programs of this process stand there; 0: not (or others); < 0. */
[[nodiscard]] int dp_attached(const struct hostd_dp *dp, uint32_t ifindex, enum bh_port_kind kind);
/* Any Bulkhead program stands there, of whatever version: the device is the one that was bound. */
bool dp_attached_any(const struct hostd_dp *dp, uint32_t ifindex);
/* Removes pinned links that stand on no device. */
void dp_attach_sweep(struct hostd_dp *dp);

/* ---- ports.c ---- */
/* Forgets what stands on devices that are gone, replaces programs on the others. */
[[nodiscard]] int dp_ports_adopt(struct hostd_dp *dp, struct hostd_dp_open_info *info,
				 struct bh_diag *diag);
/* Reads bh_ports and the host's addresses into the model. */
[[nodiscard]] int dp_ports_scan(struct hostd_dp *dp, struct bh_diag *diag);
/* Attaches again what was detached behind our back. */
[[nodiscard]] int dp_ports_repair(struct hostd_dp *dp, struct bh_diag *diag);
void dp_ports_done(struct hostd_dp *dp);

/* ---- hold.c ---- */
[[nodiscard]] int dp_mark_set(const char *pin_dir, uint32_t ifindex, enum dp_mark mark);
/* True when it was set. */
bool dp_mark_take(const char *pin_dir, uint32_t ifindex, enum dp_mark mark);
/* As it was before us. */
void dp_learning_restore(const char *pin_dir, uint32_t ifindex);
/* Those of a process before us, by their marks. */
void dp_held_scan(struct hostd_dp *dp);
void dp_held_forget(struct hostd_dp *dp, uint32_t ifindex); /* restores learning */
void dp_held_done(struct hostd_dp *dp);

/* ---- purge.c ---- */
/* Everything of pin_dir off devices and out of the file system. The caller holds the lock. */
[[nodiscard]] int dp_purge(const char *pin_dir, struct bh_diag *diag);
[[nodiscard]] int dp_purge_pins(const char *pin_dir, struct bh_diag *diag); /* of maps */
/* The empty folder itself, after the lock is gone. */
void dp_purge_dir(const char *pin_dir);
/* HOSTD_DP_BUSY when another process holds it; -ENOENT. */
[[nodiscard]] int dp_lock(const char *pin_dir, int *ret_fd, struct bh_diag *diag);

/* ---- layout.c ---- */
struct bpf_object;
struct btf;
struct dp_layout {
	uint32_t type, flags;
	uint32_t max_entries; /* 0: configured */
	uint32_t key_size, value_size;
	char *key, *value; /* in words */
};
/* The caller frees. */
char *dp_layout_text(const struct btf *btf, uint32_t type_id);
/* As an object of ours, which need not be loaded, has it. */
void dp_layout_map(const struct bpf_object *obj, enum dp_map map, struct dp_layout *ret);
void dp_layout_done(struct dp_layout *layout);
/* Copies what has the same name in both; the rest of dst stays as it is. */
void dp_layout_copy(const struct btf *from, uint32_t from_id, const void *src, const struct btf *to,
		    uint32_t to_id, void *dst);

/* ---- upgrade.c ---- */
struct bpf_map;
/* The folder of another version beside pin_dir; false when there is none. */
bool dp_upgrade_find(const char *pin_dir, char ret_dir[PATH_MAX]);
/* In this order, while opening; all do nothing when there is no other version. */
[[nodiscard]] int dp_upgrade_begin(struct hostd_dp *dp, struct bh_diag *diag);
bool dp_upgrade_carries(const struct hostd_dp *dp); /* this open takes maps over */
/* Instead of pinning: *want becomes 0 when the map there is shared. */
[[nodiscard]] int dp_upgrade_map(struct hostd_dp *dp, enum dp_map m, struct bpf_map *map,
				 uint32_t *want, struct bh_diag *diag);
[[nodiscard]] int dp_upgrade_fill(struct hostd_dp *dp, struct bh_diag *diag);
[[nodiscard]] int dp_upgrade_links(struct hostd_dp *dp, struct bh_diag *diag);
[[nodiscard]] int dp_upgrade_end(struct hostd_dp *dp, struct bh_diag *diag);
void dp_upgrade_done(struct hostd_dp *dp); /* also in the middle */
const char *dp_upgrade_dir(const struct hostd_dp *dp);

/* ---- load.c ---- */
/* The control word as options want it, but for what is kept for ever. */
bool dp_ctl_drifted(const struct hostd_dp *dp);
void dp_ctl_write(struct hostd_dp *dp);

/* ---- hostaddrs.c ---- */
struct dp_host_addr *dp_host_addr_find(const struct hostd_dp *dp, const struct bh_addr_key *key);

/* ---- look.c ---- */
[[nodiscard]] int dp_events_open(struct hostd_dp *dp, struct bh_diag *diag);
void dp_events_close(struct hostd_dp *dp);
/* Adds what passed by the connection's tickets and is not moved to it yet (of lo, hi). */
void dp_add_tickets(struct hostd_dp *dp, const struct bh_ct4_key *key, uint64_t packets[2],
		    uint64_t bytes[2]);

/* ---- walk.c ---- */
[[nodiscard]] int dp_walk_open(struct hostd_dp *dp, struct bh_diag *diag);
void dp_walk_close(struct hostd_dp *dp);
/* Positions of NICs by their index; 0: not one of them. Freed by the caller. */
uint8_t *dp_positions(const struct hostd_dp *dp, const struct hostd_dp_move_nics *nics);
/* The key under which a table has it; true: it is one of bh_ct6. */
bool dp_ct_key(const struct bh_capsule_tuple *tuple, union bh_ct_key *ret);
bool dp_ct_is_of(const struct hostd_dp *dp, const uint8_t *positions, const struct bh_ct *ct);
uint8_t dp_position(const struct hostd_dp *dp, const uint8_t *positions, uint32_t index);

/* ---- moves.c ---- */
/* Takes NICs out of all connections, see hostd_dp_import_undo(). */
[[nodiscard]] int dp_undo(struct hostd_dp *dp, const uint8_t *positions, struct bh_diag *diag);
void dp_imports_unmap(struct hostd_dp *dp);

#endif
