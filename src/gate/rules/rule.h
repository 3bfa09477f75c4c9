/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule as it was read: the Suricata rule language without its spelling. The reader (read.h) makes
 * it, detect compiles and evaluates it; nothing here knows how. Immutable after reading; owned by
 * the files that it was read for, of one rule set or of several. Meaning of each keyword is that of
 * Suricata 8 (its user guide, "Rules").
 */
#ifndef BH_GATE_RULES_RULE_H
#define BH_GATE_RULES_RULE_H

#include "base/util.h"
#include "gate/app/buffers.h"
#include "gate/decode/packet.h"
#include "gate/gate.h"

/* ---- header ---- */

struct gate_addr_range {
	struct gate_addr first, last; /* one family; both ends belong to it */
};
/* Sorted, without overlap; any: everything of both families; negated: some of it stands in the text
 * as what it is not. */
struct gate_addr_set {
	bool any, negated;
	BH_VEC(struct gate_addr_range) in;
};
struct gate_port_range {
	uint16_t first, last;
};
struct gate_port_set {
	bool any;
	BH_VEC(struct gate_port_range) in;
};
bool gate_addr_set_has(const struct gate_addr_set *set, const struct gate_addr *addr);
bool gate_port_set_has(const struct gate_port_set *set, uint16_t port);

/* The word after the action. */
enum gate_rule_proto {
	GATE_RULE_IP,
	GATE_RULE_IPV4,
	GATE_RULE_IPV6,
	GATE_RULE_TCP,
	GATE_RULE_TCP_PKT,
	GATE_RULE_TCP_STREAM,
	GATE_RULE_UDP,
	GATE_RULE_ICMP,
	GATE_RULE_ICMPV4,
	GATE_RULE_ICMPV6,
	GATE_RULE_IGMP,
	GATE_RULE_SCTP,
	GATE_RULE_PKTHDR,
	GATE_RULE_ETHER,
	GATE_RULE_ARP,
	GATE_RULE_APP, /* one of enum gate_app */
};

/* ---- matches ---- */

#define GATE_SUBSLICE_ALL INT32_MIN
enum gate_base64_mode { GATE_BASE64_RFC4648, GATE_BASE64_RFC2045, GATE_BASE64_STRICT };
enum gate_transform_kind {
	GATE_XF_COMPRESS_WHITESPACE,
	GATE_XF_STRIP_WHITESPACE,
	GATE_XF_STRIP_PSEUDO_HEADERS,
	GATE_XF_HEADER_LOWERCASE,
	GATE_XF_TO_LOWERCASE,
	GATE_XF_TO_UPPERCASE,
	GATE_XF_TO_MD5,
	GATE_XF_TO_SHA1,
	GATE_XF_TO_SHA256,
	GATE_XF_DOTPREFIX,
	GATE_XF_URL_DECODE,
	GATE_XF_XOR,
	GATE_XF_PCREXFORM,
	GATE_XF_FROM_BASE64,
	GATE_XF_DOMAIN,
	GATE_XF_TLD,
	GATE_XF_GUNZIP,
	GATE_XF_ZLIB_DEFLATE,
	GATE_XF_SUBSLICE,
};
struct gate_transform {
	enum gate_transform_kind kind;
	char *text; /* xor key (bytes), pattern, options */
	uint32_t text_size;
	/* from_base64: bytes (0 all), offset, enum gate_base64_mode. subslice: offset, size
	 * (GATE_SUBSLICE_ALL: to the end), 1 truncate. gunzip, zlib_deflate: largest size. xor:
	 * offset, size of the key that is taken out of the buffer (0: the key is text), where it
	 * stands. */
	int32_t args[3];
};

/* A number, or the number-th variable of the rule (byte_extract, byte_math), as Suricata allows. */
struct gate_operand {
	bool is_var;
	int64_t value; /* or index of the variable */
};

