/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager signed for the time when it is away, and what happened in it; the source's side.
 * Theory of operation in alone.h. */
#include "host/capsule/alone.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "bus/pki_sign.h"
#include "host/capsule/internal.h"

#include <errno.h>
#include <openssl/evp.h>

#define FILE_MAX      (2u << 20)
#define SLICE	      (512u * 1024)
#define STATE_MAX     (32u << 20)
#define DIGEST_SIZE   65 /* hex and NUL */
#define RECORDS_MAX   MOVES_MAX
#define CERT_NAME     "manager"
#define SIG_HEX_MAX   (2 * BH_PKI_SIG_MAX)
#define GRANT_MISSING "%s holds nothing that the manager signed for the time when it is away"

BH_COUNTER(alone_grants, "grants of the manager that were taken");
BH_COUNTER(alone_grants_refused, "grants that are not the manager's, or not for this host");
BH_COUNTER(alone_departures, "VMs that were let go while the manager is away");
BH_COUNTER(alone_refused, "VMs that another host asked for while the manager is away, in vain");

struct record {
	char id[MOVE_ID_SIZE];
	char vm[BH_UUID_TEXT_SIZE];
	char role[8]; /* "source", "target" */
	char peer[BH_NAME_MAX + 1];
	uint64_t begun_s;
	bool final;
	bool named; /* in a hello of this process */
	bool told;  /* the manager has it among the open ones */
};

struct hostd_alone {
	struct hostd_agent *agent;
	char *grant_path, *records_path;
	json_t *signed_grant; /* NULL: none */
	struct bh_grant *grant;
	char digest[DIGEST_SIZE]; /* of its text; "" */
	/* When this host holds `own`, that is `base` of the manager's and VMs that came since. */
	struct bh_hash base, own;
	BH_VEC(struct record) records;
};

/* ---- on disk ---- */

static void save_records(struct hostd_alone *alone)
{
	char base[2 * BH_HASH_SIZE + 1], own[2 * BH_HASH_SIZE + 1];
	BH_JSON json_t *json = NULL;
	json_t *list = json_array();

	bh_hash_format(&alone->base, base);
	bh_hash_format(&alone->own, own);
	bh_vec_foreach (r, &alone->records) {
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:b}", "migration",
						      r->id, "vm", r->vm, "role", r->role, "peer",
						      r->peer, "begun", (json_int_t)r->begun_s,
						      "final", r->final));
	}
	json = json_pack("{s:s, s:s, s:o}", "base", base, "own", own, "moves", list);
	hostd_agent_save(alone->records_path, json);
}

static struct record *find(struct hostd_alone *alone, const char *id)
{
	bh_vec_foreach (r, &alone->records) {
		if (!strcmp(r->id, id)) {
			return r;
		}
	}
	return NULL;
}

static void load_records(struct hostd_alone *alone)
{
	BH_JSON json_t *json = hostd_agent_load(alone->records_path);
	json_t *item;
	size_t i;

	if (bh_hash_parse(bh_json_str_or(json, "base", ""), &alone->base) < 0 ||
	    bh_hash_parse(bh_json_str_or(json, "own", ""), &alone->own) < 0) {
		memset(&alone->base, 0, sizeof(alone->base));
		memset(&alone->own, 0, sizeof(alone->own));
	}
	json_array_foreach (json_object_get(json, "moves"), i, item) {
		struct record *r = i < RECORDS_MAX ? bh_vec_push(&alone->records) : NULL;

		if (r) {
			snprintf(r->id, sizeof(r->id), "%s", bh_json_str_or(item, "migration", ""));
			snprintf(r->vm, sizeof(r->vm), "%s", bh_json_str_or(item, "vm", ""));
			snprintf(r->role, sizeof(r->role), "%s", bh_json_str_or(item, "role", ""));
			snprintf(r->peer, sizeof(r->peer), "%s", bh_json_str_or(item, "peer", ""));
			r->begun_s = bh_json_u64_or(item, "begun", 0);
			r->final = json_is_true(json_object_get(item, "final"));
		}
	}
}

/* ---- the grant ---- */

