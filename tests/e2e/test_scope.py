# SPDX-License-Identifier: Apache-2.0
"""What people of one tenant may learn about another, and about the provider's hosts: nothing. Every operation of docs/api.yaml is
asked by several users of tenant t0, with identifiers of their own, of t1, and of nobody, so a new route is covered once it is in the
specification. No answer, error, count, search hit or event may name what is t1's; what is t1's answers as what does not exist; and
nothing of t1 is changed."""
import http.client
import itertools
import json
import os
import random
import re
import shutil
import ssl
import tempfile

import pytest

from test_accounts import Person
from test_api import SPEC, Answer, Manager, pytestmark  # noqa: F401

METHODS = ("get", "put", "post", "patch", "delete")
OWN_VM, THEIR_VM, NO_VM = (f"00000000-0000-4000-8000-00000000000{n}" for n in (0, 1, 9))
# What t1 and the provider have. Words of the request itself may come back in an error.
SECRETS = [r"\bt1\b", r"\bvm1\b", r"\bvm3\b", r"000000000001\b", r"000000000003\b", r"10\.0\.0\.1\b", r"10\.0\.0\.3\b", "zsecret",
           "ztreasure", "zvault", "zwords", r"\bzed\b", r"52:54:00:00:00:0[13]", r"\bsim[01]\b", "bridge/br", "provider-note"]
LEAK = re.compile("|".join(SECRETS))
DOCUMENT = """
kind: Policy
metadata: {name: %s, tenant: %s, description: %s}
spec:
  selector: {matchLabels: {app: a0}}
  ingress:
    - from: [{selector: {matchLabels: {zsecret: ztreasure}}}]
      ports: [tcp/3306]
"""


class Caller(Person):
    """A person whose connection stays open: some hundred requests each."""

    connection = None
    headers = None

    def request(self, method, path, body=None, headers=None, checked=False, csrf=True):
        headers = {"User-Agent": self.agent, **(headers or {}), **(self.headers or {})}
        if self.cookie:
            headers["Cookie"] = self.cookie
            if method != "GET" and self.csrf:
                headers["X-Bulkhead-Csrf"] = self.csrf
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        for attempt in (0, 1):
            if not self.connection:
                context = ssl.create_default_context(cafile=f"{self.m.dir}/state/pki/ca.crt")
                self.connection = http.client.HTTPSConnection("127.0.0.1", self.m.port, context=context, timeout=60,
                                                              source_address=(self.address, 0))
            try:
                self.connection.request(method, f"/v1/{path}", body, headers)
                response = self.connection.getresponse()
                answer = Answer(response.status, response.headers, response.read())
                break
            except (http.client.HTTPException, OSError):
                self.connection = None
                assert attempt == 0
        cookie = answer.headers.get("Set-Cookie")
        if cookie:
            self.cookie = cookie.split(";")[0]
        return answer


def person(m, name, tenant="t0", role=None):
    body = {"name": name, "tenant": tenant, "password": "first-login-password"}
    if role:
        body["role"] = role
    answer = m.post("users", body)
    assert answer.status == 201, answer.data
    return Caller(m, answer.json["name"], body["password"]).settle("some long other word")


def random_role(m, seed):
    """Some rights of a tenant, drawn."""
    draw = random.Random(seed)
    rights = [r["verb"] for r in m.get("rights").json["rights"] if not r["dangerous"] and draw.random() < 0.5] or ["vm.read"]
    assert m.post("roles", {"tenant": "t0", "name": f"drawn{seed}", "verbs": rights}).status == 201
    return f"drawn{seed}"


