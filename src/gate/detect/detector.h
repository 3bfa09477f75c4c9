/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one worker needs to apply rules: scratch, candidates, values of buffers, what has matched so
 * far on this packet. Internal to detect; one thread.
 */
#ifndef BH_GATE_DETECT_DETECTOR_H
#define BH_GATE_DETECT_DETECTOR_H

#include "gate/config.h"
#include "gate/detect/inspect.h"
#include "gate/detect/set.h"
#include "gate/detect/shared.h"
#include "gate/detect/transform.h"
#include "gate/detect/vars.h"

#define GATE_QUEUE_MAX	256	   /* matches of a packet before actions are applied */
#define GATE_VALUES_MAX 8	   /* of a buffer with several that are kept at hand */
#define GATE_XF_MEMORY	(4u << 20) /* for transformed values of a packet or transaction */

/* Rules that may match, each once. */
struct gate_cands {
	uint32_t *nums;
	uint32_t count;
	uint64_t *seen; /* bit per rule */
};

/* Values of one slot, of the transaction and side (or packet) with this generation. */
struct gate_values {
	uint32_t generation;
	uint8_t known; /* that many */
	bool end;      /* and there are no more */
	struct gate_buffer_view views[GATE_VALUES_MAX];
};

struct gate_queued {
	uint32_t num;
	bool in_tx, in_stream;
	uint64_t tx_id;
};

struct gate_tx_side;
struct gate_detector {
	const struct gate_config *config;
	struct gate_shared *shared;
	struct gate_rule_sets *sets; /* a reference; NULL none */
	struct gate_rule_set *set;   /* that of the packet; when there are sets there is one */
	struct gate_pool *pool;	     /* of gate_detect_flow and gate_detect_tx */
	hs_scratch_t *scratch;
	struct gate_cands cands;
	struct gate_values *values; /* per slot of any set */
	uint32_t value_count;
	uint32_t generation;

	/* the packet */
	struct gate_packet *p;
	uint32_t have; /* enum gate_need */
	struct gate_stream_view stream;
	uint64_t stream_from; /* what of it is new */
	bool has_stream;
	struct gate_found *found; /* of the stream that the packet's bytes went into; NULL none */
	struct gate_buffer_view newest; /* these in the stream, and what is before them .. */
	uint32_t newest_old;		/* .. of which that much */
	uint32_t addr_known[2][2], addr_value[2][2]; /* [src, dst]: the first 64 sets */

	const struct gate_frame *frame; /* that is looked at; NULL none */

	/* the transaction */
	struct gate_session *session;
	struct gate_tx *tx;
	uint8_t dir;	/* the side that is looked at */
	bool tx_waits;	/* a rule asks for more of the packets' bytes only */
	bool anew;	/* what was searched is searched once more: rules that ask for the packet */
	bool side_over; /* nothing follows on it */
	struct gate_xf_memory xf;

	struct gate_inspect in;
	struct gate_captures captures; /* of rules that matched on this packet */
	struct gate_queued queue[GATE_QUEUE_MAX];
	uint32_t queued;
	struct gate_detector_stats stats;
};

/* prefilter.c: adds the rules whose pattern is in the view and ends behind `from`. */
void gate_prefilter_scan(struct gate_detector *d, const struct gate_mpm_group *group,
			 const struct gate_buffer_view *view, uint32_t from);
/* Payload rules: those that look at packets, at streams, or both: d->newest, whose rules on streams
 * go to d->found. */
enum gate_scan_for { GATE_SCAN_ALL, GATE_SCAN_PACKET, GATE_SCAN_STREAM, GATE_SCAN_BOTH };
void gate_prefilter_payload(struct gate_detector *d, const struct gate_mpm_group *group,
			    const struct gate_buffer_view *view, uint32_t from,
			    enum gate_scan_for what);
static inline void gate_cands_add(struct gate_cands *c, uint32_t num)
{
	uint64_t bit = 1ull << (num % 64);

	if (!(c->seen[num / 64] & bit)) {
		c->seen[num / 64] |= bit;
		c->nums[c->count++] = num;
	}
}
void gate_cands_sort(struct gate_cands *c);
void gate_cands_clear(struct gate_cands *c);

/* buffers.c: the index-th value of the slot; false: there is none (any more, or yet). */
bool gate_values_get(struct gate_detector *d, uint16_t slot, uint32_t index,
		     struct gate_buffer_view *ret);
/* Of a body: what of it has been looked at; and that now all of it has. */
uint64_t gate_values_seen(const struct gate_detector *d, uint16_t slot, uint32_t index);
void gate_values_saw(struct gate_detector *d, struct gate_tx_side *side, uint16_t slot,
		     uint32_t index, uint64_t until);
/* What was cached belongs to another transaction, side or packet from here on. */
void gate_values_forget(struct gate_detector *d);

/* What rules see of the payload: nothing of a fragment, or behind a header that can't be read. */
static inline uint32_t gate_payload_size(const struct gate_packet *p)
{
	return p->flags & (GATE_PKT_FRAGMENT | GATE_PKT_INVALID) ? 0 : p->payload.size;
}

/* header.c */
uint32_t gate_have_of(const struct gate_packet *p);
bool gate_header_matches(struct gate_detector *d, const struct gate_sig *sig);
bool gate_packet_matches(struct gate_detector *d, const struct gate_sig *sig);
/* files.c: what is asked of several numbers, of which `holds` says whether one is right. */
typedef bool gate_multi_fn(void *arg, uint32_t index);
bool gate_multi_holds(const struct gate_multi *multi, uint32_t count, gate_multi_fn *holds,
		      void *arg);
