/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/spool_format.h"

#include <endian.h>
#include <errno.h>
#include <sodium/crypto_shorthash.h>
#include <string.h>

static const char state_magic[8] = "BHSPOOL1";
static const char segment_magic[8] = "BHSEGM01";
static const uint8_t no_key[16];

static uint64_t check_of(const void *data, size_t size, const uint8_t key[16])
{
	uint8_t out[crypto_shorthash_BYTES];
	uint64_t v;

	_Static_assert(crypto_shorthash_BYTES == sizeof(v), "SipHash-2-4 has 64 bits");
	_Static_assert(crypto_shorthash_KEYBYTES == 16, "and a key of 128");
	crypto_shorthash(out, data, size, key);
	memcpy(&v, out, sizeof(v));
	return v;
}

/* Writes what was built, zeros up to size less 8, and the check. */
static void seal(struct bh_wbuf *w, uint8_t *ret, size_t size)
{
	uint64_t check;

	memset(ret, 0, size);
	memcpy(ret, w->data, w->size < size - 8 ? w->size : size - 8);
	check = check_of(ret, size - 8, no_key);
	memcpy(ret + size - 8, &check, sizeof(check));
	bh_wbuf_done(w);
}

static bool sealed(const uint8_t *data, size_t size, const char magic[8])
{
	uint64_t check;

	memcpy(&check, data + size - 8, sizeof(check));
	return !memcmp(data, magic, 8) && check == check_of(data, size - 8, no_key);
}

void bh_spool_state_encode(const struct bh_spool_state *state, uint8_t slot[BH_SPOOL_SLOT_SIZE])
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, BH_SPOOL_SLOT_SIZE - 8);
	bh_wbuf_put(&w, state_magic, sizeof(state_magic));
	bh_wbuf_u64(&w, state->generation);
	bh_wbuf_put(&w, state->epoch, sizeof(state->epoch));
	bh_wbuf_u64(&w, state->head_index);
	bh_wbuf_u64(&w, state->ack_index);
	bh_wbuf_u64(&w, state->ack_offset);
	bh_wbuf_u64(&w, state->lost_from);
	bh_wbuf_u64(&w, state->lost_to);
	bh_wbuf_u8(&w, state->lost_reason);
	bh_wbuf_u8(&w, state->clean);
	bh_wbuf_put(&w, state->boot_id, sizeof(state->boot_id));
	seal(&w, slot, BH_SPOOL_SLOT_SIZE);
}

static void slot_read(const uint8_t *slot, struct bh_spool_state *ret)
{
	struct bh_rbuf r;

	memset(ret, 0, sizeof(*ret));
	bh_rbuf_init(&r, slot + sizeof(state_magic), BH_SPOOL_SLOT_SIZE - sizeof(state_magic));
	ret->generation = bh_rbuf_u64(&r);
	bh_rbuf_copy(&r, ret->epoch, sizeof(ret->epoch));
	ret->head_index = bh_rbuf_u64(&r);
	ret->ack_index = bh_rbuf_u64(&r);
	ret->ack_offset = bh_rbuf_u64(&r);
	ret->lost_from = bh_rbuf_u64(&r);
	ret->lost_to = bh_rbuf_u64(&r);
	ret->lost_reason = bh_rbuf_u8(&r);
	ret->clean = bh_rbuf_u8(&r) == 1;
	bh_rbuf_copy(&r, ret->boot_id, sizeof(ret->boot_id));
	ret->boot_id[sizeof(ret->boot_id) - 1] = '\0';
	if (ret->head_index > UINT64_MAX / 2 || ret->ack_index > UINT64_MAX / 2) {
		ret->head_index = 0;
		ret->ack_index = 0;
	}
	if (ret->lost_from > ret->lost_to || ret->lost_to >= BH_EVENT_SEQ_MAX) {
		ret->lost_from = 0;
		ret->lost_to = 0;
	}
}

int bh_spool_state_decode(const void *slots, size_t size, struct bh_spool_state *ret_state)
{
	const uint8_t *slot = slots;
	struct bh_spool_state state;
	bool found = false;

	for (int i = 0; i < 2 && size >= BH_SPOOL_SLOT_SIZE; i++) {
		if (sealed(slot, BH_SPOOL_SLOT_SIZE, state_magic)) {
			slot_read(slot, &state);
			if (!found || state.generation > ret_state->generation) {
				*ret_state = state;
			}
			found = true;
		}
		slot += BH_SPOOL_SLOT_SIZE;
		size -= BH_SPOOL_SLOT_SIZE;
	}
	return found ? 0 : -EBADMSG;
}

void bh_spool_header_encode(const struct bh_spool_header *header, uint8_t buf[BH_SPOOL_HEADER_SIZE])
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, BH_SPOOL_HEADER_SIZE - 8);
	bh_wbuf_put(&w, segment_magic, sizeof(segment_magic));
	bh_wbuf_u64(&w, header->index);
	bh_wbuf_u64(&w, header->first_seq);
	bh_wbuf_put(&w, header->epoch, sizeof(header->epoch));
	seal(&w, buf, BH_SPOOL_HEADER_SIZE);
}

int bh_spool_header_read(struct bh_rbuf *r, struct bh_spool_header *ret_header)
{
	const uint8_t *data = bh_rbuf_take(r, BH_SPOOL_HEADER_SIZE);
	struct bh_rbuf h;

	if (!data || !sealed(data, BH_SPOOL_HEADER_SIZE, segment_magic)) {
		return -EBADMSG;
	}
	bh_rbuf_init(&h, data + sizeof(segment_magic),
		     BH_SPOOL_HEADER_SIZE - sizeof(segment_magic));
	ret_header->index = bh_rbuf_u64(&h);
	ret_header->first_seq = bh_rbuf_u64(&h);
	bh_rbuf_copy(&h, ret_header->epoch, sizeof(ret_header->epoch));
	if (!ret_header->first_seq || ret_header->first_seq > BH_EVENT_SEQ_MAX) {
		return -EBADMSG;
	}
	return 0;
}

void bh_spool_record_seal(uint8_t *record, const uint8_t epoch[16], uint64_t seq, uint32_t size)
{
	uint64_t check;
	uint32_t le_size = htole32(size);
	uint64_t le_seq = htole64(seq);

	memcpy(record + 8, &le_size, sizeof(le_size));
	memcpy(record + 12, &le_seq, sizeof(le_seq));
	check = check_of(record + 8, BH_SPOOL_RECORD_HEAD - 8 + size, epoch);
	memcpy(record, &check, sizeof(check));
}

int bh_spool_record_read(struct bh_rbuf *r, const uint8_t epoch[16], uint64_t after,
			 struct bh_spool_record *ret_record)
{
	struct bh_rbuf t = *r;
	uint64_t check;
	const uint8_t *covered;

	bh_rbuf_copy(&t, &check, sizeof(check));
	covered = t.data + t.pos;
	ret_record->size = bh_rbuf_u32(&t);
	ret_record->seq = bh_rbuf_u64(&t);
	if (t.err || !ret_record->size || ret_record->size > BH_EVENT_SIZE_MAX) {
		return -EBADMSG;
	}
	ret_record->data = bh_rbuf_take(&t, ret_record->size);
	if (!ret_record->data || ret_record->seq <= after || ret_record->seq > BH_EVENT_SEQ_MAX ||
	    memchr(ret_record->data, '\n', ret_record->size) ||
	    check != check_of(covered, BH_SPOOL_RECORD_HEAD - 8 + ret_record->size, epoch)) {
		return -EBADMSG;
	}
	r->pos = t.pos;
	return 0;
}
