/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules share that are read under the same settings, of one rule set or of several: texts,
 * address and port sets, classification, reference keys, categories of reputation, and the rules
 * themselves: one that stands at the same place with the same text is there once, whoever reads it.
 *
 * There is one of these for each state of the settings that rules depend on (its key is the SHA-256
 * over them), found through gate_names, counted by the files that use it. `reading` is held while
 * rules are read; `lock` is of the table of rules, which whoever frees a rule set needs too, and
 * is held for moments only.
 *
 * Texts and sets stay as long as it does, also those of rules that are gone (lists of addresses
 * change every day). So one that has SHARED_TEXT_MAX bytes of them is not found any more: the next
 * rules that are read begin another, and it goes with the last rule set that uses it.
 */
#include "base/file.h"
#include "gate/app/magic.h"
#include "gate/config.h"
#include "gate/hash.h"
#include "gate/rules/reading.h"

#include <openssl/evp.h>
#include <pthread.h>

#define CONFIG_FILE_MAX (1u << 20)
#define KEYWORD_SLOTS	1024u /* a power of two, more than twice the keywords there are */
#define RULE_BUCKETS	32768u
#define SHARED_TEXT_MAX (16u << 20)

struct entry {
	char *text;
	void *value;
};
/* Open addressing by text; never shrinks. */
struct table {
	struct entry *items;
	size_t count, capacity;
};

struct gate_rule_shared {
	struct gate_hash_key hash_key;
	struct table texts, addrs, ports;
	_Atomic size_t text_bytes;	  /* in these */
	uint16_t keywords[KEYWORD_SLOTS]; /* index + 1 in gate_keyword_entries, by hash */
	struct gate_shared_pool *pool;	  /* it is found in */
	uint8_t key[32];
	uint32_t refs; /* the pool's lock */
	pthread_mutex_t reading, lock;
	struct gate_rule **rules; /* RULE_BUCKETS chains; `lock` */
	int8_t magic;		  /* can files be asked for their type: 0 not tried, 1 yes, -1 no */
	BH_VEC(struct gate_class) classes;
	BH_VEC(struct gate_reference_key) references;
	BH_VEC(struct category {
		const char *name;
		uint8_t number;
	})
	categories;
};

static const struct gate_class builtin_classes[] = {
#define CLASS(name, text, priority) {name, text, priority},
#include "gate/rules/classification.def"
#undef CLASS
};
static const struct gate_reference_key builtin_references[] = {
#define REFERENCE(key, prefix) {key, prefix},
#include "gate/rules/reference.def"
#undef REFERENCE
};

bool gate_shared_magic(struct gate_rule_shared *shared)
{
	struct bh_diag diag = {};

	if (!shared->magic) {
		struct gate_magic *magic = gate_magic_new(&diag);

		shared->magic = magic ? 1 : -1;
		gate_magic_free(magic);
	}
	return shared->magic > 0;
}

static size_t hash_text(const struct gate_rule_shared *shared, const char *text)
{
	return (size_t)gate_hash(&shared->hash_key, text, strlen(text));
}

static struct entry *table_slot(const struct gate_rule_shared *shared, const struct table *t,
				const char *text)
{
	size_t i = hash_text(shared, text) & (t->capacity - 1);

	while (t->items[i].text && strcmp(t->items[i].text, text) != 0) {
		i = (i + 1) & (t->capacity - 1);
	}
	return &t->items[i];
}

static struct entry *table_find(const struct gate_rule_shared *shared, const struct table *t,
				const char *text)
{
	struct entry *e = t->capacity ? table_slot(shared, t, text) : NULL;

	return e && e->text ? e : NULL;
}

static struct entry *table_add(struct gate_rule_shared *shared, struct table *t, const char *text)
{
	struct entry *e;

	if (t->count * 2 >= t->capacity) {
		struct table old = *t;

		t->capacity = old.capacity ? old.capacity * 2 : 256;
		t->items = bh_alloc_array(t->capacity, sizeof(*t->items));
		for (size_t i = 0; i < old.capacity; i++) {
			if (old.items[i].text) {
				*table_slot(shared, t, old.items[i].text) = old.items[i];
			}
		}
		free(old.items);
	}
	e = table_slot(shared, t, text);
	if (!e->text) {
		e->text = bh_strdup(text);
		t->count++;
		shared->text_bytes += strlen(text) + 1;
	}
	return e;
}

static void table_done(struct table *t)
{
	for (size_t i = 0; i < t->capacity; i++) {
		free(t->items[i].text);
	}
	free(t->items);
}

