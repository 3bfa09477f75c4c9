/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/enroll/enroll.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/util.h"
#include "bus/client.h"
#include "bus/subject.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <uv.h>

#define ALTS_MAX   32
#define TOKENS_MAX 10000

BH_COUNTER(enroll_joined, "hosts that joined");
BH_COUNTER(enroll_refused, "attempts to join with a token that does not fit");

struct manager_enroll {
	struct manager_enroll_options o;
	struct bh_pki_ca *ca;
	struct bh_bus_server *server;
	char *pki_dir;
	char *bus_url;
	char *alts[ALTS_MAX];
	size_t alt_count;
};

/* ---- names of this machine ---- */

static void add_alt(struct manager_enroll *e, const char *name)
{
	for (size_t i = 0; i < e->alt_count; i++) {
		if (strcmp(e->alts[i], name) == 0) {
			return;
		}
	}
	if (e->alt_count < ALTS_MAX && *name) {
		e->alts[e->alt_count++] = bh_strdup(name);
	}
}

static void find_alts(struct manager_enroll *e, char *ret_address, size_t size)
{
	uv_interface_address_t *list = NULL;
	char name[HOST_NAME_MAX + 1] = "";
	int count = 0;

	for (size_t i = 0; i < e->o.name_count; i++) {
		add_alt(e, e->o.names[i]);
	}
	add_alt(e, "localhost");
	add_alt(e, "127.0.0.1");
	add_alt(e, "::1");
	if (gethostname(name, sizeof(name) - 1) == 0) {
		add_alt(e, name);
	}
	if (uv_interface_addresses(&list, &count) != 0) {
		return;
	}
	for (int i = 0; i < count; i++) {
		char text[64] = "";
		bool v4 = list[i].address.address4.sin_family == AF_INET;

		if (list[i].is_internal) {
			continue;
		}
		if (v4) {
			uv_ip4_name(&list[i].address.address4, text, sizeof(text));
		} else if (!IN6_IS_ADDR_LINKLOCAL(&list[i].address.address6.sin6_addr)) {
			uv_ip6_name(&list[i].address.address6, text, sizeof(text));
		}
		add_alt(e, text);
		if (v4 && !*ret_address) {
			snprintf(ret_address, size, "%s", text);
		}
	}
	uv_free_interface_addresses(list, count);
}

static void make_url(struct manager_enroll *e, const char *address)
{
	const char *colon = strrchr(e->o.bus_listen, ':');

	if (e->o.bus_url && *e->o.bus_url) {
		e->bus_url = bh_strdup(e->o.bus_url);
	} else if (strncmp(e->o.bus_listen, "0.0.0.0:", 8) == 0 ||
		   strncmp(e->o.bus_listen, "[::]:", 5) == 0) {
		e->bus_url = bh_asprintf("tls://%s%s", *address ? address : "127.0.0.1",
					 colon ? colon : "");
	} else {
		e->bus_url = bh_asprintf("tls://%s", e->o.bus_listen);
	}
}

int manager_enroll_renew(struct manager_enroll *e, bool *ret_changed, struct bh_diag *diag)
{
	const struct bh_pki_subject manager = {.name = "manager", .usage = BH_PKI_CLIENT};
	const struct bh_pki_subject bus = {.name = BH_BUS_SERVER_NAME,
					   .alts = (const char *const *)e->alts,
					   .alt_count = e->alt_count,
					   .usage = BH_PKI_SERVER};
	const struct bh_pki_subject api = {.name = "api.bulkhead",
					   .alts = (const char *const *)e->alts,
					   .alt_count = e->alt_count,
					   .usage = BH_PKI_SERVER};
	bool one = false;
	int r;

	*ret_changed = false;
	r = bh_pki_ensure(e->ca, e->pki_dir, "manager", &manager, &one, diag);
	*ret_changed |= one;
	if (r == 0) {
		r = bh_pki_ensure(e->ca, e->pki_dir, "bus", &bus, &one, diag);
		*ret_changed |= one;
	}
	if (r == 0) {
		r = bh_pki_ensure(e->ca, e->pki_dir, "api", &api, &one, diag);
		*ret_changed |= one;
	}
	return r;
}

