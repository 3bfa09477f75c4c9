/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole access engine against a bus, a manager played by this file, the real kernel dataplane
 * and a dummy platform, in network and mount namespaces of its own. Needs root, BPF and
 * nats-server; exits 77 (skipped) without.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "bus/client.h"
#include "bus/pki.h"
#include "bus/server.h"
#include "bus/subject.h"
#include "host/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <cmocka.h>

#define WAIT_MS 10000
#define VM1	"00000000-0000-4000-9000-000000000001"
#define MAC1	"52:54:00:00:00:01"

static struct world {
	char dir[64];
	uv_loop_t loop;
	struct bh_bus_server *server;
	struct bh_bus *bus; /* the manager's */
	struct hostd_config config;
	struct hostd_agent *agent;
	bool manager_mute;    /* does not answer */
	bool manager_forgets; /* refuses the next inventory: it knows another session */

	unsigned int hellos, inventories, births;
	json_t *inventory;		 /* the last one */
	char hash[2 * BH_HASH_SIZE + 1]; /* of the last apply's answer */
	char code[64];
	bool answered;
	uint64_t need_rows;	/* of a refused one */
	struct bh_image *image; /* what the host should hold */
	json_t *ctl_reply;
	bool ctl_done;
} w;

static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *fmt, ...)
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

typedef bool condition(void);

/* Runs the loop until the condition holds. */
static void wait_for(condition *fn, const char *what)
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

/* An image with one VM: its NIC, an address, and a set that allows everything. */
static struct bh_image *image_of(uint32_t identity, bool with_vm)
{
	struct bh_image *image = bh_image_new();
	struct bh_segment *vm = bh_segment_new("vm:" VM1);
	struct bh_segment *set = bh_segment_new("set:x");
	struct bh_rec nic = {.type = BH_REC_NIC,
			     .nic = {.net = 1, .identity = identity, .tenant = 2}};
	struct bh_rec addr = {.type = BH_REC_NIC_ADDR};

	assert_int_equal(bh_uuid_parse(VM1, nic.nic.vm), 0);
	assert_int_equal(bh_mac_parse(MAC1, nic.nic.mac), 0);
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

		bh_segment_add(set, &rec);
	}
	assert_int_equal(bh_segment_seal(vm, NULL), 0);
	assert_int_equal(bh_segment_seal(set, NULL), 0);
	bh_image_set(image, vm);
	bh_image_set(image, set);
	bh_segment_unref(vm);
	bh_segment_unref(set);
	return image;
}

static bool answered(void)
{
	return w.answered;
}

/* Sends the delta from `from` (NULL: nothing) to `to`. */
static void apply(const struct bh_image *from, struct bh_image *to)
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
		wait_for(answered, "an answer to apply");
	}
	bh_wbuf_done(&data);
	bh_delta_free(delta);
	bh_image_free(empty);
	bh_image_free(w.image);
	w.image = to;
}

/* ---- the host ---- */

static void write_file(const char *path, const char *text)
{
	assert_int_equal(bh_file_replace(path, text, strlen(text), 0600, NULL), 0);
}

static char *domain_xml(const char *birth)
{
	return bh_asprintf("<domain type='qemu'><name>web</name><uuid>" VM1 "</uuid><metadata>"
			   "<b:vm xmlns:b='https://bulkhead.dev/xml/1' tenant='shop' birth='%s'>"
			   "<b:label key='role' value='web'/></b:vm></metadata><devices>"
			   "<interface type='bridge'><mac address='" MAC1 "'/>"
			   "<source bridge='br0'/><target dev='tap0'/></interface>"
			   "</devices></domain>",
			   birth);
}

static void start_agent(void)
{
	struct bh_diag diag = {};
	int err = hostd_agent_new(&w.loop, &w.config, &w.agent, &diag);

	if (err) {
		fail_msg("hostd: %s", diag.text);
	}
}

static void stop_agent(void)
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

static bool ctl_done(void)
{
	return w.ctl_done;
}

/* Asks the control socket as the hook does, from another thread. Borrowed until the next call. */
static const json_t *call(json_t *request)
{
	struct call *c = bh_alloc(sizeof(*c));

	json_decref(w.ctl_reply);
	w.ctl_reply = NULL;
	w.ctl_done = false;
	c->request = request;
	c->work.data = c;
	assert_int_equal(uv_queue_work(&w.loop, &c->work, call_work, call_done), 0);
	wait_for(ctl_done, "the control socket");
	return w.ctl_reply;
}

static const json_t *birth(const char *how)
{
	BH_FREE char *xml = domain_xml(how);

	return call(json_pack("{s:s, s:s}", "op", "birth", "xml", xml));
}

