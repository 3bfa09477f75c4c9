/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead flow, bulkhead event: lists and live streams. A stream survives a restart of the
 * manager: it asks again from the last event that it printed, so nothing is missing in between.
 */
#include "cli/cmd.h"

#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "cli/download.h"
#include "cli/flow.h"
#include "cli/sse.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define LIMIT_DEFAULT	 100
#define LIMIT_MAX	 10000
#define RETRY_FIRST_MS	 500
#define RETRY_LONGEST_MS 15000

struct query {
	struct cli *cli;
	const char *route; /* "/flows" */
	const struct cli_call *call;
	struct cli_flow_filter filter;
	uint64_t limit;
	char last_id[CLI_SSE_ID_SIZE]; /* "" before the first */
	uint64_t bad_events;
};

static int query_init(struct query *query, struct cli *cli, const struct cli_call *call,
		      const char *route)
{
	const char *limit = cli_call_value(call, "limit");
	const char *port = cli_call_value(call, "port");

	*query = (struct query){.cli = cli, .call = call, .route = route, .limit = LIMIT_DEFAULT};
	if (limit && bh_parse_u64(limit, 1, LIMIT_MAX, &query->limit)) {
		return cli_fail(cli, CLI_EXIT_USAGE, "--limit is a number from 1 to %d", LIMIT_MAX);
	}
	if (port && cli_flow_filter_port(&query->filter, port)) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"--port looks like tcp/3306, 3306 or icmp, not \"%s\"", port);
	}
	query->filter.address = cli_call_value(call, "address");
	return CLI_EXIT_OK;
}

static bool filters_here(const struct query *query)
{
	return query->filter.has_port || query->filter.has_proto || query->filter.address;
}

/* after: "" to leave it out. limit 0: none. Owned. */
static char *query_path(const struct query *query, const char *after, uint64_t limit, bool since)
{
	static const char *const passed[] = {"vm",   "host",	 "tenant", "verdict",
					     "type", "severity", "until"};
	struct bh_wbuf path;
	char *copy;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, query->route);
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(passed); i++) {
		cli_query_add(&path, passed[i], cli_call_value(query->call, passed[i]));
	}
	cli_query_add(&path, "q", cli_call_value(query->call, "search"));
	if (since) {
		cli_query_add(&path, "since", cli_call_value(query->call, "since"));
	}
	cli_query_add(&path, "after", *after ? after : NULL);
	if (limit) {
		BH_FREE char *text = bh_asprintf("%llu", (unsigned long long)limit);

		cli_query_add(&path, "limit", text);
	}
	copy = bh_strdup(bh_wbuf_cstr(&path));
	bh_wbuf_done(&path);
	return copy;
}

static void print_event(struct query *query, const json_t *event)
{
	struct cli_output *out = &query->cli->out;
	struct bh_wbuf line;

	out->now_ns = bh_time_wall_ns();
	if (out->format == CLI_FORMAT_JSON) {
		cli_show_json(out, event, true);
	} else {
		bh_wbuf_init(&line, 0);
		cli_event_format(out, event, &line);
		fprintf(out->file, "%s\n", bh_wbuf_cstr(&line));
		bh_wbuf_done(&line);
	}
}

/* The newest `limit` of items that pass the filter of this side. Owned array. */
static json_t *select_items(const struct query *query, const json_t *items)
{
	json_t *chosen = json_array();

	for (size_t i = json_array_size(items); i > 0 && json_array_size(chosen) < query->limit;
	     i--) {
		json_t *event = json_array_get(items, i - 1);

		if (cli_flow_filter_match(&query->filter, event)) {
			json_array_insert(chosen, 0, event);
		}
	}
	return chosen;
}

/* Remembers where the list ended. */
static void note_last(struct query *query, const json_t *items)
{
	size_t count = json_array_size(items);

	if (count) {
		snprintf(query->last_id, sizeof(query->last_id), "%llu",
			 (unsigned long long)bh_json_u64_or(json_array_get(items, count - 1), "id",
							    0));
	}
}

