#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Files on the wire against files in the store: tests/gate/files.py BUILD [SCENE...]

Each scene is a network namespace in which a real client fetches or sends files (curl, smtplib, ftplib, smbclient) and a
capture of its loopback. bulkhead-gated reads the capture with the file store on: every file must be in the store byte for
byte under its SHA-256, with one record of its name, size and hash. Scenes whose program is not installed are skipped by
name. As root.
"""
import argparse
import collections
import contextlib
import email.message
import ftplib
import functools
import hashlib
import http.server
import json
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

HERE = "127.0.0.1"
TIMEOUT_S = 120
SO_RCVBUFFORCE = 33  # socket(7); Python does not name it


def originals():
    """Name to content: what each scene carries."""
    rng = random.Random(1)
    lines = "".join(f"line {i} of a text with = signs and .dots\r\n" for i in range(400))
    return {
        "random.bin": rng.randbytes(300_000),
        "large.bin": rng.randbytes(1_500_000),
        "text.txt": lines.encode(),
        "dots.txt": b".\r\n..\r\n.begins with a dot\r\nend\r\n",
        "small.png": b"\x89PNG\r\n\x1a\n" + zlib.compress(bytes(5000)),
        "one.byte": b"x",
    }


# ---- the capture ----

class Capture:
    """What crosses the loopback, once (not the copy that comes in)."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)  # or rmem_max bounds it, and a busy machine loses frames
        self.socket.bind(("lo", 3))
        self.socket.settimeout(0.3)
        self.over = False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with open(self.path, "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
            while True:
                try:
                    data, where = self.socket.recvfrom(262144)
                except socket.timeout:
                    if self.over:
                        return
                    continue
                if where[2] != socket.PACKET_OUTGOING:
                    now = time.time_ns() // 1000
                    file.write(struct.pack("<IIII", now // 1000000, now % 1000000, len(data), len(data)) + data)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        time.sleep(0.2)
        self.over = True
        self.thread.join()


def listen(handler):
    server = socketserver.ThreadingTCPServer((HERE, 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def curl(*argv):
    subprocess.run(["curl", "-sS", "--fail", *argv], check=True, timeout=TIMEOUT_S, stdout=subprocess.DEVNULL)


# ---- HTTP ----

class Web(http.server.SimpleHTTPRequestHandler):
    """With ranges, chunks and uploads, which Python's own lacks."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST

    def do_GET(self):
        path = self.translate_path(self.path)
        with open(path, "rb") as file:
            content = file.read()
        found = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if found:
            first, last = int(found[1]), min(int(found[2]), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first:last + 1]
        elif "chunked" in self.path:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(content), 7001):
                part = content[at:at + 7001]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
            return
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def web(folder):
    return listen(functools.partial(Web, directory=folder))


def scene_http(folder, files):
    """Whole bodies, several at once."""
    port = web(folder)
    clients = [subprocess.Popen(["curl", "-sS", "-o", os.devnull, f"http://{HERE}:{port}/{name}"]) for name in files]
    for client in clients:
        client.wait(TIMEOUT_S)
    return {name: ("/" + name, data) for name, data in files.items()}


def scene_http_keep(folder, files):
    """One connection, chunked bodies; names from the path."""
    port = web(folder)
    curl(*[f"http://{HERE}:{port}/{name}?chunked" for name in files])
    return {name: ("/" + name, data) for name, data in files.items()}


def scene_http_upload(folder, files):
    """PUT, and forms of several parts."""
    port = web(folder)
    for name in files:
        curl("-T", f"{folder}/{name}", f"http://{HERE}:{port}/up/{name}")
        curl("-F", f"word={name}", "-F", f"file=@{folder}/{name};filename=form-{name}", f"http://{HERE}:{port}/form")
    found = {name: ("/up/" + name, data) for name, data in files.items()}
    found.update({"form-" + name: ("form-" + name, data) for name, data in files.items()})
    return found


def scene_http_range(folder, files):
    """Parts of a file over several connections, out of order, one of them twice over another."""
    port = web(folder)
    name = "random.bin"
    parts = [(100_000, 199_999), (0, 99_999), (150_000, 249_999), (200_000, 299_999)]
    for first, last in parts:
        curl("-r", f"{first}-{last}", f"http://{HERE}:{port}/{name}")
    return {name: ("/" + name, files[name])}


# ---- SMTP ----

class Mail(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs."""

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.say("220 mail.example ESMTP")
        for line in self.rfile:
            word = line[:4].upper().strip()
            if word == b"EHLO":
                self.say("250-mail.example\r\n250-8BITMIME\r\n250 CHUNKING")
            elif word == b"DATA":
                self.say("354 go on")
                while self.rfile.readline() != b".\r\n":
                    pass
                self.say("250 taken")
            elif word == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")


def message(names, files, encoding):
    mail = email.message.EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.org", "b@example.org", "files"
    mail.set_content("see below")
    for name in names:
        mail.add_attachment(files[name], maintype="application", subtype="octet-stream", filename=name, cte=encoding)
    return mail


def scene_smtp(folder, files):
    """Attachments in base64 and quoted-printable, several in a mail, several mails in a connection."""
    port = listen(Mail)
    with smtplib.SMTP(HERE, port) as smtp:
        smtp.send_message(message(files, files, "base64"))
        smtp.send_message(message(["text.txt", "dots.txt", "small.png"], files, "quoted-printable"))
    found = {name: (name, data) for name, data in files.items()}
    return found


# ---- FTP ----

class Ftp(socketserver.StreamRequestHandler):
    """As much of RFC 959 and 2428 as a client needs: both modes, both kinds of commands, up and down."""

    def __init__(self, *args, directory):
        self.directory, self.target, self.listener = directory, None, None
        super().__init__(*args)

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def passive(self):
        self.listener = socket.create_server((HERE, 0))
        return self.listener.getsockname()[1]

    def data(self):
        if self.listener:
            link = self.listener.accept()[0]
            self.listener.close()
            self.listener = None
            return link
        return socket.create_connection(self.target)

    def transfer(self, word, name):
        self.say("150 here it comes")
        with self.data() as link:
            path = f"{self.directory}/{os.path.basename(name)}"
            if word == "RETR":
                with open(path, "rb") as file:
                    link.sendall(file.read())
            else:
                while link.recv(65536):
                    pass
        self.say("226 done")

    def handle(self):
        self.say("220 files")
        for line in self.rfile:
            word, _, rest = line.decode().strip().partition(" ")
            word = word.upper()
            if word == "PASV":
                port = self.passive()
                self.say(f"227 Entering Passive Mode ({HERE.replace('.', ',')},{port >> 8},{port & 255})")
            elif word == "EPSV":
                self.say(f"229 Entering Extended Passive Mode (|||{self.passive()}|)")
            elif word == "PORT":
                numbers = rest.split(",")
                self.target = (".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5]))
                self.say("200 ok")
            elif word == "EPRT":
                _, _, address, port, _ = rest.split(rest[0])
                self.target = (address, int(port))
                self.say("200 ok")
            elif word in ("RETR", "STOR"):
                self.transfer(word, rest)
            else:
                self.say({"USER": "331 word?", "PASS": "230 in", "QUIT": "221 bye"}.get(word, "200 ok"))
                if word == "QUIT":
                    return


def ftp(folder, files, *, passive, extended, ascii_mode=False):
    port = listen(functools.partial(Ftp, directory=folder))
    with ftplib.FTP() as client:
        client.connect(HERE, port)
        client.login("me", "secret")
        client.set_pasv(passive)
        if extended:
            client.af = socket.AF_INET6  # EPSV and EPRT; addresses stay those of IPv4
            if not passive:
                client.makeport = functools.partial(eprt, client)
        else:
            client.trust_server_pasv_ipv4_address = True
        for name in files:
            if ascii_mode:
                client.retrlines("RETR " + name, lambda line: None)
            else:
                client.retrbinary("RETR " + name, lambda data: None)
        with open(f"{folder}/random.bin", "rb") as file:
            client.storbinary("STOR up.bin", file)
    return {name: (name, data) for name, data in files.items()} | {"up": ("up.bin", files["random.bin"])}


def eprt(client):
    listener = socket.create_server((HERE, 0))
    listener.settimeout(TIMEOUT_S)
    client.sendcmd(f"EPRT |1|{HERE}|{listener.getsockname()[1]}|")
    return listener


def scene_ftp_pasv(folder, files):
    return ftp(folder, files, passive=True, extended=False)


def scene_ftp_epsv(folder, files):
    return ftp(folder, files, passive=True, extended=True)


def scene_ftp_port(folder, files):
    return ftp(folder, files, passive=False, extended=False)


def scene_ftp_eprt(folder, files):
    return ftp(folder, files, passive=False, extended=True)


# ---- SMB ----

def smbd(folder, stack, *more):
    base = tempfile.mkdtemp(prefix="gate-smb-")
    os.chmod(base, 0o755)
    stack.callback(shutil.rmtree, base, ignore_errors=True)
    config = ["[global]", "map to guest = Bad User", "guest account = root", "server role = standalone", "disable netbios = yes",
              "smb ports = 4445", "log file = /dev/null", "load printers = no", "disable spoolss = yes", "bind interfaces only = yes",
              "interfaces = lo", *[f"{key} directory = {base}" for key in ("lock", "state", "cache", "pid", "private")], f"ncalrpc dir = {base}/rpc",
              "smb encrypt = off", "server signing = disabled", *more,
              "[files]", f"path = {folder}", "guest ok = yes", "read only = no", "force user = root"]
    with open(f"{base}/smb.conf", "w", encoding="utf-8") as file:
        file.write("\n".join(config) + "\n")
    process = subprocess.Popen(["smbd", "-F", "--no-process-group", "-s", f"{base}/smb.conf"], start_new_session=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(os.killpg, process.pid, signal.SIGTERM)  # and what it has started
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((HERE, 4445), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def smb(folder, files, dialect):
    with contextlib.ExitStack() as stack:
        smbd(folder, stack, "server min protocol = NT1")
        commands = "; ".join([f"get {name} /dev/null" for name in files] + [f"put {folder}/random.bin up.bin"])
        subprocess.run(["smbclient", "-p", "4445", "-N", f"--option=client min protocol={dialect}", "-m", dialect,
                        f"//{HERE}/files", "-c", commands], check=True, timeout=TIMEOUT_S, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    slash = "\\" if dialect == "NT1" else ""  # as on the wire
    return {name: (slash + name, data) for name, data in files.items()} | {"up": (slash + "up.bin", files["random.bin"])}


def scene_smb1(folder, files):
    return smb(folder, files, "NT1")


def scene_smb2(folder, files):
    return smb(folder, files, "SMB2_10")


def scene_smb3(folder, files):
    return smb(folder, files, "SMB3")


NEEDS = {"smb": ("smbd", "smbclient"), "http": ("curl",)}


def scenes():
    return {name[len("scene_"):]: value for name, value in globals().items() if name.startswith("scene_")}


def lacks(name):
    return [program for program in NEEDS.get(re.split(r"[_\d]", name)[0], ()) if not shutil.which(program)]


def play(name, folder):
    """Inside the namespace: the capture, and what it carried."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    files = originals()
    shared = f"{folder}/shared"
    os.mkdir(shared)
    for file, data in files.items():
        with open(f"{shared}/{file}", "wb") as out:
            out.write(data)
    with Capture(f"{folder}/files.pcap"):
        carried = scenes()[name](shared, files)
    with open(f"{folder}/carried.json", "w", encoding="utf-8") as out:
        json.dump([[sent, hashlib.sha256(data).hexdigest(), len(data)] for sent, data in carried.values()], out)


# ---- what the gate made of it ----

def stored(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def judge(folder, records):
    wrong = []
    whole = collections.defaultdict(list)
    for record in records:
        if record["fileinfo"]["state"] == "CLOSED":
            whole[record["fileinfo"].get("sha256")].append(record["fileinfo"])
    with open(f"{folder}/carried.json", encoding="utf-8") as file:
        carried = json.load(file)
    for name, sha256, size in carried:
        found = [f for f in whole[sha256] if f["filename"] == name and f["size"] == size and f["stored"]]
        path = f"{folder}/log/filestore/{sha256[:2]}/{sha256}"
        if not found:
            like = [(f["fileinfo"]["filename"], f["fileinfo"]["size"], f["fileinfo"]["state"]) for f in records][:12]
            wrong.append(f"{name} of {size} bytes: no record; there are {like}")
        elif not os.path.exists(path):
            wrong.append(f"{name}: not in the store")
        elif stored(path) != sha256:
            wrong.append(f"{name}: other bytes in the store")
    return wrong


def run(program, name):
    folder = tempfile.mkdtemp(prefix="gate-files-")
    os.chmod(folder, 0o755)
    try:
        subprocess.run(["unshare", "-n", sys.executable, __file__, "--play", name, folder], check=True, timeout=TIMEOUT_S)
        os.mkdir(f"{folder}/log")
        subprocess.run([program, "-q", "-k", "none", "-r", f"{folder}/files.pcap", "-l", f"{folder}/log", "--set",
                        "file-store.enabled=yes"], check=True, timeout=TIMEOUT_S)
        with open(f"{folder}/log/eve.json", encoding="utf-8") as file:
            records = [record for record in map(json.loads, file) if record["event_type"] == "fileinfo"]
        return judge(folder, records)
    finally:
        if os.environ.get("KEEP"):
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", help="build folder, or the program")
    parser.add_argument("names", nargs="*", metavar="SCENE")
    parser.add_argument("--play", nargs=2, metavar=("SCENE", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.play:
        play(*args.play)
        return 0
    program = args.build if os.path.isfile(args.build) else f"{args.build}/src/gate/bulkhead-gated"
    failed = 0
    for name in args.names or scenes():
        missing = lacks(name)
        if missing:
            print(f"skipped: {name}: no {', '.join(missing)} here")
            continue
        wrong = run(program, name)
        failed += bool(wrong)
        print(f"{'FAILED' if wrong else 'ok'}: {name}" + "".join(f"\n  {line}" for line in wrong))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
