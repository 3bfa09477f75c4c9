/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP segments made by hand, for tests of flows and streams: no decoder, one flow table, one stream
 * engine, and a parser that writes down what it is shown.
 */
#ifndef TESTS_GATE_SEGMENTS_H
#define TESTS_GATE_SEGMENTS_H

#include "gate/config.h"
#include "gate/flow/flow.h"
#include "gate/stream/stream.h"

#include <arpa/inet.h>
#include <string.h>

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10
#define URG 0x20

#define TCP_AT 36 /* of the frame: aligned for the test's own stores */
#define C_ISN  1000u
#define S_ISN  5000u

struct seen_side {
	uint8_t bytes[1 << 17];
	size_t size, gaps, gap_bytes, calls;
	bool eof;
};
struct world {
	struct gate_config config;
	struct gate_flow_table *table;
	struct gate_streams *streams;
	struct seen_side seen[GATE_DIRS];
	uint32_t consume_max; /* the parser's appetite; 0: everything */
	uint64_t time_us;
	_Alignas(8) uint8_t frame[70000];
	struct gate_packet p;
	bool passed;
	unsigned int ended[4];
	unsigned int work; /* that the end of a flow was; 0: as that of one without transactions */
	size_t raw[GATE_DIRS];
	bool no_raw;
};

struct send {
	enum gate_dir dir;
	uint32_t seq, ack;
	uint8_t flags;
	const void *data;
	uint32_t size;
	uint16_t window, urg, sport;
	uint32_t ts;	/* 0 none */
	uint8_t wscale; /* + 1; 0 none */
	bool tfo;
};

static inline struct gate_addr addr4(uint32_t host)
{
	struct gate_addr a = {};
	host = htonl(host);
	a.bytes[10] = a.bytes[11] = 0xff;
	memcpy(a.bytes + 12, &host, 4);
	return a;
}

static inline uint32_t world_data(struct gate_flow *flow, enum gate_dir dir,
				  const struct gate_stream_view *view, void *arg)
{
	struct world *w = arg;
	struct seen_side *s = &w->seen[dir];
	uint32_t n = view->size;

	s->calls++;
	s->eof = s->eof || view->eof;
	if (!view->data) {
		s->gaps += view->gap;
		s->gap_bytes += view->gap ? n : 0;
		return 0;
	}
	if (w->consume_max && n > w->consume_max) {
		n = w->consume_max;
	}
	if (s->size + n <= sizeof(s->bytes)) {
		memcpy(s->bytes + s->size, view->data, n);
		s->size += n;
	}
	return n;
}

static inline unsigned int world_ending(struct gate_flow *flow, enum gate_flow_reason reason,
					uint64_t now_us, void *arg)
{
	struct world *w = arg;
	w->ended[reason]++;
	gate_stream_flush(w->streams, flow);
	return w->work ? w->work : 1;
}

static inline void world_freeing(struct gate_flow *flow, void *arg)
{
	struct world *w = arg;
	gate_stream_free(w->streams, flow->stream);
	flow->stream = NULL;
}

static inline void world_defaults(struct gate_config *c)
{
	*c = (struct gate_config){
		.flow_count = 1024,
		.vlan_tracking = true,
		.tcp_new_s = 60,
		.tcp_established_s = 600,
		.tcp_closed_s = 60,
		.udp_new_s = 30,
		.udp_established_s = 300,
		.icmp_new_s = 30,
		.icmp_established_s = 300,
		.other_new_s = 30,
		.other_established_s = 300,
		.stream_memcap = 64 << 20,
		.stream_depth = 1 << 20,
		.stream_chunk_to_server = 2560,
		.stream_chunk_to_client = 2560,
		.stream_drop_invalid = true,
		.urgent_policy = (char *)"oob",
		.workers = 1,
	};
}

static inline void world_open(struct world *w)
{
	struct gate_flow_hooks hooks = {.ending = world_ending, .freeing = world_freeing, .arg = w};
	w->table = gate_flow_table_new(&w->config, &hooks);
	w->streams = gate_streams_new(&w->config, world_data, w);
	w->time_us = 1000000000000000ull;
}

static inline void world_close(struct world *w)
{
	gate_flow_end_all(w->table, GATE_FLOW_END_SHUTDOWN, w->time_us);
	gate_flow_table_free(w->table);
	gate_streams_free(w->streams);
}

