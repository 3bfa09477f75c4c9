/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the log, and putting entries into it. */
#include "manager/audit/internal.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <utlist.h>

BH_COUNTER(audit_entries, "entries of the audit log written");
BH_COUNTER(audit_refused, "acts refused because the audit log could not be written");
BH_COUNTER(audit_late, "ends of acts that could not be written at once");
BH_COUNTER(audit_cut, "entries of the audit log that lost their states for being too long");

static const char *const migrations[] = {
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE keys (id TEXT PRIMARY KEY, public TEXT NOT NULL, since INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE chains (tenant INTEGER PRIMARY KEY, seq INTEGER NOT NULL,"
	" head BLOB NOT NULL, sealed INTEGER NOT NULL, sealed_head BLOB NOT NULL);"
	"CREATE TABLE entries (seq INTEGER PRIMARY KEY, tenant INTEGER NOT NULL,"
	" tseq INTEGER NOT NULL, time INTEGER NOT NULL, user TEXT NOT NULL, act TEXT NOT NULL,"
	" object TEXT NOT NULL, result TEXT NOT NULL, prev BLOB NOT NULL, line TEXT NOT NULL);"
	"CREATE UNIQUE INDEX entries_by_tenant ON entries (tenant, tseq);"
	"CREATE INDEX entries_by_time ON entries (time);"
	"CREATE INDEX entries_by_user ON entries (user);"
	"CREATE INDEX entries_by_object ON entries (object);"
	"CREATE TABLE open (seq INTEGER PRIMARY KEY);"
	"CREATE TABLE seals (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL,"
	" upto INTEGER NOT NULL, statement INTEGER NOT NULL, head BLOB NOT NULL,"
	" line TEXT NOT NULL);"
	"CREATE INDEX seals_by_tenant ON seals (tenant, upto);",
};

void audit_tell(struct manager_audit *audit, const char *type, const char *severity, json_t *body)
{
	if (audit->notice) {
		audit->notice(type, severity, body, audit->notice_arg);
	} else {
		json_decref(body);
	}
}

/* ---- chains ---- */

struct audit_chain *audit_chain_of(struct manager_audit *audit, uint32_t tenant)
{
	struct audit_chain *c;

	HASH_FIND(hh, audit->chains, &tenant, sizeof(tenant), c);
	if (!c) {
		c = bh_alloc(sizeof(*c));
		c->tenant = tenant;
		HASH_ADD(hh, audit->chains, tenant, sizeof(c->tenant), c);
	}
	return c;
}

static int load_chain(sqlite3_stmt *row, void *arg)
{
	struct audit_chain *c = audit_chain_of(arg, (uint32_t)sqlite3_column_int64(row, 0));

	c->seq = (uint64_t)sqlite3_column_int64(row, 1);
	c->head = audit_hash_column(row, 2);
	c->sealed = (uint64_t)sqlite3_column_int64(row, 3);
	c->sealed_head = audit_hash_column(row, 4);
	return 0;
}

/* As the database has them: at start, and when a transaction came to nothing. */
int audit_chains_load(struct manager_audit *audit, struct bh_diag *diag)
{
	struct audit_chain *c, *tmp;

	HASH_ITER (hh, audit->chains, c, tmp) {
		*c = (struct audit_chain){.tenant = c->tenant, .hh = c->hh};
	}
	audit->all = audit_chain_of(audit, 0);
	return manager_db_each(audit->db, (struct manager_db_each){load_chain, audit}, diag,
			       "SELECT tenant, seq, head, sealed, sealed_head FROM chains", "");
}

static int store_chain(struct manager_audit *audit, const struct audit_chain *c,
		       struct bh_diag *diag)
{
	return manager_db_run(
		audit->db, diag, "INSERT OR REPLACE INTO chains VALUES (?1, ?2, ?3, ?4, ?5)",
		"uibib", c->tenant, (int64_t)c->seq, c->head.bytes, sizeof(c->head.bytes),
		(int64_t)c->sealed, c->sealed_head.bytes, sizeof(c->sealed_head.bytes));
}

/* ---- one entry, inside a transaction ---- */

static int write_text(const struct manager_audit_note *n, const struct audit_chain *c,
		      uint64_t wall_ns, struct bh_wbuf *w)
{
	BH_FREE char *before = n->before ? bh_audit_state_text(n->before) : NULL;
	BH_FREE char *after = n->after ? bh_audit_state_text(n->after) : NULL;
	struct bh_audit_entry e = {
		.tenant = n->tenant,
		.tenant_name = n->tenant_name,
		.tseq = c->seq + 1,
		.tprev = c->head,
		.time_ns = wall_ns,
		.state = n->state ? n->state : "note",
		.user = n->user,
		.role = n->role,
		.factor = n->factor,
		.from = n->from,
		.via = n->via,
		.act = n->act,
		.object = n->object,
		.before = before,
		.after = after,
		.result = n->result,
		.code = n->code,
		.reason = n->reason,
		.approval = n->approval,
		.request = n->request,
		.left_out = n->left_out,
	};
	int r = bh_audit_entry_write(w, &e);

	if (r == -EMSGSIZE) { /* texts alone always fit */
		bh_counter_add(&audit_cut, 1);
		e.before = e.after = NULL;
		r = bh_audit_entry_write(w, &e);
	}
	return r;
}

static const char *text_of(const char *s)
{
	return s ? s : "";
}

static int put(struct manager_audit *audit, const struct manager_audit_note *n, uint64_t wall_ns,
	       int64_t open, struct bh_diag *diag)
{
	struct audit_chain *c = audit_chain_of(audit, n->tenant), *all = audit->all;
	struct bh_wbuf entry, record;
	int r;

	bh_wbuf_init(&entry, 0);
	bh_wbuf_init(&record, 0);
	r = write_text(n, c, wall_ns, &entry);
	if (r == 0) {
		bh_audit_record_write(&record, all->seq + 1, &all->head, (const char *)entry.data,
				      entry.size);
		r = manager_db_run(
			audit->db, diag,
			"INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
			"iuiittttbt", (int64_t)all->seq + 1, n->tenant, (int64_t)c->seq + 1,
			(int64_t)wall_ns, text_of(n->user), text_of(n->act), text_of(n->object),
			text_of(n->result), all->head.bytes, sizeof(all->head.bytes),
			bh_wbuf_cstr(&entry));
	}
	if (r == 0) {
		c->seq++;
		c->head = bh_audit_hash_of(entry.data, entry.size);
		all->seq++;
		all->head = bh_audit_hash_of(record.data, record.size);
		r = store_chain(audit, c, diag);
	}
	bh_wbuf_done(&entry);
	bh_wbuf_done(&record);
	if (r == 0 && open > 0) {
		r = manager_db_run(audit->db, diag, "DELETE FROM open WHERE seq = ?1", "i", open);
	} else if (r == 0 && open < 0) {
		r = manager_db_run(audit->db, diag, "INSERT INTO open VALUES (?1)", "i",
				   (int64_t)all->seq);
	}
	return r;
}

static void drop_all(struct audit_late **list)
{
	struct audit_late *late, *tmp;

	DL_FOREACH_SAFE(*list, late, tmp)
	{
		DL_DELETE(*list, late);
		audit_late_free(late);
	}
}

struct batch {
	const struct manager_audit_note *notes;
	size_t count;
	uint64_t wall_ns;
	int64_t open;	   /* > 0: with the first that act ends; 0: none */
	int64_t *ret_open; /* each begins an act; NULL: none does */
};

static int put_batch(struct manager_audit *audit, const struct batch *b, struct bh_diag *diag)
{
	int r = 0;

	for (size_t i = 0; i < b->count && r == 0; i++) {
		int64_t open = b->ret_open ? -1 : i == 0 ? b->open : 0;

		r = put(audit, &b->notes[i], b->wall_ns, open, diag);
		if (b->ret_open) {
			b->ret_open[i] = (int64_t)audit->all->seq;
		}
	}
	return r;
}

/* The ends that wait and then these, all or nothing: one wait for the disk. */
static int put_all(struct manager_audit *audit, const struct batch *b, struct bh_diag *diag)
{
	const struct audit_late *late;
	int r = manager_db_begin(audit->db, diag);

	DL_FOREACH (audit->soon, late) {
		r = r < 0 ? r : put(audit, &late->note, late->wall_ns, late->open, diag);
	}
	r = r < 0 ? r : put_batch(audit, b, diag);
	if (r == 0) {
		r = store_chain(audit, audit->all, diag);
	}
	if (r == 0) {
		r = manager_db_commit(audit->db, diag);
	}
	if (r < 0) {
		manager_db_abort(audit->db);
		(void)!audit_chains_load(audit, NULL); /* if even that fails so does what follows */
		return r;
	}
	bh_counter_add(&audit_entries, b->count + audit->soon_count);
	if (!audit->unsealed_ns) {
		audit->unsealed_ns = audit->soon ? audit->soon->wall_ns : b->wall_ns;
	}
	drop_all(&audit->soon);
	audit->soon_count = 0;
	return 0;
}

/* ---- the reserve ---- */

static bool reserve_take(struct manager_audit *audit)
{
	int fd;

	if (audit->reserve) {
		return true;
	}
	fd = open(audit->reserve_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		return false;
	}
	audit->reserve = posix_fallocate(fd, 0, (off_t)audit->reserve_bytes) == 0;
	close(fd);
	if (!audit->reserve) {
		unlink(audit->reserve_path);
	}
	return audit->reserve;
}

static void reserve_give(struct manager_audit *audit)
{
	unlink(audit->reserve_path);
	audit->reserve = false;
}

bool manager_audit_ready(struct manager_audit *audit)
{
	return !audit->late && reserve_take(audit);
}

/* ---- what could not be written ---- */

struct audit_late *audit_late_new(const struct manager_audit_note *note, uint64_t wall_ns)
{
	struct audit_late *late = bh_alloc(sizeof(*late));
	const char **texts[] = {
		&late->note.tenant_name, &late->note.user,   &late->note.role,
		&late->note.factor,	 &late->note.from,   &late->note.via,
		&late->note.act,	 &late->note.object, &late->note.state,
		&late->note.result,	 &late->note.reason, &late->note.approval,
		&late->note.request,
	};
	size_t size = 0;
	char *at;

	late->note = *note;
	late->wall_ns = wall_ns;
	for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		size += *texts[i] ? strlen(*texts[i]) + 1 : 0;
	}
	at = late->texts = bh_alloc(size + 1);
	for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		if (*texts[i]) {
			size_t len = strlen(*texts[i]) + 1;

			memcpy(at, *texts[i], len);
			*texts[i] = at;
			at += len;
		}
	}
	late->note.before = late->before = note->before ? json_deep_copy(note->before) : NULL;
	late->note.after = late->after = note->after ? json_deep_copy(note->after) : NULL;
	return late;
}

