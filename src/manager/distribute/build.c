/* SPDX-License-Identifier: Apache-2.0 */
/* Segments of networks and VMs, and images of hosts. */
#include "manager/distribute/distribute.h"

#include <utlist.h>

struct manager_identity *manager_staged_identity(const struct manager_vm *vm)
{
	return vm->staged_identity ? vm->staged_identity : vm->identity;
}

/* ---- networks ---- */

struct claim {
	struct bh_rec_addr rec;
	const struct manager_vm *vm;
};
struct claims {
	struct claim *items;
	size_t count;
	size_t capacity;
};

/* Who runs wins over who is shut off; then who was seen first. */
static int compare_claims(const void *pa, const void *pb)
{
	const struct claim *a = pa, *b = pb;
	bool a_runs = manager_vm_lives(a->vm);
	bool b_runs = manager_vm_lives(b->vm);
	int r;

	if (a->rec.vlan != b->rec.vlan) {
		return a->rec.vlan < b->rec.vlan ? -1 : 1;
	}
	r = memcmp(a->rec.addr, b->rec.addr, 16);
	if (r) {
		return r;
	}
	if (a_runs != b_runs) {
		return a_runs ? -1 : 1;
	}
	if (a->vm->first_seen_ns != b->vm->first_seen_ns) {
		return a->vm->first_seen_ns < b->vm->first_seen_ns ? -1 : 1;
	}
	return strcmp(a->vm->uuid, b->vm->uuid);
}

static void claim(const struct manager_vm *vm, struct claims *claims, const uint8_t addr[16],
		  uint32_t vlan)
{
	const struct manager_identity *identity = manager_staged_identity(vm);
	struct claim *c = bh_vec_push(claims);

	c->vm = vm;
	c->rec.vlan = vlan;
	memcpy(c->rec.addr, addr, 16);
	c->rec.identity = identity->number;
	c->rec.tenant = identity->tenant->number;
}

static void claim_nic(const struct manager_vm *vm, const struct manager_nic *nic,
		      struct claims *claims)
{
	struct manager_addrs fixed = {};

	manager_nic_addresses(nic, false, &fixed);
	bh_vec_foreach (a, &fixed) {
		claim(vm, claims, a->bytes, 0);
		for (size_t i = 0; i < nic->report->vlan_count; i++) {
			claim(vm, claims, a->bytes, nic->report->vlans[i]);
		}
	}
	for (size_t i = 0; i < nic->learned_count; i++) {
		if (!manager_addrs_has(&fixed, nic->learned[i].addr.bytes)) {
			claim(vm, claims, nic->learned[i].addr.bytes, nic->learned[i].vlan);
		}
	}
	bh_vec_done(&fixed);
}

/* Both claim one address, and winner stands before loser in the order of compare_claims(). */
static void note_conflict(struct manager_conflicts *list, const struct claim *winner,
			  const struct claim *loser)
{
	struct manager_conflict *c = bh_vec_push(list);
	const struct manager_vm *a = winner->vm, *b = loser->vm;

	memset(c, 0, sizeof(*c));
	c->vlan = winner->rec.vlan;
	memcpy(c->addr, winner->rec.addr, 16);
	memcpy(c->winner, a->uuid, sizeof(c->winner));
	memcpy(c->loser, b->uuid, sizeof(c->loser));
	c->why = manager_vm_lives(a) != manager_vm_lives(b) ? MANAGER_CONFLICT_RUNS
		 : a->first_seen_ns != b->first_seen_ns	    ? MANAGER_CONFLICT_FIRST
							    : MANAGER_CONFLICT_UUID;
}

/* The first claim on each address in the order of compare_claims() has it. */
static struct bh_segment *network_segment(const struct manager_network *net, struct claims *claims,
					  struct manager_conflicts *conflicts)
{
	const struct claim *winner = NULL, *before = NULL;
	char name[BH_SEGMENT_NAME_MAX];
	struct bh_segment *seg = bh_segment_new(bh_segment_net(net->number, name));

