/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/config.h"

#include "base/conf.h"
#include "gate/gate.h"

#include <errno.h>

static const char *const eve_names[GATE_EVE_TYPES] = {
	[GATE_EVE_ALERT] = "alert",	  [GATE_EVE_ANOMALY] = "anomaly",
	[GATE_EVE_DROP] = "drop",	  [GATE_EVE_FILEINFO] = "fileinfo",
	[GATE_EVE_FLOW] = "flow",	  [GATE_EVE_STATS] = "stats",
	[GATE_EVE_HTTP] = "http",	  [GATE_EVE_DNS] = "dns",
	[GATE_EVE_TLS] = "tls",		  [GATE_EVE_QUIC] = "quic",
	[GATE_EVE_SMTP] = "smtp",	  [GATE_EVE_FTP] = "ftp",
	[GATE_EVE_FTP_DATA] = "ftp_data", [GATE_EVE_SMB] = "smb",
	[GATE_EVE_DCERPC] = "dcerpc",	  [GATE_EVE_SSH] = "ssh",
	[GATE_EVE_DHCP] = "dhcp",	  [GATE_EVE_SIP] = "sip",
	[GATE_EVE_SNMP] = "snmp",	  [GATE_EVE_MYSQL] = "mysql",
	[GATE_EVE_PGSQL] = "pgsql",	  [GATE_EVE_WEBSOCKET] = "websocket",
	[GATE_EVE_MDNS] = "mdns",	  [GATE_EVE_LLMNR] = "llmnr",
};

struct default_group {
	const char *name, *value;
	bool ports;
};

/* Those of suricata.yaml. */
static const struct default_group default_groups[] = {
	{"HOME_NET", "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]", false},
	{"EXTERNAL_NET", "!$HOME_NET", false},
	{"HTTP_SERVERS", "$HOME_NET", false},
	{"SMTP_SERVERS", "$HOME_NET", false},
	{"SQL_SERVERS", "$HOME_NET", false},
	{"DNS_SERVERS", "$HOME_NET", false},
	{"TELNET_SERVERS", "$HOME_NET", false},
	{"AIM_SERVERS", "$EXTERNAL_NET", false},
	{"DC_SERVERS", "$HOME_NET", false},
	{"DNP3_SERVER", "$HOME_NET", false},
	{"DNP3_CLIENT", "$HOME_NET", false},
	{"MODBUS_CLIENT", "$HOME_NET", false},
	{"MODBUS_SERVER", "$HOME_NET", false},
	{"ENIP_CLIENT", "$HOME_NET", false},
	{"ENIP_SERVER", "$HOME_NET", false},
	{"HTTP_PORTS", "80", true},
	{"SHELLCODE_PORTS", "!80", true},
	{"ORACLE_PORTS", "1521", true},
	{"SSH_PORTS", "22", true},
	{"DNP3_PORTS", "20000", true},
	{"MODBUS_PORTS", "502", true},
	{"FILE_DATA_PORTS", "[$HTTP_PORTS,110,143]", true},
	{"FTP_PORTS", "21", true},
	{"GENEVE_PORTS", "6081", true},
	{"VXLAN_PORTS", "4789", true},
	{"TEREDO_PORTS", "3544", true},
	{"SIP_PORTS", "[5060, 5061]", true},
};

const char *gate_eve_type_name(enum gate_eve_type type)
{
	return eve_names[type];
}

int gate_eve_type_find(const char *name)
{
	for (int i = 0; i < GATE_EVE_TYPES; i++) {
		if (!strcmp(eve_names[i], name)) {
			return i;
		}
	}
	return -1;
}

static bool has_group(const struct gate_config *config, const struct default_group *group)
{
	bh_vec_foreach (have, &config->groups) {
		if (have->ports == group->ports && !strcmp(have->name, group->name)) {
			return true;
		}
	}
	return false;
}

static int put_group(struct gate_config *config, const char *name, const char *value, bool ports,
		     struct bh_diag *diag)
{
	struct gate_group *group;

	if (!*name || strlen(name) > GATE_GROUP_NAME_MAX || strchr(name, '\n')) {
		return bh_diag_set(diag, -EINVAL, "vars: '%.80s' is no name of a group", name);
	}
	bh_vec_foreach (have, &config->groups) {
		if (have->ports == ports && !strcmp(have->name, name)) {
			free(have->value);
			have->value = bh_strdup(value);
			return 0;
		}
	}
	group = bh_vec_push(&config->groups);
	*group = (struct gate_group){bh_strdup(name), bh_strdup(value), ports};
	return 0;
}

