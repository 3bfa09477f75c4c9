/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation with the manager (docs/architecture.md, "Bus"): hello after each connection,
 * then inventory whenever it differs from what was acknowledged and every 60 s; commands are served
 * as they come. Requests carry the session and a growing number, so that repeats are recognised.
 */
#include "host/agent/generation.h"
#include "host/agent/orders.h"

#include "base/buf.h"
#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "bus/subject.h"
#include "host/agent/renew.h"
#include "host/capsule/alone.h"
#include "host/capsule/capsule.h"
#include "host/capsule/who.h"
#include "version.h"

#include <errno.h>
#include <sys/random.h>
#include <uthash.h>

#define REQUEST_MS	 10000
#define INVENTORY_NS	 (60 * BH_NS_PER_S)
#define HELLO_RETRY_NS	 (2 * BH_NS_PER_S)
#define LEARNED_MAX	 16384
#define LEARNED_FILE_MAX (4u << 20)
#define LEARNED_RETRY_NS BH_NS_PER_S /* doubled each time, six times at most */
#define RELEASED_TRIES	 8

BH_COUNTER(session_hellos, "hellos that the manager answered");
BH_COUNTER(session_inventories, "inventories that the manager acknowledged");
BH_COUNTER(session_failed, "requests to the manager that failed or were refused");
BH_COUNTER(session_learned_dropped, "learned addresses dropped: too many");

struct learned_key {
	uint8_t vm[16];
	uint8_t mac[6];
	uint8_t addr[16];
	uint32_t vlan;
};

struct learned {
	struct learned_key key;
	uint64_t expires_ns; /* monotonic */
	bool sent;	     /* and no refusal came back */
	bool released;	     /* and the manager has not heard of it: kept until it has */
	unsigned int asks;   /* of the last request */
	unsigned int tries;  /* that failed, one after the other */
	uint64_t retry_ns;
	UT_hash_handle hh;
};

struct hostd_session {
	struct hostd_agent *agent;
	struct bh_bus *bus;
	struct hostd_renew *renew;
	char session[33];
	char subject[BH_SUBJECT_SIZE];
	uint64_t n;
	bool hello_sent, up;
	uint64_t hello_at_ns;
	bool inventory_out;   /* a request is on its way */
	char *inventory_sent; /* canonical text of it */
	char *inventory_acked;
	uint64_t inventory_at_ns;
	struct learned *learned;
	bool learned_dirty; /* differs from learned.json */
	char *learned_path;
};

bool hostd_session_up(const struct hostd_agent *agent)
{
	return agent->session && agent->session->up;
}

struct bh_bus *hostd_session_bus(const struct hostd_agent *agent)
{
	return agent->session ? agent->session->bus : NULL;
}

void hostd_session_request(struct hostd_agent *agent, const char *type, json_t *body,
			   uint64_t timeout_ms, bh_bus_reply_fn *fn, void *arg)
{
	struct hostd_session *s = agent->session;
	struct bh_bus_msg msg = {.json = body};

	json_object_set_new(body, "type", json_string(type));
	json_object_set_new(body, "session", json_string(s->session));
	json_object_set_new(body, "n", json_integer((json_int_t)++s->n));
	bh_bus_request(s->bus, s->subject, &msg, timeout_ms, fn, arg);
	json_decref(body);
}

/* ---- inventory ---- */

static void hello(struct hostd_session *s);

static void on_inventory(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct hostd_session *s = arg;

	s->inventory_out = false;
	if (err == -ECANCELED) {
		return;
	}
	if (err) {
		bh_counter_add(&session_failed, 1);
		bh_log_limited(BH_LOG_WARN, "session", 3, "inventory: %s",
			       bh_bus_reply_text(err, reply));
		if (!strcmp(bh_bus_reply_code(err, reply), "session")) {
			s->up = false; /* its store was put back: it knows an older session */
			hello(s);
		}
		/* again at the next change or with the next tick */
		s->inventory_at_ns = bh_time_mono_ns() - INVENTORY_NS + HELLO_RETRY_NS;
		return;
	}
	bh_counter_add(&session_inventories, 1);
	hostd_known_births(s->agent, json_object_get(reply->json, "births"));
	free(s->inventory_acked);
	s->inventory_acked = bh_steal(&s->inventory_sent);
	if (s->inventory_acked) {
		BH_JSON json_t *vms = json_loads(s->inventory_acked, 0, NULL);

		hostd_known_acked(s->agent, vms);
	}
	/* not at once: the ports may not have followed the last news of the links yet */
	hostd_agent_dirty(s->agent);
}