int manager_enroll_new(const struct manager_enroll_options *options, struct manager_enroll **ret,
		       struct bh_diag *diag)
{
	struct manager_enroll *e = bh_alloc(sizeof(*e));
	char address[64] = "";
	bool changed;
	int r;

	e->o = *options;
	e->pki_dir = bh_asprintf("%s/pki", options->state_dir);
	find_alts(e, address, sizeof(address));
	make_url(e, address);
	r = bh_pki_ca_open(e->pki_dir, &e->ca, diag);
	if (r == 0) {
		r = manager_enroll_renew(e, &changed, diag);
	}
	if (r < 0) {
		manager_enroll_free(e);
		return r;
	}
	*ret = e;
	return 0;
}

void manager_enroll_free(struct manager_enroll *e)
{
	if (!e) {
		return;
	}
	bh_pki_ca_free(e->ca);
	for (size_t i = 0; i < e->alt_count; i++) {
		free(e->alts[i]);
	}
	free(e->pki_dir);
	free(e->bus_url);
	free(e);
}

void manager_enroll_set_server(struct manager_enroll *e, struct bh_bus_server *server)
{
	e->server = server;
}

const char *manager_enroll_fingerprint(const struct manager_enroll *e)
{
	return bh_pki_ca_fingerprint(e->ca);
}

const char *manager_enroll_ca(const struct manager_enroll *e)
{
	return bh_pki_ca_pem(e->ca);
}

const char *manager_enroll_bus_url(const struct manager_enroll *e)
{
	return e->bus_url;
}

/* ---- the administrator's token ---- */

static int take_blob(sqlite3_stmt *row, void *arg)
{
	if (sqlite3_column_bytes(row, 0) == 32) {
		memcpy(arg, sqlite3_column_blob(row, 0), 32);
		return 1;
	}
	return 0;
}

static void make_secret(char ret_hex[65], uint8_t ret_hash[32])
{
	uint8_t secret[32];

	randombytes_buf(secret, sizeof(secret));
	bh_hex_format(secret, sizeof(secret), ret_hex);
	crypto_hash_sha256(ret_hash, (const unsigned char *)ret_hex, 64);
	sodium_memzero(secret, sizeof(secret));
}

int manager_enroll_admin(struct manager_enroll *e, uint8_t ret_hash[32], struct bh_diag *diag)
{
	BH_FREE char *path = bh_asprintf("%s/admin.token", e->o.state_dir);
	char text[66];
	int r;

	r = manager_db_each(e->o.db, (struct manager_db_each){take_blob, ret_hash}, diag,
			    "SELECT value FROM settings WHERE name = 'admin-token'", "");
	if (r != 0) {
		return r < 0 ? r : 0;
	}
	make_secret(text, ret_hash);
	text[64] = '\n';
	text[65] = '\0';
	r = bh_file_replace(path, text, 65, 0600, diag);
	if (r == 0) {
		r = manager_db_run(e->o.db, diag, "INSERT INTO settings VALUES ('admin-token', ?1)",
				   "b", ret_hash, (size_t)32);
	}
	sodium_memzero(text, sizeof(text));
	return r;
}

/* ---- join tokens ---- */

int manager_enroll_token(struct manager_enroll *e, const char *name, uint64_t ttl_s,
			 uint64_t now_ns, struct manager_join_token *ret, struct bh_diag *diag)
{
	struct manager_store_token row = {.name = name, .created_ns = now_ns};
	uint8_t hash[32];
	char secret[65];

	if (name && !bh_subject_host_valid(name)) {
		return bh_diag_set(diag, -EINVAL, "'%.80s' can't be a host's name", name);
	}
	if (manager_db_number(e->o.db, 0, "SELECT count(*) FROM tokens", "") >= TOKENS_MAX) {
		return bh_diag_set(diag, -EINVAL, "there are %d join tokens: delete some",
				   TOKENS_MAX);
	}
	make_secret(secret, hash);
	ret->expires_ns = now_ns + ttl_s * 1000000000ull;
	row.hash = hash;
	row.expires_ns = ret->expires_ns;
	snprintf(ret->text, sizeof(ret->text), "bh1.%s.%s", bh_pki_ca_fingerprint(e->ca), secret);
	return manager_store_add_token(e->o.db, &row, &ret->id, diag);
}

