#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bulkhead-gated inline on interfaces as hosts have them: tests/gate/inline.py BUILD [CHECK..]

Offloads on, VLAN tags, jumbo frames, MTUs that differ, a leg that goes down, one that is taken away and comes back, flows and
their fragments over two workers, reload under load. Client, gate and server are network namespaces (live.py). As root.
"""
import contextlib
import ctypes
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from live import ALERT, CLIENT, DROP, REJECT, SERVER, Lab, wait

ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 3, 263, 8, 1 << 4
CLONE_NEWNET = 0x40000000
HOSTS = [f"10.99.0.{n}" for n in range(10, 18)]
UDP_PORT, BULK_PORT = 9000, 9001
LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def within(holder):
    """Sockets that are made here stay in that namespace."""
    with open("/proc/self/ns/net", "rb") as own, open(f"/proc/{holder.pid}/ns/net", "rb") as other:
        assert LIBC.setns(other.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert LIBC.setns(own.fileno(), CLONE_NEWNET) == 0


class InlineLab(Lab):
    """As in live.py, but interfaces keep their offloads."""

    def link(self, one, name, other, peer):
        self.run(one, "ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", str(other.pid))
        for holder, dev in ((one, name), (other, peer)):
            self.run(holder, "ip", "link", "set", dev, "up")

    def counter(self, name):
        return self.ask("counters")["counters"][name]["value"]

    def gate_begin(self, rules, *options):
        self.rules(rules)
        self.begin("--inline", "g0:g1", "--workers", "2", *options)
        wait("connections pass", lambda: self.say("open") == "open")

    def mtu(self, **sizes):
        where = {"a0": 0, "g0": 1, "g1": 1, "b0": 2}
        for dev, size in sizes.items():
            self.run(self.holders[where[dev]], "ip", "link", "set", dev, "mtu", str(size))

    def udp(self, holder, address, port=0):
        with within(holder):
            link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            link.bind((address, port))
            link.settimeout(1)
            self.stack.callback(link.close)
            return link

    def raw(self, holder, dev):
        with within(holder):
            link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            link.bind((dev, ETH_P_ALL))
            link.settimeout(1)
            self.stack.callback(link.close)
            return link


def passes(sender, receiver, data, to=(SERVER, UDP_PORT)):
    sender.sendto(data, to)
    try:
        return receiver.recv(65536) == data
    except socket.timeout:
        return False


def seen(link, marker):
    """The frame with these bytes, its tags put back; None."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            frame, extra, _, _ = link.recvmsg(65536, 256)
        except socket.timeout:
            return None
        if marker not in frame:
            continue
        for level, kind, data in extra:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", data[:20])
                if status & TP_STATUS_VLAN_VALID:
                    frame = frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
        return frame
    return None


# ---- what is looked at ----

def bulk(lab, size):
    """Bytes of one connection, whole and in order."""
    data = os.urandom(1 << 20) * (size >> 20)
    got = hashlib.sha256()
    with within(lab.holders[2]):
        listener = socket.create_server((SERVER, BULK_PORT))

    def drain():
        peer = listener.accept()[0]
        while part := peer.recv(1 << 20):
            got.update(part)
        peer.close()
        listener.close()

    reader = threading.Thread(target=drain)
    reader.start()
    with within(lab.holders[0]):
        link = socket.create_connection((SERVER, BULK_PORT), timeout=10)
    link.sendall(data)
    link.close()
    reader.join(20)
    assert got.digest() == hashlib.sha256(data).digest()


def check_offloads(lab):
    """Frames of 64 kB and checksums that nobody has made yet."""
    lab.gate_begin(DROP + REJECT + ALERT + REPLACE)
    assert lab.say("say hello") == "hello"
    answer = lab.say("say xOLDWORDx")
    assert answer == "xNEWWORDx", answer
    bulk(lab, 64 << 20)
    stats = lab.ask("stats")["stats"]
    assert stats["capture"]["send_failed"] == 0, stats["capture"]
    assert lab.say("say BLOCKME") == "timeout"
    assert lab.say("open") == "open"
    assert lab.say("say REJECTME") in ("ConnectionResetError", "closed")
    assert lab.counter("gate_ring_too_large") == 0 and lab.counter("gate_ring_large_lost") == 0
    lab.end()


