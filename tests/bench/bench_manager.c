/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a policy commit to the confirmation by every host that it concerns, with the real manager
 * and the real bus. Simulated hosts (simhost.c) decode and apply for real; what a kernel would add
 * is bench_commit's business. Prints; judges nothing.
 *
 *	bench_manager BULKHEADD SIMHOSTS [HOSTS [VMS-PER-HOST [POLICIES [ROUNDS]]]]
 */
#include "simhost.h"
#include "simworld.h"

#include "base/buf.h"
#include "base/ctl.h"
#include "base/file.h"
#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define PROCESSES 8

struct world {
	char dir[64];
	char *api, *control;
	pid_t manager;
	pid_t hosts[PROCESSES];
	int inputs[PROCESSES];
	pid_t bus;
	unsigned int host_count, vms, policies, rounds;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_manager: %s\n", what);
	exit(1);
}

static pid_t spawn(char *const *argv, int input)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (input >= 0) {
			dup2(input, 0);
		}
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static void start_manager(struct world *w, char *program)
{
	BH_FREE char *path = bh_asprintf("%s/manager.yaml", w->dir);
	char *argv[] = {program, (char *)"-c", path, NULL};
	FILE *f = fopen(path, "we");
	json_t *answer = NULL;
	long status = 0;

	if (!f) {
		die("cannot write the configuration");
	}
	fprintf(f,
		"state_dir: %s/state\nrun_dir: %s/run\nlisten: ''\n"
		"bus: {listen: '127.0.0.1:24222'}\n",
		w->dir, w->dir);
	fclose(f);
	w->api = bh_asprintf("%s/run/api.sock", w->dir);
	w->control = bh_asprintf("%s/run/manager.sock", w->dir);
	w->manager = spawn(argv, -1);
	for (int i = 0; i < 200; i++) {
		bool up =
			sim_api(w->api, "GET", "status", "text/plain", NULL, &status, &answer) ==
				0 &&
			json_is_true(json_object_get(json_object_get(answer, "bus"), "connected"));

		json_decref(answer);
		answer = NULL;
		if (up) {
			return;
		}
		usleep(100000);
	}
	die("the manager did not start");
}

static void start_hosts(struct world *w, char *program)
{
	unsigned int each = (w->host_count + PROCESSES - 1) / PROCESSES;

	for (unsigned int i = 0; i < PROCESSES && i * each < w->host_count; i++) {
		unsigned int count =
			w->host_count - i * each < each ? w->host_count - i * each : each;
		BH_FREE char *dir = bh_asprintf("%s/hosts", w->dir);
		BH_FREE char *first = bh_asprintf("%u", i * each);
		BH_FREE char *number = bh_asprintf("%u", count);
		BH_FREE char *vms = bh_asprintf("%u", w->vms);
		BH_FREE char *tenants = bh_asprintf("%u", SIM_TENANTS);
		char *argv[] = {program, w->api, dir, first, number, vms, tenants, NULL};
		int pipe_fds[2];

		if (pipe(pipe_fds) < 0) {
			die("pipe");
		}
		fcntl(pipe_fds[1], F_SETFD, FD_CLOEXEC);
		w->hosts[i] = spawn(argv, pipe_fds[0]);
		w->inputs[i] = pipe_fds[1];
		close(pipe_fds[0]);
	}
}

/* CPU of a process so far, from /proc. */
static double cpu_of(pid_t pid)
{
	BH_FREE char *path = bh_asprintf("/proc/%d/stat", (int)pid);
	BH_FREE char *text = NULL;
	unsigned long user = 0, system = 0;
	const char *rest;
	size_t size;

	if (!pid || bh_file_read(path, 4096, &text, &size, NULL) < 0) {
		return 0;
	}
	rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			    &system) != 2) {
		return 0;
	}
	return (double)(user + system) * 1000 / (double)sysconf(_SC_CLK_TCK);
}

struct cpu {
	double manager_ms, bus_ms, hosts_ms;
};

static struct cpu cpu_now(const struct world *w)
{
	struct cpu cpu = {.manager_ms = cpu_of(w->manager), .bus_ms = cpu_of(w->bus)};

	for (unsigned int i = 0; i < PROCESSES; i++) {
		cpu.hosts_ms += cpu_of(w->hosts[i]);
	}
	return cpu;
}

/* The simulated hosts share the cores with manager and bus, which the real ones do not. */
static void print_cpu(const struct world *w, const struct cpu *begun, unsigned int count)
{
	struct cpu now = cpu_now(w);

	printf("%-34s CPU per commit: manager %.1f ms, nats-server %.1f ms, "
	       "simulated hosts %.1f ms\n",
	       "", (now.manager_ms - begun->manager_ms) / count,
	       (now.bus_ms - begun->bus_ms) / count, (now.hosts_ms - begun->hosts_ms) / count);
	fflush(stdout);
}

static void find_bus(struct world *w)
{
	BH_FREE char *path = bh_asprintf("%s/state/nats/nats.pid", w->dir);
	BH_FREE char *text = NULL;
	size_t size;

	if (bh_file_read(path, 64, &text, &size, NULL) == 0) {
		w->bus = (pid_t)strtol(text, NULL, 10);
	}
}

static void wait_in_sync(struct world *w, double limit_s)
{
	double begun = now_s();

	for (;;) {
		BH_JSON json_t *answer = NULL;
		long status = 0;
		const json_t *hosts;
		json_int_t in_sync;

		if (sim_api(w->api, "GET", "status", "text/plain", NULL, &status, &answer) < 0) {
			die("the manager is gone");
		}
		hosts = json_object_get(answer, "hosts");
		in_sync = json_integer_value(json_object_get(hosts, "in_sync"));
		if (in_sync == (json_int_t)w->host_count &&
		    json_integer_value(json_object_get(json_object_get(answer, "counts"), "vms")) ==
			    (json_int_t)w->host_count * w->vms) {
			return;
		}
		if (now_s() - begun > limit_s) {
			fprintf(stderr, "%lld of %u hosts in sync\n", (long long)in_sync,
				w->host_count);
			die("the hosts did not come up");
		}
		sleep(1);
	}
}

