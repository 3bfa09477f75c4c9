/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/password.h"

#include "base/counter.h"
#include "base/util.h"

#include <errno.h>
#include <utlist.h>

#define DISTINCT_MIN 5

BH_COUNTER(auth_passwords_refused, "logins refused because too many passwords were being checked");

/* Of no password: what is compared when there is no such user. */
static const char nobody[] = "$argon2id$v=19$m=65536,t=2,p=1$8X4YVnpoQ2vKzGpXJ1Ow8w$"
			     "Qz8mO1n2bq9Yb0cZrWkq0h3JtS4m5d6FhG7iKlMnOpQ";

struct job {
	uint64_t id;
	char password[PASSWORD_MAX + 1];
	char hash[PASSWORD_HASH_MAX];
	bool verify, good, running;
	manager_password_fn *fn; /* NULL: cancelled */
	void *arg;
	struct manager_passwords *owner;
	uv_work_t work;
	struct job *prev, *next;
};

struct manager_passwords {
	uv_loop_t *loop;
	struct job *jobs; /* running ones and waiting ones, in order */
	unsigned int running, count;
	uint64_t next_id;
	bool closing;
};

/* Sorted, in small letters. */
static const char *const common[] = {
#include "manager/auth/common_passwords.def"
};

static int compare_common(const void *word, const void *entry)
{
	return strcmp(word, *(const char *const *)entry);
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A password that many have, with figures and signs before and behind it, is one that is tried: all
 * that is no letter at its ends does not count. */
static bool is_common(const char *password, size_t len)
{
	char word[PASSWORD_MAX + 1];
	size_t n = 0;

	while (len && !is_letter(*password)) {
		password++;
		len--;
	}
	while (len && !is_letter(password[len - 1])) {
		len--;
	}
	for (; n < len; n++) {
		char c = password[n];

		word[n] = c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
	}
	word[n] = '\0';
	return n && bsearch(word, common, BH_ARRAY_SIZE(common), sizeof(*common), compare_common);
}

int manager_password_check(const char *password, const char *user, struct bh_diag *diag)
{
	size_t len = strlen(password), name_len = strcspn(user, "@");
	bool seen[256] = {};
	unsigned int distinct = 0;

	if (len < PASSWORD_MIN || len > PASSWORD_MAX) {
		return bh_diag_set(diag, -EINVAL, "a password has %d to %d bytes", PASSWORD_MIN,
				   PASSWORD_MAX);
	}
	for (size_t i = 0; i < len; i++) {
		distinct += !seen[(unsigned char)password[i]];
		seen[(unsigned char)password[i]] = true;
	}
	if (distinct < DISTINCT_MIN) {
		return bh_diag_set(diag, -EINVAL, "a password has at least %d different characters",
				   DISTINCT_MIN);
	}
	if (is_common(password, len)) {
		return bh_diag_set(diag, -EINVAL,
				   "many people have this password, so it is one of the first that "
				   "are tried");
	}
	if (name_len > 2 && memmem(password, len, user, name_len)) {
		return bh_diag_set(diag, -EINVAL, "the user's name must not be in his password");
	}
	return 0;
}

void manager_password_make(char ret[PASSWORD_MADE_SIZE])
{
	static const char alphabet[] = "abcdefghjkmnpqrstuvwxyz23456789";
	size_t at = 0;

	for (unsigned int i = 0; i < 20; i++) {
		if (i && i % 5 == 0) {
			ret[at++] = '-';
		}
		ret[at++] = alphabet[randombytes_uniform(sizeof(alphabet) - 1)];
	}
	ret[at] = '\0';
}

struct manager_passwords *manager_passwords_new(uv_loop_t *loop)
{
	struct manager_passwords *p = bh_alloc(sizeof(*p));

	p->loop = loop;
	return p;
}

static void job_free(struct job *j)
{
	DL_DELETE(j->owner->jobs, j);
	j->owner->count--;
	sodium_memzero(j->password, sizeof(j->password));
	free(j);
}

void manager_passwords_free(struct manager_passwords *p)
{
	struct job *j, *tmp;

	if (!p) {
		return;
	}
	p->closing = true;
	DL_FOREACH_SAFE(p->jobs, j, tmp)
	{
		j->fn = NULL;
		if (!j->running) {
			job_free(j);
		}
	}
	while (p->running) {
		uv_run(p->loop, UV_RUN_ONCE);
	}
	free(p);
}

static void on_work(uv_work_t *work)
{
	struct job *j = work->data;

	if (j->verify) {
		j->good = crypto_pwhash_str_verify(j->hash, j->password, strlen(j->password)) == 0;
	} else {
		j->good = crypto_pwhash_str(j->hash, j->password, strlen(j->password),
					    crypto_pwhash_OPSLIMIT_INTERACTIVE,
					    crypto_pwhash_MEMLIMIT_INTERACTIVE) == 0;
	}
	sodium_memzero(j->password, sizeof(j->password));
}

static void start_next(struct manager_passwords *p);

static void on_done(uv_work_t *work, int status)
{
	struct job *j = work->data;
	struct manager_passwords *p = j->owner;
	manager_password_fn *fn = j->fn;
	bool good = j->good && status == 0;
	void *arg = j->arg;
	char hash[PASSWORD_HASH_MAX];
	bool verify = j->verify;

	memcpy(hash, j->hash, sizeof(hash));
	p->running--;
	job_free(j);
	start_next(p);
	if (fn) {
		fn(good, verify || !good ? NULL : hash, arg);
	}
}

static void start_next(struct manager_passwords *p)
{
	struct job *j;

	DL_FOREACH (p->jobs, j) {
		if (p->running >= PASSWORDS_AT_ONCE || p->closing) {
			return;
		}
		if (!j->running) {
			j->running = true;
			p->running++;
			uv_queue_work(p->loop, &j->work, on_work, on_done);
		}
	}
}

uint64_t manager_passwords_start(struct manager_passwords *p,
				 const struct manager_password_job *job)
{
	struct job *j;

	if (p->count >= PASSWORDS_WAITING || p->closing || strlen(job->password) > PASSWORD_MAX) {
		bh_counter_add(&auth_passwords_refused, 1);
		return 0;
	}
	j = bh_alloc(sizeof(*j));
	j->id = ++p->next_id;
	j->owner = p;
	j->verify = job->verify;
	j->fn = job->fn;
	j->arg = job->arg;
	j->work.data = j;
	snprintf(j->password, sizeof(j->password), "%s", job->password);
	if (job->verify) {
		snprintf(j->hash, sizeof(j->hash), "%s",
			 job->against && *job->against ? job->against : nobody);
	}
	DL_APPEND(p->jobs, j);
	p->count++;
	start_next(p);
	return j->id;
}

void manager_passwords_cancel(struct manager_passwords *p, uint64_t id)
{
	struct job *j;

	DL_FOREACH (p->jobs, j) {
		if (j->id == id) {
			j->fn = NULL;
			return;
		}
	}
}
