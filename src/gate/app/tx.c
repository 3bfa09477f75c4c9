/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions of a session, from gate_tx_new to gate_apps_sweep.
 *
 * News: who holds a thousand of them open must not make every packet look at a thousand. Whatever
 * changes a transaction puts it on a list for each of its readers (detection by side, records,
 * the sweep), which take it off when they have looked. Here and in file.c this is done by itself;
 * a parser that writes into a transaction that is not the youngest, and calls neither
 * gate_tx_progress nor any other of these, says gate_tx_news.
 *
 * Keys: a protocol's own numbers (streams, calls) find their transaction in a table whose hash has
 * a seed, so that nobody can choose numbers that share a bucket.
 */
#include "base/counter.h"
#include "base/util.h"
#include "gate/app/session.h"
#include "gate/config.h"

#include <utlist.h>

#define KEY_BUCKETS_MIN 16u
#define KEY_LOOKS_MAX	32u /* transactions of one key that are looked at, youngest first */

BH_COUNTER(gate_app_txs_forced, "transactions completed by force: too many open");
BH_COUNTER(gate_app_txs_refused, "transactions refused: four times too many open at once");

static bool is_done(const struct gate_tx *tx)
{
	return (tx->done_dirs | tx->skip_dirs) == GATE_BOTH_DIRS;
}

/* ---- news ---- */

static void news_put(struct gate_session *session, struct gate_tx *tx, enum gate_reader reader)
{
	struct gate_news *news = &session->news[reader];
	if (tx->news & (1u << reader)) {
		return;
	}
	tx->news |= (uint8_t)(1u << reader);
	tx->links[reader] = (struct gate_news_link){.prev = news->last};
	if (news->last) {
		news->mixed = news->mixed || news->last->id > tx->id;
		news->last->links[reader].next = tx;
	} else {
		news->first = tx;
	}
	news->last = tx;
	news->count++;
}

void gate_news_read(struct gate_session *session, struct gate_tx *tx, enum gate_reader reader)
{
	struct gate_news *news = &session->news[reader];
	struct gate_news_link *link = &tx->links[reader];
	if (!(tx->news & (1u << reader))) {
		return;
	}
	tx->news &= (uint8_t) ~(1u << reader);
	*(link->prev ? &link->prev->links[reader].next : &news->first) = link->next;
	*(link->next ? &link->next->links[reader].prev : &news->last) = link->prev;
	news->mixed = news->mixed && news->first;
	news->count--;
}

void gate_tx_news(struct gate_session *session, struct gate_tx *tx)
{
	for (unsigned int reader = 0; tx->news != GATE_READ_ALL && reader < GATE_READERS;
	     reader++) {
		news_put(session, tx, (enum gate_reader)reader);
	}
}

void gate_session_news(struct gate_session *session)
{
	if (session->last) {
		gate_tx_news(session, session->last);
	}
}

void gate_news_again(struct gate_session *session, enum gate_reader reader)
{
	for (struct gate_tx *tx = session->first; tx; tx = tx->next) {
		news_put(session, tx, reader);
	}
}

static int by_id(const struct gate_tx *a, const struct gate_tx *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

static void sort(struct gate_news *news, enum gate_reader reader)
{
	struct gate_tx *prev = NULL;

	LL_SORT2(news->first, by_id, links[reader].next);
	for (struct gate_tx *tx = news->first; tx; tx = tx->links[reader].next) {
		tx->links[reader].prev = prev;
		prev = tx;
	}
	news->last = prev;
	news->mixed = false;
}

struct gate_tx *gate_news_first(struct gate_session *session, enum gate_reader reader)
{
	struct gate_news *news = &session->news[reader];
	if (news->mixed) {
		sort(news, reader);
	}
	return news->first;
}

bool gate_news_is_of_all(const struct gate_session *session, enum gate_reader reader)
{
	return session->news[reader].count == session->tx_count;
}

/* ---- keys ---- */

static uint32_t bucket_of(const struct gate_session *session, uint64_t key)
{
	uint64_t h = (key ^ session->apps->seed) * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 32 ^ session->apps->seed) * 0xd6e8feb86659fd93u;
	return (uint32_t)(h >> 32) & (session->bucket_count - 1);
}

