/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a client of a control socket, through the real server. Each whole line gets exactly one
 * line back. */
#include "base/ctl.h"
#include "base/util.h"

#include <sys/socket.h>
#include <sys/un.h>

#define SEND_MAX 60000 /* fits the socket's buffer: nobody waits */

static void on_echo(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, json_pack("{s:O}", "request", request));
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		abort();
	}
	return fd;
}

static size_t lines_of(const void *data, size_t size)
{
	const char *p = data;
	size_t n = 0;

	for (size_t i = 0; i < size; i++) {
		n += p[i] == '\n';
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BH_FREE char *path = bh_asprintf("/var/tmp/bh-fuzz-ctl-%d", getpid());
	struct bh_ctl_options options = {.path = path, .program = "fuzz", .mode = 0600};
	struct bh_ctl_server *server;
	char back[65536];
	size_t want;
	size_t got = 0;
	uv_loop_t loop;
	ssize_t n;
	int fd;

	size = size < SEND_MAX ? size : SEND_MAX;
	want = lines_of(data, size);
	want = want < 20 ? want : 20;
	if (uv_loop_init(&loop) || bh_ctl_server_new(&loop, &options, &server, NULL)) {
		abort();
	}
	bh_ctl_server_add(server, "echo", on_echo, NULL);
	fd = connect_to(path);
	if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) {
		abort();
	}
	for (int i = 0; i < 50 && got < want; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		while ((n = recv(fd, back, sizeof(back), 0)) > 0) {
			got += lines_of(back, (size_t)n);
		}
		if (!n) {
			break; /* the server has had enough of it */
		}
	}
	close(fd);
	bh_ctl_server_free(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	if (got > lines_of(data, size) + 1 || uv_loop_close(&loop)) {
		abort();
	}
	return 0;
}
