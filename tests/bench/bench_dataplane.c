/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets per second of small UDP datagrams, one sender, through a bridge between two namespaces:
 * bare, with nftables, with br_netfilter, with Bulkhead. Machines wobble by factors, so two such
 * worlds stand side by side, one bare, and the sender turns from one to the other every ten
 * milliseconds; variants take turns in rounds, medians are printed. Never a pass or fail.
 */
#include "../unit/dataplane_world.h"

#include "base/time.h"
#include "base/util.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define PORT	   2000
#define BATCH	   64
#define SLICE_MS   10
#define CLIENT	   300u
#define SERVER	   301u
#define ROUNDS_MAX 64

enum kind { KIND_BARE, KIND_EMPTY, KIND_NFT, KIND_BRNF, KIND_BULKHEAD };

struct variant {
	const char *name;
	enum kind kind;
	uint32_t rules;
	bool map;      /* nft: verdict map instead of rules */
	bool fastpath; /* Bulkhead: from tap to tap */
	double ratio[ROUNDS_MAX];
	double kpps[ROUNDS_MAX];
	double bare[ROUNDS_MAX]; /* beside it */
};

static struct variant variants[] = {
	{.name = "Bulkhead, past the bridge, 10 rules",
	 .kind = KIND_BULKHEAD,
	 .rules = 10,
	 .fastpath = true},
	{.name = "Bulkhead, past the bridge, 100000 rules",
	 .kind = KIND_BULKHEAD,
	 .rules = 100000,
	 .fastpath = true},
	{.name = "Bulkhead, by the bridge, 10 rules", .kind = KIND_BULKHEAD, .rules = 10},
	{.name = "Bulkhead, by the bridge, 1000 rules", .kind = KIND_BULKHEAD, .rules = 1000},
	{.name = "Bulkhead, by the bridge, 10000 rules", .kind = KIND_BULKHEAD, .rules = 10000},
	{.name = "Bulkhead, by the bridge, 100000 rules", .kind = KIND_BULKHEAD, .rules = 100000},
	{.name = "bare, against itself", .kind = KIND_BARE},
	{.name = "two empty BPF programs per tap", .kind = KIND_EMPTY},
	{.name = "nftables bridge, 10 rules", .kind = KIND_NFT, .rules = 10},
	{.name = "nftables bridge, 100 rules", .kind = KIND_NFT, .rules = 100},
	{.name = "nftables bridge, 1000 rules", .kind = KIND_NFT, .rules = 1000},
	{.name = "nftables bridge, map of 100000", .kind = KIND_NFT, .rules = 100000, .map = true},
	{.name = "br_netfilter with conntrack", .kind = KIND_BRNF},
};

/* One bridge and two namespaces, and how much was sent there. */
struct lane {
	struct world world;
	int sender;
	uint64_t ns;
};

struct bench {
	struct lane bare, filtered;
	struct hostd_dp *dp;
	struct bh_image *image;
	unsigned int slice_ms;
	bool has_nft, has_brnf;
	int empty_fd[4];
};

/* ---- traffic ---- */

static uint64_t received(const struct lane *lane)
{
	char cmd[128], line[512];
	unsigned long long bytes, packets = 0;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "nsenter -t %d -n cat /proc/net/dev",
		 (int)lane->world.guest_pid[1]);
	f = popen(cmd, "r");
	while (f && fgets(line, sizeof(line), f)) {
		char *p = strstr(line, "eth0:");

		if (p && sscanf(p + 5, "%llu %llu", &bytes, &packets) == 2) {
			break;
		}
	}
	if (f) {
		pclose(f);
	}
	return packets;
}

