/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/policies, what is done with documents, /v1/revisions and /v1/rollback. */
#include "manager/api/documents.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/change/hits.h"
#include "policy/eval.h"

#include <errno.h>

#define REVISIONS_LOOKED_AT 20000

/* ---- showing ---- */

static json_t *summary_json(const struct manager_request *req, const struct bh_policy *p)
{
	uint32_t revision = manager_rulebook_policy_revision(req->parts->book, bh_policy_tenant(p),
							     bh_policy_name(p));

	return json_pack("{s:s, s:s, s:s, s:i, s:I, s:i, s:s, s:s}", "tenant", bh_policy_tenant(p),
			 "name", bh_policy_name(p), "tier", bh_policy_tier_name(bh_policy_tier(p)),
			 "order", (int)bh_policy_order(p), "rules",
			 (json_int_t)(bh_policy_rule_count(p, BH_POLICY_EGRESS) +
				      bh_policy_rule_count(p, BH_POLICY_INGRESS)),
			 "revision", (int)revision, "file", bh_policy_file(p), "description",
			 bh_policy_description(p));
}

static json_t *summaries(const struct manager_request *req, const struct bh_policy_set *set)
{
	json_t *list = json_array();

	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		json_array_append_new(list, summary_json(req, bh_policy_set_at(set, i)));
	}
	return list;
}

static void list_policies(struct manager_request *req)
{
	const struct manager_rulebook *book = req->parts->book;
	const struct bh_policy_set *set = manager_rulebook_set(book);
	const char *tenant = manager_request_query(req, "tenant");
	struct manager_page page;

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		const struct bh_policy *p = bh_policy_set_at(set, i);

		if ((!tenant || strcmp(bh_policy_tenant(p), tenant) == 0) &&
		    manager_seen_tenant(req, bh_policy_tenant(p)) && manager_page_takes(&page)) {
			manager_page_put(&page, summary_json(req, p));
		}
	}
	manager_page_reply(
		req, &page,
		json_pack("{s:I}", "revision", (json_int_t)manager_rulebook_revision(book)));
}

static json_t *rules_json(struct manager_request *req, const struct bh_policy *p)
{
	json_t *list = json_array();

	for (int d = 1; d >= 0; d--) {
		enum bh_policy_dir dir = (enum bh_policy_dir)d;

		for (size_t i = 0; i < bh_policy_rule_count(p, dir); i++) {
			uint32_t number = manager_rulebook_number(p, dir, i, req->parts->book);
			struct manager_hit hit = manager_hits_of(req->parts->change->hits, number);
			struct bh_wbuf w;

			bh_wbuf_init(&w, 0);
			bh_policy_rule_describe(p, dir, i, &w);
			json_array_append_new(list,
					      json_pack("{s:I, s:s, s:i, s:s, s:s, s:i}", "number",
							(json_int_t)number, "dir",
							bh_policy_dir_name(dir), "index", (int)i,
							"name", bh_policy_rule_name(p, dir, i),
							"text", bh_wbuf_cstr(&w), "line",
							(int)bh_policy_rule_line(p, dir, i)));
			bh_wbuf_done(&w);
			manager_hit_put(json_array_get(list, json_array_size(list) - 1), &hit);
		}
	}
	return list;
}

static struct bh_policy *the_policy(struct manager_request *req)
{
	struct bh_policy *p = bh_policy_set_get(manager_rulebook_set(req->parts->book),
						req->segments[1], req->segments[2]);

	if (!p) {
		manager_reply_errorf(req, 404, "not_found", "no policy %.64s/%.64s",
				     req->segments[1], req->segments[2]);
	}
	return p;
}

static void get_policy(struct manager_request *req)
{
	const struct bh_policy *p = the_policy(req);
	json_t *obj;

	if (!p) {
		return;
	}
	if (manager_request_accepts(req, "text/yaml")) {
		char *text = bh_strdup(bh_policy_canonical(p));

		manager_reply_text(req, 200, "text/yaml", text, strlen(text));
		return;
	}
	obj = summary_json(req, p);
	json_object_set_new(obj, "text", json_string(bh_policy_canonical(p)));
	json_object_set_new(obj, "rule_list", rules_json(req, p));
	manager_reply(req, 200, obj);
}

static void on_warning(const struct bh_diag *warning, void *arg)
{
	json_array_append_new(arg, json_pack("{s:s, s:s, s:i, s:i}", "message", warning->text,
					     "file", warning->file, "line", (int)warning->line,
					     "column", (int)warning->column));
}

