/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reading and compiling policies costs, in CPU seconds of this machine: one set of 100,000
 * rules of several kinds, and 10,000 identities under 1,000 policies. Prints; judges nothing.
 */
#include "base/util.h"
#include "policy/eval.h"

#include <sys/resource.h>
#include <time.h>

#define RULES 100000

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct bh_policy_set *parse(struct bh_wbuf *text, double *ret_s)
{
	struct bh_policy_set *set;
	struct bh_diag diag;
	double start = cpu_s();

	if (bh_policy_parse((const char *)text->data, text->size, NULL, &set, &diag)) {
		fprintf(stderr, "%s\n", diag.text);
		exit(1);
	}
	*ret_s = cpu_s() - start;
	return set;
}

static struct bh_policy_universe *make_universe(unsigned int identities, unsigned int apps)
{
	struct bh_policy_universe *u = bh_policy_universe_new();

	if (bh_policy_universe_add_tenant(u, "shop", 2, NULL)) {
		exit(1);
	}
	for (unsigned int i = 0; i < identities; i++) {
		BH_FREE char *app = bh_asprintf("a%u", i % apps);
		BH_FREE char *node = bh_asprintf("n%u", i);
		struct bh_policy_label labels[] = {{"app", app}, {"node", node}};

		if (bh_policy_universe_add_identity(u, 256 + i, 2, labels, 2, NULL)) {
			exit(1);
		}
	}
	return u;
}

typedef void rule_fn(struct bh_wbuf *w, unsigned int i);

static void by_address(struct bh_wbuf *w, unsigned int i)
{
	bh_wbuf_printf(w, "  - {from: [{cidr: 10.%u.%u.%u}], ports: [tcp/%u]}\n", i >> 16,
		       i >> 8 & 255, i & 255, i % 60000 + 1);
}

static void by_label(struct bh_wbuf *w, unsigned int i)
{
	bh_wbuf_printf(w, "  - {from: [{selector: {matchLabels: {app: a%u}}}], ports: [tcp/%u]}\n",
		       i % 1000, i / 1000 + i % 1000 * 50 + 1);
}

static void by_range(struct bh_wbuf *w, unsigned int i)
{
	bh_wbuf_printf(w, "  - {from: [{cidr: 10.%u.%u.0/24}], ports: [tcp/%u-%u]}\n", i >> 8 & 255,
		       i & 255, i % 200 * 300 + 1, i % 200 * 300 + 250);
}

static void one_set(const char *what, rule_fn *rule, unsigned int rules)
{
	struct bh_policy_universe *u = make_universe(1000, 1000);
	struct bh_policy_compiler *compiler;
	struct bh_segment *seg = NULL;
	struct bh_policy_set *set;
	struct bh_diag diag;
	struct bh_wbuf w;
	double parse_s;
	double start;

	bh_wbuf_init(&w, 0);
	bh_wbuf_str(&w, "kind: Policy\nmetadata: {name: a, tenant: shop}\nspec:\n"
			"  selector: {}\n  ingress:\n");
	for (unsigned int i = 0; i < rules; i++) {
		rule(&w, i);
	}
	set = parse(&w, &parse_s);
	compiler = bh_policy_compiler_new(set, u, NULL);
	start = cpu_s();
	if (bh_policy_compile(compiler, 256, BH_POLICY_INGRESS, &seg, &diag)) {
		fprintf(stderr, "%s\n", diag.text);
		exit(1);
	}
	printf("%-28s %7u rules  parse %6.3f s  compile %6.3f s  "
	       "rows %zu  prefixes %zu  ranges %zu\n",
	       what, rules, parse_s, cpu_s() - start, bh_segment_count_of(seg, BH_REC_ROW),
	       bh_segment_count_of(seg, BH_REC_CIDR), bh_segment_count_of(seg, BH_REC_RANGE));
	bh_segment_unref(seg);
	bh_policy_compiler_free(compiler);
	bh_policy_set_free(set);
	bh_policy_universe_free(u);
	bh_wbuf_done(&w);
}

static void count(uint32_t identity, void *arg)
{
	++*(size_t *)arg;
}

static void many_sets(void)
{
	struct bh_policy_universe *u = make_universe(10000, 1000);
	struct bh_policy_compiler *compiler;
	struct bh_policy_set *set;
	struct bh_policy_set *less;
	struct bh_wbuf w;
	size_t records = 0;
	size_t touched = 0;
	double parse_s;
	double start;

	bh_wbuf_init(&w, 0);
	for (unsigned int i = 0; i < 1000; i++) {
		bh_wbuf_printf(&w,
			       "---\nkind: Policy\nmetadata: {name: p%u, tenant: shop}\nspec:\n"
			       "  selector: {matchLabels: {app: a%u}}\n"
			       "  ingress: [{from: [{selector: {matchLabels: {app: a%u}}}], "
			       "ports: [tcp/80, tcp/443]}]\n"
			       "  egress: [{to: [{selector: {matchLabels: {app: a%u}}}], "
			       "ports: [tcp/1-1023]}]\n",
			       i, i, (i + 1) % 1000, (i + 7) % 1000);
	}
	set = parse(&w, &parse_s);
	start = cpu_s();
	compiler = bh_policy_compiler_new(set, u, NULL);
	for (unsigned int i = 0; i < 20000; i++) {
		struct bh_segment *seg;

		if (bh_policy_compile(compiler, 256 + i / 2, (enum bh_policy_dir)(i & 1), &seg,
				      NULL)) {
			exit(1);
		}
		records += bh_segment_count(seg);
		bh_segment_unref(seg);
	}
	printf("10,000 identities, 1,000 policies: parse %.3f s, all 20,000 sets %.3f s, "
	       "%zu records\n",
	       parse_s, cpu_s() - start, records);
	less = bh_policy_set_copy(set);
	(void)bh_policy_set_drop(less, "shop", "p7");
	start = cpu_s();
	bh_policy_affected(set, less, u, count, &touched);
	printf("one policy changes: %zu identities to compile anew, found in %.6f s\n", touched,
	       cpu_s() - start);
	bh_policy_compiler_free(compiler);
	bh_policy_set_free(set);
	bh_policy_set_free(less);
	bh_policy_universe_free(u);
	bh_wbuf_done(&w);
}

int main(void)
{
	struct rusage usage;

	one_set("one address, one port each", by_address, 10);
	one_set("one address, one port each", by_address, RULES);
	one_set("one label, one port each", by_label, RULES);
	one_set("one /24, one range each", by_range, RULES);
	many_sets();
	getrusage(RUSAGE_SELF, &usage);
	printf("largest resident memory %ld MB\n", usage.ru_maxrss / 1024);
	return 0;
}