static int each_addresses(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	return put_group(target, path, value, false, diag);
}

static int each_ports(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	return put_group(target, path, value, true, diag);
}

static int each_rule_file(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct gate_config *config = target;

	*bh_vec_push(&config->rule_files) = bh_strdup(value);
	return 0;
}

/* One file, or several in one text. */
static int each_reputation_file(void *target, const char *path, const char *value,
				struct bh_diag *diag)
{
	struct gate_config *config = target;
	BH_FREE char *names = bh_strdup(value);
	char *save = NULL;

	for (char *name = strtok_r(names, " ,[]", &save); name;
	     name = strtok_r(NULL, " ,[]", &save)) {
		*bh_vec_push(&config->reputation_files) = bh_strdup(name);
	}
	return 0;
}

/* As action-order knows them: reject is one. */
static const struct {
	const char *name;
	uint8_t action;
} actions[] = {{"pass", GATE_PASS},
	       {"drop", GATE_DROP},
	       {"reject", GATE_REJECT | GATE_REJECT_DST | GATE_REJECT_BOTH},
	       {"alert", GATE_ALERT}};

static int each_action(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct gate_config *config = target;
	uint8_t action = 0;
	size_t count = 0;

	for (size_t i = 0; i < BH_ARRAY_SIZE(actions); i++) {
		action = strcmp(actions[i].name, value) ? action : actions[i].action;
	}
	if (!action) {
		return bh_diag_set(diag, -EINVAL, "action-order: '%.40s' is no action", value);
	}
	while (count < BH_ARRAY_SIZE(config->action_order) && config->action_order[count]) {
		if (config->action_order[count++] == action) {
			return bh_diag_set(diag, -EINVAL, "action-order: %s stands twice", value);
		}
	}
	config->action_order[count] = action;
	return 0;
}

/* What was not named comes behind, in the usual order. */
uint8_t gate_config_rank(const struct gate_config *config, uint8_t action)
{
	size_t said = 0, usual = 0;

	for (; said < BH_ARRAY_SIZE(config->action_order) && config->action_order[said]; said++) {
		if (config->action_order[said] & action) {
			return (uint8_t)said;
		}
	}
	while (usual < BH_ARRAY_SIZE(actions) && !(actions[usual].action & action)) {
		usual++;
	}
	return (uint8_t)(BH_ARRAY_SIZE(actions) + usual);
}

static int each_os_policy(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	static const char *const names[] = {
		"bsd",	  "bsd-right", "old-linux", "linux", "old-solaris", "solaris",	 "hpux10",
		"hpux11", "irix",      "macos",	    "vista", "windows",	    "windows2k3"};
	struct gate_config *config = target;
	size_t len = strcspn(path, "\n");

	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		if (strlen(names[i]) == len && !strncmp(path, names[i], len)) {
			*bh_vec_push(&config->os_policies) =
				(struct gate_os_policy){bh_strdup(names[i]), bh_strdup(value)};
			return 0;
		}
	}
	return bh_diag_set(diag, -EINVAL, "host-os-policy: there is no policy '%.*s'", (int)len,
			   path);
}

static int each_hash(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	static const char *const names[] = {"md5", "sha1", "sha256"};
	struct gate_config *config = target;

	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		if (!strcmp(names[i], value)) {
			config->file_hashes[i] = true;
			return 0;
		}
	}
	return bh_diag_set(diag, -EINVAL,
			   "file-store.force-hash: '%.40s' is not md5, sha1 or sha256", value);
}

const char *const gate_url_schemes[GATE_URL_SCHEMES] = {"http", "https", "ftp", "mailto"};

static int each_scheme(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct gate_config *config = target;

	for (unsigned int i = 0; i < GATE_URL_SCHEMES; i++) {
		if (!strcmp(gate_url_schemes[i], value)) {
			config->smtp_url_schemes |= (uint8_t)(1u << i);
			return 0;
		}
	}
	return bh_diag_set(diag, -EINVAL,
			   "extract-urls-schemes: '%.40s' is not http, https, ftp or mailto",
			   value);
}

