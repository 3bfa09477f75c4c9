/* SPDX-License-Identifier: Apache-2.0 */
/* The text of nats-server's configuration. Pure; inside the room. */
#ifndef BH_BUS_SERVER_CONFIG_H
#define BH_BUS_SERVER_CONFIG_H

#include "base/buf.h"
#include "bus/server.h"

/* What may change while the server runs starts with this line. */
#define BH_BUS_CONFIG_USERS "authorization {\n"

void bh_bus_config_static(struct bh_wbuf *w, const struct bh_bus_server_options *options,
			  const char *server_name);
void bh_bus_config_users(struct bh_wbuf *w, const char *const *hosts, size_t count);
[[nodiscard]] int bh_bus_config_check(const char *const *hosts, size_t count, struct bh_diag *diag);

#endif
