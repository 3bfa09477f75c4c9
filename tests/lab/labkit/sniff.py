# SPDX-License-Identifier: Apache-2.0
"""Watches devices of a node for frames that hold some bytes. Runs as a program inside the node too."""
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys

ATTACH_FILTER, OUTGOING = 26, 4
# ld packet type; jeq #OUTGOING; ret all; ret none
ONLY_OUTGOING = [(0x28, 0, 0, 0xfffff004), (0x15, 0, 1, OUTGOING), (0x6, 0, 0, 0x40000), (0x6, 0, 0, 0)]


class Sniffer:
    """with Sniffer(node, "lan-h1", b"MAGIC") as s: ...; s.frames afterwards: list of bytes (the first 256 of each).

    dev may end with *: every device with such a name, also one that comes later. match: bytes, or a list of which any
    will do. outgoing: only what leaves by the device, which at a tap is what its guest is given."""

    def __init__(self, node, dev, match=b"", outgoing=False):
        self.node = node
        self.order = {"dev": dev, "outgoing": outgoing,
                      "match": [m.hex() for m in (match if isinstance(match, (list, tuple)) else [match])]}
        self.frames, self.seen = [], 0
        self.process = None

    def __enter__(self):
        argv = self.node.argv("/usr/bin/python3", os.path.abspath(__file__), json.dumps(self.order))
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, stdin=subprocess.PIPE)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"cannot watch {self.order['dev']} of {self.node.name}")
        return self

    def __exit__(self, *_):
        out, _ = self.process.communicate(timeout=10)
        found = json.loads(out or "{}")
        self.frames = [bytes.fromhex(h) for h in found.get("frames", [])]
        self.seen = found.get("seen", 0)  # with all that did not match: proof that it watched


def open_socket(dev, outgoing):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    if outgoing:
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in ONLY_OUTGOING))
        sock.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, struct.pack("HL", len(ONLY_OUTGOING), ctypes.addressof(code)))
    if not dev.endswith("*"):
        sock.bind((dev, 0))
    sock.settimeout(0.1)
    return sock


def watch(dev, match, outgoing):
    sock = open_socket(dev, outgoing)
    print("ready", flush=True)
    found, seen = [], 0
    os.set_blocking(0, False)
    while len(found) < 1000:
        try:
            frame, (name, *_) = sock.recvfrom(65536)
            if not dev.endswith("*") or name.startswith(dev[:-1]):
                seen += 1
                if any(m in frame for m in match):
                    found.append(frame[:256].hex())
        except TimeoutError:
            pass
        except OSError:
            continue  # a device that went away
        try:
            if os.read(0, 1) == b"":
                break
        except BlockingIOError:
            pass
    print(json.dumps({"frames": found, "seen": seen}))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    given = json.loads(sys.argv[1])
    watch(given["dev"], [bytes.fromhex(m) for m in given["match"]], given["outgoing"])
