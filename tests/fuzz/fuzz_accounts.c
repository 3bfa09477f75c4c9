/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from whoever is not logged in yet: names, codes, tokens, secrets of sessions, and
 * rights as text. The first byte says which. What is accepted reads back as it was; no token or
 * session is found that was never made. */
#include "manager/auth/accounts.h"

#include "base/util.h"
#include "manager/store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static void check_name(const char *text)
{
	static const struct manager_tenant shop = {.number = 7, .name = "shop"};
	char name[MANAGER_USER_MAX + 1], again[MANAGER_USER_MAX + 1];
	struct bh_diag diag = {};

	if (manager_user_name(text, &shop, name, &diag) < 0) {
		check(*diag.text);
		return;
	}
	check(strlen(name) <= 31 + 5 && strcmp(strchr(name, '@'), "@shop") == 0);
	check(manager_user_name(name, &shop, again, &diag) == 0 && strcmp(name, again) == 0);
}

static void check_code(const char *text)
{
	static const uint8_t secret[MANAGER_TOTP_SECRET_SIZE] = "12345678901234567890";
	uint64_t step = 0, other;

	if (manager_totp_check(secret, text, 1111111111, 0, &step)) {
		check(step + 1 >= 37037037 && step <= 37037038);
		check(!manager_totp_check(secret, text, 1111111111, 37037038, &other));
	}
}

static void check_rights(const char *text)
{
	uint64_t set, again;
	struct bh_wbuf w;

	if (manager_rights_parse(text, false, &set, NULL) < 0) {
		check(manager_rights_parse(text, true, &set, NULL) == 0);
	}
	bh_wbuf_init(&w, 0);
	manager_rights_format(set, &w);
	check(manager_rights_parse(bh_wbuf_cstr(&w), false, &again, NULL) == 0 && again == set);
	bh_wbuf_done(&w);
}

static struct manager_accounts *the_accounts(void)
{
	static struct manager_accounts *accounts; /* of this run; the database takes long */
	struct manager_accounts_options options = {.loop = uv_default_loop()};

	if (!accounts) {
		check(sodium_init() >= 0 && manager_store_open(":memory:", &options.db, NULL) == 0);
		check(manager_accounts_new(&options, &accounts, NULL) == 0);
	}
	return accounts;
}

static void check_secrets(const char *text)
{
	const struct manager_agent agent = {.words = text, .address = "192.0.2.1"};
	struct manager_principal p;
	struct manager_session s;
	char csrf[MANAGER_CSRF_SIZE], key[LOCKOUT_KEY_SIZE];

	check(manager_api_token_principal(the_accounts(), text, 1, &p) < 0);
	check(manager_session_find(the_accounts(), text, false, &agent, 1, &s) < 0);
	manager_session_csrf(text, csrf);
	check(strlen(csrf) == MANAGER_CSRF_SIZE - 1);
	manager_lockout_address_key(text, key);
	check(strncmp(key, "address ", 8) == 0);
	(void)!manager_password_check(text, "alice", NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size < 1) {
		return 0;
	}
	text = bh_alloc(size);
	memcpy(text, data + 1, size - 1);
	switch (data[0] % 4) {
	case 0:
		check_name(text);
		break;
	case 1:
		check_code(text);
		break;
	case 2:
		check_rights(text);
		break;
	default:
		check_secrets(text);
	}
	free(text);
	return 0;
}