static void key_link(struct gate_session *session, struct gate_tx *tx)
{
	struct gate_tx **bucket = &session->by_key[bucket_of(session, tx->key)];
	tx->key_next = *bucket;
	*bucket = tx;
}

static void keys_grow(struct gate_session *session)
{
	uint32_t count = session->bucket_count ? session->bucket_count * 4 : KEY_BUCKETS_MIN;
	struct gate_tx **buckets = gate_session_alloc(session, count * sizeof(struct gate_tx *));
	if (!buckets) {
		return;
	}
	gate_session_release(session, session->by_key,
			     session->bucket_count * sizeof(struct gate_tx *));
	session->by_key = buckets;
	session->bucket_count = count;
	for (struct gate_tx *tx = session->first; tx; tx = tx->next) {
		if (tx->keyed) {
			key_link(session, tx);
		}
	}
}

void gate_tx_key(struct gate_session *session, struct gate_tx *tx, uint64_t key)
{
	if (session->tx_count > session->bucket_count) {
		keys_grow(session);
	}
	tx->key = key;
	tx->keyed = session->bucket_count > 0;
	if (tx->keyed) {
		key_link(session, tx);
	}
}

static void key_unlink(struct gate_session *session, struct gate_tx *tx)
{
	struct gate_tx **at = &session->by_key[bucket_of(session, tx->key)];
	while (*at != tx) {
		at = &(*at)->key_next;
	}
	*at = tx->key_next;
}

struct gate_tx *gate_tx_by_key(struct gate_session *session, uint64_t key, gate_tx_is_fn *is,
			       const void *arg)
{
	unsigned int left = KEY_LOOKS_MAX;
	struct gate_tx *tx =
		session->bucket_count ? session->by_key[bucket_of(session, key)] : NULL;
	for (; tx && left; tx = tx->key_next) {
		if (tx->key != key) {
			continue;
		}
		left--;
		if (!is || is(tx, arg)) {
			gate_tx_news(session, tx);
			return tx;
		}
	}
	return NULL;
}

/* ---- the life of one ---- */

static uint8_t last_state(const struct gate_session *session, enum gate_dir dir)
{
	uint8_t n = 0;
	const char *const *states = session->ops ? session->ops->states[dir] : NULL;
	while (states && states[n] && n < UINT8_MAX) {
		n++;
	}
	return n ? (uint8_t)(n - 1) : 1;
}

static void force_oldest(struct gate_session *session)
{
	struct gate_tx *tx = session->oldest ? session->oldest : session->first;
	while (tx && tx->done_dirs == GATE_BOTH_DIRS) {
		tx = tx->next;
	}
	session->oldest = tx;
	if (!tx) {
		return;
	}
	if (session->ops && session->ops->too_many) {
		gate_tx_event(session, tx, session->ops->too_many - 1);
	}
	gate_tx_done(session, tx, GATE_TO_SERVER);
	gate_tx_done(session, tx, GATE_TO_CLIENT);
	session->apps->stats.txs_forced++;
	bh_counter_add(&gate_app_txs_forced, 1);
}

struct gate_tx *gate_tx_new(struct gate_session *session, size_t size)
{
	uint64_t max = session->apps->config->tx_max ? session->apps->config->tx_max : GATE_TXS_MAX;
	if (session->tx_count >= 4 * max) {
		session->apps->stats.txs_refused++;
		bh_counter_add(&gate_app_txs_refused, 1);
		return NULL;
	}
	if (session->tx_count - session->done_count >= max) {
		force_oldest(session);
	}
	struct gate_tx *tx = gate_session_alloc(session, size);
	if (!tx) {
		return NULL;
	}
	tx->size = (uint32_t)size;
	tx->id = session->next_id++;
	tx->first_us = tx->last_us = session->time_us;
	tx->prev = session->last;
	if (session->last) {
		session->last->next = tx;
	} else {
		session->first = tx;
	}
	session->last = tx;
	session->tx_count++;
	if (session->ops) {
		session->apps->stats.txs[gate_session_stat(session, session->ops->app)]++;
	}
	gate_tx_news(session, tx);
	return tx;
}

