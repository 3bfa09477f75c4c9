# SPDX-License-Identifier: Apache-2.0
"""Logging in by OpenID Connect against a real provider (npm oidc-provider) over HTTPS, honest and lying."""
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
        assert json.loads(self.process.stdout.readline())

    def visit(self, url):
        """The browser at the provider, until it is sent back to the console: where to."""
        context, cookies = ssl.create_default_context(cadata=self.ca), {}
        for _ in range(8):
            if url.startswith(CONSOLE):
                return url
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
            connection.request("GET", url.removeprefix(self.issuer), headers={"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())})
            answer = connection.getresponse()
            body = answer.read()
            for name, value in answer.getheaders():
                if name.lower() == "set-cookie":
                    key, _, value = value.split(";")[0].partition("=")
                    cookies[key] = value
            connection.close()
            assert answer.status in (302, 303), body
            url = answer.getheader("Location")
        raise AssertionError("no end of redirects")

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

    def raw(self, path, cookie=None):
        context = ssl.create_default_context(cafile=f"{self.m.dir}/state/pki/ca.crt")
        connection = http.client.HTTPSConnection("127.0.0.1", self.m.port, context=context, timeout=60, source_address=(self.address, 0))
        connection.request("GET", f"/v1/{path}", headers={"User-Agent": self.agent, **({"Cookie": cookie} if cookie else {})})
        response = connection.getresponse()
        answer = type("Answer", (), {"status": response.status, "headers": response.headers, "data": response.read()})
        connection.close()
        from test_api import SEEN
        SEEN.add({"login/oidc": "beginOidc"}.get(path, "finishOidc"))
        return answer

    def come_back(self, url, cookie=None):
        answer = self.raw(url.removeprefix(f"{CONSOLE}/v1/"), cookie or self.oidc)
        if answer.status == 200:
            assert link_in(answer) == "/"
            self.cookie = answer.headers["Set-Cookie"].split(";")[0]
            assert self.cookie.startswith("__Host-bulkhead=")
        return answer

    def through(self, there):
        return self.come_back(there.visit(self.begin()))


def session(browser):
    answer = browser.get("session")
    if answer.status == 200:
        browser.csrf = answer.json["csrf"]
    return answer


def test_settings(m, there):
    off = m.get("settings/oidc").json
    assert not off["enabled"] and not off["client_secret_set"] and Browser(m).ways() == {"oidc": None}
    assert Browser(m).raw("login/oidc").status == 404
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
