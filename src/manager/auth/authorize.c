/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/authorize.h"

#include "base/util.h"

#define R(name) MANAGER_RIGHT(VERB_##name)

/* Which right shows that a thing of this kind is there. */
static const struct {
	const char *name;
	uint64_t shown_by;
} kinds[] = {
	[OBJECT_HOST] = {"host", R(HOST_READ)},
	[OBJECT_TENANT] = {"tenant", R(TENANT_READ)},
	[OBJECT_VM] = {"vm", R(VM_READ)},
	[OBJECT_POLICY] = {"policy", R(POLICY_READ)},
	[OBJECT_BODY] = {"", 0},
};

void manager_principal_done(struct manager_principal *p)
{
	bh_vec_done(&p->holdings);
	memset(p, 0, sizeof(*p));
}

static bool in_force(const struct manager_holding *h, uint64_t now_ns)
{
	return !h->until_ns || now_ns < h->until_ns;
}

static bool reaches(const struct manager_holding *h, uint32_t tenant)
{
	return h->tenant == tenant ||
	       (h->tenant == MANAGER_EACH_TENANT && tenant != MANAGER_PROVIDER);
}

uint64_t manager_rights_at(const struct manager_principal *who, uint32_t tenant, uint64_t now_ns)
{
	uint64_t rights = 0;

	if (who->via == MANAGER_VIA_ROOT) {
		return ~0ull;
	}
	bh_vec_foreach (h, &who->holdings) {
		rights |= reaches(h, tenant) && in_force(h, now_ns) && !*h->object ? h->rights : 0;
	}
	return rights;
}

uint64_t manager_rights_anywhere(const struct manager_principal *who, uint64_t now_ns)
{
	uint64_t rights = 0;

	if (who->via == MANAGER_VIA_ROOT) {
		return ~0ull;
	}
	bh_vec_foreach (h, &who->holdings) {
		rights |= in_force(h, now_ns) ? h->rights : 0;
	}
	return rights;
}

bool manager_holds_everywhere(const struct manager_principal *who, enum manager_verb verb,
			      uint64_t now_ns)
{
	return (manager_rights_at(who, MANAGER_PROVIDER, now_ns) &
		manager_rights_at(who, MANAGER_EACH_TENANT, now_ns) & MANAGER_RIGHT(verb)) != 0;
}

/* ---- judging ---- */

static void say(struct manager_judgement *ret, enum manager_decision decision, const char *rule,
		const char *way)
{
	ret->decision = decision;
	snprintf(ret->rule, sizeof(ret->rule), "%s", rule);
	snprintf(ret->way, sizeof(ret->way), "%s", way);
}

/* A holding for one object: "vm/UUID". */
static bool is_for(const struct manager_holding *h, const struct manager_object *object)
{
	size_t len;

	if (!*h->object) {
		return true;
	}
	if (object->kind >= BH_ARRAY_SIZE(kinds) || !kinds[object->kind].name || !object->id) {
		return false;
	}
	len = strlen(kinds[object->kind].name);
	return strncmp(h->object, kinds[object->kind].name, len) == 0 && h->object[len] == '/' &&
	       strcmp(h->object + len + 1, object->id) == 0;
}

static bool holds(const struct manager_principal *who, enum manager_verb verb,
		  const struct manager_object *object, uint64_t now_ns, bool approved)
{
	bh_vec_foreach (h, &who->holdings) {
		if ((h->rights & MANAGER_RIGHT(verb)) && reaches(h, object->tenant) &&
		    in_force(h, now_ns) && is_for(h, object) && (h->approved || !approved)) {
			return true;
		}
	}
	return false;
}

static bool holds_anywhere(const struct manager_principal *who, enum manager_verb verb,
			   uint64_t now_ns)
{
	return (manager_rights_anywhere(who, now_ns) & MANAGER_RIGHT(verb)) != 0;
}

