/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/suggest.h"

#include "base/counter.h"
#include "base/json.h"
#include "manager/change/groups.h"
#include "manager/change/words.h"
#include "model/id.h"

#include <errno.h>

#define ADDRESSES_MAX	   16 /* of what is no VM, before it is the world */
#define PORTS_MAX	   12 /* of one peer and protocol, before they are a range */
#define IDENTITY_HOST	   1
#define IDENTITY_MULTICAST 3

BH_COUNTER(suggest_runs, "policies suggested from recorded flows");

/* A VM as the suggestion sees it. */
struct vm {
	uint32_t id;
	json_t *labels; /* owned */
	bool selected, same_tenant, seen;
	char tenant[BH_NAME_MAX + 1];
	UT_hash_handle hh;
};

struct service {
	uint8_t proto;
	uint16_t port;
};

/* One other end in one direction, with what is spoken there. */
struct term {
	char *key; /* direction, and the peer as YAML */
	const char *peer;
	enum bh_policy_dir dir;
	BH_VEC(struct service) services;
	char *ports; /* as YAML, when all services are known */
	uint64_t count;
	uint32_t last_s;
	bool told;
	UT_hash_handle hh;
};

struct suggest {
	const struct manager_suggest_options *o;
	struct manager_world *world;
	struct vm *vms;
	struct manager_groups *groups; /* spare: direction */
	struct term *terms;
	size_t addresses[2]; /* of what is no VM, by direction */
	const char *key[2];  /* label that peers are generalised to; NULL: all labels */
	struct bh_wbuf text;
	json_t *rules;
	uint64_t flows, covered;
	bool full;
};

/* ---- reading ---- */

static bool has_labels(const struct manager_suggest_options *o, const json_t *labels)
{
	for (size_t i = 0; i < o->label_count; i++) {
		const char *value = json_string_value(json_object_get(labels, o->labels[i].key));

		if (!value || strcmp(value, o->labels[i].value) != 0) {
			return false;
		}
	}
	return true;
}

static struct vm *vm_of(struct suggest *s, uint32_t id)
{
	BH_JSON json_t *json = NULL;
	struct vm *vm;

	HASH_FIND(hh, s->vms, &id, sizeof(id), vm);
	if (vm) {
		return vm;
	}
	vm = bh_alloc(sizeof(*vm));
	vm->id = id;
	if (id >= MANAGER_IDENTITY_FIRST && manager_world_knows(s->world, id)) {
		json = bh_policy_universe_identity_json(s->world->universe, id);
		vm->labels = json_incref(json_object_get(json, "labels"));
		snprintf(vm->tenant, sizeof(vm->tenant), "%s", bh_json_str_or(json, "tenant", ""));
		vm->same_tenant = strcmp(vm->tenant, s->o->tenant) == 0;
		vm->selected = vm->same_tenant && has_labels(s->o, vm->labels);
		vm->seen = manager_scope_has(&s->o->scope,
					     bh_policy_universe_tenant_of(s->world->universe, id));
	}
	HASH_ADD(hh, s->vms, id, sizeof(id), vm);
	return vm;
}

static void take(struct suggest *s, const struct manager_talk *talk,
		 const struct manager_question *q, enum bh_policy_dir dir)
{
	const struct bh_policy_end *other = dir == BH_POLICY_EGRESS ? &q->dst : &q->src;
	const struct vm *vm = vm_of(s, other->identity);
	struct manager_group_key key;
	bool by_address = !vm->labels || !vm->seen || !json_object_size(vm->labels);

	manager_group_key_of(q, by_address, &key);
	if (dir == BH_POLICY_EGRESS) {
		memset(key.src, 0, sizeof(key.src));
		key.has_addr &= 2;
	} else {
		memset(key.dst, 0, sizeof(key.dst));
		key.has_addr &= 1;
	}
	key.spare = (uint32_t)dir;
	s->flows += talk->count;
	s->full = s->full || !manager_groups_add(s->groups, &key, talk);
}

static bool builtin(uint32_t rule)
{
	return rule == BH_POLICY_RULE_DHCP || rule == BH_POLICY_RULE_DNS ||
	       rule == BH_POLICY_RULE_PING || rule == BH_POLICY_RULE_DHCPV6;
}

