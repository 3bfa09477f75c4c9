/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The desired state of a host's kernel, as a set of records that can be hashed, compared and sent.
 *
 * A record is a small key and a small value in a fixed layout (below). Records live in segments; a
 * segment is one unit that several hosts may share ("set:300.0" the compiled rules of identity 300
 * in one direction, "net:7" the addresses of network 7, "nic:<uuid>" one VM's NICs). An image is
 * what one host holds: segments by name. Keys are unique within an image.
 *
 * The hash of an image is the sum modulo 2^256 of SHA-256 over each record: it does not depend on
 * order, adding the hashes of the segments gives the hash of the image, and a change costs what it
 * changes. (Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing", 1997: AdHash.) It
 * tells whether two honest sides hold the same; deltas are authenticated by the bus, not by this.
 *
 * All integers on the wire are little-endian; addresses, MACs and UUIDs are bytes in network order.
 * Decoders treat their input as hostile: bounded, checked, nothing half applied.
 */
#ifndef BH_MODEL_IMAGE_H
#define BH_MODEL_IMAGE_H

#include "base/buf.h"
#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bh_rec_type {
	BH_REC_NIC = 1,
	BH_REC_NIC_ADDR = 2,
	BH_REC_NIC_VLAN = 3,
	BH_REC_ADDR = 4,
	BH_REC_SET = 5,
	BH_REC_ROW = 6,
	BH_REC_CIDR = 7,
	BH_REC_RANGE = 8,
	BH_REC_TYPE_MAX = 8,
};

/* Constants for kinds, actions, directions and flags are those of bpf/abi.h with the same names
 * less the prefix; policy and manager see only the numbers documented here. dir: 0 egress, 1
 * ingress.  set = identity << 1 | dir. action: 1 allow, 2 deny, 3 reject.  flags bit 0: log. shape
 * = remote_kind * 4 + service_kind; remote_kind 0 any, 1 identity, 2 CIDR class, 3 tenant;
 *   service_kind 0 any, 1 protocol, 2 exact port, 3 range class.
 *   identities: 0 none, 1 host, 2 world, 3 multicast, VMs from 256 on. */
struct bh_rec_nic { /* key: vm, mac */
	uint8_t vm[16];
	uint8_t mac[6];
	/* value */
	uint32_t net;
	uint32_t identity;
	uint32_t tenant;
	uint32_t flags; /* BH_NIC_* of bpf/abi.h, without FASTPATH, PICKUP and OPEN, which hostd
			 decides */
};
struct bh_rec_nic_addr { /* key: all */
	uint8_t vm[16];
	uint8_t mac[6];
	uint8_t addr[16]; /* IPv4 as ::ffff:a.b.c.d, here and everywhere */
};
struct bh_rec_nic_vlan { /* key: all */
	uint8_t vm[16];
	uint8_t mac[6];
	uint32_t vlan; /* outer << 16 | inner */
};
struct bh_rec_addr { /* key: net, vlan, addr */
	uint32_t net;
	uint32_t vlan;
	uint8_t addr[16];
	/* value */
	uint32_t identity;
	uint32_t tenant;
};
struct bh_rec_set { /* key: set */
	uint32_t set;
	/* value */
	uint32_t default_rule;
	uint16_t mask;
	uint8_t default_action;
	uint8_t default_flags;
};
struct bh_rec_row { /* key: set, remote, port, proto, shape */
	uint32_t set;
	uint32_t remote;
	uint16_t port;
	uint8_t proto;
	uint8_t shape;
	/* value */
	uint32_t rule;
	uint32_t rank;
	uint8_t action;
	uint8_t flags;
};
struct bh_rec_cidr { /* key: set, prefix_bits, addr */
	uint32_t set;
	uint8_t prefix_bits; /* 0..128 over the 16 bytes: an IPv4 /24 is 120 */
	uint8_t addr[16];    /* bits behind the prefix are zero */
	/* value */
	uint32_t class_id;
};
struct bh_rec_range { /* key: set, proto, prefix_bits, port */
	uint32_t set;
	uint8_t proto;
	uint8_t prefix_bits; /* 0..16 */
	uint16_t port;	     /* host order; bits behind the prefix are zero */
	/* value */
	uint32_t class_id;
};

struct bh_rec {
	enum bh_rec_type type;
	union {
		struct bh_rec_nic nic;
		struct bh_rec_nic_addr nic_addr;
		struct bh_rec_nic_vlan nic_vlan;
		struct bh_rec_addr addr;
		struct bh_rec_set set;
		struct bh_rec_row row;
		struct bh_rec_cidr cidr;
		struct bh_rec_range range;
	};
};

#define BH_REC_KEY_MAX	 48
#define BH_REC_VALUE_MAX 16
/* Wire form of key (type byte first) and value; sizes are fixed by the type. */
size_t bh_rec_key(const struct bh_rec *rec, uint8_t ret_key[BH_REC_KEY_MAX]);
size_t bh_rec_value(const struct bh_rec *rec, uint8_t ret_value[BH_REC_VALUE_MAX]);
/* Reads one record. Fails on an unknown type or a value out of its documented range. */
void bh_rec_read(struct bh_rbuf *r, struct bh_rec *ret_rec); /* sets r->err */
void bh_rec_write(struct bh_wbuf *w, const struct bh_rec *rec);

/* ---- hash ---- */
#define BH_HASH_SIZE 32
struct bh_hash {
	uint8_t bytes[BH_HASH_SIZE]; /* little-endian 256-bit number */
};
void bh_hash_add(struct bh_hash *sum, const struct bh_hash *h);
void bh_hash_sub(struct bh_hash *sum, const struct bh_hash *h);
void bh_hash_of_rec(const struct bh_rec *rec, struct bh_hash *ret);
/* For many records: keeps what OpenSSL looks up and allocates for each single digest. One thread.
 */
struct bh_hasher;
struct bh_hasher *bh_hasher_new(void);
void bh_hasher_free(struct bh_hasher *hasher); /* NULL is fine */
void bh_hasher_rec(struct bh_hasher *hasher, const struct bh_rec *rec, struct bh_hash *ret);
void bh_hasher_bytes(struct bh_hasher *hasher, const void *data, size_t size, struct bh_hash *ret);
bool bh_hash_equal(const struct bh_hash *a, const struct bh_hash *b);
void bh_hash_format(const struct bh_hash *h, char ret_hex[2 * BH_HASH_SIZE + 1]);
[[nodiscard]] int bh_hash_parse(const char *hex, struct bh_hash *ret);

/* ---- segments: immutable once sealed, reference-counted, records sorted by key ---- */
#define BH_SEGMENT_NAME_MAX 80
struct bh_segment;
/* What segments are called; each writes the name and returns buf. */
const char *bh_segment_vm(const char *uuid, char buf[BH_SEGMENT_NAME_MAX]);
const char *bh_segment_net(uint32_t net, char buf[BH_SEGMENT_NAME_MAX]);
const char *bh_segment_set(uint32_t identity, unsigned int dir, char buf[BH_SEGMENT_NAME_MAX]);
struct bh_segment *bh_segment_new(const char *name);
void bh_segment_add(struct bh_segment *seg, const struct bh_rec *rec); /* before sealing */
/* Sorts, hashes. -EEXIST when two records have one key (diag says which). */
[[nodiscard]] int bh_segment_seal(struct bh_segment *seg, struct bh_diag *diag);
struct bh_segment *bh_segment_ref(struct bh_segment *seg);
void bh_segment_unref(struct bh_segment *seg); /* NULL is fine */
const char *bh_segment_name(const struct bh_segment *seg);
const struct bh_hash *bh_segment_hash(const struct bh_segment *seg);
size_t bh_segment_count(const struct bh_segment *seg);
const struct bh_rec *bh_segment_at(const struct bh_segment *seg, size_t i);
/* How many records of a type. */
size_t bh_segment_count_of(const struct bh_segment *seg, enum bh_rec_type type);

/* ---- images ---- */
struct bh_image;
struct bh_image *bh_image_new(void);
void bh_image_free(struct bh_image *image); /* NULL is fine */
/* Takes a reference of seg and replaces the segment of that name. */
void bh_image_set(struct bh_image *image, struct bh_segment *seg);
void bh_image_drop(struct bh_image *image, const char *name); /* absent is fine */
struct bh_segment *bh_image_get(const struct bh_image *image, const char *name); /* borrowed */
const struct bh_hash *bh_image_hash(const struct bh_image *image);
size_t bh_image_count_of(const struct bh_image *image, enum bh_rec_type type);
typedef void bh_image_each_fn(struct bh_segment *seg, void *arg);
void bh_image_each(const struct bh_image *image, bh_image_each_fn *fn, void *arg); /* by name */

/* ---- deltas ---- */
/* What turns one image into another: per segment, records to delete and to put, or the whole gone.
 */
struct bh_delta;
struct bh_delta *bh_delta_between(const struct bh_image *from, const struct bh_image *to);
void bh_delta_free(struct bh_delta *delta);
bool bh_delta_empty(const struct bh_delta *delta);
const struct bh_hash *bh_delta_from(const struct bh_delta *delta);
const struct bh_hash *bh_delta_to(const struct bh_delta *delta);
/* Every deleted record, then every put one. A changed value is one put; what was there is `old`. */
typedef void bh_delta_each_fn(const struct bh_rec *old, const struct bh_rec *put, void *arg);
void bh_delta_each(const struct bh_delta *delta, bh_delta_each_fn *fn, void *arg);
size_t bh_delta_count(const struct bh_delta *delta);

/* Bytes: magic "BHD1", from, to, segments. A decoded delta knows no old values until it is applied.
 */
void bh_delta_encode(const struct bh_delta *delta, struct bh_wbuf *w);
[[nodiscard]] int bh_delta_decode(const void *data, size_t size, struct bh_delta **ret,
				  struct bh_diag *diag);
#define BH_IMAGE_STALE 1 /* the image is not the one the delta starts from: ask for a whole one */
/* Builds the image that the delta leads to; `image` is not touched. 0, BH_IMAGE_STALE, or -EBADMSG
 * when the result's hash is not the promised one. The delta learns the old values. */
[[nodiscard]] int bh_delta_apply(struct bh_delta *delta, const struct bh_image *image,
				 struct bh_image **ret_image, struct bh_diag *diag);

/* A whole image is the delta from the empty one. */

#endif
