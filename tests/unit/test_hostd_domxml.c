/* SPDX-License-Identifier: Apache-2.0 */
/* Domain and network XML: what is read, what is refused, and every truncation of valid input. */
#include "bpf/abi.h"
#include "host/platform/domxml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char web[] =
	"<domain type='kvm' id='3'>\n"
	"<name>web</name><uuid>00000000-0000-4000-9000-000000000001</uuid>\n"
	"<metadata>"
	"<other:x xmlns:other='urn:x'><other:label key='role' value='fake'/></other:x>"
	"<bulkhead:vm xmlns:bulkhead='https://bulkhead.dev/xml/1' tenant='shop' birth='open'>"
	"<bulkhead:label key='role' value='web'/><bulkhead:label key='env' value=''/>"
	"<bulkhead:nic mac='52:54:00:00:00:01' router='yes' vlans='10, 20.30'>"
	"<bulkhead:address> 10.78.0.11 </bulkhead:address>"
	"<bulkhead:address>fd00::11</bulkhead:address></bulkhead:nic>"
	"</bulkhead:vm></metadata>\n"
	"<devices>"
	"<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
	"<target dev='tap-web'/><filterref filter='clean-traffic'>"
	"<parameter name='IP' value='10.78.0.12'/></filterref></interface>"
	"<interface type='network'><mac address='52:54:00:00:00:02'/>"
	"<source network='default' bridge='virbr0'/><target dev='vnet1'/>"
	"<ip address='192.168.122.9' family='ipv4' prefix='24'/></interface>"
	"<interface type='direct'><mac address='52:54:00:00:00:03'/>"
	"<source dev='eth0' mode='bridge'/><target dev='macvtap0'/></interface>"
	"<interface type='bridge'><mac address='52:54:00:00:00:04'/><source bridge='ovs0'/>"
	"<virtualport type='openvswitch'/></interface>"
	"</devices></domain>";

static void check_web(const struct hostd_vm *vm)
{
	const struct hostd_nic *nic = &vm->nics.items[0];
	char text[BH_ADDR_TEXT_SIZE];

	assert_string_equal(vm->name, "web");
	assert_string_equal(vm->type, "kvm");
	assert_string_equal(vm->tenant, "shop");
	assert_string_equal(vm->problem, "");
	assert_true(vm->birth_open);
	assert_int_equal(vm->labels.count, 2);
	assert_string_equal(vm->labels.items[0].key, "role");
	assert_string_equal(vm->labels.items[0].value, "web");
	assert_int_equal(vm->nics.count, 4);
	assert_int_equal(nic->kind, HOSTD_NIC_BRIDGE);
	assert_string_equal(nic->source, "br0");
	assert_string_equal(nic->dev, "tap-web");
	assert_int_equal(nic->flags, BH_NIC_ROUTER);
	assert_true(nic->filtered);
	assert_int_equal(nic->vlans.count, 2);
	assert_int_equal(nic->vlans.items[0], 10 << 16);
	assert_int_equal(nic->vlans.items[1], 20 << 16 | 30);
	assert_int_equal(nic->addrs.count, 3);
	bh_addr_format(nic->addrs.items[0].bytes, text);
	assert_string_equal(text, "10.78.0.12");
	nic++;
	assert_int_equal(nic->kind, HOSTD_NIC_NETWORK);
	assert_string_equal(nic->source, "default");
	assert_string_equal(nic->bridge, "virbr0");
	assert_int_equal(nic->addrs.count, 1);
	nic++;
	assert_int_equal(nic->kind, HOSTD_NIC_DIRECT);
	nic++;
	assert_true(nic->openvswitch);
}

static void test_domain(void **state)
{
	struct hostd_vm vm;
	struct bh_diag diag = {};

	assert_int_equal(hostd_domxml_parse(web, strlen(web), &vm, &diag), 0);
	check_web(&vm);
	hostd_vm_done(&vm);
}

/* No prefix of a valid document is one; none may crash or be taken for a VM. */
static void test_truncations(void **state)
{
	for (size_t n = 0; n < strlen(web); n++) {
		BH_FREE char *part = bh_memdup(web, n + 1); /* exact size: overreads show */
		struct hostd_vm vm;
		struct bh_diag diag = {};

		part[n] = '\0';
		assert_int_equal(hostd_domxml_parse(part, n, &vm, &diag), -EBADMSG);
		assert_string_not_equal(diag.text, "");
		hostd_vm_done(&vm);
	}
}

static void test_reduced_says_the_same(void **state)
{
	BH_FREE char *reduced = NULL;
	struct hostd_vm vm;
	struct bh_diag diag = {};

	assert_int_equal(hostd_domxml_reduce(web, strlen(web), &reduced, &diag), 0);
	assert_null(strstr(reduced, "urn:x"));
	assert_int_equal(hostd_domxml_parse(reduced, strlen(reduced), &vm, &diag), 0);
	check_web(&vm);
	hostd_vm_done(&vm);
}

