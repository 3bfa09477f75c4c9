/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/policies, what is done with documents, /v1/revisions and /v1/rollback. */
#include "manager/api/documents.h"

#include "base/json.h"
#include "base/time.h"
#include "policy/eval.h"

#include <errno.h>

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
		    manager_page_takes(&page)) {
			json_array_append_new(page.items, summary_json(req, p));
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
			struct bh_wbuf w;

			bh_wbuf_init(&w, 0);
			bh_policy_rule_describe(p, dir, i, &w);
			json_array_append_new(
				list,
				json_pack("{s:I, s:s, s:i, s:s, s:s, s:i}", "number",
					  (json_int_t)manager_rulebook_number(p, dir, i,
									      req->parts->book),
					  "dir", bh_policy_dir_name(dir), "index", (int)i, "name",
					  bh_policy_rule_name(p, dir, i), "text", bh_wbuf_cstr(&w),
					  "line", (int)bh_policy_rule_line(p, dir, i)));
			bh_wbuf_done(&w);
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
	if (set) {
		warnings = json_array();
		bh_policy_check(set, NULL, on_warning, warnings);
		manager_reply(req, 200,
			      json_pack("{s:o, s:o}", "policies", summaries(req, set), "warnings",
					warnings));
		bh_policy_set_free(set);
	}
	json_decref(d.owner);
}

/* ---- committing ---- */

/* An apply that waits for its hosts. */
struct waiting {
	struct manager_commit_result result;
	struct manager_host **hosts;
	char (*names)[BH_NAME_MAX + 1];
	size_t count;
	uint64_t begun_ns;
};

static void waiting_free(void *arg)
{
	struct waiting *w = arg;

	manager_commit_result_done(&w->result);
	free(w->hosts);
	free(w->names);
	free(w);
}

static json_t *scope_json(struct manager_request *req, const struct waiting *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->count; i++) {
		static const char *const members[] = {"online",	   "in_sync",	 "intended",
						      "installed", "install_us", "sync_us",
						      "problem",   "state"};
		struct manager_host *h = manager_host_find(req->parts->inv, w->names[i]);
		BH_JSON json_t *all = h ? manager_api_host(h) : json_object();
		json_t *one = json_pack("{s:s, s:b}", "host", w->names[i], "in_sync", 0);

		for (size_t k = 0; k < BH_ARRAY_SIZE(members); k++) {
			if (json_object_get(all, members[k])) {
				json_object_set(one, members[k], json_object_get(all, members[k]));
			}
		}
		json_array_append_new(list, one);
	}
	return list;
}

static void answer_applied(struct manager_request *req, const struct waiting *w, bool complete)
{
	manager_reply(req, 200,
		      json_pack("{s:I, s:b, s:O, s:o, s:b, s:I}", "revision",
				(json_int_t)w->result.revision, "changed", w->result.changed,
				"changes", w->result.changes, "hosts", scope_json(req, w),
				"complete", complete, "elapsed_us",
				(json_int_t)((bh_time_mono_ns() - w->begun_ns) / 1000)));
}

static void on_in_place(bool all, void *arg)
{
	struct manager_request *req = arg;

	req->wait = NULL;
	answer_applied(req, req->state, all);
}

/* set is taken over. */
static void commit(struct manager_request *req, struct bh_policy_set *set, const char *summary,
		   uint64_t wait_ms)
{
	struct manager_commit_request request = manager_commit_of(req, summary, false);
	struct waiting *w = bh_alloc(sizeof(*w));
	struct bh_diag diag = {};
	int r;

	req->state = w;
	req->state_free = waiting_free;
	w->begun_ns = bh_time_mono_ns();
	r = manager_commit(&request, set, &w->result, &diag);
	if (r != 0) {
		manager_commit_refuse(req, r, &diag, &w->result);
		return;
	}
	manager_request_detail(req, "revision %u: %s", w->result.revision, summary);
	if (w->result.changed) {
		w->hosts = manager_distribute_in_scope(req->parts->dist, &w->count);
		w->names = bh_alloc_array(w->count + 1, sizeof(*w->names));
		for (size_t i = 0; i < w->count; i++) {
			memcpy(w->names[i], w->hosts[i]->name, sizeof(w->names[i]));
		}
	}
	if (w->count && wait_ms) {
		manager_request_later(req);
		req->wait = manager_distribute_wait(req->parts->dist, w->hosts, w->count, wait_ms,
						    on_in_place, req);
		return;
	}
	answer_applied(req, w, w->count == 0);
}

static void apply(struct manager_request *req)
{
	struct manager_documents d = {};
	struct bh_policy_set *documents = NULL;
	BH_FREE char *summary = NULL;
	uint64_t wait_ms;

	if (manager_request_wait(req, &wait_ms) < 0) {
		return;
	}
	if (manager_documents_take(req, &d)) {
		documents = manager_documents_parse(req, &d);
	}
	if (documents) {
		summary = bh_asprintf("apply %s%s", d.file, d.prune ? " (prune)" : "");
		commit(req,
		       manager_commit_merge(manager_rulebook_set(req->parts->book), documents,
					    d.prune),
		       summary, wait_ms);
		bh_policy_set_free(documents);
	}
	json_decref(d.owner);
}

