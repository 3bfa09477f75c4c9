/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that buffers.def says. */
#include "gate/app/buffers.h"

#include <string.h>

#define A(app) (1u << GATE_APP_##app)
#define TS     GATE_DIR_BIT(GATE_TO_SERVER)
#define TC     GATE_DIR_BIT(GATE_TO_CLIENT)
#define BOTH   GATE_BOTH_DIRS
#define P(ts, tc)                                                                                  \
	{                                                                                          \
		(ts), (tc)                                                                         \
	}
/* Commas of P() would split the arguments of another macro: it is expanded at once. */
#define BUFFER(id, label, in, sides, when, how)                                                    \
	[GATE_BUF_##id] = {                                                                        \
		.name = (label), .apps = (in), .dirs = (sides), .progress = when, .flags = (how)},
#define NUMBER(id, label, in, sides, when)
static const struct gate_buffer_desc buffers[GATE_BUF_COUNT] = {
	[GATE_BUF_PAYLOAD] = {.name = "payload", .dirs = BOTH},
#include "gate/app/buffers.def"
};
#undef BUFFER
#undef NUMBER

#define BUFFER(id, label, in, sides, when, how)
#define NUMBER(id, label, in, sides, when)                                                         \
	[GATE_NUM_##id] = {.name = (label), .apps = (in), .dirs = (sides), .progress = when},
static const struct gate_buffer_desc numbers[GATE_NUM_COUNT] = {
	[GATE_NUM_NONE] = {.name = ""},
#include "gate/app/buffers.def"
};
#undef BUFFER
#undef NUMBER

const struct gate_buffer_desc *gate_buffer_desc(enum gate_buffer buffer)
{
	return &buffers[(unsigned int)buffer < GATE_BUF_COUNT ? buffer : GATE_BUF_PAYLOAD];
}

const struct gate_buffer_desc *gate_number_desc(enum gate_number number)
{
	return &numbers[(unsigned int)number < GATE_NUM_COUNT ? number : GATE_NUM_NONE];
}

enum gate_buffer gate_buffer_find(const char *name)
{
	for (unsigned int i = 1; i < GATE_BUF_COUNT; i++) {
		if (buffers[i].name && !strcmp(buffers[i].name, name)) {
			return (enum gate_buffer)i;
		}
	}
	return GATE_BUF_PAYLOAD;
}

enum gate_number gate_number_find(const char *name)
{
	for (unsigned int i = 1; i < GATE_NUM_COUNT; i++) {
		if (numbers[i].name && !strcmp(numbers[i].name, name)) {
			return (enum gate_number)i;
		}
	}
	return GATE_NUM_NONE;
}
