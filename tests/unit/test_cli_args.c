/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static int nothing(struct cli *cli, const struct cli_call *call)
{
	return 0;
}

static const struct cli_option global[] = {
	{"server", 's', "URL", "where", NULL},
	{"json", 'j', NULL, "machine", NULL},
	{"help", 'h', NULL, "help", NULL},
	{"version", 'V', NULL, "version", NULL},
	{},
};
static const struct cli_option apply_options[] = {
	{"wait", 'w', "[=SECONDS]", "wait", NULL},
	{"tenant", 0, "TENANT", "whose", CLI_WORDS_TENANT},
	{"kind", 0, "KIND", "which", "red|green|grey"},
	{},
};
static const struct cli_command policy_commands[] = {
	{.name = "apply",
	 .args = "FILE...",
	 .summary = "apply",
	 .words = CLI_WORDS_FILE,
	 .args_min = 1,
	 .args_max = 3,
	 .options = apply_options,
	 .run = nothing},
	{.name = "list", .summary = "list", .run = nothing},
	{},
};
static const struct cli_command flow_commands[] = {
	{.name = "list", .summary = "list", .run = nothing},
	{},
};
static const struct cli_command commands[] = {
	{.name = "policy", .summary = "policies", .children = policy_commands},
	{.name = "flow",
	 .summary = "flows",
	 .run = nothing,
	 .options = apply_options,
	 .children = flow_commands},
	{},
};
static const struct cli_command root = {.name = "bulkhead", .summary = "it", .children = commands};

#define WORDS_MAX 16
/* Splits text at spaces; argv lives in the caller. */
static int parse(char *text, char *argv[WORDS_MAX], struct cli_call *call, struct bh_diag *diag)
{
	int argc = 0;

	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	return cli_args_parse(&root, global, argc, argv, call, diag);
}

#define PARSE(text)                                                                                \
	char text_[] = text;                                                                       \
	char *argv_[WORDS_MAX];                                                                    \
	struct cli_call call;                                                                      \
	struct bh_diag diag = {};                                                                  \
	int r = parse(text_, argv_, &call, &diag)

static void test_options_anywhere(void **state)
{
	PARSE("bulkhead -s here policy --json apply a.yaml --wait=5 b.yaml --tenant shop");
	assert_int_equal(r, CLI_ARGS_RUN);
	assert_ptr_equal(call.command, &policy_commands[0]);
	assert_string_equal(call.path, "bulkhead policy apply");
	assert_string_equal(cli_call_value(&call, "server"), "here");
	assert_string_equal(cli_call_value(&call, "wait"), "5");
	assert_string_equal(cli_call_value(&call, "tenant"), "shop");
	assert_true(cli_call_flag(&call, "json"));
	assert_int_equal(call.arg_count, 2);
	assert_string_equal(call.args[0], "a.yaml");
	assert_string_equal(call.args[1], "b.yaml");
}

static void test_optional_value(void **state)
{
	PARSE("bulkhead policy apply --wait a.yaml");
	assert_int_equal(r, CLI_ARGS_RUN);
	assert_true(cli_call_flag(&call, "wait"));
	assert_null(cli_call_value(&call, "wait"));
	assert_string_equal(cli_call_value_or(&call, "wait", "30"), "30");
	assert_int_equal(call.arg_count, 1);
}

static void test_last_value_wins(void **state)
{
	PARSE("bulkhead policy apply --tenant a x --tenant b");
	assert_int_equal(r, CLI_ARGS_RUN);
	assert_string_equal(cli_call_value(&call, "tenant"), "b");
}

static void test_group_with_default(void **state)
{
	{
		PARSE("bulkhead flow --tenant a");
		assert_int_equal(r, CLI_ARGS_RUN);
		assert_ptr_equal(call.command, &commands[1]);
	}
	{
		PARSE("bulkhead flow list");
		assert_int_equal(r, CLI_ARGS_RUN);
		assert_ptr_equal(call.command, &flow_commands[0]);
	}
}

