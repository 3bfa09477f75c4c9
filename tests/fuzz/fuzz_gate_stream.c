/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream engine with any segments. Byte 0 picks: sensor or inline with policy `first` against
 * an
 * oracle (who writes an offset first, before it is acknowledged, has it; what nobody wrote is a
 * gap), or any packets with any policy, where only the bounds hold.
 */
#include "../unit/gate_segments.h"

#include <assert.h>
#include <stdlib.h>

#undef NDEBUG
#define SPAN	60000u
#define OPS_MAX 900u

struct input {
	const uint8_t *data;
	size_t size;
};

struct oracle {
	struct world world;
	uint8_t byte[SPAN + 600];
	bool known[SPAN + 600];
	uint32_t acked, pos; /* pos: what the parser is through with */
	uint8_t appetite;
	bool check;
};

static uint8_t take(struct input *in)
{
	if (!in->size) {
		return 0;
	}
	in->size--;
	return *in->data++;
}

static uint32_t take16(struct input *in)
{
	uint32_t high = take(in);
	return high << 8 | take(in);
}

static uint32_t parse(struct gate_flow *flow, enum gate_dir dir,
		      const struct gate_stream_view *view, void *arg)
{
	struct oracle *o = arg;
	uint32_t used = view->size;

	if (!o->check || dir != GATE_TO_SERVER) {
		return o->appetite % 3 ? used : used / 2;
	}
	if (!view->data && view->size) {
		assert(view->gap && view->offset >= o->pos);
		for (uint32_t i = 0; i < view->size; i++) {
			assert(!o->known[view->offset + i]);
		}
		o->pos = (uint32_t)view->offset + view->size;
		return 0;
	}
	assert(view->offset == o->pos);
	for (uint32_t i = 0; i < view->size; i++) {
		assert(o->known[o->pos + i] && o->byte[o->pos + i] == view->data[i]);
	}
	if (o->appetite % 4 == 1) {
		used /= 2;
	}
	o->pos += used;
	return used;
}

static void look(struct oracle *o, struct gate_stream *stream, uint8_t how)
{
	struct gate_stream_view view;
	uint64_t from;

	if (how & 1) {
		gate_stream_inspect_now(stream, GATE_TO_SERVER);
	}
	if (!(how & 2) || !gate_stream_uninspected(stream, GATE_TO_SERVER, how, &view, &from)) {
		return;
	}
	assert(from >= view.offset && from <= view.offset + view.size);
	for (uint32_t i = 0; o->check && i < view.size; i++) {
		assert(o->known[view.offset + i] && o->byte[view.offset + i] == view.data[i]);
	}
	gate_stream_inspected(stream, GATE_TO_SERVER,
			      how & 4 ? view.offset + view.size : from + (view.size + 1) / 2);
}

static void segment(struct oracle *o, struct input *in)
{
	uint32_t off = take16(in) % SPAN, len = take(in) + 1u;
	uint8_t text[256], seed = take(in);

	if (seed & 1) { /* next to what is there */
		off = o->acked + off % 1500;
	}
	off = off + len > SPAN ? SPAN - len : off;
	for (uint32_t i = 0; i < len; i++) {
		text[i] = (uint8_t)(seed + i * 7);
	}
	for (uint32_t i = 0; i < len; i++) {
		if (off + i >= o->acked && !o->known[off + i]) {
			o->known[off + i] = true;
			o->byte[off + i] = text[i];
		}
	}
	struct gate_packet *p = SEND(&o->world, .dir = GATE_TO_SERVER, .seq = C_ISN + 1 + off,
				     .ack = S_ISN + 1, .flags = ACK, .data = text, .size = len);
	for (uint32_t i = 0; o->world.config.stream_inline && i < len; i++) {
		assert(off + i < o->acked || p->payload.data[i] == o->byte[off + i]);
	}
}

