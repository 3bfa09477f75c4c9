/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs: their parts, and the normalised form that rules see as http.uri: path and query decoded
 * once (%XX, %uXXXX with the nearest byte), in the path backslashes made slashes, runs of slashes
 * made one, UTF-8 made bytes, dot segments removed (RFC 3986 5.2.4). What is not valid stays.
 */
#include "gate/app/http1/http1.h"
#include "gate/config.h"

#include <string.h>

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a character above 255 looks like; fullwidth forms are what evaders use. */
static uint8_t nearest_byte(uint32_t c)
{
	if (c < 0x100) {
		return (uint8_t)c;
	}
	if (c >= 0xff01 && c <= 0xff5e) {
		return (uint8_t)(c - 0xff01 + 0x21);
	}
	static const struct {
		uint16_t from;
		char byte;
	} others[] = {
		{0x2010, '-'},	{0x2011, '-'}, {0x2013, '-'},  {0x2014, '-'}, {0x2018, '\''},
		{0x2019, '\''}, {0x201c, '"'}, {0x201d, '"'},  {0x2024, '.'}, {0x2032, '\''},
		{0x2044, '/'},	{0x2215, '/'}, {0x2216, '\\'}, {0x2236, ':'}, {0x2329, '<'},
		{0x232a, '>'},	{0x3000, ' '}, {0x2000, ' '},  {0x2001, ' '}, {0x2002, ' '},
		{0x2003, ' '},	{0x0131, 'i'}, {0x0130, 'I'},  {0x017f, 's'}, {0x212a, 'K'},
	};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (others[i].from == c) {
			return (uint8_t)others[i].byte;
		}
	}
	return '?';
}

/* An encoded byte at p, which is a '%': its size with the '%', 0 when it is none. */
static uint32_t decode_one(const uint8_t *p, uint32_t size, uint8_t *ret)
{
	if (size >= 6 && (p[1] | 0x20) == 'u') {
		uint32_t c = 0;
		for (unsigned int i = 2; i < 6; i++) {
			int v = hex_value(p[i]);
			if (v < 0) {
				return 0;
			}
			c = c << 4 | (uint32_t)v;
		}
		*ret = nearest_byte(c);
		return 6;
	}
	if (size < 3 || hex_value(p[1]) < 0 || hex_value(p[2]) < 0) {
		return 0;
	}
	*ret = (uint8_t)(hex_value(p[1]) << 4 | hex_value(p[2]));
	return 3;
}

/* Decodes in place; returns the new size. */
static uint32_t decode(uint8_t *p, uint32_t size, bool path)
{
	uint32_t w = 0;
	for (uint32_t i = 0; i < size;) {
		uint8_t c = p[i];
		uint32_t n = c == '%' ? decode_one(p + i, size - i, &c) : 0;
		i += n ? n : 1;
		if (path && c == '\\') {
			c = '/';
		}
		if (path && c == '/' && w && p[w - 1] == '/') {
			continue;
		}
		p[w++] = c;
	}
	return w;
}

/* Size of a sound UTF-8 sequence at p, 0: none. */
static uint32_t utf8_at(const uint8_t *p, uint32_t size, uint32_t *ret)
{
	uint32_t n = p[0] >= 0xf0 && p[0] < 0xf5   ? 4
		     : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
		     : p[0] >= 0xc0 && p[0] < 0xe0 ? 2
						   : 0;
	if (!n || n > size) {
		return 0;
	}
	uint32_t c = p[0] & (0x7fu >> n);
	for (uint32_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 0;
		}
		c = c << 6 | (p[i] & 0x3f);
	}
	*ret = c;
	return n;
}

static uint32_t utf8_to_bytes(uint8_t *p, uint32_t size)
{
	uint32_t w = 0;
	for (uint32_t i = 0; i < size;) {
		uint32_t c = 0, n = p[i] >= 0x80 ? utf8_at(p + i, size - i, &c) : 0;
		if (n) {
			p[w++] = nearest_byte(c);
			i += n;
		} else {
			p[w++] = p[i++];
		}
	}
	return w;
}