int alone_read_grant(const struct hostd_agent *agent, const json_t *signed_grant,
		     struct bh_grant **ret, struct bh_diag *diag)
{
	BH_FREE char *ca = bh_asprintf("%s/pki/ca.pem", agent->config->state_dir);
	const char *text = bh_json_str_or(signed_grant, "text", "");
	const char *cert = bh_json_str_or(signed_grant, "cert", "");
	const char *hex = bh_json_str_or(signed_grant, "sig", "");
	struct bh_pki_verifier *verifier = NULL;
	uint8_t sig[BH_PKI_SIG_MAX];
	size_t size = strlen(hex) / 2;
	int err;

	if (strlen(hex) > SIG_HEX_MAX || bh_hex_parse(hex, sig, size) < 0) {
		return bh_diag_set(diag, -EBADMSG, "a grant without a signature");
	}
	err = bh_pki_verifier_open(ca, cert, strlen(cert), CERT_NAME, &verifier, diag);
	if (!err) {
		err = bh_pki_verify(verifier, text, strlen(text), sig, size, diag);
		bh_pki_verifier_free(verifier);
	}
	return err ? err : bh_grant_read(text, strlen(text), ret, diag);
}

static void set_grant(struct hostd_alone *alone, struct bh_grant *grant, json_t *signed_grant)
{
	const char *text = bh_json_str_or(signed_grant, "text", "");
	unsigned char md[EVP_MAX_MD_SIZE];

	bh_grant_free(alone->grant);
	json_decref(alone->signed_grant);
	alone->grant = grant;
	alone->signed_grant = signed_grant;
	alone->digest[0] = '\0';
	if (grant && EVP_Digest(text, strlen(text), md, NULL, EVP_sha256(), NULL)) {
		bh_hex_format(md, 32, alone->digest);
	}
}

static void load_grant(struct hostd_alone *alone)
{
	BH_FREE char *data = NULL;
	BH_JSON json_t *json = NULL;
	struct bh_grant *grant = NULL;
	struct bh_diag diag = {};
	size_t size;

	if (bh_file_read(alone->grant_path, FILE_MAX, &data, &size, NULL) < 0) {
		return;
	}
	if (bh_json_load(data, size, FILE_MAX, &json, &diag) < 0 ||
	    alone_read_grant(alone->agent, json, &grant, &diag) < 0) {
		bh_log(BH_LOG_WARN, "capsule", "%s is left out: %s", alone->grant_path, diag.text);
		return;
	}
	set_grant(alone, grant, bh_steal(&json));
}

static int take_grant(struct hostd_alone *alone, const json_t *json, struct bh_diag *diag)
{
	struct bh_grant *grant = NULL;
	BH_FREE char *text = NULL;
	json_t *kept;
	int err = alone_read_grant(alone->agent, json, &grant, diag);

	if (err) {
		return err;
	}
	if (strcmp(bh_grant_host(grant), alone->agent->name) != 0 ||
	    (alone->grant && bh_grant_issued_s(grant) < bh_grant_issued_s(alone->grant))) {
		bh_grant_free(grant);
		return bh_diag_set(diag, -EPERM, "it is for another host, or an older one");
	}
	kept = json_pack("{s:O, s:O, s:O}", "text", json_object_get(json, "text"), "sig",
			 json_object_get(json, "sig"), "cert", json_object_get(json, "cert"));
	text = bh_json_dump(kept);
	err = bh_file_replace(alone->grant_path, text, strlen(text), 0600, diag);
	if (err) {
		json_decref(kept);
		bh_grant_free(grant);
		return err;
	}
	set_grant(alone, grant, kept);
	return 0;
}

void hostd_alone_command(struct hostd_agent *agent, struct bh_bus_request *req, const json_t *json)
{
	struct hostd_alone *alone = agent->alone;
	struct bh_diag diag = {};

	if (!json_object_get(json, "text")) {
		set_grant(alone, NULL, NULL);
		unlink(alone->grant_path);
	} else if (take_grant(alone, json, &diag) < 0) {
		bh_counter_add(&alone_grants_refused, 1);
		bh_log_limited(BH_LOG_WARN, "capsule", 3, "a grant of the manager: %s", diag.text);
		bh_bus_reply_error(req, "failed", "%s", diag.text);
		return;
	} else {
		bh_counter_add(&alone_grants, 1);
	}
	bh_bus_reply(req, NULL);
}

int alone_check_own(const struct hostd_agent *agent, const struct bh_grant **ret,
		    struct bh_diag *diag)
{
	const struct hostd_alone *alone = agent->alone;
	const struct bh_hash *hash = bh_image_hash(hostd_state_image(agent));

