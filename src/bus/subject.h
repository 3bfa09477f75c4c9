/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subjects of the bus (docs/architecture.md, "Bus"). A host's name may hold dots and a dot divides
 * tokens, so on the bus a dot in a name is written as an underscore, which no name holds: otherwise
 * host "a" (inbox `_INBOX.host.a.>`) could read the replies of host "a.b". Pure.
 */
#ifndef BH_BUS_SUBJECT_H
#define BH_BUS_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>

#define BH_SUBJECT_SIZE 160 /* enough for every subject made here */

#define BH_SUBJECT_ALL_REQ "bh.host.*.req"
#define BH_SUBJECT_ALL_REQ_REPLY                                                                   \
	"_INBOX.host.*." /* where a reply to these may go; see bh_bus_serve() */
#define BH_SUBJECT_PEER_REPLY	 "_INBOX.host.*." /* the `*` is the one who asks */
#define BH_SUBJECT_MANAGER_INBOX "_INBOX.manager"

/* Each writes the subject for a valid name (bh_name_valid) and returns buf. */
const char *bh_subject_req(const char *host, char buf[BH_SUBJECT_SIZE]);
const char *bh_subject_cmd(const char *host, char buf[BH_SUBJECT_SIZE]);
const char *bh_subject_ev(const char *producer, char buf[BH_SUBJECT_SIZE]);
const char *bh_subject_inbox(const char *host,
			     char buf[BH_SUBJECT_SIZE]); /* "_INBOX.host.<name>" */
/* What host `from` asks host `to`: "bh.peer.<to>.<from>". The bus lets only `from` publish it, and
 * only `to` read it. */
const char *bh_subject_peer(const char *to, const char *from, char buf[BH_SUBJECT_SIZE]);
/* What host `to` serves: "bh.peer.<to>.*", with replies to BH_SUBJECT_PEER_REPLY. */
const char *bh_subject_peers(const char *to, char buf[BH_SUBJECT_SIZE]);

/* The name in `bh.host.<name>.req`, `bh.host.<name>.cmd` or `bh.ev.<name>`, the sender's in
 * `bh.peer.<to>.<from>`; -EINVAL when it is none. */
[[nodiscard]] int bh_subject_name(const char *subject, char *ret_name, size_t size);

/* A name that a host may have: valid, and not "manager". */
bool bh_subject_host_valid(const char *name);

#endif
