/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the stream engine share; not for other rooms. */
#ifndef BH_GATE_STREAM_TCP_H
#define BH_GATE_STREAM_TCP_H

#include "gate/config.h"
#include "gate/stream/stream.h"

#include <string.h>

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_URG 0x20

#define SEQ_DIFF(a, b) ((int32_t)((uint32_t)(a) - (uint32_t)(b)))
#define SEQ_LT(a, b)   (SEQ_DIFF(a, b) < 0)
#define SEQ_LEQ(a, b)  (SEQ_DIFF(a, b) <= 0)
#define SEQ_GT(a, b)   (SEQ_DIFF(a, b) > 0)
#define SEQ_GEQ(a, b)  (SEQ_DIFF(a, b) >= 0)

#define WSCALE_MAX 14

enum os_policy {
	OS_BSD,
	OS_BSD_RIGHT,
	OS_OLD_LINUX,
	OS_LINUX,
	OS_OLD_SOLARIS,
	OS_SOLARIS,
	OS_HPUX10,
	OS_HPUX11,
	OS_IRIX,
	OS_MACOS,
	OS_WINDOWS,
	OS_VISTA,
	OS_WINDOWS2K3,
	OS_FIRST,
	OS_LAST,
};

/* How a new segment lies on one that is there. */
enum overlap { OVER_SAME_START, OVER_BEFORE, OVER_AFTER };

/* Memory of a stream: blocks of powers of two, kept for the next. */
struct block {
	struct block *next; /* free */
	uint32_t size;	    /* of data */
	uint8_t class;
	uint8_t mark_count;
	uint32_t marks[14]; /* ends of the segments that lie in it in order (sequence numbers) */
	uint8_t data[];
};

/* A segment that waits for bytes before it. */
struct segment {
	struct segment *next;
	uint32_t seq, len;
	uint32_t oob; /* index of the out-of-band byte in data, NO_OOB */
	uint8_t data[];
};
#define NO_OOB UINT32_MAX

enum side_flag {
	SIDE_TS_ZERO = 1 << 0,
	SIDE_FIN = 1 << 1,	/* fin_seq is known */
	SIDE_RST_SENT = 1 << 2, /* a valid RST came from this side */
	SIDE_NO_APP = 1 << 3,
	SIDE_NO_RAW = 1 << 4,
	SIDE_DEPTH = 1 << 5,
	SIDE_NOW = 1 << 6, /* inspect now */
	SIDE_ALL = 1 << 7, /* the end: everything counts */
	SIDE_EOF_TOLD = 1 << 8,
	SIDE_BUSY = 1 << 9, /* the parser is at it */
	SIDE_GAP = 1 << 10,
	SIDE_PROBE = 1 << 11, /* of a closed window: probe_seq is behind it */
};

/* The bytes that one side sends. window, wscale and next_win are what the other side allows it. */
struct side {
	uint32_t isn, next_seq, last_ack, next_win, window;
	uint32_t last_ts, last_ts_s;
	uint16_t flags;
	uint8_t wscale, tcp_flags, policy;
	uint16_t oob_count;
	uint32_t fin_seq; /* behind the last byte */
	uint32_t probe_seq;
	uint32_t depth_seq; /* where the depth was reached */
	uint32_t oob_seq;   /* behind the last out-of-band byte that was taken out */

	/* in order: [base, in_off) of the stream is data[0, size); in_seq belongs to in_off */
	uint32_t in_seq, size;
	uint32_t changes; /* how often bytes that were there became others */
	uint64_t in_off, base;
	uint8_t *data;
	struct block *block;	     /* data is in it */
	uint64_t app, app_seen, raw; /* consumed, shown, inspected: offsets */
	uint64_t depth;		     /* 0: none */
	uint64_t gap_off;	     /* the last gap ends here */
	uint64_t raw_end;	     /* from there on nothing is inspected; 0: all is */

	struct segment *first, *last;
	uint32_t segments;

	struct block *tail; /* before a gap, not inspected yet */
	uint8_t *tail_data;
	uint64_t tail_off;
	uint32_t tail_size;
};

/* What a SYN or SYN/ACK says. */
struct hello {
	uint32_t seq, ack, ts, window;
	uint8_t wscale;
	bool has_ts, has_wscale, has_sack;
};
struct hellos {
	unsigned int count;
	struct hello v[GATE_STREAM_SYNS_MAX];
};

enum stream_flag {
	STREAM_MIDSTREAM = 1 << 0,
	STREAM_MIDSTREAM_SYNACK = 1 << 1,
	STREAM_ASYNC = 1 << 2,
	STREAM_4WHS = 1 << 3,
	STREAM_TFO = 1 << 4,
	STREAM_TS = 1 << 5,
	STREAM_WSCALE = 1 << 6, /* of the client's SYN */
	STREAM_SACK_SYN = 1 << 7,
	STREAM_SACK = 1 << 8,
	STREAM_SWAPPED = 1 << 9,    /* the flow was when the stream began */
	STREAM_REWRITTEN = 1 << 10, /* a packet's bytes: the checksum is to be redone */
	STREAM_CONFIRMED = 1 << 11, /* the server has gone on after the handshake */
};

struct gate_stream {
	struct gate_streams *streams;
	struct gate_flow *flow;
	struct side sides[2]; /* of who began, of the other */
	uint16_t flags;
	uint8_t state, before_rst;
	struct block *hellos; /* struct hellos, during the handshake */
	struct gate_stream *next_free;
};

#define POOL_CLASSES 15 /* 256 bytes to 4 MB */
#define POOL_MIN     256u

