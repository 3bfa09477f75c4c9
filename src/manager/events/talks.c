/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/talks.h"

#include "base/counter.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/store/db.h"
#include "model/id.h"

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

#define HOUR_S	     3600u
#define DAY_S	     86400u
#define DAYS_DFLT    30
#define ROWS_DFLT    20000000ull
#define HOURS_IN_MEM 32 /* a day back, an hour ahead, and some that wait to be dropped */
#define PRUNE_MAX    20000
#define INDEX_BITS   24 /* of a row's id: its place in the hour */
#define INDEX_MAX    ((1u << INDEX_BITS) - 1)

BH_COUNTER(talks_records, "flow records folded into talks");
BH_COUNTER(talks_folded, "talks without addresses of VMs because their hour has many");
BH_COUNTER(talks_overflow, "flow records that had no row of their own in talks");
BH_COUNTER(talks_wrong_time, "flow records whose time was too far from ours");

_Static_assert(sizeof(struct manager_talk) == 104, "as it is on disk");
_Static_assert(MANAGER_TALK_KEY_SIZE == 72, "a key has no holes");

static const char *const migrations[] = {
	"CREATE TABLE talks (id INTEGER PRIMARY KEY, row BLOB NOT NULL);"
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
};

/* One hour in memory: rows in the order of their ids, and a table of where a key is. */
struct hour {
	uint32_t hour;
	BH_VEC(struct manager_talk) rows;
	BH_VEC(uint32_t) dirty; /* indices */
	uint8_t *is_dirty;	/* per row; as long as rows.capacity */
	uint32_t *slots;	/* index + 1; 0 empty */
	size_t slot_count;	/* a power of two */
	size_t stored;		/* rows that the file has */
};

struct manager_talks {
	struct manager_talks_options o;
	struct manager_db *db;
	struct hour *hours[HOURS_IN_MEM];
	size_t hour_count;
	size_t rows_in_mem;
	uint64_t position;
	bool added; /* since the last flush */
	uint64_t flushed_s;
	uint64_t rows; /* in the file */
	uint8_t key[crypto_shorthash_KEYBYTES];
};

/* ---- an hour in memory ---- */

static size_t slot_of(const struct manager_talks *t, const struct hour *h,
		      const struct manager_talk *row)
{
	uint64_t hash;

	crypto_shorthash((uint8_t *)&hash, (const uint8_t *)row, MANAGER_TALK_KEY_SIZE, t->key);
	return (size_t)hash & (h->slot_count - 1);
}

static uint32_t *find_slot(const struct manager_talks *t, const struct hour *h,
			   const struct manager_talk *row)
{
	size_t at = slot_of(t, h, row);

	while (h->slots[at] &&
	       memcmp(&h->rows.items[h->slots[at] - 1], row, MANAGER_TALK_KEY_SIZE) != 0) {
		at = (at + 1) & (h->slot_count - 1);
	}
	return &h->slots[at];
}

static void grow(const struct manager_talks *t, struct hour *h)
{
	h->slot_count = h->slot_count ? h->slot_count * 2 : 1024;
	free(h->slots);
	h->slots = bh_alloc_array(h->slot_count, sizeof(*h->slots));
	for (size_t i = 0; i < h->rows.count; i++) {
		*find_slot(t, h, &h->rows.items[i]) = (uint32_t)i + 1;
	}
}

static void insert(struct manager_talks *t, struct hour *h, const struct manager_talk *row)
{
	size_t before = h->rows.capacity;

	if ((h->rows.count + 1) * 2 > h->slot_count) {
		grow(t, h);
	}
	*find_slot(t, h, row) = (uint32_t)h->rows.count + 1;
	*bh_vec_push(&h->rows) = *row;
	if (h->rows.capacity != before) {
		h->is_dirty = bh_realloc_array(h->is_dirty, h->rows.capacity, 1);
		memset(h->is_dirty + before, 0, h->rows.capacity - before);
	}
	t->rows_in_mem++;
}

static void mark(struct hour *h, size_t index)
{
	if (!h->is_dirty[index]) {
		h->is_dirty[index] = 1;
		*bh_vec_push(&h->dirty) = (uint32_t)index;
	}
}

