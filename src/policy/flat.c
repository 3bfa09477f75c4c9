/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flat form: `firewall_rules:`, an ordered list of source, destination, protocol, port, action.
 *
 * Such a list is written for one firewall in the middle; here each VM has its own. So each item
 * becomes two policies of tier tenant: one at the VMs that its destination means (ingress), one at
 * those that its source means (egress). Their `order` is 1000 plus the item's place, so the first
 * item that matches decides at either end, as in the list. As an end to be judged at, 0.0.0.0/0
 * means every VM of the tenant; as the other end it means what it says, every IPv4 address. IPv6 is
 * refused in the end because these policies select the VMs.
 */
#include "policy/parse.h"

#include "model/id.h"

#include <errno.h>
#include <strings.h>

#define FLAT_ORDER 1000
#define PORTS_MAX  256

enum end_kind { END_ANY, END_ALL, END_CIDR, END_VM };
struct flat_end {
	enum end_kind kind; /* ANY: the word; ALL: 0.0.0.0/0 or ::/0 */
	struct policy_cidr cidr;
	const char *vm;
};

struct flat_item {
	const struct yaml_tree_node *node;
	const char *name; /* as written */
	char id[BH_NAME_MAX + 1];
	struct flat_end source, destination;
	struct policy_port ports[PORTS_MAX];
	size_t port_count;
	enum bh_policy_action action;
	bool log;
};

static int read_end(const struct policy_reading *rd, const struct yaml_tree_node *item,
		    const char *key, struct flat_end *ret)
{
	const struct yaml_tree_node *m = policy_member(item, key);
	int r;

	if (!m) {
		return policy_fail(rd, item, "expected `%s` in an item of firewall_rules", key);
	}
	r = policy_need_text(rd, m, "an address, a prefix or the name of a VM");
	if (r) {
		return r;
	}
	memset(ret, 0, sizeof(*ret));
	if (!strcasecmp(m->text, "any")) {
		ret->kind = END_ANY;
		return 0;
	}
	/* What looks like an address must be a good one; the rest is the name of a VM. */
	if (strspn(m->text, "0123456789./") == strlen(m->text) || strchr(m->text, ':')) {
		r = policy_read_cidr(rd, m, &ret->cidr);
		ret->kind = END_CIDR;
		if (!r &&
		    (!ret->cidr.bits || (bh_addr_is_v4(ret->cidr.addr) && ret->cidr.bits == 96))) {
			ret->kind = END_ALL;
		}
		return r;
	}
	if (!*m->text || strlen(m->text) > 255 || strpbrk(m->text, "/ ")) {
		return policy_fail(
			rd, m, "\"%.64s\" is neither an address nor a prefix nor the name of a VM",
			m->text);
	}
	ret->kind = END_VM;
	ret->vm = m->text;
	return 0;
}

static int read_flat_ports(const struct policy_reading *rd, const struct yaml_tree_node *m,
			   uint8_t proto, struct flat_item *item)
{
	char text[1024];
	char *save = NULL;
	int r = policy_need_text(rd, m, "ports such as \"80,443\"");

	if (r) {
		return r;
	}
	if (strlen(m->text) >= sizeof(text)) {
		return policy_fail(rd, m, "expected less than %zu bytes of ports", sizeof(text));
	}
	strcpy(text, m->text);
	for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		char *end = p + strlen(p);

		p += strspn(p, " ");
		while (end > p && end[-1] == ' ') {
			*--end = '\0';
		}
		if (item->port_count == PORTS_MAX) {
			return policy_fail(rd, m, "more than %d ports in one item", PORTS_MAX);
		}
		item->ports[item->port_count].proto = proto;
		r = policy_read_port_range(rd, m, p, &item->ports[item->port_count++]);
		if (r) {
			return r;
		}
	}
	return item->port_count ? 0 : policy_fail(rd, m, "expected ports such as \"80,443\"");
}

