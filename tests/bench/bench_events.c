/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Millions of events: how fast one core takes them in, what they take on disk, how long the first
 * page of lists and searches takes; a million talks folded and read. Prints, judges nothing.
 *
 *	bench_events [EVENTS [TALKS]]
 */
#include "base/time.h"
#include "base/util.h"
#include "manager/events/archive.h"
#include "manager/events/talks.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define BATCH	  2048
#define VMS	  10000
#define TENANTS	  1000
#define HOSTS	  200
#define QUERIES	  200 /* of each kind */
#define BUDGET_MS 120 /* as the API gives; `cut` had not looked at everything by then */
#define FIRST_NS  (1795000000ull * BH_NS_PER_S)

struct bench {
	char dir[64];
	char *events, *talks;
	uint64_t count, talk_count;
	char body[1024];
	char vm[BH_UUID_TEXT_SIZE], peer[BH_UUID_TEXT_SIZE], host[16];
};

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * BH_NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t mix(uint64_t n, uint64_t salt)
{
	uint64_t h = (n + 1) * 0x9e3779b97f4a7c15ull ^ (salt + 7) * 0xbf58476d1ce4e5b9ull;

	h ^= h >> 31;
	h *= 0x94d049bb133111ebull;
	return h ^ h >> 29;
}

static void uuid_of(uint64_t vm, char ret[BH_UUID_TEXT_SIZE])
{
	uint8_t raw[16];
	uint64_t a = mix(vm, 100), b = mix(vm, 101);

	memcpy(raw, &a, 8);
	memcpy(raw + 8, &b, 8);
	bh_uuid_format(raw, ret);
}

/* As hosts tell flows; one in 50 is a guard's, one in 10,000 critical. */
static void make(struct bench *b, uint64_t n, struct manager_row *row)
{
	uint64_t vm = mix(n, 1) % VMS, peer = mix(n, 2) % VMS;
	bool guard = mix(n, 3) % 50 == 0, refused = mix(n, 4) % 4 == 0;
	bool critical = mix(n, 5) % 10000 == 0;
	const char *type = critical  ? "host.drift"
			   : guard   ? "guard.spoof-mac"
			   : refused ? "flow.refused"
				     : "flow.new";
	uint64_t wall_ns = FIRST_NS + n * 20000;
	char time[BH_TIME_TEXT_SIZE];

	bh_time_format(wall_ns, time);
	uuid_of(vm, b->vm);
	uuid_of(peer, b->peer);
	snprintf(b->host, sizeof(b->host), "h%llu", (unsigned long long)(vm % HOSTS));
	*row = (struct manager_row){
		.wall_ns = (int64_t)wall_ns,
		.src_tenant = (uint32_t)(vm % TENANTS) + 2,
		.dst_tenant = (uint32_t)(peer % TENANTS) + 2,
		.severity = critical ? 3
			    : guard  ? 2
				     : refused,
		.type = type,
		.host = b->host,
		.vm = b->vm,
		.peer = b->peer,
		.verdict = refused ? "deny" : "allow",
		.body = b->body,
	};
	row->body_size = (size_t)snprintf(
		b->body, sizeof(b->body),
		"{\"v\":1,\"producer\":\"%s\",\"epoch\":\"6e0fbc13-6c4e-4a4e-8e77-2f2a4a2a8f53\","
		"\"seq\":%llu,\"time\":\"%s\",\"type\":\"%s\",\"severity\":\"%s\",\"vm\":\"%s\","
		"\"nic\":\"52:54:00:00:%02llx:%02llx\",\"net\":7,\"vlan\":0,\"dir\":\"egress\","
		"\"action\":\"%s\",\"reason\":\"policy\",\"proto\":\"tcp\",\"src\":\"10.%llu.%ll"
		"u.%llu"
		"\",\"dst\":\"10.%llu.%llu.%llu\",\"sport\":%llu,\"dport\":%llu,\"src_mac\":"
		"\"52:54:00:00:%02llx:%02llx\",\"dst_mac\":\"52:54:00:00:%02llx:%02llx\","
		"\"src_identity\":%llu,\"dst_identity\":%llu,\"rule\":%llu,\"other_rule\":0,"
		"\"packets\":[1,0],\"bytes\":[60,0],\"duration_ms\":0,\"count\":1,\"host\":\"%s\","
		"\"verdict\":\"%s\",\"rule_text\":\"t%llu/web egress[%llu] (web.yaml:12): allow "
		"tcp\",\"src_vm\":\"vm-%llu\",\"dst_vm\":\"vm-%llu\",\"vm_name\":\"vm-%llu\","
		"\"tenant\":\"t%llu\"}",
		b->host, (unsigned long long)n, time, type,
		bh_severity_name((enum bh_severity)row->severity), b->vm,
		(unsigned long long)(vm >> 8), (unsigned long long)(vm & 255), row->verdict,
		(unsigned long long)(vm >> 8), (unsigned long long)(vm & 255), 1ull,
		(unsigned long long)(peer >> 8), (unsigned long long)(peer & 255), 1ull,
		(unsigned long long)(1024 + mix(n, 6) % 60000),
		(unsigned long long)(mix(n, 7) % 40 * 37 + 22), (unsigned long long)(vm >> 8),
		(unsigned long long)(vm & 255), (unsigned long long)(peer >> 8),
		(unsigned long long)(peer & 255), (unsigned long long)(300 + vm % 3000),
		(unsigned long long)(300 + peer % 3000), (unsigned long long)(16 + vm % 5000),
		b->host, row->verdict, (unsigned long long)(vm % TENANTS),
		(unsigned long long)(vm % 7), (unsigned long long)vm, (unsigned long long)peer,
		(unsigned long long)vm, (unsigned long long)(vm % TENANTS));
}

