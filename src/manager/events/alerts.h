/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts: what somebody should look at.
 *
 * Theory of operation
 *   An event that the rules call for opens an alert, or is counted in the open one of its group:
 *   same type, same object (VM, user, address, host), same rule or signature. So a flood is one
 *   line with a count. People acknowledge, assign, comment and close; what happens again after that
 *   opens a new one, and what becomes graver opens an acknowledged one again. Alerts belong to the
 *   tenant of the VM they are about, or to the provider. All of them are in memory, newest first,
 *   and in alerts.db: what people do at once, counts once a second together with the id of the last
 *   event that is counted, so a kill loses and doubles nothing (events behind it are looked at
 *   again at the start). Closed ones beyond MANAGER_ALERTS_MAX are forgotten, oldest first; when
 *   all are open, new groups are counted in one alert per type that says so.
 *
 * Loop thread only.
 */
#ifndef BH_MANAGER_EVENTS_ALERTS_H
#define BH_MANAGER_EVENTS_ALERTS_H

#include "manager/events/events.h"

#define MANAGER_ALERTS_MAX	    20000u
#define MANAGER_ALERT_COMMENTS	    100u
#define MANAGER_ALERT_COMMENT_BYTES 2000u
#define MANAGER_ALERT_RULES_MAX	    100u

enum manager_alert_state { MANAGER_ALERT_OPEN, MANAGER_ALERT_ACKNOWLEDGED, MANAGER_ALERT_CLOSED };
const char *manager_alert_state_name(enum manager_alert_state state);
[[nodiscard]] int manager_alert_state_parse(const char *text, enum manager_alert_state *ret);

struct manager_alert {
	uint64_t id;
	enum manager_alert_state state;
	enum bh_severity severity; /* the gravest one */
	uint32_t tenant;
	char type[BH_EVENT_TYPE_MAX + 1];
	char object[128];    /* "vm/UUID", "host/h1", "user/alice", ...; "" none, or too many */
	char name[128];	     /* for people */
	char signature[192]; /* what of, in words: rule, signature; "" nothing to tell */
	char assignee[64];
	uint64_t first_ns, last_ns, count;
	uint64_t last_event; /* its id */
	json_t *history;     /* [{time, who, what, text}] */
	bool dirty;
	char *key; /* of its group */
	struct manager_alert *prev, *next;
	UT_hash_handle hh; /* by group, while it is not closed */
	UT_hash_handle hh_by_id;
};

struct manager_alerts;

[[nodiscard]] int manager_alerts_open(const char *path, struct manager_events *ev,
				      struct manager_alerts **ret, struct bh_diag *diag);
void manager_alerts_close(struct manager_alerts *alerts); /* NULL is fine */
/* Once a second: writes counts. */
void manager_alerts_tick(struct manager_alerts *alerts);
/* They could not be written the last time: why; "" all is well. */
const char *manager_alerts_problem(const struct manager_alerts *alerts);

/* Newest first; next with ->next. */
struct manager_alert *manager_alerts_first(struct manager_alerts *alerts);
struct manager_alert *manager_alerts_find(struct manager_alerts *alerts, uint64_t id);

/* What somebody does; is on disk when it returns 0. text: a comment, may be "". */
struct manager_alert_act {
	const char *who;
	const char *what; /* "acknowledge", "close", "reopen", "comment", "assign" */
	const char *text;
	const char *assignee; /* of assign */
	uint64_t now_ns;
};
#define MANAGER_ALERT_TWIN 1 /* another one of its group is open: this one stays closed */
/* > 0: MANAGER_ALERT_TWIN. */
[[nodiscard]] int manager_alerts_act(struct manager_alerts *alerts, struct manager_alert *alert,
				     const struct manager_alert_act *act, struct bh_diag *diag);

/* {"severity": "warning", "rules": [{"type": "guard.", "severity": "critical" | "never"}]}: the
 * first rule whose type fits says from which severity on; else the general one. Owned. */
json_t *manager_alerts_rules(const struct manager_alerts *alerts);
[[nodiscard]] int manager_alerts_set_rules(struct manager_alerts *alerts, const json_t *rules,
					   struct bh_diag *diag);
struct manager_alert_counts {
	uint64_t open, acknowledged, closed;
	uint64_t open_critical;
};
/* flows: whose alerts of flow.* and guard.* count. */
void manager_alerts_count(const struct manager_alerts *alerts, const struct manager_scope *scope,
			  const struct manager_scope *flows, struct manager_alert_counts *ret);

#endif
