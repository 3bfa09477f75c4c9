/* SPDX-License-Identifier: Apache-2.0 */
/* What the source of a VM that comes sends; theory of operation in arrive.h. */
#include "host/capsule/arrive.h"

#include "base/counter.h"
#include "base/log.h"
#include "bus/pki_sign.h"

#include <errno.h>
#include <malloc.h>

#define BATCH_MAX 4096

BH_COUNTER(capsule_parts_taken, "parts of capsules that were imported");
BH_COUNTER(capsule_parts_bad,
	   "parts of capsules that were refused: forged, damaged or out of order");
BH_COUNTER(capsule_parts_full, "parts of capsules that were refused: too many waited");
BH_COUNTER(capsule_imported, "connections that came with VMs");
BH_COUNTER(capsule_no_room, "connections of VMs that came and for which there was no room");
BH_COUNTER(capsule_segments_differ, "rules that source and target of a move hold in two versions");

static void problem(struct arrival *a, int err, const char *text)
{
	if (!a->problem) {
		a->problem = err;
		bh_diag_set(&a->problem_diag, err, "%s", text);
	}
}

/* ---- NICs ---- */

void receive_flags(struct arrival *a, bool arriving)
{
	struct bh_diag diag = {};

	a->arriving = arriving;
	for (size_t i = 0; i < a->nics.count; i++) {
		if (hostd_dp_nic_set_flags(a->moves->agent->dp, &a->nics.keys[i], BH_NIC_ARRIVING,
					   arriving ? BH_NIC_ARRIVING : 0, &diag) < 0) {
			bh_log_limited(BH_LOG_ERROR, "capsule", 3, "marking a NIC: %s", diag.text);
		}
	}
}

static void on_nic(const struct bh_capsule_nic *nic, void *arg)
{
	struct arrival *a = arg;
	struct hostd_dp_nic_status status = {};
	struct hostd_dp_nic_key *key;
	struct hostd_dp *dp = a->moves->agent->dp;
	struct bh_diag diag = {};

	if (a->problem || a->nics.count >= BH_CAPSULE_NICS_MAX) {
		problem(a, -EBADMSG, "too many NICs");
		return;
	}
	key = &a->nics.keys[a->nics.count++];
	memset(key, 0, sizeof(*key));
	memcpy(key->vm, a->uuid, sizeof(key->vm));
	memcpy(key->mac, nic->mac, sizeof(key->mac));
	if (hostd_dp_nic_status(dp, key, &status, &diag) < 0 || !status.index) {
		problem(a, -ENOENT, "the rules that came name fewer NICs than its source has");
	} else if (!arrival_runs_here(a) && hostd_dp_nic_import(dp, key, nic, &diag) < 0) {
		problem(a, -EIO, diag.text);
	}
}

static void on_segment(const struct bh_capsule_segment *segment, void *arg)
{
	struct arrival *a = arg;
	const struct bh_segment *mine =
		bh_image_get(hostd_state_image(a->moves->agent), segment->name);

	/* The manager has compared; a commit that is on its way to one of us shows here. */
	if (!mine || !bh_hash_equal(bh_segment_hash(mine), &segment->hash)) {
		bh_counter_add(&capsule_segments_differ, 1);
		a->segments_differ++;
	}
}

/* ---- connections ---- */

static void import_batch(struct arrival *a)
{
	struct hostd_dp_import_result result = {};
	struct bh_diag diag = {};
	int err = 0;

	if (a->batch.count && !a->problem) {
		err = hostd_dp_import(a->moves->agent->dp, &a->nics, a->batch.items, a->batch.count,
				      &result, &diag);
	}
	if (err < 0) {
		problem(a, err, diag.text);
	}
	bh_counter_add(&capsule_imported, result.added + result.merged);
	bh_counter_add(&capsule_no_room, result.full + result.quota);
	a->conns += a->batch.count;
	a->batch.count = 0;
	if (result.full) {
		problem(a, -ENOSPC, "the connection table of this host is full");
	} else if (result.quota) {
		problem(a, -ENOSPC,
			"it has more connections than one NIC may have here (connections_per_nic)");
	}
}

static struct move_got *find_got(const struct arrival *a, const struct move_key *key)
{
	struct move_got *got;

	HASH_FIND_BYHASHVALUE(hh, a->got, key, sizeof(*key), move_key_hash(a->moves, key), got);
	return got;
}

