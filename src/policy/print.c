/* SPDX-License-Identifier: Apache-2.0 */
/* Documents as text: the canonical YAML, JSON, and one-line words for people. */
#include "policy/doc.h"

#include "model/id.h"

#include <ctype.h>
#include <strings.h>

/* ---- YAML scalars ---- */
static bool is_reserved_word(const char *s)
{
	static const char *const words[] = {"true", "false", "null", "yes", "no",
					    "on",   "off",   "y",    "n"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(words); i++) {
		if (!strcasecmp(s, words[i])) {
			return true;
		}
	}
	return false;
}

static bool is_plain(const char *s)
{
	if (!isalpha((unsigned char)*s) || (unsigned char)*s > 127 || is_reserved_word(s)) {
		return false;
	}
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c > 127 || (!isalnum(c) && !strchr("-_./", c))) {
			return false;
		}
	}
	return true;
}

/* Plain where every YAML reader takes it for text, else in double quotes. */
static void put_text(struct bh_wbuf *w, const char *s)
{
	if (is_plain(s)) {
		bh_wbuf_str(w, s);
		return;
	}
	bh_wbuf_u8(w, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			bh_wbuf_printf(w, "\\%c", c);
		} else if (c == '\n') {
			bh_wbuf_str(w, "\\n");
		} else if (c == '\t') {
			bh_wbuf_str(w, "\\t");
		} else if (c < 32 || c == 127) {
			bh_wbuf_printf(w, "\\x%02x", c);
		} else {
			bh_wbuf_u8(w, c);
		}
	}
	bh_wbuf_u8(w, '"');
}

static void put_member(struct bh_wbuf *w, int indent, const char *key, const char *value)
{
	bh_wbuf_printf(w, "%*s%s: ", indent, "", key);
	put_text(w, value);
	bh_wbuf_u8(w, '\n');
}

static void put_list(struct bh_wbuf *w, int indent, const char *key, const char *const *values,
		     size_t count)
{
	bh_wbuf_printf(w, "%*s%s: [", indent, "", key);
	for (size_t i = 0; i < count; i++) {
		bh_wbuf_str(w, i ? ", " : "");
		put_text(w, values[i]);
	}
	bh_wbuf_str(w, "]\n");
}

static void put_cidrs(struct bh_wbuf *w, int indent, const char *key,
		      const struct policy_cidr *cidrs, size_t count)
{
	char text[BH_CIDR_TEXT_SIZE];

	bh_wbuf_printf(w, "%*s%s: [", indent, "", key);
	for (size_t i = 0; i < count; i++) {
		bh_cidr_format(cidrs[i].addr, cidrs[i].bits, text);
		bh_wbuf_printf(w, "%s\"%s\"", i ? ", " : "", text);
	}
	bh_wbuf_str(w, "]\n");
}

static void put_labels(struct bh_wbuf *w, int indent, const char *key,
		       const struct bh_policy_label *labels, size_t count)
{
	bh_wbuf_printf(w, "%*s%s:\n", indent, "", key);
	for (size_t i = 0; i < count; i++) {
		bh_wbuf_printf(w, "%*s", indent + 2, "");
		put_text(w, labels[i].key);
		bh_wbuf_str(w, ": ");
		put_text(w, labels[i].value);
		bh_wbuf_u8(w, '\n');
	}
}

/* ---- parts ---- */
static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist"};
static const char *const entities[] = {"any", "host", "world", "multicast"};
static const struct {
	uint32_t flag;
	const char *name;
} permits[] = {
	{BH_POLICY_PERMIT_DHCP_SERVER, "dhcp-server"},
	{BH_POLICY_PERMIT_ROUTER, "router-advertisement"},
	{BH_POLICY_PERMIT_ANY_SOURCE, "any-source"},
};