static int each_eve_type(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct gate_config *config = target;
	int type = gate_eve_type_find(value);

	if (type < 0) {
		return bh_diag_set(diag, -EINVAL, "eve.types: there is no record '%.40s'", value);
	}
	config->eve_types |= 1u << type;
	return 0;
}

static int each_event_kind(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct gate_config *config = target;
	int type = gate_eve_type_find(value);

	if (type != GATE_EVE_ALERT && type != GATE_EVE_DROP && type != GATE_EVE_ANOMALY) {
		return bh_diag_set(diag, -EINVAL,
				   "events.types: expected alert, drop or anomaly, not '%.40s'",
				   value);
	}
	config->events_kinds |= 1u << type;
	return 0;
}

/* app-layer.protocols.X.enabled */
static int each_app(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct gate_config *config = target;
	size_t len = strcspn(path, "\n");
	bool on = !strcmp(value, "yes") || !strcmp(value, "true");
	bool detection_only = !strcmp(value, "detection-only");

	if (strcmp(path + len, "\nenabled") != 0) {
		return bh_diag_set(diag, -EINVAL, "unknown key 'app-layer.protocols.%.*s.%.60s'",
				   (int)len, path, path[len] ? path + len + 1 : "");
	}
	if (!on && !detection_only && strcmp(value, "no") != 0 && strcmp(value, "false") != 0) {
		return bh_diag_set(diag, -EINVAL,
				   "app-layer.protocols.%.*s.enabled: expected yes or no, not "
				   "'%.40s'",
				   (int)len, path, value);
	}
	for (unsigned int i = GATE_APP_HTTP1; i < GATE_APP_COUNT; i++) {
		const char *name = gate_app_name((enum gate_app)i);

		if (strlen(name) == len && !strncmp(name, path, len)) {
			config->app_disabled &= ~(1u << i);
			config->app_disabled |= (on ? 0u : 1u) << i;
			return 0;
		}
	}
	return bh_diag_set(diag, -EINVAL, "app-layer.protocols: '%.*s' is not among the protocols",
			   (int)len, path);
}

#define AT(member) offsetof(struct gate_config, member)
#define STR(name, member, value, text)                                                             \
	{                                                                                          \
		.key = name, .type = BH_CONF_STR, .offset = AT(member), .dflt = value,             \
		.help = text                                                                       \
	}
#define CHOICE(name, member, value, list, text)                                                    \
	{                                                                                          \
		.key = name, .type = BH_CONF_STR, .offset = AT(member), .dflt = value,             \
		.choices = list, .help = text                                                      \
	}
#define BOOL(name, member, value, text)                                                            \
	{                                                                                          \
		.key = name, .type = BH_CONF_BOOL, .offset = AT(member), .dflt = value,            \
		.help = text                                                                       \
	}
#define SIZE(name, member, value, low, high, text)                                                 \
	{                                                                                          \
		.key = name, .type = BH_CONF_SIZE, .offset = AT(member), .dflt = value,            \
		.min = low, .max = high, .help = text                                              \
	}
#define NUM(name, member, value, low, high, text)                                                  \
	{                                                                                          \
		.key = name, .type = BH_CONF_U64, .offset = AT(member), .dflt = value, .min = low, \
		.max = high, .help = text                                                          \
	}
#define LIST(name, fn, text)                                                                       \
	{                                                                                          \
		.key = name, .type = BH_CONF_EACH, .each = fn, .alone = true, .help = text         \
	}
#define EACH(name, fn, text)                                                                       \
	{                                                                                          \
		.key = name, .type = BH_CONF_EACH, .each = fn, .help = text                        \
	}
/* clang-format off */
#define EXCEPTIONS "auto|ignore|drop-flow|drop-packet|reject|bypass|pass-flow|pass-packet"
/* clang-format on */
#define HTTP				   "app-layer.protocols.http.libhtp.default-config."
#define GB				   (1ull << 30)
#define DAY				   86400
#define TIMEOUT(name, member, value, text) NUM("flow-timeouts." name, member, value, 1, DAY, text)