@pytest.fixture(scope="module", name="two")
def two_fixture():
    folder = tempfile.mkdtemp(prefix="bh-scope-")
    m = Manager(folder)
    try:
        m.start()
        m.simulate(0, 2, 2, 2)
        for vm in (THEIR_VM, "vm3"):
            assert m.request("PATCH", f"vms/{vm}/labels", {"labels": {"zsecret": "ztreasure"}}).status == 200
        assert m.request("PATCH", "hosts/sim0/labels", {"labels": {"note": "provider-note"}}).status == 200
        for name, tenant, words in (("own", "t0", "ours"), ("zvault", "t1", "zwords")):
            answer = m.apply(DOCUMENT.replace("zsecret: ztreasure", "app: a1") % (name, tenant, words))
            assert answer.status == 200, answer.data
        assert m.request("PUT", f"vms/{THEIR_VM}/quarantine", {"on": True, "reason": "zwords"}).status == 200
        assert m.post("users", {"name": "zed", "tenant": "t1", "role": "tenant-admin"}).status == 201
        assert m.post("roles", {"tenant": "t1", "name": "zsecret", "verbs": ["vm.read"]}).status == 201
        admin = person(m, "admin", role="tenant-admin")
        admin.enroll()
        assert m.post("users", {"name": "viewer", "tenant": "t0", "role": "tenant-viewer"}).status == 201
        seed = int(os.environ.get("SCOPE_SEED", "1"))
        yield m, [admin, person(m, "nothing"), person(m, "drawn", role=random_role(m, seed))]
    finally:
        m.close()
        shutil.rmtree(folder, ignore_errors=True)


def fills(path):
    """(whose, path) for each way to put identifiers into a path of the specification."""
    names = re.findall(r"\{([^}]*)\}", path)
    if not names:
        return [("own", path)]
    pools = {"own": {"tenant": "t0", "user": "viewer@t0", "mac": "52:54:00:00:00:00"},
             "theirs": {"tenant": "t1", "user": "zed@t1", "mac": "52:54:00:00:00:01"},
             "nobody's": {"tenant": "t7", "user": "who@t7", "mac": "52:54:00:00:00:09"}}
    values = {"own": [OWN_VM, "own", "t0", "1"], "theirs": [THEIR_VM, "vm1", "zvault", "t1", "sim0", "2"],
              "nobody's": [NO_VM, "vm9", "znothing", "t7", "sim7", "77"]}
    out = []
    for whose, pool in pools.items():
        for other in values[whose]:
            out.append((whose, re.sub(r"\{([^}]*)\}", lambda g, pool=pool, other=other: pool.get(g[1], other), path)))
    return out


def queries(item, op):
    """Without parameters, and each one with a value of t1."""
    params = [p for p in (*item.get("parameters", []), *op.get("parameters", [])) if p.get("in") == "query" or "$ref" in p]
    names = [p["name"] if "name" in p else p["$ref"].rsplit("/", 1)[1] for p in params]
    yield ""
    for name in names:
        for value in {"vm": [THEIR_VM, "vm1"], "tenant": ["t1"], "host": ["sim0"], "label": ["zsecret"], "q": ["ztreasure", "vm1", THEIR_VM],
                      "selector": ["zsecret=ztreasure"], "user": ["zed@t1"], "from": ["vm1", "10.0.0.1"],
                      "limit": ["3"], "groups": ["tenant", "host"], "sort": ["host", "tenant"],
                      "protection": ["quarantine", "misplaced", "conflict"]}.get(name, []):
            yield f"?{name}={value}" + ("&to=vm0" if name == "from" else "")


def without_own_words(line):
    """What people of t0 were refused is on t0's record in their own words; those are no news to them."""
    def strip(node):
        if isinstance(node, list):
            return [strip(n) for n in node]
        if not isinstance(node, dict):
            return node
        if str(node.get("user", "")).endswith("@t0") and (node.get("result") in ("denied", "refused") or
                                                          node.get("type") == "access.denied"):
            return {}
        return {k: strip(v) for k, v in node.items()}
    try:
        return json.dumps(strip(json.loads(line.removeprefix("data: "))), ensure_ascii=False)
    except ValueError:
        return line


def leaks(caller, what, sent, answer):
    """What is wrong with an answer, as lines."""
    asked = sent + caller.name
    text = answer.data.decode("utf-8", "replace")
    text = "\n".join(without_own_words(line) for line in text.split("\n"))
    wrong = [f"{caller.name}: {what} shows {found.group()}: {text[max(0, found.start() - 150):found.end() + 80]}"
             for found in LEAK.finditer(text) if found.group() not in asked][:1]
    if answer.status >= 500 and answer.status not in (503, 504):
        wrong.append(f"{caller.name}: {what}: {answer.status} {text[:200]}")
    return wrong


