/* SPDX-License-Identifier: Apache-2.0 */
/* hostd.yaml: defaults, every kind of key, and errors that say where. */
#include "base/file.h"
#include "host/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char path[] = "/tmp/test_hostd_config.XXXXXX";

static int load(const char *text, struct hostd_config *config, struct bh_diag *diag)
{
	memset(diag, 0, sizeof(*diag));
	assert_int_equal(bh_file_replace(path, text, strlen(text), 0600, NULL), 0);
	return hostd_config_load(path, true, config, diag);
}

static void test_defaults(void **state)
{
	struct hostd_config c;
	struct bh_diag diag;

	assert_int_equal(load("", &c, &diag), 0);
	assert_string_equal(c.state_dir, "/var/lib/bulkhead/host");
	assert_string_equal(c.run_dir, "/run/bulkhead");
	assert_string_equal(c.pin_dir, "/sys/fs/bpf/bulkhead/v2");
	assert_string_equal(c.libvirt_uris.items[0], "qemu:///system");
	assert_int_equal(c.birth_timeout_s, 10);
	assert_false(c.refuse_unprotected);
	assert_string_equal(hostd_config_net_name(&c, "br0"), "br0");
	assert_false(hostd_config_is_uplink(&c, "eth0"));
	hostd_config_done(&c);
}

static void test_all_keys(void **state)
{
	struct hostd_config c;
	struct bh_diag diag;

	assert_int_equal(load("name: h1\nuplinks: [\"dl*\", wan0]\n"
			      "libvirt_uris: [\"qemu:///system\", \"lxc:///\"]\n"
			      "networks:\n  br0: {name: \"dc1/lan\"}\n"
			      "birth_timeout: 3\nrefuse_unprotected: yes\nattach: clsact\n"
			      "sizes: {rows: 1000}\ntimeouts: {tcp_established: 100}\n"
			      "event_rate: 7\nevent_users: [gate]\n",
			      &c, &diag),
			 0);
	assert_string_equal(c.name, "h1");
	assert_int_equal(c.libvirt_uris.count, 2);
	assert_true(hostd_config_is_uplink(&c, "dl0"));
	assert_true(hostd_config_is_uplink(&c, "wan0"));
	assert_false(hostd_config_is_uplink(&c, "xdl0"));
	assert_string_equal(hostd_config_net_name(&c, "br0"), "dc1/lan");
	assert_string_equal(hostd_config_net_name(&c, "br1"), "br1");
	assert_int_equal(c.size[HOSTD_DP_ROWS], 1000);
	assert_int_equal(c.timeout_s[BH_TIMEOUT_TCP_EST], 100);
	assert_true(c.refuse_unprotected);
	assert_int_equal(c.event_users.count, 1);
	assert_string_equal(c.event_users.items[0], "gate");
	hostd_config_done(&c);
}

static void test_errors(void **state)
{
	static const char *const wrong[] = {
		"nmae: h1\n",
		"name: Upper Case\n",
		"uplinks: [\"*\"]\n",
		"networks:\n  br0: {nick: x}\n",
		"birth_timeout: 0\n",
		"birth_timeout: soon\n",
		"attach: somehow\n",
		"refuse_unprotected: perhaps\n",
		"libvirt_uris: [a, b, c, d, e]\n",
		"sizes: {rows: 1}\n",
	};

	for (size_t i = 0; i < BH_ARRAY_SIZE(wrong); i++) {
		struct hostd_config c;
		struct bh_diag diag;

		assert_true(load(wrong[i], &c, &diag) < 0);
		assert_string_not_equal(diag.text, "");
		hostd_config_done(&c);
	}
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