/* The slot of a name, or the free one where it belongs. */
static uint16_t *keyword_slot(struct gate_rule_shared *shared, const char *name)
{
	size_t count, i = hash_text(shared, name) % KEYWORD_SLOTS;
	const struct gate_keyword_entry *entries = gate_keyword_entries(&count);

	for (; shared->keywords[i]; i = (i + 1) % KEYWORD_SLOTS) {
		const struct gate_keyword_entry *e = &entries[shared->keywords[i] - 1];

		if (!strcmp(e->name, name) || (e->alias && !strcmp(e->alias, name))) {
			break;
		}
	}
	return &shared->keywords[i];
}

/* The first of a name holds. */
static void add_keyword(struct gate_rule_shared *shared, const char *name, size_t index)
{
	uint16_t *slot = keyword_slot(shared, name);

	if (!*slot) {
		*slot = (uint16_t)(index + 1);
	}
}

static struct gate_rule_shared *shared_new(void)
{
	struct gate_rule_shared *shared = bh_alloc(sizeof(*shared));
	const struct gate_keyword_entry *entries;
	size_t count;

	gate_hash_key_make(&shared->hash_key);
	pthread_mutex_init(&shared->reading, NULL);
	pthread_mutex_init(&shared->lock, NULL);
	shared->rules = bh_alloc_array(RULE_BUCKETS, sizeof(struct gate_rule *));
	entries = gate_keyword_entries(&count);
	for (size_t i = 0; i < count; i++) {
		add_keyword(shared, entries[i].name, i);
		if (entries[i].alias) {
			add_keyword(shared, entries[i].alias, i);
		}
	}
	return shared;
}

const struct gate_keyword_entry *gate_shared_keyword(struct gate_rule_shared *shared,
						     const char *name)
{
	uint16_t index = *keyword_slot(shared, name);
	size_t count;

	return index ? &gate_keyword_entries(&count)[index - 1] : NULL;
}

static void shared_free(struct gate_rule_shared *shared)
{
	for (size_t i = 0; i < shared->addrs.capacity; i++) {
		struct gate_addr_set *set = shared->addrs.items[i].value;

		if (set) {
			bh_vec_done(&set->in);
			free(set);
		}
	}
	for (size_t i = 0; i < shared->ports.capacity; i++) {
		struct gate_port_set *set = shared->ports.items[i].value;

		if (set) {
			bh_vec_done(&set->in);
			free(set);
		}
	}
	table_done(&shared->texts);
	table_done(&shared->addrs);
	table_done(&shared->ports);
	free(shared->rules);
	pthread_mutex_destroy(&shared->reading);
	pthread_mutex_destroy(&shared->lock);
	bh_vec_done(&shared->classes);
	bh_vec_done(&shared->references);
	bh_vec_done(&shared->categories);
	free(shared);
}

const char *gate_shared_text(struct gate_rule_shared *shared, const char *text)
{
	return table_add(shared, &shared->texts, text)->text;
}

struct gate_addr_set *gate_shared_addrs(struct gate_rule_shared *shared, const char *text)
{
	struct entry *e = table_find(shared, &shared->addrs, text);

	return e ? e->value : NULL;
}

struct gate_port_set *gate_shared_ports(struct gate_rule_shared *shared, const char *text)
{
	struct entry *e = table_find(shared, &shared->ports, text);

	return e ? e->value : NULL;
}

void gate_shared_keep_addrs(struct gate_rule_shared *shared, const char *text,
			    struct gate_addr_set *set)
{
	table_add(shared, &shared->addrs, text)->value = set;
}

void gate_shared_keep_ports(struct gate_rule_shared *shared, const char *text,
			    struct gate_port_set *set)
{
	table_add(shared, &shared->ports, text)->value = set;
}

/* ---- files of the configuration ---- */

typedef int line_fn(struct gate_rule_shared *shared, char *line);

/* "config classification: name,text,priority" */
static int class_line(struct gate_rule_shared *shared, char *line)
{
	char *rest = strchr(line, ':'), *name, *text, *priority;
	struct gate_class *class;
	uint64_t v;

	if (strncmp(line, "config classification", 21) != 0 || !rest) {
		return -EINVAL;
	}
	rest++;
	name = gate_part(&rest);
	text = gate_part(&rest);
	priority = gate_part(&rest);
	if (!priority || gate_number_read(priority, 255, &v)) {
		return -EINVAL;
	}
	class = bh_vec_push(&shared->classes);
	class->name = gate_shared_text(shared, name);
	class->text = gate_shared_text(shared, text);
	class->priority = (uint8_t)v;
	return 0;
}

/* "config reference: key prefix" */
static int reference_line(struct gate_rule_shared *shared, char *line)
{
	char *rest = strchr(line, ':'), *key;
	struct gate_reference_key *reference;

	if (strncmp(line, "config reference", 16) != 0 || !rest) {
		return -EINVAL;
	}
	rest++;
	key = gate_word(&rest);
	reference = bh_vec_push(&shared->references);
	reference->key = gate_shared_text(shared, key);
	reference->prefix = gate_shared_text(shared, gate_trim(rest));
	return *key ? 0 : -EINVAL;
}

