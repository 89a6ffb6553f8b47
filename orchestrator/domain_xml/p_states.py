# SPDX-License-Identifier: Apache-2.0
"""The P-states of a domain: the note in its metadata, and the devices that it names.

The note of a running domain is that of the definition at its start, so it describes the
table that the guest has read. A redefinition changes the note of the definition only.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from lxml import etree

from orchestrator.domain_xml.channel import check_socket_path
from orchestrator.errors import ConfigError, DomainXmlError
from orchestrator.values.cpuset import format_cpulist, parse_cpulist
from orchestrator.values.frequencies import FrequencyTable
from orchestrator.values.p_states import (
    MAX_VCPUS,
    PStateEndpoint,
    PStatePort,
    PStates,
    steps_per_vcpu,
    vcpus_per_port,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

P_STATES_URI = "urn:vmpower:p-states:1"
"""A separate namespace, because libvirt keeps one element per namespace."""
P_STATES_PREFIX = "vmpower-p-states"

_TAG = f"{{{P_STATES_URI}}}p-states"
_PORT = f"{{{P_STATES_URI}}}port"
_TABLE = f"{{{P_STATES_URI}}}table"
_STEP_BITS = (3, 4)
_MAX_IO = 0xFFFF
_MAX_IRQ = 15
_MAX_DIGITS = 10


class FoundPStates(NamedTuple):
    """What a domain's XML says about its P-states."""

    p_states: PStates | None
    """None: it has no note, or an invalid one."""
    problems: tuple[str, ...]
    """What was ignored and why, one sentence each."""


def find_note(root: etree._Element) -> etree._Element | None:
    """Return the note of a domain's tree, if there is one."""
    return root.find(f"metadata/{_TAG}")


def read_p_states(root: etree._Element) -> FoundPStates:
    """Read the note from a domain's tree, and the devices that it names."""
    element = find_note(root)
    if element is None:
        return FoundPStates(None, ())
    try:
        noted = _read_note(element)
    except (ConfigError, ValueError) as error:
        return FoundPStates(None, (f"P-states: invalid note: {error}; ignored",))
    endpoints: list[PStateEndpoint] = []
    problems: list[str] = []
    for port in noted.ports:
        try:
            endpoints.append(_read_endpoint(root, port))
        except DomainXmlError as error:
            problems.append(f"P-states: port {port.io_base:#x}: {error}; ignored")
    return FoundPStates(noted._replace(endpoints=tuple(endpoints)), tuple(problems))


def read_noted(element: etree._Element) -> PStates | None:
    """Read a note without its devices; None: it is invalid."""
    try:
        return _read_note(element)
    except (ConfigError, ValueError):
        return None


def build_note(p_states: PStates) -> etree._Element:
    """Build the note as an element of a domain's metadata."""
    element = etree.Element(_TAG, nsmap={P_STATES_PREFIX: P_STATES_URI})
    element.set("file", p_states.file)
    for port in p_states.ports:
        child = etree.SubElement(element, _PORT)
        child.set("iobase", f"{port.io_base:#x}")
        child.set("irq", str(port.irq))
        child.set("first", str(port.first_vcpu))
        child.set("vcpus", str(port.vcpus))
        child.set("bits", str(port.step_bits))
    numbered = enumerate(p_states.tables)
    by_table = sorted(
        ((table, vcpu) for vcpu, table in numbered if table is not None), reverse=True
    )
    for table, found in groupby(by_table, key=lambda it: it[0]):
        child = etree.SubElement(element, _TABLE)
        child.set("vcpus", format_cpulist(vcpu for _, vcpu in found))
        child.set("khz", " ".join(map(str, table.khz)))
        child.set("turbo", "yes" if table.has_turbo else "no")
    return element


