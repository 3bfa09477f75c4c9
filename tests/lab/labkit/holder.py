#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PID 1 of a lab node: sets up its mounts, says that it is ready, reaps orphans until killed.

Runs in fresh mount, UTS, PID, network (and cgroup) namespaces; when it dies the kernel ends everything
that lives in them. argv[1] is a JSON file: {"hostname", "overlays": [[upper, work, target]],
"mounts": [[source, target]], "cgroups": [...], "ready": file}.
"""
import json
import os
import signal
import subprocess
import sys


def run(*argv):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def mount_cgroups(controllers):
    """A view of cgroups that begins at the node's own group: v1 by controller, or v2."""
    if controllers == ["v2"]:
        run("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
        return
    run("mount", "-t", "tmpfs", "-o", "mode=755", "cgroup", "/sys/fs/cgroup")
    for name in controllers:
        os.mkdir(f"/sys/fs/cgroup/{name}")
        run("mount", "-t", "cgroup", "-o", name, "cgroup", f"/sys/fs/cgroup/{name}")


def unmount_below(folder):
    """What others mounted there (ip netns) must not show through: libvirt-lxc stumbles over it."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        targets = [line.split()[1] for line in file]
    for target in reversed(targets):
        if target.startswith(folder + "/"):
            subprocess.run(["umount", "-l", target], check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def set_up(spec):
    run("hostname", spec["hostname"])
    run("mount", "-t", "proc", "proc", "/proc")
    unmount_below("/run")
    run("umount", "-R", "/sys")
    run("mount", "-t", "sysfs", "sysfs", "/sys")
    if spec["cgroups"]:
        mount_cgroups(spec["cgroups"])
    run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    for upper, work, target in spec["overlays"]:
        # so that mount points made below never appear on the machine itself
        run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={target},upperdir={upper},workdir={work}", target)
    for source, target in spec["mounts"]:
        if os.path.isdir(source):
            os.makedirs(target, exist_ok=True)
        run("mount", "--bind", source, target)
    run("ip", "link", "set", "lo", "up")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    set_up(spec)
    with open(spec["ready"], "w", encoding="utf-8") as file:
        file.write("ready\n")
    while True:
        signal.sigtimedwait({signal.SIGCHLD}, 5)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


main()
