#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Loading of rules, and what a second rule set costs: tests/bench/bench_rules.py BUILD [--rounds N]

All rules cold (nothing in the cache), from the cache, with a cache whose files were torn; then beside them a second set of
300 of the same rules, and one of all of them. Time is what bulkhead-gated says of the set; beside it the processor's time of
the whole process, which is what counts on a busy machine (of a second set: what it takes more). Memory is the process's
largest resident size, of a second set what it has more, with the databases in the cache.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COUNT = 300


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--shared", default=os.path.join(os.path.dirname(ROOT), "shared"))
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def load(program, rules, cache, second=None):
    """(ms of the last set, ms of processor time, MB resident at most)"""
    argv = [program, "-T", "-S", rules, "--set", f"detect.cache-dir={cache}"]
    if second:
        argv += ["--set", f"rule-sets.second.files={second}", "--set", "rule-sets.second.match.vlan=1"]
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=log)  # pylint: disable=consider-using-with
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        text = log.read()
    times = [int(ms) for ms in re.findall(r"rules loaded, .* (\d+) ms", text)]
    if child.returncode or len(times) != 1 + bool(second):
        sys.exit(f"bulkhead-gated ended with {child.returncode}: {text[-2000:]}")
    return times[-1], 1000 * (usage.ru_utime + usage.ru_stime), usage.ru_maxrss / 1024


def some_of(rules, path):
    """Every n-th rule, so that all kinds are among them."""
    with open(rules, encoding="utf-8") as file:
        lines = [line for line in file if line.strip() and not line.startswith("#")]
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(lines[:: len(lines) // COUNT][:COUNT])


def tear(cache):
    """Half of each file, as a crash may leave it."""
    for name in os.listdir(cache):
        path = os.path.join(cache, name)
        os.truncate(path, os.path.getsize(path) // 2)


def median(runs):
    return [statistics.median(values) for values in zip(*runs)]


def main():
    args = arguments()
    program = f"{args.build}/src/gate/bulkhead-gated"
    rules = f"{args.shared}/rules/emerging-threats-open-2025.rules"
    with tempfile.TemporaryDirectory(prefix="bench-rules-") as folder:
        cache, few = f"{folder}/cache", f"{folder}/few.rules"
        os.mkdir(cache)
        some_of(rules, few)
        cold, cpu, cold_mb = load(program, rules, cache)
        size = sum(os.path.getsize(os.path.join(cache, name)) for name in os.listdir(cache)) / (1 << 20)
        print(f"all rules: {cold} ms cold (processor {cpu:.0f}), {cold_mb:.0f} MB at most; the cache {size:.1f} MB; aim 8000 ms, 400 MB")
        cached_ms, cached_cpu, cached_mb = median([load(program, rules, cache) for _ in range(args.rounds)])
        print(f"all rules: {cached_ms} ms from the cache (processor {cached_cpu:.0f}), {cached_mb:.0f} MB; aim 1000 ms")
        tear(cache)
        torn, cpu, _ = load(program, rules, cache)
        print(f"all rules: {torn} ms (processor {cpu:.0f}) with every file of the cache torn")
        load(program, rules, cache, few)
        for what, path, aim in ((f"{COUNT} of them", few, "; aim 300 ms, 20 MB"), ("all of them", rules, "")):
            ms, cpu, mb = median([load(program, rules, cache, path) for _ in range(args.rounds)])
            print(f"a second set of {what}: {ms} ms (processor {cpu - cached_cpu:.0f}), {mb - cached_mb:+.1f} MB{aim}")


if __name__ == "__main__":
    main()
