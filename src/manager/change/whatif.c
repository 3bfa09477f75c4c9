/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/whatif.h"

#include "base/counter.h"
#include "base/time.h"
#include "manager/change/groups.h"
#include "manager/change/judge.h"
#include "manager/change/words.h"
#include "model/id.h"

#include <errno.h>

#define ENTRIES_DEFAULT 100
#define ADDRESSES_SHOWN 5

BH_COUNTER(whatif_runs, "looks at what a change would do to recorded flows");
BH_COUNTER(whatif_rows, "rows of recorded flows that these looked at");
BH_COUNTER(whatif_asked, "questions that documents were asked for these looks");
BH_COUNTER(whatif_incomplete, "of these looks, those that were not complete");

/* A question that gets another answer. */
struct changed {
	uint32_t group;
	uint8_t before, after; /* enum bh_policy_action */
};

/* Changed questions of one pair, service and pair of verdicts: next to each other when sorted. */
struct run {
	size_t first, length;
	uint64_t count;
};

struct whatif {
	const struct manager_whatif_options *o;
	struct manager_world *world;
	struct manager_judge *judge;
	struct manager_groups *groups;
	BH_VEC(struct changed) changed;
	BH_VEC(struct run) runs;
	bool addresses; /* make a difference */
	bool full;
	uint64_t rows, flows, concerned, unknown, overflow;
	uint64_t denied, allowed; /* flows that would be */
};

/* ---- reading ---- */

static int on_talk(const struct manager_talk *talk, void *arg)
{
	struct whatif *w = arg;
	struct manager_question q;
	struct manager_group_key key;
	struct manager_judged verdict;

	w->rows++;
	if (talk->flags & MANAGER_TALK_OVERFLOW) {
		w->overflow += talk->count;
		return 0;
	}
	if (!manager_question_of(talk, &q)) {
		return 0;
	}
	w->flows += talk->count;
	manager_judge_ask(w->judge, &q, &verdict);
	if (!verdict.known) {
		w->unknown += talk->count;
		return 0;
	}
	w->concerned += verdict.concerned ? talk->count : 0;
	if (!verdict.differs) {
		return 0;
	}
	if (verdict.after == BH_POLICY_ALLOW) {
		w->allowed += talk->count;
	} else {
		w->denied += talk->count;
	}
	manager_group_key_of(&q, w->addresses, &key);
	key.spare = (uint32_t)verdict.before << 8 | verdict.after;
	w->full = w->full || !manager_groups_add(w->groups, &key, talk);
	return 0;
}

static void list_changed(struct whatif *w)
{
	for (size_t i = 0; i < manager_groups_count(w->groups); i++) {
		uint32_t actions = manager_groups_at(w->groups, i)->key.spare;

		*bh_vec_push(&w->changed) =
			(struct changed){(uint32_t)i, (uint8_t)(actions >> 8), (uint8_t)actions};
	}
}

/* ---- telling ---- */

