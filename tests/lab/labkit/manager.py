# SPDX-License-Identifier: Apache-2.0
"""Bulkhead in the lab: the management machine, and the programs on it and on the hosts."""
import json
import os
import signal
import shutil

from . import util
from .node import Node

PROGRAMS = {"bulkheadd": "src/manager/bulkheadd", "bulkhead-hostd": "src/host/bulkhead-hostd",
            "bulkhead-hook": "src/host/bulkhead-hook", "bulkhead": "src/cli/bulkhead"}


def build_dir():
    return os.environ.get("BULKHEAD_BUILD", f"{util.ROOT}/build")


def program(name):
    path = f"{build_dir()}/{PROGRAMS[name]}"
    if not os.access(path, os.X_OK):
        raise util.LabError(f"{path} is not built: ninja -C {build_dir()}")
    return os.path.realpath(path)


class Daemon:
    """One of our daemons on a node: start, stop, kill, its log and state."""

    def __init__(self, node, name, config):
        self.node, self.name, self.config = node, name, config
        self.log = f"{node.dir}/{name}.log"
        self.process = None

    def pids(self):
        return self.node.pids_of(program(self.name))

    def cpu_seconds(self):
        """CPU time until now, all threads."""
        fields = self.node.run("cat", f"/proc/{self.pids()[0]}/stat").stdout.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def start(self, *args):
        self.process = self.node.start(program(self.name), "-c", self.config, *args, log=self.log)
        return self

    def signal(self, name):
        for pid in self.pids():
            self.node.run("kill", f"-{name}", pid, check=False)
        if self.process and name != "STOP" and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)  # nsenter stops itself together with its child

    def stop(self, name="TERM", timeout=20):
        self.signal(name)
        util.wait_until(f"the end of {self.name}\n{util.tail(self.log)}", lambda: not self.pids(), timeout)
        if self.process:
            self.process.wait(timeout=5)
            self.process = None

    def kill(self):
        self.stop("KILL", timeout=5)

    def wait_socket(self, path, timeout=30):
        """Until a control socket answers; an early death is reported with the last lines of the log."""
        def there():
            if self.process and self.process.poll() is not None:
                raise util.LabError(f"{self.name} on {self.node.name} ended with {self.process.returncode}\n"
                                    f"{util.tail(self.log)}")
            return os.path.exists(f"{self.node.dir}{path}")
        util.wait_until(f"{path} of {self.name}\n{util.tail(self.log)}", there, timeout)


