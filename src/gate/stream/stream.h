/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP: states of both sides, and their bytes in order (RFC 9293; overlap policies after Novak and
 * Sturges, "Target-Based TCP Stream Reassembly", 2007; names and events as Suricata's).
 *
 * Offline and as a sensor data counts when the receiver has acknowledged it; inline
 * (stream.inline) as soon as it is here, and what overlaps with other content is replaced by what
 * was there first. Bytes live in one buffer per side which slides: its start is the lower of what
 * the parser has consumed and what detection has seen. Bounded per side (stream.depth) and over all
 * flows of the worker (stream.memcap): past it data is not kept, the gap is told and counted.
 */
#ifndef BH_GATE_STREAM_STREAM_H
#define BH_GATE_STREAM_STREAM_H

#include "gate/decode/packet.h"
#include "gate/flow/flow.h"
#include "gate/gate.h"

struct gate_config;
struct gate_streams; /* one per worker: pools, limits */
struct gate_stream;

enum gate_tcp_state {
	GATE_TCP_NONE, GATE_TCP_SYN_SENT, GATE_TCP_SYN_RECV, GATE_TCP_ESTABLISHED, GATE_TCP_FIN_WAIT1,
	GATE_TCP_FIN_WAIT2, GATE_TCP_TIME_WAIT, GATE_TCP_LAST_ACK, GATE_TCP_CLOSE_WAIT, GATE_TCP_CLOSING,
	GATE_TCP_CLOSED,
};

/* What may be read of one side now. */
struct gate_stream_view {
	const uint8_t *data;
	uint32_t size;
	uint64_t offset; /* of data, from the first byte of the stream */
	bool gap;	 /* bytes before data are lost */
	bool eof;	 /* nothing follows */
};

/* New bytes of one side: the parser's turn (app.c). Returns how many it is through with (it sees
 * the rest again, with more behind it). A gap is told with data NULL and its size. */
typedef uint32_t gate_stream_data_fn(struct gate_flow *flow, enum gate_dir dir,
				     const struct gate_stream_view *view, void *arg);

struct gate_streams *gate_streams_new(const struct gate_config *config, gate_stream_data_fn *fn,
				      void *arg);
void gate_streams_free(struct gate_streams *streams);
/* The flow's packet: state, events (on p), data. Sets GATE_PKT_ESTABLISHED, _STREAM_ADD, _EOF.
 * Inline: returns false when the packet must not pass (stream.c counts why). */
[[nodiscard]] bool gate_stream_packet(struct gate_streams *streams, struct gate_flow *flow,
				      struct gate_packet *p);
/* The flow ends: everything that is there counts now, acknowledged or not; eof is told. */
void gate_stream_flush(struct gate_streams *streams, struct gate_flow *flow);
void gate_stream_free(struct gate_streams *streams, struct gate_stream *stream);

/* For detection: what of one side has not been inspected, with up to `back` bytes before it that
 * have. `done` moves the mark; the buffer may slide then. */
bool gate_stream_uninspected(const struct gate_stream *stream, enum gate_dir dir, uint32_t back,
			     struct gate_stream_view *ret, uint64_t *ret_new_from);
void gate_stream_inspected(struct gate_stream *stream, enum gate_dir dir, uint64_t until);
/* How far beyond `chunk` detection must be, before it looks (toclient/toserver chunk size); a
 * parser that has a whole message sets this to look now. */
void gate_stream_inspect_now(struct gate_stream *stream, enum gate_dir dir);

/* A parser needs no more of that side (or detection neither): nothing is kept any more. */
void gate_stream_stop_app(struct gate_stream *stream, enum gate_dir dir);
void gate_stream_stop_raw(struct gate_stream *stream, enum gate_dir dir);
void gate_stream_set_depth(struct gate_stream *stream, enum gate_dir dir, uint32_t depth);

enum gate_tcp_state gate_stream_state(const struct gate_stream *stream);
uint64_t gate_stream_size(const struct gate_stream *stream, enum gate_dir dir); /* in order so far */
uint32_t gate_stream_next_seq(const struct gate_stream *stream, enum gate_dir dir); /* for RST */
bool gate_stream_is_midstream(const struct gate_stream *stream);
/* TCP flags seen, for flow records. */
uint8_t gate_stream_flags(const struct gate_stream *stream, enum gate_dir dir);

#endif
