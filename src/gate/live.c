/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live: a thread per worker reads its own capture; the main thread's loop has signals, the control
 * socket, statistics and reloads. A reload builds the rule set in a thread of libuv's pool and
 * hands it to every worker, which takes it up between two packets; when it can't be built the old
 * one goes on.
 */
#include "gate/engine.h"

#include "base/counter.h"
#include "base/ctl.h"
#include "base/jtext.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#define WAIT_MS	    50
#define FLUSH_US    500000
#define RELOAD_NICE 19
#define REAP_MS	    100

BH_COUNTER(gate_reloads, "rule sets that were loaded anew");
BH_COUNTER(gate_reloads_failed, "rule sets that could not be loaded: the old one stayed");
BH_COUNTER(gate_capture_errors, "workers that ended because their capture failed");

struct live_worker {
	struct gate_live *live;
	struct gate_source *source;
	struct gate_worker *worker;
	pthread_t thread;
	unsigned int number;
	bool running;
};

struct gate_live {
	struct gate_engine *engine;
	struct live_worker *workers;
	unsigned int count;
	const char *names[2];
	struct gate_capture_group *group;
	_Atomic bool stop, failed;

	uv_loop_t loop;
	uv_signal_t ends[2], hangup;
	uv_timer_t stats, reaper;
	/* Rule sets that workers may still have. They are freed here, when the last worker has let
	 * go: a ring runs over while a worker frees one. */
	BH_VEC(struct gate_rule_sets *) retired;
	uv_async_t trouble;
	struct bh_ctl_server *ctl;
	struct bh_notify notify;

	bool reloading, again;
	uv_work_t reload;
	struct gate_rule_sets *fresh;
	int reload_error;
	struct bh_diag reload_diag;
	struct bh_ctl_request *asker; /* who waits for the reload; NULL nobody */
};

/* ---- workers ---- */

static uint64_t now_us(void)
{
	return bh_time_wall_ns() / 1000;
}

static void *work(void *arg)
{
	struct live_worker *w = arg;
	struct gate_packet p = {};
	struct bh_diag diag = {};
	uint64_t flushed_us = 0;

	while (!atomic_load_explicit(&w->live->stop, memory_order_relaxed)) {
		int n = w->source->ops->next(w->source, &p, WAIT_MS, &diag);

		if (n > 0) {
			gate_worker_packet(w->worker, &p);
		}
		if (n == 0 || (n > 0 && p.time_us - flushed_us > FLUSH_US)) {
			flushed_us = n ? p.time_us : now_us();
			gate_worker_tick(w->worker, flushed_us);
		}
		if (n < 0) {
			bh_counter_add(&gate_capture_errors, 1);
			bh_log(BH_LOG_ERROR, "capture", "worker %u: %s", w->number, diag.text);
			atomic_store(&w->live->failed, true);
			uv_async_send(&w->live->trouble);
			break;
		}
	}
	gate_worker_finish(w->worker, GATE_FLOW_END_SHUTDOWN);
	return NULL;
}

static int start_workers(struct gate_live *live, struct bh_diag *diag)
{
	struct gate_engine *engine = live->engine;

	for (unsigned int i = 0; i < live->count; i++) {
		struct live_worker *w = &live->workers[i];
		const struct gate_worker_options options = {
			.config = engine->config,
			.shared = engine->shared,
			.out = engine->out,
			.events = engine->events,
			.names = engine->names,
			.source = w->source,
			.files = engine->files,
			.ranges = engine->ranges,
			.select = engine->select,
			.verdict = {.source = live->names[1] ? w->source : NULL,
				    .inline_mode = live->names[1] != NULL},
			.interfaces = live->names,
			.interface_count = live->names[1] ? 2 : 1,
			.number = i,
		};
		int err;

		w->worker = gate_worker_new(&options);
		if (engine->sets) {
			gate_worker_use(w->worker, engine->sets);
		}
		err = pthread_create(&w->thread, NULL, work, w);
		if (err) {
			return bh_diag_set(diag, -err, "a worker can't be started: %s",
					   strerror(err));
		}
		w->running = true;
	}
	return 0;
}

static void sum_stats(struct gate_live *live, struct gate_stats *sum)
{
	memset(sum, 0, sizeof(*sum));
	gate_engine_stats(live->engine, sum);
	for (unsigned int i = 0; i < live->count; i++) {
		if (live->workers[i].worker) {
			gate_worker_stats(live->workers[i].worker, sum);
		}
	}
}

