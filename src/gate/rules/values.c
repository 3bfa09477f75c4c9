/* SPDX-License-Identifier: Apache-2.0 */
/* Small readers that keywords share: words, numbers, comparisons, bytes, names of variables. */
#include "gate/config.h"
#include "gate/rules/reading.h"

#include <ctype.h>
#include <sys/stat.h>

char *gate_trim(char *s)
{
	size_t len;

	while (isspace((unsigned char)*s)) {
		s++;
	}
	for (len = strlen(s); len && isspace((unsigned char)s[len - 1]); len--) {
	}
	s[len] = '\0';
	return s;
}

char *gate_part(char **rest)
{
	char *part = *rest, *comma;

	if (!part) {
		return NULL;
	}
	comma = strchr(part, ',');
	*rest = comma ? comma + 1 : NULL;
	if (comma) {
		*comma = '\0';
	}
	return gate_trim(part);
}

char *gate_word(char **rest)
{
	char *word = *rest;

	while (isspace((unsigned char)*word)) {
		word++;
	}
	*rest = word + strcspn(word, " \t\r\n\v\f");
	if (**rest) {
		*(*rest)++ = '\0';
	}
	return word;
}

int gate_word_index(const char *word, const char *const *list)
{
	for (int i = 0; list[i]; i++) {
		if (!strcmp(word, list[i])) {
			return i;
		}
	}
	return -1;
}

/* The digits at *s; *s is behind them then. */
static int digits(const char **s, uint64_t *ret)
{
	unsigned int base = (*s)[0] == '0' && ((*s)[1] == 'x' || (*s)[1] == 'X') ? 16 : 10;
	const char *p = *s + (base == 16 ? 2 : 0), *begin = p;
	uint64_t v = 0;

	for (; base == 16 ? isxdigit((unsigned char)*p) : isdigit((unsigned char)*p); p++) {
		unsigned int digit = isdigit((unsigned char)*p)
					     ? (unsigned int)(*p - '0')
					     : (unsigned int)(tolower(*p) - 'a') + 10;

		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, digit, &v)) {
			return -ERANGE;
		}
	}
	if (p == begin) {
		return -EINVAL;
	}
	*s = p;
	*ret = v;
	return 0;
}

int gate_number_read(const char *s, uint64_t max, uint64_t *ret)
{
	int err = digits(&s, ret);

	if (err || *s) {
		return err ? err : -EINVAL;
	}
	return *ret > max ? -ERANGE : 0;
}

int gate_signed_read(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	bool negative = *s == '-';
	uint64_t v;
	int err;

	err = gate_number_read(s + (negative || *s == '+'), INT64_MAX, &v);
	if (err) {
		return err;
	}
	*ret = negative ? -(int64_t)v : (int64_t)v;
	return *ret < min || *ret > max ? -ERANGE : 0;
}

/* A number with kb, mb, gb (or kib and so on: the same) behind it, and blanks around. */
static int unit_number(const char **s, uint64_t max, uint64_t *ret)
{
	static const char *const units[] = {"kb", "mb", "gb", NULL};
	static const char *const binaries[] = {"kib", "mib", "gib"};
	int err;

	while (isspace((unsigned char)**s)) {
		++*s;
	}
	err = digits(s, ret);
	if (err) {
		return err;
	}
	for (unsigned int i = 0; units[i]; i++) {
		bool binary = !strncasecmp(*s, binaries[i], 3);

		if (binary || !strncasecmp(*s, units[i], 2)) {
			*s += 2 + binary;
			if (__builtin_mul_overflow(*ret, (uint64_t)1 << (10 * (i + 1)), ret)) {
				return -ERANGE;
			}
			break;
		}
	}
	while (isspace((unsigned char)**s)) {
		++*s;
	}
	return *ret > max ? -ERANGE : 0;
}

/* &mask=value, &mask!=value */
static int mask_read(const char *s, uint64_t max, struct gate_test *ret)
{
	int err = unit_number(&s, max, &ret->a);

	if (err) {
		return err;
	}
	ret->op = GATE_MASK;
	if (*s == '!') {
		ret->op = GATE_NOT_MASK;
		s++;
	}
	if (*s++ != '=') {
		return -EINVAL;
	}
	err = unit_number(&s, max, &ret->b);
	return err ? err : *s ? -EINVAL : 0;
}