static void note(struct arrival *a, const struct bh_capsule_conn *conn)
{
	uint64_t left_ms = (uint64_t)conn->timeout_s * 1000;
	struct move_got *got;
	struct move_key key;

	move_key_set(&key, &conn->tuple);
	got = find_got(a, &key);
	if (!got && HASH_COUNT(a->got) >= BH_CAPSULE_CONNS_MAX) {
		problem(a, -EBADMSG, "too many connections");
		return;
	}
	if (!got) {
		got = bh_alloc(sizeof(*got));
		got->key = key;
		HASH_ADD_BYHASHVALUE(hh, a->got, key, sizeof(got->key),
				     move_key_hash(a->moves, &key), got);
	} else {
		bh_hash_sub(&a->got_sum, &got->hash);
	}
	bh_capsule_conn_hash(a->hasher, conn, &got->hash);
	got->policy_port = conn->policy_port;
	got->opener = conn->flags & BH_CT_ORIG_HI;
	bh_hash_add(&a->got_sum, &got->hash);
	left_ms = left_ms > conn->idle_ms ? left_ms - conn->idle_ms : 0;
	got->until_ns = bh_time_mono_ns() + left_ms * BH_NS_PER_MS;
}

static void on_conn(const struct bh_capsule_conn *conn, void *arg)
{
	struct arrival *a = arg;

	if (conn->nic[0] > a->nics.count || conn->nic[1] > a->nics.count ||
	    conn->charged > a->nics.count) {
		problem(a, -EBADMSG, "a connection of a NIC that did not come");
	}
	if (a->problem) {
		return;
	}
	if (!a->whole) {
		note(a, conn);
	}
	*bh_vec_push(&a->batch) = *conn;
	if (a->batch.count >= BATCH_MAX) {
		import_batch(a);
	}
}

static void on_gone(const struct bh_capsule_tuple *tuple, void *arg)
{
	struct arrival *a = arg;
	struct move_got *got;
	struct move_key key;
	struct bh_diag diag = {};

	import_batch(a); /* in the order in which they came */
	move_key_set(&key, tuple);
	got = find_got(a, &key);
	if (got && !a->whole) {
		bh_hash_sub(&a->got_sum, &got->hash);
		HASH_DEL(a->got, got);
		free(got);
	}
	if (!a->problem &&
	    hostd_dp_import_gone(a->moves->agent->dp, &a->nics, tuple, 1, &diag) < 0) {
		problem(a, -EIO, diag.text);
	}
}

static void on_mark(const struct bh_capsule_mark *mark, void *arg)
{
	struct arrival *a = arg;

	import_batch(a);
	if (mark->phase == BH_CAPSULE_FINAL) {
		a->final = true;
		return;
	}
	a->mark = *mark;
	a->whole = true;
	if (mark->connections != HASH_COUNT(a->got) || !bh_hash_equal(&mark->hash, &a->got_sum)) {
		problem(a, -EBADMSG, "the connections that came are not those that the mark names");
	}
}

/* ---- a part ---- */

static void got_clear(struct arrival *a)
{
	struct move_got *got, *next;

	HASH_ITER (hh, a->got, got, next) {
		HASH_DEL(a->got, got);
		free(got);
	}
	memset(&a->got_sum, 0, sizeof(a->got_sum));
}

/* The source begins anew: with its certificate, and nothing that was noted before. */
static int begin_push(struct arrival *a, const struct bh_capsule_head *head, struct bh_diag *diag)
{
	const struct hostd_agent *agent = a->moves->agent;
	BH_FREE char *ca = bh_asprintf("%s/pki/ca.pem", agent->config->state_dir);
	BH_FREE char *name = bh_asprintf("host.%s", a->source);
	struct bh_pki_verifier *verifier = NULL;
	int err = bh_pki_verifier_open(ca, head->cert, head->cert_size, name, &verifier, diag);

	if (err) {
		return err;
	}
	bh_pki_verifier_free(a->verifier);
	a->verifier = verifier;
	return 0;
}

static void begin_records(struct arrival *a)
{
	got_clear(a);
	if (!a->hasher) {
		a->hasher = bh_hasher_new();
	}
	a->nics.count = 0;
	a->whole = false;
	a->final &= arrival_runs_here(a); /* what was closed is not opened again */
}

