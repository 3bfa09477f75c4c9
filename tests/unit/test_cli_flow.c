/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/flow.h"
#include "cli/text.h"

#include "base/json.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static int setup(void **state)
{
	cli_text_init();
	return setenv("TZ", "UTC", 1);
}

/* JSON with ' for ", so that it can be read here. */
static json_t *load(const char *text)
{
	BH_FREE char *copy = bh_strdup(text);
	json_t *json;

	for (char *p = copy; *p; p++) {
		*p = (char)(*p == '\'' ? '"' : *p);
	}
	json = json_loads(copy, 0, NULL);
	assert_non_null(json);
	return json;
}

static void check(const char *text, const char *line)
{
	struct cli_output out = {.now_ns = cli_time_parse("2026-11-25T12:30:00Z")};
	BH_JSON json_t *event = load(text);
	struct bh_wbuf w;

	assert_non_null(event);
	bh_wbuf_init(&w, 0);
	cli_event_format(&out, event, &w);
	assert_string_equal(bh_wbuf_cstr(&w), line);
	bh_wbuf_done(&w);
}

static void test_refused(void **state)
{
	check("{'time': '2026-11-25T12:00:01.123Z', 'host': 'h1', 'type': 'flow.refused', "
	      "'action': 'deny', 'proto': 'tcp', 'src': '10.78.0.14', 'sport': 41234, 'dst': "
	      "'10.78.0.12', 'dport': 3306, 'src_vm': 'rival/attacker', 'dst_vm': 'shop/db', "
	      "'rule': 17, 'rule_text': 'shop/db ingress[2] (examples/shop.yaml:34)', 'count': "
	      "12}",
	      "12:00:01 h1 ✗ refused tcp rival/attacker 10.78.0.14:41234 → shop/db "
	      "10.78.0.12:3306  by shop/db ingress[2] (examples/shop.yaml:34) ×12");
}

static void test_allowed_v6_without_names(void **state)
{
	check("{'time': '2026-11-24T12:00:01Z', 'host': 'h1', 'type': 'flow.new', "
	      "'action': 'allow', 'proto': 'udp', 'src': 'fd00::1', 'sport': 1, 'dst': "
	      "'fd00::2', 'dport': 53, 'rule': 20, 'count': 1}",
	      "2026-11-24 12:00:01 h1 ✓ allowed udp [fd00::1]:1 → [fd00::2]:53  by rule 20");
}

static void test_both_rules(void **state)
{
	check("{'time': '2026-11-25T12:00:01Z', 'host': 'h1', 'type': 'flow.new', "
	      "'proto': 'udp', 'src': '1.2.3.4', 'dst': '1.2.3.5', 'dst_vm': 'db', "
	      "'dst_tenant': 'shop', 'rule_text': 'a', 'other_rule_text': 'b'}",
	      "12:00:01 h1 ✓ allowed udp 1.2.3.4 → shop/db 1.2.3.5  by a and b");
}

static void test_closed(void **state)
{
	check("{'time': '2026-11-25T12:00:01Z', 'host': 'h1', 'type': 'flow.closed', "
	      "'proto': 'tcp', 'src': '1.2.3.4', 'sport': 1, 'dst': '1.2.3.5', 'dport': 2, "
	      "'packets': [3, 4], 'bytes': [300, 1700], 'duration_ms': 1500, 'count': 1}",
	      "12:00:01 h1 · closed tcp 1.2.3.4:1 → 1.2.3.5:2  7 packets, 2.0 kB, 1.5 s");
}

static void test_icmp_and_reject(void **state)
{
	check("{'time': '2026-11-25T12:00:01Z', 'host': 'h1', 'type': 'flow.refused', "
	      "'action': 'reject', 'proto': 'icmp', 'icmp_type': 8, 'src': '1.2.3.4', 'dst': "
	      "'1.2.3.5', 'reason': 'drop_reject'}",
	      "12:00:01 h1 ✗ rejected icmp/8 1.2.3.4 → 1.2.3.5  (drop_reject)");
}

