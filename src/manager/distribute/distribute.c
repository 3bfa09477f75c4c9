/* SPDX-License-Identifier: Apache-2.0 */
/* Staging, promoting, flushing. The theory of operation is in the header. */
#include "manager/distribute/distribute.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <utlist.h>

#define SAVE_RETRY_NS BH_NS_PER_S
#define TICK_MS	      100
#define SOON_MS	      2

BH_COUNTER(distribute_compiled, "sets compiled");
BH_COUNTER(distribute_compile_failed, "sets that could not be compiled");
BH_COUNTER(distribute_store_failed, "flushes put off because the store failed");

static const enum bh_rec_type table_types[] = {BH_REC_NIC, BH_REC_ADDR, BH_REC_SET,
					       BH_REC_ROW, BH_REC_CIDR, BH_REC_RANGE};
static const char *const table_names[] = {"nics", "addrs", "sets", "rows", "cidrs", "ranges"};

void manager_image_unref(struct manager_image *image)
{
	if (image && --image->refs == 0) {
		bh_image_free(image->image);
		free(image);
	}
}

/* ---- universe ---- */

struct mark_arg {
	struct manager_inventory *inv;
};

static void mark(uint32_t number, void *arg)
{
	struct mark_arg *a = arg;
	struct manager_identity *id = manager_identity_at(a->inv, number);

	if (id) {
		id->changed = true;
	}
}

/* Who is in the universe changes: sets of both directions may. */
static void universe_changes(struct manager_distribute *dist)
{
	bh_policy_compiler_free(dist->compiler);
	dist->compiler = NULL;
	dist->dirs[BH_POLICY_EGRESS] = dist->dirs[BH_POLICY_INGRESS] = true;
}

static void new_universe(struct manager_distribute *dist)
{
	struct manager_identity *id, *id_tmp;
	struct manager_tenant *t, *t_tmp;

	universe_changes(dist);
	bh_policy_universe_free(dist->universe);
	dist->universe = bh_policy_universe_new();
	dist->universe_stale = false;
	HASH_ITER (hh, dist->o.inv->tenants, t, t_tmp) {
		t->in_universe = false;
	}
	HASH_ITER (hh, dist->o.inv->identities, id, id_tmp) {
		id->in_universe = false;
	}
}

static void add_tenants(struct manager_distribute *dist, const struct bh_policy_set *set)
{
	struct mark_arg arg = {dist->o.inv};
	struct manager_tenant *t, *tmp;

	HASH_ITER (hh, dist->o.inv->tenants, t, tmp) {
		if (t->in_universe) {
			continue;
		}
		universe_changes(dist);
		if (bh_policy_universe_add_tenant(dist->universe, t->name, t->number, NULL) == 0) {
			t->in_universe = true;
			if (!dist->first) {
				bh_policy_tenant_dependents(set, dist->universe, t->name, mark,
							    &arg);
			}
		}
	}
}

static void add_identity(struct manager_distribute *dist, const struct bh_policy_set *set,
			 struct manager_identity *id)
{
	struct mark_arg arg = {dist->o.inv};
	BH_FREE struct bh_policy_label *labels = NULL;
	size_t count = manager_identity_labels(id, &labels);
	struct bh_diag diag = {};

	universe_changes(dist);
	if (bh_policy_universe_add_identity(dist->universe, id->number, id->tenant->number, labels,
					    count, &diag) < 0) {
		bh_log(BH_LOG_ERROR, "distribute", "identity %u: %s", id->number, diag.text);
		return;
	}
	id->in_universe = true;
	id->changed = true;
	if (!dist->first) {
		bh_policy_dependents(set, dist->universe, id->number, mark, &arg);
	}
}

/* Identities that VMs have are in the universe; those that none has any more leave it, when nothing
 * is staged. */
static void update_universe(struct manager_distribute *dist, const struct bh_policy_set *set,
			    bool staging)
{
	struct manager_identity *id, *tmp;
	struct mark_arg arg = {dist->o.inv};

	if (!dist->universe || dist->universe_stale) {
		new_universe(dist);
	}
	add_tenants(dist, set);
	HASH_ITER (hh, dist->o.inv->identities, id, tmp) {
		if (!id->in_universe && (id->vms || staging)) {
			add_identity(dist, set, id);
		} else if (!id->vms && !staging) {
			if (id->in_universe) {
				universe_changes(dist);
				bh_policy_dependents(set, dist->universe, id->number, mark, &arg);
				bh_policy_universe_drop_identity(dist->universe, id->number);
			}
			manager_identity_remove(dist->o.inv, id);
		}
	}
}

