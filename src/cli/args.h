/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command tree: one table says what may be typed, and parsing, --help, suggestions and
 * completion are made from it. Nothing here runs a command. Everything borrows from the tables and
 * from argv, which must outlive a call. Not thread-safe (getopt_long).
 */
#ifndef BH_CLI_ARGS_H
#define BH_CLI_ARGS_H

#include "base/buf.h"
#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;
struct cli_call;

/* What completes a word: one of these names, or the words themselves as "a|b|c". */
#define CLI_WORDS_FILE	    "@file"
#define CLI_WORDS_DIR	    "@dir"
#define CLI_WORDS_HOST	    "@host"
#define CLI_WORDS_VM	    "@vm"
#define CLI_WORDS_TENANT    "@tenant"
#define CLI_WORDS_POLICY    "@policy"
#define CLI_WORDS_MIGRATION "@migration"

struct cli_option {
	const char *name; /* long form without dashes; NULL ends a table */
	char letter;	  /* 0: none */
	const char *arg; /* the value as the help shows it; NULL: a flag; "[=N]": may be left out */
	const char *help;
	const char *words; /* what completes the value; may be NULL */
};

/* Returns an enum cli_exit. */
typedef int cli_run_fn(struct cli *cli, const struct cli_call *call);

struct cli_command {
	const char *name; /* NULL ends a table */
	const char *args; /* positional arguments as the help shows them; may be NULL */
	const char *summary;
	const char *details; /* may be NULL */
	const char *words;   /* what completes positional arguments; may be NULL */
	unsigned int args_min;
	unsigned int args_max;
	const struct cli_option *options;   /* may be NULL */
	cli_run_fn *run;		    /* NULL: only a group */
	const struct cli_command *children; /* may be NULL; with run: the default of the group */
};

#define CLI_PATH_SIZE  128
#define CLI_VALUES_MAX 64

struct cli_call {
	const struct cli_command *command;
	char path[CLI_PATH_SIZE]; /* "bulkhead policy check" */
	char *const *args;
	unsigned int arg_count;
	struct {
		const struct cli_option *option;
		const char *value;
	} values[CLI_VALUES_MAX];
	unsigned int value_count;
};

enum cli_args_result {
	CLI_ARGS_RUN = 0,
	CLI_ARGS_HELP = 1,    /* --help was asked for call->command */
	CLI_ARGS_VERSION = 2, /* --version */
};

/* root: a group whose name is the program's. global: options that every command takes ("help" and
 * "version" among them). Reorders argv. An enum cli_args_result, or -EINVAL with words in diag. */
[[nodiscard]] int cli_args_parse(const struct cli_command *root, const struct cli_option *global,
				 int argc, char **argv, struct cli_call *ret_call,
				 struct bh_diag *diag);

/* The last value given for an option, or NULL. */
const char *cli_call_value(const struct cli_call *call, const char *name);
const char *cli_call_value_or(const struct cli_call *call, const char *name, const char *dflt);
bool cli_call_flag(const struct cli_call *call, const char *name);

/* The text of --help. */
void cli_args_help(const struct cli_call *call, const struct cli_option *global,
		   struct bh_wbuf *ret_text);

/* The nearest name of a table for a mistyped word, or NULL. */
const char *cli_args_nearest(const struct cli_command *commands, const char *word);

/* What may stand at the end of `words` (without the program's name; the last one is being typed):
 * command and option names as lines into ret_lines, and in *ret_kind what else (CLI_WORDS_*), or
 * NULL. */
void cli_args_complete(const struct cli_command *root, const struct cli_option *global,
		       char *const *words, unsigned int count, struct bh_wbuf *ret_lines,
		       const char **ret_kind);

#endif
