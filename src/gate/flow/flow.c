/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow table of a worker.
 *
 * Theory of operation
 *   Memory    Entries and buckets are mapped once, zeroed and untouched: a table of a million flows
 *             costs what is in use. Links are numbers of entries, 0 for none.
 *   Finding   Buckets are chained; an entry's hash is compared first, so a chain costs one cache
 *   line
 *             an entry. A packet touches two lines of its flow and no list.
 *   Silence   Each class (protocol, state) has a list in order of last activity, to TOUCH_S
 *   seconds:
 *             an entry moves to the end at most that often. The first of a list is the one to
 *             time out or to be evicted.
 *   The end   hooks.ending, then hooks.freeing, then the entry is free. The hooks must not look up
 *             packets in the table.
 */
#include "base/counter.h"
#include "base/util.h"
#include "gate/config.h"
#include "gate/flow/table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define TOUCH_S	   2
#define BYPASSED_S 100
#define US	   1000000ull

BH_COUNTER(gate_flow_evicted, "flows that went because the table was full");
BH_COUNTER(gate_flow_no_room, "packets without a flow: nothing in the table could go");

enum kind { KIND_TCP, KIND_UDP, KIND_ICMP, KIND_OTHER };

static enum kind kind_of(unsigned int proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return KIND_TCP;
	case IPPROTO_UDP:
		return KIND_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return KIND_ICMP;
	default:
		return KIND_OTHER;
	}
}

static unsigned int list_of(const struct gate_flow *flow)
{
	return kind_of(flow->ip_proto) * FLOW_STATES + flow->state;
}

static void list_remove(struct gate_flow_table *table, struct gate_flow *flow)
{
	struct flow_list *list = &table->lists[list_of(flow)];
	uint32_t prev = flow->table.lru_prev, next = flow->table.lru_next;

	*(prev ? &table->entries[prev].table.lru_next : &list->first) = next;
	*(next ? &table->entries[next].table.lru_prev : &list->last) = prev;
}

static void list_append(struct gate_flow_table *table, struct gate_flow *flow)
{
	struct flow_list *list = &table->lists[list_of(flow)];
	uint32_t number = (uint32_t)(flow - table->entries);

	flow->lru_s = table->now_s;
	flow->table.lru_prev = list->last;
	flow->table.lru_next = 0;
	*(list->last ? &table->entries[list->last].table.lru_next : &list->first) = number;
	list->last = number;
}

static bool timed_out(const struct gate_flow_table *table, const struct gate_flow *flow,
		      uint64_t now_us)
{
	return now_us > flow->last_us && now_us - flow->last_us > table->timeout_us[list_of(flow)];
}

static void count_one(struct gate_flow_table *table, const struct gate_flow *flow)
{
	uint64_t *const kinds[FLOW_KINDS] = {
		[KIND_TCP] = &table->stats.tcp,
		[KIND_UDP] = &table->stats.udp,
		[KIND_ICMP] =
			flow->ip_proto == IPPROTO_ICMP ? &table->stats.icmp4 : &table->stats.icmp6,
		[KIND_OTHER] = &table->stats.other,
	};
	++*kinds[kind_of(flow->ip_proto)];
	table->stats.total++;
	table->stats.active++;
}

static void unhash(struct gate_flow_table *table, const struct gate_flow *flow)
{
	uint32_t number = (uint32_t)(flow - table->entries);
	uint32_t *link = &table->buckets[flow->table.hash & table->bucket_mask];

	while (*link != number) {
		link = &table->entries[*link].table.next;
	}
	*link = flow->table.next;
}

/* Returns how many ends of ordinary flows it was worth. */
static unsigned int end_flow(struct gate_flow_table *table, struct gate_flow *flow,
			     enum gate_flow_reason reason, uint64_t now_us)
{
	unsigned int work = 1;

