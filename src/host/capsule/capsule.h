/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host does while VMs move (docs/migration.md): as target it holds the hook until the
 * VM's state is in its kernel (arrive.c), as source it sends that state and what changes of it
 * (depart.c). moves.c keeps both lists and passes on what happens to them.
 *
 * Ownership: one struct hostd_moves per agent; a move lives until the manager says that it is over,
 * or until it is known here that nothing came of it. Nothing is on disk: what outlives this process
 * is in the kernel (flags of NICs, connections), and the manager says after each hello which moves
 * are open. Loop only; nothing here blocks but the reads and writes of the dataplane.
 */
#ifndef BH_HOST_CAPSULE_CAPSULE_H
#define BH_HOST_CAPSULE_CAPSULE_H

#include "host/agent/agent.h"

struct hostd_moves;

struct hostd_moves *hostd_moves_new(struct hostd_agent *agent);
/* Answers the hooks that wait and closes the handles; before the session goes. NULL is fine. */
void hostd_moves_stop(struct hostd_moves *moves);
void hostd_moves_free(struct hostd_moves *moves); /* after it, when the loop is empty */

/* ---- what is asked ---- */
/* Control op `migrate`. */
void hostd_arrive_serve(struct bh_ctl_request *req, const json_t *request, void *arg);
/* The manager's commands `depart`, `depart-end` and `arrive-end`; false: it is none of these. */
bool hostd_moves_command(struct hostd_agent *agent, struct bh_bus_request *req, const char *type,
			 const struct bh_bus_msg *msg);
/* What other hosts ask; arg is the agent. */
void hostd_moves_peer(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg);

/* ---- what happens ---- */
void hostd_moves_event(struct hostd_agent *agent, const uint8_t uuid[16], enum hostd_vm_event event,
		       enum hostd_vm_detail detail);
/* `start begin` of the VM. One that comes with memory and without a source that knows its
 * connections is taken over like a VM that ran here before us. */
void hostd_moves_birth(struct hostd_agent *agent, const struct hostd_vm *vm);
/* The hook says that the VM has ended here. */
void hostd_moves_ended(struct hostd_agent *agent, const uint8_t uuid[16]);
/* The inventory or the desired state is another one. */
void hostd_moves_poke(struct hostd_agent *agent);
/* The kernel is about to hold `next`: what leaves with it takes its connections along. */
void hostd_moves_before(struct hostd_agent *agent, const struct bh_image *next);
/* `migrations` of the manager's answer to hello; NULL: it does not say. */
void hostd_moves_listed(struct hostd_agent *agent, const json_t *migrations);

/* ---- what is known ---- */
/* Which hook came before the VM's `start begin`: "migration", "restore", or "" for a boot. */
const char *hostd_capsule_kind(const struct hostd_agent *agent, const uint8_t uuid[16]);
/* It is suspended for its move, or gone: its devices may go at any moment. */
bool hostd_moves_leaves(const struct hostd_agent *agent, const uint8_t uuid[16]);
json_t *hostd_moves_json(struct hostd_agent *agent); /* array, owned */

#endif
