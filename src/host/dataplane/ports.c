/* SPDX-License-Identifier: Apache-2.0 */
/* Ports: which device is whose NIC, uplinks, bridges; and the host's own addresses. */
#include "host/dataplane/internal.h"

#include <errno.h>
#include <net/if.h>

static struct dp_port *port_find(const struct hostd_dp *dp, uint32_t ifindex)
{
	struct dp_port *port;

	HASH_FIND(hh, dp->ports, &ifindex, sizeof(ifindex), port);
	return port;
}

static bool device_exists(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return if_indextoname(ifindex, name) != NULL;
}

static void port_forget(struct hostd_dp *dp, struct dp_port *port)
{
	HASH_DEL(dp->ports, port);
	free(port);
}

/* Closes in this order: nobody hands frames over to it, nothing it sends is taken, programs off. */
static int port_remove(struct hostd_dp *dp, struct dp_port *port, struct bh_diag *diag)
{
	struct dp_nic *nic = NULL;
	uint32_t ifindex = port->ifindex;
	int r = 0;

	if (port->port.kind == BH_PORT_NIC && port->port.nic < dp->map_size[DP_MAP_NICS]) {
		nic = dp->by_index[port->port.nic];
	}
	if (nic && nic->device.ifindex == ifindex) {
		memset(&nic->device, 0, sizeof(nic->device));
		r = dp_nic_macs(dp, nic, true, diag);
		r = r ? r : dp_nic_write(dp, nic, diag);
	}
	if (!r) {
		r = dp_map_del(dp, DP_MAP_PORTS, &ifindex);
		if (r) {
			bh_diag_set(diag, r, "cannot forget port %u: %s", ifindex, strerror(-r));
		}
	}
	r = r ? r : dp_detach(dp, ifindex, diag);
	if (r) {
		return r;
	}
	port_forget(dp, port);
	return nic ? dp_nic_release(dp, nic, diag) : 0;
}

static int port_add(struct hostd_dp *dp, uint32_t ifindex, const struct bh_port *value,
		    struct bh_diag *diag)
{
	struct dp_port *port = port_find(dp, ifindex);
	int r = dp_attach(dp, ifindex, (enum bh_port_kind)value->kind, diag);

	if (r) {
		return r;
	}
	r = dp_map_put(dp, DP_MAP_PORTS, &ifindex, value);
	if (r) {
		return bh_diag_set(diag, r, "cannot write port %u: %s", ifindex, strerror(-r));
	}
	if (!port) {
		port = bh_alloc(sizeof(*port));
		port->ifindex = ifindex;
		HASH_ADD(hh, dp->ports, ifindex, sizeof(port->ifindex), port);
	}
	port->port = *value;
	dp_held_forget(dp, ifindex); /* the programs see to it from now on */
	return 0;
}

/* What stands on the device now, when it is not the same; a device that is gone and whose number
 * came back holds nothing. */
static int make_room(struct hostd_dp *dp, uint32_t ifindex, const struct bh_port *value,
		     struct bh_diag *diag)
{
	struct dp_port *port = port_find(dp, ifindex);

	if (!port || !memcmp(&port->port, value, sizeof(*value))) {
		return 0;
	}
	if (dp_attached_any(dp, ifindex) && port->port.kind == BH_PORT_NIC &&
	    (value->kind != BH_PORT_NIC || port->port.nic != value->nic)) {
		return bh_diag_set(diag, -EBUSY, "device %u belongs to another NIC", ifindex);
	}
	if (port->port.kind == value->kind && port->port.nic == value->nic) {
		return 0; /* another bridge: rewritten in place */
	}
	return port_remove(dp, port, diag);
}

