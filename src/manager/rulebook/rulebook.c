/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/rulebook/rulebook.h"

#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <sodium.h>
#include <uthash.h>

#define HASH_SIZE  crypto_hash_sha256_BYTES
#define RULE_FIRST 16

/* A numbered rule, for ever. */
struct rule {
	struct {
		uint8_t hash[HASH_SIZE]; /* over tenant, policy, direction, what it says, which of
					    equals */
	} key;
	uint32_t number;
	bool saved;
	char *tenant, *policy;
	uint32_t dir;
	char *text; /* of the last time it was seen in a document */
	UT_hash_handle hh, hh_number;
};

/* The numbers of a document's rules. */
struct numbered {
	const struct bh_policy *policy; /* reference held */
	uint32_t *numbers[2];
	bool told; /* its rules' texts speak of its places */
	UT_hash_handle hh;
};

/* When a policy of that name changed last. */
struct since {
	char *name; /* tenant/name */
	uint32_t revision;
	UT_hash_handle hh;
};

struct manager_rulebook {
	struct manager_db *db;
	struct bh_policy_set *set;
	uint32_t revision;
	uint32_t next_rule;
	struct rule *rules, *rules_by_number;
	struct numbered *numbered;
	struct since *since;
	size_t rule_count;
};

/* ---- numbers ---- */

static void hash_text(crypto_hash_sha256_state *st, const char *s)
{
	crypto_hash_sha256_update(st, (const unsigned char *)s, strlen(s) + 1);
}

static void hash_rule(const struct bh_policy *policy, enum bh_policy_dir dir, const char *says,
		      uint32_t which, uint8_t ret[HASH_SIZE])
{
	crypto_hash_sha256_state st;
	uint32_t words[2] = {(uint32_t)dir, which};

	crypto_hash_sha256_init(&st);
	hash_text(&st, bh_policy_tenant(policy));
	hash_text(&st, bh_policy_name(policy));
	crypto_hash_sha256_update(&st, (const unsigned char *)words, sizeof(words));
	hash_text(&st, says);
	crypto_hash_sha256_final(&st, ret);
}

static char *rule_text(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_policy_rule_format(policy, dir, index, &w);
	bh_wbuf_str(&w, ": ");
	bh_policy_rule_describe(policy, dir, index, &w);
	(void)bh_wbuf_cstr(&w);
	return (char *)w.data;
}

static struct rule *add_rule(struct manager_rulebook *book, const uint8_t hash[HASH_SIZE],
			     uint32_t number)
{
	struct rule *rule = bh_alloc(sizeof(*rule));

	memcpy(rule->key.hash, hash, HASH_SIZE);
	rule->number = number;
	HASH_ADD(hh, book->rules, key, sizeof(rule->key), rule);
	HASH_ADD(hh_number, book->rules_by_number, number, sizeof(rule->number), rule);
	return rule;
}

static uint32_t number_rule(struct manager_rulebook *book, const struct bh_policy *policy,
			    enum bh_policy_dir dir, size_t index, const uint8_t hash[HASH_SIZE])
{
	struct rule *rule;

	HASH_FIND(hh, book->rules, hash, HASH_SIZE, rule);
	if (!rule) {
		rule = add_rule(book, hash, book->next_rule++);
		rule->tenant = bh_strdup(bh_policy_tenant(policy));
		rule->policy = bh_strdup(bh_policy_name(policy));
		rule->dir = (uint32_t)dir;
		rule->text = rule_text(policy, dir, index);
	}
	return rule->number;
}

struct twin {
	uint8_t hash[HASH_SIZE];
	uint32_t count;
	UT_hash_handle hh;
};

static void number_direction(struct manager_rulebook *book, struct numbered *n, const json_t *spec,
			     enum bh_policy_dir dir)
{
	const json_t *rules = json_object_get(spec, bh_policy_dir_name(dir));
	size_t count = bh_policy_rule_count(n->policy, dir);
	struct twin *twins = NULL, *twin, *tmp;

