/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content codings. A chain of decoders: what comes out of one goes into the next, the last one's
 * goes to the caller. What a server calls gzip or deflate is told by the first bytes and not by the
 * name, as browsers do: gzip's own header is read here and leniently, what follows is raw deflate;
 * its trailer is not checked, and another member may follow (RFC 1952, 2.2). Raw deflate is
 * igzip's, what has zlib's header is zlib's.
 */
#include "gate/app/http1/coding.h"
#include "base/counter.h"
#include "gate/app/app.h"
#include "gate/app/inflate.h"
#include "gate/config.h"

#include <brotli/decode.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define OUT_SIZE     8192
#define BOMB_RATIO   2048
#define SNIFF_SIZE   16
#define GZIP_TRAILER 8

BH_COUNTER(gate_http_bombs, "bodies that were no longer decoded: compression bombs");
BH_COUNTER(gate_http_coding_failed, "bodies that could not be decoded");

enum layer_state {
	LAYER_SNIFF,
	LAYER_GZIP_HEAD,
	LAYER_ON,
	LAYER_GZIP_TRAILER,
	LAYER_GZIP_NEXT, /* another member, or nothing */
	LAYER_PLAIN,
	LAYER_ENDED, /* by itself */
	LAYER_DEAD
};

/* RFC 1952, 2.3: parts of a member's header, in their order; each but the first is there when its
 * flag is. */
enum gzip_part { GZIP_FIXED, GZIP_XLEN, GZIP_EXTRA, GZIP_NAME, GZIP_COMMENT, GZIP_CRC, GZIP_PARTS };
static const uint8_t gzip_flag[GZIP_PARTS] = {0, 4, 4, 8, 16, 2};
static const uint8_t gzip_magic[] = {0x1f, 0x8b, Z_DEFLATED};

struct layer {
	struct http_coding *coding;
	uint8_t kind; /* as the header says */
	enum layer_state state;
	bool inflating, proved, is_gzip;
	struct gate_inflate *raw;
	BrotliDecoderState *brotli;
	uint8_t part, flags; /* of gzip's header */
	uint32_t done,
		extra; /* bytes of that part, of the trailer or the magic; size of GZIP_EXTRA */
	uint32_t head_size;
	uint8_t head[SNIFF_SIZE]; /* what has been held back */
	z_stream z;		  /* from here on not zeroed */
	uint8_t out[OUT_SIZE];
};

struct http_coding {
	struct gate_session *session;
	struct layer *layers[HTTP_CODINGS_MAX];
	unsigned int count;
	uint64_t in, spent_us;
	uint64_t produced; /* by all layers */
	uint64_t limit, time_us;
	clockid_t clock; /* of spent_us */
	http_coding_fn *fn;
	void *arg;
	enum http_coding_result result;
	bool stopped;
};

static void push(struct http_coding *coding, unsigned int index, const uint8_t *data,
		 uint32_t size);

/* ---- memory of zlib and brotli: the session's, with its size before it ---- */

static void *charged_alloc(void *arg, size_t size)
{
	size_t *p = gate_session_alloc_raw(arg, size + 16);
	if (!p) {
		return NULL;
	}
	*p = size + 16;
	return (char *)p + 16;
}

static void charged_free(void *arg, void *p)
{
	if (p) {
		size_t *head = (size_t *)(void *)((char *)p - 16);
		gate_session_release(arg, head, *head);
	}
}

static void *z_alloc(void *arg, unsigned int items, unsigned int size)
{
	return charged_alloc(arg, (size_t)items * size);
}

/* ---- one layer ---- */

static bool raw_begin(struct layer *layer)
{
	layer->raw = gate_session_alloc_raw(layer->coding->session, sizeof(*layer->raw));
	if (layer->raw) {
		gate_inflate_init(layer->raw);
	}
	return layer->raw;
}

static bool zlib_begin(struct layer *layer)
{
	layer->z = (z_stream){
		.zalloc = z_alloc, .zfree = charged_free, .opaque = layer->coding->session};
	layer->inflating = inflateInit2(&layer->z, MAX_WBITS) == Z_OK;
	return layer->inflating;
}