static int on_talk(const struct manager_talk *talk, void *arg)
{
	struct suggest *s = arg;
	struct manager_question q;

	if (!manager_question_of(talk, &q) || builtin(talk->rule) ||
	    (talk->verdict != BH_POLICY_ALLOW && !s->o->refused)) {
		return 0;
	}
	if (q.src.identity >= MANAGER_IDENTITY_FIRST && vm_of(s, q.src.identity)->selected) {
		take(s, talk, &q, BH_POLICY_EGRESS);
	}
	if (q.dst.identity >= MANAGER_IDENTITY_FIRST && vm_of(s, q.dst.identity)->selected) {
		take(s, talk, &q, BH_POLICY_INGRESS);
	}
	return 0;
}

/* ---- which label says it best ---- */

static const struct vm *peer_of(struct suggest *s, const struct manager_group_key *key)
{
	return vm_of(s, key->spare == BH_POLICY_EGRESS ? key->dst_identity : key->src_identity);
}

static bool is_labelled(const struct vm *vm)
{
	return vm->labels && vm->same_tenant && json_object_size(vm->labels);
}

/* Values that the peers of a direction have under a label; 0: some peer has it not. */
static size_t values_of(struct suggest *s, uint32_t dir, const char *label)
{
	BH_JSON json_t *values = json_object();

	for (size_t i = 0; i < manager_groups_count(s->groups); i++) {
		const struct manager_group *g = manager_groups_at(s->groups, i);
		const struct vm *vm = peer_of(s, &g->key);
		const char *value;

		if (g->key.spare != dir || !is_labelled(vm)) {
			continue;
		}
		value = json_string_value(json_object_get(vm->labels, label));
		if (!value) {
			return 0;
		}
		json_object_set_new(values, value, json_true());
	}
	return json_object_size(values);
}

static const json_t *labels_of_any_peer(struct suggest *s, uint32_t dir)
{
	for (size_t i = 0; i < manager_groups_count(s->groups); i++) {
		const struct manager_group *g = manager_groups_at(s->groups, i);
		const struct vm *vm = peer_of(s, &g->key);

		if (g->key.spare == dir && is_labelled(vm)) {
			return vm->labels;
		}
	}
	return NULL;
}

static void choose_label(struct suggest *s, uint32_t dir)
{
	const json_t *any = labels_of_any_peer(s, dir);
	size_t fewest = 0;
	const char *label;
	json_t *value;

	for (size_t i = 0; i < s->o->label_count && !s->key[dir]; i++) {
		if (values_of(s, dir, s->o->labels[i].key)) {
			s->key[dir] = s->o->labels[i].key;
		}
	}
	if (s->key[dir]) {
		return;
	}
	json_object_foreach ((json_t *)any, label, value) {
		size_t count = values_of(s, dir, label);

		if (count && (!fewest || count < fewest ||
			      (count == fewest && strcmp(label, s->key[dir]) < 0))) {
			fewest = count;
			s->key[dir] = label;
		}
	}
}

/* ---- other ends as YAML ---- */

static void put_labels(const struct suggest *s, uint32_t dir, const struct vm *vm,
		       struct bh_wbuf *w)
{
	const char *comma = "", *label;
	json_t *value;

	bh_wbuf_str(w, "{selector: {matchLabels: {");
	if (s->key[dir] && vm->same_tenant) {
		bh_wbuf_printf(w, "\"%s\": \"%s\"", s->key[dir],
			       bh_json_str_or(vm->labels, s->key[dir], ""));
	} else {
		json_object_foreach (vm->labels, label, value) {
			bh_wbuf_printf(w, "%s\"%s\": \"%s\"", comma, label,
				       json_string_value(value));
			comma = ", ";
		}
	}
	bh_wbuf_str(w, "}}");
	if (!vm->same_tenant) {
		bh_wbuf_printf(w, ", tenant: %s", vm->tenant);
	}
	bh_wbuf_str(w, "}");
}

