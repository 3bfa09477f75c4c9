/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One header at a time, read in place. Lines end with LF or CR LF; in responses also with CR and
 * LF CR, as browsers read them. A line that begins with white space goes on with the value before
 * it, but in a response one that has a name of its own is a header of its own. Headers of one name
 * become one value with ", " between (but Content-Length, of which the first counts).
 */
#include "gate/app/http1/http1.h"
#include "gate/config.h"

#include <errno.h>
#include <string.h>

#define NEED_MORE (-1)

/* What of the input a header is made of. */
struct lexed {
	struct gate_view name, value;
	bool folded; /* value is in the side's `made`, at value_at */
	uint32_t value_at, value_size;
	bool no_colon, lead_space, trail_space, no_token, deformed;
	uint32_t end; /* behind the header */
};

struct lexer {
	struct http_tx *tx;
	struct http_side *side;
	bool response, complete;
	const uint8_t *data;
	uint32_t size;
};

#define KNOWN(name, known)                                                                         \
	{                                                                                          \
		name, sizeof(name) - 1, known                                                      \
	}
static const struct {
	const char *name;
	uint8_t size;
	enum http_known known;
} known_names[] = {
	KNOWN("host", HTTP_K_HOST),
	KNOWN("user-agent", HTTP_K_USER_AGENT),
	KNOWN("cookie", HTTP_K_COOKIE),
	KNOWN("set-cookie", HTTP_K_SET_COOKIE),
	KNOWN("referer", HTTP_K_REFERER),
	KNOWN("accept", HTTP_K_ACCEPT),
	KNOWN("accept-language", HTTP_K_ACCEPT_LANG),
	KNOWN("accept-encoding", HTTP_K_ACCEPT_ENC),
	KNOWN("connection", HTTP_K_CONNECTION),
	KNOWN("content-type", HTTP_K_CONTENT_TYPE),
	KNOWN("content-length", HTTP_K_CONTENT_LENGTH),
	KNOWN("transfer-encoding", HTTP_K_TRANSFER_ENCODING),
	KNOWN("content-encoding", HTTP_K_CONTENT_ENCODING),
	KNOWN("server", HTTP_K_SERVER),
	KNOWN("location", HTTP_K_LOCATION),
	KNOWN("upgrade", HTTP_K_UPGRADE),
	KNOWN("expect", HTTP_K_EXPECT),
	KNOWN("authorization", HTTP_K_AUTHORIZATION),
	KNOWN("content-range", HTTP_K_CONTENT_RANGE),
	KNOWN("content-disposition", HTTP_K_CONTENT_DISPOSITION),
	KNOWN("x-forwarded-for", HTTP_K_XFF),
	KNOWN("http2-settings", HTTP_K_HTTP2_SETTINGS),
};
#undef KNOWN

/* RFC 9110, 5.6.2 */
static bool is_token(uint8_t c)
{
	static const bool is[256] = {
		['!'] = true,	      ['#' ... '\''] = true, ['*'] = true,
		['+'] = true,	      ['-'] = true,	     ['.'] = true,
		['0' ... '9'] = true, ['A' ... 'Z'] = true,  ['^' ... 'z'] = true,
		['|'] = true,	      ['~'] = true,
	};

	return is[c];
}

static bool is_lws(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\0';
}

/* ---- line ends ---- */

static bool follows(const uint8_t *p, uint32_t n, const char *what)
{
	uint32_t size = (uint32_t)strlen(what);
	return n >= size && !memcmp(p, what, size);
}

static bool line_end_follows(const uint8_t *p, uint32_t n)
{
	return follows(p, n, "\n") || follows(p, n, "\r\n");
}

