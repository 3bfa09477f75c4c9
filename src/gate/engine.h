/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of bulkhead-gated put together: rule set, records, workers. Offline one worker runs in
 * the caller's thread; live there is a thread per worker with a capture of its own (live.c), and
 * the caller's thread serves signals and the control socket.
 */
#ifndef BH_GATE_ENGINE_H
#define BH_GATE_ENGINE_H

#include "gate/worker.h"

#include <uv.h>

struct gate_engine {
	const struct gate_config *config; /* borrowed */
	BH_VEC(char *) rule_files;	  /* to be read at start and at each reload */
	struct gate_names *names;
	struct gate_shared *shared;
	struct gate_out_sink *sink, *events_sink; /* until gate_engine_start_output() */
	struct gate_out *out, *events;		  /* events NULL: none */
	struct gate_rule_sets *sets;		  /* that run */
	struct gate_selector_hook select;	  /* whose flow is it? None: by configuration */
	struct gate_file_sink *files;
	struct gate_ranges *ranges;
	uint64_t start_us, loaded_us; /* the program, the sets that run */
};

/* What -S, -s and rule-files say. only: those of the configuration do not count. */
void gate_engine_init(struct gate_engine *engine, const struct gate_config *config,
		      const char *const *files, size_t count, bool only);
void gate_engine_done(struct gate_engine *engine);

/* Reads the rule files of every slot and compiles them (load.c). What is refused is told to
 * `refused` (NULL: the log). A reference of the caller's own. < 0: a file can't be read or a set
 * can't be built: then none is. */
typedef void gate_refused_fn(const struct gate_rule_refusal *refusal, void *arg);
[[nodiscard]] int gate_engine_build(struct gate_engine *engine, gate_refused_fn *refused, void *arg,
				    struct gate_rule_sets **ret, struct bh_diag *diag);
/* What they come to together: rules to databases, bytes, time; and how many rules were refused. */
void gate_engine_sum_sets(const struct gate_rule_sets *sets, struct gate_rule_set_stats *sum,
			  size_t *ret_refused);
/* What stands beside the workers' counters in `stats`. */
void gate_engine_stats(const struct gate_engine *engine, struct gate_stats *stats);
/* A rule file's name as it is opened: owned by the caller. */
char *gate_engine_rule_path(const struct gate_config *config, const char *name);

/* The log folder and where records go; before rights are given up. */
[[nodiscard]] int gate_engine_open_output(struct gate_engine *engine, struct bh_diag *diag);
/* The writing thread; after rights were given up. */
void gate_engine_start_output(struct gate_engine *engine, bool patient);

/* The file of records was moved away: begin it anew. */
void gate_engine_reopen(struct gate_engine *engine);

/* Reads the source to its end; a file that is broken somewhere is read up to there (logged). */
void gate_engine_run(struct gate_engine *engine, struct gate_source *source);

/* ---- live.c ---- */
struct gate_live;
/* Opens the captures; before rights are given up. */
[[nodiscard]] int gate_live_new(struct gate_engine *engine, const char *in, const char *out,
				struct gate_live **ret, struct bh_diag *diag);
/* Until SIGINT or SIGTERM. */
[[nodiscard]] int gate_live_run(struct gate_live *live, struct bh_diag *diag);
void gate_live_free(struct gate_live *live);
/* For who turns it by himself instead of gate_live_run(): tests. */
uv_loop_t *gate_live_loop(struct gate_live *live);

#endif
