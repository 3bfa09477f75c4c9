/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A manager with hosts h1, h2 and h3 that are carriers without a bus, and a VM `web` that runs on
 * h1: what the tests of migrations share. One world per test (set_up, tear_down).
 */
#ifndef BH_TESTS_UNIT_MIGRATE_WORLD_H
#define BH_TESTS_UNIT_MIGRATE_WORLD_H

#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/migrate/migrate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define VM   "00000000-0000-4000-8000-000000000001"
#define MAC  "52:54:00:00:00:01"
#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct command {
	char host[BH_NAME_MAX + 1];
	json_t *body;
	bh_bus_reply_fn *fn;
	void *arg;
};

struct world {
	char path[64]; /* of the database */
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_migrate *migrate;
	struct manager_sync *asked[4]; /* whose deltas wait for an answer */
	struct bh_hash to[4];
	size_t asked_count;
	unsigned int sent;
	struct command commands[8];
	size_t command_count;
	json_t *noticed;
	size_t rejected; /* VMs of the last inventory */
	bool answered;
	char code[32], text[512], id[MANAGER_MIGRATION_ID_SIZE], source[BH_NAME_MAX + 1];
	struct bh_hash hash;
};

void start_manager(struct world *w);
void drop_commands(struct world *w);
void stop_manager(struct world *w);
void answer_all(struct world *w);
void flush(struct world *w);
struct manager_host *host(struct world *w, const char *name);
json_t *vm_json(const char *state);
/* `state` NULL: the host has no VM. */
void report(struct world *w, const char *name, const char *state);
struct manager_vm *vm(struct world *w);
int set_up(void **state);
int tear_down(void **state);
/* The only notice of that type since the last call for it, which takes it away; NULL when none. */
json_t *take_notice(struct world *w, const char *type);
void expect_notice(struct world *w, const char *type, const char *key, const char *value);
void ask_json(struct world *w, const char *target, json_t *vm_said, const char *why);
void ask(struct world *w, const char *target);
/* The oldest command that waits; must go to that host and be of that type. reply NULL: refused with
 * `code`, "" as if the host did not answer. Owned by the callee. */
void answer_command(struct world *w, const char *to, const char *type, json_t *reply,
		    const char *code);
int told(struct world *w, const char *from, const char *phase, json_t *receipt);
json_t *receipt(int connections);
void depart(struct world *w, int connections);
/* h2 may fetch. */
void get_ready(struct world *w);
void get_installed(struct world *w);
/* The newest record. Owned. */
json_t *record(struct world *w);
void expect_record(struct world *w, const char *state, const char *steps);
bool has_segment(struct world *w, const char *name);

#endif