	if (!alone->grant) {
		return bh_diag_set(diag, -EPERM, GRANT_MISSING, agent->name);
	}
	if (bh_hash_equal(hash, &alone->own) &&
	    bh_hash_equal(&alone->base, bh_grant_hash(alone->grant))) {
		hash = &alone->base;
	}
	*ret = alone->grant;
	return bh_grant_check(alone->grant, agent->name, (int64_t)(bh_time_wall_ns() / BH_NS_PER_S),
			      hash, diag);
}

/* ---- records ---- */

int alone_room(const struct hostd_agent *agent, struct bh_diag *diag)
{
	return agent->alone->records.count < RECORDS_MAX
		       ? 0
		       : bh_diag_set(diag, -EBUSY,
				     "%d VMs have come to %s or left it of which the manager does "
				     "not know yet",
				     RECORDS_MAX, agent->name);
}

void alone_note(struct hostd_agent *agent, const char *id, const char *vm, const char *role,
		const char *peer)
{
	struct hostd_alone *alone = agent->alone;
	struct record *r = find(alone, id);

	if (!r) {
		r = bh_vec_push(&alone->records);
		snprintf(r->id, sizeof(r->id), "%s", id);
		snprintf(r->vm, sizeof(r->vm), "%s", vm);
		snprintf(r->role, sizeof(r->role), "%s", role);
		snprintf(r->peer, sizeof(r->peer), "%s", peer);
		r->begun_s = bh_time_wall_ns() / BH_NS_PER_S;
		save_records(alone);
	}
	hostd_session_anew(agent); /* the manager must hear of it before anything else */
}

bool alone_peer(const struct hostd_agent *agent, const char *id, char ret_peer[BH_NAME_MAX + 1])
{
	const struct record *r = find(agent->alone, id);

	if (r) {
		memcpy(ret_peer, r->peer, sizeof(r->peer));
	}
	return r != NULL;
}

void hostd_alone_final(struct hostd_agent *agent, const char *id)
{
	struct record *r = find(agent->alone, id);

	if (r && !r->final) {
		r->final = true;
		save_records(agent->alone);
	}
}

void hostd_alone_over(struct hostd_agent *agent, const char *id)
{
	struct hostd_alone *alone = agent->alone;
	struct record *r = find(alone, id);

	if (r) {
		size_t at = (size_t)(r - alone->records.items);

		memmove(r, r + 1, (--alone->records.count - at) * sizeof(*r));
		save_records(alone);
	}
}

void hostd_alone_hello(struct hostd_agent *agent, json_t *hello)
{
	json_t *list = json_array();

	bh_vec_foreach (r, &agent->alone->records) {
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:b}", "migration",
						      r->id, "vm", r->vm, "role", r->role, "peer",
						      r->peer, "begun", (json_int_t)r->begun_s,
						      "final", r->final));
		r->named = true;
	}
	json_object_set_new(hello, "grant", json_string(agent->alone->digest));
	json_object_set_new(hello, "alone", list);
}

void hostd_alone_listed(struct hostd_agent *agent, const json_t *migrations)
{
	struct hostd_alone *alone = agent->alone;
	bool more = false;
	size_t kept = 0;

	for (size_t i = 0; i < alone->records.count; i++) {
		struct record *r = &alone->records.items[i];
		bool open = false;
		json_t *item;
		size_t k;

		json_array_foreach (migrations, k, item) {
			open |= !strcmp(bh_json_str_or(item, "migration", ""), r->id);
		}
		r->told |= open;
		if (open || !r->named) {
			more |= !r->named; /* it came while the hello was on its way */
			alone->records.items[kept++] = *r;
		}
	}
	if (kept != alone->records.count) {
		alone->records.count = kept;
		save_records(alone);
	}
	if (more) {
		hostd_session_anew(agent);
	}
}

bool hostd_alone_untold(const struct hostd_agent *agent)
{
	bh_vec_foreach (r, &agent->alone->records) {
		if (!r->told && !strcmp(r->role, "target")) {
			return true;
		}
	}
	return false;
}

bool hostd_alone_unnamed(const struct hostd_agent *agent, const char *id)
{
	const struct record *r = find(agent->alone, id);

	return r && !r->named;
}

