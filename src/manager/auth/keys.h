/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Security keys of users: challenges, and what is kept of a key. A challenge belongs to one session
 * and one purpose, is good once and for KEYS_CHALLENGE_MS, and lives in memory only; a restart
 * makes the browser ask anew. Loop thread only.
 */
#ifndef BH_MANAGER_AUTH_KEYS_H
#define BH_MANAGER_AUTH_KEYS_H

#include "manager/auth/accounts.h"
#include "manager/auth/webauthn.h"

#define KEYS_CHALLENGE_MS   120000
#define KEYS_CHALLENGES_MAX 4096 /* the oldest goes */
#define KEYS_NAME_MAX	    60

enum manager_key_purpose { MANAGER_KEY_NEW = 1, MANAGER_KEY_PROVE };

struct manager_challenges;
struct manager_challenges *manager_challenges_new(void);
void manager_challenges_free(struct manager_challenges *c); /* NULL is fine */

/* Another one for the session; what it had before is worth nothing. */
void manager_challenge_make(struct manager_challenges *c, int64_t session,
			    enum manager_key_purpose purpose, uint64_t mono_ns,
			    uint8_t ret[WEBAUTHN_CHALLENGE_SIZE]);
/* The session's, which is gone then. -ENOENT: none, of another purpose, or too old. */
[[nodiscard]] int manager_challenge_take(struct manager_challenges *c, int64_t session,
					 enum manager_key_purpose purpose, uint64_t mono_ns,
					 uint8_t ret[WEBAUTHN_CHALLENGE_SIZE]);

/* Fills origin, rp_id (both of *settings) and verify. -ENOENT with words: the console's URL is not
 * set, or is an address, for which browsers use no keys. */
[[nodiscard]] int manager_keys_wanted(const struct manager_account_settings *settings,
				      struct manager_webauthn_wanted *ret, struct bh_diag *diag);

/* -EEXIST: the key is somebody's already; -EDQUOT: the user has MANAGER_KEYS_MAX. */
[[nodiscard]] int manager_key_add(struct manager_accounts *a, int64_t user, const char *name,
				  const struct manager_webauthn_key *key, uint64_t now_ns,
				  int64_t *ret_id);
/* The user's key of that credential id signed what was wanted. -EACCES with words;
 * MANAGER_WEBAUTHN_COPIED with its name in diag. */
[[nodiscard]] int manager_key_check(struct manager_accounts *a, int64_t user,
				    struct manager_webauthn_bytes id,
				    const struct manager_webauthn_wanted *wanted,
				    const struct manager_webauthn_answer *answer,
				    struct bh_diag *diag);
/* Forgets one; recovery codes too when no other second factor is left. -ENOENT. */
[[nodiscard]] int manager_key_drop(struct manager_accounts *a, const struct manager_user *u,
				   int64_t id, struct bh_diag *diag);

#endif
