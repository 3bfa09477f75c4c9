# SPDX-License-Identifier: Apache-2.0
"""A whole Debian 12 machine with systemd in a bare QEMU, for what namespaces can't show: units and their order.

The root filesystem is made once from Debian's archive and cached; each machine writes to an overlay of its own. A
shell in the guest answers over a virtio-serial port, so no network is needed. What is to be installed comes as a
second disk.
"""
import base64
import glob
import hashlib
import inspect
import os
import shutil
import signal
import socket
import subprocess
import tempfile

from . import image, util

# Debian's own libvirt with its units; for VMs libvirt-lxc, since QEMU inside an emulated machine takes minutes.
PACKAGES = ["systemd-sysv", "dbus", "udev", "libvirt-daemon-system", "libvirt-daemon-driver-lxc", "libvirt-clients",
            "iproute2", "kmod", "procps", "busybox", "nats-server", "libbpf1", "libcap-ng0", "libcurl4", "libjansson4",
            "libmicrohttpd12", "libmnl0", "libnats3.4", "libsodium23", "libsqlite3-0", "libssl3", "libuv1", "libxml2",
            "libyaml-0-2", "libbrotli1", "libfido2-1", "libjose0", "libmagic1", "libnghttp2-14", "libpcre2-8-0", "libpsl5",
            "libqrencode4", "libisal2", "libvectorscan5", "libzstd1", "iputils-ping"]
MODULES = ["bridge", "veth", "tun", "fuse", "sch_ingress", "cls_bpf", "virtio_console", "virtio_pci", "virtio_blk"]
# What libvirt's iptables rules for its networks need.
NETFILTER = ["ip_tables", "iptable_filter", "iptable_nat", "iptable_mangle", "nft_compat", "nf_tables", "xt_conntrack",
             "xt_MASQUERADE", "xt_CHECKSUM", "ipt_REJECT", "br_netfilter"]
# Nothing here has hardware, a console to log in at, or a clock to keep; libvirt's own services stay.
MASKED = ["nats-server.service", "getty@tty1.service", "apt-daily.timer", "apt-daily-upgrade.timer", "fstrim.timer",
          "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "logrotate.timer",
          "systemd-pstore.service", "systemd-update-utmp.service", "systemd-timesyncd.service",
          "systemd-networkd-wait-online.service", "modprobe@drm.service",
          "systemd-hwdb-update.service", "ldconfig.service", "serial-getty@ttyS0.service", "systemd-sysusers.service"]
PORT = "/dev/virtio-ports/lab"
AGENT = f"""#!/bin/bash
# Each line is a number and a command in base64; the answer: the number, the exit code, the output in base64.
exec 3<>{PORT}
while read -r number line <&3; do
	out=$(base64 -d <<< "$line" | bash 2>&1 | base64 -w0; exit ${{PIPESTATUS[1]}})
	printf '%s %s %s\\n' "$number" $? "$out" >&3
done
"""
AGENT_UNIT = """[Unit]
Description=Shell of the lab
[Service]
ExecStart=/usr/local/sbin/lab-agent
Restart=always
KillMode=process
[Install]
WantedBy=multi-user.target
"""
INIT = """#!/bin/busybox sh
mount -t devtmpfs dev /dev
while read -r module; do insmod /m/$module; done < /m/list
until [ -e /dev/vda ]; do sleep 0.1; done
mount -t ext4 /dev/vda /root
mount --move /dev /root/dev
exec switch_root /root /sbin/init
"""


def _key():
    """Of all that decides what is on the disk."""
    parts = [image.kernel(), repr((PACKAGES, MODULES, NETFILTER, MASKED, AGENT, AGENT_UNIT))]
    parts += [inspect.getsource(part) for part in (_make_tree, _furnish, _make_disk, root_disk)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _make_tree(tree):
    if not shutil.which("mmdebstrap"):
        raise util.LabError("mmdebstrap is not installed: tools/install-deps")
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "man", "locale", "info")]
    util.run("mmdebstrap", "--variant=minbase", "--mode=root", "--quiet", *excludes,
             "--aptopt=Acquire::Languages \"none\"", "--aptopt=APT::Install-Recommends \"false\"",
             f"--include={','.join(PACKAGES)}", "bookworm", tree, timeout=900)


