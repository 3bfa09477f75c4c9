/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules and traffic, both foreign: the text of rules, a byte 0, and what is sent. A byte of which
 * server, then messages: a head (0x80 the server's; 0x60: 0 TCP, 0x20 TCP with FIN, 0x40 a
 * datagram, 0x60 an IP packet as it stands; the low three bits times 256 are added to the size), a
 * size, and so many bytes. See gate_walk.h.
 */
#include "gate_walk.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define KIND	    0x60
#define KIND_FIN    0x20
#define KIND_UDP    0x40
#define KIND_RAW    0x60
#define RULES_MAX   4096 /* bytes: what many large sets take is no fault */
#define CLIENT_PORT 40000
#define START_US    1700000000000000ull
#define BETWEEN_US  1000

struct talk {
	struct gate_worker *worker;
	uint64_t time_us, number;
	uint32_t seq[GATE_DIRS];
	uint16_t port;
	bool open;
};

static void give(struct talk *t, uint8_t *data, size_t size)
{
	struct gate_packet p = {.data = data,
				.size = (uint32_t)size,
				.wire_size = (uint32_t)size,
				.link = GATE_LINK_RAW,
				.time_us = t->time_us += BETWEEN_US,
				.number = ++t->number};

	gate_worker_packet(t->worker, &p);
}

/* Exact copies, so that a checker sees a read past the end. */
static void give_ip(struct talk *t, enum gate_dir dir, uint8_t proto, size_t header,
		    const uint8_t *l4, struct gate_view payload)
{
	size_t size = 20 + header + payload.size;
	BH_FREE uint8_t *data = bh_alloc(size);

	data[0] = 0x45;
	gate_put16(data + 2, size);
	data[8] = 64;
	data[9] = proto;
	gate_put32(data + 12, 0x0a000001 + dir);
	gate_put32(data + 16, 0x0a000002 - dir);
	memcpy(data + 20, l4, header);
	gate_put16(data + 20, dir == GATE_TO_SERVER ? CLIENT_PORT : t->port);
	gate_put16(data + 22, dir == GATE_TO_SERVER ? t->port : CLIENT_PORT);
	if (payload.size) {
		memcpy(data + 20 + header, payload.data, payload.size);
	}
	give(t, data, size);
}

static void give_tcp(struct talk *t, enum gate_dir dir, uint8_t flags, struct gate_view payload)
{
	uint8_t l4[20] = {[12] = 0x50, [13] = flags, [14] = 0xff};

	gate_put32(l4 + 4, t->seq[dir]);
	gate_put32(l4 + 8, flags & TH_ACK ? t->seq[GATE_DIR_OTHER(dir)] : 0);
	give_ip(t, dir, IPPROTO_TCP, sizeof(l4), l4, payload);
	t->seq[dir] += payload.size + !!(flags & (TH_SYN | TH_FIN));
}

static void give_udp(struct talk *t, enum gate_dir dir, struct gate_view payload)
{
	uint8_t l4[8] = {};

	gate_put16(l4 + 4, sizeof(l4) + payload.size);
	give_ip(t, dir, IPPROTO_UDP, sizeof(l4), l4, payload);
}

static void give_message(struct talk *t, uint8_t head, struct gate_view said)
{
	enum gate_dir dir = head & 0x80 ? GATE_TO_CLIENT : GATE_TO_SERVER;
	const struct gate_view none = {};

	if ((head & KIND) == KIND_RAW) {
		BH_FREE uint8_t *copy = bh_memdup(said.data, said.size);

		give(t, copy, said.size);
		return;
	}
	if ((head & KIND) == KIND_UDP) {
		give_udp(t, dir, said);
		return;
	}
	if (!t->open) {
		give_tcp(t, GATE_TO_SERVER, TH_SYN, none);
		give_tcp(t, GATE_TO_CLIENT, TH_SYN | TH_ACK, none);
		give_tcp(t, GATE_TO_SERVER, TH_ACK, none);
		t->open = true;
	}
	give_tcp(t, dir, TH_ACK | TH_PUSH | ((head & KIND) == KIND_FIN ? TH_FIN : 0), said);
	give_tcp(t, GATE_DIR_OTHER(dir), TH_ACK, none);
}

static void talk(const struct gate_engine *engine, const uint8_t *data, size_t size)
{
	static const uint16_t ports[] = {80, 25, 21, 53, 443, 445, 22, 3306, 5432, 139, 8080, 67};
	struct talk t = {.time_us = START_US, .seq = {1000, 5000}};

	if (!size) {
		return;
	}
	t.port = ports[data[0] % BH_ARRAY_SIZE(ports)];
	t.worker = walk_begin(engine);
	for (size_t at = 1; at + 2 <= size;) {
		uint8_t head = data[at];
		size_t n = data[at + 1] + (size_t)(head & 7) * 256;

		at += 2;
		n = n > size - at ? size - at : n;
		give_message(&t, head, (struct gate_view){data + at, (uint32_t)n});
		at += n;
	}
	walk_end(engine, t.worker);
}

struct world {
	struct gate_config config;
	struct gate_out *out;
};

static struct world *world_new(void)
{
	struct world *w = bh_alloc(sizeof(*w));

	walk_config(&w->config);
	w->out = walk_out(&w->config);
	return w;
}

/* Without what gate_engine_done() does for `state` of datasets: rules say where it is written. */
static void engine_done(struct gate_engine *engine)
{
	gate_rule_sets_unref(engine->sets);
	gate_shared_free(engine->shared);
	gate_names_free(engine->names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world *world;
	const uint8_t *end = size ? memchr(data, 0, size) : NULL;
	size_t text = end ? (size_t)(end - data) : size;
	struct gate_rule_files *files;
	struct gate_engine engine;
	struct bh_diag diag = {};

	if (!world) {
		world = world_new();
	}
	if (text > RULES_MAX) {
		return 0;
	}
	gate_engine_init(&engine, &world->config, NULL, 0, true);
	engine.out = world->out;
	files = gate_rules_new();
	if (gate_rules_read_text(files, &world->config, engine.names, "fuzz.rules",
				 (struct gate_view){data, (uint32_t)text}, &diag)) {
		abort();
	}
	if (walk_rules(&engine, files, &diag) && end) {
		talk(&engine, end + 1, size - text - 1);
	}
	engine_done(&engine);
	return 0;
}
