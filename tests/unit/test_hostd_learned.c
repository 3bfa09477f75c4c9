/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that a guest was given: the manager hears of each until it has taken it. */
#include "hostd_world.h"

#include "base/json.h"
#include "base/time.h"

static struct {
	unsigned int asked;
	unsigned int refuse; /* so many of the next */
	uint64_t lease_s;    /* of the last one */
} seen;

static bool manager(struct bh_bus_request *req, const struct bh_bus_msg *msg)
{
	if (strcmp(bh_json_str_or(msg->json, "type", ""), "learned") != 0) {
		return false;
	}
	seen.asked++;
	seen.lease_s = bh_json_u64_or(msg->json, "lease_s", 99);
	if (seen.refuse) {
		seen.refuse--;
		bh_bus_reply_error(req, "bad", "the test says no");
		return true;
	}
	return false;
}

static bool asked_1(void)
{
	return seen.asked == 1;
}

static bool asked_3(void)
{
	return seen.asked == 3;
}

static bool asked_4(void)
{
	return seen.asked == 4;
}

static bool asked_5(void)
{
	return seen.asked == 5;
}

static void learn(uint64_t duration_ns)
{
	struct bh_flow_event event = {.nic = world_nic_status().index, .duration_ns = duration_ns};

	assert_int_equal(bh_addr_parse("10.78.0.99", event.dst), 0);
	hostd_session_learned(w.agent, &event);
}

static bool later(void)
{
	static uint64_t until;

	until = until ? until : bh_time_mono_ns() + 3 * BH_NS_PER_S;
	return bh_time_mono_ns() > until;
}

static bool long_after(void)
{
	static uint64_t until;

	until = until ? until : bh_time_mono_ns() + 5 * BH_NS_PER_S;
	return bh_time_mono_ns() > until;
}

static void test_repeated_until_taken(void **state)
{
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	BH_FREE char *xml = world_domain("closed");

	w.manager = manager;
	world_sh("ip tuntap add tap0 mode tap && ip link set tap0 master br0 up");
	world_start();
	world_wait(world_session_up, "the hello");
	world_apply(NULL, world_image(300, true));
	world_write(file, xml);
	hostd_platform_refresh(w.agent->sources[0].platform);
	world_wait(world_nic_fed, "the VM's NIC");
	seen.refuse = 2;
	learn(600 * BH_NS_PER_S);
	world_wait(asked_1, "the address");
	world_wait(asked_3, "it again, twice");
	world_wait(later, "nothing more");
	assert_int_equal(seen.asked, 3);
	assert_in_range(seen.lease_s, 590, 600);
}

/* One that was given back is no lease any more, and is told all the same. */
static void test_release_is_repeated(void **state)
{
	seen.refuse = 1;
	learn(0);
	world_wait(asked_4, "the release");
	assert_int_equal(seen.lease_s, 0);
	world_wait(asked_5, "it again");
	assert_int_equal(seen.lease_s, 0);
}

static void count_vm(const struct hostd_vm *vm, void *arg)
{
	++*(unsigned int *)arg;
}

static bool vm_gone(void)
{
	unsigned int count = 0;

	hostd_inventory_each(w.agent->inv, count_vm, &count);
	return !count;
}

/* What nobody knows any more is not said for ever. */
static void test_not_of_a_vm_that_left(void **state)
{
	BH_FREE char *file = bh_asprintf("%s/platform/domains/web.xml", w.dir);
	unsigned int before = seen.asked;

	seen.refuse = 1000;
	learn(600 * BH_NS_PER_S);
	assert_int_equal(unlink(file), 0);
	hostd_platform_refresh(w.agent->sources[0].platform);
	world_wait(vm_gone, "the host without the VM");
	world_wait(long_after, "time");
	assert_in_range(seen.asked, before + 1, before + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repeated_until_taken),
		cmocka_unit_test(test_release_is_repeated),
		cmocka_unit_test(test_not_of_a_vm_that_left),
	};

	return world_run("hostd_learned", tests, BH_ARRAY_SIZE(tests));
}
