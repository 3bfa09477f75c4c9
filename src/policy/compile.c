/* SPDX-License-Identifier: Apache-2.0 */
/* One set: from the rules that judge an identity in a direction to its records. See compiler.h. */
#include "policy/compiler.h"

#include "model/id.h"

#include <errno.h>

/* An upper bound of so many times the limit is refused without trying; equal rows may bring it
 * down. */
#define TRY_FACTOR 16

/* A rule of a document as it stands in this set. */
struct judged {
	const struct policy_rule *rule; /* NULL: built in, then: */
	const struct policy_builtin *builtin;
	uint32_t rank;
	uint32_t number;
	bool any; /* its peers are everybody */
};

struct build {
	struct bh_policy_compiler *compiler;
	const struct policy_identity *self;
	enum bh_policy_dir dir;
	BH_VEC(struct judged) rules;
	BH_VEC(uint32_t) atom_rules; /* atom -> index into rules */
	struct policy_ranges ranges;
	struct policy_cidrs cidrs;
	struct policy_rows rows;
	uint32_t default_rule;
	enum bh_policy_action default_action;
};

static void build_done(struct build *b)
{
	bh_vec_done(&b->rules);
	bh_vec_done(&b->atom_rules);
	policy_ranges_done(&b->ranges);
	policy_cidrs_done(&b->cidrs);
	policy_rows_done(&b->rows);
}

/* ---- 1. which rules, in which order ---- */
/* In quarantine only what forbids holds, and what its policy wants to hold there. */
static bool holds(const struct build *b, const struct bh_policy *policy,
		  const struct policy_rule *rule)
{
	return !b->self->quarantined || policy->quarantine || rule->action != BH_POLICY_ALLOW;
}

static void add_tier(struct build *b, const policy_list *policies, enum bh_policy_tier tier)
{
	const struct bh_policy_compile_options *o = &b->compiler->options;

	bh_vec_foreach (pp, policies) {
		const struct bh_policy *p = *pp;

		if (p->tier != tier) {
			continue;
		}
		for (size_t i = 0; i < p->rule_count[b->dir]; i++) {
			struct judged *j;

			if (!holds(b, p, &p->rules[b->dir][i])) {
				continue;
			}
			j = bh_vec_push(&b->rules);
			j->rule = &p->rules[b->dir][i];
			j->rank = (uint32_t)b->rules.count;
			j->number = o->rule_fn ? o->rule_fn(p, b->dir, i, o->rule_arg)
					       : BH_POLICY_RULE_FIRST;
		}
	}
}

static void add_builtins(struct build *b)
{
	size_t count;
	const struct policy_builtin *list = policy_builtins(&count);

	for (size_t i = 0; i < count; i++) {
		bool lives = !b->self->quarantined || list[i].rule == BH_POLICY_RULE_DHCP ||
			     list[i].rule == BH_POLICY_RULE_DHCPV6;

		if (list[i].dir == b->dir && lives) {
			struct judged *j = bh_vec_push(&b->rules);

			j->builtin = &list[i];
			j->rank = (uint32_t)b->rules.count;
			j->number = list[i].rule;
		}
	}
}

static void add_rules(struct build *b)
{
	policy_list policies = {};
	bool selected = false;

	policy_compiler_applicable(b->compiler, b->self, &policies);
	bh_vec_foreach (p, &policies) {
		selected = selected || ((*p)->tier == BH_POLICY_TIER_TENANT &&
					bh_policy_has_direction(*p, b->dir));
	}
	add_tier(b, &policies, BH_POLICY_TIER_GUARDRAIL);
	add_tier(b, &policies, BH_POLICY_TIER_TENANT);
	add_builtins(b);
	b->default_rule = BH_POLICY_RULE_IMPLICIT_DENY;
	b->default_action = BH_POLICY_DENY;
	if (!selected) {
		add_tier(b, &policies, BH_POLICY_TIER_DEFAULT);
		b->default_rule = BH_POLICY_RULE_PROVIDER_DEFAULT;
		b->default_action = b->compiler->options.provider_default;
	}
	if (b->self->quarantined) {
		b->default_rule = BH_POLICY_RULE_QUARANTINE;
		b->default_action = BH_POLICY_DENY;
	}
	bh_vec_done(&policies);
}

