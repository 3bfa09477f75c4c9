#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What bulkhead-gated says of itself against what is written of it: tests/gate/reference.py PROGRAM [--write]

docs/gate-reference.md and the settings in the manual are made of the program's own lists; --write makes them anew. Then -T:
rules and configurations that are wrong, each with the place and the reason that must be said. And the `stats` record:
every counter of the list is in it.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REFERENCE, MANUAL = f"{ROOT}/docs/gate-reference.md", f"{ROOT}/docs/man/bulkhead-gated.8"
BEGIN, END = '.\\" made by tests/gate/reference.py --write\n', '.\\" as far as here\n'
HEAD = """# The gate: reference

Made of what `bulkhead-gated` says of itself by `tests/gate/reference.py PROGRAM --write`; the test of that name compares them.
How the gate is built stands in [gate.md](gate.md), what its options are in [bulkhead-gated(8)](man/bulkhead-gated.8).
"""
SETTINGS = """
## Settings

In a YAML file (`-c`) or by `--set KEY=VALUE`. Sizes take `kb`, `mb`, `gb` (of 1024). A key that does not exist, a value of the wrong kind
and a second value for one key are errors with line and column.

| key | what may stand there | default | meaning |
|---|---|---|---|
"""
COUNTERS = """
## Counters

By their place in the `stats` record, which is written every `stats.interval` seconds and at the end; the operation `stats` of the control
socket answers with the same. All count from the start of the program but those that say how much there is now.

| counter | counts |
|---|---|
"""
EVENTS = """
## Events

For `decode-event`, `stream-event` and `app-layer-event`, and in `anomaly` records.

| event | when |
|---|---|
"""
KEYWORDS = """
## Keywords

Of rules, with those that modify the match before them.

| keyword | meaning |
|---|---|
"""


def run(*args, ok=True):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=60, check=False)
    assert not ok or done.returncode == 0, (args, done.returncode, done.stderr)
    return done


def cell(text):
    return text.replace("|", "\\|").replace("<", "\\<")


def settings():
    for line in run("--list-settings").stdout.splitlines():
        m = re.fullmatch(r"(\S+) \((.*), ([^,]*|\[.*\])\): (.*)", line)
        assert m, line
        yield m.groups()


def rows(option):
    for line in run(option).stdout.splitlines():
        name, _, text = line.partition(": ")
        assert text, f"{option}: nothing is said of {name}"
        yield name, text


def check_once():
    keys = [key for key, *_ in settings()]
    assert len(keys) == len(set(keys)), f"stands twice: {sorted(k for k in set(keys) if keys.count(k) > 1)}"


def reference():
    text = HEAD + SETTINGS
    for key, kind, default, meaning in settings():
        text += f"| `{key}` | {cell(kind)} | {cell(default)} | {cell(meaning)} |\n"
    for head, option in ((COUNTERS, "--list-counters"), (EVENTS, "--list-events"), (KEYWORDS, "--list-keywords")):
        text += head + "".join(f"| `{name}` | {cell(meaning)} |\n" for name, meaning in rows(option))
    return text


def roff(text):
    text = text.replace("\\", "\\e")
    return "\\&" + text if text.startswith((".", "'")) else text


def manual():
    with open(MANUAL, encoding="utf-8") as file:
        before, mark, rest = file.read().partition(BEGIN)
        _, end, after = rest.partition(END)
    assert mark and end, f"{MANUAL}: the marks are missing"
    items = "".join(f".It Cm {key}\n{roff(meaning[:1].upper() + meaning[1:])}.\n{roff(kind[:1].upper() + kind[1:])}; default {roff(default)}.\n"
                    for key, kind, default, meaning in settings())
    return before + BEGIN + ".Bl -tag -width Ds\n" + items + ".El\n" + END + after


def written(path, text):
    with open(path, encoding="utf-8") as file:
        return file.read() == text


def check_documents(write):
    for path, text in ((REFERENCE, reference()), (MANUAL, manual())):
        if write:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        assert written(path, text), f"{path} is not what the program says: {sys.argv[0]} PROGRAM --write"
    with open(MANUAL, encoding="utf-8") as file:
        page = file.read()
    for option in re.findall(r"^ +(?:-\w,? )?(--[a-z-]+)", run("--help").stdout, re.M):
        assert option.lstrip("-") in page, f"{option} is not in the manual"


# Each: text of a rule file, then line, column or None, and words of the reason.
BAD_RULES = [
    ("alert tcp any any -> any any (msg:\"a\"; nonsense:1; sid:1;)", 1, r"nonsense"),
    ("# a comment\n\nalert tcp any any -> any any (msg:\"a\"; content:\"x\"; sid:1;\n", 3, r""),
    ("alert tcp any any -> any any (content:\"|zz|\"; sid:2;)", 1, r""),
    ("alert nosuch any any -> any any (sid:3;)", 1, r"nosuch"),
    ("alert tcp $NOWHERE any -> any any (sid:4;)", 1, r"NOWHERE"),
    ("alert tcp any 99999 -> any any (sid:5;)", 1, r"99999"),
    ("alert tcp any any -> any any (pcre:\"/(/\"; sid:6;)", 1, r""),
    ("alert tcp any any -> any any (content:\"a\"; content:\"b\"; depth:0; sid:7;)", 1, r"depth"),
    ("alert tcp any any -> any any (flow:sideways; sid:8;)", 1, r"sideways"),
    ("alert tcp any any -> any any (msg:\"no sid\";)", 1, r"sid"),
    ("alert tcp any any \\\n  -> any any \\\n  (nonsense; sid:9;)", 3, r"nonsense"),
    ("frobnicate tcp any any -> any any (sid:10;)", 1, r"frobnicate"),
]


