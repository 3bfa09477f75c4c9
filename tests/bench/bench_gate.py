#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The gate against the raw scan and against Suricata's alerts: tests/bench/bench_gate.py BUILD [--rounds N]

Both sides of each ratio from the same run: bench_scan (one Hyperscan database over every payload, SURICATA.md) and
bulkhead-gated with all rules, alerts and records on, one worker, in turn; the shortest time of each counts. Loading of rules
is left out of the rate and printed by itself, cold and from the cache. Then the alerts of mixed.pcap by signature beside those
of Suricata 7.0.6.

--mix HTTP.pcap (make_http.py) is mixed.pcap and as many bytes of HTTP.pcap behind it: HTTP is half of the bytes, as in the
larger mix of SURICATA.md, on which Suricata reaches 0.35 of the raw scan. What the aim of 0.7 is about.
"""
import argparse
import collections
import gzip
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
AIM, AIM_HTTP = 0.28, 0.7


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--shared", default=os.path.join(os.path.dirname(ROOT), "shared"))
    parser.add_argument("--capture", help="another pcap; its alerts are not compared")
    parser.add_argument("--mix", metavar="HTTP.pcap", help="mixed.pcap and as many bytes of this one")
    parser.add_argument("--rules", help="another rule file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    if args.mix and args.capture:
        parser.error("--mix is of mixed.pcap")
    return args


def plain(path, folder):
    """The capture without gzip: unpacking is not measured on either side."""
    if not path.endswith(".gz"):
        return path
    out = os.path.join(folder, os.path.basename(path)[:-3])
    with gzip.open(path, "rb") as source, open(out, "wb") as to:
        shutil.copyfileobj(source, to)
    return out


def append(source, out):
    """Packets of one capture behind those of another, until they have as many bytes."""
    size = os.path.getsize(out)
    with open(source, "rb") as file, open(out, "r+b") as to:
        if file.read(24)[:4] != to.read(24)[:4]:
            sys.exit(f"{source} and mixed.pcap are not of one format")
        to.seek(0, os.SEEK_END)
        while to.tell() < 2 * size and len(head := file.read(16)) == 16:
            to.write(head + file.read(struct.unpack("<I", head[8:12])[0]))


def scanned(build, shared, capture):
    argv = [f"{build}/tests/bench/bench_scan", f"{shared}/captures/fast-patterns.tsv", capture, "1"]
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def engine(program, capture, rules, folder, sets):
    """(seconds of the run, ms of loading, packets, megabytes resident)"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    log = os.path.join(folder, "log")
    shutil.rmtree(log, ignore_errors=True)
    argv = [program, "-r", capture, "-S", rules, "-l", log, "-k", "none"]
    for value in sets:
        argv += ["--set", value]
    r = subprocess.run(argv, capture_output=True, text=True, check=False)
    run = re.search(r"(\d+) packets, .* in ([\d.]+) s", r.stderr)
    load = re.search(r"rules loaded, .* (\d+) ms", r.stderr)
    if r.returncode or not run or not load:
        sys.exit(f"bulkhead-gated ended with {r.returncode}: {r.stderr[-2000:]}")
    peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return float(run.group(2)), int(load.group(1)), int(run.group(1)), peak / 1024


def alerts(folder):
    counts = collections.Counter()
    with open(f"{folder}/log/eve.json", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["event_type"] == "alert":
                counts[str(record["alert"]["signature_id"])] += 1
    return counts


def compare(ours, path):
    with open(path, encoding="utf-8") as file:
        theirs = collections.Counter(json.load(file))
    same = sum(min(ours[sid], theirs[sid]) for sid in theirs)
    total = sum(theirs.values())
    extra = sum((ours - theirs).values())
    print(f"alerts: {same} of Suricata's {total} agree ({100 * same / total:.1f} %), {extra} more of ours")
    for sid in sorted(set(ours) | set(theirs), key=int):
        if ours[sid] != theirs[sid]:
            print(f"  sid {sid}: {ours[sid]} here, {theirs[sid]} there")


def main():
    args = arguments()
    program = f"{args.build}/src/gate/bulkhead-gated"
    rules = args.rules or f"{args.shared}/rules/emerging-threats-open-2025.rules"
    source = args.capture or f"{args.shared}/captures/mixed.pcap.gz"
    with tempfile.TemporaryDirectory(prefix="bench-gate-") as folder:
        os.chmod(folder, 0o755)
        capture = plain(source, folder)
        cache = os.path.join(folder, "cache")
        os.mkdir(cache)
        sets = [f"detect.cache-dir={cache}", *args.set]
        if args.mix:
            append(args.mix, capture)
        runs, scans = [], []
        for _ in range(args.rounds):
            scans.append(scanned(args.build, args.shared, capture))
            runs.append(engine(program, capture, rules, folder, sets))
        best, scan = min(run[0] for run in runs), min(scans, key=lambda scan: scan["seconds"])
        print(f"raw scan: {scan['seconds']:.3f} s (all: {' '.join('%.3f' % s['seconds'] for s in scans)}), "
              f"{scan['gb_per_s']:.2f} GB/s ({scan['hyperscan'].strip()})")
        print(f"bulkhead-gated: {best:.3f} s (all: {' '.join(f'{run[0]:.3f}' for run in runs)}), "
              f"{runs[0][2] / best / 1000:.0f} kpps, {scan['wire_bytes'] * 8 / best / 1e9:.2f} Gbit/s")
        aim = f"aim {AIM_HTTP}, Suricata 0.35" if args.mix or args.capture else f"aim {AIM}, Suricata 0.14"
        print(f"ratio: {scan['seconds'] / best:.2f} of the raw scan; {aim}")
        print(f"rules: {runs[0][1]} ms cold, {min(run[1] for run in runs[1:]) if len(runs) > 1 else 0} ms again; "
              f"{runs[0][3]:.0f} MB resident at most")
        if not args.capture and not args.mix:
            compare(alerts(folder), f"{args.shared}/captures/mixed.suricata-alerts.json")


if __name__ == "__main__":
    main()
