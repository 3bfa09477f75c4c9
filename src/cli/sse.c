/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sse.h"

#include "base/util.h"

#include <errno.h>

void cli_sse_init(struct cli_sse *sse)
{
	*sse = (struct cli_sse){};
	bh_wbuf_init(&sse->line, CLI_SSE_EVENT_MAX);
	bh_wbuf_init(&sse->data, CLI_SSE_EVENT_MAX);
}

void cli_sse_done(struct cli_sse *sse)
{
	bh_wbuf_done(&sse->line);
	bh_wbuf_done(&sse->data);
}

static void clear(struct bh_wbuf *w)
{
	w->size = 0;
}

void cli_sse_restart(struct cli_sse *sse)
{
	clear(&sse->line);
	clear(&sse->data);
	sse->line.err = 0;
	sse->data.err = 0;
	sse->type[0] = '\0';
	sse->has_data = false;
	sse->after_cr = false;
	sse->past_bom = false;
}

static void set_field(struct cli_sse *sse, const char *name, const char *value)
{
	if (!strcmp(name, "data")) {
		if (sse->has_data) {
			bh_wbuf_u8(&sse->data, '\n');
		}
		bh_wbuf_str(&sse->data, value);
		sse->has_data = true;
	} else if (!strcmp(name, "event")) {
		snprintf(sse->type, sizeof(sse->type), "%s", value);
	} else if (!strcmp(name, "id") && strlen(value) < sizeof(sse->id)) {
		snprintf(sse->id, sizeof(sse->id), "%s", value);
	}
}

static int dispatch(struct cli_sse *sse, cli_sse_fn *fn, void *arg)
{
	struct cli_sse_event event = {
		.id = sse->id,
		.type = sse->type[0] ? sse->type : "message",
	};
	int r = 0;

	if (sse->has_data) {
		event.data = bh_wbuf_cstr(&sse->data);
		r = fn(&event, arg);
	}
	clear(&sse->data);
	sse->has_data = false;
	sse->type[0] = '\0';
	return r;
}

static int end_line(struct cli_sse *sse, cli_sse_fn *fn, void *arg)
{
	char *line = (char *)bh_wbuf_cstr(&sse->line);
	size_t bom = !sse->past_bom && !strncmp(line, "\xef\xbb\xbf", 3) ? 3 : 0;
	char *colon;

	line += bom;
	sse->past_bom = true;
	if (sse->line.size == bom) {
		clear(&sse->line);
		return dispatch(sse, fn, arg);
	}
	colon = strchr(line, ':');
	if (!colon) {
		set_field(sse, line, "");
	} else if (colon != line) {
		*colon = '\0';
		set_field(sse, line, colon[1] == ' ' ? colon + 2 : colon + 1);
	}
	clear(&sse->line);
	return sse->data.err;
}

int cli_sse_feed(struct cli_sse *sse, const char *data, size_t size, cli_sse_fn *fn, void *arg)
{
	for (size_t i = 0; i < size; i++) {
		bool ends = data[i] == '\r' || (data[i] == '\n' && !sse->after_cr);
		int r;

		if (data[i] == '\n' && sse->after_cr) {
			sse->after_cr = false;
			continue;
		}
		sse->after_cr = data[i] == '\r';
		if (!ends) {
			bh_wbuf_u8(&sse->line, (uint8_t)data[i]);
			if (sse->line.err) {
				return sse->line.err;
			}
			continue;
		}
		r = end_line(sse, fn, arg);
		if (r) {
			return r;
		}
	}
	return 0;
}
