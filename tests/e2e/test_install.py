# SPDX-License-Identifier: Apache-2.0
"""What docs/operations.md says about a real host, done on one: a Debian 12 machine with systemd and libvirt gets what
`meson install` installs, the units are started, VMs run, and protection is there before libvirt starts any at boot."""
import json
import os
import re

import pytest

from labkit import machine, manager, util

XML = """<domain type='lxc'><name>{name}</name>
<metadata><bulkhead:vm xmlns:bulkhead='https://bulkhead.dev/xml/1' tenant='shop'>
<bulkhead:label key='role' value='{name}'/><bulkhead:nic mac='52:54:00:00:79:{number}'>
<bulkhead:address>10.79.0.{number}</bulkhead:address></bulkhead:nic></bulkhead:vm></metadata>
<memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type>exe</type><init>/bin/sh</init><initarg>-c</initarg>
<initarg>ip link set lo up; ip addr add 10.79.0.{number}/24 dev eth0; ip link set eth0 up;
busybox httpd -p 3306; busybox httpd -p 22; exec sleep infinity</initarg></os>
<devices><filesystem type='mount'><source dir='/'/><target dir='/'/></filesystem>
<interface type='bridge'><mac address='52:54:00:00:79:{number}'/><source bridge='br0'/></interface>
<console type='pty'/></devices></domain>"""
POLICY = """
kind: Policy
metadata: {name: out, tenant: provider}
spec: {tier: default, tenants: [shop], selector: {}, egress: [{name: out, action: allow}]}
---
kind: Policy
metadata: {name: db, tenant: shop}
spec:
  selector: {matchLabels: {role: db}}
  ingress:
    - {name: from-web, from: [{selector: {matchLabels: {role: web}}}], ports: [tcp/3306]}
"""
# docs/operations.md, Troubleshooting: udev and libvirt-lxc both set the MAC of a veth, and udev may come last
LINK = "[Match]\\nDriver=veth\\n[Link]\\nMACAddressPolicy=none\\n"
UNITS = ("bulkheadd.service", "bulkhead-hostd.service")
SENSOR, INLINE = "bulkhead-gated@gate0.service", "bulkhead-gated-inline@gate1:gate2.service"
RULE = 'alert icmp any any -> any any (msg:"ping"; itype:8; sid:1;)'
# wire0 - gate0 is watched; wire1 - gate1 and gate2 - wire2 are one wire when somebody stands between
WIRES = """ip netns add far; ip link add gate0 type veth peer name wire0; ip link add wire1 type veth peer name gate1
ip link add gate2 type veth peer name wire2 netns far
ip addr add 10.80.0.1/24 dev wire0; ip addr add 10.80.1.1/24 dev wire1; ip -n far addr add 10.80.1.2/24 dev wire2
ip -n far link set dev wire2 up; for i in wire0 wire1 gate0 gate1 gate2; do ip link set dev $i up; done
ip neigh add 10.80.0.2 lladdr 02:00:00:00:00:02 dev wire0"""
# Not lxc-enter-namespace: libvirt 9 can't enter its own cgroup where systemd made it.
CONNECT = ("nsenter -n -t $(pgrep -o -P $(pgrep -of 'libvirt_lxc --name web ')) "
           "timeout 4 bash -c ': < /dev/tcp/10.79.0.12/{port}'")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What `meson install` puts onto a machine."""
    target = tmp_path_factory.mktemp("root")
    os.chmod(target, 0o755)
    util.run("meson", "install", "-C", manager.build_dir(), "--no-rebuild", "--quiet",
             env={**os.environ, "DESTDIR": str(target)})
    return target


@pytest.fixture(scope="module")
def host(installed):
    """A machine with systemd and libvirt, Bulkhead installed, nothing of it started."""
    with machine.Machine(installed) as booted:
        booted.boot()
        booted.run(f"printf '{LINK}' > /etc/systemd/network/10-veth.link && udevadm control --reload")
        booted.run("mount -o ro /dev/vdb /mnt && cp -a /mnt/. / && umount /mnt && systemctl daemon-reload")
        yield booted


@pytest.fixture(autouse=True)
def journal_on_failure(request):
    yield
    if getattr(request.node, "failed", False) and "host" in request.fixturenames:
        print(request.getfixturevalue("host").run(
            "systemctl --no-pager --failed; journalctl -b -q --no-pager -o cat -n 60 -u bulkheadd -u bulkhead-hostd "
            "-u libvirtd -u 'bulkhead-gated*'; bulkhead status; bulkhead vm list; bulkhead event list --type guard", check=False)[1])


def bulkhead(host, command):
    return json.loads(host.run(f"bulkhead {command} --json"))


def in_sync(host):
    host.wait("the host to be in sync", "bulkhead status --exit-code", timeout=120)


def connects(host, port):
    return host.run(CONNECT.format(port=port), check=False)[0] == 0


def assert_judged(host):
    """Both VMs run, are protected, and packets are judged as the policy says."""
    vms = {vm["name"]: vm for vm in bulkhead(host, "vm list")["items"]}
    assert set(vms) == {"web", "db"}
    assert all(nic["protected"] for vm in vms.values() for nic in vm["nics"]), vms
    host.wait("db to serve", CONNECT.format(port=3306))  # its programs may still be starting
    assert not connects(host, 22)


def destroy(host, name):
    """Again when libvirt stumbles over a cgroup that systemd has just taken away (9.0)."""
    host.wait(f"the end of {name}",
              f"virsh -q -c lxc:/// destroy {name}; virsh -q -c lxc:/// domstate {name} | grep -q 'shut off'")


def prop(host, unit, name):
    return host.run(f"systemctl show -P {name} {unit}").strip()


def test_units_are_sound_and_tight(host):
    units = " ".join((*UNITS, *(f"/usr/local/lib/systemd/system/{u.split('@')[0]}@.service" for u in (SENSOR, INLINE))))
    assert host.run(f"systemd-analyze verify --man=no {units}").strip() == ""
    for unit, limit in (("bulkheadd.service", 2.5), ("bulkhead-hostd.service", 4.0), (SENSOR, 3.0), (INLINE, 3.0)):
        text = host.run(f"systemd-analyze security --no-pager {unit}")
        exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", text).group(1))
        assert exposure <= limit, text


def test_before_enrolment_vms_start(host):
    """The hook is there from the installation on; a host that never joined is not to lose its VMs for that."""
    for name, number in (("web", 11), ("db", 12)):
        host.run(f"cat > /root/{name}.xml << 'EOF'\n{XML.format(name=name, number=number)}\nEOF\n"
                 f"virsh -q -c lxc:/// define /root/{name}.xml")
    host.run("systemctl restart libvirtd && virsh -q -c lxc:/// start web")
    destroy(host, "web")


def test_manager_and_host_start(host):
    host.run("systemctl enable -q --now bulkheadd")
    assert bulkhead(host, "status")["hosts"]["total"] == 0  # ready means that it answers
    token = host.run("bulkhead host token --name h1 2> /dev/null").strip()
    host.run(f"bulkhead host enroll --manager https://127.0.0.1:7443 --name h1 --token {token}")
    host.run("mkdir -p /etc/bulkhead && echo 'libvirt_uris: [\"lxc:///\"]' > /etc/bulkhead/hostd.yaml")
    host.run("systemctl enable -q --now bulkhead-hostd")
    in_sync(host)
    assert bulkhead(host, "status")["hosts"]["online"] == 1


def test_vms_are_protected(host):
    host.run(f"cat > /root/policy.yaml << 'EOF'\n{POLICY}\nEOF\nbulkhead policy apply --wait /root/policy.yaml")
    host.run("virsh -q -c lxc:/// start web && virsh -q -c lxc:/// start db")
    assert_judged(host)


def test_restart_kill_and_stop(host):
    for unit in UNITS:
        before = prop(host, unit, "MainPID")
        host.run(f"systemctl restart {unit}")
        assert prop(host, unit, "MainPID") != before
    in_sync(host)
    assert_judged(host)
    for unit in UNITS:
        before = prop(host, unit, "MainPID")
        host.run(f"systemctl kill -s KILL --kill-who=main {unit}")
        host.wait(f"{unit} to be there again",
                  f"[ $(systemctl show -P SubState {unit}) = running -a $(systemctl show -P MainPID {unit}) != {before} ]")
    in_sync(host)
    host.run("systemctl stop bulkhead-hostd bulkheadd")
    assert connects(host, 3306) and not connects(host, 22)  # the kernel goes on
    destroy(host, "db")
    code, text = host.run("virsh -q -c lxc:/// start db", check=False)
    assert code and "systemctl start bulkhead-hostd" in text
    host.run("systemctl start bulkheadd bulkhead-hostd && virsh -q -c lxc:/// start db")
    in_sync(host)
    assert_judged(host)


def test_after_a_boot_protection_comes_first(host):
    host.run("virsh -q -c lxc:/// autostart web && virsh -q -c lxc:/// autostart db")
    for name in ("web", "db"):
        destroy(host, name)
    host.power_off()
    host.boot()
    host.wait("libvirt's own VMs", "[ $(virsh -q -c lxc:/// list --state-running --name | wc -w) = 2 ]", timeout=180)
    ready = int(prop(host, "bulkhead-hostd.service", "ActiveEnterTimestampMonotonic"))
    libvirt = int(prop(host, "libvirtd.service", "ExecMainStartTimestampMonotonic"))
    assert 0 < ready <= libvirt
    in_sync(host)
    assert_judged(host)
    refused = host.run("journalctl -b -q --no-pager -u libvirtd.service")
    assert "bulkhead:" not in refused, refused


def test_gate_watches_and_stands_between(host):
    host.run(f"systemd-sysusers && mkdir -p /etc/bulkhead/rules && echo '{RULE}' > /etc/bulkhead/rules/local.rules && "
             "echo 'rule-files: [/etc/bulkhead/rules/local.rules]' > /etc/bulkhead/gated.yaml")
    host.run(WIRES)
    assert host.run("ping -c 1 -W 1 10.80.1.2", check=False)[0]
    host.run(f"systemctl start {SENSOR} {INLINE}")
    host.run("ping -c 3 -i 0.3 -W 2 10.80.1.2; ping -c 3 -i 0.3 -W 1 10.80.0.2", check=False)
    assert host.run("ping -c 1 -W 2 10.80.1.2", check=False)[0] == 0  # ready means that packets pass
    for name, unit in (("gate0", SENSOR), ("gate1:gate2", INLINE)):
        host.wait(f"an alert of {unit}", f"grep -q '\"signature_id\":1' /var/log/bulkhead-gated/{name}/eve.json")
        assert host.run(f"ps -o user:20= -p {prop(host, unit, 'MainPID')}").strip() == "bulkhead-gated"
    host.run(f"systemctl reload {SENSOR} && systemctl stop {SENSOR} {INLINE}")
    assert host.run("ping -c 1 -W 1 10.80.1.2", check=False)[0]
    assert host.run("systemctl --failed -q").strip() == ""


def test_uninstall_leaves_nothing(tmp_path):
    target = tmp_path / "root"
    env = {**os.environ, "DESTDIR": str(target)}
    util.run("meson", "install", "-C", manager.build_dir(), "--no-rebuild", "--quiet", env=env)
    hook = target / "etc/libvirt/hooks/qemu.d/10-bulkhead"
    assert hook.is_symlink()
    util.run("ninja", "-C", manager.build_dir(), "uninstall", env=env)
    assert [files for _, _, files in os.walk(target) if files] == []
