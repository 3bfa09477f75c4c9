/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single questions and orders to rtnetlink about one device, each over a socket of its own; the
 * kernel answers at once. Nothing is kept. Any thread.
 */
#ifndef BH_HOST_NET_RTNL_H
#define BH_HOST_NET_RTNL_H

#include <stdbool.h>
#include <stdint.h>

/* How many tc filters, of whoever, stand on both sides of the device's clsact; 0 also without one;
 * < 0. */
[[nodiscard]] int hostd_rtnl_filters(uint32_t ifindex);

/* A port of a bridge: 1 it learns MAC addresses, 0 it does not; -ENODEV: no port of a bridge. */
[[nodiscard]] int hostd_rtnl_learning(uint32_t ifindex);
/* Turning it off also forgets what was learned behind that port. */
[[nodiscard]] int hostd_rtnl_set_learning(uint32_t ifindex, bool on);

/* Throws away what waits in a tap for its reader, in the ring and in the queue before it; 0 also
 * for a device that is no tap. */
[[nodiscard]] int hostd_rtnl_empty_tap(uint32_t ifindex);

#endif
