/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords about transactions: numbers, events, DCERPC, certificates. */
#include "gate/app/app.h"
#include "gate/rules/reading.h"

#include <ctype.h>
#include <time.h>

int gate_apps_restrict(struct gate_reading *r, uint32_t apps)
{
	uint32_t both = r->apps_wanted ? r->apps_wanted & apps : apps;

	if (!both) {
		return gate_refuse_at(r, r->option->at,
				      "%s: keywords before it are about another "
				      "protocol",
				      r->option->name);
	}
	r->apps_wanted = both;
	return 0;
}

static const struct {
	uint16_t number;
	const char *name;
	const char *test;
} values[] = {
#define VALUE(number, name, test) {GATE_NUM_##number, name, test},
#include "gate/rules/values.def"
#undef VALUE
};

/* A name of the number's values, negated perhaps, as the comparison it stands for. */
static const char *named_value(uint16_t number, const char *name)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(values); i++) {
		if (values[i].number == number && !strcasecmp(values[i].name, name)) {
			return values[i].test;
		}
	}
	return name;
}

static int add_number(struct gate_reading *r, uint16_t number, const struct gate_test *test)
{
	struct gate_match *match = gate_tx_match(r, GATE_M_NUMBER);

	if (!match) {
		return -EINVAL;
	}
	match->num.number = number;
	match->num.test = *test;
	return 0;
}

static bool invert(struct gate_test *test)
{
	switch (test->op) {
	case GATE_EQ:
		test->op = GATE_NE;
		return true;
	case GATE_MASK:
		test->op = GATE_NOT_MASK;
		return true;
	default:
		return false;
	}
}

/* One value or its name, negated perhaps. */
static int number_test(struct gate_reading *r, uint16_t number, char *text, struct gate_test *test)
{
	bool negated = *text == '!';
	const char *name = gate_trim(text + negated), *named = named_value(number, name);

	if (named == name) {
		named = text;
		negated = false;
	}
	if (gate_test_read(named, UINT64_MAX, test) || (negated && !invert(test))) {
		return gate_refuse(r, "%s: %s can't be compared with", r->option->name, text);
	}
	return 0;
}

/* "all", "nb>3", "-1", "oob_or 2" */
static int multi_index(struct gate_reading *r, char *text, struct gate_multi *multi)
{
	static const char *const names[] = {"any", "all", "all_or_absent", "or_absent", NULL};
	int which = gate_word_index(text, names);
	int64_t at;

	if (which >= 0) {
		multi->mode = (typeof(multi->mode))which;
		return 0;
	}
	if (!strncmp(text, "nb", 2) && !gate_test_read(text + 2, UINT32_MAX, &multi->count)) {
		multi->mode = GATE_MULTI_TIMES;
		return 0;
	}
	multi->mode = !strncmp(text, "oob_or", 6) ? GATE_MULTI_AT_OR_OUT : GATE_MULTI_AT;
	text = multi->mode == GATE_MULTI_AT_OR_OUT ? gate_trim(text + 6) : text;
	if (gate_signed_read(text, INT16_MIN, INT16_MAX, &at)) {
		return gate_refuse(r, "%s: no index %s", r->option->name, text);
	}
	multi->at = (int32_t)at;
	return 0;
}

/* "2:-1" */
static int multi_slice(struct gate_reading *r, char *text, struct gate_multi *multi)
{
	char *colon = strchr(text, ':');
	int64_t from = 0, to = 0;

	if (colon) {
		*colon = '\0';
	}
	if (!colon || gate_signed_read(gate_trim(text), INT16_MIN, INT16_MAX, &from) ||
	    gate_signed_read(gate_trim(colon + 1), INT16_MIN, INT16_MAX, &to)) {
		return gate_refuse(r, "%s: from:to is expected behind the index", r->option->name);
	}
	multi->slice = true;
	multi->from = (int32_t)from;
	multi->to = (int32_t)to;
	return 0;
}

