#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bulkhead-gated by AF_XDP, with real connections: tests/gate/xdp.py BUILD [CHECK...]

The lab of live.py; its interfaces have two queues, and all ends have their offloads off, as AF_XDP needs. Looked at: what live.py looks
at, VLAN tags, frames that are too large, sides that go down or away, falling behind, and what is refused. As root.
"""
import os
import signal
import subprocess
import sys

import inline
import live
from live import ALERT, CLIENT, DROP, SERVER, wait

OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "lro", "rxvlan", "txvlan")
UDP_PORT = inline.UDP_PORT


class XdpLab(inline.InlineLab):
    def link(self, one, name, other, peer):
        self.run(one, "ip", "link", "add", name, "numtxqueues", "2", "numrxqueues", "2", "type", "veth", "peer", "name", peer,
                 "numtxqueues", "2", "numrxqueues", "2", "netns", str(other.pid))
        for holder, dev in ((one, name), (other, peer)):
            for offload in OFFLOADS:
                subprocess.run(["nsenter", "-t", str(holder.pid), "-n", "ethtool", "-K", dev, offload, "off"], check=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.run(holder, "ip", "link", "set", dev, "up")

    def begin(self, *options):
        # one worker where a check asks for two: veth does not spread both directions of a flow alike
        options = [option if option != "2" else "1" for option in options]
        super().begin(*options, "--set", "capture.mode=af-xdp")

    def refused(self, *options):
        """What it says when it does not start."""
        own_sys = 'mount -t sysfs sysfs /sys && exec "$@"'  # what it reads there is of the namespace that mounted it
        done = subprocess.run(["nsenter", "-t", str(self.holders[1].pid), "-n", "unshare", "-m", "sh", "-c", own_sys, "sh", self.program,
                               *options, "-S", f"{self.folder}/test.rules", "-l", f"{self.folder}/log", "--set", "capture.mode=af-xdp"],
                              check=False, capture_output=True, text=True, timeout=live.WAIT_S)
        assert done.returncode == 1, done
        return done.stderr

    def ethtool(self, dev, *options):
        self.run(self.holders[1], "ethtool", *options[:1], dev, *options[1:])

    def has_program(self, dev):
        done = subprocess.run(["nsenter", "-t", str(self.holders[1].pid), "-n", "ip", "link", "show", dev], check=True,
                              capture_output=True, text=True)
        return "xdp" in done.stdout


def check_live(lab):
    for check in (live.check_inline, live.check_reload, live.check_reload_under_traffic, live.check_records):
        check(lab)


def check_many_flows(lab):
    """Datagrams of 200 flows, over both queues, come through whole and in order, each once."""
    lab.gate_begin(DROP + ALERT)
    receiver = lab.udp(lab.holders[2], SERVER, UDP_PORT)
    for _ in range(200):
        sender = lab.udp(lab.holders[0], CLIENT)
        for size in (1, 60, 1472):
            assert inline.passes(sender, receiver, os.urandom(size)), size
        sender.close()
    stats = lab.ask("stats")["stats"]["capture"]
    assert not stats["kernel_drops"] and not stats["send_failed"], stats
    lab.end()


def check_sizes(lab):
    """What is too large for the other leg is dropped and counted, and what fits goes on."""
    lab.mtu(a0=2000, g0=2000, b0=2000, g1=1500)
    lab.gate_begin(DROP + ALERT)
    sender, receiver = lab.udp(lab.holders[0], CLIENT), lab.udp(lab.holders[2], SERVER, UDP_PORT)
    assert inline.passes(sender, receiver, b"j" * 1472)
    assert not inline.passes(sender, receiver, b"j" * 1900)
    assert lab.counter("gate_ring_too_large") == 1
    lab.mtu(g1=2000)
    wait("they pass", lambda: inline.passes(sender, receiver, b"j" * 1900))
    lab.end()
    lab.mtu(a0=1500, g0=1500, g1=1500, b0=1500)


def check_gone(lab):
    """Who ends it leaves nothing behind; an interface that is taken away ends it, and it says so."""
    lab.gate_begin(DROP + ALERT)
    assert lab.has_program("g0") and lab.has_program("g1")
    lab.gate.send_signal(signal.SIGKILL)
    lab.gate.wait()
    wait("the programs are gone", lambda: not lab.has_program("g0") and not lab.has_program("g1"))
    lab.gate_begin(DROP + ALERT)
    lab.run(lab.holders[1], "ip", "link", "del", "g1")
    assert lab.gate.wait(live.WAIT_S) == 1
    assert "interface g1 is gone" in lab.text("stderr")


def check_refused(lab):
    lab.rules(ALERT)
    lab.run(lab.holders[1], "ip", "addr", "add", "192.0.2.1/24", "dev", "g0")
    assert "has addresses" in lab.refused("--inline", "g0:g1")
    assert "has addresses" in lab.refused("-i", "g0")
    lab.run(lab.holders[1], "ip", "addr", "del", "192.0.2.1/24", "dev", "g0")
    lab.run(lab.holders[1], "ip", "link", "add", "br0", "type", "bridge")
    lab.run(lab.holders[1], "ip", "link", "set", "g1", "master", "br0")
    assert "interface g1 is in a bridge" in lab.refused("--inline", "g0:g1")
    lab.run(lab.holders[1], "ip", "link", "set", "g1", "nomaster")
    lab.ethtool("g1", "-K", "rxvlan", "on")
    assert "ethtool -K g1 rxvlan off" in lab.refused("--inline", "g0:g1")
    lab.ethtool("g1", "-K", "rxvlan", "off")
    assert "capture.xdp-symmetric" in lab.refused("--inline", "g0:g1", "--workers", "2")
    symmetric = ("--set", "capture.xdp-symmetric=yes")
    assert "3 workers need as many" in lab.refused("--inline", "g0:g1", "--workers", "3", *symmetric)
    lab.mtu(a0=9000)  # veth looks at the other end's
    assert "interface g0: XDP in its driver" in lab.refused("--inline", "g0:g1")
    lab.mtu(a0=1500)
    assert "no name of an interface" in lab.refused("-i", "a-name-that-is-far-too-long")
    assert "interface nowhere" in lab.refused("-i", "nowhere")
    assert not lab.has_program("g0") and not lab.has_program("g1")


def check_user(lab):
    """Started by another user with the rights it takes: two are left once it runs."""
    lab.rules(ALERT)
    rights = "-all,+net_raw,+net_admin,+bpf,+ipc_lock"  # the last for a limit that a unit sets
    program = lab.program
    lab.program = f"{lab.folder}/as-user"
    with open(lab.program, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps {rights} --ambient-caps {rights} '
                   f'{program} "$@"\n')
    os.chmod(lab.program, 0o755)
    os.chmod(lab.folder, 0o777)
    lab.begin("--inline", "g0:g1")
    live.check_rights(lab)
    wait("connections pass", lambda: lab.say("open") == "open")
    lab.end()
    lab.program = program


def check_workers(lab):
    """Two workers have a queue of each side; a sensor sees what comes by both."""
    lab.rules(ALERT + 'alert udp any any -> any any (msg:"datagram"; content:"QUEUE"; sid:9;)\n')
    live.Lab.begin(lab, "-i", "g0", "--workers", "2", "--set", "capture.mode=af-xdp", "--set", "capture.xdp-symmetric=yes")
    lab.run(lab.holders[0], "ip", "neigh", "replace", SERVER, "lladdr", "02:00:00:00:00:01", "dev", "a0")
    sender = lab.udp(lab.holders[0], CLIENT)
    for i in range(64):
        sender.sendto(b"QUEUE", (SERVER, 1000 + i))
    wait("all are seen", lambda: len(lab.records("alert")) == 64)
    lab.end()
    lab.run(lab.holders[0], "ip", "neigh", "del", SERVER, "dev", "a0")


CHECKS = (check_live, inline.check_vlan, check_many_flows, check_sizes, inline.check_down, inline.check_link_state, inline.check_fail_open,
          check_user, check_workers, check_refused, check_gone)


if __name__ == "__main__":
    sys.exit(inline.run_checks(XdpLab, CHECKS))
