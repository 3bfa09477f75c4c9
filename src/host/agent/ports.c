/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the kernel's bindings equal to what is there: the NICs of running VMs, the bridges they are
 * on, and the uplinks of those bridges. A port of a protected bridge that is none of these is
 * closed without our doing: nothing of ours stands on it, so every other port drops what it sends.
 */
#include "host/agent/agent.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "host/net/rtnl.h"

#include <errno.h>

#define CLOSED_AFTER_NS	 (3 * BH_NS_PER_S)
#define CLOSED_TEXT_SIZE (2 * IFNAMSIZ + 16)
#define SLICE_NS	 (200 * BH_NS_PER_MS)

BH_COUNTER(ports_bound, "NICs bound to a device");
BH_COUNTER(ports_unbound, "NICs whose device was let go");
BH_COUNTER(ports_failed, "devices that could not be bound");
BH_COUNTER(ports_closed, "unknown ports found on protected bridges");

struct closed_port {
	uint32_t ifindex;
	uint32_t bridge;
	uint64_t since_ns;
	bool reported, seen;
	char name[IFNAMSIZ], bridge_name[IFNAMSIZ];
	UT_hash_handle hh;
};

struct wanted_nic {
	struct hostd_dp_nic_key key;
	UT_hash_handle hh;
};

struct hostd_ports {
	struct closed_port *closed;
	bool cut; /* the last pass left something over */
};

struct hostd_ports *hostd_ports_new(struct hostd_agent *agent)
{
	return bh_alloc(sizeof(struct hostd_ports));
}

void hostd_ports_free(struct hostd_ports *ports)
{
	struct closed_port *c, *next;

	if (!ports) {
		return;
	}
	HASH_ITER (hh, ports->closed, c, next) {
		HASH_DEL(ports->closed, c);
		free(c);
	}
	free(ports);
}

struct hostd_dp_nic_key hostd_ports_key(const struct hostd_vm *vm, const struct hostd_nic *nic)
{
	struct hostd_dp_nic_key key;

	memset(&key, 0, sizeof(key)); /* hashed with its padding */
	memcpy(key.vm, vm->uuid, sizeof(key.vm));
	memcpy(key.mac, nic->mac, sizeof(key.mac));
	return key;
}

/* How the NICs of one pass are bound. Attaching takes 20 to 50 ms a device: what does not fit into
 * a slice is left for the next pass. */
struct pass {
	bool whole; /* repeat bindings that look right */
	bool sliced;
	bool cut; /* something was left over */
	uint64_t spent_ns;
};

/* What the kernel holds for the NIC is what it should be. */
static bool is_right(const struct hostd_dp_nic_status *status, const struct hostd_dp_device *device)
{
	const uint32_t ours = BH_NIC_FASTPATH | BH_NIC_PICKUP;

	return status->ifindex == device->ifindex && status->bridge == device->bridge &&
	       status->attached &&
	       (!status->fed || (status->flags & ours) == (device->host_flags & ours));
}

static int bind_nic(struct hostd_agent *agent, const struct hostd_vm *vm,
		    const struct hostd_nic *nic, const struct hostd_nic_place *place,
		    struct pass *pass, struct bh_diag *diag)
{
	struct hostd_dp_nic_key key = hostd_ports_key(vm, nic);
	struct hostd_dp_device device = {.ifindex = place->ifindex,
					 .bridge = place->bridge_ifindex,
					 .host_flags = place->host_flags |
						       hostd_takeover_flags(agent, &key)};
	struct hostd_dp_nic_status status = {};
	uint64_t start = bh_time_mono_ns();
	bool right, open;
	int err = hostd_dp_nic_status(agent->dp, &key, &status, diag);

	if (err < 0) {
		return err;
	}
	right = is_right(&status, &device);
	if (!right && pass->sliced && pass->spent_ns > SLICE_NS) {
		pass->cut = true;
		return 0;
	}
	if (!right || pass->whole) {
		err = hostd_dp_bind(agent->dp, &key, &device, diag);
		if (err) {
			bh_counter_add(&ports_failed, 1);
			bh_diag_prefix(diag, "NIC %s of VM %s", nic->dev, vm->name);
			return err;
		}
	}
	if (!right) {
		pass->spent_ns += bh_time_mono_ns() - start;
	}
	if (status.ifindex != device.ifindex) {
		bh_counter_add(&ports_bound, 1);
		bh_log(BH_LOG_INFO, "ports", "VM %s: NIC on %s is under control%s", vm->name,
		       nic->dev,
		       device.host_flags & BH_NIC_PICKUP ? "; TCP from before is taken over" : "");
	}
	if (status.fed) {
		hostd_takeover_fed(agent, &key, start);
	}
	open = hostd_known_open(agent, vm) && !status.fed;
	if (open != status.open) {
		err = hostd_dp_set_open(agent->dp, &key, open, diag);
	}
	return err;
}