/* Line ends that only an evader writes: 0 none. */
static uint32_t deformed_end(const struct lexer *lx, const uint8_t *p, uint32_t n)
{
	if (follows(p, n, "\n\r\r\n") && line_end_follows(p + 4, n - 4)) {
		return 4;
	}
	if (!lx->response) {
		return follows(p, n, "\n\r\r\n") ? 2 : 0;
	}
	if (!follows(p, n, "\r\n\r")) {
		return 0;
	}
	uint32_t i = 3;
	while (i < n && (p[i] == '\r' || p[i] == ' ' || p[i] == '\t')) {
		i++;
	}
	if (i == 3) {
		return 0;
	}
	i += i < n && p[i] == '\n';
	return i < n && !line_end_follows(p + i, n - i) ? i : 0;
}

/* Size of the line's end at p, 0: none. NEED_MORE: it depends on what follows. */
static int end_size(const struct lexer *lx, const uint8_t *p, uint32_t n, bool *ret_deformed)
{
	uint32_t deformed = n > 3 ? deformed_end(lx, p, n) : 0;
	if (deformed) {
		*ret_deformed = true;
		return (int)deformed;
	}
	if (n < 2 && !lx->complete) {
		return NEED_MORE;
	}
	if (follows(p, n, "\r\n")) {
		return 2;
	}
	if (lx->response && follows(p, n, "\n\r")) {
		return 2;
	}
	return *p == '\n' || (lx->response && *p == '\r') ? 1 : 0;
}

/* Who reads only some of the line ends as such sees other headers than who reads all. */
static void note_eol(const struct lexer *lx, const uint8_t *p, uint32_t size)
{
	static const enum http_event mixed[] = {HTTP_EV_REQUEST_EOLS, HTTP_EV_RESPONSE_EOLS};
	uint8_t *eols = &lx->side->eols;
	if (size) {
		*eols |= size > 1 ? HTTP_EOL_CRLF : *p == '\r' ? HTTP_EOL_CR : HTTP_EOL_LF;
	}
	if (*eols & (*eols - 1)) {
		gate_http1_event(lx->tx, mixed[lx->response]);
	}
}

/* Where the line that begins at `from` ends: offset of its end, -1: not there yet. */
static int64_t find_end(const struct lexer *lx, uint32_t from)
{
	const uint8_t *begin = lx->data + from;
	uint32_t size = lx->size - from;
	const uint8_t *lf = size ? memchr(begin, '\n', size) : NULL;
	uint32_t line = lf ? (uint32_t)(lf - begin) : size;
	if (lx->response) {
		const uint8_t *cr = line ? memchr(begin, '\r', line) : NULL;
		return cr ? cr - lx->data : lf ? lf - lx->data : -1;
	}
	if (!lf) {
		return -1;
	}
	return lf - lx->data - (line && lf[-1] == '\r');
}

/* ---- folding ---- */

/* "  Name : .." in a response is a header and no folded line. */
static bool is_own_header(const struct lexer *lx, uint32_t at)
{
	while (at < lx->size && (lx->data[at] == ' ' || lx->data[at] == '\t')) {
		at++;
	}
	uint32_t token = at;
	while (at < lx->size && is_token(lx->data[at])) {
		at++;
	}
	bool has_token = at > token;
	while (at < lx->size && (lx->data[at] == ' ' || lx->data[at] == '\t')) {
		at++;
	}
	return has_token && at < lx->size && lx->data[at] == ':';
}

/* The value goes on at `at`, behind the white space that said so. Writes it to `made`.
 * 0, NEED_MORE, -ENOMEM. */
