/* SPDX-License-Identifier: Apache-2.0 */
/* Transforms; see transform.h. Details are those of Suricata's user guide, "Transformations". */
#include "gate/detect/transform.h"

#include <ctype.h>
#include <errno.h>
#include <libpsl.h>
#include <openssl/evp.h>
#include <zlib.h>

#define INFLATE_MAX   (1u << 20)
#define NAME_MAX_SIZE 255 /* of a host (RFC 1035) */

static uint8_t *room(struct gate_xf_memory *memory, uint32_t size)
{
	uint8_t *at = memory->data + memory->used;

	if (size > memory->size - memory->used) {
		return NULL;
	}
	memory->used += size;
	return at;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static uint32_t strip_space(const struct gate_buffer_view *in, uint8_t *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < in->size; i++) {
		if (!is_space(in->data[i])) {
			out[n++] = in->data[i];
		}
	}
	return n;
}

static uint32_t compress_space(const struct gate_buffer_view *in, uint8_t *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < in->size; i++) {
		if (!is_space(in->data[i])) {
			out[n++] = in->data[i];
		} else if (!i || !is_space(in->data[i - 1])) {
			out[n++] = ' ';
		}
	}
	return n;
}

/* Lines that begin with a colon go (HTTP/2). */
static uint32_t strip_pseudo(const struct gate_buffer_view *in, uint8_t *out)
{
	uint32_t n = 0, line = 0;

	while (line < in->size) {
		const uint8_t *end = memchr(in->data + line, '\n', in->size - line);
		uint32_t next = end ? (uint32_t)(end - in->data) + 1 : in->size;

		if (in->data[line] != ':') {
			memcpy(out + n, in->data + line, next - line);
			n += next - line;
		}
		line = next;
	}
	return n;
}

static uint32_t header_lower(const struct gate_buffer_view *in, uint8_t *out)
{
	bool name = true;

	for (uint32_t i = 0; i < in->size; i++) {
		uint8_t c = in->data[i];

		out[i] = name ? (uint8_t)tolower(c) : c;
		/* A pseudo header begins with its colon. */
		if (c == ':' && i && in->data[i - 1] != '\n') {
			name = false;
		} else if (c == '\n') {
			name = true;
		}
	}
	return in->size;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint32_t url_decode(const struct gate_buffer_view *in, uint8_t *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < in->size; i++) {
		uint8_t c = in->data[i];

		if (c == '+') {
			c = ' ';
		} else if (c == '%' && i + 2 < in->size && hex(in->data[i + 1]) >= 0 &&
			   hex(in->data[i + 2]) >= 0) {
			c = (uint8_t)(hex(in->data[i + 1]) << 4 | hex(in->data[i + 2]));
			i += 2;
		}
		out[n++] = c;
	}
	return n;
}

static uint32_t xor_key(const struct gate_transform *t, const struct gate_buffer_view *in,
			uint8_t *out)
{
	const uint8_t *key = (const uint8_t *)t->text;
	uint32_t size = t->text_size, n = in->size,
		 from = t->args[0] > 0 ? (uint32_t)t->args[0] : 0;

	if (t->args[1] > 0) {
		/* The key stands in the buffer. */
		if (t->args[2] < 0 || (uint64_t)t->args[2] + (uint32_t)t->args[1] > in->size) {
			return UINT32_MAX;
		}
		key = in->data + t->args[2];
		size = (uint32_t)t->args[1];
	}
	if (!size) {
		return UINT32_MAX;
	}
	for (uint32_t i = 0; i < n; i++) {
		out[i] = i < from ? in->data[i] : in->data[i] ^ key[(i - from) % size];
	}
	return n;
}

static uint32_t digest(const EVP_MD *md, const struct gate_buffer_view *in, uint8_t *out)
{
	unsigned int size = 0;

	if (!EVP_Digest(in->data, in->size, out, &size, md, NULL)) {
		return UINT32_MAX;
	}
	return size;
}

static uint32_t inflate_bytes(const struct gate_buffer_view *in, uint8_t *out, uint32_t max,
			      bool gzip)
{
	z_stream z = {.next_in = (Bytef *)in->data,
		      .avail_in = in->size,
		      .next_out = out,
		      .avail_out = max};
	int r;

	if (inflateInit2(&z, gzip ? 15 + 16 : 15) != Z_OK) {
		return UINT32_MAX;
	}
	r = inflate(&z, Z_SYNC_FLUSH);
	inflateEnd(&z);
	return r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR ? (uint32_t)z.total_out
								  : UINT32_MAX;
}

static void subslice(const struct gate_transform *t, struct gate_buffer_view *view)
{
	int64_t size = view->size, from = t->args[0], to;

	from = from < 0 ? size + from : from;
	from = from < 0 && t->args[2] ? 0 : from;
	if (t->args[1] == GATE_SUBSLICE_ALL) {
		to = size;
	} else {
		to = t->args[1] < 0 ? size + t->args[1] : from + t->args[1];
	}
	to = to > size && t->args[2] ? size : to;
	if (from < 0 || from > size || to > size || to < from) {
		from = to = 0;
	}
	view->data += from;
	view->size = (uint32_t)(to - from);
}

/* The part of a name that somebody registered (google.co.uk of www.google.co.uk), or the public
 * suffix alone (co.uk); nothing of what is no name. */
