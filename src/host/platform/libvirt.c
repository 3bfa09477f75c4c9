/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt as a platform. libvirt's calls block (a domain that is starting holds its lock while our
 * own hook waits for this very program), so each connection has a worker thread. The worker lists
 * networks first and hands them over before it asks about domains: a birth may need a network while
 * the domain list is blocked by that birth. libvirt's event loop runs on one more thread and only
 * sets a flag and queues what happened to a VM.
 *
 * A call that fails is no news about anything: what it was about is handed on as unread, and the
 * receiver keeps what it knew. Only libvirt's word that something does not exist makes it vanish.
 */
#include "host/platform/platform.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"
#include "host/platform/acts.h"
#include "host/platform/domxml.h"
#include "host/platform/mark.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <time.h>

#define RECONCILE_S   60
#define RETRY_S	      2 /* when something could not be read */
#define BACKOFF_MAX_S 8
#define DEBOUNCE_NS   (20 * BH_NS_PER_MS) /* events come in groups */
#define SWITCH_NS     (300 * BH_NS_PER_MS)
#define DOMAINS_MAX   4096
#define EVENTS_MAX    1024 /* not handed over yet; the lists tell what is left out */

BH_COUNTER(libvirt_connects, "connections to libvirt that were opened");
BH_COUNTER(libvirt_lost, "connections to libvirt that broke or could not be opened");
BH_COUNTER(libvirt_events, "events that libvirt sent");
BH_COUNTER(libvirt_events_dropped, "events left out because the loop was behind");
BH_COUNTER(libvirt_reconciles, "times that all domains were listed");
BH_COUNTER(libvirt_unread, "domains and networks kept as they were: libvirt failed to tell");
BH_COUNTER(libvirt_bad_xml, "domains or networks whose XML could not be read");

enum { LINK_SAME, LINK_UP, LINK_DOWN };

struct vm_event {
	uint8_t uuid[16];
	enum hostd_vm_event event;
	enum hostd_vm_detail detail;
};
struct vm_events {
	BH_VEC(struct vm_event) list;
};

struct lv {
	struct hostd_platform base;
	struct hostd_platform_handlers handlers;
	uv_async_t async;
	struct hostd_marker *marker;
	struct hostd_actor *actor;
	pthread_t thread;
	virConnectPtr conn; /* the worker's */
	bool up;	    /* the worker's: what was told last */

	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t cond;
	bool stop, dirty, lost;
	uint64_t quiet_ns; /* no list before; 0: at once */
	struct hostd_network_list *nets;
	struct hostd_vm_list *vms;
	struct vm_events events;
	int link;
	char link_text[256];
};

static void wake(struct lv *lv, bool lost)
{
	pthread_mutex_lock(&lv->lock);
	lv->dirty = true;
	lv->lost |= lost;
	lv->quiet_ns = 0;
	pthread_cond_signal(&lv->cond);
	pthread_mutex_unlock(&lv->lock);
}

/* While a VM changes hosts it stands still, and libvirt has its hands full: what the event itself
 * does not say can wait. Whoever asks for a list gets it at once all the same. */
static void wake_later(struct lv *lv)
{
	pthread_mutex_lock(&lv->lock);
	if (!lv->dirty) {
		lv->quiet_ns = bh_time_mono_ns() + SWITCH_NS;
	}
	lv->dirty = true;
	pthread_cond_signal(&lv->cond);
	pthread_mutex_unlock(&lv->lock);
}

/* ---- events, on libvirt's thread ---- */

