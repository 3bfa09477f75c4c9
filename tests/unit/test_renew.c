/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates that end soon, with a real nats-server, the manager's own enrolment and link, and
 * the host's renewal: the pair is swapped under a stream of events, limits and lies are refused,
 * and a host whose certificate has ended joins again without a restart.
 */
#include "bus_lab.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/file.h"
#include "base/time.h"
#include "base/util.h"
#include "host/agent/renew.h"
#include "manager/enroll/enroll.h"
#include "manager/link/link.h"
#include "manager_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static const char *const hosts[] = {"h1", "h2"};

struct world {
	struct lab lab;
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_enroll *enroll;
	struct manager_link *link;
	struct bh_bus *manager;
	/* the host */
	char dir[128];
	struct bh_bus *bus;
	struct hostd_renew *renew;
	uint64_t n; /* of requests */
	uint64_t mono_ns;
	unsigned int swaps;
	char told[64], told_error[256];
	char noticed[64];
	/* events */
	struct bh_producer *producer;
	struct bh_consumer *consumer;
	struct bh_event_track track;
	uint64_t put, got, missing;
	uint64_t turned_ns;
};

static void on_notice(const char *type, const char *severity, json_t *body, void *arg)
{
	struct world *w = arg;

	snprintf(w->noticed, sizeof(w->noticed), "%s", type);
	json_decref(body);
}

static void manager_start(struct world *w, unsigned int life_s)
{
	struct manager_enroll_options options = {
		.state_dir = w->lab.dir, .bus_listen = w->lab.listen, .host_cert_life_s = life_s};
	struct manager_distribute_options dist = {.loop = &w->lab.loop};
	struct bh_diag diag = {};

	manager_world_open(":memory:", &w->db, &w->inv, &w->book);
	w->inv->notice = on_notice;
	w->inv->notice_arg = w;
	options.db = w->db;
	options.inv = w->inv;
	assert_int_equal(manager_enroll_new(&options, &w->enroll, &diag), 0);
	lab_server_start(&w->lab, hosts, BH_ARRAY_SIZE(hosts));
	w->manager = lab_client_up(&w->lab, "manager");
	w->link = manager_link_new(w->manager, w->inv);
	dist.inv = w->inv;
	dist.book = w->book;
	dist.carrier = manager_link_carrier(w->link);
	w->dist = manager_distribute_new(&dist);
	manager_link_set_enroll(w->link, w->enroll);
	manager_link_serve(w->link, w->dist);
}

/* What `bulkhead host enroll` does. */
static void join_as(struct world *w, const char *name)
{
	BH_FREE char *key = bh_asprintf("%s/key.pem", w->dir);
	BH_FREE char *cert = bh_asprintf("%s/cert.pem", w->dir);
	BH_FREE char *ca = bh_asprintf("%s/ca.pem", w->dir);
	BH_FREE char *subject = bh_asprintf("host.%s", name);
	BH_FREE char *csr = NULL;
	struct manager_join_token token;
	struct manager_enroll_request req = {.name = name, .now_ns = bh_time_wall_ns()};
	struct manager_enroll_answer answer = {};
	struct bh_diag diag = {};

	assert_int_equal(manager_enroll_token(w->enroll, name, 600, req.now_ns, &token, &diag), 0);
	assert_int_equal(bh_pki_csr_make(key, subject, &csr, &diag), 0);
	req.token = token.text;
	req.csr = csr;
	if (manager_enroll(w->enroll, &req, &answer, &diag) ||
	    bh_pki_install(answer.ca, answer.cert, key, subject, ca, cert, &diag)) {
		fail_msg("%s", diag.text);
	}
	free(answer.cert);
}

static void on_ask(json_t *body, bh_bus_reply_fn *fn, void *renew_arg, void *arg)
{
	struct world *w = arg;
	struct bh_bus_msg msg = {.json = body};

	json_object_set_new(body, "type", json_string("renew"));
	json_object_set_new(body, "session", json_string("a session"));
	json_object_set_new(body, "n", json_integer((json_int_t)++w->n));
	bh_bus_request(w->bus, "bh.host.h1.req", &msg, 5000, fn, renew_arg);
	json_decref(body);
}

static void on_renewed(void *arg)
{
	struct world *w = arg;

	w->swaps++;
	bh_bus_reconnect(w->bus);
}

