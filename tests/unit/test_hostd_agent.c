/* SPDX-License-Identifier: Apache-2.0 */
/* The access engine from its first start on: births, state, ports, restarts. */
#include "base/file.h"
#include "base/json.h"
#include "hostd_world.h"

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
	world_start();
	world_wait(world_session_up, "the hello");
	world_wait(inventory_empty, "an empty inventory");
	assert_false(hostd_state_told(w.agent));
}

static void test_birth_without_rules_is_refused(void **state)
{
	const json_t *reply;

	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	w.config.birth_timeout_s = 2;
	w.image = bh_image_new(); /* the manager answers, but sends nothing */
	reply = world_birth("closed");
	assert_non_null(strstr(bh_json_str_or(reply, "error", ""), "no rules for its NIC"));
	assert_int_equal(w.births, 1);
}

static void test_birth_open_starts(void **state)
{
	const json_t *reply;

	w.manager_mute = true;
	reply = world_birth("open");
	w.manager_mute = false;
	assert_true(json_is_true(json_object_get(reply, "ok")));
	assert_string_equal(bh_json_str_or(reply, "how", ""), "open");
	world_call(json_pack("{s:s, s:s, s:s}", "op", "hook", "uuid", WORLD_VM, "event", "ended"));
}

static bool placement_refuses(struct bh_bus_request *req, const struct bh_bus_msg *msg)
{
	if (strcmp(bh_json_str_or(msg->json, "type", ""), "birth") != 0) {
		return false;
	}
	bh_bus_reply_error(req, "placement", "host h1 is in maintenance");
	return true;
}

/* birth=open is about protection, not about where a VM may run. */
static void test_birth_elsewhere(void **state)
{
	const json_t *reply;

	w.manager = placement_refuses;
	reply = world_birth("open");
	w.manager = NULL;
	assert_string_equal(bh_json_str_or(reply, "elsewhere", ""), "host h1 is in maintenance");
}

static void test_apply_and_birth(void **state)
{
	const json_t *reply;
	char want[2 * BH_HASH_SIZE + 1];
	BH_FREE char *xml = world_domain("closed");
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);

	world_apply(NULL, world_image(300, true));
	bh_hash_format(bh_image_hash(w.image), want);
	assert_string_equal(w.code, "");
	assert_string_equal(w.hash, want);
	reply = world_birth("closed");
	if (!json_is_true(json_object_get(reply, "ok"))) {
		fail_msg("%s", bh_json_str_or(reply, "error", ""));
	}
	world_write(file, xml); /* it runs now */
	hostd_platform_refresh(w.agent->sources[0].platform);
	json_decref(w.inventory);
	w.inventory = NULL;
	world_wait(inventory_came, "the inventory with the VM");
	assert_true(world_nic_protected());
	assert_string_equal(world_nic_reason(), "");
}

static void test_ports(void **state)
{
	world_wait(port_closed, "bridge, uplink and the closed port");
	/* The bridge learns nothing behind what is nobody's. */
	world_sh("bridge -d link show dev odd0 | grep -q ' learning off'");
	world_sh("bridge -d link show dev dl0 | grep -q ' learning on'");
	world_sh("bridge -d link show dev tap0 | grep -q ' learning on'");
}

static bool new_tap_held(void)
{
	return !system("bridge -d link show dev tap9 | grep -q ' learning off'");
}

/* A tap that turns up on a protected bridge is shut before anybody has said whose it is. */
static void test_new_tap_is_held(void **state)
{
	world_sh("ip tuntap add tap9 mode tap && ip link set tap9 master br0 up");
	world_wait(new_tap_held, "the tap to be held");
	world_sh("ip link set tap9 nomaster && ip link del tap9");
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

	world_write(file, xml);
	hostd_platform_refresh(w.agent->sources[0].platform);
	world_wait(two_vms, "the second VM");
	vm = json_array_get(w.inventory, 1);
	assert_int_equal(json_array_size(json_object_get(vm, "nics")), 8);
	json_array_foreach (json_object_get(vm, "nics"), i, nic) {
		assert_false(json_is_true(json_object_get(nic, "protected")));
		assert_string_not_equal(bh_json_str_or(nic, "reason", ""), "");
		assert_string_equal(bh_json_str_or(nic, "net", "?"), "");
	}
	unlink(file);
	hostd_platform_refresh(w.agent->sources[0].platform);
	world_wait(inventory_came, "the second VM to go");
}