def report(wrong):
    assert not wrong, f"{len(wrong)} answers:\n" + "\n".join(wrong[:40])


def plain(text, path):
    """An answer without the identifiers that were asked for."""
    for word in sorted(path.replace(":", "/").split("/"), key=len, reverse=True):
        if word and re.search(r"\d|z|@", word):
            text = text.replace(word, "X")
    return re.sub(r"\d{4}-\d\d-\d\dT[^\"]*", "T", text)


def test_reading_shows_nothing_of_others(two):
    m, callers = two
    count, wrong = 0, []
    for path, item in SPEC["paths"].items():
        if "get" not in item:
            continue
        for whose, filled in fills(path):
            for query in queries(item, item["get"]) if whose == "own" else [""]:
                for caller in callers:
                    what = f"GET {filled}{query}"
                    wrong += leaks(caller, what, what, caller.get(filled[1:] + query))
                    count += 1
    report(wrong)
    assert count > 300


def test_what_others_have_already_is_not_ours(two):
    """An ETag is good for who was given it, and counts beside a list are of what the caller sees."""
    m, (admin, *_) = two
    viewer = person(m, "looker", role="tenant-viewer")
    mine = admin.get("vms?groups=tenant")
    assert mine.json["groups"] == [{"name": "t0", "vms": 2}] and mine.json["total"] == 2
    for other in (m.get("vms?groups=tenant"), m.get("vms?tenant=t0&groups=tenant"), viewer.get("vms?groups=tenant")):
        assert other.headers["ETag"] != mine.headers["ETag"]
        assert admin.get("vms?groups=tenant", headers={"If-None-Match": other.headers["ETag"]}).status == 200
    asked = {"If-None-Match": mine.headers["ETag"]}
    assert admin.get("vms?groups=tenant", headers=asked).status == 304
    assert m.request("PATCH", f"vms/{THEIR_VM}/labels", {"labels": {"etag": "x"}}).status == 200
    assert admin.get("vms?groups=tenant", headers=asked).status == 304  # nothing of ours has changed
    for hosts in ("groups=host", "sort=-host", "host=-", "protection=misplaced"):
        assert admin.get(f"vms?{hosts}").status == 403, hosts


def test_what_is_theirs_is_as_if_it_were_not_there(two):
    m, callers = two
    wrong = []
    for path, item in SPEC["paths"].items():
        by = {}
        for whose, filled in fills(path):
            by.setdefault(whose, []).append(filled)
        for method in METHODS:
            if method not in item or "theirs" not in by:
                continue
            for theirs, nobodys in zip(by["theirs"], by["nobody's"]):
                for caller in (callers[0], callers[-1]):
                    body = None if method in ("get", "delete") else {}
                    a = caller.request(method.upper(), theirs[1:], body)
                    b = caller.request(method.upper(), nobodys[1:], body)
                    what = f"{caller.name}: {method} {theirs}"
                    numbered = "{n}" in path or "{revision}" in path or path.startswith("/alerts/{id}")
                    if numbered or "{id}" in path and theirs.rsplit("/", 1)[-1].isdigit():
                        wrong += leaks(caller, what, theirs, a)
                        continue  # numbers of alerts, drafts, sessions, revisions: theirs may be anybody's
                    if a.status < 400 or a.status != b.status or plain(a.data.decode(), theirs) != plain(b.data.decode(), nobodys):
                        wrong.append(f"{what}: {a.status} {a.data[:150]}; and for nobody's: {b.status} {b.data[:150]}")
    report(wrong)


