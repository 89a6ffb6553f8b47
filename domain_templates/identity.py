# SPDX-License-Identifier: Apache-2.0
"""Removes from a template what belongs to one domain only.

The XML of an existing domain is a template, too. What identifies that domain is always
removed. A template with a description (see `parameters`) was written for many domains;
from XML without one, its placement, and the sockets, logs, taps and ports that libvirt
or QEMU creates for it are removed as well.

Source: libvirt's formatdomain; what libvirt generates if it is not given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain_templates.elements import drop, drop_all, drop_empty
from orchestrator.domain_xml.note import NOTE_URI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml import etree

_IDENTITY = (
    "uuid",
    "genid",
    # Without <uuid>, libvirt takes the UUID of the SMBIOS data.
    "sysinfo/system/entry[@name='uuid']",
    "sysinfo/*/entry[@name='serial']",
    "sysinfo/chassis/entry[@name='asset']",
    f"metadata/{{{NOTE_URI}}}*",
    "devices/interface/mac",
    "devices/interface/filterref/parameter[@name='MAC']",
    "devices/interface/filterref/parameter[@name='IP']",
    "devices/interface/filterref/parameter[@name='IPV6']",
    "devices/disk/serial",
    "devices/disk/wwn",
    "devices/disk/mirror",
)
_IDENTITY_ATTRIBUTES = (
    ("devices/interface/source[@network]", "portid"),
    # libvirt generates one; that of a MidoNet port is required.
    ("devices/interface/virtualport[@type='openvswitch']/parameters", "interfaceid"),
    ("devices/interface/virtualport/parameters", "instanceid"),
    ("devices/disk/source", "index"),
)
_HOST_RESOURCES = (
    "sysinfo/oemStrings",
    "devices/*/log",
    "devices/tpm/backend/source",
    "devices/pstore/path",
)
_PLACEMENT = (
    "cputune/vcpupin",
    "cputune/emulatorpin",
    "cputune/iothreadpin",
    "numatune/memnode",
    "devices/memory/source/nodemask",
)
_ADDRESS = ("domain", "bus", "slot", "function", "device")
_EXCLUSIVE = (
    ("vhost-user socket", "devices/interface[@type='vhostuser']/source", "path"),
    (
        "MidoNet port",
        "devices/interface/virtualport[@type='midonet']/parameters",
        "interfaceid",
    ),
    ("tap", "devices/interface/target[@managed='no']", "dev"),
    ("NVDIMM", "devices/memory[@model='nvdimm']/source/path", ""),
    (
        "arguments for QEMU (qemu:commandline)",
        "{http://libvirt.org/schemas/domain/qemu/1.0}commandline",
        "",
    ),
)
"""Names of what only one running domain can use, paths, and attributes."""
_HOST_ENDS = ("pty", "file", "pipe", "dev", "unix", "tcp", "udp")
"""Types of character devices that name something of the host."""


def remove_identity(root: etree._Element, *, is_described: bool) -> None:
    """Remove what belongs to the domain that a template was made from.

    Args:
        root: of the template.
        is_described: it was written as a template: keep its placement and paths.
    """
    root.attrib.pop("id", "")
    for path in _IDENTITY:
        drop_all(root, path)
    _forget_firmware_variables(root)
    for path, attribute in _IDENTITY_ATTRIBUTES:
        for element in root.iterfind(path):
            element.attrib.pop(attribute, "")
    for disk in root.iterfind("devices/disk"):
        _forget_backing_chain(disk)
    if not is_described:
        _remove_state(root)
    # The <sysinfo> itself stays: <smbios mode='sysinfo'> requires one.
    drop_empty(root, "sysinfo/*")


def name_exclusive(root: etree._Element) -> Iterator[str]:
    """Name what only one running domain can use."""
    for disk in root.iterfind("devices/disk"):
        if disk.find("readonly") is None and disk.find("shareable") is None:
            yield from _name_disk(disk)
    for name, path, attribute in _EXCLUSIVE:
        for element in root.iterfind(path):
            value = element.get(attribute) if attribute else None
            yield f"{name} {value or element.text or ''}".strip()
    for path in ("devices/interface[@type='hostdev']", "devices/hostdev"):
        for address in root.iterfind(f"{path}/source/address[@bus]"):
            parts = (str(address.get(key, "")) for key in _ADDRESS)
            yield f"host device {':'.join(part for part in parts if part)}"


def _name_disk(disk: etree._Element) -> Iterator[str]:
    source, target = disk.find("source"), disk.find("target")
    if source is None or target is None or disk.get("device") in ("cdrom", "floppy"):
        return
    keys = ("file", "dev", "dir", "name", "volume", "path")
    where = next((str(source.get(key)) for key in keys if source.get(key)), "")
    yield f"disk {target.get('dev')} ({where or disk.get('type')})"


def _forget_firmware_variables(root: etree._Element) -> None:
    """Let libvirt create the file again, from the same master file."""
    for nvram in root.findall("os/nvram"):
        nvram.text = None
        nvram.attrib.pop("type", "")
        drop_all(nvram, "source")
        if not nvram.attrib:
            drop(nvram)


def _forget_backing_chain(disk: etree._Element) -> None:
    chain = disk.find("backingStore")
    # An empty one is a setting: the image has no backing file.
    if chain is not None and len(chain):
        drop(chain)


def _remove_state(root: etree._Element) -> None:
    for path in (*_HOST_RESOURCES, *_PLACEMENT):
        drop_all(root, path)
    _release_taps(root)
    _release_host_ends(root)
    for vcpu in root.iterfind("vcpu"):
        vcpu.attrib.pop("cpuset", "")
    for graphics in root.iterfind("devices/graphics"):
        _release_ports(graphics)
    for cid in root.iterfind("devices/vsock/cid[@address]"):
        cid.attrib.pop("address")
        cid.set("auto", "yes")
    drop_empty(root, "cputune")


def _release_taps(root: etree._Element) -> None:
    for target in root.findall("devices/interface/target"):
        if target.get("managed") != "no":  # libvirt creates the tap
            drop(target)


def _release_host_ends(root: etree._Element) -> None:
    for tag in ("serial", "parallel", "console", "channel"):
        for device in root.iterfind(f"devices/{tag}"):
            _disconnect(device)


def _disconnect(device: etree._Element) -> None:
    """Let libvirt choose the host's end of a character device."""
    device.attrib.pop("tty", "")
    if device.get("type") not in _HOST_ENDS:
        return
    if device.find("source[@mode='connect']") is not None:
        return
    drop_all(device, "source")
    drop_all(device, "protocol")
    is_virtio = device.find("target[@type='virtio']") is not None
    if device.tag == "channel" and is_virtio and device.get("type") != "pty":
        device.set("type", "unix")
        device.insert(0, device.makeelement("source", {"mode": "bind"}))
    else:
        device.set("type", "pty")


def _release_ports(graphics: etree._Element) -> None:
    graphics.attrib.pop("socket", "")
    for listen in graphics.iterfind("listen"):
        listen.attrib.pop("socket", "")
    ports = [key for key in ("port", "tlsPort", "websocket") if key in graphics.attrib]
    for key in ports:
        graphics.attrib.pop(key)
    if ports and graphics.get("type") in ("vnc", "spice", "rdp"):
        graphics.set("autoport", "yes")
