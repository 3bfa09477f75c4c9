# SPDX-License-Identifier: Apache-2.0
"""Labels that libvirt's metadata brings are held to the tenant's quota: a VM with too many is in quarantine, and says so."""
import re

from labkit import util
from labkit.guest import XML_NAMESPACE


def put_labels(host, guest, labels):
    guest.options["labels"] = labels
    element = re.sub(r"</?metadata>|bulkhead:| xmlns:bulkhead='[^']*'", "", guest._metadata())
    host.virsh("metadata", guest.name, XML_NAMESPACE, "--key", "bulkhead", "--live", "--set", element)


def wait_over(world, name, over):
    def found():
        vm = world.manager.vm(name)
        return vm if bool(vm["over_quota"]) == over else None
    vm = util.wait_until(f"{name} {'out of' if over else 'within'} its quota", found, 30, 0.2)
    world.manager.wait_in_sync()
    return vm


def test_labels_of_metadata(world):
    manager, host, db = world.manager, world.host(1), world.guests["db"]
    few, since = {"role": "web", "env": "prod"}, manager.last_event()
    guest = host.guest("chatty", address="10.78.0.41/24", tenant="shop", labels=few)
    world.start_guests(guest)
    manager.wait_in_sync()
    try:
        assert guest.tcp(db.address, 3306) == "connected"
        refused = manager.cli("tenant", "quota", "shop", "--labels", "1", check=False)
        assert refused.returncode and "has 2 labels and would be put in quarantine" in refused.stderr, refused
        manager.cli("tenant", "quota", "shop", "--labels", "2")
        assert not manager.vm("chatty")["over_quota"] and guest.tcp(db.address, 3306) == "connected"

        put_labels(host, guest, {**few, "more": "1"})
        vm = wait_over(world, "chatty", True)
        assert (vm["over_quota"]["labels"], vm["over_quota"]["limit"]) == (3, 2) and vm["labels"]["more"] == "1"
        assert guest.tcp(db.address, 3306, timeout_ms=800) == "timeout"
        shown = manager.cli("vm", "show", "chatty").stdout
        assert "3 labels of 2; out of quota" in shown and "metadata has fewer or the quota is raised" in shown
        event = manager.wait_event(lambda e: e["type"] == "vm.over-quota" and e["id"] > since, ("--tenant", "shop"))
        assert event["vm_name"] == "chatty" and event["severity"] == "warning" and (event["labels"], event["limit"]) == (3, 2)
        refused = manager.cli("label", "set", "chatty", "other=1", check=False)
        assert refused.returncode and "may have 2 labels" in refused.stderr, refused

        manager.cli("tenant", "quota", "shop", "--labels", "3")  # raised, it counts at once
        wait_over(world, "chatty", False)
        assert guest.tcp(db.address, 3306) == "connected"
        put_labels(host, guest, {**few, "more": "1", "most": "2"})
        wait_over(world, "chatty", True)
        manager.daemon.stop()
        manager.start_manager()
        manager.wait_in_sync()
        assert manager.vm("chatty")["over_quota"] and guest.tcp(db.address, 3306, timeout_ms=800) == "timeout"
        put_labels(host, guest, few)
        wait_over(world, "chatty", False)
        assert guest.tcp(db.address, 3306) == "connected"
        manager.wait_event(lambda e: e["type"] == "vm.within-quota" and e["id"] > event["id"], ("--tenant", "shop"))
    finally:
        manager.cli("tenant", "quota", "shop", "--labels", "default")
        guest.remove()
