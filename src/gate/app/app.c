/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions and transactions: which parser gets the bytes, what is over. See app.h; which protocol
 * it is stands in detect.c, files in file.c, memory in memory.c.
 */
#include "gate/app/app.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/util.h"
#include "gate/app/magic.h"
#include "gate/app/session.h"
#include "gate/config.h"
#include "gate/stream/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/random.h>

BH_COUNTER(gate_app_notes_lost, "notes to expected flows overwritten: table full");

#define APP(id, ops) extern const struct gate_app_ops ops;
#include "gate/app/apps.def"
#undef APP

static const struct gate_app_ops *const apps_by_id[GATE_APP_COUNT] = {
#define APP(id, ops) [GATE_APP_##id] = &(ops),
#include "gate/app/apps.def"
#undef APP
};

static const struct gate_app_ops *const apps_in_order[] = {
#define APP(id, ops) &(ops),
#include "gate/app/apps.def"
#undef APP
	NULL,
};

static const char *const session_events[GATE_SESSION_EVENTS] = {
	[GATE_SESSION_MISMATCH] = "applayer_mismatch_protocol_both_directions",
	[GATE_SESSION_WRONG_DIRECTION] = "applayer_wrong_direction_first_data",
	[GATE_SESSION_ONE_DIRECTION] = "applayer_detect_protocol_only_one_direction",
	[GATE_SESSION_SKIPPED] = "applayer_proto_detection_skipped",
	[GATE_SESSION_NO_TLS] = "applayer_no_tls_after_starttls",
	[GATE_SESSION_UNEXPECTED] = "applayer_unexpected_protocol",
};

/* ---- names ---- */

const struct gate_app_ops *gate_app_ops_of(enum gate_app app)
{
	return (unsigned int)app < GATE_APP_COUNT ? apps_by_id[app] : NULL;
}

const struct gate_app_ops *gate_app_at(unsigned int index)
{
	return apps_in_order[index];
}

int gate_app_event_find(const char *name, enum gate_app *ret_app, uint16_t *ret_event)
{
	for (uint16_t i = 0; i < GATE_SESSION_EVENTS; i++) {
		if (!strcmp(session_events[i], name)) {
			*ret_app = GATE_APP_UNKNOWN;
			*ret_event = i;
			return 0;
		}
	}
	const char *dot = strchr(name, '.');
	for (unsigned int i = 0; dot && i < GATE_APP_COUNT; i++) {
		const struct gate_app_ops *ops = apps_by_id[i];
		const char *app_name = gate_app_name((enum gate_app)i);
		size_t len = strlen(app_name);
		if (!ops || len != (size_t)(dot - name) || strncmp(app_name, name, len) != 0) {
			continue;
		}
		for (uint16_t e = 0; e < ops->event_count; e++) {
			if (ops->events[e].name && !strcmp(ops->events[e].name, dot + 1)) {
				*ret_app = (enum gate_app)i;
				*ret_event = e;
				return 0;
			}
		}
	}
	return -ENOENT;
}

/* ---- sessions ---- */

struct gate_flow *gate_session_flow(const struct gate_session *session)
{
	return session->flow;
}

const struct gate_config *gate_session_config(const struct gate_session *session)
{
	return session->apps->config;
}

uint64_t gate_session_time_us(const struct gate_session *session)
{
	return session->time_us;
}

uint64_t gate_session_seed(const struct gate_session *session)
{
	return session->apps->seed;
}

const char *gate_session_note(const struct gate_session *session)
{
	return session->note;
}

const struct gate_app_ops *gate_session_ops(const struct gate_session *session)
{
	return session->ops;
}

enum gate_app gate_session_original(const struct gate_session *session)
{
	return (enum gate_app)session->original;
}

uint16_t gate_session_events(const struct gate_session *session)
{
	return session->events;
}

uint16_t gate_session_events_take(struct gate_session *session)
{
	uint16_t fresh = session->events & (uint16_t)~session->told;
	session->told = session->events;
	return fresh;
}

const char *gate_session_event_name(enum gate_session_event event)
{
	return session_events[event];
}

