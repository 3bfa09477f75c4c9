/* SPDX-License-Identifier: Apache-2.0 */
/* See jw.h. Numbers and escapes are made by hand: this runs for every record of every worker. */
#include "gate/output/jw.h"

#include "base/util.h"

#include <math.h>

#define JW_DEPTH_MAX 32
#define JW_FIRST     4096

static bool grow(struct gate_jw *jw, size_t need)
{
	size_t capacity = jw->capacity ? jw->capacity : JW_FIRST;

	if (!jw->ok || need > GATE_JW_SIZE_MAX - jw->size) {
		jw->ok = false;
		return false;
	}
	while (capacity - jw->size < need) {
		capacity *= 2;
	}
	jw->data = bh_realloc_array(jw->data, capacity, 1);
	jw->capacity = capacity;
	return true;
}

static inline bool room(struct gate_jw *jw, size_t need)
{
	return (jw->ok && need <= jw->capacity - jw->size) || grow(jw, need);
}

static inline void put(struct gate_jw *jw, const void *data, size_t size)
{
	if (size && room(jw, size)) {
		memcpy(jw->data + jw->size, data, size);
		jw->size += size;
	}
}

static void put_char(struct gate_jw *jw, char c)
{
	put(jw, &c, 1);
}

void gate_jw_init(struct gate_jw *jw)
{
	memset(jw, 0, sizeof(*jw));
	jw->ok = true;
}

void gate_jw_done(struct gate_jw *jw)
{
	free(jw->data);
	memset(jw, 0, sizeof(*jw));
}

void gate_jw_reset(struct gate_jw *jw)
{
	jw->size = 0;
	jw->ok = true;
	jw->comma = false;
	jw->depth = 0;
	jw->arrays = 0;
}

/* Length of the sound UTF-8 sequence at data (RFC 3629), 0 when there is none. */
static size_t utf8_length(const uint8_t *data, size_t size)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = data[0] < 0x80	  ? 1
			: data[0] >= 0xf8 ? 0
			: data[0] >= 0xf0 ? 4
			: data[0] >= 0xe0 ? 3
			: data[0] >= 0xc0 ? 2
					  : 0;
	uint32_t code;

	if (length < 2 || length > size) {
		return length == 1;
	}
	code = data[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((data[i] & 0xc0) != 0x80) {
			return 0;
		}
		code = code << 6 | (data[i] & 0x3f);
	}
	return code >= least[length] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)
		       ? length
		       : 0;
}

static bool is_utf8(const uint8_t *data, size_t size)
{
	for (size_t i = 0, length; i < size; i += length) {
		length = utf8_length(data + i, size - i);
		if (!length) {
			return false;
		}
	}
	return true;
}

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
}

#define EACH_BYTE(c) (0x0101010101010101ull * (c))

/* Eight bytes: 0 when all of them are printable ASCII but quotes and backslashes. What is counted
 * over from one byte to the next comes from a byte that is none. */
static inline uint64_t not_plain(uint64_t eight)
{
	uint64_t low = eight - EACH_BYTE(0x20), del = eight + EACH_BYTE(1);
	uint64_t quote = (eight ^ EACH_BYTE('"')) - EACH_BYTE(1);
	uint64_t slash = (eight ^ EACH_BYTE('\\')) - EACH_BYTE(1);

	return (eight | low | del | quote | slash) & EACH_BYTE(0x80);
}

/* The last bytes, fewer than eight: true when all are plain. `whole` is the size of all of it. */
static inline bool copy_end(char *to, const uint8_t *data, size_t size, size_t whole)
{
	uint64_t eight;
	uint32_t low, high;

	if (whole >= sizeof(eight)) { /* those before them once more */
		memcpy(&eight, data + size - sizeof(eight), sizeof(eight));
		memcpy(to + size - sizeof(eight), &eight, sizeof(eight));
		return !not_plain(eight);
	}
	if (size >= sizeof(low)) {
		memcpy(&low, data, sizeof(low));
		memcpy(&high, data + size - sizeof(high), sizeof(high));
		memcpy(to, &low, sizeof(low));
		memcpy(to + size - sizeof(high), &high, sizeof(high));
		return !not_plain((uint64_t)high << 32 | low);
	}
	return !size;
}

