/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule set as detection uses it: the compiled form of struct gate_rule. Internal to detect.
 * build.c makes it, nobody changes it afterwards; workers only read. Numbers of rules (their index
 * in `sigs`) are the order of evaluation: pass, drop, reject, alert; what sets flowbits before what
 * tests them; priority; signature id.
 */
#ifndef BH_GATE_DETECT_SET_H
#define BH_GATE_DETECT_SET_H

#include "gate/app/app.h"
#include "gate/detect/detect.h"
#include "gate/detect/mpm.h"

#define GATE_LISTS_MAX	   32 /* of a rule */
#define GATE_VARS_MAX	   64 /* byte_extract and byte_math of a rule */
#define GATE_NUM_NONE_SIG  UINT32_MAX
#define GATE_SET_ANY	   UINT16_MAX
#define GATE_STREAM_BACK   255 /* bytes of a stream that are looked at again with what is new */
#define GATE_PROGRESS_STEP 16  /* enough for every protocol's states */

/* What a packet is and what rules ask for, as bits: `(have & need) == need` before all else. */
enum gate_need {
	GATE_NEED_IP = 1u << 0,
	GATE_NEED_IP4 = 1u << 1,
	GATE_NEED_IP6 = 1u << 2,
	GATE_NEED_TCP = 1u << 3,
	GATE_NEED_UDP = 1u << 4,
	GATE_NEED_ICMP4 = 1u << 5,
	GATE_NEED_ICMP6 = 1u << 6,
	GATE_NEED_ICMP = 1u << 7,
	GATE_NEED_SCTP = 1u << 8,
	GATE_NEED_ARP = 1u << 9,
	GATE_NEED_ETHER = 1u << 10,
	GATE_NEED_PAYLOAD = 1u << 11,
	GATE_NEED_FLOW = 1u << 12,
	GATE_NEED_TO_SERVER = 1u << 13,
	GATE_NEED_TO_CLIENT = 1u << 14,
	GATE_NEED_ESTABLISHED = 1u << 15,
	GATE_NEED_NOT_ESTABLISHED = 1u << 16,
	GATE_NEED_FRAG = 1u << 17,
	GATE_NEED_NO_FRAG = 1u << 18,
	GATE_NEED_EVENTS = 1u << 19,
	GATE_NEED_STREAM = 1u << 20, /* new bytes of the stream stand ready */
	GATE_NEED_PAYLOAD_OR_STREAM = 1u << 21,
	GATE_NEED_REAL = 1u << 22, /* no pseudo packet */
	GATE_NEED_VLAN = 1u << 23,
	GATE_NEED_EMPTY = 1u << 24, /* no payload, nor new bytes of the stream */
	GATE_NEED_IGMP = 1u << 25,
};

/* What a rule is, after Suricata's SignatureType: says where it is looked at and what its action
 * takes: the packet or the flow. */
enum gate_sig_type {
	GATE_SIG_IP_ONLY,	 /* once per flow and direction */
	GATE_SIG_LIKE_IP_ONLY,	 /* with each packet; what it does is done to the flow */
	GATE_SIG_PROTO_DETECTED, /* app-layer-protocol alone: when it becomes known */
	GATE_SIG_EVENT,		 /* decode-event */
	GATE_SIG_PACKET,
	GATE_SIG_PACKET_STREAM, /* payload of packet and stream */
	GATE_SIG_STREAM,
	GATE_SIG_APP,	/* protocol, but nothing of a transaction */
	GATE_SIG_FRAME, /* pieces of the stream that the protocol names */
	GATE_SIG_TX,
};

/* A match of bytes, compiled; a list of them ends with `last`. */
struct gate_dm {
	uint8_t kind; /* enum gate_match_kind */
	bool last;
	bool relative_next; /* the next one counts from where this one ends */
	uint8_t vars;	    /* which of offset, depth, distance, within are variables: bits 0..3 */
	uint16_t flags;	    /* of the content */
	union {
		struct {
			uint16_t size, anchor;
			const uint8_t *bytes; /* lower case when nocase */
			int32_t offset, depth, distance, within;
			uint8_t lo, hi; /* the byte at anchor, in both cases */
		} content;
		struct {
			struct gate_regex *regex;
			bool relative, negated;
		} pcre;
		const struct gate_dm *base64; /* what stands behind base64_data, or NULL */
		struct gate_dataset_ref *dataset;
	};
	const struct gate_match *src;
};

/* A buffer with its transforms; number in gate_rule_set.slots. */
struct gate_slot {
	enum gate_buffer buffer;
	const struct gate_transform *transforms; /* of one of the rules that name it */
	void **compiled;			 /* per transform: of pcrexform */
	uint8_t transform_count;
	uint8_t flags; /* gate_buffer_desc.flags */
	uint8_t progress[GATE_DIRS];
	uint8_t dirs;
	uint32_t apps;
	uint32_t back; /* longest fast pattern of it less one */
};

