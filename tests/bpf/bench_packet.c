/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what one packet costs in each program, in nanoseconds and (where the machine counts them)
 * instructions, with 10 and with 100,000 rows. Not a test: it judges nothing.
 *
 * hit     a packet of an established connection
 * miss    judged by the policy and allowed, no connection is made (ICMP that has none)
 * open    the first packet of a connection, each of another one: judged, entry and timer made
 * refuse  judged and denied
 *
 * --icount: the clock of this machine counts instructions (QEMU's -icount shift=0, see
 * tests/bench/bench_instructions.py), so what is measured in nanoseconds is instructions, and a
 * few packets are enough.
 */
#include "kit.h"

#include <arpa/inet.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define REPEAT	      300000u
#define OPENED	      8000u
#define ROUNDS	      5
#define ICOUNT_REPEAT 1000u
#define ICOUNT_OPENED 200u

struct cost {
	double ns, insns; /* insns < 0: not counted here */
};

struct bench {
	struct kit *kit;
	int counter;
	unsigned repeat, opened;
};

static int open_counter(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
				       .size = sizeof(attr),
				       .config = PERF_COUNT_HW_INSTRUCTIONS,
				       .exclude_hv = 1};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static uint64_t read_counter(int fd)
{
	uint64_t value = 0;

	if (fd >= 0 && read(fd, &value, sizeof(value)) != sizeof(value)) {
		value = 0;
	}
	return value;
}

static struct cost measure(struct bench *b, struct bpf_program *prog, unsigned nic,
			   const struct kit_frame *f, unsigned repeat)
{
	struct __sk_buff in = {.ifindex = b->kit->ifindex[nic]};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = f->size,
		    .ctx_in = &in, .ctx_size_in = sizeof(in), .repeat = repeat);
	uint64_t before = read_counter(b->counter);
	struct cost cost = {.insns = -1};

	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts)) {
		fprintf(stderr, "the kernel refused to run a program\n");
		exit(1);
	}
	cost.ns = opts.duration;
	if (b->counter >= 0) {
		cost.insns = (double)(read_counter(b->counter) - before) / repeat;
	}
	return cost;
}

/* Sets of every kind, so that what is looked up is the same with few rows and with many. */
static void feed_rows(struct kit *kit, unsigned count)
{
	uint32_t scope = BH_SET(300, BH_DIR_EGRESS);

	for (unsigned i = 0; i < count; i++) {
		KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS,
			.remote_kind = i % 4 == 3 ? BH_REMOTE_CIDR : BH_REMOTE_IDENTITY,
			.remote = i % 4 == 3 ? 1 + i : 1000 + i, .service_kind = i % 4 % 3,
			.proto = i % 4 % 3 ? KIT_UDP : 0,
			.port = i % 4 % 3 == 2 ? 1 + i % 60000 : 0, .rank = 10 + i,
			.rule = 1000 + i, .action = BH_ACTION_ALLOW);
	}
	for (unsigned i = 0; i < count / 2; i++) {
		struct bh_cidr_key key = {.prefixlen = 32 + 96 + 24, .scope = scope};
		uint32_t class = 1 + i, net = htonl(0xac000000 + (i << 8));

		key.addr[10] = key.addr[11] = 0xff;
		memcpy(key.addr + 12, &net, 4);
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(kit->skel->maps.bh_cidrs), &key,
						     &class, BPF_ANY),
				 0);
	}
	for (int v6 = 0; v6 < 2; v6++) {
		KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
			.proto = v6 ? KIT_ICMP6 : KIT_ICMP, .port = (v6 ? 139 : 13) << 8, .rank = 1,
			.rule = 2, .action = BH_ACTION_ALLOW);
	}
	KIT_ROW(kit, .identity = 300, .dir = BH_DIR_EGRESS, .service_kind = BH_SERVICE_PORT,
		.proto = KIT_UDP, .port = 53, .rank = 2, .rule = 3, .action = BH_ACTION_ALLOW);
	kit_default(kit, 301, BH_DIR_INGRESS, BH_ACTION_ALLOW, 4);
	kit_default(kit, 303, BH_DIR_INGRESS, BH_ACTION_ALLOW, 4);
}

static struct cost measure_open(struct bench *b, bool v6)
{
	struct cost sum = {};
	struct kit_frame f;

	for (unsigned i = 0; i < b->opened; i++) {
		struct cost one;

		KIT_FRAME(&f, .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::50" : "10.0.0.50", .proto = KIT_UDP, .sport = 1024 + i,
			  .dport = 53);
		one = measure(b, b->kit->skel->progs.bh_from_guest, 1, &f, 1);
		sum.ns += one.ns / b->opened;
	}
	sum.insns = -1; /* the system call would be counted with it */
	return sum;
}

enum { CASE_HIT, CASE_HIT_LOCAL, CASE_HIT_TO, CASE_MISS, CASE_OPEN, CASE_REFUSE, CASE_COUNT };
static const char *const case_names[CASE_COUNT] = {"from_guest hit, to the uplink",
						   "from_guest hit, both NICs here",
						   "to_guest hit",
						   "from_guest miss",
						   "from_guest open",
						   "from_guest refuse"};

