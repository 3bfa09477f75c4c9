/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole gate over packets, for fuzz targets: decode, flow, stream, parsers, rules, records.
 * What is asked of it besides not to fall over: each record is JSON of one line, and every flow
 * that began has ended.
 */
#ifndef BH_TESTS_FUZZ_GATE_WALK_H
#define BH_TESTS_FUZZ_GATE_WALK_H

#include "base/util.h"
#include "gate/engine.h"
#include "gate/rules/read.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline int walk_check_lines(struct gate_out_sink *sink, const char *lines, size_t size)
{
	while (size) {
		const char *end = memchr(lines, '\n', size);
		json_t *record;

		assert(end);
		record = json_loadb(lines, (size_t)(end - lines), JSON_ALLOW_NUL, NULL);
		assert(record);
		json_decref(record);
		size -= (size_t)(end + 1 - lines);
		lines = end + 1;
	}
	return 0;
}

static inline void walk_nothing(struct gate_out_sink *sink)
{
}

static inline void walk_config(struct gate_config *config)
{
	struct bh_diag diag = {};

	if (gate_config_load(NULL, config, &diag)) {
		abort();
	}
	config->check_checksums = false;
	config->stream_midstream = true;
	config->simulate_ips = true;
	config->flow_count = 64;
	config->eve_payload = config->eve_payload_printable = true;
	config->eve_packet = config->eve_packet_anomalies = config->eve_community_id = true;
	gate_config_settle(config);
}

static inline struct gate_out *walk_out(const struct gate_config *config)
{
	static struct gate_out_sink sink = {walk_check_lines, walk_nothing, walk_nothing};
	struct gate_out *out = gate_out_new(config, &sink);

	gate_out_patient(out);
	return out;
}

/* One set of these rules, as `engine->sets`; what is refused is in its files. False: `files` was
 * taken all the same, there is no set. */
static inline bool walk_rules(struct gate_engine *engine, struct gate_rule_files *files,
			      struct bh_diag *diag)
{
	struct gate_rule_set *set = NULL;

	return !gate_rule_set_new(files, engine->config, engine->shared, &set, diag) &&
	       !gate_rule_sets_new(&set, 1, &engine->sets, diag);
}

static inline struct gate_worker *walk_begin(const struct gate_engine *engine)
{
	const struct gate_worker_options options = {
		.config = engine->config,
		.shared = engine->shared,
		.out = engine->out,
		.names = engine->names,
		.verdict.inline_mode = true,
	};
	struct gate_worker *worker = gate_worker_new(&options);

	gate_worker_use(worker, engine->sets);
	return worker;
}

static inline void walk_end(const struct gate_engine *engine, struct gate_worker *worker)
{
	struct gate_stats stats = {};

	gate_worker_finish(worker, GATE_FLOW_END_SHUTDOWN);
	gate_worker_stats(worker, &stats);
	assert(stats.value[GATE_STAT_FLOW_ACTIVE] == 0);
	gate_worker_free(worker);
	gate_out_flush(engine->out);
}

#endif
