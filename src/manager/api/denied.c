/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/denied.h"

#include "manager/api/record.h"

#include "base/counter.h"
#include "base/time.h"

#include <uthash.h>

#define QUIET_NS  (10 * BH_NS_PER_S)
#define USERS_MAX 1024

BH_COUNTER(api_denied_untold, "refusals that were only counted in a later event");

struct offender {
	char who[MANAGER_WHO_SIZE];
	uint64_t told_ns;
	unsigned int left_out;
	UT_hash_handle hh;
};

struct manager_denied {
	uint64_t nobody_ns;	    /* last time that a request of nobody became an event */
	struct offender *offenders; /* in the order of their first refusal */
};

struct manager_denied *manager_denied_new(void)
{
	return bh_alloc(sizeof(struct manager_denied));
}

static void drop(struct manager_denied *denied, struct offender *o)
{
	HASH_DEL(denied->offenders, o);
	free(o);
}

void manager_denied_free(struct manager_denied *denied)
{
	struct offender *o, *tmp;

	if (!denied) {
		return;
	}
	HASH_ITER (hh, denied->offenders, o, tmp) {
		drop(denied, o);
	}
	free(denied);
}

/* How many this event stands for; 0: only counted. */
static unsigned int count_of(struct manager_denied *denied, const char *who, uint64_t mono_ns)
{
	struct offender *o;
	unsigned int count;

	HASH_FIND_STR(denied->offenders, who, o);
	if (!o) {
		if (HASH_COUNT(denied->offenders) >= USERS_MAX) {
			drop(denied, denied->offenders);
		}
		o = bh_alloc(sizeof(*o));
		snprintf(o->who, sizeof(o->who), "%s", who);
		HASH_ADD_STR(denied->offenders, who, o);
	} else if (mono_ns - o->told_ns < QUIET_NS) {
		o->left_out++;
		bh_counter_add(&api_denied_untold, 1);
		return 0;
	}
	count = o->left_out + 1;
	o->left_out = 0;
	o->told_ns = mono_ns;
	return count;
}

void manager_denied_tell(struct manager_request *req, enum manager_verb verb,
			 const struct manager_object *object, const struct manager_judgement *j)
{
	unsigned int count = count_of(manager_api_denied(req->api), req->who, bh_time_mono_ns());
	const struct manager_tenant *home =
		manager_tenant_at(req->parts->inv, req->principal.tenant);
	json_t *body;

	manager_record_denied(req, verb, object, j);
	if (!count) {
		return;
	}
	body = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "user", req->who, "from", req->from,
			 "verb", manager_right_name(verb), "method", req->method, "rule", j->rule,
			 "way", j->way, "count", (json_int_t)count);
	/* What the caller wrote, which need not be UTF-8. */
	json_object_set_new(body, "path", json_string(req->path));
	json_object_set_new(body, "object", json_string(object->id ? object->id : ""));
	if (home && j->decision != MANAGER_HIDDEN) {
		json_object_set_new(body, "tenant", json_string(home->name));
	} /* else nobody there may learn that the thing exists */
	manager_events_own(req->parts->events, "access.denied", BH_SEVERITY_WARNING, body);
}

void manager_denied_nobody(struct manager_request *req)
{
	struct manager_denied *denied = manager_api_denied(req->api);
	uint64_t now = bh_time_mono_ns();
	json_t *body;

	if (denied->nobody_ns && now - denied->nobody_ns < QUIET_NS) {
		bh_counter_add(&api_denied_untold, 1);
		return;
	}
	denied->nobody_ns = now;
	body = json_pack("{s:s, s:s}", "from", req->from, "method", req->method);
	json_object_set_new(body, "path", json_string(req->path));
	manager_events_own(req->parts->events, "audit.denied", BH_SEVERITY_WARNING, body);
}
