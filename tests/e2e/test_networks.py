# SPDX-License-Identifier: Apache-2.0
"""Networks are apart: bridges, VLANs, libvirt's NAT; equal addresses do not meet."""
import pytest

from conftest import BASE_POLICY, start_servers
from helpers import holds, magic, quiet, wait_flow
from labkit import util
from labkit.guest import Nic

RIVAL_DB = """
---
kind: Policy
metadata: {name: twin, tenant: rival}
spec:
  selector: {matchLabels: {role: db}}
  ingress:
    - {name: ssh-only, ports: [tcp/22]}
"""


def test_same_addresses_on_two_bridges(world, policy, temporary):
    """db of shop allows 3306 and its twin on br1 allows 22: same addresses, same ports at the same time."""
    web, db = world.guests["web"], world.guests["db"]
    host = world.host(1)
    host.sh("ip link add br1 type bridge forward_delay 0; ip link set br1 up")
    policy(BASE_POLICY + RIVAL_DB)
    web_b = host.guest("web-b", address=f"{web.address}/24", tenant="rival", labels={"role": "web"}, bridge="br1")
    db_b = host.guest("db-b", address=f"{db.address}/24", tenant="rival", labels={"role": "db"}, bridge="br1")
    temporary(web_b, db_b)
    start_servers(db_b)
    since = world.manager.last_event()
    web.flow("one", db.address, 3306, sport=40001)
    assert web_b.tcp(db.address, 3306, sport=40001, timeout_ms=800) == "timeout"
    web_b.flow("two", db.address, 22, sport=40002)
    assert web.tcp(db.address, 22, sport=40002, timeout_ms=800) == "timeout"
    holds(web, "one")
    holds(web_b, "two")
    one = wait_flow(world, "flow.refused", web, db, since, dport=22)
    two = wait_flow(world, "flow.refused", web_b, db_b, since, dport=3306)
    assert one["net"] != two["net"] and one["dst_vm"] == "db" and two["dst_vm"] == "db-b"
    web.stop("one")
    keys = {n["key"] for n in world.manager.json("network", "list")["items"]}
    assert {"bridge/br0", "bridge/br1"} <= keys


def vlan_guest(world, name, host, number, vlan):
    nic = Nic(f"52:54:00:bb:00:{number:02x}", addresses=[f"10.79.0.{number}/24"], flags={"vlans": str(vlan)})
    return world.host(host).guest(name, nics=[nic], tenant="shop", labels={"role": "db" if number % 2 else "web"})


def test_vlans_divide_a_bridge(world, temporary):
    guests = [vlan_guest(world, "v1", 1, 2, 10), vlan_guest(world, "v2", 2, 3, 10), vlan_guest(world, "v3", 2, 5, 11)]
    temporary(*guests)
    one, two, three = guests
    for guest, vlan, number in ((one, 10, 2), (two, 10, 3), (three, 11, 5)):
        guest.sh(f"ip link add link eth0 name eth0.{vlan} type vlan id {vlan}; ip link set eth0.{vlan} up; "
                 f"ip addr add 10.79.0.{number}/24 dev eth0.{vlan}")
        start_servers(guest)
    world.manager.wait_in_sync()
    since = world.manager.last_event()
    assert one.tcp("10.79.0.3", 3306) == "connected"
    assert one.tcp("10.79.0.3", 22, timeout_ms=800) == "timeout"
    assert one.tcp("10.79.0.5", 3306, timeout_ms=800) in ("timeout", "unreachable")
    assert wait_flow(world, "flow.refused", "10.79.0.2", "10.79.0.3", since, dport=22)["vlan"] in (10, 10 << 16)


@pytest.fixture
def nat_guest(world, policy, temporary):
    if world.nat_missing:
        pytest.skip(f"libvirt's NAT network cannot start here: {world.nat_missing}")
    policy(BASE_POLICY)
    guest = world.host(1).guest("natted", network="default", tenant="shop", labels={"role": "web"})
    return temporary(guest)


def test_nat_network_dhcp_dns_gateway_world(world, nat_guest):
    since = world.manager.last_event()
    out = nat_guest.sh("udhcpc -i eth0 -n -q -f -t 8 2>&1")
    assert "lease of 192.168.122." in out
    address = out.split("lease of ")[1].split()[0]
    learned = world.manager.wait_event(lambda e: e["type"] == "dhcp.learned" and e["id"] > since and
                                       e.get("address") == address, what="dhcp.learned")
    assert learned.get("vm") == nat_guest.uuid
    assert nat_guest.ping("192.168.122.1")
    assert "192.168.122.1" in nat_guest.sh("nslookup gateway.lab 192.168.122.1")
    assert nat_guest.ping("192.0.2.1"), "the world behind NAT"
    vm = world.manager.vm("natted")
    assert vm["nics"][0]["network"] == "host/h1/net/default" and address in vm["nics"][0]["addresses"]
    # another address than the one that was learned is not its own
    nat_guest.sh("ip addr flush dev eth0; ip addr add 192.168.122.77/24 dev eth0")
    assert not nat_guest.ping("192.168.122.1", timeout_ms=800)


