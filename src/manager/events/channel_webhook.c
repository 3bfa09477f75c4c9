/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhooks: JSON lines by HTTPS POST. X-Bulkhead-Signature: t=<seconds>,v1=<hex> is HMAC-SHA256
 * over "<seconds>.<body>" with the channel's secret; X-Bulkhead-Delivery names the batch. What the
 * receiver answers is not read, only its status. No redirects: the URL is the one that was set.
 */
#include "manager/events/channels.h"

#include "base/time.h"
#include "base/util.h"
#include "manager/https.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define CONNECT_MS 5000L
#define WHOLE_MS   15000L
#define ANSWER_MAX 65536u /* bytes of an answer that are taken and thrown away */

void manager_webhook_sign(const char *secret, uint64_t time_s, const struct bh_wbuf *body,
			  char ret[65])
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int size = 0;
	struct bh_wbuf text;

	bh_wbuf_init(&text, 0);
	bh_wbuf_printf(&text, "%llu.", (unsigned long long)time_s);
	bh_wbuf_put(&text, body->data, body->size);
	*ret = '\0';
	if (HMAC(EVP_sha256(), secret, (int)strlen(secret), text.data, text.size, mac, &size) &&
	    size == 32) {
		bh_hex_format(mac, size, ret);
	}
	bh_wbuf_done(&text);
}

static size_t on_answer(char *data, size_t one, size_t count, void *arg)
{
	size_t *taken = arg;

	*taken += count;
	return *taken > ANSWER_MAX ? 0 : count;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct manager_transport *t = arg;

	return atomic_load(t->stop);
}

static CURL *make(struct manager_transport *t)
{
	const struct manager_channel_settings *s = t->settings;
	CURL *curl = manager_https_new(s->url, s->ca, CONNECT_MS, WHOLE_MS);

	if (!curl) {
		return NULL;
	}
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	if (s->cert && s->key) {
		manager_https_blob(curl, CURLOPT_SSLCERT_BLOB, s->cert);
		manager_https_blob(curl, CURLOPT_SSLKEY_BLOB, s->key);
	}
	return curl;
}

static struct curl_slist *headers_of(const struct manager_transport *t, const struct bh_wbuf *batch,
				     uint64_t first, uint64_t last)
{
	uint64_t now_s = bh_time_wall_ns() / BH_NS_PER_S;
	BH_FREE char *delivery = bh_asprintf("X-Bulkhead-Delivery: %s-%llu-%llu", t->instance,
					     (unsigned long long)first, (unsigned long long)last);
	struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/x-ndjson");

	list = curl_slist_append(list, "Expect:");
	list = curl_slist_append(list, delivery);
	if (*t->settings->secret) {
		BH_FREE char *header = NULL;
		char mac[65];

		manager_webhook_sign(t->settings->secret, now_s, batch, mac);
		header = bh_asprintf("X-Bulkhead-Signature: t=%llu,v1=%s",
				     (unsigned long long)now_s, mac);
		list = curl_slist_append(list, header);
	}
	return list;
}

static int judge(long status, struct bh_diag *diag)
{
	if (status >= 200 && status < 300) {
		return MANAGER_SENT;
	}
	bh_diag_set(diag, -EIO, "the receiver answers HTTP %ld", status);
	return status >= 400 && status < 500 && status != 408 && status != 425 && status != 429
		       ? MANAGER_REFUSED
		       : -EIO;
}

int manager_webhook_send(struct manager_transport *t, const struct bh_wbuf *batch, uint64_t first,
			 uint64_t last, struct bh_diag *diag)
{
	char error[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers;
	size_t taken = 0;
	long status = 0;
	CURLcode code;
	CURL *curl;

	t->state = t->state ? t->state : make(t);
	curl = t->state;
	if (!curl) {
		return bh_diag_set(diag, -ENOMEM, "no memory for a connection");
	}
	headers = headers_of(t, batch, first, last);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)batch->size);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)batch->data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &taken);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	/* A talkative answer is cut off; its status is what counts. */
	if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && status)) {
		return judge(status, diag);
	}
	return atomic_load(t->stop)
		       ? -ECANCELED
		       : bh_diag_set(diag, -EIO, "%s", *error ? error : curl_easy_strerror(code));
}

void manager_webhook_drop(struct manager_transport *t)
{
	curl_easy_cleanup(t->state);
	t->state = NULL;
}
