/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected to libvirt's daemon: the nearest that libvirt comes to naming the person behind
 * a migration. The daemon's admin interface tells it (libvirt-admin), which has threads of its own
 * and answers while a hook runs. The library is loaded when it is asked for the first time, because
 * the hook starts for every VM and needs it for migrations only.
 *
 * Blocks, at most for the given time: for the hook and for worker threads, not for a loop.
 */
#ifndef BH_HOST_PLATFORM_CLIENTS_H
#define BH_HOST_PLATFORM_CLIENTS_H

#include <jansson.h>
#include <sys/types.h>

#define HOSTD_CLIENTS_MAX 16 /* newest first; the rest is left out */

/* An array (owned, maybe empty) of {transport: "unix"|"tcp"|"tls", since, and what is known of:
 * remote, user, uid, pid, sasl, dn}. Those that may only read are left out, as is process `own`.
 * daemon: "libvirtd", "virtqemud", ..; NULL: whichever of them has an admin socket. */
json_t *hostd_clients_list(const char *daemon, pid_t own, int timeout_ms);
/* The process that listens on a unix socket, 0 when nobody does. */
pid_t hostd_clients_listener(const char *path);

#endif