int hostd_dp_bind(struct hostd_dp *dp, const struct hostd_dp_nic_key *key,
		  const struct hostd_dp_device *device, struct bh_diag *diag)
{
	struct bh_port value = {.kind = BH_PORT_NIC, .bridge = device->bridge};
	struct dp_nic *nic;
	int r = dp_ready(dp, diag);

	if (r) {
		return r;
	}
	if (!device_exists(device->ifindex)) {
		return bh_diag_set(diag, -ENODEV, "there is no device %u", device->ifindex);
	}
	nic = dp_nic_need(dp, key->vm, key->mac, diag);
	if (!nic) {
		return HOSTD_DP_FULL;
	}
	value.nic = nic->index;
	r = make_room(dp, device->ifindex, &value, diag);
	if (!r && nic->device.ifindex && nic->device.ifindex != device->ifindex) {
		struct dp_port *old = port_find(dp, nic->device.ifindex);

		/* An unnamed NIC would be freed with its device: hold it. */
		nic->refs++;
		r = old ? port_remove(dp, old, diag) : 0;
		nic->refs--;
	}
	r = r ? r : port_add(dp, device->ifindex, &value, diag);
	if (!r) {
		nic->device = *device;
		nic->device.host_flags &= DP_DEVICE_FLAGS;
		nic->device.host_flags |= nic->move_flags & BH_NIC_PICKUP; /* once */
		nic->move_flags &= DP_MOVE_FLAGS;
		r = dp_nic_write(dp, nic, diag);
		r = r ? r : dp_nic_macs(dp, nic, true, diag);
	}
	if (r && !nic->device.ifindex) {
		(void)!dp_nic_release(dp, nic, NULL);
	}
	return r;
}

int hostd_dp_unbind(struct hostd_dp *dp, const struct hostd_dp_nic_key *key, struct bh_diag *diag)
{
	struct dp_nic *nic = dp_nic_find(dp, key->vm, key->mac);

	return nic && nic->device.ifindex ? hostd_dp_unbind_port(dp, nic->device.ifindex, diag) : 0;
}

static int bind_port(struct hostd_dp *dp, uint32_t ifindex, enum bh_port_kind kind, uint32_t bridge,
		     struct bh_diag *diag)
{
	struct bh_port value = {.kind = kind, .bridge = bridge};
	int r = dp_ready(dp, diag);

	if (r) {
		return r;
	}
	if (!device_exists(ifindex)) {
		return bh_diag_set(diag, -ENODEV, "there is no device %u", ifindex);
	}
	r = make_room(dp, ifindex, &value, diag);
	return r ? r : port_add(dp, ifindex, &value, diag);
}

int hostd_dp_bind_uplink(struct hostd_dp *dp, uint32_t ifindex, uint32_t bridge,
			 struct bh_diag *diag)
{
	return bind_port(dp, ifindex, BH_PORT_UPLINK, bridge, diag);
}

int hostd_dp_bind_bridge(struct hostd_dp *dp, uint32_t ifindex, struct bh_diag *diag)
{
	return bind_port(dp, ifindex, BH_PORT_BRIDGE, ifindex, diag);
}

int hostd_dp_unbind_port(struct hostd_dp *dp, uint32_t ifindex, struct bh_diag *diag)
{
	int r = port_find(dp, ifindex) ? dp_ready(dp, diag) : 0;
	struct dp_port *port = port_find(dp, ifindex);

	return r || !port ? r : port_remove(dp, port, diag);
}

int hostd_dp_set_open(struct hostd_dp *dp, const struct hostd_dp_nic_key *key, bool open,
		      struct bh_diag *diag)
{
	int r = dp_ready(dp, diag);
	struct dp_nic *nic = dp_nic_find(dp, key->vm, key->mac);

	if (r || (!nic && !open)) {
		return r;
	}
	nic = nic ? nic : dp_nic_need(dp, key->vm, key->mac, diag);
	if (!nic) {
		return HOSTD_DP_FULL;
	}
	nic->open = open;
	r = dp_nic_write(dp, nic, diag);
	return r ? r : dp_nic_release(dp, nic, diag);
}

static bool port_gone(const struct hostd_dp *dp, const struct dp_port *port)
{
	return !device_exists(port->ifindex) || !dp_attached_any(dp, port->ifindex);
}

int hostd_dp_reap(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_port *port, *tmp;
	int gone = 0, r = 0;

	HASH_ITER (hh, dp->ports, port, tmp) {
		if (!r && port_gone(dp, port)) {
			r = dp_ready(dp, diag);
			r = r ? r : port_remove(dp, port, diag);
			gone++;
		}
	}
	return r ? r : gone;
}

/* ---- adoption ---- */

static int scan_ports(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_iter it;
	int n;

	dp_iter_init(&it, dp, DP_MAP_PORTS);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			struct dp_port *port = bh_alloc(sizeof(*port));

			memcpy(&port->ifindex, dp_iter_key(&it, i), sizeof(port->ifindex));
			memcpy(&port->port, dp_iter_value(&it, i), sizeof(port->port));
			HASH_ADD(hh, dp->ports, ifindex, sizeof(port->ifindex), port);
		}
	}
	dp_iter_done(&it);
	return n ? bh_diag_set(diag, n, "cannot read bh_ports: %s", strerror(-n)) : 0;
}