static void registered(const struct gate_transform *t, struct gate_buffer_view *view)
{
	char name[NAME_MAX_SIZE + 1];
	const char *part = NULL;
	size_t size = view->size;

	if (size && view->size <= NAME_MAX_SIZE && !memchr(view->data, 0, size)) {
		for (size_t i = 0; i < size; i++) {
			name[i] = (char)tolower(view->data[i]);
		}
		name[size] = '\0';
		part = t->kind == GATE_XF_DOMAIN ? psl_registrable_domain(psl_builtin(), name)
						 : psl_unregistrable_domain(psl_builtin(), name);
	}
	size = part ? strlen(part) : 0;
	view->data += view->size - size;
	view->size = (uint32_t)size;
}

/* Bytes written, or UINT32_MAX: the value stays what it was. */
static uint32_t into(const struct gate_transform *t, const struct gate_buffer_view *in,
		     uint8_t *out, uint32_t max)
{
	uint64_t offset, bytes;

	switch (t->kind) {
	case GATE_XF_COMPRESS_WHITESPACE:
		return compress_space(in, out);
	case GATE_XF_STRIP_WHITESPACE:
		return strip_space(in, out);
	case GATE_XF_STRIP_PSEUDO_HEADERS:
		return strip_pseudo(in, out);
	case GATE_XF_HEADER_LOWERCASE:
		return header_lower(in, out);
	case GATE_XF_TO_LOWERCASE:
	case GATE_XF_TO_UPPERCASE:
		for (uint32_t i = 0; i < in->size; i++) {
			out[i] = (uint8_t)(t->kind == GATE_XF_TO_LOWERCASE ? tolower(in->data[i])
									   : toupper(in->data[i]));
		}
		return in->size;
	case GATE_XF_TO_MD5:
		return digest(EVP_md5(), in, out);
	case GATE_XF_TO_SHA1:
		return digest(EVP_sha1(), in, out);
	case GATE_XF_TO_SHA256:
		return digest(EVP_sha256(), in, out);
	case GATE_XF_DOTPREFIX:
		out[0] = '.';
		memcpy(out + 1, in->data, in->size);
		return in->size + 1;
	case GATE_XF_URL_DECODE:
		return url_decode(in, out);
	case GATE_XF_XOR:
		return xor_key(t, in, out);
	case GATE_XF_FROM_BASE64:
		offset = t->args[1] > 0 ? (uint32_t)t->args[1] : 0;
		bytes = offset < in->size ? in->size - offset : 0;
		bytes = t->args[0] > 0 && (uint32_t)t->args[0] < bytes ? (uint32_t)t->args[0]
								       : bytes;
		bytes = gate_base64_decode(in->data + (bytes ? offset : 0), (uint32_t)bytes, out,
					   max, t->args[2]);
		return bytes ? (uint32_t)bytes : UINT32_MAX;
	case GATE_XF_GUNZIP:
	case GATE_XF_ZLIB_DEFLATE:
		return inflate_bytes(in, out, max, t->kind == GATE_XF_GUNZIP);
	default:
		return UINT32_MAX;
	}
}

static uint32_t largest(const struct gate_transform *t, uint32_t size)
{
	if (t->kind == GATE_XF_GUNZIP || t->kind == GATE_XF_ZLIB_DEFLATE) {
		return t->args[0] > 0 && (uint32_t)t->args[0] < INFLATE_MAX ? (uint32_t)t->args[0]
									    : INFLATE_MAX;
	}
	return size < 32 ? 33 : size + 1;
}

bool gate_xf_apply(const struct gate_transform *t, void *compiled, struct gate_inspect *in,
		   struct gate_xf_memory *memory, struct gate_buffer_view *view)
{
	static const uint8_t nothing[1];
	uint32_t max, size, start, end;
	uint8_t *out;

	view->data = view->data ? view->data : nothing;
	if (t->kind == GATE_XF_SUBSLICE) {
		subslice(t, view);
		return true;
	}
	if (t->kind == GATE_XF_DOMAIN || t->kind == GATE_XF_TLD) {
		registered(t, view);
		return true;
	}
	if (t->kind == GATE_XF_PCREXFORM) {
		if (gate_regex_match(in, compiled, view->data, view->size, 0) &&
		    gate_regex_group(in, 1, &start, &end)) {
			view->data += start;
			view->size = end - start;
		}
		return true;
	}
	max = largest(t, view->size);
	out = room(memory, max);
	if (!out) {
		return false;
	}
	size = into(t, view, out, max);
	if (size == UINT32_MAX) {
		memory->used -= max;
		return true;
	}
	/* What a decompressed value does not need is there for the next. */
	memory->used -= max - size;
	view->data = out;
	view->size = size;
	return true;
}

int gate_xf_compile(const struct gate_transform *t, void **ret, struct bh_diag *diag)
{
	*ret = NULL;
	switch (t->kind) {
	case GATE_XF_PCREXFORM:
		*ret = gate_regex_new(t->text, 0, diag);
		return *ret ? 0 : -EINVAL;
	case GATE_XF_DOMAIN:
	case GATE_XF_TLD:
		return psl_builtin() ? 0
				     : bh_diag_set(diag, -ENOTSUP,
						   "libpsl has no list of public suffixes");
	default:
		return 0;
	}
}

void gate_xf_done(const struct gate_transform *t, void *compiled)
{
	if (t->kind == GATE_XF_PCREXFORM) {
		gate_regex_free(compiled);
	}
}
