/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/me/webauthn, and security keys as a second factor (login.h). Bytes are base64url without
 * padding; the console makes of them what the browser's API wants.
 */
#include "manager/api/login.h"
#include "manager/auth/keys.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>

/* ---- base64url ---- */

static json_t *bytes_json(const void *data, size_t size)
{
	char text[(WEBAUTHN_ID_MAX + 2) / 3 * 4 + 1];

	sodium_bin2base64(text, sizeof(text), data, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	return json_string(text);
}

/* At most max bytes of a member; owned. False when it was answered. */
static bool take_bytes(struct manager_request *req, const json_t *body, const char *key, size_t max,
		       struct manager_webauthn_bytes *ret)
{
	const char *text = bh_json_str_or(body, key, "");
	uint8_t *data = bh_alloc(max);
	size_t size = 0;

	if (!*text || sodium_base642bin(data, max, text, strlen(text), NULL, &size, NULL,
					sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0) {
		free(data);
		manager_reply_errorf(req, 400, "bad_request",
				     "'%s' must be base64url of at most %zu bytes", key, max);
		return false;
	}
	*ret = (struct manager_webauthn_bytes){data, size};
	return true;
}

static void bytes_done(struct manager_webauthn_bytes *bytes)
{
	free((uint8_t *)bytes->data);
}
#define BYTES __attribute__((cleanup(bytes_done))) struct manager_webauthn_bytes

/* ---- what is asked for ---- */

static int add_id(const struct manager_store_key *row, void *arg)
{
	json_array_append_new(arg, bytes_json(row->credential, row->credential_size));
	return 0;
}

static json_t *ids_json(struct manager_request *req, int64_t user)
{
	json_t *list = json_array();

	(void)!manager_store_keys(req->parts->db, user, add_id, list, NULL);
	return list;
}

/* The origin and all that; false when it was answered. */
static bool take_wanted(struct manager_request *req, struct manager_webauthn_wanted *ret)
{
	struct bh_diag diag = {};

	if (manager_keys_wanted(manager_accounts_settings(req->parts->accounts), ret, &diag) < 0) {
		manager_reply_error(req, 409, "conflict", &diag);
		return false;
	}
	return true;
}

/* With the challenge of the session, which is gone then. */
static bool take_challenge(struct manager_request *req, int64_t session,
			   enum manager_key_purpose purpose, struct manager_webauthn_wanted *ret)
{
	if (!take_wanted(req, ret)) {
		return false;
	}
	if (manager_challenge_take(manager_accounts_challenges(req->parts->accounts), session,
				   purpose, bh_time_mono_ns(), ret->challenge) < 0) {
		manager_reply_errorf(req, 409, "conflict",
				     "no challenge was asked for, or it is too old: begin anew");
		return false;
	}
	return true;
}

static const char *verification(const struct manager_webauthn_wanted *wanted)
{
	return wanted->verify ? "required" : "preferred";
}

/* ---- a new key ---- */

static void begin_key(struct manager_request *req)
{
	struct manager_accounts *a = req->parts->accounts;
	struct manager_webauthn_wanted wanted;
	struct manager_user u;

	if (!manager_request_user(req, &u) || !manager_request_proved(req, &u) ||
	    !take_wanted(req, &wanted)) {
		return;
	}
	if (u.keys >= MANAGER_KEYS_MAX) {
		manager_reply_errorf(req, 409, "conflict", "a user has at most %d security keys",
				     MANAGER_KEYS_MAX);
		return;
	}
	manager_challenge_make(manager_accounts_challenges(a), req->session.id, MANAGER_KEY_NEW,
			       bh_time_mono_ns(), wanted.challenge);
	manager_reply(req, 200,
		      json_pack("{s:o, s:{s:s, s:s}, s:{s:o, s:s, s:s}, s:[i, i, i], s:o, s:i, s:s,"
				" s:s}",
				"challenge", bytes_json(wanted.challenge, sizeof(wanted.challenge)),
				"rp", "id", wanted.rp_id, "name", "Bulkhead", "user", "id",
				bytes_json(&u.id, sizeof(u.id)), "name", u.name, "display",
				*u.display ? u.display : u.name, "algorithms", -7, -8, -257,
				"exclude", ids_json(req, u.id), "timeout_ms", KEYS_CHALLENGE_MS,
				"user_verification", verification(&wanted), "attestation", "none"));
}

/* before: the second factors as they were; owned by the callee. */
static void answer_added(struct manager_request *req, const struct manager_user *u, int64_t id,
			 const char *name, json_t *before)
{
	char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE];
	json_t *answer = json_pack("{s:I, s:s}", "id", (json_int_t)id, "name", name);
	struct bh_diag diag = {};

	if (!manager_factor_has(u)) { /* his first second factor */
		if (manager_factor_recovery(req->parts->accounts, u->id, codes, &diag) < 0) {
			json_decref(answer);
			json_decref(before);
			manager_reply_failed(req, -EIO, &diag);
			return;
		}
		json_object_set_new(answer, "recovery", manager_recovery_json(codes));
	}
	manager_request_user_changed(req, u, before, manager_factors_state(req, u->id));
	manager_request_detail(req, "security key '%s'", name);
	manager_request_renew(req, "webauthn", 201, answer);
}

static void confirm_key(struct manager_request *req)
{
	static const char *const known[] = {"name", "id", "client_data", "attestation", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	BYTES id = {}, client = {}, attestation = {};
	struct manager_webauthn_wanted wanted;
	struct manager_webauthn_key key;
	char name[KEYS_NAME_MAX + 1];
	BH_JSON json_t *before = NULL;
	struct bh_diag diag = {};
	struct manager_user u;
	int64_t row = 0;
	int r;

	if (!body || !manager_request_user(req, &u) || !manager_request_proved(req, &u) ||
	    !manager_request_text(req, body, "name", name, sizeof(name), NULL) ||
	    !take_bytes(req, body, "id", WEBAUTHN_ID_MAX, &id) ||
	    !take_bytes(req, body, "client_data", WEBAUTHN_CLIENT_MAX, &client) ||
	    !take_bytes(req, body, "attestation", WEBAUTHN_ATTESTATION_MAX, &attestation) ||
	    !take_challenge(req, req->session.id, MANAGER_KEY_NEW, &wanted)) {
		return;
	}
	r = manager_webauthn_create(&wanted, client, attestation, &key, &diag);
	if (r == 0 && (key.id_size != id.size || memcmp(key.id, id.data, id.size) != 0)) {
		r = bh_diag_set(&diag, -EACCES, "the key made another name than the browser says");
	}
	if (r < 0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return;
	}
	before = manager_factors_state(req, u.id);
	r = manager_key_add(req->parts->accounts, u.id, name, &key, bh_time_wall_ns(), &row);
	if (r == -EEXIST || r == -EDQUOT) {
		manager_reply_errorf(req, 409, "conflict",
				     r == -EEXIST ? "this security key is somebody's already"
						  : "there are too many security keys");
	} else if (r < 0) {
		manager_reply_failed(req, r, &diag);
	} else {
		answer_added(req, &u, row, name, json_incref(before));
	}
}

/* ---- those that are there ---- */

static int add_key(const struct manager_store_key *row, void *arg)
{
	char created[BH_TIME_TEXT_SIZE], used[BH_TIME_TEXT_SIZE];

	bh_time_format(row->created_ns, created);
	bh_time_format(row->used_ns, used);
	json_array_append_new(arg, json_pack("{s:I, s:s, s:s, s:o}", "id", (json_int_t)row->id,
					     "name", row->name, "created", created, "used",
					     row->used_ns ? json_string(used) : json_null()));
	return 0;
}

json_t *manager_keys_json(struct manager_request *req, int64_t user)
{
	json_t *list = json_array();

	(void)!manager_store_keys(req->parts->db, user, add_key, list, NULL);
	return list;
}

static int64_t key_id(const struct manager_request *req)
{
	uint64_t id;

	return bh_parse_u64(req->segments[2], 1, INT64_MAX, &id) < 0 ? INT64_MAX : (int64_t)id;
}

/* before: the second factors as they were. */
static void answer_done(struct manager_request *req, const struct manager_user *u, json_t *before,
			int r, const struct bh_diag *diag)
{
	if (r < 0) {
		manager_reply_failed(req, r, diag);
		return;
	}
	manager_request_user_changed(req, u, json_incref(before),
				     manager_factors_state(req, u->id));
	manager_reply_nothing(req);
}

static void rename_key(struct manager_request *req)
{
	static const char *const known[] = {"name", NULL};
	BH_JSON json_t *body = manager_request_json(req, known, false);
	BH_JSON json_t *before = NULL;
	char name[KEYS_NAME_MAX + 1];
	struct bh_diag diag = {};
	struct manager_user u;
	int r;

	if (body && manager_request_user(req, &u) &&
	    manager_request_text(req, body, "name", name, sizeof(name), NULL)) {
		before = manager_factors_state(req, u.id);
		r = manager_store_name_key(req->parts->db, key_id(req), u.id, name, &diag);
		answer_done(req, &u, before, r, &diag);
	}
}

static void remove_key(struct manager_request *req)
{
	BH_JSON json_t *before = NULL;
	struct bh_diag diag = {};
	struct manager_user u;
	int r;

	if (manager_request_user(req, &u) && manager_request_proved(req, &u)) {
		before = manager_factors_state(req, u.id);
		r = manager_key_drop(req->parts->accounts, &u, key_id(req), &diag);
		answer_done(req, &u, before, r, &diag);
	}
}

/* ---- as a second factor ---- */

void manager_request_ask_key(struct manager_request *req, int64_t session, int64_t user)
{
	struct manager_webauthn_wanted wanted;
	json_t *options;

	if (!take_wanted(req, &wanted)) {
		return;
	}
	manager_challenge_make(manager_accounts_challenges(req->parts->accounts), session,
			       MANAGER_KEY_PROVE, bh_time_mono_ns(), wanted.challenge);
	options = json_pack("{s:o, s:s, s:i, s:s, s:o}", "challenge",
			    bytes_json(wanted.challenge, sizeof(wanted.challenge)), "rp_id",
			    wanted.rp_id, "timeout_ms", KEYS_CHALLENGE_MS, "user_verification",
			    verification(&wanted), "allow", ids_json(req, user));
	manager_request_detail(req, "asked for a challenge for a security key");
	manager_reply(req, 200, json_pack("{s:o}", "webauthn", options));
}

static void tell_copied(struct manager_request *req, const char *user, const char *name)
{
	manager_events_own(
		req->parts->events, "access.key-copied", BH_SEVERITY_CRITICAL,
		json_pack("{s:s, s:s, s:s}", "user", user, "from", req->from, "key", name));
}

bool manager_request_check_key(struct manager_request *req, int64_t session,
			       const struct manager_user *u, const json_t *body,
			       const char *lockout_key)
{
	struct manager_webauthn_wanted wanted;
	struct manager_webauthn_answer answer;
	BYTES id = {}, client = {}, data = {}, signature = {};
	struct bh_diag diag = {};
	int r;

	if (!take_bytes(req, body, "id", WEBAUTHN_ID_MAX, &id) ||
	    !take_bytes(req, body, "client_data", WEBAUTHN_CLIENT_MAX, &client) ||
	    !take_bytes(req, body, "authenticator_data", WEBAUTHN_DATA_MAX, &data) ||
	    !take_bytes(req, body, "signature", WEBAUTHN_SIGNATURE_MAX, &signature) ||
	    !take_challenge(req, session, MANAGER_KEY_PROVE, &wanted)) {
		return false;
	}
	answer = (struct manager_webauthn_answer){client, data, signature};
	r = manager_key_check(req->parts->accounts, u->id, id, &wanted, &answer, &diag);
	if (r == 0) {
		return true;
	}
	manager_request_failed(req, lockout_key, u->name);
	if (r == MANAGER_WEBAUTHN_COPIED) {
		tell_copied(req, u->name, diag.text);
		manager_reply_errorf(req, 401, "unauthorized",
				     "there are two of this security key: it is not taken");
	} else {
		manager_reply_errorf(req, 401, "unauthorized", "%s", diag.text);
	}
	return false;
}

const struct manager_route manager_routes_webauthn[] = {
	{"POST", "me/webauthn", begin_key, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.key-begin"},
	{"POST", "me/webauthn:confirm", confirm_key, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.key"},
	{"PATCH", "me/webauthn/*", rename_key, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.key-rename"},
	{"DELETE", "me/webauthn/*", remove_key, VERB_NONE, OBJECT_SELF, API_AUDIT, "me.key-remove"},
	{},
};
