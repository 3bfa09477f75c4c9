/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the service manager how this program is, by sd_notify(3)'s protocol: one datagram to
 * $NOTIFY_SOCKET. Without that variable nothing happens, and nothing is reported: who would
 * listen is not there. The caller owns struct bh_notify and keeps it until its loop is closed;
 * the timer in it keeps no loop alive. All calls from the loop's thread.
 */
#ifndef BH_BASE_NOTIFY_H
#define BH_BASE_NOTIFY_H

#include <uv.h>

struct bh_notify {
	uv_timer_t beat;
};

/* READY=1, then WATCHDOG=1 from the loop, twice per $WATCHDOG_USEC. */
void bh_notify_ready(struct bh_notify *notify, uv_loop_t *loop);
/* Any other state, like "STOPPING=1". */
void bh_notify_send(const char *state);

#endif
