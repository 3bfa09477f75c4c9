# SPDX-License-Identifier: Apache-2.0
"""A migration that is refused, cancelled, or loses a program half-way: the VM runs, here or there, with its connections,
and whoever may not reach it does not."""
import os
import random

import pytest

from conftest import apply
from labkit import util
from moving import POLICY, Crossing, pause

SLOW = 3    # MiB/s: half-way lasts
FAST = 400  # to the end


# ---- ended by people -----------------------------------------------------------------------------
def test_cancelled_half_way(yard):
    with Crossing(yard, swarm=10) as crossing:
        move = yard.begin(mib_per_s=SLOW).half_way()
        pause(1)
        assert move.abort().wait(check=False), "virsh says that the VM has moved"
        crossing.check()
        yard.stayed(move, "failed")
        yard.moved(yard.migrate())  # a second attempt is not in the way of the first
        crossing.check()


# ---- the target dies -----------------------------------------------------------------------------
@pytest.mark.parametrize("victim", ["qemu", "libvirtd"])
def test_target_killed_half_way(yard, victim):
    with Crossing(yard, swarm=10) as crossing:
        move = yard.begin(mib_per_s=SLOW).half_way()
        path = "/usr/sbin/libvirtd" if victim == "libvirtd" else os.path.realpath("/usr/bin/qemu-system-x86_64")
        pids = move.to.pids_of(path)
        if victim == "qemu":
            pids = [p for p in pids if "guest=mover," in move.to.sh(f"tr '\\0' ' ' < /proc/{p}/cmdline")]
        assert pids
        for pid in pids:
            move.to.run("kill", "-9", pid)
        if victim == "libvirtd":
            move.speed(FAST)  # QEMU sends to QEMU without it; what fails is to make it run there
        assert move.wait(check=False), "virsh says that the VM has moved"
        if victim == "libvirtd":
            move.to.start_libvirt()
        crossing.check()
        yard.stayed(move, "failed", timeout=60)
        yard.moved(yard.migrate())
        crossing.check()


# ---- our programs die ----------------------------------------------------------------------------
def kill(yard, move, victim):
    """kill -9, and some time later it is started again, as systemd does."""
    manager = yard.world.manager
    if victim == "manager":
        manager.daemon.kill()
        pause(random.uniform(0.2, 1.5))
        manager.start_manager()
    elif victim == "bus":
        nats = os.path.realpath("/usr/sbin/nats-server")
        pids = manager.pids_of(nats)
        for pid in pids:
            manager.run("kill", "-9", pid)
        util.wait_until("a new nats-server", lambda: set(manager.pids_of(nats)) - set(pids), 30)
    else:
        host = move.source if victim == "source-hostd" else move.to
        manager.hostd(host).kill()
        pause(random.uniform(0.2, 1.5))
        manager.start_hostd(host)


@pytest.mark.parametrize("victim", ["source-hostd", "target-hostd", "manager", "bus"])
def test_killed_half_way_and_started_anew(yard, victim):
    """The migration goes on; connections that open before, during and after it arrive."""
    with Crossing(yard, swarm=15) as crossing:
        move = yard.begin(mib_per_s=SLOW).half_way()
        kill(yard, move, victim)
        yard.world.manager.wait_in_sync(60)
        pause(1)
        move.speed(FAST).wait()
        yard.moved(move)
        crossing.check()


@pytest.mark.parametrize("victim", ["source-hostd", "manager"])
def test_killed_half_way_and_away_until_it_is_over(yard, victim):
    """Nobody is there to say the end: what is known at the target stands, and nothing refused slips through."""
    manager = yard.world.manager
    since = manager.last_event()
    with Crossing(yard, swarm=0) as crossing:
        move = yard.begin(mib_per_s=SLOW).half_way()
        pause(1)
        daemon = manager.daemon if victim == "manager" else manager.hostd(move.source)
        daemon.kill()
        move.speed(FAST).wait()
        crossing.check()
        if victim == "manager":
            manager.start_manager()
        else:
            manager.wait_event(lambda e: e["type"] == "migration.cut" and e["id"] > since, ("--since", "600s"), what="migration.cut")
            manager.start_hostd(move.source)
        manager.wait_in_sync(60)
        yard.moved(move, ended=() if victim == "manager" else ("cut",))
        crossing.check()


def test_bus_cut_half_way(yard):
    """The target hears nothing of anybody from the middle of the copy until after the end."""
    with Crossing(yard, swarm=0) as crossing:
        move = yard.begin(mib_per_s=SLOW).half_way()
        port = "tcp dport 4222 drop; "
        move.to.sh("nft 'add table inet cut; add chain inet cut out { type filter hook output priority 0; }; "
                   f"add rule inet cut out {port}'")
        try:
            move.speed(FAST).wait()
            crossing.check()
        finally:
            move.to.sh("nft 'delete table inet cut'")
        yard.world.manager.wait_in_sync(60)
        yard.moved(move, ended=())
        crossing.check()


