/* SPDX-License-Identifier: Apache-2.0 */
#include "host/platform/acts.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"
#include "host/platform/acts_internal.h"
#include "host/platform/vm.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <utlist.h>

BH_COUNTER(acts_done, "acts on VMs that libvirt did");
BH_COUNTER(acts_failed, "acts on VMs that libvirt did not do");

struct hostd_actor {
	char *uri;
	uv_async_t async;
	unsigned int running;	    /* the loop's */
	pthread_mutex_t lock;	    /* of everything below */
	unsigned int refs;	    /* its owner, and each thread */
	bool closed;		    /* nobody is told any more */
	struct hostd_acting *ended; /* wait for the loop */
};

static const char *const names[] = {
	[HOSTD_ACT_NONE] = "",
	[HOSTD_ACT_START] = "start",
	[HOSTD_ACT_SHUTDOWN] = "shutdown",
	[HOSTD_ACT_REBOOT] = "reboot",
	[HOSTD_ACT_RESET] = "reset",
	[HOSTD_ACT_SUSPEND] = "suspend",
	[HOSTD_ACT_RESUME] = "resume",
	[HOSTD_ACT_DESTROY] = "destroy",
	[HOSTD_ACT_UNDEFINE] = "undefine",
	[HOSTD_ACT_SNAPSHOT] = "snapshot",
	[HOSTD_ACT_REVERT] = "revert",
	[HOSTD_ACT_SNAPSHOT_DELETE] = "snapshot-delete",
	[HOSTD_ACT_MIGRATE] = "migrate",
	[HOSTD_ACT_SNAPSHOTS] = "snapshots",
};
_Static_assert(BH_ARRAY_SIZE(names) == HOSTD_ACT_COUNT, "each act has a name");

const char *hostd_act_name(enum hostd_act_kind kind)
{
	return kind < HOSTD_ACT_COUNT ? names[kind] : "";
}

enum hostd_act_kind hostd_act_find(const char *name)
{
	for (size_t i = HOSTD_ACT_START; i < BH_ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], name) == 0) {
			return (enum hostd_act_kind)i;
		}
	}
	return HOSTD_ACT_NONE;
}

const char *hostd_domain_state_name(int state)
{
	switch (state) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
		return "running";
	case VIR_DOMAIN_PAUSED:
		return "paused";
	case VIR_DOMAIN_SHUTDOWN:
		return "stopping";
	case VIR_DOMAIN_CRASHED:
		return "crashed";
	case VIR_DOMAIN_PMSUSPENDED:
		return "suspended";
	default:
		return "shutoff";
	}
}

int hostd_act_failed(struct hostd_acting *a, const char *text)
{
	const virError *e = virGetLastError();

	snprintf(a->end.error, sizeof(a->end.error), "%s",
		 text		   ? text
		 : e && e->message ? e->message
				   : "libvirt gives no reason");
	a->end.own = text != NULL;
	hostd_text_mend(a->end.error);
	return -1;
}

/* ---- the thread of an act ---- */

static void look_after(struct hostd_acting *a)
{
	int state = 0, reason = 0;

	if (virDomainGetState(a->domain, &state, &reason, 0) == 0) {
		snprintf(a->end.state, sizeof(a->end.state), "%s", hostd_domain_state_name(state));
	} else {
		const virError *e = virGetLastError();

		snprintf(a->end.state, sizeof(a->end.state), "%s",
			 e && e->code == VIR_ERR_NO_DOMAIN ? "gone" : "");
	}
}

static void work(struct hostd_acting *a)
{
	a->conn = virConnectOpen(a->uri);
	if (!a->conn) {
		hostd_act_failed(a, NULL);
		return;
	}
	virConnectSetKeepAlive(a->conn, 5, 3);
	a->domain = virDomainLookupByUUID(a->conn, a->what.uuid);
	if (a->domain) {
		a->end.good = hostd_act_run(a) == 0;
		look_after(a);
		virDomainFree(a->domain);
	} else {
		hostd_act_failed(a, NULL);
	}
	virConnectClose(a->conn);
}

