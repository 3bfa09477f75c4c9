/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer that takes a worker: recorded flows are read and judged on copies (change/world.h)
 * while the loop goes on. The job outlives a request that ends before it, and is told to stop then.
 */
#ifndef BH_MANAGER_API_JOB_H
#define BH_MANAGER_API_JOB_H

#include "manager/api/request.h"
#include "manager/change/world.h"

#include <stdatomic.h>

#define API_JOBS_MAX 4	   /* at a time */
#define API_JOB_MS   20000 /* of reading */

struct manager_job_how {
	struct manager_world *world; /* taken over */
	/* In the worker; what it returns < 0 becomes the answer's error. */
	int (*run)(struct manager_world *world, const atomic_bool *cancel, void *arg,
		   json_t **ret_json, struct bh_diag *diag);
	/* On the loop: answers; json is the callee's. */
	void (*done)(struct manager_request *req, json_t *json, void *arg);
	void *arg; /* of both */
	void (*arg_free)(void *arg);
};
/* Too many are under way: it was answered with 503. */
bool manager_job_busy(struct manager_request *req);
/* Runs it, and answers. */
void manager_job_start(struct manager_request *req, const struct manager_job_how *how);

#endif
