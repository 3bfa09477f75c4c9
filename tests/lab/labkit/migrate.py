# SPDX-License-Identifier: Apache-2.0
"""Moving a guest to another host: live in all the ways that libvirt knows, by way of a file, and cold."""
import re
import time

from . import util

LIVE = ("--live", "--persistent", "--undefinesource")
WAYS = {  # name: (transport of libvirt's connection, flags of virsh migrate)
    "tcp": ("tcp", ()),
    "tls": ("tls", ("--tls",)),  # libvirt's connection and QEMU's stream
    "p2p": ("tcp", ("--p2p",)),
    "tunnelled": ("tcp", ("--p2p", "--tunnelled")),
    "tunnelled-tls": ("tls", ("--p2p", "--tunnelled")),
    "storage": ("tcp", ("--copy-storage-all",)),
}


class Move:
    """`virsh migrate` of a running guest, begun. wait() ends it; the guest then is where it says."""

    def __init__(self, guest, to, way="tcp", mib_per_s=None, more=()):
        transport, flags = WAYS[way]
        self.guest, self.source, self.to = guest, guest.host, to
        self.began = time.monotonic()
        self.seconds = 0.0
        self.returncode = None
        self.log = f"{self.source.dir}/migrate-{guest.name}-{to.name}-{time.monotonic_ns()}.log"
        bandwidth = ("--bandwidth", str(mib_per_s)) if mib_per_s else ()
        self.process = self.source.start("virsh", "-q", "-c", "qemu:///system", "migrate", *LIVE, *flags, *bandwidth, *more,
                                         guest.name, f"qemu+{transport}://{to.name}.lab/system", log=self.log)

    @property
    def said(self):
        """What virsh wrote."""
        return util.read(self.log)

    def done(self):
        return self.process.poll() is not None

    def wait(self, check=True, timeout=90):
        """The exit code of virsh. check: anything but 0 is a LabError with what it said."""
        self.returncode = self.process.wait(timeout)
        self.seconds = time.monotonic() - self.began
        if self.returncode == 0:
            self.guest.moved(self.to)
        elif check:
            raise util.LabError(f"virsh migrate {self.guest.name} {self.source.name} -> {self.to.name}: {self.said}")
        return self.returncode

    def job(self):
        """What `virsh domjobinfo` says at the source, as a dictionary."""
        out = self.source.virsh("domjobinfo", self.guest.name, check=False).stdout
        return {k.strip(): " ".join(v.split()) for k, _, v in (line.partition(":") for line in out.splitlines()) if v}

    def copied(self):
        """Bytes that QEMU has sent."""
        number = re.match(r"([\d.]+) (B|KiB|MiB|GiB)", self.job().get("Data processed", ""))
        units = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
        return float(number.group(1)) * units[number.group(2)] if number else 0

    def half_way(self, timeout=30):
        """Until memory is being copied; LabError when it is over before that."""
        def copying():
            if self.done():
                raise util.LabError(f"the migration of {self.guest.name} ended before it was half-way: {self.said}")
            return self.copied() > 1 << 20
        util.wait_until(f"the copy of the memory of {self.guest.name}", copying, timeout, 0.1)
        return self

    def speed(self, mib_per_s):
        self.source.virsh("migrate-setspeed", self.guest.name, str(mib_per_s), check=False)
        return self

    def abort(self):
        """libvirt has taken it. What virsh migrate says then is the word of whichever host noticed first, "canceled by client" or
        the target's "load of migration failed": nothing to hold a test against."""
        self.source.virsh("domjobabort", self.guest.name)
        return self


def migrate(guest, to, way="tcp", check=True, timeout=90, **options):
    """Live, from where the guest runs; the Move afterwards."""
    move = Move(guest, to, way, **options)
    move.wait(check, timeout)
    return move


def save(guest, path):
    guest.host.virsh("save", guest.name, path)


def define_at(guest, to):
    """What remains defined of a guest that does not run: here no longer, there from now on."""
    source, path = guest.host, f"{to.dir}/{guest.name}.xml"
    util.write(path, source.virsh("dumpxml", "--inactive", "--security-info", guest.name).stdout)
    source.virsh("undefine", guest.name)
    to.virsh("define", path)
    guest.moved(to)


def restore(guest, to, path, check=True):
    """From a file that both hosts see; the guest belongs to `to` afterwards, running or not."""
    if to is not guest.host:
        define_at(guest, to)
    done = to.virsh("restore", path, check=False)
    if check and done.returncode:
        raise util.LabError(f"virsh restore {guest.name} on {to.name}: {done.stderr}")
    if done.returncode == 0:
        guest.wait()
    return done


def cold(guest, to):
    """Off, undefined here, defined there, started."""
    guest.destroy()
    define_at(guest, to)
    return guest.start()
