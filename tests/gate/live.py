#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bulkhead-gated between two interfaces and as a sensor, with real connections: tests/gate/live.py BUILD

Client, gate and server are network namespaces. Looked at: what passes, drop, reject, reload by socket and by signal, a rule
set that does not load, reload under traffic, two rule sets at once, rights that were given up, the records and the rotation of
their file. As root.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import control

CLIENT, TENANT, SERVER, PORT = "10.99.0.1", "10.99.0.77", "10.99.0.2", 8080
WAIT_S = 30
CAP_NET_ADMIN, CAP_NET_RAW = 12, 13


# ---- inside the namespaces ----

def echo(peer):
    with contextlib.suppress(OSError):
        while data := peer.recv(65536):
            peer.sendall(data)
    peer.close()


def serve():
    listener = socket.create_server(("0.0.0.0", PORT))
    print("ready", flush=True)
    while True:
        threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()


def talk():
    """Commands from stdin: `open`, `from ADDRESS` (open too), `say TEXT`, `many N`; a line of answer each."""
    link = None
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        try:
            if word == "open":
                link = socket.create_connection((SERVER, PORT), timeout=3)
                print("open", flush=True)
            elif word == "from":
                link = socket.create_connection((SERVER, PORT), timeout=3, source_address=(rest, 0))
                print("open", flush=True)
            elif word == "say":
                link.sendall(rest.encode())
                print(link.recv(65536).decode() or "closed", flush=True)
            elif word == "many":
                for i in range(int(rest)):
                    link.sendall(b"%08d" % i)
                    got = b""
                    while len(got) < 8:
                        got += link.recv(8 - len(got))
                    assert got == b"%08d" % i
                print("all", flush=True)
        except socket.timeout:
            print("timeout", flush=True)
        except ConnectionError as error:
            print(type(error).__name__, flush=True)


# ---- the lab ----