static const struct bh_conf_key keys[] = {
	EACH("vars.address-groups", each_addresses, "addresses by name, for rules"),
	EACH("vars.port-groups", each_ports, "ports by name, for rules"),
	EACH("rule-files", each_rule_file, "rule files; relative ones in default-rule-path"),
	EACH("rule-sets", gate_config_each_set,
	     "NAME.files, NAME.match.vlan|vni|interface|address: other rules for some flows"),
	STR("default-rule-path", rule_path, NULL, "folder of rule files and of data they name"),
	STR("classification-file", classification_file, NULL, "classes; built in without it"),
	STR("reference-config-file", reference_file, NULL, "prefixes of references"),
	STR("threshold-file", threshold_file, NULL, "thresholds and suppressions by rule"),
	EACH("action-order", each_action,
	     "which rules come first; pass, drop, reject, alert without it"),
	STR("detect.cache-dir", cache_dir, NULL, "folder of compiled rules; none without it"),
	NUM("packet-alert-max", packet_alerts, "15", 1, 255,
	    "alerts of a packet; the others are counted"),
	NUM("detect.max-rules", rules_max, "200000", 1, 1 << 28,
	    "rules of one rule set; what is behind them is not read"),
	STR("datasets.dir", data_dir, NULL, "folder of datasets with relative names"),
	SIZE("datasets.memcap", datasets_memcap, "1gb", 1 << 16, 64 * GB, "memory of all datasets"),
	SIZE("datasets.defaults.memcap", dataset_memcap, "100mb", 1 << 16, 64 * GB,
	     "memory of each dataset; rules may ask for less"),
	BOOL("datasets.rules.allow-absolute-filenames", dataset_any_path, "no",
	     "rules may name data files outside of their folders, by whole names and by .."),
	BOOL("datasets.rules.allow-write", dataset_writes, "yes",
	     "rules may have datasets saved, in datasets.dir"),
	STR("reputation-categories-file", reputation_categories, NULL, "names of iprep categories"),
	LIST("reputation-files", each_reputation_file, "addresses with their reputation"),
	STR("default-reputation-path", reputation_path, NULL, "folder of reputation files"),

	BOOL("stream.checksum-validation", check_checksums, "yes",
	     "packets with a wrong checksum go into no stream (-k)"),
	SIZE("defrag.memcap", defrag_memcap, "32mb", 1 << 16, 64 * GB, "memory of fragments"),
	NUM("defrag.timeout", defrag_timeout_s, "60", 1, 3600, "seconds a datagram may take"),
	NUM("defrag.max-frags", defrag_max_frags, "65535", 16, 1 << 24, "fragments that may wait"),
	BOOL("decoder.vxlan.enabled", vxlan_enabled, "yes", "look into VXLAN"),
	STR("decoder.vxlan.ports", vxlan_ports, "4789", "UDP ports of VXLAN"),
	BOOL("decoder.geneve.enabled", geneve_enabled, "yes", "look into Geneve"),
	STR("decoder.geneve.ports", geneve_ports, "6081", "UDP ports of Geneve"),
	BOOL("decoder.teredo.enabled", teredo_enabled, "yes", "look into Teredo"),
	STR("decoder.teredo.ports", teredo_ports, "3544", "UDP ports of Teredo"),
	EACH("host-os-policy", each_os_policy, "networks by the way they reassemble"),

	NUM("flow.entries", flow_count, "262144", 64, 1 << 26, "flows of all workers"),
	NUM("flow.hash-size", flow_hash_size, "0", 0, 1 << 27, "buckets; 0: by flow.entries"),
	BOOL("vlan.use-for-tracking", vlan_tracking, "yes", "flows differ by VLAN too"),
	BOOL("vni.use-for-tracking", vni_tracking, "yes",
	     "flows differ by the outermost VNI of VXLAN and Geneve too"),
	TIMEOUT("tcp.new", tcp_new_s, "60", "seconds, before the handshake is over"),
	TIMEOUT("tcp.established", tcp_established_s, "600", "seconds of silence"),
	TIMEOUT("tcp.closed", tcp_closed_s, "60", "seconds after the end"),
	TIMEOUT("udp.new", udp_new_s, "30", "seconds, one side only"),
	TIMEOUT("udp.established", udp_established_s, "300", "seconds, both sides"),
	TIMEOUT("icmp.new", icmp_new_s, "30", "seconds, one side only"),
	TIMEOUT("icmp.established", icmp_established_s, "300", "seconds, both sides"),
	TIMEOUT("default.new", other_new_s, "30", "seconds, other protocols, one side only"),
	TIMEOUT("default.established", other_established_s, "300", "seconds, other protocols"),

	SIZE("stream.reassembly.memcap", stream_memcap, "256mb", 1 << 20, 256 * GB,
	     "memory of streams, all workers"),
	SIZE("stream.reassembly.depth", stream_depth, "1mb", 0, 1 * GB,
	     "bytes of a side that are looked at; 0: all"),
	SIZE("stream.reassembly.toserver-chunk-size", stream_chunk_to_server, "2560", 1, 1 << 20,
	     "bytes that rules look at in one piece"),
	SIZE("stream.reassembly.toclient-chunk-size", stream_chunk_to_client, "2560", 1, 1 << 20,
	     "bytes that rules look at in one piece"),
	CHOICE("stream.reassembly.urgent.policy", urgent_policy, "oob", "inline|drop|oob|gap",
	       "what becomes of urgent data"),
	CHOICE("stream.inline", stream_inline_mode, "auto", "auto|yes|no|true|false|on|off",
	       "data counts before it is acknowledged; auto: with --inline"),
	BOOL("stream.midstream", stream_midstream, "no", "take up connections without handshake"),
	BOOL("stream.async-oneside", stream_async, "no", "connections of which one side is seen"),
	CHOICE("exception-policy", exception_policy, "auto", EXCEPTIONS,
	       "for those that say auto; auto: drop-flow with --simulate-ips, else ignore"),
	CHOICE("stream.midstream-policy", midstream_policy, "auto", EXCEPTIONS,
	       "connections without handshake; auto: ignore with stream.midstream"),
	CHOICE("app-layer.error-policy", error_policy, "auto", EXCEPTIONS,
	       "what becomes of a flow that its parser gives up"),
	BOOL("stream.drop-invalid", stream_drop_invalid, "yes", "inline: drop what can't be"),

	SIZE("app-layer.memcap", app_memcap, "256mb", 1 << 20, 256 * GB,
	     "memory of parsers, each worker"),
	SIZE("app-layer.session-memcap", session_memcap, "32mb", 1 << 14, 1 * GB,
	     "memory of parsers, each flow"),
	NUM("app-layer.max-tx", tx_max, "1024", 1, 1 << 16, "open transactions of a flow"),
	CHOICE("app-layer.protocols.tls.encryption-handling", encryption_handling, "track-only",
	       "track-only|default|bypass|full", "what becomes of a flow once it is encrypted"),
	CHOICE("app-layer.protocols.ssh.encryption-handling", ssh_encryption_handling, "track-only",
	       "track-only|default|bypass|full", "what becomes of a flow of SSH with new keys"),
	SIZE("app-layer.protocols.websocket.max-payload-size", websocket_payload_max, "65535", 1,
	     1 << 20, "bytes of a frame, a message, and what a message unpacks to"),
	BOOL("app-layer.protocols.smtp.mime.decode-mime", smtp_decode_mime, "yes",
	     "look into mails"),
	EACH("app-layer.protocols.smtp.mime.extract-urls-schemes", each_scheme,
	     "of URLs in mails, for email.url: http, https, ftp, mailto; http without it"),
	SIZE(HTTP "request-body-limit", http_request_body_limit, "100kb", 0, 1 * GB,
	     "bytes of a body; 0: all"),
	SIZE(HTTP "response-body-limit", http_response_body_limit, "100kb", 0, 1 * GB,
	     "bytes of a body; 0: all"),
	CHOICE(HTTP "http-body-inline", http_inline_mode, "auto", "auto|yes|no|true|false|on|off",
	       "rules see bodies as they come; auto: with --inline"),
	SIZE(HTTP "request-body-minimal-inspect-size", http_request_inspect_min, "32kb", 0, 1 * GB,
	     "bytes that rules wait for"),
	SIZE(HTTP "request-body-inspect-window", http_request_inspect_window, "4kb", 0, 1 * GB,
	     "bytes before new ones that rules see again"),
	SIZE(HTTP "response-body-minimal-inspect-size", http_response_inspect_min, "40kb", 0,
	     1 * GB, "bytes that rules wait for"),
	SIZE(HTTP "response-body-inspect-window", http_response_inspect_window, "16kb", 0, 1 * GB,
	     "bytes before new ones that rules see again"),
	NUM(HTTP "response-body-decompress-layer-limit", http_decompress_layers, "2", 0, 16,
	    "encodings over one another"),
	SIZE(HTTP "compression-bomb-limit", http_decompress_limit, "1mb", 1 << 12, 1 * GB,
	     "bytes that a body may grow to out of all proportion"),
	NUM(HTTP "decompression-time-limit", http_decompress_time_us, "100000", 0, 10000000,
	    "microseconds for a body; 0: no limit"),
	NUM(HTTP "headers-limit", http_headers_max, "1024", 1, 1 << 16, "headers of a message"),
	SIZE(HTTP "meta-field-limit", http_header_size_max, "18432", 256, 1 << 24,
	     "bytes of a line or header"),
	BOOL(HTTP "double-decode-path", http_double_decode_path, "no",
	     "http.uri: the path is decoded twice"),
	BOOL(HTTP "double-decode-query", http_double_decode_query, "no",
	     "http.uri: the query is decoded twice"),
	BOOL(HTTP "query-plusspace-decode", http_plus_is_space, "no",
	     "http.uri: a plus in the query is a space"),
	BOOL(HTTP "uri-include-all", http_uri_whole, "no",
	     "http.uri begins with scheme and host where the request names them"),
	SIZE("app-layer.protocols.http.byterange.memcap", range_memcap, "100mb", 1 << 16, 64 * GB,
	     "memory of all workers for files that are fetched in parts"),
	NUM("app-layer.protocols.http.byterange.timeout", range_timeout_s, "60", 1, DAY,
	    "seconds such a file is waited for after its last part"),
	EACH("app-layer.protocols", each_app, "NAME.enabled: yes, no or detection-only"),

	SIZE("file.window", file_window, "128kb", 1 << 12, 1 * GB,
	     "bytes of a file that are kept for rules"),
	BOOL("file-store.enabled", file_store, "no", "keep files (else those that rules ask for)"),
	STR("file-store.dir", file_store_dir, "filestore", "folder of files, in default-log-dir"),
	SIZE("file-store.stream-depth", file_store_limit, "100mb", 0, 64 * GB, "bytes of a file"),
	NUM("file-store.max-open-files", file_store_open_max, "0", 0, 1 << 16,
	    "files that are kept open while they are written; 0: all"),
	EACH("file-store.force-hash", each_hash, "md5, sha1, sha256: of every file, in fileinfo"),
	BOOL("file-store.force-magic", file_types, "no", "the type of every file, in fileinfo"),

	NUM("pcre.match-limit", pcre_match_limit, "3500", 1, 1 << 24, "steps of one match"),
	SIZE("pcre.memcap", pcre_memcap, "512mb", 1 << 20, 64 * GB,
	     "memory of the expressions of all rules; rules beyond are refused"),
	NUM("pcre.match-limit-recursion", pcre_depth_limit, "1500", 1, 1 << 24, "depth of a match"),
	SIZE("detect.thresholds.memcap", threshold_memcap, "16mb", 1 << 16, 4 * GB,
	     "memory of thresholds"),

	STR("default-log-dir", log_dir, ".", "where records go"),
	STR("eve.filename", eve_file, "eve.json", "file of records, in default-log-dir"),
	STR("eve.unix", eve_unix, NULL, "socket of records instead of the file"),
	CHOICE("eve.unix-type", eve_unix_type, "stream", "stream|datagram",
	       "of that socket; a datagram is one record"),
	EACH("eve.types", each_eve_type, "kinds of records; all without it"),
	SIZE("eve.queue", eve_queue, "16mb", 1 << 16, 4 * GB, "records that wait to be written"),
	SIZE("eve.rotate", eve_rotate, "0", 0, 1024 * GB,
	     "file size at which the next begins; 0 never"),
	BOOL("eve.community-id", eve_community_id, "no", "the community flow id in each record"),
	BOOL("eve.payload", eve_payload, "no", "alerts hold the payload"),
	BOOL("eve.payload-printable", eve_payload_printable, "no", "and as text"),
	BOOL("eve.http-body", eve_http_body, "no", "alerts on HTTP hold the bodies of both sides"),
	BOOL("eve.http-body-printable", eve_http_body_printable, "no", "and as text"),
	BOOL("eve.packet", eve_packet, "no", "alerts hold the packet"),
	BOOL("eve.packet-anomalies", eve_packet_anomalies, "no",
	     "records of every anomaly of packets and streams too"),
	BOOL("eve.metadata", eve_metadata, "yes", "alerts hold the rule's metadata and the flow's"),
	BOOL("eve.verdict", eve_verdict, "no", "alerts and drops hold what became of the packet"),
	BOOL("eve.tagged-packets", eve_tagged_packets, "yes",
	     "records of the packets that rules with `tag` ask for"),
	SIZE("eve.payload-buffer-size", eve_payload_size, "4kb", 0, 1 << 16,
	     "bytes of a payload or body"),
	NUM("stats.interval", stats_interval_s, "8", 0, DAY,
	    "seconds between stats; 0: at the end"),

	STR("events.socket", events_socket, NULL,
	    "socket of bulkhead-hostd that takes events; none are made without it"),
	EACH("events.types", each_event_kind, "alert, drop, anomaly; alert without it"),
	SIZE("events.queue", events_queue, "1mb", 1 << 16, 1 * GB,
	     "bytes of events that wait to be handed over"),

	NUM("workers", workers, "1", 1, 256, "threads that inspect"),
	SIZE("capture.ring-size", ring_mb, "64mb", 1 << 20, 4 * GB, "of a worker's interface"),
	SIZE("capture.snaplen", snaplen, "65535", 64, 1 << 18, "bytes of a packet"),
	CHOICE("capture.mode", capture_mode, "auto", "auto|af-packet|af-xdp",
	       "how packets are read; auto: af-packet"),
	CHOICE("capture.fanout", fanout, "hosts", "hosts|flow",
	       "a worker by both addresses, or by ports too (not for fragments, FTP's data)"),
	BOOL("capture.xdp-symmetric", xdp_symmetric, "no",
	     "af-xdp: both directions of a flow come by queues of the same number"),
	BOOL("capture.pass-link-state", pass_link, "no",
	     "inline: a side that is down has the other one set down too"),
	BOOL("fail-open", fail_open, "no", "inline: pass packets on that can't be inspected"),
	STR("unix-command.filename", control_socket, NULL, "the control socket"),
	STR("run-as.user", user, NULL, "who the process is after start"),
};