static void acting_free(struct hostd_acting *a)
{
	json_decref(a->end.list);
	pthread_cond_destroy(&a->cond);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* The last one out puts out the light; the async handle is closed by then. */
static void unref(struct hostd_actor *actor)
{
	struct hostd_acting *a, *next;
	bool last;

	pthread_mutex_lock(&actor->lock);
	last = --actor->refs == 0;
	pthread_mutex_unlock(&actor->lock);
	if (!last) {
		return;
	}
	DL_FOREACH_SAFE(actor->ended, a, next)
	{
		DL_DELETE(actor->ended, a);
		acting_free(a);
	}
	pthread_mutex_destroy(&actor->lock);
	free(actor->uri);
	free(actor);
}

static void *run(void *arg)
{
	struct hostd_acting *a = arg;
	struct hostd_actor *actor = a->actor;

	work(a);
	pthread_mutex_lock(&actor->lock);
	DL_APPEND(actor->ended, a);
	if (!actor->closed) {
		uv_async_send(&actor->async);
	}
	pthread_mutex_unlock(&actor->lock);
	unref(actor);
	return NULL;
}

/* ---- the loop's side ---- */

static void on_async(uv_async_t *async)
{
	struct hostd_actor *actor = async->data;
	struct hostd_acting *ended, *a, *next;

	pthread_mutex_lock(&actor->lock);
	ended = bh_steal(&actor->ended);
	pthread_mutex_unlock(&actor->lock);
	DL_FOREACH_SAFE(ended, a, next)
	{
		DL_DELETE(ended, a);
		actor->running--;
		bh_counter_add(a->end.good ? &acts_done : &acts_failed, 1);
		a->fn(&a->end, a->arg);
		acting_free(a);
	}
}

static void on_closed(uv_handle_t *handle)
{
	unref(handle->data);
}

void hostd_actor_free(struct hostd_actor *actor)
{
	if (!actor) {
		return;
	}
	pthread_mutex_lock(&actor->lock);
	actor->closed = true;
	pthread_mutex_unlock(&actor->lock);
	uv_close((uv_handle_t *)&actor->async, on_closed);
}

int hostd_actor_new(uv_loop_t *loop, const char *uri, struct hostd_actor **ret,
		    struct bh_diag *diag)
{
	struct hostd_actor *actor = bh_alloc(sizeof(*actor));
	int err = uv_async_init(loop, &actor->async, on_async);

	if (err) {
		free(actor);
		return bh_diag_set(diag, err, "no handle for acts: %s", uv_strerror(err));
	}
	actor->async.data = actor;
	actor->uri = bh_strdup(uri);
	actor->refs = 1;
	pthread_mutex_init(&actor->lock, NULL);
	*ret = actor;
	return 0;
}

int hostd_actor_begin(struct hostd_actor *actor, const struct hostd_act *what, hostd_act_fn *fn,
		      void *arg, struct hostd_acting **ret, struct bh_diag *diag)
{
	struct hostd_acting *a;
	pthread_condattr_t attr;
	pthread_t thread;

	if (actor->running >= HOSTD_ACTS_MAX) {
		return bh_diag_set(diag, -EBUSY, "%d other acts are under way on this host",
				   HOSTD_ACTS_MAX);
	}
	a = bh_alloc(sizeof(*a));
	a->actor = actor;
	a->uri = actor->uri;
	a->what = *what;
	a->fn = fn;
	a->arg = arg;
	a->percent = -1;
	a->until_ns = bh_time_mono_ns() + what->timeout_ms * BH_NS_PER_MS;
	pthread_mutex_init(&a->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_lock(&actor->lock);
	actor->refs++;
	pthread_mutex_unlock(&actor->lock);
	if (pthread_create(&thread, NULL, run, a) != 0) {
		acting_free(a);
		unref(actor);
		return bh_diag_set(diag, -EAGAIN, "no thread for this");
	}
	pthread_detach(thread);
	actor->running++;
	*ret = a;
	return 0;
}

int hostd_acting_percent(struct hostd_acting *a)
{
	int percent;

	pthread_mutex_lock(&a->lock);
	percent = a->percent;
	pthread_mutex_unlock(&a->lock);
	return percent;
}

void hostd_acting_cancel(struct hostd_acting *a)
{
	pthread_mutex_lock(&a->lock);
	a->cancel = true;
	pthread_mutex_unlock(&a->lock);
}
