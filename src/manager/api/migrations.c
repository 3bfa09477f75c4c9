/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/migrations. */
#include "manager/api/shown.h"

#include "base/json.h"

#include <errno.h>

#define LIMIT_DEFAULT 100
#define LIMIT_MAX     10000
#define ID_MIN	      4 /* digits that make sense as the beginning of one */

struct seen {
	struct manager_request *req;
	json_t *items;
	uint64_t limit;
};

/* Of VMs that were the caller's to see when they travelled. */
static void add_item(json_t *migration, void *arg)
{
	struct seen *s = arg;
	const char *tenant = bh_json_str_or(migration, "tenant", "");

	if (json_array_size(s->items) < s->limit &&
	    manager_request_holds(s->req, VERB_VM_READ, manager_request_tenant(s->req, tenant))) {
		json_array_append_new(s->items, manager_migration_shown(s->req, migration));
	} else {
		json_decref(migration);
	}
}

/* 0, or < 0 when the request was answered. A VM by UUID may be gone. */
static int take_vm(struct manager_request *req, char uuid[BH_UUID_TEXT_SIZE])
{
	const char *s = manager_request_query(req, "vm");
	struct manager_vm *vm = NULL;
	struct bh_diag diag = {};
	uint8_t id[16];
	int r;

	uuid[0] = '\0';
	if (!s) {
		return 0;
	}
	if (bh_uuid_parse(s, id) == 0) {
		bh_uuid_format(id, uuid);
		return 0;
	}
	r = manager_request_find_vm(req, s, &vm, &diag);
	if (r) {
		manager_reply_error(req, r == MANAGER_VM_AMBIGUOUS ? 409 : 404,
				    r == MANAGER_VM_AMBIGUOUS ? "conflict" : "not_found", &diag);
		return -ENOENT;
	}
	memcpy(uuid, vm->uuid, BH_UUID_TEXT_SIZE);
	return 0;
}

static void list_migrations(struct manager_request *req)
{
	struct manager_migration_filter filter = {.limit = LIMIT_DEFAULT};
	char vm[BH_UUID_TEXT_SIZE];
	struct bh_diag diag = {};
	struct seen seen = {.req = req};
	int r;

	if (take_vm(req, vm) < 0 || manager_request_flag(req, "open", &filter.open) < 0 ||
	    manager_request_since(req, &filter.since_ns) < 0 ||
	    manager_request_number(req, "limit", 1, LIMIT_MAX, &filter.limit) < 0) {
		return;
	}
	filter.vm = *vm ? vm : NULL;
	seen.limit = filter.limit;
	if (!manager_request_holds_all(req, VERB_VM_READ)) {
		filter.limit = LIMIT_MAX; /* most of them may be of others */
	}
	seen.items = json_array();
	r = manager_migrate_list(req->parts->migrate, &filter, false, add_item, &seen, &diag);
	if (r < 0) {
		json_decref(seen.items);
		manager_reply_failed(req, r, &diag);
		return;
	}
	req->asked = true; /* also when there are none at all */
	manager_reply(req, 200, json_pack("{s:o}", "items", seen.items));
}

static void get_migration(struct manager_request *req)
{
	const char *id = req->segments[1];
	struct manager_migration_filter filter = {.id = id, .limit = LIMIT_MAX};
	BH_JSON json_t *items = json_array();
	struct seen seen = {.req = req, .items = items, .limit = 2};
	struct bh_diag diag = {};
	int r;

	if (strlen(id) < ID_MIN || strspn(id, "0123456789abcdef") != strlen(id)) {
		manager_reply_errorf(req, 404, "not_found",
				     "a migration is called by %d to 32 hex digits", ID_MIN);
		return;
	}
	r = manager_migrate_list(req->parts->migrate, &filter, true, add_item, &seen, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else if (json_array_size(items) == 0) {
		manager_reply_errorf(req, 404, "not_found", "no migration '%.40s'", id);
	} else if (json_array_size(items) > 1) {
		manager_reply_errorf(req, 409, "conflict", "several migrations begin with '%.40s'",
				     id);
	} else {
		manager_reply(req, 200, json_incref(json_array_get(items, 0)));
	}
}

const struct manager_route manager_routes_migrations[] = {
	{"GET", "migrations", list_migrations, VERB_VM_READ, OBJECT_LIST, 0, NULL,
	 "vm open since limit"},
	{"GET", "migrations/*", get_migration, VERB_VM_READ, OBJECT_BODY, 0, NULL},
	{},
};
