/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/tenants/{name}/quota: how much a tenant may have, and has. */
#include "manager/api/request.h"

#include "base/json.h"
#include "manager/change/quota.h"
#include "manager/store/changes.h"

#include <errno.h>

static struct manager_tenant *the_tenant(struct manager_request *req)
{
	struct manager_tenant *t = manager_tenant_find(req->parts->inv, req->segments[1]);

	if (!t) {
		manager_reply_errorf(req, 404, "not_found", "no tenant '%.80s'", req->segments[1]);
	}
	return t;
}

static json_t *quota_json(const struct manager_request *req, const char *tenant)
{
	const struct bh_policy_set *set = manager_rulebook_set(req->parts->book);
	json_t *body = json_object();

	for (int i = 0; i < MANAGER_QUOTA_COUNT; i++) {
		enum manager_quota what = (enum manager_quota)i;
		json_t *one =
			json_pack("{s:I, s:I}", "limit",
				  (json_int_t)manager_quota_of(req->parts->change, tenant, what),
				  "default", (json_int_t)manager_quota_default(what));

		if (manager_quota_counts(what)) {
			json_object_set_new(
				one, "used",
				json_integer((json_int_t)manager_quota_used(set, tenant, what)));
		}
		json_object_set_new(body, manager_quota_name(what), one);
	}
	return body;
}

/* For the record. */
static json_t *limits_json(const struct manager_request *req, const char *tenant)
{
	json_t *limits = json_object();

	for (int i = 0; i < MANAGER_QUOTA_COUNT; i++) {
		enum manager_quota what = (enum manager_quota)i;

		json_object_set_new(limits, manager_quota_name(what),
				    json_integer((json_int_t)manager_quota_of(req->parts->change,
									      tenant, what)));
	}
	return limits;
}

static void get_quota(struct manager_request *req)
{
	const struct manager_tenant *t = the_tenant(req);

	if (t) {
		manager_reply(req, 200, quota_json(req, t->name));
	}
}

/* A number sets it, null gives the default back; what is not named stays. */
static int put_one(struct manager_request *req, const char *tenant, const json_t *body,
		   enum manager_quota what, struct bh_diag *diag)
{
	const char *name = manager_quota_name(what);
	const json_t *value = json_object_get(body, name);
	uint64_t limit;

	if (!value) {
		return 0;
	}
	if (json_is_null(value)) {
		return manager_store_drop_quota(req->parts->db, tenant, name, diag);
	}
	if (bh_json_u64(body, name, MANAGER_QUOTA_MAX, &limit, diag) < 0) {
		return -EINVAL;
	}
	return manager_store_put_quota(req->parts->db, tenant, name, limit, diag);
}

/* Who would be cut off by a number is asked first: a lower quota must not end what works. */
static bool labels_fit(struct manager_request *req, const struct manager_tenant *t,
		       const json_t *body)
{
	const char *name = manager_quota_name(MANAGER_QUOTA_LABELS);
	const struct manager_vm *vm = manager_tenant_most_labels(req->parts->inv, t);
	uint64_t limit = json_is_null(json_object_get(body, name))
				 ? manager_quota_default(MANAGER_QUOTA_LABELS)
				 : bh_json_u64_or(body, name, t->labels_max);

	if (!vm || limit >= t->labels_max || json_object_size(vm->labels) <= limit) {
		return true;
	}
	manager_reply_errorf(
		req, 409, "quota",
		"VM %s has %zu labels and would be put in quarantine: first take labels "
		"away, in libvirt's metadata or with `bulkhead label remove`",
		vm->report.name, json_object_size(vm->labels));
	return false;
}

static void put_quota(struct manager_request *req)
{
	static const char *const known[] = {"policies", "rules", "labels", "events", NULL};
	struct manager_tenant *t = the_tenant(req);
	BH_JSON json_t *body = t ? manager_request_json(req, known, false) : NULL;
	BH_JSON json_t *before = NULL;
	struct bh_diag diag = {};
	int r;

	if (!body || !labels_fit(req, t, body)) {
		return;
	}
	before = limits_json(req, t->name);
	r = manager_db_begin(req->parts->db, &diag);
	for (int i = 0; i < MANAGER_QUOTA_COUNT && r == 0; i++) {
		r = put_one(req, t->name, body, (enum manager_quota)i, &diag);
	}
	if (r == 0) {
		r = manager_db_commit(req->parts->db, &diag);
	}
	if (r < 0) {
		manager_db_abort(req->parts->db);
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_tenant_review_quota(req->parts->inv, t);
	manager_distribute_schedule(req->parts->dist);
	manager_request_changed(req, t->number, NULL, json_incref(before),
				limits_json(req, t->name));
	manager_reply(req, 200, quota_json(req, t->name));
}

const struct manager_route manager_routes_quotas[] = {
	{"GET", "tenants/*/quota", get_quota, VERB_TENANT_READ, OBJECT_TENANT, 0, NULL},
	{"PUT", "tenants/*/quota", put_quota, VERB_QUOTA_WRITE, OBJECT_TENANT, API_AUDIT,
	 "tenant.quota"},
	{},
};
