/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/confirm.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "manager/change/change.h"
#include "manager/change/unconfirmed.h"
#include "manager/commit.h"

#include <errno.h>
#include <utlist.h>

#define RETRY_NS (10 * BH_NS_PER_S)
#define BY_TIME	 "manager"

BH_COUNTER(confirm_waited, "commits that were to be confirmed");
BH_COUNTER(confirm_confirmed, "commits that were confirmed");
BH_COUNTER(confirm_undone, "commits rolled back because nobody confirmed them, or by somebody");
BH_COUNTER(confirm_undo_failed, "attempts to roll an unconfirmed commit back that failed");
BH_COUNTER(confirm_refused, "commits refused because what they change waits to be confirmed");

struct manager_confirm {
	struct manager_change *change;
	struct manager_waiting *waiting;
};

/* ---- the list ---- */

static void drop(struct manager_confirm *c, struct manager_waiting *w)
{
	DL_DELETE(c->waiting, w);
	json_decref(w->changes);
	free(w->author);
	free(w->summary);
	free(w);
}

static struct manager_waiting *find(const struct manager_confirm *c, uint32_t revision)
{
	struct manager_waiting *w;

	DL_FOREACH (c->waiting, w) {
		if (w->revision == revision) {
			return w;
		}
	}
	return NULL;
}

const struct manager_waiting *manager_confirm_find(const struct manager_confirm *c,
						   uint32_t revision)
{
	return find(c, revision);
}

const struct manager_waiting *manager_confirm_of(const struct manager_confirm *c,
						 const char *tenant, const char *name)
{
	struct manager_waiting *w;
	json_t *change;
	size_t i;

	DL_FOREACH (c->waiting, w) {
		json_array_foreach (w->changes, i, change) {
			if (strcmp(bh_json_str_or(change, "tenant", ""), tenant) == 0 &&
			    strcmp(bh_json_str_or(change, "name", ""), name) == 0) {
				return w;
			}
		}
	}
	return NULL;
}

static struct manager_waiting *add(struct manager_confirm *c, uint32_t revision, const char *author,
				   const char *summary)
{
	struct manager_waiting *w = bh_alloc(sizeof(*w));

	w->revision = revision;
	w->author = bh_strdup(author);
	w->summary = bh_strdup(summary);
	DL_APPEND(c->waiting, w);
	return w;
}

/* ---- telling ---- */

static void tell_tenant(struct manager_confirm *c, const struct manager_waiting *w,
			const char *tenant, const char *type, const char *severity,
			const json_t *more)
{
	bool alone = manager_commit_of_one_tenant(w->changes);
	json_t *names = json_array();
	json_t *body, *change;
	size_t i;

	json_array_foreach (w->changes, i, change) {
		if (strcmp(bh_json_str_or(change, "tenant", ""), tenant) == 0 &&
		    json_array_size(names) < MANAGER_COMMIT_TOLD_MAX) {
			json_array_append(names, json_object_get(change, "name"));
		}
	}
	body = json_pack("{s:s, s:I, s:s, s:s, s:o}", "tenant", tenant, "revision",
			 (json_int_t)w->revision, "author", w->author, "summary",
			 alone ? w->summary : "", "policies", names);
	json_object_update_missing(body, (json_t *)more);
	manager_inventory_notice(c->change->o.inv, type, severity, body);
}

/* Each tenant hears once, and of its own policies only. */
static void tell(struct manager_confirm *c, const struct manager_waiting *w, const char *type,
		 const char *severity, json_t *more)
{
	BH_JSON json_t *told = json_object();
	json_t *change;
	size_t i;

	json_array_foreach (w->changes, i, change) {
		const char *tenant = bh_json_str_or(change, "tenant", "");

		if (!json_object_get(told, tenant)) {
			json_object_set_new(told, tenant, json_true());
			tell_tenant(c, w, tenant, type, severity, more);
		}
	}
	json_decref(more);
}

/* ---- for manager_commit() ---- */

static bool is_of(const struct manager_waiting *w, const char *tenant)
{
	json_t *change;
	size_t i;

	json_array_foreach (w->changes, i, change) {
		if (strcmp(bh_json_str_or(change, "tenant", ""), tenant) == 0) {
			return true;
		}
	}
	return false;
}

/* Each tenant has a limit of its own, or one could use up what others need. */
static bool too_many(const struct manager_confirm *c, const char *tenant)
{
	const struct manager_waiting *w;
	size_t count = 0;

	DL_FOREACH (c->waiting, w) {
		count += is_of(w, tenant);
	}
	return count >= MANAGER_WAITING_MAX;
}

int manager_confirm_check(const struct manager_confirm *c,
			  const struct manager_commit_request *request, const json_t *changes,
			  struct bh_diag *diag)
{
	json_t *change;
	size_t i;

