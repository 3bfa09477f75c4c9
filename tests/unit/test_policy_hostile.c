/* SPDX-License-Identifier: Apache-2.0 */
/* Text from somebody who means harm or uses another editor: encodings, line ends, control
 * characters, numbers without end. What is accepted means the same everywhere; what is not says
 * where it is. */
#include "base/util.h"
#include "policy/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define GOOD                                                                                       \
	"kind: Policy\n"                                                                           \
	"metadata: {name: a, tenant: t}\n"                                                         \
	"spec:\n"                                                                                  \
	"  selector: {}\n"                                                                         \
	"  ingress:\n"                                                                             \
	"  - name: one\n"                                                                          \
	"    ports: [tcp/80]\n"

static struct bh_policy_set *parse(const char *text, size_t size)
{
	struct bh_policy_parse_options options = {.file = "f.yaml", .default_tenant = "t"};
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	char buf[1024];

	if (bh_policy_parse(text, size, &options, &set, &diag)) {
		fail_msg("%s", bh_diag_format(&diag, buf, sizeof(buf)));
	}
	return set;
}

static char *printed(const char *text, size_t size)
{
	struct bh_policy_set *set = parse(text, size);
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	bh_policy_set_print(set, &w);
	bh_policy_set_free(set);
	return bh_strdup(bh_wbuf_cstr(&w));
}

static void means_the_same(const char *a, const char *b)
{
	BH_FREE char *x = printed(a, strlen(a));
	BH_FREE char *y = printed(b, strlen(b));

	assert_string_equal(x, y);
}

static void refused(const char *text, size_t size, unsigned int line, const char *says)
{
	struct bh_policy_parse_options options = {.file = "f.yaml", .default_tenant = "t"};
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	int r = bh_policy_parse(text, size, &options, &set, &diag);

	if (r >= 0 || set || (line && diag.line != line) || strcmp(diag.file, "f.yaml") != 0 ||
	    !strstr(diag.text, says)) {
		fail_msg("%s\nexpected line %u %s\ngot %d, line %u %s", text, line, says, r,
			 diag.line, diag.text);
	}
}
#define REFUSED(text, line, says) refused(text, sizeof(text) - 1, line, says)

/* Every \n becomes \r\n. */
static char *dos(const char *text)
{
	char *out = bh_alloc(2 * strlen(text) + 1), *to = out;

	for (; *text; text++) {
		if (*text == '\n') {
			*to++ = '\r';
		}
		*to++ = *text;
	}
	return out;
}

#define FLAT                                                                                       \
	"firewall_rules:\n- name: web\nsource: any\ndestination: 10.0.0.1\nprotocol: tcp\n"        \
	"port: 80,443\naction: allow\n- name: rest\nsource: any\ndestination: any\naction: deny\n"

static void other_editors(void **state)
{
	BH_FREE char *crlf = dos(GOOD);
	BH_FREE char *flat_crlf = dos(FLAT);
	BH_FREE char *wrong = dos(GOOD "    action: drop\n");

	means_the_same(GOOD, crlf);
	means_the_same(GOOD, "\xef\xbb\xbf" GOOD);
	means_the_same(FLAT, flat_crlf);
	means_the_same(FLAT, "\xef\xbb\xbf" FLAT);
	means_the_same(GOOD, "# caf\xc3\xa9\n%YAML 1.1\n---\n" GOOD "...\n");
	means_the_same(GOOD, "---\n\n---\n" GOOD "---\n# nothing\n");
	refused(wrong, strlen(wrong), 8, "\"drop\" is no action");
}

static void other_encodings(void **state)
{
	static const char utf16le[] = "\xff\xfe"
				      "k\0i\0n\0d\0:\0";
	static const char utf16be[] = "\xfe\xff"
				      "\0k\0i\0n\0d";

	refused(utf16le, sizeof(utf16le) - 1, 1, "expected UTF-8");
	refused(utf16be, sizeof(utf16be) - 1, 1, "expected UTF-8");
	REFUSED("kind: Policy\nmetadata: {name: \xe9}\n", 2, "expected UTF-8"); /* latin 1 */
	REFUSED("a: \xc0\xaf\n", 1, "expected UTF-8");				/* overlong */
	REFUSED("a: \xed\xa0\x80\n", 1, "expected UTF-8"); /* half a surrogate */
	REFUSED("a: \xf4\x90\x80\x80\n", 1, "expected UTF-8");
	REFUSED("a: \xe2\x82", 1, "expected UTF-8"); /* cut */
	REFUSED("a: 1\nb: x\0y\n", 2, "not YAML");
	REFUSED("\0", 1, "not YAML");
}

static void tabs_have_a_place(void **state)
{
	REFUSED("kind: Policy\nmetadata:\n\tname: a\n", 3, "not YAML");
	REFUSED(GOOD "\t- name: two\n", 8, "not YAML");
	means_the_same(GOOD, "kind:\tPolicy\nmetadata: {name: a,\ttenant: t}\nspec:\n"
			     "  selector: {}\n  ingress:\n  - name: one\n    ports: [tcp/80]\t\n");
}

