/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a policy: selectors, peers, ports, rules. document.c puts them together. */
#include "policy/parse.h"

#include "model/id.h"

#include <errno.h>
#include <strings.h>

/* ---- small lists ---- */
/* The value of a word out of a table that ends with NULL. */
int policy_read_choice(const struct policy_reading *rd, const struct yaml_tree_node *node,
		       const char *what, const struct policy_choice *choices, int *ret_value)
{
	char list[160] = "";
	size_t used = 0;
	int r = policy_need_text(rd, node, what);

	if (r) {
		return r;
	}
	for (size_t i = 0; choices[i].word; i++) {
		if (!strcmp(choices[i].word, node->text)) {
			*ret_value = choices[i].value;
			return 0;
		}
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
					 !i		       ? ""
					 : choices[i + 1].word ? ", "
							       : " or ",
					 choices[i].word);
		if (used >= sizeof(list)) {
			break;
		}
	}
	return policy_fail(rd, node, "\"%.64s\" is no %s; expected %s", node->text, what, list);
}

static int check_size(const struct policy_reading *rd, const struct yaml_tree_node *list,
		      const char *what)
{
	if (list->count > BH_POLICY_LIST_MAX) {
		return policy_fail(rd, list, "%zu items in %s; at most %d are accepted",
				   list->count, what, BH_POLICY_LIST_MAX);
	}
	return 0;
}

/* ---- labels and selectors ---- */
static int read_label_key(const struct policy_reading *rd, const struct yaml_tree_node *node,
			  const char **ret_key)
{
	int r = policy_need_text(rd, node, "a label key");

	if (r) {
		return r;
	}
	if (!bh_label_key_valid(node->text)) {
		return policy_fail(
			rd, node,
			"\"%.64s\" is no label key: expected at most 63 letters, digits, '-', "
			"'_', '.', '/', with a letter or digit first and last",
			node->text);
	}
	if (!strncmp(node->text, BH_POLICY_CLASS_PREFIX, strlen(BH_POLICY_CLASS_PREFIX))) {
		return policy_fail(rd, node, "label keys that start with \"%s\" are Bulkhead's own",
				   BH_POLICY_CLASS_PREFIX);
	}
	*ret_key = policy_arena_strdup(rd->arena, node->text);
	return 0;
}

static int read_label_value(const struct policy_reading *rd, const struct yaml_tree_node *node,
			    const char **ret_value)
{
	if (node->kind != YAML_TEXT) {
		return policy_fail(rd, node, "expected a label value");
	}
	if (!bh_label_value_valid(node->text)) {
		return policy_fail(
			rd, node,
			"\"%.64s\" is no label value: expected at most 63 letters, digits, '-', "
			"'_', '.', '/', with a letter or digit first and last, or \"\"",
			node->text);
	}
	*ret_value = policy_arena_strdup(rd->arena, node->text);
	return 0;
}

int policy_read_labels(const struct policy_reading *rd, const struct yaml_tree_node *map,
		       const char *what, struct bh_policy_label **ret_labels, size_t *ret_count)
{
	struct bh_policy_label *labels;
	size_t n = 0;
	int r = policy_need_map(rd, map, what, NULL);

	if (r) {
		return r;
	}
	labels = policy_arena_alloc(rd->arena, map->count * sizeof(*labels));
	for (const struct yaml_tree_node *c = map->first; c; c = c->next, n++) {
		r = read_label_key(rd, c->key, &labels[n].key);
		if (!r) {
			r = read_label_value(rd, c, &labels[n].value);
		}
		if (r) {
			return r;
		}
	}
	if (n) {
		qsort(labels, n, sizeof(*labels), policy_label_compare);
	}
	*ret_labels = labels;
	*ret_count = n;
	return 0;
}

/* Sorts, drops what is there twice. */
static size_t sort_strings(const char **values, size_t count)
{
	size_t n = 0;

	if (count) {
		qsort(values, count, sizeof(*values), policy_string_compare);
	}
	for (size_t i = 0; i < count; i++) {
		if (!n || strcmp(values[n - 1], values[i]) != 0) {
			values[n++] = values[i];
		}
	}
	return n;
}

