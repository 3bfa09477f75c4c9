/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit on one host: from the call to enforced and read back, with 100 NICs and 100,000 rules
 * installed. The aim is p99 below 20 ms. Settling happens after the answer and is printed beside
 * it. Also what the process holds in memory.
 */
#include "../unit/dataplane_world.h"

#include "base/time.h"
#include "base/util.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define NICS	 100
#define RULES	 100000
#define SETS	 200
#define ROWS_MAX (RULES / SETS)
#define COMMITS	 1000

static void add_bench_nic(struct bh_segment *seg, uint32_t i)
{
	struct bh_rec nic = {.type = BH_REC_NIC,
			     .nic = {.vm = {1, [15] = (uint8_t)i},
				     .mac = {2, 0, 0, 0, 0, (uint8_t)i},
				     .net = 1,
				     .identity = 300 + i,
				     .tenant = 2}};
	struct bh_rec addr = {.type = BH_REC_ADDR,
			      .addr = {.net = 1,
				       .addr = {[10] = 0xff, 0xff, 10, 0, 0, (uint8_t)i},
				       .identity = 300 + i,
				       .tenant = 2}};

	bh_segment_add(seg, &nic);
	bh_segment_add(seg, &addr);
}

/* The rules of one identity and direction; `turn` changes `churn` of them and the prefix list. */
static struct bh_segment *rules_of(uint32_t set, uint32_t turn, uint32_t churn)
{
	char name[32], cidr[32];
	struct bh_segment *seg;

	snprintf(name, sizeof(name), "set:%u.%u", set / 2, set % 2);
	seg = bh_segment_new(name);
	add_set(seg, set, BH_ACTION_DENY, 0xffff);
	for (uint32_t i = 0; i < ROWS_MAX; i++) {
		add_row(seg, set, 300 + i, (uint16_t)(1000 + i + (i < churn ? turn % 7 * 1000 : 0)),
			i + 1, BH_ACTION_ALLOW);
	}
	for (uint32_t i = 0; i < 4; i++) {
		snprintf(cidr, sizeof(cidr), "10.%u.0.0/16", i + turn % 3 * 10);
		add_cidr(seg, set, cidr, i + 1);
	}
	if (bh_segment_seal(seg, NULL)) {
		exit(1);
	}
	return seg;
}

static struct bh_image *whole(void)
{
	struct bh_image *image = bh_image_new();
	struct bh_segment *nics = bh_segment_new("nics");

	for (uint32_t i = 0; i < NICS; i++) {
		add_bench_nic(nics, i);
	}
	if (bh_segment_seal(nics, NULL)) {
		exit(1);
	}
	bh_image_set(image, nics);
	bh_segment_unref(nics);
	for (uint32_t s = 0; s < SETS; s++) {
		struct bh_segment *seg = rules_of(600 + s, 0, 0);

		bh_image_set(image, seg);
		bh_segment_unref(seg);
	}
	return image;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print_times(const char *what, uint64_t *ns, size_t n)
{
	qsort(ns, n, sizeof(*ns), compare_u64);
	printf("%-34s p50 %8.3f ms  p99 %8.3f ms  max %8.3f ms\n", what, (double)ns[n / 2] / 1e6,
	       (double)ns[n * 99 / 100] / 1e6, (double)ns[n - 1] / 1e6);
}

static void must(int r, const struct bh_diag *diag)
{
	if (r) {
		fprintf(stderr, "%d: %s\n", r, diag->text);
		exit(1);
	}
}

static void share_segment(struct bh_segment *seg, void *arg)
{
	bh_image_set(arg, seg);
}

static struct bh_image *run(struct hostd_dp *dp, struct bh_image *image, uint32_t churn)
{
	static uint64_t install[COMMITS], settle[COMMITS];
	struct bh_diag diag = {};
	size_t changed = 0;
	char what[64];

	for (uint32_t i = 0; i < COMMITS; i++) {
		struct bh_segment *seg = rules_of(600 + i % SETS, i + 1, churn);
		struct bh_image *next = bh_image_new();
		struct hostd_dp_report report;
		struct bh_delta *delta;
		uint64_t begin_ns;

		bh_image_each(image, share_segment, next);
		bh_image_set(next, seg);
		bh_segment_unref(seg);
		delta = bh_delta_between(image, next);
		must(hostd_dp_apply(dp, delta, &report, &diag), &diag);
		install[i] = report.install_ns;
		changed += report.changed;
		begin_ns = bh_time_mono_ns();
		must(hostd_dp_settle(dp, &diag), &diag);
		settle[i] = bh_time_mono_ns() - begin_ns;
		bh_delta_free(delta);
		bh_image_free(image);
		image = next;
	}
	snprintf(what, sizeof(what), "%zu records: until enforced", changed / COMMITS);
	print_times(what, install, COMMITS);
	print_times("  settled afterwards", settle, COMMITS);
	return image;
}

static unsigned long resident_kb(void)
{
	unsigned long kb = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "VmRSS: %lu", &kb) != 1) {
	}
	if (f) {
		fclose(f);
	}
	return kb;
}

int main(void)
{
	struct world world;
	struct hostd_dp_options options;
	struct bh_image *image, *empty = bh_image_new();
	struct bh_delta *delta;
	struct hostd_dp_report report;
	struct bh_diag diag = {};
	struct hostd_dp *dp;
	uint64_t begin_ns;

	world_require_root();
	world_init(&world, 0, false);
	world_options(&world, &options);
	must(hostd_dp_open(&options, &dp, NULL, &diag), &diag);
	image = whole();
	delta = bh_delta_between(empty, image);
	must(hostd_dp_apply(dp, delta, &report, &diag), &diag);
	printf("%d NICs, %d rules: first install %.0f ms\n", NICS, RULES,
	       (double)report.install_ns / 1e6);
	bh_delta_free(delta);
	begin_ns = bh_time_mono_ns();
	must(hostd_dp_verify(dp, SIZE_MAX, &diag), &diag);
	printf("settled and verified whole in %.0f ms\n",
	       (double)(bh_time_mono_ns() - begin_ns) / 1e6);
	image = run(dp, image, 1);
	image = run(dp, image, 20);
	image = run(dp, image, ROWS_MAX);
	must(hostd_dp_verify(dp, SIZE_MAX, &diag), &diag);
	malloc_trim(0);
	printf("resident with the image: %lu kB", resident_kb());
	bh_image_free(image);
	bh_image_free(empty);
	malloc_trim(0);
	printf(", without: %lu kB\n", resident_kb());
	must(hostd_dp_destroy(dp, &diag), &diag);
	world_done(&world);
	return 0;
}