/* A manager whose store was put back from a backup knows an older session of ours. */
static void test_hello_again(void **state)
{
	static const char xml[] = "<domain type='qemu'><name>odd</name>"
				  "<uuid>00000000-0000-4000-9000-000000000002</uuid></domain>";
	BH_FREE char *file = bh_asprintf("%s/platform/domains/odd.xml", w.dir);
	unsigned int before = w.hellos;

	w.manager_forgets = true;
	world_write(file, xml);
	hostd_platform_refresh(w.agent->sources[0].platform);
	world_wait(two_vms, "the inventory after another hello");
	assert_int_equal(w.hellos, before + 1);
	unlink(file);
	hostd_platform_refresh(w.agent->sources[0].platform);
	world_wait(inventory_came, "the second VM to go");
}

static void test_stale_is_told(void **state)
{
	struct bh_image *other = world_image(301, false);
	struct bh_image *mine = world_image(300, true);

	world_apply(other, world_image(302, true));
	assert_string_equal(w.code, "stale");
	bh_image_free(other);
	bh_image_free(w.image);
	w.image = mine;
}

/* More rows than the kernel's table holds: refused with the numbers, and nothing changed. */
static void test_full_is_told(void **state)
{
	struct bh_image *mine = world_image(300, true), *big = world_image(300, true);
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
	world_apply(mine, big);
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

	world_stop();
	w.hellos = 0;
	world_start();
	assert_true(w.agent->dp_info.adopted);
	assert_true(hostd_state_told(w.agent));
	assert_true(bh_hash_equal(hostd_dp_hash(w.agent->dp), bh_image_hash(w.image)));
	assert_int_equal(hostd_dp_gen(w.agent->dp), gen); /* nothing was committed again */
	world_wait(world_session_up, "the hello after the restart");
}

static void test_delta_after_restart(void **state)
{
	struct bh_image *from = world_image(300, true);

	world_apply(from, world_image(301, true));
	assert_string_equal(w.code, "");
	bh_image_free(from);
}

/* ---- a commit that takes long ---- */

/* The image of the VM, and 20,000 prefixes more. */
static struct bh_image *large_image(uint32_t identity)
{
	struct bh_image *image = world_image(identity, true);
	struct bh_segment *seg = bh_segment_new("set:large");

	for (uint32_t set = 1000; set < 1020; set++) {
		struct bh_rec rec = {
			.type = BH_REC_SET,
			.set = {.set = set, .default_rule = 1, .default_action = BH_ACTION_DENY}};

		bh_segment_add(seg, &rec);
		for (uint32_t i = 0; i < 1000; i++) {
			struct bh_rec cidr = {.type = BH_REC_CIDR,
					      .cidr = {.set = set,
						       .prefix_bits = 120,
						       .addr = {[10] = 0xff,
								0xff,
								10,
								(uint8_t)(i >> 8),
								(uint8_t)i},
						       .class_id = i + 1}};

			bh_segment_add(seg, &cidr);
		}
	}
	assert_int_equal(bh_segment_seal(seg, NULL), 0);
	bh_image_set(image, seg);
	bh_segment_unref(seg);
	return image;
}

static bool working(void)
{
	return hostd_dp_working(w.agent->dp);
}

static void test_loop_turns_while_installing(void **state)
{
	struct bh_image *from = world_image(301, true), *to = large_image(301);
	uint32_t gen = hostd_dp_gen(w.agent->dp);
	const json_t *reply;

	world_apply_begin(from, to);
	world_wait(working, "the commit to begin");
	/* The control socket answers in the middle of it, with the state before. */
	reply = world_call(json_pack("{s:s}", "op", "nics"));
	assert_true(json_is_true(json_object_get(reply, "ok")));
	assert_true(working());
	assert_false(w.answered);
	assert_int_equal(hostd_dp_gen(w.agent->dp), gen);
	world_apply_end(to);
	assert_string_equal(w.code, "");
	assert_int_equal(hostd_dp_gen(w.agent->dp), gen + 1);
	assert_true(bh_hash_equal(hostd_dp_hash(w.agent->dp), bh_image_hash(to)));
	bh_image_free(from);
}

