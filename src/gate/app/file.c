/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of transactions: a window of the content that slides, hashes while it grows, and the sink.
 *
 * The window keeps what detection has not seen, and config.file_window bytes at most; what slides
 * out is gone for rules, not for hashes and sink. Hashes cost time: they are made only when a rule
 * or the configuration asks (gate_apps_want_files, gate_file_want while everything is still in
 * the window).
 */
#include "gate/app/file.h"
#include "base/counter.h"
#include "base/util.h"
#include "gate/app/magic.h"
#include "gate/app/session.h"
#include "gate/config.h"
#include "gate/stream/stream.h"

#define NAME_SIZE_MAX  4096
#define WINDOW_DEFAULT (100u << 10)
#define WINDOW_FIRST   2048
#define HASHES	       (GATE_FILE_MD5 | GATE_FILE_SHA1 | GATE_FILE_SHA256)

BH_COUNTER(gate_file_refused, "files refused: too many in a transaction, or no memory");
BH_COUNTER(gate_file_cut, "files that end at the limit of the store (file-store.stream-depth)");
BH_COUNTER(gate_file_window_lost,
	   "bytes of files that no rule saw: the window was full or no memory");

/* The public part first; the rest is nobody else's. */
struct file {
	struct gate_file f;
	struct gate_apps *apps;
	struct gate_flow *flow;
	struct gate_tx *tx;	      /* NULL: it goes */
	struct gate_range_part *part; /* of a file that is fetched in parts */
	uint32_t capacity;	      /* of the window's memory */
	uint32_t start;		      /* of the window in it */
	uint8_t *memory;
	uint64_t inspected;
	EVP_MD_CTX *hash[3];
};

static struct file *file_of(struct gate_file *f)
{
	return (struct file *)(void *)f;
}

static uint64_t window_max(const struct gate_apps *apps)
{
	return apps->config->file_window ? apps->config->file_window : WINDOW_DEFAULT;
}

static void tell_news(struct gate_session *session, struct file *file)
{
	if (file->tx) {
		gate_tx_news(session, file->tx);
	}
}

/* ---- hashes ---- */

static const uint16_t hash_flags[3] = {GATE_FILE_MD5, GATE_FILE_SHA1, GATE_FILE_SHA256};

static void hash_begin(struct file *file)
{
	const EVP_MD *kinds[3] = {file->apps->md5, file->apps->sha1, file->apps->sha256};
	for (unsigned int i = 0; i < 3; i++) {
		if (!(file->f.flags & hash_flags[i]) || file->hash[i]) {
			continue;
		}
		file->hash[i] = EVP_MD_CTX_new();
		if (!file->hash[i] || EVP_DigestInit_ex(file->hash[i], kinds[i], NULL) != 1) {
			EVP_MD_CTX_free(file->hash[i]);
			file->hash[i] = NULL;
			file->f.flags &= (uint16_t)~hash_flags[i];
		} else if (file->f.window_size) {
			(void)EVP_DigestUpdate(file->hash[i], file->f.window, file->f.window_size);
		}
	}
}

static void hash_end(struct file *file)
{
	uint8_t *out[3] = {file->f.md5, file->f.sha1, file->f.sha256};
	for (unsigned int i = 0; i < 3; i++) {
		if (file->hash[i]) {
			(void)EVP_DigestFinal_ex(file->hash[i], out[i], NULL);
			EVP_MD_CTX_free(file->hash[i]);
			file->hash[i] = NULL;
		}
	}
}

static void hash_forget(struct file *file)
{
	for (unsigned int i = 0; i < 3; i++) {
		EVP_MD_CTX_free(file->hash[i]);
		file->hash[i] = NULL;
	}
	file->f.flags &= (uint16_t)~HASHES;
}

/* ---- window ---- */

static void window_slide(struct file *file, uint32_t by)
{
	if (!by) {
		return;
	}
	file->start += by;
	file->f.window += by;
	file->f.window_size -= by;
	file->f.window_offset += by;
}

