# SPDX-License-Identifier: Apache-2.0
"""Logging in by OpenID Connect against a real provider (npm oidc-provider) over HTTPS, honest and lying."""
import contextlib
import hashlib
import html
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import urllib.parse

import pytest

from test_accounts import CLI, Person, cli, make, running, unasked
from test_api import ROOT, free_port, pytestmark  # noqa: F401

HERE = f"{ROOT}/tests/e2e/oidc"
CONSOLE = "https://console.example"
LIES = {"issuer": "another issuer", "audience": "for somebody else", "audiences": "another party", "party": "another party",
        "nonce": "another login", "no-nonce": "another login", "expired": "is over", "old": "not issued just now",
        "future": "not issued just now", "no-expiry": "is over", "subject": "who it is", "tampered": "signature does not fit",
        "no-signature": "signature does not fit", "none": "not allowed", "none-signed": "not allowed", "hmac": "not allowed",
        "own-key": "signature does not fit", "other-key": "signature does not fit", "unknown-key": "no such key",
        "critical": "none that we know", "garbage": "none that we know", "empty": "no signed token", "huge": "the provider"}


def packages():
    """A folder with the provider's packages, fetched once for each lock file; skipped by name where that can't be."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("needs nodejs and npm")
    with open(f"{HERE}/package-lock.json", "rb") as lock:
        folder = f"{tempfile.gettempdir()}/bulkhead-oidc-{os.getuid()}-{hashlib.sha256(lock.read()).hexdigest()[:12]}"
    if not os.path.exists(f"{folder}/done"):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(f"{HERE}/{name}", folder)
        r = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, text=True,
                           timeout=300, check=False)
        if r.returncode:
            pytest.skip(f"npm can't fetch oidc-provider: {r.stderr[-200:]}")
        with open(f"{folder}/done", "w", encoding="utf-8"):
            pass
    return folder


class Provider:
    def __init__(self, folder):
        self.dir, self.port = folder, free_port()
        self.issuer = f"https://127.0.0.1:{self.port}"
        shutil.copy(f"{packages()}/package.json", folder)
        os.symlink(f"{packages()}/node_modules", f"{folder}/node_modules")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=provider", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key.pem",
                        "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
        with open(f"{folder}/cert.pem", encoding="utf-8") as f:
            self.ca = f.read()
        with open(f"{folder}/provider.log", "wb") as log:
            self.process = subprocess.Popen(["node", f"{HERE}/provider.mjs", folder, str(self.port), f"{CONSOLE}/v1/login/oidc/callback"],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        assert "ready" in line, open(f"{folder}/provider.log", encoding="utf-8").read()

    def be(self, **state):
        self.process.stdin.write(json.dumps({"lie": "", "amr": [], "groups": [], **state}) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        assert told
        return told

    def ask(self, url, cookies, form=None):
        context = ssl.create_default_context(cadata=self.ca)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=60)
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST" if form else "GET", url.removeprefix(self.issuer), form and urllib.parse.urlencode(form), headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, value = value.split(";")[0].partition("=")
                cookies[key] = value
        connection.close()
        return answer, body

    def visit(self, url, cookies=None):
        """The browser at the provider, until it is sent back to the console: where to. cookies: those that it has there."""
        cookies = {} if cookies is None else cookies
        for _ in range(8):
            if url.startswith(CONSOLE):
                return url
            answer, body = self.ask(url, cookies)
            assert answer.status in (302, 303), body
            url = answer.getheader("Location")
        raise AssertionError("no end of redirects")

    def leave(self, url, cookies):
        """The browser at the provider's logout, whose question it answers with yes: where to."""
        answer, body = self.ask(url, cookies)
        assert answer.status == 200, body
        target = re.search(r'action="([^"]*)"', body)[1]
        answer, body = self.ask(target, cookies, {"xsrf": re.search(r'name="xsrf" value="([^"]*)"', body)[1], "logout": "yes"})
        assert answer.status in (302, 303), body
        return answer.getheader("Location")

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


