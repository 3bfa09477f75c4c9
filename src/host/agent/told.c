/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events about states: which VMs run, which of their NICs are protected, which ports are closed,
 * what could not be put right. Each is told when it changes and not again, also after a restart of
 * hostd, so what was told last is kept on disk. An end between the event and the writing tells it
 * twice, never not at all.
 */
#include "host/agent/agent.h"

#include "base/json.h"
#include "host/capsule/capsule.h"

struct hostd_told {
	json_t *vms;   /* {uuid: {name, running, nics: {mac: protected}}}; nics while it runs */
	json_t *facts; /* {kind: {text: true}} */
	char *path;
};

static json_t *take_object(const json_t *from, const char *key)
{
	json_t *object = json_object_get(from, key);

	return json_is_object(object) ? json_incref(object) : json_object();
}

struct hostd_told *hostd_told_new(struct hostd_agent *agent)
{
	struct hostd_told *told = bh_alloc(sizeof(*told));
	BH_JSON json_t *all = NULL;

	told->path = bh_asprintf("%s/told.json", agent->config->state_dir);
	all = hostd_agent_load(told->path);
	told->vms = take_object(all, "vms");
	told->facts = take_object(all, "facts");
	return told;
}

void hostd_told_free(struct hostd_told *told)
{
	if (!told) {
		return;
	}
	json_decref(told->vms);
	json_decref(told->facts);
	free(told->path);
	free(told);
}

static void save(const struct hostd_told *told)
{
	BH_JSON json_t *all = json_pack("{s:O, s:O}", "vms", told->vms, "facts", told->facts);

	hostd_agent_save(told->path, all);
}

/* ---- VMs and their NICs ---- */

static bool runs(const json_t *vm)
{
	const char *state = bh_json_str_or(vm, "state", "");

	return strcmp(state, "shutoff") != 0 && strcmp(state, "crashed") != 0 &&
	       strcmp(state, "starting") != 0;
}

static void vm_event(struct hostd_agent *agent, const char *uuid, const json_t *name, bool running)
{
	json_t *event =
		hostd_agent_event_new(running ? "vm.started" : "vm.stopped", BH_SEVERITY_INFO);

	json_object_set_new(event, "vm", json_string(uuid));
	json_object_set(event, "vm_name", (json_t *)name);
	hostd_agent_event(agent, event);
}

static void nic_event(struct hostd_agent *agent, const json_t *vm, const json_t *nic,
		      const char *reason)
{
	json_t *event = hostd_agent_event_new(reason ? "nic.unprotected" : "nic.protected",
					      reason ? BH_SEVERITY_WARNING : BH_SEVERITY_INFO);

	json_object_set(event, "vm", json_object_get(vm, "uuid"));
	json_object_set(event, "vm_name", json_object_get(vm, "name"));
	json_object_set(event, "nic", json_object_get(nic, "mac"));
	json_object_set(event, "dev", json_object_get(nic, "dev"));
	if (reason) {
		json_object_set_new(event, "reason", json_string(reason));
	}
	hostd_agent_event(agent, event);
}

/* Tells what differs; returns what is told now. */
static json_t *tell_nics(struct hostd_agent *agent, const json_t *was, const json_t *vm)
{
	json_t *nics = json_object(), *nic;
	size_t i;

	json_array_foreach (json_object_get(vm, "nics"), i, nic) {
		const char *mac = bh_json_str_or(nic, "mac", "");
		json_t *safe = json_object_get(nic, "protected");

		if (json_object_get(was, mac) != safe) { /* true and false are singletons */
			nic_event(agent, vm, nic,
				  json_is_true(safe) ? NULL : bh_json_str_or(nic, "reason", ""));
		}
		json_object_set(nics, mac, safe);
	}
	return nics;
}

static json_t *tell_vm(struct hostd_agent *agent, const char *uuid, const json_t *was,
		       const json_t *vm)
{
	bool running = runs(vm);
	uint8_t bytes[16];
	json_t *now =
		json_pack("{s:O, s:b}", "name", json_object_get(vm, "name"), "running", running);

	if (running != json_is_true(json_object_get(was, "running"))) {
		vm_event(agent, uuid, json_object_get(vm, "name"), running);
	}
	if (running && bh_uuid_parse(uuid, bytes) == 0 && hostd_moves_leaves(agent, bytes)) {
		json_object_set(now, "nics", json_object_get(was, "nics")); /* no alarm */
	} else if (running) {
		json_object_set_new(now, "nics",
				    tell_nics(agent, json_object_get(was, "nics"), vm));
	} else if (!strcmp(bh_json_str_or(vm, "state", ""), "starting")) {
		json_object_set(now, "nics", json_object_get(was, "nics")); /* of its birth */
	}
	return now;
}

void hostd_told_vms(struct hostd_agent *agent, const json_t *vms)
{
	struct hostd_told *told = agent->told;
	json_t *next = json_object(), *was, *vm;
	const char *uuid;
	size_t i;

	json_array_foreach (vms, i, vm) {
		uuid = bh_json_str_or(vm, "uuid", "?");
		was = json_object_get(told->vms, uuid);
		json_object_set_new(next, uuid, tell_vm(agent, uuid, was, vm));
	}
	json_object_foreach (told->vms, uuid, was) {
		if (!json_object_get(next, uuid) && json_is_true(json_object_get(was, "running"))) {
			vm_event(agent, uuid, json_object_get(was, "name"), false);
		}
	}
	if (json_equal(next, told->vms)) {
		json_decref(next);
		return;
	}
	json_decref(told->vms);
	told->vms = next;
	save(told);
}

void hostd_told_open(struct hostd_agent *agent, const json_t *vm, const char *reason)
{
	struct hostd_told *told = agent->told;
	json_t *nics = json_object(), *nic;
	size_t i;

	json_array_foreach (json_object_get(vm, "nics"), i, nic) {
		nic_event(agent, vm, nic, reason);
		json_object_set_new(nics, bh_json_str_or(nic, "mac", ""), json_false());
	}
	json_object_set_new(told->vms, bh_json_str_or(vm, "uuid", "?"),
			    json_pack("{s:O, s:b, s:o}", "name", json_object_get(vm, "name"),
				      "running", 0, "nics", nics));
	save(told);
}

/* ---- everything else ---- */

bool hostd_told_fact(struct hostd_agent *agent, const char *kind, const char *text)
{
	struct hostd_told *told = agent->told;
	json_t *facts = json_object_get(told->facts, kind);

	if (!facts) {
		facts = json_object();
		json_object_set_new(told->facts, kind, facts);
	}
	if (json_object_get(facts, text)) {
		return false;
	}
	json_object_set_new(facts, text, json_true());
	save(told);
	return true;
}

void hostd_told_only(struct hostd_agent *agent, const char *kind, const json_t *texts)
{
	struct hostd_told *told = agent->told;
	json_t *facts = json_object_get(told->facts, kind), *value;
	const char *text;
	void *next;
	bool changed = false;

	json_object_foreach_safe (facts, next, text, value) {
		if (!json_object_get(texts, text)) {
			json_object_del(facts, text);
			changed = true;
		}
	}
	if (changed) {
		save(told);
	}
}
