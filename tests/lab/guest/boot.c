/* SPDX-License-Identifier: Apache-2.0 */
/* From kernel to agent: file systems, modules, network, serial port. Not for use outside a guest.
 */
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void boot_mounts(void)
{
	int fd;

	mkdir("/proc", 0555);
	mkdir("/sys", 0555);
	mkdir("/dev", 0755);
	mkdir("/tmp", 01777);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	fd = open("/dev/console", O_RDWR);
	if (fd >= 0) {
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
}

void boot_modules(void)
{
	char name[256], path[512];
	FILE *list = fopen("/m/list", "r");

	if (!list) {
		return;
	}
	while (fgets(name, sizeof(name), list)) {
		int fd;

		name[strcspn(name, "\n")] = '\0';
		snprintf(path, sizeof(path), "/m/%s", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			continue;
		}
		if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST) {
			printf("module %s: %m\n", name);
		}
		close(fd);
	}
	fclose(list);
}

bool boot_arg(const char *key, char *out, size_t size)
{
	static const char path[] = "/proc/cmdline";
	char line[4096] = "", *save = NULL;
	size_t len = strlen(key);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		return false;
	}
	(void)!read(fd, line, sizeof(line) - 1);
	close(fd);
	for (char *p = strtok_r(line, " \n", &save); p; p = strtok_r(NULL, " \n", &save)) {
		if (!strncmp(p, key, len) && p[len] == '=') {
			snprintf(out, size, "%s", p + len + 1);
			return true;
		}
	}
	return false;
}

/* net=<shell words>: "ip4=..." and "ip6=..." give eth0 its addresses, "gw4=..." the default route.
 */
void boot_network(void)
{
	char value[128], command[512];

	(void)!system("echo 1 > /proc/sys/net/ipv6/conf/default/accept_dad; "
		      "echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad; "
		      "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; "
		      "ip link set lo up; ip link set eth0 up");
	if (boot_arg("ip4", value, sizeof(value))) {
		snprintf(command, sizeof(command), "ip addr add %s dev eth0", value);
		(void)!system(command);
	}
	if (boot_arg("ip6", value, sizeof(value))) {
		snprintf(command, sizeof(command), "ip -6 addr add %s dev eth0", value);
		(void)!system(command);
	}
	if (boot_arg("gw4", value, sizeof(value))) {
		snprintf(command, sizeof(command), "ip route add default via %s", value);
		(void)!system(command);
	}
}

static int open_named_port(const char *entry, const char *name)
{
	char path[512], have[128] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return -1;
	}
	(void)!read(fd, have, sizeof(have) - 1);
	close(fd);
	have[strcspn(have, "\n")] = '\0';
	if (strcmp(have, name)) {
		return -1;
	}
	snprintf(path, sizeof(path), "/dev/%s", entry);
	return open(path, O_RDWR | O_CLOEXEC);
}

int boot_open_port(const char *name)
{
	for (int i = 0; i < 100; i++) {
		DIR *dir = opendir("/sys/class/virtio-ports");
		struct dirent *entry;
		int fd = -1;

		while (dir && fd < 0 && (entry = readdir(dir))) {
			fd = open_named_port(entry->d_name, name);
		}
		if (dir) {
			closedir(dir);
		}
		if (fd >= 0) {
			return fd;
		}
		usleep(50000);
	}
	return -1;
}
