/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The folder holds `state` and segments `<16 hex digits>.seg`, numbered
 * upwards; only the newest, the head, is written to, and it is never removed. A segment has a
 * header with its epoch and the next number when it was made, then records. `state` has two slots
 * that are written in turn, so that a torn write leaves the other one.
 */
#include "bus/spool_internal.h"

#include "base/counter.h"

#include <errno.h>
#include <fcntl.h>

#define GAP_ROOM 1024 /* kept free, so that a gap event fits when nothing else does */

BH_COUNTER(spool_refused, "events refused because the spool was full or its disk failed");
BH_COUNTER(spool_truncated, "bytes cut off or skipped in a damaged spool");
BH_COUNTER(spool_write_errors, "writes to the spool that failed");

void bh_spool_segment_name(uint64_t index, char ret[32])
{
	snprintf(ret, 32, "%016llx.seg", (unsigned long long)index);
}

struct bh_spool_segment *bh_spool_head(struct bh_spool *s)
{
	return &s->segments.items[s->segments.count - 1];
}

int bh_spool_state_write(struct bh_spool *s)
{
	uint8_t slot[BH_SPOOL_SLOT_SIZE];

	s->state.generation++;
	bh_spool_state_encode(&s->state, slot);
	if (pwrite(s->state_fd, slot, sizeof(slot),
		   (off_t)(s->state.generation % 2 * sizeof(slot))) != sizeof(slot)) {
		bh_counter_add(&spool_write_errors, 1);
		return -EIO;
	}
	return 0;
}

void bh_spool_note_cut(struct bh_spool *s, uint64_t bytes)
{
	s->truncated += bytes;
	bh_counter_add(&spool_truncated, bytes);
}

/* ---- segments ---- */
static void tail_close(struct bh_spool *s)
{
	if (s->tail_fd >= 0) {
		close(s->tail_fd);
	}
	s->tail_fd = -1;
}

void bh_spool_first_remove(struct bh_spool *s)
{
	struct bh_spool_segment *seg = &s->segments.items[0];
	char name[32];

	tail_close(s);
	bh_spool_segment_name(seg->index, name);
	unlinkat(s->dir_fd, name, 0);
	s->bytes -= seg->size;
	memmove(seg, seg + 1, --s->segments.count * sizeof(*seg));
}

/* Makes a new head. */
int bh_spool_head_make(struct bh_spool *s)
{
	struct bh_spool_header header = {.index = 1, .first_seq = s->next_seq};
	uint8_t bytes[BH_SPOOL_HEADER_SIZE];
	struct bh_spool_segment *seg;
	char name[32];
	int fd;
	int r;

	if (s->segments.count) {
		header.index = bh_spool_head(s)->index + 1;
	}
	if (header.index <= s->state.ack_index) {
		header.index = s->state.ack_index + 1;
	}
	if (header.index <= s->state.head_index) {
		header.index = s->state.head_index + 1;
	}
	memcpy(header.epoch, s->state.epoch, sizeof(header.epoch));
	bh_spool_header_encode(&header, bytes);
	bh_spool_segment_name(header.index, name);
	fd = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != sizeof(bytes)) {
		r = errno ? -errno : -EIO;
		if (fd >= 0) {
			close(fd);
			unlinkat(s->dir_fd, name, 0);
		}
		bh_counter_add(&spool_write_errors, 1);
		return r;
	}
	if (s->head_fd >= 0) {
		*bh_vec_push(&s->unsynced) = s->head_fd;
	}
	s->head_fd = fd;
	s->head_dirty = true;
	s->dir_dirty = true;
	seg = bh_vec_push(&s->segments);
	seg->index = header.index;
	seg->header = header;
	seg->size = sizeof(bytes);
	s->bytes += seg->size;
	s->state.head_index =
		seg->index; /* so that a lost head is noticed, whose numbers were used */
	return bh_spool_state_write(s);
}

/* A whole segment that needs no reading any more goes, unless it is the head. */
void bh_spool_drop_acked(struct bh_spool *s)
{
	while (s->segments.count > 1 && (s->segments.items[0].index < s->state.ack_index ||
					 (s->segments.items[0].index == s->state.ack_index &&
					  s->state.ack_offset >= s->segments.items[0].size))) {
		bh_spool_first_remove(s);
		if (s->state.ack_index < s->segments.items[0].index) {
			s->state.ack_index = s->segments.items[0].index;
			s->state.ack_offset = BH_SPOOL_HEADER_SIZE;
		}
	}
}

