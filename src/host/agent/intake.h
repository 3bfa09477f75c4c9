/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of programs beside hostd (the gate): a control socket of its own with one operation,
 *
 *	{"op":"events","run":"uuid","n":7,"lost":2,
 *	 "events":[{"time":..,"type":"gate.alert","severity":..,...},...]}
 *	{"ok":true,"taken":1,"refused":0}
 *
 * takes events without producer and number, gives them both by putting them into hostd's spool, and
 * answers when they are there. `run` names who asks, from start to end, and `n` grows with each
 * request: one whose answer was lost is sent again with its number, and gets the answer once more
 * without being taken twice. The last requests of HOSTD_INTAKE_RUNS_MAX runs are remembered while
 * hostd runs; one that it took right before it was restarted comes twice. `lost` numbers become a
 * gap. What is not of type `gate.`, does not read as an event, has more than 56 members, or would
 * be too large with its stamp, is refused and counted; which host, VM and NIC an event speaks of is
 * not theirs to say. While the spool is more than half full nothing is taken, so that hostd's own
 * events have room: who asks waits or counts. Foreign bytes, and who sends them may be hostile
 * (base/ctl.h has the limits); on the loop's thread.
 */
#ifndef BH_HOST_AGENT_INTAKE_H
#define BH_HOST_AGENT_INTAKE_H

#include "bus/events.h"

#define HOSTD_INTAKE_RUNS_MAX 8

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
