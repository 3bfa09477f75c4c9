/* SPDX-License-Identifier: Apache-2.0 */
/* What the documents say about a packet: read rule by rule, without any compiled form. */
#include "policy/compiler.h"
#include "policy/eval.h"

#include "model/id.h"

#include <errno.h>

struct question {
	const struct policy_identity *self;
	enum bh_policy_dir dir;
	const struct bh_policy_end *remote;
	const struct policy_identity *other; /* NULL: remote is reserved */
	const struct bh_policy_service *service;
	bh_policy_trace_fn *trace;
	void *arg;
};

static bool peer_holds(const struct question *q, const struct policy_peer *peer)
{
	const struct policy_identity *other = q->other;

	switch (peer->kind) {
	case POLICY_PEER_ENTITY:
		return peer->entity == POLICY_ENTITY_ANY ||
		       q->remote->identity == (uint32_t)peer->entity;
	case POLICY_PEER_SELECTOR:
		return other &&
		       policy_peer_covers_tenant(peer, q->self->tenant->name,
						 other->tenant->name) &&
		       policy_selector_matches(peer->selector, other->labels, other->label_count);
	case POLICY_PEER_CIDR:
		break;
	}
	if (!q->remote->has_addr || !policy_cidr_contains(&peer->cidr, q->remote->addr)) {
		return false;
	}
	for (size_t i = 0; i < peer->except_count; i++) {
		if (policy_cidr_contains(&peer->except[i], q->remote->addr)) {
			return false;
		}
	}
	return true;
}

static bool port_holds(const struct bh_policy_service *service, const struct policy_port *port)
{
	return service->proto == port->proto &&
	       (port->whole || (port->first <= service->port && service->port <= port->last));
}

static enum bh_policy_outcome ask_rule(const struct question *q, const struct bh_policy *policy,
				       const struct policy_rule *rule)
{
	bool holds = !rule->peer_count;

	/* What forbids holds in quarantine too, so there is never more open inside than outside. */
	if (q->self->quarantined && !policy->quarantine && rule->action == BH_POLICY_ALLOW) {
		return BH_POLICY_NOT_IN_QUARANTINE;
	}
	for (size_t i = 0; !holds && i < rule->peer_count; i++) {
		holds = peer_holds(q, &rule->peers[i]);
	}
	if (!holds) {
		return BH_POLICY_OTHER_PEER;
	}
	holds = !rule->port_count;
	for (size_t i = 0; !holds && i < rule->port_count; i++) {
		holds = port_holds(q->service, &rule->ports[i]);
	}
	return holds ? BH_POLICY_MATCH : BH_POLICY_OTHER_PORT;
}

static bool ask_tier(const struct question *q, const policy_list *policies,
		     enum bh_policy_tier tier, struct bh_policy_verdict *ret)
{
	bh_vec_foreach (pp, policies) {
		const struct bh_policy *p = *pp;

		for (size_t i = 0; p->tier == tier && i < p->rule_count[q->dir]; i++) {
			const struct policy_rule *rule = &p->rules[q->dir][i];
			enum bh_policy_outcome outcome = ask_rule(q, p, rule);

			if (q->trace) {
				q->trace(p, q->dir, i, 0, outcome, q->arg);
			}
			if (outcome == BH_POLICY_MATCH) {
				ret->action = rule->action;
				ret->flags = rule->flags;
				ret->policy = p;
				ret->index = i;
				return true;
			}
		}
	}
	return false;
}

static bool ask_builtins(const struct question *q, struct bh_policy_verdict *ret)
{
	size_t count;
	const struct policy_builtin *list = policy_builtins(&count);

	for (size_t i = 0; i < count; i++) {
		if (q->self->quarantined && list[i].rule != BH_POLICY_RULE_DHCP &&
		    list[i].rule != BH_POLICY_RULE_DHCPV6) {
			continue;
		}
		if (list[i].dir == q->dir && list[i].identity == q->remote->identity &&
		    list[i].proto == q->service->proto && list[i].port == q->service->port) {
			ret->action = BH_POLICY_ALLOW;
			ret->builtin = list[i].rule;
			return true;
		}
	}
	return false;
}

static void judge(const struct question *q, const policy_list *policies,
		  enum bh_policy_action provider_default, struct bh_policy_verdict *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->dir = q->dir;
	bh_vec_foreach (p, policies) {
		ret->selected = ret->selected || ((*p)->tier == BH_POLICY_TIER_TENANT &&
						  bh_policy_has_direction(*p, q->dir));
	}
	if (ask_tier(q, policies, BH_POLICY_TIER_GUARDRAIL, ret) ||
	    ask_tier(q, policies, BH_POLICY_TIER_TENANT, ret)) {
		return;
	}
	if (!ask_builtins(q, ret)) {
		if (!ret->selected && ask_tier(q, policies, BH_POLICY_TIER_DEFAULT, ret)) {
			return;
		}
		ret->builtin = ret->selected ? BH_POLICY_RULE_IMPLICIT_DENY
					     : BH_POLICY_RULE_PROVIDER_DEFAULT;
		ret->action = ret->selected ? BH_POLICY_DENY : provider_default;
		if (q->self->quarantined) {
			ret->builtin = BH_POLICY_RULE_QUARANTINE;
			ret->action = BH_POLICY_DENY;
		}
	}
	if (q->trace) {
		q->trace(NULL, q->dir, 0, ret->builtin, BH_POLICY_MATCH, q->arg);
	}
}

void policy_eval_list(const struct bh_policy_compiler *c, const policy_list *policies,
		      const struct policy_ask *ask, struct bh_policy_verdict *ret_verdict)
{
	struct question q = {.self = ask->self,
			     .dir = ask->dir,
			     .remote = ask->remote,
			     .other = ask->other,
			     .service = ask->service};

	judge(&q, policies, c->options.provider_default, ret_verdict);
}

int bh_policy_eval(const struct bh_policy_compiler *c, const struct bh_policy_question *question,
		   bh_policy_trace_fn *trace, void *arg, struct bh_policy_verdict *ret_verdict,
		   struct bh_diag *diag)
{
	struct question q = {
		.self = policy_universe_identity(c->universe, question->self),
		.dir = question->dir,
		.remote = &question->remote,
		.other = policy_universe_identity(c->universe, question->remote.identity),
		.service = &question->service,
		.trace = trace,
		.arg = arg};
	policy_list policies = {};

	if (!q.self || (!q.other && question->remote.identity > POLICY_ENTITY_MULTICAST)) {
		return bh_diag_set(diag, -ENOENT, "identity %u is unknown",
				   q.self ? question->remote.identity : question->self);
	}
	/* Every policy is asked, without the compiler's index: this is its oracle. */
	bh_vec_foreach (pp, &c->order) {
		const struct bh_policy *p = *pp;

		if (policy_covers_tenant(p, q.self->tenant->name) &&
		    policy_selector_matches(p->selector, q.self->labels, q.self->label_count)) {
			*bh_vec_push(&policies) = p;
		}
	}
	judge(&q, &policies, c->options.provider_default, ret_verdict);
	bh_vec_done(&policies);
	return 0;
}