static bool sees(const struct manager_principal *who, const struct manager_object *object,
		 uint64_t now_ns)
{
	uint64_t shown_by = object->kind < BH_ARRAY_SIZE(kinds) ? kinds[object->kind].shown_by : 0;

	return !shown_by || (manager_rights_at(who, object->tenant, now_ns) & shown_by);
}

static void say_no_role(enum manager_verb verb, const struct manager_object *object,
			struct manager_judgement *ret)
{
	snprintf(ret->rule, sizeof(ret->rule), "no role of yours gives %s %s",
		 manager_right_name(verb),
		 object->kind == OBJECT_LIST	      ? "anywhere"
		 : object->kind == OBJECT_BODY	      ? "there"
		 : object->tenant == MANAGER_PROVIDER ? "at the provider"
						      : "at this tenant");
}

static enum manager_decision denied(const struct manager_principal *who, enum manager_verb verb,
				    const struct manager_object *object, uint64_t now_ns,
				    struct manager_judgement *ret)
{
	const char *name = manager_right_name(verb);

	ret->decision = MANAGER_DENY;
	if (manager_rights_by_request(who, object->tenant, now_ns) & MANAGER_RIGHT(verb)) {
		snprintf(ret->rule, sizeof(ret->rule),
			 "self-service is off: %s needs a request that somebody approves", name);
	} else {
		say_no_role(verb, object, ret);
	}
	snprintf(ret->way, sizeof(ret->way),
		 "ask for it: POST /v1/requests {\"kind\": \"grant\", \"verb\": \"%s\", ...}",
		 name);
	return MANAGER_DENY;
}

/* The verb is held; is that enough? */
static enum manager_decision judge_factor(const struct manager_principal *who,
					  enum manager_verb verb,
					  const struct manager_auth_rules *rules,
					  struct manager_judgement *ret)
{
	unsigned int flags = manager_right_flags(verb);
	bool dangerous = (flags & MANAGER_RIGHT_DANGEROUS) == (unsigned int)MANAGER_RIGHT_DANGEROUS;

	if (dangerous && who->via == MANAGER_VIA_TOKEN) {
		say(ret, MANAGER_DENY, "an API token never does what is dangerous",
		    "log in and show a second factor");
	} else if ((flags & MANAGER_RIGHT_FACTOR) && !who->factor_ns) {
		say(ret, who->via == MANAGER_VIA_TOKEN ? MANAGER_DENY : MANAGER_STEP_UP,
		    "this needs a second factor, and none was shown",
		    "show a second factor: POST /v1/session/step-up; enrol one first: "
		    "POST /v1/me/totp");
	} else if (dangerous && (who->factor_ns > rules->now_ns ||
				 rules->now_ns - who->factor_ns > rules->fresh_ns)) {
		say(ret, MANAGER_STEP_UP,
		    "this is dangerous and needs a second factor shown just now",
		    "show it again: POST /v1/session/step-up");
	} else {
		say(ret, MANAGER_ALLOW, "", "");
	}
	return ret->decision;
}

static enum manager_decision judge_held(const struct manager_principal *who, enum manager_verb verb,
					const struct manager_object *object,
					const struct manager_auth_rules *rules,
					struct manager_judgement *ret)
{
	if (judge_factor(who, verb, rules, ret) != MANAGER_ALLOW) {
		return ret->decision;
	}
	if ((rules->approval & MANAGER_RIGHT(verb)) &&
	    !holds(who, verb, object, rules->now_ns, true)) {
		say(ret, MANAGER_APPROVAL, "a second person has to approve this",
		    "ask for it: POST /v1/requests, and have another one approve it");
	}
	return ret->decision;
}

