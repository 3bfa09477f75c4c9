/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/orders/orders.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <sodium.h>
#include <utlist.h>

#define ASK_MS	 5000
#define GRACE_NS (20 * BH_NS_PER_S) /* behind hostd's own time limit */

BH_COUNTER(orders_given, "orders about VMs that were given to hosts");
BH_COUNTER(orders_failed, "orders about VMs that failed");
BH_COUNTER(orders_unknown, "orders about VMs whose end is not known");
BH_COUNTER(orders_joined, "orders given again, that found the first one");

struct manager_orders {
	struct manager_orders_options o;
	struct manager_order *all; /* by id, in the order of their beginning */
	unsigned int open;
	bool closing;
};

struct manager_order_watch {
	struct manager_order *order;
	uint64_t until_ns;
	manager_order_fn *fn;
	void *arg;
	struct manager_order_watch *prev, *next;
};

static const struct {
	const char *act;
	unsigned int timeout_s;
} acts[] = {
	{"start", 60},	   {"shutdown", 90}, {"reboot", 30},	       {"reset", 30},
	{"suspend", 30},   {"resume", 30},   {"destroy", 60},	       {"undefine", 60},
	{"snapshot", 600}, {"revert", 300},  {"snapshot-delete", 600}, {"migrate", 3600},
};

static unsigned int timeout_of(const char *act)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(acts); i++) {
		if (strcmp(acts[i].act, act) == 0) {
			return acts[i].timeout_s;
		}
	}
	return 60;
}

const char *manager_order_state_name(enum manager_order_state state)
{
	static const char *const names[] = {"running", "done", "failed", "unknown"};

	return names[state];
}

/* ---- the list ---- */

static void drop(struct manager_orders *part, struct manager_order *o)
{
	struct manager_order_watch *w, *next;

	HASH_DEL(part->all, o);
	DL_FOREACH_SAFE(o->watches, w, next)
	{
		DL_DELETE(o->watches, w);
		free(w);
	}
	free(o->vm_name);
	free(o->tenant_name);
	free(o->description);
	free(o->by);
	free(o->reason);
	free(o->error);
	free(o);
}

/* The oldest that is over, and that nobody looks at, makes room. */
static void trim(struct manager_orders *part)
{
	struct manager_order *o, *next;

	HASH_ITER (hh, part->all, o, next) {
		if (HASH_COUNT(part->all) < MANAGER_ORDERS_KEPT) {
			return;
		}
		if (o->state != MANAGER_ORDER_RUNNING && !o->watches && !o->asking) {
			drop(part, o);
		}
	}
}

struct manager_order *manager_orders_find(const struct manager_orders *part, const char *id)
{
	struct manager_order *o;

	HASH_FIND_STR(part->all, id, o);
	return o;
}

struct manager_order *manager_orders_first(const struct manager_orders *part)
{
	return part->all;
}

/* ---- the end ---- */

static void run_watch(struct manager_order_watch *w)
{
	struct manager_order *o = w->order;

	DL_DELETE(o->watches, w);
	w->fn(o, w->arg);
	free(w);
}

static void end(struct manager_order *o, enum manager_order_state state, const char *error,
		bool shown)
{
	struct manager_orders *part = o->part;

	o->state = state;
	o->ended_ns = bh_time_wall_ns();
	free(o->error);
	o->error = bh_strdup(error);
	o->error_shown = shown;
	part->open--;
	if (state == MANAGER_ORDER_DONE) {
		o->percent = 100;
	} else {
		bh_counter_add(state == MANAGER_ORDER_FAILED ? &orders_failed : &orders_unknown, 1);
	}
	bh_log(state == MANAGER_ORDER_DONE ? BH_LOG_INFO : BH_LOG_WARN, "orders",
	       "%s of VM %s on host %s by %s: %s%s%s", o->act, o->vm_name, o->host, o->by,
	       manager_order_state_name(state), *error ? ": " : "", error);
	while (o->watches) {
		run_watch(o->watches);
	}
	if (part->o.ended && !part->closing) {
		part->o.ended(o, part->o.ended_arg);
	}
}

struct manager_order_watch *manager_orders_watch(struct manager_order *order, uint64_t wait_ms,
						 manager_order_fn *fn, void *arg)
{
	struct manager_order_watch *w = bh_alloc(sizeof(*w));

	w->order = order;
	w->until_ns = bh_time_mono_ns() + wait_ms * BH_NS_PER_MS;
	w->fn = fn;
	w->arg = arg;
	DL_APPEND(order->watches, w);
	return w;
}

void manager_orders_unwatch(struct manager_order_watch *w)
{
	DL_DELETE(w->order->watches, w);
	free(w);
}

/* ---- the host ---- */

static void look(struct manager_order *o);

