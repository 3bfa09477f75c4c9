/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges millions of recorded connections before and after a change: by classes (policy/classes.h),
 * so that documents are asked once for all connections that they can't tell apart. In the worker
 * that has the world.
 */
#ifndef BH_MANAGER_CHANGE_JUDGE_H
#define BH_MANAGER_CHANGE_JUDGE_H

#include "manager/change/world.h"

struct manager_judge;

/* The world is prepared. max: answers that are kept; more are asked for each time. */
struct manager_judge *manager_judge_new(struct manager_world *world, size_t max);
void manager_judge_free(struct manager_judge *judge); /* NULL is fine */

struct manager_judged {
	bool known;	       /* both ends */
	bool concerned;	       /* the change judges one of the ends by other policies */
	bool differs;	       /* one lets it pass, the other does not */
	uint8_t before, after; /* enum bh_policy_action; when known and concerned */
};
void manager_judge_ask(struct manager_judge *judge, const struct manager_question *question,
		       struct manager_judged *ret);
/* How often documents were asked. */
size_t manager_judge_asked(const struct manager_judge *judge);

#endif
