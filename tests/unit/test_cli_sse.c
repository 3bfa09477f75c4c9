/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sse.h"

#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static int note(const struct cli_sse_event *event, void *arg)
{
	struct bh_wbuf *w = arg;

	bh_wbuf_printf(w, "[%s|%s|%s]", event->id, event->type, event->data);
	return strcmp(event->data, "stop") ? 0 : -EPIPE;
}

static const struct {
	const char *in;
	const char *out;
} cases[] = {
	{"data: a\n\n", "[|message|a]"},
	{"id: 7\nevent: flow.new\ndata: {\"a\": 1}\n\n", "[7|flow.new|{\"a\": 1}]"},
	{"id: 7\ndata: a\n\ndata: b\n\n", "[7|message|a][7|message|b]"},
	{"data: a\ndata: b\n\n", "[|message|a\nb]"},
	{"data:a\r\n\r\ndata: b\r\r", "[|message|a][|message|b]"},
	{": heartbeat\n\n: heartbeat\n\n", ""},
	{"event: x\n\ndata: a\n\n", "[|message|a]"},
	{"data\n\n", "[|message|]"},
	{"\xef\xbb\xbf"
	 "data: a\n\n",
	 "[|message|a]"},
	{"data: half", ""},
	{"unknown: x\nretry: 5\ndata: a\n\n", "[|message|a]"},
	{"data:  two\n\n", "[|message| two]"},
};

static void test_whole_and_in_pieces(void **state)
{
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		size_t size = strlen(cases[i].in);

		for (size_t step = 1; step <= size; step++) {
			struct cli_sse sse;
			struct bh_wbuf w;

			cli_sse_init(&sse);
			bh_wbuf_init(&w, 0);
			for (size_t at = 0; at < size; at += step) {
				size_t n = size - at < step ? size - at : step;

				assert_int_equal(cli_sse_feed(&sse, cases[i].in + at, n, note, &w),
						 0);
			}
			assert_string_equal(bh_wbuf_cstr(&w), cases[i].out);
			bh_wbuf_done(&w);
			cli_sse_done(&sse);
		}
	}
}

static void test_restart_forgets_half(void **state)
{
	struct cli_sse sse;
	struct bh_wbuf w;

	cli_sse_init(&sse);
	bh_wbuf_init(&w, 0);
	assert_int_equal(cli_sse_feed(&sse, "id: 9\nevent: e\ndata: ha", 23, note, &w), 0);
	cli_sse_restart(&sse);
	assert_int_equal(cli_sse_feed(&sse, "data: b\n\n", 9, note, &w), 0);
	assert_string_equal(bh_wbuf_cstr(&w), "[9|message|b]");
	bh_wbuf_done(&w);
	cli_sse_done(&sse);
}

static void test_reader_stops(void **state)
{
	struct cli_sse sse;
	struct bh_wbuf w;

	cli_sse_init(&sse);
	bh_wbuf_init(&w, 0);
	assert_int_equal(cli_sse_feed(&sse, "data: stop\n\ndata: b\n\n", 21, note, &w), -EPIPE);
	bh_wbuf_done(&w);
	cli_sse_done(&sse);
}

static void test_bounded(void **state)
{
	char chunk[4096];
	struct cli_sse sse;
	struct bh_wbuf w;
	size_t fed = 0;
	int r = 0;

	memset(chunk, 'a', sizeof(chunk));
	cli_sse_init(&sse);
	bh_wbuf_init(&w, 0);
	while (!r && fed < 4 * CLI_SSE_EVENT_MAX) {
		r = cli_sse_feed(&sse, chunk, sizeof(chunk), note, &w);
		fed += sizeof(chunk);
	}
	assert_int_equal(r, -EMSGSIZE);
	cli_sse_restart(&sse);
	r = 0;
	for (fed = 0; !r && fed < 4 * CLI_SSE_EVENT_MAX; fed += sizeof(chunk)) {
		memcpy(chunk, "data: ", 6);
		chunk[sizeof(chunk) - 1] = '\n';
		r = cli_sse_feed(&sse, chunk, sizeof(chunk), note, &w);
	}
	assert_int_equal(r, -EMSGSIZE);
	bh_wbuf_done(&w);
	cli_sse_done(&sse);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_and_in_pieces),
		cmocka_unit_test(test_restart_forgets_half),
		cmocka_unit_test(test_reader_stops),
		cmocka_unit_test(test_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