struct os_network {
	struct gate_network network;
	uint8_t policy;
};

struct gate_streams {
	gate_stream_data_fn *fn;
	void *arg;
	struct gate_packet *p; /* on its way; NULL between packets */
	struct block *pool[POOL_CLASSES];
	uint64_t cached, cached_max;
	struct gate_stream *free;
	struct slab {
		struct slab *next;
	} * slabs;
	uint64_t depth;
	uint32_t chunk[GATE_DIRS];
	bool inline_mode, drop_invalid, fail_open, midstream, async;
	enum gate_exception on_midstream;
	enum urgent { URGENT_OOB, URGENT_INLINE, URGENT_DROP, URGENT_GAP } urgent;
	struct os_network *networks;
	unsigned int network_count;
	struct gate_stream_stats stats;
};

/* One packet and whom it is of. */
struct tcp_in {
	struct gate_streams *streams;
	struct gate_stream *stream;
	struct gate_flow *flow;
	struct gate_packet *p;
	struct side *from, *to; /* bytes of its sender, of its receiver */
	uint32_t seq, ack, len, end, window, urgent;
	uint8_t flags; /* TCP_* */
	bool to_server;
	bool drop; /* inline: what it holds can't be kept or put right */
};

static inline bool side_is_second(const struct gate_stream *stream, enum gate_dir dir)
{
	bool swapped =
		!!(stream->flow->flags & GATE_FLOW_SWAPPED) != !!(stream->flags & STREAM_SWAPPED);
	return (dir == GATE_TO_CLIENT) != swapped;
}
static inline struct side *side_of(const struct gate_stream *stream, enum gate_dir dir)
{
	return (struct side *)&stream->sides[side_is_second(stream, dir)];
}
static inline enum gate_dir dir_of(const struct gate_stream *stream, const struct side *side)
{
	bool second = side == &stream->sides[1];
	return side_is_second(stream, GATE_TO_CLIENT) == second ? GATE_TO_CLIENT : GATE_TO_SERVER;
}

/* ---- pool.c ---- */
struct block *stream_block_get(struct gate_streams *streams, uint32_t size); /* NULL: memcap */
void stream_block_put(struct gate_streams *streams, struct block *block);
struct gate_stream *stream_new(struct gate_streams *streams, struct gate_flow *flow);
void stream_pool_done(struct gate_streams *streams);

/* ---- policy.c ---- */
void stream_policy_load(struct gate_streams *streams, const struct gate_config *config);
enum os_policy stream_policy_of(const struct gate_streams *streams, const struct gate_addr *addr);
/* Whether the new segment [seq, end) wins over the old one. */
bool stream_new_wins(enum os_policy policy, uint32_t seq, uint32_t end, uint32_t old_seq,
		     uint32_t old_end);

/* ---- valid.c ---- */
void tcp_event(const struct tcp_in *in, enum gate_event event);
bool tcp_valid_ts(struct tcp_in *in);
void tcp_take_ts(struct tcp_in *in);
bool tcp_valid_ack(struct tcp_in *in);
bool tcp_valid_rst(struct tcp_in *in);

/* ---- handshake.c ---- each: false when the packet is invalid */
bool tcp_none(struct tcp_in *in);
bool tcp_syn_sent(struct tcp_in *in);
bool tcp_syn_recv(struct tcp_in *in);

/* ---- states.c ---- */
void tcp_set_state(struct tcp_in *in, enum gate_tcp_state state);
void tcp_sides(struct tcp_in *in); /* from and to, anew */
bool tcp_established(struct tcp_in *in);
bool tcp_closing(struct tcp_in *in);
bool tcp_closed(struct tcp_in *in);
bool tcp_reset(struct tcp_in *in);
bool tcp_fin(struct tcp_in *in);
/* Window, acknowledged bytes, then the packet's own: what a sound packet brings. */
void tcp_accept(struct tcp_in *in);

/* ---- bytes.c ---- */
void side_begin(struct gate_streams *streams, struct side *side,
		uint32_t isn);	     /* bytes begin behind it */
void side_insert(struct tcp_in *in); /* the packet's payload into in->from */
/* What is acknowledged and has not been seen is lost. */
void side_acked(struct gate_streams *streams, struct gate_stream *stream, struct side *side);
uint64_t side_visible(const struct gate_stream *stream, const struct side *side);
/* The parser's turn, if there is anything new for it. */
void side_deliver(struct gate_streams *streams, struct gate_stream *stream, struct side *side);
/* Lets go of what nobody needs. */
void side_slide(struct gate_streams *streams, struct gate_stream *stream, struct side *side);
void side_done(struct gate_streams *streams, struct side *side);
/* The end: what waits behind missing bytes counts too. */
void side_finish(struct gate_streams *streams, struct gate_stream *stream, struct side *side);
/* In order, at in_seq. False: no memory, inline and to be dropped. */
bool side_append(struct gate_streams *streams, struct gate_stream *stream, struct side *side,
		 const uint8_t *data, uint32_t len);

/* ---- overlap.c ---- */
/* A part that lies on bytes that are in order already. */
void overlap_in_order(struct tcp_in *in, uint32_t seq, const uint8_t *data, uint32_t len);
/* Beside the stream, until what is before it comes. False: no room. */
struct segment *overlap_take_first(struct side *side);
void overlap_put(struct gate_streams *streams, struct segment *segment);
bool overlap_insert(struct tcp_in *in, uint32_t seq, const uint8_t *data, uint32_t len,
		    uint32_t oob);

#endif
