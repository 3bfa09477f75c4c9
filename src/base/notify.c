/* SPDX-License-Identifier: Apache-2.0 */
#include "base/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void bh_notify_send(const char *state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (len < 2 || len >= sizeof(addr.sun_path) || !strchr("/@", *path)) {
		return;
	}
	memcpy(addr.sun_path, path, len);
	if (*path == '@') {
		addr.sun_path[0] = '\0'; /* abstract */
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
			      (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
		close(fd);
	}
}

static void on_beat(uv_timer_t *timer)
{
	bh_notify_send("WATCHDOG=1");
}

/* Half of the time that the service manager waits, 0 when it doesn't. */
static uint64_t beat_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (!usec || (pid && strtoll(pid, NULL, 10) != (long long)getpid())) {
		return 0;
	}
	return strtoull(usec, NULL, 10) / 2000;
}

void bh_notify_ready(struct bh_notify *notify, uv_loop_t *loop)
{
	uint64_t every_ms = beat_ms();

	bh_notify_send("READY=1");
	if (uv_timer_init(loop, &notify->beat) == 0 && every_ms > 0) {
		uv_unref((uv_handle_t *)&notify->beat);
		(void)uv_timer_start(&notify->beat, on_beat, every_ms, every_ms);
	}
}