void gate_session_stop(struct gate_session *session, enum gate_dir dir)
{
	session->stopped_dirs |= (uint8_t)GATE_DIR_BIT(dir);
	if (session->flow->stream) {
		gate_stream_stop_app(session->flow->stream, dir);
	}
}

void gate_session_inspect_now(struct gate_session *session, enum gate_dir dir)
{
	if (session->flow->stream) {
		gate_stream_inspect_now(session->flow->stream, dir);
	}
}

void gate_session_encrypted(struct gate_session *session)
{
	const struct gate_config *config = session->apps->config;
	const char *how = gate_session_ops(session)->app == GATE_APP_SSH
				  ? config->ssh_encryption_handling
				  : config->encryption_handling;
	if (session->encrypted) {
		return;
	}
	session->encrypted = true;
	if (how && !strcmp(how, "full")) {
		return;
	}
	session->flow->flags |= GATE_FLOW_NO_PAYLOAD;
	if (session->flow->stream) {
		gate_stream_stop_raw(session->flow->stream, GATE_TO_SERVER);
		gate_stream_stop_raw(session->flow->stream, GATE_TO_CLIENT);
	}
	if (how && !strcmp(how, "bypass") && session->apps->flows) {
		gate_flow_set_state(session->apps->flows, session->flow, GATE_FLOW_BYPASSED);
	}
}

void gate_session_become(struct gate_session *session, enum gate_app app)
{
	session->becoming = true;
	session->becomes = (uint16_t)app;
}

void gate_session_hand(struct gate_session *session, const void *data, size_t size)
{
	gate_session_release(session, session->handed, session->handed_size);
	session->handed = size ? gate_session_alloc(session, size) : NULL;
	session->handed_size = session->handed ? size : 0;
	if (session->handed_size) {
		memcpy(session->handed, data, size);
	}
}

const uint8_t *gate_session_handed(const struct gate_session *session, size_t *ret_size)
{
	*ret_size = session->handed_size;
	return session->handed;
}

void gate_session_rename(struct gate_session *session, enum gate_app app)
{
	const struct gate_app_ops *ops = gate_app_ops_of(app);
	if (ops) {
		session->ops = ops;
		session->flow->app = (uint16_t)app;
		session->flow->app_to[GATE_TO_SERVER] = (uint16_t)app;
		session->flow->app_to[GATE_TO_CLIENT] = (uint16_t)app;
	}
}

void gate_session_expect(struct gate_session *session, const struct gate_addr *server,
			 uint16_t port, enum gate_app app, const char *note)
{
	struct gate_apps *apps = session->apps;
	if (apps->flows) {
		gate_flow_expect(apps->flows, session->flow, server, port, app, session->time_us);
	}
	if (!note) {
		return;
	}
	struct gate_note *slot = &apps->notes[apps->note_next++ % GATE_NOTES_MAX];
	if (slot->until_us > session->time_us) {
		apps->stats.notes_full++;
		bh_counter_add(&gate_app_notes_lost, 1);
	}
	slot->server = *server;
	slot->port = port;
	slot->until_us = session->time_us + GATE_NOTE_TIMEOUT_US;
	snprintf(slot->text, sizeof(slot->text), "%s", note);
}

static void take_note(struct gate_session *session)
{
	struct gate_apps *apps = session->apps;
	for (unsigned int side = 0; side < 2; side++) {
		const struct gate_addr *addr = &session->flow->addr[side];
		for (unsigned int i = 0; i < GATE_NOTES_MAX; i++) {
			struct gate_note *note = &apps->notes[i];
			if (note->until_us < session->time_us || !note->until_us ||
			    note->port != session->flow->port[side] ||
			    memcmp(&note->server, addr, sizeof(*addr)) != 0) {
				continue;
			}
			size_t size = strlen(note->text) + 1;
			char *copy = gate_session_alloc(session, size);
			if (copy) {
				memcpy(copy, note->text, size);
			}
			session->note = copy;
			note->until_us = 0;
			return;
		}
	}
}

void gate_session_close(struct gate_session *session)
{
	gate_txs_free(session);
	if (session->state && session->ops->free) {
		session->ops->free(session, session->state);
	}
	session->state = NULL;
	session->ops = NULL;
}

