/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM that leaves sends to its target; theory of operation in depart.h. */
#include "host/capsule/depart.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/log.h"
#include "bus/pki_sign.h"
#include "bus/subject.h"

#include <errno.h>

/* Of a part. Smaller ones than could be: the target imports one while the next is on its way, and
 * its loop turns in between. */
#define PART_RECORDS 1024

BH_COUNTER(capsule_parts_sent, "parts of capsules that the target has taken");
BH_COUNTER(capsule_parts_failed, "parts of capsules that the target did not take");
BH_COUNTER(capsule_pushes, "capsules that were begun, repeats included");
BH_COUNTER(capsule_too_many, "connections left out of a capsule because it was full");

/* A part on its way. The departure may end meanwhile. */
struct flight {
	struct departure *d;
	uint32_t push;
	size_t size;
};

/* ---- parts ---- */

static void broken(struct departure *d, uint64_t wait_ns)
{
	push_stop(d);
	d->broken = true;
	d->retry_ns = bh_time_mono_ns() + wait_ns;
	moves_timers(d->moves);
}

static struct bh_capsule_writer *writer(struct departure *d)
{
	struct bh_capsule_head head = {.seq = d->seq};

	if (!d->writer) {
		memcpy(head.migration, d->id, sizeof(head.migration));
		memcpy(head.vm, d->uuid, sizeof(head.vm));
		snprintf(head.source, sizeof(head.source), "%s", d->moves->agent->name);
		snprintf(head.target, sizeof(head.target), "%s", d->target);
		head.cert = d->cert;
		head.cert_size = d->cert_size;
		d->writer = bh_capsule_writer_new(&head);
	}
	return d->writer;
}

/* The part that is being filled goes out as soon as the window lets it. */
static void cut(struct departure *d)
{
	struct depart_part *part = bh_vec_push(&d->ready);

	part->writer = bh_steal(&d->writer);
	part->seq = d->seq++;
}

static void on_part(int err, const struct bh_bus_msg *reply, void *arg);

static bool send_part(struct departure *d, struct depart_part *part, struct bh_bus *bus)
{
	char subject[BH_SUBJECT_SIZE];
	struct bh_bus_msg msg = {};
	struct bh_diag diag = {};
	struct flight *flight;

	if (bh_capsule_finish(part->writer, bh_pki_sign, d->signer, &part->data, &part->size,
			      &diag)) {
		bh_log_limited(BH_LOG_ERROR, "capsule", 3, "part %u for %s: %s", part->seq,
			       d->target, diag.text);
		return false;
	}
	flight = bh_alloc(sizeof(*flight));
	flight->d = d;
	flight->push = d->push;
	flight->size = part->size;
	msg.json = json_pack("{s:s, s:s, s:I}", "type", "part", "migration", d->id_text, "seq",
			     (json_int_t)part->seq);
	msg.bytes = part->data;
	msg.size = part->size;
	d->refs++;
	d->unanswered++;
	bh_bus_request(bus, bh_subject_peer(d->target, d->moves->agent->name, subject), &msg,
		       MOVE_PEER_MS, on_part, flight);
	json_decref(msg.json);
	return true;
}

static void send_ready(struct departure *d)
{
	struct bh_bus *bus = move_bus(d->moves->agent);
	size_t sent = 0;
	bool ok = bus != NULL;

	while (ok && sent < d->ready.count && d->unanswered < PUSH_WINDOW) {
		ok = send_part(d, &d->ready.items[sent], bus);
		bh_capsule_writer_free(d->ready.items[sent].writer);
		sent++;
	}
	if (sent) {
		d->ready.count -= sent;
		memmove(d->ready.items, d->ready.items + sent,
			d->ready.count * sizeof(*d->ready.items));
	}
	if (!ok) {
		broken(d, MOVE_RETRY_NS);
	}
}

void push_flush(struct departure *d)
{
	if (d->broken || !d->asked) {
		return;
	}
	/* while a part is under way the next one gathers; at the end nothing waits */
	if (d->writer && bh_capsule_writer_records(d->writer) && d->phase != DEPART_WHOLE &&
	    (!d->unanswered || d->phase != DEPART_FOLLOW)) {
		cut(d);
	}
	send_ready(d);
	moves_timers(d->moves); /* a walk goes on when the window is open */
}

