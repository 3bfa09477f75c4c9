/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs on this host, put together from all platforms, starting VMs included, and where in the
 * host's network each NIC sits: the network key, the bridge, the device, and whether it can be
 * protected there at all. Loop only. Pointers to VMs are valid until the next set or birth call.
 */
#ifndef BH_HOST_AGENT_INVENTORY_H
#define BH_HOST_AGENT_INVENTORY_H

#include "host/config.h"
#include "host/net/links.h"
#include "host/platform/vm.h"

#include <jansson.h>

#define HOSTD_NET_KEY_SIZE 256

struct hostd_inventory;

/* config, host_name and links are borrowed for its life. `sources` platforms will report. */
struct hostd_inventory *hostd_inventory_new(const struct hostd_config *config,
					    const char *host_name, struct hostd_links *links,
					    int sources);
void hostd_inventory_free(struct hostd_inventory *inv);

/* Take over the list. What it calls unread stays as it was; a list that was begun before a birth or
 * an end of a VM says nothing about that VM. */
void hostd_inventory_set_vms(struct hostd_inventory *inv, int source, struct hostd_vm_list *list);
void hostd_inventory_set_networks(struct hostd_inventory *inv, int source,
				  struct hostd_network_list *list);
/* Every source has reported its VMs, and the networks that their NICs are on: what is not there
 * does not exist. */
bool hostd_inventory_complete(const struct hostd_inventory *inv);

/* A VM that is about to start (contents taken over): stands in for what the platforms say about it
 * until a later list has it running, or it is dropped, or a list that began 120 s later has not. */
void hostd_inventory_birth_add(struct hostd_inventory *inv, struct hostd_vm *vm, uint64_t now_ns);
/* libvirt's hook says that the VM has ended: it is not running until a later list says so. */
void hostd_inventory_ended(struct hostd_inventory *inv, const uint8_t uuid[16], uint64_t now_ns);
void hostd_inventory_birth_drop(struct hostd_inventory *inv, const uint8_t uuid[16]);
/* Lets go of births and ends that the lists have overtaken; call it every second. */
void hostd_inventory_expire(struct hostd_inventory *inv);

const struct hostd_vm *hostd_inventory_find(const struct hostd_inventory *inv,
					    const uint8_t uuid[16]);
/* Which source has it; -1: none. */
int hostd_inventory_source(const struct hostd_inventory *inv, const uint8_t uuid[16]);
typedef void hostd_inventory_vm_fn(const struct hostd_vm *vm, void *arg);
void hostd_inventory_each(const struct hostd_inventory *inv, hostd_inventory_vm_fn *fn, void *arg);
typedef void hostd_inventory_network_fn(const struct hostd_network *net, void *arg);
void hostd_inventory_each_network(const struct hostd_inventory *inv, hostd_inventory_network_fn *fn,
				  void *arg);
/* A libvirt network of that name is known. */
const struct hostd_network *hostd_inventory_network(const struct hostd_inventory *inv,
						    const char *name);

struct hostd_nic_place {
	char net[HOSTD_NET_KEY_SIZE]; /* "" when it can't be protected */
	char bridge[IFNAMSIZ];	      /* "" unknown or routed */
	bool managed;		      /* network made by libvirt */
	bool protectable;
	uint32_t ifindex;		/* of its device; 0 while it has none */
	uint32_t bridge_ifindex;	/* that the device is a port of now; 0 none */
	uint32_t host_flags;		/* for hostd_dp_bind */
	char reason[HOSTD_REASON_SIZE]; /* why it can't be protected or has no device; else "" */
};
void hostd_inventory_place(const struct hostd_inventory *inv, const struct hostd_vm *vm,
			   const struct hostd_nic *nic, struct hostd_nic_place *ret);
/* Addresses of the NIC itself and those that its libvirt network reserves for its MAC. Owned array.
 */
json_t *hostd_inventory_addresses(const struct hostd_inventory *inv, const struct hostd_nic *nic);

#endif
