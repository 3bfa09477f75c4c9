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
#include "host/platform/acts.h"
#include "host/platform/vm.h"

#include <stdbool.h>
#include <uv.h>

struct hostd_platform;

/* What happens to a VM's run, as it happens; the lists follow a moment later. */
enum hostd_vm_event {
	HOSTD_VM_STARTED,
	HOSTD_VM_SUSPENDED,
	HOSTD_VM_RESUMED,
	HOSTD_VM_STOPPED,
	HOSTD_VM_DEFINED, /* its persistent XML is another one, or (ADDED) there was none;
			   * SNAPSHOT: a snapshot's */
};
/* Seen with libvirt 9.0: live migration is STARTED MIGRATED at the target when its QEMU waits for
 * memory, SUSPENDED MIGRATED at the source before the last pages go (not for a VM that was paused
 * already), RESUMED MIGRATED at the target some ms after it runs (SUSPENDED PAUSED for a paused
 * one), STOPPED MIGRATED at the source at last; when it fails before the last pages, nothing at the
 * source and STOPPED FAILED at the target. The same over TCP, tunnelled, and with post-copy. */
enum hostd_vm_detail {
	HOSTD_DETAIL_OTHER,
	HOSTD_DETAIL_MIGRATED, /* post-copy too */
	HOSTD_DETAIL_SAVED,    /* stopped: its memory is in a file */
	HOSTD_DETAIL_RESTORED, /* started from such a file */
	HOSTD_DETAIL_SNAPSHOT, /* by going back to one */
	HOSTD_DETAIL_FAILED,
	HOSTD_DETAIL_ADDED,
};

struct hostd_platform_handlers {
	/* The lists are the receiver's. `source` tells several platforms of one agent apart. */
	void (*networks)(struct hostd_network_list *list, int source, void *arg);
	void (*vms)(struct hostd_vm_list *list, int source, void *arg);
	/* up or down; text says why. */
	void (*link)(bool up, const char *text, int source, void *arg);
	/* As soon as the platform tells; does not wait for a list. May be NULL. */
	void (*event)(const uint8_t uuid[16], enum hostd_vm_event event,
		      enum hostd_vm_detail detail, void *arg);
	void *arg;
	int source;
};

struct hostd_platform_ops {
	/* Asks for fresh lists soon; several calls become one. */
	void (*refresh)(struct hostd_platform *platform);
	/* Writes the mark of the VM's memory into its metadata, soon; the next lists tell whether
	 * it is there (vm.generation). live: into the running one's too. */
	void (*mark)(struct hostd_platform *platform, const uint8_t uuid[16], uint64_t generation,
		     bool live);
	/* As hostd_actor_begin(). */
	int (*act)(struct hostd_platform *platform, const struct hostd_act *what, hostd_act_fn *fn,
		   void *arg, struct hostd_acting **ret, struct bh_diag *diag);
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
static inline void hostd_platform_mark(struct hostd_platform *platform, const uint8_t uuid[16],
				       uint64_t generation, bool live)
{
	platform->ops->mark(platform, uuid, generation, live);
}
[[nodiscard]] static inline int hostd_platform_act(struct hostd_platform *platform,
						   const struct hostd_act *what, hostd_act_fn *fn,
						   void *arg, struct hostd_acting **ret,
						   struct bh_diag *diag)
{
	return platform->ops->act(platform, what, fn, arg, ret, diag);
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
/* Lets the VM have this event now. */
void hostd_dummy_event(struct hostd_platform *dummy, const uint8_t uuid[16],
		       enum hostd_vm_event event, enum hostd_vm_detail detail);

#endif
