# SPDX-License-Identifier: Apache-2.0
"""No NIC passes a packet before it is fed, whichever way it came to be."""
import json
import threading

from conftest import add_guest
from helpers import magic, quiet, wait_stat
from labkit import util
from labkit.sniff import Sniffer

SEND = """
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0))
for _ in range(5):
    for f in sys.argv[2:]:
        s.send(bytes.fromhex(f))
    time.sleep(0.05)
"""


def test_no_start_without_hostd(world):
    host = world.host(1)
    guest = add_guest(world, "unborn", 1, 36, "shop", "web")
    daemon = world.manager.hostd(host)
    daemon.stop()
    try:
        done = host.virsh("start", "unborn", check=False)
        assert done.returncode, "a VM started although nobody could protect it"
        text = done.stderr.lower()
        assert "hostd" in text and "birth" in text, f"the error does not say what to do: {done.stderr}"
        assert not guest.running()
    finally:
        world.manager.start_hostd(host)
        world.manager.wait_in_sync()
    guest.start()
    assert guest.ping(world.guests["db"].address) or guest.tcp(world.guests["db"].address, 3306) == "connected"
    guest.remove()


def test_no_start_with_a_manager_that_is_away_and_a_new_vm(world):
    """hostd needs the VM's state; without the manager it has none for a VM that the manager never saw."""
    host = world.host(1)
    world.manager.daemon.signal("STOP")
    guest = add_guest(world, "stranger", 1, 33, "shop", "stranger")  # while it is away: one that is defined is seen
    try:
        done = host.virsh("start", "stranger", check=False, timeout=120)
        assert done.returncode and "has not seen this VM" in done.stderr, done
        assert not guest.running()
    finally:
        world.manager.daemon.signal("CONT")
        world.manager.wait_in_sync()
        guest.remove()


def test_birth_open_starts_without_hostd_and_is_protected_later(world):
    host, db = world.host(1), world.guests["db"]
    guest = add_guest(world, "early", 1, 32, "rival", "web", birth="open")
    world.manager.hostd(host).stop()
    try:
        guest.start()
    finally:
        world.manager.start_hostd(host)
        world.manager.wait_in_sync()
    world.manager.wait_protected("early")
    assert guest.tcp(db.address, 3306, timeout_ms=800) == "timeout"
    assert guest.tcp(world.guests["web"].address, 80) == "connected"
    guest.remove()


def ports(host):
    return set(host.sh("ls /sys/class/net/br0/brif").split())


def test_what_came_before_the_policy_is_not_given_to_a_vm_that_starts(world):
    """A tap stands in the bridge before hostd knows of it; what waits there by then, the VM never sees."""
    host, evil = world.host(1), world.guests["evil"]
    guest = add_guest(world, "newborn", 1, 37, "shop", "db")
    daemon, mark = world.manager.hostd(host), magic()
    from scapy.all import Ether, IP, Raw, UDP
    frame = Ether(src=evil.mac, dst=guest.mac) / IP(src=evil.address, dst=guest.address) / UDP(sport=9, dport=9) / \
        Raw(mark + bytes(1200))
    there = ports(host)
    start = threading.Thread(target=host.virsh, args=("start", guest.name), kwargs={"check": False})
    daemon.signal("STOP")
    try:
        start.start()
        tap = util.wait_until("its tap", lambda: ports(host) - there, 20).pop()
        with Sniffer(host, tap, mark, outgoing=True) as seen:
            evil.send(frame, count=100, interval_us=2000)
            quiet()
    finally:
        daemon.signal("CONT")
    start.join(120)
    guest.wait()
    got = int(guest.sh("cat /sys/class/net/eth0/statistics/rx_bytes"))
    guest.remove()
    assert len(seen.frames) > 50, "the bridge gave nothing to the new tap: this proves nothing"
    assert got < len(seen.frames) * len(frame) / 10


def test_running_vms_do_not_notice_that_hostd_is_away(world):
    web, db, evil = (world.guests[n] for n in ("web", "db", "evil"))
    world.manager.hostd(world.host(1)).stop()
    try:
        assert web.tcp(db.address, 3306) == "connected"
        assert evil.tcp(db.address, 3306, timeout_ms=800) == "timeout"
    finally:
        world.manager.start_hostd(world.host(1))
        world.manager.wait_in_sync()


def plug(guest, mac):
    guest.host.virsh("attach-interface", guest.name, "bridge", "br0", "--mac", mac, "--model", "virtio", "--live")
    util.wait_until("eth1 in the guest", lambda: "eth1" in guest.sh("ls /sys/class/net"), 15)
    guest.sh("ip link set eth1 up")


