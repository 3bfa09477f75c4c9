/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/events and /v1/flows. */
#include "manager/api/request.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>

#define EVENTS_QUERY "type vm host severity verdict since after limit"

static int take_vm(struct manager_request *req, struct manager_event_filter *f)
{
	const char *s = manager_request_query(req, "vm");
	struct manager_vm *vm = NULL;
	struct bh_diag diag = {};
	uint8_t id[16];
	int r;

	if (!s) {
		return 0;
	}
	if (bh_uuid_parse(s, id) == 0) {
		bh_uuid_format(id, f->vm);
		return 0; /* also of VMs that are gone */
	}
	r = manager_vm_find(req->parts->inv, s, &vm, &diag);
	if (r) {
		manager_reply_error(req, r == MANAGER_VM_AMBIGUOUS ? 409 : 404,
				    r == MANAGER_VM_AMBIGUOUS ? "conflict" : "not_found", &diag);
		return -ENOENT;
	}
	memcpy(f->vm, vm->uuid, sizeof(f->vm));
	return 0;
}

static int take_text(struct manager_request *req, const char *name, char *to, size_t size)
{
	const char *s = manager_request_query(req, name);

	if (!s) {
		return 0;
	}
	if (strlen(s) >= size) {
		manager_reply_errorf(req, 400, "bad_request", "'%s' is too long", name);
		return -EINVAL;
	}
	memcpy(to, s, strlen(s) + 1);
	return 0;
}

static int take_severity(struct manager_request *req, struct manager_event_filter *f)
{
	const char *s = manager_request_query(req, "severity");
	enum bh_severity severity = BH_SEVERITY_INFO;

	if (s && bh_severity_parse(s, &severity) < 0) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'severity' must be info, notice, warning or critical");
		return -EINVAL;
	}
	f->severity = (int)severity;
	return 0;
}

static int take_verdict(struct manager_request *req, struct manager_event_filter *f)
{
	const char *s = manager_request_query(req, "verdict");

	if (s && strcmp(s, "allow") != 0 && strcmp(s, "deny") != 0 && strcmp(s, "reject") != 0) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'verdict' must be allow, deny or reject");
		return -EINVAL;
	}
	snprintf(f->verdict, sizeof(f->verdict), "%s", s ? s : "");
	return 0;
}

/* 0, or < 0 when the request was answered with an error. */
static int take_filter(struct manager_request *req, struct manager_event_filter *f)
{
	const char *resume =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Last-Event-ID");
	uint64_t limit = 100;
	int r;

	if (take_text(req, "type", f->type, sizeof(f->type)) < 0 ||
	    take_text(req, "host", f->host, sizeof(f->host)) < 0 || take_verdict(req, f) < 0 ||
	    take_severity(req, f) < 0 || take_vm(req, f) < 0 ||
	    manager_request_number(req, "limit", 1, 10000, &limit) < 0) {
		return -EINVAL;
	}
	r = manager_request_number(req, "after", 0, INT64_MAX, &f->after);
	if (r < 0) {
		return r;
	}
	f->has_after = r > 0;
	if (resume && bh_parse_u64(resume, 0, INT64_MAX, &f->after) == 0) {
		f->has_after = true;
	}
	f->limit = (uint32_t)limit;
	return manager_request_since(req, &f->since_ns);
}

static void add_item(uint64_t id, const char *type, const char *json, void *arg)
{
	struct bh_wbuf *w = arg;

	bh_wbuf_printf(w, "%s{\"id\":%llu%s", w->data[w->size - 1] == '[' ? "" : ",",
		       (unsigned long long)id, json[1] == '}' ? "" : ",");
	bh_wbuf_str(w, json + 1);
}

static void list(struct manager_request *req, bool flows)
{
	struct manager_event_filter filter = {.flows = flows};
	struct bh_diag diag = {};
	struct bh_wbuf w;

	if (take_filter(req, &filter) < 0) {
		return;
	}
	if (manager_request_accepts(req, "text/event-stream")) {
		manager_follow(req, &filter);
		return;
	}
	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w, "{\"items\":[");
	if (manager_events_list(req->parts->events, &filter, add_item, &w, NULL, &diag) < 0) {
		bh_wbuf_done(&w);
		manager_reply_error(req, 500, "internal", &diag);
		return;
	}
	bh_wbuf_str(&w, "]}");
	manager_reply_text(req, 200, "application/json", (char *)w.data, w.size);
}

static void list_events(struct manager_request *req)
{
	list(req, false);
}

static void list_flows(struct manager_request *req)
{
	list(req, true);
}

const struct manager_route manager_routes_events[] = {
	{"GET", "events", list_events, 0, NULL, EVENTS_QUERY},
	{"GET", "flows", list_flows, 0, NULL, EVENTS_QUERY},
	{},
};