def test_before_its_lease_a_nic_sends_nothing_but_dhcp(world, nat_guest):
    nat_guest.sh("ip addr add 192.168.122.78/24 dev eth0")
    assert not nat_guest.ping("192.168.122.1", timeout_ms=800)


def test_nat_network_under_a_policy(world, nat_guest, policy):
    nat_guest.sh("udhcpc -i eth0 -n -q -f -t 8 2>&1")
    policy(BASE_POLICY + """
---
kind: Policy
metadata: {name: closed, tenant: shop}
spec:
  selector: {matchLabels: {role: web}}
  egress:
    - {name: nothing-but-ssh, ports: [tcp/22]}
""")
    assert nat_guest.ping("192.168.122.1"), "built in: ping to the host"
    assert not nat_guest.ping("192.0.2.1", timeout_ms=800)


WITHOUT_NAT = """<network><name>{name}</name>{forward}<bridge name='vb-{name}' stp='off' delay='0'/>
<dns><host ip='10.91.7.1'><hostname>gateway.lab</hostname></host></dns>
<ip address='10.91.7.1' netmask='255.255.255.0'><dhcp><range start='10.91.7.100' end='10.91.7.150'/></dhcp></ip>
</network>"""


@pytest.fixture(params=["route", "open", "isolated"])
def network_without_nat(world, request):
    """A libvirt network whose addresses the world routes to (or that has no way out); its name."""
    host, name = world.host(1), request.param
    if world.nat_missing:
        pytest.skip(f"libvirt's networks cannot start here: {world.nat_missing}")
    forward = "" if name == "isolated" else f"<forward mode='{name}'/>"
    util.write(f"{host.dir}/{name}.xml", WITHOUT_NAT.format(name=name, forward=forward))
    host.virsh("net-define", f"{host.dir}/{name}.xml")
    host.virsh("net-start", name)
    world.manager.sh(f"ip route replace 10.91.7.0/24 via {host.address}")
    yield name
    world.manager.sh("ip route del 10.91.7.0/24")
    host.virsh("net-destroy", name)
    host.virsh("net-undefine", name)


def world_connects(world, address, port):
    """From a machine outside of every protected host."""
    return world.manager.run("timeout", "2", "bash", "-c", f": < /dev/tcp/{address}/{port}", check=False).returncode == 0


def test_networks_without_nat(world, network_without_nat, temporary):
    """DHCP, DNS and gateway come from the host; what is routed is judged both ways."""
    name = network_without_nat
    guest = temporary(world.host(1).guest(f"on-{name}", network=name, tenant="shop", labels={"role": "web"}))
    out = guest.sh("udhcpc -i eth0 -n -q -f -t 8 2>&1")
    assert "lease of 10.91.7." in out
    address = out.split("lease of ")[1].split()[0]
    assert guest.ping("10.91.7.1")
    assert "Address: 10.91.7.1" in guest.sh("nslookup -type=a gateway.lab 10.91.7.1")
    nic = world.manager.vm(guest.name)["nics"][0]
    assert nic["network"] == f"host/h1/net/{name}" and nic["protected"]
    guest.serve(80, mode="http")
    guest.serve(22)
    routed = name != "isolated"
    assert guest.ping("192.0.2.1", timeout_ms=2000 if routed else 500) == routed
    assert world_connects(world, address, 80) == routed
    assert not world_connects(world, address, 22)


def test_unprotected_nics_say_why(world, temporary):
    """User-mode networking has no port on the host: shown, with the reason."""
    guest = world.host(1).guest("slirp", tenant="shop", labels={"role": "web"}, birth="open", nics=[UserNic()])
    done = guest.host.virsh("start", "slirp", check=False)
    try:
        if done.returncode:
            assert "protect" in done.stderr.lower() or "user" in done.stderr.lower()
            return
        nics = util.wait_until("slirp in the inventory", lambda: world.manager.vm("slirp")["nics"], 15)
        assert not nics[0]["protected"] and nics[0]["reason"]
    finally:
        guest.remove()


class UserNic(Nic):
    def __init__(self):
        super().__init__("52:54:00:bb:00:77")

    def xml(self):
        return f"<interface type='user'><mac address='{self.mac}'/><model type='virtio'/></interface>"


def test_two_guests_swap_nothing_through_multicast(world):
    """Multicast and broadcast are judged at the source: what leaves arrives, what is refused never leaves."""
    from scapy.all import Ether, IP, Raw, UDP
    web, db = world.guests["web"], world.guests["db"]
    mark = magic()
    db.capture("mcast", match=mark)
    web.send(Ether(src=web.mac, dst="01:00:5e:00:00:fb") / IP(src=web.address, dst="224.0.0.251", ttl=1) / UDP(dport=5353) / Raw(mark))
    quiet()
    assert db.stop("mcast")["matched"] == 1
