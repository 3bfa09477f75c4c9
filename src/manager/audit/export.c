/* SPDX-License-Identifier: Apache-2.0 */
/* An export of the log in pieces, and taking away what was exported. */
#include "manager/audit/internal.h"

#include "base/counter.h"
#include "base/jtext.h"
#include "base/time.h"

#include <errno.h>

#define PIECE 256 /* entries */

BH_COUNTER(audit_exports, "exports of the audit log");

struct manager_audit_export {
	struct manager_audit *audit;
	struct manager_audit_export_options o;
	char *tenant_name;
	uint64_t next, to; /* numbers in the chain that is exported */
	uint64_t from;
	uint64_t seal; /* number of the next entry with a checkpoint behind it; 0: not asked yet */
	struct bh_audit_hash prev, head;
	bool begun, ended;
	struct bh_wbuf *w;
};

/* ---- numbers ---- */

/* The number in the chain of the first entry at that time or later; of the next one to come when
 * there is none. */
static uint64_t number_at(struct manager_audit *audit, uint32_t tenant, uint64_t wall_ns)
{
	int64_t seq = manager_db_number(audit->db, INT64_MAX,
					"SELECT seq FROM entries WHERE time >= ?1 ORDER BY time,"
					" seq LIMIT 1",
					"i", (int64_t)wall_ns);

	if (!tenant) {
		return seq == INT64_MAX ? audit->all->seq + 1 : (uint64_t)seq;
	}
	return audit_tseq_at(audit, tenant, seq);
}

static uint64_t oldest(struct manager_audit *audit, uint32_t tenant)
{
	int64_t end = (int64_t)audit_chain_of(audit, tenant)->seq + 1;

	if (!tenant) {
		return (uint64_t)manager_db_number(
			audit->db, end, "SELECT seq FROM entries ORDER BY seq LIMIT 1", "");
	}
	return (uint64_t)manager_db_number(audit->db, end,
					   "SELECT tseq FROM entries WHERE tenant = ?1"
					   " ORDER BY tseq LIMIT 1",
					   "u", tenant);
}

int manager_audit_export_new(struct manager_audit *audit,
			     const struct manager_audit_export_options *o,
			     struct manager_audit_export **ret, struct bh_diag *diag)
{
	struct manager_audit_export *x;
	const struct audit_chain *c;

	if (audit->exports >= AUDIT_EXPORTS_MAX) {
		return bh_diag_set(diag, -EBUSY, "%d exports are running", AUDIT_EXPORTS_MAX);
	}
	manager_audit_flush(audit);
	x = bh_alloc(sizeof(*x));
	c = audit_chain_of(audit, o->tenant);
	x->audit = audit;
	x->o = *o;
	x->tenant_name = bh_strdup(o->tenant_name ? o->tenant_name : "");
	x->next = oldest(audit, o->tenant);
	x->to = c->seq;
	x->prev = x->head = c->head;
	if (o->since_ns) {
		uint64_t since = number_at(audit, o->tenant, o->since_ns);

		x->next = since > x->next ? since : x->next;
	}
	if (o->until_ns) {
		uint64_t until = number_at(audit, o->tenant, o->until_ns);

		x->to = until - 1 < x->to ? until - 1 : x->to;
	}
	x->from = x->next;
	x->to = x->to + 1 < x->from ? x->from - 1 : x->to;
	audit->exports++;
	bh_counter_add(&audit_exports, 1);
	*ret = x;
	return 0;
}

void manager_audit_export_free(struct manager_audit_export *x)
{
	if (x) {
		x->audit->exports--;
		free(x->tenant_name);
		free(x);
	}
}

/* ---- pieces ---- */

static int add_key(sqlite3_stmt *row, void *arg)
{
	struct bh_wbuf *w = arg;

	bh_wbuf_printf(w, "%s%s", w->size ? " " : "", manager_db_text(row, 0));
	return 0;
}

