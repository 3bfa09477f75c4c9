/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/hits.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "manager/link/link.h"
#include "manager/store/changes.h"

#define HITS_ITEMS_MAX 20000
#define ASK_MS	       5000
#define ASK_AT_ONCE    32
#define RULE_FIRST     16

BH_COUNTER(hits_answers, "counters of rules taken over from hosts");
BH_COUNTER(hits_unknown, "counters of hosts for rules that no document has had");
BH_COUNTER(hits_left_out, "counters of hosts left out because there were too many");
BH_COUNTER(hits_save_failed, "hits of rules that could not be written (they are tried again)");

struct total { /* of a rule */
	uint32_t rule;
	struct manager_hit hit;
	UT_hash_handle hh;
};

struct cell { /* one counter of a kernel */
	struct {
		char nic[BH_UUID_TEXT_SIZE + BH_MAC_TEXT_SIZE];
		uint8_t dir;
		uint32_t rule;
	} key;
	uint64_t packets;
	uint32_t round; /* last answer that had it */
	UT_hash_handle hh;
};

struct seen { /* a rule at a host */
	uint32_t rule;
	uint64_t packets; /* of all its NICs, at the last answer */
	uint64_t now;	  /* while an answer is read */
	uint64_t unsaved;
	uint64_t last_ns;
	UT_hash_handle hh;
};

struct host {
	char name[BH_NAME_MAX + 1];
	struct cell *cells;
	struct seen *seen;
	uint32_t round; /* answers since the start */
	uint64_t ask_ns, save_ns;
	bool asking, dirty;
	UT_hash_handle hh;
};

struct manager_hits {
	struct manager_change *change;
	struct total *totals;
	struct host *hosts;
	unsigned int asking;
};

/* ---- tables ---- */

static struct total *total_of(struct manager_hits *h, uint32_t rule)
{
	struct total *t;

	HASH_FIND(hh, h->totals, &rule, sizeof(rule), t);
	if (!t) {
		t = bh_alloc(sizeof(*t));
		t->rule = rule;
		HASH_ADD(hh, h->totals, rule, sizeof(rule), t);
	}
	return t;
}

struct manager_hit manager_hits_of(const struct manager_hits *h, uint32_t rule)
{
	struct total *t;

	HASH_FIND(hh, h->totals, &rule, sizeof(rule), t);
	return t ? t->hit : (struct manager_hit){};
}

static struct host *host_of(struct manager_hits *h, const char *name)
{
	struct host *host;

	HASH_FIND_STR(h->hosts, name, host);
	if (!host) {
		host = bh_alloc(sizeof(*host));
		snprintf(host->name, sizeof(host->name), "%s", name);
		HASH_ADD_STR(h->hosts, name, host);
	}
	return host;
}

static struct seen *seen_of(struct host *host, uint32_t rule)
{
	struct seen *s;

	HASH_FIND(hh, host->seen, &rule, sizeof(rule), s);
	if (!s) {
		s = bh_alloc(sizeof(*s));
		s->rule = rule;
		HASH_ADD(hh, host->seen, rule, sizeof(rule), s);
	}
	return s;
}

static void free_cells(struct host *host, uint32_t but)
{
	struct cell *c, *tmp;

	HASH_ITER (hh, host->cells, c, tmp) {
		if (c->round != but) {
			HASH_DEL(host->cells, c);
			free(c);
		}
	}
}

static void free_host(struct manager_hits *h, struct host *host)
{
	struct seen *s, *tmp;

	free_cells(host, 0);
	HASH_ITER (hh, host->seen, s, tmp) {
		HASH_DEL(host->seen, s);
		free(s);
	}
	HASH_DEL(h->hosts, host);
	free(host);
}

/* ---- answers ---- */

static void add(struct manager_hits *h, struct host *host, struct seen *s, uint64_t more,
		uint64_t wall_ns)
{
	struct total *t;

	if (!more) {
		return;
	}
	t = total_of(h, s->rule);
	t->hit.count += more;
	t->hit.last_ns = wall_ns;
	s->unsaved += more;
	s->last_ns = wall_ns;
	host->dirty = true;
}

static void take_item(struct manager_hits *h, struct host *host, const json_t *item,
		      uint64_t wall_ns)
{
	uint32_t rule = (uint32_t)bh_json_u64_or(item, "rule", 0);
	uint64_t packets = bh_json_u64_or(item, "packets", 0);
	struct seen *s;
	struct cell key, *c;

	if (rule < RULE_FIRST || !*manager_rulebook_text(h->change->o.book, rule)) {
		bh_counter_add(&hits_unknown, rule >= RULE_FIRST);
		return;
	}
	memset(&key, 0, sizeof(key)); /* compared by its bytes */
	snprintf(key.key.nic, sizeof(key.key.nic), "%.36s %.17s", bh_json_str_or(item, "vm", ""),
		 bh_json_str_or(item, "nic", ""));
	key.key.dir = strcmp(bh_json_str_or(item, "dir", ""), "ingress") == 0;
	key.key.rule = rule;
	s = seen_of(host, rule);
	HASH_FIND(hh, host->cells, &key.key, sizeof(key.key), c);
	if (!c) {
		c = bh_alloc(sizeof(*c));
		c->key = key.key;
		HASH_ADD(hh, host->cells, key, sizeof(c->key), c);
	}
	/* The first answer since the start is compared with what was written, by rule. */
	if (host->round > 1) {
		add(h, host, s, packets >= c->packets ? packets - c->packets : packets, wall_ns);
	}
	c->packets = packets;
	c->round = host->round;
	s->now += packets;
}

