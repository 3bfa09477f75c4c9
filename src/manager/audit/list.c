/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries by filters, newest first. Who sees everything goes down the numbers of all; who sees
 * some tenants goes down each of their chains and gets them mixed by number, so that what others do
 * costs him nothing and shows in nothing. Each walk looks at so many entries at most.
 */
#include "manager/audit/internal.h"

#include "base/jtext.h"
#include "base/time.h"

#include <errno.h>

#define LOOKED_MAX 20000 /* entries, for one page */

struct found {
	uint64_t seq, tseq;
	uint32_t tenant;
	char *line;
};

struct walk {
	const struct manager_audit_filter *filter;
	BH_VEC(struct found) found;
	size_t before; /* what was found by the walks before */
	unsigned int looked, looked_max;
	struct found stop; /* where a walk ended before its end; line unused */
	bool stopped;
};

int manager_audit_id_parse(const char *id, uint32_t *ret_tenant, uint64_t *ret_tseq)
{
	char tenant[16];
	size_t len = strcspn(id, ".");
	uint64_t n;

	if (len >= sizeof(tenant) || id[len] != '.') {
		return -EINVAL;
	}
	memcpy(tenant, id, len);
	tenant[len] = '\0';
	if (bh_parse_u64(tenant, 1, UINT32_MAX, &n) < 0 ||
	    bh_parse_u64(id + len + 1, 1, INT64_MAX, ret_tseq) < 0) {
		return -EINVAL;
	}
	*ret_tenant = (uint32_t)n;
	return 0;
}

/* ---- one row ---- */

static bool is(const char *wanted, const char *has)
{
	return !wanted || strcmp(wanted, has) == 0;
}

/* "vm.*" takes all acts of VMs. */
static bool is_act(const char *wanted, const char *has)
{
	size_t len = wanted ? strlen(wanted) : 0;

	if (len && wanted[len - 1] == '*') {
		return strncmp(wanted, has, len - 1) == 0;
	}
	return is(wanted, has);
}

/* Columns: seq, tenant, tseq, time, user, act, object, result, line. */
static int look_at(sqlite3_stmt *row, void *arg)
{
	struct walk *w = arg;
	const struct manager_audit_filter *f = w->filter;
	const char *line = manager_db_text(row, 8);
	struct found here = {.seq = (uint64_t)sqlite3_column_int64(row, 0),
			     .tenant = (uint32_t)sqlite3_column_int64(row, 1),
			     .tseq = (uint64_t)sqlite3_column_int64(row, 2)};

	if (is(f->user, manager_db_text(row, 4)) && is_act(f->act, manager_db_text(row, 5)) &&
	    is(f->object, manager_db_text(row, 6)) && is(f->result, manager_db_text(row, 7)) &&
	    (!f->q || strcasestr(line, f->q))) {
		struct found *slot = bh_vec_push(&w->found);

		*slot = here;
		slot->line = bh_strdup(line);
	}
	w->looked++;
	if (w->found.count - w->before >= f->limit || w->looked >= w->looked_max) {
		if (!w->stopped || here.seq > w->stop.seq) {
			w->stop = here;
		}
		w->stopped = true;
		return 1;
	}
	return 0;
}

#define COLUMNS                                                                                    \
	"SELECT seq, tenant, tseq, time, user, act, object, result, line FROM entries INDEXED BY "

/* The numbers of all that are between since and until, and before `before`. */
struct range {
	int64_t from, to; /* to is not in it */
};

static int64_t first_at(struct manager_audit *audit, uint64_t wall_ns)
{
	return manager_db_number(audit->db, INT64_MAX,
				 "SELECT seq FROM entries WHERE time >= ?1 ORDER BY time, seq"
				 " LIMIT 1",
				 "i", (int64_t)wall_ns);
}

/* Numbers of a chain grow as those of all do, so halving finds the place in either. */
uint64_t audit_tseq_at(struct manager_audit *audit, uint32_t tenant, int64_t seq)
{
	uint64_t end = audit_chain_of(audit, tenant)->seq + 1;
	uint64_t low = (uint64_t)manager_db_number(audit->db, (int64_t)end,
						   "SELECT tseq FROM entries WHERE tenant = ?1"
						   " ORDER BY tseq LIMIT 1",
						   "u", tenant);

	while (low < end) {
		uint64_t middle = low + (end - low) / 2;
		int64_t at =
			manager_db_number(audit->db, INT64_MAX,
					  "SELECT seq FROM entries WHERE tenant = ?1 AND tseq = ?2",
					  "ui", tenant, (int64_t)middle);

		if (at >= seq) {
			end = middle;
		} else {
			low = middle + 1;
		}
	}
	return low;
}

