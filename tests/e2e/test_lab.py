# SPDX-License-Identifier: Apache-2.0
"""The lab and the demo leave nothing behind, also when they die half-way."""
import glob
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import time

import pytest

from conftest import ROOT
from labkit import util
from labkit.node import processes_marked


def traces(name):
    found = [f"process {pid}" for pid in processes_marked(f"{name}/")]
    found += glob.glob(f"/sys/fs/cgroup/**/bulkhead-lab.{name}.*", recursive=True)
    found += [line for line in util.read("/proc/mounts").splitlines() if f"/{name}/" in line]
    found += glob.glob(f"{util.LAB_DIR}/{name}*")
    return found


@pytest.mark.parametrize("after", [0.3, 1.0, 2.5])
def test_a_lab_killed_half_way_can_be_removed(after):
    name = f"half{os.getpid()}"
    with subprocess.Popen([f"{ROOT}/tests/lab/lab", "up", name], start_new_session=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as lab:
        time.sleep(after)  # the moment is the point
        os.kill(lab.pid, signal.SIGKILL)
    util.run(f"{ROOT}/tests/lab/lab", "down", name)
    assert traces(name) == []
    util.run(f"{ROOT}/tests/lab/lab", "down", name)  # and again: nothing to do is no error


def the_console_lets_in(said):
    """Who can log in, as the demo tells a person; or why nobody can."""
    url = re.search(r"The web console: https://([\d.]+):(\d+)/", said)
    if not url:
        assert "The web console is not there: " in said
        return
    people = re.findall(r"user (\S+) +password (\S+)", said)
    assert len(people) == 2
    for name, password in people:
        connection = http.client.HTTPSConnection(url[1], int(url[2]), timeout=60,
                                                 context=ssl._create_unverified_context())  # pylint: disable=protected-access
        connection.request("GET", "/")
        page = connection.getresponse()
        assert page.status == 200 and b"<div id=\"root\">" in page.read()
        connection.request("POST", "/v1/login", json.dumps({"user": name, "password": password}),
                           {"Content-Type": "application/json"})
        session = json.loads(connection.getresponse().read())["session"]
        assert not session.get("must_change") and session["verbs"]
        connection.close()


def test_the_demo_shows_what_the_policy_says_and_leaves_no_trace():
    name = f"demo{os.getpid()}"
    env = {**os.environ, "BULKHEAD_DEMO": name}
    try:
        done = util.run(f"{ROOT}/demo", check=False, timeout=300, env=env)
        print(done.stdout, done.stderr)
        assert done.returncode == 0 and "everything went as the policy says" in done.stdout
        assert "Three things to try" in done.stdout
        the_console_lets_in(done.stdout)
        assert "web's connection to db: the same one" in done.stdout and "moved" in done.stdout
        explained = util.run(f"{ROOT}/demo", "bulkhead", "policy", "explain", "--from", "attacker", "--to", "db",
                             "--port", "tcp/3306", env=env, check=False)
        assert "implicit deny" in explained.stdout
        assert "db" in util.run(f"{ROOT}/demo", "status", env=env).stdout
    finally:
        util.run(f"{ROOT}/demo", "stop", env=env)
    assert traces(name) == []


def test_the_demo_says_that_it_needs_root():
    done = util.run("setpriv", "--reuid=65534", "--clear-groups", f"{ROOT}/demo", check=False)
    assert done.returncode == 1 and "sudo ./demo" in done.stderr
