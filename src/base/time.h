/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and their text form. Logic takes the time as a parameter; only loops and programs ask
 * here. */
#ifndef BH_BASE_TIME_H
#define BH_BASE_TIME_H

#include <stddef.h>
#include <stdint.h>

#define BH_NS_PER_S	  1000000000ull
#define BH_NS_PER_MS	  1000000ull
#define BH_TIME_TEXT_SIZE 32

uint64_t bh_time_mono_ns(void); /* CLOCK_MONOTONIC, the clock of bpf_ktime_get_ns() */
uint64_t bh_time_wall_ns(void); /* CLOCK_REALTIME, since 1970 UTC */
/* RFC 3339 in UTC with milliseconds, "2026-11-21T23:33:16.123Z". */
void bh_time_format(uint64_t wall_ns, char ret_text[BH_TIME_TEXT_SIZE]);
/* Reads RFC 3339 in UTC ("Z") with a fraction of up to nine digits or none, of the years 1970 to
 * 2261. s has size characters and needs no NUL. -EINVAL. */
[[nodiscard]] int bh_time_parse(const char *s, size_t size, uint64_t *ret_ns);

#endif