static void test_newer_delta_in_the_middle(void **state)
{
	struct bh_image *large = large_image(301), *small = world_image(301, true);
	struct bh_image *last = world_image(302, true);

	world_apply_begin(large, small);
	world_wait(working, "the commit to begin");
	world_apply(small, last); /* starts from what the one in work leads to */
	assert_string_equal(w.code, "");
	assert_true(bh_hash_equal(hostd_dp_hash(w.agent->dp), bh_image_hash(last)));
	bh_image_free(large);
	bh_image_free(small);
}

/* A stop in the middle takes the commit back, in the kernel and on disk. */
static void test_stop_in_the_middle(void **state)
{
	struct bh_image *from = world_image(302, true), *to = large_image(302);
	uint32_t gen = hostd_dp_gen(w.agent->dp);

	world_apply_begin(from, to);
	world_wait(working, "the commit to begin");
	w.hellos = 0;
	world_stop();
	world_start();
	assert_int_equal(hostd_dp_gen(w.agent->dp), gen);
	assert_true(bh_hash_equal(hostd_dp_hash(w.agent->dp), bh_image_hash(from)));
	world_wait(world_session_up, "the hello after the restart");
	world_apply(from, world_image(301, true));
	assert_string_equal(w.code, "");
	bh_image_free(from);
	bh_image_free(to);
}

static void test_birth_without_manager(void **state)
{
	const json_t *reply;
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	BH_FREE char *changed = NULL;
	BH_FREE char *xml = world_domain("closed");

	bh_bus_server_free(bh_steal(&w.server), true);
	unlink(file);
	/* seen before with these labels, rules in the image: may start */
	reply = world_birth("closed");
	if (!json_is_true(json_object_get(reply, "ok"))) {
		fail_msg("%s", bh_json_str_or(reply, "error", ""));
	}
	/* other labels: nobody knows which rules it has */
	changed = bh_strdup(xml);
	memcpy(strstr(changed, "value='web'"), "value='sql'", 11);
	reply = world_call(json_pack("{s:s, s:s}", "op", "birth", "xml", changed));
	assert_non_null(strstr(bh_json_str_or(reply, "error", ""), "has not seen this VM"));
}

static void test_control_socket(void **state)
{
	static const char *const ops[] = {"status",	 "vms",	  "nics",  "stats",
					  "connections", "rules", "verify"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(ops); i++) {
		const json_t *reply = world_call(json_pack("{s:s}", "op", ops[i]));

		if (!json_is_true(json_object_get(reply, "ok"))) {
			fail_msg("%s: %s", ops[i], bh_json_str_or(reply, "error", ""));
		}
	}
	assert_int_equal(json_array_size(json_object_get(w.ctl_reply, "drift")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_birth_without_rules_is_refused),
		cmocka_unit_test(test_birth_open_starts),
		cmocka_unit_test(test_birth_elsewhere),
		cmocka_unit_test(test_apply_and_birth),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_new_tap_is_held),
		cmocka_unit_test(test_unprotectable_kinds),
		cmocka_unit_test(test_hello_again),
		cmocka_unit_test(test_stale_is_told),
		cmocka_unit_test(test_full_is_told),
		cmocka_unit_test(test_restart_adopts),
		cmocka_unit_test(test_delta_after_restart),
		cmocka_unit_test(test_loop_turns_while_installing),
		cmocka_unit_test(test_newer_delta_in_the_middle),
		cmocka_unit_test(test_stop_in_the_middle),
		cmocka_unit_test(test_birth_without_manager),
		cmocka_unit_test(test_control_socket),
	};

	return world_run("hostd_agent", tests, BH_ARRAY_SIZE(tests));
}
