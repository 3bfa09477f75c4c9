/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of the cache of compiled rules that somebody else wrote. First byte: 1 its checksum is set
 * right, 2 so is its head; the rest is the file. What is taken has the bytecode that was written
 * (Hyperscan's own sum stands over that, not over its head of 32 bytes). Who can make that sum too
 * is kept out by the owner and mode of the file.
 */
#include "fuzz_file.h"
#include "gate/detect/hscache.h"

#include <openssl/sha.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD	(8 + GATE_HS_KEY_SIZE + 8 + SHA256_DIGEST_LENGTH)
#define HS_HEAD 32

static const uint8_t key[GATE_HS_KEY_SIZE] = {1, 2, 3};

/* The database that an honest file holds. */
static void honest(char **ret, size_t *ret_size)
{
	hs_database_t *db = NULL;
	hs_compile_error_t *error = NULL;

	if (hs_compile("abc", 0, HS_MODE_BLOCK, NULL, &db, &error) ||
	    hs_serialize_database(db, ret, ret_size)) {
		abort();
	}
	hs_free_database(db);
}

static void mend(uint8_t *file, size_t size, uint8_t how)
{
	if (size < HEAD) {
		return;
	}
	if (how & 2) {
		uint64_t rest = size - HEAD;

		memcpy(file, "BHGATEHS", 8);
		memcpy(file + 8, key, sizeof(key));
		memcpy(file + 8 + sizeof(key), &rest, sizeof(rest));
	}
	if (how & 1) {
		SHA256(file + HEAD, size - HEAD, file + HEAD - SHA256_DIGEST_LENGTH);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *sound;
	static size_t sound_size;
	BH_FREE char *hex = bh_alloc(2 * GATE_HS_KEY_SIZE + 1);
	BH_FREE char *path = NULL, *again = NULL;
	BH_FREE uint8_t *file = NULL;
	hs_database_t *db = NULL;
	size_t again_size;
	int fd;

	if (!sound) {
		honest(&sound, &sound_size);
	}
	if (!size) {
		return 0;
	}
	bh_hex_format(key, sizeof(key), hex);
	path = bh_asprintf("%s/%s.hs", fuzz_folder(), hex);
	file = bh_memdup(data + 1, size - 1);
	mend(file, size - 1, data[0]);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fuzz_file_write(fd, file, size - 1);
	close(fd);
	if (!gate_hscache_load(fuzz_folder(), key, &db)) {
		if (hs_serialize_database(db, &again, &again_size) || again_size != sound_size ||
		    memcmp(again + HS_HEAD, sound + HS_HEAD, sound_size - HS_HEAD) != 0) {
			abort();
		}
		hs_free_database(db);
	}
	unlink(path);
	return 0;
}