static void test_guard(void **state)
{
	check("{'time': '2026-11-25T12:00:01Z', 'host': 'h1', 'type': 'guard.spoof-arp', "
	      "'vm_name': 'evil', 'ethertype': 2054, 'src': '1.2.3.4', 'dst_mac': "
	      "'ff:ff:ff:ff:ff:ff', 'reason': 'drop_spoof_arp', 'rule': 0}",
	      "12:00:01 h1 ✗ stopped spoof-arp arp evil 1.2.3.4 → ff:ff:ff:ff:ff:ff  "
	      "(drop_spoof_arp)");
	check("{'time': '2026-11-25T12:00:01Z', 'host': 'h1', 'type': 'guard.spoof-ip4', "
	      "'vm_name': 'evil', 'src_vm': 'web', 'src': '1.2.3.4', 'proto': 'tcp', 'sport': 1, "
	      "'dst_vm': 'db', 'dst': '1.2.3.5', 'dport': 2, 'reason': 'drop_spoof_ip4'}",
	      "12:00:01 h1 ✗ stopped spoof-ip4 tcp evil as web 1.2.3.4:1 → db 1.2.3.5:2  "
	      "(drop_spoof_ip4)");
	check("{'time': '2026-11-25T12:00:01Z', 'host': 'h1', 'type': 'guard.rogue-dhcp', "
	      "'vm_name': 'evil', 'src_vm': 'evil', 'src': '1.2.3.4', 'proto': 'udp', 'sport': 67, "
	      "'dst': '1.2.3.5', 'dport': 68, 'reason': 'drop_rogue_dhcp'}",
	      "12:00:01 h1 ✗ stopped rogue-dhcp udp evil 1.2.3.4:67 → 1.2.3.5:68  "
	      "(drop_rogue_dhcp)");
}

static void test_other(void **state)
{
	check("{'v': 1, 'id': 5, 'producer': 'manager', 'time': '2026-11-25T12:00:01Z', "
	      "'type': 'host.offline', 'severity': 'critical', 'name': 'h 2', 'left': null}",
	      "12:00:01 manager critical host.offline  name=\"h 2\"");
	check("{}", "1970-01-01 00:00:00 - info ?");
}

/* A name from a guest must not steer the terminal. */
static void test_hostile(void **state)
{
	check("{'time': '2026-11-25T12:00:01Z', 'host': 'h1\\n', 'type': 'flow.new', "
	      "'src_vm': '\\u001b[2J', 'proto': 5, 'src': 7, 'dst': null}",
	      "12:00:01 h1\\x0a ✓ allowed 5 \\x1b[2J ? → ?");
}

static bool matches(const char *port, const char *address, const char *text)
{
	struct cli_flow_filter filter = {.address = address};
	BH_JSON json_t *event = load(text);

	if (port) {
		assert_int_equal(cli_flow_filter_port(&filter, port), 0);
	}
	return cli_flow_filter_match(&filter, event);
}

static void test_filter(void **state)
{
	static const char flow[] =
		"{'proto': 'tcp', 'src': '1.2.3.4', 'dst': '1.2.3.5', 'sport': 999, 'dport': "
		"3306}";
	static const char ping[] = "{'proto': 'icmp', 'icmp_type': 8, 'src': '1.2.3.4'}";
	struct cli_flow_filter filter = {};

	assert_true(matches(NULL, NULL, flow));
	assert_true(matches("tcp/3306", NULL, flow));
	assert_true(matches("3306", NULL, flow));
	assert_true(matches("tcp", "1.2.3.5", flow));
	assert_false(matches("udp/3306", NULL, flow));
	assert_false(matches("tcp/3307", NULL, flow));
	assert_false(matches("tcp", "1.2.3.6", flow));
	assert_true(matches("icmp", NULL, ping));
	assert_true(matches("icmp/8", NULL, ping));
	assert_false(matches("icmp/0", NULL, ping));
	assert_int_equal(cli_flow_filter_port(&filter, "tcp/70000"), -EINVAL);
	assert_int_equal(cli_flow_filter_port(&filter, "zebra"), -EINVAL);
	assert_int_equal(cli_flow_filter_port(&filter, "/80"), -EINVAL);
	assert_int_equal(cli_flow_filter_port(&filter, ""), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_allowed_v6_without_names),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_both_rules),
		cmocka_unit_test(test_icmp_and_reject),
		cmocka_unit_test(test_guard),
		cmocka_unit_test(test_other),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_filter),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
