/* SPDX-License-Identifier: Apache-2.0 */
/* First lines, numbers in headers, sizes of chunks. */
#include "gate/app/http1/http1.h"

#include <string.h>

static const struct {
	const char *name;
	enum http_method method;
} methods[] = {
	{"GET", HTTP_M_GET},
	{"POST", HTTP_M_POST},
	{"HEAD", HTTP_M_HEAD},
	{"PUT", HTTP_M_PUT},
	{"CONNECT", HTTP_M_CONNECT},
	{"DELETE", HTTP_M_OTHER},
	{"OPTIONS", HTTP_M_OTHER},
	{"TRACE", HTTP_M_OTHER},
	{"PATCH", HTTP_M_OTHER},
	{"PROPFIND", HTTP_M_OTHER},
	{"PROPPATCH", HTTP_M_OTHER},
	{"MKCOL", HTTP_M_OTHER},
	{"COPY", HTTP_M_OTHER},
	{"MOVE", HTTP_M_OTHER},
	{"LOCK", HTTP_M_OTHER},
	{"UNLOCK", HTTP_M_OTHER},
	{"CHECKOUT", HTTP_M_OTHER},
	{"UNCHECKOUT", HTTP_M_OTHER},
	{"CHECKIN", HTTP_M_OTHER},
	{"UPDATE", HTTP_M_OTHER},
	{"LABEL", HTTP_M_OTHER},
	{"REPORT", HTTP_M_OTHER},
	{"MERGE", HTTP_M_OTHER},
	{"MKWORKSPACE", HTTP_M_OTHER},
	{"INVALID", HTTP_M_OTHER},
	{"MKACTIVITY", HTTP_M_OTHER},
	{"VERSION-CONTROL", HTTP_M_OTHER},
	{"BASELINE-CONTROL", HTTP_M_OTHER},
};

enum http_method gate_http1_method(const uint8_t *name, uint32_t size)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (size && methods[i].name[0] == (char)name[0] &&
		    strlen(methods[i].name) == size && !memcmp(methods[i].name, name, size)) {
			return methods[i].method;
		}
	}
	return HTTP_M_UNKNOWN;
}

static const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
	while (p < end && http_is_space(*p)) {
		p++;
	}
	return p;
}

static enum http_version number_of(const uint8_t **p, const uint8_t *end)
{
	if (end - *p >= 2 && !memcmp(*p, ".9", 2)) {
		*p += 2;
		return HTTP_V_09;
	}
	if (end - *p >= 3 && !memcmp(*p, "1.", 2) && ((*p)[2] == '0' || (*p)[2] == '1')) {
		*p += 3;
		return (*p)[-1] == '0' ? HTTP_V_10 : HTTP_V_11;
	}
	return HTTP_V_INVALID;
}

/* "HTTP/1.1", with white space and zeros where people put them. */
static enum http_version version_of(struct http_tx *tx, struct gate_view v)
{
	const uint8_t *end = v.data + v.size, *p = skip_space(v.data, end);
	struct gate_view word = {.data = p, .size = end - p < 4 ? 0 : 4};
	if (!word.size || !gate_http1_equals(word, "http")) {
		return HTTP_V_INVALID;
	}
	p += 4;
	bool extra = p < end && http_is_space(*p);
	p = skip_space(p, end);
	if (p == end || *p++ != '/') {
		return HTTP_V_INVALID;
	}
	while (p < end && (http_is_space(*p) || *p == '0')) {
		/* of "0.9" the zero is part of the number */
		extra = extra || *p != '0' || end - p < 2 || p[1] != '.';
		p++;
	}
	enum http_version version = number_of(&p, end);
	if (skip_space(p, end) != end) {
		return HTTP_V_INVALID;
	}
	if (extra && version != HTTP_V_INVALID) {
		gate_http1_event(tx, HTTP_EV_PROTOCOL_EXTRA);
	}
	return version;
}

static struct http_span span_of(uint32_t at, const uint8_t *line, struct gate_view v)
{
	return (struct http_span){
		.at = at + (v.size ? (uint32_t)(v.data - line) : 0), .size = v.size, .is = true};
}