/* ---- writing ---- */
/* What is in s->scratch behind the record's head. */
static char *scratch_line(struct bh_spool *s)
{
	return (char *)s->scratch + BH_SPOOL_RECORD_HEAD;
}

/* Appends the `size` bytes of scratch_line(). */
static int record_append(struct bh_spool *s, uint64_t seq, size_t size)
{
	size_t total = BH_SPOOL_RECORD_HEAD + size;
	ssize_t n;
	int r;

	if (s->head_fd < 0 || bh_spool_head(s)->size >= s->segment_bytes) {
		r = bh_spool_head_make(s);
		if (r) {
			return r;
		}
		bh_spool_drop_acked(s);
	}
	bh_spool_record_seal(s->scratch, s->state.epoch, seq, (uint32_t)size);
	n = write(s->head_fd, s->scratch, total);
	if (n != (ssize_t)total) {
		r = n < 0 ? -errno : -ENOSPC;
		bh_counter_add(&spool_write_errors, 1);
		if (ftruncate(s->head_fd, (off_t)bh_spool_head(s)->size)) {
			/* leave the torn record behind, in a segment that is not the head */
			*bh_vec_push(&s->unsynced) = s->head_fd;
			s->head_fd = -1;
		}
		return r;
	}
	bh_spool_head(s)->size += total;
	bh_spool_head(s)->left++;
	s->bytes += total;
	s->head_dirty = true;
	return 0;
}

static bool room_for(const struct bh_spool *s, size_t size)
{
	return s->bytes + size + BH_SPOOL_RECORD_HEAD + BH_SPOOL_HEADER_SIZE + GAP_ROOM <=
	       s->max_bytes;
}

static int gap_append(struct bh_spool *s, uint64_t from, uint64_t to, const char *reason,
		      uint64_t wall_ns)
{
	json_t *gap = bh_event_new_gap(from, to, to - from + 1, reason, wall_ns);
	size_t size;
	int r;

	bh_event_stamp(gap, s->producer, s->epoch_text, to + 1);
	r = bh_event_write(gap, scratch_line(s), &size, NULL);
	json_decref(gap);
	if (!r) {
		r = record_append(s, to + 1, size);
	}
	if (!r) {
		s->next_seq = to + 2;
	}
	return r;
}

/* Writes the gap event of a run of refused numbers, when there is one and `more` bytes fit behind
 * it. */
static int gap_flush(struct bh_spool *s, size_t more, uint64_t wall_ns)
{
	int r;

	if (!s->state.lost_from) {
		return 0;
	}
	if (!room_for(s, GAP_ROOM + more)) {
		return BH_SPOOL_FULL;
	}
	r = gap_append(s, s->state.lost_from, s->state.lost_to,
		       s->state.lost_reason == BH_SPOOL_REASON_DISK ? "disk-error" : "spool-full",
		       wall_ns);
	if (r) {
		return r;
	}
	s->state.lost_from = 0;
	s->state.lost_to = 0;
	/* if this fails the next open sees that the record covers the run */
	(void)!bh_spool_state_write(s);
	return 0;
}

static int refuse(struct bh_spool *s, uint64_t count, enum bh_spool_reason reason)
{
	if (!s->state.lost_from) {
		s->state.lost_from = s->next_seq;
		s->state.lost_reason = (uint8_t)reason;
	}
	s->next_seq += count;
	s->state.lost_to = s->next_seq - 1;
	s->lost += count;
	bh_counter_add(&spool_refused, count);
	(void)!bh_spool_state_write(s);
	return BH_SPOOL_FULL;
}

/* An event in one of its two forms. */
struct event {
	json_t *json;
	const struct bh_wbuf *text;
};

static int event_write(struct bh_spool *s, const struct event *event, uint64_t seq,
		       size_t *ret_size, struct bh_diag *diag)
{
	if (event->text) {
		const struct bh_event_stamp stamp = {s->producer, s->epoch_text, seq};

		return bh_event_text_write(&stamp, event->text, scratch_line(s), ret_size, diag);
	}
	bh_event_stamp(event->json, s->producer, s->epoch_text, seq);
	return bh_event_write(event->json, scratch_line(s), ret_size, diag);
}

