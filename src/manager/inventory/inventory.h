/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts, VMs, NICs, tenants, networks and identities: the truth in memory, bulkhead.db behind it.
 *
 * Theory of operation
 *   Changes are made in memory and marked: `saved` false for what the store does not have yet,
 *   `changed` for what hosts do not have yet. manager_inventory_save() writes everything unsaved in
 *   one transaction. distribute/ does nothing before that succeeded, so a number that any host has
 *   ever seen is in the store: numbers are never used for something else, also after a crash. What
 *   a host says comes in as reports (report.h) and only ever changes VMs of that host. A VM that
 *   two hosts claim stays with the first as long as that one reports it as running; what the
 *   second says is put aside and holds when the first has it no more (claims.c). A VM that
 *   travels has a second place (`incoming`, moves.c): what that host says of it is kept aside until
 *   migrate/ says that it lives there.
 *
 * Structs are open to the manager's rooms for reading; only inventory/ writes them, but for the
 * fields that say they are distribute's. Pointers live until the thing is removed. Loop thread
 * only. Times are wall-clock nanoseconds, given by the caller.
 */
#ifndef BH_MANAGER_INVENTORY_INVENTORY_H
#define BH_MANAGER_INVENTORY_INVENTORY_H

#include "manager/inventory/report.h"
#include "manager/migrate/rollback.h"
#include "manager/store/store.h"
#include "model/image.h"
#include "policy/compile.h"

#include <uthash.h>

#define MANAGER_TENANTS_MAX    10000
#define MANAGER_NETWORKS_MAX   65536
#define MANAGER_IDENTITIES_MAX 262144
#define MANAGER_SILENT_NS      (180 * BH_NS_PER_S) /* so long: a host is lost */

struct manager_sync; /* distribute/sync.h: what a host has and should have */

struct manager_tenant {
	uint32_t number;
	char name[BH_NAME_MAX + 1];
	bool saved;
	bool in_universe;    /* distribute's */
	uint64_t labels_max; /* that one of its VMs may have (change/quota.h) */
	unsigned int vms;
	UT_hash_handle hh, hh_number;
};

enum manager_conflict_why {
	MANAGER_CONFLICT_RUNS,
	MANAGER_CONFLICT_FIRST,
	MANAGER_CONFLICT_UUID,
};
struct manager_conflict { /* two VMs that claim one address; compared by its bytes */
	uint32_t vlan;
	uint8_t addr[16];
	char winner[BH_UUID_TEXT_SIZE], loser[BH_UUID_TEXT_SIZE];
	uint32_t why; /* enum manager_conflict_why */
};
struct manager_conflicts {
	struct manager_conflict *items;
	size_t count;
	size_t capacity;
};

struct manager_network {
	uint32_t number;
	char *key;
	bool managed;
	bool saved;
	unsigned int nics;
	bool changed;			     /* its addresses must be written anew */
	struct bh_segment *segment, *staged; /* distribute's: in force, and beside it */
	void *scratch;			     /* distribute's */
	struct manager_conflicts conflicts;  /* distribute's */
	UT_hash_handle hh, hh_number;
};

struct manager_identity {
	uint32_t number;
	struct manager_tenant *tenant;
	char *key;	/* "<tenant number>\n<labels>" */
	json_t *labels; /* classes included */
	bool saved;
	unsigned int vms;
	bool in_universe;			/* distribute's */
	bool changed;				/* distribute's: compile anew */
	bool regrant;				/* distribute's: its VMs get other flags or VLANs */
	struct bh_segment *sets[2], *staged[2]; /* distribute's, by direction */
	UT_hash_handle hh, hh_number;
};

struct manager_learned {
	struct manager_addr addr;
	uint32_t vlan;
	uint64_t expires_ns;
};

struct manager_nic {
	const struct manager_report_nic *report; /* in the VM's report */
	struct manager_network *net;		 /* NULL: can't be protected */
	struct manager_addrs api;
	struct manager_learned learned[MANAGER_ADDRS_PER_NIC];
	size_t learned_count;
};