json_t *hostd_alone_json(const struct hostd_agent *agent)
{
	const struct hostd_alone *alone = agent->alone;
	const struct bh_grant *grant = NULL;
	struct bh_diag diag = {};
	int err = alone_check_own(agent, &grant, &diag);

	return json_pack("{s:b, s:s, s:I, s:I, s:I}", "current", err == 0, "problem", diag.text,
			 "revision",
			 alone->grant ? (json_int_t)bh_grant_revision(alone->grant) : (json_int_t)0,
			 "until", alone->grant ? (json_int_t)bh_grant_until_s(alone->grant) : 0,
			 "moves", (json_int_t)alone->records.count);
}

int alone_install(struct hostd_agent *agent, const struct bh_image *state, struct bh_diag *diag)
{
	struct hostd_alone *alone = agent->alone;
	struct bh_hash before = *bh_image_hash(hostd_state_image(agent));
	int err = hostd_state_add(agent, state, diag);

	if (err) {
		return err;
	}
	if (!bh_hash_equal(&before, &alone->own)) {
		alone->base = before;
	}
	alone->own = *bh_image_hash(hostd_state_image(agent));
	save_records(alone);
	return 0;
}

/* ---- what targets ask ---- */

static const struct hostd_vm *running(const struct hostd_agent *agent, const char *uuid_text)
{
	uint8_t uuid[16];
	const struct hostd_vm *vm =
		bh_uuid_parse(uuid_text, uuid) < 0 ? NULL : hostd_inventory_find(agent->inv, uuid);

	return vm && vm->running ? vm : NULL;
}

static void serve_who_has(struct hostd_agent *agent, struct bh_bus_request *req, const json_t *json)
{
	if (running(agent, bh_json_str_or(json, "vm", ""))) {
		bh_bus_reply(req, NULL);
	} else {
		bh_bus_reply_error(req, "gone", "it does not run on %s", agent->name);
	}
}

/* What the VM's policy is compiled to, as the delta that leads to it from nothing. */
static void encode(const struct hostd_agent *agent, const struct bh_grant *grant, const char *vm,
		   struct bh_wbuf *w)
{
	struct bh_image *none = bh_image_new();
	struct bh_image *some = bh_image_new();
	uint8_t digest[BH_GRANT_DIGEST_SIZE];
	struct bh_delta *delta;
	const char *name;

	for (size_t i = 0; (name = bh_grant_segment(grant, vm, i, digest)); i++) {
		struct bh_segment *segment = bh_image_get(hostd_state_image(agent), name);

		if (segment) { /* else the target finds that it is missing */
			bh_image_set(some, segment);
		}
	}
	delta = bh_delta_between(none, some);
	bh_wbuf_init(w, STATE_MAX);
	bh_delta_encode(delta, w);
	bh_delta_free(delta);
	bh_image_free(none);
	bh_image_free(some);
}

/* May this VM go to that host? */
static int check_leave(const struct hostd_agent *agent, const char *vm, const char *target,
		       const struct bh_grant **ret, struct bh_diag *diag)
{
	int err = alone_check_own(agent, ret, diag);

	if (err) {
		return err;
	}
	if (!bh_grant_has_vm(*ret, vm)) {
		return bh_diag_set(diag, -EPERM,
				   "no policy lets this VM migrate without the manager "
				   "(migration: {withoutManager: allow})");
	}
	if (!bh_grant_allows(*ret, vm, target)) {
		return bh_diag_set(diag, -EPERM,
				   "the manager did not allow host %s for this VM: placement or "
				   "maintenance",
				   target);
	}
	return 0;
}

/* Earlier moves of a VM that runs here have come to nothing, whatever became of their targets. */
static int make_room(struct hostd_agent *agent, const char *vm, struct bh_diag *diag)
{
	struct hostd_alone *alone = agent->alone;
	size_t kept = 0;

	bh_vec_foreach (r, &alone->records) {
		if (strcmp(r->vm, vm) != 0 || strcmp(r->role, "source") != 0) {
			alone->records.items[kept++] = *r;
		}
	}
	alone->records.count = kept; /* on disk with the next one */
	return alone_room(agent, diag);
}

