# SPDX-License-Identifier: Apache-2.0
"""The web console of the demo: its files, built while other things go on; people who can log in; a way in from this
machine."""
import http.client
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile

from . import util

DIST = f"{util.ROOT}/ui/dist"
PORT = 7443
TARGET = "10.77.0.254"  # the manager, in a network of its own
BUILD_S = 240
STEPS = """set -e
cd ui
[ -n "$(find node_modules/.package-lock.json -newer package-lock.json 2> /dev/null)" ] ||
	npm ci --no-fund --no-audit --loglevel error --fetch-retries 1 --fetch-timeout 20000
npx vite build --logLevel warn
node scripts/compress.mjs dist"""

#          name     display                    roles
PEOPLE = [("admin", "Provider administrator", [("provider-admin", "*"), ("security-officer", "*"), ("auditor", "*")]),
          ("shop", "Administrator of the shop", [("tenant-admin", "shop")])]


def fresh():
    """Is there a console that was built from these sources?"""
    index = f"{DIST}/index.html"
    if not os.path.exists(index):
        return False
    built = os.path.getmtime(index)
    sources = [f"{util.ROOT}/ui/{name}" for name in ("index.html", "package-lock.json", "vite.config.ts")]
    for folder in ("src", "public"):
        sources += [f"{at}/{name}" for at, _, names in os.walk(f"{util.ROOT}/ui/{folder}") for name in names]
    return all(os.path.getmtime(path) <= built for path in sources)


class Build:
    """The console's files: there, on their way, or missing for a reason."""

    def __init__(self):
        self.log = tempfile.TemporaryFile()  # pylint: disable=consider-using-with; nothing of it stays behind
        self.process, self.missing = None, ""
        if fresh():
            return
        if os.environ.get("BULKHEAD_CHECK") == util.ROOT:  # its suite `ui` builds the console
            self.missing = "./check builds it"
        elif not shutil.which("npm") or not shutil.which("node"):
            self.missing = "nodejs and npm are not installed (apt install nodejs npm, then ./demo again)"
        else:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                ["nice", "-n", "15", "sh", "-c", STEPS], cwd=util.ROOT, stdin=subprocess.DEVNULL, stdout=self.log,
                stderr=self.log, start_new_session=True)

    def _said(self):
        self.log.seek(0)
        return "\n".join(self.log.read().decode(errors="replace").splitlines()[-5:])

    def going_on(self):
        return self.process is not None and self.process.poll() is None

    def ready(self):
        """Waits for it. False: `missing` says why."""
        if self.process:
            try:
                if self.process.wait(BUILD_S):
                    self.missing = f"its build failed:\n{self._said()}"
            except subprocess.TimeoutExpired:
                self.end()
                self.missing = f"its build took more than {BUILD_S} s"
            self.process = None
        return not self.missing

    def end(self):
        if self.process:
            subprocess.run(["pkill", "-TERM", "-s", str(self.process.pid)], check=False)
            self.process.wait()


def _open_door(manager):
    """A port of this machine's loopback that leads to the manager; ends with the lab."""
    for port in (PORT, 0):
        try:
            listener = socket.create_server(("127.0.0.1", port))
            break
        except OSError:
            continue
    with listener:
        subprocess.Popen(  # pylint: disable=consider-using-with
            ["nsenter", "-t", str(manager.pid), "-n", "--", sys.executable, f"{os.path.dirname(__file__)}/forward.py",
             str(listener.fileno()), TARGET, str(PORT)],
            pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "BULKHEAD_LAB_NODE": manager.mark})
        return listener.getsockname()[1]


def _ask(port, method, path, body, headers=None):
    context = ssl._create_unverified_context()  # pylint: disable=protected-access; the demo's own, on loopback
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    try:
        connection.request(method, f"/v1/{path}", json.dumps(body),
                           {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise util.LabError(f"{method} /v1/{path}: {answer.status} {data[:300]!r}")
        return json.loads(data) if data else {}
    finally:
        connection.close()


def _answers(port):
    try:
        _ask(port, "GET", "session", None)
    except util.LabError:
        return True  # 401: nobody is logged in yet
    except OSError:
        return False
    return True


def _make_person(manager, port, name, display, roles):
    """Somebody who can log in at once: his first password is changed already. Returns the one he has."""
    first, *more = roles
    made = manager.json("user", "create", name, "--display", display, "--role", first[0], "--at", first[1])
    for role, at in more:
        manager.cli("user", "grant", name, role, "--at", at)
    password = "-".join(secrets.token_hex(2) for _ in range(4))
    token = _ask(port, "POST", "login", {"user": name, "password": made["password"], "bearer": True})["token"]
    _ask(port, "POST", "me/password", {"old": made["password"], "new": password}, {"Authorization": f"Bearer {token}"})
    return password


def open_for(manager):
    """Returns what to tell: {"url", "people": [[name, what, password]]}; kept beside the lab for `demo status`."""
    port = _open_door(manager)
    util.wait_until("the console", lambda: _answers(port), 30, 0.1)
    people = [[name, what, _make_person(manager, port, name, what, roles)] for name, what, roles in PEOPLE]
    told = {"url": f"https://127.0.0.1:{port}/", "people": people}
    util.write(f"{manager.lab.dir}/console.json", json.dumps(told), 0o600)
    return told


def told_by(lab):
    """What open_for() has told; None: there is no console."""
    text = util.read(f"{lab.dir}/console.json")
    return json.loads(text) if text else None


def words(told):
    width = max(len(name) for name, *_ in told["people"])
    lines = [f"The web console: {told['url']}"]
    lines += [f"  user {name:{width}}  password {password}  ({what})" for name, what, password in told["people"]]
    here = told["url"].split("/")[2]
    lines.append("  The browser will warn of the certificate: this demo has made it. From another machine:\n"
                 f"  ssh -L {here.split(':')[1]}:{here} THIS-MACHINE")
    return "\n".join(lines)
