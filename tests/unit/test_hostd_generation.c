/* SPDX-License-Identifier: Apache-2.0 */
/* Marks of a VM's memory as hostd gives, keeps and tells them, and what it lets start alone. */
#include "base/json.h"
#include "base/time.h"
#include "host/agent/generation.h"
#include "hostd_world.h"

#define STATE_NS "https://bulkhead.dev/xml/state/1"

static struct {
	json_t *state; /* of the last birth */
	json_t *told;  /* of the VM, by `generations` */
	uint64_t give; /* in the answer to a birth */
	unsigned int behind;
	bool silent; /* births get no answer in time */
	struct bh_bus_request *late[8];
	size_t late_count;
} seen;

static bool manager(struct bh_bus_request *req, const struct bh_bus_msg *msg)
{
	const char *type = bh_json_str_or(msg->json, "type", "");
	char hash[2 * BH_HASH_SIZE + 1];

	if (!strcmp(type, "generations")) {
		json_decref(seen.told);
		seen.told =
			json_incref(json_object_get(json_object_get(msg->json, "vms"), WORLD_VM));
		seen.behind += json_is_true(json_object_get(seen.told, "behind"));
		bh_bus_reply(req, NULL);
		return true;
	}
	if (strcmp(type, "birth") != 0) {
		return false;
	}
	if (seen.silent) {
		seen.late[seen.late_count++] = req;
		return true;
	}
	json_decref(seen.state);
	seen.state = json_incref(json_object_get(msg->json, "state"));
	bh_hash_format(bh_image_hash(w.image), hash);
	bh_bus_reply(req,
		     json_pack("{s:s, s:I}", "hash", hash, "generation", (json_int_t)seen.give));
	return true;
}

static bool is_told(uint64_t generation, uint64_t next, bool saved)
{
	return seen.told && bh_json_u64_or(seen.told, "generation", 0) == generation &&
	       bh_json_u64_or(seen.told, "next", 0) == next &&
	       json_is_true(json_object_get(seen.told, "saved")) == saved;
}
static bool told_5(void)
{
	return is_told(5, 5, false);
}
static bool told_6(void)
{
	return is_told(6, 6, false);
}
static bool told_saved(void)
{
	return is_told(6, 6, true);
}
static bool told_behind(void)
{
	return seen.behind == 1 && is_told(11, 11, false);
}

/* The VM's XML with that mark; 0: without one. */
static char *marked(uint64_t generation, bool live)
{
	BH_FREE char *xml = world_domain("closed");
	BH_FREE char *mark = bh_asprintf("<metadata><m:state xmlns:m='" STATE_NS
					 "' generation='%llu' live='%s'/>",
					 (unsigned long long)generation, live ? "yes" : "no");
	char *at = strstr(xml, "<metadata>");

	return generation ? bh_asprintf("%.*s%s%s", (int)(at - xml), xml, mark,
					at + strlen("<metadata>"))
			  : bh_steal(&xml);
}

static const json_t *birth(uint64_t generation, bool live)
{
	BH_FREE char *xml = marked(generation, live);

	return world_call(json_pack("{s:s, s:s, s:[{s:s}]}", "op", "birth", "xml", xml, "by",
				    "user", "root"));
}

static void allowed(const json_t *reply)
{
	if (!json_is_true(json_object_get(reply, "ok"))) {
		fail_msg("%s", bh_json_str_or(reply, "error", ""));
	}
}

static void expect_state(const char *from, uint64_t generation)
{
	assert_string_equal(bh_json_str_or(seen.state, "from", ""), from);
	assert_int_equal(bh_json_u64_or(seen.state, "generation", 99), generation);
	assert_int_equal(json_array_size(json_object_get(seen.state, "by")), 1);
}

static void event(enum hostd_vm_event what, enum hostd_vm_detail detail)
{
	uint8_t uuid[16];

	assert_int_equal(bh_uuid_parse(WORLD_VM, uuid), 0);
	hostd_dummy_event(w.agent->sources[0].platform, uuid, what, detail);
	hostd_platform_refresh(w.agent->sources[0].platform);
}

static void runs(bool running)
{
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	BH_FREE char *xml = world_domain("closed");

	if (running) {
		world_write(file, xml);
	} else {
		assert_int_equal(unlink(file), 0);
	}
	hostd_platform_refresh(w.agent->sources[0].platform);
}

static void ended(void)
{
	world_call(json_pack("{s:s, s:s, s:s}", "op", "hook", "uuid", WORLD_VM, "event", "ended"));
}

/* ---- tests, in this order: each goes on where the one before ended ---- */

static void test_first_boot(void **state)
{
	w.manager = manager;
	seen.give = 5;
	w.config.birth_timeout_s = 3;
	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	world_start();
	world_wait(world_session_up, "the hello");
	world_apply(NULL, world_image(300, true));
	allowed(birth(0, false));
	expect_state("boot", 0);
	runs(true);
	world_wait(told_5, "the mark, and the word of it");
}

static void test_a_pause_raises(void **state)
{
	event(HOSTD_VM_SUSPENDED, HOSTD_DETAIL_OTHER);
	event(HOSTD_VM_RESUMED, HOSTD_DETAIL_OTHER);
	world_wait(told_6, "the next mark");
}

static void test_saved(void **state)
{
	runs(false);
	event(HOSTD_VM_STOPPED, HOSTD_DETAIL_SAVED);
	ended();
	world_wait(told_saved, "the word that it was saved");
}

