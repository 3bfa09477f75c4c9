/* SPDX-License-Identifier: Apache-2.0 */
/* Documents as JSON: the members of the YAML form, and where they stood. */
#include "policy/doc.h"

#include "model/id.h"

static json_t *cidr_json(const struct policy_cidr *cidr)
{
	char text[BH_CIDR_TEXT_SIZE];

	bh_cidr_format(cidr->addr, cidr->bits, text);
	return json_string(text);
}

static json_t *cidrs_json(const struct policy_cidr *cidrs, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list, cidr_json(&cidrs[i]));
	}
	return list;
}

static json_t *texts_json(const char *const *texts, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list, json_string(texts[i]));
	}
	return list;
}

static json_t *labels_json(const struct bh_policy_label *labels, size_t count)
{
	json_t *obj = json_object();

	for (size_t i = 0; i < count; i++) {
		json_object_set_new(obj, labels[i].key, json_string(labels[i].value));
	}
	return obj;
}

json_t *policy_selector_json(const struct policy_selector *s)
{
	static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist"};
	json_t *obj = json_object();
	json_t *exprs = json_array();

	if (s->label_count) {
		json_object_set_new(obj, "matchLabels", labels_json(s->labels, s->label_count));
	}
	for (size_t i = 0; i < s->expr_count; i++) {
		const struct policy_expr *e = &s->exprs[i];
		json_t *item = json_pack("{s:s, s:s}", "key", e->key, "operator", operators[e->op]);

		if (e->value_count) {
			json_object_set_new(item, "values", texts_json(e->values, e->value_count));
		}
		json_array_append_new(exprs, item);
	}
	if (s->expr_count) {
		json_object_set(obj, "matchExpressions", exprs);
	}
	json_decref(exprs);
	if (s->address_count) {
		json_object_set_new(obj, "addresses", cidrs_json(s->addresses, s->address_count));
	}
	if (s->vm_count) {
		json_object_set_new(obj, "vms", texts_json(s->vms, s->vm_count));
	}
	return obj;
}

static json_t *peer_json(const struct policy_peer *peer)
{
	static const char *const entities[] = {"any", "host", "world", "multicast"};
	json_t *obj = json_object();

	if (peer->kind == POLICY_PEER_ENTITY) {
		json_object_set_new(obj, "entity", json_string(entities[peer->entity]));
		return obj;
	}
	if (peer->kind == POLICY_PEER_CIDR) {
		json_object_set_new(obj, "cidr", cidr_json(&peer->cidr));
		if (peer->except_count) {
			json_object_set_new(obj, "except",
					    cidrs_json(peer->except, peer->except_count));
		}
		return obj;
	}
	json_object_set_new(obj, "selector", policy_selector_json(peer->selector));
	if (peer->tenancy == POLICY_TENANCY_NAMED) {
		json_object_set_new(obj, "tenant", json_string(peer->tenant));
	} else {
		json_object_set_new(
			obj, "tenancy",
			json_string(peer->tenancy == POLICY_TENANCY_SAME ? "same" : "other"));
	}
	return obj;
}

static json_t *rule_json(const struct policy_rule *rule, enum bh_policy_dir dir)
{
	json_t *obj =
		json_pack("{s:s, s:b, s:i}", "action", bh_policy_action_name(rule->action), "log",
			  (int)(rule->flags & BH_POLICY_RULE_LOG), "line", (int)rule->line);
	json_t *list = json_array();

	if (*rule->name) {
		json_object_set_new(obj, "name", json_string(rule->name));
	}
	for (size_t i = 0; i < rule->peer_count; i++) {
		json_array_append_new(list, peer_json(&rule->peers[i]));
	}
	if (rule->peer_count) {
		json_object_set(obj, dir == BH_POLICY_INGRESS ? "from" : "to", list);
	}
	json_decref(list);
	list = json_array();
	for (size_t i = 0; i < rule->port_count; i++) {
		struct bh_wbuf w;

		bh_wbuf_init(&w, 0);
		policy_port_format(&rule->ports[i], &w);
		json_array_append_new(list, json_string(bh_wbuf_cstr(&w)));
		bh_wbuf_done(&w);
	}
	if (rule->port_count) {
		json_object_set(obj, "ports", list);
	}
	json_decref(list);
	return obj;
}

static void add_grants(json_t *spec, const struct bh_policy *policy)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} permits[] = {{BH_POLICY_PERMIT_DHCP_SERVER, "dhcp-server"},
		       {BH_POLICY_PERMIT_ROUTER, "router-advertisement"},
		       {BH_POLICY_PERMIT_ANY_SOURCE, "any-source"}};
	json_t *permit = json_array();
	json_t *vlans = json_array();

	for (size_t i = 0; i < BH_ARRAY_SIZE(permits); i++) {
		if (policy->permit & permits[i].flag) {
			json_array_append_new(permit, json_string(permits[i].name));
		}
	}
	if (policy->permit & BH_POLICY_PERMIT_ANY_VLAN) {
		json_array_append_new(vlans, json_string("any"));
	}
	for (size_t i = 0; i < policy->vlan_count; i++) {
		uint32_t v = policy->vlans[i];
		BH_FREE char *text = v & 0xffff ? bh_asprintf("%u.%u", v >> 16, v & 0xffff)
						: bh_asprintf("%u", v >> 16);

		json_array_append_new(vlans, json_string(text));
	}
	if (json_array_size(permit)) {
		json_object_set(spec, "permit", permit);
	}
	if (json_array_size(vlans)) {
		json_object_set(spec, "vlans", vlans);
	}
	json_decref(permit);
	json_decref(vlans);
}

json_t *bh_policy_to_json(const struct bh_policy *policy)
{
	json_t *metadata = json_pack("{s:s, s:s}", "name", policy->name, "tenant", policy->tenant);
	json_t *spec = json_pack("{s:s, s:i}", "tier", bh_policy_tier_name(policy->tier), "order",
				 (int)policy->order);
	json_t *directions = json_array();

	if (*policy->description) {
		json_object_set_new(metadata, "description", json_string(policy->description));
	}
	if (policy->label_count) {
		json_object_set_new(metadata, "labels",
				    labels_json(policy->labels, policy->label_count));
	}
	if (policy->tenant_count) {
		json_object_set_new(spec, "tenants",
				    texts_json(policy->tenants, policy->tenant_count));
	}
	json_object_set_new(spec, "selector", policy_selector_json(policy->selector));
	add_grants(spec, policy);
	policy_travel_json(&policy->travel, spec);
	if (policy->quarantine) {
		json_object_set_new(spec, "quarantine", json_true());
	}
	for (int dir = 1; dir >= 0; dir--) {
		const char *name = bh_policy_dir_name((enum bh_policy_dir)dir);
		json_t *rules = json_array();

		if (bh_policy_has_direction(policy, (enum bh_policy_dir)dir)) {
			json_array_append_new(directions, json_string(name));
		}
		for (size_t i = 0; i < policy->rule_count[dir]; i++) {
			json_array_append_new(
				rules, rule_json(&policy->rules[dir][i], (enum bh_policy_dir)dir));
		}
		json_object_set_new(spec, name, rules);
	}
	json_object_set_new(spec, "directions", directions);
	return json_pack("{s:s, s:s, s:o, s:o, s:s, s:i}", "apiVersion", "bulkhead/v1", "kind",
			 "Policy", "metadata", metadata, "spec", spec, "file", policy->file, "line",
			 (int)policy->line);
}