/* Most values are plain: copies bytes as long as they are, returns how many. */
static inline size_t copy_plain(char *to, const void *from, size_t size)
{
	const uint8_t *data = from;
	size_t i = 0;

	for (uint64_t eight; i + sizeof(eight) <= size; i += sizeof(eight)) {
		memcpy(&eight, data + i, sizeof(eight));
		if (not_plain(eight)) {
			break;
		}
		memcpy(to + i, &eight, sizeof(eight));
	}
	if (size - i < sizeof(uint64_t) && copy_end(to + i, data + i, size - i, size)) {
		return size;
	}
	while (i < size && data[i] < 0x80 && is_plain(data[i])) {
		to[i] = (char)data[i];
		i++;
	}
	return i;
}

static size_t escape(uint8_t c, char ret[8])
{
	static const char shorts[] = "\bb\tt\nn\ff\rr\"\"\\\\";

	for (size_t i = 0; shorts[i]; i += 2) {
		if (c == (uint8_t)shorts[i]) {
			ret[0] = '\\';
			ret[1] = shorts[i + 1];
			return 2;
		}
	}
	memcpy(ret, c < 0x80 ? "\\u00" : "\\\\x", 4);
	bh_hex_format(&c, 1, ret + (c < 0x80 ? 4 : 3));
	return c < 0x80 ? 6 : 5;
}

/* Bytes that are not UTF-8 as a whole: each that is no ASCII becomes \xNN, as Suricata does it.
 * `from` bytes of it stand there already. */
static void put_rest(struct gate_jw *jw, const uint8_t *data, size_t size, size_t from)
{
	bool utf8 = is_utf8(data, size);
	char text[8];

	for (size_t i = from; i < size; i++) {
		if (is_plain(data[i]) && (data[i] < 0x80 || utf8)) {
			continue;
		}
		put(jw, data + from, i - from);
		put(jw, text, escape(data[i], text));
		from = i + 1;
	}
	put(jw, data + from, size - from);
	put_char(jw, '"');
}

static void put_escaped(struct gate_jw *jw, const uint8_t *data, size_t size)
{
	size_t plain;
	char *at;

	if (size > GATE_JW_SIZE_MAX || !room(jw, size + 2)) {
		jw->ok = false;
		return;
	}
	at = jw->data + jw->size;
	*at++ = '"';
	plain = copy_plain(at, data, size);
	at[plain] = '"';
	jw->size += plain + 1;
	if (plain == size) {
		jw->size++;
	} else {
		put_rest(jw, data, size, plain);
	}
}

static void begin(struct gate_jw *jw, const char *key)
{
	bool named = key && !(jw->arrays >> (jw->depth & 31) & 1);
	size_t size = named ? strlen(key) : 0;
	char *at;

	if (!room(jw, size + 4)) {
		return;
	}
	at = jw->data + jw->size;
	*at = ',';
	at += jw->comma;
	jw->comma = true;
	if (named) {
		*at = '"';
		if (copy_plain(at + 1, key, size) < size) {
			jw->size = (size_t)(at - jw->data);
			put_escaped(jw, (const uint8_t *)key, size);
			put_char(jw, ':');
			return;
		}
		at += size + 1;
		*at++ = '"';
		*at++ = ':';
	}
	jw->size = (size_t)(at - jw->data);
}

static void open_level(struct gate_jw *jw, const char *key, bool array)
{
	begin(jw, key);
	if (jw->depth + 1 >= JW_DEPTH_MAX) {
		jw->ok = false;
		return;
	}
	put_char(jw, array ? '[' : '{');
	jw->depth++;
	jw->arrays = (jw->arrays & ~(1u << jw->depth)) | (uint32_t)array << jw->depth;
	jw->comma = false;
}