static void serve_alone(struct hostd_agent *agent, struct bh_bus_request *req, const json_t *json)
{
	const char *uuid = bh_json_str_or(json, "vm", ""), *target = bh_bus_request_host(req);
	const struct hostd_vm *vm = running(agent, uuid);
	const struct bh_grant *grant = NULL;
	char id_text[MOVE_ID_SIZE];
	uint8_t id[16];
	struct bh_diag diag = {};
	struct bh_wbuf state = {};
	uint64_t connections = 0;

	if (!vm) {
		bh_bus_reply_error(req, "gone", "it does not run on %s", agent->name);
		return;
	}
	if (move_id(json, id, id_text, &diag) < 0 ||
	    check_leave(agent, uuid, target, &grant, &diag) < 0 ||
	    make_room(agent, uuid, &diag) < 0 ||
	    depart_expect(agent->moves, vm->uuid, id_text, target, &connections, &diag) < 0) {
		bh_counter_add(&alone_refused, 1);
		bh_bus_reply_error(req, "refused", "%s", diag.text);
		return;
	}
	encode(agent, grant, uuid, &state);
	bh_counter_add(&alone_departures, 1);
	bh_log(BH_LOG_INFO, "capsule",
	       "VM %s may move to %s without the manager, as it had signed (move %s)", vm->name,
	       target, id_text);
	alone_note(agent, id_text, uuid, "source", target);
	bh_bus_reply(req,
		     json_pack("{s:O, s:o, s:I, s:I}", "grant", agent->alone->signed_grant, "vm",
			       hostd_report_vm(agent, vm), "size", (json_int_t)state.size,
			       "connections", (json_int_t)connections));
	bh_wbuf_done(&state);
}

static void serve_state(struct hostd_agent *agent, struct bh_bus_request *req, const json_t *json)
{
	const struct record *r = find(agent->alone, bh_json_str_or(json, "migration", ""));
	uint64_t at = bh_json_u64_or(json, "at", UINT64_MAX);
	const struct bh_grant *grant = NULL;
	struct bh_diag diag = {};
	struct bh_wbuf state = {};

	if (!r || strcmp(r->role, "source") != 0 ||
	    strcmp(r->peer, bh_bus_request_host(req)) != 0) {
		bh_bus_reply_error(req, "unknown", "%s knows of no such move", agent->name);
		return;
	}
	if (check_leave(agent, r->vm, r->peer, &grant, &diag) < 0) {
		bh_bus_reply_error(req, "refused", "%s", diag.text);
		return;
	}
	encode(agent, grant, r->vm, &state);
	if (state.err || at >= state.size) {
		bh_bus_reply_error(req, "failed", "there are %zu bytes of it", state.size);
	} else {
		bh_bus_reply_bytes(req, NULL, state.data + at,
				   state.size - at < SLICE ? state.size - at : SLICE);
	}
	bh_wbuf_done(&state);
}

static void serve_end(struct hostd_agent *agent, struct bh_bus_request *req, const json_t *json)
{
	const char *id = bh_json_str_or(json, "migration", "");
	const struct record *r = find(agent->alone, id);

	if (r && !strcmp(r->role, "source") && !strcmp(r->peer, bh_bus_request_host(req))) {
		depart_failed(agent->moves, id, "the target gave it up");
		hostd_alone_over(agent, id);
	}
	bh_bus_reply(req, NULL);
}

bool hostd_alone_peer(struct hostd_agent *agent, struct bh_bus_request *req, const char *type,
		      const struct bh_bus_msg *msg)
{
	static const struct {
		const char *type;
		void (*serve)(struct hostd_agent *, struct bh_bus_request *, const json_t *);
	} all[] = {
		{"who-has", serve_who_has},
		{"alone", serve_alone},
		{"alone-state", serve_state},
		{"alone-end", serve_end},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(all); i++) {
		if (!strcmp(type, all[i].type)) {
			all[i].serve(agent, req, msg->json);
			return true;
		}
	}
	return false;
}

/* ---- life ---- */

struct hostd_alone *hostd_alone_new(struct hostd_agent *agent)
{
	struct hostd_alone *alone = bh_alloc(sizeof(*alone));

	alone->agent = agent;
	alone->grant_path = bh_asprintf("%s/grant.json", agent->config->state_dir);
	alone->records_path = bh_asprintf("%s/alone.json", agent->config->state_dir);
	load_records(alone);
	load_grant(alone);
	return alone;
}

void hostd_alone_free(struct hostd_alone *alone)
{
	if (!alone) {
		return;
	}
	set_grant(alone, NULL, NULL);
	bh_vec_done(&alone->records);
	free(alone->grant_path);
	free(alone->records_path);
	free(alone);
}
