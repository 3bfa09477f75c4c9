#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Attacks on the gate itself, through the whole program: tests/gate/attacks.py BUILD [NAME...]

Each function of attack_captures.py makes a capture and says what must be seen of it: a counter or an event that names
what happened. For every one: the program ends with 0, each record is JSON of one line, resident memory stays below its
bound, and a packet costs no more instructions than so many times one of ordinary traffic. Where the machine does not count
them the ratio is of processor time: printed, and no test. A program with AddressSanitizer may take more memory; one without
the sandbox (no_sandbox.c) must not leak either.
"""
import argparse
import contextlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile

import attack_captures

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TIMEOUT_S = 100  # a program that hangs; no measure
OWN_RULES = r"""
alert http any any -> any any (msg:"uri"; http.uri; content:"/evil"; sid:1;)
alert http any any -> any any (msg:"body"; file.data; content:"NEVER-IN-IT"; sid:2;)
alert tcp any any -> any any (msg:"slow"; content:"aaaa"; pcre:"/(a+)+$/"; sid:3;)
alert http any any -> any any (msg:"slower"; http.uri; pcre:"/^(\/?[a-z]*)*(\/?[a-z]*)*!$/"; sid:4;)
alert tcp any any -> any any (msg:"word"; content:"ATTACK"; sid:5;)
alert dns any any -> any any (msg:"name"; dns.query; content:"x"; pcre:"/(x+x+)+y/"; sid:6;)
alert ip any any -> any any (msg:"often"; threshold:type threshold,track by_both,count 1000000,seconds 3600; sid:7;)
alert dns any any -> any any (msg:"kept"; dns.query; dataset:set,seen,type string,memcap 1mb; sid:8;)
alert tcp any any -> any any (msg:"jump"; content:"J"; byte_jump:4,0,relative,multiplier 65535; content:"K"; within:4; sid:9;)
alert smtp any any -> any any (msg:"file"; file.name; content:"x.exe"; sid:10;)
alert smtp any any -> any any (msg:"file data"; file.data; content:"NEVER-IN-THIS"; sid:12;)
alert ip any any -> any any (msg:"bits"; xbits:set,bit,track ip_src,expire 3600; noalert; sid:11;)
"""


class Run:
    """One pass over a capture: what came out, and what it took."""

    def __init__(self, program, folder, capture, options):
        log = f"{folder}/log"
        shutil.rmtree(log, ignore_errors=True)
        argv = [program, "-r", capture, "-l", log, "-q", "-k", "none", *options]
        counted = perf_works() and not sanitized(program)
        if counted:
            argv = ["perf", "stat", "-x,", "-e", "instructions:u", "-o", f"{folder}/perf", "--", *argv]
        with open(f"{folder}/stderr", "w", encoding="utf-8") as stderr:
            pid = os.posix_spawn(shutil.which(argv[0]) or argv[0], argv,
                                 {**os.environ, "ASAN_OPTIONS": f"quarantine_size_mb=16:detect_leaks={int(unlocked(program))}"},
                                 file_actions=[(os.POSIX_SPAWN_DUP2, stderr.fileno(), 2)])
        self.status, usage = wait(pid)
        self.rss_mb = usage.ru_maxrss / 1024
        self.cost = usage.ru_utime + usage.ru_stime
        if counted:
            with open(f"{folder}/perf", encoding="utf-8") as file:
                self.cost = int(re.search(r"^(\d+),", file.read(), re.M).group(1))
        with open(f"{folder}/stderr", encoding="utf-8", errors="replace") as file:
            self.stderr = file.read()
        self.stats, self.events, self.alerts, self.records = {}, set(), {}, {}
        self.read(f"{log}/eve.json")

    def read(self, path):
        if not os.path.exists(path):
            return
        with open(path, "rb") as file:
            for line in file:
                assert line.endswith(b"\n"), f"a line that does not end: {line[-80:]}"
                self.take(json.loads(line.decode("utf-8")))  # UTF-8 and JSON, or it raises

    def take(self, record):
        kind = record["event_type"]
        self.records[kind] = self.records.get(kind, 0) + 1
        if kind == "stats":
            self.stats = record["stats"]
        elif kind == "anomaly":
            self.events.add(record["anomaly"].get("event", ""))
        elif kind == "alert":
            sid = record["alert"]["signature_id"]
            self.alerts[sid] = self.alerts.get(sid, 0) + 1

    def counter(self, path):
        """`flow.evicted_new` of the workers, or a rare one by its name."""
        value = self.stats
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            value = self.stats.get("counters", {}).get(path)
        if isinstance(value, dict):
            value = value.get("value")
        return value


def wait(pid):
    timer = subprocess.Popen(["sleep", str(TIMEOUT_S)])  # pylint: disable=consider-using-with
    try:
        while True:
            done, status, usage = os.wait3(0)
            if done == pid:
                return os.waitstatus_to_exitcode(status), usage
            os.kill(pid, 9)  # it was the timer
    finally:
        timer.kill()
        timer.wait()


_perf = []


def perf_works():
    if not _perf:
        works = False
        if shutil.which("perf"):
            out = subprocess.run(["perf", "stat", "-x,", "-e", "instructions:u", "true"], capture_output=True, text=True, check=False)
            works = bool(re.search(r"^\d+,", out.stderr, re.M))
        _perf.append(works)
    return _perf[0]


def sanitized(program):
    with open(program, "rb") as file:
        return b"__asan_init" in file.read()


def unlocked(program):
    """The sandbox lets nobody look for leaks."""
    return os.path.basename(program) == "gated-unlocked"


def problems(run, attack, limits):
    if run.status:
        yield f"ended with {run.status}: {run.stderr[-3000:]}"
    for path, least in attack.counters.items():
        value = run.counter(path)
        if value is None or value < least:
            yield f"{path} is {value}, at least {least} is expected"
    for path, most in attack.most.items():
        value = run.counter(path) or 0  # rare ones are there from 1 on
        if value > most:
            yield f"{path} is {value}, at most {most} is expected"
    for event in attack.events - run.events:
        yield f"no event {event}; there are {sorted(run.events)}"
    for sid, count in attack.alerts.items():
        if run.alerts.get(sid, 0) != count:
            yield f"sid {sid}: {run.alerts.get(sid, 0)} alerts, expected {count}"
    if run.rss_mb > attack.rss_mb * limits.memory:
        yield f"resident {run.rss_mb:.0f} MB, the bound is {attack.rss_mb * limits.memory} MB"
    cost = (run.cost - limits.start) / attack.packets
    if limits.counted and attack.packets >= 1000 and cost > limits.packet * attack.times:
        yield f"a packet costs {cost / limits.packet:.0f} ordinary ones, the bound is {attack.times}"


class Limits:
    """What the program takes to start, and for a packet of ordinary traffic."""

    def __init__(self, program, folder, options):
        self.memory = 4 if sanitized(program) else 1
        self.counted = perf_works() and not sanitized(program)
        self.start, _ = self.cost(program, folder, attack_captures.nothing, options)
        cost, packets = self.cost(program, folder, attack_captures.ordinary, options)
        self.packet = max((cost - self.start) / packets, 1e-7)

    @staticmethod
    def cost(program, folder, make, options):
        attack, path = apart(make, folder)
        run = Run(program, folder, path, options)
        assert not run.status, run.stderr
        os.unlink(path)
        return run.cost, attack.packets


def apart(make, folder):
    """The attack, its capture written: in a process of its own, since what is resident here counts for who is started."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        attack = make()
        attack.write(folder)
        attack.frames = attack.raw = None
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(attack))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        attack = pickle.loads(pipe.read())
    os.waitpid(pid, 0)
    return attack, f"{folder}/{attack.name}.pcap"


