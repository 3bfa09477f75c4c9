/* SPDX-License-Identifier: Apache-2.0 */
/* Whole documents: kinds Policy and Tenant, and which form a document has. */
#include "policy/parse.h"

#include "model/id.h"

#include <errno.h>

#define ORDER_MAX	1000000
#define DESCRIPTION_MAX 1024

static int read_description(const struct policy_reading *rd, const struct yaml_tree_node *metadata,
			    const char **ret_text)
{
	const struct yaml_tree_node *m = policy_member(metadata, "description");
	int r;

	if (!m) {
		return 0;
	}
	r = policy_need_text(rd, m, "a description");
	if (!r && strlen(m->text) > DESCRIPTION_MAX) {
		r = policy_fail(rd, m, "a description has at most %d bytes", DESCRIPTION_MAX);
	}
	if (!r) {
		*ret_text = policy_arena_strdup(rd->arena, m->text);
	}
	return r;
}

static int read_metadata(const struct policy_reading *rd, const struct yaml_tree_node *root,
			 struct bh_policy *policy)
{
	static const char *const keys[] = {"name", "tenant", "description", "labels", NULL};
	const struct yaml_tree_node *metadata = policy_member(root, "metadata");
	const struct yaml_tree_node *m;
	int r;

	if (!metadata) {
		return policy_fail(rd, root, "expected `metadata` with `name` and `tenant`");
	}
	r = policy_need_map(rd, metadata, "metadata", keys);
	if (r) {
		return r;
	}
	m = policy_member(metadata, "name");
	if (!m) {
		return policy_fail(rd, metadata, "expected `name` in metadata");
	}
	r = policy_read_name(rd, m, "a policy", &policy->name);
	if (!r) {
		r = policy_read_tenant(rd, metadata, root, &policy->tenant);
	}
	if (!r) {
		r = read_description(rd, metadata, &policy->description);
	}
	if (!r && (m = policy_member(metadata, "labels"))) {
		r = policy_read_labels(rd, m, "labels", &policy->labels, &policy->label_count);
	}
	return r;
}

/* ---- spec ---- */
static int read_tier(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     struct bh_policy *policy)
{
	static const struct policy_choice tiers[] = {{"guardrail", BH_POLICY_TIER_GUARDRAIL},
						     {"tenant", BH_POLICY_TIER_TENANT},
						     {"default", BH_POLICY_TIER_DEFAULT},
						     {}};
	int value;
	int r = policy_read_choice(rd, node, "tier", tiers, &value);

	if (r) {
		return r;
	}
	policy->tier = (enum bh_policy_tier)value;
	if (policy->tier != BH_POLICY_TIER_TENANT &&
	    strcmp(policy->tenant, BH_POLICY_PROVIDER) != 0) {
		return policy_fail(
			rd, node,
			"tier %s is for policies of tenant provider only; this one is of "
			"tenant %s",
			node->text, policy->tenant);
	}
	return 0;
}

static int read_order(const struct policy_reading *rd, const struct yaml_tree_node *node,
		      struct bh_policy *policy)
{
	uint64_t value;
	int r = policy_need_text(rd, node, "order");

	if (r) {
		return r;
	}
	if (bh_parse_u64(node->text, 0, ORDER_MAX, &value)) {
		return policy_fail(rd, node, "\"%.32s\" is no order; expected 0 to %d", node->text,
				   ORDER_MAX);
	}
	policy->order = (unsigned int)value;
	return 0;
}

static int read_directions(const struct policy_reading *rd, const struct yaml_tree_node *list,
			   struct bh_policy *policy)
{
	static const struct policy_choice names[] = {
		{"ingress", BH_POLICY_INGRESS}, {"egress", BH_POLICY_EGRESS}, {}};
	int r = policy_need_list(rd, list, "directions", 0);

	for (const struct yaml_tree_node *c = r ? NULL : list->first; !r && c; c = c->next) {
		int value;

		r = policy_read_choice(rd, c, "direction", names, &value);
		if (!r) {
			policy->directions |= 1u << value;
		}
	}
	return r;
}

