/* SPDX-License-Identifier: Apache-2.0 */
/* Ports in commands and replies of FTP. Only the port counts: the address is that of the flow, as
 * in Suricata; who names another is a matter of rules (ftpbounce). */
#include "gate/app/ftp/ftp.h"

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

uint16_t gate_ftp_port_list(struct gate_view v)
{
	uint32_t numbers[6], count = 0, i = 0;
	while (i < v.size && !is_digit(v.data[i])) {
		i++;
	}
	while (i < v.size && count < 6 && is_digit(v.data[i])) {
		uint32_t n = 0;
		while (i < v.size && is_digit(v.data[i]) && n <= 255) {
			n = n * 10 + (uint32_t)(v.data[i++] - '0');
		}
		if (n > 255) {
			return 0;
		}
		numbers[count++] = n;
		i += i < v.size && v.data[i] == ',';
	}
	return count == 6 ? (uint16_t)(numbers[4] << 8 | numbers[5]) : 0;
}

uint16_t gate_ftp_port_extended(struct gate_view v)
{
	uint32_t i = 0, port = 0;
	const uint8_t *open = memchr(v.data, '(', v.size);
	if (open) {
		i = (uint32_t)(open - v.data) + 1;
	}
	while (i < v.size && v.data[i] == ' ') {
		i++;
	}
	if (i == v.size || is_digit(v.data[i])) {
		return 0;
	}
	/* whatever the client takes to part them: <d>net<d>address<d>port<d> */
	uint8_t bar = v.data[i];
	for (unsigned int bars = 0; i < v.size && bars < 3; i++) {
		bars += v.data[i] == bar;
	}
	while (i < v.size && is_digit(v.data[i]) && port <= UINT16_MAX) {
		port = port * 10 + (uint32_t)(v.data[i++] - '0');
	}
	return port <= UINT16_MAX ? (uint16_t)port : 0;
}
