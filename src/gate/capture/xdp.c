/* SPDX-License-Identifier: Apache-2.0 */
/* There is no AF_XDP, for the reasons and figures in docs/gate.md: who asks for it is told so. */
#include "gate/capture/capture.h"

#include <errno.h>

int gate_source_xdp(const struct gate_live_options *options, struct gate_source **ret,
		    struct bh_diag *diag)
{
	return bh_diag_set(diag, -EOPNOTSUPP,
			   "%s: AF_XDP is not supported: it loses checksums and segments that are "
			   "still to be made; use capture.mode af-packet",
			   options->in);
}
