/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to reads that came before others that the same file needs first. Servers answer in any
 * order: reads may be done asynchronously ([MS-CIFS] 3.3.5.1, [MS-SMB2] 3.3.5.12), and smbd does so
 * when it is busy. What waits is bounded (smb.h) and charged to the session.
 */
#include "gate/app/smb/smb.h"

struct smb_ahead {
	struct smb_ahead *next; /* its offset is not smaller */
	struct smb_content content;
	uint8_t file_id[16]; /* content.file_id is this one */
	uint32_t have;
	bool cut; /* bytes behind `have` are lost */
	uint8_t data[];
};

static size_t size_of(const struct smb_ahead *a)
{
	return sizeof(*a) + (size_t)a->content.size;
}

/* Was something of that file asked for that belongs before it, and not answered yet? */
static bool has_to_wait(const struct smb_conn *conn, const uint8_t file_id[16], uint64_t offset,
			uint64_t from)
{
	for (unsigned int i = 0; i < SMB_READS_MAX; i++) {
		const struct smb_read *r = &conn->reads[i];
		if (r->used && r->offset >= from && r->offset < offset &&
		    memcmp(r->file_id, file_id, 16) == 0) {
			return true;
		}
	}
	return false;
}

/* Up to where its content has come. */
static uint64_t place_of(struct smb_conn *conn, const uint8_t file_id[16])
{
	const struct smb_file *f = gate_smb_file(conn, file_id);
	const struct smb_tx *tx = f ? f->tx[GATE_TO_CLIENT] : NULL;
	return tx && tx->file && tx->file->size ? f->at[GATE_TO_CLIENT] : 0;
}

/* Something of that file that belongs before it waits already. */
static bool is_behind(const struct smb_conn *conn, const struct smb_content *c)
{
	for (const struct smb_ahead *a = conn->aheads; a; a = a->next) {
		if (a->content.offset < c->offset && memcmp(a->file_id, c->file_id, 16) == 0) {
			return true;
		}
	}
	return false;
}

bool gate_smb_ahead_hold(struct smb_conn *conn, const struct smb_content *c, struct gate_view data)
{
	struct smb_ahead *a, **at = &conn->aheads;
	if (!is_behind(conn, c) &&
	    !has_to_wait(conn, c->file_id, c->offset, place_of(conn, c->file_id))) {
		return false;
	}
	bool large = c->size > SMB_AHEAD_MAX - conn->ahead_bytes;
	bool many = conn->ahead_count >= SMB_AHEADS_MAX;
	if (data.size > c->size || large || many) {
		if (large || many) {
			gate_smb_event(conn, large ? SMB_READ_QUEUE_SIZE : SMB_READ_QUEUE_COUNT);
		}
		gate_smb_ahead_flush(conn, c->file_id, true);
		return false;
	}
	a = gate_session_alloc_raw(conn->session, sizeof(*a) + (size_t)c->size);
	if (!a) {
		gate_smb_ahead_flush(conn, c->file_id, true);
		return false;
	}
	*a = (struct smb_ahead){.content = *c};
	memcpy(a->file_id, c->file_id, 16);
	a->content.file_id = a->file_id;
	gate_smb_ahead_more(a, data.data, data.size);
	while (*at && (*at)->content.offset <= c->offset) {
		at = &(*at)->next;
	}
	a->next = *at;
	*at = a;
	conn->ahead_bytes += (uint32_t)c->size;
	conn->ahead_count++;
	if (a->have < c->size) {
		conn->data[GATE_TO_CLIENT].ahead = a;
		conn->data[GATE_TO_CLIENT].left = c->size - a->have;
	}
	return true;
}

void gate_smb_ahead_more(struct smb_ahead *a, const uint8_t *data, uint32_t size)
{
	if (!data || size > a->content.size - a->have) {
		a->cut = true;
	}
	if (!a->cut) {
		memcpy(a->data + a->have, data, size);
		a->have += size;
	}
}

static struct smb_ahead *take(struct smb_conn *conn, struct smb_ahead **at)
{
	struct smb_ahead *a = *at;
	*at = a->next;
	conn->ahead_bytes -= (uint32_t)a->content.size;
	conn->ahead_count--;
	return a;
}

static void lost(struct smb_conn *conn, const struct smb_ahead *a)
{
	struct smb_file *f = gate_smb_file(conn, a->file_id);
	struct smb_tx *tx = f ? f->tx[GATE_TO_CLIENT] : NULL;
	uint32_t size = (uint32_t)a->content.size - a->have;
	if (tx && size) {
		gate_file_gap(conn->session, tx->file, size);
		f->at[GATE_TO_CLIENT] += size;
	}
}

/* Out of the list first: placing it can open a file, which closes another one, which flushes. */
static void settle(struct smb_conn *conn, struct smb_ahead **at)
{
	struct smb_ahead *a = take(conn, at);
	bool comes_still = conn->data[GATE_TO_CLIENT].ahead == a;
	struct smb_content c = a->content;
	if (comes_still) {
		conn->data[GATE_TO_CLIENT].ahead = NULL; /* the file gets it from here on */
	} else {
		c.size = a->have;
	}
	gate_smb_place(conn, GATE_TO_CLIENT, &c,
		       (struct gate_view){.data = a->data, .size = a->have});
	if (!comes_still) {
		lost(conn, a);
	}
	gate_session_release(conn->session, a, size_of(a));
}

static bool is_due(struct smb_conn *conn, const struct smb_ahead *a)
{
	return conn->data[GATE_TO_CLIENT].ahead != a &&
	       !has_to_wait(conn, a->file_id, a->content.offset, place_of(conn, a->file_id));
}

void gate_smb_ahead_flush(struct smb_conn *conn, const uint8_t file_id[16], bool all)
{
	struct smb_ahead **at = &conn->aheads;
	while (*at) {
		bool is_ours = !file_id || memcmp((*at)->file_id, file_id, 16) == 0;
		if (is_ours && (all || is_due(conn, *at))) {
			settle(conn, at);
			at = &conn->aheads; /* it may be another list now */
		} else {
			at = &(*at)->next;
		}
	}
}

void gate_smb_ahead_free(struct smb_conn *conn)
{
	while (conn->aheads) {
		struct smb_ahead *a = take(conn, &conn->aheads);
		gate_session_release(conn->session, a, size_of(a));
	}
}
