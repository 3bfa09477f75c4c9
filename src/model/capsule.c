/* SPDX-License-Identifier: Apache-2.0 */
#include "model/capsule.h"

#include "base/util.h"

#include <errno.h>

#define MAGIC	    "BHC1"
#define FIXED_SIZE  12 /* magic, version, head size, records size */
#define HEAD_AT	    6  /* where these two sizes stand */
#define RECORDS_AT  8
#define RECORD_HEAD 3	 /* type, size */
#define RECORD_MAX  2048 /* a NIC with all its addresses is the largest */
#define TUPLE_SIZE  45

_Static_assert(BH_CAPSULE_ADDRS_MAX * 28 + 64 <= RECORD_MAX, "a NIC fits into a record");

/* ---- tuples and hash ---- */
static void put_tuple(struct bh_wbuf *w, const struct bh_capsule_tuple *t)
{
	bh_wbuf_u32(w, t->net);
	bh_wbuf_u32(w, t->vlan);
	bh_wbuf_put(w, t->lo, 16);
	bh_wbuf_put(w, t->hi, 16);
	bh_wbuf_u16(w, t->lo_port);
	bh_wbuf_u16(w, t->hi_port);
	bh_wbuf_u8(w, t->proto);
}

static void check(struct bh_rbuf *r, bool good)
{
	if (!good) {
		r->err = -EBADMSG;
	}
}

static void read_tuple(struct bh_rbuf *r, struct bh_capsule_tuple *t)
{
	int order;

	t->net = bh_rbuf_u32(r);
	t->vlan = bh_rbuf_u32(r);
	bh_rbuf_copy(r, t->lo, 16);
	bh_rbuf_copy(r, t->hi, 16);
	t->lo_port = bh_rbuf_u16(r);
	t->hi_port = bh_rbuf_u16(r);
	t->proto = bh_rbuf_u8(r);
	order = memcmp(t->lo, t->hi, 16);
	check(r, order < 0 || (!order && t->lo_port <= t->hi_port));
	check(r, bh_addr_is_v4(t->lo) == bh_addr_is_v4(t->hi));
}

void bh_capsule_conn_hash(struct bh_hasher *hasher, const struct bh_capsule_conn *conn,
			  struct bh_hash *ret)
{
	uint8_t bytes[TUPLE_SIZE + 3];
	struct bh_wbuf w = {.data = bytes, .capacity = sizeof(bytes), .limit = sizeof(bytes)};

	put_tuple(&w, &conn->tuple);
	bh_wbuf_u8(&w, conn->flags & 1); /* BH_CT_ORIG_HI */
	bh_wbuf_u16(&w, conn->policy_port);
	bh_hasher_bytes(hasher, w.data, w.size, ret);
}

/* ---- writing ---- */
struct bh_capsule_writer {
	struct bh_wbuf w;
	size_t head_size;
	size_t records;
	int err; /* of the head */
	bool finished;
};

static void put_name(struct bh_wbuf *w, const char *name)
{
	bh_wbuf_u8(w, (uint8_t)strlen(name));
	bh_wbuf_str(w, name);
}

struct bh_capsule_writer *bh_capsule_writer_new(const struct bh_capsule_head *head)
{
	struct bh_capsule_writer *writer = bh_alloc(sizeof(*writer));
	struct bh_wbuf *w = &writer->w;
	size_t cert_size = head->seq ? 0 : head->cert_size;

	if (!bh_name_valid(head->source) || !bh_name_valid(head->target) ||
	    cert_size > BH_CAPSULE_PEM_MAX) {
		writer->err = -EINVAL;
		return writer;
	}
	bh_wbuf_init(w, BH_CAPSULE_PART_MAX - 2 - BH_CAPSULE_SIG_MAX);
	bh_wbuf_str(w, MAGIC);
	bh_wbuf_u16(w, BH_CAPSULE_VERSION);
	bh_wbuf_u16(w, 0);
	bh_wbuf_u32(w, 0);
	bh_wbuf_put(w, head->migration, 16);
	bh_wbuf_put(w, head->vm, 16);
	bh_wbuf_u32(w, head->seq);
	put_name(w, head->source);
	put_name(w, head->target);
	bh_wbuf_u16(w, (uint16_t)cert_size);
	bh_wbuf_put(w, head->cert, cert_size);
	writer->head_size = w->size - FIXED_SIZE;
	return writer;
}

