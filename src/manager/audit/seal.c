/* SPDX-License-Identifier: Apache-2.0 */
/* The key that signs the log, its seals, and whether what is in the database still fits. */
#include "manager/audit/internal.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/jtext.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <openssl/crypto.h>

#define KEY_FILE_MAX 4096

BH_COUNTER(audit_seals, "chains of the audit log signed");

/* ---- the key ---- */

static int key_new(const char *file, struct bh_audit_key **ret, struct bh_diag *diag)
{
	struct bh_audit_key *key = bh_audit_key_new();
	char *pem = bh_audit_key_pem(key, true);
	int r = bh_file_replace(file, pem, strlen(pem), 0600, diag);

	OPENSSL_cleanse(pem, strlen(pem));
	free(pem);
	if (r < 0) {
		bh_audit_key_free(key);
		return r;
	}
	*ret = key;
	return 0;
}

static int key_load(const char *file, struct bh_audit_key **ret, struct bh_diag *diag)
{
	char *pem = NULL;
	size_t size;
	int r = bh_file_read(file, KEY_FILE_MAX, &pem, &size, diag);

	if (r == 0) {
		r = bh_audit_key_read(pem, size, ret, diag);
		if (r < 0) {
			bh_diag_prefix(diag, "%s", file);
		}
		OPENSSL_cleanse(pem, size);
	}
	free(pem);
	return r;
}

int audit_key_open(struct manager_audit *audit, const char *file, uint64_t wall_ns,
		   struct bh_diag *diag)
{
	int r = access(file, F_OK) == 0 ? key_load(file, &audit->key, diag)
					: key_new(file, &audit->key, diag);
	int64_t known;

	if (r < 0) {
		return r;
	}
	known = manager_db_number(audit->db, 0, "SELECT count(*) FROM keys WHERE id = ?1", "t",
				  bh_audit_key_id(audit->key));
	if (known) {
		return 0;
	}
	bh_log(BH_LOG_INFO, "audit", "the audit log is signed with key %s from now on",
	       bh_audit_key_id(audit->key));
	return manager_db_run(audit->db, diag, "INSERT INTO keys VALUES (?1, ?2, ?3)", "tti",
			      bh_audit_key_id(audit->key), bh_audit_key_public(audit->key),
			      (int64_t)wall_ns);
}

/* ---- seals ---- */

static int seal_one(struct manager_audit *audit, struct audit_chain *c, uint64_t wall_ns,
		    struct bh_diag *diag)
{
	struct bh_audit_seal seal = {.tenant = c->tenant,
				     .from = c->sealed + 1,
				     .prev = c->sealed_head,
				     .to = c->seq,
				     .head = c->head,
				     .time_ns = wall_ns};
	struct bh_wbuf w;
	int r;

	memcpy(seal.log, audit->log, sizeof(seal.log));
	bh_wbuf_init(&w, 0);
	r = bh_audit_seal_write(&w, &seal, audit->key);
	if (r == 0) {
		r = manager_db_run(audit->db, diag,
				   "INSERT INTO seals (tenant, upto, statement, head, line)"
				   " VALUES (?1, ?2, 0, ?3, ?4)",
				   "uibt", c->tenant, (int64_t)c->seq, c->head.bytes,
				   sizeof(c->head.bytes), bh_wbuf_cstr(&w));
	}
	bh_wbuf_done(&w);
	if (r == 0) {
		r = manager_db_run(audit->db, diag,
				   "UPDATE chains SET sealed = ?2, sealed_head = ?3"
				   " WHERE tenant = ?1",
				   "uib", c->tenant, (int64_t)c->seq, c->head.bytes,
				   sizeof(c->head.bytes));
	}
	return r;
}

/* Beside the database: who puts an older copy of that in place has to think of this too. */
static void note_head(struct manager_audit *audit)
{
	char head[BH_AUDIT_HASH_TEXT_SIZE];
	BH_FREE char *text = NULL;
	struct bh_diag diag = {};

	if (!audit->head_file) {
		return;
	}
	bh_hex_format(audit->all->sealed_head.bytes, sizeof(audit->all->sealed_head.bytes), head);
	text = bh_asprintf("%s %llu %s\n", audit->log, (unsigned long long)audit->all->sealed,
			   head);
	if (bh_file_replace(audit->head_file, text, strlen(text), 0600, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "audit", 1, "%s", diag.text); /* with the next seal */
	}
}

