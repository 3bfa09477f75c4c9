/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and ports of a rule's header: single ones, ranges, networks, lists in brackets with
 * negation, variables, each within the other. A list is what its plain members hold, or everything
 * when it has none, without what its negated members hold; nested lists likewise. Sets are sorted
 * ranges; equal texts share one set.
 */
#include "gate/config.h"
#include "gate/rules/reading.h"

#include <arpa/inet.h>

#define NESTING_MAX 16
#define RANGES_MAX  65536u

static const struct group {
	const char *name, *value;
	bool ports;
} builtin_groups[] = {
#define GROUP(name, value, ports) {name, value, ports},
#include "gate/rules/groups.def"
#undef GROUP
};

static const struct gate_addr addr_first = {}, addr_last = {.bytes = {[0 ... 15] = 0xff}};
static const struct gate_addr v4_first = {.bytes = {[10] = 0xff, [11] = 0xff}};
static const struct gate_addr v4_last = {.bytes = {[10 ... 15] = 0xff}};

static int addr_cmp(const struct gate_addr *a, const struct gate_addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* One further (or back); false when there is none. */
static bool addr_step(struct gate_addr *addr, int by)
{
	for (int i = 15; i >= 0; i--) {
		addr->bytes[i] = (uint8_t)(addr->bytes[i] + by);
		if (addr->bytes[i] != (by > 0 ? 0 : 0xff)) {
			return true;
		}
	}
	return false;
}

bool gate_addr_set_has(const struct gate_addr_set *set, const struct gate_addr *addr)
{
	size_t low = 0, high = set->in.count;

	if (set->any) {
		return true;
	}
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct gate_addr_range *range = &set->in.items[mid];

		if (addr_cmp(addr, &range->first) < 0) {
			high = mid;
		} else if (addr_cmp(addr, &range->last) > 0) {
			low = mid + 1;
		} else {
			return true;
		}
	}
	return false;
}

bool gate_port_set_has(const struct gate_port_set *set, uint16_t port)
{
	size_t low = 0, high = set->in.count;

	if (set->any) {
		return true;
	}
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct gate_port_range *range = &set->in.items[mid];

		if (port < range->first) {
			high = mid;
		} else if (port > range->last) {
			low = mid + 1;
		} else {
			return true;
		}
	}
	return false;
}

/* ---- ranges of either kind, as numbers of 128 bits ---- */

struct range {
	struct gate_addr first, last;
};
struct set {
	BH_VEC(struct range) in;
};

static int range_order(const void *a, const void *b)
{
	return addr_cmp(&((const struct range *)a)->first, &((const struct range *)b)->first);
}

/* Sorts and joins what overlaps or touches. */
static void set_normal(struct set *set)
{
	size_t kept = 0;

	if (set->in.count < 2) {
		return;
	}
	qsort(set->in.items, set->in.count, sizeof(*set->in.items), range_order);
	for (size_t i = 1; i < set->in.count; i++) {
		struct range *last = &set->in.items[kept], *next = &set->in.items[i];
		struct gate_addr behind = last->last;

		if (!addr_step(&behind, 1) || addr_cmp(&next->first, &behind) <= 0) {
			if (addr_cmp(&next->last, &last->last) > 0) {
				last->last = next->last;
			}
		} else {
			set->in.items[++kept] = *next;
		}
	}
	set->in.count = kept + 1;
}

static void set_add(struct set *set, const struct gate_addr *first, const struct gate_addr *last)
{
	struct range *range = bh_vec_push(&set->in);

	range->first = *first;
	range->last = *last;
}