/* ---- reload ---- */

static void reload_work(uv_work_t *work_req)
{
	struct gate_live *live = work_req->data;

	/* packets first; of this thread only */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), RELOAD_NICE);
	live->fresh = NULL;
	live->reload_error =
		gate_engine_build(live->engine, NULL, NULL, &live->fresh, &live->reload_diag);
}

static void begin_reload(struct gate_live *live);

static void answer_reload(struct gate_live *live)
{
	struct bh_ctl_request *asker = bh_steal(&live->asker);
	struct gate_rule_set_stats stats;
	size_t refused;

	if (!asker) {
		return;
	}
	if (live->reload_error) {
		char text[BH_DIAG_TEXT_SIZE + BH_DIAG_FILE_SIZE + 32];

		bh_ctl_reply_error(asker, "%s",
				   bh_diag_format(&live->reload_diag, text, sizeof(text)));
		return;
	}
	gate_engine_sum_sets(live->engine->sets, &stats, &refused);
	bh_ctl_reply(asker, json_pack("{s:I,s:I,s:I,s:b}", "rules", (json_int_t)stats.rules,
				      "refused", (json_int_t)refused, "build_ms",
				      (json_int_t)stats.build_ms, "from_cache", stats.from_cache));
}

static void on_reap(uv_timer_t *timer)
{
	struct gate_live *live = timer->data;
	size_t kept = 0;

	for (size_t i = 0; i < live->retired.count; i++) {
		if (gate_rule_sets_is_last(live->retired.items[i])) {
			gate_rule_sets_unref(live->retired.items[i]);
		} else {
			live->retired.items[kept++] = live->retired.items[i];
		}
	}
	live->retired.count = kept;
	if (!kept) {
		uv_timer_stop(timer);
	}
}

static void reload_done(uv_work_t *work_req, int status)
{
	struct gate_live *live = work_req->data;

	live->reloading = false;
	if (status || live->reload_error) {
		char text[BH_DIAG_TEXT_SIZE + BH_DIAG_FILE_SIZE + 32];

		live->reload_error = live->reload_error ? live->reload_error : status;
		bh_counter_add(&gate_reloads_failed, 1);
		bh_log(BH_LOG_ERROR, "rules", "the old rules go on: %s",
		       bh_diag_format(&live->reload_diag, text, sizeof(text)));
	} else {
		for (unsigned int i = 0; i < live->count; i++) {
			gate_worker_use(live->workers[i].worker, live->fresh);
		}
		if (live->engine->sets) {
			*bh_vec_push(&live->retired) = live->engine->sets;
			uv_timer_start(&live->reaper, on_reap, REAP_MS, REAP_MS);
		}
		live->engine->sets = bh_steal(&live->fresh);
		live->engine->loaded_us = now_us();
		bh_counter_add(&gate_reloads, 1);
	}
	answer_reload(live);
	if (live->again && !live->stop) {
		begin_reload(live);
	}
}

static void begin_reload(struct gate_live *live)
{
	live->again = live->reloading;
	if (live->reloading) {
		return;
	}
	live->reload.data = live;
	live->reload_diag = (struct bh_diag){};
	live->reloading = uv_queue_work(&live->loop, &live->reload, reload_work, reload_done) == 0;
}

/* ---- what the loop is asked ---- */

static void on_end(uv_signal_t *signal_handle, int number)
{
	struct gate_live *live = signal_handle->data;

	bh_log(BH_LOG_INFO, "main", "signal %d: ending", number);
	atomic_store(&live->stop, true);
	uv_stop(&live->loop);
}

static void on_hangup(uv_signal_t *signal_handle, int number)
{
	struct gate_live *live = signal_handle->data;

	gate_engine_reopen(live->engine);
	begin_reload(live);
}

static void on_trouble(uv_async_t *async)
{
	struct gate_live *live = async->data;

	uv_stop(&live->loop);
}

static void on_stats(uv_timer_t *timer)
{
	struct gate_live *live = timer->data;
	struct gate_stats stats;

	sum_stats(live, &stats);
	gate_eve_stats(live->engine->out, &stats, now_us());
}

static void op_reload(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct gate_live *live = arg;

	if (live->asker || live->reloading) {
		bh_ctl_reply_error(req, "a reload is under way");
		return;
	}
	live->asker = req;
	begin_reload(live);
	if (!live->reloading) {
		live->asker = NULL;
		bh_ctl_reply_error(req, "no thread for the reload");
	}
}

