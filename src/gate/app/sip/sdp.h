/* SPDX-License-Identifier: Apache-2.0 */
/* Session descriptions (SDP, RFC 8866) that SIP's messages carry, for rules. Private to app/sip. */
#ifndef BH_GATE_APP_SIP_SDP_H
#define BH_GATE_APP_SIP_SDP_H

#include "gate/app/buffers.h"

#define SDP_MAX 16384u /* of what is looked at */

/* The index-th value of one of the buffers SDP_*, in `data`; false: there is none. */
bool gate_sdp_value(const struct gate_view *data, enum gate_buffer which, uint32_t index,
		    struct gate_buffer_view *ret);

#endif