void audit_late_free(struct audit_late *late)
{
	if (late) {
		json_decref(late->before);
		json_decref(late->after);
		free(late->texts);
		free(late);
	}
}

static void append(struct audit_late **list, const struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct audit_late *late = audit_late_new(&b->notes[i], b->wall_ns);

		late->open = i == 0 ? b->open : 0;
		DL_APPEND(*list, late);
	}
}

/* Acts that have begun are few, since none begins any more; denials are as many as people like, so
 * those beyond AUDIT_LATE_MAX are counted in the last entry. */
static void keep(struct manager_audit *audit, const struct batch *b)
{
	bh_counter_add(&audit_late, b->count + audit->soon_count);
	DL_CONCAT(audit->late, audit->soon);
	audit->late_count += audit->soon_count;
	audit->soon = NULL;
	audit->soon_count = 0;
	if (!b->open && audit->late_count >= AUDIT_LATE_MAX) {
		for (size_t i = 0; i < b->count; i++) {
			audit->late->prev->note.left_out += 1 + b->notes[i].left_out;
		}
		return;
	}
	append(&audit->late, b);
	audit->late_count += b->count;
}

/* At most so many: each waits for the disk. */
static void try_late(struct manager_audit *audit, size_t most)
{
	struct audit_late *late, *tmp;
	struct bh_diag diag = {};
	size_t tried = 0;

	DL_FOREACH_SAFE(audit->late, late, tmp)
	{
		if (tried++ == most) {
			return;
		}
		struct batch one = {&late->note, 1, late->wall_ns, late->open, NULL};

		if (put_all(audit, &one, &diag) < 0) {
			bh_log_limited(BH_LOG_ERROR, "audit", 1, "ends of acts wait: %s",
				       diag.text);
			return;
		}
		DL_DELETE(audit->late, late);
		audit->late_count--;
		audit_late_free(late);
	}
}

