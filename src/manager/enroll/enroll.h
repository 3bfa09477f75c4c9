/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and who may join: the CA, the certificates of manager, bus and API, the administrator's
 * token, join tokens of hosts, renewal of their certificates. Tokens are random 256-bit numbers of
 * which the store keeps the SHA-256 only. What is issued to a host is kept in the store; NATS knows
 * names only, so a certificate holds until it ends or its host is removed. Loop thread only;
 * blocking (keys are made at start).
 */
#ifndef BH_MANAGER_ENROLL_ENROLL_H
#define BH_MANAGER_ENROLL_ENROLL_H

#include "bus/pki.h"
#include "bus/server.h"
#include "manager/inventory/inventory.h"

#define MANAGER_JOIN_TOKEN_SIZE (4 + 64 + 1 + 64 + 1) /* bh1.<fingerprint>.<secret> */

struct manager_enroll;

struct manager_enroll_options {
	const char *state_dir;
	const char *bus_url; /* what hosts are told; NULL: made of the first address that is not
			      * loopback and the port of bus_listen */
	const char *bus_listen;
	const char *const *names; /* further names and addresses of this machine for certificates */
	size_t name_count;
	unsigned int host_cert_life_s; /* 0: BH_PKI_DAYS_CERT */
	struct manager_db *db;
	struct manager_inventory *inv;
};
/* Makes what is missing, renews what is due. */
[[nodiscard]] int manager_enroll_new(const struct manager_enroll_options *options,
				     struct manager_enroll **ret, struct bh_diag *diag);
void manager_enroll_free(struct manager_enroll *enroll);
/* From here on the list of hosts of the private server follows. */
void manager_enroll_set_server(struct manager_enroll *enroll, struct bh_bus_server *server);
/* Renews certificates that are due; *ret_changed: some were. Events `certificate.renewed`,
 * `certificate.failed`, and in the CA's last year `certificate.ca-expiring`. */
[[nodiscard]] int manager_enroll_renew(struct manager_enroll *enroll, bool *ret_changed,
				       struct bh_diag *diag);

const char *manager_enroll_fingerprint(const struct manager_enroll *enroll);
const char *manager_enroll_ca(const struct manager_enroll *enroll);	 /* PEM */
const char *manager_enroll_bus_url(const struct manager_enroll *enroll); /* for hosts */
/* SHA-256 of the administrator's token; made and written to <state_dir>/admin.token at the first
 * start. */
[[nodiscard]] int manager_enroll_admin(struct manager_enroll *enroll, uint8_t ret_hash[32],
				       struct bh_diag *diag);

struct manager_join_token {
	int64_t id;
	char text[MANAGER_JOIN_TOKEN_SIZE];
	uint64_t expires_ns;
};
/* name NULL: any host. */
[[nodiscard]] int manager_enroll_token(struct manager_enroll *enroll, const char *name,
				       uint64_t ttl_s, uint64_t now_ns,
				       struct manager_join_token *ret, struct bh_diag *diag);

struct manager_enroll_request {
	const char *token, *name, *csr;
	uint64_t now_ns;
};
struct manager_enroll_answer {
	char *cert;	/* PEM, owned */
	const char *ca; /* PEM */
	const char *bus_url;
};
/* -EACCES for a token that does not fit, -EINVAL / -EBADMSG for a wrong name or request. */
[[nodiscard]] int manager_enroll(struct manager_enroll *enroll,
				 const struct manager_enroll_request *request,
				 struct manager_enroll_answer *ret, struct bh_diag *diag);

/* ---- renewal ---- */
enum manager_renew_error {
	MANAGER_RENEW_LIMITED = 1, /* this host got too many today */
};
/* Signs the request of a host that asks as itself. The name in the request must be the host's own.
 * *ret_cert is PEM, owned. 0, MANAGER_RENEW_LIMITED, -EBADMSG, -EACCES for a foreign name. */
[[nodiscard]] int manager_enroll_host_renew(struct manager_enroll *enroll,
					    struct manager_host *host, const char *csr,
					    uint64_t now_ns, char **ret_cert, struct bh_diag *diag);
/* The host says which certificate it is using: older ones of it are forgotten. */
void manager_enroll_host_uses(struct manager_enroll *enroll, struct manager_host *host,
			      const char *fingerprint);
/* Tells once of each host whose certificate has ended (event `certificate.expired`). Call it now
 * and then. */
void manager_enroll_look(struct manager_enroll *enroll, int64_t now_s);

/* Tells the bus which hosts there are: the private server, or <state_dir>/bus-users.conf, which the
 * nodes of an external cluster include. */
[[nodiscard]] int manager_enroll_hosts_changed(struct manager_enroll *enroll, struct bh_diag *diag);
/* The names of all hosts, owned array of borrowed texts. */
const char **manager_enroll_hosts(const struct manager_enroll *enroll, size_t *ret_count);

#endif
