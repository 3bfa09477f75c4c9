/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/tenants, /v1/networks, /v1/identities. */
#include "manager/api/request.h"
#include "manager/store/accounts.h"

#include "base/json.h"

#include <errno.h>

static size_t policies_of(const struct manager_request *req, const char *tenant)
{
	const struct bh_policy_set *set = manager_rulebook_set(req->parts->book);
	size_t count = 0;

	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		count += strcmp(bh_policy_tenant(bh_policy_set_at(set, i)), tenant) == 0;
	}
	return count;
}

static json_t *tenant_json(const struct manager_request *req, const struct manager_tenant *t)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:b}", "name", t->name, "number",
			 (json_int_t)t->number, "vms", (json_int_t)t->vms, "policies",
			 (json_int_t)policies_of(req, t->name), "self_service",
			 manager_self_service(req->parts->accounts, t->number));
}

static void list_tenants(struct manager_request *req)
{
	struct manager_tenant *t, *tmp;
	struct manager_page page;

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	HASH_ITER (hh, req->parts->inv->tenants, t, tmp) {
		if (manager_request_sees(req, t->number) && manager_page_takes(&page)) {
			manager_page_put(&page, tenant_json(req, t));
		}
	}
	manager_page_reply(req, &page, NULL);
}

static struct manager_tenant *the_tenant(struct manager_request *req)
{
	struct manager_tenant *t = manager_tenant_find(req->parts->inv, req->segments[1]);

	if (!t) {
		manager_reply_errorf(req, 404, "not_found", "no tenant '%.80s'", req->segments[1]);
	}
	return t;
}

static void get_tenant(struct manager_request *req)
{
	const struct manager_tenant *t = the_tenant(req);

	if (t) {
		manager_reply(req, 200, tenant_json(req, t));
	}
}

