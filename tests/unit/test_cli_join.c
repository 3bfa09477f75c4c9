/* SPDX-License-Identifier: Apache-2.0 */
/* Join tokens, addresses of managers, configuration, and files as one stream. */
#include "cli/client.h"
#include "cli/config.h"
#include "cli/documents.h"
#include "cli/join.h"

#include "base/file.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_token(void **state)
{
	static const char whole[] = "bh1." HEX64 "." HEX64;
	static const char *const bad[] = {
		"bh2." HEX64 "." HEX64,
		"bh1." HEX64 "-" HEX64,
		"bh1." HEX64 "." HEX64 "0",
		"bh1.x123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef." HEX64,
		"bh1." HEX64 ".x123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	};
	char fingerprint[CLI_JOIN_HEX_SIZE];
	struct bh_diag diag = {};

	assert_int_equal(cli_join_token_parse(whole, fingerprint, &diag), 0);
	assert_string_equal(fingerprint, HEX64);
	for (size_t i = 0; i + 1 < sizeof(whole); i++) {
		BH_FREE char *part = strndup(whole, i);

		assert_int_equal(cli_join_token_parse(part, fingerprint, &diag), -EINVAL);
	}
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		assert_int_equal(cli_join_token_parse(bad[i], fingerprint, &diag), -EINVAL);
	}
}

static void test_url(void **state)
{
	static const struct {
		const char *in;
		const char *out;
	} cases[] = {
		{"192.0.2.1", "https://192.0.2.1:7443"},
		{"https://192.0.2.1", "https://192.0.2.1:7443"},
		{"https://192.0.2.1:7443/", "https://192.0.2.1:7443"},
		{"manager.example:8443", "https://manager.example:8443"},
		{"https://[2001:db8::1]", "https://[2001:db8::1]:7443"},
		{"http://192.0.2.1", NULL},
		{"https://", NULL},
		{"a b", NULL},
	};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		BH_FREE char *url = cli_join_url(cases[i].in);

		if (cases[i].out) {
			assert_non_null(url);
			assert_string_equal(url, cases[i].out);
		} else {
			assert_null(url);
		}
	}
}

static void test_endpoint(void **state)
{
	static const struct cli_endpoint good[] = {
		{.server = "/run/x.sock"},
		{.server = "unix:/run/x.sock"},
		{.server = "https://192.0.2.1:7443", .fingerprint = HEX64},
		{.server = "https://m",
		 .fingerprint = "01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:"
				"CD:EF:01:23:45:"
				"67:89:AB:CD:EF"},
	};
	static const struct cli_endpoint bad[] = {
		{.server = "http://192.0.2.1"},
		{.server = "192.0.2.1"},
		{.server = "https://"},
		{.server = "https://m", .fingerprint = "12"},
		{.server = "https://m", .fingerprint = HEX64 "00"},
		{.server = "https://m", .ca_file = "/nonexistent"},
		{.server = "https://m", .ca_file = "/dev/null"},
	};
	struct cli_client *client = NULL;
	struct bh_diag diag = {};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(good); i++) {
		assert_int_equal(cli_client_new(&good[i], &client, &diag), 0);
		cli_client_free(client);
	}
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		diag.text[0] = '\0';
		assert_true(cli_client_new(&bad[i], &client, &diag) < 0);
		assert_true(diag.text[0]);
	}
}

struct folder {
	char path[32];
};

static int make_folder(void **state)
{
	struct folder *folder = bh_alloc(sizeof(*folder));

	strcpy(folder->path, "/tmp/bh-cli-XXXXXX");
	*state = folder;
	return mkdtemp(folder->path) ? 0 : -1;
}

static int remove_folder(void **state)
{
	struct folder *folder = *state;
	BH_FREE char *command = bh_asprintf("rm -r %s", folder->path);
	int r = system(command);

	free(folder);
	return r;
}

/* Owned path of a file with that text. */
static char *write_file(void **state, const char *name, const char *text)
{
	struct folder *folder = *state;
	char *path = bh_asprintf("%s/%s", folder->path, name);

	assert_int_equal(bh_file_replace(path, text, strlen(text), 0600, NULL), 0);
	return path;
}

static char *fake_env(const char *name)
{
	static char server[] = "https://env:7443";

	return strcmp(name, "BULKHEAD_SERVER") ? NULL : server;
}

static void test_config(void **state)
{
	struct cli_config config;
	struct bh_diag diag = {};
	BH_FREE char *token = write_file(state, "token", "secret\n");
	BH_FREE char *text =
		bh_asprintf("server: https://m:7443\ntoken_file: %s\ntimeout: 5\n", token);
	BH_FREE char *file = write_file(state, "cli.yaml", text);

	assert_int_equal(cli_config_load(&config, file, true, &diag), 0);
	assert_int_equal(cli_config_finish(&config, &diag), 0);
	assert_string_equal(config.server, "https://m:7443");
	assert_string_equal(config.token, "secret");
	assert_int_equal(config.timeout_s, 5);
	cli_config_environment(&config, fake_env);
	assert_string_equal(config.server, "https://env:7443");
	cli_config_done(&config);

	assert_int_equal(cli_config_load(&config, "/nonexistent", false, &diag), 0);
	assert_int_equal(cli_config_finish(&config, &diag), 0);
	assert_string_equal(config.server, "/run/bulkhead/api.sock");
	assert_null(config.token);
	cli_config_done(&config);

	assert_int_equal(cli_config_load(&config, "/nonexistent", true, &diag), -ENOENT);
	cli_config_done(&config);
}

static void test_config_mistake(void **state)
{
	BH_FREE char *file = write_file(state, "cli.yaml", "server: x\nsrever: y\n");
	struct cli_config config;
	struct bh_diag diag = {};

	assert_int_equal(cli_config_load(&config, file, true, &diag), -EINVAL);
	assert_int_equal(diag.line, 2);
	cli_config_done(&config);
}

static void check_place(const struct cli_documents *documents, unsigned int line, const char *file,
			unsigned int own)
{
	unsigned int got;

	assert_string_equal(cli_documents_place(documents, line, &got), file);
	assert_int_equal(got, own);
}

/* Lines of the stream lead back to the file and its own line, whatever the files end with. */
static void test_documents(void **state)
{
	BH_FREE char *a = write_file(state, "a.yaml", "one: 1\ntwo: 2");
	BH_FREE char *b = write_file(state, "b.yaml", "three: 3\n");
	BH_FREE char *c = write_file(state, "c.yaml", "four: 4\n");
	char *files[] = {a, b, c};
	struct cli_documents documents;
	struct bh_diag diag = {};

	assert_int_equal(cli_documents_read(&documents, files, 3, &diag), 0);
	assert_string_equal(bh_wbuf_cstr(&documents.text),
			    "one: 1\ntwo: 2\n---\nthree: 3\n\n---\nfour: 4\n");
	check_place(&documents, 1, a, 1);
	check_place(&documents, 2, a, 2);
	check_place(&documents, 4, b, 1);
	check_place(&documents, 7, c, 1);
	check_place(&documents, 0, a, 0);
	cli_documents_done(&documents);

	files[1] = (char *)"/nonexistent";
	assert_int_equal(cli_documents_read(&documents, files, 3, &diag), -ENOENT);
	cli_documents_done(&documents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_url),
		cmocka_unit_test(test_endpoint),
		cmocka_unit_test_setup_teardown(test_config, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_config_mistake, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_documents, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