/* ---- 2. prefixes and ranges ---- */
static const struct policy_cidr all_v4 = {.addr = {[10] = 0xff, [11] = 0xff}, .bits = 96};

static bool cidr_is_all_v4(const struct policy_peer *peer)
{
	return peer->kind == POLICY_PEER_CIDR && !peer->except_count &&
	       !policy_cidr_compare(&peer->cidr, &all_v4);
}

static bool cidr_is_all_v6(const struct policy_peer *peer)
{
	return peer->kind == POLICY_PEER_CIDR && !peer->except_count && !peer->cidr.bits;
}

/* No peers, the entity `any`, or both 0.0.0.0/0 and ::/0: one row in place of two prefixes. */
static bool means_any(const struct policy_rule *rule)
{
	bool v4 = false;
	bool v6 = false;

	for (size_t i = 0; i < rule->peer_count; i++) {
		const struct policy_peer *peer = &rule->peers[i];

		if (peer->kind == POLICY_PEER_ENTITY && peer->entity == POLICY_ENTITY_ANY) {
			return true;
		}
		v4 = v4 || cidr_is_all_v4(peer);
		v6 = v6 || cidr_is_all_v6(peer);
	}
	return !rule->peer_count || (v4 && v6);
}

static uint32_t new_atom(struct build *b, size_t rule)
{
	*bh_vec_push(&b->atom_rules) = (uint32_t)rule;
	return (uint32_t)b->atom_rules.count - 1;
}

static void add_prefixes(struct build *b, size_t index)
{
	const struct policy_rule *rule = b->rules.items[index].rule;
	uint32_t plain = UINT32_MAX;

	for (size_t i = 0; i < rule->peer_count; i++) {
		const struct policy_peer *peer = &rule->peers[i];
		bool over_v4;

		if (peer->kind != POLICY_PEER_CIDR) {
			continue;
		}
		/* A short IPv6 prefix has the IPv4 addresses inside of it, in our 16-byte form. */
		over_v4 = peer->cidr.bits < 96 &&
			  bh_cidr_contains(peer->cidr.addr, peer->cidr.bits, all_v4.addr);
		if (!peer->except_count && !over_v4) {
			plain = plain == UINT32_MAX ? new_atom(b, index) : plain;
			policy_cidrs_add(&b->cidrs, &peer->cidr, plain, false);
			continue;
		}
		{
			uint32_t atom = new_atom(b, index);

			policy_cidrs_add(&b->cidrs, &peer->cidr, atom, false);
			for (size_t k = 0; k < peer->except_count; k++) {
				policy_cidrs_add(&b->cidrs, &peer->except[k], atom, true);
			}
			if (over_v4) {
				policy_cidrs_add(&b->cidrs, &all_v4, atom, true);
			}
		}
	}
}

static int add_classes(struct build *b, struct bh_diag *diag)
{
	for (size_t i = 0; i < b->rules.count; i++) {
		struct judged *j = &b->rules.items[i];

		if (!j->rule) {
			continue;
		}
		j->any = means_any(j->rule);
		if (!j->any) {
			add_prefixes(b, i);
		}
		for (size_t k = 0; k < j->rule->port_count; k++) {
			policy_ranges_add(&b->ranges, &j->rule->ports[k]);
		}
	}
	policy_ranges_build(&b->ranges);
	if (policy_cidrs_build(&b->cidrs)) {
		return bh_diag_set(diag, -E2BIG,
				   "set:%u.%d: nested prefixes of %zu rules multiply too much",
				   b->self->id, (int)b->dir, b->rules.count);
	}
	return 0;
}

/* ---- 3. rows ---- */
static size_t count_services(const struct build *b, const struct policy_rule *rule)
{
	size_t n = 0;

	for (size_t i = 0; i < rule->port_count; i++) {
		const struct policy_port *p = &rule->ports[i];

		if (p->whole || p->first == p->last) {
			n++;
			continue;
		}
		n += policy_ranges_lower(&b->ranges, p->proto, p->last) -
		     policy_ranges_lower(&b->ranges, p->proto, p->first) + 1;
	}
	return rule->port_count ? n : 1;
}

static void put(struct build *b, const struct judged *j, struct policy_row *row, int remote_kind,
		int service_kind)
{
	row->shape = (uint8_t)(remote_kind * 4 + service_kind);
	row->rank = j->rank;
	row->rule = j->number;
	row->action = (uint8_t)(j->rule ? j->rule->action : BH_POLICY_ALLOW);
	row->flags = (uint8_t)(j->rule ? j->rule->flags : 0);
	policy_rows_put(&b->rows, row);
}