static void fill(struct bench *b)
{
	struct manager_archive_options o = {.path = b->events, .keep = UINT32_MAX};
	struct manager_archive *archive;
	struct manager_archive_stats stats;
	struct manager_row row;
	double cpu, making;
	uint64_t began, bytes = 0;

	if (manager_archive_open(&o, &archive, NULL) < 0) {
		abort();
	}
	cpu = cpu_s();
	for (uint64_t n = 0; n < 200000; n++) {
		make(b, n, &row);
	}
	making = (cpu_s() - cpu) / 200000;
	cpu = cpu_s();
	began = bh_time_mono_ns();
	for (uint64_t n = 0; n < b->count;) {
		if (manager_archive_begin(archive, NULL) < 0) {
			abort();
		}
		for (uint64_t end = n + BATCH; n < end && n < b->count; n++) {
			make(b, n, &row);
			bytes += row.body_size;
			if (manager_archive_add(archive, &row, NULL) < 0) {
				abort();
			}
		}
		if (manager_archive_end(archive, bh_time_wall_ns(), NULL) < 0) {
			abort();
		}
	}
	cpu = cpu_s() - cpu - making * (double)b->count;
	manager_archive_stats(archive, &stats);
	printf("in: %llu events in %.1f s; %.0f per second of CPU of one core (aim 50,000; making "
	       "them not counted)\n",
	       (unsigned long long)b->count, (double)(bh_time_mono_ns() - began) / 1e9,
	       (double)b->count / cpu);
	printf("disk: %.0f bytes per event, of %.0f of text\n",
	       (double)stats.bytes / (double)(stats.blocks * MANAGER_BLOCK_ROWS),
	       (double)bytes / (double)b->count);
	fflush(stdout);
	manager_archive_close(archive);
}

