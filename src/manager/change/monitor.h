/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watched policies tell by themselves what they would do.
 *
 * Theory of operation
 *   Once in MANAGER_MONITOR_EVERY_S each policy under watch is held against the flows recorded
 *   since its watch began (whatif.h), in a worker on copies, one policy at a time. A look that took
 *   a time is followed by nine times that time without one, so however many are watched and however
 *   much was recorded, this takes a tenth of one core at most and the looks become rarer instead. A
 *   look ends after MANAGER_MONITOR_LIMIT_MS and is then told as not complete.
 *   What was found is kept beside the policy in the store. When it is not what was told last, the
 *   tenant is told by an event `policy.monitor`, of one policy at most once in
 *   MANAGER_MONITOR_TELL_S, also over restarts.
 *   The event says of others' things what its tenant may know: the look has that tenant's scope.
 *
 * Loop thread only, but for the look inside.
 */
#ifndef BH_MANAGER_CHANGE_MONITOR_H
#define BH_MANAGER_CHANGE_MONITOR_H

#include "manager/change/change.h"

#define MANAGER_MONITOR_EVERY_S	 60
#define MANAGER_MONITOR_TELL_S	 900
#define MANAGER_MONITOR_LIMIT_MS 5000
#define MANAGER_MONITOR_EXAMPLES 3
#define MANAGER_MONITOR_SHARE	 10 /* of the time, one part is spent looking */

/* What was found at a policy; kept as JSON. */
struct manager_monitor_report {
	uint64_t found_ns;    /* wall clock, when the numbers became these; 0: not looked yet */
	uint64_t deny, allow; /* flows that it would have refused, let through */
	bool complete;
	uint64_t told_ns; /* 0: never */
	uint64_t told_deny, told_allow;
};
/* "" and what is no report gives zeros. */
void manager_monitor_report_read(const char *text, struct manager_monitor_report *ret);
/* Is it time to tell? A clock that was set back is looked past: told_ns is then now. */
bool manager_monitor_report_due(struct manager_monitor_report *report, uint64_t wall_ns);

/* The policies in force with the watched text in place of the policy, or without it when the text
 * is "". Owned; NULL with words when the text can't be read. */
struct bh_policy_set *manager_monitor_set(const struct manager_change *change, const char *tenant,
					  const char *name, const char *text, struct bh_diag *diag);

struct manager_monitors;
struct manager_monitors *manager_monitors_new(struct manager_change *change);
/* A look that is under way ends soon. */
void manager_monitors_stop(struct manager_monitors *monitors);
/* Waits for it. NULL is fine. */
void manager_monitors_free(struct manager_monitors *monitors);
/* Begins the next look when it is time; every second. */
void manager_monitors_tick(struct manager_monitors *monitors, uint64_t mono_ns);

#endif