void hostd_session_inventory(struct hostd_agent *agent)
{
	struct hostd_session *s = agent->session;
	BH_JSON json_t *vms = hostd_report_inventory(agent);
	BH_FREE char *text = NULL;
	uint64_t now = bh_time_mono_ns();

	if (!hostd_inventory_complete(agent->inv)) {
		return; /* half of it would look like VMs that went away */
	}
	if (hostd_ports_settled(agent)) {
		hostd_told_vms(agent, vms);
	}
	if (!s || !s->up || s->inventory_out) {
		return;
	}
	text = bh_json_dump(vms);
	if (s->inventory_acked && !strcmp(text, s->inventory_acked) &&
	    now - s->inventory_at_ns < INVENTORY_NS) {
		return;
	}
	free(s->inventory_sent);
	s->inventory_sent = bh_steal(&text);
	s->inventory_out = true;
	s->inventory_at_ns = now;
	hostd_session_request(agent, "inventory", json_pack("{s:O}", "vms", vms), REQUEST_MS,
			      on_inventory, s);
}

/* ---- learned addresses ---- */

struct learned_ask { /* it may be gone when the answer comes */
	struct hostd_session *session;
	struct learned_key key;
	unsigned int asks;
};

static void on_learned(int err, const struct bh_bus_msg *reply, void *arg)
{
	BH_FREE struct learned_ask *ask = arg;
	struct learned *l;

	if (err == -ECANCELED) {
		return;
	}
	HASH_FIND(hh, ask->session->learned, &ask->key, sizeof(ask->key), l);
	if (err) {
		bh_counter_add(&session_failed, 1);
		bh_log_limited(BH_LOG_WARN, "session", 3, "learned address: %s",
			       bh_bus_reply_text(err, reply));
	}
	if (!l || l->asks != ask->asks) {
		return; /* gone, or told anew meanwhile */
	}
	if (!err) {
		l->tries = 0;
		l->released = false;
		return;
	}
	if (err == BH_BUS_REFUSED && !hostd_inventory_find(ask->session->agent->inv, ask->key.vm)) {
		return; /* its VM has left since; only the next hello says it once more */
	}
	l->retry_ns = bh_time_mono_ns() + (LEARNED_RETRY_NS << (l->tries < 6 ? l->tries : 6));
	l->tries++;
	l->sent = false;
}

static uint64_t left_ns(const struct learned *l, uint64_t now_ns)
{
	return l->expires_ns > now_ns ? l->expires_ns - now_ns : 0;
}

static void send_learned(struct hostd_session *s, struct learned *l, uint64_t now_ns)
{
	char vm[BH_UUID_TEXT_SIZE], mac[BH_MAC_TEXT_SIZE], addr[BH_ADDR_TEXT_SIZE];
	struct learned_ask ask = {.session = s, .key = l->key, .asks = l->asks + 1};

	if (!s->up) {
		return;
	}
	l->asks++;
	bh_uuid_format(l->key.vm, vm);
	bh_mac_format(l->key.mac, mac);
	bh_addr_format(l->key.addr, addr);
	l->sent = true;
	hostd_session_request(s->agent, "learned",
			      json_pack("{s:s, s:s, s:s, s:I, s:I}", "vm", vm, "mac", mac,
					"address", addr, "vlan", (json_int_t)l->key.vlan, "lease_s",
					(json_int_t)(left_ns(l, now_ns) / BH_NS_PER_S)),
			      REQUEST_MS, on_learned, bh_memdup(&ask, sizeof(ask)));
}

/* Learned addresses outlive hostd: while the bus is away the manager has not heard of them, and the
 * guest asks for them again only when half its lease is over. */
static void save_learned(struct hostd_session *s, uint64_t now_ns)
{
	BH_JSON json_t *list = json_array();
	BH_FREE char *text = NULL;
	uint64_t wall_s = bh_time_wall_ns() / BH_NS_PER_S;
	struct bh_diag diag = {};

	for (struct learned *l = s->learned; l; l = l->hh.next) {
		char key[2 * sizeof(l->key) + 1];
		uint64_t left_s = left_ns(l, now_ns) / BH_NS_PER_S;

		bh_hex_format(&l->key, sizeof(l->key), key);
		json_array_append_new(list, json_pack("{s:s, s:I}", "key", key, "until_s",
						      (json_int_t)(wall_s + left_s)));
	}
	text = bh_json_dump(list);
	if (bh_file_replace(s->learned_path, text, strlen(text), 0600, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "session", 2, "%s", diag.text);
	}
	s->learned_dirty = false;
}