/* Where a VM runs, since when, and how it came there. */
enum manager_place_how {
	MANAGER_PLACE_START,
	MANAGER_PLACE_MIGRATION,
	MANAGER_PLACE_RESTORE,
};
#define MANAGER_MIGRATION_ID_SIZE 33 /* 32 hex digits */
struct manager_place {
	char host[BH_NAME_MAX + 1]; /* "": runs nowhere */
	uint64_t since_ns;
	enum manager_place_how how;
	char migration[MANAGER_MIGRATION_ID_SIZE]; /* "": none */
};
struct manager_place_ended { /* waits to be written */
	char vm[BH_UUID_TEXT_SIZE];
	struct manager_place place;
	uint64_t until_ns;
};
struct manager_places_ended {
	struct manager_place_ended *items;
	size_t count;
	size_t capacity;
};

/* What the host that a VM travels to says of it. */
struct manager_arrival {
	struct manager_report report; /* nothing in it: not told yet */
	bool there;		      /* its last inventory has the VM, not shut off */
	bool was_there;
	uint64_t gone_ns; /* when it was there and is not any more; 0 else */
};

/* A host lists a VM that another one has. */
struct manager_claim {
	struct manager_vm *vm;
	struct manager_host *host;
	struct manager_report report;
	struct manager_claim *prev, *next; /* of the VM */
	struct manager_claim *host_prev, *host_next;
};

struct manager_vm {
	uint8_t id[16];
	char uuid[BH_UUID_TEXT_SIZE];
	struct manager_report report;
	struct manager_nic *nics; /* report.nic_count of them */
	json_t *api;		  /* {"tenant", "birth", "labels": {}, "addresses": {mac: []}} */
	json_t *labels;		  /* in force, without classes */
	bool over_quota;	  /* more of them than its tenant may give it: in quarantine */
	struct manager_tenant *tenant;
	struct manager_identity *identity;
	struct manager_host *host;     /* NULL: gone */
	struct manager_host *incoming; /* where it travels to; NULL: it does not */
	uint64_t first_seen_ns, last_seen_ns;
	uint64_t conflict_ns; /* when the last conflict over it was told */
	bool saved;
	bool changed;				  /* its records must be written anew */
	struct bh_segment *segment, *staged;	  /* distribute's */
	struct manager_identity *staged_identity; /* distribute's */
	struct manager_vm *prev, *next;		  /* of its host */
	UT_hash_handle hh;
	/* What a commit does not look at stands behind what it looks at for every VM. */
	struct manager_vm *in_prev, *in_next; /* of the host that it travels to */
	struct manager_arrival arrival;
	struct manager_claim *claims; /* of hosts that don't have it */
	struct manager_place place;
	enum manager_place_how next_how; /* of the place that begins next */
	char next_migration[MANAGER_MIGRATION_ID_SIZE];
	char *misplaced; /* placement's: why its host may not run it */
};

enum manager_table {
	MANAGER_TABLE_NICS,
	MANAGER_TABLE_ADDRS,
	MANAGER_TABLE_SETS,
	MANAGER_TABLE_ROWS,
	MANAGER_TABLE_CIDRS,
	MANAGER_TABLE_RANGES,
	MANAGER_TABLE_COUNT
};

/* A host that is about to be worked on: it takes no VM that is new to it. */
#define MANAGER_REASON_MAX 256
struct manager_maintenance {
	bool on;
	char reason[MANAGER_REASON_MAX + 1]; /* "": none given */
	char by[120];
	uint64_t since_ns;
};

struct manager_host {
	char name[BH_NAME_MAX + 1];
	uint64_t enrolled_ns, last_seen_ns;
	uint64_t report_ns; /* of the last inventory, 0 none since the manager started */
	json_t *hello;	    /* last hello, checked; NULL: never */
	uint64_t capacity[MANAGER_TABLE_COUNT]; /* 0: not told */
	bool online;
	bool saved;
	char session[65];
	uint64_t last_n; /* of that session */
	bool changed;	 /* what is on it has changed */
	struct manager_vm *vms;
	unsigned int vm_count;
	struct manager_vm *incoming; /* VMs that travel here */
	unsigned int incoming_count;
	struct manager_claim *claims; /* on VMs of others */
	struct manager_sync *sync;    /* distribute's */
	struct {
		uint64_t since_ns;
		unsigned int count;
	} refusals;	/* migrate's: how many migrations to it were refused in that minute */
	json_t *labels; /* that placements speak of */
	struct manager_maintenance maintenance;
	struct {
		char fingerprint[65]; /* "": issued before these were kept */
		int64_t expires_s;    /* since 1970 UTC */
		bool used;	      /* the host has said hello with it */
		bool told;	      /* that it has ended */
	} cert;			      /* enroll's: the newest one issued to it */
	UT_hash_handle hh;
};

