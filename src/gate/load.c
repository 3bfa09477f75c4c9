/* SPDX-License-Identifier: Apache-2.0 */
/* Rule files to the rule sets that run: each slot's files are read and built, all or none. */
#include "gate/engine.h"

#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "gate/rules/read.h"

#include <unistd.h>

char *gate_engine_rule_path(const struct gate_config *config, const char *name)
{
	if (!config->rule_path || name[0] == '/' || access(name, F_OK) == 0) {
		return bh_strdup(name);
	}
	return bh_asprintf("%s/%s", config->rule_path, name);
}

static void log_refusal(const struct gate_rule_refusal *refusal, void *arg)
{
	bh_log(BH_LOG_WARN, "rules", "%s:%u:%u: sid %u: %s", refusal->file, refusal->line,
	       refusal->column, refusal->sid, refusal->reason);
}

/* Files of slot 0 were made paths at start. */
static int read_files(struct gate_engine *engine, uint32_t slot, struct gate_rule_files *files,
		      struct bh_diag *diag)
{
	const struct gate_config *config = engine->config;
	int err = 0;

	if (!slot) {
		bh_vec_foreach (file, &engine->rule_files) {
			err = err ? err
				  : gate_rules_read(files, config, engine->names, *file, diag);
		}
		return err;
	}
	bh_vec_foreach (file, &config->rule_sets.items[slot - 1].files) {
		BH_FREE char *path = gate_engine_rule_path(config, *file);

		err = err ? err : gate_rules_read(files, config, engine->names, path, diag);
	}
	return err;
}

static void tell(const struct gate_rule_files *files, size_t from, gate_refused_fn *refused,
		 void *arg)
{
	for (size_t i = from; i < files->refusals.count; i++) {
		refused(&files->refusals.items[i], arg);
	}
}

static void log_set(const struct gate_engine *engine, uint32_t slot,
		    const struct gate_rule_set *set, uint64_t ms)
{
	struct gate_rule_set_stats stats;

	gate_rule_set_stats(set, &stats);
	bh_log(BH_LOG_INFO, "rules",
	       "%s%s%u rules loaded, %zu refused, %u groups, %u databases (%s), %llu ms",
	       engine->config->rule_sets.count ? gate_config_set_name(engine->config, slot) : "",
	       engine->config->rule_sets.count ? ": " : "", stats.rules,
	       gate_rule_set_files(set)->refusals.count, stats.groups, stats.databases,
	       stats.from_cache ? "from the cache" : "new", (unsigned long long)ms);
}

static int build_set(struct gate_engine *engine, uint32_t slot, gate_refused_fn *refused, void *arg,
		     struct gate_rule_set **ret, struct bh_diag *diag)
{
	struct gate_rule_files *files = gate_rules_new();
	uint64_t started = bh_time_mono_ns();
	size_t left_out;
	int err = read_files(engine, slot, files, diag);

	if (!err && engine->config->threshold_file) {
		err = gate_rules_read_thresholds(files, engine->config->threshold_file, diag);
	}
	tell(files, 0, refused, arg);
	if (err) {
		gate_rules_free(files);
		return err;
	}
	left_out = files->refusals.count;
	err = gate_rule_set_new(files, engine->config, engine->shared, ret, diag);
	if (err) {
		return err;
	}
	/* what could be read and not compiled */
	tell(gate_rule_set_files(*ret), left_out, refused, arg);
	log_set(engine, slot, *ret, (bh_time_mono_ns() - started) / BH_NS_PER_MS);
	return 0;
}

int gate_engine_build(struct gate_engine *engine, gate_refused_fn *refused, void *arg,
		      struct gate_rule_sets **ret, struct bh_diag *diag)
{
	uint32_t count = (uint32_t)engine->config->rule_sets.count + 1, built = 0;
	BH_FREE struct gate_rule_set **sets = bh_alloc_array(count, sizeof(*sets));
	int err = 0;

	refused = refused ? refused : log_refusal;
	while (built < count && !err) {
		err = build_set(engine, built, refused, arg, &sets[built], diag);
		if (!err && engine->sets) {
			gate_rule_set_follow(sets[built], gate_rule_sets_get(engine->sets, built));
		}
		built += !err;
	}
	if (err) {
		if (engine->config->rule_sets.count) {
			bh_diag_prefix(
				diag, "rule set %s: ", gate_config_set_name(engine->config, built));
		}
		for (uint32_t i = 0; i < built; i++) {
			gate_rule_set_unref(sets[i]);
		}
		return err;
	}
	return gate_rule_sets_new(sets, count, ret, diag);
}

void gate_engine_sum_sets(const struct gate_rule_sets *sets, struct gate_rule_set_stats *sum,
			  size_t *ret_refused)
{
	*sum = (struct gate_rule_set_stats){.from_cache = true};
	*ret_refused = 0;
	for (uint32_t i = 0; i < gate_rule_sets_count(sets); i++) {
		const struct gate_rule_set *set = gate_rule_sets_get(sets, i);
		struct gate_rule_set_stats stats;

		gate_rule_set_stats(set, &stats);
		sum->rules += stats.rules;
		sum->groups += stats.groups;
		sum->databases += stats.databases;
		sum->shared_databases += stats.shared_databases;
		sum->bytes += stats.bytes;
		sum->build_ms += stats.build_ms;
		sum->from_cache = sum->from_cache && stats.from_cache;
		*ret_refused += gate_rule_set_files(set)->refusals.count;
	}
}