/* The mark says which state of the VM this is, also in what the hook sends; what makes no sense is
 * no mark. */
static void test_mark(void **state)
{
	static const struct {
		const char *mark;
		uint64_t generation;
		bool live;
	} marks[] = {
		{"<b:state xmlns:b='https://bulkhead.dev/xml/state/1' generation='7' live='yes'/>",
		 7, true},
		{"<b:state xmlns:b='https://bulkhead.dev/xml/state/1' generation='8' live='no'/>",
		 8, false},
		{"<b:state xmlns:b='https://bulkhead.dev/xml/1' generation='7' live='yes'/>", 0,
		 false},
		{"<b:state xmlns:b='https://bulkhead.dev/xml/state/1' live='yes'/>", 0, false},
		{"<b:state xmlns:b='https://bulkhead.dev/xml/state/1' generation='-1' "
		 "live='yes'/>",
		 0, false},
		{"<b:state xmlns:b='https://bulkhead.dev/xml/state/1' "
		 "generation='99999999999999999999999999999999999' live='yes'/>",
		 0, false},
		{"", 0, false},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(marks); i++) {
		BH_FREE char *xml =
			bh_asprintf("<domain type='kvm'><name>x</name>"
				    "<uuid>00000000-0000-4000-9000-000000000001</uuid><metadata>%s"
				    "<b:vm xmlns:b='https://bulkhead.dev/xml/1' tenant='shop'/>"
				    "</metadata></domain>",
				    marks[i].mark);
		BH_FREE char *reduced = NULL;
		struct hostd_vm vm;

		assert_int_equal(hostd_domxml_reduce(xml, strlen(xml), &reduced, NULL), 0);
		assert_int_equal(hostd_domxml_parse(reduced, strlen(reduced), &vm, NULL), 0);
		assert_int_equal(vm.generation, marks[i].generation);
		assert_int_equal(vm.mark_live, marks[i].live);
		assert_string_equal(vm.tenant, "shop");
		assert_string_equal(vm.problem, "");
		hostd_vm_done(&vm);
	}
}

/* What the hook tells people to set says all that was there. */
static void test_open_keeps_everything(void **state)
{
	static const char meta[] =
		"<bulkhead:vm xmlns:bulkhead='https://bulkhead.dev/xml/1' tenant='shop'>"
		"<!-- x --> <bulkhead:label key='role' value=\"it's &lt;&amp;\"/>\n"
		"<bulkhead:nic mac='52:54:00:00:00:01' vlans='10'>"
		"<bulkhead:address> 10.78.0.11 </bulkhead:address></bulkhead:nic></bulkhead:vm>";
	static const char *const wrong[] = {
		"<b:vm xmlns:b='https://bulkhead.dev/xml/1'><x:y xmlns:x='urn:x'/></b:vm>",
		"<b:vm xmlns:b='https://bulkhead.dev/xml/1' xmlns:x='urn:x' x:y='1'/>",
	};
	BH_FREE char *xml = bh_asprintf("<domain><metadata>%s</metadata></domain>", meta);
	BH_FREE char *element = NULL;
	BH_FREE char *none = NULL;

	assert_int_equal(hostd_domxml_open(xml, strlen(xml), &element, NULL), 0);
	assert_string_equal(element, "<vm tenant=\"shop\" birth=\"open\">"
				     "<label key=\"role\" value=\"it&apos;s &lt;&amp;\"/>"
				     "<nic mac=\"52:54:00:00:00:01\" vlans=\"10\">"
				     "<address>10.78.0.11</address></nic></vm>");
	assert_int_equal(hostd_domxml_open("<domain/>", 9, &none, NULL), 0);
	assert_string_equal(none, "<vm birth=\"open\"/>");
	for (size_t i = 0; i < BH_ARRAY_SIZE(wrong); i++) {
		BH_FREE char *other =
			bh_asprintf("<domain><metadata>%s</metadata></domain>", wrong[i]);
		BH_FREE char *nothing = NULL;

		assert_int_equal(hostd_domxml_open(other, strlen(other), &nothing, NULL), 0);
		assert_null(nothing);
	}
}

static void expect_error(const char *xml, size_t size, int err)
{
	struct hostd_vm vm;
	struct bh_diag diag = {};

	assert_int_equal(hostd_domxml_parse(xml, size, &vm, &diag), err);
	assert_string_not_equal(diag.text, "");
	hostd_vm_done(&vm);
}

