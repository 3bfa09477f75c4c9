/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong, in words for the person who can mend it.
 *
 * Errors travel in two tiers. The int that a function returns is for the program: 0 success, < 0 a
 * negative errno that is forwarded unchanged, > 0 a documented module error that the caller
 * handles. The text is for people and goes into the caller's struct bh_diag. Libraries fill it and
 * never log. A diag is plain memory owned by the caller; every function accepts NULL for it.
 */
#ifndef BH_BASE_DIAG_H
#define BH_BASE_DIAG_H

#include <stddef.h>

#define BH_DIAG_TEXT_SIZE 512
#define BH_DIAG_FILE_SIZE 256

struct bh_diag {
	char text[BH_DIAG_TEXT_SIZE]; /* one sentence without a final newline; "" when nothing is
					 set */
	char file[BH_DIAG_FILE_SIZE]; /* "" when the error has no place in a document */
	unsigned int line;	      /* from 1; 0 unknown */
	unsigned int column;	      /* from 1; 0 unknown */
};

/* Sets the text (truncated to fit) and clears the place. Is err, so that a failing function can end
 * with `return bh_diag_set(diag, -EINVAL, "...")`. A macro, so that the compiler sees the value. */
#define bh_diag_set(diag, err, ...)                                                                \
	({                                                                                         \
		int diag_err_ = (err);                                                             \
		bh_diag_put(diag, NULL, 0, 0, __VA_ARGS__);                                        \
		diag_err_;                                                                         \
	})

/* As bh_diag_set, with a place in a document. file may be NULL. */
#define bh_diag_at(diag, err, file, line, column, ...)                                             \
	({                                                                                         \
		int diag_err_ = (err);                                                             \
		bh_diag_put(diag, file, line, column, __VA_ARGS__);                                \
		diag_err_;                                                                         \
	})

void bh_diag_put(struct bh_diag *diag, const char *file, unsigned int line, unsigned int column,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Puts "what: " before the text that is there; for callers that know more than the callee did. */
void bh_diag_prefix(struct bh_diag *diag, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* "file:line:column: text", or the text alone. Returns buf. */
const char *bh_diag_format(const struct bh_diag *diag, char *buf, unsigned int size);

#endif
