/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves while the manager is away (docs/migration.md, "Without the manager"). alone.c keeps what
 * the manager signed for that time and what happened in it, and answers as source; alone_ask.c asks
 * as target.
 *
 * Theory of operation
 *   Grant    The manager's word for this host, for one state of it (model/grant.h); on disk, and
 *            worth something only as long as the host holds that state.
 *   Target   asks the hosts that its grant names who runs the VM; that one shows its own grant and
 *            hands over what the VM's policy is compiled to. Both grants must be of one revision,
 *            and the digests in the source's must be those of what came. Then it is put beside what
 *            the manager sent, and the move goes on as any other.
 *   Record   Both hosts keep in alone.json that the move went on without the manager, and name it
 *            in their next hello. Until that is answered the target takes no other state: it would
 *            not have the VM in it.
 *
 * One object per agent. Loop only.
 */
#ifndef BH_HOST_CAPSULE_ALONE_H
#define BH_HOST_CAPSULE_ALONE_H

#include "host/agent/agent.h"
#include "model/grant.h"

struct hostd_alone;

/* After the state was read from disk. */
struct hostd_alone *hostd_alone_new(struct hostd_agent *agent);
/* After the bus is gone. NULL is fine. */
void hostd_alone_free(struct hostd_alone *alone);

/* The manager's command `grant`. */
void hostd_alone_command(struct hostd_agent *agent, struct bh_bus_request *req, const json_t *json);
/* What other hosts ask; false: nothing of ours. */
bool hostd_alone_peer(struct hostd_agent *agent, struct bh_bus_request *req, const char *type,
		      const struct bh_bus_msg *msg);

/* ---- as target ---- */
struct hostd_alone_answer {
	const char *refused; /* the sentence; NULL: it may come */
	const char *id;	     /* of the move */
	const char *source;
};
/* Called once, maybe before hostd_alone_ask() returned. Texts are borrowed for the call. */
typedef void hostd_alone_fn(const struct hostd_alone_answer *answer, void *arg);
/* vm: as reported; borrowed for the call. When it may come, what it needs is in the kernel. */
void hostd_alone_ask(struct hostd_agent *agent, const json_t *vm, hostd_alone_fn *fn, void *arg);

/* ---- what became of it ---- */
/* The source has sent everything. */
void hostd_alone_final(struct hostd_agent *agent, const char *id);
/* Nothing came of it, or the manager knows and has ended it. */
void hostd_alone_over(struct hostd_agent *agent, const char *id);
/* The target gives it up: the source is told. */
void hostd_alone_failed(struct hostd_agent *agent, const char *id);

/* ---- the manager comes back ---- */
/* Adds `grant` and `alone` to a hello. */
void hostd_alone_hello(struct hostd_agent *agent, json_t *hello);
/* What the answer does not list is over. */
void hostd_alone_listed(struct hostd_agent *agent, const json_t *migrations);
/* Something happened that the manager does not know yet. */
bool hostd_alone_untold(const struct hostd_agent *agent);
/* This move is in no hello yet: an answer that does not list it says nothing of it. */
bool hostd_alone_unnamed(const struct hostd_agent *agent, const char *id);
json_t *hostd_alone_json(const struct hostd_agent *agent); /* owned */

/* ---- between the two files ---- */
/* Is this host's own grant good, now and for what it holds? 0, or -EPERM with the sentence. */
[[nodiscard]] int alone_check_own(const struct hostd_agent *agent, const struct bh_grant **ret,
				  struct bh_diag *diag);
/* {"text", "sig", "cert"} as the manager wrote it. */
[[nodiscard]] int alone_read_grant(const struct hostd_agent *agent, const json_t *signed_grant,
				   struct bh_grant **ret, struct bh_diag *diag);
/* May another move be noted? 0, or -EBUSY with the sentence. */
[[nodiscard]] int alone_room(const struct hostd_agent *agent, struct bh_diag *diag);
/* Notes a move, where there is room; `peer` is the other host. */
void alone_note(struct hostd_agent *agent, const char *id, const char *vm, const char *role,
		const char *peer);
/* The other host of a move that is noted; false: it is none. */
bool alone_peer(const struct hostd_agent *agent, const char *id, char ret_peer[BH_NAME_MAX + 1]);
/* Puts segments beside what the manager sent. */
[[nodiscard]] int alone_install(struct hostd_agent *agent, const struct bh_image *state,
				struct bh_diag *diag);

#endif
