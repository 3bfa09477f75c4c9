/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts in bulkhead.db: users, what roles they were given, custom roles, sessions, recovery
 * codes, API tokens. Secrets are here as hashes only, the secret of an authenticator sealed. As
 * store.h: rows go out through callbacks and are borrowed for the call. Loop thread only.
 */
#ifndef BH_MANAGER_STORE_ACCOUNTS_H
#define BH_MANAGER_STORE_ACCOUNTS_H

#include "manager/store/db.h"

#define MANAGER_SECRET_HASH_SIZE 32

/* ---- users ---- */
struct manager_store_user {
	int64_t id;
	const char *name, *display;
	uint32_t tenant;
	int64_t maker;	      /* who made him; 0: root */
	const char *password; /* argon2id; "": none */
	const void *totp;     /* sealed; NULL: no authenticator */
	size_t totp_size;
	uint64_t totp_step; /* the last one that was used */
	const char *locale;
	uint64_t created_ns, login_ns;
	bool disabled;
	bool must_change; /* the password is not of his own making */
	uint32_t keys;	  /* how many security keys he has; only read */
};
typedef int manager_store_user_fn(const struct manager_store_user *row, void *arg);
/* By name. */
[[nodiscard]] int manager_store_users(struct manager_db *db, manager_store_user_fn *fn, void *arg,
				      struct bh_diag *diag);
/* Calls fn for the one of that name, or with name NULL of that id. -ENOENT. */
[[nodiscard]] int manager_store_user(struct manager_db *db, const char *name, int64_t id,
				     manager_store_user_fn *fn, void *arg);
/* -EEXIST. */
[[nodiscard]] int manager_store_add_user(struct manager_db *db,
					 const struct manager_store_user *row, int64_t *ret_id,
					 struct bh_diag *diag);
/* Everything but name, tenant and maker. */
[[nodiscard]] int manager_store_set_user(struct manager_db *db,
					 const struct manager_store_user *row,
					 struct bh_diag *diag);
/* Whom and which roles he made his maker has made from here on. */
[[nodiscard]] int manager_store_leave_users(struct manager_db *db, int64_t id,
					    struct bh_diag *diag);
/* With all that hangs on him; whom he made was made by his maker from here on. */
[[nodiscard]] int manager_store_drop_user(struct manager_db *db, int64_t id, struct bh_diag *diag);
bool manager_store_has_users(struct manager_db *db, uint32_t tenant);

/* ---- roles given ---- */
struct manager_store_given {
	int64_t id, user;
	const char *role;
	uint32_t tenant;   /* 0: all */
	uint64_t until_ns; /* 0: no end */
	bool appointed;	   /* by role.appoint or root: not limited by what the user's maker holds */
	const char *by;
	uint64_t since_ns;
};
typedef int manager_store_given_fn(const struct manager_store_given *row, void *arg);
/* user 0: of all. */
[[nodiscard]] int manager_store_givens(struct manager_db *db, int64_t user,
				       manager_store_given_fn *fn, void *arg, struct bh_diag *diag);
[[nodiscard]] int manager_store_add_given(struct manager_db *db,
					  const struct manager_store_given *row, int64_t *ret_id,
					  struct bh_diag *diag);
/* -ENOENT. */
[[nodiscard]] int manager_store_drop_given(struct manager_db *db, int64_t user, int64_t id,
					   struct bh_diag *diag);

/* ---- custom roles of tenants ---- */
struct manager_store_role {
	uint32_t tenant;
	const char *name, *rights, *words;
	int64_t maker; /* whose rights bound it; 0: root */
};
typedef int manager_store_role_fn(const struct manager_store_role *row, void *arg);
/* name NULL: all, by tenant and name; else the one. */
[[nodiscard]] int manager_store_roles(struct manager_db *db, uint32_t tenant, const char *name,
				      manager_store_role_fn *fn, void *arg, struct bh_diag *diag);
[[nodiscard]] int manager_store_add_role(struct manager_db *db,
					 const struct manager_store_role *row,
					 struct bh_diag *diag);
/* With where it was given. -ENOENT. */
[[nodiscard]] int manager_store_drop_role(struct manager_db *db, uint32_t tenant, const char *name,
					  struct bh_diag *diag);

/* ---- sessions ---- */
struct manager_store_session {
	int64_t id, user;
	const void *hash; /* of its secret */
	bool open;	  /* false: the second factor is still to come */
	bool bearer;	  /* its secret travels in Authorization, not in the cookie */
	uint64_t created_ns, used_ns;
	uint64_t proved_ns; /* when the password or a factor was shown last */
	uint64_t factor_ns; /* when a second factor was; 0: never */
	const char *factor;
	const void *agent;	 /* hash of the user agent */
	const char *agent_words; /* for people */
	const char *address;
};
typedef int manager_store_session_fn(const struct manager_store_session *row, void *arg);
/* The one with that hash. -ENOENT. */
[[nodiscard]] int manager_store_session(struct manager_db *db, const void *hash,
					manager_store_session_fn *fn, void *arg);
/* Those that are open, or those that are not, the newest first; user 0: of all. */
[[nodiscard]] int manager_store_sessions(struct manager_db *db, int64_t user, bool open,
					 manager_store_session_fn *fn, void *arg,
					 struct bh_diag *diag);
[[nodiscard]] int manager_store_add_session(struct manager_db *db,
					    const struct manager_store_session *row,
					    int64_t *ret_id, struct bh_diag *diag);
