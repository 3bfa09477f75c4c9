# SPDX-License-Identifier: Apache-2.0
"""A target that has no room, or does not hold what it should: the VM stays. h2 has room for 16 VLANs (conftest.py)."""
import re

from labkit import util
from labkit.guest import XML_NAMESPACE

MANY = ",".join(str(v) for v in range(100, 120))


def test_refused_when_a_table_is_full(yard, temporary):
    here, to = yard.world.host(1), yard.world.host(2)
    trunk = temporary(here.guest("trunk", tenant="shop", address="10.78.0.54/24", nic_flags={"vlans": MANY}))
    yard.world.manager.wait_in_sync()
    why = (f"host {to.name} ", "nic_vlans")
    yard.refused(yard.vetoed(yard.begin(to, guest=trunk), *why), *why)


def test_refused_when_out_of_sync(yard):
    """A VM of h2 says that it may use more VLANs than h2 has room for: until it says otherwise h2 takes no other."""
    manager, evil2, to = yard.world.manager, yard.evil2, yard.world.host(2)
    before, why = evil2._metadata(), f"host {to.name} is not in sync"

    def put(metadata):
        element = re.sub(r"</?metadata>|bulkhead:| xmlns:bulkhead='[^']*'", "", metadata)
        to.virsh("metadata", evil2.name, XML_NAMESPACE, "--key", "bulkhead", "--live", "--set", element)
    put(before.replace(f"<bulkhead:nic mac='{evil2.mac}' ", f"<bulkhead:nic mac='{evil2.mac}' vlans='{MANY}' "))
    try:
        util.wait_until("h2 out of sync", lambda: "nic_vlans" in manager.cli("host", "show", to.name).stdout, 15, 0.1)
        move = yard.vetoed(yard.begin(to), why)
    finally:
        put(before)
        manager.wait_in_sync()
    yard.refused(move, why)