	if (claims->count) {
		qsort(claims->items, claims->count, sizeof(*claims->items), compare_claims);
	}
	for (size_t i = 0; i < claims->count; i++) {
		const struct claim *c = &claims->items[i];
		struct bh_rec rec = {.type = BH_REC_ADDR, .addr = c->rec};
		bool same = winner && winner->rec.vlan == c->rec.vlan &&
			    memcmp(winner->rec.addr, c->rec.addr, 16) == 0;

		if (same && c->vm != winner->vm && c->vm != before->vm) {
			note_conflict(conflicts, winner, c);
		}
		before = c;
		if (same) {
			continue;
		}
		winner = c;
		rec.addr.net = net->number;
		bh_segment_add(seg, &rec);
	}
	if (bh_segment_seal(seg, NULL) < 0) {
		abort(); /* keys were made unique above */
	}
	return seg;
}

static void keep_if_new(struct bh_segment *made, const struct bh_segment *old,
			struct bh_segment **staged)
{
	bh_segment_unref(*staged);
	*staged = NULL;
	if (old && bh_hash_equal(bh_segment_hash(made), bh_segment_hash(old))) {
		bh_segment_unref(made);
	} else {
		*staged = made;
	}
}

void manager_build_networks(struct manager_distribute *dist)
{
	struct manager_inventory *inv = dist->o.inv;
	struct manager_network *n, *n_tmp;
	struct manager_vm *vm, *vm_tmp;

	HASH_ITER (hh, inv->networks, n, n_tmp) {
		n->scratch = n->changed ? bh_alloc(sizeof(struct claims)) : NULL;
	}
	HASH_ITER (hh, inv->vms, vm, vm_tmp) {
		for (size_t i = 0; (vm->host || vm->incoming) && i < vm->report.nic_count; i++) {
			const struct manager_nic *nic = &vm->nics[i];

			if (nic->net && nic->net->scratch) {
				claim_nic(vm, nic, nic->net->scratch);
			}
		}
	}
	HASH_ITER (hh, inv->networks, n, n_tmp) {
		if (n->scratch) {
			struct manager_conflicts conflicts = {};

			keep_if_new(network_segment(n, n->scratch, &conflicts), n->segment,
				    &n->staged);
			manager_conflicts_set(inv, n, &conflicts);
			bh_vec_done((struct claims *)n->scratch);
			free(n->scratch);
			n->scratch = NULL;
		}
	}
}

/* ---- VMs ---- */

static void add_vlan(struct bh_segment *seg, const struct bh_rec_nic *nic, uint32_t vlan)
{
	struct bh_rec rec = {.type = BH_REC_NIC_VLAN, .nic_vlan.vlan = vlan};

	memcpy(rec.nic_vlan.vm, nic->vm, 16);
	memcpy(rec.nic_vlan.mac, nic->mac, 6);
	bh_segment_add(seg, &rec);
}

static bool has_vlan(const uint32_t *vlans, size_t count, uint32_t vlan)
{
	for (size_t i = 0; i < count; i++) {
		if (vlans[i] == vlan) {
			return true;
		}
	}
	return false;
}