void bh_capsule_writer_free(struct bh_capsule_writer *w)
{
	if (w) {
		bh_wbuf_done(&w->w);
		free(w);
	}
}

size_t bh_capsule_writer_records(const struct bh_capsule_writer *w)
{
	return w->records;
}

static bool put_record(struct bh_capsule_writer *w, enum bh_capsule_type type,
		       const struct bh_wbuf *body)
{
	if (w->err || w->finished || w->w.limit - w->w.size < RECORD_HEAD + body->size) {
		return false;
	}
	bh_wbuf_u8(&w->w, (uint8_t)type);
	bh_wbuf_u16(&w->w, (uint16_t)body->size);
	bh_wbuf_put(&w->w, body->data, body->size);
	w->records++;
	return true;
}

/* A body on the stack: `struct bh_wbuf b = BODY(bytes);` */
#define BODY(bytes)                                                                                \
	{                                                                                          \
		.data = (bytes), .capacity = sizeof(bytes), .limit = sizeof(bytes)                 \
	}

static void put_ms(struct bh_wbuf *w, uint64_t ms)
{
	bh_wbuf_u64(w, ms > BH_CAPSULE_MS_MAX ? BH_CAPSULE_MS_MAX : ms);
}

bool bh_capsule_put_nic(struct bh_capsule_writer *w, const struct bh_capsule_nic *nic)
{
	uint8_t bytes[RECORD_MAX];
	struct bh_wbuf b = BODY(bytes);
	size_t count = nic->learned_count > BH_CAPSULE_ADDRS_MAX ? BH_CAPSULE_ADDRS_MAX
								 : nic->learned_count;

	bh_wbuf_put(&b, nic->mac, 6);
	bh_wbuf_u32(&b, nic->net);
	bh_wbuf_u32(&b, nic->identity);
	bh_wbuf_u32(&b, nic->tenant);
	bh_wbuf_u32(&b, nic->flags);
	bh_wbuf_u32(&b, nic->answer_tokens);
	bh_wbuf_u32(&b, nic->event_tokens);
	bh_wbuf_u32(&b, nic->suppressed);
	bh_wbuf_u32(&b, nic->bucket_age_ms);
	bh_wbuf_u8(&b, (uint8_t)count);
	for (size_t i = 0; i < count; i++) {
		bh_wbuf_put(&b, nic->learned[i].addr, 16);
		bh_wbuf_u32(&b, nic->learned[i].vlan);
		put_ms(&b, nic->learned[i].left_ms);
	}
	return put_record(w, BH_CAPSULE_NIC, &b);
}

bool bh_capsule_put_segment(struct bh_capsule_writer *w, const struct bh_capsule_segment *segment)
{
	uint8_t bytes[1 + BH_SEGMENT_NAME_MAX + BH_HASH_SIZE];
	struct bh_wbuf b = BODY(bytes);

	put_name(&b, segment->name);
	bh_wbuf_put(&b, segment->hash.bytes, BH_HASH_SIZE);
	return put_record(w, BH_CAPSULE_SEGMENT, &b);
}

bool bh_capsule_put_conn(struct bh_capsule_writer *w, const struct bh_capsule_conn *conn)
{
	uint8_t bytes[256];
	struct bh_wbuf b = BODY(bytes);

	put_tuple(&b, &conn->tuple);
	bh_wbuf_u8(&b, conn->state);
	bh_wbuf_u8(&b, conn->flags & BH_CAPSULE_CONN_FLAGS);
	bh_wbuf_u8(&b, conn->row_flags & BH_CAPSULE_ROW_FLAGS);
	bh_wbuf_put(&b, conn->nic, 2);
	bh_wbuf_u8(&b, conn->charged);
	bh_wbuf_u16(&b, conn->policy_port);
	bh_wbuf_u16(&b, conn->timeout_s);
	for (int i = 0; i < 2; i++) {
		bh_wbuf_u32(&b, conn->identity[i]);
		bh_wbuf_u32(&b, conn->rule[i]);
		bh_wbuf_u64(&b, conn->packets[i]);
		bh_wbuf_u64(&b, conn->bytes[i]);
	}
	put_ms(&b, conn->age_ms);
	put_ms(&b, conn->idle_ms);
	put_ms(&b, conn->own_left_ms[0]);
	put_ms(&b, conn->own_left_ms[1]);
	return put_record(w, BH_CAPSULE_CONN, &b);
}

