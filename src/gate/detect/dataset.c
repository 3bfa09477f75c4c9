/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datasets (dataset.h). Files: one value a line, as Suricata writes them (strings in base64, hashes
 * in hex, addresses as text), with ",reputation" behind it for datarep; or JSON.
 */
#include "gate/detect/dataset.h"

#include "base/buf.h"
#include "base/counter.h"
#include "base/file.h"
#include "base/util.h"
#include "gate/config.h"
#include "gate/detect/inspect.h"
#include "gate/detect/shared.h"
#include "gate/hash.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define MEMCAP	      (100u << 20)
#define FILE_SIZE_MAX (1u << 30)
#define FILE_ROOM     4		  /* times what a dataset may hold: base64, hex, comments */
#define JSON_SIZE_MAX (64u << 20) /* read as a whole, it takes many times that */
#define VALUE_MAX     65535
#define BUCKETS_MIN   1024
#define NAME_MAX_DNS  255 /* bytes of a name whose parents are looked up: RFC 1035, 2.3.4 */

BH_COUNTER(gate_dataset_full, "values of datasets that found no room (memcap)");
BH_COUNTER(gate_dataset_bad, "lines of dataset files that could not be read");

struct value {
	struct value *next;
	uint16_t rep;
	uint16_t size;
	uint8_t bytes[];
};

/* Values come out of traffic too. */
struct table {
	struct value **buckets;
	uint32_t size, count; /* buckets, a power of two; values */
	struct gate_hash_key key;
};

struct set {
	struct gate_datasets *datasets;
	struct set *next;
	char *name, *state;
	int type;
	uint64_t used, memcap;
	pthread_rwlock_t lock;
	struct table table;
	struct stat file; /* of `load` when it was read */
};

struct gate_dataset_ref {
	struct set *set;
	struct gate_dataset_ref *next;
	struct gate_test rep;
	int cmd;
	bool subdomain;
};

struct gate_datasets {
	const struct gate_config *config;
	pthread_mutex_t lock;
	struct set *sets;
	struct gate_dataset_ref *refs;
	_Atomic uint64_t used; /* by all sets: values, buckets, themselves */
};

#define SET_SIZE (sizeof(struct set) + BUCKETS_MIN * sizeof(struct value *))

struct gate_datasets *gate_datasets_new(const struct gate_config *config)
{
	struct gate_datasets *datasets = bh_alloc(sizeof(*datasets));

	datasets->config = config;
	pthread_mutex_init(&datasets->lock, NULL);
	return datasets;
}

static bool charge_all(struct gate_datasets *datasets, uint64_t bytes)
{
	uint64_t max = datasets->config->datasets_memcap;
	uint64_t used = atomic_fetch_add(&datasets->used, bytes) + bytes;

	if (max && used > max) {
		datasets->used -= bytes;
		return false;
	}
	return true;
}

/* What a set grows by, out of its own memory and that of all. */
static bool charge(struct set *set, uint64_t bytes)
{
	if (bytes > set->memcap - set->used || !charge_all(set->datasets, bytes)) {
		return false;
	}
	set->used += bytes;
	return true;
}

static void uncharge(struct set *set, uint64_t bytes)
{
	set->used -= bytes;
	set->datasets->used -= bytes;
}

static void set_free(struct set *set)
{
	set->datasets->used -= set->used + SET_SIZE;
	for (uint32_t i = 0; i < set->table.size; i++) {
		while (set->table.buckets[i]) {
			struct value *next = set->table.buckets[i]->next;

			free(set->table.buckets[i]);
			set->table.buckets[i] = next;
		}
	}
	pthread_rwlock_destroy(&set->lock);
	free(set->table.buckets);
	free(set->name);
	free(set->state);
	free(set);
}

void gate_datasets_free(struct gate_datasets *datasets)
{
	while (datasets->sets) {
		struct set *next = datasets->sets->next;

		set_free(datasets->sets);
		datasets->sets = next;
	}
	while (datasets->refs) {
		struct gate_dataset_ref *next = datasets->refs->next;

		free(datasets->refs);
		datasets->refs = next;
	}
	pthread_mutex_destroy(&datasets->lock);
	free(datasets);
}

