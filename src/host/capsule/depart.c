/* SPDX-License-Identifier: Apache-2.0 */
/* The source side of a move: theory of operation in depart.h. */
#include "host/capsule/depart.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "host/capsule/alone.h"

#include <errno.h>
#include <malloc.h>
#include <utlist.h>

#define JOURNAL_SLICE 1024

BH_COUNTER(departures_begun, "VMs that the manager let move away from here");
BH_COUNTER(departures_done, "VMs that moved away");
BH_COUNTER(departures_failed, "moves away from here of which nothing came");
BH_COUNTER(journal_lost, "changes of connections that the journal of moves had no room for");

static struct departure *find_id(const struct hostd_moves *moves, const uint8_t id[16])
{
	struct departure *d;

	DL_FOREACH (moves->departures, d) {
		if (!memcmp(d->id, id, sizeof(d->id))) {
			return d;
		}
	}
	return NULL;
}

static struct departure *find_vm(const struct hostd_moves *moves, const uint8_t uuid[16])
{
	struct departure *d;

	DL_FOREACH (moves->departures, d) {
		if (!memcmp(d->uuid, uuid, sizeof(d->uuid))) {
			return d;
		}
	}
	return NULL;
}

bool depart_has_vm(const struct hostd_moves *moves, const uint8_t uuid[16])
{
	return find_vm(moves, uuid) != NULL;
}

bool hostd_moves_leaves(const struct hostd_agent *agent, const uint8_t uuid[16])
{
	const struct departure *d = agent->moves ? find_vm(agent->moves, uuid) : NULL;

	return d && d->gone;
}

/* ---- the NICs ---- */

struct collect {
	const uint8_t *uuid;
	struct hostd_dp_move_nics *nics;
};

static void collect_nic(const struct hostd_dp_nic_key *key,
			const struct hostd_dp_nic_status *status, void *arg)
{
	struct collect *c = arg;

	if (!memcmp(key->vm, c->uuid, sizeof(key->vm)) && status->index &&
	    c->nics->count < BH_CAPSULE_NICS_MAX) {
		struct hostd_dp_nic_key *slot = &c->nics->keys[c->nics->count++];

		memset(slot, 0, sizeof(*slot));
		memcpy(slot->vm, key->vm, sizeof(slot->vm));
		memcpy(slot->mac, key->mac, sizeof(slot->mac));
	}
}

static int by_mac(const void *a, const void *b)
{
	const struct hostd_dp_nic_key *x = a, *y = b;

	return memcmp(x->mac, y->mac, sizeof(x->mac));
}

void move_nics(const struct hostd_agent *agent, const uint8_t uuid[16],
	       struct hostd_dp_move_nics *ret)
{
	struct collect c = {.uuid = uuid, .nics = ret};

	ret->count = 0;
	hostd_dp_each_nic(agent->dp, collect_nic, &c);
	qsort(ret->keys, ret->count, sizeof(ret->keys[0]), by_mac);
}

/* ---- begin and end ---- */

void departure_unref(struct departure *d)
{
	if (--d->refs == 0) {
		free(d);
	}
}

static void journal_set(struct departure *d, bool on)
{
	struct bh_diag diag = {};

	if (d->nics.count && hostd_dp_journal_set(d->moves->agent->dp, &d->nics, on, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "capsule", 3, "journal of connections: %s", diag.text);
		d->again = true;
	}
}

/* Takes it off the list; the struct goes when nothing is on its way. */
static void departure_end(struct departure *d)
{
	struct hostd_moves *moves = d->moves;

	push_stop(d);
	journal_set(d, false);
	DL_DELETE(moves->departures, d);
	moves->departure_count--;
	d->moves = NULL;
	departure_unref(d);
	malloc_trim(0); /* megabytes, where there were many connections */
	moves_timers(moves);
}

/* The VM's connections are the target's now; peers on this host keep their half. */
static void withdraw(struct departure *d)
{
	struct bh_diag diag = {};

	if (d->nics.count && hostd_dp_import_undo(d->moves->agent->dp, &d->nics, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "capsule", 3, "withdrawing connections: %s",
			       diag.text);
	}
	d->nics.count = 0; /* nothing of it is left to look at */
}

static bool runs_here(const struct hostd_agent *agent, const uint8_t uuid[16])
{
	const struct hostd_vm *vm = hostd_inventory_find(agent->inv, uuid);

	return vm && vm->running;
}

/* A VM that runs may have no NICs: then that is what is sent. */
static bool nothing_left(const struct departure *d)
{
	return !d->nics.count && !runs_here(d->moves->agent, d->uuid);
}