	n->numbers[dir] = bh_alloc_array(count + 1, sizeof(uint32_t));
	for (size_t i = 0; i < count; i++) {
		json_t *rule = json_array_get(rules, i);
		BH_FREE char *says = NULL;
		uint8_t hash[HASH_SIZE];

		json_object_del(rule, "line");
		says = bh_json_dump(rule);
		hash_rule(n->policy, dir, says, 0, hash);
		HASH_FIND(hh, twins, hash, HASH_SIZE, twin);
		if (twin) {
			hash_rule(n->policy, dir, says, ++twin->count, hash);
		} else {
			twin = bh_alloc(sizeof(*twin));
			memcpy(twin->hash, hash, HASH_SIZE);
			HASH_ADD(hh, twins, hash, HASH_SIZE, twin);
		}
		n->numbers[dir][i] = number_rule(book, n->policy, dir, i, hash);
	}
	HASH_ITER (hh, twins, twin, tmp) {
		HASH_DEL(twins, twin);
		free(twin);
	}
}

static void number_policy(struct manager_rulebook *book, struct bh_policy *policy)
{
	struct numbered *n;
	BH_JSON json_t *json = NULL;

	HASH_FIND_PTR(book->numbered, &policy, n);
	if (n) {
		return;
	}
	n = bh_alloc(sizeof(*n));
	n->policy = bh_policy_ref(policy);
	json = bh_policy_to_json(policy);
	number_direction(book, n, json_object_get(json, "spec"), BH_POLICY_EGRESS);
	number_direction(book, n, json_object_get(json, "spec"), BH_POLICY_INGRESS);
	HASH_ADD_PTR(book->numbered, policy, n);
}

static void drop_numbered(struct manager_rulebook *book, struct numbered *n)
{
	HASH_DEL(book->numbered, n);
	bh_policy_unref((struct bh_policy *)n->policy);
	free(n->numbers[0]);
	free(n->numbers[1]);
	free(n);
}

uint32_t manager_rulebook_number(const struct bh_policy *policy, enum bh_policy_dir dir,
				 size_t index, void *arg)
{
	struct manager_rulebook *book = arg;
	struct numbered *n;

	HASH_FIND_PTR(book->numbered, &policy, n);
	return n && index < bh_policy_rule_count(policy, dir) ? n->numbers[dir][index] : 0;
}

const char *manager_rulebook_text(const struct manager_rulebook *book, uint32_t number)
{
	struct rule *rule;
	const char *builtin;

	if (number < RULE_FIRST) {
		builtin = bh_policy_builtin_text(number);
		return builtin ? builtin : "";
	}
	HASH_FIND(hh_number, book->rules_by_number, &number, sizeof(number), rule);
	return rule ? rule->text : "";
}

/* Where the rules of the documents stand now. */
static void refresh_texts(struct manager_rulebook *book)
{
	struct numbered *n, *tmp;
	struct rule *rule;

	HASH_ITER (hh, book->numbered, n, tmp) {
		for (int k = 0; k < 2; k++) {
			enum bh_policy_dir dir = (enum bh_policy_dir)k;

			for (size_t i = 0; !n->told && i < bh_policy_rule_count(n->policy, dir);
			     i++) {
				HASH_FIND(hh_number, book->rules_by_number, &n->numbers[dir][i],
					  sizeof(uint32_t), rule);
				if (rule) {
					free(rule->text);
					rule->text = rule_text(n->policy, dir, i);
				}
			}
		}
		n->told = true;
	}
}

/* ---- loading ---- */

static int parse_one(const struct manager_store_policy *row, struct bh_policy_set *into,
		     struct bh_diag *diag)
{
	struct bh_policy_parse_options options = {.file = row->name};
	BH_JSON json_t *source = NULL;
	struct bh_policy_set *one = NULL;
	int r;

