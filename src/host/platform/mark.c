/* SPDX-License-Identifier: Apache-2.0 */
#include "host/platform/mark.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/util.h"
#include "host/platform/domxml.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <utlist.h>

BH_COUNTER(marks_written, "marks written into the metadata of VMs");
BH_COUNTER(marks_failed, "marks that libvirt did not take");
BH_COUNTER(marks_dropped, "marks not written because too many waited");

struct mark {
	uint8_t uuid[16];
	uint64_t generation;
	bool live;
	struct mark *prev, *next;
};

struct hostd_marker {
	const char *uri;
	pthread_t thread;
	virConnectPtr conn; /* the thread's */

	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t cond;
	struct mark *queue;
	unsigned int count;
	bool stop;
};

static const char *last_error(void)
{
	const virError *e = virGetLastError();

	return e && e->message ? e->message : "no reason given";
}

static int set(virDomainPtr domain, uint64_t generation, bool live)
{
	char element[80];

	snprintf(element, sizeof(element), "<state generation=\"%llu\" live=\"%s\"/>",
		 (unsigned long long)generation, live ? "yes" : "no");
	return virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, element, "bulkhead",
				    HOSTD_XML_STATE_NS,
				    live ? VIR_DOMAIN_AFFECT_LIVE : VIR_DOMAIN_AFFECT_CONFIG);
}

/* The persistent one first: who sees the live mark may rely on both. */
static bool write_mark(virDomainPtr domain, const struct mark *mark)
{
	int persistent = virDomainIsPersistent(domain);

	if (persistent < 0 || (persistent && set(domain, mark->generation, false) < 0)) {
		return false;
	}
	return !mark->live || set(domain, mark->generation, true) == 0;
}

static void work(struct hostd_marker *marker, const struct mark *mark)
{
	char uuid[BH_UUID_TEXT_SIZE];
	virDomainPtr domain = NULL;
	bool good = false;

	bh_uuid_format(mark->uuid, uuid);
	if (marker->conn && virConnectIsAlive(marker->conn) != 1) {
		virConnectClose(bh_steal(&marker->conn));
	}
	if (!marker->conn) {
		marker->conn = virConnectOpen(marker->uri);
	}
	if (marker->conn) {
		domain = virDomainLookupByUUID(marker->conn, mark->uuid);
	}
	if (domain) {
		good = write_mark(domain, mark);
	}
	if (good) {
		bh_counter_add(&marks_written, 1);
	} else {
		bh_counter_add(&marks_failed, 1);
		bh_log_limited(BH_LOG_INFO, "mark", 5, "VM %s: %s", uuid, last_error());
	}
	if (domain) {
		virDomainFree(domain);
	}
}

static void *run(void *arg)
{
	struct hostd_marker *marker = arg;

	for (;;) {
		struct mark *mark;

		pthread_mutex_lock(&marker->lock);
		while (!marker->queue && !marker->stop) {
			pthread_cond_wait(&marker->cond, &marker->lock);
		}
		if (marker->stop) {
			pthread_mutex_unlock(&marker->lock);
			break;
		}
		mark = marker->queue;
		DL_DELETE(marker->queue, mark);
		marker->count--;
		pthread_mutex_unlock(&marker->lock);
		work(marker, mark);
		free(mark);
	}
	if (marker->conn) {
		virConnectClose(marker->conn);
	}
	return NULL;
}

void hostd_marker_put(struct hostd_marker *marker, const uint8_t uuid[16], uint64_t generation,
		      bool live)
{
	struct mark *mark, *next;

	pthread_mutex_lock(&marker->lock);
	DL_FOREACH_SAFE(marker->queue, mark, next)
	{
		if (!memcmp(mark->uuid, uuid, sizeof(mark->uuid))) {
			DL_DELETE(marker->queue, mark);
			marker->count--;
			free(mark);
		}
	}
	if (marker->count < HOSTD_MARKS_MAX) {
		mark = bh_alloc(sizeof(*mark));
		memcpy(mark->uuid, uuid, sizeof(mark->uuid));
		mark->generation = generation;
		mark->live = live;
		DL_APPEND(marker->queue, mark);
		marker->count++;
		pthread_cond_signal(&marker->cond);
	} else {
		bh_counter_add(&marks_dropped, 1);
	}
	pthread_mutex_unlock(&marker->lock);
}

int hostd_marker_new(const char *uri, struct hostd_marker **ret, struct bh_diag *diag)
{
	struct hostd_marker *marker = bh_alloc(sizeof(*marker));

	marker->uri = uri;
	pthread_mutex_init(&marker->lock, NULL);
	pthread_cond_init(&marker->cond, NULL);
	if (pthread_create(&marker->thread, NULL, run, marker) != 0) {
		free(marker);
		return bh_diag_set(diag, -EAGAIN, "no thread for marks");
	}
	*ret = marker;
	return 0;
}

void hostd_marker_free(struct hostd_marker *marker)
{
	struct mark *mark, *next;
	struct timespec until;

	if (!marker) {
		return;
	}
	pthread_mutex_lock(&marker->lock);
	marker->stop = true;
	DL_FOREACH_SAFE(marker->queue, mark, next)
	{
		DL_DELETE(marker->queue, mark);
		free(mark);
	}
	pthread_cond_signal(&marker->cond);
	pthread_mutex_unlock(&marker->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 2;
	if (pthread_timedjoin_np(marker->thread, NULL, &until) != 0) {
		pthread_detach(marker->thread); /* blocked inside libvirt: ends with the process */
		return;
	}
	pthread_cond_destroy(&marker->cond);
	pthread_mutex_destroy(&marker->lock);
	free(marker);
}
