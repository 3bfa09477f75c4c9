/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/link/internal.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "bus/subject.h"
#include "manager/migrate/placement.h"

#include <errno.h>

#define PART_SIZE (512u * 1024)
#define APPLY_MS  10000
#define PART_MS	  2000
#define PING_MS	  5000
#define BIRTH_MS  8000

BH_COUNTER(link_requests, "requests of hosts");
BH_COUNTER(link_replays, "requests of hosts refused as repeats or of another session");
BH_COUNTER(link_refused, "requests of hosts refused for what they say");
BH_COUNTER(link_unknown_hosts, "requests of hosts that are not enrolled");
BH_COUNTER(link_births, "births that were answered");
BH_COUNTER(link_births_late, "births whose host was not ready in time");

/* ---- to hosts ---- */

static void read_answer(int err, const struct bh_bus_msg *reply, struct manager_answer *a)
{
	const char *hash;

	a->err = err;
	if (reply && err == 0) {
		hash = bh_json_str_or(reply->json, "hash", "");
		a->has_hash = bh_hash_parse(hash, &a->hash) == 0;
		a->install_us = bh_json_u64_or(reply->json, "install_us", 0);
	}
	a->code = err ? bh_bus_reply_code(err, reply) : "";
	a->text = err ? bh_bus_reply_text(err, reply) : "";
}

/* A delta on its way: the answer to its last part is the answer. Hosts may be removed meanwhile, so
 * the host is found by name. */
struct shipment {
	struct manager_link *link;
	char host[BH_NAME_MAX + 1];
	unsigned int attempt;
	unsigned int parts, answered;
	bool told;
};

static struct manager_sync *sync_of(struct manager_link *link, const char *name)
{
	struct manager_host *h = manager_host_find(link->inv, name);

	return h ? h->sync : NULL;
}

static void on_part(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct shipment *s = arg;
	struct manager_sync *sync = sync_of(s->link, s->host);
	struct manager_answer answer = {.attempt = s->attempt};
	bool last = ++s->answered == s->parts;

	/* Parts are answered in order; an early failure is the answer too. */
	if (!s->told && (err || last) && sync && err != -ECANCELED) {
		s->told = true;
		read_answer(err, reply, &answer);
		manager_sync_answer(sync, &answer);
	}
	if (last) {
		free(s);
	}
}

static void carry_apply(struct manager_sync *sync, const struct manager_image *image,
			const struct bh_delta *delta, void *arg)
{
	struct manager_link *link = arg;
	struct shipment *s = bh_alloc(sizeof(*s));
	char subject[BH_SUBJECT_SIZE];
	char from[2 * BH_HASH_SIZE + 1], to[2 * BH_HASH_SIZE + 1];
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_delta_encode(delta, &w);
	bh_hash_format(bh_delta_from(delta), from);
	bh_hash_format(bh_delta_to(delta), to);
	bh_subject_cmd(sync->host->name, subject);
	s->link = link;
	snprintf(s->host, sizeof(s->host), "%s", sync->host->name);
	s->attempt = sync->attempt;
	s->parts = (unsigned int)((w.size + PART_SIZE - 1) / PART_SIZE);
	for (unsigned int i = 0; i < s->parts; i++) {
		size_t at = (size_t)i * PART_SIZE;
		BH_JSON json_t *head =
			json_pack("{s:s, s:I, s:I, s:I, s:s, s:s}", "type", "apply", "rev",
				  (json_int_t)image->revision, "part", (json_int_t)i, "parts",
				  (json_int_t)s->parts, "from", from, "to", to);
		struct bh_bus_msg msg = {.json = head,
					 .bytes = w.data + at,
					 .size = w.size - at < PART_SIZE ? w.size - at : PART_SIZE};

		bh_bus_request(link->bus, subject, &msg, APPLY_MS + (uint64_t)s->parts * PART_MS,
			       on_part, s);
	}
	bh_wbuf_done(&w);
}

