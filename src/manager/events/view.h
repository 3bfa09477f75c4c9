/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reader sees of an event.
 *
 * Who sees everything gets the event as it is stored. A tenant gets the members on the list of the
 * event's type (view.c) and nothing else: no hosts, producers, sequence numbers or MACs of others,
 * no names of VMs of others and no text of rules of others. Of the ends of a flow `src_of` and
 * `dst_of` say whose they are: `own`, `other` (another tenant's), `none`. Of the provider's rules
 * tenants see that it was a guard-rail, and its name. Types without a list are for the provider
 * only. Searches look at this text too, so that a word finds nothing that its reader does not see.
 * Pure; any thread.
 */
#ifndef BH_MANAGER_EVENTS_VIEW_H
#define BH_MANAGER_EVENTS_VIEW_H

#include "manager/events/block.h"
#include "manager/events/scope.h"

/* The text for this scope: row->body itself, or what is put into buf (emptied before). NULL: it may
 * not be seen at all. */
const char *manager_event_view(const struct manager_scope *scope, const struct manager_row *row,
			       struct bh_wbuf *buf);
/* Can a tenant see events of this type at all? */
bool manager_event_type_shown(const char *type);

#endif
