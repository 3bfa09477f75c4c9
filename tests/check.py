# SPDX-License-Identifier: Apache-2.0
"""Installs what is needed, runs every test and adds up. Started by ./check; one run at a time in a checkout.

  --fast         leave out what takes minutes: the second compiler (with AddressSanitizer and UBSan: corpora of hostile
                 input and attacks on the gate) and the tests with hosts and guests
  --suite NAME   only this: a suite of meson (unit, fuzz, bpf, ...), or clang, lint, e2e, ui; may be repeated
  --e2e ARGS     more arguments for pytest, e.g. --e2e "-k spoof"

What fails is run once more by itself, the whole file of it, unless much fails. What passes then is named as unstable, with the
first failure above it: a bug that is still to be found, but no reason to hold back what somebody else has changed.

Prints what was skipped and why; the last line is `N passed, N failed, N skipped`.
"""
import argparse
import contextlib
import fcntl
import glob
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD, BUILD_CHECKED = f"{ROOT}/build", f"{ROOT}/build-checked"  # by gcc; by clang with ASan and UBSan
SANITIZERS = ("-Db_sanitize=address,undefined", "-Db_lundef=false")
LABS = os.environ.get("BULKHEAD_LAB_DIR", "/var/tmp/bulkhead-lab")
OWN_SUITES = {"clang", "lint", "e2e", "ui"}
NEEDS_ROOT = {"bpf", "system", "e2e"}
LABS_AT_ONCE = "2"  # one world each, a file of tests goes to whichever is free; most of their time is waiting
FEW, LATE = 3, 4200  # files (or tests of meson) that are run again, more of them is no accident; not after so many seconds
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START = time.monotonic()


class Tally:
    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skips = []
        self.unstable = []

    def fail(self, name, why=""):
        self.failures.append((name, why))

    def skip(self, name, why):
        self.skips.append((name, why))

    def add(self, part):
        self.passed += part.passed
        self.failures += part.failures
        self.skips += part.skips
        self.unstable += part.unstable

    def take_again(self, again):
        """`again`: what failed here, run once more. What passed now is unstable; what fails now is a failure."""
        before, now = dict(self.failures), dict(again.failures)
        self.unstable += [(name, why) for name, why in before.items() if name not in now]
        self.passed += len(before) - len(now)  # one that fails only now had passed before
        self.failures = list(now.items())


def twice(tally, run_tests):
    """run_tests(tally, only) runs the tests, those of the list `only` when there is one, and returns what of it failed in a
    form that fits there; None when that can't be said."""
    part = Tally()
    failed = run_tests(part, [])
    if failed and len(failed) <= FEW and time.monotonic() - START < LATE:
        say(f"failed, and run again: {' '.join(failed)}")
        again = Tally()
        if run_tests(again, failed) is not None:
            part.take_again(again)
    tally.add(part)


def say(text):
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)


