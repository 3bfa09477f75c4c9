/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Community flow id, version 1, seed 0 (https://github.com/corelight/community-id-spec): SHA-1
 * over seed, the lower side first, protocol and ports; ICMP types stand for ports, and one-way
 * types keep their order.
 */
#include "gate/flow/table.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

static bool has_ports(unsigned int proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* Ports as the specification sees them; true: no way back, so the order stays. */
static bool ports_of(const struct gate_flow *flow, uint16_t ret[2])
{
	bool icmp = flow->ip_proto == IPPROTO_ICMP || flow->ip_proto == IPPROTO_ICMPV6;
	if (!icmp) {
		ret[0] = flow->port[0];
		ret[1] = flow->port[1];
		return false;
	}
	int other = flow_icmp_counterpart(flow->ip_version, flow->port[0] >> 8);
	ret[0] = flow->port[0] >> 8;
	ret[1] = other < 0 ? flow->port[0] & 0xff : (uint16_t)other;
	return other < 0;
}

void gate_flow_community_id(const struct gate_flow *flow, char ret[GATE_COMMUNITY_ID_SIZE])
{
	bool v4 = flow->ip_version == 4;
	size_t skip = v4 ? 12 : 0, size = v4 ? 4 : 16;
	const uint8_t *addr[2] = {flow->addr[0].bytes + skip, flow->addr[1].bytes + skip};
	uint16_t port[2];
	bool one_way = ports_of(flow, port);
	int order = memcmp(addr[0], addr[1], size);
	unsigned int first = !one_way && (order > 0 || (order == 0 && port[0] > port[1]));
	uint8_t text[2 + 32 + 2 + 4] = {}, digest[SHA_DIGEST_LENGTH];
	size_t n = 2;

	memcpy(text + n, addr[first], size);
	memcpy(text + n + size, addr[!first], size);
	n += 2 * size;
	text[n++] = flow->ip_proto;
	text[n++] = 0;
	if (has_ports(flow->ip_proto)) {
		text[n++] = (uint8_t)(port[first] >> 8);
		text[n++] = (uint8_t)port[first];
		text[n++] = (uint8_t)(port[!first] >> 8);
		text[n++] = (uint8_t)port[!first];
	}
	SHA1(text, n, digest);
	ret[0] = '1';
	ret[1] = ':';
	EVP_EncodeBlock((unsigned char *)ret + 2, digest, sizeof(digest));
}
