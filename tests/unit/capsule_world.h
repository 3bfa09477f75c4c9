/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of moves need beside the world of hostd_world.h: a manager that decides about moves,
 * and the other host, h2, which sends a VM and takes one. One per process.
 */
#ifndef TESTS_CAPSULE_WORLD_H
#define TESTS_CAPSULE_WORLD_H

#include "hostd_world.h"
#include "model/capsule.h"

#define MOVE  "00112233445566778899aabbccddeeff"
#define CONNS 300

/* The other host. */
struct capsule_peer {
	struct bh_bus *bus;
	struct bh_pki_signer *signer;
	char *cert;
	size_t cert_size;
	unsigned int starts;
	bool gone; /* answers so to `start` */

	/* as source, and what the target answered */
	bool ripe; /* what it sends has one more connection, whose idle time is over on the way */
	uint32_t seq;
	unsigned int unanswered;
	char code[32], error[300];

	/* as target */
	unsigned int parts, refuse, conns, gones, wholes, finals, nics, segments;
	struct bh_capsule_mark mark;
	struct bh_hash sum;
	struct bh_hasher *hasher;
	uint32_t next;
	bool out_of_order, forged;
};
extern struct capsule_peer h2;

struct capsule_manager {
	unsigned int asked, installed, finals, cuts, faileds;
	const char *refuses; /* sentence; NULL: lets it in */
	bool alone;	     /* no host of ours runs it */
	bool refuses_receipt;
	json_t *receipt, *list;
	char why[300];
};
extern struct capsule_manager boss;
extern uint8_t capsule_vm[16];
/* Of these types, since capsule_forget(). */
unsigned int capsule_events(const char *type);

/* A part on its way. */
struct capsule_part {
	struct bh_capsule_head head;
	struct bh_capsule_writer *writer;
};

void capsule_peer_open(void);
void capsule_peer_close(void);
void capsule_command(json_t *body);
void capsule_ask(struct bh_bus *by, const char *subject, json_t *body);
void capsule_end(const char *role, const char *result);
struct bh_capsule_conn capsule_conn_at(unsigned int i);
struct capsule_part capsule_part_new(uint32_t seq);
void capsule_part_send(struct capsule_part *part, size_t spoil);
struct bh_capsule_nic capsule_nic_record(void);
void capsule_send_whole(unsigned int wrong_by);
void capsule_send_final(void);
unsigned int capsule_connections(void);
void capsule_migrate_begin(const char *why);
const char *capsule_migrate_error(void);
void capsule_migrate_allowed(void);
void capsule_hook_ended(void);
void capsule_vm_is_here(bool here);
bool capsule_vm_known(void);
bool capsule_vm_unknown(void);
void capsule_dummy_event(enum hostd_vm_event event, enum hostd_vm_detail detail);
void capsule_forget(void);
bool capsule_manager(struct bh_bus_request *req, const struct bh_bus_msg *msg);

#endif