/* One condition on a transaction (or on bytes of a packet): a bit in a rule's state. */
enum gate_list_kind {
	GATE_LIST_BUFFER, /* slot */
	GATE_LIST_PAYLOAD,
	GATE_LIST_NUMBER,
	GATE_LIST_EVENT,
	GATE_LIST_FILE,
	GATE_LIST_STATE, /* the progress alone */
	GATE_LIST_OTHER, /* DCE: by function of the protocol */
};
struct gate_dlist {
	uint8_t kind;
	uint8_t dirs;
	uint8_t progress[GATE_DIRS];
	uint16_t slot; /* or enum gate_number */
	bool absent, absent_or_else;
	uint32_t apps;
	const struct gate_dm *matches;
	const struct gate_match *src; /* NUMBER, EVENT, FILE, OTHER */
};

/* A rule. The first line is all that most candidates need. */
struct gate_sig {
	uint32_t need;
	uint32_t apps;			 /* 0 any */
	uint16_t src, dst, sport, dport; /* numbers of sets, GATE_SET_ANY */
	uint8_t type;			 /* enum gate_sig_type */
	uint8_t dirs;
	uint8_t action;
	uint8_t list_count, packet_count, post_count;
	bool bidirectional, both_sides, noalert;
	bool require_packet, require_stream;
	bool stream_only; /* what went into no stream is not looked at either */
	bool thresholds;  /* it has any */
	bool has_files;
	uint8_t vars;	  /* that it has */
	uint8_t dsize_op; /* enum gate_compare + 1; 0: none */
	uint32_t dsize_a;
	uint32_t all_bits; /* of lists */
	const struct gate_dlist *lists;
	const struct gate_rule *rule;
	const struct gate_rule_limit *limits; /* by threshold.config */
	uint32_t limit_count;
	const struct gate_match **packet; /* cheap ones first */
	const struct gate_match **post;
	uint32_t num;
	uint16_t fast_list; /* which has the fast pattern; UINT16_MAX none */
};

/* Of a buffer: patterns that may stand anywhere, and those that can be at its beginning only, of
 * which no more is searched. */
enum { GATE_SEARCH_WHOLE, GATE_SEARCH_BEGIN, GATE_SEARCHES };
#define GATE_BEGIN_MAX 128
/* A rule without a pattern, and what is asked before it: need, and of the first four bytes of
 * packet or stream (as the processor reads them) those that it knows. */
struct gate_always {
	uint32_t num, need, mask, bytes;
};
/* Payload rules of a range of ports: by class (of protocols) those of any port and these. */
struct gate_port_group {
	struct gate_mpm *own[GATE_SEARCHES]; /* of these ports only; NULL none */
	struct gate_mpm_group (*searches)[GATE_SEARCHES];
	const struct gate_always *always;
	uint32_t always_count;
};
enum gate_transport { GATE_TR_TCP, GATE_TR_UDP, GATE_TR_OTHER, GATE_TRANSPORTS };
/* By a port of one side: all rules but those of the other kind by the server's; by the client's
 * those that name no port of the server, and few of the client. */
enum gate_port_side { GATE_PORT_OF_SERVER, GATE_PORT_OF_CLIENT, GATE_PORT_SIDES };
struct gate_port_groups {
	uint16_t *by_port; /* 65536 numbers; NULL: there are no rules of this kind */
	struct gate_port_group *groups;
	uint32_t count;
	/* Protocols that have rules of any port of their own share a class when these are the same;
	 * class 0 has none. */
	uint8_t class_of[GATE_APP_COUNT];
	uint8_t class_count;
	struct gate_mpm *any[GATE_APP_COUNT][GATE_SEARCHES]; /* by class */
};
struct gate_packet_groups {
	struct gate_port_groups of[GATE_TRANSPORTS][GATE_DIRS][GATE_PORT_SIDES];
};

/* One buffer to scan in transactions of a protocol and direction. */
struct gate_engine {
	uint16_t slot;
	uint8_t progress;
	bool stream; /* grows: scanned from where it was left */
	bool once;   /* whole when there: scanned once */
	struct gate_mpm *mpm;
	struct gate_mpm_group search;
};
struct gate_app_group {
	struct gate_engine *engines; /* by progress */
	uint32_t engine_count;
	uint32_t *always; /* rules without pattern */
	uint32_t always_count;
	/* Rules that a packet may make hold though the transaction has nothing new: those that are
	 * asked more than once and ask for something of the packet. */
	uint32_t *fickle;
	uint32_t fickle_count;
	bool files; /* a rule looks at file content or hashes */
};