static void print_memory(struct world *w, const char *when)
{
	BH_JSON json_t *request = json_pack("{s:s}", "op", "memory");
	BH_JSON json_t *reply = NULL;

	if (bh_ctl_call(w->control, request, 10000, &reply, NULL) == 0) {
		printf("%-34s manager RSS %6.1f MB, CPU %.1f s user %.1f s system\n", when,
		       (double)bh_json_u64_or(reply, "rss_bytes", 0) / 1e6,
		       (double)bh_json_u64_or(reply, "cpu_user_us", 0) / 1e6,
		       (double)bh_json_u64_or(reply, "cpu_system_us", 0) / 1e6);
	}
}

struct sample {
	double elapsed_ms;
	size_t hosts;
};

static struct sample apply(struct world *w, struct bh_wbuf *text)
{
	BH_JSON json_t *answer = NULL;
	long status = 0;

	if (sim_api(w->api, "POST", "policies:apply?wait=60", "text/yaml", bh_wbuf_cstr(text),
		    &status, &answer) < 0 ||
	    status != 200 || !json_is_true(json_object_get(answer, "complete"))) {
		BH_FREE char *said = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

		fprintf(stderr, "HTTP %ld %.400s\n", status, said ? said : "");
		die("a commit was not installed everywhere");
	}
	bh_wbuf_done(text);
	bh_wbuf_init(text, 0);
	return (struct sample){(double)bh_json_u64_or(answer, "elapsed_us", 0) / 1000,
			       json_array_size(json_object_get(answer, "hosts"))};
}

static int compare(const void *a, const void *b)
{
	double x = ((const struct sample *)a)->elapsed_ms,
	       y = ((const struct sample *)b)->elapsed_ms;

	return x < y ? -1 : x > y;
}

static void print_samples(const char *what, struct sample *s, unsigned int count)
{
	size_t hosts = 0;

	for (unsigned int i = 0; i < count; i++) {
		hosts += s[i].hosts;
	}
	qsort(s, count, sizeof(*s), compare);
	printf("%-34s %u commits, %.1f hosts each: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", what,
	       count, (double)hosts / count, s[count / 2].elapsed_ms,
	       s[(count * 99 + 99) / 100 - 1].elapsed_ms, s[count - 1].elapsed_ms);
	fflush(stdout);
}

static void measure(struct world *w)
{
	BH_FREE struct sample *samples = bh_alloc_array(w->rounds, sizeof(*samples));
	struct bh_wbuf text;
	struct sample first;
	struct cpu begun;

	bh_wbuf_init(&text, 0);
	for (unsigned int i = 0; i < w->policies; i++) {
		sim_add_policy(&text, i, 0);
	}
	first = apply(w, &text);
	printf("%-34s %zu hosts: %.1f ms\n", "all policies at once", first.hosts, first.elapsed_ms);
	begun = cpu_now(w);
	for (unsigned int i = 0; i < w->rounds; i++) {
		sim_add_policy(&text, i * 7 % w->policies, i + 1);
		samples[i] = apply(w, &text);
	}
	print_samples("one policy of one tenant", samples, w->rounds);
	print_cpu(w, &begun, w->rounds);
	begun = cpu_now(w);
	for (unsigned int i = 0; i < w->rounds; i++) {
		sim_add_guardrail(&text, i + 1);
		samples[i] = apply(w, &text);
	}
	print_samples("one guard-rail for all", samples, w->rounds);
	print_cpu(w, &begun, w->rounds);
	bh_wbuf_done(&text);
}

static void end(struct world *w)
{
	for (unsigned int i = 0; i < PROCESSES; i++) {
		if (w->hosts[i]) {
			close(w->inputs[i]);
			kill(w->hosts[i], SIGTERM);
			waitpid(w->hosts[i], NULL, 0);
		}
	}
	kill(w->manager, SIGTERM);
	waitpid(w->manager, NULL, 0);
}

static unsigned int number(int argc, char **argv, int at, unsigned int dflt)
{
	return at < argc ? (unsigned int)strtoul(argv[at], NULL, 10) : dflt;
}

int main(int argc, char **argv)
{
	struct world w = {.host_count = number(argc, argv, 3, 1000),
			  .vms = number(argc, argv, 4, 10),
			  .policies = number(argc, argv, 5, 1000),
			  .rounds = number(argc, argv, 6, 100)};
	BH_FREE char *clean = NULL;
	double begun;

	if (argc < 3) {
		die("usage: bench_manager BULKHEADD SIMHOSTS [HOSTS [VMS [POLICIES [ROUNDS]]]]");
	}
	snprintf(w.dir, sizeof(w.dir), "/var/tmp/bench-manager.XXXXXX");
	if (!mkdtemp(w.dir)) {
		die("no folder");
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	start_manager(&w, argv[1]);
	find_bus(&w);
	print_memory(&w, "empty");
	begun = now_s();
	start_hosts(&w, argv[2]);
	wait_in_sync(&w, 600);
	printf("%u hosts with %u VMs joined and in sync in %.1f s\n", w.host_count,
	       w.host_count * w.vms, now_s() - begun);
	print_memory(&w, "hosts in sync");
	measure(&w);
	print_memory(&w, "after the commits");
	end(&w);
	clean = bh_asprintf("rm -rf %s", w.dir);
	return system(clean) == 0 ? 0 : 1;
}