static int append(struct bh_spool *spool, const struct event *event, uint64_t wall_ns,
		  uint64_t *ret_seq, struct bh_diag *diag)
{
	bool gap = spool->state.lost_from != 0;
	size_t size;
	int r = event_write(spool, event, spool->next_seq + gap, &size, diag);

	if (r) {
		return r;
	}
	if (gap) { /* uses the scratch too */
		r = gap_flush(spool, size + BH_SPOOL_RECORD_HEAD, wall_ns);
		if (!r) {
			r = event_write(spool, event, spool->next_seq, &size, diag);
		}
	}
	if (r == BH_SPOOL_FULL || (!r && !room_for(spool, size))) {
		return refuse(spool, 1, BH_SPOOL_REASON_FULL);
	}
	if (!r) {
		r = record_append(spool, spool->next_seq, size);
	}
	if (r) {
		return refuse(spool, 1, BH_SPOOL_REASON_DISK);
	}
	*ret_seq = spool->next_seq++;
	return 0;
}

int bh_spool_append(struct bh_spool *spool, json_t *event, uint64_t wall_ns, uint64_t *ret_seq,
		    struct bh_diag *diag)
{
	return append(spool, &(struct event){.json = event}, wall_ns, ret_seq, diag);
}

int bh_spool_append_text(struct bh_spool *spool, const struct bh_wbuf *members, uint64_t wall_ns,
			 uint64_t *ret_seq, struct bh_diag *diag)
{
	return append(spool, &(struct event){.text = members}, wall_ns, ret_seq, diag);
}

void bh_spool_lose(struct bh_spool *spool, uint64_t count, const char *reason, uint64_t wall_ns)
{
	if (!count || count > BH_EVENT_SEQ_MAX - spool->next_seq) {
		return;
	}
	if (gap_flush(spool, GAP_ROOM, wall_ns) || !room_for(spool, GAP_ROOM) ||
	    gap_append(spool, spool->next_seq, spool->next_seq + count - 1, reason, wall_ns)) {
		refuse(spool, count, BH_SPOOL_REASON_FULL);
		return;
	}
	spool->lost += count;
}

/* ---- reading ---- */
static int tail_open(struct bh_spool *s)
{
	char name[32];

	if (s->tail_fd < 0) {
		bh_spool_segment_name(s->segments.items[0].index, name);
		s->tail_fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC);
	}
	return s->tail_fd < 0 ? -errno : 0;
}

/* What is left of the first segment can't be read any more: the disk changed under us. */
static void tail_give_up(struct bh_spool *s)
{
	struct bh_spool_segment *seg = &s->segments.items[0];
	uint64_t lost_bytes = seg->size - s->state.ack_offset;

	bh_spool_note_cut(s, lost_bytes);
	seg->left = 0;
	s->state.ack_offset = seg->size;
	bh_spool_drop_acked(s);
	(void)!bh_spool_state_write(s);
}

/* Takes records out of r, which starts at the acknowledged position. */
static void batch_fill(struct bh_rbuf *r, const struct bh_spool_segment *seg, size_t max_count,
		       size_t max_bytes, struct bh_spool_batch *ret)
{
	struct bh_spool_record rec;
	struct bh_wbuf w;
	size_t end = 0;

	bh_wbuf_init(&w, 0);
	while (ret->count < max_count &&
	       !bh_spool_record_read(r, seg->header.epoch, ret->last, &rec)) {
		if (ret->count && w.size + 1 + rec.size > max_bytes) {
			break;
		}
		if (ret->count) {
			bh_wbuf_u8(&w, '\n');
		} else {
			ret->first = rec.seq;
		}
		bh_wbuf_put(&w, rec.data, rec.size);
		ret->last = rec.seq;
		ret->count++;
		end = r->pos;
	}
	ret->data = (char *)w.data;
	ret->size = w.size;
	ret->offset += end;
}

static int batch_read(struct bh_spool *s, size_t max_count, size_t max_bytes,
		      struct bh_spool_batch *ret, struct bh_diag *diag)
{
	const struct bh_spool_segment *seg = &s->segments.items[0];
	uint64_t left = seg->size - s->state.ack_offset;
	uint64_t want = max_bytes + (uint64_t)max_count * BH_SPOOL_RECORD_HEAD + BH_EVENT_SIZE_MAX;
	size_t size = (size_t)(want < left ? want : left);
	BH_FREE char *data = NULL;
	struct bh_rbuf r;
	ssize_t n;
	int err = tail_open(s);

