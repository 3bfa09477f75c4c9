/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/enroll/enroll.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/time.h"
#include "base/util.h"
#include "bus/client.h"
#include "bus/subject.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <uv.h>

#define ALTS_MAX   32
#define TOKENS_MAX 10000
#define RENEWS_MAX 5 /* certificates per host and day */
#define DAY_NS	   (86400 * BH_NS_PER_S)

BH_COUNTER(enroll_joined, "hosts that joined");
BH_COUNTER(enroll_renewed, "certificates of hosts that were renewed");
BH_COUNTER(enroll_renew_refused, "requests for another certificate that were refused");
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

static void tell(struct manager_enroll *e, const char *type, const char *severity, json_t *body)
{
	if (e->o.inv) {
		manager_inventory_notice(e->o.inv, type, severity, body);
	} else {
		json_decref(body);
	}
}

static json_t *info_json(const char *what, const char *name, const struct bh_pki_info *info)
{
	char ends[BH_TIME_TEXT_SIZE];

	bh_time_format((uint64_t)info->not_after_s * BH_NS_PER_S, ends);
	return json_pack("{s:s, s:s, s:s}", what, name, "fingerprint", info->fingerprint,
			 "not_after", ends);
}

static int ensure(struct manager_enroll *e, const char *file, const struct bh_pki_subject *subject,
		  bool *ret_changed, struct bh_diag *diag)
{
	BH_FREE char *path = bh_asprintf("%s/%s.crt", e->pki_dir, file);
	bool before = !access(path, F_OK);
	bool changed = false;
	struct bh_pki_info info;
	int r = bh_pki_ensure(e->ca, e->pki_dir, file, subject, &changed, diag);

	if (r < 0) {
		tell(e, "certificate.failed", "warning",
		     json_pack("{s:s, s:s}", "of", file, "error", diag->text));
	} else if (changed && before && !bh_pki_info_file(path, &info, NULL)) {
		tell(e, "certificate.renewed", "info", info_json("of", file, &info));
	}
	*ret_changed |= changed;
	return r;
}

