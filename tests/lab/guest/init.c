/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of a lab guest: brings the machine up and becomes the agent. */
#include "agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	char name[64] = "guest";
	int port;

	boot_mounts();
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	boot_modules();
	boot_arg("name", name, sizeof(name));
	(void)!sethostname(name, strlen(name));
	boot_network();
	port = boot_open_port("org.bulkhead.lab");
	printf("LAB-READY %s\n", name);
	if (port < 0) {
		printf("no port org.bulkhead.lab\n");
		for (;;) {
			pause();
		}
	}
	agent_loop(port);
}
