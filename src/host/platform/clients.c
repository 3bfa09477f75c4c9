/* SPDX-License-Identifier: Apache-2.0 */
#include "host/platform/clients.h"

#include "base/time.h"
#include "base/util.h"
#include "host/platform/vm.h"

#include <dlfcn.h>
#include <libvirt/libvirt-admin.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TEXT_MAX 256

/* The functions of libvirt-admin.so.0 that are used here. */
#define FUNCTIONS(X)                                                                               \
	X(virAdmInitialize)                                                                        \
	X(virAdmConnectOpen)                                                                       \
	X(virAdmConnectClose)                                                                      \
	X(virAdmConnectListServers)                                                                \
	X(virAdmServerGetName)                                                                     \
	X(virAdmServerListClients)                                                                 \
	X(virAdmServerFree)                                                                        \
	X(virAdmClientGetTransport)                                                                \
	X(virAdmClientGetTimestamp)                                                                \
	X(virAdmClientGetInfo)                                                                     \
	X(virAdmClientFree)                                                                        \
	X(virTypedParamsFree)                                                                      \
	X(virSetErrorFunc)

struct library {
#define MEMBER(name) typeof(&name) name;
	FUNCTIONS(MEMBER)
#undef MEMBER
};

/* One look, shared by whoever waits for it and the thread that asks: the last one frees it. */
struct look {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int refs;
	bool done;
	char daemon[32];
	pid_t own;
	json_t *list;
};

static bool load(struct library *lib)
{
	void *handle = dlopen("libvirt-admin.so.0", RTLD_LAZY | RTLD_LOCAL);

	if (!handle) {
		return false;
	}
#define LOAD(name)                                                                                 \
	*(void **)&lib->name = dlsym(handle, #name);                                               \
	if (!lib->name) {                                                                          \
		return false;                                                                      \
	}
	FUNCTIONS(LOAD)
#undef LOAD
	return true; /* stays loaded: libvirt has threads and data of its own */
}

static void on_error(void *arg, virErrorPtr error)
{
	/* nobody behind the admin socket is an ordinary answer; not to be printed */
}

static void put_text(json_t *client, const char *key, const char *text)
{
	char copy[TEXT_MAX];

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *p = copy; *p; p++) {
		*p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
	}
	json_object_set_new(client, key, json_string(hostd_text_mend(copy)));
}

/* False when the client may only read. */
static bool put_params(json_t *client, virTypedParameterPtr params, int count)
{
	static const struct {
		const char *param, *key;
	} known[] = {{VIR_CLIENT_INFO_SOCKET_ADDR, "remote"},
		     {VIR_CLIENT_INFO_SASL_USER_NAME, "sasl"},
		     {VIR_CLIENT_INFO_X509_DISTINGUISHED_NAME, "dn"},
		     {VIR_CLIENT_INFO_UNIX_USER_NAME, "user"},
		     {VIR_CLIENT_INFO_UNIX_USER_ID, "uid"},
		     {VIR_CLIENT_INFO_UNIX_PROCESS_ID, "pid"}};

	for (int i = 0; i < count; i++) {
		if (!strcmp(params[i].field, VIR_CLIENT_INFO_READONLY) && params[i].value.b) {
			return false;
		}
		for (size_t k = 0; k < BH_ARRAY_SIZE(known); k++) {
			if (strcmp(params[i].field, known[k].param) != 0) {
				continue;
			}
			if (params[i].type == VIR_TYPED_PARAM_STRING) {
				put_text(client, known[k].key, params[i].value.s);
			} else if (params[i].type == VIR_TYPED_PARAM_INT) {
				json_object_set_new(client, known[k].key,
						    json_integer(params[i].value.i));
			}
		}
	}
	return true;
}

static void read_client(const struct library *lib, virAdmClientPtr client, pid_t own, json_t *list)
{
	static const char *const transports[] = {[VIR_CLIENT_TRANS_UNIX] = "unix",
						 [VIR_CLIENT_TRANS_TCP] = "tcp",
						 [VIR_CLIENT_TRANS_TLS] = "tls"};
	int transport = lib->virAdmClientGetTransport(client);
	json_t *entry;
	virTypedParameterPtr params = NULL;
	int count = 0;
	bool writes;

	if (transport < 0 || transport >= (int)BH_ARRAY_SIZE(transports) ||
	    lib->virAdmClientGetInfo(client, &params, &count, 0) < 0) {
		return; /* went away meanwhile */
	}
	entry = json_pack("{s:s, s:I}", "transport", transports[transport], "since",
			  (json_int_t)lib->virAdmClientGetTimestamp(client));
	writes = put_params(entry, params, count);
	lib->virTypedParamsFree(params, count);
	if (writes && (!own || json_integer_value(json_object_get(entry, "pid")) != own)) {
		json_array_insert_new(list, 0, entry); /* libvirt tells the oldest first */
	} else {
		json_decref(entry);
	}
}

