/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to channels: the thread of one. What others read of it is under `lock`. */
#ifndef BH_MANAGER_EVENTS_CHANNEL_RUN_H
#define BH_MANAGER_EVENTS_CHANNEL_RUN_H

#include "manager/events/channels.h"

#include <pthread.h>

#define MANAGER_CHANNELS_SCHEMA 1
extern const char *const manager_channels_migrations[MANAGER_CHANNELS_SCHEMA];

/* What a thread and the loop share; under `lock`. */
struct channel_report {
	uint64_t cursor, delivered, gave_up, retries, queued_from;
	uint64_t last_delivery_ns, next_try_ns; /* wall clock; 0 none */
	char last_error[BH_DIAG_TEXT_SIZE];
};

/* One run of a channel with one version of its settings: a change makes a new one. */
struct channel_run {
	struct manager_channel_settings settings;
	char *db_path, *events_path;
	char instance[17];
	char hostname[256];
	unsigned int retry_first_ms;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	atomic_bool stop, ended;
	bool poked;
	uint64_t last; /* the newest event */
	struct channel_report report;
	/* The thread's own: */
	struct manager_db *db;
	struct manager_reader *reader;
	struct manager_transport transport;
	struct manager_query query;
	struct bh_wbuf batch, text;
	uint64_t batch_first, batch_last;
	uint32_t batch_count;
	struct {
		bool there;
		uint64_t cursor, delivered, gave_up;
	} unkept; /* a batch was sent, and the cursor behind it could not be kept */
	unsigned int retry_ms, refusals;
	struct channel_run *prev, *next; /* of those that were told to stop */
};

/* Starts the thread; what is not the thread's own is filled. */
[[nodiscard]] int manager_channel_start(struct channel_run *run, struct bh_diag *diag);
/* Tells the thread to end; does not wait. */
void manager_channel_stop(struct channel_run *run);
/* There are events up to `last`; now: it tries again at once. */
void manager_channel_wake(struct channel_run *run, uint64_t last, bool now);
/* Waits for the thread, which was told to stop. */
void manager_channel_free(struct channel_run *run);

#endif
