/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/capture/input.h"

#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define WINDOW_SIZE (256 * 1024)
#define GZ_BUFFER   (128 * 1024)

/* How the file begins says whether it is packed. */
static bool is_packed(int fd)
{
	uint8_t magic[2];

	return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && magic[0] == 0x1f &&
	       magic[1] == 0x8b;
}

int capture_input_open(const char *path, struct capture_input *ret, struct bh_diag *diag)
{
	struct stat st;

	*ret = (struct capture_input){};
	ret->fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : dup(0);
	if (ret->fd < 0) {
		return bh_diag_set(diag, -errno, "%s: %m", path);
	}
	if (fstat(ret->fd, &st) || S_ISDIR(st.st_mode)) {
		close(ret->fd);
		ret->fd = -1;
		return bh_diag_set(diag, -EISDIR, "%s is a folder", path);
	}
	/* a pipe can't be looked into: zlib passes plain bytes on */
	if (!S_ISREG(st.st_mode) || is_packed(ret->fd)) {
		ret->gz = gzdopen(ret->fd, "rb");
		if (!ret->gz) {
			close(ret->fd);
			return bh_diag_set(diag, -ENOMEM, "%s: no memory", path);
		}
		gzbuffer(ret->gz, GZ_BUFFER);
	} else {
		(void)posix_fadvise(ret->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	}
	ret->capacity = WINDOW_SIZE;
	ret->window = bh_alloc(ret->capacity);
	return 0;
}

void capture_input_memory(const void *data, size_t size, struct capture_input *ret)
{
	*ret = (struct capture_input){.fd = -1, .capacity = size, .end = size, .eof = true};
	ret->window = bh_memdup(data, size);
}

void capture_input_close(struct capture_input *in)
{
	if (in->gz) {
		gzclose(in->gz);
	} else if (in->fd >= 0) {
		close(in->fd);
	}
	free(in->window);
	*in = (struct capture_input){.fd = -1, .eof = true};
}

/* More bytes behind those that are here. */
static void more(struct capture_input *in)
{
	uint8_t *to = in->window + in->end;
	size_t room = in->capacity - in->end;
	ssize_t n;

	if (in->gz) {
		int code = Z_OK;

		n = gzread(in->gz, to, (unsigned int)room);
		(void)gzerror(in->gz, &code);
		if (n < 0 || (!n && code != Z_OK)) {
			/* Z_BUF_ERROR: it ends in the middle; else the packing is broken */
			in->err = code == Z_BUF_ERROR ? -ENODATA
				  : code == Z_ERRNO   ? -EIO
						      : -EBADMSG;
		}
	} else {
		do {
			n = read(in->fd, to, room);
		} while (n < 0 && errno == EINTR);
		if (n < 0) {
			in->err = -errno;
		}
	}
	if (n <= 0) {
		in->eof = true;
		return;
	}
	in->end += (size_t)n;
}

size_t capture_input_fill(struct capture_input *in, size_t size)
{
	if (in->eof) {
		return in->end - in->at;
	}
	memmove(in->window, in->window + in->at, in->end - in->at);
	in->before += in->at;
	in->end -= in->at;
	in->at = 0;
	if (size > in->capacity) {
		in->window = bh_realloc_array(in->window, size, 1);
		in->capacity = size;
	}
	while (in->end < size && !in->eof) {
		more(in);
	}
	return in->end;
}

bool capture_input_skip(struct capture_input *in, uint64_t size)
{
	while (size) {
		size_t have = capture_input_have(in, 1);

		if (!have) {
			return false;
		}
		have = have < size ? have : (size_t)size;
		in->at += have;
		size -= have;
	}
	return true;
}