static const char *nic_reason(void)
{
	const json_t *nic =
		json_array_get(json_object_get(json_array_get(w.inventory, 0), "nics"), 0);

	return bh_json_str_or(nic, "reason", "");
}

static bool nic_protected(void)
{
	return json_is_true(json_object_get(
		json_array_get(json_object_get(json_array_get(w.inventory, 0), "nics"), 0),
		"protected"));
}

/* ---- conditions ---- */

static bool server_up(void)
{
	return bh_bus_server_up(w.server) && bh_bus_up(w.bus);
}
static bool session_up(void)
{
	return hostd_session_up(w.agent);
}
static bool inventory_came(void)
{
	return json_array_size(w.inventory) == 1;
}
static bool inventory_empty(void)
{
	return w.inventory && !json_array_size(w.inventory);
}
static bool port_closed(void)
{
	BH_JSON json_t *ports = hostd_ports_json(w.agent);
	BH_FREE char *text = bh_json_dump(ports);

	return strstr(text, "\"closed\"") && strstr(text, "\"uplink\"") &&
	       strstr(text, "\"bridge\"");
}

/* ---- tests, in this order: each goes on where the one before ended ---- */

static void test_session(void **state)
{
	start_agent();
	wait_for(session_up, "the hello");
	wait_for(inventory_empty, "an empty inventory");
	assert_false(hostd_state_told(w.agent));
}

static void test_birth_without_rules_is_refused(void **state)
{
	const json_t *reply;

	sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	w.config.birth_timeout_s = 2;
	w.image = bh_image_new(); /* the manager answers, but sends nothing */
	reply = birth("closed");
	assert_non_null(strstr(bh_json_str_or(reply, "error", ""), "no rules for its NIC"));
	assert_int_equal(w.births, 1);
}

static void test_birth_open_starts(void **state)
{
	const json_t *reply;

	w.manager_mute = true;
	reply = birth("open");
	w.manager_mute = false;
	assert_true(json_is_true(json_object_get(reply, "ok")));
	assert_string_equal(bh_json_str_or(reply, "how", ""), "open");
	call(json_pack("{s:s, s:s, s:s}", "op", "hook", "uuid", VM1, "event", "ended"));
}

static void test_apply_and_birth(void **state)
{
	const json_t *reply;
	char want[2 * BH_HASH_SIZE + 1];
	BH_FREE char *xml = domain_xml("closed");
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);

	apply(NULL, image_of(300, true));
	bh_hash_format(bh_image_hash(w.image), want);
	assert_string_equal(w.code, "");
	assert_string_equal(w.hash, want);
	reply = birth("closed");
	if (!json_is_true(json_object_get(reply, "ok"))) {
		fail_msg("%s", bh_json_str_or(reply, "error", ""));
	}
	write_file(file, xml); /* it runs now */
	hostd_platform_refresh(w.agent->sources[0].platform);
	json_decref(w.inventory);
	w.inventory = NULL;
	wait_for(inventory_came, "the inventory with the VM");
	assert_true(nic_protected());
	assert_string_equal(nic_reason(), "");
}

static void test_ports(void **state)
{
	wait_for(port_closed, "bridge, uplink and the closed port");
}

static bool two_vms(void)
{
	return json_array_size(w.inventory) == 2;
}

/* What can't be protected is never shown as protected, and says why. */
static void test_unprotectable_kinds(void **state)
{
	static const char xml[] =
		"<domain type='qemu'><name>odd</name>"
		"<uuid>00000000-0000-4000-9000-000000000002</uuid>"
		"<devices>"
		"<interface type='direct'><mac address='52:54:00:00:01:01'/><source dev='eth0'/>"
		"</interface>"
		"<interface type='hostdev'><mac address='52:54:00:00:01:02'/></interface>"
		"<interface type='user'><mac address='52:54:00:00:01:03'/></interface>"
		"<interface type='vhostuser'><mac address='52:54:00:00:01:04'/></interface>"
		"<interface type='bridge'><mac address='52:54:00:00:01:05'/><source bridge='br0'/>"
		"<virtualport type='openvswitch'/></interface>"
		"<interface type='network'><mac address='52:54:00:00:01:06'/>"
		"<source network='absent'/></interface>"
		"<interface type='ethernet'><mac address='52:54:00:00:01:07'/>"
		"<target dev='dl0p'/></interface>"
		"<interface type='bridge'><mac address='52:54:00:00:01:08'/><source bridge='dl0'/>"
		"</interface>"
		"</devices></domain>";
	BH_FREE char *file = bh_asprintf("%s/platform/domains/odd.xml", w.dir);
	const json_t *vm;
	size_t i;
	json_t *nic;

	write_file(file, xml);
	hostd_platform_refresh(w.agent->sources[0].platform);
	wait_for(two_vms, "the second VM");
	vm = json_array_get(w.inventory, 1);
	assert_int_equal(json_array_size(json_object_get(vm, "nics")), 8);
	json_array_foreach (json_object_get(vm, "nics"), i, nic) {
		assert_false(json_is_true(json_object_get(nic, "protected")));
		assert_string_not_equal(bh_json_str_or(nic, "reason", ""), "");
		assert_string_equal(bh_json_str_or(nic, "net", "?"), "");
	}
	unlink(file);
	hostd_platform_refresh(w.agent->sources[0].platform);
	wait_for(inventory_came, "the second VM to go");
}

