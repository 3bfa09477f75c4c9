/* SPDX-License-Identifier: Apache-2.0 */
/* One scan, and the candidates that come out of it: each rule once, in order of their numbers. */
#include "gate/detect/detector.h"

#define SMALL 24 /* so many are sorted by insertion */

struct scan {
	struct gate_detector *d;
	const struct gate_mpm *mpm;
	uint64_t base;
	uint32_t from;
	bool again;
};

static int on_match(unsigned int id, unsigned long long begin, unsigned long long end,
		    unsigned int flags, void *arg)
{
	struct scan *s = arg;
	const struct gate_mpm_pattern *pattern = &s->mpm->patterns[id];
	const uint32_t *sigs = &s->mpm->sigs[pattern->first];

	(void)begin;
	(void)flags;
	/* The first place is the only one that is told: when it is too late, all are. One that lies
	 * in what was looked at before does not mean that there is none in what is new. */
	if (s->base + end > pattern->max_end) {
		return 0;
	}
	if (end <= s->from) {
		s->again = true;
		return 0;
	}
	for (uint32_t i = 0; i < pattern->count; i++) {
		gate_cands_add(&s->d->cands, sigs[i]);
	}
	return 0;
}

void gate_prefilter_scan(struct gate_detector *d, const struct gate_mpm *mpm,
			 const struct gate_buffer_view *view, uint32_t from)
{
	struct scan scan = {.d = d, .mpm = mpm, .base = view->offset, .from = from};

	uint32_t size = view->size;

	if (view->offset + size > mpm->reach) {
		size = view->offset < mpm->reach ? mpm->reach - (uint32_t)view->offset : 0;
	}
	if (size <= from) {
		return;
	}
	d->stats.scans++;
	d->stats.scanned_bytes += size;
	(void)hs_scan(mpm->db, (const char *)view->data, size, 0, d->scratch, on_match, &scan);
	if (scan.again) {
		scan.base += from;
		scan.from = 0;
		(void)hs_scan(mpm->db, (const char *)view->data + from, size - from, 0, d->scratch,
			      on_match, &scan);
	}
}

static int compare(const void *pa, const void *pb)
{
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;

	return a < b ? -1 : a > b;
}

void gate_cands_sort(struct gate_cands *c)
{
	if (c->count > SMALL) {
		qsort(c->nums, c->count, sizeof(*c->nums), compare);
		return;
	}
	for (uint32_t i = 1; i < c->count; i++) {
		uint32_t num = c->nums[i], k = i;

		for (; k > 0 && c->nums[k - 1] > num; k--) {
			c->nums[k] = c->nums[k - 1];
		}
		c->nums[k] = num;
	}
}

void gate_cands_clear(struct gate_cands *c)
{
	for (uint32_t i = 0; i < c->count; i++) {
		c->seen[c->nums[i] / 64] = 0;
	}
	c->count = 0;
}
