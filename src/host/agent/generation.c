/* SPDX-License-Identifier: Apache-2.0 */
#include "host/agent/generation.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "host/platform/domxml.h"

#include <errno.h>
#include <uthash.h>

#define KEPT_MAX   8192
#define TELL_MAX   1000 /* in one request */
#define TELL_MS	   5000
#define SEEN_EVERY 86400 /* seconds between notes that a VM is still there */

BH_COUNTER(generations_behind, "VMs that went back to an older state without our hook");

struct kept {
	uint8_t uuid[16];
	uint64_t generation; /* of the newest mark that was seen in the VM's metadata */
	uint64_t next;	     /* what it should be; the same, or the mark is not there yet */
	bool saved;	     /* the last run ended by being saved, and none began since */
	bool behind;	     /* went back without our hook; the manager has not heard of it */
	bool behind_sent;    /* but will have, when it answers: saying so twice would be two */
	bool arrives;	     /* libvirt is at it: no mark before the move is over */
	bool defined;	     /* its XML was written by somebody, and has not our mark yet */
	bool rewrite;	     /* so its mark has to be written again */
	bool added;	     /* it was not defined here: it may have run elsewhere meanwhile */
	uint64_t back;	     /* shut off, it was put back to this; 0: it was not */
	uint64_t seen_s;     /* wall clock */
	unsigned int version, sent, told;
	UT_hash_handle hh;
};

struct hostd_generations {
	struct hostd_agent *agent;
	struct kept *vms;
	char *path;
	bool dirty; /* the file */
};

static struct kept *find(const struct hostd_agent *agent, const uint8_t uuid[16])
{
	struct kept *k;

	HASH_FIND(hh, agent->generations->vms, uuid, sizeof(k->uuid), k);
	return k;
}

static void drop(struct hostd_generations *g, struct kept *k)
{
	HASH_DEL(g->vms, k);
	free(k);
}

static struct kept *get(struct hostd_generations *g, const uint8_t uuid[16])
{
	struct kept *k = find(g->agent, uuid), *oldest = NULL, *other, *next;

	if (k) {
		return k;
	}
	if (HASH_COUNT(g->vms) >= KEPT_MAX) {
		HASH_ITER (hh, g->vms, other, next) {
			oldest = !oldest || other->seen_s < oldest->seen_s ? other : oldest;
		}
		drop(g, oldest);
	}
	k = bh_alloc(sizeof(*k));
	memcpy(k->uuid, uuid, sizeof(k->uuid));
	k->seen_s = bh_time_wall_ns() / BH_NS_PER_S;
	HASH_ADD(hh, g->vms, uuid, sizeof(k->uuid), k);
	return k;
}

/* ---- on disk ---- */

static json_t *kept_json(const struct kept *k)
{
	return json_pack("{s:I, s:I, s:b}", "generation", (json_int_t)k->generation, "next",
			 (json_int_t)k->next, "saved", k->saved);
}

static void save(struct hostd_generations *g)
{
	BH_JSON json_t *all = json_object();
	struct kept *k, *next;

	if (!g->dirty) {
		return;
	}
	g->dirty = false;
	HASH_ITER (hh, g->vms, k, next) {
		char uuid[BH_UUID_TEXT_SIZE];
		json_t *item = kept_json(k);

		bh_uuid_format(k->uuid, uuid);
		json_object_set_new(item, "seen", json_integer((json_int_t)k->seen_s));
		json_object_set_new(item, "behind", json_boolean(k->behind));
		json_object_set_new(all, uuid, item);
	}
	hostd_agent_save(g->path, all);
}

static void load(struct hostd_generations *g)
{
	BH_JSON json_t *all = hostd_agent_load(g->path);
	const char *key;
	json_t *item;

	json_object_foreach (all, key, item) {
		uint64_t generation = bh_json_u64_or(item, "generation", 0);
		uint64_t next = bh_json_u64_or(item, "next", 0);
		uint8_t uuid[16];
		struct kept *k;

		if (bh_uuid_parse(key, uuid) < 0 || generation > next ||
		    next > HOSTD_GENERATION_MAX) {
			continue;
		}
		k = get(g, uuid);
		k->generation = generation;
		k->next = next;
		k->saved = json_is_true(json_object_get(item, "saved"));
		k->behind = json_is_true(json_object_get(item, "behind"));
		k->seen_s = bh_json_u64_or(item, "seen", 0);
	}
}

