/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's hook for Bulkhead: holds a VM's start at `start begin`, when its taps exist and QEMU
 * does not run yet, until hostd says that its NICs are protected; at `migrate begin` and `restore
 * begin` it holds a VM that comes with memory, until hostd says that its security is here (the
 * sender of a refused one goes on running it). Fails closed: no answer, no start, except for a VM
 * whose metadata says birth="open", and on a machine that never was enrolled and has no hostd: to
 * install Bulkhead alone takes nothing away. At the other stages it only tells hostd to look again
 * and never fails, because libvirt would stop a running VM for it.
 *
 * As a hook it writes nothing to standard output: libvirt takes that as new XML at some stages.
 * What it writes to standard error reaches whoever started the VM.
 */
#include "base/ctl.h"
#include "base/file.h"
#include "base/json.h"
#include "base/util.h"
#include "host/config.h"
#include "host/platform/clients.h"
#include "host/platform/domxml.h"
#include "version.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>

#define NOTIFY_MS  1000
#define TIMEOUT_MS 10000 /* without a configuration that says otherwise */
#define MIGRATE_MS 20000 /* likewise */
#define CLIENTS_MS 1000	 /* for the admin interface of libvirt's daemon */
#define BIRTHS_MAX (1u << 20)

/* What libvirt passes on of a hook's words: its own message around them has at most 1023 bytes. */
#define SAID_MAX 780

/* What a stage holds, and what is said about it. */
struct stage {
	const char *op;	     /* of libvirt */
	const char *ctl;     /* of hostd's control socket */
	const char *why;     /* its member for `migrate` */
	const char *refused; /* VM NAME ... */
	const char *opened;
	const char *let;   /* To let it ... */
	const char *scope; /* where `virsh metadata` writes */
	const char *after;
};
static const struct stage stages[] = {
	{"start", "birth", NULL, "does not start", "starts", "start", "--config", ""},
	{"migrate", "migrate", "live", "does not come to this host", "comes", "come",
	 "--live --config", " where it runs"},
	{"restore", "migrate", "restore", "is not restored", "is restored", "start", "--config",
	 ", and start it without its memory"},
};

static const struct stage *stage_of(const char *op, const char *sub)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(stages) && !strcmp(sub, "begin"); i++) {
		if (!strcmp(stages[i].op, op)) {
			return &stages[i];
		}
	}
	return NULL;
}

/* The way past us that needs neither hostd nor the manager, as one command that loses nothing of
 * the metadata; where that does not fit into `room` bytes, as words. Owned. */
static char *way_out(const struct stage *stage, const char *xml, const struct hostd_vm *vm,
		     size_t room)
{
	const char *connect = !strcmp(vm->type, "lxc") ? "-c lxc:/// " : "";
	BH_FREE char *element = NULL;
	BH_FREE char *command = NULL;
	char uuid[BH_UUID_TEXT_SIZE];

	bh_uuid_format(vm->uuid, uuid); /* a name may hold anything */
	if (hostd_domxml_open(xml, strlen(xml), &element, NULL) == 0 && element) {
		command = bh_asprintf("virsh %smetadata %s " HOSTD_XML_NS
				      " --key bulkhead %s --set '%s'%s",
				      connect, uuid, stage->scope, element, stage->after);
		if (strlen(command) <= room) {
			return bh_steal(&command);
		}
	}
	return bh_asprintf("virsh %sedit %s, and write birth=\"open\" into <bulkhead:vm ...>%s",
			   connect, uuid, stage->after);
}

/* Only a state folder that can be looked into and holds no identity says so. */
static bool never_enrolled(const char *state_dir)
{
	BH_FREE char *path = state_dir ? bh_asprintf("%s/host.json", state_dir) : NULL;

	return path && access(path, F_OK) != 0 && errno == ENOENT;
}