static void on_told(const char *type, const char *severity, json_t *body, void *arg)
{
	struct world *w = arg;

	snprintf(w->told, sizeof(w->told), "%s", type);
	snprintf(w->told_error, sizeof(w->told_error), "%s", bh_json_str_or(body, "error", ""));
	json_decref(body);
}

/* A certificate of 2 s may be over before a busy machine has connected with it. */
static bool up_or_joined_again(void *arg)
{
	struct world *w = arg;
	BH_FREE char *cert = bh_asprintf("%s/cert.pem", w->dir);
	struct bh_pki_info info;

	if (!bh_bus_up(w->bus) && bh_pki_info_file(cert, &info, NULL) == 0 &&
	    (int64_t)time(NULL) > info.not_after_s) {
		join_as(w, "h1");
	}
	return bh_bus_up(w->bus);
}

static void host_start(struct world *w)
{
	BH_FREE char *key = bh_asprintf("%s/key.pem", w->dir);
	BH_FREE char *cert = bh_asprintf("%s/cert.pem", w->dir);
	BH_FREE char *ca = bh_asprintf("%s/ca.pem", w->dir);
	BH_FREE char *url = bh_asprintf("tls://%s", w->lab.listen);
	BH_FREE char *spool = bh_asprintf("%s/spool", w->dir);
	char inbox[BH_SUBJECT_SIZE];
	struct hostd_renew_options renew = {.dir = w->dir,
					    .name = "h1",
					    .ask = on_ask,
					    .renewed = on_renewed,
					    .tell = on_told,
					    .arg = w};
	struct bh_bus_options bus = {.urls = url,
				     .name = "host.h1",
				     .inbox = bh_subject_inbox("h1", inbox),
				     .ca_file = ca,
				     .cert_file = cert,
				     .key_file = key};
	struct bh_producer_options producer = {.spool = {.dir = spool, .producer = "h1"}};

	w->renew = hostd_renew_new(&renew);
	assert_int_equal(bh_bus_new(&w->lab.loop, &bus, &w->bus, NULL), 0);
	assert_int_equal(bh_producer_new(&w->lab.loop, w->bus, &producer, &w->producer, NULL), 0);
	assert_true(lab_until(&w->lab, up_or_joined_again, w));
}

static void world_new(struct world *w, unsigned int life_s)
{
	memset(w, 0, sizeof(*w));
	lab_init(&w->lab);
	snprintf(w->dir, sizeof(w->dir), "%s/h1", w->lab.dir);
	assert_int_equal(bh_mkdirs(w->dir, 0700, NULL), 0);
	manager_start(w, life_s);
	join_as(w, "h1");
	w->mono_ns = bh_time_mono_ns();
	host_start(w);
}

static void world_done(struct world *w)
{
	bh_consumer_free(w->consumer);
	bh_producer_free(w->producer);
	bh_bus_free(w->bus);
	hostd_renew_free(w->renew);
	manager_distribute_close(w->dist);
	bh_bus_free(w->manager);
	lab_settle(&w->lab, 50);
	manager_distribute_free(w->dist);
	manager_link_free(w->link);
	manager_enroll_free(w->enroll);
	manager_rulebook_free(w->book);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
	lab_done(&w->lab);
}

static void on_batch(struct bh_consumer *c, const struct bh_event_batch *batch, void *arg)
{
	struct world *w = arg;
	uint64_t from;
	uint64_t to;

	for (size_t i = 0; i < batch->count; i++) {
		for (size_t k = 0; k < batch->messages[i].count; k++) {
			switch (bh_event_track(&w->track, &batch->messages[i].events[k], &from,
					       &to)) {
			case BH_TRACK_REPEAT:
				continue;
			case BH_TRACK_GAP:
				w->missing += to - from + 1;
				break;
			default:
				break;
			}
			w->got++;
		}
	}
	bh_consumer_done(c, true);
}

/* One turn of a host's life: some events, and ten seconds pass for the renewal. */
static void turn(struct world *w)
{
	uint64_t now = bh_time_mono_ns();

	if (now - w->turned_ns < 5 * BH_NS_PER_MS) {
		return;
	}
	w->turned_ns = now;
	for (int i = 0; i < 20; i++) {
		bh_producer_put(w->producer,
				bh_event_new("flow.new", BH_SEVERITY_INFO, bh_time_wall_ns()));
		w->put++;
	}
	w->mono_ns += 10 * BH_NS_PER_S;
	hostd_renew_tick(w->renew, bh_bus_up(w->bus), (int64_t)time(NULL), w->mono_ns);
}