def _furnish(tree):
    """The kernel's modules, the agent, a bridge for VMs, and no services that nobody needs here."""
    version = os.listdir(f"{image.kernel()}/lib/modules")[0]
    target = f"{tree}/usr/lib/modules/{version}"
    os.makedirs(target)
    for path in image._module_files(image.kernel(), MODULES + NETFILTER):
        name = os.path.relpath(path, f"{image.kernel()}/lib/modules/{version}")
        os.makedirs(os.path.dirname(f"{target}/{name}"), exist_ok=True)
        shutil.copy(path, f"{target}/{name}")
    for path in glob.glob(f"{image.kernel()}/lib/modules/{version}/modules.*"):
        shutil.copy(path, target)
    util.run("depmod", "-b", f"{tree}/usr", version, check=False)
    util.write(f"{tree}/usr/local/sbin/lab-agent", AGENT, 0o755)
    util.write(f"{tree}/etc/systemd/system/lab-agent.service", AGENT_UNIT)
    util.write(f"{tree}/etc/systemd/network/br0.netdev", "[NetDev]\nName=br0\nKind=bridge\n")
    util.write(f"{tree}/etc/systemd/network/br0.network",
               "[Match]\nName=br0\n[Network]\nAddress=10.79.0.1/24\nConfigureWithoutCarrier=yes\n[Link]\nRequiredForOnline=no\n")
    util.write(f"{tree}/etc/hostname", "machine\n")
    util.write(f"{tree}/etc/fstab", "/dev/vda / ext4 defaults 0 0\n")
    util.write(f"{tree}/etc/machine-id", "")
    systemctl = ["systemctl", f"--root={tree}", "-q"]
    util.run(*systemctl, "mask", *MASKED, check=False)
    util.run(*systemctl, "enable", "lab-agent.service", "systemd-networkd.service", check=False)
    for path in glob.glob(f"{tree}/var/lib/apt/lists/*_*") + glob.glob(f"{tree}/var/cache/apt/*.bin"):
        os.unlink(path)


def _make_disk(tree, path, size_mb):
    util.run("truncate", "-s", f"{size_mb}M", path)
    util.run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal" if size_mb < 500 else "has_journal", "-E",
             "lazy_itable_init=1", "-d", tree, path, timeout=300)


def root_disk():
    """Path of the cached root filesystem; about two minutes when it has to be made."""
    target = f"{util.CACHE_DIR}/machine-{_key()}.ext4"
    if os.path.exists(target):
        return target
    os.makedirs(util.CACHE_DIR, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=util.CACHE_DIR) as work:
        os.chmod(work, 0o755)
        _make_tree(f"{work}/tree")
        _furnish(f"{work}/tree")
        _make_disk(f"{work}/tree", f"{work}/disk", 1500)
        for old in glob.glob(f"{util.CACHE_DIR}/machine-*.ext4"):
            os.unlink(old)
        os.rename(f"{work}/disk", target)
    return target


def _initrd(work):
    root = f"{work}/initrd-root"
    for folder in ("bin", "m", "dev", "root"):
        os.makedirs(f"{root}/{folder}")
    shutil.copy("/bin/busybox", f"{root}/bin/busybox")
    for name in ("sh", "mount", "insmod", "sleep", "switch_root", "[", "mknod"):
        os.symlink("busybox", f"{root}/bin/{name}")
    names = []
    for path in image._module_files(image.kernel(), ["virtio_pci", "virtio_blk"]):
        names.append(os.path.basename(path))
        util.run("objcopy", "--strip-debug", path, f"{root}/m/{names[-1]}")
    util.write(f"{root}/m/list", "".join(f"{n}\n" for n in names))
    util.write(f"{root}/init", INIT, 0o755)
    util.run("sh", "-c", f"cd {root} && find . | cpio -o -H newc --quiet | lz4 -l -1 -c > {work}/initrd")
    return f"{work}/initrd"


