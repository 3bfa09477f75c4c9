/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a connection may take. libmicrohttpd ends one that is silent for 30 s; one that sends or
 * takes a byte now and then would stay for ever, and a few hundred of them keep everybody else out.
 * So each has a deadline for what it is at: `seconds`, and one more for each PATIENCE_RATE bytes
 * that it sent or has to take. None while a handler works and while an answer without an end is
 * sent. Loop thread only.
 */
#ifndef BH_MANAGER_API_PATIENCE_H
#define BH_MANAGER_API_PATIENCE_H

#include "manager/api/crowd.h"
#include "manager/api/proxy.h"

#include <microhttpd.h>
#include <stddef.h>
#include <stdint.h>

#define PATIENCE_RATE (16u << 10)

enum manager_phase {
	PHASE_ASK,    /* until the headers are there: handshake and the wait for a request too */
	PHASE_BODY,   /* until the body is */
	PHASE_WORK,   /* a handler works, or the answer has no end: no deadline */
	PHASE_ANSWER, /* until the answer is taken */
};

struct manager_patience;

/* crowd and proxies are borrowed. */
struct manager_patience *manager_patience_new(uint64_t seconds, struct manager_crowd *crowd,
					      const struct manager_proxies *proxies);
/* After every connection has ended. */
void manager_patience_free(struct manager_patience *patience);
/* An MHD_AcceptPolicyCallback: has its address a place left? cls is the patience. */
enum MHD_Result manager_patience_accepts(void *cls, const struct sockaddr *sa, socklen_t size);
/* For MHD_OPTION_NOTIFY_CONNECTION; cls is the patience. */
void manager_patience_notify(void *cls, struct MHD_Connection *connection, void **context,
			     enum MHD_ConnectionNotificationCode code);
/* What it is at from now on; bytes: how many that is for sure. */
void manager_patience_turn(struct MHD_Connection *connection, enum manager_phase phase,
			   size_t bytes);
/* So many more of a body have come. */
void manager_patience_more(struct MHD_Connection *connection, size_t bytes);
/* Cuts it off now, whatever it is at. */
void manager_patience_end(struct MHD_Connection *connection);
/* Cuts off whoever takes too long. */
void manager_patience_look(struct manager_patience *patience, uint64_t mono_ns);

#endif
