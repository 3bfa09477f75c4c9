/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/commit.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "manager/change/change.h"
#include "manager/change/confirm.h"
#include "manager/change/quota.h"
#include "manager/migrate/placement.h"

#include <errno.h>

BH_COUNTER(commit_done, "policy revisions made");
BH_COUNTER(commit_refused, "policy commits refused: capacity, limits or the store");

void manager_commit_result_done(struct manager_commit_result *result)
{
	json_decref(result->changes);
	json_decref(result->overflow);
	json_decref(result->hosts);
	memset(result, 0, sizeof(*result));
}

static bool names_tenant(const struct bh_policy_set *documents, const char *tenant)
{
	for (size_t i = 0; i < bh_policy_set_count(documents); i++) {
		if (strcmp(bh_policy_tenant(bh_policy_set_at(documents, i)), tenant) == 0) {
			return true;
		}
	}
	for (size_t i = 0; i < bh_policy_set_tenant_count(documents); i++) {
		if (strcmp(bh_policy_set_tenant_at(documents, i)->name, tenant) == 0) {
			return true;
		}
	}
	return false;
}

struct bh_policy_set *manager_commit_merge(const struct bh_policy_set *current,
					   const struct bh_policy_set *documents, bool prune)
{
	struct bh_policy_set *set = bh_policy_set_copy(current);

	for (size_t i = 0; prune && i < bh_policy_set_count(current); i++) {
		const struct bh_policy *p = bh_policy_set_at(current, i);

		if (names_tenant(documents, bh_policy_tenant(p))) {
			bh_policy_set_drop(set, bh_policy_tenant(p), bh_policy_name(p));
		}
	}
	for (size_t i = 0; i < bh_policy_set_count(documents); i++) {
		bh_policy_set_put(set, bh_policy_set_at(documents, i));
	}
	return set;
}

static int make_tenants(struct manager_inventory *inv, const struct bh_policy_set *set,
			struct bh_diag *diag)
{
	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		if (!manager_tenant_get(inv, bh_policy_tenant(bh_policy_set_at(set, i)), diag)) {
			return -EINVAL;
		}
	}
	for (size_t i = 0; i < bh_policy_set_tenant_count(set); i++) {
		if (!manager_tenant_get(inv, bh_policy_set_tenant_at(set, i)->name, diag)) {
			return -EINVAL;
		}
	}
	return 0;
}

static int write_all(const struct manager_commit_request *req, const struct bh_policy_set *set,
		     const json_t *changes, struct bh_diag *diag)
{
	struct manager_commit commit = {.author = req->author,
					.summary = req->summary,
					.now_ns = bh_time_wall_ns(),
					.changes = changes};
	int r;

	r = manager_db_begin(req->db, diag);
	if (r == 0) {
		r = manager_inventory_save(req->inv, true, diag);
	}
	if (r == 0) {
		r = manager_rulebook_write(req->book, set, &commit, diag);
	}
	if (r == 0 && req->change) {
		r = manager_confirm_write(req->change->confirm, req,
					  manager_rulebook_revision(req->book) + 1, diag);
	}
	if (r == 0) {
		r = manager_db_commit(req->db, diag);
	}
	if (r < 0) {
		manager_db_abort(req->db);
		return r;
	}
	manager_inventory_saved(req->inv);
	return 0;
}

bool manager_commit_of_one_tenant(const json_t *changes)
{
	const char *first = bh_json_str_or(json_array_get(changes, 0), "tenant", "");
	json_t *change;
	size_t i;

	json_array_foreach (changes, i, change) {
		if (strcmp(bh_json_str_or(change, "tenant", ""), first) != 0) {
			return false;
		}
	}
	return true;
}