def check_rules(folder):
    path = f"{folder}/bad.rules"
    for text, line, words in BAD_RULES:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\nalert tcp any any -> any any (msg:\"good\"; sid:999;)\n")
        done = run("-T", "-S", path)
        told = [t for t in done.stdout.splitlines() if t.startswith(f"{path}:")]
        assert len(told) == 1, (text, done.stdout, done.stderr)
        m = re.fullmatch(re.escape(path) + r":(\d+):(\d+): sid \d+: (.+)", told[0])
        assert m and int(m[1]) == line and int(m[2]) >= 1, (text, told)
        assert re.search(words, m[3]), (text, told)
        assert "1 rules loaded, 1 refused" in done.stdout, done.stdout
    for how in (["-T"], ["-r", folder, "-l", folder]):
        done = run(*how, "-S", path, "--init-errors-fatal", ok=False)
        assert done.returncode == 1 and "1 rules are refused" in done.stderr, (how, done.returncode, done.stderr)
    with open(path, "w", encoding="utf-8") as file:
        file.write("alert tcp any any -> any any (msg:\"good\"; sid:999;)\n")
    run("-T", "-S", path, "--init-errors-fatal")


# Each: text of a configuration, line, column or None, words.
BAD_CONFIGS = [
    ("nonsense: 1\n", 1, "nonsense"),
    ("eve:\n  community-id: maybe\n", 2, "yes or no"),
    ("eve:\n  queue: 16 apples\n", 2, "size"),
    ("flow:\n  entries: -5\n", 2, "number"),
    ("flow:\n  entries: 1\n", 2, "64"),
    ("flow-timeouts:\n  tcp:\n    new: 60s\n", 3, "number"),
    ("stats:\n  interval: 8\n  interval: 9\n", 3, "twice|second|already"),
    ("eve:\n  types: [alert, gossip]\n", 2, "gossip"),
    ("events:\n  types: [http]\n", 2, "http"),
    ("capture:\n  mode: telepathy\n", 2, "auto"),
    ("eve: {filename: x\n", 2, ""),
    ("app-layer:\n  protocols:\n    nosuch:\n      enabled: yes\n", 4, "nosuch"),
    ("host-os-policy:\n  amiga: [0.0.0.0/0]\n", 2, "amiga"),
    ("&a eve: 1\n", 1, ""),
]


def check_configs(folder):
    path = f"{folder}/gated.yaml"
    for text, line, words in BAD_CONFIGS:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        done = run("-T", "-c", path, ok=False)
        assert done.returncode == 1, (text, done.returncode, done.stdout, done.stderr)
        m = re.search(re.escape(path) + r":(\d+):(\d+): (.*)", done.stderr)
        assert m and int(m[1]) == line, (text, done.stderr)
        assert re.search(words, m[3]), (text, done.stderr)
    for assignment, words in (("nonsense=1", "nonsense"), ("eve.queue=lots", "size"), ("eve.queue", "KEY=VALUE")):
        done = run("-T", "--set", assignment, ok=False)
        assert done.returncode == 1 and words in done.stderr, (assignment, done.stderr)


BAD_OPTIONS = [
    ([], "where do packets come from"),
    (["-r", "a.pcap", "-i", "eth0"], "where do packets come from"),
    (["--inline", "eth0"], "--inline eth0: expected two interfaces"),
    (["-k", "some", "-T"], "-k some: expected all or none"),
    (["-r", "a.pcap", "b.pcap"], "'b.pcap' belongs to no option"),
    (["--nonsense"], "nonsense"),
    (["-r"], "requires an argument"),
]


# Of Suricata: taken, so that its command lines can be used
FOREIGN_OPTIONS = ["--runmode=single", "--no-random", "--strict-rule-keywords", "--strict-rule-keywords=all", "--data-dir=/tmp"]


def check_options():
    run("-T", "-q", "-S", "/dev/null", *FOREIGN_OPTIONS)
    for args, words in BAD_OPTIONS:
        done = run(*args, ok=False)
        assert done.returncode == 2 and words in done.stderr and "--help" in done.stderr, (args, done.returncode, done.stderr)
    assert run("--help").stdout.startswith("usage: bulkhead-gated -r")


def place(record, path):
    for part in path.split("."):
        record = record[part]
    return record


def check_stats(folder):
    """A capture without packets: the last record has every counter, and nothing that the list has not."""
    with open(f"{folder}/empty.pcap", "wb") as file:
        file.write(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
    run("-q", "-r", f"{folder}/empty.pcap", "-l", f"{folder}/out")
    with open(f"{folder}/out/eve.json", encoding="utf-8") as file:
        stats = json.loads(file.read().splitlines()[-1])["stats"]
    names = [name for name, _ in rows("--list-counters")]
    assert len(names) == len(set(names)), "a counter stands twice"
    for name in names:
        assert isinstance(place(stats, name), int), name

    def leaves(value, path):
        for key, inner in value.items():
            if isinstance(inner, dict):
                yield from leaves(inner, f"{path}{key}.")
            else:
                yield path + key
    assert set(leaves(stats, "")) - set(names) <= {"uptime", "rules_loaded_at"}, set(leaves(stats, "")) - set(names)


PROGRAM = os.path.abspath(sys.argv[1])
with tempfile.TemporaryDirectory(prefix="gate-reference-") as scratch:
    os.chmod(scratch, 0o755)  # who it becomes must come there
    check_documents("--write" in sys.argv[2:])
    check_once()
    check_rules(scratch)
    check_configs(scratch)
    check_options()
    check_stats(scratch)
print("the reference, the manual, -T and stats say what they should")
