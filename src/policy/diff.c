/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a change of policies changes for traffic.
 *
 * Asking every pair of identities about every port would take for ever, so everything that must get
 * the same answers is asked once: identities that the same policies select (groups), peers that the
 * same selectors match (probes; prefixes that rules name are probed by one address inside), ports
 * between which no rule makes a difference (services). What is left is bounded by a budget of rules
 * to look at.
 */
#include "policy/compiler.h"

#include "model/id.h"

#include <errno.h>

#define BUDGET	     50000000ll /* rules looked at */
#define ENTRIES_MAX  200
#define PREFIXES_MAX 1000
#define NAMES_MAX    20 /* members of a group that are named before "and n more" */

/* ---- identities that are judged alike ---- */
struct group {
	policy_list lists[2]; /* that select them, before and after */
	const struct policy_identity *self;
	policy_ids members;
	void *key;
	UT_hash_handle hh;
};

/* ---- the other side ---- */
struct probe {
	struct bh_policy_end end;
	const struct policy_identity *other;
	policy_ids members; /* identities that it stands for */
	char *text;	    /* of a probe that is no identity */
	void *key;
	UT_hash_handle hh;
};

struct span {
	uint8_t proto;
	bool other; /* any protocol that no rule names */
	uint16_t first, last;
};

struct change {
	enum bh_policy_action action[2];
	char *rule[2];
	char *services;
	struct probe *probe;
	bool merged;
};

struct diff {
	const struct bh_policy_compiler *compilers[2];
	struct group *groups;
	json_t *entries;
	size_t max_entries;
	size_t left_out;
	uint64_t pairs;
	long long budget;
	bh_policy_sees_fn *sees; /* NULL: everything */
	void *arg;
};

static bool sees(const struct diff *d, const char *tenant)
{
	return !d->sees || d->sees(tenant, d->arg);
}

static void note_affected(uint32_t identity, void *arg)
{
	*bh_vec_push((policy_ids *)arg) = identity;
}

static void add_to_group(struct diff *d, const struct policy_identity *self)
{
	policy_list lists[2] = {};
	struct group *g;
	struct bh_wbuf key;

	bh_wbuf_init(&key, 0);
	bh_wbuf_u32(&key, self->tenant->number);
	bh_wbuf_u8(&key, self->quarantined);
	for (int i = 0; i < 2; i++) {
		policy_compiler_applicable(d->compilers[i], self, &lists[i]);
		bh_wbuf_u32(&key, (uint32_t)lists[i].count);
		bh_wbuf_put(&key, lists[i].items, lists[i].count * sizeof(lists[i].items[0]));
	}
	HASH_FIND(hh, d->groups, key.data, key.size, g);
	if (g) {
		bh_vec_done(&lists[0]);
		bh_vec_done(&lists[1]);
	} else {
		g = bh_alloc(sizeof(*g));
		g->lists[0] = lists[0];
		g->lists[1] = lists[1];
		g->self = self;
		g->key = bh_memdup(key.data, key.size);
		HASH_ADD_KEYPTR(hh, d->groups, g->key, key.size, g);
	}
	*bh_vec_push(&g->members) = self->id;
	bh_wbuf_done(&key);
}

/* ---- services ---- */
#define PORT_BITMAP (65537 / 8 + 1)

/* Where a rule may begin or end to match, by protocol. */
struct cuts {
	bool named[256];
	uint8_t at[256][PORT_BITMAP];
};

static void cut(struct cuts *cuts, uint8_t proto, uint32_t first, uint32_t last)
{
	cuts->named[proto] = true;
	cuts->at[proto][first / 8] |= (uint8_t)(1u << first % 8);
	cuts->at[proto][(last + 1) / 8] |= (uint8_t)(1u << (last + 1) % 8);
}

static void cut_rules(struct cuts *cuts, const policy_list *policies, enum bh_policy_dir dir)
{
	bh_vec_foreach (pp, policies) {
		for (size_t i = 0; i < (*pp)->rule_count[dir]; i++) {
			const struct policy_rule *rule = &(*pp)->rules[dir][i];

			for (size_t k = 0; k < rule->port_count; k++) {
				const struct policy_port *p = &rule->ports[k];

				cut(cuts, p->proto, p->whole ? 0 : p->first,
				    p->whole ? 65535 : p->last);
			}
		}
	}
}