	r = bh_policy_parse(row->text, strlen(row->text), &options, &one, diag);
	if (r == 0 && bh_policy_set_count(one) != 1) {
		r = bh_diag_set(diag, -EBADMSG, "a stored policy is not one document");
	}
	if (r == 0) {
		r = bh_json_load(row->source, strlen(row->source), 16u << 20, &source, diag);
	}
	if (r == 0) {
		r = bh_policy_source_load(bh_policy_set_at(one, 0), source, diag);
	}
	if (r == 0) {
		bh_policy_set_put(into, bh_policy_set_at(one, 0));
	} else {
		bh_diag_prefix(diag, "stored policy %s/%s", row->tenant, row->name);
	}
	bh_policy_set_free(one);
	return r;
}

struct load_arg {
	struct manager_rulebook *book;
	struct bh_policy_set *set;
	bool keep; /* remember when each changed */
	struct bh_diag *diag;
};

static void set_since(struct manager_rulebook *book, const char *tenant, const char *name,
		      uint32_t revision)
{
	BH_FREE char *key = bh_asprintf("%s/%s", tenant, name);
	struct since *s;

	HASH_FIND_STR(book->since, key, s);
	if (!s) {
		s = bh_alloc(sizeof(*s));
		s->name = bh_steal(&key);
		HASH_ADD_KEYPTR(hh, book->since, s->name, strlen(s->name), s);
	}
	s->revision = revision;
}

static int load_policy(const struct manager_store_policy *row, void *arg)
{
	struct load_arg *a = arg;

	if (a->keep) {
		set_since(a->book, row->tenant, row->name, row->revision);
	}
	return parse_one(row, a->set, a->diag);
}

static int load_rule(const struct manager_store_rule *row, void *arg)
{
	struct manager_rulebook *book = arg;
	struct rule *rule = add_rule(book, row->hash, row->number);

	rule->saved = true;
	rule->tenant = bh_strdup(row->tenant);
	rule->policy = bh_strdup(row->policy);
	rule->dir = row->dir;
	rule->text = bh_strdup(row->text);
	return 0;
}

int manager_rulebook_at(struct manager_rulebook *book, uint32_t revision,
			struct bh_policy_set **ret, struct bh_diag *diag)
{
	struct load_arg a = {.book = book, .set = bh_policy_set_new(), .diag = diag};
	int r = manager_store_policies(book->db, revision, load_policy, &a, diag);

	if (r < 0) {
		bh_policy_set_free(a.set);
		return r;
	}
	*ret = a.set;
	return 0;
}

static void count_rules(struct manager_rulebook *book)
{
	book->rule_count = 0;
	for (size_t i = 0; i < bh_policy_set_count(book->set); i++) {
		const struct bh_policy *p = bh_policy_set_at(book->set, i);

		book->rule_count += bh_policy_rule_count(p, BH_POLICY_EGRESS) +
				    bh_policy_rule_count(p, BH_POLICY_INGRESS);
	}
}

int manager_rulebook_new(struct manager_db *db, struct manager_rulebook **ret, struct bh_diag *diag)
{
	struct manager_rulebook *book = bh_alloc(sizeof(*book));
	struct load_arg a = {.book = book, .keep = true, .diag = diag};
	int r;

	book->db = db;
	book->set = a.set = bh_policy_set_new();
	book->revision = manager_store_last_revision(db);
	book->next_rule = (uint32_t)manager_db_number(
		db, RULE_FIRST, "SELECT next FROM numbers WHERE name = 'rule'", "");
	r = manager_store_rules(db, load_rule, book, diag);
	if (r == 0) {
		r = manager_store_policies(db, book->revision, load_policy, &a, diag);
	}
	if (r < 0) {
		manager_rulebook_free(book);
		return r;
	}
	for (size_t i = 0; i < bh_policy_set_count(book->set); i++) {
		number_policy(book, bh_policy_set_at(book->set, i));
	}
	refresh_texts(book);
	count_rules(book);
	*ret = book;
	return 0;
}

