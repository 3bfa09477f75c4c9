/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in where the organisation does: OpenID Connect Core 1.0, authorization code with PKCE
 * (RFC 7636).
 *
 * Theory of operation
 *   A login begins with a state, a nonce and a verifier, kept in memory for OIDC_PENDING_S, and a
 *   cookie that binds them to the browser. The provider sends the browser back with a code, which a
 *   worker redeems for an ID token; nothing else of the provider's answer is used. The token is
 *   taken when it is signed, by an asymmetric algorithm of a fixed list, with a key of the
 *   provider's own set that fits the algorithm, and when issuer, audience, party, times and nonce
 *   are as wanted. A key that is not known makes the set be fetched once more, at most every
 *   OIDC_REFRESH_S. Signatures are checked by libjose; everything that comes from the provider is
 *   bounded. Users are told apart by issuer and subject alone, never by a name or an address.
 *
 *   A step-up is one more such way, of a session that is open, with prompt=login and max_age=0: the
 *   token has to say that somebody was asked after it began (auth_time), and be of the subject that
 *   the session's user is linked with. It counts as a second factor when amr or acr say so, else as
 *   a password. A login asks for auth_time too: with a session at the provider nobody was asked
 *   just now, and the factor is as old as it says.
 *
 * Checks are pure; oidc_fetch.c runs in workers; the rest is the loop's.
 */
#ifndef BH_MANAGER_AUTH_OIDC_H
#define BH_MANAGER_AUTH_OIDC_H

#include "manager/auth/accounts.h"

#define OIDC_DOCUMENT_MAX    (256u << 10) /* bytes of an answer of the provider */
#define OIDC_TOKEN_MAX	     16384
#define OIDC_KEYS_MAX	     64 /* of the provider's set that are looked at */
#define OIDC_SUBJECT_MAX     255
#define OIDC_CODE_MAX	     2048
#define OIDC_URL_MAX	     1024
#define OIDC_HINT_MAX	     4096 /* of an ID token that goes into a URL */
#define OIDC_PENDING_MAX     1024 /* logins under way; the oldest goes */
#define OIDC_PENDING_ADDRESS 16	  /* of these, of one address */
#define OIDC_PENDING_S	     600
#define OIDC_CACHE_S	     3600 /* how long what the provider says about itself is good */
#define OIDC_REFRESH_S	     30
#define OIDC_SKEW_S	     60	 /* between its clock and ours */
#define OIDC_AGE_S	     600 /* a token that is older is none of this login */
#define OIDC_RULES_MAX	     64
#define OIDC_VALUES_MAX	     512 /* of a claim that are looked at */

enum manager_oidc_error {
	MANAGER_OIDC_NO_KEY = 1, /* none of that name in the set */
};

/* ---- pure (oidc.c) ---- */
/* Of the form of PUT /v1/settings/oidc? -EINVAL with words. */
[[nodiscard]] int manager_oidc_check_settings(const json_t *settings, struct bh_diag *diag);
/* What the provider says about itself. -EACCES with words. */
[[nodiscard]] int manager_oidc_check_provider(const json_t *settings, const json_t *provider,
					      struct bh_diag *diag);
struct manager_oidc_said {
	const char *token; /* borrowed, as the nonce that was given for it */
	const char *nonce;
	uint64_t now_s;
};
/* The claims of an ID token; owned. -EACCES with words, MANAGER_OIDC_NO_KEY. */
[[nodiscard]] int manager_oidc_token(const json_t *settings, const json_t *keys,
				     const struct manager_oidc_said *said, json_t **ret_claims,
				     struct bh_diag *diag);
/* Has the claim (a text or a list of texts) this value? */
bool manager_oidc_has(const json_t *claims, const char *claim, const char *value);
/* Does what the provider asked for count as a second factor, by the settings' amr and acr? */
bool manager_oidc_factor(const json_t *settings, const json_t *claims);
/* Has the settings' amr or acr anything that could count? */
bool manager_oidc_may_count(const json_t *settings);
/* Where people log out at the provider; NULL: it does not say. Borrowed. */
const char *manager_oidc_end_session(const json_t *provider);
/* When somebody was asked at the provider, in seconds; 0: it does not say. */
uint64_t manager_oidc_asked(const json_t *claims);
/* Was that for a step-up that began at since_s? -EACCES with words. */
[[nodiscard]] int manager_oidc_fresh(const json_t *claims, uint64_t since_s, struct bh_diag *diag);
/* The S256 challenge of a verifier, base64url. */
void manager_oidc_challenge(const char *verifier, char ret[MANAGER_SECRET_TEXT_SIZE]);

