/* SPDX-License-Identifier: Apache-2.0 */
#include "simorders.h"

#include "base/json.h"
#include "base/time.h"
#include "base/util.h"

#include <string.h>

struct simorders {
	json_t *all;	   /* number -> the order, with "end" when it is over */
	json_t *vms;	   /* uuid -> {"state"} */
	json_t *snapshots; /* uuid -> [{"name", ...}] */
	json_t *how;	   /* what orders come to */
	simorders_fn *changed;
	void *arg;
};

/* Acts that leave a VM in a state whatever it was in. */
static const struct {
	const char *act, *state;
} ends[] = {
	{"start", "running"},  {"resume", "running"},	{"reboot", "running"},
	{"reset", "running"},  {"shutdown", "shutoff"}, {"destroy", "shutoff"},
	{"suspend", "paused"}, {"undefine", "gone"},
};

static const char *state_of(const struct simorders *orders, const char *vm)
{
	return bh_json_str_or(json_object_get(orders->vms, vm), "state", "running");
}

/* True when that was another state before. */
static bool set_state(struct simorders *orders, const char *vm, const char *state)
{
	bool other = strcmp(state_of(orders, vm), state) != 0;

	json_object_set_new(orders->vms, vm, json_pack("{s:s}", "state", state));
	if (other) {
		orders->changed(vm, strcmp(state, "gone") ? json_object_get(orders->vms, vm) : NULL,
				orders->arg);
	}
	return other;
}

/* ---- snapshots ---- */

static json_t *snapshots_of(struct simorders *orders, const char *vm)
{
	if (!json_object_get(orders->snapshots, vm)) {
		json_object_set_new(orders->snapshots, vm, json_array());
	}
	return json_object_get(orders->snapshots, vm);
}

static json_t *find_snapshot(json_t *list, const char *name, size_t *ret_at)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		if (!strcmp(bh_json_str_or(item, "name", ""), name)) {
			*ret_at = i;
			return item;
		}
	}
	return NULL;
}

static void make_current(json_t *list, json_t *current)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		json_object_set_new(item, "current", json_boolean(item == current));
	}
}

/* Words about what is against it, or NULL. */
static const char *take_snapshot(struct simorders *orders, const json_t *order)
{
	const char *vm = bh_json_str_or(order, "vm", "");
	const char *name = bh_json_str_or(order, "name", "");
	json_t *list = snapshots_of(orders, vm), *made;
	size_t at;

	if (find_snapshot(list, name, &at)) {
		return "there is a snapshot of that name";
	}
	made = json_pack("{s:s, s:s, s:I, s:s}", "name", name, "description",
			 bh_json_str_or(order, "description", ""), "created_s",
			 (json_int_t)(bh_time_wall_ns() / BH_NS_PER_S), "state",
			 state_of(orders, vm));
	json_array_append_new(list, made);
	make_current(list, made);
	return NULL;
}

static const char *use_snapshot(struct simorders *orders, const json_t *order, bool revert)
{
	const char *vm = bh_json_str_or(order, "vm", "");
	json_t *list = snapshots_of(orders, vm);
	size_t at;
	json_t *found = find_snapshot(list, bh_json_str_or(order, "name", ""), &at);

	if (!found) {
		return "there is no such snapshot";
	}
	if (revert) {
		make_current(list, found);
		set_state(orders, vm, bh_json_str_or(found, "state", "running"));
	} else {
		json_array_remove(list, at);
	}
	return NULL;
}

/* ---- orders ---- */

/* Owned: how an order that was just done ended. */
static json_t *end_of(struct simorders *orders, const char *vm, bool changed, const char *error)
{
	return json_pack("{s:s, s:b, s:s, s:s, s:b}", "state", error ? "failed" : "done", "changed",
			 changed, "vm_state", state_of(orders, vm), "error", error ? error : "",
			 "own", 1);
}

static json_t *act(struct simorders *orders, const json_t *order)
{
	const char *vm = bh_json_str_or(order, "vm", "");
	const char *what = bh_json_str_or(order, "act", "");
	const char *error = "a simulated host can't do that";

	for (size_t i = 0; i < BH_ARRAY_SIZE(ends); i++) {
		if (!strcmp(ends[i].act, what)) {
			return end_of(orders, vm, set_state(orders, vm, ends[i].state), NULL);
		}
	}
	if (!strcmp(what, "snapshot")) {
		error = take_snapshot(orders, order);
	} else if (!strcmp(what, "revert") || !strcmp(what, "snapshot-delete")) {
		error = use_snapshot(orders, order, *what == 'r');
	}
	return end_of(orders, vm, !error, error);
}

/* Ends the order if it ends now. Borrowed: how it stands. */
static json_t *stand(struct simorders *orders, json_t *order)
{
	json_t *end = json_object_get(order, "end");

	if (!end && !strcmp(bh_json_str_or(orders->how, "state", ""), "running")) {
		return orders->how;
	}
	if (!end) {
		json_object_set_new(order, "end",
				    json_object_size(orders->how) ? json_deep_copy(orders->how)
								  : act(orders, order));
		end = json_object_get(order, "end");
	}
	return end;
}

static void cancel(struct simorders *orders, json_t *order)
{
	if (!json_object_get(order, "end")) {
		json_object_set_new(
			order, "end",
			end_of(orders, bh_json_str_or(order, "vm", ""), false, "it was cancelled"));
	}
}

json_t *simorders_answer(struct simorders *orders, const json_t *msg)
{
	const char *id = bh_json_str_or(msg, "id", "");
	json_t *order = json_object_get(orders->all, id);

	if (!strcmp(bh_json_str_or(msg, "act", ""), "snapshots")) {
		return json_pack(
			"{s:s, s:o}", "state", "done", "list",
			json_deep_copy(snapshots_of(orders, bh_json_str_or(msg, "vm", ""))));
	}
	if (!strcmp(bh_json_str_or(msg, "type", ""), "order-cancel")) {
		if (order) {
			cancel(orders, order);
		}
		return order ? json_object() : NULL;
	}
	if (!order && json_is_true(json_object_get(msg, "look"))) {
		return NULL;
	}
	if (!order) {
		order = json_deep_copy(msg);
		json_object_set_new(orders->all, id, order);
	}
	return json_deep_copy(stand(orders, order));
}

void simorders_behave(struct simorders *orders, const json_t *how)
{
	json_decref(orders->how);
	orders->how = json_deep_copy(how);
}

struct simorders *simorders_new(simorders_fn *changed, void *arg)
{
	struct simorders *orders = bh_alloc(sizeof(*orders));

	*orders = (struct simorders){.all = json_object(),
				     .vms = json_object(),
				     .snapshots = json_object(),
				     .how = json_object(),
				     .changed = changed,
				     .arg = arg};
	return orders;
}

void simorders_free(struct simorders *orders)
{
	json_decref(orders->all);
	json_decref(orders->vms);
	json_decref(orders->snapshots);
	json_decref(orders->how);
	free(orders);
}
