/* SPDX-License-Identifier: Apache-2.0 */
/* Databases of literals; theory in mpm.h. */
#include "gate/detect/mpm.h"

#include "base/counter.h"
#include "gate/detect/hscache.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <unistd.h>

#define THREADS_MAX   8
#define BUCKETS_COUNT 1024

BH_COUNTER(gate_mpm_compiled, "Hyperscan databases that were compiled");

struct gate_hs {
	uint8_t key[GATE_HS_KEY_SIZE];
	struct gate_grams *grams;
	hs_database_t *db; /* of the short literals and the crowded ones; NULL none */
	bool db_always;
	size_t size;
	uint32_t refs;
	struct gate_hs_registry *registry;
	struct gate_hs *next;
};

struct gate_hs_registry {
	pthread_mutex_t lock;
	struct gate_hs *buckets[BUCKETS_COUNT];
};

/* A database that is not there yet. */
struct job {
	struct gate_hs *hs;
	const struct gate_mpm_literal *literals; /* distinct, sorted; owned */
	uint32_t count;
	bool large, cached;
	int err;
	char reason[160];
};

struct gate_mpm_jobs {
	struct gate_hs_registry *registry;
	const char *cache_dir;
	BH_VEC(struct job) jobs;
	BH_VEC(struct gate_mpm *) mpms; /* to be told */
	struct gate_mpm_jobs_stats stats;
	size_t next;
	pthread_mutex_t lock;
};

struct gate_hs_registry *gate_hs_registry_new(void)
{
	struct gate_hs_registry *registry = bh_alloc(sizeof(*registry));

	pthread_mutex_init(&registry->lock, NULL);
	return registry;
}

void gate_hs_registry_free(struct gate_hs_registry *registry)
{
	if (!registry) {
		return;
	}
	pthread_mutex_destroy(&registry->lock);
	free(registry);
}

static struct gate_hs **bucket_of(struct gate_hs_registry *registry, const uint8_t *key)
{
	uint32_t hash;

	memcpy(&hash, key, sizeof(hash));
	return &registry->buckets[hash % BUCKETS_COUNT];
}

static struct gate_hs *hs_find(struct gate_hs_registry *registry, const uint8_t *key,
			       bool *ret_created)
{
	struct gate_hs **bucket = bucket_of(registry, key), *hs;

	pthread_mutex_lock(&registry->lock);
	for (hs = *bucket; hs && memcmp(hs->key, key, GATE_HS_KEY_SIZE); hs = hs->next) {
	}
	*ret_created = !hs;
	if (!hs) {
		hs = bh_alloc(sizeof(*hs));
		memcpy(hs->key, key, GATE_HS_KEY_SIZE);
		hs->registry = registry;
		hs->next = *bucket;
		*bucket = hs;
	}
	hs->refs++;
	pthread_mutex_unlock(&registry->lock);
	return hs;
}

static void hs_unref(struct gate_hs *hs)
{
	struct gate_hs_registry *registry = hs->registry;
	struct gate_hs **p;
	bool last;

	pthread_mutex_lock(&registry->lock);
	last = --hs->refs == 0;
	if (last) {
		for (p = bucket_of(registry, hs->key); *p != hs; p = &(*p)->next) {
		}
		*p = hs->next;
	}
	pthread_mutex_unlock(&registry->lock);
	if (last) {
		gate_grams_free(hs->grams);
		hs_free_database(hs->db);
		free(hs);
	}
}

void gate_mpm_free(struct gate_mpm *mpm)
{
	if (!mpm) {
		return;
	}
	if (mpm->hs) {
		hs_unref(mpm->hs);
	}
	free((void *)mpm->patterns);
	free((void *)mpm->sigs);
	free(mpm);
}

/* By length, then bytes, then case: an order that says nothing of rules. */
static int literal_compare_bytes(const struct gate_mpm_literal *a, const struct gate_mpm_literal *b)
{
	int order;

	if (a->size != b->size) {
		return a->size < b->size ? -1 : 1;
	}
	order = memcmp(a->bytes, b->bytes, a->size);
	return order ? order : (int)a->nocase - (int)b->nocase;
}