int gate_multi_read(struct gate_reading *r, char *text, struct gate_multi *multi, char **ret_value)
{
	char *rest = text, *value = gate_part(&rest), *index = gate_part(&rest);
	char *slice = gate_part(&rest);
	int err = 0;

	if (rest) {
		return gate_refuse(r, "%s: a value, an index and a slice are expected",
				   r->option->name);
	}
	*ret_value = value;
	if (!strncmp(value, "count ", 6)) {
		*ret_value = NULL;
		multi->mode = GATE_MULTI_COUNT;
		return index || gate_test_read(value + 6, UINT32_MAX, &multi->count)
			       ? gate_refuse(r, "%s: count and a comparison are expected",
					     r->option->name)
			       : 0;
	}
	err = index ? multi_index(r, index, multi) : 0;
	return !err && slice ? multi_slice(r, slice, multi) : err;
}

/* value[,index[,slice]], "count >5" */
int gate_kw_number(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_multi multi = {};
	struct gate_test test = {};
	struct gate_match *match;
	char *value;
	int err;

	err = gate_multi_read(r, o->value, &multi, &value);
	err = !err && value ? number_test(r, o->keyword->number, value, &test) : err;
	match = err ? NULL : gate_tx_match(r, GATE_M_NUMBER);
	if (!match) {
		return err ? err : -EINVAL;
	}
	match->num.number = o->keyword->number;
	match->num.test = test;
	match->num.multi = multi;
	return 0;
}

/* SETTINGS_ENABLE_PUSH=0: the number of the setting stands above its value. */
int gate_kw_http2_settings(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const names[] = {"",
					    "SETTINGS_HEADER_TABLE_SIZE",
					    "SETTINGS_ENABLE_PUSH",
					    "SETTINGS_MAX_CONCURRENT_STREAMS",
					    "SETTINGS_INITIAL_WINDOW_SIZE",
					    "SETTINGS_MAX_FRAME_SIZE",
					    "SETTINGS_MAX_HEADER_LIST_SIZE",
					    NULL};
	BH_FREE char *name = strndup(o->value, strcspn(o->value, " =<>!&"));
	int which = name ? gate_word_index(name, names) : -1;
	struct gate_test test;
	uint64_t base;

	if (which < 1 || gate_test_read(o->value + strlen(name), UINT32_MAX, &test)) {
		return gate_refuse(r, "http2.settings: a setting and a comparison are expected");
	}
	base = (uint64_t)which << 32;
	switch (test.op) {
	case GATE_LT:
	case GATE_LE:
		test.b = base + test.a + (test.op == GATE_LE);
		test.a = base - 1;
		break;
	case GATE_GT:
	case GATE_GE:
		test.a += base - (test.op == GATE_GE);
		test.b = base + ((uint64_t)1 << 32);
		break;
	case GATE_RANGE:
		test.a += base;
		test.b += base;
		break;
	case GATE_EQ:
		test.a += base;
		return add_number(r, GATE_NUM_HTTP2_SETTINGS, &test);
	default:
		return gate_refuse(r, "http2.settings: this comparison is not supported");
	}
	test.op = GATE_RANGE;
	return add_number(r, GATE_NUM_HTTP2_SETTINGS, &test);
}

int gate_kw_app_event(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_match *match;
	enum gate_app app;
	uint16_t event;
	int err;

	if (gate_app_event_find(o->value, &app, &event)) {
		return gate_refuse(r, "app-layer-event: no event %s", o->value);
	}
	/* UNKNOWN: of the detection of protocols itself */
	err = app == GATE_APP_UNKNOWN ? 0 : gate_apps_restrict(r, 1u << app);
	match = err ? NULL : gate_tx_match(r, GATE_M_APP_EVENT);
	if (!match) {
		return err ? err : -EINVAL;
	}
	match->event.event = event;
	match->event.app = (uint16_t)app;
	return 0;
}

/* ---- DCERPC ---- */