/* What a tenant is told of a commit: its own policies. */
static void tell_one(const struct manager_commit_request *req,
		     const struct manager_commit_result *result, const char *tenant)
{
	bool alone = manager_commit_of_one_tenant(result->changes);
	json_t *policies = json_array();
	json_t *change, *body;
	json_int_t count = 0;
	size_t i;

	json_array_foreach (result->changes, i, change) {
		if (strcmp(bh_json_str_or(change, "tenant", ""), tenant) == 0 &&
		    count++ < MANAGER_COMMIT_TOLD_MAX) {
			json_t *one = json_copy(change);

			json_object_del(one, "tenant");
			json_array_append_new(policies, one);
		}
	}
	body = json_pack("{s:s, s:I, s:s, s:s, s:o, s:I}", "tenant", tenant, "revision",
			 (json_int_t)result->revision, "author", req->author, "summary",
			 alone ? req->summary : "", "policies", policies, "policy_count", count);
	if (req->confirm_s) {
		json_object_set_new(body, "confirm_s", json_integer(req->confirm_s));
	}
	manager_inventory_notice(req->inv, "policy.committed", "notice", body);
}

static void tell(const struct manager_commit_request *req,
		 const struct manager_commit_result *result)
{
	BH_JSON json_t *told = json_object();
	json_t *change;
	size_t i;

	json_array_foreach (result->changes, i, change) {
		const char *tenant = bh_json_str_or(change, "tenant", "");

		if (!json_object_get(told, tenant)) {
			json_object_set_new(told, tenant, json_true());
			tell_one(req, result, tenant);
		}
	}
}

/* Everything is staged: write and take, or leave. */
static int conclude(const struct manager_commit_request *req, struct bh_policy_set *set,
		    struct manager_commit_result *ret, struct bh_diag *diag)
{
	int r;

	ret->overflow = manager_distribute_overflow(req->dist);
	if (ret->overflow) {
		return bh_diag_set(diag, MANAGER_COMMIT_CAPACITY,
				   "the tables of %zu hosts are too small for this; nothing was "
				   "changed",
				   json_array_size(ret->overflow));
	}
	if (req->preview) {
		ret->hosts = manager_distribute_preview(req->dist);
		return -ECANCELED;
	}
	r = write_all(req, set, ret->changes, diag);
	if (r < 0) {
		return r;
	}
	req->inv->policies = set;
	manager_rulebook_adopt(req->book, set);
	ret->changed = true;
	ret->revision = manager_rulebook_revision(req->book);
	manager_distribute_promote(req->dist, set, ret->revision);
	manager_enforce_track(req->dist, ret->revision);
	manager_placement_review(req->inv);
	if (req->change) {
		manager_confirm_written(req->change->confirm, req, ret);
	}
	tell(req, ret);
	bh_counter_add(&commit_done, 1);
	return 0;
}

/* Going back to what was is never too much. */
static int allowed(const struct manager_commit_request *req, const struct bh_policy_set *set,
		   const json_t *changes, struct bh_diag *diag)
{
	int r;

	if (!req->change || req->preview || req->undo_of) {
		return 0;
	}
	r = manager_confirm_check(req->change->confirm, req, changes, diag);
	return r ? r : manager_quota_check(req->change, set, changes, diag);
}

int manager_commit(const struct manager_commit_request *req, struct bh_policy_set *set,
		   struct manager_commit_result *ret, struct bh_diag *diag)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->revision = manager_rulebook_revision(req->book);
	ret->changes = manager_rulebook_changes(req->book, set);
	r = allowed(req, set, ret->changes, diag);
	if (r == 0 && !req->preview) { /* policies of one that is not there select nothing */
		r = make_tenants(req->inv, set, diag);
	}
	if (r == 0) {
		r = manager_distribute_flush(req->dist, diag);
	}
	if (r || json_array_size(ret->changes) == 0) {
		ret->hosts = json_array();
		bh_policy_set_free(set);
		return r;
	}
	manager_rulebook_stage(req->book, set);
	r = manager_distribute_stage(req->dist, set, diag);
	if (r == 0) {
		r = conclude(req, set, ret, diag);
		if (r == 0) {
			return 0;
		}
		manager_distribute_abandon(req->dist);
	}
	manager_rulebook_abandon(req->book);
	bh_policy_set_free(set);
	if (r == -ECANCELED) {
		ret->changed = true; /* would be */
		return 0;
	}
	bh_counter_add(&commit_refused, 1);
	return r;
}
