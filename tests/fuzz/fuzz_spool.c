/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spool's folder out of foreign bytes. The first byte says what the rest is: even, the files as
 * they are (state, then one segment); odd, pieces that get right checks, so that what lies behind
 * them is reached. Afterwards the spool must work: take an event and hand everything out.
 */
#include "base/util.h"
#include "bus/spool.h"
#include "bus/spool_format.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_file(int dir_fd, const char *name, const void *data, size_t size)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
		abort();
	}
	close(fd);
}

static void write_raw(int dir_fd, const uint8_t *data, size_t size)
{
	size_t state = size < 2 * BH_SPOOL_SLOT_SIZE ? size : 2 * BH_SPOOL_SLOT_SIZE;

	write_file(dir_fd, "state", data, state);
	write_file(dir_fd, "0000000000000001.seg", data + state, size - state);
}

static void write_checked(int dir_fd, const uint8_t *data, size_t size)
{
	struct bh_spool_state state = {.generation = 1};
	struct bh_spool_header header = {.index = 1};
	uint8_t slot[BH_SPOOL_SLOT_SIZE];
	uint8_t head[BH_SPOOL_HEADER_SIZE];
	struct bh_rbuf r;
	struct bh_wbuf w;

	bh_rbuf_init(&r, data, size);
	state.head_index = bh_rbuf_u8(&r);
	state.ack_index = bh_rbuf_u8(&r);
	state.ack_offset = bh_rbuf_u16(&r);
	state.lost_from = bh_rbuf_u16(&r);
	state.lost_to = bh_rbuf_u64(&r);
	state.clean = bh_rbuf_u8(&r) & 1;
	header.first_seq = bh_rbuf_u64(&r);
	bh_spool_state_encode(&state, slot);
	write_file(dir_fd, "state", slot, sizeof(slot));
	bh_spool_header_encode(&header, head);
	bh_wbuf_init(&w, 0);
	bh_wbuf_put(&w, head, sizeof(head));
	while (bh_rbuf_left(&r)) {
		uint32_t length = bh_rbuf_u8(&r);
		uint64_t seq = bh_rbuf_u64(&r);
		const void *payload = bh_rbuf_take(&r, length);
		uint8_t record[BH_SPOOL_RECORD_HEAD + 256];

		if (payload) {
			memcpy(record + BH_SPOOL_RECORD_HEAD, payload, length);
			bh_spool_record_seal(record, header.epoch, seq, length);
			bh_wbuf_put(&w, record, BH_SPOOL_RECORD_HEAD + length);
		}
	}
	write_file(dir_fd, "0000000000000001.seg", w.data, w.size);
	bh_wbuf_done(&w);
}

static void use(const char *dir)
{
	struct bh_spool_options options = {.dir = dir, .producer = "h1", .boot_id = "x"};
	struct bh_spool_batch batch;
	struct bh_spool *spool;
	struct bh_diag diag;
	json_t *event;
	uint64_t seq;
	uint64_t last = 0;
	int r;

	if (bh_spool_open(&options, &spool, &diag)) {
		abort(); /* whatever is in the folder, a spool must come out of it */
	}
	event = bh_event_new("flow.new", BH_SEVERITY_INFO, 1);
	r = bh_spool_append(spool, event, 1, &seq, &diag);
	json_decref(event);
	while (!bh_spool_peek(spool, 7, 4096, &batch, &diag)) {
		if (!batch.count || batch.first > batch.last) {
			abort();
		}
		last = batch.last;
		bh_spool_ack(spool, &batch, 1);
		bh_spool_batch_done(&batch);
	}
	if (!r && last != seq) {
		abort();
	}
	bh_spool_close(spool);
}

static void clear(const char *dir, int dir_fd)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		unlinkat(dir_fd, e->d_name, 0);
	}
	if (d) {
		closedir(d);
	}
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char shm[] = "/dev/shm/bh-fuzz-spool-XXXXXX"; /* syncs cost nothing there */
	char tmp[] = "/var/tmp/bh-fuzz-spool-XXXXXX";
	const char *dir = mkdtemp(shm);
	int dir_fd;

	dir = dir ? dir : mkdtemp(tmp);
	dir_fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir_fd < 0) {
		abort();
	}
	if (size && data[0] & 1) {
		write_checked(dir_fd, data + 1, size - 1);
	} else if (size) {
		write_raw(dir_fd, data + 1, size - 1);
	}
	use(dir);
	clear(dir, dir_fd);
	close(dir_fd);
	return 0;
}