struct ping {
	struct manager_link *link;
	char host[BH_NAME_MAX + 1];
};

static void on_pong(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct ping *p = arg;
	struct manager_sync *sync = sync_of(p->link, p->host);
	struct manager_answer answer = {};

	if (sync && err != -ECANCELED) {
		read_answer(err, reply, &answer);
		manager_sync_pong(sync, &answer);
	}
	free(p);
}

static void carry_ping(struct manager_sync *sync, void *arg)
{
	struct manager_link *link = arg;
	struct ping *p = bh_alloc(sizeof(*p));
	BH_JSON json_t *body = json_pack("{s:s}", "type", "ping");
	struct bh_bus_msg msg = {.json = body};
	char subject[BH_SUBJECT_SIZE];

	p->link = link;
	snprintf(p->host, sizeof(p->host), "%s", sync->host->name);
	bh_bus_request(link->bus, bh_subject_cmd(p->host, subject), &msg, PING_MS, on_pong, p);
}

static bool carry_up(void *arg)
{
	struct manager_link *link = arg;

	return bh_bus_up(link->bus);
}

struct manager_carrier manager_link_carrier(struct manager_link *link)
{
	return (struct manager_carrier){
		.apply = carry_apply, .ping = carry_ping, .up = carry_up, .arg = link};
}

static void on_nothing(int err, const struct bh_bus_msg *reply, void *arg)
{
}

void manager_link_command(const char *host, json_t *body, uint64_t timeout_ms, bh_bus_reply_fn *fn,
			  void *arg, void *link)
{
	const struct manager_link *l = link;
	BH_JSON json_t *owned = body;
	struct bh_bus_msg msg = {.json = owned};
	char subject[BH_SUBJECT_SIZE];

	bh_bus_request(l->bus, bh_subject_cmd(host, subject), &msg, timeout_ms,
		       fn ? fn : on_nothing, arg);
}

void manager_link_query(struct manager_link *link, const char *host, json_t *body,
			uint64_t timeout_ms, bh_bus_reply_fn *fn, void *arg)
{
	json_object_set_new(body, "type", json_string("query"));
	manager_link_command(host, body, timeout_ms, fn, arg, link);
}

/* ---- from hosts ---- */

static bool told_hash(const json_t *json, struct bh_hash *ret)
{
	return bh_hash_parse(bh_json_str_or(json, "hash", ""), ret) == 0;
}

/* What went on without us, before the host gets an image that knows nothing of it. */
static void moved_alone(struct manager_link *link, struct manager_host *host, const json_t *json)
{
	struct bh_diag diag = {};

	if (link->grants) {
		manager_grants_hello(link->grants, host, bh_json_str_or(json, "grant", ""));
	}
	if (link->migrate &&
	    manager_migrate_adopt(link->migrate, host, json_object_get(json, "alone")) &&
	    manager_distribute_flush(link->dist, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "link", 3, "host %s: %s", host->name, diag.text);
	}
}

static void on_hello(struct manager_link *link, struct manager_host *host,
		     struct bh_bus_request *req, const json_t *json)
{
	const char *session = bh_json_str_or(json, "session", "");
	BH_JSON json_t *keep = NULL;
	struct bh_hash hash;
	uint64_t n = 0;
	bool told = told_hash(json, &hash);

