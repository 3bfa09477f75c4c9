# SPDX-License-Identifier: Apache-2.0
"""A VM that moves while it talks: who may reach it must not notice, who may not must not get through."""
import json
import os
import sys
import time

from conftest import BASE_POLICY, add_guest, apply, start_servers
from helpers import magic, wait_stat
from labkit import migrate as moves
from labkit import util
from labkit.manager import program
from labkit.sniff import Sniffer

POLICY = BASE_POLICY + """
---
kind: Policy
metadata: {name: mover, tenant: shop}
spec:
  selector: {matchLabels: {role: mover}}
  ingress:
    - name: from-web
      from: [{selector: {matchLabels: {role: web}}}]
      ports: [tcp/3306, udp/53, icmp, icmpv6]
---
kind: Policy
metadata: {name: from-mover, tenant: shop}
spec:
  selector: {matchLabels: {role: web}}
  ingress:
    - {name: back, from: [{selector: {matchLabels: {role: mover}}}], ports: [tcp/7000]}
"""
# name of the flow: from, to, protocol, port, IPv6. web lives on h1 and web2 on h2: wherever the mover goes, one peer is on the
# source host and one on the target; `world` is the switch, a machine that is no VM
FLOWS = {"tcp-h1": ("web", "mover", "tcp", 3306, False), "tcp-h2": ("web2", "mover", "tcp", 3306, False),
         "tcp6": ("web2", "mover", "tcp", 3306, True), "udp": ("web2", "mover", "udp", 53, False),
         "icmp": ("web", "mover", "icmp", 0, False), "back-h1": ("mover", "web", "tcp", 7000, False),
         "back-h2": ("mover", "web2", "tcp", 7000, False), "uplink": ("mover", "world", "tcp", 7000, False)}
# opened one by one while the memory is copied, and kept
SWARMS = {"new-in": ("web", "mover", 3306), "new-in-2": ("web2", "mover", 3306), "new-out": ("mover", "web", 7000)}
DISK = "/var/lib/libvirt/images/mover.raw"  # a file of its own on each host, which the guest does not need
WORLD = "10.78.0.100"
WITH_PARENT = "import ctypes; ctypes.CDLL(None).prctl(1, 9)"  # nsenter, which is what can be ended from here
ECHO = WITH_PARENT + """
import socket, threading
def serve(c):
    while (data := c.recv(4096)):
        c.sendall(data)
s = socket.create_server(("", 7000))
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
FLOOD = WITH_PARENT + """
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0))
frames = [bytes.fromhex(f) for f in sys.argv[2:]]
while True:
    for frame in frames:
        s.send(frame)
        time.sleep(0.01)