static size_t make_spans(const struct group *g, enum bh_policy_dir dir, struct span **ret_spans)
{
	BH_VEC(struct span) spans = {};
	BH_FREE struct cuts *cuts = bh_alloc(sizeof(*cuts));
	size_t builtin_count;
	const struct policy_builtin *builtins = policy_builtins(&builtin_count);
	uint8_t spare = 253;

	for (size_t i = 0; i < builtin_count; i++) {
		cut(cuts, builtins[i].proto, builtins[i].port, builtins[i].port);
	}
	cut_rules(cuts, &g->lists[0], dir);
	cut_rules(cuts, &g->lists[1], dir);
	for (uint32_t proto = 0; proto < 256; proto++) {
		struct span *s = NULL;

		for (uint32_t at = 0; cuts->named[proto] && at < 65536; at++) {
			if (!at || cuts->at[proto][at / 8] & 1u << at % 8) {
				s = bh_vec_push(&spans);
				s->proto = (uint8_t)proto;
				s->first = (uint16_t)at;
			}
			s->last = (uint16_t)at;
		}
	}
	while (spare && cuts->named[spare]) {
		spare--;
	}
	*bh_vec_push(&spans) = (struct span){.proto = spare, .other = true, .last = 65535};
	*ret_spans = spans.items;
	return spans.count;
}

static void put_span(const struct span *s, uint16_t last, struct bh_wbuf *w)
{
	bool icmp = s->proto == 1 || s->proto == 58;
	struct policy_port port = {.proto = s->proto, .first = s->first, .last = last};

	if (w->size) {
		bh_wbuf_u8(w, '\n');
	}
	if (s->other) {
		bh_wbuf_str(w, "other protocols");
		return;
	}
	port.whole = s->first == 0 && last == 65535;
	if (icmp && !port.whole && s->first != last &&
	    ((s->first & 0xff) != 0 || last != (s->first | 0xff))) {
		char name[8];

		bh_proto_format(s->proto, name);
		bh_wbuf_printf(w, "%s/%u-%u", name, s->first >> 8, last >> 8);
		return;
	}
	policy_port_format(&port, w);
}

/* ---- probes ---- */
static struct probe *probe_by_key(struct probe **probes, const void *key, size_t size)
{
	struct probe *p;

	HASH_FIND(hh, *probes, key, size, p);
	if (!p) {
		p = bh_alloc(sizeof(*p));
		p->key = bh_memdup(key, size);
		HASH_ADD_KEYPTR(hh, *probes, p->key, size, p);
	}
	return p;
}

static void free_probes(struct probe *probes)
{
	struct probe *p;
	struct probe *next;

	HASH_ITER (hh, probes, p, next) {
		HASH_DEL(probes, p);
		bh_vec_done(&p->members);
		free(p->text);
		free(p->key);
		free(p);
	}
}

static bool rule_speaks_of(struct diff *d, const struct group *g, const struct policy_rule *rule,
			   const struct policy_identity *other)
{
	bool hit = false;

	for (size_t k = 0; k < rule->peer_count && !hit; k++) {
		const struct policy_peer *peer = &rule->peers[k];

		d->budget--;
		hit = peer->kind == POLICY_PEER_SELECTOR &&
		      policy_peer_covers_tenant(peer, g->self->tenant->name, other->tenant->name) &&
		      policy_selector_matches(peer->selector, other->labels, other->label_count);
	}
	return hit;
}

/* Which selectors of the group's rules match the identity, as bits. */
static void signature(struct diff *d, const struct group *g, enum bh_policy_dir dir,
		      const struct policy_identity *other, struct bh_wbuf *w)
{
	for (int side = 0; side < 2; side++) {
		bh_vec_foreach (pp, &g->lists[side]) {
			for (size_t i = 0; i < (*pp)->rule_count[dir]; i++) {
				const struct policy_rule *rule = &(*pp)->rules[dir][i];

				bh_wbuf_u8(w, rule_speaks_of(d, g, rule, other));
			}
		}
	}
}

