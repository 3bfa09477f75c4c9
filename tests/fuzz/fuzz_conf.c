/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file against a table with every kind of key: what is accepted is in its bounds,
 * and what is read twice is the same. */
#include "base/conf.h"
#include "base/util.h"

#define EACH_MAX 16

struct conf {
	char *text, *choice;
	uint64_t number, free_number;
	bool flag;
	unsigned int each;
	size_t each_size;
};

static int on_each(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct conf *c = target;

	if (c->each == EACH_MAX) {
		return bh_diag_set(diag, -1, "too many");
	}
	c->each++;
	c->each_size += strlen(path) + strlen(value);
	return 0;
}

#define AT(member) offsetof(struct conf, member)
static const struct bh_conf_key keys[] = {
	{.key = "text", .type = BH_CONF_STR, .offset = AT(text), .dflt = "d"},
	{.key = "bus.choice",
	 .type = BH_CONF_STR,
	 .offset = AT(choice),
	 .dflt = "allow",
	 .choices = "allow|deny|reject"},
	{.key = "bus.number",
	 .type = BH_CONF_U64,
	 .offset = AT(number),
	 .dflt = "7",
	 .min = 5,
	 .max = 4294967296},
	{.key = "free", .type = BH_CONF_U64, .offset = AT(free_number)},
	{.key = "flag", .type = BH_CONF_BOOL, .offset = AT(flag), .dflt = "yes"},
	{.key = "networks", .type = BH_CONF_EACH, .each = on_each},
};

static int parse(const uint8_t *data, size_t size, struct conf *ret, struct bh_diag *diag)
{
	memset(ret, 0, sizeof(*ret));
	return bh_conf_parse((const char *)data, size, "f", keys, BH_ARRAY_SIZE(keys), ret, diag);
}

static bool good(const struct conf *c)
{
	return c->text && c->choice && c->number >= 5 && c->number <= 4294967296 &&
	       (!strcmp(c->choice, "allow") || !strcmp(c->choice, "deny") ||
		!strcmp(c->choice, "reject"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf one, two;
	struct bh_diag diag = {};
	int r = parse(data, size, &one, &diag);

	if (parse(data, size, &two, NULL) != r || (r && !*diag.text) || (!r && !good(&one))) {
		abort();
	}
	if (!r && (strcmp(one.text, two.text) || one.number != two.number ||
		   one.each_size != two.each_size)) {
		abort();
	}
	bh_conf_done(keys, BH_ARRAY_SIZE(keys), &one);
	bh_conf_done(keys, BH_ARRAY_SIZE(keys), &two);
	return 0;
}