void gate_jw_object(struct gate_jw *jw, const char *key)
{
	open_level(jw, key, false);
}

void gate_jw_array(struct gate_jw *jw, const char *key)
{
	open_level(jw, key, true);
}

void gate_jw_end(struct gate_jw *jw)
{
	if (!jw->ok || !jw->depth) {
		jw->ok = false;
		return;
	}
	put_char(jw, jw->arrays >> jw->depth & 1 ? ']' : '}');
	jw->depth--;
	jw->comma = true;
}

void gate_jw_bytes(struct gate_jw *jw, const char *key, const void *data, size_t size)
{
	begin(jw, key);
	put_escaped(jw, data, size);
}

void gate_jw_text(struct gate_jw *jw, const char *key, const char *value)
{
	gate_jw_bytes(jw, key, value, strlen(value));
}

void gate_jw_hex(struct gate_jw *jw, const char *key, const void *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = data;

	begin(jw, key);
	if (size > GATE_JW_SIZE_MAX || !room(jw, 2 * size + 2)) {
		jw->ok = false;
		return;
	}
	jw->data[jw->size++] = '"';
	for (size_t i = 0; i < size; i++) {
		jw->data[jw->size++] = digits[bytes[i] >> 4];
		jw->data[jw->size++] = digits[bytes[i] & 15];
	}
	jw->data[jw->size++] = '"';
}

void gate_jw_base64(struct gate_jw *jw, const char *key, const void *data, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *in = data;

	begin(jw, key);
	if (size > GATE_JW_SIZE_MAX || !room(jw, (size + 2) / 3 * 4 + 2)) {
		jw->ok = false;
		return;
	}
	jw->data[jw->size++] = '"';
	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t three = (uint32_t)in[i] << 16 | (left > 1 ? in[i + 1] << 8 : 0) |
				 (left > 2 ? in[i + 2] : 0);

		jw->data[jw->size++] = digits[three >> 18];
		jw->data[jw->size++] = digits[three >> 12 & 63];
		jw->data[jw->size++] = left > 1 ? digits[three >> 6 & 63] : '=';
		jw->data[jw->size++] = left > 2 ? digits[three & 63] : '=';
	}
	jw->data[jw->size++] = '"';
}

void gate_jw_uint(struct gate_jw *jw, const char *key, uint64_t value)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	char text[24];
	size_t at = sizeof(text);

	begin(jw, key);
	while (value >= 10) {
		at -= 2;
		memcpy(text + at, pairs + value % 100 * 2, 2);
		value /= 100;
	}
	if (value || at == sizeof(text)) {
		text[--at] = (char)('0' + value);
	}
	put(jw, text + at, sizeof(text) - at);
}

void gate_jw_int(struct gate_jw *jw, const char *key, int64_t value)
{
	if (value >= 0) {
		gate_jw_uint(jw, key, (uint64_t)value);
		return;
	}
	begin(jw, key);
	put_char(jw, '-');
	jw->comma = false;
	gate_jw_uint(jw, NULL, 0 - (uint64_t)value);
}

void gate_jw_real(struct gate_jw *jw, const char *key, double value)
{
	char text[32];

	begin(jw, key);
	if (isfinite(value)) {
		put(jw, text, (size_t)snprintf(text, sizeof(text), "%.9g", value));
	} else {
		put(jw, "null", 4);
	}
}

void gate_jw_bool(struct gate_jw *jw, const char *key, bool value)
{
	begin(jw, key);
	put(jw, value ? "true" : "false", value ? 4 : 5);
}

void gate_jw_raw(struct gate_jw *jw, const char *key, const char *json, size_t size)
{
	begin(jw, key);
	put(jw, json, size);
}