static void hour_free(struct manager_talks *t, struct hour *h)
{
	t->rows_in_mem -= h->rows.count;
	bh_vec_done(&h->rows);
	bh_vec_done(&h->dirty);
	free(h->is_dirty);
	free(h->slots);
	free(h);
}

static int64_t first_id(uint32_t hour)
{
	return (int64_t)hour << INDEX_BITS;
}

/* ---- reading ---- */

static bool row_read(sqlite3_stmt *st, int column, struct manager_talk *ret)
{
	if (sqlite3_column_bytes(st, column) != (int)sizeof(*ret)) {
		return false; /* not ours */
	}
	memcpy(ret, sqlite3_column_blob(st, column), sizeof(*ret));
	return true;
}

struct each {
	const struct manager_talks_query *query;
	manager_talk_fn *fn;
	void *arg;
};

static int each_row(sqlite3_stmt *st, void *arg)
{
	const struct each *e = arg;
	struct manager_talk talk;

	if (!row_read(st, 0, &talk) ||
	    !manager_scope_sees(&e->query->scope, talk.src_tenant, talk.dst_tenant)) {
		return 0;
	}
	return e->fn(&talk, e->arg);
}

int manager_talks_each(const struct manager_talks_query *query, manager_talk_fn *fn, void *arg,
		       struct bh_diag *diag)
{
	struct each e = {query, fn, arg};
	struct manager_db *db = NULL;
	uint64_t until = query->until_ns ? query->until_ns : INT64_MAX;
	uint64_t limit_ns = query->limit_ms * BH_NS_PER_MS;
	int r;

	if (access(query->path, F_OK) < 0 && errno == ENOENT) {
		return 0;
	}
	r = manager_db_open_reader(query->path, &db, diag);
	if (r < 0) {
		return r;
	}
	manager_db_limit(db, limit_ns ? bh_time_mono_ns() + limit_ns : 0, query->cancel);
	r = manager_db_each(db, (struct manager_db_each){each_row, &e}, diag,
			    "SELECT row FROM talks WHERE id >= ?1 AND id < ?2 ORDER BY id", "ii",
			    first_id((uint32_t)(query->since_ns / BH_NS_PER_S / HOUR_S)),
			    first_id((uint32_t)(until / BH_NS_PER_S / HOUR_S) + 1));
	manager_db_close(db);
	return r;
}

struct loading {
	struct manager_talks *talks;
	struct hour *hour;
};

static int load_row(sqlite3_stmt *st, void *arg)
{
	const struct loading *l = arg;
	struct manager_talk talk;

	if (!row_read(st, 0, &talk)) {
		/* A place is kept, or the ids of those behind it would be other ones. */
		memset(&talk, 0, sizeof(talk));
		talk.hour = l->hour->hour;
		talk.flags = MANAGER_TALK_OVERFLOW;
	}
	insert(l->talks, l->hour, &talk);
	return 0;
}

/* The hour in memory; NULL with diag when it can't be read. */
static struct hour *hour_get(struct manager_talks *t, uint32_t number, struct bh_diag *diag)
{
	struct loading l = {.talks = t};

	for (size_t i = 0; i < t->hour_count; i++) {
		if (t->hours[i]->hour == number) {
			return t->hours[i];
		}
	}
	if (t->hour_count == HOURS_IN_MEM) {
		bh_diag_set(diag, -ENOBUFS, "too many hours of talks at once");
		return NULL;
	}
	l.hour = bh_alloc(sizeof(*l.hour));
	l.hour->hour = number;
	grow(t, l.hour);
	if (manager_db_each(t->db, (struct manager_db_each){load_row, &l}, diag,
			    "SELECT row FROM talks WHERE id >= ?1 AND id < ?2 ORDER BY id", "ii",
			    first_id(number), first_id(number + 1)) < 0) {
		hour_free(t, l.hour);
		return NULL;
	}
	l.hour->stored = l.hour->rows.count;
	t->hours[t->hour_count++] = l.hour;
	return l.hour;
}

/* ---- folding ---- */

