/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/requests.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <utlist.h>

BH_COUNTER(auth_requests, "requests submitted");
BH_COUNTER(auth_grants, "grants given by a second person");
BH_COUNTER(auth_grants_ended, "grants that came to their end");

struct manager_requests {
	struct manager_db *db;
	struct manager_ask *open; /* waiting or in force, oldest first */
	size_t count;
	uint64_t approval;
	manager_ask_fn *tell;
	void *arg;
};

const char *manager_ask_state_name(enum manager_ask_state state)
{
	static const char *const names[] = {
		[MANAGER_ASK_WAITING] = "waiting", [MANAGER_ASK_APPROVED] = "approved",
		[MANAGER_ASK_REFUSED] = "refused", [MANAGER_ASK_ENDED] = "ended",
		[MANAGER_ASK_EXPIRED] = "expired",
	};

	return (unsigned int)state < BH_ARRAY_SIZE(names) ? names[state] : "";
}

static void ask_free(struct manager_ask *ask)
{
	free(ask->what);
	free(ask);
}

/* Waits, or lets somebody do something. A form that was agreed to is over. */
static bool is_open(const struct manager_ask *ask)
{
	return ask->state == MANAGER_ASK_WAITING ||
	       (ask->state == MANAGER_ASK_APPROVED && !ask->form);
}

/* ---- the store ---- */

#define COLUMNS                                                                                    \
	"SELECT id, state, form, verb, tenant, user, object, reason, hours, created, decided,"     \
	" until, decided_by, answer, what FROM requests "

static void take_row(sqlite3_stmt *row, struct manager_ask *ask)
{
	memset(ask, 0, sizeof(*ask));
	ask->id = sqlite3_column_int64(row, 0);
	ask->state = (enum manager_ask_state)sqlite3_column_int(row, 1);
	ask->form = sqlite3_column_int(row, 2) != 0;
	ask->verb = manager_right_find(manager_db_text(row, 3));
	ask->tenant = (uint32_t)sqlite3_column_int64(row, 4);
	snprintf(ask->user, sizeof(ask->user), "%s", manager_db_text(row, 5));
	snprintf(ask->object, sizeof(ask->object), "%s", manager_db_text(row, 6));
	snprintf(ask->reason, sizeof(ask->reason), "%s", manager_db_text(row, 7));
	ask->hours = (uint32_t)sqlite3_column_int64(row, 8);
	ask->created_ns = (uint64_t)sqlite3_column_int64(row, 9);
	ask->decided_ns = (uint64_t)sqlite3_column_int64(row, 10);
	ask->until_ns = (uint64_t)sqlite3_column_int64(row, 11);
	snprintf(ask->decided_by, sizeof(ask->decided_by), "%s", manager_db_text(row, 12));
	snprintf(ask->answer, sizeof(ask->answer), "%s", manager_db_text(row, 13));
	if (sqlite3_column_type(row, 14) != SQLITE_NULL) {
		ask->what = bh_strdup(manager_db_text(row, 14));
	}
}

static int load_row(sqlite3_stmt *row, void *arg)
{
	struct manager_requests *reqs = arg;
	struct manager_ask *ask = bh_alloc(sizeof(*ask));

	take_row(row, ask);
	if (!is_open(ask)) {
		ask_free(ask);
		return 0;
	}
	DL_APPEND(reqs->open, ask);
	reqs->count++;
	return 0;
}

static int store(struct manager_requests *reqs, const struct manager_ask *ask, struct bh_diag *diag)
{
	return manager_db_run(reqs->db, diag,
			      "UPDATE requests SET state = ?2, hours = ?3, decided = ?4,"
			      " until = ?5, decided_by = ?6, answer = ?7 WHERE id = ?1",
			      "iiuiitt", ask->id, (int64_t)ask->state, ask->hours,
			      (int64_t)ask->decided_ns, (int64_t)ask->until_ns, ask->decided_by,
			      ask->answer);
}

