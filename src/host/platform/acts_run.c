/* SPDX-License-Identifier: Apache-2.0 */
/* What each act asks libvirt for; on the thread of the act. */
#include "host/platform/acts_internal.h"

#include "base/buf.h"
#include "base/time.h"
#include "host/platform/vm.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#define LOOK_MS 250
#define XML_MAX (1u << 20)
#define MIGRATE_FLAGS                                                                              \
	(VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST |                     \
	 VIR_MIGRATE_UNDEFINE_SOURCE | VIR_MIGRATE_ABORT_ON_ERROR)

/* Waits for LOOK_MS or the end. False: it is over. */
static bool wait_a_moment(struct hostd_acting *a)
{
	uint64_t at = bh_time_mono_ns() + LOOK_MS * BH_NS_PER_MS;
	struct timespec until = {.tv_sec = (time_t)(at / BH_NS_PER_S),
				 .tv_nsec = (long)(at % BH_NS_PER_S)};
	bool over;

	pthread_mutex_lock(&a->lock);
	while (!a->over && pthread_cond_timedwait(&a->cond, &a->lock, &until) == 0) {
	}
	over = a->over;
	pthread_mutex_unlock(&a->lock);
	return !over;
}

/* ---- what can be waited for and given up ---- */

static bool to_be_given_up(struct hostd_acting *a)
{
	bool late = bh_time_mono_ns() >= a->until_ns, cancel;

	pthread_mutex_lock(&a->lock);
	a->late |= late && !a->cancel;
	cancel = a->cancel || a->late;
	pthread_mutex_unlock(&a->lock);
	return cancel;
}

static void note_progress(struct hostd_acting *a, const virDomainJobInfo *info)
{
	if (info->type != VIR_DOMAIN_JOB_BOUNDED && info->type != VIR_DOMAIN_JOB_UNBOUNDED) {
		return;
	}
	pthread_mutex_lock(&a->lock);
	if (info->dataTotal) { /* the guest writes on: never all of it before the end */
		uint64_t percent = info->dataProcessed * 100 / info->dataTotal;

		a->percent = percent > 99 ? 99 : (int)percent;
	}
	pthread_mutex_unlock(&a->lock);
}

/* Beside a call that copies memory. libvirt's connection takes calls of several threads. */
static void *watch(void *arg)
{
	struct hostd_acting *a = arg;
	bool aborted = false;

	while (wait_a_moment(a)) {
		virDomainJobInfo info = {};

		if (virDomainGetJobInfo(a->domain, &info) == 0) {
			note_progress(a, &info);
		}
		if (to_be_given_up(a)) {
			/* before libvirt's job has begun there is nothing to abort: tried again */
			aborted = aborted || virDomainAbortJob(a->domain) == 0;
		}
	}
	return NULL;
}

static int watched(struct hostd_acting *a, int (*fn)(struct hostd_acting *a))
{
	pthread_t thread;
	bool seen = pthread_create(&thread, NULL, watch, a) == 0;
	int r = fn(a);

	if (seen) {
		pthread_mutex_lock(&a->lock);
		a->over = true;
		pthread_cond_signal(&a->cond);
		pthread_mutex_unlock(&a->lock);
		pthread_join(thread, NULL);
	}
	if (r < 0 && a->late) {
		return hostd_act_failed(a, "it took longer than it may, and was given up");
	}
	if (r < 0 && a->cancel) {
		return hostd_act_failed(a, "it was cancelled");
	}
	return r;
}

/* ---- power ---- */

static bool is_active(struct hostd_acting *a)
{
	return virDomainIsActive(a->domain) == 1;
}

static int state_of(struct hostd_acting *a)
{
	int state = VIR_DOMAIN_NOSTATE, reason;

	return virDomainGetState(a->domain, &state, &reason, 0) == 0 ? state : VIR_DOMAIN_NOSTATE;
}

static int told(struct hostd_acting *a, int result)
{
	a->end.changed = result >= 0;
	return result < 0 ? hostd_act_failed(a, NULL) : 0;
}

static int run_start(struct hostd_acting *a)
{
	return is_active(a) ? 0 : told(a, virDomainCreate(a->domain));
}

/* The guest may take its time, or not listen. */
static int run_shutdown(struct hostd_acting *a)
{
	if (!is_active(a)) {
		return 0;
	}
	if (virDomainShutdown(a->domain) < 0) {
		return hostd_act_failed(a, NULL);
	}
	while (is_active(a)) {
		if (to_be_given_up(a)) {
			return hostd_act_failed(a,
						"the guest was asked to shut down and still runs; "
						"destroy powers it off");
		}
		(void)wait_a_moment(a);
	}
	a->end.changed = true;
	return 0;
}

static int run_reboot(struct hostd_acting *a)
{
	return told(a, virDomainReboot(a->domain, VIR_DOMAIN_REBOOT_DEFAULT));
}

static int run_reset(struct hostd_acting *a)
{
	return told(a, virDomainReset(a->domain, 0));
}

static int run_suspend(struct hostd_acting *a)
{
	return state_of(a) == VIR_DOMAIN_PAUSED ? 0 : told(a, virDomainSuspend(a->domain));
}

static int run_resume(struct hostd_acting *a)
{
	return state_of(a) == VIR_DOMAIN_RUNNING ? 0 : told(a, virDomainResume(a->domain));
}

static int run_destroy(struct hostd_acting *a)
{
	return is_active(a) ? told(a, virDomainDestroy(a->domain)) : 0;
}

static int run_undefine(struct hostd_acting *a)
{
	bool persistent = virDomainIsPersistent(a->domain) == 1;

	if (run_destroy(a) < 0) {
		return -1;
	}
	return persistent
		       ? told(a, virDomainUndefineFlags(
					 a->domain, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
							    VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
							    VIR_DOMAIN_UNDEFINE_KEEP_NVRAM))
		       : 0;
}

