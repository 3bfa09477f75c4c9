# SPDX-License-Identifier: Apache-2.0
"""What a guest must not send is stopped at its own tap, and the event names the VM."""
import pytest
from scapy.all import (ARP, BOOTP, DHCP, DHCP6_Advertise, Dot1Q, Ether, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6NDOptDstLLAddr,
                       ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, IP, IPv6, Raw, TCP, UDP, fragment)

from helpers import magic, quiet, wait_guard
from labkit.sniff import Sniffer

ALL = "ff:ff:ff:ff:ff:ff"


def spoofs(evil, web, db, mark):
    """name -> (what the event says, frame): each pretends to be somebody else."""
    tail = Raw(mark)
    own4, own6 = IP(src=evil.address, dst=db.address), IPv6(src=evil.address6, dst=db.address6)
    dhcp = BOOTP(op=2, yiaddr="10.78.0.99", siaddr=evil.address) / DHCP(options=[("message-type", "offer"), "end"])
    all_nodes = Ether(src=evil.mac, dst="33:33:00:00:00:01")
    return {
        "mac": (r"spoof.mac", Ether(src=web.mac, dst=db.mac) / own4 / UDP(sport=999, dport=53) / tail),
        "ipv4": (r"spoof.ip4", Ether(src=evil.mac, dst=db.mac) / IP(src=web.address, dst=db.address) / UDP(sport=999, dport=53) / tail),
        "ipv6": (r"spoof.ip6", Ether(src=evil.mac, dst=db.mac) / IPv6(src=web.address6, dst=db.address6) / UDP(sport=999, dport=53) / tail),
        "arp-reply": (r"spoof.arp", Ether(src=evil.mac, dst=db.mac) /
                      ARP(op=2, hwsrc=evil.mac, psrc=web.address, hwdst=db.mac, pdst=db.address) / tail),
        "arp-gratuitous": (r"spoof.arp", Ether(src=evil.mac, dst=ALL) /
                           ARP(op=1, hwsrc=evil.mac, psrc=web.address, pdst=web.address) / tail),
        "arp-sender-mac": (r"spoof.arp", Ether(src=evil.mac, dst=ALL) /
                           ARP(op=1, hwsrc=web.mac, psrc=evil.address, pdst=db.address) / tail),
        "nd-advertisement": (r"spoof.nd", all_nodes / IPv6(src=evil.address6, dst="ff02::1", hlim=255) /
                             ICMPv6ND_NA(tgt=web.address6, O=1) / ICMPv6NDOptDstLLAddr(lladdr=evil.mac)),
        "nd-solicitation": (r"spoof.nd", all_nodes / IPv6(src=evil.address6, dst="ff02::1", hlim=255) /
                            ICMPv6ND_NS(tgt=db.address6) / ICMPv6NDOptSrcLLAddr(lladdr=web.mac)),
        "dhcp-server": (r"rogue.dhcp", Ether(src=evil.mac, dst=ALL) / IP(src=evil.address, dst="255.255.255.255") /
                        UDP(sport=67, dport=68) / dhcp / tail),
        "dhcpv6-server": (r"rogue.dhcp", Ether(src=evil.mac, dst=db.mac) / own6 / UDP(sport=547, dport=546) /
                          DHCP6_Advertise() / tail),
        "router-advertisement": (r"rogue.ra", all_nodes / IPv6(src=evil.address6, dst="ff02::1", hlim=255) /
                                 ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="fd99::", prefixlen=64)),
        "vlan": (r"vlan", Ether(src=evil.mac, dst=db.mac) / Dot1Q(vlan=7) / own4 / UDP(sport=999, dport=53) / tail),
        "vlan-twice": (r"vlan", Ether(src=evil.mac, dst=db.mac) / Dot1Q(vlan=7, type=0x8100) / Dot1Q(vlan=8) / own4 /
                       UDP(sport=999, dport=53) / tail),
    }


KINDS = ["mac", "ipv4", "ipv6", "arp-reply", "arp-gratuitous", "arp-sender-mac", "nd-advertisement", "nd-solicitation",
         "dhcp-server", "dhcpv6-server", "router-advertisement", "vlan", "vlan-twice"]