	if (table->hooks.ending) {
		work = table->hooks.ending(flow, reason, now_us, table->hooks.arg);
	}
	if (table->hooks.freeing) {
		table->hooks.freeing(flow, table->hooks.arg);
	}
	list_remove(table, flow);
	unhash(table, flow);
	flow->ip_version = 0; /* free */
	flow->table.next = table->free;
	table->free = (uint32_t)(flow - table->entries);
	table->stats.active--;
	table->stats.timeouts += reason == GATE_FLOW_END_TIMEOUT;
	table->stats.reused += reason == GATE_FLOW_END_REUSE;
	return work;
}

static struct gate_flow *victim(struct gate_flow_table *table, bool established)
{
	struct gate_flow *worst = NULL;
	for (unsigned int lru = 0; lru < FLOW_LISTS; lru++) {
		unsigned int state = lru % FLOW_STATES;
		bool kept = state == GATE_FLOW_ESTABLISHED || state == GATE_FLOW_BYPASSED;
		uint32_t number = table->lists[lru].first;
		struct gate_flow *flow = &table->entries[number];
		if (number && kept == established && (!worst || flow->last_us < worst->last_us)) {
			worst = flow;
		}
	}
	return worst;
}

static bool make_room(struct gate_flow_table *table, uint64_t now_us)
{
	struct gate_flow *flow = victim(table, false);
	if (flow) {
		table->stats.evicted_new++;
	} else {
		flow = victim(table, true);
		if (!flow) {
			table->stats.no_room++;
			bh_counter_add(&gate_flow_no_room, 1);
			return false;
		}
		table->stats.evicted++;
	}
	bh_counter_add(&gate_flow_evicted, 1);
	(void)end_flow(table, flow, GATE_FLOW_END_FORCED, now_us);
	return true;
}

/* As EVE readers want it: whole in a double, and not the same for flows of one table in a row. */
static uint64_t new_id(const struct gate_flow_table *table, uint32_t hash)
{
	uint64_t id = ((uint64_t)hash << 21 | (table->stats.total & 0x1fffff)) & ((1ull << 53) - 1);
	return id ? id : 1;
}

static struct gate_flow *new_flow(struct gate_flow_table *table, const struct flow_key *key,
				  const struct gate_packet *p)
{
	if (!table->free && table->used == table->capacity && !make_room(table, p->time_us)) {
		return NULL;
	}
	uint32_t number = table->free;
	if (number) {
		table->free = table->entries[number].table.next;
	} else {
		number = ++table->used;
	}
	struct gate_flow *flow = &table->entries[number];
	uint32_t *bucket = &table->buckets[key->hash & table->bucket_mask];
	*flow = (struct gate_flow){
		.addr = {key->addr[0], key->addr[1]},
		.port = {key->port[0], key->port[1]},
		.ip_proto = key->ip_proto,
		.ip_version = key->ip_version,
		.vlan_count = key->vlan_count,
		.depth = key->depth,
		.vlan = {key->vlan[0], key->vlan[1], key->vlan[2]},
		.source = key->source,
		.vni = key->vni,
		.table = {.hash = key->hash, .next = *bucket},
		.first_us = p->time_us,
		.last_us = p->time_us,
		.id = new_id(table, key->hash),
		.hooks = &table->hooks,
	};
	if (flow_icmp(p)) {
		flow->port[0] |= flow_icmp(p)[1];
	}
	*bucket = number;
	list_append(table, flow);
	count_one(table, flow);
	flow_expected(table, flow);
	return flow;
}

/* Whether the key is of this flow, and which way it goes. */
static bool matches(const struct gate_flow *flow, const struct flow_key *key, enum gate_dir *ret)
{
	uint16_t mask = 0xffff;
	if (memcmp(&flow->ip_proto, &key->ip_proto, 12) || flow->vni != key->vni) {
		return false;
	}
	if (key->ip_proto == IPPROTO_ICMP || key->ip_proto == IPPROTO_ICMPV6) {
		mask = 0xff00;
	}
	if (!((flow->port[0] ^ key->port[0]) & mask) && !((flow->port[1] ^ key->port[1]) & mask) &&
	    !memcmp(flow->addr, key->addr, sizeof(flow->addr))) {
		*ret = GATE_TO_SERVER;
		return true;
	}
	if (!((flow->port[0] ^ key->port[1]) & mask) && !((flow->port[1] ^ key->port[0]) & mask) &&
	    !memcmp(&flow->addr[0], &key->addr[1], sizeof(flow->addr[0])) &&
	    !memcmp(&flow->addr[1], &key->addr[0], sizeof(flow->addr[0]))) {
		*ret = GATE_TO_CLIENT;
		return true;
	}
	return false;
}
static_assert(sizeof(struct gate_flow) == 192, "whole cache lines");
static_assert(offsetof(struct gate_flow, ip_proto) == offsetof(struct flow_key, ip_proto));
static_assert(offsetof(struct gate_flow, table) == offsetof(struct gate_flow, ip_proto) + 12);
static_assert(offsetof(struct flow_key, hash) == offsetof(struct flow_key, ip_proto) + 12);

