/* SPDX-License-Identifier: Apache-2.0 */
/* One scan, and the candidates that come out of it: each rule once, in order of their numbers. */
#include "gate/detect/detector.h"

#define RECENT 16
#define SMALL  24 /* so many are sorted by insertion */

struct scan {
	struct gate_detector *d;
	const struct gate_mpm *mpm;
	enum gate_scan_for what;
	uint64_t base; /* of the data, in what patterns' bounds count from; of both the packet's */
	uint64_t stream_base;
	uint32_t from;
	bool again;
	uint32_t recent[RECENT]; /* patterns that were found, by the last bits of their numbers */
};

/* Payload rules by what they look at. */
static void add_payload(const struct scan *s, uint32_t num, bool in_stream)
{
	const struct gate_sig *sig = &s->d->set->sigs[num];

	if (sig->require_packet && s->what != GATE_SCAN_STREAM) {
		gate_cands_add(&s->d->cands, num);
	}
	if (!sig->require_stream || !in_stream) {
		return;
	}
	if (s->what == GATE_SCAN_BOTH) {
		gate_found_add(s->d, num);
	} else {
		gate_cands_add(&s->d->cands, num);
	}
}

/* A pattern at one of its places: candidates are its rules. It may stand there often. */
static void on_gram(uint32_t id, uint32_t end, void *arg)
{
	struct scan *s = arg;
	const struct gate_mpm_pattern *pattern = &s->mpm->patterns[id];
	const uint32_t *sigs = &s->mpm->sigs[pattern->first];
	bool in_stream = s->what == GATE_SCAN_STREAM ||
			 (s->what == GATE_SCAN_BOTH && s->stream_base + end <= pattern->max_end);

	if (end <= s->from || s->base + end > pattern->max_end || s->recent[id % RECENT] == id) {
		return;
	}
	s->recent[id % RECENT] = id;
	for (uint32_t i = 0; i < pattern->count; i++) {
		if (s->what == GATE_SCAN_ALL) {
			gate_cands_add(&s->d->cands, sigs[i]);
		} else {
			add_payload(s, sigs[i], in_stream);
		}
	}
}

/* Of Hyperscan: the first place is the only one that is told. When it is too late, all are. One
 * that lies in what was looked at before does not mean that there is none in what is new. */
static int on_match(unsigned int id, unsigned long long begin, unsigned long long end,
		    unsigned int flags, void *arg)
{
	struct scan *s = arg;

	(void)begin;
	(void)flags;
	if (end <= s->from) {
		s->again = true;
	}
	on_gram(id, (uint32_t)end, s);
	return 0;
}

static void scan_hs(struct scan *scan, const uint8_t *data, uint32_t size)
{
	const hs_database_t *db = scan->mpm->db;
	hs_scratch_t *scratch = scan->d->scratch;
	struct scan rest;

	(void)hs_scan(db, (const char *)data, size, 0, scratch, on_match, scan);
	if (scan->again) {
		rest = *scan;
		rest.base += scan->from;
		rest.stream_base += scan->from;
		rest.from = 0;
		(void)hs_scan(db, (const char *)data + scan->from, size - scan->from, 0, scratch,
			      on_match, &rest);
	}
}

/* Short literals and crowded ones: by Hyperscan where it is worth it. */
static void scan_short(struct scan *scan, const uint8_t *data, uint32_t size)
{
	const struct gate_mpm *mpm = scan->mpm;
	const struct gate_gram_want want = {.grams = mpm->grams, .fn = on_gram, .arg = scan};
	bool hs = mpm->db && (size >= GATE_MPM_LARGE || mpm->db_always);

	if (hs) {
		scan_hs(scan, data, size);
	}
	if (!hs || gate_grams_are_few(mpm->grams)) {
		gate_grams_search_short(&want, data, size);
	}
}

/* So much of the view is of use to the rules of mpm; base: of what their bounds count from. */
static uint32_t size_for(const struct gate_mpm *mpm, uint64_t base, uint32_t size)
{
	uint64_t use = mpm->reach - base; /* base is below zero where bytes before count too */

	if (mpm->reach == UINT32_MAX || (int64_t)use >= size) {
		return size;
	}
	return (int64_t)use > 0 ? (uint32_t)use : 0;
}

void gate_prefilter_payload(struct gate_detector *d, const struct gate_mpm_group *group,
			    const struct gate_buffer_view *view, uint32_t from,
			    enum gate_scan_for what)
{
	struct gate_gram_want wants[GATE_MPM_PARTS];
	struct scan scans[GATE_MPM_PARTS];
	uint32_t count = 0, longest = 0;
	uint64_t base = what == GATE_SCAN_BOTH ? -(uint64_t)from : view->offset;

	for (unsigned int i = 0; i < GATE_MPM_PARTS && group->parts[i]; i++) {
		const struct gate_mpm *mpm = group->parts[i];
		uint32_t size = size_for(mpm, base, view->size);
		struct scan *scan = &scans[count];

		if (size <= from) {
			continue;
		}
		scan->d = d;
		scan->mpm = mpm;
		scan->what = what;
		scan->base = base;
		scan->stream_base = view->offset;
		scan->from = from;
		scan->again = false;
		memset(scan->recent, 0xff, sizeof(scan->recent));
		scan_short(scan, view->data, size);
		wants[count++] =
			(struct gate_gram_want){.grams = mpm->grams, .fn = on_gram, .arg = scan};
		longest = size > longest ? size : longest;
	}
	if (!count) {
		return;
	}
	d->stats.scans++;
	d->stats.scanned_bytes += longest;
	gate_grams_search_long(count > 1 ? group->all : NULL, wants, count, view->data, longest);
}

void gate_prefilter_scan(struct gate_detector *d, const struct gate_mpm_group *group,
			 const struct gate_buffer_view *view, uint32_t from)
{
	gate_prefilter_payload(d, group, view, from, GATE_SCAN_ALL);
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