enum gate_content_flag {
	GATE_CONTENT_NOCASE = 1 << 0,
	GATE_CONTENT_NEGATED = 1 << 1,
	GATE_CONTENT_OFFSET = 1 << 2,
	GATE_CONTENT_DEPTH = 1 << 3,
	GATE_CONTENT_DISTANCE = 1 << 4,
	GATE_CONTENT_WITHIN = 1 << 5,
	GATE_CONTENT_ENDSWITH = 1 << 6,
	GATE_CONTENT_STARTSWITH = 1 << 7,
	GATE_CONTENT_FAST = 1 << 8,	 /* fast_pattern */
	GATE_CONTENT_FAST_ONLY = 1 << 9, /* fast_pattern:only */
	GATE_CONTENT_FAST_CHOP = 1 << 10,
	GATE_CONTENT_RAWBYTES = 1 << 11,
	GATE_CONTENT_REPLACE = 1 << 12,
};
struct gate_content {
	uint8_t *bytes; /* size of them, as written (also with NOCASE) */
	uint16_t size;
	uint16_t flags;
	/* Numbers as written: depth counts from offset. STARTSWITH has DEPTH of its size too. */
	struct gate_operand offset, depth, distance, within;
	uint16_t chop_offset, chop_size;
	uint8_t *replace; /* of the same size */
};

enum gate_pcre_flag {
	GATE_PCRE_RELATIVE = 1 << 0,
	GATE_PCRE_NEGATED = 1 << 1,
	GATE_PCRE_RAWBYTES = 1 << 2,
};
struct gate_pcre {
	char *pattern;	  /* without slashes and options */
	uint32_t options; /* of pcre2_compile */
	uint8_t flags;
	/* captures: (?P<flow_x>..) and "/../, flow:name, pkt:name"; the i-th is of group i + 1 */
	BH_VEC(struct gate_pcre_capture {
		char *name;	 /* NULL: not kept */
		uint32_t number; /* of the name, gate_names */
		enum { GATE_CAPTURE_PKT, GATE_CAPTURE_FLOW, GATE_CAPTURE_ALERT } scope;
	})
	captures;
};

enum gate_byte_flag {
	GATE_BYTE_RELATIVE = 1 << 0,
	GATE_BYTE_LITTLE = 1 << 1,
	GATE_BYTE_STRING = 1 << 2,
	GATE_BYTE_NEGATED = 1 << 3,
	GATE_BYTE_ALIGN = 1 << 4,
	GATE_BYTE_FROM_BEGINNING = 1 << 5,
	GATE_BYTE_FROM_END = 1 << 6,
	GATE_BYTE_DCE = 1 << 7,
};
/* byte_test, byte_jump, byte_extract, byte_math: those members that the keyword has. */
struct gate_byte {
	uint16_t flags;
	uint8_t base;		   /* of strings: 8, 10, 16; 0 by itself */
	struct gate_operand count; /* of bytes; 0 of a string: as many digits as there are */
	struct gate_operand offset, value;
	char op; /* < > = & ^ l(<=) g(>=) ; math: + - * / l(<<) r(>>) */
	uint32_t multiplier, bitmask;
	int32_t post_offset;
	uint8_t align;
	uint16_t var; /* that it sets */
};

enum gate_compare {
	GATE_EQ,
	GATE_NE,
	GATE_LT,
	GATE_LE,
	GATE_GT,
	GATE_GE,
	GATE_RANGE /* both ends out */,
	GATE_NOT_RANGE,
	GATE_MASK /* (v & a) == b */,
	GATE_NOT_MASK
};
struct gate_test {
	enum gate_compare op;
	uint64_t a, b;
};
bool gate_test_holds(const struct gate_test *test, uint64_t value);

