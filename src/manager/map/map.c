/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/map/map.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "model/id.h"
#include "policy/policy.h"

#include <errno.h>
#include <netinet/in.h>
#include <sodium.h>
#include <uthash.h>

#define IDENTITY_FIRST 256
#define SERVICES_TOLD  5
#define SLOTS_FIRST    4096
#define NONE	       UINT32_MAX

BH_COUNTER(map_pairs_left_out, "talks that a map had no room for");

enum kind { KIND_TENANT, KIND_GROUP, KIND_VM, KIND_ENTITY };

struct node {
	char *id; /* "tenant:shop", "labels:300", "vm:UUID", "entity:world" */
	char *name, *tenant;
	enum kind kind;
	size_t vms;
	uint64_t weight; /* flows that touch it */
	uint32_t shown;	 /* itself, or "others" */
	UT_hash_handle hh;
};

struct known { /* an identity, or a tenant by its number */
	uint32_t number, node;
	UT_hash_handle hh;
};

struct address_key {
	uint8_t addr[16];
	uint32_t net;
};
struct address {
	struct address_key key;
	uint32_t node;
	UT_hash_handle hh;
};

struct service {
	uint8_t proto;
	uint16_t port;
	uint64_t count;
};

struct edge {
	uint64_t key; /* from << 32 | to */
	uint64_t sent, sent_refused, got_refused, bytes;
	uint32_t last_s;
	struct service services[MANAGER_MAP_SERVICES];
};

/* Pairs, found by open addressing: a million talks look for theirs. */
struct edges {
	struct edge *items; /* a vector */
	size_t count, capacity;
	struct slot {
		uint64_t key;
		uint32_t place; /* + 1; 0: free */
	} * slots;
	size_t size;
};

struct manager_map {
	struct manager_map_options o;
	char *talks_path, *label;
	bool allowed, refused;
	BH_VEC(struct node *) nodes;
	struct node *nodes_by_id;
	struct known *identities, *tenants;
	struct address *addresses;
	struct edges edges;
	BH_VEC(struct edge *) told;
	size_t shown;	 /* told or not */
	uint64_t secret; /* of their hashes: guests choose who talks to whom */
	uint32_t world, host, multicast, stranger, unknown;
	uint32_t others; /* NONE: every node stands for itself */
	uint64_t left_out;
};

/* ---- nodes ---- */

static uint32_t node_get(struct manager_map *map, enum kind kind, const char *id, const char *name,
			 const char *tenant)
{
	struct node *n;

	HASH_FIND_STR(map->nodes_by_id, id, n);
	if (!n) {
		n = bh_alloc(sizeof(*n));
		n->id = bh_strdup(id);
		n->name = bh_strdup(name);
		n->tenant = tenant ? bh_strdup(tenant) : NULL;
		n->kind = kind;
		n->shown = (uint32_t)map->nodes.count;
		*bh_vec_push(&map->nodes) = n;
		HASH_ADD_KEYPTR(hh, map->nodes_by_id, n->id, strlen(n->id), n);
	}
	return n->shown;
}

static uint32_t entity(struct manager_map *map, const char *name)
{
	char id[64];

	snprintf(id, sizeof(id), "entity:%s", name);
	return node_get(map, KIND_ENTITY, id, name, NULL);
}

static uint32_t tenant_node(struct manager_map *map, const struct manager_tenant *tenant)
{
	char id[BH_NAME_MAX + 16];

	snprintf(id, sizeof(id), "tenant:%s", tenant->name);
	return node_get(map, KIND_TENANT, id, tenant->name, tenant->name);
}

static char *labels_text(const json_t *labels)
{
	struct bh_wbuf w;
	const char *key;
	json_t *value;
	char *text;

	bh_wbuf_init(&w, 0);
	json_object_foreach ((json_t *)labels, key, value) {
		if (strncmp(key, BH_POLICY_CLASS_PREFIX, strlen(BH_POLICY_CLASS_PREFIX)) != 0) {
			bh_wbuf_printf(&w, "%s%s=%s", w.size ? " " : "", key,
				       json_string_value(value));
		}
	}
	text = bh_strdup(w.size ? bh_wbuf_cstr(&w) : "-");
	bh_wbuf_done(&w);
	return text;
}