bool bh_capsule_put_gone(struct bh_capsule_writer *w, const struct bh_capsule_tuple *tuple)
{
	uint8_t bytes[TUPLE_SIZE];
	struct bh_wbuf b = BODY(bytes);

	put_tuple(&b, tuple);
	return put_record(w, BH_CAPSULE_GONE, &b);
}

bool bh_capsule_put_mark(struct bh_capsule_writer *w, const struct bh_capsule_mark *mark)
{
	uint8_t bytes[1 + 4 + BH_HASH_SIZE];
	struct bh_wbuf b = BODY(bytes);

	bh_wbuf_u8(&b, mark->phase);
	bh_wbuf_u32(&b, mark->connections);
	bh_wbuf_put(&b, mark->hash.bytes, BH_HASH_SIZE);
	return put_record(w, BH_CAPSULE_MARK, &b);
}

static void patch(uint8_t *at, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		at[i] = (uint8_t)(value >> (8 * i));
	}
}

int bh_capsule_finish(struct bh_capsule_writer *w, bh_capsule_sign_fn *sign, void *arg,
		      const void **ret_data, size_t *ret_size, struct bh_diag *diag)
{
	uint8_t sig[BH_CAPSULE_SIG_MAX];
	size_t sig_size = 0;
	int r;

	if (w->err) {
		return bh_diag_set(diag, w->err,
				   "a capsule needs the names of two hosts, and a "
				   "certificate of at most %u bytes",
				   BH_CAPSULE_PEM_MAX);
	}
	if (!w->finished) {
		patch(w->w.data + HEAD_AT, w->head_size, 2);
		patch(w->w.data + RECORDS_AT, w->w.size - FIXED_SIZE - w->head_size, 4);
		r = sign(w->w.data, w->w.size, sig, &sig_size, arg, diag);
		if (r) {
			return r;
		}
		w->w.limit = BH_CAPSULE_PART_MAX;
		bh_wbuf_u16(&w->w, (uint16_t)sig_size);
		bh_wbuf_put(&w->w, sig, sig_size);
		w->finished = true;
	}
	*ret_data = w->w.data;
	*ret_size = w->w.size;
	return 0;
}

/* ---- reading ---- */
static uint64_t read_ms(struct bh_rbuf *r)
{
	uint64_t ms = bh_rbuf_u64(r);

	check(r, ms <= BH_CAPSULE_MS_MAX);
	return ms;
}

static void read_nic(struct bh_rbuf *r, const struct bh_capsule_handlers *h)
{
	struct bh_capsule_nic nic = {};

	bh_rbuf_copy(r, nic.mac, 6);
	nic.net = bh_rbuf_u32(r);
	nic.identity = bh_rbuf_u32(r);
	nic.tenant = bh_rbuf_u32(r);
	nic.flags = bh_rbuf_u32(r);
	nic.answer_tokens = bh_rbuf_u32(r);
	nic.event_tokens = bh_rbuf_u32(r);
	nic.suppressed = bh_rbuf_u32(r);
	nic.bucket_age_ms = bh_rbuf_u32(r);
	nic.learned_count = bh_rbuf_u8(r);
	check(r, !(nic.mac[0] & 1) && nic.learned_count <= BH_CAPSULE_ADDRS_MAX);
	for (size_t i = 0; i < nic.learned_count && !r->err; i++) {
		bh_rbuf_copy(r, nic.learned[i].addr, 16);
		nic.learned[i].vlan = bh_rbuf_u32(r);
		nic.learned[i].left_ms = read_ms(r);
	}
	if (!r->err && h && h->nic) {
		h->nic(&nic, h->arg);
	}
}

