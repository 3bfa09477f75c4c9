/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy language: documents, how they are read and written. docs/policy.md is the language for
 * people; this file is the one for programs. compile.h makes rows of documents, eval.h asks them.
 *
 * Ownership: documents (struct bh_policy) are immutable and reference-counted. A set holds
 * references. Strings that a getter returns live as long as the document. Everything here is pure:
 * no I/O, no clock, no log. Threads: a document may be read by many threads, its reference count
 * may not.
 *
 * Policies that speak of VMs by name (`selector.vms`) or by address (`selector.addresses`) are made
 * to fit identities by classes: for the policies that run, bh_policy_vm_classes() says which
 * synthetic labels a VM has ("bulkhead/vm.<hash>", "bulkhead/addr.<hash>", value ""). The caller
 * adds them to the VM's own labels before it looks for the VM's identity, so rows still speak of
 * identities only; a VM that no policy names keeps the identity that it shares with others. Order
 * for the caller: new set of policies or changed addresses -> classes of each VM -> identities ->
 * universe -> compile. Classes do not count against BH_LABELS_MAX, and user labels must not start
 * with BH_POLICY_CLASS_PREFIX.
 */
#ifndef BH_POLICY_POLICY_H
#define BH_POLICY_POLICY_H

#include "base/buf.h"
#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers are those of bpf/abi.h. */
enum bh_policy_dir { BH_POLICY_EGRESS = 0, BH_POLICY_INGRESS = 1 };
enum bh_policy_action { BH_POLICY_ALLOW = 1, BH_POLICY_DENY = 2, BH_POLICY_REJECT = 3 };
enum bh_policy_tier {
	BH_POLICY_TIER_GUARDRAIL = 0,
	BH_POLICY_TIER_TENANT = 1,
	BH_POLICY_TIER_DEFAULT = 2,
};
const char *bh_policy_dir_name(enum bh_policy_dir dir);		 /* "egress" */
const char *bh_policy_action_name(enum bh_policy_action action); /* "allow" */
const char *bh_policy_tier_name(enum bh_policy_tier tier);	 /* "tenant" */

#define BH_POLICY_PROVIDER     "provider" /* the tenant that owns the hosts */
#define BH_POLICY_CLASS_PREFIX "bulkhead/"
/* Class label (any value) of a VM in quarantine: nothing of what policies allow it holds, unless
 * they say `quarantine: true`; what they forbid it does. DHCP stays. */
#define BH_POLICY_QUARANTINE BH_POLICY_CLASS_PREFIX "quarantine"
#define BH_POLICY_RULE_LOG   1u /* flags of a rule; the flag of a row with the same number */

/* Numbers of the built-in rules (rule numbers 1..15 never name a rule of a document). */
enum bh_policy_builtin {
	BH_POLICY_RULE_IMPLICIT_DENY = 1,
	BH_POLICY_RULE_PROVIDER_DEFAULT = 2,
	BH_POLICY_RULE_DHCP = 3,
	BH_POLICY_RULE_DNS = 4,
	BH_POLICY_RULE_PING = 5,
	BH_POLICY_RULE_DHCPV6 = 6,
	BH_POLICY_RULE_QUARANTINE = 7,
	BH_POLICY_RULE_FIRST = 16,
};
/* "implicit deny: a policy selects the VM"; NULL for other numbers. */
const char *bh_policy_builtin_text(uint32_t rule);

#define BH_POLICY_TEXT_MAX	(10u << 20) /* bytes of one text */
#define BH_POLICY_DEPTH_MAX	32
#define BH_POLICY_DOCUMENTS_MAX 10000
#define BH_POLICY_RULES_MAX	100000 /* per policy, both directions */
#define BH_POLICY_LIST_MAX	65536  /* peers or ports of one rule, values of one list */

struct bh_policy_label {
	const char *key;
	const char *value;
};