def test_hot_plugged_nic_is_closed_until_fed(world):
    """With hostd stopped in its tracks nobody feeds the new NIC, and nothing it sends arrives."""
    web, web2, db, mac = world.guests["web"], world.guests["evil"], world.guests["db"], "52:54:00:aa:00:01"
    daemon, mark = world.manager.hostd(world.host(1)), magic()
    from scapy.all import ARP, Ether, IP, UDP
    frames = [Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="10.78.0.90", pdst=db.address, hwsrc=mac) / mark,
              Ether(src=mac, dst=db.mac) / IP(src="10.78.0.90", dst=db.address) / UDP(sport=999, dport=53) / mark,
              Ether(src=mac, dst=web2.mac) / IP(src="10.78.0.90", dst=web2.address) / UDP(sport=999, dport=80) / mark]
    db.capture("plug", match=mark)
    web2.capture("plug", match=mark)
    daemon.signal("STOP")
    try:
        plug(web, mac)
        with Sniffer(world.switch, "lan-h1", mark) as uplink:
            web.send(*frames, dev="eth1", count=5, interval_us=20000)
            quiet()
        assert not uplink.frames and not db.stop("plug")["matched"] and not web2.stop("plug")["matched"]
    finally:
        daemon.signal("CONT")
    util.wait_until("the new NIC in the inventory", lambda: [
        n for n in world.manager.vm("web")["nics"] if n["mac"] == mac and n["protected"]], 20, 0.3)
    world.manager.cli("vm", "addresses", "web", mac, "10.78.0.90", check=False)
    web.host.virsh("detach-interface", "web", "bridge", "--mac", mac, "--live")
    util.wait_until("the NIC to go", lambda: "eth1" not in web.sh("ls /sys/class/net"), 15)
    assert web.tcp(db.address, 3306) == "connected"


def test_veth_by_hand_passes_nothing(world):
    """To a VM on the same host, to one on the other, to the host, to the network."""
    host, evil, db = world.host(1), world.guests["evil"], world.guests["db"]
    mark, mac = magic(), "52:54:00:aa:00:02"
    from scapy.all import Ether, IP, UDP
    bridge_mac = host.sh("cat /sys/class/net/br0/address").strip()
    frames = [bytes(Ether(src=mac, dst=d) / IP(src="10.78.0.91", dst=a) / UDP(sport=999, dport=9999) / mark).hex()
              for d, a in (("ff:ff:ff:ff:ff:ff", "10.78.0.255"), (evil.mac, evil.address), (db.mac, db.address),
                           (bridge_mac, "10.78.0.201"))]
    listener = ("import socket,json; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('',9999));"
                "s.settimeout(3); print('ready',flush=True)\n"
                "try: print(json.dumps(s.recv(2000).hex()))\nexcept TimeoutError: print(json.dumps(''))")
    path = f"{host.dir}/listen.py"
    util.write(path, listener)
    util.write(f"{host.dir}/send.py", SEND)
    evil.capture("hand", match=mark)
    db.capture("hand", match=mark)
    host.sh("ip link add hand0 type veth peer name hand1; ip link set hand0 master br0 up; ip link set hand1 up")
    out = f"{host.dir}/listen.out"
    try:
        waiting = host.start("/usr/bin/python3", path, log=out)
        util.wait_until("the listener", lambda: "ready" in util.read(out), 10)
        with Sniffer(world.switch, "lan-h1", mark) as uplink:
            host.run("/usr/bin/python3", f"{host.dir}/send.py", "hand1", *frames)
            quiet()
        waiting.wait(10)
    finally:
        host.sh("ip link del hand0", check=False)
    assert json.loads(util.read(out).splitlines()[-1]) == "", "the host's own stack got a frame"
    assert not uplink.frames, "it left by the uplink"
    assert not evil.stop("hand")["matched"] and not db.stop("hand")["matched"]


def test_restarted_guest_keeps_its_rules(world):
    web2, db = world.guests["web2"], world.guests["db"]
    web2.destroy()
    web2.start()
    web2.serve(80, mode="http")
    assert web2.tcp(db.address, 3306) == "connected"
    assert db.tcp(web2.address, 22, timeout_ms=800) == "timeout"
    db.flow("again", web2.address, 80, wait=False)
    wait_stat(db, "again", lambda s: s["done"] or s["ready"])
    db.stop("again")


def test_no_start_where_it_may_not_run(world):
    """Placement is about starts too; birth=open is no way around it, and no way is named."""
    host = world.host(1)
    guest = add_guest(world, "picky", 1, 34, "shop", "picky", birth="open")
    world.manager.apply("kind: Policy\nmetadata: {name: picky, tenant: shop}\nspec:\n"
                        "  selector: {matchLabels: {role: picky}}\n"
                        "  placement: {hosts: {matchLabels: {zone: pci}}}\n")
    try:
        done = host.virsh("start", "picky", check=False)
        why = f"placement of policy shop/picky needs a host with zone=pci; {host.name} has no zone"
        assert done.returncode and why in done.stderr and "birth" not in done.stderr, done.stderr
        assert not guest.running()
        world.manager.cli("host", "label", host.name, "zone=pci")
        guest.start()
    finally:
        world.manager.cli("host", "label", host.name, "zone-")
        world.manager.cli("policy", "delete", "shop/picky")
        guest.remove()
