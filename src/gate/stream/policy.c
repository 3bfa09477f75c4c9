/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the receiver's system reads segments that overlap (Novak and Sturges, "Target-Based TCP
 * Stream Reassembly", 2007; Shankar and Paxson, "Active Mapping", 2003), and which system a
 * receiver has (host-os-policy: the longest network that holds its address; without any: windows).
 */
#include "base/util.h"
#include "gate/config.h"
#include "gate/stream/tcp.h"

static const struct {
	const char *name;
	enum os_policy policy;
} names[] = {
	{"bsd", OS_BSD},
	{"bsd-right", OS_BSD_RIGHT},
	{"old-linux", OS_OLD_LINUX},
	{"linux", OS_LINUX},
	{"old-solaris", OS_OLD_SOLARIS},
	{"solaris", OS_SOLARIS},
	{"hpux10", OS_HPUX10},
	{"hpux11", OS_HPUX11},
	{"irix", OS_IRIX},
	{"macos", OS_MACOS},
	{"windows", OS_WINDOWS},
	{"vista", OS_VISTA},
	{"windows2k3", OS_WINDOWS2K3},
	{"first", OS_FIRST},
	{"last", OS_LAST},
};

/* What of a new segment wins, by how it lies on the old one. */
enum wins {
	BEFORE = 1 << 0,	/* begins before it */
	BEFORE_COVERS = 1 << 1, /* and reaches its end or beyond */
	SAME_BEYOND = 1 << 2,	/* begins where it begins, ends behind it */
	SAME_EQUAL = 1 << 3,	/* is it again */
	AFTER_BEYOND = 1 << 4,	/* begins within it, ends behind it */
};
static const uint8_t wins[] = {
	[OS_BSD] = BEFORE,
	[OS_HPUX10] = BEFORE,
	[OS_IRIX] = BEFORE,
	[OS_MACOS] = BEFORE,
	[OS_WINDOWS] = BEFORE,
	[OS_WINDOWS2K3] = BEFORE,
	[OS_LINUX] = BEFORE | SAME_BEYOND,
	[OS_OLD_LINUX] = BEFORE | SAME_BEYOND | SAME_EQUAL,
	[OS_SOLARIS] = BEFORE_COVERS | SAME_BEYOND | SAME_EQUAL | AFTER_BEYOND,
	[OS_HPUX11] = BEFORE_COVERS | SAME_BEYOND | SAME_EQUAL | AFTER_BEYOND,
	[OS_BSD_RIGHT] = 0,
	[OS_OLD_SOLARIS] = 0,
	[OS_VISTA] = 0,
	[OS_FIRST] = 0,
	[OS_LAST] = 0xff,
};

bool stream_new_wins(enum os_policy policy, uint32_t seq, uint32_t end, uint32_t old_seq,
		     uint32_t old_end)
{
	uint8_t rule = wins[policy];
	int start = SEQ_DIFF(seq, old_seq), stop = SEQ_DIFF(end, old_end);

	if (policy == OS_LAST) {
		return true;
	}
	if (start < 0) {
		return rule & BEFORE || (rule & BEFORE_COVERS && stop >= 0);
	}
	if (start == 0) {
		return (rule & SAME_BEYOND && stop > 0) || (rule & SAME_EQUAL && stop == 0);
	}
	return rule & AFTER_BEYOND && stop > 0;
}

static bool parse_policy(const char *name, uint8_t *ret)
{
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(names); i++) {
		if (!strcmp(names[i].name, name)) {
			*ret = (uint8_t)names[i].policy;
			return true;
		}
	}
	return false;
}

void stream_policy_load(struct gate_streams *streams, const struct gate_config *config)
{
	streams->networks =
		bh_alloc_array(config->os_policies.count + 1, sizeof(*streams->networks));
	bh_vec_foreach (entry, &config->os_policies) {
		struct os_network network = {};
		if (parse_policy(entry->policy, &network.policy) &&
		    gate_network_parse(entry->network, &network.network)) {
			streams->networks[streams->network_count++] = network;
		}
	}
}

enum os_policy stream_policy_of(const struct gate_streams *streams, const struct gate_addr *addr)
{
	const struct os_network *best = NULL;
	for (unsigned int i = 0; i < streams->network_count; i++) {
		const struct os_network *network = &streams->networks[i];
		if ((!best || network->network.bits > best->network.bits) &&
		    gate_network_has(&network->network, addr->bytes)) {
			best = network;
		}
	}
	if (best) {
		return best->policy;
	}
	return streams->network_count ? OS_BSD : OS_WINDOWS;
}
