/* SPDX-License-Identifier: Apache-2.0 */
/* gate/capture: the formats of files, packed and not, folders, and files that lie or end early. */
#include "gate/capture/capture.h"

#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <zlib.h>

#include <cmocka.h>

struct maker {
	uint8_t data[8192];
	size_t size;
	bool big;
};

static void put32(struct maker *m, uint32_t v)
{
	v = m->big ? __builtin_bswap32(v) : v;
	memcpy(m->data + m->size, &v, 4);
	m->size += 4;
}

static void put16(struct maker *m, uint16_t v)
{
	v = m->big ? __builtin_bswap16(v) : v;
	memcpy(m->data + m->size, &v, 2);
	m->size += 2;
}

static void put_bytes(struct maker *m, const char *text, size_t size)
{
	memcpy(m->data + m->size, text, size);
	m->size += size;
	while (m->size % 4) {
		m->data[m->size++] = 0;
	}
}

static void pcap(struct maker *m, uint32_t magic, bool big)
{
	*m = (struct maker){.big = big};
	put32(m, magic);
	put16(m, 2);
	put16(m, 4);
	put32(m, 0);
	put32(m, 0);
	put32(m, 65535);
	put32(m, 101);
}

static void record(struct maker *m, uint32_t s, uint32_t fraction, const char *text)
{
	put32(m, s);
	put32(m, fraction);
	put32(m, (uint32_t)strlen(text));
	put32(m, (uint32_t)strlen(text) + 1);
	memcpy(m->data + m->size, text, strlen(text));
	m->size += strlen(text);
}

static struct gate_source *open_memory(const struct maker *m)
{
	struct gate_source *source = NULL;
	struct bh_diag diag = {};

	if (gate_source_memory("x", m->data, m->size, &source, &diag)) {
		fail_msg("%s", diag.text);
	}
	return source;
}

static void expect(struct gate_source *source, const char *text, uint64_t time_us,
		   unsigned int link)
{
	struct gate_packet p = {};
	struct bh_diag diag = {};

	if (source->ops->next(source, &p, 0, &diag) != 1) {
		fail_msg("%s instead of '%s'", diag.text, text);
	}
	assert_int_equal(p.size, strlen(text));
	assert_memory_equal(p.data, text, p.size);
	assert_int_equal(p.wire_size, p.size + 1);
	assert_int_equal(p.time_us, time_us);
	assert_int_equal(p.link, link);
}

static void expect_end(struct gate_source *source, int result, const char *words)
{
	struct gate_packet p = {};
	struct bh_diag diag = {};
	struct gate_source_stats stats;

	assert_int_equal(source->ops->next(source, &p, 0, &diag), result);
	if (words && !strstr(diag.text, words)) {
		fail_msg("'%s' does not say '%s'", diag.text, words);
	}
	source->ops->stats(source, &stats);
	assert_int_equal(stats.bad, words ? 1 : 0);
	if (words) {
		assert_int_equal(source->ops->next(source, &p, 0, &diag), -ENODATA);
	}
	source->ops->free(source);
}

static void test_pcap(void **state)
{
	static const uint32_t magics[] = {0xa1b2c3d4, 0xa1b23c4d};

	for (unsigned int i = 0; i < 4; i++) {
		uint32_t unit = i & 1 ? 1000 : 1;
		struct maker m;
		struct gate_source *source;

		pcap(&m, magics[i & 1], i & 2);
		record(&m, 5, 7 * unit, "abc");
		record(&m, 6, 999999 * unit, "");
		record(&m, 7, 0, "defgh");
		source = open_memory(&m);
		expect(source, "abc", 5000007, 101);
		expect(source, "", 6999999, 101);
		expect(source, "defgh", 7000000, 101);
		expect_end(source, -ENODATA, NULL);
	}
}

/* Cut anywhere: what is whole comes, then the place of what is not. */
static void test_pcap_cut(void **state)
{
	struct maker m;

	pcap(&m, 0xa1b2c3d4, false);
	record(&m, 5, 7, "abc");
	record(&m, 6, 8, "defgh");
	for (size_t size = 0; size < m.size; size++) {
		struct maker less = m;
		struct gate_source *source;

		less.size = size;
		if (size < 24) {
			assert_int_equal(gate_source_memory("x", less.data, size, &source, NULL),
					 -EBADMSG);
			continue;
		}
		source = open_memory(&less);
		if (size >= 43) {
			expect(source, "abc", 5000007, 101);
		}
		if (size == 24 || size == 43) {
			expect_end(source, -ENODATA, NULL);
		} else {
			expect_end(source, -EBADMSG,
				   size < 43 ? "record 1 at byte 24" : "record 2 at byte 43");
		}
	}
}