struct hostd_generations *hostd_generations_new(struct hostd_agent *agent)
{
	struct hostd_generations *g = bh_alloc(sizeof(*g));

	g->agent = agent;
	agent->generations = g;
	g->path = bh_asprintf("%s/generations.json", agent->config->state_dir);
	load(g);
	return g;
}

void hostd_generations_free(struct hostd_generations *g)
{
	struct kept *k, *next;

	if (!g) {
		return;
	}
	HASH_ITER (hh, g->vms, k, next) {
		drop(g, k);
	}
	free(g->path);
	free(g);
}

/* ---- the manager ---- */

struct telling {
	struct hostd_agent *agent;
	json_t *versions; /* {uuid: version} */
	json_t *behind;	  /* {uuid: true} */
};

static void telling_free(struct telling *t)
{
	json_decref(t->versions);
	json_decref(t->behind);
	free(t);
}

static void on_told(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct telling *t = arg;
	const char *key;
	json_t *version;

	json_object_foreach (err == -ECANCELED ? NULL : t->versions, key, version) {
		uint8_t uuid[16];
		struct kept *k = bh_uuid_parse(key, uuid) == 0 ? find(t->agent, uuid) : NULL;
		unsigned int number = (unsigned int)json_integer_value(version);

		if (k && json_object_get(t->behind, key)) {
			k->behind = err != 0;
			k->behind_sent = false;
			t->agent->generations->dirty = true;
		}
		if (k && !err) {
			k->told = number;
		} else if (k && k->sent == number) {
			k->sent = k->told;
		}
	}
	telling_free(t);
}

void hostd_generations_tell(struct hostd_agent *agent, bool anew)
{
	struct hostd_generations *g = agent->generations;
	json_t *vms = json_object();
	struct telling *t;
	struct kept *k, *next;

	save(g);
	if (!hostd_session_up(agent)) {
		json_decref(vms);
		return;
	}
	t = bh_alloc(sizeof(*t));
	t->agent = agent;
	t->versions = json_object();
	t->behind = json_object();
	HASH_ITER (hh, g->vms, k, next) {
		char uuid[BH_UUID_TEXT_SIZE];
		json_t *item;

		if (anew) {
			k->sent = k->told = k->version - 1;
		}
		if (k->sent == k->version || json_object_size(vms) >= TELL_MAX) {
			continue; /* the rest with the next tick */
		}
		bh_uuid_format(k->uuid, uuid);
		item = kept_json(k);
		if (k->behind && !k->behind_sent) {
			json_object_set_new(item, "behind", json_true());
			json_object_set_new(t->behind, uuid, json_true());
			k->behind_sent = true;
		}
		json_object_set_new(vms, uuid, item);
		json_object_set_new(t->versions, uuid, json_integer(k->version));
		k->sent = k->version;
	}
	if (json_object_size(vms)) {
		hostd_session_request(agent, "generations", json_pack("{s:o}", "vms", vms), TELL_MS,
				      on_told, t);
	} else {
		json_decref(vms);
		telling_free(t);
	}
}

static void changed(struct hostd_generations *g, struct kept *k)
{
	k->version++;
	g->dirty = true;
}

/* ---- births ---- */

enum hostd_from hostd_generations_from(const struct hostd_agent *agent, const struct hostd_vm *vm,
				       const char *kind)
{
	const struct kept *k = find(agent, vm->uuid);

	if (!strcmp(kind, "migration")) {
		return HOSTD_FROM_MIGRATION;
	}
	if (!strcmp(kind, "restore")) {
		return HOSTD_FROM_RESTORE;
	}
	return vm->mark_live && !(k && k->defined) ? HOSTD_FROM_SNAPSHOT : HOSTD_FROM_BOOT;
}

/* The mark that counts: one that came with XML which somebody wrote says nothing about disks. */
static uint64_t booted(const struct hostd_agent *agent, const struct hostd_vm *vm,
		       enum hostd_from from)
{
	const struct kept *k = find(agent, vm->uuid);

	return from == HOSTD_FROM_BOOT && k && k->defined ? k->back : vm->generation;
}

