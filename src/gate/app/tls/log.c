/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a connection, with the fields of EVE's extended tls. */
#include "gate/app/tls/tls.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void log_text(struct gate_jw *jw, const char *key, const struct tls_text *text)
{
	if (text->size) {
		gate_jw_bytes(jw, key, text->data, text->size);
	}
}

static void log_date(struct gate_jw *jw, const char *key, int64_t seconds)
{
	char text[40];
	time_t t = (time_t)seconds;
	struct tm tm;
	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm)) {
		gate_jw_text(jw, key, text);
	}
}

static void log_cert(struct gate_jw *jw, const struct tls_side *side)
{
	log_text(jw, "subject", &side->subject);
	log_text(jw, "issuerdn", &side->issuer);
	if (side->alt_count) {
		gate_jw_array(jw, "subjectaltname");
		for (uint32_t i = 0, from = 0; i < side->alt_count; from = side->alt_end[i++]) {
			gate_jw_bytes(jw, NULL, side->alt_names.data + from,
				      side->alt_end[i] - from);
		}
		gate_jw_end(jw);
	}
	log_text(jw, "serial", &side->serial);
	if (side->fingerprint[0]) {
		gate_jw_text(jw, "fingerprint", side->fingerprint);
	}
	if (side->has_cert) {
		log_date(jw, "notbefore", side->not_before);
		log_date(jw, "notafter", side->not_after);
	}
}

static void log_alpn(struct gate_jw *jw, const char *key, const struct tls_side *side)
{
	struct gate_view all = {.data = side->alpn.data, .size = side->alpn.size}, one;
	if (!side->alpn.size) {
		return;
	}
	gate_jw_array(jw, key);
	for (uint32_t i = 0; gate_tls_hello_alpn(&all, i, &one); i++) {
		gate_jw_bytes(jw, NULL, one.data, one.size);
	}
	gate_jw_end(jw);
}

static void log_ja3(struct gate_jw *jw, const char *key, const struct tls_side *side)
{
	if (side->ja3.size) {
		gate_jw_object(jw, key);
		gate_jw_text(jw, "hash", side->ja3_hash);
		log_text(jw, "string", &side->ja3);
		gate_jw_end(jw);
	}
}

bool tls_log(const struct gate_tx *tx, struct gate_jw *jw)
{
	const struct tls_tx *t = (const struct tls_tx *)tx;
	const struct tls_side *client = &t->side[GATE_TO_SERVER];
	const struct tls_side *server = &t->side[GATE_TO_CLIENT];
	char version[24];
	if (!client->hello && !server->hello) {
		return false;
	}
	log_cert(jw, server);
	if (t->resumed && !server->cert_count) {
		gate_jw_bool(jw, "session_resumed", true);
	}
	log_text(jw, "sni", &t->sni);
	gate_jw_text(
		jw, "version",
		gate_tls_version_name(server->hello ? server->version : client->version, version));
	if (t->from != GATE_APP_UNKNOWN) {
		gate_jw_text(jw, "from_proto", gate_app_name((enum gate_app)t->from));
	}
	log_ja3(jw, "ja3", client);
	log_ja3(jw, "ja3s", server);
	if (client->ja4[0]) {
		gate_jw_text(jw, "ja4", client->ja4);
	}
	log_alpn(jw, "client_alpns", client);
	log_alpn(jw, "server_alpns", server);
	if (client->cert_count) {
		gate_jw_object(jw, "client");
		log_cert(jw, client);
		gate_jw_end(jw);
	}
	return true;
}
