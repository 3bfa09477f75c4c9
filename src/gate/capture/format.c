/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/capture/format.h"

#include <errno.h>

#define PCAP_HEADER	24
#define PCAP_RECORD	16
#define PCAP_RECORD_EXT 24 /* Kuznetzov's: interface, protocol and kind follow */
#define PCAP_MICRO	0xa1b2c3d4u
#define PCAP_NANO	0xa1b23c4du
#define PCAP_EXT	0xa1b2cd34u

#define NG_SECTION    0x0a0d0d0au
#define NG_BYTE_ORDER 0x1a2b3c4du
#define NG_INTERFACE  1
#define NG_OLD_PACKET 2
#define NG_SIMPLE     3
#define NG_PACKET     6
#define NG_BLOCK_MIN  12
#define NG_META_MAX   (1u << 20) /* of a section's or interface's block */

#define NG_OPT_END	0
#define NG_OPT_TSRESOL	9
#define NG_OPT_TSOFFSET 14

static uint32_t load32(const struct capture_reader *r, const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return r->swapped ? __builtin_bswap32(v) : v;
}

static uint16_t load16(const struct capture_reader *r, const uint8_t *at)
{
	uint16_t v;

	memcpy(&v, at, sizeof(v));
	return r->swapped ? __builtin_bswap16(v) : v;
}

static uint64_t load64(const struct capture_reader *r, const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return r->swapped ? __builtin_bswap64(v) : v;
}

#define bad(r, diag, ...) bh_diag_set(diag, -EBADMSG, "record %llu at byte %llu: " __VA_ARGS__)
#define PLACE(r)                                                                                   \
	(unsigned long long)((r)->records + 1), (unsigned long long)capture_input_offset(&(r)->in)

/* There is less than there should be. */
static int cut(struct capture_reader *r, size_t want, struct bh_diag *diag)
{
	size_t have = r->in.end - r->in.at;

	switch (r->in.err) {
	case 0:
	case -ENODATA:
		return bad(r, diag, "the file ends after %zu of %zu bytes", PLACE(r), have, want);
	case -EBADMSG:
		return bad(r, diag, "the packed data is broken", PLACE(r));
	default:
		return bh_diag_set(diag, r->in.err, "record %llu at byte %llu: %s", PLACE(r),
				   strerror(-r->in.err));
	}
}

/* ---- pcap ---- */

static int pcap_header(struct capture_reader *r, uint32_t magic, struct bh_diag *diag)
{
	const uint8_t *at;

	if (capture_input_have(&r->in, PCAP_HEADER) < PCAP_HEADER) {
		return bh_diag_set(diag, -EBADMSG, "a pcap header that is cut");
	}
	at = capture_input_at(&r->in);
	r->nanoseconds = magic == PCAP_NANO;
	r->record_header = magic == PCAP_EXT ? PCAP_RECORD_EXT : PCAP_RECORD;
	/* above the type: whether frames end in a check sequence */
	r->link = (uint16_t)load32(r, at + 20);
	r->in.at += PCAP_HEADER;
	return 0;
}

static int pcap_next(struct capture_reader *r, struct gate_packet *p, struct bh_diag *diag)
{
	size_t have = capture_input_have(&r->in, r->record_header);
	uint32_t size, wire, fraction;
	const uint8_t *at;

	if (have < r->record_header) {
		return have || r->in.err ? cut(r, r->record_header, diag) : 0;
	}
	at = capture_input_at(&r->in);
	size = load32(r, at + 8);
	wire = load32(r, at + 12);
	if (size > CAPTURE_RECORD_MAX) {
		return bad(r, diag, "it says that it has %u bytes", PLACE(r), size);
	}
	have = (size_t)r->record_header + size;
	if (capture_input_have(&r->in, have) < have) {
		return cut(r, have, diag);
	}
	at = capture_input_at(&r->in);
	fraction = load32(r, at + 4);
	p->data = r->in.window + r->in.at + r->record_header;
	p->size = size;
	p->wire_size = wire > size ? wire : size;
	p->time_us = load32(r, at) * 1000000ull + (r->nanoseconds ? fraction / 1000 : fraction);
	p->link = r->link;
	p->source = 0;
	r->in.at += have;
	r->records++;
	return 1;
}

/* ---- pcapng ---- */