@pytest.fixture(scope="module", name="there")
def provider_fixture():
    folder = tempfile.mkdtemp(prefix="bh-oidc-")
    provider = None
    try:
        provider = Provider(folder)
        yield provider
    finally:
        if provider:
            provider.close()
        shutil.rmtree(folder, ignore_errors=True)


def settings(there, **more):
    return {"enabled": True, "name": "The House", "issuer": there.issuer, "client_id": "bulkhead",
            "client_secret": "a secret of the client", "ca": there.ca, **more}


@pytest.fixture(scope="module", name="m")
def manager_fixture(there):
    with running() as manager:
        assert manager.post("tenants", {"name": "shop"}).status == 201
        assert manager.request("PATCH", "settings/accounts", {"console_url": CONSOLE}).status == 200
        yield manager


def set_up(m, there, **more):
    answer = m.request("PUT", "settings/oidc", settings(there, **more))
    assert answer.status == 200, answer.data
    return answer


def link_in(answer):
    return html.unescape(re.search(r'content="0;url=([^"]*)"', answer.data.decode())[1])


class Browser(Person):
    """Keeps the cookie of the login apart from that of the session."""

    def ways(self):
        return self.get("login").json

    def begin(self):
        answer = self.raw("login/oidc")
        assert answer.status == 200, answer.data
        self.oidc = answer.headers["Set-Cookie"]
        assert all(w in self.oidc for w in ("__Host-bulkhead-oidc=", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
        self.oidc = self.oidc.split(";")[0]
        return link_in(answer)

    def raw(self, path, cookie=None, method="GET", body=None, headers=None):
        context = ssl.create_default_context(cafile=f"{self.m.dir}/state/pki/ca.crt")
        connection = http.client.HTTPSConnection("127.0.0.1", self.m.port, context=context, timeout=60, source_address=(self.address, 0))
        connection.request(method, f"/v1/{path}", body,
                           {"User-Agent": self.agent, **({"Cookie": cookie} if cookie else {}), **(headers or {})})
        response = connection.getresponse()
        answer = type("Answer", (), {"status": response.status, "headers": response.headers, "data": response.read()})
        connection.close()
        from test_api import SEEN
        SEEN.add({"login/oidc": "beginOidc", "session/step-up": "stepUp"}.get(path, "finishOidc"))
        return answer

    def come_back(self, url, cookie=None):
        answer = self.raw(url.removeprefix(f"{CONSOLE}/v1/"), cookie or self.oidc)
        if answer.status == 200:
            assert link_in(answer) == "/"
            self.cookie = answer.headers["Set-Cookie"].split(";")[0]
            assert self.cookie.startswith("__Host-bulkhead=")
        return answer

    def through(self, there, cookies=None):
        return self.come_back(there.visit(self.begin(), cookies))

    def step_there(self):
        """Where a step-up by the provider leads; the cookie of that is apart from the session's. None: it is refused."""
        answer = self.raw("session/step-up", self.cookie, "POST", json.dumps({"method": "oidc"}),
                          {"Content-Type": "application/json", "X-Bulkhead-Csrf": self.csrf})
        assert answer.status in (200, 409), answer.data
        if answer.status == 409:
            return None
        self.oidc = answer.headers["Set-Cookie"].split(";")[0]
        return json.loads(answer.data)["oidc"]["url"]


def session(browser):
    answer = browser.get("session")
    if answer.status == 200:
        browser.csrf = answer.json["csrf"]
    return answer


def test_settings(m, there):
    off = m.get("settings/oidc").json
    assert not off["enabled"] and not off["client_secret_set"] and Browser(m).ways() == {"oidc": None}
    page = Browser(m).raw("login/oidc")
    assert page.status == 404 and page.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert page.headers["Referrer-Policy"] == "no-referrer"  # addresses on the way hold codes
    shown = set_up(m, there).json
    assert shown["client_secret_set"] and "client_secret" not in shown and b"a secret of" not in m.get("settings/oidc").data
    assert shown["redirect_uri"] == f"{CONSOLE}/v1/login/oidc/callback"
    assert Browser(m).ways() == {"oidc": {"name": "The House", "url": "/v1/login/oidc"}}
    # The secret stays when it is not said, for the same client of the same provider only.
    same = {k: v for k, v in settings(there).items() if k != "client_secret"}
    assert m.request("PUT", "settings/oidc", same).json["client_secret_set"]
    assert not m.request("PUT", "settings/oidc", {**same, "client_id": "another"}).json["client_secret_set"]
    for bad in ({"issuer": "http://a.example"}, {"issuer": "https://a b"}, {"client_id": ""}, {"rules": 1}, {"rules": [{"value": "x"}]},
                {"rules": [{"value": "x", "role": "nonsense", "at": "shop"}]}, {"amr": "mfa"}, {"tenant": "nowhere"}, {"unknown": 1},
                {"rules": [{"value": "x", "role": "tenant-viewer", "at": "shop", "appointed": True, "more": 1}]}):
        assert m.request("PUT", "settings/oidc", settings(there, **bad)).status == 400, bad
    with open(f"{m.dir}/state/bulkhead.db", "rb") as db, open(f"{m.dir}/state/bulkhead.db-wal", "rb") as wal:
        assert b"a secret of the client" not in db.read() + wal.read()
    # Who may change settings gives no role by a rule that he may not give by hand.
    admin = make(m, "setter", "provider-admin", at="*", enroll=True)
    rule = {"value": "ops", "role": "tenant-operator", "at": "shop"}
    assert admin.request("PUT", "settings/oidc", settings(there, rules=[rule])).status == 403
    assert admin.request("PUT", "settings/oidc", settings(there, rules=[{**rule, "role": "tenant-admin"}])).status == 200


@pytest.mark.skipif(not os.path.exists(CLI), reason=f"needs {CLI}")
def test_command_line(m, there, tmp_path):
    root = {"BULKHEAD_SERVER": f"{m.dir}/run/api.sock", "home": str(tmp_path)}

    def oidc(*argv, **more):
        return cli(m, "settings", "oidc", *argv, "--json", **root, **more)
    set_up(m, there)
    (tmp_path / "secret").write_text("a secret of the client\n", encoding="utf-8")
    (tmp_path / "ca.pem").write_text(there.ca, encoding="utf-8")
    done = oidc("set", "enabled=true", "name=The House", f"issuer={there.issuer}", "client_id=bulkhead", "amr=mfa,hwk",
                "create=false", "scopes=openid profile", "--secret-file", f"{tmp_path}/secret", "--ca-file", f"{tmp_path}/ca.pem")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["amr"] == ["mfa", "hwk"] and shown["client_secret_set"] and shown["ca"] == there.ca
    # What is not said stays, the secret too; another one comes by standard input, never by the command line.
    assert json.loads(oidc("set", "name=Another").stdout)["issuer"] == there.issuer
    assert oidc("set", "--secret-file", "-", stdin="a secret of the client\n").returncode == 0
    refused = oidc("set", "client_secret=x")
    assert refused.returncode == 2 and "--secret-file" in refused.stderr
    assert oidc("set", "name").returncode == 2 and oidc("set", "nonsense=1").returncode == 5
    assert oidc("set", "--secret-file", "/nonexistent").returncode == 8
    assert oidc("rule-add", "ops", "tenant-viewer", "--at", "shop").returncode == 0
    assert oidc("rule-add", "ops", "nonsense", "--at", "shop").returncode == 5
    rules = json.loads(oidc("show").stdout)["rules"]
    assert [(r["value"], r["role"], r["at"]) for r in rules] == [("ops", "tenant-viewer", "shop")]
    assert "ops: tenant-viewer at shop" in cli(m, "settings", "oidc", "show", **root).stdout
    assert oidc("rule-remove", "ops").returncode == 0 and oidc("rule-remove", "ops").returncode == 6
    # Who somebody is there.
    make(m, "by-shell", "auditor", at="*")
    assert cli(m, "user", "link", "by-shell", "sub of shell", **root).returncode == 0
    assert "sub of shell" in cli(m, "user", "links", "by-shell", **root).stdout
    there.be(login="sub of shell")
    b = Browser(m)
    assert b.through(there).status == 200 and session(b).json["user"] == "by-shell"
    assert cli(m, "user", "unlink", "by-shell", **root).returncode == 0
    assert session(b).status == 401 and "here only" in cli(m, "user", "links", "by-shell", **root).stdout


def test_who_is_not_known_is_let_in_by_nobody(m, there):
    set_up(m, there)
    there.be(login="stranger")
    b = Browser(m)
    answer = b.through(there)
    assert answer.status == 403 and b"there is no account for you here" in answer.data and not b.cookie
    # Neither by the name that the provider says.
    make(m, "namesake", "auditor", at="*")
    there.be(login="namesake")
    assert Browser(m).through(there).status == 403
    # With rules, but none for him.
    set_up(m, there, create=True, rules=[{"value": "ops", "role": "tenant-viewer", "at": "shop"}])
    there.be(login="stranger", groups=["others"])
    assert Browser(m).through(there).status == 403
    assert m.get("users/stranger").status == 404


def test_linked_by_an_administrator(m, there):
    set_up(m, there)
    make(m, "linked", "auditor", at="*")
    there.be(login="sub-of-linked")
    assert m.request("PUT", "users/linked/oidc", {"subject": "sub-of-linked"}).status == 204
    assert m.request("PUT", "users/setter/oidc", {"subject": "sub-of-linked"}).status == 409
    assert m.get("users/linked/oidc").json["items"] == [{"issuer": there.issuer, "subject": "sub-of-linked"}]
    b = Browser(m)
    answer = b.through(there)
    assert answer.status == 200, answer.data
    who = session(b).json
    assert who["user"] == "linked" and who["second_factor"] == {"methods": [], "age_s": None}
    entries = [e for e in m.get("audit?act=login.oidc").json["items"] if e["user"] == "linked"]
    assert entries and entries[0]["result"] == "done"
    assert b.post("logout").status == 204 and session(b).status == 401
    # The local password is good all the same; a link that is gone lets nobody in, an account that is off neither.
    assert m.request("PATCH", "users/linked", {"disabled": True}).status == 200
    assert Browser(m).through(there).status == 403
    assert m.request("PATCH", "users/linked", {"disabled": False}).status == 200
    assert m.request("DELETE", "users/linked/oidc").status == 204
    assert m.request("DELETE", "users/linked/oidc").status == 404
    assert Browser(m).through(there).status == 403


def test_made_when_he_comes(m, there):
    set_up(m, there, create=True, tenant="shop", rules=[{"value": "ops", "role": "tenant-operator", "at": "shop"},
                                                       {"value": "look", "role": "tenant-viewer", "at": "shop"}])
    there.be(login="newcomer", groups=["look", "x"])
    b = Browser(m)
    assert b.through(there).status == 200
    who = session(b).json
    assert who["user"] == "newcomer@shop" and who["name"] == "newcomer <b>of the provider</b>"
    assert [r["role"] for r in who["roles"]] == ["tenant-viewer"]
    # Another group: other roles with the next login. No password fits him.
    there.be(login="newcomer", groups=["ops"])
    assert b.through(there).status == 200
    assert [r["role"] for r in session(b).json["roles"]] == ["tenant-operator"]
    for password in ("", "x", "anything at all"):
        assert Browser(m).post("login", {"user": "newcomer@shop", "password": password}).status == 401
    # Somebody who has the name already keeps it.
    there.be(login="other-sub", groups=["ops"])
    assert m.post("users", {"name": "other-sub", "tenant": "shop"}).status == 201
    b = Browser(m)
    assert b.through(there).status == 200
    assert re.fullmatch(r"oidc-[0-9a-f]{16}@shop", session(b).json["user"])


def test_second_factor(m, there):
    p = make(m, "careful", "provider-admin", at="*", enroll=True)
    assert m.request("PUT", "users/careful/oidc", {"subject": "careful-sub"}).status in (204, 409)
    set_up(m, there, amr=["mfa", "hwk"])
    assert m.request("PUT", "users/careful/oidc", {"subject": "careful-sub"}).status in (204, 409)
    # The provider's does not count: our own is asked for.
    there.be(login="careful-sub", amr=["pwd"])
    b = Browser(m)
    assert b.through(there).status == 200
    assert session(b).status == 401 and b.ways()["need"] == ["totp", "recovery"]
    assert b.post("login/second", {"method": "totp", "code": "000000"}).status == 401
    b.take(b.post("login/second", {"method": "recovery", "code": p.recovery[0]}))
    assert session(b).json["second_factor"]["age_s"] is not None
    # It counts.
    there.be(login="careful-sub", amr=["pwd", "mfa"])
    b = Browser(m)
    assert b.through(there).status == 200
    assert session(b).json["second_factor"]["age_s"] is not None
    assert b.post("users", {"name": "made-by-careful", "password": "some first password"}).status == 201


@pytest.mark.parametrize("lie", list(LIES))
def test_a_lie_lets_nobody_in(m, there, lie):
    set_up(m, there, create=True, rules=[{"value": "ops", "role": "tenant-viewer", "at": "shop"}])
    there.be(login="victim", groups=["ops"], lie=lie)
    b = Browser(m)
    answer = b.through(there)
    assert answer.status == (502 if lie == "huge" else 401) and LIES[lie] in answer.data.decode(), answer.data
    assert not b.cookie and m.get("users/victim").status == 404


def test_state_code_and_browser(m, there):
    set_up(m, there, create=True, rules=[{"value": "ops", "role": "tenant-viewer", "at": "shop"}])
    there.be(login="stated", groups=["ops"])
    b, thief = Browser(m), Browser(m)
    back = there.visit(b.begin())
    thief.begin()
    assert thief.come_back(back).status == 401  # another browser's cookie
    assert thief.come_back(back, cookie="__Host-bulkhead-oidc=").status == 401
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(back).query))
    assert query["iss"] == there.issuer
    for change in ({"state": "x"}, {"state": ""}):
        assert b.come_back(f"{CONSOLE}/v1/login/oidc/callback?{urllib.parse.urlencode({**query, **change})}").status == 401
    assert b.come_back(back).status == 200
    # Neither state nor code is good a second time; nor a code that another login brings.
    assert b.come_back(back).status == 401
    other = there.visit(b.begin())
    mixed = {**dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(other).query)), "code": query["code"]}
    assert b.come_back(f"{CONSOLE}/v1/login/oidc/callback?{urllib.parse.urlencode(mixed)}").status == 401
    # The provider says no, or another provider says something.
    for change in ({"code": "", "error": "access_denied", "error_description": "<script>"}, {"iss": "https://evil.example"},
                   {"code": "x" * 5000}, {"code": "wrong"}):
        parts = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(there.visit(b.begin())).query))
        answer = b.come_back(f"{CONSOLE}/v1/login/oidc/callback?{urllib.parse.urlencode({**parts, **change})}")
        assert answer.status == 401 and b"<script>" not in answer.data, change