class Lab:
    def __init__(self, stack, program):
        self.stack, self.program = stack, program
        self.folder = tempfile.mkdtemp(prefix="gate-live-")
        os.chmod(self.folder, 0o755)
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.holders = [self.start(["unshare", "-n", "sleep", "600"]) for _ in range(3)]
        time.sleep(0.3)
        client, gate, server = self.holders
        self.link(client, "a0", gate, "g0")
        self.link(gate, "g1", server, "b0")
        self.run(client, "ip", "addr", "add", f"{CLIENT}/24", "dev", "a0")
        self.run(client, "ip", "addr", "add", f"{TENANT}/24", "dev", "a0")
        self.run(server, "ip", "addr", "add", f"{SERVER}/24", "dev", "b0")
        self.server = self.inside(server, sys.executable, __file__, "--serve")
        assert self.server.stdout.readline().strip() == "ready"
        self.client = self.inside(client, sys.executable, __file__, "--talk")
        self.gate = None

    def start(self, argv, **more):
        process = subprocess.Popen(argv, **more)  # pylint: disable=consider-using-with
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def inside(self, holder, *argv):
        return self.start(["nsenter", "-t", str(holder.pid), "-n", *argv], text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE)

    def run(self, holder, *argv):
        subprocess.run(["nsenter", "-t", str(holder.pid), "-n", *argv], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def link(self, one, name, other, peer):
        self.run(one, "ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", str(other.pid))
        for holder, dev in ((one, name), (other, peer)):
            self.run(holder, "ethtool", "-K", dev, "tso", "off", "gso", "off", "gro", "off", "tx", "off", "rx", "off")
            self.run(holder, "ip", "link", "set", dev, "up")

    def rules(self, text, name="test.rules"):
        with open(f"{self.folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def begin(self, *options):
        shutil.rmtree(f"{self.folder}/log", ignore_errors=True)
        self.gate = self.start(["nsenter", "-t", str(self.holders[1].pid), "-n", self.program, *options, "-S",
                                f"{self.folder}/test.rules", "-l", f"{self.folder}/log",
                                "--set", f"unix-command.filename={self.folder}/sock", "--set", "stats.interval=1"],
                               stderr=open(f"{self.folder}/stderr", "w", encoding="utf-8"))  # pylint: disable=consider-using-with
        wait("the control socket answers", lambda: self.ask("ping"))

    def end(self):
        self.gate.send_signal(signal.SIGTERM)
        assert self.gate.wait(WAIT_S) == 0, self.text("stderr")

    def text(self, name):
        with open(f"{self.folder}/{name}", encoding="utf-8") as file:
            return file.read()

    def ask(self, op):
        return control.ask(f"{self.folder}/sock", op, WAIT_S)

    def say(self, command):
        self.client.stdin.write(command + "\n")
        self.client.stdin.flush()
        return self.client.stdout.readline().strip()

    def records(self, kind):
        found = []
        for line in self.text("log/eve.json").splitlines():
            record = json.loads(line)
            if record["event_type"] == kind:
                found.append(record)
        return found


def wait(what, ready):
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        value = ready()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {what}")


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


# ---- what is looked at ----

DROP = 'drop tcp any any -> any any (msg:"no"; flow:established,to_server; content:"BLOCKME"; sid:1;)\n'
REJECT = 'reject tcp any any -> any any (msg:"away"; flow:established,to_server; content:"REJECTME"; sid:2;)\n'
ALERT = 'alert tcp any any -> any any (msg:"seen"; flow:established,to_server; content:"LOOK"; sid:3;)\n'


def check_rights(lab):
    for thread in os.listdir(f"/proc/{lab.gate.pid}/task"):
        status = status_of(f"{lab.gate.pid}/task/{thread}")
        assert status["Uid"].split()[0] != "0", status["Uid"]
        assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2", status
        assert int(status["CapEff"], 16) == 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW, status["CapEff"]


def check_inline(lab):
    lab.rules(DROP + REJECT + ALERT)
    lab.begin("--inline", "g0:g1", "--workers", "2")
    check_rights(lab)
    wait("connections pass", lambda: lab.say("open") == "open")
    assert lab.say("say hello") == "hello"
    assert lab.say("say LOOK") == "LOOK"
    assert lab.say("say BLOCKME") == "timeout"
    assert lab.say("say still there?") == "timeout"
    assert lab.say("open") == "open"
    assert lab.say("say REJECTME") in ("ConnectionResetError", "closed")


def check_reload(lab):
    lab.rules(REJECT + ALERT)
    reply = lab.ask("reload")
    assert reply["ok"] and reply["rules"] == 2, reply
    assert lab.say("open") == "open"
    assert lab.say("say BLOCKME") == "BLOCKME"
    os.rename(f"{lab.folder}/test.rules", f"{lab.folder}/away")
    reply = lab.ask("reload")
    assert not reply["ok"] and "test.rules" in reply["error"], reply
    assert lab.say("say BLOCKME") == "BLOCKME"
    lab.rules(DROP)
    before = lab.ask("counters")["counters"]["gate_reloads"]["value"]
    lab.gate.send_signal(signal.SIGHUP)
    wait("the signal reloads", lambda: lab.ask("counters")["counters"]["gate_reloads"]["value"] > before)
    assert lab.say("say BLOCKME") == "timeout"


def check_reload_under_traffic(lab):
    assert lab.say("open") == "open"
    traffic_over_reloads(lab, lambda i: lab.rules(ALERT if i % 2 else DROP))


def check_records(lab):
    lab.end()
    alerts = lab.records("alert")
    actions = {(a["alert"]["signature_id"], a["alert"]["action"]) for a in alerts}
    assert {(1, "blocked"), (2, "blocked"), (3, "allowed")} <= actions, actions
    assert all(re.fullmatch("g[01]", a["in_iface"]) for a in alerts)
    assert lab.records("drop") and lab.records("flow") and lab.records("stats")


def check_rotation(lab):
    """The file of records is moved away as logrotate does: the signal begins a new one, and nothing is lost between."""
    lab.rules(ALERT)
    lab.begin("--inline", "g0:g1", "--workers", "2")
    wait("connections pass", lambda: lab.say("open") == "open")
    assert lab.say("say LOOK one") == "LOOK one"
    wait("the first is told", lambda: len(lab.records("alert")) == 1)
    file, away = f"{lab.folder}/log/eve.json", f"{lab.folder}/log/eve.json.1"
    os.rename(file, away)
    assert lab.say("open") == "open" and lab.say("say LOOK two") == "LOOK two"
    lab.gate.send_signal(signal.SIGHUP)
    wait("a new file", lambda: os.path.exists(file))
    whole = os.path.getsize(away)
    assert lab.say("open") == "open" and lab.say("say LOOK three") == "LOOK three"
    wait("the third is told in it", lambda: len(lab.records("alert")) >= 1)
    lab.end()
    assert os.path.getsize(away) == whole
    with open(away, "a", encoding="utf-8") as old, open(file, encoding="utf-8") as new:
        old.write(new.read())
    os.rename(away, file)
    assert len(lab.records("alert")) == 3, lab.records("alert")


def traffic_over_reloads(lab, rules):
    """20,000 questions and answers one after the other while rules are loaded anew; every one comes back."""
    before = lab.ask("stats")["stats"]["capture"]
    lab.client.stdin.write("many 20000\n")
    lab.client.stdin.flush()
    for i in range(10):
        rules(i)
        assert lab.ask("reload")["ok"]
    assert lab.client.stdout.readline().strip() == "all"
    stats = lab.ask("stats")["stats"]["capture"]
    lost = {key: stats[key] - before[key] for key in ("kernel_drops", "send_failed")}
    assert not any(lost.values()), lost


def check_rule_sets(lab):
    """Two rule sets, by the address of the flow: each sees its own, also over reloads; one that fails stops both."""
    lab.rules(DROP)
    lab.rules(DROP.replace("BLOCKME", "HISWORD"), "tenant.rules")
    lab.begin("--inline", "g0:g1", "--workers", "2", "--set", f"rule-sets.tenant.files={lab.folder}/tenant.rules",
              "--set", f"rule-sets.tenant.match.address={TENANT}")
    assert [one["name"] for one in lab.ask("rules")["sets"]] == ["default", "tenant"]
    wait("connections pass", lambda: lab.say("open") == "open")
    assert lab.say("say HISWORD") == "HISWORD"
    assert lab.say("say BLOCKME") == "timeout"
    assert lab.say(f"from {TENANT}") == "open"
    assert lab.say("say BLOCKME") == "BLOCKME"
    # The flow stays in its set when rules are loaded, and has the new ones.
    lab.rules(DROP.replace("BLOCKME", "LATER"), "tenant.rules")
    reply = lab.ask("reload")
    assert reply["ok"] and reply["rules"] == 2, reply
    assert lab.say("say HISWORD") == "HISWORD"
    os.unlink(f"{lab.folder}/tenant.rules")
    reply = lab.ask("reload")
    assert not reply["ok"] and "rule set tenant" in reply["error"], reply
    traffic_over_reloads(lab, lambda i: lab.rules(DROP.replace("BLOCKME", "LATER") + (ALERT if i % 2 else REJECT),
                                                  "tenant.rules"))
    assert lab.say("say LATER") == "timeout"
    assert lab.say("open") == "open"
    assert lab.say("say LATER") == "LATER"
    lab.end()
    assert {a["rule_set"] for a in lab.records("alert")} == {"default", "tenant"}
    assert all(record["rule_set"] for record in lab.records("flow"))


def check_sensor(lab):
    """A mirror: what passes between client and server through a bridge, seen on one port of it."""
    gate = lab.holders[1]
    lab.run(gate, "ip", "link", "add", "br0", "type", "bridge")
    for dev in ("g0", "g1"):
        lab.run(gate, "ip", "link", "set", dev, "master", "br0")
    lab.run(gate, "ip", "link", "set", "br0", "up")
    lab.rules(DROP + ALERT)
    lab.begin("-i", "g0")
    check_rights(lab)
    wait("connections pass", lambda: lab.say("open") == "open")
    assert lab.say("say LOOK") == "LOOK"
    assert lab.say("say BLOCKME") == "BLOCKME"
    assert lab.say("open") == "open"  # ends the first: a sensor waits for a chunk of the stream, or its end
    wait("both are told", lambda: {a["alert"]["signature_id"] for a in lab.records("alert")} == {1, 3})
    assert {a["alert"]["action"] for a in lab.records("alert")} == {"allowed"}
    lab.end()


def main():
    if "--serve" in sys.argv:
        return serve()
    if "--talk" in sys.argv:
        return talk()
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        print("skipped: needs root and namespaces")
        return 77
    program = sys.argv[1] if os.path.isfile(sys.argv[1]) else f"{sys.argv[1]}/src/gate/bulkhead-gated"
    with contextlib.ExitStack() as stack:
        lab = Lab(stack, program)
        try:
            for check in (check_inline, check_reload, check_reload_under_traffic, check_records, check_rotation,
                      check_rule_sets, check_sensor):
                check(lab)
                print(f"ok: {check.__name__}", flush=True)
        except BaseException:
            if os.path.exists(f"{lab.folder}/stderr"):
                print(lab.text("stderr")[-4000:])
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