# ---- none of ours is asked -----------------------------------------------------------------------
@pytest.mark.parametrize("first", ["source", "target"])
def test_moved_while_both_engines_were_away(yard, first):
    """libvirt alone moves it. Whichever host speaks first afterwards, the VM is known where it is, and protected there."""
    manager, mover = yard.world.manager, yard.mover
    web, web2, evil = (yard.world.guests[n] for n in ("web", "web2", "evil"))
    since = manager.last_event()
    for host in yard.world.hosts:
        manager.hostd(host).stop()
        yard.hook(host, False)
    move = yard.migrate()

    def known_at(*hosts):
        return {vm["host"] for vm in manager.json("vm", "list")["items"] if vm["name"] == mover.name} == {h.name for h in hosts}
    manager.start_hostd(move.source if first == "source" else move.to)
    if first == "source":
        util.wait_until("the source's word that it has gone", lambda: known_at(), 30, 0.1)
    else:
        manager.wait_event(lambda e: e["type"] == "host.conflict" and e["id"] > since, ("--since", "600s"), what="host.conflict")
    manager.start_hostd(move.to if first == "source" else move.source)
    util.wait_until("the manager to know where it is", lambda: known_at(move.to), 20, 0.1)
    manager.wait_in_sync()
    assert all(nic["protected"] for nic in yard.vm()["nics"])
    yard.nothing_of(mover, move.source)
    # QEMU announced it while its NIC was closed: switches learn its place from what it sends
    assert [mover.tcp(peer.address, 7000) for peer in (web, web2)] == ["connected"] * 2
    assert [peer.tcp(mover.address, 3306) for peer in (web, web2)] == ["connected"] * 2
    assert web.tcp(mover.address, 22, timeout_ms=800) == "timeout" and evil.tcp(mover.address, 3306, timeout_ms=800) == "timeout"


# ---- refused -------------------------------------------------------------------------------------
def refused(yard, *words):
    """An attempt fails at once and says why, to virsh, in the record and in an event; connections do not notice."""
    with Crossing(yard, flood=False, swarm=0) as crossing:
        yard.refused(yard.vetoed(yard.begin(), *words), *words)
        crossing.check()


@pytest.fixture
def host_labels(yard):
    """Labels of hosts for one test."""
    manager = yard.world.manager
    set_on = []

    def put(host, text):
        manager.cli("host", "label", host.name, text)
        set_on.append((host, text.split("=")[0]))
    yield put
    for host, key in set_on:
        manager.cli("host", "label", host.name, f"{key}-", check=False)


def test_refused_by_maintenance(yard):
    to = yard.other()
    yard.world.manager.cli("host", "maintenance", to.name, "on")
    try:
        refused(yard, f"host {to.name} ", "maintenance")
    finally:
        yard.world.manager.cli("host", "maintenance", to.name, "off")
    yard.moved(yard.migrate())


PLACEMENT = POLICY + """
---
kind: Policy
metadata: {name: place, tenant: shop}
spec:
  selector: {matchLabels: {role: mover}}
  placement:
    hosts: {matchLabels: {zone: pci}}
"""


def test_refused_by_placement(yard, host_labels):
    here, to = yard.mover.host, yard.other()
    host_labels(here, "zone=pci")
    host_labels(to, "zone=dmz")
    apply(yard.world, PLACEMENT)
    try:
        refused(yard, "placement of policy shop/place", "zone=pci", "zone=dmz")
        host_labels(to, "zone=pci")
        yard.moved(yard.migrate())
    finally:
        apply(yard.world, POLICY)


def test_refused_without_the_target_hostd(yard):
    to = yard.other()
    yard.world.manager.hostd(to).stop()
    with Crossing(yard, flood=False, swarm=0) as crossing:
        yard.vetoed(yard.begin(to), "hostd is not running")
        crossing.check()
    yard.world.manager.start_hostd(to)
    yard.world.manager.wait_in_sync(60)
    yard.moved(yard.migrate())


def test_refused_without_the_source_hostd(yard):
    """Nobody can say which connections there are: the VM stays with them."""
    source = yard.mover.host
    yard.world.manager.hostd(source).stop()
    yard.vetoed(yard.begin(), f"host {source.name}, on which VM mover runs, ")
    yard.world.manager.start_hostd(source)
    yard.world.manager.wait_in_sync(60)
    yard.moved(yard.migrate())
