/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as a file that has a path, for readers that open what they read. */
#ifndef BH_TESTS_FUZZ_FILE_H
#define BH_TESTS_FUZZ_FILE_H

#include "base/util.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>

struct fuzz_file {
	int fd;
	char path[32];
};

static inline void fuzz_file_write(int fd, const void *data, size_t size)
{
	if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size)) {
		abort();
	}
}

static inline struct fuzz_file fuzz_file_new(const void *data, size_t size)
{
	struct fuzz_file file = {.fd = memfd_create("fuzz", MFD_CLOEXEC)};

	fuzz_file_write(file.fd, data, size);
	snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
	return file;
}

static inline void fuzz_file_done(struct fuzz_file *file)
{
	close(file->fd);
}

/* A folder of this process, made with its first use, gone with its end; what is in it the target
 * takes out again. */
static inline const char *fuzz_folder_path(bool make)
{
	static char path[] = "/tmp/bh-fuzz-XXXXXX";
	static bool made;

	if (make && !made) {
		made = mkdtemp(path) != NULL;
	}
	return made ? path : NULL;
}

static inline void fuzz_folder_remove(void)
{
	const char *path = fuzz_folder_path(false);

	if (path) {
		rmdir(path);
	}
}

static inline const char *fuzz_folder(void)
{
	if (!fuzz_folder_path(false) && (!fuzz_folder_path(true) || atexit(fuzz_folder_remove))) {
		abort();
	}
	return fuzz_folder_path(false);
}

#endif
