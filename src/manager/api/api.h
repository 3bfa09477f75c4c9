/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's HTTP API (docs/api.yaml): HTTPS on TCP with a bearer token, HTTP on a unix socket
 * for root. libmicrohttpd without threads of its own: its epoll descriptor and its timeouts hang on
 * the loop, and a request that has to wait is suspended. Loop thread only.
 */
#ifndef BH_MANAGER_API_API_H
#define BH_MANAGER_API_API_H

#include "bus/client.h"
#include "bus/server.h"
#include "manager/change/change.h"
#include "manager/api/proxy.h"
#include "manager/auth/requests.h"
#include "manager/distribute/distribute.h"
#include "manager/enroll/enroll.h"
#include "manager/events/alerts.h"
#include "manager/events/channels.h"
#include "manager/events/events.h"
#include "manager/link/link.h"
#include "manager/orders/orders.h"

struct manager_api;

/* The parts that requests work on; all borrowed. bus and server may be NULL (tests). */
struct manager_parts {
	uv_loop_t *loop;
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_distribute *dist;
	struct manager_events *events;
	struct manager_alerts *alerts;	   /* NULL in tests */
	struct manager_channels *channels; /* NULL in tests */
	struct manager_enroll *enroll;
	struct manager_accounts *accounts;
	struct manager_link *link;
	struct manager_migrate *migrate;
	struct manager_orders *orders;
	struct manager_change *change;
	struct manager_audit *audit; /* NULL: nothing is recorded (tests) */
	struct manager_requests *requests;
	struct bh_bus *bus;
	struct bh_bus_server *server;
	const char *default_tenant;
	uint64_t started_ns;
};

struct manager_api_options {
	const char *listen;			   /* "0.0.0.0:7443"; "" none */
	const char *unix_path;			   /* NULL: none */
	const char *cert_file, *key_file, *ca_pem; /* for HTTPS; the CA is sent with the chain */
	const char *console_dir;		   /* of the web console; NULL: none */
	uint64_t patience_s;			   /* patience.h */
	const struct manager_proxies *proxies;	   /* borrowed */
	const uint8_t *token_hash; /* 32 bytes: SHA-256 of the administrator's token */
};
[[nodiscard]] int manager_api_new(const struct manager_parts *parts,
				  const struct manager_api_options *options,
				  struct manager_api **ret, struct bh_diag *diag);
/* Ends every request; handles close on the loop. */
void manager_api_close(struct manager_api *api);
void manager_api_free(struct manager_api *api);
/* Takes the certificate and key that are in the files now; nothing when they are those in use.
 * Connections go on with the one they began with. On failure the old ones stay in use. */
[[nodiscard]] int manager_api_reload(struct manager_api *api, struct bh_diag *diag);
/* Heartbeats of event streams; every ten seconds. */
void manager_api_beat(struct manager_api *api);
/* The port it listens on; 0 none. */
unsigned int manager_api_port(const struct manager_api *api);
/* What `status` says, also for the control socket; owned. */
json_t *manager_api_status(const struct manager_parts *parts, size_t followers);
json_t *manager_api_host(const struct manager_host *host); /* owned */
/* A manager_ask_fn: event and audit entry of what became of a request; arg is the struct
 * manager_parts. */
manager_ask_fn manager_api_asked;
/* A manager_order_fn: event and audit entry of an order that ended; arg as above. */
manager_order_fn manager_api_ordered;

#endif
