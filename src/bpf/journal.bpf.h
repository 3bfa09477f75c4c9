/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Purpose   Writes down which connections of a departing NIC change, for whoever brings them to the
 *           target. Only where an entry is made, changes its state or ends: packets that change
 *           nothing never come here.
 * Ownership A record belongs to the ring from submit on.
 * Threads   As ct.bpf.h.
 */
#ifndef BH_BPF_JOURNAL_H
#define BH_BPF_JOURNAL_H

#include "maps.bpf.h"
#include "events.bpf.h"

static __always_inline bool bh_journal_wants(__u32 nic)
{
	struct bh_nic *n = bh_nic_get(nic);

	return n && (n->slot[0].flags | n->slot[1].flags) & BH_NIC_DEPARTING;
}

/* Comes after the change. `key` is a struct bh_ct6_key when v6. */
static __always_inline void bh_journal_put(__u32 lo_nic, __u32 hi_nic, __u8 op, bool v6,
					   const void *key)
{
	bool lo = bh_journal_wants(lo_nic);
	struct bh_move *m;

	if (!lo && !bh_journal_wants(hi_nic)) {
		return;
	}
	m = bpf_ringbuf_reserve(&bh_moves, sizeof(*m), 0);
	if (!m) {
		bh_stat_add(lo ? lo_nic : hi_nic, BH_REASON_JOURNAL_LOST, 0);
		return;
	}
	__builtin_memset(m, 0, sizeof(*m));
	m->nic[0] = lo_nic;
	m->nic[1] = hi_nic;
	m->op = op;
	m->v6 = v6;
	if (v6) {
		__builtin_memcpy(&m->key.v6, key, sizeof(m->key.v6));
	} else {
		__builtin_memcpy(&m->key.v4, key, sizeof(m->key.v4));
	}
	bpf_ringbuf_submit(m, 0);
}

#endif