def _read_note(element: etree._Element) -> PStates:
    """Read a note.

    Raises:
        ConfigError: an invalid list of vCPUs.
        ValueError: any other part is invalid.
    """
    ports = tuple(_read_port(child) for child in element.iterchildren(_PORT))
    tables: dict[int, FrequencyTable] = {}
    for child in element.iterchildren(_TABLE):
        table = _read_table(child)
        vcpus = parse_cpulist(str(child.get("vcpus", "")), noun="vCPU")
        if max(vcpus, default=0) >= MAX_VCPUS:
            raise ValueError(f"vCPU {max(vcpus)}: the highest is {MAX_VCPUS - 1}")
        tables |= dict.fromkeys(vcpus, table)
    if not ports or not tables:
        raise ValueError("no port, or no table")
    if len({port.io_base for port in ports}) < len(ports):
        raise ValueError("two ports at one address")
    return PStates(
        tables=tuple(tables.get(vcpu) for vcpu in range(max(tables) + 1)),
        ports=tuple(sorted(ports, key=lambda port: port.first_vcpu)),
        file=str(element.get("file", "")),
    )


def _read_port(element: etree._Element) -> PStatePort:
    bits = _number(element, "bits", max(_STEP_BITS))
    if bits not in _STEP_BITS:
        raise ValueError(f"invalid number of bits {bits}")
    return PStatePort(
        io_base=_number(element, "iobase", _MAX_IO),
        irq=_number(element, "irq", _MAX_IRQ),
        first_vcpu=_number(element, "first", MAX_VCPUS - 1),
        vcpus=_number(element, "vcpus", vcpus_per_port(bits)),
        step_bits=bits,
    )


def _read_table(element: etree._Element) -> FrequencyTable:
    words = str(element.get("khz", "")).split()
    if not 0 < len(words) <= steps_per_vcpu(max(_STEP_BITS)):
        raise ValueError(f"invalid number of frequencies {len(words)}")
    khz = tuple(_parse(word) for word in words)
    if list(khz) != sorted(set(khz), reverse=True) or khz[-1] < 1:
        raise ValueError("frequencies are not in descending order")
    has_turbo = element.get("turbo") == "yes" and len(khz) > 1
    return FrequencyTable(khz, has_turbo)


def _read_endpoint(root: etree._Element, port: PStatePort) -> PStateEndpoint:
    """Return the device of a port.

    Raises:
        DomainXmlError: there is none, or its socket cannot be connected.
    """
    device = next(devices_at(root, port.io_base), None)
    if device is None:
        raise DomainXmlError("the domain has no serial device at this address")
    kind, source, alias = (
        device.get("type"),
        device.find("source"),
        device.find("alias"),
    )
    if kind != "unix":
        raise DomainXmlError(f"unsupported type '{kind}': only 'unix' can be connected")
    if source is not None and source.get("mode") == "connect":
        raise DomainXmlError("QEMU connects (mode='connect') instead of listening")
    path = None if source is None else source.get("path") or None
    if path is not None:
        check_socket_path(path)
    name = None if alias is None else alias.get("name")
    return PStateEndpoint(port, path, name)


def devices_at(root: etree._Element, io_base: int) -> Iterator[etree._Element]:
    """Yield the serial devices at an I/O address."""
    for device in root.iterfind("devices/serial"):
        address = device.find("address[@type='isa']")
        if address is not None and as_number(address.get("iobase")) == io_base:
            yield device


def as_number(word: str | None) -> int | None:
    """Return a number as libvirt writes it, decimal or hexadecimal; None: invalid."""
    try:
        return _parse(word or "")
    except ValueError:
        return None


def _number(element: etree._Element, name: str, highest: int) -> int:
    number = _parse(str(element.get(name, "")))
    if number > highest:
        raise ValueError(f"{name}: {number} is above {highest}")
    return number


def _parse(word: str) -> int:
    # The length first: int() raises another error for thousands of digits.
    if len(word) > _MAX_DIGITS or not word.isascii() or not word[:1].isdigit():
        raise ValueError(f"invalid number {word[:_MAX_DIGITS]!r}")
    return int(word, 0)
