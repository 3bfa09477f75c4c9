/* SPDX-License-Identifier: Apache-2.0 */
/* The target side of a move: theory of operation in arrive.h. */
#include "host/capsule/arrive.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "bus/subject.h"
#include "host/agent/generation.h"
#include "host/capsule/alone.h"
#include "host/platform/domxml.h"

#include <errno.h>
#include <utlist.h>

#define MARGIN_MS 500 /* the hook waits a little longer than we do */

BH_COUNTER(arrivals_allowed, "VMs that were let in with what their source held");
BH_COUNTER(arrivals_fresh, "VMs that were let in and had nothing to bring along");
BH_COUNTER(arrivals_refused, "VMs that were not let in");
BH_COUNTER(arrivals_failed, "VMs that were let in and did not come");
BH_COUNTER(arrivals_final, "VMs of which the source has sent everything");

struct arrival *arrival_of_vm(const struct hostd_moves *moves, const uint8_t uuid[16])
{
	struct arrival *a;

	DL_FOREACH (moves->arrivals, a) {
		if (!memcmp(a->uuid, uuid, sizeof(a->uuid))) {
			return a;
		}
	}
	return NULL;
}

struct arrival *arrival_of_id(const struct hostd_moves *moves, const char *id_text)
{
	struct arrival *a;

	DL_FOREACH (moves->arrivals, a) {
		if (*a->id_text && !strcmp(a->id_text, id_text)) {
			return a;
		}
	}
	return NULL;
}

bool arrive_has_vm(const struct hostd_moves *moves, const uint8_t uuid[16])
{
	return arrival_of_vm(moves, uuid) != NULL;
}

const char *hostd_capsule_kind(const struct hostd_agent *agent, const uint8_t uuid[16])
{
	const struct arrival *a = agent->moves ? arrival_of_vm(agent->moves, uuid) : NULL;

	return !a || a->phase != ARRIVE_READY ? "" : a->restore ? "restore" : "migration";
}

/* It runs, or its memory is on the way: libvirt has it. */
bool arrival_is_here(const struct arrival *a)
{
	const struct hostd_vm *vm = hostd_inventory_find(a->moves->agent->inv, a->uuid);

	return vm && vm->running;
}

bool arrival_runs_here(const struct arrival *a)
{
	const struct hostd_vm *vm = hostd_inventory_find(a->moves->agent->inv, a->uuid);

	return a->runs_ns || (vm && vm->running && !strcmp(vm->state, "running"));
}

void hostd_moves_birth(struct hostd_agent *agent, const struct hostd_vm *vm)
{
	const struct arrival *a = arrival_of_vm(agent->moves, vm->uuid);
	uint64_t now = bh_time_mono_ns();

	if (a && a->phase == ARRIVE_READY && !*a->source) {
		bh_vec_foreach (nic, &vm->nics) {
			struct hostd_dp_nic_key key = hostd_ports_key(vm, nic);

			hostd_takeover_add(agent, &key, now);
		}
	}
}

/* ---- begin and end ---- */

void arrival_unref(struct arrival *a)
{
	if (--a->refs == 0) {
		hostd_vm_done(&a->parsed);
		json_decref(a->vm);
		json_decref(a->by);
		free(a);
	}
}

/* Takes it off the list; the struct goes when nothing is on its way. */
void arrival_end(struct arrival *a)
{
	struct hostd_moves *moves = a->moves;

	receive_stop(a);
	if (a->arriving) {
		receive_flags(a, false);
	}
	DL_DELETE(moves->arrivals, a);
	moves->arrival_count--;
	a->moves = NULL;
	arrival_unref(a);
	moves_timers(moves);
}

static void on_told(int err, const struct bh_bus_msg *reply, void *arg)
{
	if (err && err != -ECANCELED) {
		bh_log_limited(BH_LOG_WARN, "capsule", 3, "telling the manager of a move: %s",
			       bh_bus_reply_text(err, reply));
	}
}

/* The manager hears of it now or, when it is away, asks what became of it after the next hello. */
void arrival_tell(struct arrival *a, const char *phase, const char *why)
{
	if (a->alone && !strcmp(phase, "failed")) {
		hostd_alone_failed(a->agent, a->id_text);
	} else if (a->alone) {
		hostd_alone_final(a->agent, a->id_text);
	}
	if (*a->id_text && hostd_session_up(a->moves->agent)) {
		hostd_session_request(a->moves->agent, "migrated",
				      json_pack("{s:s, s:s, s:s, s:o}", "migration", a->id_text,
						"phase", phase, "why", why, "receipt",
						receive_receipt(a)),
				      MOVE_MANAGER_MS, on_told, NULL);
	}
}

