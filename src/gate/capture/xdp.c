/* SPDX-License-Identifier: Apache-2.0 */
/* AF_XDP is not part of this build: who asks for it is told so. */
#include "gate/capture/capture.h"

#include <errno.h>

int gate_source_xdp(const struct gate_live_options *options, struct gate_source **ret,
		    struct bh_diag *diag)
{
	return bh_diag_set(diag, -EOPNOTSUPP,
			   "%s: AF_XDP is not part of this build; use capture.mode af-packet",
			   options->in);
}