static int verify(const struct bh_capsule_head *head, const struct bh_capsule_signed *given,
		  void *arg, struct bh_diag *diag)
{
	struct arrival *a = arg;
	int err = 0;

	if (memcmp(head->migration, a->id, sizeof(a->id)) != 0 ||
	    memcmp(head->vm, a->uuid, sizeof(a->uuid)) != 0 ||
	    strcmp(head->source, a->source) != 0 ||
	    strcmp(head->target, a->moves->agent->name) != 0) {
		return bh_diag_set(diag, -EBADMSG, "it is of another move");
	}
	if (head->seq && (head->seq != a->next_seq || !a->verifier)) {
		return bh_diag_set(diag, -EBADMSG, "part %u came where part %u belongs", head->seq,
				   a->next_seq);
	}
	if (!head->seq) {
		err = begin_push(a, head, diag);
	}
	if (!err) {
		err = bh_pki_verify(a->verifier, given->data, given->size, given->sig,
				    given->sig_size, diag);
	}
	if (!err && !head->seq) {
		begin_records(a);
	}
	return err;
}

/* The mark is there: what does the kernel hold? */
static void read_begin(struct arrival *a)
{
	struct move_got *got, *next;

	HASH_ITER (hh, a->got, got, next) {
		got->seen = false;
	}
	memset(&a->read_sum, 0, sizeof(a->read_sum));
	a->read_count = a->expired = 0;
	a->extra.count = 0;
	a->walk = hostd_dp_walk_new(a->moves->agent->dp, &a->nics);
	if (a->phase == ARRIVE_SOURCE) {
		a->phase = ARRIVE_READBACK;
	}
	moves_timers(a->moves);
}

static void take(struct arrival *a, struct bh_bus_request *req, const void *data, size_t size)
{
	const struct bh_capsule_handlers handlers = {.verify = verify,
						     .nic = on_nic,
						     .segment = on_segment,
						     .conn = on_conn,
						     .gone = on_gone,
						     .mark = on_mark,
						     .arg = a};
	bool was_whole = a->whole, was_final = a->final;
	struct bh_capsule_head head = {};
	struct bh_diag diag = {};
	int err;

	a->problem = 0;
	err = bh_capsule_read(data, size, &handlers, &head, &diag);
	if (!err) {
		import_batch(a);
		err = a->problem;
		diag = a->problem_diag;
	}
	if (err == -ENOSPC && a->phase >= ARRIVE_REPORT) {
		bh_log_limited(BH_LOG_WARN, "capsule", 3, "VM %s: %s", a->name, diag.text);
		err = 0; /* it comes anyway; what had no room is counted */
	}
	if (err) {
		bh_counter_add(&capsule_parts_bad, 1);
		bh_log_limited(BH_LOG_WARN, "capsule", 5, "a part from %s of VM %s: %s", a->source,
			       a->name, diag.text);
		a->next_seq = UINT32_MAX; /* only part 0 can follow */
		bh_bus_reply_error(req, err == -ENOSPC ? "full" : "bad", "%s", diag.text);
		if (err == -ENOSPC || err == -ENOENT) {
			arrival_fail(a, "%s", diag.text);
		}
		return;
	}
	bh_counter_add(&capsule_parts_taken, 1);
	a->parts++;
	a->bytes += size;
	a->next_seq = head.seq + 1;
	bh_bus_reply(req, json_pack("{s:I}", "seq", (json_int_t)head.seq));
	if (!a->arriving && !a->final && !a->cut) {
		receive_flags(a, true);
	}
	if (a->whole && (!was_whole || !head.seq)) {
		read_begin(a);
	}
	if (a->final && (!was_final || !head.seq)) {
		arrival_final(a);
	}
}

void receive_part(struct arrival *a, struct bh_bus_request *req, const void *data, size_t size)
{
	struct arrive_held *held;

	if (!a->walk) {
		take(a, req, data, size);
	} else if (a->held.count >= ARRIVE_HELD_MAX) {
		bh_counter_add(&capsule_parts_full, 1);
		bh_bus_reply_error(req, "full", "%u parts wait here", ARRIVE_HELD_MAX);
	} else {
		held = bh_vec_push(&a->held);
		held->req = req;
		held->data = bh_memdup(data, size);
		held->size = size;
	}
}

/* ---- reading back ---- */

