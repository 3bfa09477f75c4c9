# SPDX-License-Identifier: Apache-2.0
"""A manager, an environment and files that mean the user of `bulkhead` harm: whatever it prints, a terminal obeys nothing of it, and it
ends with one of its own exit codes. Answers are made of docs/api.yaml, so each command meets what it would read."""
import http.server
import json
import os
import pty
import re
import socketserver
import subprocess
import threading

import pytest
import yaml

from labkit import manager as bulkhead

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(f"{ROOT}/docs/api.yaml", encoding="utf-8") as spec:
    SPEC = yaml.load(spec, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
# Colours, the title, the clipboard (OSC 52), cursor, C1's CSI, direction overrides, a line over another, a backspace, invalid UTF-8 as
# JSON can't have it.
STEER = "\x1b[31m\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x1b[2J\u009b1m\u202e\u2066\r\b\x7f\x0b\x0e\ufeffe"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\u061c\ufeff]")
TIME = "2026-11-20T12:00:00.000Z"
EXITS = range(9)
# They talk with something else than the manager's API, or change this machine.
ELSEWHERE = {("debug",), ("host", "enroll")}
# What they write goes on byte by byte, so that it can be verified, and never to a terminal.
EXPORTS = {("audit", "export"), ("event", "export")}


def resolve(schema):
    while "$ref" in schema:
        node = SPEC
        for part in schema["$ref"][2:].split("/"):
            node = node[part]
        schema = node
    return schema


def kind_of(schema):
    kind = schema.get("type", "object" if "properties" in schema or "additionalProperties" in schema else "string")
    return kind[0] if isinstance(kind, list) else kind


class Liar:
    """Makes the answer that a schema describes, of what `text` and the other makers say."""

    def __init__(self, text=f"x{STEER}", number=7, twist=lambda value: value):
        self.text, self.number, self.twist = text, number, twist

    def make(self, schema, depth=0):
        schema = resolve(schema)
        for several in ("allOf", "oneOf", "anyOf"):
            if several in schema:
                parts = [self.make(s, depth) for s in schema[several][:None if several == "allOf" else 1]]
                if parts and all(isinstance(p, dict) for p in parts):
                    return self.twist({k: v for p in parts for k, v in p.items()})
                return parts[0] if parts else None
        kind = kind_of(schema)
        if kind == "object" and depth < 8:
            made = {name: self.make(s, depth + 1) for name, s in schema.get("properties", {}).items() if name != "next"}
            more = schema.get("additionalProperties")
            if more or not made:
                made[f"key{self.text}"] = self.make(more, depth + 1) if isinstance(more, dict) else self.text
            return self.twist(made)
        if kind == "array" and depth < 8:
            return self.twist([self.make(schema.get("items", {}), depth + 1) for _ in range(2)])
        return self.twist({"integer": self.number, "number": self.number, "boolean": True}.get(kind, self.text))

    def answer(self, method, path):
        """Status and JSON for an operation; for one that nobody described an error that is as bad."""
        parts = path.split("?")[0].removeprefix("/v1").split("/")
        for template, item in SPEC["paths"].items():
            pattern = "/".join("[^/]+" if p.startswith("{") and p.endswith("}") else re.sub(r"\\\{[^}]*\\\}", "[^/:]+", re.escape(p))
                               for p in template.split("/"))
            if method.lower() in item and re.fullmatch(pattern, "/".join(parts)):
                for status, response in item[method.lower()]["responses"].items():
                    for content in response.get("content", {}).values():
                        if str(status).startswith("2"):
                            return int(status), self.make(content["schema"])
                return 200, self.make({"type": "object"})
        return 404, {"error": {"code": self.text, "message": self.text, "file": self.text, "line": 3, "column": 4}}