static void take_rights(struct manager_requests *reqs, const char *text)
{
	if (manager_rights_parse(text, true, &reqs->approval, NULL) < 0) {
		bh_log(BH_LOG_ERROR, "requests", "the setting of approvals can't be read");
	}
}

static int load_approval(sqlite3_stmt *row, void *arg)
{
	take_rights(arg, manager_db_text(row, 0));
	return 1;
}

int manager_requests_new(struct manager_db *db, manager_ask_fn *tell, void *arg,
			 struct manager_requests **ret, struct bh_diag *diag)
{
	struct manager_requests *reqs = bh_alloc(sizeof(*reqs));
	int r;

	reqs->db = db;
	reqs->tell = tell;
	reqs->arg = arg;
	r = manager_db_each(db, (struct manager_db_each){load_row, reqs}, diag,
			    COLUMNS "WHERE state <= 1 ORDER BY id", "");
	if (r >= 0) {
		r = manager_db_each(db, (struct manager_db_each){load_approval, reqs}, diag,
				    "SELECT value FROM settings WHERE name = 'approvals'", "");
	}
	if (r < 0) {
		manager_requests_free(reqs);
		return r;
	}
	*ret = reqs;
	return 0;
}

void manager_requests_free(struct manager_requests *reqs)
{
	struct manager_ask *ask, *tmp;

	if (!reqs) {
		return;
	}
	DL_FOREACH_SAFE(reqs->open, ask, tmp)
	{
		ask_free(ask);
	}
	free(reqs);
}

static void tell(struct manager_requests *reqs, const struct manager_ask *ask, const char *event)
{
	if (reqs->tell) {
		reqs->tell(ask, event, reqs->arg);
	}
}

static struct manager_ask *find(const struct manager_requests *reqs, int64_t id)
{
	struct manager_ask *ask;

	DL_FOREACH (reqs->open, ask) {
		if (ask->id == id) {
			return ask;
		}
	}
	return NULL;
}

const struct manager_ask *manager_requests_find(const struct manager_requests *reqs, int64_t id)
{
	return find(reqs, id);
}

static void close_ask(struct manager_requests *reqs, struct manager_ask *ask)
{
	DL_DELETE(reqs->open, ask);
	reqs->count--;
	ask_free(ask);
}

/* What it was is put back when the store does not take what it is. */
static int change(struct manager_requests *reqs, struct manager_ask *ask,
		  const struct manager_ask *was, const char *event, struct bh_diag *diag)
{
	int r = store(reqs, ask, diag);

	if (r < 0) {
		struct manager_ask *prev = ask->prev, *next = ask->next;

		*ask = *was;
		ask->prev = prev;
		ask->next = next;
		return r;
	}
	tell(reqs, ask, event);
	if (!is_open(ask)) {
		close_ask(reqs, ask);
	}
	return 0;
}

/* ---- asking ---- */

static bool too_many(const struct manager_requests *reqs, const struct manager_ask *new)
{
	const struct manager_ask *ask;
	size_t of_user = 0, of_tenant = 0;

	DL_FOREACH (reqs->open, ask) {
		of_user += ask->state == MANAGER_ASK_WAITING && strcmp(ask->user, new->user) == 0;
		of_tenant += ask->tenant == new->tenant;
	}
	return of_user >= MANAGER_ASK_USER_MAX || of_tenant >= MANAGER_ASK_TENANT_MAX ||
	       reqs->count >= MANAGER_ASK_OPEN_MAX;
}

int manager_requests_submit(struct manager_requests *reqs, struct manager_ask *ask, uint64_t now_ns,
			    struct bh_diag *diag)
{
	struct manager_ask *copy;
	int r;