static void create_tenant(struct manager_request *req)
{
	static const char *const known[] = {"name", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	BH_FREE char *object = NULL;
	struct manager_tenant *t;
	struct bh_diag diag = {};
	const char *name;
	int r;

	if (!body) {
		return;
	}
	if (bh_json_str(body, "name", &name, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	if (manager_tenant_find(req->parts->inv, name)) {
		manager_reply_errorf(req, 409, "conflict", "tenant '%.80s' exists", name);
		return;
	}
	t = manager_tenant_get(req->parts->inv, name, &diag);
	if (!t) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	r = manager_inventory_save(req->parts->inv, false, &diag);
	if (r < 0) {
		manager_tenant_remove(req->parts->inv, t);
		manager_reply_failed(req, r, &diag);
		return;
	}
	object = bh_asprintf("tenant/%s", t->name);
	manager_request_changed(req, MANAGER_PROVIDER, object, NULL, json_object());
	manager_distribute_schedule(req->parts->dist);
	manager_reply(req, 201, tenant_json(req, t));
}

static void delete_tenant(struct manager_request *req)
{
	struct manager_tenant *t = the_tenant(req);
	struct bh_diag diag = {};
	int r;

	if (!t) {
		return;
	}
	if (t->number == 1 || t->vms || policies_of(req, t->name) ||
	    manager_store_has_users(req->parts->db, t->number)) {
		manager_reply_errorf(req, 409, "conflict",
				     t->number == 1 ? "the provider stays"
						    : "tenant '%s' has VMs, policies or users",
				     t->name);
		return;
	}
	/* Identities of its former VMs hold on to it until the next flush. */
	r = manager_distribute_flush(req->parts->dist, &diag);
	if (r == 0) {
		r = manager_store_drop_tenant(req->parts->db, t->number, &diag);
	}
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(req, t->number, NULL, json_object(), NULL);
	manager_request_changed(req, MANAGER_PROVIDER, NULL, json_object(), NULL);
	manager_tenant_remove(req->parts->inv, t);
	req->parts->dist->universe_stale = true;
	req->parts->inv->dirty = true;
	manager_distribute_schedule(req->parts->dist);
	manager_reply_nothing(req);
}

/* Read by the provider, who did it, and by the tenant that it is about. */
static void record_self_service(struct manager_request *req, const struct manager_tenant *t,
				bool was, bool on)
{
	const uint32_t readers[] = {MANAGER_PROVIDER, t->number};
	BH_FREE char *object = bh_asprintf("tenant/%s", t->name);

	for (size_t i = 0; i < BH_ARRAY_SIZE(readers); i++) {
		manager_request_changed(req, readers[i], object,
					json_pack("{s:b}", "self_service", was),
					json_pack("{s:b}", "self_service", on));
	}
}

static void put_self_service(struct manager_request *req)
{
	static const char *const known[] = {"on", NULL};
	const struct manager_tenant *t = the_tenant(req);
	BH_JSON json_t *body = t ? manager_request_json(req, known, false) : NULL;
	const json_t *on = json_object_get(body, "on");
	struct bh_diag diag = {};
	bool was;
	int r;

	if (!body) {
		return;
	}
	if (!json_is_boolean(on) || t->number == MANAGER_PROVIDER) {
		manager_reply_errorf(req, 400, "bad_request",
				     t->number == MANAGER_PROVIDER
					     ? "the provider's own people always have self-service"
					     : "'on' must be true or false");
		return;
	}
	was = manager_self_service(req->parts->accounts, t->number);
	r = manager_self_service_set(req->parts->accounts, t->number, json_is_true(on), &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	record_self_service(req, t, was, json_is_true(on));
	manager_reply(req, 200, tenant_json(req, t));
}

static void list_networks(struct manager_request *req)
{
	struct manager_network *n, *tmp;
	struct manager_page page;

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	HASH_ITER (hh, req->parts->inv->networks, n, tmp) {
		if (manager_page_takes(&page)) {
			manager_page_put(&page,
					 json_pack("{s:I, s:s, s:b, s:I}", "number",
						   (json_int_t)n->number, "key", n->key, "managed",
						   n->managed, "nics", (json_int_t)n->nics));
		}
	}
	manager_page_reply(req, &page, NULL);
}

static void list_identities(struct manager_request *req)
{
	struct manager_identity *id, *tmp;
	struct manager_page page;

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	HASH_ITER (hh, req->parts->inv->identities, id, tmp) {
		if (manager_request_sees(req, id->tenant->number) && manager_page_takes(&page)) {
			manager_page_put(&page, json_pack("{s:I, s:s, s:O, s:I}", "number",
							  (json_int_t)id->number, "tenant",
							  id->tenant->name, "labels", id->labels,
							  "vms", (json_int_t)id->vms));
		}
	}
	manager_page_reply(req, &page, NULL);
}

const struct manager_route manager_routes_names[] = {
	{"GET", "tenants", list_tenants, VERB_TENANT_READ, OBJECT_LIST, 0, NULL, API_PAGE_QUERY},
	{"POST", "tenants", create_tenant, VERB_TENANT_CREATE, OBJECT_SYSTEM, API_AUDIT,
	 "tenant.create"},
	{"GET", "tenants/*", get_tenant, VERB_TENANT_READ, OBJECT_TENANT, 0, NULL},
	{"DELETE", "tenants/*", delete_tenant, VERB_TENANT_DELETE, OBJECT_TENANT, API_AUDIT,
	 "tenant.delete"},
	{"PUT", "tenants/*/self-service", put_self_service, VERB_SETTINGS_WRITE, OBJECT_SYSTEM,
	 API_AUDIT, "tenant.self-service"},
	{"GET", "networks", list_networks, VERB_HOST_READ, OBJECT_SYSTEM, 0, NULL, API_PAGE_QUERY},
	{"GET", "identities", list_identities, VERB_VM_READ, OBJECT_LIST, 0, NULL, API_PAGE_QUERY},
	{},
};