/* match.c: one keyword of packet or flow. */
bool gate_packet_keyword(struct gate_detector *d, const struct gate_match *m);
/* checksum.c */
bool gate_checksum_matches(const struct gate_packet *p, const struct gate_match *m);
/* keys.c: of xbits, thresholds and tags; false: there is nobody (else) to keep it for. Of bits the
 * index-th: of both hosts there are two. */
bool gate_key_of_bits(const struct gate_packet *p, const struct gate_flowbits *bits, uint32_t name,
		      unsigned int index, struct gate_key *ret);
bool gate_key_of_threshold(const struct gate_packet *p, const struct gate_rule *rule,
			   const struct gate_threshold *th, uint8_t index, struct gate_key *ret);
/* The packets that follow are to be logged. */
void gate_tag_begin(struct gate_detector *d, const struct gate_match *m);
/* It is one of those. */
void gate_tag_packet(struct gate_detector *d);

/* found.c: false: what the packet carries does not stand in the stream as it is. */
bool gate_found_begin(struct gate_detector *d);
void gate_found_add(struct gate_detector *d, uint32_t num);
/* Adds the rules that were found in what of the stream is due. False: it is to be searched. */
bool gate_found_take(struct gate_detector *d);
void gate_found_forget(struct gate_pool *pool, struct gate_found *found);

/* pool.c */
struct gate_found_hits *gate_found_hits_get(struct gate_pool *pool);
void gate_found_hits_put(struct gate_pool *pool, struct gate_found_hits *hits);

/* packet.c, stream.c, tx.c */
void gate_detect_ip_only(struct gate_detector *d);
void gate_detect_packet(struct gate_detector *d);
void gate_detect_frames(struct gate_detector *d);
void gate_detect_txs(struct gate_detector *d);
/* What is left to do when nothing is to be found: transactions count as seen. */
void gate_detect_skip_txs(struct gate_detector *d);
void gate_detect_proto(struct gate_detector *d);
bool gate_list_payload(struct gate_detector *d, const struct gate_sig *sig,
		       const struct gate_dlist *list, bool *ret_in_stream);
void gate_stream_begin(struct gate_detector *d);
void gate_stream_end(struct gate_detector *d);

/* action.c */
void gate_queue(struct gate_detector *d, const struct gate_sig *sig, bool in_stream);
void gate_actions(struct gate_detector *d);

/* A worker's states of flows and transactions; outlives the detector while any is in use. */
struct gate_pool;
struct gate_pool *gate_pool_new(void);
void gate_pool_unref(struct gate_pool *pool);

/* What of one side's stream was searched when it came, as part of a packet (found.c). */
#define GATE_FOUND_MAX 15
struct gate_found_hits {
	struct gate_found_hits *next_free;
	uint32_t count;
	struct gate_found_hit {
		uint32_t num;
		uint32_t size; /* the packet's part of the stream .. */
		uint64_t from; /* .. and where it begins */
	} items[GATE_FOUND_MAX];
};
struct gate_found {
	uint64_t from, until;	      /* searched: what ends behind `from` and not behind `until` */
	uint32_t changes;	      /* of the stream */
	uint16_t app;		      /* whose rules were looked for */
	struct gate_found_hits *hits; /* NULL: nothing was found */
};
struct gate_detect_flow {
	struct gate_pool *pool;
	struct gate_detect_flow *next_free;
	uint32_t set_id;
	uint8_t ip_only_dirs;
	uint16_t proto_seen[GATE_DIRS]; /* enum gate_app + 1 */
	/* What the set with that id had been asked; 0: there was none. */
	uint32_t before_id;
	uint8_t before_ip_only;
	uint16_t before_proto[GATE_DIRS];
	uint32_t addr_known[2][2], addr_value[2][2]; /* [client, server] */
	struct gate_found found[GATE_DIRS];
	/* With what its transactions were looked at last. */
	struct gate_seen_txs {
		uint32_t set_id; /* 0: with none */
		uint16_t app, events;
		bool established, over;
		uint64_t suited;
	} txs[GATE_DIRS];
};
struct gate_detect_flow *gate_state_of_flow(struct gate_detector *d, struct gate_flow *flow);

/* What of a transaction has been looked at. */
#define GATE_TX_STREAMS	   6
#define GATE_TX_STATES_MAX 512
struct gate_tx_state {
	uint32_t num;
	uint32_t bits;	/* of lists that hold */
	uint16_t files; /* when it matched */
	bool over;	/* matched, or can't any more */
};
struct gate_tx_side {
	uint8_t scanned;     /* engines below this progress that are scanned once are through */
	uint16_t files_over; /* the first files, which are over and were searched */
	uint16_t count, capacity;
	struct gate_tx_state *states; /* by num */
	struct gate_tx_stream {
		uint16_t slot;
		uint32_t index; /* of the value + 1; 0: this one is free */
		uint64_t until; /* of its bytes */
	} streams[GATE_TX_STREAMS];
	uint8_t stream_next;
};
struct gate_detect_tx {
	struct gate_pool *pool;
	struct gate_detect_tx *next_free;
	uint32_t set_id;
	struct gate_tx_side sides[GATE_DIRS];
};
struct gate_detect_tx *gate_state_of_tx(struct gate_detector *d, struct gate_tx *tx);
/* follow.c: of another set as this one has it; false: nothing of it can be kept. */
bool gate_follow_tx(struct gate_detect_tx *state, const struct gate_rule_set *set);
void gate_follow_flow(struct gate_detect_flow *state, const struct gate_rule_set *set);

#endif