/* hash, open, used, proved, factor. */
[[nodiscard]] int manager_store_set_session(struct manager_db *db,
					    const struct manager_store_session *row,
					    struct bh_diag *diag);
[[nodiscard]] int manager_store_drop_session(struct manager_db *db, int64_t id,
					     struct bh_diag *diag);
/* Of a user, but `keep`. */
[[nodiscard]] int manager_store_drop_sessions(struct manager_db *db, int64_t user, int64_t keep,
					      struct bh_diag *diag);
/* Those not used or not made since. */
[[nodiscard]] int manager_store_trim_sessions(struct manager_db *db, uint64_t used_ns,
					      uint64_t created_ns, struct bh_diag *diag);
/* Has the user logged in from this address in one of the sessions kept? */
bool manager_store_knows_address(struct manager_db *db, int64_t user, const char *address);

/* ---- recovery codes ---- */
[[nodiscard]] int manager_store_set_recovery(struct manager_db *db, int64_t user,
					     const uint8_t (*hashes)[MANAGER_SECRET_HASH_SIZE],
					     size_t count, struct bh_diag *diag);
/* Takes it away; -ENOENT when there is none. */
[[nodiscard]] int manager_store_use_recovery(struct manager_db *db, int64_t user, const void *hash,
					     struct bh_diag *diag);
unsigned int manager_store_recovery_left(struct manager_db *db, int64_t user);

/* ---- security keys (keys.c) ---- */
struct manager_store_key {
	int64_t id, user;
	const char *name;
	const void *credential; /* the key's own id for itself */
	size_t credential_size;
	int alg; /* COSE */
	const void *public_key;
	size_t public_size;
	uint32_t count; /* of its signatures */
	uint64_t created_ns, used_ns;
};
typedef int manager_store_key_fn(const struct manager_store_key *row, void *arg);
[[nodiscard]] int manager_store_keys(struct manager_db *db, int64_t user, manager_store_key_fn *fn,
				     void *arg, struct bh_diag *diag);
/* -EEXIST: somebody has it. */
[[nodiscard]] int manager_store_add_key(struct manager_db *db, const struct manager_store_key *row,
					int64_t *ret_id, struct bh_diag *diag);
/* -ENOENT, also of those below. */
[[nodiscard]] int manager_store_use_key(struct manager_db *db, int64_t id, uint32_t count,
					uint64_t now_ns, struct bh_diag *diag);
[[nodiscard]] int manager_store_name_key(struct manager_db *db, int64_t id, int64_t user,
					 const char *name, struct bh_diag *diag);
/* id 0: all of the user. */
[[nodiscard]] int manager_store_drop_key(struct manager_db *db, int64_t id, int64_t user,
					 struct bh_diag *diag);

/* ---- who a provider's subject is (links.c) ---- */
int64_t manager_store_linked(struct manager_db *db, const char *issuer,
			     const char *subject); /* its user; 0: none */
/* -EEXIST: it is somebody's. */
[[nodiscard]] int manager_store_link(struct manager_db *db, int64_t user, const char *issuer,
				     const char *subject, struct bh_diag *diag);
/* All of a user. -ENOENT. */
[[nodiscard]] int manager_store_unlink(struct manager_db *db, int64_t user, struct bh_diag *diag);
typedef int manager_store_link_fn(const char *issuer, const char *subject, void *arg);
[[nodiscard]] int manager_store_links(struct manager_db *db, int64_t user,
				      manager_store_link_fn *fn, void *arg);
/* What is kept of the provider's token of a session, as long as the session. */
[[nodiscard]] int manager_store_keep_token(struct manager_db *db, int64_t session,
					   const char *sealed, struct bh_diag *diag);
char *manager_store_kept_token(struct manager_db *db, int64_t session); /* owned; NULL: none */
/* Roles that were given by this one. */
[[nodiscard]] int manager_store_drop_givens_by(struct manager_db *db, int64_t user, const char *by,
					       struct bh_diag *diag);

/* ---- API tokens ---- */
struct manager_store_api_token {
	int64_t id, user;
	const char *name, *rights;
	const void *hash;
	uint32_t tenant; /* 0: wherever the user has the rights */
	uint64_t created_ns, expires_ns, used_ns;
	bool factor; /* made with a second factor */
};
typedef int manager_store_api_token_fn(const struct manager_store_api_token *row, void *arg);
/* id 0: all of the user (user 0: of all). */
[[nodiscard]] int manager_store_api_tokens(struct manager_db *db, int64_t id, int64_t user,
					   manager_store_api_token_fn *fn, void *arg,
					   struct bh_diag *diag);
[[nodiscard]] int manager_store_add_api_token(struct manager_db *db,
					      const struct manager_store_api_token *row,
					      int64_t *ret_id, struct bh_diag *diag);
[[nodiscard]] int manager_store_touch_api_token(struct manager_db *db, int64_t id, uint64_t now_ns);
/* -ENOENT. */
[[nodiscard]] int manager_store_drop_api_token(struct manager_db *db, int64_t id, int64_t user,
					       struct bh_diag *diag);

/* ---- settings: small JSON texts by name ---- */
/* Owned; NULL when there is none. */
char *manager_store_setting(struct manager_db *db, const char *name);
[[nodiscard]] int manager_store_set_setting(struct manager_db *db, const char *name,
					    const char *text, struct bh_diag *diag);

#endif
