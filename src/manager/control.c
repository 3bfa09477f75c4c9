/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/control.h"

#include "base/util.h"

#include <sys/resource.h>

static void op_status(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	bh_ctl_reply(req, manager_api_status(arg, 0));
}

static void op_hosts(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	const struct manager_parts *parts = arg;
	struct manager_host *h, *tmp;
	json_t *list = json_array();

	HASH_ITER (hh, parts->inv->hosts, h, tmp) {
		json_array_append_new(list, manager_api_host(h));
	}
	bh_ctl_reply(req, json_pack("{s:o}", "hosts", list));
}

static void op_bus(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	const struct manager_parts *parts = arg;
	json_t *body = json_object();

	if (parts->bus) {
		json_object_set_new(body, "client", bh_bus_dump(parts->bus));
	}
	if (parts->server) {
		json_object_set_new(body, "server", bh_bus_server_dump(parts->server));
	}
	bh_ctl_reply(req, body);
}

static void op_memory(struct bh_ctl_request *req, const json_t *request, void *arg)
{
	struct rusage usage = {};
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%*s %ld", &pages) != 1) {
			pages = 0;
		}
		fclose(f);
	}
	getrusage(RUSAGE_SELF, &usage);
	bh_ctl_reply(
		req,
		json_pack("{s:I, s:I, s:I, s:I}", "rss_bytes",
			  (json_int_t)pages * sysconf(_SC_PAGESIZE), "max_rss_bytes",
			  (json_int_t)usage.ru_maxrss * 1024, "cpu_user_us",
			  (json_int_t)usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec,
			  "cpu_system_us",
			  (json_int_t)usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec));
}

void manager_control_add(struct bh_ctl_server *server, const struct manager_parts *parts)
{
	void *arg = (void *)parts;

	bh_ctl_server_add(server, "status", op_status, arg);
	bh_ctl_server_add(server, "hosts", op_hosts, arg);
	bh_ctl_server_add(server, "bus", op_bus, arg);
	bh_ctl_server_add(server, "memory", op_memory, arg);
}