static struct value **bucket_of(const struct table *table, const uint8_t *data, uint32_t size)
{
	return &table->buckets[gate_hash(&table->key, data, size) & (table->size - 1)];
}

/* As many buckets again, where memcap lets it; without, chains grow longer. */
static void grow(struct set *set)
{
	struct table *old = &set->table, fresh = *old;
	size_t need = (size_t)old->size * sizeof(*old->buckets);

	if (!charge(set, need)) {
		return;
	}
	fresh.size = 2 * old->size;
	fresh.buckets = calloc(fresh.size, sizeof(*fresh.buckets));
	if (!fresh.buckets) {
		uncharge(set, need);
		return;
	}
	for (uint32_t i = 0; i < old->size; i++) {
		while (old->buckets[i]) {
			struct value *v = old->buckets[i];
			struct value **bucket = bucket_of(&fresh, v->bytes, v->size);

			old->buckets[i] = v->next;
			v->next = *bucket;
			*bucket = v;
		}
	}
	free(old->buckets);
	*old = fresh;
}

static struct value *find(const struct set *set, const uint8_t *data, uint32_t size)
{
	struct value *v = *bucket_of(&set->table, data, size);

	while (v && (v->size != size || memcmp(v->bytes, data, size) != 0)) {
		v = v->next;
	}
	return v;
}

/* True: it was not there before. Under the lock, for writing. */
static bool insert(struct set *set, const uint8_t *data, uint32_t size, uint16_t rep)
{
	struct value *v = find(set, data, size), **bucket;
	size_t need = sizeof(*v) + size;

	if (v) {
		v->rep = rep;
		return false;
	}
	if (!charge(set, need)) {
		bh_counter_add(&gate_dataset_full, 1);
		return false;
	}
	v = bh_alloc(need);
	if (++set->table.count > set->table.size) {
		grow(set);
	}
	bucket = bucket_of(&set->table, data, size);
	v->next = *bucket;
	v->rep = rep;
	v->size = (uint16_t)size;
	memcpy(v->bytes, data, size);
	*bucket = v;
	return true;
}

static bool take_out(struct set *set, const uint8_t *data, uint32_t size)
{
	for (struct value **p = bucket_of(&set->table, data, size); *p; p = &(*p)->next) {
		struct value *v = *p;

		if (v->size == size && !memcmp(v->bytes, data, size)) {
			*p = v->next;
			uncharge(set, sizeof(*v) + size);
			set->table.count--;
			free(v);
			return true;
		}
	}
	return false;
}

/* ---- files ---- */

/* A value as text into its bytes; size, or < 0. */
static int parse_value(int type, const char *text, size_t len, uint8_t *ret, bool encoded)
{
	char copy[INET6_ADDRSTRLEN + 1];
	size_t bytes = type == GATE_DATA_MD5 ? 16 : 32;

	switch (type) {
	case GATE_DATA_STRING:
		if (encoded) {
			return (int)gate_base64_decode((const uint8_t *)text, (uint32_t)len, ret,
						       VALUE_MAX, GATE_BASE64_STRICT);
		}
		if (len > VALUE_MAX) {
			return -EINVAL;
		}
		memcpy(ret, text, len);
		return (int)len;
	case GATE_DATA_MD5:
	case GATE_DATA_SHA256: {
		char digits[65];

		if (len != 2 * bytes) {
			return -EINVAL;
		}
		memcpy(digits, text, len);
		digits[len] = 0;
		return bh_hex_parse(digits, ret, bytes) ? -EINVAL : (int)bytes;
	}
	default:
		if (len >= sizeof(copy)) {
			return -EINVAL;
		}
		memcpy(copy, text, len);
		copy[len] = 0;
		memset(ret, 0, 16);
		if (inet_pton(AF_INET, copy, ret) == 1) {
			return 4;
		}
		if (inet_pton(AF_INET6, copy, ret) != 1) {
			return -EINVAL;
		}
		/* ::ffff:a.b.c.d is the IPv4 address. */
		if (!memcmp(ret, (uint8_t[12]){[10] = 0xff, [11] = 0xff}, 12)) {
			memmove(ret, ret + 12, 4);
			return 4;
		}
		return 16;
	}
}

