/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a commit costs the manager itself, without bus and hosts: every delta is made and encoded,
 * every host answers at once with the right hash. Prints; judges nothing. bench_manager has the
 * same world behind a real bus.
 *
 *	bench_distribute [HOSTS [VMS-PER-HOST [POLICIES [ROUNDS]]]]
 */
#include "simworld.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/commit.h"

#include <sodium.h>
#include <sys/resource.h>

struct sent {
	struct manager_sync *sync;
	struct bh_hash to;
	unsigned int attempt;
};
struct world {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	BH_VEC(struct sent) sent;
	size_t bytes, deltas;
	unsigned int hosts, vms, policies, rounds;
};

static void carry_apply(struct manager_sync *sync, const struct manager_image *image,
			const struct bh_delta *delta, void *arg)
{
	struct world *w = arg;
	struct sent *s = bh_vec_push(&w->sent);
	struct bh_wbuf out;

	bh_wbuf_init(&out, 0);
	bh_delta_encode(delta, &out);
	w->bytes += out.size;
	w->deltas++;
	bh_wbuf_done(&out);
	*s = (struct sent){sync, *bh_delta_to(delta), sync->attempt};
}

static void carry_ping(struct manager_sync *sync, void *arg)
{
}

static bool carry_up(void *arg)
{
	return true;
}

static void answer_all(struct world *w)
{
	for (size_t i = 0; i < w->sent.count; i++) {
		const struct sent *s = &w->sent.items[i];
		struct manager_answer a = {.code = "",
					   .text = "",
					   .hash = s->to,
					   .has_hash = true,
					   .attempt = s->attempt};

		manager_sync_answer(s->sync, &a);
	}
	w->sent.count = 0;
}

static void die(const char *what, const struct bh_diag *diag)
{
	fprintf(stderr, "bench_distribute: %s: %s\n", what, diag->text);
	exit(1);
}

static void add_host(struct world *w, unsigned int n)
{
	BH_JSON json_t *hello = json_pack("{s:{s:i}}", "capacity", "rows", 1000000);
	BH_JSON json_t *vms = json_array();
	BH_JSON json_t *rejected = NULL;
	static const struct bh_hash zero;
	struct manager_host *h;
	struct bh_diag diag = {};
	char name[32];

	snprintf(name, sizeof(name), "sim%u", n);
	h = manager_host_add(w->inv, name, bh_time_wall_ns());
	manager_host_hello(w->inv, h, hello, bh_time_wall_ns());
	manager_distribute_hello(w->dist, h, &zero);
	for (unsigned int k = 0; k < w->vms; k++) {
		json_array_append_new(vms, sim_vm(n, w->vms, k, SIM_TENANTS));
	}
	if (manager_inventory_report(w->inv, h, vms, bh_time_wall_ns(), &rejected, &diag) < 0) {
		die("inventory", &diag);
	}
}

static void build(struct world *w)
{
	struct manager_distribute_options options = {};
	struct bh_diag diag = {};

	if (manager_store_open(":memory:", &w->db, &diag) < 0 ||
	    manager_inventory_new(w->db, "default", &w->inv, &diag) < 0 ||
	    manager_rulebook_new(w->db, &w->book, &diag) < 0) {
		die("store", &diag);
	}
	manager_inventory_set_policies(w->inv, manager_rulebook_set(w->book));
	options.inv = w->inv;
	options.book = w->book;
	options.carrier = (struct manager_carrier){carry_apply, carry_ping, carry_up, w};
	w->dist = manager_distribute_new(&options);
	for (unsigned int i = 0; i < w->hosts; i++) {
		add_host(w, i);
	}
	if (manager_distribute_flush(w->dist, &diag) < 0) {
		die("flush", &diag);
	}
	answer_all(w);
}

static double cpu_ms(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

struct cost {
	double commit_ms, answers_ms;
};

static struct cost commit(struct world *w, struct bh_wbuf *text)
{
	struct manager_commit_request request = {.db = w->db,
						 .inv = w->inv,
						 .book = w->book,
						 .dist = w->dist,
						 .author = "bench",
						 .summary = ""};
	struct bh_policy_parse_options options = {.file = "bench.yaml"};
	struct manager_commit_result result;
	struct bh_policy_set *documents = NULL;
	struct bh_diag diag = {};
	double begun, committed;

	if (bh_policy_parse((const char *)text->data, text->size, &options, &documents, &diag) <
	    0) {
		die("documents", &diag);
	}
	begun = cpu_ms();
	if (manager_commit(&request,
			   manager_commit_merge(manager_rulebook_set(w->book), documents, false),
			   &result, &diag) != 0) {
		die("commit", &diag);
	}
	committed = cpu_ms();
	answer_all(w);
	manager_commit_result_done(&result);
	bh_policy_set_free(documents);
	bh_wbuf_done(text);
	bh_wbuf_init(text, 0);
	return (struct cost){committed - begun, cpu_ms() - committed};
}

static void print(const struct world *w, const char *what, struct cost sum, unsigned int count)
{
	printf("%-28s %u commits: %.1f ms CPU each (commit and deltas %.1f, answers %.1f), "
	       "%.0f deltas of %.0f bytes\n",
	       what, count, (sum.commit_ms + sum.answers_ms) / count, sum.commit_ms / count,
	       sum.answers_ms / count, (double)w->deltas / count,
	       w->deltas ? (double)w->bytes / (double)w->deltas : 0);
	fflush(stdout);
}

static void rounds(struct world *w, const char *what, bool all)
{
	struct cost sum = {};
	struct bh_wbuf text;

	bh_wbuf_init(&text, 0);
	w->deltas = w->bytes = 0;
	for (unsigned int i = 0; i < w->rounds; i++) {
		struct cost c;

		if (all) {
			sim_add_guardrail(&text, i + 1);
		} else {
			sim_add_policy(&text, i * 7 % w->policies, i + 1);
		}
		c = commit(w, &text);
		sum.commit_ms += c.commit_ms;
		sum.answers_ms += c.answers_ms;
	}
	bh_wbuf_done(&text);
	print(w, what, sum, w->rounds);
}

static unsigned int number(int argc, char **argv, int at, unsigned int dflt)
{
	return at < argc ? (unsigned int)strtoul(argv[at], NULL, 10) : dflt;
}

int main(int argc, char **argv)
{
	struct world w = {.hosts = number(argc, argv, 1, 1000),
			  .vms = number(argc, argv, 2, 10),
			  .policies = number(argc, argv, 3, 1000),
			  .rounds = number(argc, argv, 4, 20)};
	struct bh_wbuf text;
	struct cost first;

	if (sodium_init() < 0) {
		return 1;
	}
	build(&w);
	bh_wbuf_init(&text, 0);
	for (unsigned int i = 0; i < w.policies; i++) {
		sim_add_policy(&text, i, 0);
	}
	w.deltas = w.bytes = 0;
	first = commit(&w, &text);
	bh_wbuf_done(&text);
	print(&w, "all policies at once", first, 1);
	rounds(&w, "one policy of one tenant", false);
	rounds(&w, "one guard-rail for all", true);
	manager_distribute_close(w.dist);
	manager_distribute_free(w.dist);
	manager_rulebook_free(w.book);
	manager_inventory_free(w.inv);
	manager_db_close(w.db);
	bh_vec_done(&w.sent);
	return 0;
}
