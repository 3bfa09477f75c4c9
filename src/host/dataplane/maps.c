/* SPDX-License-Identifier: Apache-2.0 */
/* Maps: their names and shapes, raw access, walking, and waiting for the kernel's readers. */
#include "host/dataplane/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#define TEXT_OF(x) #x
#define TEXT(x)	   TEXT_OF(x)
#define SLOTTED(type)                                                                              \
	.value_size = sizeof(struct type), .slot_offset = offsetof(struct type, slot),             \
	.slot_size = sizeof(((struct type *)0)->slot[0])
#define PRESENT(type)                                                                              \
	.value_size = sizeof(struct type), .slot_offset = offsetof(struct type, present),          \
	.slot_size = sizeof(((struct type *)0)->present[0])

const struct dp_map_desc dp_map_descs[DP_MAP_COUNT] = {
	[DP_MAP_CTL] = {"bh_ctl", -1, 4, sizeof(struct bh_ctl)},
	[DP_MAP_PORTS] = {"bh_ports", -1, 4, sizeof(struct bh_port)},
	[DP_MAP_NICS] = {"bh_nics", HOSTD_DP_NICS, 4, SLOTTED(bh_nic)},
	[DP_MAP_NIC_STATE] = {"bh_nic_state", HOSTD_DP_NICS, 4, sizeof(struct bh_nic_state)},
	[DP_MAP_NIC_VLANS] = {"bh_nic_vlans", HOSTD_DP_NIC_VLANS, sizeof(struct bh_nic_vlan_key),
			      PRESENT(bh_nic_vlan)},
	[DP_MAP_NIC_ADDRS] = {"bh_nic_addrs", HOSTD_DP_NIC_ADDRS, sizeof(struct bh_nic_addr_key),
			      PRESENT(bh_nic_addr)},
	[DP_MAP_ADDRS] = {"bh_addrs", HOSTD_DP_ADDRS, sizeof(struct bh_addr_key), SLOTTED(bh_addr)},
	[DP_MAP_MACS] = {"bh_macs", HOSTD_DP_NICS, sizeof(struct bh_mac_key), 4},
	[DP_MAP_SETS] = {"bh_sets", HOSTD_DP_SETS, 4, SLOTTED(bh_set)},
	[DP_MAP_ROWS] = {"bh_rows", HOSTD_DP_ROWS, sizeof(struct bh_row_key), SLOTTED(bh_row)},
	[DP_MAP_CIDRS] = {"bh_cidrs", HOSTD_DP_CIDRS, sizeof(struct bh_cidr_key), 4},
	[DP_MAP_RANGES] = {"bh_ranges", HOSTD_DP_RANGES, sizeof(struct bh_range_key), 4},
	[DP_MAP_CT4] = {"bh_ct4", HOSTD_DP_CT4, sizeof(struct bh_ct4_key), sizeof(struct bh_ct)},
	[DP_MAP_CT6] = {"bh_ct6", HOSTD_DP_CT6, sizeof(struct bh_ct6_key), sizeof(struct bh_ct)},
	[DP_MAP_FRAGS] = {"bh_frags", HOSTD_DP_FRAGS, sizeof(struct bh_frag_key),
			  sizeof(struct bh_frag)},
	[DP_MAP_STATS] = {"bh_stats", HOSTD_DP_STATS, sizeof(struct bh_stat_key),
			  sizeof(struct bh_counter)},
	[DP_MAP_PASS] = {"bh_pass", HOSTD_DP_NICS, 4, sizeof(struct bh_pass)},
	[DP_MAP_TICKETS] = {"bh_tickets", -1, 4, sizeof(struct bh_ticket)},
	[DP_MAP_RULE_STATS] = {"bh_rule_stats", HOSTD_DP_RULE_STATS,
			       sizeof(struct bh_rule_stat_key), sizeof(struct bh_counter)},
	[DP_MAP_EVENTS] = {"bh_events", HOSTD_DP_EVENTS, 0, 0},
	[DP_MAP_MOVES] = {"bh_moves", -1, 0, 0},
};

