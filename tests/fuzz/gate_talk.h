/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversation for parsers that read streams. Input: records of a head (0x80 the server's,
 * 0x40 the
 * side ends, 0x20 a gap, 0x10 what is over goes; the low three bits times 256 are added to the
 * size), a size, and so many bytes. What is said is looked at through every buffer.
 */
#ifndef BH_TESTS_GATE_TALK_H
#define BH_TESTS_GATE_TALK_H

#include "gate/app/app.h"
#include "gate/config.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct talk_side {
	uint8_t *data;
	size_t size;
};

static inline void talk_look(struct gate_flow *flow)
{
	struct gate_buffer_view v;
	struct gate_tx *tx = flow->session ? gate_session_first(flow->session) : NULL;
	for (; tx; tx = tx->next) {
		for (unsigned int b = 1; b < GATE_BUF_COUNT; b++) {
			for (uint32_t i = 0; i < 3; i++) {
				volatile uint8_t sum = 0;
				if (!gate_tx_buffer(flow->session, tx, GATE_TO_SERVER,
						    (enum gate_buffer)b, i, &v) &&
				    !gate_tx_buffer(flow->session, tx, GATE_TO_CLIENT,
						    (enum gate_buffer)b, i, &v)) {
					break;
				}
				for (uint32_t k = 0; k < v.size; k++) {
					sum ^= v.data[k];
				}
				(void)sum;
			}
		}
	}
}

static inline void talk_offer(struct gate_apps *apps, struct gate_flow *flow,
			      struct talk_side *side, enum gate_dir dir, bool eof)
{
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
}

/* first: what the client has sent before, NULL nothing. */
static inline int gate_talk(const uint8_t *data, size_t size, uint16_t port, const char *first)
{
	/* read once: it takes longer than all the rest */
	static struct gate_config config;
	static struct gate_apps *apps;
	struct bh_diag diag = {};
	struct gate_flow flow = {.ip_proto = IPPROTO_TCP, .ip_version = 4, .port = {40000, port}};
	struct talk_side sides[GATE_DIRS] = {{malloc(size + 1), 0}, {malloc(size + 1), 0}};
	if (!apps) {
		if (gate_config_load(NULL, &config, &diag)) {
			abort();
		}
		config.http_decompress_time_us = 0;
		apps = gate_apps_new(&config, NULL, NULL);
	}
	if (!sides[0].data || !sides[1].data) {
		abort();
	}
	if (first) {
		struct gate_app_input in = {.data = (const uint8_t *)first,
					    .size = (uint32_t)strlen(first),
					    .time_us = 1};
		(void)gate_apps_stream(apps, &flow, GATE_TO_SERVER, &in);
	}
	for (size_t at = 0; at + 2 <= size;) {
		uint8_t head = data[at];
		size_t n = data[at + 1] + (size_t)(head & 7) * 256;
		enum gate_dir dir = head & 0x80 ? GATE_TO_CLIENT : GATE_TO_SERVER;
		at += 2;
		if (head & 0x20) {
			struct gate_app_input in = {
				.data = data, .gap = (uint32_t)n + 1, .time_us = 1};
			sides[dir].size = 0;
			(void)gate_apps_stream(apps, &flow, dir, &in);
			continue;
		}
		n = n > size - at ? size - at : n;
		memcpy(sides[dir].data + sides[dir].size, data + at, n);
		sides[dir].size += n;
		at += n;
		talk_offer(apps, &flow, &sides[dir], dir, head & 0x40);
		talk_look(&flow);
		if (head & 0x10) {
			gate_apps_sweep(apps, &flow, false);
		}
	}
	gate_apps_end(apps, &flow, 2);
	talk_look(&flow);
	gate_apps_no_log(apps);
	gate_apps_sweep(apps, &flow, false);
	gate_session_free(apps, flow.session);
	if (gate_apps_stats(apps)->memory) {
		abort();
	}
	free(sides[0].data);
	free(sides[1].data);
	return 0;
}

#endif
