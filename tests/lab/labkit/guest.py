# SPDX-License-Identifier: Apache-2.0
"""A guest: a libvirt domain with our agent inside. Also the generator of its XML."""
import re
import uuid as uuids
from xml.sax.saxutils import escape, quoteattr

from . import image, util
from .agent import Agent

XML_NAMESPACE = "https://bulkhead.dev/xml/1"
# spare ports, so that NICs can be plugged in
PCI = "<controller type='pci' index='0' model='pcie-root'/>" + "".join(
    f"<controller type='pci' index='{n}' model='pcie-root-port'/>" for n in range(1, 8))
# a kernel that is stuck ends too, after 30 s: see Guest.crash
CMDLINE = ("console=ttyS0 quiet oops=panic softlockup_panic=1 watchdog_thresh=15 panic=-1 mitigations=off tsc=reliable "
           "no_timer_check cryptomgr.notests random.trust_cpu=on")


class Nic:
    """One interface. bridge or network; address (CIDR text) is configured inside the guest, and promised in
    the metadata unless promise=False; extra goes into <interface> as it is; flags into <bulkhead:nic>."""

    def __init__(self, mac, bridge="br0", network=None, addresses=(), promise=True, extra="", flags=None):
        self.mac, self.bridge, self.network = mac, bridge, network
        self.addresses, self.promise, self.extra = list(addresses), promise, extra
        self.flags = flags or {}

    def xml(self):
        kind, source = ("network", f"network={quoteattr(self.network)}") if self.network else \
                       ("bridge", f"bridge={quoteattr(self.bridge)}")
        return (f"<interface type='{kind}'><mac address='{self.mac}'/><source {source}/>"
                f"<model type='virtio'/><driver name='qemu'/>{self.extra}</interface>")

    def metadata(self):
        flags = " ".join(f"{k}={quoteattr(str(v))}" for k, v in self.flags.items())
        addresses = "".join(f"<bulkhead:address>{a.split('/')[0]}</bulkhead:address>"
                            for a in self.addresses if self.promise)
        return f"<bulkhead:nic mac='{self.mac}' {flags}>{addresses}</bulkhead:nic>"


