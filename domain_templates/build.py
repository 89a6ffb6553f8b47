# SPDX-License-Identifier: Apache-2.0
"""Builds the XML of a domain from a template and a specification.

Source: libvirt's formatdomain ("Direct kernel boot", "CPU Tuning", "NUMA Node Tuning",
"Channel").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from domain_templates.catalog import Template, load_template
from domain_templates.check import check_disks, check_machine, check_spec
from domain_templates.devices import set_cloud_init, set_console, set_disk, set_networks
from domain_templates.elements import drop, drop_all, drop_empty
from domain_templates.identity import name_exclusive, remove_identity
from domain_templates.parameters import (
    apply_parameters,
    check_required,
    drop_description,
    has_description,
    read_parameters,
)
from domain_templates.spec import DomainKind, TemplateSpec
from orchestrator.domain_xml.channel import check_socket_path, parse_channel_number
from orchestrator.domain_xml.document import parse_document, render_document
from orchestrator.domain_xml.edit import add_channels, remove_channels
from orchestrator.domain_xml.metadata import set_settings
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import ConfigError, DomainXmlError
from orchestrator.values.cpuset import format_cpulist, parse_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterable

_ANY_UUID = "00000000-0000-0000-0000-000000000000"


def build(name: str, spec: TemplateSpec, template: Template | None = None) -> str:
    """Build the XML of a domain.

    Args:
        name: of the domain.
        spec: of the domain.
        template: to start from; None: `minimal`.

    Raises:
        ConfigError: the specification contradicts itself or the template, or a value is
            out of range.
        DomainXmlError: the template is invalid, or a socket's path would be too long.
    """
    chosen = load_template() if template is None else template
    root = parse_document(chosen.xml)
    check_machine(root)
    parameters = read_parameters(root)
    vcpus = _count(root, spec.vcpus)
    check_spec(name, spec, vcpus)
    check_required(parameters, [*spec.parameters, *_options(spec)])
    is_described = has_description(root)
    remove_identity(root, is_described=is_described)
    drop_description(root)
    _set_text(root, "name", name)
    _set_size(root, spec, vcpus)
    _set_boot(root, spec)
    _set_placement(root, spec, is_described=is_described)
    _set_kind(root, spec)
    _set_devices(root, spec)
    apply_parameters(root, parameters, spec.parameters)
    check_disks(root)
    return _finish(name, spec, root, vcpus)


def _finish(name: str, spec: TemplateSpec, root: etree._Element, vcpus: int) -> str:
    xml = _with_channels(name, spec, root, vcpus)
    root = parse_document(set_settings(xml, spec.settings))
    etree.indent(root)
    return render_document(root) + "\n"


def _options(spec: TemplateSpec) -> Iterable[str]:
    given = {"disk": spec.disk, "network": spec.networks, "kernel": spec.kernel}
    return (name for name, value in given.items() if value is not None)


def count_vcpus(template: Template) -> int:
    """Return the number of vCPUs of a template.

    Raises:
        DomainXmlError: the template is invalid.
    """
    return _count(parse_document(template.xml), None)


def name_inherited(xml: str, template: Template) -> tuple[str, ...]:
    """Name what a domain has of its template that only one running domain can use.

    Args:
        xml: that was built from the template.
        template: it may be the XML of a domain that exists.

    Raises:
        DomainXmlError: invalid XML.
    """
    theirs = set(name_exclusive(parse_document(template.xml)))
    ours = name_exclusive(parse_document(xml))
    return tuple(name for name in ours if name in theirs)


def _count(root: etree._Element, requested: int | None) -> int:
    if requested is not None:
        return requested
    text = (root.findtext("vcpu") or "1").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise DomainXmlError(f"invalid number of vCPUs in the template: '{text}'")
    return int(text)


def _set_size(root: etree._Element, spec: TemplateSpec, vcpus: int) -> None:
    if spec.memory_mib is not None:
        memory = _find(root, "memory")
        memory.text = str(spec.memory_mib)
        memory.set("unit", "MiB")
        drop(root.find("currentMemory"))
    if root.find("vcpu") is None:
        element = etree.Element("vcpu")
        element.text = "1"  # libvirt's default
        _find(root, "memory").addnext(element)
    if spec.vcpus is not None:
        element = _find(root, "vcpu")
        element.text = str(vcpus)
        element.attrib.pop("current", "")
        for path in ("vcpus", "cpu/topology"):
            drop(root.find(path))
        _renumber_tuning(root, vcpus)
    _resize_cells(root, spec, vcpus)


def _renumber_tuning(root: etree._Element, vcpus: int) -> None:
    """Remove vCPUs that the domain does not have from its tuning.

    Raises:
        DomainXmlError: an element does not hold a list of vCPUs.
    """
    for pin in root.findall("cputune/vcpupin"):
        if str(pin.get("vcpu")) not in map(str, range(vcpus)):
            drop(pin)
    lists = ("vcpusched", "cachetune", "cachetune/monitor", "memorytune")
    for tag in (*lists, "memorytune/monitor"):
        for element in root.findall(f"cputune/{tag}[@vcpus]"):
            left = _vcpus_of(element) & frozenset(range(vcpus))
            if left:
                element.set("vcpus", format_cpulist(left))
            else:
                drop(element)


def _vcpus_of(element: etree._Element) -> frozenset[int]:
    text = str(element.get("vcpus"))
    try:
        return frozenset(parse_cpulist(text))
    except ConfigError as error:
        raise DomainXmlError(f"<{element.tag}>: invalid vCPUs '{text}'") from error


def _resize_cells(root: etree._Element, spec: TemplateSpec, vcpus: int) -> None:
    cells = root.findall("cpu/numa/cell")
    is_resized = spec.vcpus is not None or spec.memory_mib is not None
    if not cells or not is_resized:
        return
    if len(cells) > 1:
        raise ConfigError(
            f"the template divides its vCPUs and memory among {len(cells)} NUMA cells",
            hint="omit --vcpus and --memory, or use a template with one cell",
        )
    cells[0].set("cpus", format_cpulist(range(vcpus)))
    if spec.memory_mib is not None:
        cells[0].set("memory", str(spec.memory_mib))
        cells[0].set("unit", "MiB")


def _set_boot(root: etree._Element, spec: TemplateSpec) -> None:
    boot = {
        "kernel": spec.kernel and str(spec.kernel),
        "initrd": spec.initrd and str(spec.initrd),
        "cmdline": spec.cmdline,
    }
    if spec.kernel is not None:
        for tag in boot:
            drop(root.find(f"os/{tag}"))
    for tag, text in boot.items():
        if text:
            etree.SubElement(_find(root, "os"), tag).text = text


def _set_placement(
    root: etree._Element, spec: TemplateSpec, *, is_described: bool
) -> None:
    """Set the pinning and the NUMA node, and keep the rest of the tuning."""
    if spec.pins or spec.emulator_pins:
        tuning = root.find("cputune")
        if tuning is None:
            tuning = etree.Element("cputune")
            _find(root, "vcpu").addnext(tuning)
        _set_pins(tuning, spec)
    memory = root.find("numatune/memory")
    if spec.numa_node is not None and memory is not None:
        memory.attrib.pop("placement", "")  # auto: excludes a node set
        memory.set("nodeset", str(spec.numa_node))
    elif memory is not None and not is_described:
        drop(memory)
        drop_empty(root, "numatune")


def _set_pins(tuning: etree._Element, spec: TemplateSpec) -> None:
    if spec.pins:
        drop_all(tuning, "vcpupin")
        for vcpu, pcpu in enumerate(spec.pins):
            etree.SubElement(tuning, "vcpupin", vcpu=str(vcpu), cpuset=str(pcpu))
    if spec.emulator_pins:
        drop(tuning.find("emulatorpin"))
        cpus = format_cpulist(spec.emulator_pins)
        etree.SubElement(tuning, "emulatorpin", cpuset=cpus)


def _set_kind(root: etree._Element, spec: TemplateSpec) -> None:
    root.set("type", spec.kind.value)
    if spec.kind is not DomainKind.QEMU:
        return
    # QEMU's default CPU model lacks SSE4, and DPDK then dies of SIGILL.
    cpu = root.find("cpu")
    if cpu is None:
        cpu = etree.SubElement(root, "cpu")
    cpu.attrib.clear()
    cpu.set("mode", "maximum")
    for child in cpu.findall("*"):
        if child.tag not in ("numa", "topology"):
            drop(child)


def _set_devices(root: etree._Element, spec: TemplateSpec) -> None:
    if spec.disk is not None:
        set_disk(root, spec.disk, spec.disk_format)
    set_cloud_init(root, spec.cloud_init)
    if spec.networks is not None:
        set_networks(root, spec.networks)
    if spec.console is not None:
        set_console(root, spec.console)


def _with_channels(
    name: str, spec: TemplateSpec, root: etree._Element, vcpus: int
) -> str:
    numbers = frozenset(range(vcpus)) if spec.channels is None else spec.channels
    xml = render_document(root)
    others = _numbers(xml) - numbers
    # Also adds controllers, if the channels need more ports.
    root = parse_document(add_channels(remove_channels(xml, others), numbers))
    for channel in root.iterfind("devices/channel"):
        target, source = channel.find("target"), channel.find("source")
        if target is None or source is None:
            continue
        number = parse_channel_number(str(target.get("name", "")))
        if number is not None:
            _set_path(source, spec, f"{name}.{number}")
    return render_document(root)


def _numbers(xml: str) -> frozenset[int]:
    root = parse_document(xml)
    # parse_domain requires a UUID, which a template need not have.
    etree.SubElement(root, "uuid").text = _ANY_UUID
    return parse_domain(render_document(root)).numbers


def _set_path(source: etree._Element, spec: TemplateSpec, file: str) -> None:
    source.attrib.pop("path", "")
    if spec.socket_dir is not None:
        path = str(spec.socket_dir / file)
        check_socket_path(path)
        source.set("path", path)


def _set_text(root: etree._Element, tag: str, text: str) -> None:
    _find(root, tag).text = text


def _find(root: etree._Element, path: str) -> etree._Element:
    element = root.find(path)
    if element is None:
        raise DomainXmlError(
            f"the template has no <{path}>",
            hint="validate it with 'vmpower template validate'",
        )
    return element