/* Two numbers, both ends out. At least one number is between them. */
static int range_read(const char *s, uint64_t max, struct gate_test *ret)
{
	int err;

	if (s[0] == '<' && s[1] == '>') {
		s++;
	}
	s++;
	err = unit_number(&s, max, &ret->b);
	if (err) {
		return err;
	}
	return *s || ret->b < 2 || ret->a >= ret->b - 1 ? -EINVAL : 0;
}

int gate_test_read(const char *s, uint64_t max, struct gate_test *ret)
{
	static const struct {
		const char *sign;
		enum gate_compare op;
	} signs[] = {{"<=", GATE_LE}, {">=", GATE_GE}, {"!=", GATE_NE}, {"==", GATE_EQ},
		     {"<", GATE_LT},  {">", GATE_GT},  {"=", GATE_EQ},	{"!", GATE_NE}};
	int err;

	memset(ret, 0, sizeof(*ret));
	while (isspace((unsigned char)*s)) {
		s++;
	}
	if (*s == '&') {
		return mask_read(s + 1, max, ret);
	}
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(signs); i++) {
		if (!strncmp(s, signs[i].sign, strlen(signs[i].sign))) {
			s += strlen(signs[i].sign);
			ret->op = signs[i].op;
			break;
		}
	}
	err = unit_number(&s, max, &ret->a);
	if (err) {
		return err;
	}
	if ((*s == '-' || (s[0] == '<' && s[1] == '>')) &&
	    (ret->op == GATE_EQ || ret->op == GATE_NE)) {
		ret->op = ret->op == GATE_EQ ? GATE_RANGE : GATE_NOT_RANGE;
		return range_read(s, max, ret);
	}
	if ((ret->op == GATE_LT && !ret->a) || (ret->op == GATE_GT && ret->a == max)) {
		return -ERANGE; /* never true */
	}
	return *s ? -EINVAL : 0;
}

/* ---- variables ---- */

static int var_find(const struct gate_reading *r, const char *name)
{
	for (size_t i = 0; i < r->vars.count; i++) {
		if (!strcmp(r->vars.items[i], name)) {
			return (int)i;
		}
	}
	return -1;
}

int gate_operand_read(struct gate_reading *r, const char *s, int64_t min, int64_t max,
		      struct gate_operand *ret)
{
	int var;
	int err;

	ret->is_var = false;
	err = gate_signed_read(s, min, max, &ret->value);
	if (!err) {
		return 0;
	}
	if (isdigit((unsigned char)*s) || *s == '-' || *s == '+') {
		return gate_refuse(r, "%s: %s is no number within [%lld, %lld]", r->option->name, s,
				   (long long)min, (long long)max);
	}
	var = var_find(r, s);
	if (var < 0) {
		return gate_refuse(r, "%s: there is no variable %s", r->option->name, s);
	}
	ret->is_var = true;
	ret->value = var;
	return 0;
}

int gate_var_add(struct gate_reading *r, const char *name, uint16_t *ret)
{
	int var = var_find(r, name);

	if (!isalpha((unsigned char)*name) && *name != '_') {
		return gate_refuse(r, "%s: %s is no name of a variable", r->option->name, name);
	}
	if (var < 0) {
		if (r->vars.count == GATE_RULE_VARS_MAX) {
			return gate_refuse(r, "more than %d variables", GATE_RULE_VARS_MAX);
		}
		*bh_vec_push(&r->vars) = bh_strdup(name);
		var = (int)r->vars.count - 1;
		r->rule->var_count = (uint16_t)r->vars.count;
	}
	*ret = (uint16_t)var;
	return 0;
}

/* ---- bytes ---- */

static int hex_digit(char c)
{
	if (isdigit((unsigned char)c)) {
		return c - '0';
	}
	return isxdigit((unsigned char)c) ? tolower(c) - 'a' + 10 : -1;
}

