/* SPDX-License-Identifier: Apache-2.0 */
/* Where records go: a file, a unix socket. Only the thread of out.c calls them. */
#include "gate/output/output.h"

#include "base/counter.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#define UNIX_RETRY_NS BH_NS_PER_S
#define UNIX_SEND_S   1

BH_COUNTER(gate_eve_rotations, "times the file of records was begun anew");
BH_COUNTER(gate_eve_reopen_failed, "times the file of records could not be opened again");
BH_COUNTER(gate_eve_oversize, "records that are larger than the socket's datagrams may be");
BH_COUNTER(gate_eve_reconnects, "times the socket of records had to be connected again");

struct sink {
	struct gate_out_sink ops;
	char *path;
	int fd;
	uint64_t size, rotate; /* of the file; 0: not by size */
	bool torn;	       /* the file ends in half a line */
	bool datagram;
	uint64_t retry_ns; /* of the socket: not before */
};

static struct sink *sink_new(const char *path)
{
	struct sink *sink = bh_alloc(sizeof(*sink));

	sink->path = bh_strdup(path);
	sink->fd = -1;
	return sink;
}

static void sink_free(struct gate_out_sink *ops)
{
	struct sink *sink = BH_CONTAINER_OF(ops, struct sink, ops);

	if (sink->fd >= 0) {
		close(sink->fd);
	}
	free(sink->path);
	free(sink);
}

/* All of it, or -errno and how much went out. */
static int write_all(int fd, const char *data, size_t size, size_t *ret_done)
{
	*ret_done = 0;
	while (*ret_done < size) {
		ssize_t n = write(fd, data + *ret_done, size - *ret_done);

		if (n < 0 && errno != EINTR) {
			return -errno;
		}
		*ret_done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* ---- file ---- */

static int open_file(struct sink *sink)
{
	struct stat st;
	int fd = open(sink->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	if (fd < 0) {
		return -errno;
	}
	if (sink->fd >= 0) {
		close(sink->fd);
	}
	sink->fd = fd;
	sink->size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return 0;
}

static void rotate(struct sink *sink)
{
	BH_FREE char *old = bh_asprintf("%s.%llu", sink->path,
					(unsigned long long)(bh_time_wall_ns() / BH_NS_PER_MS));

	if (rename(sink->path, old) == 0 && open_file(sink) == 0) {
		bh_counter_add(&gate_eve_rotations, 1);
	} else {
		bh_counter_add(&gate_eve_reopen_failed, 1);
	}
}

/* Of what a full disk took, half a line goes again; a pipe or a file that only grows keeps it. */
static void keep_whole_lines(struct sink *sink, const char *lines, size_t done)
{
	const char *end = done ? memrchr(lines, '\n', done) : NULL;
	size_t whole = end ? (size_t)(end + 1 - lines) : 0;

	if (whole < done && ftruncate(sink->fd, (off_t)(sink->size + whole)) < 0) {
		sink->torn = true;
		whole = done;
	}
	sink->size += whole;
}

static int file_write(struct gate_out_sink *ops, const char *lines, size_t size)
{
	struct sink *sink = BH_CONTAINER_OF(ops, struct sink, ops);
	size_t done = 0;
	int err = sink->fd < 0 ? open_file(sink) : 0;

	if (!err && sink->torn) {
		err = write_all(sink->fd, "\n", 1, &done);
		sink->size += done;
		sink->torn = err != 0;
	}
	if (err) {
		return err;
	}
	err = write_all(sink->fd, lines, size, &done);
	ops->done = done;
	if (err) {
		keep_whole_lines(sink, lines, done);
	} else {
		sink->size += done;
	}
	if (sink->rotate && sink->size >= sink->rotate) {
		rotate(sink);
	}
	return err;
}

static void file_reopen(struct gate_out_sink *ops)
{
	struct sink *sink = BH_CONTAINER_OF(ops, struct sink, ops);
	int err = open_file(sink);

	if (err) {
		bh_log(BH_LOG_ERROR, "eve", "%s: %s; the old file goes on", sink->path,
		       strerror(-err));
		bh_counter_add(&gate_eve_reopen_failed, 1);
		return;
	}
	sink->torn = false;
	bh_counter_add(&gate_eve_rotations, 1);
}

int gate_out_file(const char *path, uint64_t rotate_at, struct gate_out_sink **ret,
		  struct bh_diag *diag)
{
	struct sink *sink = sink_new(path);
	int err = open_file(sink);

	sink->rotate = rotate_at;
	if (err) {
		sink_free(&sink->ops);
		return bh_diag_set(diag, err, "%s: %s", path, strerror(-err));
	}
	sink->ops = (struct gate_out_sink){
		.write = file_write, .reopen = file_reopen, .free = sink_free};
	*ret = &sink->ops;
	return 0;
}

/* ---- socket ---- */

static int connect_unix(struct sink *sink)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const struct timeval limit = {.tv_sec = UNIX_SEND_S};
	int type = sink->datagram ? SOCK_DGRAM : SOCK_STREAM;
	BH_CLOSE int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, sink->path, strlen(sink->path) + 1);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		return -errno;
	}
	sink->fd = fd;
	fd = -1;
	return 0;
}

