/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include "base/util.h"

#include <errno.h>
#include <getopt.h>

#define OPTIONS_MAX  48
#define WORD_MAX     32
#define HELP_COLUMN  26
#define LETTERS_SIZE (3 * OPTIONS_MAX + 3)

/* The options of one getopt_long run: global ones first. */
struct option_set {
	const struct cli_option *options[OPTIONS_MAX];
	struct option longs[OPTIONS_MAX + 1];
	char letters[LETTERS_SIZE];
	unsigned int count;
};

static void add_options(struct option_set *set, const struct cli_option *options)
{
	for (; options && options->name && set->count < OPTIONS_MAX; options++) {
		set->options[set->count] = options;
		set->longs[set->count] = (struct option){
			.name = options->name,
			.has_arg = !options->arg	    ? no_argument
				   : options->arg[0] == '[' ? optional_argument
							    : required_argument,
		};
		set->count++;
	}
}

/* prefix: "+" stops at the first word, "" lets options follow words. */
static void make_letters(struct option_set *set, const char *prefix)
{
	char *p = set->letters;

	p = stpcpy(p, prefix);
	*p++ = ':';
	for (unsigned int i = 0; i < set->count; i++) {
		if (set->options[i]->letter) {
			*p++ = set->options[i]->letter;
			if (set->options[i]->arg) {
				*p++ = ':';
			}
			if (set->options[i]->arg && set->options[i]->arg[0] == '[') {
				*p++ = ':';
			}
		}
	}
	*p = '\0';
}

static const struct cli_option *find_letter(const struct option_set *set, int letter)
{
	for (unsigned int i = 0; i < set->count; i++) {
		if (set->options[i]->letter && set->options[i]->letter == letter) {
			return set->options[i];
		}
	}
	return NULL;
}

static int bad_option(int c, char **argv, const struct cli_call *call, struct bh_diag *diag)
{
	char letter[3] = {'-', (char)optopt, '\0'};
	const char *word = optopt ? letter : argv[optind - 1];

	if (c == ':') {
		return bh_diag_set(diag, -EINVAL, "%s needs a value; see `%s --help`",
				   optopt ? letter : argv[optind - 1], call->path);
	}
	return bh_diag_set(diag, -EINVAL, "`%s` has no option %s; see `%s --help`", call->path,
			   word, call->path);
}

/* One getopt_long run over argv[0..argc). 0, an enum cli_args_result above 0, or -EINVAL. */
static int parse_options(const struct option_set *set, int argc, char **argv, struct cli_call *call,
			 struct bh_diag *diag)
{
	int result = 0;
	int index;
	int c;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, set->letters, set->longs, &index)) != -1) {
		const struct cli_option *option;

		if (c == '?' || c == ':') {
			return bad_option(c, argv, call, diag);
		}
		option = c == 0 ? set->options[index] : find_letter(set, c);
		if (!option || call->value_count >= CLI_VALUES_MAX) {
			return bh_diag_set(diag, -EINVAL, "too many options");
		}
		if (!strcmp(option->name, "help")) {
			result = CLI_ARGS_HELP;
		} else if (!strcmp(option->name, "version")) {
			result = CLI_ARGS_VERSION;
		}
		call->values[call->value_count].option = option;
		call->values[call->value_count].value = optarg;
		call->value_count++;
	}
	return result;
}

static const struct cli_command *find_child(const struct cli_command *children, const char *word)
{
	for (; children && children->name; children++) {
		if (!strcmp(children->name, word)) {
			return children;
		}
	}
	return NULL;
}

static void descend(struct cli_call *call, const struct cli_command *child)
{
	size_t len = strlen(call->path);

	snprintf(call->path + len, sizeof(call->path) - len, " %s", child->name);
	call->command = child;
}

static int parse_leaf(const struct cli_option *global, int argc, char **argv, struct cli_call *call,
		      struct bh_diag *diag)
{
	const struct cli_command *command = call->command;
	struct option_set set = {};
	int r;

	add_options(&set, global);
	add_options(&set, command->options);
	make_letters(&set, "");
	r = parse_options(&set, argc, argv, call, diag);
	if (r) {
		return r;
	}
	call->args = argv + optind;
	call->arg_count = (unsigned int)(argc - optind);
	if (call->arg_count < command->args_min) {
		return bh_diag_set(diag, -EINVAL, "`%s` needs %s; see `%s --help`", call->path,
				   command->args ? command->args : "more words", call->path);
	}
	if (call->arg_count > command->args_max) {
		return bh_diag_set(diag, -EINVAL,
				   "`%s` can do nothing with \"%s\"; see `%s --help`", call->path,
				   call->args[command->args_max], call->path);
	}
	return CLI_ARGS_RUN;
}