int audit_seal(struct manager_audit *audit, uint64_t wall_ns, struct bh_diag *diag)
{
	struct audit_chain *c, *tmp;
	unsigned int count = 0;
	int r = manager_db_begin(audit->db, diag);

	HASH_ITER (hh, audit->chains, c, tmp) {
		if (r == 0 && c->seq > c->sealed) {
			r = seal_one(audit, c, wall_ns, diag);
			count++;
		}
	}
	if (r == 0) {
		r = manager_db_commit(audit->db, diag);
	}
	if (r < 0) {
		manager_db_abort(audit->db);
		return r;
	}
	HASH_ITER (hh, audit->chains, c, tmp) {
		c->sealed = c->seq;
		c->sealed_head = c->head;
	}
	audit->unsealed_ns = 0;
	bh_counter_add(&audit_seals, count);
	note_head(audit);
	return 0;
}

/* ---- is it still what was written? ---- */

struct check {
	struct bh_audit_hash head; /* of the last one looked at */
	uint64_t seq;
	bool first; /* the last sealed entry: its hash must be the seal's */
	const struct audit_chain *all;
	struct bh_diag *diag;
};

static int check_row(sqlite3_stmt *row, void *arg)
{
	struct check *c = arg;
	uint64_t seq = (uint64_t)sqlite3_column_int64(row, 0);
	struct bh_audit_hash prev = audit_hash_column(row, 1);
	const char *line = manager_db_text(row, 2);
	struct bh_wbuf record;

	if (seq != c->seq + 1) {
		return bh_diag_set(c->diag, -EBADMSG, "entries %llu to %llu are missing",
				   (unsigned long long)c->seq + 1, (unsigned long long)seq - 1);
	}
	if (!c->first && !bh_audit_hash_same(&prev, &c->head)) {
		return bh_diag_set(c->diag, -EBADMSG, "entry %llu or the one before it was changed",
				   (unsigned long long)seq);
	}
	bh_wbuf_init(&record, 0);
	bh_audit_record_write(&record, seq, &prev, line, strlen(line));
	c->head = bh_audit_hash_of(record.data, record.size);
	bh_wbuf_done(&record);
	if (c->first && !bh_audit_hash_same(&c->head, &c->all->sealed_head)) {
		return bh_diag_set(c->diag, -EBADMSG, "entry %llu was changed since it was sealed",
				   (unsigned long long)seq);
	}
	c->first = false;
	c->seq = seq;
	return 0;
}

struct last_seal {
	char *line;
	struct bh_audit_hash head;
	uint64_t upto;
};

static int take_seal(sqlite3_stmt *row, void *arg)
{
	struct last_seal *last = arg;

	last->upto = (uint64_t)sqlite3_column_int64(row, 0);
	last->head = audit_hash_column(row, 1);
	last->line = bh_strdup(manager_db_text(row, 2));
	return 1;
}

/* The seal's signature and what it says against the columns that the program goes by. A seal of an
 * older key is of the keys table's business: who exports gets it and verifies. */
static int check_seal(struct manager_audit *audit, const struct last_seal *last,
		      struct bh_diag *diag)
{
	BH_FREE struct bh_jtext *line = bh_alloc(sizeof(*line));
	BH_FREE struct bh_jtext *seal = bh_alloc(sizeof(*seal));
	const struct bh_jtext_member *m, *sig;
	char key[BH_AUDIT_KEY_ID_SIZE], head[BH_AUDIT_HASH_TEXT_SIZE];
	char want[BH_AUDIT_HASH_TEXT_SIZE];
	uint64_t upto;

