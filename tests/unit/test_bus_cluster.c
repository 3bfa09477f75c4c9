/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A NATS cluster of three nodes that Bulkhead did not start, set up as docs/operations.md tells the
 * operator: own certificates by Bulkhead's CA, the users file included, JetStream with three
 * copies. Nodes are killed and come back under a stream of events; none is lost.
 */
#include "bus_lab.h"

#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"

#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#define NODES  3
#define WAIT_S 60 /* elections take seconds, on a busy machine more */

static const char *const hosts[] = {"h1", "h2"};

struct cluster {
	struct lab lab;
	pid_t pids[NODES];
	unsigned int client_port[NODES], route_port[NODES];
	char *urls;
	struct bh_event_track track;
	uint64_t put, got, missing, repeats;
};

/* What the operator writes for each node; the users come from the manager. */
static void node_configure(struct cluster *c, int i)
{
	static const char *const alts[] = {"127.0.0.1"};
	struct bh_pki_subject subject = {.name = BH_BUS_SERVER_NAME,
					 .alts = alts,
					 .alt_count = 1,
					 .usage = BH_PKI_SERVER | BH_PKI_CLIENT};
	BH_FREE char *node = bh_asprintf("node%d", i);
	BH_FREE char *path = bh_asprintf("%s/%s.conf", c->lab.dir, node);
	struct bh_wbuf w = {};
	struct bh_diag diag = {};

	assert_int_equal(bh_pki_ensure(c->lab.ca, c->lab.pki, node, &subject, NULL, &diag), 0);
	bh_wbuf_printf(&w,
		       "server_name: %s\n"
		       "listen: \"127.0.0.1:%u\"\n"
		       "log_file: \"%s/%s.log\"\n"
		       "max_payload: 1048576\n"
		       "tls {\n"
		       "\tca_file: \"%s/ca.crt\"\n"
		       "\tcert_file: \"%s/%s.crt\"\n"
		       "\tkey_file: \"%s/%s.key\"\n"
		       "\tverify_and_map: true\n"
		       "}\n"
		       "jetstream { store_dir: \"%s/%s\", max_file_store: 1G }\n",
		       node, c->client_port[i], c->lab.dir, node, c->lab.pki, c->lab.pki, node,
		       c->lab.pki, node, c->lab.dir, node);
	bh_wbuf_printf(&w,
		       "cluster {\n"
		       "\tname: bulkhead\n"
		       "\tlisten: \"127.0.0.1:%u\"\n"
		       "\ttls {\n"
		       "\t\tca_file: \"%s/ca.crt\"\n"
		       "\t\tcert_file: \"%s/%s.crt\"\n"
		       "\t\tkey_file: \"%s/%s.key\"\n"
		       "\t\tverify: true\n"
		       "\t}\n"
		       "\troutes: [\"nats://127.0.0.1:%u\", \"nats://127.0.0.1:%u\", "
		       "\"nats://127.0.0.1:%u\"]\n"
		       "}\n"
		       "include \"bus-users.conf\"\n",
		       c->route_port[i], c->lab.pki, c->lab.pki, node, c->lab.pki, node,
		       c->route_port[0], c->route_port[1], c->route_port[2]);
	assert_int_equal(bh_file_replace(path, w.data, w.size, 0600, &diag), 0);
	bh_wbuf_done(&w);
}

static void node_start(struct cluster *c, int i)
{
	extern char **environ;
	BH_FREE char *path = bh_asprintf("%s/node%d.conf", c->lab.dir, i);
	/* ends with a test that fails or is killed */
	const char *argv[] = {"setpriv", "--pdeathsig", "KILL", "nats-server", "-c", path, NULL};

	assert_int_equal(
		posix_spawnp(&c->pids[i], "setpriv", NULL, NULL, (char *const *)argv, environ), 0);
}