def parameters(url):
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))


def stepping(m, there, name, **more):
    """Somebody who came from the provider, whose factor counts but was not shown just now."""
    set_up(m, there, amr=["mfa"], acr=["urn:example:gold"], **more)
    make(m, name, "provider-admin", at="*")
    assert m.request("PUT", f"users/{name}/oidc", {"subject": f"sub-{name}"}).status == 204
    there.be(login=f"sub-{name}", amr=["mfa"], lie="stale")
    b = Browser(m)
    assert b.through(there).status == 200
    assert session(b).json["second_factor"]["age_s"] >= 3600
    return b


def dangerous(browser, name):
    return browser.post("users", {"name": name, "password": "some first password"})


def test_step_up(m, there):
    b = stepping(m, there, "stepper")
    # A factor that the provider saw an hour ago is none for what is dangerous; it can be shown anew there.
    refused = dangerous(b, "too-early")
    assert refused.status == 403 and refused.json["error"]["code"] == "step_up" and "oidc" in refused.json["error"]["methods"]
    url = b.step_there()
    assert parameters(url) | {"prompt": "login", "max_age": "0", "acr_values": "urn:example:gold"} == parameters(url)
    before = b.cookie
    there.be(login="sub-stepper", amr=["mfa"])
    assert b.come_back(there.visit(url)).status == 200 and b.cookie != before
    assert session(b).json["second_factor"]["age_s"] < 300 and dangerous(b, "stepped").status == 201
    stolen = Browser(m)
    stolen.cookie = before  # the secret of before is worth nothing
    assert stolen.get("session").status == 401
    steps = [e for e in m.get("audit?act=login.oidc").json["items"] if "step-up as a second factor" in json.dumps(e)]
    assert steps and steps[0]["user"] == "stepper"


