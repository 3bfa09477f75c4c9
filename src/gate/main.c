/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-gated: options, parts, the end. See docs/man/bulkhead-gated.8. */
#include "base/log.h"
#include "gate/engine.h"
#include "gate/rules/read.h"
#include "gate/sandbox.h"
#include "version.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>

#define FILES_MAX 64
#define MORE	  "bulkhead-gated --help says more\n"

struct options {
	const char *config, *read, *interface, *log_dir, *data_dir, *checksums, *user, *workers;
	char *inline_pair; /* "eth0:eth1" */
	const char *rules[FILES_MAX];
	size_t rule_count;
	const char *sets[FILES_MAX];
	size_t set_count;
	bool only, test, errors_fatal, simulate_ips, verbose, quiet;
	bool list_keywords, list_events, list_settings, list_counters;
};

static void usage(void)
{
	fputs("usage: bulkhead-gated -r FILE|FOLDER [-S RULES] [-l FOLDER]\n"
	      "       bulkhead-gated -i INTERFACE [-S RULES] [-l FOLDER]\n"
	      "       bulkhead-gated --inline INTERFACE:INTERFACE [-S RULES] [-l FOLDER]\n"
	      "       bulkhead-gated -T [-S RULES]\n"
	      "\n"
	      "  -r FILE|FOLDER    read captures (pcap, pcapng, also in gzip) and end\n"
	      "  -i INTERFACE      listen\n"
	      "  --inline A:B      stand between two interfaces; drop drops\n"
	      "  -S FILE           rules, only these; may be repeated\n"
	      "  -s FILE           rules besides those of the configuration; may be repeated\n"
	      "  -l FOLDER         where records go (default-log-dir)\n"
	      "  -c FILE           configuration (YAML)\n"
	      "  --data-dir FOLDER datasets with relative names (datasets.dir)\n"
	      "  --set KEY=VALUE   one setting\n"
	      "  -T                check configuration and rules and end\n"
	      "  --init-errors-fatal  a rule that is refused ends -T and the start with 1\n"
	      "  -k all|none       heed checksums or not\n"
	      "  --simulate-ips    with -r: as if it stood inline\n"
	      "  --workers N       threads that inspect\n"
	      "  --user NAME       who to be after start (root becomes nobody)\n"
	      "  --list-keywords, --list-events, --list-settings, --list-counters\n"
	      "  -v                log more; -q: only trouble\n"
	      "  --no-random, --strict-rule-keywords: Suricata's; change nothing\n"
	      "  --version\n",
	      stdout);
}

/* What is wrong, and where to read on; 2. */
[[gnu::format(printf, 1, 2)]] static int wrong(const char *fmt, ...)
{
	va_list args;

	fputs("bulkhead-gated: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputs("\n" MORE, stderr);
	return 2;
}

enum {
	OPT_INLINE = 256,
	OPT_ERRORS_FATAL,
	OPT_SET,
	OPT_SIMULATE,
	OPT_WORKERS,
	OPT_KEYWORDS,
	OPT_EVENTS,
	OPT_SETTINGS,
	OPT_COUNTERS,
	OPT_USER,
	OPT_RUNMODE,
	OPT_DATA_DIR,
	OPT_NOTHING,
	OPT_VERSION,
};

static const struct option longs[] = {
	{"inline", required_argument, NULL, OPT_INLINE},
	{"init-errors-fatal", no_argument, NULL, OPT_ERRORS_FATAL},
	{"set", required_argument, NULL, OPT_SET},
	{"simulate-ips", no_argument, NULL, OPT_SIMULATE},
	{"workers", required_argument, NULL, OPT_WORKERS},
	{"list-keywords", no_argument, NULL, OPT_KEYWORDS},
	{"list-events", no_argument, NULL, OPT_EVENTS},
	{"list-settings", no_argument, NULL, OPT_SETTINGS},
	{"list-counters", no_argument, NULL, OPT_COUNTERS},
	{"user", required_argument, NULL, OPT_USER},
	{"runmode", required_argument, NULL, OPT_RUNMODE}, /* of Suricata: says nothing here */
	{"data-dir", required_argument, NULL, OPT_DATA_DIR},
	/* of Suricata: what is done here anyway */
	{"no-random", no_argument, NULL, OPT_NOTHING},
	{"strict-rule-keywords", optional_argument, NULL, OPT_NOTHING},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, 'h'},
	{},
};

static bool push(const char *list[FILES_MAX], size_t *count, const char *value)
{
	if (*count == FILES_MAX) {
		fprintf(stderr, "bulkhead-gated: at most %d of an option\n", FILES_MAX);
		return false;
	}
	list[(*count)++] = value;
	return true;
}

