# SPDX-License-Identifier: Apache-2.0
"""DHCP on a plain bridge, with a server that is no guest: what is learned, from whom, and how it ends."""
import contextlib

import pytest

from helpers import quiet
from labkit import util

SERVER = """
import os, sys
from scapy.all import *
conf.verb = 0
give, mac = sys.argv[1], get_if_hwaddr("lan")

def answer(p):
    kind = dict(o for o in p[DHCP].options if isinstance(o, tuple)).get("message-type")
    if kind not in (1, 3):
        return
    sendp(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / IP(src="10.78.0.100", dst="255.255.255.255") /
          UDP(sport=67, dport=68) /
          BOOTP(op=2, xid=p[BOOTP].xid, yiaddr=give, siaddr="10.78.0.100", chaddr=p[BOOTP].chaddr) /
          DHCP(options=[("message-type", "offer" if kind == 1 else "ack"), ("server_id", "10.78.0.100"),
                        ("lease_time", 3600), ("subnet_mask", "255.255.255.0"), "end"]), iface="lan")

sniff(iface="lan", filter="udp dst port 67", prn=answer, store=0, started_callback=lambda: print("ready", os.getpid(), flush=True))
"""
ACK = """
from scapy.all import *
conf.verb = 0
sendp(Ether(src=get_if_hwaddr("lan"), dst="{mac}") / IP(src="10.78.0.100", dst="{give}") / UDP(sport=67, dport=68) /
      BOOTP(op=2, xid={xid}, yiaddr="{give}", siaddr="10.78.0.100", chaddr=bytes.fromhex("{raw}")) /
      DHCP(options=[("message-type", "ack"), ("server_id", "10.78.0.100"), ("lease_time", 3600), "end"]), iface="lan")
"""


@contextlib.contextmanager
def server(world, give):
    path, out = f"{world.switch.dir}/dhcpd.py", f"{world.switch.dir}/dhcpd.out"
    util.write(path, SERVER)
    process = world.switch.start("/usr/bin/python3", path, give, log=out)
    try:
        util.wait_until("the DHCP server", lambda: "ready" in util.read(out), 15)
        yield
    finally:
        world.switch.run("kill", "-9", util.read(out).split()[-1], check=False)
        process.wait(10)


@pytest.fixture(scope="module")
def clients(world):
    """Two guests without an address: one of tenant shop, one of tenant rival."""
    guests = [world.host(1).guest(name, tenant=tenant, labels={"role": "web"})
              for name, tenant in (("lease-s", "shop"), ("lease-r", "rival"))]
    world.start_guests(*guests)
    yield guests
    for guest in guests:
        guest.remove()


def addresses(world, guest):
    return world.manager.vm(guest.name)["nics"][0]["addresses"]


def wait_dhcp(world, guest, kind, address, since):
    return world.manager.wait_event(
        lambda e: e["type"] == f"dhcp.{kind}" and e["id"] > since and e.get("vm") == guest.uuid and
        e.get("address") == address, ("--since", "600s"), what=f"dhcp.{kind} {address} of {guest.name}")


def test_a_lease_and_its_release(world, clients):
    """Learned from the answer to an own question; given back it is the next one's, of whichever tenant."""
    first, second = clients
    db, since = world.guests["db"], world.manager.last_event()
    with server(world, "10.78.0.150"):
        assert "lease of 10.78.0.150" in first.sh("udhcpc -i eth0 -n -q -f -t 8 2>&1")
        wait_dhcp(world, first, "learned", "10.78.0.150", since)
        assert first.ping(db.address)
        util.wait_until("the lease at the manager", lambda: "10.78.0.150" in addresses(world, first), 15)
        first.sh("udhcpc -i eth0 -n -t 8 -p /tmp/dhcp.pid 2>&1")
        release = "kill -USR2 $(cat /tmp/dhcp.pid)"  # it writes that file when it is in the background, after this one is back
        util.wait_until("the client's release", lambda: first.call("sh", cmd=release)["rc"] == 0, 10, 0.2)
        wait_dhcp(world, first, "released", "10.78.0.150", since)
        first.sh("kill $(cat /tmp/dhcp.pid)")
        util.wait_until("the release at the manager", lambda: "10.78.0.150" not in addresses(world, first), 15)
        world.manager.wait_in_sync()
        assert not first.ping(db.address, timeout_ms=800), "it sends from an address that it gave back"
        assert "lease of 10.78.0.150" in second.sh("udhcpc -i eth0 -n -q -f -t 8 2>&1")
    wait_dhcp(world, second, "learned", "10.78.0.150", since)
    assert not [e for e in world.manager.events("--since", "60s") if e["id"] > since and e["type"] in
                ("policy.failed", "host.drift")], "a lease is no trouble"
    assert not second.ping(db.address, timeout_ms=800), "of tenant rival"
    assert second.tcp(world.guests["web"].address, 80) == "connected"


def test_a_server_cannot_give_away_what_a_vm_has(world, clients):
    guest, db, web = clients[0], world.guests["db"], world.guests["web"]
    since = world.manager.last_event()
    with server(world, db.address):
        guest.sh("udhcpc -i eth0 -n -q -f -t 8 2>&1", check=False)
    refused = wait_dhcp(world, guest, "refused", db.address, since)
    assert refused["vm_name"] == guest.name
    assert not guest.ping(web.address, timeout_ms=800)
    assert db.address not in addresses(world, guest) and db.address in addresses(world, db)
    assert web.tcp(db.address, 3306) == "connected"


def test_answers_without_a_question_teach_nothing(world, clients):
    guest, since = clients[0], world.manager.last_event()
    for xid in (0, 1, 0x12345678):
        world.switch.run("/usr/bin/python3", "-c", ACK.format(mac=guest.mac, raw=guest.mac.replace(":", ""), xid=xid,
                                                              give="10.78.0.151"))
    quiet()
    assert "10.78.0.151" not in addresses(world, guest)
    assert not [e for e in world.manager.events("--since", "60s") if e["id"] > since and e["type"] == "dhcp.learned"]
    guest.sh("ip addr flush dev eth0; ip addr add 10.78.0.151/24 dev eth0")
    assert not guest.ping(world.guests["db"].address, timeout_ms=800)
