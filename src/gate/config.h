/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of bulkhead-gated: without a file the defaults hold; a YAML file and `--set key=value`
 * change any of them. config.c has the one table with unit, default, bounds and a sentence for each
 * key (base/conf.h); keys are named as in suricata.yaml where they mean the same. Read-only while
 * workers run.
 */
#ifndef BH_GATE_CONFIG_H
#define BH_GATE_CONFIG_H

#include "base/diag.h"
#include "base/util.h"
#include "gate/gate.h"

#include <stdbool.h>
#include <stdint.h>

#define GATE_GROUP_NAME_MAX 64

/* Kinds of EVE records; those of protocols are named as the record (app.h `log`). */
enum gate_eve_type {
	GATE_EVE_ALERT,
	GATE_EVE_ANOMALY,
	GATE_EVE_DROP,
	GATE_EVE_FILEINFO,
	GATE_EVE_FLOW,
	GATE_EVE_STATS,
	GATE_EVE_HTTP,
	GATE_EVE_DNS,
	GATE_EVE_TLS,
	GATE_EVE_QUIC,
	GATE_EVE_SMTP,
	GATE_EVE_FTP,
	GATE_EVE_FTP_DATA,
	GATE_EVE_SMB,
	GATE_EVE_DCERPC,
	GATE_EVE_SSH,
	GATE_EVE_DHCP,
	GATE_EVE_SIP,
	GATE_EVE_SNMP,
	GATE_EVE_MYSQL,
	GATE_EVE_PGSQL,
	GATE_EVE_WEBSOCKET,
	GATE_EVE_MDNS,
	GATE_EVE_LLMNR,
	GATE_EVE_TYPES
};
const char *gate_eve_type_name(enum gate_eve_type type); /* "ftp_data" */
int gate_eve_type_find(const char *name);		 /* -1: none */

struct gate_group {
	char *name, *value;
	bool ports;
};
struct gate_os_policy {
	char *policy, *network;
};

/* Addresses with the first `bits` of addr; IPv4 as ::ffff:a.b.c.d, its bits and 96. */
struct gate_network {
	uint8_t addr[16];
	uint8_t bits;
};
/* "10.0.0.0/8", "2001:db8::/32" or an address; false: it is none. */
bool gate_network_parse(const char *text, struct gate_network *ret);
bool gate_network_has(const struct gate_network *network, const uint8_t addr[16]);

/* rule-sets.NAME: another rule set than that of rule-files, and whose flows it inspects: all kinds
 * that have values must hold, each with one of its values (detect/sets.h). */
#define GATE_RULE_SETS_MAX     256 /* with the default one */
#define GATE_RULE_SET_NAME_MAX 64
#define GATE_RULE_SET_DEFAULT  "default" /* the name of that of rule-files */
struct gate_config_range {
	uint32_t first, last;
};
struct gate_config_set {
	char *name;
	BH_VEC(char *) files;
	BH_VEC(char *) interfaces;
	BH_VEC(struct gate_config_range) vlans;
	BH_VEC(struct gate_config_range) vnis;
	BH_VEC(struct gate_network) networks;
};

#define GATE_URL_SCHEMES 4
extern const char *const gate_url_schemes[GATE_URL_SCHEMES];

struct gate_config {
	/* vars.address-groups.*, vars.port-groups.*: name, text as in suricata.yaml */
	BH_VEC(struct gate_group) groups;
	BH_VEC(char *) rule_files;
	BH_VEC(struct gate_config_set) rule_sets; /* slots 1 and up */
	/* default-rule-path: folder of relative data files; NULL: the rule file's */
	char *rule_path;
	char *classification_file; /* NULL: built in (that of Suricata) */
	char *reference_file;
	char *threshold_file;
	char *cache_dir;    /* of compiled rules; NULL: none */
	uint64_t rules_max; /* of a set; 0: as many as there are */
	uint64_t packet_alerts;
	char *data_dir;				       /* of datasets, relative ones too */
	bool dataset_any_path, dataset_writes;	       /* what rules may name */
	char *reputation_categories, *reputation_path; /* iprep */
	BH_VEC(char *) reputation_files;

	/* decode */
	bool check_checksums; /* -k */
	uint64_t defrag_memcap, defrag_timeout_s, defrag_max_frags;
	bool vxlan_enabled, geneve_enabled, teredo_enabled;
	char *vxlan_ports, *geneve_ports; /* "4789" or "[4789, 8472]" */
	char *teredo_ports;

	/* host-os-policy: name of the policy, networks; first match */
	BH_VEC(struct gate_os_policy) os_policies;

	/* flow */
	uint64_t flow_count;	 /* entries over all workers */
	uint64_t flow_hash_size; /* buckets over all workers; 0: by flow_count */
	bool vlan_tracking;	 /* the VLAN is part of who a flow is */
	bool vni_tracking;	 /* and the VNI */
	uint64_t tcp_new_s, tcp_established_s, tcp_closed_s;
	uint64_t udp_new_s, udp_established_s;
	uint64_t icmp_new_s, icmp_established_s;
	uint64_t other_new_s, other_established_s;

