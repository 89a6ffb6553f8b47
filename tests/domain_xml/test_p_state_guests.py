# SPDX-License-Identifier: Apache-2.0
"""Which guests can have P-states."""

from __future__ import annotations

import pytest

from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.p_state_guests import (
    PStateGuest,
    check_machine,
    find_machine_obstacle,
    find_refused_model,
    read_p_state_guest,
    read_vcpu_pinning,
)
from orchestrator.domain_xml.p_states import P_STATES_URI
from orchestrator.errors import DomainXmlError

PIN = "<vcpupin vcpu='1' cpuset='4'/>"
ACPI = "<features><acpi/></features>"


def system(machine: str, arch: str = "x86_64") -> str:
    kind = f"<type arch='{arch}' machine='{machine}'>hvm</type>"
    return f"<domain><os>{kind}</os>{ACPI}</domain>"


@pytest.mark.parametrize(
    "xml",
    [
        *map(system, ("pc", "q35", "pc-q35-7.2", "pc-i440fx-2.7", "pc-q35-rhel9.4.0")),
        system("pc-i440fx-jammy", "i686"),
        f"<domain>{ACPI}</domain>",
        f"<domain><os><type>hvm</type></os>{ACPI}</domain>",
    ],
)
def test_machines_that_can(xml: str) -> None:
    check_machine(parse_document(xml))


@pytest.mark.parametrize(
    ("xml", "problem"),
    [
        (system("virt", "aarch64"), "architecture is aarch64"),
        (system("microvm"), "machine type 'microvm' has no P-states"),
        (system("isapc"), "machine type 'isapc' has no P-states"),
        (system("pc-i440fx-2.6"), "too old"),
        (system("pc-1.3"), "too old"),
        (system("q35").replace(ACPI, ""), "the domain has no ACPI"),
    ],
)
def test_machines_that_cannot(xml: str, problem: str) -> None:
    with pytest.raises(DomainXmlError, match=problem) as caught:
        check_machine(parse_document(xml))
    assert caught.value.hint
    assert find_machine_obstacle(parse_document(xml)) is not None


@pytest.mark.parametrize(
    ("kind", "cpu", "refused"),
    [
        ("kvm", "", "qemu64"),
        ("kvm", "<cpu><topology sockets='1'/></cpu>", "qemu64"),
        ("kvm", "<cpu mode='custom'><model>kvm64</model></cpu>", "kvm64"),
        ("kvm", "<cpu><model> Haswell </model></cpu>", None),
        ("kvm", "<cpu mode='host-passthrough'/>", None),
        ("kvm", "<cpu mode='host-model'/>", None),
        ("kvm", "<cpu mode='maximum'/>", None),
        ("qemu", "<cpu mode='maximum'/>", "maximum"),
    ],
)
def test_models_that_the_driver_refuses(
    kind: str, cpu: str, refused: str | None
) -> None:
    root = parse_document(f"<domain type='{kind}'>{cpu}</domain>")
    assert find_refused_model(root) == refused


@pytest.mark.parametrize(
    ("inside", "pinning"),
    [
        ("", (None,)),
        ("<vcpu>2</vcpu>", (None, None)),
        ("<vcpu current='1'>2</vcpu>", (None, None)),
        ("<vcpu cpuset='0-2,^1'>2</vcpu>", ({0, 2}, {0, 2})),
        (
            f"<vcpu cpuset='0'>3</vcpu><cputune>{PIN}</cputune>",
            ({0}, {4}, {0}),
        ),
    ],
)
def test_pinning(inside: str, pinning: tuple[object, ...]) -> None:
    assert read_vcpu_pinning(f"<domain>{inside}</domain>") == pinning


@pytest.mark.parametrize(
    "inside", ["<vcpu>0</vcpu>", "<vcpu>x</vcpu>", "<vcpu cpuset='x'>1</vcpu>"]
)
def test_invalid_pinning(inside: str) -> None:
    with pytest.raises(DomainXmlError, match="invalid"):
        read_vcpu_pinning(f"<domain>{inside}</domain>")


def test_only_a_domain_with_a_note_is_to_have_p_states() -> None:
    note = f"<metadata><p-states xmlns='{P_STATES_URI}' file='/a.aml'/></metadata>"
    xml = f"<domain type='kvm'><name>web</name>{note}{ACPI}</domain>"
    assert read_p_state_guest(xml) == PStateGuest(
        name="web",
        file="/a.aml",
        obstacle=None,
        refused_model="qemu64",
        is_emulated=False,
    )
    assert read_p_state_guest(xml.replace(note, "")) is None