/* "number,name,text" */
static int category_line(struct gate_rule_shared *shared, char *line)
{
	char *number = gate_part(&line), *name = gate_part(&line);
	struct category *category;
	uint64_t v;

	if (!name || gate_number_read(number, 59, &v)) {
		return -EINVAL;
	}
	category = bh_vec_push(&shared->categories);
	category->name = gate_shared_text(shared, name);
	category->number = (uint8_t)v;
	return 0;
}

static int load_lines(struct gate_rule_shared *shared, const char *path, char *rest, line_fn *fn,
		      struct bh_diag *diag)
{
	unsigned int number = 0;

	while (rest) {
		char *line = gate_trim(strsep(&rest, "\n"));

		number++;
		if (*line && *line != '#' && fn(shared, line)) {
			return bh_diag_at(diag, -EINVAL, path, number, 1,
					  "the line is not understood");
		}
	}
	return 0;
}

/* Files whose lines rules depend on, read once; NULL: it is not configured. */
struct settings {
	const char *paths[3];
	char *texts[3];
	size_t sizes[3];
};
enum { CLASSIFICATION, REFERENCE, CATEGORIES };

static void settings_done(struct settings *s)
{
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(s->texts); i++) {
		free(s->texts[i]);
	}
}

static int settings_read(struct settings *s, const struct gate_config *config, struct bh_diag *diag)
{
	int err = 0;

	if (config) {
		s->paths[CLASSIFICATION] = config->classification_file;
		s->paths[REFERENCE] = config->reference_file;
		s->paths[CATEGORIES] = config->reputation_categories;
	}
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(s->paths) && !err; i++) {
		if (s->paths[i]) {
			err = bh_file_read(s->paths[i], CONFIG_FILE_MAX, &s->texts[i], &s->sizes[i],
					   diag);
		}
	}
	return err;
}

static void digest_text(EVP_MD_CTX *digest, const char *text)
{
	gate_digest_add(digest, text ? text : "", text ? strlen(text) : 0);
}

/* Everything but its text and place that makes a rule what it is. */
static void settings_key(const struct settings *s, const struct gate_config *config,
			 uint8_t ret[32])
{
	EVP_MD_CTX *digest = gate_digest_new();

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(s->texts); i++) {
		gate_digest_add(digest, s->texts[i] ? s->texts[i] : "", s->sizes[i]);
	}
	if (config) {
		bh_vec_foreach (group, &config->groups) {
			digest_text(digest, group->name);
			digest_text(digest, group->value);
			gate_digest_add(digest, &group->ports, sizeof(group->ports));
		}
		gate_digest_add(digest, config->action_order, sizeof(config->action_order));
	}
	gate_digest_get(digest, ret);
	EVP_MD_CTX_free(digest);
}

static int load(struct gate_rule_shared *shared, struct settings *s, struct bh_diag *diag)
{
	int err = 0;

	if (s->texts[CLASSIFICATION]) {
		err = load_lines(shared, s->paths[CLASSIFICATION], s->texts[CLASSIFICATION],
				 class_line, diag);
	} else {
		for (size_t i = 0; i < BH_ARRAY_SIZE(builtin_classes); i++) {
			*bh_vec_push(&shared->classes) = builtin_classes[i];
		}
	}
	if (!err && s->texts[REFERENCE]) {
		err = load_lines(shared, s->paths[REFERENCE], s->texts[REFERENCE], reference_line,
				 diag);
	} else {
		for (size_t i = 0; i < BH_ARRAY_SIZE(builtin_references); i++) {
			*bh_vec_push(&shared->references) = builtin_references[i];
		}
	}
	if (!err && s->texts[CATEGORIES]) {
		err = load_lines(shared, s->paths[CATEGORIES], s->texts[CATEGORIES], category_line,
				 diag);
	}
	return err;
}

/* Under the pool's lock; NULL: there is none that takes more. */
static struct gate_rule_shared *find(struct gate_shared_pool *pool, const uint8_t key[32])
{
	bh_vec_foreach (shared, &pool->all) {
		if (!memcmp((*shared)->key, key, 32) && (*shared)->text_bytes < SHARED_TEXT_MAX) {
			return *shared;
		}
	}
	return NULL;
}

/* Under the pool's lock. */
static void take_out(struct gate_shared_pool *pool, const struct gate_rule_shared *shared)
{
	bh_vec_foreach (at, &pool->all) {
		if (*at == shared) {
			*at = pool->all.items[--pool->all.count];
			return;
		}
	}
}

