/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of events.db. */
#include "manager/events/archive.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/events/units.h"

#include <errno.h>

#define PAGE_SIZE	8192
#define PRUNE_BLOCKS	8 /* with one commit */
#define CONVERT_AT_ONCE MANAGER_BLOCK_ROWS
#define DAY_NS		(86400 * BH_NS_PER_S)

BH_COUNTER(events_pruned, "events that were removed because there are too many, or too old ones");
BH_COUNTER(events_converted, "events of an older version that were taken over");

static const char *const migrations[] = {
	"CREATE TABLE frames (id INTEGER PRIMARY KEY, count INTEGER NOT NULL,"
	" data BLOB NOT NULL);"
	"CREATE TABLE blocks (id INTEGER PRIMARY KEY, last INTEGER NOT NULL,"
	" min_time INTEGER NOT NULL, max_time INTEGER NOT NULL, bytes INTEGER NOT NULL,"
	" terms INTEGER NOT NULL, always INTEGER NOT NULL);"
	"CREATE TABLE terms (id INTEGER PRIMARY KEY, data BLOB NOT NULL);"
	"CREATE TABLE producers (producer TEXT NOT NULL, position INTEGER NOT NULL,"
	" epoch TEXT NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (producer, position))"
	" WITHOUT ROWID;"
	"CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
	/* Terms by row. Blocks are sealed again by load(). */
	"DROP TABLE blocks; DROP TABLE terms;"
	"CREATE TABLE blocks (id INTEGER PRIMARY KEY, last INTEGER NOT NULL,"
	" min_time INTEGER NOT NULL, max_time INTEGER NOT NULL, bytes INTEGER NOT NULL);"
	"CREATE TABLE units (id INTEGER PRIMARY KEY, last INTEGER NOT NULL,"
	" bits INTEGER NOT NULL, bytes INTEGER NOT NULL);"
	"CREATE TABLE terms (id INTEGER PRIMARY KEY, data BLOB NOT NULL);",
	/* ration.h: who paid, who is at the other end. */
	"CREATE TABLE left_out (payer INTEGER NOT NULL, other INTEGER NOT NULL,"
	" count INTEGER NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (payer, other))"
	" WITHOUT ROWID;",
};

struct manager_archive {
	struct manager_archive_options o;
	char *path;
	struct manager_db *db;
	ZSTD_CCtx *zstd;
	struct bh_wbuf packed;
	/* The frame that is not full. */
	struct bh_wbuf payload;
	uint64_t frame_id;
	uint32_t frame_rows;
	bool frame_dirty;
	/* The block that is not sealed. */
	struct manager_terms terms;
	uint64_t block_id;
	unsigned int block_frames; /* full ones */
	uint64_t block_bytes;
	int64_t min_time, max_time;
	unsigned int small_units; /* that are not merged */
	struct manager_archive_stats stats, staged;
};

/* ---- frames and blocks ---- */

static int write_frame(struct manager_archive *a, struct bh_diag *diag)
{
	int r = manager_frame_pack(a->zstd, &a->payload, &a->packed, diag);

	if (r == 0) {
		r = manager_db_run(a->db, diag, "INSERT OR REPLACE INTO frames VALUES (?1, ?2, ?3)",
				   "iub", (int64_t)a->frame_id, a->frame_rows, a->packed.data,
				   a->packed.size);
	}
	a->frame_dirty = false;
	return r;
}

static void begin_frame(struct manager_archive *a, uint64_t id)
{
	a->payload.size = 0;
	a->frame_id = id;
	a->frame_rows = 0;
	a->frame_dirty = false;
}

static void begin_block(struct manager_archive *a, uint64_t id)
{
	manager_terms_clear(&a->terms);
	a->block_id = id;
	a->block_frames = 0;
	a->block_bytes = 0;
	a->min_time = INT64_MAX;
	a->max_time = INT64_MIN;
	begin_frame(a, id);
}

