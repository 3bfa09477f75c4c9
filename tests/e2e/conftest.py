# SPDX-License-Identifier: Apache-2.0
"""Shared by the tests with hosts and guests: one world per process, policies put back after each test.

world    a lab with two hosts, manager and hostds in sync, and the guests web (h1), db and web2 (h2) of tenant
         shop, evil (h1) of tenant rival, all on br0 with IPv4 and IPv6, with servers on their usual ports
yard     the world with a VM that moves and the policies for it; each test finds it as the first one did
policy   apply(text): documents for the time of one test, in place of the base ones
"""
import os
import shutil
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{ROOT}/tests/lab")
from labkit import manager as bulkhead  # noqa: E402
from labkit import util  # noqa: E402
from labkit.lab import Lab  # noqa: E402

BASE_POLICY = """
kind: Policy
metadata: {name: base-egress, tenant: provider}
spec:
  tier: default
  tenants: [shop, rival]
  selector: {}
  egress:
    - {name: out, action: allow}
---
kind: Policy
metadata: {name: db, tenant: shop}
spec:
  selector: {matchLabels: {role: db}}
  ingress:
    - name: from-web
      from: [{selector: {matchLabels: {role: web}}}]
      ports: [tcp/3306, udp/53, sctp/3868, icmp, icmpv6]
    - name: no-telnet
      action: reject
      ports: [tcp/23, udp/69]
---
kind: Policy
metadata: {name: web, tenant: shop}
spec:
  selector: {matchLabels: {role: web}}
  ingress:
    - {name: http, ports: [tcp/80]}
"""
TENANTS = ["provider", "shop", "rival"]
EMPTY = """
kind: Policy
metadata: {name: nothing, tenant: TENANT}
spec: {selector: {matchLabels: {no: body}}, directions: [ingress]}
"""
GUESTS = [("web", 1, 11, "shop", "web"), ("db", 2, 12, "shop", "db"), ("web2", 2, 13, "shop", "web"),
          ("evil", 1, 66, "rival", "web")]


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="every hostile string at every place of the API (minutes)")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes minutes")


def all_documents(text):
    """The documents, and for tenants without any a policy that selects nobody: prune works by tenant."""
    missing = [t for t in TENANTS if f"tenant: {t}" not in text]
    return "\n---\n".join([text] + [EMPTY.replace("TENANT", t) for t in missing])


def apply(world, text):
    path = f"{world.manager.dir}/test.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(all_documents(text))
    return world.manager.json("policy", "apply", path, "--prune", "--wait=30", timeout=60)


def add_guest(world, name, host, number, tenant, role, **options):
    return world.host(host).guest(name, address=f"10.78.0.{number}/24", address6=f"fd78::{number}/64",
                                  tenant=tenant, labels={"role": role}, **options)


def start_servers(guest):
    for port, proto in ((3306, "tcp"), (22, "tcp"), (53, "udp"), (69, "udp"), (3868, "sctp")):
        guest.serve(port, proto)
    guest.serve(80, mode="http")


@pytest.fixture(scope="session")
def world():
    lab = Lab(f"e2e{os.getpid()}", hosts=2)
    try:
        lab.up(bulkhead=True)
        lab.manager.install_host(lab.host(2), sizes={"nic_vlans": 16})  # test_migration_room.py
        lab.manager.start_all()
        apply(lab, BASE_POLICY)
        guests = [add_guest(lab, *one) for one in GUESTS]
        lab.start_guests(*guests)
        for guest in guests:
            start_servers(guest)
        lab.manager.wait_in_sync()
        yield lab
    finally:
        logs = f"{bulkhead.build_dir()}/e2e-logs{os.environ.get('PYTEST_XDIST_WORKER', '')}"
        shutil.rmtree(logs, ignore_errors=True)
        lab.manager.save_logs(logs)
        lab.down()


@pytest.fixture
def policy(world):
    yield lambda text: apply(world, text)
    apply(world, BASE_POLICY)


@pytest.fixture(scope="module")
def yard(world):
    """The world with a VM that moves, and the policies for it (moving.py)."""
    from moving import POLICY, Yard
    apply(world, POLICY)
    place = Yard(world)
    try:
        yield place.start()
    finally:
        place.stop()
        apply(world, BASE_POLICY)


@pytest.fixture(autouse=True)
def at_home(request):
    """Whatever a test with a yard does, and however it ends, the next one begins at home."""
    yield
    if "yard" in request.fixturenames:
        request.getfixturevalue("yard").home()


@pytest.fixture
def temporary(world):
    """Guests for one test: temporary(guest) -> started guest, removed afterwards."""
    made = []

    def start(*guests):
        made.extend(guests)
        world.start_guests(*guests)
        return guests[0] if len(guests) == 1 else guests
    yield start
    for guest in made:
        guest.remove()
    gone = {guest.name for guest in made}
    util.wait_until("the manager without the guests of the test",
                    lambda: not gone & {vm["name"] for vm in world.manager.json("vm", "list")["items"]}, 30, 0.1)
    world.manager.wait_in_sync()  # or the next test takes the change for its own


@pytest.fixture(autouse=True)
def logs_on_failure(request):
    """When a test with a world fails, the last lines of every daemon go into its report."""
    yield
    failed = getattr(request.node, "failed", False)
    if failed and "world" in request.fixturenames:
        print(request.getfixturevalue("world").manager.logs(20))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if call.when != "call" or not report.failed:
        return
    item.failed = True
    guests = item.funcargs["yard"].world.guests.values() if "yard" in item.funcargs else ()
    died = [f"{guest.name}: {said}" for guest in guests if (said := guest.crash())]
    if died:  # nothing can be said of a VM that is dead; see Guest.crash
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1], f"the guest's own kernel died: {'; '.join(died)}")