static void on_part(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct flight *flight = arg;
	struct departure *d = flight->d;
	bool current = d->moves && flight->push == d->push && !d->broken;

	if (current && !err) {
		bh_counter_add(&capsule_parts_sent, 1);
		d->unanswered--;
		d->parts++;
		d->bytes += flight->size;
		if (d->phase == DEPART_FINAL && !d->unanswered && !d->ready.count) {
			bh_log(BH_LOG_INFO, "capsule", "VM of move %s: %s has it all", d->id_text,
			       d->target);
		}
		push_flush(d);
	} else if (current && err != -ECANCELED) {
		const char *code = bh_bus_reply_code(err, reply);

		bh_counter_add(&capsule_parts_failed, 1);
		bh_log_limited(BH_LOG_WARN, "capsule", 3, "%s does not take a part of move %s: %s",
			       d->target, d->id_text, bh_bus_reply_text(err, reply));
		/* it started anew and does not know yet, or it is over and we do not know yet */
		broken(d, strcmp(code, "unknown") ? MOVE_RETRY_NS : 5 * MOVE_RETRY_NS);
	}
	free(flight);
	departure_unref(d);
}

/* ---- records ---- */

#define PUT(d, put, record)                                                                        \
	do {                                                                                       \
		if (!put(writer(d), record)) {                                                     \
			cut(d);                                                                    \
			(void)put(writer(d), record); /* an empty part holds any record */         \
		}                                                                                  \
	} while (0)

static uint64_t mix(uint64_t print, uint64_t value)
{
	return (print ^ value) * 0x9e3779b97f4a7c15ull + (print >> 29);
}

/* Of everything but ages: what makes it worth to be sent again. */
static uint64_t print_of(const struct bh_capsule_conn *c)
{
	uint64_t print = mix(c->state, (uint64_t)c->flags << 32 | (uint64_t)c->row_flags << 16 |
					       c->timeout_s);

	for (int i = 0; i < 2; i++) {
		print = mix(print, c->packets[i]);
		print = mix(print, (uint64_t)c->identity[i] << 32 | c->rule[i]);
		print = mix(print, (uint64_t)c->nic[i] << 8 | c->charged);
	}
	return print;
}

static struct move_sent *find_sent(struct departure *d, const struct bh_capsule_tuple *tuple)
{
	struct move_sent *sent;
	struct move_key key;

	move_key_set(&key, tuple);
	HASH_FIND_BYHASHVALUE(hh, d->sent, &key, sizeof(key), move_key_hash(d->moves, &key), sent);
	return sent;
}

static void forget_sent(struct departure *d, struct move_sent *sent)
{
	bh_hash_sub(&d->sum, &sent->hash);
	HASH_DEL(d->sent, sent);
	free(sent);
}

void push_conn(struct departure *d, const struct bh_capsule_conn *conn)
{
	struct move_sent *sent;
	uint64_t print = print_of(conn);

	if (d->broken || !d->asked || d->phase == DEPART_FINAL) {
		return; /* the next walk brings it */
	}
	sent = find_sent(d, &conn->tuple);
	if (sent && sent->print == print) {
		sent->walk = d->walk_no;
		return;
	}
	if (sent) {
		bh_hash_sub(&d->sum, &sent->hash);
	} else if (HASH_COUNT(d->sent) >= BH_CAPSULE_CONNS_MAX) {
		bh_counter_add(&capsule_too_many, 1);
		return;
	} else {
		sent = bh_alloc(sizeof(*sent));
		move_key_set(&sent->key, &conn->tuple);
		HASH_ADD_BYHASHVALUE(hh, d->sent, key, sizeof(sent->key),
				     move_key_hash(d->moves, &sent->key), sent);
	}
	bh_capsule_conn_hash(d->hasher, conn, &sent->hash);
	bh_hash_add(&d->sum, &sent->hash);
	sent->print = print;
	sent->walk = d->walk_no;
	d->conns++;
	PUT(d, bh_capsule_put_conn, conn);
	if (bh_capsule_writer_records(d->writer) >= PART_RECORDS) {
		cut(d);
	}
}

