/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files on disk, as Suricata's file-store version 2: FOLDER/ab/abcd... named by SHA-256, each
 * content once. A file is kept when the configuration or a rule wants it (GATE_FILE_STORE); what a
 * rule wants late is still complete as long as its window has its beginning. Written beside and
 * renamed when it ends, so what has its name is whole.
 */
#include "gate/output/filestore.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "gate/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

BH_COUNTER(gate_filestore_stored, "files that were kept");
BH_COUNTER(gate_filestore_same, "files that were there already");
BH_COUNTER(gate_filestore_failed, "files that could not be written");
BH_COUNTER(gate_filestore_not_open,
	   "files that were opened for each of their pieces (file-store.max-open-files)");
BH_COUNTER(gate_filestore_late, "files that were wanted after their beginning was gone");

struct store {
	struct gate_file_sink ops;
	char *folder;
	_Atomic uint64_t number; /* of the next temporary file */
	_Atomic uint64_t open;	 /* descriptors */
	uint64_t open_max;	 /* 0: no limit */
};

struct stored {
	struct store *store;
	int fd;	     /* -1: opened for each piece, the store has as many open as it may */
	char path[]; /* of the temporary file */
};

/* Over the limit a file is opened anew for each of its pieces. */
static bool keep_open(struct store *store)
{
	if (store->open_max && atomic_fetch_add(&store->open, 1) >= store->open_max) {
		atomic_fetch_sub(&store->open, 1);
		bh_counter_add(&gate_filestore_not_open, 1);
		return false;
	}
	return true;
}

static void stop_writing(struct stored *stored)
{
	if (stored->fd >= 0) {
		close(stored->fd);
		stored->fd = -1;
		if (stored->store->open_max) {
			atomic_fetch_sub(&stored->store->open, 1);
		}
	}
}

static bool wanted(const struct gate_file *file)
{
	return (file->flags & (GATE_FILE_STORE | GATE_FILE_NOSTORE | GATE_FILE_STORED)) ==
	       GATE_FILE_STORE;
}

static void give_up(struct gate_file *file, struct stored *stored)
{
	file->flags |= GATE_FILE_NOSTORE;
	file->sink_data = NULL;
	if (stored) {
		stop_writing(stored);
		unlink(stored->path);
		free(stored);
	}
}

static struct stored *start(struct store *store, struct gate_file *file)
{
	size_t size = strlen(store->folder) + 40;
	struct stored *stored = bh_alloc(sizeof(*stored) + size);

	snprintf(stored->path, size, "%s/tmp/%d.%llu", store->folder, (int)getpid(),
		 (unsigned long long)store->number++);
	stored->fd = open(stored->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (stored->fd < 0) {
		bh_log_limited(BH_LOG_ERROR, "filestore", 2, "%s: %s", stored->path,
			       strerror(errno));
		bh_counter_add(&gate_filestore_failed, 1);
		free(stored);
		file->flags |= GATE_FILE_NOSTORE;
		return NULL;
	}
	stored->store = store;
	if (!keep_open(store)) {
		close(stored->fd);
		stored->fd = -1;
	}
	file->sink_data = stored;
	return stored;
}

static bool write_all(int fd, const void *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return false;
		}
		data = (const uint8_t *)data + n;
		size -= (size_t)n;
	}
	return true;
}

