/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/proxy.h"

#include "base/util.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* Whoever it holds could say who he is. */
static bool is_everybody(const uint8_t net[16], uint8_t bits)
{
	return bits == 0 || (bh_addr_is_v4(net) && bits <= 96);
}

int manager_proxies_add(struct manager_proxies *p, const char *text, struct bh_diag *diag)
{
	int r;

	if (p->count == MANAGER_PROXIES_MAX) {
		return bh_diag_set(diag, -EINVAL, "proxy.trust: at most %d addresses or networks",
				   MANAGER_PROXIES_MAX);
	}
	r = bh_cidr_parse(text, p->trusted[p->count].net, &p->trusted[p->count].prefix_bits);
	if (r < 0) {
		return bh_diag_set(diag, -EINVAL,
				   r == -ERANGE ? "proxy.trust: '%.60s' has bits behind its prefix"
						: "proxy.trust: '%.60s' is no address or network",
				   text);
	}
	if (is_everybody(p->trusted[p->count].net, p->trusted[p->count].prefix_bits)) {
		return bh_diag_set(
			diag, -EINVAL,
			"proxy.trust: '%.60s' is everybody, and anybody could say that he "
			"is somebody else: name the proxies",
			text);
	}
	p->count++;
	return 0;
}

static bool trusts(const struct manager_proxies *p, const uint8_t addr[16])
{
	for (size_t i = 0; i < p->count; i++) {
		if (bh_cidr_contains(p->trusted[i].net, p->trusted[i].prefix_bits, addr)) {
			return true;
		}
	}
	return false;
}

bool manager_proxies_trust(const struct manager_proxies *p, const char *address)
{
	uint8_t addr[16];

	return bh_addr_parse(address, addr) == 0 && trusts(p, addr);
}

const char *manager_proxies_header(const struct manager_proxies *p)
{
	return p->forwarded ? "Forwarded" : "X-Forwarded-For";
}

/* ---- one element ---- */

struct span {
	const char *text;
	size_t len;
};

static struct span trim(const char *text, size_t len)
{
	for (; len && (*text == ' ' || *text == '\t'); len--) {
		text++;
	}
	for (; len && (text[len - 1] == ' ' || text[len - 1] == '\t'); len--) {
	}
	return (struct span){text, len};
}

static bool is_port(const char *text)
{
	uint64_t port;

	return *text == ':' && bh_parse_u64(text + 1, 0, 65535, &port) == 0;
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80" */
static bool take_address(struct span s, uint8_t ret[16])
{
	char text[BH_ADDR_TEXT_SIZE + 10];
	char *end;

	if (!s.len || s.len >= sizeof(text) || memchr(s.text, '\0', s.len)) {
		return false;
	}
	memcpy(text, s.text, s.len);
	text[s.len] = '\0';
	if (*text == '[') {
		end = strchr(text, ']');
		if (!end || (end[1] && !is_port(end + 1))) {
			return false;
		}
		*end = '\0';
		return strchr(text + 1, ':') && bh_addr_parse(text + 1, ret) == 0;
	}
	end = strchr(text, ':');
	if (end && end == strrchr(text, ':')) {
		if (!is_port(end)) {
			return false;
		}
		*end = '\0';
	}
	return bh_addr_parse(text, ret) == 0;
}

/* ---- the list ---- */

struct hop {
	uint8_t addr[16];
	bool known; /* else it was something else than an address */
};
/* The last ones; the newest is at (count - 1) % HOPS_MAX. */
struct hops {
	struct hop items[MANAGER_PROXY_HOPS_MAX];
	size_t count;
};

static void add_hop(struct hops *h, struct span s)
{
	struct hop *hop = &h->items[h->count++ % MANAGER_PROXY_HOPS_MAX];

	hop->known = take_address(s, hop->addr);
}

static void read_plain(const char *p, struct hops *ret)
{
	for (;; p++) {
		size_t len = strcspn(p, ",");

		add_hop(ret, trim(p, len));
		p += len;
		if (!*p) {
			return;
		}
	}
}

/* A token or a quoted string, without escapes, which no address has. NULL when it is neither. */
static const char *read_value(const char *p, struct span *ret)
{
	size_t len;

	if (*p == '"') {
		len = strcspn(p + 1, "\"\\");
		*ret = (struct span){p + 1, len};
		return p[1 + len] == '"' ? p + len + 2 : NULL;
	}
	len = strcspn(p, ";, \t\"");
	*ret = (struct span){p, len};
	return len ? p + len : NULL;
}

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t");
}

/* `for=192.0.2.1;proto=https`, up to the comma or the end; NULL when it is malformed. */
static const char *read_element(const char *p, struct hops *ret)
{
	struct span client = {};

	while (true) {
		size_t len = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
		const char *name = p;
		struct span value;

		if (!len || p[len] != '=') {
			return NULL;
		}
		p = read_value(p + len + 1, &value);
		if (!p) {
			return NULL;
		}
		if (len == 3 && strncasecmp(name, "for", 3) == 0) {
			if (client.text) {
				return NULL; /* which one? */
			}
			client = value;
		}
		p = skip_space(p);
		if (*p != ';') {
			break;
		}
		p = skip_space(p + 1);
	}
	add_hop(ret, client);
	return !*p || *p == ',' ? p : NULL;
}

static bool read_forwarded(const char *p, struct hops *ret)
{
	for (p = skip_space(p);; p = skip_space(p + 1)) {
		p = read_element(p, ret);
		if (!p || !*p) {
			return p;
		}
	}
}

bool manager_proxies_client(const struct manager_proxies *p, const char *peer, const char *header,
			    char ret[BH_ADDR_TEXT_SIZE])
{
	struct hops hops = {};
	uint8_t addr[16];

	snprintf(ret, BH_ADDR_TEXT_SIZE, "%s", peer);
	if (bh_addr_parse(peer, addr) < 0 || !trusts(p, addr) || !header) {
		return true;
	}
	if (strlen(header) > MANAGER_PROXY_BYTES_MAX) {
		return false;
	}
	if (!p->forwarded) {
		read_plain(header, &hops);
	} else if (!read_forwarded(header, &hops)) {
		return false;
	}
	for (size_t i = 0; i < hops.count; i++) {
		const struct hop *hop = &hops.items[(hops.count - 1 - i) % MANAGER_PROXY_HOPS_MAX];

		if (i == MANAGER_PROXY_HOPS_MAX || !hop->known) {
			return false;
		}
		bh_addr_format(hop->addr, ret);
		if (!trusts(p, hop->addr)) {
			return true;
		}
	}
	return true;
}