/* As Suricata: what is to drop means nothing where nothing stands in the way. */
static enum gate_exception exception_of(const struct gate_config *config, const char *name,
					bool ignored)
{
	static const char *const names[] = {
		[GATE_EXCEPTION_IGNORE] = "ignore",
		[GATE_EXCEPTION_DROP_FLOW] = "drop-flow",
		[GATE_EXCEPTION_DROP_PACKET] = "drop-packet",
		[GATE_EXCEPTION_REJECT] = "reject",
		[GATE_EXCEPTION_BYPASS] = "bypass",
		[GATE_EXCEPTION_PASS_FLOW] = "pass-flow",
		[GATE_EXCEPTION_PASS_PACKET] = "pass-packet",
	};
	bool stands = config->inline_mode || config->simulate_ips;
	enum gate_exception policy = GATE_EXCEPTION_IGNORE;

	if (!name || !strcmp(name, "auto")) {
		name = config->exception_policy;
	}
	if (!name || !strcmp(name, "auto")) {
		return config->simulate_ips && !ignored ? GATE_EXCEPTION_DROP_FLOW : policy;
	}
	while (strcmp(names[policy], name) != 0 && policy + 1 < BH_ARRAY_SIZE(names)) {
		policy++;
	}
	return !stands && (policy == GATE_EXCEPTION_DROP_FLOW ||
			   policy == GATE_EXCEPTION_DROP_PACKET)
		       ? GATE_EXCEPTION_IGNORE
		       : policy;
}

