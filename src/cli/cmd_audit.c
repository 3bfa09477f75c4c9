/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead audit: who did what; exporting the log, and verifying an exported one without a
 * manager. */
#include "cli/cmd.h"

#include "base/file.h"
#include "base/json.h"
#include "base/util.h"
#include "cli/download.h"
#include "cli/text.h"
#include "model/audit_verify.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define LIMIT_DEFAULT 100
#define LIMIT_MAX     100000
#define PAGE_MAX      1000
#define KEY_FILE_MAX  16384
#define BLOCK	      65536

/* ---- list ---- */

static void cell_time(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	char text[CLI_TIME_SIZE] = "";
	uint64_t time = cli_time_parse(bh_json_str_or(row, "time", ""));

	if (time) {
		cli_time_short(time, out->now_ns, text);
	}
	cli_cell_printf(cell, "%s", text);
}

static void cell_result(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	const char *result = bh_json_str_or(row, "result", "");

	cli_cell_printf(cell, "%s", *result ? result : bh_json_str_or(row, "state", ""));
	cell->colour = !strcmp(result, "done") ? CLI_COLOUR_GOOD
		       : *result	       ? CLI_COLOUR_BAD
					       : CLI_COLOUR_DIM;
}

static void cell_state(const struct cli_output *out, const json_t *row, struct cli_cell *cell,
		       const char *key)
{
	const json_t *value = json_object_get(row, key);
	BH_FREE char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	cli_cell_printf(cell, "%s", text ? text : "");
}

static void cell_before(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cell_state(out, row, cell, "before");
}

static void cell_after(const struct cli_output *out, const json_t *row, struct cli_cell *cell)
{
	cell_state(out, row, cell, "after");
}

static const struct cli_column columns[] = {
	{"TIME", NULL, cell_time, 0},
	{"USER", "user", NULL, 0},
	{"FROM", "from", NULL, CLI_COL_WIDE},
	{"ROLE", "role", NULL, CLI_COL_WIDE},
	{"FACTOR", "factor", NULL, CLI_COL_WIDE},
	{"TENANT", "name", NULL, 0},
	{"ACT", "act", NULL, 0},
	{"OBJECT", "object", NULL, CLI_COL_CUT},
	{"RESULT", NULL, cell_result, 0},
	{"REASON", "reason", NULL, CLI_COL_CUT},
	{"APPROVAL", "approval", NULL, CLI_COL_WIDE},
	{"BEFORE", NULL, cell_before, CLI_COL_WIDE | CLI_COL_CUT},
	{"AFTER", NULL, cell_after, CLI_COL_WIDE | CLI_COL_CUT},
	{"ID", "id", NULL, CLI_COL_WIDE},
};

static char *list_path(const struct cli_call *call, uint64_t limit, const char *before)
{
	static const char *const passed[] = {"user",  "act",   "object", "tenant",
					     "since", "until", "result", "q"};
	BH_FREE char *number = bh_asprintf("%llu", (unsigned long long)limit);
	struct bh_wbuf path;
	char *copy;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/audit");
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(passed); i++) {
		cli_query_add(&path, passed[i], cli_call_value(call, passed[i]));
	}
	cli_query_add(&path, "limit", number);
	cli_query_add(&path, "before", before);
	copy = bh_strdup(bh_wbuf_cstr(&path));
	bh_wbuf_done(&path);
	return copy;
}

/* Beginnings of acts are left out: their ends say more. --all shows them. */
static void take_items(const struct cli_call *call, const json_t *body, uint64_t limit,
		       json_t *items)
{
	const json_t *page = json_object_get(body, "items");

	for (size_t i = 0; i < json_array_size(page) && json_array_size(items) < limit; i++) {
		json_t *entry = json_array_get(page, i);

		if (cli_call_flag(call, "all") ||
		    strcmp(bh_json_str_or(entry, "state", ""), "begun") != 0) {
			json_array_append(items, entry);
		}
	}
}

static int audit_list(struct cli *cli, const struct cli_call *call)
{
	const char *text = cli_call_value(call, "limit");
	BH_JSON json_t *items = json_array();
	BH_JSON json_t *whole = NULL;
	BH_FREE char *before = NULL;
	uint64_t limit = LIMIT_DEFAULT;

	if (text && bh_parse_u64(text, 1, LIMIT_MAX, &limit)) {
		return cli_fail(cli, CLI_EXIT_USAGE, "--limit is a number from 1 to %d", LIMIT_MAX);
	}
	for (;;) {
		BH_FREE char *path =
			list_path(call, limit * 2 < PAGE_MAX ? limit * 2 : PAGE_MAX, before);
		BH_JSON json_t *body = NULL;
		int r = cli_send(cli, "GET", path, NULL, &body);

		if (r) {
			return r;
		}
		take_items(call, body, limit, items);
		free(before);
		before = bh_strdup(bh_json_str_or(body, "next", ""));
		if (!*before || json_array_size(items) >= limit) {
			break;
		}
	}
	whole = json_pack("{s:O}", "items", items);
	cli_show_list(&cli->out, columns, BH_ARRAY_SIZE(columns), items, whole,
		      "Nothing is on record for this.");
	return CLI_EXIT_OK;
}

