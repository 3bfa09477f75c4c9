/* SPDX-License-Identifier: Apache-2.0 */
/* TCP with its options, UDP, SCTP, ESP. */
#include "gate/decode/checksum.h"
#include "gate/decode/decoder.h"

#define TCP_MIN	       20
#define UDP_SIZE       8
#define SCTP_SIZE      12
#define SCTP_CHUNK     4
#define SCTP_DATA_SIZE 16
#define SCTP_DATA      0
#define SCTP_INIT      1
#define ESP_SIZE       8

enum tcp_option {
	OPT_EOL = 0,
	OPT_NOP = 1,
	OPT_MSS = 2,
	OPT_WSCALE = 3,
	OPT_SACK_OK = 4,
	OPT_SACK = 5,
	OPT_TS = 8,
	OPT_MD5 = 19,
	OPT_AO = 29,
	OPT_TFO = 34,
};

/* What of the same kind has been seen. */
struct seen {
	bool sack, md5, ao, tfo;
};

/* Once, and of that size. */
static bool take(struct gate_packet *p, bool right_size, bool *seen)
{
	if (!right_size) {
		gate_packet_event(p, GATE_EVENT_TCP_OPT_INVALID_LEN);
		return false;
	}
	if (*seen) {
		gate_packet_event(p, GATE_EVENT_TCP_OPT_DUPLICATE);
		return false;
	}
	*seen = true;
	return true;
}

static void tcp_option(struct gate_packet *p, const uint8_t *opt, unsigned int len,
		       struct seen *seen)
{
	struct gate_tcp_options *o = &p->tcp_opts;

	switch (opt[0]) {
	case OPT_MSS:
		if (take(p, len == 4, &o->has_mss)) {
			o->mss = gate_be16(opt + 2);
		}
		break;
	case OPT_WSCALE:
		if (take(p, len == 3, &o->has_wscale)) {
			o->wscale = opt[2];
		}
		break;
	case OPT_SACK_OK:
		take(p, len == 2, &o->has_sack_ok);
		break;
	case OPT_TS:
		if (take(p, len == 10, &o->has_ts)) {
			o->ts = gate_be32(opt + 2);
			o->ts_echo = gate_be32(opt + 6);
		}
		break;
	case OPT_SACK:
		/* an empty one is seen and harmless */
		if (take(p, len == 2 || (len >= 10 && len <= 34 && !((len - 2) % 8)),
			 &seen->sack)) {
			o->sack_count = (uint8_t)((len - 2) / 8);
			o->sacks = opt + 2;
		}
		break;
	case OPT_MD5:
		take(p, len == 18, &seen->md5);
		break;
	case OPT_AO:
		take(p, len >= 4, &seen->ao);
		break;
	case OPT_TFO:
		take(p, len == 2 || (len >= 6 && len <= 18 && !(len & 1)), &seen->tfo);
		break;
	default:
		break;
	}
}

static void tcp_options(struct gate_packet *p, const uint8_t *data, unsigned int size)
{
	struct seen seen = {};

	while (size && data[0] != OPT_EOL) {
		if (data[0] == OPT_NOP) {
			data++;
			size--;
			continue;
		}
		if (size < 2) {
			return;
		}
		if (data[1] < 2 || data[1] > size) {
			gate_packet_event(p, GATE_EVENT_TCP_OPT_INVALID_LEN);
			return;
		}
		tcp_option(p, data, data[1], &seen);
		size -= data[1];
		data += data[1];
	}
}

/* What nearly every segment has, RFC 7323 appendix A: NOP, NOP, timestamps. */
static bool only_timestamps(struct gate_packet *p, const uint8_t *data, unsigned int size)
{
	if (size != 12 || gate_be32(data) != 0x0101080a) {
		return false;
	}
	p->tcp_opts.has_ts = true;
	p->tcp_opts.ts = gate_be32(data + 4);
	p->tcp_opts.ts_echo = gate_be32(data + 8);
	return true;
}

void decode_tcp(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	unsigned int header;

	if (size < TCP_MIN) {
		decode_invalid(p, GATE_EVENT_TCP_PKT_TOO_SMALL);
		return;
	}
	header = (data[12] >> 4) * 4u;
	if (header < TCP_MIN || header > size) {
		decode_invalid(p, GATE_EVENT_TCP_HLEN_TOO_SMALL);
		return;
	}
	p->tcp = (const gate_tcphdr *)data;
	p->sport = gate_be16(data);
	p->dport = gate_be16(data + 2);
	p->l4_size = header;
	p->payload = (struct gate_view){data + header, size - header};
	if (header > TCP_MIN && !only_timestamps(p, data + TCP_MIN, header - TCP_MIN)) {
		tcp_options(p, data + TCP_MIN, header - TCP_MIN);
	}
	if (d->check_tcp && !p->unsummed && !gate_checksum_l4_ok(p)) {
		p->flags |= GATE_PKT_BAD_CSUM;
	}
}

