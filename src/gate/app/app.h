/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocols above the transport: which one it is (detect.c: by content, on any port), its parser,
 * and the transactions that rules and records speak of. A parser lives in a folder of its own
 * (app/http1/, app/dns/, ..) and shows one `const struct gate_app_ops`; app.c has the table.
 *
 * Theory of operation
 *   Session      One per flow: the parser's state and its transactions in order.
 *   Parsing      The parser gets the bytes of one side that it has not consumed yet and says how
 *                many it is through with; the stream keeps the rest and comes back with more. So a
 *                parser keeps no copy of half a message. A datagram is one message.
 *   Transaction  What belongs together (request and response, query and answer). The parser embeds
 *                struct gate_tx first in its own. `progress` of a side only grows, up to the number
 *                of its states; rules look at a buffer when the side is at least as far as the
 *                buffer's state (buffers.def).
 *   The end      A transaction goes when both sides are complete (or the stream's side is over),
 *                detection has seen it so and it is logged. At most GATE_TXS_MAX are open; past it
 *                the oldest is completed by force (event too_many_transactions, counted).
 *   Trouble      What a parser does not like is an event of its transaction; when it can't go on it
 *                returns -EBADMSG: it gets no more bytes, open transactions are completed (the
 *                flow keeps its protocol), detection goes on with raw bytes.
 * Everything is charged to the flow and bounded (limits in config); parsers allocate by
 * gate_session_alloc only.
 */
#ifndef BH_GATE_APP_APP_H
#define BH_GATE_APP_APP_H

#include "gate/app/buffers.h"
#include "gate/app/file.h"
#include "gate/flow/flow.h"
#include "gate/gate.h"
#include "gate/output/jw.h"

#define GATE_TXS_MAX	    1024
#define GATE_TX_EVENTS_MAX  24
#define GATE_PROBE_MORE	    (-1)
#define GATE_PROBE_NO	    0
#define GATE_PROBE_YES	    1
#define GATE_PROBE_REVERSED 2 /* it is, and this side is the server's */

struct gate_apps; /* one per worker: limits, memory, counters */
struct gate_session;
struct gate_ranges;
struct gate_detect_tx; /* detect: what of a transaction has been inspected */

/* Who looks at transactions, when there is news of them. */
enum gate_reader {
	GATE_READ_TO_SERVER, /* detection, of each side: enum gate_dir */
	GATE_READ_TO_CLIENT,
	GATE_READ_RECORDS,
	GATE_READ_SWEEP,
	GATE_READERS
};
#define GATE_READ_ALL ((1u << GATE_READERS) - 1)

struct gate_news_link {
	struct gate_tx *prev, *next;
};

struct gate_tx {
	uint64_t id; /* from 0 in its session */
	uint8_t progress[GATE_DIRS];
	uint8_t done_dirs; /* the parser is through: GATE_DIR_BITs */
	uint8_t skip_dirs; /* sides that this transaction does not have */
	uint8_t event_count;
	bool logged;
	bool no_record; /* a rule says so: `config` */
	bool keyed;
	uint8_t inspected_dirs;		     /* complete and seen by detection */
	uint8_t news;			     /* bits of readers that have yet to look */
	uint16_t events[GATE_TX_EVENTS_MAX]; /* the parser's numbers */
	struct gate_file_list files[GATE_DIRS];
	struct gate_file_order store; /* of its files to come */
	struct gate_detect_tx *detect;
	uint32_t size; /* of the parser's struct */
	uint64_t first_us, last_us;
	struct gate_tx *prev, *next;
	struct gate_news_link links[GATE_READERS];
	uint64_t key; /* gate_tx_key */
	struct gate_tx *key_next;
};

/* Bytes of one side for the parser; see gate_stream_view. */
struct gate_app_input {
	const uint8_t *data; /* for parsers never NULL */
	uint32_t size;
	uint64_t offset;
	uint32_t gap; /* that many bytes are lost before data (then size is 0) */
	bool eof;     /* nothing follows: may come with size 0 */
	bool cut;     /* with eof: there was more, which is not read */
	uint64_t time_us;
	struct gate_packet *packet; /* that brought them; a datagram's own */
};

struct gate_app_event {
	const char *name; /* behind "app-layer-event:http." */
	const char *text;
};

struct gate_app_ops {
	enum gate_app app;
	const char *name;   /* in rules and EVE app_proto */
	const char *log;    /* EVE event_type and key of the record; NULL: none */
	uint8_t transports; /* 1 TCP, 2 UDP, 4 SCTP, 8 ICMP */
	const char *const
		*states[GATE_DIRS]; /* names of progress, NULL at the end; the last is "complete" */
	const struct gate_app_event *events;
	uint16_t event_count;
	uint16_t
		too_many; /* event of the oldest transaction when there are too many, + 1; 0 none */
	const uint16_t *ports; /* of servers, 0 at the end: those are asked first */
	const char *const
		*patterns[GATE_DIRS]; /* that the first bytes hold: \xNN escapes, NULL end */

	/* GATE_PROBE_*: is it this one? `data` are the first bytes of side `dir`. */
	int (*probe)(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port);
	void *(*new)(struct gate_session *session);
	void (*free)(struct gate_session *session, void *state);
	/* How many bytes it is through with, or -EBADMSG. Must make progress or wait for more. */
	int64_t (*parse)(struct gate_session *session, void *state, enum gate_dir dir,
			 const struct gate_app_input *in);
	/* Frees what the transaction holds beyond itself (files are freed by app.c). */
	void (*tx_free)(struct gate_session *session, struct gate_tx *tx);
	/* The index-th value (0 only where a buffer has one): false when there is none (any more).
	 * Borrowed until the next parse; decoded values belong to the transaction. */
	bool (*buffer)(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer buffer,
		       uint32_t index, struct gate_buffer_view *ret);
	/* Whole numbers that rules compare (dns.opcode, tls.version, ..): false when unknown. */
	bool (*number)(struct gate_tx *tx, enum gate_dir dir, enum gate_number number,
		       uint32_t index, uint64_t *ret);
	/* Members of the record `log`; returns false when this one is not to be logged. */
	bool (*log_tx)(const struct gate_tx *tx, struct gate_jw *jw);
};

/* ---- for parsers ---- */
/* Zeroed memory of the session, freed by gate_session_release or with it; NULL when the flow or
 * the worker is over its limit (counted): the parser gives up this value, not the session. */
void *gate_session_alloc(struct gate_session *session, size_t size);
void *gate_session_grow(struct gate_session *session, void *old, size_t old_size, size_t size);
/* The same, not zeroed: for what is written before it is read. */
void *gate_session_alloc_raw(struct gate_session *session, size_t size);
void *gate_session_grow_raw(struct gate_session *session, void *old, size_t old_size, size_t size);
void gate_session_release(struct gate_session *session, void *p, size_t size);
/* A new transaction at the end of the list; size of the parser's struct. NULL: over the limit. */
struct gate_tx *gate_tx_new(struct gate_session *session, size_t size);
void gate_tx_event(struct gate_session *session, struct gate_tx *tx,
		   uint16_t event); /* once each */
void gate_tx_progress(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir,
		      uint8_t progress);
void gate_tx_done(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir);
/* Something of it has changed. Needed where nothing of the above says so, and it is not the
 * session's last transaction: of that one it is known after each call of the parser. */
void gate_tx_news(struct gate_session *session, struct gate_tx *tx);
/* The protocol's own number for it (a stream, a call): once. Found by it, the youngest first, and
 * that is news; `is` says which of those with the same number (NULL: any). Of many the youngest
 * only are looked at. */
typedef bool gate_tx_is_fn(const struct gate_tx *tx, const void *arg);
void gate_tx_key(struct gate_session *session, struct gate_tx *tx, uint64_t key);
struct gate_tx *gate_tx_by_key(struct gate_session *session, uint64_t key, gate_tx_is_fn *is,
			       const void *arg);
struct gate_tx *gate_session_first(const struct gate_session *session);
struct gate_tx *gate_session_last(const struct gate_session *session);
uint32_t gate_session_count(const struct gate_session *session); /* of transactions */
struct gate_flow *gate_session_flow(const struct gate_session *session);
const struct gate_config *gate_session_config(const struct gate_session *session);
uint64_t gate_session_time_us(const struct gate_session *session);
/* For hashes of what peers choose: nobody knows it. */
uint64_t gate_session_seed(const struct gate_session *session);
/* Needs no more of this side. */
void gate_session_stop(struct gate_session *session, enum gate_dir dir);
/* A message is complete: rules on raw bytes look at that side now. */
void gate_session_inspect_now(struct gate_session *session, enum gate_dir dir);
/* What `expect` of the other flow said; NULL nothing. */
const char *gate_session_note(const struct gate_session *session);
/* The rest is encrypted or of no interest: by configuration it is bypassed or not inspected. */
void gate_session_encrypted(struct gate_session *session);
/* From here on another protocol (STARTTLS, CONNECT, Upgrade): UNKNOWN probes anew; TLS too, and
 * what is none is told (applayer_no_tls_after_starttls). */
void gate_session_become(struct gate_session *session, enum gate_app app);
/* For the parser that is to come (an upgrade): copied, gone when it has been taken. NULL:
 * nothing. */
void gate_session_hand(struct gate_session *session, const void *data, size_t size);
const uint8_t *gate_session_handed(const struct gate_session *session, size_t *ret_size);
/* The same parser and transactions under another name (HTTP/2 that carries DNS). */
void gate_session_rename(struct gate_session *session, enum gate_app app);
/* Expects a flow to that server and port (FTP data); `note` is handed to its parser (borrowed
 * text, copied). */
void gate_session_expect(struct gate_session *session, const struct gate_addr *server,
			 uint16_t port, enum gate_app app, const char *note);

/* ---- for the worker ---- */
struct gate_apps *gate_apps_new(const struct gate_config *config, struct gate_flow_table *flows,
				struct gate_file_sink *sink);
void gate_apps_free(struct gate_apps *apps);
/* As gate_stream_data_fn, and for a datagram. */
uint32_t gate_apps_stream(struct gate_apps *apps, struct gate_flow *flow, enum gate_dir dir,
			  const struct gate_app_input *in);
void gate_apps_datagram(struct gate_apps *apps, struct gate_flow *flow, struct gate_packet *p);
/* True once: the bytes of that side that were kept are to be offered now (see app/feed.c). */
bool gate_session_wants(struct gate_session *session, enum gate_dir dir);
/* Nothing more comes of that side: parsers are told, its part of transactions is completed. For
 * both sides of every flow that ends, each after gate_stream_finish. */
void gate_apps_end(struct gate_apps *apps, struct gate_flow *flow, enum gate_dir dir,
		   uint64_t now_us);
/* Transactions with news for that reader, in order of their numbers; each stays until it is
 * read. */
struct gate_tx *gate_news_first(struct gate_session *session, enum gate_reader reader);
static inline struct gate_tx *gate_news_next(const struct gate_tx *tx, enum gate_reader reader)
{
	return tx->links[reader].next;
}
void gate_news_read(struct gate_session *session, struct gate_tx *tx, enum gate_reader reader);
/* None is without news. */
bool gate_news_is_of_all(const struct gate_session *session, enum gate_reader reader);
/* All of them, again. */
void gate_news_again(struct gate_session *session, enum gate_reader reader);
void gate_tx_inspected(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir);
void gate_tx_logged(struct gate_session *session, struct gate_tx *tx);
/* Takes out what is over (inspected as far as `inspected` asks, and logged). */
void gate_apps_sweep(struct gate_apps *apps, struct gate_flow *flow, bool inspected);
void gate_session_free(struct gate_apps *apps, struct gate_session *session);
const struct gate_app_ops *
gate_session_ops(const struct gate_session *session); /* NULL: none (yet) */
const struct gate_app_ops *gate_app_ops_of(enum gate_app app);
/* What it was before gate_session_become; UNKNOWN: it is what it was. */
enum gate_app gate_session_original(const struct gate_session *session);
/* For detection: ops->buffer, and the transaction's files for those buffers that are of files. */
bool gate_tx_buffer(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir,
		    enum gate_buffer buffer, uint32_t index, struct gate_buffer_view *ret);
/* Nobody writes records: transactions need not wait for it. */
void gate_apps_no_log(struct gate_apps *apps);
/* Parts of files are joined there, with those of other workers. */
void gate_apps_join_parts(struct gate_apps *apps, struct gate_ranges *ranges);
/* Called when a transaction goes that detection keeps something of (gate_detect_tx_free). */
void gate_apps_on_tx_free(struct gate_apps *apps, void (*fn)(struct gate_detect_tx *state));
/* Files get these (GATE_FILE_MD5, .., GATE_FILE_STORE) from their first byte. */
void gate_apps_want_files(struct gate_apps *apps, uint16_t flags);
/* Of each protocol, over TCP first (and what is neither), then over UDP. */
#define GATE_APP_STATS (2 * GATE_APP_COUNT)
struct gate_apps_stats {
	uint64_t flows[GATE_APP_STATS], txs[GATE_APP_STATS], errors[GATE_APP_STATS];
	uint64_t memory, memory_refused, session_refused, txs_forced, txs_refused, gaps;
	uint64_t files, files_refused, notes_full;
};
const struct gate_apps_stats *gate_apps_stats(const struct gate_apps *apps);
/* 0 or -ENOENT; "http.invalid_method" to app and number. Those of detection itself
 * ("applayer_mismatch_protocol_both_directions") have app UNKNOWN: bit number of
 * gate_session_events. */
[[nodiscard]] int gate_app_event_find(const char *name, enum gate_app *ret_app,
				      uint16_t *ret_event);

/* Bits of enum gate_session_event, since the flow began. */
enum gate_session_event {
	GATE_SESSION_MISMATCH, /* the sides speak different protocols */
	GATE_SESSION_WRONG_DIRECTION,
	GATE_SESSION_ONE_DIRECTION,
	GATE_SESSION_SKIPPED,
	GATE_SESSION_NO_TLS,
	GATE_SESSION_UNEXPECTED,
	GATE_SESSION_EVENTS
};
uint16_t gate_session_events(const struct gate_session *session);
/* Those that it has not returned before: for records. */
uint16_t gate_session_events_take(struct gate_session *session);
const char *gate_session_event_name(enum gate_session_event event); /* as rules name it */

#endif
