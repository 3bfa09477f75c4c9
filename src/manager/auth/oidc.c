/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/oidc.h"

#include "base/json.h"

#include <errno.h>
#include <jose/jose.h>

/* ---- settings ---- */

static bool is_url(const char *url)
{
	bool good = strncmp(url, "https://", 8) == 0 && strlen(url) <= OIDC_URL_MAX && url[8];

	for (const char *p = url; good && *p; p++) {
		good = *p > 0x20 && *p < 0x7f && *p != '"' && *p != '<' && *p != '>' && *p != '\\';
	}
	return good;
}

static int check_texts(const json_t *list, const char *name, struct bh_diag *diag)
{
	const json_t *v;
	size_t i;

	if (!list) {
		return 0;
	}
	if (!json_is_array(list) || json_array_size(list) > OIDC_RULES_MAX) {
		return bh_diag_set(diag, -EINVAL, "'%s' must be a list of at most %d texts", name,
				   OIDC_RULES_MAX);
	}
	json_array_foreach ((json_t *)list, i, v) {
		if (!json_is_string(v) || json_string_length(v) > 255) {
			return bh_diag_set(diag, -EINVAL, "'%s' has something that is no text",
					   name);
		}
	}
	return 0;
}

static int check_rules(const json_t *rules, struct bh_diag *diag)
{
	static const char *const known[] = {"value", "role", "at", "appointed", NULL};
	const json_t *rule;
	size_t i;
	int r = 0;

	if (!rules) {
		return 0;
	}
	if (!json_is_array(rules) || json_array_size(rules) > OIDC_RULES_MAX) {
		return bh_diag_set(diag, -EINVAL, "'rules' must be a list of at most %d",
				   OIDC_RULES_MAX);
	}
	json_array_foreach ((json_t *)rules, i, rule) {
		r = r < 0 ? r : json_is_object(rule) ? bh_json_known(rule, known, diag) : -EINVAL;
		if (r < 0 || !*bh_json_str_or(rule, "value", "") ||
		    !*bh_json_str_or(rule, "role", "") || !*bh_json_str_or(rule, "at", "")) {
			return bh_diag_set(diag, -EINVAL,
					   "a rule has 'value', 'role' and 'at', all texts");
		}
	}
	return 0;
}

int manager_oidc_check_settings(const json_t *s, struct bh_diag *diag)
{
	static const char *const texts[] = {"name",   "issuer", "client_id", "client_secret",
					    "scopes", "ca",	"tenant",    "claim"};
	bool on = json_is_true(json_object_get(s, "enabled"));
	int r;

	for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		const json_t *v = json_object_get(s, texts[i]);
		size_t max = strcmp(texts[i], "ca") == 0 ? 65536 : OIDC_URL_MAX;

		if (v && (!json_is_string(v) || json_string_length(v) > max ||
			  strlen(json_string_value(v)) != json_string_length(v))) {
			return bh_diag_set(diag, -EINVAL, "'%s' must be text of at most %zu bytes",
					   texts[i], max);
		}
	}
	if ((on || *bh_json_str_or(s, "issuer", "")) && !is_url(bh_json_str_or(s, "issuer", ""))) {
		return bh_diag_set(diag, -EINVAL, "'issuer' must be an https:// URL");
	}
	if (on && !*bh_json_str_or(s, "client_id", "")) {
		return bh_diag_set(diag, -EINVAL, "'client_id' is missing");
	}
	r = check_texts(json_object_get(s, "amr"), "amr", diag);
	r = r < 0 ? r : check_texts(json_object_get(s, "acr"), "acr", diag);
	return r < 0 ? r : check_rules(json_object_get(s, "rules"), diag);
}

int manager_oidc_check_provider(const json_t *settings, const json_t *provider,
				struct bh_diag *diag)
{
	static const char *const urls[] = {"authorization_endpoint", "token_endpoint", "jwks_uri"};

	if (strcmp(bh_json_str_or(provider, "issuer", ""),
		   bh_json_str_or(settings, "issuer", "")) != 0) {
		return bh_diag_set(diag, -EACCES, "the provider says that it is another issuer");
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(urls); i++) {
		if (!is_url(bh_json_str_or(provider, urls[i], ""))) {
			return bh_diag_set(diag, -EACCES, "the provider's %s is no https:// URL",
					   urls[i]);
		}
	}
	return 0;
}

