/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the kernel back, slice by slice, once a minute. What differs from what this host should
 * hold is told as an event and put right.
 */
#include "host/agent/agent.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#define VERIFY_EVERY_NS (60 * BH_NS_PER_S)
#define SLICE_ENTRIES	5000 /* per second */
#define NAMED_MAX	16

BH_COUNTER(verify_slices, "slices of the kernel's tables that were read back");
BH_COUNTER(verify_drift, "entries of the kernel that were not as they should be");
BH_COUNTER(verify_failed, "read-backs that failed");

struct differences {
	struct hostd_agent *agent;
	json_t *named;
	unsigned int count;
};

static const char *kind_name(enum hostd_dp_drift_kind kind)
{
	static const char *const names[] = {
		[HOSTD_DP_DRIFT_MISSING] = "missing", [HOSTD_DP_DRIFT_CHANGED] = "changed",
		[HOSTD_DP_DRIFT_EXTRA] = "extra",     [HOSTD_DP_DRIFT_SLOTS] = "slots",
		[HOSTD_DP_DRIFT_PORT] = "port",	      [HOSTD_DP_DRIFT_CTL] = "control"};

	return (size_t)kind < BH_ARRAY_SIZE(names) ? names[kind] : "unknown";
}

static void on_drift(const struct hostd_dp_drift *drift, void *arg)
{
	static const char *const records[] = {
		[BH_REC_NIC] = "nic",		[BH_REC_NIC_ADDR] = "nic-address",
		[BH_REC_NIC_VLAN] = "nic-vlan", [BH_REC_ADDR] = "address",
		[BH_REC_SET] = "set",		[BH_REC_ROW] = "row",
		[BH_REC_CIDR] = "cidr",		[BH_REC_RANGE] = "range"};
	struct differences *d = arg;
	json_t *item;

	d->count++;
	if (json_array_size(d->named) >= NAMED_MAX) {
		return;
	}
	item = json_pack("{s:s}", "kind", kind_name(drift->kind));
	if (drift->kind == HOSTD_DP_DRIFT_PORT) {
		struct hostd_link *l = hostd_links_get(d->agent->links, drift->ifindex);

		json_object_set_new(item, "dev", json_string(l ? l->name : "?"));
	} else if (drift->kind != HOSTD_DP_DRIFT_CTL &&
		   (size_t)drift->rec.type < BH_ARRAY_SIZE(records) && records[drift->rec.type]) {
		json_object_set_new(item, "record", json_string(records[drift->rec.type]));
	}
	json_array_append_new(d->named, item);
}

static int compare(struct hostd_agent *agent, struct differences *ret, struct bh_diag *diag)
{
	ret->agent = agent;
	ret->named = json_array();
	hostd_state_finish(agent);
	return hostd_dp_compare(agent->dp, hostd_state_image(agent), on_drift, ret, diag);
}

json_t *hostd_verify_now(struct hostd_agent *agent, struct bh_diag *diag)
{
	struct differences d = {};

	if (compare(agent, &d, diag) < 0) {
		json_decref(d.named);
		return NULL;
	}
	return d.named;
}

/* What was put right is told each time: it happened. What could not be is a state, told once. */
static void put_right(struct hostd_agent *agent, const struct differences *d)
{
	BH_FREE char *text = bh_json_dump(d->named);
	struct bh_diag diag = {};
	json_t *event;
	int err = hostd_state_repair(agent, &diag);

	agent->drift_found += d->count;
	bh_counter_add(&verify_drift, d->count);
	hostd_ports_reconcile(agent, true);
	bh_log_limited(BH_LOG_ERROR, "verify", 5,
		       "%u entries of the kernel were not as they should be; %s", d->count,
		       err ? diag.text : "put right");
	if (err) {
		hostd_session_resync(agent);
	} else {
		hostd_told_only(agent, "drift", NULL);
	}
	if (err && !hostd_told_fact(agent, "drift", text)) {
		return;
	}
	event = hostd_agent_event_new("host.drift", BH_SEVERITY_CRITICAL);
	json_object_set_new(event, "count", json_integer(d->count));
	json_object_set(event, "entries", d->named);
	json_object_set_new(event, "repaired", json_boolean(!err));
	hostd_agent_event(agent, event);
}

static void repair(struct hostd_agent *agent)
{
	struct differences d = {};
	struct bh_diag diag = {};

	if (compare(agent, &d, &diag) < 0) {
		bh_counter_add(&verify_failed, 1);
		bh_log_limited(BH_LOG_ERROR, "verify", 2, "%s", diag.text);
	}
	if (d.count) {
		put_right(agent, &d);
	}
	json_decref(d.named);
}

void hostd_verify_tick(struct hostd_agent *agent, uint64_t now_ns)
{
	struct bh_diag diag = {};
	int r;

	if (!hostd_state_told(agent) || hostd_dp_pending(agent->dp)) {
		return;
	}
	if (!agent->verifying && now_ns - agent->verified_ns < VERIFY_EVERY_NS) {
		return;
	}
	agent->verifying = true;
	bh_counter_add(&verify_slices, 1);
	r = hostd_dp_verify(agent->dp, SLICE_ENTRIES, &diag);
	if (r == 1) {
		return; /* goes on with the next tick */
	}
	agent->verifying = false;
	agent->verified_ns = now_ns;
	agent->verify_rounds++;
	if (r < 0) {
		bh_counter_add(&verify_failed, 1);
		bh_log_limited(BH_LOG_ERROR, "verify", 2, "%s", diag.text);
	} else if (r == 2) {
		repair(agent);
	} else {
		hostd_told_only(agent, "drift", NULL);
	}
}
