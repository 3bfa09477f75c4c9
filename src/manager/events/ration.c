/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/events/ration.h"

#include "base/counter.h"
#include "base/time.h"
#include "base/util.h"
#include "manager/events/scope.h"
#include "model/event.h"

#include <uthash.h>

#define WINDOW_NS (MANAGER_RATION_WINDOW_S * BH_NS_PER_S)
#define ASK_NS	  BH_NS_PER_S /* how long an answer about a quota holds */

BH_COUNTER(events_left_out, "flow events not kept because their tenant's quota was used up");

/* The bucket is a time: when it would be full again. It is empty when that is a window away. */
struct payer {
	uint32_t tenant;
	uint64_t quota, asked_ns;
	uint64_t full_ns, staged_ns; /* monotonic */
	bool asked;
	UT_hash_handle hh;
};

struct pair {
	struct {
		uint32_t payer, other; /* other: 0 none, or the same tenant */
	} key;
	uint64_t count, staged;
	uint64_t since_ns, staged_since_ns;
	UT_hash_handle hh;
};

struct manager_ration {
	manager_ration_fn *quota;
	void *arg;
	struct payer *payers;
	struct pair *pairs;
	uint64_t tell_ns; /* not before */
	bool telling;	  /* the batch to come has the events about all pairs */
};

struct manager_ration *manager_ration_new(manager_ration_fn *quota, void *arg)
{
	struct manager_ration *r = bh_alloc(sizeof(*r));

	r->quota = quota;
	r->arg = arg;
	return r;
}

static void drop_pairs(struct manager_ration *r)
{
	struct pair *pair, *tmp;

	HASH_ITER (hh, r->pairs, pair, tmp) {
		HASH_DEL(r->pairs, pair);
		free(pair);
	}
}

void manager_ration_free(struct manager_ration *r)
{
	struct payer *payer, *tmp;

	if (!r) {
		return;
	}
	drop_pairs(r);
	HASH_ITER (hh, r->payers, payer, tmp) {
		HASH_DEL(r->payers, payer);
		free(payer);
	}
	free(r);
}

static struct pair *pair_of(struct manager_ration *r, uint32_t payer, uint32_t other)
{
	struct pair *pair, *found;

	pair = bh_alloc(sizeof(*pair));
	pair->key.payer = payer;
	pair->key.other = other;
	HASH_FIND(hh, r->pairs, &pair->key, sizeof(pair->key), found);
	if (found) {
		free(pair);
		return found;
	}
	HASH_ADD(hh, r->pairs, key, sizeof(pair->key), pair);
	return pair;
}

static int load_pair(sqlite3_stmt *row, void *arg)
{
	struct pair *pair = pair_of(arg, (uint32_t)sqlite3_column_int64(row, 0),
				    (uint32_t)sqlite3_column_int64(row, 1));

	pair->count = pair->staged = (uint64_t)sqlite3_column_int64(row, 2);
	pair->since_ns = pair->staged_since_ns = (uint64_t)sqlite3_column_int64(row, 3);
	return 0;
}

int manager_ration_load(struct manager_ration *r, struct manager_db *db, struct bh_diag *diag)
{
	return manager_db_each(db, (struct manager_db_each){load_pair, r}, diag,
			       "SELECT payer, other, count, since FROM left_out", "");
}

/* ---- taking ---- */

static struct payer *payer_of(struct manager_ration *r, uint32_t tenant, uint64_t mono_ns)
{
	struct payer *p;

	HASH_FIND(hh, r->payers, &tenant, sizeof(tenant), p);
	if (!p) {
		p = bh_alloc(sizeof(*p));
		p->tenant = tenant;
		HASH_ADD(hh, r->payers, tenant, sizeof(tenant), p);
	}
	if (!p->asked || mono_ns > p->asked_ns + ASK_NS) {
		p->quota = r->quota(tenant, r->arg);
		p->asked_ns = mono_ns;
		p->asked = true;
	}
	return p;
}

static bool has_room(struct payer *p, uint64_t mono_ns)
{
	uint64_t cost_ns = p->quota ? WINDOW_NS / p->quota : WINDOW_NS + 1;
	uint64_t full_ns = p->staged_ns > mono_ns ? p->staged_ns : mono_ns;

	if (full_ns + cost_ns > mono_ns + WINDOW_NS) {
		return false;
	}
	p->staged_ns = full_ns + cost_ns;
	return true;
}

bool manager_ration_take(struct manager_ration *r, const struct manager_ration_flow *flow)
{
	uint32_t tenant = flow->src ? flow->src : flow->dst;
	uint32_t other = flow->src && flow->dst != flow->src ? flow->dst : 0;
	struct pair *pair;

	if (!tenant || tenant == MANAGER_SCOPE_PROVIDER ||
	    has_room(payer_of(r, tenant, flow->mono_ns), flow->mono_ns)) {
		return true;
	}
	pair = pair_of(r, tenant, HASH_COUNT(r->pairs) < MANAGER_RATION_PAIRS_MAX ? other : 0);
	pair->staged++;
	pair->staged_since_ns = pair->staged_since_ns ? pair->staged_since_ns : flow->wall_ns;
	return false;
}