static void test_pcap_lies(void **state)
{
	struct maker m;
	struct gate_source *source;

	pcap(&m, 0xa1b2c3d4, false);
	record(&m, 5, 7, "abc");
	put32(&m, 1);
	put32(&m, 1);
	put32(&m, 0x7fffffff);
	put32(&m, 0x7fffffff);
	source = open_memory(&m);
	expect(source, "abc", 5000007, 101);
	expect_end(source, -EBADMSG, "record 2 at byte 43: it says that it has 2147483647 bytes");
}

/* ---- pcapng ---- */

static size_t begin(struct maker *m, uint32_t type)
{
	size_t at = m->size;

	put32(m, type);
	put32(m, 0);
	return at;
}

static void end(struct maker *m, size_t at)
{
	uint32_t size = (uint32_t)(m->size + 4 - at), v = m->big ? __builtin_bswap32(size) : size;

	put32(m, size);
	memcpy(m->data + at + 4, &v, 4);
}

static void section(struct maker *m)
{
	size_t at = begin(m, 0x0a0d0d0a);

	put32(m, 0x1a2b3c4d);
	put16(m, 1);
	put16(m, 0);
	put32(m, 0xffffffff);
	put32(m, 0xffffffff);
	end(m, at);
}

/* resolution 0: none is said */
static void interface(struct maker *m, unsigned int link, unsigned int resolution,
		      unsigned int offset)
{
	size_t at = begin(m, 1);

	put16(m, (uint16_t)link);
	put16(m, 0);
	put32(m, 0);
	if (resolution) {
		put16(m, 9);
		put16(m, 1);
		m->data[m->size] = (uint8_t)resolution;
		put_bytes(m, (const char *)m->data + m->size, 1);
	}
	if (offset) {
		put16(m, 14);
		put16(m, 8);
		put32(m, m->big ? 0 : offset);
		put32(m, m->big ? offset : 0);
	}
	put16(m, 0);
	put16(m, 0);
	end(m, at);
}

static void packet(struct maker *m, unsigned int number, uint64_t ts, const char *text)
{
	size_t at = begin(m, 6);

	put32(m, number);
	put32(m, (uint32_t)(ts >> 32));
	put32(m, (uint32_t)ts);
	put32(m, (uint32_t)strlen(text));
	put32(m, (uint32_t)strlen(text) + 1);
	put_bytes(m, text, strlen(text));
	end(m, at);
}

static void pcapng(struct maker *m, bool big)
{
	size_t at;

	*m = (struct maker){.big = big};
	section(m);
	at = begin(m, 0xbad);
	put_bytes(m, "of a kind that nobody knows", 27);
	end(m, at);
	interface(m, 1, 0, 0);
	interface(m, 101, 9, 0);
	interface(m, 113, 0x8a, 5);
	packet(m, 0, 1600000000000001, "one");
	packet(m, 1, 1600000000000002999, "three");
	packet(m, 2, 1600000000ull * 1024 + 512, "");
	section(m);
	interface(m, 9, 3, 0);
	packet(m, 0, 1600000000123, "last");
}

static void test_pcapng(void **state)
{
	for (unsigned int big = 0; big < 2; big++) {
		struct maker m;
		struct gate_source *source;

		pcapng(&m, big);
		source = open_memory(&m);
		expect(source, "one", 1600000000000001, 1);
		expect(source, "three", 1600000000000002, 101);
		expect(source, "", 1600000005500000, 113);
		expect(source, "last", 1600000000123000, 9);
		expect_end(source, -ENODATA, NULL);
	}
}

static void test_pcapng_cut(void **state)
{
	struct maker m;

	pcapng(&m, false);
	for (size_t size = 4; size < m.size; size++) {
		struct gate_source *source;
		struct gate_packet p = {};
		struct bh_diag diag = {};
		struct maker less = m;
		int result;

		less.size = size;
		source = open_memory(&less);
		while ((result = source->ops->next(source, &p, 0, &diag)) > 0) {
		}
		assert_true(result == -ENODATA ||
			    (result == -EBADMSG && strstr(diag.text, "record")));
		source->ops->free(source);
	}
}

static void test_pcapng_lies(void **state)
{
	struct maker m = {};
	struct gate_source *source;
	size_t at;

	section(&m);
	packet(&m, 0, 1, "of no interface");
	source = open_memory(&m);
	expect_end(source, -EBADMSG, "interface 0");

	m.size = 28;
	interface(&m, 1, 0x55, 0);
	source = open_memory(&m);
	expect_end(source, -EBADMSG, "resolution");

	m.size = 28;
	interface(&m, 1, 0, 0);
	at = m.size;
	packet(&m, 0, 1, "longer than its block");
	m.data[at + 20] = 200;
	source = open_memory(&m);
	expect_end(source, -EBADMSG, "200 bytes in a block that has");

	m.data[at + 4] = 13;
	source = open_memory(&m);
	expect_end(source, -EBADMSG, "a block of 13 bytes");
}

/* ---- files ---- */

static void write_file(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	close(fd);
}

