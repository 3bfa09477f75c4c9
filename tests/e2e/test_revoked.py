# SPDX-License-Identifier: Apache-2.0
"""What ends with a session, a right or an account ends everywhere: streams that are open, grants, guesses that are under way. And looks
that change nothing really change nothing."""
import concurrent.futures
import contextlib
import http.client
import json
import ssl
import threading

import pytest

from test_accounts import Person, make, running
from test_api import VM0, pytestmark  # noqa: F401

POLICY = """
kind: Policy
metadata: {name: in, tenant: %s}
spec:
  selector: {matchLabels: {app: web}}
  ingress:
    - from: [{cidr: 10.0.0.0/8}]
      ports: [tcp/22]
"""


@pytest.fixture(scope="module", name="m")
def manager_fixture():
    with running() as manager:
        manager.sim = manager.simulate(0, 1, 4, 2)
        for tenant in ("shop", "bank"):
            assert manager.post("tenants", {"name": tenant}).status == 201
        yield manager


class Reader(threading.Thread):
    """Reads a person's stream of events until the manager ends it."""

    def __init__(self, person, path="events", headers=None):
        super().__init__(daemon=True)
        context = ssl.create_default_context(cafile=f"{person.m.dir}/state/pki/ca.crt")
        self.connection = http.client.HTTPSConnection("127.0.0.1", person.m.port, context=context, timeout=180,
                                                      source_address=(person.address, 0))
        self.connection.request("GET", f"/v1/{path}", headers={
            "User-Agent": person.agent, "Accept": "text/event-stream", **({"Cookie": person.cookie} if person.cookie else {}),
            **(headers or {})})
        self.response = self.connection.getresponse()
        assert self.response.status == 200
        self.text = ""
        self.start()

    def run(self):
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):  # closed by us
            while line := self.response.readline():
                self.text += line.decode()

    @property
    def live(self):
        return self.is_alive()


def left(m, reader):
    """The stream is ended, and not by us."""
    m.wait(lambda: not reader.live, 60, "the stream's end")
    reader.connection.close()


# ---- streams


def test_a_stream_ends_with_its_session(m):
    ends = {
        "leaves": lambda p: p.post("logout"),
        "revoked": lambda p: m.request("DELETE", "sessions/%d" % next(
            s["id"] for s in m.get("sessions").json["items"] if s["user"] == p.name)),
        "renewed": lambda p: m.request("PUT", f"users/{p.name}/password"),
        "disabled": lambda p: m.request("PATCH", f"users/{p.name}", {"disabled": True}),
        "removed": lambda p: m.request("DELETE", f"users/{p.name}"),
    }
    people = {name: make(m, name, "auditor", at="*") for name in [*ends, "stays"]}
    readers = {name: Reader(p) for name, p in people.items()}
    for name, end in ends.items():
        assert end(people[name]).status in (200, 204), name
    for name in ends:
        left(m, readers[name])
        assert people[name].get("events").status == 401
    assert readers["stays"].live
    readers["stays"].connection.close()


def test_a_stream_ends_with_its_token_and_its_rights(m):
    p = make(m, "robotic", "tenant-viewer", tenant="shop")
    assert m.post("users/robotic@shop/roles", {"role": "tenant-operator"}).status == 201
    made = p.post("me/tokens", {"name": "ci", "verbs": ["event.read", "flow.read"]}).json
    robot = Person(m, agent="robot")
    by_token = Reader(robot, headers={"Authorization": f"Bearer {made['token']}"})
    reader = Reader(p)
    assert p.request("DELETE", f"me/tokens/{made['id']}").status == 204
    left(m, by_token)
    assert reader.live
    for role in m.get("users/robotic@shop").json["roles"]:  # now he may read nothing
        assert m.request("DELETE", f"users/robotic@shop/roles/{role['id']}").status == 204
    left(m, reader)
    assert p.get("events").status == 403
    # Who gets a right comes back for what it shows; who proves himself anew reads on.
    assert m.post("users/robotic@shop/roles", {"role": "tenant-viewer"}).status == 201
    reader = Reader(p)
    assert m.post("users/robotic@shop/roles", {"role": "tenant-viewer", "at": "bank"}).status == 201
    left(m, reader)
    reader = Reader(p)
    p.take(p.post("session/step-up", {"method": "password", "password": p.password}))
    beats = reader.text.count("heartbeat")
    m.wait(lambda: reader.text.count("heartbeat") >= beats + 2, 60, "two heartbeats")
    assert reader.live
    reader.connection.close()