/* from := from without out; both normal. */
static void set_subtract(struct set *from, const struct set *out)
{
	struct set result = {};
	size_t j = 0;

	bh_vec_foreach (a, &from->in) {
		struct gate_addr at = a->first;
		bool left = true;

		while (j < out->in.count && addr_cmp(&out->in.items[j].last, &at) < 0) {
			j++;
		}
		for (size_t k = j; left && k < out->in.count; k++) {
			const struct range *b = &out->in.items[k];
			struct gate_addr before = b->first;

			if (addr_cmp(&b->first, &a->last) > 0) {
				break;
			}
			if (addr_cmp(&b->first, &at) > 0 && addr_step(&before, -1)) {
				set_add(&result, &at, &before);
			}
			at = b->last;
			left = addr_cmp(&b->last, &a->last) < 0 && addr_step(&at, 1);
		}
		if (left) {
			set_add(&result, &at, &a->last);
		}
	}
	bh_vec_done(&from->in);
	*from = result;
}

/* ---- reading ---- */

struct group_reader {
	struct gate_reading *r;
	size_t at; /* of the whole text in the rule */
	bool ports;
	bool *negated; /* set: a member is */
};

static struct gate_addr port_addr(uint64_t port)
{
	return (struct gate_addr){.bytes = {[14] = (uint8_t)(port >> 8), [15] = (uint8_t)port}};
}

static bool addr_text(const char *s, struct gate_addr *ret, bool *ret_v4)
{
	*ret = v4_first;
	if (inet_pton(AF_INET, s, &ret->bytes[12]) == 1) {
		*ret_v4 = true;
		return true;
	}
	*ret_v4 = false;
	return inet_pton(AF_INET6, s, ret->bytes) == 1;
}

/* Bits of a netmask 255.255.255.0; -1 when it is none. */
static int mask_bits(const char *s)
{
	struct in_addr mask;
	uint32_t v;

	if (inet_pton(AF_INET, s, &mask) != 1) {
		return -1;
	}
	v = ntohl(mask.s_addr);
	if (~v & (~v + 1)) {
		return -1;
	}
	return __builtin_popcount(v);
}

static int network_read(char *slash, bool v4, struct gate_addr_range *ret)
{
	uint64_t bits;
	int mask;

	if (gate_number_read(slash, v4 ? 32 : 128, &bits)) {
		mask = v4 ? mask_bits(slash) : -1;
		if (mask < 0) {
			return -EINVAL;
		}
		bits = (uint64_t)mask;
	}
	bits += v4 ? 96 : 0;
	ret->last = ret->first;
	for (unsigned int i = 0; i < 16; i++) {
		unsigned int keep = bits >= (i + 1) * 8 ? 8
				    : bits <= i * 8	? 0
							: (unsigned int)bits % 8;
		uint8_t net = (uint8_t)(0xff00 >> keep);

		ret->first.bytes[i] &= net;
		ret->last.bytes[i] |= (uint8_t)~net;
	}
	return 0;
}

int gate_read_addr_range(const char *text, struct gate_addr_range *ret)
{
	BH_FREE char *copy = bh_strdup(text);
	char *slash = strchr(copy, '/'), *dash = strchr(copy, '-');
	bool v4, last_v4;

	if (slash) {
		*slash++ = '\0';
	} else if (dash) {
		*dash++ = '\0';
	}
	if (!addr_text(gate_trim(copy), &ret->first, &v4)) {
		return -EINVAL;
	}
	if (slash) {
		return network_read(gate_trim(slash), v4, ret);
	}
	ret->last = ret->first;
	if (dash && (!addr_text(gate_trim(dash), &ret->last, &last_v4) || v4 != last_v4 ||
		     addr_cmp(&ret->first, &ret->last) > 0)) {
		return -EINVAL;
	}
	return 0;
}

static int port_read(const char *text, struct set *set)
{
	BH_FREE char *copy = bh_strdup(text);
	char *colon = strchr(copy, ':');
	uint64_t first = 0, last = 65535;
	struct gate_addr a, b;

	if (!colon) {
		if (gate_number_read(gate_trim(copy), 65535, &first)) {
			return -EINVAL;
		}
		last = first;
	} else {
		const char *low, *high;

		*colon++ = '\0';
		low = gate_trim(copy);
		high = gate_trim(colon);
		if ((*low && gate_number_read(low, 65535, &first)) ||
		    (*high && gate_number_read(high, 65535, &last)) || first > last ||
		    (!*low && !*high)) {
			return -EINVAL;
		}
	}
	a = port_addr(first);
	b = port_addr(last);
	set_add(set, &a, &b);
	return 0;
}

