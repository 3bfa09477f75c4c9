/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power, snapshots and migrations of VMs: POST /v1/vms/ID:start and the like, and /v1/orders, what
 * became of them (docs/power.md). An act has ended when its answer is 200; one that goes on is 202,
 * and its end becomes an entry of the audit log by itself.
 */
#include "manager/api/shown.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/audit/audit.h"
#include "manager/migrate/placement.h"

#include <errno.h>
#include <sodium.h>

#define WAIT_MS	 10000 /* unless `wait` says otherwise */
#define LIST_MS	 8000
#define POOL_KEY "pool" /* label of hosts */

/* ---- what is told ---- */

/* Of a tenant's VM its people see everything but hosts; what libvirt says may name them. */
static json_t *order_shown(struct manager_request *req, const struct manager_order *o)
{
	json_t *obj = manager_order_json(o);

	if (!manager_request_sees_hosts(req)) {
		json_object_del(obj, "host");
		json_object_del(obj, "to");
		if (*o->error && !o->error_shown) {
			json_object_set_new(obj, "error",
					    json_string("the host could not do it; the provider "
							"sees why"));
		}
	}
	return obj;
}

static void note_end(struct manager_request *req, struct manager_order *o)
{
	json_t *after = json_pack("{s:s, s:s, s:s}", "state", o->vm_state, "order", o->id, "end",
				  manager_order_state_name(o->state));

	if (*o->name) {
		json_object_set_new(after, "snapshot", json_string(o->name));
	}
	if (*o->to) {
		json_object_set_new(after, "host", json_string(o->to));
	}
	manager_request_changed(req, o->tenant, NULL, json_pack("{s:s}", "state", o->before),
				after);
}

/* 409 for what did not work: the VM's or the host's state is against it. */
static void answer(struct manager_request *req, struct manager_order *o)
{
	BH_JSON json_t *shown = order_shown(req, o);

	o->recorded |= o->state != MANAGER_ORDER_RUNNING;
	if (o->state == MANAGER_ORDER_DONE || o->state == MANAGER_ORDER_RUNNING) {
		note_end(req, o);
		manager_reply(req, o->state == MANAGER_ORDER_DONE ? 200 : 202, json_incref(shown));
		return;
	}
	manager_request_detail(req, "order %s: %s", o->id, o->error);
	manager_reply(req, 409,
		      json_pack("{s:{s:s, s:s}, s:O}", "error", "code",
				manager_order_state_name(o->state), "message",
				bh_json_str_or(shown, "error", ""), "order", shown));
}

static void on_order(struct manager_order *o, void *arg)
{
	struct manager_request *req = arg;

	req->state = NULL;
	answer(req, o);
}

static void forget(void *state)
{
	if (state) {
		manager_orders_unwatch(state);
	}
}

static void wait_for(struct manager_request *req, struct manager_order *o, uint64_t wait_ms)
{
	if (o->state != MANAGER_ORDER_RUNNING || !wait_ms) {
		answer(req, o);
		return;
	}
	manager_request_later(req);
	req->state = manager_orders_watch(o, wait_ms, on_order, req);
	req->state_free = forget;
}

/* ---- what is asked ---- */

static int text_of(const json_t *body, const char *key, size_t max, const char **ret,
		   struct bh_diag *diag)
{
	const json_t *value = json_object_get(body, key);
	const char *s = json_is_string(value) ? json_string_value(value) : "";

	if ((value && !json_is_string(value)) || strlen(s) > max) {
		return bh_diag_set(diag, -EINVAL, "'%s' must be text of at most %zu bytes", key,
				   max);
	}
	for (const char *c = s; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f) {
			return bh_diag_set(diag, -EINVAL, "control character in '%s'", key);
		}
	}
	*ret = s;
	return 0;
}

/* The members that every act has. False when it was answered. */
static bool take_common(struct manager_request *req, const json_t *body,
			struct manager_order_what *what)
{
	struct bh_diag diag = {};

