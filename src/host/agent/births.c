/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Births: the hook holds a VM's start until this file answers.
 *
 * States of a birth, each left as soon as it can be:
 *   NETWORKS  its libvirt networks and devices are not known yet, or its devices can't be bound yet
 *   MANAGER   its NICs are bound, so closed; the manager was asked for what they need
 *   FED       the manager has answered with a hash; waiting until this host holds it
 *   (answer)  every NIC that can be protected reads back as attached and fed
 * When the manager can't be asked, what is cached decides: the image has a record for each NIC and
 * the manager has seen the VM with this tenant and these labels. Everything else is refused with a
 * reason, and at the deadline the reason is what the birth was waiting for. With birth="open"
 * nothing is refused.
 */
#include "host/agent/generation.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "host/capsule/capsule.h"
#include "host/platform/domxml.h"

#include <errno.h>
#include <utlist.h>

#define BIRTHS_MAX 64
#define MARGIN_MS  500 /* the hook waits a little longer than we do */
#define POLL_MS	   20
#define SAVED_NS   BH_NS_PER_S /* for libvirt's word that a VM was saved */

BH_COUNTER(births_allowed, "VMs that started with their NICs protected");
BH_COUNTER(births_open, "VMs that started unprotected because they say birth=open");
BH_COUNTER(births_cached, "VMs that started on cached state, without the manager");
BH_COUNTER(births_refused, "VMs whose start was refused");

enum birth_state { BIRTH_NETWORKS, BIRTH_MANAGER, BIRTH_FED };

struct birth {
	struct hostd_agent *agent; /* NULL once the agent is gone */
	struct bh_ctl_request *req;
	uint8_t uuid[16];
	char name[HOSTD_NAME_SIZE];
	bool open;
	bool elsewhere; /* may not run on this host at all: birth=open is no way around that */
	bool asking;	/* a bus request holds this struct */
	bool over;	/* answered; lives on only for the bus request */
	enum birth_state state;
	uint64_t started_ns, deadline_ns;
	char hash[2 * BH_HASH_SIZE + 1];
	json_t *vm; /* as sent to the manager */
	json_t *by; /* who is connected to libvirt, as the hook says; may be NULL */
	enum hostd_from from;
	uint64_t generation; /* that the manager gave it; 0 it could not be asked */
	struct birth *prev, *next;
};

struct hostd_births {
	struct birth *list;
	unsigned int count;
	uv_timer_t timer;
};

static void poke(struct hostd_agent *agent);

static void birth_free(struct birth *b)
{
	json_decref(b->vm);
	json_decref(b->by);
	free(b);
}

/* Takes the birth off the list; the struct goes when no bus request holds it. */
static void birth_end(struct birth *b)
{
	DL_DELETE(b->agent->births->list, b);
	b->agent->births->count--;
	b->over = true;
	b->agent = NULL;
	if (!b->asking) {
		birth_free(b);
	}
}

static void begin_generation(const struct birth *b)
{
	const struct hostd_vm *vm = hostd_inventory_find(b->agent->inv, b->uuid);

	if (vm) {
		hostd_generations_begin(b->agent, vm, b->from, b->generation);
	}
}

static void allow(struct birth *b, const char *how)
{
	struct hostd_agent *agent = b->agent;
	uint64_t ms = (bh_time_mono_ns() - b->started_ns) / BH_NS_PER_MS;

	bh_log(BH_LOG_INFO, "birth", "VM %s may start: %s (%llu ms)", b->name, how,
	       (unsigned long long)ms);
	begin_generation(b);
	bh_ctl_reply(b->req, json_pack("{s:s, s:I}", "how", how, "ms", (json_int_t)ms));
	birth_end(b);
	hostd_agent_dirty(agent);
}

