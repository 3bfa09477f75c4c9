/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One host: what it has, what it should have, and the one delta in flight between them.
 *
 * States follow from the fields: nothing is known of the host (never), it does not answer
 * (offline), it has what it should (ok), a delta is on its way (sending), its tables are too small
 * (full), it could not install (failed; tried again with growing pauses). A host whose hash is none
 * of ours gets its whole image. Whatever a host says is checked against what was sent; a lie only
 * hurts the liar.
 */
#include "manager/distribute/distribute.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>

#define PING_NS	     (10 * BH_NS_PER_S)
#define MISSES_MAX   3
#define RETRY_MIN_NS (200 * BH_NS_PER_MS)
#define RETRY_MAX_NS (30 * BH_NS_PER_S)

BH_COUNTER(sync_deltas_sent, "deltas sent to hosts");
BH_COUNTER(sync_whole_sent, "whole images sent to hosts");
BH_COUNTER(sync_acknowledged, "images that hosts confirmed by hash");
BH_COUNTER(sync_stale, "deltas refused because the host held something else");
BH_COUNTER(sync_full, "deltas refused because the host's tables were too small");
BH_COUNTER(sync_failed, "deltas that a host could not install, or without an answer");
BH_COUNTER(sync_drift, "hosts found with another hash than they had confirmed");
BH_COUNTER(sync_coalesced, "images replaced before they were sent");

static struct manager_image *ref(struct manager_image *image)
{
	image->refs++;
	return image;
}

static void replace(struct manager_image **slot, struct manager_image *image)
{
	manager_image_unref(*slot);
	*slot = image;
}

const char *manager_sync_state_name(enum manager_sync_state state)
{
	static const char *const names[] = {"never",   "offline", "in-sync",
					    "syncing", "full",	  "failed"};

	return names[state];
}

bool manager_sync_in_sync(const struct manager_sync *sync)
{
	return sync->installed && sync->intended &&
	       (sync->installed == sync->intended ||
		bh_hash_equal(bh_image_hash(sync->installed->image),
			      bh_image_hash(sync->intended->image)));
}

enum manager_sync_state manager_sync_state(const struct manager_sync *sync)
{
	if (!sync->host->hello) {
		return MANAGER_SYNC_NEVER;
	}
	if (!sync->host->online) {
		return MANAGER_SYNC_OFFLINE;
	}
	if (manager_sync_in_sync(sync)) {
		return MANAGER_SYNC_OK;
	}
	if (sync->full) {
		return MANAGER_SYNC_FULL;
	}
	return sync->failed ? MANAGER_SYNC_FAILED : MANAGER_SYNC_SENDING;
}

static void notice(struct manager_sync *sync, const char *type, const char *severity, json_t *body)
{
	json_object_set_new(body, "host", json_string(sync->host->name));
	manager_inventory_notice(sync->dist->o.inv, type, severity, body);
}

static void set_online(struct manager_sync *sync, bool online)
{
	if (sync->host->online == online) {
		return;
	}
	sync->host->online = online;
	sync->misses = 0;
	notice(sync, online ? "host.online" : "host.offline", online ? "info" : "warning",
	       json_object());
	manager_wait_check(sync->dist, sync);
}

/* What the host says it holds, when that is one of the images that we know. */
static void take_told(struct manager_sync *sync, const struct bh_hash *hash)
{
	sync->told = *hash;
	sync->told_known = true;
	if (sync->installed && bh_hash_equal(bh_image_hash(sync->installed->image), hash)) {
		return;
	}
	if (sync->intended && bh_hash_equal(bh_image_hash(sync->intended->image), hash)) {
		replace(&sync->installed, ref(sync->intended));
		sync->revision = sync->intended->revision;
		return;
	}
	replace(&sync->installed, NULL);
}

