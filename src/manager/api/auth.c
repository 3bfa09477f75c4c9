/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/auth.h"

#include "base/counter.h"
#include "base/time.h"
#include "base/util.h"

#include <sodium.h>
#include <strings.h>
#include <uthash.h>

#define FAILURES_MAX  10
#define WINDOW_NS     (60 * BH_NS_PER_S)
#define ADDRESSES_MAX 4096

BH_COUNTER(api_auth_failed, "requests with a missing or wrong token");
BH_COUNTER(api_auth_limited, "requests refused because their address guessed too often");

struct guesser {
	char address[64];
	unsigned int failures;
	uint64_t since_ns;
	UT_hash_handle hh;
};

struct manager_auth {
	uint8_t hash[32];
	struct guesser *guessers; /* in the order of their first failure */
};

struct manager_auth *manager_auth_new(const uint8_t token_hash[32])
{
	struct manager_auth *auth = bh_alloc(sizeof(*auth));

	memcpy(auth->hash, token_hash, sizeof(auth->hash));
	return auth;
}

static void drop(struct manager_auth *auth, struct guesser *g)
{
	HASH_DEL(auth->guessers, g);
	free(g);
}

void manager_auth_free(struct manager_auth *auth)
{
	struct guesser *g, *tmp;

	if (!auth) {
		return;
	}
	HASH_ITER (hh, auth->guessers, g, tmp) {
		drop(auth, g);
	}
	free(auth);
}

unsigned int manager_auth_wait(struct manager_auth *auth, const char *address, uint64_t mono_ns)
{
	struct guesser *g;

	HASH_FIND_STR(auth->guessers, address, g);
	if (!g) {
		return 0;
	}
	if (mono_ns - g->since_ns >= WINDOW_NS) {
		drop(auth, g);
		return 0;
	}
	if (g->failures < FAILURES_MAX) {
		return 0;
	}
	bh_counter_add(&api_auth_limited, 1);
	return (unsigned int)((WINDOW_NS - (mono_ns - g->since_ns)) / BH_NS_PER_S) + 1;
}

static void failed(struct manager_auth *auth, const char *address, uint64_t mono_ns)
{
	struct guesser *g;

	bh_counter_add(&api_auth_failed, 1);
	HASH_FIND_STR(auth->guessers, address, g);
	if (!g) {
		if (HASH_COUNT(auth->guessers) >= ADDRESSES_MAX) {
			drop(auth, auth->guessers);
		}
		g = bh_alloc(sizeof(*g));
		snprintf(g->address, sizeof(g->address), "%s", address);
		g->since_ns = mono_ns;
		HASH_ADD_STR(auth->guessers, address, g);
	}
	g->failures++;
}

bool manager_auth_check(struct manager_auth *auth, const char *header, const char *address,
			uint64_t mono_ns)
{
	uint8_t hash[32] = {};
	bool ok = false;

	if (header && strncasecmp(header, "Bearer ", 7) == 0 && strlen(header) < 512) {
		crypto_hash_sha256(hash, (const unsigned char *)header + 7, strlen(header + 7));
		ok = sodium_memcmp(hash, auth->hash, sizeof(hash)) == 0;
	}
	if (!ok) {
		failed(auth, address, mono_ns);
	}
	return ok;
}
