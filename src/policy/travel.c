/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where VMs may run, how they move and what happens when they come back: the members `placement`,
 * `migration` and `rollback` of a policy, read, written and asked. They are not about packets, so
 * the compiler does not know them.
 */
#include "policy/parse.h"

#include "model/id.h"

#define RELEASE_MAX_S (365u * 86400)

static const struct {
	char unit;
	uint32_t seconds;
} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

/* ---- reading ---- */
int policy_read_placement(const struct policy_reading *rd, const struct yaml_tree_node *node,
			  struct bh_policy *policy)
{
	static const char *const keys[] = {"hosts", NULL};
	static const char *const host_keys[] = {"matchLabels", "matchExpressions", NULL};
	const struct yaml_tree_node *hosts;
	int r = policy_need_map(rd, node, "placement", keys);

	if (r) {
		return r;
	}
	hosts = policy_member(node, "hosts");
	if (!hosts) {
		return policy_fail(rd, node,
				   "expected `hosts` in placement: which hosts may run these VMs");
	}
	r = policy_need_map(rd, hosts, "hosts", host_keys);
	if (!r) {
		r = policy_read_selector(rd, hosts, false, &policy->travel.hosts);
	}
	if (!r && policy_selector_is_all(policy->travel.hosts)) {
		r = policy_fail(rd, hosts,
				"expected a label of hosts in `matchLabels` or `matchExpressions`; "
				"leave `placement` out for any host");
	}
	return r;
}

int policy_read_migration(const struct policy_reading *rd, const struct yaml_tree_node *node,
			  struct bh_policy *policy)
{
	static const char *const keys[] = {"withoutManager", NULL};
	static const struct policy_choice choices[] = {
		{"allow", POLICY_YES}, {"refuse", POLICY_NO}, {}};
	const struct yaml_tree_node *m;
	int value;
	int r = policy_need_map(rd, node, "migration", keys);

	if (r) {
		return r;
	}
	m = policy_member(node, "withoutManager");
	if (!m) {
		return policy_fail(rd, node,
				   "expected `withoutManager` in migration: allow or refuse");
	}
	r = policy_read_choice(rd, m, "withoutManager", choices, &value);
	if (!r) {
		policy->travel.without_manager = (enum policy_said)value;
	}
	return r;
}

/* "30m" */
static int read_duration(const struct policy_reading *rd, const struct yaml_tree_node *node,
			 uint32_t *ret_s)
{
	char digits[12] = "";
	size_t len;
	uint64_t n = 0;
	uint64_t s = 0;
	int r = policy_need_text(rd, node, "a time such as 30m");

	if (r) {
		return r;
	}
	len = strlen(node->text);
	for (size_t i = 0; len > 1 && len <= sizeof(digits) && i < BH_ARRAY_SIZE(units); i++) {
		if (node->text[len - 1] != units[i].unit) {
			continue;
		}
		memcpy(digits, node->text, len - 1);
		if (!bh_parse_u64(digits, 1, RELEASE_MAX_S, &n)) {
			s = n * units[i].seconds;
		}
	}
	if (!s || s > RELEASE_MAX_S) {
		return policy_fail(rd, node,
				   "\"%.32s\" is no time; expected 1s to 365d: a number with s, m, "
				   "h or d behind it",
				   node->text);
	}
	*ret_s = (uint32_t)s;
	return 0;
}

int policy_read_rollback(const struct policy_reading *rd, const struct yaml_tree_node *node,
			 struct bh_policy *policy)
{
	static const char *const keys[] = {"quarantine", "releaseAfter", NULL};
	const struct yaml_tree_node *quarantine;
	const struct yaml_tree_node *after;
	bool yes = true;
	int r = policy_need_map(rd, node, "rollback", keys);

	if (r) {
		return r;
	}
	quarantine = policy_member(node, "quarantine");
	after = policy_member(node, "releaseAfter");
	if (!quarantine && !after) {
		return policy_fail(rd, node, "expected `quarantine` or `releaseAfter` in rollback");
	}
	if (quarantine) {
		r = policy_read_bool(rd, quarantine, "quarantine", &yes);
	}
	if (!r && after && !yes) {
		r = policy_fail(rd, after->key, "`releaseAfter` goes with `quarantine: true`");
	}
	if (!r && after) {
		r = read_duration(rd, after, &policy->travel.release_after_s);
	}
	policy->travel.rollback = yes ? POLICY_YES : POLICY_NO;
	return r;
}

/* ---- writing ---- */
/* In the biggest unit that is exact. */
static void put_duration(uint32_t s, struct bh_wbuf *w)
{
	size_t i = 0;

	while (s % units[i].seconds) {
		i++;
	}
	bh_wbuf_printf(w, "%u%c", s / units[i].seconds, units[i].unit);
}

void policy_travel_print(const struct policy_travel *t, struct bh_wbuf *w)
{
	if (t->hosts) {
		bh_wbuf_str(w, "  placement:\n    hosts:");
		policy_selector_print(t->hosts, 6, w);
	}
	if (t->without_manager) {
		bh_wbuf_printf(w, "  migration:\n    withoutManager: %s\n",
			       t->without_manager == POLICY_YES ? "allow" : "refuse");
	}
	if (t->rollback) {
		bh_wbuf_printf(w, "  rollback:\n    quarantine: %s\n",
			       t->rollback == POLICY_YES ? "true" : "false");
	}
	if (t->release_after_s) {
		bh_wbuf_str(w, "    releaseAfter: \"");
		put_duration(t->release_after_s, w);
		bh_wbuf_str(w, "\"\n");
	}
}