void push_gone(struct departure *d, const struct bh_capsule_tuple *tuple)
{
	struct move_sent *sent;

	if (d->broken || !d->asked || d->phase == DEPART_FINAL) {
		return;
	}
	sent = find_sent(d, tuple);
	if (sent) { /* else the target never heard of it */
		forget_sent(d, sent);
		d->gones++;
		PUT(d, bh_capsule_put_gone, tuple);
	}
}

static void put_mark(struct departure *d, uint8_t phase)
{
	struct bh_capsule_mark mark = {
		.phase = phase, .connections = (uint32_t)HASH_COUNT(d->sent), .hash = d->sum};

	PUT(d, bh_capsule_put_mark, &mark);
	cut(d);
}

/* One that the image does not have is not named. */
static void put_segment(struct departure *d, const char *name)
{
	const struct bh_segment *seg = bh_image_get(hostd_state_image(d->moves->agent), name);
	struct bh_capsule_segment record = {};

	if (seg) {
		record.hash = *bh_segment_hash(seg);
		snprintf(record.name, sizeof(record.name), "%s", name);
		PUT(d, bh_capsule_put_segment, &record);
	}
}

/* NICs, and what their policy is compiled to. */
static void put_head(struct departure *d)
{
	char uuid[BH_UUID_TEXT_SIZE], name[BH_SEGMENT_NAME_MAX];

	for (size_t i = 0; i < d->nics.count; i++) {
		BH_FREE struct bh_capsule_nic *nic = bh_alloc(sizeof(*nic));
		struct bh_diag diag = {};

		memcpy(nic->mac, d->nics.keys[i].mac, sizeof(nic->mac));
		if (hostd_dp_nic_export(d->moves->agent->dp, &d->nics.keys[i], nic, &diag) < 0) {
			bh_log_limited(BH_LOG_WARN, "capsule", 3, "reading a NIC: %s", diag.text);
		}
		PUT(d, bh_capsule_put_nic, nic);
		put_segment(d, bh_segment_net(nic->net, name));
		put_segment(d, bh_segment_set(nic->identity, BH_DIR_EGRESS, name));
		put_segment(d, bh_segment_set(nic->identity, BH_DIR_INGRESS, name));
	}
	bh_uuid_format(d->uuid, uuid);
	put_segment(d, bh_segment_vm(uuid, name));
}

/* ---- a push ---- */

void push_stop(struct departure *d)
{
	struct move_sent *sent, *next;

	hostd_dp_walk_free(bh_steal(&d->walk));
	bh_capsule_writer_free(bh_steal(&d->writer));
	bh_vec_foreach (part, &d->ready) {
		bh_capsule_writer_free(part->writer);
	}
	bh_vec_done(&d->ready);
	HASH_ITER (hh, d->sent, sent, next) {
		HASH_DEL(d->sent, sent);
		free(sent);
	}
	memset(&d->sum, 0, sizeof(d->sum));
	bh_hasher_free(bh_steal(&d->hasher));
	bh_pki_signer_free(bh_steal(&d->signer));
	free(bh_steal(&d->cert));
	d->push++;
	d->unanswered = 0;
	d->seq = 0;
	d->again = false;
}

/* The pair may have been renewed since the last push. */
static int load_pair(struct departure *d, struct bh_diag *diag)
{
	const char *dir = d->moves->agent->config->state_dir;
	BH_FREE char *key = bh_asprintf("%s/pki/key.pem", dir);
	BH_FREE char *cert = bh_asprintf("%s/pki/cert.pem", dir);
	int err = bh_file_read(cert, BH_CAPSULE_PEM_MAX, &d->cert, &d->cert_size, diag);

	return err ? err : bh_pki_signer_open(key, &d->signer, diag);
}

/* Of what the target was told. */
static struct hostd_dp_walk *walk_sent(struct departure *d)
{
	size_t count = 0;
	struct bh_capsule_tuple *tuples = bh_alloc_array(HASH_COUNT(d->sent), sizeof(*tuples));
	struct move_sent *sent, *next;