void manager_oidc_challenge(const char *verifier, char ret[MANAGER_SECRET_TEXT_SIZE])
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, (const unsigned char *)verifier, strlen(verifier));
	sodium_bin2base64(ret, MANAGER_SECRET_TEXT_SIZE, hash, sizeof(hash),
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* ---- the token's signature ---- */

/* Asymmetric ones only: with HMAC the provider's public key, or our own secret, would be the key.
 */
static const struct algorithm {
	const char *name, *type, *curve;
} algorithms[] = {
	{"RS256", "RSA", NULL},	  {"RS384", "RSA", NULL},   {"RS512", "RSA", NULL},
	{"PS256", "RSA", NULL},	  {"PS384", "RSA", NULL},   {"PS512", "RSA", NULL},
	{"ES256", "EC", "P-256"}, {"ES384", "EC", "P-384"}, {"ES512", "EC", "P-521"},
};

#define RSA_TEXT_MIN 342  /* base64url of 2048 bits */
#define RSA_TEXT_MAX 1366 /* of 8192 */

static const struct algorithm *find_algorithm(const char *name)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(algorithms); i++) {
		if (strcmp(algorithms[i].name, name) == 0) {
			return &algorithms[i];
		}
	}
	return NULL;
}

static bool fits(const json_t *key, const struct algorithm *alg, const char *kid)
{
	size_t n = strlen(bh_json_str_or(key, "n", ""));

	return strcmp(bh_json_str_or(key, "kty", ""), alg->type) == 0 &&
	       (!alg->curve || strcmp(bh_json_str_or(key, "crv", ""), alg->curve) == 0) &&
	       (alg->curve || (n >= RSA_TEXT_MIN && n <= RSA_TEXT_MAX)) &&
	       strcmp(bh_json_str_or(key, "use", "sig"), "sig") == 0 &&
	       strcmp(bh_json_str_or(key, "alg", alg->name), alg->name) == 0 &&
	       (!*kid || strcmp(bh_json_str_or(key, "kid", ""), kid) == 0);
}

/* The one key that it can be, with its public members only; owned. Without a name in the token two
 * that fit are none. */
static json_t *find_key(const json_t *keys, const struct algorithm *alg, const char *kid)
{
	const json_t *list = json_object_get(keys, "keys"), *found = NULL, *key;
	unsigned int count = 0;
	size_t i;

	json_array_foreach ((json_t *)list, i, key) {
		if (i < OIDC_KEYS_MAX && fits(key, alg, kid)) {
			found = key;
			count++;
		}
	}
	if (count != 1) {
		return NULL;
	}
	return alg->curve ? json_pack("{s:s, s:s, s:s, s:s}", "kty", "EC", "crv", alg->curve, "x",
				      bh_json_str_or(found, "x", ""), "y",
				      bh_json_str_or(found, "y", ""))
			  : json_pack("{s:s, s:s, s:s}", "kty", "RSA", "n",
				      bh_json_str_or(found, "n", ""), "e",
				      bh_json_str_or(found, "e", ""));
}

