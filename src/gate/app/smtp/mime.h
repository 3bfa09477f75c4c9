/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message of Internet mail, line by line: headers (folded), parts (nested), their encodings;
 * attachments become files of the transaction. RFC 5322, 2045, 2046, 2183, 2231.
 *
 * Limits: MIME_DEPTH_MAX boundaries, MIME_HEADER_MAX bytes of a header, MIME_KEPT_MAX bytes of
 * headers and URLs of a message; what is beyond is left out (and told by `events`).
 */
#ifndef BH_GATE_APP_SMTP_MIME_H
#define BH_GATE_APP_SMTP_MIME_H

#include "gate/app/text.h"

#include <openssl/evp.h>

#define MIME_DEPTH_MAX	  10
#define MIME_BOUNDARY_MAX 254
#define MIME_HEADER_MAX	  4096
#define MIME_KEPT_MAX	  32768
#define MIME_FIELDS_MAX	  64
#define MIME_URLS_MAX	  128
#define MIME_NAMES_MAX	  64
#define MIME_NAME_MAX	  255 /* of a file */

enum mime_event {
	MIME_PARSE_FAILED,
	MIME_MALFORMED_MSG,
	MIME_INVALID_BASE64,
	MIME_INVALID_QP,
	MIME_LONG_LINE,
	MIME_LONG_ENC_LINE,
	MIME_LONG_HEADER_NAME,
	MIME_LONG_HEADER_VALUE,
	MIME_LONG_BOUNDARY,
	MIME_LONG_FILENAME,
	/* not Suricata's: what a mail client may read in another way than the gate does */
	MIME_NO_PART,
	MIME_PART_BEHIND_END,
	MIME_FIELD_REPEATED,
	MIME_UNKNOWN_ENCODING,
	MIME_ENCODED_MESSAGE,
	MIME_UUENCODED,
	MIME_BARE_CR,
	MIME_NUL,
	MIME_EVENTS
};

/* A piece of `kept`. */
struct mime_span {
	uint32_t at, size;
};

enum mime_field {
	MIME_F_FROM,
	MIME_F_TO,
	MIME_F_CC,
	MIME_F_SUBJECT,
	MIME_F_DATE,
	MIME_F_MESSAGE_ID,
	MIME_F_X_MAILER,
	MIME_F_RECEIVED,
	MIME_F_COUNT
};

enum mime_state { MIME_IN_HEADERS, MIME_IN_BODY, MIME_SKIP /* preamble, epilogue */ };
enum mime_encoding { MIME_PLAIN, MIME_BASE64, MIME_QP };

struct mime {
	struct gate_session *session;
	struct gate_tx *tx;
	uint32_t events; /* bits of enum mime_event */
	bool ended;
	bool binary; /* came by BDAT: CR and NUL are of the message */

	/* headers of the message itself */
	struct gate_text kept;
	struct {
		struct mime_span span;
		uint8_t field;
	} fields[MIME_FIELDS_MAX];
	uint8_t field_count;
	struct mime_span urls[MIME_URLS_MAX];
	uint8_t url_count;
	struct mime_span names[MIME_NAMES_MAX]; /* of attachments */
	uint8_t name_count;

	enum mime_state state;
	bool nested;	       /* headers are not those of the message */
	bool mid_line;	       /* the line before has not ended yet */
	bool in_body;	       /* behind the headers of the message */
	bool drop_line;	       /* the rest of this line is of no use */
	struct gate_text head; /* the header that is being read */

	/* the part */
	enum mime_encoding encoding;
	bool attachment, text, multipart, message;
	bool has_type, has_encoding; /* a header that said so */
	struct gate_text name;
	struct gate_file *file;
	uint8_t newline; /* bytes of the line's end that are due before the next */
	bool broken;	 /* of base64 */
	uint8_t quad[4], quad_count;
	struct gate_text line; /* of text, for URLs */

	EVP_MD_CTX *md5; /* of the body, while it is read */
	char body_md5[33];

	uint8_t depth;
	struct {
		uint8_t size;
		bool found;
		uint8_t text[MIME_BOUNDARY_MAX];
	} boundaries[MIME_DEPTH_MAX]; /* the first stays there when it is over */
};

struct mime *gate_mime_new(struct gate_session *session, struct gate_tx *tx);
void gate_mime_free(struct mime *m);
/* A line without its end, which stands behind it; `newline`: bytes of that, 0: the line goes on
 * with the next call. */
void gate_mime_line(struct mime *m, const uint8_t *line, uint32_t size, uint8_t newline);
void gate_mime_end(struct mime *m);
/* The index-th value of that field. */
bool gate_mime_field(const struct mime *m, enum mime_field field, uint32_t index,
		     struct gate_view *ret);
static inline struct gate_view gate_mime_span(const struct mime *m, struct mime_span span)
{
	return (struct gate_view){.data = m->kept.data + span.at, .size = span.size};
}

/* mime_header.c */
void gate_mime_header(struct mime *m); /* `head` is whole */
/* The parameter of a structured header, RFC 2231's continuations and encodings undone: false when
 * it is not there. */
bool gate_mime_parameter(struct gate_view value, const char *name, uint8_t *ret, uint32_t room,
			 uint32_t *ret_size);
bool gate_mime_keep(struct mime *m, const void *data, uint32_t size, struct mime_span *ret);

/* mime_body.c */
void gate_mime_body(struct mime *m, const uint8_t *line, uint32_t size, uint8_t newline);
void gate_mime_body_end(struct mime *m);

#endif
