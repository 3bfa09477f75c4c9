#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What live migration costs and whether it keeps its promises: two hosts, real libvirt, real guests, each figure with its aim.

live       migrations back and forth under live TCP connections of the VM that moves, to neighbours on both hosts, and
           three neighbours who are refused all the time: what was delivered, lost, wrongly refused
begin      how long libvirt is held up before it begins, as the record has it and around the hook
downtime   the same migrations with Bulkhead taken out of both hosts and with it, in pairs
capsule    a VM with very many connections: counted, exported, sent, installed and read back before memory is copied

Figures of TCG guests on a busy machine mean little: run it when nothing else does.
"""
import argparse
import os
import statistics
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = ("live", "downtime", "capsule")
NEIGHBOURS = ("web", "web2", "evil")  # and evil2, which comes with the VM that moves
WORLD = "10.78.0.100"
STREAM_PORT = 5555
SETTLE_S = 5  # a hostd that has just started reads and tells much; a host's does not start before each migration
# a line per call: stage, start and end; the shell's own clock, so that no process more is started
TIMED_HOOK = """#!/bin/bash
begin=$EPOCHREALTIME
{hook} "$@"
code=$?
echo "$2 $3 $begin $EPOCHREALTIME" >> /var/log/libvirt/hook-times
exit $code
"""
# times of arrival as the kernel noted them, 8 bytes each
RECEIVER = """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(("", {port}))
with open(sys.argv[1], "wb", buffering=0) as out:
    while True:
        _, control, _, _ = s.recvmsg(64, 64)
        seconds, ns = struct.unpack("qq", control[0][2])
        out.write(struct.pack("Q", seconds * 10**9 + ns))
"""
# datagrams, each from another port or address
OPENER = """
import socket, struct, sys, time
dev, count, dst_mac, dst = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), socket.inet_aton(sys.argv[4])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((dev, 0))
def checksum(head):
    total = sum(struct.unpack("!10H", head)); total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff
mac = bytes.fromhex("525400ee0001")
for number in range(count):
    src = socket.inet_aton(f"10.90.{number // 50000 // 250}.{number // 50000 % 250 + 1}")
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 32, 0, 0, 64, 17, 0, src, dst)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    s.send(dst_mac + mac + b"\\x08\\0" + head + struct.pack("!HHHH", 1024 + number % 50000, 53, 12, 0) + b"open")
"""
CROWD = """
---
kind: Policy
metadata: {name: crowd, tenant: shop}
spec:
  selector: {matchLabels: {role: mover}}
  ingress: [{name: all, from: [{cidr: 10.90.0.0/16}], ports: [udp/53]}]