def one(program, folder, make, options, limits):
    attack, path = apart(make, folder)
    size = os.path.getsize(path)
    try:
        run = Run(program, folder, path, options + attack.options)
        wrong = list(problems(run, attack, limits))
    except ValueError as error:  # of json and UTF-8
        run, wrong = None, [f"a record is no JSON: {error}"]
    os.unlink(path)
    ratio = (run.cost - limits.start) / attack.packets / limits.packet if run else 0
    print(f"{'FAILED' if wrong else 'ok'}: {attack.name}: {attack.packets} packets, {size >> 10} KB; "
          f"{run.rss_mb if run else 0:.0f} MB, {ratio:.1f} ordinary packets each", flush=True)
    for text in wrong:
        print(f"    {text}", flush=True)
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--keep", help="write the captures into this folder and end")
    args = parser.parse_args()
    program = args.build if os.path.isfile(args.build) else f"{args.build}/src/gate/bulkhead-gated"
    chosen = [a for a in attack_captures.ATTACKS if not args.names or a.__name__ in args.names]
    if args.keep:
        for make in chosen:
            print(make().write(args.keep))
        return 0
    failed = 0
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="gate-attacks-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        os.chmod(folder, 0o755)  # the gate is nobody
        with open(f"{folder}/own.rules", "w", encoding="utf-8") as file:
            file.write(OWN_RULES)
        options = ["-S", f"{folder}/own.rules"]
        limits = Limits(program, folder, options)
        for make in chosen:
            failed += not one(program, folder, make, options, limits)
    print(f"{len(chosen) - failed} of {len(chosen)} attacks are borne")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
