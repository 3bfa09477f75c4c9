/* SPDX-License-Identifier: Apache-2.0 */
#include "host/agent/orders.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <uthash.h>

#define ANSWER_NS     (1500 * BH_NS_PER_MS)
#define TICK_MS	      250
#define TIMEOUT_MAX_S 86400

BH_COUNTER(orders_begun, "orders of the manager that were begun");
BH_COUNTER(orders_again, "orders that were known already, and not done again");
BH_COUNTER(orders_refused, "orders that this host did not take");

enum state { RUNNING, DONE, FAILED, UNKNOWN };
static const char *const state_names[] = {"running", "done", "failed", "unknown"};

struct order {
	struct hostd_orders *orders;
	char id[HOSTD_ORDER_ID_SIZE];
	enum hostd_act_kind kind;
	uint8_t vm[16];
	enum state state;
	uint64_t at_s;		     /* wall clock */
	struct hostd_acting *acting; /* while it runs */
	struct bh_bus_request *req;  /* who waits; NULL: nobody */
	uint64_t answer_ns;
	struct hostd_act_end end;
	UT_hash_handle hh;
};

struct hostd_orders {
	struct hostd_agent *agent;
	struct order *all; /* in the order of their beginning */
	uv_timer_t timer;
	char *path;
	bool stopped;
};

static void drop(struct hostd_orders *orders, struct order *o)
{
	HASH_DEL(orders->all, o);
	json_decref(o->end.list);
	free(o);
}

/* ---- on disk ---- */

static bool kept(const struct order *o)
{
	return o->kind != HOSTD_ACT_SNAPSHOTS;
}

static void save(struct hostd_orders *orders)
{
	BH_JSON json_t *all = json_object();

	for (const struct order *o = orders->all; o; o = o->hh.next) {
		char vm[BH_UUID_TEXT_SIZE];

		bh_uuid_format(o->vm, vm);
		if (kept(o)) {
			json_object_set_new(
				all, o->id,
				json_pack("{s:s, s:s, s:s, s:I, s:b, s:s, s:s}", "vm", vm, "act",
					  hostd_act_name(o->kind), "state", state_names[o->state],
					  "at", (json_int_t)o->at_s, "changed", o->end.changed,
					  "vm_state", o->end.state, "error", o->end.error));
		}
	}
	hostd_agent_save(orders->path, all);
}

static enum state read_state(const char *text)
{
	for (size_t i = DONE; i < BH_ARRAY_SIZE(state_names); i++) {
		if (!strcmp(state_names[i], text)) {
			return (enum state)i;
		}
	}
	return UNKNOWN; /* it was running when we ended */
}

static void load(struct hostd_orders *orders)
{
	BH_JSON json_t *all = hostd_agent_load(orders->path);
	const char *id;
	json_t *item;

	json_object_foreach (all, id, item) {
		struct order *o;

		if (strlen(id) != HOSTD_ORDER_ID_SIZE - 1 ||
		    HASH_COUNT(orders->all) >= HOSTD_ORDERS_KEPT) {
			continue;
		}
		o = bh_alloc(sizeof(*o));
		o->orders = orders;
		snprintf(o->id, sizeof(o->id), "%s", id);
		o->kind = hostd_act_find(bh_json_str_or(item, "act", ""));
		o->state = read_state(bh_json_str_or(item, "state", ""));
		o->at_s = bh_json_u64_or(item, "at", 0);
		o->end.changed = json_is_true(json_object_get(item, "changed"));
		snprintf(o->end.state, sizeof(o->end.state), "%s",
			 bh_json_str_or(item, "vm_state", ""));
		snprintf(o->end.error, sizeof(o->end.error), "%s",
			 o->state == UNKNOWN ? "hostd was started anew while it went on"
					     : bh_json_str_or(item, "error", ""));
		(void)!bh_uuid_parse(bh_json_str_or(item, "vm", ""), o->vm);
		HASH_ADD_STR(orders->all, id, o);
	}
}

/* The oldest that is over makes room. */
static void trim(struct hostd_orders *orders)
{
	struct order *o, *next;

	HASH_ITER (hh, orders->all, o, next) {
		if (HASH_COUNT(orders->all) < HOSTD_ORDERS_KEPT) {
			return;
		}
		if (o->state != RUNNING) {
			drop(orders, o);
		}
	}
}

/* ---- answers ---- */

static void answer(struct order *o)
{
	json_t *body = json_pack("{s:s}", "state", state_names[o->state]);

	if (o->state == RUNNING) {
		int percent = hostd_acting_percent(o->acting);

		if (percent >= 0) {
			json_object_set_new(body, "percent", json_integer(percent));
		}
	} else {
		json_object_set_new(body, "changed", json_boolean(o->end.changed));
		json_object_set_new(body, "vm_state", json_string(o->end.state));
		json_object_set_new(body, "error", json_string(o->end.error));
		json_object_set_new(body, "own", json_boolean(o->end.own || o->state == UNKNOWN));
	}
	if (o->end.list) {
		json_object_set(body, "list", o->end.list);
	}
	bh_bus_reply(bh_steal(&o->req), body);
}