static int check_provider(const struct policy_reading *rd, const struct yaml_tree_node *member,
			  const struct bh_policy *policy)
{
	if (strcmp(policy->tenant, BH_POLICY_PROVIDER) != 0) {
		return policy_fail(
			rd, member->key,
			"`%s` is for policies of tenant provider only: it could be used against "
			"others on the same network",
			member->key->text);
	}
	return 0;
}

static int read_permit(const struct policy_reading *rd, const struct yaml_tree_node *list,
		       struct bh_policy *policy)
{
	static const struct policy_choice permits[] = {
		{"dhcp-server", BH_POLICY_PERMIT_DHCP_SERVER},
		{"router-advertisement", BH_POLICY_PERMIT_ROUTER},
		{"any-source", BH_POLICY_PERMIT_ANY_SOURCE},
		{}};
	int r = check_provider(rd, list, policy);

	if (!r) {
		r = policy_need_list(rd, list, "permit", 1);
	}
	for (const struct yaml_tree_node *c = r ? NULL : list->first; !r && c; c = c->next) {
		int value;

		r = policy_read_choice(rd, c, "permission", permits, &value);
		if (!r) {
			policy->permit |= (uint32_t)value;
		}
	}
	return r;
}

/* "10" or, tag in tag, "20.30" */
static int read_vlan(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     uint32_t *ret_vlan)
{
	char outer[8] = "";
	uint64_t o = 0;
	uint64_t i = 0;
	const char *dot;
	int r = policy_need_text(rd, node, "a VLAN such as 10 or \"20.30\"");

	if (r) {
		return r;
	}
	dot = strchr(node->text, '.');
	snprintf(outer, sizeof(outer), "%.*s", dot ? (int)(dot - node->text) : 7, node->text);
	if (strlen(node->text) > 9 || bh_parse_u64(outer, 1, 4094, &o) ||
	    (dot && bh_parse_u64(dot + 1, 1, 4094, &i))) {
		return policy_fail(
			rd, node,
			"\"%.32s\" is no VLAN; expected 1 to 4094, two with a dot between them "
			"such as \"20.30\", or [any]",
			node->text);
	}
	*ret_vlan = (uint32_t)(o << 16 | i);
	return 0;
}