static int count_row(uint64_t id, const struct manager_row *row, const char *json, void *arg)
{
	(void)json;
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

typedef void ask_fn(struct bench *b, unsigned int n, struct manager_event_filter *f);

static void set_tenant(struct manager_event_filter *f, unsigned int n)
{
	struct manager_scope scope = {.tenants = {(uint32_t)(mix(n, 50) % TENANTS) + 2},
				      .count = 1};

	manager_filter_scope(f, &scope);
}

static void ask_newest(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
}

static void ask_vm(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	uuid_of(mix(n, 51) % VMS, f->vm);
}

static void ask_vm_severe(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	ask_vm(b, n, f);
	f->severity = 2;
}

static void ask_critical(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	f->severity = 3;
}

static void ask_host_type(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	snprintf(f->host, sizeof(f->host), "h%llu", (unsigned long long)(mix(n, 52) % HOSTS));
	snprintf(f->type, sizeof(f->type), "guard.");
}

static void ask_tenant(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	set_tenant(f, n);
}

static void ask_tenant_guard(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	set_tenant(f, n);
	f->severity = 2;
}

static void ask_time(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	f->since_ns = FIRST_NS + mix(n, 53) % b->count * 20000;
	f->until_ns = f->since_ns + BH_NS_PER_S / 100;
}

static void parse(struct manager_event_filter *f, const char *text)
{
	if (manager_query_parse(text, &f->query, NULL) < 0) {
		abort();
	}
}

static void ask_address(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	uint64_t vm = mix(n, 54) % VMS;
	char text[64];

	snprintf(text, sizeof(text), "10.%llu.%llu.1", (unsigned long long)(vm >> 8),
		 (unsigned long long)(vm & 255));
	parse(f, text);
}

static void ask_two_words(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	char text[64];

	snprintf(text, sizeof(text), "vm-%llu dport:%llu", (unsigned long long)(mix(n, 55) % VMS),
		 (unsigned long long)(mix(n, 56) % 40 * 37 + 22));
	parse(f, text);
}

static void ask_nothing(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	char text[64];

	snprintf(text, sizeof(text), "nobody%u", n);
	parse(f, text);
}

static void ask_tenant_word(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	char text[64];

	set_tenant(f, n);
	snprintf(text, sizeof(text), "dport:%llu", (unsigned long long)(mix(n, 57) % 40 * 37 + 22));
	parse(f, text);
}

static void ask_network(struct bench *b, unsigned int n, struct manager_event_filter *f)
{
	char text[64];

	snprintf(text, sizeof(text), "dst:10.%llu.* sport:%llu",
		 (unsigned long long)(mix(n, 58) % 39),
		 (unsigned long long)(1024 + mix(n, 59) % 60000));
	parse(f, text);
}

static void measure(struct bench *b, struct manager_reader *reader, const char *name, ask_fn *ask)
{
	double ms[QUERIES], cpu_ms[QUERIES];
	uint64_t found = 0;
	uint32_t cut = 0;

	for (unsigned int n = 0; n < QUERIES; n++) {
		struct manager_event_filter f = {.limit = 100,
						 .budget_ms = BUDGET_MS,
						 .scope.all = true,
						 .flow_scope.all = true};
		struct manager_listed listed;
		uint64_t began, began_cpu;

		ask(b, n, &f);
		began = bh_time_mono_ns();
		began_cpu = thread_ns();
		if (manager_reader_list(reader, &f, count_row, NULL, &listed, NULL) < 0) {
			abort();
		}
		cpu_ms[n] = (double)(thread_ns() - began_cpu) / 1e6;
		ms[n] = (double)(bh_time_mono_ns() - began) / 1e6;
		found += listed.count;
		cut += !listed.complete && listed.count < f.limit;
	}
	qsort(ms, QUERIES, sizeof(*ms), compare);
	qsort(cpu_ms, QUERIES, sizeof(*cpu_ms), compare);
	printf("%-34s p50 %6.1f p99 %6.1f max %6.1f ms, CPU p50 %6.1f p99 %6.1f max %6.1f ms (aim "
	       "150), %.1f found, %u cut\n",
	       name, ms[QUERIES / 2], ms[QUERIES * 99 / 100 - 1], ms[QUERIES - 1],
	       cpu_ms[QUERIES / 2], cpu_ms[QUERIES * 99 / 100 - 1], cpu_ms[QUERIES - 1],
	       (double)found / QUERIES, cut);
	fflush(stdout);
}

static void search(struct bench *b)
{
	static const struct {
		const char *name;
		ask_fn *ask;
	} kinds[] = {
		{"newest", ask_newest},
		{"of a VM", ask_vm},
		{"of a VM, warning or graver", ask_vm_severe},
		{"critical", ask_critical},
		{"guard.* of a host", ask_host_type},
		{"of a tenant (1 of 1,000)", ask_tenant},
		{"of a tenant, warning or graver", ask_tenant_guard},
		{"10 ms of time", ask_time},
		{"word: an address", ask_address},
		{"words: a VM and a port", ask_two_words},
		{"word that is nowhere", ask_nothing},
		{"of a tenant, word: a port", ask_tenant_word},
		{"words: a network and a port", ask_network},
	};
	struct manager_reader *reader;

	if (manager_reader_open(b->events, &reader, NULL) < 0) {
		abort();
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(kinds); i++) {
		measure(b, reader, kinds[i].name, kinds[i].ask);
	}
	manager_reader_close(reader);
}

static int add_up(const struct manager_talk *talk, void *arg)
{
	*(uint64_t *)arg += talk->count;
	return 0;
}

static void talks(struct bench *b)
{
	struct manager_talks_options o = {.path = b->talks};
	struct manager_talks_query q = {.path = b->talks, .scope.all = true};
	struct manager_talks *t;
	uint64_t now_s = FIRST_NS / BH_NS_PER_S / 3600 * 3600, began, sum = 0;
	double cpu;

	if (manager_talks_open(&o, &t, NULL) < 0) {
		abort();
	}
	cpu = cpu_s();
	for (uint64_t n = 0; n < b->talk_count; n++) {
		uint64_t which = mix(n, 60) % (b->talk_count / 10);
		struct manager_talk talk = {.src_identity = (uint32_t)(300 + which % 3000),
					    .dst_identity = (uint32_t)(300 + which / 3000),
					    .src_tenant = (uint32_t)(which % TENANTS) + 2,
					    .port = (uint16_t)(which % 40),
					    .proto = 6,
					    .verdict = 1,
					    .count = 1};

		memcpy(talk.src, &which, sizeof(which));
		talk.first_s = talk.last_s = (uint32_t)(now_s + n % 10 * 3600 - 9 * 3600);
		if (manager_talks_add(t, &talk, now_s, NULL) < 0) {
			abort();
		}
	}
	printf("talks: %llu records folded, %.0f per second of CPU\n",
	       (unsigned long long)b->talk_count, (double)b->talk_count / (cpu_s() - cpu));
	cpu = cpu_s();
	if (manager_talks_flush(t, 1, now_s, true, NULL) < 0) {
		abort();
	}
	printf("talks: written in %.2f s of CPU\n", cpu_s() - cpu);
	for (int i = 0; i < 3; i++) {

		began = bh_time_mono_ns();
		if (manager_talks_each(&q, add_up, &sum, NULL) < 0) {
			abort();
		}
		printf("talks: all of them read in %.2f s (aim 1 for a million)\n",
		       (double)(bh_time_mono_ns() - began) / 1e9);
	}
	manager_talks_close(t);
}

int main(int argc, char **argv)
{
	struct bench b = {.count = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000,
			  .talk_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000};
	BH_FREE char *clean = NULL;

	snprintf(b.dir, sizeof(b.dir), "/var/tmp/bench-events-XXXXXX");
	if (!mkdtemp(b.dir)) {
		return 1;
	}
	b.events = bh_asprintf("%s/events.db", b.dir);
	b.talks = bh_asprintf("%s/talks.db", b.dir);
	fill(&b);
	search(&b);
	talks(&b);
	clean = bh_asprintf("rm -rf %s", b.dir);
	free(b.events);
	free(b.talks);
	return system(clean) == 0 ? 0 : 1;
}
