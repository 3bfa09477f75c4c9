/* SPDX-License-Identifier: Apache-2.0 */
#include "host/agent/inventory.h"

#include "base/file.h"
#include "base/time.h"
#include "bpf/abi.h"

#include <uthash.h>

#define BIRTH_KEEP_NS (120 * BH_NS_PER_S)

struct birth {
	struct hostd_vm vm;
	uint64_t until_ns;
	struct birth *next;
};

struct view {
	uint8_t uuid[16];
	const struct hostd_vm *vm;
	UT_hash_handle hh;
};

struct source {
	struct hostd_vm_list *vms; /* NULL until it reported */
	struct hostd_network_list *nets;
};

struct hostd_inventory {
	const struct hostd_config *config;
	const char *host_name;
	struct hostd_links *links;
	struct source sources[HOSTD_URIS_MAX];
	int source_count;
	struct birth *births;
	struct view *views;
	bool bridge_netfilter;
};

struct hostd_inventory *hostd_inventory_new(const struct hostd_config *config,
					    const char *host_name, struct hostd_links *links,
					    int sources)
{
	struct hostd_inventory *inv = bh_alloc(sizeof(*inv));

	inv->config = config;
	inv->host_name = host_name;
	inv->links = links;
	inv->source_count = sources;
	return inv;
}

static void views_clear(struct hostd_inventory *inv)
{
	struct view *v, *next;

	HASH_ITER (hh, inv->views, v, next) {
		HASH_DEL(inv->views, v);
		free(v);
	}
}

static void views_add(struct hostd_inventory *inv, const struct hostd_vm *vm)
{
	struct view *v;

	HASH_FIND(hh, inv->views, vm->uuid, sizeof(vm->uuid), v);
	if (v) {
		return; /* the first one counts: births, then sources in their order */
	}
	v = bh_alloc(sizeof(*v));
	memcpy(v->uuid, vm->uuid, sizeof(v->uuid));
	v->vm = vm;
	HASH_ADD(hh, inv->views, uuid, sizeof(v->uuid), v);
}

static void views_build(struct hostd_inventory *inv)
{
	views_clear(inv);
	for (struct birth *b = inv->births; b; b = b->next) {
		views_add(inv, &b->vm);
	}
	for (int i = 0; i < inv->source_count; i++) {
		if (inv->sources[i].vms) {
			bh_vec_foreach (vm, &inv->sources[i].vms->vms) {
				views_add(inv, vm);
			}
		}
	}
}

void hostd_inventory_free(struct hostd_inventory *inv)
{
	if (!inv) {
		return;
	}
	views_clear(inv);
	while (inv->births) {
		struct birth *b = inv->births;

		inv->births = b->next;
		hostd_vm_done(&b->vm);
		free(b);
	}
	for (int i = 0; i < inv->source_count; i++) {
		hostd_vm_list_free(inv->sources[i].vms);
		hostd_network_list_free(inv->sources[i].nets);
	}
	free(inv);
}

static bool birth_remove(struct hostd_inventory *inv, const uint8_t uuid[16])
{
	for (struct birth **at = &inv->births; *at; at = &(*at)->next) {
		if (!memcmp((*at)->vm.uuid, uuid, 16)) {
			struct birth *b = *at;

			*at = b->next;
			hostd_vm_done(&b->vm);
			free(b);
			return true;
		}
	}
	return false;
}

void hostd_inventory_set_vms(struct hostd_inventory *inv, int source, struct hostd_vm_list *list)
{
	hostd_vm_list_free(inv->sources[source].vms);
	inv->sources[source].vms = list;
	bh_vec_foreach (vm, &list->vms) {
		if (vm->running) {
			birth_remove(inv, vm->uuid);
		}
	}
	views_build(inv);
}

void hostd_inventory_set_networks(struct hostd_inventory *inv, int source,
				  struct hostd_network_list *list)
{
	hostd_network_list_free(inv->sources[source].nets);
	inv->sources[source].nets = list;
	/* frames that are handed over past the bridge would miss iptables' look at bridged traffic
	 */
	inv->bridge_netfilter = access("/proc/sys/net/bridge/bridge-nf-call-iptables", F_OK) == 0;
}

bool hostd_inventory_complete(const struct hostd_inventory *inv)
{
	for (int i = 0; i < inv->source_count; i++) {
		if (!inv->sources[i].vms) {
			return false;
		}
	}
	return true;
}

