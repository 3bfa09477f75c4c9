/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who talks to whom: talks (events/talks.h) folded into a picture of groups of VMs.
 *
 * Theory of operation
 *   manager_map_new() copies, on the loop thread, what the fold needs of the inventory: which
 *   identity and, for a map of VMs, which address belongs to which node. manager_map_run() reads
 *   the talks of the window in a worker and touches only its own copies. An end that is no VM of
 *   ours is a node of its own (outside, the host, multicast); a VM of a tenant that the caller does
 *   not see is "another tenant", whoever it is.
 *   A connection between two VMs is told by both of its NICs: the sender's records say whether it
 *   may leave, the receiver's whether it may enter. It is counted by the sender's, and what the
 *   receiver refused is taken from allowed to refused.
 *   Told are all connections, or as many as a picture can show (`edges`), or a page of the list of
 *   them in some order (`sort`). For a picture each node keeps its strongest line, if it can to
 *   another node that has a name; of the rest, half goes to what was only refused, which is rare
 *   and what people look for; lines to "others" come last, since all that is small adds up there.
 *   Bounded: MANAGER_MAP_NODES_MAX nodes (those with the least traffic become "others"),
 *   MANAGER_MAP_EDGES_MAX pairs while counting (more are counted as left out), a time limit.
 */
#ifndef BH_MANAGER_MAP_MAP_H
#define BH_MANAGER_MAP_MAP_H

#include "manager/events/talks.h"
#include "manager/inventory/inventory.h"

#define MANAGER_MAP_NODES_MAX 300
#define MANAGER_MAP_EDGES_MAX 200000
#define MANAGER_MAP_SERVICES  8 /* counted of a pair; five are told */

enum manager_map_by {
	MANAGER_MAP_BY_TENANT,
	MANAGER_MAP_BY_LABELS, /* whole sets of labels */
	MANAGER_MAP_BY_LABEL,  /* the values of one label */
	MANAGER_MAP_BY_VM,
};

enum manager_map_sort {
	MANAGER_MAP_PICTURE,
	MANAGER_MAP_SORT_ALLOWED,
	MANAGER_MAP_SORT_REFUSED,
	MANAGER_MAP_SORT_BYTES,
	MANAGER_MAP_SORT_LAST,
};

struct manager_map_options {
	struct manager_inventory *inv;
	const char *talks_path;
	struct manager_scope scope; /* whose flows, and whose names are told */
	enum manager_map_by by;
	const char *label;   /* the key, for MANAGER_MAP_BY_LABEL */
	uint32_t tenant;     /* only what it takes part in, others as whole tenants; 0: all */
	const char *verdict; /* "allow", "deny" (rejected too), "" both */
	uint64_t since_ns, until_ns, limit_ms;
	uint64_t edges, offset; /* at most so many connections, 0: all; from there on of a list */
	enum manager_map_sort sort;
	const atomic_bool *cancel; /* NULL: none */
};

struct manager_map;
/* Loop thread. Never NULL. */
struct manager_map *manager_map_new(const struct manager_map_options *options);
void manager_map_free(struct manager_map *map); /* NULL is fine */
/* Any thread, once. */
[[nodiscard]] int manager_map_run(struct manager_map *map, struct bh_diag *diag);
/* {"since", "until", "nodes": [{"id", "kind", "name", "tenant", "vms"}], "edges": [{"from", "to",
 * "allowed", "refused", "bytes", "last", "services": ["tcp/443"]}], "edges_total": with
 * those that are not told, "left_out": nodes in "others"}. Owned. */
json_t *manager_map_json(struct manager_map *map);

#endif
