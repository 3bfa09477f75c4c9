/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of programs beside hostd (the gate): a control socket of its own with one operation,
 *
 *	{"op":"events","lost":2,"events":[{"time":..,"type":"gate.alert","severity":..,...},...]}
 *	{"ok":true,"taken":1,"refused":0}
 *
 * takes events without producer and number, gives them both by putting them into hostd's spool, and
 * answers when they are there. `lost` numbers become a gap. What is not of type `gate.`, or does
 * not read as an event, is refused and counted; which host, VM and NIC an event speaks of is not
 * theirs to say. While the spool is more than half full nothing is taken, so that hostd's own
 * events have room: who asks waits or counts. Foreign bytes; on the loop's thread.
 */
#ifndef BH_HOST_AGENT_INTAKE_H
#define BH_HOST_AGENT_INTAKE_H

#include "bus/events.h"

struct hostd_intake;
struct hostd_intake_options {
	const char *path;
	const char *host;	  /* name, put into each event */
	const char *const *users; /* besides root and our own user */
	size_t user_count;
	struct bh_producer *producer; /* must outlive it */
};
[[nodiscard]] int hostd_intake_new(uv_loop_t *loop, const struct hostd_intake_options *options,
				   struct hostd_intake **ret, struct bh_diag *diag);
/* Before the producer is freed; handles close on the loop. NULL is fine. */
void hostd_intake_free(struct hostd_intake *intake);

#endif
