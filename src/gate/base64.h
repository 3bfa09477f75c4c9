/* SPDX-License-Identifier: Apache-2.0 */
/* The alphabet of base64 (RFC 4648, 4); what becomes of other bytes is the reader's business. */
#ifndef BH_GATE_BASE64_H
#define BH_GATE_BASE64_H

#include <stdint.h>

/* 0 to 63, or -1. */
static inline int gate_base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

#endif