static void take_text(const json_t *json, const char *key, char *to, size_t size)
{
	const char *s = bh_json_str_or(json, key, "");

	if (strlen(s) < size) {
		memcpy(to, s, strlen(s) + 1);
	}
}

static void take_answer(struct manager_order *o, const json_t *json)
{
	const char *state = bh_json_str_or(json, "state", "");
	uint64_t percent = bh_json_u64_or(json, "percent", UINT64_MAX);
	BH_FREE char *error = bh_asprintf("%.300s", bh_json_str_or(json, "error", ""));

	o->told = true;
	if (strcmp(state, "running") == 0) {
		o->percent = percent <= 100 ? (int)percent : o->percent;
		look(o);
		return;
	}
	o->changed = json_is_true(json_object_get(json, "changed"));
	take_text(json, "vm_state", o->vm_state, sizeof(o->vm_state));
	end(o,
	    strcmp(state, "done") == 0	   ? MANAGER_ORDER_DONE
	    : strcmp(state, "failed") == 0 ? MANAGER_ORDER_FAILED
					   : MANAGER_ORDER_UNKNOWN,
	    error, json_is_true(json_object_get(json, "own")));
}

static void take_refusal(struct manager_order *o, int err, const struct bh_bus_msg *reply)
{
	const char *code = bh_bus_reply_code(err, reply);

	if (strcmp(code, "unknown") != 0) {
		end(o, MANAGER_ORDER_FAILED, bh_bus_reply_text(err, reply),
		    strcmp(code, "busy") == 0);
	} else if (o->told) {
		end(o, MANAGER_ORDER_UNKNOWN, "the host does not know any more what became of it",
		    true);
	} else {
		end(o, MANAGER_ORDER_FAILED, "the host never got it; nothing was done", true);
	}
}

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct manager_order *o = arg;

	o->asking = false;
	if (err == -ECANCELED || o->state != MANAGER_ORDER_RUNNING) {
		return;
	}
	if (err == 0) {
		take_answer(o, reply->json);
	} else if (err == BH_BUS_REFUSED) {
		take_refusal(o, err, reply);
	} else if (err == -EHOSTUNREACH && !o->told) {
		end(o, MANAGER_ORDER_FAILED, "its host is away; nothing was done", true);
	} /* else it may have arrived: the next tick looks */
}

static void ask(struct manager_order *o, json_t *body)
{
	json_object_set_new(body, "type", json_string("order"));
	json_object_set_new(body, "id", json_string(o->id));
	o->asking = true;
	o->part->o.command(o->host, body, ASK_MS, on_answer, o, o->part->o.command_arg);
}

static void look(struct manager_order *o)
{
	if (!o->part->closing) {
		ask(o, json_pack("{s:b}", "look", 1));
	}
}

static void give(struct manager_order *o)
{
	bh_counter_add(&orders_given, 1);
	ask(o, json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "vm", o->vm, "act", o->act, "name",
			 o->name, "description", o->description, "to", o->to, "timeout_s",
			 (int)timeout_of(o->act)));
}

void manager_orders_cancel(struct manager_order *o)
{
	o->part->o.command(o->host, json_pack("{s:s, s:s}", "type", "order-cancel", "id", o->id),
			   ASK_MS, NULL, NULL, o->part->o.command_arg);
}

void manager_orders_tick(struct manager_orders *part, uint64_t mono_ns)
{
	struct manager_order *o, *next;

	HASH_ITER (hh, part->all, o, next) {
		struct manager_order_watch *w, *after;

		if (o->state != MANAGER_ORDER_RUNNING) {
			continue;
		}
		if (mono_ns >= o->deadline_ns) {
			end(o, MANAGER_ORDER_UNKNOWN,
			    "its host has not said in time what became of it", true);
			continue;
		}
		DL_FOREACH_SAFE(o->watches, w, after)
		{
			if (mono_ns >= w->until_ns) {
				run_watch(w);
			}
		}
		if (!o->asking) {
			look(o);
		}
	}
}

/* ---- giving one ---- */

static void number_of(const struct manager_vm *vm, const struct manager_order_what *what,
		      char ret[MANAGER_ORDER_ID_SIZE])
{
	BH_FREE char *text =
		bh_asprintf("%s\n%s\n%s\n%s", vm->uuid, what->act, what->request, what->by);
	uint8_t hash[crypto_hash_sha256_BYTES];

	if (*what->request) {
		crypto_hash_sha256(hash, (const uint8_t *)text, strlen(text));
	} else {
		randombytes_buf(hash, sizeof(hash));
	}
	bh_hex_format(hash, (MANAGER_ORDER_ID_SIZE - 1) / 2, ret);
}

struct manager_order *manager_orders_again(struct manager_orders *part, const struct manager_vm *vm,
					   const struct manager_order_what *what)
{
	char id[MANAGER_ORDER_ID_SIZE];

	if (!*what->request) {
		return NULL;
	}
	number_of(vm, what, id);
	return manager_orders_find(part, id);
}

