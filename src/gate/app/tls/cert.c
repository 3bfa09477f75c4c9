/* SPDX-License-Identifier: Apache-2.0 */
/* See cert.h. Names are spelled as Suricata's (x509-parser's) are. */
#include "gate/app/ber.h"
#include "gate/app/tls/cert.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum {
	TAG_BOOLEAN = 0x01,
	TAG_INTEGER = 0x02,
	TAG_OCTETS = 0x04,
	TAG_OID = 0x06,
	TAG_UTF8 = 0x0c,
	TAG_UTC_TIME = 0x17,
	TAG_TIME = 0x18,
	TAG_UNIVERSAL = 0x1c,
	TAG_BMP = 0x1e,
	TAG_SEQUENCE = 0x30,
	TAG_SET = 0x31,
};

/* ---- DER ---- */

struct element {
	uint8_t tag;
	struct gate_view value;
};

#define LENGTH_MAX 0x83u /* first byte of a length: four bytes of it are of no use here */

/* False: nothing sound stands there. */
static bool next(struct gate_ber *d, struct element *ret)
{
	const uint8_t *p = d->data + d->at;
	if (d->size - d->at < 2 || (p[0] & 0x1f) == 0x1f || p[1] > LENGTH_MAX) {
		return false;
	}
	return gate_ber_next(d, &ret->tag, &ret->value);
}

/* Why no sequence stands there. */
static enum gate_cert_error no_sequence(const struct gate_ber *d)
{
	const uint8_t *p = d->data + d->at;
	uint32_t left = d->size - d->at;
	if (left && p[0] != TAG_SEQUENCE) {
		return GATE_CERT_BAD_DER;
	}
	bool whole = left >= 2 && p[1] > LENGTH_MAX && left - 2 >= (p[1] & 0x7fu);
	return whole ? GATE_CERT_BAD : GATE_CERT_BAD_LENGTH;
}

static bool next_is(struct gate_ber *d, uint8_t tag, struct gate_view *ret)
{
	struct element e;
	struct gate_ber was = *d;
	if (!next(d, &e) || e.tag != tag) {
		*d = was;
		return false;
	}
	*ret = e.value;
	return true;
}

/* ---- dates ---- */

static bool two_digits(const uint8_t *p, unsigned int *ret)
{
	if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9') {
		return false;
	}
	*ret = (unsigned int)(p[0] - '0') * 10 + (unsigned int)(p[1] - '0');
	return true;
}

/* Days since 1970 of a date (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days(int64_t year, unsigned int month, unsigned int day)
{
	year -= month <= 2;
	int64_t era = year / 400;
	int64_t of_era = year - era * 400;
	int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool read_date(struct gate_ber *d, int64_t *ret)
{
	struct element e;
	unsigned int v[7] = {};
	if (!next(d, &e) || (e.tag != TAG_UTC_TIME && e.tag != TAG_TIME)) {
		return false;
	}
	unsigned int first = e.tag == TAG_TIME ? 0 : 1;
	uint32_t at = 0;
	for (unsigned int i = first; i < 7; i++, at += 2) {
		bool seconds = i == 6;
		if (at + 2 > e.value.size || !two_digits(e.value.data + at, &v[i])) {
			if (!seconds) {
				return false;
			}
			break;
		}
	}
	int64_t year =
		first ? (v[1] < 50 ? 2000 : 1900) + (int64_t)v[1] : (int64_t)v[0] * 100 + v[1];
	if (v[2] < 1 || v[2] > 12 || v[3] < 1 || v[3] > 31 || v[4] > 23 || v[5] > 59 || v[6] > 60) {
		return false;
	}
	*ret = days(year, v[2], v[3]) * 86400 + v[4] * 3600 + v[5] * 60 + v[6];
	return true;
}

/* ---- the certificate ---- */

