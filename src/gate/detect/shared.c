/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table that rules share (shared.h).
 *
 * SHARDS parts, each with its lock, its buckets and its entries, allocated at once up to
 * threshold.memcap. A key is hashed with a random number of the process. An entry whose time is
 * over is taken for the next that hashes to its bucket, or by the tick; when a shard is full of
 * living ones a new key is not kept (counted): limits then let alerts through, xbits are not set.
 */
#include "gate/detect/shared.h"

#include "base/counter.h"
#include "base/time.h"
#include "gate/config.h"
#include "gate/detect/iprep.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/random.h>

#define SHARDS	     64
#define MEMCAP	     (16u << 20) /* when the configuration names none */
#define FOR_EVER     UINT64_MAX
#define UNIQUE_MAX   512 /* of entries that tell ports apart; each has a bitmap */
#define UNIQUE_SIZE  (65536 / 8)
#define BACKOFF_IDLE (3600ull * 1000000)

BH_COUNTER(gate_shared_full, "xbits, thresholds and tags that found no room");

struct entry {
	struct gate_key key;
	uint32_t next; /* index + 1 in its bucket */
	uint32_t count, limit;
	uint64_t since_us, until_us;
	uint64_t new_until_us; /* rate_filter: the other action holds until then */
	uint8_t *ports;	       /* unique_on */
};

struct shard {
	pthread_mutex_t lock;
	struct entry *entries;
	uint32_t *buckets;
	uint32_t used; /* entries [0, used) have been used */
	uint32_t free; /* list of those that are free again, index + 1 */
};

struct gate_shared {
	const struct gate_config *config;
	struct gate_hs_registry *registry;
	struct gate_regexes *regexes;
	struct gate_datasets *datasets;
	struct gate_iprep *iprep;
	pthread_mutex_t build;
	_Atomic uint32_t set_ids, uniques;
	_Atomic bool tagged; /* hosts have been */
	uint64_t seed;
	uint32_t per_shard, bucket_count; /* a power of two */
	struct shard shards[SHARDS];
};

struct gate_shared *gate_shared_new(const struct gate_config *config)
{
	struct gate_shared *shared = bh_alloc(sizeof(*shared));
	uint64_t memcap = config->threshold_memcap ? config->threshold_memcap : MEMCAP;

	shared->config = config;
	shared->registry = gate_hs_registry_new();
	shared->regexes = gate_regexes_new(config->pcre_memcap);
	shared->datasets = gate_datasets_new(config);
	shared->iprep = gate_iprep_new(config);
	pthread_mutex_init(&shared->build, NULL);
	if (getrandom(&shared->seed, sizeof(shared->seed), 0) != sizeof(shared->seed)) {
		shared->seed = bh_time_mono_ns();
	}
	shared->per_shard = (uint32_t)(memcap / SHARDS / (sizeof(struct entry) + sizeof(uint32_t)));
	shared->per_shard = shared->per_shard < 16 ? 16 : shared->per_shard;
	shared->bucket_count = 16;
	while (shared->bucket_count * 2 <= shared->per_shard) {
		shared->bucket_count *= 2;
	}
	for (unsigned int i = 0; i < SHARDS; i++) {
		struct shard *s = &shared->shards[i];

		pthread_mutex_init(&s->lock, NULL);
		s->entries = bh_alloc_array(shared->per_shard, sizeof(*s->entries));
		s->buckets = bh_alloc_array(shared->bucket_count, sizeof(*s->buckets));
	}
	return shared;
}

void gate_shared_free(struct gate_shared *shared)
{
	if (!shared) {
		return;
	}
	for (unsigned int i = 0; i < SHARDS; i++) {
		struct shard *s = &shared->shards[i];

		for (uint32_t k = 0; k < s->used; k++) {
			free(s->entries[k].ports);
		}
		pthread_mutex_destroy(&s->lock);
		free(s->entries);
		free(s->buckets);
	}
	gate_datasets_free(shared->datasets);
	gate_iprep_free(shared->iprep);
	gate_hs_registry_free(shared->registry);
	gate_regexes_free(shared->regexes);
	pthread_mutex_destroy(&shared->build);
	free(shared);
}

