/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections an address has open, and behind a trusted proxy how many requests: one of
 * either is one place. An address has MANAGER_CROWD_MAX places, so that nobody alone keeps the
 * others out. Trusted proxies have as many as there are. Loop thread only.
 */
#ifndef BH_MANAGER_API_CROWD_H
#define BH_MANAGER_API_CROWD_H

#include <stdbool.h>
#include <sys/socket.h>

#define MANAGER_CROWD_MAX     128
#define MANAGER_CROWD_ADDRESS 64 /* bytes of an address as text */

struct manager_crowd;

struct manager_crowd *manager_crowd_new(void);
void manager_crowd_free(struct manager_crowd *crowd);
/* False, and counted: it has all its places already. */
bool manager_crowd_enter(struct manager_crowd *crowd, const char *address);
void manager_crowd_leave(struct manager_crowd *crowd, const char *address);
/* Would it be let in? */
bool manager_crowd_has_room(const struct manager_crowd *crowd, const char *address);
/* The address as text; "" for what is none. */
void manager_crowd_address(const struct sockaddr *sa, char ret[MANAGER_CROWD_ADDRESS]);

#endif
