/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capsule: what travels with a VM from one host's kernel to another's (docs/migration.md).
 *
 * A capsule is a sequence of parts. A part is signed bytes:
 *   "BHC1" | u16 version (1) | u16 head size | u32 records size | head | records
 *   | u16 signature size | signature
 * Head: migration (16), VM (16), seq (u32), source and target (u8 length and text each), and the
 * certificate (u16 length and PEM; length 0 but in the part with seq 0). A record is u8 type, u16
 * size, body (enum bh_capsule_type; members in the order of the structs below, a tuple first). A
 * reader skips records of types that it does not know, and members behind those that it knows, in
 * head and records. All integers are little-endian; addresses, MACs and UUIDs are bytes in network
 * order. The signature (ECDSA P-256 with SHA-256, the source host's key) covers everything before
 * its size.
 *
 * Times are relative, in milliseconds, because clocks of hosts differ. NICs are named by position:
 * 1 is the first `nic` record, 0 means none of the VM's.
 *
 * The decoder treats its input as hostile: bounded, every member in its range, nothing half told.
 * Pure; signing and checking are functions of the caller (bus/pki.h), because model knows no keys.
 */
#ifndef BH_MODEL_CAPSULE_H
#define BH_MODEL_CAPSULE_H

#include "base/buf.h"
#include "base/diag.h"
#include "model/id.h"
#include "model/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BH_CAPSULE_VERSION   1
#define BH_CAPSULE_PART_MAX  (512u * 1024)
#define BH_CAPSULE_NICS_MAX  32
#define BH_CAPSULE_ADDRS_MAX 64 /* learned ones of one NIC */
#define BH_CAPSULE_CONNS_MAX (1u << 20)
#define BH_CAPSULE_PEM_MAX   8192
#define BH_CAPSULE_SIG_MAX   512
#define BH_CAPSULE_MS_MAX    (UINT64_C(1) << 40) /* of every time, 34 years; the writer clamps */
/* Of bpf/abi.h, which this floor can't see; the writer drops other flags, the reader refuses them.
 */
#define BH_CAPSULE_STATE_MAX  4	    /* BH_CT_CLOSED */
#define BH_CAPSULE_CONN_FLAGS 0x3fu /* BH_CT_* without TIMER */
#define BH_CAPSULE_ROW_FLAGS  0x01u /* BH_ROW_LOG */

enum bh_capsule_type {
	BH_CAPSULE_NIC = 1,
	BH_CAPSULE_SEGMENT = 2,
	BH_CAPSULE_CONN = 3,
	BH_CAPSULE_GONE = 4,
	BH_CAPSULE_MARK = 5,
};

struct bh_capsule_head {
	uint8_t migration[16];
	uint8_t vm[16];
	uint32_t seq; /* from 0, by one */
	char source[BH_NAME_MAX + 1], target[BH_NAME_MAX + 1];
	const char *cert; /* PEM, seq 0 only; when read: points into the part, not terminated */
	size_t cert_size;
};

struct bh_capsule_learned {
	uint8_t addr[16];
	uint32_t vlan;
	uint64_t left_ms;
};
struct bh_capsule_nic {
	uint8_t mac[6];
	uint32_t net, identity, tenant;
	uint32_t flags; /* BH_NIC_* of bpf/abi.h */
	/* rate state: bh_nic_state of bpf/abi.h */
	uint32_t answer_tokens, event_tokens, suppressed;
	uint32_t bucket_age_ms;
	struct bh_capsule_learned learned[BH_CAPSULE_ADDRS_MAX];
	size_t learned_count;
};

/* What a connection is called; lo and hi as in bpf/abi.h (bytes compared, addresses 16 bytes with
 * IPv4 mapped). The reader refuses one whose sides stand the wrong way round or are of two
 * families. */
struct bh_capsule_tuple {
	uint32_t net, vlan;
	uint8_t lo[16], hi[16];
	uint16_t lo_port, hi_port; /* host order */
	uint8_t proto;
};
struct bh_capsule_conn {
	struct bh_capsule_tuple tuple;
	uint8_t state;	   /* enum bh_ct_state */
	uint8_t flags;	   /* BH_CT_* without TIMER */
	uint8_t row_flags; /* BH_ROW_* */
	uint8_t nic[2]; /* position of the NIC that is the lo, the hi side; 0: not of this VM. Never
			 * both 0: a capsule says nothing about connections of others. */
	uint8_t charged; /* position of the NIC whose quota holds it; 0: not of this VM */
	uint16_t policy_port;
	uint16_t timeout_s;
	uint32_t identity[2];
	uint32_t rule[2]; /* by enum bh_dir */
	uint64_t packets[2], bytes[2];
	uint64_t age_ms, idle_ms;
	uint64_t own_left_ms[2]; /* of bh_ct.own_until_ns; 0 unknown */
};

enum bh_capsule_phase {
	BH_CAPSULE_WHOLE = 1, /* everything that there was when the walk began has been sent */
	BH_CAPSULE_FINAL = 2, /* the VM is suspended at the source: nothing follows */
};
struct bh_capsule_mark {
	uint8_t phase;	      /* enum bh_capsule_phase */
	uint32_t connections; /* WHOLE: sent since the walk began and not gone since */
	struct bh_hash hash;  /* sum of bh_capsule_conn_hash() over those */
};

/* What the policy of the VM is compiled to, as the source holds it: name and hash. */
struct bh_capsule_segment {
	char name[BH_SEGMENT_NAME_MAX];
	struct bh_hash hash;
};

/* Over what does not change while a connection lives: tuple, opener (flag ORIG_HI), policy_port. */
void bh_capsule_conn_hash(struct bh_hasher *hasher, const struct bh_capsule_conn *conn,
			  struct bh_hash *ret);

/* ---- writing ---- */
struct bh_capsule_writer;
/* Begins a part; head is copied, its certificate left out unless seq is 0. */
struct bh_capsule_writer *bh_capsule_writer_new(const struct bh_capsule_head *head);
void bh_capsule_writer_free(struct bh_capsule_writer *w); /* NULL is fine */
/* Each false when the record does not fit into this part any more: finish it and begin another. */
bool bh_capsule_put_nic(struct bh_capsule_writer *w, const struct bh_capsule_nic *nic);
bool bh_capsule_put_segment(struct bh_capsule_writer *w, const struct bh_capsule_segment *segment);
bool bh_capsule_put_conn(struct bh_capsule_writer *w, const struct bh_capsule_conn *conn);
bool bh_capsule_put_gone(struct bh_capsule_writer *w, const struct bh_capsule_tuple *tuple);
bool bh_capsule_put_mark(struct bh_capsule_writer *w, const struct bh_capsule_mark *mark);
size_t bh_capsule_writer_records(const struct bh_capsule_writer *w);
/* Signs what `data` holds: fills sig (BH_CAPSULE_SIG_MAX bytes), sets *ret_size. */
typedef int bh_capsule_sign_fn(const void *data, size_t size, uint8_t *sig, size_t *ret_size,
			       void *arg, struct bh_diag *diag);
/* The finished part; borrowed until the writer is freed. -EINVAL: the head can't be written (a name
 * that is none, a certificate over BH_CAPSULE_PEM_MAX). Again after success: the same part. */
[[nodiscard]] int bh_capsule_finish(struct bh_capsule_writer *w, bh_capsule_sign_fn *sign,
				    void *arg, const void **ret_data, size_t *ret_size,
				    struct bh_diag *diag);

/* ---- reading ---- */
struct bh_capsule_signed {
	const void *data;
	size_t size;
	const void *sig;
	size_t sig_size;
};
struct bh_capsule_handlers {
	/* Checks the signature over data, before any record is told. 0, or < 0 with diag. */
	int (*verify)(const struct bh_capsule_head *head, const struct bh_capsule_signed *what,
		      void *arg, struct bh_diag *diag);
	/* May be NULL. What they are given is borrowed for the call. */
	void (*nic)(const struct bh_capsule_nic *nic, void *arg);
	void (*segment)(const struct bh_capsule_segment *segment, void *arg);
	void (*conn)(const struct bh_capsule_conn *conn, void *arg);
	void (*gone)(const struct bh_capsule_tuple *tuple, void *arg);
	void (*mark)(const struct bh_capsule_mark *mark, void *arg);
	void *arg;
};
/* Reads the head, has the signature checked, checks every record, and only then tells them in
 * order. Connections of the whole capsule are counted by the caller (BH_CAPSULE_CONNS_MAX), who
 * also checks that the head is of his migration, that seq follows, and that positions of NICs
 * exist.
 * -EBADMSG (no capsule, damaged, a member out of range), -EPROTO (a version that we don't know), or
 * what verify returned. ret_head may be NULL. */
[[nodiscard]] int bh_capsule_read(const void *data, size_t size,
				  const struct bh_capsule_handlers *handlers,
				  struct bh_capsule_head *ret_head, struct bh_diag *diag);

#endif