/* False when there are no words for it. */
static bool put_peer(struct suggest *s, const struct manager_group_key *key, struct bh_wbuf *w)
{
	bool out = key->spare == BH_POLICY_EGRESS;
	const struct vm *vm = peer_of(s, key);
	char text[BH_ADDR_TEXT_SIZE];

	if (vm->labels && vm->seen && json_object_size(vm->labels)) {
		put_labels(s, key->spare, vm, w);
		return true;
	}
	if (vm->id == IDENTITY_HOST || vm->id == IDENTITY_MULTICAST) {
		bh_wbuf_printf(w, "{entity: %s}", vm->id == IDENTITY_HOST ? "host" : "multicast");
		return true;
	}
	if (vm->id < MANAGER_IDENTITY_FIRST && s->addresses[key->spare] > ADDRESSES_MAX) {
		bh_wbuf_str(w, "{entity: world}");
		return true;
	}
	if (!(key->has_addr & (out ? 2 : 1))) {
		return false;
	}
	bh_addr_format(out ? key->dst : key->src, text);
	bh_wbuf_printf(w, "{cidr: \"%s\"}", text);
	return true;
}

static void count_addresses(struct suggest *s)
{
	struct manager_groups *once = manager_groups_new(2 * (ADDRESSES_MAX + 1));

	for (size_t i = 0; i < manager_groups_count(s->groups); i++) {
		const struct manager_group *g = manager_groups_at(s->groups, i);
		struct manager_group_key key = {.spare = g->key.spare};
		static const struct manager_talk none;
		size_t before = manager_groups_count(once);

		if (peer_of(s, &g->key)->labels) {
			continue;
		}
		memcpy(key.src, g->key.spare == BH_POLICY_EGRESS ? g->key.dst : g->key.src, 16);
		if (!manager_groups_add(once, &key, &none)) {
			/* So many of one direction, or nearly of both. */
			s->addresses[key.spare] = ADDRESSES_MAX + 1;
		}
		s->addresses[key.spare] += manager_groups_count(once) > before;
	}
	manager_groups_free(once);
}

/* ---- rules ---- */

static int compare_services(const void *a, const void *b)
{
	const struct service *x = a, *y = b;
	int r = (x->proto > y->proto) - (x->proto < y->proto);

	return r ? r : (x->port > y->port) - (x->port < y->port);
}

static void add_service(struct term *t, const struct manager_group *g)
{
	struct service service = {g->key.proto, g->key.port};

	bh_vec_foreach (s, &t->services) {
		if (compare_services(s, &service) == 0) {
			return;
		}
	}
	*bh_vec_push(&t->services) = service;
}

static void add_term(struct suggest *s, const struct manager_group *g)
{
	struct bh_wbuf w;
	struct term *t;

	bh_wbuf_init(&w, 0);
	bh_wbuf_u8(&w, (uint8_t)('0' + g->key.spare));
	if (!put_peer(s, &g->key, &w)) {
		bh_wbuf_done(&w);
		return;
	}
	(void)bh_wbuf_cstr(&w);
	HASH_FIND_STR(s->terms, (char *)w.data, t);
	if (t) {
		bh_wbuf_done(&w);
	} else {
		t = bh_alloc(sizeof(*t));
		t->key = (char *)w.data;
		t->peer = t->key + 1;
		t->dir = (enum bh_policy_dir)g->key.spare;
		HASH_ADD_KEYPTR(hh, s->terms, t->key, strlen(t->key), t);
	}
	add_service(t, g);
	t->count += g->count;
	t->last_s = g->last_s > t->last_s ? g->last_s : t->last_s;
}

static bool has_ports(uint8_t proto)
{
	return proto == 6 || proto == 17 || proto == 132;
}

/* One protocol's services, from first to before `end`. */
static void put_ports(const struct term *t, size_t first, size_t end, struct bh_wbuf *w)
{
	char proto[8];

	if (end - first > PORTS_MAX && has_ports(t->services.items[first].proto)) {
		bh_proto_format(t->services.items[first].proto, proto);
		bh_wbuf_printf(w, "%s%s/%u-%u", w->size ? ", " : "", proto,
			       t->services.items[first].port, t->services.items[end - 1].port);
		return;
	}
	for (size_t i = first; i < end; i++) {
		struct bh_policy_service service = {t->services.items[i].proto,
						    t->services.items[i].port};

		bh_wbuf_str(w, w->size ? ", " : "");
		bh_policy_service_format(&service, w);
	}
}