	if (strlen(session) < 8 || strlen(session) >= sizeof(host->session) ||
	    bh_json_u64(json, "n", INT64_MAX, &n, NULL) < 0) {
		bh_counter_add(&link_refused, 1);
		bh_bus_reply_error(req, "bad", "hello needs a session of 8 to 64 bytes and n");
		return;
	}
	if (strcmp(session, host->session) == 0 && n <= host->last_n) {
		bh_counter_add(&link_replays, 1);
		bh_bus_reply_error(req, "replay", "this hello is not newer than the last request");
		return;
	}
	snprintf(host->session, sizeof(host->session), "%s", session);
	host->last_n = n;
	/* Only what is known is kept: a host can't fill the store with its hello. */
	keep = json_pack("{s:s, s:s, s:I, s:s}", "session", session, "version",
			 bh_json_str_or(json, "version", ""), "abi",
			 (json_int_t)bh_json_u64_or(json, "abi", 0), "boot",
			 bh_json_str_or(json, "boot", ""));
	if (json_object_get(json, "capacity") &&
	    json_object_size(json_object_get(json, "capacity")) < 32) {
		json_object_set(keep, "capacity", json_object_get(json, "capacity"));
	}
	manager_host_hello(link->inv, host, keep, bh_time_wall_ns());
	if (link->enroll) {
		manager_enroll_host_uses(link->enroll, host, bh_json_str_or(json, "cert", ""));
	}
	moved_alone(link, host, json);
	manager_distribute_schedule(link->dist);
	manager_distribute_hello(link->dist, host, told ? &hash : NULL);
	bh_bus_reply(req, json_pack("{s:o}", "migrations",
				    link->migrate ? manager_migrate_of_host(link->migrate, host)
						  : json_array()));
}

static void add_birth(json_t *births, const struct manager_vm *vm)
{
	const char *birth = bh_json_str_or(vm->api, "birth", "");

	if (*birth) {
		json_object_set_new(births, vm->uuid, json_string(birth));
	}
}

/* What the API says about the births of its VMs: hostd keeps it for the time when nobody can be
 * asked. */
static json_t *births_of(const struct manager_host *host)
{
	json_t *births = json_object();

	for (const struct manager_vm *vm = host->vms; vm; vm = vm->next) {
		add_birth(births, vm);
	}
	for (const struct manager_vm *vm = host->incoming; vm; vm = vm->in_next) {
		add_birth(births, vm);
	}
	return births;
}

static void on_inventory(struct manager_link *link, struct manager_host *host,
			 struct bh_bus_request *req, const json_t *json)
{
	json_t *rejected = NULL;
	struct bh_diag diag = {};

	if (manager_inventory_report(link->inv, host, json_object_get(json, "vms"),
				     bh_time_wall_ns(), &rejected, &diag) < 0) {
		bh_counter_add(&link_refused, 1);
		bh_bus_reply_error(req, "bad", "%s", diag.text);
		return;
	}
	if (json_array_size(rejected)) {
		bh_log_limited(BH_LOG_WARN, "link", 5, "host %s: %zu VMs of its inventory refused",
			       host->name, json_array_size(rejected));
	}
	if (link->migrate) {
		manager_migrate_look(link->migrate, host);
	}
	manager_distribute_schedule(link->dist);
	bh_bus_reply(req, json_pack("{s:o, s:o}", "rejected", rejected, "births", births_of(host)));
}

struct birth {
	struct manager_link *link;
	struct bh_bus_request *req;
	char host[BH_NAME_MAX + 1];
	char vm[BH_UUID_TEXT_SIZE];
	uint64_t generation;
};

static void answer_birth(const struct birth *b, const struct manager_sync *sync)
{
	const struct manager_quarantine *q = manager_quarantine_of(b->link->inv, b->vm);
	struct manager_vm *vm = NULL;
	char hash[2 * BH_HASH_SIZE + 1];
	json_t *body;

	bh_counter_add(&link_births, 1);
	bh_hash_format(bh_image_hash(sync->installed->image), hash);
	body = json_pack("{s:s, s:I}", "hash", hash, "generation", (json_int_t)b->generation);
	if (q) {
		json_object_set_new(body, "quarantine", json_string(q->why));
	} else if (manager_vm_find(b->link->inv, b->vm, &vm, NULL) == 0 && vm->over_quota) {
		json_object_set_new(body, "quarantine",
				    json_string("out of quota: too many labels"));
	}
	bh_bus_reply(b->req, body);
}

