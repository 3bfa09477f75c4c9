/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/events and /v1/flows. Pages are read by a worker (events/search.c). */
#include "manager/api/request.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>

#define EVENTS_QUERY                                                                               \
	"type vm host tenant severity verdict since until q before after order limit budget"
#define BUDGET_MS     120
#define BUDGET_MAX_MS 10000

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
	r = manager_request_find_vm(req, s, &vm, &diag);
	if (r) {
		manager_reply_error(req, r == MANAGER_VM_AMBIGUOUS ? 409 : 404,
				    r == MANAGER_VM_AMBIGUOUS ? "conflict" : "not_found", &diag);
		return -ENOENT;
	}
	memcpy(f->vm, vm->uuid, sizeof(f->vm));
	return 0;
}

/* A tenant that is not there, or not theirs, has no events. */
static int take_tenant(struct manager_request *req, struct manager_event_filter *f)
{
	const char *s = manager_request_query(req, "tenant");

	if (s) {
		f->tenant = manager_request_tenant(req, s);
		f->tenant = f->tenant ? f->tenant : UINT32_MAX;
	}
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

static int take_words(struct manager_request *req, struct manager_event_filter *f)
{
	const char *s = manager_request_query(req, "q");
	struct bh_diag diag = {};

	if (s && manager_query_parse(s, &f->query, &diag) < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return -EINVAL;
	}
	return 0;
}

static int take_cursor(struct manager_request *req, struct manager_event_filter *f)
{
	const char *resume =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Last-Event-ID");
	uint64_t limit = 100, budget = BUDGET_MS;
	int r = manager_request_number(req, "after", 0, INT64_MAX, &f->after);

	if (r < 0 || manager_request_number(req, "before", 1, INT64_MAX, &f->before) < 0 ||
	    manager_request_number(req, "limit", 1, 10000, &limit) < 0 ||
	    manager_request_number(req, "budget", 1, BUDGET_MAX_MS, &budget) < 0) {
		return -EINVAL;
	}
	f->has_after = r > 0;
	if (resume && bh_parse_u64(resume, 0, INT64_MAX, &f->after) == 0) {
		f->has_after = true;
	}
	if (f->has_after && f->before) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'after' goes forward, 'before' back: only one of them");
		return -EINVAL;
	}
	f->limit = (uint32_t)limit;
	f->budget_ms = (uint32_t)budget;
	return 0;
}

int manager_request_events(struct manager_request *req, struct manager_event_filter *f)
{
	if (take_text(req, "type", f->type, sizeof(f->type)) < 0 ||
	    take_text(req, "host", f->host, sizeof(f->host)) < 0 || take_verdict(req, f) < 0 ||
	    take_severity(req, f) < 0 || take_vm(req, f) < 0 || take_tenant(req, f) < 0 ||
	    take_words(req, f) < 0 || take_cursor(req, f) < 0) {
		return -EINVAL;
	}
	if (manager_request_since(req, &f->since_ns) < 0) {
		return -EINVAL;
	}
	return manager_request_time(req, "until", &f->until_ns);
}

void manager_request_events_scope(struct manager_request *req, struct manager_event_filter *f)
{
	if (!f->flows) {
		manager_request_scope(req, VERB_EVENT_READ, &f->scope);
	}
	manager_request_scope(req, VERB_FLOW_READ, &f->flow_scope);
}

/* ---- pages ---- */

struct page {
	struct manager_request *req;
	struct manager_search *search; /* NULL: is done */
	bool forward, newest_first;
	uint32_t limit;
};

static void page_free(void *state)
{
	struct page *page = state;

	if (page->search) {
		manager_search_cancel(page->search);
	}
	free(page);
}

static void format_item(uint64_t id, const char *type, const char *json, void *arg)
{
	struct bh_wbuf *w = arg;

	bh_wbuf_printf(w, "{\"id\":%llu%s", (unsigned long long)id, json[1] == '}' ? "" : ",");
	bh_wbuf_str(w, json + 1);
}

static void put_items(const struct manager_search_result *result, bool turned, struct bh_wbuf *w)
{
	size_t count = result->ends.count;

	for (size_t i = 0; i < count; i++) {
		size_t at = turned ? count - 1 - i : i;
		size_t from = at ? result->ends.items[at - 1] : 0;

		if (i) {
			bh_wbuf_u8(w, ',');
		}
		bh_wbuf_put(w, result->text.data + from, result->ends.items[at] - from);
	}
}

/* `next` is there when there may be more in this direction: `after` or `before` of the next page.
 * `complete` false: the time was over before the page was full; ask for the next one all the same.
 */
static void on_page(struct manager_search_result *result, void *arg)
{
	struct page *page = arg;
	const struct manager_listed *listed = &result->listed;
	struct manager_request *req = page->req;
	struct bh_wbuf w;

	page->search = NULL;
	if (result->err) {
		manager_reply_failed(req, result->err, &result->diag);
		return;
	}
	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w, "{\"items\":[");
	put_items(result, page->forward ? page->newest_first : !page->newest_first, &w);
	bh_wbuf_str(&w, "]");
	if (!listed->complete) {
		bh_wbuf_printf(&w, ",\"next\":%llu", (unsigned long long)listed->scanned);
	}
	bh_wbuf_printf(&w, ",\"complete\":%s}",
		       listed->complete || listed->count == page->limit ? "true" : "false");
	manager_reply_text(req, 200, "application/json", (char *)w.data, w.size);
}

static int take_order(struct manager_request *req, bool *ret_newest)
{
	const char *s = manager_request_query(req, "order");

	if (s && strcmp(s, "newest") != 0 && strcmp(s, "oldest") != 0) {
		manager_reply_errorf(req, 400, "bad_request", "'order' must be newest or oldest");
		return -EINVAL;
	}
	*ret_newest = s && *s == 'n';
	return 0;
}

static void list(struct manager_request *req, bool flows)
{
	struct manager_event_filter filter = {.flows = flows};
	struct page *page;
	bool newest = false;

	if (take_order(req, &newest) < 0 || manager_request_events(req, &filter) < 0) {
		return;
	}
	manager_request_events_scope(req, &filter);
	if (manager_request_accepts(req, "text/event-stream")) {
		manager_follow(req, &filter);
		return;
	}
	page = bh_alloc(sizeof(*page));
	page->req = req;
	page->forward = filter.has_after;
	page->newest_first = newest;
	page->limit = filter.limit;
	page->search =
		manager_events_search(req->parts->events, &filter, format_item, on_page, page);
	if (!page->search) {
		free(page);
		req->retry_after_s = 1;
		manager_reply_errorf(req, 503, "busy", "too many searches are waiting");
		return;
	}
	req->state = page;
	req->state_free = page_free;
	manager_request_later(req);
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
	{"GET", "events", list_events, VERB_EVENT_READ, OBJECT_LIST, 0, NULL, EVENTS_QUERY},
	{"GET", "flows", list_flows, VERB_FLOW_READ, OBJECT_LIST, 0, NULL, EVENTS_QUERY},
	{},
};
