/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler.h"

void policy_ranges_add(struct policy_ranges *ranges, const struct policy_port *port)
{
	if (!port->whole && port->first != port->last) {
		*bh_vec_push(&ranges->ports) = *port;
	}
}

static int compare_ports(const void *a, const void *b)
{
	const struct policy_port *x = a;
	const struct policy_port *y = b;

	if (x->proto != y->proto) {
		return (int)x->proto - (int)y->proto;
	}
	if (x->first != y->first) {
		return (int)x->first - (int)y->first;
	}
	return (int)x->last - (int)y->last;
}

/* The intervals of one protocol, whose ranges are ports[0..count). */
static void build_proto(struct policy_ranges *ranges, const struct policy_port *ports, size_t count)
{
	/* opened[p]: how many more ranges cover p than p - 1; cut[p]: an interval starts here */
	int32_t *opened = bh_alloc_array(65537, sizeof(*opened));
	uint8_t *cut = bh_alloc_array(65537, 1);
	int32_t open = 0;
	struct policy_interval *last = NULL;

	for (size_t i = 0; i < count; i++) {
		opened[ports[i].first]++;
		opened[ports[i].last + 1]--;
		cut[ports[i].first] = cut[ports[i].last + 1] = 1;
	}
	for (uint32_t p = 0; p < 65536; p++) {
		open += opened[p];
		if (cut[p]) {
			last = NULL;
		}
		if (open && !last) {
			last = bh_vec_push(&ranges->intervals);
			last->proto = ports[0].proto;
			last->first = (uint16_t)p;
		}
		if (last) {
			last->last = (uint16_t)p;
		}
	}
	free(opened);
	free(cut);
}

void policy_ranges_build(struct policy_ranges *ranges)
{
	size_t start = 0;

	if (ranges->ports.count) {
		qsort(ranges->ports.items, ranges->ports.count, sizeof(struct policy_port),
		      compare_ports);
	}
	for (size_t i = 1; i <= ranges->ports.count; i++) {
		const struct policy_port *p = ranges->ports.items;

		if (i == ranges->ports.count || p[i].proto != p[start].proto) {
			build_proto(ranges, &p[start], i - start);
			start = i;
		}
	}
}

void policy_ranges_done(struct policy_ranges *ranges)
{
	bh_vec_done(&ranges->ports);
	bh_vec_done(&ranges->intervals);
}

size_t policy_ranges_lower(const struct policy_ranges *ranges, uint8_t proto, uint16_t port)
{
	size_t lo = 0;
	size_t hi = ranges->intervals.count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct policy_interval *x = &ranges->intervals.items[mid];

		if (x->proto < proto || (x->proto == proto && x->last < port)) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

const struct policy_interval *policy_ranges_find(const struct policy_ranges *ranges, uint8_t proto,
						 uint16_t port)
{
	size_t i = policy_ranges_lower(ranges, proto, port);
	const struct policy_interval *x;

	if (i == ranges->intervals.count) {
		return NULL;
	}
	x = &ranges->intervals.items[i];
	return x->proto == proto && x->first <= port ? x : NULL;
}

size_t policy_range_prefixes(uint16_t first, uint16_t last, policy_prefix_fn *fn, void *arg)
{
	uint32_t at = first;
	size_t count = 0;

	while (at <= last) {
		uint32_t size = 1;
		uint8_t bits = 16;

		while (bits && !(at & size) && at + 2 * size - 1 <= last) {
			size *= 2;
			bits--;
		}
		if (fn) {
			fn((uint16_t)at, bits, arg);
		}
		count++;
		at += size;
	}
	return count;
}