"""


def refused_frames(address, mac, mark, target):
    """What one who is refused may not send to the mover: connections, parts of ones that there are not, datagrams, pings."""
    from scapy.all import Ether, ICMP, IP, Raw, TCP, UDP
    head = Ether(src=mac, dst=target.mac) / IP(src=address, dst=target.address)
    return [bytes(head / layer / Raw(mark)) for layer in (
        TCP(sport=4001, dport=3306, flags="S"), TCP(sport=4002, dport=3306, flags="A", seq=7, ack=9),
        TCP(sport=4003, dport=3306, flags="PA", seq=7, ack=9), TCP(sport=4004, dport=22, flags="S"),
        UDP(sport=4005, dport=53), UDP(sport=4006, dport=9999), ICMP())]


class Crossing:
    """Everything that goes on around a VM while it moves. with Crossing(yard) as c: move; c.check()."""

    def __init__(self, yard, flood=True, swarm=15, patience_ms=10000):
        self.yard, self.flood, self.swarm, self.patience_ms = yard, flood, swarm, patience_ms
        self.mark = magic()
        self.sniffers, self.program = [], None
        self.since, self.began = 0, time.monotonic()

    def guest(self, name):
        return self.yard.world.guests[name]

    def floods(self):
        return [self.guest("evil"), self.guest("evil2")] if self.flood else []

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def begin(self):
        yard, mover = self.yard, self.yard.mover
        self.since = yard.world.manager.last_event()
        for host in yard.world.hosts:
            sniffer = Sniffer(host, "vnet*", self.mark, outgoing=True)
            sniffer.__enter__()
            self.sniffers.append(sniffer)
        mover.capture("refused", match=self.mark)
        for name, (source, target, proto, port, six) in FLOWS.items():
            to = WORLD if target == "world" else getattr(self.guest(target), "address6" if six else "address")
            self.guest(source).flow(name, to, port, proto=proto, interval_ms=50,
                                    timeout_ms=self.patience_ms if proto == "tcp" else 300)
        for evil in self.floods():
            frames = refused_frames(evil.address, evil.mac, self.mark, mover)
            evil.call("flood", name="flood", frames=[f.hex() for f in frames], count=1 << 30, interval_us=10000)
            evil.knock("knock", mover.address, 3306, timeout_ms=150)
        if self.flood:
            world = self.yard.world.switch
            frames = refused_frames(WORLD, "52:54:00:ee:00:01", self.mark, mover)
            self.program = world.start("/usr/bin/python3", "-c", FLOOD, "lan", *[f.hex() for f in frames])
        if self.swarm:
            for name, (source, target, port) in SWARMS.items():
                self.guest(source).swarm(name, self.guest(target).address, port, count=self.swarm, interval_ms=250)

    # ---- afterwards -------------------------------------------------------------------------------
    def check(self):
        """What was allowed goes on, on the connections that there were; nothing refused arrived."""
        self.flows_live()
        self.swarms_live()
        for evil in self.floods():
            knock = evil.stat("knock")
            assert knock["connects"] == 0 and knock["sent"] > 0, f"{evil.name} got through: {knock}"
            assert evil.stat("flood")["sent"] > 50
        assert self.yard.mover.stat("refused")["matched"] == 0, "the VM was given refused packets"
        return self

    def flows_live(self):
        """Each flow gets further answers; all are asked first, so that they are waited for at once."""
        before = {name: self.guest(FLOWS[name][0]).stat(name)["received"] for name in FLOWS}
        for name, (source, _, proto, *_) in FLOWS.items():
            now = wait_stat(self.guest(source), name, lambda s, n=name: s["done"] or s["received"] >= before[n] + 5)
            assert not now["done"], f"{name} of {source} ended: {now['error']}"
            if proto == "tcp":
                assert now["connects"] == 1 and now["sent"] - now["received"] <= 1, now

    def swarms_live(self):
        """Every connection was opened, none was lost, and all of them get further answers."""
        wanted = {name: self.guest(SWARMS[name][0]) for name in SWARMS} if self.swarm else {}

        def broken(stat):
            return stat["errors"] or stat["refused"] or stat["timeouts"]
        rounds = {}
        for name, guest in wanted.items():
            now = wait_stat(guest, name, lambda s: broken(s) or s["connects"] == self.swarm, 30, "all connections")
            rounds[name] = now["frames"]
        for name, guest in wanted.items():
            now = wait_stat(guest, name, lambda s, n=name: broken(s) or s["frames"] >= rounds[n] + 2, what="answers on each")
            assert now["connects"] == self.swarm and not broken(now), f"{name}: {now}"

    def wrongly_refused(self):
        """Records of refusals between those who may talk, and of a guard that stopped the mover."""
        mover = self.yard.mover
        friends = {self.guest(n).address for n in ("web", "web2")} | {self.guest(n).address6 for n in ("web", "web2")} | {WORLD}
        own = {mover.address, mover.address6}
        found = []
        manager, since = self.yard.world.manager, ("--since", f"{time.monotonic() - self.began + 1:.0f}s")
        for event in manager.events("--type", "flow.refused", *since) + \
                manager.events("--type", "guard.*", "--vm", mover.name, *since):
            if event["id"] <= self.since:
                continue
            pair = {event.get("src"), event.get("dst")}
            from_flood = event.get("sport") in range(4001, 4007) or event.get("dport") in (22, 9999)
            if event["type"] == "flow.refused" and pair & own and pair & friends and not from_flood and \
                    not (event.get("proto") in ("icmp", 1) and WORLD in pair):
                found.append(event)
            if event["type"].startswith("guard.") and event.get("vm_name") == mover.name:
                found.append(event)
        return found

    def __exit__(self, *error):
        for sniffer in self.sniffers:
            sniffer.__exit__()
        if self.program:
            self.program.kill()
            self.program.wait(5)
        jobs = [(FLOWS[n][0], n) for n in FLOWS] + [(SWARMS[n][0], n) for n in SWARMS if self.swarm]
        jobs += [(g.name, n) for g in self.floods() for n in ("flood", "knock")] + [("mover", "refused")]
        for source, name in jobs:
            try:
                self.guest(source).stop(name)
            except util.LabError:
                if not error[0]:
                    raise
        if not error[0]:
            for sniffer in self.sniffers:
                assert not sniffer.frames, f"{len(sniffer.frames)} refused packets delivered on {sniffer.node.name}"
            assert sum(s.seen for s in self.sniffers) > 50, "the watchers saw no traffic at all"
            refused = self.wrongly_refused()
            assert not refused, refused


class Yard:
    """The shared world with a VM that moves (`mover`), and a second bad neighbour, on h2."""

    def __init__(self, world):
        self.world = world
        for host in world.hosts:
            host.sh(f"mkdir -p /var/lib/libvirt/images; truncate -s 8M {DISK}")
        self.mover = add_guest(world, "mover", 1, 31, "shop", "mover", disk=DISK)
        self.evil2 = add_guest(world, "evil2", 2, 67, "rival", "web")
        self.homes = {guest: guest.host for guest in world.guests.values() if guest is not self.mover}
        self.revision = world.manager.status()["revision"]
        self.echo = None

    def start(self):
        self.world.start_guests(self.mover, self.evil2)
        for guest in (self.mover, self.world.guests["web"], self.world.guests["web2"]):
            self.serve(guest)
        self.echo = self.world.switch.start("/usr/bin/python3", "-c", ECHO)
        return self

    def serve(self, guest):
        """What it serves in this yard, beside what it serves in every test."""
        for port, proto in ((3306, "tcp"), (53, "udp"), (22, "tcp")) if guest is self.mover else ():
            guest.serve(port, proto)
        if guest.name in ("web", "web2"):
            guest.serve(7000)

    def home(self):
        """Every program runs, no migration is under way, every VM runs and all but the mover are where they began, the
        policies are those of the yard, and everybody knows."""
        world, manager = self.world, self.world.manager
        if not manager.daemon.pids():
            manager.start_manager()
        for host in world.hosts:
            if not manager.hostd(host).pids():
                manager.start_hostd(host)
            if not host.pids_of("/usr/sbin/libvirtd"):
                host.start_libvirt()
            self.hook(host, True)
        self.mover.host.virsh("domjobabort", "mover", check=False)
        if manager.status()["revision"] != self.revision:
            apply(world, POLICY)
            self.revision = manager.status()["revision"]
        running = {host: host.virsh("list", "--name").stdout.split() for host in world.hosts}
        for guest, place in ((self.mover, None), *self.homes.items()):
            self.bring(guest, place, [host for host in world.hosts if guest.name in running[host]])
        if self.vm()["quarantine"]:
            manager.cli("vm", "release", "mover")
        manager.wait_in_sync(60)

    def bring(self, guest, place, runs_on):
        """A VM that a test has left on another host, or on none. place: where it belongs; None: it may be on any."""
        if not runs_on:
            guest.define()
            guest.start()
            if guest is not self.mover:
                start_servers(guest)
            self.serve(guest)
            return
        if guest.host not in runs_on:
            guest.moved(runs_on[0])  # the test ended before it saw that
        if place and guest.host is not place:
            self.migrate(place, guest=guest)

    def hook(self, host, there):
        """Bulkhead's word in libvirt's decisions, which it takes back with its engine on a host that is decommissioned."""
        path = f"{host.dir}/etc-libvirt/hooks/qemu.d/10-bulkhead"
        if there and not os.path.lexists(path):
            os.symlink(program("bulkhead-hook"), path)
        elif not there:
            os.unlink(path)

    def stop(self):
        for name in ("web", "web2"):
            self.world.guests[name].stop("serve-tcp-7000")
        self.echo.kill()
        self.echo.wait(5)
        for guest in (self.mover, self.evil2):
            guest.remove()

    # ---- places -----------------------------------------------------------------------------------
    def other(self, guest=None):
        here = (guest or self.mover).host
        return next(h for h in self.world.hosts if h is not here)

    def begin(self, to=None, way="tcp", guest=None, mib_per_s=None):
        """A live migration, begun."""
        guest = guest or self.mover
        more = ("--unsafe",) if guest is self.mover and way != "storage" else ()  # its disk is nothing to it
        return moves.Move(guest, to or self.other(guest), way, mib_per_s=mib_per_s, more=more)

    def migrate(self, to=None, way="tcp", guest=None, mib_per_s=None):
        move = self.begin(to, way, guest, mib_per_s)
        move.wait()
        return move

    def runs_on(self, guest, host):
        return host.virsh("domstate", guest.name, check=False).stdout.strip() in ("running", "paused")

    def vm(self, guest=None):
        return self.world.manager.vm((guest or self.mover).name)

    # ---- what Bulkhead says -----------------------------------------------------------------------
    def migrations(self, *more):
        return self.world.manager.json("migration", "list", *more)["items"]

    def last_migration(self, guest=None):
        """Of this VM, with every step."""
        name = (guest or self.mover).name
        newest = next(m for m in self.migrations() if m["vm_name"] == name)
        return self.world.manager.json("migration", "show", newest["id"])

    def wait_ended(self, guest=None, timeout=20):
        def ended():
            last = self.last_migration(guest)
            return last if last["state"] in ("done", "failed", "refused") else None
        return util.wait_until("the end of the migration in the manager's record", ended, timeout, 0.1)

    def hostd(self, host, op):
        return json.loads(host.run(program("bulkhead"), "debug", "host", op, "--json").stdout)

    def noted(self, *steps, guest=None):
        """The record with these steps. The end is when inventories say so, and what is told later is noted later."""
        def look():
            last = self.last_migration(guest)
            have[:] = [s["step"] for s in last["steps"]]
            return last if not set(steps) - set(have) else None
        have = []
        try:
            return util.wait_until("the record", look, 10, 0.1)
        except util.LabError:
            raise AssertionError(f"{set(steps) - set(have)} not in the record: {have}") from None

    def nothing_of(self, guest, host, timeout=15):
        """The host's kernel holds no NIC of the VM."""
        macs = {n.mac for n in guest.nics}

        def gone():
            kept = [n for n in self.hostd(host, "nics")["nics"] if n.get("mac") in macs]
            return not kept or None
        util.wait_until(f"{host.name} without NICs of {guest.name}", gone, timeout, 0.1)

    def moved(self, move, ended=("runs", "final")):
        """A migration that went well, as every place tells it. ended: the steps of its end; "cut" when the source could
        not say the end, none when nobody could tell the manager."""
        guest, source, target = move.guest, move.source, move.to
        last = self.wait_ended(guest)
        assert last["state"] == "done" and last["source"] == source.name and last["target"] == target.name, last
        last = self.noted("asked", "counted", "applied", "installed", *ended, "moved", guest=guest)
        assert all(s["time"] for s in last["steps"]) and len(last["hash"]) == 64
        assert [len(s["hash"]) for s in last["steps"] if s["step"] in ("applied", "installed", "moved")] == [64] * 3, last
        assert not self.runs_on(guest, source) and self.runs_on(guest, target)
        self.world.manager.wait_in_sync()
        vm = self.vm(guest)
        assert vm["host"] == target.name and all(n["protected"] for n in vm["nics"]), vm
        self.nothing_of(guest, source)
        done = self.world.manager.wait_event(lambda e: e["type"] == "vm.migrated" and e.get("migration") == last["id"],
                                             ("--type", "vm.migrated", "--since", "600s"), what="vm.migrated")
        assert done["vm"] == guest.uuid
        return last

    def vetoed(self, move, *words):
        """It does not go: virsh says these words, and the VM runs on where it is."""
        assert move.wait(check=False), "virsh says that the VM has moved"
        for word in words:
            assert word in move.said, f"virsh does not say {word}: {move.said}"
        assert self.runs_on(move.guest, move.source) and not self.runs_on(move.guest, move.to)
        return move

    def refused(self, move, *words):
        """The record and the event of a migration that was vetoed have these words, and who wanted it."""
        last, told = self.stayed(move, "refused")
        for word in words:
            assert word in last["reason"] and word in told["reason"], (last, told)
        assert told.get("by"), f"who wanted it is missing: {told}"

    def stayed(self, move, state, timeout=20):
        """A migration that came to nothing: the VM runs on where it was, the target has forgotten it."""
        guest, source, target = move.guest, move.source, move.to
        last = self.wait_ended(guest, timeout)
        assert last["state"] == state and last["reason"], last
        assert self.runs_on(guest, source) and not self.runs_on(guest, target)
        self.world.manager.wait_in_sync()
        assert self.vm(guest)["host"] == source.name
        self.nothing_of(guest, target)
        told = self.world.manager.wait_event(lambda e: e["type"] == f"migration.{state}" and e.get("migration") == last["id"],
                                             ("--type", "migration.*", "--since", "600s"), what=f"migration.{state}")
        assert told["vm"] == guest.uuid and told["reason"]
        return last, told


def pause(seconds):
    """The moment of a fault is the point."""
    time.sleep(seconds)


__all__ = ["Crossing", "Yard", "POLICY", "moves", "pause"]
