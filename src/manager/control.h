/* SPDX-License-Identifier: Apache-2.0 */
/* What the control socket manager.sock can be asked beyond what every program answers: status,
 * hosts, bus, memory. Loop thread only. */
#ifndef BH_MANAGER_CONTROL_H
#define BH_MANAGER_CONTROL_H

#include "base/ctl.h"
#include "manager/api/api.h"

/* parts are borrowed for the server's life. */
void manager_control_add(struct bh_ctl_server *server, const struct manager_parts *parts);

#endif
