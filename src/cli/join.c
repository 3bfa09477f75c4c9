/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/join.h"

#include "base/util.h"

#include <curl/curl.h>
#include <errno.h>

#define PREFIX	     "bh1."
#define HEX_LEN	     (CLI_JOIN_HEX_SIZE - 1)
#define DEFAULT_PORT "7443"

int cli_join_token_parse(const char *token, char ret_fingerprint[CLI_JOIN_HEX_SIZE],
			 struct bh_diag *diag)
{
	const char *fingerprint = token + strlen(PREFIX);
	uint8_t bytes[HEX_LEN / 2];

	if (strlen(token) != strlen(PREFIX) + 2 * HEX_LEN + 1 ||
	    strncmp(token, PREFIX, strlen(PREFIX)) != 0 || fingerprint[HEX_LEN] != '.' ||
	    bh_hex_parse(fingerprint + HEX_LEN + 1, bytes, sizeof(bytes))) {
		return bh_diag_set(diag, -EINVAL,
				   "that is no join token (bh1.<64 digits>.<64 digits>); "
				   "`bulkhead host token` on the manager makes one");
	}
	memcpy(ret_fingerprint, fingerprint, HEX_LEN);
	ret_fingerprint[HEX_LEN] = '\0';
	if (bh_hex_parse(ret_fingerprint, bytes, sizeof(bytes))) {
		return bh_diag_set(diag, -EINVAL,
				   "the fingerprint in the join token is no hex number");
	}
	return 0;
}

char *cli_join_url(const char *manager)
{
	BH_FREE char *with_scheme =
		strstr(manager, "://") ? bh_strdup(manager) : bh_asprintf("https://%s", manager);
	CURLU *u = curl_url();
	char *part = NULL;
	char *url = NULL;

	if (!u || strncmp(with_scheme, "https://", 8) != 0 ||
	    curl_url_set(u, CURLUPART_URL, with_scheme, 0)) {
		curl_url_cleanup(u);
		return NULL;
	}
	if (curl_url_get(u, CURLUPART_PORT, &part, 0)) {
		(void)curl_url_set(u, CURLUPART_PORT, DEFAULT_PORT, 0);
	}
	curl_free(part);
	part = NULL;
	if (!curl_url_set(u, CURLUPART_PATH, NULL, 0) &&
	    !curl_url_get(u, CURLUPART_URL, &part, CURLU_NO_DEFAULT_PORT)) {
		size_t len = strlen(part);

		while (len && part[len - 1] == '/') {
			len--;
		}
		url = strndup(part, len);
	}
	curl_free(part);
	curl_url_cleanup(u);
	return url;
}