/* ---- export ---- */

static char *export_path(const struct cli_call *call)
{
	static const char *const passed[] = {"tenant", "since", "until"};
	struct bh_wbuf path;
	char *copy;

	bh_wbuf_init(&path, 0);
	bh_wbuf_str(&path, "/audit:export");
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(passed); i++) {
		cli_query_add(&path, passed[i], cli_call_value(call, passed[i]));
	}
	copy = bh_strdup(bh_wbuf_cstr(&path));
	bh_wbuf_done(&path);
	return copy;
}

static int audit_export(struct cli *cli, const struct cli_call *call)
{
	BH_FREE char *path = export_path(call);
	struct cli_download what = {.path = path, .file = cli_call_value(call, "file")};

	return cli_download(cli, &what);
}

/* ---- verify ---- */

struct keys {
	struct bh_audit_key *items[BH_AUDIT_VERIFY_KEYS];
	size_t count;
};

static void keys_done(struct keys *keys)
{
	for (size_t i = 0; i < keys->count; i++) {
		bh_audit_key_free(keys->items[i]);
	}
}

static int keys_read(struct cli *cli, const struct cli_call *call, struct keys *keys)
{
	for (unsigned int i = 0; i < call->value_count; i++) {
		struct bh_diag diag = {};
		BH_FREE char *pem = NULL;
		size_t size;

		if (strcmp(call->values[i].option->name, "key") != 0) {
			continue;
		}
		if (keys->count == BH_AUDIT_VERIFY_KEYS) {
			return cli_fail(cli, CLI_EXIT_USAGE, "at most %d keys",
					BH_AUDIT_VERIFY_KEYS);
		}
		if (bh_file_read(call->values[i].value, KEY_FILE_MAX, &pem, &size, &diag) < 0 ||
		    bh_audit_key_read(pem, size, &keys->items[keys->count], &diag) < 0) {
			return cli_fail_diag(cli, CLI_EXIT_LOCAL, &diag);
		}
		keys->count++;
	}
	return CLI_EXIT_OK;
}

static json_t *report_json(const struct bh_audit_report *r, int wrong, const struct bh_diag *diag)
{
	json_t *obj =
		json_pack("{s:b, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:b}", "good",
			  wrong == 0, "log", r->log, "tenant", (json_int_t)r->tenant, "name",
			  r->name, "from", (json_int_t)r->from, "to", (json_int_t)r->to, "entries",
			  (json_int_t)r->count, "checkpoints", (json_int_t)r->checkpoints, "begun",
			  r->begun, "ended", r->ended, "key", r->signer, "trusted", r->trusted);

	if (wrong) {
		json_object_set_new(obj, "wrong",
				    json_string(bh_audit_wrong_name((enum bh_audit_wrong)wrong)));
		json_object_set_new(obj, "line", json_integer((json_int_t)r->wrong_line));
		json_object_set_new(obj, "message", json_string(diag->text));
	}
	return obj;
}

static void show(struct cli *cli, const char *file, const struct bh_audit_report *r, int wrong,
		 const struct bh_diag *diag)
{
	BH_FREE char *whose = r->tenant ? bh_asprintf("of tenant %s", r->name) : NULL;

	if (cli->out.format == CLI_FORMAT_JSON) {
		BH_JSON json_t *obj = report_json(r, wrong, diag);

		cli_show_json(&cli->out, obj, false);
		return;
	}
	if (wrong) {
		cli_say(stdout, "%s: NOT GOOD (%s)\n%s\n%llu entries before that were looked at.\n",
			file, bh_audit_wrong_name((enum bh_audit_wrong)wrong), diag->text,
			(unsigned long long)r->count);
		return;
	}
	cli_say(stdout,
		"%s: good. %llu entries %s (%llu to %llu)%s%s%s%s, %llu checkpoints, signed with "
		"key %s.\n",
		file, (unsigned long long)r->count, whose ? whose : "of everything",
		(unsigned long long)r->from, (unsigned long long)r->to, r->count ? ", " : "",
		r->begun, r->count ? " to " : "", r->ended, (unsigned long long)r->checkpoints,
		r->signer);
	if (!r->trusted) {
		printf("The key is the one that the file names: compare it with `bulkhead audit "
		       "key`, or give it with --key.\n");
	}
}

static int verify_fd(struct cli *cli, int fd, struct bh_audit_verifier *v, const char *file)
{
	BH_FREE char *block = bh_alloc(BLOCK);
	struct bh_audit_report report;
	struct bh_diag diag = {};
	int wrong = 0;

	for (;;) {
		ssize_t n = read(fd, block, BLOCK);

		if (n < 0 && errno != EINTR) {
			return cli_fail(cli, CLI_EXIT_LOCAL, "%s: %s", file, strerror(errno));
		}
		if (n == 0) {
			break;
		}
		if (n > 0) {
			wrong = bh_audit_verify_bytes(v, block, (size_t)n, &diag);
		}
		if (wrong) {
			break;
		}
	}
	if (!wrong) {
		wrong = bh_audit_verify_end(v, &report, &diag);
	}
	report = *bh_audit_verify_report(v);
	show(cli, file, &report, wrong, &diag);
	return wrong ? CLI_EXIT_NO : CLI_EXIT_OK;
}