static struct gate_flow *find(const struct gate_flow_table *table, const struct flow_key *key,
			      enum gate_dir *ret_dir)
{
	uint32_t number = table->buckets[key->hash & table->bucket_mask];
	while (number) {
		struct gate_flow *flow = &table->entries[number];
		if (flow->table.hash == key->hash && matches(flow, key, ret_dir)) {
			return flow;
		}
		number = flow->table.next;
	}
	return NULL;
}

/* A SYN that begins another connection between the same ports, not one that is sent again. */
static bool ports_used_anew(const struct gate_flow *flow, const struct gate_packet *p)
{
	const uint8_t *header = (const uint8_t *)p->tcp;
	uint32_t seq;

	if (!header || (header[13] & (TH_SYN | TH_ACK | TH_RST | TH_FIN)) != TH_SYN ||
	    p->flags & GATE_PKT_BAD_CSUM) {
		return false;
	}
	if (!flow->stream) {
		return true;
	}
	memcpy(&seq, header + 4, sizeof(seq));
	if (ntohl(seq) == flow->tcp_isn) {
		return false;
	}
	return !flow->tcp_state || flow->tcp_state >= GATE_TCP_TIME_WAIT;
}

static void count_packet(struct gate_flow_table *table, struct gate_flow *flow,
			 struct gate_packet *p, bool icmp_error)
{
	unsigned int dir = p->dir;

	flow->packets[dir]++;
	flow->bytes[dir] += p->size;
	if (!icmp_error) {
		flow->flags |= dir == GATE_TO_SERVER ? GATE_FLOW_SAW_SERVER : GATE_FLOW_SAW_CLIENT;
	}
	if (!flow->ttl_max[dir] || p->ttl < flow->ttl_min[dir]) {
		flow->ttl_min[dir] = p->ttl;
	}
	if (p->ttl > flow->ttl_max[dir]) {
		flow->ttl_max[dir] = p->ttl;
	}
	if (p->time_us > flow->last_us) {
		flow->last_us = p->time_us;
		if (table->now_s > flow->lru_s + TOUCH_S) {
			list_remove(table, flow);
			list_append(table, flow);
		}
	}
}

/* As Suricata: of TCP what the state was before this packet. */
static void mark_established(struct gate_flow_table *table, struct gate_flow *flow,
			     struct gate_packet *p)
{
	const uint32_t both = GATE_FLOW_SAW_SERVER | GATE_FLOW_SAW_CLIENT;
	if (flow->state == GATE_FLOW_ESTABLISHED) {
		p->flags |= GATE_PKT_ESTABLISHED;
	} else if (flow->ip_proto == IPPROTO_TCP) {
		p->flags |= flow->tcp_state >= GATE_TCP_ESTABLISHED ? GATE_PKT_ESTABLISHED : 0;
	} else if ((flow->flags & both) == both) {
		p->flags |= GATE_PKT_ESTABLISHED;
		if (flow->state == GATE_FLOW_NEW) {
			gate_flow_set_state(table, flow, GATE_FLOW_ESTABLISHED);
		}
	}
}

struct gate_flow *gate_flow_of(struct gate_flow_table *table, struct gate_packet *p)
{
	struct flow_key key;
	enum gate_dir dir = GATE_TO_SERVER;

