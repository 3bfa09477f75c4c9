# SPDX-License-Identifier: Apache-2.0
"""Accounts against a real bulkheadd over HTTPS: logging in, second factors, sessions and their theft, tokens, roles, lockout."""
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import time

import pytest

from test_api import BUILD, SPEC, Answer, Manager, audited, check_answer, pytestmark  # noqa: F401

CLI = f"{BUILD}/src/cli/bulkhead"
SEEN = set()
COUNT = iter(range(1, 250))


def totp(secret, offset=0):
    step = int(time.time()) // 30 + offset
    mac = hmac.new(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1).digest()
    at = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[at:at + 4])[0] & 0x7fffffff) % 1000000:06d}"


class Person:
    """A browser with somebody before it. Each has an address of its own, so that one's wrong passwords are not another's wait."""

    def __init__(self, manager, name=None, password=None, agent="test-browser"):
        self.m, self.name, self.password, self.agent = manager, name, password, agent
        self.address = f"127.0.1.{next(COUNT)}"
        self.cookie = self.csrf = self.secret = None
        self.step = -1

    def request(self, method, path, body=None, headers=None, checked=True, csrf=True):
        headers = {"User-Agent": self.agent, **(headers or {})}
        if self.cookie:
            headers.setdefault("Cookie", self.cookie)
            if csrf and method != "GET" and self.csrf:
                headers.setdefault("X-Bulkhead-Csrf", self.csrf)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        context = ssl.create_default_context(cafile=f"{self.m.dir}/state/pki/ca.crt")
        connection = http.client.HTTPSConnection("127.0.0.1", self.m.port, context=context, timeout=60,
                                                 source_address=(self.address, 0))
        try:
            connection.request(method, f"/v1/{path}", body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        cookie = answer.headers.get("Set-Cookie")
        if cookie:
            self.cookie = cookie.split(";")[0]
            assert all(word in cookie for word in ("__Host-", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"))
        if checked:
            check_answer(method, f"/{path}", answer)
        return answer

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def take(self, answer):
        assert answer.status == 200, answer.data
        session = answer.json.get("session")
        if session:
            self.csrf = session["csrf"]
        return answer

    def login(self):
        self.cookie = None
        answer = self.take(self.post("login", {"user": self.name, "password": self.password}))
        if "need" in answer.json and answer.json["need"]:
            answer = self.take(self.post("login/second", {"method": "totp", "code": self.code()}))
        return self

    def code(self):
        """A code is good once; the clock allows the last, this and the next one."""
        self.step += 1
        assert self.step < 3
        return totp(self.secret, self.step - 1)

    def settle(self, password):
        """The first login: a password of one's own."""
        self.login()
        assert self.post("me/password", {"old": self.password, "new": password}).status == 204
        self.password = password
        return self

    def enroll(self):
        begun = self.post("me/totp")
        assert begun.status == 200, begun.data
        self.secret = begun.json["secret"]
        assert begun.json["uri"].startswith("otpauth://totp/Bulkhead:") and self.secret in begun.json["uri"]
        assert begun.json["qr"].startswith("<svg ") and begun.json["qr"].endswith("</svg>")
        done = self.post("me/totp:confirm", {"code": self.code()})
        assert done.status == 200, done.data
        self.csrf = done.json["csrf"]
        self.recovery = done.json["recovery"]
        return self


def make(manager, name, role=None, tenant="provider", at=None, enroll=False):
    body = {"name": name, "tenant": tenant, "password": f"first-login-of-x{len(name)}"}
    if role:
        body |= {"role": role, "at": at or tenant}
    answer = manager.post("users", body)
    assert answer.status == 201, answer.data
    person = Person(manager, answer.json["name"], body["password"]).settle(f"quite another {len(name)} word")
    return person.enroll() if enroll else person


@contextlib.contextmanager
def running(prepare=None, **config):
    """A manager of its own. prepare(folder): what is there before it starts."""
    folder = tempfile.mkdtemp(prefix="bh-accounts-")
    if prepare:
        prepare(folder)
    manager = Manager(folder, **config)
    try:
        yield manager.start()
    finally:
        manager.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", name="m")
def manager_fixture():
    with running() as manager:
        for tenant in ("shop", "bank"):
            assert manager.post("tenants", {"name": tenant}).status == 201
        yield manager


# ---- logging in


def test_first_login_wants_another_password(m):
    answer = m.post("users", {"name": "first", "role": "provider-admin", "at": "*"})
    assert answer.status == 201 and answer.json["must_change"]
    p = Person(m, "first", answer.json["password"])
    p.take(p.post("login", {"user": "first", "password": p.password}))
    session = p.get("session").json
    assert session["must_change"] and session["verbs"] == {}
    assert p.get("hosts").status == 403
    assert p.post("me/password", {"old": p.password, "new": "short"}).status == 400
    assert p.post("me/password", {"old": p.password, "new": p.password}).status == 400
    assert p.post("me/password", {"old": "not the password", "new": "quite another word"}).status == 401
    assert p.post("me/password", {"old": p.password, "new": "quite another word"}).status == 204
    session = p.get("session").json
    assert not session["must_change"] and "host.read" in session["verbs"]["provider"]
    assert "policy.read" not in session["verbs"]["*"]
    assert session["roles"] == [{"role": "provider-admin", "tenant": "*"}]
    assert p.get("hosts").status == 200
    assert p.post("me/tokens", {"name": "t", "verbs": ["host.read"]}).status == 201
    assert p.request("PATCH", "me", {"display": "The First", "locale": "zh-CN"}).status == 204
    assert p.get("session").json["name"] == "The First"
    assert p.post("logout").status == 204
    assert p.get("session").status == 401
    with open(f"{m.dir}/manager.log", encoding="utf-8", errors="replace") as log:
        assert "quite another word" not in log.read()


def test_unknown_wrong_and_disabled_look_alike(m):
    p = make(m, "alike", "auditor", at="*")
    answers = []
    for name, password in (("alike", "this is not the one"), ("nobody-here", "this is not the one"), ("", "x"),
                           ("a" * 90, "x" * 200), ("alike'; --", "' or 1=1 --")):
        a = Person(m).post("login", {"user": name, "password": password})
        answers.append((a.status, a.data))
    assert m.request("PATCH", "users/alike", {"disabled": True}).status == 200
    assert p.get("session").status == 401  # at once
    a = Person(m).post("login", {"user": "alike", "password": p.password})
    answers.append((a.status, a.data))
    assert set(answers) == {(401, answers[0][1])}


def test_who_guesses_waits(m):
    victim = make(m, "victim", "auditor", at="*")
    thief = Person(m, "victim", "wrong wrong wrong")
    answers = []
    while len(answers) < 12 and (not answers or answers[-1].status != 429):
        answers.append(thief.post("login", {"user": "victim", "password": "wrong wrong wrong"}))
    assert [a.status for a in answers[:6]] == [401] * 6
    assert answers[-1].status == 429 and int(answers[-1].headers["Retry-After"]) >= 1
    # An address from which the victim is logged in need not wait.
    assert victim.take(victim.post("login", {"user": "victim", "password": victim.password}))
    m.wait(lambda: [e for e in m.get("events?type=access.locked").json["items"]
                    if e["user"] == "victim" and e["from"] == thief.address], 10, "the event")


def test_many_logins_at_once_are_bounded(m):
    with contextlib.ExitStack() as stack:
        sockets = []
        body = json.dumps({"user": "x", "password": "y" * 20})
        for _ in range(45):
            context = ssl.create_default_context(cafile=f"{m.dir}/state/pki/ca.crt")
            c = http.client.HTTPSConnection("127.0.0.1", m.port, context=context, timeout=60,
                                            source_address=(f"127.0.2.{next(COUNT)}", 0))
            stack.callback(c.close)
            c.request("POST", "/v1/login", body, {"Content-Type": "application/json"})
            sockets.append(c)
        begun = time.monotonic()
        assert m.get("status").status == 200  # others are served meanwhile
        assert time.monotonic() - begun < 5
        statuses = [c.getresponse().status for c in sockets]
    assert set(statuses) <= {401, 429} and 429 in statuses


# ---- sessions


def test_a_session_is_not_for_others(m):
    p = make(m, "owner", "auditor", at="*")
    first = p.cookie
    p.login()
    assert p.cookie != first
    thief = Person(m, agent="another-browser")
    thief.cookie = p.cookie
    assert thief.get("session").status == 401
    assert p.get("session").status == 401  # it is over for both
    p.login()
    for wrong in ("__Host-bulkhead=", "__Host-bulkhead=" + "A" * 43, "__Host-bulkhead=" + "A" * 5000, "bulkhead=" +
                  p.cookie.split("=")[1], p.cookie + "A"):
        assert p.get("session", headers={"Cookie": wrong}, checked=False).status in (401, 431), wrong
    assert p.get("session").status == 200


def test_what_was_fixed_before_login_is_worth_nothing(m):
    p = make(m, "fixed", "auditor", at="*", enroll=True)
    p.cookie = None
    answer = p.post("login", {"user": "fixed", "password": p.password})
    half = p.cookie
    assert answer.json == {"need": ["totp", "recovery"]}
    assert p.get("session").status == 401 and p.get("hosts").status == 401
    p.take(p.post("login/second", {"method": "totp", "code": p.code()}))
    assert p.cookie != half
    whole = p.cookie
    p.cookie = half
    assert p.get("session").status == 401
    p.cookie = whole
    assert p.get("session").json["second_factor"]["age_s"] < 30
    before = p.cookie
    p.take(p.post("session/step-up", {"method": "totp", "code": p.code()}))
    assert p.cookie != before
    p.cookie = before
    assert p.get("session").status == 401


def test_other_pages_can_do_nothing(m):
    p = make(m, "clicked", "auditor", at="*")
    host = f"127.0.0.1:{m.port}"
    assert p.get("session", csrf=False).status == 200
    assert p.post("logout", csrf=False).status == 403
    assert p.post("logout", csrf=False).code == "csrf"
    assert p.post("logout", headers={"X-Bulkhead-Csrf": "0" * 32}).status == 403
    for origin in ("https://evil.example", "null", f"http://{host}", f"https://{host}.evil.example", f"https://x{host}"):
        assert p.post("logout", headers={"Origin": origin}).status == 403, origin
        assert Person(m).post("login", {"user": "clicked", "password": p.password},
                              headers={"Origin": origin}).status == 403, origin
    assert p.post("logout", headers={"Origin": f"https://{host}"}).status == 204


def test_sessions_are_listed_and_ended(m):
    p, q = make(m, "lister", "auditor", at="*"), make(m, "neighbour", "auditor", at="*")
    again = Person(m, p.name, p.password).login()
    mine = p.get("sessions").json["items"]
    assert {s["user"] for s in mine} == {"lister"} and len(mine) == 2
    assert [s["current"] for s in mine].count(True) == 1
    others = next(s["id"] for s in m.get("sessions").json["items"] if s["user"] == "neighbour")
    assert p.request("DELETE", f"sessions/{others}").status == 404  # as if it did not exist
    assert p.request("DELETE", "sessions/999999").status == 404
    assert q.get("session").status == 200
    target = next(s["id"] for s in mine if not s["current"])
    assert p.request("DELETE", f"sessions/{target}").status == 204
    assert again.get("session").status == 401 and p.get("session").status == 200
    # A new password ends all the others.
    again = Person(m, p.name, p.password).login()
    assert p.post("me/password", {"old": p.password, "new": "a third word of mine"}).status == 204
    assert again.get("session").status == 401 and p.get("session").status == 200


def test_sessions_tokens_and_factors_are_audited(m):
    """What was before and after, for whoever reads the log: sessions, tokens, factors, settings. No secret among it."""
    p = make(m, "logged", "provider-admin", at="*", enroll=True)
    token = p.post("me/tokens", {"name": "ci", "verbs": ["host.read"], "days": 2}).json
    assert p.request("DELETE", f"me/tokens/{token['id']}").status == 204
    assert p.request("DELETE", f"me/tokens/{token['id']}").status == 404
    assert p.request("PATCH", "me", {"display": "Logged"}).status == 204
    other = Person(m, p.name, p.password)
    other.secret, other.step = p.secret, p.step
    other.login()
    session = next(s["id"] for s in p.get("sessions").json["items"] if not s["current"])
    assert p.request("DELETE", f"sessions/{session}").status == 204
    assert p.post("logout").status == 204
    log = [e for e in reversed(audited(m)) if e.get("user") == "logged" and e["result"] == "done"]

    def of(act):
        return [e for e in log if e["act"] == act]
    made, gone = of("me.token-create")[0], of("me.token-delete")[0]
    assert made["object"] == gone["object"] == f"token/{token['id']}" and "before" not in made and "after" not in gone
    assert made["after"] == gone["before"] and made["after"]["verbs"] == ["host.read"] and made["after"]["name"] == "ci"
    begun, ended = of("login.second")[0], of("session.revoke")[0]
    assert begun["object"] == ended["object"] == f"session/{session}" and "after" not in ended
    assert begun["after"] == ended["before"] and begun["after"]["user"] == "logged"
    assert begun["after"]["address"] == other.address and begun["after"]["factor"] == "totp"
    assert of("login")[0]["after"]["factor"] == ""  # before he had one
    assert of("logout")[0]["before"]["address"] == p.address and "after" not in of("logout")[0]
    enrolled, words = of("me.totp")[0], of("me.change")[0]
    assert enrolled["before"]["totp"] is False and enrolled["after"]["totp"] is True and enrolled["object"] == "user/logged"
    assert words["after"]["display"] == "Logged" and words["before"]["display"] == ""
    for seconds in (900, 1800):
        assert m.request("PATCH", "settings/accounts", {"idle_s": seconds}).status == 200
    back, there = audited(m, "&object=settings/accounts")[:2]
    assert there["before"]["idle_s"] == 1800 and there["after"] == back["before"] and back["after"] == there["before"]
    data = m.get("audit:export").data.decode()
    for secret in (token["token"], token["token"].split("_")[2], p.secret, p.cookie.split("=")[1], other.cookie.split("=")[1],
                   p.password, *p.recovery):
        assert secret == "" or secret not in data


def test_a_restart_drops_no_session():
    with running() as own:
        p = make(own, "stays", "auditor", at="*")
        own.process.kill()
        own.process.wait(20)
        own.start()
        assert p.get("session").status == 200


# ---- second factors


def test_codes_are_good_once(m):
    p = make(m, "once", "auditor", at="*", enroll=True)
    code = p.code()
    assert p.take(p.post("session/step-up", {"method": "totp", "code": code}))
    assert p.post("session/step-up", {"method": "totp", "code": code}).status == 401
    assert p.post("session/step-up", {"method": "totp", "code": "0"}).status == 401
    assert p.take(p.post("session/step-up", {"method": "recovery", "code": p.recovery[0].upper()}))
    assert p.post("session/step-up", {"method": "recovery", "code": p.recovery[0]}).status == 401
    assert p.get("me/factors").json == {"totp": True, "recovery_left": 9, "webauthn": []}
    new = p.post("me/recovery").json["recovery"]
    assert len(set(new)) == 10 and p.get("me/factors").json["recovery_left"] == 10
    assert p.post("session/step-up", {"method": "recovery", "code": p.recovery[1]}).status == 401
    assert p.post("me/totp").status == 409
    assert p.request("DELETE", "me/totp").status == 204
    assert p.get("me/factors").json == {"totp": False, "recovery_left": 0, "webauthn": []}
    with open(f"{m.dir}/state/bulkhead.db", "rb") as db:
        data = db.read()
    assert base64.b32decode(p.secret) not in data and p.secret.encode() not in data


def test_who_knows_the_password_does_not_guess_codes_for_ever(m):
    p = make(m, "guessed", "auditor", at="*", enroll=True)
    statuses = []
    while 429 not in statuses and len(statuses) < 12:  # a wait may be over before a busy machine comes to the next one
        thief = Person(m, p.name, p.password)
        answer = thief.post("login", {"user": p.name, "password": p.password})
        assert answer.json == {"need": ["totp", "recovery"]}  # the password is right each time, from another address
        statuses.append(thief.post("login/second", {"method": "totp", "code": "000000"}).status)
    assert statuses[:6] == [401] * 6 and statuses[-1] == 429


def test_dangerous_needs_a_fresh_factor(m):
    p = make(m, "careful", "provider-admin", at="*")
    answer = p.post("users", {"name": "made", "password": "some first password"})
    assert answer.status == 403 and answer.code == "step_up"
    assert answer.json["error"]["verb"] == "user.write" and "totp" in answer.json["error"]["methods"]
    assert p.take(p.post("session/step-up", {"method": "password", "password": p.password}))
    assert p.post("users", {"name": "made", "password": "some first password"}).code == "step_up"
    p.enroll()
    assert p.post("users", {"name": "made", "password": "some first password"}).status == 201
    assert p.request("DELETE", "users/made").status == 204


# ---- tokens


def test_tokens_stay_in_their_scope(m):
    p = make(m, "tokens", "tenant-admin", tenant="shop")
    assert p.post("me/tokens", {"name": "x", "verbs": ["policy.fly"]}).status == 400
    assert p.post("me/tokens", {"name": "x", "verbs": []}).status == 400
    assert p.post("me/tokens", {"name": "x", "verbs": ["event.export"]}).status == 400  # dangerous
    assert p.post("me/tokens", {"name": "x", "verbs": ["host.read"]}).status == 403  # not his
    assert p.post("me/tokens", {"name": "x", "verbs": ["vm.read"], "tenant": "bank"}).status == 403
    assert p.post("me/tokens", {"name": "x", "verbs": ["vm.read"], "tenant": "no-such"}).status == 403
    made = p.post("me/tokens", {"name": "ci", "verbs": ["vm.read", "policy.read"], "tenant": "shop", "days": 1})
    assert made.status == 201
    token = {"Authorization": f"Bearer {made.json['token']}"}
    robot = Person(m, agent="robot")
    assert robot.get("vms", headers=token).status == 200
    assert robot.get("policies", headers=token).status == 200
    for path in ("flows", "users", "hosts", "networks", "enroll-tokens"):
        assert robot.get(path, headers=token).status == 403, path
    for method, path in (("POST", "me/password"), ("POST", "me/totp"), ("POST", "logout"), ("POST", "me/tokens"),
                         ("POST", "session/step-up")):
        answer = robot.request(method, path, {} if path != "session/step-up" else {"method": "totp", "code": "123456"},
                               headers=token, checked=False)
        assert answer.status in (400, 403, 409), path
    listed = p.get("me/tokens").json["items"]
    assert [t["name"] for t in listed] == ["ci"] and listed[0]["tenant"] == "shop" and "token" not in listed[0]
    for wrong in (made.json["token"][:-1], made.json["token"] + "x", "bhk_1_", "bhk_", "bhk_0_" + "A" * 43,
                  "bhs_" + "A" * 43, "bhk_" + "9" * 4000):
        assert robot.get("vms", headers={"Authorization": f"Bearer {wrong}"}).status == 401
    assert p.request("DELETE", f"me/tokens/{made.json['id']}").status == 204
    assert p.request("DELETE", f"me/tokens/{made.json['id']}").status == 404
    assert robot.get("vms", headers=token).status == 401


# ---- users and roles


def test_nobody_gives_what_he_does_not_hold(m):
    boss = make(m, "boss", "tenant-admin", tenant="shop", enroll=True)
    view = boss.post("users", {"name": "view", "tenant": "shop", "role": "tenant-viewer", "password": "some first password"})
    assert view.status == 201 and view.json["name"] == "view@shop" and view.json["made_by"] == "boss@shop"
    for body, status in (({"role": "provider-admin"}, 403), ({"role": "auditor", "at": "*"}, 403),
                         ({"role": "tenant-viewer", "at": "bank"}, 404), ({"role": "tenant-viewer", "at": "provider"}, 404),
                         ({"role": "no-such-role"}, 400), ({"role": "tenant-admin"}, 201),
                         ({"role": "tenant-operator", "hours": 2}, 201), ({"role": "x", "hours": 0}, 400)):
        assert boss.post("users/view@shop/roles", body).status == status, body
    assert boss.post("users/boss@shop/roles", {"role": "tenant-viewer"}).status == 403  # not to oneself
    assert boss.post("users", {"name": "spy", "tenant": "bank"}).status == 404
    assert boss.post("users", {"name": "spy@bank", "tenant": "shop"}).status == 400
    assert boss.post("users", {"name": "spy", "tenant": "provider"}).status in (403, 404)
    # Custom roles are subsets of what their maker holds.
    assert boss.post("roles", {"tenant": "shop", "name": "night", "verbs": ["vm.read", "vm.release"]}).status == 201
    assert boss.post("roles", {"tenant": "shop", "name": "night", "verbs": ["vm.read"]}).status == 409
    assert boss.post("roles", {"tenant": "shop", "name": "more", "verbs": ["host.read"]}).status == 403
    assert boss.post("roles", {"tenant": "bank", "name": "more", "verbs": ["vm.read"]}).status == 403
    assert boss.post("roles", {"tenant": "shop", "name": "tenant-admin", "verbs": ["vm.read"]}).status == 400
    assert boss.post("users/view@shop/roles", {"role": "night"}).status == 201
    assert "night" in [r["name"] for r in boss.get("roles").json["items"]]
    # The provider's administrator appoints, and is not inside; who holds more is not his to change.
    provider = make(m, "provider-boss", "provider-admin", at="*", enroll=True)
    assert provider.post("users", {"name": "second", "tenant": "shop", "role": "tenant-admin"}).status == 201
    assert provider.post("users/provider-boss/roles", {"role": "auditor", "at": "*"}).status == 403
    assert provider.request("PUT", "users/boss@shop/password").status == 403
    assert provider.request("DELETE", "users/boss@shop").status == 403
    assert provider.post("users/view@shop/roles", {"role": "tenant-viewer"}).status == 403
    # Sub-users lose what their maker loses.
    sub = Person(m, "view@shop", "some first password").settle("my own word is long")
    assert "policy.commit" in sub.get("session").json["verbs"]["shop"]
    roles = m.get("users/boss@shop").json["roles"]
    assert m.request("DELETE", f"users/boss@shop/roles/{roles[0]['id']}").status == 204
    assert sub.get("session").json["verbs"].get("shop", []) == []
    assert m.request("DELETE", f"users/boss@shop/roles/{roles[0]['id']}").status == 404
    assert m.request("DELETE", "roles/shop/night").status == 204
    assert m.request("DELETE", "users/view@shop/totp").status == 204
    assert m.request("PUT", "users/view@shop/password").json["password"]
    assert sub.get("session").status == 401
    assert m.request("DELETE", "users/view@shop").status == 204
    assert m.get("users/view@shop").status == 404
    assert m.request("DELETE", "tenants/shop").status == 409  # it has users


def test_overreach_is_an_event(m):
    p = make(m, "reach", "tenant-viewer", tenant="shop")
    answer = p.get("hosts")
    assert answer.status == 403 and answer.code == "forbidden"
    assert answer.json["error"]["verb"] == "host.read" and "requests" in answer.json["error"]["way"]
    event = m.wait(lambda: [e for e in m.get("events?type=access.denied").json["items"]
                            if e["user"] == "user:reach@shop"], 10, "the event")[0]
    assert event["verb"] == "host.read" and event["from"] == p.address and event["rule"] and event["way"]


def test_self_service_is_switched_off(m):
    """A tenant that only asks: each change needs somebody else's yes, and the refusal says so."""
    assert m.post("tenants", {"name": "asks"}).status == 201
    first, second = (make(m, name, role, tenant="asks") for name, role in (("one", "tenant-operator"), ("two", "tenant-admin")))
    draft = {"tenant": "asks", "title": "mine"}
    assert first.post("drafts", draft).status == 201
    for bad in ({}, {"on": 1}, {"on": True, "x": 1}):
        assert m.request("PUT", "tenants/asks/self-service", bad).status == 400, bad
    assert m.request("PUT", "tenants/provider/self-service", {"on": False}).status == 400
    assert m.request("PUT", "tenants/nobody/self-service", {"on": False}).status == 404
    assert second.request("PUT", "tenants/asks/self-service", {"on": True}).status == 403  # the provider's alone
    assert m.request("PUT", "tenants/asks/self-service", {"on": False}).json["self_service"] is False
    refused = first.post("drafts", draft)
    assert refused.status == 403 and refused.code == "forbidden"
    assert "self-service is off" in refused.json["error"]["rule"] and "POST /v1/requests" in refused.json["error"]["way"]
    assert first.post("me/tokens", {"name": "t", "verbs": ["vm.read"]}).status == 403
    assert first.get("tenants/asks").json["self_service"] is False and first.get("drafts").json["total"] == 1
    verbs = set(second.get("session").json["verbs"]["asks"])
    assert "request.decide" in verbs and not verbs & {"policy.write", "vm.labels", "user.write"}
    wish = {"kind": "grant", "verb": "policy.write", "tenant": "asks", "reason": "a draft", "hours": 1}
    asked = first.post("requests", wish).json["id"]
    assert first.post(f"requests/{asked}:approve", {"reason": "me"}).status == 403
    assert second.post(f"requests/{asked}:approve", {"reason": "yes"}).json["state"] == "approved"
    assert first.post("drafts", draft).status == 201  # what was approved, and nothing else
    assert "self-service is off" in second.post("drafts", draft).json["error"]["rule"]
    own = second.post("requests", wish).json["id"]
    assert second.post(f"requests/{own}:approve", {"reason": "me"}).status == 403  # nobody decides his own
    for reader in ("asks", "provider"):
        entry = audited(m, f"&tenant={reader}&act=tenant.self-service&result=done")[0]
        assert entry["before"] == {"self_service": True} and entry["after"] == {"self_service": False}
        assert entry["object"] == "tenant/asks"
    assert m.request("PUT", "tenants/asks/self-service", {"on": True}).json["self_service"] is True
    assert second.post("drafts", draft).status == 201


def test_owners_read_of_attempts_on_their_things(m):
    """Who is of another tenant and sees a thing: what he tried stands in both chains, what he is elsewhere only in his."""
    p = make(m, "crosser", "tenant-operator", tenant="bank")
    assert m.post("users/crosser@bank/roles", {"role": "tenant-viewer", "at": "shop"}).status == 201
    assert m.post("tenants", {"name": "third"}).status == 201

    def attempts(tenant):
        return [e for e in audited(m, f"&tenant={tenant}&user=crosser@bank&result=denied") if e["act"] == "tenant.delete"]
    assert p.request("DELETE", "tenants/shop").status == 403
    assert p.request("DELETE", "tenants/third").status == 404  # he does not see it
    own, theirs = attempts("bank"), attempts("shop")
    assert [e["object"] for e in own] == [e["object"] for e in theirs] == ["tenant/shop"]
    assert own[0]["role"] == "tenant-operator at bank, tenant-viewer at shop" and theirs[0]["role"] == "tenant-viewer at shop"
    assert theirs[0]["reason"] == "no role of yours gives tenant.delete at this tenant" and theirs[0]["code"] == 403
    assert "bank" not in json.dumps(theirs[0]).replace("crosser@bank", "")
    assert attempts("third") == [] and [e["code"] for e in attempts("provider")] == [404]
    assert p.get("hosts").status == 403  # the provider's things are his to watch over
    newest = audited(m, "&tenant=provider&user=crosser@bank&result=denied")[0]
    assert (newest["act"], newest["object"]) == ("host.read", "/v1/hosts")
    assert p.request("PUT", "hosts/nowhere/maintenance", {"on": True}).status in (403, 404)
    assert audited(m, "&tenant=provider&user=crosser@bank&result=denied")[0]["object"] == "host/nowhere"
    assert p.post("policies:apply", {"documents": []}).status in (400, 403)
    assert p.request("DELETE", "policies/shop/none").status in (403, 404)
    assert "policy/shop/none" in [e["object"] for e in audited(m, "&user=crosser@bank&result=denied")]


def test_the_table_is_what_is_answered(m):
    table = make(m, "table", "requester", tenant="shop").get("rights").json
    names = {r["verb"] for r in table["rights"]}
    assert {"vm.read", "policy.commit", "role.appoint"} <= names
    for role in table["roles"]:
        assert set(role["provider_verbs"]) | set(role["tenant_verbs"]) <= names
    auditor = next(r for r in table["roles"] if r["name"] == "auditor")
    reads = {r["verb"] for r in table["rights"] if r["reads"]}
    assert set(auditor["tenant_verbs"]) - reads == {"event.export", "audit.export"}


def test_admin_token_can_be_refused():
    with running() as own:
        token = {"Authorization": f"Bearer {own.token}"}
        assert own.get("status", https=True, headers=token).status == 200
        assert own.get("settings/accounts").json["admin_token"]
        for bad in ({"admin_token": "no"}, {"fresh_s": 1}, {"idle_s": 10 ** 9}, {"unknown": 1}):
            assert own.request("PATCH", "settings/accounts", bad).status == 400
        assert not own.request("PATCH", "settings/accounts", {"admin_token": False}).json["admin_token"]
        assert own.get("status", https=True, headers=token).status == 401
        assert own.get("status").status == 200  # root on the socket


# ---- the command line


def cli(m, *argv, stdin="", home=None, **more):
    env = {**os.environ, "HOME": home, "BULKHEAD_CONFIG": "/dev/null", **more}
    env.pop("XDG_CONFIG_HOME", None)
    return subprocess.run([CLI, *argv], input=stdin, capture_output=True, text=True, env=env, timeout=60, check=False)


@pytest.mark.skipif(not os.path.exists(CLI), reason=f"needs {CLI}")
def test_command_line(m, tmp_path):
    home = str(tmp_path)
    root = {"BULKHEAD_SERVER": f"{m.dir}/run/api.sock"}
    made = cli(m, "user", "create", "shell", "--role", "provider-admin", "--at", "*", "--json", home=home, **root)
    assert made.returncode == 0, made.stderr
    first = json.loads(made.stdout)["password"]
    there = ("--server", f"https://127.0.0.1:{m.port}", "--ca", f"{m.dir}/state/pki/ca.crt")
    assert cli(m, "login", "shell", *there, stdin="wrong\n", home=home).returncode == 4
    done = cli(m, "login", "shell", *there, stdin=f"{first}\nmy own long word\nmy own long word\n", home=home)
    assert done.returncode == 0, done.stderr
    path = f"{home}/.config/bulkhead/session.json"
    assert os.stat(path).st_mode & 0o777 == 0o600
    who = cli(m, "whoami", "--json", home=home)
    assert json.loads(who.stdout)["user"] == "shell"
    assert cli(m, "tenant", "list", home=home).returncode == 0
    assert cli(m, "user", "create", "deputy", home=home).returncode == 4  # no second factor
    token = cli(m, "token", "create", "ci", "--rights", "vm.read tenant.read", "--days", "2", home=home)
    assert token.returncode == 0 and token.stdout.startswith("bhk_"), token.stderr
    assert cli(m, "tenant", "list", *there, home="/nonexistent", BULKHEAD_TOKEN=token.stdout.strip()).returncode == 0
    for argv in (("user", "list"), ("role", "list"), ("role", "rights"), ("session", "list"), ("token", "list"),
                 ("user", "show", "shell")):
        assert cli(m, *argv, home=home).returncode == 0, argv
    os.chmod(path, 0o644)
    assert "chmod 600" in cli(m, "whoami", home=home).stderr
    os.chmod(path, 0o600)
    assert cli(m, "logout", home=home).returncode == 0 and not os.path.exists(path)


@pytest.mark.skipif(not os.path.exists(CLI), reason=f"needs {CLI}")
def test_requests_and_settings_on_the_command_line(m, tmp_path):
    home = str(tmp_path)
    root = {"BULKHEAD_SERVER": f"{m.dir}/run/api.sock", "home": home}
    asker = make(m, "asker", "tenant-viewer", tenant="shop")
    login = ("--server", f"https://127.0.0.1:{m.port}", "--ca", f"{m.dir}/state/pki/ca.crt")
    done = cli(m, "login", asker.name, *login, stdin=f"{asker.password}\n", home=home)
    assert done.returncode == 0, done.stderr
    made = cli(m, "request", "submit", "vm.quarantine", "--reason", "it bleeds", "--hours", "2", "--json", home=home)
    assert made.returncode == 0, made.stderr
    number = str(json.loads(made.stdout)["id"])
    assert cli(m, "request", "submit", "vm.quarantine", "--hours", "x", home=home).returncode == 2
    assert cli(m, "request", "approve", number, home=home).returncode in (4, 5)  # nobody decides his own
    listed = cli(m, "request", "list", "--state", "waiting", **root)
    assert listed.returncode == 0 and "it bleeds" in listed.stdout, listed.stderr
    yes = cli(m, "request", "approve", number, "--reason", "go on", "--hours", "1", "--json", **root)
    assert yes.returncode == 0 and json.loads(yes.stdout)["state"] == "approved", yes.stderr
    assert "approved" in cli(m, "request", "show", number, home=home).stdout
    assert cli(m, "request", "end", number, home=home).returncode == 0
    other = json.loads(cli(m, "request", "submit", "vm.release", "--reason", "x", "--json", home=home).stdout)["id"]
    no = cli(m, "request", "refuse", str(other), "--reason", "why?", "--json", **root)
    assert no.returncode == 0 and json.loads(no.stdout)["answer"] == "why?"
    shown = json.loads(cli(m, "settings", "show", "--json", **root).stdout)
    assert shown["idle_s"] == 1800
    assert cli(m, "settings", "set", "idle_s=900", "console_url=https://a.example", "bind_address=false", **root).returncode == 0
    shown = json.loads(cli(m, "settings", "show", "--json", **root).stdout)
    assert shown["idle_s"] == 900 and shown["console_url"] == "https://a.example"
    assert cli(m, "settings", "set", "idle_s=1800", "console_url=", **root).returncode == 0
    for word in ("off", "on"):
        assert cli(m, "tenant", "self-service", "bank", word, **root).returncode == 0
        assert m.get("tenants/bank").json["self_service"] is (word == "on")
    assert cli(m, "tenant", "self-service", "bank", "maybe", **root).returncode == 2
    for bad in (("idle_s",), ("=1",), ()):
        assert cli(m, "settings", "set", *bad, **root).returncode == 2, bad
    assert cli(m, "settings", "set", "nonsense=1", **root).returncode == 5
    # Rights that need a second person: all of them at once, none when none is named.
    set_to = cli(m, "settings", "approvals", "set", "vm.destroy", "host.remove", "--json", **root)
    assert sorted(json.loads(set_to.stdout)["verbs"]) == ["host.remove", "vm.destroy"], set_to.stderr
    assert "vm.destroy" in cli(m, "settings", "approvals", "show", **root).stdout
    assert cli(m, "settings", "approvals", "set", "no.right", **root).returncode == 5
    assert cli(m, "settings", "approvals", "set", **root).returncode == 0
    assert json.loads(cli(m, "settings", "approvals", "show", "--json", **root).stdout) == {"verbs": []}


def unasked(tag):
    """Operations of the specification with this tag that no test of the process has asked."""
    from test_api import SEEN as asked
    wanted = {op["operationId"] for item in SPEC["paths"].values() for method, op in item.items()
              if method in ("get", "put", "post", "patch", "delete") and tag in op.get("tags", [])}
    assert wanted
    return wanted - asked


def test_every_operation_of_accounts_was_asked():
    assert unasked("accounts") == set()
