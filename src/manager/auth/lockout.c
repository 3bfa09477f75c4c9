/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth/lockout.h"

#include "base/counter.h"
#include "base/time.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <uthash.h>

BH_COUNTER(auth_failures, "wrong passwords, codes, tokens");
BH_COUNTER(auth_lockouts, "times that somebody has to wait because of wrong ones");
BH_COUNTER(auth_lockout_evicted, "guessers forgotten because the table was full");

struct guesser {
	char key[LOCKOUT_KEY_SIZE];
	unsigned int failures;
	uint64_t last_ns, until_ns;
	UT_hash_handle hh; /* in the order of their last failure */
};

struct manager_lockout {
	struct guesser *guessers;
};

struct manager_lockout *manager_lockout_new(void)
{
	return bh_alloc(sizeof(struct manager_lockout));
}

static void drop(struct manager_lockout *l, struct guesser *g)
{
	HASH_DEL(l->guessers, g);
	free(g);
}

void manager_lockout_free(struct manager_lockout *l)
{
	struct guesser *g, *tmp;

	if (!l) {
		return;
	}
	HASH_ITER (hh, l->guessers, g, tmp) {
		drop(l, g);
	}
	free(l);
}

unsigned int manager_lockout_wait(const struct manager_lockout *l, const char *key,
				  uint64_t mono_ns)
{
	struct guesser *g;

	HASH_FIND_STR(l->guessers, key, g);
	if (!g || mono_ns >= g->until_ns) {
		return 0;
	}
	return (unsigned int)((g->until_ns - mono_ns + BH_NS_PER_S - 1) / BH_NS_PER_S);
}

unsigned int manager_lockout_failed(struct manager_lockout *l, const char *key, uint64_t mono_ns)
{
	struct guesser *g;
	unsigned int failures = 0;
	uint64_t wait_s;

	bh_counter_add(&auth_failures, 1);
	HASH_FIND_STR(l->guessers, key, g);
	if (g) {
		if (mono_ns - g->last_ns < LOCKOUT_FORGET_S * BH_NS_PER_S) {
			failures = g->failures;
		}
		HASH_DEL(l->guessers, g);
	} else {
		if (HASH_COUNT(l->guessers) >= LOCKOUT_KEYS_MAX) {
			bh_counter_add(&auth_lockout_evicted, 1);
			drop(l, l->guessers);
		}
		g = bh_alloc(sizeof(*g));
		snprintf(g->key, sizeof(g->key), "%s", key);
	}
	g->failures = failures + 1;
	g->last_ns = mono_ns;
	HASH_ADD_STR(l->guessers, key, g);
	if (g->failures <= LOCKOUT_FREE) {
		return 0;
	}
	wait_s = g->failures - LOCKOUT_FREE > 10 ? LOCKOUT_WAIT_MAX_S
						 : 1ull << (g->failures - LOCKOUT_FREE - 1);
	wait_s = wait_s > LOCKOUT_WAIT_MAX_S ? LOCKOUT_WAIT_MAX_S : wait_s;
	g->until_ns = mono_ns + wait_s * BH_NS_PER_S;
	bh_counter_add(&auth_lockouts, 1);
	return (unsigned int)wait_s;
}

void manager_lockout_succeeded(struct manager_lockout *l, const char *key)
{
	struct guesser *g;

	HASH_FIND_STR(l->guessers, key, g);
	if (g) {
		drop(l, g);
	}
}

void manager_lockout_address_key(const char *address, char ret[LOCKOUT_KEY_SIZE])
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr v6;

	if (inet_pton(AF_INET6, address, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6)) {
		memset(&v6.s6_addr[8], 0, 8);
		inet_ntop(AF_INET6, &v6, text, sizeof(text));
		snprintf(ret, LOCKOUT_KEY_SIZE, "address %s/64", text);
	} else {
		snprintf(ret, LOCKOUT_KEY_SIZE, "address %.64s", address);
	}
}
