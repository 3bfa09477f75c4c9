/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSH (RFC 4253): banners, key exchange with HASSH (salesforce/hassh), until both sides change to
 * their keys; what follows is encrypted and not read. A flow has one transaction. Banners longer
 * than BANNER_MAX are cut off (event), key exchanges longer than KEX_MAX passed over (event).
 */
#include "gate/app/app.h"
#include "gate/app/frame.h"

#include "base/util.h"

#include <errno.h>
#include <openssl/evp.h>

#define BANNER_MAX    256u
#define KEX_MAX	      65534u
#define NAME_LISTS    10u
#define RECORD_HEADER 6u /* with the kind of message */

enum { MSG_KEXINIT = 20, MSG_NEWKEYS = 21 };
enum ssh_state { SSH_START, SSH_BANNER, SSH_KEX, SSH_DONE };
enum ssh_event {
	SSH_INVALID_BANNER,
	SSH_LONG_BANNER,
	SSH_INVALID_RECORD,
	SSH_LONG_KEX_RECORD,
	SSH_EVENTS
};
static const struct gate_app_event events[SSH_EVENTS] = {
	[SSH_INVALID_BANNER] = {"invalid_banner", "a banner that can't be"},
	[SSH_LONG_BANNER] = {"long_banner", "a banner of more than 255 bytes, its end not counted"},
	[SSH_INVALID_RECORD] = {"invalid_record", "a packet that can't be"},
	[SSH_LONG_KEX_RECORD] = {"long_kex_record", "a key exchange that is too long"},
};
static const char *const client_states[] = {"request_in_progress", "request_banner_done",
					    "request_kex_done", "request_finished", NULL};
static const char *const server_states[] = {"response_in_progress", "response_banner_done",
					    "response_kex_done", "response_finished", NULL};
static const char *const patterns[] = {"\\x53\\x53\\x48\\x2d", NULL};

struct side {
	char banner[BANNER_MAX];
	uint16_t proto_at, proto_size, software_at, software_size;
	char *hassh; /* the string */
	uint32_t hassh_size;
	char hash[33];
};

struct ssh_tx {
	struct gate_tx tx;
	struct side side[GATE_DIRS];
};

struct ssh_conn {
	struct ssh_tx *tx;
	uint32_t skip[GATE_DIRS];
	uint8_t state[GATE_DIRS];
	bool line[GATE_DIRS]; /* the rest of a long banner goes up to its end of line */
};

static void event(struct gate_session *session, struct ssh_conn *c, enum ssh_event e)
{
	gate_tx_event(session, &c->tx->tx, (uint16_t)e);
}

/* ---- banner ---- */

/* "SSH-2.0-OpenSSH_9.2 comment": version and software, which has no spaces. */
static bool banner_read(struct side *s, const uint8_t *line, uint32_t size)
{
	if (size < 4 || memcmp(line, "SSH-", 4) != 0) {
		return false;
	}
	size = size < BANNER_MAX ? size : BANNER_MAX;
	memcpy(s->banner, line, size);
	const char *dash = memchr(s->banner + 4, '-', size - 4);
	if (!dash || dash == s->banner + 4) {
		return false;
	}
	s->proto_at = 4;
	s->proto_size = (uint16_t)(dash - s->banner - 4);
	s->software_at = (uint16_t)(dash - s->banner + 1);
	uint32_t end = s->software_at;
	while (end < size && s->banner[end] != ' ') {
		end++;
	}
	s->software_size = (uint16_t)(end - s->software_at);
	return true;
}

static void banner_done(struct gate_session *session, struct ssh_conn *c, enum gate_dir dir)
{
	c->state[dir] = SSH_BANNER;
	gate_tx_progress(session, &c->tx->tx, dir, SSH_BANNER);
}

/*
 * The line without its end (LF, CR LF, or as some senders have it CR alone), and the bytes of that
 * end: 0 when it is not there yet.
 */
static uint32_t line_end(const struct gate_view *in, uint32_t *ret_size)
{
	uint32_t size = 0;
	while (size < in->size && in->data[size] != '\n' && in->data[size] != '\r') {
		size++;
	}
	*ret_size = size;
	if (size == in->size || (in->data[size] == '\r' && size + 1 == in->size)) {
		return 0;
	}
	return in->data[size] == '\r' && in->data[size + 1] == '\n' ? 2 : 1;
}

/* How many bytes it is through with; -EBADMSG. */
static int64_t banner(struct gate_session *session, struct ssh_conn *c, enum gate_dir dir,
		      const struct gate_view *in)
{
	uint32_t size = 0, end = line_end(in, &size);
	if (c->line[dir]) {
		if (end) {
			banner_done(session, c, dir);
		}
		return size + end;
	}
	if (!end && in->size < BANNER_MAX) {
		return 0;
	}
	if (!banner_read(&c->tx->side[dir], in->data, size)) {
		event(session, c, SSH_INVALID_BANNER);
		return -EBADMSG;
	}
	if (size >= BANNER_MAX) {
		event(session, c, SSH_LONG_BANNER);
	}
	if (!end) {
		c->line[dir] = true;
		return size;
	}
	banner_done(session, c, dir);
	return size + end;
}

