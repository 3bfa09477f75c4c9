/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request inside the API room. A handler answers now (request_reply, request_error) or later:
 * it calls manager_request_later() and then answers exactly once from the loop. The request belongs
 * to server.c and lives until its answer was sent.
 */
#ifndef BH_MANAGER_API_REQUEST_H
#define BH_MANAGER_API_REQUEST_H

#include "manager/api/api.h"
#include "manager/auth/accounts.h"
#include "manager/events/scope.h"

#include <microhttpd.h>
#include <sodium.h>

#define API_BODY_MAX	  (10u << 20)
#define API_PATH_MAX	  1024
#define API_BODY_READ_MAX (40u << 20) /* what is too large is read so far before it is cut off */
#define API_SEGMENTS_MAX  8
#define API_FOLLOWERS_MAX 600
#define API_ETAG_SIZE	  35 /* 16 bytes in hex between quotes */
#define MANAGER_WHO_SIZE  120

struct manager_request;
struct manager_follower;
struct manager_record;

/* AUDIT: record.h says what each leaves in the audit log. */
enum { API_AUDIT = 2, API_ANY_QUERY = 4, API_AUDIT_AFTER = 8, API_AUDIT_READ = 16 };
typedef void manager_handler_fn(struct manager_request *req);
struct manager_route {
	const char *method;
	const char *path; /* segments; "*" stands for one, "*:word" for one that ends so */
	manager_handler_fn *fn;
	/* Who may: the dispatcher asks manager_authorize() before the handler runs. */
	enum manager_verb verb;
	enum manager_object_kind object; /* what segment 1 names; LIST, BODY: see below */
	unsigned int flags;
	const char *audit; /* "vm.labels" */
	const char *query; /* names of its parameters with a space between; NULL: none */
};
extern const struct manager_route manager_routes_alerts[], manager_routes_channels[],
	manager_routes_metrics[];
extern const struct manager_route manager_routes_status[], manager_routes_vms[],
	manager_routes_policies[], manager_routes_events[], manager_routes_enroll[],
	manager_routes_names[], manager_routes_migrations[], manager_routes_hosts[],
	manager_routes_commits[], manager_routes_drafts[], manager_routes_rules[],
	manager_routes_monitor[], manager_routes_quotas[], manager_routes_login[],
	manager_routes_me[], manager_routes_users[], manager_routes_roles[],
	manager_routes_webauthn[], manager_routes_oidc[], manager_routes_oidc_settings[];

extern const struct manager_route manager_routes_map[], manager_routes_effective[],
	manager_routes_orders[];

/* ---- route.c ---- */
/* False when it was answered: no path that a route could have. */
bool manager_route_check_path(struct manager_request *req);
/* For libmicrohttpd: %XX in paths and parameters. */
size_t manager_route_unescape(void *cls, struct MHD_Connection *connection, char *text);
/* Fills segments from path. */
void manager_route_split(struct manager_request *req);
/* The route, or NULL with req->allow filled when only the method is wrong. */
const struct manager_route *manager_route_find(struct manager_request *req);
/* A parameter that means nothing here is a mistake of the caller, and answered: a filter that is
 * misspelt would give everything. */
void manager_route_check_arguments(struct manager_request *req);
/* At start: -EINVAL for a row that does not say who may. */
[[nodiscard]] int manager_routes_check(struct bh_diag *diag);

extern const struct manager_route manager_routes_audit[], manager_routes_requests[];
extern const struct manager_route manager_routes_export[];

enum manager_batched {
	BATCH_NONE,
	BATCH_JOINED, /* its handler runs in the next turn */
	BATCH_HELD,   /* its answer waits for the disk */
	BATCH_PASSED, /* it may go out */
};

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
	char who[MANAGER_WHO_SIZE]; /* "user:alice@shop", "token:admin", "unix:0", "" nobody yet */
	char from[64];
	struct manager_principal principal;
	struct manager_session session; /* when principal.via says so */
	char set_cookie[128];		/* "": none */
	uint64_t password_job;		/* that is waited for; 0: none */
	bool local;
	bool proxied; /* from is what a trusted proxy said */
	bool crowded; /* its address has too many open */
	struct bh_wbuf body;
	size_t body_size; /* read so far, also of a body that is not kept */
	bool close;	  /* the connection ends with the answer */
	bool too_large, checked, suspended, answered, queued;
	bool asked; /* the handler of a LIST or BODY has asked who sees what */
	unsigned int status;
	char *out; /* owned */
	size_t out_size;
	struct MHD_Response *ready; /* owned; an answer with its headers, instead of out */
	const char *content_type;
	char allow[64];
	unsigned int retry_after_s;
	char etag[API_ETAG_SIZE];      /* "": none */
	char *error;		       /* owned; what was said when it was refused */
	char *audit_detail;	       /* owned; what the audit event says beyond the path */
	struct manager_record *record; /* record.c's; NULL: nothing to record */
	enum manager_batched batched;  /* batch.c's, as those two */
	struct manager_request *batch_prev, *batch_next;
	struct manager_follower *follower;
	struct manager_wait *wait;
	void *state; /* of a handler that waits */
	void (*state_free)(void *state);
	struct manager_request *prev, *next;
};