def check_vlan(lab):
    """Tags that the kernel takes out of a frame are there again, one and two of them; datagrams in them are inspected."""
    lab.gate_begin('drop udp any any -> any any (msg:"tagged"; content:"BLOCKTAG"; sid:1;)\n')
    sender, receiver = lab.raw(lab.holders[0], "a0"), lab.raw(lab.holders[2], "b0")

    def frame(tags, payload):
        udp = struct.pack("!HHHH", 5000, 5001, 8 + len(payload), 0) + payload
        ip = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(CLIENT),
                                   socket.inet_aton(SERVER)))
        total = sum(struct.unpack("!10H", ip))
        ip[10:12] = struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff)
        return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + tags + b"\x08\0" + bytes(ip) + udp

    for number, tags in enumerate((b"\x81\0\0\x07", b"\x81\0\xe0\x07", b"\x88\xa8\0\x64\x81\0\0\x07")):
        for size in (20, 1472 if len(tags) == 4 else 1464):
            marker = b"number%02d" % number
            sent = frame(tags, marker + b"." * (size - len(marker)))
            sender.send(sent)
            got = seen(receiver, marker)
            assert got == sent, (tags, size, got and got[:24])
            sender.send(frame(tags, b"BLOCKTAG"))
            assert seen(receiver, b"BLOCKTAG") is None
    lab.end()


REPLACE = ('alert tcp any any -> any any (msg:"other"; flow:established,to_server; content:"OLDWORD"; replace:"NEWWORD"; '
           'sid:4;)\n')


def check_tunnels(lab):
    """Connections in VXLAN, which the kernels of both ends read: reject and replace reach into the tunnel."""
    ends = ((lab.holders[0], "a0", CLIENT, SERVER, "10.55.0.1"), (lab.holders[2], "b0", SERVER, CLIENT, "10.55.0.2"))
    for holder, dev, local, remote, inner in ends:
        lab.run(holder, "ip", "link", "add", "vx0", "type", "vxlan", "id", "7", "local", local, "remote", remote, "dstport", "4789",
                "dev", dev)
        lab.run(holder, "ip", "addr", "add", f"{inner}/24", "dev", "vx0")
        lab.run(holder, "ip", "link", "set", "vx0", "up")
    lab.gate_begin(DROP + REJECT + REPLACE)

    def ask(text):
        with within(lab.holders[0]):
            link = socket.create_connection(("10.55.0.2", 8080), timeout=3)
        with link:
            try:
                link.sendall(text)
                return link.recv(100)
            except socket.timeout:
                return b"timeout"
            except ConnectionResetError:
                return b"reset"

    assert ask(b"hello") == b"hello"
    got = ask(b"xOLDWORDx")
    assert got == b"xNEWWORDx", got
    got = ask(b"REJECTME")
    assert got == b"reset", got
    got = ask(b"BLOCKME")
    assert got == b"timeout", got
    assert lab.counter("gate_reject_sent") > 0 and lab.counter("gate_reject_unanswerable") == 0
    lab.end()


def check_sizes(lab):
    """Jumbo frames pass; what is too large for the other leg is dropped and counted, and what fits goes on."""
    lab.mtu(a0=9000, g0=9000, g1=9000, b0=9000)
    lab.gate_begin(DROP + ALERT)
    sender, receiver = lab.udp(lab.holders[0], CLIENT), lab.udp(lab.holders[2], SERVER, UDP_PORT)
    for size in (100, 1472, 4000, 8972):
        assert passes(sender, receiver, b"j" * size), size
    bulk(lab, 16 << 20)
    assert lab.counter("gate_ring_too_large") == 0
    lab.mtu(g1=1500, b0=1500)
    time.sleep(0.3)
    assert not passes(sender, receiver, b"j" * 4000)
    assert lab.counter("gate_ring_too_large") == 1
    assert passes(sender, receiver, b"j" * 1472)
    lab.end()
    lab.mtu(a0=1500, g0=1500)