class Manager(Node):
    """The machine 10.77.0.254 with bulkheadd, its private nats-server and the command line."""

    def __init__(self, lab):
        super().__init__(lab.name, "mgr", f"{lab.dir}/mgr")
        self.lab = lab
        self.mounts += [("etc-bulkhead", "/etc/bulkhead"), ("lib-bulkhead", "/var/lib/bulkhead")]
        self.daemon = Daemon(self, "bulkheadd", "/etc/bulkhead/manager.yaml")
        self.hostds = {}

    def configure(self, **settings):
        """Keys of manager.yaml, over those that the lab needs."""
        have = {"listen": "0.0.0.0:7443", "names": ["10.77.0.254"],
                "bus": {"listen": "0.0.0.0:4222", "advertise": "tls://10.77.0.254:4222"}, **settings}
        util.write(f"{self.dir}/etc-bulkhead/manager.yaml",
                   "".join(f"{k}: {json.dumps(v)}\n" for k, v in have.items()))

    def start_manager(self, timeout=30):
        if not os.path.exists(f"{self.dir}/etc-bulkhead/manager.yaml"):
            self.configure()
        self.daemon.start()
        self.daemon.wait_socket("/run/bulkhead/api.sock", timeout)
        util.wait_until(f"the API\n{util.tail(self.daemon.log)}",
                        lambda: self.cli("status", check=False).returncode == 0, timeout, 0.1)
        return self

    # ---- command line -----------------------------------------------------------------------------
    def cli(self, *args, check=True, timeout=60):
        return self.run(program("bulkhead"), *args, check=check, timeout=timeout)

    def json(self, *args, timeout=60):
        return json.loads(self.cli(*args, "--json", timeout=timeout).stdout)

    def apply(self, text, wait=30):
        """Policy documents as text; returns when every host has them."""
        path = f"{self.dir}/documents.yaml"
        util.write(path, text)
        return self.json("policy", "apply", path, f"--wait={wait}", timeout=wait + 30)

    def status(self):
        return self.json("status")

    def wait_in_sync(self, timeout=30):
        """Until every enrolled host is online and holds what is intended."""
        last = {}

        def in_sync():
            done = self.cli("status", "--json", check=False)
            last.update(json.loads(done.stdout) if done.returncode == 0 and done.stdout else {})
            return last.get("in_sync") and last["hosts"]["total"] == last["hosts"]["online"]
        try:
            return util.wait_until("hosts in sync", in_sync, timeout, 0.1)
        except util.LabError as error:
            raise util.LabError(f"{error}\n{json.dumps(last.get('host_list'), indent=1)}\n{self.logs()}") from None

    def flows(self, *filters, limit=10000):
        return self.json("flow", "--limit", str(limit), *filters)["items"]

    def events(self, *filters, limit=10000):
        return self.json("event", "list", "--limit", str(limit), *filters)["items"]

    def last_event(self):
        return self.status()["events"].get("last_id", 0)

    def wait_event(self, predicate, filters=(), timeout=15, what="an event"):
        """The first event that matches; on failure the newest ones are shown."""
        seen = []

        def found():
            seen[:] = self.events(*filters)
            return next((e for e in seen if predicate(e)), None)
        try:
            return util.wait_until(what, found, timeout, 0.2)
        except util.LabError as error:
            newest = "\n".join(json.dumps(e) for e in seen[-12:])
            raise util.LabError(f"{error}; the newest of {len(seen)} events:\n{newest}") from None

    def vm(self, name):
        return self.json("vm", "show", name)

    def wait_protected(self, name, timeout=15):
        """Until every NIC of the VM is; one that started unheard is in no inventory for a moment."""
        def protected():
            done = self.cli("vm", "show", name, "--json", check=False)
            return done.returncode == 0 and all(nic["protected"] for nic in json.loads(done.stdout)["nics"])
        return util.wait_until(f"protection of {name}", protected, timeout)

    # ---- hosts ------------------------------------------------------------------------------------
    def install_host(self, host, **settings):
        """What `meson install` does on a real host: configuration and hooks."""
        have = {"uplinks": ["dl*"], "migrate_uri": "qemu+tcp://%h.lab/system", "libvirt_uris": ["qemu:///system", "lxc:///system"], **settings}
        util.write(f"{host.dir}/etc-bulkhead/hostd.yaml", "".join(f"{k}: {json.dumps(v)}\n" for k, v in have.items()))
        for driver in ("qemu", "lxc"):
            link = f"{host.dir}/etc-libvirt/hooks/{driver}.d/10-bulkhead"
            os.makedirs(os.path.dirname(link), exist_ok=True)
            if os.path.lexists(link):
                os.unlink(link)
            os.symlink(program("bulkhead-hook"), link)

    def enrol(self, host):
        """A token from the manager, then `bulkhead host enroll` on the host itself."""
        token = self.json("host", "token", "--name", host.name)["token"]
        host.run(program("bulkhead"), "host", "enroll", "--manager", "https://10.77.0.254:7443",
                 "--token", token, "--name", host.name)

    def hostd(self, host):
        if host.name not in self.hostds:
            self.hostds[host.name] = Daemon(host, "bulkhead-hostd", "/etc/bulkhead/hostd.yaml")
        return self.hostds[host.name]

    def start_hostd(self, host, timeout=30):
        daemon = self.hostd(host).start()
        daemon.wait_socket("/run/bulkhead/hostd.sock", timeout)
        return daemon

    def start_all(self):
        """Manager, hosts enrolled and in sync. Guests come afterwards: their birth needs hostd."""
        self.start_manager()
        for host in self.lab.hosts:
            self.enrol(host)
            self.start_hostd(host)
        self.wait_in_sync(40)
        return self

    # ---- logs -------------------------------------------------------------------------------------
    def logs(self, lines=15):
        """The last lines of every daemon, for error messages."""
        daemons = [self.daemon, *self.hostds.values()]
        return "\n".join(f"--- {d.name} on {d.node.name}:\n{util.tail(d.log, lines)}" for d in daemons)

    def save_logs(self, target):
        """Copies logs out before the lab goes."""
        os.makedirs(target, exist_ok=True)
        for node in self.lab.nodes():
            for name in os.listdir(node.dir) if os.path.isdir(node.dir) else []:
                if name.endswith(".log"):
                    shutil.copy(f"{node.dir}/{name}", f"{target}/{node.name}-{name}")
