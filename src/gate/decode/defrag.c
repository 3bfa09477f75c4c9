/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments of IPv4 and IPv6 datagrams until they are whole.
 *
 * A datagram that is incomplete is known by addresses, identification, protocol (IPv4), depth of
 * tunnels, and as flows are by VLANs, VNI and interface. Its fragments are kept as they came; a
 * bit per 8 bytes says what is covered. What stands behind the last whole unit of a fragment that
 * is not the last is nobody's: receivers cut it off (Linux) or drop all of it. When the last
 * fragment is here and nothing is missing, they are laid over one another in order of arrival; who
 * wins where two overlap is the receiver's policy (Novak, "Target-Based Fragmentation Reassembly",
 * 2005), chosen by its address (host-os-policy, longest prefix; without one: BSD). Of last
 * fragments that disagree the one that ends first says where the end is.
 *
 * Memory is blocks of one pool (defrag.memcap, shared among the workers): a block for a datagram,
 * one or more for a fragment. When there are none left, or as many fragments wait as may
 * (defrag.max-frags), the oldest datagram goes: a flood must not shut out what comes behind it.
 * Limits of one datagram: bytes (four times the largest: overlaps), and that nothing comes for
 * defrag.timeout.
 */
#include "gate/decode/checksum.h"
#include "gate/decode/decoder.h"

#include "base/counter.h"
#include "base/util.h"
#include "gate/config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/random.h>

#define BLOCK_SIZE	      2048
#define UNITS		      (65536 / 8)
#define BYTES_MAX	      (4 * 65536u) /* of one datagram */
#define OWNERS_MAX	      0xffff
#define NO_TOTAL	      UINT32_MAX
#define TICK_MAX	      256
#define BUCKETS_MIN	      256
#define FRAGMENT_OFFSET_PLACE 6

BH_COUNTER(gate_defrag_timeouts, "datagrams that were not whole in time");
BH_COUNTER(gate_defrag_evicted, "incomplete datagrams that had to go for want of room");
BH_COUNTER(gate_defrag_refused, "fragments that were not kept: limits");
BH_COUNTER(gate_defrag_overlaps, "fragments that overlap with others");
BH_COUNTER(gate_defrag_too_large, "fragments that end behind the largest datagram");

enum policy {
	POLICY_BSD,
	POLICY_BSD_RIGHT,
	POLICY_FIRST,
	POLICY_LAST,
	POLICY_LINUX,
	POLICY_SOLARIS,
	POLICY_WINDOWS,
};

struct policy_name {
	const char *name;
	enum policy policy;
};

static const struct policy_name policy_names[] = {
	{"bsd", POLICY_BSD},	     {"hpux10", POLICY_BSD},
	{"irix", POLICY_BSD},	     {"bsd-right", POLICY_BSD_RIGHT},
	{"first", POLICY_FIRST},     {"hpux11", POLICY_FIRST},
	{"macos", POLICY_FIRST},     {"old-solaris", POLICY_FIRST},
	{"last", POLICY_LAST},	     {"linux", POLICY_LINUX},
	{"old-linux", POLICY_LINUX}, {"solaris", POLICY_SOLARIS},
	{"windows", POLICY_WINDOWS}, {"windows2k3", POLICY_WINDOWS},
	{"vista", POLICY_WINDOWS},
};

struct policy_net {
	struct gate_addr addr;
	unsigned int bits; /* of 128 */
	enum policy policy;
};

union block {
	union block *free; /* the next one */
	uint8_t bytes[BLOCK_SIZE];
};

/* More of a fragment's bytes. */
struct piece {
	struct piece *next;
	uint8_t bytes[BLOCK_SIZE - sizeof(void *)];
};

struct fragment {
	struct fragment *next; /* in order of arrival */
	struct piece *more_bytes;
	uint32_t offset, size; /* of data */
	uint32_t header_size;  /* stands before the data; 0 but for the first */
	uint32_t next_at;
	uint8_t next_header;
	uint8_t bytes[BLOCK_SIZE - 40];
};

struct key {
	struct gate_addr src, dst;
	uint32_t id, vni, source;
	uint16_t vlan[GATE_VLANS_MAX];
	uint8_t vlan_count, version, proto, depth;
};