static int seal(struct manager_archive *a, struct bh_diag *diag)
{
	uint64_t bytes = 0;
	int r = manager_units_add(
		a->db,
		&(struct manager_unit){a->block_id, a->staged.last_id, MANAGER_UNIT_BITS_SMALL},
		&a->terms, &bytes, diag);

	if (r == 0) {
		r = manager_db_run(a->db, diag, "INSERT INTO blocks VALUES (?1, ?2, ?3, ?4, ?5)",
				   "iiiii", (int64_t)a->block_id, (int64_t)a->staged.last_id,
				   a->min_time, a->max_time, (int64_t)a->block_bytes);
	}
	a->staged.blocks++;
	a->staged.bytes += a->block_bytes + bytes;
	begin_block(a, a->staged.last_id + 1);
	a->small_units++;
	if (r == 0 && a->small_units >= a->o.merge) {
		r = manager_units_merge(a->db, &a->staged.bytes, diag);
		a->small_units = 0;
	}
	return r;
}

static void note_row(struct manager_archive *a, const struct manager_row *row)
{
	manager_terms_add_row(&a->terms, a->block_frames * MANAGER_FRAME_ROWS + a->frame_rows, row);
	a->min_time = row->wall_ns < a->min_time ? row->wall_ns : a->min_time;
	a->max_time = row->wall_ns > a->max_time ? row->wall_ns : a->max_time;
}

int manager_archive_add(struct manager_archive *a, const struct manager_row *row,
			struct bh_diag *diag)
{
	int r;

	manager_frame_add(&a->payload, row);
	note_row(a, row);
	a->frame_rows++;
	a->frame_dirty = true;
	a->staged.last_id++;
	a->staged.first_id = a->staged.first_id ? a->staged.first_id : a->staged.last_id;
	if (a->frame_rows < MANAGER_FRAME_ROWS) {
		return 0;
	}
	r = write_frame(a, diag);
	a->block_bytes += a->packed.size;
	a->block_frames++;
	if (r == 0 && a->block_frames == MANAGER_BLOCK_FRAMES) {
		return seal(a, diag);
	}
	begin_frame(a, a->staged.last_id + 1);
	return r;
}

/* ---- what is too much ---- */

struct oldest {
	uint64_t id, last, bytes;
	int64_t max_time;
};

static int take_oldest(sqlite3_stmt *row, void *arg)
{
	struct oldest *o = arg;

	o->id = (uint64_t)sqlite3_column_int64(row, 0);
	o->last = (uint64_t)sqlite3_column_int64(row, 1);
	o->bytes = (uint64_t)sqlite3_column_int64(row, 2);
	o->max_time = sqlite3_column_int64(row, 3);
	return 1;
}

static bool too_much(const struct manager_archive *a, const struct oldest *o, uint64_t now_ns)
{
	const struct manager_archive_stats *s = &a->staged;

	return s->last_id - o->last >= a->o.keep ||
	       (a->o.keep_bytes && s->bytes > a->o.keep_bytes) ||
	       (a->o.keep_days &&
		o->max_time + (int64_t)(a->o.keep_days * DAY_NS) < (int64_t)now_ns);
}

static int drop_block(struct manager_archive *a, const struct oldest *o, struct bh_diag *diag)
{
	int r = manager_db_run(a->db, diag, "DELETE FROM frames WHERE id BETWEEN ?1 AND ?2", "ii",
			       (int64_t)o->id, (int64_t)o->last);

	if (r == 0) {
		r = manager_units_drop(a->db, o->last, &a->staged.bytes, diag);
	}
	if (r == 0) {
		r = manager_db_run(a->db, diag, "DELETE FROM blocks WHERE id = ?1", "i",
				   (int64_t)o->id);
	}
	if (r == 0) {
		bh_counter_add(&events_pruned, o->last - o->id + 1);
		a->staged.first_id = o->last + 1;
		a->staged.bytes -= o->bytes < a->staged.bytes ? o->bytes : a->staged.bytes;
		a->staged.blocks--;
	}
	return r;
}