/* ---- packets ---- */

/* What a side's HASSH is made of: key exchange, then its own ciphers, MACs, compression. */
static bool is_hashed(unsigned int list, enum gate_dir dir)
{
	unsigned int side = dir == GATE_TO_SERVER ? 0 : 1;
	return list == 0 || list == 2 + side || list == 4 + side || list == 6 + side;
}

static void hash(struct side *s, const char *text, uint32_t size)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	if (EVP_Digest(text, size, sum, NULL, EVP_md5(), NULL)) {
		bh_hex_format(sum, 16, s->hash);
	}
}

/* Lists that do not fit have no HASSH; nobody is told, as in Suricata. */
static void kexinit(struct gate_session *session, struct ssh_conn *c, enum gate_dir dir,
		    const struct gate_view *body)
{
	struct side *s = &c->tx->side[dir];
	char text[KEX_MAX]; /* a list has 4 bytes of length before it, in the text 1 behind it */
	uint32_t at = 16, size = 0;
	for (unsigned int list = 0; list < NAME_LISTS; list++) {
		uint32_t length = at + 4 <= body->size ? gate_be32(body->data + at) : UINT32_MAX;
		if (length > body->size || at + 4 + length > body->size) {
			return;
		}
		at += 4;
		if (is_hashed(list, dir)) {
			memcpy(text + size, body->data + at, length);
			size += length;
			text[size++] = ';';
		}
		at += length;
	}
	size--;
	if (!s->hassh && (s->hassh = gate_session_alloc(session, size + 1))) {
		memcpy(s->hassh, text, size);
		s->hassh_size = size;
		hash(s, text, size);
	}
	c->state[dir] = SSH_KEX;
	gate_tx_progress(session, &c->tx->tx, dir, SSH_KEX);
}

static void newkeys(struct gate_session *session, struct ssh_conn *c, enum gate_dir dir)
{
	c->state[dir] = SSH_DONE;
	gate_tx_done(session, &c->tx->tx, dir);
	if (c->state[GATE_DIR_OTHER(dir)] == SSH_DONE) {
		gate_session_encrypted(session);
		gate_session_stop(session, GATE_TO_SERVER);
		gate_session_stop(session, GATE_TO_CLIENT);
	}
}

/* SSH 1 has other packets, and nobody looks into them; 1.99 is who speaks both (RFC 4253 5.1). */
static bool is_ssh1(const struct side *s)
{
	const char *version = s->banner + s->proto_at;
	return version[0] == '1' && !(s->proto_size == 4 && !memcmp(version, "1.99", 4));
}

/* Its beginning, or a piece that follows; `left` bytes of it will come. */
static void record_frames(struct gate_session *session, enum gate_dir dir,
			  const struct gate_view *piece, bool begin, uint32_t left)
{
	uint32_t header = begin ? RECORD_HEADER : 0;
	if (begin) {
		gate_frame_put(session, dir, GATE_BUF_FRAME_SSH_RECORD_HDR, piece->data, header);
	}
	gate_frame_add(session, dir, GATE_BUF_FRAME_SSH_RECORD_PDU, piece->data, piece->size);
	gate_frame_add(session, dir, GATE_BUF_FRAME_SSH_RECORD_DATA, piece->data + header,
		       piece->size - header);
	if (!left) {
		gate_frame_end(session, dir, GATE_BUF_FRAME_SSH_RECORD_PDU);
		gate_frame_end(session, dir, GATE_BUF_FRAME_SSH_RECORD_DATA);
	}
}

static int64_t record(struct gate_session *session, struct ssh_conn *c, enum gate_dir dir,
		      const struct gate_view *in)
{
	if (in->size < RECORD_HEADER) {
		return 0;
	}
	uint32_t length = gate_be32(in->data);
	uint8_t type = in->data[5];
	if (length < 2) {
		event(session, c, SSH_INVALID_RECORD);
		return -EBADMSG;
	}
	bool is_kex = type == MSG_KEXINIT, is_long = length - 2 > KEX_MAX;
	if (!is_kex || is_long) {
		uint64_t whole = 4ull + length;
		if (is_kex) {
			event(session, c, SSH_LONG_KEX_RECORD);
		} else if (type == MSG_NEWKEYS) {
			newkeys(session, c, dir);
		}
		c->skip[dir] = whole > in->size ? (uint32_t)(whole - in->size) : 0;
		uint32_t here = (uint32_t)(whole - c->skip[dir]);
		record_frames(session, dir, &(struct gate_view){in->data, here}, true,
			      c->skip[dir]);
		return here;
	}
	if (in->size < 4 + length) {
		return 0;
	}
	struct gate_view body = {.data = in->data + RECORD_HEADER, .size = length - 2};
	record_frames(session, dir, &(struct gate_view){in->data, 4 + length}, true, 0);
	kexinit(session, c, dir, &body);
	return 4 + length;
}