/* What is on disk counts after a restart, and the manager is told all of it again. */
static void test_restart(void **state)
{
	world_stop();
	json_decref(bh_steal(&seen.told));
	world_start();
	world_wait(told_saved, "all of it again");
}

static void test_alone(void **state)
{
	const json_t *reply;

	seen.silent = true;
	reply = birth(6, true);
	assert_non_null(strstr(bh_json_str_or(reply, "error", ""), "goes back to a snapshot"));
	reply = birth(5, false);
	assert_non_null(strstr(bh_json_str_or(reply, "error", ""), "set back to an older state"));
	allowed(birth(6, false));
	ended();
	seen.silent = false;
	for (size_t i = 0; i < seen.late_count; i++) {
		bh_bus_reply_error(seen.late[i], "late", "the test says no");
	}
}

static void test_snapshot_is_told(void **state)
{
	BH_FREE char *xml = marked(5, true);
	const json_t *reply = world_call(json_pack("{s:s, s:s}", "op", "birth", "xml", xml));

	/* who put it back is asked before anything else is done */
	assert_true(json_is_true(json_object_get(reply, "who")));
	seen.give = 8;
	allowed(birth(5, true));
	expect_state("snapshot", 5);
	ended();
}

/* XML that somebody wrote brings any mark along, and says nothing by it. */
static void test_defined(void **state)
{
	seen.give = 9;
	event(HOSTD_VM_DEFINED, HOSTD_DETAIL_OTHER);
	allowed(birth(3, true));
	expect_state("boot", 0);
	ended();
	event(HOSTD_VM_DEFINED, HOSTD_DETAIL_SNAPSHOT);
	seen.give = 10;
	allowed(birth(3, true));
	expect_state("snapshot", 3);
}

static bool told_10(void)
{
	return is_told(10, 10, false);
}

/* Older than it was, and no hook was called. */
static void test_behind(void **state)
{
	uint8_t uuid[16];

	assert_int_equal(bh_uuid_parse(WORLD_VM, uuid), 0);
	runs(true);
	event(HOSTD_VM_STARTED, HOSTD_DETAIL_SNAPSHOT);
	world_wait(told_10, "its mark");
	hostd_platform_mark(w.agent->sources[0].platform, uuid, 4, true);
	world_wait(told_behind, "the word that it went back");
}

static bool told_12(void)
{
	return is_told(12, 12, false);
}

/* Its XML may be written at any time: once that has the newest mark, a snapshot is one again. */
static void test_defined_while_it_ran(void **state)
{
	event(HOSTD_VM_DEFINED, HOSTD_DETAIL_OTHER);
	world_wait(told_12, "a mark in the new XML");
	ended();
	seen.give = 13;
	allowed(birth(9, true));
	expect_state("snapshot", 9);
	world_wait(world_nic_fed, "the NIC to be fed");
	runs(true);
}

static uint64_t listed_ns;
static bool listed(void)
{
	return w.agent->sources[0].vms_at_ns > listed_ns;
}
static void list_anew(void)
{
	listed_ns = bh_time_mono_ns();
	hostd_platform_refresh(w.agent->sources[0].platform);
	world_wait(listed, "another list");
}
static bool told_13(void)
{
	return is_told(13, 13, false);
}

/* Put back while it was shut off, and edited then: that does not make its disk newer. */
static void test_edited_after_it_was_put_back(void **state)
{
	BH_FREE char *file = bh_asprintf("%s/platform/defined/web.xml", w.dir);
	BH_FREE char *xml = world_domain("closed");
	uint8_t uuid[16];

	world_wait(told_13, "its mark");
	runs(false);
	ended();
	world_sh("mkdir -p %s/platform/defined", w.dir);
	world_write(file, xml);
	assert_int_equal(bh_uuid_parse(WORLD_VM, uuid), 0);
	hostd_platform_mark(w.agent->sources[0].platform, uuid, 4, false);
	event(HOSTD_VM_DEFINED, HOSTD_DETAIL_SNAPSHOT);
	list_anew();
	event(HOSTD_VM_DEFINED, HOSTD_DETAIL_OTHER);
	list_anew();
	list_anew();
	assert_int_equal(unlink(file), 0);
	seen.give = 14;
	allowed(birth(4, false));
	expect_state("boot", 4);
}

/* Defined where it was not any more: it may have run elsewhere, and what this host knew is old. */
static void test_came_back_from_elsewhere(void **state)
{
	BH_FREE char *file = bh_asprintf("%s/platform/defined/web.xml", w.dir);
	BH_FREE char *xml = marked(12, false);

	ended();
	world_write(file, xml);
	event(HOSTD_VM_DEFINED, HOSTD_DETAIL_ADDED);
	list_anew();
	event(HOSTD_VM_DEFINED, HOSTD_DETAIL_OTHER); /* and somebody's edit */
	list_anew();
	list_anew();
	assert_int_equal(unlink(file), 0);
	seen.give = 20;
	allowed(birth(12, false));
	expect_state("boot", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_boot),
		cmocka_unit_test(test_a_pause_raises),
		cmocka_unit_test(test_saved),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_snapshot_is_told),
		cmocka_unit_test(test_defined),
		cmocka_unit_test(test_behind),
		cmocka_unit_test(test_defined_while_it_ran),
		cmocka_unit_test(test_edited_after_it_was_put_back),
		cmocka_unit_test(test_came_back_from_elsewhere),
	};
	int result = world_run("generation", tests, BH_ARRAY_SIZE(tests));

	json_decref(seen.state);
	json_decref(seen.told);
	return result;
}