/* Puts the options behind the header at `o`; their size. */
static inline uint32_t put_options(const struct send *s, struct gate_packet *p, uint8_t *o)
{
	uint32_t n = 0;
	if (s->ts) {
		uint32_t ts = htonl(s->ts);
		p->tcp_opts.has_ts = true;
		p->tcp_opts.ts = s->ts;
		memcpy(o + n, "\x01\x01\x08\x0a", 4);
		memcpy(o + n + 4, &ts, 4);
		memset(o + n + 8, 0, 4);
		n += 12;
	}
	if (s->wscale) {
		p->tcp_opts.has_wscale = true;
		p->tcp_opts.wscale = (uint8_t)(s->wscale - 1);
		memcpy(o + n, "\x01\x03\x03", 3);
		o[n + 3] = p->tcp_opts.wscale;
		n += 4;
	}
	if (s->tfo) {
		memcpy(o + n, "\x22\x02\x01\x01", 4);
		n += 4;
	}
	return n;
}

static inline void make_packet(struct world *w, const struct send *s)
{
	struct gate_packet *p = &w->p;
	struct tcphdr *tcp = (struct tcphdr *)(w->frame + TCP_AT);
	const uint16_t client = s->sport ? s->sport : 40000;
	uint32_t options;

	memset(p, 0, sizeof(*p));
	memset(w->frame, 0, TCP_AT + sizeof(*tcp));
	p->data = w->frame;
	p->time_us = ++w->time_us;
	p->ip_version = 4;
	p->ip_proto = IPPROTO_TCP;
	p->ttl = 64;
	p->src = addr4(s->dir == GATE_TO_SERVER ? 0x0a000001 : 0x0a000002);
	p->dst = addr4(s->dir == GATE_TO_SERVER ? 0x0a000002 : 0x0a000001);
	p->sport = s->dir == GATE_TO_SERVER ? client : 80;
	p->dport = s->dir == GATE_TO_SERVER ? 80 : client;
	p->tcp = tcp;
	tcp->seq = htonl(s->seq);
	tcp->ack_seq = htonl(s->ack);
	tcp->window = htons(s->window ? s->window : 60000);
	tcp->urg_ptr = htons(s->urg);
	((uint8_t *)tcp)[13] = s->flags;
	options = put_options(s, p, (uint8_t *)(tcp + 1));
	tcp->doff = (uint8_t)((20 + options) / 4);
	p->l4_size = 20 + options;
	p->payload.data = (uint8_t *)tcp + p->l4_size;
	p->payload.size = s->size;
	if (s->size) {
		memcpy((uint8_t *)tcp + p->l4_size, s->data, s->size);
	}
	p->size = p->wire_size = TCP_AT + p->l4_size + s->size;
}

static inline struct gate_packet *send_one(struct world *w, const struct send *s)
{
	make_packet(w, s);
	struct gate_flow *flow = gate_flow_of(w->table, &w->p);
	w->passed = flow ? gate_stream_packet(w->streams, flow, &w->p) : true;
	if (flow && flow->stream && !w->no_raw) {
		for (enum gate_dir dir = GATE_TO_SERVER; dir < GATE_DIRS; dir++) {
			struct gate_stream_view view;
			uint64_t from;
			while (gate_stream_uninspected(flow->stream, dir, 0, &view, &from)) {
				w->raw[dir] += view.offset + view.size - from;
				gate_stream_inspected(flow->stream, dir, view.offset + view.size);
			}
		}
	}
	return &w->p;
}
#define SEND(w, ...) send_one(w, &(struct send){__VA_ARGS__})

/* The next bytes of the client begin at C_ISN + 1, of the server at S_ISN + 1. */
static inline void handshake(struct world *w)
{
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN, .flags = SYN);
	SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN, .ack = C_ISN + 1, .flags = SYN | ACK);
	SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1, .ack = S_ISN + 1, .flags = ACK);
}

/* Data of the client at offset off; of the server with down(). */
static inline struct gate_packet *up(struct world *w, uint32_t off, const char *text)
{
	return SEND(w, .dir = GATE_TO_SERVER, .seq = C_ISN + 1 + off, .ack = S_ISN + 1,
		    .flags = ACK | PSH, .data = text, .size = (uint32_t)strlen(text));
}
static inline struct gate_packet *down(struct world *w, uint32_t off, const char *text)
{
	return SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 1 + off, .ack = C_ISN + 1,
		    .flags = ACK | PSH, .data = text, .size = (uint32_t)strlen(text));
}
/* The server acknowledges the client's bytes up to off. */
static inline struct gate_packet *ack_up(struct world *w, uint32_t off)
{
	return SEND(w, .dir = GATE_TO_CLIENT, .seq = S_ISN + 1, .ack = C_ISN + 1 + off,
		    .flags = ACK);
}
static inline bool has(const struct gate_packet *p, enum gate_event event)
{
	return gate_packet_has_event(p, event);
}

#endif
