/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells when a commit is in force: `policy.enforced` when every host that it concerned has read it
 * back from its kernel, before that `policy.pending` when some have not within PENDING_MS. A host
 * that has something newer has it too. At most TRACKED_MAX commits are followed; of more the oldest
 * ones are given up, as a later commit says the same of the same hosts.
 */
#include "manager/distribute/distribute.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"

#include <utlist.h>

#define PENDING_MS  10000u
#define LATE_MS	    (24u * 3600 * 1000) /* how long a pending one is still followed */
#define TRACKED_MAX 32
#define NAMES_MAX   20

BH_COUNTER(enforce_done, "commits that every host confirmed");
BH_COUNTER(enforce_pending, "commits that some host had not confirmed in time");
BH_COUNTER(enforce_given_up, "commits not followed any longer while some host lacked them");

struct manager_enforce {
	struct manager_distribute *dist;
	struct manager_wait *wait;
	uint32_t revision;
	size_t hosts;
	uint64_t begun_ns;
	bool pending; /* told */
	struct manager_enforce *prev, *next;
};

static void end(struct manager_enforce *e)
{
	DL_DELETE(e->dist->enforcing, e);
	free(e);
}

static json_t *body_of(const struct manager_enforce *e, const char *message)
{
	return json_pack("{s:I, s:I, s:I, s:s}", "revision", (json_int_t)e->revision, "hosts",
			 (json_int_t)e->hosts, "ms",
			 (json_int_t)((bh_time_mono_ns() - e->begun_ns) / BH_NS_PER_MS), "message",
			 message);
}

static void tell_enforced(struct manager_enforce *e)
{
	BH_FREE char *text = bh_asprintf("revision %u is in force on %zu host%s", e->revision,
					 e->hosts, e->hosts == 1 ? "" : "s");

	bh_counter_add(&enforce_done, 1);
	manager_inventory_notice(e->dist->o.inv, "policy.enforced", "info", body_of(e, text));
}

static void tell_pending(struct manager_enforce *e)
{
	BH_FREE char *text = NULL;
	json_t *names = json_array();
	size_t missing = 0;
	json_t *body;

	for (size_t i = 0; i < e->wait->count; i++) {
		if (!e->wait->hosts[i].done && missing++ < NAMES_MAX) {
			json_array_append_new(names, json_string(e->wait->hosts[i].host->name));
		}
	}
	text = bh_asprintf("revision %u is not in force yet on %zu of %zu hosts", e->revision,
			   missing, e->hosts);
	bh_counter_add(&enforce_pending, 1);
	body = body_of(e, text);
	json_object_set_new(body, "missing", json_integer((json_int_t)missing));
	json_object_set_new(body, "missing_hosts", names);
	manager_inventory_notice(e->dist->o.inv, "policy.pending", "warning", body);
}

static void on_done(bool all, void *arg);

static void wait_for(struct manager_enforce *e, struct manager_host *const *hosts, size_t count,
		     uint64_t timeout_ms)
{
	e->wait = manager_distribute_wait(e->dist, hosts, count, timeout_ms, on_done, e);
}

/* Those that are missing are waited for on. */
static void go_on(struct manager_enforce *e)
{
	BH_FREE struct manager_host **hosts =
		bh_alloc_array(e->wait->count + 1, sizeof(struct manager_host *));
	size_t count = 0;

	for (size_t i = 0; i < e->wait->count; i++) {
		if (!e->wait->hosts[i].done) {
			hosts[count++] =
				manager_host_find(e->dist->o.inv, e->wait->hosts[i].host->name);
		}
	}
	e->pending = true;
	wait_for(e, hosts, count, LATE_MS);
}

static void on_done(bool all, void *arg)
{
	struct manager_enforce *e = arg;

	if (all) {
		tell_enforced(e);
		end(e);
	} else if (!e->pending) {
		tell_pending(e);
		go_on(e);
	} else {
		bh_counter_add(&enforce_given_up, 1);
		end(e);
	}
}

void manager_enforce_track(struct manager_distribute *dist, uint32_t revision)
{
	struct manager_enforce *e = bh_alloc(sizeof(*e)), *old;
	BH_FREE struct manager_host **hosts = manager_distribute_in_scope(dist, &e->hosts);
	size_t tracked;

	e->dist = dist;
	e->revision = revision;
	e->begun_ns = bh_time_mono_ns();
	DL_COUNT(dist->enforcing, old, tracked);
	if (tracked >= TRACKED_MAX) {
		old = dist->enforcing;
		manager_wait_cancel(dist, old->wait);
		bh_counter_add(&enforce_given_up, 1);
		end(old);
	}
	DL_APPEND(dist->enforcing, e);
	if (e->hosts == 0) {
		tell_enforced(e);
		end(e);
		return;
	}
	wait_for(e, hosts, e->hosts, PENDING_MS);
}

void manager_enforce_end(struct manager_distribute *dist)
{
	struct manager_enforce *e, *tmp;

	DL_FOREACH_SAFE(dist->enforcing, e, tmp)
	{
		manager_wait_cancel(dist, e->wait);
		end(e);
	}
}
