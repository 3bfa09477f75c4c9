/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs on real taps of a real bridge: what BPF_PROG_TEST_RUN can't make. Frames that are
 * not linear, tags that the kernel has taken off, frames cut within their IP header, answers that
 * find their way back, the host's own stack.
 *
 * kit1 and kit2 are NICs, kit0 is a port that is not fed, kup0 the uplink (its other end is kup1),
 * all on bridge kbr, which is the host's 10.0.0.254.
 *
 * That nothing arrives is seen without waiting: a frame that must arrive is sent behind it.
 */
#include "kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define RING_SIZE   4096u
#define PATIENCE_MS 2000
#define PROBE_PORT  9999 /* frames of settle(): nobody expects them */

struct wire {
	struct kit *kit;
	int tap[3]; /* kit0, kit1, kit2 */
	int up;	    /* packet socket on kup1 */
};

static struct wire wire;

static void attach(const char *dev, struct bpf_program *prog, enum bpf_tc_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(dev),
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(prog), .handle = 1, .priority = 1,
		    .flags = BPF_TC_F_REPLACE);
	libbpf_print_fn_t print = libbpf_set_print(NULL); /* that it exists is no news */
	int err = bpf_tc_hook_create(&hook);

	(void)libbpf_set_print(print);
	assert_true(err == 0 || err == -EEXIST);
	hook.attach_point = point;
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
}

static int open_tap(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static int open_packet(const char *name)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)),
	    one = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), 0);
	return fd;
}

static void shell(const char *command)
{
	if (system(command)) {
		fail_msg("failed: %s", command);
	}
}

static int setup(void **state)
{
	struct dataplane *s;

	(void)kit_setup(state);
	wire.kit = *state;
	kit_allow_all(wire.kit);
	s = wire.kit->skel;
	shell("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; ip link del kbr 2>/dev/null; "
	      "ip link del kup0 2>/dev/null; ip link add kbr type bridge && "
	      "ip link add kup0 type veth peer name kup1 && for d in kit0 kit1 kit2 kup0; do "
	      "echo 1 > /proc/sys/net/ipv6/conf/$d/disable_ipv6; "
	      "ip link set $d master kbr up; done && "
	      "ip link set kup1 up && ip link set kbr up && ip addr add 10.0.0.254/24 dev kbr && "
	      "ip neigh replace 10.0.0.1 lladdr 52:54:00:00:00:01 dev kbr nud permanent");
	for (int i = 0; i < 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "kit%d", i);
		wire.tap[i] = open_tap(name);
		if (i) {
			attach(name, s->progs.bh_from_guest, BPF_TC_INGRESS);
			attach(name, s->progs.bh_to_guest, BPF_TC_EGRESS);
		}
	}
	attach("kup0", s->progs.bh_from_uplink, BPF_TC_INGRESS);
	attach("kup0", s->progs.bh_to_uplink, BPF_TC_EGRESS);
	attach("kbr", s->progs.bh_from_bridge, BPF_TC_INGRESS);
	attach("kbr", s->progs.bh_to_bridge, BPF_TC_EGRESS);
	wire.up = open_packet("kup1");
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < 3; i++) {
		close(wire.tap[i]);
	}
	close(wire.up);
	return kit_teardown(state);
}

static void put_frame(int fd, const struct kit_frame *f)
{
	assert_int_equal(write(fd, f->data, f->size), f->size);
}

static bool is_probe(const uint8_t *data, ssize_t size)
{
	return size > 38 && data[36] == PROBE_PORT >> 8 && data[37] == (PROBE_PORT & 0xff);
}

/* The next frame that arrives there and is no noise of the kernel's. False when none comes. */
static bool get_frame(int fd, struct kit_frame *f)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t got;

	while (poll(&p, 1, PATIENCE_MS) > 0) {
		got = read(fd, f->data, sizeof(f->data));
		if (got >= 14 && f->data[0] != 0x01 && !is_probe(f->data, got)) {
			f->size = got;
			f->l3 = 14;
			return true;
		}
	}
	return false;
}

static void expect(int fd, const struct kit_frame *want)
{
	struct kit_frame got;

	assert_true(get_frame(fd, &got));
	assert_int_equal(got.size, want->size);
	assert_memory_equal(got.data, want->data, want->size);
}