static struct departure *departure_new(struct hostd_moves *moves, const uint8_t uuid[16],
				       const uint8_t id[16], const char *id_text,
				       const char *target)
{
	struct departure *d = bh_alloc(sizeof(*d));

	d->moves = moves;
	d->refs = 1;
	memcpy(d->uuid, uuid, sizeof(d->uuid));
	memcpy(d->id, id, sizeof(d->id));
	snprintf(d->id_text, sizeof(d->id_text), "%s", id_text);
	snprintf(d->target, sizeof(d->target), "%s", target);
	d->begun_ns = bh_time_mono_ns();
	move_nics(moves->agent, uuid, &d->nics);
	d->gone = hostd_inventory_complete(moves->agent->inv) && !runs_here(moves->agent, uuid);
	DL_APPEND(moves->departures, d);
	moves->departure_count++;
	bh_counter_add(&departures_begun, 1);
	journal_set(d, true);
	moves_timers(moves);
	return d;
}

/* ---- what the manager says ---- */

int depart_expect(struct hostd_moves *moves, const uint8_t uuid[16], const char *id_text,
		  const char *target, uint64_t *ret_connections, struct bh_diag *diag)
{
	struct hostd_agent *agent = moves->agent;
	struct hostd_dp_move_nics nics;
	struct departure *d;
	uint8_t id[16];

	if (bh_hex_parse(id_text, id, sizeof(id)) < 0) {
		return bh_diag_set(diag, -EINVAL, "migration: expected 32 hex digits");
	}
	/* one whose memory is in a file does not run, but what the kernel knew of it may be there
	 */
	move_nics(agent, uuid, &nics);
	if (!nics.count && hostd_inventory_complete(agent->inv) && !runs_here(agent, uuid)) {
		return bh_diag_set(diag, -ENOENT, "it does not run on %s", agent->name);
	}
	d = find_vm(moves, uuid);
	if (d && (memcmp(d->id, id, sizeof(id)) != 0 || strcmp(d->target, target) != 0)) {
		bh_counter_add(&departures_failed, 1);
		departure_end(d); /* there is another one in its place */
		d = NULL;
	}
	if (!d && moves->departure_count >= MOVES_MAX) {
		return bh_diag_set(diag, -EBUSY, "%d VMs are moving away from %s already",
				   MOVES_MAX, agent->name);
	}
	if (!d) {
		departure_new(moves, uuid, id, id_text, target);
	}
	*ret_connections = hostd_dp_charged(agent->dp, uuid);
	return 0;
}

void depart_command(struct hostd_moves *moves, struct bh_bus_request *req,
		    const struct bh_bus_msg *msg)
{
	const char *vm = NULL, *target = NULL;
	char id_text[MOVE_ID_SIZE];
	uint8_t id[16], uuid[16];
	uint64_t connections = 0;
	struct bh_diag diag = {};
	int err;

	if (move_id(msg->json, id, id_text, &diag) < 0 ||
	    bh_json_str(msg->json, "vm", &vm, &diag) < 0 ||
	    bh_json_str(msg->json, "target", &target, &diag) < 0) {
		bh_bus_reply_error(req, "failed", "%s", diag.text);
		return;
	}
	if (bh_uuid_parse(vm, uuid) < 0 || !bh_name_valid(target)) {
		bh_bus_reply_error(req, "failed", "expected the UUID of a VM and a host's name");
		return;
	}
	err = depart_expect(moves, uuid, id_text, target, &connections, &diag);
	if (err) {
		bh_bus_reply_error(req, err == -ENOENT ? "gone" : "failed", "%s", diag.text);
		return;
	}
	bh_log(BH_LOG_INFO, "capsule", "VM %s may move to %s (move %s)", vm, target, id_text);
	bh_bus_reply(req, json_pack("{s:I, s:[]}", "connections", (json_int_t)connections, "by"));
}

static void conclude(struct departure *d, bool done, const char *why)
{
	bh_counter_add(done ? &departures_done : &departures_failed, 1);
	bh_log(BH_LOG_INFO, "capsule", "move %s to %s is over: %s%s%s", d->id_text, d->target,
	       done ? "the VM is there" : "it failed", *why ? ": " : "", why);
	if (done && !runs_here(d->moves->agent, d->uuid)) {
		withdraw(d);
	}
	departure_end(d);
}

void depart_failed(struct hostd_moves *moves, const char *id_text, const char *why)
{
	uint8_t id[16];
	struct departure *d = bh_hex_parse(id_text, id, sizeof(id)) < 0 ? NULL : find_id(moves, id);

	if (d) {
		conclude(d, false, why);
	}
}

