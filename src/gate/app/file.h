/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that transactions carry. A parser opens one, appends what it decodes, closes it; hashes and
 * the type grow with it. Content is kept as far as rules look (a window that slides) and handed to
 * the sink: the seam for storing and, later, for scanning. One worker.
 */
#ifndef BH_GATE_APP_FILE_H
#define BH_GATE_APP_FILE_H

#include "gate/gate.h"

struct gate_session;
struct gate_flow;
struct gate_tx;

enum gate_file_state { GATE_FILE_OPEN, GATE_FILE_CLOSED, GATE_FILE_TRUNCATED, GATE_FILE_ERROR };
enum gate_file_flag {
	GATE_FILE_STORE = 1 << 0, /* a rule or the configuration wants it kept */
	GATE_FILE_NOSTORE = 1 << 1,
	GATE_FILE_MD5 = 1 << 2,
	GATE_FILE_SHA1 = 1 << 3,
	GATE_FILE_SHA256 = 1 << 4,
	GATE_FILE_MAGIC = 1 << 5,
	GATE_FILE_STORED = 1 << 6,
	GATE_FILE_GAPS = 1 << 7,
	GATE_FILE_RANGE = 1 << 8,
	GATE_FILE_LOGGED = 1 << 9,
	GATE_FILE_MAIL_MD5 = 1 << 10, /* of no file: of the bodies of mails */
};

#define GATE_FILE_SIDS_MAX 8 /* rules that are told with a file; no more */
/* What is to be stored of all files of a transaction or flow: GATE_DIR_BITs, for a rule. */
struct gate_file_order {
	uint8_t dirs;
	uint32_t sid; /* of the first that ordered it */
};

struct gate_file {
	uint32_t id; /* of the worker */
	uint8_t dir, state;
	uint16_t flags;
	char *name; /* as the parser decoded it: any bytes; name_size of them and a NUL */
	uint16_t name_size;
	uint64_t size; /* so far */
	uint64_t range_start, range_end, range_total;
	uint8_t md5[16], sha1[20], sha256[32]; /* once closed */
	char *magic;			       /* owned, NULL unknown */
	uint32_t sids[GATE_FILE_SIDS_MAX];     /* of rules that wanted it stored */
	uint8_t sid_count;
	/* what is kept of it */
	const uint8_t *window;
	uint32_t window_size;
	uint64_t window_offset;
	void *sink_data; /* the sink's own */
	struct gate_file *next;
};
struct gate_file_list {
	struct gate_file *first, *last;
	uint32_t count;
	struct gate_file *asked; /* for last, NULL none; and the how manieth it is */
	uint32_t asked_index;
};

/* NULL: limits (files of a transaction, memory); the parser goes on without. */
struct gate_file *gate_file_open(struct gate_session *session, struct gate_tx *tx,
				 enum gate_dir dir, const void *name, size_t name_size);
void gate_file_append(struct gate_session *session, struct gate_file *file, const void *data,
		      uint32_t size);
void gate_file_gap(struct gate_session *session, struct gate_file *file, uint32_t size);
void gate_file_close(struct gate_session *session, struct gate_file *file,
		     enum gate_file_state state);
/* It is a part: bytes span[0] to span[1] (the last) of `total` (0: unknown). With the name `host`
 * tells which file; it is put together of its parts (range.h). Before its first byte. */
void gate_file_range(struct gate_session *session, struct gate_file *file, const uint64_t span[2],
		     uint64_t total, struct gate_view host);
/* Detection has seen it up to there: the window may slide. */
void gate_file_inspected(struct gate_session *session, struct gate_file *file, uint64_t until);
/* Rules or the configuration ask for that of each file. */
bool gate_file_wanted(const struct gate_session *session, uint16_t flag);
void gate_file_want(struct gate_session *session, struct gate_file *file, uint16_t flags);
/* A rule wants it stored. */
void gate_file_store(struct gate_session *session, struct gate_file *file, uint32_t sid);
/* A rule wants all files of those sides of the transaction stored (tx NULL: of the flow), those
 * that are there and those that are to come. */
void gate_file_store_all(struct gate_session *session, struct gate_tx *tx, uint8_t dirs,
			 uint32_t sid);

/* Who else looks at content (files on disk; later malware engines). Called by workers, several at
 * once, each with its own files; must not block for long. */
struct gate_file_sink {
	void (*begin)(struct gate_file_sink *sink, const struct gate_flow *flow,
		      struct gate_file *file);
	void (*data)(struct gate_file_sink *sink, struct gate_file *file, const void *data,
		     uint32_t size);
	void (*end)(struct gate_file_sink *sink, const struct gate_flow *flow,
		    struct gate_file *file);
};

#endif