void decode_udp(struct gate_decoder *d, struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	uint32_t length;

	if (size < UDP_SIZE) {
		decode_invalid(p, GATE_EVENT_UDP_HLEN_TOO_SMALL);
		return;
	}
	length = gate_be16(data + 4);
	if (length > size) {
		decode_invalid(p, GATE_EVENT_UDP_PKT_TOO_SMALL);
		return;
	}
	if (length < UDP_SIZE) {
		decode_invalid(p, GATE_EVENT_UDP_LEN_INVALID);
		return;
	}
	p->udp = (const gate_udphdr *)data;
	p->sport = gate_be16(data);
	p->dport = gate_be16(data + 2);
	p->l4_size = UDP_SIZE;
	p->payload = (struct gate_view){data + UDP_SIZE, length - UDP_SIZE};
	decode_udp_tunnel(d, p);
}

struct gate_view gate_sctp_bytes(const struct gate_packet *p)
{
	return (struct gate_view){p->sctp, (uint32_t)(p->l3.data + p->l3.size - p->sctp)};
}

bool gate_sctp_next(const struct gate_packet *p, uint32_t *at, struct gate_sctp_chunk *ret)
{
	struct gate_view all = gate_sctp_bytes(p);
	uint32_t from = SCTP_SIZE + *at, len, least;
	const uint8_t *chunk = all.data + from;

	if (from > all.size || all.size - from < SCTP_CHUNK) {
		return false;
	}
	len = gate_be16(chunk + 2);
	least = chunk[0] == SCTP_DATA ? SCTP_DATA_SIZE : SCTP_CHUNK;
	if (len < least || len > all.size - from) {
		return false;
	}
	ret->type = chunk[0];
	ret->user = ret->type == SCTP_DATA
			    ? (struct gate_view){chunk + SCTP_DATA_SIZE, len - SCTP_DATA_SIZE}
			    : (struct gate_view){};
	/* the last one need not be padded */
	len = (len + 3) & ~3u;
	*at += len < all.size - from ? len : all.size - from;
	return true;
}

/* The payload is the user's data of the first chunk that has some; without one it is all chunks. */
static void sctp_chunks(struct gate_packet *p)
{
	uint32_t tag = gate_be32(p->sctp + 4), at = 0, size = gate_sctp_bytes(p).size - SCTP_SIZE;
	unsigned int count = 0, inits = 0, datas = 0;
	struct gate_sctp_chunk chunk;

	for (; gate_sctp_next(p, &at, &chunk); count++) {
		if (chunk.type == SCTP_DATA && !datas++) {
			p->payload = chunk.user;
		}
		inits += chunk.type == SCTP_INIT;
	}
	if (size - at >= SCTP_CHUNK) {
		gate_packet_event(p, GATE_EVENT_SCTP_CHUNK_LEN_INVALID);
		return;
	}
	if (at < size) {
		gate_packet_event(p, GATE_EVENT_SCTP_CHUNK_TOO_SMALL);
	}
	if (inits && count > 1) {
		gate_packet_event(p, GATE_EVENT_SCTP_INIT_CHUNK_NOT_ALONE);
	}
	if (inits && tag) {
		gate_packet_event(p, GATE_EVENT_SCTP_INIT_WITH_NON_ZERO_VTAG);
	}
	if (datas && !tag) {
		gate_packet_event(p, GATE_EVENT_SCTP_DATA_WITH_ZERO_VTAG);
	}
}

void decode_sctp(struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	if (size < SCTP_SIZE) {
		decode_invalid(p, GATE_EVENT_SCTP_PKT_TOO_SMALL);
		return;
	}
	p->sctp = data;
	p->sport = gate_be16(data);
	p->dport = gate_be16(data + 2);
	p->l4_size = SCTP_SIZE;
	p->payload = (struct gate_view){data + SCTP_SIZE, size - SCTP_SIZE};
	sctp_chunks(p);
}

void decode_esp(struct gate_packet *p, const uint8_t *data, uint32_t size)
{
	if (size < ESP_SIZE) {
		decode_invalid(p, GATE_EVENT_ESP_PKT_TOO_SMALL);
		return;
	}
	p->l4_size = ESP_SIZE;
	p->payload = (struct gate_view){data + ESP_SIZE, size - ESP_SIZE};
}
