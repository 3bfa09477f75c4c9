#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes an HTTP-heavy capture with a real server and real clients in namespaces: make_http.py OUT.pcap [--mb 100]

Pages, scripts, images and API answers of many sizes, half of them packed with gzip, over connections that are kept;
some posts. As root; python3, curl and tcpdump do the work.
"""
import argparse
import contextlib
import gzip
import hashlib
import http.server
import os
import random
import subprocess
import sys
import tempfile
import threading
import time

SERVER, CLIENT = "10.77.0.1", "10.77.0.2"
WORDS = "the of page news login account price table script class value container button header image data user".split()


def body(name):
    """Of a path, always the same."""
    rng = random.Random(hashlib.sha256(name.encode()).digest())
    size = int(rng.paretovariate(1.1) * 2000) % 400000 + 200
    if name.endswith(".bin"):
        return rng.randbytes(size), "image/png"
    text = " ".join(rng.choices(WORDS, k=size // 6))
    if name.endswith(".js"):
        return f"function f() {{ return '{text}'; }}".encode(), "application/javascript"
    return f"<html><body><div>{text}</div></body></html>".encode(), "text/html; charset=utf-8"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Apache/2.4.57 (Debian)"
    sys_version = ""

    def reply(self):
        data, kind = body(self.path)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Set-Cookie", f"session={hashlib.md5(self.path.encode()).hexdigest()}; Path=/")
        if "gzip" in self.headers.get("Accept-Encoding", "") and kind.startswith("text"):
            data = gzip.compress(data, 5)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = reply

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.reply()

    def log_message(self, *_):
        pass


def serve():
    http.server.ThreadingHTTPServer((SERVER, 80), Handler).serve_forever()


def run(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fetch(inside, number, folder):
    """One client: a list of addresses over connections that curl keeps."""
    rng = random.Random(number)
    config = os.path.join(folder, f"curl{number}")
    with open(config, "w", encoding="utf-8") as file:
        for i in range(40):
            kind = rng.choice(["html", "html", "js", "bin", "php?id=%d&q=%s" % (i, rng.choice(WORDS))])
            file.write(f'url = "http://{SERVER}/{rng.choice(WORDS)}/{number}/{i}.{kind}"\noutput = "/dev/null"\n')
    post = ["-d", "user=alice&password=" + "x" * rng.randrange(10, 2000)] if number % 8 == 0 else []
    coding = ["--compressed"] if number % 2 else []
    subprocess.run([*inside, "curl", "-s", "-A", f"Mozilla/5.0 (X11; Linux x86_64) Client/{number}", *coding, *post, "-K", config],
                   check=False, timeout=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:  # everything in a network namespace of its own, which goes with the process
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, __file__, args.out, "--mb", str(args.mb), "--inside"])
    holder = subprocess.Popen(["unshare", "-n", "sleep", "3600"])  # pylint: disable=consider-using-with
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        stack.callback(holder.kill)
        time.sleep(0.3)
        run("ip", "link", "add", "s0", "type", "veth", "peer", "name", "c0", "netns", str(holder.pid))
        run("ip", "addr", "add", f"{SERVER}/24", "dev", "s0")
        run("ip", "link", "set", "s0", "up")
        run("ethtool", "-K", "s0", "tso", "off", "gso", "off", "gro", "off")
        inside = ["nsenter", "-t", str(holder.pid), "-n"]
        for words in ("ip addr add %s/24 dev c0" % CLIENT, "ip link set c0 up", "ethtool -K c0 tso off gso off gro off"):
            run(*inside, *words.split())
        dump = subprocess.Popen(["tcpdump", "-i", "s0", "-w", args.out, "-B", "65536", "-Z", "root", "tcp"],  # pylint: disable=consider-using-with
                                stderr=subprocess.DEVNULL)
        stack.callback(dump.wait)
        stack.callback(dump.terminate)
        threading.Thread(target=serve, daemon=True).start()
        time.sleep(1)
        number = 0
        while not os.path.exists(args.out) or os.path.getsize(args.out) < args.mb << 20:
            threads = [threading.Thread(target=fetch, args=(inside, number + i, folder)) for i in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            number += 8
        time.sleep(1)


if __name__ == "__main__":
    main()
