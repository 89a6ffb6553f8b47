# SPDX-License-Identifier: Apache-2.0
"""Ports of a domain's virtio-serial controllers.

Theory of operation: a controller has `ports` ports (31 by default), of which port 0 is
reserved for a console, so 30 channels fit. libvirt must never be asked for one more on
a running domain: it refuses, but leaves a controller in the live XML that QEMU does not
have (recognizable by its missing alias). libvirt continues to choose ports on such an
**absent controller**, so beside one, channels get addresses.

**Hidden consoles**: libvirt writes no address for virtio consoles, neither into the XML
nor on QEMU's command line, and forgets them when it chooses ports for channels. QEMU
puts them on the controller that was created last, after the channels: the first one at
port 0, each other one at the lowest port that is free. If none is left, the domain does
not start. So beside several consoles, channels get addresses from the highest port
down, and on each controller as many ports stay free as there are such consoles.

Source: virDomainVirtioSerialAddrNext of libvirt's domain_addr.c; QEMU's
virtser_port_device_realize (hw/char/virtio-serial-bus.c); observed with libvirt 9.0
and 11.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import DomainXmlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lxml import etree

DEFAULT_PORTS = 31
"""Ports of a controller by default: VIR_DOMAIN_DEFAULT_VIRTIO_SERIAL_PORTS."""


class Address(NamedTuple):
    """Address of a virtio-serial port."""

    controller: int
    """Index of the controller."""
    port: int


def count_free_ports(root: etree._Element) -> int:
    """Count the channels that fit without another controller."""
    free = _free_ports(root).values()
    return max(0, sum(map(len, free)) - _count_unassigned(root))


def choose_addresses(root: etree._Element, count: int) -> list[Address]:
    """Choose ports for further channels, on further controllers if needed.

    Raises:
        DomainXmlError: its consoles leave no port on any controller.
    """
    # The highest ports first: QEMU gives its consoles the lowest.
    free = [
        Address(index, port)
        for index, ports in _free_ports(root).items()
        for port in ports
    ]
    left = free[_count_unassigned(root) :]
    chosen = sorted(left, key=lambda it: (it.controller, -it.port))[:count]
    hidden = count_hidden_consoles(root)
    index = next_controller_index(root)
    while len(chosen) < count:
        ports = range(DEFAULT_PORTS - 1, hidden, -1)
        if not ports:
            raise DomainXmlError(f"{hidden + 1} virtio consoles leave no port free")
        chosen += [Address(index, port) for port in ports[: count - len(chosen)]]
        index += 1
    return chosen


def count_hidden_consoles(root: etree._Element) -> int:
    """Count the consoles that QEMU puts at other ports than 0; see the module."""
    return _count_hidden(root, _taken(root))


def _count_hidden(root: etree._Element, taken: Mapping[int, set[int]]) -> int:
    consoles = len(_hidden_consoles(root))
    is_zero_taken = any(0 in ports for ports in taken.values())
    return consoles if is_zero_taken else max(0, consoles - 1)


def has_hidden_console(root: etree._Element) -> bool:
    """Whether any console has no address, so that QEMU chooses its controller."""
    return bool(_hidden_consoles(root))


def needs_addresses(root: etree._Element) -> bool:
    """Whether libvirt would choose ports that consoles use, or that QEMU lacks."""
    has_absent_controller = len(_indexes(root)) > len(_controllers(root))
    return has_absent_controller or bool(count_hidden_consoles(root))


def next_controller_index(root: etree._Element) -> int:
    """Return the index of the next controller."""
    return max(_indexes(root), default=-1) + 1


def _free_ports(root: etree._Element) -> dict[int, list[int]]:
    """Return the ports of each controller for further channels, in ascending order.

    Channels without an address will take the first of them.
    """
    taken = _taken(root)
    hidden = _count_hidden(root, taken)
    return {
        index: [it for it in range(1, ports) if it not in taken.get(index, ())][hidden:]
        for index, ports in sorted(_controllers(root).items())
    }


def _count_unassigned(root: etree._Element) -> int:
    """Count the channels without an address."""
    return _count_without_address(root.iterfind("devices/channel"))


def _count_without_address(devices: Iterable[etree._Element]) -> int:
    return sum(_address(it) is None for it in devices if _is_virtio(it))


def _taken(root: etree._Element) -> dict[int, set[int]]:
    """Return the ports of each controller that devices have as their address."""
    taken: dict[int, set[int]] = {}
    for device in root.iterfind("devices/*"):
        address = _address(device)
        if address is not None:
            index = _number(address, "controller", 0)
            taken.setdefault(index, set()).add(_number(address, "port", 0))
    return taken


def _controllers(root: etree._Element) -> dict[int, int]:
    """Return the number of ports by controller, except those that QEMU lacks."""
    is_live = "id" in root.attrib and root.find("devices//alias") is not None
    return {
        _number(item, "index", 0): _number(item, "ports", DEFAULT_PORTS)
        for item in root.iterfind("devices/controller[@type='virtio-serial']")
        if not is_live or item.find("alias") is not None
    }


def _indexes(root: etree._Element) -> set[int]:
    """Return the indexes of all controllers, including those that QEMU lacks."""
    controllers = root.iterfind("devices/controller[@type='virtio-serial']")
    return {_number(item, "index", 0) for item in controllers}


def _hidden_consoles(root: etree._Element) -> list[etree._Element]:
    """Return the virtio consoles without an address."""
    return [
        console
        for console in root.iterfind("devices/console")
        if _is_virtio(console) and _address(console) is None
    ]


def _address(device: etree._Element) -> etree._Element | None:
    return device.find("address[@type='virtio-serial']")


def _is_virtio(device: etree._Element) -> bool:
    return device.find("target[@type='virtio']") is not None


def _number(element: etree._Element, name: str, otherwise: int) -> int:
    text = str(element.get(name, ""))
    is_number = text.isascii() and text.isdigit() and len(text) < 4
    return int(text) if is_number else otherwise