struct datagram {
	struct datagram *chain; /* of the bucket */
	struct datagram *older, *newer;
	struct fragment *first, **last;
	struct key key;
	uint32_t bucket;
	uint64_t last_us; /* when a fragment came */
	enum policy policy;
	uint32_t total; /* NO_TOTAL until the last fragment is here */
	uint32_t units; /* covered */
	uint32_t bytes; /* kept */
	unsigned int count;
	bool overlap;
	uint64_t covered[UNITS / 64];
};

static_assert(sizeof(struct piece) <= BLOCK_SIZE, "a piece is a block");
static_assert(sizeof(struct fragment) <= BLOCK_SIZE, "a fragment begins in a block");
static_assert(sizeof(struct datagram) <= BLOCK_SIZE, "a datagram is a block");

struct defrag {
	union block *blocks, *free;
	size_t block_count, fresh; /* from `fresh` on never used: their pages do not exist */
	size_t fragments, fragments_max;
	uint64_t timeout_us;
	uint64_t hash_key[2];
	uint32_t bucket_mask;
	bool by_vlan, by_vni, by_source;
	struct datagram **buckets;
	struct datagram *oldest, *newest;
	BH_VEC(struct policy_net) nets;
	uint16_t owners[65536];
};

/* ---- blocks ---- */

static void *block_get(struct defrag *d)
{
	union block *block = d->free;

	if (block) {
		d->free = block->free;
		return block;
	}
	return d->fresh < d->block_count ? &d->blocks[d->fresh++] : NULL;
}

static void block_put(struct defrag *d, void *at)
{
	union block *block = at;

	block->free = d->free;
	d->free = block;
}

static void fragment_free(struct defrag *d, struct fragment *f)
{
	for (struct piece *piece = f->more_bytes; piece;) {
		struct piece *next = piece->next;

		block_put(d, piece);
		piece = next;
	}
	block_put(d, f);
	d->fragments--;
}

static void datagram_free(struct defrag *d, struct datagram *g)
{
	struct datagram **at = &d->buckets[g->bucket];

	while (*at != g) {
		at = &(*at)->chain;
	}
	*at = g->chain;
	*(g->older ? &g->older->newer : &d->oldest) = g->newer;
	*(g->newer ? &g->newer->older : &d->newest) = g->older;
	for (struct fragment *f = g->first; f;) {
		struct fragment *next = f->next;

		fragment_free(d, f);
		f = next;
	}
	block_put(d, g);
}

/* The oldest datagram but `keep` goes; false: there is none. */
static bool evict(struct defrag *d, const struct datagram *keep)
{
	struct datagram *victim = d->oldest == keep && keep ? keep->newer : d->oldest;

	if (!victim) {
		return false;
	}
	datagram_free(d, victim);
	bh_counter_add(&gate_defrag_evicted, 1);
	return true;
}

/* A block, if need be at the cost of other datagrams than `keep`. */
static void *block_take(struct defrag *d, const struct datagram *keep)
{
	void *block = block_get(d);

	while (!block && evict(d, keep)) {
		block = block_get(d);
	}
	return block;
}

/* ---- who is it ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Keyed and multiplied into 128 bits (as wyhash does): peers can't choose what collides. */
static uint32_t hash(const struct defrag *d, const struct key *key)
{
	uint64_t words[sizeof(*key) / 8], h = d->hash_key[0];

	static_assert(sizeof(*key) % 8 == 0, "no rest");
	memcpy(words, key, sizeof(*key));
	for (size_t i = 0; i < sizeof(*key) / 8; i++) {
		h = mix(h ^ words[i], d->hash_key[1] ^ (0x9e3779b97f4a7c15u * (i + 1)));
	}
	return (uint32_t)(h ^ h >> 32);
}

static void key_of(const struct defrag *d, const struct gate_packet *p,
		   const struct defrag_part *part, struct key *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->src = p->src;
	ret->dst = p->dst;
	ret->id = part->id;
	ret->vni = d->by_vni ? p->vni : 0;
	ret->source = d->by_source ? p->source : 0;
	if (d->by_vlan) {
		ret->vlan_count = p->vlan_count;
		memcpy(ret->vlan, p->vlan, sizeof(ret->vlan));
	}
	ret->version = p->ip_version;
	ret->proto = p->ip_version == 4 ? part->next_header : 0;
	ret->depth = p->depth;
}