void policy_selector_print(const struct policy_selector *s, int indent, struct bh_wbuf *w)
{
	if (policy_selector_is_all(s)) {
		bh_wbuf_str(w, " {}\n");
		return;
	}
	bh_wbuf_u8(w, '\n');
	if (s->label_count) {
		put_labels(w, indent, "matchLabels", s->labels, s->label_count);
	}
	if (s->expr_count) {
		bh_wbuf_printf(w, "%*smatchExpressions:\n", indent, "");
	}
	for (size_t i = 0; i < s->expr_count; i++) {
		const struct policy_expr *e = &s->exprs[i];

		put_member(w, indent, "- key", e->key);
		put_member(w, indent + 2, "operator", operators[e->op]);
		if (e->op == POLICY_IN || e->op == POLICY_NOT_IN) {
			put_list(w, indent + 2, "values", e->values, e->value_count);
		}
	}
	if (s->address_count) {
		put_cidrs(w, indent, "addresses", s->addresses, s->address_count);
	}
	if (s->vm_count) {
		put_list(w, indent, "vms", s->vms, s->vm_count);
	}
}

static void put_peer(struct bh_wbuf *w, const struct policy_peer *peer, const char *own_tenant)
{
	char text[BH_CIDR_TEXT_SIZE];

	switch (peer->kind) {
	case POLICY_PEER_ENTITY:
		put_member(w, 4, "- entity", entities[peer->entity]);
		return;
	case POLICY_PEER_CIDR:
		bh_cidr_format(peer->cidr.addr, peer->cidr.bits, text);
		bh_wbuf_printf(w, "    - cidr: \"%s\"\n", text);
		if (peer->except_count) {
			put_cidrs(w, 6, "except", peer->except, peer->except_count);
		}
		return;
	case POLICY_PEER_SELECTOR:
		break;
	}
	bh_wbuf_str(w, "    - selector:");
	policy_selector_print(peer->selector, 8, w);
	if (peer->tenancy != POLICY_TENANCY_NAMED) {
		put_member(w, 6, "tenancy",
			   peer->tenancy == POLICY_TENANCY_SAME ? "same" : "other");
	} else if (strcmp(peer->tenant, own_tenant) != 0) {
		put_member(w, 6, "tenant", peer->tenant);
	}
}

void policy_port_format(const struct policy_port *port, struct bh_wbuf *w)
{
	char proto[8];
	bool icmp = port->proto == 1 || port->proto == 58;

	bh_proto_format(port->proto, proto);
	bh_wbuf_str(w, proto);
	if (port->whole) {
		return;
	}
	if (icmp) {
		bh_wbuf_printf(w, "/%u", port->first >> 8);
		if (port->first == port->last) {
			bh_wbuf_printf(w, "/%u", port->first & 0xffu);
		}
		return;
	}
	bh_wbuf_printf(w, "/%u", port->first);
	if (port->first != port->last) {
		bh_wbuf_printf(w, "-%u", port->last);
	}
}

static void put_rule(struct bh_wbuf *w, const struct bh_policy *policy, enum bh_policy_dir dir,
		     const struct policy_rule *rule)
{
	bool named = *rule->name;

	if (named) {
		put_member(w, 2, "- name", rule->name);
	}
	put_member(w, named ? 4 : 2, named ? "action" : "- action",
		   bh_policy_action_name(rule->action));
	if (rule->flags & BH_POLICY_RULE_LOG) {
		bh_wbuf_str(w, "    log: true\n");
	}
	if (rule->peer_count) {
		bh_wbuf_printf(w, "    %s:\n", dir == BH_POLICY_INGRESS ? "from" : "to");
	}
	for (size_t i = 0; i < rule->peer_count; i++) {
		put_peer(w, &rule->peers[i], policy->tenant);
	}
	if (rule->port_count) {
		bh_wbuf_str(w, "    ports: [");
		for (size_t i = 0; i < rule->port_count; i++) {
			bh_wbuf_str(w, i ? ", " : "");
			bh_wbuf_u8(w, '"');
			policy_port_format(&rule->ports[i], w);
			bh_wbuf_u8(w, '"');
		}
		bh_wbuf_str(w, "]\n");
	}
}