static int prune(struct manager_archive *a, uint64_t now_ns, struct bh_diag *diag)
{
	/* The newest block stays: ids go on behind it. */
	for (int i = 0; i < PRUNE_BLOCKS && a->staged.blocks > 1; i++) {
		struct oldest o = {};
		int r = manager_db_each(a->db, (struct manager_db_each){take_oldest, &o}, diag,
					"SELECT id, last, bytes, max_time FROM blocks"
					" ORDER BY id LIMIT 1",
					"");

		if (r < 0) {
			return r;
		}
		if (!o.id || !too_much(a, &o, now_ns)) {
			return 0;
		}
		r = drop_block(a, &o, diag);
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

/* ---- transactions ---- */

int manager_archive_begin(struct manager_archive *a, struct bh_diag *diag)
{
	a->staged = a->stats;
	return manager_db_begin(a->db, diag);
}

int manager_archive_end(struct manager_archive *a, uint64_t now_ns, struct bh_diag *diag)
{
	int r = a->frame_dirty ? write_frame(a, diag) : 0;

	if (r == 0) {
		r = prune(a, now_ns, diag);
	}
	if (r == 0) {
		r = manager_db_commit(a->db, diag);
	}
	if (r == 0) {
		a->stats = a->staged;
	}
	return r;
}

/* ---- taking up what is there ---- */

struct loading {
	struct manager_archive *archive;
	ZSTD_DCtx *zstd;
	struct bh_diag *diag;
};

static int load_frame(sqlite3_stmt *st, void *arg)
{
	struct loading *l = arg;
	struct manager_archive *a = l->archive;
	BH_FREE struct manager_row *rows = bh_alloc_array(MANAGER_FRAME_ROWS, sizeof(*rows));
	int n = manager_frame_unpack(l->zstd, sqlite3_column_blob(st, 1),
				     (size_t)sqlite3_column_bytes(st, 1), &a->payload, l->diag);

	if (n == 0) {
		n = manager_frame_rows(&a->payload, rows);
	}
	if (n <= 0) {
		return bh_diag_set(l->diag, -EBADMSG, "the newest events are damaged on disk");
	}
	a->frame_id = (uint64_t)sqlite3_column_int64(st, 0);
	a->staged.last_id = a->frame_id + (uint64_t)n - 1;
	for (a->frame_rows = 0; a->frame_rows < (uint32_t)n; a->frame_rows++) {
		note_row(a, &rows[a->frame_rows]);
	}
	if (n == MANAGER_FRAME_ROWS) {
		a->block_frames++;
		a->block_bytes += (uint64_t)sqlite3_column_bytes(st, 1);
		begin_frame(a, a->staged.last_id + 1);
	}
	return a->block_frames == MANAGER_BLOCK_FRAMES;
}

/* Frames that are in no block: those of the one in work, or all of an older layout. */
static int load_frames(struct manager_archive *a, struct bh_diag *diag)
{
	struct loading l = {.archive = a, .zstd = ZSTD_createDCtx(), .diag = diag};
	int r;

	do {
		r = manager_db_each(a->db, (struct manager_db_each){load_frame, &l}, diag,
				    "SELECT id, data FROM frames WHERE id > ?1 ORDER BY id", "i",
				    (int64_t)a->staged.last_id);
		if (r == 1) {
			r = manager_db_begin(a->db, diag);
			r = r == 0 ? seal(a, diag) : r;
			r = r == 0 ? manager_db_commit(a->db, diag) : r;
			r = r == 0 ? 1 : r;
		}
	} while (r == 1);
	ZSTD_freeDCtx(l.zstd);
	return r;
}

static int load(struct manager_archive *a, struct bh_diag *diag)
{
	int64_t last = manager_db_number(a->db, 0, "SELECT max(last) FROM blocks", "");
	int64_t first = manager_db_number(a->db, last + 1, "SELECT min(id) FROM frames", "");
	int r;

	a->staged = (struct manager_archive_stats){
		.last_id = (uint64_t)last,
		.blocks = (uint64_t)manager_db_number(a->db, 0, "SELECT count(*) FROM blocks", ""),
		.bytes = (uint64_t)manager_db_number(
			a->db, 0,
			"SELECT (SELECT ifnull(sum(bytes), 0) FROM blocks) +"
			" (SELECT ifnull(sum(bytes), 0) FROM units)",
			""),
	};
	a->small_units = (unsigned int)manager_db_number(
		a->db, 0, "SELECT count(*) FROM units WHERE bits = ?1", "i",
		(int64_t)MANAGER_UNIT_BITS_SMALL);
	/* The first block begins where it was begun, which need not be 1. */
	begin_block(a, (uint64_t)(last ? last + 1 : first));
	r = load_frames(a, diag);
	a->staged.first_id = a->staged.last_id ? (uint64_t)first : 0;
	a->stats = a->staged;
	return r;
}

void manager_archive_abort(struct manager_archive *a)
{
	struct bh_diag diag = {};

	manager_db_abort(a->db);
	if (load(a, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "events", 3, "%s", diag.text);
	}
}

/* ---- files of older versions ---- */

static int convert_row(sqlite3_stmt *st, void *arg)
{
	struct loading *l = arg;
	struct manager_row row = {
		.wall_ns = sqlite3_column_int64(st, 0),
		.severity = (uint8_t)(sqlite3_column_int(st, 1) & 3),
		.type = manager_db_text(st, 2),
		.host = manager_db_text(st, 3),
		.vm = manager_db_text(st, 4),
		.peer = manager_db_text(st, 5),
		.verdict = manager_db_text(st, 6),
		.body = manager_db_text(st, 7),
	};

	/* Who saw it then: the manager's people. Tenants of that time are not known any more. */
	row.body_size = strlen(row.body);
	if (row.body_size > MANAGER_ROW_BODY_MAX) {
		row.body = "{}";
		row.body_size = 2;
	}
	bh_counter_add(&events_converted, 1);
	return manager_archive_add(l->archive, &row, l->diag);
}

static int convert_some(struct manager_archive *a, struct manager_db *old, int64_t from,
			struct bh_diag *diag)
{
	struct loading l = {.archive = a, .diag = diag};
	int r = manager_archive_begin(a, diag);

	if (r == 0) {
		r = manager_db_each(old, (struct manager_db_each){convert_row, &l}, diag,
				    "SELECT time, severity, type, host, vm, peer, verdict, body"
				    " FROM events WHERE id > ?1 ORDER BY id LIMIT ?2",
				    "ii", from, (int64_t)CONVERT_AT_ONCE);
	}
	if (r == 0) {
		r = manager_archive_end(a, bh_time_wall_ns(), diag);
	}
	if (r < 0) {
		manager_archive_abort(a);
	}
	return r;
}

static int copy_rest(struct manager_archive *a, const char *old, struct bh_diag *diag)
{
	static const char *const copy[] = {
		"INSERT OR REPLACE INTO producers SELECT * FROM old.producers",
		"INSERT OR REPLACE INTO totals SELECT * FROM old.totals",
		"DETACH old",
	};
	int r = manager_db_run(a->db, diag, "ATTACH ?1 AS old", "t", old);

	for (size_t i = 0; i < BH_ARRAY_SIZE(copy) && r == 0; i++) {
		r = manager_db_run(a->db, diag, copy[i], "");
	}
	return r;
}

/* Goes on where it was when it was killed: ids say how far it came. */
static int convert(struct manager_archive *a, const char *path, struct bh_diag *diag)
{
	struct manager_db *old = NULL;
	int64_t last, count;
	int r = manager_db_open_reader(path, &old, diag);

	if (r < 0) {
		return r;
	}
	last = manager_db_number(old, 0, "SELECT max(id) FROM events", "");
	count = manager_db_number(old, 0, "SELECT count(*) FROM events", "");
	if (last && !a->stats.last_id) {
		/* Without holes, so that the last one keeps its id. */
		a->stats.last_id = (uint64_t)(last - count);
		begin_block(a, a->stats.last_id + 1);
	}
	bh_log(BH_LOG_INFO, "events", "taking over %lld events of an older version",
	       (long long)count);
	while (r == 0 && (int64_t)a->stats.last_id < last) {
		int64_t from = manager_db_number(
			old, last, "SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?1", "i",
			last - (int64_t)a->stats.last_id);

		from = (int64_t)a->stats.last_id == last - count ? 0 : from;
		r = convert_some(a, old, from, diag);
	}
	manager_db_close(old);
	return r == 0 ? copy_rest(a, path, diag) : r;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static bool is_old(const char *path)
{
	struct manager_db *db = NULL;
	int64_t old = 0;

	if (!exists(path) || manager_db_open_reader(path, &db, NULL) < 0) {
		return false;
	}
	old = manager_db_number(db, 0, "SELECT 1 FROM sqlite_master WHERE name = 'events'", "");
	manager_db_close(db);
	return old == 1;
}

/* The log of a file goes into it before it gets another name. */
static int set_aside(const char *path, const char *aside, struct bh_diag *diag)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);

	if (rc == SQLITE_OK) {
		rc = sqlite3_exec(db, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
	}
	sqlite3_close(db);
	if (rc != SQLITE_OK || rename(path, aside) < 0) {
		return bh_diag_set(diag, -EIO, "%s: can't be set aside", path);
	}
	return 0;
}

/* Larger pages suit frames; only an empty file can be given them. */
static void make_file(const char *path)
{
	sqlite3 *db = NULL;
	BH_FREE char *sql = bh_asprintf("PRAGMA page_size=%d; PRAGMA journal_mode=WAL", PAGE_SIZE);

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) ==
	    SQLITE_OK) {
		sqlite3_exec(db, sql, NULL, NULL, NULL);
	}
	sqlite3_close(db);
}