static int read_values(const struct policy_reading *rd, const struct yaml_tree_node *list,
		       struct policy_expr *e)
{
	int r = policy_need_list(rd, list, "values", 1);

	if (!r) {
		r = check_size(rd, list, "values");
	}
	if (r) {
		return r;
	}
	e->values = policy_arena_alloc(rd->arena, list->count * sizeof(*e->values));
	for (const struct yaml_tree_node *c = list->first; c; c = c->next) {
		r = read_label_value(rd, c, &e->values[e->value_count++]);
		if (r) {
			return r;
		}
	}
	e->value_count = sort_strings(e->values, e->value_count);
	return 0;
}

static int read_expr(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     struct policy_expr *e)
{
	static const char *const keys[] = {"key", "operator", "values", NULL};
	static const struct policy_choice operators[] = {{"In", POLICY_IN},
							 {"NotIn", POLICY_NOT_IN},
							 {"Exists", POLICY_EXISTS},
							 {"DoesNotExist", POLICY_DOES_NOT_EXIST},
							 {}};
	const struct yaml_tree_node *key;
	const struct yaml_tree_node *op;
	const struct yaml_tree_node *values;
	int value;
	int r = policy_need_map(rd, node, "an item of matchExpressions", keys);

	if (r) {
		return r;
	}
	key = policy_member(node, "key");
	op = policy_member(node, "operator");
	values = policy_member(node, "values");
	if (!key || !op) {
		return policy_fail(rd, node,
				   "expected `key` and `operator` in an item of matchExpressions");
	}
	r = read_label_key(rd, key, &e->key);
	if (!r) {
		r = policy_read_choice(rd, op, "operator", operators, &value);
	}
	if (r) {
		return r;
	}
	e->op = (enum policy_operator)value;
	if (e->op == POLICY_IN || e->op == POLICY_NOT_IN) {
		return values ? read_values(rd, values, e)
			      : policy_fail(rd, node, "expected `values` with operator %s",
					    op->text);
	}
	return values ? policy_fail(rd, values, "operator %s takes no values", op->text) : 0;
}

static int compare_exprs(const void *a, const void *b)
{
	const struct policy_expr *x = a;
	const struct policy_expr *y = b;
	int r = strcmp(x->key, y->key);

	if (!r) {
		r = (int)x->op - (int)y->op;
	}
	for (size_t i = 0; !r && i < x->value_count && i < y->value_count; i++) {
		r = strcmp(x->values[i], y->values[i]);
	}
	return r ? r : (x->value_count > y->value_count) - (x->value_count < y->value_count);
}

static int read_exprs(const struct policy_reading *rd, const struct yaml_tree_node *list,
		      struct policy_selector *s)
{
	int r = policy_need_list(rd, list, "matchExpressions", 0);

	if (!r && list->count > BH_LABELS_MAX) {
		r = policy_fail(rd, list, "more than %d items in matchExpressions", BH_LABELS_MAX);
	}
	if (r) {
		return r;
	}
	s->exprs = policy_arena_alloc(rd->arena, list->count * sizeof(*s->exprs));
	for (const struct yaml_tree_node *c = list->first; c; c = c->next) {
		r = read_expr(rd, c, &s->exprs[s->expr_count++]);
		if (r) {
			return r;
		}
	}
	if (s->expr_count) {
		qsort(s->exprs, s->expr_count, sizeof(*s->exprs), compare_exprs);
	}
	return 0;
}

