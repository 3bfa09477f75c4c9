/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/migrate/rollback.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "manager/inventory/inventory.h"
#include "manager/migrate/migrate.h"

#include <errno.h>

#define MEMORIES_MAX   200000
#define GENERATION_MAX (1ull << 48) /* HOSTD_GENERATION_MAX */
#define CLAIMS_MAX     4096	    /* of a host on VMs that the inventory does not have */
#define TOLD_MAX       1000
#define QUARANTINE_MAX 65536 /* bytes of one in the store */

BH_COUNTER(rollback_seen, "VMs that came back in an older state");
BH_COUNTER(rollback_quarantined, "VMs put in quarantine");
BH_COUNTER(rollback_released, "VMs released from quarantine");
BH_COUNTER(rollback_refused, "generations of VMs that a host told of but does not have");
BH_COUNTER(rollback_store_failed, "generations that the store did not take");

struct memory {
	char vm[BH_UUID_TEXT_SIZE];
	char host[BH_NAME_MAX + 1]; /* where it ran last; "" unknown */
	uint64_t generation;	    /* newest that its metadata has, as its host says */
	uint64_t next;		    /* the same, or its mark is not written yet */
	bool saved;		    /* the last run ended by being saved, and none began since */
	uint64_t seen_ns;
	struct manager_quarantine *quarantine; /* NULL: none */
	UT_hash_handle hh;
};

struct manager_rollback {
	struct memory *all;
};

/* ---- quarantine as a value ---- */

static void quarantine_free(struct manager_quarantine *q)
{
	if (q) {
		free(q->why);
		json_decref(q->by);
		free(q);
	}
}

static json_t *stored_quarantine(const struct manager_quarantine *q)
{
	return json_pack("{s:I, s:I, s:s, s:O}", "since", (json_int_t)q->since_ns, "until",
			 (json_int_t)q->until_ns, "why", q->why, "by", q->by);
}

/* One that can't be read still is one. */
static struct manager_quarantine *load_quarantine(const char *text)
{
	struct manager_quarantine *q = bh_alloc(sizeof(*q));
	BH_JSON json_t *json = NULL;

	if (bh_json_load(text, strlen(text), QUARANTINE_MAX, &json, NULL) < 0) {
		bh_log(BH_LOG_ERROR, "rollback", "a stored quarantine is damaged; it holds");
	}
	q->since_ns = bh_json_u64_or(json, "since", 0);
	q->until_ns = bh_json_u64_or(json, "until", 0);
	q->why = bh_strdup(bh_json_str_or(json, "why", ""));
	q->by = manager_migration_people(json_object_get(json, "by"));
	return q;
}

json_t *manager_quarantine_json(const struct manager_quarantine *q)
{
	char text[BH_TIME_TEXT_SIZE];
	json_t *obj;

	if (!q) {
		return json_null();
	}
	bh_time_format(q->since_ns, text);
	obj = json_pack("{s:s, s:s, s:O}", "since", text, "why", q->why, "by", q->by);
	if (q->until_ns) {
		bh_time_format(q->until_ns, text);
		json_object_set_new(obj, "until", json_string(text));
	} else {
		json_object_set_new(obj, "until", json_null());
	}
	return obj;
}

/* ---- entries ---- */

static struct memory *find(const struct manager_inventory *inv, const char *uuid)
{
	struct memory *m;

	HASH_FIND_STR(inv->rollback->all, uuid, m);
	return m;
}

const struct manager_quarantine *manager_quarantine_of(const struct manager_inventory *inv,
						       const char *uuid)
{
	const struct memory *m = find(inv, uuid);

	return m ? m->quarantine : NULL;
}

static void memory_free(struct manager_rollback *rb, struct memory *m)
{
	HASH_DEL(rb->all, m);
	quarantine_free(m->quarantine);
	free(m);
}

/* The one that was seen longest ago, of those that are of no VM and in no quarantine. */
static void make_room(struct manager_inventory *inv)
{
	struct memory *m, *tmp, *oldest = NULL;

	HASH_ITER (hh, inv->rollback->all, m, tmp) {
		struct manager_vm *vm;

		HASH_FIND_STR(inv->vms, m->vm, vm);
		if (!vm && !m->quarantine && (!oldest || m->seen_ns < oldest->seen_ns)) {
			oldest = m;
		}
	}
	if (oldest && manager_store_drop_memory(inv->db, oldest->vm, NULL) == 0) {
		memory_free(inv->rollback, oldest);
	}
}

static struct memory *get(struct manager_inventory *inv, const char *uuid)
{
	struct memory *m = find(inv, uuid);