	p->flow = NULL;
	if (!flow_key_of(table, p, &key)) {
		return NULL;
	}
	if (p->time_us / US > table->now_s) {
		table->now_s = (uint32_t)(p->time_us / US);
	}
	struct gate_flow *flow = find(table, &key, &dir);
	if (flow && timed_out(table, flow, p->time_us)) {
		(void)end_flow(table, flow, GATE_FLOW_END_TIMEOUT, p->time_us);
		flow = NULL;
	} else if (flow && ports_used_anew(flow, p)) {
		(void)end_flow(table, flow, GATE_FLOW_END_REUSE, p->time_us);
		flow = NULL;
	}
	if (!flow) {
		dir = GATE_TO_SERVER;
		flow = key.icmp_error ? NULL : new_flow(table, &key, p);
		if (!flow) {
			return NULL;
		}
	}
	p->flow = flow;
	/* an error goes to the side whose packet it speaks of */
	p->dir = (uint8_t)(key.icmp_error ? GATE_DIR_OTHER(dir) : dir);
	count_packet(table, flow, p, key.icmp_error);
	mark_established(table, flow, p);
	return flow;
}

void gate_flow_tick(struct gate_flow_table *table, uint64_t now_us, unsigned int budget)
{
	if (now_us / US > table->now_s) {
		table->now_s = (uint32_t)(now_us / US);
	}
	for (unsigned int lru = 0; lru < FLOW_LISTS && budget; lru++) {
		uint32_t number, work;
		while (budget && (number = table->lists[lru].first)) {
			struct gate_flow *flow = &table->entries[number];
			if (!timed_out(table, flow, now_us)) {
				break; /* those behind it have been silent less long, by TOUCH_S */
			}
			work = end_flow(table, flow, GATE_FLOW_END_TIMEOUT, now_us);
			budget -= work < budget ? work : budget;
		}
	}
}

void gate_flow_end_all(struct gate_flow_table *table, enum gate_flow_reason reason, uint64_t now_us)
{
	for (uint32_t number = 1; number <= table->used; number++) {
		if (table->entries[number].ip_version) {
			(void)end_flow(table, &table->entries[number], reason, now_us);
		}
	}
}

void gate_flow_set_state(struct gate_flow_table *table, struct gate_flow *flow,
			 enum gate_flow_state state)
{
	if (flow->state == (uint8_t)state) {
		return;
	}
	if (table) {
		list_remove(table, flow);
	}
	flow->state = (uint8_t)state;
	if (table) {
		list_append(table, flow);
	}
}

void gate_flow_except(struct gate_flow *flow, struct gate_packet *p, enum gate_exception policy,
		      enum gate_drop_reason reason)
{
	switch (policy) {
	case GATE_EXCEPTION_REJECT:
		p->flags |= GATE_PKT_REJECT_SRC;
		__attribute__((fallthrough));
	case GATE_EXCEPTION_DROP_FLOW:
		flow->flags |= GATE_FLOW_DROP;
		__attribute__((fallthrough));
	case GATE_EXCEPTION_DROP_PACKET:
		p->flags |= GATE_PKT_DROP | GATE_PKT_NO_PACKET;
		p->drop_reason = (uint16_t)reason;
		break;
	case GATE_EXCEPTION_BYPASS:
		gate_flow_set_state(gate_flow_table_of(flow), flow, GATE_FLOW_BYPASSED);
		break;
	case GATE_EXCEPTION_PASS_FLOW:
		flow->flags |= GATE_FLOW_PASS;
		break;
	case GATE_EXCEPTION_PASS_PACKET:
		p->flags |= GATE_PKT_NO_PACKET;
		break;
	default:
		break;
	}
}

struct gate_flow_table *gate_flow_table_of(const struct gate_flow *flow)
{
	return flow->hooks ? BH_CONTAINER_OF(flow->hooks, struct gate_flow_table, hooks) : NULL;
}

#define SWAP(a, b)                                                                                 \
	do {                                                                                       \
		typeof(a) swap_ = (a);                                                             \
		(a) = (b);                                                                         \
		(b) = swap_;                                                                       \
	} while (0)

