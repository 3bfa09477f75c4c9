# SPDX-License-Identifier: Apache-2.0
"""A lab: N hypervisor hosts, a management machine, a switch; by name, so that several live side by side."""
import concurrent.futures
import os
import re
import shutil
import zlib

from . import image, pki, util
from .host import Host
from .manager import Manager
from .node import Node, processes_marked


class Lab:
    """Networks: management 10.77.0.0/24 (hosts .1 .., manager .254, the world beyond NAT 192.0.2.1), and
    the bridges br0 of the hosts, joined by dl0 (veth to the switch, or VXLAN between two hosts). On br0:
    guests, the hosts at 10.78.0.20<n>, and the switch, a machine that is no guest, at 10.78.0.100."""

    def __init__(self, name, hosts=2, join="veth"):
        if not re.fullmatch(r"[a-z0-9-]{1,16}", name):
            raise util.LabError(f"lab name {name!r}: at most 16 of a-z, 0-9 and -")
        self.name = name
        self.dir = f"{util.LAB_DIR}/{name}"
        self.number = zlib.crc32(name.encode())
        self.join = join
        self.guests = {}
        self._numbers = {}
        self.kvm = False
        self.hosts = [Host(self, n + 1) for n in range(hosts)]
        self.manager = Manager(self)
        self.switch = Node(name, "sw", f"{self.dir}/sw")
        self.nat_missing = ""

    def number_of(self, name):
        """Of a guest, the same when it is made anew: its peers remember the MAC that is made of it."""
        return self._numbers.setdefault(name, 17 + len(self._numbers))

    def host(self, number):
        return self.hosts[number - 1]

    def nodes(self):
        return [self.switch, self.manager, *self.hosts]

    # ---- up ---------------------------------------------------------------------------------------
    def up(self, nat=True, bulkhead=False):
        """Nodes, networks and libvirt. bulkhead: installed on the hosts (hooks, configuration), not running yet;
        it has to be there first, because libvirtd looks for hooks only when it starts."""
        if os.geteuid():
            raise util.LabError("the lab makes namespaces and needs root: use sudo")
        self.down()
        os.makedirs(self.dir)
        util.write(f"{self.dir}/hosts", str(len(self.hosts)))
        self.kvm = image.probe_kvm()
        image.initrd()
        pki.make_ca(f"{self.dir}/{pki.FOLDER}")
        for node in self.nodes():
            node.up()
        self._wire()
        for host in self.hosts if bulkhead else []:
            self.manager.install_host(host)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(Host.start_libvirt, self.hosts))
        if nat:
            self.nat_missing = "; ".join(filter(None, (h.start_nat_network() for h in self.hosts)))
        return self

    def _cable(self, node_a, name_a, node_b, name_b):
        """A veth pair; both ends keep their names as seen inside. The management network has room for the
        header of VXLAN around a frame of 1500 bytes."""
        mtu = 1600 if name_b == "mg0" else 1500
        util.run("ip", "link", "add", name_a, "mtu", mtu, "netns", node_a.pid, "type", "veth",
                 "peer", "name", name_b, "mtu", mtu, "netns", node_b.pid)

    def _wire(self):
        self.switch.sh("ip link add mgmt type bridge forward_delay 0; ip link set mgmt up;"
                       "ip link add lan type bridge forward_delay 0; ip link set lan up;"
                       "ip addr add 10.78.0.100/24 dev lan; ip -6 addr add fd78::100/64 dev lan nodad;"
                       "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f; done")
        self._cable(self.switch, "mgmt-mgr", self.manager, "mg0")
        self.switch.sh("ip link set mgmt-mgr master mgmt up")
        self.manager.sh("ip addr add 10.77.0.254/24 dev mg0; ip link set mg0 up; ip addr add 192.0.2.1/32 dev lo")
        for host in self.hosts:
            n = host.number
            self._cable(self.switch, f"mgmt-h{n}", host, "mg0")
            self.switch.sh(f"ip link set mgmt-h{n} master mgmt up")
            host.sh(f"ip addr add {host.address}/24 dev mg0; ip link set mg0 up;"
                    "ip route add default via 10.77.0.254;"
                    "ip link add br0 type bridge forward_delay 0; ip link set br0 up;"
                    f"ip addr add 10.78.0.{200 + n}/24 dev br0; ip -6 addr add fd78::{200 + n}/64 dev br0 nodad")
            self._join(host)

    def _join(self, host):
        n = host.number
        if self.join == "vxlan":
            peer = self.hosts[2 - n].address
            host.sh(f"ip link add dl0 type vxlan id 42 local {host.address} remote {peer} dstport 4789 dev mg0")
        else:
            self._cable(self.switch, f"lan-h{n}", host, "dl0")
            self.switch.sh(f"ip link set lan-h{n} master lan up")
        host.sh("ip link set dl0 master br0 up")

    def start_guests(self, *guests):
        """Start several at once: under TCG two boot in parallel on two cores."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda g: g.start(), guests))

    # ---- down -------------------------------------------------------------------------------------
    def down(self):
        """Ends everything of this lab, also what a crashed run left behind."""
        for node in self.nodes():
            node.down()
        for other in range(len(self.hosts) + 1, 10):  # a lab of that name may have had more hosts
            if processes_marked(f"{self.name}/h{other}."):
                Host(self, other).down()
        shutil.rmtree(self.dir, ignore_errors=True)
        if os.path.isdir(util.LAB_DIR) and not os.listdir(util.LAB_DIR):
            os.rmdir(util.LAB_DIR)

    @classmethod
    def attach(cls, name):
        """The lab of that name as another process left it running."""
        count = util.read(f"{util.LAB_DIR}/{name}/hosts")
        if not count:
            raise util.LabError(f"no lab {name} in {util.LAB_DIR}")
        lab = cls(name, hosts=int(count))
        lab.kvm = image.probe_kvm()
        return lab