static bool in_net(const struct policy_net *net, const struct gate_addr *addr)
{
	unsigned int bytes = net->bits / 8, rest = net->bits % 8;

	if (memcmp(net->addr.bytes, addr->bytes, bytes) != 0) {
		return false;
	}
	return !rest || !((net->addr.bytes[bytes] ^ addr->bytes[bytes]) >> (8 - rest));
}

static enum policy policy_of(const struct defrag *d, const struct gate_addr *addr)
{
	const struct policy_net *best = NULL;

	bh_vec_foreach (net, &d->nets) {
		if ((!best || net->bits > best->bits) && in_net(net, addr)) {
			best = net;
		}
	}
	return best ? best->policy : POLICY_BSD;
}

static struct datagram *datagram_new(struct defrag *d, const struct key *key, uint32_t bucket,
				     uint64_t now_us)
{
	struct datagram *g = block_take(d, NULL);

	if (!g) {
		return NULL;
	}
	memset(g, 0, sizeof(*g));
	g->key = *key;
	g->last = &g->first;
	g->bucket = bucket;
	g->last_us = now_us;
	g->policy = policy_of(d, &key->dst);
	g->total = NO_TOTAL;
	g->chain = d->buckets[bucket];
	d->buckets[bucket] = g;
	g->older = d->newest;
	*(d->newest ? &d->newest->newer : &d->oldest) = g;
	d->newest = g;
	return g;
}

static bool is_late(const struct defrag *d, const struct datagram *g, uint64_t now_us)
{
	return now_us > g->last_us && now_us - g->last_us > d->timeout_us;
}

/* To the newest, so that the oldest are those that have waited longest for more. */
static void touch(struct defrag *d, struct datagram *g, uint64_t now_us)
{
	g->last_us = now_us;
	if (g == d->newest) {
		return;
	}
	*(g->older ? &g->older->newer : &d->oldest) = g->newer;
	g->newer->older = g->older;
	g->newer = NULL;
	g->older = d->newest;
	d->newest->newer = g;
	d->newest = g;
}

static struct datagram *datagram_of(struct defrag *d, const struct key *key, uint64_t now_us)
{
	uint32_t bucket = hash(d, key) & d->bucket_mask;

	for (struct datagram *g = d->buckets[bucket]; g; g = g->chain) {
		if (memcmp(&g->key, key, sizeof(*key)) != 0) {
			continue;
		}
		if (!is_late(d, g, now_us)) {
			touch(d, g, now_us);
			return g;
		}
		bh_counter_add(&gate_defrag_timeouts, 1);
		datagram_free(d, g);
		break;
	}
	return datagram_new(d, key, bucket, now_us);
}

/* ---- what is kept ---- */

/* Where a fragment's storage is being written. */
struct writer {
	struct defrag *d;
	struct datagram *g;
	struct fragment *f;
	struct piece **tail;
	uint32_t at;
};

/* false: no memory. */
static bool put(struct writer *w, const uint8_t *data, uint32_t size)
{
	struct fragment *f = w->f;

	while (size) {
		uint32_t in_first = sizeof(f->bytes), n;
		uint8_t *to;

		if (w->at < in_first) {
			to = f->bytes + w->at;
			n = in_first - w->at;
		} else {
			uint32_t in = (w->at - in_first) % sizeof((*w->tail)->bytes);

			if (!in) {
				struct piece *piece = block_take(w->d, w->g);

				if (!piece) {
					return false;
				}
				piece->next = NULL;
				if (f->more_bytes) {
					w->tail = &(*w->tail)->next;
				}
				*w->tail = piece;
			}
			to = (*w->tail)->bytes + in;
			n = sizeof((*w->tail)->bytes) - in;
		}
		n = n < size ? n : size;
		memcpy(to, data, n);
		w->at += n;
		data += n;
		size -= n;
	}
	return true;
}