struct gate_isdataat {
	struct gate_operand offset;
	bool relative, negated;
};
struct gate_base64 {
	uint32_t bytes, offset; /* bytes 0: all */
	bool relative;
};
/* entropy (bits per byte, 0 to 8) of so many bytes (0: all) from an offset on */
struct gate_entropy {
	uint32_t bytes, offset;
	enum gate_compare op;
	double a, b;
};
struct gate_dataset {
	char *name;
	enum {
		GATE_DATA_ISSET,
		GATE_DATA_ISNOTSET,
		GATE_DATA_SET,
		GATE_DATA_UNSET,
		GATE_DATA_REP
	} cmd;
	enum {
		GATE_DATA_STRING,
		GATE_DATA_MD5,
		GATE_DATA_SHA256,
		GATE_DATA_IPV4,
		GATE_DATA_IP
	} type;
	char *load, *state; /* files, NULL none */
	uint32_t memcap, hashsize;
	struct gate_test rep;
	bool subdomain; /* match subdomain: the value, and then what is behind each of its dots */
	enum { GATE_DATA_CSV, GATE_DATA_JSON, GATE_DATA_NDJSON } format; /* of `load` */
	char *value_key, *array_key, *context_key;			 /* of JSON; NULL none */
	bool remove_key;
};
struct gate_flowbits {
	enum {
		GATE_BITS_SET,
		GATE_BITS_UNSET,
		GATE_BITS_TOGGLE,
		GATE_BITS_ISSET,
		GATE_BITS_ISNOTSET
	} cmd;
	bool any;		/* a|b: one of them; else all (there is one) */
	BH_VEC(uint32_t) names; /* numbers, gate_names */
	/* xbits, hostbits */
	enum {
		GATE_BITS_FLOW,
		GATE_BITS_SRC,
		GATE_BITS_DST,
		GATE_BITS_PAIR,
		GATE_BITS_TX,
		GATE_BITS_HOSTS /* each of both: set for both, asked of either */
	} track;
	uint32_t expire_s;
};
struct gate_flowint {
	uint32_t name;
	enum {
		GATE_INT_SET,
		GATE_INT_ADD,
		GATE_INT_SUB,
		GATE_INT_TEST,
		GATE_INT_ISSET,
		GATE_INT_ISNOTSET
	} cmd;
	enum gate_compare op;
	bool value_is_name;
	uint32_t value; /* or the name of another */
};

/* flowvar, pktvar: the text is in the variable's */
struct gate_textvar {
	uint32_t name;
	bool of_flow;
	uint8_t *bytes;
	uint16_t size;
};

/* Of a number that a transaction may have several of: of which it is asked. What depends on how
 * many there are is asked when no more can come. */
struct gate_multi {
	enum {
		GATE_MULTI_ANY,
		GATE_MULTI_ALL,
		GATE_MULTI_ALL_OR_ABSENT,
		GATE_MULTI_OR_ABSENT,
		GATE_MULTI_TIMES, /* as often as `count` says */
		GATE_MULTI_AT,	  /* the at-th, from the end when negative */
		GATE_MULTI_AT_OR_OUT,
		GATE_MULTI_COUNT /* how many there are, whatever they say */
	} mode;
	int32_t at;
	struct gate_test count;
	bool slice; /* only of those from `from` to before `to`, from the end when negative */
	int32_t from, to;
};

/* Kinds of a match. Those of bytes stand in a list (struct gate_rule_list) and are evaluated in
 * order, with what is relative to the one before. */
