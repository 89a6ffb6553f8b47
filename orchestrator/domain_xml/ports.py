# SPDX-License-Identifier: Apache-2.0
"""Free ports of a domain's virtio-serial controllers.

Theory of operation: a controller has `ports` ports (31 by default), of which port 0 is
reserved for a console, so 30 channels fit. libvirt must never be asked for one more on
a running domain: it refuses, but leaves a controller in the live XML that QEMU does not
have (libvirt 9.0; recognizable by its missing alias).

Source: virDomainVirtioSerialAddrNext of libvirt's domain_addr.c; QEMU's max_ports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml import etree

DEFAULT_PORTS = 31
"""Ports of a controller by default: VIR_DOMAIN_DEFAULT_VIRTIO_SERIAL_PORTS."""
CHANNELS_PER_CONTROLLER = DEFAULT_PORTS - 1
"""Channels of a controller by default: port 0 is reserved for a console."""


def count_free_ports(root: etree._Element) -> int:
    """Count the channels that fit without another controller."""
    free = {index: set(range(1, ports)) for index, ports in _controllers(root)}
    unassigned = 0
    for device in root.iterfind("devices/*"):
        address = device.find("address[@type='virtio-serial']")
        if address is not None:
            ports = free.get(_number(address, "controller", 0), set())
            ports.discard(_number(address, "port", 0))
        elif _wants_port(device):
            unassigned += 1
    return max(0, sum(map(len, free.values())) - unassigned)


def next_controller_index(root: etree._Element) -> int:
    """Return the index of the next controller."""
    return max((index for index, _ in _controllers(root)), default=-1) + 1


def _controllers(root: etree._Element) -> list[tuple[int, int]]:
    """Return index and ports of each controller, except those that QEMU lacks."""
    is_live = "id" in root.attrib and root.find("devices//alias") is not None
    return [
        (_number(item, "index", 0), _number(item, "ports", DEFAULT_PORTS))
        for item in root.iterfind("devices/controller[@type='virtio-serial']")
        if not is_live or item.find("alias") is not None
    ]


def _wants_port(device: etree._Element) -> bool:
    return device.tag == "channel" and device.find("target[@type='virtio']") is not None


def _number(element: etree._Element, name: str, otherwise: int) -> int:
    text = str(element.get(name, ""))
    is_number = text.isascii() and text.isdigit() and len(text) < 4
    return int(text) if is_number else otherwise