struct gate_hs_registry *gate_shared_registry(struct gate_shared *shared)
{
	return shared->registry;
}

struct gate_regexes *gate_shared_regexes(struct gate_shared *shared)
{
	return shared->regexes;
}

struct gate_datasets *gate_shared_datasets(struct gate_shared *shared)
{
	return shared->datasets;
}

uint32_t gate_shared_set_id(struct gate_shared *shared)
{
	return ++shared->set_ids;
}

void gate_shared_build_begin(struct gate_shared *shared)
{
	pthread_mutex_lock(&shared->build);
}

void gate_shared_build_end(struct gate_shared *shared)
{
	pthread_mutex_unlock(&shared->build);
}

int gate_shared_save(struct gate_shared *shared, struct bh_diag *diag)
{
	return gate_datasets_save(shared->datasets, diag);
}

int gate_reputation(const struct gate_shared *shared, const struct gate_addr *addr,
		    uint8_t category)
{
	return gate_iprep_score(shared->iprep, addr, category);
}

/* ---- the table ---- */

static uint64_t hash_key(const struct gate_shared *shared, const struct gate_key *key)
{
	uint64_t words[(sizeof(*key) + 7) / 8] = {}, h = shared->seed;

	memcpy(words, key, sizeof(*key));
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(words); i++) {
		h ^= words[i];
		h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93ull;
		h = (h ^ (h >> 29)) + shared->seed;
	}
	return h ^ (h >> 32);
}

static struct shard *lock_of(struct gate_shared *shared, uint64_t hash)
{
	struct shard *s = &shared->shards[hash % SHARDS];

	pthread_mutex_lock(&s->lock);
	return s;
}

static uint32_t *bucket_of(struct gate_shared *shared, struct shard *s, uint64_t hash)
{
	return &s->buckets[(hash / SHARDS) & (shared->bucket_count - 1)];
}

static void release(struct gate_shared *shared, struct shard *s, uint32_t *link)
{
	struct entry *e = &s->entries[*link - 1];
	uint32_t self = *link;

	*link = e->next;
	if (e->ports) {
		free(e->ports);
		e->ports = NULL;
		shared->uniques--;
	}
	e->next = s->free;
	e->until_us = 0;
	s->free = self;
}

/* NULL: there is none. Those of the bucket that are over go on the way. */
static struct entry *find(struct gate_shared *shared, struct shard *s, uint64_t hash,
			  const struct gate_key *key, uint64_t now_us)
{
	uint32_t *link = bucket_of(shared, s, hash);

	while (*link) {
		struct entry *e = &s->entries[*link - 1];

		if (e->until_us < now_us) {
			release(shared, s, link);
			continue;
		}
		if (!memcmp(&e->key, key, sizeof(*key))) {
			return e;
		}
		link = &e->next;
	}
	return NULL;
}

static struct entry *add(struct gate_shared *shared, struct shard *s, uint64_t hash,
			 const struct gate_key *key)
{
	uint32_t *bucket = bucket_of(shared, s, hash), index;
	struct entry *e;

	if (s->free) {
		index = s->free - 1;
		s->free = s->entries[index].next;
	} else if (s->used < shared->per_shard) {
		index = s->used++;
	} else {
		bh_counter_add(&gate_shared_full, 1);
		return NULL;
	}
	e = &s->entries[index];
	*e = (struct entry){.key = *key, .next = *bucket};
	*bucket = index + 1;
	return e;
}

void gate_shared_tick(struct gate_shared *shared, uint64_t now_us)
{
	for (unsigned int i = 0; i < SHARDS; i++) {
		struct shard *s = &shared->shards[i];

		pthread_mutex_lock(&s->lock);
		for (uint32_t b = 0; b < shared->bucket_count && s->used; b++) {
			uint32_t *link = &s->buckets[b];

			while (*link) {
				if (s->entries[*link - 1].until_us < now_us) {
					release(shared, s, link);
				} else {
					link = &s->entries[*link - 1].next;
				}
			}
		}
		pthread_mutex_unlock(&s->lock);
	}
}

