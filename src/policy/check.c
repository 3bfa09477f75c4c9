/* SPDX-License-Identifier: Apache-2.0 */
/* What is no error but looks like one. */
#include "policy/compiler.h"

#include "model/id.h"

#define WARNINGS_MAX 1000
#define WIDE_MAX     64 /* wide rules that later ones are compared with: bounds the time */

struct checking {
	const struct bh_policy_universe *universe;
	bh_policy_warning_fn *fn;
	void *arg;
	size_t count;
};

__attribute__((format(printf, 4, 5))) static void
warn(struct checking *c, const struct bh_policy *policy, unsigned int line, const char *fmt, ...)
{
	char text[BH_DIAG_TEXT_SIZE];
	struct bh_diag diag;
	va_list ap;

	if (c->count >= WARNINGS_MAX) {
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bh_diag_at(&diag, 0, policy->file, line, 0, "%s/%s: %s", policy->tenant, policy->name,
		   text);
	c->count++;
	c->fn(&diag, c->arg);
}

/* ---- does one thing hold another? ---- */
static bool selector_equal(const struct policy_selector *a, const struct policy_selector *b)
{
	struct bh_wbuf x;
	struct bh_wbuf y;
	bool equal;

	bh_wbuf_init(&x, 0);
	bh_wbuf_init(&y, 0);
	policy_selector_describe(a, &x);
	policy_selector_describe(b, &y);
	equal = x.size == y.size && !memcmp(x.data, y.data, x.size);
	bh_wbuf_done(&x);
	bh_wbuf_done(&y);
	return equal;
}

static bool selector_peer_holds(const struct policy_peer *wide, const struct policy_peer *narrow)
{
	bool tenants = wide->tenancy == narrow->tenancy && (wide->tenancy != POLICY_TENANCY_NAMED ||
							    !strcmp(wide->tenant, narrow->tenant));

	if (wide->tenancy == POLICY_TENANCY_NAMED && !strcmp(wide->tenant, "*")) {
		tenants = true;
	}
	return tenants && (policy_selector_is_all(wide->selector) ||
			   selector_equal(wide->selector, narrow->selector));
}

static bool peer_holds(const struct policy_peer *wide, const struct policy_peer *narrow)
{
	if (wide->kind == POLICY_PEER_ENTITY && wide->entity == POLICY_ENTITY_ANY) {
		return true;
	}
	if (wide->kind != narrow->kind) {
		return false;
	}
	if (wide->kind == POLICY_PEER_ENTITY) {
		return wide->entity == narrow->entity;
	}
	if (wide->kind == POLICY_PEER_CIDR) {
		return !wide->except_count && wide->cidr.bits <= narrow->cidr.bits &&
		       policy_cidr_contains(&wide->cidr, narrow->cidr.addr);
	}
	return selector_peer_holds(wide, narrow);
}

static bool port_holds(const struct policy_port *wide, const struct policy_port *narrow)
{
	return wide->proto == narrow->proto &&
	       (wide->whole ||
		(!narrow->whole && wide->first <= narrow->first && narrow->last <= wide->last));
}

static bool rule_holds(const struct policy_rule *wide, const struct policy_rule *narrow)
{
	bool holds = !wide->peer_count || narrow->peer_count;

	for (size_t i = 0; holds && wide->peer_count && i < narrow->peer_count; i++) {
		holds = false;
		for (size_t k = 0; !holds && k < wide->peer_count; k++) {
			holds = peer_holds(&wide->peers[k], &narrow->peers[i]);
		}
	}
	if (wide->port_count && !narrow->port_count) {
		return false;
	}
	for (size_t i = 0; holds && wide->port_count && i < narrow->port_count; i++) {
		holds = false;
		for (size_t k = 0; !holds && k < wide->port_count; k++) {
			holds = port_holds(&wide->ports[k], &narrow->ports[i]);
		}
	}
	return holds;
}

/* ---- rules that an earlier one leaves nothing to ---- */
struct seen {
	char *key;
	size_t index;
	UT_hash_handle hh;
};

static char *rule_key(const struct bh_policy *policy, const struct policy_rule *rule)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	for (size_t i = 0; i < rule->peer_count; i++) {
		policy_peer_describe(&rule->peers[i], policy->tenant, &w);
		bh_wbuf_u8(&w, '\001');
	}
	bh_wbuf_u8(&w, '\002');
	for (size_t i = 0; i < rule->port_count; i++) {
		policy_port_format(&rule->ports[i], &w);
		bh_wbuf_u8(&w, '\001');
	}
	bh_wbuf_u8(&w, 0);
	return (char *)w.data;
}

static void warn_shadowed(struct checking *c, const struct bh_policy *policy,
			  enum bh_policy_dir dir, size_t index, size_t by)
{
	const struct policy_rule *earlier = &policy->rules[dir][by];

	warn(c, policy, policy->rules[dir][index].line,
	     "%s[%zu] never matches: %s[%zu]%s%s%s (line %u) takes all of it first",
	     bh_policy_dir_name(dir), index, bh_policy_dir_name(dir), by,
	     *earlier->name ? " \"" : "", earlier->name, *earlier->name ? "\"" : "", earlier->line);
}

static void check_shadows(struct checking *c, const struct bh_policy *policy,
			  enum bh_policy_dir dir)
{
	size_t wide[WIDE_MAX];
	size_t wide_count = 0;
	struct seen *seen = NULL;
	struct seen *s;
	struct seen *next;

