/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bench_forward.py runs between two interfaces: every frame goes on to the other one, nobody
 * looks at it. `ring A B`: by the gate's packet sockets (capture/afpacket.c). `xdp A B`: by its
 * AF_XDP (capture/xdp.c). SIGTERM ends it; prints frames, seconds of its own CPU time.
 */
#include "base/util.h"
#include "gate/capture/capture.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#define WAIT_MS	   50
#define RING_MB	   32
#define SIZE_MAX_B 65536

static volatile sig_atomic_t ended;

static void on_end(int number)
{
	ended = 1;
}

static uint64_t forward(struct gate_source *source)
{
	struct gate_packet p = {};
	struct bh_diag diag = {};
	uint64_t frames = 0;

	puts("ready");
	fflush(stdout);
	while (!ended) {
		int n = source->ops->next(source, &p, WAIT_MS, &diag);

		if (n < 0) {
			fprintf(stderr, "bench_forward: %s\n", diag.text);
			exit(1);
		}
		frames += n && source->ops->forward(source, &p) == 0;
	}
	source->ops->free(source);
	return frames;
}

int main(int argc, char **argv)
{
	const char *how = argc == 4 ? argv[1] : "";
	struct gate_live_options options = {
		.workers = 1, .ring_mb = RING_MB, .snaplen = SIZE_MAX_B, .promiscuous = true};
	struct gate_source *source = NULL;
	struct bh_diag diag = {};
	struct rusage used;
	uint64_t frames;
	int err;

	signal(SIGTERM, on_end);
	if (strcmp(how, "ring") != 0 && strcmp(how, "xdp") != 0) {
		fputs("usage: see the head of bench_forward.c\n", stderr);
		return 2;
	}
	options.in = argv[2];
	options.out = argv[3];
	err = strcmp(how, "ring") == 0 ? gate_source_afpacket(&options, &source, &diag)
				       : gate_source_xdp(&options, &source, &diag);
	if (err) {
		fprintf(stderr, "bench_forward: %s\n", diag.text);
		return 1;
	}
	frames = forward(source);
	getrusage(RUSAGE_SELF, &used);
	printf("%llu %.3f\n", (unsigned long long)frames,
	       (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	return 0;
}
