/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who guesses has to wait. Failures are counted per key (an address, an account as strangers see
 * it): the first LOCKOUT_FREE cost nothing, each further one doubles the wait from a second up to
 * LOCKOUT_WAIT_MAX_S. An hour without a failure forgets; nothing is locked for ever, so nobody can
 * lock another one out for good. The table is bounded; when it is full the entry that failed
 * longest ago goes. Pure but for its memory; the clock is the caller's.
 */
#ifndef BH_MANAGER_AUTH_LOCKOUT_H
#define BH_MANAGER_AUTH_LOCKOUT_H

#include <stdbool.h>
#include <stdint.h>

#define LOCKOUT_FREE	   5
#define LOCKOUT_WAIT_MAX_S 900
#define LOCKOUT_FORGET_S   3600
#define LOCKOUT_KEYS_MAX   8192
#define LOCKOUT_KEY_SIZE   192

struct manager_lockout;
struct manager_lockout *manager_lockout_new(void);
void manager_lockout_free(struct manager_lockout *l);

/* Seconds until the key may try again, rounded up; 0: now. */
unsigned int manager_lockout_wait(const struct manager_lockout *l, const char *key,
				  uint64_t mono_ns);
/* A failure. Returns the seconds to wait that it brings, 0: none yet. */
unsigned int manager_lockout_failed(struct manager_lockout *l, const char *key, uint64_t mono_ns);
void manager_lockout_succeeded(struct manager_lockout *l, const char *key);

/* The key of an address: of IPv6 its first 64 bits, which one caller has many addresses of. */
void manager_lockout_address_key(const char *address, char ret[LOCKOUT_KEY_SIZE]);

#endif
