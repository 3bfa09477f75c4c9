#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions that one packet costs, on Debian's kernel: bench_packet in a guest whose clock counts instructions.

Counts the same on every machine and under every load (a program without interrupts is all that runs), where
nanoseconds do not. usage: bench_instructions.py BUILD_DIR
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
from labkit import bare  # noqa: E402


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip().splitlines()[-1])
    program = os.path.abspath(f"{sys.argv[1]}/tests/bpf/bench_packet")
    if not os.path.exists(program):
        sys.exit(f"{program} is not there: build first (ninja -C {sys.argv[1]})")
    version, results = bare.run_programs([[program, "--icount"]], timeout=900, icount=True)
    code, output = results[0]
    print(f"kernel {version}, QEMU's instruction counter\n{output}")
    return code


if __name__ == "__main__":
    sys.exit(main())
