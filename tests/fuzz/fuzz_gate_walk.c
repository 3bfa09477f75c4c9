/* SPDX-License-Identifier: Apache-2.0 */
/* A capture of any bytes through the whole gate with rules of ours: see gate_walk.h. */
#include "gate_walk.h"

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
	struct gate_config config;
	struct gate_engine engine;
};

static struct world *world_new(void)
{
	struct world *w = bh_alloc(sizeof(*w));
	struct gate_rule_files *files = gate_rules_new();
	const struct gate_view text = {(const uint8_t *)rules_text, sizeof(rules_text) - 1};
	struct bh_diag diag = {};

	walk_config(&w->config);
	gate_engine_init(&w->engine, &w->config, NULL, 0, true);
	if (gate_rules_read_text(files, &w->config, w->engine.names, "fuzz.rules", text, &diag) ||
	    files->refusals.count || !walk_rules(&w->engine, files, &diag)) {
		fprintf(stderr, "%s\n", diag.text);
		abort();
	}
	w->engine.out = walk_out(&w->config);
	return w;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world *world; /* rules are compiled once */
	struct gate_source *source = NULL;
	struct gate_worker *worker;
	struct gate_packet p = {};
	int n;

	if (!world) {
		world = world_new();
	}
	if (gate_source_memory("fuzz", data, size, &source, NULL)) {
		return 0;
	}
	worker = walk_begin(&world->engine);
	while ((n = source->ops->next(source, &p, 0, NULL)) != -ENODATA) {
		if (n > 0) {
			gate_worker_packet(worker, &p);
		}
	}
	walk_end(&world->engine, worker);
	source->ops->free(source);
	return 0;
}
