/* SPDX-License-Identifier: Apache-2.0 */
/* gate/output: the JSON writer, the queue, the sinks. */
#include "base/counter.h"
#include "base/util.h"
#include "gate/config.h"
#include "gate/output/jw.h"
#include "gate/output/output.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

static const char *text_of(struct gate_jw *jw)
{
	jw->comma = false;
	gate_jw_raw(jw, NULL, " ", 1);
	jw->size--;
	jw->data[jw->size] = '\0';
	return jw->data;
}

static void test_shapes(void **state)
{
	struct gate_jw jw;

	gate_jw_init(&jw);
	gate_jw_object(&jw, NULL);
	gate_jw_uint(&jw, "a", 0);
	gate_jw_uint(&jw, "b", UINT64_MAX);
	gate_jw_int(&jw, "c", INT64_MIN);
	gate_jw_int(&jw, "d", 7);
	gate_jw_array(&jw, "e");
	gate_jw_bool(&jw, NULL, true);
	gate_jw_object(&jw, NULL);
	gate_jw_end(&jw);
	gate_jw_text(&jw, NULL, "x");
	gate_jw_end(&jw);
	gate_jw_real(&jw, "f", 0.5);
	gate_jw_real(&jw, "g", 1.0 / 0.0);
	gate_jw_hex(&jw, "h", "\x01\xff", 2);
	gate_jw_base64(&jw, "i", "abcd", 4);
	gate_jw_base64(&jw, "j", "abcde", 5);
	gate_jw_base64(&jw, "k", "abcdef", 6);
	gate_jw_raw(&jw, "l", "{\"m\":1}", 7);
	gate_jw_end(&jw);
	assert_true(jw.ok);
	assert_string_equal(
		text_of(&jw),
		"{\"a\":0,\"b\":18446744073709551615,\"c\":-9223372036854775808,\"d\":7,"
		"\"e\":[true,{},\"x\"],\"f\":0.5,\"g\":null,\"h\":\"01ff\",\"i\":\"YWJjZA==\","
		"\"j\":\"YWJjZGU=\",\"k\":\"YWJjZGVm\",\"l\":{\"m\":1}}");
	gate_jw_done(&jw);
}

static void test_escapes(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *text;
	} cases[] = {
		{"a\"\\\b\t\n\f\r", 8, "\"a\\\"\\\\\\b\\t\\n\\f\\r\""},
		{"\x00\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\""},
		{"\xc3\xa4", 2, "\"\xc3\xa4\""},
		{"\xe4", 1, "\"\\\\xe4\""},
		{"\xc3\xa4\xff", 3, "\"\\\\xc3\\\\xa4\\\\xff\""},
		{"\xc0\x80", 2, "\"\\\\xc0\\\\x80\""},		  /* overlong */
		{"\xed\xa0\x80", 3, "\"\\\\xed\\\\xa0\\\\x80\""}, /* surrogate */
		{"\xf4\x90\x80\x80", 4, "\"\\\\xf4\\\\x90\\\\x80\\\\x80\""},
		{"\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\""},
		{"\xf0\x9f\x98", 3, "\"\\\\xf0\\\\x9f\\\\x98\""},
		{"", 0, "\"\""},
	};
	struct gate_jw jw;

	gate_jw_init(&jw);
	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		json_t *value;

		gate_jw_reset(&jw);
		gate_jw_bytes(&jw, NULL, cases[i].bytes, cases[i].size);
		assert_string_equal(text_of(&jw), cases[i].text);
		value = json_loads(text_of(&jw), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		assert_non_null(value);
		json_decref(value);
	}
	gate_jw_done(&jw);
}

static void test_limits(void **state)
{
	BH_FREE char *big = bh_alloc(GATE_JW_SIZE_MAX);
	struct gate_jw jw;

	gate_jw_init(&jw);
	memset(big, 'x', GATE_JW_SIZE_MAX);
	gate_jw_bytes(&jw, NULL, big, GATE_JW_SIZE_MAX - 2);
	assert_true(jw.ok);
	assert_int_equal(jw.size, GATE_JW_SIZE_MAX);
	gate_jw_reset(&jw);
	gate_jw_bytes(&jw, NULL, big, GATE_JW_SIZE_MAX - 1);
	assert_false(jw.ok);
	gate_jw_reset(&jw);
	gate_jw_base64(&jw, NULL, big, GATE_JW_SIZE_MAX - 1);
	assert_false(jw.ok);
	gate_jw_reset(&jw);
	for (int i = 0; i < 40; i++) {
		gate_jw_array(&jw, NULL);
	}
	assert_false(jw.ok);
	gate_jw_reset(&jw);
	gate_jw_end(&jw);
	assert_false(jw.ok);
	gate_jw_done(&jw);
}

