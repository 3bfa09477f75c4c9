/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions and API tokens: random secrets of which the store has the hashes. */
#include "manager/auth/accounts.h"

#include "base/counter.h"
#include "base/time.h"

#include <errno.h>

#define TOUCH_NS (60 * BH_NS_PER_S) /* how often the use of one is written down */

BH_COUNTER(auth_sessions, "sessions begun");
BH_COUNTER(auth_sessions_stolen, "sessions ended because another agent had their secret");

static void hash_text(const char *text, uint8_t ret[MANAGER_SECRET_HASH_SIZE])
{
	crypto_hash_sha256(ret, (const unsigned char *)text, strlen(text));
}

void manager_secret_make(char ret_text[MANAGER_SECRET_TEXT_SIZE],
			 uint8_t ret_hash[MANAGER_SECRET_HASH_SIZE])
{
	uint8_t random[32];

	randombytes_buf(random, sizeof(random));
	sodium_bin2base64(ret_text, MANAGER_SECRET_TEXT_SIZE, random, sizeof(random),
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	hash_text(ret_text, ret_hash);
	sodium_memzero(random, sizeof(random));
}

void manager_session_csrf(const char *secret, char ret[MANAGER_CSRF_SIZE])
{
	static const char domain[] = "bulkhead csrf 1";
	uint8_t hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, (const unsigned char *)domain, sizeof(domain));
	crypto_hash_sha256_update(&state, (const unsigned char *)secret, strlen(secret));
	crypto_hash_sha256_final(&state, hash);
	bh_hex_format(hash, (MANAGER_CSRF_SIZE - 1) / 2, ret);
}

/* ---- sessions ---- */

/* Among the open ones, or among those whose second factor is to come: who has only the password
 * pushes nobody out. */
struct oldest {
	int64_t id;
	size_t count;
};

static int find_oldest(const struct manager_store_session *row, void *arg)
{
	struct oldest *o = arg;

	o->count++;
	o->id = row->id; /* the newest come first */
	return 0;
}

static int make_room(struct manager_db *db, int64_t user, bool open, struct bh_diag *diag)
{
	struct oldest oldest = {};
	int r = manager_store_sessions(db, user, open, find_oldest, &oldest, diag);

	if (r == 0 && oldest.count >= MANAGER_SESSIONS_MAX) {
		r = manager_store_drop_session(db, oldest.id, diag);
	}
	return r;
}

static struct manager_store_session row_of(const struct manager_session *s)
{
	return (struct manager_store_session){.id = s->id,
					      .user = s->user,
					      .hash = s->hash,
					      .open = s->open,
					      .bearer = s->bearer,
					      .created_ns = s->created_ns,
					      .used_ns = s->used_ns,
					      .proved_ns = s->proved_ns,
					      .factor_ns = s->factor_ns,
					      .factor = s->factor};
}

int manager_session_begin(struct manager_accounts *a, struct manager_session *session,
			  const struct manager_agent *agent,
			  char ret_secret[MANAGER_SECRET_TEXT_SIZE], struct bh_diag *diag)
{
	struct manager_db *db = manager_accounts_db(a);
	struct manager_store_session row = row_of(session);
	uint8_t hash[MANAGER_SECRET_HASH_SIZE], agent_hash[MANAGER_SECRET_HASH_SIZE];
	char words[200];
	int r = make_room(db, session->user, session->open, diag);

	if (r < 0) {
		return r;
	}
	manager_secret_make(ret_secret, hash);
	hash_text(agent->words ? agent->words : "", agent_hash);
	/* What a client calls itself need not be text. */
	snprintf(words, sizeof(words), "%s", agent->words ? agent->words : "");
	for (char *p = words; *p; p++) {
		*p = *p < 0x20 || *p == 0x7f ? '?' : *p;
	}
	row.hash = hash;
	row.agent = agent_hash;
	row.agent_words = words;
	row.address = agent->address;
	bh_counter_add(&auth_sessions, 1);
	return manager_store_add_session(db, &row, &session->id, diag);
}

struct look {
	struct manager_session *to;
	const struct manager_agent *agent;
	bool bind_address, stolen;
	int64_t id; /* of the one that is looked for among others */
};

static int keep_session(const struct manager_store_session *row, void *arg)
{
	struct look *look = arg;
	struct manager_session *s = look->to;
	uint8_t agent[MANAGER_SECRET_HASH_SIZE];

	s->id = row->id;
	s->user = row->user;
	s->open = row->open;
	s->bearer = row->bearer;
	s->created_ns = row->created_ns;
	s->used_ns = row->used_ns;
	s->proved_ns = row->proved_ns;
	s->factor_ns = row->factor_ns;
	snprintf(s->factor, sizeof(s->factor), "%s", row->factor);
	hash_text(look->agent->words ? look->agent->words : "", agent);
	look->stolen = sodium_memcmp(agent, row->agent, sizeof(agent)) != 0 ||
		       (look->bind_address && strcmp(row->address, look->agent->address) != 0);
	return 0;
}

static bool over(const struct manager_account_settings *settings, const struct manager_session *s,
		 uint64_t now_ns)
{
	return now_ns - s->used_ns > settings->idle_s * BH_NS_PER_S ||
	       now_ns - s->created_ns > settings->absolute_s * BH_NS_PER_S;
}

static int drop_stolen(struct manager_db *db, int64_t id)
{
	bh_counter_add(&auth_sessions_stolen, 1);
	(void)!manager_store_drop_session(db, id, NULL);
	return -EACCES;
}