class Guest:
    """Options: address="10.78.0.11/24" (and address6), tenant, labels={}, birth, nics=[Nic...] (instead of
    address), disk (path of a raw image on the host), initrd, memory_mib, gateway, metadata=False for a guest without Bulkhead's words in its XML."""

    def __init__(self, host, name, **options):
        self.host = host
        self.name = name
        self.options = options
        number = options.get("number") or host.lab.number_of(name)
        self.uuid = options.get("uuid") or str(uuids.uuid5(uuids.NAMESPACE_DNS, f"{name}.{host.lab.name}.lab"))
        self.address = (options.get("address") or "").split("/")[0]
        self.address6 = (options.get("address6") or "").split("/")[0]
        self.nics = options.get("nics") or [Nic(
            options.get("mac") or f"52:54:00:{host.lab.number & 255:02x}:00:{number:02x}",
            bridge=options.get("bridge", "br0"), network=options.get("network"),
            addresses=[a for a in (options.get("address"), options.get("address6")) if a],
            promise=options.get("promise", True), extra=options.get("nic_extra", ""),
            flags=options.get("nic_flags"))]
        self.mac = self.nics[0].mac
        self.agent = Agent(host.agent_socket(name))

    # ---- domain -----------------------------------------------------------------------------------
    def _metadata(self):
        if self.options.get("metadata") is False:
            return ""
        labels = "".join(f"<bulkhead:label key={quoteattr(k)} value={quoteattr(v)}/>"
                         for k, v in self.options.get("labels", {}).items())
        return (f"<metadata><bulkhead:vm xmlns:bulkhead='{XML_NAMESPACE}' "
                f"tenant={quoteattr(self.options.get('tenant', 'shop'))} "
                f"birth={quoteattr(self.options.get('birth', 'closed'))}>{labels}"
                f"{''.join(n.metadata() for n in self.nics)}</bulkhead:vm></metadata>")

    def _cmdline(self):
        words = [CMDLINE, f"name={self.name}"]
        for key, option in (("ip4", "address"), ("ip6", "address6"), ("gw4", "gateway")):
            if self.options.get(option):
                words.append(f"{key}={self.options[option]}")
        return escape(" ".join(words))

    def xml(self):
        kind = self.options.get("type") or ("kvm" if self.host.lab.kvm else "qemu")
        cpu = "<cpu mode='host-passthrough'/>" if kind == "kvm" else \
            "<cpu mode='custom' match='exact' check='none'><model fallback='allow'>qemu64</model></cpu>"
        tcg = "<tcg><tb-cache unit='MiB'>32</tb-cache></tcg>" if kind == "qemu" else ""
        return f"""<domain type='{kind}'><name>{self.name}</name><uuid>{self.uuid}</uuid>{self._metadata()}
<memory unit='MiB'>{self.options.get('memory_mib', 112)}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{image.kernel()}/vmlinux</kernel>
<initrd>{self.options.get('initrd') or image.initrd()}</initrd><cmdline>{self._cmdline()}</cmdline></os>
<features><acpi/><apic/>{tcg}</features>{cpu}
<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>
{PCI}
{''.join(n.xml() for n in self.nics)}{self._disk()}
<serial type='file'><source path='/var/log/libvirt/{self.name}-console.log'/></serial>
<channel type='unix'><source mode='bind' path='/run/agents/{self.name}'/><target type='virtio' name='org.bulkhead.lab'/></channel>
<memballoon model='none'/></devices></domain>"""

    def _disk(self):
        if not self.options.get("disk"):
            return ""
        return (f"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>"
                f"<source file={quoteattr(self.options['disk'])}/><target dev='vda' bus='virtio'/></disk>")

    def define(self):
        path = f"{self.host.dir}/{self.name}.xml"
        util.write(path, self.xml())
        self.host.virsh("define", path)

    def start(self, wait=True, timeout=180):
        self.host.virsh("start", self.name)
        if wait:
            self.wait(timeout)
        return self

    def wait(self, timeout=180):
        try:
            util.wait_until(f"the agent of {self.name}", self.agent.ready, timeout, 0.1)
        except util.LabError as error:
            raise util.LabError(f"{error}\n{util.tail(f'{self.host.dir}/log/{self.name}-console.log')}") from None
        return self

    def crash(self):
        """What its kernel died of, by its consoles; "" when it runs. TCG can lose a write while memory is copied: when a busy
        machine halts the vCPU's thread between its look at a page's state and the store (QEMU 7.2)."""
        hosts = self.host.lab.hosts
        if any(self.name in host.virsh("list", "--name", check=False).stdout.split() for host in hosts):
            return ""
        lines = [line for host in hosts for line in util.read(f"{host.dir}/log/{self.name}-console.log").splitlines()]
        return next((line for line in lines if re.search(r"general protection fault|BUG: |Oops|Kernel panic", line)), "")

    def destroy(self):
        self.host.virsh("destroy", self.name, check=False)

    def remove(self):
        self.destroy()
        self.host.virsh("undefine", self.name, check=False)
        self.host.guests.pop(self.name, None)
        self.host.lab.guests.pop(self.name, None)

    def moved(self, host):
        """libvirt has it on another host now."""
        for place in (self.host, host):
            place.guests.pop(self.name, None)
        self.host = host
        host.guests[self.name] = self
        self.agent.path = host.agent_socket(self.name)

    def running(self):
        return self.host.virsh("domstate", self.name, check=False).stdout.strip() == "running"

    def tap(self, mac=None):
        """The host's name of the NIC with this MAC (default: the first NIC)."""
        for line in self.host.virsh("domiflist", self.name).stdout.splitlines():
            words = line.split()
            if len(words) >= 5 and words[4] == (mac or self.mac):
                return words[0]
        raise util.LabError(f"{self.name} has no interface {mac or self.mac}")

    # ---- inside -----------------------------------------------------------------------------------
    def call(self, op, timeout=30.0, **args):
        return self.agent.call(op, timeout=timeout, **args)

    def sh(self, cmd, check=True, timeout=60):
        reply = self.call("sh", cmd=cmd, timeout=timeout + 5, timeout_s=timeout)
        if check and reply["rc"]:
            raise util.LabError(f"{self.name}: {cmd}: exit {reply['rc']}\n{reply['out']}")
        return reply["out"]

    def tcp(self, dst, port, **args):
        """How a TCP connection attempt ends: connected, refused, timeout, unreachable, reset."""
        return self.call("tcp", dst=dst, port=port, **args)["result"]

    def udp(self, dst, port, **args):
        return self.call("udp", dst=dst, port=port, **args)["result"]

    def ping(self, dst, count=1, **args):
        return self.call("ping", dst=dst, count=count, **args)["received"] > 0

    def serve(self, port, proto="tcp", mode="echo", name=None):
        name = name or f"serve-{proto}-{port}"
        self.call("serve", name=name, port=port, proto=proto, mode=mode)
        util.wait_until(f"{name} on {self.name}", lambda: self._started(name), 10)
        return name

    def _started(self, name):
        stat = self.stat(name)
        if stat["done"]:
            raise util.LabError(f"{self.name}: {name}: {stat['error'] or 'ended'}")
        return stat["ready"]

    def swarm(self, name, dst, port, count=50, **args):
        """Opens a connection every interval_ms until there are `count`, and uses each all the time; stat(name):
        `connects` opened, `refused` and `timeouts` not, `errors` lost, `frames` rounds in which all answered."""
        self.call("swarm", name=name, dst=dst, port=port, count=count, **args)
        return name

    def flow(self, name, dst, port=0, proto="tcp", wait=True, **args):
        """A connection that goes on; stat(name) says what was sent, received, lost."""
        self.call("flow", name=name, dst=dst, port=port, proto=proto, **args)
        if wait:
            util.wait_until(f"flow {name} of {self.name}", lambda: self._started(name), 15)
        return name

    def answers(self, name, more=5, timeout=15):
        """The stat of a flow when it has had that many further answers, or has ended."""
        before = self.stat(name)["received"]

        def look():
            now = self.stat(name)
            return now if now["done"] or now["received"] >= before + more else None
        return util.wait_until(f"answers on {name} of {self.name}", look, timeout, 0.1)

    def knock(self, name, dst, port, **args):
        self.call("knock", name=name, dst=dst, port=port, **args)
        return name

    def capture(self, name="capture", match=b"", dev="eth0"):
        self.call("capture", name=name, match=match.hex(), dev=dev)
        util.wait_until(f"capture on {self.name}", lambda: self._started(name), 10)
        return name

    def stat(self, name):
        return self.call("stat", name=name)

    def stop(self, name):
        return self.call("stop", name=name)

    def frames(self, name="capture"):
        """The frames that a capture kept, as bytes (their first 256)."""
        frames, first = [], 0
        while True:
            reply = self.call("frames", name=name, first=first)
            frames += [bytes.fromhex(f) for f in reply["frames"]]
            first = len(frames)
            if first >= reply["kept"]:
                return frames

    def send(self, *frames, **args):
        """Send frames as they are: bytes, or anything that bytes() turns into them (scapy packets)."""
        return self.call("send", frames=[bytes(f).hex() for f in frames], **args)
