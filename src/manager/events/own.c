/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/own.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

BH_COUNTER(events_own_unkept, "own events that were in memory only until they were stored");
BH_COUNTER(events_own_found, "own events of before a kill that were told afterwards");

struct manager_own {
	int fd;
	size_t size;
	uint64_t last;
};

/* "NUMBER JSON\n"; a last line without an end was being written. */
static void read_lines(struct manager_own *own, char *text, uint64_t stored, manager_own_fn *fn,
		       void *arg)
{
	char *end;

	own->last = stored;
	for (char *line = text; (end = strchr(line, '\n')); line = end + 1) {
		char *space = strchr(line, ' ');
		uint64_t number;

		*end = '\0';
		if (!space || space > end) {
			continue;
		}
		*space = '\0';
		if (bh_parse_u64(line, stored + 1, UINT64_MAX, &number) < 0) {
			continue;
		}
		own->last = number > own->last ? number : own->last;
		bh_counter_add(&events_own_found, 1);
		fn(space + 1, (size_t)(end - space - 1), arg);
	}
}

int manager_own_open(const char *path, uint64_t stored, manager_own_fn *fn, void *arg,
		     struct manager_own **ret, struct bh_diag *diag)
{
	struct manager_own *own;
	BH_FREE char *text = NULL;
	size_t size = 0;
	int r = bh_file_read(path, MANAGER_OWN_BYTES_MAX + 1, &text, &size, diag);

	if (r < 0 && r != -ENOENT) {
		return r;
	}
	own = bh_alloc(sizeof(*own));
	own->last = stored;
	while (size && text[size - 1] != '\n') {
		size--; /* half a line */
	}
	own->size = size;
	own->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (own->fd < 0 || ftruncate(own->fd, (off_t)size) < 0) {
		r = bh_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
		manager_own_close(own);
		return r;
	}
	if (text) {
		read_lines(own, text, stored, fn, arg);
	}
	*ret = own;
	return 0;
}

void manager_own_close(struct manager_own *own)
{
	if (own) {
		if (own->fd >= 0) {
			close(own->fd);
		}
		free(own);
	}
}

void manager_own_add(struct manager_own *own, const char *text, size_t len)
{
	char number[24];
	int n = snprintf(number, sizeof(number), "%llu ", (unsigned long long)++own->last);
	struct iovec parts[] = {{.iov_base = number, .iov_len = (size_t)n},
				{.iov_base = (char *)text, .iov_len = len},
				{.iov_base = (char *)"\n", .iov_len = 1}};
	size_t size = (size_t)n + len + 1;

	if (own->size + size > MANAGER_OWN_BYTES_MAX ||
	    writev(own->fd, parts, BH_ARRAY_SIZE(parts)) != (ssize_t)size) {
		bh_counter_add(&events_own_unkept, 1);
		if (ftruncate(own->fd, (off_t)own->size) < 0) {
			own->size = MANAGER_OWN_BYTES_MAX; /* half a line stands at its end */
		}
		return;
	}
	own->size += size;
}

uint64_t manager_own_last(const struct manager_own *own)
{
	return own->last;
}

void manager_own_stored(struct manager_own *own, uint64_t number)
{
	if (number == own->last && own->size && ftruncate(own->fd, 0) == 0) {
		own->size = 0;
	}
}