static void put(struct gate_file *file, const void *data, size_t size)
{
	struct stored *stored = file->sink_data;
	int fd = stored->fd >= 0 ? stored->fd : open(stored->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	bool written = fd >= 0 && write_all(fd, data, size);

	if (fd >= 0 && fd != stored->fd) {
		close(fd);
	}
	if (!written) {
		bh_counter_add(&gate_filestore_failed, 1);
		give_up(file, stored);
	}
}

/* The window has everything so far, or it is too late. */
static void catch_up(struct store *store, struct gate_file *file)
{
	if (file->window_offset || file->window_size < file->size) {
		bh_counter_add(&gate_filestore_late, 1);
		file->flags |= GATE_FILE_NOSTORE;
	} else if (start(store, file)) {
		put(file, file->window, file->window_size);
	}
}

static void finish(struct store *store, struct gate_file *file)
{
	struct stored *stored = file->sink_data;
	char name[65], folder[512], path[600];

	if (!stored) {
		return;
	}
	if (!(file->flags & GATE_FILE_SHA256)) {
		snprintf(name, sizeof(name), "%s", strrchr(stored->path, '/') + 1);
		snprintf(folder, sizeof(folder), "%s/nohash", store->folder);
	} else {
		bh_hex_format(file->sha256, sizeof(file->sha256), name);
		name[64] = '\0';
		snprintf(folder, sizeof(folder), "%s/%.2s", store->folder, name);
	}
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (mkdir(folder, 0750) < 0 && errno != EEXIST) {
		bh_counter_add(&gate_filestore_failed, 1);
		give_up(file, stored);
		return;
	}
	if (access(path, F_OK) == 0) {
		bh_counter_add(&gate_filestore_same, 1);
		unlink(stored->path);
	} else if (rename(stored->path, path) < 0) {
		bh_counter_add(&gate_filestore_failed, 1);
		give_up(file, stored);
		return;
	} else {
		bh_counter_add(&gate_filestore_stored, 1);
	}
	stop_writing(stored);
	free(stored);
	file->sink_data = NULL;
	file->flags |= GATE_FILE_STORED;
}

static void on_begin(struct gate_file_sink *sink, const struct gate_flow *flow,
		     struct gate_file *file)
{
}

static void on_data(struct gate_file_sink *sink, struct gate_file *file, const void *data,
		    uint32_t size)
{
	struct store *store = BH_CONTAINER_OF(sink, struct store, ops);

	if (!wanted(file)) {
		return;
	}
	if (file->sink_data) {
		put(file, data, size);
	} else {
		catch_up(store, file); /* the window has `data` already */
	}
}

static void on_end(struct gate_file_sink *sink, const struct gate_flow *flow,
		   struct gate_file *file)
{
	struct store *store = BH_CONTAINER_OF(sink, struct store, ops);

	if (wanted(file) && !file->sink_data) {
		catch_up(store, file);
	}
	finish(store, file);
}

void gate_filestore_look(struct gate_file_sink *sink, struct gate_file *file)
{
	if (file->state != GATE_FILE_OPEN && wanted(file)) {
		on_end(sink, NULL, file);
	}
}

int gate_filestore_new(const struct gate_config *config, struct gate_file_sink **ret,
		       struct bh_diag *diag)
{
	BH_FREE char *folder =
		config->file_store_dir[0] == '/'
			? bh_strdup(config->file_store_dir)
			: bh_asprintf("%s/%s", config->log_dir, config->file_store_dir);
	BH_FREE char *tmp = bh_asprintf("%s/tmp", folder);
	int err = bh_mkdirs(tmp, 0750, diag);
	struct store *store;

	if (err) {
		return err;
	}
	if (strlen(folder) > 400) {
		return bh_diag_set(diag, -ENAMETOOLONG, "file-store.dir: too long");
	}
	store = bh_alloc(sizeof(*store));
	store->folder = bh_steal(&folder);
	store->open_max = config->file_store_open_max;
	store->ops = (struct gate_file_sink){.begin = on_begin, .data = on_data, .end = on_end};
	*ret = &store->ops;
	return 0;
}

const char *gate_filestore_folder(const struct gate_file_sink *sink)
{
	return BH_CONTAINER_OF(sink, struct store, ops)->folder;
}

void gate_filestore_free(struct gate_file_sink *sink)
{
	if (sink) {
		struct store *store = BH_CONTAINER_OF(sink, struct store, ops);

		free(store->folder);
		free(store);
	}
}
