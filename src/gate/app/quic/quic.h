/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QUIC (RFC 9000, 9001, 9369 and drafts 23 to 34) as far as both hello messages, which are
 * protected by keys that anybody can derive from the client's first packet; and Google's QUIC
 * before it: Q039 and Q043 to Q046, whose hello is open, and Q050, which has the packets of the
 * IETF's with Google's hello in them. For the files of this folder only.
 *
 * Each packet with a long header before the side's hello is complete is a transaction with one
 * side, as in Suricata; a hello in several packets is that of the last. Of versions that are not
 * known here a packet says no more than its version. Limits: packets of QUIC_PACKET_MAX bytes, a
 * hello of QUIC_CRYPTO_MAX bytes in QUIC_RANGES_MAX pieces.
 */
#ifndef BH_GATE_APP_QUIC_QUIC_H
#define BH_GATE_APP_QUIC_QUIC_H

#include "gate/app/app.h"
#include "gate/app/tls/hello.h"

#define QUIC_PACKET_MAX	    9216u
#define QUIC_CRYPTO_MAX	    16384u
#define QUIC_RANGES_MAX	    32u
#define QUIC_CID_MAX	    20u
#define QUIC_CYU_MAX	    512u
#define QUIC_EXTENSIONS_MAX 64u /* of a hello, in records */
#define QUIC_Q050	    0x51303530u

enum quic_kind { QUIC_NONE, QUIC_IETF, QUIC_GOOGLE };
enum quic_type {
	QUIC_INITIAL,
	QUIC_ZERO_RTT,
	QUIC_HANDSHAKE,
	QUIC_RETRY,
	QUIC_NEGOTIATION,
	QUIC_UNKNOWN, /* of a version that is not known: the packet has its datagram for itself */
	QUIC_SHORT
};
enum quic_event {
	QUIC_FAILED_DECRYPT,
	QUIC_ERROR_ON_DATA,
	QUIC_ERROR_ON_HEADER,
	QUIC_CRYPTO_FRAG_TOO_LONG,
	QUIC_EVENTS
};

struct quic_header {
	enum quic_type type;
	enum quic_kind kind;
	bool is_long;
	uint32_t version;
	struct gate_view dcid, scid;
	uint32_t size;	  /* of the header, up to the packet number */
	uint32_t payload; /* bytes behind it, the packet number included */
};
/* How to read the version; QUIC_NONE: unknown. */
enum quic_kind quic_version_kind(uint32_t version);
void quic_version_name(uint32_t version, char ret[16]);
/* False: it is no packet of QUIC. */
bool quic_header_read(const uint8_t *data, uint32_t size, struct quic_header *ret);
/* RFC 9000 16; false: it ends early. */
bool quic_varint(const uint8_t *data, uint32_t size, uint32_t *at, uint64_t *ret);

struct quic_keys {
	bool known;
	struct {
		uint8_t key[16], iv[12], hp[16];
	} side[GATE_DIRS];
};
bool quic_keys_derive(struct quic_keys *keys, uint32_t version, const struct gate_view *dcid);
/* Opens the packet that begins with its header at data: the size of the frames in ret; -EBADMSG. */
int quic_open(const struct quic_keys *keys, enum gate_dir dir, const uint8_t *data,
	      const struct quic_header *header, uint8_t ret[QUIC_PACKET_MAX]);

/* CRYPTO frames of one side. */
struct quic_crypto {
	uint8_t *data; /* QUIC_CRYPTO_MAX; NULL: nothing yet */
	struct {
		uint32_t from, to;
	} ranges[QUIC_RANGES_MAX];
	uint32_t count;
};

/* What of a hello is kept; texts of the session's memory. */
struct quic_tx {
	struct gate_tx tx;
	char version_text[16];
	uint8_t version[4]; /* as it was sent */
	bool is_long;
	struct gate_view sni, ua, ja3, cyu, alpn;
	struct gate_view extensions; /* their types in the hello, two bytes each */
	char ja3_hash[GATE_JA3_HASH_SIZE], ja4[GATE_JA4_SIZE], cyu_hash[GATE_JA3_HASH_SIZE];
	bool client;
};

/* Google's QUIC: what a client hello says; views into data. */
struct quic_chlo {
	struct gate_view sni, ua;
	char cyu[QUIC_CYU_MAX];
	uint32_t cyu_size;
};
/* log.c: the record `quic`. */
bool quic_log(const struct gate_tx *tx, struct gate_jw *jw);
/* False: v is no hello. */
bool quic_chlo_read(const struct gate_view *v, uint32_t version, struct quic_chlo *ret);
/* The same of the frames of a packet that is not encrypted, behind its header. */
bool quic_chlo_find(const uint8_t *data, uint32_t size, uint32_t version, struct quic_chlo *ret);

#endif
