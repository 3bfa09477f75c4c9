# SPDX-License-Identifier: Apache-2.0
"""Every field and parameter of every route gets hostile strings (hostile.py, generated from docs/api.yaml), from root, who is let in
everywhere, and from a tenant's administrator. Each answer is looked at; at the end the manager is the same process, has not grown, and
all that it kept is whole: event stream, metrics, audit log. A string of each class goes to each place; all of them with --long."""
import collections
import contextlib
import dataclasses
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import zlib

import pytest

import hostile
from test_accounts import CLI
from test_api import ROOT, Answer, Manager, UnixConnection, pytestmark  # noqa: F401
from test_scope import DOCUMENT, THEIR_VM, person, state_of_t1

SPEC = f"{ROOT}/docs/api.yaml"
VM = "00000000-0000-4000-8000-000000000000"
TEXT = DOCUMENT % ("own", "t0", "x0")
GOOD = {"tenant": "t0", "at": "t0", "user": "viewer@t0", "role": "tenant-viewer", "verbs": ["vm.read"], "verb": "vm.read", "host": "sim0",
        "label": "role=web", "selector": "app=a0", "from": "vm0", "to": "vm1", "port": "tcp/80", "mac": "52:54:00:00:00:00",
        "documents": TEXT, "labels": {"a": "b"}, "on": True, "reason": "because", "url": "https://127.0.0.1:9/x", "version": 1,
        "password": "some long other word", "old": "not this one", "new": "quite another word", "code": "000000", "method": "totp",
        "revision": 1, "n": 1, "id": 1, "name": "own", "addresses": ["10.0.0.9"], "what": "status", "severity": "notice",
        "text": "words", "vm": {"name": "new"}, "type": "test.*"}
VM_OPS = ("getVm", "patchVm", "deleteVm", "putQuarantine", "getVmPolicy", "getLabels", "putLabels", "patchLabels", "putAddresses")
HOST_OPS = ("getHost", "deleteHost", "getHostLabels", "replaceHostLabels", "changeHostLabels", "getHostMaintenance",
            "setHostMaintenance", "queryHost")
BY_OP = {**{(op, "id"): VM for op in VM_OPS}, **{(op, "name"): "sim0" for op in HOST_OPS},
         **{(op, "name"): "t0" for op in ("getTenant", "deleteTenant", "getQuota", "putQuota")},
         **{(op, "name"): "new{n}" for op in ("createUser", "createTenant", "createRole", "createApiToken", "putChannel")},
         ("putChannel", "from"): "now", ("putChannel", "type"): "no.such"}
MADE = {"createDraft": "drafts/{id}", "createEnrollToken": "enroll-tokens/{id}", "createUser": "users/{name}", "createApiToken":
        "me/tokens/{id}", "createRole": "roles/{tenant}/{name}", "createTenant": "tenants/{name}", "putChannel": "channels/{name}"}
# What they show under the name of a member is of the documents, of before, or made when it was empty.
SHOW_ANOTHER = {"checkPolicies", "diffPolicies", "applyPolicies", "putQuarantine", "createUser", "setUserPassword"}
# They end the caller's session, or are made to be slow against guessing (test_accounts.py asks them).
HEAVY = {"login", "loginSecond", "changePassword", "createUser", "setUserPassword", "stepUp"}


class Root:
    """Root on the unix socket, on a connection that stays open."""

    def __init__(self, manager):
        self.m, self.name, self.connection = manager, "root", None

    def request(self, method, path, body=None, headers=None):
        for attempt in (0, 1):
            if not self.connection:
                self.connection = UnixConnection(f"{self.m.dir}/run/api.sock")
            try:
                self.connection.request(method, f"/v1/{path}", body, headers or {})
                response = self.connection.getresponse()
                return Answer(response.status, response.headers, response.read())
            except (http.client.HTTPException, OSError) as error:  # it may have been idle for too long
                self.connection.close()
                self.connection = None
                assert attempt == 0, f"{method} {path[:200]} ends the connection: {error}"
        return None


def pages(folder):
    """A console, as far as the server is concerned."""
    os.mkdir(folder)
    with open(f"{folder}/index.html", "w", encoding="utf-8") as file:
        file.write("<!doctype html><title>Bulkhead</title><style nonce='BULKHEAD-NONCE'></style>")
    return folder


@pytest.fixture(scope="module", name="m")
def manager_fixture():
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # some thousand acts, each waits for the disk
    folder = tempfile.mkdtemp(prefix="bh-attacks-", dir=shm)
    m = Manager(folder, console_dir=pages(f"{folder}/console"))
    try:
        m.start()
        m.simulate(0, 2, 2, 2)
        assert m.apply(TEXT).status == 200
        assert m.apply(DOCUMENT % ("zvault", "t1", "zwords")).status == 200
        for name, tenant in (("viewer", "t0"), ("zed", "t1")):
            assert m.post("users", {"name": name, "tenant": tenant, "role": "tenant-viewer", "password": "a password of his"}).status == 201
        assert m.post("drafts", {"tenant": "t0", "title": "d", "documents": TEXT}).status == 201
        yield m
    finally:
        m.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", name="admin")
