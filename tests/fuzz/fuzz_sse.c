/* SPDX-License-Identifier: Apache-2.0 */
/* Event streams, as a hostile manager could send them: in pieces, then each event as a line for
 * people. */
#include "base/json.h"
#include "cli/flow.h"
#include "cli/sse.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_event(const struct cli_sse_event *event, void *arg)
{
	struct cli_output out = {.now_ns = 1795608000ull * 1000000000};
	BH_JSON json_t *json = NULL;
	struct bh_wbuf w;

	if (bh_json_load(event->data, strlen(event->data), 0, &json, NULL)) {
		return 0;
	}
	bh_wbuf_init(&w, 0);
	cli_event_format(&out, json, &w);
	/* Nothing that steers a terminal comes out. */
	for (size_t i = 0; i < w.size; i++) {
		if (w.data[i] < 0x20 || w.data[i] == 0x7f) {
			abort();
		}
	}
	bh_wbuf_done(&w);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cli_sse sse;
	size_t step = size ? 1 + data[0] % 64u : 1;

	cli_text_init();
	cli_sse_init(&sse);
	for (size_t at = 0; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;

		if (cli_sse_feed(&sse, (const char *)data + at, n, on_event, NULL)) {
			break;
		}
	}
	cli_sse_done(&sse);
	return 0;
}
