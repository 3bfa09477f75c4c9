/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of datasets: a byte for type and format, one for what is asked of it, then the file. It is
 * a state file too: what was written back is read again, and written the same.
 */
#include "fuzz_file.h"
#include "base/file.h"
#include "gate/config.h"
#include "gate/detect/dataset.h"
#include "gate/detect/shared.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct gate_dataset_ref *ref, const uint8_t *data, size_t size)
{
	static const uint32_t sizes[] = {1, 4, 16, 32, 255};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(sizes) && sizes[i] <= size; i++) {
		(void)gate_dataset_match(ref, data, sizes[i]);
	}
	(void)gate_dataset_match(ref, data, (uint32_t)size);
}

/* What it was told is in the file now; owned. NULL: the file was refused. */
static char *once(const struct gate_config *config, const struct gate_dataset *how,
		  const struct gate_view *values)
{
	struct gate_shared *shared = gate_shared_new(config);
	struct gate_dataset_ref *ref = NULL;
	struct bh_diag diag = {};
	char *text = NULL;
	size_t size;

	if (gate_dataset_open(shared, config, how, &ref, &diag)) {
		if (!diag.text[0]) {
			abort();
		}
	} else {
		if (values->size) {
			ask(ref, values->data, values->size);
		}
		if (how->state && (gate_shared_save(shared, &diag) ||
				   bh_file_read(how->state, 1 << 24, &text, &size, &diag))) {
			abort();
		}
	}
	gate_shared_free(shared);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gate_config config = {.threshold_memcap = 1 << 16, .dataset_memcap = 1 << 20};
	BH_FREE char *path = bh_asprintf("%s/state", fuzz_folder());
	struct gate_dataset how = {.name = (char *)"set"};
	struct gate_view values;
	int fd;

	if (size < 2) {
		return 0;
	}
	values = (struct gate_view){.data = data + 2, .size = (uint32_t)size - 2};
	how.type = data[0] % (GATE_DATA_IP + 1);
	how.format = (data[0] >> 3) % (GATE_DATA_NDJSON + 1);
	how.value_key = (char *)(data[0] & 0x40 ? "v" : NULL);
	how.array_key = (char *)(data[0] & 0x80 ? "a.b" : NULL);
	how.cmd = data[1] % (GATE_DATA_REP + 1);
	how.subdomain = data[1] & 8;
	how.memcap = data[1] & 16 ? 100 : 0;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fuzz_file_write(fd, data + 2, size - 2);
	close(fd);
	if (how.format == GATE_DATA_CSV) {
		BH_FREE char *one = NULL, *two = NULL;
		const struct gate_view none = {};

		how.state = path;
		one = once(&config, &how, &values);
		two = one ? once(&config, &how, &none) : NULL;
		if (one && (!two || strlen(one) != strlen(two))) {
			abort();
		}
	} else {
		how.load = path;
		free(once(&config, &how, &values));
	}
	unlink(path);
	return 0;
}
