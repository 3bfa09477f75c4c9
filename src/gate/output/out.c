/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue between workers and the thread that writes. Two buffers: workers append to one, the
 * thread writes the other, then they change places. Workers hand over many lines at once (eve.c),
 * so the lock is taken some hundred times a second and never held for longer than a copy.
 */
#include "gate/output/output.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/util.h"
#include "gate/config.h"

#include <pthread.h>
#include <stdatomic.h>

BH_COUNTER(gate_eve_no_room, "records that were lost because their queue was full");
BH_COUNTER(gate_eve_not_written, "records that could not be written");

struct lines {
	char *data;
	size_t size;
};

struct gate_out {
	struct gate_out_sink *sink;
	struct bh_prog_counter *no_room, *not_written;
	size_t capacity;
	bool patient;
	_Atomic uint64_t unsaid; /* lost in the queue, not told to the sink yet */
	uint64_t failed;	 /* lines since writing began to fail; 0: it does not */

	pthread_mutex_t lock;
	pthread_cond_t wake, room;
	struct lines fill, drain;
	bool stop, reopen, writing;
	pthread_t thread;
};

static uint64_t count_lines(const char *lines, size_t size)
{
	uint64_t count = 0;

	for (const char *end; (end = memchr(lines, '\n', size)); count++) {
		size -= (size_t)(end + 1 - lines);
		lines = end + 1;
	}
	return count;
}

static void tell_lost(struct gate_out *out, uint64_t count)
{
	if (out->sink->lost && count) {
		out->sink->lost(out->sink, count);
	}
}

/* Trouble is told when it begins and when it ends. */
static void write_out(struct gate_out *out)
{
	struct gate_out_sink *sink = out->sink;
	uint64_t lost;
	int err;

	tell_lost(out, atomic_exchange(&out->unsaid, 0));
	sink->done = 0;
	err = sink->write(sink, out->drain.data, out->drain.size);
	if (err) {
		lost = count_lines(out->drain.data + sink->done, out->drain.size - sink->done);
		bh_counter_add(out->not_written, lost);
		tell_lost(out, lost);
		if (!out->failed) {
			bh_log(BH_LOG_ERROR, "eve", "records can't be written: %s", strerror(-err));
		}
		out->failed += lost;
	} else if (out->failed) {
		bh_log(BH_LOG_WARN, "eve", "records are written again; %llu were lost",
		       (unsigned long long)out->failed);
		out->failed = 0;
	}
	out->drain.size = 0;
}

static void *run(void *arg)
{
	struct gate_out *out = arg;

	pthread_mutex_lock(&out->lock);
	for (;;) {
		struct lines full = out->fill;
		bool reopen = out->reopen;

		if (!full.size && !reopen) {
			if (out->stop) {
				break;
			}
			pthread_cond_wait(&out->wake, &out->lock);
			continue;
		}
		out->fill = out->drain;
		out->drain = full;
		out->reopen = false;
		out->writing = true;
		pthread_mutex_unlock(&out->lock);
		if (full.size) {
			write_out(out);
		}
		if (reopen) {
			out->sink->reopen(out->sink);
		}
		pthread_mutex_lock(&out->lock);
		out->writing = false;
		pthread_cond_broadcast(&out->room);
	}
	pthread_mutex_unlock(&out->lock);
	return NULL;
}

struct gate_out *gate_out_new(const struct gate_config *config, struct gate_out_sink *sink)
{
	struct gate_out *out = bh_alloc(sizeof(*out));

	out->sink = sink;
	out->no_room = sink->no_room ? sink->no_room : &gate_eve_no_room;
	out->not_written = sink->not_written ? sink->not_written : &gate_eve_not_written;
	out->capacity = (sink->queue ? sink->queue : config->eve_queue) / 2;
	out->fill.data = bh_alloc(out->capacity);
	out->drain.data = bh_alloc(out->capacity);
	pthread_mutex_init(&out->lock, NULL);
	pthread_cond_init(&out->wake, NULL);
	pthread_cond_init(&out->room, NULL);
	if (pthread_create(&out->thread, NULL, run, out)) {
		abort();
	}
	return out;
}

void gate_out_free(struct gate_out *out)
{
	if (!out) {
		return;
	}
	pthread_mutex_lock(&out->lock);
	out->stop = true;
	pthread_cond_signal(&out->wake);
	pthread_mutex_unlock(&out->lock);
	pthread_join(out->thread, NULL);
	out->sink->free(out->sink);
	pthread_cond_destroy(&out->room);
	pthread_cond_destroy(&out->wake);
	pthread_mutex_destroy(&out->lock);
	free(out->fill.data);
	free(out->drain.data);
	free(out);
}

void gate_out_patient(struct gate_out *out)
{
	out->patient = true;
}

bool gate_out_put(struct gate_out *out, const char *lines, size_t size)
{
	bool fits;

	pthread_mutex_lock(&out->lock);
	while (out->patient && size <= out->capacity && size > out->capacity - out->fill.size) {
		pthread_cond_wait(&out->room, &out->lock);
	}
	fits = size <= out->capacity - out->fill.size;
	if (fits) {
		memcpy(out->fill.data + out->fill.size, lines, size);
		out->fill.size += size;
		pthread_cond_signal(&out->wake);
	}
	pthread_mutex_unlock(&out->lock);
	if (!fits) {
		uint64_t lost = count_lines(lines, size);

		bh_counter_add(out->no_room, lost);
		atomic_fetch_add(&out->unsaid, lost);
	}
	return fits;
}

void gate_out_flush(struct gate_out *out)
{
	pthread_mutex_lock(&out->lock);
	while (out->fill.size || out->writing) {
		pthread_cond_signal(&out->wake);
		pthread_cond_wait(&out->room, &out->lock);
	}
	pthread_mutex_unlock(&out->lock);
}

void gate_out_reopen(struct gate_out *out)
{
	pthread_mutex_lock(&out->lock);
	out->reopen = true;
	pthread_cond_signal(&out->wake);
	pthread_mutex_unlock(&out->lock);
}
