/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversation for parsers of the gate. Input: records of a head (0x80 the server's, 0x40 the
 * side ends, 0x20 a gap, 0x10 what is over goes; the low three bits times 256 are added to the
 * size), a size, and so many bytes. What is said is looked at through every buffer, number and
 * record.
 */
#ifndef BH_TESTS_GATE_CONVERSATION_H
#define BH_TESTS_GATE_CONVERSATION_H

#include "../unit/gate_frame_look.h"
#include "gate/app/app.h"
#include "gate/config.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct conversation_side {
	uint8_t *data;
	size_t size;
	bool over;
};

static inline void conversation_look(struct gate_flow *flow)
{
	struct gate_buffer_view v = {};
	const struct gate_app_ops *ops = flow->session ? gate_session_ops(flow->session) : NULL;
	struct gate_tx *tx = ops ? gate_session_first(flow->session) : NULL;
	gate_frame_look(flow->session);
	for (; tx; tx = tx->next) {
		for (unsigned int n = 0; n < GATE_BUF_COUNT * 2 * 3; n++) {
			volatile uint8_t sum = 0;
			unsigned int b = n / 6;
			if (!b || !gate_tx_buffer(flow->session, tx, (enum gate_dir)(n & 1),
						  (enum gate_buffer)b, n % 6 / 2, &v)) {
				continue;
			}
			for (uint32_t k = 0; k < v.size; k++) {
				sum ^= v.data[k];
			}
			(void)sum;
		}
		for (unsigned int n = 1; ops->number && n < GATE_NUM_COUNT; n++) {
			uint64_t value;
			(void)ops->number(tx, GATE_TO_SERVER, (enum gate_number)n, 0, &value);
			(void)ops->number(tx, GATE_TO_CLIENT, (enum gate_number)n, 0, &value);
		}
		if (ops->log_tx) {
			struct gate_jw jw;
			gate_jw_init(&jw);
			gate_jw_object(&jw, NULL);
			gate_jw_object(&jw, ops->log);
			(void)ops->log_tx(tx, &jw);
			gate_jw_end(&jw);
			gate_jw_end(&jw);
			if (jw.ok && jw.depth) {
				abort();
			}
			gate_jw_done(&jw);
		}
	}
}

static inline void conversation_offer(struct gate_apps *apps, struct gate_flow *flow,
				      struct conversation_side *side, enum gate_dir dir, bool eof)
{
	/* an exact copy, so that a checker sees a read past the end */
	uint8_t *copy = malloc(side->size ? side->size : 1);
	if (!copy) {
		abort();
	}
	if (side->size) {
		memcpy(copy, side->data, side->size);
	}
	struct gate_app_input in = {
		.data = copy, .size = (uint32_t)side->size, .eof = eof, .time_us = 1};
	uint32_t n = gate_apps_stream(apps, flow, dir, &in);
	if (n > side->size) {
		abort();
	}
	free(copy);
	memmove(side->data, side->data + n, side->size - n);
	side->size -= n;
	side->over |= eof;
}

static inline void conversation_records(struct gate_apps *apps, struct gate_flow *flow,
					struct conversation_side sides[GATE_DIRS],
					const uint8_t *data, size_t size)
{
	unsigned int records = 0;
	for (size_t at = 0; at + 2 <= size;) {
		uint8_t head = data[at];
		size_t n = data[at + 1] + (size_t)(head & 7) * 256;
		enum gate_dir dir = head & 0x80 ? GATE_TO_CLIENT : GATE_TO_SERVER;
		at += 2;
		if (head & 0x20) {
			struct gate_app_input in = {
				.data = data, .gap = (uint32_t)n + 1, .time_us = 1};
			sides[dir].size = 0;
			(void)gate_apps_stream(apps, flow, dir, &in);
			continue;
		}
		n = n > size - at ? size - at : n;
		memcpy(sides[dir].data + sides[dir].size, data + at, n);
		sides[dir].size += n;
		at += n;
		if (flow->ip_proto == IPPROTO_UDP) {
			struct gate_packet p = {.flow = flow, .dir = (uint8_t)dir, .time_us = 1};
			uint8_t *copy = malloc(n ? n : 1);
			memcpy(copy, data + at - n, n);
			p.payload = (struct gate_view){.data = copy, .size = (uint32_t)n};
			sides[dir].size = 0;
			gate_apps_datagram(apps, flow, &p);
			free(copy);
		} else if (!sides[dir].over) {
			conversation_offer(apps, flow, &sides[dir], dir, head & 0x40);
		}
		/* not after each: with a thousand transactions that is all the time there is */
		if (!(records++ % 16)) {
			conversation_look(flow);
		}
		if (head & 0x10) {
			gate_apps_sweep(apps, flow, false);
		}
	}
}