def end(process, first):
    """`first` lets a program clean up behind itself; then nothing of its session may be left."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        process.send_signal(first)
        process.wait(60)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
            time.sleep(0.5)
    process.wait()


def run(*argv, timeout=1800, env=None, ending=signal.SIGTERM):
    """Output goes straight through; returns the exit code, 124 after the timeout. It is ended by `ending` then, and
    when this run is interrupted."""
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL,  # pylint: disable=consider-using-with
                               start_new_session=True, env={**os.environ, **(env or {})})
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        end(process, ending)
        return 124
    except KeyboardInterrupt:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # once is enough; what runs cleans up first
        say(f"interrupted; {os.path.basename(argv[0])} is ended, a moment")
        end(process, ending)
        raise


def build(tally, folder, compiler, *options):
    say(f"build with {compiler}")
    if not os.path.exists(f"{folder}/build.ninja"):
        shutil.rmtree(folder, ignore_errors=True)
        if run("meson", "setup", folder, ROOT, *options, env={"CC": compiler}):
            tally.fail(f"meson setup with {compiler}")
            return False
    if run("ninja", "-C", folder, "-k", "0"):
        tally.fail(f"build with {compiler}", "see above")
        return False
    tally.passed += 1
    return True


def cmocka_counts(text):
    """(passed, skipped) cases of a cmocka program, None when it is not one."""
    passed = re.findall(r"^\[  PASSED  \] (\d+) test", text, re.M)
    skipped = re.findall(r"^\[  SKIPPED \] (\d+) test", text, re.M)
    if not passed:
        return None
    return sum(map(int, passed)), sum(map(int, skipped))


def add_meson_result(tally, record):
    name = re.sub(r"^bulkhead:", "", record["name"])
    text = (record.get("stdout") or "") + (record.get("stderr") or "")
    result = record["result"]
    if result == "SKIP":
        reason = [line for line in text.splitlines() if re.search("skip", line, re.I)]
        tally.skip(name, reason[-1].strip() if reason else "the test says so")
    elif result in ("OK", "EXPECTEDFAIL"):
        counts = cmocka_counts(text)
        tally.passed += counts[0] if counts else 1
        for case in re.findall(r"^\[  SKIPPED \] ([A-Za-z_]\w*)$", text, re.M):
            why = re.findall(r"^skip(?:ped)?[: ].*", text, re.M | re.I)
            tally.skip(f"{name}/{case}", why[-1] if why else "the test says so")
    else:
        cases = re.findall(r"^\[  FAILED  \] ([A-Za-z_]\w*)$", text, re.M)
        tally.passed += (cmocka_counts(text) or (0, 0))[0]
        for case in sorted(set(cases)) or [result]:
            tally.fail(f"{name}/{case}" if cases else name, result)


def meson_tests(tally, suites, is_root, folder=BUILD, names=()):
    argv = ["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs",
            "--timeout-multiplier", "5"]  # a busy machine is no failure
    for suite in suites:
        argv += ["--suite", suite]
    if not is_root:
        for suite in sorted(NEEDS_ROOT.intersection(suites or NEEDS_ROOT)):
            argv += ["--no-suite", suite]
            tally.skip(f"suite {suite}", "not root")
    log = f"{folder}/meson-logs/testlog.json"

    def once(part, only):
        if os.path.exists(log):
            os.unlink(log)
        say(" ".join(["meson test", *suites, *names, *only]))
        code = run(*argv, *(only or names))
        records = []
        if os.path.exists(log):
            with open(log, encoding="utf-8") as file:
                records = [json.loads(line) for line in file]
        for record in records:
            add_meson_result(part, record)
        if code and (not records or code == 124):
            part.fail("meson test", f"exit {code}")
            return None
        return [r["name"].split(" / ")[-1] for r in records if r["result"] not in ("OK", "EXPECTEDFAIL", "SKIP")]
    twice(tally, once)


def lint(tally):
    say("lint")
    code = run("tools/lint", "--build", BUILD, timeout=900)
    if code:
        tally.fail("lint", f"exit {code}")
    else:
        tally.passed += 1


def add_pytest_results(tally, path):
    """Returns the files in which something failed."""
    failed = []
    for case in ElementTree.parse(path).iter("testcase"):
        module = case.get("classname", "").split(".")[-1]
        name = f"{module}::{case.get('name')}"
        bad = [c for c in case if c.tag in ("failure", "error")]
        skipped = case.find("skipped")
        if bad:
            tally.fail(name, (bad[0].get("message") or "").splitlines()[0][:200] if bad[0].get("message") else "")
            failed.append(f"tests/e2e/{module}.py")
        elif skipped is not None:
            tally.skip(name, skipped.get("message") or "")
        else:
            tally.passed += 1
    return sorted(set(failed))


def sweep():
    """Labs of runs that were killed and could not clean up; a lab's name ends with the pid of its run."""
    for path in glob.glob(f"{LABS}/*"):
        name = re.fullmatch(r"(?:e2e|vx|half|demo)(\d+)", os.path.basename(path))
        if name and not os.path.exists(f"/proc/{name.group(1)}"):
            say(f"a lab that a killed run has left is taken down: {path}")
            run("tests/lab/lab", "down", name.group(0))


