/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records, their wire form and hash, segments and images. Deltas are in delta.c.
 */
#include "model/image.h"

#include "base/util.h"
#include "model/segment_internal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <uthash.h>

/* ---- wire form of records ---- */

static void put_key(struct bh_wbuf *w, const struct bh_rec *rec)
{
	bh_wbuf_u8(w, (uint8_t)rec->type);
	switch (rec->type) {
	case BH_REC_NIC:
		bh_wbuf_put(w, rec->nic.vm, 16);
		bh_wbuf_put(w, rec->nic.mac, 6);
		break;
	case BH_REC_NIC_ADDR:
		bh_wbuf_put(w, rec->nic_addr.vm, 16);
		bh_wbuf_put(w, rec->nic_addr.mac, 6);
		bh_wbuf_put(w, rec->nic_addr.addr, 16);
		break;
	case BH_REC_NIC_VLAN:
		bh_wbuf_put(w, rec->nic_vlan.vm, 16);
		bh_wbuf_put(w, rec->nic_vlan.mac, 6);
		bh_wbuf_u32(w, rec->nic_vlan.vlan);
		break;
	case BH_REC_ADDR:
		bh_wbuf_u32(w, rec->addr.net);
		bh_wbuf_u32(w, rec->addr.vlan);
		bh_wbuf_put(w, rec->addr.addr, 16);
		break;
	case BH_REC_SET:
		bh_wbuf_u32(w, rec->set.set);
		break;
	case BH_REC_ROW:
		bh_wbuf_u32(w, rec->row.set);
		bh_wbuf_u32(w, rec->row.remote);
		bh_wbuf_u16(w, rec->row.port);
		bh_wbuf_u8(w, rec->row.proto);
		bh_wbuf_u8(w, rec->row.shape);
		break;
	case BH_REC_CIDR:
		bh_wbuf_u32(w, rec->cidr.set);
		bh_wbuf_u8(w, rec->cidr.prefix_bits);
		bh_wbuf_put(w, rec->cidr.addr, 16);
		break;
	case BH_REC_RANGE:
		bh_wbuf_u32(w, rec->range.set);
		bh_wbuf_u8(w, rec->range.proto);
		bh_wbuf_u8(w, rec->range.prefix_bits);
		bh_wbuf_u16(w, rec->range.port);
		break;
	}
}

static void put_value(struct bh_wbuf *w, const struct bh_rec *rec)
{
	switch (rec->type) {
	case BH_REC_NIC:
		bh_wbuf_u32(w, rec->nic.net);
		bh_wbuf_u32(w, rec->nic.identity);
		bh_wbuf_u32(w, rec->nic.tenant);
		bh_wbuf_u32(w, rec->nic.flags);
		break;
	case BH_REC_NIC_ADDR:
	case BH_REC_NIC_VLAN:
		break;
	case BH_REC_ADDR:
		bh_wbuf_u32(w, rec->addr.identity);
		bh_wbuf_u32(w, rec->addr.tenant);
		break;
	case BH_REC_SET:
		bh_wbuf_u32(w, rec->set.default_rule);
		bh_wbuf_u16(w, rec->set.mask);
		bh_wbuf_u8(w, rec->set.default_action);
		bh_wbuf_u8(w, rec->set.default_flags);
		break;
	case BH_REC_ROW:
		bh_wbuf_u32(w, rec->row.rule);
		bh_wbuf_u32(w, rec->row.rank);
		bh_wbuf_u8(w, rec->row.action);
		bh_wbuf_u8(w, rec->row.flags);
		break;
	case BH_REC_CIDR:
		bh_wbuf_u32(w, rec->cidr.class_id);
		break;
	case BH_REC_RANGE:
		bh_wbuf_u32(w, rec->range.class_id);
		break;
	}
}

/* Writes a small part into a fixed array without touching the heap: the buffer only borrows it. */
static size_t in_place(const struct bh_rec *rec, uint8_t *out, size_t size,
		       void (*put)(struct bh_wbuf *, const struct bh_rec *))
{
	struct bh_wbuf w = {.data = out, .capacity = size, .limit = size};

	put(&w, rec);
	return w.size;
}

size_t bh_rec_key(const struct bh_rec *rec, uint8_t ret_key[BH_REC_KEY_MAX])
{
	return in_place(rec, ret_key, BH_REC_KEY_MAX, put_key);
}

size_t bh_rec_value(const struct bh_rec *rec, uint8_t ret_value[BH_REC_VALUE_MAX])
{
	return in_place(rec, ret_value, BH_REC_VALUE_MAX, put_value);
}