/* birth=open: passes everything until it is fed. Both the reason and the fact are told. */
static void allow_open(struct birth *b, const char *reason)
{
	struct hostd_agent *agent = b->agent;
	const struct hostd_vm *vm = hostd_inventory_find(agent->inv, b->uuid);
	BH_JSON json_t *report = vm ? hostd_report_vm(agent, vm) : NULL;
	struct bh_diag diag = {};

	bh_counter_add(&births_open, 1);
	bh_log(BH_LOG_WARN, "birth", "VM %s starts unprotected (birth=open): %s", b->name, reason);
	begin_generation(b);
	if (report) {
		hostd_told_open(agent, report, reason);
	}
	if (vm && hostd_ports_bind_vm(agent, vm, &diag) != 0) {
		bh_log(BH_LOG_WARN, "birth", "VM %s: %s", b->name, diag.text);
	}
	bh_ctl_reply(b->req, json_pack("{s:s, s:s}", "how", "open", "warning", reason));
	birth_end(b);
	hostd_agent_dirty(agent);
}

static void refuse(struct birth *b, const char *fmt, ...)
{
	struct hostd_agent *agent = b->agent;
	char reason[BH_DIAG_TEXT_SIZE];
	uint8_t uuid[16];
	json_t *event;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	hostd_text_mend(reason);
	if (b->open && !b->elsewhere) {
		allow_open(b, reason);
		return;
	}
	bh_counter_add(&births_refused, 1);
	bh_log(BH_LOG_WARN, "birth", "VM %s does not start: %s", b->name, reason);
	event = hostd_agent_event_new("vm.birth-refused", BH_SEVERITY_WARNING);
	hostd_agent_event_vm(event, b->uuid, b->name, NULL);
	json_object_set_new(event, "reason", json_string(reason));
	hostd_agent_event(agent, event);
	if (b->elsewhere) {
		bh_ctl_reply(b->req, json_pack("{s:s}", "elsewhere", reason));
	} else {
		bh_ctl_reply_error(b->req, "%s", reason);
	}
	memcpy(uuid, b->uuid, sizeof(uuid));
	birth_end(b);
	hostd_inventory_birth_drop(agent->inv, uuid);
	hostd_agent_dirty(agent);
}

/* ---- what a birth waits for ---- */

/* Every NIC that can be protected is; *ret_waiting says which one is not. */
static bool all_fed(struct birth *b, const struct hostd_vm *vm, char *why, size_t size)
{
	bh_vec_foreach (nic, &vm->nics) {
		struct hostd_dp_nic_status status = {};
		struct hostd_dp_nic_key key = hostd_ports_key(vm, nic);
		struct hostd_nic_place place;
		struct bh_diag diag = {};

		hostd_inventory_place(b->agent->inv, vm, nic, &place);
		if (!place.protectable) {
			continue;
		}
		if (hostd_dp_nic_status(b->agent->dp, &key, &status, &diag) < 0) {
			snprintf(why, size, "reading back %s: %.200s", nic->dev, diag.text);
			return false;
		}
		if (!status.attached || status.ifindex != place.ifindex) {
			snprintf(why, size, "the programs do not stand on %s", nic->dev);
			return false;
		}
		if (!status.fed) {
			snprintf(why, size, "no rules for its NIC %s have come", nic->dev);
			return false;
		}
	}
	return true;
}

/* What rules of before have let into its taps is nothing to a VM that comes back as another: with
 * other labels, or in quarantine. So they are empty when it begins to run. */
static bool fit_to_run(struct birth *b, const struct hostd_vm *vm, char *why, size_t size)
{
	struct bh_diag diag = {};

	if (!all_fed(b, vm, why, size)) {
		return false;
	}
	if (hostd_ports_empty_vm(b->agent, vm, &diag) < 0) {
		snprintf(why, size, "%.250s", diag.text);
		return false;
	}
	return true;
}

