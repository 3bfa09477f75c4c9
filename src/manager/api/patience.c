/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/patience.h"

#include "base/counter.h"
#include "base/time.h"
#include "base/util.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <utlist.h>

BH_COUNTER(api_slow, "connections cut off because their request or its answer took too long");

struct client {
	int fd;
	char place[MANAGER_CROWD_ADDRESS]; /* of a crowd; "": none */
	enum manager_phase phase;
	uint64_t since_ns;
	uint64_t bytes;
	struct client *prev, *next;
};

struct manager_patience {
	uint64_t seconds;
	struct manager_crowd *crowd;
	const struct manager_proxies *proxies;
	struct client *clients;
};

struct manager_patience *manager_patience_new(uint64_t seconds, struct manager_crowd *crowd,
					      const struct manager_proxies *proxies)
{
	struct manager_patience *p = bh_alloc(sizeof(*p));

	p->seconds = seconds;
	p->crowd = crowd;
	p->proxies = proxies;
	return p;
}

void manager_patience_free(struct manager_patience *p)
{
	free(p);
}

static struct client *client_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void turn(struct client *c, enum manager_phase phase, size_t bytes)
{
	c->phase = phase;
	c->since_ns = bh_time_mono_ns();
	c->bytes = bytes;
}

/* Requests of who comes through a proxy have places of their own (server.c). */
static bool has_place(const struct manager_patience *p, const char *address)
{
	return *address && !manager_proxies_trust(p->proxies, address);
}

enum MHD_Result manager_patience_accepts(void *cls, const struct sockaddr *sa, socklen_t size)
{
	const struct manager_patience *p = cls;
	char address[MANAGER_CROWD_ADDRESS];

	manager_crowd_address(sa, address);
	return !has_place(p, address) || manager_crowd_has_room(p->crowd, address) ? MHD_YES
										   : MHD_NO;
}

static void take_place(struct manager_patience *p, struct MHD_Connection *connection,
		       struct client *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	manager_crowd_address(info ? info->client_addr : NULL, c->place);
	if (!has_place(p, c->place) || !manager_crowd_enter(p->crowd, c->place)) {
		*c->place = '\0';
	}
}

void manager_patience_notify(void *cls, struct MHD_Connection *connection, void **context,
			     enum MHD_ConnectionNotificationCode code)
{
	struct manager_patience *p = cls;
	struct client *c = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

		c = bh_alloc(sizeof(*c));
		c->fd = info ? info->connect_fd : -1;
		take_place(p, connection, c);
		turn(c, PHASE_ASK, 0);
		DL_APPEND(p->clients, c);
		*context = c;
	} else if (c) {
		if (*c->place) {
			manager_crowd_leave(p->crowd, c->place);
		}
		DL_DELETE(p->clients, c);
		free(c);
		*context = NULL;
	}
}

void manager_patience_turn(struct MHD_Connection *connection, enum manager_phase phase,
			   size_t bytes)
{
	struct client *c = client_of(connection);

	if (c) {
		turn(c, phase, bytes);
	}
}

void manager_patience_more(struct MHD_Connection *connection, size_t bytes)
{
	struct client *c = client_of(connection);

	if (c) {
		c->bytes += bytes;
	}
}

/* libmicrohttpd sees the end of it, and closes it. */
static void cut(struct client *c)
{
	shutdown(c->fd, SHUT_RDWR);
	c->phase = PHASE_WORK;
}

void manager_patience_end(struct MHD_Connection *connection)
{
	struct client *c = client_of(connection);

	if (c) {
		cut(c);
	}
}

void manager_patience_look(struct manager_patience *p, uint64_t mono_ns)
{
	struct client *c;

	DL_FOREACH (p->clients, c) {
		uint64_t limit_s = p->seconds + c->bytes / PATIENCE_RATE;

		if (c->phase == PHASE_WORK || mono_ns < c->since_ns + limit_s * BH_NS_PER_S) {
			continue;
		}
		cut(c);
		bh_counter_add(&api_slow, 1);
	}
}
