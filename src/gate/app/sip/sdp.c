/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A description is lines "x=value": of the session, then of each medium behind its "m=". What is
 * asked for is looked up when a rule asks, nothing is kept.
 */
#include "gate/app/sip/sdp.h"

#include <string.h>

static const struct {
	enum gate_buffer buffer;
	char type;
	bool medium; /* of a medium's part */
} fields[] = {
	{GATE_BUF_SDP_ORIGIN, 'o', false},
	{GATE_BUF_SDP_SESSION_NAME, 's', false},
	{GATE_BUF_SDP_SESSION_INFO, 'i', false},
	{GATE_BUF_SDP_URI, 'u', false},
	{GATE_BUF_SDP_EMAIL, 'e', false},
	{GATE_BUF_SDP_PHONE_NUMBER, 'p', false},
	{GATE_BUF_SDP_CONNECTION_DATA, 'c', false},
	{GATE_BUF_SDP_BANDWIDTH, 'b', false},
	{GATE_BUF_SDP_TIME, 't', false},
	{GATE_BUF_SDP_REPEAT_TIME, 'r', false},
	{GATE_BUF_SDP_TIMEZONE, 'z', false},
	{GATE_BUF_SDP_ENCRYPTION_KEY, 'k', false},
	{GATE_BUF_SDP_ATTRIBUTE, 'a', false},
	{GATE_BUF_SDP_MEDIA, 'm', true},
	{GATE_BUF_SDP_MEDIA_INFO, 'i', true},
	{GATE_BUF_SDP_MEDIA_CONNECTION_DATA, 'c', true},
	{GATE_BUF_SDP_MEDIA_ENCRYPTION_KEY, 'k', true},
};

/* The line at the beginning of *rest, which is then what follows it; false: no line of SDP. */
static bool next_line(struct gate_view *rest, char *ret_type, struct gate_view *ret_value)
{
	const uint8_t *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
	uint32_t size = end ? (uint32_t)(end - rest->data) : rest->size,
		 used = size + (end != NULL);

	if (size && rest->data[size - 1] == '\r') {
		size--;
	}
	if (size < 2 || rest->data[1] != '=') {
		return false;
	}
	*ret_type = (char)rest->data[0];
	*ret_value = (struct gate_view){rest->data + 2, size - 2};
	rest->data += used;
	rest->size -= used;
	return true;
}

static bool find(struct gate_view rest, char type, bool medium, uint32_t index,
		 struct gate_view *ret)
{
	bool in_medium = false;
	char t;

	if (!next_line(&rest, &t, ret) || t != 'v') {
		return false;
	}
	while (next_line(&rest, &t, ret)) {
		in_medium = in_medium || t == 'm';
		if (in_medium && !medium) {
			return false;
		}
		if (t == type && in_medium == medium && !index--) {
			return true;
		}
	}
	return false;
}

bool gate_sdp_value(const struct gate_view *data, enum gate_buffer which, uint32_t index,
		    struct gate_buffer_view *ret)
{
	struct gate_view value;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].buffer != which) {
			continue;
		}
		if (!find(*data, fields[i].type, fields[i].medium, index, &value)) {
			return false;
		}
		*ret = (struct gate_buffer_view){
			.data = value.data, .size = value.size, .complete = true};
		return true;
	}
	return false;
}