	if (!m) {
		if (HASH_COUNT(inv->rollback->all) >= MEMORIES_MAX) {
			make_room(inv);
		}
		m = bh_alloc(sizeof(*m));
		snprintf(m->vm, sizeof(m->vm), "%s", uuid);
		HASH_ADD_STR(inv->rollback->all, vm, m);
	}
	return m;
}

static int save(struct manager_inventory *inv, struct memory *m, struct bh_diag *diag)
{
	BH_JSON json_t *q = m->quarantine ? stored_quarantine(m->quarantine) : NULL;
	BH_FREE char *text = q ? bh_json_dump(q) : bh_strdup("");
	struct manager_store_memory row = {
		.vm = m->vm,
		.host = m->host,
		.generation = m->generation,
		.next = m->next,
		.saved = m->saved,
		.quarantine = text,
		.seen_ns = m->seen_ns,
	};
	int r = manager_store_put_memory(inv->db, &row, diag);

	if (r < 0) {
		bh_counter_add(&rollback_store_failed, 1);
	}
	return r;
}

static int load(const struct manager_store_memory *row, void *arg)
{
	struct manager_inventory *inv = arg;
	struct memory *m = get(inv, row->vm);

	snprintf(m->host, sizeof(m->host), "%s", row->host);
	m->generation = row->generation;
	m->next = row->next;
	m->saved = row->saved;
	m->seen_ns = row->seen_ns;
	m->quarantine = *row->quarantine ? load_quarantine(row->quarantine) : NULL;
	return 0;
}

int manager_rollback_new(struct manager_inventory *inv, struct bh_diag *diag)
{
	inv->rollback = bh_alloc(sizeof(*inv->rollback));
	return manager_store_memories(inv->db, load, inv, diag);
}

void manager_rollback_free(struct manager_rollback *rb)
{
	struct memory *m, *tmp;

	if (!rb) {
		return;
	}
	HASH_ITER (hh, rb->all, m, tmp) {
		memory_free(rb, m);
	}
	free(rb);
}

/* ---- into quarantine and out of it ---- */

static void notice(struct manager_inventory *inv, const struct manager_vm *vm, const char *type,
		   const char *reason, const json_t *by)
{
	json_t *body = json_pack("{s:s, s:s, s:s, s:s}", "vm", vm->uuid, "vm_name", vm->report.name,
				 "tenant", vm->tenant ? vm->tenant->name : "", "reason", reason);

	if (vm->host) {
		json_object_set_new(body, "host", json_string(vm->host->name));
	}
	json_object_set(body, "by", (json_t *)by);
	manager_inventory_notice(inv, type,
				 strcmp(type, "vm.quarantined") == 0 ? "warning" : "notice", body);
}

/* Takes over q (NULL: none any more). On failure everything is as before and q is gone. */
static int set_quarantine(struct manager_inventory *inv, struct manager_vm *vm,
			  struct manager_quarantine *q, struct bh_diag *diag)
{
	struct memory *m = get(inv, vm->uuid);
	struct manager_quarantine *old = m->quarantine;
	int r;

	m->quarantine = q;
	r = save(inv, m, diag);
	if (r == 0) {
		r = manager_vm_identify(inv, vm, diag);
		if (r < 0) {
			m->quarantine = old;
			(void)!save(inv, m, NULL);
		}
	}
	if (r < 0) {
		m->quarantine = old;
		quarantine_free(q);
		return r;
	}
	quarantine_free(old);
	return 0;
}

/* Takes over by. */
static int put_in(struct manager_inventory *inv, struct manager_vm *vm, const char *why, json_t *by,
		  uint32_t release_after_s, struct bh_diag *diag)
{
	const struct manager_quarantine *old = manager_quarantine_of(inv, vm->uuid);
	struct manager_quarantine *q = bh_alloc(sizeof(*q));
	uint64_t now = bh_time_wall_ns();
	BH_JSON json_t *told = json_incref(by);
	int r;

	q->since_ns = old ? old->since_ns : now;
	q->until_ns = release_after_s ? now + release_after_s * BH_NS_PER_S : 0;
	q->why = bh_asprintf("%.*s", MANAGER_QUARANTINE_WHY_MAX, why);
	q->by = by;
	r = set_quarantine(inv, vm, q, diag);
	if (r == 0) {
		bh_counter_add(&rollback_quarantined, 1);
		bh_log(BH_LOG_WARN, "rollback", "%s is in quarantine: %s", vm->report.name, why);
		notice(inv, vm, "vm.quarantined", why, told);
	}
	return r;
}

