/* SPDX-License-Identifier: Apache-2.0 */
/* What anybody can cause again and again: so many entries a minute, then a number. */
#include "manager/audit/internal.h"

#include "base/counter.h"
#include "base/time.h"

BH_COUNTER(audit_left_out, "denials and the like that were counted in another entry");

static void write_left_out(struct manager_audit *audit, struct audit_limit *l)
{
	if (l->left_out) {
		l->last->note.left_out = l->left_out - 1; /* besides this one */
		manager_audit_add(audit, &l->last->note, l->last->wall_ns);
		audit_late_free(bh_steal(&l->last));
		l->left_out = 0;
	}
}

static void drop(struct manager_audit *audit, struct audit_limit *l)
{
	write_left_out(audit, l);
	HASH_DEL(audit->limits, l);
	free(l->key);
	free(l);
}

void audit_limits_tick(struct manager_audit *audit, uint64_t wall_ns)
{
	struct audit_limit *l, *tmp;

	HASH_ITER (hh, audit->limits, l, tmp) {
		if (wall_ns < l->since_ns || wall_ns - l->since_ns >= AUDIT_LIMIT_NS) {
			drop(audit, l);
		}
	}
}

void audit_limits_done(struct manager_audit *audit)
{
	struct audit_limit *l, *tmp;

	HASH_ITER (hh, audit->limits, l, tmp) {
		drop(audit, l);
	}
}

/* The table is bounded: many addresses together get one window. */
static struct audit_limit *limit_of(struct manager_audit *audit, const struct manager_audit_note *n,
				    uint64_t wall_ns)
{
	bool full = HASH_COUNT(audit->limits) >= AUDIT_LIMITS_MAX;
	BH_FREE char *key = bh_asprintf("%u\n%s\n%s\n%s", n->tenant, n->user ? n->user : "",
					n->from ? n->from : "", n->act ? n->act : "");
	struct audit_limit *l;

	HASH_FIND_STR(audit->limits, key, l);
	if (!l && full) {
		free(key);
		key = bh_strdup("");
		HASH_FIND_STR(audit->limits, key, l);
	}
	if (!l) {
		l = bh_alloc(sizeof(*l));
		l->key = bh_steal(&key);
		l->since_ns = wall_ns;
		HASH_ADD_KEYPTR(hh, audit->limits, l->key, strlen(l->key), l);
	}
	return l;
}

bool manager_audit_limited(struct manager_audit *audit, const struct manager_audit_note *note,
			   uint64_t wall_ns)
{
	struct audit_limit *l = limit_of(audit, note, wall_ns);

	if (l->passed < AUDIT_LIMIT_PASS) {
		l->passed++;
		manager_audit_add(audit, note, wall_ns);
		return true;
	}
	bh_counter_add(&audit_left_out, 1);
	l->left_out++;
	audit_late_free(l->last);
	l->last = audit_late_new(note, wall_ns);
	return false;
}

bool manager_audit_denied(struct manager_audit *audit, const struct manager_audit_note *note,
			  uint64_t wall_ns)
{
	struct manager_audit_note denied = *note;

	denied.state = denied.result = "denied";
	return manager_audit_limited(audit, &denied, wall_ns);
}
