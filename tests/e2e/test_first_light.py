# SPDX-License-Identifier: Apache-2.0
"""One policy, enforced on two hosts, every decision visible."""
import pytest

from conftest import BASE_POLICY
from helpers import NO, holds, magic, quiet, wait_flow, wait_stat


def names(world):
    return {g: world.guests[g] for g in ("web", "db", "web2", "evil")}


def test_status_says_installed_is_intended(world):
    status = world.manager.status()
    assert status["in_sync"] and status["hosts"] == {"total": 2, "online": 2, "in_sync": 2}
    for host in status["host_list"]:
        assert host["installed"] == host["intended"] and len(host["intended"]) == 64


def test_inventory_is_what_libvirt_shows(world):
    vms = {v["name"]: v for v in world.manager.json("vm", "list")["items"]}
    for name, guest in names(world).items():
        vm = vms[name]
        assert vm["uuid"] == guest.uuid and vm["host"] == guest.host.name and vm["state"] == "running"
        nic = vm["nics"][0]
        assert nic["mac"] == guest.mac and nic["dev"] == guest.tap() and nic["protected"], nic
        assert guest.address in nic["addresses"] and nic["network"] == "bridge/br0"


@pytest.mark.parametrize("source, target, port, result", [
    ("web", "db", 3306, "connected"),    # other host
    ("web2", "db", 3306, "connected"),   # same host
    ("evil", "web", 80, "connected"),    # any peer
    ("web", "db", 22, "timeout"),        # implicit deny
    ("evil", "db", 3306, "timeout"),     # label of another tenant
    ("web", "db", 23, "refused"),        # reject: RST
])
def test_tcp(world, source, target, port, result):
    guests = names(world)
    assert guests[source].tcp(guests[target].address, port, timeout_ms=1200) == result
    assert guests[source].tcp(guests[target].address6, port, timeout_ms=1200) == result


def test_flow_records_name_the_rule(world):
    web, db, evil = (world.guests[n] for n in ("web", "db", "evil"))
    since = world.manager.last_event()
    assert web.tcp(db.address, 3306, send="x") == "connected"
    assert evil.tcp(db.address, 3306, timeout_ms=800) == "timeout"
    new = wait_flow(world, "flow.new", web, db, since, dport=3306)
    assert "from-web" in new["rule_text"] or "out" in new["rule_text"]
    refused = wait_flow(world, "flow.refused", evil, db, since, dport=3306)
    assert "implicit deny" in refused["rule_text"]
    assert refused["src_vm"] == "evil" and refused["dst_vm"] == "db" and refused["vm_name"] == "db"
    closed = wait_flow(world, "flow.closed", web, db, since, dport=3306)
    assert sum(closed["packets"]) >= 6 and sum(closed["bytes"]) > 200


def test_explain_agrees(world):
    def verdict(source, target, port):
        return world.manager.json("policy", "explain", "--from", source, "--to", target, "--port", port)
    assert verdict("web", "db", "tcp/3306")["verdict"] == "allow"
    no = verdict("evil", "db", "tcp/3306")
    assert no["verdict"] == "deny" and no["ingress"]["rule"] == 1
    yes = verdict("web", "db", "tcp/3306")["ingress"]
    assert yes["policy"] == "shop/db" and yes["line"] > 0


def test_udp_icmp_sctp(world):
    web, db, evil = (world.guests[n] for n in ("web", "db", "evil"))
    for address in (db.address, db.address6):
        assert web.udp(address, 53) == "connected"
        assert web.udp(address, 69, timeout_ms=1000) in ("unreachable", "refused")  # reject: ICMP
        assert evil.udp(address, 53, timeout_ms=700) == "timeout"
        assert web.ping(address) and not evil.ping(address, timeout_ms=700)
        assert web.tcp(address, 3868, proto="sctp", send="x") == "connected"
        assert evil.tcp(address, 3868, proto="sctp", timeout_ms=700) in NO


def test_fragments(world):
    web, db, evil = (world.guests[n] for n in ("web", "db", "evil"))
    for address in (db.address, db.address6):
        assert web.udp(address, 53, size=8000) == "connected"
    mark = magic().hex()
    db.capture("frag", match=bytes.fromhex(mark))
    assert evil.udp(db.address, 53, size=4000, send=mark, timeout_ms=700) == "timeout"
    quiet()
    assert db.stop("frag")["matched"] == 0


