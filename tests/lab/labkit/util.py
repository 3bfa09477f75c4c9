# SPDX-License-Identifier: Apache-2.0
"""Small things that every part of the lab uses."""
import os
import subprocess
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
LAB_DIR = os.environ.get("BULKHEAD_LAB_DIR", "/var/tmp/bulkhead-lab")
CACHE_DIR = os.environ.get("BULKHEAD_LAB_CACHE", "/var/cache/bulkhead-lab")
PATIENCE = 3  # times what a wait asks for: it ends with what it waits for, and a busy machine is no failure


class LabError(Exception):
    """The lab could not be built or used; the text says what to look at."""


def run(*argv, check=True, timeout=120, **kw):
    """Run a command and return its CompletedProcess; on failure raise with its output."""
    done = subprocess.run([str(a) for a in argv], stdin=kw.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout, check=False, **kw)
    if check and done.returncode:
        raise LabError(f"{' '.join(str(a) for a in argv)}: exit {done.returncode}\n"
                       f"{done.stdout}{done.stderr}".strip())
    return done


def wait_until(what, predicate, timeout=30.0, every=0.05):
    """Poll until predicate() is true and return its value; LabError names `what` otherwise."""
    start = time.monotonic()
    while True:
        value = predicate()
        if value:
            return value
        waited = time.monotonic() - start
        if waited > timeout * PATIENCE:
            raise LabError(f"waited {waited:.0f} s in vain for {what}")
        time.sleep(every)


def write(path, text, mode=None):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    if mode is not None:
        os.chmod(path, mode)


def read(path, otherwise=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return otherwise


def tail(path, lines=15):
    return "\n".join(read(path).splitlines()[-lines:])
