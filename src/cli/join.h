/* SPDX-License-Identifier: Apache-2.0 */
/* Small texts of joining a manager: the token and the manager's address. Pure. */
#ifndef BH_CLI_JOIN_H
#define BH_CLI_JOIN_H

#include "base/diag.h"

#define CLI_JOIN_HEX_SIZE 65

/* `bh1.<SHA-256 of the CA, 64 hex digits>.<secret, 64 hex digits>` */
[[nodiscard]] int cli_join_token_parse(const char *token, char ret_fingerprint[CLI_JOIN_HEX_SIZE],
				       struct bh_diag *diag);

/* "192.0.2.1", "manager:7443", "https://[2001:db8::1]" -> "https://192.0.2.1:7443", ... Owned; NULL
 * for what is no address or no https. */
char *cli_join_url(const char *manager);

#endif
