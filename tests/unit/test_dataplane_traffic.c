/* SPDX-License-Identifier: Apache-2.0 */
/* Real packets between namespaces through a protected bridge: what is allowed passes, what is not
 * does not, whatever happens to the process that feeds the kernel. */
#include "dataplane_world.h"

#include "base/time.h"
#include "base/util.h"

#include <arpa/inet.h>

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sched.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define ALLOWED 2000 /* UDP port that every policy here allows */
#define REFUSED 2001 /* ... and one that every policy refuses */
#define CLIENT	300u
#define SERVER	301u

static struct world world;
static struct hostd_dp *current; /* open now; for cleaning up after a test that failed */

static struct hostd_dp *must_open(const struct hostd_dp_options *options,
				  struct hostd_dp_open_info *ret_info)
{
	struct hostd_dp *dp;
	struct bh_diag diag = {};

	if (hostd_dp_open(options, &dp, ret_info, &diag)) {
		fail_msg("open: %s", diag.text);
	}
	current = dp;
	return dp;
}

static struct hostd_dp *open_world(enum hostd_dp_attach attach, bool fastpath,
				   struct hostd_dp_open_info *ret_info)
{
	struct hostd_dp_options options;

	world_options(&world, &options);
	options.attach = attach;
	options.fastpath = fastpath;
	return must_open(&options, ret_info);
}

static void close_world(struct hostd_dp *dp)
{
	current = NULL;
	hostd_dp_close(dp);
}

static void destroy_world(struct hostd_dp *dp)
{
	struct bh_diag diag = {};

	current = NULL;
	if (hostd_dp_destroy(dp, &diag)) {
		fail_msg("destroy: %s", diag.text);
	}
}

static void print_counter(const struct hostd_dp_counter *c, void *arg)
{
	print_message("  nic %u %s: %llu\n", c->nic, hostd_dp_reason_name(c->reason),
		      (unsigned long long)c->value.packets);
}

static void print_event(const struct bh_flow_event *e, void *arg)
{
	print_message(
		"  event type %u reason %s dir %u identities %u -> %u port %u rule %u gen %u\n",
		e->type, hostd_dp_reason_name(e->reason), e->dir, e->src_identity, e->dst_identity,
		ntohs(e->dport), e->rule, e->gen);
}

/* After every test; what a failed one left is said and removed. */
static int clean_up(void **state)
{
	struct hostd_dp *dp = current;

	if (dp) {
		current = NULL;
		(void)!hostd_dp_counters(dp, print_counter, NULL, NULL);
		(void)!hostd_dp_events_poll(dp, 20, print_event, NULL, NULL);
		(void)!hostd_dp_destroy(dp, NULL);
	}
	return 0;
}

/* Guests 0 and 2 are clients, 1 is the server. Two ways to say the same: default deny with rows
 * that allow, or default allow with rows that refuse; half of the one with half of the other would
 * let through or drop too much. */
static struct bh_segment *policy_records(int variant)
{
	struct bh_segment *seg = bh_segment_new("world");
	uint32_t in = BH_SET(SERVER, BH_DIR_INGRESS);

	add_nic(seg, 0, CLIENT, 0);
	add_nic(seg, 1, SERVER, 0);
	add_nic(seg, 2, CLIENT, 0);
	add_set(seg, BH_SET(CLIENT, BH_DIR_EGRESS), BH_ACTION_ALLOW, 0);
	add_set(seg, BH_SET(CLIENT, BH_DIR_INGRESS), BH_ACTION_DENY, 0);
	add_set(seg, BH_SET(SERVER, BH_DIR_EGRESS), BH_ACTION_DENY, 0);
	if (variant % 2 == 0) {
		add_set(seg, in, BH_ACTION_DENY, row_mask(CLIENT, ALLOWED));
		add_row(seg, in, CLIENT, ALLOWED, 1, BH_ACTION_ALLOW);
	} else {
		add_set(seg, in, BH_ACTION_ALLOW, row_mask(0, REFUSED) | row_mask(0, ALLOWED));
		add_row(seg, in, 0, REFUSED, 1, BH_ACTION_DENY);
		add_row(seg, in, 0, ALLOWED, 2, BH_ACTION_ALLOW);
	}
	for (uint32_t i = 0; i < 50; i++) { /* company that changes too */
		add_row(seg, BH_SET(SERVER, BH_DIR_EGRESS), 1000 + i + (uint32_t)variant, 0, i + 1,
			BH_ACTION_ALLOW);
	}
	return seg;
}