/* ---- xbits ---- */

void gate_xbit_set(struct gate_shared *shared, const struct gate_key *key, uint64_t now_us,
		   uint32_t expire_s)
{
	uint64_t hash = hash_key(shared, key);
	struct shard *s = lock_of(shared, hash);
	struct entry *e = find(shared, s, hash, key, now_us);

	e = e ? e : add(shared, s, hash, key);
	if (e) {
		e->until_us = expire_s ? now_us + expire_s * 1000000ull : FOR_EVER;
	}
	pthread_mutex_unlock(&s->lock);
}

void gate_xbit_unset(struct gate_shared *shared, const struct gate_key *key)
{
	uint64_t hash = hash_key(shared, key);
	struct shard *s = lock_of(shared, hash);
	struct entry *e = find(shared, s, hash, key, 0);

	if (e) {
		e->until_us = 0;
	}
	pthread_mutex_unlock(&s->lock);
}

bool gate_xbit_isset(struct gate_shared *shared, const struct gate_key *key, uint64_t now_us)
{
	uint64_t hash = hash_key(shared, key);
	struct shard *s = lock_of(shared, hash);
	bool is = find(shared, s, hash, key, now_us) != NULL;

	pthread_mutex_unlock(&s->lock);
	return is;
}

/* ---- thresholds ---- */

static void restart(struct entry *e, const struct gate_threshold *th, uint64_t now_us)
{
	uint64_t keep = th->seconds > th->timeout ? th->seconds : th->timeout;

	e->count = 1;
	e->since_us = now_us;
	e->until_us =
		th->type == GATE_TH_BACKOFF ? now_us + BACKOFF_IDLE : now_us + keep * 1000000 + 1;
	if (e->ports) {
		memset(e->ports, 0, UNIQUE_SIZE);
	}
}

/* Counts within the window, or begins one. */
static bool count_window(struct entry *e, const struct gate_threshold *th, uint64_t now_us,
			 bool fresh)
{
	if (fresh || now_us >= e->since_us + th->seconds * 1000000ull) {
		restart(e, th, now_us);
		return false;
	}
	e->count++;
	return true;
}

static enum gate_threshold_result count_rate(struct entry *e, const struct gate_threshold *th,
					     uint64_t now_us, bool fresh)
{
	if (e->new_until_us) {
		if (!th->timeout || now_us < e->new_until_us) {
			e->until_us = th->timeout ? e->new_until_us : FOR_EVER;
			return GATE_TH_NEW_ACTION;
		}
		e->new_until_us = 0;
		fresh = true;
	}
	count_window(e, th, now_us, fresh);
	if (e->count > th->count) {
		e->new_until_us = now_us + th->timeout * 1000000ull;
		return GATE_TH_NEW_ACTION;
	}
	return GATE_TH_ALERT;
}

static enum gate_threshold_result count_backoff(struct entry *e, const struct gate_threshold *th,
						uint64_t now_us, bool fresh)
{
	if (fresh) {
		restart(e, th, now_us);
		e->limit = th->count;
	} else {
		e->count++;
		e->until_us = now_us + BACKOFF_IDLE;
	}
	if (e->count != e->limit) {
		return GATE_TH_QUIET;
	}
	if (__builtin_mul_overflow(e->limit, th->multiplier, &e->limit)) {
		e->limit = UINT32_MAX;
	}
	return GATE_TH_ALERT;
}

static enum gate_threshold_result count_both(struct entry *e, const struct gate_threshold *th,
					     uint64_t now_us, bool fresh)
{
	count_window(e, th, now_us, fresh);
	if (e->count == th->count) {
		return GATE_TH_ALERT;
	}
	return e->count > th->count ? GATE_TH_QUIET : GATE_TH_NOT;
}

static bool is_new_port(struct gate_shared *shared, struct entry *e, uint16_t port)
{
	if (!e->ports) {
		if (shared->uniques >= UNIQUE_MAX) {
			bh_counter_add(&gate_shared_full, 1);
			return true;
		}
		shared->uniques++;
		e->ports = bh_alloc(UNIQUE_SIZE);
	}
	if (e->ports[port / 8] & (1u << port % 8)) {
		return false;
	}
	e->ports[port / 8] |= (uint8_t)(1u << port % 8);
	return true;
}

