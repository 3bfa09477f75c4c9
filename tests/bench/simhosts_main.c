/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated hosts as a program, for tests and for trying things out: `simhosts API-SOCKET DIR
 * [FIRST [COUNT [VMS [TENANTS [ROWS]]]]]`. Runs until standard input ends. A line on it is answered
 * with a line of JSON that says how the hosts are; but a line `{"host": 0, "event": {...}}` makes
 * that host tell an event, and `{"host": 0, "vm": 3, "is": {"name": "x"}}` changes one of its VMs
 * and `{"host": 0, "orders": {}}` says what orders come to, and `{"host": 1, "from": 0, "vm": 3,
 * "moves": "done"}` lets a VM travel to that host (simhost.h), all without an answer. */
#include "simhost.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/util.h"

#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>

struct program {
	uv_loop_t *loop;
	struct simhosts *sim;
	uv_poll_t input;
	struct bh_wbuf lines; /* what was read and not looked at yet */
};

static void tell(struct program *p, const json_t *line)
{
	unsigned int host = (unsigned int)bh_json_u64_or(line, "host", 0);
	const json_t *is = json_object_get(line, "is");
	const json_t *orders = json_object_get(line, "orders");
	const char *moves = json_string_value(json_object_get(line, "moves"));
	unsigned int vm = (unsigned int)bh_json_u64_or(line, "vm", 0);
	struct bh_diag diag = {};
	int r;

	if (is) {
		r = simhosts_change_vm(p->sim, host, vm, is, &diag);
	} else if (moves) {
		r = simhosts_move(p->sim, (unsigned int)bh_json_u64_or(line, "from", 0), vm, host,
				  moves, &diag);
	} else if (orders) {
		r = simhosts_behave(p->sim, host, orders, &diag);
	} else {
		r = simhosts_tell(p->sim, host, json_object_get(line, "event"), &diag);
	}
	if (r < 0) {
		fprintf(stderr, "simhosts: %s\n", diag.text);
	}
}

static void on_line(struct program *p, const char *text)
{
	BH_JSON json_t *line = *text == '{' ? json_loads(text, 0, NULL) : NULL;
	BH_JSON json_t *stats = NULL;

	if (line) {
		tell(p, line);
		return;
	}
	stats = simhosts_stats(p->sim);
	json_dumpf(stats, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
}

static void on_input(uv_poll_t *poll, int status, int events)
{
	struct program *p = poll->data;
	char data[65536], *end;
	ssize_t size = read(0, data, sizeof(data));
	size_t used;

	if (size <= 0) {
		uv_stop(p->loop);
		return;
	}
	bh_wbuf_put(&p->lines, data, (size_t)size);
	while ((end = memchr(p->lines.data, '\n', p->lines.size))) {
		*end = '\0';
		used = (size_t)(end - (char *)p->lines.data) + 1;
		on_line(p, (char *)p->lines.data);
		memmove(p->lines.data, p->lines.data + used, p->lines.size - used);
		p->lines.size -= used;
	}
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
	bh_wbuf_init(&p.lines, 1u << 20);
	uv_run(p.loop, UV_RUN_DEFAULT);
	simhosts_free(p.sim);
	bh_wbuf_done(&p.lines);
	return 0;
}