/* ---- who may (authorize_request.c) ----
 * LIST: the handler shows only things of tenants that manager_request_sees(). BODY: what a body, a
 * query or a number names: manager_request_sees() else answer as for what does not exist, and
 * manager_request_may() for each tenant concerned before anything is done. A success of either
 * whose handler asked nothing is turned into an error, unless it is an empty page. */
/* Does the caller hold the route's verb at this tenant (its number)? For leaving things out. */
bool manager_request_sees(struct manager_request *req, uint32_t tenant);
/* As that, for any verb. */
bool manager_request_holds(struct manager_request *req, enum manager_verb verb, uint32_t tenant);
/* Holds the verb at every tenant and the provider. */
bool manager_request_holds_all(struct manager_request *req, enum manager_verb verb);
/* All that manager_authorize() asks for, second factor and second person too. id: what the act is
 * on, for people; may be NULL. False: it was answered (403, or 404 in words of things that are not
 * there). tenant MANAGER_NO_TENANT: one that does not exist yet. */
bool manager_request_may(struct manager_request *req, enum manager_verb verb, uint32_t tenant,
			 const char *id);
/* manager_authorize_factor(). False: it was answered. id: what he is about to do, for people. */
bool manager_request_factor(struct manager_request *req, enum manager_verb verb, uint32_t tenant,
			    const char *id);
/* The number of a tenant by name; MANAGER_NO_TENANT when there is none. */
uint32_t manager_request_tenant(const struct manager_request *req, const char *name);
/* The tenants at which the caller holds the verb. */
void manager_request_scope(struct manager_request *req, enum manager_verb verb,
			   struct manager_scope *ret);
/* server.c: before the handler; answers when it may not run. */
void manager_request_authorize(struct manager_request *req);
/* The handler of a LIST or BODY that never asked. */
bool manager_request_unasked(const struct manager_request *req);
/* identify.c: who it is, by socket, token or session; answers when it is nobody. */
void manager_request_identify(struct manager_request *req);
/* Is it still the one who asked, of an answer that goes on for long? His session or token may have
 * ended. principal is what he holds now. */
bool manager_request_still(struct manager_request *req);
/* From whom, through whom, and root on the unix socket. */
void manager_request_peer(struct manager_request *req);
const struct manager_proxies *manager_api_proxies(const struct manager_api *api);
struct manager_auth *manager_api_auth(const struct manager_api *api);
/* The VM that the caller may see by this UUID or name; as manager_vm_find() with only those. */
[[nodiscard]] int manager_request_find_vm(struct manager_request *req, const char *id,
					  struct manager_vm **ret, struct bh_diag *diag);

/* body is owned by the callee. */
void manager_reply(struct manager_request *req, unsigned int status, json_t *body);
void manager_reply_text(struct manager_request *req, unsigned int status, const char *type,
			char *text, size_t size);	 /* text is owned by the callee */
void manager_reply_nothing(struct manager_request *req); /* 204 */
/* A whole answer with its headers, as for one that is produced piece by piece; owned by the callee.
 */
void manager_reply_ready(struct manager_request *req, unsigned int status,
			 struct MHD_Response *response);
/* The answer gets an ETag of what is hashed between begin and end; send_answer() says "as before"
 * (304) to who has it already. It is a keyed hash of the answer itself and of whose it is: nobody
 * learns from it, and nothing that changes an answer can be forgotten. */
void manager_request_etag_begin(const struct manager_request *req, crypto_generichash_state *ret);
void manager_request_etag_end(struct manager_request *req, crypto_generichash_state *hash);
const uint8_t *
manager_api_etag_key(const struct manager_api *api); /* crypto_generichash_KEYBYTES */
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
/* Its connection sleeps, and wakes. */
void manager_request_suspend(struct manager_request *req);
void manager_request_resume(struct manager_request *req);

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
/* How long, like 90s, 5m, 2h, 1d, in seconds from 1 to max; stays when it is absent. -EINVAL when
 * it was answered with an error. */
