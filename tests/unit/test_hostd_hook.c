/* SPDX-License-Identifier: Apache-2.0 */
/* The hook as libvirt calls it, without hostd: argv[1] is the program. */
#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

static const char *hook;
static char dir[] = "/tmp/test_hostd_hook.XXXXXX";

static char *domain(const char *birth)
{
	return bh_asprintf("<domain type='qemu'><name>web</name>"
			   "<uuid>00000000-0000-4000-9000-000000000001</uuid><metadata>"
			   "<b:vm xmlns:b='https://bulkhead.dev/xml/1'%s/></metadata><devices/>"
			   "</domain>",
			   birth);
}

/* Runs the hook; *ret_err is what it said on standard error (owned). Fails when it wrote to
 * standard output, which libvirt would take for XML. */
static int run(const char *xml, const char *stage, char **ret_err)
{
	BH_FREE char *cmd = bh_asprintf("%s -c %s/hostd.yaml web %s - < %s/xml > %s/out 2> %s/err",
					hook, dir, stage, dir, dir, dir);
	BH_FREE char *xml_path = bh_asprintf("%s/xml", dir);
	BH_FREE char *out_path = bh_asprintf("%s/out", dir);
	BH_FREE char *err_path = bh_asprintf("%s/err", dir);
	BH_FREE char *out = NULL;
	size_t size = 0;
	int status;

	assert_int_equal(bh_file_replace(xml_path, xml, strlen(xml), 0600, NULL), 0);
	status = system(cmd);
	assert_true(WIFEXITED(status));
	assert_int_equal(bh_file_read(out_path, 65536, &out, &size, NULL), 0);
	assert_int_equal(size, 0);
	assert_int_equal(bh_file_read(err_path, 65536, ret_err, &size, NULL), 0);
	return WEXITSTATUS(status);
}

static void test_refused(void **state)
{
	BH_FREE char *xml = domain("");
	BH_FREE char *err = NULL;

	assert_int_equal(run(xml, "start begin", &err), 1);
	assert_ptr_equal(
		strstr(err, "bulkhead: hostd is not running on this host, so VM web can't"), err);
	assert_non_null(strstr(err, "systemctl start bulkhead-hostd"));
	assert_non_null(strstr(err, "birth=\"open\""));
	assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1); /* one sentence, one line */
}

/* Installed and never enrolled: libvirt goes on as if Bulkhead were not there. */
static void test_not_enrolled(void **state)
{
	BH_FREE char *path = bh_asprintf("%s/state/host.json", dir);
	BH_FREE char *xml = domain("");
	BH_FREE char *err = NULL;

	assert_int_equal(unlink(path), 0);
	assert_int_equal(run(xml, "start begin", &err), 0);
	assert_non_null(strstr(err, "not enrolled"));
	assert_non_null(strstr(err, "web starts unprotected"));
	assert_int_equal(bh_file_replace(path, "{}", 2, 0600, NULL), 0);
}

/* The hint holds all that the metadata holds: libvirt itself takes it, and nothing is lost. */
static void test_hint_loses_nothing(void **state)
{
	static const char xml[] =
		"<domain type='test'><name>web</name><memory>1024</memory>"
		"<os><type>hvm</type></os>"
		"<uuid>00000000-0000-4000-9000-000000000001</uuid><metadata>"
		"<bulkhead:vm xmlns:bulkhead='https://bulkhead.dev/xml/1' tenant='shop'>"
		"<bulkhead:label key='role' value=\"it's\"/></bulkhead:vm></metadata><devices/>"
		"</domain>";
	BH_FREE char *err = NULL;
	BH_FREE char *node = bh_asprintf("<node>%s</node>", xml);
	BH_FREE char *path = bh_asprintf("%s/node.xml", dir);
	BH_FREE char *cmd = NULL;
	char *hint, *config;

	assert_int_equal(run(xml, "start begin", &err), 1);
	hint = strstr(err, "virsh metadata ");
	assert_non_null(hint);
	assert_null(strstr(hint, "edit"));
	hint[strcspn(hint, "\n")] = '\0';
	if (system("command -v virsh >/dev/null") != 0) {
		skip();
	}
	assert_int_equal(bh_file_replace(path, node, strlen(node), 0600, NULL), 0);
	config = strstr(hint, " --config"); /* that driver has no such thing */
	assert_non_null(config);
	memset(config, ' ', strlen(" --config"));
	cmd = bh_asprintf("cd %s && cat > cmd << 'END'\n%s; dumpxml web\nEND\n"
			  "virsh -c test://%s \"$(sed 's/^virsh //' cmd)\" > dump && "
			  "grep -q 'tenant=\"shop\" birth=\"open\"' dump && "
			  "grep -q '<bulkhead:label key=\"role\" value=\"it' dump",
			  dir, hint, path);
	assert_int_equal(system(cmd), 0);
}