	what->by = req->who;
	what->name = what->description = what->to = "";
	if (text_of(body, "request", MANAGER_ORDER_REQUEST_MAX, &what->request, &diag) < 0 ||
	    text_of(body, "reason", MANAGER_REASON_MAX, &what->reason, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return false;
	}
	if (*what->reason) {
		manager_request_detail(req, "%s", what->reason);
	}
	return true;
}

static bool host_there(struct manager_request *req, const struct manager_host *host)
{
	if (host->online) {
		return true;
	}
	req->retry_after_s = 10;
	manager_reply_errorf(req, 503, "host_away", "%s is away",
			     manager_request_sees_hosts(req) ? host->name : "its host");
	return false;
}

static void begin(struct manager_request *req, const struct manager_vm *vm,
		  const struct manager_order_what *what)
{
	struct manager_orders *orders = req->parts->orders;
	struct manager_order *o = NULL;
	struct bh_diag diag = {};
	uint64_t wait_ms = 0;
	int r;

	if (manager_request_wait(req, &wait_ms) < 0) {
		return;
	}
	if (!manager_request_query(req, "wait")) {
		wait_ms = WAIT_MS;
	}
	o = manager_orders_again(orders, vm, what);
	if (!o && !vm->host) {
		manager_reply_errorf(req, 409, "conflict", "no host has this VM");
		return;
	}
	if (!o && !host_there(req, vm->host)) {
		return;
	}
	r = manager_orders_begin(orders, vm, what, &o, &diag);
	if (r == MANAGER_ORDER_OTHER || r == MANAGER_ORDER_BUSY) {
		manager_reply_error(req, 409, r == MANAGER_ORDER_BUSY ? "busy" : "conflict", &diag);
	} else if (r < 0) {
		req->retry_after_s = 5;
		manager_reply_error(req, 503, "busy", &diag);
	} else {
		wait_for(req, o, wait_ms);
	}
}

/* ---- power ---- */

/* "reboot" of "POST vms/ID:reboot". */
static const char *act_of_path(const struct manager_request *req)
{
	return strrchr(req->route->path, ':') + 1;
}

static void power(struct manager_request *req)
{
	static const char *const known[] = {"request", "reason", NULL};
	const struct manager_vm *vm = manager_request_vm(req);
	BH_JSON json_t *body = vm ? manager_request_json(req, known, true) : NULL;
	struct manager_order_what what = {.act = act_of_path(req)};

	if (body && take_common(req, body, &what)) {
		begin(req, vm, &what);
	}
}

static void destroy(struct manager_request *req)
{
	static const char *const known[] = {"undefine", "request", "reason", NULL};
	const struct manager_vm *vm = manager_request_vm(req);
	BH_JSON json_t *body = vm ? manager_request_json(req, known, true) : NULL;
	const json_t *undefine = json_object_get(body, "undefine");
	struct manager_order_what what = {.act = json_is_true(undefine) ? "undefine" : "destroy"};

	if (!body || !take_common(req, body, &what)) {
		return;
	}
	if (undefine && !json_is_boolean(undefine)) {
		manager_reply_errorf(req, 400, "bad_request", "'undefine' must be true or false");
		return;
	}
	begin(req, vm, &what);
}

/* ---- snapshots ---- */

static bool snapshot_name_valid(const char *s)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._-";
	size_t len = strlen(s);

	return len && len <= MANAGER_ORDER_NAME_MAX && strspn(s, good) == len && *s != '.' &&
	       *s != '-';
}

