/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/https.h"

#include "version.h"

#include <string.h>

#define POLL_MS 1000

void manager_https_blob(CURL *curl, CURLoption option, const char *pem)
{
	struct curl_blob blob = {.data = (char *)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};

	curl_easy_setopt(curl, option, &blob);
}

/* Of a transfer that has ended. */
static CURLcode outcome(CURLM *multi)
{
	const CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(multi, &left))) {
		if (message->msg == CURLMSG_DONE) {
			return message->data.result;
		}
	}
	return CURLE_FAILED_INIT;
}

CURLcode manager_https_perform(CURL *curl, int stop_fd)
{
	struct curl_waitfd stop = {.fd = stop_fd, .events = CURL_WAIT_POLLIN};
	CURLM *multi = curl_multi_init();
	CURLcode code = CURLE_FAILED_INIT;
	int running = 1;

	if (!multi) {
		return CURLE_OUT_OF_MEMORY;
	}
	/* Else the end waits for the thread that looks the name up. */
	curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
	if (curl_multi_add_handle(multi, curl) == CURLM_OK) {
		while (!stop.revents && curl_multi_perform(multi, &running) == CURLM_OK &&
		       running && curl_multi_poll(multi, &stop, 1, POLL_MS, NULL) == CURLM_OK) {
		}
		code = !running	      ? outcome(multi)
		       : stop.revents ? CURLE_ABORTED_BY_CALLBACK
				      : CURLE_FAILED_INIT;
		curl_multi_remove_handle(multi, curl);
	}
	curl_multi_cleanup(multi);
	return code;
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
