/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of VMs that come and what happens to them; theory of operation in arrive.h. */
#include "host/capsule/arrive.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "host/capsule/alone.h"

#include <utlist.h>

#define APPEAR_NS (30 * BH_NS_PER_S)  /* from the hook's answer to the VM's start */
#define WINDOW_NS (2 * BH_NS_PER_S)   /* for the end mark, from when the VM runs */
#define FOLLOW_NS (600 * BH_NS_PER_S) /* nothing is heard of it any more */

BH_COUNTER(arrivals_cut, "VMs that ran here before their source had sent everything");

/* ---- what is said of it ---- */

void arrive_part(struct hostd_moves *moves, struct bh_bus_request *req,
		 const struct bh_bus_msg *msg)
{
	struct arrival *a = arrival_of_id(moves, bh_json_str_or(msg->json, "migration", ""));

	/* the name is out of the subject, which the bus checks */
	if (!a || a->phase < ARRIVE_SOURCE || strcmp(a->source, bh_bus_request_host(req)) != 0) {
		bh_bus_reply_error(req, "unknown", "%s expects no such move", moves->agent->name);
	} else {
		receive_part(a, req, msg->bytes, msg->size);
	}
}

void arrive_command_end(struct hostd_moves *moves, struct bh_bus_request *req,
			const struct bh_bus_msg *msg)
{
	struct arrival *a = arrival_of_id(moves, bh_json_str_or(msg->json, "migration", ""));
	const char *why = bh_json_str_or(msg->json, "why", "");

	hostd_alone_over(moves->agent, bh_json_str_or(msg->json, "migration", ""));
	if (a && !strcmp(bh_json_str_or(msg->json, "result", ""), "done")) {
		bh_log(BH_LOG_INFO, "capsule", "VM %s has moved here from %s", a->name, a->source);
		arrival_end(a);
	} else if (a) {
		arrival_end_failed(a, *why ? why : "the manager has ended it", true);
	}
	bh_bus_reply(req, NULL); /* over is over, however often it is said */
}

void arrive_listed(struct hostd_moves *moves, const json_t *item)
{
	const char *phase = bh_json_str_or(item, "phase", "");
	const char *peer = bh_json_str_or(item, "peer", "");
	char id_text[MOVE_ID_SIZE];
	uint8_t id[16], uuid[16];
	const struct hostd_vm *vm;
	struct arrival *a;

	if (move_id(item, id, id_text, NULL) < 0) {
		return;
	}
	a = arrival_of_id(moves, id_text);
	if (a && !strcmp(phase, "installed") && (a->final || a->cut)) {
		arrival_tell(a, a->cut ? "cut" : "final", ""); /* it was away when that happened */
	}
	if (a || bh_uuid_parse(bh_json_str_or(item, "vm", ""), uuid) < 0 || !bh_name_valid(peer) ||
	    moves->arrival_count >= MOVES_MAX) {
		return;
	}
	vm = hostd_inventory_find(moves->agent->inv, uuid);
	a = arrival_new(moves, uuid, vm ? vm->name : bh_json_str_or(item, "vm", ""));
	memcpy(a->id, id, sizeof(a->id));
	snprintf(a->id_text, sizeof(a->id_text), "%s", id_text);
	snprintf(a->source, sizeof(a->source), "%s", peer);
	a->by = json_array();
	a->ready_ns = a->started_ns;
	a->phase = ARRIVE_READY;
	move_nics(moves->agent, uuid, &a->nics);
	if (strcmp(phase, "installed") != 0 && strcmp(phase, "final") != 0) {
		/* the hook that waited for us is gone, and with it the move */
		arrival_fail(a, "this host's engine started anew while the hook waited");
		return;
	}
	a->final = !strcmp(phase, "final");
	a->arriving = !a->final; /* as that hostd has left the flag */
	if (!a->final) {
		arrival_ask_start(a);
	}
	bh_log(BH_LOG_INFO, "capsule", "the move of VM %s from %s goes on", a->name, peer);
}

void arrive_unlisted(struct hostd_moves *moves, const json_t *list)
{
	struct arrival *a, *next;

	DL_FOREACH_SAFE(moves->arrivals, a, next)
	{
		bool open = !*a->id_text || hostd_alone_unnamed(moves->agent, a->id_text);
		size_t i;
		json_t *item;

		json_array_foreach (list, i, item) {
			open |= !strcmp(bh_json_str_or(item, "migration", ""), a->id_text);
		}
		if (!open && arrival_is_here(a)) {
			arrival_end(a);
		} else if (!open) {
			arrival_end_failed(a, "the manager does not know of it any more", true);
		}
	}
}

/* ---- what happens to it ---- */

/* TCP that is older than what is known here is judged as new, for a minute. */
static void pick_up(struct arrival *a, uint64_t now_ns)
{
	struct hostd_agent *agent = a->moves->agent;
	struct bh_diag diag = {};

	for (size_t i = 0; i < a->nics.count; i++) {
		hostd_takeover_add(agent, &a->nics.keys[i], now_ns);
		if (hostd_dp_nic_set_flags(agent->dp, &a->nics.keys[i],
					   BH_NIC_ARRIVING | BH_NIC_PICKUP, BH_NIC_PICKUP,
					   &diag) < 0) {
			bh_log_limited(BH_LOG_ERROR, "capsule", 3, "marking a NIC: %s", diag.text);
		}
	}
	a->arriving = false;
}

