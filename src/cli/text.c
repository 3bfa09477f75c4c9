/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include "base/buf.h"
#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <locale.h>
#include <time.h>
#include <wchar.h>

void cli_text_init(void)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8")) {
		setlocale(LC_CTYPE, "");
	}
}

/* One character at s: its bytes (1 for an invalid one) and its code, or 0 when invalid. */
static size_t next_char(const char *s, uint32_t *ret_code)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *)s;
	unsigned int size = *p < 0x80	? 1
			    : *p < 0xc2 ? 0
			    : *p < 0xe0 ? 2
			    : *p < 0xf0 ? 3
			    : *p < 0xf5 ? 4
					: 0;
	uint32_t code;

	*ret_code = 0;
	if (size == 0) {
		return 1;
	}
	if (size == 1) {
		*ret_code = *p;
		return 1;
	}
	code = *p & (0x7fu >> size);
	for (unsigned int i = 1; i < size; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 1;
		}
		code = code << 6 | (p[i] & 0x3fu);
	}
	if (code < lowest[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
		return 1;
	}
	*ret_code = code;
	return size;
}

static size_t char_width(uint32_t code)
{
	int width = code ? wcwidth((wchar_t)code) : 1;

	return width > 0 ? (size_t)width : 0;
}

size_t cli_text_width(const char *s)
{
	size_t width = 0;
	uint32_t code;

	while (*s) {
		s += next_char(s, &code);
		width += char_width(code);
	}
	return width;
}

static bool is_harmful(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x200e || code == 0x200f ||
	       (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
	       code == 0xfeff || code == 0x061c;
}

/* What stays of control characters: those of `keep`. */
static char *clean(const char *s, const char *keep)
{
	struct bh_wbuf w;
	char *copy;

	bh_wbuf_init(&w, 0);
	while (*s) {
		uint32_t code;
		size_t size = next_char(s, &code);

		if (!code) {
			bh_wbuf_printf(&w, "\\x%02x", (unsigned char)*s);
		} else if (!is_harmful(code) || (code < 0x80 && strchr(keep, (int)code))) {
			bh_wbuf_put(&w, s, size);
		} else if (code < 0x100) {
			bh_wbuf_printf(&w, "\\x%02x", code);
		} else {
			bh_wbuf_printf(&w, "\\u{%x}", code);
		}
		s += size;
	}
	copy = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return copy;
}

char *cli_text_clean(const char *s)
{
	return clean(s, "");
}

char *cli_text_clean_lines(const char *s)
{
	return clean(s, "\n\t");
}

char *cli_text_clean_json(const char *json)
{
	struct bh_wbuf w;
	char *copy;

	bh_wbuf_init(&w, 0);
	while (*json) {
		uint32_t code;
		size_t size = next_char(json, &code);

		/* Below 0x20 there is only what stands between values. */
		if (code >= 0x20 && is_harmful(code)) {
			bh_wbuf_printf(&w, "\\u%04x", code);
		} else {
			bh_wbuf_put(&w, json, size);
		}
		json += size;
	}
	copy = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return copy;
}

char *cli_text_cut(const char *s, size_t width)
{
	const char *p = s;
	size_t used = 0;

	if (cli_text_width(s) <= width) {
		return bh_strdup(s);
	}
	if (width == 0) {
		return bh_strdup("");
	}
	while (*p) {
		uint32_t code;
		size_t size = next_char(p, &code);

		if (used + char_width(code) > width - 1) {
			break;
		}
		used += char_width(code);
		p += size;
	}
	return bh_asprintf("%.*s…", (int)(p - s), s);
}

uint64_t cli_time_parse(const char *s)
{
	uint64_t ns;

	return s && !bh_time_parse(s, strlen(s), &ns) ? ns : 0;
}

void cli_time_short(uint64_t time_ns, uint64_t now_ns, char ret_text[CLI_TIME_SIZE])
{
	time_t at = (time_t)(time_ns / BH_NS_PER_S);
	time_t now = (time_t)(now_ns / BH_NS_PER_S);
	struct tm at_tm = {};
	struct tm now_tm = {};
	bool today;

	localtime_r(&at, &at_tm);
	localtime_r(&now, &now_tm);
	today = at_tm.tm_year == now_tm.tm_year && at_tm.tm_yday == now_tm.tm_yday;
	if (!strftime(ret_text, CLI_TIME_SIZE, today ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &at_tm)) {
		ret_text[0] = '\0';
	}
}

void cli_time_age(uint64_t time_ns, uint64_t now_ns, char ret_text[CLI_TIME_SIZE])
{
	uint64_t s = now_ns > time_ns ? (now_ns - time_ns) / BH_NS_PER_S : 0;

	if (s == 0) {
		snprintf(ret_text, CLI_TIME_SIZE, "now");
	} else if (s < 120) {
		snprintf(ret_text, CLI_TIME_SIZE, "%us", (unsigned int)s);
	} else if (s < 7200) {
		snprintf(ret_text, CLI_TIME_SIZE, "%um", (unsigned int)(s / 60));
	} else if (s < 172800) {
		snprintf(ret_text, CLI_TIME_SIZE, "%uh", (unsigned int)(s / 3600));
	} else {
		snprintf(ret_text, CLI_TIME_SIZE, "%llud", (unsigned long long)(s / 86400));
	}
}

int cli_time_since(const char *s, uint64_t now_ns, uint64_t *ret_ns)
{
	static const struct {
		char letter;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	BH_FREE char *digits = bh_strdup(s);
	size_t len = strlen(digits);
	uint64_t unit = 1;
	uint64_t value;

	if (strchr(s, 'T')) {
		*ret_ns = cli_time_parse(s);
		return *ret_ns ? 0 : -EINVAL;
	}
	for (unsigned int i = 0; len && i < BH_ARRAY_SIZE(units); i++) {
		if (digits[len - 1] == units[i].letter) {
			unit = units[i].seconds;
			digits[len - 1] = '\0';
			break;
		}
	}
	if (bh_parse_u64(digits, 0, 100ull * 365 * 86400 / unit, &value)) {
		return -EINVAL;
	}
	value *= unit * BH_NS_PER_S;
	*ret_ns = now_ns > value ? now_ns - value : 0;
	return 0;
}

void cli_bytes_format(uint64_t bytes, char ret_text[CLI_TIME_SIZE])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	double value = (double)bytes;
	unsigned int i = 0;

	while (value >= 1000 && i + 1 < BH_ARRAY_SIZE(units)) {
		value /= 1000;
		i++;
	}
	snprintf(ret_text, CLI_TIME_SIZE, i ? "%.1f %s" : "%.0f %s", value, units[i]);
}