static uint32_t group_node(struct manager_map *map, const struct manager_identity *identity)
{
	const char *tenant = identity->tenant->name;
	BH_FREE char *text = NULL;
	BH_FREE char *id = NULL;

	if (map->o.by == MANAGER_MAP_BY_LABEL) {
		const char *value = bh_json_str_or(identity->labels, map->label, NULL);

		text = value ? bh_asprintf("%s=%s", map->label, value) : bh_strdup("-");
	} else {
		text = labels_text(identity->labels);
	}
	id = bh_asprintf("group:%s:%s", tenant, text);
	return node_get(map, KIND_GROUP, id, text, tenant);
}

/* Whole tenants, where nothing finer is asked for or to be seen of them. */
static uint32_t node_of_tenant(struct manager_map *map, const struct manager_tenant *tenant)
{
	return manager_scope_has(&map->o.scope, tenant->number) ? tenant_node(map, tenant)
								: map->stranger;
}

static bool is_fine(const struct manager_map *map, const struct manager_tenant *tenant)
{
	return map->o.by != MANAGER_MAP_BY_TENANT &&
	       manager_scope_has(&map->o.scope, tenant->number) &&
	       (!map->o.tenant || map->o.tenant == tenant->number);
}

static uint32_t node_of_identity(struct manager_map *map, const struct manager_identity *identity)
{
	return is_fine(map, identity->tenant) ? group_node(map, identity)
					      : node_of_tenant(map, identity->tenant);
}

static void know(struct known **table, uint32_t number, uint32_t node)
{
	struct known *k = bh_alloc(sizeof(*k));

	k->number = number;
	k->node = node;
	HASH_ADD(hh, *table, number, sizeof(number), k);
}

static uint32_t find(struct known *table, uint32_t number)
{
	struct known *k;

	HASH_FIND(hh, table, &number, sizeof(number), k);
	return k ? k->node : NONE;
}

static void know_addresses(struct manager_map *map, const struct manager_vm *vm, uint32_t node)
{
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		struct manager_addrs all = {};

		if (!vm->nics[i].net) {
			continue;
		}
		manager_nic_addresses(&vm->nics[i], true, &all);
		for (size_t k = 0; k < all.count; k++) {
			struct address_key key = {.net = vm->nics[i].net->number};
			struct address *a;

			memcpy(key.addr, all.items[k].bytes, sizeof(key.addr));
			HASH_FIND(hh, map->addresses, &key, sizeof(key), a);
			if (!a) {
				a = bh_alloc(sizeof(*a));
				a->key = key;
				HASH_ADD(hh, map->addresses, key, sizeof(key), a);
			}
			a->node = node;
		}
		bh_vec_done(&all);
	}
}

static void know_vm(struct manager_map *map, const struct manager_vm *vm)
{
	uint32_t node = find(map->identities, vm->identity->number);

	if (map->o.by == MANAGER_MAP_BY_VM && is_fine(map, vm->tenant)) {
		BH_FREE char *id = bh_asprintf("vm:%s", vm->uuid);

		node = node_get(map, KIND_VM, id, vm->report.name, vm->tenant->name);
		know_addresses(map, vm, node);
	}
	if (node != NONE && node != map->stranger) {
		map->nodes.items[node]->vms++;
	}
}

struct manager_map *manager_map_new(const struct manager_map_options *options)
{
	struct manager_map *map = bh_alloc(sizeof(*map));
	struct manager_identity *identity, *identity_tmp;
	struct manager_tenant *tenant, *tenant_tmp;
	struct manager_vm *vm, *vm_tmp;

