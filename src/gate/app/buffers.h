/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers and numbers of transactions that rules name. buffers.def is the one list: identifier, the
 * name in rules, protocols, sides, the progress from which it is whole, and what kind it is.
 * Whoever
 * adds a line adds its case to the parser's `buffer` or `number`.
 */
#ifndef BH_GATE_APP_BUFFERS_H
#define BH_GATE_APP_BUFFERS_H

#include "gate/gate.h"

enum gate_buffer {
	GATE_BUF_PAYLOAD, /* of the packet and of the stream: no sticky buffer */
#define BUFFER(id, name, apps, dirs, progress, flags) GATE_BUF_##id,
#define NUMBER(id, name, apps, dirs, progress)
#include "gate/app/buffers.def"
#undef BUFFER
#undef NUMBER
	GATE_BUF_COUNT
};

/* Frames stand at the end of the list. */
#define GATE_BUF_FRAME_FIRST GATE_BUF_FRAME_HTTP1_REQUEST
#define GATE_BUF_FRAMES	     (GATE_BUF_COUNT - GATE_BUF_FRAME_FIRST)

enum gate_number {
	GATE_NUM_NONE,
#define BUFFER(id, name, apps, dirs, progress, flags)
#define NUMBER(id, name, apps, dirs, progress) GATE_NUM_##id,
#include "gate/app/buffers.def"
#undef BUFFER
#undef NUMBER
	GATE_NUM_COUNT
};

enum gate_buffer_flag {
	GATE_BUFFER_MULTI = 1 << 0,  /* several values: each is looked at by itself */
	GATE_BUFFER_STREAM = 1 << 1, /* a body: grows, and slides when it is large */
	GATE_BUFFER_PACKET = 1 << 2, /* of the packet (tcp.hdr, ipv4.hdr): no transaction */
	GATE_BUFFER_FILE = 1 << 3,   /* of the transaction's files (file.data, file.name) */
	GATE_BUFFER_FRAME = 1 << 4,  /* a piece of the stream (frame.h): no transaction */
};

struct gate_buffer_view {
	const uint8_t *data;
	uint32_t size;
	uint64_t offset; /* of data from the buffer's beginning */
	bool complete;	 /* nothing follows */
};

struct gate_buffer_desc {
	const char *name;
	uint32_t apps; /* bit per enum gate_app */
	uint8_t dirs;  /* GATE_DIR_BITs */
	uint8_t progress[GATE_DIRS];
	uint8_t flags;
};
const struct gate_buffer_desc *gate_buffer_desc(enum gate_buffer buffer);
const struct gate_buffer_desc *gate_number_desc(enum gate_number number);
enum gate_buffer gate_buffer_find(const char *name); /* GATE_BUF_PAYLOAD: none */
enum gate_number gate_number_find(const char *name); /* GATE_NUM_NONE: none */

#endif