def admin_fixture(m):
    admin = person(m, "admin", role="tenant-admin")
    admin.enroll()
    return admin


def cpu_seconds(m):
    with open(f"/proc/{m.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(m):
    return m.control("memory")["rss_bytes"] / 2 ** 20


def strings(op, place, everything):
    """One string of each class, another one at each place; what has a type gets others too."""
    count = zlib.crc32(f"{op.id} {place}".encode())
    for number, texts in enumerate(hostile.STRINGS.values()):
        yield from texts if everything else [texts[(count + number) % len(texts)]]
    if place.where in ("member", "key"):
        yield from hostile.OTHER if everything else [hostile.OTHER[n % len(hostile.OTHER)] for n in (count, count * 5 + 2)]
    if place.where in ("member", "text"):
        yield "A" * 300000


def undo(caller, op, answer):
    """What was made goes away, so that quotas are not what answers."""
    if op.id in MADE and answer.status in (200, 201):
        with contextlib.suppress(KeyError):
            caller.request("DELETE", MADE[op.id].format(**answer.json))


def attack(caller, op, place, value, fill, wrong):
    method, target, body, kind = hostile.request(op, fill, place, value)
    answer = caller.request(method, target[1:], body, {"Content-Type": kind} if kind else {})
    what = f"{caller.name}: {method} {target[:150]} ({place} = {ascii(value)[:80]})"
    for fault in hostile.faults(answer, (caller.m.dir,)):
        wrong[fault].append(f"{what}: {answer.status} {answer.data[:160]}")
    if answer.status < 300 and place.where == "member" and isinstance(value, str) and "json" in answer.headers.get("Content-Type", ""):
        back = [v for v in hostile.found(answer.json, place.at[-1]) if isinstance(v, str)]
        if any(back) and value not in back and op.id not in SHOW_ANOTHER:
            wrong["it comes back as something else"].append(f"{what}: {ascii(back)[:200]}")
    undo(caller, op, answer)
    return answer


def report(wrong):
    lines = [f"{len(cases)} x {fault}:\n    " + "\n    ".join(cases[:3]) for fault, cases in wrong.items()]
    assert not wrong, "\n".join(lines[:30])


def attack_all(m, caller, everything, skip=()):
    """Every place of every operation; (requests, answers with success)."""
    fill, wrong, asked, taken = hostile.Filler(GOOD, BY_OP), collections.defaultdict(list), 0, 0
    pid = m.process.pid
    for op in hostile.operations(hostile.load(SPEC)):
        if op.id in skip:
            continue
        before, first = cpu_seconds(m), asked
        for place in hostile.places(op):
            for value in strings(op, place, everything):
                answer = attack(caller, op, place, value, fill, wrong)
                taken += answer.status < 300
                asked += 1
        spent = cpu_seconds(m) - before
        if spent > 2 + 0.05 * (asked - first):
            wrong["takes much work"].append(f"{op.id}: {spent:.1f} s of CPU for {asked - first} requests")
    assert m.process.poll() is None and m.process.pid == pid, m.tail()
    report(wrong)
    return asked, taken


def test_every_place_withstands_root(m, request):
    """What lets root in lets everybody in who may; the strings come as far as they can."""
    root = Root(m)
    everything = request.config.getoption("--long")
    before = rss_mib(m)
    asked, taken = attack_all(m, root, everything, () if everything else HEAVY)
    print(f"{asked} requests, {taken} taken, {before:.0f} MiB before, {rss_mib(m):.0f} after")
    assert asked > 3000 and taken > 100
    assert rss_mib(m) - before < 64


def test_every_place_withstands_a_tenant(m, admin, request):
    """The same from within a tenant: what is t1's stays as it was."""
    before = state_of_t1(m)
    asked, taken = attack_all(m, admin, request.config.getoption("--long"), HEAVY | {"logout"})
    print(f"{asked} requests, {taken} taken")
    assert asked > 3000 and taken > 100
    assert state_of_t1(m) == before


# ---- what was kept


def test_lines_stay_lines(m):
    """Everything that was written is in the event stream, the metrics and the audit log; none of it has made a line of its own."""
    stream = UnixConnection(f"{m.dir}/run/api.sock")
    stream.request("GET", "/v1/events?after=0", headers={"Accept": "text/event-stream"})
    response, seen = stream.getresponse(), 0
    last = m.get("events?limit=1&order=newest").json["items"][0]["id"]
    while seen < last:
        line = response.readline().decode("utf-8")
        assert line.endswith("\n") and re.match(r"(id: \d+|event: [a-z0-9._-]+|data: \{.*\}|:.*|)$", line), ascii(line)
        if line.startswith("data: "):
            seen = json.loads(line[6:])["id"]
    stream.close()
    for line in m.get("metrics").data.decode("utf-8").splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) [a-z0-9_]+ .*|[a-z0-9_]+(\{([a-z_]+="[^"\\]*",?)*\})? [-+0-9.eE]+', line), ascii(line)


@pytest.mark.skipif(not os.path.exists(CLI), reason=f"needs {CLI}")
def test_the_audit_log_is_whole(m, tmp_path):
    path = tmp_path / "audit.ndjson"
    path.write_bytes(m.get("audit:export").data)
    with open(path, encoding="utf-8", newline="\n") as file:
        assert all(isinstance(json.loads(line), dict) for line in file)
    done = subprocess.run([CLI, "audit", "verify", str(path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- numbers and names of others


def made(answer, *members):
    assert answer.status in (200, 201), answer.data
    node = answer.json
    for member in members:
        node = node[member]
    return str(node)


@pytest.fixture(scope="module", name="theirs")
def theirs_fixture(m, admin):
    """What t1 and the provider have, by operation and parameter: every kind of thing that a path can name."""
    zed = person(m, "zoe", tenant="t1", role="tenant-admin")
    zed.enroll()
    draft = made(zed.post("drafts", {"tenant": "t1", "title": "zdraft", "documents": DOCUMENT % ("zvault", "t1", "x")}), "id")
    token = made(zed.post("me/tokens", {"name": "z", "verbs": ["vm.read"]}), "id")
    request = made(zed.post("requests", {"kind": "grant", "tenant": "t1", "verb": "vm.release", "reason": "zwords"}), "id")
    commit = made(m.apply(DOCUMENT % ("zother", "t1", "zwords"), "?confirm=1h"), "revision")
    assert m.post("roles", {"tenant": "t1", "name": "zrole", "verbs": ["vm.read"]}).status == 201
    enroll = made(m.post("enroll-tokens", {}), "id")
    session = next(str(s["id"]) for s in m.get("sessions").json["items"] if s["user"] == zed.name)
    role = str(m.get(f"users/{zed.name}").json["roles"][0]["id"])
    assert m.request("PUT", "channels/zchannel", {"kind": "syslog", "url": "tls://127.0.0.1:9", "enabled": False}).status == 201
    return {"drafts": draft, "me": token, "requests": request, "commits": commit, "revisions": commit, "enroll-tokens": enroll,
            "sessions": session, "users": (zed.name, role), "vms": (THEIR_VM, "52:54:00:00:00:01"), "tenants": "t1", "hosts": "sim0",
            "policies": ("t1", "zvault"), "roles": ("t1", "zrole"), "channels": "zchannel"}


NOBODYS = {"drafts": "999999", "me": "999999", "requests": "999999", "commits": "999999", "revisions": "999999", "enroll-tokens": "999999",
           "sessions": "999999", "users": ("nobody@t1", "999999"), "vms": ("00000000-0000-4000-8000-000000000099", "52:54:00:00:00:99"),
           "tenants": "t9", "hosts": "sim9", "policies": ("t9", "none"), "roles": ("t9", "none"), "channels": "none"}


def named(path, ids):
    """The path with the ids of a kind of thing in their order."""
    ids = ids if isinstance(ids, tuple) else (ids,)
    for value, name in zip(ids, re.findall(r"\{[^}]*\}", path)):
        path = path.replace(name, value, 1)
    return path


def test_a_number_of_others_is_a_number_of_nothing(m, admin, theirs):
    """With a body that is right, the ids of what is t1's answer as those of nothing; nothing of it is changed."""
    fill, wrong, asked = hostile.Filler(GOOD, BY_OP), collections.defaultdict(list), set()
    before, draft = state_of_t1(m), m.get(f"drafts/{theirs['drafts']}").json
    for op in hostile.operations(hostile.load(SPEC)):
        kind = op.path.split("/")[1].split(":")[0]
        if not op.named("path") or kind not in theirs:
            continue
        body = fill.body(op)
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        answers = []
        for ids in (theirs[kind], NOBODYS[kind]):
            there = dataclasses.replace(op, path=named(op.path, ids), params=[p for p in op.params if p["in"] == "query"])
            answer = admin.request(op.method, hostile.url(there, fill)[1:], data, {"Content-Type": op.kind} if op.kind else {})
            text = answer.data.decode()
            for word in sorted(ids if isinstance(ids, tuple) else (ids,), key=len, reverse=True):
                text = re.sub(rf"(?<![0-9a-z]){re.escape(word)}(?![0-9a-z])", "X", text)
            answers.append((answer.status, text))
        asked.add(kind)
        if answers[0] != answers[1] or answers[0][0] < 400:
            wrong["theirs and nobody's answer differently"].append(f"{op.method} {op.path}: {answers[0]} {answers[1]}"[:400])
    assert asked == set(theirs)
    report(wrong)
    assert state_of_t1(m) == before and m.get(f"drafts/{theirs['drafts']}").json == draft
    assert m.get(f"commits/{theirs['commits']}").json["state"] == "waiting"
    assert m.get(f"requests/{theirs['requests']}").json["state"] == "waiting"