static void send_for(struct lane *lane, unsigned int ms)
{
	static char payload[18];
	struct iovec iov = {.iov_base = payload, .iov_len = sizeof(payload)};
	struct mmsghdr msgs[BATCH] = {};
	uint64_t begin_ns, now_ns;

	for (int i = 0; i < BATCH; i++) {
		msgs[i].msg_hdr.msg_iov = &iov;
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	begin_ns = bh_time_mono_ns();
	do {
		if (sendmmsg(lane->sender, msgs, BATCH, 0) < 0 && errno != ECONNREFUSED &&
		    errno != ENOBUFS) {
			perror("sendmmsg");
			exit(1);
		}
		now_ns = bh_time_mono_ns();
	} while (now_ns - begin_ns < ms * BH_NS_PER_MS);
	lane->ns += now_ns - begin_ns;
}

/* Thousand packets per second that arrive in the other namespace, of both lanes at the same time.
 */
static void measure(struct bench *b, double *ret_bare, double *ret_filtered)
{
	const struct sched_param fifo = {.sched_priority = 1}, other = {};
	uint64_t bare, filtered;

	send_for(&b->bare, SLICE_MS); /* warm */
	send_for(&b->filtered, SLICE_MS);
	bare = received(&b->bare);
	filtered = received(&b->filtered);
	b->bare.ns = b->filtered.ns = 0;
	/* Others on this machine must not be measured along. */
	(void)!sched_setscheduler(0, SCHED_FIFO, &fifo);
	for (unsigned int ms = 0; ms < b->slice_ms; ms += SLICE_MS) {
		send_for(&b->bare, SLICE_MS);
		send_for(&b->filtered, SLICE_MS);
	}
	(void)!sched_setscheduler(0, SCHED_OTHER, &other);
	*ret_bare = (double)(received(&b->bare) - bare) * 1e6 / (double)b->bare.ns;
	*ret_filtered = (double)(received(&b->filtered) - filtered) * 1e6 / (double)b->filtered.ns;
}

/* ---- filters ---- */

static void write_nft(FILE *f, const struct variant *v)
{
	fprintf(f, "table bridge t%u {\n", v->rules);
	if (v->map) {
		fprintf(f, " map m { type ipv4_addr . inet_service : verdict; elements = {");
		for (uint32_t i = 0; i < v->rules; i++) {
			fprintf(f, "%s 10.%u.%u.%u . %u : drop", i ? "," : "", 100 + i / 65536,
				i / 256 % 256, i % 256, 1000 + i % 50000);
		}
		fprintf(f, " } }\n chain work { ip saddr . udp dport vmap @m\n");
	} else {
		fprintf(f, " chain work {\n");
		for (uint32_t i = 0; i < v->rules; i++) {
			fprintf(f, " ip saddr 10.100.%u.%u udp dport %u drop\n", i / 256, i % 256,
				1000 + i);
		}
	}
	fprintf(f, " accept\n }\n}\n");
}

static bool load_nft(const struct bench *b)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(variants); i++) {
		FILE *f;

		if (variants[i].kind != KIND_NFT) {
			continue;
		}
		f = popen("nft -f - 2>/dev/null", "w");
		if (!f) {
			return false;
		}
		write_nft(f, &variants[i]);
		if (pclose(f)) {
			return false;
		}
	}
	return true;
}

static struct bh_image *policy(uint32_t rules)
{
	struct bh_segment *seg = bh_segment_new("bench");
	uint32_t in = BH_SET(SERVER, BH_DIR_INGRESS), out = BH_SET(CLIENT, BH_DIR_EGRESS);

	add_nic(seg, 0, CLIENT, 0);
	add_nic(seg, 1, SERVER, 0);
	add_set(seg, BH_SET(CLIENT, BH_DIR_INGRESS), BH_ACTION_DENY, 0);
	add_set(seg, BH_SET(SERVER, BH_DIR_EGRESS), BH_ACTION_DENY, 0);
	add_set(seg, in, BH_ACTION_DENY, row_mask(CLIENT, PORT));
	add_set(seg, out, BH_ACTION_DENY, row_mask(SERVER, PORT));
	for (uint32_t i = 0; i + 2 < rules; i++) {
		add_row(seg, i % 2 ? in : out, 1000 + i, (uint16_t)(1 + i % 60000), i + 1,
			BH_ACTION_ALLOW);
	}
	add_row(seg, in, CLIENT, PORT, rules, BH_ACTION_ALLOW);
	add_row(seg, out, SERVER, PORT, rules, BH_ACTION_ALLOW);
	return image_of(seg);
}