static void pause_then_retry(struct manager_sync *sync)
{
	unsigned int shift = sync->tries < 8 ? sync->tries : 8;
	uint64_t pause = RETRY_MIN_NS << shift;

	sync->tries++;
	sync->retry_ns = bh_time_mono_ns() + (pause > RETRY_MAX_NS ? RETRY_MAX_NS : pause);
}

void manager_sync_kick(struct manager_sync *sync)
{
	struct manager_distribute *dist = sync->dist;
	struct bh_image *none = NULL;
	struct bh_delta *delta;

	if (sync->sending) {
		bh_counter_add(&sync_coalesced, sync->sending != sync->intended);
		return;
	}
	if (!sync->intended || !sync->host->online || sync->retry_ns ||
	    !dist->o.carrier.up(dist->o.carrier.arg)) {
		return;
	}
	if (manager_sync_in_sync(sync) && !sync->whole) {
		if (sync->installed != sync->intended) {
			replace(&sync->installed, ref(sync->intended));
			sync->revision = sync->intended->revision;
		}
		manager_wait_check(dist, sync);
		return;
	}
	if (!sync->installed || sync->whole) {
		none = bh_image_new();
		bh_counter_add(&sync_whole_sent, 1);
	} else {
		bh_counter_add(&sync_deltas_sent, 1);
	}
	delta = bh_delta_between(none ? none : sync->installed->image, sync->intended->image);
	sync->sending = ref(sync->intended);
	sync->attempt++;
	dist->o.carrier.apply(sync, sync->sending, delta, dist->o.carrier.arg);
	bh_delta_free(delta);
	bh_image_free(none);
}

static void installed(struct manager_sync *sync, struct manager_image *image,
		      const struct manager_answer *answer)
{
	replace(&sync->installed, ref(image));
	sync->told = answer->hash;
	sync->told_known = true;
	sync->whole = false;
	sync->full = sync->failed = false;
	sync->problem[0] = '\0';
	sync->tries = 0;
	sync->revision = image->revision;
	sync->install_us = answer->install_us;
	sync->sync_us = (bh_time_mono_ns() - image->commit_ns) / 1000;
	sync->installed_wall_ns = bh_time_wall_ns();
	bh_counter_add(&sync_acknowledged, 1);
}

static void refused(struct manager_sync *sync, const struct manager_answer *answer)
{
	bool was = sync->full || sync->failed;

	snprintf(sync->problem, sizeof(sync->problem), "%s: %s", answer->code, answer->text);
	if (strcmp(answer->code, "stale") == 0) {
		bh_counter_add(&sync_stale, 1);
		sync->whole = true;
		pause_then_retry(sync);
		return;
	}
	if (strcmp(answer->code, "full") == 0) {
		bh_counter_add(&sync_full, 1);
		sync->full = true;
	} else {
		bh_counter_add(&sync_failed, 1);
		sync->failed = true;
		sync->whole = sync->tries > 0;
	}
	pause_then_retry(sync);
	if (!was) {
		notice(sync, "policy.failed", "critical",
		       json_pack("{s:s, s:s, s:i}", "code", answer->code, "message", sync->problem,
				 "revision", (int)sync->dist->revision));
	}
}

void manager_sync_answer(struct manager_sync *sync, const struct manager_answer *answer)
{
	struct manager_image *sent;

	if (!sync->sending || answer->attempt != sync->attempt) {
		return;
	}
	sent = bh_steal(&sync->sending);
	if (answer->err == 0 && answer->has_hash &&
	    bh_hash_equal(&answer->hash, bh_image_hash(sent->image))) {
		installed(sync, sent, answer);
		set_online(sync, true);
	} else if (answer->err == 0) {
		struct manager_answer wrong = {.code = "failed",
					       .text = "the host confirmed another hash than that "
						       "of what was sent"};

		replace(&sync->installed, NULL);
		refused(sync, &wrong);
	} else if (answer->err > 0) {
		refused(sync, answer);
	} else if (answer->err == -EHOSTUNREACH) {
		set_online(sync, false);
	} else if (answer->err != -ENOTCONN && answer->err != -ECANCELED) {
		/* It may have been installed or not: the host's hash says it with the next ping. */
		bh_counter_add(&sync_failed, 1);
		snprintf(sync->problem, sizeof(sync->problem), "%s", answer->text);
		sync->failed = true;
		sync->ping_ns = 0;
		pause_then_retry(sync);
	}
	manager_image_unref(sent);
	manager_wait_check(sync->dist, sync);
	manager_sync_kick(sync);
}

