/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_random.h"

#include "base/util.h"

const char *const random_tenants[RANDOM_TENANTS] = {"provider", "shop", "rival"};

uint32_t random_next(struct rng *r, uint32_t limit)
{
	r->state = r->state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((r->state >> 33) % limit);
}
bool random_chance(struct rng *r, uint32_t percent)
{
	return random_next(r, 100) < percent;
}
static const char *pick(struct rng *r, const char *const *list, size_t count)
{
	return list[random_next(r, (uint32_t)count)];
}
#define PICK(r, list) pick(r, list, BH_ARRAY_SIZE(list))

static const char *const cidrs[] = {"0.0.0.0/0",    "::/0",	   "10.0.0.0/8",   "10.1.0.0/16",
				    "10.1.2.0/24",  "10.1.2.3",	   "10.128.0.0/9", "::/1",
				    "fd00::/8",	    "fd00:1::/32", "fd00:1::7",	   "192.168.1.0/24",
				    "10.1.2.0/25",  "224.0.0.0/4", "8000::/1",	   "fe80::/10",
				    "10.1.2.128/25"};
static const struct {
	const char *cidr;
	const char *except;
} excepts[] = {{"10.0.0.0/8", "10.1.0.0/16"},
	       {"10.0.0.0/8", "10.1.2.0/24, 10.128.0.0/9"},
	       {"0.0.0.0/0", "10.0.0.0/8, 10.1.2.3"},
	       {"::/0", "fd00::/8"},
	       {"10.1.0.0/16", "10.1.2.0/24, 10.1.2.0/25"},
	       {"fd00::/8", "fd00:1::/32"}};
static const char *const addrs[] = {
	"10.1.2.3", "10.1.2.200",      "10.1.9.9",  "10.9.9.9",	 "10.200.0.1", "192.168.1.5",
	"8.8.8.8",  "fd00:1::7",       "fd00:1::8", "fd00:2::1", "fe80::1",    "2001:db8::1",
	"::1",	    "255.255.255.255", "9000::1",   "ff02::1",	 "224.0.0.1"};
static const char *const ports[] = {
	"tcp/80",  "tcp/443",	 "tcp/80-90", "tcp/85-100",  "tcp/0-1023", "tcp/1024-65535",
	"udp/53",  "udp/67",	 "udp",	      "tcp",	     "icmp/8/0",   "icmp/8",
	"icmp",	   "icmpv6/128", "89",	      "tcp/0-65535", "udp/50-60",  "tcp/443-443",
	"tcp/0-5", "tcp/1-9",	 "udp/0-0",   "sctp/1-7",    "tcp/90-91"};
static const struct bh_policy_service services[] = {
	{6, 80},  {6, 85},  {6, 90},  {6, 91},	  {6, 100},   {6, 101},	  {6, 443},	{6, 0},
	{6, 3},	  {6, 7},   {17, 0},  {6, 1023},  {6, 1024},  {6, 65535}, {17, 53},	{17, 67},
	{17, 68}, {17, 55}, {17, 61}, {1, 0x800}, {1, 0x801}, {1, 0},	  {58, 0x8000}, {89, 0},
	{132, 1}, {132, 7}, {132, 8}, {47, 0},	  {6, 53},    {17, 546},  {17, 547}};
static const char *const roles[] = {"web", "db", "admin"};
static const char *const zones[] = {"a", "b"};
static const char *const actions[] = {"allow", "deny", "reject"};
static const char *const vms[] = {"vm1", "vm2", "vm3"};

static void put_selector(struct rng *r, struct bh_wbuf *w, bool subject)
{
	static const char *const ops[] = {"In", "NotIn"};
	static const char *const exists[] = {"Exists", "DoesNotExist"};

	bh_wbuf_str(w, "{");
	if (random_chance(r, 50)) {
		bh_wbuf_printf(w, "matchLabels: {role: %s}, ", PICK(r, roles));
	}
	if (random_chance(r, 20)) {
		bh_wbuf_printf(w, "matchExpressions: [{key: zone, operator: %s, values: [%s]}], ",
			       PICK(r, ops), PICK(r, zones));
	} else if (random_chance(r, 15)) {
		bh_wbuf_printf(w, "matchExpressions: [{key: zone, operator: %s}], ",
			       PICK(r, exists));
	}
	if (subject && random_chance(r, 10)) {
		bh_wbuf_printf(w, "addresses: [\"%s\"], ", PICK(r, cidrs));
	}
	if (random_chance(r, 10)) {
		bh_wbuf_printf(w, "vms: [%s], ", PICK(r, vms));
	}
	bh_wbuf_str(w, "}");
}

