/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 as rules decode it: what is no letter of the alphabet is skipped or ends it, by mode. */
#include "gate/base64.h"
#include "gate/detect/inspect.h"

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
		int v = gate_base64_value(data[i]);

		if (data[i] == '=') {
			padding++;
			break;
		}
		if (v < 0) {
			broken = !is_skipped(data[i], mode);
			continue;
		}
		bits = bits << 6 | (uint32_t)v;
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
