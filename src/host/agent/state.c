/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The desired state of this host, in memory, in the kernel and on disk.
 *
 * On disk: image.bin is a whole image (the delta from the empty one), image.log what was applied
 * since, one record `u32 size, delta` each. A delta is in the log before the kernel sees it and is
 * taken out again when the kernel refuses it; so the log never ends before the kernel does, and a
 * process that was killed anywhere finds in it what the kernel holds or the one that follows. The
 * log is written without syncing: what a power loss could cost, it takes out of the kernel too, and
 * then the older image is as good a start as any. When the log has grown it is folded into
 * image.bin.
 */
#include "host/agent/agent.h"

#include "base/buf.h"
#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "host/capsule/alone.h"
#include "host/capsule/capsule.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define DELTA_MAX  (256u << 20)
#define PARTS_MAX  4096
#define HELD_COUNT 256
#define FOLD_BYTES (4u << 20)
#define FOLD_COUNT 256
/* What is installed at once, and of more at a time: about 10 ms. */
#define SLICE_RECORDS 2000

BH_COUNTER(state_applied, "commits that were installed");
BH_COUNTER(state_stale, "deltas that did not start from what this host holds");
BH_COUNTER(state_refused, "deltas that did not fit or were wrong");
BH_COUNTER(state_disk_failed, "writes of the desired state to disk that failed");

struct hostd_state {
	struct bh_image *image;
	bool told;
	char *image_path, *log_path;
	int log_fd;
	size_t log_size;
	unsigned int log_count;
	uint64_t rev;
	struct work *work; /* being installed in slices */

	char held[HELD_COUNT][2 * BH_HASH_SIZE + 1];
	unsigned int held_next;

	/* the delta whose parts are coming in */
	struct bh_wbuf parts;
	char parts_to[2 * BH_HASH_SIZE + 1];
	uint64_t parts_first, parts_next;
};

struct hostd_state *hostd_state_new(struct hostd_agent *agent)
{
	struct hostd_state *s = bh_alloc(sizeof(*s));

	s->image = bh_image_new();
	s->image_path = bh_asprintf("%s/image.bin", agent->config->state_dir);
	s->log_path = bh_asprintf("%s/image.log", agent->config->state_dir);
	s->log_fd = -1;
	bh_wbuf_init(&s->parts, DELTA_MAX);
	s->parts_next = PARTS_MAX + 1;
	return s;
}

void hostd_state_free(struct hostd_state *s)
{
	if (!s) {
		return;
	}
	bh_image_free(s->image);
	free(s->image_path);
	free(s->log_path);
	bh_cleanup_closep(&s->log_fd);
	bh_wbuf_done(&s->parts);
	free(s);
}

const struct bh_image *hostd_state_image(const struct hostd_agent *agent)
{
	return agent->state->image;
}

bool hostd_state_told(const struct hostd_agent *agent)
{
	return agent->state->told;
}

static void remember(struct hostd_state *s)
{
	bh_hash_format(bh_image_hash(s->image), s->held[s->held_next++ % HELD_COUNT]);
}

bool hostd_state_held(const struct hostd_agent *agent, const char *hash_hex)
{
	for (size_t i = 0; i < HELD_COUNT; i++) {
		if (*agent->state->held[i] && !strcmp(agent->state->held[i], hash_hex)) {
			return true;
		}
	}
	return false;
}

static bool hash_is_zero(const struct bh_hash *h)
{
	static const struct bh_hash zero;

	return bh_hash_equal(h, &zero);
}

/* The image that a delta leads to: from `image`, or from nothing when it says so. */
static int step(struct bh_delta *delta, const struct bh_image *image, struct bh_image **ret,
		struct bh_diag *diag)
{
	struct bh_image *empty;
	int err;

	if (!hash_is_zero(bh_delta_from(delta))) {
		return bh_delta_apply(delta, image, ret, diag);
	}
	empty = bh_image_new();
	err = bh_delta_apply(delta, empty, ret, diag);
	bh_image_free(empty);
	return err;
}

/* ---- disk ---- */