void manager_sync_pong(struct manager_sync *sync, const struct manager_answer *answer)
{
	sync->pinging = false;
	sync->ping_ns = bh_time_mono_ns() + PING_NS;
	if (answer->err < 0) {
		if (answer->err == -EHOSTUNREACH || ++sync->misses >= MISSES_MAX) {
			set_online(sync, false);
		}
		return;
	}
	sync->misses = 0;
	manager_distribute_seen(sync->dist, sync->host);
	if (!answer->has_hash || sync->sending) {
		return;
	}
	if (sync->told_known && sync->installed &&
	    !bh_hash_equal(&answer->hash, bh_image_hash(sync->installed->image)) &&
	    !(sync->intended &&
	      bh_hash_equal(&answer->hash, bh_image_hash(sync->intended->image)))) {
		char want[2 * BH_HASH_SIZE + 1], has[2 * BH_HASH_SIZE + 1];

		bh_counter_add(&sync_drift, 1);
		bh_hash_format(bh_image_hash(sync->installed->image), want);
		bh_hash_format(&answer->hash, has);
		notice(sync, "host.drift", "critical",
		       json_pack("{s:s, s:s}", "intended", want, "installed", has));
	}
	take_told(sync, &answer->hash);
	manager_sync_kick(sync);
}

/* ---- the host's own words ---- */

void manager_distribute_seen(struct manager_distribute *dist, struct manager_host *host)
{
	host->last_seen_ns = bh_time_wall_ns();
	if (host->sync) {
		host->sync->misses = 0;
		set_online(host->sync, true);
	}
}

void manager_distribute_hello(struct manager_distribute *dist, struct manager_host *host,
			      const struct bh_hash *hash)
{
	if (!host->sync) {
		host->sync = bh_alloc(sizeof(*host->sync));
		host->sync->dist = dist;
		host->sync->host = host;
	}
	/* Whatever was in flight went to an earlier run of it. */
	replace(&host->sync->sending, NULL);
	host->sync->tries = 0;
	host->sync->retry_ns = 0;
	host->sync->whole = false;
	host->sync->ping_ns = bh_time_mono_ns() + PING_NS;
	if (hash) {
		take_told(host->sync, hash);
	}
	set_online(host->sync, true);
	manager_sync_kick(host->sync);
}

void manager_distribute_resync(struct manager_distribute *dist, struct manager_host *host,
			       const struct bh_hash *hash)
{
	if (!host->sync) {
		return;
	}
	if (hash) {
		take_told(host->sync, hash);
	}
	host->sync->whole = true;
	manager_sync_kick(host->sync);
}

void manager_distribute_forget(struct manager_distribute *dist, struct manager_host *host)
{
	struct manager_sync *sync = host->sync;

	manager_wait_forget(dist, host);
	if (!sync) {
		return;
	}
	host->sync = NULL;
	manager_image_unref(sync->intended);
	manager_image_unref(sync->installed);
	manager_image_unref(sync->sending);
	manager_image_unref(sync->staged);
	free(sync);
}

void manager_distribute_bus(struct manager_distribute *dist, bool up)
{
	struct manager_host *h, *tmp;

	HASH_ITER (hh, dist->o.inv->hosts, h, tmp) {
		if (!h->sync) {
			continue;
		}
		if (up) {
			h->sync->ping_ns = 0; /* who is there, and with which hash? */
		}
	}
}
