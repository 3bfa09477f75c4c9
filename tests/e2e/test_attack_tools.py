# SPDX-License-Identifier: Apache-2.0
"""Real attack tools of Debian inside a guest (TCG) and inside a libvirt-lxc domain (veth): stopped at their
own tap, and an event names the VM."""
import shutil

import pytest

from helpers import magic, quiet, wait_guard
from labkit import image
from labkit.sniff import Sniffer


def need(tool):
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")


@pytest.fixture(scope="module")
def mallory(world):
    """A guest of tenant rival with arpspoof, hping3 and nmap in its initrd."""
    guest = world.host(1).guest("mallory", address="10.78.0.67/24", address6="fd78::67/64", tenant="rival",
                                labels={"role": "tools"}, initrd=image.attack_initrd(), memory_mib=192)
    guest.start(timeout=90)
    yield guest
    guest.remove()


@pytest.fixture(scope="module")
def box(world):
    """A libvirt-lxc domain of tenant rival: a veth NIC, and scapy inside."""
    guest = world.host(1).container("box", address="10.78.0.68/24", address6="fd78::68/64", tenant="rival",
                                    labels={"role": "tools"})
    guest.start()
    yield guest
    guest.remove()


def test_arpspoof(world, mallory):
    need("arpspoof")
    web, db = world.guests["web"], world.guests["db"]
    since = world.manager.last_event()
    assert web.tcp(db.address, 3306) == "connected"
    mallory.sh(f"timeout 4 arpspoof -i eth0 -t {web.address} {db.address} 2>&1", check=False)
    wait_guard(world, mallory, r"spoof.arp", since)
    entry = [line for line in web.sh("cat /proc/net/arp").splitlines() if line.startswith(db.address + " ")]
    assert entry and db.mac in entry[0] and web.tcp(db.address, 3306) == "connected"


def test_nmap_finds_only_what_is_open(world, mallory):
    need("nmap")
    since = world.manager.last_event()
    out = mallory.sh(f"nmap -n -Pn -sS --max-retries 1 -T4 -p 22,80,443,3306 {world.guests['web'].address} "
                     f"{world.guests['db'].address} 2>&1", timeout=100)
    web_part, db_part = out.split("Nmap scan report for")[1:3]
    assert "80/tcp   open" in web_part and web_part.count("filtered") >= 3, out
    assert "open " not in db_part and ("filtered" in db_part), out
    refused = world.manager.wait_event(lambda e: e["type"] == "flow.refused" and e["id"] > since and
                                       e.get("src") == mallory.address and e.get("dport") == 443, ("--since", "600s"))
    assert refused["src_vm"] == "mallory"


def test_nmap_decoys(world, mallory):
    """Decoys are forged sources: none leaves."""
    need("nmap")
    since = world.manager.last_event()
    with Sniffer(world.switch, "lan-h1", bytes([10, 78, 0, 12, 0])) as uplink:
        mallory.sh("nmap -n -Pn -sS --max-retries 0 -T4 -D 10.78.0.11,10.78.0.13 -p 3306 10.78.0.12 2>&1", timeout=100)
        quiet()
    wait_guard(world, mallory, r"spoof.ip4", since)
    forged = [f for f in uplink.frames if f[26:30] in (bytes([10, 78, 0, 11]), bytes([10, 78, 0, 13])) and
              f[6:12].hex(":") == mallory.mac]
    assert not forged


def test_hping3_random_source(world, mallory):
    need("hping3")
    db = world.guests["db"]
    since = world.manager.last_event()
    db.capture("hping", match=b"\x0c\xea")  # to port 3306
    mallory.sh(f"timeout 20 hping3 -S -p 3306 -c 50 -i u2000 --rand-source {db.address} 2>&1", check=False)
    wait_guard(world, mallory, r"spoof.ip4", since)
    assert not [f for f in db.frames("hping") if f[6:12].hex(":") == mallory.mac]
    db.stop("hping")


def test_hping3_fragments(world, mallory):
    need("hping3")
    db, mark = world.guests["db"], magic()
    db.capture("frags", match=bytes([10, 78, 0, 67, 10, 78, 0, 12]))
    mallory.sh(f"timeout 20 hping3 -S -p 3306 -c 5 -i u2000 -f -d 64 {db.address} 2>&1", check=False)
    quiet()
    assert db.stop("frags")["matched"] == 0 and mark


SCAPY = """
from scapy.all import *
import sys
conf.verb = 0
own, other, db = "{own}", "{other}", "{db}"
mac = get_if_hwaddr("eth0")
e = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff"); m = Ether(src=mac, dst="33:33:00:00:00:01")
frames = dict(
  arp=e/ARP(op=2, psrc=db, hwsrc=mac),
  nd=m/IPv6(src="{own6}", dst="ff02::1", hlim=255)/ICMPv6ND_NA(tgt="{db6}", O=1)/ICMPv6NDOptDstLLAddr(lladdr=mac),
  ra=m/IPv6(src="fe80::bad", dst="ff02::1", hlim=255)/ICMPv6ND_RA()/ICMPv6NDOptPrefixInfo(prefix="fd66::", prefixlen=64),
  dhcp=e/IP(src=own, dst="255.255.255.255")/UDP(sport=67, dport=68)/BOOTP(op=2, yiaddr="10.78.0.250")/
       DHCP(options=[("message-type", "offer"), ("server_id", own), "end"]),
  ip=Ether(src=mac, dst="{db_mac}")/IP(src=other, dst=db)/TCP(dport=3306),
)
for f in frames.values():
    sendp(f, iface="eth0", count=3)
print("sent", len(frames))
"""


def test_scapy_in_a_container(world, box):
    """ND, RA, DHCP, ARP and IP spoofing through a veth NIC of libvirt-lxc."""
    web, db = world.guests["web"], world.guests["db"]
    vm = world.manager.vm("box")
    assert vm["type"] == "lxc" and vm["nics"][0]["protected"], vm
    since = world.manager.last_event()
    db.capture("scapy", match=bytes.fromhex(box.mac.replace(":", "")))
    out = box.python(SCAPY.format(own=box.address, own6=box.address6, other=web.address, db=db.address, db6=db.address6,
                                  db_mac=db.mac))
    assert "sent 5" in out
    for kind in (r"spoof.arp", r"spoof.nd", r"(rogue.ra|spoof.ip6)", r"rogue.dhcp", r"spoof.ip4"):
        wait_guard(world, box, kind, since)
    bad = [f for f in db.frames("scapy") if f[12:14] == b"\x08\x06" and f[28:32] != bytes([10, 78, 0, 68])]
    assert not bad
    db.stop("scapy")
    assert web.tcp(db.address, 3306) == "connected"


def test_container_is_under_policy_too(world, box):
    """Honest traffic of the container: allowed to web's port 80, refused to db."""
    web, db = world.guests["web"], world.guests["db"]
    script = "import socket;s=socket.create_connection(('{}',{}),1);print('connected')"
    good = box.run("/usr/bin/python3", "-c", script.format(web.address, 80), check=False)
    assert "connected" in good.stdout, good.stderr
    bad = box.run("/usr/bin/python3", "-c", script.format(db.address, 3306), check=False)
    assert "connected" not in bad.stdout
