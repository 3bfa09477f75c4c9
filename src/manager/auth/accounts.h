/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users as the manager knows them: what they hold, their sessions, second factors and API tokens.
 *
 * Theory of operation
 *   Everything is in bulkhead.db and read for each request, so a right that is taken away, a
 *   session that is revoked and a user who is disabled are so at the next request, and a restart
 *   drops no session. Secrets (sessions, tokens, recovery codes) are random and kept as SHA-256;
 *   the secret of an authenticator has to be readable and is sealed with a key beside the database
 *   (`pki/accounts.key`), so that the database alone gives none.
 *   What a user holds are the roles given to him, cut down to what who made him holds now; that one
 *   in turn to what his maker holds. Roles that were appointed (by root, or by a provider
 *   administrator, who does not hold them himself) are not cut.
 *   A session begins with the password; it is open when the second factor was shown or there is
 *   none. Its secret is a new one after each proof, so what was fixed or seen before is worth
 *   nothing. It belongs to the user agent that began it, and where the settings say so to the
 *   address; another agent that has the secret ends it.
 *
 * Loop thread only.
 */
#ifndef BH_MANAGER_AUTH_ACCOUNTS_H
#define BH_MANAGER_AUTH_ACCOUNTS_H

#include "manager/auth/authorize.h"
#include "manager/auth/lockout.h"
#include "manager/auth/password.h"
#include "manager/auth/totp.h"
#include "manager/auth/webauthn.h"
#include "manager/inventory/inventory.h"
#include "manager/store/accounts.h"

#include <jansson.h>

#define MANAGER_SECRET_TEXT_SIZE 44 /* 32 random bytes as base64url, with the NUL */
#define MANAGER_CSRF_SIZE	 33
#define MANAGER_RECOVERY_COUNT	 10
#define MANAGER_RECOVERY_SIZE	 12 /* "xxxxx-xxxxx" */
#define MANAGER_GIVEN_MAX	 64 /* roles of one user */
#define MANAGER_SESSIONS_MAX	 32 /* open ones of one user; the oldest goes */
#define MANAGER_TOKENS_MAX	 64 /* of one user */
#define MANAGER_KEYS_MAX	 16 /* security keys of one user */

struct manager_account_settings {
	uint64_t fresh_s;    /* how long a second factor is fresh */
	uint64_t idle_s;     /* a session that was not used for so long ends */
	uint64_t absolute_s; /* and any after this */
	bool bind_address;   /* sessions belong to the address too */
	bool admin_token;    /* admin.token is good on TCP */
	bool key_verify;     /* security keys ask for a PIN or a finger */
	/* The console's URL, from which security keys and other sites know us; "": not set. */
	char origin[WEBAUTHN_ORIGIN_MAX + 1];
	char rp_id[WEBAUTHN_RP_ID_MAX + 1]; /* its name */
};

/* What is stored, and shown; owned. */
json_t *manager_account_settings_json(const struct manager_account_settings *s);

struct manager_accounts;
struct manager_challenges;
struct manager_oidc;
struct manager_accounts_options {
	uv_loop_t *loop;
	struct manager_db *db;
	struct manager_inventory *inv;
	const char *key_file; /* made when it is not there; NULL: a key of this run (tests) */
};
[[nodiscard]] int manager_accounts_new(const struct manager_accounts_options *options,
				       struct manager_accounts **ret, struct bh_diag *diag);
void manager_accounts_free(struct manager_accounts *a);
/* Forgets sessions that are over; now and then. */
void manager_accounts_tick(struct manager_accounts *a, uint64_t now_ns);

struct manager_db *manager_accounts_db(const struct manager_accounts *a);
struct manager_lockout *manager_accounts_lockout(const struct manager_accounts *a);
struct manager_passwords *manager_accounts_passwords(const struct manager_accounts *a);
const struct manager_account_settings *manager_accounts_settings(const struct manager_accounts *a);
struct manager_challenges *manager_accounts_challenges(const struct manager_accounts *a);
struct manager_oidc *manager_accounts_oidc(const struct manager_accounts *a);
/* Checked by the caller. */
[[nodiscard]] int manager_accounts_set_settings(struct manager_accounts *a,
						const struct manager_account_settings *settings,
						struct bh_diag *diag);

/* ---- self-service of tenants ---- */
/* Off: its users ask for what they want to change (manager_holdings_by_request()). */
bool manager_self_service(const struct manager_accounts *a, uint32_t tenant);
[[nodiscard]] int manager_self_service_set(struct manager_accounts *a, uint32_t tenant, bool on,
					   struct bh_diag *diag);

/* ---- users ---- */
struct manager_user { /* a row that one may keep */
	int64_t id, maker;
	char name[MANAGER_USER_MAX + 1];
	char display[128], locale[16];
	uint32_t tenant;
	char password[PASSWORD_HASH_MAX];
	uint8_t totp[128];
	size_t totp_size;  /* 0: no authenticator */
	bool totp_pending; /* it was not confirmed yet */
	uint64_t totp_step, created_ns, login_ns;
	bool disabled, must_change;
	uint32_t keys; /* security keys; not written by manager_user_put() */
};
/* name NULL: by id. -ENOENT. */
[[nodiscard]] int manager_user_get(struct manager_accounts *a, const char *name, int64_t id,
				   struct manager_user *ret);
[[nodiscard]] int manager_user_put(struct manager_accounts *a, const struct manager_user *u,
				   struct bh_diag *diag);
/* "alice", or "alice@shop" for users of a tenant: 1 to 31 of [a-z0-9._-], beginning with a letter;
 * the tenant's name is added when it is missing. -EINVAL with words. */