static int fold(const struct lexer *lx, uint32_t at, struct lexed *h)
{
	struct http_text *made = &lx->side->made;
	uint32_t begin = made->size;
	struct gate_view first = gate_http1_trim(h->value);
	if (!gate_http1_add(lx->tx, made, first.data, first.size)) {
		return -ENOMEM;
	}
	for (unsigned int folds = 0; folds < FOLDS_MAX; folds++) {
		if (lx->response && is_own_header(lx, at)) {
			h->end = at;
			break;
		}
		int64_t end = find_end(lx, at);
		if (end < 0 && !lx->complete) {
			made->size = begin;
			return NEED_MORE;
		}
		uint32_t stop = end < 0 ? lx->size : (uint32_t)end;
		uint8_t space = lx->data[at - 1] ? lx->data[at - 1] : ' ';
		if ((made->size > begin && !gate_http1_add(lx->tx, made, &space, 1)) ||
		    !gate_http1_add(lx->tx, made, lx->data + at, stop - at)) {
			return -ENOMEM;
		}
		int eol = 0;
		if (stop < lx->size) {
			eol = end_size(lx, lx->data + stop, lx->size - stop, &h->deformed);
		}
		if (eol == NEED_MORE || (stop + (uint32_t)eol >= lx->size && !lx->complete)) {
			made->size = begin;
			return NEED_MORE;
		}
		note_eol(lx, lx->data + stop, (uint32_t)eol);
		h->end = stop + (uint32_t)eol;
		if (stop == at && eol == 1 && !(h->end < lx->size && lx->data[h->end] == '\n')) {
			/* LF, space, LF: that is the empty line */
			h->end = stop;
			break;
		}
		at = h->end;
		if (at >= lx->size || !is_lws(lx->data[at])) {
			break;
		}
		at++;
	}
	h->folded = true;
	h->value_at = begin;
	h->value_size = made->size - begin;
	return 0;
}

/* ---- a header ---- */

/* The colon behind the name, -1: none. A name may go on in lines that begin with a space. */
static int64_t find_colon(const struct lexer *lx)
{
	const uint8_t *p = lx->data;
	uint8_t ended = 0;
	for (uint32_t i = 0; i < lx->size; i++) {
		if (!ended && p[i] == ':') {
			return i;
		}
		if (!ended) {
			ended = p[i] == '\n' || (lx->response && p[i] == '\r') ? p[i] : 0;
		} else if (p[i] == ' ') {
			ended = 0;
		} else if (p[i] == '\n' && ended == '\r') {
			ended = '\n';
		} else {
			return -1;
		}
	}
	return -1;
}

static void split_name(const struct lexer *lx, int64_t colon, uint32_t end, struct lexed *h)
{
	if (colon < 0) {
		h->no_colon = true;
		h->name = (struct gate_view){.data = lx->data};
		h->value = (struct gate_view){.data = lx->data, .size = end};
		return;
	}
	uint32_t size = (uint32_t)colon;
	h->name = (struct gate_view){.data = lx->data, .size = size};
	h->value = (struct gate_view){.data = lx->data + size + 1, .size = end - size - 1};
	if (!size) {
		return;
	}
	h->lead_space = lx->data[0] == ' ' || lx->data[0] == '\t';
	h->trail_space = lx->data[size - 1] == ' ' || lx->data[size - 1] == '\t';
	h->name = gate_http1_trim(h->name);
	for (uint32_t i = 0; i < h->name.size; i++) {
		h->no_token = h->no_token || !is_token(h->name.data[i]);
	}
}

static int lex(const struct lexer *lx, struct lexed *h)
{
	int64_t colon = find_colon(lx);
	int64_t found = find_end(lx, colon < 0 ? 0 : (uint32_t)colon + 1);
	if (found < 0 && !lx->complete) {
		return NEED_MORE;
	}
	uint32_t stop = found < 0 ? lx->size : (uint32_t)found;
	int eol = 0;
	if (stop < lx->size) {
		eol = end_size(lx, lx->data + stop, lx->size - stop, &h->deformed);
	}
	if (eol == NEED_MORE) {
		return NEED_MORE;
	}
	h->end = stop + (uint32_t)eol;
	/* Whether it is folded is told by the next byte. */
	if (h->end >= lx->size && !lx->complete) {
		return NEED_MORE;
	}
	note_eol(lx, lx->data + stop, (uint32_t)eol);
	split_name(lx, colon, stop, h);
	if (h->end < lx->size && is_lws(lx->data[h->end]) && !h->deformed) {
		return fold(lx, h->end + 1, h);
	}
	h->value = gate_http1_trim(h->value);
	return 0;
}

