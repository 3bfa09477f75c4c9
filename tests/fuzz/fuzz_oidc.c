/* SPDX-License-Identifier: Apache-2.0 */
/* What a provider of OpenID Connect says. The first byte says which: an ID token, its set of keys,
 * its claims, what it says about itself, settings. No token of these is taken. */
#include "manager/auth/oidc.h"

#include "base/json.h"
#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char token[] =
	"eyJhbGciOiJFUzI1NiIsImtpZCI6Im9uZSJ9.eyJpc3MiOiJodHRwczovL2EuZXhhbXBsZSJ9."
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static void check_token(const json_t *settings, const json_t *keys, const char *text)
{
	const struct manager_oidc_said said = {text, "nonce", 1700000000};
	struct bh_diag diag = {};
	json_t *claims = NULL;

	check(manager_oidc_token(settings, keys, &said, &claims, &diag) != 0);
	check(!claims && *diag.text);
}

static void check_json(uint8_t which, const json_t *settings, const json_t *json)
{
	struct bh_diag diag = {};

	switch (which) {
	case 1:
		check_token(settings, json, token);
		break;
	case 2:
		(void)manager_oidc_factor(settings, json);
		(void)manager_oidc_has(json, "groups", "ops");
		break;
	case 3:
		check(manager_oidc_check_provider(settings, json, &diag) == 0 || *diag.text);
		break;
	default:
		check(manager_oidc_check_settings(json, &diag) == 0 || *diag.text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BH_JSON json_t *settings = json_pack("{s:s, s:s, s:[s]}", "issuer", "https://a.example",
					     "client_id", "bulkhead", "amr", "mfa");
	BH_JSON json_t *keys =
		json_pack("{s:[{s:s, s:s, s:s, s:s, s:s}]}", "keys", "kty", "EC", "crv", "P-256",
			  "kid", "one", "x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y",
			  "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
	BH_JSON json_t *json = NULL;
	BH_FREE char *text = NULL;

	if (size < 1) {
		return 0;
	}
	text = bh_alloc(size);
	memcpy(text, data + 1, size - 1);
	if (data[0] % 5 == 0) {
		check_token(settings, keys, text);
	} else if (bh_json_load(text, size - 1, OIDC_DOCUMENT_MAX, &json, NULL) == 0) {
		check_json(data[0] % 5, settings, json);
	}
	return 0;
}
