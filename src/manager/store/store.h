/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager keeps in bulkhead.db, as typed functions over store/db.h. Rows go out through
 * callbacks; pointers in a row are borrowed for the call. Times are nanoseconds since 1970.
 * Functions that write belong into a transaction of the caller when more than one must hold
 * together. Loop thread only.
 */
#ifndef BH_MANAGER_STORE_STORE_H
#define BH_MANAGER_STORE_STORE_H

#include "manager/store/db.h"

[[nodiscard]] int manager_store_open(const char *path, struct manager_db **ret,
				     struct bh_diag *diag);

/* Takes `count` numbers that were never given before under this name; *ret is the first. */
[[nodiscard]] int manager_store_take_numbers(struct manager_db *db, const char *name,
					     uint32_t first, uint32_t count, uint32_t *ret,
					     struct bh_diag *diag);

/* ---- numbered names: tenants, networks, identities ---- */
struct manager_store_number {
	uint32_t number;
	const char *name; /* tenant's name, network's key, identity's labels (canonical JSON) */
	uint32_t tenant;  /* identities */
	bool managed;	  /* networks */
};
typedef int manager_store_number_fn(const struct manager_store_number *row, void *arg);
[[nodiscard]] int manager_store_tenants(struct manager_db *db, manager_store_number_fn *fn,
					void *arg, struct bh_diag *diag);
[[nodiscard]] int manager_store_networks(struct manager_db *db, manager_store_number_fn *fn,
					 void *arg, struct bh_diag *diag);
[[nodiscard]] int manager_store_identities(struct manager_db *db, manager_store_number_fn *fn,
					   void *arg, struct bh_diag *diag);
[[nodiscard]] int manager_store_add_tenant(struct manager_db *db, uint32_t number, const char *name,
					   struct bh_diag *diag);
[[nodiscard]] int manager_store_drop_tenant(struct manager_db *db, uint32_t number,
					    struct bh_diag *diag);
[[nodiscard]] int manager_store_add_network(struct manager_db *db, uint32_t number, const char *key,
					    bool managed, struct bh_diag *diag);
[[nodiscard]] int manager_store_add_identity(struct manager_db *db,
					     const struct manager_store_number *row,
					     struct bh_diag *diag);
/* The number of an identity that was there before; 0 when it is new. */
uint32_t manager_store_find_identity(struct manager_db *db, uint32_t tenant, const char *labels);

/* ---- hosts ---- */
struct manager_store_host {
	const char *name;
	uint64_t enrolled_ns, last_seen_ns;
	const char *hello;     /* JSON of the last hello, "" when none */
	const char *installed; /* hash in hex, "" when unknown */
	uint64_t installed_ns;
	uint32_t revision;
	const char *settings; /* JSON: what the API set (inventory/settings.c) */
};
typedef int manager_store_host_fn(const struct manager_store_host *row, void *arg);
[[nodiscard]] int manager_store_hosts(struct manager_db *db, manager_store_host_fn *fn, void *arg,
				      struct bh_diag *diag);
[[nodiscard]] int manager_store_put_host(struct manager_db *db,
					 const struct manager_store_host *row,
					 struct bh_diag *diag);
[[nodiscard]] int manager_store_drop_host(struct manager_db *db, const char *name,
					  struct bh_diag *diag);

/* ---- VMs ---- */
struct manager_store_vm {
	const char *uuid;
	const char *host;   /* "" when no host reports it */
	const char *report; /* JSON as the host said, checked */
	const char *api;    /* JSON: what the API set */
	uint64_t first_seen_ns, last_seen_ns;
};
typedef int manager_store_vm_fn(const struct manager_store_vm *row, void *arg);
[[nodiscard]] int manager_store_vms(struct manager_db *db, manager_store_vm_fn *fn, void *arg,
				    struct bh_diag *diag);
[[nodiscard]] int manager_store_put_vm(struct manager_db *db, const struct manager_store_vm *row,
				       struct bh_diag *diag);
[[nodiscard]] int manager_store_drop_vm(struct manager_db *db, const char *uuid,
					struct bh_diag *diag);

/* ---- migrations (migrations.c) ---- */
struct manager_store_migration {
	const char *id; /* 32 hex digits */
	const char *vm; /* UUID */
	const char *state;
	uint64_t begun_ns, ended_ns; /* ended_ns 0: open */
	const char *body;	     /* JSON of migrate/record.c */
};
typedef int manager_store_migration_fn(const struct manager_store_migration *row, void *arg);
[[nodiscard]] int manager_store_put_migration(struct manager_db *db,
					      const struct manager_store_migration *row,
					      struct bh_diag *diag);
/* Only the newest of those that have ended are kept. */
[[nodiscard]] int manager_store_trim_migrations(struct manager_db *db, uint32_t keep_refused,
						uint32_t keep, struct bh_diag *diag);
struct manager_store_migration_filter {
	const char *vm; /* UUID; NULL: any */
	const char *id; /* how it begins; NULL: any */
	bool open;	/* only open ones */
	uint64_t since_ns;
};
/* Newest first. */
[[nodiscard]] int manager_store_migrations(struct manager_db *db,
					   const struct manager_store_migration_filter *filter,
					   manager_store_migration_fn *fn, void *arg,
					   struct bh_diag *diag);

