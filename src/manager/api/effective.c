/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/vms/{id}/policy: everything that decides about a VM, in the order in which it is asked.
 * Who does not read the policies of another tenant (guard-rails, mostly) is told that there is a
 * rule and what it is called, not what it says.
 */
#include "manager/api/documents.h"

#include "policy/eval.h"

#include <errno.h>

struct side {
	struct manager_request *req;
	enum bh_policy_dir dir;
	json_t *rules;
	bool closed;   /* a policy of the tenant's own tier selects the VM */
	bool builtins; /* have been added */
};

static void add(struct side *s, uint32_t number, const char *action, const char *text,
		const char *tier, const char *policy)
{
	json_t *rule = json_pack("{s:I, s:s, s:s, s:s}", "number", (json_int_t)number, "action",
				 action, "text", text, "tier", tier);

	if (policy) {
		json_object_set_new(rule, "policy", json_string(policy));
	}
	json_array_append_new(s->rules, rule);
}

/* What a VM needs to live (docs/policy.md, "Built-in rules"): behind the tenant's own policies. */
static void add_builtins(struct side *s)
{
	static const enum bh_policy_builtin list[] = {BH_POLICY_RULE_DHCP, BH_POLICY_RULE_DNS,
						      BH_POLICY_RULE_PING, BH_POLICY_RULE_DHCPV6};

	s->builtins = true;
	for (size_t i = 0; i < BH_ARRAY_SIZE(list); i++) {
		bool both = list[i] == BH_POLICY_RULE_DHCP || list[i] == BH_POLICY_RULE_DHCPV6;

		if (both || s->dir == BH_POLICY_EGRESS) {
			add(s, list[i], "allow", bh_policy_builtin_text(list[i]), "builtin", NULL);
		}
	}
}

static void add_rule(struct side *s, const struct bh_policy *p, size_t index, bool seen)
{
	const char *tier = bh_policy_tier_name(bh_policy_tier(p));
	const char *action = bh_policy_action_name(bh_policy_rule_action(p, s->dir, index));
	BH_FREE char *name = bh_asprintf("%s/%s", bh_policy_tenant(p), bh_policy_name(p));
	struct bh_wbuf w;

	if (!seen) {
		BH_FREE char *text =
			bh_asprintf("guard-rail %s", bh_policy_rule_name(p, s->dir, index));

		add(s, 0, action, text, tier, NULL);
		return;
	}
	bh_wbuf_init(&w, 0);
	bh_policy_rule_describe(p, s->dir, index, &w);
	add(s, manager_rulebook_number(p, s->dir, index, s->req->parts->book), action,
	    bh_wbuf_cstr(&w), tier, name);
	bh_wbuf_done(&w);
}

static void on_policy(const struct bh_policy *p, void *arg)
{
	struct side *s = arg;
	bool seen = manager_seen_tenant(s->req, bh_policy_tenant(p));
	enum bh_policy_tier tier = bh_policy_tier(p);

	if (!bh_policy_has_direction(p, s->dir) && bh_policy_rule_count(p, s->dir) == 0) {
		return;
	}
	s->closed |= tier == BH_POLICY_TIER_TENANT && bh_policy_has_direction(p, s->dir);
	if (tier == BH_POLICY_TIER_DEFAULT && !s->builtins) {
		add_builtins(s);
	}
	if (tier == BH_POLICY_TIER_DEFAULT && s->closed) {
		return; /* never asked */
	}
	for (size_t i = 0; i < bh_policy_rule_count(p, s->dir); i++) {
		add_rule(s, p, i, seen);
	}
}

static json_t *side_json(struct manager_request *req, struct bh_policy_asker *asker,
			 uint32_t identity, enum bh_policy_dir dir)
{
	struct side s = {.req = req, .dir = dir, .rules = json_array()};
	enum bh_policy_action dflt = req->parts->dist->o.provider_default;
	const char *action, *text;

	if (bh_policy_asker_policies(asker, identity, on_policy, &s) < 0) {
		json_decref(s.rules);
		return NULL;
	}
	if (!s.builtins) {
		add_builtins(&s);
	}
	action = bh_policy_action_name(s.closed || !dflt ? BH_POLICY_DENY : dflt);
	text = bh_policy_builtin_text(s.closed ? BH_POLICY_RULE_IMPLICIT_DENY
					       : BH_POLICY_RULE_PROVIDER_DEFAULT);
	return json_pack("{s:b, s:o, s:{s:s, s:s}}", "closed", s.closed, "rules", s.rules,
			 "otherwise", "action", action, "text", text);
}

static void get_policy(struct manager_request *req)
{
	struct manager_vm *vm = manager_request_vm(req);
	struct bh_policy_compiler *compiler;
	struct bh_policy_asker *asker;
	json_t *in, *out;

	if (!vm) {
		return;
	}
	compiler = manager_distribute_compiler(req->parts->dist,
					       manager_rulebook_set(req->parts->book));
	asker = bh_policy_asker_new(compiler);
	in = side_json(req, asker, vm->identity->number, BH_POLICY_INGRESS);
	out = side_json(req, asker, vm->identity->number, BH_POLICY_EGRESS);
	bh_policy_asker_free(asker);
	bh_policy_compiler_free(compiler);
	if (!in || !out) {
		json_decref(in);
		json_decref(out);
		manager_reply_errorf(req, 503, "unavailable",
				     "the VM's identity is not in force yet; try again");
		return;
	}
	manager_reply(req, 200, json_pack("{s:o, s:o}", "ingress", in, "egress", out));
}

const struct manager_route manager_routes_effective[] = {
	{"GET", "vms/*/policy", get_policy, VERB_POLICY_READ, OBJECT_VM, 0, NULL},
	{},
};