static void with_oracle(struct oracle *o, struct input *in)
{
	handshake(&o->world);
	o->check = true;
	for (unsigned int i = 0; in->size && i < OPS_MAX; i++) {
		uint8_t op = take(in);
		o->appetite = take(in);
		if (op % 4 == 3) {
			uint32_t to = take16(in) % SPAN;
			to = op & 4 ? to : o->acked + to % 2000;
			if (to > o->acked && to <= SPAN) {
				o->acked = to;
			}
			ack_up(&o->world, o->acked);
		} else {
			segment(o, in);
		}
		look(o, o->world.p.flow->stream, op >> 4);
	}
	uint32_t end = o->acked;
	for (uint32_t i = 0; i < SPAN; i++) {
		end = o->known[i] && i >= end ? i + 1 : end;
	}
	o->appetite = 0;
	struct gate_flow *flow = o->world.p.flow;
	gate_stream_flush(o->world.streams, flow);
	look(o, flow->stream, 7);
	assert(o->pos == end);
}

static void anything(struct oracle *o, struct input *in)
{
	uint8_t text[256];

	memset(text, 'x', sizeof(text));
	if (take(in) & 1) {
		handshake(&o->world);
	}
	for (unsigned int i = 0; in->size && i < OPS_MAX; i++) {
		uint8_t how = take(in);
		struct send s = {.dir = how & 1 ? GATE_TO_CLIENT : GATE_TO_SERVER,
				 .flags = take(in),
				 .data = text,
				 .window = (uint16_t)(how & 2 ? 1 : 60000),
				 .sport = (uint16_t)(how & 4 ? 7 : 40000),
				 .urg = how & 8 ? take(in) : 0,
				 .ts = how & 16 ? take(in) + 1u : 0,
				 .wscale = how & 32 ? take(in) % 16 : 0,
				 .tfo = how & 64};
		s.size = how & 128 ? take(in) : 0;
		text[0] = s.flags;
		s.seq = (s.dir == GATE_TO_SERVER ? C_ISN : S_ISN) + take16(in) - 256;
		s.ack = (s.dir == GATE_TO_SERVER ? S_ISN : C_ISN) + take16(in) - 256;
		o->appetite = how;
		o->world.time_us += (uint64_t)(how & 7) * 1000000;
		send_one(&o->world, &s);
		struct gate_flow *flow = o->world.p.flow;
		if (flow && flow->stream) {
			look(o, flow->stream, how >> 4);
			if (s.flags == 0x99) {
				gate_flow_swap(flow);
			} else if (s.flags == 0x98) {
				gate_stream_stop_app(flow->stream, s.dir);
			} else if (s.flags == 0x97) {
				gate_stream_stop_raw(flow->stream, s.dir);
			}
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const policies[] = {"bsd",	  "bsd-right", "old-linux", "linux",
					       "solaris", "hpux11",    "macos",	    "last"};
	static const char *const urgent[] = {"oob", "inline", "gap", "drop"};
	struct input in = {data, size};
	uint8_t mode = take(&in);
	struct oracle *o = calloc(1, sizeof(*o));
	struct gate_config *c = &o->world.config;
	struct gate_stream_stats stats;

	world_defaults(c);
	c->flow_count = 16;
	c->os_policies.items = calloc(1, sizeof(*c->os_policies.items));
	c->os_policies.count = 1;
	c->os_policies.items[0].network = (char *)"0.0.0.0/0";
	c->os_policies.items[0].policy = (char *)(mode % 4 < 2 ? "first" : policies[mode >> 4 & 7]);
	c->stream_inline = mode & 1;
	if (mode % 4 >= 2) {
		uint8_t more = take(&in);
		c->stream_memcap = more & 1 ? 1 << 17 : 1 << 22;
		c->stream_depth = more & 2 ? 1000 : 0;
		c->stream_midstream = more & 4;
		c->stream_async = more & 8;
		c->fail_open = more & 16;
		c->urgent_policy = (char *)urgent[more >> 6];
	}
	world_open(&o->world);
	gate_streams_free(o->world.streams);
	o->world.streams = gate_streams_new(c, parse, o);
	o->world.no_raw = true;
	free(c->os_policies.items);
	if (mode % 4 < 2) {
		with_oracle(o, &in);
	} else {
		anything(o, &in);
	}
	o->check = false;
	gate_flow_end_all(o->world.table, GATE_FLOW_END_SHUTDOWN, o->world.time_us);
	gate_streams_stats(o->world.streams, &stats);
	assert(stats.active == 0 && stats.memory_peak <= stats.memory_max);
	world_close(&o->world);
	free(o);
	return 0;
}
