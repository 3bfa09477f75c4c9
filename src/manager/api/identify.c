/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who sends a request: root on the unix socket, the holder of the administrator's token, a user by
 * session or by API token. A browser sends the cookie of a session with everything, whoever made it
 * do so; so what changes something must also say the value that only a page of ours could read, and
 * come from our own origin.
 */
#include "manager/api/auth.h"
#include "manager/api/crowd.h"
#include "manager/api/denied.h"
#include "manager/api/login.h"

#include "base/counter.h"
#include "base/time.h"

#include <errno.h>
#include <strings.h>

BH_COUNTER(api_proxy_unclear, "requests of a trusted proxy whose client it did not say clearly");
BH_COUNTER(api_csrf, "requests refused because they did not come from our own pages");

static void be_root(struct manager_request *req, const char *who)
{
	req->principal.via = MANAGER_VIA_ROOT;
	req->principal.tenant = MANAGER_PROVIDER;
	snprintf(req->principal.name, sizeof(req->principal.name), "root");
	snprintf(req->who, sizeof(req->who), "%s", who);
}

static void describe_local(struct manager_request *req)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred cred = {.uid = (uid_t)-1};
	socklen_t size = sizeof(cred);

	snprintf(req->from, sizeof(req->from), "unix");
	if (info && getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0) {
		snprintf(req->from, sizeof(req->from), "unix:%u", cred.uid);
		if (cred.uid == 0 || cred.uid == geteuid()) {
			be_root(req, req->from);
		}
	}
}

/* A header may come in several lines, and whoever adds to it may add a line. */
struct lines {
	const char *name;
	struct bh_wbuf text;
	bool there;
};

static enum MHD_Result join_line(void *cls, enum MHD_ValueKind kind, const char *key,
				 const char *value)
{
	struct lines *l = cls;

	if (strcasecmp(key, l->name) == 0) {
		bh_wbuf_printf(&l->text, "%s%s", l->there ? ", " : "", value ? value : "");
		l->there = true;
	}
	return MHD_YES;
}

static void look_behind_proxy(struct manager_request *req)
{
	const struct manager_proxies *proxies = manager_api_proxies(req->api);
	struct lines l = {.name = manager_proxies_header(proxies)};
	char client[BH_ADDR_TEXT_SIZE];

	if (!manager_proxies_trust(proxies, req->from)) {
		return;
	}
	bh_wbuf_init(&l.text, 0);
	MHD_get_connection_values(req->connection, MHD_HEADER_KIND, join_line, &l);
	if (!manager_proxies_client(proxies, req->from, l.there ? bh_wbuf_cstr(&l.text) : NULL,
				    client)) {
		bh_counter_add(&api_proxy_unclear, 1);
	}
	req->proxied = strcmp(client, req->from) != 0;
	snprintf(req->from, sizeof(req->from), "%s", client);
	bh_wbuf_done(&l.text);
}

void manager_request_peer(struct manager_request *req)
{
	const union MHD_ConnectionInfo *info;

	if (req->local) {
		describe_local(req);
		return;
	}
	info = MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	manager_crowd_address(info ? info->client_addr : NULL, req->from);
	look_behind_proxy(req);
}

/* ---- sessions ---- */

/* What no browser sent has no origin. */
static bool same_origin(const struct manager_request *req)
{
	const char *origin =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Origin");
	const char *host = MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Host");

	return !origin ||
	       (host && strncmp(origin, "https://", 8) == 0 && strcasecmp(origin + 8, host) == 0);
}

static void refuse_foreign(struct manager_request *req)
{
	bh_counter_add(&api_csrf, 1);
	manager_reply_errorf(req, 403, "csrf",
			     "X-Bulkhead-Csrf is missing or wrong (GET /v1/session says it), or "
			     "the request is of another origin");
}

static bool is_ours(const struct manager_request *req, const char *secret)
{
	const char *said =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "X-Bulkhead-Csrf");
	char csrf[MANAGER_CSRF_SIZE];

	manager_session_csrf(secret, csrf);
	return said && strlen(said) == sizeof(csrf) - 1 &&
	       sodium_memcmp(said, csrf, sizeof(csrf) - 1) == 0 && same_origin(req);
}

static bool only_reads(const struct manager_request *req)
{
	return strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0;
}

static void unknown(struct manager_request *req, const char *words)
{
	manager_denied_nobody(req);
	manager_reply_errorf(req, 401, "unauthorized", "%s", words);
}

/* What the session's user holds now. -ENOENT when the session is good for nothing. */
static int session_principal(struct manager_request *req, const struct manager_session *s,
			     struct manager_principal *ret)
{
	struct manager_accounts *a = req->parts->accounts;
	uint64_t now = bh_time_wall_ns();
	struct manager_user u;