	/* stream */
	uint64_t stream_memcap, stream_depth; /* bytes; depth 0: all */
	uint64_t stream_chunk_to_server, stream_chunk_to_client;
	char *stream_inline_mode; /* auto|yes|no */
	bool stream_inline;	  /* what it comes to: `auto` is by mode */
	char *http_inline_mode;	  /* of bodies, alike */
	bool http_inline;
	bool stream_midstream, stream_async, stream_drop_invalid;
	char *urgent_policy;					  /* inline|drop|oob|gap */
	char *exception_policy, *midstream_policy, *error_policy; /* by name; what they come to: */
	enum gate_exception on_midstream, on_app_error;

	/* app */
	uint64_t app_memcap;	 /* of a worker */
	uint64_t session_memcap; /* of a flow */
	uint64_t tx_max;
	/* track-only|bypass|full; default is the first */
	char *encryption_handling, *ssh_encryption_handling;
	uint64_t websocket_payload_max;
	uint32_t app_disabled; /* bit per enum gate_app: app-layer.protocols.X.enabled */
	uint64_t http_request_body_limit, http_response_body_limit;
	uint64_t http_request_inspect_min, http_request_inspect_window;
	uint64_t http_response_inspect_min, http_response_inspect_window;
	uint64_t http_decompress_layers, http_decompress_limit, http_decompress_time_us;
	uint64_t http_headers_max, http_header_size_max;
	uint64_t file_window, file_store_limit;
	uint64_t range_memcap, range_timeout_s;
	bool file_store;
	char *file_store_dir;	      /* in log_dir */
	uint64_t file_store_open_max; /* descriptors; 0: as many as there are files */
	bool http_double_decode_path, http_double_decode_query, http_plus_is_space;
	bool http_uri_whole; /* http.uri begins with scheme and host, if they are there */
	bool file_hashes[3]; /* md5, sha1, sha256 of all files */
	bool file_types;     /* and what they are */
	bool smtp_decode_mime;
	uint8_t smtp_url_schemes; /* bits of gate_url_schemes; 0: http */

	/* detect */
	uint8_t action_order[4]; /* enum gate_action, reject for all kinds of it; 0: not said */
	uint64_t pcre_match_limit, pcre_depth_limit, pcre_memcap;   /* memcap 0: no limit */
	uint64_t datasets_memcap, dataset_memcap, threshold_memcap; /* of all, of each */
	bool inline_mode, simulate_ips;				    /* drop drops */

	/* output */
	char *log_dir;
	char *eve_file, *eve_unix; /* names in log_dir, or a socket */
	char *eve_unix_type;	   /* stream|datagram */
	uint32_t eve_types;	   /* bit per enum gate_eve_type */
	uint64_t eve_queue;	   /* bytes */
	uint64_t eve_rotate;	   /* bytes of a file; 0: never by size */
	bool eve_community_id, eve_payload, eve_payload_printable, eve_http_body,
		eve_http_body_printable, eve_packet, eve_metadata, eve_verdict;
	bool eve_tagged_packets;
	bool eve_packet_anomalies; /* of decoding and streams, not only of protocols */
	uint64_t eve_payload_size;
	uint64_t stats_interval_s;
	char *events_socket;   /* of bulkhead-hostd; NULL: no events */
	uint32_t events_kinds; /* bits of GATE_EVE_ALERT, _DROP, _ANOMALY; 0: alerts */
	uint64_t events_queue; /* bytes */

	/* process */
	uint64_t workers, ring_mb, snaplen;
	char *capture_mode; /* auto|af-packet|af-xdp */
	bool xdp_symmetric;
	bool fail_open, pass_link;
	char *control_socket;
	char *fanout; /* hosts|flow */
	char *user;
};

/* path NULL: defaults. 0 or < 0 with file, line, column. */
[[nodiscard]] int gate_config_load(const char *path, struct gate_config *ret, struct bh_diag *diag);
/* "key=value", as in the file and also as Suricata spells it. 1: a setting of Suricata that means
 * nothing here, or another value of it does; diag says which, nothing is set. */
[[nodiscard]] int gate_config_set(struct gate_config *config, const char *assignment,
				  struct bh_diag *diag);
/* config_suricata.c: *ret_known when Suricata has that setting and this program does not. Then 0
 * when what is done here is what the value asks for, else 1 and diag says what is. */
[[nodiscard]] int gate_config_of_suricata(const char *key, const char *value, bool *ret_known,
					  struct bh_diag *diag);
/* What follows from other values (stream_inline); after members were set by hand. */
void gate_config_settle(struct gate_config *config);
/* Of an action (enum gate_action), from 0: which rules come first. */
uint8_t gate_config_rank(const struct gate_config *config, uint8_t action);
/* What one key alone can't tell: a rule set without files or match. */
[[nodiscard]] int gate_config_check(const struct gate_config *config, struct bh_diag *diag);
void gate_config_done(struct gate_config *config);
/* Of slot 0 and of a slot that is not there "default". */
const char *gate_config_set_name(const struct gate_config *config, unsigned int slot);
/* For the manual and --list-settings: name, unit or choices, default, help. */
void gate_config_list(FILE *to);

/* config_sets.c, for config.c */
[[nodiscard]] int gate_config_each_set(void *target, const char *path, const char *value,
				       struct bh_diag *diag);
void gate_config_sets_done(struct gate_config *config);

#endif