/* ---- keeping it ---- */

static void tell(const struct lexer *lx, const struct lexed *h)
{
	static const enum http_event invalid[] = {HTTP_EV_REQUEST_HEADER, HTTP_EV_RESPONSE_HEADER};
	static const enum http_event folding[] = {HTTP_EV_REQUEST_FOLDING,
						  HTTP_EV_RESPONSE_FOLDING};
	static const enum http_event colon[] = {HTTP_EV_REQUEST_NO_COLON,
						HTTP_EV_RESPONSE_NO_COLON};
	if (h->trail_space || h->no_token || (!h->no_colon && !h->name.size)) {
		gate_http1_event(lx->tx, invalid[lx->response]);
	}
	if (h->lead_space) {
		gate_http1_event(lx->tx, folding[lx->response]);
	}
	if (h->no_colon) {
		gate_http1_event(lx->tx, colon[lx->response]);
	}
	if (h->deformed && lx->response) {
		gate_http1_event(lx->tx, HTTP_EV_DEFORMED_EOL);
	}
}

/* With a seed: nobody can choose a thousand names that meet. */
static uint32_t hash_name(const struct gate_session *session, struct gate_view name)
{
	uint64_t seed = gate_session_seed(session), hash = seed;
	for (uint32_t i = 0; i < name.size; i++) {
		uint8_t c = name.data[i];
		c = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
		hash = (hash ^ c) * (seed | 1);
		hash ^= hash >> 32;
	}
	return (uint32_t)hash;
}

/* Names are compared without the NULs in them. */
static enum http_known known_of(struct gate_view name)
{
	uint8_t plain[32];
	uint32_t size = 0;
	if (name.size && memchr(name.data, 0, name.size)) {
		for (uint32_t i = 0; i < name.size && size < sizeof(plain); i++) {
			plain[size] = name.data[i];
			size += name.data[i] != 0;
		}
		name = (struct gate_view){.data = plain, .size = size};
	}
	if (name.size < 4 || name.size > 19) {
		return HTTP_K_NONE;
	}
	uint8_t first = name.data[0] | 0x20;
	for (size_t i = 0; i < sizeof(known_names) / sizeof(known_names[0]); i++) {
		if (known_names[i].size == name.size && (uint8_t)known_names[i].name[0] == first &&
		    gate_http1_equals(name, known_names[i].name)) {
			return known_names[i].known;
		}
	}
	return HTTP_K_NONE;
}

static bool is_same(const struct http_side *side, const struct http_header *h,
		    struct gate_view name, uint32_t hash)
{
	if (h->hash != hash || h->name.size != name.size) {
		return false;
	}
	struct gate_view other = gate_http1_view(side, &h->name);
	uint32_t k = 0;
	while (k < name.size &&
	       (other.data[k] == name.data[k] ||
		((other.data[k] ^ name.data[k]) == 0x20 && (other.data[k] | 0x20) >= 'a' &&
		 (other.data[k] | 0x20) <= 'z'))) {
		k++;
	}
	return k == name.size;
}

static struct http_header *find_same(struct http_side *side, struct gate_view name, uint32_t hash)
{
	uint32_t mask = side->slot_count - 1;
	for (uint32_t i = hash & mask; side->slots && side->slots[i]; i = (i + 1) & mask) {
		struct http_header *h = &side->headers[side->slots[i] - 1];
		if (is_same(side, h, name, hash)) {
			return h;
		}
	}
	for (uint32_t i = 0; !side->slots && i < side->count; i++) {
		if (is_same(side, &side->headers[i], name, hash)) {
			return &side->headers[i];
		}
	}
	return NULL;
}