	if (request->undo_of) {
		return 0;
	}
	json_array_foreach (changes, i, change) {
		const char *tenant = bh_json_str_or(change, "tenant", "");
		const char *name = bh_json_str_or(change, "name", "");
		const struct manager_waiting *w = manager_confirm_of(c, tenant, name);
		char until[BH_TIME_TEXT_SIZE];

		if (request->confirm_s && too_many(c, tenant)) {
			bh_counter_add(&confirm_refused, 1);
			return bh_diag_set(diag, MANAGER_COMMIT_UNCONFIRMED,
					   "%d commits of tenant %s wait to be confirmed already",
					   MANAGER_WAITING_MAX, tenant);
		}
		if (w) {
			bh_counter_add(&confirm_refused, 1);
			bh_time_format(w->until_ns, until);
			return bh_diag_set(
				diag, MANAGER_COMMIT_UNCONFIRMED,
				"%s/%s was changed by revision %u (%s), which waits to "
				"be confirmed until %s; confirm it or roll it back first",
				tenant, name, w->revision, w->author, until);
		}
	}
	return 0;
}

int manager_confirm_write(struct manager_confirm *c, const struct manager_commit_request *request,
			  uint32_t revision, struct bh_diag *diag)
{
	struct manager_store_commit row = {.revision = request->undo_of,
					   .state = "rolled-back",
					   .decided_ns = bh_time_wall_ns(),
					   .decided_by = request->author,
					   .undone_in = revision};

	if (request->undo_of) {
		return manager_store_decide_commit(c->change->o.db, &row, diag);
	}
	if (request->confirm_s) {
		return manager_store_add_commit(
			c->change->o.db, revision,
			bh_time_wall_ns() + request->confirm_s * BH_NS_PER_S, diag);
	}
	return 0;
}

void manager_confirm_written(struct manager_confirm *c,
			     const struct manager_commit_request *request,
			     const struct manager_commit_result *result)
{
	struct manager_waiting *w;

	if (!request->confirm_s || request->undo_of) {
		return;
	}
	w = add(c, result->revision, request->author, request->summary);
	w->changes = json_deep_copy(result->changes);
	w->made_ns = bh_time_wall_ns();
	w->until_ns = w->made_ns + request->confirm_s * BH_NS_PER_S;
	w->due_ns = bh_time_mono_ns() + request->confirm_s * BH_NS_PER_S;
	bh_counter_add(&confirm_waited, 1);
}

/* ---- decisions ---- */

int manager_confirm_accept(struct manager_confirm *c, uint32_t revision, const char *who,
			   struct bh_diag *diag)
{
	struct manager_waiting *w = find(c, revision);
	struct manager_store_commit row = {.revision = revision,
					   .state = "confirmed",
					   .decided_ns = bh_time_wall_ns(),
					   .decided_by = who};
	int r;

	if (!w) {
		return bh_diag_set(diag, -ENOENT, "no commit %u waits to be confirmed", revision);
	}
	r = manager_store_decide_commit(c->change->o.db, &row, diag);
	if (r < 0) {
		return r;
	}
	tell(c, w, "policy.confirmed", "notice", json_pack("{s:s}", "by", who));
	drop(c, w);
	bh_counter_add(&confirm_confirmed, 1);
	return 0;
}

/* What was in force when the commit came, for the policies that it changed. */
static struct bh_policy_set *before(struct manager_confirm *c, const struct manager_waiting *w,
				    struct bh_diag *diag)
{
	struct bh_policy_set *old = NULL, *set;
	json_t *change;
	size_t i;

	if (manager_rulebook_at(c->change->o.book, w->revision - 1, &old, diag) < 0) {
		return NULL;
	}
	set = bh_policy_set_copy(manager_rulebook_set(c->change->o.book));
	json_array_foreach (w->changes, i, change) {
		const char *tenant = bh_json_str_or(change, "tenant", "");
		const char *name = bh_json_str_or(change, "name", "");
		struct bh_policy *p = bh_policy_set_get(old, tenant, name);

		if (p) {
			bh_policy_set_put(set, p);
		} else {
			bh_policy_set_drop(set, tenant, name);
		}
	}
	bh_policy_set_free(old);
	return set;
}

static int undo(struct manager_confirm *c, struct manager_waiting *w, const char *who,
		struct manager_commit_result *ret, struct bh_diag *diag)
{
	const struct manager_change_options *o = &c->change->o;
	bool by_time = strcmp(who, BY_TIME) == 0;
	BH_FREE char *summary = bh_asprintf("rollback of revision %u%s: %s", w->revision,
					    by_time ? ", not confirmed in time" : "", w->summary);
	struct manager_commit_request request = {.db = o->db,
						 .inv = o->inv,
						 .book = o->book,
						 .dist = o->dist,
						 .change = c->change,
						 .author = who,
						 .summary = summary,
						 .undo_of = w->revision};
	struct bh_policy_set *set;
	int r;