static int take_over(struct manager_archive *a, const char *aside, struct bh_diag *diag)
{
	int r = convert(a, aside, diag);

	if (r == 0 && unlink(aside) < 0) {
		r = bh_diag_set(diag, -errno, "%s: %s", aside, strerror(errno));
	}
	return r;
}

int manager_archive_open(const struct manager_archive_options *options,
			 struct manager_archive **ret, struct bh_diag *diag)
{
	struct manager_archive *a = bh_alloc(sizeof(*a));
	BH_FREE char *aside = bh_asprintf("%s.old", options->path);
	int r = 0;

	a->o = *options;
	a->path = bh_strdup(options->path);
	a->o.path = a->path;
	a->o.merge = options->merge ? options->merge : MANAGER_UNIT_BLOCKS;
	a->zstd = ZSTD_createCCtx();
	bh_wbuf_init(&a->payload, 0);
	bh_wbuf_init(&a->packed, 0);
	if (is_old(a->path)) {
		r = set_aside(a->path, aside, diag);
	}
	if (r == 0 && !exists(a->path)) {
		make_file(a->path);
	}
	if (r == 0) {
		r = manager_db_open(a->path, migrations, BH_ARRAY_SIZE(migrations), &a->db, diag);
	}
	if (r == 0) {
		r = load(a, diag);
	}
	if (r == 0 && exists(aside)) {
		r = take_over(a, aside, diag);
	}
	if (r < 0) {
		manager_archive_close(a);
		return r;
	}
	*ret = a;
	return 0;
}

void manager_archive_close(struct manager_archive *a)
{
	if (!a) {
		return;
	}
	manager_db_close(a->db);
	manager_terms_done(&a->terms);
	ZSTD_freeCCtx(a->zstd);
	bh_wbuf_done(&a->payload);
	bh_wbuf_done(&a->packed);
	free(a->path);
	free(a);
}

struct manager_db *manager_archive_db(struct manager_archive *a)
{
	return a->db;
}

void manager_archive_stats(const struct manager_archive *a, struct manager_archive_stats *ret)
{
	*ret = a->stats;
}
