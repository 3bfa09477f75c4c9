/* SPDX-License-Identifier: Apache-2.0 */
/* Second factors: the secret of an authenticator, sealed, and codes for when it is lost. */
#include "manager/auth/accounts.h"

#include "base/time.h"

#include <errno.h>

#define SEALED_SIZE                                                                                \
	(crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + MANAGER_TOTP_SECRET_SIZE)

static void seal(const struct manager_accounts *a, const uint8_t *secret, struct manager_user *u)
{
	_Static_assert(SEALED_SIZE <= sizeof(u->totp), "a sealed secret fits");
	randombytes_buf(u->totp, crypto_secretbox_NONCEBYTES);
	crypto_secretbox_easy(u->totp + crypto_secretbox_NONCEBYTES, secret,
			      MANAGER_TOTP_SECRET_SIZE, u->totp, manager_accounts_key(a));
	u->totp_size = SEALED_SIZE;
}

static int unseal(const struct manager_accounts *a, const struct manager_user *u,
		  uint8_t ret[MANAGER_TOTP_SECRET_SIZE])
{
	if (u->totp_size != SEALED_SIZE ||
	    crypto_secretbox_open_easy(ret, u->totp + crypto_secretbox_NONCEBYTES,
				       SEALED_SIZE - crypto_secretbox_NONCEBYTES, u->totp,
				       manager_accounts_key(a)) != 0) {
		return -EBADMSG;
	}
	return 0;
}

/* People type them with or without the dash, in capitals or not. With the key: 50 bits are few for
 * who has the database. */
_Static_assert(crypto_auth_hmacsha256_KEYBYTES == crypto_secretbox_KEYBYTES, "one key");
static void hash_code(const struct manager_accounts *a, const char *code,
		      uint8_t ret[MANAGER_SECRET_HASH_SIZE])
{
	char plain[MANAGER_RECOVERY_SIZE] = "";
	size_t len = 0;

	for (const char *p = code; *p && len < sizeof(plain) - 1; p++) {
		char c = *p >= 'A' && *p <= 'Z' ? (char)(*p + 'a' - 'A') : *p;

		if (c != '-' && c != ' ') {
			plain[len++] = c;
		}
	}
	crypto_auth_hmacsha256(ret, (const unsigned char *)plain, len, manager_accounts_key(a));
}

int manager_factor_recovery(struct manager_accounts *a, int64_t user,
			    char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE],
			    struct bh_diag *diag)
{
	static const char alphabet[] = "abcdefghjkmnpqrstuvwxyz23456789";
	uint8_t hashes[MANAGER_RECOVERY_COUNT][MANAGER_SECRET_HASH_SIZE];

	for (size_t i = 0; i < MANAGER_RECOVERY_COUNT; i++) {
		for (size_t k = 0; k < MANAGER_RECOVERY_SIZE - 1; k++) {
			codes[i][k] =
				k == 5 ? '-' : alphabet[randombytes_uniform(sizeof(alphabet) - 1)];
		}
		codes[i][MANAGER_RECOVERY_SIZE - 1] = '\0';
		hash_code(a, codes[i], hashes[i]);
	}
	return manager_store_set_recovery(manager_accounts_db(a), user, hashes,
					  MANAGER_RECOVERY_COUNT, diag);
}

static int check_totp(struct manager_accounts *a, struct manager_user *u, const char *code,
		      uint64_t now_ns)
{
	uint8_t secret[MANAGER_TOTP_SECRET_SIZE];
	uint64_t step;
	bool good;

	if (unseal(a, u, secret) < 0) {
		return -EACCES;
	}
	good = manager_totp_check(secret, code, now_ns / BH_NS_PER_S, u->totp_step, &step);
	sodium_memzero(secret, sizeof(secret));
	if (!good) {
		return -EACCES;
	}
	u->totp_step = step;
	return manager_user_put(a, u, NULL); /* not good a second time, or not good */
}

bool manager_factor_has_totp(const struct manager_user *u)
{
	return u->totp_size && !u->totp_pending;
}

bool manager_factor_has(const struct manager_user *u)
{
	return u->keys || manager_factor_has_totp(u);
}

int manager_factor_begin(struct manager_accounts *a, struct manager_user *u,
			 char ret_base32[MANAGER_TOTP_BASE32_SIZE], struct bh_diag *diag)
{
	uint8_t secret[MANAGER_TOTP_SECRET_SIZE];

	randombytes_buf(secret, sizeof(secret));
	seal(a, secret, u);
	u->totp_pending = true;
	manager_totp_base32(secret, ret_base32);
	sodium_memzero(secret, sizeof(secret));
	return manager_user_put(a, u, diag);
}

int manager_factor_confirm(struct manager_accounts *a, struct manager_user *u, const char *code,
			   uint64_t now_ns,
			   char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE])
{
	if (!u->totp_pending) {
		return -EACCES;
	}
	u->totp_pending = false;
	if (check_totp(a, u, code, now_ns) < 0) {
		return -EACCES;
	}
	return manager_factor_recovery(a, u->id, codes, NULL);
}

int manager_factor_check(struct manager_accounts *a, struct manager_user *u, const char *method,
			 const char *code, uint64_t now_ns)
{
	uint8_t hash[MANAGER_SECRET_HASH_SIZE];

	if (strcmp(method, "totp") == 0 && manager_factor_has_totp(u)) {
		return check_totp(a, u, code, now_ns);
	}
	if (strcmp(method, "recovery") != 0) {
		return -EACCES;
	}
	hash_code(a, code, hash);
	return manager_store_use_recovery(manager_accounts_db(a), u->id, hash, NULL) == 0 ? 0
											  : -EACCES;
}

int manager_factor_remove(struct manager_accounts *a, struct manager_user *u, struct bh_diag *diag)
{
	int r;

	u->totp_size = 0;
	u->totp_step = 0;
	u->totp_pending = false;
	r = manager_user_put(a, u, diag);
	return r < 0 || u->keys
		       ? r
		       : manager_store_set_recovery(manager_accounts_db(a), u->id, NULL, 0, diag);
}

int manager_factor_reset(struct manager_accounts *a, struct manager_user *u, struct bh_diag *diag)
{
	int r = manager_store_drop_key(manager_accounts_db(a), 0, u->id, diag);

	if (r < 0 && r != -ENOENT) {
		return r;
	}
	u->keys = 0;
	return manager_factor_remove(a, u, diag);
}