def e2e(tally, is_root, more, fast):
    if not is_root:
        tally.skip("e2e", "not root: the lab makes namespaces")
        return
    if subprocess.run(["unshare", "-n", "-m", "true"], check=False).returncode:
        tally.skip("e2e", "this machine lets nobody make namespaces")
        return
    sweep()
    say("e2e: hosts, guests, attacks")
    report = f"{BUILD}/e2e.xml"

    def once(part, only):
        if os.path.exists(report):
            os.unlink(report)
        whole = not more and not only
        argv = ["/usr/bin/python3", "-u", "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", "--tb=short", "--durations=15",
                f"--junitxml={report}", *(("-n", LABS_AT_ONCE, "--dist", "loadfile") if whole else ()),
                *(["-m", "not slow"] if fast else []), *shlex.split(more), *(only or ["tests/e2e"])]
        code = run(*argv, timeout=3900, ending=signal.SIGINT, env={"BULKHEAD_BUILD": BUILD, "PYTHONDONTWRITEBYTECODE": "1"})
        if os.path.exists(report):
            return add_pytest_results(part, report)
        if code != 5:
            part.fail("e2e", f"pytest ended with {code} and no report")
        return None
    try:
        twice(tally, once)
    finally:
        sweep()


def node_is_new_enough():
    found = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)\.(\d+)", found.stdout)
    return version is not None and tuple(map(int, version.groups())) >= (18, 19)


def ui_files(tally):
    """The console's files and its components' tests. False: `tally` says why there are none."""
    say("ui: packages")
    if run("tools/install-deps", "--console") or not shutil.which("npm"):
        tally.skip("ui", "nodejs, npm or chromium can't be installed")
        return False
    if not node_is_new_enough():
        tally.skip("ui", "node is older than 18.19, Debian 12's")
        return False
    say("ui: build")
    npm = ("npm", "--prefix", "ui", "--no-fund", "--no-audit", "--loglevel", "error")
    modules = f"{ROOT}/ui/node_modules/.package-lock.json"
    if not os.path.exists(modules) or os.path.getmtime(modules) < os.path.getmtime(f"{ROOT}/ui/package-lock.json"):
        if run(*npm, "--fetch-retries", "1", "--fetch-timeout", "20000", "ci"):
            if run(*npm, "--fetch-retries", "0", "--fetch-timeout", "20000", "ping"):
                tally.skip("ui", "the npm registry can't be reached")
            else:
                tally.fail("ui", "npm ci: see above")
            return False
    for what in ("build", "check"):
        if run(*npm, "run", what, env={"NO_COLOR": "1"}):
            tally.fail(f"ui {what}", "see above")
            return False
        tally.passed += 1
    return True


def ui(tally):
    """The web console in a browser, against the manager of this build."""
    if ui_files(tally):
        say("ui: in the browser")
        twice(tally, in_browser)


def in_browser(tally, only):
    files = only or sorted(glob.glob("tests/ui/*.test.mjs", root_dir=ROOT))
    failed = []
    tap = f"{BUILD}/ui.tap"
    for file in files:  # one session each: what its browser has left open ends with it
        if os.path.exists(tap):
            os.unlink(tap)
        code = run("node", "--test", "--test-reporter=tap", f"--test-reporter-destination={tap}", file, timeout=900,
                   env={"BULKHEAD_BUILD": BUILD})
        said = ""
        if os.path.exists(tap):
            with open(tap, encoding="utf-8", errors="replace") as found:
                said = found.read()
        add_tap(tally, file, code, said)
        if code:
            print(said[-20000:])
            failed.append(file)
    return failed


