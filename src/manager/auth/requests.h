/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking for what one may not, and a second person's yes.
 *
 * Theory of operation
 *   A request of kind `grant` asks for one right at one tenant, for one object or for any, for some
 *   hours. Somebody else who may decide there, and who holds that right himself, approves it: then
 *   it is a grant, a holding of the one who asked (authorize.h) until its end, which comes by
 *   itself. Such a holding has been agreed to by a second person, so it is also what settings that
 *   want one ask for. A request of kind `vm` is a form; a yes to it changes nothing by itself.
 *   What is waiting or in force is kept in memory, all of it in bulkhead.db; the oldest of what is
 *   over goes when there are too many.
 *
 * Loop thread only. Who may decide is asked by the API (api/requests.c); never one's own is asked
 * here.
 */
#ifndef BH_MANAGER_AUTH_REQUESTS_H
#define BH_MANAGER_AUTH_REQUESTS_H

#include "manager/auth/authorize.h"
#include "manager/store/db.h"

#include <jansson.h>

#define MANAGER_ASK_OPEN_MAX   10000 /* waiting or in force, all together */
#define MANAGER_ASK_TENANT_MAX 200   /* of these, at one tenant: none fills it for others */
#define MANAGER_ASK_USER_MAX   20    /* waiting ones of one user */
#define MANAGER_ASK_KEEP       10000
#define MANAGER_ASK_REASON_MAX 400
#define MANAGER_ASK_FORM_MAX   4096
#define MANAGER_ASK_HOURS_MAX  (24 * 30)
#define MANAGER_ASK_WAITS_NS   (30 * 86400 * BH_NS_PER_S) /* then nobody decides any more */

enum manager_ask_state {
	MANAGER_ASK_WAITING,
	MANAGER_ASK_APPROVED, /* a grant in force; or a form that was agreed to */
	MANAGER_ASK_REFUSED,
	MANAGER_ASK_ENDED,   /* a grant that is over */
	MANAGER_ASK_EXPIRED, /* nobody decided */
	MANAGER_ASK_STATES,
};
const char *manager_ask_state_name(enum manager_ask_state state);

struct manager_ask {
	int64_t id;
	enum manager_ask_state state;
	bool form; /* kind `vm` */
	enum manager_verb verb;
	uint32_t tenant;
	char user[MANAGER_USER_MAX + 1], decided_by[MANAGER_USER_MAX + 1];
	char object[MANAGER_OBJECT_MAX + 1]; /* "": any of the tenant */
	char reason[MANAGER_ASK_REASON_MAX + 1], answer[MANAGER_ASK_REASON_MAX + 1];
	uint32_t hours;
	uint64_t created_ns, decided_ns, until_ns;
	char *what; /* of a form, JSON; owned, NULL */
	struct manager_ask *prev, *next;
};

struct manager_requests;
/* Somebody has to know: submitted, decided, ended (by somebody), over (a grant's time), expired
 * (nobody decided). ask is borrowed. */
typedef void manager_ask_fn(const struct manager_ask *ask, const char *event, void *arg);
[[nodiscard]] int manager_requests_new(struct manager_db *db, manager_ask_fn *tell, void *arg,
				       struct manager_requests **ret, struct bh_diag *diag);
void manager_requests_free(struct manager_requests *reqs); /* NULL is fine */
/* Ends what is over; every second. */
void manager_requests_tick(struct manager_requests *reqs, uint64_t now_ns);

/* ask is copied; id, state and times are set. -EDQUOT: too many are waiting. */
[[nodiscard]] int manager_requests_submit(struct manager_requests *reqs, struct manager_ask *ask,
					  uint64_t now_ns, struct bh_diag *diag);
/* What is waiting or in force; NULL. */
const struct manager_ask *manager_requests_find(const struct manager_requests *reqs, int64_t id);
/* -EPERM: it is his own; -EALREADY: it does not wait any more. hours 0: as was asked, else at most
 * that. */
[[nodiscard]] int manager_requests_decide(struct manager_requests *reqs, int64_t id,
					  const struct manager_ask *decision, uint64_t now_ns,
					  struct bh_diag *diag);
/* Before its time. -EALREADY when nothing of that id waits or is in force. */
[[nodiscard]] int manager_requests_end(struct manager_requests *reqs, int64_t id, const char *by,
				       uint64_t now_ns, struct bh_diag *diag);
/* All that this user waits for or was given: he is removed. */
[[nodiscard]] int manager_requests_forget(struct manager_requests *reqs, const char *user,
					  const char *by, uint64_t now_ns, struct bh_diag *diag);
/* Newest first, those with id < before (0: all); until fn returns non-zero. */
typedef int manager_ask_each_fn(const struct manager_ask *ask, void *arg);
[[nodiscard]] int manager_requests_each(struct manager_requests *reqs, int64_t before,
					manager_ask_each_fn *fn, void *arg, struct bh_diag *diag);

/* Adds the user's grants that are in force to what he holds. */
void manager_grants_add(const struct manager_requests *reqs, const char *user, uint64_t now_ns,
			struct manager_principal *p);
/* The request that lets this user do it; 0: none. For the record. */
int64_t manager_grant_of(const struct manager_requests *reqs, const char *user,
			 enum manager_verb verb, uint32_t tenant, const char *object,
			 uint64_t now_ns);

/* Rights that need a second person. */
uint64_t manager_requests_approval(const struct manager_requests *reqs);
[[nodiscard]] int manager_requests_set_approval(struct manager_requests *reqs, uint64_t rights,
						struct bh_diag *diag);

#endif