int hostd_ports_bind_vm(struct hostd_agent *agent, const struct hostd_vm *vm, struct bh_diag *diag)
{
	struct pass pass = {.whole = true};

	bh_vec_foreach (nic, &vm->nics) {
		struct hostd_nic_place place;
		int err;

		hostd_inventory_place(agent->inv, vm, nic, &place);
		if (!place.protectable) {
			continue;
		}
		if (!place.ifindex) {
			return bh_diag_set(diag, -ENODEV, "%s", place.reason);
		}
		err = bind_nic(agent, vm, nic, &place, &pass, diag);
		if (err) {
			return err;
		}
	}
	return 0;
}

int hostd_ports_empty_vm(struct hostd_agent *agent, const struct hostd_vm *vm, struct bh_diag *diag)
{
	bh_vec_foreach (nic, &vm->nics) {
		struct hostd_nic_place place;
		int err;

		hostd_inventory_place(agent->inv, vm, nic, &place);
		err = place.protectable ? hostd_rtnl_empty_tap(place.ifindex) : 0;
		if (err) {
			return bh_diag_set(diag, err, "cannot empty the queue of %s: %s", nic->dev,
					   strerror(-err));
		}
	}
	return 0;
}

/* ---- the whole picture ---- */

struct bridge {
	char name[IFNAMSIZ];
	uint32_t ifindex; /* 0: not there now */
};

struct picture {
	struct hostd_agent *agent;
	bool whole;
	struct pass pass;
	struct wanted_nic *nics;
	BH_VEC(struct bridge) bridges;
	BH_VEC(struct hostd_dp_nic_key) unbind_nics;
	BH_VEC(uint32_t) unbind_ports;
};

static void want_bridge(struct picture *p, const char *name)
{
	struct hostd_link *l;
	struct bridge *b;

	if (!*name) {
		return;
	}
	bh_vec_foreach (have, &p->bridges) {
		if (!strcmp(have->name, name)) {
			return;
		}
	}
	l = hostd_links_find(p->agent->links, name);
	if (!l || !hostd_link_is_bridge(l)) {
		return;
	}
	b = bh_vec_push(&p->bridges);
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->ifindex = l->ifindex;
}

static bool bridge_wanted(const struct picture *p, uint32_t ifindex)
{
	bh_vec_foreach (b, &p->bridges) {
		if (b->ifindex == ifindex) {
			return true;
		}
	}
	return false;
}

static void want_network(const struct hostd_network *net, void *arg)
{
	if (net->active && !net->openvswitch) {
		want_bridge(arg, net->bridge);
	}
}

/* A NIC that is wanted is bound at once; what is wanted by nobody, unbind_rest() finds. */
static void bind_vm(const struct hostd_vm *vm, void *arg)
{
	struct picture *p = arg;

	bh_vec_foreach (nic, &vm->nics) {
		struct hostd_nic_place place;
		struct wanted_nic *w;
		struct bh_diag diag = {};
		int err;

		hostd_inventory_place(p->agent->inv, vm, nic, &place);
		if (!place.protectable) {
			continue;
		}
		want_bridge(p, place.bridge);
		if (!place.ifindex) {
			continue;
		}
		w = bh_alloc(sizeof(*w));
		w->key = hostd_ports_key(vm, nic);
		HASH_ADD(hh, p->nics, key, sizeof(w->key), w);
		err = bind_nic(p->agent, vm, nic, &place, &p->pass, &diag);
		if (err && err != -ENODEV) { /* gone meanwhile: its news are on their way */
			bh_log_limited(BH_LOG_ERROR, "ports", 5, "%s", diag.text);
		}
	}
}

/* What stands at this port of a protected bridge. */
static bool is_uplink(struct hostd_agent *agent, const struct hostd_link *l)
{
	return hostd_link_is_uplink_kind(l) || hostd_config_is_uplink(agent->config, l->name);
}

