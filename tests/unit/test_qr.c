/* SPDX-License-Identifier: Apache-2.0 */
/* Both drawings of a code show the modules that libqrencode computed, and only them. */
#include "base/qr.h"

#include <errno.h>
#include <qrencode.h>
#include <setjmp.h> /* cmocka needs these before it */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUIET 4
#define SIDE  200

static const char text[] =
	"otpauth://totp/Bulkhead:alice%40shop?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	"&issuer=Bulkhead";

static void compare(const bool black[SIDE][SIDE], int size)
{
	QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);

	assert_non_null(code);
	assert_int_equal(size, code->width + 2 * QUIET);
	for (int y = 0; y < size; y++) {
		for (int x = 0; x < size; x++) {
			int cx = x - QUIET, cy = y - QUIET;
			bool inside = cx >= 0 && cy >= 0 && cx < code->width && cy < code->width;

			assert_int_equal(black[y][x],
					 inside && code->data[cy * code->width + cx] & 1);
		}
	}
	QRcode_free(code);
}

static void the_picture(void **state)
{
	static bool black[SIDE][SIDE];
	int size = 0, x, y, run, again, used;
	struct bh_wbuf w;
	const char *p;

	bh_wbuf_init(&w, 0);
	assert_int_equal(bh_qr_svg(text, &w), 0);
	p = strstr(bh_wbuf_cstr(&w), "viewBox=\"0 0 ");
	assert_non_null(p);
	assert_int_equal(sscanf(p, "viewBox=\"0 0 %d", &size), 1);
	assert_true(size > 0 && size <= SIDE);
	p = strstr(p, "<path d=\"");
	assert_non_null(p);
	for (p += strlen("<path d=\""); *p == 'M'; p += used) {
		assert_int_equal(sscanf(p, "M%d %dh%dv1h-%dz%n", &x, &y, &run, &again, &used), 4);
		assert_true(run == again && x >= 0 && y >= 0 && x + run <= size && y < size);
		for (int i = 0; i < run; i++) {
			black[y][x + i] = true;
		}
	}
	assert_string_equal(p, "\"/></svg>");
	compare(black, size);
	bh_wbuf_done(&w);
}

static void the_terminal(void **state)
{
	static const struct {
		const char *text;
		bool above, below; /* white */
	} halves[] = {
		{"▄", false, true}, {"▀", true, false}, {"█", true, true}, {" ", false, false}};
	static bool black[SIDE][SIDE];
	int x = 0, y = 0, width = 0;
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	assert_int_equal(bh_qr_terminal(text, &w), 0);
	for (const char *p = bh_wbuf_cstr(&w); *p;) {
		size_t i = 0;

		if (*p == '\033') {
			p = strchr(p, 'm') + 1;
			continue;
		}
		if (*p == '\n') {
			width = x;
			x = 0;
			y += 2;
			p++;
			continue;
		}
		while (i < 4 && strncmp(p, halves[i].text, strlen(halves[i].text)) != 0) {
			i++;
		}
		assert_true(i < 4 && x < SIDE && y + 1 < SIDE);
		black[y][x] = !halves[i].above;
		black[y + 1][x] = !halves[i].below;
		x++;
		p += strlen(halves[i].text);
	}
	compare(black, width);
	bh_wbuf_done(&w);
}

static void what_is_too_long(void **state)
{
	char *longer = malloc(BH_QR_TEXT_MAX + 2);
	struct bh_wbuf w;

	assert_non_null(longer);
	memset(longer, 'a', BH_QR_TEXT_MAX + 1);
	longer[BH_QR_TEXT_MAX + 1] = '\0';
	bh_wbuf_init(&w, 0);
	assert_int_equal(bh_qr_svg(longer, &w), -EMSGSIZE);
	assert_int_equal(bh_qr_terminal(longer, &w), -EMSGSIZE);
	assert_int_equal(w.size, 0);
	longer[BH_QR_TEXT_MAX] = '\0';
	assert_int_equal(bh_qr_svg(longer, &w), 0);
	bh_wbuf_done(&w);
	free(longer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_picture),
		cmocka_unit_test(the_terminal),
		cmocka_unit_test(what_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