int gate_shared_take(struct gate_shared_pool *pool, const struct gate_config *config,
		     struct gate_rule_shared **ret, struct bh_diag *diag)
{
	struct settings settings = {};
	uint8_t key[32];
	int err = settings_read(&settings, config, diag);

	if (err) {
		settings_done(&settings);
		return err;
	}
	settings_key(&settings, config, key);
	pthread_mutex_lock(&pool->lock);
	*ret = find(pool, key);
	if (!*ret) {
		*ret = shared_new();
		(*ret)->pool = pool;
		memcpy((*ret)->key, key, sizeof(key));
		err = load(*ret, &settings, diag);
		if (!err) {
			*bh_vec_push(&pool->all) = *ret;
		}
	}
	(*ret)->refs++;
	pthread_mutex_unlock(&pool->lock);
	settings_done(&settings);
	if (err) {
		shared_free(*ret);
		*ret = NULL;
	}
	return err;
}

void gate_shared_release(struct gate_rule_shared *shared)
{
	struct gate_shared_pool *pool = shared ? shared->pool : NULL;
	bool last;

	if (!shared) {
		return;
	}
	pthread_mutex_lock(&pool->lock);
	last = --shared->refs == 0;
	if (last) {
		take_out(pool, shared);
	}
	pthread_mutex_unlock(&pool->lock);
	if (last) {
		shared_free(shared);
	}
}

const uint8_t *gate_shared_key(const struct gate_rule_shared *shared)
{
	return shared->key;
}

void gate_shared_read_begin(struct gate_rule_shared *shared)
{
	pthread_mutex_lock(&shared->reading);
}

void gate_shared_read_end(struct gate_rule_shared *shared)
{
	pthread_mutex_unlock(&shared->reading);
}

/* ---- rules ---- */

static struct gate_rule **bucket_of(struct gate_rule_shared *shared, uint32_t line,
				    const char *text)
{
	return &shared->rules[(hash_text(shared, text) ^ line * 2654435761u) % RULE_BUCKETS];
}

struct gate_rule *gate_shared_rule(struct gate_rule_shared *shared, const char *file, uint32_t line,
				   const char *text)
{
	struct gate_rule *rule;

	pthread_mutex_lock(&shared->lock);
	rule = *bucket_of(shared, line, text);
	while (rule &&
	       (rule->file != file || rule->line != line || strcmp(rule->text, text) != 0)) {
		rule = rule->next_kept;
	}
	if (rule) {
		rule->refs++;
	}
	pthread_mutex_unlock(&shared->lock);
	return rule;
}

void gate_shared_keep_rule(struct gate_rule_shared *shared, struct gate_rule *rule)
{
	struct gate_rule **bucket;

	pthread_mutex_lock(&shared->lock);
	bucket = bucket_of(shared, rule->line, rule->text);
	rule->refs = 1;
	rule->next_kept = *bucket;
	*bucket = rule;
	pthread_mutex_unlock(&shared->lock);
}

static bool forget(struct gate_rule_shared *shared, struct gate_rule *rule)
{
	struct gate_rule **at;

	if (!rule->refs) {
		return true; /* nobody else could find it */
	}
	if (--rule->refs) {
		return false;
	}
	at = bucket_of(shared, rule->line, rule->text);
	while (*at != rule) {
		at = &(*at)->next_kept;
	}
	*at = rule->next_kept;
	return true;
}

void gate_shared_drop_rules(struct gate_rule_shared *shared, struct gate_rule **rules, size_t count)
{
	size_t gone = 0;

	if (!shared) {
		return; /* nothing was read */
	}
	pthread_mutex_lock(&shared->lock);
	for (size_t i = 0; i < count; i++) {
		if (forget(shared, rules[i])) {
			rules[gone++] = rules[i];
		}
	}
	pthread_mutex_unlock(&shared->lock);
	for (size_t i = 0; i < gone; i++) {
		gate_rule_free(rules[i]);
	}
}

/* ---- what is asked for ---- */

const struct gate_class *gate_shared_class(struct gate_rule_shared *shared, const char *name)
{
	bh_vec_foreach (c, &shared->classes) {
		if (!strcasecmp(c->name, name)) {
			return c;
		}
	}
	return NULL;
}

const struct gate_reference_key *gate_shared_reference(struct gate_rule_shared *shared,
						       const char *key)
{
	bh_vec_foreach (reference, &shared->references) {
		if (!strcasecmp(reference->key, key)) {
			return reference;
		}
	}
	return NULL;
}

int gate_shared_category(struct gate_rule_shared *shared, const char *name)
{
	bh_vec_foreach (c, &shared->categories) {
		if (!strcasecmp(c->name, name)) {
			return c->number;
		}
	}
	return -ENOENT;
}
