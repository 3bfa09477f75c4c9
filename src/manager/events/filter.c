/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/filter.h"

#include <string.h>

bool manager_type_is_flow(const char *type)
{
	return strncmp(type, "flow.", 5) == 0 || strncmp(type, "guard.", 6) == 0;
}

static bool type_fits(const char *want, const char *type)
{
	size_t len = strlen(want);

	if (len && want[len - 1] == '*') {
		return strncmp(want, type, len - 1) == 0;
	}
	return !len || strcmp(want, type) == 0 ||
	       (want[len - 1] == '.' && strncmp(want, type, len) == 0);
}

void manager_filter_scope(struct manager_event_filter *filter, const struct manager_scope *scope)
{
	filter->scope = *scope;
	filter->flow_scope = *scope;
}

const struct manager_scope *manager_filter_scope_of(const struct manager_event_filter *filter,
						    const struct manager_row *row)
{
	return manager_type_is_flow(row->type) ? &filter->flow_scope : &filter->scope;
}

/* Somebody who may not know whose an address is must not find it out by asking for the VM. */
static bool vm_fits(const struct manager_event_filter *f, const struct manager_scope *scope,
		    const struct manager_row *row)
{
	uint32_t own = row->vm_end ? row->dst_tenant : row->src_tenant;
	uint32_t other = row->vm_end ? row->src_tenant : row->dst_tenant;

	return (strcmp(f->vm, row->vm) == 0 && manager_scope_has(scope, own)) ||
	       (strcmp(f->vm, row->peer) == 0 && manager_scope_has(scope, other));
}

static bool tenants_fit(const struct manager_event_filter *f, const struct manager_scope *scope,
			const struct manager_row *row)
{
	return manager_scope_sees(scope, row->src_tenant, row->dst_tenant) &&
	       (!f->tenant || (manager_scope_has(scope, f->tenant) &&
			       (row->src_tenant == f->tenant || row->dst_tenant == f->tenant)));
}

bool manager_filter_passes(const struct manager_event_filter *f, const struct manager_row *row)
{
	const struct manager_scope *scope = manager_filter_scope_of(f, row);

	if (row->severity < f->severity || (uint64_t)row->wall_ns < f->since_ns ||
	    (f->until_ns && (uint64_t)row->wall_ns > f->until_ns)) {
		return false;
	}
	return tenants_fit(f, scope, row) && type_fits(f->type, row->type) &&
	       (!f->flows || manager_type_is_flow(row->type)) &&
	       (!*f->vm || vm_fits(f, scope, row)) &&
	       (!*f->host || (scope->all && strcmp(f->host, row->host) == 0)) &&
	       (!*f->verdict || strcmp(f->verdict, row->verdict) == 0);
}