json_t *hostd_generations_state(const struct hostd_agent *agent, const struct hostd_vm *vm,
				enum hostd_from from, const json_t *by)
{
	static const char *const names[] = {[HOSTD_FROM_BOOT] = "boot",
					    [HOSTD_FROM_MIGRATION] = "migration",
					    [HOSTD_FROM_RESTORE] = "restore",
					    [HOSTD_FROM_SNAPSHOT] = "snapshot"};
	json_t *state = json_pack("{s:s, s:I}", "from", names[from], "generation",
				  (json_int_t)booted(agent, vm, from));

	if (json_array_size(by)) {
		json_object_set(state, "by", (json_t *)by);
	}
	return state;
}

/* Its own newest save: the file holds the mark of the last run, written or on its way then. */
static bool newest_save(const struct kept *k, const struct hostd_vm *vm)
{
	return k && k->saved && vm->generation >= k->generation && vm->generation <= k->next;
}

bool hostd_generations_waits(const struct hostd_agent *agent, const struct hostd_vm *vm,
			     enum hostd_from from)
{
	const struct kept *k = find(agent, vm->uuid);

	return from == HOSTD_FROM_RESTORE && k && !k->saved && vm->generation >= k->generation &&
	       vm->generation <= k->next;
}

bool hostd_generations_may(const struct hostd_agent *agent, const struct hostd_vm *vm,
			   enum hostd_from from, char *why, size_t size)
{
	const struct kept *k = find(agent, vm->uuid);

	if (from == HOSTD_FROM_SNAPSHOT) {
		snprintf(why, size,
			 "it goes back to a snapshot, and only the manager puts it in quarantine "
			 "for that");
		return false;
	}
	if (from == HOSTD_FROM_RESTORE && !newest_save(k, vm)) {
		snprintf(why, size,
			 "only the newest memory that this host saved of it may come back without "
			 "its judgement");
		return false;
	}
	if (from == HOSTD_FROM_BOOT && k && booted(agent, vm, from) &&
	    vm->generation < k->generation) {
		snprintf(why, size,
			 "it was set back to an older state (generation %llu, the newest is %llu), "
			 "and only the manager puts it in quarantine for that",
			 (unsigned long long)vm->generation, (unsigned long long)k->generation);
		return false;
	}
	return true;
}

void hostd_generations_begin(struct hostd_agent *agent, const struct hostd_vm *vm,
			     enum hostd_from from, uint64_t generation)
{
	struct hostd_generations *g = agent->generations;
	struct kept *k = get(g, vm->uuid);
	uint64_t newest = vm->generation > k->next ? vm->generation : k->next;

	if (generation <= newest) {
		generation = newest + 1;
	}
	if (generation > HOSTD_GENERATION_MAX) {
		generation = HOSTD_GENERATION_MAX; /* a forged mark; nothing is newer than it */
	}
	k->generation = vm->generation > k->generation ? vm->generation : k->generation;
	k->next = generation;
	k->arrives = from == HOSTD_FROM_MIGRATION;
	k->defined = k->added = false;
	k->back = 0;
	k->seen_s = bh_time_wall_ns() / BH_NS_PER_S;
	changed(g, k);
	hostd_generations_tell(agent, false);
}

/* ---- what the platform tells ---- */

static void raise_it(struct hostd_generations *g, struct kept *k)
{
	if (k->generation == k->next && k->next < HOSTD_GENERATION_MAX) {
		k->next++;
		changed(g, k);
	}
}

void hostd_generations_event(struct hostd_agent *agent, const uint8_t uuid[16],
			     enum hostd_vm_event event, enum hostd_vm_detail detail)
{
	struct hostd_generations *g = agent->generations;
	struct kept *k = find(agent, uuid);
	bool saved = event == HOSTD_VM_STOPPED && detail == HOSTD_DETAIL_SAVED;