static void check(struct manager_request *req)
{
	struct manager_documents d = {};
	struct bh_policy_set *set;
	json_t *warnings;

	if (!manager_documents_take(req, &d)) {
		json_decref(d.owner);
		return;
	}
	set = manager_documents_parse(req, &d);
	if (set && manager_documents_may(req, VERB_POLICY_READ, set)) {
		warnings = json_array();
		bh_policy_check(set, NULL, on_warning, warnings);
		manager_reply(req, 200,
			      json_pack("{s:o, s:o}", "policies", summaries(req, set), "warnings",
					warnings));
	}
	bh_policy_set_free(set);
	json_decref(d.owner);
}

/* ---- committing ---- */

static void apply(struct manager_request *req)
{
	struct manager_documents d = {};
	struct bh_policy_set *documents = NULL;
	struct manager_commit_how how = {};
	BH_FREE char *summary = NULL;

	if (manager_commit_how_take(req, &how) < 0) {
		return;
	}
	if (manager_documents_take(req, &d)) {
		documents = manager_documents_parse(req, &d);
	}
	if (documents && manager_documents_may(req, VERB_POLICY_COMMIT, documents)) {
		how.summary = summary =
			bh_asprintf("apply %s%s", d.file, d.prune ? " (prune)" : "");
		manager_commit_answer(req,
				      manager_commit_merge(manager_rulebook_set(req->parts->book),
							   documents, d.prune),
				      &how);
		bh_policy_set_free(documents);
	}
	json_decref(d.owner);
}

static void delete_policy(struct manager_request *req)
{
	const struct bh_policy *p = the_policy(req);
	struct manager_commit_how how = {};
	struct bh_policy_set *set;
	BH_FREE char *summary = NULL;

	if (!p || manager_commit_how_take(req, &how) < 0) {
		return;
	}
	how.summary = summary = bh_asprintf("delete %s/%s", bh_policy_tenant(p), bh_policy_name(p));
	set = bh_policy_set_copy(manager_rulebook_set(req->parts->book));
	bh_policy_set_drop(set, req->segments[1], req->segments[2]);
	manager_commit_answer(req, set, &how);
}

/* ---- revisions ---- */

struct revisions {
	struct manager_request *req;
	json_t *items;
	uint64_t limit;
};

/* A revision is shown to those who see a policy that it changed; its words name any of them. */
static int add_revision(const struct manager_store_revision *row, void *arg)
{
	struct revisions *r = arg;
	BH_JSON json_t *changes = json_loads(row->changes, 0, NULL);
	char time[BH_TIME_TEXT_SIZE];
	json_t *seen;
	bool all;

	seen = manager_changes_seen(r->req, changes, &all);
	if (json_array_size(seen) == 0 && !all) {
		json_decref(seen);
		return 0;
	}
	bh_time_format(row->time_ns, time);
	json_array_append_new(r->items,
			      json_pack("{s:I, s:s, s:s, s:s, s:o}", "revision",
					(json_int_t)row->number, "author", row->author, "time",
					time, "summary", all ? row->summary : "", "changes", seen));
	return json_array_size(r->items) >= r->limit;
}

static void list_revisions(struct manager_request *req)
{
	struct revisions r = {.req = req, .limit = 100};
	uint64_t before = (uint64_t)UINT32_MAX + 1;
	struct bh_diag diag = {};

	if (manager_request_number(req, "limit", 1, 1000, &r.limit) < 0 ||
	    manager_request_number(req, "before", 1, UINT32_MAX, &before) < 0) {
		return;
	}
	r.items = json_array();
	if (manager_store_revisions(req->parts->db, (uint32_t)(before - 1), REVISIONS_LOOKED_AT,
				    add_revision, &r, &diag) < 0) {
		json_decref(r.items);
		manager_reply_error(req, 500, "internal", &diag);
		return;
	}
	req->asked |= json_array_size(r.items) == 0; /* nobody was told anything */
	manager_reply(req, 200, json_pack("{s:o}", "items", r.items));
}

/* The policies of a revision that exists (0 does); NULL when it was answered with an error. */
static struct bh_policy_set *set_at(struct manager_request *req, uint64_t n)
{
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};

	if (n > manager_rulebook_revision(req->parts->book)) {
		manager_reply_errorf(req, 404, "not_found", "no revision %llu",
				     (unsigned long long)n);
		return NULL;
	}
	if (manager_rulebook_at(req->parts->book, (uint32_t)n, &set, &diag) < 0) {
		manager_reply_error(req, 500, "internal", &diag);
		return NULL;
	}
	return set;
}