static void put_grants(struct bh_wbuf *w, const struct bh_policy *policy)
{
	const char *names[BH_ARRAY_SIZE(permits)];
	size_t n = 0;

	for (size_t i = 0; i < BH_ARRAY_SIZE(permits); i++) {
		if (policy->permit & permits[i].flag) {
			names[n++] = permits[i].name;
		}
	}
	if (n) {
		put_list(w, 2, "permit", names, n);
	}
	if (policy->permit & BH_POLICY_PERMIT_ANY_VLAN) {
		bh_wbuf_str(w, "  vlans: [any]\n");
	} else if (policy->vlan_count) {
		bh_wbuf_str(w, "  vlans: [");
		for (size_t i = 0; i < policy->vlan_count; i++) {
			uint32_t v = policy->vlans[i];

			bh_wbuf_str(w, i ? ", " : "");
			if (v & 0xffff) {
				bh_wbuf_printf(w, "\"%u.%u\"", v >> 16, v & 0xffff);
			} else {
				bh_wbuf_printf(w, "%u", v >> 16);
			}
		}
		bh_wbuf_str(w, "]\n");
	}
}

static void put_head(struct bh_wbuf *w, const char *kind, const char *name)
{
	bh_wbuf_printf(w, "apiVersion: bulkhead/v1\nkind: %s\nmetadata:\n", kind);
	put_member(w, 2, "name", name);
}

void policy_tenant_print(const struct bh_policy_tenant_doc *tenant, struct bh_wbuf *w)
{
	put_head(w, "Tenant", tenant->name);
	if (*tenant->description) {
		put_member(w, 2, "description", tenant->description);
	}
}

static void print_policy(const struct bh_policy *policy, bool travel, struct bh_wbuf *w)
{
	static const enum bh_policy_dir order[] = {BH_POLICY_INGRESS, BH_POLICY_EGRESS};
	const char *names[2];
	size_t n = 0;

	put_head(w, "Policy", policy->name);
	put_member(w, 2, "tenant", policy->tenant);
	if (*policy->description) {
		put_member(w, 2, "description", policy->description);
	}
	if (policy->label_count) {
		put_labels(w, 2, "labels", policy->labels, policy->label_count);
	}
	bh_wbuf_printf(w, "spec:\n  tier: %s\n  order: %u\n", bh_policy_tier_name(policy->tier),
		       policy->order);
	if (policy->tenant_count) {
		put_list(w, 2, "tenants", policy->tenants, policy->tenant_count);
	}
	bh_wbuf_str(w, "  selector:");
	policy_selector_print(policy->selector, 4, w);
	put_grants(w, policy);
	if (travel) {
		policy_travel_print(&policy->travel, w);
	}
	bh_wbuf_str(w, policy->quarantine ? "  quarantine: true\n" : "");
	for (size_t i = 0; i < 2; i++) {
		if (bh_policy_has_direction(policy, order[i])) {
			names[n++] = bh_policy_dir_name(order[i]);
		}
	}
	put_list(w, 2, "directions", names, n);
	for (size_t i = 0; i < 2; i++) {
		enum bh_policy_dir dir = order[i];

		if (policy->rule_count[dir]) {
			bh_wbuf_printf(w, "  %s:\n", bh_policy_dir_name(dir));
		}
		for (size_t k = 0; k < policy->rule_count[dir]; k++) {
			put_rule(w, policy, dir, &policy->rules[dir][k]);
		}
	}
}

void policy_canonical_print(const struct bh_policy *policy, struct bh_wbuf *w)
{
	print_policy(policy, true, w);
}

bool policy_judge_alike(const struct bh_policy *a, const struct bh_policy *b)
{
	struct bh_wbuf x;
	struct bh_wbuf y;
	bool alike = !strcmp(a->canonical, b->canonical);

	if (alike) {
		return true;
	}
	bh_wbuf_init(&x, 0);
	bh_wbuf_init(&y, 0);
	print_policy(a, false, &x);
	print_policy(b, false, &y);
	alike = x.size == y.size && !memcmp(x.data, y.data, x.size);
	bh_wbuf_done(&x);
	bh_wbuf_done(&y);
	return alike;
}

