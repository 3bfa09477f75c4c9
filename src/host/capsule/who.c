/* SPDX-License-Identifier: Apache-2.0 */
#include "host/capsule/who.h"

#include "base/buf.h"
#include "base/counter.h"
#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <utlist.h>

#define LOOK_MS	    1000
#define OUTPUT_MAX  65536
#define WAITERS_MAX 64

BH_COUNTER(who_looks, "looks at who is connected to libvirt");
BH_COUNTER(who_failed, "looks at who is connected to libvirt that found nothing out");

struct waiter {
	hostd_who_fn *fn;
	void *arg;
	struct waiter *prev, *next;
};

struct look {
	struct hostd_who *who; /* NULL: nobody waits for it any more */
	uv_process_t process;
	uv_pipe_t out;
	uv_timer_t timer;
	unsigned int open; /* handles */
	bool ended, exited, good;
	struct bh_wbuf data;
	char chunk[4096];
};

struct hostd_who {
	uv_loop_t *loop;
	char *program;
	struct look *look; /* under way */
	struct waiter *waiters;
	unsigned int count;
};

/* ---- one look ---- */

static void on_closed(uv_handle_t *handle)
{
	struct look *look = handle->data;

	if (--look->open == 0) {
		bh_wbuf_done(&look->data);
		free(look);
	}
}

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle)) {
		uv_close(handle, on_closed);
	}
}

/* Those who wait get what there is. The process stays until it has ended: whoever closes its handle
 * before leaves a zombie. */
static void conclude(struct look *look, const json_t *by)
{
	struct hostd_who *who = bh_steal(&look->who);
	struct waiter *waiters, *w, *next;

	close_handle((uv_handle_t *)&look->out);
	close_handle((uv_handle_t *)&look->timer);
	if (!look->exited) {
		uv_process_kill(&look->process, SIGKILL);
	}
	if (!who) {
		return;
	}
	who->look = NULL;
	who->count = 0;
	waiters = bh_steal(&who->waiters);
	DL_FOREACH_SAFE(waiters, w, next)
	{
		w->fn(by, w->arg);
		free(w);
	}
}

static void finish(struct look *look)
{
	BH_JSON json_t *by = NULL;

	if (!look->good || look->data.err ||
	    bh_json_load(bh_wbuf_cstr(&look->data), look->data.size, OUTPUT_MAX, &by, NULL) < 0 ||
	    !json_is_array(by)) {
		bh_counter_add(&who_failed, 1);
		json_decref(by);
		by = json_array();
	}
	conclude(look, by);
}

static void on_ended(uv_process_t *process, int64_t status, int signal)
{
	struct look *look = process->data;

	look->exited = true;
	look->good = look->who && status == 0 && signal == 0;
	close_handle((uv_handle_t *)process);
	if (look->who && look->ended) {
		finish(look);
	}
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	struct look *look = handle->data;

	*buf = uv_buf_init(look->chunk, sizeof(look->chunk));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
	struct look *look = stream->data;

	if (size > 0) {
		bh_wbuf_put(&look->data, buf->base, (size_t)size);
	}
	if (size < 0 || look->data.err) {
		look->ended = true;
		uv_read_stop(stream);
	}
	if (look->who && look->ended && (look->exited || look->data.err)) {
		finish(look);
	}
}

/* It takes too long, or could not be started. */
static void on_timer(uv_timer_t *timer)
{
	struct look *look = timer->data;

	look->good = false;
	finish(look);
}

static int spawn(struct look *look)
{
	char mode[] = "clients";
	char *args[] = {look->who->program, mode, NULL};
	uv_stdio_container_t stdio[3] = {
		{.flags = UV_IGNORE},
		{.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
		 .data.stream = (uv_stream_t *)&look->out},
		{.flags = UV_IGNORE},
	};
	uv_process_options_t options = {
		.exit_cb = on_ended,
		.file = look->who->program,
		.args = args,
		.stdio_count = 3,
		.stdio = stdio,
	};
	int err = uv_spawn(look->who->loop, &look->process, &options);

	return err ? err : uv_read_start((uv_stream_t *)&look->out, on_alloc, on_read);
}

static void look_begin(struct hostd_who *who)
{
	struct look *look = bh_alloc(sizeof(*look));

	bh_counter_add(&who_looks, 1);
	who->look = look;
	look->who = who;
	look->open = 3;
	bh_wbuf_init(&look->data, OUTPUT_MAX);
	if (uv_timer_init(who->loop, &look->timer) || uv_pipe_init(who->loop, &look->out, 0)) {
		abort(); /* cannot fail: they only fill memory */
	}
	look->process.data = look->out.data = look->timer.data = look;
	if (spawn(look) == 0) {
		uv_timer_start(&look->timer, on_timer, LOOK_MS, 0);
	} else {
		look->exited = !uv_is_active((uv_handle_t *)&look->process);
		if (look->exited) {
			close_handle((uv_handle_t *)&look->process);
		}
		uv_timer_start(&look->timer, on_timer, 0, 0);
	}
}

/* ---- who asks ---- */

int hostd_who_ask(struct hostd_who *who, hostd_who_fn *fn, void *arg)
{
	struct waiter *w;

	if (who->count >= WAITERS_MAX) {
		return -EBUSY;
	}
	w = bh_alloc(sizeof(*w));
	w->fn = fn;
	w->arg = arg;
	DL_APPEND(who->waiters, w);
	who->count++;
	if (!who->look) {
		look_begin(who);
	}
	return 0;
}

static void reply(const json_t *by, void *arg)
{
	bh_bus_reply(arg, json_pack("{s:O}", "by", by));
}

void hostd_who_command(struct hostd_who *who, struct bh_bus_request *req)
{
	if (hostd_who_ask(who, reply, req) < 0) {
		bh_bus_reply_error(req, "failed", "too many ask");
	}
}

/* ---- life ---- */

static char *find_program(void)
{
	char self[PATH_MAX];
	size_t size = sizeof(self);
	char *slash;

	if (uv_exepath(self, &size) == 0 && (slash = strrchr(self, '/'))) {
		BH_FREE char *beside = bh_asprintf("%.*s/bulkhead-hook", (int)(slash - self), self);

		if (access(beside, X_OK) == 0) {
			return bh_steal(&beside);
		}
	}
	return bh_strdup("/etc/libvirt/hooks/qemu.d/10-bulkhead");
}

struct hostd_who *hostd_who_new(uv_loop_t *loop, const char *program)
{
	struct hostd_who *who = bh_alloc(sizeof(*who));

	who->loop = loop;
	who->program = program ? bh_strdup(program) : find_program();
	return who;
}

void hostd_who_free(struct hostd_who *who)
{
	struct waiter *w, *next;

	if (!who) {
		return;
	}
	if (who->look) {
		struct look *look = who->look;

		look->who = NULL;
		conclude(look, NULL);
		close_handle((uv_handle_t *)&look->process); /* we end, too: init buries it */
	}
	DL_FOREACH_SAFE(who->waiters, w, next)
	{
		free(w);
	}
	free(who->program);
	free(who);
}
