/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any JSON object for people: what a control socket answers. Plain members as "name value", lists
 * of objects as tables whose columns are the members found, counters ({"name": {"value", "help"}})
 * as a table of their own.
 */
#ifndef BH_CLI_SHOW_ANY_H
#define BH_CLI_SHOW_ANY_H

#include "cli/table.h"

void cli_show_any(const struct cli_output *out, const json_t *object);

#endif
