/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Puts connections that came with a VM into the tables, and takes out those of a VM that
 *           left. Not on a packet's way: user space runs bh_import by BPF_PROG_TEST_RUN over what
 *           it wrote into bh_imports, because only a program can start timers and change quotas.
 * Ownership As ct.bpf.h.
 * Threads   One user; packets work on the same entries meanwhile, see ct.bpf.h. A tc program and
 *           not a syscall one: those may sleep, and an entry that was looked up before a sleep may
 *           be another connection's after it.
 *
 * What comes in is of a generation that never was: whatever it says of verdicts, its first packet
 * is judged by this host's policy. An entry that is there keeps this host's half. The scratch is
 * not used: it belongs to the packets of this CPU.
 */
#ifndef BH_BPF_IMPORT_H
#define BH_BPF_IMPORT_H

#include "ct.bpf.h"

#define BH_IMPORT_LEFT_NS (2 * BH_SECOND_NS) /* what is nearly over is there to be read back */

/* As far from every generation that packets may see as can be. */
static __always_inline __u32 bh_import_gen(void)
{
	struct bh_ctl *ctl = bh_ctl_get();

	return (ctl ? *(volatile __u32 *)&ctl->gen : 0) + 0x80000000u;
}

static __always_inline __u64 bh_import_left(const struct bh_ct *ct)
{
	__u64 now = bpf_ktime_get_ns(), due = ct->last_ns + bh_ct_timeout_ns(ct);

	return due > now + BH_IMPORT_LEFT_NS ? due - now : BH_IMPORT_LEFT_NS;
}

static __always_inline struct bh_ct *bh_import_find(const struct bh_import *i)
{
	return i->v6 ? bpf_map_lookup_elem(&bh_ct6, &i->key.v6)
		     : bpf_map_lookup_elem(&bh_ct4, &i->key.v4);
}

/* Comes after a change: tickets, timer and journal. Looks the entry up again: the verifier wants to
 * see from which table it is. */
static __always_inline void bh_import_changed(const struct bh_import *i)
{
	struct bh_ct *ct;

	if (i->v6) {
		ct = bpf_map_lookup_elem(&bh_ct6, &i->key.v6);
		if (ct) {
			bh_ct6_start(ct, bh_import_left(ct));
			bh_journal_put(ct->nic[0], ct->nic[1], BH_MOVE_CHANGED, true, &i->key.v6);
		}
	} else {
		ct = bpf_map_lookup_elem(&bh_ct4, &i->key.v4);
		if (ct) {
			bh_ticket_end(&i->key.v4, ct);
			bh_ct4_start(ct, bh_import_left(ct));
			bh_journal_put(ct->nic[0], ct->nic[1], BH_MOVE_CHANGED, false, &i->key.v4);
		}
	}
}

static __always_inline void bh_import_delete(const struct bh_import *i, struct bh_ct *ct)
{
	__u32 charged = ct->charged, lo = ct->nic[0], hi = ct->nic[1];
	long err = i->v6 ? bpf_map_delete_elem(&bh_ct6, &i->key.v6)
			 : bpf_map_delete_elem(&bh_ct4, &i->key.v4);

	if (!i->v6) {
		bh_ticket_end(&i->key.v4, 0);
	}
	if (!err) {
		bh_ct_uncharge(charged);
	}
	/* What is forgotten here because it goes on over there has not ended. */
	if (!err && i->op != BH_IMPORT_LEAVE) {
		bh_journal_put(lo, hi, BH_MOVE_GONE, i->v6, &i->key);
	}
}