const char *const dp_prog_names[DP_PROG_COUNT] = {
	[DP_PROG_FROM_GUEST] = "bh_from_guest",	  [DP_PROG_TO_GUEST] = "bh_to_guest",
	[DP_PROG_FROM_UPLINK] = "bh_from_uplink", [DP_PROG_TO_UPLINK] = "bh_to_uplink",
	[DP_PROG_FROM_BRIDGE] = "bh_from_bridge", [DP_PROG_TO_BRIDGE] = "bh_to_bridge",
	[DP_PROG_IMPORT] = "bh_import",
};

static const struct {
	const char *name;
	uint32_t size;
} tables[HOSTD_DP_TABLE_COUNT] = {
	[HOSTD_DP_NICS] = {"nics", 4096},
	[HOSTD_DP_NIC_ADDRS] = {"nic_addrs", 16384},
	[HOSTD_DP_NIC_VLANS] = {"nic_vlans", 4096},
	[HOSTD_DP_ADDRS] = {"addrs", 262144},
	[HOSTD_DP_SETS] = {"sets", 16384},
	[HOSTD_DP_ROWS] = {"rows", 262144},
	[HOSTD_DP_CIDRS] = {"cidrs", 131072},
	[HOSTD_DP_RANGES] = {"ranges", 65536},
	[HOSTD_DP_CT4] = {"ct4", 262144},
	[HOSTD_DP_CT6] = {"ct6", 131072},
	[HOSTD_DP_FRAGS] = {"frags", 16384},
	[HOSTD_DP_STATS] = {"stats", 65536},
	[HOSTD_DP_RULE_STATS] = {"rule_stats", 65536},
	[HOSTD_DP_EVENTS] = {"events", 4194304},
};

const char *hostd_dp_table_name(enum hostd_dp_table table)
{
	return table < HOSTD_DP_TABLE_COUNT ? tables[table].name : "unknown";
}

void hostd_dp_options_init(struct hostd_dp_options *ret_options)
{
	static const uint32_t timeouts[BH_TIMEOUT_COUNT] = {
		[BH_TIMEOUT_TCP_SYN] = 60,     [BH_TIMEOUT_TCP_EST] = 28800,
		[BH_TIMEOUT_TCP_FIN] = 60,     [BH_TIMEOUT_TCP_CLOSED] = 10,
		[BH_TIMEOUT_UDP_NEW] = 30,     [BH_TIMEOUT_UDP_EST] = 180,
		[BH_TIMEOUT_SCTP_NEW] = 60,    [BH_TIMEOUT_SCTP_EST] = 3600,
		[BH_TIMEOUT_SCTP_CLOSED] = 10, [BH_TIMEOUT_ICMP] = 30,
		[BH_TIMEOUT_OTHER] = 600,
	};

	memset(ret_options, 0, sizeof(*ret_options));
	for (int i = 0; i < HOSTD_DP_TABLE_COUNT; i++) {
		ret_options->size[i] = tables[i].size;
	}
	memcpy(ret_options->timeout_s, timeouts, sizeof(timeouts));
	ret_options->pin_dir = "/sys/fs/bpf/bulkhead/v" TEXT(BH_ABI_VERSION);
	ret_options->ct_per_nic = 65536;
	ret_options->reject_pps = 100;
	ret_options->event_pps = 1000;
	ret_options->fastpath = true;
}

bool dp_zero(const void *data, size_t size)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++) {
		if (p[i]) {
			return false;
		}
	}
	return true;
}

static bool has_lock(enum dp_map map)
{
	return dp_map_descs[map].slot_size && map != DP_MAP_NICS;
}

int dp_map_get(const struct hostd_dp *dp, enum dp_map map, const void *key, void *ret_value)
{
	return bpf_map_lookup_elem(dp->map_fd[map], key, ret_value);
}