/* Something that people should know: becomes an event. body is owned by the callee. */
typedef void manager_notice_fn(const char *type, const char *severity, json_t *body, void *arg);

struct manager_inventory {
	struct manager_db *db;
	struct manager_tenant *tenants, *tenants_by_number;
	struct manager_network *networks, *networks_by_number;
	struct manager_identity *identities, *identities_by_number;
	struct manager_vm *vms;
	struct {
		struct manager_vm **items;
		size_t count, capacity;
	} vms_by_name;
	bool vms_in_order; /* vms_by_name holds */
	struct manager_host *hosts;
	uint32_t next_tenant, next_network, next_identity;
	bool numbers_saved;
	bool dirty; /* something is unsaved or changed */
	struct manager_places_ended places_ended;
	const struct bh_policy_set *policies; /* in force; borrowed; for classes */
	const char *default_tenant;	      /* of VMs whose metadata names none */
	manager_notice_fn *notice;
	void *notice_arg;
	struct manager_rollback *rollback; /* migrate/rollback.c's */
};

[[nodiscard]] int manager_inventory_new(struct manager_db *db, const char *default_tenant,
					struct manager_inventory **ret, struct bh_diag *diag);
/* These are in force from here on: every VM gets its identity under them. */
void manager_inventory_set_policies(struct manager_inventory *inv,
				    const struct bh_policy_set *policies);
void manager_inventory_free(struct manager_inventory *inv);
/* One transaction with everything unsaved; on failure all of it stays unsaved. `in_tx`: the caller
 * has begun and will commit one; call manager_inventory_saved() when it did. */
[[nodiscard]] int manager_inventory_save(struct manager_inventory *inv, bool in_tx,
					 struct bh_diag *diag);
void manager_inventory_saved(struct manager_inventory *inv);
/* Tells people; takes over body. */
void manager_inventory_notice(const struct manager_inventory *inv, const char *type,
			      const char *severity, json_t *body);

/* ---- looking ---- */
struct manager_tenant *manager_tenant_find(struct manager_inventory *inv, const char *name);
struct manager_tenant *manager_tenant_at(struct manager_inventory *inv, uint32_t number);
struct manager_identity *manager_identity_at(struct manager_inventory *inv, uint32_t number);
struct manager_host *manager_host_find(struct manager_inventory *inv, const char *name);
#define MANAGER_VM_AMBIGUOUS 1
/* By UUID, or by name when only one has it. 0, -ENOENT or MANAGER_VM_AMBIGUOUS, with diag. */
[[nodiscard]] int manager_vm_find(struct manager_inventory *inv, const char *id,
				  struct manager_vm **ret, struct bh_diag *diag);
/* By name, what is a number in it by its value; those of one name by UUID. */
int manager_vm_compare(const struct manager_vm *a, const struct manager_vm *b);
/* All of them in that order, which is kept until a name comes, goes or changes. Borrowed. */
struct manager_vm *const *manager_vms_by_name(struct manager_inventory *inv, size_t *ret_count);
/* The VM that uses an address in a network; NULL when none. */
struct manager_vm *manager_vm_by_address(struct manager_inventory *inv, uint32_t net,
					 const uint8_t addr[16]);
const char *manager_vm_birth(const struct manager_vm *vm); /* "open" or "closed" */

/* ---- tenants and hosts ---- */
/* Finds or makes. NULL with diag for a name that is none, or when there are too many. */
struct manager_tenant *manager_tenant_get(struct manager_inventory *inv, const char *name,
					  struct bh_diag *diag);
