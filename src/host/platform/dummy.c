/* SPDX-License-Identifier: Apache-2.0 */
/* A platform made of XML files, for component tests without libvirt. */
#include "host/platform/platform.h"

#include "base/file.h"
#include "base/log.h"
#include "base/time.h"
#include "host/platform/domxml.h"

#include <dirent.h>
#include <uthash.h>

struct mark {
	uint8_t uuid[16];
	uint64_t generation;
	UT_hash_handle hh;
};

struct dummy {
	struct hostd_platform base;
	struct hostd_platform_handlers handlers;
	uv_timer_t timer;
	char *dir;
	struct mark *marks; /* in place of what the files say */
	struct hostd_actor *actor;
};

struct reading {
	struct dummy *dummy;
	struct hostd_vm_list *list;
};

typedef void each_file_fn(const char *xml, size_t size, void *arg);

static void each_file(const char *dir, const char *sub, each_file_fn *fn, void *arg)
{
	BH_FREE char *path = bh_asprintf("%s/%s", dir, sub);
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		BH_FREE char *file = bh_asprintf("%s/%s", path, e->d_name);
		BH_FREE char *data = NULL;
		struct bh_diag diag = {};
		size_t size = 0;

		if (e->d_name[0] == '.') {
			continue;
		}
		if (bh_file_read(file, HOSTD_XML_MAX, &data, &size, &diag) < 0) {
			bh_log(BH_LOG_WARN, "dummy", "%s", diag.text);
			continue;
		}
		fn(data, size, arg);
	}
	if (d) {
		closedir(d);
	}
}

static void add_network(const char *xml, size_t size, void *arg)
{
	struct hostd_network_list *list = arg;
	struct hostd_network net;
	struct bh_diag diag = {};

	if (hostd_netxml_parse(xml, size, &net, &diag) < 0) {
		bh_log(BH_LOG_WARN, "dummy", "%s", diag.text);
		hostd_network_done(&net);
		return;
	}
	net.active = true;
	*bh_vec_push(&list->nets) = net;
}

static void add_vm(const char *xml, size_t size, const struct reading *to, bool running)
{
	const struct mark *mark;
	struct hostd_vm vm;
	struct bh_diag diag = {};

	if (hostd_domxml_parse(xml, size, &vm, &diag) < 0) {
		bh_log(BH_LOG_WARN, "dummy", "%s", diag.text);
		hostd_vm_done(&vm);
		return;
	}
	vm.running = running;
	snprintf(vm.state, sizeof(vm.state), "%s", running ? "running" : "shutoff");
	HASH_FIND(hh, to->dummy->marks, vm.uuid, sizeof(vm.uuid), mark);
	if (mark) {
		vm.generation = mark->generation;
		vm.mark_live = running;
	}
	*bh_vec_push(&to->list->vms) = vm;
}

static void add_running(const char *xml, size_t size, void *arg)
{
	add_vm(xml, size, arg, true);
}

static void add_defined(const char *xml, size_t size, void *arg)
{
	add_vm(xml, size, arg, false);
}

static void on_timer(uv_timer_t *timer)
{
	struct dummy *d = timer->data;
	struct hostd_network_list *nets = bh_alloc(sizeof(*nets));
	struct hostd_vm_list *vms = bh_alloc(sizeof(*vms));
	struct reading reading = {d, vms};

	vms->begun_ns = bh_time_mono_ns();
	each_file(d->dir, "networks", add_network, nets);
	each_file(d->dir, "domains", add_running, &reading);
	each_file(d->dir, "defined", add_defined, &reading);
	d->handlers.link(true, "dummy", d->handlers.source, d->handlers.arg);
	d->handlers.networks(nets, d->handlers.source, d->handlers.arg);
	d->handlers.vms(vms, d->handlers.source, d->handlers.arg);
}

static void dummy_refresh(struct hostd_platform *platform)
{
	struct dummy *d = BH_CONTAINER_OF(platform, struct dummy, base);

	uv_timer_start(&d->timer, on_timer, 0, 60000);
}

void hostd_dummy_event(struct hostd_platform *dummy, const uint8_t uuid[16],
		       enum hostd_vm_event event, enum hostd_vm_detail detail)
{
	const struct dummy *d = BH_CONTAINER_OF(dummy, struct dummy, base);

	if (d->handlers.event) {
		d->handlers.event(uuid, event, detail, d->handlers.arg);
	}
}

static void dummy_mark(struct hostd_platform *platform, const uint8_t uuid[16], uint64_t generation,
		       bool live)
{
	struct dummy *d = BH_CONTAINER_OF(platform, struct dummy, base);
	struct mark *mark;

	HASH_FIND(hh, d->marks, uuid, sizeof(mark->uuid), mark);
	if (!mark) {
		mark = bh_alloc(sizeof(*mark));
		memcpy(mark->uuid, uuid, sizeof(mark->uuid));
		HASH_ADD(hh, d->marks, uuid, sizeof(mark->uuid), mark);
	}
	mark->generation = generation;
	dummy_refresh(platform);
}

/* The files stay as they are: acts are done on libvirt's own test driver. */
static int dummy_act(struct hostd_platform *platform, const struct hostd_act *what,
		     hostd_act_fn *fn, void *arg, struct hostd_acting **ret, struct bh_diag *diag)
{
	return hostd_actor_begin(BH_CONTAINER_OF(platform, struct dummy, base)->actor, what, fn,
				 arg, ret, diag);
}

static void on_closed(uv_handle_t *handle)
{
	struct dummy *d = handle->data;
	struct mark *mark, *next;

	HASH_ITER (hh, d->marks, mark, next) {
		HASH_DEL(d->marks, mark);
		free(mark);
	}
	free(d->dir);
	free(d);
}

static void dummy_free(struct hostd_platform *platform)
{
	struct dummy *d = BH_CONTAINER_OF(platform, struct dummy, base);

	hostd_actor_free(d->actor);
	uv_close((uv_handle_t *)&d->timer, on_closed);
}

struct hostd_platform *hostd_dummy_new(uv_loop_t *loop, const char *dir,
				       const struct hostd_platform_handlers *handlers)
{
	static const struct hostd_platform_ops ops = {
		.refresh = dummy_refresh, .mark = dummy_mark, .act = dummy_act, .free = dummy_free};
	struct dummy *d = bh_alloc(sizeof(*d));

	d->base.ops = &ops;
	d->base.uri = "dummy";
	d->handlers = *handlers;
	d->dir = bh_strdup(dir);
	if (uv_timer_init(loop, &d->timer) ||
	    hostd_actor_new(loop, "test:///default", &d->actor, NULL) < 0) {
		abort(); /* cannot fail: it only fills memory */
	}
	d->timer.data = d;
	uv_timer_start(&d->timer, on_timer, 0, 60000);
	return &d->base;
}
