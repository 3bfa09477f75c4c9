/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/audit: who did what. Reading it is on record too. */
#include "manager/api/request.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/audit/audit.h"

#include <errno.h>

#define PAGE_DEFAULT 100
#define PAGE_MAX     1000
#define EXPORT_BLOCK 65536

static void no_log(struct manager_request *req)
{
	manager_reply_errorf(req, 503, "unavailable", "this manager keeps no audit log");
}

/* ---- the list ---- */

static void add_entry(uint64_t seq, const char *id, const char *line, void *arg)
{
	json_t *entry = json_loads(line, 0, NULL);

	if (!entry) { /* changed behind the manager's back */
		entry = json_pack("{s:s}", "unreadable", line);
		entry = entry ? entry : json_object();
	}
	json_object_set_new(entry, "id", json_string(id));
	if (seq) {
		json_object_set_new(entry, "seq", json_integer((json_int_t)seq));
	}
	json_array_append_new(arg, entry);
}

/* `tenant=` narrows what is seen; one that is not seen is as one that is not there. */
static bool take_scope(struct manager_request *req, enum manager_verb verb,
		       struct manager_scope *ret, const char **ret_name)
{
	const char *name = manager_request_query(req, "tenant");
	uint32_t tenant;

	*ret_name = name;
	manager_request_scope(req, verb, ret);
	if (!name) {
		return true;
	}
	tenant = manager_request_tenant(req, name);
	if (!tenant || !manager_scope_has(ret, tenant)) {
		manager_reply_errorf(req, 404, "not_found", "no tenant '%.80s'", name);
		return false;
	}
	*ret = (struct manager_scope){.tenants = {tenant}, .count = 1};
	return true;
}

static bool take_times(struct manager_request *req, uint64_t *since_ns, uint64_t *until_ns)
{
	const char *until = manager_request_query(req, "until");

	if (manager_request_since(req, since_ns) < 0) {
		return false;
	}
	if (until && bh_time_parse(until, strlen(until), until_ns) < 0) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'until' must be a time like 2026-11-21T23:00:00Z");
		return false;
	}
	return true;
}

static bool take_filter(struct manager_request *req, struct manager_audit_filter *f)
{
	const char *before = manager_request_query(req, "before");
	uint64_t limit = PAGE_DEFAULT;
	const char *tenant;

	f->user = manager_request_query(req, "user");
	f->act = manager_request_query(req, "act");
	f->object = manager_request_query(req, "object");
	f->result = manager_request_query(req, "result");
	f->q = manager_request_query(req, "q");
	if (manager_request_number(req, "limit", 1, PAGE_MAX, &limit) < 0 ||
	    !take_times(req, &f->since_ns, &f->until_ns)) {
		return false;
	}
	f->limit = (uint32_t)limit;
	if (before && manager_audit_id_parse(before, &f->before_tenant, &f->before_tseq) < 0) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'before' must be the id of an entry");
		return false;
	}
	f->has_before = before != NULL;
	return take_scope(req, VERB_AUDIT_READ, &f->scope, &tenant);
}

static void list_audit(struct manager_request *req)
{
	struct manager_audit_filter filter = {};
	char next[MANAGER_AUDIT_ID_SIZE];
	struct bh_diag diag = {};
	json_t *items, *body;
	int r;

	if (!req->parts->audit) {
		no_log(req);
		return;
	}
	if (!take_filter(req, &filter)) {
		return;
	}
	items = json_array();
	r = manager_audit_list(req->parts->audit, &filter, add_entry, items, next, &diag);
	if (r < 0) {
		json_decref(items);
		manager_reply_failed(req, r, &diag);
		return;
	}
	body = json_pack("{s:o}", "items", items);
	if (*next) {
		json_object_set_new(body, "next", json_string(next));
	}
	manager_reply(req, 200, body);
}

/* ---- the export ---- */

struct export
{
	struct manager_audit_export *x;
	struct bh_wbuf buf;
	size_t pos;
};

static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct export *e = cls;
	size_t left;
	int r;

	if (e->pos == e->buf.size) {
		e->pos = e->buf.size = 0;
		r = manager_audit_export_read(e->x, &e->buf, NULL);
		if (r < 0) {
			return MHD_CONTENT_READER_END_WITH_ERROR;
		}
	}
	left = e->buf.size - e->pos;
	if (!left) {
		return MHD_CONTENT_READER_END_OF_STREAM;
	}
	left = left < max ? left : max;
	memcpy(buf, e->buf.data + e->pos, left);
	e->pos += left;
	return (ssize_t)left;
}

