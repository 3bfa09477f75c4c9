/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named counters of a program. Every drop, retry, refusal, eviction and overflow has one. A counter
 * is declared where it counts, registers itself before main() and shows up on the control socket.
 *
 *	BH_COUNTER(bus_publish_failed, "events whose publish was not acknowledged");
 *	bh_counter_add(&bus_publish_failed, 1);
 */
#ifndef BH_BASE_COUNTER_H
#define BH_BASE_COUNTER_H

#include <jansson.h>
#include <stdint.h>

struct bh_prog_counter {
	const char *name;
	const char *help;
	_Atomic uint64_t value;
	struct bh_prog_counter *next;
};

#define BH_COUNTER(id, text)                                                                       \
	static struct bh_prog_counter id = {.name = #id, .help = text};                            \
	__attribute__((constructor)) static void id##_register(void)                               \
	{                                                                                          \
		bh_counter_register(&id);                                                          \
	}                                                                                          \
	struct bh_prog_counter /* the semicolon of the caller */

void bh_counter_register(struct bh_prog_counter *c);
void bh_counter_add(struct bh_prog_counter *c, uint64_t n);
uint64_t bh_counter_get(const char *name); /* 0 when unknown */
/* {"name": {"value": n, "help": "..."}, ...}; owned. */
json_t *bh_counter_dump(void);

#endif