static void load_line(struct set *set, char *line, uint8_t *value)
{
	char *comma = strchr(line, ',');
	size_t len = comma ? (size_t)(comma - line) : strlen(line);
	uint64_t rep = 0;
	int size;

	while (len && (line[len - 1] == '\r' || line[len - 1] == ' ')) {
		len--;
	}
	if (!len || line[0] == '#') {
		return;
	}
	if (comma) {
		comma[1 + strcspn(comma + 1, "\r ")] = 0;
	}
	size = parse_value(set->type, line, len, value, true);
	if (size <= 0 || (comma && bh_parse_u64(comma + 1, 0, UINT16_MAX, &rep))) {
		bh_counter_add(&gate_dataset_bad, 1);
		return;
	}
	insert(set, value, (uint32_t)size, (uint16_t)rep);
}

/* A member by its path, parts joined by dots. */
static const json_t *member(const json_t *json, const char *path)
{
	BH_FREE char *copy = bh_strdup(path);
	char *save = NULL;

	for (char *part = strtok_r(copy, ".", &save); part && json;
	     part = strtok_r(NULL, ".", &save)) {
		json = json_object_get(json, part);
	}
	return json;
}

static void load_json_value(struct set *set, const struct gate_dataset *how, const json_t *item,
			    uint8_t *value)
{
	const json_t *text = how->value_key ? member(item, how->value_key) : item;
	const char *s = json_string_value(text);
	int size = s ? parse_value(set->type, s, json_string_length(text), value, false) : -EINVAL;

	if (size <= 0) {
		bh_counter_add(&gate_dataset_bad, 1);
		return;
	}
	insert(set, value, (uint32_t)size, 0);
}

static int load_json(struct set *set, const struct gate_dataset *how, char *data, size_t size,
		     uint8_t *value)
{
	json_t *root = json_loadb(data, size, JSON_DECODE_ANY, NULL);
	const json_t *array = root;
	json_t *item;
	size_t i;

	if (root && how->array_key) {
		array = member(root, how->array_key);
	}
	if (!json_is_array(array)) {
		json_decref(root);
		return -EBADMSG;
	}
	json_array_foreach (array, i, item) {
		load_json_value(set, how, item, value);
	}
	json_decref(root);
	return 0;
}

