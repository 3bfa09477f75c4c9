/* SPDX-License-Identifier: Apache-2.0 */
#include "hostd_world.h"

#include "image_put.h"

#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "base/log.h"
#include "bus/pki.h"
#include "bus/subject.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define WAIT_MS 10000

struct world w;

void world_sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd) != 0) {
		fail_msg("failed: %s", cmd);
	}
}

static void on_alarm(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Runs the loop until the condition holds. */
void world_wait(world_condition *fn, const char *what)
{
	uv_timer_t *alarm = bh_alloc(sizeof(*alarm));
	bool late = false;

	assert_int_equal(uv_timer_init(&w.loop, alarm), 0);
	alarm->data = &late;
	uv_timer_start(alarm, on_alarm, WAIT_MS, 0);
	while (!fn() && !late) {
		uv_run(&w.loop, UV_RUN_ONCE);
	}
	uv_close((uv_handle_t *)alarm, (uv_close_cb)free);
	if (late) {
		fail_msg("waited %d ms in vain for: %s", WAIT_MS, what);
	}
}

/* ---- the manager ---- */

static void on_request(struct bh_bus_request *req, const struct bh_bus_msg *msg, void *arg)
{
	const char *type = bh_json_str_or(msg->json, "type", "");
	char hash[2 * BH_HASH_SIZE + 1];

	assert_string_equal(bh_bus_request_host(req), "h1");
	if (w.manager && w.manager(req, msg)) {
		return;
	}
	if (w.manager_mute) {
		bh_bus_reply_error(req, "mute", "the test says no");
		return;
	}
	if (!strcmp(type, "hello")) {
		w.hellos++;
		bh_bus_reply(req, NULL);
	} else if (!strcmp(type, "inventory") && w.manager_forgets) {
		w.manager_forgets = false;
		bh_bus_reply_error(req, "session", "of another session: say hello");
	} else if (!strcmp(type, "inventory")) {
		w.inventories++;
		json_decref(w.inventory);
		w.inventory = json_deep_copy(json_object_get(msg->json, "vms"));
		bh_bus_reply(req, NULL);
	} else if (!strcmp(type, "birth")) {
		w.births++;
		bh_hash_format(bh_image_hash(w.image), hash);
		bh_bus_reply(req, json_pack("{s:s}", "hash", hash));
	} else {
		bh_bus_reply(req, NULL);
	}
}

static void on_applied(int err, const struct bh_bus_msg *reply, void *arg)
{
	snprintf(w.hash, sizeof(w.hash), "%s",
		 reply ? bh_json_str_or(reply->json, "hash", "") : "");
	snprintf(w.code, sizeof(w.code), "%s", err ? bh_bus_reply_code(err, reply) : "");
	w.need_rows = reply ? bh_json_u64_or(json_object_get(reply->json, "need"), "rows", 0) : 0;
	w.answered = true;
}

/* An image with one VM: its NIC, an address, and sets that allow everything. */
struct bh_image *world_image(uint32_t identity, bool with_vm)
{
	struct bh_image *image = bh_image_new();
	struct bh_segment *vm = bh_segment_new("vm:" WORLD_VM);
	struct bh_rec nic = {.type = BH_REC_NIC,
			     .nic = {.net = 1, .identity = identity, .tenant = 2}};
	struct bh_rec addr = {.type = BH_REC_NIC_ADDR};

	assert_int_equal(bh_uuid_parse(WORLD_VM, nic.nic.vm), 0);
	assert_int_equal(bh_mac_parse(WORLD_MAC, nic.nic.mac), 0);
	memcpy(addr.nic_addr.vm, nic.nic.vm, 16);
	memcpy(addr.nic_addr.mac, nic.nic.mac, 6);
	assert_int_equal(bh_addr_parse("10.78.0.11", addr.nic_addr.addr), 0);
	if (with_vm) {
		bh_segment_add(vm, &nic);
		bh_segment_add(vm, &addr);
	}
	for (uint32_t dir = 0; dir < 2; dir++) {
		struct bh_rec rec = {.type = BH_REC_SET,
				     .set = {.set = identity << 1 | dir,
					     .default_rule = 2,
					     .default_action = BH_ACTION_ALLOW}};
		BH_FREE char *name = bh_asprintf("set:%u.%u", identity, dir);
		struct bh_segment *set = bh_segment_new(name);

		bh_segment_add(set, &rec);
		image_put(image, set);
	}
	image_put(image, vm);
	return image;
}

static bool answered(void)
{
	return w.answered;
}

void world_apply_end(struct bh_image *to)
{
	world_wait(answered, "an answer to apply");
	bh_image_free(w.image);
	w.image = to;
}

void world_apply_begin(const struct bh_image *from, const struct bh_image *to)
{
	struct bh_image *empty = bh_image_new();
	struct bh_delta *delta = bh_delta_between(from ? from : empty, to);
	struct bh_wbuf data;
	char subject[BH_SUBJECT_SIZE], from_hex[2 * BH_HASH_SIZE + 1], to_hex[2 * BH_HASH_SIZE + 1];
	size_t half;

	bh_hash_format(bh_delta_from(delta), from_hex);
	bh_hash_format(bh_delta_to(delta), to_hex);
	bh_wbuf_init(&data, 0);
	bh_delta_encode(delta, &data);
	half = data.size / 2; /* in two parts, as a large one comes */
	for (int i = 0; i < 2; i++) {
		BH_JSON json_t *head =
			json_pack("{s:s, s:i, s:i, s:i, s:s, s:s}", "type", "apply", "rev", 7,
				  "part", i, "parts", 2, "from", from_hex, "to", to_hex);
		struct bh_bus_msg msg = {.json = head,
					 .bytes = data.data + (i ? half : 0),
					 .size = i ? data.size - half : half};

		w.answered = false;
		bh_bus_request(w.bus, bh_subject_cmd("h1", subject), &msg, WAIT_MS, on_applied,
			       NULL);
		if (!i) {
			world_wait(answered, "an answer to the first part");
		}
	}
	bh_wbuf_done(&data);
	bh_delta_free(delta);
	bh_image_free(empty);
}

void world_apply(const struct bh_image *from, struct bh_image *to)
{
	world_apply_begin(from, to);
	world_apply_end(to);
}

/* ---- the host ---- */

void world_write(const char *path, const char *text)
{
	assert_int_equal(bh_file_replace(path, text, strlen(text), 0600, NULL), 0);
}

static struct bh_bus *peer_bus;

static bool peer_up(void)
{
	return bh_bus_up(peer_bus);
}

void world_peer_open(bh_bus_serve_fn *serve, struct bh_bus **ret_bus,
		     struct bh_pki_signer **ret_signer, char **ret_cert, size_t *ret_cert_size)
{
	BH_FREE char *ca = bh_asprintf("%s/pki/ca.crt", w.dir);
	BH_FREE char *cert = bh_asprintf("%s/pki/h2.crt", w.dir);
	BH_FREE char *key = bh_asprintf("%s/pki/h2.key", w.dir);
	struct bh_bus_options options = {.urls = bh_bus_server_url(w.server),
					 .name = "host.h2",
					 .inbox = "_INBOX.host.h2",
					 .ca_file = ca,
					 .cert_file = cert,
					 .key_file = key};
	char subject[BH_SUBJECT_SIZE];

	assert_int_equal(bh_bus_new(&w.loop, &options, &peer_bus, NULL), 0);
	bh_bus_serve(peer_bus, bh_subject_peers("h2", subject), BH_SUBJECT_PEER_REPLY, serve, NULL);
	assert_int_equal(bh_pki_signer_open(key, ret_signer, NULL), 0);
	assert_int_equal(bh_file_read(cert, 65536, ret_cert, ret_cert_size, NULL), 0);
	world_wait(peer_up, "the other host");
	*ret_bus = peer_bus;
}

char *world_domain(const char *birth)
{
	return bh_asprintf("<domain type='qemu'><name>web</name><uuid>" WORLD_VM "</uuid><metadata>"
			   "<b:vm xmlns:b='https://bulkhead.dev/xml/1' tenant='shop' birth='%s'>"
			   "<b:label key='role' value='web'/></b:vm></metadata><devices>"
			   "<interface type='bridge'><mac address='" WORLD_MAC "'/>"
			   "<source bridge='br0'/><target dev='tap0'/></interface>"
			   "</devices></domain>",
			   birth);
}

void world_start(void)
{
	struct bh_diag diag = {};
	int err = hostd_agent_new(&w.loop, &w.config, &w.agent, &diag);

	if (err) {
		fail_msg("hostd: %s", diag.text);
	}
}

void world_stop(void)
{
	hostd_agent_stop(w.agent);
	for (int i = 0; i < 20; i++) {
		uv_run(&w.loop, UV_RUN_NOWAIT);
	}
	hostd_agent_done(w.agent);
	w.agent = NULL;
}

struct call {
	uv_work_t work;
	json_t *request;
};

static void call_work(uv_work_t *work)
{
	struct call *c = work->data;
	BH_FREE char *sock = bh_asprintf("%s/run/hostd.sock", w.dir);
	json_t *reply = NULL;
	struct bh_diag diag = {};
	int err = bh_ctl_call(sock, c->request, WAIT_MS, &reply, &diag);

	w.ctl_reply = reply ? reply : json_pack("{s:i, s:s}", "err", err, "error", diag.text);
}

static void call_done(uv_work_t *work, int status)
{
	struct call *c = work->data;

	json_decref(c->request);
	free(c);
	w.ctl_done = true;
}

bool world_call_done(void)
{
	return w.ctl_done;
}

/* Asks the control socket as the hook does, from another thread. Borrowed until the next call. */
void world_call_begin(json_t *request)
{
	struct call *c = bh_alloc(sizeof(*c));

	json_decref(w.ctl_reply);
	w.ctl_reply = NULL;
	w.ctl_done = false;
	c->request = request;
	c->work.data = c;
	assert_int_equal(uv_queue_work(&w.loop, &c->work, call_work, call_done), 0);
}

const json_t *world_call_end(void)
{
	world_wait(world_call_done, "the control socket");
	return w.ctl_reply;
}

const json_t *world_call(json_t *request)
{
	world_call_begin(request);
	return world_call_end();
}

const json_t *world_birth(const char *how)
{
	BH_FREE char *xml = world_domain(how);

	return world_call(json_pack("{s:s, s:s}", "op", "birth", "xml", xml));
}

const char *world_nic_reason(void)
{
	const json_t *nic =
		json_array_get(json_object_get(json_array_get(w.inventory, 0), "nics"), 0);

	return bh_json_str_or(nic, "reason", "");
}

bool world_nic_protected(void)
{
	return json_is_true(json_object_get(
		json_array_get(json_object_get(json_array_get(w.inventory, 0), "nics"), 0),
		"protected"));
}

static bool server_up(void)
{
	return bh_bus_server_up(w.server) && bh_bus_up(w.bus);
}
void world_manager_open(void)
{
	BH_FREE char *ca = bh_asprintf("%s/pki/ca.crt", w.dir);
	BH_FREE char *cert = bh_asprintf("%s/pki/manager.crt", w.dir);
	BH_FREE char *key = bh_asprintf("%s/pki/manager.key", w.dir);
	struct bh_bus_options client = {.urls = bh_bus_server_url(w.server),
					.name = "manager",
					.inbox = BH_SUBJECT_MANAGER_INBOX,
					.ca_file = ca,
					.cert_file = cert,
					.key_file = key};

	assert_int_equal(bh_bus_new(&w.loop, &client, &w.bus, NULL), 0);
	bh_bus_serve(w.bus, BH_SUBJECT_ALL_REQ, BH_SUBJECT_ALL_REQ_REPLY, on_request, NULL);
	world_wait(server_up, "the bus");
}

void world_manager_close(void)
{
	uint64_t end = bh_time_mono_ns() + 300 * BH_NS_PER_MS;

	bh_bus_free(bh_steal(&w.bus));
	while (bh_time_mono_ns() < end) { /* until the server has seen it, too */
		uv_run(&w.loop, UV_RUN_NOWAIT);
		usleep(5000);
	}
}

bool world_session_up(void)
{
	return hostd_session_up(w.agent);
}

struct hostd_dp_nic_status world_nic_status(void)
{
	struct hostd_dp_nic_status status = {};
	struct hostd_dp_nic_key key = {};

	assert_int_equal(bh_uuid_parse(WORLD_VM, key.vm), 0);
	assert_int_equal(bh_mac_parse(WORLD_MAC, key.mac), 0);
	assert_int_equal(hostd_dp_nic_status(w.agent->dp, &key, &status, NULL), 0);
	return status;
}

bool world_nic_fed(void)
{
	struct hostd_dp_nic_status status = world_nic_status();

	return status.attached && status.fed;
}

void world_detach(void)
{
	struct hostd_dp_options options;
	struct hostd_dp *dp = NULL;

	hostd_agent_dataplane_options(&w.config, &options);
	assert_int_equal(hostd_dp_open(&options, &dp, NULL, NULL), 0);
	assert_int_equal(hostd_dp_destroy(dp, NULL), 0);
}

static int setup(void **state)
{
	BH_FREE char *pki = NULL;
	BH_FREE char *text = NULL;
	struct bh_pki_ca *ca = NULL;
	struct bh_pki_subject host = {.name = "host.h1", .usage = BH_PKI_CLIENT};
	struct bh_pki_subject peer = {.name = "host.h2", .usage = BH_PKI_CLIENT};
	struct bh_pki_subject manager = {.name = "manager", .usage = BH_PKI_CLIENT};
	struct bh_pki_subject bus = {.name = BH_BUS_SERVER_NAME, .usage = BH_PKI_SERVER};
	const char *const hosts[] = {"h1", "h2"};
	char path[8][128];

	world_sh("mkdir -p %s/platform/domains %s/platform/networks %s/state/pki %s/nats", w.dir,
		 w.dir, w.dir, w.dir);
	world_sh("ip link set lo up && ip link add br0 type bridge forward_delay 0 && "
		 "ip link set br0 up && "
		 "ip addr add 10.78.0.1/24 dev br0 && ip link add dl0 type veth peer name dl0p && "
		 "ip link set dl0 master br0 up && ip link add odd0 type veth peer name odd0p && "
		 "ip link set odd0 master br0 up");
	pki = bh_asprintf("%s/pki", w.dir);
	for (int i = 0; i < 8; i++) {
		static const char *const names[] = {
			"pki/ca.crt",	   "pki/host.crt", "pki/host.key", "pki/manager.crt",
			"pki/manager.key", "pki/bus.crt",  "pki/bus.key",  "nats"};

		snprintf(path[i], sizeof(path[i]), "%s/%s", w.dir, names[i]);
	}
	if (bh_pki_ca_open(pki, &ca, NULL) || bh_pki_ensure(ca, pki, "host", &host, NULL, NULL) ||
	    bh_pki_ensure(ca, pki, "h2", &peer, NULL, NULL) ||
	    bh_pki_ensure(ca, pki, "manager", &manager, NULL, NULL) ||
	    bh_pki_ensure(ca, pki, "bus", &bus, NULL, NULL)) {
		return -1;
	}
	bh_pki_ca_free(ca);
	world_sh("cd %s/state/pki && cp %s ca.pem && cp %s cert.pem && "
		 "cp %s key.pem",
		 w.dir, path[0], path[1], path[2]);
	text = bh_asprintf(
		"name: h1\nstate_dir: %s/state\nrun_dir: %s/run\npin_dir: %s/bpf/v2\n"
		"uplinks: [\"dl*\"]\nsizes: {nics: 64, rows: 1024, addrs: 1024, ct4: 1024, "
		"ct6: 1024, cidrs: 32768, ranges: 1024}\n",
		w.dir, w.dir, w.dir);
	BH_FREE char *yaml = bh_asprintf("%s/hostd.yaml", w.dir);

	world_write(yaml, text);
	assert_int_equal(hostd_config_load(yaml, true, &w.config, NULL), 0);
	w.config.dummy_dir = bh_asprintf("%s/platform", w.dir);
	if (uv_loop_init(&w.loop)) {
		return -1;
	}
	struct bh_bus_server_options server = {.dir = path[7],
					       .listen = "127.0.0.1:4222",
					       .ca_file = path[0],
					       .cert_file = path[5],
					       .key_file = path[6]};

	if (bh_bus_server_new(&w.loop, &server, hosts, BH_ARRAY_SIZE(hosts), &w.server, NULL)) {
		return -1;
	}
	BH_FREE char *json =
		bh_asprintf("{\"name\": \"h1\", \"bus\": \"%s\"}", bh_bus_server_url(w.server));
	BH_FREE char *json_path = bh_asprintf("%s/state/host.json", w.dir);

	world_write(json_path, json);
	world_manager_open();
	return 0;
}

static int teardown(void **state)
{
	if (w.agent) {
		world_stop();
	}
	bh_bus_free(w.bus);
	bh_bus_server_free(w.server, true);
	for (int i = 0; i < 20; i++) {
		uv_run(&w.loop, UV_RUN_NOWAIT);
	}
	json_decref(w.inventory);
	json_decref(w.ctl_reply);
	bh_image_free(w.image);
	hostd_config_done(&w.config);
	(void)uv_loop_close(&w.loop);
	return 0;
}

static int skipped(const char *why)
{
	printf("skipped: %s\n", why);
	return 77;
}

int world_run(const char *name, const struct CMUnitTest *tests, size_t count)
{
	int result;

	if (geteuid() != 0) {
		return skipped("needs root");
	}
	if (system("command -v nats-server ip >/dev/null") != 0) {
		return skipped("needs nats-server and iproute2");
	}
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		return skipped("needs namespaces");
	}
	snprintf(w.dir, sizeof(w.dir), "/tmp/test_hostd.XXXXXX");
	if (!mkdtemp(w.dir) || mount("tmpfs", w.dir, "tmpfs", 0, "mode=700") < 0) {
		return skipped("needs a folder of its own");
	}
	BH_FREE char *bpf = bh_asprintf("%s/bpf", w.dir);

	if (mkdir(bpf, 0700) < 0 || mount("bpf", bpf, "bpf", 0, NULL) < 0) {
		return skipped("needs a BPF file system");
	}
	bh_log_init("test", BH_LOG_INFO);
	result = _cmocka_run_group_tests(name, tests, count, setup, teardown);
	umount2(bpf, MNT_DETACH);
	umount2(w.dir, MNT_DETACH);
	rmdir(w.dir);
	return result;
}