/* Splits at the last of the bytes that `only_space` tells. */
static void split_last(struct gate_view all, bool only_space, struct gate_view *a,
		       struct gate_view *b)
{
	uint32_t i = all.size;
	while (i && !(only_space ? all.data[i - 1] == ' ' : http_is_space(all.data[i - 1]))) {
		i--;
	}
	if (!i) {
		*a = all;
		*b = (struct gate_view){.data = all.data};
		return;
	}
	*a = gate_http1_trim((struct gate_view){.data = all.data, .size = i - 1});
	*b = gate_http1_trim((struct gate_view){.data = all.data + i, .size = all.size - i});
}

static bool has_odd_space(struct gate_view v)
{
	for (uint32_t i = 0; i < v.size; i++) {
		if (v.data[i] != ' ' && http_is_space(v.data[i])) {
			return true;
		}
	}
	return false;
}

static void read_target(struct http_tx *tx, uint32_t at, const uint8_t *line, struct gate_view rest)
{
	struct gate_view uri, protocol;
	rest = gate_http1_trim(rest);
	split_last(rest, true, &uri, &protocol);
	if (has_odd_space(uri)) {
		gate_http1_event(tx, HTTP_EV_URI_DELIM);
		if (uri.size == rest.size) {
			split_last(rest, false, &uri, &protocol);
		}
	}
	tx->uri = span_of(at, line, uri);
	if (!protocol.size) {
		tx->is_09 = true;
		tx->version = HTTP_V_09;
		return;
	}
	tx->protocol = span_of(at, line, protocol);
	tx->version = (uint8_t)version_of(tx, protocol);
}

/* The line is without its end. What is a request line is decided by the caller. */
void gate_http1_request_line(struct http_tx *tx, const uint8_t *line, uint32_t size)
{
	struct http_side *side = &tx->side[GATE_TO_SERVER];
	uint32_t at = side->raw.size;
	if (!gate_http1_add(tx, &side->raw, line, size)) {
		return;
	}
	side->line = (struct http_span){.at = at, .size = size, .is = true};
	side->headers_at = side->headers_end = side->raw.size;
	uint32_t i = 0;
	while (i < size && http_is_space(line[i])) {
		i++;
	}
	if (i) {
		gate_http1_event(tx, HTTP_EV_LINE_LEADING_SPACE);
	}
	struct gate_view method = {.data = line + i};
	while (i < size && !http_is_space(line[i])) {
		i++;
	}
	method.size = (uint32_t)(line + i - method.data);
	tx->method = span_of(at, line, method);
	tx->method_number = (uint8_t)gate_http1_method(method.data, method.size);
	bool odd = false;
	while (i < size && http_is_space(line[i])) {
		odd = odd || line[i] != ' ';
		i++;
	}
	if (odd) {
		gate_http1_event(tx, HTTP_EV_METHOD_DELIM);
	}
	if (i == size) {
		tx->is_09 = true;
		tx->version = HTTP_V_09;
	} else {
		read_target(tx, at, line, (struct gate_view){.data = line + i, .size = size - i});
	}
	if (tx->method_number == HTTP_M_UNKNOWN &&
	    (!tx->protocol.is || tx->version == HTTP_V_INVALID)) {
		gate_http1_event(tx, HTTP_EV_LINE_INVALID);
	}
}

static uint16_t status_of(struct gate_view v)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < v.size; i++) {
		if (v.data[i] < '0' || v.data[i] > '9' || n > 999) {
			return 0;
		}
		n = n * 10 + (v.data[i] - '0');
	}
	return n >= 100 && n <= 999 ? (uint16_t)n : 0;
}