/* The manager looks for a while at a time: what is older than it came to is asked for anew. */
static int fetch_older(struct query *query, const char *path, uint64_t limit, json_t *body)
{
	json_t *items = json_object_get(body, "items");
	uint64_t next = bh_json_u64_or(body, "next", 0);
	bool complete = !json_is_false(json_object_get(body, "complete"));

	while (!complete && next && json_array_size(items) < limit) {
		char mark = strchr(path, '?') ? '&' : '?';
		BH_FREE char *more =
			bh_asprintf("%s%cbefore=%llu", path, mark, (unsigned long long)next);
		BH_JSON json_t *page = NULL;
		json_t *older;
		int r = cli_get(query->cli, more, &page);

		if (r) {
			return r;
		}
		older = json_object_get(page, "items");
		for (size_t i = json_array_size(older); i > 0 && json_array_size(items) < limit;
		     i--) {
			json_array_insert(items, 0, json_array_get(older, i - 1));
		}
		complete = !json_is_false(json_object_get(page, "complete")) ||
			   bh_json_u64_or(page, "next", 0) >= next;
		next = bh_json_u64_or(page, "next", 0);
	}
	return CLI_EXIT_OK;
}

static int fetch(struct query *query, json_t **ret_items)
{
	uint64_t limit = filters_here(query) ? LIMIT_MAX : query->limit;
	BH_FREE char *path = query_path(query, "", limit, true);
	BH_JSON json_t *body = NULL;
	int r = cli_get(query->cli, path, &body);

	if (!r) {
		r = fetch_older(query, path, limit, body);
	}
	if (r) {
		return r;
	}
	note_last(query, json_object_get(body, "items"));
	*ret_items = select_items(query, json_object_get(body, "items"));
	return CLI_EXIT_OK;
}

static int list(struct query *query)
{
	const struct cli_output *out = &query->cli->out;
	BH_JSON json_t *items = NULL;
	int r = fetch(query, &items);

	if (r) {
		return r;
	}
	if (out->format == CLI_FORMAT_JSON) {
		BH_JSON json_t *whole = json_pack("{s:O}", "items", items);

		cli_show_json(out, whole, false);
		return CLI_EXIT_OK;
	}
	for (size_t i = 0; i < json_array_size(items); i++) {
		print_event(query, json_array_get(items, i));
	}
	if (json_array_size(items) == 0) {
		fprintf(stderr, "Nothing that matches.\n");
	}
	return CLI_EXIT_OK;
}

/* ---- following ---- */

struct follower {
	struct query *query;
	struct cli_sse sse;
	bool heard; /* something came on this connection */
};

static int on_event(const struct cli_sse_event *event, void *arg)
{
	struct follower *follower = arg;
	struct query *query = follower->query;
	BH_JSON json_t *json = NULL;

	if (bh_json_load(event->data, strlen(event->data), 0, &json, NULL) ||
	    !json_is_object(json)) {
		query->bad_events++;
		return 0;
	}
	if (*event->id) {
		snprintf(query->last_id, sizeof(query->last_id), "%s", event->id);
	}
	if (cli_flow_filter_match(&query->filter, json)) {
		print_event(query, json);
		if (fflush(query->cli->out.file)) {
			return -EPIPE;
		}
	}
	return 0;
}

static int on_chunk(const char *data, size_t size, void *arg)
{
	struct follower *follower = arg;

	follower->heard = true;
	return cli_sse_feed(&follower->sse, data, size, on_event, follower);
}

static void nap(unsigned int ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)nanosleep(&time, NULL);
}

