/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which protocol is it? First the patterns of all parsers against the first bytes of the side (one
 * table by the first byte; a parser whose pattern fits may still say no with its probe), then the
 * probes of those who know the server's port, then of all that have no pattern, on any port.
 * Pure but for the table, which is built once per worker.
 */
#include "base/util.h"
#include "gate/app/session.h"
#include "gate/config.h"
#include "gate/stream/stream.h"

#include <netinet/in.h>

/* ---- patterns: a letter is itself in either case, \xNN exactly that byte, \? any byte ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool pattern_read(const char *text, struct gate_pattern *pattern)
{
	for (const char *s = text; *s; s++) {
		uint8_t value = (uint8_t)*s, mask = 0xff;
		if (pattern->size == GATE_PATTERN_SIZE_MAX) {
			return false;
		}
		if (s[0] == '\\' && s[1] == '?') {
			value = mask = 0;
			s++;
		} else if (s[0] == '\\' && s[1] == 'x' && hex_digit(s[2]) >= 0 &&
			   hex_digit(s[3]) >= 0) {
			value = (uint8_t)(hex_digit(s[2]) << 4 | hex_digit(s[3]));
			s += 3;
		} else if (is_letter(*s)) {
			/* 0x20 is what tells the cases apart */
			mask = 0xdf;
			value &= mask;
		}
		pattern->value[pattern->size] = value;
		pattern->mask[pattern->size++] = mask;
	}
	return pattern->size > 0;
}

static void add_patterns(struct gate_matcher *m, const struct gate_app_ops *ops, enum gate_dir dir)
{
	for (const char *const *text = ops->patterns[dir]; text && *text; text++) {
		struct gate_pattern *pattern = &m->patterns[m->count];
		memset(pattern, 0, sizeof(*pattern));
		pattern->ops = ops;
		if (m->count < GATE_PATTERNS_MAX && pattern_read(*text, pattern)) {
			m->count++;
		}
	}
}

static void index_dir(struct gate_matcher *m, enum gate_dir dir, uint16_t first)
{
	for (unsigned int byte = 0; byte < 256; byte++) {
		m->by_byte[dir][byte].first = (uint16_t)m->index_count;
		for (uint16_t i = first; i < m->count; i++) {
			if ((byte & m->patterns[i].mask[0]) == m->patterns[i].value[0]) {
				m->index[m->index_count++] = i;
			}
		}
		m->by_byte[dir][byte].count =
			(uint16_t)(m->index_count - m->by_byte[dir][byte].first);
	}
}

void gate_matcher_init(struct gate_matcher *m)
{
	/* At most every pattern under every byte, of which few begin with any. */
	m->index = bh_alloc_array(256 * GATE_PATTERNS_MAX, sizeof(*m->index));
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		uint16_t first = m->count;
		for (unsigned int i = 0; gate_app_at(i); i++) {
			add_patterns(m, gate_app_at(i), (enum gate_dir)dir);
		}
		index_dir(m, (enum gate_dir)dir, first);
	}
	m->index = bh_realloc_array(m->index, m->index_count + 1, sizeof(*m->index));
}

void gate_matcher_done(struct gate_matcher *m)
{
	free(m->index);
	m->index = NULL;
}

/* ---- looking ---- */

static uint8_t transport_bit(const struct gate_flow *flow)
{
	switch (flow->ip_proto) {
	case IPPROTO_TCP:
		return 1;
	case IPPROTO_UDP:
		return 2;
	case IPPROTO_SCTP:
		return 4;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 8;
	default:
		return 0;
	}
}

struct look {
	const struct gate_config *config;
	const struct gate_flow *flow;
	enum gate_dir dir;
	struct gate_view data;
	uint8_t transport;
	struct gate_detected result;
};

static bool is_on(const struct look *look, const struct gate_app_ops *ops)
{
	return (ops->transports & look->transport) &&
	       !(look->config->app_disabled & (1u << ops->app));
}

/* True when that decides it. */
static bool ask(struct look *look, const struct gate_app_ops *ops, uint16_t port)
{
	int answer = GATE_PROBE_YES;
	if (ops->probe) {
		answer = ops->probe(look->dir, look->data.data, look->data.size, port);
	}
	if (answer == GATE_PROBE_MORE) {
		look->result.more = true;
	}
	if (answer != GATE_PROBE_YES && answer != GATE_PROBE_REVERSED) {
		return false;
	}
	look->result.ops = ops;
	look->result.reversed = answer == GATE_PROBE_REVERSED;
	return true;
}

static bool ask_patterns(struct look *look, const struct gate_matcher *m)
{
	const uint8_t *data = look->data.data;
	uint16_t first = m->by_byte[look->dir][data[0]].first;
	uint16_t count = m->by_byte[look->dir][data[0]].count;
	for (uint16_t i = first; i < first + count; i++) {
		const struct gate_pattern *pattern = &m->patterns[m->index[i]];
		uint32_t size = pattern->size < look->data.size ? pattern->size : look->data.size;
		uint32_t at = 1;
		while (at < size && (data[at] & pattern->mask[at]) == pattern->value[at]) {
			at++;
		}
		if (at < size || !is_on(look, pattern->ops)) {
			continue;
		}
		if (at < pattern->size) {
			look->result.more = true;
		} else if (ask(look, pattern->ops, look->flow->port[1])) {
			return true;
		}
	}
	return false;
}

static bool has_port(const struct gate_app_ops *ops, uint16_t port)
{
	for (const uint16_t *p = ops->ports; p && *p; p++) {
		if (*p == port) {
			return true;
		}
	}
	return false;
}

static bool ask_probes(struct look *look, bool by_port)
{
	const struct gate_app_ops *ops = NULL;
	for (unsigned int i = 0; (ops = gate_app_at(i)); i++) {
		if (!ops->probe || !is_on(look, ops)) {
			continue;
		}
		uint16_t port = look->flow->port[1];
		bool known = has_port(ops, port);
		if (!known && has_port(ops, look->flow->port[0])) {
			known = true;
			port = look->flow->port[0];
		}
		if (known != by_port || (!by_port && ops->patterns[look->dir])) {
			continue;
		}
		if (ask(look, ops, port)) {
			return true;
		}
	}
	return false;
}

struct gate_detected gate_detect_app(const struct gate_matcher *matcher,
				     const struct gate_config *config, const struct gate_flow *flow,
				     enum gate_dir dir, const struct gate_view *data)
{
	struct look look = {.config = config,
			    .flow = flow,
			    .dir = dir,
			    .data = *data,
			    .transport = transport_bit(flow)};
	if (!data->size || ask_patterns(&look, matcher) || ask_probes(&look, true) ||
	    ask_probes(&look, false)) {
		return look.result;
	}
	if (flow->stream && gate_stream_is_midstream(flow->stream) && !look.result.more) {
		look.dir = GATE_DIR_OTHER(dir);
		look.result.reversed = ask_patterns(&look, matcher);
	}
	return look.result;
}