/* A part of the token as JSON; owned, NULL. */
static json_t *decode(const char *text, size_t len)
{
	BH_FREE char *data = bh_alloc(len + 1);
	json_t *json = NULL;
	size_t size = 0;

	if (sodium_base642bin((unsigned char *)data, len + 1, text, len, NULL, &size, NULL,
			      sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
	    bh_json_load(data, size, OIDC_TOKEN_MAX, &json, NULL) < 0) {
		return NULL;
	}
	if (!json_is_object(json)) {
		json_decref(json);
		return NULL;
	}
	return json;
}

static int refuse(struct bh_diag *diag, const char *words)
{
	return bh_diag_set(diag, -EACCES, "%s", words);
}

/* "header.payload.signature" */
static int check_signature(const json_t *keys, const char *token, json_t **ret_claims,
			   struct bh_diag *diag)
{
	size_t head = strcspn(token, "."), body = token[head] ? strcspn(token + head + 1, ".") : 0;
	const char *payload = token + head + 1, *signature = payload + body + 1;
	BH_JSON json_t *header = NULL;
	BH_JSON json_t *key = NULL;
	BH_JSON json_t *jws = NULL;
	const struct algorithm *alg;

	if (!head || !body || token[head + 1 + body] != '.' || strchr(signature, '.')) {
		return refuse(diag, "this is no signed token");
	}
	header = decode(token, head);
	if (!header || json_object_get(header, "crit") || json_object_get(header, "b64")) {
		return refuse(diag, "the token's header is none that we know");
	}
	alg = find_algorithm(bh_json_str_or(header, "alg", ""));
	if (!alg) {
		return refuse(diag, "the token is signed by an algorithm that is not allowed");
	}
	key = find_key(keys, alg, bh_json_str_or(header, "kid", ""));
	if (!key) {
		bh_diag_set(diag, -EACCES, "the provider has no such key");
		return MANAGER_OIDC_NO_KEY;
	}
	jws = json_pack("{s:s%, s:s%, s:s}", "protected", token, head, "payload", payload, body,
			"signature", signature);
	if (!jws || !jose_jws_ver(NULL, jws, NULL, key, true)) {
		return refuse(diag, "the token's signature does not fit");
	}
	*ret_claims = decode(payload, body);
	return *ret_claims ? 0 : refuse(diag, "the token says nothing that can be read");
}

/* ---- what it says ---- */

bool manager_oidc_has(const json_t *claims, const char *claim, const char *value)
{
	const json_t *c = json_object_get(claims, claim), *v;
	size_t i;

	if (json_is_string(c)) {
		return strcmp(json_string_value(c), value) == 0;
	}
	json_array_foreach ((json_t *)c, i, v) {
		if (i < OIDC_VALUES_MAX && json_is_string(v) &&
		    strcmp(json_string_value(v), value) == 0) {
			return true;
		}
	}
	return false;
}

bool manager_oidc_factor(const json_t *settings, const json_t *claims)
{
	static const char *const claim[] = {"amr", "acr"};
	const json_t *v;
	size_t i;

	for (size_t k = 0; k < BH_ARRAY_SIZE(claim); k++) {
		json_array_foreach (json_object_get(settings, claim[k]), i, v) {
			if (manager_oidc_has(claims, claim[k], json_string_value(v))) {
				return true;
			}
		}
	}
	return false;
}

bool manager_oidc_may_count(const json_t *settings)
{
	return json_array_size(json_object_get(settings, "amr")) ||
	       json_array_size(json_object_get(settings, "acr"));
}

const char *manager_oidc_end_session(const json_t *provider)
{
	const char *url = bh_json_str_or(provider, "end_session_endpoint", "");

	return is_url(url) ? url : NULL;
}

uint64_t manager_oidc_asked(const json_t *claims)
{
	return bh_json_u64_or(claims, "auth_time", 0);
}

int manager_oidc_fresh(const json_t *claims, uint64_t since_s, struct bh_diag *diag)
{
	uint64_t asked_s = manager_oidc_asked(claims);

	if (!asked_s) {
		return refuse(diag, "the provider does not say when it asked (auth_time)");
	}
	return asked_s > UINT32_MAX || asked_s + OIDC_SKEW_S < since_s
		       ? refuse(diag, "the provider did not ask anew")
		       : 0;
}

static int check_times(const json_t *claims, uint64_t now_s, struct bh_diag *diag)
{
	uint64_t exp = bh_json_u64_or(claims, "exp", 0), iat = bh_json_u64_or(claims, "iat", 0);
	uint64_t nbf = bh_json_u64_or(claims, "nbf", 0);

	if (!exp || exp > UINT32_MAX || exp + OIDC_SKEW_S <= now_s) {
		return refuse(diag, "the token is over");
	}
	if (!iat || iat > now_s + OIDC_SKEW_S || iat + OIDC_AGE_S < now_s ||
	    nbf > now_s + OIDC_SKEW_S) {
		return refuse(diag, "the token was not issued just now (do the clocks agree?)");
	}
	return 0;
}

static int check_claims(const json_t *settings, const json_t *claims,
			const struct manager_oidc_said *said, struct bh_diag *diag)
{
	const char *client = bh_json_str_or(settings, "client_id", "");
	const char *subject = bh_json_str_or(claims, "sub", "");
	const json_t *azp = json_object_get(claims, "azp");

	if (strcmp(bh_json_str_or(claims, "iss", ""), bh_json_str_or(settings, "issuer", "")) !=
	    0) {
		return refuse(diag, "the token is of another issuer");
	}
	if (!manager_oidc_has(claims, "aud", client)) {
		return refuse(diag, "the token is for somebody else");
	}
	if (azp ? !json_is_string(azp) || strcmp(json_string_value(azp), client) != 0
		: json_array_size(json_object_get(claims, "aud")) > 1) {
		return refuse(diag, "the token was given to another party");
	}
	if (!*said->nonce || strcmp(bh_json_str_or(claims, "nonce", ""), said->nonce) != 0) {
		return refuse(diag, "the token is of another login");
	}
	if (!*subject || strlen(subject) > OIDC_SUBJECT_MAX) {
		return refuse(diag, "the token does not say who it is");
	}
	return check_times(claims, said->now_s, diag);
}

int manager_oidc_token(const json_t *settings, const json_t *keys,
		       const struct manager_oidc_said *said, json_t **ret_claims,
		       struct bh_diag *diag)
{
	BH_JSON json_t *claims = NULL;
	int r = strlen(said->token) > OIDC_TOKEN_MAX
			? refuse(diag, "the token is too long")
			: check_signature(keys, said->token, &claims, diag);

	if (r == 0) {
		r = check_claims(settings, claims, said, diag);
	}
	*ret_claims = r == 0 ? bh_steal(&claims) : NULL;
	return r;
}