static void add_nic(struct bh_segment *seg, const struct manager_vm *vm,
		    const struct manager_nic *nic, const struct bh_policy_grant *grant)
{
	const struct manager_identity *identity = manager_staged_identity(vm);
	const struct manager_report_nic *r = nic->report;
	struct bh_rec rec = {.type = BH_REC_NIC};
	struct manager_addrs fixed = {};

	memcpy(rec.nic.vm, vm->id, 16);
	memcpy(rec.nic.mac, r->mac, 6);
	rec.nic.net = nic->net->number;
	rec.nic.identity = identity->number;
	rec.nic.tenant = identity->tenant->number;
	manager_nic_addresses(nic, false, &fixed);
	rec.nic.flags = r->flags | grant->flags | (fixed.count ? 0 : MANAGER_NIC_LEARN_DHCP);
	bh_segment_add(seg, &rec);
	bh_vec_foreach (a, &fixed) {
		struct bh_rec addr = {.type = BH_REC_NIC_ADDR};

		memcpy(addr.nic_addr.vm, vm->id, 16);
		memcpy(addr.nic_addr.mac, r->mac, 6);
		memcpy(addr.nic_addr.addr, a->bytes, 16);
		bh_segment_add(seg, &addr);
	}
	for (size_t i = 0; i < r->vlan_count; i++) {
		if (!has_vlan(r->vlans, i, r->vlans[i])) {
			add_vlan(seg, &rec.nic, r->vlans[i]);
		}
	}
	for (size_t i = 0; i < grant->vlan_count; i++) {
		if (!has_vlan(r->vlans, r->vlan_count, grant->vlans[i])) {
			add_vlan(seg, &rec.nic, grant->vlans[i]);
		}
	}
	bh_vec_done(&fixed);
}

static void grant_of(const struct manager_identity *identity, const struct bh_policy_set *set,
		     struct bh_policy_grant *ret)
{
	BH_FREE struct bh_policy_label *labels = NULL;
	size_t count = manager_identity_labels(identity, &labels);

	bh_policy_grant_of(set, identity->tenant->name, labels, count, ret);
}

bool manager_build_grant_same(const struct manager_identity *identity,
			      const struct bh_policy_set *a, const struct bh_policy_set *b)
{
	struct bh_policy_grant of_a = {}, of_b = {};
	bool same;

	grant_of(identity, a, &of_a);
	grant_of(identity, b, &of_b);
	same = of_a.flags == of_b.flags && of_a.vlan_count == of_b.vlan_count &&
	       (!of_a.vlan_count ||
		memcmp(of_a.vlans, of_b.vlans, of_a.vlan_count * sizeof(*of_a.vlans)) == 0);
	bh_policy_grant_done(&of_a);
	bh_policy_grant_done(&of_b);
	return same;
}

void manager_build_vm(struct manager_distribute *dist, struct manager_vm *vm,
		      const struct bh_policy_set *set)
{
	char name[BH_SEGMENT_NAME_MAX];
	struct bh_segment *seg = bh_segment_new(bh_segment_vm(vm->uuid, name));
	struct bh_policy_grant grant = {};

	grant_of(manager_staged_identity(vm), set, &grant);
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		if (vm->nics[i].net) {
			add_nic(seg, vm, &vm->nics[i], &grant);
		}
	}
	bh_policy_grant_done(&grant);
	if (bh_segment_seal(seg, NULL) < 0) {
		abort(); /* MACs are unique in a report, addresses and VLANs in a NIC */
	}
	keep_if_new(seg, vm->segment, &vm->staged);
}

/* ---- hosts ---- */

static void put(struct bh_image *image, struct bh_segment *staged, struct bh_segment *current)
{
	struct bh_segment *seg = staged ? staged : current;

	if (seg && bh_segment_count(seg)) {
		bh_image_set(image, seg);
	}
}

static void put_vm(struct bh_image *image, struct manager_vm *vm)
{
	struct manager_identity *identity = manager_staged_identity(vm);

	put(image, identity->staged[0], identity->sets[0]);
	put(image, identity->staged[1], identity->sets[1]);
	put(image, vm->staged, vm->segment);
	for (size_t i = 0; i < vm->report.nic_count; i++) {
		const struct manager_network *net = vm->nics[i].net;

		if (net) {
			put(image, net->staged, net->segment);
		}
	}
}

struct bh_image *manager_build_image(struct manager_host *host)
{
	struct bh_image *image = bh_image_new();
	struct manager_vm *vm;

	DL_FOREACH (host->vms, vm) {
		put_vm(image, vm);
	}
	DL_FOREACH2(host->incoming, vm, in_next)
	{
		put_vm(image, vm);
	}
	return image;
}