/* The last segment with the slash before it goes. */
static uint32_t up(const uint8_t *p, uint32_t w)
{
	while (w && p[w - 1] != '/') {
		w--;
	}
	return w ? w - 1 : 0;
}

static uint32_t remove_dots(uint8_t *p, uint32_t size)
{
	uint32_t w = 0, i = 0;
	/* "./" and "../" before anything else */
	for (;;) {
		if (size - i >= 2 && p[i] == '.' && p[i + 1] == '/') {
			i += 2;
		} else if (size - i >= 3 && !memcmp(p + i, "../", 3)) {
			i += 3;
		} else {
			break;
		}
	}
	if (size - i <= 2 && size > i && !memcmp(p + i, "..", size - i)) {
		return 0;
	}
	while (i < size) {
		bool slash = p[i] == '/';
		if (slash && size - i >= 2 && p[i + 1] == '.' &&
		    (size - i == 2 || p[i + 2] == '/')) {
			i += 2;
			if (i == size) {
				p[w++] = '/';
			}
		} else if (slash && size - i >= 3 && p[i + 1] == '.' && p[i + 2] == '.' &&
			   (size - i == 3 || p[i + 3] == '/')) {
			i += 3;
			w = up(p, w);
			if (i == size) {
				p[w++] = '/';
			}
		} else {
			p[w++] = p[i++];
		}
	}
	return w;
}

/* ---- parts ---- */

static uint32_t until(struct gate_view v, uint32_t from, const char *stops)
{
	while (from < v.size && (!v.data[from] || !strchr(stops, v.data[from]))) {
		from++;
	}
	return from;
}

static struct http_span part(const struct http_tx *tx, uint32_t from, uint32_t to)
{
	return (struct http_span){.at = tx->uri.at + from, .size = to - from, .is = true};
}

/* scheme://user:password@host:port, when it begins so: where the path begins. */
static uint32_t split_authority(struct http_tx *tx, struct gate_view v)
{
	if (!v.size || v.data[0] == '/') {
		return 0;
	}
	uint32_t at = until(v, 0, ":");
	if (at == v.size) {
		return 0;
	}
	at++;
	bool authority = v.size - at >= 2 && v.data[at] == '/' && v.data[at + 1] == '/';
	if (authority && (v.size - at == 2 || v.data[at + 2] != '/')) {
		const uint8_t *sign = memchr(v.data + at, '@', v.size - at);
		at += 2;
		if (sign) {
			at = (uint32_t)(sign - v.data) + 1;
		}
	} else if (authority || (at < v.size && v.data[at] == '/')) {
		return at;
	}
	while (at < v.size && v.data[at] == ' ') {
		at++;
	}
	uint32_t host = at;
	at = at < v.size && v.data[at] == '[' ? until(v, at, "/?#]") : until(v, at, "/?#:");
	at += at < v.size && v.data[at] == ']';
	if (at == host) {
		return at;
	}
	uint32_t host_end = at;
	while (host_end > host && v.data[host_end - 1] == ' ') {
		host_end--;
	}
	tx->parts.host = part(tx, host, host_end);
	if (at < v.size && v.data[at] == ':') {
		uint32_t port = at + 1;
		at = until(v, port, "/?#");
		while (port < at && v.data[port] == ' ') {
			port++;
		}
		tx->parts.port = part(tx, port, at);
	}
	return at;
}