/* One connection. CLI_EXIT_OK: it broke and can be tried again; else the end (reported). */
static int follow_once(struct follower *follower, bool first, struct bh_diag *diag)
{
	struct query *query = follower->query;
	BH_FREE char *below = query_path(query, query->last_id, 0, false);
	BH_FREE char *path = bh_asprintf("/v1%s", below);
	struct cli_stream stream = {
		.path = path,
		.last_id = *query->last_id ? query->last_id : NULL,
		.fn = on_chunk,
		.arg = follower,
	};
	struct cli_response response;
	struct cli_client *client = cli_client_of(query->cli);
	int r;

	if (!client) {
		return CLI_EXIT_USAGE;
	}
	cli_sse_restart(&follower->sse);
	follower->heard = false;
	r = cli_client_stream(client, &stream, &response, diag);
	if (r == -ECANCELED) {
		return cli_fail(query->cli, CLI_EXIT_SERVER,
				"the stream cannot be read: an event is too long, or "
				"the output is closed");
	}
	if (r && first && !follower->heard) {
		return cli_fail_diag(query->cli, CLI_EXIT_UNREACHABLE, diag);
	}
	if (!r && response.status != 200 && (first || response.status < 500)) {
		r = cli_refused(query->cli, &response);
		cli_response_done(&response);
		return r;
	}
	if (!r) {
		(void)bh_diag_set(diag, 0, "the manager closed the stream");
	}
	cli_response_done(&response);
	return CLI_EXIT_OK;
}

/* Prints what --since asks for, and says from which event on the stream has to begin: so nothing is
 * missing between list and stream, nor when the first connection breaks before its first event. */
static int find_start(struct query *query)
{
	BH_JSON json_t *items = NULL;
	BH_JSON json_t *body = NULL;
	BH_FREE char *path = query_path(query, "", 1, false);
	int r = CLI_EXIT_OK;

	if (cli_call_value(query->call, "since")) {
		r = fetch(query, &items);
	}
	for (size_t i = 0; !r && i < json_array_size(items); i++) {
		print_event(query, json_array_get(items, i));
	}
	fflush(query->cli->out.file);
	if (r || *query->last_id) {
		return r;
	}
	r = cli_get(query->cli, path, &body);
	note_last(query, json_object_get(body, "items"));
	if (!*query->last_id) {
		snprintf(query->last_id, sizeof(query->last_id), "0");
	}
	return r;
}

static int follow(struct query *query)
{
	struct follower follower = {.query = query};
	unsigned int wait_ms = RETRY_FIRST_MS;
	bool first = true;
	bool told = false;
	int r = find_start(query);

	cli_sse_init(&follower.sse);
	while (!r) {
		struct bh_diag diag = {};

		r = follow_once(&follower, first, &diag);
		if (r) {
			break;
		}
		if (follower.heard) {
			told = false;
			wait_ms = RETRY_FIRST_MS;
		}
		if (!told) {
			cli_say(stderr, "bulkhead: %s; trying again\n", diag.text);
			told = true;
		}
		nap(wait_ms);
		wait_ms = wait_ms * 2 < RETRY_LONGEST_MS ? wait_ms * 2 : RETRY_LONGEST_MS;
		first = false;
	}
	cli_sse_done(&follower.sse);
	return r;
}

/* ---- commands ---- */

static int run(struct cli *cli, const struct cli_call *call, const char *route, bool live)
{
	struct query query;
	int r = query_init(&query, cli, call, route);

	if (r) {
		return r;
	}
	return live ? follow(&query) : list(&query);
}

static int event_export(struct cli *cli, const struct cli_call *call)
{
	const char *format = cli_call_value(call, "format");
	bool table = format && strcmp(format, "csv") == 0;
	struct query query = {.call = call, .route = "/events:export"};
	BH_FREE char *filters = query_path(&query, "", 0, true);
	BH_FREE char *path = NULL;
	struct cli_download what = {.file = cli_call_value(call, "file"),
				    .lines = "events",
				    .head_lines = table ? 1 : 0};

	if (format && !table && strcmp(format, "ndjson") != 0) {
		return cli_fail(cli, CLI_EXIT_USAGE, "--format is ndjson or csv, not \"%s\"",
				format);
	}
	path = bh_asprintf("%s%c%s", filters, strchr(filters, '?') ? '&' : '?',
			   table ? "format=csv" : "format=ndjson");
	what.path = path;
	return cli_download(cli, &what);
}

int cli_cmd_flow(struct cli *cli, const struct cli_call *call)
{
	return run(cli, call, "/flows", cli_call_flag(call, "follow"));
}

static int flow_follow(struct cli *cli, const struct cli_call *call)
{
	return run(cli, call, "/flows", true);
}

static int event_list(struct cli *cli, const struct cli_call *call)
{
	return run(cli, call, "/events", cli_call_flag(call, "follow"));
}

