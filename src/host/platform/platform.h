/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where virtual machines come from, behind a struct of functions: libvirt (libvirt.c) or a dummy
 * that tests drive (dummy.c). A platform watches one connection, reports whole lists after every
 * change and at least every 60 s, and reconnects for ever.
 *
 * Threads: an implementation may block on threads of its own; the handlers are called on the loop
 * only.
 */
#ifndef BH_HOST_PLATFORM_PLATFORM_H
#define BH_HOST_PLATFORM_PLATFORM_H

#include "base/diag.h"
#include "host/platform/vm.h"

#include <stdbool.h>
#include <uv.h>

struct hostd_platform;

struct hostd_platform_handlers {
	/* The lists are the receiver's. `source` tells several platforms of one agent apart. */
	void (*networks)(struct hostd_network_list *list, int source, void *arg);
	void (*vms)(struct hostd_vm_list *list, int source, void *arg);
	/* up or down; text says why. */
	void (*link)(bool up, const char *text, int source, void *arg);
	void *arg;
	int source;
};

struct hostd_platform_ops {
	/* Asks for fresh lists soon; several calls become one. */
	void (*refresh)(struct hostd_platform *platform);
	void (*free)(struct hostd_platform *platform);
};

struct hostd_platform {
	const struct hostd_platform_ops *ops;
	const char *uri;
};

static inline void hostd_platform_refresh(struct hostd_platform *platform)
{
	platform->ops->refresh(platform);
}
static inline void hostd_platform_free(struct hostd_platform *platform)
{
	if (platform) {
		platform->ops->free(platform);
	}
}

/* Starts libvirt's event loop on a thread of its own; once per process, before the first
 * connection. */
[[nodiscard]] int hostd_libvirt_init(struct bh_diag *diag);
/* uri and handlers->arg must outlive the platform. */
[[nodiscard]] int hostd_libvirt_new(uv_loop_t *loop, const char *uri,
				    const struct hostd_platform_handlers *handlers,
				    struct hostd_platform **ret, struct bh_diag *diag);

/* A platform whose lists come from XML files: DIR/domains/NAME.xml (running), DIR/defined/NAME.xml
 * (shut off) and DIR/networks/NAME.xml, read again at each refresh. For tests and for trying. */
struct hostd_platform *hostd_dummy_new(uv_loop_t *loop, const char *dir,
				       const struct hostd_platform_handlers *handlers);

#endif
