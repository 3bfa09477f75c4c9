/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request inside the API room. A handler answers now (request_reply, request_error) or later:
 * it calls manager_request_later() and then answers exactly once from the loop. The request belongs
 * to server.c and lives until its answer was sent.
 */
#ifndef BH_MANAGER_API_REQUEST_H
#define BH_MANAGER_API_REQUEST_H

#include "manager/api/api.h"

#include <microhttpd.h>

#define API_BODY_MAX	  (10u << 20)
#define API_SEGMENTS_MAX  8
#define API_FOLLOWERS_MAX 64

struct manager_request;
struct manager_follower;

enum { API_PUBLIC = 1, API_AUDIT = 2, API_ANY_QUERY = 4 };
typedef void manager_handler_fn(struct manager_request *req);
struct manager_route {
	const char *method;
	const char *path; /* segments; "*" stands for one */
	manager_handler_fn *fn;
	unsigned int flags;
	const char *audit; /* "vm.labels" */
	const char *query; /* names of its parameters with a space between; NULL: none */
};
extern const struct manager_route manager_routes_status[], manager_routes_vms[],
	manager_routes_policies[], manager_routes_events[], manager_routes_enroll[],
	manager_routes_names[], manager_routes_migrations[], manager_routes_hosts[];

struct manager_request {
	struct manager_api *api;
	const struct manager_parts *parts;
	struct MHD_Connection *connection;
	const char *method;
	char *path;
	char *segments[API_SEGMENTS_MAX]; /* behind /v1/; into a copy of path */
	unsigned int segment_count;
	char *segment_text;
	const struct manager_route *route;
	char who[64]; /* "token:admin", "unix:0", "" nobody yet */
	char from[64];
	bool local;
	struct bh_wbuf body;
	bool too_large, checked, suspended, answered, queued;
	unsigned int status;
	char *out; /* owned */
	size_t out_size;
	const char *content_type;
	char allow[64];
	unsigned int retry_after_s;
	char *audit_detail; /* owned; what the audit event says beyond the path */
	struct manager_follower *follower;
	struct manager_wait *wait;
	void *state; /* of a handler that waits */
	void (*state_free)(void *state);
	struct manager_request *prev, *next;
};

/* body is owned by the callee. */
void manager_reply(struct manager_request *req, unsigned int status, json_t *body);
void manager_reply_text(struct manager_request *req, unsigned int status, const char *type,
			char *text, size_t size);	 /* text is owned by the callee */
void manager_reply_nothing(struct manager_request *req); /* 204 */
/* The optional member `reason` of a body: "" when there is none. */
[[nodiscard]] int manager_request_reason(const json_t *body, char ret[MANAGER_REASON_MAX + 1],
					 struct bh_diag *diag);
/* With code and words, and the place when diag has one. */
void manager_reply_error(struct manager_request *req, unsigned int status, const char *code,
			 const struct bh_diag *diag);
void manager_reply_errorf(struct manager_request *req, unsigned int status, const char *code,
			  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* From a negative errno of the store or the inventory. */
void manager_reply_failed(struct manager_request *req, int err, const struct bh_diag *diag);
/* The answer comes later. */
void manager_request_later(struct manager_request *req);

/* The body as a JSON object with only these members (NULL-terminated); NULL when it was answered
 * with an error. `empty` true: no body is an empty object. Owned. */
json_t *manager_request_json(struct manager_request *req, const char *const *known, bool empty);
const char *manager_request_query(const struct manager_request *req, const char *name); /* NULL */
/* Seconds of `wait` in ms; 0 none. -EINVAL when it was answered with an error. */
[[nodiscard]] int manager_request_wait(struct manager_request *req, uint64_t *ret_ms);
/* A yes or no; absent is no. -EINVAL when it was answered with an error. */
[[nodiscard]] int manager_request_flag(struct manager_request *req, const char *name, bool *ret);
/* A number from min to max into *ret, which stays when it is absent. 1 when it was there, 0, or
 * -EINVAL when it was answered with an error. */
[[nodiscard]] int manager_request_number(struct manager_request *req, const char *name,
					 uint64_t min, uint64_t max, uint64_t *ret);
/* `since`, a time or how long ago; stays when it is absent. -EINVAL when it was answered. */
[[nodiscard]] int manager_request_since(struct manager_request *req, uint64_t *ret_ns);
bool manager_request_accepts(const struct manager_request *req, const char *type);
/* The host, the VM of segment 1; NULL when it was answered with an error. */
struct manager_host *manager_request_host(struct manager_request *req);
struct manager_vm *manager_request_vm(struct manager_request *req);
void manager_request_detail(struct manager_request *req, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- lists, page by page: parameters API_PAGE_QUERY ---- */
#define API_PAGE_QUERY "limit offset"
struct manager_page {
	uint64_t limit, offset;
	uint64_t total; /* seen so far */
	json_t *items;
};
/* -EINVAL when it was answered with an error. */
[[nodiscard]] int manager_page_begin(struct manager_request *req, struct manager_page *ret);
/* Once for each thing of the whole list: is it on this page? Then put it into items. */
bool manager_page_takes(struct manager_page *page);
/* Answers {"items", "total", "next"} together with the members of more (owned by the callee, may be
 * NULL). */
void manager_page_reply(struct manager_request *req, struct manager_page *page, json_t *more);

/* hosts.c, vms.c; owned */
json_t *manager_host_maintenance_json(const struct manager_host *host);
json_t *manager_vm_json(const struct manager_inventory *inv, const struct manager_vm *vm);

/* sse.c */
void manager_follow(struct manager_request *req, const struct manager_event_filter *filter);
void manager_follower_wake_all(struct manager_api *api);
void manager_follower_beat(struct manager_api *api);
void manager_follower_end(struct manager_follower *f);	  /* its stream ends with the next look */
void manager_follower_detach(struct manager_follower *f); /* its request is gone */
size_t manager_follower_count(const struct manager_api *api);
struct manager_follower **manager_api_followers(struct manager_api *api);
void manager_api_poke(struct manager_api *api); /* connections were resumed */

#endif
