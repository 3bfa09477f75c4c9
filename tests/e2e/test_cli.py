# SPDX-License-Identifier: Apache-2.0
"""The command line: offline commands, and every other one against a small server that answers as docs/api.yaml
says. What needs a real manager is at the end and in the tests with a world."""
import http.server
import json
import os
import select
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import threading

import pytest

from labkit import manager as bulkhead
from labkit import util

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEX = "ab" * 32
TIME = "2026-11-20T12:00:00.000Z"
POLICY = """
kind: Policy
metadata: {name: db, tenant: shop}
spec:
  selector: {matchLabels: {role: db}}
  ingress:
    - from: [{selector: {matchLabels: {role: web}}}]
      ports: [tcp/3306]
"""
NIC = {"mac": "52:54:00:00:00:01", "network": "bridge/br0", "net": 1, "kind": "bridge", "source": "br0",
       "dev": "vnet0", "addresses": ["10.78.0.11"], "addresses_api": ["10.78.0.11"], "addresses_learned": [],
       "flags": [], "vlans": [], "protected": True, "reason": ""}
BARE = {**NIC, "mac": "52:54:00:00:00:02", "network": "", "dev": "macvtap0", "source": "eth0", "addresses": [],
        "addresses_api": [], "protected": False, "reason": "macvtap leaves the host past the bridge"}
VM = {"uuid": "00000000-0000-4000-8000-000000000001", "name": "web", "type": "qemu", "state": "running",
      "host": "h1", "tenant": "shop", "tenant_api": None, "identity": 256, "birth": "closed", "birth_api": None,
      "labels": {"role": "web", "env": "prod"}, "labels_api": {"env": "prod"}, "labels_metadata": {"role": "web"},
      "nics": [NIC, BARE], "last_seen": TIME}
HOST = {"name": "h1", "online": True, "in_sync": True, "state": "in-sync", "problem": None, "version": "0.1.0",
        "abi": 1, "boot": "b", "enrolled_at": TIME, "last_seen": TIME, "intended": HEX, "installed": HEX,
        "revision": 7, "installed_at": TIME, "install_us": 1500, "sync_us": 4200,
        "capacity": {"rows": 1000, "nics": 100}, "used": {"rows": 10, "nics": 2}, "vms": 1, "nics": 2,
        "nics_unprotected": 1, "labels": {"zone": "pci"}, "maintenance": {"on": False}}
LATE = {**HOST, "name": "h2", "online": False, "in_sync": False, "state": "offline", "installed": "cd" * 32,
        "problem": "not heard of for 30 s", "vms": 0,
        "maintenance": {"on": True, "reason": "new disks", "since": TIME, "by": "unix:0"}}
STATUS = {"version": "0.1.0", "time": TIME, "started_at": TIME, "revision": 7, "in_sync": False,
          "hosts": {"total": 2, "online": 1, "in_sync": 1}, "host_list": [HOST, LATE],
          "counts": {"tenants": 2, "vms": 1, "nics": 2, "nics_unprotected": 1, "networks": 1, "identities": 1,
                     "policies": 5, "rules": 14},
          "bus": {"connected": True, "url": "tls://127.0.0.1:4222", "private_server": True},
          "store": {"path": "/var/lib/bulkhead/manager/bulkhead.db", "size_bytes": 40960, "free_bytes": 10**10,
                    "ok": True}, "events": {"stored": 12, "last_id": 12, "missing": 3, "followers": 0}}
SUMMARY = {"tenant": "shop", "name": "db", "tier": "tenant", "order": 1000, "rules": 1, "revision": 7,
           "file": "examples/shop.yaml"}
CHANGE = {"tenant": "shop", "name": "db", "change": "changed", "text": "-tcp/3306\n+tcp/5432"}
APPLIED = {"revision": 8, "changed": True, "changes": [CHANGE], "complete": True, "elapsed_us": 9000,
           "hosts": [{"host": "h1", "online": True, "in_sync": True, "intended": HEX, "installed": HEX,
                      "install_us": 900, "sync_us": 7100, "problem": None}]}
EFFECT = {"entries": [{"dir": "ingress", "selected": {"tenant": "shop", "labels": {"role": "db",
                                                                                   "bulkhead/vm.classes": ""}},
                       "identities": [257], "peers": ["shop role=web", "world"], "services": ["tcp/3306"],
                       "before": {"action": "allow", "rule": "shop/db ingress[0]"},
                       "after": {"action": "deny", "rule": "implicit deny"}}],
          "left_out": 3, "pairs_changed": 1, "complete": False, "policies": {}}
JUDGED = {"action": "deny", "rule": 1, "text": "implicit deny: a policy selects the VM"}


def flow(number, **more):
    return {"v": 1, "id": number, "producer": "h1", "epoch": "e", "seq": number, "time": TIME,
            "type": "flow.refused", "severity": "notice", "host": "h1", "vm_name": "db", "action": "deny",
            "verdict": "deny", "proto": "tcp", "src": "10.78.0.14", "sport": 41234, "dst": "10.78.0.12",
            "dport": 3306, "src_vm": "rival/attacker", "dst_vm": "shop/db", "rule": 17,
            "rule_text": "shop/db ingress[2] (examples/shop.yaml:34)", "count": 12, **more}


def error(code, message, **more):
    return {"error": {"code": code, "message": message, **more}}