static void op_stats(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct gate_stats stats;
	struct gate_jw jw;
	json_t *body;

	sum_stats(arg, &stats);
	gate_jw_init(&jw);
	gate_jw_object(&jw, NULL);
	gate_stats_write(&stats, &jw);
	gate_jw_end(&jw);
	body = json_loadb(jw.data, jw.size, 0, NULL);
	gate_jw_done(&jw);
	bh_ctl_reply(req, json_pack("{s:o}", "stats", body ? body : json_null()));
}

/* Somebody has moved the file of records away. */
static void op_reopen(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	gate_engine_reopen(((struct gate_live *)arg)->engine);
	bh_ctl_reply(req, json_object());
}

/* Reasons quote what rules say, which need not be UTF-8. */
static json_t *text(const char *s)
{
	struct bh_wbuf w;
	json_t *json;

	bh_wbuf_init(&w, 0);
	bh_jtext_put_str(&w, s);
	json = json_loadb((const char *)w.data, w.size, JSON_DECODE_ANY, NULL);
	bh_wbuf_done(&w);
	return json;
}

static void tell_refused(const struct gate_rule_set *set, json_t *list)
{
	bh_vec_foreach (refusal, &gate_rule_set_files(set)->refusals) {
		json_array_append_new(
			list, json_pack("{s:o,s:I,s:I,s:I,s:o}", "file", text(refusal->file),
					"line", (json_int_t)refusal->line, "column",
					(json_int_t)refusal->column, "sid",
					(json_int_t)refusal->sid, "reason", text(refusal->reason)));
	}
}

static json_t *tell_set(const struct gate_live *live, uint32_t slot)
{
	const struct gate_rule_set *set = gate_rule_sets_get(live->engine->sets, slot);
	struct gate_rule_set_stats s;

	gate_rule_set_stats(set, &s);
	return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "name",
			 gate_config_set_name(live->engine->config, slot), "rules",
			 (json_int_t)s.rules, "refused",
			 (json_int_t)gate_rule_set_files(set)->refusals.count, "groups",
			 (json_int_t)s.groups, "databases", (json_int_t)s.databases, "shared",
			 (json_int_t)s.shared_databases, "bytes", (json_int_t)s.bytes, "build_ms",
			 (json_int_t)s.build_ms);
}

static void op_rules(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct gate_live *live = arg;
	const struct gate_rule_sets *all = live->engine->sets;
	json_t *refused = json_array(), *sets = json_array();
	struct gate_rule_set_stats stats;
	size_t count;

	gate_engine_sum_sets(all, &stats, &count);
	for (uint32_t i = 0; i < gate_rule_sets_count(all); i++) {
		tell_refused(gate_rule_sets_get(all, i), refused);
		json_array_append_new(sets, tell_set(live, i));
	}
	bh_ctl_reply(req, json_pack("{s:I,s:I,s:I,s:I,s:o,s:o}", "rules", (json_int_t)stats.rules,
				    "groups", (json_int_t)stats.groups, "databases",
				    (json_int_t)stats.databases, "bytes", (json_int_t)stats.bytes,
				    "refused", refused, "sets", sets));
}

/* ---- life ---- */

static int open_source(struct gate_live *live, unsigned int number, struct bh_diag *diag)
{
	const struct gate_config *config = live->engine->config;
	const struct gate_live_options options = {
		.in = live->names[0],
		.out = live->names[1],
		.worker = number,
		.workers = live->count,
		.group = live->group,
		.by_flow = strcmp(config->fanout, "flow") == 0,
		.ring_mb = (uint32_t)(config->ring_mb >> 20),
		.snaplen = (uint32_t)config->snaplen,
		.promiscuous = true,
		.fail_open = config->fail_open,
		.pass_link = config->pass_link,
		.xdp_symmetric = config->xdp_symmetric,
	};
	struct gate_source **ret = &live->workers[number].source;

	return strcmp(config->capture_mode, "af-xdp") == 0
		       ? gate_source_xdp(&options, ret, diag)
		       : gate_source_afpacket(&options, ret, diag);
}

