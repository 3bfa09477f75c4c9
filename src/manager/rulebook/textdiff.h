/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two texts, line by line, for people. Pure. */
#ifndef BH_MANAGER_RULEBOOK_TEXTDIFF_H
#define BH_MANAGER_RULEBOOK_TEXTDIFF_H

#include "base/buf.h"

#include <stddef.h>

/* Appends lines that begin with "-" (only in from), "+" (only in to) or " " (up to two beside
 * them); "..." where some between are left out. At most max_lines, then how many more there are.
 * Texts that are long and very different are shown as all of the one, then all of the other. */
void manager_text_diff(const char *from, const char *to, size_t max_lines, struct bh_wbuf *w);

#endif
