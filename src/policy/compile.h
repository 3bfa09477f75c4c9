/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From documents to the rows that a kernel looks up: the universe of tenants and identities, and
 * the compiler that makes one segment per identity and direction (model/image.h says what records
 * mean, docs/architecture.md which rule comes before which).
 *
 * Ownership: the compiler borrows set and universe; both must stay unchanged while it lives (adding
 * to either means a new compiler; making one is cheap, about linear in policies). Pure; one thread
 * at a time.
 */
#ifndef BH_POLICY_COMPILE_H
#define BH_POLICY_COMPILE_H

#include "model/image.h"
#include "policy/policy.h"

/* ---- universe ---- */
struct bh_policy_universe;
struct bh_policy_universe *bh_policy_universe_new(void);
void bh_policy_universe_free(struct bh_policy_universe *universe); /* NULL is fine */
/* Copies the name. -EEXIST when name or number is taken. */
[[nodiscard]] int bh_policy_universe_add_tenant(struct bh_policy_universe *universe,
						const char *name, uint32_t number,
						struct bh_diag *diag);
/* Copies the labels (classes of bh_policy_vm_classes() included). id from 256 on. -EEXIST when
 * taken, -ENOENT when the tenant is unknown, -EINVAL for a reserved id or a key twice. */
[[nodiscard]] int bh_policy_universe_add_identity(struct bh_policy_universe *universe, uint32_t id,
						  uint32_t tenant,
						  const struct bh_policy_label *labels,
						  size_t label_count, struct bh_diag *diag);
void bh_policy_universe_drop_identity(struct bh_policy_universe *universe, uint32_t id);
/* Everything of it, for another thread. Owned. */
struct bh_policy_universe *bh_policy_universe_copy(const struct bh_policy_universe *universe);
/* {"tenant", "labels": {}} of an identity, labels without classes; NULL when it is unknown. Owned.
 */
json_t *bh_policy_universe_identity_json(const struct bh_policy_universe *universe, uint32_t id);
uint32_t bh_policy_universe_tenant_of(const struct bh_policy_universe *universe,
				      uint32_t id); /* 0: unknown */
uint32_t bh_policy_universe_tenant_number(const struct bh_policy_universe *universe,
					  const char *name); /* 0: unknown */
size_t bh_policy_universe_identity_count(const struct bh_policy_universe *universe);

/* ---- compiler ---- */
/* The number (from 16 on) of a rule; asked for each rule of a set that is compiled. */
typedef uint32_t bh_policy_rule_fn(const struct bh_policy *policy, enum bh_policy_dir dir,
				   size_t index, void *arg);
struct bh_policy_compile_options {
	bh_policy_rule_fn *rule_fn; /* NULL: every rule has number 16 */
	void *rule_arg;
	enum bh_policy_action provider_default; /* 0 means deny */
	size_t max_rows;			/* per set; 0 means 1048576 */
	size_t max_cidrs;			/* per set; 0 means 262144 */
	size_t max_ranges;			/* per set; 0 means 65536 */
};
struct bh_policy_compiler;
/* options NULL: all defaults. */
struct bh_policy_compiler *bh_policy_compiler_new(const struct bh_policy_set *set,
						  const struct bh_policy_universe *universe,
						  const struct bh_policy_compile_options *options);
void bh_policy_compiler_free(struct bh_policy_compiler *compiler); /* NULL is fine */

/* Builds segment "set:<identity>.<dir>". -ENOENT for an unknown identity; -E2BIG when the set would
 * be over a limit: nothing is built, the diag has the numbers. */
[[nodiscard]] int bh_policy_compile(struct bh_policy_compiler *compiler, uint32_t identity,
				    enum bh_policy_dir dir, struct bh_segment **ret_segment,
				    struct bh_diag *diag);

/* An upper bound of what compiling would give, without building it. Stops counting at the limits.
 */
struct bh_policy_size {
	size_t rules;
	size_t rows;
	size_t cidrs;
	size_t ranges;
};
[[nodiscard]] int bh_policy_estimate(struct bh_policy_compiler *compiler, uint32_t identity,
				     enum bh_policy_dir dir, struct bh_policy_size *ret_size,
				     struct bh_diag *diag);

/* ---- who is touched by a change ---- */
typedef void bh_policy_identity_fn(uint32_t identity, void *arg);
/* Calls fn once for each identity one of whose two sets may differ between the two sets of
 * policies, in growing order. */
void bh_policy_affected(const struct bh_policy_set *from, const struct bh_policy_set *to,
			const struct bh_policy_universe *universe, bh_policy_identity_fn *fn,
			void *arg);
/* Identities whose rows speak of this identity (in the universe) by its labels: what to compile
 * anew after it was added, or before it is dropped. The identity itself is not reported. */
void bh_policy_dependents(const struct bh_policy_set *set,
			  const struct bh_policy_universe *universe, uint32_t identity,
			  bh_policy_identity_fn *fn, void *arg);
/* As above, for a tenant that was added (`tenant: "*"`, `tenancy: other`, or peers that name it).
 */
void bh_policy_tenant_dependents(const struct bh_policy_set *set,
				 const struct bh_policy_universe *universe, const char *tenant,
				 bh_policy_identity_fn *fn, void *arg);

#endif