static int log_append(struct hostd_state *s, const void *data, size_t size, struct bh_diag *diag)
{
	uint8_t head[4] = {(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16),
			   (uint8_t)(size >> 24)};
	int err = 0;

	if (s->log_fd < 0) {
		return bh_diag_set(diag, -EIO, "the log of the desired state is not open");
	}
	if (pwrite(s->log_fd, head, sizeof(head), (off_t)s->log_size) != (ssize_t)sizeof(head)) {
		err = errno ? -errno : -EIO;
	}
	for (size_t done = 0; !err && done < size;) {
		ssize_t n = pwrite(s->log_fd, (const char *)data + done, size - done,
				   (off_t)(s->log_size + sizeof(head) + done));

		if (n <= 0) {
			err = n < 0 ? -errno : -EIO;
		} else {
			done += (size_t)n;
		}
	}
	if (err) {
		bh_counter_add(&state_disk_failed, 1);
		return bh_diag_set(diag, err, "cannot write %s: %s", s->log_path, strerror(-err));
	}
	s->log_size += sizeof(head) + size;
	s->log_count++;
	return 0;
}

static void log_cut(struct hostd_state *s, size_t size)
{
	s->log_size = size;
	if (s->log_fd >= 0 && ftruncate(s->log_fd, (off_t)size) < 0) {
		bh_counter_add(&state_disk_failed, 1);
	}
}

/* Writes the whole image and empties the log. A failure leaves both as they were. */
static void fold(struct hostd_agent *agent)
{
	struct hostd_state *s = agent->state;
	struct bh_image *empty = bh_image_new();
	struct bh_delta *whole = bh_delta_between(empty, s->image);
	struct bh_wbuf w;
	struct bh_diag diag = {};

	bh_wbuf_init(&w, 0);
	bh_delta_encode(whole, &w);
	if (bh_file_replace(s->image_path, w.data, w.size, 0600, &diag) < 0) {
		bh_counter_add(&state_disk_failed, 1);
		bh_log_limited(BH_LOG_ERROR, "state", 2, "%s", diag.text);
	} else {
		log_cut(s, 0);
		s->log_count = 0;
	}
	bh_wbuf_done(&w);
	bh_delta_free(whole);
	bh_image_free(empty);
}

/* Moves *image one delta on; false when it does not follow. */
static bool replay_one(struct bh_image **image, const void *data, size_t size)
{
	struct bh_delta *delta = NULL;
	struct bh_image *next = NULL;
	bool ok = bh_delta_decode(data, size, &delta, NULL) == 0 &&
		  step(delta, *image, &next, NULL) == 0;

	if (ok) {
		bh_image_free(*image);
		*image = next;
	}
	bh_delta_free(delta);
	return ok;
}

/* Reads what is on disk; false when that is nothing. */
static bool read_disk(struct hostd_agent *agent, struct bh_image **ret_latest)
{
	struct hostd_state *s = agent->state;
	BH_FREE char *image = NULL;
	BH_FREE char *log = NULL;
	size_t image_size = 0, log_size = 0;
	struct bh_rbuf r;
	bool any = false;
	int err = bh_file_read(s->image_path, DELTA_MAX, &image, &image_size, NULL);

	*ret_latest = bh_image_new();
	if (err == 0) {
		any = replay_one(ret_latest, image, image_size);
		if (!any) {
			bh_log(BH_LOG_ERROR, "state", "%s is damaged; it is left out",
			       s->image_path);
		}
	}
	if (bh_file_read(s->log_path, DELTA_MAX, &log, &log_size, NULL) < 0) {
		return any;
	}
	bh_rbuf_init(&r, log, log_size);
	while (bh_rbuf_left(&r) > 4) {
		uint32_t size = bh_rbuf_u32(&r);
		const void *data = bh_rbuf_take(&r, size);

		if (!data || !replay_one(ret_latest, data, size)) {
			break; /* a torn end */
		}
		any = true;
		s->log_size = r.pos;
		s->log_count++;
	}
	return any;
}