static bool keep(struct defrag *d, struct datagram *g, const struct defrag_part *part)
{
	uint32_t header = part->offset ? 0 : part->header_size;
	struct fragment *f;
	struct writer w;

	if (g->bytes + header + part->size > BYTES_MAX || g->count == OWNERS_MAX) {
		return false;
	}
	while (d->fragments >= d->fragments_max) {
		if (!evict(d, g)) {
			return false;
		}
	}
	f = block_take(d, g);
	if (!f) {
		return false;
	}
	d->fragments++;
	f->next = NULL;
	f->more_bytes = NULL;
	f->offset = part->offset;
	f->size = part->size;
	f->header_size = header;
	f->next_at = part->next_at;
	f->next_header = part->next_header;
	w = (struct writer){.d = d, .g = g, .f = f, .tail = &f->more_bytes};
	if (!put(&w, part->header, header) || !put(&w, part->data, part->size)) {
		fragment_free(d, f);
		return false;
	}
	*g->last = f;
	g->last = &f->next;
	g->bytes += header + part->size;
	g->count++;
	return true;
}

/* Marks units; true when any of them was marked before. Only the last one can be in part. */
static bool cover(struct datagram *g, const struct defrag_part *part)
{
	uint32_t to = (part->offset + part->size + 7) / 8;
	bool overlap = false;

	for (uint32_t unit = part->offset / 8; unit < to; unit++) {
		uint64_t bit = 1ull << unit % 64;

		if (g->covered[unit / 64] & bit) {
			overlap = true;
			continue;
		}
		g->covered[unit / 64] |= bit;
		g->units++;
	}
	return overlap;
}

static bool is_covered(const struct datagram *g)
{
	uint32_t units = (g->total + 7) / 8;

	if (g->total == NO_TOTAL || g->units < units) {
		return false;
	}
	for (uint32_t unit = 0; unit < units; unit++) {
		if (!(g->covered[unit / 64] & 1ull << unit % 64)) {
			return false;
		}
	}
	return true;
}

/* ---- the whole ---- */

/* Whether a fragment that comes later takes the bytes it shares with one that is there. */
static bool takes(enum policy policy, const struct fragment *was, const struct fragment *now)
{
	uint32_t was_end = was->offset + was->size, now_end = now->offset + now->size;

	switch (policy) {
	case POLICY_BSD:
		return now->offset < was->offset;
	case POLICY_BSD_RIGHT:
		return now->offset >= was->offset;
	case POLICY_LINUX:
		return now->offset <= was->offset;
	case POLICY_LAST:
		return true;
	case POLICY_SOLARIS:
		return now->offset < was->offset && now_end >= was_end;
	case POLICY_WINDOWS:
		return now->offset < was->offset && now_end > was_end;
	default:
		return false;
	}
}

/* Bytes [at, at + size) of a fragment's storage. */
static void get(const struct fragment *f, uint32_t at, uint32_t size, uint8_t *ret)
{
	const struct piece *piece = f->more_bytes;
	uint32_t room = sizeof(f->bytes);
	const uint8_t *from = f->bytes;

	while (size) {
		if (at < room) {
			uint32_t n = room - at < size ? room - at : size;

			memcpy(ret, from + at, n);
			ret += n;
			size -= n;
			at += n;
		}
		at -= room;
		if (!piece) {
			return;
		}
		from = piece->bytes;
		room = sizeof(piece->bytes);
		piece = piece->next;
	}
}

/* One fragment over those before it, where runs of bytes have the same owner. */
static void lay(struct defrag *d, const struct datagram *g, struct fragment *const *by_number,
		unsigned int number, uint8_t *ret)
{
	const struct fragment *f = by_number[number - 1];
	uint32_t end = f->offset + f->size < g->total ? f->offset + f->size : g->total;

	for (uint32_t at = f->offset; at < end;) {
		uint16_t owner = d->owners[at];
		uint32_t run = at + 1;

		while (run < end && d->owners[run] == owner) {
			run++;
		}
		if (!owner || takes(g->policy, by_number[owner - 1], f)) {
			get(f, f->header_size + at - f->offset, run - at, ret + at);
			for (uint32_t i = at; i < run; i++) {
				d->owners[i] = (uint16_t)number;
			}
		}
		at = run;
	}
}

