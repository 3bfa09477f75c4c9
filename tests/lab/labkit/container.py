# SPDX-License-Identifier: Apache-2.0
"""A libvirt-lxc domain: a veth NIC instead of a tap, this machine's programs inside. For attack tools."""
import uuid as uuids

from . import util
from .guest import Guest

URI = "lxc:///system"


class Container(Guest):
    """Same options as Guest; `run` starts any program of this machine inside."""

    def xml(self):
        setup = ["ip link set lo up", "ip link set eth0 up",
                 "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad"]
        for option in ("address", "address6"):
            if self.options.get(option):
                setup.append(f"ip addr add {self.options[option]} dev eth0")
        script = "; ".join(setup) + "; exec sleep infinity"
        nics = "".join(n.xml().replace("<model type='virtio'/><driver name='qemu'/>", "") for n in self.nics)
        return f"""<domain type='lxc'><name>{self.name}</name><uuid>{self.uuid}</uuid>{self._metadata()}
<memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type>exe</type><init>/bin/sh</init><initarg>-c</initarg><initarg>{script.replace('>', '&gt;')}</initarg></os>
<devices><emulator>/usr/lib/libvirt/libvirt_lxc</emulator>
<filesystem type='mount' accessmode='passthrough'><source dir='/'/><target dir='/'/></filesystem>{nics}
<console type='pty'/></devices></domain>"""

    def define(self):
        path = f"{self.host.dir}/{self.name}.xml"
        util.write(path, self.xml())
        self.host.virsh("define", path, uri=URI)

    def start(self, wait=True, timeout=60):
        self.host.virsh("start", self.name, uri=URI)
        if wait:
            self.wait(timeout)
        return self

    def wait(self, timeout=60):
        def up():
            return "inet" in self.run("ip", "-br", "addr", "show", "eth0", check=False).stdout or \
                "UP" in self.run("ip", "-br", "link", "show", "eth0", check=False).stdout
        util.wait_until(f"container {self.name}", up, timeout)
        return self

    def destroy(self):
        self.host.virsh("destroy", self.name, check=False, uri=URI)

    def remove(self):
        self.destroy()
        self.host.virsh("undefine", self.name, check=False, uri=URI)
        self.host.lab.guests.pop(self.name, None)
        self.host.guests.pop(self.name, None)

    def running(self):
        return self.host.virsh("domstate", self.name, check=False, uri=URI).stdout.strip() == "running"

    def tap(self, mac=None):
        for line in self.host.virsh("domiflist", self.name, uri=URI).stdout.splitlines():
            words = line.split()
            if len(words) >= 5 and words[4] == (mac or self.mac):
                return words[0]
        raise util.LabError(f"{self.name} has no interface {mac or self.mac}")

    def run(self, *command, check=True, timeout=60):
        return self.host.virsh("lxc-enter-namespace", self.name, "--noseclabel", "--", "/usr/bin/env",
                               "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command,
                               check=check, uri=URI, timeout=timeout)

    def sh(self, cmd, check=True, timeout=60):
        done = self.run("sh", "-c", cmd, check=check, timeout=timeout)
        return done.stdout + done.stderr

    def python(self, source, timeout=60):
        """Run a script (with scapy) inside."""
        path = f"{self.host.dir}/{self.name}-{uuids.uuid4().hex[:8]}.py"
        util.write(path, source)
        return self.run("/usr/bin/python3", path, timeout=timeout).stdout

    def ping(self, dst, count=1, **args):
        return self.run("ping", "-c", count, "-W", "1", dst, check=False).returncode == 0
