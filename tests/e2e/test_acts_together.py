# SPDX-License-Identifier: Apache-2.0
"""Acts of many people at once share their waits for the disk; what anybody was told of is on record, also over kill -9."""
import collections
import concurrent.futures
import http.client
import json
import signal
import threading

from test_api import Manager, audited, own_fixture, pytestmark, verify  # noqa: F401

WORKERS, KILLS = 12, 3


def entries(manager):
    """All of the log, oldest first, by the request that they belong to; the export is verified."""
    data = manager.get("audit:export").data
    code, report = verify(manager, data)
    assert code == 0, report
    acts = collections.defaultdict(list)
    for line in data.splitlines():
        entry = json.loads(line).get("entry", {})
        if entry.get("act") == "tenant.create":
            acts[entry["request"]].append(entry)
    return acts


def test_many_at_once(own):
    own.start()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(lambda i: own.post("tenants", {"name": f"t{i % 40}"}).status, range(80)))
    assert sorted(set(answers)) == [201, 409] and answers.count(201) == 40
    acts = entries(own)
    assert len(acts) == 80
    for request, both in acts.items():
        assert {e["state"] for e in both} == {"begun", "done"} and both[0]["state"] == "begun", request
    assert sorted(e["object"] for e in audited(own, "&act=tenant.create&result=done") if e["tenant"] == 1) != []


def create_until_it_dies(own, worker, answered, enough):
    for i in range(100000):
        name = f"w{worker}-{i}-{len(answered)}"
        try:
            if own.post("tenants", {"name": name}, checked=False).status == 201:
                answered.append(name)
        except (OSError, http.client.HTTPException):
            return
        if len(answered) >= 25:
            enough.set()


def test_no_answer_without_its_record(own):
    """kill -9 amid acts: whatever was answered has its end in the log, and every act that began has exactly one."""
    own.start()
    answered = []
    for kill in range(KILLS):
        enough, now = threading.Event(), []
        threads = [threading.Thread(target=create_until_it_dies, args=(own, f"{kill}-{n}", now, enough)) for n in range(WORKERS)]
        for thread in threads:
            thread.start()
        assert enough.wait(120), own.tail()
        own.stop(signal.SIGKILL)
        for thread in threads:
            thread.join(120)
        answered += now
        own.start()
    ends = collections.Counter()
    told = set()
    for both in entries(own).values():
        assert [e["state"] for e in both][:1] == ["begun"]
        assert len({e["state"] for e in both[1:]}) == 1, both
        ends[both[1]["state"]] += 1
        told |= {e["object"].removeprefix("tenant/") for e in both if e["state"] == "done"}
    assert set(answered) <= told, sorted(set(answered) - told)
    assert ends["done"] >= len(answered)
    there = {t["name"] for t in own.get("tenants?limit=10000").json["items"]}
    assert set(answered) <= there