	if (!k && event == HOSTD_VM_DEFINED) {
		k = get(g, uuid);
	}
	if (!k) {
		return;
	}
	if (event == HOSTD_VM_DEFINED) {
		k->defined = k->rewrite = detail != HOSTD_DETAIL_SNAPSHOT;
		k->added = detail == HOSTD_DETAIL_ADDED || (k->added && k->defined);
	}
	if (event == HOSTD_VM_RESUMED || event == HOSTD_VM_SUSPENDED) {
		k->arrives = false;
	}
	if (event == HOSTD_VM_RESUMED && k->next) {
		raise_it(g, k); /* what was copied while it stood still is older from now on */
	}
	if ((event == HOSTD_VM_STOPPED || event == HOSTD_VM_STARTED) && k->saved != saved) {
		k->saved = saved;
		changed(g, k);
	}
	hostd_generations_tell(agent, false);
}

/* New XML of one that runs: a mark of its own says that it came to be in there. */
static void renew_mark(struct hostd_generations *g, struct kept *k)
{
	if (k->defined && k->rewrite && k->next && k->next < HOSTD_GENERATION_MAX) {
		k->next++;
		changed(g, k);
	}
}

static void see_running(struct hostd_generations *g, struct kept *k, const struct hostd_vm *vm)
{
	uint64_t mark = vm->mark_live ? vm->generation : 0;

	if (!k->next || mark > k->next) {
		/* ran before we knew it, or our file is from an older day */
		k->generation = mark;
		k->next = mark ? mark : 1;
		changed(g, k);
	} else if (mark == k->next && k->generation != mark) {
		k->generation = mark;
		k->defined = k->rewrite; /* the persistent one was written before it */
		changed(g, k);
	} else if (mark && mark < k->generation && k->generation == k->next &&
		   !hostd_births_waiting(g->agent, vm->uuid)) {
		bh_counter_add(&generations_behind, 1);
		bh_log(BH_LOG_WARN, "generation",
		       "VM %s runs in an older state (generation %llu, the newest is %llu)",
		       vm->name, (unsigned long long)mark, (unsigned long long)k->generation);
		k->behind = true;
		raise_it(g, k);
	}
}

/* What somebody writes into its XML gets the mark that it had, if that is known here. */
static void see_shut_off(struct kept *k, struct hostd_platform *platform, const struct hostd_vm *vm)
{
	uint64_t mark;

	if (k->added && !k->back) {
		k->rewrite = false;
		return;
	}
	if (!k->defined && vm->generation) {
		k->back = vm->generation < k->generation ? vm->generation : 0;
	}
	mark = k->back ? k->back : k->next ? k->next : vm->generation;
	if (k->rewrite && mark) {
		hostd_platform_mark(platform, vm->uuid, mark, false);
	} else if (mark && vm->generation == mark && !vm->mark_live) {
		k->defined = false;
	}
	k->rewrite = false;
}

static void see(struct hostd_generations *g, struct hostd_platform *platform,
		const struct hostd_vm *vm)
{
	uint64_t now_s = bh_time_wall_ns() / BH_NS_PER_S;
	struct kept *k;

	if (!strcmp(vm->type, "lxc") ||
	    (!vm->running && !vm->generation && !find(g->agent, vm->uuid))) {
		return; /* a container's memory is never saved */
	}
	k = get(g, vm->uuid);
	if (now_s > k->seen_s + SEEN_EVERY) {
		k->seen_s = now_s;
		g->dirty = true;
	}
	if (vm->running) {
		k->added = false;
		see_running(g, k, vm);
		if ((k->rewrite || k->generation != k->next) && !k->arrives) {
			renew_mark(g, k);
			hostd_platform_mark(platform, vm->uuid, k->next, true);
			k->rewrite = false;
		}
		return;
	}
	if (vm->saved && !k->saved && k->next) {
		k->saved = true; /* while we were away */
		changed(g, k);
	}
	see_shut_off(k, platform, vm);
}

void hostd_generations_listed(struct hostd_agent *agent, int source,
			      const struct hostd_vm_list *list)
{
	bh_vec_foreach (vm, &list->vms) {
		see(agent->generations, agent->sources[source].platform, vm);
	}
	hostd_generations_tell(agent, false);
}

json_t *hostd_generations_json(const struct hostd_agent *agent)
{
	json_t *all = json_object();
	struct kept *k, *next;

	HASH_ITER (hh, agent->generations->vms, k, next) {
		char uuid[BH_UUID_TEXT_SIZE];

		bh_uuid_format(k->uuid, uuid);
		json_object_set_new(all, uuid, kept_json(k));
	}
	return all;
}