struct bh_policy_compiler *manager_distribute_compiler(struct manager_distribute *dist,
						       const struct bh_policy_set *set)
{
	struct bh_policy_compile_options options = {.provider_default = dist->o.provider_default,
						    .rule_fn = manager_rulebook_number,
						    .rule_arg = dist->o.book};

	if (!dist->universe) {
		update_universe(dist, set, false);
	}
	return bh_policy_compiler_new(set, dist->universe, &options);
}

const struct bh_policy_universe *manager_distribute_universe(struct manager_distribute *dist)
{
	return dist->universe;
}

/* ---- compiling ---- */

static int compile_identity(struct manager_distribute *dist, struct manager_identity *id,
			    struct bh_diag *diag)
{
	for (int d = 0; d < 2; d++) {
		struct bh_segment *seg = NULL;
		int r;

		if (!dist->dirs[d] && id->sets[d]) {
			continue;
		}
		r = bh_policy_compile(dist->compiler, id->number, (enum bh_policy_dir)d, &seg,
				      diag);

		if (r < 0) {
			bh_counter_add(&distribute_compile_failed, 1);
			return r;
		}
		bh_counter_add(&distribute_compiled, 1);
		bh_segment_unref(id->staged[d]);
		id->staged[d] = seg;
		if (id->sets[d] &&
		    bh_hash_equal(bh_segment_hash(seg), bh_segment_hash(id->sets[d]))) {
			bh_segment_unref(seg);
			id->staged[d] = NULL;
		}
	}
	return 0;
}

/* strict: the first failure ends it; else a set that can't be compiled stays as it is. */
static int compile_changed(struct manager_distribute *dist, const struct bh_policy_set *set,
			   bool strict, struct bh_diag *diag)
{
	struct manager_identity *id, *tmp;

	if (dist->compiled_set != set) {
		bh_policy_compiler_free(dist->compiler);
		dist->compiler = NULL;
	}
	if (!dist->compiler) {
		dist->compiler = manager_distribute_compiler(dist, set);
		dist->compiled_set = set;
	}
	HASH_ITER (hh, dist->o.inv->identities, id, tmp) {
		int r;

		if (!id->changed || !id->in_universe) {
			continue;
		}
		r = compile_identity(dist, id, diag);
		if (r < 0 && strict) {
			bh_diag_prefix(diag, "policies of tenant %s", id->tenant->name);
			return r;
		}
		if (r < 0) {
			dist->compile_failed = true;
			bh_log(BH_LOG_ERROR, "distribute", "identity %u keeps what it has: %s",
			       id->number, diag ? diag->text : "");
		}
	}
	return 0;
}

/* ---- images ---- */

static bool vm_differs(const struct manager_vm *vm)
{
	const struct manager_identity *id = manager_staged_identity(vm);

	if (vm->staged || vm->staged_identity || id->staged[0] || id->staged[1]) {
		return true;
	}
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		if (vm->nics[i].net && vm->nics[i].net->staged) {
			return true;
		}
	}
	return false;
}

static bool host_differs(const struct manager_host *host)
{
	struct manager_vm *vm;

	if (host->changed || !host->sync->intended) {
		return true;
	}
	DL_FOREACH (host->vms, vm) {
		if (vm_differs(vm)) {
			return true;
		}
	}
	DL_FOREACH2(host->incoming, vm, in_next)
	{
		if (vm_differs(vm)) {
			return true;
		}
	}
	return false;
}

static struct manager_sync *sync_of(struct manager_distribute *dist, struct manager_host *host)
{
	if (!host->sync) {
		host->sync = bh_alloc(sizeof(*host->sync));
		host->sync->dist = dist;
		host->sync->host = host;
	}
	return host->sync;
}