static void load_learned(struct hostd_session *s)
{
	BH_FREE char *data = NULL;
	BH_JSON json_t *list = NULL;
	uint64_t wall_s = bh_time_wall_ns() / BH_NS_PER_S, now = bh_time_mono_ns();
	size_t size = 0, i;
	json_t *item;

	if (bh_file_read(s->learned_path, LEARNED_FILE_MAX, &data, &size, NULL) < 0 ||
	    bh_json_load(data, size, LEARNED_FILE_MAX, &list, NULL) < 0) {
		return; /* none; a damaged one costs what the guests' next renewals bring back */
	}
	json_array_foreach (list, i, item) {
		uint64_t until_s = bh_json_u64_or(item, "until_s", 0);
		struct learned look = {}, *l;

		if (until_s <= wall_s || HASH_COUNT(s->learned) >= LEARNED_MAX ||
		    bh_hex_parse(bh_json_str_or(item, "key", ""), &look.key, sizeof(look.key)) <
			    0) {
			continue;
		}
		HASH_FIND(hh, s->learned, &look.key, sizeof(look.key), l);
		if (!l) {
			l = bh_memdup(&look, sizeof(look));
			l->expires_ns = now + (until_s - wall_s) * BH_NS_PER_S;
			HASH_ADD(hh, s->learned, key, sizeof(l->key), l);
		}
	}
}

void hostd_session_learned(struct hostd_agent *agent, const struct bh_flow_event *event)
{
	struct hostd_session *s = agent->session;
	uint64_t now = bh_time_mono_ns();
	struct hostd_dp_nic_key nic;
	struct learned look = {}, *l;

	if (!s || !hostd_dp_nic_of_index(agent->dp, event->nic, &nic)) {
		return;
	}
	memcpy(look.key.vm, nic.vm, sizeof(look.key.vm));
	memcpy(look.key.mac, nic.mac, sizeof(look.key.mac));
	memcpy(look.key.addr, event->dst, sizeof(look.key.addr));
	look.key.vlan = event->vlan;
	HASH_FIND(hh, s->learned, &look.key, sizeof(look.key), l);
	if (!l) {
		if (HASH_COUNT(s->learned) >= LEARNED_MAX) {
			bh_counter_add(&session_learned_dropped, 1);
			return;
		}
		l = bh_memdup(&look, sizeof(look));
		HASH_ADD(hh, s->learned, key, sizeof(l->key), l);
	}
	l->expires_ns = now + event->duration_ns;
	l->released = !event->duration_ns;
	l->sent = false;
	l->tries = 0;
	s->learned_dirty = true;
	send_learned(s, l, now);
}

static void learned_tick(struct hostd_session *s, uint64_t now_ns, bool all)
{
	struct learned *l, *next;

	HASH_ITER (hh, s->learned, l, next) {
		if (l->expires_ns <= now_ns && (!l->released || l->tries >= RELEASED_TRIES)) {
			HASH_DEL(s->learned, l);
			free(l);
			s->learned_dirty = true;
		} else if (all || (!l->sent && l->retry_ns <= now_ns)) {
			send_learned(s, l, now_ns);
		}
	}
}

/* ---- hello ---- */

static void boot_id(char ret[64])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || !fgets(ret, 64, f)) {
		snprintf(ret, 64, "unknown");
	}
	ret[strcspn(ret, "\n")] = '\0';
	bh_cleanup_fclosep(&f);
}

static void on_hello(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct hostd_session *s = arg;

	s->hello_sent = false;
	if (err == -ECANCELED) {
		return;
	}
	if (err) {
		bh_counter_add(&session_failed, 1);
		bh_log_limited(BH_LOG_WARN, "session", 3, "the manager does not take our hello: %s",
			       bh_bus_reply_text(err, reply));
		return;
	}
	bh_counter_add(&session_hellos, 1);
	bh_log(BH_LOG_INFO, "session", "connected to the manager");
	s->up = true;
	free(bh_steal(&s->inventory_acked)); /* a new manager knows nothing of it */
	hostd_agent_dirty(s->agent);
	hostd_alone_listed(s->agent, json_object_get(reply->json, "migrations"));
	hostd_moves_listed(s->agent, json_object_get(reply->json, "migrations"));
	learned_tick(s, bh_time_mono_ns(), true);
	hostd_generations_tell(s->agent, true);
}