static void on_free(void *cls)
{
	struct export *e = cls;

	manager_audit_export_free(e->x);
	bh_wbuf_done(&e->buf);
	free(e);
}

static void stream(struct manager_request *req, struct manager_audit_export *x)
{
	struct export *e = bh_alloc(sizeof(*e));
	struct MHD_Response *response;

	e->x = x;
	bh_wbuf_init(&e->buf, 0);
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EXPORT_BLOCK, on_read, e,
						     on_free);
	if (!response) {
		on_free(e);
		manager_reply_errorf(req, 500, "internal", "no memory for an export");
		return;
	}
	MHD_add_response_header(response, "Content-Type", "application/x-ndjson");
	MHD_add_response_header(response, "Content-Disposition",
				"attachment; filename=\"audit.jsonl\"");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	manager_reply_ready(req, 200, response);
}

/* Without `tenant` everything, for who may export everywhere; who may at one tenant only gets that
 * one's. */
static void export_audit(struct manager_request *req)
{
	struct manager_audit_export_options o = {.wall_ns = bh_time_wall_ns()};
	struct manager_audit_export *x = NULL;
	struct manager_scope scope;
	const struct manager_tenant *t;
	struct bh_diag diag = {};
	int r;

	if (!req->parts->audit) {
		no_log(req);
		return;
	}
	if (!take_scope(req, VERB_AUDIT_EXPORT, &scope, &o.tenant_name) ||
	    !take_times(req, &o.since_ns, &o.until_ns)) {
		return;
	}
	if (!scope.all && scope.count != 1) {
		manager_reply_errorf(req, 400, "bad_request", "'tenant' is needed: whose log?");
		return;
	}
	o.tenant = scope.all ? 0 : scope.tenants[0];
	if (!manager_request_may(req, VERB_AUDIT_EXPORT, o.tenant ? o.tenant : MANAGER_PROVIDER,
				 "audit")) {
		return;
	}
	t = o.tenant ? manager_tenant_at(req->parts->inv, o.tenant) : NULL;
	o.tenant_name = t ? t->name : "";
	manager_request_detail(req, "%s", t ? t->name : "everything");
	r = manager_audit_export_new(req->parts->audit, &o, &x, &diag);
	if (r == -EBUSY) {
		req->retry_after_s = 10;
		manager_reply_error(req, 429, "too_many_requests", &diag);
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		stream(req, x);
	}
}

/* ---- the key, and taking away ---- */

static void get_key(struct manager_request *req)
{
	const struct bh_audit_key *key;
	BH_FREE char *pem = NULL;

	if (!req->parts->audit) {
		no_log(req);
		return;
	}
	key = manager_audit_key(req->parts->audit);
	pem = bh_audit_key_pem(key, false);
	manager_reply(req, 200,
		      json_pack("{s:s, s:s, s:s}", "id", bh_audit_key_id(key), "algorithm",
				"ed25519", "pem", pem));
}

static void prune(struct manager_request *req)
{
	static const char *const known[] = {"to", "head", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct bh_audit_hash head;
	struct bh_diag diag = {};
	const char *text;
	uint64_t to;
	int r;

	if (!body) {
		return;
	}
	if (!req->parts->audit) {
		no_log(req);
		return;
	}
	if (bh_json_u64(body, "to", INT64_MAX, &to, &diag) < 0 ||
	    bh_json_str(body, "head", &text, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	if (bh_hex_parse(text, head.bytes, sizeof(head.bytes)) < 0) {
		manager_reply_errorf(req, 400, "bad_request", "'head' must be 64 hex digits");
		return;
	}
	manager_request_detail(req, "up to entry %llu", (unsigned long long)to);
	r = manager_audit_prune(req->parts->audit, to, &head, &diag);
	if (r == MANAGER_AUDIT_NO_STATEMENT || r == -EBUSY) {
		manager_reply_error(req, 409, "conflict", &diag);
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_reply_nothing(req);
	}
}

const struct manager_route manager_routes_audit[] = {
	{"GET", "audit", list_audit, VERB_AUDIT_READ, OBJECT_LIST, API_AUDIT_READ, "audit.read",
	 "tenant user act object result q since until before limit"},
	{"GET", "audit:export", export_audit, VERB_AUDIT_EXPORT, OBJECT_BODY, API_AUDIT_READ,
	 "audit.export", "tenant since until"},
	{"GET", "audit/key", get_key, VERB_NONE, OBJECT_SELF, 0, NULL},
	{"POST", "audit:prune", prune, VERB_AUDIT_PRUNE, OBJECT_SYSTEM, API_AUDIT, "audit.prune"},
	{},
};
