/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated hosts as a program, for tests and for trying things out: `simhosts API-SOCKET DIR
 * [FIRST [COUNT [VMS [TENANTS [ROWS]]]]]`. Runs until standard input ends; a line on it is answered
 * with a line of JSON. */
#include "simhost.h"

#include "base/log.h"
#include "base/util.h"

#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>

struct program {
	uv_loop_t *loop;
	struct simhosts *sim;
	uv_poll_t input;
};

static void on_input(uv_poll_t *poll, int status, int events)
{
	struct program *p = poll->data;
	char line[256];
	ssize_t size = read(0, line, sizeof(line));
	json_t *stats;

	if (size <= 0) {
		uv_stop(p->loop);
		return;
	}
	stats = simhosts_stats(p->sim);
	json_dumpf(stats, stdout, JSON_COMPACT);
	json_decref(stats);
	putchar('\n');
	fflush(stdout);
}

static unsigned int number(int argc, char **argv, int at, unsigned int dflt)
{
	return at < argc ? (unsigned int)strtoul(argv[at], NULL, 10) : dflt;
}

int main(int argc, char **argv)
{
	struct program p = {.loop = uv_default_loop()};
	struct simhosts_options options = {.loop = p.loop};
	struct rlimit limit;
	struct bh_diag diag = {};

	if (argc < 3 || sodium_init() < 0) {
		fprintf(stderr,
			"usage: simhosts API-SOCKET DIR [FIRST [COUNT [VMS [TENANTS [ROWS]]]]]\n");
		return 2;
	}
	bh_log_init("simhosts", BH_LOG_WARN);
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &limit);
	}
	options.api = argv[1];
	options.dir = argv[2];
	options.first = number(argc, argv, 3, 0);
	options.count = number(argc, argv, 4, 1);
	options.vms = number(argc, argv, 5, 10);
	options.tenants = number(argc, argv, 6, 2);
	options.capacity_rows = number(argc, argv, 7, 0);
	if (simhosts_new(&options, &p.sim, &diag) < 0) {
		fprintf(stderr, "simhosts: %s\n", diag.text);
		return 1;
	}
	uv_poll_init(p.loop, &p.input, 0);
	p.input.data = &p;
	uv_poll_start(&p.input, UV_READABLE, on_input);
	uv_run(p.loop, UV_RUN_DEFAULT);
	simhosts_free(p.sim);
	return 0;
}
