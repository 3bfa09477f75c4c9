/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events over the bus, both ends.
 *
 * A producer puts events into its spool and sends them in batches of up to 256 lines to JetStream,
 * one batch at a time: the next one leaves when the server has stored this one, so the order holds
 * through every failure. A repeat has the same Nats-Msg-Id. While the bus is away events wait on
 * disk.
 *
 * The consumer (the manager) hands batches to a handler in stream order and acknowledges them to
 * the server when the handler says they are committed. The stream is a work queue that refuses new
 * messages when it is full: nothing is dropped there, pressure goes back to the producers' spools.
 * After each connection the consumer is made anew, so everything not acknowledged comes again, in
 * order. What comes twice is recognised by struct bh_event_track, which the handler keeps beside
 * what it commits.
 *
 * On the loop's thread.
 */
#ifndef BH_BUS_EVENTS_H
#define BH_BUS_EVENTS_H

#include "base/diag.h"
#include "bus/client.h"
#include "bus/spool.h"
#include "model/event.h"

#include <jansson.h>

#define BH_EVENTS_STREAM      "BH_EVENTS"
#define BH_EVENTS_CONSUMER    "manager"
#define BH_EVENTS_BATCH_MAX   256
#define BH_EVENTS_BATCH_BYTES (512 * 1024)

/* ---- producer ---- */
struct bh_producer;

struct bh_producer_options {
	struct bh_spool_options spool; /* producer: the host's name */
	unsigned int linger_ms;	       /* wait for more events before sending; 0: 5 ms */
};
/* bus may be NULL until bh_producer_attach(): events are spooled meanwhile. */
[[nodiscard]] int bh_producer_new(uv_loop_t *loop, struct bh_bus *bus,
				  const struct bh_producer_options *options,
				  struct bh_producer **ret, struct bh_diag *diag);
/* NULL detaches; do that before the bus is freed. */
void bh_producer_attach(struct bh_producer *producer, struct bh_bus *bus);
/* Call it before bh_bus_free(). Closes the spool; what is not sent is sent by the next run. Handles
 * close on the loop: run it once more. NULL is fine. */
void bh_producer_free(struct bh_producer *producer);
/* Takes over event (from bh_event_new). An event that does not fit is counted and shows up as a
 * gap. */
void bh_producer_put(struct bh_producer *producer, json_t *event);
/* The same for an event as text (bh_event_text_begin); members stay the caller's. */
void bh_producer_put_text(struct bh_producer *producer, const struct bh_wbuf *members);
/* count events were lost before they got here. */
void bh_producer_lose(struct bh_producer *producer, uint64_t count, const char *reason);
void bh_producer_stats_get(const struct bh_producer *producer, struct bh_spool_stats *ret);
/* {"epoch", "next_seq", "waiting", "bytes", "max_bytes", "lost", "sent", "retries", "last_error"};
 * owned. Program counters: events_put, events_sent, events_retries, events_lost, events_oversize.
 */
json_t *bh_producer_dump(const struct bh_producer *producer);

/* ---- consumer ---- */
struct bh_consumer;

struct bh_event_message {
	char producer[BH_NAME_MAX + 1]; /* from the subject: the only name to trust */
	uint64_t stream_seq;		/* of JetStream, grows */
	struct bh_event *events;	/* read and checked; each says the same producer */
	size_t count;
};
struct bh_event_batch {
	struct bh_event_message *messages; /* in stream order */
	size_t count;
	size_t event_count; /* of all messages */
};
/* Called on the loop (parsing was done by a worker). Must end in bh_consumer_done(consumer, ok),
 * now or later. ok false: the batch comes again after a second (a full disk). batch is the
 * consumer's and lives until then. */
typedef void bh_consumer_fn(struct bh_consumer *consumer, const struct bh_event_batch *batch,
			    void *arg);

struct bh_consumer_options {
	uint64_t max_bytes;	   /* of the stream on disk; 0: 4 GiB */
	uint64_t max_per_producer; /* messages waiting of one producer; 0: 100000 */
	uint64_t dedupe_s;	   /* window in which the server drops repeats; 0: 120 */
	unsigned int replicas;	   /* in an external cluster; 0: 1 */
	bh_consumer_fn *handler;
	void *arg;
};
/* Waits for the bus to be up; makes stream and consumer, and again after each connection. */
[[nodiscard]] int bh_consumer_new(uv_loop_t *loop, struct bh_bus *bus,
				  const struct bh_consumer_options *options,
				  struct bh_consumer **ret, struct bh_diag *diag);
/* Before bh_bus_free(). A batch in work is dropped (it comes again). Handles and work of the thread
 * pool end on the loop: run it until then. NULL is fine. */
void bh_consumer_free(struct bh_consumer *consumer);
void bh_consumer_done(struct bh_consumer *consumer, bool ok);
/* {"ready", "last_error", "waiting", "received", "events", "redelivered", "resets"}; owned. Program
 * counters: events_received, events_bad, events_forged, events_redelivered, events_consumer_resets.
 */
json_t *bh_consumer_dump(const struct bh_consumer *consumer);

/* ---- numbers of one producer ---- */
#define BH_EVENT_TRACK_EPOCHS 4
/* Plain data; zeroes are a producer never seen. Keep it in the same transaction as the events: one
 * row (producer, epoch, last) per epoch, and load them oldest first. */
struct bh_event_track {
	struct {
		char epoch[BH_UUID_TEXT_SIZE];
		uint64_t last;
	} epochs[BH_EVENT_TRACK_EPOCHS]; /* [0] is the newest */
	unsigned int count;
};
enum bh_event_track_result {
	BH_TRACK_NEXT,	 /* the next number: store it (a declared gap is also this) */
	BH_TRACK_REPEAT, /* known already: drop it */
	BH_TRACK_GAP, /* store it; numbers *ret_from..*ret_to never came and nobody declared them */
	BH_TRACK_EPOCH, /* store it; the producer began anew. Numbers missing before it: from..to or
			   0..0 */
};
/* Judges the event and moves on. */
enum bh_event_track_result bh_event_track(struct bh_event_track *track,
					  const struct bh_event *event, uint64_t *ret_from,
					  uint64_t *ret_to);
void bh_event_track_load(struct bh_event_track *track, const char *epoch, uint64_t last);

#endif
