/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/session.h"

#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "cli/text.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#define HASH_SHOWN 12
#define LIST_MAX   2000000 /* things; a list that goes on is none */

static int set_format(struct cli *cli, const struct cli_call *call)
{
	static const struct {
		const char *name;
		enum cli_format format;
	} formats[] = {
		{"table", CLI_FORMAT_TABLE}, {"wide", CLI_FORMAT_WIDE}, {"json", CLI_FORMAT_JSON}};
	const char *name = cli_call_value_or(call, "output", "table");

	if (cli_call_flag(call, "json")) {
		cli->out.format = CLI_FORMAT_JSON;
		return 0;
	}
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(formats); i++) {
		if (!strcmp(formats[i].name, name)) {
			cli->out.format = formats[i].format;
			return 0;
		}
	}
	return cli_fail(cli, CLI_EXIT_USAGE, "--output is table, wide or json, not \"%s\"", name);
}

static void look_at_terminal(struct cli *cli, const struct cli_call *call)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	struct winsize size = {};

	if (!isatty(STDOUT_FILENO)) {
		return;
	}
	cli->out.colour = !cli_call_flag(call, "no-color") && !(no_color && *no_color) &&
			  !(term && !strcmp(term, "dumb"));
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size)) {
		cli->out.columns = size.ws_col;
	}
}

int cli_init(struct cli *cli, const struct cli_call *call)
{
	const char *file = getenv("BULKHEAD_CONFIG");
	const char *timeout = cli_call_value(call, "timeout");
	struct bh_diag diag = {};
	uint64_t seconds;
	int r;

	cli->out.file = stdout;
	cli->out.now_ns = bh_time_wall_ns();
	r = set_format(cli, call);
	if (r) {
		return r;
	}
	look_at_terminal(cli, call);
	r = cli_config_load(&cli->config, file ? file : CLI_CONFIG_FILE, file != NULL, &diag);
	if (r) {
		return cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag);
	}
	cli_config_environment(&cli->config, getenv);
	cli_config_set(&cli->config.server, cli_call_value(call, "server"));
	if (cli_call_value(call, "token-file")) {
		free(bh_steal(&cli->config.token));
	}
	cli_config_set(&cli->config.token_file, cli_call_value(call, "token-file"));
	cli_config_set(&cli->config.ca, cli_call_value(call, "ca"));
	cli_config_set(&cli->config.fingerprint, cli_call_value(call, "fingerprint"));
	if (timeout && bh_parse_u64(timeout, 1, 3600, &seconds)) {
		return cli_fail(cli, CLI_EXIT_USAGE,
				"--timeout is a number of seconds from 1 to 3600");
	}
	if (timeout) {
		cli->config.timeout_s = seconds;
	}
	r = cli_session_load(&cli->config, &diag);
	r = r ? r : cli_config_finish(&cli->config, &diag);
	return r ? cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag) : CLI_EXIT_OK;
}

void cli_done(struct cli *cli)
{
	cli_client_free(cli->client);
	cli_config_done(&cli->config);
}

/* Words for people on stderr, or the API's error shape. Takes a new reference of nothing. */
static void report(const struct cli *cli, const json_t *error)
{
	const char *file = bh_json_str_or(error, "file", "");
	uint64_t line = bh_json_u64_or(error, "line", 0);
	uint64_t column = bh_json_u64_or(error, "column", 0);
	BH_FREE char *clean = cli_text_clean(bh_json_str_or(error, "message", "failed"));
	BH_FREE char *clean_file = cli_text_clean(file);

	fflush(cli->out.file ? cli->out.file : stdout);
	if (cli->out.format == CLI_FORMAT_JSON) {
		BH_JSON json_t *whole = json_pack("{s:O}", "error", error);
		struct cli_output out = {.file = stderr};

		cli_show_json(&out, whole, true);
		return;
	}
	fprintf(stderr, "bulkhead: ");
	if (*file || line) {
		fprintf(stderr, "%s:", *file ? clean_file : "line");
	}
	if (line) {
		fprintf(stderr, "%llu:", (unsigned long long)line);
	}
	if (line && column) {
		fprintf(stderr, "%llu:", (unsigned long long)column);
	}
	fprintf(stderr, "%s%s\n", *file || line ? " " : "", clean);
}

static const char *exit_word(int code)
{
	static const char *const words[] = {
		[CLI_EXIT_NO] = "no",
		[CLI_EXIT_USAGE] = "usage",
		[CLI_EXIT_UNREACHABLE] = "unreachable",
		[CLI_EXIT_DENIED] = "unauthorized",
		[CLI_EXIT_INVALID] = "invalid",
		[CLI_EXIT_MISSING] = "not_found",
		[CLI_EXIT_SERVER] = "server",
		[CLI_EXIT_LOCAL] = "local",
	};

	return code > 0 && code < (int)BH_ARRAY_SIZE(words) ? words[code] : "failed";
}