def bodies(op):
    """Bodies for an operation: its properties filled with what is t1's."""
    content = op.get("requestBody", {}).get("content", {}) if isinstance(op.get("requestBody"), dict) else {}
    schema = content.get("application/json", {}).get("schema", {})
    theirs = {"tenant": "t1", "at": "t1", "name": "vm1", "user": "zed@t1", "role": "zsecret", "labels": {"a": "b"}, "on": True,
              "documents": DOCUMENT % ("zvault", "t1", "taken"), "object": f"vm/{THEIR_VM}", "verb": "vm.release",
              "verbs": ["vm.read"], "addresses": ["10.0.0.1"], "birth": "open", "revision": 1, "hours": 1, "reason": "because",
              "kind": "grant", "password": "some long other word", "code": "123456", "method": "totp", "removes": ["zvault"]}
    properties = schema.get("properties", {})
    if properties:
        yield {k: theirs[k] for k in properties if k in theirs}
        yield {k: theirs[k] for k in properties if k in theirs and k != "tenant"}


def state_of_t1(m):
    """All that t1 has, as root sees it."""
    vms = [{k: v for k, v in vm.items() if k != "last_seen"} for vm in m.get("vms?tenant=t1").json["items"]]
    return json.dumps([vms, m.get("policies?tenant=t1").json["items"], m.get("users?tenant=t1").json["items"],
                       [r for r in m.get("roles").json["items"] if r.get("tenant") == "t1"],
                       [h["labels"] for h in m.get("hosts").json["items"]], m.get("tenants/t1").json,
                       m.get("settings/accounts").json], sort_keys=True)


# These end the caller's own session, or take very long by nature.
NOT_BY_HIMSELF = {"/logout", "/login", "/login/second", "/me/password", "/session/step-up", "/enroll", "/me/totp", "/me/totp:confirm"}


def test_writing_changes_nothing_of_others(two):
    m, callers = two
    before, wrong = state_of_t1(m), []
    for path, item in SPEC["paths"].items():
        if path in NOT_BY_HIMSELF or path == "/sessions/{id}":
            continue
        for method, (whose, filled) in itertools.product(METHODS[1:], fills(path)):
            if method not in item or (whose != "theirs" and "{" in path):
                continue
            for body in [None] if method == "delete" else [{}, *bodies(item[method])]:
                for caller in callers[:1]:
                    sent = f"{method} {filled} {json.dumps(body)}"
                    answer = caller.request(method.upper(), filled[1:], body)
                    wrong += leaks(caller, sent, sent, answer)
        assert state_of_t1(m) == before, path
    for text in (DOCUMENT % ("zvault", "t1", "x"), DOCUMENT % ("new", "t1", "x"), DOCUMENT % ("new", "provider", "x")):
        for route in ("policies:apply", "policies:check", "policies:diff"):
            sent = f"{route} {text}"
            answer = callers[0].post(route, text, headers={"Content-Type": "text/yaml"})
            wrong += leaks(callers[0], sent, sent, answer)
            assert answer.status in (403, 404, 422), (route, answer.data)
    assert state_of_t1(m) == before
    report(wrong)


def test_streams_show_nothing_of_others(two):
    m, callers = two
    caller = callers[0]
    context = ssl.create_default_context(cafile=f"{m.dir}/state/pki/ca.crt")
    stream = http.client.HTTPSConnection("127.0.0.1", m.port, context=context, timeout=30, source_address=(caller.address, 0))
    stream.request("GET", "/v1/events?after=0", headers={"User-Agent": caller.agent, "Cookie": caller.cookie,
                                                         "Accept": "text/event-stream"})
    response = stream.getresponse()
    assert response.status == 200, response.read()
    m.request("PATCH", f"vms/{THEIR_VM}/labels", {"labels": {"zsecret": "ztreasure2"}})
    m.request("PATCH", f"vms/{OWN_VM}/labels", {"labels": {"mark": "seen"}})
    policy = DOCUMENT.replace("zsecret: ztreasure", "app: a1")
    assert m.apply(policy % ("zvault", "t1", "zwords2")).status == 200
    assert m.apply(policy % ("own", "t0", "theend")).status == 200
    text = b""
    while b": heartbeat" not in text:
        line = response.readline()
        assert line, text[-500:]
        text += line
    assert b"event:" in text
    stream.close()
    report(leaks(caller, "the stream", "", Answer(200, {}, text)))
