/* SPDX-License-Identifier: Apache-2.0 */
/* What a browser says for a security key. The first byte says which: a new key's attestation, an
 * answer (its authenticator data), what the browser says about itself, the console's URL. A key
 * that is taken is whole, and none signs by chance. */
#include "manager/auth/webauthn.h"

#include "base/util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLIENT(type)                                                                               \
	"{\"type\":\"" type "\",\"challenge\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","    \
	"\"origin\":\"https://console.example:7443\",\"crossOrigin\":false}"

static const struct manager_webauthn_wanted wanted = {.origin = "https://console.example:7443",
						      .rp_id = "console.example"};

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static struct manager_webauthn_bytes text(const char *s)
{
	return (struct manager_webauthn_bytes){(const uint8_t *)s, strlen(s)};
}

static void check_new(struct manager_webauthn_bytes client, struct manager_webauthn_bytes bytes)
{
	struct manager_webauthn_key key;
	struct bh_diag diag = {};

	if (manager_webauthn_create(&wanted, client, bytes, &key, &diag) < 0) {
		check(*diag.text);
		return;
	}
	check(key.id_size && key.id_size <= WEBAUTHN_ID_MAX && key.public_size);
	check(key.alg == -7 || key.alg == -8 || key.alg == -257);
}

static void check_answer(struct manager_webauthn_bytes bytes)
{
	struct manager_webauthn_answer answer = {
		.client = text(CLIENT("webauthn.get")), .data = bytes, .signature = bytes};
	struct manager_webauthn_key key = {.alg = -7, .public_size = 64};

	memset(key.public_key, 7, sizeof(key.public_key));
	check(manager_webauthn_check(&wanted, &answer, &key, NULL) != 0);
}

static void check_url(struct manager_webauthn_bytes bytes)
{
	BH_FREE char *url = bh_alloc(bytes.size + 1);
	char origin[WEBAUTHN_ORIGIN_MAX + 1], again[WEBAUTHN_ORIGIN_MAX + 1];
	char rp[WEBAUTHN_RP_ID_MAX + 1];

	memcpy(url, bytes.data, bytes.size);
	if (manager_webauthn_origin(url, origin, rp, NULL) == 0) {
		check(strstr(origin, rp) && *rp);
		check(manager_webauthn_origin(origin, again, rp, NULL) == 0);
		check(strcmp(origin, again) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manager_webauthn_bytes bytes = {data + 1, size - 1};

	if (size < 1) {
		return 0;
	}
	switch (data[0] % 4) {
	case 0:
		check_new(text(CLIENT("webauthn.create")), bytes);
		break;
	case 1:
		check_answer(bytes);
		break;
	case 2:
		check_new(bytes, text("\xa3"));
		break;
	default:
		check_url(bytes);
	}
	return 0;
}
