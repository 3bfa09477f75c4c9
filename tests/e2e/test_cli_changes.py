# SPDX-License-Identifier: Apache-2.0
"""The command line of what changes policies without fear and of what events lead to, against a real bulkheadd with a
simulated host that tells flows: drafts, commits that wait, hits, suggestions, policies under watch, alerts, channels,
exports."""
import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest

from test_api import BUILD, Manager, pytestmark  # noqa: F401 (what they need, this needs)

CLI = f"{BUILD}/src/cli/bulkhead"
WEB = """kind: Policy
metadata: {name: web, tenant: t0}
spec:
  selector: {matchLabels: {app: a0}}
  egress: [{}]
"""
DB = """kind: Policy
metadata: {name: db, tenant: t0}
spec:
  selector: {matchLabels: {app: a1}}
  ingress:
    - {name: from-web, from: [{selector: {matchLabels: {app: a0}}}], ports: [tcp/3306]}
"""
FLOWS = 12


class World:
    """A manager with one simulated host: vm0 (app a0) and vm2 (app a1) are of tenant t0."""

    def __init__(self, folder):
        self.m = Manager(folder).start()
        self.sim = self.m.simulate(0, 1, 4, 2)
        self.vms = {vm["name"]: vm for vm in self.m.get("vms").json["items"]}

    def run(self, *words, code=0):
        done = subprocess.run([CLI, *map(str, words)], capture_output=True, text=True, timeout=120, check=False,
                              env={"PATH": os.environ["PATH"], "BULKHEAD_RUN_DIR": f"{self.m.dir}/run"})
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *words):
        return json.loads(self.run(*words, "--json").stdout)

    def tell(self, **event):
        self.sim.stdin.write(json.dumps({"host": 0, "event": event}) + "\n")
        self.sim.stdin.flush()

    def tell_flow(self, src, dst, port, **more):
        a, b = self.vms[src], self.vms[dst]
        self.tell(type="flow.new", severity="info", vm=a["uuid"], nic=a["nics"][0]["mac"], net=a["nics"][0]["net"],
                  dir="egress", action="allow", proto="tcp", src=a["nics"][0]["addresses"][0], sport=40000,
                  dst=b["nics"][0]["addresses"][0], dport=port, src_identity=a["identity"], dst_identity=b["identity"],
                  **more)

    def record_flows(self):
        """FLOWS connections of vm0 to vm2, so that talks have them. Told until they are: an hour may end meanwhile."""
        self.tell_flow("vm0", "vm2", 3306, count=FLOWS)
        self.m.wait(lambda: self.json("policy", "suggest", "--tenant", "t0", "--selector", "app=a1")["flows"] >= FLOWS,
                    60, "recorded flows")


@pytest.fixture(scope="module", name="w")
def world_fixture(tmp_path_factory):
    folder = tempfile.mkdtemp(prefix="bh-cli-")
    world = World(folder)
    try:
        web = tmp_path_factory.mktemp("policies") / "web.yaml"
        web.write_text(WEB)
        world.run("policy", "apply", web)
        world.record_flows()
        yield world
    finally:
        world.m.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(name="db")
def db_fixture(w, tmp_path):
    """The policy `db` is in force as DB says, and its file."""
    file = tmp_path / "db.yaml"
    file.write_text(DB)
    w.run("policy", "apply", "--wait=30", file)
    yield file
    if any(p["name"] == "db" for p in w.json("policy", "list")["items"]):
        w.run("policy", "delete", "t0/db")


def other(file, port=3307):
    file.write_text(DB.replace("tcp/3306", f"tcp/{port}"))
    return file