/* Networks and devices that its NICs need are known; else why names what is missing. */
static bool place_known(struct birth *b, const struct hostd_vm *vm, char *why, size_t size)
{
	bh_vec_foreach (nic, &vm->nics) {
		struct hostd_nic_place place;

		if (nic->kind == HOSTD_NIC_NETWORK &&
		    !hostd_inventory_network(b->agent->inv, nic->source)) {
			snprintf(why, size, "libvirt has not told about network '%s'", nic->source);
			return false;
		}
		hostd_inventory_place(b->agent->inv, vm, nic, &place);
		if (place.protectable && !place.ifindex) {
			snprintf(why, size, "%s", place.reason);
			return false;
		}
	}
	return true;
}

static void decide_cached(struct birth *b, const struct hostd_vm *vm, const char *away)
{
	char why[300];

	if (!hostd_known_vm(b->agent, b->vm)) {
		refuse(b, "%s, and it has not seen this VM with these labels before", away);
	} else if (!hostd_generations_may(b->agent, vm, b->from, why, sizeof(why))) {
		refuse(b, "%s, and %s", away, why);
	} else if (!fit_to_run(b, vm, why, sizeof(why))) {
		refuse(b, "%s, and what is cached here does not do: %s", away, why);
	} else {
		bh_counter_add(&births_allowed, 1);
		bh_counter_add(&births_cached, 1);
		allow(b, "protected from cached state, the manager is away");
	}
}

static void on_manager(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct birth *b = arg;
	const struct hostd_vm *vm;

	b->asking = false;
	if (b->over) {
		birth_free(b);
		return;
	}
	vm = hostd_inventory_find(b->agent->inv, b->uuid);
	if (!vm) {
		refuse(b, "it went away while it was starting");
	} else if (err == BH_BUS_REFUSED) {
		b->elsewhere = !strcmp(bh_bus_reply_code(err, reply), "placement");
		refuse(b, "%s%s", b->elsewhere ? "" : "the manager refuses it: ",
		       bh_bus_reply_text(err, reply));
	} else if (err) {
		BH_FREE char *away = bh_asprintf("the manager does not answer (%s)",
						 bh_bus_reply_text(err, NULL));

		decide_cached(b, vm, away);
	} else {
		const char *quarantine = bh_json_str_or(reply->json, "quarantine", "");

		if (*quarantine) {
			bh_log(BH_LOG_WARN, "birth", "VM %s starts in quarantine: %s", b->name,
			       quarantine);
		}
		snprintf(b->hash, sizeof(b->hash), "%s", bh_json_str_or(reply->json, "hash", ""));
		b->generation = bh_json_u64_or(reply->json, "generation", 0);
		b->state = BIRTH_FED;
		hostd_known_acked_vm(b->agent, b->vm);
		poke(b->agent);
	}
}

static void ask_manager(struct birth *b, const struct hostd_vm *vm)
{
	uint64_t now = bh_time_mono_ns();
	/* the rest is for the cached state, should the manager not answer */
	uint64_t left_ms =
		b->deadline_ns > now ? (b->deadline_ns - now) / BH_NS_PER_MS * 3 / 4 + 1 : 1;

	b->state = BIRTH_MANAGER;
	if (!hostd_session_up(b->agent)) {
		decide_cached(b, vm,
			      b->agent->enrolled ? "the manager is not reachable"
						 : "this host is not enrolled with a manager "
						   "(bulkhead host enroll)");
		return;
	}
	b->asking = true;
	hostd_session_request(b->agent, "birth",
			      json_pack("{s:O, s:o}", "vm", b->vm, "state",
					hostd_generations_state(b->agent, vm, b->from, b->by)),
			      left_ms, on_manager, b);
}

