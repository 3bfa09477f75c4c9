/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an act pays for its record: begin and end each wait for the disk once. Beside it the same
 * number of plain fdatasync()s of as many bytes, so that the disk's part shows. Then an export of
 * many entries and its verification, with the memory that takes.
 *	bench_audit FOLDER [ACTS [ENTRIES]]
 */
#include "manager/audit/audit.h"
#include "model/audit_verify.h"

#include "base/time.h"
#include "base/util.h"

#include <fcntl.h>
#include <sys/resource.h>

static double seconds(uint64_t since_ns)
{
	return (double)(bh_time_mono_ns() - since_ns) / 1e9;
}

static long rss_kib(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

static void plain(const char *folder, unsigned int count)
{
	BH_FREE char *path = bh_asprintf("%s/plain", folder);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	char page[8192] = {};
	uint64_t start = bh_time_mono_ns();

	for (unsigned int i = 0; fd >= 0 && i < count; i++) {
		if (write(fd, page, sizeof(page)) < 0 || fdatasync(fd) < 0) {
			perror(path);
			exit(1);
		}
	}
	printf("plain: %u writes of 8 KiB with fdatasync: %.3f ms each\n", count,
	       seconds(start) * 1e3 / count);
	close(fd);
	unlink(path);
}

static struct manager_audit *open_log(const char *folder)
{
	BH_FREE char *path = bh_asprintf("%s/audit.db", folder);
	BH_FREE char *key = bh_asprintf("%s/audit.key", folder);
	struct manager_audit_options o = {.path = path,
					  .key_file = key,
					  .reserve_bytes = 1 << 20,
					  .wall_ns = bh_time_wall_ns()};
	struct manager_audit *audit = NULL;
	struct bh_diag diag = {};

	if (manager_audit_open(&o, &audit, &diag) < 0) {
		fprintf(stderr, "%s\n", diag.text);
		exit(1);
	}
	return audit;
}

static struct manager_audit_note a_note(unsigned int i, const json_t *before, const json_t *after)
{
	return (struct manager_audit_note){.tenant = 1 + i % 100,
					   .tenant_name = "shop",
					   .user = "anna@shop",
					   .role = "tenant-admin at shop",
					   .factor = "totp",
					   .from = "192.0.2.7",
					   .via = "session",
					   .act = "vm.labels",
					   .object = "vm/00000000-0000-4000-8000-000000000000",
					   .before = before,
					   .after = after,
					   .state = "done",
					   .result = "done",
					   .code = 200,
					   .request = "0011223344556677"};
}

static void acts(struct manager_audit *audit, unsigned int count)
{
	json_t *before = json_pack("{s:{s:s}}", "labels", "app", "web");
	json_t *after = json_pack("{s:{s:s}}", "labels", "app", "db");
	uint64_t start = bh_time_mono_ns();

	for (unsigned int i = 0; i < count; i++) {
		struct manager_audit_note n = a_note(i, before, after);
		int64_t open = 0;

		if (manager_audit_begin(audit, &n, bh_time_wall_ns(), &open, NULL) < 0) {
			exit(1);
		}
		manager_audit_end(audit, open, &n, 1, bh_time_wall_ns());
	}
	printf("acts: %u with two durable entries: %.3f ms each, %.0f entries/s\n", count,
	       seconds(start) * 1e3 / count, 2 * count / seconds(start));
	json_decref(before);
	json_decref(after);
}

/* As many at once as people press a button: they begin together, and their ends are written with
 * the beginnings of the next ones. */
static void acts_together(struct manager_audit *audit, unsigned int count, unsigned int at_once)
{
	BH_FREE struct manager_audit_note *notes = bh_alloc_array(at_once, sizeof(*notes));
	BH_FREE int64_t *open = bh_alloc_array(at_once, sizeof(*open));
	unsigned int done = 0;
	uint64_t start = bh_time_mono_ns();

	for (; done < count; done += at_once) {
		for (unsigned int i = 0; i < at_once; i++) {
			notes[i] = a_note(done + i, NULL, NULL);
		}
		if (manager_audit_begin_all(audit, notes, at_once, bh_time_wall_ns(), open, NULL) <
		    0) {
			exit(1);
		}
		for (unsigned int i = 0; i < at_once; i++) {
			manager_audit_end_soon(audit, open[i], &notes[i], 1, bh_time_wall_ns());
		}
	}
	manager_audit_flush(audit);
	printf("acts: %u, %u at once: %.3f ms each\n", done, at_once, seconds(start) * 1e3 / done);
}

/* In transactions of a thousand, to have many soon. */
static void fill(struct manager_audit *audit, unsigned int count)
{
	struct manager_audit_note notes[1000];
	uint64_t start = bh_time_mono_ns();

	for (unsigned int done = 0; done < count; done += BH_ARRAY_SIZE(notes)) {
		for (unsigned int i = 0; i < BH_ARRAY_SIZE(notes); i++) {
			notes[i] = a_note(done + i, NULL, NULL);
		}
		manager_audit_end(audit, 0, notes, BH_ARRAY_SIZE(notes), bh_time_wall_ns());
		manager_audit_tick(audit, bh_time_wall_ns());
	}
	printf("fill: %u entries, a thousand per transaction: %.0f/s\n", count,
	       count / seconds(start));
}

static void export_and_verify(struct manager_audit *audit)
{
	struct manager_audit_export_options o = {.wall_ns = bh_time_wall_ns()};
	struct bh_audit_verifier *v = bh_audit_verifier_new(NULL, 0);
	struct manager_audit_export *x = NULL;
	struct bh_audit_report report;
	struct bh_diag diag = {};
	double exporting = 0, verifying = 0, bytes = 0;
	long rss = rss_kib();
	struct bh_wbuf w;
	int r = manager_audit_export_new(audit, &o, &x, &diag) == 0 ? 1 : -1;

	bh_wbuf_init(&w, 0);
	while (r > 0) {
		uint64_t start = bh_time_mono_ns();

		w.size = 0;
		r = manager_audit_export_read(x, &w, &diag);
		exporting += seconds(start);
		bytes += (double)w.size;
		start = bh_time_mono_ns();
		if (bh_audit_verify_bytes(v, (const char *)w.data, w.size, &diag)) {
			r = -1;
		}
		verifying += seconds(start);
	}
	if (r < 0 || bh_audit_verify_end(v, &report, &diag)) {
		fprintf(stderr, "%s\n", diag.text);
		exit(1);
	}
	printf("export: %llu entries, %.0f MB in %.2f s; verified in %.2f s (%.0f/s), %llu "
	       "checkpoints; memory grew by %ld KiB\n",
	       (unsigned long long)report.count, bytes / 1e6, exporting, verifying,
	       (double)report.count / verifying, (unsigned long long)report.checkpoints,
	       rss_kib() - rss);
	manager_audit_export_free(x);
	bh_audit_verifier_free(v);
	bh_wbuf_done(&w);
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 2 ? (unsigned int)atoi(argv[2]) : 500;
	unsigned int entries = argc > 3 ? (unsigned int)atoi(argv[3]) : 1000000;
	struct manager_audit *audit;

	if (argc < 2) {
		fprintf(stderr, "usage: bench_audit FOLDER [ACTS [ENTRIES]]\n");
		return 2;
	}
	plain(argv[1], count * 2);
	audit = open_log(argv[1]);
	acts(audit, count);
	acts_together(audit, count, 8);
	acts_together(audit, count, 32);
	fill(audit, entries);
	export_and_verify(audit);
	manager_audit_close(audit);
	return 0;
}