static int read_service(const struct policy_reading *rd, struct flat_item *item)
{
	const struct yaml_tree_node *protocol = policy_member(item->node, "protocol");
	const struct yaml_tree_node *port = policy_member(item->node, "port");
	char lower[16] = "";
	uint8_t proto;
	int r = 0;

	item->port_count = 0;
	if (protocol) {
		r = policy_need_text(rd, protocol, "protocol");
	}
	if (r) {
		return r;
	}
	if (!protocol || !strcasecmp(protocol->text, "any")) {
		return port ? policy_fail(rd, port->key,
					  "expected `protocol` (tcp, udp or sctp) beside `port`")
			    : 0;
	}
	for (size_t i = 0; protocol->text[i] && i < sizeof(lower) - 1; i++) {
		char c = protocol->text[i];

		lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	if (strlen(protocol->text) >= sizeof(lower) || bh_proto_parse(lower, &proto)) {
		return policy_fail(
			rd, protocol,
			"\"%.32s\" is no protocol; expected tcp, udp, sctp, icmp, icmpv6, any "
			"or a number",
			protocol->text);
	}
	if (!port) {
		item->ports[item->port_count++] =
			(struct policy_port){.proto = proto, .whole = true};
		return 0;
	}
	if (proto != 6 && proto != 17 && proto != 132) {
		return policy_fail(rd, port->key, "protocol %s has no ports", lower);
	}
	return read_flat_ports(rd, port, proto, item);
}

static int read_flat_action(const struct policy_reading *rd, struct flat_item *item)
{
	static const enum bh_policy_action actions[] = {BH_POLICY_ALLOW, BH_POLICY_DENY,
							BH_POLICY_REJECT};
	const struct yaml_tree_node *m = policy_member(item->node, "action");
	int r;

	if (!m) {
		return policy_fail(rd, item->node,
				   "expected `action` in an item of firewall_rules");
	}
	r = policy_need_text(rd, m, "action");
	if (r) {
		return r;
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(actions); i++) {
		if (!strcasecmp(m->text, bh_policy_action_name(actions[i]))) {
			item->action = actions[i];
			return 0;
		}
	}
	return policy_fail(rd, m, "\"%.32s\" is no action; expected allow, deny or reject",
			   m->text);
}

static int read_item(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     struct flat_item *item)
{
	static const char *const keys[] = {"name", "source", "destination", "protocol",
					   "port", "action", "log",	    NULL};
	const struct yaml_tree_node *m;
	int r = policy_need_map(rd, node, "an item of firewall_rules", keys);

	item->node = node;
	item->name = "";
	item->log = false;
	if (!r && (m = policy_member(node, "name"))) {
		r = policy_read_rule_name(rd, m, &item->name);
	}
	if (!r) {
		r = read_end(rd, node, "source", &item->source);
	}
	if (!r) {
		r = read_end(rd, node, "destination", &item->destination);
	}
	if (!r) {
		r = read_service(rd, item);
	}
	if (!r) {
		r = read_flat_action(rd, item);
	}
	if (!r && (m = policy_member(node, "log"))) {
		r = policy_read_bool(rd, m, "log", &item->log);
	}
	return r;
}

/* The list's place and the item's name, as the name of a policy: "0001-web-server-inbound". */
static void make_id(const char *prefix, size_t index, const char *name, char *ret_id)
{
	size_t n = (size_t)snprintf(ret_id, BH_NAME_MAX - 3, "%s%s%04zu", prefix,
				    *prefix ? "." : "", index + 1);

	if (*name) {
		ret_id[n++] = '-';
	}
	for (; *name && n < BH_NAME_MAX - 4; name++) {
		unsigned char c = (unsigned char)*name;

		c = (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
		ret_id[n++] = (char)((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-');
	}
	while (ret_id[n - 1] == '-') {
		n--;
	}
	ret_id[n] = '\0';
}

static void subject_of(struct bh_policy *policy, const struct flat_end *end)
{
	struct policy_selector *s = policy_arena_alloc(&policy->arena, sizeof(*s));

	policy->selector = s;
	if (end->kind == END_CIDR) {
		s->addresses = policy_arena_alloc(&policy->arena, sizeof(*s->addresses));
		*s->addresses = end->cidr;
		s->address_count = 1;
	} else if (end->kind == END_VM) {
		s->vms = policy_arena_alloc(&policy->arena, sizeof(*s->vms));
		s->vms[0] = policy_arena_strdup(&policy->arena, end->vm);
		s->vm_count = 1;
	}
}

static void peer_of(struct bh_policy *policy, const struct flat_end *end, struct policy_rule *rule)
{
	struct policy_peer *peer = policy_arena_alloc(&policy->arena, sizeof(*peer));

	rule->peers = peer;
	rule->peer_count = 1;
	if (end->kind == END_VM) {
		peer->kind = POLICY_PEER_SELECTOR;
		peer->tenant = policy->tenant;
		peer->selector = policy_arena_alloc(&policy->arena, sizeof(*peer->selector));
		peer->selector->vms =
			policy_arena_alloc(&policy->arena, sizeof(*peer->selector->vms));
		peer->selector->vms[0] = policy_arena_strdup(&policy->arena, end->vm);
		peer->selector->vm_count = 1;
		return;
	}
	if (end->kind == END_ANY) {
		peer->kind = POLICY_PEER_ENTITY;
		peer->entity = POLICY_ENTITY_ANY;
		return;
	}
	peer->kind = POLICY_PEER_CIDR;
	peer->cidr = end->cidr;
}

static void add_policy(struct policy_reading *rd, const struct flat_item *item, size_t index,
		       enum bh_policy_dir dir, const char *tenant)
{
	struct bh_policy *policy = policy_new();
	struct policy_arena *arena = &policy->arena;
	struct policy_rule *rule = policy_arena_alloc(arena, sizeof(*rule));
	bool in = dir == BH_POLICY_INGRESS;
	char name[BH_NAME_MAX + 1];

	snprintf(name, sizeof(name), "%.59s.%s", item->id, in ? "in" : "out");
	policy->name = policy_arena_strdup(arena, name);
	policy->tenant = policy_arena_strdup(arena, tenant);
	policy->file = policy_arena_strdup(arena, rd->file ? rd->file : "");
	policy->line = item->node->line;
	policy->order = FLAT_ORDER + (unsigned int)index;
	policy->directions = 1u << dir;
	subject_of(policy, in ? &item->destination : &item->source);
	rule->name = policy_arena_strdup(arena, item->name);
	rule->action = item->action;
	rule->flags = item->log ? BH_POLICY_RULE_LOG : 0;
	rule->line = item->node->line;
	rule->ports = policy_arena_alloc(arena, (item->port_count + 1) * sizeof(*rule->ports));
	memcpy(rule->ports, item->ports, item->port_count * sizeof(*rule->ports));
	rule->port_count = item->port_count;
	peer_of(policy, in ? &item->source : &item->destination, rule);
	policy->rules[dir] = rule;
	policy->rule_count[dir] = 1;
	policy_seal(policy);
	policy_set_push(rd->set, policy);
}

static int read_head(struct policy_reading *rd, const struct yaml_tree_node *root,
		     const char **ret_prefix, const char **ret_tenant)
{
	static const char *const keys[] = {"apiVersion", "metadata", "firewall_rules", NULL};
	static const char *const metadata_keys[] = {"name", "tenant", NULL};
	const struct yaml_tree_node *metadata;
	const struct yaml_tree_node *name;
	int r = policy_need_map(rd, root, "a document with firewall_rules", keys);

	metadata = r ? NULL : policy_member(root, "metadata");
	if (!r && metadata) {
		r = policy_need_map(rd, metadata, "metadata", metadata_keys);
	}
	if (r) {
		return r;
	}
	*ret_prefix = "rule";
	name = metadata ? policy_member(metadata, "name") : NULL;
	if (name) {
		r = policy_read_name(rd, name, "a list", ret_prefix);
		if (!r && strlen(*ret_prefix) > 24) {
			r = policy_fail(rd, name, "the name of a list has at most 24 bytes");
		}
	}
	return r ? r : policy_read_tenant(rd, metadata, root, ret_tenant);
}

int policy_read_flat(struct policy_reading *rd, const struct yaml_tree_node *root)
{
	const struct yaml_tree_node *list = policy_member(root, "firewall_rules");
	struct flat_item *item = bh_alloc(sizeof(*item));
	struct policy_arena arena = {};
	const char *prefix;
	const char *tenant;
	size_t index = 0;
	int r;

	rd->arena = &arena;
	r = read_head(rd, root, &prefix, &tenant);
	if (!r) {
		r = policy_need_list(rd, list, "firewall_rules", 0);
	}
	if (!r && list->count > BH_POLICY_DOCUMENTS_MAX) {
		r = policy_fail(rd, list, "more than %d items in firewall_rules",
				BH_POLICY_DOCUMENTS_MAX);
	}
	for (const struct yaml_tree_node *c = r ? NULL : list->first; c; c = c->next, index++) {
		r = read_item(rd, c, item);
		if (r) {
			break;
		}
		make_id(prefix, index, item->name, item->id);
		add_policy(rd, item, index, BH_POLICY_INGRESS, tenant);
		add_policy(rd, item, index, BH_POLICY_EGRESS, tenant);
	}
	policy_arena_done(&arena);
	free(item);
	return r;
}