static void on_timer(uv_timer_t *timer)
{
	struct hostd_orders *orders = timer->data;
	uint64_t now = bh_time_mono_ns();
	bool waits = false;

	for (struct order *o = orders->all; o; o = o->hh.next) {
		if (o->req && now >= o->answer_ns) {
			answer(o);
		}
		waits |= o->req != NULL;
	}
	if (!waits) {
		uv_timer_stop(timer);
	}
}

static void park(struct order *o, struct bh_bus_request *req)
{
	if (o->req) {
		answer(o); /* one waits at a time */
	}
	o->req = req;
	if (o->state != RUNNING) {
		answer(o);
		return;
	}
	o->answer_ns = bh_time_mono_ns() + ANSWER_NS;
	uv_timer_start(&o->orders->timer, on_timer, TICK_MS, TICK_MS);
}

static void on_end(const struct hostd_act_end *end, void *arg)
{
	struct order *o = arg;
	struct hostd_orders *orders = o->orders;

	o->acting = NULL;
	o->state = end->good ? DONE : FAILED;
	o->end = *end;
	json_incref(o->end.list);
	if (kept(o)) {
		char vm[BH_UUID_TEXT_SIZE];

		bh_uuid_format(o->vm, vm);
		bh_log(end->good ? BH_LOG_INFO : BH_LOG_WARN, "orders", "%s of VM %s: %s%s",
		       hostd_act_name(o->kind), vm,
		       !end->good     ? "failed: "
		       : end->changed ? "done"
				      : "nothing to do",
		       end->error);
		save(orders);
	}
	if (o->req) {
		answer(o);
	}
	if (!kept(o)) {
		drop(orders, o);
	}
}

/* ---- orders ---- */

static int copy_text(const json_t *json, const char *key, char *to, size_t size,
		     struct bh_diag *diag)
{
	const char *text = bh_json_str_or(json, key, "");

	if (strlen(text) >= size) {
		return bh_diag_set(diag, -EINVAL, "'%s' is too long", key);
	}
	memcpy(to, text, strlen(text) + 1);
	return 0;
}

static int target_uri(const struct hostd_agent *agent, const char *to, struct hostd_act *ret,
		      struct bh_diag *diag)
{
	const char *pattern = agent->config->migrate_uri;
	const char *at = strstr(pattern, "%h");

	if (!bh_name_valid(to) || !strcmp(to, agent->name)) {
		return bh_diag_set(diag, -EINVAL, "'%.80s' is no other host", to);
	}
	if ((size_t)snprintf(ret->uri, sizeof(ret->uri), "%.*s%s%s",
			     at ? (int)(at - pattern) : (int)strlen(pattern), pattern, at ? to : "",
			     at ? at + 2 : "") >= sizeof(ret->uri)) {
		return bh_diag_set(diag, -EINVAL, "migrate_uri is too long");
	}
	ret->tls = agent->config->migrate_tls;
	return 0;
}

static int read_order(const struct hostd_agent *agent, const json_t *json, struct hostd_act *ret,
		      struct bh_diag *diag)
{
	uint64_t timeout_s = bh_json_u64_or(json, "timeout_s", 60);
	int r;

	ret->kind = hostd_act_find(bh_json_str_or(json, "act", ""));
	if (ret->kind == HOSTD_ACT_NONE) {
		return bh_diag_set(diag, -EINVAL, "unknown act '%.40s'",
				   bh_json_str_or(json, "act", ""));
	}
	if (bh_uuid_parse(bh_json_str_or(json, "vm", ""), ret->uuid) < 0 || timeout_s < 1 ||
	    timeout_s > TIMEOUT_MAX_S) {
		return bh_diag_set(diag, -EINVAL, "an order needs 'vm' and 'timeout_s'");
	}
	ret->timeout_ms = timeout_s * 1000;
	r = copy_text(json, "name", ret->name, sizeof(ret->name), diag);
	if (r == 0) {
		r = copy_text(json, "description", ret->description, sizeof(ret->description),
			      diag);
	}
	if (r == 0 && ret->kind == HOSTD_ACT_MIGRATE) {
		r = target_uri(agent, bh_json_str_or(json, "to", ""), ret, diag);
	}
	return r;
}

/* One for each VM; nothing keeps from powering off, and looking disturbs nobody. */
static bool in_the_way(const struct hostd_orders *orders, const struct hostd_act *act)
{
	if (act->kind == HOSTD_ACT_DESTROY || act->kind == HOSTD_ACT_UNDEFINE ||
	    act->kind == HOSTD_ACT_SNAPSHOTS) {
		return false;
	}
	for (const struct order *o = orders->all; o; o = o->hh.next) {
		if (o->state == RUNNING && o->kind != HOSTD_ACT_SNAPSHOTS &&
		    !memcmp(o->vm, act->uuid, sizeof(o->vm))) {
			return true;
		}
	}
	return false;
}