/* 8 bytes-4-4-4-12 */
static int uuid_read(const char *s, uint8_t ret[16])
{
	static const uint8_t groups[] = {4, 2, 2, 2, 6};
	char digits[13];

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(groups); i++) {
		size_t len = groups[i] * 2u;

		if (strnlen(s, len) < len || (i < 4 ? s[len] != '-' : s[len] != '\0')) {
			return -EINVAL;
		}
		memcpy(digits, s, len);
		digits[len] = '\0';
		if (bh_hex_parse(digits, ret, groups[i])) {
			return -EINVAL;
		}
		ret += groups[i];
		s += len + 1;
	}
	return 0;
}

int gate_kw_dce_iface(struct gate_reading *r, const struct gate_option *o)
{
	char *rest = o->value, *uuid = gate_part(&rest), *part;
	struct gate_match *match;
	int err;

	for (char *p = uuid; *p; p++) {
		*p = (char)tolower((unsigned char)*p);
	}
	err = gate_apps_restrict(r, 1u << GATE_APP_DCERPC | 1u << GATE_APP_SMB);
	match = err ? NULL : gate_tx_match(r, GATE_M_DCE_IFACE);
	if (!match) {
		return err ? err : -EINVAL;
	}
	if (uuid_read(uuid, match->dce_iface.uuid)) {
		return gate_refuse(r, "dcerpc.iface: %s is no UUID", uuid);
	}
	while ((part = gate_part(&rest))) {
		if (!strcmp(part, "any_frag")) {
			match->dce_iface.any_frag = true;
		} else if (!match->dce_iface.has_version && strchr("<>=!", *part) &&
			   !gate_test_read(part, UINT16_MAX, &match->dce_iface.version)) {
			match->dce_iface.has_version = true;
		} else {
			return gate_refuse(r,
					   "dcerpc.iface: <version or any_frag is expected, not %s",
					   *part ? part : "nothing");
		}
	}
	return 0;
}

int gate_kw_dce_opnum(struct gate_reading *r, const struct gate_option *o)
{
	char *rest = o->value, *part;
	struct gate_match *match;
	int err;

	err = gate_apps_restrict(r, 1u << GATE_APP_DCERPC | 1u << GATE_APP_SMB);
	match = err ? NULL : gate_tx_match(r, GATE_M_DCE_OPNUM);
	if (!match) {
		return err ? err : -EINVAL;
	}
	while ((part = gate_part(&rest))) {
		char *dash = strchr(part, '-');
		uint64_t first, last;
		struct gate_port_range *range;

		if (dash) {
			*dash++ = '\0';
		}
		if (gate_number_read(gate_trim(part), UINT16_MAX, &first) ||
		    (dash && gate_number_read(gate_trim(dash), UINT16_MAX, &last)) ||
		    (dash && last < first)) {
			return gate_refuse(r, "dcerpc.opnum: %s is no number", part);
		}
		range = bh_vec_push(&match->dce_opnum.in);
		range->first = (uint16_t)first;
		range->last = (uint16_t)(dash ? last : first);
	}
	return 0;
}

/* ---- certificates ---- */

int gate_kw_cert_expired(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_test test = {.op = GATE_EQ, .a = o->keyword->number};

	return add_number(r, GATE_NUM_TLS_CERT_EXPIRED, &test);
}

/* "2015", "2015-10", .. "2015-10-21 07:28:00", or seconds since 1970. */
static int date_read(const char *s, uint64_t *ret)
{
	int v[6] = {1970, 1, 1, 0, 0, 0};
	static const int most[] = {9999, 12, 31, 23, 59, 60};
	struct tm tm = {};
	unsigned int i = 0;

	if (strlen(s) > 4 && !gate_number_read(s, INT64_MAX, ret)) {
		return 0;
	}
	while (*s && i < 6) {
		if (!isdigit((unsigned char)*s)) {
			return -EINVAL;
		}
		for (v[i] = 0; isdigit((unsigned char)*s) && v[i] < 10000; s++) {
			v[i] = v[i] * 10 + (*s - '0');
		}
		if (v[i] > most[i] || (i && i < 3 && !v[i])) {
			return -EINVAL;
		}
		s += *s && strchr("-: T", *s);
		i++;
	}
	if (*s || v[0] < 1970) {
		return -EINVAL;
	}
	tm.tm_year = v[0] - 1900;
	tm.tm_mon = v[1] - 1;
	tm.tm_mday = v[2];
	tm.tm_hour = v[3];
	tm.tm_min = v[4];
	tm.tm_sec = v[5];
	*ret = (uint64_t)timegm(&tm);
	return 0;
}

