/* SPDX-License-Identifier: Apache-2.0 */
/* See range.h. */
#include "gate/app/range.h"

#include "base/counter.h"
#include "base/util.h"
#include "gate/config.h"

#include <pthread.h>

#define BUCKETS	   256
#define FIRST_SIZE 4096u
#define SWEEP_US   1000000u

BH_COUNTER(gate_range_joined, "files that were joined of parts");
BH_COUNTER(gate_range_refused, "parts that were not joined: memcap, too many files or parts");
BH_COUNTER(gate_range_expired, "files of parts that were given up: the rest did not come in time");

/* Once ended it stands in its file's list, by `start`. */
struct gate_range_part {
	struct gate_ranges *ranges;
	struct gate_range_file *file;
	struct gate_range_part *next;
	uint64_t start, size, capacity, room; /* room: bytes it may have */
	uint8_t *data;
	bool bad;
};

struct gate_range_file {
	struct gate_ranges *ranges;
	struct gate_range_file *next;  /* in its bucket */
	struct gate_range_part *parts; /* by start */
	uint64_t total, last_us;
	uint32_t part_count, users; /* users: parts that have not ended */
	uint32_t key_size;
	uint8_t key[];
};

struct gate_ranges {
	pthread_mutex_t lock;
	uint64_t memcap, timeout_us;
	uint64_t memory, swept_us;
	uint32_t files;
	struct gate_range_file *buckets[BUCKETS];
};

struct gate_ranges *gate_ranges_new(const struct gate_config *config)
{
	struct gate_ranges *ranges = bh_alloc(sizeof(*ranges));

	pthread_mutex_init(&ranges->lock, NULL);
	ranges->memcap = config->range_memcap;
	ranges->timeout_us = config->range_timeout_s * 1000000u;
	return ranges;
}

/* ---- memory ---- */

static bool charge(struct gate_ranges *ranges, uint64_t size)
{
	if (ranges->memory + size > ranges->memcap) {
		return false;
	}
	ranges->memory += size;
	return true;
}

static void part_free(struct gate_range_part *part)
{
	part->ranges->memory -= sizeof(*part) + part->capacity;
	free(part->data);
	free(part);
}

/* With the lock; it is in no bucket. */
static void file_free(struct gate_range_file *file)
{
	struct gate_ranges *ranges = file->ranges;

	while (file->parts) {
		struct gate_range_part *part = file->parts;

		file->parts = part->next;
		part_free(part);
	}
	ranges->memory -= sizeof(*file) + file->key_size;
	ranges->files--;
	free(file);
}

void gate_range_file_free(struct gate_range_file *file)
{
	if (file) {
		struct gate_ranges *ranges = file->ranges;

		pthread_mutex_lock(&ranges->lock);
		file_free(file);
		pthread_mutex_unlock(&ranges->lock);
	}
}

void gate_ranges_free(struct gate_ranges *ranges)
{
	if (!ranges) {
		return;
	}
	for (unsigned int i = 0; i < BUCKETS; i++) {
		while (ranges->buckets[i]) {
			struct gate_range_file *file = ranges->buckets[i];

			ranges->buckets[i] = file->next;
			file_free(file);
		}
	}
	pthread_mutex_destroy(&ranges->lock);
	free(ranges);
}

/* ---- files ---- */

/* Who sends names that meet makes lists of GATE_RANGE_FILES_MAX at most. */
static unsigned int bucket_of(const struct gate_view *key)
{
	return (unsigned int)(bh_fnv1a(key->data, key->size) % BUCKETS);
}

static void expire(struct gate_ranges *ranges, struct gate_range_file **at, uint64_t now_us)
{
	while (*at) {
		struct gate_range_file *file = *at;

		if (file->users || file->last_us + ranges->timeout_us >= now_us) {
			at = &file->next;
			continue;
		}
		*at = file->next;
		file_free(file);
		bh_counter_add(&gate_range_expired, 1);
	}
}

static struct gate_range_file *file_of(struct gate_ranges *ranges, const struct gate_view *key,
				       uint64_t total, uint64_t now_us)
{
	struct gate_range_file **bucket = &ranges->buckets[bucket_of(key)], *file;

	expire(ranges, bucket, now_us);
	for (file = *bucket; file; file = file->next) {
		if (file->total == total && file->key_size == key->size &&
		    !memcmp(file->key, key->data, key->size)) {
			return file;
		}
	}
	bool full = ranges->files >= GATE_RANGE_FILES_MAX ||
		    ranges->memory + sizeof(*file) + key->size > ranges->memcap;
	/* at most once a second: the table may stay full of what is young */
	if (full && now_us >= ranges->swept_us + SWEEP_US) {
		ranges->swept_us = now_us;
		for (unsigned int i = 0; i < BUCKETS; i++) {
			expire(ranges, &ranges->buckets[i], now_us);
		}
	}
	if (ranges->files >= GATE_RANGE_FILES_MAX || !charge(ranges, sizeof(*file) + key->size)) {
		return NULL;
	}
	file = bh_alloc(sizeof(*file) + key->size);
	memcpy(file->key, key->data, key->size);
	file->key_size = key->size;
	file->ranges = ranges;
	file->total = total;
	file->last_us = now_us;
	file->next = *bucket;
	*bucket = file;
	ranges->files++;
	return file;
}

