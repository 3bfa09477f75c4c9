#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Detection cases through bulkhead-gated: tests/gate/cases.py BUILD [NAME...]

A case is a folder with test.rules, case.json and what the rules name; case.json says which capture is read with which
options of Suricata, and how many alerts each signature raises. Cases of our own stand in tests/gate/cases/; those of
Suricata's verification suite lie outside the project (--folder, default ../shared/suricata-cases) and are skipped by
name when they are not there. Prints each failure with its reason and the score; ends with 0 when at least --least
percent of the cases in scope agree.
"""
import argparse
import collections
import concurrent.futures
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import make

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
NEWEST = (9, 0, 0)  # of Suricata: what `requires` is held against
TIMEOUT_S = 60
# Protocols that issue 4 does not list: such cases are run and shown, and do not count.
OUT_OF_SCOPE = {"enip", "modbus", "dnp3", "nfs", "krb5", "ike", "tftp", "rdp", "rfb", "mqtt", "ldap", "telnet", "bittorrent-dht",
                "mdns", "pop3", "imap"}


def version(value):
    parts = str(value).split("-")[0].split(".")
    return tuple(int(p) for p in (parts + ["0", "0"])[:3])


def applies(requires):
    """None, or why not."""
    requires = requires or {}
    if "min-version" in requires and version(requires["min-version"]) > NEWEST:
        return f"for Suricata {requires['min-version']} and later"
    if "lt-version" in requires and version(requires["lt-version"]) <= NEWEST:
        return f"old behaviour, before Suricata {requires['lt-version']}"
    if "gt-version" in requires and version(requires["gt-version"]) >= NEWEST:
        return f"for Suricata after {requires['gt-version']}"
    return None


class Case:
    def __init__(self, folder, base):
        self.folder = folder
        self.base = base
        self.name = os.path.basename(folder)
        with open(f"{folder}/case.json", encoding="utf-8") as file:
            self.data = json.load(file)

    def out_of_scope(self):
        words = set(self.data.get("protos") or []) | {k.split(".")[0].split("_")[0] for k in self.data.get("keywords") or []}
        return sorted(words & OUT_OF_SCOPE)

    def expected(self):
        """sid or "*" to count."""
        found = {}
        for sid, entries in self.data["expect"].items():
            for entry in entries:
                if not applies(entry.get("requires")):
                    found[sid] = entry["count"]
        return found

    def arguments(self):
        words = shlex.split(" ".join(self.data.get("args") or []))
        return [w.replace("${TEST_DIR}", self.folder) for w in words]


def pcap_of(case, folder):
    """Its path; one that is made goes into folder."""
    if "make" in case.data:
        path = f"{folder}/{case.name}.pcap"
        with open(path, "wb") as file:
            file.write(getattr(make, case.data["make"])())
        return path
    for base in (case.folder, case.base):
        path = os.path.join(base, case.data["pcap"])
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"{case.name}: no capture {case.data['pcap']}")


def count_alerts(path):
    counts = collections.Counter()
    with open(path, encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["event_type"] == "alert":
                counts[str(record["alert"]["signature_id"])] += 1
                counts["*"] += 1
    return counts


def compare(case, counts):
    wrong = []
    for sid, want in case.expected().items():
        if counts[sid] != want:
            wrong.append(f"sid {sid}: {counts[sid]} alerts, expected {want}")
    return wrong


def run_case(program, case, more):
    """List of what is wrong."""
    log = tempfile.mkdtemp(prefix="gate-case-")
    try:
        argv = [program, "-q", "-r", pcap_of(case, log), "-S", f"{case.folder}/test.rules", "-l", log, *case.arguments(), *more]
        try:
            r = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return [f"did not end within {TIMEOUT_S} s"]
        if r.returncode < 0:
            return [f"died of signal {-r.returncode}"]
        if r.returncode:
            return [r.stderr.strip().splitlines()[-1] if r.stderr.strip() else f"ended with {r.returncode}"]
        wrong = compare(case, count_alerts(f"{log}/eve.json"))
        if wrong:
            check = subprocess.run([program, "-T", "-q", "-S", f"{case.folder}/test.rules"], capture_output=True, text=True,
                                   timeout=TIMEOUT_S, errors="replace", check=False)
            refused = [line.split(":", 3)[-1].strip() for line in check.stdout.splitlines()[:-1]]
            wrong += [f"refused: {line}" for line in refused[:3]]
        return wrong
    finally:
        shutil.rmtree(log, ignore_errors=True)


def find(folder, names):
    cases = [Case(os.path.dirname(path), folder) for path in sorted(glob.glob(f"{glob.escape(folder)}/*/case.json"))]
    return [c for c in cases if not names or c.name in names]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="build folder, or the program")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these cases")
    parser.add_argument("--folder", default=os.path.join(os.path.dirname(ROOT), "shared/suricata-cases"))
    parser.add_argument("--own", action="store_true", help="only the cases of the project")
    parser.add_argument("--least", type=float, default=95.0, metavar="PERCENT")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every case")
    parser.add_argument("-j", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("-v", action="store_true", help="also those that agree")
    return parser.parse_args()


def missing_data(case, wrong):
    """What the rules name and the case does not hold: nothing can be said about it then."""
    for text in wrong:
        found = re.search(r"refused: .*there is no file (\S+)", text)
        if found and found.group(1).startswith(f"{case.base}/") and not os.path.exists(found.group(1)):
            return f"the case lacks {os.path.basename(found.group(1))}"
    return None


def report(results, args):
    tally = collections.Counter()
    for case, wrong in results:
        why = applies(case.data.get("requires")) or missing_data(case, wrong)
        outside = case.out_of_scope()
        if why:
            print(f"skipped: {case.name}: {why}")
            tally["skipped"] += 1
        elif not wrong:
            tally["outside passed" if outside else "passed"] += 1
            if args.v:
                print(f"ok: {case.name}")
        else:
            tally["outside failed" if outside else "failed"] += 1
            print(f"{'outside: ' + ','.join(outside) + ': ' if outside else 'FAILED: '}{case.name}: {'; '.join(wrong)}")
    return tally


def main():
    args = arguments()
    program = args.build if os.path.isfile(args.build) else f"{args.build}/src/gate/bulkhead-gated"
    cases = find(f"{HERE}/cases", args.names)
    if not args.own:
        if os.path.isdir(args.folder):
            cases += find(args.folder, args.names)
        else:
            print(f"skipped: Suricata's cases: no folder {args.folder}")
    if not cases:
        print("no case")
        return 1 if args.names else 0
    more = [word for value in args.set for word in ("--set", value)]
    with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
        wrong = list(pool.map(lambda c: [] if applies(c.data.get("requires")) else run_case(program, c, more), cases))
    tally = report(list(zip(cases, wrong)), args)
    counted = tally["passed"] + tally["failed"]
    percent = 100.0 * tally["passed"] / counted if counted else 100.0
    print(f"score: {tally['passed']} of {counted} agree ({percent:.1f} %); outside the scope {tally['outside passed']} of "
          f"{tally['outside passed'] + tally['outside failed']}; skipped {tally['skipped']}")
    return 0 if percent >= args.least else 1


if __name__ == "__main__":
    sys.exit(main())