/* While both ends of a container's veth are here, the one tells the other; later nothing would. */
static void name_devices(struct hostd_inventory *inv, struct hostd_vm *vm)
{
	bh_vec_foreach (nic, &vm->nics) {
		struct hostd_link *guest = *nic->dev || !*nic->guest_dev
						   ? NULL
						   : hostd_links_find(inv->links, nic->guest_dev);
		struct hostd_link *dev =
			guest && guest->peer ? hostd_links_get(inv->links, guest->peer) : NULL;

		if (dev) {
			memcpy(nic->dev, dev->name, sizeof(nic->dev));
		}
	}
}

void hostd_inventory_birth_add(struct hostd_inventory *inv, struct hostd_vm *vm, uint64_t now_ns)
{
	struct birth *b = bh_alloc(sizeof(*b));

	name_devices(inv, vm);
	birth_remove(inv, vm->uuid);
	b->vm = *vm;
	memset(vm, 0, sizeof(*vm));
	b->until_ns = now_ns + BIRTH_KEEP_NS;
	b->next = inv->births;
	inv->births = b;
	views_build(inv);
}

void hostd_inventory_birth_drop(struct hostd_inventory *inv, const uint8_t uuid[16])
{
	if (birth_remove(inv, uuid)) {
		views_build(inv);
	}
}

void hostd_inventory_expire(struct hostd_inventory *inv, uint64_t now_ns)
{
	bool again = true;

	while (again) {
		again = false;
		for (struct birth *b = inv->births; b; b = b->next) {
			if (b->until_ns <= now_ns) {
				hostd_inventory_birth_drop(inv, b->vm.uuid);
				again = true;
				break;
			}
		}
	}
}

const struct hostd_vm *hostd_inventory_find(const struct hostd_inventory *inv,
					    const uint8_t uuid[16])
{
	struct view *v;

	HASH_FIND(hh, inv->views, uuid, 16, v);
	return v ? v->vm : NULL;
}

void hostd_inventory_each(const struct hostd_inventory *inv, hostd_inventory_vm_fn *fn, void *arg)
{
	for (struct view *v = inv->views; v; v = v->hh.next) {
		fn(v->vm, arg);
	}
}

void hostd_inventory_each_network(const struct hostd_inventory *inv, hostd_inventory_network_fn *fn,
				  void *arg)
{
	for (int i = 0; i < inv->source_count; i++) {
		if (inv->sources[i].nets) {
			bh_vec_foreach (net, &inv->sources[i].nets->nets) {
				fn(net, arg);
			}
		}
	}
}

const struct hostd_network *hostd_inventory_network(const struct hostd_inventory *inv,
						    const char *name)
{
	for (int i = 0; i < inv->source_count; i++) {
		if (inv->sources[i].nets) {
			bh_vec_foreach (net, &inv->sources[i].nets->nets) {
				if (!strcmp(net->name, name)) {
					return net;
				}
			}
		}
	}
	return NULL;
}

static void cannot(struct hostd_nic_place *ret, const char *fmt, const char *what)
{
	ret->protectable = false;
	*ret->net = '\0';
	snprintf(ret->reason, sizeof(ret->reason), fmt, what);
}

static void place_on_bridge(const struct hostd_inventory *inv, const char *bridge,
			    struct hostd_nic_place *ret)
{
	struct hostd_link *l = hostd_links_find(inv->links, bridge);

	if (l && !hostd_link_is_bridge(l)) {
		cannot(ret,
		       strcmp(l->kind, "openvswitch") ? "%s is not a Linux bridge"
						      : "%s is an Open vSwitch bridge",
		       bridge);
		return;
	}
	snprintf(ret->bridge, sizeof(ret->bridge), "%s", bridge);
	snprintf(ret->net, sizeof(ret->net), "bridge/%s",
		 hostd_config_net_name(inv->config, bridge));
	ret->protectable = true;
}

static void place_on_network(const struct hostd_inventory *inv, const struct hostd_nic *nic,
			     struct hostd_nic_place *ret)
{
	const struct hostd_network *net = hostd_inventory_network(inv, nic->source);

	if (!net) {
		cannot(ret, "libvirt has no network '%.80s'", nic->source);
	} else if (net->openvswitch) {
		cannot(ret, "network '%.80s' is on Open vSwitch", nic->source);
	} else if (!*net->bridge) {
		cannot(ret,
		       "network '%.80s' hands out physical devices (macvtap or SR-IOV), which "
		       "bypass the host's bridge",
		       nic->source);
	} else if (net->managed) {
		snprintf(ret->bridge, sizeof(ret->bridge), "%s", net->bridge);
		snprintf(ret->net, sizeof(ret->net), "host/%s/net/%s", inv->host_name, net->name);
		ret->managed = true;
		ret->protectable = true;
	} else {
		place_on_bridge(inv, net->bridge, ret);
	}
}

