/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is plugged into one leg learns that the other one is down: a leg without carrier (or that
 * was set down) has the other one set down, until it is back. One worker does it for all.
 *
 * Who was set down so says nothing about itself, or both would stay down for good; at the beginning
 * both are set up, in case that a process before us could not.
 */
#include "gate/capture/ring.h"

#include "base/counter.h"
#include "base/log.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

BH_COUNTER(gate_link_passed, "legs that were set down because the other one is");

static int flags_of(const struct ring *ring, struct ifreq *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->ifr_name, ring->name, sizeof(ring->name));
	return ring->fd >= 0 && !ioctl(ring->fd, SIOCGIFFLAGS, ret) ? ret->ifr_flags : -1;
}

/* The carrier, not IFF_RUNNING: that comes up to a second later, and says of a link that was made
 * right before us that it is down. For interfaces that can't tell it has to do. */
static bool is_up(const struct ring *ring)
{
	struct ethtool_value link = {.cmd = ETHTOOL_GLINK};
	struct ifreq ifr;
	int flags = flags_of(ring, &ifr);

	if (flags < 0 || !(flags & IFF_UP)) {
		return false;
	}
	ifr.ifr_data = (void *)&link;
	return ioctl(ring->fd, SIOCETHTOOL, &ifr) ? (flags & IFF_RUNNING) != 0 : link.data != 0;
}

static bool set_up(const struct ring *ring, bool up)
{
	struct ifreq ifr;
	int flags = flags_of(ring, &ifr);

	if (flags < 0 || !(flags & IFF_UP) == !up) {
		return flags >= 0;
	}
	ifr.ifr_flags = (short)(up ? flags | IFF_UP : flags & ~IFF_UP);
	if (ioctl(ring->fd, SIOCSIFFLAGS, &ifr)) {
		bh_log_limited(BH_LOG_ERROR, "link", 60, "interface %s can't be set %s: %m",
			       ring->name, up ? "up" : "down");
		return false;
	}
	return true;
}

void ring_links_begin(struct ring_links *links)
{
	for (unsigned int i = 0; i < 2; i++) {
		(void)set_up(links->legs[i], true);
	}
}

void ring_links_look(struct ring_links *links)
{
	for (unsigned int i = 0; i < 2; i++) {
		const struct ring *ring = links->legs[i], *other = links->legs[1 - i];
		bool up = is_up(ring);

		if (links->held[i] || up != links->held[1 - i]) {
			continue; /* not its own state, or the other one shows it already */
		}
		if (set_up(other, up)) {
			links->held[1 - i] = !up;
			bh_counter_add(&gate_link_passed, !up);
			bh_log(BH_LOG_INFO, "capture", "%s is %s: so is %s", ring->name,
			       up ? "up" : "down", other->name);
		}
	}
}

void ring_links_end(struct ring_links *links)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (links->held[i]) {
			(void)set_up(links->legs[i], true);
		}
	}
}