/* Rules of a set that was there before, by their numbers then. */
#define GATE_WAS_MAX                                                                               \
	4 /* sets that are remembered: what was last looked at by an older one is new */
struct gate_rule_was {
	uint32_t id; /* of that set */
	uint32_t count;
	uint32_t *nums;	   /* by number there: the number here, or GATE_NUM_NONE_SIG */
	uint64_t *carried; /* bit per rule here that was there */
};
struct gate_rule_set {
	_Atomic uint32_t refs;
	uint32_t id; /* of gate_shared: another for every set */
	struct gate_rule_files *files;
	struct gate_shared *shared;
	struct gate_sig *sigs;
	uint32_t sig_count;

	struct gate_slot *slots;
	uint32_t slot_count;
	const struct gate_addr_set **addr_sets;
	uint16_t addr_set_count;
	const struct gate_port_set **port_sets;
	uint16_t port_set_count;

	struct gate_packet_groups packets;
	struct gate_app_group apps[GATE_APP_COUNT][GATE_DIRS];
	struct gate_app_group frames[GATE_BUF_FRAMES][GATE_DIRS];
	uint32_t *ip_only;
	uint32_t ip_only_count;
	uint32_t *proto_detected; /* when the protocol is known */
	uint32_t proto_detected_count;

	BH_VEC(struct gate_mpm *) mpms;
	BH_VEC(struct gate_gram_set {
		const struct gate_grams *grams[GATE_MPM_PARTS];
		struct gate_gram_union *all;
		uint32_t next; /* while it is built: 1 + the next one of its bucket */
	})
	unions;
	BH_VEC(struct gate_regex_entry *) regexes; /* references (regexes.h) */
	struct gate_rule_was was[GATE_WAS_MAX];	   /* the latest first */
	uint8_t was_count;
	struct gate_arena *arena; /* owns the small arrays */
	struct gate_rule_set_stats stats;
};

/* sets.h */
struct gate_rule_sets {
	_Atomic uint32_t refs;
	hs_scratch_t *scratch;	    /* enough for each database; cloned by workers */
	uint32_t sig_max, slot_max; /* of the largest */
	uint32_t count;
	struct gate_rule_set *sets[];
};

/* Control plane memory that goes with its set. */
struct gate_arena *gate_arena_new(void);
void gate_arena_free(struct gate_arena *arena);
void *gate_arena_alloc(struct gate_arena *arena, size_t size); /* zeroed, never NULL */
size_t gate_arena_bytes(const struct gate_arena *arena);

/* follow.c: what `was` holds is freed. */
void gate_rule_set_forget(struct gate_rule_set *set);
/* Rules that the set with that id had too; NULL: it is not known. */
const uint64_t *gate_carried(const struct gate_rule_set *set, uint32_t id);

/* ---- build ---- */

/* The content that the prefilter looks for, as bytes, and its list. */
struct gate_fast {
	const uint8_t *bytes;
	uint16_t size, list;
	bool nocase;
	uint32_t max_end;
};
/* While a set is being built: what is found again. */
#define GATE_UNION_BUCKETS 1024
struct gate_builder {
	struct gate_rule_set *set;
	const struct gate_config *config;
	struct gate_mpm_jobs *jobs;
	BH_VEC(struct gate_fast) fasts; /* by number of the rule; size 0: none */
	BH_VEC(struct gate_slot) slots;
	BH_VEC(const struct gate_addr_set *) addr_sets;
	BH_VEC(const struct gate_port_set *) port_sets;
	uint32_t union_buckets[GATE_UNION_BUCKETS];
};
/* compile.c: one rule; its number is set later. 0, or < 0 with the reason. */
[[nodiscard]] int gate_compile_rule(struct gate_builder *b, const struct gate_rule *rule,
				    struct gate_sig *sig, struct bh_diag *diag);
/* bytelist.c: matches of bytes into the set's memory. */
[[nodiscard]] int gate_compile_bytes(struct gate_builder *b, const struct gate_rule *rule,
				     const struct gate_match *matches, size_t count,
				     const struct gate_dm **ret, struct bh_diag *diag);
/* fast.c: false: no content fits. */
bool gate_fast_pattern(const struct gate_builder *b, const struct gate_sig *sig,
		       struct gate_fast *ret);
void gate_fast_none(const struct gate_sig *sig, struct gate_always *ret);
/* order.c: < 0 when a is evaluated before b. */
int gate_rule_order(const struct gate_rule *a, const struct gate_rule *b);
/* ports.c, groups.c */
void gate_group_packets(struct gate_builder *b);
void gate_group_txs(struct gate_builder *b);
/* When databases are there. */
void gate_group_searches(struct gate_builder *b);
/* build.c */
struct gate_regex *gate_builder_regex(struct gate_builder *b, const char *pattern, uint32_t options,
				      struct bh_diag *diag);

#endif
