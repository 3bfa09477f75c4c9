# SPDX-License-Identifier: Apache-2.0
"""Power, snapshots and migrations by the API, with real libvirt and guests: who may does, and nobody else."""
import json
import time
import types

import pytest
from labkit import util
from labkit.guest import Guest
from test_accounts import totp
from test_api import SPEC, operation, resolve

HERE = "https://127.0.0.1:7443/v1/"
DISK = "/var/log/libvirt/power.qcow2"
ASKED = set()
POWER = ("start", "shutdown", "reboot", "reset", "suspend", "resume")


class Machine(Guest):
    """With a disk that can hold snapshots, and restarted by a reset instead of ended."""

    def xml(self):
        return super().xml().replace("type='raw' cache='none'", "type='qcow2'").replace("<on_reboot>destroy", "<on_reboot>restart")


class Someone:
    """Asks the API of the lab's manager; name None is root on the unix socket."""

    def __init__(self, world, name=None, password=None):
        self.node, self.name, self.password = world.manager, name, password
        self.bearer = self.secret = None
        self.step = -1

    def ask(self, method, path, body=None):
        where = ["-k", HERE + path] if self.name else ["--unix-socket", "/run/bulkhead/api.sock", "http://localhost/v1/" + path]
        headers = ["-H", f"Authorization: Bearer {self.bearer}"] if self.bearer else []
        data = ["-H", "Content-Type: application/json", "-d", json.dumps(body)] if body is not None else []
        out = self.node.run("curl", "-s", "-X", method, "-w", "\n%{http_code}", *headers, *data, *where, timeout=90).stdout
        text, status = out.rsplit("\n", 1)
        answer = types.SimpleNamespace(status=int(status), json=json.loads(text) if text.strip() else None)
        op = operation(method, "/" + path.split("?")[0])
        if op:
            ASKED.add(op["operationId"])
            known = resolve(op["responses"].get(status) or op["responses"]["default"])
            assert status in op["responses"] or answer.status >= 400, (op["operationId"], status, text)
            if answer.json is not None:
                import jsonschema
                jsonschema.validate(answer.json, known["content"]["application/json"]["schema"])
        answer.code = answer.json["error"]["code"] if answer.status >= 400 else None
        return answer

    def good(self, method, path, body=None, status=200):
        answer = self.ask(method, path, body)
        assert answer.status == status, (method, path, answer.status, answer.json)
        return answer.json

    def login(self):
        told = self.good("POST", "login", {"user": self.name, "password": self.password, "bearer": True})
        self.bearer = told["token"]
        return self

    def code(self):
        """Each code is good once, and only those around now are."""
        self.step = max(self.step + 1, int(time.time()) // 30)
        util.wait_until("the next code", lambda: int(time.time()) // 30 >= self.step - 1, 40, 0.2)
        return totp(self.secret, self.step - int(time.time()) // 30)

    def enroll(self):
        self.secret = self.good("POST", "me/totp", {})["secret"]
        self.bearer = self.good("POST", "me/totp:confirm", {"code": self.code()}).get("token") or self.bearer
        return self

    def step_up(self):
        self.bearer = self.good("POST", "session/step-up", {"method": "totp", "code": self.code()}).get("token") or self.bearer


def make(world, name, role, tenant="shop", at=None, enroll=True):
    root = Someone(world)
    body = {"name": name, "tenant": tenant, "password": "first-login-of-it", "role": role, "at": at or tenant}
    told = root.good("POST", "users", body, 201)
    one = Someone(world, told["name"], body["password"]).login()
    one.good("POST", "me/password", {"old": one.password, "new": "quite another 4 words"}, 204)
    one.password = "quite another 4 words"
    one.login()
    return one.enroll() if enroll else one


@pytest.fixture(scope="module", name="place")
def place_fixture(world):
    """A VM with a disk on h1, one without on h1, and people; root's settings are put back at the end."""
    host, root = world.host(1), Someone(world)
    host.sh(f"qemu-img create -q -f qcow2 {DISK} 16M")
    vm = Machine(host, "power", address="10.78.0.81/24", tenant="shop", labels={"role": "power"}, disk=DISK)
    light = Guest(host, "light", address="10.78.0.82/24", tenant="shop", labels={"role": "power"})
    for one in (vm, light):
        one.define()
        host.guests[one.name] = world.guests[one.name] = one
        world.manager.cli("status")
    util.wait_until("the manager to know the VMs", lambda: root.ask("GET", f"vms/{light.uuid}").status == 200 and
                    root.ask("GET", f"vms/{vm.uuid}").status == 200, 20, 0.1)
    people = types.SimpleNamespace(
        operator=make(world, "op", "tenant-operator"), bare=make(world, "bare", "tenant-operator", enroll=False),
        admin=make(world, "boss", "tenant-admin"), viewer=make(world, "view", "tenant-viewer"),
        other=make(world, "rival", "tenant-admin", "rival"), provider=make(world, "carol", "provider-admin", "provider", "*"))
    try:
        yield types.SimpleNamespace(world=world, root=root, vm=vm, light=light, **vars(people))
    finally:
        root.ask("PUT", "settings/approvals", {"verbs": []})
        root.ask("PATCH", f"hosts/{world.host(2).name}/labels", {"labels": {"pool": None}})
        for user in ("op@shop", "bare@shop", "boss@shop", "view@shop", "rival@rival", "carol"):
            root.ask("DELETE", f"users/{user}")
        for one in (vm, light):
            for where in world.hosts:
                where.virsh("destroy", one.name, check=False)
                where.virsh("undefine", "--snapshots-metadata", one.name, check=False)
            one.remove()
            util.wait_until("the manager to let it go", lambda uuid=one.uuid: root.ask("DELETE", f"vms/{uuid}").status in (204, 404),
                            20, 0.2)
        world.manager.wait_in_sync()


def acts(uuid):
    """Every act on a VM that changes something."""
    return [*(("POST", f"vms/{uuid}:{act}", None) for act in POWER), ("POST", f"vms/{uuid}:destroy", None),
            ("POST", f"vms/{uuid}:migrate", {"host": "h2"}), ("POST", f"vms/{uuid}/snapshots", {"name": "s"}),
            ("POST", f"vms/{uuid}/snapshots/s:revert", None), ("DELETE", f"vms/{uuid}/snapshots/s", None)]


def state(place, vm):
    return vm.host.virsh("domstate", vm.name).stdout.strip()


def entries(place, act):
    return [e for e in place.root.good("GET", f"audit?act={act}&object=vm/{place.vm.uuid}&limit=100")["items"]]


def test_refused(place):
    """No right, no second factor, no such VM for him; and nothing happens."""
    uuid, nobody = place.vm.uuid, "00000000-0000-4000-8000-0000000000ff"
    for method, path, body in acts(uuid):
        assert place.viewer.ask(method, path, body).code == "forbidden", path
        answer = place.bare.ask(method, path, body)
        expected = "forbidden" if any(w in path for w in ("destroy", "migrate", "revert")) or method == "DELETE" else "step_up"
        assert answer.code == expected, (path, answer.json)  # SL-18
    for (method, path, body), (_, gone, _) in zip(acts(uuid), acts(nobody)):
        theirs, none = place.other.ask(method, path, body), place.other.ask(method, gone, body)
        assert (theirs.status, none.status) == (404, 404), path
        assert json.dumps(theirs.json).replace(uuid, nobody) == json.dumps(none.json)
    assert place.operator.ask("POST", f"vms/{uuid}:destroy").code == "forbidden"
    assert place.operator.ask("POST", f"vms/{uuid}:migrate", {"host": "h2"}).code == "forbidden"
    assert place.provider.ask("POST", f"vms/{uuid}/snapshots", {"name": "s"}).code == "forbidden"  # its memory is the tenant's
    assert place.operator.ask("POST", f"vms/{uuid}/snapshots", {"name": "-s"}).code == "bad_request"
    assert place.operator.ask("POST", f"vms/{uuid}:start", {"reason": "x\ny"}).code == "bad_request"
    token = place.bare.good("POST", "me/tokens", {"name": "t", "verbs": ["vm.read", "vm.power"], "tenant": "shop"}, 201)
    robot = Someone(place.world, "robot")
    robot.bearer = token["token"]
    assert robot.ask("POST", f"vms/{uuid}:start").code == "forbidden"
    assert state(place, place.vm) == "shut off"


def test_power(place):
    """Started protected; each act once, however often it is asked for; what it was before and after stands in the log."""
    uuid, op = place.vm.uuid, place.operator
    first = op.good("POST", f"vms/{uuid}:start?wait=30", {"request": "monday", "reason": "work"})
    assert (first["state"], first["vm_state"], first["changed"], first["by"]) == ("done", "running", True, "user:op@shop")
    assert "host" not in first and first["reason"] == "work"
    assert op.good("POST", f"vms/{uuid}:start?wait=30", {"request": "monday"})["id"] == first["id"]
    again = op.good("POST", f"vms/{uuid}:start?wait=30")
    assert again["id"] != first["id"] and again["changed"] is False
    place.vm.wait()
    assert all(nic["protected"] for nic in place.root.good("GET", f"vms/{uuid}")["nics"])
    assert op.good("POST", f"vms/{uuid}:suspend")["vm_state"] == "paused"
    assert state(place, place.vm) == "paused"
    assert op.good("POST", f"vms/{uuid}:resume")["vm_state"] == "running"
    up = place.vm.call("hello")["up_us"]
    assert op.good("POST", f"vms/{uuid}:reset", {"request": "once"})["state"] == "done"
    place.vm.wait()
    util.wait_until("the guest anew", lambda: place.vm.call("hello")["up_us"] < up + 1000000, 30, 0.2)
    up = place.vm.call("hello")["up_us"]
    assert op.good("POST", f"vms/{uuid}:reset", {"request": "once"})["state"] == "done"
    assert place.vm.call("hello")["up_us"] > up  # it was not reset once more
    assert op.good("POST", f"vms/{uuid}:reboot")["state"] == "done"
    seen = entries(place, "vm.start")
    begun = [e for e in seen if e["user"] == "op@shop" and e["state"] == "begun"]
    done = [e for e in seen if e["user"] == "op@shop" and e["state"] == "done" and e["result"] == "done"]
    assert begun and any(e["before"] == {"state": "shutoff"} and e["after"]["state"] == "running" for e in done), seen
    event = place.world.manager.wait_event(lambda e: e["type"] == "vm.order" and e.get("order") == first["id"], ("--since", "600s"))
    assert event["act"] == "start" and event["by"] == "user:op@shop"
    orders = op.good("GET", f"orders?vm={uuid}")
    assert orders["items"][-1]["id"] == first["id"]
    assert place.other.good("GET", "orders")["total"] == 0
    assert place.other.ask("GET", f"orders/{first['id']}").status == 404


def test_shutdown(place):
    """The guest is asked; an order can be given up, and one that goes on ends by itself, on record."""
    uuid, op = place.vm.uuid, place.operator
    waiting = op.good("POST", f"vms/{uuid}:shutdown?wait=0", None, 202)
    assert waiting["state"] == "running"
    assert op.ask("POST", f"vms/{uuid}:suspend").code == "busy"
    assert place.viewer.ask("POST", f"orders/{waiting['id']}:cancel").code == "forbidden"
    op.good("POST", f"orders/{waiting['id']}:cancel", None, 202)
    given_up = util.wait_until("it to be given up", lambda: ended(op, waiting), 15, 0.1)
    assert given_up["state"] == "failed" and "still runs" in given_up["error"]
    waiting = op.good("POST", f"vms/{uuid}:shutdown?wait=0", None, 202)
    with pytest.raises(Exception):
        place.vm.call("off", timeout=3)  # the guest of the lab does not hear the button
    done = util.wait_until("it to be off", lambda: ended(op, waiting), 20, 0.1)
    assert (done["state"], done["vm_state"]) == ("done", "shutoff")
    util.wait_until("the entry of its end", lambda: any(waiting["id"] in (e.get("reason") or "") for e in entries(place, "order.end")),
                    10, 0.2)


def ended(who, order):
    now = who.good("GET", f"orders/{order['id']}")
    return now if now["state"] != "running" else None


def test_snapshots(place):
    """Taken by an operator, gone back to by an administrator with a fresh factor; the VM comes back in quarantine."""
    uuid = place.vm.uuid
    place.operator.good("POST", f"vms/{uuid}:start?wait=30")
    place.vm.wait()
    taken = place.operator.good("POST", f"vms/{uuid}/snapshots?wait=60", {"name": "was", "description": "before <it>"})
    assert (taken["state"], taken["name"]) == ("done", "was")
    failed = place.operator.ask("POST", f"vms/{uuid}/snapshots?wait=60", {"name": "was"})
    assert (failed.status, failed.code) == (409, "failed")
    found = place.operator.good("GET", f"vms/{uuid}/snapshots")
    assert [(s["name"], s["description"], s["state"], s["current"]) for s in found["items"]] == \
        [("was", "before <it>", "running", True)]
    assert "description" not in place.viewer.good("GET", f"vms/{uuid}/snapshots")["items"][0]
    assert place.operator.ask("POST", f"vms/{uuid}/snapshots/was:revert").code == "forbidden"
    place.admin.step_up()
    assert place.admin.ask("POST", f"vms/{uuid}/snapshots/wasnt:revert").code == "failed"
    back = place.admin.good("POST", f"vms/{uuid}/snapshots/was:revert?wait=60")
    assert (back["state"], back["vm_state"]) == ("done", "running")
    util.wait_until("its quarantine", lambda: place.root.good("GET", f"vms/{uuid}")["quarantine"], 15, 0.2)
    place.root.good("PUT", f"vms/{uuid}/quarantine", {"on": False})
    assert place.admin.good("DELETE", f"vms/{uuid}/snapshots/was?wait=60")["state"] == "done"
    assert place.operator.good("GET", f"vms/{uuid}/snapshots")["items"] == []


def test_destroy_with_a_second_person(place):
    """Where settings say so an administrator needs somebody else's yes, and it holds for as long as was said."""
    uuid = place.vm.uuid
    place.root.good("PUT", "settings/approvals", {"verbs": ["vm.destroy"]})
    assert place.admin.ask("POST", f"vms/{uuid}:destroy").code == "approval"
    wish = place.admin.good("POST", "requests", {"kind": "grant", "verb": "vm.destroy", "object": f"vm/{uuid}", "tenant": "shop",
                                                  "hours": 1, "reason": "it is stuck"}, 201)
    assert place.admin.ask("POST", f"requests/{wish['id']}:approve", {"reason": "it is"}).status == 403
    place.root.good("POST", f"requests/{wish['id']}:approve", {"reason": "it is"})
    done = place.admin.good("POST", f"vms/{uuid}:destroy?wait=30")
    assert (done["state"], done["vm_state"]) == ("done", "shutoff")
    entry = next(e for e in entries(place, "vm.destroy") if e["result"] == "done" and e["state"] == "done")
    assert entry["approval"] == f"request/{wish['id']}"
    place.root.good("PUT", "settings/approvals", {"verbs": []})


def test_migrate(place):
    """By the provider, in the pool; into another one only with a factor shown just now."""
    light, provider, target = place.light, place.provider, place.world.host(2)
    place.operator.good("POST", f"vms/{light.uuid}:start?wait=30")
    light.wait()
    place.root.good("PATCH", f"hosts/{target.name}/labels", {"labels": {"pool": "gold"}})
    assert provider.ask("POST", f"vms/{light.uuid}:migrate", {"host": "nowhere"}).status == 404
    assert provider.ask("POST", f"vms/{light.uuid}:migrate", {"host": light.host.name}).code == "conflict"
    place.root.good("PATCH", "settings/accounts", {"fresh_s": 30})
    try:
        util.wait_until("the factor to be stale", lambda: provider.good("GET", "session")["second_factor"]["age_s"] > 30, 40, 1)
        assert provider.ask("POST", f"vms/{light.uuid}:migrate", {"host": target.name}).code == "step_up"
    finally:
        place.root.good("PATCH", "settings/accounts", {"fresh_s": 300})
    place.root.good("PATCH", f"hosts/{target.name}/labels", {"labels": {"pool": None}})
    moved = provider.good("POST", f"vms/{light.uuid}:migrate?wait=60", {"host": target.name})
    assert (moved["state"], moved["to"]) == ("done", target.name)
    light.moved(target)
    assert state(place, light) == "running" and light.wait()
    util.wait_until("the manager to know", lambda: place.root.good("GET", f"vms/{light.uuid}")["host"] == target.name, 15, 0.2)


def test_every_operation_was_asked():
    operations = {op["operationId"] for item in SPEC["paths"].values() for method, op in item.items()
                  if method in ("get", "put", "post", "patch", "delete") and "power" in op.get("tags", [])}
    assert operations - ASKED == set()
