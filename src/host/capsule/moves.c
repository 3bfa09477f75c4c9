/* SPDX-License-Identifier: Apache-2.0 */
/* Both lists of moves: who is told what, timers, and what a hostd before us has left. */
#include "host/capsule/alone.h"
#include "host/capsule/internal.h"

#include "base/json.h"
#include "base/log.h"

#include <errno.h>

/* Flags of NICs that no move has claimed after this time belong to nobody. */
#define ORPHAN_NS (2 * BH_NS_PER_S)

int move_id(const json_t *from, uint8_t ret_id[16], char ret_text[MOVE_ID_SIZE],
	    struct bh_diag *diag)
{
	const char *text = NULL;
	int err = bh_json_str(from, "migration", &text, diag);

	if (err) {
		return err;
	}
	if (bh_hex_parse(text, ret_id, 16) < 0) {
		return bh_diag_set(diag, -EINVAL, "migration: expected 32 hex digits");
	}
	snprintf(ret_text, MOVE_ID_SIZE, "%s", text);
	return 0;
}

void move_key_set(struct move_key *key, const struct bh_capsule_tuple *tuple)
{
	memset(key, 0, sizeof(*key)); /* padding is compared too */
	key->tuple.net = tuple->net;
	key->tuple.vlan = tuple->vlan;
	memcpy(key->tuple.lo, tuple->lo, sizeof(key->tuple.lo));
	memcpy(key->tuple.hi, tuple->hi, sizeof(key->tuple.hi));
	key->tuple.lo_port = tuple->lo_port;
	key->tuple.hi_port = tuple->hi_port;
	key->tuple.proto = tuple->proto;
}

uint32_t move_key_hash(const struct hostd_moves *moves, const struct move_key *key)
{
	uint8_t bytes[crypto_shorthash_BYTES];
	uint32_t hash;

	crypto_shorthash(bytes, (const uint8_t *)key, sizeof(*key), moves->hash_key);
	memcpy(&hash, bytes, sizeof(hash));
	return hash;
}

struct bh_bus *move_bus(const struct hostd_agent *agent)
{
	struct bh_bus *bus = hostd_session_bus(agent);

	return bus && bh_bus_up(bus) ? bus : NULL;
}

/* ---- timers ---- */

static void on_slices(uv_idle_t *idle)
{
	struct hostd_moves *moves = idle->data;

	arrive_slice(moves);
	depart_slice(moves);
	moves_timers(moves);
}

struct orphans {
	struct hostd_moves *moves;
	BH_VEC(struct hostd_dp_nic_key) arriving;
	BH_VEC(struct hostd_dp_nic_key) departing;
};

static void find_orphan(const struct hostd_dp_nic_key *key,
			const struct hostd_dp_nic_status *status, void *arg)
{
	struct orphans *o = arg;

	if ((status->flags & BH_NIC_ARRIVING) && !arrive_has_vm(o->moves, key->vm)) {
		*bh_vec_push(&o->arriving) = *key;
	}
	if ((status->flags & BH_NIC_DEPARTING) && !depart_has_vm(o->moves, key->vm)) {
		*bh_vec_push(&o->departing) = *key;
	}
}

/* A hostd before us may have ended in the middle of a move that is over by now. */
static void clear_orphans(struct hostd_moves *moves, uint64_t now_ns)
{
	struct hostd_agent *agent = moves->agent;
	struct orphans o = {.moves = moves};
	struct bh_diag diag = {};
	int err = 0;

	moves->orphans_done = true;
	hostd_dp_each_nic(agent->dp, find_orphan, &o);
	bh_vec_foreach (key, &o.arriving) {
		/* its last changes never came, or nobody can say that they did */
		hostd_takeover_add(agent, key, now_ns);
		err = hostd_dp_nic_set_flags(agent->dp, key, BH_NIC_ARRIVING | BH_NIC_PICKUP,
					     BH_NIC_PICKUP, &diag);
	}
	bh_vec_foreach (key, &o.departing) {
		struct hostd_dp_move_nics one = {.count = 1};

		one.keys[0] = *key;
		err = hostd_dp_journal_set(agent->dp, &one, false, &diag);
	}
	if (err < 0) {
		bh_log_limited(BH_LOG_ERROR, "capsule", 3, "%s", diag.text);
	}
	if (o.arriving.count || o.departing.count) {
		bh_log(BH_LOG_WARN, "capsule", "%zu NICs were marked by moves that are over",
		       o.arriving.count + o.departing.count);
		hostd_agent_dirty(agent);
	}
	bh_vec_done(&o.arriving);
	bh_vec_done(&o.departing);
}

static void on_tick(uv_timer_t *timer)
{
	struct hostd_moves *moves = timer->data;
	uint64_t now = bh_time_mono_ns();

	arrive_tick(moves, now);
	depart_tick(moves, now);
	if (!moves->orphans_done && now - moves->begun_ns >= ORPHAN_NS) {
		clear_orphans(moves, now);
	}
	moves_timers(moves);
}

static void on_journal(uv_poll_t *poll, int status, int events)
{
	depart_journal(poll->data, false);
}