struct conversation_how {
	enum gate_app app; /* UNKNOWN: it is to be found */
	uint8_t ip_proto;
	uint16_t port;
	const char *first; /* what the client has sent before; NULL nothing */
};

static inline void conversation_first(struct gate_apps *apps, struct gate_flow *flow,
				      const char *first)
{
	struct gate_app_input in = {
		.data = (const uint8_t *)first, .size = (uint32_t)strlen(first), .time_us = 1};
	(void)gate_apps_stream(apps, flow, GATE_TO_SERVER, &in);
}

/* What all runs share: read once, since that takes longer than all the rest. */
struct conversation_shared {
	struct gate_config config;
	struct gate_apps *apps;
};

static inline struct conversation_shared *conversation_shared(void)
{
	static struct conversation_shared shared;
	return &shared;
}

static inline void conversation_end(void)
{
	struct conversation_shared *shared = conversation_shared();
	gate_apps_free(shared->apps);
	gate_config_done(&shared->config);
}

static inline struct gate_apps *conversation_apps(void)
{
	struct conversation_shared *shared = conversation_shared();
	struct bh_diag diag = {};
	if (!shared->apps) {
		if (gate_config_load(NULL, &shared->config, &diag) || atexit(conversation_end)) {
			abort();
		}
		shared->config.http_decompress_time_us = 0;
		shared->apps = gate_apps_new(&shared->config, NULL, NULL);
		gate_apps_no_log(shared->apps);
	}
	return shared->apps;
}

static inline int conversation_run(const struct conversation_how *how, const uint8_t *data,
				   size_t size)
{
	struct gate_apps *apps = conversation_apps();
	struct gate_flow flow = {.ip_proto = how->ip_proto,
				 .ip_version = 4,
				 .port = {40000, how->port},
				 .app_expected = (uint16_t)how->app};
	struct conversation_side sides[GATE_DIRS] = {{malloc(size + 1), 0, false},
						     {malloc(size + 1), 0, false}};
	if (!sides[0].data || !sides[1].data) {
		abort();
	}
	gate_frames_want(apps, size & 1 ? UINT64_MAX : 0); /* parsers read more for their sake */
	if (how->first) {
		conversation_first(apps, &flow, how->first);
	}
	conversation_records(apps, &flow, sides, data, size);
	gate_apps_end(apps, &flow, GATE_TO_SERVER, 2);
	gate_apps_end(apps, &flow, GATE_TO_CLIENT, 2);
	conversation_look(&flow);
	gate_apps_sweep(apps, &flow, false);
	gate_session_free(apps, flow.session);
	if (gate_apps_stats(apps)->memory) {
		abort();
	}
	free(sides[0].data);
	free(sides[1].data);
	return 0;
}

/* The protocol is given: nothing is lost on finding it. */
static inline int conversation(enum gate_app app, uint8_t ip_proto, const uint8_t *data,
			       size_t size)
{
	const struct conversation_how how = {.app = app, .ip_proto = ip_proto, .port = 9};

	return conversation_run(&how, data, size);
}

#endif
