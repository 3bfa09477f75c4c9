/* SPDX-License-Identifier: Apache-2.0 */
/* How changes of policies and explanations look. */
#ifndef BH_CLI_CHANGES_H
#define BH_CLI_CHANGES_H

#include "cli/cli.h"

/* "+shop/db ~shop/web -shop/old" of a list of Change. Owned. */
char *cli_changes_text(const json_t *changes);
void cli_show_diff(struct cli *cli, const json_t *diff);
/* Recorded flows that would get another verdict. */
void cli_show_flows(struct cli *cli, const json_t *flows);
/* Warnings, and what others changed meanwhile. */
void cli_show_draft_check(struct cli *cli, const json_t *check);
void cli_show_explained(struct cli *cli, const json_t *explained);

#endif
