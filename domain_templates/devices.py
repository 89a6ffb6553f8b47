# SPDX-License-Identifier: Apache-2.0
"""Sets the disks and interfaces of a domain.

Source: libvirt's formatdomain, "Hard drives, floppy disks, CDROMs" and "Network
interfaces".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from lxml import etree

from domain_templates.spec import Link, Network, parse_pci
from orchestrator.domain_xml.document import devices_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FORMATS = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vdi": "vdi"}


def set_disk(root: etree._Element, path: Path, disk_format: str = "") -> None:
    """Set the file or block device of the first disk."""
    disk = root.find("devices/disk[@device='disk']")
    if disk is None:
        disk = etree.SubElement(devices_of(root), "disk", device="disk")
        etree.SubElement(disk, "driver", name="qemu")
        etree.SubElement(disk, "target", dev="vda", bus="virtio")
    # By path: only libvirt may have the permission to stat the file.
    is_device = path.is_relative_to("/dev")
    disk.set("type", "block" if is_device else "file")
    from_suffix = _FORMATS.get(path.suffix.lower(), "raw")
    _child(disk, "driver").set("type", disk_format or from_suffix)
    source = _child(disk, "source")
    source.attrib.clear()
    source.set("dev" if is_device else "file", str(path))
    _boot_from_disk(root)


def set_cloud_init(root: etree._Element, path: Path | None) -> None:
    """Set the ISO image of the CD drive; without an image, remove an empty drive."""
    drive = root.find("devices/disk[@device='cdrom']")
    if path is None:
        if drive is not None and drive.find("source") is None:
            devices_of(root).remove(drive)
        return
    if drive is None:
        drive = etree.SubElement(devices_of(root), "disk", device="cdrom")
        etree.SubElement(drive, "target", dev="sda", bus="sata")
        etree.SubElement(drive, "readonly")
    drive.set("type", "file")
    driver = _child(drive, "driver")
    driver.set("name", "qemu")
    driver.set("type", "raw")
    source = _child(drive, "source")
    source.attrib.clear()
    source.set("file", str(path))


def set_networks(root: etree._Element, networks: Iterable[Network]) -> None:
    """Replace all interfaces."""
    devices = devices_of(root)
    for old in devices.findall("interface"):
        devices.remove(old)
    for network in networks:
        devices.append(_interface(network))
        if network.link is Link.VHOST_USER:
            _share_memory(root)


def _interface(network: Network) -> etree._Element:
    element = etree.Element("interface", type=network.link.value)
    match network.link:
        case Link.NETWORK:
            etree.SubElement(element, "source", network=network.to)
        case Link.BRIDGE:
            etree.SubElement(element, "source", bridge=network.to)
        case Link.VHOST_USER:
            source = {"type": "unix", "path": network.to, "mode": "server"}
            etree.SubElement(element, "source", source)
        case Link.HOSTDEV:
            _set_pci_source(element, network.to)
        case Link.USER:
            pass
        case _:
            assert_never(network.link)
    if network.link is not Link.HOSTDEV:
        etree.SubElement(element, "model", type="virtio")
    return element


def _set_pci_source(element: etree._Element, address: str) -> None:
    # Managed: libvirt detaches it from the host's driver, and reattaches it.
    element.set("managed", "yes")
    domain, bus, slot, function = parse_pci(address)
    parts = {
        "type": "pci",
        "domain": f"0x{domain:04x}",
        "bus": f"0x{bus:02x}",
        "slot": f"0x{slot:02x}",
        "function": f"0x{function:x}",
    }
    etree.SubElement(etree.SubElement(element, "source"), "address", parts)


def _share_memory(root: etree._Element) -> None:
    """Share the guest's memory with the vhost-user switch."""
    backing = root.find("memoryBacking")
    if backing is None:
        backing = etree.SubElement(root, "memoryBacking")
    if backing.find("hugepages") is None and backing.find("source") is None:
        etree.SubElement(backing, "source", type="memfd")
    _child(backing, "access").set("mode", "shared")


def _boot_from_disk(root: etree._Element) -> None:
    system = root.find("os")
    has_order = root.find("devices/*/boot") is not None
    if system is not None and not has_order and system.find("boot") is None:
        etree.SubElement(system, "boot", dev="hd")


def _child(parent: etree._Element, tag: str) -> etree._Element:
    element = parent.find(tag)
    return etree.SubElement(parent, tag) if element is None else element
