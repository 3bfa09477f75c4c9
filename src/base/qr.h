/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QR codes (ISO/IEC 18004) of short texts, as a picture and for a terminal. libqrencode computes
 * them; here they are only drawn. Pure. A library of its own (`qr`), so that only what draws links
 * libqrencode.
 */
#ifndef BH_BASE_QR_H
#define BH_BASE_QR_H

#include "base/buf.h"

#define BH_QR_TEXT_MAX 1024 /* bytes of text */

/* An SVG of black modules on white with the quiet zone of four. -EMSGSIZE: the text is too long. */
[[nodiscard]] int bh_qr_svg(const char *text, struct bh_wbuf *w);
/* Lines of half blocks for a terminal, in colours of their own so that it is readable on a dark and
 * on a light one. -EMSGSIZE. */
[[nodiscard]] int bh_qr_terminal(const char *text, struct bh_wbuf *w);

#endif
