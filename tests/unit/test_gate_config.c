/* SPDX-License-Identifier: Apache-2.0 */
/* gate/config: defaults, Suricata's spellings, mistakes. */
#include "base/util.h"
#include "gate/config.h"
#include "gate/gate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *group(const struct gate_config *config, const char *name, bool ports)
{
	bh_vec_foreach (g, &config->groups) {
		if (g->ports == ports && !strcmp(g->name, name)) {
			return g->value;
		}
	}
	return NULL;
}

static void test_defaults(void **state)
{
	struct gate_config c;

	assert_int_equal(gate_config_load(NULL, &c, NULL), 0);
	assert_string_equal(group(&c, "HOME_NET", false),
			    "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]");
	assert_string_equal(group(&c, "EXTERNAL_NET", false), "!$HOME_NET");
	assert_string_equal(group(&c, "HTTP_PORTS", true), "80");
	assert_null(group(&c, "HTTP_PORTS", false));
	assert_true(c.check_checksums);
	assert_false(c.stream_inline);
	assert_int_equal(c.stream_depth, 1 << 20);
	assert_int_equal(c.http_response_body_limit, 100 << 10);
	assert_string_equal(c.urgent_policy, "oob");
	assert_int_equal(c.eve_types, 0);
	gate_config_done(&c);
}

static void test_set(void **state)
{
	struct gate_config c;

	assert_int_equal(gate_config_load(NULL, &c, NULL), 0);
	assert_int_equal(gate_config_set(&c, "stream.inline=true", NULL), 0);
	assert_true(c.stream_inline);
	assert_int_equal(gate_config_set(&c, "stream.inline=no", NULL), 0);
	assert_false(c.stream_inline);
	c.simulate_ips = true;
	assert_int_equal(gate_config_set(&c, "stream.inline=auto", NULL), 0);
	assert_true(c.stream_inline);
	assert_int_equal(gate_config_set(&c, "flow.hash-size=1", NULL), 0);
	assert_int_equal(c.flow_hash_size, 1);
	assert_int_equal(gate_config_set(&c, "app-layer.protocols.sip.enabled=no", NULL), 0);
	assert_int_equal(c.app_disabled, 1u << GATE_APP_SIP);
	assert_int_equal(gate_config_set(&c, "app-layer.protocols.sip.enabled=yes", NULL), 0);
	assert_int_equal(c.app_disabled, 0);
	assert_int_equal(
		gate_config_set(&c, "app-layer.protocols.tls.encryption-handling=bypass", NULL), 0);
	assert_string_equal(c.encryption_handling, "bypass");
	assert_int_equal(
		gate_config_set(&c, "app-layer.protocols.ssh.encryption-handling=full", NULL), 0);
	assert_string_equal(c.ssh_encryption_handling, "full");
	assert_int_equal(gate_config_set(&c,
					 "app-layer.protocols.http.libhtp.default-config."
					 "response-body-decompress-layer-limit=3",
					 NULL),
			 0);
	assert_int_equal(c.http_decompress_layers, 3);
	assert_int_equal(gate_config_set(&c, "vars.address-groups.HOME_NET=[10.0.0.0/8]", NULL), 0);
	assert_string_equal(group(&c, "HOME_NET", false), "[10.0.0.0/8]");
	assert_int_equal(gate_config_set(&c,
					 "app-layer.protocols.smtp.mime.extract-urls-schemes.0=ftp",
					 NULL),
			 0);
	assert_int_equal(c.smtp_url_schemes, 1u << 2);
	assert_int_equal(gate_config_set(&c, "eve.types.0=ftp_data", NULL), 0);
	assert_int_equal(c.eve_types, 1u << GATE_EVE_FTP_DATA);
	assert_int_equal(gate_config_set(&c, "threshold-file=/x/y=z", NULL), 0);
	assert_string_equal(c.threshold_file, "/x/y=z");
	assert_int_equal(gate_config_set(&c, "reputation-files.0=a.list", NULL), 0);
	assert_int_equal(gate_config_set(&c, "reputation-files=b.list, c.list", NULL), 0);
	assert_int_equal(c.reputation_files.count, 3);
	assert_string_equal(c.reputation_files.items[2], "c.list");
	assert_int_equal(gate_config_set(&c, "mpm-algo=ac", NULL), 0);
	assert_int_equal(gate_config_set(&c, "outputs.1.fast.enabled=no", NULL), 0);
	assert_int_equal(gate_config_set(&c, "app-layer.protocols.modbus.memcap=1gb", NULL), 0);
	assert_int_equal(gate_config_set(&c, "exception-policy=ignore", NULL), 0);
	gate_config_done(&c);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{"stream.inlin=yes", "unknown key 'stream.inlin'"},
		{"stream.inline", "--set: expected KEY=VALUE, not 'stream.inline'"},
		{"app-layer.protocols.sip.enabled=1",
		 "app-layer.protocols.sip.enabled: expected yes or no, not '1'"},
		{"app-layer.protocols.smtp.mime.extract-urls-schemes.0=gopher",
		 "extract-urls-schemes: 'gopher' is not http, https, ftp or mailto"},
		{"stream.memcapp=1gb", "unknown key 'stream.memcapp'"},
		{"host-os-policy.beos=0.0.0.0/0", "host-os-policy: there is no policy 'beos'"},
		{"eve.types.0=netflow", "eve.types: there is no record 'netflow'"},
		{"outputs=1", "unknown key 'outputs'"},
		{"workers=0", "workers: expected a number from 1 to 256, not '0'"},
	};
	struct gate_config c;

	assert_int_equal(gate_config_load(NULL, &c, NULL), 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		struct bh_diag diag = {};

		assert_int_equal(gate_config_set(&c, cases[i].text, &diag), -EINVAL);
		assert_string_equal(diag.text, cases[i].reason);
	}
	gate_config_done(&c);
}