# ---- grants


def ask(person, verb, hours, **more):
    answer = person.post("requests", {"kind": "grant", "verb": verb, "hours": hours, "reason": "because", **more})
    assert answer.status == 201, answer.data
    return answer.json["id"]


def test_a_grant_is_not_handed_on_beyond_its_end(m):
    assert m.post("roles", {"tenant": "shop", "name": "second", "verbs": ["vm.read", "request.decide", "request.submit"]}).status == 201
    decider, wisher = (make(m, name, tenant="shop") for name in ("decider", "wisher"))
    assert m.post("users/decider@shop/roles", {"role": "second"}).status == 201
    assert m.post("users/wisher@shop/roles", {"role": "tenant-viewer"}).status == 201
    assert m.post(f"requests/{ask(decider, 'vm.release', 2)}:approve", {"reason": "yes"}).status == 200
    long = ask(wisher, "vm.release", 48)
    refused = decider.post(f"requests/{long}:approve", {"reason": "yes"})
    assert refused.status == 403 and "nor for longer" in refused.json["error"]["message"]
    assert decider.post(f"requests/{long}:approve", {"reason": "yes", "hours": 3}).status == 403
    assert decider.post(f"requests/{long}:approve", {"reason": "yes", "hours": 1}).json["hours"] == 1


def test_a_yes_to_what_is_dangerous_needs_a_fresh_factor(m):
    """As the act itself does: neither a stolen token nor a session of a password alone is the second person."""
    second, wisher = make(m, "approver", "tenant-admin", tenant="shop"), make(m, "dares", "tenant-operator", tenant="shop")
    wish, harmless = ask(wisher, "vm.destroy", 1), ask(wisher, "vm.release", 1)
    token = second.post("me/tokens", {"name": "ci", "verbs": ["request.decide", "vm.release"]}).json["token"]
    robot, by_token = Person(m, agent="robot"), {"Authorization": f"Bearer {token}"}
    assert robot.post(f"requests/{wish}:approve", {"reason": "yes"}, headers=by_token).status == 403
    refused = second.post(f"requests/{wish}:approve", {"reason": "yes"})
    assert refused.status == 403 and refused.code == "step_up" and refused.json["error"]["verb"] == "vm.destroy"
    assert robot.post(f"requests/{harmless}:approve", {"reason": "yes"}, headers=by_token).json["state"] == "approved"
    assert m.get(f"requests/{wish}").json["state"] == "waiting"
    second.enroll()
    assert second.post(f"requests/{wish}:approve", {"reason": "yes"}).json["state"] == "approved"


def test_grants_go_with_their_account(m):
    made = {"name": "leaver", "tenant": "shop", "role": "tenant-viewer"}
    p = make(m, "leaver", "tenant-viewer", tenant="shop")
    given, waiting = ask(p, "vm.release", 24), ask(p, "vm.labels", 24)
    assert m.post(f"requests/{given}:approve", {"reason": "yes"}).status == 200
    assert m.request("DELETE", "users/leaver@shop").status == 204
    assert {m.get(f"requests/{n}").json["state"] for n in (given, waiting)} == {"ended"}
    assert m.post(f"requests/{waiting}:approve", {"reason": "yes"}).status == 409
    answer = m.post("users", made)  # somebody else of that name
    other = Person(m, "leaver@shop", answer.json["password"]).settle("my own word is long")
    assert m.request("PATCH", "vms/vm0", {"tenant": "shop"}).status == 200
    assert other.request("PUT", "vms/vm0/quarantine", {"on": False}).status == 403
    assert m.request("PATCH", "vms/vm0", {"tenant": None}).status == 200


# ---- many hands at once


def test_guesses_at_once_are_no_more_than_one_after_the_other(m):
    make(m, "besieged", "auditor", at="*")

    def guess(_):
        return Person(m).post("login", {"user": "besieged", "password": "wrong wrong wrong"}).status

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        statuses = list(pool.map(guess, range(24)))
    assert set(statuses) <= {401, 429} and statuses.count(429) >= 8, statuses  # waits of seconds end meanwhile


def test_who_opens_the_console_is_no_attacker(m):
    """Each page that is opened asks who is logged in. That is no guess, which would have others of the address wait, and no alarm."""
    visitor = Person(m)
    assert {visitor.get("session").status for _ in range(25)} == {401}
    thief = Person(m)
    assert thief.get("hosts").status == 401
    m.wait(lambda: [e for e in m.get("events?type=audit.denied&limit=1000").json["items"] if e["from"] == thief.address] or
           thief.get("hosts").status == 0, 60, "the event of the other one")
    assert not [e for e in m.get("events?type=audit.denied&limit=1000").json["items"] if e["from"] == visitor.address]


