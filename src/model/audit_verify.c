/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain that a file holds is `chain`: of everything, or of its tenant. In a file of everything
 * each tenant's own chain is looked at as well (`tenants`).
 *
 * A link that does not fit leaves open which of its two ends was changed. The line is then kept
 * (`suspect`), and what comes next decides: if that is chained to the kept line, the kept line is
 * as it was and the one before it was changed.
 */
#include "model/audit_verify.h"

#include "base/jtext.h"
#include "base/util.h"

#include <errno.h>
#include <uthash.h>

struct chain {
	uint32_t tenant;
	uint64_t seq; /* of the last one; 0: none yet */
	struct bh_audit_hash head;
	UT_hash_handle hh;
};

struct bh_audit_verifier {
	struct bh_audit_report report;
	struct bh_audit_key *const *given;
	size_t given_count;
	struct bh_audit_key *named[BH_AUDIT_VERIFY_KEYS];
	size_t named_count;
	bool has_head, has_statement;
	struct chain chain;
	struct bh_audit_hash prev; /* what was before the first one */
	struct chain *tenants;
	char name[64]; /* of the tenant, as its entries say */
	bool suspect;
	uint64_t suspect_line;
	int wrong; /* over */
	struct bh_wbuf part;
	struct bh_jtext line, inner; /* large: not on the stack */
};

static const struct bh_audit_hash zeros;

const char *bh_audit_wrong_name(enum bh_audit_wrong wrong)
{
	static const char *const names[] = {
		[BH_AUDIT_UNREADABLE] = "unreadable", [BH_AUDIT_CHANGED] = "changed",
		[BH_AUDIT_MISSING] = "missing",	      [BH_AUDIT_ORDER] = "out of order",
		[BH_AUDIT_END_CUT] = "end cut off",   [BH_AUDIT_BEGIN_CUT] = "beginning cut off",
		[BH_AUDIT_SEAL] = "bad seal",	      [BH_AUDIT_KEY] = "unknown key",
	};

	return wrong > 0 && wrong < BH_ARRAY_SIZE(names) ? names[wrong] : "ok";
}

struct bh_audit_verifier *bh_audit_verifier_new(struct bh_audit_key *const *keys, size_t count)
{
	struct bh_audit_verifier *v = bh_alloc(sizeof(*v));

	v->given = keys;
	v->given_count = count;
	v->report.trusted = count > 0;
	bh_wbuf_init(&v->part, BH_AUDIT_VERIFY_LINE_MAX + 1);
	return v;
}

void bh_audit_verifier_free(struct bh_audit_verifier *v)
{
	struct chain *c, *tmp;

	if (!v) {
		return;
	}
	HASH_ITER (hh, v->tenants, c, tmp) {
		HASH_DEL(v->tenants, c);
		free(c);
	}
	for (size_t i = 0; i < v->named_count; i++) {
		bh_audit_key_free(v->named[i]);
	}
	bh_wbuf_done(&v->part);
	free(v);
}

/* ---- members ---- */

static bool get_hash(const struct bh_jtext *j, const char *key, struct bh_audit_hash *ret)
{
	char text[BH_AUDIT_HASH_TEXT_SIZE];

	return bh_jtext_str(j, key, text, sizeof(text)) && !strpbrk(text, "ABCDEF") &&
	       bh_hex_parse(text, ret->bytes, sizeof(ret->bytes)) == 0;
}

static bool get_number(const struct bh_jtext *j, const char *key, uint64_t *ret)
{
	return bh_jtext_u64(j, key, INT64_MAX - 1, ret);
}

static bool get_tenant(const struct bh_jtext *j, uint32_t *ret)
{
	uint64_t v;

	if (!bh_jtext_u64(j, "tenant", UINT32_MAX, &v)) {
		return false;
	}
	*ret = (uint32_t)v;
	return true;
}

static int over(struct bh_audit_verifier *v, enum bh_audit_wrong wrong, uint64_t line)
{
	v->wrong = (int)wrong;
	v->report.wrong_line = line;
	return v->wrong;
}

static int no_line(struct bh_audit_verifier *v, const char *what, struct bh_diag *diag)
{
	bh_diag_set(diag, 0, "line %llu: %s", (unsigned long long)v->report.lines, what);
	return over(v, BH_AUDIT_UNREADABLE, v->report.lines);
}

/* ---- links ---- */

