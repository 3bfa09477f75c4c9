# SPDX-License-Identifier: Apache-2.0
"""Runs programs of this build on Debian's own kernel in a bare QEMU: no libvirt, no network, no disk.

The guest's init is a shell script that runs each program and prints its output and exit code on the serial
line. For what depends on the kernel's version: loading the BPF objects and judging packets with them.
"""
import os
import re
import shutil
import subprocess
import tempfile

from . import image, util

INIT = """#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mkdir -p /sys/fs/bpf /run; mount -t bpf bpf /sys/fs/bpf; mount -t tmpfs run /run
while read -r module; do insmod /m/$module; done < /m/list
ip link set lo up
echo "KERNEL $(uname -r)"
while read -r line; do echo "RUN $line"; $line 2>&1; echo "EXIT $?"; done < /programs
echo DONE; poweroff -f
"""
APPLETS = ["mount", "mkdir", "insmod", "uname", "grep", "sleep", "echo", "poweroff", "cat", "ls", "rm"]


def _initrd(work, commands, modules):
    root = f"{work}/root"
    for folder in ("bin", "m", "proc", "sys", "dev", "tmp", "run", "etc"):
        os.makedirs(f"{root}/{folder}")
    shutil.copy("/bin/busybox", f"{root}/bin/busybox")
    for name in APPLETS:
        os.symlink("busybox", f"{root}/bin/{name}")
    # iproute2 for tests that build bridges; busybox's shell would take its own ip first, so dash too
    for program in ("ip", "dash"):
        image._copy_program(root, os.path.realpath(shutil.which(program)))
    os.symlink(os.path.realpath(shutil.which("dash")), f"{root}/bin/sh")
    lines = []
    for command in commands:
        image._copy_program(root, command[0])
        lines.append(" ".join(command))
    util.write(f"{root}/programs", "\n".join(lines) + "\n")
    util.write(f"{root}/init", INIT, 0o755)
    names = []
    for path in image._module_files(image.kernel(), modules):
        names.append(os.path.basename(path))
        util.run("objcopy", "--strip-debug", path, f"{root}/m/{names[-1]}")
    util.write(f"{root}/m/list", "".join(f"{n}\n" for n in names))
    util.run("sh", "-c", f"cd {root} && find . | cpio -o -H newc --quiet | lz4 -l -1 -c > {work}/initrd")
    return f"{work}/initrd"


def run_programs(commands, modules=("tun", "veth", "dummy", "bridge", "sch_ingress", "cls_bpf"), timeout=300, memory_mb=1024,
                 icount=False):
    """Runs [[program, arg...], ...]; returns (kernel version, [(exit code, output)]).

    icount: the guest's clock moves one nanosecond with each instruction and with nothing else."""
    with tempfile.TemporaryDirectory(prefix="bh-bare-") as work:
        initrd = _initrd(work, commands, modules)
        argv = ["qemu-system-x86_64", "-machine", "q35", "-cpu", "qemu64", "-m", str(memory_mb), "-nographic",
                "-nodefaults", "-no-reboot", "-serial", "stdio", "-kernel", f"{image.kernel()}/vmlinux", "-initrd",
                initrd, "-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check "
                "cryptomgr.notests"]
        if icount:
            argv += ["-icount", "shift=0,sleep=off"]
        elif image.probe_kvm():
            argv[5:5] = ["-enable-kvm"]
        try:
            out = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 timeout=timeout, check=False).stdout
        except subprocess.TimeoutExpired as late:
            raise util.LabError(f"the guest did not finish in {timeout} s:\n"
                                f"{(late.stdout or b'').decode(errors='replace')[-2000:]}") from late
    text = out.decode(errors="replace").replace("\r", "")
    version = re.search(r"KERNEL (\S+)\n", text)
    if not version or "\nDONE" not in text:
        raise util.LabError(f"the guest did not get through:\n{text[-3000:]}")
    parts = re.split(r"^RUN .*$", text, flags=re.M)[1:]
    results = []
    for part in parts:
        code = re.search(r"^EXIT (\d+)$", part, re.M)
        results.append((int(code.group(1)), part[:code.start()].strip()))
    return version.group(1), results
