# SPDX-License-Identifier: Apache-2.0
"""Reads a domain's network interfaces, for policies that count packets.

Source: libvirt's formatdomain, "Network interfaces". In the XML of a running domain a
`type='network'` has been replaced by the actual type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.values.domain import InterfaceKind, InterfaceSpec

if TYPE_CHECKING:
    from lxml import etree

_KINDS = {
    "network": InterfaceKind.TAP,
    "bridge": InterfaceKind.TAP,
    "ethernet": InterfaceKind.TAP,
    "direct": InterfaceKind.MACVTAP,
    "hostdev": InterfaceKind.VIRTUAL_FUNCTION,
}
_PCI_DIGITS = (("domain", 4), ("bus", 2), ("slot", 2), ("function", 1))


def read_interfaces(root: etree._Element) -> tuple[InterfaceSpec, ...]:
    """Return all interfaces with a MAC address; in a running domain all have one."""
    found = []
    for element in root.iterfind("devices/interface"):
        mac = element.find("mac")
        address = None if mac is None else mac.get("address")
        if address:
            found.append(_read_interface(element, str(address).lower()))
    return tuple(found)


def _read_interface(element: etree._Element, mac: str) -> InterfaceSpec:
    kind = _KINDS.get(str(element.get("type")), InterfaceKind.UNCOUNTED)
    target = element.find("target")
    return InterfaceSpec(
        mac=mac,
        kind=kind,
        device=None if target is None else target.get("dev"),
        pci=_read_pci(element) if kind is InterfaceKind.VIRTUAL_FUNCTION else None,
    )


def _read_pci(element: etree._Element) -> str | None:
    source = element.find("source/address[@type='pci']")
    if source is None:
        return None
    try:
        domain, bus, slot, function = (
            f"{int(str(source.get(name, '0')), 16):0{digits}x}"
            for name, digits in _PCI_DIGITS
        )
    except ValueError:
        return None
    return f"{domain}:{bus}:{slot}.{function}"