struct memory_sink {
	struct gate_out_sink ops;
	size_t size;
	unsigned int reopened;
	int fail;
};

static int memory_write(struct gate_out_sink *ops, const char *lines, size_t size)
{
	struct memory_sink *sink = BH_CONTAINER_OF(ops, struct memory_sink, ops);

	assert_int_equal(lines[size - 1], '\n');
	sink->size += size;
	return sink->fail;
}

static void memory_reopen(struct gate_out_sink *ops)
{
	BH_CONTAINER_OF(ops, struct memory_sink, ops)->reopened++;
}

static void memory_free(struct gate_out_sink *ops)
{
}

static void test_queue(void **state)
{
	struct memory_sink sink = {
		.ops = {.write = memory_write, .reopen = memory_reopen, .free = memory_free}};
	struct gate_config config = {.eve_queue = 1 << 12};
	struct gate_out *out = gate_out_new(&config, &sink.ops);
	BH_FREE char *large = bh_alloc(1 << 12);
	uint64_t lost = bh_counter_get("gate_eve_no_room");

	memset(large, 'x', 1 << 12);
	large[(1 << 12) - 1] = '\n';
	assert_false(gate_out_put(out, large, 1 << 12)); /* never fits */
	assert_int_equal(bh_counter_get("gate_eve_no_room"), lost + 1);
	gate_out_reopen(out);
	gate_out_patient(out);
	for (int i = 0; i < 10000; i++) {
		assert_true(gate_out_put(out, "one\ntwo\n", 8));
	}
	gate_out_flush(out);
	assert_int_equal(sink.size, 80000);
	assert_int_equal(sink.reopened, 1);
	lost = bh_counter_get("gate_eve_not_written");
	sink.fail = -ENOSPC;
	assert_true(gate_out_put(out, "one\ntwo\n", 8));
	gate_out_flush(out);
	assert_int_equal(bh_counter_get("gate_eve_not_written"), lost + 2);
	gate_out_free(out);
}

/* Writes only when it is let. */
struct stuck_sink {
	struct gate_out_sink ops;
	int gate[2]; /* a pipe: a byte lets one write go on */
	uint64_t told, lines;
};

static int stuck_write(struct gate_out_sink *ops, const char *lines, size_t size)
{
	struct stuck_sink *sink = BH_CONTAINER_OF(ops, struct stuck_sink, ops);
	char c;

	assert_int_equal(read(sink->gate[0], &c, 1), 1);
	for (size_t i = 0; i < size; i++) {
		sink->lines += lines[i] == '\n';
	}
	return 0;
}

static void stuck_lost(struct gate_out_sink *ops, uint64_t count)
{
	BH_CONTAINER_OF(ops, struct stuck_sink, ops)->told += count;
}

/* A reader that does not read: whoever makes records never waits, what finds no room is counted and
 * told to the sink; nothing of what found room is lost. */
static void test_stuck(void **state)
{
	struct stuck_sink sink = {.ops = {.write = stuck_write,
					  .reopen = memory_free,
					  .free = memory_free,
					  .lost = stuck_lost,
					  .queue = 1 << 12}};
	struct gate_config config = {.eve_queue = 1 << 20};
	uint64_t before = bh_counter_get("gate_eve_no_room"), lost = 0, kept = 0;
	struct gate_out *out;

	assert_int_equal(pipe(sink.gate), 0);
	out = gate_out_new(&config, &sink.ops);
	for (int i = 0; i < 100000; i++) {
		bool fits = gate_out_put(out, "one record\n", 11);

		kept += fits;
		lost += !fits;
	}
	assert_true(lost > 90000); /* and we are here: nobody has waited */
	assert_int_equal(bh_counter_get("gate_eve_no_room"), before + lost);
	assert_int_equal(write(sink.gate[1], "xxxx", 4), 4);
	gate_out_flush(out);
	assert_int_equal(sink.lines, kept);
	assert_int_equal(sink.told, lost);
	gate_out_free(out);
	close(sink.gate[0]);
	close(sink.gate[1]);
}

