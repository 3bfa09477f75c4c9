/* SPDX-License-Identifier: Apache-2.0 */
/* What the inventory makes of lists that come with holes, late, or against what the hook told. */
#include "host/agent/inventory.h"
#include "host/platform/domxml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define UUID_TEXT "00000000-0000-4000-9000-000000000001"

static struct hostd_config config;
static struct hostd_links *links;
static uv_loop_t loop;
static uint8_t uuid[16];

static void no_news(void *arg)
{
}

static struct hostd_vm vm_of(const char *nic, bool running)
{
	BH_FREE char *xml =
		bh_asprintf("<domain type='qemu'><name>web</name><uuid>" UUID_TEXT "</uuid>"
			    "<devices><interface type='network'>"
			    "<mac address='52:54:00:00:00:01'/><source network='natnet'/>%s"
			    "</interface></devices></domain>",
			    nic);
	struct hostd_vm vm;

	assert_int_equal(hostd_domxml_parse(xml, strlen(xml), &vm, NULL), 0);
	vm.running = running;
	snprintf(vm.state, sizeof(vm.state), "%s", running ? "running" : "shutoff");
	return vm;
}

static struct hostd_vm_list *list_of(uint64_t begun_ns, const char *nic, bool running)
{
	struct hostd_vm_list *list = bh_alloc(sizeof(*list));

	list->begun_ns = begun_ns;
	*bh_vec_push(&list->vms) = vm_of(nic, running);
	return list;
}

static struct hostd_vm_list *unread_list(uint64_t begun_ns, bool unanswered)
{
	struct hostd_vm_list *list = bh_alloc(sizeof(*list));
	struct hostd_unread_vm *unread = bh_vec_push(&list->unread);

	list->begun_ns = begun_ns;
	memcpy(unread->uuid, uuid, sizeof(uuid));
	unread->unanswered = unanswered;
	return list;
}

static struct hostd_network_list *natnet(void)
{
	static const char xml[] =
		"<network><name>natnet</name><forward mode='nat'/><bridge name='virbr9'/>"
		"<ip address='192.168.9.1' netmask='255.255.255.0'><dhcp>"
		"<host mac='52:54:00:00:00:01' ip='192.168.9.11'/></dhcp></ip></network>";
	struct hostd_network_list *list = bh_alloc(sizeof(*list));
	struct hostd_network *net = bh_vec_push(&list->nets);

	assert_int_equal(hostd_netxml_parse(xml, strlen(xml), net, NULL), 0);
	net->active = true;
	return list;
}

static struct hostd_network_list *natnet_unread(void)
{
	struct hostd_network_list *list = bh_alloc(sizeof(*list));
	struct hostd_unread_network *unread = bh_vec_push(&list->unread);

	snprintf(unread->name, sizeof(unread->name), "natnet");
	unread->unanswered = true;
	return list;
}

static struct hostd_inventory *inventory_new(void)
{
	return hostd_inventory_new(&config, "h1", links, 1);
}

/* What the manager would be told about the VM's only NIC. */
static void expect_nic(const struct hostd_inventory *inv, const char *net, size_t addresses)
{
	const struct hostd_vm *vm = hostd_inventory_find(inv, uuid);
	struct hostd_nic_place place;
	json_t *list;

	assert_non_null(vm);
	hostd_inventory_place(inv, vm, &vm->nics.items[0], &place);
	assert_string_equal(place.net, net);
	list = hostd_inventory_addresses(inv, &vm->nics.items[0]);
	assert_int_equal(json_array_size(list), addresses);
	json_decref(list);
}

static void test_unread_stays_as_it_was(void **state)
{
	struct hostd_inventory *inv = inventory_new();

	hostd_inventory_set_networks(inv, 0, natnet());
	hostd_inventory_set_vms(inv, 0, list_of(1, "<target dev='vnet0'/>", true));
	assert_true(hostd_inventory_complete(inv));
	expect_nic(inv, "host/h1/net/natnet", 1);
	/* libvirt is back, and fails to say anything about what it lists */
	hostd_inventory_set_networks(inv, 0, natnet_unread());
	hostd_inventory_set_vms(inv, 0, unread_list(2, true));
	assert_true(hostd_inventory_complete(inv));
	expect_nic(inv, "host/h1/net/natnet", 1);
	assert_true(hostd_inventory_find(inv, uuid)->running);
	/* twice in a row */
	hostd_inventory_set_networks(inv, 0, natnet_unread());
	hostd_inventory_set_vms(inv, 0, unread_list(3, false));
	expect_nic(inv, "host/h1/net/natnet", 1);
	/* and what a whole list leaves out is gone */
	hostd_inventory_set_vms(inv, 0, bh_alloc(sizeof(struct hostd_vm_list)));
	assert_null(hostd_inventory_find(inv, uuid));
	hostd_inventory_free(inv);
}

/* After a restart of hostd nothing is known yet: what libvirt can't say is not nothing. */
static void test_first_list_with_holes_is_not_complete(void **state)
{
	struct hostd_inventory *inv = inventory_new();

	assert_false(hostd_inventory_complete(inv));
	hostd_inventory_set_vms(inv, 0, unread_list(1, true));
	assert_false(hostd_inventory_complete(inv));
	hostd_inventory_set_vms(inv, 0, list_of(2, "<target dev='vnet0'/>", true));
	assert_false(hostd_inventory_complete(inv)); /* its network is not known */
	hostd_inventory_set_networks(inv, 0, natnet_unread());
	assert_false(hostd_inventory_complete(inv));
	hostd_inventory_set_networks(inv, 0, natnet());
	assert_true(hostd_inventory_complete(inv));
	/* one that makes no sense must not hold up the others for ever */
	hostd_inventory_free(inv);
	inv = inventory_new();
	hostd_inventory_set_vms(inv, 0, unread_list(1, false));
	assert_true(hostd_inventory_complete(inv));
	hostd_inventory_free(inv);
}