def test_drafts(w, db):
    made = w.run("policy", "draft", "new", "--tenant", "t0", "--title", "another port", "--note", "why", other(db)).stdout
    draft = re.fullmatch(r"Draft (\d+)\n", made).group(1)
    assert "another port" in w.run("policy", "draft", "list").stdout
    assert w.json("policy", "draft", "list", "--tenant", "t1")["items"] == []
    assert w.run("policy", "draft", "show", draft).stdout.rstrip("\n") == db.read_text().rstrip("\n")
    assert w.json("policy", "draft", "show", draft)["note"] == "why"
    check = w.run("policy", "draft", "check", draft).stdout
    assert "~ changed t0/db" in check and "tcp/3307" in check and "Nobody changed the same meanwhile." in check
    what_if = w.run("policy", "draft", "what-if", draft, "--days", 1).stdout
    assert int(re.search(r"(\d+) would be refused", what_if).group(1)) >= FLOWS and "tcp/3306" in what_if
    flows = w.json("policy", "draft", "what-if", draft)["flows"]
    assert flows["would_deny"] >= FLOWS and flows["entries"][0]["service"] == "tcp/3306"
    assert w.json("policy", "draft", "what-if", draft, "--days", 0)["flows"] is None
    w.run("policy", "apply", other(db, 3308))  # somebody else
    conflict = w.run("policy", "draft", "check", draft, code=1).stdout
    assert "CHANGED MEANWHILE" in conflict and "db" in conflict
    assert "rebase the draft" in w.run("policy", "commit", draft, code=5).stderr
    w.run("policy", "draft", "rebase", draft)
    assert "Saved." in w.run("policy", "draft", "edit", draft, other(db, 3309), "--note", "better").stdout
    shown = w.json("policy", "draft", "show", draft)
    assert shown["note"] == "better" and shown["title"] == "another port" and "tcp/3309" in shown["documents"]
    done = w.run("policy", "commit", draft, "--wait=30").stdout
    assert "Revision" in done and "~ changed t0/db" in done and "sim0" in done
    assert "tcp/3309" in w.run("policy", "show", "t0/db").stdout
    assert re.search(rf"{draft} .*revision \d+", w.run("policy", "draft", "list").stdout)
    assert "committed" in w.run("policy", "commit", draft, code=5).stderr
    removal = w.json("policy", "draft", "new", "--tenant", "t0", "--title", "gone", "--remove", "db")["id"]
    assert "- removed t0/db" in w.run("policy", "draft", "check", removal).stdout
    w.run("policy", "commit", removal)
    w.run("policy", "show", "t0/db", code=6)
    for one in (draft, removal):
        w.run("policy", "draft", "delete", one)
    w.run("policy", "draft", "show", draft, code=6)
    w.run("policy", "draft", "new", "--tenant", "t0", "/nowhere.yaml", code=8)
    w.run("policy", "draft", "show", "x", code=6)


def test_commits_that_wait(w, db):
    waiting = w.run("policy", "apply", "--confirm", "10m", other(db)).stdout
    revision = re.search(r"bulkhead policy confirm (\d+)", waiting).group(1)
    listed = w.run("policy", "unconfirmed").stdout
    assert revision in listed and "~t0/db" in listed
    assert f"revision {revision}" in w.run("policy", "delete", "t0/db", code=5).stderr
    w.run("policy", "undo", revision)
    assert "tcp/3306" in w.run("policy", "show", "t0/db").stdout
    assert w.json("policy", "unconfirmed")["items"] == []
    assert "rolled-back" in w.run("policy", "unconfirmed", "--all").stdout
    again = w.json("policy", "apply", "--confirm", "10m", db)["revision"]
    w.run("policy", "confirm", again)
    w.run("policy", "confirm", again, code=6)
    w.run("policy", "undo", again, code=6)
    assert "tcp/3307" in w.run("policy", "show", "t0/db").stdout
    w.run("policy", "confirm", "x", code=6)
    draft = w.json("policy", "draft", "new", "--tenant", "t0", other(db, 3310))["id"]
    assert w.json("policy", "commit", draft, "--confirm", "10m", "--wait=30")["complete"]
    left = w.json("policy", "unconfirmed")["items"][0]
    assert 0 < left["seconds_left"] <= 600
    w.run("policy", "undo", left["revision"], "--wait=30")
    w.run("policy", "draft", "delete", draft)
    w.run("policy", "apply", "--confirm", "soon", db, code=5)


def test_hits(w, db):
    shown = w.run("policy", "hits", "--tenant", "t0", "--policy", "db").stdout
    assert "t0/db ingress[0] from-web" in shown and "HITS" in shown
    never = w.json("policy", "hits", "--never", "--policy", "db")["items"]
    assert [r["name"] for r in never] == ["from-web"] and never[0]["hits"] == 0
    assert w.json("policy", "hits", "--idle", "30d", "--tenant", "t0")["items"]
    assert w.run("policy", "hits", "--tenant", "t1").stdout == "No rules.\n"
    w.run("policy", "hits", "--idle", "long", code=5)


def test_suggestions(w):
    text = w.run("policy", "suggest", "--tenant", "t0", "--selector", "app=a1", "--days", 1).stdout
    assert "kind: Policy" in text and "tcp/3306" in text
    covered, flows = re.search(r"# allows (\d+) of (\d+) recorded", text).groups()
    assert covered == flows and int(flows) >= FLOWS
    kept = w.run("policy", "suggest", "--tenant", "t0", "--selector", "app=a1", "--draft").stdout
    draft = re.fullmatch(r"Draft (\d+)\n", kept).group(1)
    assert "tcp/3306" in w.run("policy", "draft", "show", draft).stdout
    w.run("policy", "draft", "delete", draft)
    assert "No flows" in w.run("policy", "suggest", "--tenant", "t0", "--selector", "app=nothing").stdout
    w.run("policy", "suggest", "--tenant", "t0", code=2)
    w.run("policy", "suggest", "--tenant", "nobody", "--selector", "app=a1", code=6)


