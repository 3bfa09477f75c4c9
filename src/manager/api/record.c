/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/record.h"

#include "manager/api/batch.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/audit/audit.h"

struct changed {
	uint32_t tenant;
	char *tenant_name, *object;
	json_t *before, *after;
};

struct manager_record {
	int64_t open; /* its entry `begun`; 0: none */
	bool ended;
	uint32_t tenant;
	char *tenant_name, *object;
	char id[MANAGER_AUDIT_REQUEST_SIZE];
	char approval[32]; /* the request that allowed it */
	BH_VEC(struct changed) changed;
	unsigned int left_out;
};

/* ---- who, on what ---- */

static const char *via_of(const struct manager_request *req)
{
	switch (req->principal.via) {
	case MANAGER_VIA_ROOT:
		return "root";
	case MANAGER_VIA_SESSION:
		return "session";
	case MANAGER_VIA_TOKEN:
		return "token";
	default:
		return "";
	}
}

/* Root is the one who came as root: by socket or by the administrator's token. Who logs in is known
 * when his password was good. */
static const char *user_of(const struct manager_request *req)
{
	if (req->principal.via == MANAGER_VIA_NOBODY && strncmp(req->who, "user:", 5) == 0) {
		return req->who + 5;
	}
	return req->principal.via == MANAGER_VIA_ROOT || !*req->principal.name
		       ? req->who
		       : req->principal.name;
}

static struct manager_audit_note note_of(const struct manager_request *req)
{
	const struct manager_record *rec = req->record;

	return (struct manager_audit_note){
		.tenant = rec ? rec->tenant : MANAGER_PROVIDER,
		.tenant_name = rec ? rec->tenant_name : "provider",
		.user = user_of(req),
		.role = req->principal.roles,
		.factor = req->principal.factor,
		.from = req->from,
		.via = via_of(req),
		.act = req->route ? req->route->audit : NULL,
		.object = rec ? rec->object : NULL,
		.request = rec ? rec->id : NULL,
		.approval = rec ? rec->approval : NULL,
	};
}

/* What a tenant reads of a caller who is not its own is what he is there, not what he is elsewhere.
 * The provider reads everything. roles: room for the words. */
static void keep_to_tenant(const struct manager_request *req, struct manager_audit_note *note,
			   char roles[MANAGER_ROLES_SIZE])
{
	if (note->tenant != MANAGER_PROVIDER && note->tenant != req->principal.tenant) {
		manager_roles_at(req->principal.roles, note->tenant_name, roles);
		note->role = roles;
	}
}

static const char *name_of(const struct manager_request *req, uint32_t tenant)
{
	const struct manager_tenant *t = manager_tenant_at(req->parts->inv, tenant);

	return t ? t->name : "";
}

/* The tenant of an act that names no object of one: the caller's own. */
static uint32_t home_of(const struct manager_request *req)
{
	uint32_t tenant = req->principal.tenant;

	return tenant && *name_of(req, tenant) ? tenant : MANAGER_PROVIDER;
}

static void place(struct manager_request *req, struct manager_record *rec)
{
	struct manager_vm *vm = NULL;

	rec->tenant = home_of(req);
	switch (req->route->object) {
	case OBJECT_VM:
		if (manager_request_find_vm(req, req->segments[1], &vm, NULL) == 0) {
			rec->tenant = vm->tenant->number;
			rec->object = bh_asprintf("vm/%s", vm->uuid);
		}
		break;
	case OBJECT_HOST:
		rec->tenant = MANAGER_PROVIDER;
		rec->object = bh_asprintf("host/%s", req->segments[1]);
		break;
	case OBJECT_SYSTEM:
		rec->tenant = MANAGER_PROVIDER;
		break;
	case OBJECT_TENANT:
		rec->tenant = manager_request_tenant(req, req->segments[1]);
		rec->object = bh_asprintf("tenant/%s", req->segments[1]);
		break;
	case OBJECT_POLICY:
		rec->tenant = manager_request_tenant(req, req->segments[1]);
		rec->object = bh_asprintf("policy/%s/%s", req->segments[1], req->segments[2]);
		break;
	default:
		break;
	}
	if (!rec->tenant) {
		rec->tenant = home_of(req);
	}
	if (!rec->object) {
		rec->object = bh_strdup(req->path);
	}
	rec->tenant_name = bh_strdup(name_of(req, rec->tenant));
	if (req->parts->requests && *req->principal.name) {
		int64_t id = manager_grant_of(req->parts->requests, req->principal.name,
					      req->route->verb, rec->tenant, rec->object,
					      bh_time_wall_ns());

		if (id) {
			snprintf(rec->approval, sizeof(rec->approval), "request/%lld",
				 (long long)id);
		}
	}
}

