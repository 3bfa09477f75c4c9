/* SPDX-License-Identifier: Apache-2.0 */
/* See sets.h. */
#include "gate/detect/sets.h"

#include "base/counter.h"
#include "gate/detect/set.h"

#include <errno.h>

BH_COUNTER(gate_selector_unknown, "flows whose rule set is not there: the default one took them");

/* ---- all that run ---- */

int gate_rule_sets_new(struct gate_rule_set *const *sets, uint32_t count,
		       struct gate_rule_sets **ret, struct bh_diag *diag)
{
	struct gate_rule_sets *all = bh_alloc(sizeof(*all) + count * sizeof(all->sets[0]));

	all->refs = 1;
	all->count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct gate_rule_set *set = sets[i];

		all->sets[i] = set;
		all->sig_max = set->sig_count > all->sig_max ? set->sig_count : all->sig_max;
		all->slot_max = set->slot_count > all->slot_max ? set->slot_count : all->slot_max;
	}
	for (uint32_t i = 0; i < count; i++) {
		bh_vec_foreach (mpm, &sets[i]->mpms) {
			if ((*mpm)->db &&
			    hs_alloc_scratch((*mpm)->db, &all->scratch) != HS_SUCCESS) {
				gate_rule_sets_unref(all);
				return bh_diag_set(diag, -ENOMEM, "hyperscan: no scratch");
			}
		}
	}
	*ret = all;
	return 0;
}

struct gate_rule_sets *gate_rule_sets_ref(struct gate_rule_sets *sets)
{
	if (sets) {
		sets->refs++;
	}
	return sets;
}

void gate_rule_sets_unref(struct gate_rule_sets *sets)
{
	if (!sets || --sets->refs) {
		return;
	}
	for (uint32_t i = 0; i < sets->count; i++) {
		gate_rule_set_unref(sets->sets[i]);
	}
	hs_free_scratch(sets->scratch);
	free(sets);
}

bool gate_rule_sets_is_last(const struct gate_rule_sets *sets)
{
	return sets->refs == 1;
}

uint32_t gate_rule_sets_count(const struct gate_rule_sets *sets)
{
	return sets->count;
}

struct gate_rule_set *gate_rule_sets_get(const struct gate_rule_sets *sets, uint32_t slot)
{
	return sets->sets[slot < sets->count ? slot : 0];
}

/* ---- the choice ---- */

struct gate_selector {
	const struct gate_config *config;
	struct gate_selector_hook hook;
	const char *const *interfaces;
	size_t interface_count;
};

struct gate_selector *gate_selector_new(const struct gate_config *config,
					const struct gate_selector_hook *hook,
					const char *const *interfaces, size_t count)
{
	struct gate_selector *s;

	if (!config->rule_sets.count && !hook->slot) {
		return NULL;
	}
	s = bh_alloc(sizeof(*s));
	*s = (struct gate_selector){config, *hook, interfaces, interfaces ? count : 0};
	return s;
}

void gate_selector_free(struct gate_selector *selector)
{
	free(selector);
}

static bool in_ranges(const struct gate_config_range *ranges, size_t count, uint32_t value)
{
	for (size_t i = 0; i < count; i++) {
		if (value >= ranges[i].first && value <= ranges[i].last) {
			return true;
		}
	}
	return false;
}

/* What the network has put on; a tag inside a tunnel counts when there is none around it. */
static bool vlan_fits(const struct gate_config_set *set, const struct gate_packet *p)
{
	const struct gate_packet *tagged = NULL;

	for (; p; p = p->outer) {
		tagged = p->vlan_count ? p : tagged;
	}
	return tagged && in_ranges(set->vlans.items, set->vlans.count, tagged->vlan[0] & 0xfff);
}

static bool interface_fits(const struct gate_selector *s, const struct gate_config_set *set,
			   const struct gate_packet *p)
{
	bh_vec_foreach (name, &set->interfaces) {
		if (p->source < s->interface_count && !strcmp(*name, s->interfaces[p->source])) {
			return true;
		}
	}
	return false;
}

static bool address_fits(const struct gate_config_set *set, const struct gate_packet *p)
{
	bh_vec_foreach (network, &set->networks) {
		if (p->ip_version && (gate_network_has(network, p->src.bytes) ||
				      gate_network_has(network, p->dst.bytes))) {
			return true;
		}
	}
	return false;
}

static bool fits(const struct gate_selector *s, const struct gate_config_set *set,
		 const struct gate_packet *p)
{
	return (!set->vlans.count || vlan_fits(set, p)) &&
	       (!set->vnis.count ||
		(p->vni && in_ranges(set->vnis.items, set->vnis.count, p->vni - 1))) &&
	       (!set->interfaces.count || interface_fits(s, set, p)) &&
	       (!set->networks.count || address_fits(set, p));
}

static uint16_t slot_of(const struct gate_selector *s, const struct gate_packet *p)
{
	int slot = s->hook.slot ? s->hook.slot(p, s->hook.arg) : -1;

	if (slot >= 0 && (size_t)slot <= s->config->rule_sets.count) {
		return (uint16_t)slot;
	}
	if (slot >= 0) {
		bh_counter_add(&gate_selector_unknown, 1);
		return 0;
	}
	for (size_t i = 0; i < s->config->rule_sets.count; i++) {
		if (fits(s, &s->config->rule_sets.items[i], p)) {
			return (uint16_t)(i + 1);
		}
	}
	return 0;
}

void gate_selector_choose(const struct gate_selector *selector, struct gate_packet *p)
{
	struct gate_flow *flow = p->flow;

	if (!selector) {
		p->rule_set = 0;
		return;
	}
	if (!flow) {
		p->rule_set = slot_of(selector, p);
		return;
	}
	if (!flow->rule_set) {
		flow->rule_set = slot_of(selector, p) + 1;
	}
	p->rule_set = flow->rule_set - 1;
}