static void take_snapshot(struct manager_request *req)
{
	static const char *const known[] = {"name", "description", "request", "reason", NULL};
	const struct manager_vm *vm = manager_request_vm(req);
	BH_JSON json_t *body = vm ? manager_request_json(req, known, false) : NULL;
	struct manager_order_what what = {.act = "snapshot"};
	struct bh_diag diag = {};

	if (!body || !take_common(req, body, &what)) {
		return;
	}
	what.name = bh_json_str_or(body, "name", "");
	if (!snapshot_name_valid(what.name)) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'name' must be 1 to %d letters, digits, '.', '_', '-', and "
				     "begin with a letter or digit",
				     MANAGER_ORDER_NAME_MAX);
		return;
	}
	if (text_of(body, "description", MANAGER_ORDER_WORDS_MAX, &what.description, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	begin(req, vm, &what);
}

/* Of segment 3, which libvirt may have named: only its length is ours to check. */
static void with_snapshot(struct manager_request *req, const char *act)
{
	static const char *const known[] = {"request", "reason", NULL};
	const struct manager_vm *vm = manager_request_vm(req);
	BH_JSON json_t *body = vm ? manager_request_json(req, known, true) : NULL;
	struct manager_order_what what = {.act = act};

	if (!body || !take_common(req, body, &what)) {
		return;
	}
	if (strlen(req->segments[3]) > MANAGER_ORDER_NAME_MAX) {
		manager_reply_errorf(req, 404, "not_found", "no snapshot '%.64s'",
				     req->segments[3]);
		return;
	}
	what.name = req->segments[3];
	begin(req, vm, &what);
}

static void revert(struct manager_request *req)
{
	with_snapshot(req, "revert");
}

static void delete_snapshot(struct manager_request *req)
{
	with_snapshot(req, "snapshot-delete");
}

struct listing {
	struct manager_request *req; /* NULL: nobody waits any more */
	bool words;
};

static json_t *snapshot_shown(const json_t *from, bool words)
{
	char created[BH_TIME_TEXT_SIZE];
	json_t *obj;

	bh_time_format(bh_json_u64_or(from, "created_s", 0) * BH_NS_PER_S, created);
	obj = json_pack("{s:s, s:s, s:s, s:b}", "name", bh_json_str_or(from, "name", ""), "created",
			created, "state", bh_json_str_or(from, "state", ""), "current",
			json_is_true(json_object_get(from, "current")));
	if (words) {
		json_object_set_new(obj, "description",
				    json_string(bh_json_str_or(from, "description", "")));
	}
	return obj;
}

static void on_list(int err, const struct bh_bus_msg *reply, void *arg)
{
	BH_FREE struct listing *l = arg;
	struct manager_request *req = l->req;
	json_t *list = err == 0 ? json_object_get(reply->json, "list") : NULL;
	json_t *items, *item;
	size_t i;

	if (!req || err == -ECANCELED) {
		return;
	}
	req->state = NULL;
	if (!json_is_array(list)) {
		manager_reply_errorf(req, 503, "host_away",
				     "its host has not said which snapshots there are");
		return;
	}
	items = json_array();
	json_array_foreach (list, i, item) {
		json_array_append_new(items, snapshot_shown(item, l->words));
	}
	manager_reply(req, 200,
		      json_pack("{s:o, s:I}", "items", items, "total",
				(json_int_t)json_array_size(items)));
}

static void forget_list(void *state)
{
	if (state) {
		((struct listing *)state)->req = NULL;
	}
}

static void list_snapshots(struct manager_request *req)
{
	const struct manager_vm *vm = manager_request_vm(req);
	char id[MANAGER_ORDER_ID_SIZE];
	uint8_t random[16];
	struct listing *l;

	if (!vm) {
		return;
	}
	if (!vm->host) {
		manager_reply_errorf(req, 409, "conflict", "no host has this VM");
		return;
	}
	if (!host_there(req, vm->host)) {
		return;
	}
	randombytes_buf(random, sizeof(random));
	bh_hex_format(random, sizeof(random), id);
	l = bh_alloc(sizeof(*l));
	l->req = req;
	l->words = req->principal.via == MANAGER_VIA_ROOT ||
		   manager_request_holds(req, VERB_VM_SNAPSHOT, vm->tenant->number);
	req->state = l;
	req->state_free = forget_list;
	manager_request_later(req);
	manager_link_command(vm->host->name,
			     json_pack("{s:s, s:s, s:s, s:s}", "type", "order", "id", id, "vm",
				       vm->uuid, "act", "snapshots"),
			     LIST_MS, on_list, l, req->parts->link);
}

/* ---- travelling ---- */

static const char *pool_of(const struct manager_host *host)
{
	return bh_json_str_or(host->labels, POOL_KEY, "");
}

/* NULL when it was answered. */
static const struct manager_host *take_target(struct manager_request *req,
					      const struct manager_vm *vm, const char *name)
{
	const struct manager_host *to = manager_host_find(req->parts->inv, name);
	struct bh_diag diag = {};

	if (!to || !manager_request_sees_hosts(req)) {
		manager_reply_errorf(req, 404, "not_found", "no host '%.80s'", name);
	} else if (to == vm->host) {
		manager_reply_errorf(req, 409, "conflict", "the VM is on host %s", to->name);
	} else if (vm->host && strcmp(pool_of(to), pool_of(vm->host)) != 0 &&
		   !manager_request_may(req, VERB_VM_MIGRATE_POOL, vm->tenant->number, vm->uuid)) {
		return NULL; /* answered */
	} else if (manager_placement_check(req->parts->inv, vm, to, &diag) < 0) {
		manager_reply_error(req, 409, "placement", &diag);
	} else if (host_there(req, to)) {
		return to;
	}
	return NULL;
}

static void migrate(struct manager_request *req)
{
	static const char *const known[] = {"host", "request", "reason", NULL};
	const struct manager_vm *vm = manager_request_vm(req);
	BH_JSON json_t *body = vm ? manager_request_json(req, known, false) : NULL;
	struct manager_order_what what = {.act = "migrate"};
	const struct manager_host *to;

	if (!body || !take_common(req, body, &what)) {
		return;
	}
	what.to = bh_json_str_or(body, "host", "");
	if (!bh_name_valid(what.to)) {
		manager_reply_errorf(req, 400, "bad_request", "'host' must be the name of a host");
		return;
	}
	if (!manager_orders_again(req->parts->orders, vm, &what)) {
		to = take_target(req, vm, what.to);
		if (!to) {
			return;
		}
	}
	begin(req, vm, &what);
}

/* ---- /v1/orders ---- */

static bool sees_order(struct manager_request *req, const struct manager_order *o)
{
	return manager_request_holds(req, VERB_VM_READ, o->tenant);
}

static void list_orders(struct manager_request *req)
{
	const char *vm = manager_request_query(req, "vm");
	const char *state = manager_request_query(req, "state");
	struct manager_page page;
	struct manager_order *last = manager_orders_first(req->parts->orders);

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	req->asked = true;
	last = last ? ELMT_FROM_HH(last->hh.tbl, last->hh.tbl->tail) : NULL;
	for (struct manager_order *o = last; o; o = o->hh.prev) {
		if ((vm && strcmp(vm, o->vm) != 0 && strcmp(vm, o->vm_name) != 0) ||
		    (state && strcmp(state, manager_order_state_name(o->state)) != 0) ||
		    !sees_order(req, o)) {
			continue;
		}
		if (manager_page_takes(&page)) {
			manager_page_put(&page, order_shown(req, o));
		}
	}
	manager_page_reply(req, &page, NULL);
}

/* NULL when it was answered. */
static struct manager_order *order_of(struct manager_request *req)
{
	struct manager_order *o = manager_orders_find(req->parts->orders, req->segments[1]);

	req->asked = true;
	if (!o || !sees_order(req, o)) {
		manager_reply_errorf(req, 404, "not_found", "no order '%.40s'", req->segments[1]);
		return NULL;
	}
	return o;
}

static void get_order(struct manager_request *req)
{
	const struct manager_order *o = order_of(req);

	if (o) {
		manager_reply(req, 200, order_shown(req, o));
	}
}

static enum manager_verb verb_of(const struct manager_order *o)
{
	return strcmp(o->act, "migrate") == 0	 ? VERB_VM_MIGRATE
	       : strcmp(o->act, "snapshot") == 0 ? VERB_VM_SNAPSHOT
						 : VERB_VM_POWER;
}

static void cancel_order(struct manager_request *req)
{
	struct manager_order *o = order_of(req);

	if (!o || !manager_request_may(req, verb_of(o), o->tenant, o->vm)) {
		return;
	}
	if (o->state != MANAGER_ORDER_RUNNING) {
		manager_reply_errorf(req, 409, "conflict", "the order has ended");
		return;
	}
	manager_request_changed(req, o->tenant, NULL, json_pack("{s:s}", "state", "running"),
				json_pack("{s:s}", "cancel", o->act));
	manager_orders_cancel(o);
	manager_reply(req, 202, order_shown(req, o));
}

/* ---- who has to know ---- */

/* What ended after its request was answered, or whose client went away, is recorded here. */
static void record_end(const struct manager_parts *parts, const struct manager_order *o)
{
	BH_FREE char *object = bh_asprintf("vm/%s", o->vm);
	BH_FREE char *reason =
		bh_asprintf("order %s: %s%s%s", o->id, o->act, *o->error ? ": " : "", o->error);
	BH_JSON json_t *before = json_pack("{s:s}", "state", o->before);
	BH_JSON json_t *after = json_pack("{s:s, s:s}", "state", o->vm_state, "end",
					  manager_order_state_name(o->state));
	struct manager_audit_note note = {.tenant = o->tenant,
					  .tenant_name = o->tenant_name,
					  .user = "bulkheadd",
					  .via = "system",
					  .act = "order.end",
					  .object = object,
					  .before = before,
					  .after = after,
					  .result = o->state == MANAGER_ORDER_DONE ? "done"
										   : "failed",
					  .reason = reason};

	if (parts->audit) {
		manager_audit_add(parts->audit, &note, bh_time_wall_ns());
	}
}

void manager_api_ordered(struct manager_order *o, void *arg)
{
	const struct manager_parts *parts = arg;
	bool good = o->state == MANAGER_ORDER_DONE;

	if (!o->recorded) {
		o->recorded = true;
		record_end(parts, o);
	}
	manager_events_own(parts->events, "vm.order",
			   good ? BH_SEVERITY_NOTICE : BH_SEVERITY_WARNING,
			   json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "vm", o->vm,
				     "vm_name", o->vm_name, "tenant", o->tenant_name, "host",
				     o->host, "order", o->id, "act", o->act, "state",
				     manager_order_state_name(o->state), "by", o->by, "error",
				     o->error_shown ? o->error
				     : good	    ? ""
						    : "the host says why"));
}

