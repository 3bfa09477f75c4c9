/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/rights.h"

#include "base/util.h"

#include <errno.h>

#define READS	  MANAGER_RIGHT_READS
#define FACTOR	  MANAGER_RIGHT_FACTOR
#define DANGEROUS MANAGER_RIGHT_DANGEROUS

static const struct {
	const char *name;
	unsigned int flags;
	const char *words;
} rights[] = {
	[VERB_NONE] = {"", 0, ""},
#define RIGHT(name, text, flags, words) [VERB_##name] = {text, flags, words},
#include "manager/auth/rights.def"
#undef RIGHT
};

#define R(name) MANAGER_RIGHT(VERB_##name)
const struct manager_role manager_roles[] = {
#define ROLE(name, provider, tenant, words) {name, provider, tenant, words},
#include "manager/auth/roles.def"
#undef ROLE
};
#undef R
const size_t manager_role_count = BH_ARRAY_SIZE(manager_roles);

static bool known(enum manager_verb verb)
{
	return verb > VERB_NONE && verb < VERB_COUNT;
}

const char *manager_right_name(enum manager_verb verb)
{
	return known(verb) ? rights[verb].name : "";
}

const char *manager_right_words(enum manager_verb verb)
{
	return known(verb) ? rights[verb].words : "";
}

unsigned int manager_right_flags(enum manager_verb verb)
{
	return known(verb) ? rights[verb].flags : 0;
}

static enum manager_verb find(const char *name, size_t len)
{
	for (unsigned int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
		if (strlen(rights[v].name) == len && strncmp(rights[v].name, name, len) == 0) {
			return (enum manager_verb)v;
		}
	}
	return VERB_NONE;
}

enum manager_verb manager_right_find(const char *name)
{
	return find(name, strlen(name));
}

uint64_t manager_rights_with(unsigned int flags)
{
	uint64_t set = 0;

	for (unsigned int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
		set |= (rights[v].flags & flags) == flags ? MANAGER_RIGHT(v) : 0;
	}
	return set;
}

void manager_rights_format(uint64_t set, struct bh_wbuf *w)
{
	const char *before = "";

	for (unsigned int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
		if (set & MANAGER_RIGHT(v)) {
			bh_wbuf_printf(w, "%s%s", before, rights[v].name);
			before = " ";
		}
	}
}

int manager_rights_parse(const char *text, bool lenient, uint64_t *ret, struct bh_diag *diag)
{
	*ret = 0;
	for (const char *p = text + strspn(text, " ,"); *p; p += strspn(p, " ,")) {
		size_t len = strcspn(p, " ,");
		enum manager_verb verb = find(p, len);

		if (verb == VERB_NONE && !lenient) {
			return bh_diag_set(diag, -EINVAL, "there is no right '%.*s'",
					   (int)(len < 40 ? len : 40), p);
		}
		*ret |= verb == VERB_NONE ? 0 : MANAGER_RIGHT(verb);
		p += len;
	}
	return 0;
}

const struct manager_role *manager_role_find(const char *name)
{
	for (size_t i = 0; i < manager_role_count; i++) {
		if (strcmp(manager_roles[i].name, name) == 0) {
			return &manager_roles[i];
		}
	}
	return NULL;
}

bool manager_role_appointed(const struct manager_role *role)
{
	return role->provider || strcmp(role->name, "tenant-admin") == 0;
}

json_t *manager_right_names_json(uint64_t mask)
{
	json_t *list = json_array();

	for (unsigned int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
		if (mask & MANAGER_RIGHT(v)) {
			json_array_append_new(
				list, json_string(manager_right_name((enum manager_verb)v)));
		}
	}
	return list;
}
