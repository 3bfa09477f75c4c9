#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes an HTTP-heavy capture with a real server and real clients in namespaces: make_http.py OUT.pcap [--mb 100]

Pages, scripts, styles, answers of APIs, images, fonts and downloads, in the shares and sizes that the HTTP Archive finds on the
web; their content is what Debian's packages bring (documentation, JavaScript, JSON, pictures). Three of four clients take gzip,
as does what is worth packing; a third of the packed answers comes in chunks. Connections are kept; there are forms, uploads,
redirects and things that are not there. As root; python3, curl and tcpdump do the work.

--plain makes clients that take no gzip: what is searched raw is then what the gate searches.
--words makes texts of 20 words instead: most of them stand in rules too, the worst that a text can be for a search by patterns.
"""
import argparse
import contextlib
import functools
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
ROOTS = ("/usr/share", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/include")
WORDS = "the of page news login account price table script class value container button header image data user".split()
FILES_MAX = 600  # of a kind
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)


class Kind:
    """Of what is served: ending, type, share of the requests, median size, endings of the files it is made of."""
    def __init__(self, ending, mime, share, median, sources, packed=True):
        self.ending, self.mime, self.share, self.median, self.sources, self.packed = ending, mime, share, median, sources, packed
        self.files = []

    def body(self, rng):
        """A file or a part of it; of texts several, one behind the other as bundles are, until there is enough."""
        size = min(int(rng.lognormvariate(0, 1.1) * self.median) + 100, 2 << 20)
        data = b""
        while len(data) < size:
            data += read(rng.choice(self.files))
            if not self.packed:
                return data[:2 << 20]
        start = rng.randrange(len(data) - size + 1)
        return data[start:start + size]


KINDS = (
    Kind("html", "text/html; charset=utf-8", 8, 26000, (".html", ".htm")),
    Kind("js", "application/javascript", 26, 22000, (".js",)),
    Kind("css", "text/css", 9, 12000, (".css",)),
    Kind("json", "application/json", 14, 3000, (".json",)),
    Kind("txt", "text/plain; charset=utf-8", 3, 10000, (".txt", ".py", ".h")),
    Kind("svg", "image/svg+xml", 4, 2500, (".svg", ".xml")),
    Kind("png", "image/png", 24, 0, (".png", ".gif"), packed=False),
    Kind("jpg", "image/jpeg", 6, 0, (".jpg", ".jpeg"), packed=False),
    Kind("woff2", "font/woff2", 3, 0, (".woff2", ".woff", ".ttf", ".otf"), packed=False),
    Kind("gz", "application/octet-stream", 3, 0, (".gz",), packed=False),
)
BY_ENDING = {kind.ending: kind for kind in KINDS}


@functools.lru_cache(4096)
def read(path):
    with open(path, "rb") as file:
        return file.read()


def find_files():
    """What this machine has of each kind; a kind without any is left out."""
    found = {source: [] for kind in KINDS for source in kind.sources}
    for root in ROOTS:
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                files = found.get(os.path.splitext(name)[1])
                path = os.path.join(folder, name)
                if files is not None and os.path.isfile(path) and 64 < os.path.getsize(path) < 4 << 20:
                    files.append(path)
    rng = random.Random(1)
    for kind in KINDS:
        files = [path for source in kind.sources for path in found[source]]
        kind.files = rng.sample(files, min(len(files), FILES_MAX))
    return [kind for kind in KINDS if kind.files]


def wordy(kind, rng):
    size = int(rng.paretovariate(1.1) * 2000) % 400000 + 200
    if not kind.packed:
        return rng.randbytes(size)
    text = " ".join(rng.choices(WORDS, k=size // 6))
    return f"<html><body><div>{text}</div></body></html>".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Apache/2.4.57 (Debian)"
    sys_version = ""
    words = False

    def chunks(self, data, rng):
        while data:
            size = rng.randrange(500, 16000)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data[:size]), data[:size]))
            data = data[size:]
        self.wfile.write(b"0\r\n\r\n")

    def small(self, code, headers, data=b""):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def reply(self):
        digest = hashlib.sha256(self.path.encode())
        rng = random.Random(digest.digest())
        kind = BY_ENDING.get(self.path.split("?")[0].rsplit(".", 1)[-1], BY_ENDING["json"])
        if "/gone/" in self.path:
            return self.small(404, [("Content-Type", "text/html")], b"<html><body><h1>Not Found</h1></body></html>")
        if "/moved/" in self.path:
            return self.small(302, [("Location", self.path.replace("/moved/", "/new/"))])
        data = wordy(kind, rng) if self.words else kind.body(rng)
        self.send_response(200)
        self.send_header("Content-Type", kind.mime)
        self.send_header("ETag", f'"{digest.hexdigest()[:16]}"')
        self.send_header("Cache-Control", "public, max-age=604800" if kind.ending not in ("html", "json") else "no-cache")
        if kind.ending in ("html", "json"):
            self.send_header("Set-Cookie", f"session={digest.hexdigest()[:32]}; Path=/; HttpOnly; SameSite=Lax")
        packed = kind.packed and "gzip" in self.headers.get("Accept-Encoding", "")
        if packed:
            data = gzip.compress(data, 6)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Vary", "Accept-Encoding")
        if packed and rng.randrange(3) == 0:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self.chunks(data, rng)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return self.wfile.write(data)

    do_GET = reply

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.reply()

    def log_message(self, *_):
        pass


def run(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def requests(kinds, number, rng):
    """Lines of curl's configuration: a page and what belongs to it."""
    for i in range(40):
        kind = kinds[0] if i == 0 else rng.choices(kinds, [kind.share for kind in kinds])[0]
        part = rng.choices(("static", "gone", "moved"), (96, 2, 2))[0]
        query = f"?id={i}&q={rng.choice(WORDS)}&t={rng.randrange(10 ** 12)}" if kind.ending == "json" else ""
        yield f'url = "http://{SERVER}/{part}/{rng.choice(WORDS)}/{number}/{i}.{kind.ending}{query}"\noutput = "/dev/null"\n'