static int read_cidrs(const struct policy_reading *rd, const struct yaml_tree_node *list,
		      const char *what, struct policy_cidr **ret_cidrs, size_t *ret_count)
{
	struct policy_cidr *cidrs;
	size_t n = 0;
	size_t unique = 0;
	int r = policy_need_list(rd, list, what, 1);

	if (!r) {
		r = check_size(rd, list, what);
	}
	if (r) {
		return r;
	}
	cidrs = policy_arena_alloc(rd->arena, list->count * sizeof(*cidrs));
	for (const struct yaml_tree_node *c = list->first; c; c = c->next) {
		r = policy_read_cidr(rd, c, &cidrs[n++]);
		if (r) {
			return r;
		}
	}
	qsort(cidrs, n, sizeof(*cidrs), policy_cidr_compare);
	for (size_t i = 0; i < n; i++) {
		if (!unique || policy_cidr_compare(&cidrs[unique - 1], &cidrs[i]) != 0) {
			cidrs[unique++] = cidrs[i];
		}
	}
	*ret_cidrs = cidrs;
	*ret_count = unique;
	return 0;
}

int policy_read_texts(const struct policy_reading *rd, const struct yaml_tree_node *list,
		      const char *what, const char ***ret_texts, size_t *ret_count)
{
	const char **texts;
	size_t n = 0;
	int r = policy_need_list(rd, list, what, 1);

	if (!r) {
		r = check_size(rd, list, what);
	}
	if (r) {
		return r;
	}
	texts = policy_arena_alloc(rd->arena, list->count * sizeof(*texts));
	for (const struct yaml_tree_node *c = list->first; c; c = c->next) {
		r = policy_need_text(rd, c, what);
		if (!r && (!*c->text || strlen(c->text) > 255)) {
			r = policy_fail(rd, c, "expected 1 to 255 characters in an item of %s",
					what);
		}
		if (r) {
			return r;
		}
		texts[n++] = policy_arena_strdup(rd->arena, c->text);
	}
	*ret_texts = texts;
	*ret_count = sort_strings(texts, n);
	return 0;
}

int policy_read_selector(const struct policy_reading *rd, const struct yaml_tree_node *node,
			 bool subject, struct policy_selector **ret_selector)
{
	static const char *const keys[] = {"matchLabels", "matchExpressions", "addresses", "vms",
					   NULL};
	static const char *const peer_keys[] = {"matchLabels", "matchExpressions", "vms", NULL};
	struct policy_selector *s = policy_arena_alloc(rd->arena, sizeof(*s));
	const struct yaml_tree_node *m;
	int r;

	*ret_selector = s;
	if (!subject && node->kind == YAML_MAP && (m = policy_member(node, "addresses"))) {
		return policy_fail(
			rd, m->key,
			"`addresses` says whom a policy applies to; as a peer write `- cidr:`");
	}
	r = policy_need_map(rd, node, "selector", subject ? keys : peer_keys);
	if (!r && (m = policy_member(node, "matchLabels"))) {
		r = policy_read_labels(rd, m, "matchLabels", &s->labels, &s->label_count);
	}
	if (!r && (m = policy_member(node, "matchExpressions"))) {
		r = read_exprs(rd, m, s);
	}
	if (!r && (m = policy_member(node, "addresses"))) {
		r = read_cidrs(rd, m, "addresses", &s->addresses, &s->address_count);
	}
	if (!r && (m = policy_member(node, "vms"))) {
		r = policy_read_texts(rd, m, "vms", &s->vms, &s->vm_count);
	}
	return r;
}

/* ---- ports ---- */
static int read_icmp(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     const char *type, const char *code, struct policy_port *port)
{
	uint64_t t;
	uint64_t c = 0;

	if (bh_parse_u64(type, 0, 255, &t) || (code && bh_parse_u64(code, 0, 255, &c))) {
		return policy_fail(rd, node, "expected ICMP type and code between 0 and 255");
	}
	port->whole = false;
	port->first = (uint16_t)(t << 8 | c);
	port->last = (uint16_t)(code ? port->first : (t << 8 | 0xff));
	return 0;
}

