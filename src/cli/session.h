/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where `bulkhead login` keeps the session: one JSON file below $XDG_CONFIG_HOME or ~/.config that
 * only its owner may read. It names the manager, how to trust it, and the session's token; it is
 * used when nothing else says where to go or how to be let in.
 */
#ifndef BH_CLI_SESSION_H
#define BH_CLI_SESSION_H

#include "cli/config.h"

#include <sys/types.h>

/* Fills what is missing in config; nothing when there is no session, or it is another server's.
 * -EACCES when others may read the file. */
[[nodiscard]] int cli_session_load(struct cli_config *config, struct bh_diag *diag);
/* Of the server that config has. */
[[nodiscard]] int cli_session_save(const struct cli_config *config, const char *token,
				   struct bh_diag *diag);
void cli_session_remove(void);

/* A line from the terminal without echo, or from standard input when that is none. Owned, wiped by
 * cli_secret_free(). NULL at the end of input. */
char *cli_secret_ask(const char *prompt);
void cli_secret_free(char *secret);

#endif