/* A manager whose store was put back from a backup knows an older session of ours. */
static void test_hello_again(void **state)
{
	static const char xml[] = "<domain type='qemu'><name>odd</name>"
				  "<uuid>00000000-0000-4000-9000-000000000002</uuid></domain>";
	BH_FREE char *file = bh_asprintf("%s/platform/domains/odd.xml", w.dir);
	unsigned int before = w.hellos;

	w.manager_forgets = true;
	write_file(file, xml);
	hostd_platform_refresh(w.agent->sources[0].platform);
	wait_for(two_vms, "the inventory after another hello");
	assert_int_equal(w.hellos, before + 1);
	unlink(file);
	hostd_platform_refresh(w.agent->sources[0].platform);
	wait_for(inventory_came, "the second VM to go");
}

static void test_stale_is_told(void **state)
{
	struct bh_image *other = image_of(301, false);
	struct bh_image *mine = image_of(300, true);

	apply(other, image_of(302, true));
	assert_string_equal(w.code, "stale");
	bh_image_free(other);
	bh_image_free(w.image);
	w.image = mine;
}

/* More rows than the kernel's table holds: refused with the numbers, and nothing changed. */
static void test_full_is_told(void **state)
{
	struct bh_image *mine = image_of(300, true), *big = image_of(300, true);
	struct bh_segment *set = bh_segment_new("set:big");
	uint32_t gen = hostd_dp_gen(w.agent->dp);

	for (uint32_t i = 0; i < 3000; i++) {
		struct bh_rec rec = {.type = BH_REC_ROW,
				     .row = {.set = 300 << 1,
					     .remote = 1000 + i,
					     .rule = 100 + i,
					     .rank = i,
					     .action = BH_ACTION_DENY,
					     .shape = 4}};

		bh_segment_add(set, &rec);
	}
	assert_int_equal(bh_segment_seal(set, NULL), 0);
	bh_image_set(big, set);
	bh_segment_unref(set);
	apply(mine, big);
	assert_string_equal(w.code, "full");
	assert_int_equal(w.need_rows, 3000);
	assert_int_equal(hostd_dp_gen(w.agent->dp), gen);
	assert_true(bh_hash_equal(hostd_dp_hash(w.agent->dp), bh_image_hash(mine)));
	bh_image_free(w.image);
	w.image = mine;
}

static void test_restart_adopts(void **state)
{
	uint32_t gen = hostd_dp_gen(w.agent->dp);

	stop_agent();
	w.hellos = 0;
	start_agent();
	assert_true(w.agent->dp_info.adopted);
	assert_true(hostd_state_told(w.agent));
	assert_true(bh_hash_equal(hostd_dp_hash(w.agent->dp), bh_image_hash(w.image)));
	assert_int_equal(hostd_dp_gen(w.agent->dp), gen); /* nothing was committed again */
	wait_for(session_up, "the hello after the restart");
}

static void test_delta_after_restart(void **state)
{
	struct bh_image *from = image_of(300, true);

	apply(from, image_of(301, true));
	assert_string_equal(w.code, "");
	bh_image_free(from);
}

static void test_birth_without_manager(void **state)
{
	const json_t *reply;
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	BH_FREE char *changed = NULL;
	BH_FREE char *xml = domain_xml("closed");

	bh_bus_server_free(bh_steal(&w.server), true);
	unlink(file);
	/* seen before with these labels, rules in the image: may start */
	reply = birth("closed");
	if (!json_is_true(json_object_get(reply, "ok"))) {
		fail_msg("%s", bh_json_str_or(reply, "error", ""));
	}
	/* other labels: nobody knows which rules it has */
	changed = bh_strdup(xml);
	memcpy(strstr(changed, "value='web'"), "value='sql'", 11);
	reply = call(json_pack("{s:s, s:s}", "op", "birth", "xml", changed));
	assert_non_null(strstr(bh_json_str_or(reply, "error", ""), "has not seen this VM"));
}