static void test_double_dash(void **state)
{
	PARSE("bulkhead policy apply -- --tenant");
	assert_int_equal(r, CLI_ARGS_RUN);
	assert_string_equal(call.args[0], "--tenant");
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *line;
		const char *said;
	} cases[] = {
		{"bulkhead", "needs a command"},
		{"bulkhead polcy", "did you mean \"policy\"?"},
		{"bulkhead pol", "did you mean \"policy\"?"},
		{"bulkhead zebra", "--help"},
		{"bulkhead policy aply x", "did you mean \"apply\"?"},
		{"bulkhead policy apply", "needs FILE..."},
		{"bulkhead policy apply a b c d", "nothing with \"d\""},
		{"bulkhead policy apply --tenant", "--tenant needs a value"},
		{"bulkhead policy apply -s", "-s needs a value"},
		{"bulkhead policy apply a --zebra", "no option --zebra"},
		{"bulkhead policy -x apply a", "no option -x"},
		{"bulkhead policy list --tenant a", "no option --tenant"},
	};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		BH_FREE char *text = bh_strdup(cases[i].line);
		char *argv[WORDS_MAX];
		struct cli_call call;
		struct bh_diag diag = {};

		assert_int_equal(parse(text, argv, &call, &diag), -EINVAL);
		if (!strstr(diag.text, cases[i].said)) {
			fail_msg("%s: %s", cases[i].line, diag.text);
		}
	}
}

static void test_too_many_options(void **state)
{
	char *argv[2 * CLI_VALUES_MAX + 4] = {(char *)"bulkhead", (char *)"policy", (char *)"list"};
	struct cli_call call;
	struct bh_diag diag = {};
	int argc = 3;

	while (argc < 2 * CLI_VALUES_MAX) {
		argv[argc++] = (char *)"-j";
	}
	assert_int_equal(cli_args_parse(&root, global, argc, argv, &call, &diag), -EINVAL);
}

static void test_help(void **state)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	{
		PARSE("bulkhead policy apply --help");
		assert_int_equal(r, CLI_ARGS_HELP);
		cli_args_help(&call, global, &w);
	}
	assert_non_null(strstr(bh_wbuf_cstr(&w), "bulkhead policy apply [options] FILE..."));
	assert_non_null(strstr(bh_wbuf_cstr(&w), "-w, --wait[=SECONDS]"));
	assert_non_null(strstr(bh_wbuf_cstr(&w), "--tenant TENANT"));
	assert_non_null(strstr(bh_wbuf_cstr(&w), "-s, --server URL"));
	bh_wbuf_done(&w);
	{
		PARSE("bulkhead -h");
		assert_int_equal(r, CLI_ARGS_HELP);
		assert_ptr_equal(call.command, &root);
	}
	{
		PARSE("bulkhead --version");
		assert_int_equal(r, CLI_ARGS_VERSION);
	}
}

static void check_completion(const char *line, const char *lines, const char *kind)
{
	BH_FREE char *text = bh_strdup(line);
	char *words[WORDS_MAX] = {};
	unsigned int count = 0;
	const char *got = NULL;
	struct bh_wbuf w;

	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		words[count++] = strcmp(word, "_") ? word : (char *)"";
	}
	bh_wbuf_init(&w, 0);
	cli_args_complete(&root, global, words, count, &w, &got);
	assert_string_equal(bh_wbuf_cstr(&w), lines);
	if (kind) {
		assert_string_equal(got, kind);
	} else {
		assert_null(got);
	}
	bh_wbuf_done(&w);
}

static void test_complete(void **state)
{
	check_completion("", "policy\nflow\n", NULL);
	check_completion("p", "policy\n", NULL);
	check_completion("policy _", "apply\nlist\n", NULL);
	check_completion("policy apply _", "", CLI_WORDS_FILE);
	check_completion("policy apply --te", "--tenant\n", NULL);
	check_completion("policy apply --tenant s", "", CLI_WORDS_TENANT);
	check_completion("policy apply --kind gre", "green\ngrey\n", NULL);
	check_completion("-s x policy li", "list\n", NULL);
	check_completion("policy apply --wait _", "", CLI_WORDS_FILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_anywhere), cmocka_unit_test(test_optional_value),
		cmocka_unit_test(test_last_value_wins),	 cmocka_unit_test(test_group_with_default),
		cmocka_unit_test(test_double_dash),	 cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_too_many_options), cmocka_unit_test(test_help),
		cmocka_unit_test(test_complete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
