/* SPDX-License-Identifier: Apache-2.0 */
/* Files of compiled databases: magic, key, size, SHA-256 of the rest, hs_serialize_database(). */
#include "gate/detect/hscache.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC	  "BHGATEHS" /* without its NUL */
#define FILE_MAX  (256u << 20)
#define HEAD_SIZE sizeof(struct head)

BH_COUNTER(gate_hscache_hits, "compiled databases that were taken from the cache");
BH_COUNTER(gate_hscache_bad,
	   "files of the cache of compiled databases that were not sound or not ours");
BH_COUNTER(gate_hscache_unwritten, "compiled databases that could not be written to the cache");

struct head {
	char magic[8];
	uint8_t key[GATE_HS_KEY_SIZE];
	uint64_t size;
	uint8_t checksum[SHA256_DIGEST_LENGTH];
};

static char *path_of(const char *dir, const uint8_t *key)
{
	char hex[2 * GATE_HS_KEY_SIZE + 1];

	bh_hex_format(key, GATE_HS_KEY_SIZE, hex);
	return bh_asprintf("%s/%s.hs", dir, hex);
}

static int read_database(const uint8_t *data, size_t size, const uint8_t key[GATE_HS_KEY_SIZE],
			 hs_database_t **ret)
{
	uint8_t checksum[SHA256_DIGEST_LENGTH];
	struct head head;

	if (size < HEAD_SIZE) {
		return -EBADMSG;
	}
	memcpy(&head, data, HEAD_SIZE);
	if (memcmp(head.magic, MAGIC, sizeof(head.magic)) != 0 ||
	    memcmp(head.key, key, GATE_HS_KEY_SIZE) != 0 || head.size != size - HEAD_SIZE) {
		return -EBADMSG;
	}
	SHA256(data + HEAD_SIZE, head.size, checksum);
	if (memcmp(checksum, head.checksum, sizeof(checksum)) != 0 ||
	    hs_deserialize_database((const char *)data + HEAD_SIZE, head.size, ret) != HS_SUCCESS) {
		return -EBADMSG;
	}
	return 0;
}

int gate_hscache_load(const char *dir, const uint8_t key[GATE_HS_KEY_SIZE], hs_database_t **ret)
{
	BH_FREE char *path = path_of(dir, key);
	BH_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	void *data;
	int r;

	if (fd < 0) {
		return -errno;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
	    st.st_size > FILE_MAX) {
		bh_counter_add(&gate_hscache_bad, 1);
		return -EBADMSG;
	}
	/* A checksum tells what is torn, not what is forged: that takes the right to write here. */
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH))) {
		bh_counter_add(&gate_hscache_bad, 1);
		return -EPERM;
	}
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (data == MAP_FAILED) {
		return -errno;
	}
	r = read_database(data, (size_t)st.st_size, key, ret);
	munmap(data, (size_t)st.st_size);
	bh_counter_add(r ? &gate_hscache_bad : &gate_hscache_hits, 1);
	return r;
}

void gate_hscache_store(const char *dir, const uint8_t key[GATE_HS_KEY_SIZE],
			const hs_database_t *db)
{
	BH_FREE char *path = path_of(dir, key), *temporary = NULL, *bytes = NULL;
	struct head head = {.magic = MAGIC};
	BH_CLOSE int fd = -1;
	size_t size;
	bool ok;

	if (hs_serialize_database(db, &bytes, &size) != HS_SUCCESS) {
		bh_counter_add(&gate_hscache_unwritten, 1);
		return;
	}
	memcpy(head.key, key, GATE_HS_KEY_SIZE);
	head.size = size;
	SHA256((const uint8_t *)bytes, size, head.checksum);
	/* No sync: a file that a crash left half does not fit its checksum. */
	temporary = bh_asprintf("%s.%d.tmp", path, (int)getpid());
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ok = fd >= 0 && write(fd, &head, HEAD_SIZE) == (ssize_t)HEAD_SIZE &&
	     write(fd, bytes, size) == (ssize_t)size && rename(temporary, path) == 0;
	if (!ok) {
		bh_counter_add(&gate_hscache_unwritten, 1);
		if (fd >= 0) {
			unlink(temporary);
		}
	}
}