void bh_rec_write(struct bh_wbuf *w, const struct bh_rec *rec)
{
	put_key(w, rec);
	put_value(w, rec);
}

void bh_rec_read_key(struct bh_rbuf *r, struct bh_rec *ret_rec)
{
	memset(ret_rec, 0, sizeof(*ret_rec));
	ret_rec->type = bh_rbuf_u8(r);
	switch (ret_rec->type) {
	case BH_REC_NIC:
		bh_rbuf_copy(r, ret_rec->nic.vm, 16);
		bh_rbuf_copy(r, ret_rec->nic.mac, 6);
		break;
	case BH_REC_NIC_ADDR:
		bh_rbuf_copy(r, ret_rec->nic_addr.vm, 16);
		bh_rbuf_copy(r, ret_rec->nic_addr.mac, 6);
		bh_rbuf_copy(r, ret_rec->nic_addr.addr, 16);
		break;
	case BH_REC_NIC_VLAN:
		bh_rbuf_copy(r, ret_rec->nic_vlan.vm, 16);
		bh_rbuf_copy(r, ret_rec->nic_vlan.mac, 6);
		ret_rec->nic_vlan.vlan = bh_rbuf_u32(r);
		break;
	case BH_REC_ADDR:
		ret_rec->addr.net = bh_rbuf_u32(r);
		ret_rec->addr.vlan = bh_rbuf_u32(r);
		bh_rbuf_copy(r, ret_rec->addr.addr, 16);
		break;
	case BH_REC_SET:
		ret_rec->set.set = bh_rbuf_u32(r);
		break;
	case BH_REC_ROW:
		ret_rec->row.set = bh_rbuf_u32(r);
		ret_rec->row.remote = bh_rbuf_u32(r);
		ret_rec->row.port = bh_rbuf_u16(r);
		ret_rec->row.proto = bh_rbuf_u8(r);
		ret_rec->row.shape = bh_rbuf_u8(r);
		break;
	case BH_REC_CIDR:
		ret_rec->cidr.set = bh_rbuf_u32(r);
		ret_rec->cidr.prefix_bits = bh_rbuf_u8(r);
		bh_rbuf_copy(r, ret_rec->cidr.addr, 16);
		break;
	case BH_REC_RANGE:
		ret_rec->range.set = bh_rbuf_u32(r);
		ret_rec->range.proto = bh_rbuf_u8(r);
		ret_rec->range.prefix_bits = bh_rbuf_u8(r);
		ret_rec->range.port = bh_rbuf_u16(r);
		break;
	default:
		r->err = -EBADMSG;
	}
}

static void read_value(struct bh_rbuf *r, struct bh_rec *rec)
{
	switch (rec->type) {
	case BH_REC_NIC:
		rec->nic.net = bh_rbuf_u32(r);
		rec->nic.identity = bh_rbuf_u32(r);
		rec->nic.tenant = bh_rbuf_u32(r);
		rec->nic.flags = bh_rbuf_u32(r);
		break;
	case BH_REC_NIC_ADDR:
	case BH_REC_NIC_VLAN:
		break;
	case BH_REC_ADDR:
		rec->addr.identity = bh_rbuf_u32(r);
		rec->addr.tenant = bh_rbuf_u32(r);
		break;
	case BH_REC_SET:
		rec->set.default_rule = bh_rbuf_u32(r);
		rec->set.mask = bh_rbuf_u16(r);
		rec->set.default_action = bh_rbuf_u8(r);
		rec->set.default_flags = bh_rbuf_u8(r);
		break;
	case BH_REC_ROW:
		rec->row.rule = bh_rbuf_u32(r);
		rec->row.rank = bh_rbuf_u32(r);
		rec->row.action = bh_rbuf_u8(r);
		rec->row.flags = bh_rbuf_u8(r);
		break;
	case BH_REC_CIDR:
		rec->cidr.class_id = bh_rbuf_u32(r);
		break;
	case BH_REC_RANGE:
		rec->range.class_id = bh_rbuf_u32(r);
		break;
	}
}

static bool bits_behind_prefix_zero(const uint8_t *p, unsigned int prefix_bits, unsigned int bits)
{
	for (unsigned int i = prefix_bits; i < bits; i++) {
		if (p[i / 8] & (0x80u >> (i % 8))) {
			return false;
		}
	}
	return true;
}

static bool action_valid(uint8_t action)
{
	return action >= 1 && action <= 3;
}

