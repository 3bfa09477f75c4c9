/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/words.h"

#include "base/time.h"

json_t *manager_words_end(const struct manager_world *world, const struct manager_scope *scope,
			  uint32_t identity)
{
	static const char *const entities[] = {"world", "host", "world", "multicast"};
	json_t *end;

	if (identity < MANAGER_IDENTITY_FIRST) {
		const char *name =
			identity < BH_ARRAY_SIZE(entities) ? entities[identity] : "world";

		return json_pack("{s:s}", "entity", name);
	}
	if (!manager_scope_has(scope, bh_policy_universe_tenant_of(world->universe, identity))) {
		return json_pack("{s:s}", "entity", "another tenant");
	}
	end = bh_policy_universe_identity_json(world->universe, identity);
	return end ? end : json_pack("{s:s}", "entity", "unknown");
}

static bool may_see(const struct manager_world *world, const struct manager_scope *scope,
		    const struct bh_policy *policy)
{
	return scope->all ||
	       manager_scope_has(scope, bh_policy_universe_tenant_number(world->universe,
									 bh_policy_tenant(policy)));
}

json_t *manager_words_rule(const struct manager_world *world, const struct manager_scope *scope,
			   const struct bh_policy_verdict *v)
{
	struct bh_wbuf w;
	json_t *text;

	if (!v->policy) {
		const char *builtin = bh_policy_builtin_text(v->builtin);

		return json_string(builtin ? builtin : "");
	}
	bh_wbuf_init(&w, 0);
	if (may_see(world, scope, v->policy)) {
		bh_policy_rule_format(v->policy, v->dir, v->index, &w);
	} else if (strcmp(bh_policy_tenant(v->policy), BH_POLICY_PROVIDER) == 0) {
		bh_wbuf_printf(&w, "guard-rail %s",
			       bh_policy_rule_name(v->policy, v->dir, v->index));
	} else {
		bh_wbuf_str(&w, "a rule of another tenant");
	}
	text = json_string(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return text;
}

json_t *manager_words_service(const struct bh_policy_service *service)
{
	struct bh_wbuf w;
	json_t *text;

	bh_wbuf_init(&w, 0);
	bh_policy_service_format(service, &w);
	text = json_string(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return text;
}

json_t *manager_words_time(uint32_t wall_s)
{
	char text[BH_TIME_TEXT_SIZE];

	bh_time_format(wall_s * BH_NS_PER_S, text);
	return json_string(text);
}