static const struct manager_group_key *key_at(const struct whatif *w, const struct changed *c)
{
	return &manager_groups_at(w->groups, c->group)->key;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_changed(const void *a, const void *b, void *arg)
{
	const struct changed *x = a, *y = b;
	const struct manager_group_key *p = key_at(arg, x), *q = key_at(arg, y);
	int r = compare_numbers(p->src_identity, q->src_identity);

	r = r ? r : compare_numbers(p->dst_identity, q->dst_identity);
	r = r ? r : compare_numbers(p->proto, q->proto);
	r = r ? r : compare_numbers(p->port, q->port);
	return r ? r : compare_numbers(x->before << 8 | x->after, y->before << 8 | y->after);
}

static int compare_runs(const void *a, const void *b)
{
	const struct run *x = a, *y = b;
	int r = -compare_numbers(x->count, y->count);

	return r ? r : compare_numbers(x->first, y->first);
}

static void make_runs(struct whatif *w)
{
	struct run *run = NULL;

	if (w->changed.count) {
		qsort_r(w->changed.items, w->changed.count, sizeof(w->changed.items[0]),
			compare_changed, w);
	}
	for (size_t i = 0; i < w->changed.count; i++) {
		struct changed *c = &w->changed.items[i];

		if (!run || compare_changed(&w->changed.items[run->first], c, w) != 0) {
			run = bh_vec_push(&w->runs);
			run->first = i;
		}
		run->length++;
		run->count += manager_groups_at(w->groups, c->group)->count;
	}
	if (w->runs.count) {
		qsort(w->runs.items, w->runs.count, sizeof(w->runs.items[0]), compare_runs);
	}
}

/* Addresses of one end over a run, the first few. */
static void add_addresses(const struct whatif *w, const struct run *run, bool source, json_t *end)
{
	json_t *list = json_array();
	uint8_t last[16] = {};
	char text[BH_ADDR_TEXT_SIZE];

	for (size_t i = 0; i < run->length && json_array_size(list) < ADDRESSES_SHOWN; i++) {
		const struct manager_group_key *key = key_at(w, &w->changed.items[run->first + i]);
		const uint8_t *addr = source ? key->src : key->dst;

		if ((key->has_addr & (source ? 1 : 2)) && memcmp(addr, last, sizeof(last)) != 0) {
			memcpy(last, addr, sizeof(last));
			bh_addr_format(addr, text);
			json_array_append_new(list, json_string(text));
		}
	}
	if (json_array_size(list)) {
		json_object_set(end, "addresses", list);
	}
	json_decref(list);
}

static json_t *side_json(const struct whatif *w, const struct bh_policy_verdict *v)
{
	return json_pack("{s:s, s:o}", "action", bh_policy_action_name(v->action), "rule",
			 manager_words_rule(w->world, &w->o->policies, v));
}

static json_t *run_json(struct whatif *w, const struct run *run)
{
	const struct manager_group *first =
		manager_groups_at(w->groups, w->changed.items[run->first].group);
	uint32_t first_s = first->first_s, last_s = first->last_s;
	struct bh_policy_verdict v[2] = {};
	struct manager_question q;
	json_t *src, *dst;
	uint64_t bytes = 0;

	manager_group_question(&first->key, &q);
	for (size_t i = 0; i < run->length; i++) {
		const struct manager_group *g =
			manager_groups_at(w->groups, w->changed.items[run->first + i].group);

		first_s = g->first_s < first_s ? g->first_s : first_s;
		last_s = g->last_s > last_s ? g->last_s : last_s;
		bytes += g->bytes;
	}
	for (int i = 0; i < 2; i++) {
		(void)!manager_world_judge(w->world, i, &q, &v[i]); /* it was judged before */
	}
	src = manager_words_end(w->world, &w->o->scope, q.src.identity);
	dst = manager_words_end(w->world, &w->o->scope, q.dst.identity);
	add_addresses(w, run, true, src);
	add_addresses(w, run, false, dst);
	return json_pack("{s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o}", "src", src, "dst", dst,
			 "service", manager_words_service(&q.service), "flows",
			 (json_int_t)run->count, "bytes", (json_int_t)bytes, "first",
			 manager_words_time(first_s), "last", manager_words_time(last_s), "before",
			 side_json(w, &v[0]), "after", side_json(w, &v[1]));
}

static json_t *answer(struct whatif *w, bool complete)
{
	size_t max = w->o->entries ? w->o->entries : ENTRIES_DEFAULT;
	json_t *entries = json_array();
	char since[BH_TIME_TEXT_SIZE];

	make_runs(w);
	for (size_t i = 0; i < w->runs.count && i < max; i++) {
		json_array_append_new(entries, run_json(w, &w->runs.items[i]));
	}
	bh_time_format(w->o->since_ns, since);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:b, s:b}", "since",
			 since, "rows", (json_int_t)w->rows, "flows", (json_int_t)w->flows,
			 "judged", (json_int_t)w->concerned, "would_deny", (json_int_t)w->denied,
			 "would_allow", (json_int_t)w->allowed, "unknown", (json_int_t)w->unknown,
			 "overflow", (json_int_t)w->overflow, "entries", entries, "left_out",
			 (json_int_t)(w->runs.count > max ? w->runs.count - max : 0), "complete",
			 complete, "by_name", bh_policy_set_has_classes(w->world->sets[1]));
}

static void done(struct whatif *w)
{
	manager_judge_free(w->judge);
	manager_groups_free(w->groups);
	bh_vec_done(&w->changed);
	bh_vec_done(&w->runs);
}

int manager_whatif_run(const struct manager_whatif_options *o, json_t **ret_json,
		       struct bh_diag *diag)
{
	struct whatif w = {.o = o, .world = o->world};
	struct manager_talks_query query = {.path = o->world->talks_path,
					    .since_ns = o->since_ns,
					    .until_ns = o->until_ns,
					    .scope = o->scope,
					    .limit_ms = o->limit_ms,
					    .cancel = o->cancel};
	bool complete;
	int r;

	bh_counter_add(&whatif_runs, 1);
	manager_world_prepare(o->world);
	w.addresses = bh_policy_set_has_cidrs(o->world->sets[0]) ||
		      bh_policy_set_has_cidrs(o->world->sets[1]);
	w.groups = manager_groups_new(MANAGER_WHATIF_GROUPS_MAX);
	w.judge = manager_judge_new(o->world, MANAGER_WHATIF_ANSWERS_MAX);
	r = manager_talks_each(&query, on_talk, &w, diag);
	bh_counter_add(&whatif_rows, w.rows);
	if (r < 0 && r != -ETIME) {
		done(&w);
		return r;
	}
	complete = r == 0 && !w.full;
	bh_counter_add(&whatif_incomplete, !complete);
	bh_counter_add(&whatif_asked, manager_judge_asked(w.judge));
	list_changed(&w);
	*ret_json = answer(&w, complete);
	done(&w);
	return 0;
}