/* bh_ports says who is bound: it is written last by a bind and removed first but one by an unbind.
 */
static int agree_with_nics(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_port *port, *ptmp;
	struct dp_nic *nic, *ntmp;
	int r = 0;

	HASH_ITER (hh, dp->nics, nic, ntmp) {
		port = port_find(dp, nic->device.ifindex);
		if (nic->device.ifindex && (!port || port->port.nic != nic->index)) {
			memset(&nic->device, 0, sizeof(nic->device));
			r = r ? r : dp_nic_write(dp, nic, diag);
		}
	}
	HASH_ITER (hh, dp->ports, port, ptmp) {
		if (r || port->port.kind != BH_PORT_NIC) {
			continue;
		}
		nic = port->port.nic < dp->map_size[DP_MAP_NICS] ? dp->by_index[port->port.nic]
								 : NULL;
		if (!nic) {
			r = port_remove(dp, port, diag);
		} else if (nic->device.ifindex != port->ifindex) {
			nic->device.ifindex = port->ifindex;
			nic->device.bridge = port->port.bridge;
			r = dp_nic_write(dp, nic, diag);
		}
	}
	return r;
}

static int scan_macs(struct hostd_dp *dp, struct bh_diag *diag)
{
	BH_VEC(struct bh_mac_key) stale = {};
	struct dp_nic *nic, *tmp;
	struct dp_iter it;
	int n, r = 0;

	dp_iter_init(&it, dp, DP_MAP_MACS);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			struct bh_mac_key key;
			uint32_t index;

			memcpy(&key, dp_iter_key(&it, i), sizeof(key));
			memcpy(&index, dp_iter_value(&it, i), sizeof(index));
			nic = index < dp->map_size[DP_MAP_NICS] ? dp->by_index[index] : NULL;
			if (nic && nic->has_rec && nic->device.ifindex && nic->rec.net == key.net &&
			    !memcmp(nic->key.mac, key.mac, 6)) {
				nic->in_macs = true;
				nic->macs_net = key.net;
			} else {
				*bh_vec_push(&stale) = key;
			}
		}
	}
	dp_iter_done(&it);
	bh_vec_foreach (key, &stale) {
		r = r ? r : dp_map_del(dp, DP_MAP_MACS, key);
	}
	bh_vec_done(&stale);
	if (n || r) {
		return bh_diag_set(diag, n ? n : r, "cannot read bh_macs: %s",
				   strerror(n ? -n : -r));
	}
	HASH_ITER (hh, dp->nics, nic, tmp) {
		r = r || nic->in_macs ? r : dp_nic_macs(dp, nic, false, diag);
	}
	return r;
}

static int scan_host_addrs(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_iter it;
	int n;

	dp_iter_init(&it, dp, DP_MAP_ADDRS);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			struct dp_host_addr *a;
			struct bh_addr value;

			memcpy(&value, dp_iter_value(&it, i), sizeof(value));
			if (value.slot[dp->ctl->gen & 1].identity != BH_IDENTITY_HOST) {
				continue;
			}
			a = bh_alloc(sizeof(*a));
			memcpy(&a->key, dp_iter_key(&it, i), sizeof(a->key));
			HASH_ADD(hh, dp->host_addrs, key, sizeof(a->key), a);
		}
	}
	dp_iter_done(&it);
	return n ? bh_diag_set(diag, n, "cannot read bh_addrs: %s", strerror(-n)) : 0;
}

int dp_ports_scan(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_nic *nic, *tmp;
	int r = scan_ports(dp, diag);

	r = r ? r : agree_with_nics(dp, diag);
	r = r ? r : scan_macs(dp, diag);
	r = r ? r : scan_host_addrs(dp, diag);
	HASH_ITER (hh, dp->nics, nic, tmp) { /* indexes that a crash left behind */
		r = r ? r : dp_nic_release(dp, nic, diag);
	}
	return r;
}

int dp_ports_adopt(struct hostd_dp *dp, struct hostd_dp_open_info *info, struct bh_diag *diag)
{
	struct dp_port *port, *tmp;
	int r = 0;

	HASH_ITER (hh, dp->ports, port, tmp) {
		if (r) {
			break;
		}
		if (port_gone(dp, port)) {
			r = port_remove(dp, port, diag);
			info->gone++;
		} else {
			r = dp_attach(dp, port->ifindex, (enum bh_port_kind)port->port.kind, diag);
			info->replaced++;
		}
	}
	dp_attach_sweep(dp);
	return r;
}

