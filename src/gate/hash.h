/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash of tables whose keys others choose, in traffic or in rules: SipHash with a key that each
 * table makes for itself, so that nobody can make his keys meet in one chain.
 */
#ifndef BH_GATE_HASH_H
#define BH_GATE_HASH_H

#include <sodium/crypto_shorthash.h>
#include <sodium/randombytes.h>
#include <stddef.h>
#include <stdint.h>

struct gate_hash_key {
	uint8_t bytes[crypto_shorthash_KEYBYTES];
};

static inline void gate_hash_key_make(struct gate_hash_key *key)
{
	randombytes_buf(key->bytes, sizeof(key->bytes));
}

static inline uint64_t gate_hash(const struct gate_hash_key *key, const void *data, size_t size)
{
	uint64_t hash;

	_Static_assert(crypto_shorthash_BYTES == sizeof(hash), "SipHash-2-4 has 64 bits");
	crypto_shorthash((uint8_t *)&hash, data, size, key->bytes);
	return hash;
}

#endif
