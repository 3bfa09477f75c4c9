/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 100,000 connections of one VM from one kernel to another, without the way between the hosts:
 * read from the source's tables, written into signed parts, checked and read, installed with their
 * timers running, read back; and taken out again. The aim for the whole, the way included, is below
 * 1 s and 20 MB (tests/e2e measures that with two hosts). Prints time that passed and time that the
 * processor worked: on a busy machine only the second says something. Not a test.
 */
#include "../unit/dataplane_world.h"

#include "base/file.h"
#include "base/time.h"
#include "base/util.h"
#include "bus/pki.h"
#include "bus/pki_sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNS  100000u
#define ROUNDS 5
#define IMPORT 1024u

struct part {
	void *data;
	size_t size;
};
struct bench {
	struct world world;
	struct hostd_dp *src, *dst;
	struct hostd_dp_move_nics nics;
	struct bh_pki_signer *signer;
	struct bh_pki_verifier *verifier;
	struct bh_capsule_conn *made;
	struct bh_capsule_writer *writer;
	BH_VEC(struct part) parts;
	BH_VEC(struct bh_capsule_conn) batch;
	struct hostd_dp_import_result result;
	size_t told, bytes;
	struct bh_diag diag;
};

static void must(int r, const struct bench *b)
{
	if (r) {
		fprintf(stderr, "%d: %s\n", r, b->diag.text);
		exit(1);
	}
}

/* ---- what there is ---- */

static struct bh_capsule_conn conn_of(uint32_t i)
{
	struct bh_capsule_conn c = {.state = BH_CT_ESTABLISHED,
				    .flags = BH_CT_EGRESS_OK | BH_CT_SEEN_REPLY,
				    .nic = {1, 0},
				    .charged = 1,
				    .policy_port = 443,
				    .timeout_s = 28800,
				    .identity = {300, BH_IDENTITY_WORLD},
				    .packets = {i, 2 * i},
				    .bytes = {100 * i, 3000 * i},
				    .age_ms = 60000,
				    .idle_ms = 100,
				    .own_left_ms = {BH_CAPSULE_MS_MAX, 0}};
	struct bh_capsule_tuple *t = &c.tuple;

	t->net = WORLD_NET;
	t->proto = 6;
	t->lo_port = (uint16_t)(1024 + i / 2 % 60000);
	t->hi_port = 443;
	if (i % 2) {
		memcpy(t->lo, (uint8_t[16]){0x20, 1, [15] = 1}, 16);
		memcpy(t->hi,
		       (uint8_t[16]){0x20, 2, [13] = (uint8_t)(i >> 16), (uint8_t)(i >> 8),
				     (uint8_t)i},
		       16);
	} else {
		memcpy(t->lo, (uint8_t[16]){[10] = 0xff, 0xff, 10, 77, 0, 1}, 16);
		memcpy(t->hi,
		       (uint8_t[16]){[10] = 0xff,
				     0xff,
				     100,
				     (uint8_t)(i >> 16),
				     (uint8_t)(i >> 8),
				     (uint8_t)i},
		       16);
	}
	return c;
}

static struct hostd_dp *open_host(struct bench *b, const char *name)
{
	struct bh_segment *seg = bh_segment_new("world");
	struct hostd_dp_options options;
	char pin_dir[128];
	struct hostd_dp *dp;

	snprintf(pin_dir, sizeof(pin_dir), "%s/%s/v%d", b->world.dir, name, BH_ABI_VERSION);
	hostd_dp_options_init(&options);
	options.pin_dir = pin_dir;
	options.ct_per_nic = 0;
	must(hostd_dp_open(&options, &dp, NULL, &b->diag), b);
	add_nic(seg, 0, 300, 0);
	bh_image_free(must_apply(dp, bh_image_new(), image_of(seg)));
	must(hostd_dp_settle(dp, &b->diag), b);
	return dp;
}