struct gate_range_part *gate_range_begin(struct gate_ranges *ranges, const struct gate_view *key,
					 const uint64_t span[2], uint64_t total, uint64_t now_us)
{
	struct gate_range_part *part = NULL;
	struct gate_range_file *file;

	if (!ranges || span[0] > span[1] || span[1] >= total || key->size > GATE_RANGE_KEY_MAX ||
	    (!span[0] && span[1] + 1 == total)) {
		return NULL;
	}
	pthread_mutex_lock(&ranges->lock);
	file = file_of(ranges, key, total, now_us);
	if (file && file->part_count + file->users < GATE_RANGE_PARTS_MAX &&
	    charge(ranges, sizeof(*part))) {
		part = bh_alloc(sizeof(*part));
		*part = (struct gate_range_part){.ranges = ranges,
						 .file = file,
						 .start = span[0],
						 .room = span[1] - span[0] + 1};
		file->users++;
	}
	pthread_mutex_unlock(&ranges->lock);
	bh_counter_add(&gate_range_refused, !part);
	return part;
}

static bool grow(struct gate_range_part *part, uint64_t need)
{
	uint64_t capacity = part->capacity ? part->capacity : FIRST_SIZE;
	uint8_t *data;
	bool may;

	while (capacity < need) {
		capacity *= 2;
	}
	capacity = capacity > part->room ? part->room : capacity;
	pthread_mutex_lock(&part->ranges->lock);
	may = charge(part->ranges, capacity - part->capacity);
	pthread_mutex_unlock(&part->ranges->lock);
	if (!may) {
		return false;
	}
	data = realloc(part->data, capacity);
	if (!data) {
		pthread_mutex_lock(&part->ranges->lock);
		part->ranges->memory -= capacity - part->capacity;
		pthread_mutex_unlock(&part->ranges->lock);
		return false;
	}
	part->data = data;
	part->capacity = capacity;
	return true;
}

bool gate_range_add(struct gate_range_part *part, const void *data, uint32_t size)
{
	if (part->bad) {
		return false;
	}
	/* more than was promised is none of it */
	if (size > part->room - part->size) {
		size = (uint32_t)(part->room - part->size);
	}
	if (part->size + size > part->capacity && !grow(part, part->size + size)) {
		part->bad = true;
		bh_counter_add(&gate_range_refused, 1);
		return false;
	}
	if (size) {
		memcpy(part->data + part->size, data, size);
		part->size += size;
	}
	return true;
}

/* Into the list, unless one that is there has all of it. */
static void insert(struct gate_range_file *file, struct gate_range_part *part)
{
	struct gate_range_part **at = &file->parts;

	while (*at && (*at)->start < part->start) {
		if ((*at)->start + (*at)->size >= part->start + part->size) {
			part_free(part);
			return;
		}
		at = &(*at)->next;
	}
	if (*at && (*at)->start == part->start && (*at)->size >= part->size) {
		part_free(part);
		return;
	}
	part->next = *at;
	*at = part;
	file->part_count++;
}

static bool is_whole(const struct gate_range_file *file)
{
	uint64_t have = 0;

	for (const struct gate_range_part *part = file->parts; part; part = part->next) {
		if (part->start > have) {
			return false;
		}
		have = part->start + part->size > have ? part->start + part->size : have;
	}
	return have == file->total;
}

static void unlink_file(struct gate_range_file *file)
{
	const struct gate_view key = {.data = file->key, .size = file->key_size};
	struct gate_range_file **at = &file->ranges->buckets[bucket_of(&key)];

	while (*at != file) {
		at = &(*at)->next;
	}
	*at = file->next;
	file->next = NULL;
}

struct gate_range_file *gate_range_end(struct gate_range_part *part, uint64_t now_us)
{
	struct gate_range_file *file = part->file;
	struct gate_ranges *ranges = part->ranges;

	pthread_mutex_lock(&ranges->lock);
	file->users--;
	file->last_us = now_us;
	if (part->bad || !part->size) {
		part_free(part);
	} else {
		insert(file, part);
	}
	/* while others bring parts of it, it stays: the last one finds it whole */
	if (!file->users && is_whole(file)) {
		unlink_file(file);
		bh_counter_add(&gate_range_joined, 1);
	} else {
		file = NULL;
	}
	pthread_mutex_unlock(&ranges->lock);
	return file;
}

void gate_range_file_walk(const struct gate_range_file *file, gate_range_fn *fn, void *arg)
{
	uint64_t have = 0;

	for (const struct gate_range_part *part = file->parts; part; part = part->next) {
		uint64_t end = part->start + part->size, skip = have - part->start;

		/* in pieces that a file takes */
		for (uint64_t at = skip; end > have && at < part->size; at += 1u << 16) {
			uint64_t left = part->size - at;

			fn(arg, part->data + at, left < 1u << 16 ? (uint32_t)left : 1u << 16);
		}
		have = end > have ? end : have;
	}
}