ROUTES = {
    "GET /v1/status": STATUS,
    "GET /v1/hosts": {"items": [HOST, LATE]},
    "GET /v1/hosts/h1": {**HOST, "vm_list": [VM]},
    "GET /v1/hosts/h1/query?what=nics&vm=web": {"ok": True, "nics": [{"mac": NIC["mac"], "index": 3}]},
    "DELETE /v1/hosts/h2": None,
    "GET /v1/hosts/h1/labels": {"name": "h1", "labels": {"zone": "pci"}},
    "PATCH /v1/hosts/h1/labels": {"name": "h1", "labels": {"zone": "pci", "rack": "r1", "empty": ""}},
    "PUT /v1/hosts/h1/maintenance": {"on": True, "reason": "new disks", "since": TIME, "by": "unix:0"},
    "POST /v1/enroll-tokens": {"id": 1, "token": f"bh1.{HEX}.{HEX}", "name": "h3", "expires_at": TIME,
                               "ca_fingerprint": HEX},
    "GET /v1/enroll-tokens": {"items": [{"id": 1, "name": "h3", "created_at": TIME, "expires_at": TIME,
                                         "used": True, "used_by": "h3"}]},
    "DELETE /v1/enroll-tokens/1": None,
    "GET /v1/vms": {"items": [VM, {**VM, "name": "gone", "host": None, "state": "gone", "nics": []}]},
    "GET /v1/vms?tenant=shop&host=h1&label=role%3Dweb": {"items": [VM]},
    "GET /v1/vms/web": VM,
    "GET /v1/vms/two%20words": {**VM, "name": "two words"},
    "PATCH /v1/vms/web": {**VM, "birth": "open", "tenant": "rival"},
    "DELETE /v1/vms/gone": None,
    "GET /v1/vms/web/labels": {"uuid": VM["uuid"], "identity": 256, "labels": VM["labels"],
                               "labels_api": VM["labels_api"], "labels_metadata": VM["labels_metadata"]},
    "PATCH /v1/vms/web/labels": {"uuid": VM["uuid"], "identity": 257, "labels": {"role": "db"},
                                 "labels_api": {"role": "db"}, "labels_metadata": {}},
    "PATCH /v1/vms/web/labels?wait=5": {"uuid": VM["uuid"], "identity": 257, "labels": {}, "labels_api": {},
                                        "labels_metadata": {}},
    "PUT /v1/vms/web/nics/52%3A54%3A00%3A00%3A00%3A01/addresses": NIC,
    "GET /v1/tenants": {"items": [{"name": "shop", "number": 2, "vms": 1, "policies": 1}]},
    "POST /v1/tenants": {"name": "new", "number": 3},
    "DELETE /v1/tenants/new": None,
    "GET /v1/networks": {"items": [{"number": 1, "key": "bridge/br0", "managed": False, "nics": 2}]},
    "GET /v1/identities": {"items": [{"number": 256, "tenant": "shop", "labels": VM["labels"], "vms": 1}]},
    "GET /v1/policies": {"revision": 7, "items": [SUMMARY, {**SUMMARY, "name": "twice"},
                                                  {**SUMMARY, "name": "twice", "tenant": "rival"}]},
    "GET /v1/policies/shop/db": {**SUMMARY, "text": POLICY, "rule_list": []},
    "DELETE /v1/policies/shop/db": APPLIED,
    "POST /v1/rollback?wait=30": APPLIED,
    "GET /v1/revisions": {"items": [{"revision": 8, "author": "unix:0", "time": TIME, "summary": "apply",
                                     "changes": [CHANGE]}]},
    "GET /v1/revisions/8": {"revision": 8, "author": "unix:0", "time": TIME, "changes": [], "policies": [],
                            "text": POLICY},
    "GET /v1/policies:explain?from=web&to=db&port=tcp%2F3306":
        {"verdict": "deny", "from": "shop/web", "to": "shop/db", "port": "tcp/3306",
         "egress": {"action": "allow", "rule": 16, "text": "rule", "policy": "shop/web", "file": "shop.yaml",
                    "line": 4, "says": "allow all", "considered": [{"text": "first", "outcome": "port"}]},
         "ingress": JUDGED},
    "GET /v1/flows?limit=100": {"items": [flow(1), flow(2, type="flow.new", action="allow", count=1)]},
    "GET /v1/flows?limit=10000": {"items": [flow(1), flow(2, proto="udp", dport=53)]},
    "GET /v1/flows?vm=db&verdict=deny&since=5m&limit=3": {"items": [flow(1)]},
    "GET /v1/flows?limit=1": {"items": [flow(40)]},
    "GET /v1/events?limit=100": {"items": [{"id": 3, "time": TIME, "type": "vm.started", "severity": "info",
                                            "host": "h1", "vm_name": "evil\u001b[2J"}]},
}