void gate_flow_swap(struct gate_flow *flow)
{
	uint32_t seen = flow->flags & (GATE_FLOW_SAW_SERVER | GATE_FLOW_SAW_CLIENT);

	SWAP(flow->addr[0], flow->addr[1]);
	SWAP(flow->port[0], flow->port[1]);
	SWAP(flow->packets[0], flow->packets[1]);
	SWAP(flow->bytes[0], flow->bytes[1]);
	SWAP(flow->ttl_min[0], flow->ttl_min[1]);
	SWAP(flow->ttl_max[0], flow->ttl_max[1]);
	SWAP(flow->app_to[0], flow->app_to[1]);
	flow->flags ^= GATE_FLOW_SWAPPED;
	if (seen == GATE_FLOW_SAW_SERVER || seen == GATE_FLOW_SAW_CLIENT) {
		flow->flags ^= GATE_FLOW_SAW_SERVER | GATE_FLOW_SAW_CLIENT;
	}
}

static void *map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		fprintf(stderr, "flow table: no %zu bytes of memory\n", size);
		abort();
	}
	return memory;
}

static void set_timeouts(struct gate_flow_table *table, const struct gate_config *config)
{
	const uint64_t seconds[FLOW_KINDS][FLOW_STATES] = {
		[KIND_TCP] = {config->tcp_new_s, config->tcp_established_s, config->tcp_closed_s,
			      BYPASSED_S},
		[KIND_UDP] = {config->udp_new_s, config->udp_established_s, config->udp_new_s,
			      BYPASSED_S},
		[KIND_ICMP] = {config->icmp_new_s, config->icmp_established_s, config->icmp_new_s,
			       BYPASSED_S},
		[KIND_OTHER] = {config->other_new_s, config->other_established_s,
				config->other_new_s, BYPASSED_S},
	};
	for (unsigned int i = 0; i < FLOW_LISTS; i++) {
		table->timeout_us[i] = seconds[i / FLOW_STATES][i % FLOW_STATES] * US;
	}
}

static uint32_t power_of_two(uint64_t n)
{
	uint32_t power = 1;
	while (power < n && power < 1u << 30) {
		power *= 2;
	}
	return power;
}

struct gate_flow_table *gate_flow_table_new(const struct gate_config *config,
					    const struct gate_flow_hooks *hooks)
{
	struct gate_flow_table *table = bh_alloc(sizeof(*table));
	uint64_t workers = config->workers ? config->workers : 1;
	uint64_t capacity = config->flow_count / workers, buckets = config->flow_hash_size;

	capacity = capacity < 16 ? 16 : capacity;
	table->capacity = capacity > 1u << 30 ? 1u << 30 : (uint32_t)capacity;
	buckets = power_of_two(buckets ? buckets / workers : table->capacity);
	table->bucket_mask = (uint32_t)buckets - 1;
	table->bucket_bytes = buckets * sizeof(*table->buckets);
	table->buckets = map(table->bucket_bytes);
	table->entry_bytes = (table->capacity + 1ull) * sizeof(*table->entries);
	table->entries = map(table->entry_bytes);
	table->expectations = bh_alloc_array(GATE_FLOW_EXPECT_MAX, sizeof(*table->expectations));
	table->by_source = !config->inline_mode;
	table->by_vlan = config->vlan_tracking;
	table->by_vni = config->vni_tracking;
	if (hooks) {
		table->hooks = *hooks;
	}
	set_timeouts(table, config);
	if (getrandom(table->hash_key, sizeof(table->hash_key), 0) != sizeof(table->hash_key)) {
		fprintf(stderr, "flow table: no random bytes\n");
		abort();
	}
	return table;
}

void gate_flow_table_free(struct gate_flow_table *table)
{
	if (!table) {
		return;
	}
	munmap(table->buckets, table->bucket_bytes);
	munmap(table->entries, table->entry_bytes);
	free(table->expectations);
	free(table);
}

void gate_flow_stats(const struct gate_flow_table *table, struct gate_flow_stats *ret)
{
	*ret = table->stats;
	ret->capacity = table->capacity;
	ret->bytes_each = (table->entry_bytes + table->bucket_bytes) / table->capacity;
}
