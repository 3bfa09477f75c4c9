/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/engine.h"

#include "base/file.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "gate/app/range.h"
#include "gate/output/filestore.h"
#include "gate/rules/read.h"
#include "gate/sandbox.h"

#include <errno.h>
#include <signal.h>

#define LOOK_EVERY 1024 /* packets between looks for a signal */

void gate_engine_init(struct gate_engine *engine, const struct gate_config *config,
		      const char *const *files, size_t count, bool only)
{
	memset(engine, 0, sizeof(*engine));
	engine->config = config;
	engine->names = gate_names_new();
	engine->shared = gate_shared_new(config);
	engine->start_us = bh_time_wall_ns() / 1000;
	if (!only) {
		bh_vec_foreach (file, &config->rule_files) {
			*bh_vec_push(&engine->rule_files) = gate_engine_rule_path(config, *file);
		}
	}
	for (size_t i = 0; i < count; i++) {
		*bh_vec_push(&engine->rule_files) = bh_strdup(files[i]);
	}
}

void gate_engine_done(struct gate_engine *engine)
{
	struct bh_diag diag = {};

	gate_rule_sets_unref(engine->sets);
	if (engine->shared && gate_shared_save(engine->shared, &diag) < 0) {
		bh_log(BH_LOG_ERROR, "rules", "datasets: %s", diag.text);
	}
	gate_shared_free(engine->shared);
	gate_out_free(engine->out);
	gate_out_free(engine->events);
	if (engine->sink) {
		engine->sink->free(engine->sink);
	}
	if (engine->events_sink) {
		engine->events_sink->free(engine->events_sink);
	}
	gate_filestore_free(engine->files);
	gate_ranges_free(engine->ranges);
	gate_names_free(engine->names);
	bh_vec_foreach (file, &engine->rule_files) {
		free(*file);
	}
	bh_vec_done(&engine->rule_files);
}

static bool stores_by_rule(const struct gate_rule_files *files)
{
	for (size_t i = 0; i < files->rules.count; i++) {
		bh_vec_foreach (match, &files->rules.items[i]->post) {
			if (match->kind == GATE_M_FILESTORE) {
				return true;
			}
		}
	}
	return false;
}

static bool stores_files(const struct gate_engine *engine)
{
	bool stores = engine->config->file_store;

	for (uint32_t i = 0; engine->sets && i < gate_rule_sets_count(engine->sets); i++) {
		stores = stores ||
			 stores_by_rule(gate_rule_set_files(gate_rule_sets_get(engine->sets, i)));
	}
	return stores;
}

/* What we make belongs to who we are going to be. */
static int open_store(struct gate_engine *engine, struct bh_diag *diag)
{
	const char *user = engine->config->user;
	BH_FREE char *tmp = NULL;
	int err = gate_filestore_new(engine->config, &engine->files, diag);

	if (err) {
		return err;
	}
	tmp = bh_asprintf("%s/tmp", gate_filestore_folder(engine->files));
	err = gate_sandbox_give(user, tmp, diag);
	return err ? err : gate_sandbox_give(user, gate_filestore_folder(engine->files), diag);
}

int gate_engine_open_output(struct gate_engine *engine, struct bh_diag *diag)
{
	const struct gate_config *config = engine->config;
	bool fresh = access(config->log_dir, F_OK) < 0;
	BH_FREE char *path = NULL;
	int err = bh_mkdirs(config->log_dir, 0750, diag);

	if (!err && fresh) {
		err = gate_sandbox_give(config->user, config->log_dir, diag);
	}
	if (!err && stores_files(engine)) {
		err = open_store(engine, diag);
	}
	engine->ranges = gate_ranges_new(config);
	if (err) {
		return err;
	}
	if (config->events_socket) {
		err = gate_out_events(config, &engine->events_sink, diag);
	}
	if (err || config->eve_unix) {
		bool datagram = !strcmp(config->eve_unix_type, "datagram");

		return err ? err : gate_out_unix(config->eve_unix, datagram, &engine->sink, diag);
	}
	path = config->eve_file[0] == '/' ? bh_strdup(config->eve_file)
					  : bh_asprintf("%s/%s", config->log_dir, config->eve_file);
	fresh = access(path, F_OK) < 0;
	err = gate_out_file(path, config->eve_rotate, &engine->sink, diag);
	return !err && fresh ? gate_sandbox_give(config->user, path, diag) : err;
}