static void layer_close(struct layer *layer)
{
	if (layer->raw) {
		gate_session_release(layer->coding->session, layer->raw, sizeof(*layer->raw));
		layer->raw = NULL;
	}
	if (layer->inflating) {
		(void)inflateEnd(&layer->z);
		layer->inflating = false;
	}
	BrotliDecoderDestroyInstance(layer->brotli);
	layer->brotli = NULL;
}

static void layer_dead(struct layer *layer)
{
	layer->state = LAYER_DEAD;
	layer_close(layer);
	if (layer->coding->result == HTTP_CODING_OK) {
		layer->coding->result = HTTP_CODING_FAILED;
	}
}

/* It is not what it was called: out it comes as it is. */
static void layer_plain(struct layer *layer, unsigned int index, const uint8_t *data, uint32_t size)
{
	layer_close(layer);
	layer->state = LAYER_PLAIN;
	push(layer->coding, index + 1, data, size);
}

/* Out of any layer: what goes into the next one is work, also when nothing comes out of that. */
static bool is_bomb(struct http_coding *coding, uint32_t size)
{
	coding->produced += size;
	if (coding->produced <= coding->limit || coding->produced / BOMB_RATIO <= coding->in) {
		return false;
	}
	coding->result = HTTP_CODING_BOMB;
	coding->stopped = true;
	bh_counter_add(&gate_http_bombs, 1);
	return true;
}

static void inflate_in(struct layer *layer, const uint8_t *data, uint32_t size)
{
	if (layer->raw) {
		gate_inflate_in(layer->raw, data, size);
		return;
	}
	layer->z.next_in = (Bytef *)(uintptr_t)data;
	layer->z.avail_in = size;
}

static enum gate_inflate_result inflate_out(struct layer *layer, uint32_t *ret_size)
{
	int r;

	if (layer->raw) {
		return gate_inflate_out(layer->raw, layer->out, OUT_SIZE, ret_size);
	}
	layer->z.next_out = layer->out;
	layer->z.avail_out = OUT_SIZE;
	r = inflate(&layer->z, Z_NO_FLUSH);
	*ret_size = OUT_SIZE - layer->z.avail_out;
	switch (r) {
	case Z_OK:
		return layer->z.avail_out ? GATE_INFLATE_MORE : GATE_INFLATE_ROOM;
	case Z_BUF_ERROR:
		return GATE_INFLATE_MORE;
	case Z_STREAM_END:
		return GATE_INFLATE_END;
	default:
		return GATE_INFLATE_BAD;
	}
}

/* What is behind the end. The trailer's first bytes may be in the decoder already. */
static uint32_t inflate_ended(struct layer *layer)
{
	uint32_t held = 0;
	uint32_t left = layer->raw ? gate_inflate_left(layer->raw, &held) : layer->z.avail_in;

	layer_close(layer);
	layer->state = layer->is_gzip ? LAYER_GZIP_TRAILER : LAYER_ENDED;
	layer->done = held < GZIP_TRAILER ? held : GZIP_TRAILER;
	return left;
}

/* Returns how many bytes were of use. */
static uint32_t inflate_more(struct layer *layer, unsigned int index, const uint8_t *data,
			     uint32_t size)
{
	struct http_coding *coding = layer->coding;

	inflate_in(layer, data, size);
	while (!coding->stopped && layer->state == LAYER_ON) {
		uint32_t n;
		enum gate_inflate_result r = inflate_out(layer, &n);

		if (r == GATE_INFLATE_BAD && !layer->proved) {
			/* what it made before it failed is nothing */
			bh_counter_add(&gate_http_coding_failed, 1);
			coding->result = HTTP_CODING_FAILED;
			layer_plain(layer, index, data, size);
			return size;
		}
		layer->proved = true;
		if (n) {
			push(coding, index + 1, layer->out, n);
		}
		if (r == GATE_INFLATE_BAD) {
			layer_dead(layer);
		} else if (r == GATE_INFLATE_END) {
			return size - inflate_ended(layer);
		} else if (r == GATE_INFLATE_MORE) {
			break;
		}
	}
	return size;
}