enum gate_match_kind {
	/* of bytes */
	GATE_M_CONTENT,
	GATE_M_PCRE,
	GATE_M_BYTE_TEST,
	GATE_M_BYTE_JUMP,
	GATE_M_BYTE_EXTRACT,
	GATE_M_BYTE_MATH,
	GATE_M_ISDATAAT,
	GATE_M_BSIZE,
	GATE_M_BASE64_DECODE,
	GATE_M_DATASET,
	GATE_M_ABSENT,
	GATE_M_ENTROPY,
	GATE_M_ASN1,
	/* of the packet */
	GATE_M_DSIZE,
	GATE_M_TTL,
	GATE_M_TOS,
	GATE_M_IP_ID,
	GATE_M_IP_PROTO,
	GATE_M_IPOPTS,
	GATE_M_FRAGBITS,
	GATE_M_FRAGOFFSET,
	GATE_M_SAMEIP,
	GATE_M_GEOIP,
	GATE_M_TCP_FLAGS,
	GATE_M_TCP_SEQ,
	GATE_M_TCP_ACK,
	GATE_M_TCP_WINDOW,
	GATE_M_TCP_MSS,
	GATE_M_TCP_WSCALE,
	GATE_M_ITYPE,
	GATE_M_ICODE,
	GATE_M_ICMP_ID,
	GATE_M_ICMP_SEQ,
	GATE_M_ICMP6_MTU,
	GATE_M_IGMP_TYPE,
	GATE_M_SCTP_VTAG,
	GATE_M_SCTP_CHUNK_TYPE,
	GATE_M_SCTP_CHUNK_CNT,
	GATE_M_DECODE_EVENT,
	GATE_M_STREAM_EVENT,
	GATE_M_VLAN_ID,
	GATE_M_VLAN_LAYERS,
	GATE_M_HOOK,
	GATE_M_CSUM,
	GATE_M_RPC,
	/* of the flow */
	GATE_M_STREAM_SIZE,
	GATE_M_FLOW_AGE,
	GATE_M_FLOW_PKTS,
	GATE_M_FLOW_BYTES,
	GATE_M_APP_PROTO,
	GATE_M_IPREP,
	GATE_M_FTPBOUNCE,
	GATE_M_FLOWBITS,
	GATE_M_FLOWINT,
	GATE_M_FLOWVAR,
	/* of the transaction */
	GATE_M_NUMBER,
	GATE_M_APP_EVENT,
	GATE_M_FILE,
	GATE_M_DCE_IFACE,
	GATE_M_DCE_OPNUM,
	GATE_M_DCE_STUB,
	GATE_M_STATE, /* a side is that far */
	/* when all else has matched */
	GATE_M_TAG,
	GATE_M_FILESTORE,
	GATE_M_CONFIG, /* no record of the transaction */
	GATE_M_BYPASS,
	GATE_M_TLS_STORE, /* nothing: certificates are stored nowhere */
};

enum gate_sides { GATE_SIDE_SERVER, GATE_SIDE_CLIENT, GATE_SIDE_BOTH, GATE_SIDE_EITHER };
/* app-layer-protocol: which side's protocol. DIRECTION: that of the packet's side. */
enum gate_app_mode {
	GATE_APP_OF_DIRECTION,
	GATE_APP_FINAL,
	GATE_APP_ORIGINAL,
	GATE_APP_EITHER,
	GATE_APP_OF_SERVER,
	GATE_APP_OF_CLIENT
};
/* other.args of ASN1: bits of what is asked for, oversize length, absolute or relative offset. */
enum gate_asn1_flag {
	GATE_ASN1_BITSTRING = 1,
	GATE_ASN1_DOUBLE = 2,
	GATE_ASN1_OVERSIZE = 4,
	GATE_ASN1_ABSOLUTE = 8,
	GATE_ASN1_RELATIVE = 16
};
/* GATE_M_ASN1 with other.args, in a buffer in which the match before ended at `last` (0: none). */
bool gate_asn1_matches(const uint32_t args[4], const uint8_t *data, uint32_t size, uint32_t last);
/* other.args[0] of CSUM; [1] is 1 for valid, 0 for invalid. */
enum gate_csum_of {
	GATE_CSUM_IPV4,
	GATE_CSUM_TCPV4,
	GATE_CSUM_TCPV6,
	GATE_CSUM_UDPV4,
	GATE_CSUM_UDPV6,
	GATE_CSUM_ICMPV4,
	GATE_CSUM_ICMPV6
};
/* other.args[1] of RPC: which of program (always), version, procedure are given; they are [0], [2],
 * [3]. */
enum gate_rpc_flag { GATE_RPC_VERSION = 1, GATE_RPC_PROCEDURE = 2 };

/* Of which files `filestore` speaks. */
enum gate_store_scope { GATE_STORE_FILE, GATE_STORE_TX, GATE_STORE_FLOW };