static bool swapped(void *arg)
{
	struct world *w = arg;

	turn(w);
	return w->swaps >= 3;
}

static bool all_there(void *arg)
{
	const struct world *w = arg;

	return w->got >= w->put;
}

static bool limited(void *arg)
{
	struct world *w = arg;

	turn(w);
	return !strcmp(w->told, "certificate.failed");
}

static void test_renewed_under_events(void **state)
{
	struct world w;
	struct bh_consumer_options options = {
		.max_bytes = 64 << 20, .handler = on_batch, .arg = &w};
	struct bh_pki_info before;
	struct bh_pki_info after;
	BH_FREE char *cert = NULL;
	const struct manager_host *host;

	world_new(&w, 60);
	cert = bh_asprintf("%s/cert.pem", w.dir);
	assert_int_equal(bh_pki_info_file(cert, &before, NULL), 0);
	assert_string_equal(hostd_renew_fingerprint(w.renew), before.fingerprint);
	host = manager_host_find(w.inv, "h1");
	assert_string_equal(host->cert.fingerprint, before.fingerprint);
	assert_int_equal(host->cert.expires_s, before.not_after_s);
	assert_int_equal(bh_consumer_new(&w.lab.loop, w.manager, &options, &w.consumer, NULL), 0);
	assert_true(lab_until(&w.lab, swapped, &w));
	assert_string_equal(w.told, "certificate.renewed");
	assert_string_equal(w.noticed, "certificate.issued");
	assert_true(lab_until(&w.lab, lab_is_up, w.bus));
	if (!lab_until(&w.lab, all_there, &w)) {
		fail_msg("%llu of %llu events", (unsigned long long)w.got,
			 (unsigned long long)w.put);
	}
	assert_int_equal(w.got, w.put);
	assert_int_equal(w.missing, 0);
	assert_int_equal(bh_pki_info_file(cert, &after, NULL), 0);
	assert_string_not_equal(after.fingerprint, before.fingerprint);
	assert_string_equal(host->cert.fingerprint, after.fingerprint);
	/* one more, then the day's number is used up */
	assert_true(lab_until(&w.lab, limited, &w));
	assert_int_equal(w.swaps, 4);
	assert_non_null(strstr(w.told_error, "within a day"));
	print_message("%llu events through %u renewals\n", (unsigned long long)w.got, w.swaps);
	world_done(&w);
}

struct answer {
	bool there;
	char code[32];
	char text[256];
};

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct answer *a = arg;

	a->there = true;
	snprintf(a->code, sizeof(a->code), "%s", err ? bh_bus_reply_code(err, reply) : "");
	snprintf(a->text, sizeof(a->text), "%s", err ? bh_bus_reply_text(err, reply) : "");
}

static bool answered(void *arg)
{
	return ((struct answer *)arg)->there;
}

static void ask_for(struct world *w, const char *csr, struct answer *ret)
{
	memset(ret, 0, sizeof(*ret));
	on_ask(json_pack("{s:s}", "csr", csr), on_answer, ret, w);
	assert_true(lab_until(&w->lab, answered, ret));
}

/* For another's name, for no request at all, and by a host that is no longer one. */
static void test_refused(void **state)
{
	struct world w;
	BH_FREE char *key = NULL;
	BH_FREE char *own = NULL;
	BH_FREE char *foreign = NULL;
	BH_FREE char *boss = NULL;
	struct answer a;

	world_new(&w, 0);
	key = bh_asprintf("%s/other.pem", w.dir);
	assert_int_equal(bh_pki_csr_make(key, "host.h2", &foreign, NULL), 0);
	assert_int_equal(bh_pki_csr_make(key, "manager", &boss, NULL), 0);
	assert_int_equal(bh_pki_csr_make(key, "host.h1", &own, NULL), 0);
	ask_for(&w, foreign, &a);
	assert_string_equal(a.code, "bad");
	assert_non_null(strstr(a.text, "host.h2"));
	ask_for(&w, boss, &a);
	assert_string_equal(a.code, "bad");
	ask_for(&w, "nonsense", &a);
	assert_string_equal(a.code, "bad");
	ask_for(&w, own, &a);
	assert_string_equal(a.code, "");
	manager_host_remove(w.inv, manager_host_find(w.inv, "h1"), bh_time_wall_ns());
	ask_for(&w, own, &a);
	assert_string_equal(a.code, "unknown");
	world_done(&w);
}