static bool read_event(int event, int detail, struct vm_event *ret)
{
	ret->detail = HOSTD_DETAIL_OTHER;
	switch (event) {
	case VIR_DOMAIN_EVENT_STARTED:
		ret->event = HOSTD_VM_STARTED;
		ret->detail = detail == VIR_DOMAIN_EVENT_STARTED_MIGRATED   ? HOSTD_DETAIL_MIGRATED
			      : detail == VIR_DOMAIN_EVENT_STARTED_RESTORED ? HOSTD_DETAIL_RESTORED
			      : detail == VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT
				      ? HOSTD_DETAIL_SNAPSHOT
				      : HOSTD_DETAIL_OTHER;
		return true;
	case VIR_DOMAIN_EVENT_SUSPENDED:
		ret->event = HOSTD_VM_SUSPENDED;
		if (detail == VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED ||
		    detail == VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY) {
			ret->detail = HOSTD_DETAIL_MIGRATED;
		}
		return true;
	case VIR_DOMAIN_EVENT_RESUMED:
		ret->event = HOSTD_VM_RESUMED;
		ret->detail = detail == VIR_DOMAIN_EVENT_RESUMED_MIGRATED ||
					      detail == VIR_DOMAIN_EVENT_RESUMED_POSTCOPY
				      ? HOSTD_DETAIL_MIGRATED
			      : detail == VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT
				      ? HOSTD_DETAIL_SNAPSHOT
				      : HOSTD_DETAIL_OTHER;
		return true;
	case VIR_DOMAIN_EVENT_STOPPED:
		ret->event = HOSTD_VM_STOPPED;
		ret->detail = detail == VIR_DOMAIN_EVENT_STOPPED_MIGRATED ? HOSTD_DETAIL_MIGRATED
			      : detail == VIR_DOMAIN_EVENT_STOPPED_SAVED  ? HOSTD_DETAIL_SAVED
			      : detail == VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT
				      ? HOSTD_DETAIL_SNAPSHOT
			      : detail == VIR_DOMAIN_EVENT_STOPPED_FAILED ? HOSTD_DETAIL_FAILED
									  : HOSTD_DETAIL_OTHER;
		return true;
	case VIR_DOMAIN_EVENT_DEFINED:
		ret->event = HOSTD_VM_DEFINED;
		ret->detail = detail == VIR_DOMAIN_EVENT_DEFINED_FROM_SNAPSHOT
				      ? HOSTD_DETAIL_SNAPSHOT
			      : detail == VIR_DOMAIN_EVENT_DEFINED_ADDED ? HOSTD_DETAIL_ADDED
									 : HOSTD_DETAIL_OTHER;
		return true;
	default:
		return false;
	}
}

static int on_lifecycle(virConnectPtr c, virDomainPtr d, int event, int detail, void *arg)
{
	struct lv *lv = arg;
	struct vm_event e = {};

	bh_counter_add(&libvirt_events, 1);
	if (read_event(event, detail, &e) && virDomainGetUUID(d, e.uuid) == 0) {
		pthread_mutex_lock(&lv->lock);
		if (lv->events.list.count < EVENTS_MAX) {
			*bh_vec_push(&lv->events.list) = e;
		} else {
			bh_counter_add(&libvirt_events_dropped, 1);
		}
		pthread_mutex_unlock(&lv->lock);
		uv_async_send(&lv->async);
	}
	if (e.detail == HOSTD_DETAIL_MIGRATED) {
		wake_later(lv);
	} else {
		wake(lv, false);
	}
	return 0;
}

static void on_device(virConnectPtr c, virDomainPtr d, const char *alias, void *arg)
{
	bh_counter_add(&libvirt_events, 1);
	wake(arg, false);
}

static void on_metadata(virConnectPtr c, virDomainPtr d, int type, const char *uri, void *arg)
{
	bh_counter_add(&libvirt_events, 1);
	wake(arg, false);
}

static void on_network(virConnectPtr c, virNetworkPtr n, int event, int detail, void *arg)
{
	bh_counter_add(&libvirt_events, 1);
	wake(arg, false);
}

static void on_close(virConnectPtr c, int reason, void *arg)
{
	wake(arg, true);
}

static void register_events(struct lv *lv)
{
	static const int device_events[] = {VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
					    VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED};

	/* A driver without one of these (LXC has no device events) is covered by the reconcile. */
	virConnectDomainEventRegisterAny(lv->conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
					 VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), lv, NULL);
	for (size_t i = 0; i < BH_ARRAY_SIZE(device_events); i++) {
		virConnectDomainEventRegisterAny(lv->conn, NULL, device_events[i],
						 VIR_DOMAIN_EVENT_CALLBACK(on_device), lv, NULL);
	}
	virConnectDomainEventRegisterAny(lv->conn, NULL, VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
					 VIR_DOMAIN_EVENT_CALLBACK(on_metadata), lv, NULL);
	virConnectNetworkEventRegisterAny(lv->conn, NULL, VIR_NETWORK_EVENT_ID_LIFECYCLE,
					  VIR_NETWORK_EVENT_CALLBACK(on_network), lv, NULL);
	virConnectRegisterCloseCallback(lv->conn, on_close, lv, NULL);
	virConnectSetKeepAlive(lv->conn, 5, 3);
}