void gate_http1_split_uri(struct http_tx *tx)
{
	struct gate_view v = gate_http1_view(&tx->side[GATE_TO_SERVER], &tx->uri);
	if (tx->method_number == HTTP_M_CONNECT) {
		struct gate_view host, port = {};
		bool valid = false;
		if (!gate_http1_host_port(v, &host, &port, &valid)) {
			return;
		}
		uint32_t at = (uint32_t)(host.data - v.data);
		tx->parts.host = part(tx, at, at + host.size);
		if (port.size) {
			at = (uint32_t)(port.data - v.data);
			tx->parts.port = part(tx, at, at + port.size);
			valid = valid && gate_http1_port(port) >= 0;
		}
		if (!valid) {
			gate_http1_event(tx, HTTP_EV_URI_HOST);
		}
		return;
	}
	uint32_t at = split_authority(tx, v);
	uint32_t end = until(v, at, "?#");
	if (end > at) {
		tx->parts.path = part(tx, at, end);
	}
	if (end < v.size && v.data[end] == '?') {
		at = end + 1;
		end = until(v, at, "#");
		tx->parts.query = part(tx, at, end);
	}
	if (end < v.size && v.data[end] == '#') {
		tx->parts.fragment = part(tx, end + 1, v.size);
	}
}

/* What was decoded stands at `at`: once more. */
static void decode_again(struct http_tx *tx, uint32_t at)
{
	uint32_t size = tx->normal.size - at;
	uint32_t again = size ? decode(tx->normal.data + at, size, false) : 0;
	if (again < size) {
		gate_http1_event(tx, HTTP_EV_DOUBLE_ENCODED);
	}
	tx->normal.size = at + again;
}

static bool add_decoded(struct http_tx *tx, const struct http_span *span)
{
	struct gate_view v = gate_http1_view(&tx->side[GATE_TO_SERVER], span);
	uint32_t at = tx->normal.size;
	if (!gate_http1_add(tx, &tx->normal, v.data, v.size)) {
		return false;
	}
	tx->normal.size = at + (v.size ? decode(tx->normal.data + at, v.size, false) : 0);
	return true;
}

static bool add_query(struct http_tx *tx)
{
	const struct gate_config *config = tx->conn->config;
	uint32_t at = tx->normal.size + 1;
	struct gate_view raw = gate_http1_view(&tx->side[GATE_TO_SERVER], &tx->parts.query);
	if (!gate_http1_add(tx, &tx->normal, "?", 1) ||
	    !gate_http1_add(tx, &tx->normal, raw.data, raw.size)) {
		return false;
	}
	for (uint32_t i = at; config->http_plus_is_space && i < tx->normal.size; i++) {
		tx->normal.data[i] = tx->normal.data[i] == '+' ? ' ' : tx->normal.data[i];
	}
	tx->normal.size = at + (raw.size ? decode(tx->normal.data + at, raw.size, false) : 0);
	if (config->http_double_decode_query) {
		decode_again(tx, at);
	}
	return true;
}

/* Scheme and host as they stand before the path, in lower case. */
static bool add_authority(struct http_tx *tx)
{
	uint32_t end = tx->parts.path.is    ? tx->parts.path.at
		       : tx->parts.query.is ? tx->parts.query.at - 1
					    : tx->uri.at + tx->uri.size;
	struct http_span span = {.at = tx->uri.at, .size = end - tx->uri.at, .is = true};
	struct gate_view v = gate_http1_view(&tx->side[GATE_TO_SERVER], &span);
	if (!tx->parts.host.is || !gate_http1_add(tx, &tx->normal, v.data, v.size)) {
		return !tx->parts.host.is;
	}
	for (uint32_t i = 0; i < v.size; i++) {
		uint8_t c = tx->normal.data[i];
		tx->normal.data[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
	}
	return true;
}

void gate_http1_normalise(struct http_tx *tx)
{
	const struct gate_config *config = tx->conn->config;
	struct gate_view path = gate_http1_view(&tx->side[GATE_TO_SERVER], &tx->parts.path);
	if (tx->normalised) {
		return;
	}
	tx->normalised = true;
	if (config->http_uri_whole && !add_authority(tx)) {
		return;
	}
	uint32_t at = tx->path_at = tx->normal.size;
	if (!gate_http1_add(tx, &tx->normal, path.data, path.size)) {
		return;
	}
	if (path.size) {
		uint8_t *p = tx->normal.data + at;
		uint32_t size = decode(p, path.size, true);
		size = utf8_to_bytes(p, size);
		tx->normal.size = at + remove_dots(p, size);
		if (config->http_double_decode_path) {
			decode_again(tx, at);
		}
		tx->path_size = tx->normal.size - at;
	}
	if (tx->parts.query.is && !add_query(tx)) {
		return;
	}
	if (tx->parts.fragment.is && gate_http1_add(tx, &tx->normal, "#", 1)) {
		(void)add_decoded(tx, &tx->parts.fragment);
	}
}

/* ---- hosts ---- */

int32_t gate_http1_port(struct gate_view v)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < v.size; i++) {
		if (v.data[i] < '0' || v.data[i] > '9' || n > 65535) {
			return -1;
		}
		n = n * 10 + (v.data[i] - '0');
	}
	return n && n <= 65535 ? (int32_t)n : -1;
}