class Fake:
    """Answers from ROUTES; keeps what was asked in `seen` as (method, path, headers, body)."""

    def __init__(self, folder, tls=None):
        self.routes = dict(ROUTES)
        self.seen = []
        self.streams = []  # texts, one per connection; then 503
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.seen.append((self.command, self.path, self.headers, body))
                if self.headers.get("Accept") == "text/event-stream":
                    return self.stream()
                route = fake.routes.get(f"{self.command} {self.path}", False)
                route = route(self.headers, body) if callable(route) else route
                if route is False:
                    route = 404, error("not_found", f"there is no {self.path}")
                status, what = route if isinstance(route, tuple) else (200, route)
                if what is None:
                    status, text = 204, b""
                elif self.headers.get("Accept") == "text/yaml" and status == 200:
                    text = what["text"].encode()
                else:
                    text = json.dumps(what).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                return self.wfile.write(text)

            def stream(self):
                if not fake.streams:
                    self.send_response(403)
                    text = json.dumps(error("forbidden", "no more streams")).encode()
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    return self.wfile.write(text)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                return self.wfile.write(fake.streams.pop(0).encode())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *args):
                pass

            def address_string(self):
                return "unix"

        if tls:
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        else:
            self.url = f"{folder}/api.sock"

            class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
                daemon_threads = True

                def get_request(self):
                    request, _ = super().get_request()
                    return request, ("unix", 0)
            self.server = Server(self.url, Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def paths(self):
        return [f"{method} {path}" for method, path, _, _ in self.seen]

    def body(self, route):
        return next(b for m, p, _, b in self.seen if f"{m} {p}" == route)


@pytest.fixture(name="fake")
def fake_fixture(tmp_path):
    server = Fake(tmp_path)
    yield server
    server.close()


@pytest.fixture(name="cli")
def cli_fixture(tmp_path):
    """cli(*words, code=0): runs the program; its output is .stdout and .stderr."""
    environment = {"PATH": os.environ["PATH"], "BULKHEAD_RUN_DIR": str(tmp_path), "TZ": "UTC"}

    def run(*words, code=0, env=None, stdin=""):
        done = subprocess.run([bulkhead.program("bulkhead"), *map(str, words)], capture_output=True, text=True,
                              env={**environment, **(env or {})}, timeout=30, check=False, input=stdin)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "\033" not in done.stdout + done.stderr
        return done
    return run


# ---- offline ----------------------------------------------------------------------------------------------
def test_check_good(cli, tmp_path):
    (tmp_path / "a.yaml").write_text(POLICY)
    assert "1 policy, 1 rule" in cli("policy", "check", tmp_path / "a.yaml").stdout
    assert "1 policy, 1 rule" in cli("policy", "check", "-", stdin=POLICY).stdout
    found = json.loads(cli("policy", "check", "--json", tmp_path / "a.yaml").stdout)
    assert found["ok"] and found["policies"][0]["name"] == "db" and not found["errors"]


def test_check_example(cli):
    cli("policy", "check", f"{ROOT}/examples/shop.yaml")


def test_check_wrong(cli, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(POLICY.replace("selector: {matchLabels: {role: db}}", "selectr: {}"))
    done = cli("policy", "check", path, code=1)
    assert f"{path}:5:3: error: " in done.stdout and "selectr" in done.stdout
    found = json.loads(cli("policy", "check", path, "--json", code=1).stdout)
    assert not found["ok"] and found["errors"][0]["line"] == 5


def test_check_one_name_twice(cli, tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(POLICY)
    done = cli("policy", "check", tmp_path / "a.yaml", tmp_path / "b.yaml", code=1)
    assert "b.yaml" in done.stdout and "a.yaml" in done.stdout


def test_check_missing_file(cli):
    assert "/nonexistent" in cli("policy", "check", "/nonexistent", code=8).stderr


def test_format_is_identity(cli):
    once = cli("policy", "format", f"{ROOT}/examples/shop.yaml").stdout
    assert cli("policy", "format", "-", stdin=once).stdout == once


def test_usage(cli):
    assert 'did you mean "apply"' in cli("policy", "aply", code=2).stderr
    assert "--zebra" in cli("flow", "--zebra", code=2).stderr
    assert "FILE..." in cli("policy", "apply", code=2).stderr
    assert "http" in cli("vm", "list", "-s", "http://127.0.0.1", code=2).stderr
    assert cli(code=2).stderr.startswith("bulkhead:")
    assert cli("--version").stdout.startswith("bulkhead ")


def commands(cli, *path):
    """Every command there is, from its own help."""
    text = cli(*path, "--help").stdout
    here = [line.split()[0] for line in text.split("Commands\n")[1].split("\n\n")[0].splitlines()
            if line[:3].strip() or line[2:3].strip()] if "Commands\n" in text else []
    yield path
    for name in here:
        yield from commands(cli, *path, name)


def test_manual_has_every_command(cli):
    with open(f"{ROOT}/docs/man/bulkhead.1", encoding="utf-8") as file:
        manual = file.read()
    for path in commands(cli):
        if path:
            assert f"Cm {' '.join(path)}\n" in manual or f"Cm {' '.join(path)} " in manual, path


def test_manual_is_right():
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "style", f"{ROOT}/docs/man/bulkhead.1"],
                          capture_output=True, text=True, check=False)
    # The other pages need not be installed on the machine that checks.
    found = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert not found, found


def test_completion(fake, cli):
    script = f"""source {ROOT}/packaging/bulkhead.bash
        complete_it() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _bulkhead; echo "${{COMPREPLY[*]}}"; }}
        complete_it {bulkhead.program("bulkhead")} pol
        complete_it {bulkhead.program("bulkhead")} vm show w
        complete_it {bulkhead.program("bulkhead")} policy show ""
        complete_it {bulkhead.program("bulkhead")} policy check {ROOT}/examples/sh
        complete_it {bulkhead.program("bulkhead")} flow --verdict d"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True,
                          env={"PATH": os.environ["PATH"], "BULKHEAD_SERVER": fake.url})
    assert done.stdout.splitlines() == ["policy", "web", "shop/db shop/twice rival/twice",
                                        f"{ROOT}/examples/shop.yaml", "deny"]
    assert cli("__complete", "vm", "show", "", env={"BULKHEAD_SERVER": "/nonexistent"}).stdout == ""


# ---- against the small server -----------------------------------------------------------------------------
def test_nobody_there(cli):
    assert "bulkheadd" in cli("status", code=3).stderr
    failed = json.loads(cli("status", "--json", code=3).stderr)
    assert failed["error"]["code"] == "unreachable"


def test_status(fake, cli):
    text = cli("status").stdout
    assert "1 of 2 hosts" in text and HEX[:12] in text and HEX not in text and "rows 1%" not in text
    assert "✓ in-sync" in text and "✗ offline" in text and "3 reported as lost" in text
    assert json.loads(cli("status", "--json").stdout) == STATUS
    cli("status", "--exit-code", code=1)
    fake.routes["GET /v1/status"] = {**STATUS, "in_sync": True}
    cli("status", "--exit-code")


def test_hosts(fake, cli):
    assert "not heard of" in cli("host", "list").stdout
    assert "web" in cli("host", "show", "h1").stdout
    assert json.loads(cli("host", "show", "h1", "--json").stdout)["vm_list"] == [VM]
    cli("host", "remove", "h2")
    assert "DELETE /v1/hosts/h2" in fake.paths()
    assert "there is no" in cli("host", "show", "h9", code=6).stderr


def test_host_labels(fake, cli):
    assert "zone=pci" in cli("host", "list").stdout and "zone=pci" in cli("host", "show", "h1").stdout
    text = cli("host", "label", "h1").stdout
    assert "zone" in text and "pci" in text
    cli("host", "label", "h1", "rack=r1", "empty=", "old-")
    asked = json.loads(fake.body("PATCH /v1/hosts/h1/labels"))
    assert asked == {"labels": {"rack": "r1", "empty": "", "old": None}}
    for wrong in ("rack", "-", "a b-", "a=b c", "rack=-"):
        cli("host", "label", "h1", "--", wrong, code=2)


def test_maintenance(fake, cli):
    assert "in maintenance: new disks; not heard of" in cli("host", "list").stdout
    assert "off" in cli("host", "show", "h1").stdout
    assert "no VM that is new" in cli("host", "maintenance", "h1", "on", "--reason", "new disks").stdout
    assert json.loads(fake.body("PUT /v1/hosts/h1/maintenance")) == {"on": True, "reason": "new disks"}
    cli("host", "maintenance", "h1", "off", "--reason", "x", code=2)
    cli("host", "maintenance", "h1", "perhaps", code=2)
    assert "takes VMs again" in cli("host", "maintenance", "h1", "off").stdout


def test_tokens(fake, cli):
    done = cli("host", "token", "--name", "h3", "--ttl", "2h")
    assert done.stdout == f"bh1.{HEX}.{HEX}\n"  # alone, so that a script can take it
    assert json.loads(fake.body("POST /v1/enroll-tokens")) == {"name": "h3", "ttl_s": 7200}
    assert "h3" in cli("host", "token", "list").stdout
    cli("host", "token", "remove", 1)
    cli("host", "token", "--ttl", "soon", code=2)


def test_vms(fake, cli):
    text = cli("vm", "list").stdout
    assert "env=prod role=web" in text and "✗ 1 of 2" in text and VM["uuid"] not in text
    assert VM["uuid"] in cli("vm", "list", "-o", "wide").stdout
    assert json.loads(cli("vm", "list", "--json").stdout) == ROUTES["GET /v1/vms"]
    cli("vm", "list", "--tenant", "shop", "--host", "h1", "--label", "role=web")
    text = cli("vm", "show", "web").stdout
    assert "✗ no: macvtap leaves the host" in text
    cli("vm", "show", "two words")
    assert "open" in cli("vm", "birth", "web", "open").stdout
    assert json.loads(fake.body("PATCH /v1/vms/web")) == {"birth": "open"}
    fake.seen.clear()
    cli("vm", "tenant", "web", "default")
    assert json.loads(fake.body("PATCH /v1/vms/web")) == {"tenant": None}
    cli("vm", "birth", "web", "perhaps", code=2)
    cli("vm", "remove", "gone")


def test_tree(fake, cli):
    text = cli("vm", "tree").stdout
    assert text.splitlines() == [
        "h1",
        "└─ shop/web  running  env=prod role=web",
        "   ├─ 52:54:00:00:00:01  vnet0 → bridge/br0  10.78.0.11  ✓ protected",
        "   └─ 52:54:00:00:00:02  macvtap0 → eth0  ✗ not protected: macvtap leaves the host past the bridge",
        "h2  offline; as it was seen last",
        "(on no host)",
        "└─ shop/gone  gone  env=prod role=web"]
    tree = json.loads(cli("vm", "tree", "--json").stdout)
    assert [entry["host"] for entry in tree] == ["h1", "h2", None] and tree[0]["vms"] == [VM]
    assert cli("vm", "tree", "--host", "h2").stdout.startswith("h2")
    cli("vm", "tree", "--host", "h9", code=6)


def test_addresses(fake, cli):
    route = "PUT /v1/vms/web/nics/52%3A54%3A00%3A00%3A00%3A01/addresses"
    cli("vm", "address", "add", "web", NIC["mac"], "10.78.0.90", "fd00::1")
    assert json.loads(fake.body(route)) == {"addresses": ["10.78.0.11", "10.78.0.90", "fd00::1"]}
    fake.seen.clear()
    cli("vm", "address", "remove", "web", NIC["mac"], "10.78.0.11")
    assert json.loads(fake.body(route)) == {"addresses": []}
    assert "2 NICs" in cli("vm", "address", "add", "web", "10.78.0.90", code=2).stderr
    cli("vm", "address", "add", "web", "52:54:00:00:00:99", "10.78.0.90", code=6)
    cli("vm", "address", "add", "web", NIC["mac"], "10.78.0.900", code=2)
    cli("vm", "address", "add", "web", NIC["mac"], code=2)


def test_labels(fake, cli):
    text = cli("label", "list", "web").stdout
    assert "libvirt metadata" in text and "set here" in text
    cli("label", "set", "web", "role=db", "empty=")
    assert json.loads(fake.body("PATCH /v1/vms/web/labels")) == {"labels": {"role": "db", "empty": ""}}
    cli("label", "remove", "web", "env", "--wait=5")
    assert json.loads(fake.body("PATCH /v1/vms/web/labels?wait=5")) == {"labels": {"env": None}}
    cli("label", "set", "web", "role", code=2)
    cli("label", "set", "web", "-- role=x", code=2)
    cli("label", "set", "web", "role=db", "--wait=99", code=2)


def test_small_lists(fake, cli):
    for words in (("tenant", "list"), ("network", "list"), ("identity", "list")):
        assert len(cli(*words).stdout.splitlines()) == 2
        assert "items" in json.loads(cli(*words, "--json").stdout)
    cli("tenant", "create", "new")
    cli("tenant", "remove", "new")
    assert cli("version").stdout.split() == ["bulkhead", "0.1.0", "manager", "0.1.0"]


def test_policies(fake, cli):
    assert "examples/shop.yaml" in cli("policy", "list").stdout
    assert cli("policy", "show", "db").stdout == POLICY
    assert json.loads(cli("policy", "show", "shop/db", "--json").stdout)["text"] == POLICY
    cli("policy", "show", "none", code=6)
    assert "2 tenants" in cli("policy", "show", "twice", code=5).stderr
    cli("policy", "delete", "shop/db")
    cli("policy", "rollback", 7, "--wait")
    assert json.loads(fake.body("POST /v1/rollback?wait=30")) == {"revision": 7}
    cli("policy", "rollback", "-1", code=2)
    assert "~shop/db" in cli("policy", "revisions").stdout
    assert cli("policy", "revisions", 8).stdout == POLICY


def test_apply(fake, cli, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(POLICY)
    query = f"file={str(path).replace('/', '%2F')}"
    fake.routes[f"POST /v1/policies:apply?{query}&tenant=shop&prune=true&wait=5"] = APPLIED
    text = cli("policy", "apply", path, "--tenant", "shop", "--prune", "--wait=5").stdout
    assert "Revision 8" in text and "✓ yes" in text and "7.1 ms" in text
    method, _, headers, body = fake.seen[-1]
    assert method == "POST" and headers["Content-Type"] == "text/yaml" and body.decode() == POLICY

    fake.routes[f"POST /v1/policies:diff?{query}"] = {"changed": True, "changes": [CHANGE],
                                                      "hosts": [{"host": "h1", "records": 3}], "effect": EFFECT}
    text = cli("policy", "diff", path).stdout
    assert "~ changed shop/db" in text and "    +tcp/5432" in text
    assert "shop role=db  from shop role=web, world  tcp/3306  allow → deny  implicit deny" in text
    assert "and 3 more" in text and "classes" not in text
    assert cli("policy", "apply", "--dry-run", path).stdout == text
    assert "RUNS WHERE" not in text
    fake.routes[f"POST /v1/policies:diff?{query}"]["misplaced"] = {"total": 3, "vms": [
        {"vm": "u", "name": "pay1", "tenant": "shop", "host": "h1", "why": "placement of policy shop/pci needs zone=pci"}]}
    text = cli("policy", "diff", path).stdout
    assert "RUNS WHERE IT MAY NOT ANY MORE" in text and "pay1" in text and "... and 2 more" in text
    cli("policy", "diff", path, "--exit-code", code=1)

    fake.routes[f"POST /v1/policies:apply?{query}&wait=1"] = {**APPLIED, "complete": False}
    cli("policy", "apply", path, "--wait=1", code=1)


def test_apply_refused(fake, cli, tmp_path):
    one, two = tmp_path / "a.yaml", tmp_path / "b.yaml"
    one.write_text(POLICY)
    two.write_text(POLICY)
    names = f"{one}%2B{two}".replace("/", "%2F")
    fake.routes[f"POST /v1/policies:apply?file={names}"] = (
        422, error("bad_document", "unknown key", file="both", line=13, column=3))
    assert f"{two}:3:3: unknown key" in cli("policy", "apply", one, two, code=5).stderr

    hosts = [{"host": "h1", "table": "rows", "need": 2000, "capacity": 1000}]
    fake.routes[f"POST /v1/policies:apply?file={str(one).replace('/', '%2F')}"] = (
        409, error("capacity", "it does not fit", hosts=hosts))
    done = cli("policy", "apply", one, code=5)
    assert "it does not fit" in done.stderr and "2000" in done.stderr and not done.stdout
    failed = json.loads(cli("policy", "apply", one, "--json", code=5).stderr)
    assert failed["error"]["hosts"] == hosts


def test_explain(fake, cli):
    words = ("policy", "explain", "--from", "web", "--to", "db", "--port", "tcp/3306")
    text = cli(*words).stdout
    assert text.startswith("✗ refused: shop/web → shop/db, tcp/3306\n")
    assert "implicit deny" in text and "(shop.yaml:4): allow all" in text and "[shop/web]" in text
    assert "first - another port" in cli(*words, "-o", "wide").stdout and "first" not in text
    cli(*words, "--exit-code", code=1)
    cli("policy", "explain", "--from", "web", code=2)


def test_statuses(fake, cli, tmp_path):
    for status, code in ((401, 4), (403, 4), (429, 4), (400, 5), (413, 5), (409, 5), (404, 6), (500, 7), (504, 7)):
        fake.routes["GET /v1/status"] = (status, error("word", "a sentence"))
        done = cli("status", code=code)
        assert "a sentence" in done.stderr  # of a 401 too: a wrong password is no matter of tokens
        if status == 401:
            (tmp_path / "token").write_text("s3cret")
            assert "admin.token" in cli("status", "--token-file", tmp_path / "token", code=code).stderr
    fake.routes["GET /v1/status"] = (500, "no object")
    assert "status 500" in cli("status", code=7).stderr
    fake.routes["GET /v1/status"] = (200, [])
    cli("status")


def test_token_file(fake, cli, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    cli("status", "--token-file", tmp_path / "token")
    assert fake.seen[-1][2]["Authorization"] == "Bearer s3cret"
    cli("status", env={"BULKHEAD_TOKEN": "other"})
    assert fake.seen[-1][2]["Authorization"] == "Bearer other"
    cli("status", "--token-file", "/nonexistent", code=8)
    (tmp_path / "cli.yaml").write_text(f"server: {fake.url}\ntoken_file: {tmp_path}/token\n")
    cli("status", env={"BULKHEAD_CONFIG": str(tmp_path / "cli.yaml"), "BULKHEAD_RUN_DIR": "/nonexistent"})
    assert fake.seen[-1][2]["Authorization"] == "Bearer s3cret"


LINE = ("2026-11-20 12:00:00 h1 ✗ refused tcp rival/attacker 10.78.0.14:41234 → shop/db 10.78.0.12:3306  "
        "by shop/db ingress[2] (examples/shop.yaml:34) ×12")


def test_flows(fake, cli):
    lines = cli("flow").stdout.splitlines()
    assert lines[0] == LINE and " ✓ allowed " in lines[1]
    assert cli("flow", "list").stdout.splitlines() == lines
    assert json.loads(cli("flow", "--json").stdout)["items"] == ROUTES["GET /v1/flows?limit=100"]["items"]
    assert cli("flow", "--port", "tcp/3306").stdout == LINE + "\n"
    assert cli("flow", "--address", "10.78.0.99").stdout == ""
    cli("flow", "--vm", "db", "--verdict", "deny", "--since", "5m", "-n", 3)
    cli("flow", "--port", "zebra", code=2)
    assert "evil\\x1b[2J" in cli("event", "list").stdout


def test_pages_by_cursor(fake, cli):
    """What the manager had no time for is asked for by its cursor, never by an offset; a cursor that stands still ends it."""
    def event(number):
        return {"id": number, "time": TIME, "type": "vm.started", "severity": "info"}

    fake.routes["GET /v1/events?limit=100"] = {"items": [event(50), event(51)], "complete": False, "next": 40}
    fake.routes["GET /v1/events?limit=100&before=40"] = {"items": [event(20)], "complete": False, "next": 15}
    fake.routes["GET /v1/events?limit=100&before=15"] = {"items": [event(3), event(9)], "complete": True, "next": 3}
    assert [e["id"] for e in json.loads(cli("event", "list", "--json").stdout)["items"]] == [3, 9, 20, 50, 51]
    assert [path for _, path, _, _ in fake.seen] == ["/v1/events?limit=100", "/v1/events?limit=100&before=40",
                                                     "/v1/events?limit=100&before=15"]
    fake.seen.clear()
    fake.routes["GET /v1/events?limit=100&before=40"] = {"items": [], "complete": False, "next": 40}
    assert [e["id"] for e in json.loads(cli("event", "list", "--json").stdout)["items"]] == [50, 51]
    assert len(fake.seen) == 2 and not any("offset" in path for _, path, _, _ in fake.seen)


def sse(*events):
    return "".join(f"id: {e['id']}\nevent: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)


def test_follow_resumes(fake, cli):
    """The stream breaks after two events, and inside a third; the next connection goes on behind the second."""
    fake.streams = [": heartbeat\n\n" + sse(flow(41), flow(42)) + "id: 43\ndata: {", sse(flow(43, count=1))]
    done = cli("flow", "--follow", "--json", code=4)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [41, 42, 43]
    streams = [(p, h.get("Last-Event-ID")) for _, p, h, _ in fake.seen if h["Accept"] == "text/event-stream"]
    assert streams == [("/v1/flows?after=40", "40"), ("/v1/flows?after=42", "42"), ("/v1/flows?after=43", "43")]
    assert "trying again" in done.stderr


def test_follow_since(fake, cli):
    fake.routes["GET /v1/flows?since=5m&limit=100"] = {"items": [flow(7)]}
    fake.streams = [sse(flow(8), flow(9, proto="udp"))]
    done = cli("flow", "follow", "--since", "5m", code=4)
    assert len(done.stdout.splitlines()) == 3
    fake.routes["GET /v1/flows?since=5m&limit=10000"] = {"items": [flow(7, proto="udp")]}
    fake.streams = [sse(flow(8), flow(9, proto="udp"))]
    done = cli("flow", "follow", "--since", "5m", "--port", "tcp", code=4)
    assert done.stdout == LINE + "\n"


def test_follow_nobody(cli):
    cli("flow", "--follow", code=3)


def test_debug_through_manager(fake, cli):
    assert NIC["mac"] in cli("debug", "host", "--host", "h1", "nics", "vm=web").stdout
    assert "ping" in cli("debug", "host", "--help").stdout
    assert "hostd.sock" in cli("debug", "host", "ping", code=3).stderr
    cli("debug", "manager", "log", "loud", code=2)


def test_broken_pipe(fake):
    """`bulkhead ... | head` ends quietly."""
    done = subprocess.run(["bash", "-c", f"{bulkhead.program('bulkhead')} -s {fake.url} vm list | true"],
                          capture_output=True, text=True, timeout=20, check=True)
    assert done.stderr == ""


def test_full_disk(fake):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([bulkhead.program("bulkhead"), "-s", fake.url, "vm", "list"], stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=20, check=False)
    assert done.returncode == 8 and "No space" in done.stderr


# ---- TLS --------------------------------------------------------------------------------------------------
def openssl(*words, folder):
    return subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


class Pki:
    """A CA and certificates of it, made by openssl: independent of src/bus/pki."""

    def __init__(self, folder):
        self.folder = str(folder)
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "30", folder=folder)
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "server.key", folder=folder)

    def server(self, names, usage="serverAuth"):
        """(chain file, key file) of a server certificate."""
        openssl("req", "-new", "-key", "server.key", "-subj", "/CN=x", "-out", "server.csr", folder=self.folder)
        with open(f"{self.folder}/ext", "w", encoding="utf-8") as file:
            file.write(f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                "30", "-extfile", "ext", "-out", "server.pem", folder=self.folder)
        with open(f"{self.folder}/chain.pem", "w", encoding="utf-8") as chain:
            for name in ("server.pem", "ca.pem"):
                with open(f"{self.folder}/{name}", encoding="utf-8") as file:
                    chain.write(file.read())
        return f"{self.folder}/chain.pem", f"{self.folder}/server.key"

    def fingerprint(self):
        text = openssl("x509", "-in", "ca.pem", "-noout", "-fingerprint", "-sha256", folder=self.folder)
        return text.split("=")[1].strip()

    def sign(self, csr, name):
        with open(f"{self.folder}/host.csr", "w", encoding="utf-8") as file:
            file.write(csr)
        with open(f"{self.folder}/ext", "w", encoding="utf-8") as file:
            file.write(f"subjectAltName=DNS:host.{name}\nextendedKeyUsage=clientAuth\n")
        return openssl("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                       "-days", "30", "-extfile", "ext", folder=self.folder)


def pki_in(folder):
    folder.mkdir()
    return Pki(folder)


@pytest.fixture(name="pki")
def pki_fixture(tmp_path):
    return pki_in(tmp_path / "pki")


@pytest.mark.parametrize("names", ["DNS:manager", "IP:127.0.0.1"])
def test_tls_trusted(cli, tmp_path, pki, names):
    fake = Fake(tmp_path, pki.server(names))
    cli("status", "-s", fake.url, "--ca", f"{pki.folder}/ca.pem")
    cli("status", "-s", fake.url, "--fingerprint", pki.fingerprint())
    cli("status", "-s", fake.url, "--fingerprint", pki.fingerprint().replace(":", "").lower())
    fake.close()


@pytest.mark.parametrize("names, usage", [("DNS:host.h1", "serverAuth"), ("DNS:manager", "clientAuth")])
def test_tls_host_is_no_manager(cli, tmp_path, pki, names, usage):
    """A host's certificate is of the same CA and still opens nothing."""
    fake = Fake(tmp_path, pki.server(names, usage))
    (tmp_path / "token").write_text("s3cret")
    for trust in (("--ca", f"{pki.folder}/ca.pem"), ("--fingerprint", pki.fingerprint())):
        done = cli("status", "-s", fake.url, *trust, "--token-file", tmp_path / "token", code=3)
        assert "not the manager you asked for" in done.stderr
    assert not fake.seen  # the token was never sent
    fake.close()


def test_tls_stranger(cli, tmp_path, pki):
    other = pki_in(tmp_path / "other")
    fake = Fake(tmp_path, pki.server("DNS:manager"))
    for trust in (("--ca", f"{other.folder}/ca.pem"), ("--fingerprint", other.fingerprint()), ()):
        cli("status", "-s", fake.url, *trust, code=3)
    assert not fake.seen
    fake.close()


def enrolment(fake, pki, **changes):
    def answer(_, body):
        request = json.loads(body)
        with open(f"{pki.folder}/ca.pem", encoding="utf-8") as file:
            return 201, {"name": request["name"], "cert": pki.sign(request["csr"], request["name"]),
                         "ca": file.read(), "bus_url": "tls://192.0.2.1:4222", **changes}
    fake.routes["POST /v1/enroll"] = answer
    return f"bh1.{pki.fingerprint().replace(':', '').lower()}.{HEX}"


def test_enroll(cli, tmp_path, pki):
    fake = Fake(tmp_path, pki.server("DNS:manager"))
    token = enrolment(fake, pki)
    state = tmp_path / "state"
    words = ("host", "enroll", "--manager", fake.url, "--name", "h1", "--state-dir", state)
    done = cli(*words, "--token", token)
    assert "h1 is a host of" in done.stdout and "bulkhead-hostd" in done.stdout
    assert json.loads((state / "host.json").read_text()) == {"name": "h1", "bus": "tls://192.0.2.1:4222"}
    assert json.loads(fake.body("POST /v1/enroll"))["token"] == token
    assert (state / "pki/key.pem").stat().st_mode & 0o777 == 0o600
    key = openssl("pkey", "-in", "pki/key.pem", "-pubout", folder=state)
    assert openssl("x509", "-in", "pki/cert.pem", "-noout", "-pubkey", folder=state) == key
    openssl("verify", "-CAfile", "pki/ca.pem", "pki/cert.pem", folder=state)
    assert "already" in cli(*words, "--token", token, code=5).stderr
    again = json.loads(cli(*words, "--token", "-", "--force", "--json", stdin=token + "\n").stdout)
    assert again["name"] == "h1" and again["bus_url"] == "tls://192.0.2.1:4222"
    fake.close()


def test_enroll_refused(cli, tmp_path, pki):
    fake = Fake(tmp_path, pki.server("DNS:manager"))
    token = enrolment(fake, pki)
    state = tmp_path / "state"
    words = ("host", "enroll", "--manager", fake.url, "--name", "h1", "--state-dir", state)
    cli(*words, code=2)
    cli(*words, "--token", "bh1.12.34", code=2)
    cli(*words[:4], "--name", "Bad_Name", "--state-dir", state, "--token", token, code=2)
    stranger = pki_in(tmp_path / "other")
    done = cli(*words, "--token", f"bh1.{stranger.fingerprint().replace(':', '').lower()}.{HEX}", code=3)
    assert "not the manager" in done.stderr and not fake.seen
    fake.routes["POST /v1/enroll"] = (401, error("unauthorized", "used"))
    assert "join token" in cli(*words, "--token", token, code=4).stderr
    with open(f"{stranger.folder}/ca.pem", encoding="utf-8") as file:
        enrolment(fake, pki, ca=file.read())
    cli(*words, "--token", token, code=3)
    enrolment(fake, pki, bus_url="")
    cli(*words, "--token", token, code=7)
    assert not (state / "host.json").exists()
    fake.close()


# ---- against the real manager -----------------------------------------------------------------------------
def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Bulkheadd:
    """A manager on this machine's loopback, with its own folders and its private bus."""

    def __init__(self, folder):
        self.folder, self.process = str(folder), None
        self.url = f"https://127.0.0.1:{free_port()}"
        os.makedirs(f"{folder}/run")
        with open(f"{folder}/manager.yaml", "w", encoding="utf-8") as file:
            file.write(f"state_dir: {folder}/state\nrun_dir: {folder}/run\nlisten: {self.url[8:]}\n"
                       f"bus: {{listen: \"127.0.0.1:{free_port()}\"}}\n")

    def start(self):
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen([bulkhead.program("bulkheadd"), "-c", f"{self.folder}/manager.yaml"],
                                            stdout=log, stderr=log)
        util.wait_until("bulkheadd", lambda: self.cli("status", check=False).returncode == 0, 20, 0.1)

    def cli(self, *words, check=True, stdin=None):
        done = subprocess.run([bulkhead.program("bulkhead"), *map(str, words)], capture_output=True, text=True,
                              env={"PATH": os.environ["PATH"], "BULKHEAD_RUN_DIR": f"{self.folder}/run"},
                              timeout=60, check=False, input=stdin)
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *words):
        return json.loads(self.cli(*words, "--json").stdout)

    def follow(self, *words):
        return subprocess.Popen([bulkhead.program("bulkhead"), *words, "--json"], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True,
                                env={"PATH": os.environ["PATH"], "BULKHEAD_RUN_DIR": f"{self.folder}/run"})

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        try:
            with open(f"{self.folder}/state/nats/nats.pid", encoding="utf-8") as file:
                os.kill(int(file.read()), signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            pass


@pytest.fixture(name="real", scope="module")
def real_fixture(tmp_path_factory):
    for name in ("bulkheadd", "bulkhead"):
        if not os.access(f"{bulkhead.build_dir()}/{bulkhead.PROGRAMS[name]}", os.X_OK):
            pytest.skip(f"{name} is not built")
    if not shutil.which("nats-server"):
        pytest.skip("there is no nats-server")
    manager = Bulkheadd(tmp_path_factory.mktemp("manager"))
    manager.start()
    yield manager
    manager.stop()


def test_real_lists(real):
    assert real.json("status")["in_sync"] is True
    for words in (("host", "list"), ("host", "token", "list"), ("vm", "list"), ("tenant", "list"), ("network", "list"),
                  ("identity", "list"), ("policy", "list"), ("policy", "revisions"), ("flow", "list"),
                  ("event", "list")):
        assert isinstance(real.json(*words)["items"], list), words
        real.cli(*words)
        real.cli(*words, "-o", "wide")
    assert real.json("vm", "tree") == []
    assert real.json("version")["manager"] == real.json("status")["version"]


def test_real_policies(real, tmp_path):
    example = f"{ROOT}/examples/shop.yaml"
    applied = real.json("policy", "apply", "--wait=5", example)
    assert applied["changed"] and applied["complete"]
    again = real.json("policy", "apply", example)
    assert not again["changed"] and again["revision"] == applied["revision"]
    shown = real.cli("policy", "show", "shop/db").stdout
    assert shown == real.cli("policy", "format", "-", stdin=shown).stdout
    changed = tmp_path / "db.yaml"
    changed.write_text(shown.replace("tcp/3306", "tcp/5432"))
    diff = real.json("policy", "diff", changed)
    assert [(c["name"], c["change"]) for c in diff["changes"] if c["change"] != "same"] == [("db", "changed")]
    assert real.cli("policy", "diff", "--exit-code", changed, check=False).returncode == 1
    assert real.cli("policy", "diff", "--exit-code", example, check=False).returncode == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(POLICY.replace("selector", "selectr", 1))
    done = real.cli("policy", "apply", changed, wrong, check=False)
    assert done.returncode == 5 and f"{wrong}:5:3:" in done.stderr
    assert real.json("policy", "list")["revision"] == applied["revision"]
    real.cli("policy", "delete", "shop/db")
    assert real.cli("policy", "show", "shop/db", check=False).returncode == 6
    real.cli("policy", "rollback", applied["revision"])
    assert real.cli("policy", "show", "db").stdout == shown
    assert len(real.json("policy", "revisions")["items"]) == applied["revision"] + 2
    explained = real.json("policy", "explain", "--from", "world", "--to", "host", "--port", "tcp/22")
    assert explained["verdict"] in ("allow", "deny", "reject")


def test_real_trust(real, tmp_path):
    ca, token = f"{real.folder}/state/pki/ca.crt", f"{real.folder}/state/admin.token"
    text = subprocess.run(["openssl", "x509", "-in", ca, "-noout", "-fingerprint", "-sha256"], capture_output=True,
                          text=True, check=True).stdout
    for trust in (("--ca", ca), ("--fingerprint", text.split("=")[1].strip())):
        real.cli("status", "-s", real.url, *trust, "-t", token)
        assert real.cli("status", "-s", real.url, *trust, check=False).returncode == 4
    (tmp_path / "token").write_text("wrong")
    assert real.cli("status", "-s", real.url, "--ca", ca, "-t", tmp_path / "token", check=False).returncode == 4
    assert real.cli("status", "-s", real.url, "-t", token, check=False).returncode == 3


def test_real_enroll(real, tmp_path):
    token = real.cli("host", "token", "--name", "h1").stdout.strip()
    words = ("host", "enroll", "--manager", real.url, "--token", token)
    done = real.cli(*words, "--name", "h2", "--state-dir", tmp_path / "h2", check=False)
    assert done.returncode == 4, done.stderr
    real.cli(*words, "--name", "h1", "--state-dir", tmp_path / "h1")
    assert json.loads((tmp_path / "h1/host.json").read_text())["name"] == "h1"
    assert real.cli(*words, "--name", "h1", "--state-dir", tmp_path / "again", check=False).returncode == 4
    assert [(h["name"], h["state"]) for h in real.json("host", "list")["items"]] == [("h1", "never")]
    assert real.cli("status", "--exit-code", check=False).returncode == 1
    tokens = real.json("host", "token", "list")["items"]
    assert [t["used_by"] for t in tokens if t["used"]] == ["h1"]
    real.cli("host", "show", "h1")
    real.cli("host", "remove", "h1")
    assert real.cli("host", "show", "h1", check=False).returncode == 6


def test_real_debug(real):
    assert "counters" in real.json("debug", "manager", "ops")["ops"]
    assert "api_requests" in real.cli("debug", "manager", "counters").stdout
    real.cli("debug", "manager", "log", "debug", "api")
    real.cli("debug", "manager", "log", "info")
    assert real.cli("debug", "manager", "dance", check=False).returncode == 5


def next_event(reader, seconds=30):
    """One line of a stream, as JSON."""
    assert select.select([reader.stdout], [], [], seconds)[0], f"no event within {seconds} s"
    line = reader.stdout.readline()
    assert line, f"the stream ended with {reader.wait(5)}"
    return json.loads(line)


def followers(real):
    return real.json("status")["events"]["followers"]


def leave(reader):
    reader.kill()
    reader.wait(10)
    reader.stdout.close()


def test_real_readers_that_leave(real):
    """A reader that waits and one in the middle of something go away; the manager goes on."""
    for words in (("event", "follow", "--since", "1h"), ("flow", "follow")):
        reader = real.follow(*words)
        util.wait_until("the reader", lambda: followers(real) == 1, 10, 0.05)
        leave(reader)
        util.wait_until("the reader to be gone", lambda: followers(real) == 0, 30, 0.2)
    assert real.process.poll() is None


def test_real_follow_survives_kill(real):
    """Events before and after a kill of the manager arrive, each once and in order."""
    reader = real.follow("event", "follow", "--type", "audit.tenant.create")
    try:
        util.wait_until("the reader", lambda: followers(real) > 0, 10, 0.05)
        real.cli("tenant", "create", "before")
        first = next_event(reader)
        real.kill()
        real.start()
        real.cli("tenant", "create", "after")
        second = next_event(reader)
        assert first["type"] == second["type"] == "audit.tenant.create" and first["id"] < second["id"]
    finally:
        leave(reader)