static void closed_see(struct hostd_agent *agent, const struct hostd_link *l, const char *bridge)
{
	struct closed_port *c;

	HASH_FIND(hh, agent->ports->closed, &l->ifindex, sizeof(l->ifindex), c);
	if (!c) {
		c = bh_alloc(sizeof(*c));
		c->ifindex = l->ifindex;
		c->since_ns = bh_time_mono_ns();
		HASH_ADD(hh, agent->ports->closed, ifindex, sizeof(c->ifindex), c);
		/* likely the tap of a NIC that is being plugged in: ask who it is */
		for (int i = 0; i < agent->source_count; i++) {
			hostd_platform_refresh(agent->sources[i].platform);
		}
	}
	c->bridge = l->master;
	c->seen = true;
	snprintf(c->name, sizeof(c->name), "%s", l->name);
	snprintf(c->bridge_name, sizeof(c->bridge_name), "%s", bridge);
}

static void bind_uplink(struct hostd_agent *agent, const struct hostd_link *l, bool whole)
{
	struct bh_port port;
	struct bh_diag diag = {};
	bool was = hostd_dp_port_get(agent->dp, l->ifindex, &port) && port.kind == BH_PORT_UPLINK;

	if (!whole && was && port.bridge == l->master) {
		return;
	}
	if (hostd_dp_bind_uplink(agent->dp, l->ifindex, l->master, &diag) != 0) {
		bh_counter_add(&ports_failed, 1);
		bh_log_limited(BH_LOG_ERROR, "ports", 5, "uplink %s: %s", l->name, diag.text);
	} else if (!was) {
		bh_log(BH_LOG_INFO, "ports", "%s is an uplink", l->name);
	}
}

static void bind_bridge(struct hostd_agent *agent, const struct bridge *b, bool whole)
{
	struct bh_port port;
	struct bh_diag diag = {};
	bool was = hostd_dp_port_get(agent->dp, b->ifindex, &port) && port.kind == BH_PORT_BRIDGE;

	if (!whole && was) {
		return;
	}
	if (hostd_dp_bind_bridge(agent->dp, b->ifindex, &diag) != 0) {
		bh_counter_add(&ports_failed, 1);
		bh_log_limited(BH_LOG_ERROR, "ports", 5, "bridge %s: %s", b->name, diag.text);
	} else if (!was) {
		bh_log(BH_LOG_INFO, "ports", "bridge %s is protected", b->name);
	}
}

/* Uplinks first: a bridge whose uplinks are not marked yet cuts off what comes from outside. */
static void bind_bridges(struct picture *p)
{
	struct hostd_agent *agent = p->agent;

	bh_vec_foreach (b, &p->bridges) {
		for (struct hostd_link *l = hostd_links_all(agent->links); l; l = l->hh.next) {
			if (l->master == b->ifindex && is_uplink(agent, l)) {
				bind_uplink(agent, l, p->whole);
			}
		}
		bind_bridge(agent, b, p->whole);
	}
}

static const char *closed_text(const struct closed_port *c, char ret[CLOSED_TEXT_SIZE])
{
	snprintf(ret, CLOSED_TEXT_SIZE, "%u %s %s", c->ifindex, c->name, c->bridge_name);
	return ret;
}

static void find_closed(struct picture *p)
{
	struct hostd_agent *agent = p->agent;
	BH_JSON json_t *texts = json_object();
	struct closed_port *c, *next;

	HASH_ITER (hh, agent->ports->closed, c, next) {
		c->seen = false;
	}
	bh_vec_foreach (b, &p->bridges) {
		for (struct hostd_link *l = hostd_links_all(agent->links); l; l = l->hh.next) {
			struct bh_port port;

			if (l->master == b->ifindex && !is_uplink(agent, l) &&
			    !(hostd_dp_port_get(agent->dp, l->ifindex, &port) &&
			      port.kind == BH_PORT_NIC)) {
				closed_see(agent, l, b->name);
			}
		}
	}
	HASH_ITER (hh, agent->ports->closed, c, next) {
		char text[CLOSED_TEXT_SIZE];

		if (c->seen) {
			json_object_set_new(texts, closed_text(c, text), json_true());
		} else {
			HASH_DEL(agent->ports->closed, c);
			free(c);
		}
	}
	hostd_told_only(agent, "closed", texts);
}

bool hostd_ports_settled(const struct hostd_agent *agent)
{
	return !agent->ports->cut;
}

static void unhold_stale(uint32_t ifindex, void *arg)
{
	struct hostd_agent *agent = arg;
	struct hostd_link *l = hostd_links_get(agent->links, ifindex);
	struct bh_port master;
	struct bh_diag diag = {};

	if (l && l->master && !is_uplink(agent, l) &&
	    hostd_dp_port_get(agent->dp, l->master, &master) && master.kind == BH_PORT_BRIDGE) {
		return;
	}
	if (hostd_dp_unhold(agent->dp, ifindex, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "ports", 5, "%s", diag.text);
	}
}