static int literal_compare(const void *pa, const void *pb)
{
	const struct gate_mpm_literal *a = pa, *b = pb;
	int order = literal_compare_bytes(a, b);

	if (order) {
		return order;
	}
	return a->sig < b->sig ? -1 : a->sig > b->sig;
}

static void key_of(const struct gate_mpm_literal *literals, uint32_t count, bool large,
		   uint8_t *ret_key)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	hs_platform_info_t platform;
	const uint8_t format[] = {GATE_GRAM_LONG, GATE_GRAM_CROWD,
				  GATE_GRAM_FEW}; /* which the database has */

	memset(&platform, 0, sizeof(platform));
	hs_populate_platform(&platform);
	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	EVP_DigestUpdate(md, hs_version(), strlen(hs_version()));
	EVP_DigestUpdate(md, &platform.cpu_features, sizeof(platform.cpu_features));
	EVP_DigestUpdate(md, &platform.tune, sizeof(platform.tune));
	EVP_DigestUpdate(md, &large, sizeof(large));
	EVP_DigestUpdate(md, format, sizeof(format));
	for (uint32_t i = 0; i < count; i++) {
		uint8_t head[3] = {(uint8_t)literals[i].size, (uint8_t)(literals[i].size >> 8),
				   literals[i].nocase};

		EVP_DigestUpdate(md, head, sizeof(head));
		EVP_DigestUpdate(md, literals[i].bytes, literals[i].size);
	}
	EVP_DigestFinal_ex(md, ret_key, NULL);
	EVP_MD_CTX_free(md);
}

struct gate_mpm_jobs *gate_mpm_jobs_new(struct gate_hs_registry *registry, const char *cache_dir)
{
	struct gate_mpm_jobs *jobs = bh_alloc(sizeof(*jobs));

	jobs->registry = registry;
	jobs->cache_dir = cache_dir;
	pthread_mutex_init(&jobs->lock, NULL);
	return jobs;
}