/* false: said why not. */
static bool take_option(int c, struct options *o)
{
	switch (c) {
	case 'r':
		o->read = optarg;
		return true;
	case 'i':
		o->interface = optarg;
		return true;
	case OPT_INLINE:
		o->inline_pair = optarg;
		return strchr(optarg, ':') ||
		       !wrong("--inline %s: expected two interfaces, A:B", optarg);
	case 'S':
		o->only = true;
		return push(o->rules, &o->rule_count, optarg);
	case 's':
		return push(o->rules, &o->rule_count, optarg);
	case 'l':
		o->log_dir = optarg;
		return true;
	case 'c':
		o->config = optarg;
		return true;
	case 'k':
		o->checksums = optarg;
		return strcmp(optarg, "all") == 0 || strcmp(optarg, "none") == 0 ||
		       !wrong("-k %s: expected all or none", optarg);
	case OPT_SET:
		return push(o->sets, &o->set_count, optarg);
	case OPT_WORKERS:
		o->workers = optarg;
		return true;
	case OPT_USER:
		o->user = optarg;
		return true;
	case OPT_RUNMODE:
		return !strcmp(optarg, "single") || !strcmp(optarg, "workers") ||
		       !strcmp(optarg, "autofp") ||
		       !wrong("--runmode %s: expected single, workers or autofp (none of them "
			      "changes what is found; --workers says how many threads inspect)",
			      optarg);
	case OPT_DATA_DIR:
		o->data_dir = optarg;
		return true;
	case OPT_NOTHING:
		return true;
	default: /* getopt has said what */
		fputs(MORE, stderr);
		return false;
	}
}

static bool take_flag(int c, struct options *o)
{
	bool *const flags[] = {
		['T'] = &o->test,
		['v'] = &o->verbose,
		['q'] = &o->quiet,
		[OPT_ERRORS_FATAL] = &o->errors_fatal,
		[OPT_SIMULATE] = &o->simulate_ips,
		[OPT_KEYWORDS] = &o->list_keywords,
		[OPT_EVENTS] = &o->list_events,
		[OPT_SETTINGS] = &o->list_settings,
		[OPT_COUNTERS] = &o->list_counters,
	};

	if (c < 0 || (size_t)c >= BH_ARRAY_SIZE(flags) || !flags[c]) {
		return false;
	}
	*flags[c] = true;
	return true;
}

static bool lists(const struct options *o)
{
	return o->list_keywords || o->list_events || o->list_settings || o->list_counters;
}

/* 0 go on, > 0 exit with that less one. */
static int parse_options(int argc, char **argv, struct options *ret)
{
	int c;

	while ((c = getopt_long(argc, argv, "r:i:S:s:l:c:k:Tvqh", longs, NULL)) != -1) {
		if (c == OPT_VERSION) {
			puts("bulkhead-gated " BH_VERSION);
			return 1;
		}
		if (c == 'h') {
			usage();
			return 1;
		}
		if (!take_flag(c, ret) && !take_option(c, ret)) {
			return 1 + 2;
		}
	}
	if (optind < argc) {
		return 1 + wrong("'%s' belongs to no option", argv[optind]);
	}
	if (lists(ret) || ret->test) {
		return 0;
	}
	if (!!ret->read + !!ret->interface + !!ret->inline_pair != 1) {
		return 1 + wrong("where do packets come from? One of -r FILE, -i INTERFACE and "
				 "--inline A:B");
	}
	return 0;
}

static int set(struct gate_config *config, const char *key, const char *value, struct bh_diag *diag)
{
	BH_FREE char *text = NULL;

	if (!value) {
		return 0;
	}
	text = bh_asprintf("%s=%s", key, value);
	return gate_config_set(config, text, diag);
}

static int load_config(const struct options *o, struct gate_config *ret, struct bh_diag *diag)
{
	int err = gate_config_load(o->config, ret, diag);

	for (size_t i = 0; i < o->set_count && !err; i++) {
		err = gate_config_set(ret, o->sets[i], diag);
		if (err > 0) {
			bh_log(BH_LOG_WARN, "config", "%s", diag->text);
			err = 0;
		}
	}
	err = err ? err : set(ret, "default-log-dir", o->log_dir, diag);
	err = err ? err : set(ret, "datasets.dir", o->data_dir, diag);
	err = err ? err : set(ret, "workers", o->workers, diag);
	err = err ? err : set(ret, "run-as.user", o->user, diag);
	if (o->checksums) {
		bool all = strcmp(o->checksums, "all") == 0;

		err = err ? err : set(ret, "stream.checksum-validation", all ? "yes" : "no", diag);
	}
	if (err) {
		return err;
	}
	err = gate_config_check(ret, diag);
	if (err) {
		return err;
	}
	ret->inline_mode = o->inline_pair != NULL;
	ret->simulate_ips = o->simulate_ips;
	gate_config_settle(ret);
	return 0;
}

static void list_counters(void)
{
	const struct gate_stats none = {};
	struct gate_stats_item *items = NULL;
	size_t count = gate_stats_items(&none, &items);

	for (size_t i = 0; i < count; i++) {
		printf("%s: %s\n", items[i].path, items[i].text);
	}
	free(items);
}

