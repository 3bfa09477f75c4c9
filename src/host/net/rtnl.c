/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/rtnl.h"

#include "base/util.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_SIZE 32768
#define TIMEOUT_S   2

/* Sends the request and runs fn over the answers until their end or an error. */
static int ask(struct nlmsghdr *nlh, mnl_cb_t fn, void *arg)
{
	struct timeval timeout = {.tv_sec = TIMEOUT_S};
	BH_FREE char *buf = bh_alloc(ANSWER_SIZE);
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int r = nl && !mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) ? 0 : -errno;

	nlh->nlmsg_seq = 1;
	if (!r && (setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &timeout,
			      sizeof(timeout)) ||
		   mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)) {
		r = -errno;
	}
	while (!r) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, ANSWER_SIZE);
		int end = n < 0 ? MNL_CB_ERROR
				: mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(nl), fn, arg);

		if (end == MNL_CB_STOP) {
			break;
		}
		r = end < 0 ? -errno : 0;
	}
	if (nl) {
		mnl_socket_close(nl);
	}
	return r;
}

static int get_link(uint32_t ifindex, mnl_cb_t fn, void *arg)
{
	_Alignas(16) char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = (int)ifindex;
	return ask(nlh, fn, arg);
}

/* ---- filters ---- */

static int count_filter(const struct nlmsghdr *nlh, void *arg)
{
	int *count = arg;

	*count += nlh->nlmsg_type == RTM_NEWTFILTER;
	return MNL_CB_OK;
}

int hostd_rtnl_filters(uint32_t ifindex)
{
	static const uint32_t sides[] = {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS};
	int count = 0, r = 0;

	for (size_t i = 0; !r && i < BH_ARRAY_SIZE(sides); i++) {
		_Alignas(16) char buf[256];
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
		struct tcmsg *tcm = mnl_nlmsg_put_extra_header(nlh, sizeof(*tcm));

		nlh->nlmsg_type = RTM_GETTFILTER;
		nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		tcm->tcm_family = AF_UNSPEC;
		tcm->tcm_ifindex = (int)ifindex;
		tcm->tcm_parent = TC_H_MAKE(TC_H_CLSACT, sides[i]);
		r = ask(nlh, count_filter, &count);
	}
	return r ? r : count;
}

/* ---- learning ---- */

static void read_port(const struct nlattr *info, int *ret_learning)
{
	const struct nlattr *in, *a, *data = NULL;
	bool bridge = false;

	mnl_attr_for_each_nested(in, info)
	{
		if (mnl_attr_get_type(in) == IFLA_INFO_SLAVE_KIND) {
			bridge = !strncmp(mnl_attr_get_str(in), "bridge",
					  mnl_attr_get_payload_len(in));
		} else if (mnl_attr_get_type(in) == IFLA_INFO_SLAVE_DATA) {
			data = in;
		}
	}
	if (!bridge || !data) {
		return;
	}
	mnl_attr_for_each_nested(a, data)
	{
		if (mnl_attr_get_type(a) == IFLA_BRPORT_LEARNING &&
		    mnl_attr_validate(a, MNL_TYPE_U8) >= 0) {
			*ret_learning = mnl_attr_get_u8(a) != 0;
		}
	}
}

static int read_learning(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(a) == IFLA_LINKINFO) {
			read_port(a, arg);
		}
	}
	return MNL_CB_STOP;
}

int hostd_rtnl_learning(uint32_t ifindex)
{
	int learning = -ENODEV;
	int r = get_link(ifindex, read_learning, &learning);

	return r ? r : learning;
}

static int order(uint32_t ifindex, uint16_t attr, const void *value, size_t size)
{
	_Alignas(16) char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	struct nlattr *info;

	nlh->nlmsg_type = RTM_SETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	ifi->ifi_family = AF_BRIDGE;
	ifi->ifi_index = (int)ifindex;
	info = mnl_attr_nest_start(nlh, IFLA_PROTINFO);
	mnl_attr_put(nlh, attr, size, value);
	mnl_attr_nest_end(nlh, info);
	return ask(nlh, NULL, NULL);
}

int hostd_rtnl_set_learning(uint32_t ifindex, bool on)
{
	uint8_t value = on;
	int r = order(ifindex, IFLA_BRPORT_LEARNING, &value, sizeof(value));

	return r || on ? r : order(ifindex, IFLA_BRPORT_FLUSH, NULL, 0);
}

/* ---- what waits in a tap ---- */

struct queue {
	bool tun;
	uint32_t length;
};

static int read_queue(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *a, *in;
	struct queue *queue = arg;

	mnl_attr_for_each(a, nlh, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(a) == IFLA_TXQLEN &&
		    mnl_attr_validate(a, MNL_TYPE_U32) >= 0) {
			queue->length = mnl_attr_get_u32(a);
		}
		if (mnl_attr_get_type(a) != IFLA_LINKINFO) {
			continue;
		}
		mnl_attr_for_each_nested(in, a)
		{
			if (mnl_attr_get_type(in) == IFLA_INFO_KIND) {
				queue->tun = !strncmp(mnl_attr_get_str(in), "tun",
						      mnl_attr_get_payload_len(in));
			}
		}
	}
	return MNL_CB_STOP;
}

static int set_queue(uint32_t ifindex, uint32_t length)
{
	_Alignas(16) char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	nlh->nlmsg_type = RTM_SETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = (int)ifindex;
	mnl_attr_put_u32(nlh, IFLA_TXQLEN, length);
	return ask(nlh, NULL, NULL);
}

/* A tap's ring is as long as its queue (tun_queue_resize, since 4.8); what does not fit goes. */
int hostd_rtnl_empty_tap(uint32_t ifindex)
{
	struct queue queue = {};
	int r = get_link(ifindex, read_queue, &queue);

	if (r || !queue.tun || !queue.length) {
		return r;
	}
	r = set_queue(ifindex, 0);
	return r ? r : set_queue(ifindex, queue.length);
}