/* Takes over by. */
static int let_out(struct manager_inventory *inv, struct manager_vm *vm, const char *why,
		   json_t *by, struct bh_diag *diag)
{
	int r = set_quarantine(inv, vm, NULL, diag);

	if (r == 0) {
		bh_counter_add(&rollback_released, 1);
		bh_log(BH_LOG_INFO, "rollback", "%s is released: %s", vm->report.name, why);
		notice(inv, vm, "vm.released", why, by);
	}
	json_decref(by);
	return r;
}

int manager_quarantine_begin(struct manager_inventory *inv, struct manager_vm *vm, const char *who,
			     const char *why, bool *ret_changed, struct bh_diag *diag)
{
	*ret_changed = !manager_quarantine_of(inv, vm->uuid);
	return *ret_changed ? put_in(inv, vm, *why ? why : "put there by hand",
				     json_pack("[{s:s}]", "api", who), 0, diag)
			    : 0;
}

int manager_quarantine_end(struct manager_inventory *inv, struct manager_vm *vm, const char *who,
			   const char *why, bool *ret_changed, struct bh_diag *diag)
{
	*ret_changed = manager_quarantine_of(inv, vm->uuid);
	return *ret_changed ? let_out(inv, vm, *why ? why : "released by hand",
				      json_pack("[{s:s}]", "api", who), diag)
			    : 0;
}

void manager_rollback_tick(struct manager_inventory *inv, uint64_t now_ns)
{
	struct memory *m, *tmp;

	HASH_ITER (hh, inv->rollback->all, m, tmp) {
		struct bh_diag diag = {};
		struct manager_vm *vm;

		if (!m->quarantine || !m->quarantine->until_ns ||
		    m->quarantine->until_ns > now_ns) {
			continue;
		}
		HASH_FIND_STR(inv->vms, m->vm, vm);
		/* one that nobody has now is released when it is here again */
		if (vm && let_out(inv, vm, "its time in quarantine is over (rollback.releaseAfter)",
				  json_array(), &diag) < 0) {
			bh_log_limited(BH_LOG_ERROR, "rollback", 3, "%s stays in quarantine: %s",
				       vm->report.name, diag.text);
		}
	}
}

/* ---- judging ---- */

/* What the policies of the VM want, in quarantine or not. */
static struct bh_policy_rollback wanted(const struct manager_inventory *inv,
					const struct manager_vm *vm)
{
	BH_FREE struct bh_policy_label *labels = NULL;
	struct bh_policy_subject subject = {.tenant = vm->tenant->name};
	size_t count = manager_identity_labels(vm->identity, &labels);

	for (size_t i = 0; i < count; i++) {
		if (strcmp(labels[i].key, BH_POLICY_QUARANTINE) != 0) {
			labels[subject.label_count++] = labels[i];
		}
	}
	subject.labels = labels;
	if (!inv->policies) {
		return (struct bh_policy_rollback){.quarantine = true};
	}
	return bh_policy_rollback_of(inv->policies, &subject);
}

/* It came back older. by is borrowed. */
static int rolled_back(struct manager_inventory *inv, struct manager_vm *vm, const char *why,
		       const json_t *by, struct bh_diag *diag)
{
	struct bh_policy_rollback policy = wanted(inv, vm);
	json_t *people = manager_migration_people(by);

	bh_counter_add(&rollback_seen, 1);
	if (policy.quarantine) {
		return put_in(inv, vm, why, people, policy.release_after_s, diag);
	}
	bh_log(BH_LOG_INFO, "rollback", "%s, as policy %s/%s allows: %s", vm->report.name,
	       bh_policy_tenant(policy.policy), bh_policy_name(policy.policy), why);
	notice(inv, vm, "vm.rolled-back", why, people);
	json_decref(people);
	return 0;
}

/* Why this is no state that may go on as if nothing had been, or "". */
static void judge(const struct memory *m, const char *from, uint64_t generation, char *why,
		  size_t size)
{
	unsigned long long is = generation, newest = m ? m->next : 0;

	*why = '\0';
	if (strcmp(from, "snapshot") == 0) {
		snprintf(why, size,
			 "it went back to a snapshot with memory (generation %llu, the newest is "
			 "%llu)",
			 is, newest > is ? newest : is);
	} else if (strcmp(from, "restore") == 0 && m && generation <= m->next &&
		   !(m->saved && generation >= m->generation)) {
		snprintf(why, size,
			 "it was restored from memory that is not its newest save (generation "
			 "%llu, the newest is %llu)",
			 is, newest);
	} else if (strcmp(from, "boot") == 0 && m && generation && generation < m->generation) {
		snprintf(why, size,
			 "it was set back to an older state while it did not run (generation "
			 "%llu, the newest is %llu)",
			 is, (unsigned long long)m->generation);
	}
}

