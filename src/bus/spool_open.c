/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open reads every segment; the first record that is not whole ends its segment, and the head is
 * cut there. A number must never be used twice, or the manager would take a new event for a repeat.
 * So the epoch goes on only when nothing can be missing behind the last record: the tail was whole,
 * and either this kernel wrote it (page cache) or the spool was closed cleanly (synced). Else a new
 * epoch starts.
 */
#include "bus/spool_internal.h"

#include "base/counter.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define MAX_DEFAULT	 (256ull << 20)
#define MAX_LEAST	 (256ull << 10)
#define SEGMENT_MAX	 (4ull << 20)
#define SEGMENT_MIN	 (32ull << 10)
#define SEGMENT_READ_MAX (SEGMENT_MAX + (64u << 10))

BH_COUNTER(spool_epochs, "epochs that a spool started");

static int index_compare(const void *a, const void *b)
{
	const struct bh_spool_segment *x = a;
	const struct bh_spool_segment *y = b;

	return x->index < y->index ? -1 : x->index > y->index;
}

static bool index_parse(const char *name, uint64_t *ret_index)
{
	uint8_t raw[8];
	char hex[17];

	if (strlen(name) != 20 || strcmp(name + 16, ".seg")) {
		return false;
	}
	snprintf(hex, sizeof(hex), "%.16s", name);
	if (bh_hex_parse(hex, raw, sizeof(raw))) {
		return false;
	}
	*ret_index = 0;
	for (size_t i = 0; i < sizeof(raw); i++) {
		*ret_index = *ret_index << 8 | raw[i];
	}
	return *ret_index != 0 && *ret_index < UINT64_MAX;
}

static int segments_list(struct bh_spool *s, struct bh_diag *diag)
{
	DIR *dir = opendir(s->dir);
	struct dirent *e;
	uint64_t index;
	int r;

	if (!dir) {
		r = -errno;
		return bh_diag_at(diag, r, s->dir, 0, 0, "can't list: %s", strerror(-r));
	}
	while ((e = readdir(dir))) {
		if (index_parse(e->d_name, &index)) {
			bh_vec_push(&s->segments)->index = index;
		}
	}
	closedir(dir);
	if (s->segments.count) {
		qsort(s->segments.items, s->segments.count, sizeof(*s->segments.items),
		      index_compare);
	}
	return 0;
}

struct scan {
	uint64_t last_seq; /* of the last whole record, or the header's number less one */
	uint64_t file_size;
	bool ack_fits; /* the acknowledged position is where a record ends */
};

/* Reads a segment. < 0 when it can't be read or has no good header. */
static int segment_scan(const struct bh_spool *s, struct bh_spool_segment *seg, struct scan *ret)
{
	uint64_t acked = seg->index == s->state.ack_index ? s->state.ack_offset : 0;
	BH_FREE char *path = NULL;
	BH_FREE char *data = NULL;
	struct bh_spool_record rec;
	struct bh_rbuf r;
	char name[32];
	size_t size = 0;
	uint64_t last = 0;
	int err;

	memset(ret, 0, sizeof(*ret));
	bh_spool_segment_name(seg->index, name);
	path = bh_asprintf("%s/%s", s->dir, name);
	err = bh_file_read(path, SEGMENT_READ_MAX, &data, &size, NULL);
	if (err) {
		ret->file_size = 1;
		return err;
	}
	ret->file_size = size;
	bh_rbuf_init(&r, data, size);
	if (bh_spool_header_read(&r, &seg->header) || seg->header.index != seg->index) {
		return -EBADMSG;
	}
	seg->size = r.pos;
	seg->left = 0;
	ret->ack_fits = acked <= r.pos;
	while (!bh_spool_record_read(&r, seg->header.epoch, last, &rec)) {
		last = rec.seq;
		seg->size = r.pos;
		seg->left += r.pos > acked;
		ret->ack_fits = ret->ack_fits || r.pos == acked;
	}
	ret->last_seq = last ? last : seg->header.first_seq - 1;
	return 0;
}

