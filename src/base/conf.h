/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files: small YAML, read against a table of keys that fills a struct. Every key is
 * optional and has its default in the table; a key that is not there, a value of the wrong kind, a
 * second value for one key, anchors and aliases are errors with line and column. Blocking; at start
 * only.
 *
 *	struct conf { char *state_dir; uint64_t keep; bool strict; };
 *	static const struct bh_conf_key keys[] = {
 *		{.key = "state_dir", .type = BH_CONF_STR,
 *		 .offset = offsetof(struct conf, state_dir),
 *		 .dflt = "/var/lib/x", .help = "where state is kept"},
 *		{.key = "events.keep", .type = BH_CONF_U64, .offset = offsetof(struct conf, keep),
 *		 .dflt = "1000", .min = 1, .max = 1000000, .help = "events to keep"},
 *	};
 */
#ifndef BH_BASE_CONF_H
#define BH_BASE_CONF_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bh_conf_type {
	BH_CONF_STR,  /* char *, owned by the struct; NULL without default */
	BH_CONF_BOOL, /* bool; yes, no, true, false, on, off */
	BH_CONF_U64,  /* uint64_t within [min, max]; max 0: no bound */
	BH_CONF_SIZE, /* as U64, in bytes; "64mb", "100kb", "1gb" (of 1024; also "MiB") */
	BH_CONF_EACH, /* anything below the key: `each` gets every scalar */
};

/* What a BH_CONF_EACH key holds. `path` is relative to the key, parts joined by '\n' so that parts
 * may hold dots and slashes: "br0\nname" for `networks: {br0: {name: x}}`, "0", "1", ... for a
 * list. 0, or < 0 with the reason in diag (the place is added). */
typedef int bh_conf_each_fn(void *target, const char *path, const char *value,
			    struct bh_diag *diag);

struct bh_conf_key {
	const char *key; /* parts joined by dots */
	enum bh_conf_type type;
	size_t offset;	     /* into the target; not for EACH */
	const char *dflt;    /* as it would stand in the file; NULL: NULL, false or 0 */
	uint64_t min, max;   /* U64 */
	const char *choices; /* STR: "allow|deny", NULL for any text */
	bh_conf_each_fn *each;
	bool alone;	  /* EACH: one value may stand at the key itself; `path` is "" */
	const char *help; /* a sentence for the manual */
};

/* Sets the defaults, then what the file says. `must_exist` false: a missing file means defaults.
 * 0, -ENOENT, -EINVAL and others with diag; the target is to be freed in each case. */
[[nodiscard]] int bh_conf_load(const char *path, bool must_exist, const struct bh_conf_key *keys,
			       size_t count, void *target, struct bh_diag *diag);
/* As bh_conf_load from memory; file is for messages. */
[[nodiscard]] int bh_conf_parse(const char *data, size_t size, const char *file,
				const struct bh_conf_key *keys, size_t count, void *target,
				struct bh_diag *diag);
/* One value given elsewhere, as on a command line: `path` is the key with dots, and below an EACH
 * key the rest of it ("networks.br0.name", "uplinks.0"). Replaces what was there; EACH adds. */
[[nodiscard]] int bh_conf_set(const struct bh_conf_key *keys, size_t count, void *target,
			      const char *path, const char *value, struct bh_diag *diag);
/* Frees and clears the strings. */
void bh_conf_done(const struct bh_conf_key *keys, size_t count, void *target);

#endif
