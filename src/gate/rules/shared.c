/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rules of one set share and what lives as long as it: texts, address and port sets,
 * classification, reference keys, categories of reputation, and the numbers that are taken.
 */
#include "base/file.h"
#include "gate/app/magic.h"
#include "gate/config.h"
#include "gate/rules/reading.h"

#include <openssl/evp.h>

#define CONFIG_FILE_MAX (1u << 20)
#define KEYWORD_SLOTS	1024u /* a power of two, more than twice the keywords there are */

struct entry {
	char *text;
	void *value;
};
/* Open addressing by text; never shrinks. */
struct table {
	struct entry *items;
	size_t count, capacity;
};

struct sid_entry {
	uint32_t gid, sid;
	size_t index; /* + 1; 0: free */
};

struct gate_rule_shared {
	struct table texts, addrs, ports;
	uint16_t keywords[KEYWORD_SLOTS]; /* index + 1 in gate_keyword_entries, by hash */
	struct {
		struct sid_entry *items;
		size_t count, capacity;
	} sids;
	EVP_MD_CTX *digest;
	bool loaded;
	int8_t magic; /* can files be asked for their type: 0 not tried, 1 yes, -1 no */
	const struct gate_config *config; /* of the last file that was read */
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

static size_t hash_text(const char *text)
{
	uint64_t h = 14695981039346656037ull; /* FNV-1a */

	for (; *text; text++) {
		h = (h ^ (uint8_t)*text) * 1099511628211ull;
	}
	return (size_t)(h ^ h >> 32);
}

static struct entry *table_slot(const struct table *t, const char *text)
{
	size_t i = hash_text(text) & (t->capacity - 1);

	while (t->items[i].text && strcmp(t->items[i].text, text) != 0) {
		i = (i + 1) & (t->capacity - 1);
	}
	return &t->items[i];
}

static struct entry *table_find(const struct table *t, const char *text)
{
	struct entry *e = t->capacity ? table_slot(t, text) : NULL;

	return e && e->text ? e : NULL;
}

static struct entry *table_add(struct table *t, const char *text)
{
	struct entry *e;