static struct manager_record *record_new(struct manager_request *req)
{
	req->record = bh_alloc(sizeof(*req->record));
	manager_audit_request(req->record->id);
	place(req, req->record);
	return req->record;
}

/* ---- for handlers ---- */

void manager_request_changed(struct manager_request *req, uint32_t tenant, const char *object,
			     json_t *before, json_t *after)
{
	struct manager_record *rec = req->record;
	struct changed *c;

	if (!rec || rec->changed.count >= MANAGER_AUDIT_NOTES_MAX) {
		if (rec) {
			rec->left_out++;
		}
		json_decref(before);
		json_decref(after);
		return;
	}
	c = bh_vec_push(&rec->changed);
	c->tenant = tenant;
	c->tenant_name = bh_strdup(name_of(req, tenant));
	c->object = bh_strdup(object ? object : rec->object);
	c->before = json_is_null(before) ? NULL : before; /* a null is nobody's to free */
	c->after = json_is_null(after) ? NULL : after;
}

void manager_record_policies(struct manager_request *req, const json_t *changes,
			     const struct bh_policy_set *was)
{
	const struct bh_policy_set *is = manager_rulebook_set(req->parts->book);
	const json_t *change;
	size_t i;

	json_array_foreach ((json_t *)changes, i, change) {
		const char *tenant = bh_json_str_or(change, "tenant", "");
		const char *name = bh_json_str_or(change, "name", "");
		BH_FREE char *object = bh_asprintf("policy/%s/%s", tenant, name);

		manager_request_changed(req, manager_request_tenant(req, tenant), object,
					manager_policy_text(was, tenant, name),
					manager_policy_text(is, tenant, name));
	}
}

/* ---- the entries ---- */

bool manager_record_begins(struct manager_request *req)
{
	if (!req->parts->audit || !(req->route->flags & (API_AUDIT | API_AUDIT_AFTER))) {
		return false;
	}
	if (req->route->flags & API_AUDIT_AFTER) {
		record_new(req);
		return false;
	}
	return true;
}

void manager_record_begin(struct manager_request *const *reqs, size_t count)
{
	BH_FREE struct manager_audit_note *notes = bh_alloc_array(count + 1, sizeof(*notes));
	BH_FREE char(*roles)[MANAGER_ROLES_SIZE] = bh_alloc_array(count + 1, sizeof(*roles));
	BH_FREE int64_t *open = bh_alloc_array(count + 1, sizeof(*open));
	struct bh_diag diag = {};
	int r;

	for (size_t i = 0; i < count; i++) {
		record_new(reqs[i]);
		notes[i] = note_of(reqs[i]);
		keep_to_tenant(reqs[i], &notes[i], roles[i]);
	}
	r = count ? manager_audit_begin_all(reqs[0]->parts->audit, notes, count, bh_time_wall_ns(),
					    open, &diag)
		  : 0;
	for (size_t i = 0; i < count; i++) {
		reqs[i]->record->open = open[i];
		if (r < 0) {
			reqs[i]->record->ended = true;
			manager_reply_errorf(
				reqs[i], 507, "audit_full",
				"nothing was done: what must be recorded can't be (%s)", diag.text);
		}
	}
}

/* Whose user it was that logged in: "alice@shop". */
static void place_by_user(struct manager_request *req, struct manager_record *rec)
{
	const char *at = strchr(user_of(req), '@');
	uint32_t tenant = at ? manager_request_tenant(req, at + 1) : 0;

	if (tenant) {
		rec->tenant = tenant;
		free(rec->tenant_name);
		rec->tenant_name = bh_strdup(at + 1);
	}
}

static const char *result_of(unsigned int status)
{
	return status < 300 ? "done" : status < 500 ? "refused" : "failed";
}

/* One entry for each thing that was changed; one of the tenant in whose chain it began, in any
 * case. */
static void write_end(struct manager_request *req, struct manager_audit_note *note)
{
	struct manager_record *rec = req->record;
	bool changed = note->code == 0 || note->code < 300;
	size_t count = changed ? rec->changed.count : 0;
	BH_FREE struct manager_audit_note *notes = bh_alloc_array(count + 1, sizeof(*notes));
	BH_FREE char(*roles)[MANAGER_ROLES_SIZE] = bh_alloc_array(count + 1, sizeof(*roles));
	bool home = false;

	note->left_out = rec->left_out;
	for (size_t i = 0; i < count; i++) {
		const struct changed *c = &rec->changed.items[i];

		notes[i] = *note;
		notes[i].tenant = c->tenant;
		notes[i].tenant_name = c->tenant_name;
		notes[i].object = c->object;
		notes[i].before = c->before;
		notes[i].after = c->after;
		/* Words that were said about all of it are not for each tenant. */
		notes[i].reason = c->tenant == rec->tenant ? note->reason : NULL;
		home |= c->tenant == rec->tenant;
	}
	if (!home) {
		notes[count++] = *note;
	}
	for (size_t i = 0; i < count; i++) {
		keep_to_tenant(req, &notes[i], roles[i]);
	}
	manager_audit_end_soon(req->parts->audit, rec->open, notes, count, bh_time_wall_ns());
	manager_batch_wake(req->api);
}

