# SPDX-License-Identifier: Apache-2.0
"""Two hosts whose bridge is joined by VXLAN: the uplink is a tunnel, the verdicts are the same."""
import os

import pytest

from conftest import BASE_POLICY, add_guest, apply, start_servers
from helpers import holds, magic, quiet, wait_flow, wait_guard
from labkit.lab import Lab
from labkit.migrate import migrate
from labkit.sniff import Sniffer
from moving import refused_frames


@pytest.fixture(scope="module")
def tunnel():
    lab = Lab(f"vx{os.getpid()}", hosts=2, join="vxlan")
    try:
        lab.up(nat=False, bulkhead=True)
        lab.manager.start_all()
        apply(lab, BASE_POLICY)
        guests = [add_guest(lab, *one) for one in (("web", 1, 11, "shop", "web"), ("db", 2, 12, "shop", "db"),
                                                   ("evil", 1, 66, "rival", "web"))]
        lab.start_guests(*guests)
        for guest in guests:
            start_servers(guest)
        lab.manager.wait_in_sync()
        yield lab
    finally:
        lab.down()


def test_allowed_and_refused_through_the_tunnel(tunnel):
    web, db, evil = (tunnel.guests[n] for n in ("web", "db", "evil"))
    since = tunnel.manager.last_event()
    assert web.tcp(db.address, 3306) == "connected" and web.tcp(db.address6, 3306) == "connected"
    assert web.udp(db.address, 53, size=6000) == "connected"
    assert evil.tcp(db.address, 3306, timeout_ms=800) == "timeout"
    refused = wait_flow(tunnel, "flow.refused", evil, db, since, dport=3306)
    assert refused["host"] == "h2" and "implicit deny" in refused["rule_text"]
    web.flow("long", db.address, 3306)
    holds(web, "long", more=20)
    web.stop("long")


def test_spoof_does_not_enter_the_tunnel(tunnel):
    from scapy.all import Ether, IP, Raw, UDP
    web, db, evil = (tunnel.guests[n] for n in ("web", "db", "evil"))
    since, mark = tunnel.manager.last_event(), magic()
    db.capture("spoof", match=mark)
    evil.send(Ether(src=evil.mac, dst=db.mac) / IP(src=web.address, dst=db.address) / UDP(sport=999, dport=53) / Raw(mark), count=3)
    quiet()
    assert db.stop("spoof")["matched"] == 0
    wait_guard(tunnel, evil, r"spoof.ip4", since)


def test_a_vm_moves_along_the_tunnel(tunnel):
    """Its peer is at the other end of the tunnel before the move, on the same host after it, and the other way round."""
    web, db, evil = (tunnel.guests[n] for n in ("web", "db", "evil"))
    mark = magic()
    frames = [f.hex() for f in refused_frames(evil.address, evil.mac, mark, db)]
    watched = [Sniffer(host, "vnet*", mark, outgoing=True) for host in tunnel.hosts]
    with watched[0], watched[1]:
        for name, proto, port in (("tcp", "tcp", 3306), ("udp", "udp", 53), ("icmp", "icmp", 0)):
            web.flow(name, db.address, port, proto=proto, timeout_ms=30000 if proto == "tcp" else 300)
        web.flow("tcp6", db.address6, 3306, timeout_ms=30000)
        evil.call("flood", name="flood", frames=frames, count=1 << 30, interval_us=4000)
        for target in (tunnel.host(1), tunnel.host(2)):
            migrate(db, target, mib_per_s=32)
            for name in ("tcp", "tcp6", "udp", "icmp"):
                now = web.answers(name)
                assert not now["done"] and now["connects"] <= 1, (name, now)
            tunnel.manager.wait_in_sync()
            assert tunnel.manager.vm("db")["host"] == target.name
        assert evil.stop("flood")["sent"] > 100
        for name in ("tcp", "tcp6", "udp", "icmp"):
            web.stop(name)
    assert not watched[0].frames and not watched[1].frames, "a refused packet was delivered"
