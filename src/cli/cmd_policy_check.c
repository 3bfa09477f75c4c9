/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead policy check, policy format: offline, with the same reader as the manager's. */
#include "cli/cmd.h"

#include "base/file.h"
#include "base/json.h"
#include "base/util.h"
#include "cli/text.h"
#include "policy/eval.h"
#include "policy/policy.h"

#include <errno.h>
#include <string.h>

struct check {
	struct cli *cli;
	struct bh_policy_set *all;
	json_t *errors;	  /* owned */
	json_t *warnings; /* owned */
	const char *tenant;
};

static json_t *place_json(const struct bh_diag *diag)
{
	BH_FREE char *clean = cli_text_clean(diag->text);
	json_t *entry = json_pack("{s:s}", "message", clean);

	if (diag->file[0]) {
		json_object_set_new(entry, "file", json_string(diag->file));
	}
	if (diag->line) {
		json_object_set_new(entry, "line", json_integer(diag->line));
		json_object_set_new(entry, "column", json_integer(diag->column));
	}
	return entry;
}

static void say(const struct check *check, enum cli_colour colour, const char *kind,
		const struct bh_diag *diag)
{
	const struct cli_output *out = &check->cli->out;
	char text[BH_DIAG_TEXT_SIZE + BH_DIAG_FILE_SIZE + 32];
	struct bh_diag place = *diag;
	BH_FREE char *clean = NULL;

	if (out->format == CLI_FORMAT_JSON) {
		return;
	}
	snprintf(place.text, sizeof(place.text), "%s%.*s", kind, BH_DIAG_TEXT_SIZE - 16,
		 diag->text);
	clean = cli_text_clean(bh_diag_format(&place, text, sizeof(text)));
	fprintf(out->file, "%s%s%s\n", cli_colour_begin(out, colour), clean,
		cli_colour_end(out, colour));
}

static void add_error(struct check *check, const struct bh_diag *diag)
{
	json_array_append_new(check->errors, place_json(diag));
	say(check, CLI_COLOUR_BAD, "error: ", diag);
}

static void add_warning(const struct bh_diag *diag, void *arg)
{
	struct check *check = arg;

	json_array_append_new(check->warnings, place_json(diag));
	say(check, CLI_COLOUR_WARN, "warning: ", diag);
}

/* Puts the policies of one file beside those of the others. */
static void merge(struct check *check, const struct bh_policy_set *set)
{
	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		struct bh_policy *policy = bh_policy_set_at(set, i);
		const struct bh_policy *other = bh_policy_set_get(
			check->all, bh_policy_tenant(policy), bh_policy_name(policy));

		if (other) {
			struct bh_diag diag = {};
			int r = bh_diag_at(
				&diag, -EEXIST, bh_policy_file(policy), bh_policy_line(policy), 1,
				"%s/%s is already there (%s:%u); a name stands for one policy",
				bh_policy_tenant(policy), bh_policy_name(policy),
				bh_policy_file(other), bh_policy_line(other));

			if (r) {
				add_error(check, &diag);
			}
		} else {
			bh_policy_set_put(check->all, policy);
		}
	}
}

/* 0, or CLI_EXIT_LOCAL (reported) when the file can't be read. */
static int read_file(struct check *check, const char *file)
{
	struct bh_policy_parse_options options = {
		.file = !strcmp(file, "-") ? "<stdin>" : file,
		.default_tenant = check->tenant,
	};
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	BH_FREE char *text = NULL;
	size_t size = 0;

	if (bh_file_read(file, BH_POLICY_TEXT_MAX, &text, &size, &diag)) {
		return cli_fail_diag(check->cli, CLI_EXIT_LOCAL, &diag);
	}
	if (bh_policy_parse(text, size, &options, &set, &diag)) {
		add_error(check, &diag);
		return CLI_EXIT_OK;
	}
	merge(check, set);
	bh_policy_set_free(set);
	return CLI_EXIT_OK;
}