static struct cost run_case(struct bench *b, int which, bool v6)
{
	const char *src = v6 ? "fd00::1" : "10.0.0.1", *far = v6 ? "fd00::50" : "10.0.0.50";
	struct bpf_program *from = b->kit->skel->progs.bh_from_guest;
	struct kit_frame f;

	switch (which) {
	case CASE_HIT:
		KIT_FRAME(&f, .src = src, .dst = far, .proto = KIT_UDP, .sport = 9, .dport = 53);
		(void)measure(b, from, 1, &f, 100);
		return measure(b, from, 1, &f, b->repeat);
	case CASE_HIT_LOCAL:
		KIT_FRAME(&f, .src = src, .dst = v6 ? "fd00::2" : "10.0.0.2", .proto = KIT_UDP,
			  .sport = 9, .dport = 53);
		(void)measure(b, from, 1, &f, 100);
		return measure(b, from, 1, &f, b->repeat);
	case CASE_HIT_TO:
		KIT_FRAME(&f, .src = far, .dst = v6 ? "fd00::3" : "10.0.0.3", .proto = KIT_UDP,
			  .sport = 9, .dport = 53);
		(void)measure(b, b->kit->skel->progs.bh_to_guest, 3, &f, 100);
		return measure(b, b->kit->skel->progs.bh_to_guest, 3, &f, b->repeat);
	case CASE_MISS:
		KIT_FRAME(&f, .src = src, .dst = far, .proto = v6 ? KIT_ICMP6 : KIT_ICMP,
			  .icmp_type = v6 ? 139 : 13);
		return measure(b, from, 1, &f, b->repeat);
	case CASE_OPEN:
		return measure_open(b, v6);
	default:
		KIT_FRAME(&f, .src = src, .dst = far, .proto = KIT_UDP, .sport = 9, .dport = 99);
		return measure(b, from, 1, &f, b->repeat);
	}
}

static void set_event_pps(struct bh_ctl *ctl, uint32_t value)
{
	ctl->event_pps = value;
}

static struct bench open_bench(unsigned rows, bool icount)
{
	struct bench b = {.kit = kit_open_sized(rows + 16, 32768),
			  .counter = icount ? -1 : open_counter(),
			  .repeat = icount ? ICOUNT_REPEAT : REPEAT,
			  .opened = icount ? ICOUNT_OPENED : OPENED};

	feed_rows(b.kit, rows);
	kit_ctl(b.kit, set_event_pps, 0);
	return b;
}

static void close_bench(struct bench *b)
{
	if (b->counter >= 0) {
		close(b->counter);
	}
	kit_close(b->kit);
}

/* The best of the rounds: what the machine did besides is not what a packet costs. */
static void keep_best(struct cost *best, struct cost cost)
{
	if (best->ns == 0 || cost.ns < best->ns) {
		*best = cost;
	}
}

static void run_round(struct cost few[CASE_COUNT][2], struct cost many[CASE_COUNT][2], bool icount)
{
	struct bench a = open_bench(10, icount), b = open_bench(100000, icount);

	for (int i = 0; i < CASE_COUNT; i++) {
		for (int v6 = 0; v6 < 2; v6++) {
			keep_best(&few[i][v6], run_case(&a, i, v6));
			keep_best(&many[i][v6], run_case(&b, i, v6));
		}
	}
	close_bench(&a);
	close_bench(&b);
}

static void print_case(int which, int v6, const struct cost *few, const struct cost *many,
		       bool icount)
{
	printf("%-32s IPv%d %12.0f %12.0f %7.2f", case_names[which], v6 ? 6 : 4, few->ns, many->ns,
	       few->ns > 0 ? many->ns / few->ns : 0);
	if (icount) {
		printf("\n");
	} else if (few->insns < 0) {
		printf(" %12s %12s\n", "-", "-");
	} else {
		printf(" %12.0f %12.0f\n", few->insns, many->insns);
	}
}

int main(int argc, char **argv)
{
	struct cost few[CASE_COUNT][2] = {}, many[CASE_COUNT][2] = {};
	bool icount = argc == 2 && !strcmp(argv[1], "--icount");

	if (argc > 1 && !icount) {
		fprintf(stderr, "usage: bench_packet [--icount]\n");
		return 2;
	}
	kit_require_root();
	for (int i = 0; i < (icount ? 1 : ROUNDS); i++) {
		run_round(few, many, icount);
	}
	if (icount) {
		printf("%-37s %12s %12s %7s\n", "instructions of one packet", "10 rows",
		       "100,000 rows", "ratio");
	} else {
		printf("%-32s %-4s %12s %12s %7s %12s %12s\n", "one packet", "", "ns, 10 rows",
		       "100,000 rows", "ratio", "insns, 10", "100,000");
	}
	for (int i = 0; i < CASE_COUNT; i++) {
		for (int v6 = 0; v6 < 2; v6++) {
			print_case(i, v6, &few[i][v6], &many[i][v6], icount);
		}
	}
	return 0;
}