static void udp(struct kit_frame *f, const char *src, const char *dst, uint16_t port, size_t size)
{
	KIT_FRAME(f, .src = src, .dst = dst, .proto = KIT_UDP, .sport = 9, .dport = port,
		  .body_size = size);
}

/* A port forwards some time after its link is up. */
static void settle(int from, const char *src, int to, const char *dst)
{
	struct pollfd p = {.fd = to, .events = POLLIN};
	struct kit_frame f, in;

	udp(&f, src, dst, PROBE_PORT, 0);
	for (int i = 0; i < 100; i++) {
		put_frame(from, &f);
		while (poll(&p, 1, 20) > 0) {
			ssize_t got = read(to, in.data, sizeof(in.data));

			if (is_probe(in.data, got)) {
				return;
			}
		}
	}
	fail_msg("the bridge does not forward");
}

static void settle_unfed(void)
{
	struct pollfd never = {.fd = -1};
	struct kit_frame f;

	udp(&f, "10.0.0.50", "10.0.0.1", PROBE_PORT, 0);
	f.data[11] ^= 1; /* the bridge must not look for the uplink's MAC there */
	for (int i = 0; i < 100 && !kit_stat(wire.kit, 1, BH_REASON_DROP_UNMARKED); i++) {
		put_frame(wire.tap[0], &f);
		(void)poll(&never, 1, 5);
	}
}

static int setup_settled(void **state)
{
	(void)setup(state);
	settle(wire.up, "192.0.2.9", wire.tap[1], "10.0.0.1");
	settle(wire.up, "192.0.2.9", wire.tap[2], "10.0.0.2");
	settle(wire.tap[1], "10.0.0.1", wire.up, "192.0.2.9");
	settle(wire.tap[2], "10.0.0.2", wire.up, "192.0.2.9");
	settle_unfed();
	return 0;
}

static void frames_cross_the_bridge(void **state)
{
	struct kit_frame f;

	(void)state;
	udp(&f, "10.0.0.2", "192.0.2.9", 7, 100);
	put_frame(wire.tap[2], &f);
	expect(wire.up, &f);
	udp(&f, "10.0.0.1", "10.0.0.2", 7, 100);
	put_frame(wire.tap[1], &f);
	expect(wire.tap[2], &f);
	udp(&f, "192.0.2.9", "10.0.0.2", 7, 100);
	put_frame(wire.up, &f);
	expect(wire.tap[2], &f);
}

static void and_go_past_it(void **state)
{
	struct kit_frame f;

	(void)state;
	kit_fastpath(wire.kit);
	for (int i = 0; i < 5; i++) {
		udp(&f, "10.0.0.1", "10.0.0.2", 7, 100 + i);
		put_frame(wire.tap[1], &f);
		expect(wire.tap[2], &f);
		KIT_FRAME(&f, .src = "fd00::2", .dst = "fd00::1", .proto = KIT_UDP, .sport = 9,
			  .dport = 7);
		put_frame(wire.tap[2], &f);
		expect(wire.tap[1], &f);
	}
	assert_int_equal(kit_stat(wire.kit, 1, BH_REASON_PASS_FAST), 4);
	assert_int_equal(kit_stat(wire.kit, 2, BH_REASON_PASS_FAST), 4);
}

static void a_port_that_is_not_fed_reaches_nobody(void **state)
{
	struct kit_frame f, good;

	(void)state;
	udp(&f, "10.0.0.50", "10.0.0.1", 7, 20);
	put_frame(wire.tap[0], &f);
	udp(&f, "10.0.0.50", "192.0.2.9", 7, 20);
	put_frame(wire.tap[0], &f);
	kit_arp(&f, kit_mac[0], 1, kit_mac[0], "10.0.0.50", "10.0.0.1");
	put_frame(wire.tap[0], &f);
	udp(&good, "10.0.0.2", "10.0.0.1", 8, 20);
	put_frame(wire.tap[2], &good);
	expect(wire.tap[1], &good);
	assert_true(kit_stat(wire.kit, 1, BH_REASON_DROP_UNMARKED) >= 2);
	/* Uplink and host: flooded frames, each dropped there. */
	assert_true(kit_stat(wire.kit, 0, BH_REASON_DROP_UNMARKED) >= 2);
}

