/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs that ran before this host protected them. Their connections are older than our connection
 * table, and TCP in the middle of an unknown connection is dropped. So for a minute from the moment
 * that such a NIC is bound and fed, BH_NIC_PICKUP lets the policy judge it as new instead.
 *
 * Which NICs: those of VMs that run when a platform is listed for the first time, or while this
 * host was never told anything and so binds nothing, unless the kernel knows them from a hostd
 * before us. A VM that starts under our hook, or a NIC that is plugged in later, had no connections
 * before. A minute that is cut short by a restart of hostd is over.
 */
#include "host/agent/agent.h"

#include "base/log.h"
#include "base/time.h"

#define PICKUP_NS (60 * BH_NS_PER_S)

struct taken {
	struct hostd_dp_nic_key key;
	uint64_t until_ns; /* 0: not fed yet */
	UT_hash_handle hh;
};

struct hostd_takeover {
	struct taken *nics;
	bool listed[HOSTD_URIS_MAX];
};

struct hostd_takeover *hostd_takeover_new(void)
{
	return bh_alloc(sizeof(struct hostd_takeover));
}

static void forget(struct hostd_takeover *t, struct taken *nic)
{
	HASH_DEL(t->nics, nic);
	free(nic);
}

void hostd_takeover_free(struct hostd_takeover *t)
{
	struct taken *nic, *next;

	if (!t) {
		return;
	}
	HASH_ITER (hh, t->nics, nic, next) {
		forget(t, nic);
	}
	free(t);
}

static struct taken *find(const struct hostd_takeover *t, const struct hostd_dp_nic_key *key)
{
	struct taken *nic;

	HASH_FIND(hh, t->nics, key, sizeof(*key), nic);
	return nic;
}

static void note(struct hostd_agent *agent, const struct hostd_vm *vm)
{
	bh_vec_foreach (nic, &vm->nics) {
		struct hostd_dp_nic_key key = hostd_ports_key(vm, nic);
		struct hostd_dp_nic_status status = {};
		struct taken *taken;

		if (find(agent->takeover, &key) ||
		    hostd_dp_nic_status(agent->dp, &key, &status, NULL) < 0 || status.ifindex ||
		    (status.index && agent->dp_info.adopted)) {
			continue;
		}
		taken = bh_alloc(sizeof(*taken));
		taken->key = key;
		HASH_ADD(hh, agent->takeover->nics, key, sizeof(taken->key), taken);
	}
}

void hostd_takeover_add(struct hostd_agent *agent, const struct hostd_dp_nic_key *key,
			uint64_t now_ns)
{
	struct taken *taken = find(agent->takeover, key);

	if (!taken) {
		taken = bh_alloc(sizeof(*taken));
		taken->key = *key;
		HASH_ADD(hh, agent->takeover->nics, key, sizeof(taken->key), taken);
	}
	taken->until_ns = now_ns + PICKUP_NS;
}

static bool runs(struct hostd_agent *agent, const struct hostd_dp_nic_key *key)
{
	const struct hostd_vm *vm = hostd_inventory_find(agent->inv, key->vm);

	if (vm && vm->running) {
		bh_vec_foreach (nic, &vm->nics) {
			if (!memcmp(nic->mac, key->mac, sizeof(nic->mac))) {
				return true;
			}
		}
	}
	return false;
}

void hostd_takeover_listed(struct hostd_agent *agent, int source, const struct hostd_vm_list *list)
{
	struct hostd_takeover *t = agent->takeover;
	struct taken *nic, *next;

	if (!t->listed[source] || !hostd_state_told(agent)) {
		bh_vec_foreach (vm, &list->vms) {
			/* while it starts under the hook, what the list says of it is old */
			if (vm->running && hostd_inventory_find(agent->inv, vm->uuid) == vm) {
				note(agent, vm);
			}
		}
	}
	t->listed[source] = true;
	HASH_ITER (hh, t->nics, nic, next) {
		if (!runs(agent, &nic->key)) {
			forget(t, nic);
		}
	}
}

void hostd_takeover_forget(struct hostd_agent *agent, const uint8_t uuid[16])
{
	struct taken *nic, *next;

	HASH_ITER (hh, agent->takeover->nics, nic, next) {
		if (!memcmp(nic->key.vm, uuid, sizeof(nic->key.vm))) {
			forget(agent->takeover, nic);
		}
	}
}

uint32_t hostd_takeover_flags(const struct hostd_agent *agent, const struct hostd_dp_nic_key *key)
{
	return find(agent->takeover, key) ? BH_NIC_PICKUP : 0;
}

void hostd_takeover_fed(struct hostd_agent *agent, const struct hostd_dp_nic_key *key,
			uint64_t now_ns)
{
	struct taken *nic = find(agent->takeover, key);

	if (nic && !nic->until_ns) {
		nic->until_ns = now_ns + PICKUP_NS;
	}
}

void hostd_takeover_tick(struct hostd_agent *agent, uint64_t now_ns)
{
	struct taken *nic, *next;
	unsigned int over = 0;

	HASH_ITER (hh, agent->takeover->nics, nic, next) {
		if (nic->until_ns && nic->until_ns <= now_ns) {
			forget(agent->takeover, nic);
			over++;
		}
	}
	if (over) {
		bh_log(BH_LOG_INFO, "ports",
		       "%u NICs that were taken over have had their minute: TCP needs a handshake "
		       "there from now on",
		       over);
		hostd_agent_dirty(agent);
	}
}
