/* SPDX-License-Identifier: Apache-2.0 */
/* Asks libvirt's daemon who is connected to it, on a worker of the loop: the question blocks, and a
 * hook that asked would load libvirt for it at each start of a VM that comes with memory. */
#include "host/agent/agent.h"

#include "host/platform/clients.h"

#define WHO_MS 300 /* a VM waits for it; an event without a name is better than no VM */

struct hostd_who {
	uv_work_t work;
	json_t *by;
	hostd_who_fn *fn; /* NULL: nobody waits any more */
	void *arg;
};

static void ask(uv_work_t *work)
{
	struct hostd_who *who = BH_CONTAINER_OF(work, struct hostd_who, work);

	who->by = hostd_clients_list(NULL, getpid(), WHO_MS);
}

static void on_answer(uv_work_t *work, int status)
{
	struct hostd_who *who = BH_CONTAINER_OF(work, struct hostd_who, work);

	if (who->fn) {
		who->fn(who->by ? who->by : json_array(), who->arg);
	} else {
		json_decref(who->by);
	}
	free(who);
}

struct hostd_who *hostd_who_ask(struct hostd_agent *agent, hostd_who_fn *fn, void *arg)
{
	struct hostd_who *who = bh_alloc(sizeof(*who));

	who->fn = fn;
	who->arg = arg;
	if (uv_queue_work(agent->loop, &who->work, ask, on_answer)) {
		abort(); /* cannot fail: it only queues */
	}
	return who;
}

void hostd_who_forget(struct hostd_who *who)
{
	if (who) {
		who->fn = NULL;
	}
}