static struct bh_image *policy(int variant)
{
	return image_of(policy_records(variant));
}

static void must_refuse(void)
{
	/* world_passes also insists that the allowed port works. */
	assert_false(world_passes(&world, 0, 1, REFUSED, ALLOWED));
	assert_false(world_passes(&world, 2, 1, REFUSED, ALLOWED));
}

static void works_with(enum hostd_dp_attach attach, bool fastpath)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(attach, fastpath, &info);
	struct bh_image *image = bh_image_new();
	struct hostd_dp_nic_status status;

	world_bind(&world, dp);
	image = must_apply(dp, image, policy(0));
	for (int i = 0; i < 3; i++) {
		struct hostd_dp_nic_key key = world_key(i);

		assert_int_equal(hostd_dp_nic_status(dp, &key, &status, NULL), 0);
		assert_true(status.attached && status.fed);
		assert_int_equal(status.ifindex, world.tap[i]);
	}
	must_refuse();
	image = must_apply(dp, image, policy(1));
	must_refuse();
	assert_int_equal(hostd_dp_settle(dp, NULL), 0);
	must_refuse();
	assert_int_equal(hostd_dp_verify(dp, 1000000, NULL), 0);
	bh_image_free(image);
	destroy_world(dp);
	/* Nothing is left: the bridge forwards everything again. */
	assert_true(world_passes(&world, 0, 1, REFUSED, ALLOWED));
}

static void works_with_tcx(void **state)
{
	struct hostd_dp_open_info info;

	destroy_world(open_world(HOSTD_DP_ATTACH_AUTO, false, &info));
	if (!info.tcx) {
		print_message("this kernel has no tcx (it came with 6.6)\n");
		skip();
	}
	works_with(HOSTD_DP_ATTACH_TCX, false);
}

static void works_with_clsact(void **state)
{
	works_with(HOSTD_DP_ATTACH_CLSACT, false);
}

static void works_past_the_bridge(void **state)
{
	works_with(HOSTD_DP_ATTACH_AUTO, true);
}

static void changes_the_way_of_attaching(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(HOSTD_DP_ATTACH_CLSACT, false, &info);
	struct bh_image *image = bh_image_new();
	struct hostd_dp_nic_key key = world_key(0);
	struct hostd_dp_nic_status status;

	world_bind(&world, dp);
	image = must_apply(dp, image, policy(0));
	close_world(dp);
	must_refuse();
	dp = open_world(HOSTD_DP_ATTACH_AUTO, false, &info);
	assert_true(info.adopted);
	assert_int_equal(info.replaced, 6);
	must_refuse();
	assert_int_equal(hostd_dp_nic_status(dp, &key, &status, NULL), 0);
	assert_true(status.attached);
	if (info.tcx) {
		world_sh("! tc filter show dev tap0 ingress | grep -q bh_from_guest");
	}
	bh_image_free(image);
	destroy_world(dp);
}

/* ---- a port that nobody feeds ---- */

/* Sends from guest 3 to somebody without address resolution; guest 0 sends a marker behind it. */
static bool stranger_reaches(int to)
{
	BH_CLOSE int out = world_udp(&world, 3, 0), marker = world_udp(&world, 0, 0);
	BH_CLOSE int in = world_udp(&world, to, ALLOWED);
	uint64_t got = 0;
	bool reached = false;

	world_send(marker, to, ALLOWED, 1);
	assert_int_equal(world_recv(in), 1);
	world_send(out, to, ALLOWED, 2);
	world_send(marker, to, ALLOWED, 3);
	while (got != 3) {
		got = world_recv(in);
		assert_int_not_equal(got, 0);
		reached = reached || got == 2;
	}
	return reached;
}