static void name_services(struct term *t)
{
	struct bh_wbuf w;
	size_t first = 0;

	bh_wbuf_init(&w, 0);
	qsort(t->services.items, t->services.count, sizeof(t->services.items[0]), compare_services);
	for (size_t i = 1; i <= t->services.count; i++) {
		if (i == t->services.count ||
		    t->services.items[i].proto != t->services.items[first].proto) {
			put_ports(t, first, i, &w);
			first = i;
		}
	}
	(void)bh_wbuf_cstr(&w);
	t->ports = (char *)w.data;
}

/* The term and all others of its direction with the same services, as one rule. */
static void put_rule(struct suggest *s, struct term *first)
{
	const char *comma = "";
	json_t *peers = json_array();
	uint64_t count = 0;
	uint32_t last_s = 0;
	struct bh_wbuf list;
	struct term *t;

	bh_wbuf_init(&list, 0);
	for (t = first; t; t = t->hh.next) {
		if (t->told || t->dir != first->dir || strcmp(t->ports, first->ports) != 0) {
			continue;
		}
		t->told = true;
		bh_wbuf_printf(&list, "%s%s", comma, t->peer);
		comma = ", ";
		json_array_append_new(peers, json_string(t->peer));
		count += t->count;
		last_s = t->last_s > last_s ? t->last_s : last_s;
	}
	bh_wbuf_printf(&s->text, "  # %llu connections\n  - name: seen-%zu\n    %s: [%s]\n",
		       (unsigned long long)count, json_array_size(s->rules) + 1,
		       first->dir == BH_POLICY_EGRESS ? "to" : "from", bh_wbuf_cstr(&list));
	bh_wbuf_printf(&s->text, "    ports: [%s]\n", first->ports);
	json_array_append_new(s->rules,
			      json_pack("{s:s, s:I, s:o, s:s, s:I, s:o}", "dir",
					bh_policy_dir_name(first->dir), "index",
					(json_int_t)json_array_size(s->rules), "peers", peers,
					"ports", first->ports, "hits", (json_int_t)count,
					"last_hit", manager_words_time(last_s)));
	bh_wbuf_done(&list);
}

static void put_direction(struct suggest *s, enum bh_policy_dir dir)
{
	bool any = false;
	struct term *t;

	for (t = s->terms; t; t = t->hh.next) {
		if (t->dir != dir || t->told ||
		    json_array_size(s->rules) >= MANAGER_SUGGEST_RULES_MAX) {
			continue;
		}
		if (!any) {
			bh_wbuf_printf(&s->text, "  %s:\n", bh_policy_dir_name(dir));
		}
		any = true;
		put_rule(s, t);
	}
}

static int more_first(struct term *a, struct term *b)
{
	return a->count == b->count ? strcmp(a->key, b->key) : a->count > b->count ? -1 : 1;
}

/* "suggested-app-web"; labels hold letters that names don't. */
static void put_name(const struct manager_suggest_options *o, struct bh_wbuf *w)
{
	char name[BH_NAME_MAX + 1] = "suggested";
	size_t len = strlen(name);

	for (size_t i = 0; i < o->label_count; i++) {
		for (const char *p = o->labels[i].value; *p && len + 2 < sizeof(name); p++) {
			char c = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;

			if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
				if (p == o->labels[i].value) {
					name[len++] = '-';
				}
				name[len++] = c;
			}
		}
	}
	name[len] = '\0';
	bh_wbuf_str(w, name);
}

