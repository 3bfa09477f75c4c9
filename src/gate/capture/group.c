/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/capture/group.h"

#include "base/util.h"

struct gate_capture_group *gate_capture_group_new(void)
{
	struct gate_capture_group *group = bh_alloc(sizeof(*group));

	ring_group_init(&group->rings);
	xdp_group_init(&group->xdp);
	return group;
}

void gate_capture_group_free(struct gate_capture_group *group)
{
	if (group) {
		ring_group_done(&group->rings);
		xdp_group_done(&group->xdp);
		free(group);
	}
}