/* ---- the worker ---- */

static void tell_link(struct lv *lv, bool up, const char *text)
{
	if (lv->up == up && lv->link_text[0]) {
		return;
	}
	lv->up = up;
	pthread_mutex_lock(&lv->lock);
	lv->link = up ? LINK_UP : LINK_DOWN;
	snprintf(lv->link_text, sizeof(lv->link_text), "%s", text);
	pthread_mutex_unlock(&lv->lock);
	uv_async_send(&lv->async);
}

static const char *last_error(void)
{
	const virError *e = virGetLastError();

	return e && e->message ? e->message : "no reason given";
}

static bool open_connection(struct lv *lv)
{
	lv->conn = virConnectOpen(lv->base.uri);
	if (!lv->conn) {
		bh_counter_add(&libvirt_lost, 1);
		tell_link(lv, false, last_error());
		return false;
	}
	bh_counter_add(&libvirt_connects, 1);
	pthread_mutex_lock(&lv->lock);
	lv->lost = false;
	pthread_mutex_unlock(&lv->lock);
	register_events(lv);
	tell_link(lv, true, "connected");
	return true;
}

static void close_connection(struct lv *lv, const char *why)
{
	bh_counter_add(&libvirt_lost, 1);
	virConnectUnregisterCloseCallback(lv->conn, on_close);
	virConnectClose(lv->conn);
	lv->conn = NULL;
	tell_link(lv, false, why);
}

/* False when it does not exist any more. Every other failure leaves it as it was: an answer that
 * libvirt owes us is no news. */
static bool exists_after(int gone_code)
{
	const virError *e = virGetLastError();

	return !e || e->code != gone_code;
}

static void unread_network(virNetworkPtr net, bool unanswered, struct hostd_network_list *list)
{
	const char *name = virNetworkGetName(net); /* known here, libvirt is not asked */
	struct hostd_unread_network *unread = name ? bh_vec_push(&list->unread) : NULL;

	bh_counter_add(&libvirt_unread, 1);
	if (unread) {
		snprintf(unread->name, sizeof(unread->name), "%s", name);
		unread->unanswered = unanswered;
	}
}

static void read_network(virNetworkPtr from, struct hostd_network_list *list)
{
	BH_FREE char *xml = virNetworkGetXMLDesc(from, 0);
	int active = xml ? virNetworkIsActive(from) : -1;
	struct hostd_network net;
	struct bh_diag diag = {};

	if (active < 0) {
		if (exists_after(VIR_ERR_NO_NETWORK)) {
			unread_network(from, true, list);
		}
		return;
	}
	if (hostd_netxml_parse(xml, strlen(xml), &net, &diag) < 0) {
		bh_counter_add(&libvirt_bad_xml, 1);
		bh_log_limited(BH_LOG_WARN, "libvirt", 5, "network kept as it was: %s", diag.text);
		hostd_network_done(&net);
		unread_network(from, false, list);
		return;
	}
	net.active = active == 1;
	*bh_vec_push(&list->nets) = net;
}

/* How well libvirt answered. */
enum look {
	LOOK_WHOLE,
	LOOK_HOLES, /* something is as it was: ask again soon */
	LOOK_FAILED /* the connection is of no use */
};

static enum look list_networks(struct lv *lv)
{
	virNetworkPtr *nets = NULL;
	struct hostd_network_list *list;
	bool holes;
	int n = virConnectListAllNetworks(lv->conn, &nets, 0);

