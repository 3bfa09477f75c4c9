/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as bytes: sending what a test composed, keeping what a NIC receives. */
#include "agent.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int open_packet(const char *dev, uint8_t *ret_mac)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	struct ifreq ifr = {};

	if (fd < 0) {
		return -1;
	}
	addr.sll_ifindex = (int)if_nametoindex(dev);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || ioctl(fd, SIOCGIFHWADDR, &ifr)) {
		close(fd);
		return -1;
	}
	memcpy(ret_mac, ifr.ifr_hwaddr.sa_data, 6);
	return fd;
}

static size_t from_hex(const char *hex, uint8_t *out, size_t size)
{
	size_t n = 0;
	unsigned int byte;

	while (n < size && sscanf(hex + 2 * n, "%2x", &byte) == 1) {
		out[n++] = (uint8_t)byte;
	}
	return n;
}

/* {"op":"send", "frames":["hex"...], "dev":"eth0", "count":1, "interval_us":0} */
static json_t *op_send(const json_t *req, struct job_stats *stats)
{
	const json_t *frames = json_object_get(req, "frames");
	int count = int_of(req, "count", 1), pause_us = int_of(req, "interval_us", 0);
	uint8_t mac[6], buf[9000];
	const json_t *frame;
	size_t i;
	int fd = open_packet(str_of(req, "dev", "eth0"), mac);

	if (fd < 0) {
		return failed("packet socket");
	}
	for (int round = 0; round < count; round++) {
		json_array_foreach (frames, i, frame) {
			size_t n = from_hex(json_string_value(frame), buf, sizeof(buf));

			if (write(fd, buf, n) == (ssize_t)n) {
				stats->sent++;
			} else {
				stats->errors++;
			}
			if (pause_us) {
				usleep((unsigned int)pause_us);
			}
		}
	}
	return json_pack("{s:I, s:I}", "sent", (json_int_t)stats->sent, "errors",
			 (json_int_t)stats->errors);
}

struct capture {
	uint8_t mac[6];
	uint8_t match[64];
	size_t match_size;
};

/* The kernel takes the outer VLAN tag out of the frame; put it back. Returns the new size. */
static size_t restore_tag(struct msghdr *msg, uint8_t *buf, size_t size)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct tpacket_auxdata aux;
		uint16_t tag[2];

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA) {
			continue;
		}
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID) || size < 12) {
			continue;
		}
		tag[0] = htons(aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid
									 : ETH_P_8021Q);
		tag[1] = htons(aux.tp_vlan_tci);
		memmove(buf + 16, buf + 12, size - 12);
		memcpy(buf + 12, tag, 4);
		return size + 4;
	}
	return size;
}

static void count_frame(const struct capture *cap, const uint8_t *buf, size_t size,
			struct job_stats *stats)
{
	struct frame *f;

	stats->frames++;
	stats->bytes += size;
	if (!(buf[0] & 1) && memcmp(buf, cap->mac, 6)) {
		stats->foreign++;
	}
	if (cap->match_size && !memmem(buf, size, cap->match, cap->match_size)) {
		return;
	}
	stats->matched++;
	if (stats->kept < FRAMES_KEPT) {
		f = &stats->frame[stats->kept];
		f->size = (uint32_t)size;
		memcpy(f->data, buf, size < FRAME_MAX_BYTES ? size : FRAME_MAX_BYTES);
		stats->kept++;
	}
}

/* {"op":"capture", "name":..., "dev":"eth0", "match":"hex"}: promiscuous; counts all, keeps what
 * matches */
static json_t *op_capture(const json_t *req, struct job_stats *stats)
{
	const char *dev = str_of(req, "dev", "eth0");
	struct packet_mreq mreq = {.mr_type = PACKET_MR_PROMISC};
	static uint8_t buf[65536 + 4];
	struct capture cap = {};
	int fd = open_packet(dev, cap.mac), on = 1;

	mreq.mr_ifindex = (int)if_nametoindex(dev);
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on))) {
		return failed("packet socket");
	}
	cap.match_size = from_hex(str_of(req, "match", ""), cap.match, sizeof(cap.match));
	stats->ready = true;
	for (;;) {
		struct sockaddr_ll from = {};
		char control[256];
		struct iovec iov = {buf, sizeof(buf) - 4};
		struct msghdr msg = {.msg_name = &from,
				     .msg_namelen = sizeof(from),
				     .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(fd, &msg, 0);

		if (n < 14 || from.sll_pkttype == PACKET_OUTGOING) {
			continue;
		}
		count_frame(&cap, buf, restore_tag(&msg, buf, (size_t)n), stats);
	}
}

const struct op raw_ops[] = {
	{"send", op_send, false},
	{"flood", op_send, true}, /* the same as a job */
	{"capture", op_capture, true},
	{NULL, NULL, false},
};