/* Every service of the rule, for one remote. */
static void put_services(struct build *b, const struct judged *j, int remote_kind, uint32_t remote)
{
	const struct policy_rule *rule = j->rule;
	struct policy_row row = {.remote = remote};

	if (!rule->port_count) {
		put(b, j, &row, remote_kind, SERVICE_ANY);
	}
	for (size_t i = 0; i < rule->port_count; i++) {
		const struct policy_port *p = &rule->ports[i];

		row.proto = p->proto;
		row.port = 0;
		if (p->whole) {
			put(b, j, &row, remote_kind, SERVICE_PROTO);
			continue;
		}
		if (p->first == p->last) {
			row.port = p->first;
			put(b, j, &row, remote_kind, SERVICE_PORT);
			continue;
		}
		for (size_t k = policy_ranges_lower(&b->ranges, p->proto, p->first);
		     k < b->ranges.intervals.count; k++) {
			const struct policy_interval *x = &b->ranges.intervals.items[k];

			if (x->proto != p->proto || x->first > p->last) {
				break;
			}
			row.port = x->last;
			put(b, j, &row, remote_kind, x->last ? SERVICE_RANGE : SERVICE_PORT);
		}
	}
}

static void put_peer(struct build *b, const struct judged *j, const struct policy_peer *peer)
{
	const struct policy_resolved *v;

	if (peer->kind == POLICY_PEER_ENTITY) {
		put_services(b, j, REMOTE_IDENTITY, (uint32_t)peer->entity);
		return;
	}
	if (peer->kind != POLICY_PEER_SELECTOR) {
		return;
	}
	v = policy_compiler_resolve(b->compiler, peer, b->self->tenant->name);
	for (size_t i = 0; i < v->ids.count && !b->rows.full; i++) {
		put_services(b, j, v->tenants ? REMOTE_TENANT : REMOTE_IDENTITY, v->ids.items[i]);
	}
}

static void put_rule(struct build *b, const struct judged *j)
{
	if (j->builtin) {
		struct policy_row row = {.remote = j->builtin->identity,
					 .proto = j->builtin->proto,
					 .port = j->builtin->port};

		put(b, j, &row, REMOTE_IDENTITY, SERVICE_PORT);
		return;
	}
	if (j->any) {
		put_services(b, j, REMOTE_ANY, 0);
		return;
	}
	for (size_t i = 0; i < j->rule->peer_count && !b->rows.full; i++) {
		put_peer(b, j, &j->rule->peers[i]);
	}
}

static void put_rows(struct build *b)
{
	for (size_t i = 0; i < b->rules.count && !b->rows.full; i++) {
		put_rule(b, &b->rules.items[i]);
	}
	bh_vec_foreach (k, &b->cidrs.classes) {
		for (size_t i = 0; i < k->atom_count && k->class_id && !b->rows.full; i++) {
			uint32_t atom = b->cidrs.pool.items[k->atoms + i];

			put_services(b, &b->rules.items[b->atom_rules.items[atom]], REMOTE_CIDR,
				     k->class_id);
		}
	}
}

/* ---- 4. rows that can't win ---- */
/* Is there a row of a wider key, or of this remote kind and a wider service, that wins over `row`?
 */
static bool loses_to(const struct build *b, const struct policy_row *row, int remote_kind,
		     uint32_t remote)
{
	int own_service = row->shape & 3;
	bool same_remote = remote_kind == row->shape >> 2 && remote == row->remote;
	const struct policy_row *found[4] = {};
	uint8_t base = (uint8_t)(remote_kind * 4);

	found[0] = policy_rows_find(&b->rows, remote, 0, 0, (uint8_t)(base + SERVICE_ANY));
	if (own_service != SERVICE_ANY) {
		found[1] = policy_rows_find(&b->rows, remote, 0, row->proto,
					    (uint8_t)(base + SERVICE_PROTO));
	}
	if (own_service == SERVICE_PORT) {
		const struct policy_interval *x =
			policy_ranges_find(&b->ranges, row->proto, row->port);

		found[2] = x ? policy_rows_find(&b->rows, remote, x->last, row->proto,
						(uint8_t)(base + SERVICE_RANGE))
			     : NULL;
	}
	if (!same_remote && own_service >= SERVICE_PORT) {
		found[3] = policy_rows_find(&b->rows, remote, row->port, row->proto,
					    (uint8_t)(base + own_service));
	}
	for (size_t i = 0; i < 4; i++) {
		if (found[i] && found[i] != row && found[i]->rank <= row->rank) {
			return true;
		}
	}
	return false;
}