/* False when the NICs could not be bound now; why says the reason. Else the birth may be gone. */
static bool bind_and_ask(struct birth *b, const struct hostd_vm *vm, char *why, size_t size)
{
	struct bh_diag diag = {};
	unsigned int protectable = 0;

	bh_vec_foreach (nic, &vm->nics) {
		struct hostd_nic_place place;

		hostd_inventory_place(b->agent->inv, vm, nic, &place);
		protectable += place.protectable;
		if (!place.protectable && b->agent->config->refuse_unprotected) {
			refuse(b,
			       "one of its NICs can't be protected: %s (refuse_unprotected in "
			       "hostd.yaml)",
			       place.reason);
			return true;
		}
	}
	if (hostd_ports_bind_vm(b->agent, vm, &diag) != 0) {
		snprintf(why, size, "%s", diag.text);
		return false;
	}
	b->vm = hostd_report_vm(b->agent, vm);
	if (!protectable) {
		bh_counter_add(&births_allowed, 1);
		allow(b, "it has no NIC to protect");
	} else {
		ask_manager(b, vm);
	}
	return true;
}

/* Moves one birth on as far as it goes. It may be gone afterwards. */
static void advance(struct birth *b, uint64_t now_ns)
{
	const struct hostd_vm *vm = hostd_inventory_find(b->agent->inv, b->uuid);
	char why[BH_DIAG_TEXT_SIZE] = "the manager has not answered";

	if (!vm) {
		refuse(b, "it went away while it was starting");
		return;
	}
	/* what stood on the device before may take a moment to go: tried again until the deadline
	 */
	if (b->state == BIRTH_NETWORKS && place_known(b, vm, why, sizeof(why)) &&
	    (now_ns > b->started_ns + SAVED_NS ||
	     !hostd_generations_waits(b->agent, vm, b->from)) &&
	    bind_and_ask(b, vm, why, sizeof(why))) {
		return;
	}
	if (b->state == BIRTH_FED) {
		snprintf(why, sizeof(why), "the manager's rules for it have not arrived");
		if ((!*b->hash || hostd_state_held(b->agent, b->hash)) &&
		    fit_to_run(b, vm, why, sizeof(why))) {
			bh_counter_add(&births_allowed, 1);
			allow(b, "protected");
			return;
		}
	}
	if (now_ns >= b->deadline_ns) {
		refuse(b, "not ready in time: %s", why);
	}
}

static void poke(struct hostd_agent *agent)
{
	struct birth *b, *next;
	uint64_t now = bh_time_mono_ns();

	DL_FOREACH_SAFE(agent->births->list, b, next)
	{
		advance(b, now);
	}
	if (!agent->births->list) {
		uv_timer_stop(&agent->births->timer);
	}
}

static void on_timer(uv_timer_t *timer)
{
	poke(timer->data);
}

void hostd_births_poke(struct hostd_agent *agent)
{
	if (agent->births->list) {
		poke(agent);
	}
}

/* ---- control socket ---- */

bool hostd_births_waiting(const struct hostd_agent *agent, const uint8_t uuid[16])
{
	const struct birth *b;

	DL_FOREACH (agent->births->list, b) {
		if (!memcmp(b->uuid, uuid, sizeof(b->uuid))) {
			return true;
		}
	}
	return false;
}

static struct birth *birth_new(struct hostd_agent *agent, struct bh_ctl_request *req,
			       const struct hostd_vm *vm)
{
	struct birth *b = bh_alloc(sizeof(*b));

	b->agent = agent;
	b->req = req;
	memcpy(b->uuid, vm->uuid, sizeof(b->uuid));
	memcpy(b->name, vm->name, sizeof(b->name));
	b->open = hostd_known_open(agent, vm);
	b->from = hostd_generations_from(agent, vm, hostd_capsule_kind(agent, vm->uuid));
	b->started_ns = bh_time_mono_ns();
	b->deadline_ns = b->started_ns + agent->config->birth_timeout_s * BH_NS_PER_S -
			 MARGIN_MS * BH_NS_PER_MS;
	DL_APPEND(agent->births->list, b);
	agent->births->count++;
	return b;
}