/* One byte of hex in bars, from *s. 1 a byte, 0 the closing bar, < 0 refused. */
static int hex_byte(struct gate_reading *r, const char **s, const char *begin, uint8_t *ret)
{
	int high, low;

	while (**s == ' ') {
		++*s;
	}
	if (**s == '|') {
		++*s;
		return 0;
	}
	high = hex_digit(**s);
	low = high < 0 ? -1 : hex_digit((*s)[1]);
	if (low < 0) {
		return gate_refuse_at(r, r->option->value_at + (size_t)(*s - begin),
				      **s ? "pairs of hex digits are expected between bars"
					  : "the bar of hex digits is not closed");
	}
	*ret = (uint8_t)(high << 4 | low);
	*s += 2;
	return 1;
}

int gate_bytes_read(struct gate_reading *r, const char *s, uint8_t **ret_bytes, size_t *ret_size)
{
	const char *begin = s;
	BH_FREE uint8_t *bytes = bh_alloc(strlen(s) + 1);
	size_t size = 0;
	bool hex = false;

	while (*s || hex) {
		if (hex) {
			int more = hex_byte(r, &s, begin, &bytes[size]);

			if (more < 0) {
				return more;
			}
			size += (size_t)more;
			hex = more;
			continue;
		}
		if (*s == '|') {
			hex = true;
			s++;
			continue;
		}
		if (*s == '"' || (*s == '\\' && (!s[1] || !strchr("\";:\\", s[1])))) {
			return gate_refuse_at(r, r->option->value_at + (size_t)(s - begin),
					      *s == '"' ? "a quote needs a backslash before it"
							: "only \" ; : \\ are written with a "
							  "backslash");
		}
		s += *s == '\\';
		bytes[size++] = (uint8_t)*s++;
	}
	*ret_bytes = bh_steal(&bytes);
	*ret_size = size;
	return 0;
}

/* ---- files ---- */

static char *beside(const char *folder, const char *name)
{
	struct stat st;
	char *path = folder ? bh_asprintf("%s/%s", folder, name) : NULL;

	if (path && !stat(path, &st)) {
		return path;
	}
	free(path);
	return NULL;
}

static char *rule_folder(const struct gate_reading *r)
{
	const char *slash = strrchr(r->file, '/');

	if (!slash) {
		return bh_strdup(".");
	}
	return slash == r->file ? bh_strdup("/")
				: bh_asprintf("%.*s", (int)(slash - r->file), r->file);
}

char *gate_data_path(struct gate_reading *r, const char *name)
{
	BH_FREE char *folder = rule_folder(r);
	char *path;

	if (*name == '/') {
		return bh_strdup(name);
	}
	path = beside(r->config ? r->config->rule_path : NULL, name);
	path = path ? path : beside(folder, name);
	path = path ? path : beside(r->config ? r->config->data_dir : NULL, name);
	return path ? path : bh_asprintf("%s/%s", folder, name);
}

/* As the file system has it: links and .. lead nowhere else. */
static bool is_below(const char *folder, const char *path)
{
	BH_FREE char *real = folder ? realpath(folder, NULL) : NULL;
	size_t len = real ? strlen(real) : 0;

	return real && !strncmp(path, real, len) && (path[len] == '/' || real[len - 1] == '/');
}

bool gate_data_allowed(const struct gate_reading *r, const char *path)
{
	BH_FREE char *real = realpath(path, NULL), *folder = rule_folder(r);

	if (!real) {
		return false;
	}
	return is_below(folder, real) ||
	       (r->config && (r->config->dataset_any_path || is_below(r->config->rule_path, real) ||
			      is_below(r->config->data_dir, real)));
}

static bool leads_out(const char *name)
{
	if (*name == '/') {
		return true;
	}
	while (name) {
		if (!strncmp(name, "..", 2) && (!name[2] || name[2] == '/')) {
			return true;
		}
		name = strchr(name, '/');
		name = name ? name + 1 : NULL;
	}
	return false;
}

int gate_state_path(struct gate_reading *r, const char *name, char **ret)
{
	const struct gate_config *config = r->config;

	if (config && !config->dataset_writes) {
		return gate_refuse(r, "%s: datasets.rules.allow-write is off", r->option->name);
	}
	if (leads_out(name) && !(config && config->dataset_any_path)) {
		return gate_refuse(r,
				   "%s: %s is no name within datasets.dir, which is what a dataset "
				   "is written into",
				   r->option->name, name);
	}
	*ret = config && config->data_dir ? bh_strdup(name) : gate_data_path(r, name);
	return 0;
}
