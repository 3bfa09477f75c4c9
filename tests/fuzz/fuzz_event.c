/* SPDX-License-Identifier: Apache-2.0 */
/* One line of foreign text as an event; what is read is written and read again. */
#include "model/event.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bh_event event;
	struct bh_event again;
	struct bh_diag diag;
	char *line = NULL;
	size_t line_size;

	if (bh_event_parse((const char *)data, size, &event, &diag)) {
		return 0;
	}
	if (!bh_event_format(event.json, &line, &line_size, &diag)) {
		if (bh_event_parse(line, line_size, &again, &diag)) {
			abort();
		}
		if (again.seq != event.seq || again.is_gap != event.is_gap) {
			abort();
		}
		bh_event_done(&again);
	}
	free(line);
	bh_event_done(&event);
	return 0;
}
