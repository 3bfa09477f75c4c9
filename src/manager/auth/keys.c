/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/keys.h"

#include "base/counter.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <errno.h>
#include <uthash.h>

BH_COUNTER(auth_keys_copied, "answers of security keys refused because their counter went back");

struct challenge {
	int64_t session;
	enum manager_key_purpose purpose;
	uint64_t until_ns;
	uint8_t bytes[WEBAUTHN_CHALLENGE_SIZE];
	UT_hash_handle hh;
};

struct manager_challenges {
	struct challenge *all; /* the oldest first */
};

struct manager_challenges *manager_challenges_new(void)
{
	return bh_alloc(sizeof(struct manager_challenges));
}

static void drop(struct manager_challenges *c, struct challenge *one)
{
	HASH_DEL(c->all, one);
	free(one);
}

void manager_challenges_free(struct manager_challenges *c)
{
	struct challenge *one, *tmp;

	if (!c) {
		return;
	}
	HASH_ITER (hh, c->all, one, tmp) {
		drop(c, one);
	}
	free(c);
}

static struct challenge *find(struct manager_challenges *c, int64_t session)
{
	struct challenge *one;

	HASH_FIND(hh, c->all, &session, sizeof(session), one);
	return one;
}

void manager_challenge_make(struct manager_challenges *c, int64_t session,
			    enum manager_key_purpose purpose, uint64_t mono_ns,
			    uint8_t ret[WEBAUTHN_CHALLENGE_SIZE])
{
	struct challenge *one = find(c, session);

	if (one) {
		drop(c, one);
	}
	if (HASH_COUNT(c->all) >= KEYS_CHALLENGES_MAX) {
		drop(c, c->all);
	}
	one = bh_alloc(sizeof(*one));
	one->session = session;
	one->purpose = purpose;
	one->until_ns = mono_ns + KEYS_CHALLENGE_MS * BH_NS_PER_MS;
	randombytes_buf(one->bytes, sizeof(one->bytes));
	HASH_ADD(hh, c->all, session, sizeof(one->session), one);
	memcpy(ret, one->bytes, sizeof(one->bytes));
}

int manager_challenge_take(struct manager_challenges *c, int64_t session,
			   enum manager_key_purpose purpose, uint64_t mono_ns,
			   uint8_t ret[WEBAUTHN_CHALLENGE_SIZE])
{
	struct challenge *one = find(c, session);
	bool good = one && one->purpose == purpose && mono_ns < one->until_ns;

	if (good) {
		memcpy(ret, one->bytes, sizeof(one->bytes));
	}
	if (one) {
		drop(c, one);
	}
	return good ? 0 : -ENOENT;
}

int manager_keys_wanted(const struct manager_account_settings *settings,
			struct manager_webauthn_wanted *ret, struct bh_diag *diag)
{
	struct in_addr address;

	if (!*settings->origin) {
		return bh_diag_set(diag, -ENOENT,
				   "security keys need the console's URL: set console_url");
	}
	if (inet_pton(AF_INET, settings->rp_id, &address) == 1) {
		return bh_diag_set(diag, -ENOENT,
				   "security keys need a name in the setting console_url, not an "
				   "address");
	}
	memset(ret, 0, sizeof(*ret));
	ret->origin = settings->origin;
	ret->rp_id = settings->rp_id;
	ret->verify = settings->key_verify;
	return 0;
}

/* ---- what is kept ---- */

int manager_key_add(struct manager_accounts *a, int64_t user, const char *name,
		    const struct manager_webauthn_key *key, uint64_t now_ns, int64_t *ret_id)
{
	struct manager_store_key row = {.user = user,
					.name = name,
					.credential = key->id,
					.credential_size = key->id_size,
					.alg = key->alg,
					.public_key = key->public_key,
					.public_size = key->public_size,
					.count = key->count,
					.created_ns = now_ns};
	struct manager_user u;
	int r = manager_user_get(a, NULL, user, &u);

	if (r < 0) {
		return r;
	}
	return u.keys >= MANAGER_KEYS_MAX
		       ? -EDQUOT
		       : manager_store_add_key(manager_accounts_db(a), &row, ret_id, NULL);
}

struct wanted_key {
	struct manager_webauthn_bytes id;
	struct manager_webauthn_key key;
	int64_t row;
	char name[KEYS_NAME_MAX + 1];
};

static int keep_wanted(const struct manager_store_key *row, void *arg)
{
	struct wanted_key *w = arg;

	if (row->credential_size != w->id.size ||
	    memcmp(row->credential, w->id.data, w->id.size) != 0 ||
	    row->public_size > sizeof(w->key.public_key)) {
		return 0;
	}
	w->row = row->id;
	w->key.alg = row->alg;
	w->key.count = row->count;
	w->key.public_size = row->public_size;
	memcpy(w->key.public_key, row->public_key, row->public_size);
	snprintf(w->name, sizeof(w->name), "%s", row->name);
	return 1;
}

int manager_key_check(struct manager_accounts *a, int64_t user, struct manager_webauthn_bytes id,
		      const struct manager_webauthn_wanted *wanted,
		      const struct manager_webauthn_answer *answer, struct bh_diag *diag)
{
	struct manager_db *db = manager_accounts_db(a);
	struct wanted_key w = {.id = id};
	int r = manager_store_keys(db, user, keep_wanted, &w, diag);

	if (r < 0) {
		return r;
	}
	if (!w.row) {
		return bh_diag_set(diag, -EACCES, "this is no security key of the user");
	}
	r = manager_webauthn_check(wanted, answer, &w.key, diag);
	if (r == MANAGER_WEBAUTHN_COPIED) {
		bh_counter_add(&auth_keys_copied, 1);
		bh_diag_set(diag, -EACCES, "%s", w.name);
	}
	return r ? r : manager_store_use_key(db, w.row, w.key.count, bh_time_wall_ns(), diag);
}

int manager_key_drop(struct manager_accounts *a, const struct manager_user *u, int64_t id,
		     struct bh_diag *diag)
{
	struct manager_db *db = manager_accounts_db(a);
	int r = manager_store_drop_key(db, id, u->id, diag);

	if (r < 0 || u->keys > 1 || manager_factor_has_totp(u)) {
		return r;
	}
	return manager_store_set_recovery(db, u->id, NULL, 0, diag);
}
