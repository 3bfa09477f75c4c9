/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

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
