# SPDX-License-Identifier: Apache-2.0
"""Events taken out as one stream, and streams that many read: a real bulkheadd with a store of some thousand events."""
import contextlib
import csv
import http.client
import io
import json
import os
import socket
import sqlite3
import threading

import pytest

from test_accounts import make, running
from test_api import Stream, pytestmark  # noqa: F401 (what they need, this needs)

KEPT = 3500  # several pieces of an export


def old_events(folder):
    """A store as an older version wrote it: the manager takes it over, which is how a test gets many events."""
    os.makedirs(f"{folder}/state")
    db = sqlite3.connect(f"{folder}/state/events.db")
    db.executescript(
        "PRAGMA journal_mode=WAL; CREATE TABLE schema_version (version INTEGER); INSERT INTO schema_version VALUES (1);"
        "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER, severity INTEGER, type TEXT, host TEXT, vm TEXT,"
        " peer TEXT, verdict TEXT, body TEXT);"
        "CREATE TABLE producers (producer TEXT, position INTEGER, epoch TEXT, last INTEGER, PRIMARY KEY (producer, position)) WITHOUT ROWID;"
        "CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;")
    for n in range(KEPT):
        body = {"v": 1, "type": "test.kept", "severity": "info", "number": n, "reason": "=1+1" if n == 7 else f'say "n{n}", twice'}
        db.execute("INSERT INTO events (time, severity, type, body) VALUES (?, 0, 'test.kept', ?)",
                   (1700000000 * 10**9 + n, json.dumps(body, separators=(",", ":"))))
    db.commit()
    db.close()


@pytest.fixture(scope="module", name="m")
def manager_fixture():
    with running(old_events) as manager:
        assert manager.post("tenants", {"name": "shop"}).status == 201
        yield manager


def test_export_is_everything_in_order(m):
    answer = m.get("events:export?type=test.kept")
    assert answer.status == 200 and "attachment" in answer.headers["Content-Disposition"]
    events = [json.loads(line) for line in answer.data.splitlines()]
    assert [e["number"] for e in events] == list(range(KEPT))
    ids = [e["id"] for e in events]
    assert ids == sorted(ids) and len(set(ids)) == KEPT
    one = m.get("events:export?q=n77").data.splitlines()
    assert [json.loads(line)["number"] for line in one] == [77]
    assert m.get("events:export?type=none.such").data == b""
    entry = m.get("audit?act=event.export").json["items"][0]
    assert entry["result"] == "done" and entry["user"] == "unix:0"


def test_export_as_a_table(m):
    text = m.get("events:export?type=test.kept&format=csv").data.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == KEPT and rows[3]["type"] == "test.kept"
    assert rows[7]["reason"] == "'=1+1"  # no formula
    assert json.loads(rows[9]["event"])["reason"] == 'say "n9", twice'
    for bad in ("format=xml", "limit=5", "after=3", "since=later"):
        assert m.get(f"events:export?{bad}").status == 400, bad


def test_export_needs_the_right_and_a_fresh_factor(m):
    operator = make(m, "opal", "tenant-viewer", tenant="shop")
    assert operator.get("events:export").status in (403, 404)
    auditor = make(m, "audrey", "auditor", at="*")
    answer = auditor.get("events:export")
    assert answer.status == 403 and answer.code == "step_up"
    auditor.enroll()
    answer = auditor.get("events:export?type=test.kept")
    assert answer.status == 200 and len(answer.data.splitlines()) == KEPT
    own = make(m, "olga", "tenant-admin", tenant="shop", enroll=True)
    answer = own.get("events:export")
    assert answer.status == 200 and b"test.kept" not in answer.data  # the provider's


def counters(m):
    """Numbers of /metrics by name."""
    lines = m.get("metrics").data.decode().splitlines()
    return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line and not line.startswith("#")}


BEHIND = 10000  # events that a reader of a stream may be behind (docs/events.md)


class Collector(threading.Thread):
    """A reader that keeps up: the ids that came, in their order."""

    def __init__(self, m, query):
        super().__init__(daemon=True)
        self.stream, self.ids = Stream(m, query), []

    def run(self):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            while True:
                self.ids.append(int(self.stream.next()["id"]))


def read_to_end(s):
    """What was on its way to a reader that was cut off."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := s.recv(65536):
            data += piece
    return data


def test_a_reader_that_does_not_read_is_cut_off():
    """It is counted, takes no place any more, and nobody else misses an event or waits. (That it is so far behind, or on
    a slow machine that it took nothing for 30 s.)"""
    with running() as m, socket.socket(socket.AF_UNIX) as slow:
        sim = m.simulate(0, 1, 2, 1)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(f"{m.dir}/run/api.sock")
        slow.settimeout(60)
        slow.sendall(b"GET /v1/events?type=flow.refused HTTP/1.1\r\nHost: m\r\nAccept: text/event-stream\r\n\r\n")
        assert slow.recv(12) == b"HTTP/1.1 200"
        good = Collector(m, "?type=flow.refused")
        good.start()
        m.wait(lambda: m.get("status").json["events"]["followers"] == 2, 30, "both readers")
        flow = json.dumps({"host": 0, "event": {"type": "flow.refused", "severity": "info", "action": "deny",
                                                "reason": "x" * 400}})
        sent = 0
        while not counters(m)["bulkhead_api_followers_dropped_total"]:
            assert sent < 5 * BEHIND, "it is not cut off"
            for _ in range(1000):
                sim.stdin.write(flow + "\n")
            sim.stdin.flush()
            sent += 1000
            m.wait(lambda wanted=sent: len(good.ids) >= wanted, 120, "the reader that keeps up")
        m.wait(lambda: m.get("status").json["events"]["followers"] == 1, 60, "the slow reader's end")
        took = read_to_end(slow).count(b"\nid: ")
        assert took < sent  # the rest of its stream never comes
        assert len(good.ids) == sent == len(set(good.ids)) and good.ids == sorted(good.ids)
        assert counters(m)["bulkhead_api_followers_dropped_total"] == 1
        again = Stream(m, "?type=flow.refused", {"Last-Event-ID": str(good.ids[took - 1] if took else good.ids[0] - 1)})
        assert int(again.next()["id"]) == good.ids[took]  # it goes on where it was
        again.close()


def test_many_readers_share_what_is_new(m):
    readers = [Stream(m, "?type=audit.tenant.create") for _ in range(60)]
    others = [Stream(m, "?type=audit.tenant.delete") for _ in range(2)]
    before = counters(m)
    m.post("tenants", {"name": "shared"})
    told = [reader.next() for reader in readers]
    assert {t["event"] for t in told} == {"audit.tenant.create"} and len({t["data"] for t in told}) == 1
    m.request("DELETE", "tenants/shared")
    assert [other.next()["event"] for other in others] == ["audit.tenant.delete"] * 2
    after = counters(m)
    made, shared = (after[f"bulkhead_{name}"] - before[f"bulkhead_{name}"]
                    for name in ("api_followers_chunks_total", "api_followers_shared_total"))
    assert shared >= 59 and made < shared
    for reader in readers + others:
        reader.close()