int manager_session_find(struct manager_accounts *a, const char *secret, bool bearer,
			 const struct manager_agent *agent, uint64_t now_ns,
			 struct manager_session *ret)
{
	const struct manager_account_settings *settings = manager_accounts_settings(a);
	struct manager_db *db = manager_accounts_db(a);
	struct look look = {.to = ret, .agent = agent, .bind_address = settings->bind_address};
	struct manager_store_session row;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (strlen(secret) != MANAGER_SECRET_TEXT_SIZE - 1) {
		return -ENOENT;
	}
	hash_text(secret, ret->hash);
	r = manager_store_session(db, ret->hash, keep_session, &look);
	if (r < 0) {
		return r == -ENOENT ? r : -EIO;
	}
	if (ret->bearer != bearer || over(settings, ret, now_ns)) {
		return -ENOENT;
	}
	if (look.stolen) {
		return drop_stolen(db, ret->id);
	}
	if (now_ns - ret->used_ns > TOUCH_NS) {
		ret->used_ns = now_ns;
		row = row_of(ret);
		(void)!manager_store_set_session(db, &row, NULL); /* it ends a minute sooner */
	}
	return 0;
}

static int keep_session_of(const struct manager_store_session *row, void *arg)
{
	const struct look *look = arg;

	return row->id == look->id ? keep_session(row, arg) : 0;
}

int manager_session_find_id(struct manager_accounts *a, int64_t id, int64_t user,
			    const struct manager_agent *agent, uint64_t now_ns,
			    struct manager_session *ret)
{
	const struct manager_account_settings *settings = manager_accounts_settings(a);
	struct manager_db *db = manager_accounts_db(a);
	struct look look = {
		.to = ret, .agent = agent, .bind_address = settings->bind_address, .id = id};

	memset(ret, 0, sizeof(*ret));
	if (manager_store_sessions(db, user, true, keep_session_of, &look, NULL) < 0) {
		return -EIO;
	}
	if (!ret->id || over(settings, ret, now_ns)) {
		return -ENOENT;
	}
	return look.stolen ? drop_stolen(db, ret->id) : 0;
}

int manager_session_prove(struct manager_accounts *a, struct manager_session *s, const char *factor,
			  uint64_t shown_ns, char ret_secret[MANAGER_SECRET_TEXT_SIZE],
			  struct bh_diag *diag)
{
	struct manager_store_session row;
	int r = s->open ? 0 : make_room(manager_accounts_db(a), s->user, true, diag);

	if (r < 0) {
		return r;
	}
	manager_secret_make(ret_secret, s->hash);
	s->open = true;
	s->proved_ns = shown_ns;
	s->used_ns = s->used_ns > shown_ns ? s->used_ns : shown_ns;
	if (*factor) {
		s->factor_ns = shown_ns;
	}
	if (*factor && factor != s->factor) { /* callers may have put it there already */
		snprintf(s->factor, sizeof(s->factor), "%s", factor);
	}
	row = row_of(s);
	return manager_store_set_session(manager_accounts_db(a), &row, diag);
}

/* ---- API tokens ---- */

void manager_api_token_text(int64_t id, const char *secret, char ret[MANAGER_TOKEN_TEXT_SIZE])
{
	snprintf(ret, MANAGER_TOKEN_TEXT_SIZE, "bhk_%lld_%s", (long long)id, secret);
}

struct token {
	bool found, factor;
	int64_t user;
	uint8_t hash[MANAGER_SECRET_HASH_SIZE];
	uint64_t rights, expires_ns, used_ns;
	uint32_t tenant;
};

static int keep_token(const struct manager_store_api_token *row, void *arg)
{
	struct token *t = arg;

	t->found = manager_rights_parse(row->rights, true, &t->rights, NULL) == 0;
	t->user = row->user;
	t->factor = row->factor;
	t->expires_ns = row->expires_ns;
	t->used_ns = row->used_ns;
	t->tenant = row->tenant;
	memcpy(t->hash, row->hash, sizeof(t->hash));
	return 0;
}

/* "bhk_12_secret". */
static const char *split_token(const char *text, int64_t *ret_id)
{
	char number[20];
	const char *end;
	uint64_t id;

	if (strncmp(text, "bhk_", 4) != 0) {
		return NULL;
	}
	end = strchr(text + 4, '_');
	if (!end || (size_t)(end - text - 4) >= sizeof(number)) {
		return NULL;
	}
	snprintf(number, sizeof(number), "%.*s", (int)(end - text - 4), text + 4);
	if (bh_parse_u64(number, 1, INT64_MAX, &id) < 0) {
		return NULL;
	}
	*ret_id = (int64_t)id;
	return end + 1;
}

int manager_api_token_principal(struct manager_accounts *a, const char *text, uint64_t now_ns,
				struct manager_principal *ret)
{
	struct manager_db *db = manager_accounts_db(a);
	uint8_t hash[MANAGER_SECRET_HASH_SIZE];
	struct token t = {};
	int64_t id = 0;
	const char *secret = split_token(text, &id);
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!secret || manager_store_api_tokens(db, id, 0, keep_token, &t, NULL) < 0 || !t.found) {
		return -ENOENT;
	}
	hash_text(secret, hash);
	if (sodium_memcmp(hash, t.hash, sizeof(hash)) != 0 || now_ns >= t.expires_ns) {
		return -ENOENT;
	}
	r = manager_user_principal(a, t.user, now_ns, ret);
	if (r < 0) {
		return r;
	}
	manager_holdings_narrow(ret, t.rights & ~manager_rights_with(MANAGER_RIGHT_DANGEROUS),
				t.tenant);
	ret->via = MANAGER_VIA_TOKEN;
	ret->token = id;
	ret->factor_ns = t.factor ? now_ns : 0;
	if (now_ns - t.used_ns > TOUCH_NS) {
		(void)!manager_store_touch_api_token(db, id, now_ns); /* told a minute later */
	}
	return 0;
}