def check_down(lab):
    """One side goes down and comes up again: what was for it is counted, not sent late."""
    lab.gate_begin(DROP + ALERT)
    gate, server = lab.holders[1:]
    sender, receiver = lab.udp(lab.holders[0], CLIENT), lab.udp(server, SERVER, UDP_PORT)
    assert passes(sender, receiver, b"before")
    lab.run(gate, "ip", "link", "set", "g1", "down")
    for i in range(10):
        sender.sendto(b"lost%d" % i, (SERVER, UDP_PORT))
    wait("what can't leave is counted", lambda: lab.counter("gate_ring_down") >= 10)
    lab.run(gate, "ip", "link", "set", "g1", "up")
    wait("it passes again", lambda: passes(sender, receiver, b"after"))
    assert lab.say("open") == "open"
    assert lab.say("say BLOCKME") == "timeout"
    lab.end()


def carrier(lab, holder, dev):
    done = subprocess.run(["nsenter", "-t", str(holder.pid), "-n", "ip", "-j", "link", "show", dev], check=True, capture_output=True,
                          text=True)
    return "LOWER_UP" in json.loads(done.stdout)[0]["flags"]


def check_link_state(lab):
    """What is plugged into one side sees that the other one is down, both ways round, and after the gate has gone nothing stays so."""
    client, gate, server = lab.holders
    lab.gate_begin(DROP + ALERT, "--set", "capture.pass-link-state=yes")
    lab.run(client, "ip", "link", "set", "a0", "down")
    wait("the server's side is down", lambda: not carrier(lab, server, "b0"))
    lab.run(client, "ip", "link", "set", "a0", "up")
    wait("and up again", lambda: carrier(lab, server, "b0"))
    lab.run(gate, "ip", "link", "set", "g1", "down")
    wait("the client's side is down", lambda: not carrier(lab, client, "a0"))
    lab.run(gate, "ip", "link", "set", "g1", "up")
    wait("and up again", lambda: carrier(lab, client, "a0"))
    wait("connections pass", lambda: lab.say("open") == "open")
    assert lab.counter("gate_link_passed") == 2
    lab.run(server, "ip", "link", "set", "b0", "down")
    wait("the client's side is down", lambda: not carrier(lab, client, "a0"))
    lab.end()
    assert carrier(lab, client, "a0")
    lab.run(server, "ip", "link", "set", "b0", "up")


def establish(lab, hosts):
    """A datagram to the server from each and an answer: where both sides come to the same worker the flow is established."""
    server = lab.udp(lab.holders[2], SERVER, UDP_PORT)
    for host in hosts:
        client = lab.udp(lab.holders[0], host)
        assert passes(client, server, b"question"), host
        server.sendto(b"." * 3000 + b"ANSWER", (host, client.getsockname()[1]))
        assert client.recv(65536).endswith(b"ANSWER")
        client.close()
    server.close()


ANSWER = 'alert udp any any -> any any (msg:"answer"; flow:established,to_client; content:"ANSWER"; sid:9;)\n'


def answered(lab):
    return {a["dest_ip"] for a in lab.records("alert") if a["alert"]["signature_id"] == 9}


def check_affinity(lab):
    """Two workers: questions, and answers in fragments, which have no ports."""
    for host in HOSTS:
        lab.run(lab.holders[0], "ip", "addr", "add", f"{host}/24", "dev", "a0")
    lab.gate_begin(ANSWER)
    establish(lab, HOSTS)
    wait("every answer is seen as one", lambda: answered(lab) == set(HOSTS))
    lab.end()


def check_gone(lab):
    """A leg is taken away, as a VM's tap is, and comes back by the same name."""
    for host in HOSTS:
        lab.run(lab.holders[0], "ip", "addr", "add", f"{host}/24", "dev", "a0")
    lab.gate_begin(ANSWER + DROP)
    client, gate, server = lab.holders
    lab.run(gate, "ip", "link", "del", "g1")
    wait("both workers have seen it", lambda: lab.counter("gate_interface_gone") == 2)
    lab.run(server, "ip", "link", "add", "b0", "type", "veth", "peer", "name", "g1", "netns", str(gate.pid))
    lab.run(gate, "ip", "link", "set", "g1", "up")
    lab.run(server, "ip", "link", "set", "b0", "up")
    lab.run(server, "ip", "addr", "add", f"{SERVER}/24", "dev", "b0")
    wait("both workers have opened it", lambda: lab.counter("gate_interface_back") == 2)
    lab.run(client, "ip", "neigh", "flush", "all")
    wait("connections pass again", lambda: lab.say("open") == "open")
    establish(lab, HOSTS)
    wait("every answer is seen as one", lambda: answered(lab) == set(HOSTS))
    assert lab.say("say BLOCKME") == "timeout"
    assert lab.gate.poll() is None
    lab.end()


