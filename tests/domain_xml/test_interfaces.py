# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from lxml import etree

from orchestrator.domain_xml.interfaces import read_interfaces
from orchestrator.values.domain import InterfaceKind, InterfaceSpec

LIVE = """
<domain type='kvm'><devices>
  <interface type='bridge'>
    <mac address='52:54:00:AA:00:01'/><source bridge='br0'/><target dev='vnet0'/>
  </interface>
  <interface type='network'>
    <mac address='52:54:00:aa:00:02'/><source network='default' bridge='virbr0'/>
    <target dev='vnet1'/>
  </interface>
  <interface type='direct'>
    <mac address='52:54:00:aa:00:03'/><source dev='eth0' mode='bridge'/>
    <target dev='macvtap0'/>
  </interface>
  <interface type='hostdev' managed='yes'>
    <mac address='52:54:00:aa:00:04'/>
    <source>
      <address type='pci' domain='0x0000' bus='0x3b' slot='0x0a' function='0x1'/>
    </source>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x06' function='0x0'/>
  </interface>
  <interface type='vhostuser'>
    <mac address='52:54:00:aa:00:05'/><source type='unix' path='/s' mode='client'/>
    <target dev='vhu0'/>
  </interface>
  <interface type='user'><mac address='52:54:00:aa:00:06'/></interface>
  <interface type='ethernet'><target dev='tap7'/></interface>
</devices></domain>"""


def spec(last: int, kind: InterfaceKind, **more: str) -> InterfaceSpec:
    return InterfaceSpec(mac=f"52:54:00:aa:00:0{last}", kind=kind, **more)


def test_each_kind_of_interface_has_the_place_where_it_is_counted() -> None:
    assert read_interfaces(etree.fromstring(LIVE)) == (
        spec(1, InterfaceKind.TAP, device="vnet0"),
        spec(2, InterfaceKind.TAP, device="vnet1"),
        spec(3, InterfaceKind.MACVTAP, device="macvtap0"),
        spec(4, InterfaceKind.VIRTUAL_FUNCTION, pci="0000:3b:0a.1"),
        spec(5, InterfaceKind.UNCOUNTED, device="vhu0"),
        spec(6, InterfaceKind.UNCOUNTED),
    )


def test_an_invalid_address_is_ignored() -> None:
    xml = LIVE.replace("bus='0x3b'", "bus='x'")
    by_mac = {item.mac: item for item in read_interfaces(etree.fromstring(xml))}
    assert by_mac["52:54:00:aa:00:04"].pci is None


def test_a_domain_without_interfaces_has_none() -> None:
    assert read_interfaces(etree.fromstring("<domain/>")) == ()
