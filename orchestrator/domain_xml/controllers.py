# SPDX-License-Identifier: Apache-2.0
"""Controllers that come with channels.

If a definition has no port for a channel, libvirt adds a virtio-serial controller, and
on PCI Express the root ports that it plugs into. Removing the channels leaves these
behind; so onboarding notes which controllers were added.

A running domain can get another controller, but libvirt cannot remove it.

Source: virDomainChrInsert, qemuDomainAssignPCIAddresses, and
qemuDomainDetachPrepController of libvirt; observed with libvirt 9.0 and 11.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.ports import has_hidden_console

if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS = ("virtio-serial", "pci")
"""In the order in which they can be removed: one plugs into the other."""


def list_controllers(xml: str) -> frozenset[str]:
    """List the controllers of these kinds, as in `virtio-serial:0` and `pci:4`.

    Raises:
        DomainXmlError: invalid domain XML.
    """
    return frozenset(_controllers(parse_document(xml)))


def find_idle_controller(xml: str, names: Iterable[str]) -> str | None:
    """Return the element of one of these controllers that nothing is plugged into.

    Raises:
        DomainXmlError: invalid domain XML.
    """
    root = parse_document(xml)
    controllers = _controllers(root)
    present = [name for name in names if name in controllers]
    for name in sorted(present, key=_rank):
        if not _is_used(root, name):
            element = controllers[name]
            return etree.tostring(element, encoding="unicode", with_tail=False)
    return None


def find_plug_obstacle(xml: str) -> str:
    """Return why a running domain must not get another controller.

    QEMU puts consoles without an address on the controller that is created last. When
    the domain is restored from a saved state, or arrives by migration, that is another
    one than before, and QEMU refuses the state (measured: "load of migration failed").

    Returns:
        The reason, for people; empty: there is none.

    Raises:
        DomainXmlError: invalid domain XML.
    """
    if has_hidden_console(parse_document(xml)):
        return "its virtio console could not be restored or migrated"
    return ""


def _controllers(root: etree._Element) -> dict[str, etree._Element]:
    return {
        f"{element.get('type')}:{element.get('index')}": element
        for element in root.iterfind("devices/controller")
        if element.get("type") in _KINDS
    }


def _rank(name: str) -> tuple[int, int]:
    kind, _, index = name.partition(":")
    # The highest index first: libvirt numbers them in the order of adding.
    return _KINDS.index(kind), -int(index) if index.isdecimal() else 0


def _is_used(root: etree._Element, name: str) -> bool:
    kind, _, index = name.partition(":")
    if kind == "virtio-serial":
        path = f"devices/*/address[@type='virtio-serial'][@controller='{index}']"
        return root.find(path) is not None
    return any(
        _number(str(address.get("bus", ""))) == _number(index)
        for address in root.iterfind("devices/*/address[@type='pci']")
    )


def _number(word: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        return -1