/* The revision with what the caller sees of its policies, and what it changed line by line. */
static json_t *revision_json(struct manager_request *req, const json_t *row, uint64_t n,
			     const struct bh_policy_set *set)
{
	struct bh_policy_set *seen = manager_set_seen(req, set), *before;
	json_t *obj = json_deep_copy(row);
	struct bh_diag diag = {};
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_policy_set_print(seen, &w);
	json_object_set_new(obj, "policies", summaries(req, seen));
	json_object_set_new(obj, "text", json_string(bh_wbuf_cstr(&w)));
	bh_wbuf_done(&w);
	if (manager_rulebook_at(req->parts->book, (uint32_t)n - 1, &before, &diag) == 0) {
		manager_changes_add_texts(json_object_get(obj, "changes"), before, set);
		bh_policy_set_free(before);
	}
	bh_policy_set_free(seen);
	return obj;
}

static void get_revision(struct manager_request *req)
{
	struct revisions r = {.req = req, .limit = 1};
	struct bh_policy_set *set;
	struct bh_diag diag = {};
	uint64_t n;

	if (bh_parse_u64(req->segments[1], 1, UINT32_MAX, &n) < 0) {
		manager_reply_errorf(req, 404, "not_found", "no revision '%.20s'",
				     req->segments[1]);
		return;
	}
	set = set_at(req, n);
	if (!set) {
		return;
	}
	r.items = json_array();
	if (manager_store_revisions(req->parts->db, (uint32_t)n, 1, add_revision, &r, &diag) < 0 ||
	    json_array_size(r.items) != 1) {
		manager_reply_errorf(req, 404, "not_found", "no revision %llu",
				     (unsigned long long)n);
	} else {
		manager_reply(req, 200, revision_json(req, json_array_get(r.items, 0), n, set));
	}
	json_decref(r.items);
	bh_policy_set_free(set);
}

/* Whoever may not roll everything back rolls back his tenants' part; old is taken over. */
static struct bh_policy_set *own_part(struct manager_request *req, struct bh_policy_set *old)
{
	const struct bh_policy_set *now = manager_rulebook_set(req->parts->book);
	struct bh_policy_set *set;

	if (manager_request_holds_all(req, VERB_POLICY_ROLLBACK)) {
		return old;
	}
	set = manager_set_seen(req, old);
	for (size_t i = 0; i < bh_policy_set_count(now); i++) {
		struct bh_policy *p = bh_policy_set_at(now, i);

		if (!manager_seen_tenant(req, bh_policy_tenant(p))) {
			bh_policy_set_put(set, p);
		}
	}
	bh_policy_set_free(old);
	return set;
}

static void rollback(struct manager_request *req)
{
	static const char *const known[] = {"revision", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_commit_how how = {};
	BH_JSON json_t *changes = NULL;
	BH_FREE char *summary = NULL;
	struct bh_policy_set *set;
	struct bh_diag diag = {};
	uint64_t n;

	if (!body || manager_commit_how_take(req, &how) < 0) {
		return;
	}
	if (bh_json_u64(body, "revision", UINT32_MAX, &n, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	set = set_at(req, n);
	if (!set) {
		return;
	}
	set = own_part(req, set);
	changes = manager_rulebook_changes(req->parts->book, set);
	if (!manager_changes_may(req, VERB_POLICY_ROLLBACK, changes)) {
		bh_policy_set_free(set);
		return;
	}
	how.summary = summary = bh_asprintf("rollback to revision %llu", (unsigned long long)n);
	manager_commit_answer(req, set, &how);
}

const struct manager_route manager_routes_policies[] = {
	{"GET", "policies", list_policies, VERB_POLICY_READ, OBJECT_LIST, 0, NULL,
	 "tenant " API_PAGE_QUERY},
	{"GET", "policies/*/*", get_policy, VERB_POLICY_READ, OBJECT_POLICY, 0, NULL},
	{"DELETE", "policies/*/*", delete_policy, VERB_POLICY_COMMIT, OBJECT_POLICY, API_AUDIT,
	 "policy.delete", "wait confirm"},
	{"POST", "policies:check", check, VERB_POLICY_READ, OBJECT_BODY, 0, NULL,
	 "file tenant prune"},
	{"POST", "policies:diff", manager_policies_diff, VERB_POLICY_READ, OBJECT_BODY, 0, NULL,
	 "file tenant prune days"},
	{"POST", "policies:apply", apply, VERB_POLICY_COMMIT, OBJECT_BODY, API_AUDIT,
	 "policy.apply", "file tenant prune wait confirm"},
	{"GET", "policies:explain", manager_policies_explain, VERB_POLICY_READ, OBJECT_BODY, 0,
	 NULL, "from to port"},
	{"GET", "revisions", list_revisions, VERB_POLICY_READ, OBJECT_LIST, 0, NULL,
	 "limit before"},
	{"GET", "revisions/*", get_revision, VERB_POLICY_READ, OBJECT_BODY, 0, NULL},
	{"POST", "rollback", rollback, VERB_POLICY_ROLLBACK, OBJECT_BODY, API_AUDIT,
	 "policy.rollback", "wait confirm"},
	{},
};
