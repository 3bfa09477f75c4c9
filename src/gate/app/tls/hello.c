/* SPDX-License-Identifier: Apache-2.0 */
/* See hello.h. */
#include "gate/app/tls/hello.h"

#include <stdio.h>
#include <string.h>

enum {
	EXT_SERVER_NAME = 0,
	EXT_GROUPS = 10,
	EXT_POINT_FORMATS = 11,
	EXT_SIGNATURES = 13,
	EXT_ALPN = 16,
	EXT_SESSION_TICKET = 35,
	EXT_EARLY_DATA = 42,
	EXT_VERSIONS = 43,
	EXT_QUIC_PARAMETERS = 57,
	EXT_QUIC_PARAMETERS_DRAFT = 0xffa5,
};

/* Reads on; `bad` stays set after the first byte that is not there. */
struct reader {
	const uint8_t *data;
	uint32_t size, at;
	bool bad;
};

static uint32_t number(struct reader *r, unsigned int bytes)
{
	uint32_t value = 0;
	if (r->bad || bytes > r->size - r->at) {
		r->bad = true;
		return 0;
	}
	for (unsigned int i = 0; i < bytes; i++) {
		value = value << 8 | r->data[r->at++];
	}
	return value;
}

static struct gate_view bytes(struct reader *r, uint32_t size)
{
	struct gate_view v = {};
	if (r->bad || size > r->size - r->at) {
		r->bad = true;
		return v;
	}
	v.data = r->data + r->at;
	v.size = size;
	r->at += size;
	return v;
}

static struct reader inside(const struct gate_view *v)
{
	return (struct reader){.data = v->data, .size = v->size};
}