static void stage_images(struct manager_distribute *dist)
{
	struct manager_host *h, *tmp;

	HASH_ITER (hh, dist->o.inv->hosts, h, tmp) {
		struct manager_sync *sync = sync_of(dist, h);
		struct bh_image *image;

		if (!host_differs(h)) {
			continue;
		}
		image = manager_build_image(h);
		if (sync->intended &&
		    bh_hash_equal(bh_image_hash(image), bh_image_hash(sync->intended->image))) {
			bh_image_free(image);
			continue;
		}
		manager_image_unref(sync->staged);
		sync->staged = bh_alloc(sizeof(*sync->staged));
		sync->staged->image = image;
		sync->staged->refs = 1;
	}
}

/* Everything that is marked, built beside what is in force. A VM's own records depend on policies
 * by what they grant only. */
static int stage_marked(struct manager_distribute *dist, const struct bh_policy_set *set,
			bool strict, struct bh_diag *diag)
{
	const struct bh_policy_set *old = manager_rulebook_set(dist->o.book);
	struct manager_identity *id, *id_tmp;
	struct manager_vm *vm, *tmp;
	int r = compile_changed(dist, set, strict, diag);

	if (r < 0) {
		return r;
	}
	manager_build_networks(dist);
	HASH_ITER (hh, dist->o.inv->identities, id, id_tmp) {
		id->regrant = id->changed && set != old && !manager_build_grant_same(id, old, set);
	}
	HASH_ITER (hh, dist->o.inv->vms, vm, tmp) {
		if ((vm->host || vm->incoming) &&
		    (vm->changed || !vm->segment || manager_staged_identity(vm)->regrant)) {
			manager_build_vm(dist, vm, set);
		}
	}
	stage_images(dist);
	dist->first = false;
	return 0;
}

/* Which sets two sets of policies can make differ: the directions that a policy has which is not in
 * both. */
static void changed_dirs(const struct bh_policy_set *from, const struct bh_policy_set *to,
			 bool dirs[2])
{
	const struct bh_policy_set *const sides[2][2] = {{from, to}, {to, from}};

	for (size_t s = 0; s < 2; s++) {
		for (size_t i = 0; i < bh_policy_set_count(sides[s][0]); i++) {
			const struct bh_policy *p = bh_policy_set_at(sides[s][0], i);

			if (bh_policy_set_get(sides[s][1], bh_policy_tenant(p),
					      bh_policy_name(p)) == p) {
				continue;
			}
			for (int d = 0; d < 2; d++) {
				dirs[d] |= bh_policy_has_direction(p, (enum bh_policy_dir)d) ||
					   bh_policy_rule_count(p, (enum bh_policy_dir)d);
			}
		}
	}
}

/* Classes may differ under other policies, and with them identities. */
static int stage_identities(struct manager_distribute *dist, const struct bh_policy_set *set,
			    struct bh_diag *diag)
{
	const struct bh_policy_set *old = manager_rulebook_set(dist->o.book);
	struct manager_vm *vm, *tmp;

	if (!bh_policy_set_has_classes(set) && !bh_policy_set_has_classes(old)) {
		return 0;
	}
	HASH_ITER (hh, dist->o.inv->vms, vm, tmp) {
		struct manager_identity *id = manager_identity_for(dist->o.inv, vm, set, diag);

		if (!id) {
			return -ENOSPC;
		}
		if (id != vm->identity) {
			vm->staged_identity = id;
			manager_vm_touch(dist->o.inv, vm);
		}
	}
	return 0;
}

int manager_distribute_stage(struct manager_distribute *dist, const struct bh_policy_set *set,
			     struct bh_diag *diag)
{
	const struct bh_policy_set *old = manager_rulebook_set(dist->o.book);
	struct mark_arg arg = {dist->o.inv};
	int r;

	r = stage_identities(dist, set, diag);
	if (r == 0) {
		dist->dirs[0] = dist->dirs[1] = dist->compile_failed;
		update_universe(dist, set, true);
		changed_dirs(old, set, dist->dirs);
		bh_policy_affected(old, set, dist->universe, mark, &arg);
		r = stage_marked(dist, set, true, diag);
	}
	if (r < 0) {
		manager_distribute_abandon(dist);
	}
	return r;
}

