/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager signs for the time when it is away, and what it makes of what happened then. */
#include "migrate_world.h"

#include "base/file.h"
#include "bus/pki.h"
#include "bus/pki_sign.h"
#include "manager/migrate/grant.h"
#include "manager_world.h"
#include "model/grant.h"
#include "policy/policy.h"

#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>

#define ID "0123456789abcdef0123456789abcdef"
#define BOOK                                                                                       \
	"kind: Policy\nmetadata: {name: web, tenant: shop}\n"                                      \
	"spec:\n  selector: {matchLabels: {role: web}}\n"
#define MAY BOOK "  migration: {withoutManager: allow}\n"
#define NOT BOOK "  migration: {withoutManager: refuse}\n"
#define PCI MAY "  placement: {hosts: {matchLabels: {zone: pci}}}\n"

static char dir[64];
static struct manager_grants *grants;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void commit(struct world *w, const char *text)
{
	struct manager_commit_request request = {
		.db = w->db, .inv = w->inv, .book = w->book, .dist = w->dist};
	struct manager_commit_result result = {};
	struct bh_diag diag = {};

	if (manager_world_commit(&request, text, &result, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	manager_commit_result_done(&result);
	flush(w);
}

static void start_grants(struct world *w)
{
	struct bh_pki_subject subject = {.name = "manager", .usage = BH_PKI_CLIENT};
	struct manager_grants_options options = {.inv = w->inv,
						 .book = w->book,
						 .pki_dir = dir,
						 .valid_s = 3600,
						 .command = w->migrate->o.command,
						 .command_arg = w};
	struct bh_pki_ca *ca;

	snprintf(dir, sizeof(dir), "/var/tmp/bh-test-grant-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(bh_pki_ca_open(dir, &ca, NULL), 0);
	assert_int_equal(bh_pki_ensure(ca, dir, "manager", &subject, NULL, NULL), 0);
	bh_pki_ca_free(ca);
	grants = manager_grants_new(&options);
}

static int set_up_grants(void **state)
{
	int r = set_up(state);

	if (r == 0) {
		start_grants(*state);
	}
	return r;
}

static int tear_down_grants(void **state)
{
	int r = tear_down(state);

	manager_grants_free(grants);
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return r;
}

static void tick(struct world *w, uint64_t now_s)
{
	for (int i = 0; i < 20; i++) { /* whole passes, on a slow machine too */
		manager_grants_tick(grants, now_s, bh_time_mono_ns());
	}
}

/* The command `grant` that waits for this host, read and checked; it is taken. NULL: it takes one
 * away. */
static struct bh_grant *take(struct world *w, const char *to)
{
	BH_FREE char *ca = bh_asprintf("%s/ca.crt", dir);
	struct bh_pki_verifier *verifier = NULL;
	struct bh_grant *grant = NULL;
	struct bh_diag diag = {};

	for (size_t i = 0; i < w->command_count; i++) {
		const json_t *body = w->commands[i].body;
		const char *text = bh_json_str_or(body, "text", "");
		const char *cert = bh_json_str_or(body, "cert", "");
		const char *hex = bh_json_str_or(body, "sig", "");
		uint8_t sig[BH_PKI_SIG_MAX];
		struct command c = w->commands[i];

		if (strcmp(c.host, to) != 0) {
			continue;
		}
		assert_string_equal(bh_json_str_or(body, "type", ""), "grant");
		if (*text) {
			assert_int_equal(bh_hex_parse(hex, sig, strlen(hex) / 2), 0);
			if (bh_pki_verifier_open(ca, cert, strlen(cert), "manager", &verifier,
						 &diag) ||
			    bh_pki_verify(verifier, text, strlen(text), sig, strlen(hex) / 2,
					  &diag) ||
			    bh_grant_read(text, strlen(text), &grant, &diag)) {
				fail_msg("%s", diag.text);
			}
			bh_pki_verifier_free(verifier);
		}
		w->commands[i] = w->commands[0];
		w->commands[0] = c;
		answer_command(w, to, "grant", json_object(), "");
		return grant;
	}
	fail_msg("no grant for %s", to);
	return NULL;
}

static void take_all(struct world *w)
{
	bh_grant_free(take(w, "h1"));
	bh_grant_free(take(w, "h2"));
	bh_grant_free(take(w, "h3"));
	assert_int_equal(w->command_count, 0);
}

static void test_only_when_a_policy_says_so(void **state)
{
	struct world *w = *state;

	tick(w, 1000000);
	assert_int_equal(w->command_count, 0);
	commit(w, NOT);
	tick(w, 1000000);
	assert_int_equal(w->command_count, 0);
}

static void test_what_is_signed(void **state)
{
	struct world *w = *state;
	const struct bh_image *image;
	uint8_t want[BH_GRANT_DIGEST_SIZE], has[BH_GRANT_DIGEST_SIZE];
	struct bh_grant *one, *two;
	struct bh_diag diag = {};
	const char *name;
	size_t n = 0;

	commit(w, MAY);
	tick(w, 1000000);
	one = take(w, "h1");
	two = take(w, "h2");
	bh_grant_free(take(w, "h3"));
	image = host(w, "h1")->sync->installed->image;
	assert_int_equal(bh_grant_check(one, "h1", 1003600, bh_image_hash(image), &diag), 0);
	assert_int_equal(bh_grant_check(one, "h1", 1003601, bh_image_hash(image), &diag), -EPERM);
	assert_true(bh_grant_allows(one, VM, "h2"));
	assert_true(bh_grant_allows(one, VM, "h3"));
	assert_false(bh_grant_has_vm(two, VM));
	assert_string_equal(bh_grant_source(two, 0), "h1");
	assert_null(bh_grant_source(two, 1));
	assert_int_equal(bh_grant_revision(one), manager_rulebook_revision(w->book));
	assert_int_equal(bh_grant_revision(one), bh_grant_revision(two));
	/* all that the VM needs, as it is */
	while ((name = bh_grant_segment(one, VM, n, want))) {
		assert_non_null(bh_image_get(image, name));
		bh_segment_digest(bh_image_get(image, name), has);
		assert_memory_equal(want, has, sizeof(want));
		n++;
	}
	assert_int_equal(n, 4); /* its own, two sets, a network */
	bh_grant_free(one);
	bh_grant_free(two);
	/* once: until half of its time is over, or something is another */
	tick(w, 1000001);
	assert_int_equal(w->command_count, 0);
	tick(w, 1001801);
	take_all(w);
}

static void test_follows_policies(void **state)
{
	struct world *w = *state;
	struct bh_grant *one;

	commit(w, MAY);
	tick(w, 1000000);
	take_all(w);
	commit(w, PCI);
	tick(w, 1000000);
	one = take(w, "h1");
	assert_true(bh_grant_has_vm(one, VM));
	assert_false(bh_grant_allows(one, VM, "h2"));
	bh_grant_free(one);
	bh_grant_free(take(w, "h2"));
	bh_grant_free(take(w, "h3"));
	/* labels of hosts are no state of any host, and count all the same */
	assert_int_equal(manager_host_set_labels(w->inv, host(w, "h3"),
						 json_pack("{s:s}", "zone", "pci"), NULL),
			 0);
	tick(w, 1000000);
	one = take(w, "h1");
	assert_false(bh_grant_allows(one, VM, "h2"));
	assert_true(bh_grant_allows(one, VM, "h3"));
	bh_grant_free(one);
	/* taken back */
	commit(w, NOT);
	tick(w, 1000000);
	assert_null(take(w, "h1"));
	assert_null(take(w, "h2"));
	assert_null(take(w, "h3"));
	tick(w, 1000000);
	assert_int_equal(w->command_count, 0);
}

static void test_not_while_out_of_sync(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *rejected = NULL;
	BH_JSON json_t *vms = json_array();

	commit(w, MAY);
	tick(w, 1000000);
	take_all(w);
	json_array_append_new(vms, vm_json("running"));
	json_object_set_new(json_array_get(json_object_get(json_array_get(vms, 0), "nics"), 0),
			    "addresses", json_pack("[s]", "10.0.0.7"));
	assert_int_equal(manager_inventory_report(w->inv, host(w, "h1"), vms, bh_time_wall_ns(),
						  &rejected, NULL),
			 0);
	assert_int_equal(manager_distribute_flush(w->dist, NULL), 0);
	tick(w, 1000000); /* the delta is on its way */
	assert_int_equal(w->command_count, 0);
	answer_all(w);
	tick(w, 1000000);
	bh_grant_free(take(w, "h1"));
	assert_int_equal(w->command_count, 0); /* nothing is another for those */
	/* a hostd that lost it, or a manager that forgot: hello says what it holds */
	manager_grants_hello(grants, host(w, "h2"), "");
	tick(w, 1000000);
	bh_grant_free(take(w, "h2"));
	assert_int_equal(w->command_count, 0);
}

/* ---- afterwards ---- */

static json_t *said(const char *role, const char *peer)
{
	return json_pack("[{s:s, s:s, s:s, s:s, s:I, s:b}]", "migration", ID, "vm", VM, "role",
			 role, "peer", peer, "begun",
			 (json_int_t)(bh_time_wall_ns() / BH_NS_PER_S - 60), "final", 1);
}

/* The source is heard first: the VM keeps its addresses, and is never taken from the target. */
static void test_adopted(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *source = said("source", "h2");
	BH_JSON json_t *target = said("target", "h1");
	BH_JSON json_t *list = NULL;

	commit(w, MAY);
	assert_true(manager_migrate_adopt(w->migrate, host(w, "h1"), source));
	flush(w);
	assert_ptr_equal(vm(w)->incoming, host(w, "h2"));
	assert_true(has_segment(w, "h2"));
	report(w, "h1", NULL);
	assert_true(has_segment(w, "h2"));
	assert_true(manager_vm_lives(vm(w)));
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), target)); /* the same */
	list = manager_migrate_of_host(w->migrate, host(w, "h2"));
	assert_int_equal(json_array_size(list), 1);
	report(w, "h2", "running");
	answer_command(w, "h1", "depart-end", json_object(), "");
	answer_command(w, "h2", "arrive-end", json_object(), "");
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	expect_record(w, "done", "alone runs moved");
	expect_notice(w, "vm.migrated", "to", "h2");
	/* and it is said once more, by a host that did not hear the end */
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), target));
	assert_null(w->migrate->open);
}

