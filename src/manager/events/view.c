/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/view.h"

#include "base/util.h"

#define PROVIDER_RULE "provider/"

/* Members by type, with a space between; of all types: `common`. */
static const char common[] = "v time type severity";
static const char of_flow[] = "dir action verdict reason proto ethertype src dst sport dport "
			      "icmp_type icmp_code packets bytes duration_ms count net";
static const char own_of_flow[] = "vm vm_name tenant nic";
static const struct {
	const char *type; /* "vm." is a prefix */
	const char *members;
} lists[] = {
	{"gate.", "vm vm_name tenant nic signature category priority gid sid rev app action reason "
		  "layer event proto src dst sport dport"},
	{"dhcp.", "vm vm_name tenant nic address lease_s"},
	{"vm.started", "vm vm_name tenant"},
	{"vm.stopped", "vm vm_name tenant"},
	{"vm.migrated", "vm vm_name tenant"},
	{"vm.quarantined", "vm vm_name tenant why"},
	{"vm.released", "vm vm_name tenant why"},
	{"vm.rolled-back", "vm vm_name tenant"},
	{"vm.over-quota", "vm vm_name tenant labels limit message"},
	{"vm.within-quota", "vm vm_name tenant labels limit"},
	{"nic.", "vm vm_name tenant nic"},
	{"policy.committed", "tenant revision author summary changes confirm_until"},
	{"policy.confirmed", "tenant revision author summary"},
	{"policy.unconfirmed-rolled-back", "tenant revision author summary"},
	{"policy.monitor", "tenant policy author since removes deny allow complete examples"},
	{"access.", "tenant user from verb object rule way count"},
	{"request.", "tenant user verb object kind reason state hours by id"},
	{"quota.", "tenant what limit left_out since reason"},
};

static bool has_word(const char *list, const struct bh_jtext *event,
		     const struct bh_jtext_member *m)
{
	const char *key = event->text + m->key;

	for (const char *p = list; *p; p += strcspn(p, " "), p += *p == ' ') {
		if (strcspn(p, " ") == m->key_size && memcmp(p, key, m->key_size) == 0) {
			return true;
		}
	}
	return false;
}

static const char *list_of(const char *type)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(lists); i++) {
		size_t len = strlen(lists[i].type);

		if (strcmp(type, lists[i].type) == 0 ||
		    (lists[i].type[len - 1] == '.' && strncmp(type, lists[i].type, len) == 0)) {
			return lists[i].members;
		}
	}
	return NULL;
}

static bool is_flow(const char *type)
{
	return strncmp(type, "flow.", 5) == 0 || strncmp(type, "guard.", 6) == 0;
}

bool manager_event_type_shown(const char *type)
{
	return is_flow(type) || list_of(type);
}

static const char *owner(const struct manager_scope *scope, uint32_t tenant)
{
	return !tenant ? "none" : manager_scope_has(scope, tenant) ? "own" : "other";
}

/* "provider/no-smb egress[2] (…): deny tcp/445" says `guard-rail no-smb`. */
static void add_rule(struct bh_wbuf *buf, const struct bh_jtext *event, const char *key)
{
	char text[512], shown[128];

	if (!bh_jtext_str(event, key, text, sizeof(text)) || !*text) {
		return;
	}
	if (strncmp(text, PROVIDER_RULE, strlen(PROVIDER_RULE)) != 0) {
		bh_jtext_add_str(buf, key, text);
		return;
	}
	snprintf(shown, sizeof(shown), "guard-rail %.*s",
		 (int)strcspn(text + strlen(PROVIDER_RULE), " "), text + strlen(PROVIDER_RULE));
	bh_jtext_add_str(buf, key, shown);
}

static void add_vm(struct bh_wbuf *buf, const struct bh_jtext *event, const char *key, bool seen)
{
	const struct bh_jtext_member *m = seen ? bh_jtext_find(event, key) : NULL;

	if (m) {
		bh_jtext_add_member(buf, event, m);
	}
}

static void view_flow(const struct manager_scope *scope, const struct manager_row *row,
		      const struct bh_jtext *event, struct bh_wbuf *buf)
{
	bool src = manager_scope_has(scope, row->src_tenant);
	bool dst = manager_scope_has(scope, row->dst_tenant);
	bool own = row->vm_end ? dst : src;
	bool other = row->vm_end ? src : dst;

	for (unsigned int i = 0; i < event->count; i++) {
		const struct bh_jtext_member *m = &event->members[i];

		if (has_word(of_flow, event, m) || (own && has_word(own_of_flow, event, m))) {
			bh_jtext_add_member(buf, event, m);
		}
	}
	add_vm(buf, event, "src_vm", src);
	add_vm(buf, event, "dst_vm", dst);
	if (own) {
		add_rule(buf, event, "rule_text");
	}
	if (other) {
		add_rule(buf, event, "other_rule_text");
	}
	bh_jtext_add_str(buf, "src_of", owner(scope, row->src_tenant));
	bh_jtext_add_str(buf, "dst_of", owner(scope, row->dst_tenant));
}

const char *manager_event_view(const struct manager_scope *scope, const struct manager_row *row,
			       struct bh_wbuf *buf)
{
	const char *list;
	struct bh_jtext event;

	if (scope->all) {
		return row->body;
	}
	list = list_of(row->type);
	if (!is_flow(row->type) && row->src_tenant == MANAGER_SCOPE_PROVIDER &&
	    manager_scope_has(scope, MANAGER_SCOPE_PROVIDER)) {
		return row->body; /* the provider's own business */
	}
	if (!manager_scope_sees(scope, row->src_tenant, row->dst_tenant) ||
	    (!list && !is_flow(row->type)) ||
	    bh_jtext_parse(row->body, row->body_size, &event, NULL)) {
		return NULL;
	}
	buf->size = 0;
	bh_wbuf_u8(buf, '{');
	for (unsigned int i = 0; i < event.count; i++) {
		const struct bh_jtext_member *m = &event.members[i];

		if (has_word(common, &event, m) || (list && has_word(list, &event, m))) {
			bh_jtext_add_member(buf, &event, m);
		}
	}
	if (!list) {
		view_flow(scope, row, &event, buf);
	}
	bh_wbuf_u8(buf, '}');
	return bh_wbuf_cstr(buf);
}
