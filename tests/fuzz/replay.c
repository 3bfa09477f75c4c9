/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over its corpus in the ordinary test run: every file under the folders that
 * are named, and every truncation of the small ones that people wrote (what tools/fuzz has found,
 * `found-...`, has been cut in every way already).
 */
#include "base/file.h"
#include "base/util.h"

#include <ftw.h>
#include <stdbool.h>

#define INPUT_MAX    (16u << 20)
#define TRUNCATE_MAX 2048u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int inputs; /* nftw() takes no argument for its callback */

static void run_one(const char *data, size_t size)
{
	/* an exact copy, so that a checker sees a read past the end */
	BH_FREE uint8_t *copy = bh_memdup(data, size);

	(void)LLVMFuzzerTestOneInput(copy, size);
	inputs++;
}

static int on_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	BH_FREE char *data = NULL;
	size_t size;
	bool written = strncmp(path + ftw->base, "found-", strlen("found-")) != 0;

	if (type != FTW_F) {
		return 0;
	}
	if (bh_file_read(path, INPUT_MAX, &data, &size, NULL)) {
		fprintf(stderr, "can't read %s\n", path);
		return 1;
	}
	run_one(data, size);
	for (size_t n = 0; written && size <= TRUNCATE_MAX && n < size; n++) {
		run_one(data, n);
	}
	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (nftw(argv[i], on_file, 16, FTW_PHYS)) {
			return 1;
		}
	}
	printf("%u inputs\n", inputs);
	return inputs ? 0 : 1;
}