static void nothing_from_a_port_that_is_not_fed(void **state)
{
	static const int targets[] = {1, WORLD_OUTSIDE, WORLD_HOST};
	struct hostd_dp_open_info info;
	struct hostd_dp *dp;
	struct bh_image *image = bh_image_new();
	struct hostd_dp_nic_key key = world_key(3);
	struct hostd_dp_device device = {.ifindex = world.tap[3], .bridge = world.bridge};

	world_sh("m=$(ip -br link show br0 | awk '{print $3}'); nsenter -t %d -n sh -c \""
		 "ip neigh replace 10.77.0.2 lladdr 02:77:00:00:00:02 dev eth0;"
		 "ip neigh replace 10.77.0.200 lladdr 02:77:00:00:00:c8 dev eth0;"
		 "ip neigh replace 10.77.0.254 lladdr $m dev eth0\"",
		 (int)world.guest_pid[3]);
	for (size_t i = 0; i < BH_ARRAY_SIZE(targets); i++) {
		assert_true(stranger_reaches(targets[i]));
	}
	dp = open_world(HOSTD_DP_ATTACH_AUTO, true, &info);
	world.guests = 3; /* all but the stranger */
	world_bind(&world, dp);
	world.guests = 4;
	image = must_apply(dp, image, policy(0));
	for (size_t i = 0; i < BH_ARRAY_SIZE(targets); i++) {
		assert_false(stranger_reaches(targets[i]));
	}
	/* Bound but not fed is no better. */
	assert_int_equal(hostd_dp_bind(dp, &key, &device, NULL), 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(targets); i++) {
		assert_false(stranger_reaches(targets[i]));
	}
	assert_int_equal(hostd_dp_unbind(dp, &key, NULL), 0);
	close_world(dp);
	/* Nobody runs. */
	for (size_t i = 0; i < BH_ARRAY_SIZE(targets); i++) {
		assert_false(stranger_reaches(targets[i]));
	}
	dp = open_world(HOSTD_DP_ATTACH_AUTO, true, &info);
	assert_int_equal(hostd_dp_set_open(dp, &key, true, NULL), 0);
	assert_int_equal(hostd_dp_bind(dp, &key, &device, NULL), 0);
	for (size_t i = 1; i < BH_ARRAY_SIZE(targets);
	     i++) { /* the server's own policy refuses it */
		assert_true(stranger_reaches(targets[i]));
	}
	bh_image_free(image);
	destroy_world(dp);
}

/* ---- devices come and go ---- */

static void a_new_device_with_an_old_number_is_a_stranger(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(HOSTD_DP_ATTACH_AUTO, false, &info);
	struct bh_image *image = bh_image_new();
	struct hostd_dp_nic_key key = world_key(3);
	struct hostd_dp_device device;
	struct hostd_dp_nic_status status;

	for (int round = 0; round < 2; round++) {
		world_sh("ip link add dummy9 type veth peer name dummy10");
		world_sh("ip link set dummy9 master br0");
		device = (struct hostd_dp_device){.ifindex = if_nametoindex("dummy9"),
						  .bridge = world.bridge};
		assert_int_equal(hostd_dp_bind(dp, &key, &device, NULL), 0);
		assert_int_equal(hostd_dp_nic_status(dp, &key, &status, NULL), 0);
		assert_true(status.attached);
		if (round) {
			close_world(dp);
		}
		world_sh("ip link del dummy9");
		world_sh("ip link add dummy9 index %u type veth peer name dummy10", device.ifindex);
		if (round) {
			dp = open_world(HOSTD_DP_ATTACH_AUTO, false, &info);
			assert_int_equal(info.gone, 1);
		} else {
			assert_int_equal(hostd_dp_nic_status(dp, &key, &status, NULL), 0);
			assert_false(status.attached);
			assert_int_equal(hostd_dp_reap(dp, NULL), 1);
		}
		assert_int_equal(hostd_dp_nic_status(dp, &key, &status, NULL), 0);
		assert_int_equal(status.ifindex, 0);
		world_sh("ip link del dummy9");
	}
	assert_int_equal(hostd_dp_bind(dp, &key, &device, NULL), -ENODEV);
	bh_image_free(image);
	destroy_world(dp);
}

