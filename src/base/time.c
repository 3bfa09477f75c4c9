/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include "base/util.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * BH_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t bh_time_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t bh_time_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* strftime() and snprintf() took a third of the time of an event. */
static char *put_digits(char *p, unsigned int value, unsigned int count, char behind)
{
	for (unsigned int i = count; i--;) {
		p[i] = (char)('0' + value % 10);
		value /= 10;
	}
	p[count] = behind;
	return p + count + 1;
}

void bh_time_format(uint64_t wall_ns, char ret_text[BH_TIME_TEXT_SIZE])
{
	time_t s = (time_t)(wall_ns / BH_NS_PER_S);
	unsigned int ms = (unsigned int)(wall_ns % BH_NS_PER_S / BH_NS_PER_MS);
	struct tm tm;
	char *p = ret_text;

	gmtime_r(&s, &tm);
	p = put_digits(p, (unsigned int)tm.tm_year + 1900, 4, '-');
	p = put_digits(p, (unsigned int)tm.tm_mon + 1, 2, '-');
	p = put_digits(p, (unsigned int)tm.tm_mday, 2, 'T');
	p = put_digits(p, (unsigned int)tm.tm_hour, 2, ':');
	p = put_digits(p, (unsigned int)tm.tm_min, 2, ':');
	p = put_digits(p, (unsigned int)tm.tm_sec, 2, '.');
	p = put_digits(p, ms, 3, 'Z');
	*p = '\0';
}

/* Digits at s, all of them. */
static bool digits(const char *s, size_t count, unsigned int *ret)
{
	*ret = 0;
	for (size_t i = 0; i < count; i++) {
		if (s[i] < '0' || s[i] > '9') {
			return false;
		}
		*ret = *ret * 10 + (unsigned int)(s[i] - '0');
	}
	return true;
}

static unsigned int days_in(unsigned int year, unsigned int month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* Of the Gregorian calendar since 1970-01-01, for years from 1970 on. Years begin in March, so that
 * the odd day comes last (Hinnant, chrono-compatible low-level date algorithms). */
static uint64_t days_since_1970(unsigned int year, unsigned int month, unsigned int day)
{
	unsigned int y = year - (month <= 2);
	unsigned int of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return 365ull * y + y / 4 - y / 100 + y / 400 + of_year - 719468;
}

/* "2026-11-22T00:00:00" at s, which has 19 characters. */
static bool second_parse(const char *s, uint64_t *ret_s)
{
	static const char between[] = "--T::";
	unsigned int part[6]; /* year, month, day, hour, minute, second */
	size_t at = 0;

	for (size_t i = 0; i < BH_ARRAY_SIZE(part); i++) {
		size_t count = i ? 2 : 4;

		if (!digits(s + at, count, &part[i])) {
			return false;
		}
		at += count;
		if (at < 19 && s[at++] != between[i]) {
			return false;
		}
	}
	/* up to where nanoseconds fit into 63 bits */
	if (part[0] < 1970 || part[0] > 2261 || part[1] < 1 || part[1] > 12 || part[2] < 1 ||
	    part[2] > days_in(part[0], part[1]) || part[3] > 23 || part[4] > 59 || part[5] > 60) {
		return false;
	}
	*ret_s = ((days_since_1970(part[0], part[1], part[2]) * 24 + part[3]) * 60 + part[4]) * 60 +
		 part[5];
	return true;
}

int bh_time_parse(const char *s, size_t size, uint64_t *ret_ns)
{
	uint64_t unit = BH_NS_PER_S;
	uint64_t seconds = 0;
	uint64_t ns = 0;
	size_t at = 19;

	if (size < 20 || !second_parse(s, &seconds)) {
		return -EINVAL;
	}
	if (s[at] == '.') {
		for (at++; at < size && s[at] >= '0' && s[at] <= '9' && unit > 1; at++) {
			unit /= 10;
			ns += (uint64_t)(s[at] - '0') * unit;
		}
	}
	if (at + 1 != size || s[at] != 'Z') {
		return -EINVAL;
	}
	*ret_ns = seconds * BH_NS_PER_S + ns;
	return 0;
}