static int write_head(struct manager_audit_export *x, struct bh_wbuf *w, struct bh_diag *diag)
{
	struct bh_audit_head head = {
		.tenant = x->o.tenant, .tenant_name = x->tenant_name, .time_ns = x->o.wall_ns};
	struct bh_wbuf keys;
	int r;

	bh_wbuf_init(&keys, 0);
	r = manager_db_each(x->audit->db, (struct manager_db_each){add_key, &keys}, diag,
			    "SELECT public FROM keys ORDER BY since DESC LIMIT 16", "");
	if (r == 0) {
		memcpy(head.log, x->audit->log, sizeof(head.log));
		head.keys = bh_wbuf_cstr(&keys);
		bh_audit_head_write(w, &head);
		bh_wbuf_u8(w, '\n');
	}
	bh_wbuf_done(&keys);
	return r;
}

static int add_seal(sqlite3_stmt *row, void *arg)
{
	struct manager_audit_export *x = arg;

	bh_wbuf_str(x->w, manager_db_text(row, 0));
	bh_wbuf_u8(x->w, '\n');
	return 0;
}

/* The checkpoints of entry number `at`, which was just written. */
static int write_seals(struct manager_audit_export *x, uint64_t at, struct bh_diag *diag)
{
	if (!x->seal || x->seal < at) {
		x->seal = (uint64_t)manager_db_number(x->audit->db, INT64_MAX,
						      "SELECT upto FROM seals WHERE tenant = ?1 AND"
						      " upto >= ?2 AND statement = 0 ORDER BY upto"
						      " LIMIT 1",
						      "ui", x->o.tenant, (int64_t)at);
	}
	if (x->seal != at) {
		return 0;
	}
	return manager_db_each(x->audit->db, (struct manager_db_each){add_seal, x}, diag,
			       "SELECT line FROM seals WHERE tenant = ?1 AND upto = ?2 AND"
			       " statement = 0",
			       "ui", x->o.tenant, (int64_t)at);
}

/* A tenant's line says itself what was before it. */
static struct bh_audit_hash tprev_of(const char *line)
{
	BH_FREE struct bh_jtext *j = bh_alloc(sizeof(*j));
	char text[BH_AUDIT_HASH_TEXT_SIZE];
	struct bh_audit_hash hash = {};

	if (bh_jtext_parse(line, strlen(line), j, NULL) == 0 &&
	    bh_jtext_str(j, "tprev", text, sizeof(text))) {
		(void)!bh_hex_parse(text, hash.bytes, sizeof(hash.bytes));
	}
	return hash;
}

/* Columns: seq, tseq, prev, line. What is missing in the database shows to who verifies. */
static int add_entry(sqlite3_stmt *row, void *arg)
{
	struct manager_audit_export *x = arg;
	uint64_t seq = (uint64_t)sqlite3_column_int64(row, 0);
	uint64_t number = x->o.tenant ? (uint64_t)sqlite3_column_int64(row, 1) : seq;
	const char *line = manager_db_text(row, 3);
	struct bh_audit_hash prev = audit_hash_column(row, 2);
	size_t begin = x->w->size;

	if (x->o.tenant) {
		bh_wbuf_str(x->w, line);
	} else {
		bh_audit_record_write(x->w, seq, &prev, line, strlen(line));
	}
	if (number == x->from) {
		x->prev = x->o.tenant ? tprev_of(line) : prev;
	}
	x->head = bh_audit_hash_of(x->w->data + begin, x->w->size - begin);
	bh_wbuf_u8(x->w, '\n');
	x->next = number + 1;
	return write_seals(x, number, NULL);
}

static int write_entries(struct manager_audit_export *x, struct bh_diag *diag)
{
	struct manager_db_each each = {add_entry, x};

	if (!x->o.tenant) {
		return manager_db_each(x->audit->db, each, diag,
				       "SELECT seq, tseq, prev, line FROM entries WHERE seq >= ?1"
				       " AND seq <= ?2 ORDER BY seq LIMIT ?3",
				       "iii", (int64_t)x->next, (int64_t)x->to, (int64_t)PIECE);
	}
	return manager_db_each(x->audit->db, each, diag,
			       "SELECT seq, tseq, prev, line FROM entries WHERE tenant = ?1 AND"
			       " tseq >= ?2 AND tseq <= ?3 ORDER BY tseq LIMIT ?4",
			       "uiii", x->o.tenant, (int64_t)x->next, (int64_t)x->to,
			       (int64_t)PIECE);
}

