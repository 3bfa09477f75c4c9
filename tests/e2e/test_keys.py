# SPDX-License-Identifier: Apache-2.0
"""Security keys (WebAuthn) against a real bulkheadd over HTTPS, with a key in software."""
import json
import os

import pytest

from authenticator import EDDSA, ES256, RS256, SecurityKey, b64, unb64
from test_accounts import CLI, Person, cli, make, running, unasked
from test_api import pytestmark  # noqa: F401

ORIGIN = "https://console.example:7443"
NAMES = iter(range(1, 1000))


@pytest.fixture(scope="module", name="m")
def manager_fixture():
    with running() as manager:
        assert manager.request("PATCH", "settings/accounts", {"console_url": ORIGIN}).status == 200
        yield manager


def begin(person):
    answer = person.post("me/webauthn")
    assert answer.status == 200, answer.data
    return answer.json


def add(person, key, name="mine", **how):
    answer = person.post("me/webauthn:confirm", {"name": name, **key.create(begin(person), **how)})
    if answer.status == 201:
        person.csrf = answer.json["csrf"]
    return answer


def person_with_key(m, alg=ES256, **how):
    person = make(m, f"keyed{next(NAMES)}", "provider-admin", at="*")
    key = SecurityKey(ORIGIN, alg, **how)
    answer = add(person, key)
    assert answer.status == 201 and len(answer.json["recovery"]) == 10, answer.data
    return person, key


def half(m, person, agent="another-browser"):
    """The password was given, the factor is to come."""
    p = Person(m, person.name, person.password, agent)
    answer = p.post("login", {"user": p.name, "password": p.password})
    assert answer.status == 200 and answer.json["need"] == ["webauthn", "recovery"], answer.data
    return p


def ask(person, path="login/second"):
    answer = person.post(path, {"method": "webauthn"})
    assert answer.status == 200, answer.data
    return answer.json["webauthn"]


def second(person, answer, path="login/second"):
    return person.post(path, {"method": "webauthn", **answer})


@pytest.mark.parametrize("alg", [ES256, EDDSA, RS256])
def test_from_the_first_touch_to_the_last(m, alg):
    person, key = person_with_key(m, alg)
    factors = person.get("me/factors").json
    assert not factors["totp"] and factors["recovery_left"] == 10
    assert [k["name"] for k in factors["webauthn"]] == ["mine"] and factors["webauthn"][0]["used"] is None
    assert person.get("session").json["second_factor"]["methods"] == ["webauthn", "recovery"]
    p = half(m, person)
    assert p.get("hosts").status == 401
    options = ask(p)
    assert options["rp_id"] == "console.example" and options["user_verification"] == "preferred"
    p.take(second(p, key.get(options)))
    assert p.get("session").json["second_factor"]["age_s"] <= 60
    assert p.get("me/factors").json["webauthn"][0]["used"]
    # What is dangerous is open to him now; and a step-up by the key is one too.
    assert p.post("users", {"name": f"made{next(NAMES)}", "password": "some first password"}).status == 201
    p.take(second(p, key.get(ask(p, "session/step-up")), "session/step-up"))
    # Another name, then gone, with the codes that hung on it.
    number = factors["webauthn"][0]["id"]
    assert p.request("PATCH", f"me/webauthn/{number}", {"name": "钥匙"}).status == 204
    assert p.get("me/factors").json["webauthn"][0]["name"] == "钥匙"
    assert p.request("PATCH", f"me/webauthn/{number + 1000}", {"name": "x"}).status == 404
    assert p.request("DELETE", f"me/webauthn/{number}").status == 204
    assert p.request("DELETE", f"me/webauthn/{number}").status == 404
    assert p.get("me/factors").json == {"totp": False, "recovery_left": 0, "webauthn": []}
    assert "session" in Person(m).post("login", {"user": person.name, "password": person.password}).json