/* ---- the provider (oidc_fetch.c), in a worker ---- */
struct manager_oidc_talk {
	json_t *settings;	 /* owned, as all of these */
	json_t *provider, *keys; /* what is known; NULL: nothing yet. Filled */
	char *redirect, *code, *verifier, *nonce;
	int stop_fd; /* readable: the manager ends. Not owned */
	bool may_refresh;
	bool fetched;	/* keys, in this talk */
	bool refreshed; /* because one was not known */
	json_t *claims; /* the outcome, and the token that says them */
	char *token;
};
void manager_oidc_talk_done(struct manager_oidc_talk *t);
/* What it says about itself, when that is not known. -EIO, -EACCES with words. */
[[nodiscard]] int manager_oidc_discover(struct manager_oidc_talk *t, struct bh_diag *diag);
/* Claims for the code. */
[[nodiscard]] int manager_oidc_redeem(struct manager_oidc_talk *t, struct bh_diag *diag);

/* ---- state (oidc_state.c) ---- */
struct manager_oidc_pending {
	char nonce[MANAGER_SECRET_TEXT_SIZE], verifier[MANAGER_SECRET_TEXT_SIZE];
	char cookie[MANAGER_SECRET_TEXT_SIZE];
	int64_t session, user; /* of a step-up; 0: of a login */
	uint64_t begun_s;
};
struct manager_oidc_asker {
	const char *address;
	int64_t session, user; /* of a step-up; 0 */
};
struct manager_oidc;
struct manager_oidc *manager_oidc_new(struct manager_accounts *a);
/* NULL is fine. Ends what is under way; the last worker's end frees it. */
void manager_oidc_free(struct manager_oidc *o);
/* NULL when it was never set; borrowed. */
const json_t *manager_oidc_settings(const struct manager_oidc *o);
/* Checked by the caller; sealed in the database. What was known of the provider is forgotten. */
[[nodiscard]] int manager_oidc_set_settings(struct manager_oidc *o, json_t *settings,
					    struct bh_diag *diag);
/* Is it switched on, and does the console have a URL to come back to? */
bool manager_oidc_on(const struct manager_oidc *o);
/* A new login. -EDQUOT: too many of this address. ret_state: what names it. */
[[nodiscard]] int manager_oidc_begin(struct manager_oidc *o, const struct manager_oidc_asker *asker,
				     uint64_t mono_ns, char ret_state[MANAGER_SECRET_TEXT_SIZE],
				     struct manager_oidc_pending *ret);
/* It, which is gone then. -ENOENT: unknown, too old, or of another browser. */
[[nodiscard]] int manager_oidc_take(struct manager_oidc *o, const char *state, const char *cookie,
				    uint64_t mono_ns, struct manager_oidc_pending *ret);
/* One more in a worker? At most max; false: too many. And one less. */
bool manager_oidc_works(struct manager_oidc *o, unsigned int max);
void manager_oidc_worked(struct manager_oidc *o);
/* The ID token of a session, sealed in the database as long as that is, for logging out at the
 * provider. Nothing is kept when the settings don't want that, or it is too long for a URL. */
[[nodiscard]] int manager_oidc_keep_token(struct manager_oidc *o, int64_t session,
					  const char *token, struct bh_diag *diag);
/* Owned; NULL: none. */
char *manager_oidc_kept_token(struct manager_oidc *o, int64_t session);
/* Copies of settings and of what is known, for a worker; and what it learned. */
void manager_oidc_talk_init(const struct manager_oidc *o, uint64_t mono_ns,
			    struct manager_oidc_talk *ret);
void manager_oidc_learn(struct manager_oidc *o, const struct manager_oidc_talk *t,
			uint64_t mono_ns);

#endif
