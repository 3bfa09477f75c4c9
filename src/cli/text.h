/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for a terminal: how wide it is, how to cut it, how to make foreign text harmless, and times
 * the way people read them. Names come from hosts and guests, so nothing that can steer a terminal
 * gets through. Pure and thread-safe once cli_text_init() has run.
 */
#ifndef BH_CLI_TEXT_H
#define BH_CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Chooses UTF-8 character classes whatever the user's locale is. Call once, at start. */
void cli_text_init(void);

/* Columns that the text takes on a terminal. Invalid bytes count one each. */
size_t cli_text_width(const char *s);

/* A copy in which control characters, direction overrides and invalid bytes stand as \xNN or
 * \u{NNNN}. Owned by the caller. */
char *cli_text_clean(const char *s);

/* The same of a text of several lines: they stay, and so do tabs. Owned by the caller. */
char *cli_text_clean_lines(const char *s);
/* JSON in which such characters stand as \uNNNN, which means the same. Owned by the caller. */
char *cli_text_clean_json(const char *json);

/* A copy of at most `width` columns that ends in "…" when something was cut. Owned by the caller.
 */
char *cli_text_cut(const char *s, size_t width);

/* Reads "2026-11-21T23:33:16.123Z" (fraction optional) into ns since 1970; 0 when it is none. */
uint64_t cli_time_parse(const char *s);

#define CLI_TIME_SIZE 32
/* Local time: "12:00:01" on the day of `now_ns`, "2026-11-20 12:00:01" on others. */
void cli_time_short(uint64_t time_ns, uint64_t now_ns, char ret_text[CLI_TIME_SIZE]);
/* "3s", "12m", "5h", "2d": how long ago; "now" below a second or in the future. */
void cli_time_age(uint64_t time_ns, uint64_t now_ns, char ret_text[CLI_TIME_SIZE]);

/* "15m", "2h", "1d", "90s", "3600" before now, or an RFC 3339 time; 0 or -EINVAL. */
[[nodiscard]] int cli_time_since(const char *s, uint64_t now_ns, uint64_t *ret_ns);

/* "1.2 MB" (decimal steps), "512 B". */
void cli_bytes_format(uint64_t bytes, char ret_text[CLI_TIME_SIZE]);

#endif