def add_tap(tally, file, code, said):
    passed = re.search(r"^# pass (\d+)$", said, re.M)
    tally.passed += int(passed.group(1)) if passed else 0
    for name, why in re.findall(r"^ *ok \d+ - (.*?) # SKIP ?(.*)$", said, re.M):
        tally.skip(f"ui: {name}", why)
    bad = re.findall(r"^not ok \d+ - (.*)$", said, re.M)
    if all(name.endswith(file) for name in bad):  # some releases of node have a level more, for the file
        bad = re.findall(r"^ {4}not ok \d+ - (.*)$", said, re.M)
    for name in bad or ([f"{file} ended with {code}"] if code or not passed else []):
        tally.fail(f"ui: {name}")


def finish(tally):
    print()
    for name, why in tally.skips:
        print(f"skipped: {name}: {why}")
    for name, why in tally.unstable:
        print(f"UNSTABLE: {name}: passed when run again; at first{': ' + why if why else ', see above'}")
    for name, why in tally.failures:
        print(f"FAILED: {name}{': ' + why if why else ''}")
    minutes, seconds = divmod(int(time.monotonic() - START), 60)
    print(f"took {minutes} min {seconds} s")
    print(f"{tally.passed} passed, {len(tally.failures)} failed, {len(tally.skips)} skipped", flush=True)
    return 1 if tally.failures or not tally.passed else 0


def known_suites():
    found = set(OWN_SUITES)
    for path in glob.glob(f"{ROOT}/tests/**/meson.build", recursive=True):
        with open(path, encoding="utf-8") as file:
            found.update(re.findall(r"suite: *'(\w+)'", file.read()))
    return found


def arguments():
    parser = argparse.ArgumentParser(prog="check", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--suite", action="append", default=[], metavar="NAME")
    parser.add_argument("--e2e", default="", metavar="ARGS")
    args = parser.parse_args()
    for suite in args.suite:
        if suite not in known_suites():
            parser.error(f"there is no suite {suite}; there are {', '.join(sorted(known_suites()))}")
    return args


def parts(tally, args):
    is_root = os.geteuid() == 0
    suites = [s for s in args.suite if s not in OWN_SUITES]

    def wanted(part):
        return part in args.suite if args.suite else not (args.fast and part in ("clang", "e2e", "ui"))

    built = build(tally, BUILD, "gcc")
    if os.path.exists(f"{BUILD}/build.ninja") and (suites or not args.suite):
        meson_tests(tally, suites, is_root)
    if wanted("clang") and build(tally, BUILD_CHECKED, "clang", *SANITIZERS):
        meson_tests(tally, ["fuzz"], is_root, BUILD_CHECKED)
        meson_tests(tally, [], True, BUILD_CHECKED, ["gate-attacks"])
    if wanted("lint"):
        lint(tally)
    if wanted("e2e"):
        if built:
            e2e(tally, is_root, args.e2e, args.fast)
        else:
            tally.skip("e2e", "the build failed")
    if wanted("ui"):
        if built:
            ui(tally)
        else:
            tally.skip("ui", "the build failed")
    if args.fast and not args.suite:
        for part in ("clang", "e2e", "ui"):
            tally.skip(part, "--fast")


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    args = arguments()
    lock = os.open(ROOT, os.O_RDONLY)  # ./demo takes it too: both build in the same folder
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"check: another ./check, or the start of a ./demo, runs in {ROOT}; wait for it or end it",
              file=sys.stderr)
        return 2
    os.environ["BULKHEAD_CHECK"] = ROOT  # for a ./demo that a test starts
    for number in SIGNALS:
        signal.signal(number, interrupt)
    tally = Tally()
    try:
        say("packages")
        if run("tools/install-deps"):
            tally.fail("packages", "see above")
        else:
            parts(tally, args)
    except KeyboardInterrupt:
        tally.fail("interrupted", "what came after was not run")
    return finish(tally)


if __name__ == "__main__":
    sys.exit(main())
