/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/enroll-tokens and /v1/enroll. */
#include "manager/api/request.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>

static int add_token(const struct manager_store_token *row, void *arg)
{
	struct manager_page *page = arg;

	if (!manager_page_takes(page)) {
		return 0;
	}
	manager_page_put(page,
			 json_pack("{s:I, s:s?, s:o, s:o, s:b, s:s?}", "id", (json_int_t)row->id,
				   "name", row->name, "created_at", bh_json_time(row->created_ns),
				   "expires_at", bh_json_time(row->expires_ns), "used",
				   row->used_ns != 0, "used_by", row->used_by));
	return 0;
}

static void list_tokens(struct manager_request *req)
{
	struct manager_page page;
	struct bh_diag diag = {};

	if (manager_page_begin(req, &page) < 0) {
		return;
	}
	if (manager_store_tokens(req->parts->db, add_token, &page, &diag) < 0) {
		manager_page_drop(&page);
		manager_reply_error(req, 500, "internal", &diag);
		return;
	}
	manager_page_reply(req, &page, NULL);
}

static void create_token(struct manager_request *req)
{
	static const char *const known[] = {"name", "ttl_s", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, true);
	struct manager_join_token token;
	struct bh_diag diag = {};
	uint64_t ttl_s = 3600;
	const char *name = NULL;
	int r;

	if (!body) {
		return;
	}
	if (json_object_get(body, "name") && !json_is_null(json_object_get(body, "name")) &&
	    bh_json_str(body, "name", &name, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	if (json_object_get(body, "ttl_s") &&
	    (bh_json_u64(body, "ttl_s", 2592000, &ttl_s, &diag) < 0 || ttl_s < 60)) {
		manager_reply_errorf(req, 400, "bad_request", "'ttl_s' must be from 60 to 2592000");
		return;
	}
	r = manager_enroll_token(req->parts->enroll, name, ttl_s, bh_time_wall_ns(), &token, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_detail(req, "token %lld", (long long)token.id);
	manager_reply(req, 201,
		      json_pack("{s:I, s:s, s:s?, s:o, s:s}", "id", (json_int_t)token.id, "token",
				token.text, "name", name, "expires_at",
				bh_json_time(token.expires_ns), "ca_fingerprint",
				manager_enroll_fingerprint(req->parts->enroll)));
}

static void delete_token(struct manager_request *req)
{
	struct bh_diag diag = {};
	uint64_t id;
	int r;

	if (bh_parse_u64(req->segments[1], 1, INT64_MAX, &id) < 0) {
		manager_reply_errorf(req, 404, "not_found", "no join token '%.20s'",
				     req->segments[1]);
		return;
	}
	r = manager_store_drop_token(req->parts->db, (int64_t)id, &diag);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_reply_nothing(req);
}

static void enroll(struct manager_request *req)
{
	static const char *const known[] = {"token", "name", "csr", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	struct manager_enroll_request in = {};
	struct manager_enroll_answer out = {};
	struct bh_diag diag = {};
	int r;

	if (!body) {
		return;
	}
	if (bh_json_str(body, "token", &in.token, &diag) < 0 ||
	    bh_json_str(body, "name", &in.name, &diag) < 0 ||
	    bh_json_str(body, "csr", &in.csr, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	in.now_ns = bh_time_wall_ns();
	r = manager_enroll(req->parts->enroll, &in, &out, &diag);
	if (r == -EACCES) {
		manager_reply_error(req, 403, "forbidden", &diag);
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		manager_request_detail(req, "host %s", in.name);
		manager_distribute_schedule(req->parts->dist);
		manager_reply(req, 201,
			      json_pack("{s:s, s:s, s:s, s:s}", "name", in.name, "cert", out.cert,
					"ca", out.ca, "bus_url", out.bus_url));
	}
	free(out.cert);
}

const struct manager_route manager_routes_enroll[] = {
	{"GET", "enroll-tokens", list_tokens, VERB_HOST_ENROLL, OBJECT_SYSTEM, 0, NULL,
	 API_PAGE_QUERY},
	{"POST", "enroll-tokens", create_token, VERB_HOST_ENROLL, OBJECT_SYSTEM, API_AUDIT,
	 "token.create"},
	{"DELETE", "enroll-tokens/*", delete_token, VERB_HOST_ENROLL, OBJECT_SYSTEM, API_AUDIT,
	 "token.delete"},
	{"POST", "enroll", enroll, VERB_NONE, OBJECT_PUBLIC, API_AUDIT, "host.enroll"},
	{},
};