int cli_fail(const struct cli *cli, int code, const char *fmt, ...)
{
	BH_FREE char *text = NULL;
	BH_FREE char *clean = NULL;
	BH_JSON json_t *error = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0) {
		abort();
	}
	va_end(ap);
	clean = cli_text_clean(text);
	error = json_pack("{s:s, s:s}", "code", exit_word(code), "message", clean);
	report(cli, error);
	return code;
}

int cli_fail_diag(const struct cli *cli, int code, const struct bh_diag *diag)
{
	BH_FREE char *clean = cli_text_clean(diag->text);
	BH_JSON json_t *error = json_pack("{s:s, s:s}", "code", exit_word(code), "message", clean);

	if (diag->file[0]) {
		json_object_set_new(error, "file", json_string(diag->file));
	}
	if (diag->line) {
		json_object_set_new(error, "line", json_integer(diag->line));
		json_object_set_new(error, "column", json_integer(diag->column));
	}
	report(cli, error);
	return code;
}

struct cli_client *cli_client_of(struct cli *cli)
{
	struct cli_endpoint endpoint = {
		.server = cli->config.server,
		.token = cli->config.token,
		.ca_file = cli->config.ca,
		.fingerprint = cli->config.fingerprint,
		.timeout_s = (unsigned int)cli->config.timeout_s,
	};
	struct bh_diag diag = {};

	if (!cli->client && cli_client_new(&endpoint, &cli->client, &diag)) {
		cli_fail_diag(cli, CLI_EXIT_USAGE, &diag);
	}
	return cli->client;
}

static int exit_of_status(long status)
{
	switch (status) {
	case 401:
	case 403:
	case 429:
		return CLI_EXIT_DENIED;
	case 404:
		return CLI_EXIT_MISSING;
	default:
		return status >= 400 && status < 500 ? CLI_EXIT_INVALID : CLI_EXIT_SERVER;
	}
}

/* With code `capacity`: which table of which host would not hold it. */
static void report_capacity(const struct cli *cli, const json_t *error)
{
	static const struct cli_column columns[] = {
		{.title = "HOST", .key = "host"},
		{.title = "TABLE", .key = "table"},
		{.title = "NEEDS", .key = "need", .flags = CLI_COL_RIGHT},
		{.title = "HOLDS", .key = "capacity", .flags = CLI_COL_RIGHT},
	};
	const json_t *hosts = json_object_get(error, "hosts");
	struct cli_output out = cli->out;

	if (json_array_size(hosts) && out.format != CLI_FORMAT_JSON) {
		out.file = stderr;
		cli_show_list(&out, columns, BH_ARRAY_SIZE(columns), hosts, hosts, "");
	}
}

int cli_refused(const struct cli *cli, const struct cli_response *response)
{
	BH_JSON json_t *body = NULL;
	const json_t *error;
	int code = exit_of_status(response->status);

	if (response->status == 401 && cli->config.token_file) {
		return cli_fail(
			cli, code,
			"the manager does not know this token; give --token-file FILE (its own is "
			"admin.token in its state folder), or be root on its machine");
	}
	if (bh_json_load(response->data, response->size, 0, &body, NULL)) {
		return cli_fail(cli, code, "the manager answered with status %ld",
				response->status);
	}
	error = json_object_get(body, "error");
	if (!json_is_object(error) || !json_object_get(error, "message")) {
		return cli_fail(cli, code, "the manager answered with status %ld",
				response->status);
	}
	report(cli, error);
	report_capacity(cli, error);
	return code;
}

int cli_exchange(struct cli *cli, const struct cli_request *request,
		 struct cli_response *ret_response)
{
	BH_FREE char *path = bh_asprintf("/v1%s", request->path);
	struct cli_request whole = *request;
	struct cli_client *client = cli_client_of(cli);
	struct bh_diag diag = {};
	int r;

	*ret_response = (struct cli_response){};
	if (!client) {
		return CLI_EXIT_USAGE;
	}
	whole.path = path;
	if (cli_client_send(client, &whole, ret_response, &diag)) {
		return cli_fail_diag(cli, CLI_EXIT_UNREACHABLE, &diag);
	}
	if (ret_response->status >= 200 && ret_response->status < 300) {
		return CLI_EXIT_OK;
	}
	r = cli_refused(cli, ret_response);
	cli_response_done(ret_response);
	return r;
}

