/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords: argon2id at libsodium's interactive limits (64 MiB, some 0.1 s), so only on worker
 * threads, PASSWORDS_AT_ONCE of them, with a bounded queue behind. Passwords are wiped after use
 * and never logged. Loop thread only.
 */
#ifndef BH_MANAGER_AUTH_PASSWORD_H
#define BH_MANAGER_AUTH_PASSWORD_H

#include "base/diag.h"

#include <sodium.h>
#include <stdbool.h>
#include <uv.h>

#define PASSWORD_MIN	  12
#define PASSWORD_MAX	  256
#define PASSWORDS_AT_ONCE 2
#define PASSWORDS_WAITING 32
#define PASSWORD_HASH_MAX crypto_pwhash_STRBYTES

/* Is it good enough? -EINVAL with words. user: whose name must not be in it. */
[[nodiscard]] int manager_password_check(const char *password, const char *user,
					 struct bh_diag *diag);
/* One that is: 20 letters and digits in groups, for the first login. */
#define PASSWORD_MADE_SIZE 24
void manager_password_make(char ret[PASSWORD_MADE_SIZE]);

struct manager_passwords;
struct manager_passwords *manager_passwords_new(uv_loop_t *loop);
/* What runs is waited for, nothing is called any more. */
void manager_passwords_free(struct manager_passwords *p);

/* good: the password fits the hash. hash: of a hashing; NULL when there was no memory for it. */
typedef void manager_password_fn(bool good, const char *hash, void *arg);
struct manager_password_job {
	const char *password;
	const char *against; /* a hash; "" or NULL with verify: one that nothing fits, at the same
				cost */
	bool verify;	     /* else: hash it */
	manager_password_fn *fn;
	void *arg;
};
/* Copies what job points to. The id is for cancelling; 0 when too many wait. */
uint64_t manager_passwords_start(struct manager_passwords *p,
				 const struct manager_password_job *job);
/* fn of this job is not called any more. */
void manager_passwords_cancel(struct manager_passwords *p, uint64_t id);

#endif