static void refuse(const struct stage *stage, const char *xml, const struct hostd_vm *vm, int err,
		   int timeout_ms, const char *reason)
{
	static const char frame[] = "bulkhead: %s. To let it %s unprotected: %s%s\n";
	BH_FREE char *why = NULL;
	BH_FREE char *way = NULL;
	BH_FREE char *by_api = bh_strdup("");
	size_t used;

	if (err == -ECONNREFUSED || err == -ENOENT) {
		why = bh_asprintf("hostd is not running on this host, so VM %s can't be protected "
				  "and %s; start it (systemctl start bulkhead-hostd)",
				  vm->name, stage->refused);
	} else if (err == -ETIMEDOUT) {
		why = bh_asprintf("hostd did not answer within %d s, so VM %s %s; see "
				  "`bulkhead debug host status` and the log of bulkhead-hostd",
				  timeout_ms / 1000, vm->name, stage->refused);
	} else {
		why = bh_asprintf("VM %s %s: %s", vm->name, stage->refused, reason);
		if (!stage->why) {
			free(by_api);
			by_api = bh_asprintf("`bulkhead vm birth %s open`, and without the "
					     "manager: ",
					     vm->name);
		}
	}
	used = strlen(why) + strlen(by_api) + strlen(frame) + strlen(stage->let);
	way = way_out(stage, xml, vm, used < SAID_MAX ? SAID_MAX - used : 0);
	fprintf(stderr, frame, why, stage->let, by_api, way);
}

/* The daemon that called us: "libvirtd", "virtqemud", ... */
static const char *caller(char *buf, size_t size)
{
	BH_FREE char *path = bh_asprintf("/proc/%d/comm", (int)getppid());
	BH_FREE char *comm = NULL;
	size_t len = 0;

	if (bh_file_read(path, 64, &comm, &len, NULL) < 0) {
		return NULL;
	}
	comm[strcspn(comm, "\n")] = '\0';
	snprintf(buf, size, "%s", comm);
	return !strcmp(buf, "libvirtd") || !strncmp(buf, "virt", 4) ? buf : NULL;
}

static json_t *clients(const char *sock)
{
	char daemon[32];

	return hostd_clients_list(caller(daemon, sizeof(daemon)), hostd_clients_listener(sock),
				  CLIENTS_MS);
}

static json_t *request_of(const struct stage *stage, const char *sock, const char *xml)
{
	json_t *request = json_pack("{s:s, s:s}", "op", stage->ctl, "xml", xml);

	if (stage->why) {
		json_object_set_new(request, "why", json_string(stage->why));
		json_object_set_new(request, "by", clients(sock));
	}
	return request;
}

static int timeout_of(const struct stage *stage, const struct hostd_config *config)
{
	uint64_t s = stage->why ? config->migrate_timeout_s : config->birth_timeout_s;

	return s ? (int)s * 1000 : stage->why ? MIGRATE_MS : TIMEOUT_MS;
}

static int hold(const struct stage *stage, const struct hostd_config *config, const char *sock,
		const char *xml, const struct hostd_vm *vm)
{
	int timeout_ms = timeout_of(stage, config);
	BH_FREE char *reduced = NULL;
	BH_JSON json_t *reply = NULL;
	const char *elsewhere;
	json_t *request;
	struct bh_diag diag = {};
	int err = hostd_domxml_reduce(xml, strlen(xml), &reduced, &diag);

	if (!err) {
		request = request_of(stage, sock, reduced);
		err = bh_ctl_call(sock, request, timeout_ms, &reply, &diag);
		if (!err && json_is_true(json_object_get(reply, "who"))) {
			/* it was put back: hostd wants to know by whom, which takes a while to find
			 * out and is of no use for other starts */
			json_object_set_new(request, "by", clients(sock));
			json_decref(bh_steal(&reply));
			err = bh_ctl_call(sock, request, timeout_ms, &reply, &diag);
		}
		json_decref(request);
	}
	if (!err) {
		elsewhere = bh_json_str_or(reply, "elsewhere", "");
		if (*elsewhere) {
			fprintf(stderr, "bulkhead: VM %s %s: %s\n", vm->name, stage->refused,
				elsewhere);
		}
		return *elsewhere != '\0';
	}
	if (vm->birth_open) {
		fprintf(stderr, "bulkhead: VM %s %s unprotected (birth=open): %s\n", vm->name,
			stage->opened, diag.text);
		return 0;
	}
	if ((err == -ECONNREFUSED || err == -ENOENT) && never_enrolled(config->state_dir)) {
		fprintf(stderr,
			"bulkhead: this host is not enrolled (bulkhead host enroll), VM %s %s "
			"unprotected\n",
			vm->name, stage->opened);
		return 0;
	}
	refuse(stage, xml, vm, err, timeout_ms, diag.text);
	return 1;
}