static void node_kill(struct cluster *c, int i)
{
	pid_t pid = c->pids[i];

	c->pids[i] = 0;
	if (pid) {
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
}

static void cluster_new(struct cluster *c)
{
	BH_FREE char *users = NULL;
	BH_FREE char *path = NULL;
	struct bh_diag diag = {};

	memset(c, 0, sizeof(*c));
	lab_init(&c->lab);
	path = bh_asprintf("%s/bus-users.conf", c->lab.dir);
	assert_int_equal(bh_bus_server_fragment(hosts, BH_ARRAY_SIZE(hosts), &users, &diag), 0);
	assert_int_equal(bh_file_replace(path, users, strlen(users), 0644, &diag), 0);
	for (int i = 0; i < NODES; i++) {
		c->client_port[i] = lab_free_port();
		c->route_port[i] = lab_free_port();
	}
	c->urls = bh_asprintf("tls://127.0.0.1:%u,tls://127.0.0.1:%u,tls://127.0.0.1:%u",
			      c->client_port[0], c->client_port[1], c->client_port[2]);
	c->lab.urls = c->urls;
	for (int i = 0; i < NODES; i++) {
		node_configure(c, i);
		node_start(c, i);
	}
}

static void cluster_done(struct cluster *c)
{
	for (int i = 0; i < NODES; i++) {
		node_kill(c, i);
	}
	free(c->urls);
	lab_done(&c->lab);
}

static void on_batch(struct bh_consumer *consumer, const struct bh_event_batch *batch, void *arg)
{
	struct cluster *c = arg;
	uint64_t from;
	uint64_t to;

	for (size_t i = 0; i < batch->count; i++) {
		const struct bh_event_message *m = &batch->messages[i];

		for (size_t k = 0; k < m->count; k++) {
			switch (bh_event_track(&c->track, &m->events[k], &from, &to)) {
			case BH_TRACK_REPEAT:
				c->repeats++;
				continue;
			case BH_TRACK_GAP:
				c->missing += to - from + 1;
				break;
			default:
				break;
			}
			c->got++;
		}
	}
	bh_consumer_done(consumer, true);
}

static void put(struct cluster *c, struct bh_producer *p, unsigned int count)
{
	struct bh_wbuf text = {};

	for (unsigned int i = 0; i < count; i++) {
		bh_event_text_begin(&text, "flow.new", BH_SEVERITY_INFO, bh_time_wall_ns());
		bh_jtext_add_u64(&text, "n", c->put++);
		bh_producer_put_text(p, &text);
	}
	bh_wbuf_done(&text);
}

static bool all_there(void *arg)
{
	const struct cluster *c = arg;

	return c->got >= c->put;
}

static void wait_for_all(struct cluster *c, const char *when, struct bh_consumer *consumer,
			 struct bh_producer *producer)
{
	uint64_t end = bh_time_mono_ns() + WAIT_S * BH_NS_PER_S;

	while (!lab_until(&c->lab, all_there, c)) {
		if (bh_time_mono_ns() > end) {
			BH_JSON json_t *a = bh_consumer_dump(consumer);
			BH_JSON json_t *b = bh_producer_dump(producer);
			BH_FREE char *ta = json_dumps(a, 0);
			BH_FREE char *tb = json_dumps(b, 0);

			fail_msg("%s: %llu of %llu events; %s %s", when, (unsigned long long)c->got,
				 (unsigned long long)c->put, ta, tb);
		}
	}
}

static void test_nodes_killed(void **state)
{
	struct cluster c;
	struct bh_consumer_options options = {
		.max_bytes = 64 << 20, .replicas = NODES, .handler = on_batch, .arg = &c};
	struct bh_producer_options po = {.spool = {.producer = "h1"}};
	BH_FREE char *spool = NULL;
	struct bh_bus *manager;
	struct bh_bus *h1;
	struct bh_consumer *consumer;
	struct bh_producer *producer;
	uint64_t began;

	cluster_new(&c);
	spool = bh_asprintf("%s/spool", c.lab.dir);
	po.spool.dir = spool;
	manager = lab_client_up(&c.lab, "manager");
	h1 = lab_client_up(&c.lab, "host.h1");
	assert_int_equal(bh_consumer_new(&c.lab.loop, manager, &options, &consumer, NULL), 0);
	assert_int_equal(bh_producer_new(&c.lab.loop, h1, &po, &producer, NULL), 0);
	put(&c, producer, 1000);
	wait_for_all(&c, "at the start", consumer, producer);
	/* each one once, so also those that the clients are at and the one that leads */
	for (int i = 0; i < NODES; i++) {
		began = bh_time_mono_ns();
		put(&c, producer, 2000);
		lab_settle(&c.lab, 5);
		node_kill(&c, i);
		for (int k = 0; k < 20; k++) {
			put(&c, producer, 100);
			lab_settle(&c.lab, 20);
		}
		wait_for_all(&c, "with a node away", consumer, producer);
		print_message("node %d killed: everything there after %llu ms\n", i,
			      (unsigned long long)((bh_time_mono_ns() - began) / BH_NS_PER_MS));
		node_start(&c, i);
		put(&c, producer, 500);
		wait_for_all(&c, "with the node back", consumer, producer);
		lab_settle(&c.lab, 3000); /* it catches up, or the next kill takes the majority */
	}
	assert_int_equal(c.got, c.put);
	assert_int_equal(c.missing, 0);
	print_message("%llu events, %llu repeats dropped\n", (unsigned long long)c.got,
		      (unsigned long long)c.repeats);
	bh_consumer_free(consumer);
	bh_producer_free(producer);
	bh_bus_free(h1);
	bh_bus_free(manager);
	cluster_done(&c);
}

static void on_heard(const struct bh_bus_raw *msg, void *arg)
{
	(*(unsigned int *)arg)++;
}

/* The rights of the users file hold: a host can't write as another, nor read another's events. */
static void test_rights(void **state)
{
	struct cluster c;
	struct bh_bus *manager;
	struct bh_bus *h1;
	struct bh_bus *h2;
	unsigned int heard = 0;
	unsigned int stolen = 0;
	struct bh_bus_raw as_other = {.subject = "bh.ev.h2", .data = "{}", .size = 2};
	struct bh_bus_raw as_self = {.subject = "bh.ev.h1", .data = "{}", .size = 2};

	cluster_new(&c);
	manager = lab_client_up(&c.lab, "manager");
	h1 = lab_client_up(&c.lab, "host.h1");
	h2 = lab_client_up(&c.lab, "host.h2");
	bh_bus_subscribe(manager, "bh.ev.h2", on_heard, &heard);
	bh_bus_subscribe(h2, "bh.ev.h1", on_heard, &stolen);
	lab_settle(&c.lab, 1000); /* subscriptions go round the cluster */
	assert_int_equal(bh_bus_publish(h1, &as_other), 0);
	assert_int_equal(bh_bus_publish(h1, &as_self), 0);
	lab_settle(&c.lab, 1000);
	assert_int_equal(heard, 0);
	assert_int_equal(stolen, 0);
	assert_int_equal(bh_bus_publish(h2, &as_other), 0);
	lab_settle(&c.lab, 1000);
	assert_int_equal(heard, 1);
	bh_bus_free(h1);
	bh_bus_free(h2);
	bh_bus_free(manager);
	cluster_done(&c);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_nodes_killed),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
