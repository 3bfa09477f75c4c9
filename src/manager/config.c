/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/config.h"

#include "base/conf.h"
#include "base/util.h"
#include "model/id.h"

#include <errno.h>

static int add_name(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct manager_config *c = target;

	if (c->name_count == MANAGER_NAMES_MAX || !*value || strlen(value) > 253) {
		return bh_diag_set(diag, -EINVAL, "names: at most %d names or addresses",
				   MANAGER_NAMES_MAX);
	}
	c->names[c->name_count++] = bh_strdup(value);
	return 0;
}

static int add_proxy(void *target, const char *path, const char *value, struct bh_diag *diag)
{
	struct manager_config *c = target;

	return manager_proxies_add(&c->proxies, value, diag);
}

#define AT(member) offsetof(struct manager_config, member)
static const struct bh_conf_key keys[] = {
	{.key = "state_dir",
	 .type = BH_CONF_STR,
	 .offset = AT(state_dir),
	 .dflt = "/var/lib/bulkhead/manager",
	 .help = "database, keys, private bus"},
	{.key = "run_dir",
	 .type = BH_CONF_STR,
	 .offset = AT(run_dir),
	 .dflt = "/run/bulkhead",
	 .help = "sockets"},
	{.key = "listen",
	 .type = BH_CONF_STR,
	 .offset = AT(listen),
	 .dflt = "0.0.0.0:7443",
	 .help = "HTTPS address:port of the API; empty for none"},
	{.key = "console_dir",
	 .type = BH_CONF_STR,
	 .offset = AT(console_dir),
	 .dflt = "/usr/share/bulkhead/console",
	 .help = "files of the web console; empty for none"},
	{.key = "client_patience",
	 .type = BH_CONF_U64,
	 .offset = AT(client_patience_s),
	 .dflt = "60",
	 .min = 5,
	 .max = 3600,
	 .help = "seconds that a client of the API has to send a request or take an answer"},
	{.key = "names",
	 .type = BH_CONF_EACH,
	 .each = add_name,
	 .help = "further names and addresses of this machine, for its certificates"},
	{.key = "proxy.trust",
	 .type = BH_CONF_EACH,
	 .each = add_proxy,
	 .help = "addresses and networks of reverse proxies, whose word on clients is taken"},
	{.key = "proxy.header",
	 .type = BH_CONF_STR,
	 .offset = AT(proxy_header),
	 .dflt = "x-forwarded-for",
	 .choices = "x-forwarded-for|forwarded",
	 .help = "the header in which they say whose a request is"},
	{.key = "provider_default",
	 .type = BH_CONF_STR,
	 .offset = AT(provider_default),
	 .dflt = "deny",
	 .choices = "allow|deny|reject",
	 .help = "verdict for VMs that no policy selects"},
	{.key = "default_tenant",
	 .type = BH_CONF_STR,
	 .offset = AT(default_tenant),
	 .dflt = "default",
	 .help = "tenant of VMs and documents that name none"},
	{.key = "bus.listen",
	 .type = BH_CONF_STR,
	 .offset = AT(bus_listen),
	 .dflt = "0.0.0.0:4222",
	 .help = "address:port of the private bus"},
	{.key = "bus.advertise",
	 .type = BH_CONF_STR,
	 .offset = AT(bus_url),
	 .help = "URL of the bus that hosts are told"},
	{.key = "bus.url",
	 .type = BH_CONF_STR,
	 .offset = AT(bus_urls),
	 .help = "an existing cluster instead of the private bus"},
	{.key = "bus.server",
	 .type = BH_CONF_STR,
	 .offset = AT(bus_server),
	 .help = "path of nats-server"},
	{.key = "bus.store_bytes",
	 .type = BH_CONF_U64,
	 .offset = AT(bus_store_bytes),
	 .dflt = "4294967296",
	 .min = 1048576,
	 .help = "disk that waiting events may take"},
	{.key = "bus.replicas",
	 .type = BH_CONF_U64,
	 .offset = AT(bus_replicas),
	 .dflt = "1",
	 .min = 1,
	 .max = 5,
	 .help = "copies of waiting events in an existing cluster"},
	{.key = "events.keep",
	 .type = BH_CONF_U64,
	 .offset = AT(events_keep),
	 .dflt = "1000000",
	 .min = 1000,
	 .max = 1000000000,
	 .help = "how many events are kept"},
	{.key = "events.keep_bytes",
	 .type = BH_CONF_SIZE,
	 .offset = AT(events_keep_bytes),
	 .dflt = "20gb",
	 .help = "disk that kept events may take; 0: no limit"},
	{.key = "events.keep_days",
	 .type = BH_CONF_U64,
	 .offset = AT(events_keep_days),
	 .dflt = "0",
	 .max = 36500,
	 .help = "how long events are kept; 0: as long as there is room"},
	{.key = "talks.keep_days",
	 .type = BH_CONF_U64,
	 .offset = AT(talks_days),
	 .dflt = "30",
	 .min = 2,
	 .max = 3650,
	 .help = "how long flow records folded by hour are kept"},
	{.key = "migration.grant_hours",
	 .type = BH_CONF_U64,
	 .offset = AT(grant_hours),
	 .dflt = "24",
	 .min = 1,
	 .max = 720,
	 .help = "how long VMs whose policy allows it may migrate after the manager went away"},
};

int manager_config_load(const char *path, bool must_exist, struct manager_config *ret,
			struct bh_diag *diag)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = bh_conf_load(path, must_exist, keys, BH_ARRAY_SIZE(keys), ret, diag);
	if (r == 0 && !bh_name_valid(ret->default_tenant)) {
		r = bh_diag_set(diag, -EINVAL, "%s: default_tenant '%.80s' can't be a name", path,
				ret->default_tenant);
	}
	if (r < 0) {
		manager_config_done(ret);
		return r;
	}
	ret->proxies.forwarded = strcmp(ret->proxy_header, "forwarded") == 0;
	return 0;
}

void manager_config_done(struct manager_config *config)
{
	bh_conf_done(keys, BH_ARRAY_SIZE(keys), config);
	for (size_t i = 0; i < config->name_count; i++) {
		free(config->names[i]);
	}
	config->name_count = 0;
}
