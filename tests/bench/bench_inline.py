#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The gate inline beside a plain bridge: tests/bench/bench_inline.py BUILD [--workers N] [--rounds N] [--set KEY=VALUE]

Client and server are namespaces with two ways between them, each over a third one: a Linux bridge and bulkhead-gated with all
rules. Both are measured in turn in the same run: small datagrams per second, bulk TCP, round trips (one over each way in turn,
idle and at half of the gate's maximum). Then on the gate's way alone: what is lost at 80 % of its maximum, and what while rules
are loaded again under load. Offloads of the interfaces are as the kernel has them (on). As root.
"""
import argparse
import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(f"{ROOT}/tests/gate")
import control  # pylint: disable=wrong-import-position
WAYS = {"bridge": "10.98.0", "gate": "10.99.0"}
WAIT_S = 60
SHARES = (0.8, 0.5)
HOSTS = range(10, 18)  # as bench_inline.c's


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--rules", default=os.path.join(os.path.dirname(ROOT), "shared/rules/emerging-threats-open-2025.rules"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--size", type=int, default=18, help="bytes of a datagram; 18 make a frame of 60")
    parser.add_argument("--flows", type=int, default=64)
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--offloads", choices=("on", "off"), default="on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


class Lab:
    def __init__(self, stack, args):
        self.stack, self.args = stack, args
        self.tool = f"{args.build}/tests/bench/bench_inline"
        self.folder = tempfile.mkdtemp(prefix="bench-inline-")
        os.chmod(self.folder, 0o755)
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.client, self.middle, self.server = (self.start(["unshare", "-n", "sleep", "3600"]) for _ in range(3))
        time.sleep(0.3)
        for number, (way, net) in enumerate(WAYS.items()):
            self.link(self.client, f"a{number}", f"{net}.1/24", f"{way}0")
            self.link(self.server, f"b{number}", f"{net}.2/24", f"{way}1")
        self.inside(self.middle, "ip", "link", "add", "br0", "type", "bridge")
        self.inside(self.middle, "ip", "link", "set", "br0", "up")
        for dev in ("bridge0", "bridge1"):
            self.inside(self.middle, "ip", "link", "set", dev, "master", "br0")
        self.sinks = {way: self.serve("sink", way) for way in WAYS}
        self.echoes = {}

    def start(self, argv, **more):
        process = subprocess.Popen(argv, **more)  # pylint: disable=consider-using-with
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    @staticmethod
    def within(holder, *argv):
        return ["nsenter", "-t", str(holder.pid), "-n", *argv]

    def inside(self, holder, *argv):
        return subprocess.run(self.within(holder, *argv), check=True, capture_output=True, text=True).stdout

    def link(self, holder, name, address, peer):
        self.inside(holder, "ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", str(self.middle.pid))
        for where, dev in ((holder, name), (self.middle, peer)):
            if self.args.offloads == "off":
                self.inside(where, "ethtool", "-K", dev, "tso", "off", "gso", "off", "gro", "off", "tx", "off", "rx", "off")
            self.inside(where, "ip", "link", "set", dev, "mtu", str(self.args.mtu), "up")
        self.inside(holder, "ip", "addr", "add", address, "dev", name)
        for host in HOSTS if holder is self.client else ():
            self.inside(holder, "ip", "addr", "add", f"{address.rpartition('.')[0]}.{host}/24", "dev", name)

    def serve(self, word, way):
        process = self.start(self.within(self.server, self.tool, word, f"{WAYS[way]}.2"), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline().strip() == "ready"
        return process

    def begin(self, word, *numbers):
        return self.start(self.within(self.client, self.tool, word, *map(str, numbers)), stdout=subprocess.PIPE, text=True)

    def gate(self):
        args = self.args
        cache = f"{self.folder}/cache"
        os.mkdir(cache)
        argv = [f"{args.build}/src/gate/bulkhead-gated", "--inline", "gate0:gate1", "--workers", str(args.workers), "-S", args.rules,
                "-l", f"{self.folder}/log"]
        for value in (f"detect.cache-dir={cache}", f"unix-command.filename={self.folder}/sock", *args.set):
            argv += ["--set", value]
        with open(f"{self.folder}/stderr", "w", encoding="utf-8") as log:
            gate = self.start(self.within(self.middle, *argv), stderr=log)
        end = time.monotonic() + WAIT_S
        while not self.ask("ping"):
            if gate.poll() is not None or time.monotonic() > end:
                with open(f"{self.folder}/stderr", encoding="utf-8") as log:
                    sys.exit(f"bulkhead-gated did not start: {log.read()[-2000:]}")
            time.sleep(0.1)
        return gate

    def ask(self, op):
        return control.ask(f"{self.folder}/sock", op, WAIT_S)

    def capture(self):
        time.sleep(2.2)  # workers publish theirs once a second
        return self.ask("stats")["stats"]["capture"]

    def received(self, way):
        sink = self.sinks[way]
        sink.stdin.write("?\n")
        sink.stdin.flush()
        return int(sink.stdout.readline())

    def settled(self, way):
        """What has arrived, when nothing more does."""
        last = -1
        while (now := self.received(way)) != last:
            last = now
            time.sleep(0.3)
        return now

    def refused_by_sink(self):
        """Datagrams that the receiving socket had no room for: not lost on the way."""
        names, values = re.findall(r"^Udp: (.*)$", self.inside(self.server, "cat", "/proc/net/snmp"), re.M)[:2]
        return int(dict(zip(names.split(), values.split()))["RcvbufErrors"])

    def flood(self, way, pps, seconds):
        """(sent, arrived, seconds) of datagrams at a rate; 0: as fast as it goes."""
        before = self.settled(way), self.refused_by_sink()
        load = self.begin("flood", f"{WAYS[way]}.2", pps, seconds, self.args.size, self.args.flows)
        sent, took = load.stdout.readline().split()
        load.wait()
        arrived = self.settled(way) - before[0] + self.refused_by_sink() - before[1]
        return int(sent), arrived, float(took)


def rates(lab, args):
    found = {way: [] for way in WAYS}
    offered = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        for way in WAYS:
            sent, arrived, took = lab.flood(way, 0, args.seconds)
            found[way].append(arrived / took)
            offered[way].append(sent / took)
    for way in WAYS:
        print(f"{way}: {statistics.median(found[way]) / 1000:.0f} kpps of {statistics.median(offered[way]) / 1000:.0f} offered "
              f"(all: {' '.join(f'{rate / 1000:.0f}' for rate in found[way])})", flush=True)
    return {way: statistics.median(found[way]) for way in WAYS}


def bulk(lab, args):
    found = {way: [] for way in WAYS}
    drains = {way: lab.serve("drain", way) for way in WAYS}
    for _ in range(args.rounds):
        for way in WAYS:
            load = lab.begin("stream", f"{WAYS[way]}.2", args.seconds)
            size, took = load.stdout.readline().split()
            load.wait()
            found[way].append(int(size) * 8 / float(took) / 1e9)
    for way in WAYS:
        print(f"{way}: TCP {statistics.median(found[way]):.2f} Gbit/s (all: {' '.join(f'{rate:.2f}' for rate in found[way])})",
              flush=True)
        drains[way].kill()


def pings(lab, count, ways):
    load = lab.begin("ping", count, 1000, *(f"{WAYS[way]}.2" for way in ways))
    lines = [load.stdout.readline().split() for _ in ways]
    load.wait()
    return {way: (float(line[1]), float(line[2]), int(line[3])) for way, line in zip(ways, lines)}


def print_latency(what, found):
    for way in WAYS:
        print(f"{way}: round trip {what} p50 {found[way][0]:.0f} us, p99 {found[way][1]:.0f} us, {found[way][2]} lost")
    print(f"added {what}: p50 {found['gate'][0] - found['bridge'][0]:.0f} us, "
          f"p99 {found['gate'][1] - found['bridge'][1]:.0f} us there and back", flush=True)


def latency(lab, args, most):
    for way in WAYS:
        lab.sinks[way].kill()
        lab.sinks[way].wait()
        lab.echoes[way] = lab.serve("echo", way)
    print_latency("idle", pings(lab, 3000, list(WAYS)))
    # at half: echoes are load as well, so a quarter there and a quarter back
    found = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        for way in WAYS:
            load = lab.begin("flood", f"{WAYS[way]}.2", int(most / 4), 3, args.size, args.flows)
            time.sleep(0.3)
            found[way].append(pings(lab, 1500, [way])[way])
            load.wait()
    print_latency("at half load", {way: (statistics.median(f[0] for f in found[way]), statistics.median(f[1] for f in found[way]),
                                         sum(f[2] for f in found[way])) for way in WAYS})
    for way in WAYS:
        lab.echoes[way].kill()
        lab.echoes[way].wait()
        lab.sinks[way] = lab.serve("sink", way)


def losses(what, sent, arrived, before, after):
    gate = {name: after[name] - before[name] for name in ("kernel_drops", "send_failed")}
    print(f"{what}: {sent} sent, {sent - arrived} lost ({gate['kernel_drops']} no room in the ring, "
          f"{gate['send_failed']} not sent)", flush=True)


def sustained(lab, most):
    before = lab.capture()
    sent, arrived, took = lab.flood("gate", int(most * SHARES[0]), 10)
    losses(f"gate at 80 % of its maximum ({sent / took / 1000:.0f} kpps, 10 s)", sent, arrived, before, lab.capture())


def reload_under_load(lab, args, most):
    before = lab.capture()
    start = lab.settled("gate"), lab.refused_by_sink()
    load = lab.begin("flood", f"{WAYS['gate']}.2", int(most * SHARES[1]), 12, args.size, args.flows)
    replies = []
    while load.poll() is None and len(replies) < 3:
        time.sleep(1)
        replies.append(lab.ask("reload"))
    sent, took = load.stdout.readline().split()
    load.wait()
    arrived = lab.settled("gate") - start[0] + lab.refused_by_sink() - start[1]
    for reply in replies:
        assert reply["ok"], reply
    losses(f"gate while {replies[0]['rules']} rules are loaded {len(replies)} times (each {replies[-1]['build_ms']} ms) at "
           f"{int(sent) / float(took) / 1000:.0f} kpps", int(sent), arrived, before, lab.capture())


def main():
    args = arguments()
    if os.geteuid() != 0:
        sys.exit("needs root and namespaces")
    with contextlib.ExitStack() as stack:
        lab = Lab(stack, args)
        gate = lab.gate()
        most = rates(lab, args)
        print(f"ratio: {most['gate'] / most['bridge']:.2f} of the bridge, {args.workers} workers", flush=True)
        bulk(lab, args)
        latency(lab, args, most["gate"])
        sustained(lab, most["gate"])
        reload_under_load(lab, args, most["gate"])
        gate.send_signal(signal.SIGTERM)
        assert gate.wait(WAIT_S) == 0


if __name__ == "__main__":
    main()