bool gate_tls_is_grease(uint16_t value)
{
	return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

static bool is_version(uint16_t v)
{
	return (v >= 0x0300 && v <= 0x0304) || v == 0x0002 || v >> 8 == 0x7f || v >> 8 == 0xfb;
}

static void read_sni(struct gate_tls_hello *h, const struct gate_view *data)
{
	struct reader r = inside(data);
	if (h->flags & GATE_TLS_HAS_SNI) {
		h->flags |= GATE_TLS_SNI_TWICE;
		return;
	}
	h->flags |= GATE_TLS_HAS_SNI;
	if (!data->size || !h->client) {
		return;
	}
	uint32_t list = number(&r, 2);
	uint32_t type = number(&r, 1);
	uint32_t size = number(&r, 2);
	if (!r.bad && type != 0) {
		h->flags |= GATE_TLS_SNI_TYPE;
		return;
	}
	struct gate_view name = bytes(&r, size);
	if (r.bad || list + 2 > data->size) {
		h->flags |= GATE_TLS_SNI_LENGTH;
		return;
	}
	h->sni = name;
}

static void read_versions(struct gate_tls_hello *h, const struct gate_view *data)
{
	struct reader r = inside(data);
	if (!h->client) {
		uint16_t v = (uint16_t)number(&r, 2);
		h->version = r.bad ? h->version : v;
		return;
	}
	uint32_t size = number(&r, 1);
	h->versions = bytes(&r, size);
	for (uint32_t i = 0; i + 2 <= h->versions.size; i += 2) {
		const uint8_t *p = h->versions.data + i;
		uint16_t v = (uint16_t)(p[0] << 8 | p[1]);
		if (is_version(v)) {
			h->version = v;
			break;
		}
	}
}

/* A list with its size before it. */
static struct gate_view listed(const struct gate_view *data, unsigned int size_bytes)
{
	struct reader r = inside(data);
	uint32_t size = number(&r, size_bytes);
	return bytes(&r, size);
}

static void read_extension(struct gate_tls_hello *h, uint16_t type, const struct gate_view *data)
{
	switch (type) {
	case EXT_SERVER_NAME:
		read_sni(h, data);
		break;
	case EXT_GROUPS:
		h->groups = listed(data, 2);
		break;
	case EXT_POINT_FORMATS:
		h->point_formats = listed(data, 1);
		break;
	case EXT_SIGNATURES:
		h->signatures = listed(data, 2);
		break;
	case EXT_ALPN:
		h->alpn = listed(data, 2);
		break;
	case EXT_SESSION_TICKET:
		h->flags |= data->size ? GATE_TLS_TICKET : 0;
		break;
	case EXT_EARLY_DATA:
		h->flags |= h->client ? GATE_TLS_EARLY_DATA : 0;
		break;
	case EXT_VERSIONS:
		read_versions(h, data);
		break;
	case EXT_QUIC_PARAMETERS:
	case EXT_QUIC_PARAMETERS_DRAFT:
		h->quic_parameters = *data;
		break;
	default:
		break;
	}
}

static void read_extensions(struct gate_tls_hello *h)
{
	struct reader r = inside(&h->extensions);
	while (r.at < r.size) {
		uint16_t type = (uint16_t)number(&r, 2);
		struct gate_view data = bytes(&r, number(&r, 2));
		if (r.bad) {
			h->flags |= GATE_TLS_BAD_LENGTH;
			return;
		}
		read_extension(h, type, &data);
	}
}

bool gate_tls_hello_read(const uint8_t *body, uint32_t size, bool client,
			 struct gate_tls_hello *ret)
{
	struct reader r = {.data = body, .size = size};
	memset(ret, 0, sizeof(*ret));
	ret->client = client;
	ret->legacy_version = ret->version = (uint16_t)number(&r, 2);
	ret->random = bytes(&r, GATE_TLS_RANDOM_SIZE).data;
	if (r.bad) {
		return false;
	}
	ret->session_id = bytes(&r, number(&r, 1));
	if (client) {
		ret->ciphers = bytes(&r, number(&r, 2));
		(void)bytes(&r, number(&r, 1));
	} else {
		ret->cipher = (uint16_t)number(&r, 2);
		(void)number(&r, 1);
	}
	if (r.bad || ret->session_id.size > 32) {
		ret->flags |= GATE_TLS_BAD_LENGTH;
		return true;
	}
	if (r.at == r.size) {
		ret->flags |= GATE_TLS_NO_EXTENSIONS;
		return true;
	}
	ret->extensions = bytes(&r, number(&r, 2));
	if (r.bad) {
		ret->flags |= GATE_TLS_BAD_LENGTH;
		return true;
	}
	read_extensions(ret);
	return true;
}

bool gate_tls_hello_extension(const struct gate_view *extensions, uint32_t *at, uint16_t *ret)
{
	if (extensions->size - *at < 4) {
		return false;
	}
	const uint8_t *p = extensions->data + *at;
	uint32_t size = (uint32_t)p[2] << 8 | p[3];
	if (size > extensions->size - *at - 4) {
		return false;
	}
	*ret = (uint16_t)(p[0] << 8 | p[1]);
	*at += 4 + size;
	return true;
}

bool gate_tls_hello_alpn(const struct gate_view *alpn, uint32_t index, struct gate_view *ret)
{
	struct reader r = inside(alpn);
	for (uint32_t i = 0; i < GATE_TLS_ALPN_MAX && r.at < r.size; i++) {
		struct gate_view one = bytes(&r, number(&r, 1));
		if (r.bad) {
			return false;
		}
		if (i == index) {
			*ret = one;
			return true;
		}
	}
	return false;
}

const char *gate_tls_version_name(uint16_t version, char ret[24])
{
	static const struct {
		uint16_t version;
		const char *name;
	} names[] = {
		{0x0002, "SSLv2"},   {0x0200, "SSLv2"},	  {0x0300, "SSLv3"},   {0x0301, "TLSv1"},
		{0x0302, "TLS 1.1"}, {0x0303, "TLS 1.2"}, {0x0304, "TLS 1.3"},
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].version == version) {
			return names[i].name;
		}
	}
	if (version >> 8 == 0x7f) {
		snprintf(ret, 24, "TLS 1.3 draft-%02u", version & 0xffu);
	} else if (version == 0xfb1a) {
		snprintf(ret, 24, "TLS 1.3 draft-26-fb");
	} else if (!version) {
		snprintf(ret, 24, "UNDETERMINED");
	} else {
		snprintf(ret, 24, "0x%04x", version);
	}
	return ret;
}