static void test_target_first(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *target = said("target", "h1");

	commit(w, MAY);
	assert_true(manager_migrate_adopt(w->migrate, host(w, "h2"), target));
	flush(w);
	assert_true(has_segment(w, "h2"));
	report(w, "h2", "running");
	report(w, "h1", NULL);
	drop_commands(w);
	assert_ptr_equal(vm(w)->host, host(w, "h2"));
	expect_record(w, "done", "alone runs moved");
}

/* Once it is over it stays so, whatever a host that did not hear of it repeats. */
static void test_adopted_once(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *target = said("target", "h1");

	commit(w, MAY);
	assert_true(manager_migrate_adopt(w->migrate, host(w, "h2"), target));
	manager_migrate_tick(w->migrate, bh_time_wall_ns() + 160 * BH_NS_PER_S, bh_time_mono_ns());
	flush(w);
	drop_commands(w);
	expect_notice(w, "migration.failed", "reason", "the VM did not appear at the target");
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), target));
	assert_null(w->migrate->open);
	expect_record(w, "failed", "alone failed");
}

/* Nobody speaks of what two others do. */
static void test_final_of_others(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *source = said("source", "h2");

	commit(w, MAY);
	json_object_set_new(json_array_get(source, 0), "final", json_false());
	assert_true(manager_migrate_adopt(w->migrate, host(w, "h1"), source));
	json_object_set_new(json_array_get(source, 0), "final", json_true());
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h3"), source));
	assert_false(w->migrate->open->final);
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h1"), source));
	assert_true(w->migrate->open->final);
	flush(w);
}

/* A host can't take a VM by saying so. */
static void test_not_adopted(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *target = said("target", "h1");
	BH_JSON json_t *liar = said("target", "h3");
	BH_JSON json_t *self = said("target", "h2");
	BH_JSON json_t *bad = json_pack("[s, {}, {s:s}]", "x", "migration", "../..");

	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), target)); /* no policy */
	commit(w, NOT);
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), target));
	commit(w, PCI);
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), target));
	commit(w, MAY);
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), liar));
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), self));
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), bad));
	assert_false(manager_migrate_adopt(w->migrate, host(w, "h2"), NULL));
	assert_null(vm(w)->incoming);
	assert_null(w->migrate->open);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_grants, tear_down_grants)
		TEST(test_only_when_a_policy_says_so),
		TEST(test_what_is_signed),
		TEST(test_follows_policies),
		TEST(test_not_while_out_of_sync),
		TEST(test_adopted),
		TEST(test_target_first),
		TEST(test_adopted_once),
		TEST(test_final_of_others),
		TEST(test_not_adopted),
	};

	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
