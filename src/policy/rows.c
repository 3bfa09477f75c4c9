/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler.h"

void policy_rows_init(struct policy_rows *rows, size_t limit)
{
	memset(rows, 0, sizeof(*rows));
	rows->limit = limit;
	rows->index_size = 64;
	rows->index = bh_alloc_array(rows->index_size, sizeof(*rows->index));
}

void policy_rows_done(struct policy_rows *rows)
{
	free(rows->items);
	free(rows->index);
	memset(rows, 0, sizeof(*rows));
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

/* The slot of the key: its own or the free one where it would go. */
static size_t slot_of(const struct policy_rows *rows, uint32_t remote, uint16_t port, uint8_t proto,
		      uint8_t shape)
{
	uint64_t h =
		mix((uint64_t)remote << 32 | (uint64_t)port << 16 | (uint64_t)proto << 8 | shape);
	size_t mask = rows->index_size - 1;

	for (size_t i = h & mask;; i = (i + 1) & mask) {
		const struct policy_row *row;

		if (!rows->index[i]) {
			return i;
		}
		row = &rows->items[rows->index[i] - 1];
		if (row->remote == remote && row->port == port && row->proto == proto &&
		    row->shape == shape) {
			return i;
		}
	}
}

static void grow_index(struct policy_rows *rows)
{
	free(rows->index);
	rows->index_size *= 2;
	rows->index = bh_alloc_array(rows->index_size, sizeof(*rows->index));
	for (size_t i = 0; i < rows->count; i++) {
		const struct policy_row *r = &rows->items[i];

		rows->index[slot_of(rows, r->remote, r->port, r->proto, r->shape)] =
			(uint32_t)i + 1;
	}
}

void policy_rows_put(struct policy_rows *rows, const struct policy_row *row)
{
	size_t slot = slot_of(rows, row->remote, row->port, row->proto, row->shape);

	if (rows->index[slot]) {
		return;
	}
	if (rows->count >= rows->limit) {
		rows->full = true;
		return;
	}
	bh_vec_grow((void **)&rows->items, &rows->capacity, rows->count + 1, sizeof(*rows->items));
	rows->items[rows->count++] = *row;
	rows->index[slot] = (uint32_t)rows->count;
	if (rows->count * 2 > rows->index_size) {
		grow_index(rows);
	}
}

const struct policy_row *policy_rows_find(const struct policy_rows *rows, uint32_t remote,
					  uint16_t port, uint8_t proto, uint8_t shape)
{
	size_t slot = slot_of(rows, remote, port, proto, shape);

	return rows->index[slot] ? &rows->items[rows->index[slot] - 1] : NULL;
}

/* ---- class numbers ---- */
static bool number_used(const struct policy_numbers *numbers, uint32_t number, size_t *ret_slot)
{
	size_t mask = numbers->size - 1;
	size_t i = mix(number) & mask;

	while (numbers->slots[i] && numbers->slots[i] != number) {
		i = (i + 1) & mask;
	}
	*ret_slot = i;
	return numbers->slots[i];
}

uint32_t policy_numbers_take(struct policy_numbers *numbers, const void *key, size_t size)
{
	uint64_t h = 0xcbf29ce484222325ull;
	uint32_t number;
	size_t slot;

	for (size_t i = 0; i < size; i++) {
		h = (h ^ ((const uint8_t *)key)[i]) * 0x100000001b3ull;
	}
	number = (uint32_t)mix(h);
	if ((numbers->count + 1) * 2 > numbers->size) {
		uint32_t *old = numbers->slots;
		size_t old_size = numbers->size;

		numbers->size = old_size ? old_size * 2 : 64;
		numbers->slots = bh_alloc_array(numbers->size, sizeof(*numbers->slots));
		for (size_t i = 0; i < old_size; i++) {
			if (old[i] && !number_used(numbers, old[i], &slot)) {
				numbers->slots[slot] = old[i];
			}
		}
		free(old);
	}
	while (!number || number_used(numbers, number, &slot)) {
		number++;
	}
	numbers->slots[slot] = number;
	numbers->count++;
	return number;
}

void policy_numbers_done(struct policy_numbers *numbers)
{
	free(numbers->slots);
	memset(numbers, 0, sizeof(*numbers));
}
