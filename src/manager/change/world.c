/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/world.h"

#include "base/json.h"

#include <errno.h>
#include <netinet/in.h>

#define WORLD 2 /* reserved identity: neither a VM nor the host */

struct manager_known {
	uint32_t id;
	bool there;
	UT_hash_handle hh;
};

struct manager_world *manager_world_new(const struct manager_world_options *o)
{
	struct manager_world *w = bh_alloc(sizeof(*w));

	w->universe = bh_policy_universe_copy(manager_distribute_universe(o->dist));
	w->sets[0] = bh_policy_set_copy(o->before);
	w->sets[1] = o->after ? bh_policy_set_copy(o->after) : NULL;
	w->provider_default = o->dist->o.provider_default;
	w->db_path = bh_strdup(o->db_path);
	w->talks_path = bh_strdup(o->talks_path);
	return w;
}

void manager_world_free(struct manager_world *w)
{
	struct manager_known *k, *next;

	if (!w) {
		return;
	}
	HASH_ITER (hh, w->known, k, next) {
		HASH_DEL(w->known, k);
		free(k);
	}
	for (int i = 0; i < 2; i++) {
		bh_policy_asker_free(w->askers[i]);
		bh_policy_compiler_free(w->compilers[i]);
		bh_policy_set_free(w->sets[i]);
	}
	manager_db_close(w->db);
	bh_policy_universe_free(w->universe);
	free(w->db_path);
	free(w->talks_path);
	free(w);
}

static void prepare(struct manager_world *w, int i)
{
	struct bh_policy_compile_options options = {.provider_default = w->provider_default};

	if (w->sets[i] && !w->compilers[i]) {
		w->compilers[i] = bh_policy_compiler_new(w->sets[i], w->universe, &options);
		w->askers[i] = bh_policy_asker_new(w->compilers[i]);
	}
}

void manager_world_prepare(struct manager_world *w)
{
	prepare(w, 0);
	prepare(w, 1);
}

void manager_world_prepare_after(struct manager_world *w)
{
	prepare(w, 1);
}

/* ---- identities of days ago ---- */

struct found {
	struct manager_world *world;
	uint32_t id;
	bool there;
};

static int take_identity(sqlite3_stmt *row, void *arg)
{
	struct found *f = arg;
	BH_JSON json_t *json = json_loads(manager_db_text(row, 1), 0, NULL);
	BH_FREE struct bh_policy_label *labels = NULL;
	size_t count = 0;
	const char *key;
	json_t *value;

	labels = bh_alloc_array(json_object_size(json) + 1, sizeof(*labels));
	json_object_foreach (json, key, value) {
		labels[count++] = (struct bh_policy_label){key, json_string_value(value)};
	}
	f->there = json && bh_policy_universe_add_identity(f->world->universe, f->id,
							   (uint32_t)sqlite3_column_int64(row, 0),
							   labels, count, NULL) == 0;
	return 0;
}

static bool look_up(struct manager_world *w, uint32_t id)
{
	struct found f = {.world = w, .id = id};

	if (!w->db && (strcmp(w->db_path, ":memory:") == 0 ||
		       manager_db_open_reader(w->db_path, &w->db, NULL) < 0)) {
		return false;
	}
	return manager_db_each(w->db, (struct manager_db_each){take_identity, &f}, NULL,
			       "SELECT tenant, labels FROM identities WHERE number = ?1", "u",
			       id) == 0 &&
	       f.there;
}

bool manager_world_knows(struct manager_world *w, uint32_t id)
{
	struct manager_known *k;

	if (id < MANAGER_IDENTITY_FIRST) {
		return true;
	}
	HASH_FIND(hh, w->known, &id, sizeof(id), k);
	if (!k) {
		k = bh_alloc(sizeof(*k));
		k->id = id;
		k->there = bh_policy_universe_tenant_of(w->universe, id) || look_up(w, id);
		HASH_ADD(hh, w->known, id, sizeof(id), k);
	}
	return k->there;
}

/* ---- connections ---- */

static void take_end(uint32_t identity, const uint8_t addr[16], struct bh_policy_end *ret)
{
	static const uint8_t none[16];

	memset(ret, 0, sizeof(*ret));
	ret->identity = identity ? identity : WORLD;
	ret->has_addr = memcmp(addr, none, sizeof(none)) != 0;
	memcpy(ret->addr, addr, sizeof(ret->addr));
}

bool manager_question_of(const struct manager_talk *t, struct manager_question *ret)
{
	bool from_vm = t->src_identity >= MANAGER_IDENTITY_FIRST;
	bool to_vm = t->dst_identity >= MANAGER_IDENTITY_FIRST;

	if ((t->flags & MANAGER_TALK_OVERFLOW) || (!from_vm && !to_vm) || !t->count ||
	    (from_vm && t->dir != BH_POLICY_EGRESS) || (!t->proto && !t->port)) {
		return false;
	}
	take_end(t->src_identity, t->src, &ret->src);
	take_end(t->dst_identity, t->dst, &ret->dst);
	ret->service.proto = t->proto;
	ret->service.port = t->port;
	return true;
}

int manager_world_judge(struct manager_world *w, int which, const struct manager_question *q,
			struct bh_policy_verdict *ret)
{
	struct bh_policy_question ask = {.self = q->src.identity,
					 .dir = BH_POLICY_EGRESS,
					 .remote = q->dst,
					 .service = q->service};
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->action = BH_POLICY_ALLOW;
	if (q->src.identity >= MANAGER_IDENTITY_FIRST) {
		r = bh_policy_asker_ask(w->askers[which], &ask, ret);
		if (r < 0 || ret->action != BH_POLICY_ALLOW) {
			return r;
		}
	}
	if (q->dst.identity < MANAGER_IDENTITY_FIRST) {
		return 0;
	}
	ask.self = q->dst.identity;
	ask.dir = BH_POLICY_INGRESS;
	ask.remote = q->src;
	return bh_policy_asker_ask(w->askers[which], &ask, ret);
}
