/* SPDX-License-Identifier: Apache-2.0 */
/* IGMP (RFC 3376): how far its header goes, with the sources and groups of version 3. */
#include "gate/decode/decoder.h"

#define IGMP_MIN     8
#define QUERY_MIN    12 /* of version 3: the number of sources stands behind the group */
#define REPORT_MIN   8
#define GROUP_MIN    8
#define HEADER_MAX   65534u
#define ADDRESS_SIZE 4u

enum { QUERY = 0x11, REPORT3 = 0x22 };

/* One group of a report, which begins at `at`. 0, or what is wrong; *ret_end is behind it. */
static enum gate_event group_end(const uint8_t *data, uint32_t size, uint32_t at, uint32_t *ret_end)
{
	uint32_t more;

	if (size - at < GROUP_MIN) {
		return GATE_EVENT_IGMP_V3_PKT_TOO_SMALL;
	}
	more = (data[at + 1] + (uint32_t)gate_be16(data + at + 2)) * ADDRESS_SIZE;
	if (more > size - at - GROUP_MIN) {
		return GATE_EVENT_IGMP_MALFORMED;
	}
	*ret_end = at + GROUP_MIN + more;
	return GATE_EVENT_NONE;
}

static enum gate_event report_end(const uint8_t *data, uint32_t size, uint32_t *ret_end)
{
	unsigned int groups = gate_be16(data + 6);
	enum gate_event event = GATE_EVENT_NONE;

	*ret_end = REPORT_MIN;
	for (unsigned int i = 0; i < groups && !event; i++) {
		event = group_end(data, size, *ret_end, ret_end);
	}
	return event;
}

static enum gate_event header_end(const uint8_t *data, uint32_t size, uint32_t *ret_end)
{
	*ret_end = IGMP_MIN;
	if (data[0] == REPORT3) {
		return report_end(data, size, ret_end);
	}
	if (data[0] == QUERY && size >= QUERY_MIN) {
		*ret_end = QUERY_MIN + gate_be16(data + 10) * ADDRESS_SIZE;
		return *ret_end > size ? GATE_EVENT_IGMP_V3_PKT_TOO_SMALL : GATE_EVENT_NONE;
	}
	return GATE_EVENT_NONE;
}

void decode_igmp(struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	enum gate_event event;
	uint32_t end;

	if (size < IGMP_MIN) {
		decode_invalid(p, GATE_EVENT_IGMP_PKT_TOO_SMALL);
		return;
	}
	p->igmp = data; /* its type can be asked for, whatever follows */
	event = header_end(data, size, &end);
	event = !event && end > HEADER_MAX ? GATE_EVENT_IGMP_MALFORMED : event;
	if (event) {
		decode_invalid(p, event);
		return;
	}
	p->l4_size = end;
	p->payload = (struct gate_view){data + end, size - end};
}
