/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may use the API: the holder of the administrator's token, compared by hash in constant time,
 * and root on the unix socket. Wrong tokens are limited per address: after ten in a minute that
 * address waits. The table of addresses is bounded; when it is full the oldest entry goes. Loop
 * thread only.
 */
#ifndef BH_MANAGER_API_AUTH_H
#define BH_MANAGER_API_AUTH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct manager_auth;
struct manager_auth *manager_auth_new(const uint8_t token_hash[32]);
void manager_auth_free(struct manager_auth *auth);

/* Seconds to wait before this address may try again; 0: now. */
unsigned int manager_auth_wait(struct manager_auth *auth, const char *address, uint64_t mono_ns);
/* header: value of Authorization, may be NULL. A wrong one counts against the address. */
bool manager_auth_check(struct manager_auth *auth, const char *header, const char *address,
			uint64_t mono_ns);

#endif