static enum gate_threshold_result count_filter(struct gate_shared *shared, struct entry *e,
					       const struct gate_threshold *th, uint16_t unique,
					       uint64_t now_us, bool fresh)
{
	bool inside = !fresh && now_us < e->since_us + th->seconds * 1000000ull;

	if (!inside) {
		restart(e, th, now_us);
	}
	if (th->unique) {
		bool is_new = is_new_port(shared, e, unique);

		e->count += inside && is_new;
		return inside && is_new && e->count > th->count ? GATE_TH_ALERT : GATE_TH_NOT;
	}
	e->count += inside;
	return e->count > th->count ? GATE_TH_ALERT : GATE_TH_NOT;
}

static enum gate_threshold_result count_entry(struct gate_shared *shared, struct entry *e,
					      const struct gate_threshold *th, uint16_t unique,
					      uint64_t now_us, bool fresh)
{
	switch (th->type) {
	case GATE_TH_LIMIT:
		count_window(e, th, now_us, fresh);
		return e->count <= th->count ? GATE_TH_ALERT : GATE_TH_QUIET;
	case GATE_TH_THRESHOLD:
		count_window(e, th, now_us, fresh);
		if (e->count < th->count) {
			return GATE_TH_NOT;
		}
		e->count = 0;
		return GATE_TH_ALERT;
	case GATE_TH_BOTH:
		return count_both(e, th, now_us, fresh);
	case GATE_TH_DETECTION:
		return count_filter(shared, e, th, unique, now_us, fresh);
	case GATE_TH_RATE:
		return count_rate(e, th, now_us, fresh);
	case GATE_TH_BACKOFF:
		return count_backoff(e, th, now_us, fresh);
	default:
		return GATE_TH_ALERT;
	}
}

enum gate_threshold_result gate_threshold_count(struct gate_shared *shared,
						const struct gate_key *key,
						const struct gate_threshold *th, uint16_t unique,
						uint64_t now_us)
{
	uint64_t hash = hash_key(shared, key);
	struct shard *s = lock_of(shared, hash);
	struct entry *e = find(shared, s, hash, key, now_us);
	enum gate_threshold_result result = GATE_TH_ALERT;
	bool fresh = !e;

	e = e ? e : add(shared, s, hash, key);
	if (e) {
		result = count_entry(shared, e, th, unique, now_us, fresh);
	}
	pthread_mutex_unlock(&s->lock);
	return result;
}

/* ---- tags of hosts ---- */

void gate_tag_host(struct gate_shared *shared, const struct gate_key *key, uint64_t now_us,
		   const struct gate_match *tag)
{
	uint64_t hash = hash_key(shared, key);
	struct shard *s = lock_of(shared, hash);
	struct entry *e = find(shared, s, hash, key, now_us);

	e = e ? e : add(shared, s, hash, key);
	if (e) {
		e->count = tag->tag.seconds ? UINT32_MAX : tag->tag.count;
		e->limit = tag->tag.packets; /* whether packets are counted, else bytes */
		e->until_us = tag->tag.seconds ? now_us + tag->tag.count * 1000000ull : FOR_EVER;
		shared->tagged = true;
	}
	pthread_mutex_unlock(&s->lock);
}

bool gate_tag_hosts(const struct gate_shared *shared)
{
	return atomic_load_explicit(&shared->tagged, memory_order_relaxed);
}

bool gate_tag_host_packet(struct gate_shared *shared, const struct gate_key *key, uint64_t now_us,
			  uint32_t size)
{
	uint64_t hash = hash_key(shared, key);
	struct shard *s = lock_of(shared, hash);
	struct entry *e = find(shared, s, hash, key, now_us);

	if (e && e->count != UINT32_MAX) {
		uint32_t less = e->limit ? 1 : size;

		e->count -= less < e->count ? less : e->count;
		e->until_us = e->count ? e->until_us : 0;
	}
	pthread_mutex_unlock(&s->lock);
	return e != NULL;
}
