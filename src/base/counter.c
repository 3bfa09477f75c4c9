/* SPDX-License-Identifier: Apache-2.0 */
#include "base/counter.h"

#include <string.h>

static struct bh_prog_counter *counters; /* grows before main() only */

void bh_counter_register(struct bh_prog_counter *c)
{
	c->next = counters;
	counters = c;
}

void bh_counter_add(struct bh_prog_counter *c, uint64_t n)
{
	c->value += n;
}

uint64_t bh_counter_get(const char *name)
{
	for (struct bh_prog_counter *c = counters; c; c = c->next) {
		if (!strcmp(c->name, name)) {
			return c->value;
		}
	}
	return 0;
}

json_t *bh_counter_dump(void)
{
	json_t *all = json_object();

	for (struct bh_prog_counter *c = counters; c; c = c->next) {
		json_object_set_new(
			all, c->name,
			json_pack("{s:I, s:s}", "value", (json_int_t)c->value, "help", c->help));
	}
	return all;
}