static enum gate_cert_error read_extensions(const struct gate_view *all, struct gate_cert *ret)
{
	static const uint8_t alt_name[] = {0x55, 0x1d, 0x11};
	struct gate_ber d = gate_ber_inside(all);
	struct gate_view list, one, oid, skip;
	if (!next_is(&d, TAG_SEQUENCE, &list)) {
		return GATE_CERT_BAD_EXTENSIONS;
	}
	d = gate_ber_inside(&list);
	while (d.at < d.size) {
		if (!next_is(&d, TAG_SEQUENCE, &one)) {
			return GATE_CERT_BAD_EXTENSIONS;
		}
		struct gate_ber e = gate_ber_inside(&one);
		struct gate_view value;
		if (!next_is(&e, TAG_OID, &oid)) {
			return GATE_CERT_BAD_EXTENSIONS;
		}
		(void)next_is(&e, TAG_BOOLEAN, &skip);
		if (!next_is(&e, TAG_OCTETS, &value)) {
			return GATE_CERT_BAD_EXTENSIONS;
		}
		struct gate_ber names = gate_ber_inside(&value);
		if (oid.size == sizeof(alt_name) && !memcmp(oid.data, alt_name, sizeof(alt_name)) &&
		    !next_is(&names, TAG_SEQUENCE, &ret->alt_names)) {
			return GATE_CERT_BAD_EXTENSIONS;
		}
	}
	return GATE_CERT_OK;
}

static enum gate_cert_error read_body(const struct gate_view *tbs, struct gate_cert *ret)
{
	struct gate_ber d = gate_ber_inside(tbs), dates;
	struct gate_view skip, validity;
	struct element e;
	if (d.at < d.size && d.data[0] == 0xa0 && !next(&d, &e)) {
		return GATE_CERT_BAD_VERSION;
	}
	if (!next_is(&d, TAG_INTEGER, &ret->serial)) {
		return GATE_CERT_BAD_SERIAL;
	}
	if (!next_is(&d, TAG_SEQUENCE, &skip)) {
		return GATE_CERT_BAD_ALGORITHM;
	}
	if (!next_is(&d, TAG_SEQUENCE, &ret->issuer)) {
		return GATE_CERT_BAD_NAME;
	}
	if (!next_is(&d, TAG_SEQUENCE, &validity)) {
		return GATE_CERT_BAD_DATE;
	}
	dates = gate_ber_inside(&validity);
	bool dated = read_date(&dates, &ret->not_before) && read_date(&dates, &ret->not_after);
	if (!next_is(&d, TAG_SEQUENCE, &ret->subject)) {
		return GATE_CERT_BAD_NAME;
	}
	if (!dated) {
		return GATE_CERT_BAD_DATE;
	}
	if (!next_is(&d, TAG_SEQUENCE, &skip)) {
		return GATE_CERT_BAD_ALGORITHM;
	}
	while (d.at < d.size) {
		if (!next(&d, &e)) {
			return GATE_CERT_BAD_DER;
		}
		if (e.tag == 0xa3) {
			return read_extensions(&e.value, ret);
		}
	}
	return GATE_CERT_OK;
}

enum gate_cert_error gate_cert_read(const uint8_t *der, uint32_t size, struct gate_cert *ret)
{
	struct gate_ber d = {.data = der, .size = size};
	struct gate_view cert, tbs;
	memset(ret, 0, sizeof(*ret));
	if (!next_is(&d, TAG_SEQUENCE, &cert)) {
		return no_sequence(&d);
	}
	d = gate_ber_inside(&cert);
	if (!next_is(&d, TAG_SEQUENCE, &tbs)) {
		return no_sequence(&d);
	}
	return read_body(&tbs, ret);
}

/* ---- text ---- */

struct text {
	uint8_t *data;
	uint32_t size;
};

static void put(struct text *t, const void *data, uint32_t size)
{
	uint32_t room = GATE_CERT_TEXT_MAX - t->size;
	size = size < room ? size : room;
	memcpy(t->data + t->size, data, size);
	t->size += size;
}

