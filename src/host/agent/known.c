/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager knows of the VMs here, and what it said about their births. Both are kept on
 * disk: a VM that starts while the manager is away may start when the manager has seen it with the
 * same tenant and labels, because then the rules in the image are its own.
 */
#include "host/agent/agent.h"

#include "base/json.h"

struct hostd_known {
	json_t *acked;	/* {uuid: VM} */
	json_t *births; /* {uuid: "open" | "closed"} set by the API; wins over metadata */
	char *acked_path, *births_path;
};

struct hostd_known *hostd_known_new(struct hostd_agent *agent)
{
	struct hostd_known *known = bh_alloc(sizeof(*known));

	known->acked_path = bh_asprintf("%s/inventory.json", agent->config->state_dir);
	known->acked = hostd_agent_load(known->acked_path);
	known->births_path = bh_asprintf("%s/births.json", agent->config->state_dir);
	known->births = hostd_agent_load(known->births_path);
	return known;
}

void hostd_known_free(struct hostd_known *known)
{
	if (!known) {
		return;
	}
	json_decref(known->acked);
	json_decref(known->births);
	free(known->acked_path);
	free(known->births_path);
	free(known);
}

void hostd_known_acked(struct hostd_agent *agent, const json_t *vms)
{
	struct hostd_known *known = agent->known;
	json_t *next = json_object();
	size_t i;
	json_t *vm;

	json_array_foreach (vms, i, vm) {
		json_object_set(next, bh_json_str_or(vm, "uuid", "?"), vm);
	}
	if (!json_equal(next, known->acked)) {
		json_decref(known->acked);
		known->acked = next;
		hostd_agent_save(known->acked_path, known->acked);
	} else {
		json_decref(next);
	}
}

void hostd_known_acked_vm(struct hostd_agent *agent, const json_t *vm)
{
	json_object_set(agent->known->acked, bh_json_str_or(vm, "uuid", "?"), (json_t *)vm);
	hostd_agent_save(agent->known->acked_path, agent->known->acked);
}

bool hostd_known_vm(struct hostd_agent *agent, const json_t *vm)
{
	const json_t *seen = json_object_get(agent->known->acked, bh_json_str_or(vm, "uuid", "?"));

	return seen && json_equal(json_object_get(seen, "tenant"), json_object_get(vm, "tenant")) &&
	       json_equal(json_object_get(seen, "labels"), json_object_get(vm, "labels"));
}

void hostd_known_births(struct hostd_agent *agent, const json_t *births)
{
	struct hostd_known *known = agent->known;

	if (json_is_object(births) && !json_equal(births, known->births)) {
		json_decref(known->births);
		known->births = json_deep_copy(births);
		hostd_agent_save(known->births_path, known->births);
		hostd_agent_dirty(agent);
	}
}

bool hostd_known_open(const struct hostd_agent *agent, const struct hostd_vm *vm)
{
	char uuid[BH_UUID_TEXT_SIZE];
	const char *birth;

	bh_uuid_format(vm->uuid, uuid);
	birth = bh_json_str_or(agent->known->births, uuid, "");
	return *birth ? !strcmp(birth, "open") : vm->birth_open;
}