static uint32_t brotli_more(struct layer *layer, unsigned int index, const uint8_t *data,
			    uint32_t size)
{
	struct http_coding *coding = layer->coding;
	size_t in_size = size;
	const uint8_t *in = data;
	while (!coding->stopped && layer->state == LAYER_ON) {
		size_t out_size = OUT_SIZE;
		uint8_t *out = layer->out;
		BrotliDecoderResult r = BrotliDecoderDecompressStream(layer->brotli, &in_size, &in,
								      &out_size, &out, NULL);
		if (r == BROTLI_DECODER_RESULT_ERROR && !layer->proved) {
			bh_counter_add(&gate_http_coding_failed, 1);
			coding->result = HTTP_CODING_FAILED;
			layer_plain(layer, index, data, size);
			return size;
		}
		layer->proved = true;
		if (out_size < OUT_SIZE) {
			push(coding, index + 1, layer->out, (uint32_t)(OUT_SIZE - out_size));
		}
		if (r == BROTLI_DECODER_RESULT_ERROR) {
			layer_dead(layer);
		} else if (r == BROTLI_DECODER_RESULT_SUCCESS) {
			layer_close(layer);
			layer->state = LAYER_ENDED;
			return size - (uint32_t)in_size;
		} else if (r == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT) {
			break;
		}
	}
	return size;
}

/* ---- gzip's header and trailer ---- */

/* wrapped: zlib's header comes first. */
static void begin(struct layer *layer, bool wrapped)
{
	bool ok = false;
	if (layer->kind == HTTP_CODING_BROTLI) {
		layer->brotli = BrotliDecoderCreateInstance(charged_alloc, charged_free,
							    layer->coding->session);
		ok = layer->brotli != NULL;
	} else {
		ok = wrapped ? zlib_begin(layer) : raw_begin(layer);
	}
	if (!ok) {
		layer_dead(layer);
		return;
	}
	layer->state = LAYER_ON;
}

/* Takes one byte of the part that it is in. True: that was its last. */
static bool gzip_byte(struct layer *layer, uint8_t byte)
{
	uint32_t at = layer->done++;

	switch (layer->part) {
	case GZIP_FIXED:
		if (at == 3) {
			layer->flags = byte;
		}
		return at == 9;
	case GZIP_XLEN:
		layer->extra = at ? layer->extra | (uint32_t)byte << 8 : byte;
		return at == 1;
	case GZIP_EXTRA:
		return at + 1 == layer->extra;
	case GZIP_CRC:
		return at == 1;
	default:
		return !byte;
	}
}

static void gzip_next_part(struct layer *layer)
{
	do {
		layer->part++;
	} while (layer->part < GZIP_PARTS && (!(layer->flags & gzip_flag[layer->part]) ||
					      (layer->part == GZIP_EXTRA && !layer->extra)));
	layer->done = 0;
}

static uint32_t gzip_head(struct layer *layer, const uint8_t *data, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		if (gzip_byte(layer, data[i])) {
			gzip_next_part(layer);
		}
		if (layer->part == GZIP_PARTS) {
			begin(layer, false);
			return i + 1;
		}
	}
	return size;
}

/* already: bytes of the header that have been taken. */
static void gzip_begin(struct layer *layer, uint32_t already)
{
	layer->is_gzip = true;
	layer->state = LAYER_GZIP_HEAD;
	layer->part = GZIP_FIXED;
	layer->done = already;
	layer->flags = 0;
}

static uint32_t gzip_trailer(struct layer *layer, uint32_t size)
{
	uint32_t n = GZIP_TRAILER - layer->done;

	n = n < size ? n : size;
	layer->done += n;
	if (layer->done == GZIP_TRAILER) {
		layer->state = LAYER_GZIP_NEXT;
		layer->done = 0;
	}
	return n;
}

