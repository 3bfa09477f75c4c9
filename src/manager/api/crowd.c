/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/crowd.h"

#include "base/counter.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <uthash.h>

BH_COUNTER(api_crowded, "connections and requests refused: their address had too many open");

struct member {
	char address[MANAGER_CROWD_ADDRESS];
	unsigned int count;
	UT_hash_handle hh;
};

struct manager_crowd {
	struct member *members; /* as many as connections at most */
};

struct manager_crowd *manager_crowd_new(void)
{
	return bh_alloc(sizeof(struct manager_crowd));
}

static void drop(struct manager_crowd *crowd, struct member *m)
{
	HASH_DEL(crowd->members, m);
	free(m);
}

void manager_crowd_free(struct manager_crowd *crowd)
{
	struct member *m, *tmp;

	if (!crowd) {
		return;
	}
	HASH_ITER (hh, crowd->members, m, tmp) {
		drop(crowd, m);
	}
	free(crowd);
}

bool manager_crowd_has_room(const struct manager_crowd *crowd, const char *address)
{
	struct member *m;

	HASH_FIND_STR(crowd->members, address, m);
	if (!m || m->count < MANAGER_CROWD_MAX) {
		return true;
	}
	bh_counter_add(&api_crowded, 1);
	return false;
}

bool manager_crowd_enter(struct manager_crowd *crowd, const char *address)
{
	struct member *m;

	if (!manager_crowd_has_room(crowd, address)) {
		return false;
	}
	HASH_FIND_STR(crowd->members, address, m);
	if (!m) {
		m = bh_alloc(sizeof(*m));
		snprintf(m->address, sizeof(m->address), "%s", address);
		HASH_ADD_STR(crowd->members, address, m);
	}
	m->count++;
	return true;
}

void manager_crowd_leave(struct manager_crowd *crowd, const char *address)
{
	struct member *m;

	HASH_FIND_STR(crowd->members, address, m);
	if (m && --m->count == 0) {
		drop(crowd, m);
	}
}

void manager_crowd_address(const struct sockaddr *sa, char ret[MANAGER_CROWD_ADDRESS])
{
	*ret = '\0';
	if (sa && sa->sa_family == AF_INET) {
		inet_ntop(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr, ret,
			  MANAGER_CROWD_ADDRESS);
	} else if (sa && sa->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)sa)->sin6_addr, ret,
			  MANAGER_CROWD_ADDRESS);
	}
}