	if (too_many(reqs, ask)) {
		return bh_diag_set(diag, -EDQUOT, "too many requests are waiting");
	}
	ask->state = MANAGER_ASK_WAITING;
	ask->created_ns = now_ns;
	r = manager_db_run(reqs->db, diag,
			   "INSERT INTO requests (state, form, verb, tenant, user, object, reason,"
			   " hours, created, decided, until, decided_by, answer, what)"
			   " VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, '', '', ?9)",
			   "itutttuit", (int64_t)ask->form, manager_right_name(ask->verb),
			   ask->tenant, ask->user, ask->object, ask->reason, ask->hours,
			   (int64_t)now_ns, ask->what);
	if (r < 0) {
		return r;
	}
	ask->id = manager_db_last_id(reqs->db);
	copy = bh_memdup(ask, sizeof(*ask));
	copy->what = ask->what ? bh_strdup(ask->what) : NULL;
	DL_APPEND(reqs->open, copy);
	reqs->count++;
	bh_counter_add(&auth_requests, 1);
	tell(reqs, copy, "submitted");
	/* It stands in any case; old ones can go with the next. */
	(void)!manager_db_run(reqs->db, NULL, "DELETE FROM requests WHERE state > 1 AND id <= ?1",
			      "i", ask->id - MANAGER_ASK_KEEP);
	return 0;
}

/* ---- deciding ---- */

int manager_requests_decide(struct manager_requests *reqs, int64_t id,
			    const struct manager_ask *decision, uint64_t now_ns,
			    struct bh_diag *diag)
{
	struct manager_ask *ask = find(reqs, id);
	struct manager_ask was;
	bool yes = decision->state == MANAGER_ASK_APPROVED;

	if (!ask || ask->state != MANAGER_ASK_WAITING) {
		return bh_diag_set(diag, -EALREADY, "request %lld does not wait any more",
				   (long long)id);
	}
	if (strcmp(ask->user, decision->decided_by) == 0) {
		return bh_diag_set(diag, -EPERM, "nobody decides on his own request");
	}
	was = *ask;
	ask->state = yes ? MANAGER_ASK_APPROVED : MANAGER_ASK_REFUSED;
	ask->decided_ns = now_ns;
	memcpy(ask->decided_by, decision->decided_by, sizeof(ask->decided_by));
	memcpy(ask->answer, decision->answer, sizeof(ask->answer));
	if (decision->hours && decision->hours < ask->hours) {
		ask->hours = decision->hours;
	}
	if (yes && !ask->form) {
		ask->until_ns = now_ns + ask->hours * 3600 * BH_NS_PER_S;
		bh_counter_add(&auth_grants, 1);
	}
	return change(reqs, ask, &was, "decided", diag);
}

int manager_requests_end(struct manager_requests *reqs, int64_t id, const char *by, uint64_t now_ns,
			 struct bh_diag *diag)
{
	struct manager_ask *ask = find(reqs, id);
	struct manager_ask was;

	if (!ask) {
		return bh_diag_set(diag, -EALREADY, "request %lld is over", (long long)id);
	}
	was = *ask;
	ask->state = MANAGER_ASK_ENDED;
	ask->until_ns = now_ns;
	if (was.state == MANAGER_ASK_WAITING) {
		snprintf(ask->decided_by, sizeof(ask->decided_by), "%s", by);
		ask->decided_ns = now_ns;
	}
	return change(reqs, ask, &was, "ended", diag);
}

int manager_requests_forget(struct manager_requests *reqs, const char *user, const char *by,
			    uint64_t now_ns, struct bh_diag *diag)
{
	struct manager_ask *ask, *tmp;
	int r = 0;

	DL_FOREACH_SAFE(reqs->open, ask, tmp)
	{
		if (r == 0 && strcmp(ask->user, user) == 0) {
			r = manager_requests_end(reqs, ask->id, by, now_ns, diag);
		}
	}
	return r;
}