void gate_http1_response_line(struct http_tx *tx, const uint8_t *line, uint32_t size)
{
	struct http_side *side = &tx->side[GATE_TO_CLIENT];
	/* After 100 Continue there is one from before: the last counts. */
	side->raw.size = 0;
	tx->response_protocol = tx->status = tx->message = (struct http_span){};
	tx->status_number = 0;
	tx->response_version = HTTP_V_INVALID;
	if (!gate_http1_add(tx, &side->raw, line, size)) {
		return;
	}
	side->line = (struct http_span){.size = size, .is = true};
	side->headers_at = side->headers_end = side->raw.size;
	uint32_t i = 0;
	while (i < size && (http_is_space(line[i]) || !line[i])) {
		i++;
	}
	uint32_t from = i;
	while (i < size && !http_is_space(line[i])) {
		i++;
	}
	struct gate_view protocol = {.data = line + from, .size = i - from};
	if (protocol.size) {
		tx->response_protocol = span_of(0, line, protocol);
		tx->response_version = (uint8_t)version_of(tx, protocol);
	}
	while (i < size && http_is_space(line[i])) {
		i++;
	}
	from = i;
	while (i < size && !http_is_space(line[i])) {
		i++;
	}
	struct gate_view status = {.data = line + from, .size = i - from};
	if (protocol.size && status.size) {
		tx->status = span_of(0, line, status);
		tx->status_number = status_of(status);
	}
	from = i;
	while (i < size && http_is_space(line[i])) {
		i++;
	}
	if (i > from && tx->status.is) {
		tx->message = span_of(0, line, (struct gate_view){line + i, size - i});
	}
	if (tx->response_version == HTTP_V_INVALID) {
		gate_http1_event(tx, HTTP_EV_RESPONSE_PROTOCOL);
	}
	if (!tx->status_number) {
		gate_http1_event(tx, HTTP_EV_RESPONSE_STATUS);
	}
}

bool gate_http1_looks_like_body(const uint8_t *line, uint32_t size)
{
	uint32_t i = 0;
	while (i < size && (http_is_space(line[i]) || !line[i])) {
		i++;
	}
	struct gate_view word = {.data = line + i, .size = size - i < 4 ? size - i : 4};
	return !gate_http1_equals(word, "http");
}

bool gate_http1_ignorable(const uint8_t *line, uint32_t size)
{
	return (size == 1 && (line[0] == '\r' || line[0] == '\n')) ||
	       (size == 2 && line[0] == '\r' && line[1] == '\n');
}

bool gate_http1_length(struct http_tx *tx, struct gate_view v, uint64_t *ret)
{
	uint32_t i = 0, lead = 0;
	while (i < v.size && (v.data[i] == ' ' || v.data[i] == '\t')) {
		i++;
	}
	lead = i;
	while (i < v.size && (v.data[i] < '0' || v.data[i] > '9')) {
		i++;
	}
	if (i == v.size) {
		return false;
	}
	lead = i - lead;
	uint64_t n = 0;
	for (; i < v.size && v.data[i] >= '0' && v.data[i] <= '9'; i++) {
		if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(v.data[i] - '0'), &n)) {
			return false;
		}
	}
	while (i < v.size && (v.data[i] == ' ' || v.data[i] == '\t')) {
		i++;
	}
	if (tx && lead) {
		gate_http1_event(tx, HTTP_EV_CL_EXTRA_START);
	}
	if (tx && i < v.size) {
		gate_http1_event(tx, HTTP_EV_CL_EXTRA_END);
	}
	*ret = n;
	return true;
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int gate_http1_chunk_size(const uint8_t *line, uint32_t size, uint64_t *ret, bool *ret_ext)
{
	uint32_t i = 0;
	while (i < size && http_is_space(line[i])) {
		i++;
	}
	uint32_t from = i;
	uint64_t n = 0;
	for (; i < size && hex_value(line[i]) >= 0; i++) {
		if (n >> 60) {
			return -1;
		}
		n = n << 4 | (uint64_t)hex_value(line[i]);
	}
	if (i == from) {
		return i == size ? 0 : -1;
	}
	/* As libhtp: what is beyond a signed 32 bit number is none. */
	if (n > INT32_MAX) {
		return 2;
	}
	*ret_ext = memchr(line + i, ';', size - i) != NULL;
	*ret = n;
	return 1;
}
