/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies: decoded, kept as a file (its window is the buffer that rules look at), parts of
 * multipart/form-data as files of their own. Past the limit of its side a body is no longer
 * kept nor
 * decoded, and its file ends as truncated, unless files are stored.
 */
#include "gate/app/http1/http1.h"
#include "gate/config.h"

#include <string.h>

#define FILE_NAME_MAX 4096

static uint64_t limit_of(const struct http_tx *tx, enum gate_dir dir)
{
	const struct gate_config *config = tx->conn->config;
	return dir == GATE_TO_SERVER ? config->http_request_body_limit
				     : config->http_response_body_limit;
}

/* ---- content codings ---- */

/* NONE also for LZMA, which is not unpacked (Suricata's lzma-enabled no). */
static bool whole_value(struct gate_view ce, uint8_t *ret)
{
	static const struct {
		const char *name;
		enum http_coding_kind kind;
	} names[] = {
		{"gzip", HTTP_CODING_GZIP},	  {"x-gzip", HTTP_CODING_GZIP},
		{"deflate", HTTP_CODING_DEFLATE}, {"x-deflate", HTTP_CODING_DEFLATE},
		{"br", HTTP_CODING_BROTLI},	  {"lzma", HTTP_CODING_NONE},
		{"inflate", HTTP_CODING_NONE},	  {"none", HTTP_CODING_NONE},
	};
	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		if (gate_http1_is(ce, names[i].name)) {
			*ret = (uint8_t)names[i].kind;
			return true;
		}
	}
	return false;
}

static bool is_exactly(struct gate_view v, const char *name)
{
	return v.size == strlen(name) && !memcmp(v.data, name, v.size);
}

/* One of several: browsers look for the word only, anywhere in it. */
static uint8_t one_of_several(struct http_tx *tx, struct gate_view name)
{
	bool odd = false;
	uint8_t kind = HTTP_CODING_NONE;
	if (gate_http1_has(name, "gzip")) {
		kind = HTTP_CODING_GZIP;
		odd = !is_exactly(name, "gzip") && !is_exactly(name, "x-gzip");
	} else if (gate_http1_has(name, "deflate")) {
		kind = HTTP_CODING_DEFLATE;
		odd = !is_exactly(name, "deflate") && !is_exactly(name, "x-deflate");
	} else if (is_exactly(name, "br")) {
		kind = HTTP_CODING_BROTLI;
	} else {
		odd = !is_exactly(name, "lzma") && !is_exactly(name, "inflate") &&
		      !is_exactly(name, "none");
	}
	if (odd) {
		gate_http1_event(tx, HTTP_EV_ABNORMAL_CE);
	}
	return kind;
}

/* How many there are, in the order in which they were applied. */
static unsigned int several(struct http_tx *tx, struct gate_view ce, uint8_t *kinds)
{
	uint64_t layers_max = tx->conn->config->http_decompress_layers;
	unsigned int count = 0, seen = 0;
	for (uint32_t at = 0; at < ce.size;) {
		uint32_t end = at;
		while (end < ce.size && ce.data[end] != ',' && ce.data[end] != ' ') {
			end++;
		}
		struct gate_view name = {.data = ce.data + at, .size = end - at};
		at = end + 1;
		if (!name.size) {
			continue;
		}
		if (++seen > layers_max) {
			gate_http1_event(tx, HTTP_EV_LAYERS);
			break;
		}
		uint8_t kind = one_of_several(tx, name);
		if (kind != HTTP_CODING_NONE && count < HTTP_CODINGS_MAX) {
			kinds[count++] = kind;
		}
	}
	return count;
}

void gate_http1_body_begin(struct http_tx *tx, enum gate_dir dir)
{
	struct http_side *side = &tx->side[dir];
	struct gate_view ce = gate_http1_header(side, HTTP_K_CONTENT_ENCODING);
	uint8_t kinds[HTTP_CODINGS_MAX] = {HTTP_CODING_NONE};
	unsigned int count = 1;
	if (!ce.size || !tx->conn->config->http_decompress_layers) {
		return;
	}
	if (!whole_value(ce, kinds)) {
		count = several(tx, ce, kinds);
	}
	if (count && kinds[0] != HTTP_CODING_NONE) {
		side->body.coding = gate_coding_new(tx->session, kinds, count);
	}
}

