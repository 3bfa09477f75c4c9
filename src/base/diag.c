/* SPDX-License-Identifier: Apache-2.0 */
#include "base/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void bh_diag_put(struct bh_diag *diag, const char *file, unsigned int line, unsigned int column,
		 const char *fmt, ...)
{
	va_list ap;

	if (!diag) {
		return;
	}
	va_start(ap, fmt);
	vsnprintf(diag->text, sizeof(diag->text), fmt, ap);
	va_end(ap);
	snprintf(diag->file, sizeof(diag->file), "%s", file ? file : "");
	diag->line = line;
	diag->column = column;
}

void bh_diag_prefix(struct bh_diag *diag, const char *fmt, ...)
{
	char old[BH_DIAG_TEXT_SIZE];
	va_list ap;
	int n;

	if (!diag) {
		return;
	}
	memcpy(old, diag->text, sizeof(old));
	va_start(ap, fmt);
	n = vsnprintf(diag->text, sizeof(diag->text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(diag->text)) {
		snprintf(diag->text + n, sizeof(diag->text) - (size_t)n, ": %s", old);
	}
}

const char *bh_diag_format(const struct bh_diag *diag, char *buf, unsigned int size)
{
	if (diag->file[0] && diag->line) {
		snprintf(buf, size, "%s:%u:%u: %s", diag->file, diag->line, diag->column,
			 diag->text);
	} else if (diag->file[0]) {
		snprintf(buf, size, "%s: %s", diag->file, diag->text);
	} else {
		snprintf(buf, size, "%s", diag->text);
	}
	return buf;
}