def check_reload_under_load(lab):
    """Numbered datagrams all the while: all arrive, once each, and rules of the new set hold from its answer on."""
    lab.gate_begin(DROP)
    sender, receiver = lab.udp(lab.holders[0], CLIENT), lab.udp(lab.holders[2], SERVER, UDP_PORT)
    sent, got, over = [0], [], threading.Event()

    def send():
        while not over.is_set():
            for _ in range(20):
                sender.sendto(b"%08d" % sent[0], (SERVER, UDP_PORT))
                sent[0] += 1
            time.sleep(0.005)

    def receive():
        with contextlib.suppress(socket.timeout):
            while True:
                got.append(int(receiver.recv(64)))

    threads = [threading.Thread(target=work) for work in (send, receive)]
    for thread in threads:
        thread.start()
    reloads = 0
    while reloads < 10 or sent[0] < 2000 or reloads % 2:
        i, reloads = reloads, reloads + 1
        lab.rules((ALERT if i % 2 else DROP) + "".join(
            f'alert tcp any any -> any any (msg:"{i}"; content:"word{i}x{n}"; sid:{1000 + n};)\n' for n in range(300)))
        assert lab.ask("reload")["ok"]
    assert lab.say("say BLOCKME") == "BLOCKME"  # the last one has no DROP
    over.set()
    for thread in threads:
        thread.join()
    assert got == list(range(sent[0])), (sent[0], len(got))
    lab.end()


def check_fail_open(lab):
    """The program is held up while more comes than a ring has room for: passed on without a look, or lost and counted."""
    word = b"BLOCKME" + bytes(1300)  # 1,500 of them are twice what the ring holds
    for choice in ("yes", "no"):
        lab.gate_begin('drop udp any any -> any any (msg:"no"; content:"BLOCKME"; sid:1;)\n', "--set", f"fail-open={choice}", "--set",
                       "capture.ring-size=1mb", "--set", "stats.interval=0")
        sender, receiver = lab.udp(lab.holders[0], CLIENT), lab.udp(lab.holders[2], SERVER, UDP_PORT)
        assert not passes(sender, receiver, word)
        lab.gate.send_signal(signal.SIGSTOP)
        for _ in range(1500):
            sender.sendto(word, (SERVER, UDP_PORT))
        lab.gate.send_signal(signal.SIGCONT)
        wait("those behind are inspected", lambda: not passes(sender, receiver, word))
        wait("the ring ran over", lambda: lab.ask("stats")["stats"]["capture"]["kernel_drops"] > 0)
        assert (lab.counter("gate_fail_open") > 0) == (choice == "yes")
        lab.end()
        sender.close()
        receiver.close()


CHECKS = (check_offloads, check_vlan, check_tunnels, check_sizes, check_down, check_link_state, check_affinity, check_gone,
          check_reload_under_load, check_fail_open)


def run_checks(lab_class, checks):
    """Each in a lab of its own; only those that the command line names, where it names some."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        print("skipped: needs root and namespaces")
        return 77
    program = sys.argv[1] if os.path.isfile(sys.argv[1]) else f"{sys.argv[1]}/src/gate/bulkhead-gated"
    for check in checks:
        if sys.argv[2:] and check.__name__ not in sys.argv[2:]:
            continue
        with contextlib.ExitStack() as stack:
            lab = lab_class(stack, program)
            try:
                check(lab)
            except BaseException:
                if os.path.exists(f"{lab.folder}/stderr"):
                    print(lab.text("stderr")[-4000:])
                raise
        print(f"ok: {check.__name__}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_checks(InlineLab, CHECKS))
