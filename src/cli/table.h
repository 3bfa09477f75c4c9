/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One display routine, many writers. A command says once which columns its rows have and how a cell
 * is made from a JSON row of the API; the writer makes a table for people, a list of "key: value"
 * for one object, or the JSON as the API gave it. Cells are cleaned (cli_text_clean) here, nowhere
 * else, JSON too, and what is said in words goes through cli_say().
 */
#ifndef BH_CLI_TABLE_H
#define BH_CLI_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum cli_colour {
	CLI_COLOUR_NONE,
	CLI_COLOUR_GOOD,
	CLI_COLOUR_BAD,
	CLI_COLOUR_WARN,
	CLI_COLOUR_DIM,
	CLI_COLOUR_BOLD,
};

enum cli_format { CLI_FORMAT_TABLE, CLI_FORMAT_WIDE, CLI_FORMAT_JSON };

/* Where and how to write. columns 0: never cut. */
struct cli_output {
	FILE *file;
	enum cli_format format;
	bool colour;
	unsigned int columns;
	uint64_t now_ns; /* wall clock, for ages */
};

struct cli_cell {
	char *text; /* owned by the cell; set with cli_cell_printf */
	enum cli_colour colour;
};
void cli_cell_printf(struct cli_cell *cell, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

typedef void cli_cell_fn(const struct cli_output *out, const json_t *row, struct cli_cell *cell);

#define CLI_COL_WIDE  1u /* only with -o wide (and in records) */
#define CLI_COL_RIGHT 2u /* numbers */
#define CLI_COL_CUT   4u /* may be cut when the terminal is narrow */
struct cli_column {
	const char *title;
	const char *key; /* member of the row, "a.b" for nested ones; used when fn is NULL */
	cli_cell_fn *fn;
	unsigned int flags;
};

/* The value at "a.b" of a row, or NULL. */
const json_t *cli_json_at(const json_t *row, const char *key);
/* Its text: strings as they are, numbers, yes/no, lists and objects joined by ", "; "" for absent
 * or null. Owned. */
char *cli_json_text(const json_t *value);

/* Rows of a list (an array). whole: what the JSON writer prints. none: said when there are no rows.
 */
void cli_show_list(const struct cli_output *out, const struct cli_column *columns,
		   unsigned int count, const json_t *rows, const json_t *whole, const char *none);
/* One object. */
void cli_show_record(const struct cli_output *out, const struct cli_column *columns,
		     unsigned int count, const json_t *row);
/* JSON alone; one line when compact (streams). */
void cli_show_json(const struct cli_output *out, const json_t *json, bool compact);

/* Words for people. What is in them may be foreign: it is made harmless, lines stay lines. */
void cli_say(FILE *file, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Escape sequences, or "" when colours are off. */
const char *cli_colour_begin(const struct cli_output *out, enum cli_colour colour);
const char *cli_colour_end(const struct cli_output *out, enum cli_colour colour);

#endif