	if (t->count * 2 >= t->capacity) {
		struct table old = *t;

		t->capacity = old.capacity ? old.capacity * 2 : 256;
		t->items = bh_alloc_array(t->capacity, sizeof(*t->items));
		for (size_t i = 0; i < old.capacity; i++) {
			if (old.items[i].text) {
				*table_slot(t, old.items[i].text) = old.items[i];
			}
		}
		free(old.items);
	}
	e = table_slot(t, text);
	if (!e->text) {
		e->text = bh_strdup(text);
		t->count++;
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
	size_t count, i = hash_text(name) % KEYWORD_SLOTS;
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

struct gate_rule_shared *gate_rule_shared_new(void)
{
	struct gate_rule_shared *shared = bh_alloc(sizeof(*shared));
	const struct gate_keyword_entry *entries;
	size_t count;

	shared->digest = EVP_MD_CTX_new();
	if (!shared->digest || !EVP_DigestInit_ex(shared->digest, EVP_sha256(), NULL)) {
		abort(); /* out of memory */
	}
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

void gate_rule_shared_free(struct gate_rule_shared *shared)
{
	if (!shared) {
		return;
	}
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
	free(shared->sids.items);
	bh_vec_done(&shared->classes);
	bh_vec_done(&shared->references);
	bh_vec_done(&shared->categories);
	EVP_MD_CTX_free(shared->digest);
	free(shared);
}

const char *gate_shared_text(struct gate_rule_shared *shared, const char *text)
{
	return table_add(&shared->texts, text)->text;
}

struct gate_addr_set *gate_shared_addrs(struct gate_rule_shared *shared, const char *text)
{
	struct entry *e = table_find(&shared->addrs, text);

	return e ? e->value : NULL;
}

struct gate_port_set *gate_shared_ports(struct gate_rule_shared *shared, const char *text)
{
	struct entry *e = table_find(&shared->ports, text);

	return e ? e->value : NULL;
}

void gate_shared_keep_addrs(struct gate_rule_shared *shared, const char *text,
			    struct gate_addr_set *set)
{
	table_add(&shared->addrs, text)->value = set;
}

void gate_shared_keep_ports(struct gate_rule_shared *shared, const char *text,
			    struct gate_port_set *set)
{
	table_add(&shared->ports, text)->value = set;
}

/* ---- numbers that are taken ---- */

static struct sid_entry *sid_slot(const struct gate_rule_shared *shared, uint32_t gid, uint32_t sid)
{
	size_t mask = shared->sids.capacity - 1;
	size_t i = (sid * 2654435761u ^ gid * 40503u) & mask;

	while (shared->sids.items[i].index &&
	       (shared->sids.items[i].gid != gid || shared->sids.items[i].sid != sid)) {
		i = (i + 1) & mask;
	}
	return &shared->sids.items[i];
}

size_t gate_shared_sid(struct gate_rule_shared *shared, uint32_t gid, uint32_t sid)
{
	return shared->sids.capacity ? sid_slot(shared, gid, sid)->index : 0;
}

void gate_shared_keep_sid(struct gate_rule_shared *shared, uint32_t gid, uint32_t sid, size_t index)
{
	struct sid_entry *e;

	if (shared->sids.count * 2 >= shared->sids.capacity) {
		struct sid_entry *old = shared->sids.items;
		size_t capacity = shared->sids.capacity;

		shared->sids.capacity = capacity ? capacity * 2 : 1024;
		shared->sids.items =
			bh_alloc_array(shared->sids.capacity, sizeof(*shared->sids.items));
		for (size_t i = 0; i < capacity; i++) {
			if (old[i].index) {
				*sid_slot(shared, old[i].gid, old[i].sid) = old[i];
			}
		}
		free(old);
	}
	e = sid_slot(shared, gid, sid);
	shared->sids.count += !e->index;
	*e = (struct sid_entry){.gid = gid, .sid = sid, .index = index};
}

/* ---- the hash of all that was read ---- */

void gate_shared_digest(struct gate_rule_shared *shared, const void *data, size_t size)
{
	uint64_t prefix = size; /* so that "ab","c" is not "a","bc" */

	if (!EVP_DigestUpdate(shared->digest, &prefix, sizeof(prefix)) ||
	    !EVP_DigestUpdate(shared->digest, data, size)) {
		abort(); /* SHA-256 in memory can't fail */
	}
}

void gate_shared_digest_get(struct gate_rule_shared *shared, uint8_t ret[32])
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();

	if (!copy || !EVP_MD_CTX_copy_ex(copy, shared->digest) ||
	    !EVP_DigestFinal_ex(copy, ret, NULL)) {
		abort(); /* out of memory */
	}
	EVP_MD_CTX_free(copy);
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

static int load_lines(struct gate_rule_shared *shared, const char *path, line_fn *fn,
		      struct bh_diag *diag)
{
	BH_FREE char *data = NULL;
	char *rest;
	size_t size;
	unsigned int number = 0;
	int err;

	err = bh_file_read(path, CONFIG_FILE_MAX, &data, &size, diag);
	if (err) {
		return err;
	}
	gate_shared_digest(shared, data, size);
	rest = data;
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

int gate_shared_load(struct gate_rule_shared *shared, const struct gate_config *config,
		     struct bh_diag *diag)
{
	int err = 0;

	shared->config = config;
	if (shared->loaded) {
		return 0;
	}
	shared->loaded = true;
	if (config && config->classification_file) {
		err = load_lines(shared, config->classification_file, class_line, diag);
	} else {
		for (size_t i = 0; i < BH_ARRAY_SIZE(builtin_classes); i++) {
			*bh_vec_push(&shared->classes) = builtin_classes[i];
		}
	}
	if (!err && config && config->reference_file) {
		err = load_lines(shared, config->reference_file, reference_line, diag);
	} else {
		for (size_t i = 0; i < BH_ARRAY_SIZE(builtin_references); i++) {
			*bh_vec_push(&shared->references) = builtin_references[i];
		}
	}
	if (!err && config && config->reputation_categories) {
		err = load_lines(shared, config->reputation_categories, category_line, diag);
	}
	return err;
}

const struct gate_config *gate_shared_config(const struct gate_rule_shared *shared)
{
	return shared->config;
}

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