/* What came is forgotten, as if it had never come. */
static void undo(struct arrival *a)
{
	struct bh_diag diag = {};

	if (a->nics.count && !arrival_is_here(a) &&
	    hostd_dp_import_undo(a->moves->agent->dp, &a->nics, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "capsule", 3, "taking out connections: %s", diag.text);
	}
}

void arrival_report(struct arrival *a, const char *type, const char *reason)
{
	json_t *e = hostd_agent_event_new(type, BH_SEVERITY_WARNING);

	hostd_agent_event_vm(e, a->uuid, a->name, NULL);
	json_object_set_new(e, "reason", json_string(reason));
	if (*a->id_text) {
		json_object_set_new(e, "migration", json_string(a->id_text));
	}
	if (*a->source) {
		json_object_set_new(e, "source", json_string(a->source));
	}
	if (json_array_size(a->by)) {
		json_object_set(e, "by", a->by);
	}
	hostd_agent_event(a->moves->agent, e);
}

/* `told`: the manager knows it already, by its own word. */
void arrival_end_failed(struct arrival *a, const char *reason, bool told)
{
	bool waits = a->req != NULL;

	bh_counter_add(waits ? &arrivals_refused : &arrivals_failed, 1);
	bh_log(BH_LOG_WARN, "capsule", "VM %s %s: %s", a->name,
	       waits ? "is not let in" : "does not come", reason);
	if (waits) {
		bh_ctl_reply_error(bh_steal(&a->req), "%s", reason);
		if (!told && !*a->id_text) { /* nobody else could say it */
			arrival_report(a, "migration.refused", reason);
		}
	}
	if (!told) {
		arrival_tell(a, "failed", reason);
	}
	undo(a);
	arrival_end(a);
}

