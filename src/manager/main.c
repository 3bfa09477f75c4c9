/* SPDX-License-Identifier: Apache-2.0 */
/* bulkheadd, the manager: parses options, builds the parts, runs the loop, takes them down in
 * reverse. */
#include "manager/api/api.h"
#include "manager/audit/audit.h"
#include "manager/auth/accounts.h"
#include "manager/change/quota.h"
#include "manager/config.h"
#include "manager/control.h"
#include "manager/migrate/placement.h"

#include "base/ctl.h"
#include "base/file.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/time.h"
#include "bus/subject.h"
#include "version.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define HOUSEKEEPING_MS 1000
/* What takes long shares libuv's threads, 4 unless said: looks at flows (4 at a time), maps (8),
 * talks with a provider of logins (8), passwords (2). Nobody's maps keep others from logging in. */
#define WORKERS	      "24"
#define RENEW_EVERY   86400 /* housekeepings */
#define RELOAD_EVERY  60
#define AUDIT_RESERVE (1u << 20)

struct program {
	const char *config_path;
	bool config_must_exist, check_only;
	enum bh_log_level level;
	struct manager_config config;
	struct manager_parts parts;
	struct bh_consumer *consumer;
	struct manager_api *api;
	struct manager_grants *grants;
	struct bh_ctl_server *ctl;
	uv_signal_t signals[2], reload;
	uv_timer_t housekeeping;
	struct bh_notify notify;
	unsigned int beats;
	bool stop_bus;
};

static void usage(FILE *to)
{
	fprintf(to, "usage: bulkheadd [-nv] [-c FILE] [--keep-bus]\n"
		    "  -c FILE     configuration (default /etc/bulkhead/manager.yaml)\n"
		    "  -n          check the configuration and exit\n"
		    "  -v          more log; twice: all of it\n"
		    "  --keep-bus  leave the private bus running at the end\n"
		    "  --version   print the version and exit\n");
}