	map->o = *options;
	randombytes_buf(&map->secret, sizeof(map->secret));
	map->others = NONE;
	map->talks_path = bh_strdup(options->talks_path);
	map->label = bh_strdup(options->label ? options->label : "");
	map->allowed = strcmp(options->verdict, "deny") != 0;
	map->refused = strcmp(options->verdict, "allow") != 0;
	map->world = entity(map, "world");
	map->host = entity(map, "host");
	map->multicast = entity(map, "multicast");
	map->stranger = entity(map, "another tenant");
	map->unknown = entity(map, "unknown");
	HASH_ITER (hh, options->inv->tenants, tenant, tenant_tmp) {
		know(&map->tenants, tenant->number, node_of_tenant(map, tenant));
	}
	HASH_ITER (hh, options->inv->identities, identity, identity_tmp) {
		know(&map->identities, identity->number, node_of_identity(map, identity));
	}
	HASH_ITER (hh, options->inv->vms, vm, vm_tmp) {
		know_vm(map, vm);
	}
	map->o.inv = NULL; /* the loop's */
	return map;
}

#define FREE_TABLE(type, table)                                                                    \
	do {                                                                                       \
		type *entry_, *tmp_;                                                               \
		HASH_ITER (hh, table, entry_, tmp_) {                                              \
			HASH_DEL(table, entry_);                                                   \
			free(entry_);                                                              \
		}                                                                                  \
	} while (0)

void manager_map_free(struct manager_map *map)
{
	if (!map) {
		return;
	}
	FREE_TABLE(struct known, map->identities);
	FREE_TABLE(struct known, map->tenants);
	FREE_TABLE(struct address, map->addresses);
	bh_vec_done(&map->told);
	bh_vec_done(&map->edges);
	free(map->edges.slots);
	HASH_CLEAR(hh, map->nodes_by_id);
	bh_vec_foreach (n, &map->nodes) {
		free((*n)->id);
		free((*n)->name);
		free((*n)->tenant);
		free(*n);
	}
	bh_vec_done(&map->nodes);
	free(map->talks_path);
	free(map->label);
	free(map);
}

/* ---- the worker ---- */

static uint32_t node_of_end(const struct manager_map *map, const struct manager_talk *talk,
			    bool src)
{
	uint32_t identity = src ? talk->src_identity : talk->dst_identity;
	uint32_t tenant = src ? talk->src_tenant : talk->dst_tenant;
	uint32_t node;

	if (identity < IDENTITY_FIRST) {
		return identity == 1 ? map->host : identity == 3 ? map->multicast : map->world;
	}
	if (map->addresses) {
		struct address_key key = {.net = talk->net};
		struct address *a;

		memcpy(key.addr, src ? talk->src : talk->dst, sizeof(key.addr));
		HASH_FIND(hh, map->addresses, &key, sizeof(key), a);
		if (a) {
			return a->node;
		}
	}
	node = find(map->identities, identity);
	if (node == NONE) { /* its last VM is long gone */
		node = find(map->tenants, tenant);
	}
	return node == NONE ? map->unknown : node;
}

static struct slot *slot_of(const struct manager_map *map, uint64_t key)
{
	const struct edges *edges = &map->edges;
	uint64_t h = (key ^ map->secret) * 0x9e3779b97f4a7c15ull;
	size_t i;

	h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
	for (i = h >> 32 & (edges->size - 1);
	     edges->slots[i].place && edges->slots[i].key != key;) {
		i = (i + 1) & (edges->size - 1);
	}
	return &edges->slots[i];
}

static void grow_slots(struct manager_map *map)
{
	struct edges *edges = &map->edges;

	free(edges->slots);
	edges->size = edges->size ? edges->size * 2 : SLOTS_FIRST;
	edges->slots = bh_alloc_array(edges->size, sizeof(*edges->slots));
	for (size_t i = 0; i < edges->count; i++) {
		*slot_of(map, edges->items[i].key) =
			(struct slot){edges->items[i].key, (uint32_t)i + 1};
	}
}

/* Until the next one is got. NULL: there is no room for another. */
static struct edge *edge_get(struct manager_map *map, uint32_t from, uint32_t to)
{
	struct edges *edges = &map->edges;
	uint64_t key = (uint64_t)from << 32 | to;
	struct slot *slot;