static void bulkhead_on(struct bench *b, const struct variant *v)
{
	struct bh_image *next = policy(v->rules);
	struct bh_diag diag = {};

	b->image = must_apply(b->dp, b->image, next);
	for (int i = 0; i < 2; i++) {
		struct hostd_dp_nic_key key = world_key(i);
		struct hostd_dp_device device = {.ifindex = b->filtered.world.tap[i],
						 .bridge = b->filtered.world.bridge,
						 .host_flags = v->fastpath ? BH_NIC_FASTPATH : 0};

		if (hostd_dp_bind(b->dp, &key, &device, &diag)) {
			fprintf(stderr, "%s\n", diag.text);
			exit(1);
		}
	}
}

static void bulkhead_off(struct bench *b)
{
	for (int i = 0; i < 2; i++) {
		struct hostd_dp_nic_key key = world_key(i);

		if (hostd_dp_unbind(b->dp, &key, NULL)) {
			exit(1);
		}
	}
}

static void nft_on(const struct variant *v)
{
	world_sh("nft 'add chain bridge t%u base { type filter hook forward priority 0; }; "
		 "add rule bridge t%u base jump work'",
		 v->rules, v->rules);
}

static void brnf_on(void)
{
	world_sh("echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables");
	world_sh("nft 'add table ip brnf; add chain ip brnf base "
		 "{ type filter hook forward priority 0; policy drop; }; "
		 "add rule ip brnf base ct state established,related accept; "
		 "add rule ip brnf base udp dport %d accept'",
		 PORT);
}

static void brnf_off(void)
{
	world_sh("echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables");
	world_sh("nft 'delete table ip brnf'");
}

/* What Bulkhead could cost at the least: a program at each side of each tap that does nothing. */
static bool empty_on(struct bench *b)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int prog_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", insns,
				    BH_ARRAY_SIZE(insns), NULL);

	for (int i = 0; i < 4; i++) {
		union bpf_attr attr = {};

		attr.link_create.prog_fd = (uint32_t)prog_fd;
		attr.link_create.target_ifindex = b->filtered.world.tap[i / 2];
		attr.link_create.attach_type = 46 + i % 2; /* BPF_TCX_INGRESS, BPF_TCX_EGRESS */
		b->empty_fd[i] = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	}
	close(prog_fd);
	return b->empty_fd[0] >= 0;
}

static void empty_off(struct bench *b)
{
	for (int i = 0; i < 4; i++) {
		close(b->empty_fd[i]);
	}
}

/* False when this machine has it not. */
static bool filter_on(struct bench *b, const struct variant *v)
{
	switch (v->kind) {
	case KIND_BARE:
		return true;
	case KIND_EMPTY:
		return empty_on(b);
	case KIND_NFT:
		if (b->has_nft) {
			nft_on(v);
		}
		return b->has_nft;
	case KIND_BRNF:
		if (b->has_brnf) {
			brnf_on();
		}
		return b->has_brnf;
	case KIND_BULKHEAD:
		bulkhead_on(b, v);
		return true;
	}
	return false;
}

static void filter_off(struct bench *b, const struct variant *v)
{
	switch (v->kind) {
	case KIND_BARE:
		break;
	case KIND_EMPTY:
		empty_off(b);
		break;
	case KIND_NFT:
		world_sh("nft 'flush chain bridge t%u base; delete chain bridge t%u base'",
			 v->rules, v->rules);
		break;
	case KIND_BRNF:
		brnf_off();
		break;
	case KIND_BULKHEAD:
		bulkhead_off(b);
		break;
	}
}

/* ---- rounds ---- */

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *v, unsigned int n)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*sorted), compare_double);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static void run_round(struct bench *b, unsigned int round, const char *only)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(variants); i++) {
		struct variant *v = &variants[i];

		if ((!only || strstr(v->name, only)) && filter_on(b, v)) {
			measure(b, &v->bare[round], &v->kpps[round]);
			v->ratio[round] = v->kpps[round] / v->bare[round];
			filter_off(b, v);
		}
	}
}

