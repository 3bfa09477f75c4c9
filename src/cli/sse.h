/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader of text/event-stream (WHATWG HTML, "Server-sent events"): bytes in any pieces go in, whole
 * events come out. Pure. An event over the limit is an error: the reader never grows without end.
 */
#ifndef BH_CLI_SSE_H
#define BH_CLI_SSE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define CLI_SSE_EVENT_MAX (1024u * 1024)
#define CLI_SSE_ID_SIZE	  128

struct cli_sse_event {
	const char *id;	  /* of this or the last event that had one; "" */
	const char *type; /* "message" when none was given */
	const char *data;
};
/* Returns 0 to go on; anything else is handed to the caller of cli_sse_feed(). */
typedef int cli_sse_fn(const struct cli_sse_event *event, void *arg);

struct cli_sse {
	struct bh_wbuf line;
	struct bh_wbuf data;
	char type[64];
	char id[CLI_SSE_ID_SIZE];
	bool has_data;
	bool after_cr;
	bool past_bom; /* something of the stream was read */
};

void cli_sse_init(struct cli_sse *sse);
void cli_sse_done(struct cli_sse *sse);
/* A new connection: half an event is forgotten, the id stays. */
void cli_sse_restart(struct cli_sse *sse);
/* 0, what fn returned, or -EMSGSIZE. */
[[nodiscard]] int cli_sse_feed(struct cli_sse *sse, const char *data, size_t size, cli_sse_fn *fn,
			       void *arg);

#endif
