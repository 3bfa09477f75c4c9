/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands events to bulkhead-hostd, which numbers them and sends them on (host/agent/intake.h is the
 * other end). An answer means that they are in its spool. While hostd is away, or its spool is
 * nearly full, this waits TRY_MS once, then gives up at the first refusal until hostd answers
 * again; meanwhile the queue fills. What was lost is told to it as soon as it answers, and shows up
 * as a gap among the events.
 *
 * A request has a number of this run, and keeps it when it is sent again: hostd takes it once,
 * also when its first answer was lost. What is given up all the same counts as lost, whether hostd
 * had it or not.
 */
#include "gate/output/output.h"

#include "base/counter.h"
#include "base/ctl.h"
#include "base/json.h"
#include "base/time.h"
#include "base/util.h"
#include "gate/config.h"
#include "model/id.h"

#include <errno.h>
#include <sys/un.h>
#include <time.h>

#define CHUNK_BYTES (48u << 10) /* a request is at most 64 KiB */
#define CHUNK_LINES 256
#define ANSWER_MS   5000
#define TRY_MS	    2000
#define PAUSE_MS    100

BH_COUNTER(gate_events_sent, "events that bulkhead-hostd has taken");
BH_COUNTER(gate_events_refused, "events that bulkhead-hostd did not take for an event");
BH_COUNTER(gate_events_retries, "times events could not be handed over at once");
BH_COUNTER(gate_events_no_room, "events that were lost because their queue was full");
BH_COUNTER(gate_events_not_sent, "events that could not be handed over");

struct sink {
	struct gate_out_sink ops;
	char *path;
	char run[BH_UUID_TEXT_SIZE]; /* of this process */
	uint64_t number;	     /* of the request */
	uint64_t lost;		     /* not told yet */
	bool away;		     /* the last call failed */
};

/* Whole lines, at most a request's worth; each is far smaller than that. */
static size_t chunk_size(const char *lines, size_t size, unsigned int *ret_count)
{
	size_t done = 0;

	for (*ret_count = 0; done < size && *ret_count < CHUNK_LINES; (*ret_count)++) {
		const char *end = memchr(lines + done, '\n', size - done);
		size_t next = end ? (size_t)(end + 1 - lines) : size;

		if (next > CHUNK_BYTES && done) {
			break;
		}
		done = next;
	}
	return done;
}

static json_t *make_request(const struct sink *sink, const char *lines, size_t size, uint64_t lost)
{
	json_t *events = json_array();

	for (size_t at = 0; at < size;) {
		const char *end = memchr(lines + at, '\n', size - at);
		size_t next = end ? (size_t)(end + 1 - lines) : size;
		json_t *event = json_loadb(lines + at, next - at, 0, NULL);

		json_array_append_new(events, event ? event : json_null());
		at = next;
	}
	return json_pack("{s:s,s:s,s:I,s:I,s:o}", "op", "events", "run", sink->run, "n",
			 (json_int_t)sink->number, "lost", (json_int_t)lost, "events", events);
}

static int call(struct sink *sink, const char *lines, size_t size, unsigned int count)
{
	uint64_t lost = sink->lost < 1u << 30 ? sink->lost : 1u << 30;
	BH_JSON json_t *request = make_request(sink, lines, size, lost);
	BH_JSON json_t *reply = NULL;
	int err = bh_ctl_call(sink->path, request, ANSWER_MS, &reply, NULL);
	json_int_t refused;

	if (err) {
		return err;
	}
	refused = json_integer_value(json_object_get(reply, "refused"));
	bh_counter_add(&gate_events_refused, (uint64_t)refused);
	bh_counter_add(&gate_events_sent, count - (uint64_t)refused);
	sink->lost -= lost;
	return 0;
}

static int call_patiently(struct sink *sink, const char *lines, size_t size, unsigned int count)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * (long)BH_NS_PER_MS};
	uint64_t end = bh_time_mono_ns() + TRY_MS * BH_NS_PER_MS;
	int err;

	sink->number++;
	err = call(sink, lines, size, count);
	while (err && !sink->away && bh_time_mono_ns() < end) {
		bh_counter_add(&gate_events_retries, 1);
		nanosleep(&pause, NULL);
		err = call(sink, lines, size, count);
	}
	sink->away = err != 0;
	return err;
}

static int events_write(struct gate_out_sink *ops, const char *lines, size_t size)
{
	struct sink *sink = BH_CONTAINER_OF(ops, struct sink, ops);

	for (ops->done = 0; ops->done < size;) {
		unsigned int count;
		size_t part = chunk_size(lines + ops->done, size - ops->done, &count);
		int err = call_patiently(sink, lines + ops->done, part, count);

		if (err) {
			return err;
		}
		ops->done += part;
	}
	return 0;
}

static void events_lost(struct gate_out_sink *ops, uint64_t count)
{
	BH_CONTAINER_OF(ops, struct sink, ops)->lost += count;
}

static void events_reopen(struct gate_out_sink *ops)
{
	BH_CONTAINER_OF(ops, struct sink, ops)->away = false;
}

static void events_free(struct gate_out_sink *ops)
{
	struct sink *sink = BH_CONTAINER_OF(ops, struct sink, ops);

	if (sink->lost) {
		sink->number++;
		(void)!call(sink, "", 0, 0); /* else they stand in our counters alone */
	}
	free(sink->path);
	free(sink);
}

int gate_out_events(const struct gate_config *config, struct gate_out_sink **ret,
		    struct bh_diag *diag)
{
	const char *path = config->events_socket;
	uint8_t uuid[16];
	struct sink *sink;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		return bh_diag_set(diag, -ENAMETOOLONG, "%s: too long for a socket", path);
	}
	sink = bh_alloc(sizeof(*sink));
	bh_uuid_random(uuid);
	bh_uuid_format(uuid, sink->run);
	sink->path = bh_strdup(path);
	sink->ops = (struct gate_out_sink){.write = events_write,
					   .reopen = events_reopen,
					   .free = events_free,
					   .lost = events_lost,
					   .queue = config->events_queue,
					   .no_room = &gate_events_no_room,
					   .not_written = &gate_events_not_sent};
	*ret = &sink->ops;
	return 0;
}
