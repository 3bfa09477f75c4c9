/* SPDX-License-Identifier: Apache-2.0 */
/* Between the threads of acts (acts.c) and what each of them does (acts_run.c). */
#ifndef BH_HOST_PLATFORM_ACTS_INTERNAL_H
#define BH_HOST_PLATFORM_ACTS_INTERNAL_H

#include "host/platform/acts.h"

#include <libvirt/libvirt.h>
#include <pthread.h>

struct hostd_acting {
	struct hostd_actor *actor;
	struct hostd_act what;
	hostd_act_fn *fn;
	void *arg;
	const char *uri;
	uint64_t until_ns; /* monotonic */
	virConnectPtr conn;
	virDomainPtr domain;
	struct hostd_act_end end; /* the thread's until it is over */
	struct hostd_acting *prev, *next;

	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t cond;
	bool over, cancel, late;
	int percent;
};

/* Does it, on its thread, with conn and domain open. 0, or -1 with a->end.error. */
[[nodiscard]] int hostd_act_run(struct hostd_acting *a);
/* text, or libvirt's reason when NULL. Returns -1. */
int hostd_act_failed(struct hostd_acting *a, const char *text);

#endif
