/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/units.h"

#include "base/counter.h"
#include "base/util.h"

#define CHUNK_SHIFT MANAGER_UNIT_BITS_LARGE /* ids of chunks: that of the unit above */
#define CHUNKS	    (1u << MANAGER_UNIT_BITS_SMALL)

BH_COUNTER(events_terms_damaged, "parts of the index of events that could not be read");
BH_COUNTER(events_units_merged, "large units of the index of events that were made");

static int64_t chunk_id(uint64_t unit, unsigned int chunk)
{
	return (int64_t)(unit << CHUNK_SHIFT | chunk);
}

/* ---- writing ---- */

struct writing {
	struct manager_db *db;
	uint64_t unit, bytes;
	struct bh_diag *diag;
};

static int write_chunk(unsigned int chunk, const struct bh_wbuf *data, void *arg)
{
	struct writing *w = arg;

	w->bytes += data->size;
	return manager_db_run(w->db, w->diag, "INSERT INTO terms VALUES (?1, ?2)", "ib",
			      chunk_id(w->unit, chunk), data->data, data->size);
}

static int write_unit(struct manager_db *db, const struct manager_unit *unit, uint64_t bytes,
		      struct bh_diag *diag)
{
	return manager_db_run(db, diag, "INSERT INTO units VALUES (?1, ?2, ?3, ?4)", "iiii",
			      (int64_t)unit->first, (int64_t)unit->last, (int64_t)unit->bits,
			      (int64_t)bytes);
}

int manager_units_add(struct manager_db *db, const struct manager_unit *unit,
		      struct manager_terms *terms, uint64_t *bytes, struct bh_diag *diag)
{
	struct writing w = {db, unit->first, 0, diag};
	int r = manager_terms_encode(terms, unit->bits, write_chunk, &w);

	*bytes += w.bytes;
	return r == 0 ? write_unit(db, unit, w.bytes, diag) : r;
}

/* ---- merging: the same chunk of all small units at a time ---- */

struct part {
	uint64_t first, last, bytes;
};

struct merge {
	struct writing w;
	struct part parts[MANAGER_UNIT_BLOCKS];
	size_t count;
	struct manager_terms terms;
	uint32_t base;
	bool damaged; /* a chunk of those in work */
};

static int take_part(sqlite3_stmt *st, void *arg)
{
	struct merge *m = arg;

	m->parts[m->count++] = (struct part){(uint64_t)sqlite3_column_int64(st, 0),
					     (uint64_t)sqlite3_column_int64(st, 1),
					     (uint64_t)sqlite3_column_int64(st, 2)};
	return m->count == BH_ARRAY_SIZE(m->parts);
}

static int take_chunk(sqlite3_stmt *st, void *arg)
{
	struct merge *m = arg;

	if (manager_terms_decode(sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0),
				 m->base, &m->terms) < 0) {
		m->damaged = true;
	}
	return 0;
}

/* Nobody knows what was in it: an empty chunk says so. */
static int give_up(struct merge *m, unsigned int chunk)
{
	static const struct bh_wbuf nothing = {.data = (uint8_t *)""};
	unsigned int parts = 1u << (MANAGER_UNIT_BITS_LARGE - MANAGER_UNIT_BITS_SMALL);
	int r = 0;

	bh_counter_add(&events_terms_damaged, 1);
	for (unsigned int i = 0; i < parts && r == 0; i++) {
		r = write_chunk(chunk * parts + i, &nothing, &m->w);
	}
	return r;
}

static int merge_chunk(struct merge *m, unsigned int chunk)
{
	int r = 0;

	manager_terms_clear(&m->terms);
	m->damaged = false;
	for (size_t i = 0; i < m->count && r == 0; i++) {
		m->base = (uint32_t)(m->parts[i].first - m->w.unit);
		r = manager_db_each(m->w.db, (struct manager_db_each){take_chunk, m}, m->w.diag,
				    "SELECT data FROM terms WHERE id = ?1", "i",
				    chunk_id(m->parts[i].first, chunk));
	}
	for (size_t i = 0; i < m->count && r == 0; i++) {
		r = manager_db_run(m->w.db, m->w.diag, "DELETE FROM terms WHERE id = ?1", "i",
				   chunk_id(m->parts[i].first, chunk));
	}
	if (r < 0) {
		return r;
	}
	return m->damaged ? give_up(m, chunk)
			  : manager_terms_encode(&m->terms, MANAGER_UNIT_BITS_LARGE, write_chunk,
						 &m->w);
}

/* Chunks of the first small unit have ids that the large one wants: they go from the end, where
 * those of the large one lie above what is left. */
static int merge_parts(struct merge *m)
{
	int r = 0;

	for (unsigned int chunk = CHUNKS; chunk-- && r == 0;) {
		r = merge_chunk(m, chunk);
	}
	for (size_t i = 0; i < m->count && r == 0; i++) {
		r = manager_db_run(m->w.db, m->w.diag, "DELETE FROM units WHERE id = ?1", "i",
				   (int64_t)m->parts[i].first);
	}
	if (r == 0) {
		r = write_unit(m->w.db,
			       &(struct manager_unit){m->w.unit, m->parts[m->count - 1].last,
						      MANAGER_UNIT_BITS_LARGE},
			       m->w.bytes, m->w.diag);
	}
	return r;
}