[[nodiscard]] int manager_user_name(const char *text, const struct manager_tenant *tenant,
				    char ret[MANAGER_USER_MAX + 1], struct bh_diag *diag);
/* What the user may do now; via, session, token and factor are the caller's to fill. -ENOENT,
 * -EACCES when he is disabled. The holdings are the caller's to free. */
[[nodiscard]] int manager_user_principal(struct manager_accounts *a, int64_t user, uint64_t now_ns,
					 struct manager_principal *ret);
/* What his roles give: of one who may be disabled, and whose tenant may have no self-service. */
[[nodiscard]] int manager_user_holdings(struct manager_accounts *a, int64_t user, uint64_t now_ns,
					struct manager_principal *ret);
/* May he be removed? -EBUSY with words when somebody would get by it what he does not have now. */
[[nodiscard]] int manager_user_may_leave(struct manager_accounts *a, int64_t user, uint64_t now_ns,
					 struct bh_diag *diag);
/* What a role by name gives at a tenant; -ENOENT. */
[[nodiscard]] int manager_role_rights(struct manager_accounts *a, const char *role, uint32_t tenant,
				      uint64_t now_ns, uint64_t *ret_provider,
				      uint64_t *ret_tenant);

/* ---- sessions (sessions.c) ---- */
struct manager_session {
	int64_t id, user;
	bool open, bearer;
	uint64_t created_ns, used_ns, proved_ns, factor_ns;
	char factor[MANAGER_FACTOR_MAX + 1];
	uint8_t hash[MANAGER_SECRET_HASH_SIZE];
};
struct manager_agent {	   /* who is at the other end */
	const char *words; /* User-Agent; may be NULL */
	const char *address;
};
/* Fills the id. */
[[nodiscard]] int manager_session_begin(struct manager_accounts *a, struct manager_session *session,
					const struct manager_agent *agent,
					char ret_secret[MANAGER_SECRET_TEXT_SIZE],
					struct bh_diag *diag);
/* 0; -ENOENT: none, or over; -EACCES: another agent's, and now over. Marks it as used. */
[[nodiscard]] int manager_session_find(struct manager_accounts *a, const char *secret, bool bearer,
				       const struct manager_agent *agent, uint64_t now_ns,
				       struct manager_session *ret);
/* An open one of a user by its number, for who does not bring its secret; as above. */
[[nodiscard]] int manager_session_find_id(struct manager_accounts *a, int64_t id, int64_t user,
					  const struct manager_agent *agent, uint64_t now_ns,
					  struct manager_session *ret);
/* Something was proved at shown_ns: factor "" for the password. The secret is another one from here
 * on. */
[[nodiscard]] int manager_session_prove(struct manager_accounts *a, struct manager_session *s,
					const char *factor, uint64_t shown_ns,
					char ret_secret[MANAGER_SECRET_TEXT_SIZE],
					struct bh_diag *diag);
/* What mutating requests by cookie have to say; only who can read answers knows it. */
void manager_session_csrf(const char *secret, char ret[MANAGER_CSRF_SIZE]);

/* ---- API tokens (sessions.c) ---- */
#define MANAGER_TOKEN_TEXT_SIZE 72 /* bhk_<id>_<secret> */
void manager_api_token_text(int64_t id, const char *secret, char ret[MANAGER_TOKEN_TEXT_SIZE]);
/* The principal of a token's text, cut down to its scope. -ENOENT, -EACCES. */
[[nodiscard]] int manager_api_token_principal(struct manager_accounts *a, const char *text,
					      uint64_t now_ns, struct manager_principal *ret);
/* A random text and its hash. */
void manager_secret_make(char ret_text[MANAGER_SECRET_TEXT_SIZE],
			 uint8_t ret_hash[MANAGER_SECRET_HASH_SIZE]);

/* ---- second factors (factors.c) ---- */
bool manager_factor_has(const struct manager_user *u); /* any */
bool manager_factor_has_totp(const struct manager_user *u);
/* A new secret for an authenticator, as base32; it counts when its first code confirmed it. */
[[nodiscard]] int manager_factor_begin(struct manager_accounts *a, struct manager_user *u,
				       char ret_base32[MANAGER_TOTP_BASE32_SIZE],
				       struct bh_diag *diag);
/* The first code: from here on the user has an authenticator. codes: recovery codes, shown once.
 * -EACCES: the code is wrong, or nothing was begun. */
[[nodiscard]] int manager_factor_confirm(struct manager_accounts *a, struct manager_user *u,
					 const char *code, uint64_t now_ns,
					 char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE]);
/* Other recovery codes; the old ones are worth nothing any more. */
[[nodiscard]] int manager_factor_recovery(struct manager_accounts *a, int64_t user,
					  char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE],
					  struct bh_diag *diag);
/* method "totp" or "recovery". 0, -EACCES. A code is good once. */
[[nodiscard]] int manager_factor_check(struct manager_accounts *a, struct manager_user *u,
				       const char *method, const char *code, uint64_t now_ns);
/* Forgets the authenticator, and recovery codes when no other second factor is left. */
[[nodiscard]] int manager_factor_remove(struct manager_accounts *a, struct manager_user *u,
					struct bh_diag *diag);

/* Forgets every second factor: the user is back at the password. */
[[nodiscard]] int manager_factor_reset(struct manager_accounts *a, struct manager_user *u,
				       struct bh_diag *diag);

/* ---- internal to auth/ ---- */
const uint8_t *manager_accounts_key(const struct manager_accounts *a); /* for sealing */

#endif