static void lay_all(struct defrag *d, const struct datagram *g, uint8_t *ret)
{
	struct fragment **by_number;
	unsigned int number = 0;

	memset(ret, 0, g->total);
	if (!g->overlap) {
		for (const struct fragment *f = g->first; f; f = f->next) {
			if (f->offset < g->total) {
				uint32_t left = g->total - f->offset;

				get(f, f->header_size, f->size < left ? f->size : left,
				    ret + f->offset);
			}
		}
		return;
	}
	memset(d->owners, 0, g->total * sizeof(d->owners[0]));
	by_number = bh_alloc_array(g->count, sizeof(*by_number));
	for (struct fragment *f = g->first; f; f = f->next) {
		by_number[number++] = f;
		lay(d, g, by_number, number, ret);
	}
	free(by_number);
}

/* The header of the first fragment, made that of the whole. 0: it would be too large. */
static uint32_t whole(struct defrag *d, const struct datagram *g, struct gate_packet *p,
		      uint8_t *ret)
{
	const struct fragment *first = g->first;
	uint32_t size, length;

	while (first->offset) {
		first = first->next;
	}
	size = first->header_size + g->total;
	length = g->key.version == 4 ? size : size - sizeof(struct ip6_hdr);
	if (length > DATAGRAM_MAX) {
		gate_packet_event(p, g->key.version == 4 ? GATE_EVENT_IPV4_FRAG_PKT_TOO_LARGE
							 : GATE_EVENT_IPV6_FRAG_PKT_TOO_LARGE);
		bh_counter_add(&gate_defrag_too_large, 1);
		return 0;
	}
	get(first, 0, first->header_size, ret);
	lay_all(d, g, ret + first->header_size);
	if (g->key.version == 4) {
		uint16_t sum;

		ret[2] = (uint8_t)(length >> 8);
		ret[3] = (uint8_t)length;
		memset(ret + FRAGMENT_OFFSET_PLACE, 0, 2);
		memset(ret + offsetof(struct iphdr, check), 0, 2);
		sum = gate_checksum_fold(gate_checksum_add(0, ret, first->header_size));
		memcpy(ret + offsetof(struct iphdr, check), &sum, 2);
	} else {
		ret[4] = (uint8_t)(length >> 8);
		ret[5] = (uint8_t)length;
		ret[first->next_at] = first->next_header;
	}
	return size;
}

static bool is_too_large(const struct gate_packet *p, const struct defrag_part *part)
{
	uint32_t least = p->ip_version == 4 ? sizeof(struct iphdr) : 0;

	return least + part->offset + part->size > DATAGRAM_MAX;
}

/* With the datagram that it is now part of, whose last one it may be; NULL: it is not kept. */
static struct datagram *datagram_with(struct defrag *d, struct gate_packet *p,
				      const struct defrag_part *part)
{
	bool v4 = p->ip_version == 4;
	struct datagram *g;
	struct key key;

	key_of(d, p, part, &key);
	g = datagram_of(d, &key, p->time_us);
	if (!g || !keep(d, g, part)) {
		gate_packet_event(p,
				  v4 ? GATE_EVENT_IPV4_FRAG_IGNORED : GATE_EVENT_IPV6_FRAG_IGNORED);
		bh_counter_add(&gate_defrag_refused, 1);
		if (g && !g->count) {
			datagram_free(d, g);
		}
		return NULL;
	}
	if (cover(g, part)) {
		g->overlap = true;
		gate_packet_event(p,
				  v4 ? GATE_EVENT_IPV4_FRAG_OVERLAP : GATE_EVENT_IPV6_FRAG_OVERLAP);
		bh_counter_add(&gate_defrag_overlaps, 1);
	}
	if (!part->more && part->offset + part->size < g->total) {
		g->total = part->offset + part->size;
	}
	return g;
}