static int open_loop(struct gate_live *live, struct bh_diag *diag)
{
	const struct gate_config *config = live->engine->config;
	const struct bh_ctl_options ctl = {.path = config->control_socket,
					   .program = "bulkhead-gated",
					   .mode = 0600,
					   .root_only = true};
	static const int ends[] = {SIGINT, SIGTERM};
	int err = 0;

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(ends); i++) {
		uv_signal_init(&live->loop, &live->ends[i]);
		live->ends[i].data = live;
		err = err ? err : uv_signal_start(&live->ends[i], on_end, ends[i]);
	}
	uv_signal_init(&live->loop, &live->hangup);
	live->hangup.data = live;
	err = err ? err : uv_signal_start(&live->hangup, on_hangup, SIGHUP);
	uv_timer_init(&live->loop, &live->stats);
	live->stats.data = live;
	uv_timer_init(&live->loop, &live->reaper);
	live->reaper.data = live;
	err = err ? err : uv_async_init(&live->loop, &live->trouble, on_trouble);
	live->trouble.data = live;
	if (err) {
		return bh_diag_set(diag, err, "event loop: %s", uv_strerror(err));
	}
	if (!config->control_socket) {
		return 0;
	}
	err = bh_ctl_server_new(&live->loop, &ctl, &live->ctl, diag);
	if (!err) {
		bh_ctl_server_add(live->ctl, "reload", op_reload, live);
		bh_ctl_server_add(live->ctl, "reopen", op_reopen, live);
		bh_ctl_server_add(live->ctl, "stats", op_stats, live);
		bh_ctl_server_add(live->ctl, "rules", op_rules, live);
	}
	return err;
}

int gate_live_new(struct gate_engine *engine, const char *in, const char *out,
		  struct gate_live **ret, struct bh_diag *diag)
{
	struct gate_live *live = bh_alloc(sizeof(*live));
	int err;

	live->engine = engine;
	live->names[0] = in;
	live->names[1] = out;
	live->count = (unsigned int)engine->config->workers;
	live->workers = bh_alloc_array(live->count, sizeof(*live->workers));
	live->group = gate_capture_group_new();
	err = uv_loop_init(&live->loop);
	if (err) {
		gate_capture_group_free(live->group);
		free(live->workers);
		free(live);
		return bh_diag_set(diag, err, "event loop: %s", uv_strerror(err));
	}
	err = open_loop(live, diag);
	for (unsigned int i = 0; i < live->count && !err; i++) {
		live->workers[i].live = live;
		live->workers[i].number = i;
		err = open_source(live, i, diag);
	}
	if (err) {
		gate_live_free(live);
		return err;
	}
	*ret = live;
	return 0;
}

static void stop_workers(struct gate_live *live)
{
	atomic_store(&live->stop, true);
	for (unsigned int i = 0; i < live->count; i++) {
		if (live->workers[i].running) {
			pthread_join(live->workers[i].thread, NULL);
			live->workers[i].running = false;
		}
	}
}

int gate_live_run(struct gate_live *live, struct bh_diag *diag)
{
	uint64_t interval_ms = live->engine->config->stats_interval_s * 1000;
	int err = start_workers(live, diag);

	if (!err && interval_ms) {
		uv_timer_start(&live->stats, on_stats, interval_ms, interval_ms);
	}
	if (!err) {
		bh_notify_ready(&live->notify, &live->loop);
		uv_run(&live->loop, UV_RUN_DEFAULT);
		bh_notify_send("STOPPING=1");
	}
	stop_workers(live);
	while (live->reloading) {
		uv_run(&live->loop, UV_RUN_ONCE);
	}
	on_stats(&live->stats);
	gate_out_flush(live->engine->out);
	if (!err && live->failed) {
		err = bh_diag_set(diag, -EIO, "a capture failed");
	}
	return err;
}

uv_loop_t *gate_live_loop(struct gate_live *live)
{
	return &live->loop;
}

static void close_rest(uv_handle_t *handle, void *arg)
{
	if (!uv_is_closing(handle)) {
		uv_close(handle, NULL);
	}
}

void gate_live_free(struct gate_live *live)
{
	if (!live) {
		return;
	}
	stop_workers(live);
	bh_ctl_server_free(live->ctl);
	for (unsigned int i = 0; i < live->count; i++) {
		gate_worker_free(live->workers[i].worker);
		if (live->workers[i].source) {
			live->workers[i].source->ops->free(live->workers[i].source);
		}
	}
	uv_walk(&live->loop, close_rest, NULL);
	uv_run(&live->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&live->loop);
	bh_vec_foreach (sets, &live->retired) {
		gate_rule_sets_unref(*sets);
	}
	bh_vec_done(&live->retired);
	gate_capture_group_free(live->group);
	free(live->workers);
	free(live);
}
