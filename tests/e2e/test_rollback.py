# SPDX-License-Identifier: Apache-2.0
"""A VM that comes back in an older state starts in quarantine: only DHCP passes, until it is released."""
import re

import pytest
from helpers import magic, quiet
from labkit import util
from labkit.guest import Guest
from labkit.sniff import Sniffer

POLICY = """
kind: Policy
metadata: {name: all, tenant: shop}
spec:
  selector: {}
  ingress: [{name: in, from: [{selector: {}}]}]
  egress: [{name: out}]
"""
SAVE = "/var/log/libvirt/old.save"


class Qcow(Guest):
    """With a disk that can hold snapshots with memory."""

    def xml(self):
        return super().xml().replace("type='raw' cache='none'", "type='qcow2'")


@pytest.fixture
def pair(world, policy):
    """(back, peer): `back` on h1 with a disk for snapshots, `peer` beside it; both talk to each other."""
    policy(POLICY)
    host = world.host(1)
    host.sh("qemu-img create -q -f qcow2 /var/log/libvirt/back.qcow2 16M")
    back = Qcow(host, "back", address="10.78.0.71/24", tenant="shop", labels={"role": "back"},
                disk="/var/log/libvirt/back.qcow2")
    back.define()
    peer = world.host(2).guest("peer", address="10.78.0.72/24", tenant="shop", labels={"role": "peer"})
    for one in (back, peer):
        host.guests[one.name] = world.guests[one.name] = one
    world.start_guests(back, peer)
    for one in (back, peer):
        one.serve(3306)
    world.manager.wait_in_sync()
    yield back, peer
    world.manager.cli("vm", "release", back.uuid, check=False)  # or it waits for the next VM of that UUID
    for one in (back, peer):
        one.host.virsh("destroy", one.name, check=False)
        one.host.virsh("undefine", "--snapshots-metadata", "--managed-save", one.name, check=False)
        one.remove()


def boot(guest):
    guest.start().serve(3306)


def vm(world, guest):
    return world.manager.json("vm", "show", guest.uuid)


def marked(world, guest):
    """Its mark is in both of its XMLs, and the manager knows; the number."""
    def look():
        live = mark(guest, "dumpxml", guest.name)
        kept = mark(guest, "dumpxml", "--inactive", guest.name)
        return live and kept and live[0] == kept[0] and live[1] == "yes" and kept[1] == "no" and live[0]
    return util.wait_until(f"the mark of {guest.name}", look, 20, 0.1)


def mark(guest, *dump):
    found = re.search(r'xml/state/1" generation="(\d+)" live="(\w+)"', guest.host.virsh(*dump).stdout)
    return found and (int(found[1]), found[2])


def newest(world):
    return world.manager.last_event()


def quarantined(world, guest, since_id, words):
    event = world.manager.wait_event(
        lambda e: e["type"] == "vm.quarantined" and e.get("vm") == guest.uuid and e["id"] > since_id,
        ("--since", "600s"), what=f"vm.quarantined of {guest.name}")
    assert words in event["reason"], event
    shown = vm(world, guest)["quarantine"]
    assert shown and words in shown["why"], shown
    return event


def silent(guest, peer):
    """Nothing passes in either direction."""
    assert guest.tcp(peer.address, 3306, send="x\n", timeout_ms=700) == "timeout"
    assert peer.tcp(guest.address, 3306, send="x\n", timeout_ms=700) == "timeout"
    assert not guest.ping(peer.address, timeout_ms=1000)


def talks(guest, peer):
    util.wait_until("both to talk", lambda: guest.tcp(peer.address, 3306, send="x\n", timeout_ms=700) == "connected" and
                    peer.tcp(guest.address, 3306, send="x\n", timeout_ms=700) == "connected", 15, 0.2)