/* ---- one document ---- */
struct bh_policy;
struct bh_policy *bh_policy_ref(struct bh_policy *policy);
void bh_policy_unref(struct bh_policy *policy); /* NULL is fine */
const char *bh_policy_name(const struct bh_policy *policy);
const char *bh_policy_tenant(const struct bh_policy *policy);
const char *bh_policy_description(const struct bh_policy *policy); /* "" when none */
enum bh_policy_tier bh_policy_tier(const struct bh_policy *policy);
unsigned int bh_policy_order(const struct bh_policy *policy);
/* Does it make what it selects default-deny in that direction? */
bool bh_policy_has_direction(const struct bh_policy *policy, enum bh_policy_dir dir);
size_t bh_policy_rule_count(const struct bh_policy *policy, enum bh_policy_dir dir);
const char *bh_policy_rule_name(const struct bh_policy *policy, enum bh_policy_dir dir,
				size_t index); /* "" when it has none */
enum bh_policy_action bh_policy_rule_action(const struct bh_policy *policy, enum bh_policy_dir dir,
					    size_t index);
/* Place in the text that it was read from; 0 when unknown. */
const char *bh_policy_file(const struct bh_policy *policy);
unsigned int bh_policy_line(const struct bh_policy *policy);
unsigned int bh_policy_rule_line(const struct bh_policy *policy, enum bh_policy_dir dir,
				 size_t index);
/* A rule in one line for people: `shop/db ingress[1] "from-web" (shop.yaml:41)`. Appends. */
void bh_policy_rule_format(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			   struct bh_wbuf *w);
/* What the rule says: `allow tcp/3306 from selector role=web`. Appends. */
void bh_policy_rule_describe(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			     struct bh_wbuf *w);

/* Canonical text: one document, starting with `apiVersion:`, no `---`. Two documents mean the same
 * when these are equal. Borrowed. Parsing it gives a document with the same canonical text. */
const char *bh_policy_canonical(const struct bh_policy *policy);
/* The same as JSON, plus "file" and "line" and each rule's "line". Owned. */
json_t *bh_policy_to_json(const struct bh_policy *policy);
/* Where the rules stood: {"file", "line", "ingress": [lines], "egress": [lines]}. Owned. A store
 * that keeps the canonical text keeps this beside it and puts it back after parsing, before
 * sharing. */
json_t *bh_policy_source_dump(const struct bh_policy *policy);
[[nodiscard]] int bh_policy_source_load(struct bh_policy *policy, const json_t *source,
					struct bh_diag *diag);

/* ---- sets: policies by (tenant, name), and tenants declared beside them ---- */
struct bh_policy_set;
struct bh_policy_set *bh_policy_set_new(void);
struct bh_policy_set *bh_policy_set_copy(const struct bh_policy_set *set); /* shares documents */
void bh_policy_set_free(struct bh_policy_set *set);			   /* NULL is fine */
size_t bh_policy_set_count(const struct bh_policy_set *set);
/* In the order of (tenant, name). Borrowed. */
struct bh_policy *bh_policy_set_at(const struct bh_policy_set *set, size_t i);
struct bh_policy *bh_policy_set_get(const struct bh_policy_set *set, const char *tenant,
				    const char *name); /* NULL when absent */
/* Takes a reference; replaces the policy of that tenant and name. */
void bh_policy_set_put(struct bh_policy_set *set, struct bh_policy *policy);
/* false when there was none. */
bool bh_policy_set_drop(struct bh_policy_set *set, const char *tenant, const char *name);
/* `kind: Tenant` documents, in the order of the text. */
struct bh_policy_tenant_doc {
	const char *name;
	const char *description; /* "" when none */
	unsigned int line;
};
size_t bh_policy_set_tenant_count(const struct bh_policy_set *set);
const struct bh_policy_tenant_doc *bh_policy_set_tenant_at(const struct bh_policy_set *set,
							   size_t i);
/* Every document, `---` between them: tenants first, then policies. Appends. */
void bh_policy_set_print(const struct bh_policy_set *set, struct bh_wbuf *w);

/* ---- reading ---- */
struct bh_policy_parse_options {
	const char *file;	    /* for errors; NULL: none */
	const char *default_tenant; /* for documents that name none; NULL: that is an error */
	unsigned int first_line;    /* number of the first line; 0 means 1 */
};
/* Reads every document of the text. All or nothing: -EINVAL with the place of the first mistake and
 * what was expected there, -EMSGSIZE over a limit (each is named in the diag). */