/* The kept line fits to what follows it (same) or not. */
static int decide(struct bh_audit_verifier *v, bool same, struct bh_diag *diag)
{
	unsigned long long line = v->suspect_line;
	uint64_t entry = v->chain.seq;

	if (same) {
		bh_diag_set(diag, 0,
			    "entry %llu (line %llu) was changed: entry %llu was chained to "
			    "another text of it",
			    (unsigned long long)entry - 1, line - 1, (unsigned long long)entry);
		return over(v, BH_AUDIT_CHANGED, line - 1);
	}
	bh_diag_set(diag, 0, "entry %llu (line %llu) was changed: it fits to neither neighbour",
		    (unsigned long long)entry, line);
	return over(v, BH_AUDIT_CHANGED, line);
}

/* The number of an entry against the one before it in its chain; of is for words. */
static int check_number(struct bh_audit_verifier *v, const struct chain *c, uint64_t seq,
			const char *of, struct bh_diag *diag)
{
	unsigned long long line = v->report.lines;

	if (seq > c->seq + 1) {
		bh_diag_set(diag, 0, "line %llu: %sentries %llu to %llu are missing before it",
			    line, of, (unsigned long long)c->seq + 1, (unsigned long long)seq - 1);
		return over(v, BH_AUDIT_MISSING, v->report.lines);
	}
	if (seq <= c->seq) {
		bh_diag_set(diag, 0, "line %llu: %sentry %llu comes after entry %llu", line, of,
			    (unsigned long long)seq, (unsigned long long)c->seq);
		return over(v, BH_AUDIT_ORDER, v->report.lines);
	}
	return 0;
}

/* The next of the file's own chain. */
static int link_on(struct bh_audit_verifier *v, uint64_t seq, const struct bh_audit_hash *prev,
		   const struct bh_audit_hash *own, struct bh_diag *diag)
{
	struct chain *c = &v->chain;
	bool fits = bh_audit_hash_same(prev, &c->head);
	int r;

	if (!seq) {
		return no_line(v, "an entry has no number", diag);
	}
	if (!v->report.count) {
		if (seq == 1 && !bh_audit_hash_same(prev, &zeros)) {
			return no_line(v, "the first entry of all says that there is one before it",
				       diag);
		}
		v->report.from = seq;
		v->prev = *prev;
	} else if (v->suspect) {
		return decide(v, fits && seq == c->seq + 1, diag);
	} else {
		r = check_number(v, c, seq, "", diag);
		if (r) {
			return r;
		}
		v->suspect = !fits;
		v->suspect_line = v->report.lines;
	}
	c->seq = seq;
	c->head = *own;
	v->report.to = seq;
	v->report.count++;
	return 0;
}

/* In a file of everything: the chain of the entry's tenant. A file that begins in the middle can't
 * say what was before a tenant's first entry in it. */
static int link_tenant(struct bh_audit_verifier *v, uint32_t tenant, uint64_t tseq,
		       const struct bh_audit_hash *tprev, const struct bh_audit_hash *own,
		       struct bh_diag *diag)
{
	BH_FREE char *of = bh_asprintf("of tenant %u ", tenant);
	struct chain *c;
	int r;

	HASH_FIND(hh, v->tenants, &tenant, sizeof(tenant), c);
	if (!c) {
		if (HASH_COUNT(v->tenants) == BH_AUDIT_VERIFY_TENANTS) {
			return no_line(v, "too many tenants", diag);
		}
		if (!tseq || (v->report.from == 1 && tseq != 1) ||
		    (tseq == 1 && !bh_audit_hash_same(tprev, &zeros))) {
			return no_line(v, "a tenant's chain does not begin with its first entry",
				       diag);
		}
		c = bh_alloc(sizeof(*c));
		c->tenant = tenant;
		HASH_ADD(hh, v->tenants, tenant, sizeof(c->tenant), c);
	} else {
		r = check_number(v, c, tseq, of, diag);
		if (r) {
			return r;
		}
		if (!bh_audit_hash_same(tprev, &c->head)) {
			return no_line(v, "the chain of its tenant is broken at this entry", diag);
		}
	}
	c->seq = tseq;
	c->head = *own;
	v->report.tenants = HASH_COUNT(v->tenants);
	return 0;
}

static void note_time(struct bh_audit_verifier *v, const struct bh_jtext *entry)
{
	char time[sizeof(v->report.ended)];

	if (bh_jtext_str(entry, "time", time, sizeof(time))) {
		memcpy(v->report.ended, time, sizeof(time));
		if (v->report.count == 1) {
			memcpy(v->report.begun, time, sizeof(time));
		}
	}
}