	if (edges->count * 2 >= edges->size) {
		grow_slots(map);
	}
	slot = slot_of(map, key);
	if (!slot->place && edges->count < MANAGER_MAP_EDGES_MAX) {
		bh_vec_push(edges)->key = key;
		*slot = (struct slot){key, (uint32_t)edges->count};
	}
	return slot->place ? &edges->items[slot->place - 1] : NULL;
}

/* The services that were seen most; a new one takes the place of the rarest and its count, so what
 * is frequent is never lost. */
static void count_service(struct edge *e, uint8_t proto, uint16_t port, uint64_t count)
{
	struct service *least = &e->services[0];

	for (size_t i = 0; i < MANAGER_MAP_SERVICES; i++) {
		struct service *s = &e->services[i];

		if (s->count && s->proto == proto && s->port == port) {
			s->count += count;
			return;
		}
		if (s->count < least->count) {
			least = s;
		}
	}
	least->proto = proto;
	least->port = port;
	least->count += count;
}

static int on_talk(const struct manager_talk *talk, void *arg)
{
	struct manager_map *map = arg;
	bool refused = talk->verdict != BH_POLICY_ALLOW;
	bool by_sender = talk->dir == BH_POLICY_EGRESS || talk->src_identity < IDENTITY_FIRST;
	struct edge *e;

	if ((map->o.tenant && talk->src_tenant != map->o.tenant &&
	     talk->dst_tenant != map->o.tenant) ||
	    (talk->flags & MANAGER_TALK_OVERFLOW) || (!by_sender && !refused)) {
		return 0;
	}
	e = edge_get(map, node_of_end(map, talk, true), node_of_end(map, talk, false));
	if (!e) {
		bh_counter_add(&map_pairs_left_out, 1);
		return 0;
	}
	if (!refused) {
		e->sent += talk->count;
	} else if (by_sender) {
		e->sent_refused += talk->count;
	} else {
		e->got_refused += talk->count;
	}
	e->bytes += talk->bytes;
	e->last_s = talk->last_s > e->last_s ? talk->last_s : e->last_s;
	count_service(e, talk->proto, talk->port, talk->count);
	return 0;
}

static uint64_t allowed_of(const struct edge *e)
{
	return e->sent > e->got_refused ? e->sent - e->got_refused : 0;
}

static uint64_t refused_of(const struct edge *e)
{
	return e->sent_refused + e->got_refused;
}

static bool is_shown(const struct manager_map *map, const struct edge *e)
{
	return (map->allowed && allowed_of(e)) || (map->refused && refused_of(e));
}

static int by_weight(const void *a, const void *b)
{
	const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;

	return x->weight < y->weight ? 1 : x->weight > y->weight ? -1 : strcmp(x->id, y->id);
}

/* The nodes with the least traffic stand together. */
static void gather_small(struct manager_map *map)
{
	BH_FREE struct node **sorted = bh_alloc_array(map->nodes.count, sizeof(*sorted));
	size_t count = map->nodes.count;

	bh_vec_foreach (e, &map->edges) {
		if (is_shown(map, e)) {
			uint64_t weight = allowed_of(e) + refused_of(e);

			map->nodes.items[e->key >> 32]->weight += weight;
			map->nodes.items[(uint32_t)e->key]->weight += weight;
		}
	}
	memcpy(sorted, map->nodes.items, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(struct node *), by_weight);
	if (count <= MANAGER_MAP_NODES_MAX || !sorted[MANAGER_MAP_NODES_MAX]->weight) {
		return;
	}
	map->others = entity(map, "others");
	for (size_t i = MANAGER_MAP_NODES_MAX; i < count && sorted[i]->weight; i++) {
		sorted[i]->shown = map->others;
		map->left_out++;
	}
}