static uint32_t hour_of(uint32_t last_s, uint64_t now_s)
{
	if (last_s + (uint64_t)DAY_S < now_s || last_s > now_s + HOUR_S) {
		bh_counter_add(&talks_wrong_time, 1);
		return (uint32_t)(now_s / HOUR_S);
	}
	return last_s / HOUR_S;
}

/* Fuller than half: rows say less. Full: hardly anything. */
static void make_room(struct manager_talks *t, const struct hour *h, struct manager_talk *row)
{
	size_t limit = t->o.per_hour;

	if (h->rows.count < limit / 2 && t->rows_in_mem < limit) {
		return;
	}
	row->flags = MANAGER_TALK_FOLDED;
	if (row->src_tenant) {
		memset(row->src, 0, sizeof(row->src));
	}
	if (row->dst_tenant) {
		memset(row->dst, 0, sizeof(row->dst));
	}
	if (*find_slot(t, h, row)) {
		return;
	}
	if (h->rows.count < limit && t->rows_in_mem < 2 * limit) {
		bh_counter_add(&talks_folded, 1);
		return;
	}
	bh_counter_add(&talks_overflow, 1);
	*row = (struct manager_talk){
		.hour = row->hour,
		.src_tenant = row->dir ? 0 : row->src_tenant,
		.dst_tenant = row->dir ? row->dst_tenant : 0,
		.dir = row->dir,
		.verdict = row->verdict,
		.flags = MANAGER_TALK_OVERFLOW,
		.count = row->count,
		.packets = row->packets,
		.bytes = row->bytes,
		.first_s = row->first_s,
		.last_s = row->last_s,
	};
}

int manager_talks_add(struct manager_talks *t, const struct manager_talk *record, uint64_t now_s,
		      struct bh_diag *diag)
{
	struct manager_talk row = *record;
	struct manager_talk *old;
	struct hour *h;
	uint32_t *slot;

	row.hour = hour_of(record->last_s, now_s);
	if (row.hour != record->last_s / HOUR_S) {
		row.first_s = row.last_s = (uint32_t)now_s;
	}
	h = hour_get(t, row.hour, diag);
	if (!h) {
		return -EIO;
	}
	bh_counter_add(&talks_records, 1);
	t->added = true;
	slot = find_slot(t, h, &row);
	if (!*slot) {
		make_room(t, h, &row);
		slot = find_slot(t, h, &row);
	}
	/* Overflow rows are few (tenants times verdicts): they always have room. */
	if (!*slot && h->rows.count < INDEX_MAX) {
		insert(t, h, &row);
		mark(h, h->rows.count - 1);
		return 0;
	}
	if (*slot) {
		old = &h->rows.items[*slot - 1];
		old->count += row.count;
		old->packets += row.packets;
		old->bytes += row.bytes;
		old->first_s = old->first_s < row.first_s ? old->first_s : row.first_s;
		old->last_s = old->last_s > row.last_s ? old->last_s : row.last_s;
		mark(h, *slot - 1);
	}
	return 0;
}

/* ---- writing ---- */

static int write_hour(struct manager_talks *t, const struct hour *h, struct bh_diag *diag)
{
	int r = 0;

	for (size_t i = 0; i < h->dirty.count && r == 0; i++) {
		uint32_t index = h->dirty.items[i];

		r = manager_db_run(t->db, diag, "INSERT OR REPLACE INTO talks VALUES (?1, ?2)",
				   "ib", first_id(h->hour) + index, &h->rows.items[index],
				   sizeof(h->rows.items[index]));
	}
	return r;
}

/* Old hours, and the oldest rows when there are too many. */
static int prune(struct manager_talks *t, uint64_t now_s, uint64_t *rows, struct bh_diag *diag)
{
	uint64_t hours = t->o.days * 24;
	uint64_t now_hour = now_s / HOUR_S;
	int64_t too_old = first_id((uint32_t)(now_hour > hours ? now_hour - hours : 0));
	uint64_t excess = *rows > t->o.rows_max ? *rows - t->o.rows_max : 0;
	int r;

	r = manager_db_run(t->db, diag,
			   "DELETE FROM talks WHERE id IN (SELECT id FROM talks WHERE id < ?1"
			   " ORDER BY id LIMIT ?2)",
			   "ii", too_old, (int64_t)PRUNE_MAX);
	if (r == 0) {
		*rows -= (uint64_t)manager_db_changes(t->db);
	}
	if (r == 0 && excess) {
		/* Not of the hours in work: their rows have places to keep. */
		r = manager_db_run(t->db, diag,
				   "DELETE FROM talks WHERE id IN (SELECT id FROM talks WHERE"
				   " id < ?1 ORDER BY id LIMIT ?2)",
				   "ii", first_id((uint32_t)now_hour - 25),
				   (int64_t)(excess < PRUNE_MAX ? excess : PRUNE_MAX));
		*rows -= r == 0 ? (uint64_t)manager_db_changes(t->db) : 0;
	}
	return r;
}