	if (n < 0 && exists_after(VIR_ERR_NO_SUPPORT)) {
		/* libvirt's network daemon may be another one, and away on its own */
		bh_counter_add(&libvirt_unread, 1);
		bh_log_limited(BH_LOG_WARN, "libvirt", 2, "networks: %s", last_error());
		return virConnectIsAlive(lv->conn) == 1 ? LOOK_HOLES : LOOK_FAILED;
	}
	/* a driver without networks has none: that is known, not missing */
	list = bh_alloc(sizeof(*list));
	for (int i = 0; i < n; i++) {
		read_network(nets[i], list);
		virNetworkFree(nets[i]);
	}
	free(nets);
	holes = list->unread.count != 0;
	pthread_mutex_lock(&lv->lock);
	hostd_network_list_free(lv->nets);
	lv->nets = list;
	pthread_mutex_unlock(&lv->lock);
	uv_async_send(&lv->async);
	return holes ? LOOK_HOLES : LOOK_WHOLE;
}

static void unread_domain(virDomainPtr domain, bool unanswered, struct hostd_vm_list *list)
{
	struct hostd_unread_vm unread = {.unanswered = unanswered};

	bh_counter_add(&libvirt_unread, 1);
	if (virDomainGetUUID(domain, unread.uuid) == 0) { /* known here, libvirt is not asked */
		*bh_vec_push(&list->unread) = unread;
	}
}

static void read_domain(virDomainPtr domain, struct hostd_vm_list *list)
{
	BH_FREE char *xml = NULL;
	struct hostd_vm vm;
	struct bh_diag diag = {};
	int state, reason, active = -1;

	if (virDomainGetState(domain, &state, &reason, 0) == 0) {
		active = virDomainIsActive(domain);
	}
	xml = active < 0 ? NULL : virDomainGetXMLDesc(domain, 0);
	if (!xml) {
		if (exists_after(VIR_ERR_NO_DOMAIN)) {
			unread_domain(domain, true, list);
		}
		return;
	}
	if (hostd_domxml_parse(xml, strlen(xml), &vm, &diag) < 0) {
		bh_counter_add(&libvirt_bad_xml, 1);
		bh_log_limited(BH_LOG_WARN, "libvirt", 5, "domain %s kept as it was: %s",
			       virDomainGetName(domain), diag.text);
		hostd_vm_done(&vm);
		unread_domain(domain, false, list);
		return;
	}
	snprintf(vm.state, sizeof(vm.state), "%s", hostd_domain_state_name(state));
	vm.running = active == 1;
	vm.saved = state == VIR_DOMAIN_SHUTOFF && reason == VIR_DOMAIN_SHUTOFF_SAVED;
	*bh_vec_push(&list->vms) = vm;
}

static enum look list_domains(struct lv *lv)
{
	uint64_t begun_ns = bh_time_mono_ns();
	virDomainPtr *domains = NULL;
	struct hostd_vm_list *list;
	bool holes;
	int n = virConnectListAllDomains(lv->conn, &domains, 0);

	if (n < 0) {
		return LOOK_FAILED;
	}
	if (n > DOMAINS_MAX) {
		bh_log_limited(BH_LOG_ERROR, "libvirt", 1, "%d domains; only %d are followed", n,
			       DOMAINS_MAX);
	}
	list = bh_alloc(sizeof(*list));
	list->begun_ns = begun_ns;
	for (int i = 0; i < n; i++) {
		if (i < DOMAINS_MAX) {
			read_domain(domains[i], list);
		}
		virDomainFree(domains[i]);
	}
	free(domains);
	if (virConnectIsAlive(lv->conn) != 1) {
		hostd_vm_list_free(list); /* broke on the way: the next connection says it all */
		return LOOK_FAILED;
	}
	bh_counter_add(&libvirt_reconciles, 1);
	holes = list->unread.count != 0;
	pthread_mutex_lock(&lv->lock);
	hostd_vm_list_free(lv->vms);
	lv->vms = list;
	pthread_mutex_unlock(&lv->lock);
	uv_async_send(&lv->async);
	return holes ? LOOK_HOLES : LOOK_WHOLE;
}