static bool window_room(struct gate_session *session, struct file *file, uint32_t size)
{
	uint32_t have = file->f.window_size;
	uint64_t want = (uint64_t)have + size;
	/* a full window slides: room behind it, so that not every packet moves all of it */
	uint64_t top = window_max(file->apps) + window_max(file->apps) / 2;
	if (file->start + want <= file->capacity) {
		return true;
	}
	if (want <= file->capacity &&
	    (file->start >= file->capacity / 4 || file->capacity >= top)) {
		memmove(file->memory, file->f.window, have);
		file->start = 0;
		file->f.window = file->memory;
		return true;
	}
	uint64_t capacity = file->capacity ? (uint64_t)file->capacity * 4 : WINDOW_FIRST;
	while (capacity < want) {
		capacity *= 4;
	}
	capacity = capacity > top && want <= top ? top : capacity;
	if (capacity > UINT32_MAX) {
		return false;
	}
	if (file->start) {
		memmove(file->memory, file->f.window, have);
		file->start = 0;
		file->f.window = file->memory;
	}
	uint8_t *memory = gate_session_grow_raw(session, file->memory, file->capacity, capacity);
	if (!memory) {
		return false;
	}
	file->memory = memory;
	file->f.window = memory;
	file->capacity = (uint32_t)capacity;
	return true;
}

static void window_add(struct gate_session *session, struct file *file, const uint8_t *data,
		       uint32_t size)
{
	uint64_t max = window_max(file->apps);
	/* Only the end of what is larger than all there may be. */
	if (size > max) {
		uint32_t skip = (uint32_t)(size - max);
		bh_counter_add(&gate_file_window_lost, skip + file->f.window_size);
		window_slide(file, file->f.window_size);
		file->f.window_offset += skip;
		data += skip;
		size -= skip;
	} else if (file->f.window_size + (uint64_t)size > max) {
		uint32_t by = (uint32_t)(file->f.window_size + size - max);
		if (file->f.window_offset + by > file->inspected) {
			bh_counter_add(&gate_file_window_lost, by);
		}
		window_slide(file, by);
	}
	if (!window_room(session, file, size)) {
		bh_counter_add(&gate_file_window_lost, size);
		window_slide(file, file->f.window_size);
		file->f.window_offset += size;
		return;
	}
	memcpy(file->memory + file->start + file->f.window_size, data, size);
	file->f.window_size += size;
}

/* ---- type ---- */

/* Asked once, of the beginning: when there is enough of it, or no more comes. */
static void look_at_type(struct file *file, bool over)
{
	struct gate_file *f = &file->f;
	if (!(f->flags & GATE_FILE_MAGIC) || f->magic || !file->apps->magic) {
		return;
	}
	if (f->window_offset || !f->window_size || (!over && f->window_size < GATE_MAGIC_MIN)) {
		return;
	}
	f->magic = gate_magic_type(file->apps->magic, f->window, f->window_size);
	f->flags &= f->magic ? UINT16_MAX : (uint16_t)~GATE_FILE_MAGIC;
}

/* ---- files ---- */

static struct file *refuse(struct gate_session *session)
{
	session->apps->stats.files_refused++;
	bh_counter_add(&gate_file_refused, 1);
	return NULL;
}

static struct file *file_new(struct gate_session *session, const void *name, size_t name_size)
{
	struct file *file = gate_session_alloc(session, sizeof(*file));
	if (!file) {
		return refuse(session);
	}
	name_size = name_size > NAME_SIZE_MAX ? NAME_SIZE_MAX : name_size;
	file->f.name = gate_session_alloc(session, name_size + 1);
	if (!file->f.name) {
		gate_session_release(session, file, sizeof(*file));
		return refuse(session);
	}
	if (name_size) {
		memcpy(file->f.name, name, name_size);
	}
	file->f.name_size = (uint16_t)name_size;
	return file;
}

/* What is to be stored goes on behind the depth of streams, as Suricata's stream-depth of the
 * file store. */
static void read_on(struct gate_session *session, const struct gate_file *f)
{
	const struct gate_flow *flow = session->flow;
	if ((f->flags & GATE_FILE_STORE) && flow->stream) {
		gate_stream_keep(flow->stream, (enum gate_dir)f->dir,
				 session->apps->config->file_store_limit);
	}
}

static void note_sid(struct gate_file *f, uint32_t sid)
{
	for (uint8_t i = 0; i < f->sid_count; i++) {
		if (f->sids[i] == sid) {
			return;
		}
	}
	if (f->sid_count < GATE_FILE_SIDS_MAX) {
		f->sids[f->sid_count++] = sid;
	}
}

/* What was ordered before it was there. */
static void follow_order(struct gate_file *f, const struct gate_file_order *order)
{
	if (order->dirs & GATE_DIR_BIT(f->dir)) {
		f->flags |= GATE_FILE_STORE;
		note_sid(f, order->sid);
	}
}

