/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected to libvirt on this host, for the manager's command `who`: when the hosts'
 * libvirts make a migration among themselves, the person is connected to the source's. The hook
 * (`bulkhead-hook clients`) looks, as a child: libvirt and its admin library can't be in one
 * process. It has one second and 64 KiB; whoever asks while it looks gets what it finds.
 *
 * One object per agent. Loop only.
 */
#ifndef BH_HOST_CAPSULE_WHO_H
#define BH_HOST_CAPSULE_WHO_H

#include "bus/client.h"

#include <uv.h>

struct hostd_who;

/* program: what looks; NULL: the hook beside this program, or as libvirt has it. */
struct hostd_who *hostd_who_new(uv_loop_t *loop, const char *program);
/* Kills it and forgets who waits; nobody is called back. The loop must run once more. NULL is fine.
 */
void hostd_who_free(struct hostd_who *who);

/* by: as hostd_clients_list() gives it (platform/clients.h), borrowed; empty when nothing is known.
 */
typedef void hostd_who_fn(const json_t *by, void *arg);
/* Calls back once, not before it returned. -EBUSY: too many wait. */
[[nodiscard]] int hostd_who_ask(struct hostd_who *who, hostd_who_fn *fn, void *arg);
/* The manager's command. */
void hostd_who_command(struct hostd_who *who, struct bh_bus_request *req);

#endif
