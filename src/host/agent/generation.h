/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which state of a VM's memory is the newest (docs/migration.md, "Rollback and quarantine").
 *
 * Each run of a VM has a generation: given when it starts, raised when it goes on after a pause
 * (a snapshot with memory is taken in one), and written as a mark into its libvirt metadata, which
 * libvirt copies into saved files and snapshots. So what comes back says when it is from. This file
 * remembers per VM the newest generation and whether its last run ended by being saved
 * (generations.json), sees to it that the mark is there, and tells the manager, who judges; while
 * the manager is away only what this file remembers may start from saved memory.
 *
 * Loop only.
 */
#ifndef BH_HOST_AGENT_GENERATION_H
#define BH_HOST_AGENT_GENERATION_H

#include "host/agent/agent.h"

/* What a VM that starts comes from. */
enum hostd_from {
	HOSTD_FROM_BOOT,
	HOSTD_FROM_MIGRATION,
	HOSTD_FROM_RESTORE,
	HOSTD_FROM_SNAPSHOT,
};

struct hostd_generations *hostd_generations_new(struct hostd_agent *agent);
void hostd_generations_free(struct hostd_generations *g); /* NULL is fine */

/* kind: which hook came before, "migration", "restore" or "". The VM as `start begin` has it. */
enum hostd_from hostd_generations_from(const struct hostd_agent *agent, const struct hostd_vm *vm,
				       const char *kind);
/* The member `state` of the request `birth`; owned. by: who is connected to libvirt, or NULL. */
json_t *hostd_generations_state(const struct hostd_agent *agent, const struct hostd_vm *vm,
				enum hostd_from from, const json_t *by);
/* libvirt's word that the VM was saved, which this start depends on, may still be on its way. */
bool hostd_generations_waits(const struct hostd_agent *agent, const struct hostd_vm *vm,
			     enum hostd_from from);
/* May the VM start from this state when the manager can't be asked? false: why says why not. */
bool hostd_generations_may(const struct hostd_agent *agent, const struct hostd_vm *vm,
			   enum hostd_from from, char *why, size_t size);
/* The VM may start. generation: as the manager says, 0 when it could not be asked. */
void hostd_generations_begin(struct hostd_agent *agent, const struct hostd_vm *vm,
			     enum hostd_from from, uint64_t generation);

/* What the platform tells. */
void hostd_generations_event(struct hostd_agent *agent, const uint8_t uuid[16],
			     enum hostd_vm_event event, enum hostd_vm_detail detail);
void hostd_generations_listed(struct hostd_agent *agent, int source,
			      const struct hostd_vm_list *list);
/* Tells the manager what it has not taken yet; all of it after `anew`. */
void hostd_generations_tell(struct hostd_agent *agent, bool anew);
json_t *hostd_generations_json(const struct hostd_agent *agent); /* object, owned */

#endif