/* ---- files ---- */

static uint64_t number_at(struct gate_view v, uint32_t *at, bool *ret_ok)
{
	uint64_t n = 0;
	uint32_t from = *at;
	while (*at < v.size && v.data[*at] >= '0' && v.data[*at] <= '9' && *at - from < 18) {
		n = n * 10 + (v.data[(*at)++] - '0');
	}
	*ret_ok = *at > from;
	return n;
}

/* "bytes 0-99/1000" */
static void read_range(struct http_tx *tx, struct gate_file *file)
{
	struct gate_view v = gate_http1_header(&tx->side[GATE_TO_CLIENT], HTTP_K_CONTENT_RANGE);
	struct gate_view word = {.data = v.data, .size = v.size < 5 ? v.size : 5};
	uint32_t at = 5;
	bool a = false, b = false, c = false;
	if (!gate_http1_equals(word, "bytes")) {
		gate_http1_event(tx, HTTP_EV_RANGE);
		return;
	}
	while (at < v.size && (v.data[at] == ' ' || v.data[at] == '=')) {
		at++;
	}
	uint64_t start = number_at(v, &at, &a);
	at += at < v.size && v.data[at] == '-';
	uint64_t end = number_at(v, &at, &b);
	uint64_t total = 0;
	if (at < v.size && v.data[at] == '/') {
		at++;
		total = number_at(v, &at, &c);
	}
	if (!a || !b || start > end || (c && end >= total)) {
		gate_http1_event(tx, HTTP_EV_RANGE);
		return;
	}
	const struct http_side *client = &tx->side[GATE_TO_SERVER];
	const uint64_t span[2] = {start, end};
	gate_file_range(tx->session, file, span, total, gate_http1_view(client, &tx->host));
}

static struct gate_view file_name(struct http_tx *tx, enum gate_dir dir)
{
	gate_http1_normalise(tx);
	struct gate_view name = {.size = tx->path_size};
	if (name.size) {
		name.data = tx->normal.data + tx->path_at;
	}
	struct http_side *side = &tx->side[dir];
	if (dir == GATE_TO_CLIENT && gate_http1_has_header(side, HTTP_K_CONTENT_DISPOSITION)) {
		struct gate_view cd = gate_http1_header(side, HTTP_K_CONTENT_DISPOSITION), v;
		if (gate_http1_parameter(cd, "filename", &v) && v.size) {
			name = v;
		}
	}
	if (name.size > FILE_NAME_MAX) {
		gate_http1_event(tx, HTTP_EV_FILE_NAME_LONG);
		name.size = FILE_NAME_MAX;
	}
	return name;
}

/* First bytes of a body. */
static void open_body(struct http_tx *tx, enum gate_dir dir)
{
	struct http_body *body = &tx->side[dir].body;
	struct gate_view type = gate_http1_header(&tx->side[dir], HTTP_K_CONTENT_TYPE);
	body->began = true;
	if (dir == GATE_TO_SERVER && tx->method_number == HTTP_M_POST &&
	    gate_http1_has(type, "multipart/form-data")) {
		body->multipart = gate_http1_multipart_new(tx, type);
		body->is_own = true;
		return;
	}
	if (dir == GATE_TO_SERVER && tx->method_number != HTTP_M_POST &&
	    tx->method_number != HTTP_M_PUT) {
		body->is_own = true;
		return;
	}
	struct gate_view name = file_name(tx, dir);
	body->file = gate_file_open(tx->session, &tx->tx, dir, name.data, name.size);
	body->is_own = !body->file;
	if (body->file && dir == GATE_TO_CLIENT && tx->status_number == 206 &&
	    gate_http1_has_header(&tx->side[dir], HTTP_K_CONTENT_RANGE)) {
		read_range(tx, body->file);
	}
}

/* ---- data ---- */