int dp_ports_repair(struct hostd_dp *dp, struct bh_diag *diag)
{
	struct dp_port *port, *tmp;
	int r = 0;

	HASH_ITER (hh, dp->ports, port, tmp) {
		if (!r && device_exists(port->ifindex) &&
		    dp_attached(dp, port->ifindex, (enum bh_port_kind)port->port.kind) != 1) {
			r = dp_attach(dp, port->ifindex, (enum bh_port_kind)port->port.kind, diag);
		}
	}
	return r;
}

void dp_ports_done(struct hostd_dp *dp)
{
	struct dp_port *port, *ptmp;
	struct dp_host_addr *a, *atmp;

	HASH_ITER (hh, dp->ports, port, ptmp) {
		port_forget(dp, port);
	}
	HASH_ITER (hh, dp->host_addrs, a, atmp) {
		HASH_DEL(dp->host_addrs, a);
		free(a);
	}
}

/* ---- asking ---- */

int hostd_dp_nic_status(struct hostd_dp *dp, const struct hostd_dp_nic_key *key,
			struct hostd_dp_nic_status *ret_status, struct bh_diag *diag)
{
	const struct dp_nic *nic = dp_nic_find(dp, key->vm, key->mac);
	const struct bh_nic_slot *slot;
	struct bh_nic entry;
	struct bh_port port;
	int r;

	memset(ret_status, 0, sizeof(*ret_status));
	if (!nic) {
		return 0;
	}
	r = dp_map_get(dp, DP_MAP_NICS, &nic->index, &entry);
	if (r) {
		return bh_diag_set(diag, r, "cannot read NIC %u: %s", nic->index, strerror(-r));
	}
	slot = &entry.slot[dp->ctl->gen & 1];
	ret_status->index = nic->index;
	ret_status->ifindex = entry.ifindex;
	ret_status->bridge = entry.bridge;
	ret_status->net = slot->net;
	ret_status->identity = slot->identity;
	ret_status->flags = slot->flags;
	ret_status->fed = slot->identity != BH_IDENTITY_NONE;
	ret_status->open = !ret_status->fed && slot->flags & BH_NIC_OPEN;
	if (!entry.ifindex || memcmp(entry.vm, key->vm, 16) || memcmp(entry.mac, key->mac, 6) ||
	    dp_map_get(dp, DP_MAP_PORTS, &entry.ifindex, &port) || port.kind != BH_PORT_NIC ||
	    port.nic != nic->index) {
		return 0;
	}
	r = dp_attached(dp, entry.ifindex, BH_PORT_NIC);
	ret_status->attached = r == 1;
	return r < 0 ? bh_diag_set(diag, r, "cannot ask for the programs of device %u: %s",
				   entry.ifindex, strerror(-r))
		     : 0;
}

void hostd_dp_each_nic(const struct hostd_dp *dp, hostd_dp_nic_fn *fn, void *arg)
{
	struct dp_nic *nic, *tmp;

	HASH_ITER (hh, dp->nics, nic, tmp) {
		struct hostd_dp_nic_status status = {.index = nic->index,
						     .ifindex = nic->device.ifindex,
						     .bridge = nic->device.bridge};
		struct bh_nic_slot slot;

		dp_nic_slot(nic, &slot);
		status.net = slot.net;
		status.identity = slot.identity;
		status.flags = slot.flags;
		status.attached = nic->device.ifindex != 0;
		status.fed = nic->has_rec;
		status.open = nic->open && !nic->has_rec;
		fn(&nic->key, &status, arg);
	}
}

bool hostd_dp_port_get(const struct hostd_dp *dp, uint32_t ifindex, struct bh_port *ret_port)
{
	const struct dp_port *port = port_find(dp, ifindex);

	if (port && ret_port) {
		*ret_port = port->port;
	}
	return port != NULL;
}

void hostd_dp_each_port(const struct hostd_dp *dp, hostd_dp_port_fn *fn, void *arg)
{
	struct dp_port *port, *tmp;

	HASH_ITER (hh, dp->ports, port, tmp) {
		struct hostd_dp_port p = {.ifindex = port->ifindex, .port = port->port};

		fn(&p, arg);
	}
}
