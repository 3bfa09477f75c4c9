/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow for tests of parsers: bytes of both sides are fed as the stream does it (what is not
 * consumed comes again with more behind it), and everything that rules could see is printed.
 */
#ifndef BH_TESTS_GATE_APP_WORLD_H
#define BH_TESTS_GATE_APP_WORLD_H

#include "gate/app/app.h"
#include "gate/config.h"

#include <stdio.h>

struct app_world {
	struct gate_config config;
	struct gate_apps *apps;
	struct gate_flow flow;
	struct {
		uint8_t *data;
		size_t size;
		uint64_t offset;
	} kept[GATE_DIRS];
	uint64_t time_us;
	bool keep_txs; /* no sweep between two feeds */
};

/* TCP to `port` (of UDP: set flow.ip_proto). set: "key=value" of the configuration, NULL at the
 * end. */
void app_world_open(struct app_world *w, uint16_t port, const char *const *set);
void app_world_close(struct app_world *w);
void app_world_feed(struct app_world *w, enum gate_dir dir, const void *data, size_t size,
		    bool eof);
void app_world_gap(struct app_world *w, enum gate_dir dir, uint32_t size);
void app_world_datagram(struct app_world *w, enum gate_dir dir, const void *data, size_t size);
/* In pieces of `step` bytes (0: one). */
void app_world_pieces(struct app_world *w, enum gate_dir dir, const void *data, size_t size,
		      size_t step);
/* Every buffer and number of every transaction, its events and files; owned. */
char *app_world_dump(struct app_world *w);
bool app_world_has_event(struct app_world *w, unsigned int tx, const char *name);
/* Value of a buffer as text, "(none)" when there is none; owned. */
char *app_world_buffer(struct app_world *w, unsigned int tx, enum gate_dir dir,
		       enum gate_buffer buffer, uint32_t index);
/* What is written of it, "(none)" when nothing is; owned. */
char *app_world_record(struct app_world *w, unsigned int tx);

/* What a side says, for tables of conversations. */
struct say {
	enum gate_dir dir;
	const char *bytes;
	size_t size;
};
#define CLIENT(text)                                                                               \
	{                                                                                          \
		GATE_TO_SERVER, text, sizeof(text) - 1                                             \
	}
#define SERVER(text)                                                                               \
	{                                                                                          \
		GATE_TO_CLIENT, text, sizeof(text) - 1                                             \
	}

#endif
