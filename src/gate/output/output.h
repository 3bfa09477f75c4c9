/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records for people and tools: EVE JSON, one object a line, fields as Suricata's so that what
 * reads its eve.json reads ours. Workers make the text and put it into a bounded queue; a thread of
 * its own writes it to file, unix socket or the project's event seam, and counts every record that
 * found no room or could not be written. Files are rotated by SIGHUP or size.
 */
#ifndef BH_GATE_OUTPUT_OUTPUT_H
#define BH_GATE_OUTPUT_OUTPUT_H

#include "base/diag.h"
#include "gate/app/app.h"
#include "gate/capture/capture.h"
#include "gate/decode/packet.h"
#include "gate/detect/detect.h"
#include "gate/flow/flow.h"
#include "gate/output/stats.h"

struct bh_prog_counter;
struct gate_config;
struct gate_out; /* the queue and its thread, one for all workers */
struct gate_eve; /* one per worker: its writer */

/* Where lines go. Only the queue's thread calls these. */
struct gate_out_sink {
	/* Whole lines. 0, or < 0 and in `done` how many bytes went out before: the lines behind
	 * them are counted as lost. It may take seconds, never for ever. */
	int (*write)(struct gate_out_sink *sink, const char *lines, size_t size);
	void (*reopen)(struct gate_out_sink *sink);
	void (*free)(struct gate_out_sink *sink);
	/* Optional. count lines were lost, by the queue or by write. */
	void (*lost)(struct gate_out_sink *sink, uint64_t count);
	size_t done;
	uint64_t queue; /* bytes that may wait for it; 0: eve.queue */
	/* where its losses are counted; NULL: those of EVE */
	struct bh_prog_counter *no_room, *not_written;
};
/* rotate_at: size at which the file is renamed and begun anew; 0 never. */
[[nodiscard]] int gate_out_file(const char *path, uint64_t rotate_at, struct gate_out_sink **ret,
				struct bh_diag *diag);
/* datagram: each line is one; else a stream. Nobody need listen yet. */
[[nodiscard]] int gate_out_unix(const char *path, bool datagram, struct gate_out_sink **ret,
				struct bh_diag *diag);
/* Lines are Bulkhead events without producer and number (eve_event.c); bulkhead-hostd's socket
 * `events.sock` takes them, answers, and puts them into its spool. Losses are told to it. */
[[nodiscard]] int gate_out_events(const struct gate_config *config, struct gate_out_sink **ret,
				  struct bh_diag *diag);

/* Takes over the sink. */
struct gate_out *gate_out_new(const struct gate_config *config, struct gate_out_sink *sink);
/* Writes what waits, ends the thread. */
void gate_out_free(struct gate_out *out);
/* Files are being read and nothing need be lost: gate_out_put waits for room. Before any put. */
void gate_out_patient(struct gate_out *out);
/* Lines with their newlines; false: no room, counted. Any thread. */
bool gate_out_put(struct gate_out *out, const char *lines, size_t size);
/* Waits until all that was put is written. */
void gate_out_flush(struct gate_out *out);
void gate_out_reopen(struct gate_out *out);

struct gate_eve *gate_eve_new(const struct gate_config *config, struct gate_out *out,
			      struct gate_names *names, unsigned int worker);
void gate_eve_free(struct gate_eve *eve);
/* Alerts, and drops and anomalies if wanted, go there too, as events; NULL: nowhere. */
void gate_eve_events(struct gate_eve *eve, struct gate_out *events);
/* Names of the interfaces by gate_packet.source, borrowed; NULL: a file is being read. */
void gate_eve_interfaces(struct gate_eve *eve, const char *const *names, size_t count);
/* After detection: alerts, drop, anomalies of the packet. */
void gate_eve_packet(struct gate_eve *eve, const struct gate_packet *p);
/* What is new of finding out the flow's protocol; the flow has a session. */
void gate_eve_session(struct gate_eve *eve, struct gate_flow *flow, const struct gate_packet *p);
/* One of its transactions: its files that are over, and itself once it is. */
void gate_eve_tx(struct gate_eve *eve, struct gate_flow *flow, const struct gate_packet *p,
		 struct gate_tx *tx);
void gate_eve_flow(struct gate_eve *eve, const struct gate_flow *flow, enum gate_flow_reason reason,
		   uint64_t now_us);
/* Hands over what it has gathered; from time to time. */
void gate_eve_flush(struct gate_eve *eve);

/* The `stats` record: every counter of all workers, with the loss of each place. */
void gate_eve_stats(struct gate_out *out, const struct gate_stats *stats, uint64_t now_us);

#endif