static void on_birth_ready(bool all, void *arg)
{
	struct birth *b = arg;
	const struct manager_sync *sync = sync_of(b->link, b->host);

	if (all && sync && sync->installed) {
		answer_birth(b, sync);
	} else {
		bh_counter_add(&link_births_late, 1);
		bh_bus_reply_error(b->req, "late", "the host did not confirm the VM's state: %s",
				   sync && *sync->problem ? sync->problem : "no answer in time");
	}
	free(b);
}

static void on_birth(struct manager_link *link, struct manager_host *host,
		     struct bh_bus_request *req, const json_t *json)
{
	struct birth now = {.link = link, .req = req};
	const struct manager_identity *before;
	struct manager_vm *vm = NULL;
	struct bh_diag diag = {};
	int r;

	if (manager_placement_check_birth(link->inv, json_object_get(json, "vm"), host, &diag)) {
		bh_counter_add(&link_refused, 1);
		bh_bus_reply_error(req, "placement", "%s", diag.text);
		return;
	}
	r = manager_inventory_birth(link->inv, host, json_object_get(json, "vm"), bh_time_wall_ns(),
				    &vm, &diag);
	if (r != 0) {
		bh_counter_add(&link_refused, 1);
		bh_bus_reply_error(req, r == MANAGER_REPORT_CONFLICT ? "conflict" : "bad", "%s",
				   diag.text);
		return;
	}
	if (!*vm->next_migration) {
		manager_vm_place_next(
			vm, bh_json_str_or(json_object_get(json, "state"), "from", ""), "");
	}
	before = vm->identity;
	r = manager_rollback_birth(link->inv, vm, host, json_object_get(json, "state"),
				   &now.generation, &diag);
	if (r == 0) {
		r = manager_distribute_flush(link->dist, &diag);
	}
	if (r < 0) {
		bh_bus_reply_error(req, "store", "%s", diag.text);
		return;
	}
	snprintf(now.host, sizeof(now.host), "%s", host->name);
	snprintf(now.vm, sizeof(now.vm), "%s", vm->uuid);
	/* What travels here has been read back already. */
	if (host->sync && (manager_sync_in_sync(host->sync) ||
			   (link->migrate && host->sync->installed && vm->identity == before &&
			    manager_migrate_may_start(link->migrate, vm, host)))) {
		answer_birth(&now, host->sync);
		return;
	}
	manager_distribute_wait(link->dist, &host, 1, BIRTH_MS, on_birth_ready,
				bh_memdup(&now, sizeof(now)));
}

static void on_learned(struct manager_link *link, struct manager_host *host,
		       struct bh_bus_request *req, const json_t *json)
{
	struct bh_diag diag = {};

	if (manager_inventory_learned(link->inv, host, json, bh_time_wall_ns(), &diag) < 0) {
		bh_counter_add(&link_refused, 1);
		bh_bus_reply_error(req, "bad", "%s", diag.text);
		return;
	}
	manager_distribute_schedule(link->dist);
	bh_bus_reply(req, NULL);
}

static void on_generations(struct manager_link *link, struct manager_host *host,
			   struct bh_bus_request *req, const json_t *json)
{
	if (manager_rollback_told(link->inv, host, json_object_get(json, "vms"))) {
		(void)!manager_distribute_flush(link->dist, NULL); /* tried again by itself */
	}
	bh_bus_reply(req, NULL);
}

static void on_resync(struct manager_link *link, struct manager_host *host,
		      struct bh_bus_request *req, const json_t *json)
{
	struct bh_hash hash;
	bool told = told_hash(json, &hash);

	manager_distribute_resync(link->dist, host, told ? &hash : NULL);
	bh_bus_reply(req, NULL);
}

static void on_renew(struct manager_link *link, struct manager_host *host,
		     struct bh_bus_request *req, const json_t *json)
{
	BH_FREE char *cert = NULL;
	struct bh_diag diag = {};
	int r = -ENOTSUP;