void depart_command_end(struct hostd_moves *moves, struct bh_bus_request *req,
			const struct bh_bus_msg *msg)
{
	char id_text[MOVE_ID_SIZE];
	uint8_t id[16];
	struct bh_diag diag = {};
	struct departure *d;

	if (move_id(msg->json, id, id_text, &diag) < 0) {
		bh_bus_reply_error(req, "failed", "%s", diag.text);
		return;
	}
	d = find_id(moves, id);
	if (d) {
		conclude(d, !strcmp(bh_json_str_or(msg->json, "result", ""), "done"),
			 bh_json_str_or(msg->json, "why", ""));
	}
	hostd_alone_over(moves->agent, id_text);
	bh_bus_reply(req, NULL); /* over is over, however often it is said */
}

void depart_listed(struct hostd_moves *moves, const json_t *item)
{
	const char *vm = bh_json_str_or(item, "vm", ""), *peer = bh_json_str_or(item, "peer", "");
	char id_text[MOVE_ID_SIZE];
	uint8_t id[16], uuid[16];
	struct departure *d;

	if (move_id(item, id, id_text, NULL) < 0 || bh_uuid_parse(vm, uuid) < 0 ||
	    !bh_name_valid(peer) || find_id(moves, id) || moves->departure_count >= MOVES_MAX) {
		return;
	}
	/* the target says `start` again when it is in the dark; it may not know that we were away
	 */
	d = departure_new(moves, uuid, id, id_text, peer);
	d->asked = d->nics.count != 0;
	if (d->asked) {
		push_begin(d);
	}
	bh_log(BH_LOG_INFO, "capsule", "move %s to %s goes on", id_text, peer);
}

static bool in_list(const json_t *list, const char *id_text)
{
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		if (!strcmp(bh_json_str_or(item, "migration", ""), id_text)) {
			return true;
		}
	}
	return false;
}

void depart_unlisted(struct hostd_moves *moves, const json_t *list)
{
	struct departure *d, *next;

	DL_FOREACH_SAFE(moves->departures, d, next)
	{
		if (!in_list(list, d->id_text) && !hostd_alone_unnamed(moves->agent, d->id_text)) {
			conclude(d, d->gone, "the manager does not know of it any more");
		}
	}
}

/* ---- what the target says ---- */

void depart_start(struct hostd_moves *moves, struct bh_bus_request *req,
		  const struct bh_bus_msg *msg)
{
	char id_text[MOVE_ID_SIZE];
	uint8_t id[16];
	struct departure *d = move_id(msg->json, id, id_text, NULL) < 0 ? NULL : find_id(moves, id);

	/* the name is out of the subject, which the bus checks */
	if (!d || strcmp(bh_bus_request_host(req), d->target) != 0) {
		bh_bus_reply_error(req, "unknown", "the manager has told %s of no such move",
				   moves->agent->name);
		return;
	}
	if (nothing_left(d)) {
		bh_bus_reply_error(req, "gone", "%s holds nothing of that VM any more",
				   moves->agent->name);
		return;
	}
	bh_bus_reply(req, NULL);
	d->asked = true;
	push_begin(d);
}

/* ---- what happens to the VM ---- */

static void set_gone(struct departure *d, bool gone)
{
	if (d->gone == gone) {
		return;
	}
	d->gone = gone;
	if (gone) {
		depart_journal(d->moves, true);
		push_walk(d);
	} else if (d->phase >= DEPART_LAST) {
		d->phase = DEPART_FOLLOW; /* it came back: nothing came of it, or not yet */
		push_walk(d);
	}
}

void depart_event(struct hostd_moves *moves, const uint8_t uuid[16], enum hostd_vm_event event,
		  enum hostd_vm_detail detail)
{
	struct departure *d = find_vm(moves, uuid);

	if (!d) {
		return;
	}
	if (event == HOSTD_VM_STOPPED ||
	    (event == HOSTD_VM_SUSPENDED && detail == HOSTD_DETAIL_MIGRATED)) {
		set_gone(d, true);
	} else if (event == HOSTD_VM_RESUMED) {
		set_gone(d, false);
	}
}

void depart_ended(struct hostd_moves *moves, const uint8_t uuid[16])
{
	struct departure *d = find_vm(moves, uuid);

	if (d) {
		set_gone(d, true);
	}
}

void depart_before(struct hostd_moves *moves, const struct bh_image *next)
{
	struct departure *d;

	DL_FOREACH (moves->departures, d) {
		char uuid[BH_UUID_TEXT_SIZE], name[BH_SEGMENT_NAME_MAX];

		bh_uuid_format(d->uuid, uuid);
		if (d->gone && d->nics.count && !bh_image_get(next, bh_segment_vm(uuid, name))) {
			push_stop(d);
			d->phase = DEPART_FINAL;
			journal_set(d, false);
			withdraw(d);
		}
	}
}

