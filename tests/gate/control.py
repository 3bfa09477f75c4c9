# SPDX-License-Identifier: Apache-2.0
"""One question to the control socket of bulkhead-gated, for the tests and benches that run it."""
import json
import socket


def ask(path, op, wait_s=30):
    """The answer; None while nobody listens there."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(wait_s)
        try:
            link.connect(path)
        except OSError:
            return None
        link.sendall(json.dumps({"op": op}).encode() + b"\n")
        return json.loads(link.makefile().readline())
