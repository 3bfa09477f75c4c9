# SPDX-License-Identifier: Apache-2.0
"""The BPF objects load and judge packets on Debian 12's own kernel, inside a guest."""
import glob
import os

from labkit import bare, manager


def test_packet_tests_pass_on_debians_kernel():
    programs = sorted(p for p in glob.glob(f"{manager.build_dir()}/tests/bpf/test_bpf_*") if os.path.isfile(p))
    assert programs, "no packet tests in the build"
    version, results = bare.run_programs([[p] for p in programs], timeout=600)
    assert version.startswith("6.1."), version
    assert len(results) == len(programs)
    for program, (code, output) in zip(programs, results):
        assert code == 0, f"{os.path.basename(program)} on {version}: exit {code}\n{output[-3000:]}"
        assert "FAILED" not in output