static void print_results(unsigned int rounds)
{
	double small = 0, large = 0;

	printf("%-42s %9s %9s %8s %8s %8s\n", "medians of the rounds", "kpps", "bare", "ratio",
	       "lowest", "highest");
	for (size_t i = 0; i < BH_ARRAY_SIZE(variants); i++) {
		const struct variant *v = &variants[i];
		double lo = 1e9, hi = 0;

		if (!v->kpps[0]) {
			printf("%-42s %9s\n", v->name, "skipped");
			continue;
		}
		for (unsigned int r = 0; r < rounds; r++) {
			lo = v->ratio[r] < lo ? v->ratio[r] : lo;
			hi = v->ratio[r] > hi ? v->ratio[r] : hi;
		}
		printf("%-42s %9.0f %9.0f %8.3f %8.3f %8.3f\n", v->name, median(v->kpps, rounds),
		       median(v->bare, rounds), median(v->ratio, rounds), lo, hi);
		if (v->kind == KIND_BULKHEAD && !v->fastpath && v->rules == 10) {
			small = median(v->ratio, rounds);
		} else if (v->kind == KIND_BULKHEAD && !v->fastpath && v->rules == 100000) {
			large = median(v->ratio, rounds);
		}
	}
	if (small && large) {
		printf("cost of 100000 rules over that of 10: %.3f\n", small / large);
	}
}

static void prepare_lane(struct lane *lane)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	uint64_t value = 1;
	int sink, tiny = 1;

	world_init(&lane->world, 2, false);
	/* On in every new namespace where the module is there; a bare bridge is to be bare. */
	(void)!system("for f in /proc/sys/net/bridge/bridge-nf-call-*; do echo 0 > $f; "
		      "done 2>/dev/null");
	/* Nobody reads: what is measured ends at the receiving device. */
	sink = world_udp(&lane->world, 1, PORT);
	setsockopt(sink, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny));
	lane->sender = world_udp(&lane->world, 0, 0);
	inet_pton(AF_INET, "10.77.0.2", &to.sin_addr);
	if (connect(lane->sender, (struct sockaddr *)&to, sizeof(to)) ||
	    send(lane->sender, &value, sizeof(value), 0) != sizeof(value) ||
	    world_recv(sink) != 1) {
		fprintf(stderr, "the two namespaces do not reach each other\n");
		exit(1);
	}
}

static void prepare(struct bench *b)
{
	struct hostd_dp_options options;
	struct bh_diag diag = {};

	prepare_lane(&b->bare);
	prepare_lane(&b->filtered); /* we stay in this one */
	world_options(&b->filtered.world, &options);
	options.fastpath = true;
	if (hostd_dp_open(&options, &b->dp, NULL, &diag)) {
		fprintf(stderr, "%s\n", diag.text);
		exit(1);
	}
	b->image = bh_image_new();
	b->has_nft = load_nft(b);
	b->has_brnf = b->has_nft && !access("/proc/sys/net/bridge/bridge-nf-call-iptables", W_OK);
}

int main(int argc, char **argv)
{
	struct bench b = {.slice_ms = argc > 2 ? (unsigned int)atoi(argv[2]) : 300};
	unsigned int rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : 9;
	struct bh_diag diag = {};

	world_require_root();
	if (!rounds || rounds > ROUNDS_MAX || b.slice_ms < SLICE_MS) {
		fprintf(stderr, "usage: %s [ROUNDS [MILLISECONDS [VARIANT]]]\n", argv[0]);
		return 2;
	}
	prepare(&b);
	for (unsigned int r = 0; r < rounds; r++) {
		run_round(&b, r, argc > 3 ? argv[3] : NULL);
		fprintf(stderr, "round %u of %u\n", r + 1, rounds);
	}
	print_results(rounds);
	bh_image_free(b.image);
	if (hostd_dp_destroy(b.dp, &diag)) {
		fprintf(stderr, "%s\n", diag.text);
	}
	world_done(&b.filtered.world);
	world_done(&b.bare.world);
	return 0;
}