int dp_map_put(const struct hostd_dp *dp, enum dp_map map, const void *key, const void *value)
{
	return bpf_map_update_elem(dp->map_fd[map], key, value,
				   has_lock(map) ? BPF_F_LOCK : BPF_ANY);
}

int dp_map_del(const struct hostd_dp *dp, enum dp_map map, const void *key)
{
	int r = bpf_map_delete_elem(dp->map_fd[map], key);

	return r == -ENOENT ? 0 : r;
}

/* ---- grace ---- */

/* An update of a map in a map ends with synchronize_rcu() (maybe_wait_bpf_programs() in
 * kernel/bpf/syscall.c, since 4.20), and tc programs run inside an RCU read section.
 * membarrier(MEMBARRIER_CMD_GLOBAL) would do the same but refuses to on machines with nohz_full. */
int dp_grace_init(struct hostd_dp *dp, struct bh_diag *diag)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);

	dp->grace_inner_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bh_grace_in", 4, 4, 1, NULL);
	if (dp->grace_inner_fd < 0) {
		return bh_diag_set(diag, dp->grace_inner_fd, "cannot create a map: %s",
				   strerror(-dp->grace_inner_fd));
	}
	opts.inner_map_fd = (uint32_t)dp->grace_inner_fd;
	dp->grace_outer_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "bh_grace", 4, 4, 1, &opts);
	if (dp->grace_outer_fd < 0) {
		return bh_diag_set(diag, dp->grace_outer_fd, "cannot create a map of maps: %s",
				   strerror(-dp->grace_outer_fd));
	}
	return 0;
}

int dp_grace(struct hostd_dp *dp, struct bh_diag *diag)
{
	uint32_t zero = 0;
	int r = bpf_map_update_elem(dp->grace_outer_fd, &zero, &dp->grace_inner_fd, BPF_ANY);

	return r ? bh_diag_set(diag, r, "cannot wait for running programs: %s", strerror(-r)) : 0;
}

/* ---- walking ---- */

bool dp_map_per_cpu(enum dp_map map)
{
	return map == DP_MAP_STATS || map == DP_MAP_RULE_STATS || map == DP_MAP_PASS;
}

void dp_iter_init_fd(struct dp_iter *it, int fd, uint32_t key_size, uint32_t value_size)
{
	memset(it, 0, sizeof(*it));
	it->fd = fd;
	it->key_size = key_size;
	it->value_size = value_size;
	it->chunk = 1024;
	it->keys = bh_alloc_array(it->chunk, it->key_size);
	it->values = bh_alloc_array(it->chunk, it->value_size);
}

void dp_iter_init(struct dp_iter *it, const struct hostd_dp *dp, enum dp_map map)
{
	const struct dp_map_desc *d = &dp_map_descs[map];
	uint32_t size = d->value_size;

	if (dp_map_per_cpu(map)) {
		size = ((size + 7) & ~7u) * (uint32_t)libbpf_num_possible_cpus();
	}
	dp_iter_init_fd(it, dp->map_fd[map], d->key_size, size);
}

void dp_iter_done(struct dp_iter *it)
{
	free(it->keys);
	free(it->values);
	memset(it, 0, sizeof(*it));
}

int dp_iter_next(struct dp_iter *it)
{
	while (!it->ended) {
		uint32_t count = it->chunk;
		void *in = it->started ? it->token[it->turn] : NULL;
		void *out = it->token[it->turn ^ 1];
		int r = bpf_map_lookup_batch(it->fd, in, out, it->keys, it->values, &count, NULL);

		if (r == -ENOSPC) { /* one bucket of the kernel's holds more than a chunk */
			it->chunk *= 2;
			it->keys = bh_realloc_array(it->keys, it->chunk, it->key_size);
			it->values = bh_realloc_array(it->values, it->chunk, it->value_size);
			continue;
		}
		if (r && r != -ENOENT) {
			return r;
		}
		it->ended = r == -ENOENT;
		it->started = true;
		it->turn ^= 1;
		if (count) {
			return (int)count;
		}
	}
	return 0;
}
