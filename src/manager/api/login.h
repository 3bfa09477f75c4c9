/* SPDX-License-Identifier: Apache-2.0 */
/* What routes of accounts share: who is logged in, and answers about it. */
#ifndef BH_MANAGER_API_LOGIN_H
#define BH_MANAGER_API_LOGIN_H

#include "manager/api/request.h"

#define MANAGER_COOKIE	       "__Host-bulkhead"
#define MANAGER_BEARER_SESSION "bhs_" /* before the secret of a session in Authorization */

struct manager_agent manager_request_agent(const struct manager_request *req);
/* The session whose secret the request has, open or not; its secret is left in *ret_secret
 * (borrowed from the request). As manager_session_find(). */
[[nodiscard]] int manager_request_session(struct manager_request *req, struct manager_session *ret,
					  const char **ret_secret);
/* The user who is logged in; false when it was answered, because it is root or a token. */
bool manager_request_user(struct manager_request *req, struct manager_user *ret);
/* From here on the client has this secret: by cookie, or as member `token` of body. */
void manager_request_give(struct manager_request *req, const char *secret, bool bearer,
			  json_t *body);
/* What GET /v1/session says. secret: for the CSRF value; NULL: none. Owned. */
json_t *manager_session_json(struct manager_request *req, const struct manager_principal *p,
			     const struct manager_session *s, const char *secret);
/* Text of a member in a fixed place; false when it was answered. dflt NULL: it must be there. */
bool manager_request_text(struct manager_request *req, const json_t *body, const char *key,
			  char *ret, size_t size, const char *dflt);
/* Forgets the bytes of a body that held a secret. */
void manager_request_wipe(struct manager_request *req);

/* A session that somebody left open is not enough: the password, or a factor where there is one,
 * was shown just now. False when it was answered. */
bool manager_request_proved(struct manager_request *req, const struct manager_user *u);
/* A factor was shown in an open session: it counts, under a new secret, which answer (owned by the
 * callee) gets with its CSRF value. */
void manager_request_renew(struct manager_request *req, const char *factor, unsigned int status,
			   json_t *answer);
/* Codes as a list, and forgets them. Owned. */
json_t *manager_recovery_json(char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE]);
/* The second factors that the user can show, by name; owned. */
json_t *manager_factors_json(const struct manager_user *u);

/* ---- the provider of OpenID Connect (oidc.c) ---- */
/* Can this session be shown anew there; also in a way that may count as a second factor? */
bool manager_request_steps_by_oidc(struct manager_request *req, bool as_factor);
/* Answers with the way there, now or later. */
void manager_request_step_by_oidc(struct manager_request *req);
/* The token with which this session is to log out there too; owned, NULL: it is not. Before the
 * session goes. */
char *manager_request_leaves(struct manager_request *req);
/* Answers, now or later, with where to go for that. Takes the token over. */
void manager_request_leave(struct manager_request *req, char *token);

/* ---- for the record: manager_request_changed() of an account ---- */
/* Of the account itself. before, after: owned by the callee. */
void manager_request_user_changed(struct manager_request *req, const struct manager_user *u,
				  json_t *before, json_t *after);
/* A session as people are shown it, without its secret; NULL when none of that id is open. Owned.
 */
json_t *manager_session_state(struct manager_request *req, int64_t user, int64_t id);
/* What it was before (owned by the callee); what it is now is looked up. tenant: of its user. */
void manager_request_session_changed(struct manager_request *req, uint32_t tenant, int64_t user,
				     int64_t id, json_t *before);
/* The second factors of a user, for people; owned. */
json_t *manager_factors_state(struct manager_request *req, int64_t user);

/* ---- security keys (webauthn.c) ---- */
/* Those of a user, for people; owned. */
json_t *manager_keys_json(struct manager_request *req, int64_t user);
/* Answers with a challenge of the session. */
void manager_request_ask_key(struct manager_request *req, int64_t session, int64_t user);
/* Does the body have an answer to it that a key of the user signed? False when it was answered. */
bool manager_request_check_key(struct manager_request *req, int64_t session,
			       const struct manager_user *u, const json_t *body,
			       const char *lockout_key);

/* Has the key (an account, an address) to wait? Then it was answered with 429. */
bool manager_request_waits(struct manager_request *req, const char *key);
/* A wrong one: counted for both, and an event when that brings a wait. */
void manager_request_failed(struct manager_request *req, const char *account_key, const char *user);
/* The key of an account as this address sees it: an address that has an open session of the user is
 * counted apart, so that strangers can't lock him out. */
void manager_request_account_key(struct manager_request *req, const char *name, int64_t user,
				 char ret[LOCKOUT_KEY_SIZE]);
/* The key of codes of a user, which only a right code clears: who knows the password does not get
 * to guess them for ever by giving it in between. From wherever they come. */
void manager_request_code_key(const char *name, char ret[LOCKOUT_KEY_SIZE]);

#endif