@pytest.mark.parametrize("lie,status,words", [
    ("stale", 401, "did not ask anew"), ("no-auth-time", 401, "does not say when"), ("own-key", 401, "signature does not fit"),
    ("somebody", 403, "somebody else"), ("password", 200, "no second factor")])
def test_a_step_up_that_is_none(m, there, lie, status, words):
    b = stepping(m, there, f"fooled-{lie}")
    url = b.step_there()
    there.be(login="sub-of-nobody" if lie == "somebody" else f"sub-fooled-{lie}", amr=[] if lie == "password" else ["mfa"],
             lie=lie if lie in ("stale", "no-auth-time", "own-key") else "")
    back = b.raw(there.visit(url).removeprefix(f"{CONSOLE}/v1/"), b.oidc)
    assert back.status == status and words in back.data.decode(), back.data
    if status == 200:  # it counts as the password
        b.cookie = back.headers["Set-Cookie"].split(";")[0]
        session(b)
        assert b.post("me/totp").status == 200
    else:
        assert not back.headers["Set-Cookie"]
    assert dangerous(b, "not-now").status == 403


def test_a_step_up_is_of_its_session(m, there):
    b = stepping(m, there, "leaver")
    url = b.step_there()
    there.be(login="sub-leaver", amr=["mfa"])
    back = there.visit(url)
    assert b.post("logout").status == 204
    answer = b.raw(back.removeprefix(f"{CONSOLE}/v1/"), b.oidc)
    assert answer.status == 401 and b"has ended" in answer.data
    # Who is linked with nobody there, or is a program, has other ways.
    local = Browser(m, "local", make(m, "local", "auditor", at="*").password)
    local.login()
    assert local.step_there() is None
    bearer = m.request("POST", "login", {"user": "local", "password": local.password, "bearer": True}, https=True)
    token = {"Authorization": f"Bearer {bearer.json['token']}"}
    assert m.request("POST", "session/step-up", {"method": "oidc"}, https=True, headers=token).status == 409


