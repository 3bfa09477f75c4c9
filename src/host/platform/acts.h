/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libvirt is told to do with a VM: start it, stop it, take a snapshot, let it travel.
 *
 * libvirt's calls block, some for minutes (a migration), and a start waits for this very program's
 * answer to the hook. So each act has a thread and a connection of its own, HOSTD_ACTS_MAX at a
 * time; the end is told on the loop. What copies memory is watched meanwhile: how far it is, a
 * cancel, its time limit.
 *
 * An act asks for a state, where there is one: a VM that runs is not started twice, and that is no
 * failure (`changed` false). Loop thread only.
 */
#ifndef BH_HOST_PLATFORM_ACTS_H
#define BH_HOST_PLATFORM_ACTS_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define HOSTD_ACTS_MAX	    16
#define HOSTD_ACT_NAME_MAX  64	/* bytes of a snapshot's name */
#define HOSTD_ACT_WORDS_MAX 400 /* of its description */
#define HOSTD_ACT_URI_MAX   256
#define HOSTD_SNAPSHOTS_MAX 256 /* that are listed */

enum hostd_act_kind {
	HOSTD_ACT_NONE,
	HOSTD_ACT_START,
	HOSTD_ACT_SHUTDOWN, /* asks the guest, and waits until it is off */
	HOSTD_ACT_REBOOT,   /* asks the guest */
	HOSTD_ACT_RESET,
	HOSTD_ACT_SUSPEND,
	HOSTD_ACT_RESUME,
	HOSTD_ACT_DESTROY,  /* power off, whatever the guest is at */
	HOSTD_ACT_UNDEFINE, /* power off, and libvirt forgets it; its disks stay */
	HOSTD_ACT_SNAPSHOT, /* with memory when it runs */
	HOSTD_ACT_REVERT,
	HOSTD_ACT_SNAPSHOT_DELETE,
	HOSTD_ACT_MIGRATE,   /* live, to the libvirt at `uri` */
	HOSTD_ACT_SNAPSHOTS, /* only lists them */
	HOSTD_ACT_COUNT
};
/* "start", "snapshot-delete", ...; HOSTD_ACT_NONE for a name that is none. */
const char *hostd_act_name(enum hostd_act_kind kind);
enum hostd_act_kind hostd_act_find(const char *name);
/* A domain's state as inventories say it; state is libvirt's. */
const char *hostd_domain_state_name(int state);

struct hostd_act {
	enum hostd_act_kind kind;
	uint8_t uuid[16];
	uint64_t timeout_ms; /* of what can be given up: a shutdown, what copies memory */
	char name[HOSTD_ACT_NAME_MAX + 1];	   /* of a snapshot */
	char description[HOSTD_ACT_WORDS_MAX + 1]; /* of a new one */
	char uri[HOSTD_ACT_URI_MAX + 1];	   /* of a migration */
	bool tls;				   /* its stream goes by TLS */
};
struct hostd_act_end {
	bool good, changed;
	char state[16];	 /* of the domain after it; "": not known, "gone" */
	char error[300]; /* for people; "" when good */
	bool own;	 /* the error is of our words: it names no host and no path */
	json_t *list; /* of SNAPSHOTS: [{"name", "description", "created", "state", "current"}] */
};
/* end is borrowed for the call. */
typedef void hostd_act_fn(const struct hostd_act_end *end, void *arg);

struct hostd_actor;
struct hostd_acting; /* one under way; ends with its hostd_act_fn */

[[nodiscard]] int hostd_actor_new(uv_loop_t *loop, const char *uri, struct hostd_actor **ret,
				  struct bh_diag *diag);
/* Nobody is told any more. Acts that libvirt is at go on there; their threads end by themselves.
 * NULL is fine. */
void hostd_actor_free(struct hostd_actor *actor);
/* -EBUSY: too many are under way. what is copied. fn runs later, once. */
[[nodiscard]] int hostd_actor_begin(struct hostd_actor *actor, const struct hostd_act *what,
				    hostd_act_fn *fn, void *arg, struct hostd_acting **ret,
				    struct bh_diag *diag);
/* 0 to 100, or -1: not known. */
int hostd_acting_percent(struct hostd_acting *acting);
/* Gives up what can be given up; the end says whether it did. */
void hostd_acting_cancel(struct hostd_acting *acting);

#endif
