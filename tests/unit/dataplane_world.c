/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane_world.h"

#include "image_put.h"

#include "base/util.h"
#include "model/id.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cmocka.h>

void world_require_root(void)
{
	if (geteuid()) {
		puts("skipped: loading BPF programs needs root");
		exit(77);
	}
}

void world_sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd)) {
		fail_msg("failed: %s", cmd);
	}
}

static void quiet_ipv6(void)
{
	if (system("for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; "
		   "done 2>/dev/null")) {
		/* a kernel without IPv6 is quiet anyway */
	}
}

/* A process that keeps a network namespace. */
static pid_t keep_namespace(void)
{
	int ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET)) {
			_exit(1);
		}
		quiet_ipv6();
		if (system("ip link set lo up") || write(ready[1], "x", 1) != 1) {
			_exit(1);
		}
		for (;;) {
			pause();
		}
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static pid_t ns_pid(const struct world *w, int guest)
{
	return guest == WORLD_OUTSIDE ? w->outside_pid : w->guest_pid[guest];
}

static int host_number(int guest)
{
	return guest == WORLD_OUTSIDE ? 200 : guest == WORLD_HOST ? 254 : guest + 1;
}

static uint32_t add_port(const struct world *w, int guest, const char *name)
{
	pid_t pid = ns_pid(w, guest);
	int n = host_number(guest);

	world_sh("ip link add %s type veth peer name eth0 netns %d", name, (int)pid);
	world_sh("ip link set %s master br0 up", name);
	world_sh("nsenter -t %d -n sh -c 'ip link set eth0 address 02:77:00:00:00:%02x up && "
		 "ip addr add 10.77.0.%d/24 dev eth0'",
		 (int)pid, n, n);
	return if_nametoindex(name);
}

void world_init(struct world *w, int guests, bool outside)
{
	cpu_set_t one;

	/* One CPU: what is sent first arrives first, so a marker tells that what came before it is
	 * decided. */
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	memset(w, 0, sizeof(*w));
	assert_int_equal(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	strcpy(w->dir, "/tmp/bh-dp-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(mount("bpf", w->dir, "bpf", 0, NULL), 0);
	snprintf(w->pin_dir, sizeof(w->pin_dir), "%s/v%d", w->dir, BH_ABI_VERSION);
	w->host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	w->guests = guests;
	world_sh("ip link set lo up");
	if (!guests) {
		return;
	}
	quiet_ipv6();
	world_sh("ip link add br0 type bridge && ip link set br0 up && "
		 "ip addr add 10.77.0.254/24 dev br0");
	w->bridge = if_nametoindex("br0");
	for (int i = 0; i < guests; i++) {
		char name[16];

		w->guest_pid[i] = keep_namespace();
		snprintf(name, sizeof(name), "tap%d", i);
		w->tap[i] = add_port(w, i, name);
	}
	if (outside) {
		w->outside_pid = keep_namespace();
		w->uplink = add_port(w, WORLD_OUTSIDE, "up0");
	}
}

void world_done(struct world *w)
{
	for (int i = 0; i < w->guests; i++) {
		kill(w->guest_pid[i], SIGKILL);
		waitpid(w->guest_pid[i], NULL, 0);
	}
	if (w->outside_pid) {
		kill(w->outside_pid, SIGKILL);
		waitpid(w->outside_pid, NULL, 0);
	}
	umount2(w->dir, MNT_DETACH);
	rmdir(w->dir);
	close(w->host_ns);
}

static const struct world_plan *running; /* cmocka hands nothing to what sets a group up */

static int setup(void **state)
{
	world_init(running->world, running->guests, running->outside);
	return 0;
}

static int teardown(void **state)
{
	world_done(running->world);
	return 0;
}

int world_run_group(const struct world_plan *plan, const struct CMUnitTest *tests, size_t count)
{
	world_require_root();
	running = plan;
	return _cmocka_run_group_tests("tests", tests, count, setup, teardown);
}

int world_clean_up(void **state)
{
	(void)!hostd_dp_remove(running->world->pin_dir, NULL);
	return 0;
}

void world_options(const struct world *w, struct hostd_dp_options *ret_options)
{
	hostd_dp_options_init(ret_options);
	ret_options->pin_dir = w->pin_dir;
}

struct hostd_dp_nic_key world_key(int guest)
{
	struct hostd_dp_nic_key key = {.vm = {0xaa, [15] = (uint8_t)(guest + 1)},
				       .mac = {2, 0x77, 0, 0, 0, (uint8_t)(guest + 1)}};

	return key;
}

void world_addr(int guest, uint8_t ret_addr[16])
{
	char text[32];

	snprintf(text, sizeof(text), "10.77.0.%d", host_number(guest));
	assert_int_equal(bh_addr_parse(text, ret_addr), 0);
}

void world_bind(struct world *w, struct hostd_dp *dp)
{
	struct bh_diag diag = {};

	for (int i = 0; i < w->guests; i++) {
		struct hostd_dp_nic_key key = world_key(i);
		struct hostd_dp_device device = {
			.ifindex = w->tap[i], .bridge = w->bridge, .host_flags = BH_NIC_FASTPATH};

		if (hostd_dp_bind(dp, &key, &device, &diag)) {
			fail_msg("bind: %s", diag.text);
		}
	}
	assert_int_equal(hostd_dp_bind_bridge(dp, w->bridge, &diag), 0);
	if (w->uplink) {
		assert_int_equal(hostd_dp_bind_uplink(dp, w->uplink, w->bridge, &diag), 0);
	}
}

/* ---- traffic ---- */

/* Bound to the port when it is not 0; receives wait at most wait_s. */
static int socket_of(const struct world *w, int guest, int type, uint16_t port, int wait_s)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval wait = {.tv_sec = wait_s};
	int size = 4 << 20, yes = 1, fd;

	if (guest != WORLD_HOST) {
		char path[64];
		BH_CLOSE int ns = -1;

		snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)ns_pid(w, guest));
		ns = open(path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	}
	fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(w->host_ns, CLONE_NEWNET), 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

int world_udp(const struct world *w, int guest, uint16_t port)
{
	return socket_of(w, guest, SOCK_DGRAM, port, 2);
}

static struct sockaddr_in address_of(int guest, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};

	sa.sin_addr.s_addr = htonl(0x0a4d0000u + (uint32_t)host_number(guest));
	return sa;
}