/* The documented ranges: what passes here can be put into the kernel's maps as it is. */
bool bh_rec_valid(const struct bh_rec *rec)
{
	uint8_t port[2];

	switch (rec->type) {
	case BH_REC_SET:
		return action_valid(rec->set.default_action) && rec->set.default_flags <= 1;
	case BH_REC_ROW:
		return action_valid(rec->row.action) && rec->row.flags <= 1 && rec->row.shape < 16;
	case BH_REC_CIDR:
		return rec->cidr.prefix_bits <= 128 &&
		       bits_behind_prefix_zero(rec->cidr.addr, rec->cidr.prefix_bits, 128);
	case BH_REC_RANGE:
		port[0] = (uint8_t)(rec->range.port >> 8);
		port[1] = (uint8_t)rec->range.port;
		return rec->range.prefix_bits <= 16 &&
		       bits_behind_prefix_zero(port, rec->range.prefix_bits, 16);
	default:
		return true;
	}
}

void bh_rec_read(struct bh_rbuf *r, struct bh_rec *ret_rec)
{
	bh_rec_read_key(r, ret_rec);
	read_value(r, ret_rec);
	if (!bh_rec_valid(ret_rec)) {
		r->err = -EBADMSG;
	}
}

/* ---- hash ---- */

void bh_hash_add(struct bh_hash *sum, const struct bh_hash *h)
{
	unsigned int carry = 0;

	for (size_t i = 0; i < BH_HASH_SIZE; i++) {
		carry += (unsigned int)sum->bytes[i] + h->bytes[i];
		sum->bytes[i] = (uint8_t)carry;
		carry >>= 8;
	}
}

void bh_hash_sub(struct bh_hash *sum, const struct bh_hash *h)
{
	int borrow = 0;

	for (size_t i = 0; i < BH_HASH_SIZE; i++) {
		int d = (int)sum->bytes[i] - h->bytes[i] - borrow;

		borrow = d < 0;
		sum->bytes[i] = (uint8_t)d;
	}
}

bool bh_hash_equal(const struct bh_hash *a, const struct bh_hash *b)
{
	return !memcmp(a->bytes, b->bytes, BH_HASH_SIZE);
}

void bh_hash_format(const struct bh_hash *h, char ret_hex[2 * BH_HASH_SIZE + 1])
{
	bh_hex_format(h->bytes, BH_HASH_SIZE, ret_hex);
}

int bh_hash_parse(const char *hex, struct bh_hash *ret)
{
	return bh_hex_parse(hex, ret->bytes, BH_HASH_SIZE);
}

struct bh_hasher {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
};

struct bh_hasher *bh_hasher_new(void)
{
	struct bh_hasher *hasher = bh_alloc(sizeof(*hasher));

	hasher->md = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	hasher->ctx = EVP_MD_CTX_new();
	if (!hasher->md || !hasher->ctx) {
		abort();
	}
	return hasher;
}

void bh_hasher_free(struct bh_hasher *hasher)
{
	if (hasher) {
		EVP_MD_CTX_free(hasher->ctx);
		EVP_MD_free(hasher->md);
		free(hasher);
	}
}

void bh_hasher_bytes(struct bh_hasher *hasher, const void *data, size_t size, struct bh_hash *ret)
{
	if (!EVP_DigestInit_ex2(hasher->ctx, hasher->md, NULL) ||
	    !EVP_DigestUpdate(hasher->ctx, data, size) ||
	    !EVP_DigestFinal_ex(hasher->ctx, ret->bytes, NULL)) {
		abort();
	}
}

void bh_hasher_rec(struct bh_hasher *hasher, const struct bh_rec *rec, struct bh_hash *ret)
{
	uint8_t wire[BH_REC_KEY_MAX + BH_REC_VALUE_MAX];
	size_t n = bh_rec_key(rec, wire);

	n += bh_rec_value(rec, wire + n);
	bh_hasher_bytes(hasher, wire, n, ret);
}

void bh_hash_of_rec(const struct bh_rec *rec, struct bh_hash *ret)
{
	struct bh_hasher *hasher = bh_hasher_new();

	bh_hasher_rec(hasher, rec, ret);
	bh_hasher_free(hasher);
}

/* ---- segments ---- */

struct bh_segment *bh_segment_new(const char *name)
{
	struct bh_segment *seg = bh_alloc(sizeof(*seg));

	if (strlen(name) >= sizeof(seg->name)) {
		abort();
	}
	strcpy(seg->name, name);
	seg->refs = 1;
	return seg;
}

void bh_segment_add(struct bh_segment *seg, const struct bh_rec *rec)
{
	if (seg->sealed) {
		abort();
	}
	*bh_vec_push(&seg->recs) = *rec;
}

/* Numbers stand little-endian in the wire form of a key, and its bytes give the order: the lowest
 * byte decides first, on a host of either byte order. */