int manager_rollback_birth(struct manager_inventory *inv, struct manager_vm *vm,
			   const struct manager_host *host, const json_t *state,
			   uint64_t *ret_generation, struct bh_diag *diag)
{
	const char *from = bh_json_str_or(state, "from", "boot");
	uint64_t generation = bh_json_u64_or(state, "generation", 0);
	struct memory *m = find(inv, vm->uuid);
	char why[MANAGER_QUARANTINE_WHY_MAX];
	uint64_t newest = generation;
	int r = 0;

	if (generation > GENERATION_MAX) {
		return bh_diag_set(diag, -EINVAL, "no generation");
	}
	judge(m, from, generation, why, sizeof(why));
	if (*why) {
		r = rolled_back(inv, vm, why, json_object_get(state, "by"), diag);
	}
	m = get(inv, vm->uuid);
	newest = newest > m->next ? newest : m->next;
	*ret_generation = newest < GENERATION_MAX ? newest + 1 : GENERATION_MAX;
	if (vm->host == host) {
		snprintf(m->host, sizeof(m->host), "%s", host->name);
	}
	m->seen_ns = bh_time_wall_ns();
	return r;
}

/* ---- what hosts tell ---- */

/* How many more VMs that the inventory does not have this host may speak of. */
static unsigned int claims_left(const struct manager_inventory *inv, const char *host)
{
	const struct memory *m;
	unsigned int n = 0;

	for (m = inv->rollback->all; m; m = m->hh.next) {
		struct manager_vm *vm;

		HASH_FIND_STR(inv->vms, m->vm, vm);
		n += !vm && strcmp(m->host, host) == 0;
	}
	return n < CLAIMS_MAX ? CLAIMS_MAX - n : 0;
}

/* A host speaks of its VMs, and of those that ran on it last. */
static struct memory *of_host(struct manager_inventory *inv, const struct manager_host *host,
			      const struct manager_vm *vm, const char *uuid, int *left)
{
	struct memory *m = find(inv, uuid);
	uint8_t id[16];

	if (vm && vm->host) {
		return vm->host == host ? get(inv, uuid) : NULL;
	}
	if (m) {
		return strcmp(m->host, host->name) == 0 ? m : NULL;
	}
	if (*left < 0) { /* rarely asked, and it looks at all entries */
		*left = (int)claims_left(inv, host->name);
	}
	if (!*left || bh_uuid_parse(uuid, id) < 0) {
		return NULL;
	}
	(*left)--;
	return get(inv, uuid);
}

static bool told_one(struct manager_inventory *inv, const struct manager_host *host,
		     const char *uuid, const json_t *said, int *left)
{
	uint64_t generation = bh_json_u64_or(said, "generation", 0);
	uint64_t next = bh_json_u64_or(said, "next", generation);
	bool saved = json_is_true(json_object_get(said, "saved"));
	struct bh_diag diag = {};
	struct manager_vm *vm;
	struct memory *m;
	bool same;

	HASH_FIND_STR(inv->vms, uuid, vm);
	m = of_host(inv, host, vm, uuid, left);
	if (!m || generation > next || next > GENERATION_MAX || next < m->next) {
		bh_counter_add(&rollback_refused, !m);
		return false;
	}
	same = m->generation == generation && m->next == next && m->saved == saved &&
	       strcmp(m->host, host->name) == 0;
	m->generation = generation;
	m->next = next;
	m->saved = saved;
	m->seen_ns = bh_time_wall_ns();
	snprintf(m->host, sizeof(m->host), "%s", host->name);
	if (!same && save(inv, m, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "rollback", 3, "generation of %s: %s", uuid,
			       diag.text);
	}
	if (vm && vm->tenant && vm->identity && json_is_true(json_object_get(said, "behind"))) {
		if (rolled_back(inv, vm, "it runs in an older state than its newest", NULL, &diag) <
		    0) {
			bh_log_limited(BH_LOG_ERROR, "rollback", 3, "%s: %s", vm->report.name,
				       diag.text);
		}
		return true;
	}
	return false;
}

bool manager_rollback_told(struct manager_inventory *inv, const struct manager_host *host,
			   const json_t *vms)
{
	unsigned int n = 0;
	int left = -1; /* not counted */
	bool changed = false;
	const char *uuid;
	json_t *said;

	json_object_foreach ((json_t *)vms, uuid, said) {
		if (n++ < TOLD_MAX) {
			changed |= told_one(inv, host, uuid, said, &left);
		}
	}
	return changed;
}