/* What Suricata knows and the engine has no use for is passed over. */
static void test_foreign(void **state)
{
	static const struct {
		const char *text, *warning;
	} cases[] = {
		{"app-layer.protocols.enip.enabled=yes",
		 "app-layer.protocols.enip.enabled: means nothing here"},
		{"app-layer.protocols.sip.port=1",
		 "app-layer.protocols.sip.port: means nothing here"},
		{"decoder.max-layers=30",
		 "decoder.max-layers: '30' can't be had; what is done here is 16"},
		{"decoder.max-layers=16", NULL},
		{"pcap-file.checksum-checks=no",
		 "pcap-file.checksum-checks: 'no' can't be had; what is done here is "
		 "yes|true|on|1|auto|enabled"},
		{"app-layer.protocols.tls.ja3-fingerprints=yes", NULL},
		{"outputs.1.eve-log.enabled=no", NULL},
		{"stream.memcap=1gb", NULL},
		{"flow.managers = 2", NULL},
		{"runmode=single", NULL},
		{"bypass=no", NULL},
		{"decoder.chdlc.enabled=no", "decoder.chdlc.enabled: means nothing here"},
	};
	struct gate_config c;

	assert_int_equal(gate_config_load(NULL, &c, NULL), 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		struct bh_diag diag = {};

		assert_int_equal(gate_config_set(&c, cases[i].text, &diag), !!cases[i].warning);
		assert_string_equal(diag.text, cases[i].warning ? cases[i].warning : "");
	}
	gate_config_done(&c);
}

static void test_exceptions(void **state)
{
	struct gate_config c;

	assert_int_equal(gate_config_load(NULL, &c, NULL), 0);
	assert_int_equal(c.on_midstream, GATE_EXCEPTION_IGNORE);
	assert_int_equal(gate_config_set(&c, "stream.midstream-policy=drop-flow", NULL), 0);
	assert_int_equal(gate_config_set(&c, "app-layer.error-policy=pass-flow", NULL), 0);
	/* a sensor drops nothing */
	assert_int_equal(c.on_midstream, GATE_EXCEPTION_IGNORE);
	assert_int_equal(c.on_app_error, GATE_EXCEPTION_PASS_FLOW);
	c.simulate_ips = true;
	gate_config_settle(&c);
	assert_int_equal(c.on_midstream, GATE_EXCEPTION_DROP_FLOW);
	assert_int_equal(gate_config_set(&c, "stream.midstream-policy=auto", NULL), 0);
	assert_int_equal(c.on_midstream, GATE_EXCEPTION_DROP_FLOW);
	assert_int_equal(gate_config_set(&c, "stream.midstream=yes", NULL), 0);
	assert_int_equal(c.on_midstream, GATE_EXCEPTION_IGNORE);
	assert_int_equal(gate_config_set(&c, "exception-policy=bypass", NULL), 0);
	assert_int_equal(c.on_midstream, GATE_EXCEPTION_BYPASS);
	gate_config_done(&c);
}

static void test_file(void **state)
{
	char path[] = "/tmp/gate-config-XXXXXX";
	int fd = mkstemp(path);
	struct gate_config c;
	struct bh_diag diag = {};
	FILE *f = fdopen(fd, "w");

	fputs("vars:\n  address-groups:\n    HOME_NET: \"[1.2.3.0/24]\"\n    LAB: 1.2.3.4\n"
	      "rule-files: [a.rules, b.rules]\n"
	      "host-os-policy:\n  windows: [0.0.0.0/0, \"::/0\"]\n"
	      "reputation-files: one.list\n"
	      "eve: {types: [alert, drop], community-id: yes}\n",
	      f);
	fflush(f);
	assert_int_equal(gate_config_load(path, &c, &diag), 0);
	assert_string_equal(group(&c, "LAB", false), "1.2.3.4");
	assert_string_equal(group(&c, "HOME_NET", false), "[1.2.3.0/24]");
	assert_int_equal(c.rule_files.count, 2);
	assert_int_equal(c.reputation_files.count, 1);
	assert_int_equal(c.os_policies.count, 2);
	assert_string_equal(c.os_policies.items[1].network, "::/0");
	assert_int_equal(c.eve_types, 1u << GATE_EVE_ALERT | 1u << GATE_EVE_DROP);
	assert_true(c.eve_community_id);
	gate_config_done(&c);
	fputs("flow: {entrys: 3}\n", f);
	fclose(f);
	assert_int_equal(gate_config_load(path, &c, &diag), -EINVAL);
	assert_int_equal(diag.line, 10);
	gate_config_done(&c);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),   cmocka_unit_test(test_set),
		cmocka_unit_test(test_mistakes),   cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_exceptions), cmocka_unit_test(test_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