@pytest.mark.parametrize("kind", KINDS)
def test_spoof(world, kind):
    evil, web, db = (world.guests[n] for n in ("evil", "web", "db"))
    mark = magic()
    reason, frame = spoofs(evil, web, db, mark)[kind]
    wire = bytes(frame)
    match = mark if mark in wire else wire[14:]
    since = world.manager.last_event()
    db.capture("spoof", match=match)
    with Sniffer(world.switch, "lan-h1", match) as uplink:
        assert evil.send(wire, count=3, interval_us=10000)["sent"] == 3
        quiet()
    assert not uplink.frames, "it left the host"
    assert db.stop("spoof")["matched"] == 0, "it arrived"
    event = wait_guard(world, evil, reason, since)
    assert event["nic"] == evil.mac and event["host"] == "h1"


def test_own_frames_do_pass(world):
    """The control of the test above: the same sender with its own addresses gets through to where it may."""
    evil, web = world.guests["evil"], world.guests["web"]
    mark = magic()
    web.capture("own", match=mark)
    evil.send(Ether(src=evil.mac, dst=ALL) / ARP(op=1, hwsrc=evil.mac, psrc=evil.address, pdst=web.address) / Raw(mark),
              Ether(src=evil.mac, dst=web.mac) / IP(src=evil.address, dst=web.address) / TCP(sport=1025, dport=80) / Raw(mark))
    quiet()
    assert web.stop("own")["matched"] >= 1


def test_promiscuous_guest_sees_nobody_elses_unicast(world):
    evil, web, db, web2 = (world.guests[n] for n in ("evil", "web", "db", "web2"))
    mark = magic()
    web2.capture("sniff")
    evil.capture("sniff")
    web.flow("talk", db.address, 3306)
    stranger = Ether(src=web.mac, dst="52:54:00:fe:fe:fe") / IP(src=web.address, dst="10.78.0.77") / UDP() / Raw(mark)
    web.send(stranger, count=5, interval_us=10000)  # nobody's MAC: bridges flood it
    world.switch.run("ping", "-c", "3", "-i", "0.2", web.address, check=False)
    quiet(1.0)
    web.stop("talk")
    for guest in (evil, web2):
        stat = guest.stop("sniff")
        assert stat["foreign"] == 0, f"{guest.name} saw {stat['foreign']} frames for others"


def test_malformed_frames_are_dropped(world):
    """Every truncation of a good frame, and lying lengths: nothing arrives but what is whole."""
    evil, web = world.guests["evil"], world.guests["web"]
    mark = magic()
    good = bytes(Ether(src=evil.mac, dst=web.mac) / IP(src=evil.address, dst=web.address, flags="DF") / UDP(sport=999, dport=80) / Raw(mark))
    web.capture("broken", match=mark)
    lying = [bytes(Ether(src=evil.mac, dst=web.mac) / IP(src=evil.address, dst=web.address, len=n) / UDP(sport=999, dport=80) / Raw(mark))
             for n in (0, 19, 4000)]
    lying.append(bytes(Ether(src=evil.mac, dst=web.mac) / IP(src=evil.address, dst=web.address, ihl=4) / UDP(sport=999, dport=80) / Raw(mark)))
    evil.send(*[good[:n] for n in range(14, len(good))], *lying, interval_us=500)
    quiet()
    assert web.stop("broken")["matched"] == 0
    assert evil.tcp(web.address, 80) == "connected"


def test_overlapping_fragments(world):
    """A later fragment must not write over the header that was judged."""
    evil, web = world.guests["evil"], world.guests["web"]
    mark = magic()
    whole = IP(src=evil.address, dst=web.address, id=4711) / UDP(sport=1, dport=80) / Raw(b"A" * 64)
    first, second = fragment(whole, fragsize=40)[:2]
    second.frag = 1
    second.remove_payload()
    second /= Raw(mark * 3)
    tiny = IP(src=evil.address, dst=web.address, id=4712, flags="MF", proto=6) / Raw(b"\0" * 8)
    web.capture("overlap", match=mark)
    evil.send(*[Ether(src=evil.mac, dst=web.mac) / f for f in (first, second, tiny)])
    quiet()
    assert web.stop("overlap")["matched"] == 0


def test_mac_flood_leaves_the_neighbours_alone(world):
    evil, web, db = (world.guests[n] for n in ("evil", "web", "db"))
    web.flow("calm", db.address, 3306)
    for block in range(5):
        evil.send(*[Ether(src=f"52:55:00:00:{block:02x}:{n:02x}", dst=ALL) / Raw(b"x" * 50) for n in range(200)])
    stat = web.stop("calm")
    assert stat["sent"] - stat["received"] <= 1 and not stat["done"]
    assert "52:55:00" not in world.host(1).sh("bridge fdb show br br0")