static void read_segment(struct bh_rbuf *r, const struct bh_capsule_handlers *h)
{
	struct bh_capsule_segment segment = {};
	size_t len = bh_rbuf_u8(r);

	check(r, len && len < sizeof(segment.name));
	if (r->err) {
		return;
	}
	bh_rbuf_copy(r, segment.name, len);
	bh_rbuf_copy(r, segment.hash.bytes, BH_HASH_SIZE);
	for (size_t i = 0; i < len; i++) {
		check(r, segment.name[i] > ' ' && segment.name[i] < 0x7f);
	}
	if (!r->err && h && h->segment) {
		h->segment(&segment, h->arg);
	}
}

static void read_conn(struct bh_rbuf *r, const struct bh_capsule_handlers *h)
{
	struct bh_capsule_conn conn = {};

	read_tuple(r, &conn.tuple);
	conn.state = bh_rbuf_u8(r);
	conn.flags = bh_rbuf_u8(r);
	conn.row_flags = bh_rbuf_u8(r);
	bh_rbuf_copy(r, conn.nic, 2);
	conn.charged = bh_rbuf_u8(r);
	conn.policy_port = bh_rbuf_u16(r);
	conn.timeout_s = bh_rbuf_u16(r);
	for (int i = 0; i < 2; i++) {
		conn.identity[i] = bh_rbuf_u32(r);
		conn.rule[i] = bh_rbuf_u32(r);
		conn.packets[i] = bh_rbuf_u64(r);
		conn.bytes[i] = bh_rbuf_u64(r);
	}
	conn.age_ms = read_ms(r);
	conn.idle_ms = read_ms(r);
	conn.own_left_ms[0] = read_ms(r);
	conn.own_left_ms[1] = read_ms(r);
	check(r, conn.state <= BH_CAPSULE_STATE_MAX && !(conn.flags & ~BH_CAPSULE_CONN_FLAGS) &&
			 !(conn.row_flags & ~BH_CAPSULE_ROW_FLAGS));
	check(r, conn.nic[0] <= BH_CAPSULE_NICS_MAX && conn.nic[1] <= BH_CAPSULE_NICS_MAX &&
			 conn.charged <= BH_CAPSULE_NICS_MAX && (conn.nic[0] || conn.nic[1]));
	if (!r->err && h && h->conn) {
		h->conn(&conn, h->arg);
	}
}

static void read_gone(struct bh_rbuf *r, const struct bh_capsule_handlers *h)
{
	struct bh_capsule_tuple tuple = {};

	read_tuple(r, &tuple);
	if (!r->err && h && h->gone) {
		h->gone(&tuple, h->arg);
	}
}

static void read_mark(struct bh_rbuf *r, const struct bh_capsule_handlers *h)
{
	struct bh_capsule_mark mark = {};

	mark.phase = bh_rbuf_u8(r);
	mark.connections = bh_rbuf_u32(r);
	bh_rbuf_copy(r, mark.hash.bytes, BH_HASH_SIZE);
	check(r, (mark.phase == BH_CAPSULE_WHOLE || mark.phase == BH_CAPSULE_FINAL) &&
			 mark.connections <= BH_CAPSULE_CONNS_MAX);
	if (!r->err && h && h->mark) {
		h->mark(&mark, h->arg);
	}
}

/* h NULL: only checks. */
static void read_records(struct bh_rbuf *r, const struct bh_capsule_handlers *h)
{
	static void (*const readers[])(struct bh_rbuf *, const struct bh_capsule_handlers *) = {
		[BH_CAPSULE_NIC] = read_nic,   [BH_CAPSULE_SEGMENT] = read_segment,
		[BH_CAPSULE_CONN] = read_conn, [BH_CAPSULE_GONE] = read_gone,
		[BH_CAPSULE_MARK] = read_mark,
	};
	size_t nics = 0;

	while (!r->err && bh_rbuf_left(r)) {
		uint8_t type = bh_rbuf_u8(r);
		size_t size = bh_rbuf_u16(r);
		size_t at = r->pos;
		struct bh_rbuf body;

		bh_rbuf_init(&body, bh_rbuf_take(r, size), size);
		if (r->err) {
			r->pos = at;
		} else if (type < BH_ARRAY_SIZE(readers) && readers[type]) {
			readers[type](&body, h);
			nics += type == BH_CAPSULE_NIC;
			if (body.err || nics > BH_CAPSULE_NICS_MAX) {
				r->err = -EBADMSG;
				r->pos = at + body.pos;
			}
		}
	}
}

