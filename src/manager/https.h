/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the manager asks others by HTTPS (webhooks, OpenID Connect): TLS 1.2 or newer, certificate
 * and name checked, the URL that was set and no redirect from it, bounded in time. How many bytes
 * of an answer are taken is up to the caller's CURLOPT_WRITEFUNCTION.
 */
#ifndef BH_MANAGER_HTTPS_H
#define BH_MANAGER_HTTPS_H

#include <curl/curl.h>

/* `ca`: PEM of whom to trust instead of the system's, NULL or "": the system's; copied. NULL: no
 * memory. Free with curl_easy_cleanup(). Blocks when it is performed: workers only. */
CURL *manager_https_new(const char *url, const char *ca, long connect_ms, long whole_ms);

/* As curl_easy_perform(), but ends with CURLE_ABORTED_BY_CALLBACK as soon as stop_fd (an eventfd,
 * say) can be read, also in the middle of looking a name up. */
CURLcode manager_https_perform(CURL *curl, int stop_fd);

/* PEM text for an option that takes a blob; copied. */
void manager_https_blob(CURL *curl, CURLoption option, const char *pem);

#endif