static void read_daemon(const struct library *lib, const char *name, pid_t own, json_t *list)
{
	char uri[64];
	virAdmConnectPtr conn;
	virAdmServerPtr *servers = NULL;
	int count;

	snprintf(uri, sizeof(uri), "%s:///system", name);
	conn = lib->virAdmConnectOpen(uri, 0);
	if (!conn) {
		return;
	}
	count = lib->virAdmConnectListServers(conn, &servers, 0);
	for (int i = 0; i < count; i++) {
		virAdmClientPtr *clients = NULL;
		int found = -1;

		if (strcmp(lib->virAdmServerGetName(servers[i]), "admin") != 0) {
			found = lib->virAdmServerListClients(servers[i], &clients, 0);
		}
		for (int k = 0; k < found; k++) {
			/* only the newest are of use, and each one costs a question */
			if (k >= found - 2 * HOSTD_CLIENTS_MAX) {
				read_client(lib, clients[k], own, list);
			}
			lib->virAdmClientFree(clients[k]);
		}
		free(clients);
		lib->virAdmServerFree(servers[i]);
	}
	free(servers);
	lib->virAdmConnectClose(conn);
}

static bool has_admin_socket(const char *daemon)
{
	char path[128];

	/* libvirtd's own is called after the library */
	snprintf(path, sizeof(path), "/run/libvirt/%s-admin-sock",
		 !strcmp(daemon, "libvirtd") ? "libvirt" : daemon);
	return access(path, F_OK) == 0;
}

static json_t *ask(const char *daemon, pid_t own)
{
	static const char *const daemons[] = {"libvirtd", "virtqemud", "virtlxcd"};
	json_t *list = json_array();
	struct library lib;

	if (!load(&lib) || lib.virAdmInitialize() < 0) {
		return list;
	}
	lib.virSetErrorFunc(NULL, on_error);
	for (size_t i = 0; i < BH_ARRAY_SIZE(daemons); i++) {
		if ((!*daemon || !strcmp(daemon, daemons[i])) && has_admin_socket(daemons[i])) {
			read_daemon(&lib, daemons[i], own, list);
		}
	}
	if (strcmp(daemon, "libvirtd") != 0 && has_admin_socket("virtproxyd")) {
		read_daemon(&lib, "virtproxyd", own, list); /* who comes from another machine */
	}
	while (json_array_size(list) > HOSTD_CLIENTS_MAX) {
		json_array_remove(list, json_array_size(list) - 1);
	}
	return list;
}

static void look_unref(struct look *look)
{
	bool last;

	pthread_mutex_lock(&look->lock);
	last = --look->refs == 0;
	pthread_mutex_unlock(&look->lock);
	if (last) {
		json_decref(look->list);
		pthread_cond_destroy(&look->cond);
		pthread_mutex_destroy(&look->lock);
		free(look);
	}
}

static void *look_thread(void *arg)
{
	struct look *look = arg;
	json_t *list = ask(look->daemon, look->own);

	pthread_mutex_lock(&look->lock);
	look->list = list;
	look->done = true;
	pthread_cond_signal(&look->cond);
	pthread_mutex_unlock(&look->lock);
	look_unref(look);
	return NULL;
}

static struct look *look_new(const char *daemon, pid_t own)
{
	struct look *look = bh_alloc(sizeof(*look));
	pthread_condattr_t attr;

	pthread_mutex_init(&look->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&look->cond, &attr);
	pthread_condattr_destroy(&attr);
	look->refs = 2;
	look->own = own;
	snprintf(look->daemon, sizeof(look->daemon), "%s", daemon ? daemon : "");
	return look;
}

/* A thread, because libvirt's calls know no time limit. */
json_t *hostd_clients_list(const char *daemon, pid_t own, int timeout_ms)
{
	struct look *look = look_new(daemon, own);
	json_t *list = NULL;
	struct timespec until;
	uint64_t ns = bh_time_mono_ns() + (uint64_t)timeout_ms * BH_NS_PER_MS;
	pthread_t thread;

	if (pthread_create(&thread, NULL, look_thread, look) != 0) {
		look->refs = 1;
		look_unref(look);
		return json_array();
	}
	pthread_detach(thread);
	until = (struct timespec){.tv_sec = (time_t)(ns / BH_NS_PER_S),
				  .tv_nsec = (long)(ns % BH_NS_PER_S)};
	pthread_mutex_lock(&look->lock);
	while (!look->done && pthread_cond_timedwait(&look->cond, &look->lock, &until) == 0) {
	}
	list = bh_steal(&look->list);
	pthread_mutex_unlock(&look->lock);
	look_unref(look);
	return list ? list : json_array();
}

pid_t hostd_clients_listener(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct ucred cred = {};
	socklen_t size = sizeof(cred);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		return 0;
	}
	if (strlen(path) >= sizeof(addr.sun_path)) {
		close(fd);
		return 0;
	}
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0) {
		cred.pid = 0;
	}
	close(fd);
	return cred.pid;
}