static void a_device_has_one_owner(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(HOSTD_DP_ATTACH_AUTO, false, &info);
	struct hostd_dp_nic_key a = world_key(0), b = world_key(1);
	struct hostd_dp_device device = {.ifindex = world.tap[0], .bridge = world.bridge};
	struct hostd_dp_nic_status status;

	assert_int_equal(hostd_dp_bind(dp, &a, &device, NULL), 0);
	assert_int_equal(hostd_dp_bind(dp, &a, &device, NULL), 0);
	assert_int_equal(hostd_dp_bind(dp, &b, &device, NULL), -EBUSY);
	device.ifindex = world.tap[1]; /* moves */
	assert_int_equal(hostd_dp_bind(dp, &a, &device, NULL), 0);
	assert_int_equal(hostd_dp_nic_status(dp, &a, &status, NULL), 0);
	assert_true(status.attached);
	assert_int_equal(status.ifindex, world.tap[1]);
	device.ifindex = world.tap[0];
	assert_int_equal(hostd_dp_bind(dp, &b, &device, NULL), 0);
	assert_int_equal(hostd_dp_unbind(dp, &a, NULL), 0);
	assert_int_equal(hostd_dp_unbind(dp, &a, NULL), 0);
	assert_int_equal(hostd_dp_unbind_port(dp, world.tap[0], NULL), 0);
	assert_int_equal(hostd_dp_nic_status(dp, &b, &status, NULL), 0);
	assert_int_equal(status.index, 0);
	destroy_world(dp);
}

static void count_drift(const struct hostd_dp_drift *drift, void *arg)
{
	int *kinds = arg;

	kinds[drift->kind]++;
}

static void detached_programs_are_found_and_attached(void **state)
{
	enum hostd_dp_attach ways[] = {HOSTD_DP_ATTACH_AUTO, HOSTD_DP_ATTACH_CLSACT};

	for (size_t i = 0; i < BH_ARRAY_SIZE(ways); i++) {
		struct hostd_dp_open_info info;
		struct hostd_dp *dp = open_world(ways[i], false, &info);
		struct bh_image *image = bh_image_new();
		struct hostd_dp_nic_key key = world_key(0);
		struct hostd_dp_nic_status status;
		int kinds[HOSTD_DP_DRIFT_CTL + 1] = {};

		world_bind(&world, dp);
		image = must_apply(dp, image, policy(0));
		assert_int_equal(hostd_dp_verify(dp, SIZE_MAX - 1, NULL), 0);
		if (info.tcx) {
			world_sh("rm %s/links/%u-in", world.pin_dir, world.tap[0]);
		} else {
			world_sh("tc filter del dev tap0 ingress");
		}
		assert_int_equal(hostd_dp_nic_status(dp, &key, &status, NULL), 0);
		assert_false(status.attached);
		assert_int_equal(hostd_dp_verify(dp, SIZE_MAX - 1, NULL), 2);
		assert_int_equal(hostd_dp_compare(dp, image, count_drift, kinds, NULL), 1);
		assert_int_equal(kinds[HOSTD_DP_DRIFT_PORT], 1);
		assert_int_equal(hostd_dp_sync(dp, image, NULL, NULL), 0);
		assert_int_equal(hostd_dp_verify(dp, SIZE_MAX - 1, NULL), 0);
		must_refuse();
		bh_image_free(image);
		destroy_world(dp);
	}
}

/* ---- continuous traffic ---- */

struct traffic {
	pthread_t thread;
	atomic_bool stop;
	atomic_ullong sent;
	uint64_t lost, leaked;
};

/* Each turn: one refused datagram, one on a connection that lives long, one on a new connection;
 * the two allowed ones must arrive before the next turn. */