void manager_record_end(struct manager_request *req, unsigned int status, const char *error)
{
	struct manager_record *rec = req->record;
	struct manager_audit_note note;

	if (!req->parts->audit || (!rec && !(req->route && (req->route->flags & API_AUDIT_READ)))) {
		return;
	}
	if (!rec) {
		rec = record_new(req);
	}
	if (rec->ended) {
		return;
	}
	rec->ended = true;
	if (req->principal.via == MANAGER_VIA_NOBODY) {
		place_by_user(req, rec);
	}
	note = note_of(req);
	note.state = "done";
	note.result = result_of(status);
	note.code = status;
	note.reason = status >= 300 && error ? error : req->audit_detail;
	if (req->route->flags & API_AUDIT_READ ||
	    (req->route->flags & API_AUDIT_AFTER && status >= 300)) {
		manager_audit_limited(req->parts->audit, &note, bh_time_wall_ns());
		return;
	}
	write_end(req, &note);
}

/* The client has gone while its act waited for hosts: what was changed was changed. */
static void end_without_answer(struct manager_request *req)
{
	struct manager_audit_note note = note_of(req);

	note.state = "done";
	note.result = req->record->changed.count ? "done" : "unknown";
	note.reason = "the client went away before its answer";
	write_end(req, &note);
}

void manager_record_done(struct manager_request *req)
{
	struct manager_record *rec = req->record;

	if (!rec) {
		return;
	}
	if (rec->open && !rec->ended) {
		end_without_answer(req);
	}
	bh_vec_foreach (c, &rec->changed) {
		free(c->tenant_name);
		free(c->object);
		json_decref(c->before);
		json_decref(c->after);
	}
	bh_vec_done(&rec->changed);
	free(rec->tenant_name);
	free(rec->object);
	free(rec);
	req->record = NULL;
}

static void note_denied(struct manager_request *req, struct manager_audit_note note,
			uint32_t tenant)
{
	char roles[MANAGER_ROLES_SIZE];

	note.tenant = tenant;
	note.tenant_name = name_of(req, tenant);
	keep_to_tenant(req, &note, roles);
	manager_audit_denied(req->parts->audit, &note, bh_time_wall_ns());
}

/* As the entries of what is done name it: by the path when that names a thing, a tenant that a
 * handler asked for by itself, else the path. Owned. */
static char *denied_object(const struct manager_request *req, const struct manager_object *object)
{
	static const struct {
		const char *noun, *kind;
	} kinds[] = {{"hosts", "host"},	      {"tenants", "tenant"},   {"users", "user"},
		     {"drafts", "draft"},     {"alerts", "alert"},     {"channels", "channel"},
		     {"requests", "request"}, {"sessions", "session"}, {"settings", "settings"}};
	const char *id = object->id, *rest = strchr(req->route->path, '/');
	const char *noun = req->segments[0], *name = req->segments[1];

	if (object->kind == OBJECT_VM || (id && rest && strcmp(noun, "vms") == 0)) {
		return bh_asprintf("vm/%s", id);
	}
	if (rest && rest[1] == '*' && strcmp(noun, "policies") == 0) {
		return bh_asprintf("policy/%s/%s", name, req->segments[2]);
	}
	for (size_t i = 0; rest && i < BH_ARRAY_SIZE(kinds); i++) {
		if (strcmp(noun, kinds[i].noun) == 0) {
			return bh_asprintf("%s/%s", kinds[i].kind, name);
		}
	}
	if (id && strcmp(id, name_of(req, object->tenant)) == 0) {
		return bh_asprintf("tenant/%s", id);
	}
	return bh_strdup(req->path);
}

/* What the user does not see may not show in what his tenant reads either. */
void manager_record_denied(struct manager_request *req, enum manager_verb verb,
			   const struct manager_object *object, const struct manager_judgement *j)
{
	BH_FREE char *text = denied_object(req, object);
	bool hidden = j->decision == MANAGER_HIDDEN;
	uint32_t home = hidden ? MANAGER_PROVIDER : home_of(req);
	struct manager_audit_note note;

	if (!req->parts->audit) {
		return;
	}
	note = note_of(req);
	note.act = manager_right_name(verb);
	note.object = text;
	note.reason = j->rule;
	note.code = hidden ? 404 : 403;
	note_denied(req, note, home);
	if (!hidden && object->tenant != home &&
	    manager_attempt_shown(&req->principal, object->tenant, bh_time_wall_ns())) {
		note_denied(req, note, object->tenant);
	}
}
