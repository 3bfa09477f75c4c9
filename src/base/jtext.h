/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as text, without a tree: for messages of which thousands come each second. Reading is for
 * foreign bytes and stricter than JSON: one object in compact form (no white space between tokens,
 * so no line end anywhere), at most BH_JTEXT_SIZE_MAX bytes; valid UTF-8; keys of printable ASCII
 * without escapes, none twice in one object; whole numbers fit 64 bits, others have no exponent;
 * depth at most BH_JTEXT_DEPTH_MAX. What is accepted is accepted by every JSON reader, with the
 * same meaning, and may be put into a larger text as it is.
 *
 * Pure. A member points into the text by offset; the text is the caller's.
 */
#ifndef BH_BASE_JTEXT_H
#define BH_BASE_JTEXT_H

#include "base/buf.h"
#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BH_JTEXT_SIZE_MAX    65535
#define BH_JTEXT_DEPTH_MAX   8
#define BH_JTEXT_MEMBERS_MAX 64

enum bh_jtext_kind {
	BH_JTEXT_STRING,
	BH_JTEXT_ESCAPED, /* a string with at least one backslash */
	BH_JTEXT_INTEGER,
	BH_JTEXT_REAL,
	BH_JTEXT_TRUE,
	BH_JTEXT_FALSE,
	BH_JTEXT_NULL,
	BH_JTEXT_ARRAY,
	BH_JTEXT_OBJECT,
};

struct bh_jtext_member {
	uint16_t key, value; /* where they begin; both without quotes */
	uint16_t value_size;
	uint8_t key_size;
	uint8_t kind;
};

struct bh_jtext {
	const char *text; /* borrowed */
	uint16_t size;
	uint16_t count;
	struct bh_jtext_member
		members[BH_JTEXT_MEMBERS_MAX]; /* of the outermost object, in order */
};

/* Reads an object. 0, -EBADMSG with the column, -EMSGSIZE. */
[[nodiscard]] int bh_jtext_parse(const char *text, size_t size, struct bh_jtext *ret,
				 struct bh_diag *diag);
/* NULL when there is none. Borrowed. */
const struct bh_jtext_member *bh_jtext_find(const struct bh_jtext *j, const char *key);
bool bh_jtext_key_is(const struct bh_jtext *j, const struct bh_jtext_member *m, const char *key);
/* The member as a text of its own: false when it is absent, no string, has escapes, or does not fit
 * into size with its NUL; then "" is there. */
bool bh_jtext_str(const struct bh_jtext *j, const char *key, char *ret, size_t size);
/* False when it is absent, no whole number, negative or above max. */
bool bh_jtext_u64(const struct bh_jtext *j, const char *key, uint64_t max, uint64_t *ret);

/* ---- writing ---- */
/* Well-formed UTF-8 (RFC 3629) without control characters of ASCII? */
bool bh_jtext_is_plain(const char *s, size_t len);

/* A quoted string. Bytes that are not UTF-8 become '?'. */
void bh_jtext_put_str(struct bh_wbuf *w, const char *s);
void bh_jtext_put_u64(struct bh_wbuf *w, uint64_t v);
/* Members, one after the other, with a comma before all but the first: the buffer is empty or ends
 * in '{' before that. Keys are our own plain words. */
void bh_jtext_add_key(struct bh_wbuf *w, const char *key);
void bh_jtext_add_str(struct bh_wbuf *w, const char *key, const char *value);
void bh_jtext_add_u64(struct bh_wbuf *w, const char *key, uint64_t value);
void bh_jtext_add_pair(struct bh_wbuf *w, const char *key, uint64_t a, uint64_t b); /* [a,b] */
/* The member m of j as it was read. */
void bh_jtext_add_member(struct bh_wbuf *w, const struct bh_jtext *j,
			 const struct bh_jtext_member *m);

#endif