static void put_str(struct text *t, const char *s)
{
	put(t, s, (uint32_t)strlen(s));
}

static void put_utf8(struct text *t, uint32_t c)
{
	uint8_t out[4];
	uint32_t n = 1;
	if (c < 0x80) {
		out[0] = (uint8_t)c;
	} else if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		n = 2;
	} else if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		n = 3;
	} else if (c < 0x110000) {
		out[0] = (uint8_t)(0xf0 | c >> 18);
		n = 4;
	} else {
		out[0] = '?';
	}
	for (uint32_t i = 1; i < n; i++) {
		out[i] = (uint8_t)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
	}
	put(t, out, n);
}

static void put_wide(struct text *t, const struct gate_view *v, uint32_t width)
{
	for (uint32_t i = 0; i + width <= v->size; i += width) {
		uint32_t c = 0;
		for (uint32_t k = 0; k < width; k++) {
			c = c << 8 | v->data[i + k];
		}
		bool high = width == 2 && c >= 0xd800 && c < 0xdc00 && i + 4 <= v->size;
		if (high && v->data[i + 2] >> 2 == 0x37) {
			uint32_t low = (uint32_t)v->data[i + 2] << 8 | v->data[i + 3];
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			i += 2;
		}
		put_utf8(t, c);
	}
}

static void put_hex(struct text *t, const struct gate_view *v, const char *between)
{
	static const char digits[] = "0123456789ABCDEF";
	for (uint32_t i = 0; i < v->size && t->size < GATE_CERT_TEXT_MAX; i++) {
		char two[2] = {digits[v->data[i] >> 4], digits[v->data[i] & 15]};
		if (i) {
			put_str(t, between);
		}
		put(t, two, 2);
	}
}

static void put_oid(struct text *t, const struct gate_view *oid)
{
	char number[24];
	uint64_t value = 0;
	bool first = true;
	put_str(t, "OID(");
	for (uint32_t i = 0; i < oid->size && t->size < GATE_CERT_TEXT_MAX; i++) {
		value = value << 7 | (oid->data[i] & 0x7f);
		if (oid->data[i] & 0x80) {
			continue;
		}
		if (first) {
			unsigned int root = value < 80 ? (unsigned int)(value / 40) : 2;
			snprintf(number, sizeof(number), "%u.%lu", root,
				 (unsigned long)(value - root * 40ull));
		} else {
			snprintf(number, sizeof(number), ".%lu", (unsigned long)value);
		}
		put_str(t, number);
		first = false;
		value = 0;
	}
	put_str(t, ")");
}

static void put_type(struct text *t, const struct gate_view *oid)
{
	static const struct {
		const char *oid;
		uint8_t size;
		const char *name;
	} types[] = {
		{"\x55\x04\x03", 3, "CN"},
		{"\x55\x04\x04", 3, "surname"},
		{"\x55\x04\x05", 3, "serialNumber"},
		{"\x55\x04\x06", 3, "C"},
		{"\x55\x04\x07", 3, "L"},
		{"\x55\x04\x08", 3, "ST"},
		{"\x55\x04\x09", 3, "street"},
		{"\x55\x04\x0a", 3, "O"},
		{"\x55\x04\x0b", 3, "OU"},
		{"\x55\x04\x0c", 3, "title"},
		{"\x55\x04\x0d", 3, "description"},
		{"\x55\x04\x0f", 3, "businessCategory"},
		{"\x55\x04\x11", 3, "postalCode"},
		{"\x55\x04\x12", 3, "postOfficeBox"},
		{"\x55\x04\x14", 3, "telephoneNumber"},
		{"\x55\x04\x29", 3, "name"},
		{"\x55\x04\x2a", 3, "givenName"},
		{"\x55\x04\x2b", 3, "initials"},
		{"\x55\x04\x2c", 3, "generationQualifier"},
		{"\x55\x04\x2e", 3, "dnQualifier"},
		{"\x55\x04\x41", 3, "pseudonym"},
		{"\x55\x04\x61", 3, "organizationIdentifier"},
		{"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", 9, "Email"},
		{"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x02", 9, "unstructuredName"},
		{"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", 10, "DC"},
		{"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", 10, "uid"},
		{"\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x01", 11, "jurisdictionL"},
		{"\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x02", 11, "jurisdictionST"},
		{"\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x03", 11, "jurisdictionC"},
	};
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].size == oid->size && !memcmp(types[i].oid, oid->data, oid->size)) {
			put_str(t, types[i].name);
			return;
		}
	}
	put_oid(t, oid);
}

