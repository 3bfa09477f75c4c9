# SPDX-License-Identifier: Apache-2.0
"""A hypervisor host: a node with its own virtlogd, libvirtd, bridge br0 and libvirt NAT network."""
import os
import shutil

from . import pki, util
from .container import Container
from .guest import Guest
from .node import Node

LIBVIRTD_CONF = """host_uuid = "{uuid}"
listen_addr = "{address}"
listen_tls = 1
ca_file = "/etc/libvirt/pki/cacert.pem"
cert_file = "/etc/libvirt/pki/cert.pem"
key_file = "/etc/libvirt/pki/key.pem"
listen_tcp = 1
auth_tcp = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
log_filters = "3:util.object 3:rpc"
"""
QEMU_CONF = """user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
stdio_handler = "logd"
namespaces = [ ]
migration_host = "{address}"
migration_address = "{address}"
migrate_tls_x509_cert_dir = "/etc/libvirt/pki/qemu"
migrate_tls_x509_verify = 1
"""
LXC_CONF = 'security_driver = "none"\n'
USERS = [("libvirt-qemu", 64055), ("libvirt-dnsmasq", 64056)]
NAT_NETWORK = """<network><name>default</name><forward mode='nat'/><bridge name='virbr0' stp='off' delay='0'/>
<dns><host ip='192.168.122.1'><hostname>gateway.lab</hostname></host></dns>
<ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.100' end='192.168.122.200'/></dhcp></ip>
</network>"""


class Host(Node):
    """number: 1..9; its management address is 10.77.0.<number>, its address on br0 10.78.0.<200+number>."""

    def __init__(self, lab, number):
        super().__init__(lab.name, f"h{number}", f"{lab.dir}/h{number}", with_cgroups=True)
        self.lab = lab
        self.number = number
        self.address = f"10.77.0.{number}"
        self.guests = {}
        self.mounts += [("etc-libvirt", "/etc/libvirt"), ("lib-libvirt", "/var/lib/libvirt"),
                        ("cache-libvirt", "/var/cache/libvirt"), ("log", "/var/log/libvirt"),
                        ("etc-bulkhead", "/etc/bulkhead"), ("lib-bulkhead", "/var/lib/bulkhead")]

    # ---- libvirt ----------------------------------------------------------------------------------
    def up(self):
        etc = f"{self.dir}/etc-libvirt"
        os.makedirs(etc, exist_ok=True)
        shutil.copytree("/etc/libvirt", etc, dirs_exist_ok=True)
        controllers = [c for c in self.controllers if c not in ("pids", "freezer", "v2")]
        groups = f"cgroup_controllers = [ {', '.join(chr(34) + c + chr(34) for c in controllers)} ]\n" \
            if controllers else ""
        uuid = f"00000000-0000-4000-8000-{self.lab.number:08x}{self.number:04x}"
        util.write(f"{etc}/libvirtd.conf", LIBVIRTD_CONF.format(uuid=uuid, address=self.address))
        util.write(f"{etc}/qemu.conf", QEMU_CONF.format(address=self.address) + groups)
        pki.issue(f"{self.lab.dir}/{pki.FOLDER}", self, f"{etc}/{pki.FOLDER}")
        util.write(f"{etc}/lxc.conf", LXC_CONF)
        for driver in ("qemu", "lxc"):  # libvirtd looks for hooks only if the folder is there when it starts
            os.makedirs(f"{etc}/hooks/{driver}.d", exist_ok=True)
        self._seed_capabilities()
        super().up()
        for name, number in USERS:
            self.sh(f"grep -q ^{name}: /etc/passwd || echo {name}:x:{number}:{number}::/var/lib/libvirt:"
                    f"/usr/sbin/nologin >> /etc/passwd; grep -q ^{name}: /etc/group || echo {name}:x:{number}: >> /etc/group")
        links = "".join(f"mkdir -p {os.path.dirname(link)}; ln -sf /etc/libvirt/{pki.FOLDER}/{name} {link};"
                        for link, name in pki.LINKS.items())
        names = "".join(f"echo {h.address} {h.name}.lab >> /etc/hosts;" for h in self.lab.hosts)
        self.sh(links + names + "mkdir -p /run/agents; echo 1 > /proc/sys/net/ipv4/ip_forward;"
                "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f; done")

    def _seed_capabilities(self):
        """The first probe of QEMU takes 8 s; libvirt checks itself whether the cached one still holds."""
        cache = f"{util.CACHE_DIR}/libvirt-capabilities"
        if os.path.isdir(cache):
            shutil.copytree(cache, f"{self.dir}/cache-libvirt/qemu/capabilities", dirs_exist_ok=True)

    def _keep_capabilities(self):
        have, cache = f"{self.dir}/cache-libvirt/qemu/capabilities", f"{util.CACHE_DIR}/libvirt-capabilities"
        if os.path.isdir(have) and os.listdir(have):
            shutil.copytree(have, cache, dirs_exist_ok=True)

    def start_libvirt(self):
        if not self.pids_of("/usr/sbin/virtlogd"):
            self.run("virtlogd", "-d", "-p", "/run/virtlogd.pid")
        self.run("libvirtd", "-d", "-l", "-p", "/run/libvirtd.pid")
        util.wait_until(f"libvirtd of {self.name}",
                        lambda: self.virsh("version", check=False).returncode == 0, 60, 0.1)
        self._keep_capabilities()

    def stop_libvirt(self, signal_name="TERM"):
        pids = self.pids_of("/usr/sbin/libvirtd")
        for pid in pids:
            self.run("kill", f"-{signal_name}", pid, check=False)
        util.wait_until("the end of libvirtd", lambda: not self.pids_of("/usr/sbin/libvirtd"), 30)

    def restart_libvirt(self, signal_name="TERM"):
        self.stop_libvirt(signal_name)
        self.start_libvirt()

    def virsh(self, *args, check=True, uri="qemu:///system", timeout=120):
        return self.run("virsh", "-q", "-c", uri, *args, check=check, timeout=timeout)

    def start_nat_network(self):
        """libvirt's `default` network with dnsmasq and NAT. Returns '' or why it can't be had here."""
        path = f"{self.dir}/default-net.xml"
        util.write(path, NAT_NETWORK)
        for step in (("net-define", path), ("net-start", "default")):
            done = self.virsh(*step, check=False)
            if done.returncode:
                return (done.stderr or done.stdout).strip()
        return ""

    # ---- guests -----------------------------------------------------------------------------------
    def guest(self, name, **options):
        """Define a guest here (guest.Guest has the options); it is not started."""
        guest = Guest(self, name, **options)
        guest.define()
        self.guests[name] = guest
        self.lab.guests[name] = guest
        return guest

    def agent_socket(self, name):
        """Of a guest that runs here; below /run, so that its XML is the same on every host."""
        return f"{self.dir}/run/agents/{name}"

    def taps(self):
        return [link for link in os.listdir(f"/proc/{self.pid}/root/sys/class/net") if link.startswith("vnet")]

    def container(self, name, **options):
        """Define a libvirt-lxc domain here; it is not started."""
        box = Container(self, name, **options)
        box.define()
        self.guests[name] = box
        self.lab.guests[name] = box
        return box
