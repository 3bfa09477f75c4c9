/* SPDX-License-Identifier: Apache-2.0 */
/* Who wanted a migration that the hosts' libvirts make among themselves. */
#include "migrate_world.h"

static struct {
	bool refused;
	char id[MANAGER_MIGRATION_ID_SIZE];
} said;

static void on_answer(const struct manager_migrate_answer *a, void *arg)
{
	said.refused = a->code != NULL;
	snprintf(said.id, sizeof(said.id), "%s", a->id);
}

static void ask_by(struct world *w, json_t *vm_said, const char *transport)
{
	BH_JSON json_t *body = json_pack("{s:o, s:s, s:[{s:s, s:s}]}", "vm", vm_said, "why", "live",
					 "by", "transport", transport, "dn", "CN=h1");

	said.refused = false;
	manager_migrate_ask(w->migrate, host(w, "h2"), body, on_answer, w);
}

static json_t *anna(void)
{
	return json_pack("{s:[{s:s, s:s, s:i}]}", "by", "transport", "unix", "user", "anna", "uid",
			 7);
}

static void expect_anna(const json_t *by)
{
	const json_t *who = json_array_get(by, 1);

	assert_int_equal(json_array_size(by), 2);
	assert_string_equal(bh_json_str_or(json_array_get(by, 0), "dn", ""), "CN=h1");
	assert_string_equal(bh_json_str_or(who, "user", ""), "anna");
	assert_int_equal(bh_json_u64_or(who, "uid", 0), 7);
	assert_string_equal(bh_json_str_or(who, "host", ""), "h1");
}

static json_t *counted(void)
{
	return json_pack("{s:i, s:[]}", "connections", 10, "by");
}

/* The move goes on before the answer comes, and the record has it later. */
static void test_named_by_the_source(void **state)
{
	struct world *w = *state;
	BH_JSON json_t *last = NULL;

	ask_by(w, vm_json("paused"), "tls");
	answer_command(w, "h1", "depart", counted(), "");
	flush(w);
	answer_all(w);
	assert_false(said.refused);
	assert_string_not_equal(said.id, "");
	answer_command(w, "h1", "who", anna(), "");
	last = record(w);
	expect_anna(json_object_get(last, "by"));
	memcpy(w->id, said.id, sizeof(w->id));
	assert_int_equal(told(w, "h2", "installed", receipt(10)), 0);
	json_decref(last);
	last = take_notice(w, "migration.allowed");
	expect_anna(json_object_get(last, "by"));
}

/* So has the event of one that was refused, which waits for it: before anything was asked, ... */
static void test_refused(void **state)
{
	struct world *w = *state;
	json_t *other = vm_json("paused");
	BH_JSON json_t *last = NULL;
	BH_JSON json_t *notice = NULL;

	json_object_set_new(other, "tenant", json_string("bank"));
	ask_by(w, other, "tcp");
	assert_true(said.refused);
	assert_null(take_notice(w, "migration.refused"));
	answer_command(w, "h1", "who", anna(), "");
	notice = take_notice(w, "migration.refused");
	expect_anna(json_object_get(notice, "by"));
	assert_non_null(strstr(bh_json_str_or(notice, "reason", ""), "tenant 'bank'"));
	last = record(w);
	expect_anna(json_object_get(last, "by"));
	/* ... and also while nobody has answered yet */
	ask_by(w, vm_json("paused"), "tcp");
	answer_command(w, "h1", "depart", NULL, "gone");
	assert_true(said.refused);
	answer_command(w, "h1", "who", anna(), "");
	answer_command(w, "h1", "depart-end", counted(), "");
	assert_null(take_notice(w, "migration.refused"));
	answer_command(w, "h1", "who", anna(), "");
	json_decref(notice);
	notice = take_notice(w, "migration.refused");
	expect_anna(json_object_get(notice, "by"));
}

/* A source that does not answer, or an older one, costs the names only. */
static void test_nobody_answers(void **state)
{
	struct world *w = *state;
	json_t *other = vm_json("paused");

	json_object_set_new(other, "tenant", json_string("bank"));
	ask_by(w, other, "tls");
	answer_command(w, "h1", "who", NULL, "unknown");
	expect_notice(w, "migration.refused", "target", "h2");
	ask_by(w, vm_json("paused"), "tls");
	answer_command(w, "h1", "depart", counted(), "");
	answer_command(w, "h1", "who", NULL, "");
	flush(w);
	answer_all(w);
	assert_false(said.refused);
}

/* Whoever is connected to the target's libvirt there is named already. */
static void test_not_asked(void **state)
{
	struct world *w = *state;

	ask_by(w, vm_json("paused"), "unix");
	assert_int_equal(w->command_count, 1); /* depart */
}

/* The manager ends meanwhile: nothing is left over. */
static void test_ends(void **state)
{
	struct world *w = *state;
	json_t *other = vm_json("paused");

	json_object_set_new(other, "tenant", json_string("bank"));
	ask_by(w, other, "tls");
	ask_by(w, vm_json("paused"), "tls");
	assert_int_equal(w->command_count, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_named_by_the_source), TEST(test_refused), TEST(test_nobody_answers),
		TEST(test_not_asked),		TEST(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
