# SPDX-License-Identifier: Apache-2.0
"""Whether a domain's guest can have P-states, by its machine type and CPU model.

Source: hw/i386/acpi-build.c of QEMU, which names processors as the table does from
machine types of 2.7 on; drivers/cpufreq/acpi-cpufreq.c of Linux, which refuses AMD's
family 15 (K8); target/i386/cpu.c of QEMU for the families of its models.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.p_states import find_note
from orchestrator.errors import ConfigError, DomainXmlError
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from lxml import etree

_ARCHITECTURES = ("x86_64", "i686")
_MACHINE = re.compile(r"(pc|q35)(-.*)?")
_VERSION = re.compile(r"pc(?:-i440fx|-q35)?-([0-9]{1,3})\.([0-9]{1,3}).*")
_OLDEST_VERSION = (2, 7)
_REFUSED_MODELS = frozenset(
    {"qemu64", "qemu32", "kvm64", "kvm32", "Opteron_G1", "Opteron_G2"}
)
_MOST_VCPUS = 8192


class PStateGuest(NamedTuple):
    """What a description of a domain with P-states says about its guest."""

    name: str
    """Of the domain."""
    file: str
    """The ACPI table that its note names."""
    obstacle: tuple[str, str] | None
    """See `find_machine_obstacle`."""
    refused_model: str | None
    """See `find_refused_model`."""
    is_emulated: bool
    """Whether QEMU emulates the CPU, without KVM."""


def read_p_state_guest(xml: str) -> PStateGuest | None:
    """Read what a domain says about its guest; None: it has no P-states.

    Raises:
        DomainXmlError: invalid XML.
    """
    root = parse_document(xml)
    note = find_note(root)
    if note is None:
        return None
    return PStateGuest(
        name=root.findtext("name") or "",
        file=str(note.get("file", "")),
        obstacle=find_machine_obstacle(root),
        refused_model=find_refused_model(root),
        is_emulated=root.get("type") == "qemu",
    )


def find_machine_obstacle(root: etree._Element) -> tuple[str, str] | None:
    """Return why a domain cannot have P-states, and how to fix it; None: it can."""
    kind = root.find("os/type")
    arch = None if kind is None else kind.get("arch")
    machine = "pc" if kind is None else str(kind.get("machine", "pc"))
    if arch is not None and arch not in _ARCHITECTURES:
        return (
            f"P-states need an x86 guest, and its architecture is {arch}",
            "give it channels, or a policy; virt-cpufreq of Arm is not supported yet",
        )
    if not _MACHINE.fullmatch(machine):
        return f"machine type '{machine}' has no P-states", "use q35 or pc"
    version = _VERSION.fullmatch(machine)
    if version and tuple(map(int, version.groups())) < _OLDEST_VERSION:
        return (
            f"machine type '{machine}' is too old for P-states",
            "use one of QEMU 2.7 or later",
        )
    if root.find("features/acpi") is None:
        return "the domain has no ACPI", "add <acpi/> to <features>"
    return None


def check_machine(root: etree._Element) -> None:
    """Check that a domain can have P-states.

    Raises:
        DomainXmlError: it cannot.
    """
    obstacle = find_machine_obstacle(root)
    if obstacle is not None:
        what, fix = obstacle
        raise DomainXmlError(what, hint=fix)


def find_refused_model(root: etree._Element) -> str | None:
    """Return the CPU model of a domain if Linux's cpufreq driver refuses it.

    Without a model, QEMU's default is used.
    """
    cpu = root.find("cpu")
    mode = "custom" if cpu is None else str(cpu.get("mode", "custom"))
    if mode == "maximum" and root.get("type") == "qemu":
        return mode  # without KVM, QEMU's model "max" is of that family
    if mode != "custom":
        return None
    model = root.findtext("cpu/model")
    name = "qemu64" if model is None or not model.strip() else model.strip()
    return name if name in _REFUSED_MODELS else None


def read_vcpu_pinning(xml: str) -> tuple[frozenset[int] | None, ...]:
    """Read which host CPUs each vCPU is pinned to, also those that are not online.

    Returns:
        By vCPU; None: it may run on any CPU.

    Raises:
        DomainXmlError: invalid XML, an invalid number of vCPUs or an invalid pinning.
    """
    root = parse_document(xml)
    element = root.find("vcpu")
    text = "1" if element is None else (element.text or "").strip()
    is_number = text.isascii() and text.isdigit() and len(text) < 5
    if not is_number or not 1 <= int(text) <= _MOST_VCPUS:
        raise DomainXmlError(f"invalid number of vCPUs '{text[:20]}'")
    common = _read_cpus(None if element is None else element.get("cpuset"))
    pins = {
        str(pin.get("vcpu")): _read_cpus(pin.get("cpuset"))
        for pin in root.iterfind("cputune/vcpupin")
    }
    return tuple(pins.get(str(vcpu), common) for vcpu in range(int(text)))


def _read_cpus(text: str | None) -> frozenset[int] | None:
    try:
        return None if text is None else parse_cpulist(text)
    except ConfigError as error:
        raise DomainXmlError(f"invalid pinning: {error}") from error
