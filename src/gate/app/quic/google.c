/* SPDX-License-Identifier: Apache-2.0 */
/* The client hello of Google's QUIC ("QUIC Crypto", revision 2016), and CYU (salesforce) of it. */
#include "gate/app/quic/quic.h"

#include <stdio.h>
#include <string.h>

#define HASH_SIZE 12u /* before the frames of a packet that is not encrypted */
#define TAGS_MAX  128u

static uint32_t le(const uint8_t *p, unsigned int bytes)
{
	uint32_t value = 0;
	while (bytes) {
		value = value << 8 | p[--bytes];
	}
	return value;
}

/* The data of the first stream frame. */
static bool stream_data(const uint8_t *data, uint32_t size, struct gate_view *ret)
{
	static const uint8_t offsets[] = {0, 2, 3, 4, 5, 6, 7, 8};
	uint32_t at = HASH_SIZE;
	while (at < size && !data[at]) {
		at++; /* padding */
	}
	if (at >= size || !(data[at] & 0x80)) {
		return false;
	}
	uint8_t type = data[at];
	at += 1u + (type & 3u) + 1u + offsets[type >> 2 & 7];
	uint32_t length = size > at ? size - at : 0;
	if (type & 0x20) {
		if (length < 2) {
			return false;
		}
		/* big-endian from Q039 on, and the hash came little-endian: take what fits */
		uint32_t big = (uint32_t)data[at] << 8 | data[at + 1];
		length = big <= length - 2 ? big : length - 2;
		at += 2;
	}
	*ret = (struct gate_view){.data = data + (at < size ? at : 0), .size = length};
	return length > 0;
}

static void add_tag(struct quic_chlo *c, const uint8_t *tag, bool first)
{
	uint32_t size = 4;
	while (size && !tag[size - 1]) {
		size--;
	}
	if (c->cyu_size + size + 1 > QUIC_CYU_MAX) {
		return;
	}
	if (!first) {
		c->cyu[c->cyu_size++] = '-';
	}
	memcpy(c->cyu + c->cyu_size, tag, size);
	c->cyu_size += size;
}

bool quic_chlo_read(const struct gate_view *v, uint32_t version, struct quic_chlo *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (v->size < 8 || memcmp(v->data, "CHLO", 4) != 0) {
		return false;
	}
	uint32_t count = le(v->data + 4, 2), values = 8 + 8 * count, from = 0;
	if (count > TAGS_MAX || values > v->size) {
		return false;
	}
	ret->cyu_size = (uint32_t)snprintf(ret->cyu, QUIC_CYU_MAX, "%c%c,",
					   (int)(version >> 8 & 0x7f), (int)(version & 0x7f));
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *entry = v->data + 8 + 8 * (size_t)i;
		uint32_t to = le(entry + 4, 4);
		add_tag(ret, entry, i == 0);
		if (to < from || to > v->size - values) {
			break;
		}
		struct gate_view value = {.data = v->data + values + from, .size = to - from};
		if (!memcmp(entry, "SNI\0", 4)) {
			ret->sni = value;
		} else if (!memcmp(entry, "UAID", 4)) {
			ret->ua = value;
		}
		from = to;
	}
	return true;
}

bool quic_chlo_find(const uint8_t *data, uint32_t size, uint32_t version, struct quic_chlo *ret)
{
	struct gate_view v;
	return stream_data(data, size, &v) && quic_chlo_read(&v, version, ret);
}