void hostd_state_load(struct hostd_agent *agent)
{
	struct hostd_state *s = agent->state;
	struct hostd_dp_report report = {};
	struct bh_image *latest = NULL;
	struct bh_diag diag = {};
	bool any = read_disk(agent, &latest);

	s->log_fd = open(s->log_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->log_fd < 0) {
		bh_log(BH_LOG_ERROR, "state", "cannot open %s: %s", s->log_path, strerror(errno));
	}
	log_cut(s, s->log_size);
	s->told = any || !hash_is_zero(hostd_dp_hash(agent->dp));
	if (!any) {
		/* The kernel may hold something that the disk has lost: it stands until the
		 * manager, who sees by the hash that we differ, sends the whole. */
		bh_image_free(latest);
		remember(s);
		return;
	}
	bh_image_free(s->image);
	s->image = latest;
	if (!bh_hash_equal(bh_image_hash(latest), hostd_dp_hash(agent->dp))) {
		if (hostd_dp_sync(agent->dp, latest, &report, &diag)) {
			bh_log(BH_LOG_ERROR, "state",
			       "the kernel does not take the state on disk: %s", diag.text);
		} else {
			bh_log(BH_LOG_INFO, "state",
			       "put %zu records of the state on disk into the kernel",
			       report.changed);
		}
	}
	remember(s);
}

int hostd_state_repair(struct hostd_agent *agent, struct bh_diag *diag)
{
	struct hostd_dp_report report = {};
	int err;

	hostd_state_finish(agent);
	err = hostd_dp_sync(agent->dp, agent->state->image, &report, diag);
	if (!err) {
		bh_log(BH_LOG_WARN, "state", "repaired %zu records in the kernel", report.changed);
	}
	return err;
}

/* ---- apply ---- */

static void reply_full(struct hostd_agent *agent, struct bh_bus_request *req,
		       const struct hostd_dp_report *report, const struct bh_diag *diag)
{
	json_t *need = json_object();

	for (unsigned int i = 0; i < HOSTD_DP_TABLE_COUNT; i++) {
		if (report->need[i]) {
			json_object_set_new(need, hostd_dp_table_name(i),
					    json_integer(report->need[i]));
		}
	}
	bh_bus_reply(req, json_pack("{s:b, s:s, s:s, s:o, s:o}", "ok", 0, "code", "full", "error",
				    diag->text, "capacity", hostd_answers_capacity(agent), "need",
				    need));
}

static void parts_drop(struct hostd_state *s)
{
	bh_wbuf_done(&s->parts);
	bh_wbuf_init(&s->parts, DELTA_MAX);
	s->parts_next = PARTS_MAX + 1;
}

/* A commit on its way into the kernel. */
struct work {
	struct bh_bus_request *req;
	struct bh_image *next;
	uint64_t rev;
	size_t log_size; /* of the log without it */
};

static void answer(struct hostd_agent *agent, const struct work *work, int err,
		   const struct hostd_dp_report *report, const struct bh_diag *diag)
{
	char hash[2 * BH_HASH_SIZE + 1];

	bh_hash_format(&report->hash, hash);
	if (err == HOSTD_DP_FULL) {
		reply_full(agent, work->req, report, diag);
	} else if (err) {
		bh_bus_reply_error(work->req, "failed", "%s", diag->text);
	} else {
		bh_bus_reply(work->req, json_pack("{s:s, s:I, s:I, s:I}", "hash", hash, "rev",
						  (json_int_t)work->rev, "install_us",
						  (json_int_t)(report->install_ns / 1000), "gen",
						  (json_int_t)report->gen));
	}
}

static void on_settle(uv_timer_t *timer)
{
	struct hostd_agent *agent = timer->data;
	struct hostd_state *s = agent->state;
	struct bh_diag diag = {};

	if (hostd_dp_settle(agent->dp, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "state", 5, "finishing a commit: %s", diag.text);
	}
	if (s->log_size > FOLD_BYTES || s->log_count > FOLD_COUNT) {
		fold(agent);
	}
}