/* ---- where VMs ran (migrations.c) ---- */
struct manager_store_place {
	const char *vm, *host;
	uint64_t since_ns, until_ns;
	const char *how, *migration;
};
typedef int manager_store_place_fn(const struct manager_store_place *row, void *arg);
/* The newest `keep` of the VM are kept. */
[[nodiscard]] int manager_store_add_place(struct manager_db *db,
					  const struct manager_store_place *row, uint32_t keep,
					  struct bh_diag *diag);
/* Newest first. */
[[nodiscard]] int manager_store_places(struct manager_db *db, const char *vm,
				       manager_store_place_fn *fn, void *arg, struct bh_diag *diag);
/* Forgets those of VMs that nobody has had since `before`, and all but the newest `keep`. */
[[nodiscard]] int manager_store_trim_places(struct manager_db *db, uint64_t before_ns,
					    uint32_t keep, struct bh_diag *diag);

/* ---- generations of VMs, and their quarantine (memories.c) ---- */
struct manager_store_memory {
	const char *vm;	  /* UUID */
	const char *host; /* where it ran last */
	uint64_t generation, next;
	bool saved;
	const char *quarantine; /* JSON; "": in none */
	uint64_t seen_ns;
};
typedef int manager_store_memory_fn(const struct manager_store_memory *row, void *arg);
[[nodiscard]] int manager_store_memories(struct manager_db *db, manager_store_memory_fn *fn,
					 void *arg, struct bh_diag *diag);
[[nodiscard]] int manager_store_put_memory(struct manager_db *db,
					   const struct manager_store_memory *row,
					   struct bh_diag *diag);
[[nodiscard]] int manager_store_drop_memory(struct manager_db *db, const char *vm,
					    struct bh_diag *diag);

/* ---- join tokens ---- */
struct manager_store_token {
	int64_t id;
	const void *hash;			  /* 32 bytes; input only */
	const char *name;			  /* NULL: any host */
	uint64_t created_ns, expires_ns, used_ns; /* used_ns 0: not yet */
	const char *used_by;
};
typedef int manager_store_token_fn(const struct manager_store_token *row, void *arg);
[[nodiscard]] int manager_store_tokens(struct manager_db *db, manager_store_token_fn *fn, void *arg,
				       struct bh_diag *diag);
[[nodiscard]] int manager_store_add_token(struct manager_db *db,
					  const struct manager_store_token *row, int64_t *ret_id,
					  struct bh_diag *diag);
/* Marks it as used when it exists, is unused, unexpired and open to that name; else -EACCES. */
[[nodiscard]] int manager_store_use_token(struct manager_db *db, const void *hash, const char *name,
					  uint64_t now_ns, struct bh_diag *diag);
/* -ENOENT when there is none. */
[[nodiscard]] int manager_store_drop_token(struct manager_db *db, int64_t id, struct bh_diag *diag);

/* ---- revisions and rules ---- */
struct manager_store_revision {
	uint32_t number;
	uint64_t time_ns;
	const char *author;
	const char *summary;
	const char *changes; /* JSON array */
};
typedef int manager_store_revision_fn(const struct manager_store_revision *row, void *arg);
/* Newest first, from `upto` on. */
[[nodiscard]] int manager_store_revisions(struct manager_db *db, uint32_t upto, uint32_t limit,
					  manager_store_revision_fn *fn, void *arg,
					  struct bh_diag *diag);
[[nodiscard]] int manager_store_add_revision(struct manager_db *db,
					     const struct manager_store_revision *row,
					     struct bh_diag *diag);
uint32_t manager_store_last_revision(struct manager_db *db);

struct manager_store_policy {
	uint32_t revision;
	const char *tenant, *name;
	const char *text;   /* canonical YAML; NULL: gone from this revision on */
	const char *source; /* JSON of bh_policy_source_dump() */
};
typedef int manager_store_policy_fn(const struct manager_store_policy *row, void *arg);
/* The policies as they stood at a revision, by tenant and name. */
[[nodiscard]] int manager_store_policies(struct manager_db *db, uint32_t revision,
					 manager_store_policy_fn *fn, void *arg,
					 struct bh_diag *diag);
/* The revision that touched a policy of that name last, also by removing it; 0 none. */
uint32_t manager_store_policy_touched(struct manager_db *db, const char *tenant, const char *name);
[[nodiscard]] int manager_store_add_policy(struct manager_db *db,
					   const struct manager_store_policy *row,
					   struct bh_diag *diag);

struct manager_store_rule {
	uint32_t number;
	uint32_t revision; /* in which it came to be */
	const char *tenant, *policy;
	uint32_t dir;
	const void *hash; /* 32 bytes: which rule of the policy it is, whatever its place */
	const char *text;
};
typedef int manager_store_rule_fn(const struct manager_store_rule *row, void *arg);
[[nodiscard]] int manager_store_rules(struct manager_db *db, manager_store_rule_fn *fn, void *arg,
				      struct bh_diag *diag);
[[nodiscard]] int manager_store_add_rule(struct manager_db *db,
					 const struct manager_store_rule *row,
					 struct bh_diag *diag);

#endif