[[nodiscard]] int manager_request_duration(struct manager_request *req, const char *name,
					   uint64_t max_s, uint64_t *ret_s);
/* A time or how long ago into *ret_ns, which stays when it is absent. -EINVAL when it was answered.
 */
[[nodiscard]] int manager_request_time(struct manager_request *req, const char *name,
				       uint64_t *ret_ns);
/* `since`, a time or how long ago; stays when it is absent. -EINVAL when it was answered. */
[[nodiscard]] int manager_request_since(struct manager_request *req, uint64_t *ret_ns);
bool manager_request_accepts(const struct manager_request *req, const char *type);
/* The host, the VM of segment 1; NULL when it was answered with an error. */
struct manager_host *manager_request_host(struct manager_request *req);
struct manager_vm *manager_request_vm(struct manager_request *req);
void manager_request_detail(struct manager_request *req, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* For the audit log: what an act changed, one call for each object. tenant: its number; object:
 * "vm/UUID", NULL for that of the path; before, after: owned by the callee, NULL when there was or
 * is nothing. Counts only when the answer is a success. */
void manager_request_changed(struct manager_request *req, uint32_t tenant, const char *object,
			     json_t *before, json_t *after);

/* ---- lists, page by page: parameters API_PAGE_QUERY ---- */
#define API_PAGE_QUERY "limit offset"
struct manager_page {
	uint64_t limit, offset;
	uint64_t total; /* seen so far */
	struct bh_wbuf text;
	crypto_generichash_state hash; /* of the items, for ETag */
};
/* -EINVAL when it was answered with an error. */
[[nodiscard]] int manager_page_begin(struct manager_request *req, struct manager_page *ret);
/* Once for each thing of the whole list: is it on this page? Then put it. */
bool manager_page_takes(struct manager_page *page);
/* Owned by the callee; NULL is left out. Becomes text at once: thousands of trees that wait for
 * their end cost more than making them. */
void manager_page_put(struct manager_page *page, json_t *item);
/* As that, of what has a "last_seen", which moves while nothing happens: a page that differs in
 * nothing else is the same page to who has it (ETag). */
void manager_page_put_seen(struct manager_page *page, json_t *item);
/* Instead of the reply. */
void manager_page_drop(struct manager_page *page);
/* Answers {"items", "total", "next"} together with the members of more (owned by the callee, may be
 * NULL); 304 to who has this very page. */
void manager_page_reply(struct manager_request *req, struct manager_page *page, json_t *more);

void manager_list_vms(struct manager_request *req); /* vm_list.c: GET /v1/vms */
/* hosts.c, vms.c; owned */
json_t *manager_host_maintenance_json(const struct manager_host *host);
json_t *manager_vm_json(const struct manager_inventory *inv, const struct manager_vm *vm);

/* events.c: what the query asks for, but for scopes. < 0 when it was answered with an error. */
[[nodiscard]] int manager_request_events(struct manager_request *req,
					 struct manager_event_filter *ret);
/* Whose events, and whose flows among them, the caller reads now. */
void manager_request_events_scope(struct manager_request *req, struct manager_event_filter *f);
/* sse.c */
void manager_follow(struct manager_request *req, const struct manager_event_filter *filter);
/* All events that match, oldest first, up to the newest of now; a connection that ends without the
 * end of the answer says that something is missing. */
#define API_EXPORTS_MAX 4
struct manager_export {
	manager_event_fn *format; /* into a struct bh_wbuf, in a worker */
	const char *type, *disposition;
	const char *head; /* before the first event */
};
void manager_export(struct manager_request *req, const struct manager_event_filter *filter,
		    const struct manager_export *how);
void manager_follower_wake_all(struct manager_api *api);
void manager_follower_beat(struct manager_api *api);
void manager_follower_end(struct manager_follower *f); /* its stream ends with the next look */
/* Its request is gone; timed_out: because its reader took nothing for too long. */
void manager_follower_detach(struct manager_follower *f, bool timed_out);
size_t manager_follower_count(const struct manager_api *api);
struct manager_follower **manager_api_followers(struct manager_api *api);
struct manager_follow_group; /* sse.c's */
struct manager_follow_group **manager_api_groups(struct manager_api *api);
void manager_api_poke(struct manager_api *api); /* connections were resumed */

#endif