static void open_keys(struct bench *b)
{
	static const struct bh_pki_subject subject = {.name = "host.h1", .usage = BH_PKI_CLIENT};
	char dir[80], key[128], crt[128], ca[128];
	struct bh_pki_ca *authority;
	BH_FREE char *cert = NULL;
	size_t size;

	snprintf(dir, sizeof(dir), "/tmp/bh-capsule-XXXXXX");
	must(mkdtemp(dir) ? 0 : 1, b);
	snprintf(key, sizeof(key), "%s/h1.key", dir);
	snprintf(crt, sizeof(crt), "%s/h1.crt", dir);
	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	must(bh_pki_ca_open(dir, &authority, &b->diag), b);
	must(bh_pki_ensure(authority, dir, "h1", &subject, NULL, &b->diag), b);
	bh_pki_ca_free(authority);
	must(bh_file_read(crt, 65536, &cert, &size, &b->diag), b);
	must(bh_pki_signer_open(key, &b->signer, &b->diag), b);
	must(bh_pki_verifier_open(ca, cert, size, subject.name, &b->verifier, &b->diag), b);
	world_sh("rm -r %s", dir);
}

/* ---- out ---- */

static void part_new(struct bench *b)
{
	struct bh_capsule_head head = {
		.seq = (uint32_t)b->parts.count, .source = "h1", .target = "h2"};

	b->writer = bh_capsule_writer_new(&head);
}

static void part_end(struct bench *b)
{
	struct part *part = bh_vec_push(&b->parts);
	const void *data;

	must(bh_capsule_finish(b->writer, bh_pki_sign, b->signer, &data, &part->size, &b->diag), b);
	part->data = bh_alloc(part->size);
	memcpy(part->data, data, part->size);
	b->bytes += part->size;
	bh_capsule_writer_free(b->writer);
	b->writer = NULL;
}

static void count_conn(const struct bh_capsule_conn *conn, void *arg)
{
	((struct bench *)arg)->told++;
}

static void write_conn(const struct bh_capsule_conn *conn, void *arg)
{
	struct bench *b = arg;

	b->told++;
	if (!bh_capsule_put_conn(b->writer, conn)) {
		part_end(b);
		part_new(b);
		must(bh_capsule_put_conn(b->writer, conn) ? 0 : 1, b);
	}
}

static void walk(struct bench *b, struct hostd_dp *dp, hostd_dp_move_conn_fn *fn)
{
	struct hostd_dp_walk *w = hostd_dp_walk_new(dp, &b->nics);
	int r;

	b->told = 0;
	while ((r = hostd_dp_walk_step(w, 4096, fn, b, &b->diag)) == HOSTD_DP_MORE) {
	}
	must(r, b);
	hostd_dp_walk_free(w);
}

/* ---- in ---- */

static int verify(const struct bh_capsule_head *head, const struct bh_capsule_signed *what,
		  void *arg, struct bh_diag *diag)
{
	const struct bench *b = arg;

	return bh_pki_verify(b->verifier, what->data, what->size, what->sig, what->sig_size, diag);
}

static void import(struct bench *b, struct hostd_dp *dp, const struct bh_capsule_conn *conns,
		   size_t count)
{
	struct hostd_dp_import_result r;

	must(hostd_dp_import(dp, &b->nics, conns, count, &r, &b->diag), b);
	b->result.added += r.added;
	b->result.merged += r.merged;
	b->result.full += r.full;
}

static void count_read(const struct bh_capsule_conn *conn, void *arg)
{
	((struct bench *)arg)->told++;
}

static void read_conn(const struct bh_capsule_conn *conn, void *arg)
{
	struct bench *b = arg;

	*bh_vec_push(&b->batch) = *conn;
	if (b->batch.count == IMPORT) {
		import(b, b->dst, b->batch.items, b->batch.count);
		b->batch.count = 0;
	}
}

static void read_parts(struct bench *b, void (*fn)(const struct bh_capsule_conn *c, void *arg))
{
	struct bh_capsule_handlers handlers = {.verify = verify, .conn = fn, .arg = b};

	bh_vec_foreach (part, &b->parts) {
		must(bh_capsule_read(part->data, part->size, &handlers, NULL, &b->diag), b);
	}
	if (b->batch.count) {
		import(b, b->dst, b->batch.items, b->batch.count);
		b->batch.count = 0;
	}
}

static void free_parts(struct bench *b)
{
	bh_vec_foreach (part, &b->parts) {
		free(part->data);
	}
	b->parts.count = 0;
}

/* ---- rounds ---- */

