# SPDX-License-Identifier: Apache-2.0
"""Migrations while the manager is away: refused with the condition that failed, or allowed by a policy and by what the
manager had signed; and everything that it finds when it comes back."""
import json

from conftest import apply
from labkit import util
from moving import POLICY, Crossing, pause

ALLOW = POLICY + """
---
kind: Policy
metadata: {name: alone, tenant: shop}
spec:
  selector: {matchLabels: {role: mover}}
  migration: {withoutManager: allow}
"""
GRANT = "/var/lib/bulkhead/host/grant.json"


def signed(yard, host):
    return yard.hostd(host, "status")["without_manager"]


def started_again(yard, host):
    """The engine was killed: its socket is there before it answers."""
    yard.world.manager.start_hostd(host)

    def answers():
        try:
            return signed(yard, host)
        except util.LabError:
            return None
    util.wait_until(f"hostd of {host.name}", answers, 20, 0.1)


def allowed(yard, text=ALLOW):
    """The policy that allows it is in force, and both hosts hold what the manager signed for it."""
    world = yard.world
    apply(world, text)
    revision = world.manager.status()["revision"]
    for host in world.hosts:
        util.wait_until(f"a current grant of {host.name}", lambda h=host: signed(yard, h)["current"] and
                        signed(yard, h)["revision"] == revision, 20, 0.2)


def closed_events(yard, since):
    return [e for e in yard.world.manager.events("--since", "600s") if e["id"] > since and
            e["type"] in ("nic.closed", "nic.unprotected") and e.get("vm_name") == yard.mover.name]


def test_refused_by_default(yard):
    manager = yard.world.manager
    since = manager.last_event()
    with Crossing(yard, swarm=0) as crossing:
        manager.daemon.kill()
        move = yard.vetoed(yard.begin(), "the manager is away", f"{yard.other().name} holds nothing that the manager signed")
        crossing.check()
        manager.start_manager()
        manager.wait_in_sync(60)
        told = manager.wait_event(lambda e: e["type"] == "migration.refused" and e.get("vm") == yard.mover.uuid and
                                  e["id"] > since, ("--since", "600s"), what="migration.refused")
        assert "the manager is away" in told["reason"]
        assert yard.vm()["host"] == move.source.name
        yard.moved(yard.migrate())  # and with it, it goes
        crossing.check()


def test_allowed(yard):
    world, manager = yard.world, yard.world.manager
    allowed(yard)
    since = manager.last_event()
    with Crossing(yard, swarm=10) as crossing:
        manager.daemon.kill()
        move = yard.migrate(mib_per_s=32)
        assert yard.runs_on(yard.mover, move.to) and not yard.runs_on(yard.mover, move.source)
        crossing.check()
        pause(3)  # hosts try in vain to say it
        manager.start_manager()
        manager.wait_in_sync(60)
        last = yard.wait_ended(timeout=40)
        assert last["state"] == "done" and (last["source"], last["target"]) == (move.source.name, move.to.name), last
        steps = [s["step"] for s in last["steps"]]
        assert steps[0] == "alone" and "moved" in steps, steps
        util.wait_until("the manager knows the host", lambda: yard.vm()["host"] == move.to.name, 15, 0.2)
        manager.wait_in_sync(60)
        assert all(n["protected"] for n in yard.vm()["nics"])
        yard.nothing_of(yard.mover, move.source)
        manager.wait_event(lambda e: e["type"] == "vm.migrated" and e.get("migration") == last["id"], ("--since", "600s"),
                           what="vm.migrated")
        told = manager.wait_event(lambda e: e["type"] == "migration.allowed" and e.get("migration") == last["id"],
                                  ("--since", "600s"), what="migration.allowed")
        assert told["without_manager"]
        crossing.check()
        for host in world.hosts:
            util.wait_until(f"{host.name} with nothing to tell", lambda h=host: not signed(yard, h)["moves"], 20, 0.2)
        yard.moved(yard.migrate())  # back, with the manager
        crossing.check()
    assert not closed_events(yard, since)


def test_two_in_a_row_and_hostd_restarts(yard, temporary):
    """What came while the manager is away outlives the target's engine, and a second VM may follow."""
    world, manager = yard.world, yard.world.manager
    first = yard.mover
    second = temporary(first.host.guest("mover2", address="10.78.0.35/24", tenant="shop", labels={"role": "mover"}))
    second.serve(3306)
    allowed(yard)
    since = manager.last_event()
    web = world.guests["web"]
    web.flow("second", second.address, 3306, timeout_ms=30000)
    with Crossing(yard, swarm=0) as crossing:
        manager.daemon.kill()
        move = yard.migrate()
        manager.hostd(move.to).kill()
        started_again(yard, move.to)
        crossing.check()
        assert yard.runs_on(first, move.to)
        yard.migrate(guest=second)
        assert yard.runs_on(second, move.to)
        crossing.check()
        now = web.answers("second")
        assert not now["done"] and now["connects"] == 1, now
        manager.start_manager()
        manager.wait_in_sync(60)
        for guest in (first, second):
            assert yard.wait_ended(guest, timeout=40)["state"] == "done"
            util.wait_until("the manager knows the host", lambda g=guest: yard.vm(g)["host"] == move.to.name, 15, 0.2)
        manager.wait_in_sync(60)
        crossing.check()
        yard.moved(yard.migrate())
    web.stop("second")
    assert not closed_events(yard, since)


def test_forged_grant(yard):
    """What the manager did not sign is worth nothing, whatever it says."""
    manager = yard.world.manager
    allowed(yard)
    target = yard.other()
    manager.daemon.kill()
    manager.hostd(target).kill()
    kept = target.sh(f"cat {GRANT}")
    grant = json.loads(kept)
    text = json.loads(grant["text"])
    text["until"] += 86400
    grant["text"] = json.dumps(text, sort_keys=True, separators=(",", ":"))
    util.write(f"{target.dir}/grant.json", json.dumps(grant))
    target.sh(f"cp {target.dir}/grant.json {GRANT}")
    started_again(yard, target)
    yard.vetoed(yard.begin(), "holds nothing that the manager signed")
    manager.start_manager()
    manager.wait_in_sync(60)
    util.wait_until("another grant", lambda: signed(yard, target)["current"], 20, 0.2)


def test_grant_goes_with_the_policy(yard):
    """A policy that allows it no more takes the grants back, before the manager goes."""
    manager = yard.world.manager
    allowed(yard)
    apply(yard.world, POLICY)
    for host in yard.world.hosts:
        util.wait_until(f"{host.name} without a grant", lambda h=host: not signed(yard, h)["revision"], 20, 0.2)
    manager.daemon.kill()
    yard.vetoed(yard.begin(), "the manager is away", "holds nothing that the manager signed")


def test_not_where_placement_forbids(yard):
    manager = yard.world.manager
    here = yard.mover.host
    manager.cli("host", "label", here.name, "zone=pci")
    try:
        allowed(yard, ALLOW + "  placement: {hosts: {matchLabels: {zone: pci}}}\n")
        manager.daemon.kill()
        yard.vetoed(yard.begin(), "the manager is away", f"did not allow host {yard.other().name}")
        manager.start_manager()
    finally:
        manager.cli("host", "label", here.name, "zone-", check=False)