	for (size_t i = 0; i < policy->rule_count[dir]; i++) {
		const struct policy_rule *rule = &policy->rules[dir][i];
		BH_FREE char *key = rule_key(policy, rule);
		bool shadowed = false;

		HASH_FIND_STR(seen, key, s);
		if (s) {
			warn_shadowed(c, policy, dir, i, s->index);
			continue;
		}
		for (size_t k = 0; k < wide_count && !shadowed; k++) {
			shadowed = rule_holds(&policy->rules[dir][wide[k]], rule);
			if (shadowed) {
				warn_shadowed(c, policy, dir, i, wide[k]);
			}
		}
		s = bh_alloc(sizeof(*s));
		s->key = bh_steal(&key);
		s->index = i;
		HASH_ADD_KEYPTR(hh, seen, s->key, strlen(s->key), s);
		if (!shadowed && wide_count < WIDE_MAX &&
		    rule->peer_count + rule->port_count <= 16) {
			wide[wide_count++] = i;
		}
	}
	HASH_ITER (hh, seen, s, next) {
		HASH_DEL(seen, s);
		free(s->key);
		free(s);
	}
}

/* ---- against what exists ---- */
static bool selects_somebody(const struct checking *c, const struct bh_policy *policy)
{
	const struct policy_tenant *t;
	policy_ids ids = {};
	bool any;

	for (t = c->universe->by_number; t && !ids.count; t = t->by_number.next) {
		if (policy_covers_tenant(policy, t->name)) {
			policy_universe_select(c->universe, t, policy->selector, &ids);
		}
	}
	any = ids.count;
	bh_vec_done(&ids);
	return any;
}

static bool peer_is_somebody(const struct checking *c, const struct policy_peer *peer)
{
	const struct policy_tenant *t;
	policy_ids ids = {};
	bool any;

	if (policy_selector_is_all(peer->selector)) {
		return true;
	}
	for (t = c->universe->by_number; t && !ids.count; t = t->by_number.next) {
		if (peer->tenancy != POLICY_TENANCY_NAMED ||
		    policy_peer_covers_tenant(peer, "", t->name)) {
			policy_universe_select(c->universe, t, peer->selector, &ids);
		}
	}
	any = ids.count;
	bh_vec_done(&ids);
	return any;
}

static bool tenant_known(const struct checking *c, const struct bh_policy_set *set,
			 const char *name)
{
	if (!strcmp(name, "*") || policy_universe_tenant(c->universe, name)) {
		return true;
	}
	for (size_t i = 0; i < bh_policy_set_tenant_count(set); i++) {
		if (!strcmp(bh_policy_set_tenant_at(set, i)->name, name)) {
			return true;
		}
	}
	return false;
}

static void check_peer(struct checking *c, const struct bh_policy_set *set,
		       const struct bh_policy *policy, const struct policy_rule *rule,
		       const struct policy_peer *peer)
{
	struct bh_wbuf w;

	if (peer->kind != POLICY_PEER_SELECTOR) {
		return;
	}
	if (peer->tenancy == POLICY_TENANCY_NAMED && !tenant_known(c, set, peer->tenant)) {
		warn(c, policy, rule->line, "a peer names tenant %s, which does not exist",
		     peer->tenant);
		return;
	}
	if (!peer_is_somebody(c, peer)) {
		bh_wbuf_init(&w, 0);
		policy_peer_describe(peer, policy->tenant, &w);
		warn(c, policy, rule->line, "peer \"%s\" is no VM that is known today",
		     bh_wbuf_cstr(&w));
		bh_wbuf_done(&w);
	}
}

static void check_against_universe(struct checking *c, const struct bh_policy_set *set,
				   const struct bh_policy *policy)
{
	if (!tenant_known(c, set, policy->tenant)) {
		warn(c, policy, policy->line, "tenant %s does not exist", policy->tenant);
		return;
	}
	for (size_t i = 0; i < policy->tenant_count; i++) {
		if (!tenant_known(c, set, policy->tenants[i])) {
			warn(c, policy, policy->line, "`tenants` names %s, which does not exist",
			     policy->tenants[i]);
		}
	}
	if (!selects_somebody(c, policy)) {
		warn(c, policy, policy->line, "the selector matches no VM that is known today");
	}
	for (int dir = 0; dir < 2; dir++) {
		for (size_t i = 0; i < policy->rule_count[dir] && c->count < WARNINGS_MAX; i++) {
			const struct policy_rule *rule = &policy->rules[dir][i];

			for (size_t k = 0; k < rule->peer_count; k++) {
				check_peer(c, set, policy, rule, &rule->peers[k]);
			}
		}
	}
}

static void check_effect(struct checking *c, const struct bh_policy *policy)
{
	const struct policy_travel *t = &policy->travel;
	bool judges = policy->directions || policy->permit || policy->vlan_count;

	if (!judges && policy->quarantine) {
		warn(c, policy, policy->line,
		     "`quarantine: true` has no effect: there is neither a rule nor a right that "
		     "could hold there");
	} else if (!judges && !t->hosts && !t->without_manager && !t->rollback) {
		warn(c, policy, policy->line,
		     "has no effect: neither rules nor `directions`, `permit`, `vlans`, "
		     "`placement`, `migration` or `rollback`");
	}
}

size_t bh_policy_check(const struct bh_policy_set *set, const struct bh_policy_universe *universe,
		       bh_policy_warning_fn *fn, void *arg)
{
	struct checking c = {.universe = universe, .fn = fn, .arg = arg};

	for (size_t i = 0; i < bh_policy_set_count(set) && c.count < WARNINGS_MAX; i++) {
		const struct bh_policy *policy = bh_policy_set_at(set, i);

		check_effect(&c, policy);
		check_shadows(&c, policy, BH_POLICY_EGRESS);
		check_shadows(&c, policy, BH_POLICY_INGRESS);
		if (universe) {
			check_against_universe(&c, set, policy);
		}
	}
	return c.count;
}
