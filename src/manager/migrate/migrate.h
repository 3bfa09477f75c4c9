/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations: whether a VM may travel, what happens in which order, and the record of it
 * (docs/migration.md).
 *
 * Theory of operation
 *   The target asks. decide.c says whether the VM may come, or why not, in one sentence. Then:
 *     asked      the source is told (`depart`) and says how many connections there are
 *     applying   the VM has a second place (vm->incoming); its target installs what it needs
 *     ready      in the store; the target may fetch the capsule
 *     installed  in the store: the target has read the capsule back; its hook lets the VM come
 *     final      nothing follows from the source (or it did not come in time: cut)
 *     done       the target has it and the source does not; the VM's host is the target
 *   `failed` and `refused` end it, too; then the VM is where it was. What the hosts' inventories
 *   say decides about the end; what nobody ends is ended after a while with the reason. From
 *   `ready` on a migration outlives the manager: its images come out the same.
 *   `runs` and `final` are noted when they are told, also after the end: inventories of two hosts
 *   and the word of one of them come in any order.
 *   Whatever a host says is checked against the one migration that it names; a host can end only
 *   migrations that it takes part in.
 *
 * Owned by main; inventory and distribution are borrowed. Loop thread only. Times are wall-clock
 * nanoseconds unless they say mono.
 */
#ifndef BH_MANAGER_MIGRATE_MIGRATE_H
#define BH_MANAGER_MIGRATE_MIGRATE_H

#include "bus/client.h"
#include "manager/distribute/distribute.h"

#define MANAGER_MIGRATIONS_OPEN_MAX 4096
#define MANAGER_MIGRATIONS_AT_MAX   64 /* open ones to one target */

enum manager_migration_state {
	MANAGER_MIGRATION_ASKED,
	MANAGER_MIGRATION_APPLYING,
	MANAGER_MIGRATION_READY,
	MANAGER_MIGRATION_INSTALLED,
	MANAGER_MIGRATION_FINAL,
	MANAGER_MIGRATION_DONE,
	MANAGER_MIGRATION_FAILED,
	MANAGER_MIGRATION_REFUSED,
};
const char *manager_migration_state_name(enum manager_migration_state state);

/* What the one who asked is told; called once, maybe before manager_migrate_ask() returned. Texts
 * are borrowed for the call. */
struct manager_migrate_answer {
	const char *code;    /* NULL: it may come; else "refused", "bad", "store", "late" */
	const char *text;    /* why not */
	const char *id;	     /* of the migration */
	const char *source;  /* "" none of ours */
	struct bh_hash hash; /* what the target has installed */
};
typedef void manager_migrate_answer_fn(const struct manager_migrate_answer *answer, void *arg);

struct manager_migration {
	char id[MANAGER_MIGRATION_ID_SIZE];
	char vm[BH_UUID_TEXT_SIZE];
	char *vm_name, *tenant;
	char source[BH_NAME_MAX + 1]; /* "": none of ours */
	char target[BH_NAME_MAX + 1];
	bool restore; /* memory comes out of a file */
	enum manager_migration_state state;
	json_t *by;    /* who libvirt names, at either side */
	json_t *steps; /* [{"step", "time", "ms", ...}] */
	char *reason;  /* why refused or failed; "" */
	uint64_t begun_ns, ended_ns, state_ns, step_ns;
	uint64_t begun_mono_ns, step_mono_ns; /* 0: begun by an earlier run of the manager */
	uint64_t deadline_mono_ns;	      /* of the decision */
	uint64_t left_ns;		      /* since when the source does not run it */
	uint64_t expected;		      /* connections that the source counted */
	uint64_t connections, bytes;	      /* that the target has read back */
	uint64_t used;			 /* connections in the target's table before; 0 unknown */
	char hash[2 * BH_HASH_SIZE + 1]; /* of the receipt; "" */
	bool departed;			 /* the source was told */
	bool final, ran;		 /* noted in steps */
	json_t *asked;			 /* the VM as the target described it, until decided */
	struct manager_migrate *part;
	manager_migrate_answer_fn *answer; /* NULL: answered */
	void *answer_arg;
	struct manager_wait *wait;
	UT_hash_handle hh;
};

/* Sends a command to a host; body is owned by the callee, fn may be NULL. Never calls back before
 * it returned. */
typedef void manager_command_fn(const char *host, json_t *body, uint64_t timeout_ms,
				bh_bus_reply_fn *fn, void *arg, void *command_arg);

struct manager_migrate_options {
	struct manager_inventory *inv;
	struct manager_distribute *dist;
	manager_command_fn *command;
	void *command_arg;
};
struct manager_migrate {
	struct manager_migrate_options o;
	struct manager_migration *open;	  /* by id */
	struct manager_migration *landed; /* done, and not seen running yet; by id */
	uint64_t trim_ns;
	uint64_t begun_ns; /* this run of the manager */
	bool closing;
};

/* Takes up what is open in the store; before the first flush. */
[[nodiscard]] int manager_migrate_new(const struct manager_migrate_options *options,
				      struct manager_migrate **ret, struct bh_diag *diag);
