# SPDX-License-Identifier: Apache-2.0
"""Events out of the manager into real receivers: rsyslogd with TLS, a small HTTPS server. A receiver that is dead or
slow holds nobody up; a manager that is killed in the middle sends everything, and what it sends twice has the same id."""
import collections
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import threading
import time

import pytest

from test_api import Manager, free_port, manager_fixture, own_fixture, pytestmark  # noqa: F401

SECRET = "a secret of the webhook"


@pytest.fixture(scope="module", name="pki")
def pki_fixture(tmp_path_factory):
    """A CA and a certificate for 127.0.0.1 and localhost."""
    folder = tmp_path_factory.mktemp("pki")

    def run(*argv):
        subprocess.run(["openssl", *argv], cwd=folder, check=True, capture_output=True)

    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out",
        "ca.crt", "-subj", "/CN=receivers", "-days", "2")
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out",
        "server.csr", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.crt",
        "-days", "2", "-copy_extensions", "copy")
    return folder


def ca(pki):
    return (pki / "ca.crt").read_text()


class Hook:
    """An HTTPS receiver; `answer` says what it does with a request."""

    def __init__(self, pki, answer=lambda n: 200):
        self.seen, self.requests, self.bad = collections.Counter(), 0, []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.requests += 1
                status = answer(hook.requests)
                if status == 200:
                    hook.take(self.headers, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / "server.crt", pki / "server.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}/events"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def take(self, headers, body):
        fields = dict(part.split("=") for part in headers["X-Bulkhead-Signature"].split(","))
        mac = hmac.new(SECRET.encode(), fields["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mac, fields["v1"]):
            self.bad.append("signature")
        for line in body.decode().splitlines():
            event = json.loads(line)
            self.seen[event["event"]["id"] if "event" in event else event["uid"]] += 1

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def put_hook(m, pki, hook, name="hook", **more):
    answer = m.request("PUT", f"channels/{name}", {"kind": "webhook", "url": hook.url, "secret": SECRET, "ca": ca(pki),
                                                   "from": "oldest", **more})
    assert answer.status in (200, 201), answer.data
    return answer.json


def ids_of(m, instance):
    items = m.get("events?limit=10000").json["items"]
    return {f"bulkhead-{instance}-{e['id']}" for e in items}


def instance_of(hook):
    return next(iter(hook.seen)).split("-")[1]


def all_there(m, hook):
    return hook.seen and ids_of(m, instance_of(hook)) <= set(hook.seen)


def fill(folder):
    with open(f"{folder}/filler", "wb", buffering=0) as f:
        for size in (65536, 4096, 1):  # to the last page
            with contextlib.suppress(OSError):
                while f.write(b"\0" * size) == size:
                    pass
    return f"{folder}/filler"


def reasons(m):
    return {r["what"] for r in m.get("health").json["reasons"]}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a small file system")
def test_full_disk_of_cursors_and_alerts(own, pki):
    """Events are kept, the cursors of channels and the alerts can't be: said, nothing sent again and again, nothing that
    people do half done; and all is well when there is room."""
    small, state = f"{own.dir}/small", f"{own.dir}/state"
    os.makedirs(small)
    os.makedirs(state, mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", small], check=True)
    hook = Hook(pki)
    try:
        for name in ("channels.db", "alerts.db"):
            os.symlink(f"{small}/{name}", f"{state}/{name}")
        own.start()
        assert own.request("PUT", "settings/alerts", {"severity": "critical", "rules": [
            {"type": "audit.tenant.*", "severity": "info"}]}).status == 200
        put_hook(own, pki, hook)
        make_events(own, 3)
        own.wait(lambda: all_there(own, hook), 60, "the first events")
        alert = own.wait(lambda: own.get("alerts?type=audit.tenant.*").json["items"], 30, "the alert")[0]["id"]
        filler = fill(small)
        before = hook.requests
        make_events(own, 1)  # they are kept
        own.wait(lambda: {"channel", "alerts"} <= reasons(own), 60, "health to say so")
        refused = own.post(f"alerts/{alert}:acknowledge", {})
        assert refused.status == 507 and own.get(f"alerts/{alert}").json["state"] == "open", refused.data
        make_events(own, 5)
        for _ in range(3):
            retries = own.get("channels/hook").json["retries"]
            own.post("channels/hook:test", {})  # tries again at once
            own.wait(lambda had=retries: own.get("channels/hook").json["retries"] > had, 60, "another try")
        assert hook.requests - before <= 2  # not the same again with each try, and nothing behind it
        assert own.get("channels/hook").json["state"] == "failing" and own.get("events?limit=1").status == 200
        os.remove(filler)
        own.post("channels/hook:test", {})
        own.wait(lambda: not {"channel", "alerts"} & reasons(own), 60, "health to be well")
        own.wait(lambda: all_there(own, hook), 60, "all events")
        assert not hook.bad and max(hook.seen.values()) == 1
        assert own.post(f"alerts/{alert}:acknowledge", {}).status == 200
        count = own.get("events?type=audit.tenant.*&limit=1000").json["items"]
        own.wait(lambda: own.get(f"alerts/{alert}").json["count"] == len(count), 30, "each event to be counted")
        own.stop()
        own.start()
        assert own.get(f"alerts/{alert}").json["state"] == "acknowledged"
        assert own.get(f"alerts/{alert}").json["count"] == len(count)
    finally:
        own.close()
        hook.close()
        subprocess.run(["umount", "-l", small], check=False)


def make_events(m, count):
    for n in range(count):
        m.post("tenants", {"name": f"t-{time.monotonic_ns()}-{n}"})


def test_webhook(own, pki):
    """Refusals and failures are tried again; each event comes, signed, in the names of ECS."""
    hook = Hook(pki, lambda n: 503 if n in (1, 3) else 429 if n == 2 else 200)
    own.start()
    shown = put_hook(own, pki, hook)
    assert shown["signed"] and SECRET not in json.dumps(shown)
    make_events(own, 50)
    own.wait(lambda: all_there(own, hook), 40, "all events")
    assert not hook.bad
    own.wait(lambda: own.get("channels/hook").json["queued"] == 0, 10, "the queue to be empty")
    shown = own.get("channels/hook").json
    assert shown["retries"] >= 3 and shown["gave_up"] == 0 and shown["delivered"] >= 50
    hook.close()
    make_events(own, 1)
    own.wait(lambda: own.get("channels/hook").json["state"] == "failing", 10, "the failure to be told")
    health = own.get("health").json
    assert health["status"] == "degraded" and any(r["what"] == "channel" for r in health["reasons"])
    assert own.request("DELETE", "channels/hook").status == 204
    assert own.get("channels/hook").status == 404


@pytest.mark.parametrize("kind", ["webhook", "syslog"])
def test_killed_in_the_middle(own, pki, tmp_path, kind):
    own.start()
    if kind == "webhook":
        receiver = Hook(pki, lambda n: time.sleep(0.02) or 200)
        put_hook(own, pki, receiver, format="raw")
    else:
        receiver = Rsyslog(pki, tmp_path)
        put_syslog(own, pki, receiver)
    for _ in range(3):
        stop = threading.Event()

        def pour():
            while not stop.is_set():
                try:
                    make_events(own, 5)
                except (OSError, http.client.HTTPException):  # it is being killed
                    return

        thread = threading.Thread(target=pour)
        thread.start()
        time.sleep(0.7)
        own.process.send_signal(signal.SIGKILL)
        own.process.wait()
        stop.set()
        thread.join()
        own.start()
    own.wait(lambda: all_there(own, receiver), 40, "all events")
    shown = own.get("channels/hook").json
    assert shown["gave_up"] == 0
    receiver.close()


def test_dead_and_slow_receivers_hold_nobody_up(own, pki):
    own.start()
    slow = Hook(pki, lambda n: time.sleep(5) or 200)
    good = Hook(pki)
    put_hook(own, pki, slow, "slow")
    for n in range(5):
        answer = own.request("PUT", f"channels/dead{n}", {"kind": "syslog" if n % 2 else "webhook", "from": "oldest",
                                                          "url": f"tls://127.0.0.1:{free_port()}" if n % 2 else
                                                          f"https://127.0.0.1:{free_port()}/"})
        assert answer.status == 201
    put_hook(own, pki, good, "good")
    began = time.monotonic()
    make_events(own, 100)
    assert own.get("events?q=tenant&order=newest").json["items"]
    assert time.monotonic() - began < 5
    own.wait(lambda: all_there(own, good), 10, "the good one to have all")
    assert own.get("channels/dead1").json["state"] == "failing"
    began = time.monotonic()
    assert own.stop() == 0
    assert time.monotonic() - began < 5
    slow.close()
    good.close()


def test_refused_for_good_is_given_up(own, pki):
    hook = Hook(pki, lambda n: 400 if n <= 5 else 200)
    own.start()
    put_hook(own, pki, hook)
    own.wait(lambda: own.get("channels/hook").json["gave_up"] > 0, 60, "the batch to be given up")
    own.post("channels/hook:test")
    own.wait(lambda: own.get("channels/hook").json["delivered"] > 0, 60, "the next batch")
    hook.close()


def test_filters_and_settings(own, pki):
    hook = Hook(pki)
    own.start()
    put_hook(own, pki, hook, filter={"type": "channel.", "severity": "critical"})
    make_events(own, 5)
    own.post("channels/hook:test")
    own.wait(lambda: hook.seen, 10, "the test event")
    own.wait(lambda: own.get("channels/hook").json["queued"] == 0, 10, "the queue to be empty")
    assert sum(hook.seen.values()) == 1
    for bad in ({"kind": "fax", "url": "https://x"}, {"kind": "webhook", "url": "http://x"}, {"kind": "syslog"},
                {"kind": "webhook", "url": "https://x", "secret": "short"},
                {"kind": "webhook", "url": "https://x", "ca": "no"}, {"kind": "webhook", "url": "https://x", "more": 1},
                {"kind": "webhook", "url": "https://x", "filter": {"q": "\"open"}}):
        assert own.request("PUT", "channels/bad", bad).status == 400, bad
    # A certificate of somebody else is not talked to.
    own.request("PUT", "channels/hook", {"kind": "webhook", "url": hook.url, "ca": ""})
    own.post("channels/hook:test")
    own.wait(lambda: own.get("channels/hook").json["state"] == "failing", 10, "the certificate to be refused")
    hook.close()


# ---- rsyslogd


class Rsyslog:
    """Debian's rsyslogd, octet counting over TLS (RFC 5425), into a file."""

    def __init__(self, pki, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        self.out = folder / "out.log"
        (folder / "rsyslog.conf").write_text(f"""
global(workDirectory="{folder}" defaultNetstreamDriverCAFile="{pki}/ca.crt"
       defaultNetstreamDriverCertFile="{pki}/server.crt" defaultNetstreamDriverKeyFile="{pki}/server.key")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon" maxSessions="20")
template(name="whole" type="string" string="%structured-data%|%msgid%|%pri%|%msg%\\n")
ruleset(name="in") {{ action(type="omfile" file="{self.out}" template="whole" flushOnTXEnd="on") }}
input(type="imtcp" port="{self.port}" address="127.0.0.1" ruleset="in")
""")
        self.start()

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/rsyslogd", "-n", "-f", str(self.folder / "rsyslog.conf"), "-i",
                                         str(self.folder / "pid")], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    @property
    def seen(self):
        if not self.out.exists():
            return {}
        return collections.Counter(re.findall(r'\[bulkhead@32473 id="([^"]*)"\]', self.out.read_text()))

    def close(self):
        self.process.terminate()
        self.process.wait(20)


def put_syslog(m, pki, receiver, **more):
    answer = m.request("PUT", "channels/hook", {"kind": "syslog", "url": f"tls://localhost:{receiver.port}",
                                                "ca": ca(pki), "from": "oldest", **more})
    assert answer.status in (200, 201), answer.data


@pytest.mark.skipif(not os.path.exists("/usr/sbin/rsyslogd") or
                    not os.path.exists("/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so"),
                    reason="needs rsyslog and rsyslog-gnutls")
@pytest.mark.parametrize("kind", ["ecs", "cef"])
def test_syslog(own, pki, tmp_path, kind):
    receiver = Rsyslog(pki, tmp_path)
    own.start()
    put_syslog(own, pki, receiver, format=kind)
    make_events(own, 100)
    own.wait(lambda: all_there(own, receiver), 20, "all events")
    text = receiver.out.read_text()
    line = next(x for x in text.splitlines() if "audit.tenant.create" in x)
    assert re.match(r'\[bulkhead@32473 id="bulkhead-[0-9a-f]+-\d+"\]\|audit\.tenant\.create\|165\|', line), line
    message = line.split("|", 3)[3].lstrip()
    if kind == "ecs":
        event = json.loads(message)
        assert event["ecs"]["version"] and event["event"]["action"] == "audit.tenant.create"
        assert event["bulkhead"]["type"] == "audit.tenant.create"
    else:
        assert re.match(r"CEF:0\|Bulkhead\|Bulkhead\|[^|]+\|audit\.tenant\.create\|", message), message
    # It ends, and begins again: what came meanwhile comes then.
    receiver.close()
    make_events(own, 20)
    receiver.start()
    own.post("channels/hook:test")
    own.wait(lambda: all_there(own, receiver), 30, "what came meanwhile")
    receiver.close()