static int unknown_command(const struct cli_call *call, const char *word, struct bh_diag *diag)
{
	const char *nearest = cli_args_nearest(call->command->children, word);

	if (nearest) {
		return bh_diag_set(diag, -EINVAL,
				   "`%s` has no command \"%s\"; did you mean \"%s\"?", call->path,
				   word, nearest);
	}
	return bh_diag_set(diag, -EINVAL, "`%s` has no command \"%s\"; see `%s --help`", call->path,
			   word, call->path);
}

int cli_args_parse(const struct cli_command *root, const struct cli_option *global, int argc,
		   char **argv, struct cli_call *ret_call, struct bh_diag *diag)
{
	struct option_set set = {};

	*ret_call = (struct cli_call){.command = root};
	snprintf(ret_call->path, sizeof(ret_call->path), "%s", root->name);
	add_options(&set, global);
	make_letters(&set, "+");
	while (ret_call->command->children) {
		const struct cli_command *child;
		int next = 1;
		int r;

		if (!ret_call->command->run) {
			r = parse_options(&set, argc, argv, ret_call, diag);
			if (r) {
				return r;
			}
			next = optind;
		}
		child = next < argc ? find_child(ret_call->command->children, argv[next]) : NULL;
		if (!child && ret_call->command->run) {
			break;
		}
		if (!child && next >= argc) {
			return bh_diag_set(diag, -EINVAL, "`%s` needs a command; see `%s --help`",
					   ret_call->path, ret_call->path);
		}
		if (!child) {
			return unknown_command(ret_call, argv[next], diag);
		}
		descend(ret_call, child);
		argv += next;
		argc -= next;
	}
	return parse_leaf(global, argc, argv, ret_call, diag);
}

const char *cli_call_value(const struct cli_call *call, const char *name)
{
	for (unsigned int i = call->value_count; i > 0; i--) {
		if (!strcmp(call->values[i - 1].option->name, name)) {
			return call->values[i - 1].value;
		}
	}
	return NULL;
}

const char *cli_call_value_or(const struct cli_call *call, const char *name, const char *dflt)
{
	const char *value = cli_call_value(call, name);

	return value ? value : dflt;
}

bool cli_call_flag(const struct cli_call *call, const char *name)
{
	for (unsigned int i = 0; i < call->value_count; i++) {
		if (!strcmp(call->values[i].option->name, name)) {
			return true;
		}
	}
	return false;
}

/* Levenshtein distance of two short words; WORD_MAX when one is long. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[WORD_MAX + 1];
	size_t a_len = strlen(a);
	size_t b_len = strlen(b);

	if (a_len > WORD_MAX || b_len > WORD_MAX) {
		return WORD_MAX;
	}
	for (unsigned int j = 0; j <= b_len; j++) {
		row[j] = j;
	}
	for (unsigned int i = 1; i <= a_len; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (unsigned int j = 1; j <= b_len; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			best = best < row[j] + 1 ? best : row[j] + 1;
			best = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b_len];
}

const char *cli_args_nearest(const struct cli_command *commands, const char *word)
{
	const char *nearest = NULL;
	unsigned int best = 3;

	for (; commands && commands->name; commands++) {
		unsigned int d = distance(word, commands->name);

		if (strlen(word) >= 2 && !strncmp(word, commands->name, strlen(word))) {
			d = 0;
		}
		if (d < best) {
			best = d;
			nearest = commands->name;
		}
	}
	return nearest;
}

/* ---- help ---- */

static void help_line(struct bh_wbuf *w, const char *left, const char *right)
{
	size_t len = strlen(left);

	bh_wbuf_printf(w, "  %s", left);
	if (len + 2 > HELP_COLUMN - 2) {
		bh_wbuf_printf(w, "\n%*s", HELP_COLUMN, "");
	} else {
		bh_wbuf_printf(w, "%*s", HELP_COLUMN - 2 - (int)len, "");
	}
	bh_wbuf_printf(w, "%s\n", right);
}

