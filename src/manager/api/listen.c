/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/listen.h"

#include "base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/un.h>

int manager_listen_unix(const char *path, struct bh_diag *diag)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	BH_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	BH_CLOSE int probe = fd < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mode_t old;
	int r;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		return bh_diag_set(diag, -ENAMETOOLONG, "%s is too long for a socket", path);
	}
	memcpy(sa.sun_path, path, strlen(path));
	if (probe < 0) {
		return bh_diag_set(diag, -errno, "socket: %s", strerror(errno));
	}
	if (connect(probe, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
		return bh_diag_set(diag, -EADDRINUSE, "another program answers on %s", path);
	}
	unlink(path);
	old = umask(0177);
	r = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(old);
	if (r < 0 || listen(fd, 64) < 0) {
		return bh_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
	}
	r = fd;
	fd = -1;
	return r;
}

static int parse_listen(const char *s, struct sockaddr_storage *ret, socklen_t *ret_size)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	const char *colon = strrchr(s, ':');
	char host[64] = "";
	uint64_t port;

	memset(ret, 0, sizeof(*ret));
	if (!colon || bh_parse_u64(colon + 1, 0, 65535, &port) < 0 ||
	    (size_t)(colon - s) >= sizeof(host)) {
		return -EINVAL;
	}
	memcpy(host, s, (size_t)(colon - s));
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*ret_size = sizeof(*v6);
		return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	*ret_size = sizeof(*v4);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

int manager_listen_tcp(const char *where, unsigned int *ret_port, struct bh_diag *diag)
{
	struct sockaddr_storage sa;
	socklen_t size;
	BH_CLOSE int fd = -1;
	int one = 1, r;

	if (parse_listen(where, &sa, &size) < 0) {
		return bh_diag_set(diag, -EINVAL,
				   "'%s' is no address:port like 0.0.0.0:7443 or [::]:7443", where);
	}
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return bh_diag_set(diag, -errno, "socket: %s", strerror(errno));
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, size) < 0 || listen(fd, 256) < 0) {
		return bh_diag_set(diag, -errno, "cannot listen on %s: %s", where, strerror(errno));
	}
	getsockname(fd, (struct sockaddr *)&sa, &size);
	*ret_port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
	r = fd;
	fd = -1;
	return r;
}
