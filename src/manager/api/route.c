/* SPDX-License-Identifier: Apache-2.0 */
/* Which handler a request is for: the tables of routes, paths and parameters. */
#include "manager/api/request.h"

#include "base/jtext.h"

#include <ctype.h>
#include <errno.h>

static const struct manager_route *const tables[] = {
	manager_routes_alerts,	  manager_routes_channels,
	manager_routes_metrics,	  manager_routes_audit,
	manager_routes_requests,  manager_routes_status,
	manager_routes_vms,	  manager_routes_policies,
	manager_routes_events,	  manager_routes_enroll,
	manager_routes_names,	  manager_routes_migrations,
	manager_routes_hosts,	  manager_routes_commits,
	manager_routes_drafts,	  manager_routes_rules,
	manager_routes_monitor,	  manager_routes_quotas,
	manager_routes_export,	  manager_routes_map,
	manager_routes_effective, manager_routes_login,
	manager_routes_me,	  manager_routes_webauthn,
	manager_routes_oidc,	  manager_routes_oidc_settings,
	manager_routes_users,	  manager_routes_roles,
	manager_routes_orders,
};

/* "*" takes any segment, "*:word" any that ends like that; else they are the same. */
static bool segment_fits(const char *segment, const char *pattern, size_t len)
{
	size_t size = strlen(segment);

	if (*pattern == '*') {
		size_t end = len - 1;

		return size > end && strncmp(segment + size - end, pattern + 1, end) == 0;
	}
	return size == len && strncmp(segment, pattern, len) == 0;
}

/* Handlers find "7" where the path has "7:confirm" and the pattern "*:confirm". */
static void cut_words(struct manager_request *req, const char *pattern)
{
	unsigned int i = 0;

	for (const char *p = pattern; *p; i++) {
		size_t len = strcspn(p, "/");

		if (*p == '*' && len > 1) {
			req->segments[i][strlen(req->segments[i]) - (len - 1)] = '\0';
		}
		p += len + (p[len] == '/');
	}
}

static bool path_fits(const struct manager_request *req, const char *pattern)
{
	unsigned int i = 0;

	for (const char *p = pattern; *p; i++) {
		size_t len = strcspn(p, "/");

		if (i >= req->segment_count || !segment_fits(req->segments[i], p, len)) {
			return false;
		}
		p += len + (p[len] == '/');
	}
	return i == req->segment_count;
}

const struct manager_route *manager_route_find(struct manager_request *req)
{
	for (size_t t = 0; t < BH_ARRAY_SIZE(tables); t++) {
		for (const struct manager_route *r = tables[t]; r->method; r++) {
			size_t len = strlen(req->allow);

			if (!path_fits(req, r->path)) {
				continue;
			}
			if (strcmp(r->method, req->method) == 0) {
				req->allow[0] = '\0';
				cut_words(req, r->path);
				return r;
			}
			snprintf(req->allow + len, sizeof(req->allow) - len, "%s%s",
				 len ? ", " : "", r->method);
		}
	}
	return NULL;
}

bool manager_route_check_path(struct manager_request *req)
{
	size_t len = strlen(req->path);

	if (len <= API_PATH_MAX && bh_jtext_is_plain(req->path, len)) {
		return true;
	}
	manager_reply_errorf(req, 400, "bad_request",
			     "a path is UTF-8 without control characters, at most %d bytes",
			     API_PATH_MAX);
	return false;
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
					    : -1;
}

/* A NUL would end the text for us and not for whoever stands before us: it stays "%00". */
size_t manager_route_unescape(void *cls, struct MHD_Connection *connection, char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		int high = *from == '%' ? hex_digit(from[1]) : -1;
		int low = high >= 0 ? hex_digit(from[2]) : -1;

		if (low >= 0 && (high || low)) {
			*to = (char)(high << 4 | low);
			from += 3;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
	return (size_t)(to - text);
}

void manager_route_split(struct manager_request *req)
{
	char *save = NULL;

	/* "/api/v1" is the same; where Prometheus and load balancers look there is no "/v1". */
	const char *path = strncmp(req->path, "/api/v1/", 8) == 0 ? req->path + 4 : req->path;

	if (strcmp(path, "/metrics") == 0 || strcmp(path, "/healthz") == 0) {
		req->segment_text = bh_strdup(path + 1);
	} else if (strncmp(path, "/v1/", 4) == 0) {
		req->segment_text = bh_strdup(path + 4);
	} else {
		return;
	}
	for (char *s = strtok_r(req->segment_text, "/", &save);
	     s && req->segment_count <= API_SEGMENTS_MAX; s = strtok_r(NULL, "/", &save)) {
		if (req->segment_count == API_SEGMENTS_MAX) {
			req->segment_count = 0; /* deeper than any route */
			return;
		}
		req->segments[req->segment_count++] = s;
	}
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; p && *p; p += strcspn(p, " "), p += *p == ' ') {
		if (strcspn(p, " ") == len && strncmp(p, word, len) == 0) {
			return true;
		}
	}
	return false;
}

struct arguments {
	const struct manager_request *req;
	const char *unknown, *twice, *odd;
};

static enum MHD_Result look_at_argument(void *cls, enum MHD_ValueKind kind, const char *key,
					const char *value)
{
	struct arguments *a = cls;

	if (!has_word(a->req->route->query, key)) {
		a->unknown = key;
	} else if (manager_request_query(a->req, key) != value) {
		a->twice = key; /* the first one is found by its name */
	} else if (value && !bh_jtext_is_plain(value, strlen(value))) {
		a->odd = key;
	}
	return a->unknown || a->twice || a->odd ? MHD_NO : MHD_YES;
}

void manager_route_check_arguments(struct manager_request *req)
{
	struct arguments a = {.req = req};

	if (req->route->flags & API_ANY_QUERY) {
		return;
	}
	MHD_get_connection_values(req->connection, MHD_GET_ARGUMENT_KIND, look_at_argument, &a);
	if (a.unknown) {
		manager_reply_errorf(req, 400, "bad_request", "unknown parameter '%.60s'%s%s",
				     a.unknown, req->route->query ? "; known are: " : "",
				     req->route->query ? req->route->query : "");
	} else if (a.twice) {
		manager_reply_errorf(req, 400, "bad_request", "parameter '%s' twice", a.twice);
	} else if (a.odd) {
		manager_reply_errorf(req, 400, "bad_request",
				     "parameter '%s' must be UTF-8 without control characters",
				     a.odd);
	}
}

/* A row that does not say who may is a mistake of ours, and answers nobody. */
int manager_routes_check(struct bh_diag *diag)
{
	for (size_t t = 0; t < BH_ARRAY_SIZE(tables); t++) {
		for (const struct manager_route *r = tables[t]; r->method; r++) {
			if (r->object == OBJECT_UNSET ||
			    (r->verb == VERB_NONE && r->object != OBJECT_PUBLIC &&
			     r->object != OBJECT_SELF)) {
				return bh_diag_set(diag, -EINVAL, "route %s %s has no right",
						   r->method, r->path);
			}
		}
	}
	return 0;
}
