/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include "base/buf.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>

int bh_file_read(const char *path, size_t limit, char **ret_data, size_t *ret_size,
		 struct bh_diag *diag)
{
	struct bh_wbuf w;
	char chunk[16384];
	ssize_t n;
	int r = 0;
	int fd = !strcmp(path, "-") ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		r = -errno;
		return bh_diag_at(diag, r, path, 0, 0, "can't open: %s", strerror(-r));
	}
	bh_wbuf_init(&w, limit);
	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			r = -errno;
			bh_diag_at(diag, r, path, 0, 0, "can't read: %s", strerror(-r));
			break;
		}
		bh_wbuf_put(&w, chunk, (size_t)n);
		if (w.err) {
			r = bh_diag_at(diag, -EFBIG, path, 0, 0,
				       "larger than the limit of %zu bytes", limit);
			break;
		}
	}
	close(fd);
	if (r) {
		bh_wbuf_done(&w);
		return r;
	}
	bh_wbuf_cstr(&w);
	*ret_data = (char *)w.data;
	*ret_size = w.size;
	return 0;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		data += n;
		size -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

static int sync_folder_of(const char *path)
{
	BH_FREE char *copy = bh_strdup(path);
	BH_CLOSE int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		return -errno;
	}
	return fsync(fd) ? -errno : 0;
}

int bh_file_replace(const char *path, const void *data, size_t size, mode_t mode,
		    struct bh_diag *diag)
{
	BH_FREE char *temp = bh_asprintf("%s.XXXXXX", path);
	int fd = mkostemp(temp, O_CLOEXEC);
	int r;

	if (fd < 0) {
		r = -errno;
		return bh_diag_at(diag, r, path, 0, 0, "can't write beside it: %s", strerror(-r));
	}
	r = write_all(fd, data, size);
	if (!r && fchmod(fd, mode)) {
		r = -errno;
	}
	close(fd);
	if (!r && rename(temp, path)) {
		r = -errno;
	}
	if (r) {
		unlink(temp);
		return bh_diag_at(diag, r, path, 0, 0, "can't write: %s", strerror(-r));
	}
	r = sync_folder_of(path);
	if (r) {
		return bh_diag_at(diag, r, path, 0, 0, "can't sync its folder: %s", strerror(-r));
	}
	return 0;
}

int bh_file_move(const char *from, const char *to, struct bh_diag *diag)
{
	int r = rename(from, to) ? -errno : sync_folder_of(to);

	if (r) {
		return bh_diag_at(diag, r, to, 0, 0, "can't be replaced by %s: %s", from,
				  strerror(-r));
	}
	return 0;
}

int bh_mkdirs(const char *path, mode_t mode, struct bh_diag *diag)
{
	BH_FREE char *copy = bh_strdup(path);
	int r;

	for (char *p = copy + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0') {
			continue;
		}
		*p = '\0';
		if (mkdir(copy, mode) && errno != EEXIST) {
			r = -errno;
			return bh_diag_at(diag, r, copy, 0, 0, "can't make this folder: %s",
					  strerror(-r));
		}
		*p = c;
		if (!c) {
			return 0;
		}
	}
}
