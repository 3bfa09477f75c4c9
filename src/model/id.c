/* SPDX-License-Identifier: Apache-2.0 */
#include "model/id.h"

#include "base/util.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/random.h>

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

static bool token_valid(const char *s, size_t max, bool upper, const char *inner)
{
	size_t n = strlen(s);

	if (!n || n > max) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		bool alnum = c < 128 && (upper ? isalnum(c) : (islower(c) || isdigit(c)));

		if (!alnum && (i == 0 || i == n - 1 || !strchr(inner, c))) {
			return false;
		}
	}
	return true;
}

bool bh_name_valid(const char *s)
{
	return token_valid(s, BH_NAME_MAX, false, "-.");
}

bool bh_label_key_valid(const char *s)
{
	return token_valid(s, BH_LABEL_KEY_MAX, true, "-_./");
}

bool bh_label_value_valid(const char *s)
{
	return !*s || token_valid(s, BH_LABEL_VALUE_MAX, true, "-_./");
}

int bh_uuid_parse(const char *s, uint8_t ret_uuid[16])
{
	char hex[33];
	size_t n = 0;

	if (strlen(s) != 36) {
		return -EINVAL;
	}
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash != (s[i] == '-')) {
			return -EINVAL;
		}
		if (!dash) {
			hex[n++] = s[i];
		}
	}
	hex[n] = '\0';
	return bh_hex_parse(hex, ret_uuid, 16);
}

void bh_uuid_format(const uint8_t uuid[16], char ret_text[BH_UUID_TEXT_SIZE])
{
	char hex[33];

	bh_hex_format(uuid, 16, hex);
	snprintf(ret_text, BH_UUID_TEXT_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
		 hex + 16, hex + 20);
}

void bh_uuid_random(uint8_t ret_uuid[16])
{
	if (getrandom(ret_uuid, 16, 0) != 16) {
		abort();
	}
	ret_uuid[6] = (uint8_t)((ret_uuid[6] & 0x0f) | 0x40);
	ret_uuid[8] = (uint8_t)((ret_uuid[8] & 0x3f) | 0x80);
}

int bh_mac_parse(const char *s, uint8_t ret_mac[6])
{
	char hex[13];
	size_t n = 0;

	if (strlen(s) != 17) {
		return -EINVAL;
	}
	for (size_t i = 0; i < 17; i++) {
		if ((i % 3 == 2) != (s[i] == ':')) {
			return -EINVAL;
		}
		if (i % 3 != 2) {
			hex[n++] = s[i];
		}
	}
	hex[n] = '\0';
	return bh_hex_parse(hex, ret_mac, 6);
}

void bh_mac_format(const uint8_t mac[6], char ret_text[BH_MAC_TEXT_SIZE])
{
	snprintf(ret_text, BH_MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
		 mac[2], mac[3], mac[4], mac[5]);
}

int bh_addr_parse(const char *s, uint8_t ret_addr[16])
{
	uint8_t addr[16];

	if (inet_pton(AF_INET, s, addr + 12) == 1) {
		memcpy(addr, v4_prefix, sizeof(v4_prefix));
	} else if (inet_pton(AF_INET6, s, addr) != 1) {
		return -EINVAL;
	}
	memcpy(ret_addr, addr, sizeof(addr));
	return 0;
}

bool bh_addr_is_v4(const uint8_t addr[16])
{
	return !memcmp(addr, v4_prefix, sizeof(v4_prefix));
}

void bh_addr_format(const uint8_t addr[16], char ret_text[BH_ADDR_TEXT_SIZE])
{
	if (bh_addr_is_v4(addr)) {
		inet_ntop(AF_INET, addr + 12, ret_text, BH_ADDR_TEXT_SIZE);
	} else {
		inet_ntop(AF_INET6, addr, ret_text, BH_ADDR_TEXT_SIZE);
	}
}

bool bh_cidr_contains(const uint8_t net[16], uint8_t prefix_bits, const uint8_t addr[16])
{
	size_t whole = prefix_bits / 8;
	unsigned int rest = prefix_bits % 8;

	if (memcmp(net, addr, whole)) {
		return false;
	}
	return !rest || !((net[whole] ^ addr[whole]) & (uint8_t)(0xff00u >> rest));
}

int bh_cidr_parse(const char *s, uint8_t ret_addr[16], uint8_t *ret_prefix_bits)
{
	char text[BH_CIDR_TEXT_SIZE];
	uint8_t addr[16];
	char *slash;
	uint64_t bits;
	unsigned int max, base;

	if (strlen(s) >= sizeof(text)) {
		return -EINVAL;
	}
	memcpy(text, s, strlen(s) + 1);
	slash = strchr(text, '/');
	if (slash) {
		*slash = '\0';
	}
	if (bh_addr_parse(text, addr)) {
		return -EINVAL;
	}
	max = bh_addr_is_v4(addr) && !strchr(text, ':') ? 32 : 128;
	base = 128 - max;
	bits = max;
	if (slash && bh_parse_u64(slash + 1, 0, max, &bits)) {
		return -EINVAL;
	}
	bits += base;
	for (unsigned int i = (unsigned int)bits; i < 128; i++) {
		if (addr[i / 8] & (0x80u >> (i % 8))) {
			return -ERANGE;
		}
	}
	memcpy(ret_addr, addr, sizeof(addr));
	*ret_prefix_bits = (uint8_t)bits;
	return 0;
}

void bh_cidr_format(const uint8_t addr[16], uint8_t prefix_bits, char ret_text[BH_CIDR_TEXT_SIZE])
{
	char text[BH_ADDR_TEXT_SIZE];
	bool v4 = bh_addr_is_v4(addr) && prefix_bits >= 96;

	bh_addr_format(addr, text);
	snprintf(ret_text, BH_CIDR_TEXT_SIZE, "%s/%u", text,
		 (unsigned int)prefix_bits - (v4 ? 96 : 0));
}

static const struct {
	const char *name;
	uint8_t number;
} protos[] = {{"tcp", IPPROTO_TCP},
	      {"udp", IPPROTO_UDP},
	      {"sctp", IPPROTO_SCTP},
	      {"icmp", IPPROTO_ICMP},
	      {"icmpv6", IPPROTO_ICMPV6}};

int bh_proto_parse(const char *s, uint8_t *ret_proto)
{
	uint64_t v;

	for (size_t i = 0; i < BH_ARRAY_SIZE(protos); i++) {
		if (!strcmp(s, protos[i].name)) {
			*ret_proto = protos[i].number;
			return 0;
		}
	}
	if (bh_parse_u64(s, 0, 255, &v)) {
		return -EINVAL;
	}
	*ret_proto = (uint8_t)v;
	return 0;
}

void bh_proto_format(uint8_t proto, char ret_text[8])
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(protos); i++) {
		if (proto == protos[i].number) {
			snprintf(ret_text, 8, "%s", protos[i].name);
			return;
		}
	}
	snprintf(ret_text, 8, "%u", proto);
}
