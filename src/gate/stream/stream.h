/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP: states of both sides, and their bytes in order (RFC 9293; overlap policies after Novak and
 * Sturges, "Target-Based TCP Stream Reassembly", 2007; names and events as Suricata's).
 *
 * Offline and as a sensor data counts when the receiver has acknowledged it; inline
 * (stream.inline) as soon as it is here, and what overlaps with other content is replaced by what
 * was there first. Bytes live in one buffer per side which slides: its start is the lower of what
 * the parser has consumed and what detection has seen (inline also of what is acknowledged, so
 * that what is sent again can be compared). Bounded per side (stream.reassembly.depth;
 * GATE_STREAM_SEGMENTS_MAX segments that wait for missing bytes) and over all flows of the worker
 * (memcap / workers): past it data is not kept, the gap is told and counted.
 */
#ifndef BH_GATE_STREAM_STREAM_H
#define BH_GATE_STREAM_STREAM_H

#include "gate/decode/packet.h"
#include "gate/flow/flow.h"
#include "gate/gate.h"

struct gate_config;
struct gate_streams; /* one per worker: pools, limits */
struct gate_stream;

/* What may be read of one side now. */
struct gate_stream_view {
	const uint8_t *data;
	uint32_t size;
	uint64_t offset;  /* of data, from the first byte of the stream */
	bool gap;	  /* bytes before data are lost */
	bool eof;	  /* nothing follows */
	bool cut;	  /* because the depth is reached */
	uint32_t changes; /* for detection: how often bytes that were there became others */
};

/* New bytes of one side: the parser's turn (app.c). Returns how many it is through with (it sees
 * the rest again, with more behind it). A gap is told with data NULL and its size. */
typedef uint32_t gate_stream_data_fn(struct gate_flow *flow, enum gate_dir dir,
				     const struct gate_stream_view *view, void *arg);

#define GATE_STREAM_SEGMENTS_MAX 1024
#define GATE_STREAM_SYNS_MAX	 10 /* different SYNs that wait for an answer */
#define GATE_STREAM_SYNACKS_MAX	 5

struct gate_streams *gate_streams_new(const struct gate_config *config, gate_stream_data_fn *fn,
				      void *arg);
void gate_streams_free(struct gate_streams *streams);
/* The flow's packet: state, events (on p), data. Sets GATE_PKT_ESTABLISHED, _STREAM_ADD, _EOF.
 * Inline: returns false when the packet must not pass (stream.c counts why). */
[[nodiscard]] bool gate_stream_packet(struct gate_streams *streams, struct gate_flow *flow,
				      struct gate_packet *p);
/* The bytes of that side that the parser has seen and not consumed, once more (another side has
 * told the protocol). Also from inside gate_stream_data_fn for the other side. */
void gate_stream_offer(struct gate_streams *streams, struct gate_flow *flow, enum gate_dir dir);
/* The flow ends: everything that is there of that side counts now, acknowledged or not; eof is
 * told. */
void gate_stream_finish(struct gate_streams *streams, struct gate_flow *flow, enum gate_dir dir);
/* Both sides. */
void gate_stream_flush(struct gate_streams *streams, struct gate_flow *flow);
void gate_stream_free(struct gate_streams *streams, struct gate_stream *stream);

/* For detection: what of one side has not been inspected, with up to `back` bytes before it that
 * have. `done` moves the mark; the buffer may slide then. */
bool gate_stream_uninspected(const struct gate_stream *stream, enum gate_dir dir, uint32_t back,
			     struct gate_stream_view *ret, uint64_t *ret_new_from);
void gate_stream_inspected(struct gate_stream *stream, enum gate_dir dir, uint64_t until);
/* The last `size` bytes that stand in order, due or not, with up to `back` bytes before them.
 * False: so many are not there, or nobody inspects this side. */
bool gate_stream_newest(const struct gate_stream *stream, enum gate_dir dir, uint32_t size,
			uint32_t back, struct gate_stream_view *ret);
/* What is still kept of one side, inspected or not; for records. False: nothing. */
bool gate_stream_held(const struct gate_stream *stream, enum gate_dir dir,
		      struct gate_stream_view *ret);
/* How far beyond `chunk` detection must be, before it looks (toclient/toserver chunk size); a
 * parser that has a whole message sets this to look now. */
void gate_stream_inspect_now(struct gate_stream *stream, enum gate_dir dir);

/* A parser needs no more of that side (or detection neither): nothing is kept any more. For
 * detection what is here already counts still. */
void gate_stream_stop_app(struct gate_stream *stream, enum gate_dir dir);
void gate_stream_stop_raw(struct gate_stream *stream, enum gate_dir dir);
/* That many bytes more than are there are kept, if not more anyway; 0: no limit. */
void gate_stream_keep(struct gate_stream *stream, enum gate_dir dir, uint64_t more);

enum gate_tcp_state gate_stream_state(const struct gate_stream *stream);
/* As the keyword stream_size counts: sequence numbers used so far, SYN and FIN too. */
uint64_t gate_stream_size(const struct gate_stream *stream, enum gate_dir dir);
uint64_t gate_stream_in_order(const struct gate_stream *stream,
			      enum gate_dir dir); /* bytes so far */
uint32_t gate_stream_next_seq(const struct gate_stream *stream, enum gate_dir dir); /* for RST */
bool gate_stream_is_midstream(const struct gate_stream *stream);
/* TCP flags seen, for flow records. */
uint8_t gate_stream_flags(const struct gate_stream *stream, enum gate_dir dir);
bool gate_stream_has_gap(const struct gate_stream *stream, enum gate_dir dir);
const char *gate_tcp_state_name(enum gate_tcp_state state); /* as EVE: "established" */

struct gate_stream_stats {
	uint64_t sessions, active, midstream,
		no_memory; /* no_memory: sessions and bytes not kept */
	uint64_t invalid_checksum, invalid, rst, syn, synack, gaps, gap_bytes, overlaps, different;
	uint64_t depth_reached, segments_full, urgent, rewritten, retransmissions;
	uint64_t memory, memory_peak, memory_max; /* bytes */
};
void gate_streams_stats(const struct gate_streams *streams, struct gate_stream_stats *ret);

#endif
