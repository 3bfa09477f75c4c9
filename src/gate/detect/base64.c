/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 as rules decode it: what is no letter of the alphabet is skipped or ends it, by mode. */
#include "gate/detect/inspect.h"

/* 0..63; 64 '='; 255 none of them. */
static uint8_t value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return (uint8_t)(c - 'a' + 26);
	}
	if (c >= '0' && c <= '9') {
		return (uint8_t)(c - '0' + 52);
	}
	return c == '+' ? 62 : c == '/' ? 63 : c == '=' ? 64 : 255;
}

static bool is_skipped(uint8_t c, int mode)
{
	/* RFC 2045 6.8: all that is not in the alphabet is ignored. Else only what a body may be
	 * folded with. */
	return mode == GATE_BASE64_RFC2045 || (mode == GATE_BASE64_RFC4648 && c == ' ');
}

uint32_t gate_base64_decode(const uint8_t *data, uint32_t size, uint8_t *ret, uint32_t ret_size,
			    int mode)
{
	uint32_t bits = 0, have = 0, out = 0, group = 0, padding = 0;
	bool broken = false;

	for (uint32_t i = 0; i < size && out < ret_size && !broken; i++) {
		uint8_t v = value_of(data[i]);

		if (v == 255) {
			broken = !is_skipped(data[i], mode);
			continue;
		}
		if (v == 64) {
			padding++;
			break;
		}
		bits = bits << 6 | v;
		have += 6;
		group++;
		if (have >= 8) {
			have -= 8;
			ret[out++] = (uint8_t)(bits >> have);
		}
	}
	if (mode == GATE_BASE64_STRICT && (broken || ((group + padding) % 4 && !padding))) {
		return 0;
	}
	return out;
}