/* What both kinds of file have: the entry itself, in v->inner. */
static int read_entry(struct bh_audit_verifier *v, const char *text, size_t size, uint32_t *tenant,
		      uint64_t *tseq, struct bh_audit_hash *tprev)
{
	uint64_t version;

	if (bh_jtext_parse(text, size, &v->inner, NULL) < 0 ||
	    !get_number(&v->inner, "v", &version) || version != BH_AUDIT_VERSION ||
	    !get_tenant(&v->inner, tenant) || !*tenant || !get_number(&v->inner, "tseq", tseq) ||
	    !get_hash(&v->inner, "tprev", tprev)) {
		return -EBADMSG;
	}
	return 0;
}

static int take_record(struct bh_audit_verifier *v, struct bh_diag *diag)
{
	const struct bh_jtext_member *m = bh_jtext_find(&v->line, "entry");
	struct bh_audit_hash prev, tprev, own;
	const char *text;
	uint64_t seq, tseq;
	uint32_t tenant;
	int r;

	if (v->report.tenant) {
		return no_line(v, "a record of everything in the file of a tenant", diag);
	}
	if (!m || m->kind != BH_JTEXT_OBJECT || v->line.count != 3 ||
	    !get_number(&v->line, "seq", &seq) || !get_hash(&v->line, "prev", &prev)) {
		return no_line(v, "not a record", diag);
	}
	text = v->line.text + m->value;
	if (read_entry(v, text, m->value_size, &tenant, &tseq, &tprev) < 0) {
		return no_line(v, "the record holds no entry", diag);
	}
	own = bh_audit_hash_of(v->line.text, v->line.size);
	r = link_on(v, seq, &prev, &own, diag);
	if (r || v->suspect) {
		return r;
	}
	own = bh_audit_hash_of(text, m->value_size);
	r = link_tenant(v, tenant, tseq, &tprev, &own, diag);
	if (r == 0) {
		note_time(v, &v->inner);
	}
	return r;
}

static int take_entry(struct bh_audit_verifier *v, struct bh_diag *diag)
{
	struct bh_audit_hash prev, own;
	uint32_t tenant;
	uint64_t seq;
	int r;

	if (!v->report.tenant) {
		return no_line(v, "an entry without its record in a file of everything", diag);
	}
	if (read_entry(v, v->line.text, v->line.size, &tenant, &seq, &prev) < 0) {
		return no_line(v, "not an entry", diag);
	}
	if (tenant != v->report.tenant) {
		return no_line(v, "an entry of another tenant", diag);
	}
	own = bh_audit_hash_of(v->line.text, v->line.size);
	r = link_on(v, seq, &prev, &own, diag);
	if (r == 0) {
		note_time(v, &v->inner);
		(void)bh_jtext_str(&v->inner, "name", v->name, sizeof(v->name));
	}
	return r;
}

/* ---- seals ---- */

static const struct bh_audit_key *key_of(const struct bh_audit_verifier *v, const char *id)
{
	struct bh_audit_key *const *keys = v->given_count ? v->given : v->named;
	size_t count = v->given_count ? v->given_count : v->named_count;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(bh_audit_key_id(keys[i]), id) == 0) {
			return keys[i];
		}
	}
	return NULL;
}

/* From v->inner. */
static int read_seal(struct bh_audit_verifier *v, struct bh_audit_seal *s, uint64_t *count)
{
	const struct bh_jtext *j = &v->inner;
	char kind[16], time[40];

	memset(s, 0, sizeof(*s));
	if (j->count != 10 || !bh_jtext_str(j, "kind", kind, sizeof(kind)) ||
	    (strcmp(kind, "statement") != 0 && strcmp(kind, "checkpoint") != 0) ||
	    !bh_jtext_str(j, "log", s->log, sizeof(s->log)) || !get_tenant(j, &s->tenant) ||
	    !get_number(j, "from", &s->from) || !get_hash(j, "prev", &s->prev) ||
	    !get_number(j, "to", &s->to) || !get_hash(j, "head", &s->head) ||
	    !get_number(j, "count", count) || !bh_jtext_str(j, "time", time, sizeof(time)) ||
	    !bh_jtext_str(j, "key", s->key, sizeof(s->key))) {
		return -EBADMSG;
	}
	s->statement = strcmp(kind, "statement") == 0;
	return s->from && s->to + 1 >= s->from && *count == s->to + 1 - s->from ? 0 : -EBADMSG;
}

