/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/https.h"

#include "version.h"

#include <string.h>

void manager_https_blob(CURL *curl, CURLoption option, const char *pem)
{
	struct curl_blob blob = {.data = (char *)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};

	curl_easy_setopt(curl, option, &blob);
}

CURL *manager_https_new(const char *url, const char *ca, long connect_ms, long whole_ms)
{
	CURL *curl = curl_easy_init();

	if (!curl) {
		return NULL;
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, whole_ms);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "bulkhead/" BH_VERSION);
	if (ca && *ca) {
		manager_https_blob(curl, CURLOPT_CAINFO_BLOB, ca);
	}
	return curl;
}