static int order_u32(uint32_t a, uint32_t b)
{
	a = __builtin_bswap32(a);
	b = __builtin_bswap32(b);
	return (a > b) - (a < b);
}

static int order_u16(uint16_t a, uint16_t b)
{
	return order_u32(a, b);
}

static int order_vm_mac(const uint8_t vm_a[16], const uint8_t vm_b[16], const uint8_t mac_a[6],
			const uint8_t mac_b[6])
{
	int c = memcmp(vm_a, vm_b, 16);

	return c ? c : memcmp(mac_a, mac_b, 6);
}

static int order_row(const struct bh_rec_row *a, const struct bh_rec_row *b)
{
	int c = order_u32(a->set, b->set);

	c = c ? c : order_u32(a->remote, b->remote);
	c = c ? c : order_u16(a->port, b->port);
	c = c ? c : (int)a->proto - b->proto;
	return c ? c : (int)a->shape - b->shape;
}

static int order_range(const struct bh_rec_range *a, const struct bh_rec_range *b)
{
	int c = order_u32(a->set, b->set);

	c = c ? c : (int)a->proto - b->proto;
	c = c ? c : (int)a->prefix_bits - b->prefix_bits;
	return c ? c : order_u16(a->port, b->port);
}

/* The order of the bytes that put_key() writes, without writing them: sorting a large segment would
 * spend its time there. test_image compares both. */
int bh_rec_key_compare(const struct bh_rec *a, const struct bh_rec *b)
{
	int c;

	if (a->type != b->type) {
		return a->type < b->type ? -1 : 1;
	}
	switch (a->type) {
	case BH_REC_NIC:
		return order_vm_mac(a->nic.vm, b->nic.vm, a->nic.mac, b->nic.mac);
	case BH_REC_NIC_ADDR:
		c = order_vm_mac(a->nic_addr.vm, b->nic_addr.vm, a->nic_addr.mac, b->nic_addr.mac);
		return c ? c : memcmp(a->nic_addr.addr, b->nic_addr.addr, 16);
	case BH_REC_NIC_VLAN:
		c = order_vm_mac(a->nic_vlan.vm, b->nic_vlan.vm, a->nic_vlan.mac, b->nic_vlan.mac);
		return c ? c : order_u32(a->nic_vlan.vlan, b->nic_vlan.vlan);
	case BH_REC_ADDR:
		c = order_u32(a->addr.net, b->addr.net);
		c = c ? c : order_u32(a->addr.vlan, b->addr.vlan);
		return c ? c : memcmp(a->addr.addr, b->addr.addr, 16);
	case BH_REC_SET:
		return order_u32(a->set.set, b->set.set);
	case BH_REC_ROW:
		return order_row(&a->row, &b->row);
	case BH_REC_CIDR:
		c = order_u32(a->cidr.set, b->cidr.set);
		c = c ? c : (int)a->cidr.prefix_bits - b->cidr.prefix_bits;
		return c ? c : memcmp(a->cidr.addr, b->cidr.addr, 16);
	case BH_REC_RANGE:
		return order_range(&a->range, &b->range);
	}
	return 0;
}

static int compare_recs(const void *a, const void *b)
{
	return bh_rec_key_compare(a, b);
}

static void hash_segment(struct bh_segment *seg)
{
	struct bh_hasher *hasher = bh_hasher_new();
	struct bh_hash h;

	bh_vec_foreach (rec, &seg->recs) {
		bh_hasher_rec(hasher, rec, &h);
		bh_hash_add(&seg->hash, &h);
		seg->counts[rec->type]++;
	}
	bh_hasher_free(hasher);
}

int bh_segment_seal(struct bh_segment *seg, struct bh_diag *diag)
{
	/* recs may already stand in order, as they do when a delta was applied */
	for (size_t i = 1; i < seg->recs.count; i++) {
		if (compare_recs(&seg->recs.items[i - 1], &seg->recs.items[i]) > 0) {
			qsort(seg->recs.items, seg->recs.count, sizeof(*seg->recs.items),
			      compare_recs);
			break;
		}
	}
	for (size_t i = 1; i < seg->recs.count; i++) {
		const struct bh_rec *rec = &seg->recs.items[i];

		if (!compare_recs(rec - 1, rec)) {
			char hex[2 * BH_REC_KEY_MAX + 1];
			uint8_t key[BH_REC_KEY_MAX];

			bh_hex_format(key, bh_rec_key(rec, key), hex);
			return bh_diag_set(diag, -EEXIST, "segment %s holds the key %s twice",
					   seg->name, hex);
		}
	}
	hash_segment(seg);
	seg->sealed = true;
	return 0;
}