/* libvirt cuts long words off: half a command is worse than none. */
static void test_hint_fits(void **state)
{
	struct bh_wbuf w;
	BH_FREE char *err = NULL;

	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w, "<domain type='lxc'><name>web</name>"
			"<uuid>00000000-0000-4000-9000-000000000001</uuid><metadata>"
			"<b:vm xmlns:b='https://bulkhead.dev/xml/1'>");
	for (int i = 0; i < 40; i++) {
		bh_wbuf_printf(&w, "<b:label key='label-%d' value='value'/>", i);
	}
	bh_wbuf_str(&w, "</b:vm></metadata><devices/></domain>");
	assert_int_equal(run(bh_wbuf_cstr(&w), "start begin", &err), 1);
	bh_wbuf_done(&w);
	assert_true(strlen(err) < 800);
	assert_non_null(strstr(err, "virsh -c lxc:/// edit 00000000-0000-4000-9000-000000000001"));
}

static void test_birth_open(void **state)
{
	BH_FREE char *xml = domain(" birth='open'");
	BH_FREE char *err = NULL;

	assert_int_equal(run(xml, "start begin", &err), 0);
	assert_non_null(strstr(err, "unprotected"));
}

/* `bulkhead vm birth web open`, as hostd has kept it; it wins over metadata in both directions. */
static void test_birth_by_api(void **state)
{
	static const char open[] = "{\"00000000-0000-4000-9000-000000000001\": \"open\"}";
	static const char closed[] = "{\"00000000-0000-4000-9000-000000000001\": \"closed\"}";
	BH_FREE char *path = bh_asprintf("%s/state/births.json", dir);
	BH_FREE char *plain = domain("");
	BH_FREE char *opened = domain(" birth='open'");
	BH_FREE char *err = NULL;
	BH_FREE char *err2 = NULL;

	assert_int_equal(bh_file_replace(path, open, strlen(open), 0600, NULL), 0);
	assert_int_equal(run(plain, "start begin", &err), 0);
	assert_int_equal(bh_file_replace(path, closed, strlen(closed), 0600, NULL), 0);
	assert_int_equal(run(opened, "start begin", &err2), 1);
	assert_int_equal(unlink(path), 0);
}

/* libvirt stops a running VM when these fail. */
static void test_other_stages_never_fail(void **state)
{
	static const char *const stages[] = {"prepare begin",	"started begin", "stopped end",
					     "release end",	"migrate end",	 "restore end",
					     "reconnect begin", "attach begin"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(stages); i++) {
		BH_FREE char *xml = domain("");
		BH_FREE char *err = NULL;

		assert_int_equal(run(xml, stages[i], &err), 0);
		free(bh_steal(&err));
		assert_int_equal(run("junk", stages[i], &err), 0);
	}
}

static void test_junk_does_not_start(void **state)
{
	BH_FREE char *err = NULL;

	assert_int_equal(run("<domain>", "start begin", &err), 1);
	assert_non_null(strstr(err, "bulkhead: "));
}

/* Answers one request on hostd's socket and keeps it in the file `asked`. */
static pid_t hostd_once(const char *answer)
{
	BH_FREE char *sock = bh_asprintf("%s/hostd.sock", dir);
	BH_FREE char *asked = bh_asprintf("%s/asked", dir);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char buf[65536];
	size_t got = 0;
	pid_t pid;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", sock);
	unlink(sock);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 4), 0);
	pid = fork();
	if (pid) {
		close(fd);
		return pid;
	}
	alarm(20);
	while (!memchr(buf, '\n', got)) { /* who only looks who listens says nothing */
		int client = accept(fd, NULL, NULL);
		ssize_t n;

		got = 0;
		while (!memchr(buf, '\n', got) &&
		       (n = read(client, buf + got, sizeof(buf) - got)) > 0) {
			got += (size_t)n;
		}
		if (memchr(buf, '\n', got)) {
			_exit(bh_file_replace(asked, buf, got, 0600, NULL) != 0 ||
			      write(client, answer, strlen(answer)) < 0);
		}
		close(client);
	}
	_exit(1);
}

/* A VM that comes with its memory is held like one that boots, and the question says from where,
 * and who is connected to libvirt. */