static void keep_own(struct http_tx *tx, struct http_body *body, const uint8_t *data, uint32_t size)
{
	uint64_t max = tx->conn->config->file_window ? tx->conn->config->file_window : 128u << 10;
	struct http_text *own = &body->own;
	if (size > max) {
		body->own_offset += own->size + (size - max);
		own->size = 0;
		data += size - max;
		size = (uint32_t)max;
	} else if (own->size + (uint64_t)size > max) {
		/* half of it goes at once, so that not every packet moves it */
		uint32_t drop = own->size > max / 2 ? own->size - (uint32_t)(max / 2) : own->size;
		drop = own->size + size - drop > max ? own->size : drop;
		memmove(own->data, own->data + drop, own->size - drop);
		own->size -= drop;
		body->own_offset += drop;
	}
	if (!gate_http1_add(tx, own, data, size)) {
		body->own_offset += own->size + size;
		own->size = 0;
	}
}

struct target {
	struct http_tx *tx;
	enum gate_dir dir;
};

static bool is_stored(const struct http_tx *tx, const struct http_body *body)
{
	return tx->conn->config->file_store || (body->file && body->file->flags & GATE_FILE_STORE);
}

/* How many of `size` bytes more, decoded or lost, lie within the limit; the body is over with what
 * does not. */
static uint32_t take_within_limit(const struct http_tx *tx, enum gate_dir dir,
				  struct http_body *body, uint32_t size)
{
	uint64_t limit = limit_of(tx, dir);
	if (limit && body->size + size > limit) {
		size = (uint32_t)(limit - body->size);
		body->over = true;
	}
	body->size += size;
	return size;
}

/* Decoded bytes. False: no more is wanted. */
static bool decoded(void *arg, const uint8_t *data, uint32_t size)
{
	const struct target *target = arg;
	struct http_tx *tx = target->tx;
	struct http_body *body = &tx->side[target->dir].body;
	bool store = is_stored(tx, body);
	body->entity_size += size;
	if (body->over) {
		if (store) {
			gate_file_append(tx->session, body->file, data, size);
		}
		if (store && body->multipart) {
			gate_http1_multipart_data(tx, body->multipart, data, size);
		}
		return store;
	}
	if (!body->began) {
		open_body(tx, target->dir);
	}
	uint32_t take = take_within_limit(tx, target->dir, body, size);
	if (body->file) {
		gate_file_append(tx->session, body->file, data, store ? size : take);
	} else if (body->is_own) {
		keep_own(tx, body, data, take);
	}
	if (body->multipart) {
		gate_http1_multipart_data(tx, body->multipart, data, store ? size : take);
	}
	if (body->over && !store) {
		gate_file_close(tx->session, body->file, GATE_FILE_TRUNCATED);
	}
	return !body->over || store;
}

static void tell(struct http_tx *tx, enum http_coding_result result)
{
	static const enum http_event events[] = {
		[HTTP_CODING_FAILED] = HTTP_EV_DECOMPRESSION_FAILED,
		[HTTP_CODING_BOMB] = HTTP_EV_BOMB,
		[HTTP_CODING_EXTRA] = HTTP_EV_COMPRESSED_EXTRA,
		[HTTP_CODING_CUT] = HTTP_EV_COMPRESSED_CUT,
	};
	if (result != HTTP_CODING_OK) {
		gate_http1_event(tx, events[result]);
	}
}

void gate_http1_body_data(struct http_tx *tx, enum gate_dir dir, const uint8_t *data, uint32_t size)
{
	struct http_body *body = &tx->side[dir].body;
	struct target target = {.tx = tx, .dir = dir};
	if (!size) {
		return;
	}
	body->message_size += size;
	if (body->lost) {
		return;
	}
	if (body->coding) {
		tell(tx, gate_coding_data(body->coding, data, size, decoded, &target));
	} else {
		(void)decoded(&target, data, size);
	}
}

static void tell_gap(struct http_tx *tx, struct http_body *body, uint32_t size)
{
	gate_file_gap(tx->session, body->file, size);
	if (body->multipart) {
		gate_http1_multipart_gap(tx, body->multipart, size);
	}
}

