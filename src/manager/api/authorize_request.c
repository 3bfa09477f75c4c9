/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a request and manager_authorize(): which object a route's path names, what the caller is
 * told when he may not, and what handlers ask for lists and bodies. What the caller does not see
 * answers in the words of what does not exist, and is looked for in the same way: first what he
 * sees, then the name.
 */
#include "manager/api/denied.h"
#include "manager/api/login.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>

#define ID_SHOWN_MAX 256

BH_COUNTER(api_denied, "requests refused because the caller has no right to it");
BH_COUNTER(api_hidden,
	   "requests for what the caller does not see, answered as if it were not there");
BH_COUNTER(api_unasked, "answers withheld because a handler did not ask who sees what");

static struct manager_auth_rules rules_now(const struct manager_request *req)
{
	return manager_api_rules(req->api, bh_time_wall_ns());
}

/* ---- answers ---- */

/* Of who has none yet, an authenticator: that is what he has to get. */
static json_t *methods_json(struct manager_request *req)
{
	struct manager_user u;
	json_t *list = manager_user_get(req->parts->accounts, NULL, req->principal.user, &u) == 0 &&
				       manager_factor_has(&u)
			       ? manager_factors_json(&u)
			       : json_pack("[s, s]", "totp", "recovery");

	if (manager_request_steps_by_oidc(req, true)) {
		json_array_append_new(list, json_string("oidc"));
	}
	return list;
}

static json_t *error_json(struct manager_request *req, const char *code, enum manager_verb verb,
			  const char *id, const struct manager_judgement *j)
{
	json_t *error = json_pack("{s:s, s:o, s:s, s:s, s:s}", "code", code, "message",
				  json_sprintf("not allowed: %s", j->rule), "verb",
				  manager_right_name(verb), "rule", j->rule, "way", j->way);

	if (id && strlen(id) <= ID_SHOWN_MAX) { /* what no thing has is not repeated */
		json_object_set_new(error, "object", json_string(id));
	}
	if (j->decision == MANAGER_STEP_UP) {
		json_object_set_new(error, "methods", methods_json(req));
	}
	return json_pack("{s:o}", "error", error);
}

static void refuse(struct manager_request *req, enum manager_verb verb,
		   const struct manager_object *object, const struct manager_judgement *j)
{
	static const char *const codes[] = {[MANAGER_DENY] = "forbidden",
					    [MANAGER_STEP_UP] = "step_up",
					    [MANAGER_APPROVAL] = "approval"};

	bh_counter_add(&api_denied, 1);
	manager_denied_tell(req, verb, object, j);
	manager_reply(req, 403, error_json(req, codes[j->decision], verb, object->id, j));
}

/* In the words of the handler that finds nothing. */
static void hide(struct manager_request *req, enum manager_object_kind kind)
{
	bh_counter_add(&api_hidden, 1);
	switch (kind) {
	case OBJECT_HOST:
		manager_reply_errorf(req, 404, "not_found", "no host '%.80s'", req->segments[1]);
		break;
	case OBJECT_TENANT:
		manager_reply_errorf(req, 404, "not_found", "no tenant '%.80s'", req->segments[1]);
		break;
	case OBJECT_POLICY:
		manager_reply_errorf(req, 404, "not_found", "no policy %.64s/%.64s",
				     req->segments[1], req->segments[2]);
		break;
	default:
		manager_reply_errorf(req, 404, "not_found", "there is no %.200s", req->path);
	}
}

/* ---- VMs ---- */

static bool sees_vm(struct manager_request *req, const struct manager_vm *vm)
{
	return manager_request_holds(req, VERB_VM_READ, vm->tenant->number);
}

int manager_request_find_vm(struct manager_request *req, const char *id, struct manager_vm **ret,
			    struct bh_diag *diag)
{
	struct manager_inventory *inv = req->parts->inv;
	struct manager_vm *vm, *tmp, *found = NULL;

	if (manager_request_holds_all(req, VERB_VM_READ)) {
		return manager_vm_find(inv, id, ret, diag);
	}
	HASH_FIND_STR(inv->vms, id, vm);
	if (vm && sees_vm(req, vm)) {
		*ret = vm;
		return 0;
	}
	HASH_ITER (hh, inv->vms, vm, tmp) {
		if (!sees_vm(req, vm) || strcmp(vm->report.name, id) != 0) {
			continue;
		}
		if (found) {
			bh_diag_set(diag, -EINVAL, "several VMs have the name '%.80s'", id);
			return MANAGER_VM_AMBIGUOUS;
		}
		found = vm;
	}
	*ret = found;
	return found ? 0 : bh_diag_set(diag, -ENOENT, "no VM '%.80s'", id);
}

struct manager_vm *manager_request_vm(struct manager_request *req)
{
	struct manager_vm *vm = NULL;
	struct bh_diag diag = {};
	int r = manager_request_find_vm(req, req->segments[1], &vm, &diag);

	if (r == MANAGER_VM_AMBIGUOUS) {
		manager_reply_error(req, 409, "conflict", &diag);
	} else if (r < 0) {
		manager_reply_error(req, 404, "not_found", &diag);
	}
	return r == 0 ? vm : NULL;
}

/* ---- the dispatcher's ---- */