int gate_kw_cert_date(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_test test = {};
	char *first = o->value, *second = strstr(o->value, "<>");

	if (second) {
		*second = '\0';
		second += 2;
		test.op = GATE_RANGE;
	} else if (*first == '<' || *first == '>') {
		test.op = *first == '<' ? GATE_LT : GATE_GT;
		first++;
	}
	if (date_read(gate_trim(first), &test.a) ||
	    (second && (date_read(gate_trim(second), &test.b) || test.b <= test.a))) {
		return gate_refuse(r,
				   "%s: 2015-10-21T07:28:00 is expected, with < or > before it or "
				   "<> between two",
				   o->name);
	}
	return add_number(r, o->keyword->number, &test);
}

/* "tls1.0,tls1.2": one of them; all with ! before them: none. */
int gate_kw_ssl_version(struct gate_reading *r, const struct gate_option *o)
{
	/* bits of the number as their place */
	static const char *const names[] = {"sslv2",  "sslv3",	"tls1.0", "tls1.1",
					    "tls1.2", "tls1.3", NULL};
	bool negated = *o->value == '!';
	struct gate_test test = {.op = negated ? GATE_MASK : GATE_NOT_MASK};
	char *rest = o->value, *part;

	while ((part = gate_part(&rest))) {
		int which = gate_word_index(gate_trim(part + (*part == '!')), names);

		if (which < 0 || (*part == '!') != negated) {
			return gate_refuse(r, "ssl_version: no version %s",
					   *part ? part : "at all");
		}
		test.a |= 1u << which;
	}
	return add_number(r, GATE_NUM_TLS_VERSION_BIT, &test);
}

/* "fin,!comp": each of them as it says. */
int gate_kw_websocket_flags(struct gate_reading *r, const struct gate_option *o)
{
	static const char *const names[] = {"fin", "comp", NULL};
	static const uint8_t bits[] = {0x80, 0x40};
	struct gate_test test = {.op = GATE_MASK};
	char *rest = o->value, *part;

	if (!strpbrk(o->value, "fFcC") || strchr(o->value, '&')) {
		return gate_kw_number(r, o);
	}
	while ((part = gate_part(&rest))) {
		bool negated = *part == '!';
		int which = gate_word_index(gate_trim(part + negated), names);

		if (which < 0) {
			return gate_refuse(r, "websocket.flags: fin and comp are known, not %s",
					   *part ? part : "nothing");
		}
		test.a |= bits[which];
		test.b |= negated ? 0 : bits[which];
	}
	return add_number(r, GATE_NUM_WEBSOCKET_FLAGS, &test);
}

int gate_kw_tls_store(struct gate_reading *r, [[maybe_unused]] const struct gate_option *o)
{
	int err = gate_apps_restrict(r, 1u << GATE_APP_TLS);

	return err ? err : gate_post_match(r, GATE_M_TLS_STORE) ? 0 : -EINVAL;
}

/* "client_hello|!server_hello": a message that is one of them, or another than one with !. */
int gate_kw_ssl_state(struct gate_reading *r, const struct gate_option *o)
{
	/* unknown is of no message */
	static const char *const names[] = {"client_hello", "server_hello", "client_keyx",
					    "server_keyx",  "unknown",	    NULL};
	struct gate_test test = {.op = GATE_NOT_MASK};
	char *rest = o->value, *name;

	while ((name = strsep(&rest, ",|"))) {
		bool negated;
		int which;

		name = gate_trim(name);
		negated = *name == '!';
		which = gate_word_index(gate_trim(name + negated), names);
		if (which < 0) {
			return gate_refuse(r, "ssl_state: %s is no state that can be named",
					   *name ? name : "nothing");
		}
		test.a |= 1u << which;
		test.b |= negated ? 1u << which : 0;
	}
	return add_number(r, GATE_NUM_TLS_STATE, &test);
}