void gate_tx_event(struct gate_session *session, struct gate_tx *tx, uint16_t event)
{
	for (uint8_t i = 0; i < tx->event_count; i++) {
		if (tx->events[i] == event) {
			return;
		}
	}
	if (tx->event_count < GATE_TX_EVENTS_MAX) {
		tx->events[tx->event_count++] = event;
		gate_tx_news(session, tx);
	}
}

void gate_tx_progress(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir,
		      uint8_t progress)
{
	tx->last_us = session->time_us;
	if (progress > tx->progress[dir]) {
		tx->progress[dir] = progress;
	}
	gate_tx_news(session, tx);
}

void gate_tx_done(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir)
{
	if (tx->done_dirs & GATE_DIR_BIT(dir)) {
		return;
	}
	bool was = is_done(tx);
	tx->done_dirs |= (uint8_t)GATE_DIR_BIT(dir);
	gate_tx_progress(session, tx, dir, last_state(session, dir));
	gate_files_finish(session, tx, dir);
	if (!was && is_done(tx)) {
		session->done_count++;
	}
}

void gate_tx_inspected(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir)
{
	tx->inspected_dirs |= (uint8_t)GATE_DIR_BIT(dir);
	news_put(session, tx, GATE_READ_SWEEP);
}

void gate_tx_logged(struct gate_session *session, struct gate_tx *tx)
{
	tx->logged = true;
	news_put(session, tx, GATE_READ_SWEEP);
}

void gate_session_finish(struct gate_session *session, enum gate_dir dir)
{
	for (struct gate_tx *tx = session->first; tx; tx = tx->next) {
		gate_tx_done(session, tx, dir);
	}
}

static void tx_remove(struct gate_session *session, struct gate_tx *tx)
{
	if (session->oldest == tx) {
		session->oldest = tx->next;
	}
	if (tx->prev) {
		tx->prev->next = tx->next;
	} else {
		session->first = tx->next;
	}
	if (tx->next) {
		tx->next->prev = tx->prev;
	} else {
		session->last = tx->prev;
	}
	session->tx_count--;
	if (is_done(tx) && session->done_count) {
		session->done_count--;
	}
	if (tx->keyed) {
		key_unlink(session, tx);
	}
	if (session->ops && session->ops->tx_free) {
		session->ops->tx_free(session, tx);
	}
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		gate_files_free(session, &tx->files[dir]);
	}
	if (tx->detect && session->apps->tx_free) {
		session->apps->tx_free(tx->detect);
	}
	/* last: what is closed above is news */
	for (unsigned int reader = 0; reader < GATE_READERS; reader++) {
		gate_news_read(session, tx, (enum gate_reader)reader);
	}
	gate_session_release(session, tx, tx->size);
}

void gate_txs_free(struct gate_session *session)
{
	while (session->first) {
		tx_remove(session, session->first);
	}
	session->done_count = 0;
}

void gate_apps_sweep(struct gate_apps *apps, struct gate_flow *flow, bool inspected)
{
	struct gate_session *session = flow->session;
	struct gate_tx *next = NULL;
	if (!session) {
		return;
	}
	for (struct gate_tx *tx = gate_news_first(session, GATE_READ_SWEEP); tx; tx = next) {
		next = gate_news_next(tx, GATE_READ_SWEEP);
		bool over = (tx->done_dirs | tx->skip_dirs | session->eof_dirs) == GATE_BOTH_DIRS;
		bool logged = tx->logged || apps->no_log || !session->ops || !session->ops->log;
		bool seen = !inspected || (tx->inspected_dirs | tx->skip_dirs) == GATE_BOTH_DIRS;
		if (over && logged && seen) {
			tx_remove(session, tx);
		} else {
			gate_news_read(session, tx, GATE_READ_SWEEP);
		}
	}
}

struct gate_tx *gate_session_first(const struct gate_session *session)
{
	return session->first;
}

struct gate_tx *gate_session_last(const struct gate_session *session)
{
	return session->last;
}

uint32_t gate_session_count(const struct gate_session *session)
{
	return session->tx_count;
}