static int ng_section(struct capture_reader *r, struct bh_diag *diag)
{
	uint32_t order;

	if (capture_input_have(&r->in, 16) < 16) {
		return cut(r, 16, diag);
	}
	memcpy(&order, capture_input_at(&r->in) + 8, sizeof(order));
	if (order != NG_BYTE_ORDER && order != __builtin_bswap32(NG_BYTE_ORDER)) {
		return bad(r, diag, "a section without byte order", PLACE(r));
	}
	r->swapped = order != NG_BYTE_ORDER;
	r->interfaces.count = 0;
	return 0;
}

/* Units of a second; 0: none that we could count with. */
static uint64_t resolution(uint8_t value)
{
	uint64_t units = 1;

	if (value & 0x80) {
		return (value & 0x7f) < 64 ? 1ull << (value & 0x7f) : 0;
	}
	if (value > 19) {
		return 0;
	}
	while (value--) {
		units *= 10;
	}
	return units;
}

static int ng_interface(struct capture_reader *r, const uint8_t *body, uint32_t size,
			struct bh_diag *diag)
{
	struct capture_interface *interface;

	if (size < 8) {
		return bad(r, diag, "an interface that is cut", PLACE(r));
	}
	if (r->interfaces.count == CAPTURE_INTERFACES_MAX) {
		return bad(r, diag, "more than %d interfaces", PLACE(r), CAPTURE_INTERFACES_MAX);
	}
	interface = bh_vec_push(&r->interfaces);
	interface->link = load16(r, body);
	interface->snaplen = load32(r, body + 4);
	interface->units = 1000000;
	body += 8;
	size -= 8;
	while (size >= 4) {
		uint32_t option = load16(r, body), len = load16(r, body + 2);
		uint32_t step = 4 + ((len + 3) & ~3u);

		if (option == NG_OPT_END) {
			break;
		}
		if (step > size) {
			return bad(r, diag, "an option of an interface that is cut", PLACE(r));
		}
		if (option == NG_OPT_TSRESOL && len == 1) {
			interface->units = resolution(body[4]);
		} else if (option == NG_OPT_TSOFFSET && len == 8) {
			interface->offset_s = (int64_t)load64(r, body + 4);
		}
		body += step;
		size -= step;
	}
	if (!interface->units) {
		return bad(r, diag, "an interface with a resolution of time that can't be",
			   PLACE(r));
	}
	return 0;
}

static uint64_t time_us(const struct capture_interface *interface, uint64_t ts)
{
	uint64_t us = interface->units == 1000000
			      ? ts
			      : (uint64_t)((__uint128_t)ts * 1000000 / interface->units);

	return us + (uint64_t)interface->offset_s * 1000000;
}

static int ng_data(struct capture_reader *r, struct gate_packet *p, const uint8_t *data,
		   uint32_t room, struct bh_diag *diag)
{
	if (p->size > room) {
		return bad(r, diag, "a packet of %u bytes in a block that has %u", PLACE(r),
			   p->size, room);
	}
	if (p->size > CAPTURE_RECORD_MAX) {
		return bad(r, diag, "it says that it has %u bytes", PLACE(r), p->size);
	}
	/* in our own window, which may be written to */
	p->data = (uint8_t *)(uintptr_t)data;
	p->wire_size = p->wire_size > p->size ? p->wire_size : p->size;
	r->time_us = p->time_us;
	return 1;
}

static int ng_packet(struct capture_reader *r, struct gate_packet *p, const uint8_t *body,
		     uint32_t size, bool old, struct bh_diag *diag)
{
	const struct capture_interface *interface;
	uint32_t number;

	if (size < 20) {
		return bad(r, diag, "a packet's block that is cut", PLACE(r));
	}
	number = old ? load16(r, body) : load32(r, body);
	if (number >= r->interfaces.count) {
		return bad(r, diag, "of interface %u, which there is not", PLACE(r), number);
	}
	interface = &r->interfaces.items[number];
	p->link = interface->link;
	p->source = 0;
	p->time_us = time_us(interface, (uint64_t)load32(r, body + 4) << 32 | load32(r, body + 8));
	p->size = load32(r, body + 12);
	p->wire_size = load32(r, body + 16);
	return ng_data(r, p, body + 20, size - 20, diag);
}

