/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt as a platform, on libvirt's own test driver. The linker puts this file between hostd and
 * the calls named below (--wrap), so that each of them can be made to fail.
 */
#include "base/file.h"
#include "host/platform/platform.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

#define WAIT_MS 15000

static const char node[] =
	"<node><network><name>natnet</name><uuid>00000000-0000-4000-9000-0000000000a1</uuid>"
	"<forward mode='nat'/><bridge name='virbr9'/>"
	"<ip address='192.168.9.1' netmask='255.255.255.0'><dhcp>"
	"<host mac='52:54:00:00:00:01' ip='192.168.9.11'/></dhcp></ip></network>"
	"<domain type='test'><name>web</name><uuid>00000000-0000-4000-9000-000000000001</uuid>"
	"<memory>1024</memory><os><type>hvm</type></os><devices><interface type='network'>"
	"<mac address='52:54:00:00:00:01'/><source network='natnet'/></interface></devices>"
	"</domain></node>";

enum call {
	NONE,
	ALL_NETWORKS,
	NETWORK_XML,
	NETWORK_ACTIVE,
	DOMAIN_STATE,
	DOMAIN_ACTIVE,
	DOMAIN_XML
};
static atomic_int failing;
static atomic_bool failed; /* it was called since */

static struct world {
	uv_loop_t loop;
	uv_timer_t alarm;
	bool late;
	struct hostd_platform *platform;
	struct hostd_network_list *nets;
	struct hostd_vm_list *vms;
	unsigned int downs;
	/* as registered for the lifecycle of domains */
	virConnectPtr conn;
	virConnectDomainEventCallback lifecycle;
	void *lifecycle_arg;
	unsigned int events;
	enum hostd_vm_event event;
	enum hostd_vm_detail detail;
} w;

static bool fails(enum call call)
{
	if (atomic_load(&failing) == (int)call) {
		atomic_store(&failed, true);
		return true;
	}
	return false;
}

int __real_virConnectListAllNetworks(virConnectPtr c, virNetworkPtr **nets, unsigned int flags);
int __wrap_virConnectListAllNetworks(virConnectPtr c, virNetworkPtr **nets, unsigned int flags);
int __wrap_virConnectListAllNetworks(virConnectPtr c, virNetworkPtr **nets, unsigned int flags)
{
	return fails(ALL_NETWORKS) ? -1 : __real_virConnectListAllNetworks(c, nets, flags);
}

char *__real_virNetworkGetXMLDesc(virNetworkPtr net, unsigned int flags);
char *__wrap_virNetworkGetXMLDesc(virNetworkPtr net, unsigned int flags);
char *__wrap_virNetworkGetXMLDesc(virNetworkPtr net, unsigned int flags)
{
	return fails(NETWORK_XML) ? NULL : __real_virNetworkGetXMLDesc(net, flags);
}

int __real_virNetworkIsActive(virNetworkPtr net);
int __wrap_virNetworkIsActive(virNetworkPtr net);
int __wrap_virNetworkIsActive(virNetworkPtr net)
{
	return fails(NETWORK_ACTIVE) ? -1 : __real_virNetworkIsActive(net);
}

int __real_virDomainGetState(virDomainPtr d, int *state, int *reason, unsigned int flags);
int __wrap_virDomainGetState(virDomainPtr d, int *state, int *reason, unsigned int flags);
int __wrap_virDomainGetState(virDomainPtr d, int *state, int *reason, unsigned int flags)
{
	return fails(DOMAIN_STATE) ? -1 : __real_virDomainGetState(d, state, reason, flags);
}

int __real_virDomainIsActive(virDomainPtr d);
int __wrap_virDomainIsActive(virDomainPtr d);
int __wrap_virDomainIsActive(virDomainPtr d)
{
	return fails(DOMAIN_ACTIVE) ? -1 : __real_virDomainIsActive(d);
}