static void notify(const char *sock, const struct hostd_vm *vm, const char *event)
{
	char uuid[BH_UUID_TEXT_SIZE];
	json_t *request, *reply = NULL;

	bh_uuid_format(vm->uuid, uuid);
	request = json_pack("{s:s, s:s, s:s}", "op", "hook", "uuid", uuid, "event", event);
	if (bh_ctl_call(sock, request, NOTIFY_MS, &reply, NULL) == 0) {
		json_decref(reply);
	}
	json_decref(request);
}

/* What the API said about this VM, as hostd keeps it: it counts also while hostd is away. */
static void read_births(const struct hostd_config *config, struct hostd_vm *vm)
{
	BH_FREE char *path = bh_asprintf("%s/births.json", config->state_dir);
	BH_FREE char *data = NULL;
	BH_JSON json_t *json = NULL;
	char uuid[BH_UUID_TEXT_SIZE];
	const char *birth;
	size_t size = 0;

	if (bh_file_read(path, BIRTHS_MAX, &data, &size, NULL) == 0 &&
	    bh_json_load(data, size, BIRTHS_MAX, &json, NULL) == 0) {
		bh_uuid_format(vm->uuid, uuid);
		birth = bh_json_str_or(json, uuid, "");
		vm->birth_open = *birth ? !strcmp(birth, "open") : vm->birth_open;
	}
}

/* For hostd, which can't look itself (host/capsule/who.h). */
static int print_clients(void)
{
	BH_JSON json_t *list = hostd_clients_list(NULL, getppid(), CLIENTS_MS);
	BH_FREE char *text = bh_json_dump(list);

	return puts(text) < 0 || fflush(stdout) ? 1 : 0;
}

static int run(const char *config_path, const char *op, const char *sub)
{
	BH_FREE char *xml = NULL;
	BH_FREE char *sock = NULL;
	struct hostd_config config;
	struct hostd_vm vm = {};
	struct bh_diag diag = {};
	size_t size = 0;
	int result = 0;
	const struct stage *stage = stage_of(op, sub);

	if (hostd_config_load(config_path, false, &config, &diag) == 0) {
		sock = bh_asprintf("%s/hostd.sock", config.run_dir);
	} else {
		/* hostd doesn't start with that file either; what runs was started before */
		sock = bh_strdup("/run/bulkhead/hostd.sock");
	}
	if (bh_file_read("-", HOSTD_XML_MAX, &xml, &size, &diag) < 0 ||
	    hostd_domxml_parse(xml, size, &vm, &diag) < 0) {
		if (stage) {
			fprintf(stderr, "bulkhead: the VM %s: %s\n", stage->refused, diag.text);
			result = 1;
		}
	} else if (stage) {
		if (config.state_dir) {
			read_births(&config, &vm);
		}
		result = hold(stage, &config, sock, xml, &vm);
	} else if (!strcmp(sub, "end") && (!strcmp(op, "stopped") || !strcmp(op, "release"))) {
		notify(sock, &vm, "ended");
	} else if (!strcmp(op, "started")) {
		notify(sock, &vm, "started");
	}
	hostd_vm_done(&vm);
	hostd_config_done(&config);
	return result;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"help", no_argument, NULL, 'h'},
						{"version", no_argument, NULL, 'V'},
						{}};
	const char *config = HOSTD_CONFIG_PATH;
	int c;

	signal(SIGPIPE, SIG_IGN);
	while ((c = getopt_long(argc, argv, "+c:hV", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			config = optarg;
			break;
		case 'V':
			puts("bulkhead-hook " BH_VERSION);
			return 0;
		default:
			fprintf(stderr, "usage: bulkhead-hook [-c FILE] OBJECT OPERATION STAGE "
					"EXTRA < XML\n       bulkhead-hook clients\n"
					"Called by libvirt, see bulkhead-hook(8).\n");
			return c == 'h' ? 0 : 2;
		}
	}
	if (argc - optind == 1 && !strcmp(argv[optind], "clients")) {
		return print_clients();
	}
	if (argc - optind < 3) {
		fprintf(stderr, "bulkhead-hook: expected OBJECT OPERATION STAGE, as libvirt gives "
				"them\n");
		return 2;
	}
	return run(config, argv[optind + 1], argv[optind + 2]);
}
