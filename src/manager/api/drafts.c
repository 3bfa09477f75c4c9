/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/drafts: written, checked, looked at, committed. */
#include "manager/api/documents.h"

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "manager/change/confirm.h"
#include "manager/change/drafts.h"
#include "policy/eval.h"

#include <errno.h>

#define WHATIF_DAYS 7

/* ---- showing ---- */

static json_t *summary_json(const struct manager_store_draft *d)
{
	json_t *obj =
		json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:s}", "id",
			  (json_int_t)d->id, "tenant", d->tenant, "title", d->title, "note",
			  d->note, "author", d->author, "version", (json_int_t)d->version, "base",
			  (json_int_t)d->base, "created", bh_json_time(d->created_ns), "updated",
			  bh_json_time(d->updated_ns), "updated_by", d->updated_by);

	if (d->committed) {
		json_object_set_new(obj, "committed_in", json_integer(d->committed));
	}
	return obj;
}

struct listing {
	struct manager_request *req;
	struct manager_page page;
};

static int add_draft(const struct manager_store_draft *row, void *arg)
{
	struct listing *l = arg;

	if (manager_seen_tenant(l->req, row->tenant) && manager_page_takes(&l->page)) {
		manager_page_put(&l->page, summary_json(row));
	}
	return 0;
}

static void list_drafts(struct manager_request *req)
{
	struct listing l = {.req = req};
	struct bh_diag diag = {};

	if (manager_page_begin(req, &l.page) < 0) {
		return;
	}
	if (manager_store_drafts(req->parts->db, manager_request_query(req, "tenant"), add_draft,
				 &l, &diag) < 0) {
		manager_page_drop(&l.page);
		manager_reply_error(req, 500, "internal", &diag);
		return;
	}
	manager_page_reply(req, &l.page, NULL);
}

static json_t *draft_json(const struct manager_draft *d)
{
	struct manager_store_draft row = {.id = d->id,
					  .tenant = d->tenant,
					  .title = d->title,
					  .note = d->note,
					  .author = d->author,
					  .version = d->version,
					  .base = d->base,
					  .created_ns = d->created_ns,
					  .updated_ns = d->updated_ns,
					  .updated_by = d->updated_by,
					  .committed = d->committed};
	json_t *obj = summary_json(&row);

	json_object_set_new(obj, "documents", json_string(d->documents));
	json_object_set(obj, "removes", d->removes);
	return obj;
}

static bool reads(struct manager_request *req, const char *tenant)
{
	return manager_request_holds(req, VERB_POLICY_READ, manager_request_tenant(req, tenant)) ||
	       manager_request_holds_all(req, VERB_POLICY_READ);
}

/* The draft of segment 1, which the caller may do this to; false when it was answered with an
 * error. */
static bool load(struct manager_request *req, struct manager_draft *ret)
{
	struct bh_diag diag = {};
	uint64_t id;
	int r;

	if (bh_parse_u64(req->segments[1], 1, INT64_MAX, &id) < 0) {
		manager_reply_errorf(req, 404, "not_found", "no draft '%.20s'", req->segments[1]);
		return false;
	}
	r = manager_draft_load(req->parts->db, (int64_t)id, ret, &diag);
	if (r == 0 && !reads(req, ret->tenant)) {
		manager_draft_done(ret);
		r = bh_diag_set(&diag, -ENOENT, "no draft %llu", (unsigned long long)id);
	}
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return false;
	}
	if (req->route->verb != VERB_POLICY_READ &&
	    !manager_request_may(req, req->route->verb, manager_request_tenant(req, ret->tenant),
				 ret->tenant)) {
		manager_draft_done(ret);
		return false;
	}
	return true;
}

static void get_draft(struct manager_request *req)
{
	struct manager_draft d;

	if (load(req, &d)) {
		manager_reply(req, 200, draft_json(&d));
		manager_draft_done(&d);
	}
}

/* ---- writing ---- */

/* For the record: as it is in the store. NULL when it is not there. Owned. */
static json_t *draft_state(struct manager_request *req, int64_t id)
{
	struct manager_draft d;
	json_t *state;

	if (manager_draft_load(req->parts->db, id, &d, NULL) < 0) {
		return NULL;
	}
	state = json_pack("{s:s, s:s, s:I, s:I, s:O, s:s}", "title", d.title, "note", d.note,
			  "version", (json_int_t)d.version, "base", (json_int_t)d.base, "removes",
			  d.removes, "documents", d.documents);
	manager_draft_done(&d);
	return state;
}