def test_logout_there_too(m, there):
    set_up(m, there, logout=True)
    make(m, "quitter", "auditor", at="*")
    assert m.request("PUT", "users/quitter/oidc", {"subject": "sub-quitter"}).status == 204
    shown = m.get("settings/oidc").json
    assert shown["logout"] and shown["post_logout_redirect_uri"] == f"{CONSOLE}/"
    there.be(login="sub-quitter")
    b, cookies = Browser(m), {}
    assert b.through(there, cookies).status == 200 and session(b).status == 200
    kept = dict(cookies)
    there.be(login="sub-somebody-else")  # who would be asked, were it not for the session there
    assert Browser(m).through(there, cookies).status == 200
    # The token that names whom to log out is not to be read in the database.
    with open(f"{m.dir}/state/bulkhead.db", "rb") as db, open(f"{m.dir}/state/bulkhead.db-wal", "rb") as wal:
        text = db.read() + wal.read()
    answer = b.post("logout")
    assert answer.status == 200, answer.data
    url = answer.json["url"]
    asked = parameters(url)
    assert url.startswith(there.issuer) and asked["client_id"] == "bulkhead" and asked["post_logout_redirect_uri"] == f"{CONSOLE}/"
    assert asked["id_token_hint"].count(".") == 2 and asked["id_token_hint"].encode() not in text
    b.cookie = b.cookie or "__Host-bulkhead=x"
    assert session(b).status == 401
    assert there.leave(url, cookies) == f"{CONSOLE}/"
    # Nobody is logged in there any more: the next one is asked who he is.
    assert Browser(m).through(there, kept).status == 403
    # A session with a password has nothing there; nor has one where the settings don't want it.
    local = Browser(m, "local2", make(m, "local2", "auditor", at="*").password)
    local.login()
    assert local.post("logout").status == 204
    there.be(login="sub-quitter")
    b = Browser(m)
    assert b.through(there).status == 200 and session(b).status == 200
    set_up(m, there, logout=False)
    assert b.post("logout").status == 204
    # The provider is away: ours is over all the same, and that is said.
    set_up(m, there, logout=True)
    b = Browser(m)
    assert b.through(there).status == 200 and session(b).status == 200
    assert m.request("PUT", "settings/oidc", settings(there, logout=True, issuer=f"https://127.0.0.1:{free_port()}")).status == 200
    answer = b.post("logout")
    assert answer.status == 200 and answer.json["url"] is None and "the provider" in answer.json["message"]
    set_up(m, there)