static void arrives(const char *stage, const char *why, const char *let)
{
	static const char no[] = "{\"ok\": false, \"error\": \"host h2 is in maintenance\"}\n";
	BH_FREE char *xml = domain("");
	BH_FREE char *open = domain(" birth='open'");
	BH_FREE char *sock = bh_asprintf("%s/hostd.sock", dir);
	BH_FREE char *asked_path = bh_asprintf("%s/asked", dir);
	BH_FREE char *asked = NULL;
	BH_FREE char *err = NULL;
	BH_FREE char *expected = bh_asprintf("\"why\":\"%s\"", why);
	size_t size;
	int status;

	assert_int_equal(run(xml, stage, &err), 1);
	assert_non_null(strstr(err, "hostd is not running"));
	assert_non_null(strstr(err, let));
	free(bh_steal(&err));
	assert_int_equal(run("<domain>", stage, &err), 1);
	free(bh_steal(&err));
	assert_int_equal(run(open, stage, &err), 0);
	assert_non_null(strstr(err, "unprotected"));
	free(bh_steal(&err));

	pid_t pid = hostd_once(no);

	assert_int_equal(run(xml, stage, &err), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_non_null(strstr(err, "host h2 is in maintenance"));
	assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1);
	free(bh_steal(&err));
	assert_int_equal(bh_file_read(asked_path, 65536, &asked, &size, NULL), 0);
	assert_non_null(strstr(asked, "\"op\":\"migrate\""));
	assert_non_null(strstr(asked, expected));
	assert_non_null(strstr(asked, "\"by\":["));

	pid = hostd_once("{\"ok\": true}\n");
	assert_int_equal(run(xml, stage, &err), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(err, "");
	unlink(sock);
}

/* Where it may not run at all, there is no way past us, and nobody is told one. */
static void test_elsewhere(void **state)
{
	static const char no[] = "{\"ok\": true, \"elsewhere\": \"placement of policy shop/pci "
				 "needs a host with zone=pci; h2 has no zone\"}\n";
	BH_FREE char *sock = bh_asprintf("%s/hostd.sock", dir);
	BH_FREE char *open = domain(" birth='open'");
	BH_FREE char *err = NULL;
	pid_t pid = hostd_once(no);
	int status;

	assert_int_equal(run(open, "start begin", &err), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(err, "bulkhead: VM web does not start: placement of policy shop/pci "
				 "needs a host with zone=pci; h2 has no zone\n");
	unlink(sock);
}

static void test_migration(void **state)
{
	arrives("migrate begin", "live", "does not come to this host");
}

static void test_restore(void **state)
{
	arrives("restore begin", "restore", "is not restored");
}

/* A machine that never was enrolled takes in whatever comes. */
static void test_not_enrolled_arrives(void **state)
{
	BH_FREE char *path = bh_asprintf("%s/state/host.json", dir);
	BH_FREE char *xml = domain("");
	BH_FREE char *err = NULL;

	assert_int_equal(unlink(path), 0);
	assert_int_equal(run(xml, "migrate begin", &err), 0);
	assert_non_null(strstr(err, "not enrolled"));
	assert_int_equal(bh_file_replace(path, "{}", 2, 0600, NULL), 0);
}

/* For hostd: a list, whatever libvirt says here. */
static void test_clients(void **state)
{
	BH_FREE char *cmd = bh_asprintf("%s clients > %s/out", hook, dir);
	BH_FREE char *path = bh_asprintf("%s/out", dir);
	BH_FREE char *out = NULL;
	size_t size = 0;

	assert_int_equal(system(cmd), 0);
	assert_int_equal(bh_file_read(path, 65536, &out, &size, NULL), 0);
	assert_in_range(size, 3, 65536);
	assert_int_equal(out[0], '[');
	assert_memory_equal(out + size - 2, "]\n", 2);
}

static int setup(void **state)
{
	BH_FREE char *yaml = NULL;
	BH_FREE char *path = NULL;
	BH_FREE char *state_dir = NULL;
	BH_FREE char *identity = NULL;

	if (!mkdtemp(dir)) {
		return -1;
	}
	yaml = bh_asprintf("run_dir: %s\nstate_dir: %s/state\nbirth_timeout: 1\n", dir, dir);
	path = bh_asprintf("%s/hostd.yaml", dir);
	state_dir = bh_asprintf("%s/state", dir);
	identity = bh_asprintf("%s/host.json", state_dir);
	return bh_mkdirs(state_dir, 0700, NULL) || bh_file_replace(identity, "{}", 2, 0600, NULL) ||
	       bh_file_replace(path, yaml, strlen(yaml), 0600, NULL);
}

static int teardown(void **state)
{
	BH_FREE char *cmd = bh_asprintf("rm -r %s", dir);

	return system(cmd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_not_enrolled),
		cmocka_unit_test(test_hint_loses_nothing),
		cmocka_unit_test(test_hint_fits),
		cmocka_unit_test(test_birth_open),
		cmocka_unit_test(test_birth_by_api),
		cmocka_unit_test(test_other_stages_never_fail),
		cmocka_unit_test(test_junk_does_not_start),
		cmocka_unit_test(test_elsewhere),
		cmocka_unit_test(test_migration),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_not_enrolled_arrives),
		cmocka_unit_test(test_clients),
	};

	if (argc < 2) {
		fprintf(stderr, "usage: test_hostd_hook HOOK\n");
		return 2;
	}
	hook = argv[1];
	return cmocka_run_group_tests(tests, setup, teardown);
}
