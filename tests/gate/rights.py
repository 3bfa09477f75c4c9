#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What bulkhead-gated may still do when it reads a capture: tests/gate/rights.py PROGRAM

The capture is a pipe that nothing comes out of, so the program stands before the first foreign byte: by then it has given up its
rights, whichever way it was started and wherever its records go. Inline and as a sensor live.py looks. As root.
"""
import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

WAIT_S = 60
HEADER = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)
NOBODY = 65534
RIGHTS = "+net_raw,+net_admin,+sys_ptrace,+dac_override"
SOMEBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", f"--inh-caps={RIGHTS}", f"--ambient-caps={RIGHTS}"]
RULES = 'alert http any any -> any any (filestore; sid:1;)\n'


def status_of(task):
    with open(f"/proc/{task}/status", encoding="utf-8") as file:
        return {key: value.split() for key, _, value in (line.partition(":") for line in file)}


def stands_still(process):
    """It waits for the capture, or has ended."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and process.poll() is None:
        if status_of(process.pid)["Seccomp"] == ["2"]:
            return
        time.sleep(0.02)
    raise AssertionError("it reads with its rights: " + (process.stderr.read().decode() if process.poll() is not None else "it waits"))


def check(program, name, uid, options, before=()):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gate-rights-"))
        os.chmod(folder, 0o777)
        os.mkfifo(f"{folder}/in.pcap")
        os.chmod(f"{folder}/in.pcap", 0o666)
        with open(f"{folder}/test.rules", "w", encoding="utf-8") as file:
            file.write(RULES)
        reader = stack.enter_context(socket.socket(socket.AF_UNIX))
        reader.bind(f"{folder}/eve.sock")
        reader.listen()
        os.chmod(f"{folder}/eve.sock", 0o777)
        process = subprocess.Popen([*before, program, "-q", "-r", f"{folder}/in.pcap", "-S", f"{folder}/test.rules", "-l", f"{folder}/log",
                                    *(o.replace("FOLDER", folder) for o in options)], stderr=subprocess.PIPE)
        stack.callback(process.wait)
        stack.callback(process.kill)
        with open(os.open(f"{folder}/in.pcap", os.O_RDWR), "wb", buffering=0) as capture:  # whoever reads need not be there
            stands_still(process)
            for thread in os.listdir(f"/proc/{process.pid}/task"):
                status = status_of(f"{process.pid}/task/{thread}")
                assert status["Uid"] == [str(uid)] * 4 and status["Groups"] == [], status
                assert all(int(status[caps][0], 16) == 0 for caps in ("CapEff", "CapPrm", "CapInh", "CapAmb")), status
                assert status["NoNewPrivs"] == ["1"] and status["Seccomp"] == ["2"], status
            capture.write(HEADER)
        assert process.wait(WAIT_S) == 0, process.stderr.read()
    print(f"ok: {name}")


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    program = os.path.abspath(sys.argv[1])
    check(program, "records in a file", NOBODY, [])
    check(program, "records to a socket", NOBODY, ["--set", "eve.unix=FOLDER/eve.sock"])
    check(program, "files are stored", NOBODY, ["--set", "file-store.enabled=yes"])
    check(program, "as another user", 1, ["--user", "daemon"])
    check(program, "as root, without what root may", 0, ["--user", "root"])
    if subprocess.run([*SOMEBODY, "test", "-x", program], check=False).returncode:
        print(f"skipped: as somebody with rights: {program} is out of his reach")
    else:
        check(program, "as somebody with rights", NOBODY, [], SOMEBODY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
