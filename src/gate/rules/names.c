/* SPDX-License-Identifier: Apache-2.0 */
/* Names that rules share and their numbers, which stay through reloads. Append only; a lock, since
 * a reload reads while workers ask for texts. */
#include "gate/hash.h"
#include "gate/rules/reading.h"

#include <pthread.h>

struct name {
	char *text;
	uint32_t next; /* index + 1 in its bucket */
};

#define BUCKETS 4096u

struct gate_names {
	pthread_mutex_t lock;
	struct gate_hash_key key;
	uint32_t buckets[BUCKETS];
	BH_VEC(struct name *) all;
	struct gate_shared_pool pool;
};

struct gate_names *gate_names_new(void)
{
	struct gate_names *names = bh_alloc(sizeof(*names));

	gate_hash_key_make(&names->key);
	pthread_mutex_init(&names->lock, NULL);
	pthread_mutex_init(&names->pool.lock, NULL);
	return names;
}

void gate_names_free(struct gate_names *names)
{
	if (!names) {
		return;
	}
	bh_vec_foreach (n, &names->all) {
		free((*n)->text);
		free(*n);
	}
	bh_vec_done(&names->all);
	bh_vec_done(&names->pool.all);
	pthread_mutex_destroy(&names->pool.lock);
	pthread_mutex_destroy(&names->lock);
	free(names);
}

struct gate_shared_pool *gate_names_pool(struct gate_names *names)
{
	return &names->pool;
}

uint32_t gate_names_number(struct gate_names *names, const char *name)
{
	uint64_t hash = gate_hash(&names->key, name, strlen(name));
	uint32_t *bucket = &names->buckets[hash % BUCKETS], at;
	struct name *new;

	pthread_mutex_lock(&names->lock);
	for (at = *bucket; at; at = names->all.items[at - 1]->next) {
		if (!strcmp(names->all.items[at - 1]->text, name)) {
			break;
		}
	}
	if (!at) {
		new = bh_alloc(sizeof(*new));
		new->text = bh_strdup(name);
		new->next = *bucket;
		*bh_vec_push(&names->all) = new;
		at = *bucket = (uint32_t)names->all.count;
	}
	pthread_mutex_unlock(&names->lock);
	return at - 1;
}

const char *gate_names_text(struct gate_names *names, uint32_t number)
{
	const char *text;

	pthread_mutex_lock(&names->lock);
	text = number < names->all.count ? names->all.items[number]->text : NULL;
	pthread_mutex_unlock(&names->lock);
	return text;
}