void depart_tick(struct hostd_moves *moves, uint64_t now_ns)
{
	struct departure *d;

	DL_FOREACH (moves->departures, d) {
		bool here = runs_here(moves->agent, d->uuid);

		if (d->again && !d->walk && !d->broken && d->asked && d->phase >= DEPART_FOLLOW) {
			push_walk(d);
		}
		if (!here && hostd_inventory_complete(moves->agent->inv)) {
			set_gone(d, true);
		}
		if (d->broken && !nothing_left(d) && now_ns >= d->retry_ns &&
		    move_bus(moves->agent)) {
			push_begin(d);
		}
	}
}

/* ---- the journal ---- */

static const struct hostd_dp_move_nics *journal_nics(const struct hostd_dp_nic_key *key, void *arg)
{
	struct departure *d = find_vm(arg, key->vm);

	return d ? &d->nics : NULL;
}

static void journal_conn(const struct hostd_dp_nic_key *key, const struct bh_capsule_conn *conn,
			 void *arg)
{
	struct departure *d = find_vm(arg, key->vm);

	if (d) {
		push_conn(d, conn);
	}
}

static void journal_gone(const struct hostd_dp_nic_key *key, const struct bh_capsule_tuple *tuple,
			 void *arg)
{
	struct departure *d = find_vm(arg, key->vm);

	if (d) {
		push_gone(d, tuple);
	}
}

void depart_journal(struct hostd_moves *moves, bool all)
{
	const struct hostd_dp_journal_handlers handlers = {
		.nics_of = journal_nics, .conn = journal_conn, .gone = journal_gone, .arg = moves};
	uint64_t end = bh_time_mono_ns() + MOVE_SLICE_NS, lost = 0;
	struct bh_diag diag = {};
	struct departure *d;
	int n;

	do {
		uint64_t more = 0;

		n = hostd_dp_journal_poll(moves->agent->dp, JOURNAL_SLICE, &handlers, &more, &diag);
		lost += more;
	} while (n == JOURNAL_SLICE && (all || bh_time_mono_ns() < end));
	if (n < 0) {
		bh_log_limited(BH_LOG_ERROR, "capsule", 3, "journal of connections: %s", diag.text);
		lost++;
	}
	bh_counter_add(&journal_lost, lost);
	DL_FOREACH (moves->departures, d) {
		d->again |= lost != 0; /* by the next tick or at the end of the walk */
		d->lost |= lost != 0;
		push_flush(d);
	}
}

/* ---- the loop ---- */

bool depart_working(const struct hostd_moves *moves)
{
	struct departure *d;

	DL_FOREACH (moves->departures, d) {
		if (push_working(d)) {
			return true;
		}
	}
	return false;
}

void depart_slice(struct hostd_moves *moves)
{
	struct departure *d;

	DL_FOREACH (moves->departures, d) {
		if (push_working(d)) {
			push_slice(d);
		}
	}
}

void depart_json(const struct hostd_moves *moves, json_t *list)
{
	static const char *const phases[] = {"ready", "whole", "follow", "last", "final"};
	uint64_t now = bh_time_mono_ns();
	struct departure *d;

	DL_FOREACH (moves->departures, d) {
		char uuid[BH_UUID_TEXT_SIZE];
		const struct hostd_vm *vm = hostd_inventory_find(moves->agent->inv, d->uuid);

		bh_uuid_format(d->uuid, uuid);
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, "
				  "s:I, s:I}",
				  "migration", d->id_text, "vm", uuid, "vm_name",
				  vm ? vm->name : "", "role", "source", "peer", d->target, "phase",
				  d->broken ? "retry" : phases[d->phase], "parts",
				  (json_int_t)d->parts, "bytes", (json_int_t)d->bytes,
				  "connections", (json_int_t)HASH_COUNT(d->sent), "pushes",
				  (json_int_t)d->pushes, "walks", (json_int_t)d->walks, "ms",
				  (json_int_t)((now - d->begun_ns) / BH_NS_PER_MS), "whole_ms",
				  (json_int_t)(d->whole_ns / BH_NS_PER_MS), "final_ms",
				  (json_int_t)(d->final_ns / BH_NS_PER_MS)));
	}
}

void depart_stop(struct hostd_moves *moves)
{
	struct departure *d;

	DL_FOREACH (moves->departures, d) {
		push_stop(d); /* the journal stays on: the next hostd goes on with it */
		d->asked = false;
	}
}

void depart_free(struct hostd_moves *moves)
{
	struct departure *d, *next;

	DL_FOREACH_SAFE(moves->departures, d, next)
	{
		DL_DELETE(moves->departures, d);
		free(d);
	}
}