static void disconnect_unix(struct sink *sink)
{
	if (sink->fd >= 0) {
		close(sink->fd);
		sink->fd = -1;
	}
	sink->retry_ns = bh_time_mono_ns() + UNIX_RETRY_NS;
}

/* A datagram a line. One that is too large for the socket is lost, the rest goes on. */
static int send_lines(struct gate_out_sink *ops, int fd, const char *lines, size_t size)
{
	int lost = 0;

	while (ops->done < size) {
		const char *line = lines + ops->done;
		const char *end = memchr(line, '\n', size - ops->done);
		size_t len = (size_t)(end - line) + 1;
		ssize_t n = send(fd, line, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EMSGSIZE) {
			lost++;
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		} else if (n < 0) {
			continue;
		}
		ops->done += len;
	}
	bh_counter_add(&gate_eve_oversize, (uint64_t)lost);
	return 0;
}

static int send_stream(struct gate_out_sink *ops, int fd, const char *lines, size_t size)
{
	while (ops->done < size) {
		ssize_t n = send(fd, lines + ops->done, size - ops->done, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR) {
			return -errno;
		}
		ops->done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int unix_write(struct gate_out_sink *ops, const char *lines, size_t size)
{
	struct sink *sink = BH_CONTAINER_OF(ops, struct sink, ops);
	int err = 0;

	ops->done = 0;
	if (sink->fd < 0) {
		if (bh_time_mono_ns() < sink->retry_ns) {
			return -ENOTCONN;
		}
		err = connect_unix(sink);
		bh_counter_add(&gate_eve_reconnects, 1);
	}
	if (!err) {
		err = sink->datagram ? send_lines(ops, sink->fd, lines, size)
				     : send_stream(ops, sink->fd, lines, size);
	}
	if (err) {
		disconnect_unix(sink); /* the reader of half a line is rid of it with the stream */
	}
	return err;
}

static void unix_reopen(struct gate_out_sink *ops)
{
	struct sink *sink = BH_CONTAINER_OF(ops, struct sink, ops);

	disconnect_unix(sink);
	sink->retry_ns = 0;
}

int gate_out_unix(const char *path, bool datagram, struct gate_out_sink **ret, struct bh_diag *diag)
{
	struct sink *sink;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		return bh_diag_set(diag, -ENAMETOOLONG, "%s: too long for a socket", path);
	}
	sink = sink_new(path);
	sink->datagram = datagram;
	sink->ops = (struct gate_out_sink){
		.write = unix_write, .reopen = unix_reopen, .free = sink_free};
	*ret = &sink->ops;
	return 0;
}