static void write_packed(const char *path, const struct maker *m)
{
	gzFile gz = gzopen(path, "wb");

	assert_int_equal(gzwrite(gz, m->data, (unsigned int)m->size), m->size);
	gzclose(gz);
}

struct folder {
	char path[64], a[80], b[80], c[80];
};

static void folder_make(struct folder *f)
{
	strcpy(f->path, "/tmp/gate-capture-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	snprintf(f->a, sizeof(f->a), "%s/a", f->path);
	snprintf(f->b, sizeof(f->b), "%s/b", f->path);
	snprintf(f->c, sizeof(f->c), "%s/c", f->path);
}

static void folder_remove(struct folder *f)
{
	unlink(f->a);
	unlink(f->b);
	unlink(f->c);
	rmdir(f->path);
}

static struct gate_source *open_path(const char *path)
{
	struct gate_source *source = NULL;
	struct bh_diag diag = {};

	if (gate_source_file(path, &source, &diag) || gate_source_file_begin(source, &diag)) {
		fail_msg("%s", diag.text);
	}
	return source;
}

static int begin_error(const char *path, struct bh_diag *diag)
{
	struct gate_source *source = NULL;
	int err;

	assert_int_equal(gate_source_file(path, &source, diag), 0);
	err = gate_source_file_begin(source, diag);
	source->ops->free(source);
	return err;
}

/* In order of time, packed or not; one that is broken does not stop the rest. */
static void test_folder(void **state)
{
	struct gate_packet p = {};
	struct bh_diag diag = {};
	struct gate_source *source;
	struct folder f;
	struct maker m;

	folder_make(&f);
	pcap(&m, 0xa1b2c3d4, false);
	record(&m, 9, 0, "late");
	write_file(f.a, m.data, m.size);
	pcap(&m, 0xa1b2c3d4, true);
	record(&m, 2, 0, "early");
	record(&m, 3, 0, "cut");
	write_file(f.b, m.data, m.size - 1);
	pcap(&m, 0xa1b2c3d4, false);
	record(&m, 5, 0, "packed");
	write_packed(f.c, &m);
	source = open_path(f.path);
	expect(source, "early", 2000000, 101);
	assert_int_equal(source->ops->next(source, &p, 0, &diag), -EBADMSG);
	assert_non_null(strstr(diag.text, f.b));
	expect(source, "packed", 5000000, 101);
	expect(source, "late", 9000000, 101);
	assert_int_equal(source->ops->next(source, &p, 0, &diag), -ENODATA);
	source->ops->free(source);
	folder_remove(&f);
}

static void test_packed_cut(void **state)
{
	struct folder f;
	struct maker m;
	struct stat st;

	folder_make(&f);
	pcap(&m, 0xa1b2c3d4, false);
	for (unsigned int i = 0; i < 100; i++) {
		record(&m, i, i * 7919 % 1000000, "some bytes of a packet");
	}
	write_packed(f.a, &m);
	assert_int_equal(stat(f.a, &st), 0);
	assert_int_equal(truncate(f.a, st.st_size - 20), 0);
	{
		struct gate_source *source = open_path(f.a);
		struct gate_packet p = {};
		struct bh_diag diag = {};
		unsigned int count = 0;
		int result;

		while ((result = source->ops->next(source, &p, 0, &diag)) > 0) {
			count++;
		}
		assert_true(count > 50 && count < 100);
		assert_int_equal(result, -EBADMSG);
		source->ops->free(source);
	}
	folder_remove(&f);
}

static void test_no_capture(void **state)
{
	struct gate_source *source = NULL;
	struct bh_diag diag = {};
	struct folder f;

	folder_make(&f);
	assert_int_equal(gate_source_file(f.path, &source, &diag), -ENOENT);
	write_file(f.a, "#!/bin/sh\necho this is no capture at all\n", 41);
	assert_int_equal(begin_error(f.a, &diag), -EBADMSG);
	assert_non_null(strstr(diag.text, "neither pcap nor pcapng"));
	write_file(f.a, "", 0);
	assert_int_equal(begin_error(f.a, &diag), -EBADMSG);
	assert_int_equal(gate_source_file(f.b, &source, &diag), -ENOENT);
	folder_remove(&f);
}

static void test_no_interface(void **state)
{
	const struct gate_live_options options = {
		.in = "no-such-iface", .workers = 1, .ring_mb = 2};
	struct gate_source *source = NULL;
	struct bh_diag diag = {};

	assert_true(gate_source_afpacket(&options, &source, &diag) < 0);
	assert_true(diag.text[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pcap),	   cmocka_unit_test(test_pcap_cut),
		cmocka_unit_test(test_pcap_lies),  cmocka_unit_test(test_pcapng),
		cmocka_unit_test(test_pcapng_cut), cmocka_unit_test(test_pcapng_lies),
		cmocka_unit_test(test_folder),	   cmocka_unit_test(test_packed_cut),
		cmocka_unit_test(test_no_capture), cmocka_unit_test(test_no_interface),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