static int bad_seal(struct bh_audit_verifier *v, const char *why, struct bh_diag *diag)
{
	bh_diag_set(diag, 0, "line %llu: %s", (unsigned long long)v->report.lines, why);
	return over(v, BH_AUDIT_SEAL, v->report.lines);
}

/* What is signed against what was read. */
static int compare(struct bh_audit_verifier *v, const struct bh_audit_seal *s, struct bh_diag *diag)
{
	struct bh_audit_report *r = &v->report;
	uint64_t last = r->count ? r->to : s->from - 1;

	if (strcmp(s->log, r->log) != 0 || s->tenant != r->tenant) {
		return bad_seal(v, "this seal is of another log or another tenant", diag);
	}
	if (s->statement && r->count && s->from < r->from) {
		bh_diag_set(diag, 0,
			    "entries %llu to %llu, which the statement counts, are missing at the "
			    "beginning",
			    (unsigned long long)s->from, (unsigned long long)r->from - 1);
		return over(v, BH_AUDIT_BEGIN_CUT, 2);
	}
	if (s->to > last || (s->statement && !r->count && s->to >= s->from)) {
		bh_diag_set(diag, 0, "line %llu: entries up to %llu were sealed, %s is there",
			    (unsigned long long)r->lines, (unsigned long long)s->to,
			    r->count ? "less" : "none");
		return over(v, s->statement ? BH_AUDIT_END_CUT : BH_AUDIT_MISSING, r->lines);
	}
	if (s->to < last) {
		return bad_seal(v, "this seal stands behind entries that it does not know", diag);
	}
	if (v->suspect) {
		return decide(v, bh_audit_hash_same(&s->head, &v->chain.head), diag);
	}
	if (r->count && !bh_audit_hash_same(&s->head, &v->chain.head)) {
		bh_diag_set(diag, 0,
			    "entry %llu (before line %llu) was changed: another text of "
			    "it was sealed",
			    (unsigned long long)s->to, (unsigned long long)r->lines);
		return over(v, BH_AUDIT_CHANGED, r->lines - 1);
	}
	if (s->statement && r->count &&
	    (s->from != r->from || !bh_audit_hash_same(&s->prev, &v->prev))) {
		return bad_seal(v, "the statement is of another stretch of the log", diag);
	}
	if (r->count && strcmp(r->name, v->name) != 0) { /* the head is not chained to anything */
		bh_diag_set(diag, 0, "line 1: the head says '%s', the entries are of '%s'", r->name,
			    v->name);
		return over(v, BH_AUDIT_CHANGED, 1);
	}
	return 0;
}

static int take_seal(struct bh_audit_verifier *v, struct bh_diag *diag)
{
	const struct bh_jtext_member *m = bh_jtext_find(&v->line, "seal");
	const struct bh_jtext_member *sig = bh_jtext_find(&v->line, "sig");
	const struct bh_audit_key *key;
	struct bh_audit_seal seal;
	uint64_t count;
	int r;

	if (v->line.count != 2 || m->kind != BH_JTEXT_OBJECT || !sig ||
	    sig->kind != BH_JTEXT_STRING ||
	    bh_jtext_parse(v->line.text + m->value, m->value_size, &v->inner, NULL) < 0 ||
	    read_seal(v, &seal, &count) < 0) {
		return no_line(v, "not a seal", diag);
	}
	key = key_of(v, seal.key);
	if (!key) {
		bh_diag_set(diag, 0, "line %llu: sealed with key %s, which is not %s",
			    (unsigned long long)v->report.lines, seal.key,
			    v->given_count ? "among the trusted ones" : "named by the file");
		return over(v, BH_AUDIT_KEY, v->report.lines);
	}
	if (bh_audit_key_verify(key, v->line.text + m->value, m->value_size,
				v->line.text + sig->value, sig->value_size) < 0) {
		return bad_seal(v, "the signature of this seal is not good", diag);
	}
	r = compare(v, &seal, diag);
	if (r) {
		return r;
	}
	memcpy(v->report.signer, seal.key, sizeof(seal.key));
	v->has_statement = seal.statement;
	v->report.checkpoints += !seal.statement;
	if (seal.statement && !v->report.count) {
		v->report.from = seal.from;
		v->report.to = seal.to;
	}
	return 0;
}

/* ---- lines ---- */