static int walk_tenant(struct manager_audit *audit, struct walk *w, uint32_t tenant,
		       const struct range *range, struct bh_diag *diag)
{
	int64_t from = (int64_t)audit_tseq_at(audit, tenant, range->from);
	int64_t to = (int64_t)audit_tseq_at(audit, tenant, range->to);

	w->looked = 0;
	w->before = w->found.count;
	return manager_db_each(audit->db, (struct manager_db_each){look_at, w}, diag,
			       COLUMNS "entries_by_tenant WHERE tenant = ?1 AND tseq >= ?2 AND"
				       " tseq < ?3 ORDER BY tseq DESC",
			       "uii", tenant, from, to);
}

static int walk_all(struct manager_audit *audit, struct walk *w, const struct range *range,
		    struct bh_diag *diag)
{
	const struct manager_audit_filter *f = w->filter;
	struct manager_db_each each = {look_at, w};

	if (f->object) {
		return manager_db_each(audit->db, each, diag,
				       COLUMNS "entries_by_object WHERE object = ?1 AND seq >= ?2"
					       " AND seq < ?3 ORDER BY seq DESC",
				       "tii", f->object, range->from, range->to);
	}
	if (f->user) {
		return manager_db_each(audit->db, each, diag,
				       COLUMNS "entries_by_user WHERE user = ?1 AND seq >= ?2"
					       " AND seq < ?3 ORDER BY seq DESC",
				       "tii", f->user, range->from, range->to);
	}
	return manager_db_each(audit->db, each, diag,
			       "SELECT seq, tenant, tseq, time, user, act, object, result, line"
			       " FROM entries WHERE seq >= ?1 AND seq < ?2 ORDER BY seq DESC",
			       "ii", range->from, range->to);
}

/* ---- all of it ---- */

static int newest_first(const void *pa, const void *pb)
{
	const struct found *a = pa, *b = pb;

	return a->seq < b->seq ? 1 : a->seq > b->seq ? -1 : 0;
}

static int range_of(struct manager_audit *audit, const struct manager_audit_filter *f,
		    struct range *ret, struct bh_diag *diag)
{
	int64_t seq = INT64_MAX;

	if (f->has_before) {
		seq = manager_scope_has(&f->scope, f->before_tenant)
			      ? manager_db_number(audit->db, -1,
						  "SELECT seq FROM entries WHERE tenant = ?1 AND"
						  " tseq = ?2",
						  "ui", f->before_tenant, (int64_t)f->before_tseq)
			      : -1;
		if (seq < 0) {
			return bh_diag_set(diag, -ENOENT, "there is no entry %u.%llu",
					   f->before_tenant, (unsigned long long)f->before_tseq);
		}
	}
	ret->from = f->since_ns ? first_at(audit, f->since_ns) : 0;
	ret->to = f->until_ns ? first_at(audit, f->until_ns) : INT64_MAX;
	ret->to = seq < ret->to ? seq : ret->to;
	return 0;
}

static void tell(struct walk *w, manager_audit_entry_fn *fn, void *arg, bool numbers,
		 char next[MANAGER_AUDIT_ID_SIZE])
{
	uint32_t count = 0;

	if (w->found.count) {
		qsort(w->found.items, w->found.count, sizeof(*w->found.items), newest_first);
	}
	bh_vec_foreach (f, &w->found) {
		char id[MANAGER_AUDIT_ID_SIZE];

		/* Older than where a walk stopped: that one may have some in between. */
		if (count < w->filter->limit && (!w->stopped || f->seq >= w->stop.seq)) {
			snprintf(id, sizeof(id), "%u.%llu", f->tenant, (unsigned long long)f->tseq);
			fn(numbers ? f->seq : 0, id, f->line, arg);
			count++;
			if (count == w->filter->limit) {
				w->stop = *f;
				w->stopped = true;
			}
		}
		free(f->line);
	}
	bh_vec_done(&w->found);
	next[0] = '\0';
	if (w->stopped) {
		snprintf(next, MANAGER_AUDIT_ID_SIZE, "%u.%llu", w->stop.tenant,
			 (unsigned long long)w->stop.tseq);
	}
}

int manager_audit_list(struct manager_audit *audit, const struct manager_audit_filter *filter,
		       manager_audit_entry_fn *fn, void *arg, char ret_next[MANAGER_AUDIT_ID_SIZE],
		       struct bh_diag *diag)
{
	struct walk w = {.filter = filter,
			 .looked_max = filter->scope.all || !filter->scope.count
					       ? LOOKED_MAX
					       : LOOKED_MAX / (unsigned int)filter->scope.count};
	struct range range;
	int r;

	manager_audit_flush(audit);
	r = range_of(audit, filter, &range, diag);
	if (r < 0) {
		return r;
	}
	if (filter->scope.all) {
		r = walk_all(audit, &w, &range, diag);
	}
	for (size_t i = 0; r >= 0 && !filter->scope.all && i < filter->scope.count; i++) {
		r = walk_tenant(audit, &w, filter->scope.tenants[i], &range, diag);
	}
	if (r < 0) {
		bh_vec_foreach (f, &w.found) {
			free(f->line);
		}
		bh_vec_done(&w.found);
		return r;
	}
	tell(&w, fn, arg, filter->scope.all, ret_next);
	return 0;
}
