/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/change.h"

#include "manager/change/confirm.h"
#include "manager/change/hits.h"
#include "manager/change/monitor.h"
#include "manager/change/world.h"

int manager_change_new(const struct manager_change_options *options, uint64_t wall_ns,
		       uint64_t mono_ns, struct manager_change **ret, struct bh_diag *diag)
{
	struct manager_change *change = bh_alloc(sizeof(*change));
	int r;

	change->o = *options;
	change->o.talks_path = bh_strdup(options->talks_path ? options->talks_path : "");
	change->monitors = manager_monitors_new(change);
	r = manager_confirm_new(change, wall_ns, mono_ns, &change->confirm, diag);
	if (r == 0) {
		r = manager_hits_new(change, &change->hits, diag);
	}
	if (r < 0) {
		manager_change_free(change);
		return r;
	}
	*ret = change;
	return 0;
}

void manager_change_stop(struct manager_change *change)
{
	if (change) {
		manager_monitors_stop(change->monitors);
	}
}

void manager_change_free(struct manager_change *change)
{
	if (change) {
		manager_monitors_free(change->monitors);
		manager_hits_free(change->hits);
		manager_confirm_free(change->confirm);
		free((void *)change->o.talks_path);
		free(change);
	}
}

void manager_change_tick(struct manager_change *change, uint64_t wall_ns, uint64_t mono_ns)
{
	manager_confirm_tick(change->confirm, mono_ns);
	manager_hits_tick(change->hits, mono_ns);
	manager_monitors_tick(change->monitors, mono_ns);
}

struct manager_world *manager_change_world(const struct manager_change *change,
					   const struct bh_policy_set *after)
{
	struct manager_world_options options = {.dist = change->o.dist,
						.before = manager_rulebook_set(change->o.book),
						.after = after,
						.db_path = manager_db_path(change->o.db),
						.talks_path = change->o.talks_path};

	return manager_world_new(&options);
}