/* Nothing is learned behind a port of a protected bridge until somebody feeds it. A tap is a VM's
 * that is on its way, so nothing passes it either; what else there is may have company. */
void hostd_ports_hold(struct hostd_agent *agent)
{
	for (struct hostd_link *l = hostd_links_all(agent->links); l; l = l->hh.next) {
		struct bh_port master;
		struct bh_diag diag = {};
		int err;

		if (!l->master || is_uplink(agent, l) ||
		    hostd_dp_port_get(agent->dp, l->ifindex, NULL) ||
		    !hostd_dp_port_get(agent->dp, l->master, &master) ||
		    master.kind != BH_PORT_BRIDGE) {
			continue;
		}
		err = hostd_dp_hold(agent->dp, l->ifindex, !strcmp(l->kind, "tun"), &diag);
		if (err && err != -ENODEV) { /* gone meanwhile: its news are on their way */
			bh_log_limited(BH_LOG_ERROR, "ports", 5, "%s: %s", l->name, diag.text);
		}
	}
	hostd_dp_each_held(agent->dp, unhold_stale, agent);
}

static void check_nic(const struct hostd_dp_nic_key *key, const struct hostd_dp_nic_status *status,
		      void *arg)
{
	struct picture *p = arg;
	struct hostd_dp_nic_key look;
	struct wanted_nic *w;

	memset(&look, 0, sizeof(look));
	memcpy(look.vm, key->vm, sizeof(look.vm));
	memcpy(look.mac, key->mac, sizeof(look.mac));
	HASH_FIND(hh, p->nics, &look, sizeof(look), w);
	if (!w && status->ifindex) {
		*bh_vec_push(&p->unbind_nics) = look;
	}
}

static void check_port(const struct hostd_dp_port *port, void *arg)
{
	struct picture *p = arg;
	struct hostd_link *l = hostd_links_get(p->agent->links, port->ifindex);
	bool wanted = true;

	if (port->port.kind == BH_PORT_BRIDGE) {
		wanted = bridge_wanted(p, port->ifindex);
	} else if (port->port.kind == BH_PORT_UPLINK) {
		wanted = l && bridge_wanted(p, l->master) && is_uplink(p->agent, l);
	}
	if (!wanted) {
		*bh_vec_push(&p->unbind_ports) = port->ifindex;
	}
}

static void unbind_rest(struct picture *p)
{
	struct hostd_agent *agent = p->agent;
	struct bh_diag diag = {};

	hostd_dp_each_nic(agent->dp, check_nic, p);
	bh_vec_foreach (key, &p->unbind_nics) {
		if (hostd_dp_unbind(agent->dp, key, &diag) != 0) {
			bh_log_limited(BH_LOG_ERROR, "ports", 5, "%s", diag.text);
		} else {
			bh_counter_add(&ports_unbound, 1);
		}
	}
	hostd_dp_each_port(agent->dp, check_port, p);
	bh_vec_foreach (ifindex, &p->unbind_ports) {
		if (hostd_dp_unbind_port(agent->dp, *ifindex, &diag) != 0) {
			bh_log_limited(BH_LOG_ERROR, "ports", 5, "%s", diag.text);
		}
	}
}

/* The host's own addresses, per network number, as the NICs bound there name it. */
struct net_bridge {
	uint32_t net;
	uint32_t bridge;
};
struct net_bridges {
	BH_VEC(struct net_bridge) pairs;
};

static void collect_net(const struct hostd_dp_nic_key *key,
			const struct hostd_dp_nic_status *status, void *arg)
{
	struct net_bridges *nets = arg;
	struct net_bridge *pair;

	if (!status->net || !status->bridge) {
		return;
	}
	bh_vec_foreach (have, &nets->pairs) {
		if (have->net == status->net) {
			return;
		}
	}
	pair = bh_vec_push(&nets->pairs);
	pair->net = status->net;
	pair->bridge = status->bridge;
}

static void set_host_addrs(struct hostd_agent *agent)
{
	struct net_bridges nets = {};

	hostd_dp_each_nic(agent->dp, collect_net, &nets);
	bh_vec_foreach (pair, &nets.pairs) {
		struct hostd_link *l = hostd_links_get(agent->links, pair->bridge);
		struct bh_diag diag = {};

		/* a struct hostd_link_addr is 16 bytes and nothing else */
		if (l && hostd_dp_set_host_addrs(agent->dp, pair->net,
						 (const uint8_t(*)[16])l->addrs.items,
						 l->addrs.count, &diag) != 0) {
			bh_log_limited(BH_LOG_ERROR, "ports", 5, "addresses of %s: %s", l->name,
				       diag.text);
		}
	}
	bh_vec_done(&nets.pairs);
}