static void put_slot(struct http_side *side, uint32_t index)
{
	uint32_t mask = side->slot_count - 1, i = side->headers[index].hash & mask;
	while (side->slots[i]) {
		i = (i + 1) & mask;
	}
	side->slots[i] = index + 1;
}

void gate_http1_slots_free(struct gate_session *session, struct http_side *side)
{
	gate_session_release(session, side->slots, side->slot_count * sizeof(*side->slots));
	side->slots = NULL;
	side->slot_count = 0;
}

/* The newest header can be found by its name: of more than a few by a table, at most half full.
 * Without memory for it they are gone through. */
static void index_newest(struct http_tx *tx, struct http_side *side)
{
	uint32_t count = side->slot_count ? side->slot_count * 2 : 4 * HTTP_HEADERS_FEW;
	if (side->count <= HTTP_HEADERS_FEW) {
		return;
	}
	if (side->slots && side->count * 2 <= side->slot_count) {
		put_slot(side, side->count - 1);
		return;
	}
	gate_http1_slots_free(tx->session, side);
	while (count < side->count * 2) {
		count *= 2;
	}
	side->slots = gate_session_alloc(tx->session, count * sizeof(*side->slots));
	side->slot_count = side->slots ? count : 0;
	for (uint32_t i = 0; side->slots && i < side->count; i++) {
		put_slot(side, i);
	}
}

/* One more of a name that is there already. */
static bool join(const struct lexer *lx, struct http_header *have, struct gate_view value)
{
	static const enum http_event again[] = {HTTP_EV_REQUEST_REPETITION,
						HTTP_EV_RESPONSE_REPETITION};
	static const enum http_event two[] = {HTTP_EV_REQUEST_TWO_CL, HTTP_EV_RESPONSE_TWO_CL};
	struct http_side *side = lx->side;
	if (!have->repeated) {
		gate_http1_event(lx->tx, again[lx->response]);
	} else if (side->repetitions++ >= REPETITIONS_MAX) {
		side->repetitions = REPETITIONS_MAX;
		return true;
	}
	have->repeated = true;
	struct gate_view old = gate_http1_view(side, &have->value);
	if (have->known == HTTP_K_CONTENT_LENGTH) {
		uint64_t a = 0, b = 0;
		if (!gate_http1_length(NULL, old, &a) || !gate_http1_length(NULL, value, &b) ||
		    a != b) {
			gate_http1_event(lx->tx, two[lx->response]);
		}
		return true;
	}
	/* `made` may move: room first, then views anew. */
	struct http_text *made = &side->made;
	uint32_t at = made->size;
	bool in_made = have->value.made;
	uint32_t old_at = have->value.at, old_size = have->value.size;
	bool value_made =
		at && value.size && value.data >= made->data && value.data < made->data + at;
	uint32_t value_at = value_made ? (uint32_t)(value.data - made->data) : 0;
	static const uint8_t zeros[64];
	uint32_t total = old_size + 2 + value.size;
	for (uint32_t left = total; left;) {
		uint32_t n = left < sizeof(zeros) ? left : (uint32_t)sizeof(zeros);
		if (!gate_http1_add(lx->tx, made, zeros, n)) {
			made->size = at;
			return false;
		}
		left -= n;
	}
	uint8_t *to = made->data + at;
	memcpy(to, (in_made ? made->data : side->raw.data) + old_at, old_size);
	memcpy(to + old_size, ", ", 2);
	if (value.size) {
		memcpy(to + old_size + 2, value_made ? made->data + value_at : value.data,
		       value.size);
	}
	have->value = (struct http_span){.at = at, .size = total, .made = true, .is = true};
	return true;
}

