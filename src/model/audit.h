/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of the audit log: entries, their two chains, seals, and the file that an export is.
 * docs/audit.md is the specification. Pure; audit_verify.h reads what is written here.
 *
 * Theory of operation
 *   An entry is one JSON object in compact form, on one line. It belongs to one tenant, has a
 *   number in that tenant's chain (tseq) and the hash of that tenant's entry before it (tprev); its
 *   hash is SHA-256 of its text. A record puts it into the chain of everything:
 *   {"seq":N,"prev":"HASH","entry":{...}}, whose hash is SHA-256 of the record's text. So what a
 *   tenant gets holds nothing of others, not even how much they do, and it can still be verified.
 *   Before the first entry of a chain stands the hash of 32 zeros.
 *
 *   A seal is what the manager signs (Ed25519) about a stretch of one chain: from, what was before,
 *   to, the hash of the last, how many, when. A checkpoint is made while the log is written, a
 *   statement ends an export, so an end that was cut off shows.
 *
 *   An exported file has one object per line: a head, then records (of everything) or entries (of a
 *   tenant), checkpoints where they belong, and one statement as the last line.
 */
#ifndef BH_MODEL_AUDIT_H
#define BH_MODEL_AUDIT_H

#include "base/buf.h"
#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BH_AUDIT_VERSION   1
#define BH_AUDIT_LINE_MAX  65000 /* bytes of a line; a reader takes up to BH_JTEXT_SIZE_MAX */
#define BH_AUDIT_STATE_MAX 16384 /* of `before` and of `after` */
#define BH_AUDIT_TEXT_MAX  512	 /* of each other text */
#define BH_AUDIT_LOG_SIZE  33	 /* the log's own id: 32 hex digits and NUL */

struct bh_audit_hash {
	uint8_t bytes[32];
};
#define BH_AUDIT_HASH_TEXT_SIZE 65
struct bh_audit_hash bh_audit_hash_of(const void *text, size_t size);
bool bh_audit_hash_same(const struct bh_audit_hash *a, const struct bh_audit_hash *b);

/* ---- entries ---- */
/* Texts are borrowed, NULL or "" when there is nothing to say, and cut at BH_AUDIT_TEXT_MAX. */
struct bh_audit_entry {
	uint32_t tenant; /* number, which is never used again */
	const char *tenant_name;
	uint64_t tseq; /* from 1 */
	struct bh_audit_hash tprev;
	uint64_t time_ns;
	const char *state; /* begun, done, unknown, denied, note */
	const char *user, *role, *factor, *from, *via;
	const char *act, *object;
	const char *before, *after; /* JSON of bh_audit_state_text() */
	const char *result;	    /* done, refused, failed, denied, unknown */
	unsigned int code;	    /* HTTP status; 0 none */
	const char *reason;
	const char *approval; /* id of the request that allowed it */
	const char *request;  /* the same in all entries of one act */
	uint64_t left_out;    /* how many like this were not recorded each by itself */
};
/* Appends the text, without a line end. -EMSGSIZE when it would be over BH_AUDIT_LINE_MAX. */
[[nodiscard]] int bh_audit_entry_write(struct bh_wbuf *w, const struct bh_audit_entry *entry);
/* A state as text for an entry. What is larger than BH_AUDIT_STATE_MAX or nested too deep for a
 * reader becomes {"bytes", "sha256", "start"}. json is borrowed. Owned. */
char *bh_audit_state_text(const json_t *json);
/* entry: as bh_audit_entry_write() made it. */
void bh_audit_record_write(struct bh_wbuf *w, uint64_t seq, const struct bh_audit_hash *prev,
			   const char *entry, size_t size);

/* ---- keys ---- */
/* An Ed25519 key pair, or the public half alone. */
struct bh_audit_key;
#define BH_AUDIT_KEY_ID_SIZE	 17 /* 16 hex digits of SHA-256 over the public DER, and NUL */
#define BH_AUDIT_KEY_PUBLIC_SIZE 64 /* base64 of the DER, and NUL */
struct bh_audit_key *bh_audit_key_new(void);
/* From PEM, private or public. -EBADMSG when it holds no Ed25519 key. */
[[nodiscard]] int bh_audit_key_read(const char *pem, size_t size, struct bh_audit_key **ret,
				    struct bh_diag *diag);
/* From what bh_audit_key_public() says. */
[[nodiscard]] int bh_audit_key_parse(const char *text, size_t size, struct bh_audit_key **ret,
				     struct bh_diag *diag);
void bh_audit_key_free(struct bh_audit_key *key);		   /* NULL is fine */
const char *bh_audit_key_id(const struct bh_audit_key *key);	   /* borrowed */
const char *bh_audit_key_public(const struct bh_audit_key *key);   /* borrowed */
char *bh_audit_key_pem(const struct bh_audit_key *key, bool priv); /* owned */

/* ---- seals ---- */
struct bh_audit_seal {
	bool statement; /* else a checkpoint */
	char log[BH_AUDIT_LOG_SIZE];
	uint32_t tenant; /* 0: the chain of everything */
	uint64_t from;	 /* number of the first entry it speaks of */
	struct bh_audit_hash prev;
	uint64_t to; /* from - 1 when there is none */
	struct bh_audit_hash head;
	uint64_t time_ns;
	char key[BH_AUDIT_KEY_ID_SIZE];
};
/* {"seal":{...},"sig":"..."}: signed is the text of the member `seal`. Sets seal->key. */
[[nodiscard]] int bh_audit_seal_write(struct bh_wbuf *w, struct bh_audit_seal *seal,
				      const struct bh_audit_key *key);

/* ---- an export's first line ---- */
struct bh_audit_head {
	char log[BH_AUDIT_LOG_SIZE];
	uint32_t tenant; /* 0: everything */
	const char *tenant_name;
	uint64_t time_ns;
	const char *keys; /* bh_audit_key_public() of each, a space between */
};
void bh_audit_head_write(struct bh_wbuf *w, const struct bh_audit_head *head);

/* ---- internal to model/audit*.c ---- */
[[nodiscard]] int bh_audit_key_verify(const struct bh_audit_key *key, const void *data, size_t size,
				      const char *sig, size_t sig_size);

#endif
