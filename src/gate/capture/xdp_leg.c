/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/capture/xdp_leg.h"

#include "base/util.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define QUEUES_MAX 1024u
#define NONE                                                                                       \
	{                                                                                          \
		.map = -1, .program = -1, .link = -1                                               \
	}

void xdp_group_init(struct xdp_group *group)
{
	*group = (struct xdp_group){.legs = {NONE, NONE}};
}

static void close_leg(struct xdp_leg *leg)
{
	const int fds[] = {leg->link, leg->program, leg->map};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0) {
			close(fds[i]);
		}
	}
	*leg = (struct xdp_leg)NONE;
}

void xdp_group_done(struct xdp_group *group)
{
	for (unsigned int i = 0; i < BH_ARRAY_SIZE(group->legs); i++) {
		close_leg(&group->legs[i]);
	}
}

/* ---- what the interface is ---- */

static int ask(const char *name, void *question)
{
	struct ifreq ifr = {.ifr_data = question};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0) {
		return -errno;
	}
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, SIOCETHTOOL, &ifr)) {
		err = -errno;
	}
	close(fd);
	return err;
}

/* Who can't say how many has one. */
static unsigned int queues_of(const char *name)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	unsigned int n = 0;

	if (!ask(name, &channels)) {
		n = channels.rx_count + channels.combined_count;
	}
	return n ? n : 1;
}

static bool is_routable(const struct sockaddr *address)
{
	const struct sockaddr_in6 *six = (const void *)address;

	return address &&
	       (address->sa_family == AF_INET ||
		(address->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr)));
}

static bool has_addresses(const char *name)
{
	struct ifaddrs *all = NULL;
	bool has = false;

	if (getifaddrs(&all)) {
		return false;
	}
	for (const struct ifaddrs *one = all; one; one = one->ifa_next) {
		has = has || (strcmp(one->ifa_name, name) == 0 && is_routable(one->ifa_addr));
	}
	freeifaddrs(all);
	return has;
}

static bool is_in_bridge(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/net/%s/brport", name);
	return access(path, F_OK) == 0;
}

static int look_at(const char *name, struct bh_diag *diag)
{
	struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};

	if (is_in_bridge(name)) {
		return bh_diag_set(diag, -EBUSY,
				   "interface %s is in a bridge: AF_XDP would cut it off; use "
				   "capture.mode af-packet, or take it out of the bridge",
				   name);
	}

	if (has_addresses(name)) {
		return bh_diag_set(diag, -EADDRINUSE,
				   "interface %s has addresses: AF_XDP would cut the host off from "
				   "it; use capture.mode af-packet, or an interface without",
				   name);
	}
	if (ask(name, &flags)) {
		return 0; /* none to switch off */
	}
	if (flags.data & ETH_FLAG_RXVLAN) {
		return bh_diag_set(diag, -EINVAL,
				   "interface %s takes VLAN tags out of frames, which AF_XDP would "
				   "lose: ethtool -K %s rxvlan off",
				   name, name);
	}
	if (flags.data & ETH_FLAG_LRO) {
		return bh_diag_set(diag, -EINVAL,
				   "interface %s joins segments, which AF_XDP can't take: ethtool "
				   "-K %s lro off",
				   name, name);
	}
	return 0;
}

/* ---- the program ---- */

static int load(struct xdp_leg *leg, bool only)
{
	/* return bpf_redirect_map(map, ctx->rx_queue_index, else) */
	const struct bpf_insn code[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = BPF_REG_2,
		 .src_reg = BPF_REG_1,
		 .off = offsetof(struct xdp_md, rx_queue_index)},
		{.code = BPF_LD | BPF_DW | BPF_IMM,
		 .dst_reg = BPF_REG_1,
		 .src_reg = BPF_PSEUDO_MAP_FD,
		 .imm = leg->map},
		{},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K,
		 .dst_reg = BPF_REG_3,
		 .imm = only ? XDP_DROP : XDP_PASS},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
		{.code = BPF_JMP | BPF_EXIT},
	};

	leg->program = bpf_prog_load(BPF_PROG_TYPE_XDP, "bh_gate_xdp", "Dual BSD/GPL", code,
				     BH_ARRAY_SIZE(code), NULL);
	return leg->program < 0 ? leg->program : 0;
}

int xdp_leg_open(struct xdp_leg *ret, const char *name, bool only, struct bh_diag *diag)
{
	int err;

	*ret = (struct xdp_leg)NONE;
	if (!*name || strlen(name) >= IFNAMSIZ) {
		return bh_diag_set(diag, -EINVAL, "'%.40s' is no name of an interface", name);
	}
	ret->index = if_nametoindex(name);
	if (!ret->index) {
		return bh_diag_set(diag, -errno, "interface %s: %m", name);
	}
	err = look_at(name, diag);
	if (err) {
		return err;
	}
	ret->queues = queues_of(name);
	if (ret->queues > QUEUES_MAX) {
		return bh_diag_set(diag, -E2BIG, "interface %s has %u queues, %u are read at most",
				   name, ret->queues, QUEUES_MAX);
	}
	ret->map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "bh_gate_xsks", sizeof(uint32_t),
				  sizeof(uint32_t), ret->queues, NULL);
	err = ret->map < 0 ? ret->map : load(ret, only);
	if (err) {
		close_leg(ret);
		return bh_diag_set(diag, err, "interface %s: the program of AF_XDP: %s", name,
				   strerror(-err));
	}
	return 0;
}

int xdp_leg_join(const struct xdp_leg *leg, const char *name, unsigned int queue, int fd,
		 struct bh_diag *diag)
{
	int err = bpf_map_update_elem(leg->map, &queue, &fd, BPF_ANY);

	return err ? bh_diag_set(diag, err, "interface %s, queue %u: AF_XDP: %s", name, queue,
				 strerror(-err))
		   : 0;
}

int xdp_leg_attach(struct xdp_leg *leg, const char *name, struct bh_diag *diag)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_DRV_MODE);

	leg->link = bpf_link_create(leg->program, (int)leg->index, BPF_XDP, &options);
	if (leg->link < 0) {
		int err = leg->link;

		return bh_diag_set(diag, err,
				   "interface %s: XDP in its driver: %s (an MTU over about 3,500, "
				   "another XDP program, or a driver that has no XDP?); use "
				   "capture.mode af-packet",
				   name, strerror(-err));
	}
	return 0;
}
