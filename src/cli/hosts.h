/* SPDX-License-Identifier: Apache-2.0 */
/* How hosts and the protection of NICs look, for the commands that show them. */
#ifndef BH_CLI_HOSTS_H
#define BH_CLI_HOSTS_H

#include "cli/table.h"

void cli_show_hosts(const struct cli_output *out, const json_t *hosts, const json_t *whole);
void cli_show_host(const struct cli_output *out, const json_t *host);
/* How full its tables are. */
void cli_show_tables(const struct cli_output *out, const json_t *host);
/* The columns of `status`: installed against intended. */
void cli_show_sync(const struct cli_output *out, const json_t *hosts);

/* "✓", "✗ 1 of 2" for a list of NICs, "-" without any. */
void cli_cell_protected(const json_t *nics, struct cli_cell *cell);

#endif