static void test_datagrams(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	uint64_t oversize = bh_counter_get("gate_eve_oversize");
	BH_FREE char *large = bh_alloc(2u << 20);
	char folder[] = "/tmp/gate-out-XXXXXX", got[16] = {};
	struct gate_out_sink *sink = NULL;
	int reader = socket(AF_UNIX, SOCK_DGRAM, 0);

	assert_non_null(mkdtemp(folder));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", folder);
	assert_int_equal(bind(reader, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(gate_out_unix(addr.sun_path, true, &sink, NULL), 0);
	assert_int_equal(sink->write(sink, "a\nbc\n", 5), 0);
	assert_int_equal(recv(reader, got, sizeof(got), 0), 2);
	assert_int_equal(recv(reader, got, sizeof(got), 0), 3);
	assert_memory_equal(got, "bc\n", 3);
	/* one that no datagram can hold: the rest goes on */
	memset(large, 'x', 2u << 20);
	large[(2u << 20) - 3] = '\n';
	memcpy(large + (2u << 20) - 2, "d\n", 2);
	assert_int_equal(sink->write(sink, large, 2u << 20), 0);
	assert_int_equal(bh_counter_get("gate_eve_oversize"), oversize + 1);
	assert_int_equal(recv(reader, got, sizeof(got), 0), 2);
	sink->free(sink);
	close(reader);
	unlink(addr.sun_path);
	rmdir(folder);
}

static void test_file(void **state)
{
	char folder[] = "/tmp/gate-out-XXXXXX";
	struct gate_out_sink *sink = NULL;
	BH_FREE char *path = NULL, *moved = NULL;
	struct stat st;

	assert_non_null(mkdtemp(folder));
	path = bh_asprintf("%s/eve.json", folder);
	moved = bh_asprintf("%s/old.json", folder);
	assert_int_equal(gate_out_file(path, 0, &sink, NULL), 0);
	assert_int_equal(sink->write(sink, "a\n", 2), 0);
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(sink->write(sink, "b\n", 2), 0);
	sink->reopen(sink);
	assert_int_equal(sink->write(sink, "c\n", 2), 0);
	assert_int_equal(stat(moved, &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 2);
	sink->free(sink);
	assert_int_equal(gate_out_file("/nonexistent/x", 0, &sink, NULL), -ENOENT);
	unlink(path);
	unlink(moved);
	rmdir(folder);
}

static void test_rotation(void **state)
{
	char folder[] = "/tmp/gate-out-XXXXXX";
	struct gate_out_sink *sink = NULL;
	BH_FREE char *path = NULL, *sweep = NULL;
	uint64_t before = bh_counter_get("gate_eve_rotations");
	struct stat st;

	assert_non_null(mkdtemp(folder));
	path = bh_asprintf("%s/eve.json", folder);
	assert_int_equal(gate_out_file(path, 4, &sink, NULL), 0);
	assert_int_equal(sink->write(sink, "ab\n", 3), 0);
	assert_int_equal(sink->write(sink, "cd\n", 3), 0);
	assert_int_equal(bh_counter_get("gate_eve_rotations"), before + 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	sink->free(sink);
	sweep = bh_asprintf("rm -r %s", folder);
	assert_int_equal(system(sweep), 0);
}

static void test_unix(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char folder[] = "/tmp/gate-out-XXXXXX";
	struct gate_out_sink *sink = NULL;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), peer;
	char got[8] = {};

	assert_non_null(mkdtemp(folder));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", folder);
	assert_int_equal(gate_out_unix(addr.sun_path, false, &sink, NULL), 0);
	assert_true(sink->write(sink, "a\n", 2) < 0); /* nobody there */
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(sink->write(sink, "b\n", 2), -ENOTCONN); /* not at once */
	sink->reopen(sink);
	assert_int_equal(sink->write(sink, "c\n", 2), 0);
	peer = accept(listener, NULL, NULL);
	assert_int_equal(read(peer, got, sizeof(got)), 2);
	assert_string_equal(got, "c\n");
	close(peer);
	assert_true(sink->write(sink, "d\n", 2) < 0 || sink->write(sink, "e\n", 2) < 0);
	sink->free(sink);
	close(listener);
	unlink(addr.sun_path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),	  cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_limits),	  cmocka_unit_test(test_queue),
		cmocka_unit_test(test_file),	  cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_unix),	  cmocka_unit_test(test_stuck),
		cmocka_unit_test(test_datagrams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