int cli_parse_body(const struct cli *cli, const struct cli_response *response, json_t **ret_body)
{
	struct bh_diag diag = {};

	*ret_body = NULL;
	if (response->size == 0) {
		return CLI_EXIT_OK;
	}
	if (bh_json_load(response->data, response->size, 0, ret_body, &diag)) {
		return cli_fail(cli, CLI_EXIT_SERVER, "the manager's answer makes no sense: %s",
				diag.text);
	}
	return CLI_EXIT_OK;
}

int cli_send(struct cli *cli, const char *method, const char *path, const json_t *body,
	     json_t **ret_body)
{
	BH_FREE char *text = body ? bh_json_dump(body) : NULL;
	struct cli_request request = {
		.method = method,
		.path = path,
		.body = text,
		.body_size = text ? strlen(text) : 0,
		.content_type = "application/json",
	};
	struct cli_response response;
	json_t *answer = NULL;
	int r = cli_exchange(cli, &request, &response);

	if (!r) {
		r = cli_parse_body(cli, &response, &answer);
	}
	cli_response_done(&response);
	if (ret_body) {
		*ret_body = answer;
	} else {
		json_decref(answer);
	}
	return r;
}

/* The items of the pages behind the first one; body then looks like one page. Lists that know their
 * total are asked for by offset; those that go by a cursor (events, audit) are their commands'. */
static int join_pages(struct cli *cli, const char *path, json_t *body)
{
	json_t *items = json_object_get(body, "total") ? json_object_get(body, "items") : NULL;

	while (json_is_array(items) && json_object_get(body, "next")) {
		unsigned long long offset = bh_json_u64_or(body, "next", 0);
		char mark = strchr(path, '?') ? '&' : '?';
		BH_FREE char *more = bh_asprintf("%s%coffset=%llu", path, mark, offset);
		BH_JSON json_t *page = NULL;
		json_t *next;
		int r = cli_send(cli, "GET", more, NULL, &page);

		if (r) {
			return r;
		}
		json_array_extend(items, json_object_get(page, "items"));
		if (json_array_size(items) > LIST_MAX ||
		    !json_array_size(json_object_get(page, "items"))) {
			return cli_fail(cli, CLI_EXIT_SERVER, "the manager's list has no end");
		}
		next = json_object_get(page, "next");
		if (bh_json_u64_or(page, "next", 0) > offset) {
			json_object_set(body, "next", next);
		} else {
			json_object_del(body, "next");
		}
	}
	return 0;
}

int cli_get(struct cli *cli, const char *path, json_t **ret_body)
{
	int r = cli_send(cli, "GET", path, NULL, ret_body);

	return r || !*ret_body ? r : join_pages(cli, path, *ret_body);
}

static void put_escaped(struct bh_wbuf *w, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || (c && strchr("-_.~", c));

		if (plain) {
			bh_wbuf_u8(w, c);
		} else {
			bh_wbuf_printf(w, "%%%02X", c);
		}
	}
}

char *cli_path(const char *before, const char *segment, const char *after)
{
	struct bh_wbuf w;
	char *path;

	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w, before);
	put_escaped(&w, segment);
	bh_wbuf_str(&w, after);
	path = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return path;
}

void cli_query_add(struct bh_wbuf *path, const char *key, const char *value)
{
	if (!value) {
		return;
	}
	bh_wbuf_printf(path, "%s%s=", strchr(bh_wbuf_cstr(path), '?') ? "&" : "?", key);
	put_escaped(path, value);
}

void cli_cell_age(const struct cli_output *out, const json_t *time, struct cli_cell *cell)
{
	uint64_t at = json_is_string(time) ? cli_time_parse(json_string_value(time)) : 0;
	char text[CLI_TIME_SIZE] = "never";

	if (at) {
		cli_time_age(at, out->now_ns, text);
	}
	cli_cell_printf(cell, "%s", text);
}

void cli_cell_hash(const json_t *hash, struct cli_cell *cell)
{
	if (json_is_string(hash)) {
		cli_cell_printf(cell, "%.*s", HASH_SHOWN, json_string_value(hash));
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *cli_labels_text(const json_t *labels)
{
	size_t count = json_object_size(labels);
	const char **keys = bh_alloc_array(count + 1, sizeof(*keys));
	struct bh_wbuf w;
	const char *key;
	json_t *value;
	char *text;
	size_t i = 0;

	json_object_foreach ((json_t *)labels, key, value) {
		keys[i++] = key;
	}
	qsort(keys, count, sizeof(*keys), by_name);
	bh_wbuf_init(&w, 0);
	for (i = 0; i < count; i++) {
		bh_wbuf_printf(&w, "%s%s=%s", i ? " " : "", keys[i],
			       bh_json_str_or(labels, keys[i], ""));
	}
	text = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	free(keys);
	return text;
}
