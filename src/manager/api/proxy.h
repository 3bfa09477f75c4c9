/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a request is that came through a proxy: the client's address, as the proxies say it that
 * the configuration trusts (proxy.trust), in the one header that they write (proxy.header).
 *
 * Theory of operation
 *   Each proxy appends the address that it was asked from, so the list is read from its end: the
 *   peer of the connection is trusted or it is the client; the last address is what the peer says;
 *   if that is a trusted proxy too, the one before is what that one says, and so on. The first
 *   address that is no trusted proxy is the client. What stands before it the client wrote himself,
 *   and is never looked at. What is no address ends the walk: then the last address that is known
 *   counts, the proxy's own. A header that is too long or malformed says nothing.
 *   Only one of the two headers is read, since a proxy passes the other on as the client sent it.
 *
 * Pure but for its memory.
 */
#ifndef BH_MANAGER_API_PROXY_H
#define BH_MANAGER_API_PROXY_H

#include "base/diag.h"
#include "model/id.h"

#include <stdbool.h>
#include <stddef.h>

#define MANAGER_PROXIES_MAX	64
#define MANAGER_PROXY_HOPS_MAX	32   /* in front of us */
#define MANAGER_PROXY_BYTES_MAX 4096 /* of the header's lines together */

struct manager_proxies {
	struct {
		uint8_t net[16];
		uint8_t prefix_bits;
	} trusted[MANAGER_PROXIES_MAX];
	size_t count;
	bool forwarded; /* RFC 7239's Forwarded; else X-Forwarded-For */
};

/* An address or a network. -EINVAL with words. */
[[nodiscard]] int manager_proxies_add(struct manager_proxies *proxies, const char *text,
				      struct bh_diag *diag);
bool manager_proxies_trust(const struct manager_proxies *proxies, const char *address);
const char *manager_proxies_header(const struct manager_proxies *proxies);
/* peer: whose connection it is; header: its lines with ", " between, NULL none. False when the
 * header was there and could not be read to the client: ret is the last address that is known. */
bool manager_proxies_client(const struct manager_proxies *proxies, const char *peer,
			    const char *header, char ret[BH_ADDR_TEXT_SIZE]);

#endif