char *__real_virDomainGetXMLDesc(virDomainPtr d, unsigned int flags);
char *__wrap_virDomainGetXMLDesc(virDomainPtr d, unsigned int flags);
char *__wrap_virDomainGetXMLDesc(virDomainPtr d, unsigned int flags)
{
	return fails(DOMAIN_XML) ? NULL : __real_virDomainGetXMLDesc(d, flags);
}

int __real_virConnectDomainEventRegisterAny(virConnectPtr c, virDomainPtr d, int id,
					    virConnectDomainEventGenericCallback fn, void *arg,
					    virFreeCallback done);
int __wrap_virConnectDomainEventRegisterAny(virConnectPtr c, virDomainPtr d, int id,
					    virConnectDomainEventGenericCallback fn, void *arg,
					    virFreeCallback done);
int __wrap_virConnectDomainEventRegisterAny(virConnectPtr c, virDomainPtr d, int id,
					    virConnectDomainEventGenericCallback fn, void *arg,
					    virFreeCallback done)
{
	if (id == VIR_DOMAIN_EVENT_ID_LIFECYCLE) {
		w.conn = c;
		w.lifecycle = (virConnectDomainEventCallback)(void (*)(void))fn;
		w.lifecycle_arg = arg;
	}
	return __real_virConnectDomainEventRegisterAny(c, d, id, fn, arg, done);
}

static void on_event(const uint8_t uuid[16], enum hostd_vm_event event, enum hostd_vm_detail detail,
		     void *arg)
{
	uint8_t want[16];

	assert_int_equal(bh_uuid_parse("00000000-0000-4000-9000-000000000001", want), 0);
	assert_memory_equal(uuid, want, sizeof(want));
	w.events++;
	w.event = event;
	w.detail = detail;
}

static void on_networks(struct hostd_network_list *list, int source, void *arg)
{
	hostd_network_list_free(w.nets);
	w.nets = list;
}

static void on_vms(struct hostd_vm_list *list, int source, void *arg)
{
	hostd_vm_list_free(w.vms);
	w.vms = list;
}

static void on_link(bool up, const char *text, int source, void *arg)
{
	w.downs += !up;
}

static void on_alarm(uv_timer_t *timer)
{
	w.late = true;
}

/* The next list of VMs. The one of networks is there before it. */
static void wait_for_list(void)
{
	hostd_vm_list_free(w.vms);
	w.vms = NULL;
	w.late = false;
	uv_timer_start(&w.alarm, on_alarm, WAIT_MS, 0);
	hostd_platform_refresh(w.platform);
	while (!w.vms && !w.late) {
		uv_run(&w.loop, UV_RUN_ONCE);
	}
	uv_timer_stop(&w.alarm);
	assert_false(w.late);
}

static void expect_whole(void)
{
	assert_int_equal(w.nets->nets.count, 1);
	assert_int_equal(w.nets->unread.count, 0);
	assert_string_equal(w.nets->nets.items[0].name, "natnet");
	assert_true(w.nets->nets.items[0].active);
	assert_int_equal(w.vms->vms.count, 1);
	assert_int_equal(w.vms->unread.count, 0);
	assert_true(w.vms->vms.items[0].running);
}

static void test_whole(void **state)
{
	wait_for_list();
	expect_whole();
	assert_true(w.vms->begun_ns != 0);
}