static void frames_cut_within_their_headers_reach_nobody(void **state)
{
	struct kit_frame whole, f, good;

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		KIT_FRAME(&whole, .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::2" : "10.0.0.2", .proto = KIT_TCP, .dport = 9,
			  .tcp_flags = KIT_SYN);
		f = whole;
		for (f.size = 14; f.size < whole.size; f.size++) {
			put_frame(wire.tap[1], &f);
		}
	}
	udp(&good, "10.0.0.1", "10.0.0.2", 8, 20);
	put_frame(wire.tap[1], &good);
	expect(wire.tap[2], &good);
	assert_int_equal(kit_stat(wire.kit, 1, BH_REASON_DROP_MALFORMED), 40 + 60);
}

/* The kernel takes the outer tag off before tc sees the frame, and puts it back behind. */
static void tags_that_were_taken_off_are_seen(void **state)
{
	struct kit_frame f, good;

	(void)state;
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .vlan = {5});
	put_frame(wire.tap[1], &f);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .vlan = {5, 6, 7});
	put_frame(wire.tap[1], &f);
	udp(&good, "10.0.0.1", "10.0.0.2", 8, 20);
	put_frame(wire.tap[1], &good);
	expect(wire.tap[2], &good);
	assert_int_equal(kit_stat(wire.kit, 1, BH_REASON_DROP_VLAN), 2);
	kit_nic_flags(wire.kit, 1, BH_NIC_ANY_VLAN);
	kit_nic_flags(wire.kit, 2, BH_NIC_ANY_VLAN);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .vlan = {5});
	put_frame(wire.tap[1], &f);
	expect(wire.tap[2], &f);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .vlan = {5, 6});
	put_frame(wire.tap[1], &f);
	expect(wire.tap[2], &f);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "10.0.0.2", .proto = KIT_UDP, .vlan = {5, 6, 7});
	put_frame(wire.tap[1], &f);
	put_frame(wire.tap[1], &good);
	expect(wire.tap[2], &good);
}

static void resets_find_their_way_back(void **state)
{
	struct kit_frame f, got;

	(void)state;
	kit_default(wire.kit, 300, BH_DIR_EGRESS, BH_ACTION_REJECT, 1);
	kit_default(wire.kit, 301, BH_DIR_INGRESS, BH_ACTION_REJECT, 1);
	KIT_FRAME(&f, .src = "10.0.0.1", .dst = "192.0.2.9", .proto = KIT_TCP, .sport = 4,
		  .dport = 80, .tcp_flags = KIT_SYN);
	put_frame(wire.tap[1], &f);
	assert_true(get_frame(wire.tap[1], &got));
	assert_int_equal(got.size, 54);
	assert_int_equal(got.data[47], KIT_RST | KIT_ACK);
	assert_true(kit_is_valid(&got));
	/* Refused by the receiver: back by its port, the bridge and the uplink. */
	udp(&f, "10.0.0.1", "10.0.0.2", 7, 0);
	kit_default(wire.kit, 300, BH_DIR_EGRESS, BH_ACTION_ALLOW, 1);
	KIT_FRAME(&f, .src = "192.0.2.9", .dst = "10.0.0.2", .proto = KIT_TCP, .sport = 4,
		  .dport = 22, .tcp_flags = KIT_SYN);
	put_frame(wire.up, &f);
	assert_true(get_frame(wire.up, &got));
	assert_int_equal(got.size, 54);
	assert_memory_equal(got.data, kit_mac[0], 6);
	assert_int_equal(got.data[47], KIT_RST | KIT_ACK);
	assert_true(kit_is_valid(&got));
	KIT_FRAME(&f, .src = "2001:db8::9", .dst = "fd00::2", .proto = KIT_UDP, .sport = 4,
		  .dport = 22, .body_size = 300);
	put_frame(wire.up, &f);
	assert_true(get_frame(wire.up, &got));
	assert_int_equal(got.data[54], 1);
	assert_true(kit_is_valid(&got));
}

/* ---- frames from a packet ring: 14 linear bytes ---- */
static void put_by_ring(const struct kit_frame *f)
{
	struct tpacket_req req = {.tp_block_size = RING_SIZE,
				  .tp_block_nr = 1,
				  .tp_frame_size = RING_SIZE,
				  .tp_frame_nr = 1};
	int fd = open_packet("kup1"), version = TPACKET_V2;
	struct tpacket2_hdr *h;

	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &req, sizeof(req)), 0);
	h = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(h, MAP_FAILED);
	memcpy((uint8_t *)h + TPACKET2_HDRLEN - sizeof(struct sockaddr_ll), f->data, f->size);
	h->tp_len = f->size;
	h->tp_status = TP_STATUS_SEND_REQUEST;
	assert_int_equal(send(fd, NULL, 0, 0), f->size);
	munmap(h, RING_SIZE);
	close(fd);
}

