/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many literals at once: what the prefilter looks for in one group of rules.
 *
 * Theory of operation
 *   A gate_mpm maps patterns to rules. What searches (gate_hs) is made of the sorted distinct
 *   patterns only, so groups and rule sets that look for the same bytes share one, found by the
 *   SHA-256 of the patterns and of Hyperscan's version and platform. It is a table of grams
 *   (grams.h), which is made in no time and is the fastest for long literals, for few short ones
 *   and for small buffers; where buffers may be large, short literals that are more have a
 *   Hyperscan block database beside it, which also takes long ones that share their grams with
 *   too many others. Databases are compiled by several threads after all groups
 *   are known, and kept in a folder: a file holds the hash and a checksum, and a file that does
 *   not fit is compiled anew and replaced.
 *   What stands too late for every rule of a pattern (depth) is no candidate.
 * The registry locks itself; a gate_mpm is read-only once gate_mpm_jobs_run is through.
 */
#ifndef BH_GATE_DETECT_MPM_H
#define BH_GATE_DETECT_MPM_H

#include "base/diag.h"
#include "base/util.h"
#include "gate/detect/grams.h"

#include <hs/hs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_MPM_LARGE 512 /* from here on Hyperscan looks for short ones that are not few */

struct gate_hs;
struct gate_hs_registry;
struct gate_hs_registry *gate_hs_registry_new(void);
void gate_hs_registry_free(struct gate_hs_registry *registry);

struct gate_mpm_pattern {
	uint32_t first, count; /* of sigs */
	uint32_t max_end;      /* a first match that ends behind it is of no use */
};
struct gate_mpm {
	const struct gate_grams *grams;
	const hs_database_t *db; /* NULL: grams find all, in all buffers */
	bool db_always;		 /* in small buffers too: it has crowded ones */
	const struct gate_mpm_pattern *patterns;
	const uint32_t *sigs;
	uint32_t pattern_count, sig_count;
	uint32_t longest;
	uint32_t reach;	    /* nothing ends behind it that is of use: UINT32_MAX when any may */
	struct gate_hs *hs; /* a reference */
};
void gate_mpm_free(struct gate_mpm *mpm);

/* What the same bytes are searched for at once. */
#define GATE_MPM_PARTS 2
struct gate_mpm_group {
	const struct gate_mpm *parts[GATE_MPM_PARTS]; /* NULL behind the last one */
	const struct gate_gram_union *all;	      /* NULL when it is one */
	uint32_t longest;			      /* of their patterns */
};

/* What is to be looked for in one group. */
struct gate_mpm_input {
	BH_VEC(struct gate_mpm_literal {
		const uint8_t *bytes; /* borrowed; lower case when nocase */
		uint16_t size;
		bool nocase;
		uint32_t max_end, sig;
	})
	literals;
	bool large; /* of buffers that may be */
};

struct gate_mpm_jobs; /* of one rule set's build */
struct gate_mpm_jobs *gate_mpm_jobs_new(struct gate_hs_registry *registry, const char *cache_dir);
void gate_mpm_jobs_free(struct gate_mpm_jobs *jobs);
/* NULL when there is nothing to look for. Owned by the caller; its database comes with the run. */
struct gate_mpm *gate_mpm_jobs_add(struct gate_mpm_jobs *jobs, const struct gate_mpm_input *input);
/* 0, or < 0 when Hyperscan refuses. */
[[nodiscard]] int gate_mpm_jobs_run(struct gate_mpm_jobs *jobs, struct bh_diag *diag);
struct gate_mpm_jobs_stats {
	uint32_t databases, shared, cached, compiled;
	size_t bytes; /* of those that this set was first to have */
};
void gate_mpm_jobs_stats(const struct gate_mpm_jobs *jobs, struct gate_mpm_jobs_stats *ret);

#endif