/* ---- put ---- */
static __always_inline __u32 bh_import_insert(const struct bh_import *i, struct bh_ct *ct)
{
	struct bh_nic_state *state = bh_nic_state_get(i->charged);
	struct bh_ctl *ctl = bh_ctl_get();
	long err;

	if (!state || !ctl) {
		return BH_IMPORT_NOTHING;
	}
	if (ctl->ct_per_nic && state->ct_count >= ctl->ct_per_nic) {
		return BH_IMPORT_QUOTA;
	}
	ct->created_ns = i->created_ns;
	ct->last_ns = i->last_ns;
	ct->packets[0] = i->packets[0];
	ct->packets[1] = i->packets[1];
	ct->bytes[0] = i->bytes[0];
	ct->bytes[1] = i->bytes[1];
	ct->gen = bh_import_gen();
	ct->nic[0] = i->nic[0];
	ct->nic[1] = i->nic[1];
	ct->identity[0] = i->identity[0];
	ct->identity[1] = i->identity[1];
	ct->rule[0] = i->rule[0];
	ct->rule[1] = i->rule[1];
	ct->timeout_s = i->timeout_s;
	ct->state = i->state;
	ct->flags = i->flags & ~BH_CT_TIMER;
	ct->charged = i->charged;
	ct->policy_port = i->policy_port;
	ct->row_flags = i->row_flags;
	ct->own_until_ns[0] = i->own_until_ns[0];
	ct->own_until_ns[1] = i->own_until_ns[1];
	err = i->v6 ? bpf_map_update_elem(&bh_ct6, &i->key.v6, ct, BPF_NOEXIST)
		    : bpf_map_update_elem(&bh_ct4, &i->key.v4, ct, BPF_NOEXIST);
	if (err) {
		return err == -BH_EEXIST ? BH_IMPORT_MERGED : BH_IMPORT_FULL;
	}
	__sync_fetch_and_add(&state->ct_count, 1);
	return BH_IMPORT_ADDED;
}

/* Is it another connection of the same name than the one that is there? Times alone don't say so:
 * what was long on its way looks younger than it is. */
static __always_inline bool bh_import_is_later(const struct bh_import *i, const struct bh_ct *ct)
{
	return ct->state >= BH_CT_FIN && i->state < BH_CT_FIN && i->created_ns > ct->last_ns;
}

/* The source knows who opened it, unless ours came after it. Returns whether that changes. */
static __always_inline bool bh_import_turn(const struct bh_import *i, struct bh_ct *ct)
{
	__u8 differ = (i->flags ^ ct->flags) & BH_CT_ORIG_HI;

	if ((!differ && i->policy_port == ct->policy_port) || i->created_ns > ct->created_ns) {
		return false;
	}
	ct->flags = (ct->flags ^ differ) & ~(BH_CT_EGRESS_OK | BH_CT_INGRESS_OK);
	ct->policy_port = i->policy_port;
	return true;
}

/* Takes over what the source knows of its NIC's side. Returns whether it is to be judged anew. */
static __always_inline bool bh_import_side(const struct bh_import *i, struct bh_ct *ct, bool hi)
{
	__u32 dir = hi == !!(ct->flags & BH_CT_ORIG_HI) ? BH_DIR_EGRESS : BH_DIR_INGRESS;
	__u32 nic = hi ? i->nic[1] : i->nic[0];

	if (!nic || nic == (hi ? ct->nic[1] : ct->nic[0])) {
		return false;
	}
	if (hi) {
		ct->nic[1] = nic;
		ct->identity[1] = i->identity[1];
		ct->own_until_ns[1] = i->own_until_ns[1];
	} else {
		ct->nic[0] = nic;
		ct->identity[0] = i->identity[0];
		ct->own_until_ns[0] = i->own_until_ns[0];
	}
	if (dir == BH_DIR_EGRESS) {
		ct->rule[0] = i->rule[0];
	} else {
		ct->rule[1] = i->rule[1];
	}
	return true;
}

/* Returns whether the state changed. */
static __always_inline bool bh_import_follow(const struct bh_import *i, struct bh_ct *ct)
{
	bool later = bh_import_is_later(i, ct);

	if (later) {
		ct->created_ns = i->created_ns;
		ct->flags &= ~(BH_CT_FIN_LO | BH_CT_FIN_HI | BH_CT_SEEN_REPLY);
	}
	ct->flags |= i->flags & (BH_CT_FIN_LO | BH_CT_FIN_HI | BH_CT_SEEN_REPLY);
	for (int s = 0; s < 2; s++) {
		if (later || i->packets[s] > ct->packets[s]) {
			ct->packets[s] = i->packets[s];
			ct->bytes[s] = i->bytes[s];
		}
	}
	if (i->last_ns > ct->last_ns) {
		ct->last_ns = i->last_ns;
	}
	ct->row_flags |= i->row_flags;
	if (!later && i->state <= ct->state) {
		return false;
	}
	ct->state = i->state;
	ct->timeout_s = i->timeout_s;
	return true;
}