static void frames_that_are_not_linear(void **state)
{
	struct bh_port port = {.kind = BH_PORT_NIC, .nic = 3, .bridge = KIT_BRIDGE};
	uint32_t ifindex = if_nametoindex("kup0");
	struct kit_frame f, got;

	(void)state;
	udp(&f, "192.0.2.9", "10.0.0.2", 7, 300);
	put_by_ring(&f);
	expect(wire.tap[2], &f);
	put_by_ring(&f); /* now by the short way */
	expect(wire.tap[2], &f);
	kit_default(wire.kit, 301, BH_DIR_INGRESS, BH_ACTION_REJECT, 1);
	KIT_FRAME(&f, .src = "2001:db8::9", .dst = "fd00::2", .proto = KIT_TCP, .dport = 22,
		  .tcp_flags = KIT_SYN, .body_size = 200);
	put_by_ring(&f);
	assert_true(get_frame(wire.up, &got));
	assert_int_equal(got.size, 74);
	assert_true(kit_is_valid(&got));
	/* The same from a guest: NIC 3 is at kup0. */
	kit_allow_all(wire.kit);
	attach("kup0", wire.kit->skel->progs.bh_from_guest, BPF_TC_INGRESS);
	attach("kup0", wire.kit->skel->progs.bh_to_guest, BPF_TC_EGRESS);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(wire.kit->skel->maps.bh_ports), &ifindex,
					     &port, BPF_ANY),
			 0);
	udp(&f, "10.0.0.3", "10.0.0.2", 7, 300);
	put_by_ring(&f);
	expect(wire.tap[2], &f);
	put_by_ring(&f);
	expect(wire.tap[2], &f);
	udp(&f, "10.0.0.99", "10.0.0.2", 7, 300);
	memcpy(f.data + 6, kit_mac[3], 6);
	put_by_ring(&f);
	assert_int_equal(kit_stat(wire.kit, 3, BH_REASON_DROP_SPOOF_IP4), 1);
}

/* The host's own stack, both ways: marked by the bridge device's egress, taken off at its ingress.
 */
static void the_host_talks_to_its_guests(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7)}, at = to;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint8_t mac[6], text[16] = {};
	struct kit_frame f, got;
	struct ifreq ifr = {};

	(void)state;
	inet_pton(AF_INET, "10.0.0.1", &to.sin_addr);
	at.sin_addr.s_addr = htonl(INADDR_ANY);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(sendto(fd, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	do {
		assert_true(get_frame(wire.tap[1], &got));
	} while (got.data[12] != 8 || got.data[13] != 0);
	assert_memory_equal(got.data + 42, "hello", 5);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "kbr");
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &ifr), 0);
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	KIT_FRAME(&f, .dmac = mac, .src = "10.0.0.1", .dst = "10.0.0.254", .proto = KIT_UDP,
		  .sport = 7, .dport = 7, .body = "world", .body_size = 5);
	put_frame(wire.tap[1], &f);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 5);
	assert_memory_equal(text, "world", 5);
	close(fd);
	/* What the host's policy for that guest does not allow. */
	kit_default(wire.kit, 300, BH_DIR_EGRESS, BH_ACTION_DENY, 1);
	KIT_FRAME(&f, .dmac = mac, .src = "10.0.0.1", .dst = "10.0.0.254", .proto = KIT_UDP,
		  .sport = 8, .dport = 7);
	put_frame(wire.tap[1], &f);
	assert_int_equal(kit_stat(wire.kit, 1, BH_REASON_DROP_POLICY), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_settled, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_cross_the_bridge),
		TEST(and_go_past_it),
		TEST(a_port_that_is_not_fed_reaches_nobody),
		TEST(frames_cut_within_their_headers_reach_nobody),
		TEST(tags_that_were_taken_off_are_seen),
		TEST(resets_find_their_way_back),
		TEST(frames_that_are_not_linear),
		TEST(the_host_talks_to_its_guests),
	};

	kit_require_root();
	if (system("ip -V 2>/dev/null | grep -q iproute2")) {
		printf("1..0 # SKIP no iproute2 here to build a bridge with\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
