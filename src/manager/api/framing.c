/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/framing.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct headers {
	unsigned int lengths, encodings, hosts;
	bool odd_name, odd_value, odd_encoding;
};

/* RFC 9110: a token. */
static bool is_token(const char *s)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";

	for (const char *p = s; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr(marks, *p)) {
			return false;
		}
	}
	return *s;
}

static bool has_controls(const char *s)
{
	for (; *s; s++) {
		if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f) {
			return true;
		}
	}
	return false;
}

static enum MHD_Result look_at(void *cls, enum MHD_ValueKind kind, const char *name,
			       const char *value)
{
	struct headers *h = cls;

	value = value ? value : "";
	h->odd_name |= !is_token(name);
	h->odd_value |= has_controls(value);
	if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
		h->lengths++;
	} else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
		h->encodings++;
		h->odd_encoding |= strcasecmp(value, "chunked") != 0;
	} else if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
		h->hosts++;
	}
	return MHD_YES;
}

const char *manager_framing_doubt(struct MHD_Connection *connection, const char *version)
{
	bool older = strcmp(version, MHD_HTTP_VERSION_1_1) != 0;
	struct headers h = {};

	MHD_get_connection_values(connection, MHD_HEADER_KIND, look_at, &h);
	if (h.odd_name) {
		return "a header's name is no token";
	}
	if (h.odd_value) {
		return "a header has a control character";
	}
	if (h.lengths + h.encodings > 1) {
		return "the length of the body is said twice";
	}
	if (h.odd_encoding || (h.encodings && older)) {
		return "the only transfer encoding is chunked, of HTTP/1.1";
	}
	if (h.hosts > 1 || (h.hosts == 0 && !older)) {
		return "one header Host is needed";
	}
	return NULL;
}