/* ---- for callers ---- */

int manager_audit_begin_all(struct manager_audit *audit, const struct manager_audit_note *notes,
			    size_t count, uint64_t wall_ns, int64_t *ret_open, struct bh_diag *diag)
{
	BH_FREE struct manager_audit_note *begun = bh_alloc_array(count + 1, sizeof(*begun));
	struct batch b = {begun, count, wall_ns, 0, ret_open};
	int r = -ENOSPC;

	for (size_t i = 0; i < count; i++) {
		begun[i] = notes[i];
		begun[i].state = "begun";
	}
	if (!manager_audit_ready(audit)) {
		bh_diag_set(diag, r, "the disk of the audit log is full");
	} else {
		r = put_all(audit, &b, diag);
	}
	if (r < 0) {
		memset(ret_open, 0, count * sizeof(*ret_open));
		bh_counter_add(&audit_refused, count);
		bh_log_limited(BH_LOG_ERROR, "audit", 1, "acts are refused: %s",
			       diag ? diag->text : "");
	}
	return r;
}

int manager_audit_begin(struct manager_audit *audit, const struct manager_audit_note *note,
			uint64_t wall_ns, int64_t *ret_open, struct bh_diag *diag)
{
	return manager_audit_begin_all(audit, note, 1, wall_ns, ret_open, diag);
}