void gate_engine_start_output(struct gate_engine *engine, bool patient)
{
	engine->out = gate_out_new(engine->config, engine->sink);
	engine->sink = NULL;
	if (engine->events_sink) {
		engine->events = gate_out_new(engine->config, bh_steal(&engine->events_sink));
	}
	if (patient) {
		gate_out_patient(engine->out);
	}
}

void gate_engine_reopen(struct gate_engine *engine)
{
	gate_out_reopen(engine->out);
	if (engine->events) {
		gate_out_reopen(engine->events);
	}
}

void gate_engine_stats(const struct gate_engine *engine, struct gate_stats *stats)
{
	struct gate_rule_set_stats rules = {};
	size_t refused = 0;

	stats->start_us = engine->start_us;
	if (engine->sets) {
		gate_engine_sum_sets(engine->sets, &rules, &refused);
		stats->rules_loaded_us = engine->loaded_us ? engine->loaded_us : engine->start_us;
	}
	stats->rules_loaded = rules.rules;
	stats->rules_failed = refused;
}

static bool asked_to_end(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM));
}

/* A record that can't be ends its file, not the run: what came before it counts. */
static void read_source(struct gate_worker *worker, struct gate_source *source)
{
	struct gate_packet p = {};
	struct bh_diag diag = {};
	uint64_t count = 0;
	int n;

	while ((n = source->ops->next(source, &p, 0, &diag)) != -ENODATA) {
		if (n < 0) {
			bh_log(BH_LOG_WARN, "capture", "%s", diag.text);
			continue;
		}
		if (n) {
			gate_worker_packet(worker, &p);
		}
		if (++count % LOOK_EVERY == 0 && asked_to_end()) {
			return;
		}
	}
}

void gate_engine_run(struct gate_engine *engine, struct gate_source *source)
{
	const struct gate_worker_options options = {
		.config = engine->config,
		.shared = engine->shared,
		.out = engine->out,
		.events = engine->events,
		.names = engine->names,
		.source = source,
		.files = engine->files,
		.ranges = engine->ranges,
		.select = engine->select,
		.verdict = {.inline_mode = engine->config->simulate_ips},
	};
	struct gate_worker *worker = gate_worker_new(&options);
	struct gate_stats stats = {};
	uint64_t began = bh_time_mono_ns();
	sigset_t ends, was;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, &was);
	if (engine->sets) {
		gate_worker_use(worker, engine->sets);
	}
	read_source(worker, source);
	gate_worker_finish(worker, GATE_FLOW_END_SHUTDOWN);
	gate_worker_stats(worker, &stats);
	gate_engine_stats(engine, &stats);
	if (engine->out &&
	    (!engine->config->eve_types || engine->config->eve_types >> GATE_EVE_STATS & 1)) {
		gate_eve_stats(engine->out, &stats, bh_time_wall_ns() / 1000);
	}
	gate_worker_free(worker);
	if (engine->out) {
		gate_out_flush(engine->out);
	}
	bh_log(BH_LOG_INFO, "main", "%llu packets, %llu bytes, %llu flows, %llu alerts in %.3f s",
	       (unsigned long long)stats.value[GATE_STAT_CAPTURE_PACKETS],
	       (unsigned long long)stats.value[GATE_STAT_DECODER_BYTES],
	       (unsigned long long)stats.value[GATE_STAT_FLOW_TOTAL],
	       (unsigned long long)stats.value[GATE_STAT_DETECT_ALERTS],
	       (double)(bh_time_mono_ns() - began) / (double)BH_NS_PER_S);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
}