/* before: owned by the callee; what it is now is looked up. */
static void draft_changed(struct manager_request *req, const char *tenant, int64_t id,
			  json_t *before)
{
	BH_FREE char *object = bh_asprintf("draft/%lld", (long long)id);

	manager_request_changed(req, manager_request_tenant(req, tenant), object, before,
				draft_state(req, id));
}

static int take_text(const json_t *body, const char *key, size_t max, char **into,
		     struct bh_diag *diag)
{
	const json_t *value = json_object_get(body, key);
	const char *text = json_string_value(value);

	if (!value) {
		return 0;
	}
	if (!text || strlen(text) > max || strlen(text) != json_string_length(value)) {
		return bh_diag_set(diag, -EINVAL, "'%s' must be a text of at most %zu bytes", key,
				   max);
	}
	free(*into);
	*into = bh_strdup(text);
	return 0;
}

static int take_removes(const json_t *body, struct manager_draft *d, struct bh_diag *diag)
{
	json_t *list = json_object_get(body, "removes");
	json_t *name;
	size_t i;

	if (!list) {
		return 0;
	}
	if (!json_is_array(list) || json_array_size(list) > MANAGER_DRAFT_REMOVES_MAX) {
		return bh_diag_set(diag, -EINVAL, "'removes' must be a list of at most %d names",
				   MANAGER_DRAFT_REMOVES_MAX);
	}
	json_array_foreach (list, i, name) {
		if (!json_is_string(name) || !bh_name_valid(json_string_value(name))) {
			return bh_diag_set(diag, -EINVAL,
					   "'removes' must hold names of policies of the tenant");
		}
	}
	json_decref(d->removes);
	d->removes = json_deep_copy(list);
	return 0;
}

/* What the body says, over what is there; false when it was answered with an error. */
static bool take_body(struct manager_request *req, const json_t *body, struct manager_draft *d)
{
	struct bh_diag diag = {};
	int r = take_text(body, "title", MANAGER_DRAFT_TEXT_MAX, &d->title, &diag);

	r = r ? r : take_text(body, "note", MANAGER_DRAFT_TEXT_MAX, &d->note, &diag);
	r = r ? r : take_text(body, "documents", MANAGER_DRAFT_SIZE_MAX, &d->documents, &diag);
	r = r ? r : take_removes(body, d, &diag);
	if (r < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return false;
	}
	free(d->updated_by);
	d->updated_by = bh_strdup(req->who);
	d->updated_ns = bh_time_wall_ns();
	return true;
}

/* The tenant of the body, which must exist: a draft is no way to make one. */
static bool take_tenant(struct manager_request *req, const json_t *body, struct manager_draft *d)
{
	const char *name = bh_json_str_or(body, "tenant", req->parts->default_tenant);

	const struct manager_tenant *tenant = manager_tenant_find(req->parts->inv, name);

	req->asked = true;
	if (!tenant || !reads(req, name)) {
		manager_reply_errorf(req, 404, "not_found", "no tenant %.64s", name);
		return false;
	}
	if (!manager_request_may(req, VERB_POLICY_WRITE, tenant->number, name)) {
		return false;
	}
	if (manager_store_count_drafts(req->parts->db, name) >= MANAGER_DRAFTS_MAX) {
		manager_reply_errorf(req, 409, "quota",
				     "tenant %.64s has %d open drafts already; delete some", name,
				     MANAGER_DRAFTS_MAX);
		return false;
	}
	d->tenant = bh_strdup(name);
	return true;
}

static void add(struct manager_request *req, struct manager_draft *d)
{
	BH_FREE char *removes = json_dumps(d->removes, JSON_COMPACT);
	struct manager_store_draft row = {.tenant = d->tenant,
					  .title = d->title,
					  .note = d->note,
					  .author = req->who,
					  .base = manager_rulebook_revision(req->parts->book),
					  .created_ns = d->updated_ns,
					  .documents = d->documents,
					  .removes = removes};
	struct manager_draft made;
	struct bh_diag diag = {};
	int64_t id;
	int r = manager_store_add_draft(req->parts->db, &row, &id, &diag);

	if (r == 0) {
		r = manager_draft_load(req->parts->db, id, &made, &diag);
	}
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	draft_changed(req, d->tenant, id, NULL);
	manager_request_detail(req, "draft %lld of %s", (long long)id, d->tenant);
	manager_reply(req, 201, draft_json(&made));
	manager_draft_done(&made);
}