static bool cert_over(void *arg)
{
	const struct bh_pki_info *info = arg;

	return (int64_t)time(NULL) > info->not_after_s;
}

/* It ends while nobody can be asked: both sides say so, and joining again is the way out. */
static void test_expired(void **state)
{
	struct world w;
	BH_FREE char *cert = NULL;
	BH_JSON json_t *json = NULL;
	struct bh_pki_info info;
	struct bh_pki_info again;

	world_new(&w, 2);
	cert = bh_asprintf("%s/cert.pem", w.dir);
	assert_int_equal(bh_pki_info_file(cert, &info, NULL), 0);
	assert_true(lab_until(&w.lab, cert_over, &info));
	bh_bus_reconnect(w.bus);
	assert_true(lab_until(&w.lab, lab_is_down, w.bus));
	lab_settle(&w.lab, 500);
	assert_false(bh_bus_up(w.bus));
	print_message("the bus says: %s\n", bh_bus_last_error(w.bus));
	turn(&w);
	assert_string_equal(w.told, "certificate.expired");
	assert_non_null(strstr(w.told_error, "bulkhead host enroll --force"));
	json = hostd_renew_json(w.renew, (int64_t)time(NULL));
	assert_string_equal(bh_json_str_or(json, "state", ""), "expired");
	/* once an hour, not every second */
	w.told[0] = '\0';
	for (int i = 0; i < 50; i++) {
		turn(&w);
		lab_settle(&w.lab, 6);
	}
	assert_string_equal(w.told, "");
	/* the manager says it once too */
	w.noticed[0] = '\0';
	manager_enroll_look(w.enroll, (int64_t)time(NULL));
	assert_string_equal(w.noticed, "certificate.expired");
	w.noticed[0] = '\0';
	manager_enroll_look(w.enroll, (int64_t)time(NULL));
	assert_string_equal(w.noticed, "");
	join_as(&w, "h1");
	assert_true(lab_until(&w.lab, up_or_joined_again, &w));
	assert_int_equal(bh_pki_info_file(cert, &again, NULL), 0);
	assert_string_not_equal(again.fingerprint, info.fingerprint);
	world_done(&w);
}

/* The manager's own three: renewed in place, and the server takes the new one with a reload. */
static void test_manager_own(void **state)
{
	struct world w;
	BH_FREE char *cert = NULL;
	struct bh_pki_subject soon = {.name = BH_BUS_SERVER_NAME,
				      .usage = BH_PKI_SERVER,
				      .alts = (const char *const[]){"127.0.0.1"},
				      .alt_count = 1,
				      .life_s = 60};
	struct bh_pki_info before;
	struct bh_pki_info after;
	struct bh_diag diag = {};
	bool changed = false;

	world_new(&w, 0);
	cert = bh_asprintf("%s/bus.crt", w.lab.pki);
	assert_int_equal(unlink(cert), 0);
	assert_int_equal(bh_pki_ensure(w.lab.ca, w.lab.pki, "bus", &soon, NULL, &diag), 0);
	assert_int_equal(bh_pki_info_file(cert, &before, NULL), 0);
	w.noticed[0] = '\0';
	assert_int_equal(manager_enroll_renew(w.enroll, &changed, &diag), 0);
	assert_true(changed);
	assert_string_equal(w.noticed, "certificate.renewed");
	assert_int_equal(bh_pki_info_file(cert, &after, NULL), 0);
	assert_string_not_equal(after.fingerprint, before.fingerprint);
	assert_int_equal(bh_bus_server_reload(w.lab.server, &diag), 0);
	bh_bus_reconnect(w.manager);
	bh_bus_reconnect(w.bus);
	assert_true(lab_until(&w.lab, lab_is_down, w.manager));
	assert_true(lab_until(&w.lab, lab_is_up, w.manager));
	assert_true(lab_until(&w.lab, lab_is_up, w.bus));
	assert_int_equal(manager_enroll_renew(w.enroll, &changed, &diag), 0);
	assert_false(changed);
	world_done(&w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_renewed_under_events),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_expired),
		cmocka_unit_test(test_manager_own),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
