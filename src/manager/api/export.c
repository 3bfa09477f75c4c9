/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/events:export: events as one stream, as lines of JSON or as a table. */
#include "manager/api/request.h"

#include "base/jtext.h"

#define EXPORT_QUERY "type vm host tenant severity verdict since until q format"

/* Columns of the table; what has none is in the last one, the event as a whole. */
static const char *const columns[] = {
	"time",	  "type", "severity", "host",  "tenant", "vm",	    "vm_name",	 "src",
	"src_vm", "dst",  "dst_vm",   "proto", "dport",	 "verdict", "rule_text", "reason",
};

static void line_json(uint64_t id, const char *type, const char *json, void *arg)
{
	struct bh_wbuf *w = arg;

	bh_wbuf_printf(w, "{\"id\":%llu%s", (unsigned long long)id, json[1] == '}' ? "" : ",");
	bh_wbuf_str(w, json + 1);
	bh_wbuf_u8(w, '\n');
}

/* RFC 4180. Spreadsheets take a cell that begins like this for a formula, and names of VMs are
 * their owners'. */
static void put_cell(struct bh_wbuf *w, const char *s, size_t size)
{
	bh_wbuf_str(w, ",\"");
	if (size && strchr("=+-@\t\r", *s)) {
		bh_wbuf_u8(w, '\'');
	}
	for (size_t i = 0; i < size; i++) {
		if (s[i] == '"') {
			bh_wbuf_u8(w, '"');
		}
		bh_wbuf_u8(w, (uint8_t)s[i]);
	}
	bh_wbuf_u8(w, '"');
}

static void line_csv(uint64_t id, const char *type, const char *json, void *arg)
{
	struct bh_wbuf *w = arg;
	struct bh_jtext event;
	bool read = bh_jtext_parse(json, strlen(json), &event, NULL) == 0;

	bh_wbuf_printf(w, "%llu", (unsigned long long)id);
	for (size_t i = 0; i < BH_ARRAY_SIZE(columns); i++) {
		const struct bh_jtext_member *m = read ? bh_jtext_find(&event, columns[i]) : NULL;

		put_cell(w, m ? event.text + m->value : "", m ? m->value_size : 0);
	}
	put_cell(w, json, strlen(json));
	bh_wbuf_str(w, "\r\n");
}

static void put_head(struct bh_wbuf *w)
{
	bh_wbuf_str(w, "id");
	for (size_t i = 0; i < BH_ARRAY_SIZE(columns); i++) {
		bh_wbuf_printf(w, ",%s", columns[i]);
	}
	bh_wbuf_str(w, ",event\r\n");
}

/* Of what may be exported that which may be read. */
static void narrow(struct manager_scope *scope, const struct manager_scope *read)
{
	size_t kept = 0;

	if (scope->all) {
		*scope = *read;
		return;
	}
	for (size_t i = 0; i < scope->count; i++) {
		if (manager_scope_has(read, scope->tenants[i])) {
			scope->tenants[kept++] = scope->tenants[i];
		}
	}
	scope->count = kept;
}

/* Asks for the right at each tenant whose events go out, and says whose they are. */
static bool take_scope(struct manager_request *req, struct manager_event_filter *f)
{
	struct manager_scope may, read;

	manager_request_scope(req, VERB_EVENT_EXPORT, &may);
	if (may.all && !manager_request_may(req, VERB_EVENT_EXPORT, MANAGER_PROVIDER, "events")) {
		return false;
	}
	for (size_t i = 0; !may.all && i < may.count; i++) {
		if (!manager_request_may(req, VERB_EVENT_EXPORT, may.tenants[i], "events")) {
			return false;
		}
	}
	f->scope = f->flow_scope = may;
	manager_request_scope(req, VERB_EVENT_READ, &read);
	narrow(&f->scope, &read);
	manager_request_scope(req, VERB_FLOW_READ, &read);
	narrow(&f->flow_scope, &read);
	return true;
}

static void export_events(struct manager_request *req)
{
	const char *format = manager_request_query(req, "format");
	bool csv = format && strcmp(format, "csv") == 0;
	struct manager_export how = {.format = csv ? line_csv : line_json,
				     .type = csv ? "text/csv; charset=utf-8"
						 : "application/x-ndjson",
				     .disposition = csv ? "attachment; filename=\"events.csv\""
							: "attachment; filename=\"events.jsonl\""};
	struct manager_event_filter filter = {};
	struct bh_wbuf head;

	if (format && !csv && strcmp(format, "ndjson") != 0) {
		manager_reply_errorf(req, 400, "bad_request", "'format' must be ndjson or csv");
		return;
	}
	if (manager_request_events(req, &filter) < 0 || !take_scope(req, &filter)) {
		return;
	}
	filter.has_after = true;
	filter.before = 0;
	manager_request_detail(req, "events, %s", csv ? "csv" : "ndjson");
	bh_wbuf_init(&head, 0);
	if (csv) {
		put_head(&head);
	}
	how.head = bh_wbuf_cstr(&head);
	manager_export(req, &filter, &how);
	bh_wbuf_done(&head);
}

const struct manager_route manager_routes_export[] = {
	{"GET", "events:export", export_events, VERB_EVENT_EXPORT, OBJECT_BODY, API_AUDIT_READ,
	 "event.export", EXPORT_QUERY},
	{},
};
