/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the lines of the audit log. */
#include "model/audit.h"

#include "base/json.h"
#include "base/jtext.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <openssl/sha.h>

#define STATE_DEPTH_MAX 5 /* below record, entry and state a reader goes no deeper */
#define STATE_START_MAX 2000

struct bh_audit_hash bh_audit_hash_of(const void *text, size_t size)
{
	struct bh_audit_hash hash;

	SHA256(text, size, hash.bytes);
	return hash;
}

bool bh_audit_hash_same(const struct bh_audit_hash *a, const struct bh_audit_hash *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* ---- members ---- */

static void add_hash(struct bh_wbuf *w, const char *key, const struct bh_audit_hash *hash)
{
	char text[BH_AUDIT_HASH_TEXT_SIZE];

	bh_hex_format(hash->bytes, sizeof(hash->bytes), text);
	bh_jtext_add_str(w, key, text);
}

/* RFC 3339 with all nine digits: two entries of one millisecond keep their order for readers. */
static void add_time(struct bh_wbuf *w, uint64_t wall_ns)
{
	char text[BH_TIME_TEXT_SIZE];
	char whole[BH_TIME_TEXT_SIZE + 16];

	bh_time_format(wall_ns, text);
	text[strcspn(text, ".Z")] = '\0';
	snprintf(whole, sizeof(whole), "%s.%09lluZ", text,
		 (unsigned long long)(wall_ns % BH_NS_PER_S));
	bh_jtext_add_str(w, "time", whole);
}

/* Cut where a character begins. */
static size_t cut(const char *s, size_t max)
{
	size_t len = strlen(s);

	if (len <= max) {
		return len;
	}
	for (len = max; len && ((unsigned char)s[len] & 0xc0) == 0x80; len--) {
	}
	return len;
}

static void add_text(struct bh_wbuf *w, const char *key, const char *s)
{
	char text[BH_AUDIT_TEXT_MAX + 1];
	size_t len;

	if (!s || !*s) {
		return;
	}
	len = cut(s, BH_AUDIT_TEXT_MAX);
	memcpy(text, s, len);
	text[len] = '\0';
	bh_jtext_add_str(w, key, text);
}

static void add_json(struct bh_wbuf *w, const char *key, const char *json)
{
	if (json) {
		bh_jtext_add_key(w, key);
		bh_wbuf_str(w, json);
	}
}

/* ---- entries ---- */

int bh_audit_entry_write(struct bh_wbuf *w, const struct bh_audit_entry *e)
{
	size_t before = w->size;
	struct bh_wbuf line;
	int r = 0;

	bh_wbuf_init(&line, BH_AUDIT_LINE_MAX);
	bh_wbuf_u8(&line, '{');
	bh_jtext_add_u64(&line, "v", BH_AUDIT_VERSION);
	bh_jtext_add_u64(&line, "tenant", e->tenant);
	add_text(&line, "name", e->tenant_name);
	bh_jtext_add_u64(&line, "tseq", e->tseq);
	add_hash(&line, "tprev", &e->tprev);
	add_time(&line, e->time_ns);
	add_text(&line, "state", e->state);
	add_text(&line, "user", e->user);
	add_text(&line, "role", e->role);
	add_text(&line, "factor", e->factor);
	add_text(&line, "from", e->from);
	add_text(&line, "via", e->via);
	add_text(&line, "act", e->act);
	add_text(&line, "object", e->object);
	add_json(&line, "before", e->before);
	add_json(&line, "after", e->after);
	add_text(&line, "result", e->result);
	if (e->code) {
		bh_jtext_add_u64(&line, "code", e->code);
	}
	add_text(&line, "reason", e->reason);
	add_text(&line, "approval", e->approval);
	add_text(&line, "request", e->request);
	if (e->left_out) {
		bh_jtext_add_u64(&line, "left_out", e->left_out);
	}
	bh_wbuf_u8(&line, '}');
	if (line.err) {
		r = -EMSGSIZE;
	} else {
		bh_wbuf_put(w, line.data, line.size);
		r = w->err;
	}
	if (r < 0) {
		w->size = before;
	}
	bh_wbuf_done(&line);
	return r;
}

/* The longest way down; stops looking once it is too long, and what a program made is no deeper
 * than its code. */
static unsigned int depth_of(const json_t *json, unsigned int depth)
{
	unsigned int deepest = depth;
	const char *key;
	json_t *value;
	size_t i;

	if (depth > STATE_DEPTH_MAX) {
		return depth;
	}
	if (json_is_object(json)) {
		json_object_foreach ((json_t *)json, key, value) {
			unsigned int d = depth_of(value, depth + 1);

			deepest = d > deepest ? d : deepest;
		}
	} else {
		json_array_foreach ((json_t *)json, i, value) {
			unsigned int d = depth_of(value, depth + 1);

			deepest = d > deepest ? d : deepest;
		}
	}
	return deepest;
}

/* A reader of lines is stricter than JSON about keys and numbers (base/jtext.h). */
static bool readable(const char *text)
{
	BH_FREE struct bh_jtext *j = bh_alloc(sizeof(*j));
	BH_FREE char *object = bh_asprintf("{\"s\":%s}", text);

	return bh_jtext_parse(object, strlen(object), j, NULL) == 0;
}

char *bh_audit_state_text(const json_t *json)
{
	BH_FREE char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	BH_FREE char *start = NULL;
	struct bh_audit_hash hash;
	struct bh_wbuf w;
	char *ret;
	size_t size;

	if (!text) {
		return NULL;
	}
	size = strlen(text);
	if (size <= BH_AUDIT_STATE_MAX && depth_of(json, 0) <= STATE_DEPTH_MAX && readable(text)) {
		return bh_steal(&text);
	}
	hash = bh_audit_hash_of(text, size);
	start = bh_strdup(text);
	start[cut(start, STATE_START_MAX)] = '\0';
	bh_wbuf_init(&w, 0);
	bh_wbuf_u8(&w, '{');
	bh_jtext_add_u64(&w, "bytes", size);
	add_hash(&w, "sha256", &hash);
	bh_jtext_add_str(&w, "start", start);
	bh_wbuf_u8(&w, '}');
	ret = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return ret;
}

void bh_audit_record_write(struct bh_wbuf *w, uint64_t seq, const struct bh_audit_hash *prev,
			   const char *entry, size_t size)
{
	char text[BH_AUDIT_HASH_TEXT_SIZE];

	bh_hex_format(prev->bytes, sizeof(prev->bytes), text);
	bh_wbuf_printf(w, "{\"seq\":%llu,\"prev\":\"%s\",\"entry\":", (unsigned long long)seq,
		       text);
	bh_wbuf_put(w, entry, size);
	bh_wbuf_u8(w, '}');
}

void bh_audit_head_write(struct bh_wbuf *w, const struct bh_audit_head *head)
{
	struct bh_wbuf line;

	bh_wbuf_init(&line, 0);
	bh_wbuf_u8(&line, '{');
	bh_jtext_add_u64(&line, "bulkhead_audit", BH_AUDIT_VERSION);
	bh_jtext_add_str(&line, "log", head->log);
	bh_jtext_add_u64(&line, "tenant", head->tenant);
	add_text(&line, "name", head->tenant_name);
	add_time(&line, head->time_ns);
	bh_jtext_add_str(&line, "keys", head->keys);
	bh_wbuf_u8(&line, '}');
	bh_wbuf_put(w, line.data, line.size);
	bh_wbuf_done(&line);
}