def fetch(inside, kinds, number, folder, plain):
    """One client, over connections that curl keeps."""
    rng = random.Random(number)
    config = os.path.join(folder, f"curl{number}")
    with open(config, "w", encoding="utf-8") as file:
        file.writelines(requests(kinds, number, rng))
    headers = ["Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
               "Accept-Language: en-US,en;q=0.5", f"Referer: http://{SERVER}/{rng.choice(WORDS)}/index.html",
               f"Cookie: session={rng.randbytes(16).hex()}; _ga=GA1.2.{rng.randrange(10 ** 9)}.{rng.randrange(10 ** 9)}"]
    options = [word for header in headers for word in ("-H", header)]
    options += ["--compressed"] if number % 4 and not plain else []
    if number % 8 == 0:
        options += ["-d", "user=alice&password=" + "x" * rng.randrange(10, 2000)]
    elif number % 16 == 5:
        options += ["-F", "title=holiday", "-F", f"file=@{rng.choice(BY_ENDING['png'].files or [__file__])}"]
    subprocess.run([*inside, "curl", "-s", "-A", AGENTS[number % len(AGENTS)], *options, "-K", config], check=False, timeout=300)


def record(args, inside, folder):
    kinds = find_files()
    Handler.words = args.words
    server = http.server.ThreadingHTTPServer((SERVER, 80), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    number = 0
    while not os.path.exists(args.out) or os.path.getsize(args.out) < args.mb << 20:
        threads = [threading.Thread(target=fetch, args=(inside, kinds, number + i, folder, args.plain)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        number += len(threads)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--words", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:  # everything in a network namespace of its own, which goes with the process
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, __file__, *sys.argv[1:], "--inside"])
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
        time.sleep(1)
        record(args, inside, folder)
        time.sleep(1)


if __name__ == "__main__":
    main()
