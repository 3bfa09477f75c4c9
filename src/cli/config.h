/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the manager is and how to be let in: /etc/bulkhead/cli.yaml, the environment, the command
 * line; the later wins.
 *
 *	server: https://manager.example:7443     # or the path of a unix socket
 *	token_file: /root/.bulkhead-token
 *	ca: /etc/bulkhead/ca.pem                 # or: fingerprint: <64 hex digits>
 */
#ifndef BH_CLI_CONFIG_H
#define BH_CLI_CONFIG_H

#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

#define CLI_CONFIG_FILE "/etc/bulkhead/cli.yaml"
#define CLI_RUN_DIR	"/run/bulkhead"

struct cli_config { /* strings are owned, NULL when not given */
	char *server;
	char *token_file;
	char *ca;
	char *fingerprint;
	char *run_dir;
	uint64_t timeout_s;
	char *token; /* not from the file */
};

/* Reads the file. must_exist false: an absent one means defaults. Free with cli_config_done(), also
 * after an error. */
[[nodiscard]] int cli_config_load(struct cli_config *config, const char *file, bool must_exist,
				  struct bh_diag *diag);
void cli_config_done(struct cli_config *config);
/* BULKHEAD_SERVER, _TOKEN, _TOKEN_FILE, _CA, _FINGERPRINT, _RUN_DIR. getenv_fn is getenv outside
 * tests. */
void cli_config_environment(struct cli_config *config, char *(*getenv_fn)(const char *));
/* Sets one string; value NULL changes nothing. */
void cli_config_set(char **setting, const char *value);
/* What is still missing: the server from run_dir, the token from token_file. */
[[nodiscard]] int cli_config_finish(struct cli_config *config, struct bh_diag *diag);

#endif