static void drop_losers(struct build *b)
{
	for (size_t i = 0; i < b->rows.count; i++) {
		struct policy_row *row = &b->rows.items[i];
		int kind = row->shape >> 2;
		bool loses = loses_to(b, row, kind, row->remote) ||
			     (kind != REMOTE_ANY && loses_to(b, row, REMOTE_ANY, 0));

		if (!loses && kind == REMOTE_IDENTITY && row->remote >= 256) {
			const struct policy_identity *other =
				policy_universe_identity(b->compiler->universe, row->remote);

			loses = other && loses_to(b, row, REMOTE_TENANT, other->tenant->number);
		}
		row->dropped = loses;
	}
}

/* ---- 5. records ---- */
struct range_emit {
	struct bh_segment *segment;
	struct bh_rec rec;
};

static void emit_range(uint16_t port, uint8_t bits, void *arg)
{
	struct range_emit *e = arg;

	e->rec.range.port = port;
	e->rec.range.prefix_bits = bits;
	bh_segment_add(e->segment, &e->rec);
}

static void emit_ranges(const struct build *b, uint32_t set, struct bh_segment *segment)
{
	for (size_t i = 0; i < b->ranges.intervals.count; i++) {
		const struct policy_interval *x = &b->ranges.intervals.items[i];
		struct range_emit e = {.segment = segment, .rec = {.type = BH_REC_RANGE}};

		e.rec.range.set = set;
		e.rec.range.proto = x->proto;
		e.rec.range.class_id = x->last;
		if (x->last) {
			policy_range_prefixes(x->first, x->last, emit_range, &e);
		}
	}
}

static void emit_cidrs(const struct build *b, uint32_t set, struct bh_segment *segment)
{
	bh_vec_foreach (p, &b->cidrs.prefixes) {
		struct bh_rec rec = {.type = BH_REC_CIDR};

		rec.cidr.set = set;
		rec.cidr.prefix_bits = p->cidr.bits;
		memcpy(rec.cidr.addr, p->cidr.addr, sizeof(rec.cidr.addr));
		rec.cidr.class_id = b->cidrs.classes.items[p->class_index].class_id;
		bh_segment_add(segment, &rec);
	}
}

static void emit(const struct build *b, struct bh_segment *segment)
{
	uint32_t set = b->self->id << 1 | (uint32_t)b->dir;
	struct bh_rec head = {.type = BH_REC_SET};

	head.set.set = set;
	head.set.default_rule = b->default_rule;
	head.set.default_action = (uint8_t)b->default_action;
	for (size_t i = 0; i < b->rows.count; i++) {
		const struct policy_row *row = &b->rows.items[i];
		struct bh_rec rec = {.type = BH_REC_ROW};

		if (row->dropped) {
			continue;
		}
		rec.row.set = set;
		rec.row.remote = row->remote;
		rec.row.port = row->port;
		rec.row.proto = row->proto;
		rec.row.shape = row->shape;
		rec.row.rule = row->rule;
		rec.row.rank = row->rank;
		rec.row.action = row->action;
		rec.row.flags = row->flags;
		head.set.mask = (uint16_t)(head.set.mask | 1u << row->shape);
		bh_segment_add(segment, &rec);
	}
	bh_segment_add(segment, &head);
	if (head.set.mask & (0xfu << (REMOTE_CIDR * 4))) {
		emit_cidrs(b, set, segment);
	}
	if (head.set.mask & (0x1111u << SERVICE_RANGE)) {
		emit_ranges(b, set, segment);
	}
}

/* ---- sizes ---- */
static size_t add_capped(size_t a, size_t b)
{
	return a + b < a ? SIZE_MAX : a + b;
}