void arrival_fail(struct arrival *a, const char *fmt, ...)
{
	char reason[BH_DIAG_TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	hostd_text_mend(reason);
	arrival_end_failed(a, reason, false);
}

static void allow(struct arrival *a, const char *how)
{
	uint64_t now = bh_time_mono_ns(), ms = (now - a->started_ns) / BH_NS_PER_MS;

	a->phase = ARRIVE_READY;
	a->ready_ns = now;
	if (a->req) {
		bh_log(BH_LOG_INFO, "capsule", "VM %s may come: %s (%u connections, %llu ms)",
		       a->name, how, a->read_count, (unsigned long long)ms);
		bh_ctl_reply(bh_steal(&a->req),
			     json_pack("{s:s, s:s, s:I, s:I}", "how", how, "source", a->source,
				       "connections", (json_int_t)a->read_count, "ms",
				       (json_int_t)ms));
	}
}

/* ---- the source ---- */

static void on_start(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct arrival *a = arg;

	if (a->moves) {
		a->start_out = false;
		if (err == BH_BUS_REFUSED && !strcmp(bh_bus_reply_code(err, reply), "gone")) {
			a->retry_ns = UINT64_MAX; /* nothing more comes */
			if (a->phase == ARRIVE_SOURCE) {
				arrival_fail(a, "host %s holds nothing of it any more", a->source);
			}
		} else if (err && err != -ECANCELED) {
			bh_log_limited(BH_LOG_WARN, "capsule", 3, "asking %s for VM %s: %s",
				       a->source, a->name, bh_bus_reply_text(err, reply));
			a->retry_ns = bh_time_mono_ns() + MOVE_RETRY_NS;
		} else {
			a->retry_ns = UINT64_MAX; /* it goes on by itself from here */
		}
	}
	arrival_unref(a);
}

void arrival_ask_start(struct arrival *a)
{
	struct bh_bus *bus = move_bus(a->moves->agent);
	char subject[BH_SUBJECT_SIZE];
	struct bh_bus_msg msg = {};

	if (!bus || a->start_out) {
		a->retry_ns = bh_time_mono_ns() + MOVE_RETRY_NS;
		return;
	}
	msg.json = json_pack("{s:s, s:s}", "type", "start", "migration", a->id_text);
	a->start_out = true;
	a->refs++;
	bh_bus_request(bus, bh_subject_peer(a->source, a->moves->agent->name, subject), &msg,
		       MOVE_PEER_MS, on_start, a);
	json_decref(msg.json);
}

/* ---- the manager ---- */

static void noted(struct arrival *a)
{
	bh_counter_add(&arrivals_allowed, 1);
	allow(a, "what its source held is in this host's kernel");
	if (a->final) {
		arrival_tell(a, "final", "");
	}
}

static void on_installed(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct arrival *a = arg;

	if (a->moves && a->phase == ARRIVE_REPORT && err != -ECANCELED) {
		if (err == BH_BUS_REFUSED) {
			arrival_fail(a, "the manager refuses it: %s",
				     bh_bus_reply_text(err, reply));
		} else if (err) {
			arrival_fail(a,
				     "the manager does not answer (%s), so nobody has noted "
				     "what came",
				     bh_bus_reply_text(err, NULL));
		} else {
			noted(a);
		}
	}
	arrival_unref(a);
}

void arrival_installed(struct arrival *a)
{
	if (a->alone) {
		noted(a); /* here, by alone.c */
		return;
	}
	a->phase = ARRIVE_REPORT;
	a->refs++;
	hostd_session_request(a->moves->agent, "migrated",
			      json_pack("{s:s, s:s, s:s, s:o}", "migration", a->id_text, "phase",
					"installed", "why", "", "receipt", receive_receipt(a)),
			      MOVE_MANAGER_MS, on_installed, a);
}

/* All is known after all: nothing is left to pick up. */
static void uncut(struct arrival *a)
{
	struct bh_diag diag = {};

	a->cut = false;
	hostd_takeover_forget(a->moves->agent, a->uuid);
	for (size_t i = 0; i < a->nics.count; i++) {
		if (hostd_dp_nic_set_flags(a->moves->agent->dp, &a->nics.keys[i], BH_NIC_PICKUP, 0,
					   &diag) < 0) {
			bh_log_limited(BH_LOG_ERROR, "capsule", 3, "marking a NIC: %s", diag.text);
		}
	}
	hostd_agent_dirty(a->moves->agent);
}

void arrival_final(struct arrival *a)
{
	bh_counter_add(&arrivals_final, 1);
	if (a->cut) {
		uncut(a);
	}
	if (a->arriving) {
		receive_flags(a, false);
	}
	if (a->phase == ARRIVE_READY) {
		arrival_tell(a, "final", "");
	}
}

static void on_alone(const struct hostd_alone_answer *answer, void *arg)
{
	struct arrival *a = arg;

	if (!a->moves && !answer->refused) {
		hostd_alone_failed(a->agent, answer->id);
	} else if (a->moves && answer->refused) {
		arrival_fail(a, "%s, and %s", a->away, answer->refused);
	} else if (a->moves) {
		a->alone = true;
		snprintf(a->id_text, sizeof(a->id_text), "%s", answer->id);
		snprintf(a->source, sizeof(a->source), "%s", answer->source);
		if (bh_hex_parse(a->id_text, a->id, sizeof(a->id)) < 0) {
			abort(); /* alone.c made it */
		}
		a->phase = ARRIVE_RULES; /* they are here */
		arrival_advance(a, bh_time_mono_ns());
	}
	arrival_unref(a);
}

/* Only what this host saved itself, and nothing older; its rules are looked at when it starts. */
static void restore_alone(struct arrival *a)
{
	char why[HOSTD_REASON_SIZE];

	if (hostd_generations_may(a->agent, &a->parsed, HOSTD_FROM_RESTORE, why, sizeof(why))) {
		bh_counter_add(&arrivals_fresh, 1);
		allow(a, "its newest save, of this host");
	} else {
		arrival_fail(a, "%s, and %s", a->away, why);
	}
}

/* The manager is not there: what it signed before may do. */
static void go_alone(struct arrival *a, const char *away)
{
	snprintf(a->away, sizeof(a->away), "%s", away);
	if (a->restore) {
		restore_alone(a);
		return;
	}
	a->phase = ARRIVE_MANAGER;
	a->refs++;
	hostd_alone_ask(a->agent, a->vm, on_alone, a);
}

static void on_manager(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct arrival *a = arg;
	struct bh_diag diag = {};

	if (!a->moves || a->phase != ARRIVE_MANAGER || err == -ECANCELED) {
		arrival_unref(a);
		return;
	}
	if (err == BH_BUS_REFUSED) {
		arrival_end_failed(a, bh_bus_reply_text(err, reply), true);
	} else if (err == -EHOSTUNREACH || err == -ENOTCONN || (err && a->restore)) {
		go_alone(a, "the manager is away");
	} else if (err) {
		arrival_fail(a, "the manager does not answer (%s)", bh_bus_reply_text(err, NULL));
	} else {
		snprintf(a->source, sizeof(a->source), "%s",
			 bh_json_str_or(reply->json, "source", ""));
		snprintf(a->hash, sizeof(a->hash), "%s", bh_json_str_or(reply->json, "hash", ""));
		if (*a->source && (move_id(reply->json, a->id, a->id_text, &diag) < 0 ||
				   !bh_name_valid(a->source))) {
			*a->id_text = '\0';
			arrival_fail(a, "the manager's answer makes no sense: %s", diag.text);
		} else if (!*a->source) {
			bh_counter_add(&arrivals_fresh, 1);
			allow(a, "no host of ours runs it");
		} else {
			a->phase = ARRIVE_RULES;
			arrival_advance(a, bh_time_mono_ns());
		}
	}
	arrival_unref(a);
}

static void ask_manager(struct arrival *a, uint64_t now_ns)
{
	struct hostd_agent *agent = a->moves->agent;
	struct hostd_dp_usage usage[HOSTD_DP_TABLE_COUNT];
	uint64_t left_ms = a->deadline_ns > now_ns ? (a->deadline_ns - now_ns) / BH_NS_PER_MS : 1;

	if (!agent->enrolled) {
		arrival_fail(a, "this host is not enrolled with a manager (bulkhead host enroll)");
		return;
	}
	a->vm = hostd_report_vm(agent, &a->parsed);
	if (!hostd_session_up(agent)) {
		go_alone(a, "the manager is not reachable");
		return;
	}
	hostd_dp_usage(agent->dp, usage);
	a->phase = ARRIVE_MANAGER;
	a->refs++;
	hostd_session_request(
		agent, "migrate",
		json_pack("{s:O, s:s, s:O, s:I}", "vm", a->vm, "why",
			  a->restore ? "restore" : "live", "by", a->by, "connections",
			  (json_int_t)(usage[HOSTD_DP_CT4].used + usage[HOSTD_DP_CT6].used)),
		left_ms, on_manager, a);
}

/* ---- what it waits for ---- */

static bool networks_known(const struct arrival *a, char *why, size_t size)
{
	bh_vec_foreach (nic, &a->parsed.nics) {
		if (nic->kind == HOSTD_NIC_NETWORK &&
		    !hostd_inventory_network(a->moves->agent->inv, nic->source)) {
			snprintf(why, size, "libvirt has not told about network '%.80s'",
				 nic->source);
			return false;
		}
	}
	return true;
}

/* A NIC that can't be protected here, when the configuration takes none such. */
static const struct hostd_nic *unprotectable(const struct arrival *a, char *why, size_t size)
{
	bh_vec_foreach (nic, &a->parsed.nics) {
		struct hostd_nic_place place;

		hostd_inventory_place(a->moves->agent->inv, &a->parsed, nic, &place);
		if (!place.protectable) {
			snprintf(why, size, "%s", place.reason);
			return nic;
		}
	}
	return NULL;
}

/* Moves it on as far as it goes. It may be gone afterwards. */
void arrival_advance(struct arrival *a, uint64_t now_ns)
{
	static const char *const waits[] = {
		[ARRIVE_MANAGER] = "the manager has not answered",
		[ARRIVE_RULES] = "the manager's rules for it have not arrived",
		[ARRIVE_SOURCE] = "its source has not sent all of its connections",
		[ARRIVE_READBACK] = "its connections are being read back",
		[ARRIVE_REPORT] = "the manager has not noted what came"};
	char why[BH_DIAG_TEXT_SIZE] = "";

	if (a->phase == ARRIVE_NETWORKS && networks_known(a, why, sizeof(why))) {
		if (a->moves->agent->config->refuse_unprotected &&
		    unprotectable(a, why, sizeof(why))) {
			arrival_fail(
				a,
				"one of its NICs can't be protected: %s (refuse_unprotected in "
				"hostd.yaml)",
				why);
		} else {
			ask_manager(a, now_ns);
		}
		return;
	}
	if (a->phase == ARRIVE_RULES && (!*a->hash || hostd_state_held(a->moves->agent, a->hash))) {
		a->phase = ARRIVE_SOURCE;
		arrival_ask_start(a);
	}
	if (a->req && now_ns >= a->deadline_ns) {
		arrival_fail(a, "not ready in time: %s",
			     a->phase == ARRIVE_NETWORKS ? why : waits[a->phase]);
	}
}

void arrive_poke(struct hostd_moves *moves)
{
	uint64_t now = bh_time_mono_ns();
	struct arrival *a, *next;

	DL_FOREACH_SAFE(moves->arrivals, a, next)
	{
		if (a->phase < ARRIVE_SOURCE) {
			arrival_advance(a, now);
		}
	}
}

/* ---- the control socket ---- */

struct arrival *arrival_new(struct hostd_moves *moves, const uint8_t uuid[16], const char *name)
{
	struct arrival *a = bh_alloc(sizeof(*a));

	a->moves = moves;
	a->agent = moves->agent;
	a->refs = 1;
	memcpy(a->uuid, uuid, sizeof(a->uuid));
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->started_ns = bh_time_mono_ns();
	a->retry_ns = UINT64_MAX;
	a->next_seq = UINT32_MAX;
	DL_APPEND(moves->arrivals, a);
	moves->arrival_count++;
	moves_timers(moves);
	return a;
}

/* An earlier one of this VM, which libvirt has given up; NULL why: there is none in the way. */
static const char *clear_way(struct hostd_moves *moves, const uint8_t uuid[16])
{
	struct arrival *old = arrival_of_vm(moves, uuid);

	if (old && old->req) {
		return "it is being let in already";
	}
	if (old && arrival_is_here(old)) {
		return "it is here already"; /* maybe its memory is still on the way */
	}
	if (old) {
		arrival_fail(old, "libvirt began anew");
	}
	return moves->arrival_count >= MOVES_MAX ? "too many VMs are coming to this host" : NULL;
}

void hostd_arrive_serve(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct hostd_agent *agent = arg;
	const char *xml = NULL, *why;
	json_t *by = json_object_get(request, "by");
	struct hostd_vm vm = {};
	struct bh_diag diag = {};
	struct arrival *a;

	if (bh_json_str(request, "xml", &xml, &diag) < 0 ||
	    hostd_domxml_parse(xml, strlen(xml), &vm, &diag) < 0) {
		hostd_vm_done(&vm);
		bh_ctl_reply_error(req, "%s", diag.text);
		return;
	}
	why = clear_way(agent->moves, vm.uuid);
	if (why) {
		hostd_vm_done(&vm);
		bh_ctl_reply_error(req, "%s", why);
		return;
	}
	snprintf(vm.state, sizeof(vm.state), "arriving");
	a = arrival_new(agent->moves, vm.uuid, vm.name);
	a->req = req;
	a->parsed = vm;
	a->restore = !strcmp(bh_json_str_or(request, "why", "live"), "restore");
	a->by = json_is_array(by) ? json_deep_copy(by) : json_array();
	a->deadline_ns = a->started_ns + agent->config->migrate_timeout_s * BH_NS_PER_S -
			 MARGIN_MS * BH_NS_PER_MS;
	for (int i = 0; i < agent->source_count; i++) {
		hostd_platform_refresh(agent->sources[i].platform);
	}
	arrival_advance(a, a->started_ns);
}

/* ---- the loop ---- */

bool arrive_working(const struct hostd_moves *moves)
{
	struct arrival *a;

	DL_FOREACH (moves->arrivals, a) {
		if (receive_working(a)) {
			return true;
		}
	}
	return false;
}

void arrive_slice(struct hostd_moves *moves)
{
	struct arrival *a, *next;

	DL_FOREACH_SAFE(moves->arrivals, a, next)
	{
		if (receive_working(a)) {
			receive_slice(a);
		}
	}
}

void arrive_stop(struct hostd_moves *moves)
{
	struct arrival *a;

	DL_FOREACH (moves->arrivals, a) {
		if (a->req) {
			bh_ctl_reply_error(bh_steal(&a->req), "hostd is stopping");
		}
		receive_stop(a); /* the kernel keeps what came: the next hostd goes on */
	}
}

void arrive_free(struct hostd_moves *moves)
{
	struct arrival *a, *next;

	DL_FOREACH_SAFE(moves->arrivals, a, next)
	{
		DL_DELETE(moves->arrivals, a);
		arrival_unref(a);
	}
}