void hostd_births_serve(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct hostd_agent *agent = arg;
	const char *xml = NULL;
	struct hostd_vm vm = {};
	struct bh_diag diag = {};
	struct birth *b;

	if (bh_json_str(request, "xml", &xml, &diag) < 0 ||
	    hostd_domxml_parse(xml, strlen(xml), &vm, &diag) < 0) {
		hostd_vm_done(&vm);
		bh_ctl_reply_error(req, "%s", diag.text);
		return;
	}
	if (agent->births->count >= BIRTHS_MAX) {
		hostd_vm_done(&vm);
		bh_ctl_reply_error(req, "%d other VMs are starting", BIRTHS_MAX);
		return;
	}
	if (!json_object_get(request, "by") &&
	    hostd_generations_from(agent, &vm, hostd_capsule_kind(agent, vm.uuid)) ==
		    HOSTD_FROM_SNAPSHOT) {
		hostd_vm_done(&vm);
		bh_ctl_reply(req, json_pack("{s:b}", "who", 1)); /* asks again and names them */
		return;
	}
	vm.running = true;
	snprintf(vm.state, sizeof(vm.state), "starting");
	/* the tap was made a moment ago: its news may still wait in the socket */
	if (hostd_links_refresh(agent->links, &diag) < 0) {
		hostd_vm_done(&vm);
		bh_ctl_reply_error(req, "%s", diag.text);
		return;
	}
	b = birth_new(agent, req, &vm);
	b->by = json_incref(json_object_get(request, "by"));
	hostd_takeover_forget(agent, vm.uuid);
	hostd_moves_birth(agent, &vm);
	hostd_inventory_birth_add(agent->inv, &vm, b->started_ns);
	for (int i = 0; i < agent->source_count; i++) {
		hostd_platform_refresh(agent->sources[i].platform);
	}
	uv_timer_start(&agent->births->timer, on_timer, POLL_MS, POLL_MS);
	advance(b, b->started_ns);
}

void hostd_births_ended(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct hostd_agent *agent = arg;
	const char *text = NULL;
	uint8_t uuid[16];
	struct bh_diag diag = {};

	if (bh_json_str(request, "uuid", &text, &diag) < 0 || bh_uuid_parse(text, uuid) < 0) {
		bh_ctl_reply_error(req, "expected a member 'uuid'");
		return;
	}
	if (!strcmp(bh_json_str_or(request, "event", ""), "ended")) {
		hostd_inventory_ended(agent->inv, uuid, bh_time_mono_ns());
		hostd_takeover_forget(agent, uuid);
		hostd_moves_ended(agent, uuid);
	}
	for (int i = 0; i < agent->source_count; i++) {
		hostd_platform_refresh(agent->sources[i].platform);
	}
	hostd_agent_dirty(agent);
	bh_ctl_reply(req, json_object());
}

json_t *hostd_births_json(struct hostd_agent *agent)
{
	static const char *const states[] = {"networks", "manager", "fed"};
	json_t *list = json_array();
	struct birth *b;
	uint64_t now = bh_time_mono_ns();

	DL_FOREACH (agent->births->list, b) {
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:I}", "vm", b->name, "waits_for", states[b->state],
				  "ms", (json_int_t)((now - b->started_ns) / BH_NS_PER_MS)));
	}
	return list;
}

struct hostd_births *hostd_births_new(struct hostd_agent *agent)
{
	struct hostd_births *births = bh_alloc(sizeof(*births));

	if (uv_timer_init(agent->loop, &births->timer)) {
		abort(); /* cannot fail: it only fills memory */
	}
	births->timer.data = agent;
	return births;
}

static void on_closed(uv_handle_t *handle)
{
	free(BH_CONTAINER_OF((uv_timer_t *)handle, struct hostd_births, timer));
}

void hostd_births_free(struct hostd_births *births)
{
	struct birth *b, *next;

	if (!births) {
		return;
	}
	DL_FOREACH_SAFE(births->list, b, next)
	{
		bh_ctl_reply_error(b->req, "hostd is stopping");
		birth_end(b);
	}
	uv_close((uv_handle_t *)&births->timer, on_closed);
}
