/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostd's intake of events with its producer and spool, in a thread with a loop of its own, for
 * tests of who hands in events. `*state` of cmocka is the host.
 */
#ifndef TESTS_INTAKE_WORLD_H
#define TESTS_INTAKE_WORLD_H

#include "host/agent/intake.h"
#include "model/event.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define INTAKE_HOST "h1"

struct host {
	char *folder, *spool, *socket;
	uint64_t max_bytes;
	const char *users[1]; /* who else may; NULL: nobody */
	uv_loop_t loop;
	uv_async_t stop;
	struct bh_producer *producer;
	struct hostd_intake *intake;
	pthread_t thread;
};

int intake_world_setup(void **state);
int intake_world_teardown(void **state);
void host_start(struct host *host);
void host_stop(struct host *host);
/* Everything that is in the spool, read as the manager reads it; the events point into the text,
 * which is owned. */
size_t host_events(const struct host *host, struct bh_event *ret, size_t max, char **ret_text);

#endif