static int audit_verify(struct cli *cli, const struct cli_call *call)
{
	const char *file = call->args[0];
	struct keys keys = {};
	struct bh_audit_verifier *v;
	BH_CLOSE int fd = -1;
	int r = keys_read(cli, call, &keys);

	if (r == CLI_EXIT_OK) {
		fd = strcmp(file, "-") == 0 ? dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			r = cli_fail(cli, CLI_EXIT_LOCAL, "%s: %s", file, strerror(errno));
		}
	}
	if (r == CLI_EXIT_OK) {
		v = bh_audit_verifier_new(keys.items, keys.count);
		r = verify_fd(cli, fd, v, file);
		bh_audit_verifier_free(v);
	}
	keys_done(&keys);
	return r;
}

/* ---- key, prune ---- */

static int audit_key(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	int r = cli_get(cli, "/audit/key", &body);

	if (r) {
		return r;
	}
	if (cli->out.format == CLI_FORMAT_JSON) {
		cli_show_json(&cli->out, body, false);
	} else {
		cli_say(stdout, "%s", bh_json_str_or(body, "pem", ""));
	}
	return CLI_EXIT_OK;
}

static int audit_prune(struct cli *cli, const struct cli_call *call)
{
	BH_JSON json_t *body = NULL;
	uint64_t to;
	int r;

	if (bh_parse_u64(call->args[0], 1, INT64_MAX, &to) < 0) {
		return cli_fail(cli, CLI_EXIT_USAGE, "\"%s\" is no number of an entry",
				call->args[0]);
	}
	body = json_pack("{s:I, s:s}", "to", (json_int_t)to, "head", call->args[1]);
	r = cli_send(cli, "POST", "/audit:prune", body, NULL);
	if (r == CLI_EXIT_OK && cli->out.format != CLI_FORMAT_JSON) {
		printf("Entries up to %llu are only in your archive now.\n",
		       (unsigned long long)to);
	}
	return r;
}

static const struct cli_option list_options[] = {
	{"user", 'u', "USER", "by this user", NULL},
	{"act", 0, "ACT", "this act; \"vm.*\": those of VMs", NULL},
	{"object", 0, "OBJECT", "on this object: vm/UUID, policy/TENANT/NAME", NULL},
	{"tenant", 0, "TENANT", "of this tenant", CLI_WORDS_TENANT},
	{"result", 0, "RESULT", "with this result", "done|refused|failed|denied|unknown"},
	{"since", 0, "TIME", "5m, 2h, 1d or an RFC 3339 time", NULL},
	{"until", 0, "TIME", "an RFC 3339 time", NULL},
	{"q", 'q', "TEXT", "with this text anywhere in it", NULL},
	{"all", 'a', NULL, "beginnings of acts too, not only their ends", NULL},
	{"limit", 'n', "N", "the newest N (100)", NULL},
	{},
};

static const struct cli_option export_options[] = {
	{"tenant", 0, "TENANT", "the part of this tenant", CLI_WORDS_TENANT},
	{"since", 0, "TIME", "5m, 2h, 1d or an RFC 3339 time", NULL},
	{"until", 0, "TIME", "an RFC 3339 time", NULL},
	{"file", 'f', "FILE", "into this file, which must not exist", CLI_WORDS_FILE},
	{},
};

static const struct cli_option verify_options[] = {
	{"key", 'k', "FILE", "public key (PEM) that is trusted; may be given again",
	 CLI_WORDS_FILE},
	{},
};

const struct cli_command cli_audit_commands[] = {
	{.name = "list",
	 .summary = "the newest entries",
	 .options = list_options,
	 .run = audit_list},
	{.name = "export",
	 .summary = "the log with its signatures, for archives and for verifying",
	 .options = export_options,
	 .run = audit_export},
	{.name = "verify",
	 .args = "FILE",
	 .args_min = 1,
	 .args_max = 1,
	 .words = CLI_WORDS_FILE,
	 .summary = "is an exported log whole and unchanged? needs no manager",
	 .details = "Names the first entry that was changed, is missing or out of order, or that\n"
		    "beginning or end were cut off. Exit 1: it is not good. FILE - is standard\n"
		    "input.",
	 .options = verify_options,
	 .run = audit_verify},
	{.name = "key", .summary = "the public key that the log is signed with", .run = audit_key},
	{.name = "prune",
	 .args = "NUMBER HEAD",
	 .args_min = 2,
	 .args_max = 2,
	 .summary = "take away entries that are in an archive",
	 .details = "NUMBER and HEAD are `to` and `head` of the statement that an export of\n"
		    "everything ended with.",
	 .run = audit_prune},
	{},
};