static void hello(struct hostd_session *s)
{
	struct hostd_agent *agent = s->agent;
	char hash[2 * BH_HASH_SIZE + 1], boot[64];
	json_t *body;

	if (s->hello_sent || s->up) {
		return;
	}
	s->hello_sent = true;
	s->hello_at_ns = bh_time_mono_ns();
	boot_id(boot);
	bh_hash_format(hostd_dp_hash(agent->dp), hash);
	body = json_pack("{s:s, s:i, s:s, s:s, s:s, s:o}", "version", BH_VERSION, "abi",
			 BH_ABI_VERSION, "boot", boot, "hash", hash, "cert",
			 hostd_renew_fingerprint(s->renew), "capacity",
			 hostd_answers_capacity(agent));
	hostd_alone_hello(agent, body);
	hostd_session_request(agent, "hello", body, REQUEST_MS, on_hello, s);
}

void hostd_session_anew(struct hostd_agent *agent)
{
	struct hostd_session *s = agent->session;

	if (s && s->up) {
		s->up = false;
		s->hello_at_ns = bh_time_mono_ns();
	}
}

static void on_resync(int err, const struct bh_bus_msg *reply, void *arg)
{
	if (err && err != -ECANCELED) {
		bh_counter_add(&session_failed, 1);
	}
}

void hostd_session_resync(struct hostd_agent *agent)
{
	char hash[2 * BH_HASH_SIZE + 1];

	if (hostd_session_up(agent)) {
		bh_hash_format(hostd_dp_hash(agent->dp), hash);
		hostd_session_request(agent, "resync", json_pack("{s:s}", "hash", hash), REQUEST_MS,
				      on_resync, agent->session);
	}
}

static void on_state(struct bh_bus *bus, bool up, void *arg)
{
	struct hostd_session *s = arg;

	if (up) {
		hello(s);
	} else if (s->up) {
		s->up = false;
		bh_log(BH_LOG_WARN, "session", "the manager is away: %s", bh_bus_last_error(bus));
	}
}

/* ---- commands ---- */

static void serve_query(struct hostd_agent *agent, struct bh_bus_request *req, const json_t *query)
{
	const char *what = bh_json_str_or(query, "what", "");
	struct bh_diag diag = {};
	json_t *answer = NULL;

	if (!strcmp(what, "counters")) {
		answer = hostd_answers_counters(agent, query, &diag);
	} else if (!strcmp(what, "connections")) {
		answer = hostd_answers_connections(agent, query, &diag);
	} else if (!strcmp(what, "nics")) {
		answer = hostd_answers_nics(agent);
	} else if (!strcmp(what, "rules")) {
		answer = hostd_answers_rules(agent, query, &diag);
	} else if (!strcmp(what, "status")) {
		answer = hostd_answers_status(agent);
	} else {
		bh_diag_set(&diag, -EINVAL, "unknown query '%.40s'", what);
	}
	if (answer) {
		bh_bus_reply(req, answer);
	} else {
		bh_bus_reply_error(req, "failed", "%s", diag.text);
	}
}

static void on_command(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	struct hostd_session *s = arg;
	const char *type = bh_json_str_or(msg->json, "type", "");
	char hash[2 * BH_HASH_SIZE + 1];

	if (!strcmp(type, "apply")) {
		hostd_state_serve_apply(s->agent, req, msg);
	} else if (!strcmp(type, "ping")) {
		bh_hash_format(hostd_dp_hash(s->agent->dp), hash);
		bh_bus_reply(req, json_pack("{s:s}", "hash", hash));
	} else if (!strcmp(type, "query")) {
		serve_query(s->agent, req, msg->json);
	} else if (!strcmp(type, "grant")) {
		hostd_alone_command(s->agent, req, msg->json);
	} else if (!strcmp(type, "who")) {
		hostd_who_command(s->agent->who, req);
	} else if (!hostd_orders_command(s->agent, req, type, msg->json) &&
		   !hostd_moves_command(s->agent, req, type, msg)) {
		bh_bus_reply_error(req, "unknown", "unknown command '%.40s'", type);
	}
}

void hostd_session_tick(struct hostd_agent *agent, uint64_t now_ns)
{
	struct hostd_session *s = agent->session;

	if (s && s->learned_dirty) {
		save_learned(s, now_ns);
	}
	if (s) {
		hostd_renew_tick(s->renew, s->up, (int64_t)(bh_time_wall_ns() / BH_NS_PER_S),
				 now_ns);
	}
	if (!s || !bh_bus_up(s->bus)) {
		return;
	}
	if (!s->up && now_ns - s->hello_at_ns >= HELLO_RETRY_NS) {
		hello(s);
	} else if (s->up && now_ns - s->inventory_at_ns >= INVENTORY_NS) {
		hostd_agent_dirty(agent);
	}
	learned_tick(s, now_ns, false);
}

