/* SPDX-License-Identifier: Apache-2.0 */
/* Which events somebody wants, and may have. Plain memory. */
#ifndef BH_MANAGER_EVENTS_FILTER_H
#define BH_MANAGER_EVENTS_FILTER_H

#include "manager/events/terms.h"
#include "manager/events/scope.h"

/* Zeroes let nothing through: the scope must be said. */
struct manager_event_filter {
	struct manager_scope scope;
	struct manager_scope flow_scope;  /* of flow.* and guard.*, which are another right */
	char type[BH_EVENT_TYPE_MAX + 2]; /* "" any; "flow." and "flow.*" are prefixes */
	bool flows;			  /* flow.* and guard.* only */
	char vm[BH_UUID_TEXT_SIZE];	  /* either end */
	char host[BH_NAME_MAX + 1];	  /* only for a scope of all */
	char verdict[8];
	uint32_t tenant;	     /* either end is of this one; 0: any */
	int severity;		     /* enum bh_severity or graver */
	uint64_t since_ns, until_ns; /* 0: no end */
	struct manager_query query;  /* words; of the text that the scope sees */
	bool has_after;
	uint64_t after;	 /* the first ones behind this id, oldest first */
	uint64_t before; /* without `after`: the newest ones with smaller ids; 0: of all */
	uint32_t limit;
	uint32_t budget_ms; /* 0: as long as it takes */
};

bool manager_type_is_flow(const char *type); /* flow.* and guard.* */
/* For the same in both. */
void manager_filter_scope(struct manager_event_filter *filter, const struct manager_scope *scope);
/* The one that this row is under. */
const struct manager_scope *manager_filter_scope_of(const struct manager_event_filter *filter,
						    const struct manager_row *row);
/* Everything but the words of the query, which need the text that the scope sees. */
bool manager_filter_passes(const struct manager_event_filter *filter,
			   const struct manager_row *row);

#endif