/* What of a file: filename and fileext are buffers. */
struct gate_file_match {
	/* ANY: there is one (what `filestore` alone asks for) */
	enum { GATE_FM_SIZE, GATE_FM_MD5, GATE_FM_SHA1, GATE_FM_SHA256, GATE_FM_ANY } what;
	bool negated;
	struct gate_test size;
	uint8_t *hashes; /* sorted, hash_count of them, 16, 20 or 32 bytes each */
	size_t hash_count;
};

#define GATE_IPOPT_ANY 256
struct gate_match {
	enum gate_match_kind kind;
	union {
		struct gate_content content;
		struct gate_pcre pcre;
		struct gate_byte byte;
		struct gate_isdataat isdataat;
		struct gate_base64 base64;
		struct gate_entropy entropy;
		struct gate_dataset dataset;
		struct gate_flowbits bits;
		struct gate_flowint flowint;
		struct gate_file_match file;
		struct gate_textvar textvar;
		struct {
			struct gate_test test;
			uint16_t number; /* enum gate_number, GATE_M_NUMBER */
			/* stream_size, flow.pkts: enum gate_sides. FILESTORE: GATE_DIR_BITs, 0 that
			 * of the match; number is one of enum gate_store_scope. */
			uint8_t dir;
			bool negated;
			struct gate_multi multi; /* GATE_M_NUMBER, vlan.id */
		} num;				 /* whatever compares one whole number */
		struct {
			uint8_t set, mask; /* flags:S,12: mask has the bits that count */
			/* 0 exactly set, '+' all of it, '*' any of it, '!' not all of it */
			char op;
		} tcp_flags;
		struct {
			uint16_t event; /* enum gate_event, or the parser's number */
			uint16_t app;
		} event;
		struct {
			uint8_t uuid[16];
			bool any_frag, has_version;
			struct gate_test version;
		} dce_iface;
		struct {
			BH_VEC(struct gate_port_range) in; /* opnums */
		} dce_opnum;
		struct {
			enum { GATE_REP_ANY, GATE_REP_SRC, GATE_REP_DST, GATE_REP_BOTH } side;
			uint8_t category;
			bool unset; /* isnotset: it has no value there */
			struct gate_test test;
		} iprep;
		struct {
			bool negated;
			uint8_t dir; /* enum gate_app_mode */
			uint16_t app;
			uint32_t
				apps; /* bit per enum gate_app that it stands for (http: several) */
		} app_proto;
		struct {
			bool host, src; /* host: src or dst; else the session */
			bool packets, seconds;
			uint32_t count;
		} tag;
		struct {
			char *text; /* as written: ipopts, fragbits, asn1, rpc, HOOK, STATE */
			struct gate_test test;
			/* HOOK: 1 flow_start, 0 all. STATE: GATE_DIR_BIT of the side, its
			 * progress. absent: 1 or_else. ipopts: the option's number,
			 * GATE_IPOPT_ANY. fragbits: IP_MF and the like (0x2000, 0x4000, 0x8000),
			 * modifier (0 exactly, + * !). asn1, csum, rpc: above. */
			uint32_t args[4];
			bool negated;
		} other;
	};
};

/* One buffer as a rule names it (each naming is a list of its own), or the payload. */
struct gate_rule_list {
	enum gate_buffer buffer;
	BH_VEC(struct gate_transform) transforms;
	BH_VEC(struct gate_match) matches;
};

enum gate_flow_opt {
	GATE_FLOWOPT_TO_SERVER = 1 << 0,
	GATE_FLOWOPT_TO_CLIENT = 1 << 1,
	GATE_FLOWOPT_ESTABLISHED = 1 << 2,
	GATE_FLOWOPT_NOT_ESTABLISHED = 1 << 3,
	GATE_FLOWOPT_STATELESS = 1 << 4,
	GATE_FLOWOPT_ONLY_STREAM = 1 << 5,
	GATE_FLOWOPT_NO_STREAM = 1 << 6,
	GATE_FLOWOPT_ONLY_FRAG = 1 << 7,
	GATE_FLOWOPT_NO_FRAG = 1 << 8,
};