void gate_session_fail(struct gate_session *session)
{
	if (session->ops) {
		session->apps->stats.errors[gate_session_stat(session, session->ops->app)]++;
	} else if (session->flow->app != GATE_APP_FAILED) {
		session->apps->stats.flows[gate_session_stat(session, GATE_APP_FAILED)]++;
	}
	gate_session_finish(session, GATE_TO_SERVER);
	gate_session_finish(session, GATE_TO_CLIENT);
	/* what it was remains said; only what was never known is failed */
	if (!session->ops) {
		session->flow->app = GATE_APP_FAILED;
	}
	gate_session_stop(session, GATE_TO_SERVER);
	gate_session_stop(session, GATE_TO_CLIENT);
}

bool gate_session_open(struct gate_session *session, const struct gate_app_ops *ops)
{
	session->ops = ops;
	session->state = ops->new ? ops->new (session) : NULL;
	session->apps->stats.flows[gate_session_stat(session, ops->app)]++;
	session->flow->app = (uint16_t)ops->app;
	if (!session->note && session->flow->app_expected) {
		take_note(session);
	}
	if (ops->new && !session->state) {
		gate_session_fail(session);
		return false;
	}
	return true;
}

struct gate_session *gate_session_of(struct gate_apps *apps, struct gate_flow *flow,
				     uint64_t time_us)
{
	struct gate_session *session = flow->session;
	if (!session) {
		session = gate_session_new(apps, flow);
		if (!session) {
			return NULL;
		}
		flow->session = session;
	}
	session->time_us = time_us;
	return session;
}

void gate_session_free(struct gate_apps *apps, struct gate_session *session)
{
	if (!session) {
		return;
	}
	gate_session_close(session);
	if (session->flow->session == session) {
		session->flow->session = NULL;
	}
	gate_session_delete(session);
}

bool gate_tx_buffer(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir,
		    enum gate_buffer buffer, uint32_t index, struct gate_buffer_view *ret)
{
	if (!session->ops) {
		return false;
	}
	if (session->ops->buffer && session->ops->buffer(tx, dir, buffer, index, ret)) {
		return true;
	}
	if (!(gate_buffer_desc(buffer)->flags & GATE_BUFFER_FILE)) {
		return false;
	}
	struct gate_file *file = gate_file_at(&tx->files[dir], index);
	return file && gate_file_buffer(file, buffer, ret);
}

/* ---- workers ---- */

struct gate_apps *gate_apps_new(const struct gate_config *config, struct gate_flow_table *flows,
				struct gate_file_sink *sink)
{
	struct gate_apps *apps = bh_alloc(sizeof(*apps));
	apps->config = config;
	apps->flows = flows;
	apps->sink = sink;
	apps->md5 = EVP_md5();
	apps->sha1 = EVP_sha1();
	apps->sha256 = EVP_sha256();
	if (getrandom(&apps->seed, sizeof(apps->seed), 0) != sizeof(apps->seed)) {
		abort();
	}
	gate_matcher_init(&apps->matcher);
	return apps;
}

void gate_apps_free(struct gate_apps *apps)
{
	if (apps) {
		gate_pool_done(apps);
		gate_matcher_done(&apps->matcher);
		gate_magic_free(apps->magic);
		free(apps);
	}
}

void gate_apps_no_log(struct gate_apps *apps)
{
	apps->no_log = true;
}

void gate_apps_join_parts(struct gate_apps *apps, struct gate_ranges *ranges)
{
	apps->ranges = ranges;
}

void gate_apps_on_tx_free(struct gate_apps *apps, void (*fn)(struct gate_detect_tx *state))
{
	apps->tx_free = fn;
}

void gate_apps_want_files(struct gate_apps *apps, uint16_t flags)
{
	struct bh_diag diag = {};

	apps->file_flags = flags;
	if ((flags & GATE_FILE_MAGIC) && !apps->magic) {
		apps->magic = gate_magic_new(&diag);
		if (!apps->magic) {
			bh_log(BH_LOG_WARN, "app", "%s", diag.text);
		}
	}
}

const struct gate_apps_stats *gate_apps_stats(const struct gate_apps *apps)
{
	return &apps->stats;
}