# ---- who sees what


def tell(m, line):
    """A line for the simulated hosts: an event, or what one of their VMs is from now on."""
    m.sim.stdin.write(json.dumps({"host": 0, **line}) + "\n")
    m.sim.stdin.flush()


def test_alerts_of_flows_are_for_who_reads_flows(m):
    """A provider administrator reads alerts of tenants, and none of what their VMs send."""
    operator, owner = make(m, "operator", "provider-admin", at="*"), make(m, "owner", "tenant-viewer", tenant="t0")
    guarded = {"type": "guard.spoof-mac", "severity": "warning", "vm": VM0, "dir": "egress", "verdict": "deny", "reason": "spoof-mac",
               "src_mac": "02:00:00:00:00:09"}
    tell(m, {"event": guarded})
    alert = m.wait(lambda: m.get("alerts?type=guard.*").json["items"], 30, "the alert")[0]
    assert alert["tenant"] == "t0" and owner.get(f"alerts/{alert['id']}").status == 200
    assert [a["id"] for a in owner.get("alerts").json["items"]] == [alert["id"]]
    assert owner.get("alerts").json["counts"]["open"] == 1
    assert operator.get(f"alerts/{alert['id']}").status == 404
    assert operator.post(f"alerts/{alert['id']}:close", {}).status == 404
    assert not [a for a in operator.get("alerts").json["items"] if a["type"].startswith("guard.")]
    assert operator.get("alerts").json["counts"]["open"] == m.get("alerts").json["counts"]["open"] - 1
    # Nor is one opened again beside that in which the same goes on.
    assert m.post(f"alerts/{alert['id']}:close", {}).status == 200
    tell(m, {"event": guarded})
    again = m.wait(lambda: m.get("alerts?type=guard.*").json["items"], 30, "another one")[0]
    refused = m.post(f"alerts/{alert['id']}:reopen", {})
    assert refused.status == 409 and str(again["id"]) in refused.json["error"]["message"]


def test_a_channel_is_for_who_may_take_all_out(m):
    """It carries events of all tenants: neither the provider's administrator sets one, nor an officer of the provider alone."""
    operator, half, whole = (make(m, name, role, at=at, enroll=True) for name, role, at in (
        ("wirer", "provider-admin", "*"), ("half", "security-officer", None), ("whole", "security-officer", "*")))
    channel = {"kind": "webhook", "url": "https://127.0.0.1:9/", "enabled": False}
    for person, verb in ((operator, "channel.write"), (half, "event.export")):
        refused = person.request("PUT", "channels/out", channel)
        assert refused.status == 403 and verb in refused.data.decode(), refused.data
        assert m.get("channels/out").status == 404
    made = whole.request("PUT", "channels/out", channel)
    assert made.status == 201, made.data
    assert operator.request("DELETE", "channels/out").status == 403
    assert whole.request("DELETE", "channels/out").status == 204


def test_a_name_of_two_tenants_vms_is_no_obstacle(m):
    """Who waits for his labels gets an answer about his VM, whatever others call theirs."""
    p = make(m, "namer", "tenant-operator", tenant="t0")
    tell(m, {"vm": 1, "is": {"name": "vm0"}})
    m.wait(lambda: m.get("vms/vm0").status == 409, 30, "two of one name")
    assert p.get("vms/vm0").json["uuid"] == VM0
    answer = p.request("PATCH", "vms/vm0/labels?wait=30", {"labels": {"app": "a1"}})
    assert answer.status == 200 and answer.json["uuid"] == VM0, answer.data
    tell(m, {"vm": 1, "is": {"name": "vm1"}})
    m.wait(lambda: m.get("vms/vm0").status == 200, 30, "names of their own")


# ---- looks


def test_what_if_makes_nobody(m):
    before = [t["name"] for t in m.get("tenants").json["items"]]
    auditor = make(m, "looker", "auditor", at="*")
    for who in (m, auditor):
        answer = who.post("policies:diff", POLICY % "ghost", headers={"Content-Type": "text/yaml"})
        assert answer.status == 200 and json.loads(answer.data)["changes"][0]["tenant"] == "ghost", answer.data
    assert [t["name"] for t in m.get("tenants").json["items"]] == before
