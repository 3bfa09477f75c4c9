/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of one rule set keep for themselves while they are read: the numbers that are
 * taken, and the hash over all that was read. */
#include "gate/hash.h"
#include "gate/rules/reading.h"

#include <openssl/evp.h>

struct sid_entry {
	uint32_t gid, sid;
	size_t index; /* + 1; 0: free */
};

struct gate_rule_own {
	struct {
		struct sid_entry *items;
		size_t count, capacity;
	} sids;
	struct gate_hash_key key;
	EVP_MD_CTX *digest;
};

struct gate_rule_own *gate_own_new(void)
{
	struct gate_rule_own *own = bh_alloc(sizeof(*own));

	gate_hash_key_make(&own->key);
	own->digest = gate_digest_new();
	return own;
}

void gate_own_free(struct gate_rule_own *own)
{
	EVP_MD_CTX_free(own->digest);
	free(own->sids.items);
	free(own);
}

/* ---- numbers that are taken ---- */

static struct sid_entry *sid_slot(const struct gate_rule_own *own, uint32_t gid, uint32_t sid)
{
	const uint32_t numbers[] = {gid, sid};
	size_t mask = own->sids.capacity - 1;
	size_t i = gate_hash(&own->key, numbers, sizeof(numbers)) & mask;

	while (own->sids.items[i].index &&
	       (own->sids.items[i].gid != gid || own->sids.items[i].sid != sid)) {
		i = (i + 1) & mask;
	}
	return &own->sids.items[i];
}

size_t gate_own_sid(const struct gate_rule_own *own, uint32_t gid, uint32_t sid)
{
	return own->sids.capacity ? sid_slot(own, gid, sid)->index : 0;
}

void gate_own_keep_sid(struct gate_rule_own *own, uint32_t gid, uint32_t sid, size_t index)
{
	struct sid_entry *e;

	if (own->sids.count * 2 >= own->sids.capacity) {
		struct sid_entry *old = own->sids.items;
		size_t capacity = own->sids.capacity;

		own->sids.capacity = capacity ? capacity * 2 : 1024;
		own->sids.items = bh_alloc_array(own->sids.capacity, sizeof(*own->sids.items));
		for (size_t i = 0; i < capacity; i++) {
			if (old[i].index) {
				*sid_slot(own, old[i].gid, old[i].sid) = old[i];
			}
		}
		free(old);
	}
	e = sid_slot(own, gid, sid);
	own->sids.count += !e->index;
	*e = (struct sid_entry){.gid = gid, .sid = sid, .index = index};
}

/* ---- the hash of all that was read ---- */

EVP_MD_CTX *gate_digest_new(void)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();

	if (!digest || !EVP_DigestInit_ex(digest, EVP_sha256(), NULL)) {
		abort(); /* out of memory */
	}
	return digest;
}

void gate_digest_add(EVP_MD_CTX *digest, const void *data, size_t size)
{
	uint64_t prefix = size; /* so that "ab","c" is not "a","bc" */

	if (!EVP_DigestUpdate(digest, &prefix, sizeof(prefix)) ||
	    !EVP_DigestUpdate(digest, data, size)) {
		abort(); /* SHA-256 in memory can't fail */
	}
}

void gate_digest_get(const EVP_MD_CTX *digest, uint8_t ret[32])
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();

	if (!copy || !EVP_MD_CTX_copy_ex(copy, digest) || !EVP_DigestFinal_ex(copy, ret, NULL)) {
		abort(); /* out of memory */
	}
	EVP_MD_CTX_free(copy);
}

void gate_own_digest(struct gate_rule_own *own, const void *data, size_t size)
{
	gate_digest_add(own->digest, data, size);
}

void gate_own_digest_get(const struct gate_rule_own *own, uint8_t ret[32])
{
	gate_digest_get(own->digest, ret);
}