static void end(struct manager_audit *audit, const struct batch *b)
{
	struct bh_diag diag = {};
	int r = audit->late ? -EBUSY : put_all(audit, b, &diag);

	if (r < 0 && audit->reserve) {
		bh_log(BH_LOG_ERROR, "audit", "%s; the reserve is given up", diag.text);
		reserve_give(audit);
		r = put_all(audit, b, &diag);
	}
	if (r < 0) {
		keep(audit, b);
	}
}

void manager_audit_end(struct manager_audit *audit, int64_t open,
		       const struct manager_audit_note *notes, size_t count, uint64_t wall_ns)
{
	end(audit, &(struct batch){notes, count, wall_ns, open, NULL});
}

void manager_audit_end_soon(struct manager_audit *audit, int64_t open,
			    const struct manager_audit_note *notes, size_t count, uint64_t wall_ns)
{
	append(&audit->soon, &(struct batch){notes, count, wall_ns, open, NULL});
	audit->soon_count += count;
	if (audit->soon_count > AUDIT_SOON_MAX) {
		manager_audit_flush(audit);
	}
}

bool manager_audit_waits(const struct manager_audit *audit)
{
	return audit && audit->soon;
}

void manager_audit_flush(struct manager_audit *audit)
{
	if (manager_audit_waits(audit)) {
		end(audit, &(struct batch){});
	}
}

void manager_audit_add(struct manager_audit *audit, const struct manager_audit_note *note,
		       uint64_t wall_ns)
{
	manager_audit_end(audit, 0, note, 1, wall_ns);
}

void manager_audit_tick(struct manager_audit *audit, uint64_t wall_ns)
{
	bool many = audit->all->seq - audit->all->sealed >= MANAGER_AUDIT_SEAL_EVERY;
	struct bh_diag diag = {};

	manager_audit_flush(audit);
	if (audit->late) {
		try_late(audit, AUDIT_LATE_PASS);
	}
	audit_limits_tick(audit, wall_ns);
	if (audit->unsealed_ns &&
	    (many || wall_ns < audit->unsealed_ns ||
	     wall_ns - audit->unsealed_ns >= MANAGER_AUDIT_SEAL_S * BH_NS_PER_S) &&
	    audit_seal(audit, wall_ns, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "audit", 1, "no seal: %s", diag.text);
	}
}

void manager_audit_request(char ret[MANAGER_AUDIT_REQUEST_SIZE])
{
	uint8_t bytes[(MANAGER_AUDIT_REQUEST_SIZE - 1) / 2];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
		abort();
	}
	bh_hex_format(bytes, sizeof(bytes), ret);
}

const struct bh_audit_key *manager_audit_key(const struct manager_audit *audit)
{
	return audit->key;
}