static bool powers_off(const char *act)
{
	return strcmp(act, "destroy") == 0 || strcmp(act, "undefine") == 0;
}

static bool busy(const struct manager_orders *part, const struct manager_vm *vm, const char *act)
{
	for (const struct manager_order *o = part->all; o && !powers_off(act); o = o->hh.next) {
		if (o->state == MANAGER_ORDER_RUNNING && strcmp(o->vm, vm->uuid) == 0) {
			return true;
		}
	}
	return false;
}

static struct manager_order *new_order(struct manager_orders *part, const struct manager_vm *vm,
				       const struct manager_order_what *what)
{
	struct manager_order *o = bh_alloc(sizeof(*o));

	o->part = part;
	number_of(vm, what, o->id);
	memcpy(o->vm, vm->uuid, sizeof(o->vm));
	o->vm_name = bh_strdup(vm->report.name);
	o->tenant = vm->tenant->number;
	o->tenant_name = bh_strdup(vm->tenant->name);
	snprintf(o->host, sizeof(o->host), "%s", vm->host->name);
	snprintf(o->to, sizeof(o->to), "%s", what->to);
	snprintf(o->act, sizeof(o->act), "%s", what->act);
	snprintf(o->name, sizeof(o->name), "%s", what->name);
	snprintf(o->before, sizeof(o->before), "%s", vm->report.state);
	o->description = bh_strdup(what->description);
	o->by = bh_strdup(what->by);
	o->reason = bh_strdup(what->reason);
	o->error = bh_strdup("");
	o->percent = -1;
	o->begun_ns = bh_time_wall_ns();
	o->deadline_ns = bh_time_mono_ns() + timeout_of(o->act) * BH_NS_PER_S + GRACE_NS;
	return o;
}

int manager_orders_begin(struct manager_orders *part, const struct manager_vm *vm,
			 const struct manager_order_what *what, struct manager_order **ret,
			 struct bh_diag *diag)
{
	struct manager_order *o = manager_orders_again(part, vm, what);

	if (o) {
		*ret = o;
		if (strcmp(o->name, what->name) != 0 || strcmp(o->to, what->to) != 0) {
			return bh_diag_set(diag, MANAGER_ORDER_OTHER,
					   "'request' was given before for something else");
		}
		bh_counter_add(&orders_joined, 1);
		return MANAGER_ORDER_AGAIN;
	}
	if (busy(part, vm, what->act)) {
		return bh_diag_set(diag, MANAGER_ORDER_BUSY,
				   "something else is being done with this VM");
	}
	if (part->open >= MANAGER_ORDERS_OPEN_MAX) {
		return bh_diag_set(diag, -ENOSPC, "%u orders are under way", part->open);
	}
	trim(part);
	o = new_order(part, vm, what);
	HASH_ADD_STR(part->all, id, o);
	part->open++;
	*ret = o;
	give(o);
	return 0;
}

/* ---- saying ---- */

static json_t *text_or_null(const char *s)
{
	return *s ? json_string(s) : json_null();
}

json_t *manager_order_json(const struct manager_order *o)
{
	bool over = o->state != MANAGER_ORDER_RUNNING;
	char begun[BH_TIME_TEXT_SIZE], ended[BH_TIME_TEXT_SIZE] = "";
	json_t *obj;

	bh_time_format(o->begun_ns, begun);
	if (over) {
		bh_time_format(o->ended_ns, ended);
	}
	obj = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", o->id, "vm", o->vm,
			"vm_name", o->vm_name, "tenant", o->tenant_name, "act", o->act, "state",
			manager_order_state_name(o->state), "by", o->by, "reason", o->reason,
			"begun", begun);
	json_object_set_new(obj, "ended", text_or_null(ended));
	json_object_set_new(obj, "percent",
			    o->percent < 0 ? json_null() : json_integer(o->percent));
	json_object_set_new(obj, "changed", over ? json_boolean(o->changed) : json_null());
	json_object_set_new(obj, "vm_state", text_or_null(o->vm_state));
	json_object_set_new(obj, "error", text_or_null(o->error));
	json_object_set_new(obj, "name", text_or_null(o->name));
	json_object_set_new(obj, "host", json_string(o->host));
	json_object_set_new(obj, "to", text_or_null(o->to));
	return obj;
}

struct manager_orders *manager_orders_new(const struct manager_orders_options *options)
{
	struct manager_orders *part = bh_alloc(sizeof(*part));

	part->o = *options;
	return part;
}

void manager_orders_close(struct manager_orders *part)
{
	if (part) {
		part->closing = true;
	}
}

void manager_orders_free(struct manager_orders *part)
{
	struct manager_order *o, *next;

	if (!part) {
		return;
	}
	HASH_ITER (hh, part->all, o, next) {
		drop(part, o);
	}
	free(part);
}