static void help_options(struct bh_wbuf *w, const char *title, const struct cli_option *options)
{
	if (!options || !options->name) {
		return;
	}
	bh_wbuf_printf(w, "\n%s\n", title);
	for (; options->name; options++) {
		char left[80];
		char letter[5] = "    ";

		if (options->letter) {
			snprintf(letter, sizeof(letter), "-%c, ", options->letter);
		}
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, options->name,
			 options->arg && options->arg[0] != '[' ? " " : "",
			 options->arg ? options->arg : "");
		help_line(w, left, options->help);
	}
}

void cli_args_help(const struct cli_call *call, const struct cli_option *global,
		   struct bh_wbuf *ret_text)
{
	const struct cli_command *command = call->command;

	bh_wbuf_printf(ret_text, "%s: %s\n\nUsage:\n", call->path, command->summary);
	if (command->run) {
		bh_wbuf_printf(ret_text, "  %s%s%s%s\n", call->path,
			       command->options ? " [options]" : "", command->args ? " " : "",
			       command->args ? command->args : "");
	}
	if (command->children) {
		bh_wbuf_printf(ret_text, "  %s COMMAND ...\n\nCommands\n", call->path);
		for (const struct cli_command *c = command->children; c->name; c++) {
			char left[80];

			snprintf(left, sizeof(left), "%s%s%s", c->name, c->args ? " " : "",
				 c->args ? c->args : "");
			help_line(ret_text, left, c->summary);
		}
	}
	if (command->details) {
		bh_wbuf_printf(ret_text, "\n%s\n", command->details);
	}
	help_options(ret_text, "Options", command->options);
	help_options(ret_text, "Options of every command", global);
}

/* ---- completion ---- */

static const struct cli_option *find_option(const struct cli_option *a, const struct cli_option *b,
					    const char *word)
{
	const struct cli_option *tables[] = {a, b};

	for (unsigned int t = 0; t < BH_ARRAY_SIZE(tables); t++) {
		for (const struct cli_option *o = tables[t]; o && o->name; o++) {
			bool is_long = !strncmp(word, "--", 2) && !strcmp(word + 2, o->name);
			bool is_short =
				o->letter && word[0] == '-' && word[1] == o->letter && !word[2];

			if (is_long || is_short) {
				return o;
			}
		}
	}
	return NULL;
}

static void complete_options(const struct cli_option *options, const char *word, struct bh_wbuf *w)
{
	for (; options && options->name; options++) {
		if (!strncmp(word + 2, options->name, strlen(word + 2))) {
			bh_wbuf_printf(w, "--%s\n", options->name);
		}
	}
}

static void complete_fixed(const char *words, const char *word, struct bh_wbuf *w)
{
	size_t len = strlen(word);

	while (*words) {
		size_t n = strcspn(words, "|");

		if (n >= len && !strncmp(words, word, len)) {
			bh_wbuf_printf(w, "%.*s\n", (int)n, words);
		}
		words += n + (words[n] == '|');
	}
}

static void complete_kind(const char *kind, const char *word, struct bh_wbuf *w,
			  const char **ret_kind)
{
	if (kind && kind[0] == '@') {
		*ret_kind = kind;
	} else if (kind) {
		complete_fixed(kind, word, w);
	}
}

void cli_args_complete(const struct cli_command *root, const struct cli_option *global,
		       char *const *words, unsigned int count, struct bh_wbuf *ret_lines,
		       const char **ret_kind)
{
	const struct cli_command *command = root;
	const struct cli_option *option;
	const char *last = count ? words[count - 1] : "";

	*ret_kind = NULL;
	for (unsigned int i = 0; i + 1 < count; i++) {
		const struct cli_command *child;

		option = find_option(global, command->options, words[i]);
		if (option && option->arg && option->arg[0] != '[') {
			if (i + 2 == count) {
				complete_kind(option->words, last, ret_lines, ret_kind);
				return;
			}
			i++;
			continue;
		}
		child = find_child(command->children, words[i]);
		if (child) {
			command = child;
		}
	}
	if (!strncmp(last, "--", 2)) {
		complete_options(command->options, last, ret_lines);
		complete_options(global, last, ret_lines);
		return;
	}
	for (const struct cli_command *c = command->children; c && c->name; c++) {
		if (!strncmp(c->name, last, strlen(last))) {
			bh_wbuf_printf(ret_lines, "%s\n", c->name);
		}
	}
	complete_kind(command->words, last, ret_lines, ret_kind);
}