class Hostile:
    def __init__(self, folder):
        self.liar, self.broken, self.refuse = Liar(), lambda data: data, None
        hostile = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Accept") == "text/event-stream" and not hostile.refuse:
                    return self.stream()
                status, made = hostile.liar.answer(self.command, self.path)
                if hostile.refuse:
                    text = hostile.liar.text
                    status, made = hostile.refuse, {"error": {"code": text, "message": text, "rule": text, "way": text, "hosts": [
                        {"host": text, "table": text, "need": 1, "capacity": 2}], "methods": [text]}}
                text = hostile.liar.text
                plain = self.headers.get("Accept") not in (None, "application/json") and not hostile.refuse
                data = f"{text}\n{text}\n".encode() if plain else hostile.broken(json.dumps(made, ensure_ascii=False).encode())
                self.send_response(status, "OK")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(data)

            def stream(self):
                """Two events and whatever the stream calls them; who comes back is told to go."""
                if self.headers.get("Last-Event-ID"):
                    self.send_response(403, "no")
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                text = hostile.liar.text.replace("\n", "").replace("\r", "")
                event = hostile.liar.make({"$ref": "#/components/schemas/Event"})
                data = hostile.broken(json.dumps(event, ensure_ascii=False).encode())
                self.send_response(200, "OK")
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                return self.wfile.write(b"".join(b"event: " + text.encode() + b"\nid: 7\ndata: " + data + b"\n\n" for _ in range(2)))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *args):
                pass

            def address_string(self):
                return "unix"

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

            def get_request(self):
                request, _ = super().get_request()
                return request, ("unix", 0)

            def handle_error(self, request, client_address):
                pass  # who was told enough hangs up
        self.server = Server(f"{folder}/api.sock", Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(name="hostile")
def hostile_fixture(tmp_path):
    server = Hostile(tmp_path)
    yield server
    server.close()


@pytest.fixture(name="run")
def run_fixture(tmp_path):
    """run(*words): the program against that manager; its output was looked at."""
    def run(*words, env=None, stdin="y\n"):
        environment = {"PATH": os.environ["PATH"], "BULKHEAD_RUN_DIR": str(tmp_path), "HOME": str(tmp_path), "TZ": "UTC",
                       "BULKHEAD_CONFIG": "/dev/null", **(env or {})}
        done = subprocess.run([bulkhead.program("bulkhead"), *words], capture_output=True, env=environment, timeout=120, check=False,
                              input=stdin.encode(), cwd=tmp_path)
        assert done.returncode in EXITS, f"{words}: {done.returncode}\n{done.stderr}"
        for out in (done.stdout, done.stderr):
            found = OBEYED.search(out.decode())  # invalid UTF-8 is obeyed by some
            assert not found, f"{words} prints {found[0]!r} in {out[max(0, found.start() - 60):found.end() + 60]!r}"
        return done
    return run


def commands(run, tmp_path, *path):
    """Every command with something for each of its arguments."""
    text = run(*path, "--help").stdout.decode()
    here = [line.split()[0] for line in text.split("Commands\n")[1].split("\n\n")[0].splitlines()
            if line[:3].strip() or line[2:3].strip()] if "Commands\n" in text else []
    usage = text.split("Usage:\n")[1].split("\n\n")[0].splitlines()[-1].split() if "Usage:\n" in text else []
    words = [w for w in usage[1 + len(path):] if not w.startswith("[") and w.strip(".") and w not in ("<command>", "COMMAND")]
    if path and not any(path[:len(e)] == e for e in ELSEWHERE | EXPORTS) and (not here or words):
        yield (*path, *(argument(w, tmp_path) for w in words if w.rstrip(".").isupper() or "=" in w))
    for name in here:
        yield from commands(run, tmp_path, *path, name)


def argument(word, tmp_path):
    word = word.rstrip(".")
    if "FILE" in word:
        return str(tmp_path / "policy.yaml")
    if "=" in word:
        return "a=b"
    return {"ID": "1", "REVISION": "1", "N": "1"}.get(word, "web")


@pytest.fixture(name="every")
def every_fixture(run, tmp_path):
    (tmp_path / "policy.yaml").write_text("kind: Policy\nmetadata: {name: db, tenant: shop}\nspec: {selector: {}, ingress: [{ports: [tcp/1]}]}\n")
    every = list(commands(run, tmp_path))
    assert len(every) > 100, every
    return every


@pytest.mark.parametrize("how", ["table", "wide", "json"])
def test_nothing_steers_a_terminal(hostile, run, every, how):
    good = sum(run(*words, "--output", how).returncode == 0 for words in every)
    assert good > len(every) / 2  # what only fails shows nothing
    hostile.refuse = 409
    for words in every:
        run(*words, "--output", how)


TWISTS = {
    "huge": Liar(text="9" * 100000, number=2**63 - 1),
    "negative": Liar(number=-2**63),
    "real": Liar(number=1e308),
    "text for all": Liar(twist=lambda v: v if isinstance(v, (dict, str)) else "text"),
    "lists for all": Liar(twist=lambda v: v if isinstance(v, dict) else [v]),
    "objects for all": Liar(twist=lambda v: {"a": v} if isinstance(v, str) else v),
    "nothing for all": Liar(twist=lambda v: v if isinstance(v, (dict, list)) else None),
    "percent": Liar(text="%s%n%99999999d{}"),
    "time": Liar(text=TIME),
}


@pytest.mark.parametrize("how", list(TWISTS))
def test_other_shapes(hostile, run, every, how):
    hostile.liar = TWISTS[how]
    for words in every[::2]:
        run(*words)


BROKEN = {
    "half": lambda data: data[:len(data) // 2],
    "nothing": lambda data: b"",
    "no object": lambda data: b"[" * 3000 + b"]" * 3000,
    "list": lambda data: b"[" + data + b"]",
    "twice": lambda data: data + data,
    "no text": lambda data: data.replace(b"x", b"\xff\xfe\x9b1m"),
    "words": lambda data: b"\x1b[2J not JSON \x9b",
}


@pytest.mark.parametrize("how", list(BROKEN))
def test_broken_answers(hostile, run, every, how):
    hostile.broken = BROKEN[how]
    for words in every[::3]:
        run(*words)


def test_a_list_without_end(hostile, run):
    page = json.dumps({"items": [{"name": "x"}] * 10000, "total": 5, "next": 1}).encode()
    count = iter(range(10**9))
    hostile.broken = lambda data: page.replace(b'"next": 1', f'"next": {next(count) + 1}'.encode())
    done = run("tenant", "list")
    assert done.returncode == 7 and b"no end" in done.stderr
    hostile.broken = lambda data: json.dumps({"items": [], "total": 5, "next": next(count)}).encode()
    assert run("tenant", "list").returncode == 7


def test_exports_go_to_no_terminal(hostile, tmp_path):
    for words in EXPORTS:
        ours, theirs = pty.openpty()
        try:
            done = subprocess.run([bulkhead.program("bulkhead"), *words], stdout=theirs, stderr=subprocess.PIPE, timeout=120, check=False,
                                  env={"BULKHEAD_RUN_DIR": str(tmp_path), "BULKHEAD_CONFIG": "/dev/null"})
        finally:
            os.close(theirs)
            os.close(ours)
        assert done.returncode == 2 and b"--file" in done.stderr


def test_hostile_words(run):
    """What the user was made to paste, and what is in his environment."""
    for words in ((STEER,), ("vm", "show", STEER), ("policy", "check", f"/nonexistent{STEER}"), ("vm", "list", f"--{STEER[1:]}"),
                  ("vm", "list", "--server", STEER), ("vm", "list", "--output", STEER), ("vm", "list", "--token-file", STEER),
                  ("vm", "list", "--ca", STEER, "--server", "https://127.0.0.1:1"), ("settings", "set", STEER),
                  ("audit", "verify", STEER)):
        assert run(*(w.replace("\0", "") for w in words)).returncode
    for name in ("SERVER", "TOKEN_FILE", "CONFIG", "RUN_DIR", "CA", "FINGERPRINT", "TOKEN"):
        run("vm", "list", env={f"BULKHEAD_{name}": STEER})
        run("vm", "list", env={f"BULKHEAD_{name}": STEER, "TERM": STEER, "COLUMNS": "-1", "LC_ALL": STEER, "NO_COLOR": ""})


@pytest.mark.parametrize("text", [f"server: {STEER}\n", f'server: "a{STEER.encode("unicode_escape").decode()}"\n', f"{STEER}: 1\n", "- - -",
                                  "server: [1]", "a" * 100000, "server: &a [*a]", "\ufeff", "timeout: 99999999999999999999\n"])
def test_hostile_files(run, tmp_path, text):
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    run("vm", "list", env={"BULKHEAD_CONFIG": str(tmp_path / "config.yaml")})
    folder = tmp_path / ".config" / "bulkhead"
    folder.mkdir(parents=True)
    for session in (text, json.dumps({"server": STEER, "token": STEER, "ca": STEER, "fingerprint": STEER}), "[]", '{"server": 1}'):
        (folder / "session.json").write_text(session, encoding="utf-8")
        os.chmod(folder / "session.json", 0o600)
        run("vm", "list")
        run("logout")
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    run("policy", "check", str(tmp_path / "bad.yaml"))
    run("policy", "check", "--json", str(tmp_path / "bad.yaml"))
    run("audit", "verify", str(tmp_path / "bad.yaml"))
