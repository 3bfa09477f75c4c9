/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renewal of this host's certificate. When less than a third of its time is left the manager is
 * asked, over the bus, to sign a new key; the new pair is swapped in and the bus connects anew with
 * it. What is on its way to the manager stays in the spool meanwhile, so no event is lost.
 *
 * A new key each time: whoever has copied the old one (a backup, a disk that went back) is locked
 * out when the old certificate ends, without anybody having to notice.
 *
 * It knows the agent only through the functions it is given, and the time only as an argument. Loop
 * thread only; files are read and written there, some kilobytes a day.
 */
#ifndef BH_HOST_AGENT_RENEW_H
#define BH_HOST_AGENT_RENEW_H

#include "base/diag.h"
#include "bus/client.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct hostd_renew;

struct hostd_renew_options {
	const char *dir;  /* <state_dir>/pki; copied */
	const char *name; /* the host's; copied */
	/* Sends `renew`; takes over body. fn is called once, with renew_arg. */
	void (*ask)(json_t *body, bh_bus_reply_fn *fn, void *renew_arg, void *arg);
	/* The files hold a new pair: connect with it. */
	void (*renewed)(void *arg);
	/* Tells people; takes over body. severity as in events. */
	void (*tell)(const char *type, const char *severity, json_t *body, void *arg);
	void *arg;
};

/* Finishes what a kill has left half done. Never fails: what is wrong with the files is told. */
struct hostd_renew *hostd_renew_new(const struct hostd_renew_options *options);
/* Not while a request is on its way: the bus must have ended it (-ECANCELED) before. */
void hostd_renew_free(struct hostd_renew *renew);
/* Call it every second. up: the manager answers. */
void hostd_renew_tick(struct hostd_renew *renew, bool up, int64_t wall_s, uint64_t mono_ns);
/* SHA-256 of the certificate in use, hex; "" when there is none. Borrowed. */
const char *hostd_renew_fingerprint(const struct hostd_renew *renew);
/* {"fingerprint", "not_after", "state": "good" | "due" | "expired" | "bad", "problem"}; owned. */
json_t *hostd_renew_json(const struct hostd_renew *renew, int64_t wall_s);

#endif