static void add_up(struct edge *to, const struct edge *from)
{
	to->sent += from->sent;
	to->sent_refused += from->sent_refused;
	to->got_refused += from->got_refused;
	to->bytes += from->bytes;
	to->last_s = to->last_s > from->last_s ? to->last_s : from->last_s;
	for (size_t i = 0; i < MANAGER_MAP_SERVICES && from->services[i].count; i++) {
		count_service(to, from->services[i].proto, from->services[i].port,
			      from->services[i].count);
	}
}

/* Edges between the nodes that are shown. */
static void move_edges(struct manager_map *map)
{
	struct edges old = map->edges;

	map->edges = (struct edges){};
	bh_vec_foreach (e, &old) {
		uint32_t from = map->nodes.items[e->key >> 32]->shown;
		uint32_t to = map->nodes.items[(uint32_t)e->key]->shown;

		add_up(edge_get(map, from, to), e);
	}
	bh_vec_done(&old);
	free(old.slots);
}

/* ---- which connections are told ---- */

/* To another node that stands for itself, to "others", to itself: in this order a node wants its
 * one line. */
enum leads { TO_ANOTHER, TO_OTHERS, TO_ITSELF, LEADS_COUNT };

struct ranked {
	struct edge *edge;
	uint64_t weight;
	enum leads leads;
	bool others, only_refused, told;
};

static uint64_t weight_of(const struct manager_map *map, const struct edge *e)
{
	switch (map->o.sort) {
	case MANAGER_MAP_SORT_ALLOWED:
		return allowed_of(e);
	case MANAGER_MAP_SORT_REFUSED:
		return refused_of(e);
	case MANAGER_MAP_SORT_BYTES:
		return e->bytes;
	case MANAGER_MAP_SORT_LAST:
		return e->last_s;
	default:
		return (map->allowed ? allowed_of(e) : 0) + (map->refused ? refused_of(e) : 0);
	}
}

static struct ranked rank(const struct manager_map *map, struct edge *e)
{
	uint32_t from = e->key >> 32, to = (uint32_t)e->key;
	bool others = from == map->others || to == map->others;

	return (struct ranked){
		.edge = e,
		.weight = weight_of(map, e),
		.leads = from == to ? TO_ITSELF
			 : others   ? TO_OTHERS
				    : TO_ANOTHER,
		.others = others,
		.only_refused = refused_of(e) && !allowed_of(e),
	};
}

static int by_rank(const void *pa, const void *pb)
{
	const struct ranked *a = pa, *b = pb;

	if (a->weight != b->weight) {
		return a->weight < b->weight ? 1 : -1;
	}
	return a->edge->key < b->edge->key ? -1 : 1;
}

static void tell(struct manager_map *map, struct ranked *r)
{
	r->told = true;
	*bh_vec_push(&map->told) = r->edge;
}

/* Of each node the strongest line. */
static void tell_one_each(struct manager_map *map, struct ranked *ranked)
{
	BH_FREE bool *met = bh_alloc_array(map->nodes.count, sizeof(*met));

	for (enum leads leads = 0; leads < LEADS_COUNT; leads++) {
		for (size_t i = 0; i < map->shown; i++) {
			bool *from = &met[ranked[i].edge->key >> 32];
			bool *to = &met[(uint32_t)ranked[i].edge->key];

			if (ranked[i].leads == leads && (!*from || !*to)) {
				tell(map, &ranked[i]);
				*from = *to = true;
			}
		}
	}
}

/* The strongest ones until so many are told. */
static void tell_until(struct manager_map *map, struct ranked *ranked, size_t until,
		       bool only_refused)
{
	for (int others = 0; others < 2; others++) {
		for (size_t i = 0; i < map->shown && map->told.count < until; i++) {
			struct ranked *r = &ranked[i];

			if (!r->told && r->others == others && (r->only_refused || !only_refused)) {
				tell(map, r);
			}
		}
	}
}

