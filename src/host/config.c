/* SPDX-License-Identifier: Apache-2.0 */
#include "host/config.h"

#include "base/conf.h"
#include "model/id.h"

#include <errno.h>
#include <fnmatch.h>

static int each_uri(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct hostd_config *config = target;

	if (config->libvirt_uris.count >= HOSTD_URIS_MAX) {
		return bh_diag_set(diag, -EINVAL, "libvirt_uris: at most %d", HOSTD_URIS_MAX);
	}
	*bh_vec_push(&config->libvirt_uris) = bh_strdup(value);
	return 0;
}

static int each_uplink(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct hostd_config *config = target;

	if (!*value || strspn(value, "*?") == strlen(value)) {
		return bh_diag_set(diag, -EINVAL,
				   "uplinks: '%.40s' would make every port an uplink; expected a "
				   "pattern with a name in it, such as \"dl*\"",
				   value);
	}
	*bh_vec_push(&config->uplinks) = bh_strdup(value);
	return 0;
}

static int each_event_user(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct hostd_config *config = target;

	if (!*value) {
		return bh_diag_set(diag, -EINVAL, "event_users: expected the name of a user");
	}
	*bh_vec_push(&config->event_users) = bh_strdup(value);
	return 0;
}

static int each_network(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct hostd_config *config = target;
	const char *end = strchr(path, '\n');
	struct hostd_net_name *entry;

	if (!end || strcmp(end + 1, "name") != 0) {
		return bh_diag_set(diag, -EINVAL, "networks: expected BRIDGE: {name: TEXT}");
	}
	if (!*value || strlen(value) > HOSTD_NAME_SIZE_MAX) {
		return bh_diag_set(diag, -EINVAL, "networks: a name has 1 to %d characters",
				   HOSTD_NAME_SIZE_MAX);
	}
	entry = bh_vec_push(&config->networks);
	entry->bridge = bh_asprintf("%.*s", (int)(end - path), path);
	entry->name = bh_strdup(value);
	return 0;
}

#define AT(member) offsetof(struct hostd_config, member)
#define SIZE_KEY(text, table)                                                                      \
	{                                                                                          \
		.key = "sizes." text, .type = BH_CONF_U64, .offset = AT(size[table]), .min = 2,    \
		.max = 1u << 28, .help = "entries of this kernel table"                            \
	}
#define TIMEOUT_KEY(text, which)                                                                   \
	{                                                                                          \
		.key = "timeouts." text, .type = BH_CONF_U64, .offset = AT(timeout_s[which]),      \
		.min = 1, .max = 65535, .help = "idle time of a connection, seconds"               \
	}

