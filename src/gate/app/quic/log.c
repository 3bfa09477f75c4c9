/* SPDX-License-Identifier: Apache-2.0 */
/* The record `quic`: what the hello of a packet says. Names of extensions as IANA has them. */
#include "base/util.h"
#include "gate/app/quic/quic.h"

enum { EXT_SERVER_NAME = 0, EXT_ALPN = 16 };

/* "TLS ExtensionType Values"; NULL: not assigned when this was written. */
static const char *extension_name(uint16_t type)
{
	static const char *const names[] = {
		[0] = "server_name",
		[1] = "max_fragment_length",
		[2] = "client_certificate_url",
		[3] = "trusted_ca_keys",
		[4] = "truncated_hmac",
		[5] = "status_request",
		[6] = "user_mapping",
		[7] = "client_authz",
		[8] = "server_authz",
		[9] = "cert_type",
		[10] = "supported_groups",
		[11] = "ec_point_formats",
		[12] = "srp",
		[13] = "signature_algorithms",
		[14] = "use_srtp",
		[15] = "heartbeat",
		[16] = "alpn",
		[17] = "status_request_v2",
		[18] = "signed_certificate_timestamp",
		[19] = "client_certificate_type",
		[20] = "server_certificate_type",
		[21] = "padding",
		[22] = "encrypt_then_mac",
		[23] = "extended_master_secret",
		[24] = "token_binding",
		[25] = "cached_info",
		[26] = "tls_lts",
		[27] = "compress_certificate",
		[28] = "record_size_limit",
		[29] = "pwd_protect",
		[30] = "pwd_clear",
		[31] = "password_salt",
		[32] = "ticket_pinning",
		[33] = "tls_cert_with_extern_psk",
		[34] = "delegated_credential",
		[35] = "session_ticket",
		[41] = "pre_shared_key",
		[42] = "early_data",
		[43] = "supported_versions",
		[44] = "cookie",
		[45] = "psk_key_exchange_modes",
		[47] = "certificate_authorities",
		[48] = "oid_filters",
		[49] = "post_handshake_auth",
		[50] = "signature_algorithms_cert",
		[51] = "key_share",
		[52] = "transparency_info",
		[53] = "connection_id_deprecated",
		[54] = "connection_id",
		[55] = "external_id_hash",
		[56] = "external_session_id",
		[57] = "quic_transport_parameters",
		[58] = "ticket_request",
		[59] = "dnssec_chain",
	};
	return type < BH_ARRAY_SIZE(names) ? names[type] : NULL;
}

static void log_pair(struct gate_jw *jw, const char *key, const char *hash,
		     const struct gate_view *text)
{
	if (text->size) {
		gate_jw_object(jw, key);
		gate_jw_text(jw, "hash", hash);
		gate_jw_bytes(jw, "string", text->data, text->size);
		gate_jw_end(jw);
	}
}

static void log_values(const struct quic_tx *t, uint16_t type, struct gate_jw *jw)
{
	struct gate_view one;
	if (type == EXT_SERVER_NAME && t->sni.size) {
		gate_jw_array(jw, "values");
		gate_jw_bytes(jw, NULL, t->sni.data, t->sni.size);
		gate_jw_end(jw);
	} else if (type == EXT_ALPN && t->alpn.size) {
		gate_jw_array(jw, "values");
		for (uint32_t i = 0; gate_tls_hello_alpn(&t->alpn, i, &one); i++) {
			gate_jw_bytes(jw, NULL, one.data, one.size);
		}
		gate_jw_end(jw);
	}
}

static void log_extensions(const struct quic_tx *t, struct gate_jw *jw)
{
	gate_jw_array(jw, "extensions");
	for (uint32_t at = 0; at + 1 < t->extensions.size; at += 2) {
		const uint8_t *p = t->extensions.data + at;
		uint16_t type = (uint16_t)(p[0] << 8 | p[1]);
		const char *name = extension_name(type);
		gate_jw_object(jw, NULL);
		if (name) {
			gate_jw_text(jw, "name", name);
		}
		gate_jw_uint(jw, "type", type);
		log_values(t, type, jw);
		gate_jw_end(jw);
	}
	gate_jw_end(jw);
}

bool quic_log(const struct gate_tx *tx, struct gate_jw *jw)
{
	const struct quic_tx *t = (const struct quic_tx *)tx;
	gate_jw_text(jw, "version", t->version_text);
	if (t->sni.size) {
		gate_jw_bytes(jw, "sni", t->sni.data, t->sni.size);
	}
	if (t->ua.size) {
		gate_jw_bytes(jw, "ua", t->ua.data, t->ua.size);
	}
	if (t->cyu.size) {
		gate_jw_array(jw, "cyu");
		log_pair(jw, NULL, t->cyu_hash, &t->cyu);
		gate_jw_end(jw);
	}
	log_pair(jw, t->client ? "ja3" : "ja3s", t->ja3_hash, &t->ja3);
	if (t->ja4[0]) {
		gate_jw_text(jw, "ja4", t->ja4);
	}
	if (t->extensions.size) {
		log_extensions(t, jw);
	}
	return true;
}