class Machine:
    """boot(), run(), power_off() or cut_power(), boot() again; close() ends it. `installed`: a folder that stands for
    the root of the second disk, /dev/vdb in the guest."""

    def __init__(self, installed, memory_mb=1024):
        self.memory_mb = memory_mb
        self.work = tempfile.mkdtemp(prefix="bh-machine-")
        self.console = f"{self.work}/console.log"
        self.process = self.socket = self.reader = None
        self.commands = 0
        try:
            util.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", root_disk(), f"{self.work}/root.qcow2")
            _make_disk(installed, f"{self.work}/second.ext4", 256)
            self.initrd = _initrd(self.work)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _argv(self):
        kvm = image.probe_kvm()
        speed = ["-enable-kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "qemu64"]
        return ["qemu-system-x86_64", "-machine", "q35", *speed, "-smp", "2", "-m", str(self.memory_mb), "-display", "none",
                "-nodefaults", "-no-reboot", "-serial", f"file:{self.console}",
                "-kernel", f"{image.kernel()}/vmlinux", "-initrd", self.initrd,
                "-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check "
                "cryptomgr.notests root=/dev/vda rw net.ifnames=0 systemd.show_status=no",
                "-drive", f"file={self.work}/root.qcow2,if=none,id=root,cache=unsafe",
                "-device", "virtio-blk-pci,drive=root",
                "-drive", f"file={self.work}/second.ext4,if=none,id=second,format=raw,cache=unsafe",
                "-device", "virtio-blk-pci,drive=second",
                "-chardev", f"socket,id=lab,path={self.work}/lab.sock,server=on,wait=off",
                "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=lab,name=lab"]

    def boot(self, timeout=300):
        """Until the shell in the guest answers."""
        util.write(self.console, "")
        if os.path.exists(f"{self.work}/lab.sock"):  # QEMU leaves it there when it is killed
            os.unlink(f"{self.work}/lab.sock")
        self.process = subprocess.Popen(self._argv(), stdin=subprocess.DEVNULL,  # pylint: disable=consider-using-with
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        util.wait_until("QEMU's socket", lambda: os.path.exists(f"{self.work}/lab.sock") or self.process.poll(), 10)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"{self.work}/lab.sock")
        self.reader = self.socket.makefile("rb")
        try:
            self.run("true", timeout=timeout)  # the port keeps it until somebody reads
        except util.LabError:
            raise util.LabError(f"the machine did not come up:\n{util.tail(self.console, 30)}") from None
        return self

    def _send(self, command):
        self.commands += 1
        self.socket.sendall(b"%d %s\n" % (self.commands, base64.b64encode(command.encode())))

    def run(self, command, check=True, timeout=120):
        """Runs lines of shell as root in the guest; returns the output, without check (code, output)."""
        self.socket.settimeout(timeout)
        self._send(command)
        words = []
        while not words or int(words[0]) != self.commands:  # else the late answer to one that was given up
            words = self._answer(command, timeout).split()
        code, out = int(words[1]), base64.b64decode(words[2]).decode(errors="replace") if len(words) > 2 else ""
        if not check:
            return code, out
        if code:
            raise util.LabError(f"{command}: exit {code}\n{out}")
        return out

    def _answer(self, command, timeout):
        try:
            line = self.reader.readline()
        except TimeoutError:
            self.reader = self.socket.makefile("rb")
            raise util.LabError(f"{command}: no answer within {timeout} s") from None
        if not line:
            raise util.LabError(f"the machine is gone:\n{util.tail(self.console, 30)}")
        return line

    def wait(self, what, command, timeout=60):
        """Until a command of the guest succeeds; its output."""
        last = ["", ""]

        def good():
            last[:] = self.run(command, check=False)
            return last[0] == 0
        try:
            util.wait_until(what, good, timeout, 0.5)
        except util.LabError as error:
            raise util.LabError(f"{error}: {command}\n{last[1]}") from None
        return last[1]

    def power_off(self, timeout=90):
        """An orderly shutdown."""
        self.socket.settimeout(10)
        self._send("systemctl poweroff --no-block")
        self._end(timeout)

    def cut_power(self):
        self.process.send_signal(signal.SIGKILL)
        self._end(10)

    def _end(self, timeout):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise util.LabError(f"the machine does not end:\n{util.tail(self.console, 30)}") from None
        self.process = None
        self.reader.close()
        self.socket.close()

    def close(self):
        if self.process:
            self.cut_power()
        shutil.rmtree(self.work, ignore_errors=True)