static void test_control_socket(void **state)
{
	static const char *const ops[] = {"status",	 "vms",	  "nics",  "stats",
					  "connections", "rules", "verify"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(ops); i++) {
		const json_t *reply = call(json_pack("{s:s}", "op", ops[i]));

		if (!json_is_true(json_object_get(reply, "ok"))) {
			fail_msg("%s: %s", ops[i], bh_json_str_or(reply, "error", ""));
		}
	}
	assert_int_equal(json_array_size(json_object_get(w.ctl_reply, "drift")), 0);
}

static int setup(void **state)
{
	BH_FREE char *pki = NULL;
	BH_FREE char *text = NULL;
	struct bh_pki_ca *ca = NULL;
	struct bh_pki_subject host = {.name = "host.h1", .usage = BH_PKI_CLIENT};
	struct bh_pki_subject manager = {.name = "manager", .usage = BH_PKI_CLIENT};
	struct bh_pki_subject bus = {.name = BH_BUS_SERVER_NAME, .usage = BH_PKI_SERVER};
	const char *const hosts[] = {"h1"};
	char path[8][128];

	sh("mkdir -p %s/platform/domains %s/platform/networks %s/state/pki %s/nats", w.dir, w.dir,
	   w.dir, w.dir);
	sh("ip link set lo up && ip link add br0 type bridge forward_delay 0 && "
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
	    bh_pki_ensure(ca, pki, "manager", &manager, NULL, NULL) ||
	    bh_pki_ensure(ca, pki, "bus", &bus, NULL, NULL)) {
		return -1;
	}
	bh_pki_ca_free(ca);
	sh("cp %s %s/state/pki/ca.pem && cp %s %s/state/pki/cert.pem && cp %s %s/state/pki/key.pem",
	   path[0], w.dir, path[1], w.dir, path[2], w.dir);
	text = bh_asprintf(
		"name: h1\nstate_dir: %s/state\nrun_dir: %s/run\npin_dir: %s/bpf/v1\n"
		"uplinks: [\"dl*\"]\nsizes: {nics: 64, rows: 1024, addrs: 1024, ct4: 1024, "
		"ct6: 1024, cidrs: 1024, ranges: 1024}\n",
		w.dir, w.dir, w.dir);
	BH_FREE char *yaml = bh_asprintf("%s/hostd.yaml", w.dir);

	write_file(yaml, text);
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

	if (bh_bus_server_new(&w.loop, &server, hosts, 1, &w.server, NULL)) {
		return -1;
	}
	BH_FREE char *json =
		bh_asprintf("{\"name\": \"h1\", \"bus\": \"%s\"}", bh_bus_server_url(w.server));
	BH_FREE char *json_path = bh_asprintf("%s/state/host.json", w.dir);

	write_file(json_path, json);
	struct bh_bus_options client = {.urls = bh_bus_server_url(w.server),
					.name = "manager",
					.inbox = BH_SUBJECT_MANAGER_INBOX,
					.ca_file = path[0],
					.cert_file = path[3],
					.key_file = path[4]};

	if (bh_bus_new(&w.loop, &client, &w.bus, NULL)) {
		return -1;
	}
	bh_bus_serve(w.bus, BH_SUBJECT_ALL_REQ, BH_SUBJECT_ALL_REQ_REPLY, on_request, NULL);
	wait_for(server_up, "the bus");
	return 0;
}

static int teardown(void **state)
{
	if (w.agent) {
		stop_agent();
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_birth_without_rules_is_refused),
		cmocka_unit_test(test_birth_open_starts),
		cmocka_unit_test(test_apply_and_birth),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_unprotectable_kinds),
		cmocka_unit_test(test_hello_again),
		cmocka_unit_test(test_stale_is_told),
		cmocka_unit_test(test_full_is_told),
		cmocka_unit_test(test_restart_adopts),
		cmocka_unit_test(test_delta_after_restart),
		cmocka_unit_test(test_birth_without_manager),
		cmocka_unit_test(test_control_socket),
	};
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
	snprintf(w.dir, sizeof(w.dir), "/tmp/test_hostd_agent.XXXXXX");
	if (!mkdtemp(w.dir) || mount("tmpfs", w.dir, "tmpfs", 0, "mode=700") < 0) {
		return skipped("needs a folder of its own");
	}
	BH_FREE char *bpf = bh_asprintf("%s/bpf", w.dir);

	if (mkdir(bpf, 0700) < 0 || mount("bpf", bpf, "bpf", 0, NULL) < 0) {
		return skipped("needs a BPF file system");
	}
	bh_log_init("test", BH_LOG_INFO);
	result = cmocka_run_group_tests(tests, setup, teardown);
	umount2(bpf, MNT_DETACH);
	umount2(w.dir, MNT_DETACH);
	rmdir(w.dir);
	return result;
}