void gate_http1_body_gap(struct http_tx *tx, enum gate_dir dir, uint32_t size)
{
	struct http_body *body = &tx->side[dir].body;
	bool store = is_stored(tx, body);
	body->message_size += size;
	if (body->lost) {
		return;
	}
	if (body->coding) {
		gate_coding_free(body->coding);
		body->coding = NULL;
		body->over = body->lost = true;
		tell_gap(tx, body, 0);
		return;
	}
	if (body->over) {
		if (store) {
			tell_gap(tx, body, size);
		}
		return;
	}
	if (!body->began) {
		open_body(tx, dir);
	}
	uint32_t take = take_within_limit(tx, dir, body, size);
	tell_gap(tx, body, store ? size : take);
	body->own_offset += body->own.size + take;
	body->own.size = 0;
	if (body->over && !store) {
		gate_file_close(tx->session, body->file, GATE_FILE_TRUNCATED);
	}
}

void gate_http1_body_end(struct http_tx *tx, enum gate_dir dir, bool whole)
{
	struct http_body *body = &tx->side[dir].body;
	struct target target = {.tx = tx, .dir = dir};
	if (body->coding) {
		enum http_coding_result result = gate_coding_end(body->coding, decoded, &target);
		if (whole || result != HTTP_CODING_CUT) {
			tell(tx, result);
		}
		gate_coding_free(body->coding);
		body->coding = NULL;
	}
	if (body->multipart) {
		gate_http1_multipart_end(tx, body->multipart);
	}
	gate_file_close(tx->session, body->file, whole ? GATE_FILE_CLOSED : GATE_FILE_TRUNCATED);
}

void gate_http1_body_free(struct http_tx *tx, enum gate_dir dir)
{
	struct http_body *body = &tx->side[dir].body;
	gate_coding_free(body->coding);
	gate_http1_multipart_free(tx, body->multipart);
	gate_http1_text_free(tx, &body->own);
}

/* ---- what rules see ---- */

/* Everything that is kept. */
static struct gate_buffer_view whole_view(struct http_tx *tx, enum gate_dir dir)
{
	const struct http_body *body = &tx->side[dir].body;
	struct gate_buffer_view v = {
		.data = body->own.data, .size = body->own.size, .offset = body->own_offset};
	if (body->file && !body->is_own) {
		v.data = body->file->window;
		v.size = body->file->window_size;
		v.offset = body->file->window_offset;
	}
	/* a stored file goes on beyond the limit */
	if (v.offset > body->size) {
		v.size = 0;
	} else if (v.size > body->size - v.offset) {
		v.size = (uint32_t)(body->size - v.offset);
	}
	return v;
}

/*
 * As Suricata: a body is looked at when there is as much of it as `inspect_min` says, or it is
 * whole; from then on what is new, with a quarter of the window before it, or the window when less
 * than that is new.
 */
bool gate_http1_body_view(struct http_tx *tx, enum gate_dir dir, struct gate_buffer_view *ret)
{
	struct http_body *body = &tx->side[dir].body;
	const struct gate_config *config = tx->conn->config;
	bool request = dir == GATE_TO_SERVER;
	uint64_t min =
		request ? config->http_request_inspect_min : config->http_response_inspect_min;
	uint64_t window = request ? config->http_request_inspect_window
				  : config->http_response_inspect_window;
	bool complete = body->over || tx->tx.progress[dir] > HTTP_BODY;
	if (!body->size || (!body->seen && body->size < min && !complete && !config->http_inline)) {
		return false;
	}
	if (body->seen != body->size) {
		uint64_t fresh = body->size - body->seen;
		body->from = 0;
		if (body->seen > min) {
			uint64_t back = fresh < window ? window - fresh : window / 4;
			body->from = body->seen > back ? body->seen - back : 0;
		}
		body->seen = body->size;
	}
	*ret = whole_view(tx, dir);
	if (body->from > ret->offset) {
		uint64_t skip = body->from - ret->offset;
		skip = skip > ret->size ? ret->size : skip;
		ret->data += skip;
		ret->size -= (uint32_t)skip;
		ret->offset += skip;
	}
	ret->complete = complete;
	return true;
}