static int read_proto(const struct policy_reading *rd, const struct yaml_tree_node *node,
		      const char *text, struct policy_port *port)
{
	char lower[16] = "";

	/* Kubernetes writes TCP. */
	for (size_t i = 0; text[i] && i < sizeof(lower) - 1; i++) {
		lower[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
	}
	port->whole = true;
	if (strlen(text) >= sizeof(lower) || bh_proto_parse(lower, &port->proto)) {
		return policy_fail(
			rd, node,
			"\"%.32s\" is no protocol; expected tcp, udp, sctp, icmp, icmpv6 or a "
			"number",
			text);
	}
	return 0;
}

static bool proto_has_ports(uint8_t proto)
{
	return proto == 6 || proto == 17 || proto == 132;
}

static bool proto_is_icmp(uint8_t proto)
{
	return proto == 1 || proto == 58;
}

/* "tcp/443", "udp/8000-8100", "icmp/8/0", "sctp" */
static int read_short_port(const struct policy_reading *rd, const struct yaml_tree_node *node,
			   struct policy_port *port)
{
	char text[32];
	char *rest;
	char *code;
	int r;

	if (strlen(node->text) >= sizeof(text)) {
		return policy_fail(rd, node, "expected a port such as tcp/443 or udp/8000-8100");
	}
	strcpy(text, node->text);
	rest = strchr(text, '/');
	if (rest) {
		*rest++ = '\0';
	}
	r = read_proto(rd, node, text, port);
	if (r || !rest) {
		return r;
	}
	if (proto_has_ports(port->proto)) {
		return policy_read_port_range(rd, node, rest, port);
	}
	if (!proto_is_icmp(port->proto)) {
		return policy_fail(rd, node, "protocol %s has no ports", text);
	}
	code = strchr(rest, '/');
	if (code) {
		*code++ = '\0';
	}
	return read_icmp(rd, node, rest, code, port);
}

static int read_port_map(const struct policy_reading *rd, const struct yaml_tree_node *node,
			 struct policy_port *port)
{
	static const char *const keys[] = {"protocol", "port", "type", "code", NULL};
	const struct yaml_tree_node *m[4];
	int r = policy_need_map(rd, node, "an item of ports", keys);

	for (size_t i = 0; !r && i < 4; i++) {
		m[i] = policy_member(node, keys[i]);
		if (m[i]) {
			r = policy_need_text(rd, m[i], keys[i]);
		}
	}
	if (r) {
		return r;
	}
	if (!m[0] && !m[1]) {
		return policy_fail(rd, node,
				   "expected `protocol`, `port` or both in an item of ports");
	}
	/* As in Kubernetes, a port without a protocol is TCP. */
	r = m[0] ? read_proto(rd, m[0], m[0]->text, port) : read_proto(rd, node, "tcp", port);
	if (r) {
		return r;
	}
	if (m[1] && !proto_has_ports(port->proto)) {
		return policy_fail(rd, m[1], "protocol %s has no ports%s", m[0]->text,
				   proto_is_icmp(port->proto) ? "; expected `type` and `code`"
							      : "");
	}
	if ((m[2] || m[3]) && !proto_is_icmp(port->proto)) {
		return policy_fail(rd, m[2] ? m[2]->key : m[3]->key,
				   "`type` and `code` go with protocol icmp or icmpv6 only");
	}
	if (m[3] && !m[2]) {
		return policy_fail(rd, m[3]->key, "expected `type` beside `code`");
	}
	if (m[1]) {
		return policy_read_port_range(rd, m[1], m[1]->text, port);
	}
	return m[2] ? read_icmp(rd, m[2], m[2]->text, m[3] ? m[3]->text : NULL, port) : 0;
}

static int read_ports(const struct policy_reading *rd, const struct yaml_tree_node *list,
		      struct policy_rule *rule)
{
	int r = policy_need_list(rd, list, "ports (leave it out for all ports)", 1);

	if (!r) {
		r = check_size(rd, list, "ports");
	}
	if (r) {
		return r;
	}
	rule->ports = policy_arena_alloc(rd->arena, list->count * sizeof(*rule->ports));
	for (const struct yaml_tree_node *c = list->first; c; c = c->next) {
		struct policy_port *port = &rule->ports[rule->port_count++];

		r = c->kind == YAML_TEXT ? read_short_port(rd, c, port)
					 : read_port_map(rd, c, port);
		if (r) {
			return r;
		}
	}
	return 0;
}

/* ---- peers ---- */
static int read_cidr_peer(const struct policy_reading *rd, const struct yaml_tree_node *node,
			  struct policy_peer *peer)
{
	const struct yaml_tree_node *except = policy_member(node, "except");
	int r = policy_read_cidr(rd, policy_member(node, "cidr"), &peer->cidr);

	peer->kind = POLICY_PEER_CIDR;
	if (r || !except) {
		return r;
	}
	r = read_cidrs(rd, except, "except", &peer->except, &peer->except_count);
	for (size_t i = 0; !r && i < peer->except_count; i++) {
		if (peer->except[i].bits <= peer->cidr.bits ||
		    !policy_cidr_contains(&peer->cidr, peer->except[i].addr)) {
			r = policy_fail(rd, except,
					"expected every prefix of `except` to lie inside of %s",
					policy_member(node, "cidr")->text);
		}
	}
	return r;
}

static int read_selector_peer(const struct policy_reading *rd, const struct yaml_tree_node *node,
			      const char *own_tenant, struct policy_peer *peer)
{
	static const struct policy_choice tenancies[] = {
		{"same", POLICY_TENANCY_SAME}, {"other", POLICY_TENANCY_OTHER}, {}};
	const struct yaml_tree_node *selector = policy_member(node, "selector");
	const struct yaml_tree_node *tenant = policy_member(node, "tenant");
	const struct yaml_tree_node *tenancy = policy_member(node, "tenancy");
	int value = POLICY_TENANCY_NAMED;
	int r = 0;

	peer->kind = POLICY_PEER_SELECTOR;
	peer->tenant = own_tenant;
	if (tenant && tenancy) {
		return policy_fail(rd, tenancy->key,
				   "expected either `tenant` or `tenancy`, not both");
	}
	if (tenant && tenant->kind == YAML_TEXT && !strcmp(tenant->text, "*")) {
		peer->tenant = "*";
	} else if (tenant) {
		r = policy_read_name(rd, tenant, "a tenant", &peer->tenant);
	}
	if (!r && tenancy) {
		r = policy_read_choice(rd, tenancy, "tenancy", tenancies, &value);
	}
	if (r) {
		return r;
	}
	peer->tenancy = (enum policy_tenancy)value;
	if (!selector) {
		peer->selector = policy_arena_alloc(rd->arena, sizeof(*peer->selector));
		return 0;
	}
	return policy_read_selector(rd, selector, false, &peer->selector);
}

static int read_peer(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     const char *own_tenant, struct policy_peer *peer)
{
	static const char *const keys[] = {"selector", "tenant", "tenancy", "cidr",
					   "except",   "entity", NULL};
	static const struct policy_choice entities[] = {{"any", POLICY_ENTITY_ANY},
							{"host", POLICY_ENTITY_HOST},
							{"world", POLICY_ENTITY_WORLD},
							{"multicast", POLICY_ENTITY_MULTICAST},
							{}};
	const struct yaml_tree_node *entity;
	bool cidr;
	bool vms;
	int value;
	int r = policy_need_map(rd, node, "a peer", keys);

	if (r) {
		return r;
	}
	entity = policy_member(node, "entity");
	cidr = policy_member(node, "cidr");
	vms = policy_member(node, "selector") || policy_member(node, "tenant") ||
	      policy_member(node, "tenancy");
	if (!!entity + cidr + vms != 1) {
		return policy_fail(
			rd, node,
			"expected one of `selector` (with `tenant`), `cidr` (with `except`) or "
			"`entity` in a peer");
	}
	if (policy_member(node, "except") && !cidr) {
		return policy_fail(rd, policy_member(node, "except")->key,
				   "`except` goes with `cidr`");
	}
	if (cidr) {
		return read_cidr_peer(rd, node, peer);
	}
	if (vms) {
		return read_selector_peer(rd, node, own_tenant, peer);
	}
	r = policy_read_choice(rd, entity, "entity", entities, &value);
	if (r) {
		return r;
	}
	peer->kind = POLICY_PEER_ENTITY;
	peer->entity = (enum policy_entity)value;
	return 0;
}

static int read_peers(const struct policy_reading *rd, const struct yaml_tree_node *list,
		      const char *own_tenant, struct policy_rule *rule)
{
	int r = policy_need_list(rd, list, "peers (leave the key out for any peer)", 1);

	if (!r) {
		r = check_size(rd, list, "peers");
	}
	if (r) {
		return r;
	}
	rule->peers = policy_arena_alloc(rd->arena, list->count * sizeof(*rule->peers));
	for (const struct yaml_tree_node *c = list->first; c; c = c->next) {
		r = read_peer(rd, c, own_tenant, &rule->peers[rule->peer_count++]);
		if (r) {
			return r;
		}
	}
	return 0;
}

/* ---- rules ---- */
int policy_read_rule_name(const struct policy_reading *rd, const struct yaml_tree_node *node,
			  const char **ret_name)
{
	int r = policy_need_text(rd, node, "a name of a rule");

	if (!r && strlen(node->text) > 128) {
		r = policy_fail(rd, node, "a rule's name has at most 128 bytes");
	}
	if (!r && strpbrk(node->text, "\n\t")) {
		r = policy_fail(rd, node, "a rule's name is one line without control characters");
	}
	if (!r) {
		*ret_name = policy_arena_strdup(rd->arena, node->text);
	}
	return r;
}

static int read_rule(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     enum bh_policy_dir dir, const char *own_tenant, struct policy_rule *rule)
{
	static const char *const keys[2][6] = {{"name", "action", "log", "to", "ports", NULL},
					       {"name", "action", "log", "from", "ports", NULL}};
	static const struct policy_choice actions[] = {{"allow", BH_POLICY_ALLOW},
						       {"deny", BH_POLICY_DENY},
						       {"reject", BH_POLICY_REJECT},
						       {}};
	const struct yaml_tree_node *m;
	int action = BH_POLICY_ALLOW;
	bool log = false;
	int r;

	if (node->kind == YAML_MAP && (m = policy_member(node, dir ? "to" : "from"))) {
		return policy_fail(rd, m->key, "`%s` goes with %s rules; expected `%s` here",
				   dir ? "to" : "from", dir ? "egress" : "ingress", keys[dir][3]);
	}
	r = policy_need_map(rd, node, "a rule", keys[dir]);
	rule->line = node->line;
	rule->name = "";
	if (!r && (m = policy_member(node, "name"))) {
		r = policy_read_rule_name(rd, m, &rule->name);
	}
	if (!r && (m = policy_member(node, "action"))) {
		r = policy_read_choice(rd, m, "action", actions, &action);
	}
	if (!r && (m = policy_member(node, "log"))) {
		r = policy_read_bool(rd, m, "log", &log);
	}
	if (!r && (m = policy_member(node, keys[dir][3]))) {
		r = read_peers(rd, m, own_tenant, rule);
	}
	if (!r && (m = policy_member(node, "ports"))) {
		r = read_ports(rd, m, rule);
	}
	rule->action = (enum bh_policy_action)action;
	rule->flags = log ? BH_POLICY_RULE_LOG : 0;
	return r;
}

int policy_read_rules(const struct policy_reading *rd, const struct yaml_tree_node *list,
		      enum bh_policy_dir dir, struct bh_policy *policy)
{
	int r = policy_need_list(rd, list, bh_policy_dir_name(dir), 0);

	if (!r && list->count + policy->rule_count[!dir] > BH_POLICY_RULES_MAX) {
		r = policy_fail(rd, list, "a policy has at most %d rules; write several policies",
				BH_POLICY_RULES_MAX);
	}
	if (r) {
		return r;
	}
	policy->rules[dir] =
		policy_arena_alloc(rd->arena, list->count * sizeof(struct policy_rule));
	for (const struct yaml_tree_node *c = list->first; c; c = c->next) {
		r = read_rule(rd, c, dir, policy->tenant,
			      &policy->rules[dir][policy->rule_count[dir]++]);
		if (r) {
			return r;
		}
	}
	return 0;
}
