/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords about the rule itself: text, numbers, class, references. */
#include "gate/rules/reading.h"

#include <ctype.h>

#define VERSION_MAJOR 9 /* of the rule language that `requires` is asked about */

int gate_kw_msg(struct gate_reading *r, const struct gate_option *o)
{
	char *to = r->rule->msg = bh_strdup(o->value);

	for (const char *s = o->value; *s; s++) {
		if (*s == '\\' && s[1]) {
			s++;
		}
		*to++ = *s;
	}
	*to = '\0';
	return 0;
}

static int number_of(struct gate_reading *r, const struct gate_option *o, uint32_t min,
		     uint32_t *ret)
{
	uint64_t v;

	if (gate_number_read(o->value, UINT32_MAX, &v) || v < min) {
		return gate_refuse(r, "%s: %s is no number from %u to 4294967295", o->name,
				   o->value, min);
	}
	*ret = (uint32_t)v;
	return 0;
}

int gate_kw_sid(struct gate_reading *r, const struct gate_option *o)
{
	r->has_sid = true;
	return number_of(r, o, 1, &r->rule->sid);
}

int gate_kw_gid(struct gate_reading *r, const struct gate_option *o)
{
	return number_of(r, o, 0, &r->rule->gid);
}

int gate_kw_rev(struct gate_reading *r, const struct gate_option *o)
{
	return number_of(r, o, 0, &r->rule->rev);
}

int gate_kw_priority(struct gate_reading *r, const struct gate_option *o)
{
	uint64_t v;

	if (gate_number_read(o->value, 255, &v) || !v) {
		return gate_refuse(r, "priority: %s is no number from 1 to 255", o->value);
	}
	r->rule->priority = (uint8_t)v;
	r->has_priority = true;
	return 0;
}

/* An unknown class is kept by its name; the priority stays. */
int gate_kw_classtype(struct gate_reading *r, const struct gate_option *o)
{
	const struct gate_class *class = gate_shared_class(r->shared, o->value);

	r->rule->classtype = class ? class->name : gate_shared_text(r->shared, o->value);
	r->rule->class_text = class ? class->text : NULL;
	if (class && !r->has_priority) {
		r->rule->priority = class->priority;
	}
	return 0;
}

int gate_kw_reference(struct gate_reading *r, const struct gate_option *o)
{
	char *comma = strchr(o->value, ',');
	const struct gate_reference_key *known;
	struct gate_reference *reference;
	const char *key;

	if (!comma) {
		return gate_refuse(r, "reference: kind,name is expected");
	}
	*comma = '\0';
	key = gate_trim(o->value);
	known = gate_shared_reference(r->shared, key);
	reference = bh_vec_push(&r->rule->references);
	reference->key = known ? known->key : gate_shared_text(r->shared, key);
	reference->prefix = known ? known->prefix : NULL;
	reference->value = bh_strdup(gate_trim(comma + 1));
	return 0;
}

int gate_kw_metadata(struct gate_reading *r, const struct gate_option *o)
{
	char *rest = o->value, *part;

	while ((part = gate_part(&rest))) {
		struct gate_metadata *metadata;
		char *key = gate_word(&part);

		if (!*key) {
			continue;
		}
		metadata = bh_vec_push(&r->rule->metadata);
		metadata->key = bh_strdup(key);
		metadata->value = bh_strdup(gate_trim(part));
	}
	return 0;
}

int gate_kw_target(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const sides[] = {"src_ip", "dest_ip", NULL};
	int side = gate_word_index(o->value, sides);

	if (side < 0) {
		return gate_refuse(r, "target: src_ip or dest_ip is expected, not %s", o->value);
	}
	r->rule->flags &= (uint16_t) ~(GATE_RULE_TARGET_SRC | GATE_RULE_TARGET_DST);
	r->rule->flags |= side ? GATE_RULE_TARGET_DST : GATE_RULE_TARGET_SRC;
	return 0;
}

int gate_kw_noalert(struct gate_reading *r, const struct gate_option *o)
{
	r->rule->flags |= GATE_RULE_NOALERT;
	return 0;
}

/* "Alert, then pass": what the action does not say. */
int gate_kw_alert(struct gate_reading *r, const struct gate_option *o)
{
	r->rule->flags |= GATE_RULE_ALERT;
	return 0;
}

int gate_kw_prefilter(struct gate_reading *r, const struct gate_option *o)
{
	r->rule->flags |= GATE_RULE_PREFILTER;
	return 0;
}

/* ---- requires ---- */

/* "8.0.2" to 8 << 16 | 0 << 8 | 2; -1 when it is none. */
static int64_t version_of(const char *s)
{
	int64_t v = 0;

	for (int i = 0; i < 3; i++) {
		unsigned int part = 0;

		if (*s && !isdigit((unsigned char)*s)) {
			return -1;
		}
		while (isdigit((unsigned char)*s) && part < 256) {
			part = part * 10 + (unsigned int)(*s++ - '0');
		}
		v = v << 8 | (part & 0xff);
		s += *s == '.';
	}
	return *s ? -1 : v;
}

/* ">= 7.0.3 < 9": all of them; 1 true, 0 not, < 0 no such thing. */
static int versions_hold(char *s)
{
	static const char *const signs[] = {">=", "<=", ">", "<", NULL};
	int64_t ours = (int64_t)VERSION_MAJOR << 16;
	int holds = 1;

	for (;;) {
		char *sign = gate_word(&s), *text;
		int which = -1;
		int64_t v;

		if (!*sign) {
			return holds;
		}
		for (int i = 0; which < 0 && signs[i]; i++) {
			which = strncmp(sign, signs[i], strlen(signs[i])) ? -1 : i;
		}
		if (which < 0) {
			return -EINVAL;
		}
		text = sign + strlen(signs[which]);
		v = version_of(*text ? text : gate_word(&s));
		if (v < 0) {
			return -EINVAL;
		}
		if (!(which == 0   ? ours >= v
		      : which == 1 ? ours <= v
		      : which == 2 ? ours > v
				   : ours < v)) {
			holds = 0;
		}
	}
}

static int version_required(struct gate_reading *r, char *text)
{
	int any = 0;
	char *choice;

	while ((choice = strsep(&text, "|"))) {
		int holds = versions_hold(choice);

		if (holds < 0) {
			return gate_refuse(r, "requires: a version is not understood");
		}
		any |= holds;
	}
	return any ? 0 : gate_refuse(r, "the rule requires another version");
}

int gate_kw_requires(struct gate_reading *r, const struct gate_option *o)
{
	char *rest = o->value, *part;
	int err = 0;

	while (!err && (part = gate_part(&rest))) {
		char *what = gate_word(&part);

		part = gate_trim(part);
		if (!strcmp(what, "version")) {
			err = version_required(r, part);
		} else if (!strcmp(what, "keyword")) {
			const struct gate_keyword_entry *e = gate_shared_keyword(r->shared, part);

			err = e && e->setup ? 0 : gate_refuse(r, "the rule requires %s", part);
		} else if (!strcmp(what, "feature")) {
			err = gate_refuse(r, "the rule requires the feature %s", part);
		} else {
			err = gate_refuse(r, "requires: %s is not known", what);
		}
	}
	return err;
}