/* `auto` is by where it stands. */
static bool is_inline(const struct gate_config *config, const char *mode)
{
	if (!mode || !strcmp(mode, "auto")) {
		return config->inline_mode || config->simulate_ips;
	}
	return strchr("yto", mode[0]) && strcmp(mode, "off") != 0;
}

void gate_config_settle(struct gate_config *config)
{
	config->stream_inline = is_inline(config, config->stream_inline_mode);
	config->http_inline = is_inline(config, config->http_inline_mode);
	config->on_midstream =
		exception_of(config, config->midstream_policy, config->stream_midstream);
	config->on_app_error = exception_of(config, config->error_policy, false);
	for (size_t i = 0; i < BH_ARRAY_SIZE(default_groups); i++) {
		const struct default_group *group = &default_groups[i];

		if (!has_group(config, group)) {
			*bh_vec_push(&config->groups) = (struct gate_group){
				bh_strdup(group->name), bh_strdup(group->value), group->ports};
		}
	}
}

int gate_config_load(const char *path, struct gate_config *ret, struct bh_diag *diag)
{
	int err;

	memset(ret, 0, sizeof(*ret));
	err = path ? bh_conf_load(path, true, keys, BH_ARRAY_SIZE(keys), ret, diag)
		   : bh_conf_parse("", 0, "", keys, BH_ARRAY_SIZE(keys), ret, diag);
	if (err) {
		return err;
	}
	gate_config_settle(ret);
	return 0;
}