static void on_read(const struct bh_capsule_conn *conn, void *arg)
{
	struct arrival *a = arg;
	struct bh_hash hash;
	struct move_got *got;
	struct move_key key;

	move_key_set(&key, &conn->tuple);
	got = find_got(a, &key);
	if (!got) {
		*bh_vec_push(&a->extra) = key.tuple;
	} else if (!got->seen) {
		got->seen = true;
		if (conn->policy_port == got->policy_port &&
		    (conn->flags & BH_CT_ORIG_HI) == got->opener) {
			hash = got->hash; /* it is over these: no need to do it once more */
		} else {
			bh_capsule_conn_hash(a->hasher, conn, &hash);
		}
		bh_hash_add(&a->read_sum, &hash);
		a->read_count++;
	}
}

/* What ended by itself since it came is neither missing nor in the mark any more. */
static size_t count_missing(struct arrival *a)
{
	struct move_got *got, *next;
	uint64_t now = bh_time_mono_ns();
	size_t missing = 0;

	HASH_ITER (hh, a->got, got, next) {
		if (got->seen) {
			continue;
		}
		if (got->until_ns > now) {
			missing++;
		} else {
			a->expired++;
			a->mark.connections--;
			bh_hash_sub(&a->mark.hash, &got->hash);
		}
	}
	return missing;
}

static void read_over(struct arrival *a)
{
	size_t missing = count_missing(a), came = HASH_COUNT(a->got);
	struct bh_diag diag = {};

	if (a->extra.count && !arrival_runs_here(a) &&
	    hostd_dp_import_gone(a->moves->agent->dp, &a->nics, a->extra.items, a->extra.count,
				 &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "capsule", 3, "taking out connections: %s", diag.text);
	}
	bh_vec_done(&a->extra);
	got_clear(a);
	malloc_trim(0); /* megabytes, where there were many connections */
	if (missing) {
		arrival_fail(a, "%zu of its %zu connections are not in this host's kernel", missing,
			     came);
	} else if (a->phase == ARRIVE_READBACK) {
		arrival_installed(a);
	}
}

bool receive_working(const struct arrival *a)
{
	return a->walk != NULL;
}

void receive_slice(struct arrival *a)
{
	uint64_t end = bh_time_mono_ns() + MOVE_SLICE_NS;
	struct bh_diag diag = {};
	int err = HOSTD_DP_MORE;

	while (err == HOSTD_DP_MORE && bh_time_mono_ns() < end) {
		err = hostd_dp_walk_step(a->walk, MOVE_SLICE_STEP, on_read, a, &diag);
	}
	if (err == HOSTD_DP_MORE) {
		return;
	}
	hostd_dp_walk_free(bh_steal(&a->walk));
	a->refs++; /* both may end it */
	if (err < 0) {
		arrival_fail(a, "reading back its connections: %s", diag.text);
	} else {
		read_over(a);
	}
	while (a->moves && !a->walk && a->held.count) {
		struct arrive_held held = a->held.items[0];

		a->held.count--;
		memmove(a->held.items, a->held.items + 1, a->held.count * sizeof(held));
		take(a, held.req, held.data, held.size);
		free(held.data);
	}
	arrival_unref(a);
}

void receive_stop(struct arrival *a)
{
	hostd_dp_walk_free(bh_steal(&a->walk));
	got_clear(a);
	bh_hasher_free(bh_steal(&a->hasher));
	bh_pki_verifier_free(bh_steal(&a->verifier));
	bh_vec_done(&a->extra);
	bh_vec_done(&a->batch);
	bh_vec_foreach (held, &a->held) {
		bh_bus_reply_error(held->req, "unknown", "the move is over");
		free(held->data);
	}
	bh_vec_done(&a->held);
}

json_t *receive_receipt(const struct arrival *a)
{
	char hash[2 * BH_HASH_SIZE + 1], mark[2 * BH_HASH_SIZE + 1];

	bh_hash_format(&a->read_sum, hash);
	bh_hash_format(&a->mark.hash, mark);
	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:{s:I, s:s}}", "connections",
			 (json_int_t)a->read_count, "hash", hash, "bytes", (json_int_t)a->bytes,
			 "ms", (json_int_t)((bh_time_mono_ns() - a->started_ns) / BH_NS_PER_MS),
			 "expired", (json_int_t)a->expired, "mark", "connections",
			 (json_int_t)a->mark.connections, "hash", mark);
}