def test_a_key_that_signs_for_itself(m):
    person = make(m, "selfie", "auditor", at="*")
    for alg in (ES256, EDDSA):
        assert add(person, SecurityKey(ORIGIN, alg), fmt="packed").status == 201
    wrong = SecurityKey(ORIGIN)
    assert add(person, wrong, fmt="packed", statement={"alg": ES256, "sig": wrong.sign(b"something else")}).status == 400
    assert add(person, wrong, fmt="packed", statement={}).status == 400


def test_what_is_not_as_wanted_makes_no_key(m):
    person = make(m, "picky", "auditor", at="*")
    key = SecurityKey(ORIGIN)
    for how in ({"origin": "https://console.example"}, {"origin": "https://evil.example:7443"}, {"rp_id": "evil.example"},
                {"type": "webauthn.get"}, {"challenge": b64(bytes(32))}, {"crossOrigin": True},
                {"topOrigin": "https://evil.example"}, {"flags": 0}, {"fmt": "fido-u2f"},
                {"statement": {"x5c": [b"x"]}}):
        assert add(person, key, **how).status == 400, how
    # Bytes that are none, too many of them, and each truncation of what is right.
    options = begin(person)
    good = key.create(options)
    for part in ("attestation", "client_data"):
        for bad in ("", "=", "%", "A" * 20000, [1], None):
            assert person.post("me/webauthn:confirm", {"name": "x", **good, part: bad}).status == 400
    whole = unb64(good["attestation"])
    for size in list(range(0, len(whole), 7)) + [len(whole) - 1]:
        answer = person.post("me/webauthn:confirm", {"name": "x", **key.create(begin(person)), "attestation": b64(whole[:size] or b"\0")})
        assert answer.status == 400, size
    assert person.post("me/webauthn:confirm", {"name": "x", **key.create(begin(person)), "attestation": b64(whole + b"\0")}).status == 400
    assert person.post("me/webauthn:confirm", {"name": "x", **key.create(begin(person)), "id": b64(b"another")}).status == 400
    assert person.get("me/factors").json["webauthn"] == []
    # A challenge is good once, and only the last one.
    first, last = begin(person), begin(person)
    assert person.post("me/webauthn:confirm", {"name": "x", **key.create(first)}).status == 400
    assert person.post("me/webauthn:confirm", {"name": "x", **key.create(last)}).status == 409
    assert add(person, key).status == 201
    # Nobody else can have it.
    assert add(make(m, "second-owner", "auditor", at="*"), key).status == 409
    assert add(person, key).status == 409


def test_what_is_not_as_wanted_lets_nobody_in(m):
    person, key = person_with_key(m)
    foreign = SecurityKey(ORIGIN)
    p = half(m, person)
    wrong = [lambda o: key.get(o, origin="https://evil.example:7443"), lambda o: key.get(o, rp_id="evil.example"),
             lambda o: key.get(o, flags=0), lambda o: key.get(o, type="webauthn.create"),
             lambda o: {**key.get(o), "signature": b64(key.sign(b"something else"))},
             lambda o: {**key.get(o), "id": b64(foreign.id)}]
    for how in wrong:  # the sixth brings a wait
        assert second(p, how(ask(p))).status == 401
        assert p.get("session").status == 401
    assert p.post("login/second", {"method": "webauthn"}).status == 429


def test_an_answer_is_good_once_and_where_it_was_asked_for(m):
    person, key = person_with_key(m)
    p, q = half(m, person), half(m, person)
    mine, other = ask(p), ask(q)
    assert second(p, key.get(other)).status == 401  # the challenge of another session
    answer = key.get(ask(p))
    p.take(second(p, answer))
    assert second(q, answer).status in (401, 409)
    assert second(q, key.get(other)).status == 409  # gone with the attempt before
    assert mine["challenge"] != other["challenge"]
    # A challenge to make a key is none to prove one.
    options = begin(p)
    assert second(p, {**key.get({**ask(p, "session/step-up"), "challenge": options["challenge"]})}, "session/step-up").status == 401


