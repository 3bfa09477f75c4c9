/* SPDX-License-Identifier: Apache-2.0 */
/* What changes under a running VM: its NICs, their devices and bridges, its name; and neighbours
 * with the same MAC. Every step looks at what the kernel holds. */
#include "base/json.h"
#include "hostd_world.h"

#define VM2  "00000000-0000-4000-9000-000000000002"
#define MAC2 "52:54:00:00:00:02"

static const char *awaited; /* state of the world that a condition looks for */

static struct hostd_dp_nic_status status_of(const char *vm, const char *mac)
{
	struct hostd_dp_nic_status status = {};
	struct hostd_dp_nic_key key;

	memset(&key, 0, sizeof(key));
	assert_int_equal(bh_uuid_parse(vm, key.vm), 0);
	assert_int_equal(bh_mac_parse(mac, key.mac), 0);
	assert_int_equal(hostd_dp_nic_status(w.agent->dp, &key, &status, NULL), 0);
	return status;
}

static uint32_t ifindex_of(const char *dev)
{
	struct hostd_link *l = hostd_links_find(w.agent->links, dev);

	return l ? l->ifindex : 0;
}

static void domain(const char *file, const char *vm, const char *name, const char *interfaces)
{
	BH_FREE char *path = bh_asprintf("%s/platform/domains/%s", w.dir, file);
	BH_FREE char *xml = bh_asprintf("<domain type='qemu'><name>%s</name><uuid>%s</uuid>"
					"<devices>%s</devices></domain>",
					name, vm, interfaces);

	world_write(path, xml);
	hostd_platform_refresh(w.agent->sources[0].platform);
}

#define NIC(mac, bridge, dev)                                                                      \
	"<interface type='bridge'><mac address='" mac "'/><source bridge='" bridge                 \
	"'/><target dev='" dev "'/></interface>"

static const json_t *reported(const char *vm, size_t nic)
{
	size_t i;
	json_t *item;

	json_array_foreach (w.inventory, i, item) {
		if (!strcmp(bh_json_str_or(item, "uuid", ""), vm)) {
			return json_array_get(json_object_get(item, "nics"), nic);
		}
	}
	return NULL;
}

static bool first_bound(void)
{
	struct hostd_dp_nic_status s = status_of(WORLD_VM, WORLD_MAC);

	return s.ifindex && s.ifindex == ifindex_of(awaited) && s.attached;
}

static bool first_gone(void)
{
	return !status_of(WORLD_VM, WORLD_MAC).ifindex;
}

static bool second_bound(void)
{
	struct hostd_dp_nic_status s = status_of(WORLD_VM, MAC2);

	return s.ifindex && s.ifindex == ifindex_of(awaited) && s.attached;
}

static bool second_gone(void)
{
	return !status_of(WORLD_VM, MAC2).ifindex;
}

static bool neighbour_bound(void)
{
	struct hostd_dp_nic_status s = status_of(VM2, WORLD_MAC);

	return s.ifindex && s.ifindex == ifindex_of(awaited) && s.attached;
}

static bool first_on_bridge(void)
{
	return status_of(WORLD_VM, WORLD_MAC).bridge == ifindex_of(awaited);
}

static bool net_reported(void)
{
	return !strcmp(bh_json_str_or(reported(WORLD_VM, 0), "net", ""), awaited);
}

static bool reason_reported(void)
{
	const json_t *nic = reported(WORLD_VM, 0);

	return !json_is_true(json_object_get(nic, "protected")) &&
	       strstr(bh_json_str_or(nic, "reason", ""), awaited);
}

static bool name_reported(void)
{
	return w.inventory &&
	       !strcmp(bh_json_str_or(json_array_get(w.inventory, 0), "name", ""), awaited);
}

static void wait_until(world_condition *fn, const char *what)
{
	awaited = what;
	world_wait(fn, what);
}

static void test_start(void **state)
{
	world_start();
	world_wait(world_session_up, "the hello");
	world_apply(NULL, world_image(300, true));
	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up && "
		 "ip link add br1 type bridge forward_delay 0 && ip link set br1 up");
	domain("web.xml", WORLD_VM, "web", NIC(WORLD_MAC, "br0", "tap0"));
	wait_until(first_bound, "tap0");
	assert_true(status_of(WORLD_VM, WORLD_MAC).fed);
}

/* A NIC that is plugged in is bound, closed until it is fed; unplugged it is let go, also when the
 * device goes before libvirt says so. */
static void test_plug(void **state)
{
	world_sh("ip tuntap add tap1 mode tap && ip link set tap1 master br0 up");
	domain("web.xml", WORLD_VM, "web", NIC(WORLD_MAC, "br0", "tap0") NIC(MAC2, "br0", "tap1"));
	wait_until(second_bound, "tap1");
	assert_false(status_of(WORLD_VM, MAC2).fed);
	assert_false(status_of(WORLD_VM, MAC2).open);
	domain("web.xml", WORLD_VM, "web", NIC(WORLD_MAC, "br0", "tap0"));
	wait_until(second_gone, "the unplugged NIC to be let go");
	domain("web.xml", WORLD_VM, "web", NIC(WORLD_MAC, "br0", "tap0") NIC(MAC2, "br0", "tap1"));
	wait_until(second_bound, "tap1");
	world_sh("ip link del tap1");
	wait_until(second_gone, "the device that went first to be let go");
	domain("web.xml", WORLD_VM, "web", NIC(WORLD_MAC, "br0", "tap0"));
	assert_true(status_of(WORLD_VM, WORLD_MAC).fed);
}

