#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What bulkhead-hostd needs on a host with 100 NICs and 100,000 rules: memory, and CPU while nothing happens.

Everything is real: libvirtd, 10 QEMU domains of 10 NICs (started paused: what guests do is not what is measured),
bulkheadd with its nats-server. usage: bench_hostd.py BUILD_DIR [SECONDS]
"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
VMS, NICS, RULES = 10, 10, 100_000
PREFIXES = 50  # rules of one VM share them


def policy(number):
    rules = "\n".join(f"    - {{from: [{{cidr: 10.{number}.{i % PREFIXES}.0/24}}], ports: [tcp/{1000 + i // PREFIXES}]}}"
                      for i in range(RULES // VMS))
    return (f"kind: Policy\nmetadata: {{name: vm{number}, tenant: shop}}\nspec:\n"
            f"  selector: {{matchLabels: {{number: '{number}'}}}}\n  ingress:\n{rules}\n")


def guest_of(host, number):
    from labkit.guest import Nic
    nics = [Nic(f"52:54:00:77:{number:02x}:{n:02x}", addresses=[f"10.78.{number}.{n + 1}/16"]) for n in range(NICS)]
    return host.guest(f"vm{number}", nics=nics, tenant="shop", labels={"number": str(number)})


def memory_mb(daemon):
    text = daemon.node.run("cat", f"/proc/{daemon.pids()[0]}/smaps_rollup").stdout
    return [int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M).group(1)) / 1024 for key in ("Rss", "Pss")]


def measure(lab, seconds):
    daemons = [lab.manager.hostd(lab.host(1)), lab.manager.daemon]
    time.sleep(10)  # the commit settles, capabilities are cached
    before = [daemon.cpu_seconds() for daemon in daemons]
    time.sleep(seconds)
    for daemon, earlier in zip(daemons, before):
        rss, pss = memory_mb(daemon)
        cpu = (daemon.cpu_seconds() - earlier) / seconds * 100
        print(f"{daemon.name:16} memory {rss:6.1f} MB (of its own and its share: {pss:.1f}), "
              f"idle CPU {cpu:.2f} % of one core")


def main():
    if len(sys.argv) not in (2, 3) or os.geteuid():
        sys.exit(__doc__.strip().splitlines()[-1] + " (as root)")
    os.environ["BULKHEAD_BUILD"] = os.path.abspath(sys.argv[1])
    from labkit.lab import Lab
    lab = Lab(f"bench{os.getpid() % 10000}", hosts=1)
    try:
        lab.up(nat=False, bulkhead=True)
        lab.manager.start_all()
        guests = [guest_of(lab.host(1), number) for number in range(VMS)]
        for number, guest in enumerate(guests):
            lab.host(1).virsh("start", "--paused", guest.name)
            print(f"\rstarted {number + 1} of {VMS} VMs", end="", flush=True)
        start = time.monotonic()
        lab.manager.apply("---\n".join(policy(number) for number in range(VMS)), wait=60)
        lab.manager.wait_in_sync(120)
        nics = [nic for vm in lab.manager.json("vm", "list")["items"] for nic in lab.manager.vm(vm["name"])["nics"]]
        good = sum(1 for nic in nics if nic["protected"])
        print(f"\n{good} of {VMS * NICS} NICs protected, {RULES:,} rules applied in {time.monotonic() - start:.1f} s")
        measure(lab, float(sys.argv[2]) if len(sys.argv) == 3 else 60)
    finally:
        lab.down()


if __name__ == "__main__":
    main()