static void put_value(struct text *t, const struct element *e)
{
	switch (e->tag) {
	case TAG_BMP:
		put_wide(t, &e->value, 2);
		break;
	case TAG_UNIVERSAL:
		put_wide(t, &e->value, 4);
		break;
	case TAG_UTF8:
	case 0x12: /* NumericString */
	case 0x13: /* PrintableString */
	case 0x14: /* T61String */
	case 0x15: /* VideotexString */
	case 0x16: /* IA5String */
	case 0x19: /* GraphicString */
	case 0x1a: /* VisibleString */
	case 0x1b: /* GeneralString */
		put(t, e->value.data, e->value.size);
		break;
	default:
		put_hex(t, &e->value, "");
		break;
	}
}

static bool put_attribute(struct text *t, struct gate_ber *set, bool first)
{
	struct gate_view pair, oid;
	struct element value;
	if (!next_is(set, TAG_SEQUENCE, &pair)) {
		return false;
	}
	struct gate_ber d = gate_ber_inside(&pair);
	if (!next_is(&d, TAG_OID, &oid) || !next(&d, &value)) {
		return false;
	}
	if (!first) {
		put_str(t, " + ");
	}
	put_type(t, &oid);
	put_str(t, "=");
	put_value(t, &value);
	return true;
}

uint32_t gate_cert_name(const struct gate_view *name, uint8_t ret[GATE_CERT_TEXT_MAX])
{
	struct text t = {.data = ret};
	struct gate_ber d = gate_ber_inside(name);
	struct gate_view rdn;
	unsigned int count = 0;
	while (d.at < d.size && next_is(&d, TAG_SET, &rdn) && count < GATE_CERT_RDNS_MAX) {
		struct gate_ber set = gate_ber_inside(&rdn);
		if (t.size) {
			put_str(&t, ", ");
		}
		for (bool first = true; set.at < set.size && count < GATE_CERT_RDNS_MAX; count++) {
			if (!put_attribute(&t, &set, first)) {
				return t.size;
			}
			first = false;
		}
	}
	return t.size;
}

uint32_t gate_cert_serial(const struct gate_view *serial, uint8_t ret[GATE_CERT_TEXT_MAX])
{
	struct text t = {.data = ret};
	put_hex(&t, serial, ":");
	return t.size;
}

static bool put_address(struct text *t, const struct gate_view *v)
{
	char text[INET6_ADDRSTRLEN];
	if ((v->size != 4 && v->size != 16) ||
	    !inet_ntop(v->size == 4 ? AF_INET : AF_INET6, v->data, text, sizeof(text))) {
		return false;
	}
	put_str(t, text);
	return true;
}

bool gate_cert_alt_name(const struct gate_view *names, uint32_t *at,
			uint8_t ret[GATE_CERT_TEXT_MAX], uint32_t *ret_size)
{
	struct gate_ber d = {.data = names->data, .size = names->size, .at = *at};
	struct element e;
	while (d.at < d.size && next(&d, &e)) {
		struct text t = {.data = ret};
		bool shown = e.tag == 0x81 || e.tag == 0x82 || e.tag == 0x86;
		*at = d.at;
		if (shown) {
			put(&t, e.value.data, e.value.size);
		}
		if (shown || (e.tag == 0x87 && put_address(&t, &e.value))) {
			*ret_size = t.size;
			return true;
		}
	}
	return false;
}