	if (link->enroll) {
		r = manager_enroll_host_renew(link->enroll, host, bh_json_str_or(json, "csr", ""),
					      bh_time_wall_ns(), &cert, &diag);
	}
	if (r) {
		bh_counter_add(&link_refused, 1);
		bh_log_limited(BH_LOG_WARN, "link", 5, "host %s asks for a certificate: %s",
			       host->name, diag.text);
		bh_bus_reply_error(req, r == MANAGER_RENEW_LIMITED ? "limited" : "bad", "%s",
				   diag.text);
		return;
	}
	bh_log(BH_LOG_INFO, "link", "host %s has a new certificate", host->name);
	bh_bus_reply(req,
		     json_pack("{s:s, s:s}", "cert", cert, "ca", manager_enroll_ca(link->enroll)));
}

/* Requests but hello belong to the session and are newer than what came before. After a restart of
 * the manager the first session that speaks is taken: numbers of the time before are not known any
 * more. */
static bool in_session(struct manager_host *host, const json_t *json)
{
	const char *session = bh_json_str_or(json, "session", "");
	uint64_t n = bh_json_u64_or(json, "n", 0);

	if (!*host->session && strlen(session) >= 8 && strlen(session) < sizeof(host->session)) {
		snprintf(host->session, sizeof(host->session), "%s", session);
	}
	if (strcmp(session, host->session) != 0 || n <= host->last_n) {
		return false;
	}
	host->last_n = n;
	return true;
}

static const struct {
	const char *type;
	manager_link_handler_fn *fn;
} handlers[] = {
	{"inventory", on_inventory},
	{"birth", on_birth},
	{"learned", on_learned},
	{"generations", on_generations},
	{"resync", on_resync},
	{"renew", on_renew},
	{"migrate", manager_link_on_migrate},
	{"migrated", manager_link_on_migrated},
};

static void on_request(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	struct manager_link *link = arg;
	struct manager_host *host = manager_host_find(link->inv, bh_bus_request_host(req));
	const char *type = bh_json_str_or(msg->json, "type", "");

	bh_counter_add(&link_requests, 1);
	if (!host) {
		bh_counter_add(&link_unknown_hosts, 1);
		bh_bus_reply_error(req, "unknown", "this host is not enrolled");
		return;
	}
	if (strcmp(type, "hello") == 0) {
		on_hello(link, host, req, msg->json);
		return;
	}
	if (!in_session(host, msg->json)) {
		bh_counter_add(&link_replays, 1);
		bh_log_limited(BH_LOG_WARN, "link", 5,
			       "host %s: '%.20s' of another session or out of order", host->name,
			       type);
		bh_bus_reply_error(req, "session", "a repeat, or of another session: say hello");
		return;
	}
	manager_distribute_seen(link->dist, host);
	for (size_t i = 0; i < BH_ARRAY_SIZE(handlers); i++) {
		if (strcmp(type, handlers[i].type) == 0) {
			handlers[i].fn(link, host, req, msg->json);
			return;
		}
	}
	bh_counter_add(&link_refused, 1);
	bh_bus_reply_error(req, "unknown", "unknown request '%.40s'", type);
}

struct manager_link *manager_link_new(struct bh_bus *bus, struct manager_inventory *inv)
{
	struct manager_link *link = bh_alloc(sizeof(*link));

	link->bus = bus;
	link->inv = inv;
	return link;
}

void manager_link_serve(struct manager_link *link, struct manager_distribute *dist)
{
	link->dist = dist;
	bh_bus_serve(link->bus, BH_SUBJECT_ALL_REQ, BH_SUBJECT_ALL_REQ_REPLY, on_request, link);
}

void manager_link_set_enroll(struct manager_link *link, struct manager_enroll *enroll)
{
	link->enroll = enroll;
}

void manager_link_set_migrate(struct manager_link *link, struct manager_migrate *migrate)
{
	link->migrate = migrate;
}

void manager_link_set_grants(struct manager_link *link, struct manager_grants *grants)
{
	link->grants = grants;
}

void manager_link_free(struct manager_link *link)
{
	free(link);
}