static void list_names(const struct options *o)
{
	size_t count = 0;
	const struct gate_keyword *keywords = gate_keywords(&count);

	for (size_t i = 0; i < count && o->list_keywords; i++) {
		printf("%s%s%s: %s\n", keywords[i].name, keywords[i].alias ? ", " : "",
		       keywords[i].alias ? keywords[i].alias : "", keywords[i].help);
	}
	for (enum gate_event event = 1; event < GATE_EVENT_COUNT && o->list_events; event++) {
		printf("%s: %s\n", gate_event_name(event), gate_event_text(event));
	}
	for (unsigned int app = 0; app < GATE_APP_COUNT && o->list_events; app++) {
		const struct gate_app_ops *ops = gate_app_ops_of(app);

		for (unsigned int i = 0; ops && i < ops->event_count; i++) {
			printf("%s.%s: %s\n", ops->name, ops->events[i].name, ops->events[i].text);
		}
	}
	if (o->list_settings) {
		gate_config_list(stdout);
	}
	if (o->list_counters) {
		list_counters();
	}
}

static void print_refusal(const struct gate_rule_refusal *r, void *arg)
{
	(void)arg;
	printf("%s:%u:%u: sid %u: %s\n", r->file, r->line, r->column, r->sid, r->reason);
}

static int load_rules(struct gate_engine *engine, const struct options *o, struct bh_diag *diag)
{
	struct gate_rule_set_stats stats;
	size_t refused;
	int err = gate_engine_build(engine, o->test ? print_refusal : NULL, NULL, &engine->sets,
				    diag);

	if (err) {
		return err;
	}
	gate_engine_sum_sets(engine->sets, &stats, &refused);
	if (o->test) {
		printf("%u rules loaded, %zu refused\n", stats.rules, refused);
	}
	if (o->errors_fatal && refused) {
		return bh_diag_set(diag, -EBADMSG,
				   "%zu rules are refused, which --init-errors-fatal forbids: mend "
				   "or remove them",
				   refused);
	}
	return 0;
}

/* What is below may be written; everything there is made before rights are given up. */
static int enter_sandbox(const struct gate_config *config, bool live, struct bh_diag *diag)
{
	const char *const folders[] = {config->log_dir, config->cache_dir, config->data_dir};
	const struct gate_sandbox sandbox = {
		.user = config->user,
		.capture = live,
		.folders = folders,
		.folder_count = BH_ARRAY_SIZE(folders),
	};

	return gate_sandbox_enter(&sandbox, diag);
}

static int run_file(struct gate_engine *engine, const char *path, struct bh_diag *diag)
{
	struct gate_source *source = NULL;
	int err = gate_source_file(path, &source, diag);

	err = err ? err : enter_sandbox(engine->config, false, diag);
	err = err ? err : gate_source_file_begin(source, diag);
	if (!err) {
		gate_engine_start_output(engine, true);
		gate_engine_run(engine, source);
	}
	if (source) {
		source->ops->free(source);
	}
	return err;
}

static int run_live(struct gate_engine *engine, const struct options *o, struct bh_diag *diag)
{
	struct gate_live *live = NULL;
	BH_FREE char *in = bh_strdup(o->inline_pair ? o->inline_pair : o->interface);
	char *out = o->inline_pair ? strchr(in, ':') : NULL;
	int err;

	if (out) {
		*out++ = '\0';
	}
	err = gate_live_new(engine, in, out, &live, diag);
	err = err ? err : enter_sandbox(engine->config, true, diag);
	if (!err) {
		gate_engine_start_output(engine, false);
		err = gate_live_run(live, diag);
	}
	gate_live_free(live);
	return err;
}

static int run(const struct options *o, const struct gate_config *config, struct bh_diag *diag)
{
	struct gate_engine engine;
	int err;

	gate_engine_init(&engine, config, o->rules, o->rule_count, o->only);
	err = load_rules(&engine, o, diag);
	if (!err && !o->test) {
		err = gate_engine_open_output(&engine, diag);
		if (!err) {
			err = o->read ? run_file(&engine, o->read, diag)
				      : run_live(&engine, o, diag);
		}
	}
	gate_engine_done(&engine);
	return err;
}

int main(int argc, char **argv)
{
	struct options options = {};
	struct gate_config config = {};
	struct bh_diag diag = {};
	char text[BH_DIAG_TEXT_SIZE + BH_DIAG_FILE_SIZE + 32];
	int err = parse_options(argc, argv, &options);

	if (err) {
		return err - 1;
	}
	bh_log_init("bulkhead-gated", options.verbose ? BH_LOG_DEBUG
				      : options.quiet ? BH_LOG_ERROR
						      : BH_LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	/* Streams and bodies come and go: giving their memory back each time costs a tenth. */
	(void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
	if (lists(&options)) {
		list_names(&options);
		return 0;
	}
	err = load_config(&options, &config, &diag);
	err = err ? err : run(&options, &config, &diag);
	if (err) {
		fprintf(stderr, "bulkhead-gated: %s\n", bh_diag_format(&diag, text, sizeof(text)));
	}
	gate_config_done(&config);
	return err ? 1 : 0;
}