static bool valid_ipv6(struct gate_view v)
{
	unsigned int colons = 0;
	for (uint32_t i = 0; i < v.size; i++) {
		colons += v.data[i] == ':';
		if (v.data[i] != ':' && v.data[i] != '.' && hex_value(v.data[i]) < 0) {
			return false;
		}
	}
	return colons >= 2 && colons <= 7;
}

/* libhtp asks whether the byte as Latin-1 is a letter or a number. */
static bool is_letter(uint8_t c)
{
	if (c < 0x80) {
		return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
	}
	return c >= 0xc0 ? c != 0xd7 && c != 0xf7
			 : c && strchr("\xaa\xb2\xb3\xb5\xb9\xba\xbc\xbd\xbe", c);
}

bool gate_http1_valid_host(struct gate_view host)
{
	if (!host.size || host.size > 255) {
		return false;
	}
	if (host.data[0] == '[' && host.data[host.size - 1] == ']') {
		return valid_ipv6((struct gate_view){host.data + 1, host.size - 2});
	}
	uint32_t label = 0;
	for (uint32_t i = 0; i < host.size; i++) {
		uint8_t c = host.data[i];
		if (c == '.') {
			if (!label) {
				return false;
			}
			label = 0;
			continue;
		}
		if ((!is_letter(c) && !(c >= '0' && c <= '9') && c != '_' && c != '-') ||
		    ++label > 63) {
			return false;
		}
	}
	return true;
}

bool gate_http1_host_port(struct gate_view v, struct gate_view *ret_host,
			  struct gate_view *ret_port, bool *ret_valid)
{
	uint32_t at = 0;
	if (v.size >= 2 && v.data[0] == '/' && v.data[1] == '/') {
		at = 2;
	}
	if (at < v.size && v.data[at] == '/') {
		return false;
	}
	while (at < v.size && v.data[at] == ' ') {
		at++;
	}
	uint32_t host = at;
	at = at < v.size && v.data[at] == '[' ? until(v, at, "/?#]") : until(v, at, "/?#:");
	at += at < v.size && v.data[at] == ']';
	if (at == host) {
		return false;
	}
	uint32_t end = at;
	while (end > host && v.data[end - 1] == ' ') {
		end--;
	}
	*ret_host = (struct gate_view){v.data + host, end - host};
	*ret_port = (struct gate_view){};
	*ret_valid = gate_http1_valid_host(*ret_host);
	if (at + 1 < v.size && v.data[at] == ':') {
		uint32_t port = at + 1, port_end = until(v, port, "/?#");
		while (port < port_end && v.data[port] == ' ') {
			port++;
		}
		while (port_end > port && v.data[port_end - 1] == ' ') {
			port_end--;
		}
		*ret_port = (struct gate_view){v.data + port, port_end - port};
		*ret_valid = *ret_valid && gate_http1_port(*ret_port) >= 0;
	} else if (at < v.size) {
		*ret_valid = false;
	}
	return true;
}