static const struct bh_conf_key keys[] = {
	{.key = "name", .type = BH_CONF_STR, .offset = AT(name), .help = "name of this host"},
	{.key = "state_dir",
	 .type = BH_CONF_STR,
	 .offset = AT(state_dir),
	 .dflt = "/var/lib/bulkhead/host",
	 .help = "where state is kept"},
	{.key = "run_dir",
	 .type = BH_CONF_STR,
	 .offset = AT(run_dir),
	 .dflt = "/run/bulkhead",
	 .help = "where the control socket is"},
	{.key = "pin_dir",
	 .type = BH_CONF_STR,
	 .offset = AT(pin_dir),
	 .help = "where the kernel objects are pinned"},
	{.key = "libvirt_uris", .type = BH_CONF_EACH, .each = each_uri, .help = "connections"},
	{.key = "uplinks", .type = BH_CONF_EACH, .each = each_uplink, .help = "device patterns"},
	{.key = "event_users",
	 .type = BH_CONF_EACH,
	 .each = each_event_user,
	 .help = "users whose programs may hand in events"},
	{.key = "networks", .type = BH_CONF_EACH, .each = each_network, .help = "network names"},
	{.key = "birth_timeout",
	 .type = BH_CONF_U64,
	 .offset = AT(birth_timeout_s),
	 .dflt = "10",
	 .min = 1,
	 .max = 120,
	 .help = "seconds that a starting VM waits"},
	{.key = "migrate_timeout",
	 .type = BH_CONF_U64,
	 .offset = AT(migrate_timeout_s),
	 .dflt = "20",
	 .min = 1,
	 .max = 120,
	 .help = "seconds that a migration to this host waits"},
	{.key = "migrate_uri",
	 .type = BH_CONF_STR,
	 .offset = AT(migrate_uri),
	 .dflt = "qemu+tls://%h/system",
	 .help = "libvirt of a host that a VM is sent to"},
	{.key = "migrate_tls",
	 .type = BH_CONF_BOOL,
	 .offset = AT(migrate_tls),
	 .dflt = "no",
	 .help = "VMs that are sent travel by TLS"},
	{.key = "refuse_unprotected",
	 .type = BH_CONF_BOOL,
	 .offset = AT(refuse_unprotected),
	 .dflt = "no",
	 .help = "refuse VMs with NICs that can't be protected"},
	{.key = "attach",
	 .type = BH_CONF_STR,
	 .offset = AT(attach),
	 .dflt = "auto",
	 .choices = "auto|tcx|clsact",
	 .help = "how programs are attached"},
	{.key = "fastpath",
	 .type = BH_CONF_STR,
	 .offset = AT(fastpath),
	 .dflt = "auto",
	 .choices = "auto|off",
	 .help = "hand frames over past the bridge"},
	{.key = "spool_max_bytes",
	 .type = BH_CONF_U64,
	 .offset = AT(spool_max_bytes),
	 .dflt = "268435456",
	 .min = 1048576,
	 .max = 1ull << 40,
	 .help = "event spool"},
	{.key = "connections_per_nic",
	 .type = BH_CONF_U64,
	 .offset = AT(ct_per_nic),
	 .max = UINT32_MAX,
	 .help = "connections that one NIC may hold"},
	{.key = "reject_rate",
	 .type = BH_CONF_U64,
	 .offset = AT(reject_pps),
	 .max = 1000000,
	 .help = "answers to rejected packets per NIC and second"},
	{.key = "event_rate",
	 .type = BH_CONF_U64,
	 .offset = AT(event_pps),
	 .max = 1000000,
	 .help = "flow records per NIC and second"},
	SIZE_KEY("nics", HOSTD_DP_NICS),
	SIZE_KEY("nic_addrs", HOSTD_DP_NIC_ADDRS),
	SIZE_KEY("nic_vlans", HOSTD_DP_NIC_VLANS),
	SIZE_KEY("addrs", HOSTD_DP_ADDRS),
	SIZE_KEY("sets", HOSTD_DP_SETS),
	SIZE_KEY("rows", HOSTD_DP_ROWS),
	SIZE_KEY("cidrs", HOSTD_DP_CIDRS),
	SIZE_KEY("ranges", HOSTD_DP_RANGES),
	SIZE_KEY("ct4", HOSTD_DP_CT4),
	SIZE_KEY("ct6", HOSTD_DP_CT6),
	SIZE_KEY("frags", HOSTD_DP_FRAGS),
	SIZE_KEY("stats", HOSTD_DP_STATS),
	SIZE_KEY("rule_stats", HOSTD_DP_RULE_STATS),
	SIZE_KEY("events", HOSTD_DP_EVENTS),
	TIMEOUT_KEY("tcp_syn", BH_TIMEOUT_TCP_SYN),
	TIMEOUT_KEY("tcp_established", BH_TIMEOUT_TCP_EST),
	TIMEOUT_KEY("tcp_fin", BH_TIMEOUT_TCP_FIN),
	TIMEOUT_KEY("tcp_closed", BH_TIMEOUT_TCP_CLOSED),
	TIMEOUT_KEY("udp_new", BH_TIMEOUT_UDP_NEW),
	TIMEOUT_KEY("udp_established", BH_TIMEOUT_UDP_EST),
	TIMEOUT_KEY("sctp_new", BH_TIMEOUT_SCTP_NEW),
	TIMEOUT_KEY("sctp_established", BH_TIMEOUT_SCTP_EST),
	TIMEOUT_KEY("sctp_closed", BH_TIMEOUT_SCTP_CLOSED),
	TIMEOUT_KEY("icmp", BH_TIMEOUT_ICMP),
	TIMEOUT_KEY("other", BH_TIMEOUT_OTHER),
};

int hostd_config_load(const char *path, bool must_exist, struct hostd_config *ret_config,
		      struct bh_diag *diag)
{
	struct hostd_config *c = ret_config;
	int err;

	memset(c, 0, sizeof(*c));
	err = bh_conf_load(path, must_exist, keys, BH_ARRAY_SIZE(keys), c, diag);
	if (err) {
		return err;
	}
	if (!c->libvirt_uris.count) {
		*bh_vec_push(&c->libvirt_uris) = bh_strdup("qemu:///system");
	}
	if (!c->pin_dir) {
		c->pin_dir = bh_asprintf("/sys/fs/bpf/bulkhead/v%d", BH_ABI_VERSION);
	}
	if (c->name && !bh_name_valid(c->name)) {
		return bh_diag_at(
			diag, -EINVAL, path, 0, 0,
			"name: '%.80s' is no host name (a-z, 0-9, '-' and '.', at most %d)",
			c->name, BH_NAME_MAX);
	}
	return 0;
}

void hostd_config_done(struct hostd_config *config)
{
	bh_vec_foreach (uri, &config->libvirt_uris) {
		free(*uri);
	}
	bh_vec_foreach (pattern, &config->uplinks) {
		free(*pattern);
	}
	bh_vec_foreach (net, &config->networks) {
		free(net->bridge);
		free(net->name);
	}
	bh_vec_foreach (user, &config->event_users) {
		free(*user);
	}
	bh_vec_done(&config->event_users);
	bh_vec_done(&config->libvirt_uris);
	bh_vec_done(&config->uplinks);
	bh_vec_done(&config->networks);
	free(config->dummy_dir);
	config->dummy_dir = NULL;
	bh_conf_done(keys, BH_ARRAY_SIZE(keys), config);
}

const char *hostd_config_net_name(const struct hostd_config *config, const char *bridge)
{
	bh_vec_foreach (net, &config->networks) {
		if (!strcmp(net->bridge, bridge)) {
			return net->name;
		}
	}
	return bridge;
}

bool hostd_config_is_uplink(const struct hostd_config *config, const char *dev)
{
	bh_vec_foreach (pattern, &config->uplinks) {
		if (!fnmatch(*pattern, dev, 0)) {
			return true;
		}
	}
	return false;
}