static int event_follow(struct cli *cli, const struct cli_call *call)
{
	return run(cli, call, "/events", true);
}

const struct cli_option cli_flow_options[] = {
	{"follow", 'f', NULL, "go on with what happens now", NULL},
	{"vm", 0, "VM", "either end is this VM", CLI_WORDS_VM},
	{"host", 0, "HOST", "seen on this host", CLI_WORDS_HOST},
	{"verdict", 0, "VERDICT", "allow, deny or reject", "allow|deny|reject"},
	{"type", 0, "TYPE", "flow.new, flow.refused, flow.closed, guard.*",
	 "flow.new|flow.refused|flow.closed|guard.*"},
	{"port", 'p', "PORT", "tcp/3306, 3306, icmp", NULL},
	{"address", 0, "ADDRESS", "either end has this address", NULL},
	{"tenant", 0, "TENANT", "either end is of this tenant", CLI_WORDS_TENANT},
	{"search", 's', "WORDS", "with these words; word*, \"a phrase\", member:word, -word", NULL},
	{"since", 0, "TIME", "5m, 2h, 1d or an RFC 3339 time", NULL},
	{"until", 0, "TIME", "likewise", NULL},
	{"limit", 'n', "N", "the newest N (100)", NULL},
	{},
};

static const struct cli_option event_options[] = {
	{"follow", 'f', NULL, "go on with what happens now", NULL},
	{"type", 0, "TYPE", "a type, or its beginning: vm., guard.*", NULL},
	{"vm", 0, "VM", "about this VM", CLI_WORDS_VM},
	{"host", 0, "HOST", "of this host", CLI_WORDS_HOST},
	{"tenant", 0, "TENANT", "of this tenant", CLI_WORDS_TENANT},
	{"severity", 0, "SEVERITY", "this one or graver", "info|notice|warning|critical"},
	{"search", 's', "WORDS", "with these words; word*, \"a phrase\", member:word, -word", NULL},
	{"since", 0, "TIME", "5m, 2h, 1d or an RFC 3339 time", NULL},
	{"until", 0, "TIME", "likewise", NULL},
	{"limit", 'n', "N", "the newest N (100)", NULL},
	{},
};

static const struct cli_option export_options[] = {
	{"type", 0, "TYPE", "a type, or its beginning: vm., guard.*", NULL},
	{"vm", 0, "VM", "about this VM", CLI_WORDS_VM},
	{"host", 0, "HOST", "of this host", CLI_WORDS_HOST},
	{"tenant", 0, "TENANT", "of this tenant", CLI_WORDS_TENANT},
	{"severity", 0, "SEVERITY", "this one or graver", "info|notice|warning|critical"},
	{"search", 's', "WORDS", "with these words; word*, \"a phrase\", member:word, -word", NULL},
	{"since", 0, "TIME", "5m, 2h, 1d or an RFC 3339 time", NULL},
	{"until", 0, "TIME", "likewise", NULL},
	{"format", 0, "FORMAT", "lines of JSON (ndjson), or a table", "ndjson|csv"},
	{"file", 'f', "FILE", "into this file, which must not exist", CLI_WORDS_FILE},
	{},
};

const struct cli_command cli_flow_commands[] = {
	{.name = "list",
	 .summary = "the newest flows",
	 .options = cli_flow_options,
	 .run = cli_cmd_flow},
	{.name = "follow",
	 .summary = "flows as they happen",
	 .options = cli_flow_options,
	 .run = flow_follow},
	{},
};

const struct cli_command cli_event_commands[] = {
	{.name = "list",
	 .summary = "the newest events",
	 .options = event_options,
	 .run = event_list},
	{.name = "follow",
	 .summary = "events as they happen",
	 .options = event_options,
	 .run = event_follow},
	{.name = "export",
	 .summary = "all events that match, oldest first, as lines of JSON or a table",
	 .details =
		 "Needs a fresh second factor, and is in the audit log. What breaks off is said\n"
		 "to be not complete, and the exit status is not 0.",
	 .options = export_options,
	 .run = event_export},
	{},
};
