/* SPDX-License-Identifier: Apache-2.0 */
/* Settings, what is known of the provider, and logins under way (oidc.h). */
#include "manager/auth/oidc.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uthash.h>

#define SETTINGS_NAME "oidc"

BH_COUNTER(auth_oidc_limited, "logins by OpenID Connect refused: too many under way of an address");

struct pending {
	char state[MANAGER_SECRET_TEXT_SIZE];
	char address[64];
	uint64_t until_ns;
	struct manager_oidc_pending what;
	UT_hash_handle hh;
};

struct manager_oidc {
	struct manager_accounts *a;
	json_t *settings, *provider, *keys;
	uint64_t known_ns;     /* since when provider is */
	uint64_t refreshed_ns; /* when a key was not known */
	struct pending *all;   /* the oldest first */
	unsigned int jobs;
	int stop_fd; /* readable when the manager ends */
	bool closing;
};

/* ---- settings: sealed, since they have the client's secret ---- */

static char *seal(const struct manager_accounts *a, const char *text)
{
	size_t len = strlen(text);
	size_t size = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + len;
	BH_FREE uint8_t *box = bh_alloc(size);
	char *hex = bh_alloc(2 * size + 1);

	randombytes_buf(box, crypto_secretbox_NONCEBYTES);
	crypto_secretbox_easy(box + crypto_secretbox_NONCEBYTES, (const unsigned char *)text, len,
			      box, manager_accounts_key(a));
	sodium_bin2hex(hex, 2 * size + 1, box, size);
	return hex;
}

/* Owned; NULL. */
static char *unseal(const struct manager_accounts *a, const char *hex)
{
	size_t max = strlen(hex) / 2, size = 0;
	size_t head = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;
	BH_FREE uint8_t *box = bh_alloc(max + 1);
	char *text = bh_alloc(max + 1);

	if (sodium_hex2bin(box, max, hex, strlen(hex), NULL, &size, NULL) != 0 || size < head ||
	    crypto_secretbox_open_easy((unsigned char *)text, box + crypto_secretbox_NONCEBYTES,
				       size - crypto_secretbox_NONCEBYTES, box,
				       manager_accounts_key(a)) != 0) {
		bh_log(BH_LOG_ERROR, "auth", "what OpenID Connect keeps can't be unsealed");
		free(text);
		return NULL;
	}
	return text;
}

struct manager_oidc *manager_oidc_new(struct manager_accounts *a)
{
	struct manager_oidc *o = bh_alloc(sizeof(*o));
	BH_FREE char *hex = manager_store_setting(manager_accounts_db(a), SETTINGS_NAME);
	BH_FREE char *text = hex ? unseal(a, hex) : NULL;

	o->a = a;
	o->settings = text ? json_loads(text, 0, NULL) : NULL;
	if (text) {
		sodium_memzero(text, strlen(text));
	}
	o->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (o->stop_fd < 0) {
		abort(); /* out of descriptors before anything was opened */
	}
	return o;
}

static void drop(struct manager_oidc *o, struct pending *p)
{
	HASH_DEL(o->all, p);
	sodium_memzero(p, sizeof(*p));
	free(p);
}

static void destroy(struct manager_oidc *o)
{
	json_decref(o->settings);
	json_decref(o->provider);
	json_decref(o->keys);
	close(o->stop_fd);
	free(o);
}

void manager_oidc_free(struct manager_oidc *o)
{
	struct pending *p, *tmp;

	if (!o) {
		return;
	}
	HASH_ITER (hh, o->all, p, tmp) {
		drop(o, p);
	}
	o->closing = true;
	o->a = NULL;
	if (o->jobs) {
		(void)!eventfd_write(o->stop_fd, 1); /* workers end, the last one frees */
	} else {
		destroy(o);
	}
}

const json_t *manager_oidc_settings(const struct manager_oidc *o)
{
	return o->settings;
}

static void forget(struct manager_oidc *o)
{
	json_decref(bh_steal(&o->provider));
	json_decref(bh_steal(&o->keys));
	o->refreshed_ns = 0;
}

int manager_oidc_set_settings(struct manager_oidc *o, json_t *settings, struct bh_diag *diag)
{
	BH_FREE char *text = bh_json_dump(settings);
	BH_FREE char *hex = seal(o->a, text);
	struct pending *p, *tmp;
	int r = manager_store_set_setting(manager_accounts_db(o->a), SETTINGS_NAME, hex, diag);

	sodium_memzero(text, strlen(text));
	if (r < 0) {
		return r;
	}
	HASH_ITER (hh, o->all, p, tmp) {
		drop(o, p); /* they asked the provider before */
	}
	forget(o);
	json_decref(o->settings);
	o->settings = json_incref(settings);
	return 0;
}

bool manager_oidc_on(const struct manager_oidc *o)
{
	return json_is_true(json_object_get(o->settings, "enabled")) &&
	       *manager_accounts_settings(o->a)->origin;
}

