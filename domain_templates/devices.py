# SPDX-License-Identifier: Apache-2.0
"""Sets the disks, interfaces and console of a domain.

Source: libvirt's formatdomain, "Hard drives, floppy disks, CDROMs" and "Network
interfaces".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from lxml import etree

from domain_templates.elements import drop_all
from domain_templates.spec import Link, Network, parse_pci
from orchestrator.domain_xml.document import devices_of
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_OF_IMAGE = (
    "source",
    "backingStore",
    "mirror",
    "auth",
    "encryption",
    "serial",
    "wwn",
    "geometry",
    "blockio",
    "shareable",
)
"""Children of a disk that describe its image. A new image is shared with no domain, and
libvirt permits it for some formats only."""
_FORMATS = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vdi": "vdi"}


def set_disk(root: etree._Element, path: Path, disk_format: str = "") -> None:
    """Set the file or block device of the first disk.

    The disk keeps its place in the guest and its tuning, and nothing of the old image.
    """
    disk = next(_disks(root), None)
    if disk is None:
        disk = _add_disk(root, "disk", "virtio")
    # By path: only libvirt may have the permission to stat the file.
    is_device = path.is_relative_to("/dev")
    from_suffix = _FORMATS.get(path.suffix.lower(), "raw")
    _set_image(disk, path, disk_format or from_suffix, is_device=is_device)
    _boot_from_disk(root)


def set_cloud_init(root: etree._Element, path: Path | None) -> None:
    """Set the ISO image of the CD drive; without an image, remove an empty drive."""
    drive = root.find("devices/disk[@device='cdrom']")
    if path is None:
        if drive is not None and drive.find("source") is None:
            devices_of(root).remove(drive)
        return
    if drive is None:
        drive = _add_disk(root, "cdrom", _cd_bus(root))
        etree.SubElement(drive, "readonly")
    _set_image(drive, path, "raw", is_device=False)


def set_console(root: etree._Element, path: Path) -> None:
    """Write the output of the first serial console to a file."""
    serial = root.find("devices/serial")
    if serial is None:
        serial = etree.SubElement(devices_of(root), "serial")
    for tag in ("source", "protocol", "log"):
        drop_all(serial, tag)
    serial.attrib.pop("tty", "")
    serial.set("type", "file")
    serial.insert(0, etree.Element("source", path=str(path)))


def _disks(root: etree._Element) -> Iterator[etree._Element]:
    for disk in root.iterfind("devices/disk"):
        if disk.get("device", "disk") in ("disk", "lun"):
            yield disk


def _add_disk(root: etree._Element, device: str, bus: str) -> etree._Element:
    disk = etree.SubElement(devices_of(root), "disk", device=device)
    etree.SubElement(disk, "driver", name="qemu")
    etree.SubElement(disk, "target", dev=_free_target(root, bus), bus=bus)
    return disk


def _free_target(root: etree._Element, bus: str) -> str:
    """Return the first device name that no disk of the domain has."""
    used = {target.get("dev") for target in root.iterfind("devices/disk/target")}
    prefix = "vd" if bus == "virtio" else "sd"
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = (f"{prefix}{first}{last}" for first in ("", *letters) for last in letters)
    free = next((name for name in names if name not in used), None)
    if free is None:
        raise ConfigError(f"no free disk name: {prefix}a to {prefix}zz are in use")
    return free


def _cd_bus(root: etree._Element) -> str:
    """Return a bus for CD drives that machines of the architecture have."""
    architecture = root.find("os/type")
    name = "x86_64" if architecture is None else architecture.get("arch", "x86_64")
    return "sata" if name in ("x86_64", "i686") else "scsi"


def _set_image(
    disk: etree._Element, path: Path, disk_format: str, *, is_device: bool
) -> None:
    for tag in _OF_IMAGE:
        drop_all(disk, tag)
    if disk.get("device") == "lun":  # a SCSI device of the host, no image
        disk.set("device", "disk")
    for attribute in ("rawio", "sgio"):
        disk.attrib.pop(attribute, "")
    disk.set("type", "block" if is_device else "file")
    driver = disk.find("driver")
    if driver is None:
        driver = etree.Element("driver")
        disk.insert(0, driver)
    driver.set("name", "qemu")
    driver.set("type", disk_format)
    if disk_format != "qcow2":
        drop_all(driver, "metadata_cache")
        driver.attrib.pop("discard_no_unref", "")
    source = etree.Element("source")
    source.set("dev" if is_device else "file", str(path))
    driver.addnext(source)


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