def speech(frames, mac):
    """What that MAC sent that is neither DHCP nor neighbour discovery, as hex."""
    found = []
    for frame in frames:
        kind, ports = frame[12:14], (frame[34:36], frame[36:38])
        dhcp = kind == b"\x08\x00" and frame[23] == 17 and b"\x00\x43" in ports and b"\x00\x44" in ports
        if frame[6:12] == mac and kind != b"\x08\x06" and not dhcp and not (kind == b"\x86\xdd" and frame[20] in (0, 58)):
            found.append(frame.hex())
    return found


def flood(sender, target, mark):
    """Datagrams that only the quarantine refuses."""
    from scapy.all import Ether, IP, Raw, UDP
    frame = Ether(src=sender.mac, dst=target.mac) / IP(src=sender.address, dst=target.address) / UDP(sport=9, dport=9999) / Raw(mark)
    sender.call("flood", name="marks", frames=[bytes(frame).hex()], count=1 << 30, interval_us=5000)


def test_revert_under_traffic(world, pair):
    """From its first packet on nothing of the reverted VM gets out, and nothing to it; a connection of before does
    not live on; the event says why and who; a release gives back what the policy allows."""
    back, peer = pair
    mac, sign = bytes.fromhex(back.mac.replace(":", "")), magic()
    marked(world, back)
    talks(back, peer)
    back.capture("given", match=sign)
    peer.flow("long", back.address, 3306, interval_ms=50)
    back.flow("out", peer.address, 3306, interval_ms=50)
    back.host.virsh("snapshot-create-as", back.name, "was")
    generation = marked(world, back)
    since = newest(world)
    flood(peer, back, sign)
    back.host.virsh("suspend", back.name)  # so that each frame of it from here on comes after the revert
    quiet()
    tap = f"vnet{int(back.tap()[4:]) + 1}"  # libvirt counts; the old one has frames of before
    with Sniffer(world.switch, "lan-h1", mac) as left, Sniffer(back.host, f"{tap}*", mac) as tried:
        back.host.virsh("snapshot-revert", back.name, "was", "--running")
        event = quarantined(world, back, since, "went back to a snapshot")
        back.wait()
        assert back.tap() == tap
        assert back.stat("out")["sent"] > 0  # it goes on where it was
        silent(back, peer)
        quiet(2)
    assert not speech(left.frames, mac)
    assert speech(tried.frames, mac)
    assert back.stat("given")["matched"] == 0, "the VM was given what only a VM without quarantine may have"
    assert peer.stop("marks")["sent"] > 50
    assert any(c.get("user") == "root" for c in event["by"]), event
    assert marked(world, back) > generation
    listed = next(v for v in world.manager.json("vm", "list")["items"] if v["uuid"] == back.uuid)
    assert listed["quarantine"]
    world.manager.cli("vm", "release", back.name, "--reason", "looked at it")
    event = world.manager.wait_event(lambda e: e["type"] == "vm.released" and e.get("vm") == back.uuid and
                                     e["id"] > since, ("--since", "600s"), what="vm.released")
    assert event["reason"] == "looked at it" and event["by"], event
    assert vm(world, back)["quarantine"] is None
    talks(back, peer)


def test_saved_and_restored(world, pair):
    """The newest save goes on as if nothing had been; an old one is in quarantine, also after a boot."""
    back, peer = pair
    marked(world, back)
    back.host.virsh("save", back.name, SAVE)
    back.host.sh(f"cp {SAVE} {SAVE}.copy")
    back.host.virsh("restore", SAVE)
    marked(world, back)
    assert vm(world, back)["quarantine"] is None
    talks(back, peer)
    back.host.virsh("managedsave", back.name)
    back.host.virsh("start", back.name)
    marked(world, back)
    assert vm(world, back)["quarantine"] is None
    talks(back, peer)
    back.destroy()
    since = newest(world)
    back.host.virsh("restore", f"{SAVE}.copy")
    quarantined(world, back, since, "not its newest save")
    silent(back, peer)
    marked(world, back)
    back.destroy()
    boot(back)
    assert vm(world, back)["quarantine"]
    silent(back, peer)
    world.manager.cli("vm", "release", back.name)
    talks(back, peer)