	if (err) {
		return bh_diag_at(diag, err, s->dir, 0, 0, "can't read the spool: %s",
				  strerror(-err));
	}
	data = bh_alloc(size);
	n = pread(s->tail_fd, data, size, (off_t)s->state.ack_offset);
	if (n < 0) {
		err = -errno;
		return bh_diag_at(diag, err, s->dir, 0, 0, "can't read the spool: %s",
				  strerror(-err));
	}
	bh_rbuf_init(&r, data, (size_t)n);
	ret->segment = seg->index;
	ret->offset = s->state.ack_offset;
	bh_uuid_format(seg->header.epoch, ret->epoch);
	batch_fill(&r, seg, max_count, max_bytes, ret);
	return 0;
}

int bh_spool_peek(struct bh_spool *spool, size_t max_count, size_t max_bytes,
		  struct bh_spool_batch *ret, struct bh_diag *diag)
{
	int r;

	for (;;) {
		memset(ret, 0, sizeof(*ret));
		bh_spool_drop_acked(spool);
		if (!spool->segments.count ||
		    spool->state.ack_offset >= spool->segments.items[0].size) {
			return BH_SPOOL_EMPTY;
		}
		r = batch_read(spool, max_count, max_bytes, ret, diag);
		if (r || ret->count) {
			return r;
		}
		bh_spool_batch_done(ret);
		tail_give_up(spool);
	}
}

void bh_spool_batch_done(struct bh_spool_batch *batch)
{
	free(batch->data);
	memset(batch, 0, sizeof(*batch));
}

void bh_spool_ack(struct bh_spool *spool, const struct bh_spool_batch *batch, uint64_t wall_ns)
{
	struct bh_spool_segment *seg = spool->segments.count ? &spool->segments.items[0] : NULL;

	if (!seg || batch->segment != seg->index || batch->offset <= spool->state.ack_offset ||
	    batch->offset > seg->size) {
		return; /* acknowledged before */
	}
	seg->left -= batch->count < seg->left ? batch->count : seg->left;
	spool->state.ack_offset = batch->offset;
	bh_spool_drop_acked(spool);
	/* when this fails the next run sends the batch again: a repeat, no loss */
	(void)!bh_spool_state_write(spool);
	(void)!gap_flush(spool, 0, wall_ns);
}

size_t bh_spool_sync_take(struct bh_spool *spool, int *ret_fds, size_t max)
{
	size_t n = 0;

	while (n < max && spool->unsynced.count) {
		ret_fds[n++] = spool->unsynced.items[--spool->unsynced.count];
	}
	if (n < max && spool->head_dirty && spool->head_fd >= 0) {
		ret_fds[n] = fcntl(spool->head_fd, F_DUPFD_CLOEXEC, 0);
		spool->head_dirty = ret_fds[n] < 0;
		n += ret_fds[n] >= 0;
	}
	if (n < max && spool->dir_dirty) {
		ret_fds[n] = fcntl(spool->dir_fd, F_DUPFD_CLOEXEC, 0);
		spool->dir_dirty = ret_fds[n] < 0;
		n += ret_fds[n] >= 0;
	}
	return n;
}

void bh_spool_stats_get(const struct bh_spool *spool, struct bh_spool_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->epoch, spool->epoch_text, sizeof(ret->epoch));
	ret->next_seq = spool->next_seq;
	bh_vec_foreach (seg, &spool->segments) {
		ret->waiting += seg->left;
	}
	ret->bytes = spool->bytes;
	ret->max_bytes = spool->max_bytes;
	ret->lost = spool->lost;
	ret->truncated = spool->truncated;
	ret->new_epoch = spool->new_epoch;
}

static void close_synced(int fd, bool *ok)
{
	if (fd >= 0) {
		*ok = !fdatasync(fd) && *ok;
		close(fd);
	}
}

void bh_spool_close(struct bh_spool *spool)
{
	bool ok = true;

	if (!spool) {
		return;
	}
	tail_close(spool);
	bh_vec_foreach (fd, &spool->unsynced) {
		close_synced(*fd, &ok);
	}
	bh_vec_done(&spool->unsynced);
	if (spool->head_fd >= 0) {
		close_synced(spool->head_fd, &ok);
		ok = !fsync(spool->dir_fd) && ok;
		spool->state.clean = ok;
		(void)!bh_spool_state_write(spool);
	}
	if (spool->state_fd >= 0) {
		close_synced(spool->state_fd, &ok);
	}
	if (spool->dir_fd >= 0) {
		close(spool->dir_fd);
	}
	bh_vec_done(&spool->segments);
	free(spool->dir);
	free(spool->producer);
	free(spool);
}