static int write_meta(struct manager_talks *t, uint64_t position, uint64_t rows,
		      struct bh_diag *diag)
{
	return manager_db_run(t->db, diag,
			      "INSERT OR REPLACE INTO meta VALUES ('position', ?1), ('rows', ?2)",
			      "ii", (int64_t)position, (int64_t)rows);
}

/* What was written is clean; hours that are over need no memory. */
static void settle(struct manager_talks *t, uint64_t now_s)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->hour_count; i++) {
		struct hour *h = t->hours[i];

		bh_vec_foreach (index, &h->dirty) {
			h->is_dirty[*index] = 0;
		}
		h->dirty.count = 0;
		h->stored = h->rows.count;
		if (h->hour + 1 < now_s / HOUR_S) {
			hour_free(t, h);
		} else {
			t->hours[kept++] = h;
		}
	}
	t->hour_count = kept;
}

int manager_talks_flush(struct manager_talks *t, uint64_t position, uint64_t now_s, bool now,
			struct bh_diag *diag)
{
	uint64_t rows = t->rows;
	int r;

	if ((position == t->position && !t->added) ||
	    (!now && now_s >= t->flushed_s && now_s < t->flushed_s + MANAGER_TALKS_FLUSH_S)) {
		return 0;
	}
	r = manager_db_begin(t->db, diag);
	for (size_t i = 0; i < t->hour_count && r == 0; i++) {
		r = write_hour(t, t->hours[i], diag);
		rows += t->hours[i]->rows.count - t->hours[i]->stored;
	}
	if (r == 0) {
		r = prune(t, now_s, &rows, diag);
	}
	if (r == 0) {
		r = write_meta(t, position, rows, diag);
	}
	if (r == 0) {
		r = manager_db_commit(t->db, diag);
	} else {
		manager_db_abort(t->db);
	}
	if (r == 0) {
		t->position = position;
		t->added = false;
		t->rows = rows;
		t->flushed_s = now_s;
		settle(t, now_s);
	}
	return r;
}

/* ---- life ---- */

uint64_t manager_talks_position(const struct manager_talks *t)
{
	return t->position;
}

int manager_talks_open(const struct manager_talks_options *options, struct manager_talks **ret,
		       struct bh_diag *diag)
{
	struct manager_talks *t = bh_alloc(sizeof(*t));
	int r;

	t->o = *options;
	t->o.days = t->o.days ? t->o.days : DAYS_DFLT;
	t->o.rows_max = t->o.rows_max ? t->o.rows_max : ROWS_DFLT;
	t->o.per_hour = t->o.per_hour ? t->o.per_hour : MANAGER_TALKS_PER_HOUR;
	randombytes_buf(t->key, sizeof(t->key));
	r = manager_db_open(options->path, migrations, BH_ARRAY_SIZE(migrations), &t->db, diag);
	if (r < 0) {
		free(t);
		return r;
	}
	t->position = (uint64_t)manager_db_number(
		t->db, 0, "SELECT value FROM meta WHERE name = 'position'", "");
	t->rows = (uint64_t)manager_db_number(t->db, 0,
					      "SELECT value FROM meta WHERE name = 'rows'", "");
	*ret = t;
	return 0;
}

void manager_talks_close(struct manager_talks *t)
{
	if (!t) {
		return;
	}
	for (size_t i = 0; i < t->hour_count; i++) {
		hour_free(t, t->hours[i]);
	}
	manager_db_close(t->db);
	free(t);
}