uint32_t defrag_add(struct defrag *defrag, struct gate_packet *p, const struct defrag_part *part,
		    uint8_t *ret)
{
	struct defrag_part units = *part;
	struct datagram *g;
	uint32_t size;

	if (is_too_large(p, part)) {
		gate_packet_event(p, p->ip_version == 4 ? GATE_EVENT_IPV4_FRAG_PKT_TOO_LARGE
							: GATE_EVENT_IPV6_FRAG_PKT_TOO_LARGE);
		bh_counter_add(&gate_defrag_too_large, 1);
		return 0;
	}
	if (part->more) {
		units.size &= ~7u;
		if (!units.size) {
			return 0; /* says nothing */
		}
	}
	g = datagram_with(defrag, p, &units);
	if (!g) {
		return 0;
	}
	if (!is_covered(g)) {
		return 0;
	}
	size = whole(defrag, g, p, ret);
	datagram_free(defrag, g);
	return size;
}

void defrag_tick(struct defrag *defrag, uint64_t now_us)
{
	for (int i = 0; i < TICK_MAX && defrag->oldest && is_late(defrag, defrag->oldest, now_us);
	     i++) {
		bh_counter_add(&gate_defrag_timeouts, 1);
		datagram_free(defrag, defrag->oldest);
	}
}

/* ---- settings ---- */

/* "10.0.0.0/8", "fe80::/10", an address alone; anything else names no host. */
static bool net_parse(const char *text, struct policy_net *ret)
{
	char addr[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "/");
	uint64_t bits = 128;
	bool v4;

	if (len >= sizeof(addr)) {
		return false;
	}
	memcpy(addr, text, len);
	addr[len] = '\0';
	v4 = !strchr(addr, ':');
	if (inet_pton(v4 ? AF_INET : AF_INET6, addr, ret->addr.bytes + (v4 ? 12 : 0)) != 1) {
		return false;
	}
	if (v4) {
		memset(ret->addr.bytes + 10, 0xff, 2);
	}
	if (text[len]) {
		if (bh_parse_u64(text + len + 1, 0, v4 ? 32 : 128, &bits)) {
			return false;
		}
		bits += v4 ? 96 : 0;
	}
	ret->bits = (unsigned int)bits;
	return true;
}

static void policies(struct defrag *d, const struct gate_config *config)
{
	bh_vec_foreach (os, &config->os_policies) {
		for (size_t i = 0; i < BH_ARRAY_SIZE(policy_names); i++) {
			struct policy_net net = {.policy = policy_names[i].policy};

			if (!strcmp(policy_names[i].name, os->policy) &&
			    net_parse(os->network, &net)) {
				*bh_vec_push(&d->nets) = net;
			}
		}
	}
}

struct defrag *defrag_new(const struct gate_config *config)
{
	struct defrag *d = bh_alloc(sizeof(*d));
	uint64_t workers = config->workers ? config->workers : 1;
	uint32_t buckets = BUCKETS_MIN;

	d->block_count = config->defrag_memcap / workers / BLOCK_SIZE;
	d->block_count = d->block_count > 64 ? d->block_count : 64;
	d->fragments_max = config->defrag_max_frags / workers;
	d->fragments_max = d->fragments_max > 16 ? d->fragments_max : 16;
	d->timeout_us = config->defrag_timeout_s * 1000000;
	d->by_vlan = config->vlan_tracking;
	d->by_vni = config->vni_tracking;
	d->by_source = !config->inline_mode;
	d->blocks = mmap(NULL, d->block_count * BLOCK_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (d->blocks == MAP_FAILED) {
		abort(); /* control plane: as bh_alloc() */
	}
	while (buckets < d->block_count && buckets < 1u << 16) {
		buckets *= 2;
	}
	d->bucket_mask = buckets - 1;
	d->buckets = bh_alloc_array(buckets, sizeof(struct datagram *));
	if (getrandom(d->hash_key, sizeof(d->hash_key), 0) != sizeof(d->hash_key)) {
		abort();
	}
	d->hash_key[1] |= 1;
	policies(d, config);
	return d;
}

void defrag_free(struct defrag *defrag)
{
	if (!defrag) {
		return;
	}
	munmap(defrag->blocks, defrag->block_count * BLOCK_SIZE);
	free(defrag->buckets);
	bh_vec_done(&defrag->nets);
	free(defrag);
}