/* Kept as well: what was exported whole may be pruned. */
static int write_statement(struct manager_audit_export *x, struct bh_wbuf *w, struct bh_diag *diag)
{
	struct bh_audit_seal seal = {.statement = true,
				     .tenant = x->o.tenant,
				     .from = x->from,
				     .prev = x->prev,
				     .to = x->to,
				     .head = x->head,
				     .time_ns = x->o.wall_ns};
	struct bh_wbuf line;
	int r;

	memcpy(seal.log, x->audit->log, sizeof(seal.log));
	bh_wbuf_init(&line, 0);
	r = bh_audit_seal_write(&line, &seal, x->audit->key);
	if (r == 0 && !x->o.tenant && x->to >= x->from) {
		r = manager_db_run(x->audit->db, diag,
				   "INSERT INTO seals (tenant, upto, statement, head, line)"
				   " VALUES (0, ?1, ?2, ?3, ?4)",
				   "iibt", (int64_t)x->to, (int64_t)x->from, x->head.bytes,
				   sizeof(x->head.bytes), bh_wbuf_cstr(&line));
		r = r == -ENOSPC ? 0 : r; /* reading goes on; it can't be pruned by this one */
	}
	bh_wbuf_put(w, line.data, line.size);
	bh_wbuf_u8(w, '\n');
	bh_wbuf_done(&line);
	return r;
}

int manager_audit_export_read(struct manager_audit_export *x, struct bh_wbuf *w,
			      struct bh_diag *diag)
{
	uint64_t next = x->next;
	int r = 0;

	if (x->ended) {
		return 0;
	}
	x->w = w;
	if (!x->begun) {
		x->begun = true;
		r = write_head(x, w, diag);
		return r < 0 ? r : 1;
	}
	if (x->next <= x->to) {
		r = write_entries(x, diag);
	}
	if (r == 0 && (x->next > x->to || x->next == next)) {
		x->ended = true;
		r = write_statement(x, w, diag);
	}
	return r < 0 ? r : 1;
}

/* ---- pruning ---- */

int manager_audit_prune(struct manager_audit *audit, uint64_t to, const struct bh_audit_hash *head,
			struct bh_diag *diag)
{
	int64_t first = (int64_t)oldest(audit, 0), known;
	int r;

	manager_audit_flush(audit);
	/* statement holds the number that such an export began with */
	if (manager_db_number(audit->db, 0, "SELECT count(*) FROM open WHERE seq <= ?1", "i",
			      (int64_t)to)) {
		return bh_diag_set(diag, -EBUSY, "an act that began before entry %llu still runs",
				   (unsigned long long)to);
	}
	known = manager_db_number(audit->db, 0,
				  "SELECT count(*) FROM seals WHERE tenant = 0 AND upto = ?1 AND"
				  " statement > 0 AND statement <= ?2 AND head = ?3",
				  "iib", (int64_t)to, first, head->bytes, sizeof(head->bytes));
	if (!known) {
		return bh_diag_set(diag, MANAGER_AUDIT_NO_STATEMENT,
				   "no export of everything up to entry %llu ended with that hash: "
				   "export first, keep the file, then prune what it holds",
				   (unsigned long long)to);
	}
	r = manager_db_begin(audit->db, diag);
	if (r == 0) {
		r = manager_db_run(audit->db, diag, "DELETE FROM entries WHERE seq <= ?1", "i",
				   (int64_t)to);
	}
	if (r == 0) {
		r = manager_db_run(audit->db, diag,
				   "DELETE FROM seals WHERE tenant = 0 AND upto < ?1", "i",
				   (int64_t)to);
	}
	if (r == 0) {
		r = manager_db_commit(audit->db, diag);
	}
	if (r < 0) {
		manager_db_abort(audit->db);
	}
	return r;
}
