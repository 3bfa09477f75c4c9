/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of packets; see quic.h. */
#include "gate/app/quic/quic.h"

#include <stdio.h>
#include <string.h>

#define V1	 0x00000001u
#define V2	 0x6b3343cfu
#define Q(x)	 (0x51303000u | (x))
#define Q039	 Q(0x3339)
#define Q043	 Q(0x3433)
#define Q044	 Q(0x3434)
#define Q045	 Q(0x3435)
#define Q046	 Q(0x3436)
#define Q050	 QUIC_Q050
#define MVFST	 0xfaceb002u
#define DRAFT(v) (0xff000000u | (v))

enum quic_kind quic_version_kind(uint32_t version)
{
	if (version == V1 || version == V2 || version == Q050 || version == MVFST ||
	    (version >= DRAFT(23) && version <= DRAFT(34))) {
		return QUIC_IETF;
	}
	if (version == Q039 || (version >= Q043 && version <= Q046)) {
		return QUIC_GOOGLE;
	}
	return QUIC_NONE;
}

void quic_version_name(uint32_t version, char ret[16])
{
	if (quic_version_kind(version) == QUIC_GOOGLE) {
		snprintf(ret, 16, "Q0%c%c", (int)(version >> 8 & 0x7f), (int)(version & 0x7f));
	} else {
		snprintf(ret, 16, "%x", version);
	}
}

bool quic_varint(const uint8_t *data, uint32_t size, uint32_t *at, uint64_t *ret)
{
	if (*at >= size) {
		return false;
	}
	uint32_t length = 1u << (data[*at] >> 6);
	if (length > size - *at) {
		return false;
	}
	uint64_t value = data[*at] & 0x3f;
	for (uint32_t i = 1; i < length; i++) {
		value = value << 8 | data[*at + i];
	}
	*at += length;
	*ret = value;
	return true;
}

static bool take(const uint8_t *data, uint32_t size, uint32_t *at, uint32_t count,
		 struct gate_view *ret)
{
	if (count > size - *at) {
		return false;
	}
	*ret = (struct gate_view){.data = data + *at, .size = count};
	*at += count;
	return true;
}

/* Q039 and Q043: a public header of its own. */
static bool read_public(const uint8_t *data, uint32_t size, struct quic_header *h)
{
	static const uint8_t number_sizes[] = {1, 2, 4, 6};
	uint32_t at = 1;
	if (!(data[0] & 0x01)) {
		h->type = QUIC_SHORT;
		h->size = size;
		return true;
	}
	if (((data[0] & 0x08) && !take(data, size, &at, 8, &h->dcid)) || size - at < 4) {
		return false;
	}
	h->version = gate_be32(data + at);
	at += 4 + number_sizes[data[0] >> 4 & 3];
	h->kind = quic_version_kind(h->version);
	h->type = QUIC_INITIAL;
	if (h->kind != QUIC_GOOGLE || at > size) {
		return false;
	}
	h->size = at;
	h->payload = size - at;
	return true;
}

/* Q044 to Q046: lengths of both identifiers share a byte, each 0 or 3 more than it says. */
static bool read_google(const uint8_t *data, uint32_t size, struct quic_header *h)
{
	uint32_t at = 6;
	uint32_t d = data[5] >> 4, s = data[5] & 15;
	if (!take(data, size, &at, d ? d + 3 : 0, &h->dcid) ||
	    !take(data, size, &at, s ? s + 3 : 0, &h->scid) || size - at < 4) {
		return false;
	}
	at += 4; /* the packet's number */
	h->type = QUIC_INITIAL;
	h->size = at;
	h->payload = size - at;
	return true;
}

static enum quic_type long_type(uint32_t version, uint8_t first)
{
	/* RFC 9369 3.2 shifts them by one */
	uint8_t type = first >> 4 & 3;
	return (enum quic_type)(version == V2 ? (type + 3) & 3 : type);
}

static bool read_ietf(const uint8_t *data, uint32_t size, struct quic_header *h)
{
	uint32_t at = 5;
	uint64_t length = 0;
	struct gate_view token;
	if (data[at] > QUIC_CID_MAX || !take(data, size, &at, 1, &token) ||
	    !take(data, size, &at, token.data[0], &h->dcid)) {
		return false;
	}
	if (at >= size || data[at] > QUIC_CID_MAX || !take(data, size, &at, 1, &token) ||
	    !take(data, size, &at, token.data[0], &h->scid)) {
		return false;
	}
	h->type = !h->version		 ? QUIC_NEGOTIATION
		  : h->kind == QUIC_NONE ? QUIC_UNKNOWN
					 : long_type(h->version, data[0]);
	if (h->type == QUIC_RETRY || h->type == QUIC_NEGOTIATION || h->type == QUIC_UNKNOWN) {
		h->size = size;
		return true;
	}
	if (h->type == QUIC_INITIAL && (!quic_varint(data, size, &at, &length) || length > size ||
					!take(data, size, &at, (uint32_t)length, &token))) {
		return false;
	}
	if (!quic_varint(data, size, &at, &length) || length > size - at) {
		return false;
	}
	h->size = at;
	h->payload = (uint32_t)length;
	return true;
}

bool quic_header_read(const uint8_t *data, uint32_t size, struct quic_header *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!size) {
		return false;
	}
	if (!(data[0] & 0x80)) {
		if (!(data[0] & 0x40)) {
			return read_public(data, size, ret);
		}
		ret->type = QUIC_SHORT;
		ret->size = size;
		return true;
	}
	if (size < 7) {
		return false;
	}
	ret->is_long = true;
	ret->version = gate_be32(data + 1);
	ret->kind = quic_version_kind(ret->version);
	return ret->kind == QUIC_GOOGLE ? read_google(data, size, ret) : read_ietf(data, size, ret);
}