static void choose_edges(struct manager_map *map)
{
	BH_FREE struct ranked *ranked = bh_alloc_array(map->edges.count + 1, sizeof(*ranked));
	size_t most = map->o.edges ? map->o.edges : map->edges.count;

	bh_vec_foreach (e, &map->edges) {
		if (is_shown(map, e)) {
			ranked[map->shown++] = rank(map, e);
		}
	}
	qsort(ranked, map->shown, sizeof(*ranked), by_rank);
	if (map->o.sort == MANAGER_MAP_PICTURE && map->shown > most) {
		tell_one_each(map, ranked);
		tell_until(map, ranked, (map->told.count + most + 1) / 2, true);
		tell_until(map, ranked, most, false);
		return;
	}
	for (size_t i = map->o.offset; i < map->shown && i - map->o.offset < most; i++) {
		tell(map, &ranked[i]);
	}
}

int manager_map_run(struct manager_map *map, struct bh_diag *diag)
{
	struct manager_talks_query query = {.path = map->talks_path,
					    .since_ns = map->o.since_ns,
					    .until_ns = map->o.until_ns,
					    .scope = map->o.scope,
					    .limit_ms = map->o.limit_ms,
					    .cancel = map->o.cancel};
	int r = manager_talks_each(&query, on_talk, map, diag);

	if (r == 0) {
		gather_small(map);
		if (map->left_out) {
			move_edges(map);
		}
		choose_edges(map);
	}
	return r;
}

/* ---- the answer ---- */

static int by_count(const void *a, const void *b)
{
	const struct service *x = a, *y = b;

	return x->count < y->count ? 1 : x->count > y->count ? -1 : 0;
}

static json_t *services_json(struct edge *e)
{
	json_t *list = json_array();

	qsort(e->services, MANAGER_MAP_SERVICES, sizeof(e->services[0]), by_count);
	for (size_t i = 0; i < SERVICES_TOLD && e->services[i].count; i++) {
		const struct service *s = &e->services[i];
		bool icmp = s->proto == IPPROTO_ICMP || s->proto == IPPROTO_ICMPV6;
		char proto[8];

		bh_proto_format(s->proto, proto);
		json_array_append_new(
			list, s->port ? json_sprintf("%s/%u", proto, icmp ? s->port >> 8u : s->port)
				      : json_string(proto));
	}
	return list;
}

static json_t *edge_json(const struct manager_map *map, struct edge *e)
{
	struct node *from = map->nodes.items[e->key >> 32];
	struct node *to = map->nodes.items[(uint32_t)e->key];

	from->weight = to->weight = 1;
	return json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "from", from->id, "to", to->id, "allowed",
		map->allowed ? (json_int_t)allowed_of(e) : 0, "refused",
		map->refused ? (json_int_t)refused_of(e) : 0, "bytes", (json_int_t)e->bytes, "last",
		bh_json_time((uint64_t)e->last_s * BH_NS_PER_S), "services", services_json(e));
}

static json_t *node_json(const struct node *n)
{
	static const char *const kinds[] = {"tenant", "group", "vm", "entity"};
	json_t *obj =
		json_pack("{s:s, s:s, s:s}", "id", n->id, "kind", kinds[n->kind], "name", n->name);

	if (n->tenant) {
		json_object_set_new(obj, "tenant", json_string(n->tenant));
	}
	if (n->vms) {
		json_object_set_new(obj, "vms", json_integer((json_int_t)n->vms));
	}
	return obj;
}

json_t *manager_map_json(struct manager_map *map)
{
	json_t *nodes = json_array(), *edges = json_array();

	bh_vec_foreach (n, &map->nodes) {
		(*n)->weight = 0;
	}
	bh_vec_foreach (e, &map->told) {
		json_array_append_new(edges, edge_json(map, *e));
	}
	bh_vec_foreach (n, &map->nodes) { /* those that an edge has marked */
		if ((*n)->weight) {
			json_array_append_new(nodes, node_json(*n));
		}
	}
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:I}", "since", bh_json_time(map->o.since_ns),
			 "until", bh_json_time(map->o.until_ns), "nodes", nodes, "edges", edges,
			 "edges_total", (json_int_t)map->shown, "left_out",
			 (json_int_t)map->left_out);
}
