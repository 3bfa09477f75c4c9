/* SPDX-License-Identifier: Apache-2.0 */
/* Flow events as talks. */
#include "manager/events/events.h"

#include "base/time.h"
#include "policy/policy.h"

static uint32_t number(const struct bh_jtext *event, const char *key, uint32_t max)
{
	uint64_t v = 0;

	(void)bh_jtext_u64(event, key, max, &v);
	return (uint32_t)v;
}

static void address(const struct bh_jtext *event, const char *key, uint8_t ret[16])
{
	char text[BH_ADDR_TEXT_SIZE];

	if (!bh_jtext_str(event, key, text, sizeof(text)) || bh_addr_parse(text, ret) < 0) {
		memset(ret, 0, 16);
	}
}

/* [a, b] of the two directions. */
static uint64_t sum_of(const struct bh_jtext *event, const char *key)
{
	const struct bh_jtext_member *m = bh_jtext_find(event, key);
	const char *p, *end;
	uint64_t sum = 0, v = 0;

	if (!m || m->kind != BH_JTEXT_ARRAY) {
		return 0;
	}
	p = event->text + m->value;
	for (end = p + m->value_size; p < end; p++) {
		if (*p >= '0' && *p <= '9') {
			v = v > UINT64_MAX / 16 ? v : v * 10 + (uint64_t)(*p - '0');
		} else {
			sum += v;
			v = 0;
		}
	}
	return sum;
}

static uint8_t verdict(const struct bh_jtext *event)
{
	char text[8];

	if (!bh_jtext_str(event, "action", text, sizeof(text))) {
		return 0;
	}
	return strcmp(text, "allow") == 0    ? BH_POLICY_ALLOW
	       : strcmp(text, "deny") == 0   ? BH_POLICY_DENY
	       : strcmp(text, "reject") == 0 ? BH_POLICY_REJECT
					     : 0;
}

bool manager_talk_of(const char *type, const struct bh_jtext *event, struct manager_talk *ret)
{
	bool closed = strcmp(type, "flow.closed") == 0;
	char text[12];

	memset(ret, 0, sizeof(*ret));
	if (!closed && strcmp(type, "flow.new") != 0 && strcmp(type, "flow.refused") != 0) {
		return false;
	}
	ret->net = number(event, "net", UINT32_MAX);
	ret->src_identity = number(event, "src_identity", UINT32_MAX);
	ret->dst_identity = number(event, "dst_identity", UINT32_MAX);
	ret->rule = number(event, "rule", UINT32_MAX);
	ret->other_rule = number(event, "other_rule", UINT32_MAX);
	address(event, "src", ret->src);
	address(event, "dst", ret->dst);
	if (bh_jtext_str(event, "proto", text, sizeof(text))) {
		(void)!bh_proto_parse(text, &ret->proto);
	}
	ret->port = (uint16_t)number(event, "dport", UINT16_MAX);
	if (ret->proto == 1 || ret->proto == 58) {
		ret->port = (uint16_t)(number(event, "icmp_type", 255) << 8 |
				       number(event, "icmp_code", 255));
	}
	ret->dir = bh_jtext_str(event, "dir", text, sizeof(text)) && strcmp(text, "ingress") == 0
			   ? BH_POLICY_INGRESS
			   : BH_POLICY_EGRESS;
	ret->verdict = verdict(event);
	ret->count = closed ? 0 : number(event, "count", INT32_MAX);
	ret->count += !closed && !ret->count;
	if (closed) {
		ret->packets = sum_of(event, "packets");
		ret->bytes = sum_of(event, "bytes");
	}
	return true;
}

struct folding {
	struct manager_talks *talks;
	uint64_t now_s;
	struct bh_diag *diag;
};

static int fold_again(uint64_t id, const struct manager_row *row, const char *json, void *arg)
{
	struct folding *f = arg;
	struct manager_talk talk;
	struct bh_jtext event;

	if (!manager_type_is_flow(row->type) ||
	    bh_jtext_parse(row->body, row->body_size, &event, NULL) ||
	    !manager_talk_of(row->type, &event, &talk)) {
		return 0;
	}
	talk.src_tenant = row->src_tenant;
	talk.dst_tenant = row->dst_tenant;
	talk.first_s = talk.last_s = (uint32_t)((uint64_t)row->wall_ns / BH_NS_PER_S);
	return manager_talks_add(f->talks, &talk, f->now_s, f->diag);
}

int manager_talks_catch_up(struct manager_talks *talks, const char *path, uint64_t last_id,
			   struct bh_diag *diag)
{
	struct manager_event_filter all = {
		.scope.all = true, .flow_scope.all = true, .flows = true, .has_after = true};
	struct folding f = {talks, bh_time_wall_ns() / BH_NS_PER_S, diag};
	struct manager_reader *reader = NULL;
	struct manager_listed listed;
	int r;

	all.after = manager_talks_position(talks);
	if (all.after == last_id) {
		return 0;
	}
	if (!all.after || all.after > last_id) {
		/* Talks begin here: what was there before them is not counted. */
		return manager_talks_flush(talks, last_id, f.now_s, true, diag);
	}
	r = manager_reader_open(path, &reader, diag);
	if (r == 0) {
		r = manager_reader_list(reader, &all, fold_again, &f, &listed, diag);
	}
	manager_reader_close(reader);
	return r < 0 ? r : manager_talks_flush(talks, last_id, f.now_s, true, diag);
}