int manager_units_merge(struct manager_db *db, uint64_t *bytes, struct bh_diag *diag)
{
	BH_FREE struct merge *m = bh_alloc(sizeof(*m));
	int r;

	m->w = (struct writing){.db = db, .diag = diag};
	r = manager_db_each(db, (struct manager_db_each){take_part, m}, diag,
			    "SELECT id, last, bytes FROM units WHERE bits = ?1 ORDER BY id", "i",
			    (int64_t)MANAGER_UNIT_BITS_SMALL);
	if (r < 0 || !m->count) {
		return r < 0 ? r : 0;
	}
	m->w.unit = m->parts[0].first;
	r = merge_parts(m);
	manager_terms_done(&m->terms);
	*bytes += m->w.bytes;
	for (size_t i = 0; i < m->count; i++) {
		*bytes -= m->parts[i].bytes;
	}
	bh_counter_add(&events_units_merged, r == 0);
	return r;
}

static int sum_dropped(sqlite3_stmt *st, void *arg)
{
	*(uint64_t *)arg -= (uint64_t)sqlite3_column_int64(st, 0);
	return 0;
}

int manager_units_drop(struct manager_db *db, uint64_t last, uint64_t *bytes, struct bh_diag *diag)
{
	int64_t end = manager_db_number(db, 0, "SELECT max(last) FROM units WHERE last <= ?1", "i",
					(int64_t)last);
	int r;

	if (!end) {
		return 0;
	}
	r = manager_db_each(db, (struct manager_db_each){sum_dropped, bytes}, diag,
			    "SELECT bytes FROM units WHERE last <= ?1", "i", end);
	if (r == 0) {
		r = manager_db_run(db, diag, "DELETE FROM terms WHERE id < ?1", "i",
				   chunk_id((uint64_t)end + 1, 0));
	}
	if (r == 0) {
		r = manager_db_run(db, diag, "DELETE FROM units WHERE last <= ?1", "i", end);
	}
	return r;
}

/* ---- reading ---- */

static int take_unit(sqlite3_stmt *st, void *arg)
{
	struct manager_unit *unit = arg;

	*unit = (struct manager_unit){(uint64_t)sqlite3_column_int64(st, 0),
				      (uint64_t)sqlite3_column_int64(st, 1),
				      (unsigned int)sqlite3_column_int64(st, 2)};
	return 0;
}

int manager_units_of(struct manager_db *db, uint64_t id, struct manager_unit *ret,
		     struct bh_diag *diag)
{
	*ret = (struct manager_unit){};
	return manager_db_each(
		db, (struct manager_db_each){take_unit, ret}, diag,
		"SELECT id, last, bits FROM units WHERE id <= ?1 ORDER BY id DESC LIMIT 1", "i",
		(int64_t)id);
}

struct finding {
	uint32_t hash;
	struct manager_rowset *ret;
};

static int find_in(sqlite3_stmt *st, void *arg)
{
	const struct finding *f = arg;

	if (manager_terms_find(sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0),
			       f->hash, f->ret) < 0) {
		bh_counter_add(&events_terms_damaged, 1);
		memset(f->ret, 0xff, sizeof(*f->ret));
	}
	return 0;
}

static int find_term(struct manager_db *db, const struct manager_unit *unit, uint32_t hash,
		     struct manager_rowset *ret, struct bh_diag *diag)
{
	struct finding f = {hash, ret};

	memset(ret, 0, sizeof(*ret));
	return manager_db_each(db, (struct manager_db_each){find_in, &f}, diag,
			       "SELECT data FROM terms WHERE id = ?1", "i",
			       chunk_id(unit->first, manager_terms_chunk(hash, unit->bits)));
}

static bool keep_both(struct manager_rowset *a, const struct manager_rowset *b)
{
	uint64_t any = 0;

	for (size_t i = 0; i < MANAGER_UNIT_WORDS; i++) {
		a->words[i] &= b->words[i];
		any |= a->words[i];
	}
	return any;
}

int manager_units_find(struct manager_db *db, const struct manager_unit *unit,
		       const struct manager_filter_terms *want, struct manager_rowset *ret,
		       struct bh_diag *diag)
{
	BH_FREE struct manager_rowset *rows = bh_alloc(sizeof(*rows));
	bool any = true;
	int r = 0;

	memset(ret, 0xff, sizeof(*ret));
	for (size_t i = 0; i < want->count && any && r == 0; i++) {
		r = find_term(db, unit, want->hashes[i], rows, diag);
		any = r == 0 && keep_both(ret, rows);
	}
	r = r == 0 ? find_term(db, unit, MANAGER_TERM_ALWAYS, rows, diag) : r;
	for (size_t i = 0; i < MANAGER_UNIT_WORDS && r == 0; i++) {
		ret->words[i] |= rows->words[i];
	}
	return r;
}
