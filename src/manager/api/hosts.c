/* SPDX-License-Identifier: Apache-2.0 */
/* What people say about hosts: /v1/hosts/NAME/labels and /v1/hosts/NAME/maintenance. */
#include "manager/api/request.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/migrate/placement.h"

#include <errno.h>

struct manager_host *manager_request_host(struct manager_request *req)
{
	struct manager_host *host = manager_host_find(req->parts->inv, req->segments[1]);

	if (!host) {
		manager_reply_errorf(req, 404, "not_found", "no host '%.80s'", req->segments[1]);
	}
	return host;
}

json_t *manager_host_maintenance_json(const struct manager_host *host)
{
	const struct manager_maintenance *m = &host->maintenance;
	char since[BH_TIME_TEXT_SIZE];

	if (!m->on) {
		return json_pack("{s:b}", "on", 0);
	}
	bh_time_format(m->since_ns, since);
	return json_pack("{s:b, s:s, s:s, s:s}", "on", 1, "reason", m->reason, "since", since, "by",
			 m->by);
}

static json_t *labels_of(const struct manager_host *host)
{
	return json_pack("{s:s, s:O}", "name", host->name, "labels", host->labels);
}

static void get_labels(struct manager_request *req)
{
	const struct manager_host *host = manager_request_host(req);

	if (host) {
		manager_reply(req, 200, labels_of(host));
	}
}

static void change_labels(struct manager_request *req, bool merge)
{
	static const char *const known[] = {"labels", NULL};
	struct manager_host *host = manager_request_host(req);
	BH_JSON json_t *body = host ? manager_request_json(req, known, false) : NULL;
	struct bh_diag diag = {};
	const json_t *change;
	json_t *labels, *was;
	int r;

	if (!body) {
		return;
	}
	change = json_object_get(body, "labels");
	if (manager_labels_check(change, merge, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	labels = manager_labels_changed(merge ? host->labels : NULL, change);
	if (json_object_size(labels) > BH_LABELS_MAX) {
		json_decref(labels);
		manager_reply_errorf(req, 400, "bad_request", "a host may have %d labels",
				     BH_LABELS_MAX);
		return;
	}
	was = json_deep_copy(host->labels);
	r = manager_host_set_labels(req->parts->inv, host, labels, &diag);
	if (r < 0) {
		json_decref(was);
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(req, MANAGER_PROVIDER, NULL, was, json_deep_copy(host->labels));
	manager_placement_review(req->parts->inv);
	manager_reply(req, 200, labels_of(host));
}

static void put_labels(struct manager_request *req)
{
	change_labels(req, false);
}

static void patch_labels(struct manager_request *req)
{
	change_labels(req, true);
}

/* ---- maintenance ---- */

static void get_maintenance(struct manager_request *req)
{
	const struct manager_host *host = manager_request_host(req);

	if (host) {
		manager_reply(req, 200, manager_host_maintenance_json(host));
	}
}

int manager_request_reason(const json_t *body, char ret[MANAGER_REASON_MAX + 1],
			   struct bh_diag *diag)
{
	const char *reason = bh_json_str_or(body, "reason", "");
	const json_t *value = json_object_get(body, "reason");

	if ((value && !json_is_string(value)) || strlen(reason) > MANAGER_REASON_MAX) {
		return bh_diag_set(diag, -EINVAL, "'reason' must be text of at most %d bytes",
				   MANAGER_REASON_MAX);
	}
	for (const char *s = reason; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f) {
			return bh_diag_set(diag, -EINVAL, "control character in 'reason'");
		}
	}
	snprintf(ret, MANAGER_REASON_MAX + 1, "%s", reason);
	return 0;
}

/* Said again it keeps the time since when it is so. */
static void put_maintenance(struct manager_request *req)
{
	static const char *const known[] = {"on", "reason", NULL};
	struct manager_host *host = manager_request_host(req);
	BH_JSON json_t *body = host ? manager_request_json(req, known, false) : NULL;
	struct manager_maintenance m = {};
	struct bh_diag diag = {};
	json_t *was;
	int r;

	if (!body) {
		return;
	}
	if (!json_is_boolean(json_object_get(body, "on"))) {
		manager_reply_errorf(req, 400, "bad_request", "'on' must be true or false");
		return;
	}
	m.on = json_is_true(json_object_get(body, "on"));
	if (manager_request_reason(body, m.reason, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	if (m.on) {
		m.since_ns = host->maintenance.on ? host->maintenance.since_ns : bh_time_wall_ns();
		snprintf(m.by, sizeof(m.by), "%s", req->who);
		manager_request_detail(req, "on%s%s", *m.reason ? ": " : "", m.reason);
	} else {
		m = (struct manager_maintenance){};
		manager_request_detail(req, "off");
	}
	was = manager_host_maintenance_json(host);
	r = manager_host_set_maintenance(req->parts->inv, host, &m, &diag);
	if (r < 0) {
		json_decref(was);
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_request_changed(req, MANAGER_PROVIDER, NULL, was,
				manager_host_maintenance_json(host));
	manager_reply(req, 200, manager_host_maintenance_json(host));
}

const struct manager_route manager_routes_hosts[] = {
	{"GET", "hosts/*/labels", get_labels, VERB_HOST_READ, OBJECT_HOST, 0, NULL},
	{"PUT", "hosts/*/labels", put_labels, VERB_HOST_WRITE, OBJECT_HOST, API_AUDIT,
	 "host.labels"},
	{"PATCH", "hosts/*/labels", patch_labels, VERB_HOST_WRITE, OBJECT_HOST, API_AUDIT,
	 "host.labels"},
	{"GET", "hosts/*/maintenance", get_maintenance, VERB_HOST_READ, OBJECT_HOST, 0, NULL},
	{"PUT", "hosts/*/maintenance", put_maintenance, VERB_HOST_WRITE, OBJECT_HOST, API_AUDIT,
	 "host.maintenance"},
	{},
};