static void *run_traffic(void *arg)
{
	struct traffic *t = arg;
	BH_CLOSE int old = world_udp(&world, 0, 0), in = world_udp(&world, 1, ALLOWED);
	BH_CLOSE int refused = world_udp(&world, 1, REFUSED);
	uint64_t n = 0, got;
	cpu_set_t other;

	CPU_ZERO(&other); /* really at the same time as commits, where there is a second CPU */
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 1 : 0, &other);
	sched_setaffinity(0, sizeof(other), &other);
	while (!atomic_load(&t->stop)) {
		BH_CLOSE int fresh = world_udp(&world, 2, 0);

		world_send(old, 1, REFUSED, n);
		world_send(fresh, 1, REFUSED, n);
		world_send(old, 1, ALLOWED, ++n);
		world_send(fresh, 1, ALLOWED, ++n);
		for (int i = 0; i < 2; i++) {
			got = world_recv(in);
			if (!got) {
				t->lost++;
			}
		}
		if (recv(refused, &got, sizeof(got), MSG_DONTWAIT) > 0) {
			t->leaked++;
		}
		atomic_store(&t->sent, n);
	}
	return NULL;
}

static void start_traffic(struct traffic *t)
{
	memset(t, 0, sizeof(*t));
	must_refuse(); /* resolves addresses */
	assert_int_equal(pthread_create(&t->thread, NULL, run_traffic, t), 0);
	while (!atomic_load(&t->sent)) {
		sched_yield();
	}
}

static void end_traffic(struct traffic *t)
{
	atomic_store(&t->stop, true);
	pthread_join(t->thread, NULL);
	print_message("%llu datagrams\n", (unsigned long long)t->sent);
	assert_int_equal(t->lost, 0);
	assert_int_equal(t->leaked, 0);
}

static void a_flip_is_whole(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(HOSTD_DP_ATTACH_AUTO, *(bool *)*state, &info);
	struct bh_image *image = bh_image_new();
	uint64_t worst_ns = 0, sum_ns = 0;
	struct traffic traffic;
	int flips = 300;

	world_bind(&world, dp);
	image = must_apply(dp, image, policy(0));
	start_traffic(&traffic);
	for (int i = 1; i <= flips; i++) {
		struct bh_image *next = policy(i);
		struct bh_delta *delta = bh_delta_between(image, next);
		struct hostd_dp_report report;

		assert_int_equal(hostd_dp_apply(dp, delta, &report, NULL), 0);
		assert_int_equal(hostd_dp_settle(dp, NULL), 0);
		worst_ns = report.install_ns > worst_ns ? report.install_ns : worst_ns;
		sum_ns += report.install_ns;
		bh_delta_free(delta);
		bh_image_free(image);
		image = next;
	}
	print_message("%d commits: mean %llu us, worst %llu us\n", flips,
		      (unsigned long long)(sum_ns / 1000 / (unsigned int)flips),
		      (unsigned long long)(worst_ns / 1000));
	end_traffic(&traffic);
	assert_int_equal(hostd_dp_verify(dp, 1000000, NULL), 0);
	bh_image_free(image);
	destroy_world(dp);
}

/* Adopts, replaces the programs and commits until it is killed. Says that it is ready before that,
 * or (late) when commits begin. */
static void busy_process(int ready, bool late)
{
	struct hostd_dp_options options;
	struct hostd_dp_report report;
	struct hostd_dp *dp;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	world_options(&world, &options);
	if ((!late && write(ready, "x", 1) != 1) || hostd_dp_open(&options, &dp, NULL, NULL) ||
	    (late && write(ready, "x", 1) != 1)) {
		_exit(1);
	}
	for (int i = 0;; i++) {
		struct bh_image *image = policy(i);

		if (hostd_dp_sync(dp, image, &report, NULL)) {
			_exit(2);
		}
		bh_image_free(image);
	}
}

