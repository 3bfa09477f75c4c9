# SPDX-License-Identifier: Apache-2.0
"""A node: a machine made of namespaces. Everything in it ends with its PID 1 (holder.py)."""
import json
import os
import shutil
import signal
import subprocess
import time

from . import util

OVERLAID = ["/etc", "/var/lib", "/var/cache", "/var/log"]
V1_CONTROLLERS = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"]


def cgroup_controllers():
    """["v2"] on a unified machine, else the v1 controllers that are mounted one by one."""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return ["v2"]
    return [c for c in V1_CONTROLLERS if os.path.isdir(f"/sys/fs/cgroup/{c}")]


def processes_marked(mark):
    """Outer pids of the processes started with BULKHEAD_LAB_NODE=<mark...> in their environment."""
    found = []
    needle = f"BULKHEAD_LAB_NODE={mark}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if any(v.startswith(needle) for v in file.read().split(b"\0")):
                    found.append(int(entry))
        except OSError:
            continue
    return found


class Node:
    """name: within the lab; directory: where its files live; mounts: (folder below directory, target)."""

    def __init__(self, lab_name, name, directory, with_cgroups=False):
        self.name = name
        self.dir = directory
        self.mark = f"{lab_name}/{name}."
        self.controllers = cgroup_controllers() if with_cgroups else []
        self.group = f"bulkhead-lab.{lab_name}.{name}"
        self.mounts = [("run", "/run")]

    # ---- life -------------------------------------------------------------------------------------
    def up(self):
        os.makedirs(self.dir, exist_ok=True)
        overlays = []
        for target in OVERLAID:
            upper, work = (f"{self.dir}/over/{kind}{target.replace('/', '-')}" for kind in ("upper", "work"))
            overlays.append([upper, work, target])
        for folder in [f for f, _ in self.mounts] + [f for o in overlays for f in o[:2]]:
            os.makedirs(os.path.join(self.dir, folder), exist_ok=True)
        ready = f"{self.dir}/ready"
        if os.path.exists(ready):
            os.unlink(ready)
        spec = {"hostname": f"{self.name}.lab", "cgroups": self.controllers, "ready": ready, "overlays": overlays,
                "mounts": [[f"{self.dir}/{folder}", target] for folder, target in self.mounts]}
        util.write(f"{self.dir}/node.json", json.dumps(spec))
        self._make_groups()
        flags = ["-m", "-u", "-n", "-p"] + (["-C"] if self.controllers else [])
        with open(f"{self.dir}/node.log", "w", encoding="utf-8") as log:
            subprocess.Popen(  # pylint: disable=consider-using-with
                ["unshare", *flags, "--fork", "--kill-child", "--propagation", "private",
                 "/usr/bin/python3", os.path.join(os.path.dirname(__file__), "holder.py"),
                 f"{self.dir}/node.json"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "BULKHEAD_LAB_NODE": self.mark},
                preexec_fn=self._enter_groups)  # pylint: disable=subprocess-popen-preexec-fn
        try:
            util.wait_until(f"node {self.name}", lambda: os.path.exists(ready), 20, 0.02)
        except util.LabError as error:
            raise util.LabError(f"{error}\n{util.tail(self.dir + '/node.log')}") from None
        util.write(f"{self.dir}/pid", str(self._find_holder()))
        self._leave_root_group()

    def _find_holder(self):
        """The outer pid of the node's PID 1: the marked process whose innermost pid is 1."""
        for pid in processes_marked(self.mark):
            for line in util.read(f"/proc/{pid}/status").splitlines():
                if line.startswith("NSpid:") and line.split()[-1] == "1" and len(line.split()) > 2:
                    return pid
        raise util.LabError(f"node {self.name} died at once\n{util.tail(self.dir + '/node.log')}")

    @property
    def pid(self):
        return int(util.read(f"{self.dir}/pid", "0") or 0)

    def alive(self):
        return self.pid in processes_marked(self.mark)

    def down(self):
        """Idempotent: also after a crash, also from another process than the one that brought it up."""
        for _ in range(100):
            pids = processes_marked(self.mark)
            if not pids:
                break
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        self._remove_groups()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- cgroups ----------------------------------------------------------------------------------
    def _group_paths(self):
        if self.controllers == ["v2"]:
            return [f"/sys/fs/cgroup/{self.group}"]
        return [f"/sys/fs/cgroup/{c}/{self.group}" for c in self.controllers]

    def _make_groups(self):
        paths = self._group_paths()
        if self.controllers != ["v2"]:
            # libvirt makes this one with the first domain; two first ones at once take away each other's (9.0)
            paths += [f"{path}/machine" for path in paths]
        for path in paths:
            os.makedirs(path, exist_ok=True)
            if "/cpuset/" in path:
                for name in ("cpuset.cpus", "cpuset.mems"):
                    with open(f"{path}/{name}", "w", encoding="ascii") as file:
                        file.write(util.read(f"/sys/fs/cgroup/cpuset/{name}"))

    def _leave_root_group(self):
        """cgroup v2 lets a group have either processes or controllers for its children."""
        if self.controllers != ["v2"]:
            return
        path = self._group_paths()[0]
        os.makedirs(f"{path}/init", exist_ok=True)
        for pid in util.read(f"{path}/cgroup.procs").split():
            with open(f"{path}/init/cgroup.procs", "w", encoding="ascii") as file:
                file.write(pid)

    def _enter_groups(self):
        for path in self._group_paths():
            if os.path.isdir(f"{path}/init"):
                path += "/init"
            with open(f"{path}/cgroup.procs", "w", encoding="ascii") as file:
                file.write("0")

    def _remove_groups(self):
        for path in self._group_paths():
            for _ in range(50):
                for folder, _, _ in os.walk(path, topdown=False):
                    try:
                        os.rmdir(folder)
                    except OSError:
                        pass
                if not os.path.exists(path):
                    break
                time.sleep(0.1)

    # ---- use --------------------------------------------------------------------------------------
    def argv(self, *command):
        flags = ["-m", "-u", "-n", "-p"] + (["-C"] if self.controllers else [])
        return ["nsenter", "-t", str(self.pid), *flags, "--", *[str(c) for c in command]]

    def _environment(self, extra=None):
        return {**os.environ, "BULKHEAD_LAB_NODE": self.mark, **(extra or {})}

    def run(self, *command, check=True, timeout=120, env=None, **kw):
        return util.run(*self.argv(*command), check=check, timeout=timeout,
                        env=self._environment(env), preexec_fn=self._enter_groups, **kw)

    def sh(self, script, check=True, timeout=120):
        return self.run("sh", "-c", script, check=check, timeout=timeout).stdout

    def start(self, *command, log=None, env=None):
        """A program in the background; the Popen's pid is nsenter's, which waits for the program."""
        out = open(log, "ab") if log else subprocess.DEVNULL  # pylint: disable=consider-using-with
        return subprocess.Popen(self.argv(*command), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                start_new_session=True, env=self._environment(env),
                                preexec_fn=self._enter_groups)

    def pids_of(self, path):
        """Inner pids of the processes in this node whose executable is `path`, or was before a new build."""
        found = []
        namespace = os.readlink(f"/proc/{self.pid}/ns/pid")
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == namespace and \
                        os.readlink(f"/proc/{entry}/exe").removesuffix(" (deleted)") == path:
                    status = util.read(f"/proc/{entry}/status")
                    found.append(int(status.split("NSpid:")[1].split("\n")[0].split()[-1]))
            except (OSError, IndexError):
                continue
        return found
