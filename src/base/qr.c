/* SPDX-License-Identifier: Apache-2.0 */
#include "base/qr.h"

#include <errno.h>
#include <qrencode.h>
#include <string.h>

#define QUIET 4 /* modules of white around it */

static QRcode *encode(const char *text)
{
	return strlen(text) <= BH_QR_TEXT_MAX ? QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M)
					      : NULL;
}

/* Beyond its edges it is white. */
static bool is_black(const QRcode *code, int x, int y)
{
	return x >= 0 && y >= 0 && x < code->width && y < code->width &&
	       code->data[y * code->width + x] & 1;
}

int bh_qr_svg(const char *text, struct bh_wbuf *w)
{
	QRcode *code = encode(text);
	int size;

	if (!code) {
		return -EMSGSIZE;
	}
	size = code->width + 2 * QUIET;
	bh_wbuf_printf(w,
		       "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\""
		       " shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/>"
		       "<path d=\"",
		       size, size, size, size);
	for (int y = 0; y < code->width; y++) {
		for (int x = 0, run; x < code->width; x += run ? run : 1) {
			for (run = 0; is_black(code, x + run, y);) {
				run++;
			}
			if (run) {
				bh_wbuf_printf(w, "M%d %dh%dv1h-%dz", x + QUIET, y + QUIET, run,
					       run);
			}
		}
	}
	bh_wbuf_str(w, "\"/></svg>");
	QRcode_free(code);
	return 0;
}

int bh_qr_terminal(const char *text, struct bh_wbuf *w)
{
	static const char *const halves[] = {" ", "▄", "▀", "█"}; /* of white: below, above */
	QRcode *code = encode(text);

	if (!code) {
		return -EMSGSIZE;
	}
	for (int y = -QUIET; y < code->width + QUIET; y += 2) {
		bh_wbuf_str(w, "\033[40;97m");
		for (int x = -QUIET; x < code->width + QUIET; x++) {
			int above = !is_black(code, x, y), below = !is_black(code, x, y + 1);

			bh_wbuf_str(w, halves[above * 2 + below]);
		}
		bh_wbuf_str(w, "\033[0m\n");
	}
	QRcode_free(code);
	return 0;
}
