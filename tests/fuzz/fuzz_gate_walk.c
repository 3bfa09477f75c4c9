/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture of any bytes through the whole gate: decode, flow, stream, parsers, rules, records.
 * What is asked of it besides not to fall over: each record is JSON of one line, and every flow
 * that began has ended.
 */
#include "base/util.h"
#include "gate/engine.h"
#include "gate/rules/read.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rules_text[] =
	"alert ip any any -> any any (msg:\"any\"; flowbits:set,seen; noalert; sid:1;)\n"
	"alert tcp any any -> any any (content:\"a\"; pcre:\"/b+c/R\"; sid:2;)\n"
	"alert tcp any any -> any any (flow:established; content:\"|00|\"; byte_jump:2,0,relative; "
	"isdataat:1,relative; sid:3;)\n"
	"alert http any any -> any any (http.uri; content:\"/\"; http.header; content:\"o\"; "
	"nocase; sid:4;)\n"
	"alert http any any -> any any (file.data; content:\"e\"; sid:5;)\n"
	"alert dns any any -> any any (dns.query; content:\"e\"; nocase; sid:6;)\n"
	"alert tls any any -> any any (tls.sni; to_lowercase; content:\"e\"; sid:7;)\n"
	"drop udp any any -> any any (content:\"drop\"; threshold:type limit,track by_src,count "
	"1,seconds 1; sid:8;)\n"
	"reject tcp any any -> any any (dsize:>500; sid:9;)\n"
	"alert icmp any any -> any any (itype:8; sid:10;)\n"
	"alert smtp any any -> any any (file.name; content:\".\"; sid:11;)\n"
	"alert tcp any any -> any any (stream-event:est_invalid_ack; sid:12;)\n";

struct world {
	struct gate_out_sink sink;
	struct gate_config config;
	struct gate_engine engine;
};

static int check_lines(struct gate_out_sink *sink, const char *lines, size_t size)
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

static void nothing(struct gate_out_sink *sink)
{
}

static struct world *world_new(void)
{
	struct world *w = bh_alloc(sizeof(*w));
	struct gate_rule_files *files = gate_rules_new();
	const struct gate_view text = {(const uint8_t *)rules_text, sizeof(rules_text) - 1};
	struct gate_rule_set *set = NULL;
	struct bh_diag diag = {};

	if (gate_config_load(NULL, &w->config, &diag)) {
		abort();
	}
	w->config.check_checksums = false;
	w->config.stream_midstream = true;
	w->config.simulate_ips = true;
	w->config.flow_count = 64;
	w->config.eve_payload = w->config.eve_payload_printable = true;
	w->config.eve_packet = w->config.eve_packet_anomalies = w->config.eve_community_id = true;
	gate_config_settle(&w->config);
	gate_engine_init(&w->engine, &w->config, NULL, 0, true);
	if (gate_rules_read_text(files, &w->config, w->engine.names, "fuzz.rules", text, &diag) ||
	    files->refusals.count ||
	    gate_rule_set_new(files, &w->config, w->engine.shared, &set, &diag) ||
	    gate_rule_sets_new(&set, 1, &w->engine.sets, &diag)) {
		fprintf(stderr, "%s\n", diag.text);
		abort();
	}
	w->sink = (struct gate_out_sink){check_lines, nothing, nothing};
	w->engine.out = gate_out_new(&w->config, &w->sink);
	gate_out_patient(w->engine.out);
	return w;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world *world; /* rules are compiled once */
	struct gate_worker_options options = {.number = 0};
	struct gate_source *source = NULL;
	struct gate_stats stats = {};
	struct gate_worker *worker;
	struct gate_packet p = {};
	int n;

	if (!world) {
		world = world_new();
	}
	if (gate_source_memory("fuzz", data, size, &source, NULL)) {
		return 0;
	}
	options.config = &world->config;
	options.shared = world->engine.shared;
	options.out = world->engine.out;
	options.names = world->engine.names;
	options.verdict.inline_mode = true;
	worker = gate_worker_new(&options);
	gate_worker_use(worker, world->engine.sets);
	while ((n = source->ops->next(source, &p, 0, NULL)) != -ENODATA) {
		if (n > 0) {
			gate_worker_packet(worker, &p);
		}
	}
	gate_worker_finish(worker, GATE_FLOW_END_SHUTDOWN);
	gate_worker_stats(worker, &stats);
	assert(stats.value[GATE_STAT_FLOW_ACTIVE] == 0);
	gate_worker_free(worker);
	gate_out_flush(world->engine.out);
	source->ops->free(source);
	return 0;
}