uint32_t manager_request_tenant(const struct manager_request *req, const char *name)
{
	const struct manager_tenant *t = manager_tenant_find(req->parts->inv, name);

	return t ? t->number : MANAGER_NO_TENANT;
}

/* Of a VM that is there, but not for the caller: he is told nothing, the record is. */
static void tell_hidden_vm(struct manager_request *req)
{
	static const struct manager_judgement j = {
		.decision = MANAGER_HIDDEN,
		.rule = "nothing of this tenant is shown to the user",
		.way = "ask an administrator of the tenant"};
	struct manager_vm *vm = NULL;

	if (manager_vm_find(req->parts->inv, req->segments[1], &vm, NULL) == 0 &&
	    !sees_vm(req, vm)) {
		manager_denied_tell(req, req->route->verb,
				    &(struct manager_object){.kind = OBJECT_VM,
							     .tenant = vm->tenant->number,
							     .id = vm->uuid},
				    &j);
	}
}

/* False when it was answered. */
static bool take_object(struct manager_request *req, struct manager_object *ret)
{
	struct manager_vm *vm;

	*ret = (struct manager_object){
		.kind = req->route->object, .tenant = MANAGER_PROVIDER, .id = req->segments[1]};
	switch (req->route->object) {
	case OBJECT_VM:
		vm = manager_request_vm(req);
		if (!vm) {
			tell_hidden_vm(req);
			return false;
		}
		ret->tenant = vm->tenant->number;
		ret->id = vm->uuid;
		break;
	case OBJECT_TENANT:
	case OBJECT_POLICY:
		ret->tenant = manager_request_tenant(req, req->segments[1]);
		break;
	case OBJECT_LIST:
	case OBJECT_BODY:
		ret->tenant = MANAGER_NO_TENANT;
		ret->id = NULL;
		break;
	default:
		break;
	}
	return true;
}

static void answer_refused(struct manager_request *req, enum manager_verb verb,
			   const struct manager_object *object, const struct manager_judgement *j)
{
	if (j->decision == MANAGER_HIDDEN) {
		manager_denied_tell(req, verb, object, j);
		hide(req, object->kind);
	} else if (j->decision != MANAGER_ALLOW) {
		refuse(req, verb, object, j);
	}
}

void manager_request_authorize(struct manager_request *req)
{
	struct manager_auth_rules rules = rules_now(req);
	struct manager_judgement j;
	struct manager_object object;

	if (!take_object(req, &object)) {
		return;
	}
	manager_authorize(&req->principal, req->route->verb, &object, &rules, &j);
	answer_refused(req, req->route->verb, &object, &j);
}

/* ---- the handlers' ---- */

bool manager_request_holds(struct manager_request *req, enum manager_verb verb, uint32_t tenant)
{
	req->asked = true;
	return (manager_rights_at(&req->principal, tenant, bh_time_wall_ns()) &
		MANAGER_RIGHT(verb)) != 0;
}

bool manager_request_sees(struct manager_request *req, uint32_t tenant)
{
	return manager_request_holds(req, req->route->verb, tenant);
}

bool manager_request_holds_all(struct manager_request *req, enum manager_verb verb)
{
	return manager_holds_everywhere(&req->principal, verb, bh_time_wall_ns());
}

bool manager_request_may(struct manager_request *req, enum manager_verb verb, uint32_t tenant,
			 const char *id)
{
	struct manager_auth_rules rules = rules_now(req);
	struct manager_object object = {.kind = OBJECT_SYSTEM, .tenant = tenant, .id = id};
	struct manager_judgement j;

	req->asked = true;
	if (manager_authorize(&req->principal, verb, &object, &rules, &j) == MANAGER_ALLOW) {
		return true;
	}
	answer_refused(req, verb, &object, &j);
	return false;
}

bool manager_request_factor(struct manager_request *req, enum manager_verb verb, uint32_t tenant,
			    const char *id)
{
	struct manager_auth_rules rules = rules_now(req);
	struct manager_object object = {.kind = OBJECT_SYSTEM, .tenant = tenant, .id = id};
	struct manager_judgement j;

	if (manager_authorize_factor(&req->principal, verb, &rules, &j) == MANAGER_ALLOW) {
		return true;
	}
	answer_refused(req, verb, &object, &j);
	return false;
}

void manager_request_scope(struct manager_request *req, enum manager_verb verb,
			   struct manager_scope *ret)
{
	struct manager_tenant *t, *tmp;

	memset(ret, 0, sizeof(*ret));
	req->asked = true;
	ret->all = manager_request_holds_all(req, verb);
	if (ret->all) {
		return;
	}
	HASH_ITER (hh, req->parts->inv->tenants, t, tmp) {
		if (ret->count < MANAGER_SCOPE_TENANTS_MAX &&
		    manager_request_holds(req, verb, t->number)) {
			ret->tenants[ret->count++] = t->number;
		}
	}
}

bool manager_request_unasked(const struct manager_request *req)
{
	if (req->asked || !req->route || req->principal.via == MANAGER_VIA_ROOT ||
	    (req->route->object != OBJECT_LIST && req->route->object != OBJECT_BODY)) {
		return false;
	}
	bh_counter_add(&api_unasked, 1);
	bh_log_limited(BH_LOG_ERROR, "api", 3, "%s %s answers without asking who sees what",
		       req->route->method, req->route->path);
	return true;
}