#define POWER(act)                                                                                 \
	{                                                                                          \
		"POST", "vms/*:" act, power, VERB_VM_POWER, OBJECT_VM, API_AUDIT, "vm." act,       \
			"wait"                                                                     \
	}

const struct manager_route manager_routes_orders[] = {
	POWER("start"),
	POWER("shutdown"),
	POWER("reboot"),
	POWER("reset"),
	POWER("suspend"),
	POWER("resume"),
	{"POST", "vms/*:destroy", destroy, VERB_VM_DESTROY, OBJECT_VM, API_AUDIT, "vm.destroy",
	 "wait"},
	{"POST", "vms/*:migrate", migrate, VERB_VM_MIGRATE, OBJECT_VM, API_AUDIT, "vm.migrate",
	 "wait"},
	{"GET", "vms/*/snapshots", list_snapshots, VERB_VM_READ, OBJECT_VM, 0, NULL},
	{"POST", "vms/*/snapshots", take_snapshot, VERB_VM_SNAPSHOT, OBJECT_VM, API_AUDIT,
	 "vm.snapshot", "wait"},
	{"POST", "vms/*/snapshots/*:revert", revert, VERB_VM_REVERT, OBJECT_VM, API_AUDIT,
	 "vm.revert", "wait"},
	{"DELETE", "vms/*/snapshots/*", delete_snapshot, VERB_VM_REVERT, OBJECT_VM, API_AUDIT,
	 "vm.snapshot-delete", "wait"},
	{"GET", "orders", list_orders, VERB_VM_READ, OBJECT_LIST, 0, NULL,
	 "vm state " API_PAGE_QUERY},
	{"GET", "orders/*", get_order, VERB_VM_READ, OBJECT_BODY, 0, NULL},
	{"POST", "orders/*:cancel", cancel_order, VERB_VM_READ, OBJECT_BODY, API_AUDIT,
	 "order.cancel"},
	{},
};