static void probe_identities(struct diff *d, const struct group *g, enum bh_policy_dir dir,
			     struct probe **probes)
{
	const struct bh_policy_universe *u = d->compilers[0]->universe;
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	for (size_t i = 0; i < u->all.count && d->budget > 0; i++) {
		const struct policy_identity *other = policy_universe_identity(u, u->all.items[i]);
		struct probe *p;

		w.size = 0;
		bh_wbuf_str(&w, "id");
		signature(d, g, dir, other, &w);
		p = probe_by_key(probes, w.data, w.size);
		p->end.identity = p->other ? p->end.identity : other->id;
		p->other = p->other ? p->other : other;
		*bh_vec_push(&p->members) = other->id;
	}
	bh_wbuf_done(&w);
}

static void probe_reserved(struct probe **probes)
{
	static const char *const names[] = {"", "host", "world", "multicast"};

	for (uint32_t i = 1; i < 4; i++) {
		struct probe *p = probe_by_key(probes, names[i], strlen(names[i]));

		p->end.identity = i;
		p->text = bh_strdup(names[i]);
	}
}

/* An address of the prefix that none of the narrower prefixes holds; there may be none. */
static bool find_address(const struct policy_cidr *cidr, const struct policy_cidr *all,
			 size_t count, uint8_t ret_addr[16])
{
	for (int attempt = 0; attempt < 4; attempt++) {
		bool taken = false;

		memcpy(ret_addr, cidr->addr, 16);
		for (unsigned int bit = cidr->bits; attempt % 2 && bit < 128; bit++) {
			ret_addr[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
		}
		if (attempt >= 2 && cidr->bits < 126) {
			/* near either end, but not at it */
			ret_addr[15] ^= 3;
		}
		for (size_t i = 0; i < count && !taken; i++) {
			taken = all[i].bits > cidr->bits && policy_cidr_contains(&all[i], ret_addr);
		}
		if (!taken && policy_cidr_contains(cidr, ret_addr)) {
			return true;
		}
	}
	return false;
}

typedef BH_VEC(struct policy_cidr) policy_cidr_list;

static void add_prefixes(const struct policy_rule *rule, policy_cidr_list *cidrs)
{
	for (size_t k = 0; k < rule->peer_count && cidrs->count < PREFIXES_MAX; k++) {
		const struct policy_peer *peer = &rule->peers[k];

		if (peer->kind != POLICY_PEER_CIDR) {
			continue;
		}
		*bh_vec_push(cidrs) = peer->cidr;
		for (size_t e = 0; e < peer->except_count; e++) {
			*bh_vec_push(cidrs) = peer->except[e];
		}
	}
}

static void probe_prefixes(const struct group *g, enum bh_policy_dir dir, struct probe **probes)
{
	policy_cidr_list cidrs = {};

	for (int side = 0; side < 2; side++) {
		bh_vec_foreach (pp, &g->lists[side]) {
			for (size_t i = 0; i < (*pp)->rule_count[dir]; i++) {
				add_prefixes(&(*pp)->rules[dir][i], &cidrs);
			}
		}
	}
	bh_vec_foreach (c, &cidrs) {
		char text[BH_CIDR_TEXT_SIZE];
		uint8_t addr[16];
		struct probe *p;

		if (find_address(c, cidrs.items, cidrs.count, addr)) {
			bh_cidr_format(c->addr, c->bits, text);
			p = probe_by_key(probes, text, strlen(text));
			p->end.identity = POLICY_ENTITY_WORLD;
			p->end.has_addr = true;
			memcpy(p->end.addr, addr, sizeof(addr));
			free(p->text);
			p->text = bh_strdup(text);
		}
	}
	bh_vec_done(&cidrs);
}

/* ---- asking ---- */
static char *rule_text(const struct diff *d, const struct bh_policy_verdict *v)
{
	struct bh_wbuf w;

	if (v->builtin) {
		return bh_strdup(bh_policy_builtin_text(v->builtin));
	}
	if (!sees(d, v->policy->tenant)) {
		return bh_asprintf("guard-rail %s", v->policy->rules[v->dir][v->index].name);
	}
	bh_wbuf_init(&w, 0);
	bh_policy_rule_format(v->policy, v->dir, v->index, &w);
	bh_wbuf_u8(&w, 0);
	return (char *)w.data;
}

struct asking {
	struct diff *d;
	const struct group *group;
	enum bh_policy_dir dir;
	struct span *spans;
	size_t span_count;
	long long cost; /* of one question */
	BH_VEC(struct change) changes;
};

static bool same_verdict(const struct bh_policy_verdict *a, const struct bh_policy_verdict *b)
{
	return a->action == b->action && a->builtin == b->builtin && a->policy == b->policy &&
	       a->index == b->index;
}

static void close_change(struct asking *a, struct probe *probe,
			 const struct bh_policy_verdict verdicts[2], const struct span *first,
			 uint16_t last)
{
	struct change *c = NULL;
	struct bh_wbuf w;
	char *rules[2] = {rule_text(a->d, &verdicts[0]), rule_text(a->d, &verdicts[1])};

	/* Services of one probe that change alike are one entry. */
	for (size_t i = a->changes.count; i && !c; i--) {
		struct change *x = &a->changes.items[i - 1];

		if (x->probe != probe) {
			break;
		}
		if (!strcmp(x->rule[0], rules[0]) && !strcmp(x->rule[1], rules[1]) &&
		    x->action[0] == verdicts[0].action && x->action[1] == verdicts[1].action) {
			c = x;
		}
	}
	bh_wbuf_init(&w, 0);
	if (c) {
		bh_wbuf_str(&w, c->services);
		free(c->services);
		free(rules[0]);
		free(rules[1]);
	} else {
		c = bh_vec_push(&a->changes);
		c->probe = probe;
		for (int side = 0; side < 2; side++) {
			c->action[side] = verdicts[side].action;
			c->rule[side] = rules[side];
		}
	}
	put_span(first, last, &w);
	bh_wbuf_u8(&w, 0);
	c->services = (char *)w.data;
}

/* All services against one probe; neighbours of equal verdicts become one span. */
static bool ask_probe(struct asking *a, struct probe *probe)
{
	const struct span *open = NULL;
	struct bh_policy_verdict held[2] = {};
	uint16_t last = 0;
	bool changed = false;

	for (size_t i = 0; i < a->span_count && a->d->budget > 0; i++) {
		const struct span *s = &a->spans[i];
		struct bh_policy_service service = {s->proto, s->first};
		struct bh_policy_verdict v[2];
		struct policy_ask ask = {.self = a->group->self,
					 .other = probe->other,
					 .dir = a->dir,
					 .remote = &probe->end,
					 .service = &service};

		for (int side = 0; side < 2; side++) {
			policy_eval_list(a->d->compilers[side], &a->group->lists[side], &ask,
					 &v[side]);
		}
		a->d->budget -= a->cost;
		if (open && open->proto == s->proto && same_verdict(&v[0], &held[0]) &&
		    same_verdict(&v[1], &held[1])) {
			last = s->last;
			continue;
		}
		if (open) {
			close_change(a, probe, held, open, last);
		}
		open = v[0].action != v[1].action ? s : NULL;
		changed = changed || open;
		held[0] = v[0];
		held[1] = v[1];
		last = s->last;
	}
	if (open) {
		close_change(a, probe, held, open, last);
	}
	return changed;
}

/* ---- entries ---- */
static void put_identity(const struct policy_identity *identity, struct bh_wbuf *w)
{
	const char *comma = " ";

	bh_wbuf_str(w, identity->tenant->name);
	for (size_t i = 0; i < identity->label_count; i++) {
		const struct bh_policy_label *l = &identity->labels[i];

		if (strncmp(l->key, BH_POLICY_CLASS_PREFIX, strlen(BH_POLICY_CLASS_PREFIX)) != 0) {
			bh_wbuf_printf(w, "%s%s=%s", comma, l->key, l->value);
			comma = ",";
		}
	}
	bh_wbuf_str(w, identity->quarantined ? " (in quarantine)" : "");
}

static void add_peer_texts(const struct diff *d, const struct probe *probe, json_t *list)
{
	size_t named = 0, hidden = 0;

	if (probe->text) {
		json_array_append_new(list, json_string(probe->text));
		return;
	}
	for (size_t i = 0; i < probe->members.count; i++) {
		const struct policy_identity *identity = policy_universe_identity(
			d->compilers[0]->universe, probe->members.items[i]);
		struct bh_wbuf w;

		if (!sees(d, identity->tenant->name)) {
			hidden++;
			continue;
		}
		bh_wbuf_init(&w, 0);
		if (named == NAMES_MAX) {
			bh_wbuf_printf(&w, "and %zu more", probe->members.count - i);
		} else {
			put_identity(identity, &w);
		}
		json_array_append_new(list, json_string(bh_wbuf_cstr(&w)));
		bh_wbuf_done(&w);
		if (named++ == NAMES_MAX) {
			break;
		}
	}
	if (hidden) {
		json_array_append_new(list, json_string("another tenant"));
	}
}

static bool changes_alike(const struct change *a, const struct change *b)
{
	return a->action[0] == b->action[0] && a->action[1] == b->action[1] &&
	       !strcmp(a->rule[0], b->rule[0]) && !strcmp(a->rule[1], b->rule[1]) &&
	       !strcmp(a->services, b->services);
}

static json_t *selected_json(const struct policy_identity *self)
{
	json_t *labels = json_object();

	for (size_t i = 0; i < self->label_count; i++) {
		json_object_set_new(labels, self->labels[i].key,
				    json_string(self->labels[i].value));
	}
	return json_pack("{s:s, s:o}", "tenant", self->tenant->name, "labels", labels);
}

static void add_entry(struct asking *a, size_t index)
{
	const struct change *c = &a->changes.items[index];
	json_t *peers = json_array();
	json_t *services = json_array();
	json_t *ids = json_array();
	char *save = NULL;

	for (size_t i = index; i < a->changes.count; i++) {
		struct change *x = &a->changes.items[i];

		if (!x->merged && changes_alike(c, x)) {
			x->merged = true;
			add_peer_texts(a->d, x->probe, peers);
		}
	}
	for (char *s = strtok_r(c->services, "\n", &save); s; s = strtok_r(NULL, "\n", &save)) {
		json_array_append_new(services, json_string(s));
	}
	for (size_t i = 0; i < a->group->members.count && i < 1000; i++) {
		json_array_append_new(ids, json_integer(a->group->members.items[i]));
	}
	json_array_append_new(
		a->d->entries,
		json_pack("{s:s, s:o, s:o, s:I, s:o, s:o, s:{s:s, s:s}, s:{s:s, s:s}}", "dir",
			  bh_policy_dir_name(a->dir), "selected", selected_json(a->group->self),
			  "identities", ids, "identity_count", (json_int_t)a->group->members.count,
			  "peers", peers, "services", services, "before", "action",
			  bh_policy_action_name(c->action[0]), "rule", c->rule[0], "after",
			  "action", bh_policy_action_name(c->action[1]), "rule", c->rule[1]));
}

static void ask_group(struct diff *d, const struct group *g, enum bh_policy_dir dir)
{
	struct asking a = {.d = d, .group = g, .dir = dir, .cost = 1};
	struct probe *probes = NULL;
	struct probe *p;
	struct probe *next;

	for (int side = 0; side < 2; side++) {
		bh_vec_foreach (pp, &g->lists[side]) {
			a.cost += (long long)(*pp)->rule_count[dir];
		}
	}
	a.span_count = make_spans(g, dir, &a.spans);
	probe_identities(d, g, dir, &probes);
	probe_reserved(&probes);
	probe_prefixes(g, dir, &probes);
	HASH_ITER (hh, probes, p, next) {
		if (ask_probe(&a, p)) {
			d->pairs += (uint64_t)p->members.count * g->members.count;
		}
	}
	for (size_t i = 0; i < a.changes.count; i++) {
		if (a.changes.items[i].merged) {
			continue;
		}
		if (json_array_size(d->entries) < d->max_entries) {
			add_entry(&a, i);
		} else {
			d->left_out++;
		}
	}
	bh_vec_foreach (c, &a.changes) {
		free(c->rule[0]);
		free(c->rule[1]);
		free(c->services);
	}
	bh_vec_done(&a.changes);
	free(a.spans);
	free_probes(probes);
}

static void add_name(json_t *list, const struct bh_policy *policy)
{
	BH_FREE char *name = bh_asprintf("%s/%s", policy->tenant, policy->name);

	json_array_append_new(list, json_string(name));
}

static json_t *policies_json(const struct diff *d, const struct bh_policy_set *from,
			     const struct bh_policy_set *to)
{
	json_t *added = json_array();
	json_t *removed = json_array();
	json_t *changed = json_array();

	for (size_t i = 0; i < bh_policy_set_count(from); i++) {
		const struct bh_policy *p = bh_policy_set_at(from, i);
		const struct bh_policy *q = bh_policy_set_get(to, p->tenant, p->name);

		if (!sees(d, p->tenant)) {
			continue;
		}
		if (!q) {
			add_name(removed, p);
		} else if (strcmp(p->canonical, q->canonical) != 0) {
			add_name(changed, p);
		}
	}
	for (size_t i = 0; i < bh_policy_set_count(to); i++) {
		const struct bh_policy *p = bh_policy_set_at(to, i);

		if (sees(d, p->tenant) && !bh_policy_set_get(from, p->tenant, p->name)) {
			add_name(added, p);
		}
	}
	return json_pack("{s:o, s:o, s:o}", "added", added, "removed", removed, "changed", changed);
}

int bh_policy_diff(const struct bh_policy_compiler *from, const struct bh_policy_compiler *to,
		   size_t max_entries, json_t **ret_json, struct bh_diag *diag)
{
	struct bh_policy_diff_options options = {.max_entries = max_entries};

	return bh_policy_diff_for(from, to, &options, ret_json, diag);
}

int bh_policy_diff_for(const struct bh_policy_compiler *from, const struct bh_policy_compiler *to,
		       const struct bh_policy_diff_options *o, json_t **ret_json,
		       struct bh_diag *diag)
{
	const struct bh_policy_universe *u = from->universe;
	struct diff d = {.compilers = {from, to},
			 .max_entries = o->max_entries ? o->max_entries : ENTRIES_MAX,
			 .budget = BUDGET,
			 .sees = o->sees,
			 .arg = o->arg};
	policy_ids ids = {};
	struct group *g;
	struct group *next;

	if (u != to->universe) {
		return bh_diag_set(diag, -EINVAL, "both sides of a diff need the same universe");
	}
	d.entries = json_array();
	if (from->options.provider_default != to->options.provider_default) {
		bh_vec_foreach (id, &u->all) {
			*bh_vec_push(&ids) = *id;
		}
	} else {
		bh_policy_affected(from->set, to->set, u, note_affected, &ids);
	}
	bh_vec_foreach (id, &ids) {
		const struct policy_identity *self = policy_universe_identity(u, *id);

		if (sees(&d, self->tenant->name)) {
			add_to_group(&d, self);
		}
	}
	HASH_ITER (hh, d.groups, g, next) {
		ask_group(&d, g, BH_POLICY_INGRESS);
		ask_group(&d, g, BH_POLICY_EGRESS);
		HASH_DEL(d.groups, g);
		bh_vec_done(&g->lists[0]);
		bh_vec_done(&g->lists[1]);
		bh_vec_done(&g->members);
		free(g->key);
		free(g);
	}
	bh_vec_done(&ids);
	*ret_json =
		json_pack("{s:o, s:I, s:I, s:b, s:o}", "entries", d.entries, "left_out",
			  (json_int_t)d.left_out, "pairs_changed", (json_int_t)d.pairs, "complete",
			  (int)(d.budget > 0), "policies", policies_json(&d, from->set, to->set));
	return 0;
}
