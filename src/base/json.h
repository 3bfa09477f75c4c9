/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked access to jansson values. A getter that fails says which member was wrong and what was
 * expected, so that callers need no text of their own. Ownership follows jansson: json_t returned
 * by a getter is borrowed, by a loader or builder owned.
 */
#ifndef BH_BASE_JSON_H
#define BH_BASE_JSON_H

#include "base/buf.h"
#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void bh_cleanup_json_decref(json_t **p)
{
	json_decref(*p);
}
#define BH_JSON __attribute__((cleanup(bh_cleanup_json_decref)))

/* Strict: one value, no duplicate keys, at most limit bytes. -EBADMSG / -EMSGSIZE with place. */
[[nodiscard]] int bh_json_load(const char *data, size_t size, size_t limit, json_t **ret_json,
			       struct bh_diag *diag);

/* Members of an object. 0, -ENOENT when absent (diag set), -EINVAL when of the wrong kind or range.
 */
[[nodiscard]] int bh_json_str(const json_t *obj, const char *key, const char **ret,
			      struct bh_diag *diag);
[[nodiscard]] int bh_json_u64(const json_t *obj, const char *key, uint64_t max, uint64_t *ret,
			      struct bh_diag *diag);
[[nodiscard]] int bh_json_bool(const json_t *obj, const char *key, bool *ret, struct bh_diag *diag);
[[nodiscard]] int bh_json_array(const json_t *obj, const char *key, json_t **ret,
				struct bh_diag *diag);
[[nodiscard]] int bh_json_object(const json_t *obj, const char *key, json_t **ret,
				 struct bh_diag *diag);
/* "" / dflt when absent or of another kind: for data that was checked before. */
const char *bh_json_str_or(const json_t *obj, const char *key, const char *dflt);
uint64_t bh_json_u64_or(const json_t *obj, const char *key, uint64_t dflt);

/* Any member whose key is not in the NULL-terminated list is an error that names it. */
[[nodiscard]] int bh_json_known(const json_t *obj, const char *const *keys, struct bh_diag *diag);

/* A wall time as text (base/time.h); of 0 the second one makes null. Owned. */
json_t *bh_json_time(uint64_t wall_ns);
json_t *bh_json_time_or_null(uint64_t wall_ns);

/* Compact with sorted keys: the canonical form for hashes and the wire. Owned text. */
char *bh_json_dump(const json_t *json);
/* Compact, members as they stand. For trees of our own making, which hold no loop: json_dumps()
 * looks for one with a printf for each object and array, which is most of what it costs. */
void bh_json_put(struct bh_wbuf *w, const json_t *json);

#endif
