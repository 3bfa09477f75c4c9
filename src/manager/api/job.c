/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/job.h"

#include "base/counter.h"

#include <errno.h>

BH_COUNTER(api_jobs_busy, "answers refused because too many workers were at it");

struct job {
	uv_work_t work;
	struct manager_request *req; /* NULL: nobody waits any more */
	struct manager_change *change;
	struct manager_job_how how;
	atomic_bool cancel;
	json_t *json;
	int r;
	struct bh_diag diag;
};

static void forget(void *arg)
{
	struct job *job = arg;

	if (job) {
		atomic_store(&job->cancel, true);
		job->req = NULL;
	}
}

static void work(uv_work_t *work)
{
	struct job *job = work->data;

	job->r = job->how.run(job->how.world, &job->cancel, job->how.arg, &job->json, &job->diag);
}

static void worked(uv_work_t *work, int status)
{
	struct job *job = work->data;
	struct manager_request *req = job->req;

	job->change->jobs--;
	manager_world_free(job->how.world);
	if (req) {
		req->state = NULL;
		if (job->r < 0) {
			manager_reply_failed(req, job->r, &job->diag);
		} else {
			job->how.done(req, bh_steal(&job->json), job->how.arg);
		}
	}
	json_decref(job->json);
	if (job->how.arg_free) {
		job->how.arg_free(job->how.arg);
	}
	free(job);
}

bool manager_job_busy(struct manager_request *req)
{
	if (req->parts->change->jobs < API_JOBS_MAX) {
		return false;
	}
	bh_counter_add(&api_jobs_busy, 1);
	req->retry_after_s = 2;
	manager_reply_errorf(req, 503, "busy", "%d looks at recorded flows are under way already",
			     API_JOBS_MAX);
	return true;
}

void manager_job_start(struct manager_request *req, const struct manager_job_how *how)
{
	struct job *job = bh_alloc(sizeof(*job));

	job->work.data = job;
	job->req = req;
	job->change = req->parts->change;
	job->how = *how;
	req->state = job;
	req->state_free = forget;
	job->change->jobs++;
	manager_request_later(req);
	if (uv_queue_work(req->parts->loop, &job->work, work, worked) < 0) {
		abort(); /* only for a missing callback */
	}
}
