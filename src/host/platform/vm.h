/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtualization platform tells about its machines: plain values, no connection to libvirt.
 *
 * Ownership: a list owns its items and everything in them; lists are handed from the platform's
 * thread to the loop whole, and nobody keeps a pointer into one that it gave away.
 */
#ifndef BH_HOST_PLATFORM_VM_H
#define BH_HOST_PLATFORM_VM_H

#include "base/util.h"
#include "model/id.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#define HOSTD_NAME_SIZE	    128 /* domain, network and source names; longer ones are cut */
#define HOSTD_REASON_SIZE   192
#define HOSTD_NICS_MAX	    32 /* per VM */
#define HOSTD_NIC_ADDRS_MAX 64
#define HOSTD_NIC_VLANS_MAX 64
#define HOSTD_NET_HOSTS_MAX 8192 /* <host> entries of one libvirt network */

enum hostd_nic_kind {
	HOSTD_NIC_BRIDGE,
	HOSTD_NIC_NETWORK,
	HOSTD_NIC_ETHERNET,
	HOSTD_NIC_DIRECT,  /* macvtap */
	HOSTD_NIC_HOSTDEV, /* PCI passthrough, SR-IOV, vDPA */
	HOSTD_NIC_USER,	   /* slirp, passt */
	HOSTD_NIC_VHOSTUSER,
	HOSTD_NIC_OTHER,
};
const char *hostd_nic_kind_name(enum hostd_nic_kind kind);

struct hostd_addr {
	uint8_t bytes[16];
};

struct hostd_nic {
	uint8_t mac[6];
	enum hostd_nic_kind kind;
	bool openvswitch;
	bool any_vlan;
	bool filtered;	/* libvirt's nwfilter judges it too, in the bridge: no handing over past it
			 */
	uint32_t flags; /* BH_NIC_DHCP_SERVER, _ROUTER, _ANY_SOURCE */
	char source[HOSTD_NAME_SIZE];	 /* bridge, libvirt network or device as the XML names it */
	char bridge[IFNAMSIZ];		 /* "" when the XML does not tell */
	char dev[IFNAMSIZ];		 /* host side of the NIC, "" while it has none */
	char problem[HOSTD_REASON_SIZE]; /* what was left out of its settings and why, or "" */
	char guest_dev[IFNAMSIZ];	 /* container's side while it is still here; for dev "" */
	BH_VEC(struct hostd_addr) addrs;
	BH_VEC(uint32_t) vlans; /* outer << 16 | inner */
};

struct hostd_label {
	char key[BH_LABEL_KEY_MAX + 1];
	char value[BH_LABEL_VALUE_MAX + 1];
};

struct hostd_vm {
	uint8_t uuid[16];
	char name[HOSTD_NAME_SIZE];
	char type[16];		      /* of the domain: "kvm", "qemu", "lxc" */
	char state[16];		      /* "running", "paused", "shutoff", "starting" */
	bool running;		      /* has live devices */
	char tenant[BH_NAME_MAX + 1]; /* "" when metadata names none */
	bool birth_open;
	/* Its mark (docs/migration.md, "Rollback"): 0 when it has none. */
	uint64_t generation;
	bool mark_live;			 /* the mark says that it is of a running VM's XML */
	bool saved;			 /* it does not run because its memory is in a file */
	char problem[HOSTD_REASON_SIZE]; /* what was left out of the metadata and why, or "" */
	BH_VEC(struct hostd_label) labels;
	BH_VEC(struct hostd_nic) nics;
};

struct hostd_net_host {
	uint8_t mac[6];
	uint8_t addr[16];
};

struct hostd_network {
	char name[HOSTD_NAME_SIZE];
	char bridge[IFNAMSIZ]; /* "" when it has none (pools of physical devices) */
	bool managed;	       /* libvirt makes the bridge: nat, route, open or isolated */
	bool openvswitch;
	bool active;
	BH_VEC(struct hostd_net_host) hosts;
};

/* Exists, but could not be read. */
struct hostd_unread_vm {
	uint8_t uuid[16];
	bool unanswered; /* the platform failed to say; else what it said makes no sense */
};
struct hostd_unread_network {
	char name[HOSTD_NAME_SIZE];
	bool unanswered;
};

/* What is in neither array does not exist. Of what is in `unread` the receiver keeps what it
 * knows. */
struct hostd_vm_list {
	uint64_t begun_ns; /* monotonic, before the platform was asked: what came later is newer */
	BH_VEC(struct hostd_vm) vms;
	BH_VEC(struct hostd_unread_vm) unread;
};
struct hostd_network_list {
	BH_VEC(struct hostd_network) nets;
	BH_VEC(struct hostd_unread_network) unread;
};

void hostd_vm_done(struct hostd_vm *vm);
void hostd_network_done(struct hostd_network *net);
/* NULL is fine. */
void hostd_vm_list_free(struct hostd_vm_list *list);
void hostd_network_list_free(struct hostd_network_list *list);

/* Puts '?' for each byte that is not UTF-8, as at the end of a name that was cut to fit: JSON would
 * refuse the whole text. Returns text. */
char *hostd_text_mend(char *text);

/* Adds once; false when the NIC has its maximum already. */
bool hostd_nic_add_addr(struct hostd_nic *nic, const uint8_t addr[16]);
bool hostd_nic_add_vlan(struct hostd_nic *nic, uint32_t vlan);

#endif