void policy_travel_json(const struct policy_travel *t, json_t *spec)
{
	json_t *rollback;
	struct bh_wbuf w;

	if (t->hosts) {
		json_object_set_new(spec, "placement",
				    json_pack("{s:o}", "hosts", policy_selector_json(t->hosts)));
	}
	if (t->without_manager) {
		json_object_set_new(
			spec, "migration",
			json_pack("{s:s}", "withoutManager",
				  t->without_manager == POLICY_YES ? "allow" : "refuse"));
	}
	if (!t->rollback) {
		return;
	}
	rollback = json_pack("{s:b}", "quarantine", t->rollback == POLICY_YES);
	if (t->release_after_s) {
		bh_wbuf_init(&w, 0);
		put_duration(t->release_after_s, &w);
		json_object_set_new(rollback, "releaseAfter", json_string(bh_wbuf_cstr(&w)));
		bh_wbuf_done(&w);
	}
	json_object_set_new(spec, "rollback", rollback);
}

/* ---- asking ---- */
typedef bool said_fn(const struct bh_policy *policy, const void *arg);

/* The first policy in the order of judgement that selects the VM and for which fn holds. */
static const struct bh_policy *first(const struct bh_policy_set *set,
				     const struct bh_policy_subject *vm, said_fn *fn,
				     const void *arg)
{
	BH_FREE struct bh_policy_label *labels = policy_labels_sorted(vm->labels, vm->label_count);
	const struct bh_policy *best = NULL;

	bh_vec_foreach (pp, policy_set_travellers(set)) {
		const struct bh_policy *p = *pp;

		if (fn(p, arg) && policy_covers_tenant(p, vm->tenant) &&
		    policy_selector_matches(p->selector, labels, vm->label_count) &&
		    (!best || policy_judgement_compare(&p, &best) < 0)) {
			best = p;
		}
	}
	return best;
}

struct host {
	const struct bh_policy_label *labels; /* sorted */
	size_t count;
};

static bool refuses_host(const struct bh_policy *policy, const void *arg)
{
	const struct host *h = arg;

	return policy->travel.hosts &&
	       !policy_selector_matches(policy->travel.hosts, h->labels, h->count);
}

bool bh_policy_placement_ok(const struct bh_policy_set *set, const struct bh_policy_subject *vm,
			    const struct bh_policy_label *host_labels, size_t host_label_count,
			    const struct bh_policy **ret_policy)
{
	BH_FREE struct bh_policy_label *sorted =
		policy_labels_sorted(host_labels, host_label_count);
	struct host h = {sorted, host_label_count};

	*ret_policy = first(set, vm, refuses_host, &h);
	return !*ret_policy;
}

void bh_policy_placement_describe(const struct bh_policy *policy, struct bh_wbuf *w)
{
	if (policy->travel.hosts) {
		policy_selector_describe(policy->travel.hosts, w);
	}
}

static void put_host_label(const struct host *h, const char *key, const char *comma,
			   struct bh_wbuf *w)
{
	const struct bh_policy_label *l = policy_label_find(h->labels, h->count, key);

	if (l) {
		bh_wbuf_printf(w, "%s%s=%s", comma, key, l->value);
	} else {
		bh_wbuf_printf(w, "%sno %s", comma, key);
	}
}

void bh_policy_placement_compare(const struct bh_policy *policy,
				 const struct bh_policy_label *host_labels, size_t host_label_count,
				 struct bh_wbuf *w)
{
	BH_FREE struct bh_policy_label *sorted =
		policy_labels_sorted(host_labels, host_label_count);
	struct host h = {sorted, host_label_count};
	const struct policy_selector *s = policy->travel.hosts;
	const char *last = "";
	const char *comma = "";

	for (size_t i = 0; s && i < s->label_count; i++, comma = ", ") {
		put_host_label(&h, s->labels[i].key, comma, w);
	}
	/* Sorted by key; those of matchLabels are named already. */
	for (size_t i = 0; s && i < s->expr_count; i++) {
		const char *key = s->exprs[i].key;

		if (strcmp(key, last) != 0 && !policy_label_find(s->labels, s->label_count, key)) {
			put_host_label(&h, key, comma, w);
			comma = ", ";
		}
		last = key;
	}
}

static bool speaks_of_manager(const struct bh_policy *policy, const void *arg)
{
	(void)arg;
	return policy->travel.without_manager;
}

bool bh_policy_without_manager(const struct bh_policy_set *set, const struct bh_policy_subject *vm,
			       const struct bh_policy **ret_policy)
{
	*ret_policy = first(set, vm, speaks_of_manager, NULL);
	return *ret_policy && (*ret_policy)->travel.without_manager == POLICY_YES;
}

static bool speaks_of_rollback(const struct bh_policy *policy, const void *arg)
{
	(void)arg;
	return policy->travel.rollback;
}

struct bh_policy_rollback bh_policy_rollback_of(const struct bh_policy_set *set,
						const struct bh_policy_subject *vm)
{
	const struct bh_policy *p = first(set, vm, speaks_of_rollback, NULL);

	return (struct bh_policy_rollback){
		.quarantine = !p || p->travel.rollback == POLICY_YES,
		.release_after_s = p ? p->travel.release_after_s : 0,
		.policy = p,
	};
}

bool bh_policy_in_quarantine(const struct bh_policy *policy)
{
	return policy->quarantine;
}