/* ---- snapshots ---- */

static void put_element(struct bh_wbuf *w, const char *name, const char *text)
{
	xmlChar *safe = xmlEncodeSpecialChars(NULL, (const xmlChar *)text);

	bh_wbuf_printf(w, "<%s>%s</%s>", name, safe ? (const char *)safe : "", name);
	xmlFree(safe);
}

static int create_snapshot(struct hostd_acting *a)
{
	virDomainSnapshotPtr snapshot;
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_wbuf_printf(&w, "<domainsnapshot>");
	put_element(&w, "name", a->what.name);
	put_element(&w, "description", a->what.description);
	bh_wbuf_printf(&w, "</domainsnapshot>");
	snapshot = virDomainSnapshotCreateXML(a->domain, bh_wbuf_cstr(&w), 0);
	bh_wbuf_done(&w);
	if (!snapshot) {
		return hostd_act_failed(a, NULL);
	}
	a->end.changed = true;
	virDomainSnapshotFree(snapshot);
	return 0;
}

static int run_snapshot(struct hostd_acting *a)
{
	return watched(a, create_snapshot);
}

/* Revert or delete. */
static int with_snapshot(struct hostd_acting *a, int (*fn)(virDomainSnapshotPtr s, unsigned int f))
{
	virDomainSnapshotPtr snapshot = virDomainSnapshotLookupByName(a->domain, a->what.name, 0);
	int r;

	if (!snapshot) {
		return hostd_act_failed(a, NULL);
	}
	r = told(a, fn(snapshot, 0));
	virDomainSnapshotFree(snapshot);
	return r;
}

static int run_revert(struct hostd_acting *a)
{
	return with_snapshot(a, virDomainRevertToSnapshot);
}

static int run_snapshot_delete(struct hostd_acting *a)
{
	return with_snapshot(a, virDomainSnapshotDelete);
}

/* The text of a child; "" when there is none. Owned. */
static char *child_text(const xmlNode *root, const char *name)
{
	for (const xmlNode *n = root ? root->children : NULL; n; n = n->next) {
		if (n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name)) {
			xmlChar *text = xmlNodeGetContent(n);
			char *copy = bh_strdup(text ? (const char *)text : "");

			xmlFree(text);
			return hostd_text_mend(copy);
		}
	}
	return bh_strdup("");
}

static json_t *describe(virDomainSnapshotPtr snapshot)
{
	BH_FREE char *xml = virDomainSnapshotGetXMLDesc(snapshot, 0);
	size_t size = xml ? strlen(xml) : 0;
	xmlDoc *doc =
		size && size <= XML_MAX
			? xmlReadMemory(xml, (int)size, NULL, NULL,
					XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING)
			: NULL;
	const xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	BH_FREE char *description = child_text(root, "description");
	BH_FREE char *state = child_text(root, "state");
	BH_FREE char *created = child_text(root, "creationTime");
	BH_FREE char *name = bh_strdup(virDomainSnapshotGetName(snapshot));
	json_t *obj = json_pack("{s:s, s:s, s:s, s:I, s:b}", "name", hostd_text_mend(name),
				"description", description, "state", state, "created_s",
				(json_int_t)strtoll(created, NULL, 10), "current",
				virDomainSnapshotIsCurrent(snapshot, 0) == 1);

	xmlFreeDoc(doc);
	return obj;
}

static int run_snapshots(struct hostd_acting *a)
{
	virDomainSnapshotPtr *list = NULL;
	int n = virDomainListAllSnapshots(a->domain, &list, 0);

	if (n < 0) {
		return hostd_act_failed(a, NULL);
	}
	a->end.list = json_array();
	for (int i = 0; i < n; i++) {
		if (i < HOSTD_SNAPSHOTS_MAX) {
			json_array_append_new(a->end.list, describe(list[i]));
		}
		virDomainSnapshotFree(list[i]);
	}
	free(list);
	return 0;
}

/* ---- travelling ---- */

static int migrate(struct hostd_acting *a)
{
	unsigned int flags = MIGRATE_FLAGS | (a->what.tls ? VIR_MIGRATE_TLS : 0);

	if (virDomainIsPersistent(a->domain) != 1) {
		flags &= ~(unsigned int)(VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE);
	}
	return told(a, virDomainMigrateToURI3(a->domain, a->what.uri, NULL, 0, flags));
}

static int run_migrate(struct hostd_acting *a)
{
	return watched(a, migrate);
}

int hostd_act_run(struct hostd_acting *a)
{
	static int (*const acts[])(struct hostd_acting * a) = {
		[HOSTD_ACT_START] = run_start,
		[HOSTD_ACT_SHUTDOWN] = run_shutdown,
		[HOSTD_ACT_REBOOT] = run_reboot,
		[HOSTD_ACT_RESET] = run_reset,
		[HOSTD_ACT_SUSPEND] = run_suspend,
		[HOSTD_ACT_RESUME] = run_resume,
		[HOSTD_ACT_DESTROY] = run_destroy,
		[HOSTD_ACT_UNDEFINE] = run_undefine,
		[HOSTD_ACT_SNAPSHOT] = run_snapshot,
		[HOSTD_ACT_REVERT] = run_revert,
		[HOSTD_ACT_SNAPSHOT_DELETE] = run_snapshot_delete,
		[HOSTD_ACT_MIGRATE] = run_migrate,
		[HOSTD_ACT_SNAPSHOTS] = run_snapshots,
	};

	if (a->what.kind >= BH_ARRAY_SIZE(acts) || !acts[a->what.kind]) {
		return hostd_act_failed(a, "this host does not know that act");
	}
	return acts[a->what.kind](a);
}