static bool is_own(const char *key)
{
	static const char protocols[] = "app-layer.protocols.", enabled[] = ".enabled";
	size_t len = strlen(protocols);

	for (size_t i = 0; i < BH_ARRAY_SIZE(keys); i++) {
		size_t size = strlen(keys[i].key);

		if (!strncmp(keys[i].key, key, size) &&
		    (!key[size] ||
		     (keys[i].each && keys[i].each != each_app && key[size] == '.'))) {
			return true;
		}
	}
	if (strncmp(key, protocols, len) != 0) {
		return false;
	}
	for (unsigned int i = GATE_APP_HTTP1; i < GATE_APP_COUNT; i++) {
		const char *name = gate_app_name((enum gate_app)i);

		if (!strncmp(key + len, name, strlen(name)) &&
		    !strcmp(key + len + strlen(name), enabled)) {
			return true;
		}
	}
	return false;
}

int gate_config_set(struct gate_config *config, const char *assignment, struct bh_diag *diag)
{
	size_t len = strcspn(assignment, "=");
	BH_FREE char *key = bh_strdup(assignment);
	const char *value = assignment + len + 1;
	bool known = false;
	int err;

	if (!assignment[len]) {
		return bh_diag_set(diag, -EINVAL, "--set: expected KEY=VALUE, not '%.100s'",
				   assignment);
	}
	key[len] = '\0';
	while (len && key[len - 1] == ' ') {
		key[--len] = '\0';
	}
	err = is_own(key) ? 0 : gate_config_of_suricata(key, value, &known, diag);
	if (!known) {
		err = bh_conf_set(keys, BH_ARRAY_SIZE(keys), config, key, value, diag);
	}
	gate_config_settle(config);
	return err;
}