/* 0 to go on, else the exit status + 1. */
static int parse_options(struct program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"version", no_argument, NULL, 'V'},
					      {"help", no_argument, NULL, 'h'},
					      {"keep-bus", no_argument, NULL, 'k'},
					      {}};
	int c;

	while ((c = getopt_long(argc, argv, "c:nvh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			p->config_path = optarg;
			p->config_must_exist = true;
			break;
		case 'n':
			p->check_only = true;
			break;
		case 'v':
			p->level = BH_LOG_DEBUG;
			break;
		case 'k':
			p->stop_bus = false;
			break;
		case 'V':
			printf("bulkheadd %s\n", BH_VERSION);
			return 1;
		case 'h':
			usage(stdout);
			return 1;
		default:
			usage(stderr);
			return 3;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 3;
	}
	return 0;
}

/* ---- parts, from below ---- */

static int build_state(struct program *p, struct bh_diag *diag)
{
	struct manager_parts *parts = &p->parts;
	BH_FREE char *db = bh_asprintf("%s/bulkhead.db", p->config.state_dir);
	BH_FREE char *events = bh_asprintf("%s/events.db", p->config.state_dir);
	struct manager_events_options options = {.loop = parts->loop,
						 .path = events,
						 .keep = p->config.events_keep,
						 .keep_bytes = p->config.events_keep_bytes,
						 .keep_days = p->config.events_keep_days,
						 .talks_days = p->config.talks_days};
	int r;

	parts->default_tenant = p->config.default_tenant;
	r = bh_mkdirs(p->config.state_dir, 0700, diag);
	if (r == 0) {
		r = bh_mkdirs(p->config.run_dir, 0755, diag);
	}
	if (r == 0) {
		r = manager_store_open(db, &parts->db, diag);
	}
	if (r == 0) {
		r = manager_inventory_new(parts->db, parts->default_tenant, &parts->inv, diag);
	}
	if (r == 0) {
		r = manager_rulebook_new(parts->db, &parts->book, diag);
	}
	if (r == 0) {
		manager_inventory_set_policies(parts->inv, manager_rulebook_set(parts->book));
		options.inv = parts->inv;
		options.book = parts->book;
		options.quota = manager_quota_events;
		options.quota_arg = parts->inv;
		r = manager_events_new(&options, &parts->events, diag);
	}
	if (r == 0) {
		parts->inv->notice = manager_events_notice;
		parts->inv->notice_arg = parts->events;
	}
	return r;
}

static int build_accounts(struct program *p, struct bh_diag *diag)
{
	BH_FREE char *key = bh_asprintf("%s/pki/accounts.key", p->config.state_dir);
	struct manager_accounts_options options = {
		.loop = p->parts.loop, .db = p->parts.db, .inv = p->parts.inv, .key_file = key};

	return manager_accounts_new(&options, &p->parts.accounts, diag);
}

/* What events lead to: alerts, and messages to other systems. */
static int build_outlets(struct program *p, struct bh_diag *diag)
{
	struct manager_parts *parts = &p->parts;
	BH_FREE char *alerts = bh_asprintf("%s/alerts.db", p->config.state_dir);
	BH_FREE char *channels = bh_asprintf("%s/channels.db", p->config.state_dir);
	struct manager_channels_options options = {
		.loop = parts->loop, .path = channels, .events = parts->events};
	int r = manager_alerts_open(alerts, parts->events, &parts->alerts, diag);

	return r == 0 ? manager_channels_open(&options, &parts->channels, diag) : r;
}

static int build_enroll(struct program *p, struct bh_diag *diag)
{
	struct manager_enroll_options options = {
		.state_dir = p->config.state_dir,
		.bus_url = p->config.bus_urls ? p->config.bus_urls : p->config.bus_url,
		.bus_listen = p->config.bus_listen,
		.names = (const char *const *)p->config.names,
		.name_count = p->config.name_count,
		.db = p->parts.db,
		.inv = p->parts.inv,
	};

	return manager_enroll_new(&options, &p->parts.enroll, diag);
}

/* Behind the enrolment, which makes the folder of keys. */
static int build_audit(struct program *p, struct bh_diag *diag)
{
	BH_FREE char *path = bh_asprintf("%s/audit.db", p->config.state_dir);
	BH_FREE char *head = bh_asprintf("%s/pki/audit.head", p->config.state_dir);
	BH_FREE char *key = bh_asprintf("%s/pki/audit.key", p->config.state_dir);
	struct manager_audit_options options = {.path = path,
						.head_file = head,
						.key_file = key,
						.reserve_bytes = AUDIT_RESERVE,
						.notice = manager_events_notice,
						.notice_arg = p->parts.events,
						.wall_ns = bh_time_wall_ns()};
	int r = manager_audit_open(&options, &p->parts.audit, diag);

	return r < 0 ? r
		     : manager_requests_new(p->parts.db, manager_api_asked, &p->parts,
					    &p->parts.requests, diag);
}

static void on_bus(struct bh_bus *bus, bool up, void *arg)
{
	struct program *p = arg;

	bh_log(up ? BH_LOG_INFO : BH_LOG_WARN, "bus", "%s%s",
	       up ? "connected" : "away: ", up ? "" : bh_bus_last_error(bus));
	if (p->parts.dist) {
		manager_distribute_bus(p->parts.dist, up);
	}
}

static int build_server(struct program *p, const char *pki, struct bh_diag *diag)
{
	BH_FREE char *dir = bh_asprintf("%s/nats", p->config.state_dir);
	BH_FREE char *ca = bh_asprintf("%s/ca.crt", pki);
	BH_FREE char *cert = bh_asprintf("%s/bus.crt", pki);
	BH_FREE char *key = bh_asprintf("%s/bus.key", pki);
	BH_FREE const char **hosts = NULL;
	size_t count;
	struct bh_bus_server_options options = {.dir = dir,
						.listen = p->config.bus_listen,
						.ca_file = ca,
						.cert_file = cert,
						.key_file = key,
						.binary = p->config.bus_server};
	int r;

	hosts = manager_enroll_hosts(p->parts.enroll, &count);
	r = bh_bus_server_new(p->parts.loop, &options, hosts, count, &p->parts.server, diag);
	if (r == 0) {
		manager_enroll_set_server(p->parts.enroll, p->parts.server);
	}
	return r;
}

static int build_bus(struct program *p, struct bh_diag *diag)
{
	BH_FREE char *pki = bh_asprintf("%s/pki", p->config.state_dir);
	BH_FREE char *ca = bh_asprintf("%s/ca.crt", pki);
	BH_FREE char *cert = bh_asprintf("%s/manager.crt", pki);
	BH_FREE char *key = bh_asprintf("%s/manager.key", pki);
	struct bh_bus_options options = {.name = "manager",
					 .inbox = BH_SUBJECT_MANAGER_INBOX,
					 .ca_file = ca,
					 .cert_file = cert,
					 .key_file = key,
					 .on_state = on_bus,
					 .arg = p};
	struct bh_consumer_options consumer = {.max_bytes = p->config.bus_store_bytes,
					       .replicas = (unsigned int)p->config.bus_replicas,
					       .handler = manager_events_batch,
					       .arg = p->parts.events};
	int r = 0;

	if (!p->config.bus_urls) {
		r = build_server(p, pki, diag);
		options.urls = r == 0 ? bh_bus_server_url(p->parts.server) : NULL;
	} else {
		options.urls = p->config.bus_urls;
		r = manager_enroll_hosts_changed(p->parts.enroll, diag);
	}
	if (r == 0) {
		r = bh_bus_new(p->parts.loop, &options, &p->parts.bus, diag);
	}
	if (r == 0) {
		r = bh_consumer_new(p->parts.loop, p->parts.bus, &consumer, &p->consumer, diag);
	}
	return r;
}

static int build_distribute(struct program *p, struct bh_diag *diag)
{
	static const char *const verdicts[] = {"", "allow", "deny", "reject"};
	struct manager_parts *parts = &p->parts;
	struct manager_distribute_options options = {
		.loop = parts->loop, .inv = parts->inv, .book = parts->book};
	struct manager_migrate_options migrate = {.command = manager_link_command};
	BH_FREE char *pki = bh_asprintf("%s/pki", p->config.state_dir);
	struct manager_grants_options grants = {.inv = parts->inv,
						.book = parts->book,
						.pki_dir = pki,
						.valid_s =
							(unsigned int)p->config.grant_hours * 3600,
						.command = manager_link_command};
	struct manager_orders_options orders = {
		.command = manager_link_command, .ended = manager_api_ordered, .ended_arg = parts};
	int r;

	for (size_t i = 1; i < BH_ARRAY_SIZE(verdicts); i++) {
		if (strcmp(p->config.provider_default, verdicts[i]) == 0) {
			options.provider_default = (enum bh_policy_action)i;
		}
	}
	parts->link = manager_link_new(parts->bus, parts->inv);
	options.carrier = manager_link_carrier(parts->link);
	parts->dist = manager_distribute_new(&options);
	migrate.inv = parts->inv;
	migrate.dist = parts->dist;
	migrate.command_arg = parts->link;
	r = manager_migrate_new(&migrate, &parts->migrate, diag);
	if (r < 0) {
		return r;
	}
	manager_link_set_enroll(parts->link, parts->enroll);
	manager_link_set_migrate(parts->link, parts->migrate);
	grants.command_arg = parts->link;
	p->grants = manager_grants_new(&grants);
	manager_link_set_grants(parts->link, p->grants);
	orders.command_arg = parts->link;
	parts->orders = manager_orders_new(&orders);
	manager_link_serve(parts->link, parts->dist);
	return manager_distribute_flush(parts->dist, diag);
}

static int build_change(struct program *p, struct bh_diag *diag)
{
	struct manager_parts *parts = &p->parts;
	BH_FREE char *talks = bh_asprintf("%s/talks.db", p->config.state_dir);
	struct manager_change_options options = {.db = parts->db,
						 .inv = parts->inv,
						 .book = parts->book,
						 .dist = parts->dist,
						 .link = parts->link,
						 .audit = parts->audit,
						 .talks_path = talks,
						 .loop = parts->loop};
	int r = manager_change_new(&options, bh_time_wall_ns(), bh_time_mono_ns(), &parts->change,
				   diag);

	if (r == 0) {
		/* What was to be rolled back meanwhile is, before a host is answered. */
		manager_change_tick(parts->change, bh_time_wall_ns(), bh_time_mono_ns());
	}
	return r;
}

static int build_api(struct program *p, struct bh_diag *diag)
{
	BH_FREE char *cert = bh_asprintf("%s/pki/api.crt", p->config.state_dir);
	BH_FREE char *key = bh_asprintf("%s/pki/api.key", p->config.state_dir);
	BH_FREE char *unix_path = bh_asprintf("%s/api.sock", p->config.run_dir);
	BH_FREE char *ctl_path = bh_asprintf("%s/manager.sock", p->config.run_dir);
	uint8_t token[32];
	struct manager_api_options options = {.listen = p->config.listen,
					      .unix_path = unix_path,
					      .cert_file = cert,
					      .key_file = key,
					      .ca_pem = manager_enroll_ca(p->parts.enroll),
					      .console_dir = p->config.console_dir,
					      .patience_s = p->config.client_patience_s,
					      .proxies = &p->config.proxies,
					      .token_hash = token};
	struct bh_ctl_options ctl = {
		.path = ctl_path, .program = "bulkheadd", .mode = 0600, .root_only = true};
	int r;

	r = manager_enroll_admin(p->parts.enroll, token, diag);
	if (r == 0) {
		r = manager_api_new(&p->parts, &options, &p->api, diag);
	}
	if (r == 0) {
		r = bh_ctl_server_new(p->parts.loop, &ctl, &p->ctl, diag);
	}
	if (r == 0) {
		manager_control_add(p->ctl, &p->parts);
		bh_log(BH_LOG_INFO, "api", "listening on port %u and %s", manager_api_port(p->api),
		       unix_path);
	}
	return r;
}

static int build(struct program *p, struct bh_diag *diag)
{
	int r = build_state(p, diag);

	if (r == 0) {
		r = build_outlets(p, diag);
	}
	if (r == 0) {
		r = build_enroll(p, diag);
	}
	if (r == 0) {
		r = build_accounts(p, diag);
	}
	if (r == 0) {
		r = build_audit(p, diag);
	}
	if (r == 0) {
		r = build_bus(p, diag);
	}
	if (r == 0) {
		r = build_distribute(p, diag);
	}
	if (r == 0) {
		r = build_change(p, diag);
	}
	if (r == 0) {
		r = build_api(p, diag);
	}
	return r;
}

/* ---- running ---- */

static void on_signal(uv_signal_t *signal, int number)
{
	bh_log(BH_LOG_INFO, "main", "ending (signal %d)", number);
	uv_stop(signal->loop);
}

static void renew(struct program *p)
{
	struct bh_diag diag = {};
	bool changed = false;

	if (manager_enroll_renew(p->parts.enroll, &changed, &diag) < 0) {
		bh_log(BH_LOG_ERROR, "main", "certificates: %s", diag.text);
	} else if (changed && p->parts.server && bh_bus_server_reload(p->parts.server, &diag) < 0) {
		bh_log(BH_LOG_ERROR, "main", "bus: %s", diag.text);
	}
	if (changed) {
		bh_bus_reconnect(p->parts.bus); /* if the new pair is no good we want to know now */
	}
}

static void reload_api(struct program *p)
{
	struct bh_diag diag = {};

	if (manager_api_reload(p->api, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "api", 1, "%s; the old certificate stays in use",
			       diag.text);
	}
}

static void on_reload(uv_signal_t *signal, int number)
{
	struct program *p = signal->data;

	bh_log(BH_LOG_INFO, "main", "looking for new certificates (signal %d)", number);
	renew(p);
	reload_api(p);
}

static void on_housekeeping(uv_timer_t *timer)
{
	struct program *p = timer->data;

	p->beats++;
	manager_events_poke(p->parts.events);
	manager_alerts_tick(p->parts.alerts);
	manager_audit_tick(p->parts.audit, bh_time_wall_ns());
	manager_requests_tick(p->parts.requests, bh_time_wall_ns());
	manager_migrate_tick(p->parts.migrate, bh_time_wall_ns(), bh_time_mono_ns());
	manager_change_tick(p->parts.change, bh_time_wall_ns(), bh_time_mono_ns());
	manager_orders_tick(p->parts.orders, bh_time_mono_ns());
	if (bh_bus_up(p->parts.bus)) {
		manager_grants_tick(p->grants, bh_time_wall_ns() / BH_NS_PER_S, bh_time_mono_ns());
	}
	if (p->beats % 10 == 0) {
		manager_api_beat(p->api);
		manager_inventory_expire(p->parts.inv, bh_time_wall_ns());
		manager_placement_review(p->parts.inv);
		manager_distribute_schedule(p->parts.dist);
		manager_enroll_look(p->parts.enroll, (int64_t)(bh_time_wall_ns() / BH_NS_PER_S));
	}
	if (p->beats % RENEW_EVERY == 0) {
		renew(p);
	}
	if (p->beats % RELOAD_EVERY == 0) {
		manager_accounts_tick(p->parts.accounts, bh_time_wall_ns());
		reload_api(p); /* somebody else may have put one there, too */
	}
}

static void start(struct program *p)
{
	static const int numbers[] = {SIGINT, SIGTERM};

	for (size_t i = 0; i < BH_ARRAY_SIZE(numbers); i++) {
		uv_signal_init(p->parts.loop, &p->signals[i]);
		uv_signal_start(&p->signals[i], on_signal, numbers[i]);
	}
	uv_signal_init(p->parts.loop, &p->reload);
	p->reload.data = p;
	uv_signal_start(&p->reload, on_reload, SIGHUP);
	uv_timer_init(p->parts.loop, &p->housekeeping);
	p->housekeeping.data = p;
	uv_timer_start(&p->housekeeping, on_housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
}

static void close_rest(uv_handle_t *handle, void *arg)
{
	if (!uv_is_closing(handle)) {
		uv_close(handle, NULL);
	}
}

static void tear_down(struct program *p)
{
	struct manager_parts *parts = &p->parts;

	if (parts->migrate) {
		manager_migrate_close(parts->migrate);
	}
	if (parts->dist) {
		manager_distribute_close(parts->dist);
	}
	if (p->consumer) {
		bh_consumer_free(p->consumer);
		manager_events_detach(parts->events);
	}
	manager_orders_close(parts->orders);
	manager_change_stop(parts->change);
	/* What waits for hosts is answered as cancelled. */
	bh_bus_free(parts->bus);
	manager_api_close(p->api);
	manager_accounts_free(parts->accounts);
	bh_bus_server_free(parts->server, p->stop_bus);
	if (p->ctl) {
		bh_ctl_server_free(p->ctl);
	}
	manager_channels_close(parts->channels);
	manager_alerts_close(parts->alerts);
	manager_events_free(parts->events);
	uv_walk(parts->loop, close_rest, NULL);
	uv_run(parts->loop, UV_RUN_DEFAULT);
	manager_api_free(p->api);
	manager_requests_free(parts->requests);
	manager_audit_close(parts->audit);
	manager_change_free(parts->change);
	manager_migrate_free(parts->migrate);
	manager_grants_free(p->grants);
	manager_orders_free(parts->orders);
	manager_distribute_free(parts->dist);
	manager_link_free(parts->link);
	manager_enroll_free(parts->enroll);
	manager_rulebook_free(parts->book);
	manager_inventory_free(parts->inv);
	manager_db_close(parts->db);
	uv_loop_close(parts->loop);
	manager_config_done(&p->config);
}

static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	struct program p = {.config_path = "/etc/bulkhead/manager.yaml",
			    .level = BH_LOG_INFO,
			    .stop_bus = true};
	struct bh_diag diag = {};
	char text[BH_DIAG_TEXT_SIZE + BH_DIAG_FILE_SIZE + 32];
	int r = parse_options(&p, argc, argv);

	if (r) {
		return r - 1;
	}
	bh_log_init("bulkheadd", p.level);
	r = manager_config_load(p.config_path, p.config_must_exist, &p.config, &diag);
	if (r < 0 || p.check_only) {
		if (r < 0) {
			fprintf(stderr, "bulkheadd: %s\n",
				bh_diag_format(&diag, text, sizeof(text)));
		}
		manager_config_done(&p.config);
		return r < 0;
	}
	signal(SIGPIPE, SIG_IGN);
	umask(0077);
	raise_limits();
	if (sodium_init() < 0) {
		fprintf(stderr, "bulkheadd: the random source does not work\n");
		return 1;
	}
	setenv("UV_THREADPOOL_SIZE", WORKERS, 1);
	p.parts.loop = uv_default_loop();
	p.parts.started_ns = bh_time_wall_ns();
	r = build(&p, &diag);
	if (r == 0) {
		start(&p);
		bh_log(BH_LOG_INFO, "main", "running, revision %u",
		       manager_rulebook_revision(p.parts.book));
		bh_notify_ready(&p.notify, p.parts.loop);
		uv_run(p.parts.loop, UV_RUN_DEFAULT);
		bh_notify_send("STOPPING=1");
	} else {
		bh_log(BH_LOG_ERROR, "main", "%s", bh_diag_format(&diag, text, sizeof(text)));
	}
	tear_down(&p);
	return r < 0;
}