static void kill_at_any_moment(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(HOSTD_DP_ATTACH_AUTO, true, &info);
	struct bh_image *image = bh_image_new();
	struct traffic traffic;
	unsigned int recovered = 0;

	world_bind(&world, dp);
	image = must_apply(dp, image, policy(0));
	close_world(dp);
	start_traffic(&traffic);
	srandom(1);
	for (int i = 0; i < 50; i++) {
		int ready[2], status;
		struct timespec nap = {.tv_nsec = random() % 300000000};
		char c;
		pid_t pid;

		assert_int_equal(pipe(ready), 0);
		pid = fork();
		if (!pid) {
			busy_process(ready[1], i % 2 == 1);
		}
		assert_int_equal(read(ready[0], &c, 1), 1);
		nanosleep(&nap, NULL); /* the random moment itself, not a wait for something */
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		close(ready[0]);
		close(ready[1]);
		if (i % 5 > 2) {
			dp = open_world(HOSTD_DP_ATTACH_AUTO, true, &info);
			assert_true(info.adopted);
			assert_int_equal(info.replaced, 6);
			assert_int_equal(info.gone, 0);
			recovered += info.recovered;
			assert_int_equal(hostd_dp_verify(dp, 1000000, NULL), 0);
			close_world(dp);
		}
	}
	print_message("%u of 20 adoptions had an interrupted commit to mend\n", recovered);
	end_traffic(&traffic);
	dp = open_world(HOSTD_DP_ATTACH_AUTO, true, &info);
	bh_image_free(image);
	destroy_world(dp);
}

/* ---- looking ---- */

struct seen {
	uint64_t passed, refused;
	int flows, refusals, connections;
	uint32_t rule;
};

static void see_counter(const struct hostd_dp_counter *counter, void *arg)
{
	struct seen *seen = arg;

	if (counter->reason == BH_REASON_PASS) {
		seen->passed += counter->value.packets;
	} else if (counter->reason == BH_REASON_DROP_POLICY) {
		seen->refused += counter->value.packets;
	}
}

static void see_event(const struct bh_flow_event *event, void *arg)
{
	struct seen *seen = arg;

	seen->flows += event->type == BH_FLOW_NEW;
	if (event->type == BH_FLOW_REFUSED) {
		seen->refusals++;
		seen->rule = event->rule;
	}
}

static void see_connection(const struct hostd_dp_connection *c, void *arg)
{
	struct seen *seen = arg;
	uint8_t addr[16];

	world_addr(0, addr);
	assert_memory_equal(c->src, addr, 16);
	assert_int_equal(c->dport, ALLOWED);
	assert_int_equal(c->src_identity, CLIENT);
	assert_int_equal(c->dst_identity, SERVER);
	seen->connections++;
}

static void says_what_it_did(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(HOSTD_DP_ATTACH_AUTO, false, &info);
	struct hostd_dp_connection_filter filter = {.proto = IPPROTO_UDP, .port = ALLOWED};
	struct bh_image *image = bh_image_new();
	struct seen seen = {};

	world_bind(&world, dp);
	image = must_apply(dp, image, policy(0));
	assert_false(world_passes(&world, 0, 1, REFUSED, ALLOWED));
	assert_true(hostd_dp_events_fd(dp) >= 0);
	assert_true(hostd_dp_events_poll(dp, 1, see_event, &seen, NULL) == 1);
	assert_true(hostd_dp_events_poll(dp, 1000, see_event, &seen, NULL) >= 1);
	assert_true(seen.flows >= 1);
	assert_int_equal(seen.refusals, 1);
	assert_int_equal(seen.rule, 1);
	assert_int_equal(hostd_dp_counters(dp, see_counter, &seen, NULL), 0);
	assert_true(seen.passed >= 2);
	assert_int_equal(seen.refused, 1);
	assert_int_equal(hostd_dp_connections(dp, &filter, see_connection, &seen, NULL), 1);
	assert_int_equal(seen.connections, 1);
	filter.port = 9;
	assert_int_equal(hostd_dp_connections(dp, &filter, see_connection, &seen, NULL), 0);
	bh_image_free(image);
	destroy_world(dp);
}

/* ---- connections from before ---- */

static void see_tcp_refusal(const struct bh_flow_event *event, void *arg)
{
	unsigned int *refused = arg;

	*refused += event->type == BH_FLOW_REFUSED && event->proto == IPPROTO_TCP &&
		    ntohs(event->dport) == REFUSED;
}

