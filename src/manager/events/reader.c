/* SPDX-License-Identifier: Apache-2.0 */
/* A reader of events.db: walks from newest to oldest, or forward, over frames that may have what is
 * wanted. */
#include "manager/events/archive.h"

#include "base/counter.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/events/units.h"
#include "manager/events/view.h"

#include <errno.h>

BH_COUNTER(events_frames_read, "frames of events that were opened for searches");
BH_COUNTER(events_frames_damaged, "frames of events that could not be read");

struct manager_reader {
	struct manager_db *db;
	ZSTD_DCtx *zstd;
	struct bh_wbuf payload, view;
	struct manager_row rows[MANAGER_FRAME_ROWS];
};

/* Which terms must be there: all of one of `any`. */
struct wanted {
	struct manager_filter_terms *any;
	size_t count;
};

struct walk {
	struct manager_reader *reader;
	const struct manager_event_filter *filter;
	struct wanted wanted;
	manager_row_fn *fn;
	void *arg;
	struct manager_listed *listed;
	struct bh_diag *diag;
	uint64_t until_ns; /* 0: no end */
	bool forward;
	/* Of the unit that was last asked, the rows that may be wanted. */
	struct manager_unit unit;
	struct manager_rowset *may, *other;
	uint64_t mask; /* rows of the frame in work */
};

enum { GO_ON = 0, STOP = 1 };

/* ---- a frame ---- */

static bool has_words(const struct manager_event_filter *f, const char *text)
{
	struct bh_jtext event;

	return !f->query.count || (bh_jtext_parse(text, strlen(text), &event, NULL) == 0 &&
				   manager_query_matches(&f->query, &event));
}

/* Cheaper than words, and says no most of the time. */
static bool may_have_words(const struct manager_event_filter *f, const char *text)
{
	for (size_t i = 0; i < f->query.count; i++) {
		const struct manager_query_term *term = &f->query.terms[i];

		if (!term->without && !strcasestr(text, term->text)) {
			return false;
		}
	}
	return true;
}

static int look_at_row(struct walk *w, uint64_t id, const struct manager_row *row)
{
	const char *text;
	int r;

	if (!manager_filter_passes(w->filter, row)) {
		return GO_ON;
	}
	text = manager_event_view(manager_filter_scope_of(w->filter, row), row, &w->reader->view);
	if (!text || !may_have_words(w->filter, text) || !has_words(w->filter, text)) {
		return GO_ON;
	}
	r = w->fn(id, row, text, w->arg);
	w->listed->count++;
	return r ? r : w->listed->count == w->filter->limit ? STOP : GO_ON;
}

static bool in_range(const struct walk *w, uint64_t id)
{
	const struct manager_event_filter *f = w->filter;

	return w->forward ? id > f->after : !f->before || id < f->before;
}

static int look_at_rows(struct walk *w, uint64_t first, int count)
{
	for (int i = 0; i < count; i++) {
		int at = w->forward ? i : count - 1 - i;
		uint64_t id = first + (uint64_t)at;
		bool may = (w->mask >> at & 1) && in_range(w, id);
		int r = may ? look_at_row(w, id, &w->reader->rows[at]) : GO_ON;

		if (in_range(w, id)) {
			w->listed->scanned = id;
		}
		if (r) {
			return r;
		}
	}
	return GO_ON;
}

static int frame_row(sqlite3_stmt *st, void *arg)
{
	struct walk *w = arg;
	struct manager_reader *reader = w->reader;
	int count =
		manager_frame_unpack(reader->zstd, sqlite3_column_blob(st, 1),
				     (size_t)sqlite3_column_bytes(st, 1), &reader->payload, NULL);
	int r;

	bh_counter_add(&events_frames_read, 1);
	if (count == 0) {
		count = manager_frame_rows(&reader->payload, reader->rows);
	}
	if (count < 0) {
		bh_counter_add(&events_frames_damaged, 1);
		return GO_ON;
	}
	r = look_at_rows(w, (uint64_t)sqlite3_column_int64(st, 0), count);
	return r == GO_ON && w->until_ns && bh_time_mono_ns() > w->until_ns ? -ETIME : r;
}

/* ---- a block ---- */