/* The kernel has taken it, or has refused it with err. */
static void conclude(struct hostd_agent *agent, struct work *work, int err,
		     const struct hostd_dp_report *report, const struct bh_diag *diag)
{
	struct hostd_state *s = agent->state;
	bool first = !s->told;

	if (work->req) {
		answer(agent, work, err, report, diag);
	}
	if (err) {
		bh_counter_add(&state_refused, 1);
		log_cut(s, work->log_size);
		s->log_count--;
		bh_image_free(work->next);
		return;
	}
	s->rev = work->rev;
	bh_counter_add(&state_applied, 1);
	bh_image_free(s->image);
	s->image = work->next;
	s->told = true;
	remember(s);
	uv_timer_start(&agent->settle, on_settle, 1, 0);
	if (first) {
		bh_log(BH_LOG_INFO, "state",
		       "first state from the manager: from now on "
		       "this host enforces");
		hostd_ports_reconcile(agent, false);
	}
	hostd_agent_dirty(agent);
	hostd_births_poke(agent);
	hostd_moves_poke(agent);
}

/* Does a slice, or with SIZE_MAX all that is left. */
static void work_step(struct hostd_agent *agent, size_t budget)
{
	struct hostd_state *s = agent->state;
	struct hostd_dp_report report = {};
	struct bh_diag diag = {};
	struct work *work = s->work;
	int err = hostd_dp_apply_step(agent->dp, budget, &report, &diag);

	if (err != HOSTD_DP_MORE) {
		s->work = NULL;
		conclude(agent, work, err, &report, &diag);
		free(work);
	}
}

/* Slices go by a timer of 1 ms, so that whatever else waits at the loop has its turn; the timer of
 * settling is free as long as there is nothing to settle. */
static void on_work(uv_timer_t *timer)
{
	struct hostd_agent *agent = timer->data;

	if (agent->state->work) {
		work_step(agent, SLICE_RECORDS);
	}
	if (agent->state->work) {
		uv_timer_start(timer, on_work, 1, 0);
	}
}

void hostd_state_finish(struct hostd_agent *agent)
{
	while (agent->state->work) {
		work_step(agent, SIZE_MAX);
	}
}

void hostd_state_stop(struct hostd_agent *agent)
{
	struct hostd_state *s = agent->state;
	struct work *work = s ? bh_steal(&s->work) : NULL;

	if (work) {
		hostd_dp_apply_abort(agent->dp);
		log_cut(s, work->log_size);
		s->log_count--;
		bh_bus_reply_error(work->req, "failed", "this host's engine is being stopped");
		bh_image_free(work->next);
		free(work);
	}
}

static void install(struct hostd_agent *agent, struct bh_delta *delta, const struct work *given)
{
	struct hostd_state *s = agent->state;
	struct hostd_dp_report report = {};
	struct bh_diag diag = {};
	struct work work = *given;
	int err;

	hostd_moves_before(agent, work.next);
	parts_drop(s); /* megabytes that are decoded and in the log by now */
	/* a whole image comes as the delta from nothing: the kernel needs only what differs */
	if (hash_is_zero(bh_delta_from(delta)) && !hash_is_zero(hostd_dp_hash(agent->dp))) {
		err = hostd_dp_sync(agent->dp, work.next, &report, &diag);
	} else if (bh_delta_count(delta) <= SLICE_RECORDS) {
		err = hostd_dp_apply(agent->dp, delta, &report, &diag);
	} else {
		err = hostd_dp_apply_begin(agent->dp, delta, &diag);
		if (!err) {
			s->work = bh_alloc(sizeof(*s->work));
			*s->work = work;
			uv_timer_start(&agent->settle, on_work, 1, 0);
			return;
		}
		report.hash = *hostd_dp_hash(agent->dp);
	}
	conclude(agent, &work, err, &report, &diag);
}

