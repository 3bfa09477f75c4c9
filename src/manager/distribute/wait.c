/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until hosts have what they should have. */
#include "manager/distribute/distribute.h"

#include "base/time.h"

#include <utlist.h>

static bool has_it(const struct manager_host *host, uint64_t seq)
{
	const struct manager_sync *sync = host->sync;

	return sync && sync->installed && sync->intended &&
	       (sync->installed->seq >= seq || manager_sync_in_sync(sync));
}

static void finish(struct manager_distribute *dist, struct manager_wait *w, bool all)
{
	DL_DELETE(dist->waits, w);
	w->fn(all, w->arg);
	free(w->hosts);
	free(w);
}

static int by_host(const void *pa, const void *pb)
{
	const struct manager_wait_host *a = pa, *b = pb;

	return (a->host > b->host) - (a->host < b->host);
}

static struct manager_wait_host *find(const struct manager_wait *w, const struct manager_host *host)
{
	struct manager_wait_host key = {.host = host};

	return w->count ? bsearch(&key, w->hosts, w->count, sizeof(key), by_host) : NULL;
}

struct manager_wait *manager_distribute_wait(struct manager_distribute *dist,
					     struct manager_host *const *hosts, size_t count,
					     uint64_t timeout_ms, manager_wait_fn *fn, void *arg)
{
	struct manager_wait *w = bh_alloc(sizeof(*w));

	w->hosts = bh_alloc_array(count + 1, sizeof(*w->hosts));
	w->count = count;
	w->fn = fn;
	w->arg = arg;
	w->deadline_ns = bh_time_mono_ns() + timeout_ms * BH_NS_PER_MS;
	for (size_t i = 0; i < count; i++) {
		const struct manager_sync *sync = hosts[i]->sync;

		w->hosts[i].host = hosts[i];
		w->hosts[i].seq = sync && sync->intended ? sync->intended->seq : 0;
		w->hosts[i].done = has_it(hosts[i], w->hosts[i].seq);
		w->open += !w->hosts[i].done;
	}
	if (count) {
		qsort(w->hosts, count, sizeof(*w->hosts), by_host);
	}
	if (!w->open) {
		w->deadline_ns = 0; /* told by the next tick: never before we return */
	}
	DL_APPEND(dist->waits, w);
	return w;
}

void manager_wait_cancel(struct manager_distribute *dist, struct manager_wait *w)
{
	DL_DELETE(dist->waits, w);
	free(w->hosts);
	free(w);
}

void manager_wait_check(struct manager_distribute *dist, const struct manager_sync *sync)
{
	struct manager_wait *w, *tmp;

	DL_FOREACH_SAFE(dist->waits, w, tmp)
	{
		struct manager_wait_host *h = find(w, sync->host);

		if (h && !h->done) {
			h->done = has_it(sync->host, h->seq);
			w->open -= h->done;
		}
		if (!w->open && w->deadline_ns) {
			finish(dist, w, true);
		}
	}
}

void manager_wait_end(struct manager_distribute *dist)
{
	while (dist->waits) {
		finish(dist, dist->waits, false);
	}
}

void manager_wait_forget(struct manager_distribute *dist, const struct manager_host *host)
{
	struct manager_wait *w;

	DL_FOREACH (dist->waits, w) {
		struct manager_wait_host *h = find(w, host);

		if (h && !h->done) {
			h->done = true; /* never looked at again: the pointer may dangle */
			w->open--;
		}
		if (!w->open) {
			w->deadline_ns = 0;
		}
	}
}

void manager_wait_tick(struct manager_distribute *dist, uint64_t mono_ns)
{
	struct manager_wait *w, *tmp;

	DL_FOREACH_SAFE(dist->waits, w, tmp)
	{
		if (mono_ns >= w->deadline_ns) {
			finish(dist, w, w->open == 0);
		}
	}
}

struct manager_host **manager_distribute_in_scope(struct manager_distribute *dist,
						  size_t *ret_count)
{
	struct manager_host **hosts =
		bh_alloc_array(HASH_COUNT(dist->o.inv->hosts) + 1, sizeof(*hosts));
	struct manager_host *h, *tmp;
	size_t count = 0;

	HASH_ITER (hh, dist->o.inv->hosts, h, tmp) {
		if (h->sync && h->sync->intended && h->sync->intended->seq > dist->scope_seq) {
			hosts[count++] = h;
		}
	}
	*ret_count = count;
	return hosts;
}
