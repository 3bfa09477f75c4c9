/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of pinned maps is kept by number: what stands in abi/v<ABI>.txt may not change once it
 * was released; a change raises BH_ABI_VERSION in src/bpf/abi.h and makes a new file. Until the
 * first release, and for a new number, write the file anew:
 *
 *	BUILD/tests/unit/test_dataplane_abi --write
 */
#include "host/dataplane/internal.h"

#include "base/buf.h"
#include "base/file.h"
#include "dataplane.skel.h"

#include <bpf/libbpf.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char *layout_now(void)
{
	struct bpf_object *obj;
	struct bh_wbuf w;
	size_t size;
	const void *elf = dataplane__elf_bytes(&size);

	bh_wbuf_init(&w, 1 << 20);
	obj = bpf_object__open_mem(elf, size, NULL);
	if (!obj) {
		abort();
	}
	for (int m = 0; m < DP_MAP_COUNT; m++) {
		struct dp_layout l;
		BH_FREE char *line = NULL;

		dp_layout_map(obj, (enum dp_map)m, &l);
		line = bh_asprintf("%s type %u flags %#x max %u\n\tkey %u %s\n\tvalue %u %s\n",
				   dp_map_descs[m].name, l.type, l.flags, l.max_entries, l.key_size,
				   l.key, l.value_size, l.value);
		bh_wbuf_str(&w, line);
		dp_layout_done(&l);
	}
	bpf_object__close(obj);
	bh_wbuf_u8(&w, 0);
	return (char *)w.data;
}

static char *golden_path(void)
{
	return bh_asprintf(ABI_DIR "/v%d.txt", BH_ABI_VERSION);
}

static void layout_is_that_of_its_number(void **state)
{
	BH_FREE char *path = golden_path();
	BH_FREE char *now = layout_now();
	BH_FREE char *golden = NULL;
	size_t size;

	if (bh_file_read(path, 1 << 20, &golden, &size, NULL)) {
		fail_msg("%s is missing: run this program with --write", path);
	}
	if (strcmp(now, golden)) {
		print_message("now:\n%s", now);
		fail_msg("the maps of ABI %d look otherwise than %s says. After a release: raise "
			 "BH_ABI_VERSION. Then, or before the first release, run this program with "
			 "--write.",
			 BH_ABI_VERSION, path);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_is_that_of_its_number),
	};

	if (argc > 1 && !strcmp(argv[1], "--write")) {
		BH_FREE char *path = golden_path();
		BH_FREE char *now = layout_now();

		return bh_file_replace(path, now, strlen(now), 0644, NULL) ? 1 : 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
