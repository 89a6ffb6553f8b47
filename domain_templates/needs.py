# SPDX-License-Identifier: Apache-2.0
"""What a host must have for a domain to start, read from the domain's XML; pure.

libvirt accepts a definition without these and refuses to start the domain.

Source: libvirt's formatdomain.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import ConfigError
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lxml import etree

_PINNINGS = (
    ("vcpu", "cpuset"),
    ("cputune/vcpupin", "cpuset"),
    ("cputune/emulatorpin", "cpuset"),
    ("cputune/iothreadpin", "cpuset"),
)
_NODES = (("numatune/memory", "nodeset"), ("numatune/memnode", "nodeset"))
_BOOT_FILES = (
    ("kernel", "os/kernel"),
    ("initrd", "os/initrd"),
    ("firmware", "os/loader"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A file or directory, and what needs it."""

    user: str
    """For people: disk vda, kernel, channel."""
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNeeds:
    """What a domain needs of its host."""

    is_kvm: bool
    cpus: frozenset[int]
    """CPUs that it is pinned to."""
    nodes: frozenset[int]
    """NUMA nodes of its memory."""
    networks: tuple[str, ...]
    """libvirt networks, which must be active."""
    links: tuple[str, ...]
    """Network devices of the host, such as bridges."""
    functions: tuple[str, ...]
    """PCI functions, as 0000:3b:02.1."""
    files: tuple[Needed, ...]
    directories: tuple[Needed, ...]
    """In which sockets or logs are created."""


def read_needs(xml: str) -> HostNeeds:
    """Read what a domain needs of its host.

    Raises:
        DomainXmlError: invalid XML.
    """
    root = parse_document(xml)
    return HostNeeds(
        is_kvm=root.get("type") == "kvm",
        cpus=_numbers(root, _PINNINGS),
        nodes=_numbers(root, _NODES),
        networks=_values(root, "devices/interface[@type='network']", "network"),
        links=_values(root, "devices/interface[@type='bridge']", "bridge")
        + _values(root, "devices/interface[@type='direct']", "dev"),
        functions=tuple(_functions(root)),
        files=tuple(_files(root)),
        directories=tuple(dict.fromkeys(_directories(root))),
    )


def _numbers(root: etree._Element, places: Iterable[tuple[str, str]]) -> frozenset[int]:
    found: set[int] = set()
    for path, attribute in places:
        for element in root.iterfind(f"{path}[@{attribute}]"):
            with suppress(ConfigError):  # invalid: libvirt refuses the definition
                found |= parse_cpulist(str(element.get(attribute)))
    return frozenset(found)


def _values(root: etree._Element, path: str, attribute: str) -> tuple[str, ...]:
    found = (item.get(attribute) for item in root.iterfind(f"{path}/source"))
    return tuple(dict.fromkeys(str(value) for value in found if value))


def _functions(root: etree._Element) -> Iterator[str]:
    for path in ("interface[@type='hostdev']", "hostdev[@type='pci']"):
        for address in root.iterfind(f"devices/{path}/source/address"):
            keys = ("domain", "bus", "slot", "function")
            with suppress(ValueError):  # invalid: libvirt refuses the definition
                parts = [int(str(address.get(key, "0")), 0) for key in keys]
                yield "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)


def _files(root: etree._Element) -> Iterator[Needed]:
    for user, path in _BOOT_FILES:
        yield from _needed(user, root.findtext(path))
    for nvram in root.iterfind("os/nvram"):
        yield from _needed("firmware variables", nvram.get("template"))
    for disk in root.iterfind("devices/disk"):
        target = disk.find("target")
        user = f"disk {'' if target is None else target.get('dev', '')}"
        for source in disk.iterfind("source"):
            if source.get("startupPolicy") is None:
                yield from _needed(user, source.get("file") or source.get("dev"))
    for source in root.iterfind("devices/interface[@type='vhostuser']/source"):
        if source.get("mode") == "client":
            yield from _needed("vhost-user socket", source.get("path"))


def _directories(root: etree._Element) -> Iterator[Needed]:
    for tag in ("channel", "serial", "parallel", "console"):
        for device in root.iterfind(f"devices/{tag}"):
            if device.get("type") in ("file", "unix"):
                yield from _parents(device, tag)
    for device in root.iterfind("devices/interface[@type='vhostuser']"):
        yield from _parents(device, "vhost-user socket")


def _parents(device: etree._Element, user: str) -> Iterator[Needed]:
    for source in device.iterfind("source"):
        if source.get("mode") not in ("connect", "client"):
            for needed in _needed(user, source.get("path")):
                yield Needed(user=user, path=needed.path.parent)


def _needed(user: str, path: str | None) -> Iterator[Needed]:
    text = (path or "").strip()
    if text.startswith("/"):
        yield Needed(user=user, path=Path(text))