void manager_tenant_remove(struct manager_inventory *inv, struct manager_tenant *tenant);
/* Its quota of labels in the store has changed: who is over it is judged anew. */
void manager_tenant_review_quota(struct manager_inventory *inv, struct manager_tenant *tenant);
/* The VM of the tenant with the most labels; NULL: it has none. */
const struct manager_vm *manager_tenant_most_labels(const struct manager_inventory *inv,
						    const struct manager_tenant *tenant);
struct manager_host *manager_host_add(struct manager_inventory *inv, const char *name,
				      uint64_t now_ns);
/* Its VMs are gone then. */
void manager_host_remove(struct manager_inventory *inv, struct manager_host *host, uint64_t now_ns);
void manager_host_hello(struct manager_inventory *inv, struct manager_host *host,
			const json_t *hello, uint64_t now_ns);

/* What the API sets on a host (settings.c). labels: checked by the caller, taken over. On failure
 * everything is as before. */
[[nodiscard]] int manager_host_set_labels(struct manager_inventory *inv, struct manager_host *host,
					  json_t *labels, struct bh_diag *diag);
[[nodiscard]] int manager_host_set_maintenance(struct manager_inventory *inv,
					       struct manager_host *host,
					       const struct manager_maintenance *maintenance,
					       struct bh_diag *diag);
char *manager_host_settings_dump(const struct manager_host *host); /* owned */
void manager_host_settings_load(struct manager_host *host, const char *text);

/* ---- what hosts say (apply.c) ---- */
/* Whole inventory. Bad VMs are left out, counted and named in *ret_rejected (owned array). */
[[nodiscard]] int manager_inventory_report(struct manager_inventory *inv, struct manager_host *host,
					   const json_t *vms, uint64_t now_ns,
					   json_t **ret_rejected, struct bh_diag *diag);
#define MANAGER_REPORT_CONFLICT 1 /* another host has this VM running */
/* One VM that is about to start. */
[[nodiscard]] int manager_inventory_birth(struct manager_inventory *inv, struct manager_host *host,
					  const json_t *vm, uint64_t now_ns,
					  struct manager_vm **ret_vm, struct bh_diag *diag);
/* The body of `learned`. */
[[nodiscard]] int manager_inventory_learned(struct manager_inventory *inv,
					    struct manager_host *host, const json_t *body,
					    uint64_t now_ns, struct bh_diag *diag);
/* Forgets learned addresses whose lease is over, and ends quarantines whose time is. */
void manager_inventory_expire(struct manager_inventory *inv, uint64_t now_ns);

/* ---- what the API sets ---- */
/* api is owned by the callee and replaces what is there; checked before by the caller. */
[[nodiscard]] int manager_vm_set_api(struct manager_inventory *inv, struct manager_vm *vm,
				     json_t *api, struct bh_diag *diag);
void manager_vm_remove(struct manager_inventory *inv, struct manager_vm *vm);

/* ---- identities (identify.c) ---- */
/* The identity that the VM has under these policies; made when there is none. NULL with diag when
 * there are too many. The VM is not changed. */
struct manager_identity *manager_identity_for(struct manager_inventory *inv,
					      const struct manager_vm *vm,
					      const struct bh_policy_set *policies,
					      struct bh_diag *diag);
/* Gives the VM its tenant, labels and identity anew; marks what that changes. */
[[nodiscard]] int manager_vm_identify(struct manager_inventory *inv, struct manager_vm *vm,
				      struct bh_diag *diag);
/* Makes identity the VM's, and marks what changes. */
void manager_vm_set_identity(struct manager_inventory *inv, struct manager_vm *vm,
			     struct manager_identity *identity);
void manager_vm_touch(struct manager_inventory *inv, struct manager_vm *vm);
/* {"labels", "limit", "message"} of one with more labels than its tenant may give it, else null;
 * owned. */
json_t *manager_vm_over_quota_json(const struct manager_vm *vm);
/* Removes an identity that no VM has and that is in no universe. */
void manager_identity_remove(struct manager_inventory *inv, struct manager_identity *identity);
/* Its labels for the policy room; *ret is owned (free), the text borrowed. */
size_t manager_identity_labels(const struct manager_identity *identity,
			       struct bh_policy_label **ret);
