/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/links.h"

#include "base/counter.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#define LINKS_MAX	65536
#define LINK_ADDRS_MAX	256
#define RCVBUF_BYTES	(1 << 20)
#define DUMP_TIMEOUT_MS 2000

BH_COUNTER(netlink_overruns, "times that link news were lost and everything was read again");
BH_COUNTER(netlink_failed, "reads of the host's links that failed");

struct hostd_links {
	struct mnl_socket *news;
	uv_poll_t poll;
	struct hostd_link *by_index;
	struct hostd_link *by_name;
	void (*changed)(void *arg);
	void *arg;
	bool dirty;
};

static void link_remove(struct hostd_links *links, struct hostd_link *l)
{
	HASH_DELETE(hh, links->by_index, l);
	HASH_DELETE(hh_name, links->by_name, l);
	bh_vec_done(&l->addrs);
	free(l);
	links->dirty = true;
}

static struct hostd_link *link_add(struct hostd_links *links, uint32_t ifindex)
{
	struct hostd_link *l = hostd_links_get(links, ifindex);

	if (l || HASH_CNT(hh, links->by_index) >= LINKS_MAX) {
		return l;
	}
	l = bh_alloc(sizeof(*l));
	l->ifindex = ifindex;
	snprintf(l->name, sizeof(l->name), "?%u", ifindex % 1000000);
	HASH_ADD(hh, links->by_index, ifindex, sizeof(l->ifindex), l);
	HASH_ADD_KEYPTR(hh_name, links->by_name, l->name, strlen(l->name), l);
	links->dirty = true;
	return l;
}

static void set_name(struct hostd_links *links, struct hostd_link *l, const char *name)
{
	struct hostd_link *other;

	if (!strcmp(l->name, name)) {
		return;
	}
	HASH_DELETE(hh_name, links->by_name, l);
	HASH_FIND(hh_name, links->by_name, name, strlen(name), other);
	if (other) {
		/* two renames crossed; the other one's news are on their way */
		link_remove(links, other);
	}
	snprintf(l->name, sizeof(l->name), "%s", name);
	HASH_ADD_KEYPTR(hh_name, links->by_name, l->name, strlen(l->name), l);
	links->dirty = true;
}

static void read_info(struct hostd_link *l, const struct nlattr *info)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, info)
	{
		if (mnl_attr_get_type(a) == IFLA_INFO_KIND &&
		    mnl_attr_validate(a, MNL_TYPE_STRING) >= 0) {
			snprintf(l->kind, sizeof(l->kind), "%.*s", (int)mnl_attr_get_payload_len(a),
				 mnl_attr_get_str(a));
		}
	}
}

static void on_link(struct hostd_links *links, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	struct hostd_link *l;
	uint32_t master = 0, peer = 0;
	bool up, foreign = false;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi) || ifi->ifi_index <= 0 ||
	    ifi->ifi_family == AF_BRIDGE) {
		return;
	}
	if (nlh->nlmsg_type == RTM_DELLINK) {
		l = hostd_links_get(links, (uint32_t)ifi->ifi_index);
		if (l) {
			link_remove(links, l);
		}
		return;
	}
	l = link_add(links, (uint32_t)ifi->ifi_index);
	if (!l) {
		return;
	}
	mnl_attr_for_each(a, nlh, sizeof(*ifi))
	{
		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME:
			if (mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0) {
				set_name(links, l, mnl_attr_get_str(a));
			}
			break;
		case IFLA_MASTER:
			if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0) {
				master = mnl_attr_get_u32(a);
			}
			break;
		case IFLA_LINK:
			if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0) {
				peer = mnl_attr_get_u32(a);
			}
			break;
		case IFLA_LINK_NETNSID:
			foreign = true;
			break;
		case IFLA_LINKINFO:
			read_info(l, a);
			break;
		default:
			break;
		}
	}
	up = ifi->ifi_flags & IFF_UP;
	links->dirty |= l->master != master || l->up != up;
	l->master = master;
	l->peer = foreign || strcmp(l->kind, "veth") != 0 ? 0 : peer;
	l->up = up;
	l->arp_type = ifi->ifi_type;
	l->seen = true;
}

