"""How many channels a domain's virtio-serial controllers can still take.

Theory of operation: a controller has ``ports`` ports (31 unless it says otherwise) and
port 0 is kept for a console, so 30 channels fit. libvirt must never be asked for one
more on a running domain: it refuses, but leaves a controller behind in the live XML
that QEMU does not have (libvirt 9.0; told by its lack of an alias).

Source: virDomainVirtioSerialAddrNext of libvirt's domain_addr.c; QEMU's max_ports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml import etree

DEFAULT_PORTS = 31
"""Ports of a controller that does not say: VIR_DOMAIN_DEFAULT_VIRTIO_SERIAL_PORTS."""
CHANNELS_PER_CONTROLLER = DEFAULT_PORTS - 1
"""Channels of a controller that does not say: port 0 is kept for a console."""


def count_free_ports(root: etree._Element) -> int:
    """Count the channels that can be added without adding a controller."""
    free = {index: set(range(1, ports)) for index, ports in _controllers(root)}
    homeless = 0
    for device in root.iterfind("devices/*"):
        address = device.find("address[@type='virtio-serial']")
        if address is not None:
            ports = free.get(_number(address, "controller", 0), set())
            ports.discard(_number(address, "port", 0))
        elif _wants_port(device):
            homeless += 1
    return max(0, sum(map(len, free.values())) - homeless)


def next_controller_index(root: etree._Element) -> int:
    """Say which index a further controller gets."""
    return max((index for index, _ in _controllers(root)), default=-1) + 1


def _controllers(root: etree._Element) -> list[tuple[int, int]]:
    """Index and ports of each controller that is really there."""
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
