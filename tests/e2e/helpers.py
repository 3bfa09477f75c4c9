# SPDX-License-Identifier: Apache-2.0
"""What several tests ask of the world."""
import re
import time
import uuid

from labkit import util

NO = ("timeout", "refused", "unreachable", "reset")


def magic():
    """Bytes that no other frame holds."""
    return b"BH" + uuid.uuid4().bytes


def wait_flow(world, kind, source, target, since_id=0, **fields):
    """The newest flow record of that type between two guests (or addresses)."""
    src, dst = (getattr(x, "address", x) for x in (source, target))

    def wanted(event):
        return (event["type"] == kind and event.get("src") == src and event.get("dst") == dst and
                event["id"] > since_id and all(event.get(k) == v for k, v in fields.items()))
    return world.manager.wait_event(wanted, ("--since", "600s"), what=f"{kind} {src} -> {dst} {fields}")


def wait_guard(world, guest, kind, since_id):
    """A guard event of that guest; kind is a regular expression for what follows `guard.`."""
    def wanted(event):
        return (re.fullmatch(r"guard\." + kind, event["type"]) and event.get("vm_name") == guest.name and
                event["id"] > since_id)
    event = world.manager.wait_event(wanted, ("--since", "600s"), what=f"guard.{kind} of {guest.name}")
    assert event.get("vm") == guest.uuid
    return event


def quiet(seconds=0.6):
    """Time for a frame to arrive where it must not: the one wait that no event can replace."""
    time.sleep(seconds)


def wait_stat(guest, name, predicate, timeout=15, what="traffic"):
    return util.wait_until(f"{what} ({name} of {guest.name})",
                           lambda: (lambda s: s if predicate(s) else None)(guest.stat(name)), timeout, 0.1)


def holds(guest, name, more=5, timeout=15):
    """The flow lives: it gets `more` further answers and has lost none."""
    before = guest.stat(name)["received"]
    now = wait_stat(guest, name, lambda s: s["received"] >= before + more or s["done"], timeout)
    assert not now["done"], f"flow {name} of {guest.name} ended: {now['error']}"
    assert now["sent"] - now["received"] <= 1, now
    return now


def numbering(events):
    """Per (producer, epoch): numbers seen and numbers that `gap` events stand for."""
    streams = {}
    for event in events:
        seen, gaps = streams.setdefault((event["producer"], event["epoch"]), (set(), set()))
        seen.add(event["seq"])
        if event["type"] == "gap":
            gaps.update(range(event["from"], event["to"] + 1))
    return streams