static bool read_addr(const struct nlmsghdr *nlh, uint8_t ret[16])
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a, *found = NULL;

	mnl_attr_for_each(a, nlh, sizeof(*ifa))
	{
		/* of a point-to-point link IFA_ADDRESS is the peer */
		if (mnl_attr_get_type(a) == IFA_LOCAL ||
		    (mnl_attr_get_type(a) == IFA_ADDRESS && !found)) {
			found = a;
		}
	}
	if (!found) {
		return false;
	}
	if (ifa->ifa_family == AF_INET && mnl_attr_get_payload_len(found) == 4) {
		memset(ret, 0, 10);
		memset(ret + 10, 0xff, 2);
		memcpy(ret + 12, mnl_attr_get_payload(found), 4);
		return true;
	}
	if (ifa->ifa_family == AF_INET6 && mnl_attr_get_payload_len(found) == 16) {
		memcpy(ret, mnl_attr_get_payload(found), 16);
		return true;
	}
	return false;
}

static void on_addr(struct hostd_links *links, const struct nlmsghdr *nlh)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct hostd_link *l;
	uint8_t addr[16];
	size_t i = 0;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifa) || !read_addr(nlh, addr)) {
		return;
	}
	l = hostd_links_get(links, ifa->ifa_index);
	if (!l) {
		return;
	}
	while (i < l->addrs.count && memcmp(l->addrs.items[i].bytes, addr, 16) != 0) {
		i++;
	}
	if (nlh->nlmsg_type == RTM_DELADDR && i < l->addrs.count) {
		l->addrs.items[i] = l->addrs.items[--l->addrs.count];
		links->dirty = true;
	} else if (nlh->nlmsg_type == RTM_NEWADDR && i == l->addrs.count && i < LINK_ADDRS_MAX) {
		memcpy(bh_vec_push(&l->addrs)->bytes, addr, 16);
		links->dirty = true;
	}
}

static int on_message(const struct nlmsghdr *nlh, void *arg)
{
	struct hostd_links *links = arg;

	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		on_link(links, nlh);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		on_addr(links, nlh);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int dump(struct hostd_links *links, struct mnl_socket *nl, uint16_t type, void *buf,
		size_t size)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	const unsigned int seq = 1;
	int n;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = seq;
	if (type == RTM_GETLINK) {
		struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

		ifi->ifi_family = AF_UNSPEC;
	} else {
		struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

		ifa->ifa_family = AF_UNSPEC;
	}
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0) {
		return -errno;
	}
	for (;;) {
		n = (int)mnl_socket_recvfrom(nl, buf, size);
		if (n < 0) {
			return -errno;
		}
		n = mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(nl), on_message, links);
		if (n <= MNL_CB_STOP) {
			return n < 0 ? -errno : 0;
		}
	}
}

int hostd_links_refresh(struct hostd_links *links, struct bh_diag *diag)
{
	struct timeval timeout = {.tv_sec = DUMP_TIMEOUT_MS / 1000};
	size_t size = 32768;
	BH_FREE void *buf = bh_alloc(size);
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct hostd_link *l, *next;
	int err = -EIO;

	if (nl && mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) == 0) {
		/* the kernel answers at once; a timeout only guards against surprises */
		err = setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &timeout,
				 sizeof(timeout));
		HASH_ITER (hh, links->by_index, l, next) {
			l->seen = false;
		}
		err = err ? -errno : dump(links, nl, RTM_GETLINK, buf, size);
	}
	if (!err) {
		HASH_ITER (hh, links->by_index, l, next) {
			if (!l->seen) {
				link_remove(links, l);
			}
		}
		err = dump(links, nl, RTM_GETADDR, buf, size);
	}
	if (nl) {
		mnl_socket_close(nl);
	}
	if (err) {
		bh_counter_add(&netlink_failed, 1);
		return bh_diag_set(diag, err, "cannot read the host's network devices: %s",
				   strerror(-err));
	}
	return 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct hostd_links *links = poll->data;
	_Alignas(16) char buf[16384];

	for (;;) {
		ssize_t n = recv(mnl_socket_get_fd(links->news), buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == ENOBUFS) {
			struct bh_diag diag = {};

			bh_counter_add(&netlink_overruns, 1);
			links->dirty = true;
			if (hostd_links_refresh(links, &diag) < 0) {
				break; /* counted; the periodic refresh tries again */
			}
			continue;
		}
		if (n <= 0) {
			break;
		}
		if (mnl_cb_run(buf, (size_t)n, 0, 0, on_message, links) < 0) {
			bh_counter_add(&netlink_failed, 1);
		}
	}
	if (links->dirty) {
		links->dirty = false;
		links->changed(links->arg);
	}
}

