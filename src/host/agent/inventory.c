/* SPDX-License-Identifier: Apache-2.0 */
#include "host/agent/inventory.h"

#include "base/file.h"
#include "base/time.h"
#include "bpf/abi.h"

#include <uthash.h>

#define BIRTH_KEEP_NS (120 * BH_NS_PER_S)

struct birth {
	struct hostd_vm vm;
	uint64_t begun_ns;
	struct birth *next;
};

/* A VM whose end the hook told. */
struct ended {
	uint8_t uuid[16];
	uint64_t at_ns;
	UT_hash_handle hh;
};

struct view {
	uint8_t uuid[16];
	const struct hostd_vm *vm;
	UT_hash_handle hh;
};

struct source {
	struct hostd_vm_list *vms; /* NULL until it reported */
	struct hostd_network_list *nets;
	/* something exists of which nothing is known yet */
	bool vms_missing, nets_missing;
};

struct hostd_inventory {
	const struct hostd_config *config;
	const char *host_name;
	struct hostd_links *links;
	struct source sources[HOSTD_URIS_MAX];
	int source_count;
	struct birth *births;
	struct ended *ended;
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

static void ended_forget(struct hostd_inventory *inv, struct ended *e)
{
	HASH_DEL(inv->ended, e);
	free(e);
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
	struct ended *e, *next;

	if (!inv) {
		return;
	}
	views_clear(inv);
	HASH_ITER (hh, inv->ended, e, next) {
		ended_forget(inv, e);
	}
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

static struct birth *birth_find(const struct hostd_inventory *inv, const uint8_t uuid[16])
{
	for (struct birth *b = inv->births; b; b = b->next) {
		if (!memcmp(b->vm.uuid, uuid, 16)) {
			return b;
		}
	}
	return NULL;
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

static struct hostd_vm *list_find(const struct hostd_vm_list *list, const uint8_t uuid[16])
{
	if (list) {
		bh_vec_foreach (vm, &list->vms) {
			if (!memcmp(vm->uuid, uuid, 16)) {
				return vm;
			}
		}
	}
	return NULL;
}

static void mark_ended(struct hostd_vm *vm)
{
	vm->running = false;
	snprintf(vm->state, sizeof(vm->state), "shutoff");
}

/* A device that is known does not become unknown because one answer leaves it out. */
static void keep_devices(const struct hostd_vm *before, struct hostd_vm *vm)
{
	bh_vec_foreach (nic, &vm->nics) {
		if (*nic->dev) {
			continue;
		}
		bh_vec_foreach (was, &before->nics) {
			if (!memcmp(was->mac, nic->mac, 6)) {
				memcpy(nic->dev, was->dev, sizeof(nic->dev));
			}
		}
	}
}

/* One VM of a new list, next to what is known: births and ends that came after the list was begun
 * are truer than the list. */
static void judge_age(struct hostd_inventory *inv, const struct hostd_vm_list *before,
		      uint64_t begun_ns, struct hostd_vm *vm)
{
	const struct hostd_vm *was = list_find(before, vm->uuid);
	struct birth *birth = birth_find(inv, vm->uuid);
	struct ended *ended;

	HASH_FIND(hh, inv->ended, vm->uuid, sizeof(vm->uuid), ended);
	if (ended && ended->at_ns >= begun_ns && vm->running) {
		mark_ended(vm);
	}
	if (!vm->running) {
		return;
	}
	if (birth) {
		keep_devices(&birth->vm, vm);
		if (birth->begun_ns < begun_ns) {
			birth_remove(inv, vm->uuid);
		}
	} else if (was && was->running) {
		keep_devices(was, vm);
	}
}

void hostd_inventory_set_vms(struct hostd_inventory *inv, int source, struct hostd_vm_list *list)
{
	struct hostd_vm_list *before = inv->sources[source].vms;

	bh_vec_foreach (vm, &list->vms) {
		judge_age(inv, before, list->begun_ns, vm);
	}
	inv->sources[source].vms_missing = false;
	bh_vec_foreach (unread, &list->unread) {
		struct hostd_vm *was = list_find(before, unread->uuid);

		if (was) {
			*bh_vec_push(&list->vms) = *was;
			memset(was, 0, sizeof(*was));
		} else if (unread->unanswered) {
			inv->sources[source].vms_missing = true;
		}
	}
	hostd_vm_list_free(before);
	inv->sources[source].vms = list;
	views_build(inv);
}

static struct hostd_network *net_find(const struct hostd_network_list *list, const char *name)
{
	if (list) {
		bh_vec_foreach (net, &list->nets) {
			if (!strcmp(net->name, name)) {
				return net;
			}
		}
	}
	return NULL;
}

void hostd_inventory_set_networks(struct hostd_inventory *inv, int source,
				  struct hostd_network_list *list)
{
	struct hostd_network_list *before = inv->sources[source].nets;

	inv->sources[source].nets_missing = false;
	bh_vec_foreach (unread, &list->unread) {
		struct hostd_network *was = net_find(before, unread->name);

		if (was) {
			*bh_vec_push(&list->nets) = *was;
			memset(was, 0, sizeof(*was));
		} else if (unread->unanswered) {
			inv->sources[source].nets_missing = true;
		}
	}
	hostd_network_list_free(before);
	inv->sources[source].nets = list;
	/* frames handed over past the bridge would miss iptables' look at bridged traffic */
	inv->bridge_netfilter = access("/proc/sys/net/bridge/bridge-nf-call-iptables", F_OK) == 0;
}

static bool needs_networks(const struct hostd_vm_list *list)
{
	bh_vec_foreach (vm, &list->vms) {
		bh_vec_foreach (nic, &vm->nics) {
			if (nic->kind == HOSTD_NIC_NETWORK) {
				return true;
			}
		}
	}
	return false;
}

bool hostd_inventory_complete(const struct hostd_inventory *inv)
{
	for (int i = 0; i < inv->source_count; i++) {
		const struct source *s = &inv->sources[i];

		if (!s->vms || s->vms_missing) {
			return false;
		}
		if ((!s->nets || s->nets_missing) && needs_networks(s->vms)) {
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
	struct ended *ended;

	name_devices(inv, vm);
	birth_remove(inv, vm->uuid);
	HASH_FIND(hh, inv->ended, vm->uuid, sizeof(vm->uuid), ended);
	if (ended) {
		ended_forget(inv, ended);
	}
	b->vm = *vm;
	memset(vm, 0, sizeof(*vm));
	b->begun_ns = now_ns;
	b->next = inv->births;
	inv->births = b;
	views_build(inv);
}

void hostd_inventory_ended(struct hostd_inventory *inv, const uint8_t uuid[16], uint64_t now_ns)
{
	struct ended *e;

	birth_remove(inv, uuid);
	for (int i = 0; i < inv->source_count; i++) {
		struct hostd_vm *vm = list_find(inv->sources[i].vms, uuid);

		if (vm && vm->running) {
			mark_ended(vm);
		}
	}
	HASH_FIND(hh, inv->ended, uuid, sizeof(e->uuid), e);
	if (!e) {
		e = bh_alloc(sizeof(*e));
		memcpy(e->uuid, uuid, sizeof(e->uuid));
		HASH_ADD(hh, inv->ended, uuid, sizeof(e->uuid), e);
	}
	e->at_ns = now_ns;
	views_build(inv);
}

int hostd_inventory_source(const struct hostd_inventory *inv, const uint8_t uuid[16])
{
	for (int i = 0; i < inv->source_count; i++) {
		if (list_find(inv->sources[i].vms, uuid)) {
			return i;
		}
	}
	return -1;
}

void hostd_inventory_birth_drop(struct hostd_inventory *inv, const uint8_t uuid[16])
{
	if (birth_remove(inv, uuid)) {
		views_build(inv);
	}
}

/* Every source was listed after that moment. While libvirt is away nothing is known to be over. */
static bool listed_since(const struct hostd_inventory *inv, uint64_t ns)
{
	for (int i = 0; i < inv->source_count; i++) {
		if (!inv->sources[i].vms || inv->sources[i].vms->begun_ns < ns) {
			return false;
		}
	}
	return true;
}

void hostd_inventory_expire(struct hostd_inventory *inv)
{
	struct ended *e, *next_ended;
	struct birth *b = inv->births;

	HASH_ITER (hh, inv->ended, e, next_ended) {
		if (listed_since(inv, e->at_ns + 1)) {
			ended_forget(inv, e);
		}
	}
	while (b) {
		struct birth *next = b->next;

		if (listed_since(inv, b->begun_ns + BIRTH_KEEP_NS)) {
			hostd_inventory_birth_drop(inv, b->vm.uuid);
		}
		b = next;
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
		const struct hostd_network *net = net_find(inv->sources[i].nets, name);

		if (net) {
			return net;
		}
	}
	return NULL;
}

static void cannot(struct hostd_nic_place *ret, const char *fmt, const char *what)
{
	ret->protectable = false;
	*ret->net = '\0';
	snprintf(ret->reason, sizeof(ret->reason), fmt, what);
	hostd_text_mend(ret->reason);
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

static void place_on_managed(const struct hostd_inventory *inv, const struct hostd_network *net,
			     struct hostd_nic_place *ret)
{
	snprintf(ret->bridge, sizeof(ret->bridge), "%s", net->bridge);
	snprintf(ret->net, sizeof(ret->net), "host/%s/net/%s", inv->host_name, net->name);
	ret->managed = true;
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
		place_on_managed(inv, net, ret);
	} else {
		place_on_bridge(inv, net->bridge, ret);
	}
}

/* The bridge as it is, whatever the XML calls it. */
static void place_on_real_bridge(const struct hostd_inventory *inv, const struct hostd_link *br,
				 struct hostd_nic_place *ret)
{
	for (int i = 0; i < inv->source_count; i++) {
		if (inv->sources[i].nets) {
			bh_vec_foreach (net, &inv->sources[i].nets->nets) {
				if (net->managed && net->active && !strcmp(net->bridge, br->name)) {
					place_on_managed(inv, net, ret);
					return;
				}
			}
		}
	}
	ret->managed = false;
	place_on_bridge(inv, br->name, ret);
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
		place_on_real_bridge(inv, br, ret);
	}
}

static void place_device(const struct hostd_inventory *inv, const struct hostd_vm *vm,
			 const struct hostd_nic *nic, struct hostd_nic_place *ret)
{
	struct hostd_link *dev = *nic->dev ? hostd_links_find(inv->links, nic->dev) : NULL;
	struct hostd_link *br;

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
	/* Moved by `virsh update-device`, of which libvirt tells nobody, or by hand: its neighbours
	 * are those of the bridge that it is on. */
	br = dev->master ? hostd_links_get(inv->links, dev->master) : NULL;
	if (br && strcmp(br->name, ret->bridge) != 0) {
		place_on_real_bridge(inv, br, ret);
		if (!ret->protectable) {
			return;
		}
	}
	ret->ifindex = dev->ifindex;
	ret->bridge_ifindex = dev->master;
	if (br && !nic->filtered && !inv->bridge_netfilter) {
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