void manager_hits_take(struct manager_hits *h, const char *name, const json_t *rules,
		       uint64_t wall_ns)
{
	struct host *host = host_of(h, name);
	struct seen *s, *tmp;
	const json_t *item;
	size_t i;

	bh_counter_add(&hits_answers, 1);
	host->round++;
	HASH_ITER (hh, host->seen, s, tmp) {
		s->now = 0;
	}
	json_array_foreach (rules, i, item) {
		if (i >= HITS_ITEMS_MAX) {
			bh_counter_add(&hits_left_out, json_array_size(rules) - i);
			break;
		}
		take_item(h, host, item, wall_ns);
	}
	HASH_ITER (hh, host->seen, s, tmp) {
		if (host->round == 1 && s->now > s->packets) {
			add(h, host, s, s->now - s->packets, wall_ns);
		}
		host->dirty = host->dirty || s->now != s->packets;
		s->packets = s->now;
	}
	free_cells(host, host->round);
}

/* ---- the store ---- */

static int write_host(struct manager_hits *h, struct host *host, struct bh_diag *diag)
{
	struct manager_db *db = h->change->o.db;
	struct seen *s, *tmp;
	int r = manager_db_begin(db, diag);

	HASH_ITER (hh, host->seen, s, tmp) {
		if (r == 0 && s->unsaved) {
			r = manager_store_add_hits(db, s->rule, s->unsaved, s->last_ns, diag);
		}
		if (r == 0) {
			r = manager_store_put_seen(db, host->name, s->rule, s->packets, diag);
		}
	}
	if (r == 0) {
		r = manager_db_commit(db, diag);
	}
	if (r < 0) {
		manager_db_abort(db);
		bh_counter_add(&hits_save_failed, 1);
		return r;
	}
	HASH_ITER (hh, host->seen, s, tmp) {
		s->unsaved = 0;
	}
	host->dirty = false;
	return 0;
}

int manager_hits_save(struct manager_hits *h, const char *name, struct bh_diag *diag)
{
	struct host *host;

	HASH_FIND_STR(h->hosts, name, host);
	return host && host->dirty ? write_host(h, host, diag) : 0;
}

static void save_now(struct manager_hits *h, struct host *host)
{
	struct bh_diag diag = {};

	if (host->dirty && write_host(h, host, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "change", 1, "hits of rules: %s", diag.text);
	}
}

/* ---- asking ---- */

struct question {
	struct manager_hits *hits;
	char host[BH_NAME_MAX + 1];
};

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct question *q = arg;
	struct manager_hits *h = q->hits;
	struct host *host;

	h->asking--;
	HASH_FIND_STR(h->hosts, q->host, host);
	if (host) {
		const json_t *rules = err ? NULL : json_object_get(reply->json, "rules");

		host->asking = false;
		if (json_is_array(rules)) {
			manager_hits_take(h, q->host, rules, bh_time_wall_ns());
		}
	}
	free(q);
}

static void ask(struct manager_hits *h, struct host *host, uint64_t mono_ns)
{
	struct question *q = bh_alloc(sizeof(*q));

	q->hits = h;
	memcpy(q->host, host->name, sizeof(q->host));
	host->asking = true;
	host->ask_ns = mono_ns + MANAGER_HITS_EVERY_S * BH_NS_PER_S;
	h->asking++;
	manager_link_query(h->change->o.link, host->name, json_pack("{s:s}", "what", "rules"),
			   ASK_MS, on_answer, q);
}

/* Hosts that were removed: what they had is in the totals. */
static void forget(struct manager_hits *h)
{
	struct host *host, *tmp;

	HASH_ITER (hh, h->hosts, host, tmp) {
		if (!manager_host_find(h->change->o.inv, host->name) && !host->asking) {
			save_now(h, host);
			if (manager_store_drop_seen(h->change->o.db, host->name, NULL) == 0) {
				free_host(h, host);
			}
		}
	}
}

void manager_hits_tick(struct manager_hits *h, uint64_t mono_ns)
{
	struct manager_host *known, *tmp;

	forget(h);
	HASH_ITER (hh, h->change->o.inv->hosts, known, tmp) {
		struct host *host = host_of(h, known->name);

		if (h->change->o.link && known->online && !host->asking &&
		    mono_ns >= host->ask_ns && h->asking < ASK_AT_ONCE) {
			ask(h, host, mono_ns);
		}
		if (mono_ns >= host->save_ns) {
			/* Spread over time, for what all of them say would hold the loop up. */
			host->save_ns = mono_ns + MANAGER_HITS_SAVE_S * BH_NS_PER_S;
			save_now(h, host);
		}
	}
}

/* ---- life ---- */

static void load_hit(uint32_t rule, uint64_t hits, uint64_t last_ns, void *arg)
{
	total_of(arg, rule)->hit = (struct manager_hit){hits, last_ns};
}

static void load_seen(const char *host, uint32_t rule, uint64_t packets, void *arg)
{
	seen_of(host_of(arg, host), rule)->packets = packets;
}

int manager_hits_new(struct manager_change *change, struct manager_hits **ret, struct bh_diag *diag)
{
	struct manager_hits *h = bh_alloc(sizeof(*h));
	int r;

	h->change = change;
	r = manager_store_hits(change->o.db, load_hit, h, diag);
	if (r == 0) {
		r = manager_store_seen(change->o.db, load_seen, h, diag);
	}
	if (r < 0) {
		manager_hits_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void manager_hits_free(struct manager_hits *h)
{
	struct host *host, *h_tmp;
	struct total *t, *t_tmp;

	if (!h) {
		return;
	}
	HASH_ITER (hh, h->hosts, host, h_tmp) {
		save_now(h, host);
		free_host(h, host);
	}
	HASH_ITER (hh, h->totals, t, t_tmp) {
		HASH_DEL(h->totals, t);
		free(t);
	}
	free(h);
}