static void free_rule(struct manager_rulebook *book, struct rule *rule)
{
	HASH_DELETE(hh, book->rules, rule);
	HASH_DELETE(hh_number, book->rules_by_number, rule);
	free(rule->tenant);
	free(rule->policy);
	free(rule->text);
	free(rule);
}

void manager_rulebook_free(struct manager_rulebook *book)
{
	struct numbered *n, *n_tmp;
	struct rule *rule, *r_tmp;
	struct since *s, *s_tmp;

	if (!book) {
		return;
	}
	HASH_ITER (hh, book->numbered, n, n_tmp) {
		drop_numbered(book, n);
	}
	HASH_ITER (hh, book->rules, rule, r_tmp) {
		free_rule(book, rule);
	}
	HASH_ITER (hh, book->since, s, s_tmp) {
		HASH_DEL(book->since, s);
		free(s->name);
		free(s);
	}
	bh_policy_set_free(book->set);
	free(book);
}

const struct bh_policy_set *manager_rulebook_set(const struct manager_rulebook *book)
{
	return book->set;
}

uint32_t manager_rulebook_revision(const struct manager_rulebook *book)
{
	return book->revision;
}

size_t manager_rulebook_rule_count(const struct manager_rulebook *book)
{
	return book->rule_count;
}

uint32_t manager_rulebook_policy_revision(const struct manager_rulebook *book, const char *tenant,
					  const char *name)
{
	BH_FREE char *key = bh_asprintf("%s/%s", tenant, name);
	struct since *s;

	HASH_FIND_STR(book->since, key, s);
	return s ? s->revision : 0;
}

/* ---- committing ---- */

json_t *manager_policy_text(const struct bh_policy_set *set, const char *tenant, const char *name)
{
	const struct bh_policy *p = bh_policy_set_get(set, tenant, name);

	return p ? json_string(bh_policy_canonical(p)) : NULL;
}

static void add_change(json_t *list, const struct bh_policy *policy, const char *change)
{
	json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "tenant", bh_policy_tenant(policy),
					      "name", bh_policy_name(policy), "change", change));
}

json_t *manager_rulebook_changes(const struct manager_rulebook *book,
				 const struct bh_policy_set *set)
{
	json_t *list = json_array();

	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		const struct bh_policy *p = bh_policy_set_at(set, i);
		const struct bh_policy *old =
			bh_policy_set_get(book->set, bh_policy_tenant(p), bh_policy_name(p));

		if (!old) {
			add_change(list, p, "added");
		} else if (old != p &&
			   strcmp(bh_policy_canonical(old), bh_policy_canonical(p)) != 0) {
			add_change(list, p, "changed");
		}
	}
	for (size_t i = 0; i < bh_policy_set_count(book->set); i++) {
		const struct bh_policy *p = bh_policy_set_at(book->set, i);

		if (!bh_policy_set_get(set, bh_policy_tenant(p), bh_policy_name(p))) {
			add_change(list, p, "removed");
		}
	}
	return list;
}

void manager_rulebook_stage(struct manager_rulebook *book, const struct bh_policy_set *set)
{
	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		number_policy(book, bh_policy_set_at(set, i));
	}
}

static int write_policy(struct manager_rulebook *book, const char *tenant, const char *name,
			const struct bh_policy *policy, struct bh_diag *diag)
{
	struct manager_store_policy row = {
		.revision = book->revision + 1, .tenant = tenant, .name = name, .source = "{}"};
	BH_FREE char *source = NULL;

	if (policy) {
		BH_JSON json_t *json = bh_policy_source_dump(policy);

		source = bh_json_dump(json);
		row.source = source;
		row.text = bh_policy_canonical(policy);
	}
	return manager_store_add_policy(book->db, &row, diag);
}