/* A tap that somebody else plugged in: its bridge is whatever it is a port of. */
static void place_ethernet(const struct hostd_inventory *inv, const struct hostd_nic *nic,
			   struct hostd_nic_place *ret)
{
	struct hostd_link *dev = *nic->dev ? hostd_links_find(inv->links, nic->dev) : NULL;
	struct hostd_link *br =
		dev && dev->master ? hostd_links_get(inv->links, dev->master) : NULL;

	if (!br) {
		cannot(ret, "device '%.20s' is no port of a bridge", nic->dev);
	} else {
		place_on_bridge(inv, br->name, ret);
	}
}

static void place_device(const struct hostd_inventory *inv, const struct hostd_vm *vm,
			 const struct hostd_nic *nic, struct hostd_nic_place *ret)
{
	struct hostd_link *dev = *nic->dev ? hostd_links_find(inv->links, nic->dev) : NULL;
	struct hostd_link *br = hostd_links_find(inv->links, ret->bridge);

	if (!vm->running) {
		snprintf(ret->reason, sizeof(ret->reason), "the VM is not running");
		return;
	}
	if (!dev) {
		snprintf(ret->reason, sizeof(ret->reason), "its device '%.20s' is not there",
			 nic->dev);
		return;
	}
	if (strcmp(dev->kind, "tun") != 0 && strcmp(dev->kind, "veth") != 0) {
		cannot(ret, "device '%.20s' is neither a tap nor a veth", nic->dev);
		return;
	}
	ret->ifindex = dev->ifindex;
	ret->bridge_ifindex = dev->master;
	if (br && dev->master == br->ifindex && !nic->filtered && !inv->bridge_netfilter) {
		ret->host_flags = BH_NIC_FASTPATH;
	}
}

void hostd_inventory_place(const struct hostd_inventory *inv, const struct hostd_vm *vm,
			   const struct hostd_nic *nic, struct hostd_nic_place *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (nic->openvswitch) {
		cannot(ret, "it is a port of Open vSwitch%s, which hostd does not protect", "");
		return;
	}
	switch (nic->kind) {
	case HOSTD_NIC_BRIDGE:
		place_on_bridge(inv, nic->source, ret);
		break;
	case HOSTD_NIC_NETWORK:
		place_on_network(inv, nic, ret);
		break;
	case HOSTD_NIC_ETHERNET:
		place_ethernet(inv, nic, ret);
		break;
	case HOSTD_NIC_DIRECT:
		cannot(ret, "macvtap on %.40s bypasses the host's bridge; use a bridge",
		       nic->source);
		break;
	case HOSTD_NIC_HOSTDEV:
		cannot(ret, "%s hands the VM a hardware device, which bypasses the host's kernel",
		       "passthrough (SR-IOV)");
		break;
	case HOSTD_NIC_USER:
		cannot(ret, "%s networking has no device in the host's kernel", "user-mode");
		break;
	case HOSTD_NIC_VHOSTUSER:
		cannot(ret, "%s goes to a process in user space, past the host's kernel",
		       "vhost-user");
		break;
	default:
		cannot(ret, "hostd does not know this kind of interface%s", "");
		break;
	}
	if (ret->protectable) {
		place_device(inv, vm, nic, ret);
	}
}

static bool listed(const struct hostd_nic *nic, const uint8_t addr[16])
{
	bh_vec_foreach (a, &nic->addrs) {
		if (!memcmp(a->bytes, addr, 16)) {
			return true;
		}
	}
	return false;
}

json_t *hostd_inventory_addresses(const struct hostd_inventory *inv, const struct hostd_nic *nic)
{
	const struct hostd_network *net = NULL;
	json_t *list = json_array();
	char text[BH_ADDR_TEXT_SIZE];

	bh_vec_foreach (a, &nic->addrs) {
		bh_addr_format(a->bytes, text);
		json_array_append_new(list, json_string(text));
	}
	if (nic->kind == HOSTD_NIC_NETWORK) {
		net = hostd_inventory_network(inv, nic->source);
	}
	if (net) {
		bh_vec_foreach (h, &net->hosts) {
			if (!memcmp(h->mac, nic->mac, 6) && !listed(nic, h->addr)) {
				bh_addr_format(h->addr, text);
				json_array_append_new(list, json_string(text));
			}
		}
	}
	return list;
}