/* Waits until somebody wants a reconcile, at most `seconds`. False: stop. */
static bool wait_for_work(struct lv *lv, unsigned int seconds, bool until_dirty)
{
	struct timespec until;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	pthread_mutex_lock(&lv->lock);
	while (!lv->stop && !(until_dirty && lv->dirty) &&
	       pthread_cond_timedwait(&lv->cond, &lv->lock, &until) == 0) {
	}
	stop = lv->stop;
	pthread_mutex_unlock(&lv->lock);
	return !stop;
}

/* Connects when that is needed, and lists everything. */
static enum look look(struct lv *lv)
{
	enum look nets, vms;
	bool lost;

	if (!lv->conn && !open_connection(lv)) {
		return LOOK_FAILED;
	}
	pthread_mutex_lock(&lv->lock);
	lv->dirty = false;
	lost = lv->lost;
	pthread_mutex_unlock(&lv->lock);
	nets = lost ? LOOK_FAILED : list_networks(lv);
	vms = nets == LOOK_FAILED ? LOOK_FAILED : list_domains(lv);
	if (vms == LOOK_FAILED) {
		close_connection(lv, lost ? "libvirt closed the connection" : last_error());
		return LOOK_FAILED;
	}
	return nets == LOOK_HOLES ? LOOK_HOLES : vms;
}

/* Waits until it is time for the list that somebody wants. */
static void wait_for_calm(struct lv *lv)
{
	uint64_t begun_ns = bh_time_mono_ns();

	pthread_mutex_lock(&lv->lock);
	while (!lv->stop) {
		uint64_t at = begun_ns + DEBOUNCE_NS;
		struct timespec until;

		at = lv->quiet_ns > at ? lv->quiet_ns : at;
		if (bh_time_mono_ns() >= at) {
			break;
		}
		until = (struct timespec){.tv_sec = (time_t)(at / BH_NS_PER_S),
					  .tv_nsec = (long)(at % BH_NS_PER_S)};
		pthread_cond_timedwait(&lv->cond, &lv->lock, &until);
	}
	lv->quiet_ns = 0;
	pthread_mutex_unlock(&lv->lock);
}

static void *worker(void *arg)
{
	struct lv *lv = arg;
	unsigned int backoff_s = 1;

	for (;;) {
		enum look result = look(lv);
		unsigned int wait_s = result == LOOK_FAILED  ? backoff_s
				      : result == LOOK_HOLES ? RETRY_S
							     : RECONCILE_S;

		if (!wait_for_work(lv, wait_s, result != LOOK_FAILED)) {
			if (lv->conn) {
				virConnectClose(lv->conn);
			}
			return NULL;
		}
		if (result == LOOK_FAILED) {
			backoff_s = backoff_s < BACKOFF_MAX_S ? backoff_s * 2 : BACKOFF_MAX_S;
		} else {
			backoff_s = 1;
			wait_for_calm(lv);
		}
	}
}

/* ---- the loop's side ---- */

static void on_async(uv_async_t *async)
{
	struct lv *lv = async->data;
	struct hostd_network_list *nets;
	struct hostd_vm_list *vms;
	struct vm_events events;
	char text[sizeof(lv->link_text)];
	int link;

	pthread_mutex_lock(&lv->lock);
	nets = bh_steal(&lv->nets);
	vms = bh_steal(&lv->vms);
	events = lv->events;
	memset(&lv->events, 0, sizeof(lv->events));
	link = lv->link;
	lv->link = LINK_SAME;
	memcpy(text, lv->link_text, sizeof(text));
	pthread_mutex_unlock(&lv->lock);
	bh_vec_foreach (e, &events.list) {
		if (lv->handlers.event) {
			lv->handlers.event(e->uuid, e->event, e->detail, lv->handlers.arg);
		}
	}
	bh_vec_done(&events.list);
	if (link != LINK_SAME) {
		lv->handlers.link(link == LINK_UP, text, lv->handlers.source, lv->handlers.arg);
	}
	if (nets) {
		lv->handlers.networks(nets, lv->handlers.source, lv->handlers.arg);
	}
	if (vms) {
		lv->handlers.vms(vms, lv->handlers.source, lv->handlers.arg);
	}
}

static void lv_refresh(struct hostd_platform *platform)
{
	wake(BH_CONTAINER_OF(platform, struct lv, base), false);
}