void world_tcp(const struct world *w, int from, int to, uint16_t port, int ret_fd[2])
{
	struct sockaddr_in sa = address_of(to, port);
	BH_CLOSE int server = socket_of(w, to, SOCK_STREAM, port, 10);

	ret_fd[0] = socket_of(w, from, SOCK_STREAM, 0, 10);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(connect(ret_fd[0], (struct sockaddr *)&sa, sizeof(sa)), 0);
	ret_fd[1] = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	assert_true(ret_fd[1] >= 0);
}

void world_send(int fd, int to_guest, uint16_t port, uint64_t value)
{
	struct sockaddr_in sa = address_of(to_guest, port);

	/* What the dataplane refuses with ICMP makes a later send fail; that is an answer too. */
	(void)!sendto(fd, &value, sizeof(value), 0, (struct sockaddr *)&sa, sizeof(sa));
}

uint64_t world_recv(int fd)
{
	uint64_t value = 0;
	ssize_t n;

	do {
		n = recv(fd, &value, sizeof(value), 0);
	} while (n < 0 && (errno == EINTR || errno == ECONNREFUSED || errno == EHOSTUNREACH));
	return n == sizeof(value) ? value : 0;
}

bool world_passes(const struct world *w, int from, int to, uint16_t port, uint16_t marker_port)
{
	BH_CLOSE int out = world_udp(w, from, 0);
	BH_CLOSE int in = world_udp(w, to, port);
	BH_CLOSE int marker = world_udp(w, to, marker_port);
	uint64_t got = 0;

	/* The marker goes first too, so that address resolution does not drop what follows. */
	world_send(out, to, marker_port, 1);
	assert_int_equal(world_recv(marker), 1);
	world_send(out, to, port, 2);
	world_send(out, to, marker_port, 3);
	assert_int_equal(world_recv(marker), 3);
	return recv(in, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got) && got == 2;
}

/* ---- images by hand ---- */

struct bh_image *image_of(struct bh_segment *seg)
{
	struct bh_image *image = bh_image_new();

	image_put(image, seg);
	return image;
}