static void read_name(struct bh_rbuf *r, char name[BH_NAME_MAX + 1])
{
	size_t len = bh_rbuf_u8(r);

	check(r, len <= BH_NAME_MAX);
	if (r->err) {
		return;
	}
	bh_rbuf_copy(r, name, len);
	name[len] = '\0';
	check(r, strlen(name) == len && bh_name_valid(name));
}

static int read_head(struct bh_rbuf *r, struct bh_capsule_head *head)
{
	memset(head, 0, sizeof(*head));
	bh_rbuf_copy(r, head->migration, 16);
	bh_rbuf_copy(r, head->vm, 16);
	head->seq = bh_rbuf_u32(r);
	read_name(r, head->source);
	read_name(r, head->target);
	head->cert_size = bh_rbuf_u16(r);
	check(r, head->cert_size <= BH_CAPSULE_PEM_MAX && !(head->seq && head->cert_size));
	head->cert = bh_rbuf_take(r, head->cert_size);
	if (!head->cert_size) {
		head->cert = NULL;
	}
	return r->err;
}

/* Where everything lies. -EPROTO, -EBADMSG with diag. */
static int read_frame(const void *data, size_t size, struct bh_capsule_head *head,
		      struct bh_rbuf *records, struct bh_capsule_signed *what, struct bh_diag *diag)
{
	struct bh_rbuf r;
	struct bh_rbuf part;
	char magic[4];
	uint16_t version;
	size_t head_size;
	size_t records_size;

	bh_rbuf_init(&r, data, size);
	bh_rbuf_copy(&r, magic, sizeof(magic));
	version = bh_rbuf_u16(&r);
	if (r.err || size > BH_CAPSULE_PART_MAX || memcmp(magic, MAGIC, sizeof(magic))) {
		return bh_diag_set(diag, -EBADMSG, "not a part of a capsule");
	}
	if (version != BH_CAPSULE_VERSION) {
		return bh_diag_set(diag, -EPROTO,
				   "a capsule of version %u, which is not known here", version);
	}
	head_size = bh_rbuf_u16(&r);
	records_size = bh_rbuf_u32(&r);
	bh_rbuf_init(&part, bh_rbuf_take(&r, head_size), head_size);
	bh_rbuf_init(records, bh_rbuf_take(&r, records_size), records_size);
	what->data = data;
	what->size = r.pos;
	what->sig_size = bh_rbuf_u16(&r);
	what->sig = bh_rbuf_take(&r, what->sig_size);
	if (bh_rbuf_finish(&r) || what->sig_size > BH_CAPSULE_SIG_MAX || read_head(&part, head)) {
		return bh_diag_set(diag, -EBADMSG, "a damaged part of a capsule");
	}
	return 0;
}

int bh_capsule_read(const void *data, size_t size, const struct bh_capsule_handlers *handlers,
		    struct bh_capsule_head *ret_head, struct bh_diag *diag)
{
	struct bh_capsule_signed what;
	struct bh_capsule_head head;
	struct bh_rbuf records;
	struct bh_rbuf r;
	int err = read_frame(data, size, &head, &records, &what, diag);

	if (!err) {
		err = handlers->verify(&head, &what, handlers->arg, diag);
	}
	if (err) {
		return err;
	}
	r = records;
	read_records(&r, NULL);
	if (r.err) {
		return bh_diag_set(diag, -EBADMSG,
				   "a part of a capsule is wrong at byte %zu of its records",
				   r.pos);
	}
	read_records(&records, handlers);
	if (ret_head) {
		*ret_head = head;
	}
	return 0;
}