"""


# ---- the table -----------------------------------------------------------------------------------
class Table:
    """Lines of figure, aim and verdict."""

    def __init__(self):
        self.lines = []

    def add(self, what, value, unit="", aim=None):
        """aim: the most that value may be."""
        shown = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
        verdict = "" if aim is None else "met" if value <= aim else "MISSED"
        self.lines.append((what, f"{shown} {unit}".strip(), "" if aim is None else f"<= {aim:,} {unit}".strip(), verdict))

    def show(self):
        widths = [max(len(line[i]) for line in self.lines) for i in range(4)]
        print()
        for line in self.lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        return not any(line[3] == "MISSED" for line in self.lines)


def machine():
    """(CPU time that another guest of this machine's host had, all CPU time), in ticks."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    return fields[7], sum(fields)


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def spread(table, what, values, unit="ms", p50=None, p99=None):
    if values:
        table.add(f"{what}: p50 of {len(values)}", float(statistics.median(values)), unit, p50)
        table.add(f"{what}: p99", float(percentile(values, 99)), unit, p99)


def progress(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


# ---- the world -----------------------------------------------------------------------------------
class Place:
    """Two hosts, the VM that moves and its neighbours; the hooks write down how long they take."""

    def __init__(self, **settings):
        from labkit.lab import Lab
        self.lab = Lab(f"bm{os.getpid() % 100000}", hosts=2)
        self.settings = settings  # of hostd.yaml
        self.yard = None

    def up(self):
        from conftest import BASE_POLICY, GUESTS, add_guest, apply
        from moving import POLICY, Yard
        self.lab.up(nat=False, bulkhead=True)
        for host in self.lab.hosts:
            self.lab.manager.install_host(host, **self.settings)
            self.hook(host, True)
        self.lab.manager.start_all()
        apply(self.lab, BASE_POLICY)
        self.lab.start_guests(*(add_guest(self.lab, *one) for one in GUESTS if one[0] in NEIGHBOURS))
        apply(self.lab, POLICY)
        self.yard = Yard(self.lab).start()
        self.lab.manager.wait_in_sync()
        return self

    def down(self):
        from labkit import manager as bulkhead
        self.lab.manager.save_logs(f"{bulkhead.build_dir()}/bench-logs")
        self.lab.down()

    # ---- the hook -----------------------------------------------------------------------------
    def hook(self, host, there):
        from labkit import util
        from labkit.manager import program
        path = f"{host.dir}/etc-libvirt/hooks/qemu.d/10-bulkhead"
        if os.path.lexists(path):
            os.unlink(path)
        if there:
            util.write(path, TIMED_HOOK.format(hook=program("bulkhead-hook")))
            os.chmod(path, 0o755)

    def hook_times_ms(self, *stages):
        """Of `migrate begin` (or other stages) on both hosts, in the order of time."""
        times = []
        for host in self.lab.hosts:
            log = f"{host.dir}/log/hook-times"
            for line in open(log, encoding="ascii") if os.path.exists(log) else ():
                operation, _, begin, end = line.split()
                if operation in (stages or ("migrate",)):
                    times.append((float(begin), (float(end) - float(begin)) * 1000))
        return [ms for _, ms in sorted(times)]

    # ---- Bulkhead in and out of the hosts -----------------------------------------------------
    def take_out(self):
        from labkit.manager import program
        for host in self.lab.hosts:
            self.hook(host, False)
            self.lab.manager.hostd(host).stop()
            host.run(program("bulkhead-hostd"), "-c", "/etc/bulkhead/hostd.yaml", "--detach", "--yes")

    def put_in(self):
        from labkit import util
        for host in self.lab.hosts:
            self.lab.manager.start_hostd(host)
            self.hook(host, True)
        here = self.yard.mover.host.name
        manager, name = self.lab.manager, self.yard.mover.name

        def is_known():  # one host may say that it has gone before the other says that it came
            found = [vm for vm in manager.json("vm", "list")["items"] if vm["name"] == name and vm["host"] == here]
            return found and all(nic["protected"] for nic in manager.vm(name)["nics"])
        util.wait_until("the manager knows where the VM is", is_known, 60, 0.1)
        self.lab.manager.wait_in_sync()

    def let_go_first(self):
        """Whatever else wants a processor gets it before our programs: as on hosts with more of them than this machine has."""
        for daemon in (self.lab.manager.daemon, *map(self.lab.manager.hostd, self.lab.hosts)):
            for pid in daemon.pids():
                daemon.node.run("sh", "-c", f"cd /proc/{pid}/task && renice -n 19 -p *")

    # ---- moving -------------------------------------------------------------------------------
    def move(self):
        """A migration and what there is to know of it afterwards, in ms."""
        begun = time.time_ns()
        move = self.yard.migrate()
        job = move.to.virsh("domjobinfo", move.guest.name, "--completed", check=False).stdout
        return {"seconds": move.seconds, "window": (begun, time.time_ns()), "downtime": downtime_ms(job)}

    def record(self):
        last = self.yard.wait_ended()
        if last["state"] != "done":
            raise SystemExit(f"the migration is {last['state']}: {last['reason']}")
        return last


def downtime_ms(job):
    """`Total downtime` of virsh domjobinfo --completed; None when it is not told."""
    for line in job.splitlines():
        key, _, value = line.partition(":")
        if key == "Total downtime":
            number, unit = value.split()
            return float(number) * {"ms": 1, "s": 1000, "sec": 1000}[unit]
    return None


def decided_ms(record):
    """From the target's question until it was told that the VM may come."""
    total = 0.0
    for step in record["steps"]:
        total += step["ms"]
        if step["step"] == "installed":
            return total
    return None


# ---- parts ---------------------------------------------------------------------------------------
class Connections:
    """Live TCP connections of the VM that moves, a quarter of them each from and to a neighbour on each host."""

    def __init__(self, place, count):
        mover = place.yard.mover
        pairs = [("web", "mover", 3306), ("web2", "mover", 3306), ("mover", "web", 7000), ("mover", "web2", 7000)]
        guests = place.lab.guests
        self.each = count // len(pairs)
        self.jobs = [(guests[source], f"live-{source}-{target}", guests[target].address, port)
                     for source, target, port in pairs]
        self.mover = mover

    def open(self):
        from labkit import util
        for guest, name, address, port in self.jobs:
            guest.swarm(name, address, port, count=self.each, interval_ms=30, beat_ms=1000, timeout_ms=30000)
        for guest, name, *_ in self.jobs:
            util.wait_until(f"{self.each} connections of {name}", lambda g=guest, n=name: g.stat(n)["connects"] == self.each,
                            120, 0.5)

    def answered(self):
        """Every connection that is left is used once more; what was lost until then."""
        from labkit import util
        for guest, name, *_ in self.jobs:
            first = guest.stat(name)["frames"]
            util.wait_until(f"answers on all of {name}", lambda g=guest, n=name, f=first:
                            (lambda s: s["frames"] >= f + 2 or s["errors"] == self.each)(g.stat(n)), 90, 0.5)
        return self.stats()

    def stats(self):
        stats = [guest.stat(name) for guest, name, *_ in self.jobs]
        return {"lost": sum(s["errors"] for s in stats), "refused": sum(s["refused"] + s["timeouts"] for s in stats),
                "answers": sum(s["received"] for s in stats), "slowest": max(s["max_rtt_us"] for s in stats) / 1000,
                "said": "; ".join(s["error"] for s in stats if s["error"])}

    def close(self):
        for guest, name, *_ in self.jobs:
            guest.stop(name)


def part_live(place, table, options):
    """Crossing (tests/e2e/moving.py) brings the three who are refused and watches for what of theirs is delivered."""
    from moving import Crossing
    live = Connections(place, options.connections)
    live.open()
    progress(f"{options.connections} connections are open")
    decided, crossing, inside, wrongly = [], Crossing(place.yard, swarm=0), 0, 0
    try:
        with crossing:
            for number in range(options.migrations):
                seconds, record = place.move()["seconds"], place.record()
                decided.append(decided_ms(record))
                newest = place.lab.manager.last_event()
                wrongly += len(crossing.wrongly_refused())
                crossing.since = newest  # it looks ten minutes back only
                progress(f"{number + 1} of {options.migrations}: {seconds:.1f} s, {record['connections']} connections, "
                         f"decided in {decided[-1]:.0f} ms, lost so far {live.stats()['lost']}")
            last = live.answered()
            refused = sum(evil.stat(job)["sent"] for evil in crossing.floods() for job in ("flood", "knock"))
            through = sum(evil.stat("knock")["connects"] for evil in crossing.floods())
            inside = place.yard.mover.stat("refused")["matched"]
            wrongly += len(crossing.wrongly_refused())
    except AssertionError as error:  # what it says is counted below
        progress(f"the watchers: {error}")
    delivered = sum(len(sniffer.frames) for sniffer in crossing.sniffers)
    seen = sum(sniffer.seen for sniffer in crossing.sniffers)
    if last["said"]:
        progress(f"lost connections: {last['said']}")
    table.add(f"live: refused packets delivered, of {refused:,} that two of three sent ({seen:,} frames seen at the taps)",
              delivered + inside + through, aim=0)
    table.add(f"live: connections lost, of {options.connections} over {options.migrations} migrations", last["lost"], aim=0)
    table.add("live: connections and packets wrongly refused", last["refused"] + wrongly, aim=0)
    table.add("live: slowest answer on one of them", last["slowest"], "ms")
    spread(table, "begin, under that load, by the record", decided, p99=150)
    spread(table, "begin, under that load, around the hook", place.hook_times_ms()[-options.migrations:], p99=150)
    live.close()


class Stream:
    """Datagrams of the VM that moves to a machine that is none of ours, a millisecond apart; when they arrived."""

    def __init__(self, place):
        from moving import WITH_PARENT
        self.place, self.path = place, f"{place.lab.dir}/arrivals"
        self.process = place.lab.switch.start("/usr/bin/python3", "-c", WITH_PARENT + RECEIVER.format(port=STREAM_PORT), self.path)

    def start(self):
        from scapy.all import Ether, IP, UDP
        mover, switch = self.place.yard.mover, self.place.lab.switch
        mac = switch.sh("cat /sys/class/net/lan/address").strip()
        frame = Ether(src=mover.mac, dst=mac) / IP(src=mover.address, dst=WORLD) / UDP(sport=STREAM_PORT, dport=STREAM_PORT)
        mover.call("flood", name="stream", frames=[bytes(frame).hex()], count=1 << 30, interval_us=1000)
        return self

    def stop(self):
        self.place.yard.mover.stop("stream")
        self.process.kill()
        self.process.wait(5)

    def gap_ms(self, window):
        """The longest time without any, in it."""
        with open(self.path, "rb") as file:
            data = file.read()
        times = [t for (t,) in struct.iter_unpack("Q", data[:len(data) // 8 * 8]) if window[0] <= t <= window[1]]
        return max(b - a for a, b in zip(times, times[1:])) / 1e6


def part_downtime(place, table, options):
    """Pairs, in turn with and without: what the machine does meanwhile falls on both alike."""
    stream = Stream(place).start()
    downs, gaps, decided = {True: [], False: []}, {True: [], False: []}, []
    inside, in_turn = True, []
    before = len(place.hook_times_ms())
    for pair in range(options.pairs):
        for wanted in (inside, not inside):  # so that only one of two changes
            if wanted != inside:
                (place.put_in if wanted else place.take_out)()
                inside = wanted
                time.sleep(SETTLE_S)
            if wanted and options.spare:
                place.let_go_first()
            time.sleep(1)
            moved = place.move()
            downs[wanted].append(moved["downtime"])
            gaps[wanted].append(stream.gap_ms(moved["window"]))
            in_turn.append((wanted, downs[wanted][-1], gaps[wanted][-1]))
            if wanted:
                decided.append(decided_ms(place.record()))
        progress(f"pair {pair + 1} of {options.pairs}: downtime without {downs[False][-1]:.0f} ms, with {downs[True][-1]:.0f} ms; "
                 f"gap {gaps[False][-1]:.0f} and {gaps[True][-1]:.0f} ms")
    if not inside:
        place.put_in()
    stream.stop()
    spread(table, "begin, by the record", decided, p99=150)
    spread(table, "begin, around the hook", place.hook_times_ms()[before:], p99=150)
    spread(table, "the hook where it only tells (what a process costs here)", place.hook_times_ms("started", "stopped", "release"))
    # a pair ends as the next one begins: what differs there is not ours
    alike = [(one, other) for one, other in zip(in_turn[1::2], in_turn[2::2])]
    for column, name, values in ((1, "downtime that libvirt measured", downs), (2, "longest gap in a stream of 1 ms", gaps)):
        for there in (False, True):
            spread(table, f"{name}, {'with' if there else 'without'}", values[there])
        spread(table, f"{name}, added", [b - a for a, b in zip(values[False], values[True])], p50=5, p99=50)
        spread(table, f"{name}, of two in the same state", [other[column] - one[column] for one, other in alike])


def part_capsule(place, table, options):
    """Connections come from outside: the VM's host writes them down whatever the guest makes of them."""
    from conftest import apply
    from moving import POLICY, WITH_PARENT
    mover = place.yard.mover
    apply(place.lab, POLICY + CROWD)
    opened = time.monotonic()
    place.lab.switch.run("/usr/bin/python3", "-c", WITH_PARENT + OPENER, "lan", options.capsule,
                         mover.mac.replace(":", ""), mover.address)
    progress(f"{options.capsule} datagrams in {time.monotonic() - opened:.1f} s")
    time.sleep(15)  # hostd writes down what opened: that is another bench's
    before, records, cpu = len(place.hook_times_ms()), [], []
    daemons = [place.lab.manager.hostd(host) for host in place.lab.hosts]
    for _ in range(options.moves):
        earlier = sum(daemon.cpu_seconds() for daemon in daemons)
        place.move()
        records.append(place.record())
        cpu.append((sum(daemon.cpu_seconds() for daemon in daemons) - earlier) * 1000)
        progress(f"{records[-1]['connections']} connections: " +
                 "; ".join(f"{step['step']} {step['ms']:.0f} ms" for step in records[-1]["steps"]))
        time.sleep(2)
    table.add("capsule: connections that travelled, the fewest", min(record["connections"] for record in records))
    spread(table, "capsule: exported, sent, installed, read back",
           [step["ms"] for record in records for step in record["steps"] if step["step"] == "installed"], p50=1000)
    spread(table, "capsule: CPU time of both hostd, until the VM has moved", cpu)
    table.add("capsule: size", max(record["bytes"] for record in records) / 1e6, "MB", 20)
    spread(table, "capsule: the hook, as long as libvirt waited", place.hook_times_ms()[before:])
    apply(place.lab, POLICY)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="build folder")
    parser.add_argument("parts", nargs="*", help=f"some of {' '.join(PARTS)} (all)")
    parser.add_argument("--migrations", type=int, default=50)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--spare", action="store_true", help="downtime: run manager and hostd at nice 19, since here both hosts, the "
                        "manager and the guests share the processors")
    parser.add_argument("--capsule", type=int, default=100_000)
    parser.add_argument("--moves", type=int, default=5, help="of that capsule")
    options = parser.parse_args()
    if os.geteuid() or set(options.parts) - set(PARTS):
        parser.error("needs root" if os.geteuid() else f"parts are {' '.join(PARTS)}")
    # in this order: what the last one opened would travel with every migration after it
    parts = [part for part in PARTS if part in (options.parts or PARTS)]
    os.environ["BULKHEAD_BUILD"] = os.path.abspath(options.build)
    sys.path[:0] = [f"{HERE}/../lab", f"{HERE}/../e2e"]
    table = Table()
    place = Place(connections_per_nic=2 * options.capsule, sizes={"ct4": 4 * options.capsule},
                  timeouts={"udp_new": 600})
    try:
        place.up()
        for part in parts:
            progress(part)
            before = machine()
            globals()[f"part_{part}"](place, table, options)
            stolen, ticks = (b - a for a, b in zip(before, machine()))
            table.add(f"{part}: time of the CPUs that others had of this machine", 100.0 * stolen / ticks, "%")
        good = table.show()
    finally:
        place.down()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
