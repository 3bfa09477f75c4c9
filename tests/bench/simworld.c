/* SPDX-License-Identifier: Apache-2.0 */
#include "simworld.h"

json_t *sim_vm(unsigned int host, unsigned int vms, unsigned int k, unsigned int tenants)
{
	static const char *const roles[] = {"web", "app", "db", "cache"};
	unsigned int id = host * vms + k;
	unsigned int net = host / 10;
	char uuid[40], name[32], tenant[16], app[16], mac[24], addr[24], key[32];

	snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012x", id);
	snprintf(name, sizeof(name), "vm%u", id);
	snprintf(tenant, sizeof(tenant), "t%u", id % tenants);
	snprintf(app, sizeof(app), "a%u", id / tenants % 5);
	snprintf(mac, sizeof(mac), "52:54:%02x:%02x:%02x:%02x", id >> 24 & 255, id >> 16 & 255,
		 id >> 8 & 255, id & 255);
	snprintf(addr, sizeof(addr), "10.%u.%u.%u", net & 127, id >> 8 & 255, id & 255);
	snprintf(key, sizeof(key), "bridge/br%u", net);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:{s:s, s:s}, s:[{s:s, s:s, s:b, s:s, s:s,"
			 " s:s, s:[s], s:[], s:[], s:b, s:s}]}",
			 "uuid", uuid, "name", name, "type", "kvm", "state", "running", "tenant",
			 tenant, "birth", "closed", "labels", "app", app, "role",
			 roles[id / tenants / 5 % 4], "nics", "mac", mac, "net", key, "net_managed",
			 0, "kind", "bridge", "source", "br0", "dev", "vnet0", "addresses", addr,
			 "flags", "vlans", "protected", 1, "reason", "");
}

void sim_add_policy(struct bh_wbuf *w, unsigned int n, unsigned int version)
{
	static const char *const roles[] = {"web", "app", "db", "cache"};
	unsigned int slot = n / SIM_TENANTS;

	bh_wbuf_printf(w,
		       "---\nkind: Policy\nmetadata: {name: p%u, tenant: t%u}\nspec:\n"
		       "  selector: {matchLabels: {app: a%u, role: %s}}\n  ingress:\n"
		       "    - from: [{selector: {matchLabels: {app: a%u, role: %s}}}]\n"
		       "      ports: [tcp/%u, tcp/443]\n"
		       "    - {from: [{cidr: 192.0.2.0/24}], ports: [tcp/22]}\n",
		       n, n % SIM_TENANTS, slot % 5, roles[slot / 5 % 4], slot % 5,
		       roles[(slot / 5 + 1) % 4], 1000 + version);
}

void sim_add_guardrail(struct bh_wbuf *w, unsigned int version)
{
	bh_wbuf_printf(w,
		       "---\nkind: Policy\nmetadata: {name: all, tenant: provider}\nspec:\n"
		       "  tier: guardrail\n  selector: {}\n  ingress:\n"
		       "    - {action: deny, from: [{cidr: 198.51.100.0/24}], ports: [tcp/%u]}\n",
		       2000 + version);
}
