/* SPDX-License-Identifier: Apache-2.0 */
/* See regexes.h. */
#include "gate/detect/regexes.h"

#include "gate/hash.h"

#include <pthread.h>

#define BUCKETS 8192

struct gate_regex_entry {
	struct gate_regex_entry *next;
	struct gate_regex *regex;
	uint32_t refs, options, hash;
	char pattern[];
};

struct gate_regexes {
	pthread_mutex_t lock;
	struct gate_hash_key key;
	uint64_t memcap, used;
	struct gate_regex_entry *buckets[BUCKETS];
};

struct gate_regexes *gate_regexes_new(uint64_t memcap)
{
	struct gate_regexes *all = bh_alloc(sizeof(*all));

	gate_hash_key_make(&all->key);
	all->memcap = memcap;
	pthread_mutex_init(&all->lock, NULL);
	return all;
}

void gate_regexes_free(struct gate_regexes *all)
{
	if (all) {
		pthread_mutex_destroy(&all->lock);
		free(all);
	}
}

/* Compiled outside of the lock: sets are built one at a time, workers only let go. */
static struct gate_regex_entry *make(const char *pattern, uint32_t options, uint32_t hash,
				     struct bh_diag *diag)
{
	struct gate_regex *regex = gate_regex_new(pattern, options, diag);
	size_t size = strlen(pattern) + 1;
	struct gate_regex_entry *e;

	if (!regex) {
		return NULL;
	}
	e = bh_alloc(sizeof(*e) + size);
	e->regex = regex;
	e->refs = 1;
	e->options = options;
	e->hash = hash;
	memcpy(e->pattern, pattern, size);
	return e;
}

static uint64_t bytes_of(const struct gate_regex_entry *e)
{
	return gate_regex_bytes(e->regex) + sizeof(*e) + strlen(e->pattern) + 1;
}

/* False: there is no room for it. */
static bool keep(struct gate_regexes *all, struct gate_regex_entry *e,
		 struct gate_regex_entry **bucket)
{
	uint64_t bytes = bytes_of(e);
	bool room;

	pthread_mutex_lock(&all->lock);
	room = !all->memcap || all->used + bytes <= all->memcap;
	if (room) {
		all->used += bytes;
		e->next = *bucket;
		*bucket = e;
	}
	pthread_mutex_unlock(&all->lock);
	return room;
}

struct gate_regex_entry *gate_regexes_take(struct gate_regexes *all, const char *pattern,
					   uint32_t options, bool *ret_created,
					   struct bh_diag *diag)
{
	uint32_t hash = (uint32_t)gate_hash(&all->key, pattern, strlen(pattern));
	struct gate_regex_entry **bucket = &all->buckets[hash % BUCKETS], *e;

	*ret_created = false;
	pthread_mutex_lock(&all->lock);
	for (e = *bucket; e; e = e->next) {
		if (e->hash == hash && e->options == options && !strcmp(e->pattern, pattern)) {
			e->refs++;
			break;
		}
	}
	pthread_mutex_unlock(&all->lock);
	if (e) {
		return e;
	}
	e = make(pattern, options, hash, diag);
	if (e && !keep(all, e, bucket)) {
		bh_diag_put(diag, NULL, 0, 0,
			    "the expressions of all rules take more than pcre.memcap (%llu bytes)",
			    (unsigned long long)all->memcap);
		gate_regex_free(e->regex);
		free(e);
		return NULL;
	}
	*ret_created = e != NULL;
	return e;
}

void gate_regexes_release(struct gate_regexes *all, struct gate_regex_entry *entry)
{
	struct gate_regex_entry **p = &all->buckets[entry->hash % BUCKETS];
	bool last;

	pthread_mutex_lock(&all->lock);
	last = --entry->refs == 0;
	if (last) {
		for (; *p != entry; p = &(*p)->next) {
		}
		*p = entry->next;
		all->used -= bytes_of(entry);
	}
	pthread_mutex_unlock(&all->lock);
	if (last) {
		gate_regex_free(entry->regex);
		free(entry);
	}
}

struct gate_regex *gate_regex_of(const struct gate_regex_entry *entry)
{
	return entry->regex;
}