/* TCP on the allowed and on the refused port is open when protection begins. Without the flag both
 * are cut; with it the next repetition of what was allowed goes on, the other one stays refused. */
static void picks_up_what_is_allowed(void **state)
{
	struct hostd_dp_open_info info;
	struct hostd_dp *dp = open_world(HOSTD_DP_ATTACH_AUTO, false, &info);
	struct bh_segment *seg = policy_records(0);
	struct pollfd events = {.fd = hostd_dp_events_fd(dp), .events = POLLIN};
	struct bh_image *image = bh_image_new();
	unsigned int refused = 0;
	int allowed_fd[2], refused_fd[2];
	char c = 0;

	world_tcp(&world, 0, 1, ALLOWED, allowed_fd);
	world_tcp(&world, 0, 1, REFUSED, refused_fd);
	add_proto_row(seg, BH_SET(SERVER, BH_DIR_INGRESS), CLIENT, IPPROTO_TCP, ALLOWED, 2);
	world_bind(&world, dp);
	image = must_apply(dp, image, image_of(seg));
	assert_int_equal(send(allowed_fd[0], "a", 1, 0), 1);
	assert_int_equal(send(refused_fd[0], "r", 1, 0), 1);
	must_refuse(); /* when this is through, those are decided */
	assert_int_equal(recv(allowed_fd[1], &c, 1, MSG_DONTWAIT), -1);
	for (int i = 0; i < 2; i++) {
		struct hostd_dp_nic_key key = world_key(i);
		struct hostd_dp_device device = {.ifindex = world.tap[i],
						 .bridge = world.bridge,
						 .host_flags = BH_NIC_PICKUP};
		struct hostd_dp_nic_status status;

		assert_int_equal(hostd_dp_bind(dp, &key, &device, NULL), 0);
		assert_int_equal(hostd_dp_nic_status(dp, &key, &status, NULL), 0);
		assert_true(status.flags & BH_NIC_PICKUP);
	}
	/* The image knows nothing of it. */
	assert_int_equal(hostd_dp_verify(dp, SIZE_MAX - 1, NULL), 0);
	assert_int_equal(recv(allowed_fd[1], &c, 1, 0), 1);
	assert_int_equal(c, 'a');
	while (!refused) {
		assert_true(poll(&events, 1, 10000) == 1);
		assert_true(hostd_dp_events_poll(dp, 1000, see_tcp_refusal, &refused, NULL) >= 0);
	}
	assert_int_equal(recv(refused_fd[1], &c, 1, MSG_DONTWAIT), -1);
	for (int i = 0; i < 2; i++) {
		close(allowed_fd[i]);
		close(refused_fd[i]);
	}
	bh_image_free(image);
	destroy_world(dp);
}

int main(void)
{
	static bool fastpath = true, bridged = false;
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(works_with_tcx, clean_up),
		cmocka_unit_test_teardown(works_with_clsact, clean_up),
		cmocka_unit_test_teardown(works_past_the_bridge, clean_up),
		cmocka_unit_test_teardown(changes_the_way_of_attaching, clean_up),
		cmocka_unit_test_teardown(nothing_from_a_port_that_is_not_fed, clean_up),
		cmocka_unit_test_teardown(a_new_device_with_an_old_number_is_a_stranger, clean_up),
		cmocka_unit_test_teardown(a_device_has_one_owner, clean_up),
		cmocka_unit_test_teardown(detached_programs_are_found_and_attached, clean_up),
		cmocka_unit_test_teardown(says_what_it_did, clean_up),
		cmocka_unit_test_teardown(picks_up_what_is_allowed, clean_up),
		cmocka_unit_test_prestate_setup_teardown(a_flip_is_whole, NULL, clean_up, &bridged),
		cmocka_unit_test_prestate_setup_teardown(a_flip_is_whole, NULL, clean_up,
							 &fastpath),
		cmocka_unit_test_teardown(kill_at_any_moment, clean_up),
	};

	return world_run(&world, 4, true, tests);
}