static void write_policy(struct suggest *s)
{
	const struct manager_suggest_options *o = s->o;
	struct term *t;

	bh_wbuf_str(&s->text, "kind: Policy\nmetadata:\n  name: ");
	put_name(o, &s->text);
	bh_wbuf_printf(&s->text, "\n  tenant: %s\nspec:\n  selector: {matchLabels: {", o->tenant);
	for (size_t i = 0; i < o->label_count; i++) {
		bh_wbuf_printf(&s->text, "%s\"%s\": \"%s\"", i ? ", " : "", o->labels[i].key,
			       o->labels[i].value);
	}
	bh_wbuf_str(&s->text, "}}\n");
	for (size_t i = 0; i < manager_groups_count(s->groups); i++) {
		add_term(s, manager_groups_at(s->groups, i));
	}
	HASH_SORT(s->terms, more_first);
	for (t = s->terms; t; t = t->hh.next) {
		name_services(t);
	}
	put_direction(s, BH_POLICY_INGRESS);
	put_direction(s, BH_POLICY_EGRESS);
}

/* ---- does it allow what it was made of? ---- */

static int judge_all(struct suggest *s, struct bh_diag *diag)
{
	struct bh_policy_parse_options options = {.file = "suggestion"};
	struct manager_world *w = s->world;
	int r = bh_policy_parse((const char *)s->text.data, s->text.size, &options, &w->sets[1],
				diag);

	if (r < 0) {
		return r; /* our own text: a mistake of ours, told with its place */
	}
	manager_world_prepare_after(w);
	for (size_t i = 0; i < manager_groups_count(s->groups); i++) {
		const struct manager_group *g = manager_groups_at(s->groups, i);
		bool out = g->key.spare == BH_POLICY_EGRESS;
		struct manager_question q;
		struct bh_policy_question ask;
		struct bh_policy_verdict v;

		manager_group_question(&g->key, &q);
		ask = (struct bh_policy_question){.self = out ? q.src.identity : q.dst.identity,
						  .dir = (enum bh_policy_dir)g->key.spare,
						  .remote = out ? q.dst : q.src,
						  .service = q.service};
		if (bh_policy_asker_ask(w->askers[1], &ask, &v) == 0 &&
		    v.action == BH_POLICY_ALLOW) {
			s->covered += g->count;
		}
	}
	return 0;
}

static void done(struct suggest *s)
{
	struct vm *vm, *vm_tmp;
	struct term *t, *t_tmp;

	HASH_ITER (hh, s->vms, vm, vm_tmp) {
		HASH_DEL(s->vms, vm);
		json_decref(vm->labels);
		free(vm);
	}
	HASH_ITER (hh, s->terms, t, t_tmp) {
		HASH_DEL(s->terms, t);
		bh_vec_done(&t->services);
		free(t->ports);
		free(t->key);
		free(t);
	}
	manager_groups_free(s->groups);
	bh_wbuf_done(&s->text);
	json_decref(s->rules);
}

int manager_suggest_run(const struct manager_suggest_options *o, json_t **ret_json,
			struct bh_diag *diag)
{
	struct suggest s = {.o = o, .world = o->world};
	struct manager_talks_query query = {.path = o->world->talks_path,
					    .since_ns = o->since_ns,
					    .scope = o->scope,
					    .limit_ms = o->limit_ms,
					    .cancel = o->cancel};
	int r;

	bh_counter_add(&suggest_runs, 1);
	s.groups = manager_groups_new(MANAGER_SUGGEST_GROUPS_MAX);
	s.rules = json_array();
	bh_wbuf_init(&s.text, 0);
	r = manager_talks_each(&query, on_talk, &s, diag);
	if (r == 0 || r == -ETIME) {
		s.full = s.full || r == -ETIME;
		r = 0;
		choose_label(&s, BH_POLICY_EGRESS);
		choose_label(&s, BH_POLICY_INGRESS);
		count_addresses(&s);
		write_policy(&s);
		if (json_array_size(s.rules)) {
			r = judge_all(&s, diag);
		}
	}
	if (r == 0) {
		*ret_json = json_pack("{s:s, s:s, s:O, s:I, s:I, s:b}", "tenant", o->tenant,
				      "documents",
				      json_array_size(s.rules) ? bh_wbuf_cstr(&s.text) : "",
				      "rules", s.rules, "flows", (json_int_t)s.flows, "covered",
				      (json_int_t)s.covered, "complete", (int)!s.full);
	}
	done(&s);
	return r;
}