static void create(struct manager_request *req)
{
	static const char *const known[] = {"tenant",	 "title",   "note",
					    "documents", "removes", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_draft d = {};

	if (!body) {
		return;
	}
	d.title = bh_strdup("");
	d.note = bh_strdup("");
	d.documents = bh_strdup("");
	d.removes = json_array();
	if (take_tenant(req, body, &d) && take_body(req, body, &d)) {
		add(req, &d);
	}
	manager_draft_done(&d);
}

/* Answers the draft as it is now. */
static void save(struct manager_request *req, const struct manager_draft *d)
{
	BH_JSON json_t *before = draft_state(req, d->id);
	struct manager_draft saved;
	struct bh_diag diag = {};
	int r = manager_draft_save(req->parts->db, d, &diag);

	if (r == 0) {
		r = manager_draft_load(req->parts->db, d->id, &saved, &diag);
	}
	if (r == -ESTALE) {
		manager_reply_error(req, 409, "conflict", &diag);
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		draft_changed(req, d->tenant, d->id, json_incref(before));
		manager_request_detail(req, "draft %lld of %s", (long long)d->id, d->tenant);
		manager_reply(req, 200, draft_json(&saved));
		manager_draft_done(&saved);
	}
}

/* A draft that became a revision is history. */
static bool is_open(struct manager_request *req, const struct manager_draft *d)
{
	if (d->committed) {
		manager_reply_errorf(req, 409, "conflict", "draft %lld was committed: revision %u",
				     (long long)d->id, d->committed);
	}
	return !d->committed;
}

static void replace(struct manager_request *req)
{
	static const char *const known[] = {"version",	 "title",   "note",
					    "documents", "removes", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_draft d;
	struct bh_diag diag = {};
	uint64_t version;

	if (!body || !load(req, &d)) {
		return;
	}
	if (bh_json_u64(body, "version", INT64_MAX, &version, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
	} else if (is_open(req, &d) && take_body(req, body, &d)) {
		d.version = version;
		save(req, &d);
	}
	manager_draft_done(&d);
}

static void rebase(struct manager_request *req)
{
	struct manager_draft d;

	if (!load(req, &d)) {
		return;
	}
	if (is_open(req, &d)) {
		d.base = manager_rulebook_revision(req->parts->book);
		d.updated_ns = bh_time_wall_ns();
		free(d.updated_by);
		d.updated_by = bh_strdup(req->who);
		save(req, &d);
	}
	manager_draft_done(&d);
}

static void remove_draft(struct manager_request *req)
{
	struct manager_draft d;
	BH_JSON json_t *before = NULL;
	struct bh_diag diag = {};
	int r;

	if (!load(req, &d)) {
		return;
	}
	before = draft_state(req, d.id);
	r = manager_store_drop_draft(req->parts->db, d.id, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		draft_changed(req, d.tenant, d.id, json_incref(before));
		manager_request_detail(req, "draft %lld of %s", (long long)d.id, d.tenant);
		manager_reply_nothing(req);
	}
	manager_draft_done(&d);
}

/* ---- what it would do ---- */

/* A draft whose documents can be read. */
struct read {
	struct manager_draft draft;
	struct bh_policy_set *documents;
	json_t *conflicts;
};

static void read_done(struct read *r)
{
	manager_draft_done(&r->draft);
	bh_policy_set_free(r->documents);
	json_decref(r->conflicts);
}

/* False when it was answered with an error; read_done() in any case. */
static bool read_draft(struct manager_request *req, struct read *ret)
{
	struct bh_diag diag = {};
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!load(req, &ret->draft)) {
		return false;
	}
	r = manager_draft_parse(&ret->draft, &ret->documents, &diag);
	if (r < 0) {
		manager_reply_error(req, r == -EMSGSIZE ? 413 : 422,
				    r == -EMSGSIZE ? "too_large" : "bad_document", &diag);
		return false;
	}
	ret->conflicts = manager_draft_conflicts(req->parts->db, &ret->draft, ret->documents);
	return true;
}

static void on_warning(const struct bh_diag *warning, void *arg)
{
	json_array_append_new(arg, json_pack("{s:s, s:s, s:i, s:i}", "message", warning->text,
					     "file", warning->file, "line", (int)warning->line,
					     "column", (int)warning->column));
}

static void check(struct manager_request *req)
{
	struct read d;
	json_t *warnings, *changes;
	struct bh_policy_set *set;

	if (read_draft(req, &d)) {
		warnings = json_array();
		set = manager_draft_merge(&d.draft, d.documents,
					  manager_rulebook_set(req->parts->book));
		changes = manager_rulebook_changes(req->parts->book, set);
		manager_changes_add_texts(changes, manager_rulebook_set(req->parts->book), set);
		bh_policy_check(d.documents, manager_distribute_universe(req->parts->dist),
				on_warning, warnings);
		manager_reply(req, 200,
			      json_pack("{s:o, s:o, s:O}", "changes", changes, "warnings", warnings,
					"conflicts", d.conflicts));
		bh_policy_set_free(set);
	}
	read_done(&d);
}

static void what_if(struct manager_request *req)
{
	struct manager_preview_how how = {.days = WHATIF_DAYS};
	struct read d;

	if (manager_preview_how_take(req, &how) < 0) {
		return;
	}
	if (read_draft(req, &d)) {
		manager_preview_answer(req,
				       manager_draft_merge(&d.draft, d.documents,
							   manager_rulebook_set(req->parts->book)),
				       &how);
	}
	read_done(&d);
}

static void refuse_conflicts(struct manager_request *req, const struct read *d)
{
	json_t *error = json_pack(
		"{s:s, s:s, s:O}", "code", "conflict", "message",
		"policies of this draft were changed after it was begun; look at them, then "
		"rebase the draft",
		"conflicts", d->conflicts);

	manager_reply(req, 409, json_pack("{s:o}", "error", error));
}

static void mark_committed(struct manager_request *req, struct manager_draft *d)
{
	struct bh_diag diag = {};
	int r;

	d->committed = manager_rulebook_revision(req->parts->book);
	d->updated_ns = bh_time_wall_ns();
	r = manager_draft_save(req->parts->db, d, &diag);
	if (r == 0) {
		r = manager_store_trim_drafts(req->parts->db, d->tenant, MANAGER_DRAFTS_KEPT,
					      &diag);
	}
	if (r < 0) {
		/* The revision is made; the draft stays open and would change nothing. */
		bh_log_limited(BH_LOG_ERROR, "api", 3, "draft %lld: %s", (long long)d->id,
			       diag.text);
	}
}

static void commit(struct manager_request *req)
{
	struct manager_commit_how how = {};
	BH_FREE char *summary = NULL;
	struct read d;

	if (manager_commit_how_take(req, &how) < 0) {
		return;
	}
	if (!read_draft(req, &d) || !is_open(req, &d.draft)) {
		read_done(&d);
		return;
	}
	if (json_array_size(d.conflicts)) {
		refuse_conflicts(req, &d);
	} else {
		how.summary = summary =
			bh_asprintf("draft %lld: %s", (long long)d.draft.id, d.draft.title);
		if (manager_commit_answer(
			    req,
			    manager_draft_merge(&d.draft, d.documents,
						manager_rulebook_set(req->parts->book)),
			    &how)) {
			mark_committed(req, &d.draft);
		}
	}
	read_done(&d);
}

const struct manager_route manager_routes_drafts[] = {
	{"GET", "drafts", list_drafts, VERB_POLICY_READ, OBJECT_LIST, 0, NULL,
	 "tenant " API_PAGE_QUERY},
	{"POST", "drafts", create, VERB_POLICY_WRITE, OBJECT_BODY, API_AUDIT, "draft.create"},
	{"GET", "drafts/*", get_draft, VERB_POLICY_READ, OBJECT_BODY, 0, NULL},
	{"PUT", "drafts/*", replace, VERB_POLICY_WRITE, OBJECT_BODY, API_AUDIT, "draft.write"},
	{"DELETE", "drafts/*", remove_draft, VERB_POLICY_WRITE, OBJECT_BODY, API_AUDIT,
	 "draft.delete"},
	{"POST", "drafts/*:check", check, VERB_POLICY_READ, OBJECT_BODY, 0, NULL},
	{"POST", "drafts/*:rebase", rebase, VERB_POLICY_WRITE, OBJECT_BODY, API_AUDIT,
	 "draft.rebase"},
	{"POST", "drafts/*:what-if", what_if, VERB_POLICY_READ, OBJECT_BODY, 0, NULL, "days"},
	{"POST", "drafts/*:commit", commit, VERB_POLICY_COMMIT, OBJECT_BODY, API_AUDIT,
	 "policy.commit", "wait confirm"},
	{},
};