static const char *group_value(const struct group_reader *g, const char *name)
{
	if (g->r->config) {
		bh_vec_foreach (group, &g->r->config->groups) {
			if (group->ports == g->ports && !strcmp(group->name, name)) {
				return group->value;
			}
		}
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(builtin_groups); i++) {
		if (builtin_groups[i].ports == g->ports && !strcmp(builtin_groups[i].name, name)) {
			return builtin_groups[i].value;
		}
	}
	return NULL;
}

static void everything(const struct group_reader *g, struct set *set)
{
	struct gate_addr low = port_addr(0), high = port_addr(65535);

	set_add(set, g->ports ? &low : &addr_first, g->ports ? &high : &addr_last);
}

static int group_read(const struct group_reader *g, char *text, unsigned int depth,
		      struct set *set);

/* A member without its negation. */
static int member_read(const struct group_reader *g, char *text, unsigned int depth,
		       struct set *set)
{
	struct gate_addr_range range;

	if (*text == '[' || *text == '$' || *text == '!') {
		return group_read(g, text, depth + 1, set);
	}
	if (!strcasecmp(text, "any")) {
		everything(g, set);
		return 0;
	}
	if (g->ports) {
		return port_read(text, set) ? gate_refuse_at(g->r, g->at, "%s is no port", text)
					    : 0;
	}
	if (gate_read_addr_range(text, &range)) {
		return gate_refuse_at(g->r, g->at, "%s is no address", text);
	}
	set_add(set, &range.first, &range.last);
	return 0;
}

/* Cuts the next member of a list: up to a comma that is in no brackets. */
static char *member_cut(char **rest)
{
	char *begin = *rest;
	int depth = 0;

	if (!begin) {
		return NULL;
	}
	for (char *p = begin; *p; p++) {
		depth += *p == '[';
		depth -= *p == ']';
		if (*p == ',' && !depth) {
			*p = '\0';
			*rest = p + 1;
			return gate_trim(begin);
		}
	}
	*rest = NULL;
	return gate_trim(begin);
}

static int list_read(const struct group_reader *g, char *text, unsigned int depth, struct set *set)
{
	struct set in = {}, out = {};
	bool plain = false;
	char *member;
	int err = 0;

	while (!err && (member = member_cut(&text))) {
		bool negated = *member == '!';

		if (negated) {
			member = gate_trim(member + 1);
			*g->negated = true;
		}
		if (!*member || *member == '!') {
			err = gate_refuse_at(g->r, g->at, "a member of the list is empty");
			break;
		}
		plain |= !negated;
		err = member_read(g, member, depth, negated ? &out : &in);
		if (!err && in.in.count + out.in.count > RANGES_MAX) {
			err = gate_refuse_at(g->r, g->at, "the list is too long");
		}
	}
	if (!err) {
		if (!plain) {
			everything(g, &in);
		}
		set_normal(&in);
		set_normal(&out);
		set_subtract(&in, &out);
		bh_vec_foreach (range, &in.in) {
			*bh_vec_push(&set->in) = *range;
		}
	}
	bh_vec_done(&in.in);
	bh_vec_done(&out.in);
	return err;
}

/* Any text: a list in brackets, a variable, a member, each with negation before it. */
static int group_read(const struct group_reader *g, char *text, unsigned int depth, struct set *set)
{
	size_t len = strlen(text);
	const char *value;

	if (depth > NESTING_MAX) {
		return gate_refuse_at(g->r, g->at, "more than %d lists or variables in one another",
				      NESTING_MAX);
	}
	if (*text == '[') {
		if (text[len - 1] != ']') {
			return gate_refuse_at(g->r, g->at, "a list is not closed");
		}
		text[len - 1] = '\0';
		return list_read(g, text + 1, depth, set);
	}
	if (*text == '$') {
		value = group_value(g, text + 1);
		if (!value) {
			return gate_refuse_at(g->r, g->at, "there is no variable %s for %s",
					      text + 1, g->ports ? "ports" : "addresses");
		}
		BH_FREE char *copy = bh_strdup(value);
		char *trimmed = gate_trim(copy);

		return *trimmed ? list_read(g, trimmed, depth + 1, set)
				: gate_refuse_at(g->r, g->at, "the variable %s is empty", text + 1);
	}
	return list_read(g, text, depth + 1, set);
}

