/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bench_forward.py runs between two interfaces: every frame goes on to the other one, nobody
 * looks at it. `ring A B`: by the gate's own capture (capture/afpacket.c). `native A B`, `generic A
 * B`: by AF_XDP in copy mode, the program of the driver or of the stack, in the way that costs
 * AF_XDP least: both sockets share their memory, a frame is copied into it once and out of it once.
 * SIGTERM ends it; prints frames, seconds of its own CPU time.
 */
#include "base/util.h"
#include "gate/capture/capture.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define FRAME_SIZE 2048u
#define RING_SIZE  2048u
#define FRAMES	   (2 * RING_SIZE)
#define BATCH	   64u
#define WAIT_MS	   50
#define RING_MB	   32
#define SIZE_MAX_B 65536

static volatile sig_atomic_t ended;

static void on_end(int number)
{
	ended = 1;
}

static void fail(const char *what)
{
	fprintf(stderr, "bench_forward: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- the gate's ring ---- */

static uint64_t forward_by_ring(const char *in, const char *out)
{
	const struct gate_live_options options = {.in = in,
						  .out = out,
						  .workers = 1,
						  .ring_mb = RING_MB,
						  .snaplen = SIZE_MAX_B,
						  .promiscuous = true};
	struct gate_source *source = NULL;
	struct gate_packet p = {};
	struct bh_diag diag = {};
	uint64_t frames = 0;

	if (gate_source_afpacket(&options, &source, &diag)) {
		fprintf(stderr, "bench_forward: %s\n", diag.text);
		exit(1);
	}
	puts("ready");
	fflush(stdout);
	while (!ended) {
		if (source->ops->next(source, &p, WAIT_MS, &diag) > 0) {
			frames += source->ops->forward(source, &p) == 0;
		}
	}
	source->ops->free(source);
	return frames;
}

/* ---- AF_XDP ---- */

/* One of a socket's four, seen from here: we are at `own`, the kernel is at `*other`. */
struct queue {
	uint32_t *producer, *consumer, *flags;
	void *slots;
};

struct leg {
	int fd;
	unsigned int index;
	struct queue rx, tx, fill, done;
};

static uint32_t load(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *at, uint32_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

static struct queue map_queue(int fd, off_t at, const struct xdp_ring_offset *offsets, size_t slot)
{
	uint8_t *map = mmap(NULL, offsets->desc + RING_SIZE * slot, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_POPULATE, fd, at);

	if (map == MAP_FAILED) {
		fail("mmap");
	}
	return (struct queue){(uint32_t *)(map + offsets->producer),
			      (uint32_t *)(map + offsets->consumer),
			      (uint32_t *)(map + offsets->flags), map + offsets->desc};
}

static void set(int fd, int option, uint32_t value)
{
	if (setsockopt(fd, SOL_XDP, option, &value, sizeof(value))) {
		fail("a ring of AF_XDP");
	}
}

/* The second leg has its memory of the first. */
static struct leg open_leg(const char *name, uint8_t *memory, const struct leg *first)
{
	const struct xdp_umem_reg reg = {
		.addr = (uintptr_t)memory, .len = FRAMES * FRAME_SIZE, .chunk_size = FRAME_SIZE};
	struct sockaddr_xdp at = {.sxdp_family = AF_XDP,
				  .sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP,
				  .sxdp_ifindex = if_nametoindex(name)};
	struct xdp_mmap_offsets offsets;
	socklen_t size = sizeof(offsets);
	struct leg leg = {.fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0),
			  .index = at.sxdp_ifindex};

	if (leg.fd < 0 || !leg.index ||
	    (!first && setsockopt(leg.fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)))) {
		fail(name);
	}
	set(leg.fd, XDP_UMEM_FILL_RING, RING_SIZE);
	set(leg.fd, XDP_UMEM_COMPLETION_RING, RING_SIZE);
	set(leg.fd, XDP_RX_RING, RING_SIZE);
	set(leg.fd, XDP_TX_RING, RING_SIZE);
	if (getsockopt(leg.fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size)) {
		fail(name);
	}
	leg.rx = map_queue(leg.fd, XDP_PGOFF_RX_RING, &offsets.rx, sizeof(struct xdp_desc));
	leg.tx = map_queue(leg.fd, XDP_PGOFF_TX_RING, &offsets.tx, sizeof(struct xdp_desc));
	leg.fill = map_queue(leg.fd, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, sizeof(uint64_t));
	leg.done = map_queue(leg.fd, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, sizeof(uint64_t));
	if (first) {
		at.sxdp_flags = XDP_SHARED_UMEM; /* the rest as the first has it */
		at.sxdp_shared_umem_fd = (uint32_t)first->fd;
	}
	if (bind(leg.fd, (struct sockaddr *)&at, sizeof(at))) {
		fail(name);
	}
	return leg;
}

/* Whatever comes goes to the socket of the leg. */
static void attach(const struct leg *leg, uint32_t mode)
{
	int map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "legs", sizeof(uint32_t), sizeof(uint32_t), 1,
				 NULL);
	uint32_t key = 0;
	/* r2 = ctx->rx_queue_index; r1 = map; r3 = XDP_DROP; return bpf_redirect_map(r1, r2, r3) */
	const struct bpf_insn code[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = 16},
		{.code = BPF_LD | BPF_DW | BPF_IMM,
		 .dst_reg = 1,
		 .src_reg = BPF_PSEUDO_MAP_FD,
		 .imm = map},
		{},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = XDP_DROP},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int program = bpf_prog_load(BPF_PROG_TYPE_XDP, "to_leg", "Dual BSD/GPL", code,
				    BH_ARRAY_SIZE(code), NULL);

	if (map < 0 || program < 0 || bpf_map_update_elem(map, &key, &leg->fd, 0) ||
	    bpf_xdp_attach((int)leg->index, program, mode, NULL)) {
		fail("the XDP program");
	}
}

static void fill(struct leg *leg, uint64_t address)
{
	uint32_t at = *leg->fill.producer;

	((uint64_t *)leg->fill.slots)[at % RING_SIZE] = address;
	store(leg->fill.producer, at + 1);
}

/* What came by one goes out by the other; what that has sent is room for the one. */
static uint32_t pass(struct leg *from, struct leg *to)
{
	uint32_t at = *from->rx.consumer, out = *to->tx.producer, n = load(from->rx.producer) - at;
	uint32_t done = *to->done.consumer, sent = load(to->done.producer) - done;

	for (uint32_t i = 0; i < sent; i++) {
		fill(from, ((uint64_t *)to->done.slots)[(done + i) % RING_SIZE]);
	}
	store(to->done.consumer, done + sent);
	n = n < BATCH ? n : BATCH;
	for (uint32_t i = 0; i < n; i++) {
		((struct xdp_desc *)to->tx.slots)[(out + i) % RING_SIZE] =
			((struct xdp_desc *)from->rx.slots)[(at + i) % RING_SIZE];
	}
	store(to->tx.producer, out + n);
	store(from->rx.consumer, at + n);
	if (load(to->tx.producer) != load(to->tx.consumer)) {
		(void)!sendto(to->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
	}
	return n;
}

static uint64_t forward_by_xdp(const char *in, const char *out, uint32_t mode)
{
	uint8_t *memory = mmap(NULL, FRAMES * FRAME_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct leg legs[2];
	uint64_t frames = 0;

	if (memory == MAP_FAILED) {
		fail("mmap");
	}
	legs[0] = open_leg(in, memory, NULL);
	legs[1] = open_leg(out, memory, &legs[0]);
	for (uint32_t i = 0; i < FRAMES; i++) {
		fill(&legs[i % 2], (uint64_t)i * FRAME_SIZE);
	}
	attach(&legs[0], mode);
	attach(&legs[1], mode);
	puts("ready");
	fflush(stdout);
	while (!ended) {
		uint32_t n = pass(&legs[0], &legs[1]) + pass(&legs[1], &legs[0]);

		frames += n;
		if (!n) {
			struct pollfd fds[] = {{.fd = legs[0].fd, .events = POLLIN},
					       {.fd = legs[1].fd, .events = POLLIN}};

			(void)poll(fds, 2, WAIT_MS);
		}
	}
	(void)bpf_xdp_detach((int)legs[0].index, mode, NULL);
	(void)bpf_xdp_detach((int)legs[1].index, mode, NULL);
	return frames;
}

int main(int argc, char **argv)
{
	const char *how = argc == 4 ? argv[1] : "";
	struct rusage used;
	uint64_t frames;

	signal(SIGTERM, on_end);
	if (strcmp(how, "ring") == 0) {
		frames = forward_by_ring(argv[2], argv[3]);
	} else if (strcmp(how, "native") == 0) {
		frames = forward_by_xdp(argv[2], argv[3], XDP_FLAGS_DRV_MODE);
	} else if (strcmp(how, "generic") == 0) {
		frames = forward_by_xdp(argv[2], argv[3], XDP_FLAGS_SKB_MODE);
	} else {
		fputs("usage: see the head of bench_forward.c\n", stderr);
		return 2;
	}
	getrusage(RUSAGE_SELF, &used);
	printf("%llu %.3f\n", (unsigned long long)frames,
	       (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	return 0;
}