void gate_config_done(struct gate_config *config)
{
	bh_vec_foreach (group, &config->groups) {
		free(group->name);
		free(group->value);
	}
	bh_vec_foreach (policy, &config->os_policies) {
		free(policy->policy);
		free(policy->network);
	}
	bh_vec_foreach (file, &config->rule_files) {
		free(*file);
	}
	bh_vec_foreach (file, &config->reputation_files) {
		free(*file);
	}
	bh_vec_done(&config->groups);
	bh_vec_done(&config->os_policies);
	bh_vec_done(&config->rule_files);
	bh_vec_done(&config->reputation_files);
	gate_config_sets_done(config);
	bh_conf_done(keys, BH_ARRAY_SIZE(keys), config);
}

static void list_size(FILE *to, uint64_t bytes)
{
	static const char *const units[] = {"", "kb", "mb", "gb", "tb"};
	unsigned int unit = 0;

	for (; bytes && bytes % 1024 == 0 && unit + 1 < BH_ARRAY_SIZE(units); unit++) {
		bytes /= 1024;
	}
	fprintf(to, "%llu%s", (unsigned long long)bytes, units[unit]);
}

/* What may stand there, with its unit. */
static void list_kind(FILE *to, const struct bh_conf_key *key)
{
	switch (key->type) {
	case BH_CONF_BOOL:
		fputs("yes|no", to);
		break;
	case BH_CONF_U64:
		fprintf(to, "number %llu to %llu", (unsigned long long)key->min,
			(unsigned long long)key->max);
		break;
	case BH_CONF_SIZE:
		fputs("bytes ", to);
		list_size(to, key->min);
		fputs(" to ", to);
		list_size(to, key->max);
		break;
	case BH_CONF_EACH:
		fputs("list", to);
		break;
	default:
		fputs(key->choices ? key->choices : "text", to);
	}
}

void gate_config_list(FILE *to)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(keys); i++) {
		const struct bh_conf_key *key = &keys[i];

		fprintf(to, "%s (", key->key);
		list_kind(to, key);
		fprintf(to, ", %s): %s\n", key->dflt ? key->dflt : "none", key->help);
	}
}
