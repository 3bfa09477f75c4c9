/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_log.h"

#include "base/time.h"
#include "base/util.h"

static void add_line(struct audit_log *log, struct bh_wbuf *w)
{
	if (log->count == log->capacity) {
		log->capacity = log->capacity ? log->capacity * 2 : 64;
		log->lines = bh_realloc_array(log->lines, log->capacity, sizeof(*log->lines));
	}
	log->lines[log->count++] = bh_strdup(bh_wbuf_cstr(w));
	bh_wbuf_done(w);
}

void audit_log_init(struct audit_log *log, const char *id, uint32_t only)
{
	*log = (struct audit_log){.key = bh_audit_key_new(), .only = only};
	snprintf(log->id, sizeof(log->id), "%s", id);
}

void audit_log_done(struct audit_log *log)
{
	for (size_t i = 0; i < log->count; i++) {
		free(log->lines[i]);
	}
	free(log->lines);
	bh_audit_key_free(log->key);
}

void audit_log_add(struct audit_log *log, uint32_t tenant, const char *object)
{
	static const char *const names[AUDIT_LOG_TENANTS] = {"", "provider", "shop", "bank"};
	struct bh_audit_entry e = {
		.tenant = tenant,
		.tenant_name = names[tenant],
		.tseq = ++log->tseq[tenant],
		.tprev = log->thead[tenant],
		.time_ns = AUDIT_LOG_TIME + log->seq * BH_NS_PER_MS,
		.state = "done",
		.user = "anna",
		.role = "tenant-admin@shop",
		.factor = "totp",
		.from = "192.0.2.7",
		.via = "session",
		.act = "vm.labels",
		.object = object,
		.before = "{\"app\":\"web\"}",
		.after = "{\"app\":\"db\"}",
		.result = "done",
		.code = 200,
		.reason = "moved",
		.approval = "r-17",
		.request = "0011223344556677",
	};
	struct bh_wbuf entry, record;

	bh_wbuf_init(&entry, 0);
	bh_wbuf_init(&record, 0);
	if (bh_audit_entry_write(&entry, &e) < 0) {
		abort();
	}
	log->thead[tenant] = bh_audit_hash_of(entry.data, entry.size);
	bh_audit_record_write(&record, ++log->seq, &log->head, (const char *)entry.data,
			      entry.size);
	log->head = bh_audit_hash_of(record.data, record.size);
	if (!log->only) {
		add_line(log, &record);
	} else if (log->only == tenant) {
		add_line(log, &entry);
		bh_wbuf_done(&record);
		return;
	} else {
		bh_wbuf_done(&record);
	}
	bh_wbuf_done(&entry);
}

void audit_log_seal(struct audit_log *log, bool statement, const struct bh_audit_key *key)
{
	struct bh_audit_seal seal = {
		.statement = statement,
		.tenant = log->only,
		.from = 1,
		.to = log->only ? log->tseq[log->only] : log->seq,
		.head = log->only ? log->thead[log->only] : log->head,
		.time_ns = AUDIT_LOG_TIME + log->seq * BH_NS_PER_MS,
	};
	struct bh_wbuf w;

	memcpy(seal.log, log->id, sizeof(seal.log));
	bh_wbuf_init(&w, 0);
	if (bh_audit_seal_write(&w, &seal, key) < 0) {
		abort();
	}
	add_line(log, &w);
}

void audit_log_fill(struct audit_log *log, unsigned int n)
{
	struct bh_audit_head head = {.tenant = log->only,
				     .tenant_name = log->only ? "shop" : "",
				     .time_ns = AUDIT_LOG_TIME,
				     .keys = bh_audit_key_public(log->key)};
	struct bh_wbuf w;

	memcpy(head.log, log->id, sizeof(head.log));
	bh_wbuf_init(&w, 0);
	bh_audit_head_write(&w, &head);
	add_line(log, &w);
	for (unsigned int i = 1; i <= n; i++) {
		audit_log_add(log, 1 + i % (AUDIT_LOG_TENANTS - 1), "vm:1");
		if (i % 10 == 0) {
			audit_log_seal(log, false, log->key);
		}
	}
	audit_log_seal(log, true, log->key);
}

char *audit_log_text(const struct audit_log *log)
{
	struct bh_wbuf w;
	char *text;

	bh_wbuf_init(&w, 0);
	for (size_t i = 0; i < log->count; i++) {
		bh_wbuf_str(&w, log->lines[i]);
		bh_wbuf_u8(&w, '\n');
	}
	text = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return text;
}