def test_watched_policies(w, db, tmp_path):
    """What it would do is asked for, listed, and told by itself."""
    assert w.run("policy", "monitor", "list").stdout == "No policy is watched.\n"
    w.run("policy", "monitor", "start", "t0/db", other(db))
    assert "GOES AWAY" in w.run("policy", "monitor", "list").stdout

    def told():
        w.tell_flow("vm0", "vm2", 3306)  # an hour that ended meanwhile has them again
        return w.json("event", "list", "--type", "policy.monitor")["items"]

    event = w.m.wait(told, 240, "the event")[0]
    assert event["tenant"] == "t0" and event["policy"] == "db" and event["severity"] == "notice"
    assert event["deny"] >= 1 and event["allow"] == 0 and not event["removes"]
    assert re.fullmatch(r"refused: t0 .*app=a0.* -> t0 .*app=a1.* tcp/3306, \d+ flows", event["examples"][0])
    assert "policy.monitor" in w.run("event", "list", "--type", "policy.monitor").stdout
    shown = w.run("policy", "monitor", "show", "t0/db").stdout
    assert "tcp/3306" in shown and "would be refused" in shown
    assert w.json("policy", "monitor", "show", "t0/db")["flows"]["would_deny"] >= event["deny"]
    row = w.json("policy", "monitor", "list")["items"][0]
    assert row["found"]["would_deny"] >= event["deny"] and row["found"]["complete"]
    assert str(row["found"]["would_deny"]) in w.run("policy", "monitor", "list").stdout
    w.run("policy", "monitor", "start", "t0/db", "--remove")
    assert w.json("policy", "monitor", "show", "t0/db")["removes"]
    w.run("policy", "monitor", "start", "t0/db", code=2)
    w.run("policy", "monitor", "start", "t0/db", db, "--remove", code=2)
    w.run("policy", "monitor", "start", "db", db, code=2)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(DB.replace("selector", "selectr", 1))
    w.run("policy", "monitor", "start", "t0/db", wrong, code=5)
    w.run("policy", "monitor", "stop", "t0/db")
    w.run("policy", "monitor", "show", "t0/db", code=6)
    w.run("policy", "monitor", "stop", "t0/db", code=6)


def test_alerts(w):
    assert "No alerts." in w.run("alert", "list", "--type", "guard.spoof").stdout
    w.tell(type="guard.spoof", severity="warning", vm=w.vms["vm0"]["uuid"], reason="spoof", count=3)

    def alerts(*more):
        return w.json("alert", "list", "--type", "guard.spoof", *more)["items"]

    number = w.m.wait(alerts, 60, "the alert")[0]["id"]
    for words in ((), ("-o", "wide"), ("--severity", "warning"), ("--tenant", "t0"), ("--search", "guard")):
        assert "guard.spoof" in w.run("alert", "list", "--type", "guard.*", *words).stdout, words
    assert "guard.spoof" in w.run("alert", "show", number).stdout
    w.run("alert", "acknowledge", number, "--comment", "looking")
    assert w.json("alert", "show", number)["state"] == "acknowledged"
    w.run("alert", "assign", number, "ann")
    assert w.json("alert", "show", number)["assignee"] == "ann"
    w.run("alert", "assign", number)
    assert not w.json("alert", "show", number)["assignee"]
    w.run("alert", "comment", number, "it was the \033[2Jnew printer")
    shown = w.run("alert", "show", number).stdout
    assert "looking" in shown and "new printer" in shown and "\033" not in shown
    w.run("alert", "close", number, "-m", "done")
    assert alerts() == [] and alerts("--state", "closed")[0]["id"] == number
    w.run("alert", "reopen", number)
    assert alerts("--state", "open")[0]["id"] == number
    w.run("alert", "list", "--state", "angry", code=5)
    w.run("alert", "show", 999999, code=6)
    w.run("alert", "close", "x", code=6)


