# SPDX-License-Identifier: Apache-2.0
"""Two hosts whose bridge is joined by VXLAN: the uplink is a tunnel, the verdicts are the same."""
import os

import pytest

from conftest import BASE_POLICY, add_guest, apply, start_servers
from helpers import holds, magic, quiet, wait_flow, wait_guard
from labkit.lab import Lab


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