static void lv_mark(struct hostd_platform *platform, const uint8_t uuid[16], uint64_t generation,
		    bool live)
{
	hostd_marker_put(BH_CONTAINER_OF(platform, struct lv, base)->marker, uuid, generation,
			 live);
}

static int lv_act(struct hostd_platform *platform, const struct hostd_act *what, hostd_act_fn *fn,
		  void *arg, struct hostd_acting **ret, struct bh_diag *diag)
{
	return hostd_actor_begin(BH_CONTAINER_OF(platform, struct lv, base)->actor, what, fn, arg,
				 ret, diag);
}

static void on_closed(uv_handle_t *handle)
{
	struct lv *lv = handle->data;

	hostd_network_list_free(lv->nets);
	hostd_vm_list_free(lv->vms);
	bh_vec_done(&lv->events.list);
	pthread_cond_destroy(&lv->cond);
	pthread_mutex_destroy(&lv->lock);
	free(lv);
}

static void lv_free(struct hostd_platform *platform)
{
	struct lv *lv = BH_CONTAINER_OF(platform, struct lv, base);
	struct timespec until;

	hostd_marker_free(lv->marker);
	hostd_actor_free(lv->actor);
	pthread_mutex_lock(&lv->lock);
	lv->stop = true;
	pthread_cond_signal(&lv->cond);
	pthread_mutex_unlock(&lv->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 2;
	if (pthread_timedjoin_np(lv->thread, NULL, &until) != 0) {
		/* blocked inside libvirt: it ends with the process and keeps its memory until then
		 */
		pthread_detach(lv->thread);
		uv_close((uv_handle_t *)&lv->async, NULL);
		return;
	}
	uv_close((uv_handle_t *)&lv->async, on_closed);
}

static void *event_loop(void *arg)
{
	for (;;) {
		if (virEventRunDefaultImpl() < 0) {
			bh_log_limited(BH_LOG_ERROR, "libvirt", 1, "event loop: %s", last_error());
			sleep(1);
		}
	}
	return NULL;
}

static void on_libvirt_error(void *arg, virErrorPtr error)
{
	/* each caller looks at the result; libvirt's own printing to stderr is not wanted */
}

int hostd_libvirt_init(struct bh_diag *diag)
{
	pthread_t thread;

	virSetErrorFunc(NULL, on_libvirt_error);
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
		return bh_diag_set(diag, -EIO, "libvirt does not start: %s", last_error());
	}
	if (pthread_create(&thread, NULL, event_loop, NULL) != 0) {
		return bh_diag_set(diag, -EAGAIN, "no thread for libvirt's events");
	}
	pthread_detach(thread);
	return 0;
}

int hostd_libvirt_new(uv_loop_t *loop, const char *uri,
		      const struct hostd_platform_handlers *handlers, struct hostd_platform **ret,
		      struct bh_diag *diag)
{
	static const struct hostd_platform_ops ops = {
		.refresh = lv_refresh, .mark = lv_mark, .act = lv_act, .free = lv_free};
	struct lv *lv = bh_alloc(sizeof(*lv));
	pthread_condattr_t attr;
	int err;

	lv->base.ops = &ops;
	lv->base.uri = uri;
	lv->handlers = *handlers;
	pthread_mutex_init(&lv->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&lv->cond, &attr);
	pthread_condattr_destroy(&attr);
	err = hostd_marker_new(uri, &lv->marker, diag);
	if (err) {
		free(lv);
		return err;
	}
	err = uv_async_init(loop, &lv->async, on_async);
	if (err) {
		hostd_marker_free(lv->marker);
		free(lv);
		return bh_diag_set(diag, err, "no handle for libvirt: %s", uv_strerror(err));
	}
	lv->async.data = lv;
	err = hostd_actor_new(loop, uri, &lv->actor, diag);
	if (!err && pthread_create(&lv->thread, NULL, worker, lv) != 0) {
		err = bh_diag_set(diag, -EAGAIN, "no thread for libvirt");
	}
	if (err) {
		hostd_marker_free(lv->marker);
		hostd_actor_free(lv->actor);
		uv_close((uv_handle_t *)&lv->async, on_closed);
		return err;
	}
	*ret = &lv->base;
	return 0;
}