/* libvirt's word comes some ms after the VM runs, and before its first list says so. */
static void runs(struct arrival *a, uint64_t now_ns)
{
	if (!a->runs_ns) {
		a->runs_ns = now_ns;
		a->seen = true;
	}
}

void arrive_event(struct hostd_moves *moves, const uint8_t uuid[16], enum hostd_vm_event event,
		  enum hostd_vm_detail detail)
{
	struct arrival *a = arrival_of_vm(moves, uuid);

	if (!a || a->phase != ARRIVE_READY) {
		return;
	}
	if (event == HOSTD_VM_RESUMED) {
		runs(a, bh_time_mono_ns());
	} else if (event == HOSTD_VM_STARTED) {
		a->seen = true; /* QEMU waits for its memory */
	} else if (event == HOSTD_VM_STOPPED) {
		arrive_ended(moves, uuid);
	}
}

/* It is not here any more, or never came. */
static void is_gone(struct arrival *a, const char *why)
{
	if (a->runs_ns || !*a->source) {
		arrival_end(a); /* it came; what happened to it later is no matter of the move */
	} else {
		arrival_fail(a, "%s", why);
	}
}

void arrive_ended(struct hostd_moves *moves, const uint8_t uuid[16])
{
	struct arrival *a = arrival_of_vm(moves, uuid);

	if (a && a->phase == ARRIVE_READY) {
		is_gone(a, "libvirt has ended it before it ran here");
	}
}

static void cut(struct arrival *a, uint64_t now_ns)
{
	a->cut = true;
	bh_counter_add(&arrivals_cut, 1);
	bh_log(BH_LOG_WARN, "capsule",
	       "VM %s runs, and %s has not said that it sent everything: TCP is picked up for a "
	       "minute",
	       a->name, a->source);
	pick_up(a, now_ns);
	if (a->alone) { /* else the manager has it in its record */
		arrival_report(a, "migration.cut", "the last changes did not come within 2 s");
	}
	arrival_tell(a, "cut", "the last changes did not come within 2 s");
}

static void tick(struct arrival *a, uint64_t now_ns)
{
	bool complete = hostd_inventory_complete(a->moves->agent->inv);

	if (a->phase < ARRIVE_READY) {
		if (a->phase == ARRIVE_SOURCE && now_ns >= a->retry_ns) {
			a->retry_ns = UINT64_MAX;
			arrival_ask_start(a);
		}
		arrival_advance(a, now_ns);
		return;
	}
	if (!a->runs_ns && arrival_is_here(a) && arrival_runs_here(a)) {
		runs(a, now_ns);
	}
	a->seen |= arrival_is_here(a);
	if (*a->source && !a->final && now_ns >= a->retry_ns) {
		a->retry_ns = UINT64_MAX;
		arrival_ask_start(a);
	}
	if (*a->source && a->runs_ns && !a->final && !a->cut && now_ns - a->runs_ns >= WINDOW_NS) {
		cut(a, now_ns);
	}
	if (complete && !arrival_is_here(a) && (a->seen || now_ns - a->ready_ns >= APPEAR_NS)) {
		is_gone(a, a->seen ? "it went away before it ran here"
				   : "libvirt did not start it within 30 s");
	} else if (!*a->source && a->runs_ns) {
		arrival_end(a); /* there was nothing to bring along */
	} else if (!hostd_session_up(a->moves->agent) && a->runs_ns &&
		   now_ns - a->runs_ns >= FOLLOW_NS) {
		arrival_end(a);
	}
}

void arrive_tick(struct hostd_moves *moves, uint64_t now_ns)
{
	struct arrival *a, *next;

	DL_FOREACH_SAFE(moves->arrivals, a, next)
	{
		tick(a, now_ns);
	}
}

/* ---- being asked ---- */

void arrive_json(const struct hostd_moves *moves, json_t *list)
{
	static const char *const phases[] = {"networks", "manager", "rules", "source",
					     "readback", "report",  "ready"};
	uint64_t now = bh_time_mono_ns();
	struct arrival *a;

	DL_FOREACH (moves->arrivals, a) {
		char uuid[BH_UUID_TEXT_SIZE];

		bh_uuid_format(a->uuid, uuid);
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b}",
				  "migration", a->id_text, "vm", uuid, "vm_name", a->name, "role",
				  "target", "peer", a->source, "phase",
				  a->cut       ? "cut"
				  : a->final   ? "final"
				  : a->runs_ns ? "runs"
					       : phases[a->phase],
				  "parts", (json_int_t)a->parts, "bytes", (json_int_t)a->bytes,
				  "connections", (json_int_t)a->read_count, "segments_differ",
				  (json_int_t)a->segments_differ, "ms",
				  (json_int_t)((now - a->started_ns) / BH_NS_PER_MS), "waits",
				  a->req != NULL));
	}
}