enum manager_decision manager_authorize(const struct manager_principal *who, enum manager_verb verb,
					const struct manager_object *object,
					const struct manager_auth_rules *rules,
					struct manager_judgement *ret)
{
	say(ret, MANAGER_ALLOW, "", "");
	if (object->kind == OBJECT_PUBLIC || who->via == MANAGER_VIA_ROOT) {
		return MANAGER_ALLOW;
	}
	if (who->via == MANAGER_VIA_NOBODY || object->kind == OBJECT_UNSET) {
		say(ret, MANAGER_DENY, "nobody is logged in", "POST /v1/login");
		return MANAGER_DENY;
	}
	if (object->kind == OBJECT_LIST ||
	    (object->kind == OBJECT_BODY && object->tenant == MANAGER_NO_TENANT)) {
		/* Which ones the handler says. */
		return holds_anywhere(who, verb, rules->now_ns)
			       ? MANAGER_ALLOW
			       : denied(who, verb, object, rules->now_ns, ret);
	}
	if (object->kind == OBJECT_SELF) {
		return verb == VERB_NONE ? MANAGER_ALLOW
		       : holds_anywhere(who, verb, rules->now_ns)
			       ? judge_factor(who, verb, rules, ret)
			       : denied(who, verb, object, rules->now_ns, ret);
	}
	if (!sees(who, object, rules->now_ns)) {
		say(ret, MANAGER_HIDDEN, "nothing of this tenant is shown to you",
		    "ask an administrator of the tenant");
		return MANAGER_HIDDEN;
	}
	if (!holds(who, verb, object, rules->now_ns, false)) {
		return denied(who, verb, object, rules->now_ns, ret);
	}
	return judge_held(who, verb, object, rules, ret);
}

enum manager_decision manager_authorize_factor(const struct manager_principal *who,
					       enum manager_verb verb,
					       const struct manager_auth_rules *rules,
					       struct manager_judgement *ret)
{
	if (who->via == MANAGER_VIA_ROOT) {
		say(ret, MANAGER_ALLOW, "", "");
		return MANAGER_ALLOW;
	}
	return judge_factor(who, verb, rules, ret);
}

/* ---- who may know of it ---- */

bool manager_attempt_shown(const struct manager_principal *who, uint32_t tenant, uint64_t now_ns)
{
	return tenant == MANAGER_PROVIDER ||
	       (tenant != MANAGER_NO_TENANT && (manager_rights_at(who, tenant, now_ns) &
						manager_rights_with(MANAGER_RIGHT_READS)));
}

void manager_roles_at(const char *roles, const char *tenant, char ret[MANAGER_ROLES_SIZE])
{
	size_t at = 0;

	*ret = '\0';
	for (const char *p = roles, *end; *p; p = *end ? end + 2 : end) {
		const char *place = strstr(p, " at ");
		size_t len;

		end = strstr(p, ", ");
		end = end ? end : p + strlen(p);
		if (!place || place > end) {
			continue;
		}
		place += 4;
		len = (size_t)(end - place);
		if ((len == 1 && *place == '*') ||
		    (len == strlen(tenant) && strncmp(place, tenant, len) == 0)) {
			at += (size_t)snprintf(ret + at, MANAGER_ROLES_SIZE - at, "%s%.*s",
					       at ? ", " : "", (int)(end - p), p);
		}
	}
}

/* ---- what users hold ---- */

/* Does what ends at a hold as long as what ends at b? */
static bool outlasts(uint64_t a, uint64_t b)
{
	return !a || (b && a >= b);
}

/* Each right stands once, where it ends last: so there are never more holdings at a tenant than
 * rights, however many roles say the same for different times. */
static void add(struct manager_principal *who, uint32_t tenant, uint64_t rights, uint64_t until_ns)
{
	struct manager_holding *place = NULL;

	bh_vec_foreach (old, &who->holdings) {
		if (old->tenant != tenant || *old->object || old->approved) {
			continue;
		}
		if (outlasts(old->until_ns, until_ns)) {
			rights &= ~old->rights;
		} else {
			old->rights &= ~rights;
		}
		place = old->until_ns == until_ns || !old->rights ? old : place;
	}
	if (!rights) {
		return;
	}
	place = place ? place : bh_vec_push(&who->holdings);
	place->tenant = tenant;
	place->rights |= rights;
	place->until_ns = until_ns;
}

