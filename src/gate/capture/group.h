/* SPDX-License-Identifier: Apache-2.0 */
/* What the workers of a pair of interfaces share, whichever way they read them. */
#ifndef BH_GATE_CAPTURE_GROUP_H
#define BH_GATE_CAPTURE_GROUP_H

#include "gate/capture/ring.h"
#include "gate/capture/xdp_leg.h"
#include "gate/capture/xsk.h"

struct gate_capture_group {
	struct ring_group rings;
	struct xdp_group xdp;
};

#endif