/* Who waits for an answer gets one. Before distribution is closed. */
void manager_migrate_close(struct manager_migrate *part);
/* After the bus is gone. NULL is fine. */
void manager_migrate_free(struct manager_migrate *part);
/* Every second or more often. */
void manager_migrate_tick(struct manager_migrate *part, uint64_t now_ns, uint64_t mono_ns);

/* Request `migrate` of the target. */
void manager_migrate_ask(struct manager_migrate *part, struct manager_host *target,
			 const json_t *body, manager_migrate_answer_fn *fn, void *arg);
/* Request `migrated`. 0, or a refusal: < 0 with diag. -ENOENT: no such migration is open. */
[[nodiscard]] int manager_migrate_told(struct manager_migrate *part, struct manager_host *host,
				       const json_t *body, struct bh_diag *diag);
/* The host's inventory has been taken: what does that end? */
void manager_migrate_look(struct manager_migrate *part, struct manager_host *host);
/* Has this VM travelled here so far that its start needs no question? */
bool manager_migrate_may_start(const struct manager_migrate *part, const struct manager_vm *vm,
			       const struct manager_host *host);
/* [{"migration", "vm", "role", "peer", "phase"}] of the open ones; owned. */
json_t *manager_migrate_of_host(const struct manager_migrate *part,
				const struct manager_host *host);
/* Open ones of the host end; before it is removed. */
void manager_migrate_forget(struct manager_migrate *part, const struct manager_host *host);

/* ---- asking (record.c) ---- */
struct manager_migration_filter {
	const char *vm; /* UUID; NULL: any */
	const char *id; /* how it begins; NULL: any */
	bool open;	/* only those */
	uint64_t limit; /* 0: none */
	uint64_t since_ns;
};
/* Newest first, open and ended, with or without their steps; each is owned by the callee. */
typedef void manager_migration_fn(json_t *migration, void *arg);
[[nodiscard]] int manager_migrate_list(const struct manager_migrate *part,
				       const struct manager_migration_filter *filter, bool steps,
				       manager_migration_fn *fn, void *arg, struct bh_diag *diag);

/* ---- internal to migrate/ ---- */
struct manager_migrate_case {
	struct manager_migrate *part;
	const struct manager_report *report; /* the VM as it is to run at the target */
	const json_t *json;		     /* the same */
	struct manager_vm *vm;		     /* NULL: not known */
	struct manager_host *target;
	bool restore;
	struct manager_host *ret_source; /* NULL: nothing to bring along, like a start */
};
/* 0, or -EPERM with the sentence. Sets ret_source also when it refuses, if it is known. */
[[nodiscard]] int manager_migrate_decide(struct manager_migrate_case *c, struct bh_diag *diag);
struct manager_migration *manager_migration_of_vm(const struct manager_migrate *part,
						  const char *vm);
struct manager_vm *manager_migration_vm(const struct manager_migration *m); /* NULL: gone */
void manager_migration_enter(struct manager_migration *m, enum manager_migration_state state);
/* Becomes an event; more is owned by the callee, may be NULL. */
void manager_migration_notice(struct manager_migration *m, const char *type, const char *severity,
			      json_t *more);
void manager_migration_allowed(struct manager_migration *m); /* event and counter */
/* Both end it: m is gone then, or among the landed ones. */
void manager_migration_fail(struct manager_migration *m, const char *reason);
void manager_migration_finish(struct manager_migration *m);
/* What inventories and time say about it; may end it. */
void manager_migration_look(struct manager_migration *m, uint64_t now_ns);
/* The same of one that has landed: notes its run, and forgets it then or after a while. */
void manager_migration_look_landed(struct manager_migration *m, uint64_t now_ns);
/* Saves; that the store failed is logged and counted. */
void manager_migration_save_end(struct manager_migration *m);
struct manager_migration *manager_migration_new(struct manager_migrate *part);
void manager_migration_free(struct manager_migration *m);
/* What happened, from now on the last step. more is owned by the callee; may be NULL. */
void manager_migration_step(struct manager_migration *m, const char *name, json_t *more);
json_t *manager_migration_json(const struct manager_migration *m, bool steps); /* owned */
[[nodiscard]] int manager_migration_save(const struct manager_migration *m, struct bh_diag *diag);
/* Those that were open or had just landed when the manager ended. */
[[nodiscard]] int manager_migrations_load(struct manager_migrate *part, struct bh_diag *diag);
/* One that the store has, by its whole id; owned by the caller, not among the open ones. NULL. */
struct manager_migration *manager_migration_ended(struct manager_migrate *part, const char *id);
/* What a host says about who wanted it, made harmless and small; owned. */
json_t *manager_migration_people(const json_t *by);
/* Asks the source who is connected to libvirt there, when somebody who is named comes from another
 * machine (who.c): an open one, and one that was refused, which becomes an event then (and is taken
 * over). */
void manager_migration_who(struct manager_migration *m);
void manager_migration_who_refused(struct manager_migration *m);
/* {"step": ms} of all steps; owned. */
json_t *manager_migration_phases(const struct manager_migration *m);

#endif
