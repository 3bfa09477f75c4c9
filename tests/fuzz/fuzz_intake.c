/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a client of hostd's events.sock, through the real server. What it takes must read as the
 * manager reads it, once the spool has put its stamp before it: of this host, of a type that is the
 * client's to tell. The producer is ours: it looks instead of writing.
 */
#include "base/util.h"
#include "host/agent/intake.h"
#include "model/event.h"

#include <sys/socket.h>
#include <sys/un.h>

#define SEND_MAX 60000 /* fits the socket's buffer: nobody waits */
#define TURNS	 64
#define HOST	 "a-host"
#define EPOCH	 "01234567-89ab-4def-8123-456789abcdef"

struct bh_producer {
	uint64_t put, lost;
};

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

void bh_producer_put_text(struct bh_producer *producer, const struct bh_wbuf *members)
{
	const struct bh_event_stamp stamp = {.producer = HOST, .epoch = EPOCH, .seq = UINT32_MAX};
	char line[BH_EVENT_SIZE_MAX], host[64];
	struct bh_event event;
	size_t size;

	check(!bh_event_text_write(&stamp, members, line, &size, NULL));
	check(!bh_event_parse(line, size, &event, NULL));
	check(!strncmp(event.type, "gate.", 5) && !event.is_gap);
	check(bh_jtext_str(&event.j, "host", host, sizeof(host)) && !strcmp(host, HOST));
	check(!bh_jtext_find(&event.j, "vm") && !bh_jtext_find(&event.j, "nic"));
	producer->put++;
}

void bh_producer_lose(struct bh_producer *producer, uint64_t count, const char *reason)
{
	check(count > 0 && count <= 1u << 30 && *reason);
	producer->lost++;
}

void bh_producer_stats_get(const struct bh_producer *producer, struct bh_spool_stats *ret)
{
	*ret = (struct bh_spool_stats){.max_bytes = 2, .bytes = producer->put % 64 == 63 ? 2 : 0};
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	check(fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BH_FREE char *path = bh_asprintf("/var/tmp/bh-fuzz-intake-%d", getpid());
	struct bh_producer producer = {};
	const struct hostd_intake_options options = {
		.path = path, .host = HOST, .producer = &producer};
	struct hostd_intake *intake = NULL;
	char back[4096];
	uv_loop_t loop;
	int fd;

	check(!uv_loop_init(&loop) && !hostd_intake_new(&loop, &options, &intake, NULL));
	fd = connect_to(path);
	size = size < SEND_MAX ? size : SEND_MAX;
	check(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
	for (int i = 0; i < TURNS; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		while (recv(fd, back, sizeof(back), 0) > 0) {
		}
	}
	close(fd);
	hostd_intake_free(intake);
	uv_run(&loop, UV_RUN_DEFAULT);
	check(!uv_loop_close(&loop));
	return 0;
}
