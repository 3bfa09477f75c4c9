/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that the API listens on. Every descriptor is non-blocking, closed on exec, and the
 * caller's.
 */
#ifndef BH_MANAGER_API_LISTEN_H
#define BH_MANAGER_API_LISTEN_H

#include "base/diag.h"

/* Mode 0600. Takes the place of a socket that nobody answers on. A descriptor or negative errno. */
[[nodiscard]] int manager_listen_unix(const char *path, struct bh_diag *diag);
/* "0.0.0.0:7443", "[::]:7443"; port 0 means any. A descriptor or negative errno. */
[[nodiscard]] int manager_listen_tcp(const char *where, unsigned int *ret_port,
				     struct bh_diag *diag);

#endif