/* Adds what of the image does not fit into the host's tables. */
static void overflow_of(const struct manager_host *h, const struct bh_image *image, json_t **list)
{
	for (int t = 0; t < MANAGER_TABLE_COUNT; t++) {
		size_t need = bh_image_count_of(image, table_types[t]);

		if (!h->capacity[t] || need <= h->capacity[t]) {
			continue;
		}
		*list = *list ? *list : json_array();
		json_array_append_new(*list,
				      json_pack("{s:s, s:s, s:I, s:I}", "host", h->name, "table",
						table_names[t], "need", (json_int_t)need,
						"capacity", (json_int_t)h->capacity[t]));
	}
}

json_t *manager_distribute_overflow(struct manager_distribute *dist)
{
	struct manager_host *h, *tmp;
	json_t *list = NULL;

	HASH_ITER (hh, dist->o.inv->hosts, h, tmp) {
		if (h->sync && h->sync->staged) {
			overflow_of(h, h->sync->staged->image, &list);
		}
	}
	return list;
}

json_t *manager_distribute_overflow_at(struct manager_host *host)
{
	struct bh_image *image = manager_build_image(host);
	json_t *list = NULL;

	overflow_of(host, image, &list);
	bh_image_free(image);
	return list;
}

json_t *manager_distribute_preview(struct manager_distribute *dist)
{
	struct manager_host *h, *tmp;
	json_t *list = json_array();

	HASH_ITER (hh, dist->o.inv->hosts, h, tmp) {
		struct bh_image *none = NULL;
		struct bh_delta *delta;

		if (!h->sync || !h->sync->staged) {
			continue;
		}
		none = h->sync->intended ? NULL : bh_image_new();
		delta = bh_delta_between(none ? none : h->sync->intended->image,
					 h->sync->staged->image);
		json_array_append_new(list, json_pack("{s:s, s:I}", "host", h->name, "records",
						      (json_int_t)bh_delta_count(delta)));
		bh_delta_free(delta);
		bh_image_free(none);
	}
	return list;
}

/* ---- promoting ---- */

static void swap_segment(struct bh_segment **current, struct bh_segment **staged, bool take)
{
	if (*staged && take) {
		bh_segment_unref(*current);
		*current = bh_steal(staged);
	}
	bh_segment_unref(*staged);
	*staged = NULL;
}

static void settle_segments(struct manager_distribute *dist, bool take)
{
	struct manager_inventory *inv = dist->o.inv;
	struct manager_identity *id, *id_tmp;
	struct manager_network *n, *n_tmp;
	struct manager_vm *vm, *vm_tmp;

	HASH_ITER (hh, inv->vms, vm, vm_tmp) {
		struct manager_identity *staged = bh_steal(&vm->staged_identity);

		swap_segment(&vm->segment, &vm->staged, take);
		if (staged && take) {
			manager_vm_set_identity(inv, vm, staged);
		}
		vm->changed = false;
	}
	HASH_ITER (hh, inv->networks, n, n_tmp) {
		swap_segment(&n->segment, &n->staged, take);
		n->changed = false;
	}
	HASH_ITER (hh, inv->identities, id, id_tmp) {
		swap_segment(&id->sets[0], &id->staged[0], take);
		swap_segment(&id->sets[1], &id->staged[1], take);
		id->changed = false;
	}
}

static void settle_hosts(struct manager_distribute *dist, bool take)
{
	struct manager_host *h, *tmp;
	uint64_t now = bh_time_mono_ns();

	if (take) {
		dist->scope_seq = dist->seq;
	}
	HASH_ITER (hh, dist->o.inv->hosts, h, tmp) {
		struct manager_sync *sync = h->sync;

		h->changed = false;
		if (!sync || !sync->staged) {
			continue;
		}
		if (take) {
			sync->staged->seq = ++dist->seq;
			sync->staged->revision = dist->revision;
			sync->staged->commit_ns = now;
			manager_image_unref(sync->intended);
			sync->intended = bh_steal(&sync->staged);
			sync->full = sync->failed = false;
			sync->tries = 0;
			sync->retry_ns = 0;
		}
		manager_image_unref(sync->staged);
		sync->staged = NULL;
	}
	if (!take) {
		return;
	}
	HASH_ITER (hh, dist->o.inv->hosts, h, tmp) {
		if (h->sync) {
			manager_sync_kick(h->sync);
		}
	}
}

void manager_distribute_promote(struct manager_distribute *dist, const struct bh_policy_set *set,
				uint32_t revision)
{
	dist->revision = revision;
	dist->compiled_set = set;
	settle_segments(dist, true);
	settle_hosts(dist, true);
}

