/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/bulkhead/manager.yaml. Every key is optional; bulkheadd(8) lists them. Owns its strings. */
#ifndef BH_MANAGER_CONFIG_H
#define BH_MANAGER_CONFIG_H

#include "base/diag.h"
#include "manager/api/proxy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MANAGER_NAMES_MAX 16

struct manager_config {
	char *state_dir, *run_dir;
	char *listen;
	char *console_dir;
	uint64_t client_patience_s;
	struct manager_proxies proxies;
	char *proxy_header;
	char *provider_default;
	char *default_tenant;
	char *bus_listen, *bus_url, *bus_urls, *bus_server;
	uint64_t bus_store_bytes;
	uint64_t bus_replicas;
	uint64_t events_keep, events_keep_bytes, events_keep_days, talks_days;
	uint64_t grant_hours;
	char *names[MANAGER_NAMES_MAX];
	size_t name_count;
};

[[nodiscard]] int manager_config_load(const char *path, bool must_exist, struct manager_config *ret,
				      struct bh_diag *diag);
void manager_config_done(struct manager_config *config);

#endif
