/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures as a source: a file, or the files of a folder in order of their first packets. A file
 * that turns out to be cut or broken is told once all before it has been handed out; reading then
 * goes on with the next file, if there is one.
 */
#include "gate/capture/capture.h"

#include "base/util.h"
#include "gate/capture/format.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

struct named_file {
	char *path;
	uint64_t first_us;
};

struct file_source {
	struct gate_source source;
	BH_VEC(struct named_file) files;
	size_t current; /* number of the file that is read */
	bool folder, open;
	struct capture_input first; /* of a single file, until it is read */
	struct capture_reader reader;
	uint64_t number;
	struct gate_source_stats stats;
};

static int open_reader(const char *path, struct capture_reader *ret, struct bh_diag *diag)
{
	struct capture_input in;
	int err = capture_input_open(path, &in, diag);

	if (!err) {
		err = capture_reader_init(ret, &in, diag);
		if (err) {
			bh_diag_prefix(diag, "%s", path);
		}
	}
	return err;
}

static void next_file(struct file_source *f)
{
	capture_reader_done(&f->reader);
	f->open = false;
	f->current++;
}

static int file_next(struct gate_source *source, struct gate_packet *p, int wait_ms,
		     struct bh_diag *diag)
{
	struct file_source *f = BH_CONTAINER_OF(source, struct file_source, source);
	int result;

	while (f->current < f->files.count) {
		const char *path = f->files.items[f->current].path;

		if (!f->open) {
			result = open_reader(path, &f->reader, diag);
			if (result) {
				f->current++;
				f->stats.bad++;
				return result;
			}
			f->open = true;
		}
		result = capture_reader_next(&f->reader, p, diag);
		if (result > 0) {
			p->number = ++f->number;
			p->unsummed = false;
			f->stats.packets++;
			f->stats.bytes += p->size;
			return 1;
		}
		if (result < 0) {
			bh_diag_prefix(diag, "%s", path);
			f->stats.bad++;
		}
		next_file(f);
		if (result < 0) {
			return result;
		}
	}
	return -ENODATA;
}

static void file_stats(const struct gate_source *source, struct gate_source_stats *ret)
{
	*ret = BH_CONTAINER_OF(source, const struct file_source, source)->stats;
}

static void file_free(struct gate_source *source)
{
	struct file_source *f = BH_CONTAINER_OF(source, struct file_source, source);

	if (f->open) {
		capture_reader_done(&f->reader);
	}
	capture_input_close(&f->first);
	bh_vec_foreach (file, &f->files) {
		free(file->path);
	}
	bh_vec_done(&f->files);
	free(f);
}

static const struct gate_source_ops file_ops = {
	.next = file_next,
	.stats = file_stats,
	.free = file_free,
};

/* 0 when it has no packet: its error, if there is one, is told when its turn comes. */
static uint64_t first_time(const char *path)
{
	struct capture_reader reader;
	struct gate_packet p = {};
	uint64_t us = 0;

	if (!open_reader(path, &reader, NULL)) {
		us = capture_reader_next(&reader, &p, NULL) > 0 ? p.time_us : 0;
		capture_reader_done(&reader);
	}
	return us;
}

static int by_time(const void *a, const void *b)
{
	const struct named_file *x = a, *y = b;

	if (x->first_us != y->first_us) {
		return x->first_us < y->first_us ? -1 : 1;
	}
	return strcmp(x->path, y->path);
}

static int add_folder(struct file_source *f, const char *path, struct bh_diag *diag)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir) {
		return bh_diag_set(diag, -errno, "%s: %m", path);
	}
	while ((entry = readdir(dir))) {
		BH_FREE char *name = bh_asprintf("%s/%s", path, entry->d_name);
		struct stat st;

		if (entry->d_name[0] != '.' && !stat(name, &st) && S_ISREG(st.st_mode)) {
			struct named_file *file = bh_vec_push(&f->files);

			file->path = bh_steal(&name);
		}
	}
	closedir(dir);
	f->folder = true;
	return f->files.count ? 0 : bh_diag_set(diag, -ENOENT, "%s: no files in this folder", path);
}

int gate_source_file(const char *path, struct gate_source **ret, struct bh_diag *diag)
{
	struct file_source *f = bh_alloc(sizeof(*f));
	struct stat st;
	int err = 0;

	f->source.ops = &file_ops;
	f->first.fd = -1;
	if (strcmp(path, "-") != 0 && stat(path, &st)) {
		err = bh_diag_set(diag, -errno, "%s: %m", path);
	} else if (strcmp(path, "-") != 0 && S_ISDIR(st.st_mode)) {
		err = add_folder(f, path, diag);
	} else {
		bh_vec_push(&f->files)->path = bh_strdup(path);
		err = capture_input_open(path, &f->first, diag);
	}
	if (err) {
		file_free(&f->source);
		return err;
	}
	*ret = &f->source;
	return 0;
}

int gate_source_file_begin(struct gate_source *source, struct bh_diag *diag)
{
	struct file_source *f = BH_CONTAINER_OF(source, struct file_source, source);
	struct capture_input first = f->first;
	int err;

	if (f->folder) {
		bh_vec_foreach (file, &f->files) {
			file->first_us = first_time(file->path);
		}
		qsort(f->files.items, f->files.count, sizeof(*f->files.items), by_time);
		return 0;
	}
	f->first = (struct capture_input){.fd = -1};
	err = capture_reader_init(&f->reader, &first, diag);
	f->open = !err;
	if (err) {
		bh_diag_prefix(diag, "%s", f->files.items[0].path);
	}
	return err;
}

int gate_source_memory(const char *name, const void *data, size_t size, struct gate_source **ret,
		       struct bh_diag *diag)
{
	struct file_source *f = bh_alloc(sizeof(*f));
	struct capture_input in;
	int err;

	f->source.ops = &file_ops;
	f->first.fd = -1;
	bh_vec_push(&f->files)->path = bh_strdup(name);
	capture_input_memory(data, size, &in);
	err = capture_reader_init(&f->reader, &in, diag);
	f->open = !err;
	if (err) {
		bh_diag_prefix(diag, "%s", name);
		file_free(&f->source);
		return err;
	}
	*ret = &f->source;
	return 0;
}