struct gate_file *gate_file_open(struct gate_session *session, struct gate_tx *tx,
				 enum gate_dir dir, const void *name, size_t name_size)
{
	struct gate_apps *apps = session->apps;
	struct gate_file_list *list = &tx->files[dir];
	if (list->count >= GATE_FILES_MAX) {
		(void)refuse(session);
		return NULL;
	}
	struct file *file = file_new(session, name, name_size);
	if (!file) {
		return NULL;
	}
	file->apps = apps;
	file->flow = session->flow;
	file->tx = tx;
	file->f.id = ++apps->file_id;
	file->f.dir = (uint8_t)dir;
	file->f.flags = apps->file_flags;
	if (list->last) {
		list->last->next = &file->f;
	} else {
		list->first = &file->f;
	}
	list->last = &file->f;
	list->count++;
	apps->stats.files++;
	gate_tx_news(session, tx);
	follow_order(&file->f, &tx->store);
	follow_order(&file->f, &session->store);
	read_on(session, &file->f);
	hash_begin(file);
	if (apps->sink) {
		apps->sink->begin(apps->sink, session->flow, &file->f);
	}
	return &file->f;
}

void gate_file_append(struct gate_session *session, struct gate_file *f, const void *data,
		      uint32_t size)
{
	if (!f || f->state != GATE_FILE_OPEN || !size) {
		return;
	}
	struct file *file = file_of(f);
	uint64_t limit = file->apps->config->file_store_limit;
	tell_news(session, file);
	bool cut = (f->flags & GATE_FILE_STORE) && limit && f->size + size > limit;
	if (cut) {
		size = limit > f->size ? (uint32_t)(limit - f->size) : 0;
	}
	f->size += size;
	for (unsigned int i = 0; i < 3; i++) {
		if (file->hash[i]) {
			(void)EVP_DigestUpdate(file->hash[i], data, size);
		}
	}
	window_add(session, file, data, size);
	look_at_type(file, false);
	if (file->apps->sink) {
		file->apps->sink->data(file->apps->sink, f, data, size);
	}
	if (file->part) {
		(void)gate_range_add(file->part, data, size);
	}
	if (cut) {
		bh_counter_add(&gate_file_cut, 1);
		gate_file_close(session, f, GATE_FILE_TRUNCATED);
	}
}

struct joining {
	struct gate_session *session;
	struct gate_file *whole;
};

static void join(void *arg, const uint8_t *data, uint32_t size)
{
	const struct joining *to = arg;
	gate_file_append(to->session, to->whole, data, size);
}

/* No more of the part comes: if it was the last one, the whole file is one more of the same
 * transaction. */
static void part_end(struct gate_session *session, struct file *file)
{
	if (!file->part) {
		return;
	}
	struct gate_range_file *all = gate_range_end(file->part, session->time_us);
	file->part = NULL;
	if (all && file->tx) {
		struct joining to = {.session = session};
		to.whole = gate_file_open(session, file->tx, (enum gate_dir)file->f.dir,
					  file->f.name, file->f.name_size);
		gate_range_file_walk(all, join, &to);
		gate_file_close(session, to.whole, GATE_FILE_CLOSED);
	}
	gate_range_file_free(all);
}

void gate_file_range(struct gate_session *session, struct gate_file *f, const uint64_t span[2],
		     uint64_t total, struct gate_view host)
{
	struct file *file = file_of(f);
	uint8_t key[GATE_RANGE_KEY_MAX];
	f->range_start = span[0];
	f->range_end = span[1];
	f->range_total = total;
	f->flags |= GATE_FILE_RANGE;
	if (file->part || f->size || host.size + 1u + f->name_size > sizeof(key)) {
		return;
	}
	const struct gate_view all = {.data = key, .size = host.size + 1 + f->name_size};
	if (host.size) {
		memcpy(key, host.data, host.size);
	}
	key[host.size] = 0;
	memcpy(key + host.size + 1, f->name, f->name_size);
	file->part = gate_range_begin(file->apps->ranges, &all, span, total, session->time_us);
}

void gate_file_gap(struct gate_session *session, struct gate_file *f, uint32_t size)
{
	if (!f || f->state != GATE_FILE_OPEN) {
		return;
	}
	struct file *file = file_of(f);
	tell_news(session, file);
	part_end(session, file);
	f->flags |= GATE_FILE_GAPS;
	hash_forget(file);
	window_slide(file, f->window_size);
	f->window_offset += size;
	f->size += size;
}

void gate_file_close(struct gate_session *session, struct gate_file *f, enum gate_file_state state)
{
	if (!f || f->state != GATE_FILE_OPEN) {
		return;
	}
	struct file *file = file_of(f);
	tell_news(session, file);
	f->state = (uint8_t)state;
	if (f->flags & GATE_FILE_GAPS && state == GATE_FILE_CLOSED) {
		f->state = GATE_FILE_TRUNCATED;
	}
	hash_end(file);
	look_at_type(file, true);
	if (file->apps->sink) {
		file->apps->sink->end(file->apps->sink, file->flow, f);
	}
	part_end(session, file);
}