json_t *manager_audit_stats(struct manager_audit *audit)
{
	const struct audit_late *late;
	size_t count;

	manager_audit_flush(audit);
	DL_COUNT(audit->late, late, count);
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "log", audit->log, "key",
			 bh_audit_key_id(audit->key), "entries", (json_int_t)audit->all->seq,
			 "sealed", (json_int_t)audit->all->sealed, "late",
			 (json_int_t)audit->late_count, "ready", manager_audit_ready(audit));
}

/* ---- opening ---- */

static int take_log(sqlite3_stmt *row, void *arg)
{
	snprintf(arg, BH_AUDIT_LOG_SIZE, "%s", manager_db_text(row, 0));
	return 1;
}

static int log_id(struct manager_audit *audit, struct bh_diag *diag)
{
	uint8_t bytes[(BH_AUDIT_LOG_SIZE - 1) / 2];
	int r = manager_db_each(audit->db, (struct manager_db_each){take_log, audit->log}, diag,
				"SELECT value FROM meta WHERE name = 'log'", "");

	if (r < 0 || r == 1) {
		return r < 0 ? r : 0;
	}
	if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
		return bh_diag_set(diag, -EIO, "the random source does not work");
	}
	bh_hex_format(bytes, sizeof(bytes), audit->log);
	return manager_db_run(audit->db, diag, "INSERT INTO meta VALUES ('log', ?1)", "t",
			      audit->log);
}

/* What was changed behind our back is told, and on record from now on. */
static void look(struct manager_audit *audit, uint64_t wall_ns)
{
	struct bh_diag diag = {};
	struct manager_audit_note note = {.tenant = 1,
					  .tenant_name = "provider",
					  .user = "bulkheadd",
					  .via = "system",
					  .act = "audit.check",
					  .result = "failed",
					  .reason = diag.text};

	if (audit_check(audit, &diag) < 0) {
		bh_log(BH_LOG_ERROR, "audit", "the audit log was changed: %s", diag.text);
		audit_tell(audit, "audit.broken", "critical",
			   json_pack("{s:s}", "message", diag.text));
		manager_audit_add(audit, &note, wall_ns);
	}
}

int manager_audit_open(const struct manager_audit_options *o, struct manager_audit **ret,
		       struct bh_diag *diag)
{
	struct manager_audit *audit = bh_alloc(sizeof(*audit));
	int r = manager_db_open(o->path, migrations, BH_ARRAY_SIZE(migrations), &audit->db, diag);

	audit->notice = o->notice;
	audit->notice_arg = o->notice_arg;
	audit->reserve_path = bh_asprintf("%s.reserve", o->path);
	audit->reserve_bytes = o->reserve_bytes;
	audit->head_file = o->head_file ? bh_strdup(o->head_file) : NULL;
	audit->reserve = access(audit->reserve_path, F_OK) == 0;
	if (r == 0) {
		r = log_id(audit, diag);
	}
	if (r == 0) {
		r = audit_chains_load(audit, diag);
	}
	if (r == 0) {
		r = audit_key_open(audit, o->key_file, o->wall_ns, diag);
	}
	if (r < 0) {
		manager_audit_close(audit);
		return r;
	}
	look(audit, o->wall_ns);
	if (audit_end_open(audit, o->wall_ns, diag) < 0) {
		bh_log(BH_LOG_ERROR, "audit", "%s", diag->text); /* at the next start */
	}
	audit->unsealed_ns = audit->all->seq > audit->all->sealed ? o->wall_ns : 0;
	*ret = audit;
	return 0;
}

void manager_audit_close(struct manager_audit *audit)
{
	struct audit_chain *c, *tmp;

	if (!audit) {
		return;
	}
	audit_limits_done(audit);
	manager_audit_flush(audit);
	if (audit->late) {
		try_late(audit, AUDIT_LATE_PASS);
	}
	if (audit->key && audit->all->seq > audit->all->sealed) {
		(void)!audit_seal(audit, bh_time_wall_ns(), NULL); /* else at the next start */
	}
	drop_all(&audit->late);
	HASH_ITER (hh, audit->chains, c, tmp) {
		HASH_DEL(audit->chains, c);
		free(c);
	}
	bh_audit_key_free(audit->key);
	manager_db_close(audit->db);
	free(audit->reserve_path);
	free(audit->head_file);
	free(audit);
}