	memset(ret, 0, sizeof(*ret));
	set = before(c, w, diag);
	if (!set) {
		return -EIO;
	}
	r = manager_commit(&request, set, ret, diag);
	if (r != 0) {
		bh_counter_add(&confirm_undo_failed, 1);
		return r;
	}
	if (!ret->changed) {
		/* Everything is as it was before already: only the row is missing. */
		r = manager_confirm_write(c, &request, ret->revision, diag);
		if (r < 0) {
			return r;
		}
	}
	tell(c, w, by_time ? "policy.unconfirmed-rolled-back" : "policy.rolled-back", "warning",
	     json_pack("{s:s, s:I}", "by", who, "new_revision", (json_int_t)ret->revision));
	drop(c, w);
	bh_counter_add(&confirm_undone, 1);
	return 0;
}

int manager_confirm_undo(struct manager_confirm *c, uint32_t revision, const char *who,
			 struct manager_commit_result *ret, struct bh_diag *diag)
{
	struct manager_waiting *w = find(c, revision);

	memset(ret, 0, sizeof(*ret));
	if (!w) {
		return bh_diag_set(diag, -ENOENT, "no commit %u waits to be confirmed", revision);
	}
	return undo(c, w, who, ret, diag);
}

static void time_is_over(struct manager_confirm *c, struct manager_waiting *w, uint64_t mono_ns)
{
	struct manager_commit_result result;
	struct bh_diag diag = {};
	bool first = !*w->problem;
	uint32_t revision = w->revision;
	struct manager_unconfirmed *record = manager_unconfirmed_begin(c->change, w, !first);
	int r = undo(c, w, BY_TIME, &result, &diag);

	manager_unconfirmed_end(record, r ? diag.text : NULL);
	manager_commit_result_done(&result);
	if (r == 0) {
		bh_log(BH_LOG_WARN, "change", "revision %u was not confirmed and is rolled back",
		       revision);
		return;
	}
	w->due_ns = mono_ns + RETRY_NS;
	snprintf(w->problem, sizeof(w->problem), "%s", diag.text);
	bh_log_limited(BH_LOG_ERROR, "change", 1, "revision %u can't be rolled back: %s", revision,
		       diag.text);
	if (first) {
		tell(c, w, "policy.rollback-failed", "critical",
		     json_pack("{s:s}", "problem", w->problem));
	}
}

void manager_confirm_tick(struct manager_confirm *c, uint64_t mono_ns)
{
	struct manager_waiting *w, *tmp;

	DL_FOREACH_SAFE(c->waiting, w, tmp)
	{
		if (mono_ns >= w->due_ns) {
			time_is_over(c, w, mono_ns);
		}
	}
}

/* ---- life ---- */

struct load {
	struct manager_confirm *confirm;
	uint64_t wall_ns, mono_ns;
};

static int load_row(const struct manager_store_commit *row, void *arg)
{
	struct load *load = arg;
	struct manager_waiting *w = add(load->confirm, row->revision, row->author, row->summary);
	uint64_t whole = row->until_ns > row->time_ns ? row->until_ns - row->time_ns : 0;
	uint64_t left = row->until_ns > load->wall_ns ? row->until_ns - load->wall_ns : 0;

	w->changes = json_loads(row->changes, 0, NULL);
	w->made_ns = row->time_ns;
	w->until_ns = row->until_ns;
	/* A clock that was set back gives nobody more than was agreed. */
	w->due_ns = load->mono_ns + (left < whole ? left : whole);
	return 0;
}

int manager_confirm_new(struct manager_change *change, uint64_t wall_ns, uint64_t mono_ns,
			struct manager_confirm **ret, struct bh_diag *diag)
{
	struct manager_confirm *c = bh_alloc(sizeof(*c));
	struct manager_store_commit_filter filter = {.state = "waiting", .limit = UINT32_MAX};
	struct load load = {.confirm = c, .wall_ns = wall_ns, .mono_ns = mono_ns};
	int r;

	c->change = change;
	r = manager_store_commits(change->o.db, &filter, load_row, &load, diag);
	if (r < 0) {
		manager_confirm_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void manager_confirm_free(struct manager_confirm *c)
{
	struct manager_waiting *w, *tmp;

	if (!c) {
		return;
	}
	DL_FOREACH_SAFE(c->waiting, w, tmp)
	{
		drop(c, w);
	}
	free(c);
}
