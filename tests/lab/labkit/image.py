# SPDX-License-Identifier: Apache-2.0
"""What guests boot: Debian's cloud kernel and an initrd with our agent, both cached.

The cache key of an initrd is the hash of everything that goes into it, so a second start is fast and a
changed agent is rebuilt. The kernel is an ELF image taken out of the bzImage: it boots by PVH without
decompressing itself, which halves the time under TCG.
"""
import glob
import hashlib
import lzma
import os
import shutil
import struct
import subprocess
import tempfile
import time

from . import util

MODULES = ["virtio_pci", "virtio_net", "virtio_blk", "virtio_console", "8021q", "sctp"]
BUSYBOX = ["sh", "ls", "cat", "echo", "dmesg", "mount", "ip", "ping", "arping", "sleep", "grep", "awk", "head",
           "tail", "ps", "kill", "nc", "wget", "udhcpc", "udhcpc6", "nslookup", "ifconfig", "route", "seq", "tr",
           "cut", "sed", "mkdir", "rm", "cp", "touch", "true", "false", "hostname", "timeout", "vconfig", "arp",
           "date", "wc", "lsmod", "insmod", "traceroute", "env", "find", "sysctl", "killall", "test", "["]
ATTACK_TOOLS = ["/usr/sbin/arpspoof", "/usr/sbin/hping3", "/usr/bin/nmap"]
UDHCPC = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr flush dev $interface
ip addr add $ip/${mask:-24} dev $interface
[ -n "$router" ] && ip route add default via $router
echo "lease $ip router $router dns $dns"
"""


def _kernel_package():
    def depends():
        out = util.run("apt-cache", "depends", "linux-image-cloud-amd64", check=False).stdout
        return [line.split()[1] for line in out.splitlines() if "Depends:" in line]
    names = depends()
    if not names:
        util.run("apt-get", "update", "-q", timeout=300)
        names = depends()
    if not names:
        raise util.LabError("no package linux-image-cloud-amd64: is Debian's archive configured?")
    return names[0]


def _extract_elf(bzimage, target):
    with open(bzimage, "rb") as file:
        data = file.read()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (data[0x1f1] + 1) * 512 + offset
    payload = data[start:start + length]
    if payload[:4] == b"\x02\x21\x4c\x18":
        elf = subprocess.run(["lz4", "-d", "-c"], input=payload, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, check=False).stdout
    else:
        elf = lzma.LZMADecompressor().decompress(payload)
    if elf[:4] != b"\x7fELF":
        raise util.LabError(f"{bzimage} holds no ELF kernel in a form known here")
    with open(target + ".new", "wb") as file:
        file.write(elf)
    os.rename(target + ".new", target)


def kernel():
    """The folder of the cached kernel: vmlinux, vmlinuz, config, lib/modules/<version>."""
    have = sorted(glob.glob(f"{util.CACHE_DIR}/kernel-*/vmlinux"))
    if have:
        return os.path.dirname(have[-1])
    os.makedirs(util.CACHE_DIR, exist_ok=True)
    package = _kernel_package()
    target = f"{util.CACHE_DIR}/kernel-{package.removeprefix('linux-image-')}"
    with tempfile.TemporaryDirectory(dir=util.CACHE_DIR) as work:
        os.chmod(work, 0o755)
        util.run("apt-get", "-o", "APT::Sandbox::User=root", "download", "-q", package, cwd=work, timeout=300)
        util.run("dpkg", "-x", glob.glob(f"{work}/*.deb")[0], f"{work}/tree")
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(f"{work}/out/lib")
        shutil.move(f"{work}/tree/lib/modules", f"{work}/out/lib/modules")
        shutil.move(glob.glob(f"{work}/tree/boot/vmlinuz-*")[0], f"{work}/out/vmlinuz")
        shutil.move(glob.glob(f"{work}/tree/boot/config-*")[0], f"{work}/out/config")
        util.run("depmod", "-b", f"{work}/out", os.listdir(f"{work}/out/lib/modules")[0])
        _extract_elf(f"{work}/out/vmlinuz", f"{work}/out/vmlinux")
        shutil.move(f"{work}/out", target)
    return target


def _sources():
    return sorted(glob.glob(os.path.join(os.path.dirname(__file__), "..", "guest", "*.[ch]")))


def _module_files(kernel_dir, names):
    version = os.listdir(f"{kernel_dir}/lib/modules")[0]
    files = []
    for name in names:
        out = util.run("modprobe", "-d", kernel_dir, "-S", version, "--show-depends", name, check=False)
        for line in out.stdout.splitlines():
            if line.startswith("insmod ") and line.split()[1] not in files:
                files.append(line.split()[1])
    return files


def _copy_program(root, path):
    """A dynamic program of the host with the libraries that it needs."""
    out = util.run("ldd", path, check=False).stdout
    for word in [path] + [w for w in out.split() if w.startswith("/")]:
        target = root + word
        if not os.path.exists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(os.path.realpath(word), target)


def _fill(root, kernel_dir, modules, programs, files):
    for folder in ("bin", "m", "tmp", "etc", "etc/udhcpc"):
        os.makedirs(f"{root}/{folder}")
    sources = [s for s in _sources() if s.endswith(".c")]
    util.run("gcc", "-std=gnu2x", "-D_GNU_SOURCE", "-O2", "-static", "-o", f"{root}/init", *sources, "-ljansson")
    shutil.copy("/bin/busybox", f"{root}/bin/busybox")
    for name in BUSYBOX:
        os.symlink("busybox", f"{root}/bin/{name}")
    util.write(f"{root}/etc/udhcpc/default.script", UDHCPC, 0o755)
    names = []
    for path in _module_files(kernel_dir, modules):
        names.append(os.path.basename(path))
        util.run("objcopy", "--strip-debug", path, f"{root}/m/{names[-1]}")
    util.write(f"{root}/m/list", "\n".join(names) + "\n")
    for program in programs:
        _copy_program(root, program)
    for source, target in files:
        os.makedirs(os.path.dirname(root + target), exist_ok=True)
        (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, root + target)


def initrd(modules=(), programs=(), files=()):
    """Path of an initrd with our agent, extra kernel modules, programs with libraries, files (from, to)."""
    kernel_dir = kernel()
    modules = MODULES + list(modules)
    digest = hashlib.sha256(repr((kernel_dir, modules, list(programs), list(files))).encode())
    for path in [__file__] + _sources() + [f for f, _ in files if os.path.isfile(f)]:
        with open(path, "rb") as file:
            digest.update(file.read())
    target = f"{util.CACHE_DIR}/initrd-{digest.hexdigest()[:16]}"
    if os.path.exists(target):
        os.utime(target)
        return target
    with tempfile.TemporaryDirectory(dir=util.CACHE_DIR) as work:
        _fill(f"{work}/root", kernel_dir, modules, programs, files)
        util.run("sh", "-c", f"cd {work}/root && find . | cpio -o -H newc --quiet | lz4 -l -9 -c > {work}/new")
        os.rename(f"{work}/new", target)
    for old in sorted(glob.glob(f"{util.CACHE_DIR}/initrd-*"), key=os.path.getmtime)[:-8]:
        os.unlink(old)
    return target


def attack_initrd():
    """With arpspoof, hping3 and nmap of Debian; None for those that are not installed."""
    tools = [t for t in ATTACK_TOOLS if os.path.exists(t)]
    files = [(f"/usr/share/nmap/{n}", f"/usr/share/nmap/{n}")
             for n in ("nmap-services", "nmap-protocols", "nmap-mac-prefixes", "nmap-payloads", "nmap-rpc")
             if os.path.exists(f"/usr/share/nmap/{n}")]
    for path in glob.glob("/usr/lib/x86_64-linux-gnu/tcl*/init.tcl") + glob.glob("/usr/share/tcltk/tcl8.6/init.tcl"):
        files.append((path, path))
    return initrd(programs=tools, files=files)


def probe_kvm(seconds=5):
    """True when a stock kernel prints its banner under KVM here. /dev/kvm alone proves nothing."""
    answer = f"{util.CACHE_DIR}/kvm-{os.uname().release}"
    if os.path.exists(answer):
        return util.read(answer).strip() == "yes"
    works = False
    if os.path.exists("/dev/kvm"):
        with tempfile.NamedTemporaryFile() as log:
            with subprocess.Popen(["qemu-system-x86_64", "-enable-kvm", "-machine", "q35", "-cpu", "host", "-m", "128",
                                   "-nographic", "-nodefaults", "-no-reboot", "-serial", f"file:{log.name}", "-kernel",
                                   f"{kernel()}/vmlinux", "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as qemu:
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline and qemu.poll() is None and not works:
                    works = "Linux version" in util.read(log.name)
                    time.sleep(0.1)
                qemu.kill()
    util.write(answer, "yes\n" if works else "no\n")
    return works