static __always_inline __u32 bh_import_merge(const struct bh_import *i)
{
	struct bh_ct *ct = bh_import_find(i);
	bool anew, further;

	if (!ct) {
		return BH_IMPORT_FULL; /* it ended this moment: the next repeat makes it */
	}
	anew = bh_import_turn(i, ct);
	anew |= bh_import_side(i, ct, false);
	anew |= bh_import_side(i, ct, true);
	further = bh_import_follow(i, ct);
	if (anew) {
		ct->gen = bh_import_gen();
	}
	if (anew || further || !(ct->flags & BH_CT_TIMER)) {
		bh_import_changed(i);
	}
	return BH_IMPORT_MERGED;
}

static __always_inline __u32 bh_import_put(const struct bh_import *i)
{
	struct bh_ct *ct = bh_import_find(i), fresh;
	__u32 result;

	if (ct) {
		return bh_import_merge(i);
	}
	__builtin_memset(&fresh, 0, sizeof(fresh));
	result = bh_import_insert(i, &fresh);
	if (result == BH_IMPORT_MERGED) {
		return bh_import_merge(i); /* a packet was first */
	}
	if (result == BH_IMPORT_ADDED) {
		bh_import_changed(i);
	}
	return result;
}

/* ---- taking out ---- */
static __always_inline bool bh_import_is_of(const struct bh_import *i, const struct bh_ct *ct)
{
	return (i->nic[0] && i->nic[0] == ct->nic[0]) || (i->nic[1] && i->nic[1] == ct->nic[1]) ||
	       (i->charged && i->charged == ct->charged);
}

static __always_inline bool bh_import_is_fed(__u32 nic)
{
	struct bh_nic *n = bh_nic_get(nic);

	return n && (n->slot[0].identity || n->slot[1].identity);
}

/* The VM has no part in it any more; what another NIC of this host has stays. */
static __always_inline __u32 bh_import_leave(const struct bh_import *i, struct bh_ct *ct)
{
	__u32 lo = ct->nic[0] == i->nic[0] ? 0 : ct->nic[0];
	__u32 hi = ct->nic[1] == i->nic[1] ? 0 : ct->nic[1];
	__u32 stays = bh_import_is_fed(lo) ? lo : bh_import_is_fed(hi) ? hi : 0;
	struct bh_nic_state *state = bh_nic_state_get(stays);

	if (!stays || !state) {
		bh_import_delete(i, ct);
		return BH_IMPORT_DONE;
	}
	if (!lo) {
		ct->own_until_ns[0] = 0;
	}
	if (!hi) {
		ct->own_until_ns[1] = 0;
	}
	ct->nic[0] = lo;
	ct->nic[1] = hi;
	if (i->charged && ct->charged == i->charged) {
		bh_ct_uncharge(ct->charged);
		ct->charged = stays;
		__sync_fetch_and_add(&state->ct_count, 1);
	}
	bh_import_changed(i);
	return BH_IMPORT_DONE;
}

static __always_inline __u32 bh_import_take_out(const struct bh_import *i)
{
	struct bh_ct *ct = bh_import_find(i);

	if (!ct || !bh_import_is_of(i, ct)) {
		return BH_IMPORT_NOTHING;
	}
	if (i->op == BH_IMPORT_LEAVE) {
		return bh_import_leave(i, ct);
	}
	bh_import_delete(i, ct);
	return BH_IMPORT_DONE;
}

/* ---- rate state ---- */
static __always_inline __u32 bh_import_state(const struct bh_import *i)
{
	struct bh_nic_state *state = bh_nic_state_get(i->nic[0]);

	if (!state) {
		return BH_IMPORT_NOTHING;
	}
	state->bucket_ns = i->bucket.bucket_ns;
	state->answer_tokens = i->bucket.answer_tokens;
	state->event_tokens = i->bucket.event_tokens;
	state->suppressed = i->bucket.suppressed;
	return BH_IMPORT_DONE;
}

static long bh_import_one(__u32 n, void *unused)
{
	struct bh_import *i = bpf_map_lookup_elem(&bh_imports, &n);

	if (!i) {
		return 1;
	}
	i->result = i->op == BH_IMPORT_PUT     ? bh_import_put(i)
		    : i->op == BH_IMPORT_STATE ? bh_import_state(i)
					       : bh_import_take_out(i);
	return 0;
}

/* cb[0]: how many of bh_imports. */
SEC("tc")
int bh_import(struct __sk_buff *skb)
{
	bpf_loop(skb->cb[0], bh_import_one, 0, 0);
	return 0;
}

#endif