/* All addresses of a NIC that are in force (owned by the caller), learned ones on demand. */
void manager_nic_addresses(const struct manager_nic *nic, bool learned, struct manager_addrs *ret);

/* ---- VMs that travel (moves.c) ---- */
/* Runs, or is about to at the end of its way: its addresses are in use. */
bool manager_vm_lives(const struct manager_vm *vm);
/* The VM has a second place: its records go to that host too. */
void manager_vm_expect(struct manager_inventory *inv, struct manager_vm *vm,
		       struct manager_host *target);
void manager_vm_unexpect(struct manager_inventory *inv, struct manager_vm *vm);
/* No host has it, and it travels nowhere: what the API set on it is worth keeping, else it is
 * forgotten. Unless another host claims it: then it is there. */
void manager_vm_drop_gone(struct manager_inventory *inv, struct manager_vm *vm, uint64_t now_ns);
/* Its second place is its place from here on. */
[[nodiscard]] int manager_vm_move(struct manager_inventory *inv, struct manager_vm *vm,
				  uint64_t now_ns, struct bh_diag *diag);

/* It has said nothing for so long that it has lost its VMs. */
bool manager_host_lost(const struct manager_host *host, uint64_t now_ns);

/* ---- where VMs ran (places.c) ---- */
#define MANAGER_PLACES_PER_VM 100
const char *manager_place_how_name(enum manager_place_how how); /* "start", ... */
/* How the place that begins next comes to be: "restore", "migration", anything else is a start. */
void manager_vm_place_next(struct manager_vm *vm, const char *how, const char *migration);
/* [{"host", "since", "until", "how", "migration"}], newest first; the first one has no `until` when
 * the VM runs. Owned. */
json_t *manager_vm_places(const struct manager_inventory *inv, const struct manager_vm *vm);

/* ---- internal to inventory/ ---- */
/* After anything that changed where the VM is or whether it runs. */
void manager_vm_place(struct manager_inventory *inv, struct manager_vm *vm, uint64_t now_ns);
[[nodiscard]] int manager_places_save(struct manager_inventory *inv, struct bh_diag *diag);
json_t *manager_place_dump(const struct manager_place *place); /* owned */
void manager_place_load(const json_t *json, struct manager_place *ret);
/* What the target says of a VM that travels to it; takes the report over. NULL: it does not have
 * the VM. `listed` false: a birth, which is no proof that it is there. */
void manager_vm_arriving(struct manager_inventory *inv, struct manager_vm *vm,
			 struct manager_report *report, bool listed, uint64_t now_ns);
/* What host says of a VM that another one has (claims.c); takes the report over. */
void manager_claim_put(struct manager_vm *vm, struct manager_host *host,
		       struct manager_report *report);
void manager_claim_drop(struct manager_vm *vm, const struct manager_host *host);
void manager_vm_drop_claims(struct manager_vm *vm);
void manager_host_drop_claims(struct manager_host *host);
/* When its host does not run the VM and another one does, that is its place; when none has it, any
 * that claims it. */
void manager_vm_settle(struct manager_inventory *inv, struct manager_vm *vm, uint64_t now_ns);
struct manager_tenant *manager_tenant_add(struct manager_inventory *inv, uint32_t number,
					  const char *name, bool saved);
struct manager_vm *manager_vm_new(struct manager_inventory *inv, const uint8_t id[16],
				  uint64_t now_ns);
/* Takes over the report (leaves it empty); learned addresses of NICs that stay are kept. */
[[nodiscard]] int manager_vm_set_report(struct manager_inventory *inv, struct manager_vm *vm,
					struct manager_report *report, struct bh_diag *diag);
void manager_vm_attach(struct manager_inventory *inv, struct manager_vm *vm,
		       struct manager_host *host);
void manager_vm_detach(struct manager_inventory *inv, struct manager_vm *vm);
struct manager_network *manager_network_get(struct manager_inventory *inv, const char *key,
					    bool managed, struct bh_diag *diag);

#endif