/* A call that fails says nothing about what it was about. */
static void test_failing_calls(void **state)
{
	static const struct {
		enum call call;
		bool net, vm; /* unread */
	} cases[] = {{NETWORK_XML, true, false},  {NETWORK_ACTIVE, true, false},
		     {DOMAIN_STATE, false, true}, {DOMAIN_ACTIVE, false, true},
		     {DOMAIN_XML, false, true},	  {ALL_NETWORKS, false, false}};

	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		atomic_store(&failed, false);
		atomic_store(&failing, (int)cases[i].call);
		while (!atomic_load(&failed)) {
			wait_for_list();
		}
		wait_for_list(); /* a whole round of failing */
		assert_int_equal(w.nets->nets.count, cases[i].net ? 0 : 1);
		assert_int_equal(w.nets->unread.count, cases[i].net ? 1 : 0);
		assert_int_equal(w.vms->vms.count, cases[i].vm ? 0 : 1);
		assert_int_equal(w.vms->unread.count, cases[i].vm ? 1 : 0);
		if (cases[i].vm) {
			assert_true(w.vms->unread.items[0].unanswered);
		}
		assert_int_equal(w.downs, 0);
		atomic_store(&failing, NONE);
		/* nobody asks: it tries again on its own, soon */
		wait_for_list();
		wait_for_list();
		expect_whole();
	}
}

/* What libvirt says of a VM's run comes on without waiting for a list, and in order. */
static void test_events(void **state)
{
	static const struct {
		int event, detail;
		enum hostd_vm_event want;
		enum hostd_vm_detail want_detail;
	} cases[] = {
		{VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_MIGRATED, HOSTD_VM_STARTED,
		 HOSTD_DETAIL_MIGRATED},
		{VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_RESTORED, HOSTD_VM_STARTED,
		 HOSTD_DETAIL_RESTORED},
		{VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED,
		 HOSTD_VM_SUSPENDED, HOSTD_DETAIL_MIGRATED},
		{VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY,
		 HOSTD_VM_SUSPENDED, HOSTD_DETAIL_MIGRATED},
		{VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED, HOSTD_VM_SUSPENDED,
		 HOSTD_DETAIL_OTHER},
		{VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_MIGRATED, HOSTD_VM_RESUMED,
		 HOSTD_DETAIL_MIGRATED},
		{VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT, HOSTD_VM_RESUMED,
		 HOSTD_DETAIL_SNAPSHOT},
		{VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SAVED, HOSTD_VM_STOPPED,
		 HOSTD_DETAIL_SAVED},
		{VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_FAILED, HOSTD_VM_STOPPED,
		 HOSTD_DETAIL_FAILED},
	};
	virDomainPtr domain =
		virDomainLookupByUUIDString(w.conn, "00000000-0000-4000-9000-000000000001");

	assert_non_null(domain);
	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		w.events = 0;
		w.lifecycle(w.conn, domain, cases[i].event, cases[i].detail, w.lifecycle_arg);
		w.lifecycle(w.conn, domain, VIR_DOMAIN_EVENT_UNDEFINED, 0, w.lifecycle_arg);
		while (!w.events) {
			uv_run(&w.loop, UV_RUN_ONCE);
		}
		assert_int_equal(w.events, 1);
		assert_int_equal(w.event, cases[i].want);
		assert_int_equal(w.detail, cases[i].want_detail);
	}
	virDomainFree(domain);
	wait_for_list();
}

static int setup(void **state)
{
	static char path[] = "/tmp/test_hostd_libvirt.XXXXXX";
	static char uri[64];
	static const struct hostd_platform_handlers handlers = {
		.networks = on_networks, .vms = on_vms, .link = on_link, .event = on_event};
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, node, strlen(node)) != (ssize_t)strlen(node)) {
		return -1;
	}
	close(fd);
	*state = path;
	snprintf(uri, sizeof(uri), "test://%s", path);
	if (uv_loop_init(&w.loop) || uv_timer_init(&w.loop, &w.alarm) || hostd_libvirt_init(NULL)) {
		return -1;
	}
	return hostd_libvirt_new(&w.loop, uri, &handlers, &w.platform, NULL);
}

static int teardown(void **state)
{
	hostd_platform_free(w.platform);
	uv_close((uv_handle_t *)&w.alarm, NULL);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	hostd_network_list_free(w.nets);
	hostd_vm_list_free(w.vms);
	unlink(*state);
	return uv_loop_close(&w.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_failing_calls),
		cmocka_unit_test(test_events),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
