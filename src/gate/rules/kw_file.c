/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords about files, lists of their hashes, and sets of values (datasets). */
#include "base/file.h"
#include "gate/rules/reading.h"

#include <ctype.h>
#include <sys/stat.h>

#define HASH_FILE_MAX (256u << 20)

static int add_file(struct gate_reading *r, struct gate_match **ret)
{
	*ret = gate_tx_match(r, GATE_M_FILE);
	return *ret ? 0 : -EINVAL;
}

int gate_kw_filesize(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_match *match;
	struct gate_test test;
	int err;

	if (gate_test_read(o->value, UINT64_MAX, &test)) {
		return gate_refuse(r, "filesize: %s is no size that can be", o->value);
	}
	err = add_file(r, &match);
	if (!err) {
		match->file.what = GATE_FM_SIZE;
		match->file.size = test;
	}
	return err;
}

/* A regular file, not a pipe that never ends, where rules may read: whoever writes them is not
 * told either what else there is. */
static int open_data(struct gate_reading *r, const char *name, char **ret_path)
{
	BH_FREE char *path = gate_data_path(r, name);
	struct stat st;

	if (!gate_data_allowed(r, path) || stat(path, &st) || !S_ISREG(st.st_mode)) {
		return gate_refuse(r, "%s: there is no file %s in the folders of data",
				   r->option->name, path);
	}
	gate_own_digest(r->files->own, path, strlen(path));
	gate_own_digest(r->files->own, &st.st_size, sizeof(st.st_size));
	gate_own_digest(r->files->own, &st.st_mtim, sizeof(st.st_mtim));
	*ret_path = bh_steal(&path);
	return 0;
}

