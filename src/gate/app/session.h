/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What app.c, detect.c and file.c know of a worker's sessions, and nobody else. One worker.
 */
#ifndef BH_GATE_APP_SESSION_H
#define BH_GATE_APP_SESSION_H

#include "gate/app/app.h"
#include "gate/app/frame.h"
#include "gate/app/range.h"

#include <netinet/in.h>
#include <openssl/evp.h>

#define GATE_DETECT_BYTES_MAX	  (32u << 10) /* of a side: then it is none of ours */
#define GATE_DETECT_DATAGRAMS_MAX 4
#define GATE_PATTERN_SIZE_MAX	  24
#define GATE_PATTERNS_MAX	  256
#define GATE_NOTES_MAX		  256
#define GATE_NOTE_SIZE		  128
#define GATE_NOTE_TIMEOUT_US	  30000000u
#define GATE_FILES_MAX		  256 /* of one side of a transaction, still open or not logged */

#define GATE_POOL_CLASSES  53 /* sizes of memory.c: up to 512 KiB */
#define GATE_POOL_KEPT_MAX (4u << 20)

/* Memory of a session: in one ring, so that nothing is lost with it. */
struct gate_chunk {
	struct gate_chunk *prev, *next;
	unsigned int class; /* of memory.c */
} __attribute__((aligned(16)));

/* Transactions that one reader has yet to look at. */
struct gate_news {
	struct gate_tx *first, *last;
	uint32_t count;
	bool mixed; /* not in order of their numbers */
};

enum gate_detect_state { GATE_DETECT_OPEN, GATE_DETECT_KNOWN, GATE_DETECT_NONE };

struct gate_session {
	struct gate_apps *apps;
	struct gate_flow *flow;
	const struct gate_app_ops *ops; /* NULL: not known */
	void *state;
	struct gate_tx *first, *last;
	struct gate_tx *oldest;	       /* none before it is open; NULL: not known */
	uint32_t tx_count, done_count; /* done: both sides are through, not yet freed */
	struct gate_news news[GATE_READERS];
	struct gate_tx **by_key;
	uint32_t bucket_count; /* a power of two, or 0 */
	uint64_t next_id;
	uint64_t time_us;
	size_t used;
	struct gate_chunk chunks; /* the ring's head */
	uint8_t *handed;
	size_t handed_size;
	struct gate_file_order store; /* of files of any transaction */
	struct gate_frame_list frames[GATE_DIRS];
	const char *note;  /* of the session's memory */
	uint16_t original; /* enum gate_app */
	uint16_t becomes;
	uint16_t promised;     /* what must follow (STARTTLS, Upgrade); UNKNOWN anything */
	uint16_t events, told; /* bits of enum gate_session_event; told: in records */
	uint8_t detect[GATE_DIRS];
	uint8_t datagrams[GATE_DIRS];
	uint8_t spoke_dirs;
	uint8_t stopped_dirs, eof_dirs;
	uint8_t kept_dirs, wants_dirs; /* bytes that were offered and not taken */
	bool becoming, encrypted;
};

struct gate_pattern {
	const struct gate_app_ops *ops;
	uint8_t size;
	uint8_t value[GATE_PATTERN_SIZE_MAX], mask[GATE_PATTERN_SIZE_MAX];
};

/* By the first byte of a side; built once per worker. */
struct gate_matcher {
	struct gate_pattern patterns[GATE_PATTERNS_MAX];
	uint16_t count;
	/* patterns that may begin with that byte: index of the first, and their number */
	struct {
		uint16_t first, count;
	} by_byte[GATE_DIRS][256];
	uint16_t *index;
	size_t index_count;
};

struct gate_note {
	struct gate_addr server;
	uint16_t port;
	uint64_t until_us;
	char text[GATE_NOTE_SIZE];
};

struct gate_apps {
	struct gate_ranges *ranges; /* of all workers; NULL: parts are not joined */
	const struct gate_config *config;
	struct gate_flow_table *flows;
	struct gate_file_sink *sink;
	const EVP_MD *md5, *sha1, *sha256;
	struct gate_apps_stats stats;
	struct gate_matcher matcher;
	struct gate_note notes[GATE_NOTES_MAX];
	uint32_t note_next;
	uint32_t file_id;
	uint16_t file_flags;
	uint64_t frames_wanted;	  /* bits of kinds */
	struct gate_magic *magic; /* NULL until a rule asks for the type of files */
	bool no_log;
	uint64_t seed; /* of hashes of what peers choose */
	struct {
		struct gate_chunk *free[GATE_POOL_CLASSES];
		size_t kept; /* bytes */
	} pool;
	void (*tx_free)(struct gate_detect_tx *state);
};

/* detect.c */
void gate_matcher_init(struct gate_matcher *matcher);
void gate_matcher_done(struct gate_matcher *matcher);
struct gate_detected {
	const struct gate_app_ops *ops; /* NULL: see `more` */
	bool reversed;
	bool more; /* it can still become one of ours */
};
/* What do the first bytes of a side look like? Of a flow that was under way already (midstream) the
 * other side's patterns are tried too: the first packet seen may be the server's. */
struct gate_detected gate_detect_app(const struct gate_matcher *matcher,
				     const struct gate_config *config, const struct gate_flow *flow,
				     enum gate_dir dir, const struct gate_view *data);

/* memory.c */
struct gate_session *gate_session_new(struct gate_apps *apps, struct gate_flow *flow);
void gate_session_delete(struct gate_session *session); /* with all that it was given */
void gate_pool_done(struct gate_apps *apps);

/* app.c */
const struct gate_app_ops *gate_app_at(unsigned int index); /* of apps.def; NULL at the end */
struct gate_session *gate_session_of(struct gate_apps *apps, struct gate_flow *flow,
				     uint64_t time_us);
static inline unsigned int gate_session_stat(const struct gate_session *session, enum gate_app app)
{
	return app + (session->flow->ip_proto == IPPROTO_UDP ? GATE_APP_COUNT : 0);
}
bool gate_session_open(struct gate_session *session, const struct gate_app_ops *ops);
void gate_session_close(struct gate_session *session); /* the parser and its transactions */
void gate_session_fail(struct gate_session *session);

/* tx.c */
void gate_session_finish(struct gate_session *session, enum gate_dir dir);
void gate_txs_free(struct gate_session *session);
/* The parser was at work: of its youngest transaction, at least. */
void gate_session_news(struct gate_session *session);

/* file.c */
struct gate_file *gate_file_at(struct gate_file_list *list, uint32_t index);
bool gate_file_buffer(const struct gate_file *file, enum gate_buffer buffer,
		      struct gate_buffer_view *ret);
void gate_files_free(struct gate_session *session, struct gate_file_list *list);
void gate_files_finish(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir);

#endif