int hostd_links_new(uv_loop_t *loop, void (*changed)(void *arg), void *arg,
		    struct hostd_links **ret, struct bh_diag *diag)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
	struct hostd_links *links = bh_alloc(sizeof(*links));
	int size = RCVBUF_BYTES;
	int err = 0;

	links->changed = changed;
	links->arg = arg;
	links->news = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!links->news || mnl_socket_bind(links->news, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		goto fail;
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(groups); i++) {
		int group = groups[i];

		if (mnl_socket_setsockopt(links->news, NETLINK_ADD_MEMBERSHIP, &group,
					  sizeof(group)) < 0) {
			err = -errno;
			goto fail;
		}
	}
	if (setsockopt(mnl_socket_get_fd(links->news), SOL_SOCKET, SO_RCVBUFFORCE, &size,
		       sizeof(size)) < 0) {
		size = 0; /* without the right to do so an overrun costs a refresh */
	}
	/* joined before the dump: what changes in between is told twice rather than never */
	err = hostd_links_refresh(links, diag);
	if (err) {
		goto fail;
	}
	links->dirty = false;
	err = uv_poll_init(loop, &links->poll, mnl_socket_get_fd(links->news));
	if (!err) {
		links->poll.data = links;
		err = uv_poll_start(&links->poll, UV_READABLE, on_readable);
	}
	if (err) {
		goto fail;
	}
	*ret = links;
	return 0;
fail:
	if (links->news) {
		mnl_socket_close(links->news);
	}
	free(links);
	return bh_diag_set(diag, err, "cannot watch the host's network devices: %s",
			   strerror(-err));
}

static void on_closed(uv_handle_t *handle)
{
	struct hostd_links *links = handle->data;
	struct hostd_link *l, *next;

	HASH_ITER (hh, links->by_index, l, next) {
		link_remove(links, l);
	}
	mnl_socket_close(links->news);
	free(links);
}

void hostd_links_free(struct hostd_links *links)
{
	if (links) {
		uv_close((uv_handle_t *)&links->poll, on_closed);
	}
}

struct hostd_link *hostd_links_get(struct hostd_links *links, uint32_t ifindex)
{
	struct hostd_link *l;

	HASH_FIND(hh, links->by_index, &ifindex, sizeof(ifindex), l);
	return l;
}

struct hostd_link *hostd_links_find(struct hostd_links *links, const char *name)
{
	struct hostd_link *l;

	HASH_FIND(hh_name, links->by_name, name, strlen(name), l);
	return l;
}

struct hostd_link *hostd_links_all(struct hostd_links *links)
{
	return links->by_index;
}

bool hostd_link_is_bridge(const struct hostd_link *link)
{
	return !strcmp(link->kind, "bridge");
}

bool hostd_link_is_uplink_kind(const struct hostd_link *link)
{
	static const char *const kinds[] = {"",	      "bond",	"team",	     "vlan", "vxlan",
					    "geneve", "gretap", "ip6gretap", "hsr"};

	if (link->arp_type != ARPHRD_ETHER) {
		return false;
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(kinds); i++) {
		if (!strcmp(link->kind, kinds[i])) {
			/* Xen's netback devices have no kind either, but a guest behind them */
			return *link->kind || strncmp(link->name, "vif", 3) != 0;
		}
	}
	return false;
}