static void test_hostile(void **state)
{
	static const char entity[] =
		"<!DOCTYPE d [<!ENTITY a 'x'>]><domain><name>&a;</name></domain>";
	static const char file[] = "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
				   "<domain><name>&a;</name></domain>";
	BH_FREE char *big = bh_alloc(HOSTD_XML_MAX + 2);
	BH_FREE char *deep = bh_alloc(30000 * 3 + 1);

	expect_error(entity, strlen(entity), -EBADMSG);
	expect_error(file, strlen(file), -EBADMSG);
	memset(big, ' ', HOSTD_XML_MAX + 1);
	expect_error(big, HOSTD_XML_MAX + 1, -EMSGSIZE);
	for (size_t i = 0; i < 30000; i++) {
		memcpy(deep + i * 3, "<a>", 3);
	}
	expect_error(deep, 30000 * 3, -EBADMSG);
	expect_error("<network/>", 10, -EBADMSG);
	expect_error("", 0, -EBADMSG);
}

/* Wrong metadata is left out and told; the VM itself stays known. */
static void test_wrong_metadata(void **state)
{
	static const char *const bodies[] = {
		"<b:label key='bad key' value='x'/>",
		"<b:label key='bulkhead/x' value='x'/>",
		"<b:label key='a' value='1'/><b:label key='a' value='2'/>",
		"<b:nic mac='52:54:00:00:00:99'/>",
		"<b:nic mac='52:54:00:00:00:01' vlans='5000'/>",
		"<b:nic mac='52:54:00:00:00:01'><b:address>10.0.0.300</b:address></b:nic>",
		"<b:nic mac='52:54:00:00:00:01'><b:address>224.0.0.1</b:address></b:nic>",
		"<b:nic mac='junk'/>",
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(bodies); i++) {
		BH_FREE char *xml = bh_asprintf(
			"<domain type='qemu'><name>x</name>"
			"<uuid>00000000-0000-4000-9000-000000000001</uuid><metadata>"
			"<b:vm xmlns:b='https://bulkhead.dev/xml/1' tenant='t'>%s</b:vm></metadata>"
			"<devices><interface type='bridge'><mac address='52:54:00:00:00:01'/>"
			"<source bridge='br0'/></interface></devices></domain>",
			bodies[i]);
		struct hostd_vm vm;
		struct bh_diag diag = {};

		assert_int_equal(hostd_domxml_parse(xml, strlen(xml), &vm, &diag), 0);
		assert_string_not_equal(vm.problem, "");
		assert_string_equal(vm.tenant, "t");
		assert_int_equal(vm.nics.items[0].addrs.count, 0);
		hostd_vm_done(&vm);
	}
}

static void read_nic_meta(const char *attrs, struct hostd_vm *ret_vm)
{
	BH_FREE char *xml = bh_asprintf(
		"<domain type='qemu'><name>x</name>"
		"<uuid>00000000-0000-4000-9000-000000000001</uuid><metadata>"
		"<b:vm xmlns:b='https://bulkhead.dev/xml/1'>"
		"<b:nic mac='52:54:00:00:00:01' %s/></b:vm></metadata><devices>"
		"<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
		"</interface></devices></domain>",
		attrs);

	assert_int_equal(hostd_domxml_parse(xml, strlen(xml), ret_vm, NULL), 0);
}

/* A setting that can't be read is a problem of its NIC, never a setting that is not there. */
static void test_nic_settings(void **state)
{
	static const struct {
		const char *attrs;
		bool good, any;
		size_t vlans;
	} cases[] = {
		{"vlans='*'", true, true, 0},	      {"vlans='10,20.30 40'", true, false, 3},
		{"vlans=''", true, false, 0},	      {"vlans='10, *'", true, true, 1},
		{"vlans='0'", false, false, 0},	      {"vlans='4095'", false, false, 0},
		{"vlans='10, x'", false, false, 1},   {"vlans='10.'", false, false, 0},
		{"vlans='10.4095'", false, false, 0}, {"vlans='**'", false, false, 0},
		{"vlans='1-4'", false, false, 0},     {"vlans='-1'", false, false, 0},
		{"vlans='1.2.3'", false, false, 0},   {"router='true'", false, false, 0},
		{"dhcp-server='no'", true, false, 0},
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		struct hostd_vm vm;
		const struct hostd_nic *nic;

		read_nic_meta(cases[i].attrs, &vm);
		nic = &vm.nics.items[0];
		if ((*nic->problem == '\0') != cases[i].good || nic->any_vlan != cases[i].any ||
		    nic->vlans.count != cases[i].vlans || nic->flags) {
			fail_msg("%s: '%s', %zu tags", cases[i].attrs, nic->problem,
				 nic->vlans.count);
		}
		hostd_vm_done(&vm);
	}
}