static uint32_t gzip_next(struct layer *layer, const uint8_t *data)
{
	if (data[0] != gzip_magic[layer->done]) {
		layer->state = LAYER_ENDED;
		return 0;
	}
	if (++layer->done == sizeof(gzip_magic)) {
		gzip_begin(layer, sizeof(gzip_magic));
	}
	return 1;
}

/* ---- which it is ---- */

/* Raw deflate has no mark of its own, and its fixed code makes something of any text: what is all
 * printable is no deflate. */
static bool looks_plain(const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n && i < SNIFF_SIZE; i++) {
		if ((p[i] < ' ' && p[i] != '\t' && p[i] != '\n' && p[i] != '\r') || p[i] > 0x7e) {
			return false;
		}
	}
	return true;
}

/* The first bytes stand in the head; last: no more come. What it is goes into its state. */
static void sniff(struct layer *layer, unsigned int index, bool last)
{
	const uint8_t *p = layer->head;
	uint32_t n = layer->head_size;
	if (layer->kind == HTTP_CODING_BROTLI) {
		begin(layer, false);
		return;
	}
	if (n < sizeof(gzip_magic) && !last) {
		return;
	}
	if (n >= sizeof(gzip_magic) && !memcmp(p, gzip_magic, sizeof(gzip_magic))) {
		gzip_begin(layer, 0);
		return;
	}
	if (n >= 2 && (p[0] & 0x0f) == 8 && (p[0] * 256 + p[1]) % 31 == 0) {
		begin(layer, true);
		return;
	}
	bool plain = looks_plain(p, n);
	if (plain && n < SNIFF_SIZE && !last) {
		return;
	}
	if (plain) {
		layer->coding->result = HTTP_CODING_FAILED;
		bh_counter_add(&gate_http_coding_failed, 1);
		layer->state = LAYER_PLAIN;
		return;
	}
	begin(layer, false);
}

static void layer_push(struct layer *layer, unsigned int index, const uint8_t *data, uint32_t size);

/* What was held back comes first. */
static void sniff_held(struct layer *layer, unsigned int index, bool last)
{
	sniff(layer, index, last);
	if (layer->state != LAYER_SNIFF) {
		layer_push(layer, index, layer->head, layer->head_size);
	}
}

static uint32_t hold_back(struct layer *layer, unsigned int index, const uint8_t *data,
			  uint32_t size)
{
	uint32_t room = SNIFF_SIZE - layer->head_size;
	uint32_t n = size < room ? size : room;

	memcpy(layer->head + layer->head_size, data, n);
	layer->head_size += n;
	sniff_held(layer, index, false);
	return n;
}

/* Behind the end people pad with zeros; anything else is there for somebody. */
static void behind_end(struct layer *layer, const uint8_t *data, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		if (data[i] && layer->coding->result == HTTP_CODING_OK) {
			layer->coding->result = HTTP_CODING_EXTRA;
		}
	}
}

/* Returns how many bytes that took. */
static uint32_t layer_step(struct layer *layer, unsigned int index, const uint8_t *data,
			   uint32_t size)
{
	switch (layer->state) {
	case LAYER_SNIFF:
		return hold_back(layer, index, data, size);
	case LAYER_GZIP_HEAD:
		return gzip_head(layer, data, size);
	case LAYER_ON:
		return layer->kind == HTTP_CODING_BROTLI ? brotli_more(layer, index, data, size)
							 : inflate_more(layer, index, data, size);
	case LAYER_GZIP_TRAILER:
		return gzip_trailer(layer, size);
	case LAYER_GZIP_NEXT:
		return gzip_next(layer, data);
	case LAYER_PLAIN:
		push(layer->coding, index + 1, data, size);
		return size;
	case LAYER_ENDED:
		behind_end(layer, data, size);
		return size;
	default:
		return size;
	}
}