static void delete_policy(struct manager_request *req)
{
	const struct bh_policy *p = the_policy(req);
	struct bh_policy_set *set;
	BH_FREE char *summary = NULL;
	uint64_t wait_ms;

	if (!p || manager_request_wait(req, &wait_ms) < 0) {
		return;
	}
	summary = bh_asprintf("delete %s/%s", bh_policy_tenant(p), bh_policy_name(p));
	set = bh_policy_set_copy(manager_rulebook_set(req->parts->book));
	bh_policy_set_drop(set, req->segments[1], req->segments[2]);
	commit(req, set, summary, wait_ms);
}

/* ---- revisions ---- */

static int add_revision(const struct manager_store_revision *row, void *arg)
{
	char time[BH_TIME_TEXT_SIZE];
	json_t *changes = json_loads(row->changes, 0, NULL);

	bh_time_format(row->time_ns, time);
	json_array_append_new(arg, json_pack("{s:I, s:s, s:s, s:s, s:o}", "revision",
					     (json_int_t)row->number, "author", row->author, "time",
					     time, "summary", row->summary, "changes",
					     changes ? changes : json_array()));
	return 0;
}

static void list_revisions(struct manager_request *req)
{
	uint64_t limit = 100, before = (uint64_t)UINT32_MAX + 1;
	struct bh_diag diag = {};
	json_t *list;

	if (manager_request_number(req, "limit", 1, 1000, &limit) < 0 ||
	    manager_request_number(req, "before", 1, UINT32_MAX, &before) < 0) {
		return;
	}
	list = json_array();
	if (manager_store_revisions(req->parts->db, (uint32_t)(before - 1), (uint32_t)limit,
				    add_revision, list, &diag) < 0) {
		json_decref(list);
		manager_reply_error(req, 500, "internal", &diag);
		return;
	}
	manager_reply(req, 200, json_pack("{s:o}", "items", list));
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

static void get_revision(struct manager_request *req)
{
	BH_JSON json_t *list = json_array();
	struct bh_policy_set *set;
	struct bh_diag diag = {};
	struct bh_wbuf w;
	uint64_t n;
	json_t *obj;

	if (bh_parse_u64(req->segments[1], 1, UINT32_MAX, &n) < 0) {
		manager_reply_errorf(req, 404, "not_found", "no revision '%.20s'",
				     req->segments[1]);
		return;
	}
	set = set_at(req, n);
	if (!set) {
		return;
	}
	if (manager_store_revisions(req->parts->db, (uint32_t)n, 1, add_revision, list, &diag) <
		    0 ||
	    json_array_size(list) != 1) {
		manager_reply_errorf(req, 404, "not_found", "no revision %llu",
				     (unsigned long long)n);
	} else {
		bh_wbuf_init(&w, 0);
		bh_policy_set_print(set, &w);
		obj = json_incref(json_array_get(list, 0));
		json_object_set_new(obj, "policies", summaries(req, set));
		json_object_set_new(obj, "text", json_string(bh_wbuf_cstr(&w)));
		bh_wbuf_done(&w);
		manager_reply(req, 200, obj);
	}
	bh_policy_set_free(set);
}

static void rollback(struct manager_request *req)
{
	static const char *const known[] = {"revision", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	BH_FREE char *summary = NULL;
	struct bh_policy_set *set;
	struct bh_diag diag = {};
	uint64_t n, wait_ms;

	if (!body || manager_request_wait(req, &wait_ms) < 0) {
		return;
	}
	if (bh_json_u64(body, "revision", UINT32_MAX, &n, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	set = set_at(req, n);
	if (set) {
		summary = bh_asprintf("rollback to revision %llu", (unsigned long long)n);
		commit(req, set, summary, wait_ms);
	}
}

/* ---- explain ---- */

static int read_end(struct manager_request *req, const char *s, struct bh_policy_end *end,
		    char *name, size_t size)
{
	struct manager_vm *vm = NULL;
	struct bh_diag diag = {};
	int r;

	memset(end, 0, sizeof(*end));
	snprintf(name, size, "%s", s);
	if (strcmp(s, "world") == 0 || strcmp(s, "host") == 0) {
		end->identity = strcmp(s, "world") == 0 ? 2 : 1;
		return 0;
	}
	if (bh_addr_parse(s, end->addr) == 0) {
		end->has_addr = true;
		vm = manager_vm_by_address(req->parts->inv, 0, end->addr);
		end->identity = vm ? vm->identity->number : 2;
		return 0;
	}
	r = manager_vm_find(req->parts->inv, s, &vm, &diag);
	if (r != 0) {
		manager_reply_error(req, r > 0 ? 409 : 404, r > 0 ? "conflict" : "not_found",
				    &diag);
		return -ENOENT;
	}
	end->identity = vm->identity->number;
	for (size_t i = 0; i < vm->report.nic_count && !end->has_addr; i++) {
		struct manager_addrs all = {};

		manager_nic_addresses(&vm->nics[i], true, &all);
		if (all.count) {
			end->has_addr = true;
			memcpy(end->addr, all.items[0].bytes, 16);
		}
		bh_vec_done(&all);
	}
	return 0;
}

/* What the policy room says, in the shape of the API: rule as text, with its number. */
static json_t *judged_json(struct manager_request *req, const json_t *side)
{
	const json_t *rule = json_object_get(side, "rule");
	const char *tenant = bh_json_str_or(rule, "tenant", "");
	const char *policy = bh_json_str_or(rule, "policy", "");
	const struct bh_policy *p =
		bh_policy_set_get(manager_rulebook_set(req->parts->book), tenant, policy);
	enum bh_policy_dir dir = strcmp(bh_json_str_or(rule, "direction", ""), "ingress") == 0
					 ? BH_POLICY_INGRESS
					 : BH_POLICY_EGRESS;
	json_t *out = json_object();
	uint32_t number = (uint32_t)bh_json_u64_or(rule, "builtin", 0);

	if (p) {
		BH_FREE char *name = bh_asprintf("%s/%s", tenant, policy);

		number = manager_rulebook_number(p, dir, bh_json_u64_or(rule, "index", 0),
						 req->parts->book);
		json_object_set_new(out, "policy", json_string(name));
		json_object_set_new(out, "file", json_string(bh_json_str_or(rule, "file", "")));
		json_object_set_new(out, "line",
				    json_integer((json_int_t)bh_json_u64_or(rule, "line", 0)));
	}
	json_object_set_new(out, "action", json_string(bh_json_str_or(side, "action", "")));
	json_object_set_new(out, "rule", json_integer(number));
	json_object_set_new(out, "text", json_string(bh_json_str_or(rule, "text", "")));
	json_object_set_new(out, "says", json_string(bh_json_str_or(rule, "says", "")));
	if (json_object_get(side, "considered")) {
		json_object_set(out, "considered", json_object_get(side, "considered"));
	}
	return out;
}

static void explain(struct manager_request *req)
{
	const char *from = manager_request_query(req, "from");
	const char *to = manager_request_query(req, "to");
	const char *port = manager_request_query(req, "port");
	struct bh_policy_service service = {};
	struct bh_policy_compiler *compiler;
	struct bh_policy_end src, dst;
	BH_JSON json_t *answer = NULL;
	char src_name[256], dst_name[256];
	struct bh_diag diag = {};
	json_t *egress, *ingress;
	int r;

	if (!from || !to || (port && bh_policy_service_parse(port, &service, &diag) < 0)) {
		manager_reply_errorf(req, 400, "bad_request", "%s",
				     from && to ? diag.text : "'from' and 'to' are needed");
		return;
	}
	if (read_end(req, from, &src, src_name, sizeof(src_name)) < 0 ||
	    read_end(req, to, &dst, dst_name, sizeof(dst_name)) < 0) {
		return;
	}
	compiler = manager_distribute_compiler(req->parts->dist,
					       manager_rulebook_set(req->parts->book));
	r = bh_policy_explain(compiler, &src, &dst, &service, &answer, &diag);
	bh_policy_compiler_free(compiler);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	egress = json_object_get(answer, "egress");
	ingress = json_object_get(answer, "ingress");
	manager_reply(req, 200,
		      json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "verdict",
				bh_json_str_or(answer, "action", ""), "from", src_name, "to",
				dst_name, "port", bh_json_str_or(answer, "service", ""), "egress",
				json_is_object(egress) ? judged_json(req, egress) : json_null(),
				"ingress",
				json_is_object(ingress) ? judged_json(req, ingress) : json_null()));
}

const struct manager_route manager_routes_policies[] = {
	{"GET", "policies", list_policies, 0, NULL, "tenant " API_PAGE_QUERY},
	{"GET", "policies/*/*", get_policy, 0, NULL},
	{"DELETE", "policies/*/*", delete_policy, API_AUDIT, "policy.delete", "wait"},
	{"POST", "policies:check", check, 0, NULL, "file tenant prune"},
	{"POST", "policies:diff", manager_policies_diff, 0, NULL, "file tenant prune"},
	{"POST", "policies:apply", apply, API_AUDIT, "policy.apply", "file tenant prune wait"},
	{"GET", "policies:explain", explain, 0, NULL, "from to port"},
	{"GET", "revisions", list_revisions, 0, NULL, "limit before"},
	{"GET", "revisions/*", get_revision, 0, NULL},
	{"POST", "rollback", rollback, API_AUDIT, "policy.rollback", "wait"},
	{},
};
