/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/events.h"

#include <string.h>

void bh_event_track_load(struct bh_event_track *track, const char *epoch, uint64_t last)
{
	unsigned int keep =
		track->count < BH_EVENT_TRACK_EPOCHS ? track->count : BH_EVENT_TRACK_EPOCHS - 1;

	memmove(&track->epochs[1], &track->epochs[0], keep * sizeof(track->epochs[0]));
	snprintf(track->epochs[0].epoch, sizeof(track->epochs[0].epoch), "%s", epoch);
	track->epochs[0].last = last;
	track->count = keep + 1;
}

/* Numbers between last and the event that it does not declare as lost. */
static bool missing(uint64_t last, const struct bh_event *event, uint64_t *ret_from,
		    uint64_t *ret_to)
{
	uint64_t to = event->seq - 1;

	if (event->is_gap && event->gap_to == to) {
		to = event->gap_from ? event->gap_from - 1 : 0;
	}
	if (to <= last) {
		return false;
	}
	*ret_from = last + 1;
	*ret_to = to;
	return true;
}

enum bh_event_track_result bh_event_track(struct bh_event_track *track,
					  const struct bh_event *event, uint64_t *ret_from,
					  uint64_t *ret_to)
{
	*ret_from = 0;
	*ret_to = 0;
	for (unsigned int i = 0; i < track->count; i++) {
		uint64_t last = track->epochs[i].last;

		if (strcmp(track->epochs[i].epoch, event->epoch)) {
			continue;
		}
		if (event->seq <= last) {
			return BH_TRACK_REPEAT;
		}
		track->epochs[i].last = event->seq;
		return missing(last, event, ret_from, ret_to) ? BH_TRACK_GAP : BH_TRACK_NEXT;
	}
	bh_event_track_load(track, event->epoch, event->seq);
	(void)missing(0, event, ret_from, ret_to);
	return BH_TRACK_EPOCH;
}