	if (!s->open || manager_user_get(a, NULL, s->user, &u) < 0 ||
	    manager_user_principal(a, s->user, now, ret) < 0) {
		return -ENOENT;
	}
	if (req->parts->requests) {
		manager_grants_add(req->parts->requests, u.name, now, ret);
	}
	ret->via = MANAGER_VIA_SESSION;
	ret->session = s->id;
	ret->factor_ns = s->factor_ns;
	snprintf(ret->factor, sizeof(ret->factor), "%s", s->factor);
	if (u.must_change) {
		bh_vec_done(&ret->holdings); /* first a password of his own */
	}
	return 0;
}

static void be_user(struct manager_request *req, const char *secret)
{
	if (session_principal(req, &req->session, &req->principal) < 0) {
		unknown(req, "no session, or it is over: log in");
		return;
	}
	snprintf(req->who, sizeof(req->who), "user:%s", req->principal.name);
	if (!req->session.bearer && !only_reads(req) && !is_ours(req, secret)) {
		refuse_foreign(req);
	}
}

/* ---- tokens ---- */

static void be_token(struct manager_request *req, const char *text)
{
	struct manager_accounts *a = req->parts->accounts;

	if (manager_api_token_principal(a, text, bh_time_wall_ns(), &req->principal) < 0) {
		unknown(req, "this token is not valid");
		return;
	}
	snprintf(req->who, sizeof(req->who), "token:%s/%lld", req->principal.name,
		 (long long)req->principal.token);
}

/* Who says nothing guesses nothing. Nor does he try anything who asks whether he is logged in, as
 * every console does that is opened. */
static void be_nobody(struct manager_request *req)
{
	if (!req->route || strcmp(req->route->path, "session") != 0 || !only_reads(req)) {
		manager_denied_nobody(req);
	}
	manager_reply_errorf(req, 401, "unauthorized", "log in, or send a bearer token");
}

static void be_admin(struct manager_request *req, const char *header)
{
	struct manager_auth *auth = manager_api_auth(req->api);
	uint64_t now = bh_time_mono_ns();

	req->retry_after_s = manager_auth_wait(auth, req->from, now);
	if (req->retry_after_s) {
		manager_reply_errorf(req, 429, "too_many_requests",
				     "too many wrong tokens from this address");
	} else if (manager_auth_check(auth, header, req->from, now) &&
		   manager_accounts_settings(req->parts->accounts)->admin_token) {
		be_root(req, "token:admin");
	} else {
		unknown(req, "this token is not valid");
	}
}

void manager_request_identify(struct manager_request *req)
{
	static const char token[] = "Bearer bhk_", session[] = "Bearer " MANAGER_BEARER_SESSION;
	const char *header =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Authorization");
	const char *cookie =
		MHD_lookup_connection_value(req->connection, MHD_COOKIE_KIND, MANAGER_COOKIE);
	const char *secret = NULL;

	if (req->principal.via == MANAGER_VIA_ROOT) {
		return; /* by SO_PEERCRED */
	}
	if (req->route && req->route->object == OBJECT_PUBLIC) {
		snprintf(req->who, sizeof(req->who), "nobody");
		if (!only_reads(req) && !same_origin(req)) {
			refuse_foreign(req); /* nor is anybody logged in by another page */
		}
	} else if (header && strncmp(header, token, sizeof(token) - 1) == 0) {
		be_token(req, header + strlen("Bearer "));
	} else if (header ? strncmp(header, session, sizeof(session) - 1) == 0 : cookie != NULL) {
		if (manager_request_session(req, &req->session, &secret) < 0) {
			unknown(req, "no session, or it is over: log in");
		} else {
			be_user(req, secret);
		}
	} else if (header) {
		be_admin(req, header);
	} else {
		be_nobody(req);
	}
}

/* ---- again, of what goes on for long ---- */

/* By its number: a step-up gives a session another secret. */
static int session_again(struct manager_request *req, struct manager_principal *ret)
{
	struct manager_agent agent = manager_request_agent(req);
	struct manager_session s;

	if (manager_session_find_id(req->parts->accounts, req->session.id, req->session.user,
				    &agent, bh_time_wall_ns(), &s) < 0) {
		return -ENOENT;
	}
	return session_principal(req, &s, ret);
}

static int token_again(struct manager_request *req, struct manager_principal *ret)
{
	const char *header =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Authorization");

	return header ? manager_api_token_principal(req->parts->accounts,
						    header + strlen("Bearer "), bh_time_wall_ns(),
						    ret)
		      : -ENOENT;
}

bool manager_request_still(struct manager_request *req)
{
	struct manager_principal now = {};

	if (req->principal.via == MANAGER_VIA_ROOT) {
		return req->local || manager_accounts_settings(req->parts->accounts)->admin_token;
	}
	if ((req->principal.via == MANAGER_VIA_TOKEN ? token_again(req, &now)
						     : session_again(req, &now)) < 0) {
		return false;
	}
	manager_principal_done(&req->principal);
	req->principal = now;
	return true;
}