def test_a_change_cuts_what_is_now_denied_and_nothing_else(world, policy):
    web, web2, db = (world.guests[n] for n in ("web", "web2", "db"))
    web.flow("kept", db.address, 3306)
    web2.flow("kept6", db.address6, 3306)
    web.flow("cut", db.address, 53, proto="udp")
    web.flow("pings", db.address, proto="icmp")
    for guest, name in ((web, "kept"), (web2, "kept6"), (web, "cut"), (web, "pings")):
        holds(guest, name)
    policy(BASE_POLICY.replace("tcp/3306, udp/53, sctp/3868, icmp, icmpv6", "tcp/3306, icmp"))
    before = web.stat("cut")
    wait_stat(web, "cut", lambda s: s["timeouts"] >= before["timeouts"] + 2, what="timeouts of the cut flow")
    after = web.stat("cut")
    assert after["received"] - before["received"] <= 1
    holds(web, "kept")
    holds(web2, "kept6")
    holds(web, "pings")
    for guest, name in ((web, "kept"), (web2, "kept6"), (web, "cut"), (web, "pings")):
        guest.stop(name)


def test_a_label_moves_a_vm_under_other_rules(world):
    evil, db, web = (world.guests[n] for n in ("evil", "db", "web"))
    assert web.tcp(db.address, 3306) == "connected"
    try:
        world.manager.cli("label", "set", "web", "role=guest")
        world.manager.wait_in_sync()
        assert web.tcp(db.address, 3306, timeout_ms=800) == "timeout"
        assert evil.tcp(db.address, 3306, timeout_ms=800) == "timeout"
    finally:
        world.manager.cli("label", "remove", "web", "role", check=False)
        world.manager.wait_in_sync()
    assert web.tcp(db.address, 3306) == "connected"


def test_guardrail_wins_over_tenant(world, policy):
    web, db = world.guests["web"], world.guests["db"]
    policy(BASE_POLICY + """
---
kind: Policy
metadata: {name: freeze, tenant: provider}
spec:
  tier: guardrail
  tenants: [shop]
  selector: {matchLabels: {role: db}}
  ingress:
    - {name: no-mysql, action: deny, ports: [tcp/3306]}
""")
    since = world.manager.last_event()
    assert web.tcp(db.address, 3306, timeout_ms=800) == "timeout"
    assert web.ping(db.address)
    assert "no-mysql" in wait_flow(world, "flow.refused", web, db, since, dport=3306)["rule_text"]


def test_cidr_and_world(world, policy):
    web = world.guests["web"]
    switch = world.switch  # 10.78.0.100: no VM, no host

    def reach():
        return switch.run("curl", "-s", "-m", "1", f"http://{web.address}/", check=False).returncode == 0
    assert reach()
    policy(BASE_POLICY.replace("{name: http, ports: [tcp/80]}", "{name: http, from: [{cidr: 10.78.0.64/26}], ports: [tcp/80]}"))
    assert reach() and world.guests["evil"].tcp(web.address, 80) == "connected"
    assert world.guests["db"].tcp(web.address, 80, timeout_ms=800) == "timeout"
    policy(BASE_POLICY.replace("{name: http, ports: [tcp/80]}", "{name: http, from: [{entity: world}], ports: [tcp/80]}"))
    assert reach() and world.guests["evil"].tcp(web.address, 80, timeout_ms=800) == "timeout"
    policy(BASE_POLICY.replace("{name: http, ports: [tcp/80]}",
                               "{name: http, from: [{cidr: 10.78.0.0/16, except: [10.78.0.100/32]}], ports: [tcp/80]}"))
    assert not reach()


def test_host_peer(world, policy):
    web, host = world.guests["web"], world.host(1)

    def reach():
        return host.run("curl", "-s", "-m", "1", f"http://{web.address}/", check=False).returncode == 0
    policy(BASE_POLICY.replace("{name: http, ports: [tcp/80]}", "{name: http, from: [{entity: host}], ports: [tcp/80]}"))
    assert reach() and world.guests["evil"].tcp(web.address, 80, timeout_ms=800) == "timeout"
    policy(BASE_POLICY.replace("{name: http, ports: [tcp/80]}", "{name: http, from: [{entity: world}], ports: [tcp/80]}"))
    assert not reach()


def test_a_wrong_document_changes_nothing(world):
    before = world.manager.status()["revision"]
    path = f"{world.manager.dir}/wrong.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(BASE_POLICY.replace("selector: {matchLabels: {role: web}}", "selectr: {}"))
    done = world.manager.cli("policy", "apply", path, check=False)
    assert done.returncode and "selectr" in done.stderr and "wrong.yaml" in done.stderr
    assert world.manager.status()["revision"] == before


def test_rollback(world, policy):
    web, db = world.guests["web"], world.guests["db"]
    before = world.manager.status()["revision"]
    policy(BASE_POLICY.replace("tcp/3306, ", ""))
    assert web.tcp(db.address, 3306, timeout_ms=800) == "timeout"
    world.manager.cli("policy", "rollback", before, "--wait=20")
    assert web.tcp(db.address, 3306) == "connected"