static int compare16(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static int compare20(const void *a, const void *b)
{
	return memcmp(a, b, 20);
}

static int compare32(const void *a, const void *b)
{
	return memcmp(a, b, 32);
}

/* A hash at the beginning of each line; what is behind it is for people. */
static int hashes_read(struct gate_reading *r, const char *path, size_t size,
		       struct gate_file_match *file)
{
	BH_FREE char *data = NULL;
	char *rest, *line;
	size_t data_size, capacity = 0;
	unsigned int number = 0;
	struct bh_diag diag = {};

	if (bh_file_read(path, HASH_FILE_MAX, &data, &data_size, &diag)) {
		return gate_refuse(r, "%s: %s", r->option->name, diag.text);
	}
	for (rest = data; (line = strsep(&rest, "\n"));) {
		number++;
		line = gate_trim(line);
		if (!*line || *line == '#') {
			continue;
		}
		if (strlen(line) > size * 2) {
			line[size * 2] = '\0';
		}
		for (char *p = line; *p; p++) {
			*p = (char)tolower((unsigned char)*p);
		}
		bh_vec_grow((void **)&file->hashes, &capacity, file->hash_count + 1, size);
		if (bh_hex_parse(line, file->hashes + file->hash_count * size, size)) {
			return gate_refuse(r, "%s: %s:%u is no hash", r->option->name, path,
					   number);
		}
		file->hash_count++;
	}
	if (file->hash_count) {
		qsort(file->hashes, file->hash_count, size,
		      size == 16   ? compare16
		      : size == 20 ? compare20
				   : compare32);
	}
	return 0;
}

int gate_kw_filehash(struct gate_reading *r, const struct gate_option *o)
{
	BH_FREE char *path = NULL;
	struct gate_match *match;
	size_t size = o->keyword->number == GATE_FM_MD5	   ? 16
		      : o->keyword->number == GATE_FM_SHA1 ? 20
							   : 32;
	int err;

	err = open_data(r, o->value, &path);
	err = err ? err : add_file(r, &match);
	if (err) {
		return err;
	}
	match->file.what = (typeof(match->file.what))o->keyword->number;
	match->file.negated = o->negated;
	r->alone = true; /* the next who reads the rule may find another list */
	return hashes_read(r, path, size, &match->file);
}

/* [direction[,scope]] */
int gate_kw_filestore(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const dirs[] = {"",		"request", "to_server", "response",
					   "to_client", "both",	   NULL};
	static const uint8_t bits[] = {0,
				       GATE_DIR_BIT(GATE_TO_SERVER),
				       GATE_DIR_BIT(GATE_TO_SERVER),
				       GATE_DIR_BIT(GATE_TO_CLIENT),
				       GATE_DIR_BIT(GATE_TO_CLIENT),
				       GATE_BOTH_DIRS};
	static const char *const scopes[] = {"file", "tx", "flow", "ssn", NULL};
	char *rest = o->value, *dir = gate_part(&rest), *scope = gate_part(&rest);
	int which = dir ? gate_word_index(dir, dirs) : 0;
	int how = scope ? gate_word_index(scope, scopes) : 0;
	struct gate_match *match;

	if (which < 0 || how < 0 || rest || (dir && !which)) {
		return gate_refuse(r, "filestore: request, response or both, and file, tx or flow "
				      "are expected");
	}
	match = gate_post_match(r, GATE_M_FILESTORE);
	if (!match) {
		return -EINVAL;
	}
	match->num.dir = bits[which];
	match->num.number = (uint16_t)(how == 3 ? GATE_STORE_FLOW : how);
	return 0;
}

/* ---- datasets ---- */

static int set_text(struct gate_reading *r, char **to, const char *text)
{
	if (*to || !*text) {
		return gate_refuse(r, "%s: a word without value, or there twice", r->option->name);
	}
	*to = bh_strdup(text);
	return 0;
}

static int set_size(struct gate_reading *r, const char *text, uint32_t *ret)
{
	struct gate_test test; /* reads 10mb too */

	if (gate_test_read(text, UINT32_MAX, &test) || test.op != GATE_EQ) {
		return gate_refuse(r, "%s: %s is no size", r->option->name, text);
	}
	*ret = (uint32_t)test.a;
	return 0;
}

static int set_choice(struct gate_reading *r, const char *word, const char *text,
		      struct gate_dataset *set)
{
	static const char *const types[] = {"string", "md5", "sha256", "ipv4", "ip", "ipv6", NULL};
	static const char *const formats[] = {"csv", "json", "ndjson", "jsonline", NULL};
	int which;

	if (!strcmp(word, "type")) {
		which = gate_word_index(text, types);
		if (which >= 0) {
			which = which == 5 ? GATE_DATA_IP : which;
			set->type = (typeof(set->type))which;
			return 0;
		}
	} else if (!strcmp(word, "format")) {
		which = gate_word_index(text, formats);
		if (which >= 0) {
			which = which == 3 ? GATE_DATA_NDJSON : which;
			set->format = (typeof(set->format))which;
			return 0;
		}
	} else if (!strcmp(word, "match") && !strcmp(text, "subdomain")) {
		set->subdomain = true;
		return 0;
	} else if (!strcmp(word, "match") && !strcmp(text, "exact")) {
		return 0;
	} else if (!strcmp(word, "remove_key")) {
		set->remove_key = true;
		return 0;
	}
	return gate_refuse(r, "%s: %s %s is not understood", r->option->name,
			   *word ? word : "nothing", text);
}

/* Words behind the name. */
static int set_words(struct gate_reading *r, char *rest, struct gate_dataset *set)
{
	BH_FREE char *load = NULL;
	char *part;
	int err = 0;

	while (!err && (part = gate_part(&rest))) {
		char *word = gate_word(&part);

		part = gate_trim(part);
		if (!strcmp(word, "load")) {
			err = set_text(r, &load, part);
		} else if (!strcmp(word, "save") || !strcmp(word, "state")) {
			BH_FREE char *path = NULL;

			err = gate_state_path(r, part, &path);
			err = err ? err : set_text(r, &set->state, *part ? path : "");
		} else if (!strcmp(word, "value_key")) {
			err = set_text(r, &set->value_key, part);
		} else if (!strcmp(word, "array_key")) {
			err = set_text(r, &set->array_key, part);
		} else if (!strcmp(word, "context_key") || !strcmp(word, "enrichment_key")) {
			err = set_text(r, &set->context_key, part);
		} else if (!strcmp(word, "memcap")) {
			err = set_size(r, part, &set->memcap);
		} else if (!strcmp(word, "hashsize")) {
			err = set_size(r, part, &set->hashsize);
		} else {
			err = set_choice(r, word, part, set);
		}
	}
	if (!err && load) {
		err = open_data(r, load, &set->load);
	}
	if (!err && set->format != GATE_DATA_CSV && !set->value_key) {
		err = gate_refuse(r, "%s: JSON takes a value_key", r->option->name);
	}
	return err;
}

static int set_match(struct gate_reading *r, struct gate_match **ret)
{
	int err = gate_list_settle(r);

	if (err) {
		return err;
	}
	if (r->list < 0) {
		return gate_refuse_at(r, r->option->at, "%s: a buffer is expected before it",
				      r->option->name);
	}
	*ret = gate_list_add(r, r->list, GATE_M_DATASET);
	return *ret ? 0 : -EINVAL;
}

static int set_name(struct gate_reading *r, const char *name, struct gate_dataset *set)
{
	if (!name || !*name || strlen(name) > 63 || strpbrk(name, " \t/")) {
		return gate_refuse(r, "%s: a name of up to 63 letters is expected",
				   r->option->name);
	}
	set->name = bh_strdup(name);
	return 0;
}

int gate_kw_dataset(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const commands[] = {"isset", "isnotset", "set", "unset", NULL};
	char *rest = o->value, *command = gate_part(&rest), *name = gate_part(&rest);
	int which = gate_word_index(command, commands);
	struct gate_match *match;
	int err;

	if (which < 0) {
		return gate_refuse(r, "dataset: isset, isnotset, set or unset is expected, not %s",
				   command);
	}
	err = set_match(r, &match);
	err = err ? err : set_name(r, name, &match->dataset);
	if (err) {
		return err;
	}
	match->dataset.cmd = (typeof(match->dataset.cmd))which;
	return set_words(r, rest, &match->dataset);
}

/* name, >, 200, load file, type string */
int gate_kw_datarep(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const signs[] = {"<", ">", "==", "=", "<=", ">=", "!=", NULL};
	char *rest = o->value, *name = gate_part(&rest), *sign = gate_part(&rest);
	char *value = gate_part(&rest);
	struct gate_match *match;
	int err;

	if (!value || gate_word_index(sign, signs) < 0) {
		return gate_refuse(r, "datarep: name, comparison, value are expected");
	}
	err = set_match(r, &match);
	err = err ? err : set_name(r, name, &match->dataset);
	if (err) {
		return err;
	}
	BH_FREE char *text = bh_asprintf("%s%s", sign, value);

	match->dataset.cmd = GATE_DATA_REP;
	if (gate_test_read(text, UINT16_MAX, &match->dataset.rep)) {
		return gate_refuse(r, "datarep: %s %s is no comparison", sign, value);
	}
	return set_words(r, rest, &match->dataset);
}