/* A device of the same name is another one: closed until it is bound, then it is the NIC. */
static void test_same_name_again(void **state)
{
	uint32_t before = ifindex_of("tap0");

	world_sh("ip link del tap0 && ip tuntap add tap0 mode tap && "
		 "ip link set tap0 master br0 up");
	for (int i = 0; i < 1000 && ifindex_of("tap0") == before; i++) {
		uv_run(&w.loop, UV_RUN_ONCE);
	}
	wait_until(first_bound, "tap0");
	assert_int_not_equal(status_of(WORLD_VM, WORLD_MAC).ifindex, before);
}

/* Renamed by hand it is nobody's, so closed, and shown so; renamed back it is the NIC again. */
static void test_renamed_device(void **state)
{
	world_sh("ip link set tap0 down && ip link set tap0 name odd1 && ip link set odd1 up");
	wait_until(reason_reported, "its device 'tap0' is not there");
	wait_until(first_gone, "the renamed device to be let go");
	world_sh("ip link set odd1 down && ip link set odd1 name tap0 && ip link set tap0 up");
	wait_until(first_bound, "tap0");
}

/* `virsh update-device` moves the tap, and no event says so: the network is the new bridge's as
 * soon as the kernel says it, before libvirt is listed again. */
static void test_moved_bridge(void **state)
{
	world_sh("ip link set tap0 master br1");
	wait_until(net_reported, "bridge/br1");
	wait_until(first_on_bridge, "br1");
	domain("web.xml", WORLD_VM, "web", NIC(WORLD_MAC, "br1", "tap0"));
	wait_until(first_bound, "tap0");
	world_sh("ip link set tap0 master br0");
	domain("web.xml", WORLD_VM, "web", NIC(WORLD_MAC, "br0", "tap0"));
	wait_until(net_reported, "bridge/br0");
	wait_until(first_on_bridge, "br0");
}

static void test_renamed_vm(void **state)
{
	uint32_t index = status_of(WORLD_VM, WORLD_MAC).index;

	domain("web.xml", WORLD_VM, "shop-web", NIC(WORLD_MAC, "br0", "tap0"));
	wait_until(name_reported, "shop-web");
	assert_int_equal(status_of(WORLD_VM, WORLD_MAC).index, index);
	assert_true(status_of(WORLD_VM, WORLD_MAC).fed);
	domain("web.xml", WORLD_VM, "web", NIC(WORLD_MAC, "br0", "tap0"));
}

/* Two VMs with one MAC are two NICs; the one going leaves the other as it was. */
static void test_neighbour_with_same_mac(void **state)
{
	BH_FREE char *file = bh_asprintf("%s/platform/domains/twin.xml", w.dir);

	world_sh("ip tuntap add tap2 mode tap && ip link set tap2 master br0 up");
	domain("twin.xml", VM2, "twin", NIC(WORLD_MAC, "br0", "tap2"));
	wait_until(neighbour_bound, "tap2");
	assert_false(status_of(VM2, WORLD_MAC).fed);
	wait_until(first_bound, "tap0");
	assert_true(status_of(WORLD_VM, WORLD_MAC).fed);
	unlink(file);
	world_sh("ip link del tap2");
	hostd_platform_refresh(w.agent->sources[0].platform);
	wait_until(first_bound, "tap0");
	assert_true(status_of(WORLD_VM, WORLD_MAC).fed);
}

/* `virsh managedsave`: it is shut off, stays in the inventory, and its devices are gone. */
static void test_sleep(void **state)
{
	BH_FREE char *from = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	BH_FREE char *dir = bh_asprintf("%s/platform/defined", w.dir);
	BH_FREE char *to = bh_asprintf("%s/web.xml", dir);

	world_sh("mkdir -p %s", dir);
	assert_int_equal(rename(from, to), 0);
	world_sh("ip link del tap0");
	hostd_platform_refresh(w.agent->sources[0].platform);
	wait_until(first_gone, "the sleeping VM's device to be let go");
	wait_until(reason_reported, "the VM is not running");
	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	assert_int_equal(rename(to, from), 0);
	hostd_platform_refresh(w.agent->sources[0].platform);
	wait_until(first_bound, "tap0");
	assert_true(status_of(WORLD_VM, WORLD_MAC).fed);
}

/* A VM ends, and another one gets the name of its tap at once: the tap is the other one's. */
static void test_tap_of_another_vm(void **state)
{
	BH_FREE char *xml =
		bh_asprintf("<domain type='qemu'><name>twin</name><uuid>" VM2
			    "</uuid><devices>" NIC(WORLD_MAC, "br0", "tap0") "</devices></domain>");

	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);

	w.config.birth_timeout_s = 2;
	unlink(file);
	world_call(json_pack("{s:s, s:s, s:s}", "op", "hook", "uuid", WORLD_VM, "event", "ended"));
	world_sh("ip link del tap0 && ip tuntap add tap0 mode tap && "
		 "ip link set tap0 master br0 up");
	world_call(json_pack("{s:s, s:s}", "op", "birth", "xml", xml));
	/* nobody has rules for it, so it may not start; but the tap was its own */
	assert_non_null(strstr(bh_json_str_or(w.ctl_reply, "error", ""), "no rules for its NIC"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_plug),
		cmocka_unit_test(test_same_name_again),
		cmocka_unit_test(test_renamed_device),
		cmocka_unit_test(test_moved_bridge),
		cmocka_unit_test(test_renamed_vm),
		cmocka_unit_test(test_neighbour_with_same_mac),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_tap_of_another_vm),
	};

	return world_run("hostd_races", tests, BH_ARRAY_SIZE(tests));
}