/* What a terminal or another YAML reader would take for something else. */
static void control_characters(void **state)
{
	static const char *const names[] = {"\\e[2J", "\\x07", "\\x7f",	  "\\x80",   "\\x9b1m",
					    "\\N",    "\\L",   "\\P",	  "\\uFEFF", "\\uFFFE",
					    "a\\nb",  "a\\rb", "\\u202e", "\\x01"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(names); i++) {
		BH_FREE char *text = bh_asprintf(
			"kind: Policy\nmetadata: {name: a, tenant: t}\nspec:\n  selector: {}\n"
			"  ingress:\n  - name: \"%s\"\n",
			names[i]);

		refused(text, strlen(text), 6, "control character");
	}
	REFUSED("kind: Policy\nmetadata: {name: a, tenant: t, description: \"\\e]0;x\\a\"}\n", 2,
		"control character");
	REFUSED("a: \x1b[1m\n", 1, "not YAML");
}

/* Words of every script are fine, in every place where text is free, and stay as they are. */
static void words_of_every_script(void **state)
{
	static const char text[] =
		"kind: Policy\n"
		"metadata: {name: a, tenant: t, description: \"\xe4\xb8\xad\xe6\x96\x87\\n"
		"\\t\xc3\xa9\xf0\x9f\x94\x92\"}\n"
		"spec:\n  selector: {}\n  ingress:\n"
		"  - name: \"\xd0\xb1 \\\" \\\\ #: - ' \xe2\x80\x9c\"\n";
	BH_FREE char *once = printed(text, strlen(text));
	BH_FREE char *twice = printed(once, strlen(once));

	assert_string_equal(once, twice);
	assert_non_null(strstr(once, "\xf0\x9f\x94\x92"));
	assert_non_null(strstr(once, "\xe4\xb8\xad\xe6\x96\x87\\n"));
}

#define HEAD "kind: Policy\nmetadata: {name: a, tenant: t}\nspec:\n  selector: {}\n"
static void numbers_without_end(void **state)
{
	static const char *const numbers[] = {"99999999999999999999",
					      "1e3",
					      "0x10",
					      "-0",
					      "+1",
					      "1.0",
					      " 1x",
					      ".inf",
					      "1_000",
					      "18446744073709551616",
					      "4294967296",
					      "0b1",
					      "1,2"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(numbers); i++) {
		BH_FREE char *order = bh_asprintf(HEAD "  order: \"%s\"\n", numbers[i]);
		BH_FREE char *port =
			bh_asprintf(HEAD "  ingress: [{ports: [\"tcp/%s\"]}]\n", numbers[i]);
		BH_FREE char *end =
			bh_asprintf(HEAD "  ingress: [{ports: [\"tcp/1-%s\"]}]\n", numbers[i]);
		BH_FREE char *proto =
			bh_asprintf(HEAD "  ingress: [{ports: [\"%s\"]}]\n", numbers[i]);
		BH_FREE char *type =
			bh_asprintf(HEAD "  ingress: [{ports: [\"icmp/%s\"]}]\n", numbers[i]);
		BH_FREE char *bits = bh_asprintf(
			HEAD "  ingress: [{from: [{cidr: \"10.0.0.0/%s\"}]}]\n", numbers[i]);

		refused(order, strlen(order), 5, "is no order");
		refused(port, strlen(port), 5, "is no port");
		refused(end, strlen(end), 5, "is no port");
		refused(proto, strlen(proto), 5, "is no protocol");
		refused(type, strlen(type), 5, "ICMP type");
		refused(bits, strlen(bits), 5, "is no address or prefix");
	}
	REFUSED(HEAD "  ingress: [{ports: [256]}]\n", 5, "is no protocol");
	REFUSED(HEAD "  ingress: [{from: [{cidr: 010.0.0.1}]}]\n", 5, "is no address or prefix");
	REFUSED(HEAD "  ingress: [{from: [{cidr: 10.1}]}]\n", 5, "is no address or prefix");
	REFUSED(HEAD "  ingress: [{from: [{cidr: \"::1%lo\"}]}]\n", 5, "is no address or prefix");
	REFUSED(HEAD "  ingress: [{from: [{cidr: \"fd00::/129\"}]}]\n", 5, "no address or prefix");
	/* The other way to write IPv4 is IPv4, and printed so. */
	means_the_same(HEAD "  ingress: [{from: [{cidr: \"::ffff:10.0.0.1\"}]}]\n",
		       HEAD "  ingress: [{from: [{cidr: 10.0.0.1}]}]\n");
}

/* Four good documents and a wrong one before the one at `at`. */
static void refuses_all(const char *bad, size_t at)
{
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	struct bh_wbuf w;

	bh_wbuf_init(&w, 0);
	for (size_t n = 0; n < 4; n++) {
		bh_wbuf_printf(&w, "---\n%s", n == at ? bad : "");
		bh_wbuf_printf(&w,
			       "---\nkind: Policy\nmetadata: {name: %c, tenant: t}\n"
			       "spec: {selector: {}}\n",
			       'a' + (int)n);
	}
	assert_true(bh_policy_parse((char *)w.data, w.size, NULL, &set, &diag) < 0);
	assert_null(set);
	assert_true(diag.line > 0 && *diag.text);
	bh_wbuf_done(&w);
}

static void all_or_none(void **state)
{
	static const char *const bad[] = {
		"kind: Polizy\n", "kind: Policy\nmetadata: {name: z}\n", "a: [\n",
		"- 1\n",	  "kind: Tenant\nmetadata: {name: A}\n", GOOD};

	for (size_t at = 0; at < 4; at++) {
		for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
			refuses_all(bad[i], at);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_editors),	 cmocka_unit_test(other_encodings),
		cmocka_unit_test(tabs_have_a_place),	 cmocka_unit_test(control_characters),
		cmocka_unit_test(words_of_every_script), cmocka_unit_test(numbers_without_end),
		cmocka_unit_test(all_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
