/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <stdio.h>
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

void bh_time_format(uint64_t wall_ns, char ret_text[BH_TIME_TEXT_SIZE])
{
	time_t s = (time_t)(wall_ns / BH_NS_PER_S);
	unsigned int ms = (unsigned int)(wall_ns % BH_NS_PER_S / BH_NS_PER_MS);
	struct tm tm;
	char day[24];

	gmtime_r(&s, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret_text, BH_TIME_TEXT_SIZE, "%s.%03uZ", day, ms);
}
