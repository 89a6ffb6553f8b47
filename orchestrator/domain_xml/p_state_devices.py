# SPDX-License-Identifier: Apache-2.0
"""Adds to a definition what gives the guest P-states, and removes it again.

That is an ISA serial device on a UNIX socket for each port, the ACPI table, and the
note that describes both. libvirt from 11.3 on has an element for the table; with an
older one, QEMU gets an argument.

libvirt adds a console to the first serial device of a domain. If that is ours, the
console is removed with it.

Source: libvirt's formatdomain ("ACPI tables", "Relationship between serial ports and
consoles", "Device Addresses") and drvqemu ("Pass-through of arbitrary QEMU commands").
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from lxml import etree

from orchestrator.domain_xml.channel import check_socket_path
from orchestrator.domain_xml.document import (
    append_child,
    devices_of,
    metadata_of,
    parse_document,
    remove_element,
    render_document,
)
from orchestrator.domain_xml.p_states import (
    as_number,
    build_note,
    devices_at,
    find_note,
    read_noted,
)
from orchestrator.errors import DomainXmlError
from orchestrator.onboarding.p_states import IO_BASES, SERIAL_DEVICES, FreePlaces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.onboarding.p_states import PStatePlan

QEMU_URI = "http://libvirt.org/schemas/domain/qemu/1.0"
"""Namespace of libvirt for arguments of QEMU."""

_COMMAND_LINE = f"{{{QEMU_URI}}}commandline"
_ARGUMENT = f"{{{QEMU_URI}}}arg"
_TABLE_OPTION = "-acpitable"
_PORT_SIZE = 8
"""I/O addresses of a serial device."""
_IO_PROPERTY = "iobase="


def add_p_states(
    xml: str, plan: PStatePlan, sockets: str, *, has_table_element: bool
) -> str:
    """Add P-states to a definition that has none.

    Args:
        xml: the definition.
        plan: what to add, with the path of the table.
        sockets: path of the sockets, without `-`, the I/O address and an extension.
        has_table_element: whether this libvirt has an element for ACPI tables.

    Raises:
        DomainXmlError: invalid XML, or a path that QEMU or the kernel cannot use.
    """
    root = parse_document(xml)
    devices, file = devices_of(root), plan.p_states.file
    _number_serials(root)
    for port, serial in zip(plan.p_states.ports, plan.serials, strict=True):
        path = f"{sockets}-{port.io_base:x}.sock"
        check_socket_path(path)
        append_child(devices, _build_device(path, serial, port.io_base, port.irq))
    note = build_note(plan.p_states)
    etree.indent(note, level=2)
    append_child(metadata_of(root), note)
    if has_table_element:
        _add_table_element(root, file)
    else:
        _add_table_argument(root, file)
    return render_document(root)


def remove_p_states(xml: str) -> str:
    """Remove what `add_p_states` added; without a note, nothing.

    Raises:
        DomainXmlError: invalid XML.
    """
    root = parse_document(xml)
    note = find_note(root)
    if note is None:
        return render_document(root)
    for device in list(_noted_devices(root, note)):
        for console in list(_consoles_of(root, device)):
            remove_element(console)
        remove_element(device)
    for elements in list(_table_parts(root, str(note.get("file", "")))):
        for element in elements:
            _remove_with_parent(element)
    _remove_with_parent(note)
    return render_document(root)


def has_table(xml: str, file: str) -> bool:
    """Whether a definition loads an ACPI table.

    Raises:
        DomainXmlError: invalid XML.
    """
    root = parse_document(xml)
    return next(_table_parts(root, file), None) is not None


def find_free_places(root: etree._Element) -> FreePlaces:
    """Return what a domain has free for serial devices.

    The number 0 is the console's, also where there is none.
    """
    taken = {number for _, number in _numbered_serials(root)}
    numbers = (it for it in range(1, SERIAL_DEVICES) if it not in taken)
    addresses = tuple(_taken_addresses(root))
    free = (base for base in IO_BASES if not _is_taken(base, addresses))
    return FreePlaces(serials=tuple(numbers), io_bases=tuple(free))


def _build_device(path: str, serial: int, io_base: int, irq: int) -> etree._Element:
    device = etree.Element("serial", type="unix")
    etree.SubElement(device, "source", mode="bind", path=path)
    target = etree.SubElement(device, "target", type="isa-serial", port=str(serial))
    etree.SubElement(target, "model", name="isa-serial")
    place = {"iobase": f"{io_base:#x}", "irq": f"{irq:#x}"}
    etree.SubElement(device, "address", {"type": "isa"} | place)
    etree.indent(device, level=2)
    return device


def _add_table_element(root: etree._Element, file: str) -> None:
    system = root.find("os")
    if system is None:
        raise DomainXmlError("the domain has no <os>")
    acpi = system.find("acpi")
    if acpi is None:
        acpi = etree.Element("acpi")
        append_child(system, acpi)
        acpi.text, acpi_end = "\n      ", "\n    "
        table = etree.SubElement(acpi, "table", type="raw")
        table.tail = acpi_end
    else:
        table = etree.Element("table", type="raw")
        append_child(acpi, table)
    table.text = file


def _add_table_argument(root: etree._Element, file: str) -> None:
    if "," in file:
        # libvirt passes the argument unchanged, and QEMU splits it at commas.
        raise DomainXmlError(f"the path of the ACPI table has a comma: '{file}'")
    command = root.find(_COMMAND_LINE)
    if command is None:
        command = etree.Element(_COMMAND_LINE, nsmap={"qemu": QEMU_URI})
        append_child(root, command)
    for value in (_TABLE_OPTION, f"file={file}"):
        etree.SubElement(command, _ARGUMENT, value=value)
    etree.indent(command, level=1)


def _table_parts(
    root: etree._Element, file: str
) -> Iterator[tuple[etree._Element, ...]]:
    """Yield the elements that load a table: one, or an option and its value."""
    for table in root.iterfind("os/acpi/table"):
        if (table.text or "").strip() == file:
            yield (table,)
    for argument in root.iterfind(f"{_COMMAND_LINE}/{_ARGUMENT}"):
        option = argument.getprevious()
        is_ours = argument.get("value") == f"file={file}"
        if is_ours and option is not None and option.get("value") == _TABLE_OPTION:
            yield option, argument


def _remove_with_parent(element: etree._Element) -> None:
    """Remove an element, and its parent if nothing else is in it."""
    parent = element.getparent()
    remove_element(element)
    if parent is not None and not len(parent):
        remove_element(parent)


def _noted_devices(
    root: etree._Element, note: etree._Element
) -> Iterator[etree._Element]:
    noted = read_noted(note)
    for port in () if noted is None else noted.ports:
        yield from devices_at(root, port.io_base)


def _consoles_of(
    root: etree._Element, device: etree._Element
) -> Iterator[etree._Element]:
    """Yield the consoles that libvirt made of a device."""
    path = _path_of(device)
    for console in root.iterfind("devices/console"):
        if path is not None and _path_of(console) == path:
            yield console


def _path_of(device: etree._Element) -> str | None:
    source = device.find("source")
    return None if source is None else source.get("path")


def _number_serials(root: etree._Element) -> None:
    """Write down the number that each serial device has without ours.

    libvirt numbers devices that have no number after all others, so that a console
    would become ttyS2.
    """
    for device, number in _numbered_serials(root):
        target = device.find("target")
        if target is None:
            target = etree.Element("target")
            append_child(device, target)
        target.set("port", str(number))


def _numbered_serials(root: etree._Element) -> list[tuple[etree._Element, int]]:
    """Return the serial devices with their numbers, as libvirt numbers them."""
    devices = root.findall("devices/serial")
    targets = (device.find("target") for device in devices)
    found = [None if it is None else as_number(it.get("port")) for it in targets]
    following = count(max((it for it in found if it is not None), default=-1) + 1)
    numbers = (next(following) if it is None else it for it in found)
    return list(zip(devices, numbers, strict=True))


def _taken_addresses(root: etree._Element) -> Iterator[int]:
    """Yield the I/O addresses of ISA devices, also of those of QEMU's arguments."""
    for address in root.iterfind("devices/*/address[@type='isa']"):
        number = as_number(address.get("iobase"))
        if number is not None:
            yield number
    for argument in root.iterfind(f"{_COMMAND_LINE}/{_ARGUMENT}"):
        for part in str(argument.get("value", "")).split(","):
            number = as_number(part.removeprefix(_IO_PROPERTY))
            if part.startswith(_IO_PROPERTY) and number is not None:
                yield number


def _is_taken(base: int, addresses: tuple[int, ...]) -> bool:
    return any(abs(base - address) < _PORT_SIZE for address in addresses)
