/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of sessions: charged to the flow and to the worker, bounded, in one ring per session so
 * that nothing is lost with it. What comes back is kept by size for the next one, up to
 * GATE_POOL_KEPT_MAX of a worker: transactions come and go with every message, and the heap would
 * join, split and return the same pages to the kernel each time.
 */
#include "base/counter.h"
#include "base/poison.h"
#include "base/util.h"
#include "gate/app/session.h"
#include "gate/config.h"

#define SMALLEST     64u /* of a class; then four classes to each doubling */
#define SMALLEST_LOG 6
#define NO_CLASS     GATE_POOL_CLASSES

BH_COUNTER(gate_app_memory_refused, "parsers were refused memory: app-layer memcap of the worker");
BH_COUNTER(gate_app_session_refused, "parsers were refused memory: memcap of the flow");

/* ---- blocks by size ---- */

static unsigned int class_of(size_t size)
{
	unsigned int shift, class;

	if (size <= SMALLEST) {
		return 0;
	}
	shift = 61u - (unsigned int)__builtin_clzl(size - 1);
	class = (shift - SMALLEST_LOG + 2) * 4 + (unsigned int)((size - 1) >> shift) - 3;
	return class < GATE_POOL_CLASSES ? class : NO_CLASS;
}

static size_t class_size(unsigned int class)
{
	return class ? (size_t)((class - 1) % 4 + 5) << ((class - 1) / 4 + SMALLEST_LOG - 2)
		     : SMALLEST;
}

/* size: with the chunk's head. Not zeroed. */
static struct gate_chunk *block_get(struct gate_apps *apps, size_t size)
{
	unsigned int class = class_of(size);
	size_t room = class == NO_CLASS ? size : class_size(class);
	struct gate_chunk *chunk = class == NO_CLASS ? NULL : apps->pool.free[class];

	if (chunk) {
		BH_UNPOISON(chunk, room);
		apps->pool.free[class] = chunk->next;
		apps->pool.kept -= room;
	} else {
		chunk = malloc(room);
		if (!chunk) {
			return NULL;
		}
		chunk->class = class;
	}
	BH_POISON((char *)chunk + size, room - size);
	return chunk;
}

static void block_put(struct gate_apps *apps, struct gate_chunk *chunk)
{
	unsigned int class = chunk->class;
	size_t room = class == NO_CLASS ? 0 : class_size(class);

	if (class == NO_CLASS || apps->pool.kept + room > GATE_POOL_KEPT_MAX) {
		BH_UNPOISON(chunk, room);
		free(chunk);
		return;
	}
	chunk->next = apps->pool.free[class];
	apps->pool.free[class] = chunk;
	apps->pool.kept += room;
	BH_POISON(chunk, room);
}

void gate_pool_done(struct gate_apps *apps)
{
	for (unsigned int class = 0; class < GATE_POOL_CLASSES; class ++) {
		struct gate_chunk *next;

		for (struct gate_chunk *chunk = apps->pool.free[class]; chunk; chunk = next) {
			BH_UNPOISON(chunk, class_size(class));
			next = chunk->next;
			free(chunk);
		}
		apps->pool.free[class] = NULL;
	}
	apps->pool.kept = 0;
}

/* ---- who pays ---- */

static bool may_use(struct gate_session *session, size_t size)
{
	struct gate_apps *apps = session->apps;
	const struct gate_config *config = apps->config;

	if (config->session_memcap && session->used + size > config->session_memcap) {
		apps->stats.session_refused++;
		bh_counter_add(&gate_app_session_refused, 1);
		return false;
	}
	if (config->app_memcap && apps->stats.memory + size > config->app_memcap) {
		apps->stats.memory_refused++;
		bh_counter_add(&gate_app_memory_refused, 1);
		return false;
	}
	return true;
}

static void charge(struct gate_session *session, size_t size)
{
	session->used += size;
	session->apps->stats.memory += size;
}

static void uncharge(struct gate_session *session, size_t size)
{
	session->used -= size;
	session->apps->stats.memory -= size;
}

static void chunk_link(struct gate_session *session, struct gate_chunk *chunk)
{
	chunk->prev = session->chunks.prev;
	chunk->next = &session->chunks;
	chunk->prev->next = chunk;
	chunk->next->prev = chunk;
}

static void chunk_unlink(struct gate_chunk *chunk)
{
	chunk->prev->next = chunk->next;
	chunk->next->prev = chunk->prev;
}

/* ---- for parsers ---- */

void *gate_session_alloc_raw(struct gate_session *session, size_t size)
{
	struct gate_chunk *chunk;

	if (!may_use(session, size)) {
		return NULL;
	}
	chunk = block_get(session->apps, sizeof(*chunk) + size);
	if (!chunk) {
		return NULL;
	}
	charge(session, size);
	chunk_link(session, chunk);
	return chunk + 1;
}

void *gate_session_alloc(struct gate_session *session, size_t size)
{
	void *p = gate_session_alloc_raw(session, size);

	return p ? memset(p, 0, size) : NULL;
}

void *gate_session_grow_raw(struct gate_session *session, void *old, size_t old_size, size_t size)
{
	struct gate_chunk *chunk, *grown;

	if (!old) {
		return gate_session_alloc_raw(session, size);
	}
	if (size > old_size && !may_use(session, size - old_size)) {
		return NULL;
	}
	chunk = (struct gate_chunk *)old - 1;
	grown = block_get(session->apps, sizeof(*chunk) + size);
	if (!grown) {
		return NULL;
	}
	memcpy(grown + 1, old, size < old_size ? size : old_size);
	chunk_unlink(chunk);
	block_put(session->apps, chunk);
	chunk_link(session, grown);
	uncharge(session, old_size);
	charge(session, size);
	return grown + 1;
}

void *gate_session_grow(struct gate_session *session, void *old, size_t old_size, size_t size)
{
	char *p = gate_session_grow_raw(session, old, old ? old_size : 0, size);
	size_t from = old ? old_size : 0;

	if (p && size > from) {
		memset(p + from, 0, size - from);
	}
	return p;
}

void gate_session_release(struct gate_session *session, void *p, size_t size)
{
	struct gate_chunk *chunk;

	if (!p) {
		return;
	}
	chunk = (struct gate_chunk *)p - 1;
	chunk_unlink(chunk);
	uncharge(session, size);
	block_put(session->apps, chunk);
}

/* ---- sessions themselves ---- */

struct gate_session *gate_session_new(struct gate_apps *apps, struct gate_flow *flow)
{
	struct gate_chunk *chunk = block_get(apps, sizeof(*chunk) + sizeof(struct gate_session));
	struct gate_session *session;

	if (!chunk) {
		return NULL;
	}
	session = memset(chunk + 1, 0, sizeof(*session));
	session->apps = apps;
	session->flow = flow;
	session->chunks.prev = session->chunks.next = &session->chunks;
	apps->stats.memory += sizeof(*session);
	return session;
}

void gate_session_delete(struct gate_session *session)
{
	struct gate_apps *apps = session->apps;

	while (session->chunks.next != &session->chunks) {
		struct gate_chunk *chunk = session->chunks.next;

		chunk_unlink(chunk);
		block_put(apps, chunk);
	}
	apps->stats.memory -= session->used + sizeof(*session);
	block_put(apps, (struct gate_chunk *)(void *)session - 1);
}