struct bh_segment *bh_segment_ref(struct bh_segment *seg)
{
	seg->refs++;
	return seg;
}

void bh_segment_unref(struct bh_segment *seg)
{
	if (seg && !--seg->refs) {
		bh_vec_done(&seg->recs);
		free(seg);
	}
}

const char *bh_segment_vm(const char *uuid, char buf[BH_SEGMENT_NAME_MAX])
{
	snprintf(buf, BH_SEGMENT_NAME_MAX, "vm:%s", uuid);
	return buf;
}

const char *bh_segment_net(uint32_t net, char buf[BH_SEGMENT_NAME_MAX])
{
	snprintf(buf, BH_SEGMENT_NAME_MAX, "net:%u", net);
	return buf;
}

const char *bh_segment_set(uint32_t identity, unsigned int dir, char buf[BH_SEGMENT_NAME_MAX])
{
	snprintf(buf, BH_SEGMENT_NAME_MAX, "set:%u.%u", identity, dir);
	return buf;
}

const char *bh_segment_name(const struct bh_segment *seg)
{
	return seg->name;
}

const struct bh_hash *bh_segment_hash(const struct bh_segment *seg)
{
	return &seg->hash;
}

size_t bh_segment_count(const struct bh_segment *seg)
{
	return seg->recs.count;
}

const struct bh_rec *bh_segment_at(const struct bh_segment *seg, size_t i)
{
	return &seg->recs.items[i];
}

size_t bh_segment_count_of(const struct bh_segment *seg, enum bh_rec_type type)
{
	return seg->counts[type];
}

/* ---- images ---- */

struct entry {
	struct bh_segment *seg;
	UT_hash_handle hh;
};

struct bh_image {
	struct entry *entries; /* uthash by segment name */
	struct bh_hash hash;
	size_t counts[BH_REC_TYPE_MAX + 1];
};

struct bh_image *bh_image_new(void)
{
	return bh_alloc(sizeof(struct bh_image));
}

static void account(struct bh_image *image, const struct bh_segment *seg, bool add)
{
	(add ? bh_hash_add : bh_hash_sub)(&image->hash, &seg->hash);
	for (size_t t = 0; t <= BH_REC_TYPE_MAX; t++) {
		image->counts[t] += add ? seg->counts[t] : -seg->counts[t];
	}
}

static void drop_entry(struct bh_image *image, struct entry *e)
{
	HASH_DEL(image->entries, e);
	account(image, e->seg, false);
	bh_segment_unref(e->seg);
	free(e);
}

void bh_image_free(struct bh_image *image)
{
	struct entry *e, *next;

	if (!image) {
		return;
	}
	HASH_ITER (hh, image->entries, e, next) {
		drop_entry(image, e);
	}
	free(image);
}

void bh_image_drop(struct bh_image *image, const char *name)
{
	struct entry *e;

	HASH_FIND_STR(image->entries, name, e);
	if (e) {
		drop_entry(image, e);
	}
}

void bh_image_set(struct bh_image *image, struct bh_segment *seg)
{
	struct entry *e = bh_alloc(sizeof(*e));

	if (!seg->sealed) {
		abort();
	}
	e->seg = bh_segment_ref(seg);
	bh_image_drop(image, seg->name);
	HASH_ADD_KEYPTR(hh, image->entries, e->seg->name, strlen(e->seg->name), e);
	account(image, seg, true);
}

struct bh_segment *bh_image_get(const struct bh_image *image, const char *name)
{
	struct entry *e;

	HASH_FIND_STR(image->entries, name, e);
	return e ? e->seg : NULL;
}

const struct bh_hash *bh_image_hash(const struct bh_image *image)
{
	return &image->hash;
}

size_t bh_image_count_of(const struct bh_image *image, enum bh_rec_type type)
{
	return image->counts[type];
}

static int compare_names(const void *a, const void *b)
{
	const struct bh_segment *const *sa = a, *const *sb = b;

	return strcmp((*sa)->name, (*sb)->name);
}

void bh_image_each(const struct bh_image *image, bh_image_each_fn *fn, void *arg)
{
	size_t count = HASH_COUNT(image->entries), i = 0;
	BH_FREE struct bh_segment **all = bh_alloc_array(count, sizeof(struct bh_segment *));
	struct entry *e, *next;

	HASH_ITER (hh, image->entries, e, next) {
		all[i++] = e->seg;
	}
	qsort(all, count, sizeof(struct bh_segment *), compare_names);
	for (i = 0; i < count; i++) {
		fn(all[i], arg);
	}
}