static int keep_new(const struct lexer *lx, const struct lexed *h, uint32_t hash, uint32_t raw_at)
{
	static const enum http_event many[] = {HTTP_EV_REQUEST_HEADERS, HTTP_EV_RESPONSE_HEADERS};
	struct http_side *side = lx->side;
	if (side->count > gate_session_config(lx->tx->session)->http_headers_max) {
		gate_http1_event(lx->tx, many[lx->response]);
		return -EMSGSIZE;
	}
	if (side->count == side->capacity) {
		uint32_t capacity = side->capacity ? side->capacity * 2 : 16;
		void *grown = gate_session_grow(lx->tx->session, side->headers,
						side->capacity * sizeof(*side->headers),
						capacity * sizeof(*side->headers));
		if (!grown) {
			return -ENOMEM;
		}
		side->headers = grown;
		side->capacity = capacity;
	}
	struct http_header *header = &side->headers[side->count++];
	memset(header, 0, sizeof(*header));
	header->hash = hash;
	header->known = (uint8_t)known_of(h->name);
	header->folded = h->folded;
	header->name = (struct http_span){.at = raw_at + (uint32_t)(h->name.data - lx->data),
					  .size = h->name.size,
					  .is = true};
	if (h->folded) {
		header->value = (struct http_span){
			.at = h->value_at, .size = h->value_size, .made = true, .is = true};
	} else {
		header->value =
			(struct http_span){.at = raw_at + (uint32_t)(h->value.data - lx->data),
					   .size = h->value.size,
					   .is = true};
	}
	if (header->known && !side->known[header->known]) {
		side->known[header->known] = (uint16_t)side->count;
	}
	index_newest(lx->tx, side);
	return 0;
}

static int keep(const struct lexer *lx, struct lexed *h)
{
	struct http_side *side = lx->side;
	uint32_t raw_at = side->raw.size;
	if (!gate_http1_add(lx->tx, &side->raw, lx->data, h->end)) {
		return -ENOMEM;
	}
	side->headers_end = side->raw.size;
	struct gate_view value = h->value;
	if (h->folded) {
		value = (struct gate_view){.data = (const uint8_t *)""};
		if (h->value_size) {
			value = gate_http1_trim((struct gate_view){
				.data = side->made.data + h->value_at, .size = h->value_size});
			h->value_at = (uint32_t)(value.data - side->made.data);
		}
		h->value_size = value.size;
	}
	uint32_t hash = hash_name(lx->tx->session, h->name);
	struct http_header *have = find_same(side, h->name, hash);
	if (have) {
		return join(lx, have, value) ? 0 : -ENOMEM;
	}
	return keep_new(lx, h, hash, raw_at);
}

int64_t gate_http1_read_header(struct http_tx *tx, enum gate_dir dir, const uint8_t *data,
			       uint32_t size, bool complete, bool *ret_end)
{
	struct lexer lx = {.tx = tx,
			   .side = &tx->side[dir],
			   .response = dir == GATE_TO_CLIENT,
			   .complete = complete,
			   .data = data,
			   .size = size};
	struct lexed h = {};
	if (!size) {
		return 0;
	}
	if (data[0] == '\r' && size == 1 && !complete) {
		return 0;
	}
	uint32_t end = follows(data, size, "\r\n") ? 2 : data[0] == '\n' ? 1 : 0;
	if (lx.response && !end && data[0] == '\r') {
		if (!lx.side->count) {
			/* what is left of a first line that ends with LF CR */
			return gate_http1_add(tx, &lx.side->raw, data, 1) ? 1 : -ENOMEM;
		}
		end = 1;
	}
	if (end) {
		*ret_end = true;
		if (!gate_http1_add(tx, &lx.side->raw, data, end)) {
			return -ENOMEM;
		}
		lx.side->headers_end = lx.side->raw.size;
		note_eol(&lx, data, end);
		return end;
	}
	int r = lex(&lx, &h);
	if (r == NEED_MORE) {
		return 0;
	}
	if (r < 0) {
		return r;
	}
	tell(&lx, &h);
	r = keep(&lx, &h);
	return r < 0 ? r : (int64_t)h.end;
}
