/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking documents: what happens to a packet and why, what a change of policies would change, what
 * looks like a mistake. Everything here reads the documents themselves, never compiled rows, so
 * that it is also the oracle that the compiler is tested against. Pure; one thread at a time.
 */
#ifndef BH_POLICY_EVAL_H
#define BH_POLICY_EVAL_H

#include "policy/compile.h"

/* One end of a packet. */
struct bh_policy_end {
	uint32_t identity; /* from 256 on, or reserved: 1 host, 2 world, 3 multicast */
	bool has_addr;	   /* without an address, CIDR peers don't match */
	uint8_t addr[16];
};
struct bh_policy_service {
	uint8_t proto;
	uint16_t port; /* destination port; ICMP: type << 8 | code; 0 for protocols without */
};

/* Why a rule decided or not. */
enum bh_policy_outcome {
	BH_POLICY_MATCH = 1,
	BH_POLICY_OTHER_PEER = 2,
	BH_POLICY_OTHER_PORT = 3,
	BH_POLICY_NOT_IN_QUARANTINE = 4, /* allows, but not in quarantine */
};
struct bh_policy_verdict {
	enum bh_policy_action action;
	uint32_t flags;			/* BH_POLICY_RULE_LOG */
	uint32_t builtin;		/* number of a built-in rule, or 0 and then: */
	const struct bh_policy *policy; /* borrowed from the set */
	enum bh_policy_dir dir;
	size_t index;
	bool selected; /* a tenant-tier policy selects the VM in this direction */
};
/* policy NULL: a built-in rule. */
typedef void bh_policy_trace_fn(const struct bh_policy *policy, enum bh_policy_dir dir,
				size_t index, uint32_t builtin, enum bh_policy_outcome outcome,
				void *arg);

struct bh_policy_question {
	uint32_t self; /* the VM that is judged, from 256 on */
	enum bh_policy_dir dir;
	struct bh_policy_end remote; /* at the other side */
	struct bh_policy_service service;
};
/* Judges at one VM. trace (may be NULL) is called for each rule in the order of judgement until one
 * matches. -ENOENT when an identity is not in the universe. */
[[nodiscard]] int bh_policy_eval(const struct bh_policy_compiler *compiler,
				 const struct bh_policy_question *question,
				 bh_policy_trace_fn *trace, void *arg,
				 struct bh_policy_verdict *ret_verdict, struct bh_diag *diag);

/* ---- many questions ----
 * Remembers which policies select whom, so that a question costs what their rules do and not what
 * all policies do. Borrows the compiler; identities may be added to its universe meanwhile. */
struct bh_policy_asker;
struct bh_policy_asker *bh_policy_asker_new(const struct bh_policy_compiler *compiler);
void bh_policy_asker_free(struct bh_policy_asker *asker); /* NULL is fine */
/* As bh_policy_eval(). */
[[nodiscard]] int bh_policy_asker_ask(struct bh_policy_asker *asker,
				      const struct bh_policy_question *question,
				      struct bh_policy_verdict *ret_verdict);
/* The policies that select the VM, in the order of judgement, borrowed from the set. -ENOENT for an
 * unknown identity. */
typedef void bh_policy_selecting_fn(const struct bh_policy *policy, void *arg);
[[nodiscard]] int bh_policy_asker_policies(struct bh_policy_asker *asker, uint32_t identity,
					   bh_policy_selecting_fn *fn, void *arg);
/* Do both judge this VM by policies that say the same? Then every answer about it is the same. */
bool bh_policy_asker_alike(struct bh_policy_asker *a, struct bh_policy_asker *b, uint32_t identity);

/* Both taps: egress at the source and ingress at the destination, whichever of them is a VM.
 * {"action", "allowed", "service": "tcp/3306", "egress"|"ingress": null or {"action", "rule": RULE,
 * "selected", "considered": [{...RULE, "outcome": "match"|"peer"|"port"|"quarantine"}],
 * "considered_left_out": n}}; RULE is
 * {"text", "tenant", "policy", "direction", "index", "name", "file", "line", "builtin", "log",
 * "says"}. Owned. */
[[nodiscard]] int bh_policy_explain(const struct bh_policy_compiler *compiler,
				    const struct bh_policy_end *src,
				    const struct bh_policy_end *dst,
				    const struct bh_policy_service *service, json_t **ret_json,
				    struct bh_diag *diag);

/* "tcp/3306", "udp/53", "icmp/8", "icmp/8/0", "tcp" (port 0), "89". -EINVAL with what was expected.
 */
[[nodiscard]] int bh_policy_service_parse(const char *s, struct bh_policy_service *ret_service,
					  struct bh_diag *diag);
void bh_policy_service_format(const struct bh_policy_service *service, struct bh_wbuf *w);

/* What changes between two sets over one universe. Compilers give the sets; both must share the
 * universe. Identities that change alike are reported together; at most max_entries (0: 200), the
 * rest is counted. {"entries": [{"dir", "selected": {"tenant", "labels"}, "identities": [..],
 * "peers": ["..."], "services": ["tcp/22"], "before": {"action", "rule"}, "after": {...}}],
 * "left_out": n, "pairs_changed": n, "complete": bool (false: too much to ask everything),
 * "policies": {"added": [..], "removed": [..], "changed": [..]}}. Owned. */
[[nodiscard]] int bh_policy_diff(const struct bh_policy_compiler *from,
				 const struct bh_policy_compiler *to, size_t max_entries,
				 json_t **ret_json, struct bh_diag *diag);
/* The same for a reader who may not see every tenant: entries about VMs of others are left out,
 * others at the other end are "another tenant", and of rules of others only the name of a
 * guard-rail is told. */
typedef bool bh_policy_sees_fn(const char *tenant, void *arg);
struct bh_policy_diff_options {
	size_t max_entries; /* 0: 200 */
	bh_policy_sees_fn *sees;
	void *arg;
};
[[nodiscard]] int bh_policy_diff_for(const struct bh_policy_compiler *from,
				     const struct bh_policy_compiler *to,
				     const struct bh_policy_diff_options *options,
				     json_t **ret_json, struct bh_diag *diag);

/* What is no error but looks like one: rules that can't match because an earlier one takes all,
 * peers and selectors that name unknown tenants or select nobody (when universe is given), policies
 * without effect. fn gets each with its place; at most 1,000. Returns the number of warnings. */
typedef void bh_policy_warning_fn(const struct bh_diag *warning, void *arg);
size_t bh_policy_check(const struct bh_policy_set *set, const struct bh_policy_universe *universe,
		       bh_policy_warning_fn *fn, void *arg);

#endif