/* The secret in a token of this CA; NULL when it is none. */
static const char *secret_of(const struct manager_enroll *e, const char *token)
{
	uint8_t bytes[32];

	if (strlen(token) != MANAGER_JOIN_TOKEN_SIZE - 1 || strncmp(token, "bh1.", 4) != 0 ||
	    token[68] != '.' || strncmp(token + 4, bh_pki_ca_fingerprint(e->ca), 64) != 0 ||
	    bh_hex_parse(token + 69, bytes, 32) < 0) {
		return NULL;
	}
	return token + 69;
}

const char **manager_enroll_hosts(const struct manager_enroll *e, size_t *ret_count)
{
	size_t count = 0;
	const char **names = bh_alloc_array(HASH_COUNT(e->o.inv->hosts) + 1, sizeof(*names));
	struct manager_host *h, *tmp;

	HASH_ITER (hh, e->o.inv->hosts, h, tmp) {
		names[count++] = h->name;
	}
	*ret_count = count;
	return names;
}

int manager_enroll_hosts_changed(struct manager_enroll *e, struct bh_diag *diag)
{
	BH_FREE const char **names = NULL;
	size_t count;

	if (!e->server) {
		return 0;
	}
	names = manager_enroll_hosts(e, &count);
	return bh_bus_server_set_hosts(e->server, names, count, diag);
}

static int admit(struct manager_enroll *e, const struct manager_enroll_request *req,
		 const uint8_t hash[32], struct bh_diag *diag)
{
	bool fresh = !manager_host_find(e->o.inv, req->name);
	struct manager_host *host;
	int r;

	r = manager_db_begin(e->o.db, diag);
	if (r < 0) {
		return r;
	}
	r = manager_store_use_token(e->o.db, hash, req->name, req->now_ns, diag);
	if (r < 0) {
		manager_db_abort(e->o.db);
		return r;
	}
	host = manager_host_add(e->o.inv, req->name, req->now_ns);
	r = manager_inventory_save(e->o.inv, true, diag);
	if (r == 0) {
		r = manager_db_commit(e->o.db, diag);
	}
	if (r < 0) {
		manager_db_abort(e->o.db);
		if (fresh) {
			manager_host_remove(e->o.inv, host, req->now_ns);
		}
		return r;
	}
	manager_inventory_saved(e->o.inv);
	return 0;
}

int manager_enroll(struct manager_enroll *e, const struct manager_enroll_request *req,
		   struct manager_enroll_answer *ret, struct bh_diag *diag)
{
	const char *secret = secret_of(e, req->token);
	struct bh_pki_subject subject = {.usage = BH_PKI_CLIENT};
	BH_FREE char *subject_name = NULL;
	uint8_t hash[32];
	int r;

	if (!secret) {
		bh_counter_add(&enroll_refused, 1);
		return bh_diag_set(diag, -EACCES, "this is no join token of this manager");
	}
	if (!bh_subject_host_valid(req->name)) {
		return bh_diag_set(diag, -EINVAL, "'%.80s' can't be a host's name", req->name);
	}
	subject_name = bh_asprintf("host.%s", req->name);
	subject.name = subject_name;
	/* Signed first: a bad request does not use the token up. */
	r = bh_pki_csr_sign(e->ca, req->csr, strlen(req->csr), &subject, &ret->cert, diag);
	if (r < 0) {
		return r;
	}
	crypto_hash_sha256(hash, (const unsigned char *)secret, 64);
	r = admit(e, req, hash, diag);
	if (r < 0) {
		bh_counter_add(&enroll_refused, r == -EACCES);
		free(ret->cert);
		ret->cert = NULL;
		return r;
	}
	bh_counter_add(&enroll_joined, 1);
	ret->ca = bh_pki_ca_pem(e->ca);
	ret->bus_url = e->bus_url;
	return manager_enroll_hosts_changed(e, diag);
}