static int ng_simple(struct capture_reader *r, struct gate_packet *p, const uint8_t *body,
		     uint32_t size, struct bh_diag *diag)
{
	const struct capture_interface *interface = r->interfaces.items;

	if (size < 4 || !r->interfaces.count) {
		return bad(r, diag, "a simple packet that is cut or of no interface", PLACE(r));
	}
	p->link = interface->link;
	p->source = 0;
	p->time_us = r->time_us;
	p->wire_size = p->size = load32(r, body);
	if (interface->snaplen && p->size > interface->snaplen) {
		p->size = interface->snaplen;
	}
	return ng_data(r, p, body + 4, size - 4, diag);
}

/* The block at the place: 1 a packet, 0 something else. */
static int ng_block(struct capture_reader *r, struct gate_packet *p, uint32_t type, uint32_t size,
		    struct bh_diag *diag)
{
	const uint8_t *body;
	uint32_t most = type == NG_INTERFACE ? NG_META_MAX : CAPTURE_RECORD_MAX + NG_META_MAX;

	if (size > most) {
		return bad(r, diag, "a block of %u bytes", PLACE(r), size);
	}
	if (capture_input_have(&r->in, size) < size) {
		return cut(r, size, diag);
	}
	body = capture_input_at(&r->in) + 8;
	size -= NG_BLOCK_MIN;
	switch (type) {
	case NG_INTERFACE:
		return ng_interface(r, body, size, diag);
	case NG_SIMPLE:
		return ng_simple(r, p, body, size, diag);
	default:
		return ng_packet(r, p, body, size, type == NG_OLD_PACKET, diag);
	}
}

static int ng_next(struct capture_reader *r, struct gate_packet *p, struct bh_diag *diag)
{
	for (;;) {
		size_t have = capture_input_have(&r->in, NG_BLOCK_MIN);
		uint32_t type, size;
		int result = 0;

		if (have < NG_BLOCK_MIN) {
			return have || r->in.err ? cut(r, NG_BLOCK_MIN, diag) : 0;
		}
		type = load32(r, capture_input_at(&r->in)); /* the same in both orders */
		if (type == NG_SECTION) {
			result = ng_section(r, diag);
			if (result) {
				return result;
			}
		}
		size = load32(r, capture_input_at(&r->in) + 4);
		if (size < NG_BLOCK_MIN || size % 4) {
			return bad(r, diag, "a block of %u bytes", PLACE(r), size);
		}
		if (type == NG_INTERFACE || type == NG_SIMPLE || type == NG_PACKET ||
		    type == NG_OLD_PACKET) {
			result = ng_block(r, p, type, size, diag);
			if (result < 0) {
				return result;
			}
			r->in.at += size;
		} else if (!capture_input_skip(&r->in, size)) {
			return cut(r, size, diag);
		}
		r->records++;
		if (result) {
			return result;
		}
	}
}

/* ---- either ---- */

int capture_reader_init(struct capture_reader *r, struct capture_input *in, struct bh_diag *diag)
{
	uint32_t magic;

	*r = (struct capture_reader){.in = *in};
	if (capture_input_have(&r->in, sizeof(magic)) < sizeof(magic)) {
		capture_reader_done(r);
		return bh_diag_set(diag, -EBADMSG, "no capture: it is empty");
	}
	memcpy(&magic, capture_input_at(&r->in), sizeof(magic));
	if (magic == NG_SECTION) {
		r->ng = true;
		return 0;
	}
	r->swapped = (magic & 0xff) == 0xa1;
	magic = r->swapped ? __builtin_bswap32(magic) : magic;
	if (magic != PCAP_MICRO && magic != PCAP_NANO && magic != PCAP_EXT) {
		capture_reader_done(r);
		return bh_diag_set(diag, -EBADMSG, "no capture: neither pcap nor pcapng");
	}
	if (pcap_header(r, magic, diag)) {
		capture_reader_done(r);
		return -EBADMSG;
	}
	return 0;
}

void capture_reader_done(struct capture_reader *r)
{
	capture_input_close(&r->in);
	bh_vec_done(&r->interfaces);
}

int capture_reader_next(struct capture_reader *r, struct gate_packet *p, struct bh_diag *diag)
{
	return r->ng ? ng_next(r, p, diag) : pcap_next(r, p, diag);
}