void manager_requests_tick(struct manager_requests *reqs, uint64_t now_ns)
{
	struct manager_ask *ask, *tmp;
	struct bh_diag diag = {};

	DL_FOREACH_SAFE(reqs->open, ask, tmp)
	{
		struct manager_ask was = *ask;

		if (ask->state == MANAGER_ASK_APPROVED && ask->until_ns <= now_ns) {
			ask->state = MANAGER_ASK_ENDED;
		} else if (ask->state == MANAGER_ASK_WAITING && ask->created_ns <= now_ns &&
			   now_ns - ask->created_ns >= MANAGER_ASK_WAITS_NS) {
			ask->state = MANAGER_ASK_EXPIRED;
			ask->decided_ns = now_ns;
		} else {
			continue;
		}
		bh_counter_add(&auth_grants_ended, was.state == MANAGER_ASK_APPROVED);
		/* Not written: it is over all the same, until_ns says so; told at the next try. */
		if (change(reqs, ask, &was, was.state == MANAGER_ASK_APPROVED ? "over" : "expired",
			   &diag) < 0) {
			bh_log_limited(BH_LOG_ERROR, "requests", 1, "%s", diag.text);
		}
	}
}

struct each_arg {
	manager_ask_each_fn *fn;
	void *arg;
};

static int each_row(sqlite3_stmt *row, void *arg)
{
	struct each_arg *a = arg;
	struct manager_ask ask;
	int r;

	take_row(row, &ask);
	r = a->fn(&ask, a->arg);
	free(ask.what);
	return r;
}

int manager_requests_each(struct manager_requests *reqs, int64_t before, manager_ask_each_fn *fn,
			  void *arg, struct bh_diag *diag)
{
	struct each_arg a = {fn, arg};

	return manager_db_each(reqs->db, (struct manager_db_each){each_row, &a}, diag,
			       COLUMNS "WHERE id < ?1 ORDER BY id DESC", "i",
			       before ? before : INT64_MAX);
}

/* ---- what it gives ---- */

static bool in_force(const struct manager_ask *ask, const char *user, uint64_t now_ns)
{
	return ask->state == MANAGER_ASK_APPROVED && !ask->form && ask->verb &&
	       now_ns < ask->until_ns && strcmp(ask->user, user) == 0;
}

void manager_grants_add(const struct manager_requests *reqs, const char *user, uint64_t now_ns,
			struct manager_principal *p)
{
	const struct manager_ask *ask;

	DL_FOREACH (reqs->open, ask) {
		struct manager_holding *h;

		if (!in_force(ask, user, now_ns)) {
			continue;
		}
		h = bh_vec_push(&p->holdings);
		h->tenant = ask->tenant;
		h->rights = MANAGER_RIGHT(ask->verb);
		h->until_ns = ask->until_ns;
		h->approved = true;
		memcpy(h->object, ask->object, sizeof(h->object));
	}
}

int64_t manager_grant_of(const struct manager_requests *reqs, const char *user,
			 enum manager_verb verb, uint32_t tenant, const char *object,
			 uint64_t now_ns)
{
	const struct manager_ask *ask;

	DL_FOREACH (reqs->open, ask) {
		if (in_force(ask, user, now_ns) && ask->verb == verb && ask->tenant == tenant &&
		    (!*ask->object || (object && strcmp(ask->object, object) == 0))) {
			return ask->id;
		}
	}
	return 0;
}

/* ---- the setting ---- */

uint64_t manager_requests_approval(const struct manager_requests *reqs)
{
	return reqs->approval;
}

int manager_requests_set_approval(struct manager_requests *reqs, uint64_t rights,
				  struct bh_diag *diag)
{
	struct bh_wbuf w;
	int r;

	bh_wbuf_init(&w, 0);
	manager_rights_format(rights, &w);
	r = manager_db_run(reqs->db, diag,
			   "INSERT OR REPLACE INTO settings VALUES ('approvals', ?1)", "b",
			   bh_wbuf_cstr(&w), w.size);
	bh_wbuf_done(&w);
	if (r == 0) {
		reqs->approval = rights;
	}
	return r;
}