static void layer_push(struct layer *layer, unsigned int index, const uint8_t *data, uint32_t size)
{
	while (size && !layer->coding->stopped) {
		uint32_t used = layer_step(layer, index, data, size);

		data += used;
		size -= used;
	}
}

static void push(struct http_coding *coding, unsigned int index, const uint8_t *data, uint32_t size)
{
	if (coding->stopped || !size || (index && is_bomb(coding, size))) {
		return;
	}
	if (index < coding->count) {
		layer_push(coding->layers[index], index, data, size);
	} else if (!coding->fn(coding->arg, data, size)) {
		coding->stopped = true;
	}
}

/* ---- what others call ---- */

struct http_coding *gate_coding_new(struct gate_session *session, const uint8_t *kinds,
				    unsigned int count)
{
	const struct gate_config *config = gate_session_config(session);
	struct http_coding *coding = gate_session_alloc(session, sizeof(*coding));
	if (!coding) {
		return NULL;
	}
	coding->session = session;
	coding->limit = config->http_decompress_limit;
	coding->time_us = config->http_decompress_time_us;
	coding->clock = CLOCK_MONOTONIC;
	for (unsigned int i = 0; i < count && i < HTTP_CODINGS_MAX; i++) {
		struct layer *layer = gate_session_alloc_raw(session, sizeof(*layer));
		if (!layer) {
			gate_coding_free(coding);
			return NULL;
		}
		memset(layer, 0, offsetof(struct layer, z));
		layer->coding = coding;
		/* what was applied last is taken off first */
		layer->kind = kinds[count - 1 - i];
		coding->layers[coding->count++] = layer;
	}
	return coding;
}

void gate_coding_free(struct http_coding *coding)
{
	if (!coding) {
		return;
	}
	for (unsigned int i = 0; i < coding->count; i++) {
		layer_close(coding->layers[i]);
		gate_session_release(coding->session, coding->layers[i], sizeof(struct layer));
	}
	gate_session_release(coding->session, coding, sizeof(*coding));
}

static uint64_t now_us(clockid_t clock)
{
	struct timespec ts;
	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/*
 * The clock that needs no system call goes on while somebody else has the processor. So a body that
 * took too long by it is not judged yet, but measured once more, by the time that this thread used.
 */
static bool took_too_long(struct http_coding *coding, uint64_t since_us)
{
	coding->spent_us += now_us(coding->clock) - since_us;
	if (coding->spent_us <= coding->time_us) {
		return false;
	}
	if (coding->clock == CLOCK_MONOTONIC) {
		coding->clock = CLOCK_THREAD_CPUTIME_ID;
		coding->spent_us = 0;
		return false;
	}
	return true;
}

enum http_coding_result gate_coding_data(struct http_coding *coding, const uint8_t *data,
					 uint32_t size, http_coding_fn *fn, void *arg)
{
	if (coding->stopped) {
		return HTTP_CODING_OK;
	}
	uint64_t before = coding->time_us ? now_us(coding->clock) : 0;
	coding->fn = fn;
	coding->arg = arg;
	coding->in += size;
	coding->result = HTTP_CODING_OK;
	push(coding, 0, data, size);
	if (coding->time_us && took_too_long(coding, before) && !coding->stopped) {
		coding->stopped = true;
		coding->result = HTTP_CODING_BOMB;
		bh_counter_add(&gate_http_bombs, 1);
	}
	return coding->result;
}

enum http_coding_result gate_coding_end(struct http_coding *coding, http_coding_fn *fn, void *arg)
{
	coding->fn = fn;
	coding->arg = arg;
	coding->result = HTTP_CODING_OK;
	for (unsigned int i = 0; i < coding->count && !coding->stopped; i++) {
		struct layer *layer = coding->layers[i];
		if (layer->state == LAYER_SNIFF && layer->head_size) {
			sniff_held(layer, i, true);
		}
		if ((layer->state == LAYER_ON || layer->state == LAYER_GZIP_HEAD) &&
		    coding->result == HTTP_CODING_OK) {
			coding->result = HTTP_CODING_CUT;
		}
	}
	return coding->result;
}
