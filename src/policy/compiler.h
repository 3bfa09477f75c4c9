/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the policy room: the parts that the compiler is made of.
 *
 * Theory of operation
 *   A set of the kernel is asked with at most one lookup per shape (kind of remote x kind of
 *   service); the row of the lowest rank wins. So each rule becomes the product of its remotes and
 *   its services, and where a lookup can only give one answer (longest prefix of addresses, class
 *   of ports) the answer must carry everything that wider entries said:
 *   - Addresses: every prefix that a rule names (or excepts) is a node of a tree. A node's class
 *     stands for the rules that hold there: those of its parent, plus those that name it, minus
 *     those that except it. Nodes of equal rules share a class; a node that changes nothing is
 *     left out.
 *   - Ports: the bounds of all ranges of a protocol cut its ports into intervals; each interval
 *     that any range covers is a class and some prefixes; a range is the rows of the intervals
 *     inside of it.
 *   Rows that an earlier rule makes useless are dropped at the end.
 */
#ifndef BH_POLICY_COMPILER_H
#define BH_POLICY_COMPILER_H

#include "policy/compile.h"
#include "policy/doc.h"
#include "policy/eval.h"
#include "policy/universe.h"

enum { REMOTE_ANY, REMOTE_IDENTITY, REMOTE_CIDR, REMOTE_TENANT };
enum { SERVICE_ANY, SERVICE_PROTO, SERVICE_PORT, SERVICE_RANGE };

/* ---- built-in rules ---- */
struct policy_builtin {
	uint32_t rule;
	enum bh_policy_dir dir;
	uint32_t identity; /* reserved one at the other side */
	uint8_t proto;
	uint16_t port;
};
const struct policy_builtin *policy_builtins(size_t *ret_count);

/* ---- compiler ---- */
typedef BH_VEC(const struct bh_policy *) policy_list;
struct bh_policy_compiler {
	const struct bh_policy_set *set;
	const struct bh_policy_universe *universe;
	struct bh_policy_compile_options options;
	policy_list order;		  /* of judgement */
	struct policy_bucket *buckets;	  /* who may select an identity */
	struct policy_resolved *resolved; /* peers that were looked up */
};
/* Policies that select the identity, in the order of judgement. */
void policy_compiler_applicable(const struct bh_policy_compiler *compiler,
				const struct policy_identity *identity, policy_list *ret_list);

/* The VMs that a selector peer means when a VM of self_tenant is judged. Borrowed. */
struct policy_resolved {
	char *key;
	bool tenants; /* ids are numbers of whole tenants */
	policy_ids ids;
	UT_hash_handle hh;
};
const struct policy_resolved *policy_compiler_resolve(struct bh_policy_compiler *compiler,
						      const struct policy_peer *peer,
						      const char *self_tenant);

/* ---- asking, when the policies that select `self` are known already ---- */
struct policy_ask {
	const struct policy_identity *self;
	const struct policy_identity *other; /* NULL: remote is a reserved identity */
	enum bh_policy_dir dir;
	const struct bh_policy_end *remote;
	const struct bh_policy_service *service;
};
void policy_eval_list(const struct bh_policy_compiler *compiler, const policy_list *policies,
		      const struct policy_ask *ask, struct bh_policy_verdict *ret_verdict);
json_t *policy_rule_to_json(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			    uint32_t builtin);

/* ---- rows of one set ---- */
struct policy_row {
	uint32_t remote;
	uint16_t port;
	uint8_t proto;
	uint8_t shape;
	uint32_t rank;
	uint32_t rule;
	uint8_t action;
	uint8_t flags;
	bool dropped;
};
struct policy_rows {
	struct policy_row *items;
	size_t count, capacity;
	uint32_t *index; /* open addressing; 0 free, else place + 1 */
	size_t index_size;
	size_t limit;
	bool full;
};
void policy_rows_init(struct policy_rows *rows, size_t limit);
void policy_rows_done(struct policy_rows *rows);
/* The first row of a key stays. Sets `full` instead of growing over the limit. */
void policy_rows_put(struct policy_rows *rows, const struct policy_row *row);
const struct policy_row *policy_rows_find(const struct policy_rows *rows, uint32_t remote,
					  uint16_t port, uint8_t proto, uint8_t shape);

/* ---- numbers for classes: from a hash, so that they stay when others come and go ---- */
struct policy_numbers {
	uint32_t *slots;
	size_t size, count;
};
uint32_t policy_numbers_take(struct policy_numbers *numbers, const void *key, size_t size);
void policy_numbers_done(struct policy_numbers *numbers);

/* ---- port ranges of one set ---- */
/* A row has 16 bits for the class of a range. `last` is unique within a protocol and is the class.
 */
struct policy_interval {
	uint8_t proto;
	uint16_t first, last;
};
struct policy_ranges {
	BH_VEC(struct policy_port) ports;	  /* ranges as written, before building */
	BH_VEC(struct policy_interval) intervals; /* by proto and first */
};
void policy_ranges_add(struct policy_ranges *ranges, const struct policy_port *port);
void policy_ranges_build(struct policy_ranges *ranges);
void policy_ranges_done(struct policy_ranges *ranges);
/* First interval of proto that ends at or after port; intervals.count when none. */
size_t policy_ranges_lower(const struct policy_ranges *ranges, uint8_t proto, uint16_t port);
const struct policy_interval *policy_ranges_find(const struct policy_ranges *ranges, uint8_t proto,
						 uint16_t port);
/* How many prefixes [first, last] takes; calls fn (may be NULL) for each. */
typedef void policy_prefix_fn(uint16_t port, uint8_t bits, void *arg);
size_t policy_range_prefixes(uint16_t first, uint16_t last, policy_prefix_fn *fn, void *arg);

/* ---- prefixes of one set ---- */
struct policy_prefix {
	struct policy_cidr cidr;
	uint32_t class_index;
};
struct policy_class {
	size_t atoms; /* offset into the pool */
	size_t atom_count;
	uint32_t class_id;
};
struct policy_cidr_event {
	struct policy_cidr cidr;
	uint32_t atom;
	bool minus;
};
/* An atom is a rule, or one peer of a rule that has exceptions; atoms are in the order of rules. */
struct policy_cidrs {
	BH_VEC(struct policy_cidr_event) events;
	BH_VEC(struct policy_prefix) prefixes;
	BH_VEC(struct policy_class) classes;
	BH_VEC(uint32_t) pool;
	struct policy_numbers numbers;
};
void policy_cidrs_add(struct policy_cidrs *cidrs, const struct policy_cidr *cidr, uint32_t atom,
		      bool minus);
/* -E2BIG when nested prefixes multiply beyond what is sane. */
[[nodiscard]] int policy_cidrs_build(struct policy_cidrs *cidrs);
void policy_cidrs_done(struct policy_cidrs *cidrs);

#endif
