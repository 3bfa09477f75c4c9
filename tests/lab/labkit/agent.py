# SPDX-License-Identifier: Apache-2.0
"""Talks to the agent in a guest (tests/lab/guest) over the guest's virtio-serial channel."""
import itertools
import json
import os
import socket
import threading
import time

from . import util


class Agent:
    """One request at a time; opens the channel's unix socket for each, so that several programs may ask."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.ids = itertools.count(os.getpid() * 100000)

    def _exchange(self, request, timeout):
        deadline = time.monotonic() + timeout
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(self.path)
            sock.sendall(json.dumps(request).encode() + b"\n")
            buffer = b""
            while True:
                while b"\n" in buffer:
                    line, buffer = buffer.split(b"\n", 1)
                    reply = json.loads(line)
                    if reply.get("id") == request["id"]:
                        return reply
                sock.settimeout(max(0.01, deadline - time.monotonic()))
                data = sock.recv(65536)
                if not data:
                    raise ConnectionError("the guest's channel was closed")
                buffer += data

    def call(self, op, timeout=30.0, **args):
        request = {"id": next(self.ids), "op": op, **args}
        try:
            with self.lock:
                reply = self._exchange(request, timeout)
        except OSError as error:
            raise util.LabError(f"guest agent {self.path}: {op}: {error}") from None
        if not reply.get("ok"):
            raise util.LabError(f"guest agent {self.path}: {op}: {reply.get('error')}")
        return reply

    def ready(self):
        try:
            return self.call("hello", timeout=0.5)
        except util.LabError:
            return None