/* ---- telling ---- */

static void add_left(struct manager_ration_left *left, const struct pair *pair)
{
	left->count += pair->count;
	left->since_ns =
		left->since_ns && left->since_ns < pair->since_ns ? left->since_ns : pair->since_ns;
}

/* All pairs in which the tenant is the one that paid, or the other. */
static struct manager_ration_left sum_of(const struct manager_ration *r, uint32_t tenant, bool own)
{
	struct manager_ration_left left = {.tenant = tenant, .own = own};
	const struct pair *pair, *tmp;

	HASH_ITER (hh, r->pairs, pair, tmp) {
		if ((own ? pair->key.payer : pair->key.other) == tenant) {
			add_left(&left, pair);
		}
	}
	return left;
}

static bool told_before(const struct manager_ration *r, const struct pair *upto, uint32_t tenant,
			bool own)
{
	const struct pair *pair, *tmp;

	HASH_ITER (hh, r->pairs, pair, tmp) {
		if (pair == upto) {
			return false;
		}
		if ((own ? pair->key.payer : pair->key.other) == tenant) {
			return true;
		}
	}
	return false;
}

static void tell_one(const struct manager_ration *r, const struct pair *pair, bool own,
		     manager_ration_tell_fn *fn, void *arg)
{
	uint32_t tenant = own ? pair->key.payer : pair->key.other;
	struct manager_ration_left left;

	if (!tenant || told_before(r, pair, tenant, own)) {
		return;
	}
	left = sum_of(r, tenant, own);
	left.limit = own ? r->quota(tenant, r->arg) : 0;
	fn(&left, arg);
}

void manager_ration_tell(struct manager_ration *r, uint64_t mono_ns, manager_ration_tell_fn *fn,
			 void *arg)
{
	const struct pair *pair, *tmp;

	if (!r->pairs || r->telling || mono_ns < r->tell_ns) {
		return;
	}
	r->telling = true;
	r->tell_ns = mono_ns + MANAGER_RATION_TELL_S * BH_NS_PER_S;
	HASH_ITER (hh, r->pairs, pair, tmp) {
		tell_one(r, pair, true, fn, arg);
		tell_one(r, pair, false, fn, arg);
	}
}

json_t *manager_ration_event(const struct manager_ration_left *left, const char *tenant)
{
	json_t *event = bh_event_new("quota.events", BH_SEVERITY_WARNING, bh_time_wall_ns());
	char since[BH_TIME_TEXT_SIZE];

	bh_time_format(left->since_ns, since);
	if (tenant) {
		json_object_set_new(event, "tenant", json_string(tenant));
	}
	json_object_set_new(event, "what", json_string("events"));
	json_object_set_new(event, "left_out", json_integer((json_int_t)left->count));
	json_object_set_new(event, "since", json_string(since));
	json_object_set_new(event, "reason",
			    json_string(left->own ? "quota" : "quota of another tenant"));
	if (left->own) {
		json_object_set_new(event, "limit", json_integer((json_int_t)left->limit));
	}
	return event;
}

/* ---- writing ---- */

int manager_ration_write(struct manager_ration *r, struct manager_db *db, struct bh_diag *diag)
{
	const struct pair *pair, *tmp;
	int err = 0;

	if (r->telling) {
		return manager_db_run(db, diag, "DELETE FROM left_out", "");
	}
	HASH_ITER (hh, r->pairs, pair, tmp) {
		if (pair->staged != pair->count && err == 0) {
			err = manager_db_run(db, diag,
					     "INSERT OR REPLACE INTO left_out VALUES"
					     " (?1, ?2, ?3, ?4)",
					     "uuii", pair->key.payer, pair->key.other,
					     (int64_t)pair->staged, (int64_t)pair->staged_since_ns);
		}
	}
	return err;
}

void manager_ration_settle(struct manager_ration *r, bool ok)
{
	struct payer *payer, *payer_tmp;
	struct pair *pair, *tmp;

	if (r->telling) {
		if (ok) {
			drop_pairs(r);
			r->telling = false;
		}
		return;
	}
	HASH_ITER (hh, r->payers, payer, payer_tmp) {
		payer->full_ns = ok ? payer->staged_ns : payer->full_ns;
		payer->staged_ns = payer->full_ns;
	}
	HASH_ITER (hh, r->pairs, pair, tmp) {
		if (ok) {
			bh_counter_add(&events_left_out, pair->staged - pair->count);
			pair->count = pair->staged;
			pair->since_ns = pair->staged_since_ns;
		}
		pair->staged = pair->count;
		pair->staged_since_ns = pair->since_ns;
		if (!pair->count) {
			HASH_DEL(r->pairs, pair);
			free(pair);
		}
	}
}