static void load_ndjson(struct set *set, const struct gate_dataset *how, char *data, uint8_t *value)
{
	char *save = NULL;

	for (char *line = strtok_r(data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		json_t *item = json_loads(line, JSON_DECODE_ANY, NULL);

		load_json_value(set, how, item, value);
		json_decref(item);
	}
}

static int load(struct set *set, const struct gate_dataset *how, const char *path,
		struct bh_diag *diag)
{
	BH_FREE uint8_t *value = bh_alloc(VALUE_MAX + 1);
	BH_FREE char *data = NULL;
	char *save = NULL;
	size_t size, most = how->format == GATE_DATA_JSON	      ? JSON_SIZE_MAX
			    : set->memcap < FILE_SIZE_MAX / FILE_ROOM ? set->memcap * FILE_ROOM
								      : FILE_SIZE_MAX;
	int r = bh_file_read(path, most, &data, &size, diag);

	if (r) {
		return r;
	}
	if (how->format == GATE_DATA_JSON) {
		r = load_json(set, how, data, size, value);
		return r ? bh_diag_set(diag, r, "%s: no array of values", path) : 0;
	}
	if (how->format == GATE_DATA_NDJSON) {
		load_ndjson(set, how, data, value);
		return 0;
	}
	for (char *line = strtok_r(data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		load_line(set, line, value);
	}
	return 0;
}

static char *state_path(const struct gate_datasets *datasets, const char *name)
{
	return name[0] == '/' || !datasets->config->data_dir
		       ? bh_strdup(name)
		       : bh_asprintf("%s/%s", datasets->config->data_dir, name);
}

static int set_new(struct gate_datasets *datasets, const struct gate_dataset *how, struct set **ret,
		   struct bh_diag *diag)
{
	uint64_t most =
		datasets->config->dataset_memcap ? datasets->config->dataset_memcap : MEMCAP;
	struct set *set;

	if (how->memcap > most) {
		return bh_diag_set(diag, -E2BIG,
				   "dataset %s asks for %u bytes; datasets.defaults.memcap lets "
				   "each have %llu",
				   how->name, how->memcap, (unsigned long long)most);
	}
	if (!charge_all(datasets, SET_SIZE)) {
		return bh_diag_set(diag, -ENOSPC,
				   "dataset %s: no memory is left of datasets.memcap", how->name);
	}
	set = *ret = bh_alloc(sizeof(*set));
	set->datasets = datasets;
	set->name = bh_strdup(how->name);
	set->type = (int)how->type;
	set->memcap = how->memcap ? how->memcap : most;
	set->table.size = BUCKETS_MIN;
	set->table.buckets = bh_alloc_array(BUCKETS_MIN, sizeof(*set->table.buckets));
	gate_hash_key_make(&set->table.key);
	pthread_rwlock_init(&set->lock, NULL);
	return 0;
}

/* Before it is read: what is written later makes it another one. */
static int load_file(struct set *set, const struct gate_dataset *how, struct bh_diag *diag)
{
	if (stat(how->load, &set->file) < 0) {
		set->file = (struct stat){};
	}
	return load(set, how, how->load, diag);
}

static bool is_newer(const struct set *set, const char *path)
{
	struct stat st;

	return !stat(path, &st) &&
	       (st.st_ino != set->file.st_ino || st.st_size != set->file.st_size ||
		st.st_mtim.tv_sec != set->file.st_mtim.tv_sec ||
		st.st_mtim.tv_nsec != set->file.st_mtim.tv_nsec);
}

/* Rules are loaded anew and the file has other values: they take the place of what is there, at
 * once and for every rule set. One that can't be read leaves it. */
static int load_again(struct gate_datasets *datasets, struct set *set,
		      const struct gate_dataset *how, struct bh_diag *diag)
{
	struct set *fresh = NULL;
	struct table table;
	uint64_t used;
	int r = set_new(datasets, how, &fresh, diag);

	if (r) {
		return r;
	}
	r = load_file(fresh, how, diag);
	if (!r) {
		pthread_rwlock_wrlock(&set->lock);
		table = set->table; /* workers put values into it until now */
		used = set->used;
		set->table = fresh->table;
		set->used = fresh->used;
		set->file = fresh->file;
		pthread_rwlock_unlock(&set->lock);
		fresh->table = table;
		fresh->used = used;
	}
	set_free(fresh);
	return r;
}

static int open_set(struct gate_datasets *datasets, const struct gate_dataset *how,
		    struct set **ret, struct bh_diag *diag)
{
	struct set *set = datasets->sets;
	struct stat st;
	int r = 0;

	while (set && strcmp(set->name, how->name) != 0) {
		set = set->next;
	}
	if (set) {
		*ret = set;
		if (set->type != (int)how->type) {
			return bh_diag_set(diag, -EINVAL, "dataset %s has another type", how->name);
		}
		return how->load && !set->state && is_newer(set, how->load)
			       ? load_again(datasets, set, how, diag)
			       : 0;
	}
	r = set_new(datasets, how, &set, diag);
	if (r) {
		return r;
	}
	if (how->state) {
		set->state = state_path(datasets, how->state);
	}
	if (how->load) {
		r = load_file(set, how, diag);
	} else if (set->state && !stat(set->state, &st)) {
		r = load(set, how, set->state, diag);
	}
	if (r) {
		set_free(set);
		return r;
	}
	set->next = datasets->sets;
	datasets->sets = set;
	*ret = set;
	return 0;
}

int gate_dataset_open(struct gate_shared *shared, const struct gate_config *config,
		      const struct gate_dataset *how, struct gate_dataset_ref **ret,
		      struct bh_diag *diag)
{
	struct gate_datasets *datasets = gate_shared_datasets(shared);
	struct gate_dataset_ref *ref;
	struct set *set;
	int r;

	pthread_mutex_lock(&datasets->lock);
	r = open_set(datasets, how, &set, diag);
	if (!r) {
		for (ref = datasets->refs;
		     ref && (ref->set != set || ref->cmd != (int)how->cmd ||
			     ref->subdomain != how->subdomain ||
			     memcmp(&ref->rep, &how->rep, sizeof(ref->rep)) != 0);
		     ref = ref->next) {
		}
		if (!ref) {
			ref = bh_alloc(sizeof(*ref));
			ref->set = set;
			ref->cmd = (int)how->cmd;
			ref->rep = how->rep;
			ref->subdomain = how->subdomain;
			ref->next = datasets->refs;
			datasets->refs = ref;
		}
		*ret = ref;
	}
	pthread_mutex_unlock(&datasets->lock);
	return r;
}

static void save_value(struct bh_wbuf *w, const struct set *set, const struct value *v)
{
	char text[INET6_ADDRSTRLEN], hex[2 * 32 + 1];

	if (set->type == GATE_DATA_STRING) {
		BH_FREE unsigned char *b64 = bh_alloc((size_t)v->size * 2 + 8);
		int n = EVP_EncodeBlock(b64, v->bytes, v->size);

		bh_wbuf_put(w, b64, (size_t)n);
	} else if (set->type == GATE_DATA_MD5 || set->type == GATE_DATA_SHA256) {
		bh_hex_format(v->bytes, v->size, hex);
		bh_wbuf_str(w, hex);
	} else if (inet_ntop(v->size == 4 ? AF_INET : AF_INET6, v->bytes, text, sizeof(text))) {
		bh_wbuf_str(w, text);
	}
	if (v->rep) {
		bh_wbuf_printf(w, ",%u", v->rep);
	}
	bh_wbuf_str(w, "\n");
}

int gate_datasets_save(struct gate_datasets *datasets, struct bh_diag *diag)
{
	int err = 0;

	pthread_mutex_lock(&datasets->lock);
	for (struct set *set = datasets->sets; set; set = set->next) {
		struct bh_wbuf w;
		int r;

		if (!set->state) {
			continue;
		}
		bh_wbuf_init(&w, 0);
		pthread_rwlock_rdlock(&set->lock);
		for (uint32_t i = 0; i < set->table.size; i++) {
			for (const struct value *v = set->table.buckets[i]; v; v = v->next) {
				save_value(&w, set, v);
			}
		}
		pthread_rwlock_unlock(&set->lock);
		r = bh_file_replace(set->state, w.data, w.size, 0640, diag);
		err = err ? err : r;
		bh_wbuf_done(&w);
	}
	pthread_mutex_unlock(&datasets->lock);
	return err;
}

/* ---- rules ---- */

/* The value, or what is behind each of its dots where it is no longer than names are. */
static const struct value *look_up(const struct gate_dataset_ref *ref, const uint8_t *data,
				   uint32_t size)
{
	const struct value *v = find(ref->set, data, size);

	while (!v && ref->subdomain && size <= NAME_MAX_DNS) {
		const uint8_t *dot = memchr(data, '.', size);

		if (!dot) {
			break;
		}
		/* Values may have been put there with dotprefix. */
		size -= (uint32_t)(dot - data);
		v = find(ref->set, dot, size--);
		data = dot + 1;
		v = v || !size ? v : find(ref->set, data, size);
	}
	return v;
}

static bool fits(const struct set *set, uint32_t size)
{
	switch (set->type) {
	case GATE_DATA_MD5:
		return size == 16;
	case GATE_DATA_SHA256:
		return size == 32;
	case GATE_DATA_IPV4:
		return size == 4;
	case GATE_DATA_IP:
		return size == 4 || size == 16;
	default:
		return size > 0 && size <= VALUE_MAX;
	}
}

bool gate_dataset_match(struct gate_dataset_ref *ref, const uint8_t *data, uint32_t size)
{
	struct set *set = ref->set;
	const struct value *v;
	bool holds;

	if (!fits(set, size)) {
		return false;
	}
	if (ref->cmd == GATE_DATA_SET || ref->cmd == GATE_DATA_UNSET) {
		pthread_rwlock_wrlock(&set->lock);
		holds = ref->cmd == GATE_DATA_SET ? insert(set, data, size, 0)
						  : take_out(set, data, size);
		pthread_rwlock_unlock(&set->lock);
		return holds;
	}
	pthread_rwlock_rdlock(&set->lock);
	v = look_up(ref, data, size);
	holds = ref->cmd == GATE_DATA_REP ? v && gate_test_holds(&ref->rep, v->rep)
					  : (v != NULL) == (ref->cmd == GATE_DATA_ISSET);
	pthread_rwlock_unlock(&set->lock);
	return holds;
}
