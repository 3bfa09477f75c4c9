#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""AF_XDP beside the gate's ring, nobody inspecting: tests/bench/bench_forward.py BUILD [--rounds N] [--seconds N]

Client and server are namespaces with three ways between them over a third one (see bench_inline.py): a Linux bridge, the gate's
packet sockets, and its AF_XDP (here in copy mode, which is what veth offers). Round by round, one
way after the other: small datagrams as fast as it goes, then at one rate for all, where CPU time per datagram is that of the whole
machine less what it takes when idle, and beside it that of the forwarder's process alone. With the offloads of the ends off; then
with offloads on, as guests have them: what arrives at all. As root.
"""
import argparse
import contextlib
import os
import signal
import statistics
import sys
import time

import bench_inline

WAYS = {"bridge": "10.96.0", "ring": "10.97.0", "xdp": "10.98.0"}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--size", type=int, default=18, help="bytes of a datagram; 18 make a frame of 60")
    parser.add_argument("--flows", type=int, default=64)
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--rate", type=int, default=100000, help="datagrams per second where CPU time is compared")
    return parser.parse_args()


def busy_s():
    """CPU time of the whole machine that was not idle, without what other machines took."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) * TICK_S


def cpu_s(process):
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


class Lab(bench_inline.Lab):
    """The forwarders run one at a time, so that none polls while another is measured."""

    def forwarder(self, way):
        if way == "bridge":
            return None
        for end in "01" if way == "xdp" else "":
            self.inside(self.middle, "ethtool", "-K", f"{way}{end}", "rxvlan", "off")
        process = self.start(self.within(self.middle, f"{self.args.build}/tests/bench/bench_forward", way, f"{way}0", f"{way}1"),
                             stdout=-1, text=True)
        assert process.stdout.readline().strip() == "ready"
        time.sleep(0.2)  # neighbours ask again where the device was set up anew
        return process

    def measure(self, way, pps):
        """(arrived per second, share that arrived, machine's CPU us, forwarder's CPU us per datagram that arrived)"""
        forwarder = self.forwarder(way)
        self.flood(way, 1000, 1)
        own, busy, began = cpu_s(forwarder) if forwarder else 0, busy_s(), time.monotonic()
        sent, arrived, took = self.flood(way, pps, self.args.seconds)
        wall = time.monotonic() - began
        busy = busy_s() - busy - self.idle_busy * wall
        own = cpu_s(forwarder) - own if forwarder else 0
        if forwarder:
            forwarder.send_signal(signal.SIGTERM)
            forwarder.wait()
        arrived = max(arrived, 1)
        return arrived / took, arrived / max(sent, 1), busy / arrived * 1e6, own / arrived * 1e6

    def calibrate(self):
        before, began = busy_s(), time.monotonic()
        time.sleep(3)
        self.idle_busy = (busy_s() - before) / (time.monotonic() - began)


def table(lab, pps):
    found = {way: [] for way in WAYS}
    for _ in range(lab.args.rounds):
        for way in WAYS:
            found[way].append(lab.measure(way, pps))
    for way in WAYS:
        rate, share, machine, own = (statistics.median(column) for column in zip(*found[way]))
        spread = " ".join(f"{row[0] / 1000:.0f}" for row in found[way])
        print(f"  {way:8} {rate / 1000:6.0f} kpps, {share * 100:5.1f} % arrive; per datagram {machine:.2f} us of the machine, "
              f"{own:.2f} us of the forwarder (kpps of all rounds: {spread})", flush=True)


def main():
    args = arguments()
    if os.geteuid() != 0:
        sys.exit("needs root and namespaces")
    bench_inline.WAYS = WAYS
    for offloads in ("off", "on"):
        args.offloads = offloads
        with contextlib.ExitStack() as stack:
            lab = Lab(stack, args)
            lab.calibrate()
            print(f"offloads {offloads}; the machine is busy with {lab.idle_busy:.2f} CPUs of other work", flush=True)
            if offloads == "off":
                print(" as fast as it goes")
                table(lab, 0)
            print(f" at {args.rate / 1000:.0f} kpps")
            table(lab, args.rate)


if __name__ == "__main__":
    main()