	if (bh_jtext_parse(last->line, strlen(last->line), line, NULL) < 0 ||
	    !(m = bh_jtext_find(line, "seal")) || !(sig = bh_jtext_find(line, "sig")) ||
	    bh_jtext_parse(line->text + m->value, m->value_size, seal, NULL) < 0 ||
	    !bh_jtext_str(seal, "key", key, sizeof(key)) ||
	    !bh_jtext_str(seal, "head", head, sizeof(head)) ||
	    !bh_jtext_u64(seal, "to", INT64_MAX, &upto)) {
		return bh_diag_set(diag, -EBADMSG, "the last seal can't be read");
	}
	if (strcmp(key, bh_audit_key_id(audit->key)) == 0 &&
	    bh_audit_key_verify(audit->key, line->text + m->value, m->value_size,
				line->text + sig->value, sig->value_size) < 0) {
		return bh_diag_set(diag, -EBADMSG, "the signature of the last seal is not good");
	}
	bh_hex_format(audit->all->sealed_head.bytes, sizeof(audit->all->sealed_head.bytes), want);
	if (upto != audit->all->sealed || strcmp(head, want) != 0) {
		return bh_diag_set(diag, -EBADMSG, "the last seal speaks of entry %llu, not %llu",
				   (unsigned long long)upto,
				   (unsigned long long)audit->all->sealed);
	}
	return 0;
}

/* The same log, and no older than what was noted. The noted one may have been archived since. */
static int check_head(struct manager_audit *audit, struct bh_diag *diag)
{
	BH_FREE char *text = NULL;
	char log[BH_AUDIT_LOG_SIZE] = "";
	char head[BH_AUDIT_HASH_TEXT_SIZE] = "", now[BH_AUDIT_HASH_TEXT_SIZE];
	unsigned long long seq = 0;
	size_t size;

	if (!audit->head_file || access(audit->head_file, F_OK) < 0) {
		return 0;
	}
	if (bh_file_read(audit->head_file, KEY_FILE_MAX, &text, &size, diag) < 0 ||
	    sscanf(text, "%32s %llu %64s", log, &seq, head) != 3) {
		return bh_diag_set(diag, -EBADMSG, "%s can't be read", audit->head_file);
	}
	if (strcmp(log, audit->log) != 0) {
		return bh_diag_set(diag, -EBADMSG,
				   "this is another log than the one of which entry %llu was "
				   "sealed",
				   seq);
	}
	bh_hex_format(audit->all->sealed_head.bytes, sizeof(audit->all->sealed_head.bytes), now);
	if (seq > audit->all->sealed || (seq == audit->all->sealed && strcmp(head, now) != 0)) {
		return bh_diag_set(diag, -EBADMSG,
				   "entries up to %llu were sealed, here up to %llu: an older copy",
				   seq, (unsigned long long)audit->all->sealed);
	}
	return 0;
}

static int check_entries(struct manager_audit *audit, struct bh_diag *diag)
{
	const struct audit_chain *all = audit->all;
	struct check c = {.all = all, .diag = diag};
	struct last_seal last = {};
	int r = manager_db_each(audit->db, (struct manager_db_each){take_seal, &last}, diag,
				"SELECT upto, head, line FROM seals WHERE tenant = 0 AND"
				" statement = 0 ORDER BY upto DESC LIMIT 1",
				"");

	if (r >= 0) {
		r = last.line ? check_seal(audit, &last, diag) : 0;
		if (!last.line && all->sealed) {
			r = bh_diag_set(diag, -EBADMSG, "the seals are gone");
		}
	}
	free(last.line);
	if (r < 0) {
		return r;
	}
	/* The sealed entry itself may have been archived and pruned. */
	c.first = manager_db_number(audit->db, 0, "SELECT count(*) FROM entries WHERE seq = ?1",
				    "i", (int64_t)all->sealed) > 0;
	c.head = all->sealed_head;
	c.seq = c.first ? all->sealed - 1 : all->sealed;
	r = manager_db_each(audit->db, (struct manager_db_each){check_row, &c}, diag,
			    "SELECT seq, prev, line FROM entries WHERE seq > ?1 ORDER BY seq", "i",
			    (int64_t)c.seq);
	if (r < 0) {
		return r;
	}
	if (c.seq != all->seq || !bh_audit_hash_same(&c.head, &all->head)) {
		return bh_diag_set(diag, -EBADMSG, "the end is missing: %llu entries of %llu",
				   (unsigned long long)c.seq, (unsigned long long)all->seq);
	}
	return 0;
}

int audit_check(struct manager_audit *audit, struct bh_diag *diag)
{
	int r = check_head(audit, diag);

	return r < 0 ? r : check_entries(audit, diag);
}