static void test_device_is_kept(void **state)
{
	struct hostd_inventory *inv = inventory_new();
	struct hostd_vm vm = vm_of("<target dev='vnet0'/>", true);

	hostd_inventory_set_vms(inv, 0, list_of(1, "<target dev='vnet0'/>", true));
	hostd_inventory_set_vms(inv, 0, list_of(2, "", true));
	assert_string_equal(hostd_inventory_find(inv, uuid)->nics.items[0].dev, "vnet0");
	/* a VM that starts anew has new devices */
	hostd_inventory_set_vms(inv, 0, list_of(3, "", false));
	hostd_inventory_set_vms(inv, 0, list_of(4, "", true));
	assert_string_equal(hostd_inventory_find(inv, uuid)->nics.items[0].dev, "");
	/* and the hook has named them */
	hostd_inventory_set_vms(inv, 0, list_of(5, "", false));
	hostd_inventory_birth_add(inv, &vm, 6);
	hostd_inventory_set_vms(inv, 0, list_of(7, "", true));
	assert_string_equal(hostd_inventory_find(inv, uuid)->nics.items[0].dev, "vnet0");
	hostd_inventory_free(inv);
}

/* A VM that is restarted: libvirt was asked while the old one ran, and answers late. */
static void test_late_list_does_not_end_a_birth(void **state)
{
	struct hostd_inventory *inv = inventory_new();
	struct hostd_vm vm = vm_of("<target dev='vnet5'/>", true);

	hostd_inventory_set_vms(inv, 0, list_of(1, "<target dev='vnet3'/>", true));
	hostd_inventory_ended(inv, uuid, 20);
	hostd_inventory_birth_add(inv, &vm, 30);
	hostd_inventory_set_vms(inv, 0, list_of(10, "<target dev='vnet3'/>", true));
	assert_string_equal(hostd_inventory_find(inv, uuid)->nics.items[0].dev, "vnet5");
	hostd_inventory_set_vms(inv, 0, list_of(40, "<target dev='vnet5'/>", true));
	assert_string_equal(hostd_inventory_find(inv, uuid)->nics.items[0].dev, "vnet5");
	assert_string_equal(hostd_inventory_find(inv, uuid)->state, "running");
	hostd_inventory_free(inv);
}

/* The hook's word counts at once: the VM's devices may be another VM's a moment later. */
static void test_end_counts_at_once(void **state)
{
	struct hostd_inventory *inv = inventory_new();

	hostd_inventory_set_vms(inv, 0, list_of(1, "<target dev='vnet3'/>", true));
	hostd_inventory_ended(inv, uuid, 20);
	assert_false(hostd_inventory_find(inv, uuid)->running);
	hostd_inventory_set_vms(inv, 0, list_of(10, "<target dev='vnet3'/>", true));
	assert_false(hostd_inventory_find(inv, uuid)->running);
	hostd_inventory_expire(inv);
	hostd_inventory_set_vms(inv, 0, list_of(15, "<target dev='vnet3'/>", true));
	assert_false(hostd_inventory_find(inv, uuid)->running);
	/* without the hook, say: a later list knows better */
	hostd_inventory_set_vms(inv, 0, list_of(30, "<target dev='vnet3'/>", true));
	assert_true(hostd_inventory_find(inv, uuid)->running);
	hostd_inventory_expire(inv);
	hostd_inventory_free(inv);
}

/* While libvirt does not answer, a VM that the hook let go is not forgotten. */
static void test_birth_waits_for_libvirt(void **state)
{
	static const uint64_t s = 1000000000;
	struct hostd_inventory *inv = inventory_new();
	struct hostd_vm vm = vm_of("<target dev='vnet5'/>", true);

	hostd_inventory_set_vms(inv, 0, list_of(s, "", false));
	hostd_inventory_birth_add(inv, &vm, 2 * s);
	hostd_inventory_expire(inv);
	assert_true(hostd_inventory_find(inv, uuid)->running);
	hostd_inventory_set_vms(inv, 0, list_of(100 * s, "", false)); /* still starting */
	hostd_inventory_expire(inv);
	assert_true(hostd_inventory_find(inv, uuid)->running);
	hostd_inventory_set_vms(inv, 0, list_of(123 * s, "", false));
	hostd_inventory_expire(inv);
	assert_false(hostd_inventory_find(inv, uuid)->running);
	hostd_inventory_free(inv);
}

static int setup(void **state)
{
	return uv_loop_init(&loop) || hostd_links_new(&loop, no_news, NULL, &links, NULL) ||
	       bh_uuid_parse(UUID_TEXT, uuid);
}

static int teardown(void **state)
{
	hostd_links_free(links);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unread_stays_as_it_was),
		cmocka_unit_test(test_first_list_with_holes_is_not_complete),
		cmocka_unit_test(test_device_is_kept),
		cmocka_unit_test(test_late_list_does_not_end_a_birth),
		cmocka_unit_test(test_end_counts_at_once),
		cmocka_unit_test(test_birth_waits_for_libvirt),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