def test_set_back_while_off(world, pair):
    """A snapshot of the VM shut off, and one that it was shut off for: the disk is older than its last run."""
    back, peer = pair
    marked(world, back)
    back.destroy()
    back.host.virsh("snapshot-create-as", back.name, "off")
    boot(back)
    marked(world, back)
    back.destroy()
    back.host.virsh("snapshot-revert", back.name, "off")
    since = newest(world)
    boot(back)
    quarantined(world, back, since, "set back to an older state while it did not run")
    silent(back, peer)


def test_memory_of_a_running_vm(world, pair):
    """A file with memory that was taken while the VM ran on is no save of it."""
    back, peer = pair
    marked(world, back)
    back.host.virsh("snapshot-create-as", back.name, "live", "--memspec", f"{SAVE}.live,snapshot=external",
                    "--diskspec", "vda,snapshot=external")
    marked(world, back)
    back.destroy()
    since = newest(world)
    back.host.virsh("restore", f"{SAVE}.live")
    quarantined(world, back, since, "not its newest save")
    silent(back, peer)


def test_by_hand_and_by_time(world, pair, policy):
    """Quarantine by hand ends connections and outlives the manager; what a policy with quarantine allows passes;
    releaseAfter ends one."""
    back, peer = pair
    marked(world, back)
    talks(back, peer)
    peer.flow("held", back.address, 3306, interval_ms=50)
    world.manager.cli("vm", "quarantine", back.name, "--reason", "suspicious")
    silent(back, peer)
    before = peer.stat("held")["received"]
    quiet(1)
    assert peer.stat("held")["received"] - before <= 1
    shown = vm(world, back)["quarantine"]
    assert shown["why"] == "suspicious" and shown["by"], shown
    world.manager.daemon.stop()
    world.manager.start_manager()
    world.manager.wait_in_sync()
    assert vm(world, back)["quarantine"]["why"] == "suspicious"
    silent(back, peer)
    policy(POLICY + """
---
kind: Policy
metadata: {name: repair, tenant: shop}
spec:
  selector: {matchLabels: {role: back}}
  quarantine: true
  rollback: {quarantine: true, releaseAfter: 10s}
  ingress: [{name: look, from: [{selector: {matchLabels: {role: peer}}}], ports: [tcp/3306]}]
""")
    util.wait_until("what quarantine leaves", lambda: peer.tcp(back.address, 3306, send="x\n", timeout_ms=700) ==
                    "connected", 15, 0.2)
    assert back.tcp(peer.address, 3306, send="x\n", timeout_ms=700) == "timeout"
    world.manager.cli("vm", "release", back.name)
    talks(back, peer)
    back.host.virsh("snapshot-create-as", back.name, "was")
    marked(world, back)
    since = newest(world)
    back.host.virsh("snapshot-revert", back.name, "was")
    quarantined(world, back, since, "went back to a snapshot")
    assert vm(world, back)["quarantine"]["until"]
    world.manager.wait_event(lambda e: e["type"] == "vm.released" and e.get("vm") == back.uuid and e["id"] > since and
                             "releaseAfter" in e["reason"], ("--since", "600s"), what="vm.released", timeout=60)
    talks(back, peer)


def test_without_the_manager(world, pair):
    """Only the newest own save starts from memory while nobody can judge."""
    back, peer = pair
    marked(world, back)
    back.host.virsh("save", back.name, SAVE)
    back.host.sh(f"cp {SAVE} {SAVE}.copy")
    world.manager.daemon.stop()
    try:
        back.host.virsh("restore", SAVE)
        marked(world, back)
        back.destroy()
        refused = back.host.virsh("restore", f"{SAVE}.copy", check=False)
        assert refused.returncode and "newest" in refused.stderr, refused.stderr
        boot(back)
    finally:
        world.manager.start_manager()
        world.manager.wait_in_sync()
    assert vm(world, back)["quarantine"] is None
    talks(back, peer)