void add_nic(struct bh_segment *seg, int guest, uint32_t identity, uint32_t flags)
{
	struct hostd_dp_nic_key key = world_key(guest);
	struct bh_rec nic = {.type = BH_REC_NIC}, nic_addr = {.type = BH_REC_NIC_ADDR},
		      addr = {.type = BH_REC_ADDR};

	memcpy(nic.nic.vm, key.vm, 16);
	memcpy(nic.nic.mac, key.mac, 6);
	nic.nic.net = WORLD_NET;
	nic.nic.identity = identity;
	nic.nic.tenant = WORLD_TENANT;
	nic.nic.flags = flags;
	bh_segment_add(seg, &nic);
	memcpy(nic_addr.nic_addr.vm, key.vm, 16);
	memcpy(nic_addr.nic_addr.mac, key.mac, 6);
	world_addr(guest, nic_addr.nic_addr.addr);
	bh_segment_add(seg, &nic_addr);
	addr.addr.net = WORLD_NET;
	world_addr(guest, addr.addr.addr);
	addr.addr.identity = identity;
	addr.addr.tenant = WORLD_TENANT;
	bh_segment_add(seg, &addr);
}

void add_set(struct bh_segment *seg, uint32_t set, uint8_t action, uint16_t mask)
{
	struct bh_rec rec = {
		.type = BH_REC_SET,
		.set = {.set = set, .default_rule = 1, .mask = mask, .default_action = action}};

	bh_segment_add(seg, &rec);
}

static uint8_t row_shape(uint32_t remote, uint16_t port)
{
	return (uint8_t)((remote ? BH_REMOTE_IDENTITY : BH_REMOTE_ANY) * 4 +
			 (port ? BH_SERVICE_PORT : BH_SERVICE_ANY));
}

uint16_t row_mask(uint32_t remote, uint16_t port)
{
	return (uint16_t)(1u << row_shape(remote, port));
}

static void add_any_row(struct bh_segment *seg, uint32_t set, uint32_t remote, uint8_t proto,
			uint16_t port, const struct bh_rec_row *answer)
{
	struct bh_rec rec = {.type = BH_REC_ROW, .row = *answer};

	rec.row.set = set;
	rec.row.remote = remote;
	rec.row.port = port;
	rec.row.proto = proto;
	rec.row.shape = row_shape(remote, port);
	rec.row.rule = 1000 + rec.row.rank;
	bh_segment_add(seg, &rec);
}

void add_row(struct bh_segment *seg, uint32_t set, uint32_t remote, uint16_t port, uint32_t rank,
	     uint8_t action)
{
	add_any_row(seg, set, remote, port ? IPPROTO_UDP : 0, port,
		    &(struct bh_rec_row){.rank = rank, .action = action});
}

void add_proto_row(struct bh_segment *seg, uint32_t set, uint32_t remote, uint8_t proto,
		   uint16_t port, uint32_t rank)
{
	add_any_row(seg, set, remote, proto, port,
		    &(struct bh_rec_row){.rank = rank, .action = BH_ACTION_ALLOW});
}

void add_cidr(struct bh_segment *seg, uint32_t set, const char *cidr, uint32_t class_id)
{
	struct bh_rec rec = {.type = BH_REC_CIDR, .cidr = {.set = set, .class_id = class_id}};

	assert_int_equal(bh_cidr_parse(cidr, rec.cidr.addr, &rec.cidr.prefix_bits), 0);
	bh_segment_add(seg, &rec);
}

void add_range(struct bh_segment *seg, uint32_t set, uint8_t proto, uint8_t bits, uint16_t port,
	       uint32_t class_id)
{
	struct bh_rec rec = {.type = BH_REC_RANGE,
			     .range = {.set = set,
				       .proto = proto,
				       .prefix_bits = bits,
				       .port = port,
				       .class_id = class_id}};

	bh_segment_add(seg, &rec);
}

struct bh_image *must_apply(struct hostd_dp *dp, struct bh_image *from, struct bh_image *to)
{
	struct bh_delta *delta = bh_delta_between(from, to);
	struct hostd_dp_report report;
	struct bh_diag diag = {};

	if (hostd_dp_apply(dp, delta, &report, &diag)) {
		fail_msg("apply: %s", diag.text);
	}
	assert_true(bh_hash_equal(&report.hash, bh_image_hash(to)));
	bh_delta_free(delta);
	bh_image_free(from);
	return to;
}