def test_two_of_one_key(m):
    person, key = person_with_key(m)
    p = half(m, person)
    key.count += 10
    p.take(second(p, key.get(ask(p))))
    key.count -= 5  # the copy
    p = half(m, person)
    answer = second(p, key.get(ask(p)))
    assert answer.status == 401 and p.get("session").status == 401
    events = m.wait(lambda: [e for e in m.get("events?type=access.key-copied").json["items"] if e["user"] == person.name],
                    10, "the event")
    assert events[0]["from"] == p.address and events[0]["key"] == "mine" and events[0]["severity"] == "critical"
    # A key that does not count is none of these.
    person, key = person_with_key(m, counts=False)
    for _ in range(2):
        p = half(m, person)
        p.take(second(p, key.get(ask(p))))


def test_a_finger_where_settings_say_so(m):
    try:
        person, key = person_with_key(m)
        assert m.request("PATCH", "settings/accounts", {"key_verify": True}).json["key_verify"]
        p = half(m, person)
        options = ask(p)
        assert options["user_verification"] == "required"
        assert second(p, key.get(options)).status == 401
        key.verified = True
        p.take(second(p, key.get(ask(p))))
        assert add(person, SecurityKey(ORIGIN), name="without").status == 400
        assert add(person, SecurityKey(ORIGIN, verified=True), name="with").status == 201
    finally:
        assert m.request("PATCH", "settings/accounts", {"key_verify": False}).status == 200


def test_lost(m):
    person, _ = person_with_key(m)
    assert m.request("DELETE", f"users/{person.name}/totp").status == 204
    assert "session" in Person(m).post("login", {"user": person.name, "password": person.password}).json


@pytest.mark.skipif(not os.path.exists(CLI), reason=f"needs {CLI}")
def test_command_line(m, tmp_path):
    home = str(tmp_path)
    person = make(m, f"keyed{next(NAMES)}", "provider-admin", at="*")
    answer = add(person, SecurityKey(ORIGIN))
    there = ("--server", f"https://127.0.0.1:{m.port}", "--ca", f"{m.dir}/state/pki/ca.crt")
    done = cli(m, "login", person.name, *there, stdin=f"{person.password}\n{answer.json['recovery'][0]}\n", home=home)
    assert done.returncode == 0, done.stderr
    listed = json.loads(cli(m, "key", "list", "--json", home=home).stdout)
    assert [k["name"] for k in listed] == ["mine"]
    number = str(listed[0]["id"])
    assert cli(m, "key", "name", number, "the red one", home=home).returncode == 0
    assert "the red one" in cli(m, "key", "list", home=home).stdout
    assert cli(m, "key", "name", "999999", "x", home=home).returncode == 6
    assert cli(m, "key", "remove", number, home=home).returncode == 0
    assert cli(m, "key", "remove", number, home=home).returncode == 6
    assert "No security keys" in cli(m, "key", "list", home=home).stdout
    assert cli(m, "key", "list", home=home, BULKHEAD_SERVER=f"{m.dir}/run/api.sock").returncode == 5  # root has none


def test_console_url():
    with running() as own:
        person = make(own, "alone", "auditor", at="*")
        assert person.post("me/webauthn").status == 409  # nobody knows by which name we are called
        for bad in ("http://a.example", "https://", "https://a.example/", "https://A.example", "https://a.example:0",
                    "https://a.example:70000", "https://a b", "https://user@a.example", "https://.example", "https://a.",
                    "https://" + "a" * 254, 7):
            assert own.request("PATCH", "settings/accounts", {"console_url": bad}).status == 400, bad
        for url, kept in (("https://a.example:443", "https://a.example"), ("https://192.0.2.1:7443", None), ("", None)):
            assert own.request("PATCH", "settings/accounts", {"console_url": url}).json["console_url"] == (kept or url)
            assert person.post("me/webauthn").status == (200 if kept else 409)


def test_every_operation_of_keys_was_asked():
    assert unasked("keys") == set()