struct gate_threshold {
	enum {
		GATE_TH_NONE,
		GATE_TH_LIMIT,
		GATE_TH_THRESHOLD,
		GATE_TH_BOTH,
		GATE_TH_DETECTION,
		GATE_TH_RATE,
		GATE_TH_BACKOFF,
		GATE_TH_SUPPRESS
	} type;
	enum {
		GATE_TRACK_NONE,
		GATE_TRACK_SRC,
		GATE_TRACK_DST,
		GATE_TRACK_BOTH,
		GATE_TRACK_RULE,
		GATE_TRACK_FLOW,
		GATE_TRACK_EITHER
	} track;
	uint32_t count, seconds, timeout, multiplier;
	uint8_t new_action;	     /* rate_filter: enum gate_action */
	int unique;		     /* detection_filter: 0 no, 1 src_port, 2 dst_port */
	struct gate_addr_set *addrs; /* suppress: NULL all */
};

enum gate_rule_flag {
	GATE_RULE_NOALERT = 1 << 0,
	GATE_RULE_BIDIRECTIONAL = 1 << 1, /* <> */
	GATE_RULE_BOTH_SIDES = 1 << 2,	  /* => : transaction rule over both directions */
	GATE_RULE_IP_ONLY = 1 << 3,	  /* addresses, ports, protocol only: once per flow */
	GATE_RULE_PREFILTER = 1 << 4,	  /* `prefilter` on a keyword that is no pattern */
	GATE_RULE_TARGET_SRC = 1 << 5,
	GATE_RULE_TARGET_DST = 1 << 6,
	GATE_RULE_ALERT = 1 << 7, /* alerts although it is a pass */
	/* the same with negated addresses: each packet, as in Suricata */
	GATE_RULE_LIKE_IP_ONLY = 1 << 8,
};

struct gate_rule {
	uint32_t sid, gid, rev;
	uint8_t action; /* one of enum gate_action */
	uint8_t rank;	/* of it, by action-order */
	uint8_t priority;
	uint16_t flags;
	char *msg;
	const char *classtype, *class_text; /* NULL none; of the classification */
	BH_VEC(struct gate_reference {
		const char *key, *prefix; /* prefix: of the reference.config, NULL unknown */
		char *value;
	})
	references;
	BH_VEC(struct gate_metadata { char *key, *value; }) metadata;
	const char *file; /* where it stands */
	uint32_t line;
	char *text;		     /* as it stands there */
	uint32_t refs;		     /* by how many files; 0: one, which nobody shares */
	struct gate_rule *next_kept; /* shared.c */

	enum gate_rule_proto proto;
	enum gate_app app; /* GATE_RULE_APP, or what its buffers say; http covers HTTP1 and HTTP2 */
	uint32_t apps;	   /* bit per enum gate_app; 0 any */
	struct gate_addr_set *src, *dst; /* shared between rules */
	struct gate_port_set *sport, *dport;
	uint16_t flow_opts;
	uint8_t dirs; /* GATE_DIR_BITs in which it can match, from flow and buffers */

	BH_VEC(struct gate_rule_list) lists; /* bytes, as they stand in the rule */
	BH_VEC(struct gate_match) packet;    /* of packet and flow */
	BH_VEC(struct gate_match) tx;	     /* of the transaction and its files */
	BH_VEC(struct gate_match) post;	     /* flowbits set and the like, tag, filestore */
	struct gate_threshold threshold;     /* by the rule itself */
	uint16_t var_count;		     /* of byte_extract and byte_math */
	/* On what base64_decode has decoded (at most one in a rule): evaluated where it stands. */
	BH_VEC(struct gate_match) base64_data;
};

struct bh_wbuf;
struct gate_names;
void gate_rule_free(struct gate_rule *rule);
/* The rule in one normal spelling, without what is only its text (file, line): reading it gives the
 * same rule again. */
void gate_rule_format(const struct gate_rule *rule, struct gate_names *names, struct bh_wbuf *w);

#endif