/* ---- logins under way ---- */

int manager_oidc_begin(struct manager_oidc *o, const struct manager_oidc_asker *asker,
		       uint64_t mono_ns, char ret_state[MANAGER_SECRET_TEXT_SIZE],
		       struct manager_oidc_pending *ret)
{
	uint8_t hash[MANAGER_SECRET_HASH_SIZE];
	struct pending *p, *tmp;
	unsigned int count = 0;

	HASH_ITER (hh, o->all, p, tmp) {
		if (mono_ns >= p->until_ns) {
			drop(o, p);
		} else {
			count += strcmp(p->address, asker->address) == 0;
		}
	}
	if (count >= OIDC_PENDING_ADDRESS) {
		bh_counter_add(&auth_oidc_limited, 1);
		return -EDQUOT;
	}
	if (HASH_COUNT(o->all) >= OIDC_PENDING_MAX) {
		drop(o, o->all);
	}
	p = bh_alloc(sizeof(*p));
	manager_secret_make(p->state, hash);
	manager_secret_make(p->what.nonce, hash);
	manager_secret_make(p->what.verifier, hash);
	manager_secret_make(p->what.cookie, hash);
	p->what.session = asker->session;
	p->what.user = asker->user;
	p->what.begun_s = bh_time_wall_ns() / BH_NS_PER_S;
	snprintf(p->address, sizeof(p->address), "%s", asker->address);
	p->until_ns = mono_ns + OIDC_PENDING_S * BH_NS_PER_S;
	HASH_ADD_STR(o->all, state, p);
	memcpy(ret_state, p->state, sizeof(p->state));
	*ret = p->what;
	return 0;
}

int manager_oidc_take(struct manager_oidc *o, const char *state, const char *cookie,
		      uint64_t mono_ns, struct manager_oidc_pending *ret)
{
	struct pending *p;
	bool good;

	HASH_FIND_STR(o->all, state, p);
	if (!p || strlen(cookie) != sizeof(p->what.cookie) - 1 ||
	    sodium_memcmp(cookie, p->what.cookie, sizeof(p->what.cookie)) != 0) {
		return -ENOENT; /* another browser does not end it */
	}
	good = mono_ns < p->until_ns;
	*ret = p->what;
	drop(o, p);
	return good ? 0 : -ENOENT;
}

/* ---- tokens of sessions ---- */

int manager_oidc_keep_token(struct manager_oidc *o, int64_t session, const char *token,
			    struct bh_diag *diag)
{
	BH_FREE char *hex = NULL;

	if (!json_is_true(json_object_get(o->settings, "logout"))) {
		return 0;
	}
	hex = seal(o->a, strlen(token) <= OIDC_HINT_MAX ? token : "");
	return manager_store_keep_token(manager_accounts_db(o->a), session, hex, diag);
}

char *manager_oidc_kept_token(struct manager_oidc *o, int64_t session)
{
	BH_FREE char *hex = manager_store_kept_token(manager_accounts_db(o->a), session);

	return hex ? unseal(o->a, hex) : NULL;
}

/* ---- for workers ---- */

bool manager_oidc_works(struct manager_oidc *o, unsigned int max)
{
	if (o->jobs >= max) {
		return false;
	}
	o->jobs++;
	return true;
}

void manager_oidc_worked(struct manager_oidc *o)
{
	o->jobs--;
	if (o->closing && !o->jobs) {
		destroy(o);
	}
}

void manager_oidc_talk_init(const struct manager_oidc *o, uint64_t mono_ns,
			    struct manager_oidc_talk *ret)
{
	bool good = o->provider && mono_ns - o->known_ns < OIDC_CACHE_S * BH_NS_PER_S;

	*ret = (struct manager_oidc_talk){
		.stop_fd = o->stop_fd,
		.settings = json_deep_copy(o->settings),
		.provider = good ? json_deep_copy(o->provider) : NULL,
		.keys = good && o->keys ? json_deep_copy(o->keys) : NULL,
		.may_refresh = !o->refreshed_ns ||
			       mono_ns - o->refreshed_ns >= OIDC_REFRESH_S * BH_NS_PER_S,
	};
}

void manager_oidc_learn(struct manager_oidc *o, const struct manager_oidc_talk *t, uint64_t mono_ns)
{
	if (o->closing || !json_equal(t->settings, o->settings) || !t->provider) {
		return; /* it asked another one */
	}
	if (!o->provider || mono_ns - o->known_ns >= OIDC_CACHE_S * BH_NS_PER_S) {
		json_decref(o->provider);
		o->provider = json_deep_copy(t->provider);
		o->known_ns = mono_ns;
	}
	if (t->fetched) {
		json_decref(o->keys);
		o->keys = json_deep_copy(t->keys);
	}
	if (t->refreshed) {
		o->refreshed_ns = mono_ns;
	}
}