/* Scans all segments. *ret_last: of the newest. *ret_whole: nothing was cut off its end. */
static void segments_scan(struct bh_spool *s, uint64_t *ret_last, bool *ret_whole)
{
	struct scan scan;

	*ret_last = 0;
	*ret_whole = true;
	for (size_t i = 0; i < s->segments.count;) {
		struct bh_spool_segment *seg = &s->segments.items[i];
		bool newest = i + 1 == s->segments.count;
		char name[32];

		if (segment_scan(s, seg, &scan)) {
			/* an empty one was being made when we were killed: nothing was in it */
			*ret_whole = *ret_whole && !(newest && scan.file_size);
			bh_spool_note_cut(s, scan.file_size);
			bh_spool_segment_name(seg->index, name);
			if (renameat(s->dir_fd, name, s->dir_fd, "damaged")) {
				unlinkat(s->dir_fd, name, 0);
			}
			memmove(seg, seg + 1, (--s->segments.count - i) * sizeof(*seg));
			continue;
		}
		if (seg->index == s->state.ack_index && !scan.ack_fits) {
			s->state.ack_offset = BH_SPOOL_HEADER_SIZE;
			(void)!segment_scan(s, seg, &scan);
		}
		*ret_whole = newest ? scan.file_size == seg->size : *ret_whole;
		bh_spool_note_cut(s, scan.file_size - seg->size);
		*ret_last = scan.last_seq;
		s->bytes += seg->size;
		i++;
	}
}

static int head_open(struct bh_spool *s, struct bh_diag *diag)
{
	char name[32];
	int r;

	bh_spool_segment_name(bh_spool_head(s)->index, name);
	s->head_fd = openat(s->dir_fd, name, O_RDWR | O_APPEND | O_CLOEXEC);
	if (s->head_fd < 0 || ftruncate(s->head_fd, (off_t)bh_spool_head(s)->size)) {
		r = -errno;
		return bh_diag_at(diag, r, s->dir, 0, 0, "can't open %s: %s", name, strerror(-r));
	}
	s->head_dirty = true;
	return 0;
}

static void epoch_begin(struct bh_spool *s)
{
	bh_uuid_random(s->state.epoch);
	s->state.lost_from = 0;
	s->state.lost_to = 0;
	s->next_seq = 1;
	s->new_epoch = true;
	bh_counter_add(&spool_epochs, 1);
}

/* Takes up what the scan found: the old epoch, or a new one behind it. */
static int resume(struct bh_spool *s, bool state_known, struct bh_diag *diag)
{
	uint64_t last;
	bool whole;
	bool same;

	segments_scan(s, &last, &whole);
	if (s->segments.count && bh_spool_head(s)->index < s->state.head_index) {
		whole = false;
	}
	while (s->segments.count && bh_spool_head(s)->index < s->state.ack_index) {
		whole = false;
		bh_spool_first_remove(s);
	}
	if (s->segments.count && s->state.ack_index < s->segments.items[0].index) {
		s->state.ack_index = s->segments.items[0].index;
		s->state.ack_offset = BH_SPOOL_HEADER_SIZE;
	}
	bh_spool_drop_acked(s);
	same = state_known && whole && s->segments.count &&
	       !memcmp(bh_spool_head(s)->header.epoch, s->state.epoch, sizeof(s->state.epoch)) &&
	       (s->state.clean || !strcmp(s->state.boot_id, s->boot_id)) &&
	       last < BH_EVENT_SEQ_MAX / 2 && s->state.lost_to < BH_EVENT_SEQ_MAX / 2;
	if (!same) {
		epoch_begin(s);
	} else {
		if (s->state.lost_to <= last) { /* its gap event is written already */
			s->state.lost_from = 0;
			s->state.lost_to = 0;
		}
		s->next_seq = (s->state.lost_to > last ? s->state.lost_to : last) + 1;
	}
	bh_uuid_format(s->state.epoch, s->epoch_text);
	s->state.clean = false;
	snprintf(s->state.boot_id, sizeof(s->state.boot_id), "%s", s->boot_id);
	if (same) {
		return head_open(s, diag);
	}
	if (bh_spool_head_make(s)) {
		return bh_diag_at(diag, -EIO, s->dir, 0, 0, "can't write to the spool: %s",
				  strerror(errno));
	}
	if (s->segments.count == 1) {
		s->state.ack_index = s->segments.items[0].index;
		s->state.ack_offset = BH_SPOOL_HEADER_SIZE;
	}
	return 0;
}