json_t *hostd_session_json(struct hostd_agent *agent)
{
	struct hostd_session *s = agent->session;

	if (!s) {
		return json_pack("{s:b, s:b}", "enrolled", 0, "manager", 0);
	}
	return json_pack("{s:b, s:b, s:s, s:o, s:o}", "enrolled", 1, "manager", s->up, "session",
			 s->session, "bus", bh_bus_dump(s->bus), "certificate",
			 hostd_renew_json(s->renew, (int64_t)(bh_time_wall_ns() / BH_NS_PER_S)));
}

/* ---- the certificate ---- */

static void renew_ask(json_t *body, bh_bus_reply_fn *fn, void *renew_arg, void *arg)
{
	const struct hostd_session *s = arg;

	hostd_session_request(s->agent, "renew", body, REQUEST_MS, fn, renew_arg);
}

static void renew_renewed(void *arg)
{
	const struct hostd_session *s = arg;

	bh_bus_reconnect(s->bus);
}

static void renew_tell(const char *type, const char *severity, json_t *body, void *arg)
{
	const struct hostd_session *s = arg;
	enum bh_severity grade = BH_SEVERITY_INFO;
	json_t *event;

	if (bh_severity_parse(severity, &grade) < 0) {
		grade = BH_SEVERITY_WARNING;
	}
	event = hostd_agent_event_new(type, grade);
	json_object_update(event, body);
	json_decref(body);
	hostd_agent_event(s->agent, event);
}

static void renew_start(struct hostd_session *s)
{
	BH_FREE char *pki = bh_asprintf("%s/pki", s->agent->config->state_dir);
	struct hostd_renew_options options = {.dir = pki,
					      .name = s->agent->name,
					      .ask = renew_ask,
					      .renewed = renew_renewed,
					      .tell = renew_tell,
					      .arg = s};

	s->renew = hostd_renew_new(&options);
}

int hostd_session_new(struct hostd_agent *agent, const char *urls, struct hostd_session **ret,
		      struct bh_diag *diag)
{
	struct hostd_session *s = bh_alloc(sizeof(*s));
	const char *dir = agent->config->state_dir;
	BH_FREE char *ca = bh_asprintf("%s/pki/ca.pem", dir);
	BH_FREE char *cert = bh_asprintf("%s/pki/cert.pem", dir);
	BH_FREE char *key = bh_asprintf("%s/pki/key.pem", dir);
	BH_FREE char *name = bh_asprintf("host.%s", agent->name);
	char inbox[BH_SUBJECT_SIZE], cmd[BH_SUBJECT_SIZE], peers[BH_SUBJECT_SIZE];
	struct bh_bus_options options = {.urls = urls,
					 .name = name,
					 .inbox = bh_subject_inbox(agent->name, inbox),
					 .ca_file = ca,
					 .cert_file = cert,
					 .key_file = key,
					 .on_state = on_state,
					 .arg = s};
	uint8_t random[16];
	int err;

	s->agent = agent;
	if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
		abort(); /* 16 bytes are always given once the kernel's pool is ready */
	}
	bh_hex_format(random, sizeof(random), s->session);
	bh_subject_req(agent->name, s->subject);
	s->learned_path = bh_asprintf("%s/learned.json", dir);
	load_learned(s);
	renew_start(s);
	err = bh_bus_new(agent->loop, &options, &s->bus, diag);
	if (err) {
		hostd_session_free(s);
		return err;
	}
	bh_bus_serve(s->bus, bh_subject_cmd(agent->name, cmd), BH_SUBJECT_MANAGER_INBOX ".",
		     on_command, s);
	bh_bus_serve(s->bus, bh_subject_peers(agent->name, peers), BH_SUBJECT_PEER_REPLY,
		     hostd_moves_peer, agent);
	bh_producer_attach(agent->producer, s->bus);
	*ret = s;
	return 0;
}

void hostd_session_free(struct hostd_session *s)
{
	struct learned *l, *next;

	if (!s) {
		return;
	}
	s->up = false;
	if (s->learned_dirty) {
		save_learned(s, bh_time_mono_ns());
	}
	bh_bus_free(s->bus);
	hostd_renew_free(s->renew);
	HASH_ITER (hh, s->learned, l, next) {
		HASH_DEL(s->learned, l);
		free(l);
	}
	free(s->inventory_sent);
	free(s->inventory_acked);
	free(s->learned_path);
	free(s);
}