void gate_file_inspected(struct gate_session *session, struct gate_file *f, uint64_t until)
{
	(void)session;
	struct file *file = file_of(f);
	if (until > file->inspected) {
		file->inspected = until;
	}
}

bool gate_file_wanted(const struct gate_session *session, uint16_t flag)
{
	return session->apps->file_flags & flag;
}

void gate_file_want(struct gate_session *session, struct gate_file *f, uint16_t flags)
{
	uint16_t fresh = (uint16_t)(flags & ~f->flags);
	if (fresh) {
		tell_news(session, file_of(f)); /* whoever keeps files may do so now */
	}
	if ((fresh & HASHES) && (f->state != GATE_FILE_OPEN || f->window_offset)) {
		fresh &= (uint16_t)~HASHES;
	}
	f->flags |= fresh;
	if (fresh & GATE_FILE_STORE) {
		read_on(session, f);
	}
	if (fresh & HASHES) {
		hash_begin(file_of(f));
	}
}

void gate_file_store(struct gate_session *session, struct gate_file *f, uint32_t sid)
{
	note_sid(f, sid);
	gate_file_want(session, f, GATE_FILE_STORE);
}

static void store_sides(struct gate_session *session, struct gate_tx *tx, uint8_t dirs,
			uint32_t sid)
{
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		for (struct gate_file *f = tx->files[dir].first; f; f = f->next) {
			if (dirs & GATE_DIR_BIT(dir)) {
				gate_file_store(session, f, sid);
			}
		}
	}
}

static void add_order(struct gate_file_order *order, uint8_t dirs, uint32_t sid)
{
	order->sid = order->dirs ? order->sid : sid;
	order->dirs |= dirs;
}

void gate_file_store_all(struct gate_session *session, struct gate_tx *tx, uint8_t dirs,
			 uint32_t sid)
{
	add_order(tx ? &tx->store : &session->store, dirs, sid);
	if (tx) {
		store_sides(session, tx, dirs, sid);
		return;
	}
	for (tx = gate_session_first(session); tx; tx = tx->next) {
		store_sides(session, tx, dirs, sid);
	}
}

/* Asked for one behind the other, mostly. */
struct gate_file *gate_file_at(struct gate_file_list *list, uint32_t index)
{
	if (index >= list->count) {
		return NULL;
	}
	if (!list->asked || index < list->asked_index) {
		list->asked = list->first;
		list->asked_index = 0;
	}
	for (; list->asked_index < index; list->asked_index++) {
		list->asked = list->asked->next;
	}
	return list->asked;
}

bool gate_file_buffer(const struct gate_file *f, enum gate_buffer buffer,
		      struct gate_buffer_view *ret)
{
	switch (buffer) {
	case GATE_BUF_FILE_DATA:
		*ret = (struct gate_buffer_view){.data = f->window,
						 .size = f->window_size,
						 .offset = f->window_offset,
						 .complete = f->state != GATE_FILE_OPEN};
		return f->window_size > 0 || ret->complete;
	case GATE_BUF_FILE_NAME:
		*ret = (struct gate_buffer_view){
			.data = (const uint8_t *)f->name, .size = f->name_size, .complete = true};
		return f->name_size > 0;
	case GATE_BUF_FILE_MAGIC:
		if (!f->magic) {
			return false;
		}
		*ret = (struct gate_buffer_view){.data = (const uint8_t *)f->magic,
						 .size = (uint32_t)strlen(f->magic),
						 .complete = true};
		return true;
	default:
		return false;
	}
}

/* The side is over: what is still open has been cut off. */
void gate_files_finish(struct gate_session *session, struct gate_tx *tx, enum gate_dir dir)
{
	for (struct gate_file *f = tx->files[dir].first; f; f = f->next) {
		gate_file_close(session, f, GATE_FILE_TRUNCATED);
	}
}

void gate_files_free(struct gate_session *session, struct gate_file_list *list)
{
	while (list->first) {
		struct gate_file *f = list->first;
		struct file *file = file_of(f);
		list->first = f->next;
		file->tx = NULL;
		gate_file_close(session, f, GATE_FILE_TRUNCATED);
		hash_forget(file);
		gate_session_release(session, file->memory, file->capacity);
		gate_session_release(session, f->name, (size_t)f->name_size + 1);
		free(f->magic);
		gate_session_release(session, file, sizeof(*file));
	}
	list->last = list->asked = NULL;
	list->count = 0;
}