void manager_holdings_add_role(struct manager_principal *who, uint64_t at_provider,
			       uint64_t at_tenant, uint32_t tenant, uint64_t until_ns)
{
	if (tenant == MANAGER_EACH_TENANT || tenant == MANAGER_PROVIDER) {
		add(who, MANAGER_PROVIDER, at_provider, until_ns);
	}
	if (tenant != MANAGER_PROVIDER) {
		add(who, tenant, at_tenant, until_ns);
	}
}

void manager_holdings_join(struct manager_principal *who, const struct manager_principal *other)
{
	bh_vec_foreach (h, &other->holdings) {
		add(who, h->tenant, h->rights, h->until_ns);
	}
}

/* The tenant that both reach; false when there is none. */
static bool common_tenant(uint32_t a, uint32_t b, uint32_t *ret)
{
	if (a == b || (b == MANAGER_EACH_TENANT && a != MANAGER_PROVIDER)) {
		*ret = a;
		return true;
	}
	*ret = b;
	return a == MANAGER_EACH_TENANT && b != MANAGER_PROVIDER;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	if (!a || !b) {
		return a ? a : b;
	}
	return a < b ? a : b;
}

void manager_holdings_limit(struct manager_principal *who, const struct manager_principal *maker,
			    uint64_t now_ns)
{
	struct manager_principal old = *who;
	uint32_t tenant;

	if (maker->via == MANAGER_VIA_ROOT) {
		return;
	}
	memset(&who->holdings, 0, sizeof(who->holdings));
	bh_vec_foreach (h, &old.holdings) {
		bh_vec_foreach (m, &maker->holdings) {
			if (in_force(m, now_ns) && !*m->object && !*h->object &&
			    common_tenant(h->tenant, m->tenant, &tenant)) {
				add(who, tenant, h->rights & m->rights,
				    sooner(h->until_ns, m->until_ns));
			}
		}
	}
	bh_vec_done(&old.holdings);
}

void manager_holdings_by_request(struct manager_principal *who, uint32_t tenant)
{
	uint64_t kept = manager_role_find("auditor")->tenant |
			manager_role_find("requester")->tenant | R(REQUEST_DECIDE);

	if (who->tenant == MANAGER_PROVIDER) {
		return;
	}
	bh_vec_foreach (h, &who->holdings) {
		if (reaches(h, tenant) && (h->rights & ~kept)) {
			h->by_request |= h->rights & ~kept;
			h->rights = (h->rights & kept) | R(REQUEST_SUBMIT);
		}
	}
}

uint64_t manager_rights_by_request(const struct manager_principal *who, uint32_t tenant,
				   uint64_t now_ns)
{
	uint64_t rights = 0;

	bh_vec_foreach (h, &who->holdings) {
		bool there = tenant == MANAGER_NO_TENANT || reaches(h, tenant);

		rights |= there && in_force(h, now_ns) ? h->by_request : 0;
	}
	return rights;
}

void manager_holdings_narrow(struct manager_principal *who, uint64_t rights, uint32_t tenant)
{
	struct manager_principal old = *who;
	uint32_t common;

	memset(&who->holdings, 0, sizeof(who->holdings));
	bh_vec_foreach (h, &old.holdings) {
		if (!*h->object && tenant == MANAGER_EACH_TENANT) {
			add(who, h->tenant, h->rights & rights, h->until_ns);
		} else if (!*h->object && reaches(h, tenant) &&
			   common_tenant(h->tenant, tenant, &common)) {
			add(who, common, h->rights & rights, h->until_ns);
		}
	}
	bh_vec_done(&old.holdings);
}

bool manager_may_delegate(const struct manager_principal *who, uint64_t rights, uint32_t tenant,
			  uint64_t now_ns)
{
	return (rights & ~manager_rights_at(who, tenant, now_ns)) == 0;
}