static int compare_vlans(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int read_vlans(const struct policy_reading *rd, const struct yaml_tree_node *list,
		      struct bh_policy *policy)
{
	size_t n = 0;
	int r = check_provider(rd, list, policy);

	if (!r) {
		r = policy_need_list(rd, list, "vlans", 1);
	}
	if (!r && list->count > BH_POLICY_VLANS_MAX) {
		r = policy_fail(rd, list, "at most %d VLANs are accepted; [any] is for all",
				BH_POLICY_VLANS_MAX);
	}
	if (r) {
		return r;
	}
	if (list->count == 1 && list->first->kind == YAML_TEXT &&
	    !strcmp(list->first->text, "any")) {
		policy->permit |= BH_POLICY_PERMIT_ANY_VLAN;
		return 0;
	}
	policy->vlans = policy_arena_alloc(rd->arena, list->count * sizeof(*policy->vlans));
	for (const struct yaml_tree_node *c = list->first; c; c = c->next) {
		r = read_vlan(rd, c, &policy->vlans[n++]);
		if (r) {
			return r;
		}
	}
	qsort(policy->vlans, n, sizeof(*policy->vlans), compare_vlans);
	for (size_t i = 0; i < n; i++) {
		if (!i || policy->vlans[i] != policy->vlans[policy->vlan_count - 1]) {
			policy->vlans[policy->vlan_count++] = policy->vlans[i];
		}
	}
	return 0;
}

static int read_tenants(const struct policy_reading *rd, const struct yaml_tree_node *list,
			struct bh_policy *policy)
{
	int r;

	if (policy->tier == BH_POLICY_TIER_TENANT) {
		return policy_fail(
			rd, list->key,
			"`tenants` goes with tier guardrail or default; a policy of tier tenant "
			"is for the VMs of its own tenant");
	}
	r = policy_read_texts(rd, list, "tenants", &policy->tenants, &policy->tenant_count);
	for (const struct yaml_tree_node *c = r ? NULL : list->first; !r && c; c = c->next) {
		const char *name;

		r = policy_read_name(rd, c, "a tenant", &name);
	}
	return r;
}

static int read_quarantine(const struct policy_reading *rd, const struct yaml_tree_node *node,
			   struct bh_policy *policy)
{
	return policy_read_bool(rd, node, "quarantine", &policy->quarantine);
}

static int read_spec(const struct policy_reading *rd, const struct yaml_tree_node *spec,
		     struct bh_policy *policy)
{
	static const char *const keys[] = {"tier",	 "order",     "tenants",    "selector",
					   "permit",	 "vlans",     "directions", "ingress",
					   "egress",	 "placement", "migration",  "rollback",
					   "quarantine", NULL};
	typedef int read_fn(const struct policy_reading *rd, const struct yaml_tree_node *node,
			    struct bh_policy *policy);
	static const struct {
		const char *key;
		read_fn *read;
	} members[] = {{"tier", read_tier},
		       {"order", read_order},
		       {"tenants", read_tenants},
		       {"permit", read_permit},
		       {"vlans", read_vlans},
		       {"directions", read_directions},
		       {"placement", policy_read_placement},
		       {"migration", policy_read_migration},
		       {"rollback", policy_read_rollback},
		       {"quarantine", read_quarantine}};
	const struct yaml_tree_node *m;
	int r = policy_need_map(rd, spec, "spec", keys);

	if (!r && !(m = policy_member(spec, "selector"))) {
		r = policy_fail(rd, spec,
				"expected `selector` in spec ({} selects every VM of the tenant)");
	}
	if (!r) {
		r = policy_read_selector(rd, m, true, &policy->selector);
	}
	for (size_t i = 0; !r && i < BH_ARRAY_SIZE(members); i++) {
		m = policy_member(spec, members[i].key);
		r = m ? members[i].read(rd, m, policy) : 0;
	}
	for (int dir = 0; !r && dir < 2; dir++) {
		m = policy_member(spec, bh_policy_dir_name((enum bh_policy_dir)dir));
		if (!m) {
			continue;
		}
		r = policy_read_rules(rd, m, (enum bh_policy_dir)dir, policy);
		if (r || (policy->directions & (1u << dir))) {
			continue;
		}
		if (policy_member(spec, "directions")) {
			r = policy_fail(rd, m->key,
					"%s rules are here, but `directions` leaves %s out",
					m->key->text, m->key->text);
		}
		policy->directions |= 1u << dir;
	}
	return r;
}

/* ---- kinds ---- */
static int read_policy(struct policy_reading *rd, const struct yaml_tree_node *root)
{
	static const char *const keys[] = {"apiVersion", "kind", "metadata", "spec", NULL};
	struct bh_policy *policy = policy_new();
	const struct yaml_tree_node *spec;
	int r = policy_need_map(rd, root, "a document", keys);

	rd->arena = &policy->arena;
	policy->line = root->line;
	policy->file = policy_arena_strdup(rd->arena, rd->file ? rd->file : "");
	if (!r) {
		r = read_metadata(rd, root, policy);
	}
	if (!r) {
		spec = policy_member(root, "spec");
		r = spec ? read_spec(rd, spec, policy)
			 : policy_fail(rd, root, "expected `spec` in a document of kind Policy");
	}
	if (r) {
		bh_policy_unref(policy);
		return r;
	}
	policy_seal(policy);
	policy_set_push(rd->set, policy);
	return 0;
}

static int read_tenant_doc(struct policy_reading *rd, const struct yaml_tree_node *root)
{
	static const char *const keys[] = {"apiVersion", "kind", "metadata", NULL};
	static const char *const metadata_keys[] = {"name", "description", NULL};
	const struct yaml_tree_node *metadata;
	const struct yaml_tree_node *name;
	struct policy_arena arena = {};
	const char *text = "";
	const char *tenant;
	int r = policy_need_map(rd, root, "a document of kind Tenant", keys);

	rd->arena = &arena;
	metadata = r ? NULL : policy_member(root, "metadata");
	if (!r && !metadata) {
		r = policy_fail(rd, root, "expected `metadata` with `name`");
	}
	if (!r) {
		r = policy_need_map(rd, metadata, "metadata", metadata_keys);
	}
	name = r ? NULL : policy_member(metadata, "name");
	if (!r && !name) {
		r = policy_fail(rd, metadata, "expected `name` in metadata");
	}
	if (!r) {
		r = policy_read_name(rd, name, "a tenant", &tenant);
	}
	if (!r) {
		r = read_description(rd, metadata, &text);
	}
	for (size_t i = 0; !r && i < bh_policy_set_tenant_count(rd->set); i++) {
		const struct bh_policy_tenant_doc *t = bh_policy_set_tenant_at(rd->set, i);

		if (!strcmp(t->name, tenant)) {
			r = policy_fail(rd, name, "tenant %s is there twice, first in line %u",
					tenant, t->line);
		}
	}
	if (!r) {
		policy_set_push_tenant(rd->set, tenant, text, root->line);
	}
	policy_arena_done(&arena);
	return r;
}

static int read_document(struct policy_reading *rd, const struct yaml_tree_node *root)
{
	static const struct policy_choice kinds[] = {{"Policy", 0}, {"Tenant", 1}, {}};
	const struct yaml_tree_node *m;
	int kind = 0;
	int r;

	if (root->kind == YAML_MAP && policy_member(root, "firewall_rules")) {
		return policy_read_flat(rd, root);
	}
	r = policy_need_map(rd, root, "a document", NULL);
	if (r) {
		return r;
	}
	m = policy_member(root, "apiVersion");
	if (m && (m->kind != YAML_TEXT || strcmp(m->text, "bulkhead/v1") != 0)) {
		return policy_fail(rd, m, "expected apiVersion bulkhead/v1");
	}
	m = policy_member(root, "kind");
	if (!m) {
		return policy_fail(
			rd, root,
			"expected `kind: Policy`, `kind: Tenant` or a `firewall_rules:` list");
	}
	r = policy_read_choice(rd, m, "kind", kinds, &kind);
	if (r) {
		return r;
	}
	return kind ? read_tenant_doc(rd, root) : read_policy(rd, root);
}

static bool is_empty(const struct yaml_tree_node *root)
{
	return root->kind == YAML_TEXT && !root->quoted && !*root->text;
}

static int read_all(struct policy_reading *rd, struct yaml_reader *reader)
{
	size_t documents = 0;

	for (;;) {
		struct policy_arena arena = {};
		struct yaml_tree_node *root;
		int r = yaml_reader_next(reader, &arena, &root, rd->diag);

		if (!r && root && ++documents > BH_POLICY_DOCUMENTS_MAX) {
			(void)policy_fail(rd, root, "more than %d documents in one text",
					  BH_POLICY_DOCUMENTS_MAX);
			r = -EMSGSIZE;
		}
		if (!r && root && !is_empty(root)) {
			r = read_document(rd, root);
		}
		policy_arena_done(&arena);
		if (r || !root) {
			return r;
		}
	}
}

int bh_policy_parse(const char *text, size_t size, const struct bh_policy_parse_options *options,
		    struct bh_policy_set **ret_set, struct bh_diag *diag)
{
	static const struct bh_policy_parse_options none;
	const struct bh_policy_parse_options *o = options ? options : &none;
	struct policy_reading rd = {
		.file = o->file, .default_tenant = o->default_tenant, .diag = diag};
	struct yaml_reader *reader;
	int r;

	if (size > BH_POLICY_TEXT_MAX) {
		return bh_diag_at(diag, -EMSGSIZE, o->file, 0, 0,
				  "%zu bytes of policy; at most %u are accepted", size,
				  BH_POLICY_TEXT_MAX);
	}
	if (o->default_tenant && !bh_name_valid(o->default_tenant)) {
		return bh_diag_set(diag, -EINVAL, "\"%.64s\" is no name of a tenant",
				   o->default_tenant);
	}
	rd.set = bh_policy_set_new();
	reader = yaml_reader_new(text, size, o->file, o->first_line);
	r = read_all(&rd, reader);
	yaml_reader_free(reader);
	if (!r) {
		r = policy_set_seal(rd.set, o->file, diag);
	}
	if (r) {
		bh_policy_set_free(rd.set);
		return r;
	}
	*ret_set = rd.set;
	return 0;
}