enum { READ, EXPORT, DECODE, INSTALL, BACK, REPEAT, UNDO, UNDO_EMPTY, STEPS };
static const char *const names[STEPS] = {
	[READ] = "walk of the source alone",
	[EXPORT] = "walk, written into signed parts",
	[DECODE] = "parts checked and read alone",
	[INSTALL] = "checked, read, installed",
	[BACK] = "walk of the target (read back)",
	[REPEAT] = "the same parts once more",
	[UNDO] = "undone",
	[UNDO_EMPTY] = "undone when nothing is there",
};

struct spent {
	double ms, cpu_ms;
};

static struct spent now(void)
{
	struct timespec cpu;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	return (struct spent){.ms = (double)bh_time_mono_ns() / 1e6,
			      .cpu_ms = (double)cpu.tv_sec * 1e3 + (double)cpu.tv_nsec / 1e6};
}

static struct spent since(struct spent *begin)
{
	struct spent end = now(), d = {end.ms - begin->ms, end.cpu_ms - begin->cpu_ms};

	*begin = end;
	return d;
}

static void run(struct bench *b, struct spent ms[STEPS])
{
	struct spent t = now();

	walk(b, b->src, count_conn);
	ms[READ] = since(&t);
	b->bytes = 0;
	part_new(b);
	walk(b, b->src, write_conn);
	part_end(b);
	ms[EXPORT] = since(&t);
	b->told = 0;
	read_parts(b, count_read);
	ms[DECODE] = since(&t);
	memset(&b->result, 0, sizeof(b->result));
	read_parts(b, read_conn);
	ms[INSTALL] = since(&t);
	walk(b, b->dst, count_conn);
	ms[BACK] = since(&t);
	if (b->result.added != CONNS || b->told != CONNS) {
		fprintf(stderr, "%zu added, %zu read back\n", b->result.added, b->told);
		exit(1);
	}
	t = now();
	read_parts(b, read_conn);
	ms[REPEAT] = since(&t);
	must(hostd_dp_import_undo(b->dst, &b->nics, &b->diag), b);
	ms[UNDO] = since(&t);
	must(hostd_dp_import_undo(b->dst, &b->nics, &b->diag), b);
	ms[UNDO_EMPTY] = since(&t);
	free_parts(b);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	struct bench b = {};
	double ms[STEPS][ROUNDS], cpu[STEPS][ROUNDS], sum = 0, cpu_sum = 0;
	struct spent one[STEPS];
	size_t parts;

	world_require_root();
	world_init(&b.world, 0, false);
	open_keys(&b);
	b.src = open_host(&b, "src");
	b.dst = open_host(&b, "dst");
	b.nics = (struct hostd_dp_move_nics){.keys = {world_key(0)}, .count = 1};
	b.made = bh_alloc_array(CONNS, sizeof(*b.made));
	for (uint32_t i = 0; i < CONNS; i++) {
		b.made[i] = conn_of(i);
	}
	import(&b, b.src, b.made, CONNS);
	for (int i = 0; i < ROUNDS; i++) {
		run(&b, one);
		for (int s = 0; s < STEPS; s++) {
			ms[s][i] = one[s].ms;
			cpu[s][i] = one[s].cpu_ms;
		}
	}
	parts = (b.bytes + BH_CAPSULE_PART_MAX - 1) / BH_CAPSULE_PART_MAX;
	printf("%u connections, half of them IPv6: %.1f MB in about %zu parts\n", CONNS,
	       (double)b.bytes / 1e6, parts);
	for (int s = 0; s < STEPS; s++) {
		qsort(ms[s], ROUNDS, sizeof(double), compare);
		qsort(cpu[s], ROUNDS, sizeof(double), compare);
		printf("%-34s p50 %7.1f ms  max %7.1f ms  processor %7.1f ms\n", names[s],
		       ms[s][ROUNDS / 2], ms[s][ROUNDS - 1], cpu[s][ROUNDS / 2]);
		if (s == EXPORT || s == INSTALL || s == BACK) {
			sum += ms[s][ROUNDS / 2];
			cpu_sum += cpu[s][ROUNDS / 2];
		}
	}
	printf("exported, installed and read back: %.0f ms, processor %.0f ms\n", sum, cpu_sum);
	must(hostd_dp_destroy(b.src, &b.diag), &b);
	must(hostd_dp_destroy(b.dst, &b.diag), &b);
	world_done(&b.world);
	return 0;
}
