/* SPDX-License-Identifier: Apache-2.0 */
/* "Unknown key; did you mean ...": words of other systems first, likeness of spelling second. */
#include "policy/parse.h"

#include <ctype.h>
#include <strings.h>

#define WORD_MAX 32

static const struct {
	const char *word;
	const char *advice;
} elsewhere[] = {
	{"podSelector", "`selector` is the word for podSelector"},
	{"endpointSelector", "`selector` is the word for endpointSelector"},
	{"appliedTo", "`selector` says which VMs the policy applies to"},
	{"namespaceSelector",
	 "`tenant: NAME` or `tenant: \"*\"` stands where Kubernetes has namespaceSelector"},
	{"namespace", "`tenant` is the word for namespace"},
	{"ipBlock", "write `- cidr: 10.0.0.0/8` (and `except: [...]`) in place of ipBlock"},
	{"ipBlocks", "write `- cidr: 10.0.0.0/8` in place of ipBlocks"},
	{"fromCIDR", "write `from: [{cidr: ...}]`"},
	{"toCIDR", "write `to: [{cidr: ...}]`"},
	{"nets", "write one `- cidr:` per network"},
	{"notNets", "`except` is the word for notNets"},
	{"fromEntities", "write `from: [{entity: world}]`"},
	{"toEntities", "write `to: [{entity: world}]`"},
	{"fromEndpoints", "write `from: [{selector: {...}}]`"},
	{"toEndpoints", "write `to: [{selector: {...}}]`"},
	{"toPorts", "`ports` is the word for toPorts"},
	{"policyTypes", "`directions: [ingress, egress]` is the word for policyTypes"},
	{"types", "`directions: [ingress, egress]` is the word for types"},
	{"endPort", "write a range as `port: \"8000-8100\"`"},
	{"ingressDeny", "write `ingress` with `action: deny`"},
	{"egressDeny", "write `egress` with `action: deny`"},
	{"nodeSelector", "write `placement: {hosts: {matchLabels: {...}}}`"},
	{"nodeAffinity", "write `placement: {hosts: {matchExpressions: [...]}}`"},
	{"affinity", "write `placement: {hosts: {matchExpressions: [...]}}`"},
	{"hostSelector", "write `placement: {hosts: {matchLabels: {...}}}`"},
	{"annotations", "`description` or `labels` can hold remarks"},
	{"source", "write `from: [...]` in ingress rules"},
	{"destination", "write `to: [...]` in egress rules"},
	{"priority", "`order` is the word for priority; lower comes first"},
	{"<<", "merge keys are not accepted; write the keys out"},
};

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein, ignoring case. Both at most WORD_MAX. */
static unsigned int distance(const char *a, const char *b)
{
	size_t n = strlen(b);
	unsigned int row[WORD_MAX + 1];

	for (size_t k = 0; k <= n; k++) {
		row[k] = (unsigned int)k;
	}
	for (size_t i = 0; a[i]; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i + 1;
		for (size_t k = 1; k <= n; k++) {
			unsigned int above = row[k];
			bool same =
				tolower((unsigned char)a[i]) == tolower((unsigned char)b[k - 1]);

			row[k] = min3(above + 1, row[k - 1] + 1, diagonal + !same);
			diagonal = above;
		}
	}
	return row[n];
}

const char *policy_suggest(const char *word, const char *const *known, char *buf, size_t size)
{
	const char *best = NULL;
	unsigned int best_distance = 3;

	for (size_t i = 0; i < BH_ARRAY_SIZE(elsewhere); i++) {
		if (!strcasecmp(word, elsewhere[i].word)) {
			return elsewhere[i].advice;
		}
	}
	if (strlen(word) > WORD_MAX) {
		return NULL;
	}
	for (size_t i = 0; known[i]; i++) {
		unsigned int d = distance(word, known[i]);

		if (d < best_distance && d < strlen(known[i])) {
			best_distance = d;
			best = known[i];
		}
	}
	if (!best) {
		return NULL;
	}
	snprintf(buf, size, "did you mean `%s`?", best);
	return buf;
}