/* What was read anew is written anew, also when only its lines moved; what is gone is marked so. */
static int write_policies(struct manager_rulebook *book, const struct bh_policy_set *set,
			  struct bh_diag *diag)
{
	int r = 0;

	for (size_t i = 0; i < bh_policy_set_count(set) && r == 0; i++) {
		const struct bh_policy *p = bh_policy_set_at(set, i);
		const char *tenant = bh_policy_tenant(p), *name = bh_policy_name(p);

		if (bh_policy_set_get(book->set, tenant, name) != p) {
			r = write_policy(book, tenant, name, p, diag);
		}
	}
	for (size_t i = 0; i < bh_policy_set_count(book->set) && r == 0; i++) {
		const struct bh_policy *p = bh_policy_set_at(book->set, i);
		const char *tenant = bh_policy_tenant(p), *name = bh_policy_name(p);

		if (!bh_policy_set_get(set, tenant, name)) {
			r = write_policy(book, tenant, name, NULL, diag);
		}
	}
	return r;
}

static int write_rules(struct manager_rulebook *book, struct bh_diag *diag)
{
	struct rule *rule, *tmp;
	int r;

	HASH_ITER (hh, book->rules, rule, tmp) {
		struct manager_store_rule row = {.number = rule->number,
						 .revision = book->revision + 1,
						 .tenant = rule->tenant,
						 .policy = rule->policy,
						 .dir = rule->dir,
						 .hash = rule->key.hash,
						 .text = rule->text};

		if (rule->saved) {
			continue;
		}
		r = manager_store_add_rule(book->db, &row, diag);
		if (r < 0) {
			return r;
		}
	}
	return manager_db_run(book->db, diag, "INSERT OR REPLACE INTO numbers VALUES ('rule', ?1)",
			      "u", book->next_rule);
}

int manager_rulebook_write(struct manager_rulebook *book, const struct bh_policy_set *set,
			   const struct manager_commit *commit, struct bh_diag *diag)
{
	BH_FREE char *changes = json_dumps(commit->changes, JSON_COMPACT);
	struct manager_store_revision row = {.number = book->revision + 1,
					     .time_ns = commit->now_ns,
					     .author = commit->author,
					     .summary = commit->summary,
					     .changes = changes};
	int r;

	r = manager_store_add_revision(book->db, &row, diag);
	if (r == 0) {
		r = write_policies(book, set, diag);
	}
	if (r == 0) {
		r = write_rules(book, diag);
	}
	return r;
}

/* Forgets numbers of documents that are in no set any more, or that were staged only. */
static void sweep(struct manager_rulebook *book)
{
	struct numbered *n, *tmp;

	HASH_ITER (hh, book->numbered, n, tmp) {
		if (bh_policy_set_get(book->set, bh_policy_tenant(n->policy),
				      bh_policy_name(n->policy)) != n->policy) {
			drop_numbered(book, n);
		}
	}
}

void manager_rulebook_adopt(struct manager_rulebook *book, struct bh_policy_set *set)
{
	struct rule *rule, *tmp;
	BH_JSON json_t *changes = manager_rulebook_changes(book, set);
	size_t i;
	json_t *change;

	bh_policy_set_free(book->set);
	book->set = set;
	book->revision++;
	json_array_foreach (changes, i, change) {
		set_since(book, bh_json_str_or(change, "tenant", ""),
			  bh_json_str_or(change, "name", ""), book->revision);
	}
	HASH_ITER (hh, book->rules, rule, tmp) {
		rule->saved = true;
	}
	sweep(book);
	refresh_texts(book);
	count_rules(book);
}

void manager_rulebook_abandon(struct manager_rulebook *book)
{
	struct rule *rule, *tmp;
	uint32_t first = book->next_rule;

	HASH_ITER (hh, book->rules, rule, tmp) {
		if (!rule->saved) {
			first = rule->number < first ? rule->number : first;
			free_rule(book, rule);
		}
	}
	/* No host has seen them. */
	book->next_rule = first;
	sweep(book);
}
