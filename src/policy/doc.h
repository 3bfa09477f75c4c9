/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the policy room: what a document holds. Only files of src/policy and its tests include
 * this. Everything that a document points to lives in its arena and goes with it.
 */
#ifndef BH_POLICY_DOC_H
#define BH_POLICY_DOC_H

#include "base/util.h"
#include "policy/policy.h"

/* ---- memory that is freed at once ---- */
struct policy_arena {
	struct policy_arena_chunk *chunk;
};
void *policy_arena_alloc(struct policy_arena *arena, size_t size); /* zeroed, aligned to 16 */
char *policy_arena_strdup(struct policy_arena *arena, const char *s);
void policy_arena_done(struct policy_arena *arena);

/* ---- parts of a document ---- */
struct policy_cidr {
	uint8_t addr[16];
	uint8_t bits; /* over 16 bytes */
};

enum policy_operator { POLICY_IN, POLICY_NOT_IN, POLICY_EXISTS, POLICY_DOES_NOT_EXIST };
struct policy_expr {
	const char *key;
	const char **values; /* sorted */
	size_t value_count;
	enum policy_operator op;
};

#define POLICY_CLASS_SIZE 40
struct policy_selector {
	struct bh_policy_label *labels; /* matchLabels, sorted by key */
	size_t label_count;
	struct policy_expr *exprs; /* sorted */
	size_t expr_count;
	struct policy_cidr *addresses; /* sorted */
	size_t address_count;
	const char **vms; /* names or UUIDs, sorted */
	size_t vm_count;
	char address_class[POLICY_CLASS_SIZE]; /* label key, "" without addresses */
	char vm_class[POLICY_CLASS_SIZE];
};

enum policy_peer_kind { POLICY_PEER_SELECTOR, POLICY_PEER_CIDR, POLICY_PEER_ENTITY };
enum policy_entity {
	POLICY_ENTITY_ANY = 0,
	POLICY_ENTITY_HOST = 1, /* the reserved identities */
	POLICY_ENTITY_WORLD = 2,
	POLICY_ENTITY_MULTICAST = 3,
};
enum policy_tenancy { POLICY_TENANCY_NAMED, POLICY_TENANCY_SAME, POLICY_TENANCY_OTHER };
struct policy_peer {
	enum policy_peer_kind kind;
	enum policy_tenancy tenancy;
	enum policy_entity entity;
	const char *tenant; /* of the policy, another, or "*" */
	struct policy_selector *selector;
	struct policy_cidr cidr;
	struct policy_cidr *except;
	size_t except_count;
};

struct policy_port {
	uint8_t proto;
	bool whole; /* every port of proto */
	uint16_t first;
	uint16_t last;
};

struct policy_rule {
	const char *name;
	enum bh_policy_action action;
	uint32_t flags;
	struct policy_peer *peers; /* none: any */
	size_t peer_count;
	struct policy_port *ports; /* none: all */
	size_t port_count;
	unsigned int line;
};

/* Where VMs may run, how they move, what happens when they come back: nothing of it is about
 * packets. */
enum policy_said { POLICY_UNSAID, POLICY_NO, POLICY_YES };
struct policy_travel {
	struct policy_selector *hosts; /* that may run them; NULL: any */
	enum policy_said without_manager;
	enum policy_said rollback; /* quarantine after one */
	uint32_t release_after_s;  /* 0: never */
};

struct bh_policy {
	unsigned int refs;
	unsigned int line;
	unsigned int order;
	unsigned int directions; /* bit 1 << dir */
	enum bh_policy_tier tier;
	uint32_t permit;
	struct policy_arena arena;
	const char *name;
	const char *tenant;
	const char *description;
	const char *file;
	struct bh_policy_label *labels; /* of the document itself */
	size_t label_count;
	const char **tenants; /* that a provider's policy is limited to; none: all */
	size_t tenant_count;
	struct policy_selector *selector;
	uint32_t *vlans;
	size_t vlan_count;
	struct policy_travel travel;
	bool quarantine;	      /* its rules and rights hold in quarantine */
	struct policy_rule *rules[2]; /* by direction */
	size_t rule_count[2];
	char *canonical; /* malloc */
};

struct bh_policy *policy_new(void);
/* Makes classes and canonical text; the document is immutable from here on. */
void policy_seal(struct bh_policy *policy);
void policy_canonical_print(const struct bh_policy *policy, struct bh_wbuf *w);
/* Do both say the same about packets? */
bool policy_judge_alike(const struct bh_policy *a, const struct bh_policy *b);
void policy_tenant_print(const struct bh_policy_tenant_doc *tenant, struct bh_wbuf *w);
void policy_selector_print(const struct policy_selector *selector, int indent, struct bh_wbuf *w);
json_t *policy_selector_json(const struct policy_selector *selector);
void policy_travel_print(const struct policy_travel *travel, struct bh_wbuf *w);
void policy_travel_json(const struct policy_travel *travel, json_t *spec);
/* "role=web,zone in (a, b)", "all VMs" */
void policy_selector_describe(const struct policy_selector *selector, struct bh_wbuf *w);
void policy_peer_describe(const struct policy_peer *peer, const char *own_tenant,
			  struct bh_wbuf *w);
void policy_port_format(const struct policy_port *port, struct bh_wbuf *w);

/* Calls fn for each peer of each rule until one returns true; returns whether one did. */
typedef bool policy_peer_fn(const struct policy_peer *peer, const void *arg);
bool policy_walk_peers(const struct bh_policy *policy, policy_peer_fn *fn, const void *arg);

/* ---- order ---- */
int policy_cidr_compare(const void *a, const void *b);
int policy_label_compare(const void *a, const void *b);
int policy_string_compare(const void *a, const void *b); /* of const char ** */
/* The order of judgement, of const struct bh_policy **. */
int policy_judgement_compare(const void *a, const void *b);

/* ---- matching ---- */
/* IPv4 prefixes hold IPv4 addresses only, IPv6 prefixes IPv6 ones: ::/0 is not "everything". */
bool policy_cidr_contains(const struct policy_cidr *cidr, const uint8_t addr[16]);
bool policy_selector_is_all(const struct policy_selector *selector);
/* labels sorted by key */
bool policy_selector_matches(const struct policy_selector *selector,
			     const struct bh_policy_label *labels, size_t count);
/* May the policy select VMs of the tenant at all? */
bool policy_covers_tenant(const struct bh_policy *policy, const char *tenant);
/* Does the peer of a policy that judges a VM of `self_tenant` speak of VMs of `tenant`? */
bool policy_peer_covers_tenant(const struct policy_peer *peer, const char *self_tenant,
			       const char *tenant);
/* A copy sorted by key (texts are shared). Owned. */
struct bh_policy_label *policy_labels_sorted(const struct bh_policy_label *labels, size_t count);
const struct bh_policy_label *policy_label_find(const struct bh_policy_label *labels, size_t count,
						const char *key);

/* Those of the set that say something about where VMs run and how they move. Until the set changes.
 */
typedef BH_VEC(const struct bh_policy *) policy_travellers;
const policy_travellers *policy_set_travellers(const struct bh_policy_set *set);

/* ---- sets, for the parser: fills unsorted, then seals ---- */
void policy_set_push(struct bh_policy_set *set, struct bh_policy *policy); /* takes over */
void policy_set_push_tenant(struct bh_policy_set *set, const char *name, const char *description,
			    unsigned int line);
/* -EEXIST when a policy or a tenant is there twice. */
[[nodiscard]] int policy_set_seal(struct bh_policy_set *set, const char *file,
				  struct bh_diag *diag);

#endif