void gate_mpm_jobs_free(struct gate_mpm_jobs *jobs)
{
	if (!jobs) {
		return;
	}
	bh_vec_foreach (job, &jobs->jobs) {
		free((void *)job->literals);
	}
	bh_vec_done(&jobs->jobs);
	bh_vec_done(&jobs->mpms);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

/* Patterns of `mpm` from the sorted literals; the distinct ones are left at the front. */
static uint32_t fill_patterns(struct gate_mpm *mpm, struct gate_mpm_literal *literals, size_t count)
{
	struct gate_mpm_pattern *patterns = bh_alloc_array(count, sizeof(*patterns));
	uint32_t *sigs = bh_alloc_array(count, sizeof(*sigs)), distinct = 0;

	for (size_t i = 0; i < count; i++) {
		struct gate_mpm_literal *lit = &literals[i];
		struct gate_mpm_pattern *pattern;

		sigs[i] = lit->sig;
		if (!distinct || literal_compare_bytes(&literals[distinct - 1], lit)) {
			literals[distinct] = *lit;
			patterns[distinct++] = (struct gate_mpm_pattern){.first = (uint32_t)i,
									 .max_end = lit->max_end};
		}
		pattern = &patterns[distinct - 1];
		pattern->count++;
		pattern->max_end =
			lit->max_end > pattern->max_end ? lit->max_end : pattern->max_end;
		mpm->longest = lit->size > mpm->longest ? lit->size : mpm->longest;
		mpm->reach = lit->max_end > mpm->reach ? lit->max_end : mpm->reach;
	}
	mpm->patterns = bh_realloc_array(patterns, distinct, sizeof(*patterns));
	mpm->sigs = sigs;
	mpm->sig_count = (uint32_t)count;
	mpm->pattern_count = distinct;
	return distinct;
}

struct gate_mpm *gate_mpm_jobs_add(struct gate_mpm_jobs *jobs, const struct gate_mpm_input *input)
{
	struct gate_mpm_literal *literals;
	struct gate_mpm *mpm;
	uint8_t key[GATE_HS_KEY_SIZE];
	size_t count = input->literals.count;
	uint32_t distinct;
	bool created;

	if (!count) {
		return NULL;
	}
	mpm = bh_alloc(sizeof(*mpm));
	literals = bh_memdup(input->literals.items, count * sizeof(*literals));
	for (size_t i = 0; i < count; i++) {
		if (literals[i].size > GATE_GRAM_LONGEST) {
			literals[i].size = GATE_GRAM_LONGEST;
		}
	}
	qsort(literals, count, sizeof(*literals), literal_compare);
	distinct = fill_patterns(mpm, literals, count);
	key_of(literals, distinct, input->large, key);
	mpm->hs = hs_find(jobs->registry, key, &created);
	*bh_vec_push(&jobs->mpms) = mpm;
	jobs->stats.databases++;
	if (created) {
		*bh_vec_push(&jobs->jobs) = (struct job){.hs = mpm->hs,
							 .literals = literals,
							 .count = distinct,
							 .large = input->large};
	} else {
		jobs->stats.shared++;
		free(literals);
	}
	return mpm;
}

/* hs_compile_lit_multi (5.4.9) takes a literal that begins with NUL for an empty one: such a set is
 * compiled as expressions, which takes longer and finds the same. */
static bool has_leading_nul(const struct job *job, const bool *wanted)
{
	for (uint32_t i = 0; i < job->count; i++) {
		if (wanted[i] && !job->literals[i].bytes[0]) {
			return true;
		}
	}
	return false;
}

static char *expression_of(const struct gate_mpm_literal *literal)
{
	char *text = bh_alloc((size_t)literal->size * 4 + 1);

	for (uint16_t i = 0; i < literal->size; i++) {
		sprintf(text + (size_t)i * 4, "\\x%02x", literal->bytes[i]);
	}
	return text;
}

static void compile(struct job *job, const bool *wanted)
{
	bool expressions = has_leading_nul(job, wanted);
	hs_error_t r;
	const char **texts = bh_alloc_array(job->count, sizeof(*texts));
	size_t *sizes = bh_alloc_array(job->count, sizeof(*sizes));
	unsigned int *flags = bh_alloc_array(job->count, sizeof(*flags)), count = 0;
	unsigned int *ids = bh_alloc_array(job->count, sizeof(*ids));
	hs_compile_error_t *error = NULL;

	for (uint32_t i = 0; i < job->count; i++) {
		const struct gate_mpm_literal *literal = &job->literals[i];

		if (!wanted[i]) {
			continue;
		}
		texts[count] = expressions ? expression_of(literal) : (const char *)literal->bytes;
		sizes[count] = literal->size;
		flags[count] = HS_FLAG_SINGLEMATCH | (literal->nocase ? HS_FLAG_CASELESS : 0);
		ids[count++] = i;
	}
	r = expressions ? hs_compile_multi(texts, flags, ids, count, HS_MODE_BLOCK, NULL,
					   &job->hs->db, &error)
			: hs_compile_lit_multi(texts, flags, ids, sizes, count, HS_MODE_BLOCK, NULL,
					       &job->hs->db, &error);
	if (r != HS_SUCCESS) {
		job->err = -EINVAL;
		snprintf(job->reason, sizeof(job->reason), "%s", error ? error->message : "?");
		hs_free_compile_error(error);
	}
	bh_counter_add(&gate_mpm_compiled, 1);
	for (uint32_t i = 0; expressions && i < count; i++) {
		free((char *)texts[i]);
	}
	free(texts);
	free(sizes);
	free(flags);
	free(ids);
}

/* Marks those that are left to Hyperscan; false: there are none. */
static bool make_grams(struct job *job, bool *ret_wanted)
{
	BH_FREE struct gate_literal *literals = bh_alloc_array(job->count, sizeof(*literals));
	bool any = false, shorts;

	for (uint32_t i = 0; i < job->count; i++) {
		literals[i] = (struct gate_literal){.bytes = job->literals[i].bytes,
						    .size = job->literals[i].size,
						    .nocase = job->literals[i].nocase};
	}
	job->hs->grams = gate_grams_new(literals, job->count, ret_wanted);
	job->hs->size = gate_grams_bytes(job->hs->grams);
	for (uint32_t i = 0; i < job->count; i++) {
		job->hs->db_always = job->hs->db_always || ret_wanted[i];
	}
	shorts = (job->large || job->hs->db_always) && !gate_grams_are_few(job->hs->grams);
	for (uint32_t i = 0; i < job->count; i++) {
		ret_wanted[i] = ret_wanted[i] || (shorts && literals[i].size < GATE_GRAM_LONG);
		any = any || ret_wanted[i];
	}
	return any;
}

static void run_one(struct gate_mpm_jobs *jobs, struct job *job)
{
	BH_FREE bool *wanted = bh_alloc_array(job->count, sizeof(*wanted));
	size_t size = 0;

	if (!make_grams(job, wanted)) {
		job->cached = true;
		return;
	}
	if (jobs->cache_dir && !gate_hscache_load(jobs->cache_dir, job->hs->key, &job->hs->db)) {
		job->cached = true;
	} else {
		compile(job, wanted);
		if (!job->err && jobs->cache_dir) {
			gate_hscache_store(jobs->cache_dir, job->hs->key, job->hs->db);
		}
	}
	if (job->hs->db) {
		hs_database_size(job->hs->db, &size);
		job->hs->size += size;
	}
}

static void *run_thread(void *arg)
{
	struct gate_mpm_jobs *jobs = arg;

	for (;;) {
		size_t i;

		pthread_mutex_lock(&jobs->lock);
		i = jobs->next++;
		pthread_mutex_unlock(&jobs->lock);
		if (i >= jobs->jobs.count) {
			return NULL;
		}
		run_one(jobs, &jobs->jobs.items[i]);
	}
}

/* Large ones first, so that no thread is left alone with one at the end. */
static int job_compare(const void *pa, const void *pb)
{
	const struct job *a = pa, *b = pb;

	return a->count > b->count ? -1 : a->count < b->count;
}

int gate_mpm_jobs_run(struct gate_mpm_jobs *jobs, struct bh_diag *diag)
{
	pthread_t threads[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t count = 0, want = cpus < 1 ? 1 : cpus > THREADS_MAX ? THREADS_MAX : (size_t)cpus;

	if (jobs->jobs.count) {
		qsort(jobs->jobs.items, jobs->jobs.count, sizeof(*jobs->jobs.items), job_compare);
	}
	want = want > jobs->jobs.count ? jobs->jobs.count : want;
	while (count + 1 < want && !pthread_create(&threads[count], NULL, run_thread, jobs)) {
		count++;
	}
	run_thread(jobs);
	for (size_t i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
	}
	bh_vec_foreach (job, &jobs->jobs) {
		if (job->err) {
			return bh_diag_set(diag, job->err, "hyperscan: %s", job->reason);
		}
		jobs->stats.bytes += job->hs->size;
		jobs->stats.cached += job->cached;
		jobs->stats.compiled += !job->cached;
	}
	bh_vec_foreach (mpm, &jobs->mpms) {
		(*mpm)->db = (*mpm)->hs->db;
		(*mpm)->grams = (*mpm)->hs->grams;
		(*mpm)->db_always = (*mpm)->hs->db_always;
		if (!(*mpm)->grams) {
			return bh_diag_set(diag, -EAGAIN, "hyperscan: a database is unfinished");
		}
	}
	return 0;
}

void gate_mpm_jobs_stats(const struct gate_mpm_jobs *jobs, struct gate_mpm_jobs_stats *ret)
{
	*ret = jobs->stats;
}