/* The whole text to a normal set that is not empty. */
static int text_read(const struct group_reader *g, const char *text, struct set *set)
{
	BH_FREE char *copy = bh_strdup(text);
	char *trimmed = gate_trim(copy);
	int err;

	err = *trimmed ? group_read(g, trimmed, 0, set)
		       : gate_refuse_at(g->r, g->at, "it is empty");
	if (err) {
		return err;
	}
	set_normal(set);
	return set->in.count ? 0 : gate_refuse_at(g->r, g->at, "nothing is left of %s", text);
}

/* A range that has IPv4 inside and IPv6 beside it becomes two or three of one family each. */
static void split_push(struct gate_addr_set *set, const struct range *range)
{
	struct set parts = {}, v4 = {};
	struct gate_addr first = range->first, last = range->last;

	set_add(&parts, &first, &last);
	set_add(&v4, &v4_first, &v4_last);
	set_subtract(&parts, &v4);
	first = addr_cmp(&first, &v4_first) < 0 ? v4_first : first;
	last = addr_cmp(&last, &v4_last) > 0 ? v4_last : last;
	if (addr_cmp(&first, &last) <= 0) {
		set_add(&parts, &first, &last);
		qsort(parts.in.items, parts.in.count, sizeof(*parts.in.items), range_order);
	}
	bh_vec_foreach (part, &parts.in) {
		struct gate_addr_range *new = bh_vec_push(&set->in);

		new->first = part->first;
		new->last = part->last;
	}
	bh_vec_done(&parts.in);
	bh_vec_done(&v4.in);
}

int gate_read_addrs(struct gate_reading *r, const char *text, size_t at, struct gate_addr_set **ret)
{
	bool negated = false;
	struct group_reader g = {.r = r, .at = at, .negated = &negated};
	struct set set = {};
	struct gate_addr_set *new;
	int err;

	*ret = gate_shared_addrs(r->shared, text);
	if (*ret) {
		return 0;
	}
	err = text_read(&g, text, &set);
	if (!err) {
		new = bh_alloc(sizeof(*new));
		new->negated = negated;
		new->any = set.in.count == 1 && !addr_cmp(&set.in.items[0].first, &addr_first) &&
			   !addr_cmp(&set.in.items[0].last, &addr_last);
		bh_vec_foreach (range, &set.in) {
			split_push(new, range);
		}
		gate_shared_keep_addrs(r->shared, text, new);
		*ret = new;
	}
	bh_vec_done(&set.in);
	return err;
}

int gate_read_ports(struct gate_reading *r, const char *text, size_t at, struct gate_port_set **ret)
{
	bool negated = false;
	struct group_reader g = {.r = r, .at = at, .ports = true, .negated = &negated};
	struct set set = {};
	struct gate_port_set *new;
	int err;

	*ret = gate_shared_ports(r->shared, text);
	if (*ret) {
		return 0;
	}
	err = text_read(&g, text, &set);
	if (!err) {
		new = bh_alloc(sizeof(*new));
		bh_vec_foreach (range, &set.in) {
			const uint8_t *first = &range->first.bytes[14],
				      *last = &range->last.bytes[14];
			struct gate_port_range *in = bh_vec_push(&new->in);

			in->first = (uint16_t)(first[0] << 8 | first[1]);
			in->last = (uint16_t)(last[0] << 8 | last[1]);
		}
		new->any = !new->in.items[0].first &&new->in.items[0].last == 65535;
		gate_shared_keep_ports(r->shared, text, new);
		*ret = new;
	}
	bh_vec_done(&set.in);
	return err;
}