static void refuse(struct bh_bus_request *req, const char *code, const char *text)
{
	bh_counter_add(&orders_refused, 1);
	bh_bus_reply_error(req, code, "%s", text);
}

static void begin(struct hostd_orders *orders, struct bh_bus_request *req, const char *id,
		  const json_t *json)
{
	struct hostd_agent *agent = orders->agent;
	struct hostd_act act = {};
	struct bh_diag diag = {};
	struct order *o;
	int source;

	if (read_order(agent, json, &act, &diag) < 0) {
		refuse(req, "bad", diag.text);
		return;
	}
	source = hostd_inventory_source(agent->inv, act.uuid);
	if (source < 0) {
		refuse(req, "no_vm", "this host does not have that VM");
		return;
	}
	if (in_the_way(orders, &act)) {
		refuse(req, "busy", "another act on this VM is under way");
		return;
	}
	trim(orders);
	o = bh_alloc(sizeof(*o));
	o->orders = orders;
	snprintf(o->id, sizeof(o->id), "%s", id);
	o->kind = act.kind;
	memcpy(o->vm, act.uuid, sizeof(o->vm));
	o->at_s = bh_time_wall_ns() / BH_NS_PER_S;
	HASH_ADD_STR(orders->all, id, o);
	if (kept(o)) {
		save(orders); /* before anything is done */
	}
	if (hostd_platform_act(agent->sources[source].platform, &act, on_end, o, &o->acting,
			       &diag) < 0) {
		drop(orders, o);
		save(orders);
		refuse(req, "busy", diag.text);
		return;
	}
	bh_counter_add(&orders_begun, 1);
	park(o, req);
}

static void serve_order(struct hostd_orders *orders, struct bh_bus_request *req, const json_t *json)
{
	const char *id = bh_json_str_or(json, "id", "");
	struct order *o;

	if (strlen(id) != HOSTD_ORDER_ID_SIZE - 1) {
		refuse(req, "bad", "an order has an id of 32 digits");
		return;
	}
	HASH_FIND_STR(orders->all, id, o);
	if (o) {
		bh_counter_add(&orders_again, 1);
		park(o, req);
	} else if (json_is_true(json_object_get(json, "look"))) {
		bh_bus_reply_error(req, "unknown", "this host knows of no such order");
	} else {
		begin(orders, req, id, json);
	}
}

static void serve_cancel(struct hostd_orders *orders, struct bh_bus_request *req,
			 const json_t *json)
{
	struct order *o;

	HASH_FIND_STR(orders->all, bh_json_str_or(json, "id", ""), o);
	if (!o || !o->acting) {
		bh_bus_reply_error(req, "unknown", "no such order is under way here");
		return;
	}
	hostd_acting_cancel(o->acting);
	bh_bus_reply(req, NULL);
}

bool hostd_orders_command(struct hostd_agent *agent, struct bh_bus_request *req, const char *type,
			  const json_t *json)
{
	if (!strcmp(type, "order")) {
		serve_order(agent->orders, req, json);
	} else if (!strcmp(type, "order-cancel")) {
		serve_cancel(agent->orders, req, json);
	} else {
		return false;
	}
	return true;
}

json_t *hostd_orders_json(const struct hostd_agent *agent)
{
	json_t *list = json_array();

	for (const struct order *o = agent->orders->all; o; o = o->hh.next) {
		char vm[BH_UUID_TEXT_SIZE];

		bh_uuid_format(o->vm, vm);
		if (o->state == RUNNING) {
			json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "id", o->id, "vm",
							      vm, "act", hostd_act_name(o->kind)));
		}
	}
	return list;
}

struct hostd_orders *hostd_orders_new(struct hostd_agent *agent)
{
	struct hostd_orders *orders = bh_alloc(sizeof(*orders));

	orders->agent = agent;
	orders->path = bh_asprintf("%s/orders.json", agent->config->state_dir);
	if (uv_timer_init(agent->loop, &orders->timer)) {
		abort(); /* cannot fail: it only fills memory */
	}
	orders->timer.data = orders;
	load(orders);
	return orders;
}

void hostd_orders_stop(struct hostd_orders *orders)
{
	if (!orders || orders->stopped) {
		return;
	}
	orders->stopped = true;
	for (struct order *o = orders->all; o; o = o->hh.next) {
		if (o->req) {
			answer(o);
		}
	}
	uv_close((uv_handle_t *)&orders->timer, NULL);
}

void hostd_orders_free(struct hostd_orders *orders)
{
	struct order *o, *next;

	if (!orders) {
		return;
	}
	HASH_ITER (hh, orders->all, o, next) {
		drop(orders, o);
	}
	free(orders->path);
	free(orders);
}