static int state_open(struct bh_spool *s, bool *ret_known, struct bh_diag *diag)
{
	uint8_t slots[2 * BH_SPOOL_SLOT_SIZE] = {};
	ssize_t n;
	int r;

	s->state_fd = openat(s->dir_fd, "state", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->state_fd < 0) {
		r = -errno;
		return bh_diag_at(diag, r, s->dir, 0, 0, "can't open the spool's state: %s",
				  strerror(-r));
	}
	n = pread(s->state_fd, slots, sizeof(slots), 0);
	*ret_known = n > 0 && !bh_spool_state_decode(slots, (size_t)n, &s->state);
	return 0;
}

static int dir_open(struct bh_spool *s, struct bh_diag *diag)
{
	int r = bh_mkdirs(s->dir, 0700, diag);

	if (r) {
		return r;
	}
	s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0) {
		r = -errno;
		return bh_diag_at(diag, r, s->dir, 0, 0, "can't open: %s", strerror(-r));
	}
	if (flock(s->dir_fd, LOCK_EX | LOCK_NB)) {
		return bh_diag_at(diag, -EBUSY, s->dir, 0, 0, "another process uses this spool");
	}
	return 0;
}

static void boot_id_get(const char *given, char ret[40])
{
	BH_FREE char *text = NULL;
	size_t size;

	if (!given && !bh_file_read("/proc/sys/kernel/random/boot_id", 64, &text, &size, NULL)) {
		text[strcspn(text, "\n")] = '\0';
	}
	if (given || text) {
		snprintf(ret, 40, "%s", given ? given : text);
	} else { /* unknown: equal to none, so an open without a clean close begins an epoch */
		uint8_t uuid[16];

		bh_uuid_random(uuid);
		bh_uuid_format(uuid, ret);
	}
}

static int open_all(struct bh_spool *s, struct bh_diag *diag)
{
	bool known = false;
	int r = dir_open(s, diag);

	if (!r) {
		r = state_open(s, &known, diag);
	}
	if (s->state.ack_offset < BH_SPOOL_HEADER_SIZE) {
		s->state.ack_offset = BH_SPOOL_HEADER_SIZE;
	}
	if (!r) {
		r = segments_list(s, diag);
	}
	if (!r) {
		r = resume(s, known, diag);
	}
	if (!r && (bh_spool_state_write(s) || fdatasync(s->state_fd))) {
		r = bh_diag_at(diag, -EIO, s->dir, 0, 0, "can't write the spool's state");
	}
	return r;
}

int bh_spool_open(const struct bh_spool_options *options, struct bh_spool **ret,
		  struct bh_diag *diag)
{
	struct bh_spool *s = bh_alloc(sizeof(*s));
	int r;

	s->dir = bh_strdup(options->dir);
	s->producer = bh_strdup(options->producer);
	s->max_bytes = options->max_bytes ? options->max_bytes : MAX_DEFAULT;
	s->max_bytes = s->max_bytes < MAX_LEAST ? MAX_LEAST : s->max_bytes;
	s->segment_bytes = s->max_bytes / 16;
	s->segment_bytes = s->segment_bytes > SEGMENT_MAX   ? SEGMENT_MAX
			   : s->segment_bytes < SEGMENT_MIN ? SEGMENT_MIN
							    : s->segment_bytes;
	s->dir_fd = -1;
	s->state_fd = -1;
	s->head_fd = -1;
	s->tail_fd = -1;
	boot_id_get(options->boot_id, s->boot_id);
	r = open_all(s, diag);
	if (r) {
		s->head_dirty = false;
		bh_spool_close(s);
		return r;
	}
	*ret = s;
	return 0;
}