def test_quota_of_events(w):
    """A tenant's flows beyond its quota are counted and told, those of others are kept."""
    shown = w.run("tenant", "quota", "t1").stdout
    assert "WHAT" in shown and re.search(r"events +250000", shown)
    assert w.json("tenant", "quota", "t1", "--events", 5, "--labels", 20)["events"]["limit"] == 5
    assert w.json("tenant", "quota", "t1")["labels"]["limit"] == 20
    for number in range(40):
        w.tell_flow("vm1", "vm3", 6000 + number)
    w.tell_flow("vm0", "vm2", 6100)

    def left():
        told = w.json("event", "list", "--type", "quota.events", "--tenant", "t1")["items"]
        kept = w.json("flow", "list", "--tenant", "t1")["items"]
        return kept and sum(e["left_out"] for e in told) + len(kept) == 40

    w.m.wait(left, 180, "every flow to be kept or told of")
    assert len(w.json("flow", "list", "--tenant", "t1")["items"]) <= 10  # 5, and one for each 12 minutes
    event = w.json("event", "list", "--type", "quota.events")["items"][0]
    assert event["severity"] == "warning" and event["limit"] == 5 and event["reason"] == "quota" and event["since"]
    assert w.json("flow", "list", "--search", "dport:6100")["items"]
    w.m.wait(lambda: w.m.get("map?by=vm&tenant=t1").json["edges"], 60, "talks, which have all")
    assert w.json("tenant", "quota", "t1", "--events", "default", "--labels", "default")["events"]["limit"] == 250000
    w.run("tenant", "quota", "t1", "--events", "many", code=2)
    w.run("tenant", "quota", "t1", "--events", 10**12, code=5)
    w.run("tenant", "quota", "nobody", code=6)


def test_channels(w, tmp_path):
    assert "No channels." in w.run("channel", "list").stdout
    secret = tmp_path / "secret"
    secret.write_text("a secret of 16 bytes and more\n")
    w.run("channel", "set", "hook", "https://127.0.0.1:9/", "--secret-file", secret, "--severity", "critical", "--off")
    assert "hook" in w.run("channel", "list").stdout and "webhook" in w.run("channel", "list", "-o", "wide").stdout
    shown = w.run("channel", "show", "hook").stdout
    assert "127.0.0.1" in shown and "a secret" not in shown
    w.run("channel", "test", "hook")
    w.run("channel", "set", "hook", "ftp://127.0.0.1/", code=5)
    w.run("channel", "set", "hook", "https://127.0.0.1:9/", "--secret-file", "/nowhere", code=8)
    w.run("channel", "remove", "hook")
    w.run("channel", "show", "hook", code=6)


def test_export(w, tmp_path):
    done = w.run("event", "export", "--type", "host.online")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {e["type"] for e in events} == {"host.online"} and done.stderr == f"{len(events)} events\n"
    listed = w.json("event", "list", "--type", "host.online")["items"]
    assert [e["id"] for e in events] == [e["id"] for e in listed]
    file = tmp_path / "events.csv"
    done = w.run("event", "export", "--search", "host.online", "--format", "csv", "--file", file)
    assert done.stdout == "" and done.stderr == f"{len(events)} events\n"
    assert [r["type"] for r in csv.DictReader(io.StringIO(file.read_text()))] == ["host.online"] * len(events)
    before = file.read_bytes()
    assert "exists" in w.run("event", "export", "--file", file, code=8).stderr and file.read_bytes() == before
    none = tmp_path / "none"
    assert w.run("event", "export", "--type", "none.such", "--file", none).stderr == "0 events\n"
    assert none.read_bytes() == b""
    w.run("event", "export", "--since", "later", "--file", tmp_path / "wrong", code=5)
    assert not (tmp_path / "wrong").exists()
    w.run("event", "export", "--format", "xml", code=2)
    assert w.run("event", "export", "--since", "1h", "--tenant", "t0", "--vm", "vm0").stdout.count("\n") >= 1
    with open("/dev/full", "wb") as full:
        done = subprocess.run([CLI, "event", "export"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                              env={"PATH": os.environ["PATH"], "BULKHEAD_RUN_DIR": f"{w.m.dir}/run"})
    assert done.returncode == 8 and "No space left" in done.stderr


def test_export_that_breaks_off(tmp_path):
    """The other side goes away in the middle: said, and no success."""
    path, file = f"{tmp_path}/api.sock", tmp_path / "events"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def serve():
            with server.accept()[0] as client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n9\r\n{\"id\":1}\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        done = subprocess.run([CLI, "event", "export", "--server", path, "--file", file], capture_output=True, text=True,
                              timeout=60, check=False)
        thread.join()
    assert done.returncode == 3 and f"{file} is not complete: cut off after 9 bytes" in done.stderr, done.stderr
    assert file.read_text() == '{"id":1}\n'