/* A text that is cut to fit into a message stays UTF-8: JSON would refuse all of it. */
static void test_cut_text(void **state)
{
	struct {
		const char *text, *mended;
	} texts[] = {{"a\xc3", "a?"},
		     {"\xe2\x82", "??"},
		     {"\xe2\x82\xac", "\xe2\x82\xac"},
		     {"\xc0\xaf", "??"},
		     {"\xed\xa0\x80", "???"},
		     {"\xf0\x9f\x98", "???"},
		     {"\xf4\x90\x80\x80", "????"},
		     {"\xff x", "? x"},
		     {"", ""}};
	struct hostd_vm vm;

	for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
		BH_FREE char *text = bh_strdup(texts[i].text);

		assert_string_equal(hostd_text_mend(text), texts[i].mended);
	}
	read_nic_meta("vlans='x\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc"
		      "\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc"
		      "\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc'",
		      &vm);
	assert_non_null(strstr(vm.nics.items[0].problem, "\u00fc?' is not a VLAN tag"));
	assert_string_equal(vm.problem, vm.nics.items[0].problem);
	hostd_vm_done(&vm);
}

static void test_same_mac_twice(void **state)
{
	static const char xml[] =
		"<domain type='qemu'><name>x</name>"
		"<uuid>00000000-0000-4000-9000-000000000001</uuid>"
		"<devices><interface type='bridge'><mac address='52:54:00:00:00:01'/>"
		"<source bridge='br0'/></interface>"
		"<interface type='bridge'><mac address='52:54:00:00:00:01'/>"
		"<source bridge='br1'/></interface></devices></domain>";
	struct hostd_vm vm;
	struct bh_diag diag = {};

	assert_int_equal(hostd_domxml_parse(xml, strlen(xml), &vm, &diag), 0);
	assert_int_equal(vm.nics.count, 1);
	assert_string_not_equal(vm.problem, "");
	assert_string_not_equal(vm.nics.items[0].problem, ""); /* the other can't be shown */
	hostd_vm_done(&vm);
}

/* libvirt-lxc at `start begin`. */
static void test_container(void **state)
{
	static const char xml[] =
		"<domain type='lxc'><name>c</name><uuid>00000000-0000-4000-9000-0000000000c1</uuid>"
		"<devices><interface type='network'><mac address='52:54:00:00:0c:01'/>"
		"<source network='natnet'/><guest dev='eth0' actual='vnet3'/></interface>"
		"</devices></domain>";
	struct hostd_vm vm;
	struct bh_diag diag = {};

	assert_int_equal(hostd_domxml_parse(xml, strlen(xml), &vm, &diag), 0);
	assert_string_equal(vm.type, "lxc");
	assert_string_equal(vm.nics.items[0].dev, "");
	assert_string_equal(vm.nics.items[0].guest_dev, "vnet3");
	hostd_vm_done(&vm);
}

static void test_network(void **state)
{
	static const char nat[] =
		"<network><name>default</name><forward mode='nat'/><bridge name='virbr0'/>"
		"<ip address='192.168.122.1' netmask='255.255.255.0'><dhcp>"
		"<range start='192.168.122.2' end='192.168.122.254'/>"
		"<host mac='52:54:00:00:00:01' ip='192.168.122.11'/><host name='x' ip='1.2.3.4'/>"
		"</dhcp></ip></network>";
	static const char bridged[] = "<network><name>lan</name><forward mode='bridge'/>"
				      "<bridge name='br0'/></network>";
	static const char isolated[] = "<network><name>i</name><bridge name='virbr1'/></network>";
	struct hostd_network net;
	struct bh_diag diag = {};

	assert_int_equal(hostd_netxml_parse(nat, strlen(nat), &net, &diag), 0);
	assert_true(net.managed);
	assert_string_equal(net.bridge, "virbr0");
	assert_int_equal(net.hosts.count, 1);
	hostd_network_done(&net);
	assert_int_equal(hostd_netxml_parse(bridged, strlen(bridged), &net, &diag), 0);
	assert_false(net.managed);
	hostd_network_done(&net);
	assert_int_equal(hostd_netxml_parse(isolated, strlen(isolated), &net, &diag), 0);
	assert_true(net.managed);
	hostd_network_done(&net);
	for (size_t n = 0; n < strlen(nat); n++) {
		assert_int_equal(hostd_netxml_parse(nat, n, &net, &diag), -EBADMSG);
		hostd_network_done(&net);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domain),
		cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_reduced_says_the_same),
		cmocka_unit_test(test_mark),
		cmocka_unit_test(test_open_keeps_everything),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_wrong_metadata),
		cmocka_unit_test(test_nic_settings),
		cmocka_unit_test(test_cut_text),
		cmocka_unit_test(test_same_mac_twice),
		cmocka_unit_test(test_container),
		cmocka_unit_test(test_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
