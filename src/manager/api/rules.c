/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/rules: every rule in force with how often it decided. */
#include "manager/api/documents.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/change/hits.h"

#include <errno.h>

struct filter {
	const char *tenant, *policy;
	bool never;
	uint64_t idle_s; /* 0: any */
};

void manager_hit_put(json_t *obj, const struct manager_hit *hit)
{
	char text[BH_TIME_TEXT_SIZE];

	json_object_set_new(obj, "hits", json_integer((json_int_t)hit->count));
	bh_time_format(hit->last_ns, text);
	json_object_set_new(obj, "last_hit", hit->last_ns ? json_string(text) : json_null());
}

static json_t *rule_json(struct manager_request *req, const struct bh_policy *p,
			 enum bh_policy_dir dir, size_t i, const struct manager_hit *hit)
{
	const struct manager_rulebook *book = req->parts->book;
	struct bh_wbuf w;
	json_t *obj;

	bh_wbuf_init(&w, 0);
	bh_policy_rule_describe(p, dir, i, &w);
	obj = json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:I}", "number",
			(json_int_t)manager_rulebook_number(p, dir, i, req->parts->book), "tenant",
			bh_policy_tenant(p), "policy", bh_policy_name(p), "tier",
			bh_policy_tier_name(bh_policy_tier(p)), "dir", bh_policy_dir_name(dir),
			"index", (json_int_t)i, "name", bh_policy_rule_name(p, dir, i), "text",
			bh_wbuf_cstr(&w), "line", (json_int_t)bh_policy_rule_line(p, dir, i),
			"revision",
			(json_int_t)manager_rulebook_policy_revision(book, bh_policy_tenant(p),
								     bh_policy_name(p)));
	bh_wbuf_done(&w);
	manager_hit_put(obj, hit);
	return obj;
}

static bool wanted(const struct filter *f, const struct manager_hit *hit, uint64_t now_ns)
{
	if (f->never && hit->count) {
		return false;
	}
	return !f->idle_s || hit->last_ns + f->idle_s * BH_NS_PER_S < now_ns;
}

static void add_policy(struct manager_request *req, const struct bh_policy *p,
		       const struct filter *f, struct manager_page *page)
{
	uint64_t now = bh_time_wall_ns();

	for (int d = 1; d >= 0; d--) {
		enum bh_policy_dir dir = (enum bh_policy_dir)d;

		for (size_t i = 0; i < bh_policy_rule_count(p, dir); i++) {
			struct manager_hit hit = manager_hits_of(
				req->parts->change->hits,
				manager_rulebook_number(p, dir, i, req->parts->book));

			if (wanted(f, &hit, now) && manager_page_takes(page)) {
				manager_page_put(page, rule_json(req, p, dir, i, &hit));
			}
		}
	}
}

static void list_rules(struct manager_request *req)
{
	const struct bh_policy_set *set = manager_rulebook_set(req->parts->book);
	struct filter f = {.tenant = manager_request_query(req, "tenant"),
			   .policy = manager_request_query(req, "policy")};
	struct manager_page page;

	if (manager_request_flag(req, "never", &f.never) < 0 ||
	    manager_request_duration(req, "idle", 3650ull * 86400, &f.idle_s) < 0 ||
	    manager_page_begin(req, &page) < 0) {
		return;
	}
	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		const struct bh_policy *p = bh_policy_set_at(set, i);

		if ((!f.tenant || strcmp(f.tenant, bh_policy_tenant(p)) == 0) &&
		    (!f.policy || strcmp(f.policy, bh_policy_name(p)) == 0) &&
		    manager_seen_tenant(req, bh_policy_tenant(p))) {
			add_policy(req, p, &f, &page);
		}
	}
	manager_page_reply(req, &page, NULL);
}

const struct manager_route manager_routes_rules[] = {
	{"GET", "rules", list_rules, VERB_POLICY_READ, OBJECT_LIST, 0, NULL,
	 "tenant policy never idle " API_PAGE_QUERY},
	{},
};