static void apply(struct hostd_agent *agent, struct bh_bus_request *req, uint64_t rev)
{
	struct hostd_state *s = agent->state;
	struct bh_delta *delta = NULL;
	struct work work = {.req = req, .rev = rev};
	struct bh_diag diag = {};
	int err;

	hostd_state_finish(agent); /* this one may start from what that one leads to */
	work.log_size = s->log_size;
	err = bh_delta_decode(s->parts.data, s->parts.size, &delta, &diag);
	if (!err) {
		err = step(delta, s->image, &work.next, &diag);
	}
	if (err == BH_IMAGE_STALE) {
		bh_counter_add(&state_stale, 1);
		bh_bus_reply_error(req, "stale", "this host holds another state");
	} else if (err) {
		bh_counter_add(&state_refused, 1);
		bh_bus_reply_error(req, "failed", "%s", diag.text);
	} else if (log_append(s, s->parts.data, s->parts.size, &diag) < 0) {
		/* what is not on disk would be forgotten by the next start: nothing is changed */
		log_cut(s, work.log_size);
		bh_bus_reply_error(req, "failed", "%s", diag.text);
		bh_image_free(work.next);
	} else {
		install(agent, delta, &work);
	}
	bh_delta_free(delta);
}

static void put_segment(struct bh_segment *segment, void *arg)
{
	bh_image_set(arg, segment);
}

int hostd_state_add(struct hostd_agent *agent, const struct bh_image *state, struct bh_diag *diag)
{
	struct hostd_state *s = agent->state;
	struct hostd_dp_report report = {};
	struct work work = {.rev = s->rev};
	struct bh_delta *delta;
	struct bh_wbuf w;
	int err;

	hostd_state_finish(agent);
	work.log_size = s->log_size;
	work.next = bh_image_new();
	bh_image_each(s->image, put_segment, work.next);
	bh_image_each(state, put_segment, work.next);
	delta = bh_delta_between(s->image, work.next);
	bh_wbuf_init(&w, DELTA_MAX);
	bh_delta_encode(delta, &w);
	err = log_append(s, w.data, w.size, diag);
	bh_wbuf_done(&w);
	if (err < 0) {
		log_cut(s, work.log_size);
		bh_image_free(work.next);
	} else {
		err = hostd_dp_apply(agent->dp, delta, &report, diag);
		conclude(agent, &work, err, &report, diag);
	}
	bh_delta_free(delta);
	return err > 0 ? -ENOSPC : err;
}

void hostd_state_serve_apply(struct hostd_agent *agent, struct bh_bus_request *req,
			     const struct bh_bus_msg *msg)
{
	struct hostd_state *s = agent->state;
	struct bh_diag diag = {};
	uint64_t rev, part, parts;
	const char *to;

	if (hostd_alone_untold(agent)) {
		/* it has not heard of a VM that came here, so it is not in there */
		bh_bus_reply_error(req, "stale", "a VM came here while the manager was away");
		return;
	}
	if (bh_json_u64(msg->json, "rev", INT64_MAX, &rev, &diag) ||
	    bh_json_u64(msg->json, "part", PARTS_MAX, &part, &diag) ||
	    bh_json_u64(msg->json, "parts", PARTS_MAX, &parts, &diag) ||
	    bh_json_str(msg->json, "to", &to, &diag)) {
		bh_bus_reply_error(req, "failed", "%s", diag.text);
		return;
	}
	/* parts count from 0; from 1 is understood too */
	if (part == 0 || (part == 1 && !(s->parts_next == 1 && !strcmp(to, s->parts_to)))) {
		s->parts.size = 0;
		s->parts.err = 0;
		s->parts_first = s->parts_next = part;
		snprintf(s->parts_to, sizeof(s->parts_to), "%s", to);
	}
	if (part != s->parts_next || strcmp(to, s->parts_to) != 0 ||
	    part >= parts + s->parts_first) {
		s->parts_next = PARTS_MAX + 1;
		bh_bus_reply_error(req, "failed", "part %llu of %llu came out of order",
				   (unsigned long long)part, (unsigned long long)parts);
		return;
	}
	bh_wbuf_put(&s->parts, msg->bytes, msg->size);
	s->parts_next++;
	if (s->parts.err) {
		bh_bus_reply_error(req, "failed", "more than %u bytes", DELTA_MAX);
	} else if (s->parts_next < parts + s->parts_first) {
		bh_bus_reply(req, json_pack("{s:I}", "part", (json_int_t)part));
	} else {
		apply(agent, req, rev);
		parts_drop(s);
	}
}