def test_an_end_amid_a_login(there):
    """The manager ends while a provider says nothing."""
    with running() as own:
        assert own.request("PATCH", "settings/accounts", {"console_url": CONSOLE}).status == 200
        set_up(own, there)
        there.be(login="x", lie="silent")
        b = Browser(own)
        back = there.visit(b.begin())

        def wait():
            with contextlib.suppress(OSError, http.client.HTTPException):  # the manager is gone
                b.come_back(back)
        waiting = threading.Thread(target=wait)
        waiting.start()
        own.wait(lambda: there.be(login="x", lie="silent")["silent"], 60, "the provider was asked")
        own.process.terminate()
        assert own.process.wait(120) == 0
        waiting.join(60)


def test_keys_that_change(m, there):
    set_up(m, there, create=True, rules=[{"value": "ops", "role": "tenant-viewer", "at": "shop"}])
    there.be(login="rotating", groups=["ops"])
    assert Browser(m).through(there).status == 200
    # Another key, of another kind: the set is fetched once more.
    there.be(login="rotating", groups=["ops"], lie="rotated")
    assert Browser(m).through(there).status == 200
    there.be(login="rotating", groups=["ops"])
    assert Browser(m).through(there).status == 200
    # So soon after that not again: who names keys that are not there makes no traffic.
    there.be(login="rotating", groups=["ops"], lie="rotated")
    answer = Browser(m).through(there)
    assert answer.status == 401 and b"no such key" in answer.data
    set_up(m, there, create=True, rules=[{"value": "ops", "role": "tenant-viewer", "at": "shop"}])  # forgets what was known
    there.be(login="rotating", groups=["ops"])
    assert Browser(m).through(there).status == 200


def test_a_provider_that_is_not_there(m, there):
    set_up(m, there)
    gone = free_port()
    for how in ({"issuer": f"https://127.0.0.1:{gone}"}, {"ca": ""}, {"issuer": f"{there.issuer}/other"}):
        assert m.request("PUT", "settings/oidc", settings(there, **how)).status == 200
        assert Browser(m).raw("login/oidc").status == 502, how
    assert m.get("status").status == 200


def test_many_begun_and_left(m, there):
    set_up(m, there)
    b = Browser(m)
    answers = [b.raw("login/oidc").status for _ in range(18)]
    assert answers == [200] * 16 + [429] * 2
    assert Browser(m).raw("login/oidc").status == 200


def test_every_operation_of_oidc_was_asked():
    assert unasked("oidc") == set()
