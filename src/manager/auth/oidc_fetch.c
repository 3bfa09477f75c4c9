/* SPDX-License-Identifier: Apache-2.0 */
/* Talking with the provider, in a worker: HTTPS only, no redirects, bounded in bytes and time. */
#include "manager/auth/oidc.h"

#include "base/json.h"
#include "base/time.h"
#include "manager/https.h"

#include <errno.h>

#define CONNECT_MS 4000L
#define WHOLE_MS   8000L

void manager_oidc_talk_done(struct manager_oidc_talk *t)
{
	char *const secrets[] = {t->code, t->verifier, t->nonce, t->token};

	for (size_t i = 0; i < BH_ARRAY_SIZE(secrets); i++) {
		if (secrets[i]) {
			sodium_memzero(secrets[i], strlen(secrets[i]));
		}
		free(secrets[i]);
	}
	free(t->redirect);
	json_decref(t->settings);
	json_decref(t->provider);
	json_decref(t->keys);
	json_decref(t->claims);
	memset(t, 0, sizeof(*t));
}

static size_t on_data(char *data, size_t one, size_t count, void *arg)
{
	struct bh_wbuf *w = arg;

	if (w->size + count > OIDC_DOCUMENT_MAX) {
		return 0;
	}
	bh_wbuf_put(w, data, count);
	return count;
}

/* A JSON object with status 200; owned. form NULL: GET. */
static int fetch(const struct manager_oidc_talk *t, const char *url, const char *form,
		 const char *basic, json_t **ret, struct bh_diag *diag)
{
	struct bh_wbuf answer;
	CURL *curl;
	CURLcode code;
	long status = 0;
	int r;

	bh_wbuf_init(&answer, OIDC_DOCUMENT_MAX + 1);
	curl = manager_https_new(url, bh_json_str_or(t->settings, "ca", ""), CONNECT_MS, WHOLE_MS);
	if (!curl) {
		return bh_diag_set(diag, -ENOMEM, "no memory for a connection");
	}
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	if (form) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
	}
	if (basic) {
		curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(curl, CURLOPT_USERPWD, basic);
	}
	code = manager_https_perform(curl, t->stop_fd);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	if (code != CURLE_OK) {
		r = bh_diag_set(diag, -EIO, "the provider: %s", curl_easy_strerror(code));
	} else if (status != 200) {
		r = bh_diag_set(diag, form && status < 500 ? -EACCES : -EIO,
				"the provider answers HTTP %ld", status);
	} else {
		r = bh_json_load((const char *)answer.data, answer.size, OIDC_DOCUMENT_MAX, ret,
				 NULL) < 0
			    ? bh_diag_set(diag, -EIO, "the provider's answer is no JSON")
			    : 0;
	}
	if (answer.data) {
		sodium_memzero(answer.data, answer.size);
	}
	bh_wbuf_done(&answer);
	return r;
}

int manager_oidc_discover(struct manager_oidc_talk *t, struct bh_diag *diag)
{
	const char *issuer = bh_json_str_or(t->settings, "issuer", "");
	size_t len = strlen(issuer);
	BH_FREE char *url = NULL;
	int r;

	if (t->provider) {
		return 0;
	}
	url = bh_asprintf("%.*s/.well-known/openid-configuration",
			  (int)(len && issuer[len - 1] == '/' ? len - 1 : len), issuer);
	r = fetch(t, url, NULL, NULL, &t->provider, diag);
	r = r < 0 ? r : manager_oidc_check_provider(t->settings, t->provider, diag);
	if (r < 0) {
		json_decref(bh_steal(&t->provider));
	}
	return r;
}

static int fetch_keys(struct manager_oidc_talk *t, struct bh_diag *diag)
{
	json_t *keys = NULL;
	int r = fetch(t, bh_json_str_or(t->provider, "jwks_uri", ""), NULL, NULL, &keys, diag);

	if (r == 0) {
		json_decref(t->keys);
		t->keys = keys;
		t->fetched = true;
	}
	return r;
}

static bool wants_post(const json_t *provider)
{
	static const char methods[] = "token_endpoint_auth_methods_supported";

	return !manager_oidc_has(provider, methods, "client_secret_basic") &&
	       manager_oidc_has(provider, methods, "client_secret_post");
}

/* Adds "key=value" of a form. */
static void form_add(struct bh_wbuf *form, const char *key, const char *value)
{
	char *text = curl_easy_escape(NULL, value, 0);

	bh_wbuf_printf(form, "%s%s=%s", form->size ? "&" : "", key, text ? text : "");
	curl_free(text);
}

/* Its ID token; owned. */
static int redeem(const struct manager_oidc_talk *t, char **ret, struct bh_diag *diag)
{
	const char *id = bh_json_str_or(t->settings, "client_id", "");
	const char *secret = bh_json_str_or(t->settings, "client_secret", "");
	bool post = *secret && wants_post(t->provider), basic = *secret && !post;
	char *user = curl_easy_escape(NULL, id, 0), *password = curl_easy_escape(NULL, secret, 0);
	BH_FREE char *auth = bh_asprintf("%s:%s", user ? user : "", password ? password : "");
	BH_JSON json_t *answer = NULL;
	struct bh_wbuf form;
	int r;

	curl_free(user);
	curl_free(password);
	bh_wbuf_init(&form, 0);
	form_add(&form, "grant_type", "authorization_code");
	form_add(&form, "code", t->code);
	form_add(&form, "redirect_uri", t->redirect);
	form_add(&form, "code_verifier", t->verifier);
	if (!basic) {
		form_add(&form, "client_id", id);
	}
	if (post) {
		form_add(&form, "client_secret", secret);
	}
	r = fetch(t, bh_json_str_or(t->provider, "token_endpoint", ""), bh_wbuf_cstr(&form),
		  basic ? auth : NULL, &answer, diag);
	sodium_memzero(form.data, form.size);
	sodium_memzero(auth, strlen(auth));
	bh_wbuf_done(&form);
	if (r == 0) {
		*ret = bh_strdup(bh_json_str_or(answer, "id_token", ""));
	}
	return r;
}

int manager_oidc_redeem(struct manager_oidc_talk *t, struct bh_diag *diag)
{
	struct manager_oidc_said said = {.nonce = t->nonce,
					 .now_s = bh_time_wall_ns() / BH_NS_PER_S};
	int r = manager_oidc_discover(t, diag);

	r = r < 0 || t->keys ? r : fetch_keys(t, diag);
	r = r < 0 ? r : redeem(t, &t->token, diag);
	if (r < 0) {
		return r;
	}
	said.token = t->token;
	r = manager_oidc_token(t->settings, t->keys, &said, &t->claims, diag);
	if (r == MANAGER_OIDC_NO_KEY && t->may_refresh && !t->fetched) {
		t->refreshed = true; /* also when it fails */
		r = fetch_keys(t, diag);
		r = r < 0 ? r : manager_oidc_token(t->settings, t->keys, &said, &t->claims, diag);
	}
	return r == MANAGER_OIDC_NO_KEY ? -EACCES : r;
}