static void measure(struct build *b, struct bh_policy_size *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->rules = b->rules.count;
	for (size_t i = 0; i < b->rules.count; i++) {
		const struct judged *j = &b->rules.items[i];
		size_t remotes = 0;

		if (!j->rule || j->any) {
			ret->rows += j->rule ? count_services(b, j->rule) : 1;
			continue;
		}
		for (size_t k = 0; k < j->rule->peer_count; k++) {
			const struct policy_peer *peer = &j->rule->peers[k];

			if (peer->kind == POLICY_PEER_SELECTOR) {
				remotes += policy_compiler_resolve(b->compiler, peer,
								   b->self->tenant->name)
						   ->ids.count;
			} else if (peer->kind == POLICY_PEER_ENTITY) {
				remotes++;
			}
		}
		ret->rows = add_capped(ret->rows, remotes * count_services(b, j->rule));
	}
	bh_vec_foreach (k, &b->cidrs.classes) {
		for (size_t i = 0; i < k->atom_count; i++) {
			uint32_t atom = b->cidrs.pool.items[k->atoms + i];
			const struct judged *j = &b->rules.items[b->atom_rules.items[atom]];

			ret->rows = add_capped(ret->rows, count_services(b, j->rule));
		}
	}
	ret->cidrs = b->cidrs.prefixes.count;
	bh_vec_foreach (x, &b->ranges.intervals) {
		ret->ranges += policy_range_prefixes(x->first, x->last, NULL, NULL);
	}
}

static int refuse(struct build *b, struct bh_diag *diag)
{
	const struct bh_policy_compile_options *o = &b->compiler->options;
	struct bh_policy_size size;

	measure(b, &size);
	return bh_diag_set(
		diag, -E2BIG,
		"set:%u.%d (tenant %s, %s): %zu rules need up to %zu rows, %zu prefixes and "
		"%zu port ranges; the limits are %zu, %zu and %zu",
		b->self->id, (int)b->dir, b->self->tenant->name, bh_policy_dir_name(b->dir),
		size.rules, size.rows, size.cidrs, size.ranges, o->max_rows, o->max_cidrs,
		o->max_ranges);
}

static int prepare(struct build *b, struct bh_policy_compiler *compiler, uint32_t identity,
		   struct bh_diag *diag)
{
	b->compiler = compiler;
	b->self = policy_universe_identity(compiler->universe, identity);
	if (!b->self) {
		return bh_diag_set(diag, -ENOENT, "identity %u is unknown", identity);
	}
	add_rules(b);
	return add_classes(b, diag);
}

int bh_policy_estimate(struct bh_policy_compiler *compiler, uint32_t identity,
		       enum bh_policy_dir dir, struct bh_policy_size *ret_size,
		       struct bh_diag *diag)
{
	struct build b = {.dir = dir};
	int r = prepare(&b, compiler, identity, diag);

	if (!r) {
		measure(&b, ret_size);
	}
	build_done(&b);
	return r;
}

static int build_rows(struct build *b, struct bh_diag *diag)
{
	const struct bh_policy_compile_options *o = &b->compiler->options;
	struct bh_policy_size size;
	size_t left = 0;

	measure(b, &size);
	if (size.cidrs > o->max_cidrs || size.ranges > o->max_ranges ||
	    size.rows / TRY_FACTOR > o->max_rows) {
		return refuse(b, diag);
	}
	/* Some room for rows that drop out again. */
	policy_rows_init(&b->rows, o->max_rows * 2);
	put_rows(b);
	if (b->rows.full) {
		return refuse(b, diag);
	}
	drop_losers(b);
	for (size_t i = 0; i < b->rows.count; i++) {
		left += !b->rows.items[i].dropped;
	}
	return left > o->max_rows ? refuse(b, diag) : 0;
}

int bh_policy_compile(struct bh_policy_compiler *compiler, uint32_t identity,
		      enum bh_policy_dir dir, struct bh_segment **ret_segment, struct bh_diag *diag)
{
	struct build b = {.dir = dir};
	char name[BH_SEGMENT_NAME_MAX];
	struct bh_segment *segment;
	int r = prepare(&b, compiler, identity, diag);

	if (!r) {
		r = build_rows(&b, diag);
	}
	if (!r) {
		segment = bh_segment_new(bh_segment_set(identity, dir, name));
		emit(&b, segment);
		r = bh_segment_seal(segment, diag);
		if (r) {
			bh_segment_unref(segment);
		} else {
			*ret_segment = segment;
		}
	}
	build_done(&b);
	return r;
}