void hostd_ports_reconcile(struct hostd_agent *agent, bool whole)
{
	struct picture p = {
		.agent = agent, .whole = whole, .pass = {.whole = whole, .sliced = true}};
	struct wanted_nic *w, *next;
	struct bh_diag diag = {};

	if (hostd_dp_reap(agent->dp, &diag) < 0) {
		bh_log_limited(BH_LOG_ERROR, "ports", 5, "%s", diag.text);
	}
	if (!hostd_state_told(agent)) {
		return;
	}
	hostd_inventory_each_network(agent->inv, want_network, &p);
	bh_vec_foreach (net, &agent->config->networks) {
		want_bridge(&p, net->bridge);
	}
	hostd_inventory_each(agent->inv, bind_vm, &p);
	agent->ports->cut = p.pass.cut;
	if (p.pass.cut) {
		/* bridges wait: they cut off the NICs that are not bound */
		hostd_agent_dirty(agent);
	} else if (hostd_inventory_complete(agent->inv)) {
		bind_bridges(&p);
		unbind_rest(&p);
		find_closed(&p);
		hostd_ports_hold(agent);
	}
	set_host_addrs(agent);
	HASH_ITER (hh, p.nics, w, next) {
		HASH_DEL(p.nics, w);
		free(w);
	}
	bh_vec_done(&p.bridges);
	bh_vec_done(&p.unbind_nics);
	bh_vec_done(&p.unbind_ports);
}

void hostd_ports_tick(struct hostd_agent *agent, uint64_t now_ns)
{
	struct closed_port *c, *next;

	HASH_ITER (hh, agent->ports->closed, c, next) {
		char text[CLOSED_TEXT_SIZE];
		json_t *event;

		if (c->reported || now_ns - c->since_ns < CLOSED_AFTER_NS) {
			continue;
		}
		c->reported = true;
		if (!hostd_told_fact(agent, "closed", closed_text(c, text))) {
			continue;
		}
		bh_counter_add(&ports_closed, 1);
		bh_log(BH_LOG_WARN, "ports",
		       "%s on bridge %s is neither a VM's NIC nor an uplink: it is closed", c->name,
		       c->bridge_name);
		event = hostd_agent_event_new("nic.closed", BH_SEVERITY_WARNING);
		json_object_set_new(event, "dev", json_string(c->name));
		json_object_set_new(event, "bridge", json_string(c->bridge_name));
		json_object_set_new(
			event, "reason",
			json_string("a port of a protected bridge that is neither a known VM's NIC "
				    "nor an uplink; name it in `uplinks` of hostd.yaml if it is "
				    "one"));
		hostd_agent_event(agent, event);
	}
}

static void port_json(const struct hostd_dp_port *port, void *arg)
{
	static const char *const kinds[] = {
		[BH_PORT_NIC] = "nic", [BH_PORT_UPLINK] = "uplink", [BH_PORT_BRIDGE] = "bridge"};
	struct {
		struct hostd_agent *agent;
		json_t *list;
	} *ctx = arg;
	struct hostd_link *l = hostd_links_get(ctx->agent->links, port->ifindex);
	struct hostd_link *br = hostd_links_get(ctx->agent->links, port->port.bridge);
	uint32_t kind = port->port.kind;

	json_array_append_new(
		ctx->list,
		json_pack("{s:s, s:i, s:s, s:s}", "dev", l ? l->name : "", "ifindex",
			  (int)port->ifindex, "kind",
			  kind < BH_ARRAY_SIZE(kinds) && kinds[kind] ? kinds[kind] : "unknown",
			  "bridge", br ? br->name : ""));
}

json_t *hostd_ports_json(struct hostd_agent *agent)
{
	struct {
		struct hostd_agent *agent;
		json_t *list;
	} ctx = {agent, json_array()};
	struct closed_port *c, *next;

	hostd_dp_each_port(agent->dp, port_json, &ctx);
	HASH_ITER (hh, agent->ports->closed, c, next) {
		json_array_append_new(ctx.list, json_pack("{s:s, s:i, s:s, s:s}", "dev", c->name,
							  "ifindex", (int)c->ifindex, "kind",
							  "closed", "bridge", c->bridge_name));
	}
	return ctx.list;
}