	HASH_ITER (hh, d->sent, sent, next) {
		tuples[count++] = sent->key.tuple;
	}
	return hostd_dp_walk_of(d->moves->agent->dp, &d->nics, tuples, count);
}

static void walk_begin(struct departure *d)
{
	struct hostd_dp *dp = d->moves->agent->dp;

	hostd_dp_walk_free(bh_steal(&d->walk));
	if (d->phase == DEPART_LAST && !d->lost &&
	    hostd_dp_walk_is_short(dp, HASH_COUNT(d->sent))) {
		d->walk = walk_sent(d);
	} else {
		d->walk = hostd_dp_walk_new(dp, &d->nics);
		d->lost = false;
	}
	d->walk_no++;
	d->walks++;
	d->walk_last = d->gone;
	d->again = false;
	moves_timers(d->moves);
}

void push_begin(struct departure *d)
{
	struct bh_diag diag = {};

	push_stop(d);
	d->broken = false;
	if (load_pair(d, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "capsule", 3, "own key and certificate: %s",
			       diag.text);
		broken(d, 5 * MOVE_RETRY_NS);
		return;
	}
	bh_counter_add(&capsule_pushes, 1);
	d->pushes++;
	d->hasher = bh_hasher_new();
	d->phase = DEPART_WHOLE;
	put_head(d);
	walk_begin(d);
}

void push_walk(struct departure *d)
{
	if (d->broken || !d->asked) {
		return; /* the next push is whole */
	}
	if (d->walk || d->phase == DEPART_WHOLE) {
		d->again = true; /* what this one has passed by */
	} else {
		d->phase = d->gone ? DEPART_LAST : DEPART_FOLLOW;
		walk_begin(d);
	}
}

/* What this walk did not meet, and the journal did not name meanwhile, is not there any more. */
static void sweep(struct departure *d)
{
	struct move_sent *sent, *next;

	HASH_ITER (hh, d->sent, sent, next) {
		if (sent->walk != d->walk_no) {
			struct move_key key = sent->key;

			push_gone(d, &key.tuple);
		}
	}
}

static void walk_over(struct departure *d)
{
	uint64_t ms = (bh_time_mono_ns() - d->begun_ns) / BH_NS_PER_MS;

	hostd_dp_walk_free(bh_steal(&d->walk));
	depart_journal(d->moves, true); /* what changed meanwhile belongs before the mark */
	if (d->broken) {
		return;
	}
	sweep(d);
	if (d->phase == DEPART_WHOLE) {
		put_mark(d, BH_CAPSULE_WHOLE);
		d->whole_ns = ms * BH_NS_PER_MS;
		d->phase = DEPART_FOLLOW;
	}
	if (d->again || d->gone != d->walk_last) {
		d->phase = d->gone ? DEPART_LAST : DEPART_FOLLOW;
		walk_begin(d);
	} else if (d->gone) {
		put_mark(d, BH_CAPSULE_FINAL);
		d->final_ns = ms * BH_NS_PER_MS;
		d->phase = DEPART_FINAL;
	}
	push_flush(d);
}

bool push_working(const struct departure *d)
{
	return d->walk && !d->broken && !d->ready.count;
}

static void on_walked(const struct bh_capsule_conn *conn, void *arg)
{
	push_conn(arg, conn);
}

void push_slice(struct departure *d)
{
	uint64_t end = bh_time_mono_ns() + MOVE_SLICE_NS;
	struct bh_diag diag = {};
	int err = HOSTD_DP_MORE;

	while (err == HOSTD_DP_MORE && bh_time_mono_ns() < end && !d->ready.count) {
		err = hostd_dp_walk_step(d->walk, MOVE_SLICE_STEP, on_walked, d, &diag);
	}
	if (err < 0) {
		bh_log_limited(BH_LOG_ERROR, "capsule", 3, "reading connections: %s", diag.text);
		broken(d, 5 * MOVE_RETRY_NS);
	} else if (err == 0) {
		walk_over(d);
	} else {
		send_ready(d);
	}
}
