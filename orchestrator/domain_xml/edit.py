# SPDX-License-Identifier: Apache-2.0
"""Adds channels to domain XML and removes them; everything else stays unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from orchestrator.domain_xml.channel import (
    build_channel_element,
    build_target,
    parse_channel_number,
)
from orchestrator.domain_xml.document import (
    append_child,
    devices_of,
    parse_document,
    remove_element,
    render_document,
)
from orchestrator.domain_xml.ports import (
    choose_addresses,
    needs_addresses,
    next_controller_index,
)
from orchestrator.errors import DomainXmlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.domain_xml.ports import Address


def add_channels(xml: str, numbers: Iterable[int]) -> str:
    """Add the channels that a domain lacks, and controllers for them if needed.

    Args:
        xml: of a domain that is off, or to show what a running one would have.
        numbers: channels that it should have afterwards.

    Raises:
        DomainXmlError: invalid XML, a number that no guest can use, or no port is left.
    """
    root = parse_document(xml)
    devices = devices_of(root)
    wanted = sorted(set(numbers) - set(_channel_elements(root)))
    addresses = choose_addresses(root, len(wanted))
    channels = _build_channels(root, wanted, addresses)
    for element in (*_build_controllers(root, addresses), *channels):
        append_child(devices, element)
    return render_document(root)


def build_further_channels(xml: str, numbers: Iterable[int]) -> dict[int, str]:
    """Build the elements of channels that a domain lacks, by number.

    An element has an address only where libvirt would choose a port that QEMU lacks, or
    uses for a console; in a definition, libvirt adds the controller of an address if it
    is missing.

    Args:
        xml: of the domain.
        numbers: of channels that it lacks.

    Raises:
        DomainXmlError: as `add_channels`.
    """
    root = parse_document(xml)
    wanted = sorted(numbers)
    elements = _build_channels(root, wanted, choose_addresses(root, len(wanted)))
    texts = (etree.tostring(it, encoding="unicode") for it in elements)
    return dict(zip(wanted, texts, strict=True))


def build_further_controllers(xml: str, numbers: Iterable[int]) -> list[str]:
    """Build the elements of the controllers without which channels do not fit.

    Args:
        xml: of the domain.
        numbers: of channels that it lacks.

    Raises:
        DomainXmlError: as `add_channels`.
    """
    root = parse_document(xml)
    targets = [build_target(number) for number in numbers]
    controllers = _build_controllers(root, choose_addresses(root, len(targets)))
    return [etree.tostring(it, encoding="unicode") for it in controllers]


def remove_channels(xml: str, numbers: Iterable[int]) -> str:
    """Remove channels, including duplicates; controllers stay.

    Raises:
        DomainXmlError: invalid XML.
    """
    root = parse_document(xml)
    present = _channel_elements(root)
    for number in set(numbers) & set(present):
        for element in present[number]:
            remove_element(element)
    return render_document(root)


def find_channel(xml: str, number: int) -> str | None:
    """Return the XML element of one channel; None: the domain has no such channel.

    libvirt needs the whole element to find the device that is to be detached.

    Raises:
        DomainXmlError: invalid XML.
    """
    elements = _channel_elements(parse_document(xml)).get(number)
    if elements is None:
        return None
    return etree.tostring(elements[0], encoding="unicode", with_tail=False)


def _channel_elements(root: etree._Element) -> dict[int, list[etree._Element]]:
    found: dict[int, list[etree._Element]] = {}
    for element in root.iterfind("devices/channel"):
        target = element.find("target[@type='virtio']")
        name = "" if target is None else str(target.get("name", ""))
        try:
            number = parse_channel_number(name)
        except DomainXmlError:
            continue  # a number that onboarding never uses
        if number is not None:
            found.setdefault(number, []).append(element)
    return found


def _build_channels(
    root: etree._Element, numbers: Sequence[int], addresses: Sequence[Address]
) -> list[etree._Element]:
    """Build channels, with their addresses if libvirt would not choose free ones."""
    channels = [build_channel_element(number) for number in numbers]
    if needs_addresses(root):
        for channel, (controller, port) in zip(channels, addresses, strict=True):
            place = {"controller": str(controller), "bus": "0", "port": str(port)}
            etree.SubElement(channel, "address", {"type": "virtio-serial"} | place)
    return channels


def _build_controllers(
    root: etree._Element, addresses: Sequence[Address]
) -> list[etree._Element]:
    """Build the controllers of addresses that the domain lacks."""
    first = next_controller_index(root)
    return [
        etree.Element("controller", type="virtio-serial", index=str(index))
        for index in sorted({it.controller for it in addresses})
        if index >= first
    ]