static int64_t step(struct gate_session *session, struct ssh_conn *c, enum gate_dir dir,
		    const struct gate_view *in)
{
	if (c->skip[dir]) {
		uint32_t n = c->skip[dir] < in->size ? c->skip[dir] : in->size;
		c->skip[dir] -= n;
		record_frames(session, dir, &(struct gate_view){in->data, n}, false, c->skip[dir]);
		return n;
	}
	if (c->state[dir] == SSH_START) {
		return banner(session, c, dir, in);
	}
	if (c->state[dir] == SSH_DONE || is_ssh1(&c->tx->side[dir])) {
		return in->size;
	}
	return record(session, c, dir, in);
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	struct ssh_conn *c = state;
	struct gate_view rest = {.data = in->data, .size = in->size};
	if (!c->tx) {
		c->tx = (struct ssh_tx *)gate_tx_new(session, sizeof(struct ssh_tx));
	}
	if (!c->tx || in->gap) {
		return -EBADMSG;
	}
	while (rest.size) {
		int64_t n = step(session, c, dir, &rest);
		if (n < 0) {
			return n;
		}
		if (!n) {
			break;
		}
		rest.data += n;
		rest.size -= (uint32_t)n;
	}
	return in->size - rest.size;
}

static void *ssh_new(struct gate_session *session)
{
	return gate_session_alloc(session, sizeof(struct ssh_conn));
}

static void ssh_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct ssh_conn));
}

static void tx_free(struct gate_session *session, struct gate_tx *tx)
{
	struct ssh_tx *t = (struct ssh_tx *)tx;
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		struct side *s = &t->side[dir];
		gate_session_release(session, s->hassh, s->hassh_size + 1);
	}
}

/* ---- what rules and records ask ---- */

static bool view(struct gate_buffer_view *ret, const void *data, size_t size)
{
	*ret = (struct gate_buffer_view){.data = data, .size = (uint32_t)size, .complete = true};
	return data && size;
}

static bool buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	const struct side *s = &((const struct ssh_tx *)tx)->side[dir];
	if (index) {
		return false;
	}
	switch (which) {
	case GATE_BUF_SSH_PROTO:
		return view(ret, s->banner + s->proto_at, s->proto_size);
	case GATE_BUF_SSH_SOFTWARE:
		return view(ret, s->banner + s->software_at, s->software_size);
	case GATE_BUF_SSH_HASSH:
	case GATE_BUF_SSH_HASSH_SERVER:
		return view(ret, s->hash, strlen(s->hash));
	case GATE_BUF_SSH_HASSH_STRING:
	case GATE_BUF_SSH_HASSH_SERVER_STRING:
		return view(ret, s->hassh, s->hassh_size);
	default:
		return false;
	}
}

static void log_side(struct gate_jw *jw, const char *key, const struct side *s)
{
	gate_jw_object(jw, key);
	gate_jw_bytes(jw, "proto_version", s->banner + s->proto_at, s->proto_size);
	if (s->software_size) {
		gate_jw_bytes(jw, "software_version", s->banner + s->software_at, s->software_size);
	}
	if (s->hassh) {
		gate_jw_object(jw, "hassh");
		gate_jw_text(jw, "hash", s->hash);
		gate_jw_bytes(jw, "string", s->hassh, s->hassh_size);
		gate_jw_end(jw);
	}
	gate_jw_end(jw);
}

static bool log_tx(const struct gate_tx *tx, struct gate_jw *jw)
{
	const struct ssh_tx *t = (const struct ssh_tx *)tx;
	const struct side *client = &t->side[GATE_TO_SERVER], *server = &t->side[GATE_TO_CLIENT];
	if (!client->proto_size && !server->proto_size) {
		return false;
	}
	if (client->proto_size) {
		log_side(jw, "client", client);
	}
	if (server->proto_size) {
		log_side(jw, "server", server);
	}
	return true;
}

const struct gate_app_ops gate_ssh_ops = {
	.app = GATE_APP_SSH,
	.name = "ssh",
	.log = "ssh",
	.transports = 1,
	.states = {client_states, server_states},
	.events = events,
	.event_count = SSH_EVENTS,
	.patterns = {patterns, patterns},
	.new = ssh_new,
	.free = ssh_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = buffer,
	.log_tx = log_tx,
};