static int take_head(struct bh_audit_verifier *v, struct bh_diag *diag)
{
	const struct bh_jtext_member *keys = bh_jtext_find(&v->line, "keys");
	uint64_t version;
	size_t len;

	if (!get_number(&v->line, "bulkhead_audit", &version)) {
		bh_diag_set(diag, 0,
			    "line 1: the file does not begin with its head: the beginning "
			    "is missing, or it is no exported audit log");
		return over(v, BH_AUDIT_BEGIN_CUT, 1);
	}
	if (version != BH_AUDIT_VERSION) {
		return no_line(v, "a newer kind of file", diag);
	}
	if (!bh_jtext_str(&v->line, "log", v->report.log, sizeof(v->report.log)) ||
	    !get_tenant(&v->line, &v->report.tenant) || !keys || keys->kind != BH_JTEXT_STRING) {
		return no_line(v, "not the head of an audit log", diag);
	}
	(void)bh_jtext_str(&v->line, "name", v->report.name, sizeof(v->report.name));
	v->has_head = true;
	for (const char *p = v->line.text + keys->value, *end = p + keys->value_size;
	     p < end && v->named_count < BH_AUDIT_VERIFY_KEYS; p += len + 1) {
		const char *space = memchr(p, ' ', (size_t)(end - p));

		len = space ? (size_t)(space - p) : (size_t)(end - p);
		if (bh_audit_key_parse(p, len, &v->named[v->named_count], NULL) == 0) {
			v->named_count++;
		}
	}
	return 0;
}

int bh_audit_verify_line(struct bh_audit_verifier *v, const char *line, size_t size,
			 struct bh_diag *diag)
{
	if (v->wrong) {
		return bh_diag_set(diag, v->wrong, "line %llu: it was wrong before",
				   (unsigned long long)v->report.wrong_line);
	}
	v->report.lines++;
	if (bh_jtext_parse(line, size, &v->line, diag) < 0) {
		bh_diag_prefix(diag, "line %llu", (unsigned long long)v->report.lines);
		return over(v, BH_AUDIT_UNREADABLE, v->report.lines);
	}
	if (!v->has_head) {
		return take_head(v, diag);
	}
	if (v->has_statement) {
		return no_line(v, "something stands behind the statement", diag);
	}
	if (bh_jtext_find(&v->line, "seal")) {
		return take_seal(v, diag);
	}
	return bh_jtext_find(&v->line, "seq") ? take_record(v, diag) : take_entry(v, diag);
}

static int complete(struct bh_audit_verifier *v, struct bh_diag *diag)
{
	if (v->suspect) {
		bh_diag_set(diag, 0, "entry %llu (line %llu) or the one before it was changed",
			    (unsigned long long)v->chain.seq, (unsigned long long)v->suspect_line);
		return over(v, BH_AUDIT_CHANGED, v->suspect_line);
	}
	if (!v->has_head) {
		bh_diag_set(diag, 0, "the file is empty");
		return over(v, BH_AUDIT_BEGIN_CUT, 1);
	}
	if (!v->has_statement) {
		bh_diag_set(diag, 0,
			    "the file ends with line %llu, without the manager's statement: the "
			    "end is missing",
			    (unsigned long long)v->report.lines);
		return over(v, BH_AUDIT_END_CUT, v->report.lines);
	}
	return 0;
}

int bh_audit_verify_end(struct bh_audit_verifier *v, struct bh_audit_report *ret,
			struct bh_diag *diag)
{
	int r = v->wrong;

	if (r == 0 && v->part.size) {
		bh_diag_set(diag, 0, "line %llu is cut off: the end is missing",
			    (unsigned long long)v->report.lines + 1);
		r = over(v, BH_AUDIT_END_CUT, v->report.lines + 1);
	}
	if (r == 0) {
		r = complete(v, diag);
	}
	*ret = v->report;
	return r;
}

const struct bh_audit_report *bh_audit_verify_report(struct bh_audit_verifier *v)
{
	return &v->report;
}

int bh_audit_verify_bytes(struct bh_audit_verifier *v, const char *data, size_t size,
			  struct bh_diag *diag)
{
	int r = 0;

	while (size && r == 0) {
		const char *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;

		if (v->part.size + len > BH_AUDIT_VERIFY_LINE_MAX) {
			v->report.lines++;
			return no_line(v, "a line is too long", diag);
		}
		if (!end || v->part.size) {
			bh_wbuf_put(&v->part, data, len);
		}
		if (end) {
			r = v->part.size ? bh_audit_verify_line(v, (const char *)v->part.data,
								v->part.size, diag)
					 : bh_audit_verify_line(v, data, len, diag);
			v->part.size = 0;
			len++;
		}
		data += len;
		size -= len;
	}
	return r;
}