/* ---- words for people ---- */
void policy_selector_describe(const struct policy_selector *s, struct bh_wbuf *w)
{
	const char *comma = "";
	char text[BH_CIDR_TEXT_SIZE];

	if (policy_selector_is_all(s)) {
		bh_wbuf_str(w, "all VMs");
		return;
	}
	for (size_t i = 0; i < s->label_count; i++, comma = ",") {
		bh_wbuf_printf(w, "%s%s=%s", comma, s->labels[i].key, s->labels[i].value);
	}
	for (size_t i = 0; i < s->expr_count; i++, comma = ",") {
		const struct policy_expr *e = &s->exprs[i];

		bh_wbuf_printf(w, "%s%s %s", comma, e->key, operators[e->op]);
		for (size_t k = 0; k < e->value_count; k++) {
			bh_wbuf_printf(w, "%s%s", k ? "|" : " ", e->values[k]);
		}
	}
	for (size_t i = 0; i < s->address_count; i++, comma = ",") {
		bh_cidr_format(s->addresses[i].addr, s->addresses[i].bits, text);
		bh_wbuf_printf(w, "%sVMs in %s", comma, text);
	}
	for (size_t i = 0; i < s->vm_count; i++, comma = ",") {
		bh_wbuf_printf(w, "%sVM %s", comma, s->vms[i]);
	}
}

void policy_peer_describe(const struct policy_peer *peer, const char *own_tenant, struct bh_wbuf *w)
{
	char text[BH_CIDR_TEXT_SIZE];

	if (peer->kind == POLICY_PEER_ENTITY) {
		bh_wbuf_str(w, entities[peer->entity]);
		return;
	}
	if (peer->kind == POLICY_PEER_CIDR) {
		bh_cidr_format(peer->cidr.addr, peer->cidr.bits, text);
		bh_wbuf_str(w, text);
		for (size_t i = 0; i < peer->except_count; i++) {
			bh_cidr_format(peer->except[i].addr, peer->except[i].bits, text);
			bh_wbuf_printf(w, "%s%s", i ? ", " : " except ", text);
		}
		return;
	}
	policy_selector_describe(peer->selector, w);
	if (peer->tenancy == POLICY_TENANCY_SAME) {
		bh_wbuf_str(w, " of the same tenant");
	} else if (peer->tenancy == POLICY_TENANCY_OTHER) {
		bh_wbuf_str(w, " of other tenants");
	} else if (!strcmp(peer->tenant, "*")) {
		bh_wbuf_str(w, " of any tenant");
	} else if (strcmp(peer->tenant, own_tenant) != 0) {
		bh_wbuf_printf(w, " of tenant %s", peer->tenant);
	}
}

#define DESCRIBED_MAX 8 /* peers and ports that a line of words names before "and n more" */

void bh_policy_rule_describe(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			     struct bh_wbuf *w)
{
	const struct policy_rule *rule;

	if (index >= policy->rule_count[dir]) {
		return;
	}
	rule = &policy->rules[dir][index];
	bh_wbuf_printf(w, "%s ", bh_policy_action_name(rule->action));
	for (size_t i = 0; i < rule->port_count && i < DESCRIBED_MAX; i++) {
		bh_wbuf_str(w, i ? "," : "");
		policy_port_format(&rule->ports[i], w);
	}
	if (rule->port_count > DESCRIBED_MAX) {
		bh_wbuf_printf(w, " and %zu more", rule->port_count - DESCRIBED_MAX);
	}
	bh_wbuf_str(w, rule->port_count ? "" : "everything");
	bh_wbuf_str(w, dir == BH_POLICY_INGRESS ? " from " : " to ");
	for (size_t i = 0; i < rule->peer_count && i < DESCRIBED_MAX; i++) {
		bh_wbuf_str(w, i ? "; " : "");
		policy_peer_describe(&rule->peers[i], policy->tenant, w);
	}
	if (rule->peer_count > DESCRIBED_MAX) {
		bh_wbuf_printf(w, " and %zu more", rule->peer_count - DESCRIBED_MAX);
	}
	bh_wbuf_str(w, rule->peer_count ? "" : "any");
	bh_wbuf_str(w, rule->flags & BH_POLICY_RULE_LOG ? ", log" : "");
}

void bh_policy_rule_format(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			   struct bh_wbuf *w)
{
	const char *name = bh_policy_rule_name(policy, dir, index);
	unsigned int line = bh_policy_rule_line(policy, dir, index);

	bh_wbuf_printf(w, "%s/%s %s[%zu]", policy->tenant, policy->name, bh_policy_dir_name(dir),
		       index);
	if (*name) {
		bh_wbuf_printf(w, " \"%s\"", name);
	}
	if (line && *policy->file) {
		bh_wbuf_printf(w, " (%s:%u)", policy->file, line);
	} else if (line) {
		bh_wbuf_printf(w, " (line %u)", line);
	}
}