static void put_peer(struct rng *r, struct bh_wbuf *w)
{
	static const char *const entities[] = {"any", "host", "world", "multicast"};
	static const char *const tenancies[] = {"same", "other"};
	uint32_t kind = random_next(r, 10);

	if (kind < 4) {
		bh_wbuf_str(w, "{selector: ");
		put_selector(r, w, false);
		if (random_chance(r, 30)) {
			bh_wbuf_printf(w, ", tenant: %s", pick(r, random_tenants, RANDOM_TENANTS));
		} else if (random_chance(r, 20)) {
			bh_wbuf_str(w, ", tenant: \"*\"");
		} else if (random_chance(r, 30)) {
			bh_wbuf_printf(w, ", tenancy: %s", PICK(r, tenancies));
		}
		bh_wbuf_str(w, "}");
	} else if (kind < 7) {
		bh_wbuf_printf(w, "{cidr: \"%s\"}", PICK(r, cidrs));
	} else if (kind < 9) {
		size_t i = random_next(r, BH_ARRAY_SIZE(excepts));

		bh_wbuf_printf(w, "{cidr: \"%s\", except: [%s]}", excepts[i].cidr,
			       excepts[i].except);
	} else {
		bh_wbuf_printf(w, "{entity: %s}", PICK(r, entities));
	}
}

static void put_rule(struct rng *r, struct bh_wbuf *w, bool ingress)
{
	uint32_t peers = random_next(r, 4);
	uint32_t services_count = random_next(r, 4);

	bh_wbuf_printf(w, "  - action: %s\n    log: %s\n", PICK(r, actions),
		       random_chance(r, 20) ? "true" : "false");
	if (peers) {
		bh_wbuf_printf(w, "    %s: [", ingress ? "from" : "to");
	}
	for (uint32_t i = 0; i < peers; i++) {
		bh_wbuf_str(w, i ? ", " : "");
		put_peer(r, w);
	}
	bh_wbuf_str(w, peers ? "]\n" : "");
	bh_wbuf_str(w, services_count ? "    ports: [" : "");
	for (uint32_t i = 0; i < services_count; i++) {
		bh_wbuf_printf(w, "%s%s", i ? ", " : "", PICK(r, ports));
	}
	bh_wbuf_str(w, services_count ? "]\n" : "");
}

/* What is not about packets must not be seen in verdicts; `quarantine` is only seen in it. */
static void put_travel(struct rng *r, struct bh_wbuf *w)
{
	static const char *const words[] = {"allow", "refuse"};
	static const char *const times[] = {"90s", "30m", "2h", "1d", "3600s"};

	bh_wbuf_str(w, random_chance(r, 30) ? "  quarantine: true\n" : "");
	if (random_chance(r, 20)) {
		bh_wbuf_printf(w, "  placement: {hosts: {matchLabels: {zone: %s}}}\n",
			       PICK(r, zones));
	}
	if (random_chance(r, 20)) {
		bh_wbuf_printf(w, "  migration: {withoutManager: %s}\n", PICK(r, words));
	}
	if (random_chance(r, 20)) {
		bh_wbuf_printf(w, "  rollback: {releaseAfter: %s}\n", PICK(r, times));
	}
}

void random_policy(struct rng *r, struct bh_wbuf *w, size_t number, const char *tenant)
{
	static const char *const tiers[] = {"guardrail", "tenant", "default"};
	const char *tier;

	tenant = tenant ? tenant : pick(r, random_tenants, RANDOM_TENANTS);
	tier = strcmp(tenant, "provider") ? "tenant" : PICK(r, tiers);

	bh_wbuf_printf(w,
		       "---\nkind: Policy\nmetadata: {name: p%zu, tenant: %s}\nspec:\n"
		       "  tier: %s\n  order: %u\n  selector: ",
		       number, tenant, tier, 100 * random_next(r, 4));
	put_selector(r, w, true);
	bh_wbuf_str(w, "\n");
	if (strcmp(tier, "tenant") != 0 && random_chance(r, 40)) {
		bh_wbuf_printf(w, "  tenants: [%s]\n", pick(r, random_tenants, RANDOM_TENANTS));
	}
	put_travel(r, w);
	for (int dir = 0; dir < 2; dir++) {
		uint32_t rules = random_next(r, 5);

		if (random_chance(r, 30)) {
			continue;
		}
		bh_wbuf_printf(w, "  %s:%s\n", dir ? "ingress" : "egress", rules ? "" : " []");
		for (uint32_t i = 0; i < rules; i++) {
			put_rule(r, w, dir);
		}
	}
}

const char *random_role(struct rng *r)
{
	return PICK(r, roles);
}

const char *random_zone(struct rng *r)
{
	return PICK(r, zones);
}

const char *random_address(struct rng *r)
{
	return PICK(r, addrs);
}

const struct bh_policy_service *random_service(struct rng *r)
{
	return &services[random_next(r, BH_ARRAY_SIZE(services))];
}