void moves_timers(struct hostd_moves *moves)
{
	bool any = moves->arrivals || moves->departures || !moves->orphans_done;

	if (moves->stopping) {
		return;
	}
	if (any && !uv_is_active((uv_handle_t *)&moves->tick)) {
		uv_timer_start(&moves->tick, on_tick, MOVE_TICK_MS, MOVE_TICK_MS);
	} else if (!any) {
		uv_timer_stop(&moves->tick);
	}
	if (arrive_working(moves) || depart_working(moves)) {
		uv_idle_start(&moves->slices, on_slices);
	} else {
		uv_idle_stop(&moves->slices);
	}
	if (moves->journal_open && moves->departures) {
		uv_poll_start(&moves->journal, UV_READABLE, on_journal);
	} else if (moves->journal_open) {
		uv_poll_stop(&moves->journal);
	}
}

/* ---- what is asked ---- */

bool hostd_moves_command(struct hostd_agent *agent, struct bh_bus_request *req, const char *type,
			 const struct bh_bus_msg *msg)
{
	if (!strcmp(type, "depart")) {
		depart_command(agent->moves, req, msg);
	} else if (!strcmp(type, "depart-end")) {
		depart_command_end(agent->moves, req, msg);
	} else if (!strcmp(type, "arrive-end")) {
		arrive_command_end(agent->moves, req, msg);
	} else {
		return false;
	}
	return true;
}

void hostd_moves_peer(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	struct hostd_agent *agent = arg;
	const char *type = bh_json_str_or(msg->json, "type", "");

	if (!strcmp(type, "start")) {
		depart_start(agent->moves, req, msg);
	} else if (!strcmp(type, "part")) {
		arrive_part(agent->moves, req, msg);
	} else if (!hostd_alone_peer(agent, req, type, msg)) {
		bh_bus_reply_error(req, "unknown", "unknown request '%.40s'", type);
	}
}

/* ---- what happens ---- */

void hostd_moves_event(struct hostd_agent *agent, const uint8_t uuid[16], enum hostd_vm_event event,
		       enum hostd_vm_detail detail)
{
	depart_event(agent->moves, uuid, event, detail);
	arrive_event(agent->moves, uuid, event, detail);
}

void hostd_moves_ended(struct hostd_agent *agent, const uint8_t uuid[16])
{
	depart_ended(agent->moves, uuid);
	arrive_ended(agent->moves, uuid);
}

void hostd_moves_poke(struct hostd_agent *agent)
{
	if (agent->moves && agent->moves->arrivals) {
		arrive_poke(agent->moves);
	}
}

void hostd_moves_before(struct hostd_agent *agent, const struct bh_image *next)
{
	if (agent->moves && agent->moves->departures) {
		depart_before(agent->moves, next);
	}
}

void hostd_moves_listed(struct hostd_agent *agent, const json_t *migrations)
{
	size_t i;
	json_t *item;

	if (!json_is_array(migrations)) {
		return;
	}
	depart_unlisted(agent->moves, migrations);
	arrive_unlisted(agent->moves, migrations);
	json_array_foreach (migrations, i, item) {
		if (!strcmp(bh_json_str_or(item, "role", ""), "source")) {
			depart_listed(agent->moves, item);
		} else {
			arrive_listed(agent->moves, item);
		}
	}
}

json_t *hostd_moves_json(struct hostd_agent *agent)
{
	json_t *list = json_array();

	if (agent->moves) {
		arrive_json(agent->moves, list);
		depart_json(agent->moves, list);
	}
	return list;
}

/* ---- life ---- */

struct hostd_moves *hostd_moves_new(struct hostd_agent *agent)
{
	struct hostd_moves *moves = bh_alloc(sizeof(*moves));
	int fd = hostd_dp_journal_fd(agent->dp);

	moves->agent = agent;
	crypto_shorthash_keygen(moves->hash_key);
	moves->begun_ns = bh_time_mono_ns();
	if (uv_timer_init(agent->loop, &moves->tick) || uv_idle_init(agent->loop, &moves->slices)) {
		abort(); /* cannot fail: it only fills memory */
	}
	moves->tick.data = moves->slices.data = moves->journal.data = moves;
	moves->journal_open = fd >= 0 && !uv_poll_init(agent->loop, &moves->journal, fd);
	if (!moves->journal_open) {
		bh_log(BH_LOG_ERROR, "capsule", "changes of connections can't be followed here");
	}
	moves_timers(moves);
	return moves;
}

void hostd_moves_stop(struct hostd_moves *moves)
{
	if (!moves) {
		return;
	}
	moves->stopping = true;
	arrive_stop(moves);
	depart_stop(moves);
	uv_close((uv_handle_t *)&moves->tick, NULL);
	uv_close((uv_handle_t *)&moves->slices, NULL);
	if (moves->journal_open) {
		uv_close((uv_handle_t *)&moves->journal, NULL);
	}
}

void hostd_moves_free(struct hostd_moves *moves)
{
	if (moves) {
		arrive_free(moves);
		depart_free(moves);
		free(moves);
	}
}
