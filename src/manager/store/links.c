/* SPDX-License-Identifier: Apache-2.0 */
/* Which user a provider's subject is (accounts.h). */
#include "manager/store/accounts.h"

#include "base/util.h"

#include <errno.h>

int64_t manager_store_linked(struct manager_db *db, const char *issuer, const char *subject)
{
	return manager_db_number(db, 0,
				 "SELECT user FROM oidc_links WHERE issuer = ?1 AND subject = ?2",
				 "tt", issuer, subject);
}

int manager_store_link(struct manager_db *db, int64_t user, const char *issuer, const char *subject,
		       struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT INTO oidc_links VALUES (?1, ?2, ?3)", "tti", issuer,
			      subject, user);
}

int manager_store_unlink(struct manager_db *db, int64_t user, struct bh_diag *diag)
{
	int r = manager_db_run(db, diag, "DELETE FROM oidc_links WHERE user = ?1", "i", user);

	return r == 0 && manager_db_changes(db) == 0
		       ? bh_diag_set(diag, -ENOENT, "this user is linked with no provider")
		       : r;
}

struct link_arg {
	manager_store_link_fn *fn;
	void *arg;
};

static int link_row(sqlite3_stmt *row, void *arg)
{
	struct link_arg *a = arg;

	return a->fn(manager_db_text(row, 0), manager_db_text(row, 1), a->arg);
}

int manager_store_links(struct manager_db *db, int64_t user, manager_store_link_fn *fn, void *arg)
{
	struct link_arg a = {fn, arg};

	return manager_db_each(db, (struct manager_db_each){link_row, &a}, NULL,
			       "SELECT issuer, subject FROM oidc_links WHERE user = ?1"
			       " ORDER BY issuer, subject",
			       "i", user);
}

int manager_store_keep_token(struct manager_db *db, int64_t session, const char *sealed,
			     struct bh_diag *diag)
{
	return manager_db_run(db, diag,
			      "INSERT INTO session_tokens VALUES (?1, ?2)"
			      " ON CONFLICT (session) DO UPDATE SET sealed = ?2",
			      "it", session, sealed);
}

static int keep_text(sqlite3_stmt *row, void *arg)
{
	*(char **)arg = bh_strdup(manager_db_text(row, 0));
	return 1;
}

char *manager_store_kept_token(struct manager_db *db, int64_t session)
{
	char *text = NULL;

	(void)!manager_db_each(db, (struct manager_db_each){keep_text, &text}, NULL,
			       "SELECT sealed FROM session_tokens WHERE session = ?1", "i",
			       session);
	return text;
}

int manager_store_drop_givens_by(struct manager_db *db, int64_t user, const char *by,
				 struct bh_diag *diag)
{
	return manager_db_run(db, diag, "DELETE FROM user_roles WHERE user = ?1 AND by = ?2", "it",
			      user, by);
}