[[nodiscard]] int bh_policy_parse(const char *text, size_t size,
				  const struct bh_policy_parse_options *options,
				  struct bh_policy_set **ret_set, struct bh_diag *diag);

/* ---- VMs ---- */
struct bh_policy_vm {
	const char *tenant;
	const char *name;		/* libvirt's name */
	const char *uuid;		/* text form */
	const uint8_t (*addresses)[16]; /* of all its NICs */
	size_t address_count;
};
/* Calls fn once for each class label of the VM, sorted by key; key and value are borrowed for the
 * call. */
typedef void bh_policy_class_fn(const char *key, const char *value, void *arg);
void bh_policy_vm_classes(const struct bh_policy_set *set, const struct bh_policy_vm *vm,
			  bh_policy_class_fn *fn, void *arg);
/* False when no policy of the set speaks of VM names or addresses: then nobody has classes. */
bool bh_policy_set_has_classes(const struct bh_policy_set *set);

/* False when no rule of the set speaks of prefixes: then addresses make no difference. */
bool bh_policy_set_has_cidrs(const struct bh_policy_set *set);

/* What policies permit to the NICs of a VM with these labels (classes included): `permit:`,
 * `vlans:`. Flags are those of BH_NIC_* in bpf/abi.h with the same meaning. */
#define BH_POLICY_PERMIT_DHCP_SERVER 0x01u
#define BH_POLICY_PERMIT_ROUTER	     0x02u
#define BH_POLICY_PERMIT_ANY_SOURCE  0x04u
#define BH_POLICY_PERMIT_ANY_VLAN    0x80u
#define BH_POLICY_VLANS_MAX	     4096
struct bh_policy_grant {
	uint32_t flags;
	uint32_t *vlans; /* outer << 16 | inner, sorted; owned */
	size_t vlan_count;
};
void bh_policy_grant_of(const struct bh_policy_set *set, const char *tenant,
			const struct bh_policy_label *labels, size_t label_count,
			struct bh_policy_grant *ret_grant);
void bh_policy_grant_done(struct bh_policy_grant *grant);

/* ---- where VMs may run and how they move: `placement`, `migration`, `rollback` ---- */
struct bh_policy_subject {
	const char *tenant;
	const struct bh_policy_label *labels; /* of the VM, classes included; any order */
	size_t label_count;
};
/* May the VM run on a host with these labels? Every placement of every policy that selects the VM
 * must take the host. false: *ret_policy is the first in the order of judgement that doesn't. */
bool bh_policy_placement_ok(const struct bh_policy_set *set, const struct bh_policy_subject *vm,
			    const struct bh_policy_label *host_labels, size_t host_label_count,
			    const struct bh_policy **ret_policy);
/* False when no policy of the set has one: then every host may run everything. */
bool bh_policy_set_has_placement(const struct bh_policy_set *set);
/* What the policy's placement asks of a host: `zone=pci,rack In a|b`. Appends; nothing when the
 * policy has none. */
void bh_policy_placement_describe(const struct bh_policy *policy, struct bh_wbuf *w);
/* What a host has of what the policy's placement speaks of: `zone=dmz, no rack`. Appends. */
void bh_policy_placement_compare(const struct bh_policy *policy,
				 const struct bh_policy_label *host_labels, size_t host_label_count,
				 struct bh_wbuf *w);
/* May the VM migrate from host to host while the manager is away? The first policy in the order of
 * judgement that selects the VM and says something decides; *ret_policy NULL: none, so no. */
bool bh_policy_without_manager(const struct bh_policy_set *set, const struct bh_policy_subject *vm,
			       const struct bh_policy **ret_policy);
/* What happens when the VM comes back as it was before; the first policy that says something
 * decides. */
struct bh_policy_rollback {
	bool quarantine;		/* true when no policy says anything */
	uint32_t release_after_s;	/* 0: only somebody releases it */
	const struct bh_policy *policy; /* that decides; NULL: none */
};
struct bh_policy_rollback bh_policy_rollback_of(const struct bh_policy_set *set,
						const struct bh_policy_subject *vm);
/* Do the policy's rules hold in quarantine? */
bool bh_policy_in_quarantine(const struct bh_policy *policy);

#endif