static size_t rules_of(const struct bh_policy *policy)
{
	return bh_policy_rule_count(policy, BH_POLICY_EGRESS) +
	       bh_policy_rule_count(policy, BH_POLICY_INGRESS);
}

static void show_result(const struct check *check)
{
	const struct cli_output *out = &check->cli->out;
	size_t errors = json_array_size(check->errors);
	size_t warnings = json_array_size(check->warnings);
	size_t count = bh_policy_set_count(check->all);
	BH_JSON json_t *policies = json_array();
	BH_JSON json_t *whole = NULL;
	size_t rules = 0;

	for (size_t i = 0; i < count; i++) {
		const struct bh_policy *policy = bh_policy_set_at(check->all, i);

		rules += rules_of(policy);
		json_array_append_new(
			policies,
			json_pack("{s:s, s:s, s:s, s:i, s:i, s:s}", "tenant",
				  bh_policy_tenant(policy), "name", bh_policy_name(policy), "tier",
				  bh_policy_tier_name(bh_policy_tier(policy)), "order",
				  (int)bh_policy_order(policy), "rules", (int)rules_of(policy),
				  "file", bh_policy_file(policy)));
	}
	if (out->format == CLI_FORMAT_JSON) {
		whole = json_pack("{s:b, s:O, s:O, s:O}", "ok", errors == 0, "policies", policies,
				  "errors", check->errors, "warnings", check->warnings);
		cli_show_json(out, whole, false);
		return;
	}
	if (errors) {
		fprintf(out->file, "%s%zu error%s; nothing of this would be applied.%s\n",
			cli_colour_begin(out, CLI_COLOUR_BAD), errors, errors == 1 ? "" : "s",
			cli_colour_end(out, CLI_COLOUR_BAD));
		return;
	}
	fprintf(out->file, "%s" CLI_OK " %zu polic%s, %zu rule%s, %zu warning%s%s\n",
		cli_colour_begin(out, CLI_COLOUR_GOOD), count, count == 1 ? "y" : "ies", rules,
		rules == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s",
		cli_colour_end(out, CLI_COLOUR_GOOD));
}

static void check_done(struct check *check)
{
	bh_policy_set_free(check->all);
	json_decref(check->errors);
	json_decref(check->warnings);
}

static int read_all(struct check *check, const struct cli_call *call)
{
	int r = CLI_EXIT_OK;

	check->all = bh_policy_set_new();
	check->errors = json_array();
	check->warnings = json_array();
	check->tenant = cli_call_value(call, "tenant");
	for (unsigned int i = 0; i < call->arg_count && !r; i++) {
		r = read_file(check, call->args[i]);
	}
	return r;
}

int cli_cmd_policy_check(struct cli *cli, const struct cli_call *call)
{
	struct check check = {.cli = cli};
	int r = read_all(&check, call);

	if (!r) {
		if (json_array_size(check.errors) == 0) {
			(void)bh_policy_check(check.all, NULL, add_warning, &check);
		}
		show_result(&check);
		if (json_array_size(check.errors) ||
		    (cli_call_flag(call, "strict") && json_array_size(check.warnings))) {
			r = CLI_EXIT_NO;
		}
	}
	check_done(&check);
	return r;
}

int cli_cmd_policy_format(struct cli *cli, const struct cli_call *call)
{
	struct check check = {.cli = cli};
	struct bh_wbuf text;
	int r = read_all(&check, call);

	bh_wbuf_init(&text, 0);
	if (!r && json_array_size(check.errors)) {
		show_result(&check);
		r = CLI_EXIT_NO;
	} else if (!r) {
		bh_policy_set_print(check.all, &text);
		cli_say(cli->out.file, "%s", bh_wbuf_cstr(&text));
	}
	bh_wbuf_done(&text);
	check_done(&check);
	return r;
}