/* Which rows of the unit that the block is in may be wanted. */
static int ask_unit(struct walk *w, uint64_t block)
{
	struct manager_db *db = w->reader->db;
	int r = manager_units_of(db, block, &w->unit, w->diag);

	if (r < 0) {
		return r;
	}
	if (w->unit.last < block) {
		/* Nobody indexed it: then all of it. */
		w->unit = (struct manager_unit){block, block + MANAGER_BLOCK_ROWS - 1, 0};
		memset(w->may, 0xff, sizeof(*w->may));
		return 0;
	}
	for (size_t i = 0; i < w->wanted.count && r == 0; i++) {
		struct manager_rowset *to = i ? w->other : w->may;

		r = manager_units_find(db, &w->unit, &w->wanted.any[i], to, w->diag);
		for (size_t k = 0; k < MANAGER_UNIT_WORDS && i; k++) {
			w->may->words[k] |= w->other->words[k];
		}
	}
	return r;
}

/* Rows of a frame of that block, a bit for each. */
static uint64_t rows_of_frame(const struct walk *w, uint64_t frame)
{
	uint64_t at = (frame - w->unit.first) / 64;

	return !w->wanted.count ? UINT64_MAX : at < MANAGER_UNIT_WORDS ? w->may->words[at] : 0;
}

static bool frame_in_range(const struct walk *w, uint64_t frame)
{
	const struct manager_event_filter *f = w->filter;

	return w->forward ? frame + MANAGER_FRAME_ROWS > f->after + 1
			  : !f->before || frame < f->before;
}

static int look_at_block(struct walk *w, uint64_t first)
{
	int r = GO_ON;

	if (w->wanted.count && (!w->unit.first || first < w->unit.first || first > w->unit.last)) {
		r = ask_unit(w, first);
	}
	for (unsigned int i = 0; i < MANAGER_BLOCK_FRAMES && r == GO_ON; i++) {
		unsigned int at = w->forward ? i : MANAGER_BLOCK_FRAMES - 1 - i;
		uint64_t frame = first + at * MANAGER_FRAME_ROWS;

		w->mask = rows_of_frame(w, frame);
		if (w->mask && frame_in_range(w, frame)) {
			r = manager_db_each(w->reader->db, (struct manager_db_each){frame_row, w},
					    w->diag, "SELECT id, data FROM frames WHERE id = ?1",
					    "i", (int64_t)frame);
		}
	}
	w->mask = UINT64_MAX;
	return r;
}

static int block_row(sqlite3_stmt *st, void *arg)
{
	struct walk *w = arg;
	const struct manager_event_filter *f = w->filter;
	uint64_t first = (uint64_t)sqlite3_column_int64(st, 0);
	uint64_t last = (uint64_t)sqlite3_column_int64(st, 1);
	int r = GO_ON;

	if ((uint64_t)sqlite3_column_int64(st, 3) >= f->since_ns &&
	    (!f->until_ns || (uint64_t)sqlite3_column_int64(st, 2) <= f->until_ns)) {
		r = look_at_block(w, first);
	}
	if (r == GO_ON) {
		w->listed->scanned = w->forward ? last : first;
		r = w->until_ns && bh_time_mono_ns() > w->until_ns ? -ETIME : GO_ON;
	}
	return r;
}

/* ---- the walk ---- */

static int walk_tail(struct walk *w, int64_t sealed)
{
	const struct manager_event_filter *f = w->filter;
	struct manager_db_each each = {frame_row, w};

	if (w->forward) {
		return manager_db_each(w->reader->db, each, w->diag,
				       "SELECT id, data FROM frames WHERE id > ?1 AND id + count >"
				       " ?2 ORDER BY id",
				       "ii", sealed, (int64_t)f->after);
	}
	return manager_db_each(w->reader->db, each, w->diag,
			       "SELECT id, data FROM frames WHERE id > ?1 AND id < ?2"
			       " ORDER BY id DESC",
			       "ii", sealed, f->before ? (int64_t)f->before : INT64_MAX);
}

static int walk_blocks(struct walk *w)
{
	const struct manager_event_filter *f = w->filter;
	struct manager_db_each each = {block_row, w};

	if (w->forward) {
		/* From the block on that `after` lies in. */
		return manager_db_each(w->reader->db, each, w->diag,
				       "SELECT id, last, min_time, max_time FROM blocks"
				       " WHERE id > ?1 AND last > ?2 ORDER BY id",
				       "ii", (int64_t)f->after - (int64_t)MANAGER_BLOCK_ROWS,
				       (int64_t)f->after);
	}
	return manager_db_each(w->reader->db, each, w->diag,
			       "SELECT id, last, min_time, max_time FROM blocks WHERE"
			       " id < ?1 ORDER BY id DESC",
			       "i", f->before ? (int64_t)f->before : INT64_MAX);
}