static void look_at_ca(struct manager_enroll *e)
{
	const char *pem = bh_pki_ca_pem(e->ca);
	int64_t now_s = (int64_t)(bh_time_wall_ns() / BH_NS_PER_S);
	struct bh_pki_info info;

	if (!bh_pki_info_pem(pem, strlen(pem), &info, NULL) &&
	    info.not_after_s - now_s < BH_PKI_DAYS_CERT * 86400ll) {
		tell(e, "certificate.ca-expiring", "warning", info_json("of", "ca", &info));
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
	int r;

	*ret_changed = false;
	r = ensure(e, "manager", &manager, ret_changed, diag);
	if (r == 0) {
		r = ensure(e, "bus", &bus, ret_changed, diag);
	}
	if (r == 0) {
		r = ensure(e, "api", &api, ret_changed, diag);
	}
	look_at_ca(e);
	return r;
}

/* ---- certificates of hosts ---- */

static int take_cert(sqlite3_stmt *row, void *arg)
{
	struct manager_enroll *e = arg;
	struct manager_host *host = manager_host_find(e->o.inv, manager_db_text(row, 0));

	if (host) { /* the newest comes last */
		snprintf(host->cert.fingerprint, sizeof(host->cert.fingerprint), "%s",
			 manager_db_text(row, 1));
		host->cert.expires_s = sqlite3_column_int64(row, 2);
		host->cert.used = sqlite3_column_int(row, 3);
	}
	return 0;
}

static int load_certs(struct manager_enroll *e, struct bh_diag *diag)
{
	int r = manager_db_run(
		e->o.db, diag,
		"DELETE FROM certificates WHERE host NOT IN (SELECT name FROM hosts)", "");

	return r ? r
		 : manager_db_each(e->o.db, (struct manager_db_each){take_cert, e}, diag,
				   "SELECT host, fingerprint, expires, used FROM certificates"
				   " ORDER BY host, issued",
				   "");
}

/* What was issued is kept before it leaves. */
static int note_cert(struct manager_enroll *e, struct manager_host *host, const char *pem,
		     uint64_t now_ns, struct bh_diag *diag)
{
	struct bh_pki_info info;
	int r = bh_pki_info_pem(pem, strlen(pem), &info, diag);

	if (!r) {
		r = manager_db_run(e->o.db, diag,
				   "DELETE FROM certificates WHERE host = ?1 AND issued < ?2 AND"
				   " fingerprint <> ?3",
				   "tit", host->name, (int64_t)(now_ns - DAY_NS),
				   host->cert.fingerprint);
	}
	if (!r) {
		r = manager_db_run(e->o.db, diag,
				   "INSERT INTO certificates (host, fingerprint, issued, expires)"
				   " VALUES (?1, ?2, ?3, ?4)",
				   "ttii", host->name, info.fingerprint, (int64_t)now_ns,
				   info.not_after_s);
	}
	if (!r) {
		memcpy(host->cert.fingerprint, info.fingerprint, sizeof(info.fingerprint));
		host->cert.expires_s = info.not_after_s;
		host->cert.used = false;
		host->cert.told = false;
	}
	return r;
}

int manager_enroll_host_renew(struct manager_enroll *e, struct manager_host *host, const char *csr,
			      uint64_t now_ns, char **ret_cert, struct bh_diag *diag)
{
	BH_FREE char *name = bh_asprintf("host.%s", host->name);
	struct bh_pki_subject subject = {
		.name = name, .usage = BH_PKI_CLIENT, .life_s = e->o.host_cert_life_s};
	BH_FREE char *cert = NULL;
	struct bh_pki_info info;
	char asked[256];
	int r = bh_pki_csr_name(csr, strlen(csr), asked, sizeof(asked), diag);

	if (!r && *asked && strcmp(asked, name)) {
		r = bh_diag_set(diag, -EACCES, "the request is for '%.80s', not for '%s'", asked,
				name);
	}
	if (!r && manager_db_number(e->o.db, RENEWS_MAX,
				    "SELECT count(*) FROM certificates WHERE host = ?1 AND"
				    " issued > ?2",
				    "ti", host->name, (int64_t)(now_ns - DAY_NS)) >= RENEWS_MAX) {
		r = bh_diag_set(diag, MANAGER_RENEW_LIMITED,
				"this host got %d certificates within a day", RENEWS_MAX);
	}
	if (!r) {
		r = bh_pki_csr_sign(e->ca, csr, strlen(csr), &subject, &cert, diag);
	}
	if (!r) {
		r = note_cert(e, host, cert, now_ns, diag);
	}
	if (r) {
		bh_counter_add(&enroll_renew_refused, 1);
		return r;
	}
	bh_counter_add(&enroll_renewed, 1);
	if (!bh_pki_info_pem(cert, strlen(cert), &info, NULL)) {
		tell(e, "certificate.issued", "info", info_json("host", host->name, &info));
	}
	*ret_cert = bh_steal(&cert);
	return 0;
}

void manager_enroll_host_uses(struct manager_enroll *e, struct manager_host *host,
			      const char *fingerprint)
{
	if (host->cert.used || strcmp(fingerprint, host->cert.fingerprint)) {
		return;
	}
	/* when it can't be written the next hello does it; the day's numbers stay for the limit */
	host->cert.used = !manager_db_run(e->o.db, NULL,
					  "UPDATE certificates SET used = 1 WHERE host = ?1 AND"
					  " fingerprint = ?2",
					  "tt", host->name, fingerprint);
}

void manager_enroll_look(struct manager_enroll *e, int64_t now_s)
{
	struct manager_host *h, *tmp;
	struct bh_pki_info info = {};

	HASH_ITER (hh, e->o.inv->hosts, h, tmp) {
		if (!h->cert.expires_s || h->cert.told || now_s <= h->cert.expires_s) {
			continue;
		}
		h->cert.told = true;
		memcpy(info.fingerprint, h->cert.fingerprint, sizeof(info.fingerprint));
		info.not_after_s = h->cert.expires_s;
		tell(e, "certificate.expired", "critical", info_json("host", h->name, &info));
	}
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
	if (r == 0) {
		r = load_certs(e, diag);
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

static int write_users(struct manager_enroll *e, const char *const *names, size_t count,
		       struct bh_diag *diag)
{
	BH_FREE char *path = bh_asprintf("%s/bus-users.conf", e->o.state_dir);
	BH_FREE char *text = NULL;
	int r = bh_bus_server_fragment(names, count, &text, diag);

	return r ? r : bh_file_replace(path, text, strlen(text), 0644, diag);
}

int manager_enroll_hosts_changed(struct manager_enroll *e, struct bh_diag *diag)
{
	BH_FREE const char **names = NULL;
	size_t count;

	names = manager_enroll_hosts(e, &count);
	if (!e->server) {
		return write_users(e, names, count, diag);
	}
	return bh_bus_server_set_hosts(e->server, names, count, diag);
}

static int admit(struct manager_enroll *e, const struct manager_enroll_request *req,
		 const uint8_t hash[32], const char *cert, struct bh_diag *diag)
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
		r = note_cert(e, host, cert, req->now_ns, diag);
	}
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
	struct bh_pki_subject subject = {.usage = BH_PKI_CLIENT, .life_s = e->o.host_cert_life_s};
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
	r = admit(e, req, hash, ret->cert, diag);
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
