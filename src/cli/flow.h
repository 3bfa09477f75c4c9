/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as lines for people. Flow records and what the guards stopped have a form of their own:
 *
 *	12:00:01 h1 ✗ refused tcp rival/attacker 10.78.0.14:41234 → shop/db 10.78.0.12:3306
 *	by shop/db ingress[2] (examples/shop.yaml:34) ×12
 * in one line.
 *
 * Other events are "time host severity type" and their fields. Pure.
 */
#ifndef BH_CLI_FLOW_H
#define BH_CLI_FLOW_H

#include "base/buf.h"
#include "cli/table.h"

/* One line without its end, cleaned, coloured as out says. */
void cli_event_format(const struct cli_output *out, const json_t *event, struct bh_wbuf *ret_line);

/* What the API can't filter: service and address. */
struct cli_flow_filter {
	bool has_proto, has_port;
	char proto[8];
	uint16_t port;
	const char *address; /* either end; NULL: any. Borrowed */
};
/* "tcp/3306", "3306", "icmp"; 0 or -EINVAL. */
[[nodiscard]] int cli_flow_filter_port(struct cli_flow_filter *filter, const char *port);
bool cli_flow_filter_match(const struct cli_flow_filter *filter, const json_t *event);

#endif