void manager_distribute_abandon(struct manager_distribute *dist)
{
	settle_segments(dist, false);
	settle_hosts(dist, false);
	bh_policy_compiler_free(dist->compiler);
	dist->compiler = NULL;
	/* Identities that only the staged policies needed leave with the next flush. */
	dist->o.inv->dirty = true;
	manager_distribute_schedule(dist);
}

int manager_distribute_flush(struct manager_distribute *dist, struct bh_diag *diag)
{
	const struct bh_policy_set *set = manager_rulebook_set(dist->o.book);
	struct bh_diag own = {};
	int r;

	if (!dist->o.inv->dirty) {
		return 0;
	}
	r = manager_inventory_save(dist->o.inv, false, diag ? diag : &own);
	if (r < 0) {
		bh_counter_add(&distribute_store_failed, 1);
		bh_log_limited(BH_LOG_ERROR, "distribute", 3, "the store failed: %s",
			       diag ? diag->text : own.text);
		dist->save_retry_ns = bh_time_mono_ns() + SAVE_RETRY_NS;
		return r;
	}
	dist->save_retry_ns = 0;
	dist->o.inv->dirty = false;
	dist->dirs[0] = dist->dirs[1] = true;
	update_universe(dist, set, false);
	r = stage_marked(dist, set, false, &own);
	if (r < 0) {
		return r;
	}
	manager_distribute_promote(dist, set, manager_rulebook_revision(dist->o.book));
	return 0;
}

/* ---- loop ---- */

static void on_soon(uv_timer_t *timer)
{
	struct manager_distribute *dist = timer->data;

	dist->scheduled = false;
	(void)!manager_distribute_flush(dist, NULL);
}

void manager_distribute_schedule(struct manager_distribute *dist)
{
	if (!dist->scheduled && dist->o.loop) {
		dist->scheduled = true;
		uv_timer_start(&dist->soon, on_soon, SOON_MS, 0);
	}
}

static void on_timer(uv_timer_t *timer)
{
	manager_distribute_tick(timer->data, bh_time_mono_ns());
}

void manager_distribute_tick(struct manager_distribute *dist, uint64_t mono_ns)
{
	struct manager_host *h, *tmp;

	if (dist->save_retry_ns && mono_ns >= dist->save_retry_ns) {
		dist->save_retry_ns = 0;
		(void)!manager_distribute_flush(dist, NULL);
	}
	if (dist->o.carrier.up(dist->o.carrier.arg)) {
		HASH_ITER (hh, dist->o.inv->hosts, h, tmp) {
			struct manager_sync *sync = h->sync;

			if (sync && !sync->pinging && !sync->sending && mono_ns >= sync->ping_ns) {
				sync->pinging = true;
				dist->o.carrier.ping(sync, dist->o.carrier.arg);
			}
			if (sync && sync->retry_ns && mono_ns >= sync->retry_ns) {
				sync->retry_ns = 0;
				manager_sync_kick(sync);
			}
		}
	}
	manager_wait_tick(dist, mono_ns);
}

struct manager_distribute *manager_distribute_new(const struct manager_distribute_options *options)
{
	struct manager_distribute *dist = bh_alloc(sizeof(*dist));

	dist->o = *options;
	dist->first = true;
	if (dist->o.loop) {
		uv_timer_init(dist->o.loop, &dist->timer);
		uv_timer_init(dist->o.loop, &dist->soon);
		dist->timer.data = dist->soon.data = dist;
		uv_timer_start(&dist->timer, on_timer, TICK_MS, TICK_MS);
	}
	return dist;
}

void manager_distribute_close(struct manager_distribute *dist)
{
	struct manager_host *h, *tmp;

	if (dist->o.loop) {
		uv_close((uv_handle_t *)&dist->timer, NULL);
		uv_close((uv_handle_t *)&dist->soon, NULL);
	}
	manager_enforce_end(dist);
	manager_wait_end(dist);
	HASH_ITER (hh, dist->o.inv->hosts, h, tmp) {
		manager_distribute_forget(dist, h);
	}
}

void manager_distribute_free(struct manager_distribute *dist)
{
	if (dist) {
		bh_policy_compiler_free(dist->compiler);
		bh_policy_universe_free(dist->universe);
		free(dist);
	}
}
