# SPDX-License-Identifier: Apache-2.0
"""Watches a device of a node for frames that hold some bytes. Runs as a program inside the node too."""
import json
import os
import signal
import socket
import subprocess
import sys





class Sniffer:
    """with Sniffer(node, "lan-h1", b"MAGIC") as s: ...; s.frames afterwards: list of bytes."""

    def __init__(self, node, dev, match=b""):
        self.node, self.dev, self.match = node, dev, match
        self.frames = []
        self.process = None

    def __enter__(self):
        argv = self.node.argv("/usr/bin/python3", os.path.abspath(__file__), self.dev, self.match.hex())
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, stdin=subprocess.PIPE)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"cannot watch {self.dev} of {self.node.name}")
        return self

    def __exit__(self, *_):
        out, _ = self.process.communicate(timeout=10)
        self.frames = [bytes.fromhex(h) for h in json.loads(out or "[]")]


def watch(dev, match):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind((dev, 0))
    sock.settimeout(0.1)
    print("ready", flush=True)
    found = []
    os.set_blocking(0, False)
    while len(found) < 1000:
        try:
            frame, _ = sock.recvfrom(65536)
            if match in frame:
                found.append(frame[:256].hex())
        except TimeoutError:
            pass
        try:
            if os.read(0, 1) == b"":
                break
        except BlockingIOError:
            pass
    print(json.dumps(found))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    watch(sys.argv[1], bytes.fromhex(sys.argv[2]) if len(sys.argv) > 2 else b"")