static int walk(struct walk *w)
{
	int64_t sealed = manager_db_number(w->reader->db, 0, "SELECT max(last) FROM blocks", "");
	int r = w->forward ? walk_blocks(w) : walk_tail(w, sealed);

	if (r == GO_ON) {
		r = w->forward ? walk_tail(w, sealed) : walk_blocks(w);
	}
	return r;
}

static void want_tenant(struct walk *w, uint32_t tenant)
{
	manager_terms_of_filter(w->filter, tenant, &w->wanted.any[w->wanted.count++]);
}

/* One list of terms per tenant that may see something, or one for all. */
static void want(struct walk *w)
{
	const struct manager_event_filter *f = w->filter;
	size_t n = f->scope.count + f->flow_scope.count;

	w->wanted.any = bh_alloc_array(n + 1, sizeof(*w->wanted.any));
	if (f->tenant || f->scope.all || f->flow_scope.all) {
		want_tenant(w, f->tenant);
		if (!w->wanted.any[0].count) {
			w->wanted.count = 0;
		}
		return;
	}
	for (size_t i = 0; i < f->scope.count; i++) {
		want_tenant(w, f->scope.tenants[i]);
	}
	for (size_t i = 0; i < f->flow_scope.count; i++) {
		if (!manager_scope_has(&f->scope, f->flow_scope.tenants[i])) {
			want_tenant(w, f->flow_scope.tenants[i]);
		}
	}
}

static bool sees_nothing(const struct manager_event_filter *f)
{
	return !f->scope.all && !f->scope.count && !f->flow_scope.all && !f->flow_scope.count;
}

int manager_reader_list(struct manager_reader *reader, const struct manager_event_filter *filter,
			manager_row_fn *fn, void *arg, struct manager_listed *ret,
			struct bh_diag *diag)
{
	struct walk w = {
		.reader = reader,
		.filter = filter,
		.fn = fn,
		.arg = arg,
		.listed = ret,
		.diag = diag,
		.forward = filter->has_after,
		.mask = UINT64_MAX,
		.until_ns = filter->budget_ms ? bh_time_mono_ns() + filter->budget_ms * BH_NS_PER_MS
					      : 0,
	};
	int r;

	*ret = (struct manager_listed){.scanned =
					       filter->has_after ? filter->after : filter->before};
	if (sees_nothing(filter)) {
		ret->complete = true;
		return 0;
	}
	/* One state of the database for the whole walk. */
	r = manager_db_run(reader->db, diag, "BEGIN", "");
	if (r < 0) {
		return r;
	}
	want(&w);
	w.may = bh_alloc(sizeof(*w.may));
	w.other = bh_alloc(sizeof(*w.other));
	r = walk(&w);
	free(w.wanted.any);
	free(w.may);
	free(w.other);
	manager_db_abort(reader->db);
	ret->complete = r == GO_ON;
	return r == -ETIME || r > 0 ? 0 : r;
}

int manager_reader_open(const char *path, struct manager_reader **ret, struct bh_diag *diag)
{
	struct manager_reader *reader = bh_alloc(sizeof(*reader));
	int r = manager_db_open_reader(path, &reader->db, diag);

	if (r < 0) {
		free(reader);
		return r;
	}
	reader->zstd = ZSTD_createDCtx();
	bh_wbuf_init(&reader->payload, 0);
	bh_wbuf_init(&reader->view, 0);
	*ret = reader;
	return 0;
}

uint64_t manager_reader_first(struct manager_reader *reader)
{
	return (uint64_t)manager_db_number(reader->db, 0, "SELECT min(id) FROM frames", "");
}

void manager_reader_close(struct manager_reader *reader)
{
	if (!reader) {
		return;
	}
	manager_db_close(reader->db);
	ZSTD_freeDCtx(reader->zstd);
	bh_wbuf_done(&reader->payload);
	bh_wbuf_done(&reader->view);
	free(reader);
}
